//! One gateway of the world: a core, its store, its clocks and its connections.

use std::collections::BTreeMap;

use selvedge_core::Id;
use selvedge_core::border::{Config, Now, PeerId};
use selvedge_core::node::Node;

use super::Peer;
use crate::invariants::Watch;
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

/// A stream as its adapter knows it.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    pub(super) name: String,
    /// What it means at present, and the newest thing that it ever meant: its descriptors differ in this number.
    pub(super) edition: u64,
    pub(super) newest: u64,
}

impl Stream {
    pub(super) const fn new(name: String) -> Self {
        Self { name, edition: 0, newest: 0 }
    }
}

/// One end of a connection.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub(super) peer: Peer,
    /// The connection's name at the other end; the hostile peer has none.
    pub(super) other_end: Option<PeerId>,
    /// When the last frame of each lane arrives there.
    pub(super) arrives_us: [u64; 2],
    /// Frames of each lane that are on their way.
    pub(super) in_flight: [u64; 2],
    /// Bytes of them that the core sent; what is read from the log for it waits for room.
    pub(super) in_flight_bytes: [u64; 2],
}

impl Remote {
    pub(super) const fn new(peer: Peer, other_end: Option<PeerId>) -> Self {
        Self { peer, other_end, arrives_us: [0; 2], in_flight: [0; 2], in_flight_bytes: [0; 2] }
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
    /// Its ledger, followed from outside.
    pub(super) watch: Watch,
    /// An old image of its store, and whether it was started from it.
    pub(super) image: Option<Store>,
    pub(super) is_restored: bool,
    /// Own transactions that it had when it was lost, and when it may come back.
    pub(super) lost: Vec<Id>,
    pub(super) away_until_us: u64,
    pub(super) clock: Clock,
    pub(super) peers: BTreeMap<PeerId, Remote>,
    /// Peers that are not dialled before.
    pub(super) back_off_us: BTreeMap<Peer, u64>,
    /// Bodies that came over links, wanted or not.
    pub(super) bodies_received: u64,
    /// Its streams by handle.
    pub(super) streams: Vec<Stream>,
    /// Effects until it crashes.
    pub(super) crash_after: Option<u64>,
    /// Its store or its key was made to fail: it halts, and is started again.
    pub(super) may_halt: bool,
    /// Its disk has no room until then.
    pub(super) full_until_us: u64,
    /// Its disk takes its time until then.
    pub(super) stalled_until_us: u64,
    /// When it last asked a peer for what it awaits, and what was to be asked for half a minute after the last fault.
    pub(super) asked_us: BTreeMap<Id, u64>,
    pub(super) awaited: Vec<Id>,
    pub(super) wakes_at_us: Option<u64>,
    pub(super) idle_wakes: u32,
    /// Greatest wall time that the core stamped something with since the start, or found durable at it.
    pub(super) last_stamp_ns: i64,
    pub(super) tips: usize,
    pub(super) tips_since_us: u64,
}

impl Gateway {
    /// Has its disk no room at this moment? That of a restored gateway has: the model does not keep enough of an adopted
    /// tail to start from it once more.
    pub(super) const fn is_full(&self, time_us: u64) -> bool {
        self.full_until_us > time_us && !self.is_restored
    }

    /// Its connection to this peer.
    pub(super) fn connection(&self, to: Peer) -> Option<PeerId> {
        self.peers.iter().find(|(_, remote)| remote.peer == to).map(|(id, _)| *id)
    }
}
