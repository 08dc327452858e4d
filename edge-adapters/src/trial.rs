//! One device read for a while, without any node: what `selvedge adapter test` prints before anything is signed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::Descriptor;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::adapter::Source;
use crate::clock::Clock;
use crate::health::{DeviceSnapshot, DeviceState};
use crate::mapping::{Scaled, scaled};
use crate::outlet::{Delivery, delivery_queue};
use crate::supervisor::{Device, Devices, Supervisor};

/// What happened during a trial.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialEvent {
    /// The state of the device changed: it answers, or it does not and here is why.
    Device(Box<DeviceSnapshot>),
    /// It said something.
    Reading(DecodedReading),
}

/// A reading with the words that belong to it.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedReading {
    /// Name of the stream.
    pub stream: String,
    /// Unit of the scaled value, as UCUM text.
    pub unit: String,
    /// The scaled value.
    pub value: Scaled,
    /// What the configuration calls it.
    pub word: Option<String>,
    /// The value as the device sent it.
    pub raw: Value,
    /// Quality.
    pub quality: Quality,
    /// Status code ([`status_code`](crate::status_code)).
    pub status: u32,
    /// Source time, ns since 1970 UTC.
    pub source_time_ns: i64,
    /// Receive time, ns since 1970 UTC.
    pub receive_time_ns: i64,
}

/// A device being read. Dropping it stops.
#[derive(Debug)]
pub struct Trial {
    source: Arc<dyn Source>,
    devices: Devices,
    deliveries: mpsc::Receiver<Delivery>,
    state: watch::Receiver<DeviceState>,
    waiting: VecDeque<TrialEvent>,
    until: Instant,
    _supervisor: Supervisor,
}

impl Trial {
    /// Reads a checked device for `duration`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(source: Arc<dyn Source>, duration: Duration, clock: &Arc<dyn Clock>) -> Self {
        let source = source.rehearsal().unwrap_or(source);
        let (sender, deliveries) = delivery_queue();
        let streams = (0..crate::adapter::all_streams(&*source).len())
            .map(|index| StreamHandle(index as u32))
            .collect();
        let device = Device { source: Arc::clone(&source), streams };
        let supervisor = Supervisor::start(vec![device], &sender, clock, 0, &CancellationToken::new());
        let devices = supervisor.devices();
        let state = devices.changes_of_first().expect("one device");
        let (until, waiting) = (Instant::now() + duration, VecDeque::new());
        Self { source, devices, deliveries, state, waiting, until, _supervisor: supervisor }
    }

    /// The next event; `None` when the time is over.
    pub async fn next(&mut self) -> Option<TrialEvent> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                return Some(event);
            }
            tokio::select! {
                biased;
                () = sleep_until(self.until) => return None,
                Ok(()) = self.state.changed() => {
                    return Some(TrialEvent::Device(Box::new(self.snapshot())));
                }
                Some(Delivery { readings, ack, .. }) = self.deliveries.recv() => {
                    let source = &self.source;
                    self.waiting.extend(readings.into_iter().map(|reading| decoded(&**source, reading)));
                    // Seen is as good as kept here; an adapter that has gone meanwhile needs no answer.
                    let _ = ack.map(|ack| ack.send(()));
                }
                else => return None,
            }
        }
    }

    /// The device at this moment, with its figures.
    ///
    /// # Panics
    /// Never: a trial has one device.
    pub fn snapshot(&self) -> DeviceSnapshot {
        self.devices.snapshots().pop().expect("one device")
    }
}

fn decoded(source: &dyn Source, reading: NewReading) -> TrialEvent {
    let spec = &source.streams()[reading.stream.0 as usize];
    let descriptor: &Descriptor = &spec.descriptor;
    TrialEvent::Reading(DecodedReading {
        stream: descriptor.name.clone(),
        unit: descriptor.unit.clone(),
        value: scaled(&reading.value, descriptor),
        word: spec.word(&reading.value),
        raw: reading.value,
        quality: reading.quality,
        status: reading.status,
        source_time_ns: reading.source_time_ns,
        receive_time_ns: reading.receive_time_ns,
    })
}
