//! The wall clock as a value, so that tests can set it. Deadlines do not use it: they use tokio's own clock.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A source time this far ahead of the gateway's clock is still believed: clocks of controllers drift by minutes.
pub const AHEAD_MAX: Duration = Duration::from_mins(5);
/// No value is older: 1990-01-01, ns since 1970 UTC. A controller that lost its battery says 1970, 1980 or 1984.
pub const EARLIEST_NS: i64 = 631_152_000 * 1_000_000_000;

/// Is this a time at which a value can have been taken that is received now?
pub fn is_sane(time_ns: i64, now_ns: i64) -> bool {
    let ahead_ns = i64::try_from(AHEAD_MAX.as_nanos()).unwrap_or(i64::MAX);
    time_ns >= EARLIEST_NS && time_ns <= now_ns.saturating_add(ahead_ns)
}

/// Says what time it is, for the stamps of readings.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Nanoseconds since 1970 UTC. May jump either way; whether it is synchronised is the gateway's business.
    fn wall_ns(&self) -> i64;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn wall_ns(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }
}

/// A clock that stands where it was set.
#[derive(Debug, Default)]
pub struct SetClock(AtomicI64);

impl SetClock {
    /// Stands at `wall_ns`, nanoseconds since 1970 UTC.
    pub const fn at(wall_ns: i64) -> Self {
        Self(AtomicI64::new(wall_ns))
    }
    /// Moves it to `wall_ns`, nanoseconds since 1970 UTC.
    pub fn set(&self, wall_ns: i64) {
        self.0.store(wall_ns, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn wall_ns(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
