//! What a stream remembers of itself, and what of it is left out.

use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::Quality;

use super::held::Held;
use crate::adapter::{Deadband, Report, StreamSpec};
use crate::health::{ReadingSnapshot, StreamSnapshot};
use crate::mapping::scaled;

/// What a stream remembers of itself.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) handle: StreamHandle,
    pub(super) spec: StreamSpec,
    pub(super) last: Option<NewReading>,
    /// The good reading before `last`, where that is not good itself.
    pub(super) good_before: Option<NewReading>,
    /// The reading delivered last, if that was good.
    pub(super) delivered_good: Option<Delivered>,
    pub(super) held: Option<Held>,
    pub(super) stale: bool,
    /// The stale reading for which there was no room.
    pub(super) owed: Option<NewReading>,
}

/// What a deadband and an interval are measured from. Times are ns since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivered {
    /// Scaled; `None` where no deadband asks for it.
    pub(super) value: Option<f64>,
    pub(super) source_ns: i64,
    pub(super) receive_ns: i64,
}

impl Memory {
    /// Of a stream that has not spoken.
    pub(super) const fn new(handle: StreamHandle, spec: StreamSpec) -> Self {
        Self {
            handle,
            spec,
            last: None,
            good_before: None,
            delivered_good: None,
            held: None,
            stale: false,
            owed: None,
        }
    }

    /// It leaves so many ns after it came; the next interval counts from this moment.
    pub(super) fn delivered(&mut self, reading: &NewReading, later_ns: i64) {
        let is_good = is_good(reading);
        // Only a deadband asks for it, and scaling costs as much as all else here.
        let asked = is_good && self.spec.report.deadband.is_some();
        self.delivered_good = is_good.then(|| Delivered {
            value: asked.then(|| scaled(&reading.value, &self.spec.descriptor)).and_then(|s| s.as_f64()),
            source_ns: reading.source_time_ns.saturating_add(later_ns),
            receive_ns: reading.receive_time_ns.saturating_add(later_ns),
        });
    }

    pub(super) fn remember(&mut self, reading: &NewReading) {
        // What its source made stale is not made stale once more by a dead link.
        self.stale = reading.quality == Quality::Stale;
        let before = self.last.replace(reading.clone());
        if is_good(reading) {
            self.good_before = None;
        } else if before.as_ref().is_some_and(is_good) {
            self.good_before = before;
        }
    }

    fn last_good(&self) -> Option<&NewReading> {
        self.last.as_ref().filter(|last| is_good(last)).or(self.good_before.as_ref())
    }

    /// Is it too like the one delivered last, or too soon after it?
    pub(super) fn is_left_out(&self, reading: &NewReading) -> bool {
        let Some(delivered) = self.delivered_good else { return false };
        if !is_good(reading) {
            return false;
        }
        let Report { min_interval, max_silence, .. } = self.spec.report;
        let Some(since) = delivered.until(reading) else { return false };
        since < min_interval || (max_silence.is_none_or(|most| since < most) && self.is_within_band(reading))
    }

    /// Is it too like the good one delivered last?
    pub(super) fn is_within_band(&self, reading: &NewReading) -> bool {
        let Some(Delivered { value: Some(from), .. }) = self.delivered_good else { return false };
        let Some(deadband) = self.spec.report.deadband else { return false };
        let band = match deadband {
            Deadband::Absolute(band) => band,
            Deadband::Percent(percent) => from.abs() * percent / 100.0,
        };
        let to = scaled(&reading.value, &self.spec.descriptor).as_f64();
        to.is_some_and(|to| (to - from).abs() <= band)
    }

    pub(super) fn snapshot(&self) -> StreamSnapshot {
        let shown = |reading: &NewReading| ReadingSnapshot {
            value: scaled(&reading.value, &self.spec.descriptor),
            word: self.spec.word(&reading.value),
            quality: reading.quality.name(),
            status: reading.status,
            source_time_ns: reading.source_time_ns,
            receive_time_ns: reading.receive_time_ns,
        };
        StreamSnapshot {
            name: self.spec.descriptor.name.clone(),
            unit: self.spec.descriptor.unit.clone(),
            stale: self.stale || self.owed.is_some(),
            last: self.last.as_ref().map(shown),
            last_good: self.last_good().map(shown),
        }
    }
}

impl Delivered {
    /// The time between them, by the source's clock or by ours, whichever says more: what a broker or a server kept while
    /// nobody asked comes in one moment, and is as far apart as it was taken. `None` when the wall clock was set back: that
    /// makes a reading wanted, never unwanted for hours.
    fn until(&self, reading: &NewReading) -> Option<Duration> {
        let received = u64::try_from(reading.receive_time_ns.saturating_sub(self.receive_ns)).ok()?;
        Some(Duration::from_nanos(received.max(reading.source_time_ns.abs_diff(self.source_ns))))
    }
}

pub(super) fn is_good(reading: &NewReading) -> bool {
    reading.quality == Quality::Good
}
