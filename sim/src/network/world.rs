//! The run itself: virtual time, one event after the other.

use std::sync::Arc;

use selvedge_core::border::{Effect, Input, PeerId, Ticket};

use super::begin::BEGIN_US;
use super::gateway::{Gateway, Work, now_at};
use super::lanes::End;
use super::ledger::Ledger;
use super::machine;
use super::measure::Measured;
use super::params::Params;
use super::queue::Queue;
use super::tokens::Keys;
use super::trace::Trace;
use super::wires::{Step, Wires};
use super::workload::Source;

/// A frame that the network's threads read within this time is with the loop at once: an event less.
const READ_AT_ONCE_US: u64 = 200;

/// A frame, and the end of a connection that it goes to.
pub(super) type Parcel = (u32, Arc<[u8]>);

/// What happens at a moment.
#[derive(Debug)]
pub(super) enum Event {
    /// Something happens on the wires.
    Wire(Step<Parcel>),
    /// The network's threads, which were busy, have read it.
    Read { end: u32, frame: Arc<[u8]> },
    /// A loop is done with what it has at hand.
    Turn { at: u32 },
    /// A core is to be woken.
    Wake { at: u32 },
    /// A check of signatures is done.
    Verified { at: u32, ticket: Ticket, valid: bool },
    /// Other slow work is done; by a worker or not.
    Done { at: u32, by_worker: bool, input: Box<Input> },
    /// A disk starts a group of writes.
    Commit { at: u32 },
    /// The group is durable.
    Synced { at: u32 },
    /// A connection comes up.
    Connect { end: u32 },
    /// Clients hand readings in.
    Submit { at: u32, readings: u32 },
    /// Tips and queues are looked at.
    Sample,
    /// Is everything done?
    Rest,
}

/// A check that did not hold, in words.
pub(super) type Checked<T = ()> = Result<T, String>;

/// See the module.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) params: &'a Params,
    pub(super) queue: Queue<Event>,
    pub(super) now_us: u64,
    pub(super) gateways: Vec<Gateway>,
    pub(super) ends: Vec<End>,
    pub(super) wires: Wires<Parcel>,
    /// What the wires say, kept for its memory.
    pub(super) steps: Vec<(u64, Step<Parcel>)>,
    pub(super) ledger: Ledger,
    pub(super) keys: Keys,
    pub(super) sources: Vec<Source>,
    pub(super) sample_every_us: u64,
    /// Members of the committee that make a quorum.
    pub(super) quorum: u32,
    pub(super) next_reply: u64,
    pub(super) trace: Trace,
    pub(super) measured: Measured,
    /// Attachments when the run was last looked at, and since when they are the same.
    pub(super) at_rest_since: (u64, u64),
    pub(super) is_over: bool,
    /// Kept for its memory.
    effects: Vec<Effect>,
}

impl<'a> World<'a> {
    pub(super) fn empty(
        params: &'a Params,
        keys: Keys,
        ledger: Ledger,
        wires: Wires<Parcel>,
        quorum: u32,
    ) -> Self {
        Self {
            params,
            queue: Queue::new(),
            now_us: 0,
            gateways: Vec::new(),
            ends: Vec::new(),
            wires,
            steps: Vec::new(),
            ledger,
            keys,
            sources: Vec::new(),
            sample_every_us: 0,
            quorum,
            next_reply: 0,
            trace: Trace::new(),
            measured: Measured { began_us: BEGIN_US, load_us: params.load.us, ..Measured::default() },
            at_rest_since: (0, 0),
            is_over: false,
            effects: Vec::new(),
        }
    }

    /// Takes the next event; `false` when the run is over.
    pub(super) fn step(&mut self) -> Checked<bool> {
        let Some((time_us, event)) = self.queue.pop() else { return Ok(false) };
        self.now_us = time_us;
        match event {
            Event::Wire(step) => self.wire(step),
            Event::Read { end, frame } => self.read(end, frame),
            Event::Turn { at } => self.turn(at)?,
            Event::Wake { at } => self.wake(at),
            Event::Verified { at, ticket, valid } => {
                self.gateways[at as usize].workers.done();
                self.input(at, Input::Verified { ticket, valid });
            }
            Event::Done { at, by_worker, input } => {
                if by_worker {
                    self.gateways[at as usize].workers.done();
                }
                self.input(at, *input);
            }
            Event::Commit { at } => self.commit(at),
            Event::Synced { at } => self.synced(at)?,
            Event::Connect { end } => self.connect(end),
            Event::Submit { at, readings } => self.submit(at, readings),
            Event::Sample => self.sample(),
            Event::Rest => self.look_for_rest(),
        }
        Ok(!self.is_over)
    }

    /// Something for a core: it waits for the loop.
    pub(super) fn input(&mut self, at: u32, input: Input) {
        if let Some(done_us) = self.gateways[at as usize].queue_input(self.now_us, input) {
            self.queue.push(done_us, Event::Turn { at });
        }
    }

    fn wire(&mut self, step: Step<Parcel>) {
        let arrived = self.wires.step(self.now_us, step, &mut self.steps);
        self.plan_steps();
        if let Some(flight) = arrived {
            let (end, frame) = flight.frame;
            self.arrive(end, frame);
        }
    }

    /// What the wires said will happen.
    pub(super) fn plan_steps(&mut self) {
        for (time_us, step) in self.steps.drain(..) {
            self.queue.push(time_us, Event::Wire(step));
        }
    }

    fn arrive(&mut self, end: u32, frame: Arc<[u8]>) {
        self.note_arrival(&frame);
        let gateway = &mut self.gateways[self.ends[end as usize].owner as usize];
        let read_us = gateway.net.submit(self.now_us, machine::packets_ns(&gateway.profile, frame.len()));
        gateway.net.done();
        if read_us > self.now_us + READ_AT_ONCE_US {
            self.queue.push(read_us, Event::Read { end, frame });
        } else {
            self.read(end, frame);
        }
    }

    fn read(&mut self, end: u32, frame: Arc<[u8]>) {
        let at = self.ends[end as usize].owner;
        if let Some(done_us) = self.gateways[at as usize].queue_frame(self.now_us, end, frame) {
            self.queue.push(done_us, Event::Turn { at });
        }
    }

    fn connect(&mut self, end: u32) {
        let here = &self.ends[end as usize];
        let (owner, outgoing) = (here.owner, end < here.other);
        let issuer = self.gateways[self.ends[here.other as usize].owner as usize].node.issuer();
        self.input(owner, Input::PeerUp { peer: peer_of(end), issuer, outgoing });
    }

    /// A loop has spent its time on what it had at hand: now the core takes it.
    fn turn(&mut self, at: u32) -> Checked {
        let gateway = &mut self.gateways[at as usize];
        let Some(work) = gateway.done() else { return Ok(()) };
        let (input, read) = match work {
            Work::Input(input) => (input, None),
            Work::Frame(end, bytes) => {
                let read = (self.ends[end as usize].other, bytes.len());
                (Input::Frame { peer: peer_of(end), bytes }, Some(read))
            }
        };
        match &input {
            Input::Verified { .. } => gateway.verifying -= 1,
            Input::Tick => gateway.tick_waits = false,
            _ => {}
        }
        let (kind, size) = kind_and_size(&input);
        self.trace.input(self.now_us, at, kind, size);
        self.measured.inputs += 1;
        let mut effects = std::mem::take(&mut self.effects);
        gateway.node.handle(now_at(self.now_us), input, &mut effects);
        for effect in effects.drain(..) {
            self.do_effect(at, effect)?;
        }
        self.effects = effects;
        if let Some((sender, bytes)) = read {
            // Only now the transport takes more from this peer.
            self.ends[sender as usize].read(bytes);
            self.send_waiting(sender);
        }
        let gateway = &mut self.gateways[at as usize];
        if std::mem::take(&mut gateway.look_for_witnesses) {
            self.look_for_witnesses(at);
        }
        self.plan_wake(at);
        if let Some(done_us) = self.gateways[at as usize].take_up(self.now_us) {
            self.queue.push(done_us, Event::Turn { at });
        }
        Ok(())
    }

    /// A core is woken at its next deadline.
    pub(super) fn plan_wake(&mut self, at: u32) {
        let gateway = &mut self.gateways[at as usize];
        if gateway.tick_waits {
            return;
        }
        let Some(due_us) = gateway.node.next_deadline() else { return };
        let due_us = due_us.max(self.now_us);
        if gateway.wakes_at_us.is_some_and(|planned| planned <= due_us) {
            return;
        }
        gateway.wakes_at_us = Some(due_us);
        self.queue.push(due_us, Event::Wake { at });
    }

    fn wake(&mut self, at: u32) {
        let gateway = &mut self.gateways[at as usize];
        if gateway.wakes_at_us != Some(self.now_us) {
            return;
        }
        gateway.wakes_at_us = None;
        if gateway.node.next_deadline().is_some_and(|due_us| due_us <= self.now_us) {
            gateway.tick_waits = true;
            self.input(at, Input::Tick);
        } else {
            self.plan_wake(at);
        }
    }
}

/// The name that the owner of an end has for the connection.
pub(super) const fn peer_of(end: u32) -> PeerId {
    PeerId(end as u64 + 1)
}

/// The end that a core means.
pub(super) const fn end_of(peer: PeerId) -> usize {
    (peer.0 - 1) as usize
}

fn kind_and_size(input: &Input) -> (u8, usize) {
    match input {
        Input::Describe { .. } => (0, 0),
        Input::Submit { readings, .. } => (1, readings.len()),
        Input::Issue { payload, .. } => (2, payload.len()),
        Input::Flush => (3, 0),
        Input::Frame { bytes, .. } => {
            (4, bytes.len() << 8 | usize::from(bytes.first().copied().unwrap_or(0)))
        }
        Input::PeerUp { .. } => (5, 0),
        Input::PeerDown(_) => (6, 0),
        Input::Congested { .. } => (7, 0),
        Input::Served { .. } => (8, 0),
        Input::Loaded { found, .. } => (9, found.len()),
        Input::BatchLoaded { records, .. } => (10, records.len()),
        Input::Verified { valid, .. } => (11, usize::from(*valid)),
        Input::Sealed { .. } => (12, 0),
        Input::Signed { .. } => (13, 0),
        Input::Persisted { .. } => (14, 0),
        Input::Failed { .. } => (15, 0),
        Input::Tick => (16, 0),
    }
}
