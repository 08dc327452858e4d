//! Through a real adapter: two Modbus TCP devices polled over sockets, decoded, delivered, and then as in the other
//! parts. The devices are a server in this process, on a thread of its own whose CPU is taken off: it is the
//! machine's, not the gateway's.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use edge_adapters::{Delivery, Source};
use selvedge::engine::Engine;
use selvedge_core::border::{BatchPolicy, NewReading, Outcome};
use selvedge_core::reading::{Quality, Value};

use super::{DEVICES, JOURNAL_WITHIN, STORE, STREAMS_PER_DEVICE};
use crate::adapters::{AtWork, descriptors_of, sources};
use crate::cpu;
use crate::figure::number;
use crate::gateway::{self, Expected, Identity};
use crate::machines::{Machines, Shape};
use crate::plan::Plan;

/// Polled as often as a configuration may say.
const PLANT: Shape =
    Shape { devices: DEVICES, streams_per_device: STREAMS_PER_DEVICE, interval: Duration::from_millis(10) };

/// What one round brought.
pub(super) struct Turn {
    pub(super) seconds_per_million: f64,
    pub(super) note: String,
}

/// At least `wanted` readings through the adapters.
pub(super) fn run(
    plan: &Plan,
    identity: &Identity,
    batch: BatchPolicy,
    wanted: usize,
) -> anyhow::Result<Turn> {
    let folder = plan.folder()?;
    let store = folder.path().join(STORE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (engine, running) = runtime.block_on(async { identity.start(&store, batch, JOURNAL_WITHIN) })?;

    let before = cpu::process();
    let machines = Machines::of_a_plant(PLANT)?;
    let sources = sources(&machines.configuration(PLANT)?)?;
    let descriptors = descriptors_of(&sources);
    let collected = runtime.block_on(async {
        gateway::describe(&engine, &descriptors).await?;
        let collected = collect(&engine, sources, wanted).await?;
        gateway::stop(engine, running).await?;
        anyhow::Ok(collected)
    })?;
    let machine_seconds = machines.stop()?;
    let seconds = cpu::process() - before - machine_seconds;

    ensure!(collected.iter().all(|r| r.quality == Quality::Good), "a poll failed: a reading is not good");
    let mut expected = Expected::default();
    expected.add(&descriptors, &collected);
    let kept = identity.check(&store, &expected)?;
    ensure!(kept.readings == collected.len(), "{} readings are kept of {}", kept.readings, collected.len());
    let flows: BTreeSet<u64> = collected.iter().filter_map(float_bits).collect();
    ensure!(flows.len() > 10, "the machine's values do not move: {} different floats", flows.len());
    let per_million = 1e6 / collected.len() as f64;
    let note = format!(
        "1, adapter: {DEVICES} devices of {STREAMS_PER_DEVICE} streams polled every {} ms, {} readings in {} batches a \
         round, all checked; the CPU of the machine's thread (the Modbus server: {} CPU-s/M) is taken off",
        PLANT.interval.as_millis(),
        kept.readings,
        kept.batches,
        number(machine_seconds * per_million),
    );
    Ok(Turn { seconds_per_million: seconds * per_million, note })
}

fn float_bits(reading: &NewReading) -> Option<u64> {
    match reading.value {
        Value::Float(float) => Some(float.to_bits()),
        _ => None,
    }
}

/// Runs the adapters until at least `wanted` readings are durable; all that were delivered.
async fn collect(
    engine: &Engine,
    sources: Vec<Arc<dyn Source>>,
    wanted: usize,
) -> anyhow::Result<Vec<NewReading>> {
    let mut adapters = AtWork::start(sources);
    let (mut collected, mut outcomes) = (Vec::new(), Vec::new());
    while let Some(Delivery { readings, .. }) = adapters.deliveries.recv().await {
        collected.extend_from_slice(&readings);
        outcomes.push(engine.submit_later(readings, Vec::new()).await?);
        if collected.len() >= wanted {
            adapters.stop.cancel();
        }
    }
    adapters.end().await;
    engine.flush().await?;
    for outcome in outcomes {
        ensure!(outcome.await? == Outcome::Durable, "a delivery was not kept");
    }
    Ok(collected)
}
