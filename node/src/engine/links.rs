//! The network as the loop sees it: what arrives from peers, and where the core's effects for them go.
//!
//! **Who goes first.** Completions of slow work, then requests of this machine, then peers. In each turn peers have at
//! least one frame and at most [`ARRIVALS_PER_TURN_MAX`] frames or [`ARRIVAL_BYTES_PER_TURN_MAX`] bytes handled, so a
//! flood of theirs delays a reading by one such share, and readings cannot keep peers out. Among peers the queue is
//! first come, first served, with at most 64 frames and 256 KiB of one peer in it (the permits of [`crate::net`]): who
//! floods waits behind all others before the next of its frames is taken from its connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_core::Issuer;
use selvedge_core::border::{Farewell, Input, Lane, PeerId, Serve, Ticket};
use selvedge_core::reject::Reject;
use selvedge_crypto::ids;
use tokio::sync::mpsc::Receiver;

use crate::net::{Arrival, Members, NetHandle, Sent};

/// Frames of peers that are handled in one turn of the loop.
pub(super) const ARRIVALS_PER_TURN_MAX: usize = 16;
/// Bytes of them. Decoding takes about 1 µs for each KiB; signatures are checked on other threads.
pub(super) const ARRIVAL_BYTES_PER_TURN_MAX: usize = 256 * 1024;
/// One line in the log for each issuer that breaks rules, at most this often.
const SAY_EVERY: Duration = Duration::from_secs(10);
/// Issuers whose broken rules are remembered. Only members connect; of more than so many the quietest is forgotten.
const FAULTY_MAX: usize = 256;

/// What the engine needs of the network.
#[derive(Debug)]
pub struct Network {
    /// Where frames go.
    pub handle: NetHandle,
    /// Where they come from. Bounded there; when it is full, connections are not read.
    pub arrivals: Receiver<Arrival>,
    /// Who may connect: grows with each enrolment.
    pub members: Members,
}

/// What an issuer did that no node accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faulty {
    /// How often since the start.
    pub count: u64,
    /// The last time, in words.
    pub last: String,
    /// When that was, ns since 1970 UTC.
    pub at_ns: i64,
}

/// See [`Faulty`].
pub type FaultyIssuers = BTreeMap<Issuer, Faulty>;

/// The loop's side of all connections.
#[derive(Debug)]
pub(super) struct Links {
    handle: NetHandle,
    members: Members,
    issuers: HashMap<PeerId, Issuer>,
    faults: Faults,
}

impl Links {
    pub(super) fn new(handle: NetHandle, members: Members) -> Self {
        Self { handle, members, issuers: HashMap::new(), faults: Faults::default() }
    }

    /// What an arrival is for the core. The permit of a frame is given back when the core has it.
    pub(super) fn input_of(&mut self, arrival: Arrival) -> (Input, Option<crate::net::Permit>) {
        match arrival {
            Arrival::PeerUp { peer, issuer, outgoing } => {
                self.issuers.insert(peer, issuer);
                (Input::PeerUp { peer, issuer, outgoing }, None)
            }
            Arrival::PeerDown(peer) => {
                self.issuers.remove(&peer);
                (Input::PeerDown(peer), None)
            }
            Arrival::Frame { peer, bytes, permit } => (Input::Frame { peer, bytes }, Some(permit)),
            Arrival::Served(ticket) => (Input::Served { ticket }, None),
        }
    }

    /// Sends a frame. What the core must be told of it, if anything.
    pub(super) fn send(&self, peer: PeerId, lane: Lane, frame: Arc<[u8]>) -> Option<Input> {
        match self.handle.send(peer, lane, frame) {
            Sent::Congested => Some(Input::Congested { peer }),
            // `Gone`: its `PeerDown` is on the way.
            Sent::Queued | Sent::Gone => None,
        }
    }

    /// Has the log sent to a peer. Refused or gone: served with nothing.
    pub(super) fn serve(&self, ticket: Ticket, peer: PeerId, what: Serve) -> Option<Input> {
        (!self.handle.serve(ticket, peer, what)).then_some(Input::Served { ticket })
    }

    pub(super) fn disconnect(&self, peer: PeerId, why: &Farewell, back_off_us: u64) {
        let issuer = self.issuers.get(&peer).map(ids::to_text);
        let back_off = Duration::from_micros(back_off_us);
        let is_usual = matches!(why, Farewell::Twice | Farewell::Replaced | Farewell::Ourselves);
        if is_usual {
            tracing::debug!(peer = peer.0, issuer, %why, "connection closed");
        } else {
            tracing::warn!(peer = peer.0, issuer, %why, back_off_s = back_off.as_secs(), "a peer was sent away");
        }
        self.handle.disconnect(peer, &why.to_string(), back_off);
    }

    /// A peer sent something that no node can accept.
    pub(super) fn broke(&mut self, peer: PeerId, reject: &Reject, now: Instant, wall_ns: i64) {
        let Some(issuer) = self.issuers.get(&peer).copied() else { return };
        if let Some(before) = self.faults.count(issuer, reject.to_string(), now, wall_ns) {
            let issuer = ids::to_text(&issuer);
            tracing::warn!(peer = peer.0, issuer, %reject, unsaid_before = before, "a peer broke a rule");
        }
    }

    pub(super) fn faulty(&self) -> FaultyIssuers {
        self.faults.by_issuer.iter().map(|(issuer, (faulty, _))| (*issuer, faulty.clone())).collect()
    }

    pub(super) fn enrolled(&self, issuer: Issuer) {
        if self.members.add(issuer) {
            // Else it would be dialled within half a minute only.
            self.handle.look();
        }
    }
}

/// Broken rules by issuer, and when the log said so last.
#[derive(Debug, Default)]
struct Faults {
    by_issuer: BTreeMap<Issuer, (Faulty, Said)>,
}

#[derive(Debug, Clone, Copy)]
struct Said {
    at: Instant,
    /// Not said since.
    unsaid: u64,
}

impl Faults {
    /// Counts one. `Some`: it is to be said, with how many were not said before it.
    fn count(&mut self, issuer: Issuer, last: String, now: Instant, at_ns: i64) -> Option<u64> {
        if let Some((faulty, said)) = self.by_issuer.get_mut(&issuer) {
            *faulty = Faulty { count: faulty.count + 1, last, at_ns };
            if now.saturating_duration_since(said.at) < SAY_EVERY {
                said.unsaid += 1;
                return None;
            }
            let unsaid = said.unsaid;
            *said = Said { at: now, unsaid: 0 };
            return Some(unsaid);
        }
        if self.by_issuer.len() >= FAULTY_MAX {
            let quietest = self.by_issuer.iter().min_by_key(|(_, (faulty, _))| faulty.at_ns).map(|(i, _)| *i);
            quietest.and_then(|quietest| self.by_issuer.remove(&quietest));
        }
        self.by_issuer.insert(issuer, (Faulty { count: 1, last, at_ns }, Said { at: now, unsaid: 0 }));
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(n: u16) -> Issuer {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        Issuer(bytes)
    }

    #[test]
    fn a_flood_of_faults_is_counted_whole_and_said_seldom() {
        let (mut faults, start) = (Faults::default(), Instant::now());
        let mut said = Vec::new();
        for n in 0..25_000_u32 {
            let now = start + Duration::from_millis(u64::from(n));
            said.extend(faults.count(issuer(1), format!("fault {n}"), now, i64::from(n)));
        }
        assert_eq!(said, [0, 9_999, 9_999], "one line each ten seconds, with what it stands for");
        let (faulty, _) = &faults.by_issuer[&issuer(1)];
        assert_eq!((faulty.count, faulty.last.as_str()), (25_000, "fault 24999"));
        assert_eq!(
            faults.count(issuer(2), "first".into(), start, 0),
            Some(0),
            "another issuer's is said at once"
        );
    }

    #[test]
    fn the_memory_of_faults_is_bounded_and_forgets_the_quietest() {
        let (mut faults, now) = (Faults::default(), Instant::now());
        for n in 0..1_000_u16 {
            faults.count(issuer(n), String::new(), now, i64::from(n));
            faults.count(issuer(0), String::new(), now, i64::from(n));
        }
        assert_eq!(faults.by_issuer.len(), FAULTY_MAX);
        assert!(faults.by_issuer.contains_key(&issuer(0)) && faults.by_issuer.contains_key(&issuer(999)));
        assert!(!faults.by_issuer.contains_key(&issuer(1)));
    }
}
