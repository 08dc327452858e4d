//! Machines that speak Modbus TCP: servers in this process, on a thread of their own whose CPU is theirs and not the
//! gateway's.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use edge_adapters::modbus::Table;
use edge_adapters::modbus::server::{Bank, serve};
use selvedge_core::border::NewReading;
use selvedge_core::reading::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cpu;
use crate::plant::{Kind, Plant, kind_of};

/// Registers and bits of one device start at multiples of this.
const DEVICE_ADDRESSES: u16 = 200;

/// How many devices there are, with how many streams each, and how often they are polled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) devices: usize,
    pub(crate) streams_per_device: usize,
    pub(crate) interval: Duration,
}

/// Running servers, each with a port of its own.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) addresses: Vec<SocketAddr>,
    stop: CancellationToken,
    thread: JoinHandle<anyhow::Result<f64>>,
}

impl Machines {
    /// So many servers over one bank. `work` runs beside them, on their thread.
    pub(crate) fn start(
        servers: usize,
        bank: &Arc<Bank>,
        work: impl Future<Output = Infallible> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let (tell, told) = mpsc::channel();
        let (token, bank) = (stop.clone(), Arc::clone(bank));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let (mut addresses, mut all) = (Vec::new(), JoinSet::new());
                for _ in 0..servers {
                    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                    addresses.push(listener.local_addr()?);
                    all.spawn(serve(listener, Arc::clone(&bank), token.clone()));
                }
                tell.send(addresses)?;
                tokio::select! {
                    served = async {
                        while let Some(served) = all.join_next().await {
                            served??;
                        }
                        anyhow::Ok(())
                    } => served,
                    never = work => match never {},
                }
            })?;
            drop(runtime);
            Ok(cpu::thread())
        });
        let addresses = told.recv().context("the Modbus servers did not start")?;
        Ok(Self { addresses, stop, thread })
    }

    /// A plant whose values move at every poll interval, a server for each device.
    pub(crate) fn of_a_plant(shape: Shape) -> anyhow::Result<Self> {
        let bank = Arc::new(Bank::new(usize::from(DEVICE_ADDRESSES) * shape.devices));
        Self::start(shape.devices, &bank, move_values(Arc::clone(&bank), shape))
    }

    /// Seconds of CPU that their thread took.
    pub(crate) fn stop(self) -> anyhow::Result<f64> {
        self.stop.cancel();
        self.thread.join().map_err(|_| anyhow::anyhow!("the Modbus servers panicked"))?
    }

    /// The configuration that an engineer would write for a plant of this shape.
    pub(crate) fn configuration(&self, shape: Shape) -> anyhow::Result<String> {
        use std::fmt::Write as _;
        let mut text = String::new();
        for (device, address) in self.addresses.iter().enumerate() {
            writeln!(
                text,
                "[[device]]\nname = \"plc-{device}\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\n\
                 poll_interval = \"{}ms\"",
                shape.interval.as_millis()
            )?;
            for (index, (kind, place)) in places(device, shape.streams_per_device).into_iter().enumerate() {
                writeln!(
                    text,
                    "[[device.stream]]\nname = \"line-{device}/stream-{index}\"\nregister = \"{}:{}\"\ntype = \"{}\"",
                    place.table.name(),
                    place.address,
                    type_of(kind)
                )?;
            }
        }
        Ok(text)
    }
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
fn places(device: usize, streams_per_device: usize) -> Vec<(Kind, Place)> {
    let start = device as u16 * DEVICE_ADDRESSES;
    let (mut register, mut bit) = (start, start);
    (0..streams_per_device)
        .map(|within| {
            let kind = kind_of(within, streams_per_device);
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

async fn move_values(bank: Arc<Bank>, shape: Shape) -> Infallible {
    let mut plant = Plant::new(shape.devices, shape.streams_per_device, 1);
    let places: Vec<(Kind, Place)> =
        (0..shape.devices).flat_map(|device| places(device, shape.streams_per_device)).collect();
    let mut ticks = tokio::time::interval(shape.interval);
    loop {
        for _ in 0..shape.devices {
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
