//! Figures of one device, and the log lines about it.
//!
//! One line when the state changes, and at most one a minute while it stays bad. A device that comes and goes would
//! still fill the log, so after [`CHANGES_AT_ONCE`] changes each further one is let through every
//! [`CHANGE_EVERY`]; the next line says how many were left out.

mod messages;
mod snapshot;
mod subscription;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::adapter::{Fault, FaultKind};
use crate::clock::Clock;
pub use messages::{MessageFigures, SparkplugFigures, UNMATCHED_SHOWN};
pub use snapshot::{DeviceSnapshot, DeviceState, ErrorCounts, ReadingSnapshot, Spans, StreamSnapshot};
pub use subscription::SubscriptionFigures;

/// A device that stays bad gets a line this often.
pub const REMINDER_EVERY: Duration = Duration::from_mins(1);
/// Changes of state that are logged at once.
pub const CHANGES_AT_ONCE: u32 = 6;
/// After that, one change is logged this often.
pub const CHANGE_EVERY: Duration = Duration::from_mins(1);

/// The living figures of one device: the adapter writes them, anybody reads them.
#[derive(Debug)]
pub struct Health {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
    changes: watch::Sender<DeviceState>,
}

#[derive(Debug)]
struct Inner {
    figures: DeviceSnapshot,
    gate: LogGate,
}

impl Health {
    /// A device that was not reached yet.
    pub fn new(device: &str, protocol: &'static str, address: String, clock: Arc<dyn Clock>) -> Self {
        let figures = DeviceSnapshot {
            device: device.to_owned(),
            protocol,
            address,
            state: DeviceState::Starting,
            since_ns: clock.wall_ns(),
            error: None,
            next_attempt_ns: None,
            last_good_ns: None,
            connections: 0,
            requests: 0,
            answers: 0,
            errors: ErrorCounts::default(),
            round_trip: Spans::default(),
            polls: 0,
            polls_skipped_late: 0,
            polls_skipped_full: 0,
            lateness: Spans::default(),
            readings: 0,
            readings_dropped: 0,
            restarts: 0,
            messages: None,
            subscription: None,
            streams: Vec::new(),
        };
        let inner = Mutex::new(Inner { figures, gate: LogGate::default() });
        Self { clock, inner, changes: watch::Sender::new(DeviceState::Starting) }
    }

    /// Wakes whenever the state changes.
    pub fn changes(&self) -> watch::Receiver<DeviceState> {
        self.changes.subscribe()
    }

    /// Everything but the streams, which [`Outlet::snapshot`](crate::Outlet::snapshot) adds.
    pub fn figures(&self) -> DeviceSnapshot {
        self.lock().figures.clone()
    }

    /// A connection was made.
    pub fn connected(&self) {
        self.lock().figures.connections += 1;
    }
    /// A request goes out.
    pub fn requested(&self) {
        self.lock().figures.requests += 1;
    }
    /// A request was answered, if only by a refusal.
    pub fn answered(&self, round_trip: Duration) {
        let mut inner = self.lock();
        inner.figures.answers += 1;
        inner.figures.round_trip.add(round_trip);
    }
    /// Something went wrong. Counts only; what follows from it is said with [`Self::down`] or [`Self::degraded`].
    pub fn failed(&self, kind: FaultKind) {
        let errors = &mut self.lock().figures.errors;
        *match kind {
            FaultKind::Timeout => &mut errors.timeout,
            FaultKind::Unreachable => &mut errors.unreachable,
            FaultKind::Closed => &mut errors.closed,
            FaultKind::Protocol => &mut errors.protocol,
            FaultKind::Exception(_) | FaultKind::Refused(_) => &mut errors.exception,
            FaultKind::Adapter => &mut errors.adapter,
        } += 1;
    }
    /// A poll begins, so long after it was due.
    pub fn poll_begins(&self, late: Duration) {
        self.lock().figures.lateness.add(late);
    }
    /// A poll is over.
    pub fn poll_ended(&self) {
        self.lock().figures.polls += 1;
    }
    /// Polls were left out because the one before was still going on.
    pub fn skipped_late(&self, polls: u64) {
        self.lock().figures.polls_skipped_late += polls;
    }
    /// A poll was left out because the queue to the node was full.
    pub fn skipped_full(&self) {
        self.lock().figures.polls_skipped_full += 1;
    }
    /// Counts something of messages.
    pub fn messages(&self, count: impl FnOnce(&mut MessageFigures)) {
        count(self.lock().figures.messages.get_or_insert_default());
    }
    /// Counts something of a subscription.
    pub fn subscription(&self, count: impl FnOnce(&mut SubscriptionFigures)) {
        count(self.lock().figures.subscription.get_or_insert_default());
    }
    /// The adapter is started again.
    pub fn restarted(&self) {
        self.lock().figures.restarts += 1;
    }
    pub(crate) fn delivered(&self, readings: usize) {
        self.lock().figures.readings += readings as u64;
    }
    pub(crate) fn dropped(&self, readings: usize) {
        self.lock().figures.readings_dropped += readings as u64;
    }
    pub(crate) fn good_at(&self, receive_time_ns: i64) {
        self.lock().figures.last_good_ns = Some(receive_time_ns);
    }

    /// The device answers.
    pub fn up(&self) {
        self.enter(DeviceState::Up, None, None, true);
    }
    /// The device answers, but refuses some of what it is asked: `why` in words.
    pub fn degraded(&self, why: &str) {
        self.enter(DeviceState::Degraded, Some(why), None, true);
    }
    /// The device does not answer; it is tried again after `retry_in`.
    pub fn down(&self, fault: &Fault, retry_in: Duration) {
        self.enter(DeviceState::Down, Some(&fault.to_string()), Some(retry_in), true);
    }
    /// As [`Self::down`], without a line: the supervisor has one of its own for this.
    pub(crate) fn adapter_failed(&self, fault: &Fault, retry_in: Duration) {
        self.enter(DeviceState::Down, Some(&fault.to_string()), Some(retry_in), false);
    }
    /// The adapter has ended.
    pub fn stopped(&self) {
        self.enter(DeviceState::Stopped, None, None, true);
    }

    fn enter(&self, state: DeviceState, why: Option<&str>, retry_in: Option<Duration>, say: bool) {
        let wall_ns = self.clock.wall_ns();
        let mut inner = self.lock();
        let Inner { figures, gate } = &mut *inner;
        let changed = figures.state != state;
        if changed {
            figures.state = state;
            figures.since_ns = wall_ns;
            self.changes.send_replace(state);
        }
        if figures.error.as_deref() != why {
            figures.error = why.map(str::to_owned);
        }
        let wait_ns = retry_in.map(|wait| i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX));
        figures.next_attempt_ns = wait_ns.map(|wait| wall_ns.saturating_add(wait));

        if !say {
            return;
        }
        let bad = matches!(state, DeviceState::Degraded | DeviceState::Down);
        let line = if changed { gate.change(Instant::now(), bad) } else { gate.still(Instant::now(), bad) };
        let Some(left_out) = line else { return };
        let (device, address, why) = (figures.device.as_str(), figures.address.as_str(), why.unwrap_or(""));
        let retry_in_ms = retry_in.map_or(0, |wait| wait.as_millis() as u64);
        match (state, changed) {
            (DeviceState::Starting, _) => {}
            (DeviceState::Up, _) => tracing::info!(device, address, left_out, "device answers"),
            (DeviceState::Degraded, true) => {
                tracing::warn!(device, address, why, left_out, "device refuses part of what it is asked");
            }
            (DeviceState::Degraded, false) => {
                tracing::warn!(
                    device,
                    address,
                    why,
                    left_out,
                    "device still refuses part of what it is asked"
                );
            }
            (DeviceState::Down, true) => {
                tracing::warn!(device, address, why, retry_in_ms, left_out, "device does not answer");
            }
            (DeviceState::Down, false) => {
                tracing::warn!(device, address, why, retry_in_ms, left_out, "device still does not answer");
            }
            (DeviceState::Stopped, _) => tracing::info!(device, address, left_out, "adapter stopped"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Counters stay usable after a panic elsewhere: each change is complete by itself.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which changes become log lines. Pure: the moment is an argument.
#[derive(Debug, Default)]
struct LogGate {
    /// Changes logged in the present burst, and when the last of them was counted off again.
    burst: u32,
    counted_off: Option<Instant>,
    last_bad_line: Option<Instant>,
    left_out: u64,
}

impl LogGate {
    /// The state changed: `Some(lines left out before this one)` when it is to be logged.
    fn change(&mut self, now: Instant, bad: bool) -> Option<u64> {
        let since = *self.counted_off.get_or_insert(now);
        let periods = now.duration_since(since).as_secs() / CHANGE_EVERY.as_secs();
        if periods > 0 {
            self.burst = self.burst.saturating_sub(u32::try_from(periods).unwrap_or(u32::MAX));
            self.counted_off = Some(now);
        }
        if self.burst >= CHANGES_AT_ONCE {
            self.left_out += 1;
            return None;
        }
        if self.burst == 0 {
            self.counted_off = Some(now);
        }
        self.burst += 1;
        self.last_bad_line = bad.then_some(now).or(self.last_bad_line);
        Some(std::mem::take(&mut self.left_out))
    }

    /// The state did not change: a line at most once a minute while it is bad.
    fn still(&mut self, now: Instant, bad: bool) -> Option<u64> {
        if !bad {
            return None;
        }
        if self.last_bad_line.is_some_and(|last| now.duration_since(last) < REMINDER_EVERY) {
            return None;
        }
        self.last_bad_line = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_bad_device_gets_one_line_and_then_one_a_minute() {
        let (mut gate, start) = (LogGate::default(), Instant::now());
        assert_eq!(gate.change(start, true), Some(0));
        let lines = (1..=600).filter(|s| gate.still(after(start, *s), true).is_some()).count();
        assert_eq!(lines, 10, "ten minutes, a call each second");
        assert_eq!(gate.change(after(start, 601), false), Some(0), "that it is back is said at once");
        assert!(
            (602..2_000).all(|s| gate.still(after(start, s), false).is_none()),
            "nothing while all is well"
        );
    }

    #[test]
    fn a_device_that_comes_and_goes_does_not_fill_the_log() {
        let (mut gate, start) = (LogGate::default(), Instant::now());
        let logged: Vec<u64> =
            (0..3_600).filter_map(|s| gate.change(after(start, s), s.is_multiple_of(2))).collect();
        assert!(logged.len() <= 6 + 60, "{} lines in an hour", logged.len());
        assert!(logged.len() >= 30, "{} lines in an hour", logged.len());
        assert!(logged.iter().sum::<u64>() > 3_400, "what was left out is counted in a later line");
    }

    #[test]
    fn spans_keep_last_mean_and_max() {
        let mut spans = Spans::default();
        for ms in [10, 10, 30, 10] {
            spans.add(Duration::from_millis(ms));
        }
        assert_eq!((spans.last_us, spans.max_us), (10_000, 30_000));
        assert!((10_000..13_000).contains(&spans.mean_us), "{}", spans.mean_us);
    }
}
