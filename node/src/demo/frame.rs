//! What the demo shows of the running gateways at one moment. Values and counts come from what is durable: nothing
//! is shown that a power cut could take back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::{DeviceSnapshot, DeviceState};
use selvedge_core::reading::Quality;
use selvedge_core::record::GENESIS_NUMBER;

use super::compare::{Agreement, Comparison};
use crate::answers::Live;
use crate::store::{Backlog, DiskUsage, StoreError, StoreReader};

/// A reading of a stream, as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// The scaled value; `true` and `false` are 1 and 0.
    pub value: f64,
    /// Does the source vouch for it?
    pub good: bool,
}

/// The newest transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// Its local number.
    pub number: u64,
    /// First digits of its id.
    pub id: String,
    /// What it approves: first digits of the ids, or `genesis`.
    pub approves: [String; 2],
}

/// What the demo is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// The plant is polled.
    Polling,
    /// No more readings: waiting until all have everything, this long at most.
    Settling {
        /// What is left of the wait.
        left: Duration,
    },
}

/// When a frame is taken.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Since the start.
    pub elapsed: Duration,
    /// How long the plant is to be polled.
    pub run_for: Duration,
    /// What the demo is at.
    pub phase: Phase,
    /// Which cable is cut, and for how long, in words.
    pub cable: Option<String>,
}

/// What is looked at of one gateway.
#[derive(Debug, Clone)]
pub struct Look {
    /// Its name.
    pub name: String,
    /// Its store.
    pub reader: StoreReader,
    /// Its live figures.
    pub live: Arc<Live>,
    /// Gateways that it is connected to.
    pub peers: usize,
    /// Bytes sent and received.
    pub traffic: (u64, u64),
    /// Is its cable out?
    pub is_cut: bool,
}

/// One gateway at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayFrame {
    /// Its name.
    pub name: String,
    /// Readings of its own, durable.
    pub readings: u64,
    /// Those of them that are in no transaction yet.
    pub waiting: Backlog,
    /// The same as the core has it, some moments ago: readings that are not durable yet are among these.
    pub in_core: u64,
    /// Batches of its own that are in transactions.
    pub batches: u64,
    /// Transactions attached, of whomever.
    pub transactions: u64,
    /// Gateways that it is connected to.
    pub peers: usize,
    /// Of its newest transaction with a payload: how many of how many have it in their past cone, as far as this
    /// gateway knows.
    pub witnessed: Option<(u32, u32)>,
    /// Bytes sent to others.
    pub bytes_sent: u64,
    /// Bytes received from others.
    pub bytes_received: u64,
    /// Is its cable out?
    pub is_cut: bool,
}

/// One moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Since the start.
    pub elapsed: Duration,
    /// How long it is to run.
    pub run_for: Duration,
    /// What the demo is at.
    pub phase: Phase,
    /// Which cable is cut, and for how long, in words.
    pub cable: Option<String>,
    /// The plant's devices with their protocols, when all answer; else the first that does not, and why.
    pub device: String,
    /// Do they answer to all gateways?
    pub device_up: bool,
    /// The newest reading of each stream that has one.
    pub values: BTreeMap<String, Shown>,
    /// The gateways.
    pub gateways: Vec<GatewayFrame>,
    /// How far they agree.
    pub agreement: Agreement,
    /// Tips, as the first gateway has them.
    pub tips: usize,
    /// The newest transaction of the first gateway's ledger.
    pub newest: Option<Newest>,
    /// Bytes on the disk, all of them together.
    pub disk: DiskUsage,
}

impl Frame {
    /// Looks at the gateways; the first is the one whose tips are shown.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub fn take(looks: &[Look], comparison: &mut Comparison, moment: Moment) -> Result<Self, StoreError> {
        let Moment { elapsed, run_for, phase, cable } = moment;
        let mut frame = Self {
            elapsed,
            run_for,
            phase,
            cable,
            device: String::new(),
            device_up: false,
            values: BTreeMap::new(),
            gateways: Vec::new(),
            agreement: Agreement::default(),
            tips: 0,
            newest: None,
            disk: DiskUsage::default(),
        };
        for (place, look) in looks.iter().enumerate() {
            comparison.read_on(place, &look.reader)?;
            frame.add(place, look, comparison, looks.len() as u32)?;
        }
        frame.agreement = comparison.agreement();
        if let Some(first) = looks.first() {
            frame.tips = first.reader.tips()?.len();
            frame.newest = newest(&first.reader)?;
        }
        let devices: Vec<&DeviceSnapshot> = looks.iter().flat_map(|look| &look.live.devices).collect();
        let shown = devices.iter().find(|device| device.state != DeviceState::Up);
        frame.device_up = shown.is_none() && !devices.is_empty();
        frame.device = shown.map_or_else(|| up_words(&devices), |device| device_words(device));
        Ok(frame)
    }

    fn add(
        &mut self,
        place: usize,
        look: &Look,
        comparison: &Comparison,
        count: u32,
    ) -> Result<(), StoreError> {
        let mut readings = 0;
        for stream in look.reader.streams()? {
            readings += stream.next_counter;
            let Some(newest) = stream.newest else { continue };
            let number = newest
                .reading
                .value
                .as_f64()
                .map(|raw| raw * stream.descriptor.scale.to_f64() + stream.descriptor.offset.to_f64());
            if let Some(value) = number {
                let good = newest.reading.quality == Quality::Good;
                self.values.insert(stream.name, Shown { value, good });
            }
        }
        let newest = comparison.newest_payload(place);
        let known = |number: &u64| look.live.witnessed.iter().find(|(n, _)| n == number);
        let witnessed = newest.as_ref().and_then(known).map(|(_, k)| (*k, count));
        let disk = look.reader.disk_usage()?;
        self.disk.log_bytes += disk.log_bytes;
        self.disk.journal_bytes += disk.journal_bytes;
        self.disk.index_bytes += disk.index_bytes;
        self.disk.archive_bytes += disk.archive_bytes;
        self.gateways.push(GatewayFrame {
            name: look.name.clone(),
            readings,
            waiting: look.reader.backlog()?,
            in_core: look.live.ledger.backlog_readings,
            batches: look.live.events.batched,
            transactions: look.reader.next_number()?,
            peers: look.peers,
            witnessed,
            bytes_sent: look.traffic.0,
            bytes_received: look.traffic.1,
            is_cut: look.is_cut,
        });
        Ok(())
    }

    /// The newest value of a stream.
    pub fn value(&self, stream: &str) -> Option<f64> {
        self.values.get(stream).map(|shown| shown.value)
    }

    /// Readings of all gateways.
    pub fn readings(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.readings).sum()
    }

    /// Batches of all gateways.
    pub fn batches(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.batches).sum()
    }

    /// Readings of all gateways that are in no transaction yet.
    pub fn waiting(&self) -> u64 {
        self.gateways.iter().map(|gateway| gateway.waiting.readings).sum()
    }

    /// Is every reading that was taken in a transaction?
    pub fn is_drained(&self) -> bool {
        self.gateways.iter().all(|gateway| gateway.waiting.readings == 0 && gateway.in_core == 0)
    }

    /// All bytes on the disk.
    pub const fn disk_bytes(&self) -> u64 {
        self.disk.log_bytes + self.disk.journal_bytes + self.disk.index_bytes + self.disk.archive_bytes
    }
}

/// Each device once, whoever reads it, and over which protocol: `filler-plc modbus-tcp, conveyor-plc opcua: up`.
fn up_words(devices: &[&DeviceSnapshot]) -> String {
    let mut names: Vec<String> = Vec::new();
    for device in devices {
        let name = format!("{} {}", device.device, device.protocol);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() { String::new() } else { format!("{}: up", names.join(", ")) }
}

fn device_words(device: &DeviceSnapshot) -> String {
    let state = match device.state {
        DeviceState::Starting => "starting",
        DeviceState::Up => "up",
        DeviceState::Degraded => "refuses a part",
        DeviceState::Down => "down",
        DeviceState::Stopped => "stopped",
    };
    let why = device.error.as_ref().map_or_else(String::new, |why| format!(" ({why})"));
    format!("{} at {} ({}): {state}{why}", device.device, device.address, device.protocol)
}

fn newest(reader: &StoreReader) -> Result<Option<Newest>, StoreError> {
    let Some(record) = reader.newest(1)?.pop() else { return Ok(None) };
    let name = |number| {
        if number == GENESIS_NUMBER {
            return Ok("genesis".to_owned());
        }
        // A tip is never approved before it is attached, so it is there.
        Ok(reader.record(number)?.map_or_else(|| number.to_string(), |record| record.id.short()))
    };
    let approves: [Result<String, StoreError>; 2] = record.approves.map(name);
    let [first, second] = approves;
    Ok(Some(Newest { number: record.number, id: record.id.short(), approves: [first?, second?] }))
}
