//! Figure 1: readings ingested, durable in the journal, batched, hashed, archived, signed, attached, durable in the
//! log: seconds of CPU a million readings of 64 bytes (48 of layout, 16 of salt).
//!
//! The limit is a loop that does nothing but salt, hash, sign, write and sync the same readings ([`minimal`]); the
//! peer is SQLite with a hash chain ([`sqlite`]). Both take their turn in every round.

mod adapter;
mod minimal;
mod sqlite;

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use selvedge::engine::Engine;
use selvedge_core::border::{BatchPolicy, Event, NewReading, Outcome};
use selvedge_core::reading::{Block, Reading};
use selvedge_core::stream::Descriptor;
use tokio::sync::broadcast::Receiver;

use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::gateway::{self, Expected, Identity, Kept};
use crate::plan::Plan;
use crate::plant::{Plant, STREAMS_PER_DEVICE};

/// Two devices of fifty streams; a submission is one poll of one of them.
const DEVICES: usize = 2;
/// The loop is at most so many batches ahead of what is attached: a gateway that keeps up.
const BATCHES_AHEAD: u64 = 4;
/// How long a submission may wait for others before the journal is synced: what a new gateway is configured with.
const JOURNAL_WITHIN: Duration = Duration::from_secs(1);

/// The gateway's folder.
const STORE: &str = "store";

/// Seconds of CPU a million readings, one sample a round.
#[derive(Default)]
struct Contestants {
    selvedge: Samples,
    minimal: Samples,
    sqlite: Samples,
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let identity = Identity::new()?;
    let mut of_1000 = Contestants::default();
    let mut of_4096 = Contestants::default();
    let mut adapter = Samples::default();
    let mut notes = Vec::new();
    for round in 0..plan.rounds() {
        let kept = take_turns(plan, &identity, round, 1_000, &mut of_1000)?;
        notes = vec![note(1_000, &of_1000, &kept)];
        let outcome = adapter::run(plan, &identity, policy(1_000), plan.size(100_000, 3_000))?;
        adapter.add(outcome.seconds_per_million);
        let kept = take_turns(plan, &identity, round, 4_096, &mut of_4096)?;
        notes.push(note(4_096, &of_4096, &kept));
        notes.push(outcome.note);
    }
    let against = "salt, hash, sign, write, sync in one loop";
    let figure = |part, samples: &Samples| Figure::of(1, part, "CPU-s/M", samples);
    let figures = vec![
        figure("1000", &of_1000.selvedge)
            .against(against, of_1000.minimal.median())
            .goal(Goal::Measured(2.4)),
        figure("4096", &of_4096.selvedge)
            .against(against, of_4096.minimal.median())
            .goal(Goal::Measured(1.0)),
        figure("adapter", &adapter)
            .against("the part 1000", of_1000.selvedge.median())
            .goal(Goal::Ratio(2.0)),
    ];
    Ok(Report { figures, notes })
}

/// One round: Selvedge, the loop, SQLite, each with the same readings in batches of the same size.
fn take_turns(
    plan: &Plan,
    identity: &Identity,
    round: usize,
    batch: u32,
    samples: &mut Contestants,
) -> anyhow::Result<Kept> {
    // A whole number of batches of either size.
    let readings = plan.size(if batch == 1_000 { 200_000 } else { 204_800 }, 3 * batch as usize);
    let mut plant = Plant::new(DEVICES, STREAMS_PER_DEVICE, round as u64);
    let descriptors = plant.descriptors();
    let submissions = plant.submissions(readings);
    let blocks = blocks_of(&submissions, descriptors.len());
    let expected = Expected::of(&descriptors, &submissions);
    let per_million = 1e6 / readings as f64;
    let folder = plan.folder()?;
    let seconds = own_turn(identity, folder.path(), &descriptors, submissions, batch)?;
    let kept = identity.check(&folder.path().join(STORE), &expected)?;
    ensure!(kept.readings == readings, "{} readings are kept of {readings}", kept.readings);
    samples.selvedge.add(seconds * per_million);
    let seconds = minimal::run(folder.path(), &blocks, batch as usize, identity)?;
    samples.minimal.add(seconds * per_million);
    let seconds = sqlite::run(folder.path(), &blocks, batch as usize)?;
    samples.sqlite.add(seconds * per_million);
    Ok(kept)
}

/// For a profiler: only what the named part makes the gateway do, once, without contestants.
pub(crate) fn profile(plan: &Plan, part: &str, readings: usize) -> anyhow::Result<f64> {
    let identity = Identity::new()?;
    let batch = match part {
        "1000" => 1_000,
        "4096" => 4_096,
        "adapter" => return Ok(adapter::run(plan, &identity, policy(1_000), readings)?.seconds_per_million),
        other => bail!("there is no part {other}; expected 1000, 4096 or adapter"),
    };
    let folder = plan.folder()?;
    let mut plant = Plant::new(DEVICES, STREAMS_PER_DEVICE, 0);
    let (descriptors, submissions) = (plant.descriptors(), plant.submissions(readings));
    let seconds = own_turn(&identity, folder.path(), &descriptors, submissions, batch)?;
    Ok(seconds * 1e6 / readings as f64)
}

/// Selvedge's turn, up to the closed store; seconds of CPU.
fn own_turn(
    identity: &Identity,
    folder: &Path,
    descriptors: &[Descriptor],
    submissions: Vec<Vec<NewReading>>,
    batch: u32,
) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (engine, running) = identity.start(&folder.join(STORE), policy(batch), JOURNAL_WITHIN)?;
        gateway::describe(&engine, descriptors).await?;
        let before = cpu::process();
        drive(&engine, submissions, u64::from(batch) * BATCHES_AHEAD).await?;
        gateway::stop(engine, running).await?;
        Ok(cpu::process() - before)
    })
}

fn note(batch: u32, samples: &Contestants, kept: &Kept) -> String {
    let (own, sqlite) = (samples.selvedge.median(), samples.sqlite.median());
    format!(
        "1, {batch}: SQLite with a hash chain (WAL, synced at each batch, not signed) in the same run: {} CPU-s/M, \
         {} times as much; archive {} B a reading; {} rounds of {} readings in {} batches, all checked",
        number(sqlite),
        number(sqlite / own),
        number(kept.archive_bytes as f64 / kept.readings as f64),
        samples.selvedge.count(),
        kept.readings,
        kept.batches,
    )
}

fn policy(readings_max: u32) -> BatchPolicy {
    BatchPolicy { readings_max, ..BatchPolicy::default() }
}

/// Submits as fast as the gateway takes it, at most `ahead` readings before what is in transactions, until all is
/// durable there.
async fn drive(engine: &Engine, submissions: Vec<Vec<NewReading>>, ahead: u64) -> anyhow::Result<()> {
    let mut events = engine.events();
    let mut outcomes = Vec::with_capacity(submissions.len());
    let (mut sent, mut batched) = (0, 0);
    for readings in submissions {
        while sent + readings.len() as u64 > batched + ahead {
            batched += next_batch(&mut events).await?;
        }
        sent += readings.len() as u64;
        outcomes.push(engine.submit_later(readings, Vec::new()).await?);
    }
    engine.flush().await?;
    while batched < sent {
        batched += next_batch(&mut events).await?;
    }
    for outcome in outcomes {
        let outcome = outcome.await?;
        ensure!(outcome == Outcome::Durable, "a submission was not kept: {outcome:?}");
    }
    Ok(())
}

/// Waits for the next batch in a durable transaction; its readings.
async fn next_batch(events: &mut Receiver<Event>) -> anyhow::Result<u64> {
    loop {
        match events.recv().await? {
            Event::Batched { readings, .. } => return Ok(u64::from(readings)),
            Event::Halted { why } => bail!("the core halted: {why}"),
            _ => {}
        }
    }
}

/// The readings in their fixed layout, with the counters that a gateway gives them.
fn blocks_of(submissions: &[Vec<NewReading>], streams: usize) -> Vec<Block> {
    let mut counters = vec![0; streams];
    let mut block = |reading: &NewReading| {
        let counter = &mut counters[reading.stream.0 as usize];
        *counter += 1;
        let reading = Reading {
            stream_index: reading.stream.0,
            counter: *counter - 1,
            source_time_ns: reading.source_time_ns,
            receive_time_ns: reading.receive_time_ns,
            quality: reading.quality,
            flags: reading.flags,
            status: reading.status,
            value: reading.value.clone(),
        };
        reading.to_block()
    };
    submissions.iter().flatten().map(&mut block).collect()
}
