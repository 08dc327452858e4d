//! Own transactions that a gateway lost, and that wait elsewhere for something else.
//!
//! A gateway that starts from an old image takes back what its peers have attached: they say so with `Have`, and it
//! fetches. What only waits at a peer, for want of something that it refers to, is attached nowhere and served to nobody;
//! yet it will be attached, and another one that is signed at its sequence meanwhile is a fork. So a peer gives it back
//! before it answers the start check, and the gateway issues nothing while it waits for the same.
//!
//! Nobody needs to be believed: what comes back has this gateway's own signature, or is thrown away. A liar can keep genuine
//! ones back, as it can keep silent about what it has attached; it can give back what can never be attached, and then the
//! gateway waits for [`limits::PENDING_TIMEOUT_US`], once a start.

use alloc::vec::Vec;

use crate::border::{Effect, Lane, Now, PeerId};
use crate::gossip::Peer;
use crate::hash::Id;
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
        let Some(known) = self.gossip.get(peer) else { return };
        let next = known.hello.as_ref().and_then(|h| h.head).map_or(0, |h| h.sequence + 1);
        let is_its = |w: &Waiting| w.body.issuer == known.issuer && w.body.sequence >= next;
        let waiting = self.pending.waiting.iter().filter(|(_, w)| is_its(w));
        // Those whose signature holds first: else others could crowd them out with forged ones.
        let rank = |w: &Waiting| (!w.is_verified(), !w.is_being_judged(), w.body.sequence);
        let mut lost: Vec<_> = waiting.map(|(id, w)| (rank(w), *id)).collect();
        lost.sort_unstable();
        lost.truncate(limits::LOST_MAX);
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.lost = lost.into_iter().map(|(_, id)| (id, false)).collect();
        known.answer_by_us = now_us + limits::COMPLETION_TIMEOUT_US;
    }

    /// Is an own transaction here that this start did not make and that is beyond the head of the own chain? Nothing may be
    /// signed in its place while it may still be attached.
    pub(super) fn is_coming_back(&mut self, now_us: u64) -> bool {
        if self.own_chain.has_issued() {
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
/// not all at once. Says whether there may be more: then the answer waits. On the lane of the answer, and so before it.
pub(super) fn give_back(pending: &Pending, peer: &mut Peer, out: &mut Vec<Effect>) -> bool {
    let (mut may_be_more, mut bytes) = (false, 0);
    let mut give = |id: &Id, is_given: &mut bool| {
        let Some(waiting) = pending.waiting.get(id) else { return false };
        if *is_given || !waiting.is_verified() {
            may_be_more |= waiting.is_being_judged();
        } else if bytes >= limits::LOST_BYTES_AT_ONCE {
            may_be_more = true;
        } else {
            bytes += waiting.envelope.len();
            let frame = wire::transactions(core::slice::from_ref(&waiting.envelope));
            out.push(Effect::Send { peer: peer.id, lane: Lane::Fresh, frame });
            *is_given = true;
        }
        true
    };
    peer.lost.retain_mut(|(id, is_given)| give(id, is_given));
    may_be_more
}
