//! How transactions spread: pushed along eager links, announced along lazy ones, asked for by id.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Lane, Now, PeerId, Serve};
use crate::gossip::Announced;
use crate::hash::{Id, Issuer};
use crate::limits;
use crate::transaction::Reference;
use crate::wire::{self, Announce, Message, Want};

use super::Node;
use super::receive::Received;

impl Node {
    /// A body that was not asked for.
    pub(super) fn pushed(&mut self, now: Now, peer: PeerId, envelope: &[u8], out: &mut Vec<Effect>) {
        let (received, issuer) = self.receive(now, peer, envelope, false, out);
        if received != Received::Held {
            return self.count_received(now, peer, received, envelope.len(), out);
        }
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.counts.repeated += 1;
        if Some(known.issuer) == issuer {
            // Its own transaction: that it sends to everybody at once.
            return;
        }
        if core::mem::replace(&mut known.eager, false) {
            self.send(peer, &Message::Prune, out);
            self.gossip.keep_one_eager();
        }
        self.wasted(now, peer, envelope.len(), out);
    }

    /// Bodies that this node asked for: by id, or as ranges.
    pub(super) fn brought(&mut self, now: Now, peer: PeerId, envelopes: &[&[u8]], out: &mut Vec<Effect>) {
        for envelope in envelopes {
            if self.gossip.get(peer).is_none() {
                // It was sent away half way.
                return;
            }
            let fetched = self.gossip.fetching.as_ref().is_some_and(|f| f.peer == peer);
            let (received, _) = self.receive(now, peer, envelope, fetched, out);
            self.count_received(now, peer, received, envelope.len(), out);
        }
    }

    fn count_received(
        &mut self,
        now: Now,
        peer: PeerId,
        received: Received,
        bytes: usize,
        out: &mut Vec<Effect>,
    ) {
        match received {
            Received::New | Received::NoRoom => {}
            Received::Held => {
                if let Some(known) = self.gossip.get_mut(peer) {
                    known.counts.repeated += 1;
                }
                self.wasted(now, peer, bytes, out);
            }
            Received::Unwelcome | Received::Refused => self.wasted(now, peer, bytes, out),
        }
    }

    /// What a peer sent was attached: on to the others. What came by a fetch they may be fetching as well, so it is only
    /// announced; and of a long one only the beginning, the rest they learn from frontiers.
    pub(super) fn spread(
        &mut self,
        now_us: u64,
        reference: Reference,
        envelope: &[u8],
        (from, fetched): (PeerId, bool),
        out: &mut Vec<Effect>,
    ) {
        if fetched {
            if self.gossip.fetched_announced >= limits::FETCHED_ANNOUNCED_MAX {
                return;
            }
            self.gossip.fetched_announced += 1;
        }
        let mut frame = None;
        for peer in self.gossip.greeted_mut() {
            if peer.id == from || peer.issuer == reference.issuer {
                continue;
            }
            if peer.eager && !fetched {
                let frame = frame.get_or_insert_with(|| wire::transaction(envelope)).clone();
                out.push(Effect::Send { peer: peer.id, lane: Lane::Fresh, frame });
            } else {
                announce(peer, reference, now_us);
            }
        }
    }

    /// An own transaction is durable: at once to every connected committee member and along eager links.
    pub(super) fn spread_own(
        &mut self,
        now_us: u64,
        reference: Reference,
        envelope: &[u8],
        out: &mut Vec<Effect>,
    ) {
        let frame = wire::transaction(envelope);
        let issuers = &self.issuers;
        for peer in self.gossip.greeted_mut() {
            if peer.eager || issuers.member_bit(&peer.issuer).is_some() {
                out.push(Effect::Send { peer: peer.id, lane: Lane::Fresh, frame: frame.clone() });
            } else {
                announce(peer, reference, now_us);
            }
        }
    }

    pub(super) fn announce_due(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        // Most peers are told the same: that is encoded once.
        let mut last: Option<(Announce, Arc<[u8]>)> = None;
        for peer in self.gossip.greeted_mut() {
            if peer.announce_at_us.is_none_or(|at| at + limits::ANNOUNCE_US > now_us) {
                continue;
            }
            peer.announce_at_us = None;
            let announce = Announce { references: core::mem::take(&mut peer.announce) };
            let frame = match last.take() {
                Some((same, frame)) if same == announce => frame,
                _ => wire::announce(&announce),
            };
            out.push(Effect::Send { peer: peer.id, lane: Lane::Fresh, frame: frame.clone() });
            last = Some((announce, frame));
        }
    }

    /// Ids that a peer holds. A body that comes by another link within a while need not be asked for.
    pub(super) fn announced(&mut self, now: Now, peer: PeerId, references: &[Reference]) {
        let due_us = now.monotonic_us + limits::GRAFT_US;
        // Counted only when the limit can be reached at all.
        let may_be_full = self.gossip.announced.len() + references.len() > limits::ANNOUNCED_PER_PEER_MAX;
        let its = || self.gossip.announced.values().filter(|a| a.peers.contains(&peer)).count();
        let mut of_peer = if may_be_full { its() } else { 0 };
        for reference in references {
            self.note_own_sent(peer, reference.issuer, reference.sequence);
            if self.is_here(reference) || of_peer >= limits::ANNOUNCED_PER_PEER_MAX {
                continue;
            }
            let fresh = || Announced { peers: VecDeque::new(), due_us };
            let announced = self.gossip.announced.entry(*reference).or_insert_with(fresh);
            if !announced.peers.contains(&peer) && announced.peers.len() < 4 {
                announced.peers.push_back(peer);
                of_peer += 1;
            }
            let at = self.gossip.graft_at_us.unwrap_or(due_us);
            self.gossip.graft_at_us = Some(at.min(due_us));
        }
    }

    /// Is it attached, as far as memory shows, or waiting?
    fn is_here(&self, reference: &Reference) -> bool {
        let below_window = || {
            !self.window.is_whole()
                && self.issuers.get(&reference.issuer).and_then(|c| c.first_branch)
                    >= Some(reference.sequence)
        };
        self.window.by_id(&reference.id).is_some()
            || self.pending.waiting.contains_key(&reference.id)
            || self.gossip.fetching.as_ref().is_some_and(|f| f.covers(reference))
            || below_window()
    }

    /// Was this body asked for by its id?
    pub(super) fn was_asked_for(&self, reference: &Reference) -> bool {
        self.pending.awaited.get(&reference.id).is_some_and(|a| a.asked_us.is_some())
            || self.gossip.announced.contains_key(reference)
    }

    /// Announced bodies that did not come: asked for, and the link becomes an eager one.
    pub(super) fn graft_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.gossip.graft_at_us.is_none_or(|at| at > now.monotonic_us) {
            return;
        }
        let mut announced = core::mem::take(&mut self.gossip.announced);
        let mut asks: Vec<(PeerId, Vec<Reference>)> = Vec::new();
        announced.retain(|reference, a| {
            if a.due_us > now.monotonic_us {
                return true;
            }
            if self.is_here(reference) {
                return false;
            }
            let Some(peer) = a.peers.pop_front() else { return false };
            a.due_us = now.monotonic_us + limits::WANT_TIMEOUT_US;
            match asks.iter_mut().find(|(p, r)| *p == peer && r.len() < limits::REFERENCES_PER_ASK_MAX) {
                Some((_, references)) => references.push(*reference),
                None => asks.push((peer, Vec::from([*reference]))),
            }
            true
        });
        self.gossip.graft_at_us = announced.values().map(|a| a.due_us).min();
        self.gossip.announced = announced;
        for (peer, references) in asks {
            if let Some(known) = self.gossip.get_mut(peer) {
                known.eager = true;
                self.send(peer, &Message::Want(Want { graft: true, references }), out);
            }
        }
    }

    pub(super) fn pruned(&mut self, peer: PeerId) {
        if let Some(known) = self.gossip.get_mut(peer) {
            known.eager = false;
        }
    }

    /// A peer asks by id. What is not durable yet is in memory, the rest is in the log.
    pub(super) fn wanted(&mut self, now: Now, peer: PeerId, want: Want, out: &mut Vec<Effect>) {
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.eager |= want.graft;
        let within = known.budget.wants.take(want.references.len() as u64, now.monotonic_us);
        if !within || known.serving_ids >= 4 {
            return self.ignored(peer);
        }
        let mut stored = Vec::new();
        for reference in want.references {
            match self.window.by_id(&reference.id).map(|e| e.record.number) {
                Some(number) => match self.unsynced.get(&number) {
                    Some(envelope) => {
                        let frame = wire::transactions(core::slice::from_ref(envelope));
                        out.push(Effect::Send { peer, lane: Lane::Bulk, frame });
                    }
                    None if number < self.window.durable() => stored.push(reference),
                    // An own one that a power cut could still take back.
                    None => {}
                },
                None if !self.window.is_whole() => stored.push(reference),
                None => {}
            }
        }
        if stored.is_empty() {
            return;
        }
        let ticket = self.ticket();
        if let Some(known) = self.gossip.get_mut(peer) {
            known.serving_ids += 1;
        }
        out.push(Effect::Serve { ticket, peer, what: Serve::Ids(stored) });
        self.serving.insert(ticket, peer);
    }

    pub(super) fn served(&mut self, ticket: crate::border::Ticket) {
        let Some(peer) = self.serving.remove(&ticket) else { return };
        let Some(known) = self.gossip.get_mut(peer) else { return };
        if known.serving == Some(ticket) {
            known.serving = None;
        } else {
            known.serving_ids = known.serving_ids.saturating_sub(1);
        }
    }

    /// Asks peers for what is awaited and not asked for lately, each time another one.
    pub(super) fn ask_for_awaited(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.gossip.greeted().next().is_none() || !core::mem::take(&mut self.pending.ask_due) {
            return;
        }
        let mut asks: Vec<(PeerId, Vec<Reference>)> =
            self.gossip.greeted().map(|p| (p.id, Vec::new())).collect();
        let due = |asked: Option<u64>| {
            asked.is_none_or(|at| at + limits::WANT_TIMEOUT_US <= now.monotonic_us && !planted!(AsksOnce))
        };
        let candidates: Vec<Id> =
            self.pending.awaited.iter().filter(|(_, a)| due(a.asked_us)).map(|(id, _)| *id).collect();
        for id in candidates {
            let Some((reference, of, turn, waiters)) = self.next_ask(&id) else { continue };
            // First whoever sent what refers to it, then the others.
            let first = asks.iter().position(|(p, _)| *p == of).unwrap_or(0);
            let ask = (first + turn / waiters) % asks.len();
            if asks[ask].1.len() < limits::REFERENCES_PER_ASK_MAX {
                asks[ask].1.push(reference);
                if let Some(awaited) = self.pending.awaited.get_mut(&id) {
                    awaited.asked_us = Some(now.monotonic_us);
                    awaited.turn += 1;
                }
            } else {
                self.pending.ask_due = true;
            }
        }
        for (peer, references) in asks.into_iter().filter(|(_, references)| !references.is_empty()) {
            self.send(peer, &Message::Want(Want { graft: false, references }), out);
        }
    }

    /// How to ask for an awaited one: the reference, the peer of the waiter that names it, how often it was asked for,
    /// and how many wait. `None`: not to be asked for now.
    pub(crate) fn next_ask(&self, id: &Id) -> Option<(Reference, PeerId, usize, usize)> {
        let waiting = &self.pending.waiting;
        if waiting.contains_key(id) {
            return None;
        }
        let awaited = self.pending.awaited.get(id)?;
        // Each time as another waiter names it: one may name it wrongly, and nobody holds that.
        let waiters = awaited.waiters.len().max(1);
        let waiter = awaited.waiters.iter().nth(awaited.turn % waiters).and_then(|w| waiting.get(w))?;
        let reference = *waiter.references.iter().find(|r| r.id == *id)?;
        let is_coming = self.gossip.fetching.as_ref().is_some_and(|f| f.covers(&reference));
        let is_welcome =
            !self.is_crowded(&reference.issuer, reference.sequence) || self.is_needed(id, reference.issuer);
        (!is_coming && is_welcome).then_some((reference, waiter.peer, awaited.turn, waiters))
    }

    /// Are there as many bodies of this place as are taken for their own sake?
    pub(super) fn is_crowded(&self, issuer: &Issuer, sequence: u64) -> bool {
        // Of the own key every body is of interest: it shows another machine.
        *issuer != self.config.issuer && self.issuers.is_forked(issuer, sequence)
    }

    /// Does something of another issuer wait for it, directly or by what waits for it?
    pub(super) fn is_needed(&self, id: &Id, issuer: Issuer) -> bool {
        let mut seen = alloc::collections::BTreeSet::new();
        let mut left = Vec::from([*id]);
        while let Some(at) = left.pop() {
            let Some(awaited) = self.pending.awaited.get(&at) else { continue };
            for waiter in &awaited.waiters {
                if self.pending.waiting.get(waiter).is_some_and(|w| w.body.issuer != issuer) {
                    return true;
                }
                if seen.insert(*waiter) {
                    left.push(*waiter);
                }
            }
        }
        false
    }
}

fn announce(peer: &mut crate::gossip::Peer, reference: Reference, now_us: u64) {
    // Beyond one frame the frontier says it: what was attached sets its digest going.
    if peer.announce.len() < limits::REFERENCES_PER_ASK_MAX {
        peer.announce.push(reference);
        peer.announce_at_us.get_or_insert(now_us);
    }
}
