//! Through a real adapter: two Modbus TCP devices polled over sockets, decoded, delivered, and then as in the other
//! parts. The devices are a server in this process, on a thread of its own whose CPU is taken off: it is the
//! machine's, not the gateway's.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use edge_adapters::modbus::Table;
use edge_adapters::modbus::server::{Bank, serve};
use edge_adapters::{Delivery, Device, Source, Supervisor, SystemClock, config, delivery_queue};
use selvedge::engine::Engine;
use selvedge_core::border::{BatchPolicy, NewReading, Outcome, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::Descriptor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{DEVICES, JOURNAL_WITHIN, STORE, STREAMS_PER_DEVICE};
use crate::cpu;
use crate::figure::number;
use crate::gateway::{self, Expected, Identity};
use crate::plan::Plan;
use crate::plant::{Kind, Plant, kind_of};

/// The shortest that a configuration may say.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Registers and bits of one device start at multiples of this.
const DEVICE_ADDRESSES: u16 = 200;

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
    let machine = Machine::start()?;
    let sources = sources(machine.address)?;
    let descriptors: Vec<Descriptor> =
        sources.iter().flat_map(|source| source.streams()).map(|spec| spec.descriptor.clone()).collect();
    let collected = runtime.block_on(async {
        gateway::describe(&engine, &descriptors).await?;
        let collected = collect(&engine, sources, wanted).await?;
        gateway::stop(engine, running).await?;
        anyhow::Ok(collected)
    })?;
    let machine_seconds = machine.stop()?;
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
        POLL_INTERVAL.as_millis(),
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
    let mut next = 0;
    let mut devices = Vec::new();
    for source in sources {
        let count = source.streams().len() as u32;
        devices.push(Device { source, streams: (next..next + count).map(StreamHandle).collect() });
        next += count;
    }
    let (sender, mut deliveries) = delivery_queue();
    let stop = CancellationToken::new();
    let clock: Arc<dyn edge_adapters::Clock> = Arc::new(SystemClock);
    let supervisor = Supervisor::start(devices, &sender, &clock, 7, &stop);
    drop(sender);
    let (mut collected, mut outcomes) = (Vec::new(), Vec::new());
    while let Some(Delivery { readings, .. }) = deliveries.recv().await {
        collected.extend_from_slice(&readings);
        outcomes.push(engine.submit_later(readings, Vec::new()).await?);
        if collected.len() >= wanted {
            stop.cancel();
        }
    }
    supervisor.stopped().await;
    engine.flush().await?;
    for outcome in outcomes {
        ensure!(outcome.await? == Outcome::Durable, "a delivery was not kept");
    }
    Ok(collected)
}

/// The configuration that an engineer would write for the machine.
fn sources(address: SocketAddr) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    use std::fmt::Write as _;
    let mut text = String::new();
    for device in 0..DEVICES {
        writeln!(
            text,
            "[[device]]\nname = \"plc-{device}\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\nunit_id = {}\n\
             poll_interval = \"{}ms\"",
            device + 1,
            POLL_INTERVAL.as_millis()
        )?;
        for (index, (kind, place)) in places(device).into_iter().enumerate() {
            writeln!(
                text,
                "[[device.stream]]\nname = \"line-{device}/stream-{index}\"\nregister = \"{}:{}\"\ntype = \"{}\"",
                place.table.name(),
                place.address,
                type_of(kind)
            )?;
        }
    }
    config::sources(&text).map_err(|errors| anyhow::anyhow!("the bench's own configuration: {errors:?}"))
}

const fn type_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Level | Kind::Flow => "f32",
        Kind::Counter => "u32",
        Kind::Temperature => "u16",
        Kind::Switch => "bool",
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    table: Table,
    address: u16,
}

/// Where the streams of a device lie: registers in a row, then bits in a row, so that a poll is two requests.
fn places(device: usize) -> Vec<(Kind, Place)> {
    let start = device as u16 * DEVICE_ADDRESSES;
    let (mut register, mut bit) = (start, start);
    (0..STREAMS_PER_DEVICE)
        .map(|within| {
            let kind = kind_of(within, STREAMS_PER_DEVICE);
            let (table, next, length) = match kind {
                Kind::Switch => (Table::Coil, &mut bit, 1),
                Kind::Temperature => (Table::Holding, &mut register, 1),
                Kind::Level | Kind::Flow | Kind::Counter => (Table::Holding, &mut register, 2),
            };
            let address = *next;
            *next += length;
            (kind, Place { table, address })
        })
        .collect()
}

/// The machine: a plant whose values move at every poll interval, and its Modbus server.
struct Machine {
    address: SocketAddr,
    stop: CancellationToken,
    thread: JoinHandle<anyhow::Result<f64>>,
}

impl Machine {
    fn start() -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (tell, told) = mpsc::channel();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                tell.send(listener.local_addr()?)?;
                let bank = Arc::new(Bank::new(usize::from(DEVICE_ADDRESSES) * DEVICES));
                tokio::select! {
                    served = serve(listener, Arc::clone(&bank), token) => served.map_err(anyhow::Error::from),
                    never = move_values(&bank) => match never {},
                }
            })?;
            drop(runtime);
            Ok(cpu::thread())
        });
        let address = told.recv().context("the Modbus server did not start")?;
        Ok(Self { address, stop, thread })
    }

    /// Seconds of CPU that its thread took.
    fn stop(self) -> anyhow::Result<f64> {
        self.stop.cancel();
        self.thread.join().map_err(|_| anyhow::anyhow!("the Modbus server panicked"))?
    }
}

async fn move_values(bank: &Bank) -> std::convert::Infallible {
    let mut plant = Plant::new(DEVICES, STREAMS_PER_DEVICE, 1);
    let places: Vec<(Kind, Place)> = (0..DEVICES).flat_map(places).collect();
    let mut ticks = tokio::time::interval(POLL_INTERVAL);
    loop {
        for _ in 0..DEVICES {
            for reading in plant.poll() {
                let (_, Place { table, address }) = places[reading.stream.0 as usize];
                match reading.value {
                    Value::Float(float) => bank.set_f32(table, address, float as f32),
                    Value::Bool(bit) => bank.set_bit(table, address, bit),
                    Value::Unsigned(number) if kind_at(&places, &reading) == Kind::Counter => {
                        bank.set_registers(table, address, &[(number >> 16) as u16, number as u16]);
                    }
                    Value::Unsigned(number) => bank.set_registers(table, address, &[number as u16]),
                    _ => {}
                }
            }
        }
        ticks.tick().await;
    }
}

fn kind_at(places: &[(Kind, Place)], reading: &NewReading) -> Kind {
    places[reading.stream.0 as usize].0
}
