//! What travels between gateways: frames in two lanes, transactions sent from the model store, connections that come
//! and go.
//!
//! A lane keeps its order, as a QUIC stream does; what a dead way holds up arrives when it is alive again. A run may
//! draw worse: frames that get lost, come twice and overtake each other. Only a hello is never lost and never
//! overtaken: without it there is no connection.

use std::sync::Arc;

use selvedge_core::border::{Farewell, Input, Lane, PeerId, Serve, Ticket};
use selvedge_core::wire::{self, Hello, Message, StartId};
use selvedge_core::{Id, limits};

use super::gateway::Remote;
use super::{Checked, Event, Peer, World};
use crate::invariants::honest_peer;
use crate::plan::Plant;
use crate::plan::faults::WAY_MAX_US;
use crate::tally::Happened;

const SECOND: u64 = 1_000_000;

impl World {
    fn usual_way_us(&mut self) -> u64 {
        let way_us = self.dice.between(self.faults.delay_min_us, self.faults.delay_max_us);
        if !self.dice.chance(self.faults.tail_permille) {
            return way_us;
        }
        self.tally.add(Happened::FrameInTail);
        let mut slow_us = way_us * 2;
        while slow_us < WAY_MAX_US && self.dice.chance(500) {
            slow_us *= 2;
        }
        slow_us.min(WAY_MAX_US)
    }

    /// A core sends a frame. Beyond what a queue holds it is dropped, and the core is told.
    pub(super) fn send(&mut self, at: usize, peer: PeerId, lane: Lane, frame: &Arc<[u8]>) {
        let Some(remote) = self.gateways[at].peers.get(&peer) else { return };
        let bytes = frame.len() as u64;
        let is_full = remote.in_flight[lane as usize] >= self.plan.queue_frames
            || remote.in_flight_bytes[lane as usize] + bytes > self.plan.queue_bytes[lane as usize];
        if is_full {
            let start = self.gateways[at].start;
            self.tally.add(Happened::FrameCongested);
            return self.at(1, Event::Input { to: at, start, input: Input::Congested { peer } });
        }
        self.carry(at, peer, lane, frame, bytes);
    }

    /// A frame on its way, over the connection of this moment; `queued` bytes of the lane's queue are its.
    fn carry(&mut self, at: usize, peer: PeerId, lane: Lane, frame: &Arc<[u8]>, queued: u64) {
        let Some(remote) = self.gateways[at].peers.get(&peer) else { return };
        let (to, is_hello) = (remote.peer, frame.first() == Some(&0));
        self.figures.frames += 1;
        self.figures.frame_bytes += frame.len() as u64;
        let Peer::Gateway(to) = to else {
            let after_us = self.faults.delay_min_us / 2;
            return self.at(after_us, Event::Overhear { from: at, frame: frame.clone() });
        };
        let is_deaf = self.plan.plant == Plant::DeafLink && (at, to) == (0, self.gateways.len() - 1);
        let is_lossy = !self.plan.is_ordered && !is_hello;
        let is_lost = is_lossy && self.dice.chance(self.faults.loss_permille);
        if is_lost {
            self.tally.add(Happened::FrameLost);
        }
        if (is_lost || is_deaf) && !is_hello {
            return;
        }
        let copies = 1 + u64::from(is_lossy && self.dice.chance(self.faults.duplicate_permille));
        if copies > 1 {
            self.tally.add(Happened::FrameTwice);
        }
        for _ in 0..copies {
            let way_us = self.usual_way_us();
            let dead_us =
                self.dead_until.get(&(at, to)).map_or(0, |until| until.saturating_sub(self.time_us));
            if dead_us > 0 {
                self.tally.add(Happened::FrameHeldUp);
            }
            if dead_us > 0 && is_lossy {
                continue;
            }
            let time_us = self.time_us;
            let Some(remote) = self.gateways[at].peers.get_mut(&peer) else { return };
            let order = &mut remote.arrives_us[lane as usize];
            let arrives_us = (time_us + dead_us + way_us).max(*order);
            if !is_lossy {
                *order = arrives_us;
            }
            remote.in_flight[lane as usize] += 1;
            remote.in_flight_bytes[lane as usize] += queued;
            let bytes = frame.clone();
            self.at(arrives_us - time_us, Event::Arrive { from: at, link: peer, lane, bytes, queued });
        }
    }

    /// A frame has come to the other end.
    pub(super) fn arrive(
        &mut self,
        from: usize,
        link: PeerId,
        (lane, queued): (Lane, u64),
        bytes: Arc<[u8]>,
    ) -> Checked {
        let Some(remote) = self.gateways[from].peers.get_mut(&link) else { return Ok(()) };
        let in_flight = &mut remote.in_flight[lane as usize];
        *in_flight = in_flight.saturating_sub(1);
        let in_flight_bytes = &mut remote.in_flight_bytes[lane as usize];
        *in_flight_bytes = in_flight_bytes.saturating_sub(queued);
        let (Peer::Gateway(to), Some(peer)) = (remote.peer, remote.other_end) else { return Ok(()) };
        if !self.gateways[to].peers.contains_key(&peer) {
            return Ok(());
        }
        let bodies = match Message::open(&bytes) {
            Ok(Message::Transaction(_)) => 1,
            Ok(Message::Transactions(list)) => list.len() as u64,
            _ => 0,
        };
        self.gateways[to].bodies_received += bodies;
        self.step(to, Input::Frame { peer, bytes })
    }

    /// The shell sends from the log what a core told it to send, and says when it is done.
    pub(super) fn serve(
        &mut self,
        at: usize,
        start: u64,
        ticket: Ticket,
        peer: PeerId,
        what: &Serve,
    ) -> Checked {
        if self.gateways[at].start != start {
            return Ok(());
        }
        let store = &self.gateways[at].store;
        let (envelopes, more) = match what {
            Serve::Ids(references) => {
                let held = references.iter().filter_map(|r| store.transaction(&r.id).filter(|h| h.durable));
                (held.map(|h| h.envelope.clone()).collect(), None)
            }
            Serve::Ranges { ranges, transactions_max } => {
                let (envelopes, more) = store.ranges(ranges, *transactions_max as usize);
                (envelopes, Some(more))
            }
        };
        let mut part: Vec<Arc<[u8]>> = Vec::new();
        let mut bytes = 0;
        for envelope in envelopes {
            let each = envelope.len() + 4;
            if bytes + each + 16 > limits::FRAME_BYTES_MAX || part.len() >= limits::TRANSACTIONS_PER_FRAME_MAX
            {
                self.carry(at, peer, Lane::Bulk, &wire::transactions(&std::mem::take(&mut part)), 0);
                bytes = 0;
            }
            bytes += each;
            part.push(envelope);
        }
        if !part.is_empty() {
            self.carry(at, peer, Lane::Bulk, &wire::transactions(&part), 0);
        }
        if let Some(more) = more {
            self.carry(at, peer, Lane::Bulk, &wire::fetch_end(more), 0);
        }
        self.step_of(at, start, Input::Served { ticket })
    }

    /// A core sends a peer away.
    pub(super) fn disconnect(
        &mut self,
        at: usize,
        peer: PeerId,
        why: &Farewell,
        back_off_us: u64,
    ) -> Checked {
        let Some(remote) = self.gateways[at].peers.get(&peer).cloned() else { return Ok(()) };
        honest_peer::sent_away(matches!(remote.peer, Peer::Hostile(_)), why)?;
        let until_us = self.time_us + back_off_us;
        self.gateways[at].back_off_us.insert(remote.peer, until_us);
        self.gateways[at].peers.remove(&peer);
        self.lost_link(at, &remote);
        Ok(())
    }

    /// One end of a link is gone: the other one notices, and sooner or later one of them dials again.
    fn lost_link(&mut self, at: usize, remote: &Remote) {
        let after_us = self.dice.below(50_000);
        if let (Peer::Gateway(to), Some(id)) = (remote.peer, remote.other_end) {
            let start = self.gateways[to].start;
            self.at(after_us, Event::Gone { at: to, start, link: id });
        }
        let again_us = self.dice.between(100_000, 2 * SECOND);
        self.at(again_us, Event::Connect { one: remote.peer, other: at });
    }

    /// An end notices that the other one is gone.
    pub(super) fn gone(&mut self, at: usize, start: u64, link: PeerId) -> Checked {
        if self.gateways[at].start != start || self.gateways[at].peers.remove(&link).is_none() {
            return Ok(());
        }
        self.step(at, Input::PeerDown(link))
    }

    /// Two ends find each other, when both are up and not connected yet.
    pub(super) fn connect(&mut self, one: Peer, other: usize) -> Checked {
        let is_up = |at: usize| self.gateways[at].node.is_some();
        if !is_up(other) || self.gateways[other].connection(one).is_some() {
            return Ok(());
        }
        let waits_until =
            |at: usize, peer: Peer| self.gateways[at].back_off_us.get(&peer).copied().unwrap_or(0);
        let mut until_us = waits_until(other, one);
        if let Peer::Gateway(at) = one {
            until_us = until_us.max(waits_until(at, Peer::Gateway(other)));
            if !is_up(at) || !self.is_linked(at, other) {
                return Ok(());
            }
        }
        if until_us > self.time_us {
            let after_us = until_us - self.time_us;
            self.at(after_us, Event::Connect { one, other });
            return Ok(());
        }
        self.dial(one, other)?;
        // Now and then both dial at the same time.
        let both = self.dice.chance(100) && !self.is_healed;
        match one {
            Peer::Gateway(at)
                if both && self.gateways[at].node.is_some() && self.gateways[other].node.is_some() =>
            {
                self.dial(Peer::Gateway(other), at)
            }
            _ => Ok(()),
        }
    }

    fn dial(&mut self, one: Peer, other: usize) -> Checked {
        let here = self.new_link();
        let Peer::Gateway(at) = one else {
            let Peer::Hostile(member) = one else { return Ok(()) };
            let issuer = self.hostile.as_ref().map(|h| h.issuer(member)).ok_or("there is no such peer")?;
            self.gateways[other].peers.insert(here, Remote::new(one, None));
            self.peers_ever.insert(here, one);
            self.step(other, Input::PeerUp { peer: here, issuer, outgoing: false })?;
            let hello = Message::Hello(self.hostile_hello()).to_frame();
            self.deliver_hostile(other, member, 1_000, hello);
            return Ok(());
        };
        let there = self.new_link();
        self.gateways[other].peers.insert(here, Remote::new(one, Some(there)));
        self.gateways[at].peers.insert(there, Remote::new(Peer::Gateway(other), Some(here)));
        self.peers_ever.insert(here, one);
        self.peers_ever.insert(there, Peer::Gateway(other));
        let issuers = [self.gateways[at].config.issuer, self.gateways[other].config.issuer];
        self.step(at, Input::PeerUp { peer: there, issuer: issuers[1], outgoing: true })?;
        if !self.gateways[other].peers.contains_key(&here) {
            return Ok(());
        }
        self.step(other, Input::PeerUp { peer: here, issuer: issuers[0], outgoing: false })
    }

    fn new_link(&mut self) -> PeerId {
        self.next_peer += 1;
        PeerId(self.next_peer)
    }

    fn hostile_hello(&mut self) -> Hello {
        Hello {
            lowest: wire::VERSION,
            highest: wire::VERSION,
            features: self.dice.bits(),
            network: self.network.id(),
            frame_bytes_max: limits::FRAME_BYTES_MAX as u32,
            head: None,
            start: StartId([7; 16]),
            software: "hostile".to_owned(),
        }
    }

    /// A gateway is gone: the others notice.
    pub(super) fn part(&mut self, gone: usize) {
        let links = std::mem::take(&mut self.gateways[gone].peers);
        for remote in links.values() {
            self.lost_link(gone, remote);
        }
    }

    pub(super) fn overhear(&mut self, from: usize, frame: &[u8]) {
        let Ok(message) = Message::open(frame) else { return };
        let Some(hostile) = self.hostile.as_mut() else { return };
        let mut posts = Vec::new();
        match message {
            Message::Transaction(envelope) => posts = hostile.overhear(from, envelope),
            Message::Transactions(list) => {
                posts = list.iter().flat_map(|envelope| hostile.overhear(from, envelope)).collect();
            }
            Message::Want(want) => {
                let found: Vec<_> = want.references.iter().filter_map(|r| hostile.answer(r)).collect();
                if !found.is_empty() && !self.is_healed {
                    let after_us = self.usual_way_us();
                    self.post_over_any(from, after_us, wire::transactions(&found));
                }
            }
            _ => {}
        }
        self.post(posts);
    }

    pub(super) fn act(&mut self) {
        self.tally.add(Happened::HostileAct);
        let posts = self.hostile.as_mut().map(|h| h.act(&mut self.keyring));
        self.post(posts.unwrap_or_default());
    }

    fn post(&mut self, posts: Vec<crate::hostile::Post>) {
        if self.is_healed {
            return;
        }
        for post in posts {
            let frame = if post.is_raw { post.bytes } else { wire::transaction(&post.bytes) };
            self.post_over_any(post.to, post.after_us, frame);
        }
    }

    /// They are of one mind: any of them says it.
    fn post_over_any(&mut self, to: usize, after_us: u64, frame: Arc<[u8]>) {
        let member = self.dice.below(self.plan.hostile_members as u64) as usize;
        self.deliver_hostile(to, member, after_us, frame);
    }

    fn deliver_hostile(&mut self, to: usize, member: usize, after_us: u64, bytes: Arc<[u8]>) {
        let gateway = &self.gateways[to];
        let Some(peer) = gateway.connection(Peer::Hostile(member)) else { return };
        self.tally.add(Happened::HostileFrame);
        let start = gateway.start;
        self.at(after_us, Event::Input { to, start, input: Input::Frame { peer, bytes } });
    }

    /// One way of a link is dead from now on.
    pub(super) fn partition(&mut self, from: usize, to: usize, length_us: u64) {
        self.tally.add(Happened::Partition);
        self.cut_way(from, to, length_us);
    }

    fn cut_way(&mut self, from: usize, to: usize, length_us: u64) {
        let until_us = self.dead_until.entry((from, to)).or_default();
        *until_us = (*until_us).max(self.time_us + length_us);
    }

    /// A gateway hears nobody from now on, and nobody hears it.
    pub(super) fn isolate(&mut self, at: usize, length_us: u64) {
        self.tally.add(Happened::Isolation);
        for other in (0..self.gateways.len()).filter(|other| *other != at) {
            self.cut_way(at, other, length_us);
            self.cut_way(other, at, length_us);
        }
    }

    /// Does the topology join them?
    fn is_linked(&self, one: usize, other: usize) -> bool {
        self.links.contains(&(one.min(other), one.max(other)))
    }

    /// All that the topology joins to this one.
    pub(super) fn neighbours(&self, at: usize) -> Vec<usize> {
        (0..self.gateways.len()).filter(|other| *other != at && self.is_linked(at, *other)).collect()
    }

    /// Is this transaction in the durable log of a gateway?
    pub(super) fn is_held(&self, at: usize, id: &Id) -> bool {
        self.gateways[at].store.is_durable(id)
    }
}
