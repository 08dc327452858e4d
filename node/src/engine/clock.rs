//! The two clocks. The monotonic one is always right; the wall clock is believed only when something keeps it.

use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use selvedge_core::border::Now;

/// No gateway ran before this moment (2026-01-01, ns since 1970 UTC): an earlier wall clock is wrong.
pub(crate) const EARLIEST_NS: i64 = 1_767_225_600_000_000_000;
/// systemd-timesyncd makes this file once the clock is synchronised, and chrony's and ntpd's units order on it.
const SYNCHRONISED_MARK: &str = "/run/systemd/timesync/synchronized";

/// Whose word counts on the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Trust {
    /// systemd-timesyncd's mark.
    #[default]
    Auto,
    /// The operator's: another service keeps the clock.
    Assume,
}

/// Reads both clocks.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
    trust: Trust,
    synchronised: Checked,
}

/// The mark is a file: looked at now and then, not at each input.
#[derive(Debug, Clone, Copy)]
struct Checked {
    at: Instant,
    found: bool,
}

impl Clock {
    /// Clocks that count from now.
    pub fn new(trust: Trust) -> Self {
        let start = Instant::now();
        Self {
            start,
            trust,
            synchronised: Checked { at: start, found: Path::new(SYNCHRONISED_MARK).exists() },
        }
    }

    /// Both, now.
    pub fn now(&self) -> Now {
        let wall_ns = wall_ns();
        let is_kept = self.trust == Trust::Assume || self.synchronised.found;
        Now {
            monotonic_us: u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX),
            wall_ns,
            synchronised: is_kept && wall_ns >= EARLIEST_NS,
        }
    }

    /// Both, now, after looking again whether the clock is synchronised when that is due.
    pub fn tick(&mut self) -> Now {
        if self.synchronised.at.elapsed().as_secs() >= 10 {
            self.synchronised = Checked { at: Instant::now(), found: Path::new(SYNCHRONISED_MARK).exists() };
        }
        self.now()
    }

    /// The moment at which the monotonic clock shows this.
    pub fn instant(&self, monotonic_us: u64) -> Instant {
        self.start + std::time::Duration::from_micros(monotonic_us)
    }
}

/// The wall clock, ns since 1970 UTC; 0 when it stands before that.
pub fn wall_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
