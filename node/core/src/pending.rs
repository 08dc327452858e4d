//! Transactions that were received and are not attached: they wait for a key, a signature check, or something
//! they refer to. Bounded in number and bytes, for each peer and for all; what is dropped can be fetched again.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{PeerId, Ticket};
use crate::check::KeyPayload;
use crate::hash::{Hash, Id};
use crate::limits;
use crate::record::Stored;
use crate::transaction::{Body, Reference};

/// How far a waiting transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The store is asked whether it is attached already, below the window.
    Lookup,
    /// The key that signed it is not known: its `prev` is needed first.
    NoKey,
    /// Its signature is being checked with this key: place in the issuer's list; `None`: the one it brings itself.
    Verifying(Ticket, Option<u16>),
    /// Its signature holds; it waits for its references.
    Verified(Option<u16>),
}

/// One waiting transaction.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) envelope: Arc<[u8]>,
    pub(crate) peer: PeerId,
    /// Its issuer was not known when it came.
    pub(crate) of_stranger: bool,
    /// It came by a fetch.
    pub(crate) fetched: bool,
    pub(crate) body: Body,
    pub(crate) references: Vec<Reference>,
    pub(crate) key_payload: KeyPayload,
    pub(crate) stage: Stage,
    pub(crate) since_us: u64,
    /// When its present work is asked for again, if there is no answer.
    pub(crate) due_us: u64,
    /// The load under way for it, and what it asks for.
    pub(crate) loading: Option<Ticket>,
    pub(crate) asked: Vec<Reference>,
    /// The next local number at that moment: what is attached later, the answer may not know.
    pub(crate) asked_at_number: u64,
    /// What the store or an attachment said of references.
    pub(crate) held: BTreeMap<Id, Stored>,
    /// References that the store does not hold.
    pub(crate) absent: BTreeSet<Id>,
    /// The same body with other signatures, in case this one is bad.
    pub(crate) copies: Vec<(PeerId, Arc<[u8]>)>,
}

impl Waiting {
    /// Its signature holds.
    pub(crate) const fn is_verified(&self) -> bool {
        matches!(self.stage, Stage::Verified(_))
    }
    /// The store or a check of its signature has yet to say what it is.
    pub(crate) const fn is_being_judged(&self) -> bool {
        match self.stage {
            Stage::Lookup | Stage::Verifying(..) => true,
            Stage::NoKey => self.loading.is_some(),
            Stage::Verified(_) => false,
        }
    }
}

/// Something that a waiting transaction refers to and nobody here holds.
#[derive(Debug)]
pub(crate) struct Awaited {
    pub(crate) waiters: BTreeSet<Id>,
    pub(crate) asked_us: Option<u64>,
    /// How often it was asked for: decides whom to ask next, and for which waiter.
    pub(crate) turn: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) waiting: BTreeMap<Id, Waiting>,
    pub(crate) awaited: BTreeMap<Id, Awaited>,
    /// Which transaction a load or a check belongs to.
    pub(crate) tickets: BTreeMap<Ticket, Id>,
    /// Something could not be awaited for want of room: the next sweep tries again.
    pub(crate) overflowed: bool,
    refused: BTreeSet<Hash>,
    refused_order: VecDeque<Hash>,
    bytes: usize,
    of_peer: BTreeMap<PeerId, Share>,
    /// Is there something awaited to be asked for?
    pub(crate) ask_due: bool,
}

/// What one peer has waiting, copies included.
#[derive(Debug, Clone, Copy, Default)]
struct Share {
    count: usize,
    /// Of these, transactions whose issuer was not known.
    of_strangers: usize,
    bytes: usize,
    /// Of these, transactions that came by a fetch.
    fetched: usize,
    fetched_bytes: usize,
}

impl Pending {
    /// Is there room for one more of this peer? A quarter of all room is for what a fetch brings, which is in an order in
    /// which it attaches: nothing else may keep it out. Of the rest half is for whoever comes first, a third for peers below
    /// their fair share, so that a few busy ones cannot keep the others out, and the last sixth for what something waits
    /// for already: else a full set that waits for one missing transaction would refuse just that one.
    pub(crate) fn has_room(
        &self,
        peer: PeerId,
        id: &Id,
        bytes: usize,
        of_stranger: bool,
        fetched: bool,
    ) -> bool {
        let share = self.of_peer.get(&peer).copied().unwrap_or_default();
        let all = self.all();
        let is_asked_for = fetched
            && all.fetched < limits::PENDING_FETCHED_MAX
            && all.fetched_bytes + bytes <= limits::PENDING_FETCHED_BYTES_MAX;
        if is_asked_for {
            return true;
        }
        let (others, others_bytes) = (all.count - all.fetched, all.bytes - all.fetched_bytes + bytes);
        let is_within = |eighths: usize| {
            others < limits::PENDING_MAX / 8 * eighths
                && others_bytes <= limits::PENDING_BYTES_MAX / 8 * eighths
        };
        if self.awaited.contains_key(id) {
            return is_within(6);
        }
        let is_modest = is_within(5)
            && share.count < limits::PENDING_FAIR_SHARE
            && share.bytes + bytes <= limits::PENDING_BYTES_FAIR_SHARE;
        share.count < limits::PENDING_PER_PEER_MAX
            && !(of_stranger && share.of_strangers >= limits::PENDING_UNKNOWN_KEY_PER_PEER_MAX)
            && share.bytes + bytes <= limits::PENDING_BYTES_PER_PEER_MAX
            && (is_modest || is_within(3))
    }

    /// A fetch from `peer` begins: what fetches from others brought and is not attached is dropped when it takes too much
    /// of the room. It can be fetched again.
    pub(crate) fn make_room_for_fetch(&mut self, peer: PeerId) {
        let all = self.all();
        if all.fetched <= limits::PENDING_FETCHED_MAX / 2
            && all.fetched_bytes <= limits::PENDING_FETCHED_BYTES_MAX / 2
        {
            return;
        }
        let is_left_over = |w: &Waiting| w.fetched && w.peer != peer;
        let left_over: Vec<Id> =
            self.waiting.iter().filter(|(_, w)| is_left_over(w)).map(|(id, _)| *id).collect();
        for id in left_over {
            self.remove(&id);
        }
    }

    /// What all peers have waiting.
    fn all(&self) -> Share {
        self.of_peer.values().fold(Share::default(), |sum, share| Share {
            count: sum.count + share.count,
            of_strangers: sum.of_strangers + share.of_strangers,
            bytes: sum.bytes + share.bytes,
            fetched: sum.fetched + share.fetched,
            fetched_bytes: sum.fetched_bytes + share.fetched_bytes,
        })
    }

    /// Waiting ones of this peer that came by a fetch.
    pub(crate) fn fetched_from(&self, peer: PeerId) -> usize {
        self.of_peer.get(&peer).map_or(0, |s| s.fetched)
    }

    /// Forgets what a peer that is gone left, as far as nothing is known of it: no key, so no signature was checked. Else
    /// each connection would bring another share. What another peer sent of the same body takes its place.
    pub(crate) fn forget_unjudged(&mut self, peer: PeerId) {
        let is_unjudged = |w: &Waiting| {
            matches!(w.stage, Stage::NoKey | Stage::Lookup)
                && (w.peer == peer || w.copies.iter().any(|(of, _)| *of == peer))
        };
        let unjudged: Vec<Id> =
            self.waiting.iter().filter(|(_, w)| is_unjudged(w)).map(|(id, _)| *id).collect();
        for id in unjudged {
            let Some(waiting) = self.waiting.get_mut(&id) else { continue };
            let is_first = waiting.peer == peer;
            // One of each peer at most.
            let its = waiting.copies.iter().position(|(of, _)| *of == peer);
            if let Some((_, copy)) = its.map(|place| waiting.copies.remove(place)) {
                self.release(peer, copy.len(), false);
            }
            if is_first && self.next_copy(&id) {
                // What was asked for its sake is not asked for any more: the next sweep begins anew.
                self.overflowed = true;
            }
        }
    }

    /// Envelopes of this peer, copies included.
    pub(crate) fn of(&self, peer: PeerId) -> usize {
        self.of_peer.get(&peer).map_or(0, |s| s.count)
    }

    fn charge(&mut self, peer: PeerId, bytes: usize, of_stranger: bool) {
        self.bytes += bytes;
        let share = self.of_peer.entry(peer).or_default();
        share.count += 1;
        share.of_strangers += usize::from(of_stranger);
        share.bytes += bytes;
    }

    fn release(&mut self, peer: PeerId, bytes: usize, of_stranger: bool) {
        self.bytes -= bytes;
        if let Some(share) = self.of_peer.get_mut(&peer) {
            share.count -= 1;
            share.of_strangers -= usize::from(of_stranger);
            share.bytes -= bytes;
            if share.count == 0 {
                self.of_peer.remove(&peer);
            }
        }
    }

    pub(crate) fn insert(&mut self, id: Id, waiting: Waiting) {
        self.charge(waiting.peer, waiting.envelope.len(), waiting.of_stranger);
        if let Some(share) = self.of_peer.get_mut(&waiting.peer) {
            share.fetched += usize::from(waiting.fetched);
            share.fetched_bytes += if waiting.fetched { waiting.envelope.len() } else { 0 };
        }
        self.waiting.insert(id, waiting);
    }

    /// Takes one out, with all that was asked for its sake.
    pub(crate) fn remove(&mut self, id: &Id) -> Option<Waiting> {
        let waiting = self.waiting.remove(id)?;
        if let Some(share) = self.of_peer.get_mut(&waiting.peer) {
            share.fetched -= usize::from(waiting.fetched);
            share.fetched_bytes -= if waiting.fetched { waiting.envelope.len() } else { 0 };
        }
        self.release(waiting.peer, waiting.envelope.len(), waiting.of_stranger);
        for (peer, copy) in waiting.copies.iter().filter(|_| !planted!(CopiesLeak)) {
            self.release(*peer, copy.len(), false);
        }
        for reference in &waiting.references {
            self.stop_awaiting(&reference.id, id);
        }
        if let Stage::Verifying(ticket, _) = waiting.stage {
            self.tickets.remove(&ticket);
        }
        if let Some(ticket) = waiting.loading {
            self.tickets.remove(&ticket);
        }
        Some(waiting)
    }

    fn stop_awaiting(&mut self, awaited: &Id, waiter: &Id) {
        if let Some(entry) = self.awaited.get_mut(awaited) {
            entry.waiters.remove(waiter);
            if entry.waiters.is_empty() {
                self.awaited.remove(awaited);
            }
        }
    }

    /// Keeps another copy of a waiting transaction: the one at hand may have a bad signature or a wrong key number,
    /// which are no part of its id. Says whether it was kept.
    pub(crate) fn keep_copy(&mut self, id: &Id, peer: PeerId, envelope: &Arc<[u8]>) -> bool {
        let has_room = self.has_room(peer, id, envelope.len(), false, false);
        let Some(waiting) = self.waiting.get_mut(id) else { return false };
        if waiting.envelope == *envelope || waiting.copies.iter().any(|(_, e)| e == envelope) {
            return false;
        }
        // One of each peer, the last one: else a liar fills the places, and the genuine one finds none.
        let before = waiting.copies.iter().position(|(p, _)| *p == peer);
        let replaced = before.map(|place| waiting.copies.remove(place).1);
        let is_kept = has_room && waiting.copies.len() < limits::COPIES_MAX;
        if is_kept {
            waiting.copies.push((peer, envelope.clone()));
        }
        if let Some(replaced) = replaced {
            self.release(peer, replaced.len(), false);
        }
        if is_kept {
            self.charge(peer, envelope.len(), false);
        }
        is_kept
    }

    /// Replaces a copy that is no good by the next one. `false` when there is none: then it is taken out.
    pub(crate) fn next_copy(&mut self, id: &Id) -> bool {
        let Some(mut waiting) = self.remove(id) else { return false };
        if waiting.copies.is_empty() {
            return false;
        }
        let (peer, envelope) = waiting.copies.remove(0);
        for (peer, copy) in &waiting.copies {
            self.charge(*peer, copy.len(), false);
        }
        // Only the store knows whether it is attached already, as long as it has not said; the sweep asks at once.
        let (stage, due_us) = match waiting.stage {
            Stage::Lookup => (Stage::Lookup, 0),
            _ => (Stage::NoKey, waiting.due_us),
        };
        self.insert(*id, Waiting { envelope, peer, stage, due_us, loading: None, ..waiting });
        true
    }

    /// `waiter` needs `reference`, which nobody here holds.
    pub(crate) fn wait_for(&mut self, reference: &Reference, waiter: Id) {
        if self.awaited.len() >= limits::WANTED_MAX && !self.awaited.contains_key(&reference.id) {
            self.overflowed = true;
            return;
        }
        let fresh = || Awaited { waiters: BTreeSet::new(), asked_us: None, turn: 0 };
        self.ask_due = true;
        self.awaited.entry(reference.id).or_insert_with(fresh).waiters.insert(waiter);
    }

    /// Was this envelope refused? It is hashed only when there are any.
    pub(crate) fn is_refused(&self, envelope: impl FnOnce() -> Hash) -> bool {
        !self.refused.is_empty() && self.refused.contains(&envelope())
    }

    /// Remembers a badly signed envelope, as a whole: its id stays wanted.
    pub(crate) fn refuse(&mut self, envelope: Hash) {
        if self.refused.insert(envelope) {
            self.refused_order.push_back(envelope);
        }
        while self.refused_order.len() > limits::REFUSED_ENVELOPES_MAX {
            if let Some(oldest) = self.refused_order.pop_front() {
                self.refused.remove(&oldest);
            }
        }
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes counted anew, for the invariants.
    pub(crate) fn recount_bytes(&self) -> usize {
        let of_one = |w: &Waiting| w.envelope.len() + w.copies.iter().map(|(_, e)| e.len()).sum::<usize>();
        self.waiting.values().map(of_one).sum()
    }
}
