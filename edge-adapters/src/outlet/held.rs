//! The last change of a burst. A source that reports changes says its last value once: where `min_interval` leaves that out
//! as too soon, it is held, and delivered when the interval is over, unless something newer came or the value went back
//! into the deadband meanwhile. What a poll leaves out is not held: the next poll brings what is newer.
//!
//! A held reading keeps its own times. Its message was acknowledged, as that of any reading that is left out: a power cut
//! within the interval loses it. A stop and a change of the configuration do not: it is delivered then, before it is due
//! ([`Outlet::let_go`]).

use std::convert::Infallible;
use std::future::pending;

use selvedge_core::border::NewReading;
use selvedge_core::limits::SUBMIT_READINGS_MAX;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::memory::Memory;
use super::{Delivery, Outlet, Streams};

/// A reading that came too soon.
#[derive(Debug)]
pub(super) struct Held {
    reading: NewReading,
    /// When the interval is over.
    due: Instant,
    /// The same by the wall clock, ns since 1970: the next interval begins here.
    due_ns: i64,
}

impl Memory {
    /// What came last was left out. Until when is it held?
    pub(super) fn hold(&mut self, reading: &NewReading) -> Option<Instant> {
        let delivered = self.delivered_good?;
        let interval = self.spec.report.min_interval;
        let due_ns =
            delivered.receive_ns.saturating_add(i64::try_from(interval.as_nanos()).unwrap_or(i64::MAX));
        let left_ns = u64::try_from(due_ns.saturating_sub(reading.receive_time_ns)).unwrap_or(0);
        // Without an interval nothing is left; within the band there is nothing to tell.
        if left_ns == 0 || self.is_within_band(reading) {
            return None;
        }
        let due = Instant::now() + std::time::Duration::from_nanos(left_ns);
        self.held = Some(Held { reading: reading.clone(), due, due_ns });
        Some(due)
    }
}

impl Streams {
    fn all_due(&self) -> impl Iterator<Item = Instant> {
        self.memories.iter().filter_map(|memory| Some(memory.held.as_ref()?.due))
    }

    /// What is due at this moment, one delivery at most.
    fn take_held(&mut self, now: Instant) -> Vec<NewReading> {
        let mut readings = Vec::new();
        for memory in &mut self.memories {
            if readings.len() == SUBMIT_READINGS_MAX {
                break;
            }
            let Some(held) = memory.held.take_if(|held| held.due <= now) else { continue };
            memory.delivered(&held.reading, held.due_ns.saturating_sub(held.reading.receive_time_ns));
            readings.push(held.reading);
        }
        self.held_first = self.all_due().min();
        readings
    }
}

impl Outlet {
    /// Delivers what is held whenever it is due, for ever.
    pub(crate) async fn deliver_held(&self) -> Infallible {
        loop {
            let due = self.lock().held_first;
            let is_over = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.shared.held.notified() => continue,
                () = is_over => {}
            }
            // Nobody takes anything any more.
            let Ok(room) = self.sender.reserve().await else { return pending().await };
            self.send_held(room, Instant::now());
        }
    }

    /// Delivers what is held at once, as soon as there is room: nobody will be there when it is due. May be dropped
    /// halfway.
    pub(crate) async fn let_go(&self) {
        loop {
            let last = self.lock().all_due().max();
            let Some(last) = last else { return };
            // Nobody takes anything any more.
            let Ok(room) = self.sender.reserve().await else { return };
            self.send_held(room, last);
        }
    }

    fn send_held(&self, room: mpsc::Permit<'_, Delivery>, now: Instant) {
        let mut streams = self.lock();
        let readings = streams.take_held(now);
        if readings.is_empty() || streams.is_closed {
            return;
        }
        self.shared.health.delivered(readings.len());
        room.send(Delivery { readings, origins: Vec::new(), ack: None });
    }
}
