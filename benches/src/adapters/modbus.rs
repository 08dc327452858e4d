//! Figure 15: one Modbus TCP connection, read by the adapter and decoded into readings, and read by bare tokio-modbus.
//!
//! A gateway has 4,096 streams at most and polls every 10 ms at most, so one device cannot keep a connection busy for
//! ever. So both contestants ask in bursts, one every 10 ms, each as long as the streams allow; and what counts is
//! the time from the first answer of a burst to the end of its work: for the adapter, until its readings have come out
//! of the queue. In that time all but the first request are asked and answered, and all of them decoded.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use edge_adapters::modbus::server::Bank;
use edge_adapters::modbus::{REGISTERS_MAX, Table};
use edge_adapters::{Clock, Delivery};
use selvedge_core::border::NewReading;
use selvedge_core::limits::STREAMS_MAX;
use selvedge_core::reading::{Quality, Value};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;
use tokio_modbus::Slave;
use tokio_modbus::client::{Reader as _, tcp};

use super::{AtWork, runtime, sources, within};
use crate::cpu::Samples;
use crate::figure::{Figure, Goal, Report, number};
use crate::machines::Machines;
use crate::plan::Plan;

/// The shortest poll interval.
const INTERVAL: Duration = Duration::from_millis(10);
/// Bursts at the beginning that do not count: the connection is made.
const WARM_UP: usize = 3;
/// Floats in a request, and a register is left.
const FLOATS: u16 = REGISTERS_MAX / 2;

/// What the registers hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Single-precision floats, two registers each, and a `u16` in the last register of each request.
    Floats,
    /// A `u16` in each register: as many readings as there can be.
    Words,
}

impl Kind {
    const fn part(self) -> &'static str {
        match self {
            Self::Floats => "one Modbus connection: f32",
            Self::Words => "one Modbus connection: u16",
        }
    }

    const fn table(self) -> Table {
        match self {
            Self::Floats => Table::Holding,
            Self::Words => Table::Input,
        }
    }

    const fn readings_of_a_request(self) -> u16 {
        match self {
            Self::Floats => FLOATS + 1,
            Self::Words => REGISTERS_MAX,
        }
    }

    /// In a burst: as many as a gateway has streams for.
    const fn requests(self) -> u16 {
        STREAMS_MAX as u16 / self.readings_of_a_request()
    }

    /// Register and value of each stream, in order of the registers.
    fn values(self) -> impl Iterator<Item = (u16, Value)> {
        let word = |at: u16| (at, Value::Unsigned(u64::from(word(at))));
        (0..self.requests() * REGISTERS_MAX).filter_map(move |at| match self {
            Self::Words => Some(word(at)),
            Self::Floats if at % REGISTERS_MAX == REGISTERS_MAX - 1 => Some(word(at)),
            Self::Floats if (at % REGISTERS_MAX).is_multiple_of(2) => {
                Some((at, Value::Float(f64::from(float(at)))))
            }
            Self::Floats => None,
        })
    }

    fn configuration(self, address: SocketAddr) -> String {
        use std::fmt::Write as _;
        let mut text = format!(
            "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\npoll_interval = \"10ms\"\n"
        );
        for (at, value) in self.values() {
            let kind = if matches!(value, Value::Float(_)) { "f32" } else { "u16" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "[[device.stream]]\nname = \"stream-{at}\"\nregister = \"{}:{at}\"\ntype = \"{kind}\"",
                self.table().name()
            );
        }
        text
    }

    fn fill(self, bank: &Bank) {
        for (at, value) in self.values() {
            match value {
                Value::Float(float) => bank.set_f32(self.table(), at, float as f32),
                _ => bank.set_registers(self.table(), at, &[word(at)]),
            }
        }
    }
}

/// Another one in each register.
const fn word(at: u16) -> u16 {
    at.wrapping_mul(40_503)
}

/// A number that a single-precision float holds exactly.
fn float(at: u16) -> f32 {
    f32::from(at) * 0.25 - 1_000.0
}

/// Counts from its beginning, so that nothing sets it back during a burst.
#[derive(Debug)]
struct Steady(Instant);

impl Clock for Steady {
    fn wall_ns(&self) -> i64 {
        // In the year 2001: a clock of today, as far as anybody asks.
        1_000_000_000_000_000_000 + self.0.elapsed().as_nanos() as i64
    }
}

/// Nanoseconds a register, one sample a burst.
#[derive(Debug, Default)]
struct Contestants {
    adapter: Samples,
    bare: Samples,
}

/// # Errors
/// When a register was not read, or not as what it holds.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let bank = Arc::new(Bank::new(1 << 16));
    for kind in [Kind::Floats, Kind::Words] {
        kind.fill(&bank);
    }
    let machines = Machines::start(1, &bank, std::future::pending())?;
    let address = *machines.addresses.first().context("one server")?;
    let bursts = plan.size(100, 3);
    let mut all = [(Kind::Floats, Contestants::default()), (Kind::Words, Contestants::default())];
    for _ in 0..plan.rounds() {
        for (kind, contestants) in &mut all {
            runtime()?.block_on(through_adapter(*kind, address, bursts, &mut contestants.adapter))?;
            runtime()?.block_on(bare(*kind, address, bursts, &mut contestants.bare))?;
        }
    }
    machines.stop()?;
    let mut report = Report::default();
    for (kind, Contestants { adapter, bare }) in &all {
        let figure = Figure::of(15, kind.part(), "ns a register", adapter)
            .against("bare tokio-modbus", bare.median())
            .goal(Goal::Ratio(1.67));
        report.figures.push(figure);
        report.notes.push(format!(
            "15, {}: {} registers a second through the adapter, {} bare; {} requests of {REGISTERS_MAX} registers and {} \
             readings a burst, {} bursts each, all checked",
            kind.part(),
            number(1e9 / adapter.median()),
            number(1e9 / bare.median()),
            kind.requests(),
            kind.requests() * kind.readings_of_a_request(),
            adapter.count(),
        ));
    }
    Ok(report)
}

/// Registers that are asked for and answered after the first answer.
fn timed_registers(kind: Kind) -> f64 {
    f64::from((kind.requests() - 1) * REGISTERS_MAX)
}

async fn through_adapter(
    kind: Kind,
    address: SocketAddr,
    bursts: usize,
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(Steady(Instant::now()));
    let mut adapters = AtWork::start_by(&clock, sources(&kind.configuration(address))?);
    let expected: Vec<Value> = kind.values().map(|(_, value)| value).collect();
    for burst in 0..WARM_UP + bursts {
        let delivery = within("a poll", adapters.deliveries.recv()).await?;
        let done_ns = clock.wall_ns();
        let Delivery { readings, .. } = delivery.context("the adapter ended")?;
        check(&readings, &expected)?;
        let first_ns = readings.iter().map(|reading| reading.receive_time_ns).min().context("no reading")?;
        if burst >= WARM_UP {
            samples.add((done_ns - first_ns) as f64 / timed_registers(kind));
        }
    }
    let figures = adapters.devices().snapshots().pop().context("one device")?;
    adapters.end().await;
    let (requests, polls) = (figures.requests, figures.polls);
    // One more poll may have begun.
    let wanted = polls * u64::from(kind.requests())..=(polls + 1) * u64::from(kind.requests());
    ensure!(
        wanted.contains(&requests) && figures.connections == 1,
        "{requests} requests in {polls} polls over {} connections, wanted {} a poll over one",
        figures.connections,
        kind.requests()
    );
    Ok(())
}

fn check(readings: &[NewReading], expected: &[Value]) -> anyhow::Result<()> {
    ensure!(readings.len() == expected.len(), "{} readings of {}", readings.len(), expected.len());
    for reading in readings {
        let index = reading.stream.0 as usize;
        ensure!(
            reading.quality == Quality::Good && expected.get(index) == Some(&reading.value),
            "stream {index} is {reading:?}"
        );
    }
    Ok(())
}

async fn bare(kind: Kind, address: SocketAddr, bursts: usize, samples: &mut Samples) -> anyhow::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut client = tcp::attach_slave(stream, Slave(1));
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for burst in 0..WARM_UP + bursts {
        ticks.tick().await;
        let mut answers = Vec::with_capacity(kind.requests().into());
        let mut first = None;
        for request in 0..kind.requests() {
            let from = request * REGISTERS_MAX;
            let answer = match kind.table() {
                Table::Holding => client.read_holding_registers(from, REGISTERS_MAX).await,
                _ => client.read_input_registers(from, REGISTERS_MAX).await,
            };
            first.get_or_insert_with(Instant::now);
            answers.push(answer??);
        }
        let spent = first.context("no request")?.elapsed();
        let words = black_box(answers).concat();
        ensure!(words.len() == usize::from(kind.requests() * REGISTERS_MAX), "{} registers", words.len());
        for (at, value) in kind.values() {
            let at = usize::from(at);
            let read = match value {
                Value::Float(_) => {
                    let bits = u32::from(words[at]) << 16 | u32::from(words[at + 1]);
                    Value::Float(f64::from(f32::from_bits(bits)))
                }
                _ => Value::Unsigned(words[at].into()),
            };
            ensure!(read == value, "register {at} is {read:?}, not {value:?}");
        }
        if burst >= WARM_UP {
            samples.add(spent.as_nanos() as f64 / timed_registers(kind));
        }
    }
    Ok(())
}
