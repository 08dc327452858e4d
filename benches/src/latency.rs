//! Figure 14: how long a submission takes until it is durable in the journal, and until it is in a signed, durable
//! transaction. Open loop: submissions go out at fixed moments whatever became of those before, and each is counted
//! from the moment at which it was due, so a stall counts against everything behind it.
//!
//! The limit of the first is the time of a group (how long a submission may wait for others) and one sync; of the
//! second, that and the age at which a batch is closed and one more sync. A sync is what writing and syncing as much
//! as a group takes on the same disk in the same run, between the stretches of load.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use selvedge::engine::Engine;
use selvedge_core::border::{BatchPolicy, Event, NewReading, Outcome};
use tokio::sync::{broadcast, oneshot};

use crate::cpu::Samples;
use crate::figure::{Figure, Goal, Report, number};
use crate::gateway::{self, Expected, Identity};
use crate::plan::Plan;
use crate::plant::Plant;

/// A submission may wait this long for others: the setting for sources that wait for an acknowledgement.
const GROUP: Duration = Duration::from_millis(200);
/// A batch is closed at this age. Its readings never reach the number that would close it before.
const BATCH_AGE: Duration = Duration::from_secs(2);
/// One submission of five readings.
const PERIOD: Duration = Duration::from_millis(10);
const READINGS: usize = 5;
/// About what a group of submissions writes.
const SYNC_BYTES: usize = 8 * 1024;

/// Milliseconds of each submission.
#[derive(Default)]
struct Latencies {
    journal: Vec<f64>,
    transaction: Vec<f64>,
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let identity = Identity::new()?;
    let mut latencies = Latencies::default();
    let mut syncs = Vec::new();
    let stretches = plan.size(3, 1);
    for seed in 0..stretches {
        let folder = plan.folder()?;
        syncs.extend(sync_times(folder.path(), plan.size(150, 5))?);
        stretch(plan, &identity, folder.path(), seed as u64, &mut latencies)?;
        syncs.extend(sync_times(folder.path(), plan.size(150, 5))?);
    }
    let count = latencies.journal.len();
    let [journal, transaction, sync]: [Samples; 3] =
        [latencies.journal, latencies.transaction, syncs].map(|values| values.into_iter().collect());
    let (group, age) = (GROUP.as_secs_f64() * 1e3, BATCH_AGE.as_secs_f64() * 1e3);
    let figure = |part, samples: &Samples, quantile: f64, against, limit| {
        let at = [samples.quantile(quantile)].into_iter().collect();
        let figure = Figure::of(14, part, "ms", &at).against(against, limit).goal(Goal::Ratio(1.0));
        Figure { least: samples.least(), ..figure }
    };
    let (median, high) = (sync.median(), sync.quantile(0.99));
    let figures = vec![
        figure("journal p50", &journal, 0.5, "group + one sync, p50", group + median),
        figure("journal p99", &journal, 0.99, "group + one sync, p99", group + high),
        figure("transaction p50", &transaction, 0.5, "that + batch + sync, p50", group + age + 2.0 * median),
        figure("transaction p99", &transaction, 0.99, "that + batch + sync, p99", group + age + 2.0 * high),
    ];
    let notes = vec![format!(
        "14: group {} ms, batch {} s, a submission of {READINGS} readings every {} ms, {count} of them in {stretches} \
         stretches, all checked; a sync of {} KiB in this run: p50 {} ms, p99 {} ms ({} of them); slowest journal {} ms, \
         transaction {} ms",
        group,
        BATCH_AGE.as_secs(),
        PERIOD.as_millis(),
        SYNC_BYTES / 1024,
        number(median),
        number(high),
        sync.count(),
        number(journal.quantile(1.0)),
        number(transaction.quantile(1.0)),
    )];
    Ok(Report { figures, notes })
}

/// Milliseconds of writing and syncing what a group writes, now and then, in a file whose blocks are allocated.
fn sync_times(folder: &Path, count: usize) -> anyhow::Result<Vec<f64>> {
    let file = File::options().write(true).create(true).truncate(false).open(folder.join("sync"))?;
    file.write_all_at(&vec![1; SYNC_BYTES * count], 0)?;
    file.sync_all()?;
    let bytes = vec![2; SYNC_BYTES];
    let mut times = Vec::with_capacity(count);
    for at in 0..count {
        // As far apart as submissions are, so that the disk is as idle before each as before a group.
        thread::sleep(PERIOD);
        let start = Instant::now();
        file.write_all_at(&bytes, (at * SYNC_BYTES) as u64)?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// One stretch of load on a store of its own, checked afterwards.
fn stretch(
    plan: &Plan,
    identity: &Identity,
    folder: &Path,
    seed: u64,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    let submissions = plan.size(1_000, 150);
    let mut plant = Plant::new(2, READINGS, seed);
    let descriptors = plant.descriptors();
    let submissions = plant.submissions(submissions * READINGS);
    let expected = Expected::of(&descriptors, &submissions);
    let store = folder.join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let policy = BatchPolicy {
        readings_max: 4_096,
        age_max_us: BATCH_AGE.as_micros() as u64,
        ..BatchPolicy::default()
    };
    let (engine, running) = identity.start(&store, policy, GROUP)?;
    runtime.block_on(gateway::describe(&engine, &descriptors))?;

    let (told, answers) = channel();
    let total = submissions.len();
    let events = engine.events();
    let journal = thread::spawn(move || journal_times(&answers));
    let batches = thread::spawn(move || batch_moments(events, (total * READINGS) as u64));
    let due = submit_at_fixed_moments(&engine, submissions, |answer| {
        told.send(answer).map_err(|_| anyhow::anyhow!("a submission was not kept"))
    })?;
    drop(told);
    let journal = journal.join().map_err(|_| anyhow::anyhow!("the waiting thread panicked"))??;
    let moments = batches.join().map_err(|_| anyhow::anyhow!("the listening thread panicked"))??;
    runtime.block_on(gateway::stop(engine, running))?;
    identity.check(&store, &expected)?;

    ensure!(journal.len() == total, "{} of {total} submissions were answered", journal.len());
    latencies.journal.extend(journal);
    latencies.transaction.extend(transaction_times(&due, &moments)?);
    Ok(())
}

/// When it was due, and the outcome to come.
type Answer = (Instant, oneshot::Receiver<Outcome>);

/// Hands each submission in at its moment; those moments.
fn submit_at_fixed_moments(
    engine: &Engine,
    submissions: Vec<Vec<NewReading>>,
    mut tell: impl FnMut(Answer) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<Instant>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let start = Instant::now() + PERIOD;
    let mut moments = Vec::with_capacity(submissions.len());
    for (number, readings) in (0..).zip(submissions) {
        let due = start + PERIOD * number;
        // The thread's own sleep: a timer of the runtime may be a millisecond late.
        thread::sleep(due.saturating_duration_since(Instant::now()));
        tell((due, runtime.block_on(engine.submit_later(readings, Vec::new()))?))?;
        moments.push(due);
    }
    Ok(moments)
}

/// Milliseconds from due to durable in the journal, in order.
fn journal_times(answers: &Receiver<Answer>) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    // Outcomes come in the order of submissions, since writes become durable in order.
    for (due, outcome) in answers {
        let outcome = outcome.blocking_recv()?;
        times.push(due.elapsed().as_secs_f64() * 1e3);
        ensure!(outcome == Outcome::Durable, "a submission was not kept: {outcome:?}");
    }
    Ok(times)
}

/// For each batch: when its transaction was durable, and how many readings were in transactions then.
fn batch_moments(mut events: broadcast::Receiver<Event>, total: u64) -> anyhow::Result<Vec<(Instant, u64)>> {
    let mut moments = Vec::new();
    let mut batched = 0;
    while batched < total {
        match events.blocking_recv()? {
            Event::Batched { readings, .. } => {
                batched += u64::from(readings);
                moments.push((Instant::now(), batched));
            }
            Event::Halted { why } => bail!("the core halted: {why}"),
            _ => {}
        }
    }
    Ok(moments)
}

/// Milliseconds from due to in a durable transaction. Batches take readings in the order of submissions.
fn transaction_times(due: &[Instant], moments: &[(Instant, u64)]) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(due.len());
    for (number, due) in (1..).zip(due) {
        let readings = number * READINGS as u64;
        let found = moments.iter().find(|(_, batched)| *batched >= readings);
        let Some((at, _)) = found else { bail!("submission {number} is in no transaction") };
        times.push(at.saturating_duration_since(*due).as_secs_f64() * 1e3);
    }
    Ok(times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_counts_until_all_of_it_is_in_a_transaction() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let due = [at(0), at(10), at(20)];
        // The second batch ends in the middle of the third submission.
        let moments = [(at(100), 10), (at(200), 12), (at(300), 15)];
        assert_eq!(transaction_times(&due, &moments).unwrap(), [100.0, 90.0, 280.0]);
        assert!(transaction_times(&due, &moments[..2]).is_err());
    }
}
