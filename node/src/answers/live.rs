//! What only the running node knows. The loop publishes it; questions read it and never enter the loop.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_adapters::DeviceSnapshot;
use selvedge_core::border::{BatchPolicy, Event};
use selvedge_core::node::{PeerStatus, Status};
use serde::{Deserialize, Serialize};

use super::shown::Time;
use crate::engine::{FaultyIssuers, Notices};
use crate::net::NetStatus;

/// A snapshot of the running node.
#[derive(Debug, Clone)]
pub struct Live {
    /// The core's own figures.
    pub ledger: Status,
    /// Its connections, as the core sees them.
    pub peers: Vec<PeerStatus>,
    /// Who broke rules since the start.
    pub faulty: FaultyIssuers,
    /// What happened to the own chain since the start.
    pub notices: Notices,
    /// The network, as the transport sees it; `None`: there is none.
    pub net: Option<Arc<NetStatus>>,
    /// Where it waits for peers.
    pub listen: Option<SocketAddr>,
    /// Is the folder marked as restored without its chain?
    pub is_marked: bool,
    /// How readings become batches.
    pub batch: BatchPolicy,
    /// The devices.
    pub devices: Vec<DeviceSnapshot>,
    /// Since when the node runs.
    pub started: Time,
    /// For how long, by the monotonic clock.
    pub uptime: Duration,
    /// Is the wall clock synchronised with a time server?
    pub synchronised: bool,
    /// What happened since the start.
    pub events: EventCounts,
    /// How fast the backlog shrinks, when it does.
    pub drain: Option<DrainAnswer>,
    /// Why the node takes nothing any more, when it does not.
    pub halted: Option<String>,
    /// How many committee members have the newest transactions in their past cone: local number, members; ascending.
    pub witnessed: Vec<(u64, u32)>,
}

/// What happened since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Transactions attached.
    pub attached: u64,
    /// Batches that went into a transaction.
    pub batched: u64,
    /// Readings in them.
    pub readings_batched: u64,
    /// Forks seen.
    pub forked: u64,
    /// Members that joined.
    #[serde(default)]
    pub enrolled: u64,
    /// Pieces of work that failed and are tried again.
    pub retrying: u64,
    /// The last of them.
    pub last_retry: Option<Retry>,
}

/// A piece of work that failed and is tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Which.
    pub what: String,
    /// Why it failed.
    pub why: String,
    /// When.
    pub at: Time,
}

impl EventCounts {
    /// Counts an event of the core that happened at `at`.
    pub fn count(&mut self, event: &Event, at: Time) {
        match event {
            Event::Attached { .. } => self.attached += 1,
            Event::Batched { readings, .. } => {
                self.batched += 1;
                self.readings_batched += u64::from(*readings);
            }
            Event::Forked { .. } => self.forked += 1,
            Event::Retrying { what, why } => {
                self.retrying += 1;
                self.last_retry = Some(Retry { what: (*what).to_owned(), why: why.clone(), at });
            }
            Event::Enrolled { .. } => self.enrolled += 1,
            // What they mean stands in the snapshot itself.
            Event::Silent
            | Event::Halted { .. }
            | Event::Settled { .. }
            | Event::AnotherMachine { .. }
            | Event::SaidToBeTwo { .. }
            | Event::Twins { .. } => {}
        }
    }
}

/// The backlog is looked at over so long.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);
/// A shorter look says nothing.
const DRAIN_LEAST: Duration = Duration::from_secs(2);
/// Fewer closed batches than this are no backlog: one is always on its way into a transaction.
const DRAIN_BATCHES_LEAST: usize = 2;

/// How fast the backlog shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainAnswer {
    /// By so many readings a second, those that come meanwhile taken off.
    pub readings_per_s: u64,
    /// At this rate it is gone in so many seconds.
    pub left_s: u64,
}

/// Watches the backlog.
#[derive(Debug, Default)]
pub struct Drain {
    /// Readings in no transaction, at these moments.
    samples: VecDeque<(Instant, u64)>,
}

impl Drain {
    /// Takes how it stands now.
    pub fn note(&mut self, now: Instant, readings: u64, closed_batches: usize) {
        if closed_batches < DRAIN_BATCHES_LEAST {
            self.samples.clear();
            return;
        }
        self.samples.push_back((now, readings));
        while self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > DRAIN_WITHIN) {
            self.samples.pop_front();
        }
    }

    /// The rate of the last seconds; `None` when nothing drains.
    pub fn estimate(&self) -> Option<DrainAnswer> {
        let ((first, before), (last, left)) = (*self.samples.front()?, *self.samples.back()?);
        let within_ms = u64::try_from(last.duration_since(first).as_millis()).ok()?;
        let gone = before.checked_sub(left).filter(|gone| *gone > 0)?;
        if within_ms < DRAIN_LEAST.as_millis() as u64 {
            return None;
        }
        let left_s = left.saturating_mul(within_ms).div_ceil(gone.saturating_mul(1_000));
        Some(DrainAnswer { readings_per_s: gone.saturating_mul(1_000) / within_ms, left_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(samples: impl IntoIterator<Item = (u64, u64, usize)>) -> Option<DrainAnswer> {
        let (start, mut drain) = (Instant::now(), Drain::default());
        for (ms, readings, batches) in samples {
            drain.note(start + Duration::from_millis(ms), readings, batches);
        }
        drain.estimate()
    }

    #[test]
    fn a_backlog_that_shrinks_has_an_end() {
        let shrinks = (0..50_u64).map(|n| (n * 200, 15_260 - n * 60, 15));
        assert_eq!(
            drain(shrinks),
            Some(DrainAnswer { readings_per_s: 300, left_s: 42 }),
            "12,320 left, rounded up"
        );
        // An hour ago it was faster: only the last seconds count.
        let slower = [(0, 90_000, 90), (100_000, 1_100, 5), (103_000, 1_070, 5), (105_000, 1_000, 5)];
        assert_eq!(drain(slower), Some(DrainAnswer { readings_per_s: 20, left_s: 50 }));
    }

    #[test]
    fn without_draining_nothing_is_promised() {
        assert_eq!(drain([]), None);
        assert_eq!(drain([(0, 100, 5), (1_000, 50, 5)]), None, "too short a look");
        assert_eq!(drain((0..50).map(|n| (n * 200, 100 + n, 5))), None, "it grows");
        assert_eq!(drain((0..50).map(|n| (n * 200, 100, 5))), None, "it stands");
        // The usual: the open batch fills and is gone at once.
        assert_eq!(drain((0..100).map(|n| (n * 200, 1_000 - (n % 50) * 20, usize::from(n % 50 == 0)))), None);
    }
}
