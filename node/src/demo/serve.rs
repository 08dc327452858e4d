//! The plant on sockets of this machine: its registers over Modbus TCP, its conveyor over OPC-UA. Which stream comes
//! over which: [`wiring`].
//!
//! | address | type | what |
//! |---|---|---|
//! | input 0, 1 | f32 | level of the tank, L |
//! | input 2 | u16 | flow through the valve, 0.01 L/min |
//! | input 3 | u16 | bottle under the valve, mL |
//! | input 4 | i16 | temperature in the tank, 0.1 °C |
//! | input 5 | u16 | speed of the conveyor, mm/s |
//! | input 6, 7 | u32 | bottles filled |
//! | coil 0, 1 | bit | pump on, valve open |
//! | holding 0, 1, 2 | u16 | set points: fill of a bottle, mL; pump on below and off above, 0.1 L |

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use edge_adapters::modbus::Table;
use edge_adapters::modbus::server::{self, Bank};
use selvedge_core::reading::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::conveyor::{Conveyor, Nodes};
use super::plant::{FILL_ML, Instruments, PUMP_OFF_ABOVE_DL, PUMP_ON_BELOW_DL, Plant};
use super::wiring::{self, Places};
use crate::engine::clock::wall_ns;

/// Registers and bits that the plant has.
const BANK_SIZE: usize = 16;
/// The registers change this often.
const TURN_EVERY: Duration = Duration::from_millis(20);
/// The conveyor's controller is slower: it says something every so many turns.
const CONVEYOR_TURNS: u64 = 5;
/// What the instruments showed, beside the gateways' folders.
const RECORD: &str = "plant.jsonl";

/// The plant at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// When, in milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// What its instruments showed.
    pub shown: Instruments,
}

impl Turn {
    fn of(plant: &Plant) -> Self {
        Self { time_ms: wall_ns() / 1_000_000, shown: plant.instruments() }
    }
}

/// A plant that runs and can be read.
#[derive(Debug)]
pub struct RunningPlant {
    places: Places,
    bank: Arc<Bank>,
    conveyor: Option<Conveyor>,
    turns: watch::Receiver<Turn>,
    stop: CancellationToken,
    turning: JoinHandle<io::Result<Plant>>,
    serving: JoinHandle<io::Result<()>>,
}

/// What the plant's servers were asked, and said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Modbus requests that were answered.
    pub requests: u64,
    /// New values of the conveyor's nodes; `None`: it has no OPC-UA server.
    pub changes: Option<u64>,
}

impl RunningPlant {
    /// Starts it on free ports of this machine. `folder` is for what it keeps; where `keep` says so, a record of what its
    /// instruments showed.
    ///
    /// # Errors
    /// When the system gives no port, or the folder cannot be written.
    pub async fn start(seed: &[u8; 32], folder: &Path, keep: bool) -> anyhow::Result<Self> {
        let no_port = "the system gives no port for the plant";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context(no_port)?;
        let modbus = listener.local_addr().context(no_port)?;
        let plant = Plant::new(seed);
        let first = Turn::of(&plant);
        let mut record = Record::new(keep.then_some(folder))?;
        record.add(&first).context("the record of the plant cannot be written")?;
        let bank = Arc::new(Bank::new(BANK_SIZE));
        bank.set_registers(Table::Holding, 0, &[FILL_ML, PUMP_ON_BELOW_DL, PUMP_OFF_ABOVE_DL]);
        // Before anybody can connect: an answer of zeros would be a reading.
        show(&bank, &first.shown);
        let stop = CancellationToken::new();
        let conveyor = Conveyor::start(&first, folder, &stop).await?;
        let places = Places { modbus, opcua: conveyor.as_ref().map(Conveyor::address) };
        let (out, turns) = watch::channel(first);
        let outlets =
            Outlets { bank: Arc::clone(&bank), nodes: conveyor.as_ref().map(Conveyor::nodes), out, record };
        let turning = tokio::spawn(turn(plant, outlets, stop.clone()));
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&bank), stop.clone()));
        Ok(Self { places, bank, conveyor, turns, stop, turning, serving })
    }

    /// Where it listens.
    pub const fn places(&self) -> Places {
        self.places
    }

    /// What its instruments show, from now on.
    pub fn turns(&self) -> watch::Receiver<Turn> {
        self.turns.clone()
    }

    /// What it was asked and said so far.
    pub fn served(&self) -> Served {
        Served { requests: self.bank.requests(), changes: self.conveyor.as_ref().map(Conveyor::changes) }
    }

    /// Stops it, and gives back the plant as it then is.
    ///
    /// # Errors
    /// When it had stopped by itself.
    pub async fn stop(self) -> anyhow::Result<Plant> {
        self.stop.cancel();
        self.serving.await??;
        if let Some(conveyor) = self.conveyor {
            conveyor.ended().await?;
        }
        Ok(self.turning.await??)
    }
}

/// What a turn of the plant is told to.
struct Outlets {
    bank: Arc<Bank>,
    nodes: Option<Nodes>,
    out: watch::Sender<Turn>,
    record: Record,
}

/// Lets the plant run in real time.
async fn turn(mut plant: Plant, mut outlets: Outlets, stop: CancellationToken) -> io::Result<Plant> {
    let mut ticks = tokio::time::interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut then = Instant::now();
    for number in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        plant.step(now - then);
        then = now;
        let turn = Turn::of(&plant);
        // First: nobody is to read what is not in the record.
        outlets.record.add(&turn)?;
        show(&outlets.bank, &turn.shown);
        if number.is_multiple_of(CONVEYOR_TURNS)
            && let Some(nodes) = &outlets.nodes
        {
            nodes.show(&turn);
        }
        outlets.out.send_replace(turn);
    }
    outlets.record.finish()?;
    Ok(plant)
}

fn show(bank: &Bank, shown: &Instruments) {
    bank.set_registers(Table::Input, 0, &input_registers(shown));
    bank.set_bit(Table::Coil, 0, shown.pump_on);
    bank.set_bit(Table::Coil, 1, shown.valve_open);
}

fn input_registers(shown: &Instruments) -> [u16; 8] {
    let level = shown.level_l.to_bits();
    [
        (level >> 16) as u16,
        level as u16,
        (shown.flow_l_min * 100.0).round() as u16,
        shown.bottle_ml.round() as u16,
        // A negative number travels as its two's complement.
        (shown.temperature_cel * 10.0).round() as i16 as u16,
        shown.conveyor_mm_s.round() as u16,
        (shown.bottles >> 16) as u16,
        shown.bottles as u16,
    ]
}

/// A value as a number of JSON, `true` or `false`.
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(value) => (*value).into(),
        Value::Unsigned(value) => (*value).into(),
        other => other.as_f64().into(),
    }
}

/// What the instruments showed, one line of JSON for each turn, for whoever compares it with the gateways' readings.
struct Record(Option<BufWriter<File>>);

impl Record {
    fn new(folder: Option<&Path>) -> anyhow::Result<Self> {
        let create = |folder: &Path| {
            let path = folder.join(RECORD);
            File::create(&path).with_context(|| format!("cannot write {}", path.display()))
        };
        Ok(Self(folder.map(create).transpose()?.map(BufWriter::new)))
    }

    fn add(&mut self, turn: &Turn) -> io::Result<()> {
        let Some(file) = &mut self.0 else { return Ok(()) };
        let mut line = serde_json::Map::new();
        line.insert("time_ms".into(), turn.time_ms.into());
        line.extend(wiring::said(&turn.shown).map(|(name, value)| (name.to_owned(), json(&value))));
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), io::Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use edge_adapters::{Clock, DecodedReading, SystemClock, Trial, TrialEvent};
    use selvedge_core::reading::Quality;

    use super::super::wiring::Task;
    use super::*;
    use crate::config;

    #[test]
    fn registers_hold_what_the_instruments_show() {
        let mut plant = Plant::new(&[3; 32]);
        plant.step(Duration::from_secs(7));
        let shown = Instruments { temperature_cel: -0.7, bottles: 70_000, ..plant.instruments() };
        let registers = input_registers(&shown);
        let level = f32::from_bits(u32::from(registers[0]) << 16 | u32::from(registers[1]));
        assert_eq!(level.to_bits(), shown.level_l.to_bits());
        assert_eq!(registers[4] as i16, -7);
        assert_eq!(registers[6..], [1, 4_464]);
    }

    /// The plant's own record is what readings are compared with, so a wrong register, node or scale is found.
    #[tokio::test]
    async fn adapters_read_what_the_plant_showed() {
        let folder = tempfile::tempdir().unwrap();
        let plant = RunningPlant::start(&[5; 32], folder.path(), true).await.unwrap();
        let task = Task { gateway: 0, count: 1, plant: plant.places(), messages: None, network: None };
        let settings = config::parse(&task.configuration()).expect("valid");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut seen: BTreeMap<String, DecodedReading> = BTreeMap::new();
        for device in &settings.devices {
            let mut trial = Trial::start(Arc::clone(device), Duration::from_secs(30), &clock);
            let mut left = device.streams().len();
            while left > 0 {
                if let TrialEvent::Reading(reading) = trial.next().await.expect("all streams within 30 s") {
                    assert_eq!(reading.quality, Quality::Good, "{reading:?}");
                    left -= usize::from(seen.insert(reading.stream.clone(), reading).is_none());
                }
            }
        }
        let served = plant.served();
        assert!(
            served.requests >= 3 && served.changes.is_some() == cfg!(feature = "demo-opcua"),
            "{served:?}"
        );
        assert!(plant.stop().await.unwrap().accounts().is_balanced());

        let record = std::fs::read_to_string(folder.path().join(RECORD)).unwrap();
        let turns: Vec<serde_json::Value> =
            record.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(seen.len(), 11, "{seen:?}");
        for (stream, reading) in &seen {
            let value = reading.value.as_f64().expect("a number");
            let showed = |turn: &serde_json::Value| {
                let shown = &turn[stream];
                let shown =
                    shown.as_f64().or(shown.as_bool().map(|on| f64::from(u8::from(on)))).expect("a number");
                turn["time_ms"].as_i64() <= Some(reading.receive_time_ns / 1_000_000)
                    && (shown - value).abs() < 1e-9
            };
            assert!(turns.iter().any(showed), "the plant never showed {reading:?}");
        }
    }
}
