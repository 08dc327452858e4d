//! Own transactions that a gateway lost, and that wait elsewhere for something else.
//!
//! A gateway that starts from an old image takes back what its peers have attached: they say so with `Have`, and it
//! fetches. What only waits at a peer, for want of something that it refers to, is attached nowhere and served to nobody;
//! yet it will be attached, and another one that is signed at its sequence meanwhile is a fork. So a peer gives it back
//! before it answers the start check, and the gateway issues nothing while it waits for the same. What reaches the peer
//! later is given back as well, unless the gateway itself has sent it, or one after it, on this connection.
//!
//! Nobody needs to be believed: what comes back has this gateway's own signature, or is thrown away. A liar can keep genuine
//! ones back, as it can keep silent about what it has attached; it can give back what can never be attached, and then the
//! gateway waits for [`limits::PENDING_TIMEOUT_US`], once a start.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Lane, Now, PeerId};
use crate::gossip::Peer;
use crate::hash::{Id, Issuer};
use crate::limits;
use crate::pending::{Pending, Waiting};
use crate::wire;

use super::Node;

/// What waits for one before it that nobody has shown is waited for no longer than this, in microseconds.
const GAP_PATIENCE_US: u64 = 30_000_000;
/// While nothing may be issued, what is due is looked at this often, in microseconds.
const LOOK_US: u64 = 1_000_000;

impl Node {
    /// A peer has said hello, and what its newest transaction is: what waits here beyond that it has lost.
    pub(super) fn note_lost(&mut self, now_us: u64, peer: PeerId) {
        if planted!(GivesNothingBack) {
            return;
        }
        let Some(known) = self.gossip.get(peer) else { return };
        let next = known.hello.as_ref().and_then(|h| h.head).map_or(0, |h| h.sequence + 1);
        // Others, which may be forged and must not crowd them out, follow when their signatures hold.
        let is_its = |w: &Waiting| {
            w.body.issuer == known.issuer
                && w.body.sequence >= next
                && (w.is_verified() || w.is_being_judged())
        };
        let waiting = self.pending.waiting.iter().filter(|(_, w)| is_its(w));
        let rank = |w: &Waiting| (!w.is_verified(), w.body.sequence);
        let mut lost: Vec<_> = waiting.map(|(id, w)| (rank(w), *id)).collect();
        lost.sort_unstable();
        lost.truncate(limits::LOST_MAX);
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.lost = lost.into_iter().map(|(_, id)| (id, false)).collect();
        known.answer_by_us = now_us + limits::COMPLETION_TIMEOUT_US;
    }

    /// One that a third peer sent waits here, and its signature holds: has its issuer, which is connected, lost it? What it
    /// has made on this connection it sends or announces itself.
    pub(super) fn note_lost_late(&mut self, now_us: u64, id: Id) {
        let Some(waiting) = self.pending.waiting.get(&id) else { return };
        let (issuer, sequence) = (waiting.body.issuer, waiting.body.sequence);
        let of = self.gossip.greeted().find(|p| p.issuer == issuer).map(|p| p.id);
        let Some(known) = of.and_then(|peer| self.gossip.get_mut(peer)) else { return };
        let head = known.hello.as_ref().and_then(|h| h.head).map(|h| h.sequence);
        let is_lost = known.own_sent.max(head) < Some(sequence);
        if !is_lost || planted!(GivesNothingBack) {
            return;
        }
        if known.lost.iter().all(|(lost, _)| *lost != id) {
            if known.lost.len() >= limits::LOST_MAX {
                return;
            }
            known.lost.push((id, false));
        }
        known.tell_at_us.get_or_insert(now_us + limits::HAVE_EVERY_US);
    }

    /// A peer has sent or announced one of its own chain: it has it.
    pub(super) fn note_own_sent(&mut self, peer: PeerId, issuer: Issuer, sequence: u64) {
        if self.gossip.get(peer).is_some_and(|p| p.issuer == issuer && p.own_sent < Some(sequence))
            && let Some(known) = self.gossip.get_mut(peer)
        {
            known.own_sent = Some(sequence);
        }
    }

    /// A peer has sent a genuine own transaction that is beyond the head of the own chain: until it has answered more may
    /// follow.
    pub(super) fn note_given_back(&mut self, peer: PeerId, issuer: Issuer, sequence: u64) {
        if issuer == self.config.issuer
            && sequence >= self.own_next()
            && let Some(known) = self.gossip.get_mut(peer)
        {
            known.gave_back = Some(sequence);
        }
    }

    /// Is an own transaction here that this start did not make and that is beyond the head of the own chain? Nothing may be
    /// signed in its place while it may still be attached.
    pub(super) fn is_coming_back(&mut self, now_us: u64) -> bool {
        if self.own_chain.has_issued() || planted!(SignsMeanwhile) {
            return false;
        }
        let own = self.config.issuer;
        let head = self.issuers.get(&own).and_then(|c| c.heads.first());
        let (next, prev) = head.map_or((0, self.network.genesis_id()), |h| (h.sequence + 1, h.id));
        let is_ahead = |w: &&Waiting| {
            w.body.issuer == own && w.body.sequence >= next && (w.is_verified() || w.is_being_judged())
        };
        let mut ahead = self.pending.waiting.values().filter(is_ahead).peekable();
        if ahead.peek().is_none() {
            return false;
        }
        let goes_on = ahead.any(|w| w.body.sequence == next && w.body.prev == prev);
        let patience = if goes_on { limits::PENDING_TIMEOUT_US } else { GAP_PATIENCE_US };
        now_us < self.own_chain.lost_since(now_us) + patience
    }

    /// The same when something is to be issued: it is looked at again soon.
    pub(super) fn waits_for_lost(&mut self, now: Now) -> bool {
        let now_us = now.monotonic_us;
        if !self.is_coming_back(now_us) {
            return false;
        }
        if let Some(at) = &mut self.approve_at_us {
            *at = (*at).max(now_us + LOOK_US);
        }
        true
    }
}

/// Sends a peer those of its own transactions that it lost and that wait here, as far as their signatures hold, each once and
/// not all at once. Says whether the answer has to wait: there may be more, or what went out now may have found no room,
/// which is known by the next time. On the lane of the answer, and so before it.
pub(super) fn give_back(pending: &Pending, peer: &mut Peer, out: &mut Vec<Effect>) -> bool {
    let (mut may_be_more, mut bytes) = (false, 0);
    let mut part: Vec<Arc<[u8]>> = Vec::new();
    let own_sent = peer.own_sent;
    let mut give = |id: &Id, is_given: &mut bool| {
        let waiting = pending.waiting.get(id).filter(|w| own_sent < Some(w.body.sequence));
        let Some(waiting) = waiting else { return false };
        if *is_given || !waiting.is_verified() {
            may_be_more |= waiting.is_being_judged();
        } else if bytes >= limits::LOST_BYTES_AT_ONCE {
            may_be_more = true;
        } else {
            bytes += waiting.envelope.len();
            part.push(waiting.envelope.clone());
            *is_given = true;
        }
        true
    };
    peer.lost.retain_mut(|(id, is_given)| give(id, is_given));
    if part.is_empty() {
        return may_be_more;
    }
    out.push(Effect::Send { peer: peer.id, lane: Lane::Fresh, frame: wire::transactions(&part) });
    true
}
