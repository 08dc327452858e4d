//! The way out of an adapter: a bounded channel, and what a stream remembers of itself.
//!
//! **Full queue.** Polls skip and count: a poll that would find no room is not made, and readings that find none are
//! dropped, counted and shown in `status`; the next poll brings newer ones. Sources that want an acknowledgement wait
//! instead, and so stop acknowledging, which makes their server keep what is not taken yet.
//!
//! **Dead link.** [`Outlet::mark_stale`] gives every stream that has spoken *one* reading: its last value under its
//! old source time, with quality `Stale`. Then it is silent until the adapter delivers something new. A stream that
//! never spoke has no value to be stale and no old time, and stays silent. This memory belongs to the device and
//! not to the adapter, so it outlives an adapter that panics. What finds no room in a full queue stays owed, and goes
//! before the next reading of its stream.
//!
//! **The past.** Values that a source kept and says later are delivered, all of them, and are no stream's last value:
//! see [`Readings`].

mod brought;
mod held;
mod memory;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_core::border::{NewReading, Origin, StreamHandle};
use selvedge_core::limits::SUBMIT_READINGS_MAX;
use selvedge_core::reading::Quality;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::adapter::{Report, StreamSpec};
use crate::clock::Clock;
use crate::health::{DeviceSnapshot, DeviceState, Health};
pub use brought::Readings;
use memory::{Memory, is_good};

/// Deliveries that may wait for the node, all devices together. Each holds at most
/// [`SUBMIT_READINGS_MAX`] readings; a poll of a usual device is one delivery of some dozens.
pub const DELIVERIES_MAX: usize = 256;

/// Readings on their way to the node: all of them are kept, or none.
#[derive(Debug)]
pub struct Delivery {
    /// The readings, at most [`SUBMIT_READINGS_MAX`].
    pub readings: Vec<NewReading>,
    /// Which messages they came from, where the source sends a message again until it is acknowledged: durable
    /// together with the readings, so that such a message is known again. At most [`SUBMIT_READINGS_MAX`].
    pub origins: Vec<Origin>,
    /// Told when they are durable; dropped when they were not kept. `None` where nobody waits.
    pub ack: Option<oneshot::Sender<()>>,
}

/// The channel between all adapters and the node. Full: see the module.
pub fn delivery_queue() -> (mpsc::Sender<Delivery>, mpsc::Receiver<Delivery>) {
    mpsc::channel(DELIVERIES_MAX)
}

/// The node did not say that the readings are durable: it stops, or refused them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the node did not take the readings")]
pub struct NotTaken;

/// The way out of one device. Clones are the same outlet.
#[derive(Debug, Clone)]
pub struct Outlet {
    sender: mpsc::Sender<Delivery>,
    shared: Arc<Shared>,
}

/// Readings that were handed over, until they are durable.
#[derive(Debug, Default)]
pub struct UnderWay(VecDeque<oneshot::Receiver<()>>);

impl UnderWay {
    /// Waits until the node says that all of them are durable. May be dropped and called again.
    ///
    /// # Errors
    /// [`NotTaken`] when the node stops or refuses; then nothing may be acknowledged to the source.
    pub async fn durable(&mut self) -> Result<(), NotTaken> {
        if planted!(AcknowledgesEarly) {
            self.0.clear();
        }
        while let Some(answer) = self.0.front_mut() {
            answer.await.map_err(|_| NotTaken)?;
            self.0.pop_front();
        }
        Ok(())
    }
}

/// An outlet that does not keep the queue open.
#[derive(Debug, Clone)]
pub(crate) struct WeakOutlet {
    sender: mpsc::WeakSender<Delivery>,
    shared: Arc<Shared>,
}

impl WeakOutlet {
    /// The outlet; `None` when all adapters have ended.
    pub(crate) fn upgrade(&self) -> Option<Outlet> {
        Some(Outlet { sender: self.sender.upgrade()?, shared: Arc::clone(&self.shared) })
    }
}

/// The device behind an outlet, to look at only: it does not keep the queue open.
#[derive(Debug, Clone)]
pub(crate) struct View(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
    streams: Mutex<Streams>,
    /// Told when something is held that is due before all else.
    held: Notify,
}

#[derive(Debug)]
struct Streams {
    /// Nothing leaves any more: its handles may be another device's.
    is_closed: bool,
    memories: Vec<Memory>,
    places: Places,
    /// Has any of them a deadband or an interval?
    leave_out: bool,
    /// Does any of them owe a stale reading?
    owes: bool,
    /// When the first of what is held is due, or earlier: it may have been replaced since.
    held_first: Option<Instant>,
}

/// Where a device's streams stand among its memories, by handle. Handles of a node are below [`STREAMS_MAX`], and those of a
/// device mostly follow each other, so this is a table from the first of them to the last.
///
/// [`STREAMS_MAX`]: selvedge_core::limits::STREAMS_MAX
#[derive(Debug)]
struct Places {
    first: u32,
    table: Vec<Option<u32>>,
}

impl Outlet {
    /// The way out of one device whose streams have these handles, in order.
    pub fn new(
        streams: impl IntoIterator<Item = (StreamHandle, StreamSpec)>,
        sender: mpsc::Sender<Delivery>,
        health: Arc<Health>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let memories: Vec<Memory> =
            streams.into_iter().map(|(handle, spec)| Memory::new(handle, spec)).collect();
        let places = Places::of(&memories);
        let leave_out = memories.iter().any(|memory| memory.spec.report != Report::default());
        let streams =
            Streams { is_closed: false, memories, places, leave_out, owes: false, held_first: None };
        let shared = Shared { health, clock, streams: Mutex::new(streams), held: Notify::new() };
        Self { sender, shared: Arc::new(shared) }
    }

    /// Is there room for a delivery? Asked before a poll, so that a device is not read for nothing.
    pub fn has_room(&self) -> bool {
        self.sender.capacity() > 0
    }

    /// Delivers what a poll brought; drops and counts what finds no room. What comes too soon is left out, since the next
    /// poll brings what is newer.
    pub fn offer(&self, readings: Vec<NewReading>) {
        let mut streams = self.lock();
        if streams.is_closed {
            return;
        }
        let wanted = self.notice(&mut streams, readings.into(), false);
        for part in parts(wanted) {
            if let Ok(room) = self.sender.try_reserve() {
                self.shared.health.delivered(part.len());
                streams.handed_over(&part);
                room.send(Delivery { readings: part, origins: Vec::new(), ack: None });
            } else {
                self.shared.health.dropped(part.len());
                streams.owe(part.into_iter().filter(|reading| reading.quality == Quality::Stale));
            }
        }
    }

    /// Delivers, waits for room, and waits until the node says that all of it is durable.
    ///
    /// # Errors
    /// [`NotTaken`] when the node stops or refuses; then nothing may be acknowledged to the source.
    pub async fn deliver(&self, readings: Vec<NewReading>) -> Result<(), NotTaken> {
        self.hand_over(readings, Vec::new()).await?.durable().await
    }

    /// Waits for room and delivers; whoever calls waits for the answer apart. Readings of two calls, one after the
    /// other, stay in order. `origins` become durable with the last of the readings, or earlier with none of them.
    /// What is left out is not delivered, and counts as durable; what came too soon is delivered when its interval is
    /// over, if nothing newer came; nothing of the past is left out. Dropping this future while it waits loses the
    /// readings.
    ///
    /// # Errors
    /// [`NotTaken`] when the node stops.
    pub async fn hand_over(
        &self,
        readings: impl Into<Readings>,
        origins: Vec<Origin>,
    ) -> Result<UnderWay, NotTaken> {
        let wanted = {
            let mut streams = self.lock();
            self.notice(&mut streams, readings.into(), true)
        };
        let mut answers = VecDeque::new();
        let mut origins = Some(origins);
        let mut parts = parts(wanted).peekable();
        while let Some(part) = parts.next() {
            let room = self.sender.reserve().await.map_err(|_| NotTaken)?;
            let (ack, durable) = oneshot::channel();
            if self.lock().is_closed {
                return Err(NotTaken);
            }
            self.shared.health.delivered(part.len());
            let origins = if parts.peek().is_none() { origins.take() } else { None };
            room.send(Delivery { readings: part, origins: origins.unwrap_or_default(), ack: Some(ack) });
            answers.push_back(durable);
        }
        Ok(UnderWay(answers))
    }

    /// The link is down: one stale reading for each stream that has spoken and is not stale yet. What finds no room
    /// stays owed until the next call, or until the stream speaks again.
    pub fn mark_stale(&self, status: u32) {
        let mut streams = self.lock();
        if streams.is_closed || planted!(DeadLinkSaysNothing) {
            return;
        }
        let owed = self.stale(&streams, status);
        for part in parts(owed) {
            let Ok(room) = self.sender.try_reserve() else {
                streams.owe(part);
                continue;
            };
            self.shared.health.delivered(part.len());
            streams.handed_over(&part);
            for reading in &part {
                if let Some(memory) = streams.memory(reading.stream) {
                    memory.stale = true;
                    // Its value and its time are those of the stale reading.
                    (memory.held, memory.owed) = (None, None);
                }
            }
            room.send(Delivery { readings: part, origins: Vec::new(), ack: None });
        }
    }

    /// The last reading of each stream that has spoken and is not stale yet, as a stale one, or the one that it owes.
    fn stale(&self, streams: &Streams, status: u32) -> Vec<NewReading> {
        let receive_time_ns = self.shared.clock.wall_ns();
        let spoken = streams.memories.iter().filter(|memory| !memory.stale && !memory.spec.is_attempts());
        let stale = |last: NewReading| {
            let source_time_ns =
                if planted!(StaleUnderANewTime) { receive_time_ns } else { last.source_time_ns };
            NewReading { quality: Quality::Stale, status, source_time_ns, receive_time_ns, ..last }
        };
        spoken.filter_map(|memory| memory.owed.clone().or_else(|| memory.last.clone().map(stale))).collect()
    }

    /// The device at this moment, with its streams.
    pub fn snapshot(&self) -> DeviceSnapshot {
        self.view().snapshot()
    }

    pub(crate) fn view(&self) -> View {
        View(Arc::clone(&self.shared))
    }

    pub(crate) fn weak(&self) -> WeakOutlet {
        WeakOutlet { sender: self.sender.downgrade(), shared: Arc::clone(&self.shared) }
    }

    /// Notes what the streams said, and leaves out what is too like the last, or too soon. `hold`: what came too soon may be
    /// the last that its source says.
    fn notice(&self, streams: &mut Streams, readings: Readings, hold: bool) -> Vec<NewReading> {
        let (mut held, mut good_ns): (Option<Instant>, _) = (None, None);
        let leave_out = streams.leave_out;
        let readings = if streams.owes { streams.pay(readings) } else { readings };
        let (mut readings, past) = readings.into_parts();
        let mut past = past.into_iter().peekable();
        let mut next = 0;
        readings.retain(|reading| {
            let place = next;
            next += 1;
            if past.next_if_eq(&place).is_some() {
                return true;
            }
            let memory =
                streams.memory(reading.stream).expect("an adapter delivers only for its own streams");
            let wanted = memory.stale || !memory.is_left_out(reading);
            memory.held = None;
            // What is handed over leaves: the next one is compared with it, also in the same delivery.
            if hold && wanted && leave_out {
                memory.delivered(reading, 0);
            } else if hold && !wanted {
                held = held.into_iter().chain(memory.hold(reading)).min();
            }
            memory.remember(reading);
            if is_good(reading) {
                good_ns = Some(reading.receive_time_ns);
            }
            wanted
        });
        if let Some(receive_time_ns) = good_ns {
            self.shared.health.good_at(receive_time_ns);
        }
        if let Some(due) = held.filter(|due| streams.held_first.is_none_or(|first| *due < first)) {
            streams.held_first = Some(due);
            self.shared.held.notify_one();
        }
        readings
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.shared.lock()
    }
}

impl View {
    /// Nothing leaves the device any more, after one stale reading for each stream that has spoken and is not stale: whoever
    /// looks at the last one must see that nobody asks any more. What left before is in the queue.
    pub(crate) async fn close(&self, sender: &mpsc::Sender<Delivery>, status: u32) {
        let outlet = Outlet { sender: sender.clone(), shared: Arc::clone(&self.0) };
        let owed = outlet.stale(&self.0.lock(), status);
        let _ = outlet.hand_over(owed, Vec::new()).await;
        self.0.lock().is_closed = true;
    }

    pub(crate) fn snapshot(&self) -> DeviceSnapshot {
        let mut snapshot = self.0.health.figures();
        snapshot.streams = self.0.lock().memories.iter().map(Memory::snapshot).collect();
        snapshot
    }

    #[cfg(test)]
    pub(crate) fn outlet(&self, sender: &mpsc::Sender<Delivery>) -> Outlet {
        Outlet { sender: sender.clone(), shared: Arc::clone(&self.0) }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<DeviceState> {
        self.0.health.changes()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Streams> {
        // After a panic in another adapter's task the memories still hold: each change is complete by itself.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn memory(&mut self, handle: StreamHandle) -> Option<&mut Memory> {
        let place = self.places.of_handle(handle)?;
        self.memories.get_mut(place)
    }

    fn handed_over(&mut self, readings: &[NewReading]) {
        if !self.leave_out {
            return;
        }
        for reading in readings {
            if let Some(memory) = self.memory(reading.stream) {
                memory.delivered(reading, 0);
            }
        }
    }

    /// There was no room for these stale readings.
    fn owe(&mut self, stale: impl IntoIterator<Item = NewReading>) {
        for reading in stale {
            if let Some(memory) = self.memory(reading.stream) {
                // The next one is told from this one, and not from the good one before the link died.
                (memory.held, memory.delivered_good) = (None, None);
                memory.owed = Some(reading);
                self.owes = true;
            }
        }
    }

    /// The readings with what their streams owe before the first of each.
    fn pay(&mut self, readings: Readings) -> Readings {
        let (readings, past) = readings.into_parts();
        let mut past = past.into_iter().peekable();
        let mut paid = Readings::default();
        for (place, reading) in readings.into_iter().enumerate() {
            if past.next_if_eq(&place).is_some() {
                paid.push_past(reading);
                continue;
            }
            if let Some(owed) = self.memory(reading.stream).and_then(|memory| memory.owed.take()) {
                paid.push(owed);
            }
            paid.push(reading);
        }
        self.owes = self.memories.iter().any(|memory| memory.owed.is_some());
        paid
    }
}

impl Places {
    fn of(memories: &[Memory]) -> Self {
        let handles = || memories.iter().map(|memory| memory.handle.0);
        let (first, last) = (handles().min().unwrap_or(0), handles().max());
        let mut table = vec![None; last.map_or(0, |last| (last - first) as usize + 1)];
        for (place, handle) in (0..).zip(handles()) {
            table[(handle - first) as usize] = Some(place);
        }
        Self { first, table }
    }

    fn of_handle(&self, handle: StreamHandle) -> Option<usize> {
        let at = handle.0.checked_sub(self.first)?;
        self.table.get(at as usize).copied().flatten().map(|place| place as usize)
    }
}

/// In deliveries of at most [`SUBMIT_READINGS_MAX`].
fn parts(mut readings: Vec<NewReading>) -> impl Iterator<Item = Vec<NewReading>> {
    std::iter::from_fn(move || {
        if readings.is_empty() {
            return None;
        }
        let rest = readings.split_off(readings.len().min(SUBMIT_READINGS_MAX));
        Some(std::mem::replace(&mut readings, rest))
    })
}
