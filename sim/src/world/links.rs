//! What travels between gateways. In place of gossip: frames as a core sends them, answers to what it wants, and
//! offers of what the other lacks.

use std::sync::Arc;

use selvedge_core::border::{Input, PeerId};
use selvedge_core::transaction::Reference;

use super::{Checked, Event, Peer, World};
use crate::plan::Plant;

/// Transactions in one offer.
const OFFER_MAX: usize = 64;

impl World {
    /// How long a frame takes from one gateway to another; `None`: it does not arrive.
    fn way_us(&mut self, from: usize, to: usize) -> Option<u64> {
        let is_dead = self.dead_until.get(&(from, to)).is_some_and(|until| *until > self.time_us);
        let is_lost = self.dice.chance(self.faults.loss_permille);
        let is_deaf = self.plan.plant == Plant::DeafLink && (from, to) == (0, self.gateways.len() - 1);
        let way_us = self.usual_way_us();
        (!is_dead && !is_lost && !is_deaf).then_some(way_us)
    }

    fn usual_way_us(&mut self) -> u64 {
        let way_us = self.dice.between(self.faults.delay_min_us, self.faults.delay_max_us);
        let slow = self.dice.chance(self.faults.tail_permille);
        if slow { way_us * self.dice.between(2, 20) } else { way_us }
    }

    /// An envelope from one gateway to another, over the connection of this moment.
    fn carry(&mut self, from: usize, to: usize, bytes: &Arc<[u8]>) {
        let copies = 1 + u64::from(self.dice.chance(self.faults.duplicate_permille));
        for _ in 0..copies {
            if let Some(after_us) = self.way_us(from, to) {
                self.deliver(Peer::Gateway(from), to, after_us, bytes.clone());
            }
        }
    }

    fn deliver(&mut self, from: Peer, to: usize, after_us: u64, bytes: Arc<[u8]>) {
        let gateway = &self.gateways[to];
        let Some(peer) = gateway.connection(from) else { return };
        let start = gateway.start;
        self.at(after_us, Event::Input { to, start, input: Input::Frame { peer, bytes } });
    }

    pub(super) fn send(&mut self, from: usize, peer: PeerId, frame: &Arc<[u8]>) {
        match self.gateways[from].peers.get(&peer) {
            Some(Peer::Gateway(to)) => self.carry(from, *to, frame),
            Some(Peer::Hostile) => {
                let after_us = self.faults.delay_min_us / 2;
                self.at(after_us, Event::Overhear { from, frame: frame.clone() });
            }
            None => {}
        }
    }

    /// A question to a peer.
    pub(super) fn ask(&mut self, by: usize, peer: PeerId, references: Vec<Reference>) {
        let Some(of) = self.gateways[by].peers.get(&peer).copied() else { return };
        let after_us = match of {
            Peer::Gateway(to) => self.way_us(by, to),
            Peer::Hostile => Some(self.usual_way_us()),
        };
        if let Some(after_us) = after_us {
            self.at(after_us, Event::Want { from: of, by, peer, references });
        }
    }

    /// Whoever was asked answers with what it holds durably.
    pub(super) fn serve(&mut self, from: Peer, by: usize, peer: PeerId, references: &[Reference]) {
        if self.gateways[by].peers.get(&peer) != Some(&from) {
            return;
        }
        for reference in references {
            match from {
                Peer::Gateway(at) => {
                    let gateway = &self.gateways[at];
                    let held = gateway.store.transaction(&reference.id).filter(|held| held.durable);
                    let envelope = held.filter(|_| gateway.node.is_some()).map(|held| held.envelope.clone());
                    if let Some(envelope) = envelope {
                        self.carry(at, by, &envelope);
                    }
                }
                Peer::Hostile => {
                    let answer = self.hostile.as_mut().and_then(|h| h.answer(reference));
                    if let Some(bytes) = answer.filter(|_| !self.is_healed) {
                        let after_us = self.usual_way_us();
                        self.deliver(Peer::Hostile, by, after_us, bytes);
                    }
                }
            }
        }
    }

    /// Stands for catch-up, which a later version does by comparing frontiers: what `from` holds durably and `to`
    /// does not hold at all is sent in log order.
    pub(super) fn offer(&mut self, from: usize, to: usize) {
        let every_us = self.plan.offer_every_us;
        if !self.is_healed || self.attached_at_check.is_empty() {
            self.at(every_us, Event::Offer { from, to });
        }
        let (giver, taker) = (&self.gateways[from], &self.gateways[to]);
        if giver.node.is_none() || taker.node.is_none() || self.plan.plant == Plant::DeafLink {
            return;
        }
        let lacks = giver.store.log().filter(|held| taker.store.transaction(&held.record.id).is_none());
        let offered: Vec<Arc<[u8]>> = lacks.take(OFFER_MAX).map(|held| held.envelope.clone()).collect();
        for envelope in offered {
            self.carry(from, to, &envelope);
        }
    }

    /// Two ends find each other, when both are up and not connected yet.
    pub(super) fn connect(&mut self, one: Peer, other: usize) -> Checked {
        if self.gateways[other].node.is_none() || self.gateways[other].connection(one).is_some() {
            return Ok(());
        }
        if let Peer::Gateway(at) = one {
            if self.gateways[at].node.is_none() {
                return Ok(());
            }
            self.meet(at, Peer::Gateway(other))?;
            if self.gateways[at].node.is_none() {
                // It crashed over it.
                return Ok(());
            }
        }
        self.meet(other, one)
    }

    fn meet(&mut self, at: usize, peer: Peer) -> Checked {
        self.next_peer += 1;
        let id = PeerId(self.next_peer);
        self.gateways[at].peers.insert(id, peer);
        self.peers_ever.insert(id, peer);
        self.step(at, Input::PeerUp(id))
    }

    /// A gateway is gone: the others notice.
    pub(super) fn part(&mut self, gone: usize) {
        self.gateways[gone].peers.clear();
        for at in 0..self.gateways.len() {
            if let Some(id) = self.gateways[at].connection(Peer::Gateway(gone)) {
                self.gateways[at].peers.remove(&id);
                let (start, after_us) = (self.gateways[at].start, self.dice.below(50_000));
                self.at(after_us, Event::Input { to: at, start, input: Input::PeerDown(id) });
            }
        }
    }

    pub(super) fn overhear(&mut self, from: usize, frame: &[u8]) {
        let posts = self.hostile.as_mut().map(|h| h.overhear(from, frame));
        self.post(posts.unwrap_or_default());
    }

    pub(super) fn act(&mut self) {
        let posts = self.hostile.as_mut().map(|h| h.act(&mut self.keyring));
        self.post(posts.unwrap_or_default());
    }

    fn post(&mut self, posts: Vec<crate::hostile::Post>) {
        if self.is_healed {
            return;
        }
        for post in posts {
            self.deliver(Peer::Hostile, post.to, post.after_us, post.bytes);
        }
    }
}
