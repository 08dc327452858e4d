//! One gateway of the world: a core, its store, its clocks and its connections.

use std::collections::BTreeMap;

use selvedge_core::border::{Config, Now, PeerId};
use selvedge_core::node::Node;

use super::Peer;
use crate::oracle::Oracle;
use crate::signatures::Key;
use crate::store::Store;

/// Both clocks of one gateway.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// Where the monotonic clock stood when the world began.
    pub(super) monotonic_base_us: u64,
    /// Where the wall clock stands when the world begins, jumps included.
    pub(super) wall_base_ns: i64,
    pub(super) synchronised: bool,
}

impl Clock {
    pub(super) fn now(&self, time_us: u64) -> Now {
        Now {
            monotonic_us: self.monotonic_base_us + time_us,
            wall_ns: self.wall_base_ns + time_us as i64 * 1_000,
            synchronised: self.synchronised,
        }
    }

    /// World time of a moment on the monotonic clock; 0 when it lies before the beginning.
    pub(super) fn world_time(&self, monotonic_us: u64) -> u64 {
        monotonic_us.saturating_sub(self.monotonic_base_us)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) config: Config,
    pub(super) key: Key,
    /// `None` while it is down.
    pub(super) node: Option<Node>,
    /// Numbers the starts.
    pub(super) start: u64,
    pub(super) store: Store,
    pub(super) oracle: Oracle,
    pub(super) clock: Clock,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    /// Names of its streams by handle, and how often each was described anew.
    pub(super) streams: Vec<(String, u64)>,
    /// Effects until it crashes.
    pub(super) crash_after: Option<u64>,
    /// Its store or its key was made to fail: it halts, and is started again.
    pub(super) may_halt: bool,
    pub(super) wakes_at_us: Option<u64>,
    pub(super) idle_wakes: u32,
    /// Greatest wall time that the core stamped something with since the start, or found durable at it.
    pub(super) last_stamp_ns: i64,
    pub(super) tips: usize,
    pub(super) tips_since_us: u64,
}

impl Gateway {
    /// Its connection to this peer.
    pub(super) fn connection(&self, to: Peer) -> Option<PeerId> {
        self.peers.iter().find(|(_, peer)| **peer == to).map(|(id, _)| *id)
    }
}
