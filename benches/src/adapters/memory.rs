//! Figure 18: memory of a whole gateway that records 10,000 readings a second of fifty devices of all three protocols. It
//! is a process of its own, so that nothing of the bench or of the machines is counted.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use selvedge::folder::Folder;
use selvedge::gateway::Gateway;
use selvedge::store::{RealDisk, Store, StoreOptions};
use selvedge_core::codec;
use selvedge_core::payload::Batch;
use selvedge_core::transaction::Envelope;

use super::mixed::{Plant, READINGS_PER_SECOND, STREAMS};
use crate::cpu::Samples;
use crate::figure::{Figure, Goal, Report, number};
use crate::network::{self, MEASURED, Peer};
use crate::peer::{say, told};
use crate::plan::Plan;

/// Memory is looked at this often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// As `cross/selvedge.service` has it.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");
/// So much of what the devices say must be in the store, else they were not polled as configured.
const KEPT_AT_LEAST: f64 = 0.95;

/// # Errors
/// When the gateway did not record what it was to.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let duration = Duration::from_secs(plan.size(60, 8) as u64);
    let place = plan.folder()?;
    let path = place.path().join("g");
    let folder = network::folder(&path, MEASURED)?;
    let plant = Plant::start(place.path())?;
    let settings = place.path().join("devices.toml");
    std::fs::write(&settings, &plant.configuration)?;

    let arguments = ["gather".to_owned(), path.display().to_string(), settings.display().to_string()];
    let mut gateway = Peer::start_with(&arguments, Some(ARENAS))?;
    ensure!(gateway.line()? == "ready", "the gateway did not start");
    let started = Instant::now();
    let mut looks = Vec::new();
    while started.elapsed() < duration {
        std::thread::sleep(LOOK_EVERY);
        gateway.go()?;
        looks.push(Look::parse(&gateway.line()?)?);
    }
    let elapsed = started.elapsed().as_secs_f64();
    gateway.end();
    ensure!(gateway.line()? == "stopped", "the gateway did not stop in order");
    plant.stop()?;

    let kept = count(&folder)?;
    ensure!(kept.len() == STREAMS, "{} streams of {STREAMS} are in the store", kept.len());
    let readings: u64 = kept.values().sum();
    let per_second = readings as f64 / elapsed;
    ensure!(
        plan.smoke || per_second >= KEPT_AT_LEAST * READINGS_PER_SECOND,
        "{} readings a second are in the store, of {READINGS_PER_SECOND}",
        number(per_second)
    );
    let last = looks.last().context("no look at its memory")?;
    let resident: Samples = [last.resident_kib / 1024.0].into_iter().collect();
    let figure = Figure::of(18, "memory: 10,000 readings/s, 50 devices", "MiB", &resident)
        .against("figure 8's limit", 64.0)
        .goal(Goal::Measured(64.0));
    let half = &looks[looks.len() / 2];
    let note = format!(
        "18: {readings} readings in the store after {} s, {} a second; resident after half the time {} MiB, at most {} MiB \
         ever; {} of a core",
        number(elapsed),
        number(per_second),
        number(half.resident_kib / 1024.0),
        number(last.most_kib / 1024.0),
        number((last.cpu_seconds - looks[0].cpu_seconds) / (elapsed - LOOK_EVERY.as_secs_f64()).max(1.0)),
    );
    Ok(Report { figures: vec![figure], notes: vec![note] })
}

/// The gateway at one moment.
struct Look {
    resident_kib: f64,
    most_kib: f64,
    cpu_seconds: f64,
}

impl Look {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let numbers: Vec<f64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
        let [resident_kib, most_kib, cpu_seconds] = numbers[..] else { bail!("not three numbers: {line}") };
        Ok(Self { resident_kib, most_kib, cpu_seconds })
    }
}

/// The gateway's side: runs until its input ends, and says what it takes when asked.
pub(crate) fn gather(place: &Path, devices: &Path) -> anyhow::Result<()> {
    // As the daemon has it.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(daemon(place, devices))
}

async fn daemon(place: &Path, devices: &Path) -> anyhow::Result<()> {
    let folder = Folder::open(place)?;
    let text = std::fs::read_to_string(devices)?;
    let settings = selvedge::config::parse(&text).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    let gateway = Gateway::start(&folder, settings, None).await?;
    say("ready")?;
    while told().await? {
        let [resident, most] = [status_kib("VmRSS:")?, status_kib("VmHWM:")?];
        say(&format!("{resident} {most} {}", crate::cpu::process()))?;
    }
    gateway.stop().await?;
    say("stopped")
}

/// A line of this process's status.
pub(crate) fn status_kib(name: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(name)).with_context(|| name.to_owned())?;
    Ok(line.split_whitespace().nth(1).context("a number")?.parse()?)
}

/// How many readings of each stream the closed store holds, in signed batches with the roots of what is there, and
/// without a gap.
fn count(folder: &Folder) -> anyhow::Result<BTreeMap<String, u64>> {
    let disk = Arc::new(RealDisk::open(folder.store_path())?);
    let (store, ..) = Store::open(disk, &StoreOptions::new(folder.network(), folder.issuer()))?;
    let reader = store.reader();
    let backlog = reader.backlog()?.readings;
    ensure!(backlog == 0, "{backlog} readings are in no transaction");
    let mut kept: BTreeMap<String, u64> = BTreeMap::new();
    let mut number = 0;
    while let Some(own) = reader.own_batch(number)? {
        let envelope = reader.envelope(own.transaction)?.context("a batch without its transaction")?;
        let (_, body) = Envelope::open(&envelope)?;
        let payload: Batch = codec::decode(&body.payload)?;
        let sealed = reader.archive_segment(payload.segment)?;
        ensure!(sealed.root() == payload.root, "the root of batch {number} is not that of its readings");
        for (span, descriptor) in sealed.streams.iter().zip(&sealed.descriptors) {
            let name = codec::decode::<selvedge_core::stream::Descriptor>(descriptor)?.name;
            let before = kept.entry(name).or_default();
            ensure!(
                span.first == *before,
                "batch {number}: counter {} follows {before} readings",
                span.first
            );
            *before += u64::from(span.count);
        }
        number += 1;
    }
    store.close()?;
    Ok(kept)
}
