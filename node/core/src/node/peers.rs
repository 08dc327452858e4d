//! Connections: hello, what a frame is, budgets, and who is sent away.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, Farewell, Lane, Now, PeerId, Silence};
use crate::gossip::{Counts, Peer};
use crate::hash::Issuer;
use crate::limits;
use crate::reject::Reject;
use crate::wire::{self, ChainHead, Hello, Message, Notice, StartId};

use super::Node;

/// A peer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStatus {
    /// The connection.
    pub peer: PeerId,
    /// Who.
    pub issuer: Issuer,
    /// Is it in the committee?
    pub member: bool,
    /// Name and version of its program; empty before its hello.
    pub software: String,
    /// Are bodies pushed to it, or ids announced?
    pub eager: bool,
    /// Transactions that it holds and this node lacks, as far as it said.
    pub ahead: u64,
    /// Transactions that it lacked when it last told its frontier.
    pub behind: u64,
    /// The newest of this node's own transactions that it holds; `None`: it has not said.
    pub holds_own: Option<u64>,
    /// Its transactions that wait here.
    pub pending: usize,
    /// Useless bytes that it may still send before it is sent away.
    pub waste_left: u64,
    /// References that it may still ask for at once.
    pub wants_left: u64,
    /// What it did.
    pub counts: Counts,
}

impl Node {
    pub(super) fn send(&self, peer: PeerId, message: &Message<'_>, out: &mut Vec<Effect>) {
        debug_assert!(self.gossip.get(peer).is_some(), "only connected peers are spoken to");
        out.push(Effect::Send { peer, lane: Lane::Fresh, frame: message.to_frame() });
    }

    pub(super) fn peer_up(
        &mut self,
        now: Now,
        peer: PeerId,
        issuer: Issuer,
        outgoing: bool,
        out: &mut Vec<Effect>,
    ) {
        if self.gossip.get(peer).is_some() {
            return;
        }
        if self.gossip.is_full() {
            let why = Farewell::Full { limit: limits::PEERS_MAX };
            return out.push(Effect::Disconnect { peer, why, back_off_us: limits::BACK_OFF_FIRST_US });
        }
        self.gossip.insert(Peer::new(peer, issuer, outgoing, now.monotonic_us));
        let hello = Hello {
            lowest: wire::VERSION,
            highest: wire::VERSION,
            features: 0,
            network: self.network.id(),
            frame_bytes_max: limits::FRAME_BYTES_MAX as u32,
            head: self.own_chain.durable_head(),
            start: self.start,
            software: self.config.software.clone(),
        };
        self.send(peer, &Message::Hello(hello), out);
    }

    pub(super) fn peer_down(&mut self, peer: PeerId) {
        self.gossip.remove(peer);
        self.pending.forget_unjudged(peer);
    }

    pub(super) fn frame(&mut self, now: Now, peer: PeerId, bytes: &Arc<[u8]>, out: &mut Vec<Effect>) {
        let Some(known) = self.gossip.get_mut(peer) else { return };
        if known.leaves_us.is_some() {
            return;
        }
        known.counts.frames += 1;
        let greeted = known.hello.is_some();
        let message = match Message::open(bytes) {
            Ok(message) => message,
            Err(why) => return self.fault(now, peer, why.into(), out),
        };
        let is_short =
            !matches!(message, Message::Hello(_) | Message::Transaction(_) | Message::Transactions(_));
        if is_short && !known.budget.short.take(1, now.monotonic_us) {
            known.counts.ignored += 1;
            return self.wasted(now, peer, bytes.len().max(limits::SHORT_FRAME_WASTE), out);
        }
        match message {
            Message::Hello(hello) if !greeted => self.hello(now, peer, hello, out),
            Message::Hello(_) => self.fault(now, peer, Reject::SecondHello, out),
            _ if !greeted => self.farewell(peer, Farewell::NoHello, limits::BACK_OFF_FIRST_US, out),
            Message::Transaction(envelope) => self.pushed(now, peer, envelope, out),
            Message::Transactions(envelopes) => self.brought(now, peer, &envelopes, out),
            Message::Announce(announce) => self.announced(now, peer, &announce.references),
            Message::Want(want) => self.wanted(now, peer, want, out),
            Message::Prune => self.pruned(peer),
            Message::Digest(digest) => self.digest_came(now, peer, digest, out),
            Message::Frontier(frontier) => self.frontier_came(now, peer, &frontier, out),
            Message::Fetch(fetch) => self.fetch_came(now, peer, fetch, out),
            Message::FetchEnd(end) => self.fetch_ended(now, peer, end.more),
            Message::Have(have) => self.have_came(now, peer, have.head, out),
            Message::Notice(Notice::AnotherMachine) => self.said_to_be_two(peer, out),
            Message::Unknown(_) => {
                if let Some(known) = self.gossip.get_mut(peer) {
                    known.counts.unknown += 1;
                }
                self.wasted(now, peer, bytes.len(), out);
            }
        }
    }

    fn hello(&mut self, now: Now, peer: PeerId, hello: Hello, out: &mut Vec<Effect>) {
        let ours = self.network.id();
        if hello.network != ours {
            let why = Farewell::OtherNetwork { got: hello.network, expected: ours };
            return self.farewell(peer, why, limits::BACK_OFF_LAST_US, out);
        }
        if hello.lowest > wire::VERSION {
            let (lowest, highest) = (hello.lowest, hello.highest);
            let why = Farewell::NoCommonVersion { lowest, highest, ours: wire::VERSION };
            return self.farewell(peer, why, limits::BACK_OFF_LAST_US, out);
        }
        let Some(known) = self.gossip.get(peer) else { return };
        let issuer = known.issuer;
        if issuer == self.config.issuer {
            if hello.start != self.start {
                // The transport has checked that whoever is there holds this node's key.
                let head = hello.head.unwrap_or(ChainHead { sequence: 0, id: self.network.genesis_id() });
                self.another_machine(Some(head), out);
            }
            return self.farewell(peer, Farewell::Ourselves, limits::BACK_OFF_LAST_US, out);
        }
        if !self.is_only_link(now.monotonic_us, peer, issuer, hello.start, out) {
            return;
        }
        let eager = self.gossip.eager_links() < limits::EAGER_LINKS;
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.hello = Some(hello);
        known.eager = eager;
        known.digest.at_us = now.monotonic_us;
        known.tell_at_us = Some(now.monotonic_us);
        self.note_lost(now.monotonic_us, peer);
    }

    /// One connection to each node: of two with the same start one is closed, alike at both ends; a newer start takes
    /// the place of an older one; an older one that comes back after that is a second machine.
    fn is_only_link(
        &mut self,
        now_us: u64,
        peer: PeerId,
        issuer: Issuer,
        start: StartId,
        out: &mut Vec<Effect>,
    ) -> bool {
        let other = self.gossip.greeted().find(|p| p.issuer == issuer && p.id != peer);
        let other = other.map(|p| (p.id, p.outgoing, p.hello.as_ref().map(|h| h.start)));
        let outgoing = self.gossip.get(peer).is_some_and(|p| p.outgoing);
        let remembered = self.gossip.remember(issuer);
        if remembered.replaced.contains(&start) {
            let newest_is_up = other.is_some_and(|(_, _, theirs)| theirs == remembered.newest);
            if newest_is_up {
                self.twins(issuer, [Some(peer), other.map(|o| o.0)], out);
                // Not at once: what was said must arrive.
                if let Some(known) = self.gossip.get_mut(peer) {
                    known.leaves_us = Some(now_us + limits::TWIN_LEAVES_US);
                }
                return false;
            }
        }
        let remembered = self.gossip.remember(issuer);
        if let Some(before) = remembered.newest.replace(start).filter(|before| *before != start) {
            remembered.replaced.retain(|s| *s != start && *s != before);
            remembered.replaced.push_back(before);
            if remembered.replaced.len() > 8 {
                remembered.replaced.pop_front();
            }
        }
        let Some((other, other_outgoing, theirs)) = other else { return true };
        if theirs != Some(start) {
            self.farewell(other, Farewell::Replaced, 0, out);
        } else if outgoing == other_outgoing {
            // The same side dialled twice: it believes the older one dead.
            self.farewell(other, Farewell::Twice, 0, out);
        } else {
            // Both dialled: the connection that the smaller identity dialled stays.
            let keep_outgoing = self.config.issuer < issuer;
            let loser = if outgoing == keep_outgoing { other } else { peer };
            self.farewell(loser, Farewell::Twice, 0, out);
            return loser != peer;
        }
        true
    }

    fn twins(&mut self, issuer: Issuer, links: [Option<PeerId>; 2], out: &mut Vec<Effect>) {
        for peer in links.into_iter().flatten() {
            self.send(peer, &Message::Notice(Notice::AnotherMachine), out);
        }
        if !core::mem::replace(&mut self.gossip.remember(issuer).twins, true) {
            out.push(Effect::Emit(Event::Twins { issuer }));
        }
    }

    pub(super) fn farewell(&mut self, peer: PeerId, why: Farewell, back_off_us: u64, out: &mut Vec<Effect>) {
        self.peer_down(peer);
        out.push(Effect::Disconnect { peer, why, back_off_us });
    }

    /// The peer sent something that no node can accept. Honest ones pass on only what they attached, so they never do.
    pub(super) fn fault(&mut self, now: Now, peer: PeerId, reject: Reject, out: &mut Vec<Effect>) {
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.counts.faults += 1;
        known.counts.last_fault = reject.to_string();
        let within = known.budget.faults.take(1, now.monotonic_us);
        let (issuer, count, last) = (known.issuer, known.counts.faults, known.counts.last_fault.clone());
        out.push(Effect::Drop { peer, reject });
        if !within {
            self.send_away(peer, issuer, Farewell::Faults { count, last }, out);
        }
    }

    /// The peer sent bytes that are of no use.
    pub(super) fn wasted(&mut self, now: Now, peer: PeerId, bytes: usize, out: &mut Vec<Effect>) {
        let Some(known) = self.gossip.get_mut(peer) else { return };
        if !known.budget.waste.take(bytes as u64, now.monotonic_us) {
            let issuer = known.issuer;
            self.send_away(peer, issuer, Farewell::Waste { limit: limits::WASTE_BYTES_BURST }, out);
        }
    }

    fn send_away(&mut self, peer: PeerId, issuer: Issuer, why: Farewell, out: &mut Vec<Effect>) {
        let remembered = self.gossip.remember(issuer);
        let back_off = limits::BACK_OFF_FIRST_US << remembered.sent_away.min(16);
        remembered.sent_away += 1;
        let back_off = back_off.min(limits::BACK_OFF_LAST_US);
        // All its connections: another one would go on with what is left.
        let links: Vec<PeerId> =
            self.gossip.peers().iter().filter(|p| p.issuer == issuer && p.id != peer).map(|p| p.id).collect();
        for link in links {
            self.farewell(link, why.clone(), back_off, out);
        }
        self.farewell(peer, why, back_off, out);
    }

    /// A request beyond its budget: not answered, and no fault.
    pub(super) fn ignored(&mut self, peer: PeerId) {
        if let Some(known) = self.gossip.get_mut(peer) {
            known.counts.ignored += 1;
        }
    }

    /// What is due by time: hellos that did not come, announcements, digests, fetches.
    pub(super) fn gossip_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let now_us = now.monotonic_us;
        if self.gossip.deadline().is_none_or(|at| at > now_us) {
            // Only a fetch may go on before something is due.
            return self.fetch_due(now, out);
        }
        let leaves = |p: &&Peer| p.leaves_us.is_some_and(|at| at <= now_us);
        let leaves: Vec<PeerId> = self.gossip.peers().iter().filter(leaves).map(|p| p.id).collect();
        for peer in leaves {
            self.farewell(peer, Farewell::Replaced, 0, out);
        }
        let silent = |p: &&Peer| {
            p.hello.is_none() && p.leaves_us.is_none() && p.since_us + limits::HELLO_WITHIN_US <= now_us
        };
        let silent: Vec<PeerId> = self.gossip.peers().iter().filter(silent).map(|p| p.id).collect();
        for peer in silent {
            self.farewell(peer, Farewell::NoHello, limits::BACK_OFF_FIRST_US, out);
        }
        self.announce_due(now_us, out);
        self.graft_due(now, out);
        self.digests_due(now_us, out);
        self.tell_due(now_us, out);
        self.fetch_due(now, out);
    }

    /// All connections, for people.
    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        let status = |p: &Peer| PeerStatus {
            peer: p.id,
            issuer: p.issuer,
            member: self.issuers.member_bit(&p.issuer).is_some(),
            software: p.hello.as_ref().map(|h| h.software.clone()).unwrap_or_default(),
            eager: p.eager,
            ahead: self.lacking(p),
            behind: p.behind,
            holds_own: p.claim.and_then(|c| c.head).map(|h| h.sequence),
            pending: self.pending.of(p.id),
            waste_left: p.budget.waste.left(now.monotonic_us),
            wants_left: p.budget.wants.left(now.monotonic_us),
            counts: p.counts.clone(),
        };
        self.gossip.peers().iter().map(status).collect()
    }

    /// Why this node issues nothing, when it does not.
    pub fn silence(&self) -> Option<Silence> {
        let missing = || self.own_keys.missing().map(|number| Silence::KeyMissing { number });
        let unknown = || (!self.has_key()).then_some(Silence::NotEnrolled);
        self.own_chain.silence().or_else(missing).or_else(unknown)
    }
}

/// A name for this start, from the seed: random for everybody else.
pub(super) fn start_id(seed: &[u8; 32]) -> StartId {
    let hash = crate::hash::derive(crate::hash::context::START, seed);
    StartId(*hash.first_chunk().expect("32 bytes"))
}
