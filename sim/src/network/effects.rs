//! What becomes of what comes out of a core.

use std::sync::Arc;

use selvedge_core::batch::ClosedBatch;
use selvedge_core::border::{
    Effect, Input, Lane, Outcome, PeerId, ReplyTo, Serve, SignatureCheck, Ticket, Write,
};
use selvedge_core::hash::{context, derive};
use selvedge_core::seal::{SealedBatch, encode_columns};
use selvedge_core::{Hash, limits, wire};

use super::lanes::Sent;
use super::machine;
use super::world::{Checked, Event, World, end_of, peer_of};

impl World<'_> {
    pub(super) fn do_effect(&mut self, at: u32, effect: Effect) -> Checked {
        match effect {
            Effect::Persist { ticket, writes, within_us } => self.persist(at, ticket, writes, within_us)?,
            Effect::Load { ticket, references } => {
                let gateway = &mut self.gateways[at as usize];
                let cost_ns = machine::load_ns(&gateway.profile, references.len());
                let found = gateway.store.load(&references, &self.ledger);
                self.work(at, cost_ns, Input::Loaded { ticket, found });
            }
            Effect::LoadBatch { ticket, batch } => {
                let gateway = &mut self.gateways[at as usize];
                let records = gateway.store.load_batch(batch);
                let cost_ns = machine::load_ns(&gateway.profile, records.len());
                self.work(at, cost_ns, Input::BatchLoaded { ticket, records });
            }
            Effect::Seal { ticket, batch } => self.seal(at, ticket, &batch),
            Effect::Verify { ticket, checks } => self.verify(at, ticket, &checks),
            Effect::Sign { ticket, key_number, message } => {
                if key_number != 0 {
                    return Err(format!("gateway {at} signs with key {key_number}, which it does not have"));
                }
                let signature = self.keys.sign(at as usize, &message);
                let gateway = &mut self.gateways[at as usize];
                let cost_ns = gateway.profile.sign_ns;
                gateway.busy_sign_ns += cost_ns;
                self.work(at, cost_ns, Input::Signed { ticket, signature });
            }
            Effect::Send { peer, lane, frame } => self.send(at, peer, lane, frame),
            Effect::Serve { ticket, peer, what } => self.serve(ticket, peer, &what),
            Effect::Disconnect { .. } => self.measured.disconnected += 1,
            Effect::Drop { .. } => self.measured.faults += 1,
            Effect::Reply { reply, outcome } => self.replied(at, reply, &outcome)?,
            Effect::Emit(event) => {
                if let selvedge_core::border::Event::Halted { why } = event {
                    return Err(format!("the core of gateway {at} halted: {why}"));
                }
            }
        }
        Ok(())
    }

    /// A worker's job, done in its time.
    fn work(&mut self, at: u32, cost_ns: u64, input: Input) {
        let done_us = self.gateways[at as usize].workers.submit(self.now_us, cost_ns);
        self.queue.push(done_us, Event::Done { at, by_worker: true, input: Box::new(input) });
    }

    fn verify(&mut self, at: u32, ticket: Ticket, checks: &[SignatureCheck]) {
        let valid = checks.iter().all(|c| self.keys.verify(&c.key, &c.message, &c.signature));
        let gateway = &mut self.gateways[at as usize];
        let cost_ns = gateway.profile.verify_ns * checks.len() as u64;
        gateway.verifying += 1;
        gateway.busy_verify_ns += cost_ns;
        let done_us = gateway.workers.submit(self.now_us, cost_ns);
        self.queue.push(done_us, Event::Verified { at, ticket, valid });
    }

    /// By the core's own functions, as a worker of the daemon does it, but for the compression of the segment.
    fn seal(&mut self, at: u32, ticket: Ticket, batch: &Arc<ClosedBatch>) {
        let sealed = SealedBatch::new(batch);
        let columns = encode_columns(&sealed);
        let segment = Hash(derive(context::SEGMENT, &columns));
        let segment_bytes = columns.len() as u64;
        let gateway = &mut self.gateways[at as usize];
        let cost_ns = machine::seal_ns(&gateway.profile, sealed.blocks.len());
        gateway.busy_seal_ns += cost_ns;
        self.work(at, cost_ns, Input::Sealed { ticket, root: sealed.root(), segment, segment_bytes });
    }

    fn persist(&mut self, at: u32, ticket: Ticket, writes: Vec<Write>, within_us: u64) -> Checked {
        for write in &writes {
            if let Write::Transaction { record, envelope, batch, .. } = write {
                self.attached(at, record, envelope, batch.as_deref())?;
            }
        }
        let gateway = &mut self.gateways[at as usize];
        let (bytes, cost_ns) = machine::writes_cost(&gateway.profile, &writes);
        let planned = gateway.disk.accept(self.now_us, within_us, (writes.len(), bytes, cost_ns));
        gateway.store.accept(ticket, writes);
        if let Some(start_us) = planned {
            self.queue.push(start_us, Event::Commit { at });
        }
        Ok(())
    }

    /// A disk starts a group of writes, if one is due.
    pub(super) fn commit(&mut self, at: u32) {
        let gateway = &mut self.gateways[at as usize];
        let profile = gateway.profile;
        if let Some(done_us) = gateway.disk.start(self.now_us, |bytes| machine::sync_ns(&profile, bytes)) {
            self.queue.push(done_us, Event::Synced { at });
        }
    }

    /// A group is durable.
    pub(super) fn synced(&mut self, at: u32) -> Checked {
        let gateway = &mut self.gateways[at as usize];
        let (jobs, next) = gateway.disk.done(self.now_us);
        let tickets = gateway.store.sync(jobs, &self.ledger)?;
        if let Some(start_us) = next {
            self.queue.push(start_us, Event::Commit { at });
        }
        for ticket in tickets {
            self.input(at, Input::Persisted { ticket });
        }
        Ok(())
    }

    fn send(&mut self, at: u32, peer: PeerId, lane: Lane, frame: Arc<[u8]>) {
        let end = end_of(peer);
        match self.ends[end].send(lane, &frame) {
            Sent::Leaves => self.leave(end, lane, frame),
            Sent::Queued => {}
            Sent::Dropped { first } => {
                self.measured.dropped_frames += 1;
                self.measured.congested += u64::from(first);
                self.input(at, Input::Congested { peer });
            }
        }
    }

    /// A frame goes onto the wire.
    fn leave(&mut self, end: usize, lane: Lane, frame: Arc<[u8]>) {
        let kind = usize::from(frame.first().copied().unwrap_or(0)).min(self.measured.frames.len() - 1);
        let frames = &mut self.measured.frames[kind];
        frames.count += 1;
        frames.bytes += frame.len() as u64;
        let here = &self.ends[end];
        let gateway = &mut self.gateways[here.owner as usize];
        let leaves_us = gateway.net.submit(self.now_us, machine::packets_ns(&gateway.profile, frame.len()));
        gateway.net.done();
        let bytes = frame.len();
        self.wires.send(leaves_us, here.wire, lane, (here.other, frame), bytes, &mut self.steps);
        self.plan_steps();
    }

    /// The window of a connection moved on: what waits may leave.
    pub(super) fn send_waiting(&mut self, end: u32) {
        while let Some((lane, frame)) = self.ends[end as usize].next() {
            self.leave(end as usize, lane, frame);
        }
        for ticket in self.ends[end as usize].served() {
            let at = self.ends[end as usize].owner;
            self.input(at, Input::Served { ticket });
        }
    }

    /// Sends from the log what a core told the shell to send; the core is told when all of it has left.
    fn serve(&mut self, ticket: Ticket, peer: PeerId, what: &Serve) {
        let end = end_of(peer);
        let store = &self.gateways[self.ends[end].owner as usize].store;
        let (envelopes, more) = match what {
            Serve::Ids(references) => {
                let held = references.iter().filter_map(|r| store.envelope(&r.id, &self.ledger));
                (held.collect(), None)
            }
            Serve::Ranges { ranges, transactions_max } => {
                let (envelopes, more) = store.ranges(ranges, *transactions_max as usize, &self.ledger);
                (envelopes, Some(more))
            }
        };
        let mut frames = frames_of(envelopes);
        frames.extend(more.map(wire::fetch_end));
        for frame in frames {
            self.ends[end].wait(Lane::Bulk, frame);
        }
        self.ends[end].serve(ticket);
        self.send_waiting(peer_end(peer));
    }

    fn replied(&mut self, at: u32, reply: ReplyTo, outcome: &Outcome) -> Checked {
        let gateway = &mut self.gateways[at as usize];
        let place = gateway.replies.iter().position(|(asked, ..)| *asked == reply);
        let waiting = place.and_then(|place| gateway.replies.remove(place));
        let Some((_, submitted_us, readings)) = waiting else {
            return Err(format!("gateway {at} answers a submission that nobody made, or twice"));
        };
        match outcome {
            Outcome::Durable => {
                self.measured.durable_readings += u64::from(readings);
                self.measured.durable.add(self.now_us - submitted_us, 1);
            }
            Outcome::Refused(_) => {
                self.measured.refused_readings += u64::from(readings);
                gateway.readings.retain(|(asked, ..)| *asked != reply);
            }
            Outcome::Unknown => {
                return Err(format!("gateway {at} does not know what became of a submission"));
            }
        }
        Ok(())
    }
}

const fn peer_end(peer: PeerId) -> u32 {
    end_of(peer) as u32
}

/// As the daemon packs them: frames within their limits.
fn frames_of(envelopes: Vec<Arc<[u8]>>) -> Vec<Arc<[u8]>> {
    let (mut frames, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for envelope in envelopes {
        let each = envelope.len() + 4;
        if bytes + each + 16 > limits::FRAME_BYTES_MAX || part.len() >= limits::TRANSACTIONS_PER_FRAME_MAX {
            frames.push(wire::transactions(&std::mem::take(&mut part)));
            bytes = 0;
        }
        bytes += each;
        part.push(envelope);
    }
    if !part.is_empty() {
        frames.push(wire::transactions(&part));
    }
    debug_assert_eq!(peer_of(0), PeerId(1), "names of ends begin at one");
    frames
}
