//! What the demo shows of the running gateway at one moment. Values and counts come from what is durable: nothing
//! is shown that a power cut could take back.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_adapters::{DeviceSnapshot, DeviceState};
use selvedge_core::reading::Quality;
use selvedge_core::record::GENESIS_NUMBER;

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

/// One moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Since the start.
    pub elapsed: Duration,
    /// How long it is to run.
    pub run_for: Duration,
    /// The device: name, address, how it is.
    pub device: String,
    /// Does it answer?
    pub device_up: bool,
    /// The newest reading of each stream that has one.
    pub values: BTreeMap<String, Shown>,
    /// Readings, durable.
    pub readings: u64,
    /// Those of them that are in no transaction yet.
    pub waiting: Backlog,
    /// Batches that are in transactions.
    pub batches: u64,
    /// Transactions attached.
    pub transactions: u64,
    /// Tips.
    pub tips: usize,
    /// The newest transaction.
    pub newest: Option<Newest>,
    /// Bytes on the disk.
    pub disk: DiskUsage,
}

impl Frame {
    /// Looks at the gateway.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn take(
        reader: &StoreReader,
        live: &Live,
        elapsed: Duration,
        run_for: Duration,
    ) -> Result<Self, StoreError> {
        let mut values = BTreeMap::new();
        let mut readings = 0;
        for stream in reader.streams()? {
            readings += stream.next_counter;
            let Some(newest) = stream.newest else { continue };
            let number = newest
                .reading
                .value
                .as_f64()
                .map(|raw| raw * stream.descriptor.scale.to_f64() + stream.descriptor.offset.to_f64());
            if let Some(value) = number {
                values.insert(stream.name, Shown { value, good: newest.reading.quality == Quality::Good });
            }
        }
        let device = live.devices.first();
        Ok(Self {
            elapsed,
            run_for,
            device: device.map_or_else(String::new, device_words),
            device_up: device.is_some_and(|d| d.state == DeviceState::Up),
            values,
            readings,
            waiting: reader.backlog()?,
            batches: live.events.batched,
            transactions: reader.next_number()?,
            tips: reader.tips()?.len(),
            newest: newest(reader)?,
            disk: reader.disk_usage()?,
        })
    }

    /// The newest value of a stream.
    pub fn value(&self, stream: &str) -> Option<f64> {
        self.values.get(stream).map(|shown| shown.value)
    }

    /// All bytes on the disk.
    pub const fn disk_bytes(&self) -> u64 {
        self.disk.log_bytes + self.disk.journal_bytes + self.disk.index_bytes + self.disk.archive_bytes
    }
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
