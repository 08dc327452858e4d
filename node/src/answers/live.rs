//! What only the running node knows. The loop publishes it; questions read it and never enter the loop.

use std::time::Duration;

use edge_adapters::DeviceSnapshot;
use selvedge_core::border::{BatchPolicy, Event};
use selvedge_core::node::Status;
use serde::{Deserialize, Serialize};

use super::shown::Time;

/// A snapshot of the running node.
#[derive(Debug, Clone)]
pub struct Live {
    /// The core's own figures.
    pub ledger: Status,
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
            // What they mean stands in the snapshot itself.
            Event::Silent | Event::Halted { .. } => {}
        }
    }
}
