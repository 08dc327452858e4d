//! When an edge node is asked for its births again: pure, time is an argument.
//!
//! Each request makes a node send all that it has, and a thousand nodes at once would drown a slow line. So requests
//! for one node come ever more rarely while they do not help, and this host sends at most twenty a second.

use std::time::Duration;

/// The first wait after a request; it doubles with each.
pub const WAIT_MIN: Duration = Duration::from_secs(5);
/// The longest wait between two requests to one node.
pub const WAIT_MAX: Duration = Duration::from_mins(10);
/// A node that was well this long after its birth is asked at once when something is wrong again.
pub const CALM: Duration = Duration::from_mins(5);
/// Between two requests to any nodes.
pub const SPACING: Duration = Duration::from_millis(50);

/// Requests to one node. Moments are spans since any fixed one.
#[derive(Debug, Clone)]
pub struct Asking {
    due: Option<Duration>,
    /// No request before this moment.
    allowed: Duration,
    wait: Duration,
    born: Option<Duration>,
    /// Requests since the last birth.
    pub in_vain: u64,
}

impl Default for Asking {
    fn default() -> Self {
        Self { due: None, allowed: Duration::ZERO, wait: WAIT_MIN, born: None, in_vain: 0 }
    }
}

impl Asking {
    /// A birth is needed, but not before `soonest`. Gives the moment of the next request.
    pub fn want(&mut self, now: Duration, soonest: Duration) -> Duration {
        // Only the first trouble after a birth says how long all was well.
        if self.born.take().is_some_and(|born| now.saturating_sub(born) >= CALM) {
            (self.wait, self.allowed) = (WAIT_MIN, Duration::ZERO);
        }
        let due = soonest.max(self.allowed);
        *self.due.insert(self.due.map_or(due, |known| known.min(due)))
    }

    /// When the next request is due.
    pub const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// A request goes out. Gives the moment of the next, in case that this one does not help.
    pub fn asked(&mut self, now: Duration) -> Duration {
        self.allowed = now + self.wait;
        self.due = Some(self.allowed);
        self.wait = (self.wait * 2).min(WAIT_MAX);
        self.in_vain += 1;
        self.allowed
    }

    /// A birth came.
    pub fn born(&mut self, now: Duration) {
        (self.due, self.born, self.in_vain) = (None, Some(now), 0);
    }

    /// Nobody is there to be asked.
    pub fn cancel(&mut self) {
        self.due = None;
    }
}
