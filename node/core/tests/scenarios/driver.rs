//! Drives one node: hands inputs in, answers what it asks for (or holds the answer back), and looks at every effect.

use std::collections::BTreeSet;
use std::sync::Arc;

use selvedge_core::border::BatchPolicy;
use selvedge_core::border::{
    Config, Effect, Event, Input, NewReading, Now, Outcome, PeerId, ReplyTo, Serve, StartCheck, StreamHandle,
    Ticket, TipPolicy,
};
use selvedge_core::codec;
use selvedge_core::hash::{Hash, context, derive};
use selvedge_core::invariants;
use selvedge_core::node::Node;
use selvedge_core::random::Random;
use selvedge_core::reading::{Quality, Value};
use selvedge_core::reject::Reject;
use selvedge_core::seal::{SealedBatch, decode_columns, encode_columns};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::transaction::{Envelope, Reference};
use selvedge_core::wire::{self, Message};
use selvedge_core::{Issuer, Scheme, limits};

use crate::store::Store;
use crate::world::{Tx, World, holds, key_of, signature};

pub(crate) const SECOND_US: u64 = 1_000_000;
/// Where the clocks stand at first.
pub(crate) const START_US: u64 = 5_000 * SECOND_US;
pub(crate) const START_WALL_NS: i64 = 1_800_000_000_000_000_000;
/// The peer that most scenarios use.
pub(crate) const PEER: PeerId = PeerId(1);

/// Kinds of slow work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    Persist,
    Load,
    LoadBatch,
    Seal,
    Verify,
    Sign,
}

impl Work {
    fn of(effect: &Effect) -> Option<(Self, Ticket)> {
        Some(match effect {
            Effect::Persist { ticket, .. } => (Self::Persist, *ticket),
            Effect::Load { ticket, .. } => (Self::Load, *ticket),
            Effect::LoadBatch { ticket, .. } => (Self::LoadBatch, *ticket),
            Effect::Seal { ticket, .. } => (Self::Seal, *ticket),
            Effect::Verify { ticket, .. } => (Self::Verify, *ticket),
            Effect::Sign { ticket, .. } => (Self::Sign, *ticket),
            _ => return None,
        })
    }
}

/// Work that was asked for, with how far the log was when a `Persist` was.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) work: Work,
    pub(crate) ticket: Ticket,
    pub(crate) effect: Effect,
    log: usize,
}

/// One node and all that is around it.
pub(crate) struct Driver {
    pub(crate) world: World,
    pub(crate) config: Config,
    pub(crate) node: Node,
    pub(crate) store: Store,
    pub(crate) now: Now,
    /// Work that is not answered by itself.
    pub(crate) hold: BTreeSet<Work>,
    /// What was asked for and not answered, oldest first.
    pub(crate) asked: Vec<Asked>,
    /// All effects since the last [`take`](Self::take).
    pub(crate) seen: Vec<Effect>,
    /// The invariants are checked after every so many inputs.
    pub(crate) check_every: usize,
    inputs: usize,
    is_following: bool,
    starts: u8,
    next_reply: u64,
    /// What is to be sent from the log, oldest first; nothing is by itself.
    pub(crate) served: Vec<(Ticket, PeerId, Serve)>,
}

/// How the node of a scenario is set unless it says otherwise: member 0, batches of ten readings, no delays.
pub(crate) fn config_of(world: &World) -> Config {
    Config {
        genesis: world.genesis.clone(),
        genesis_bytes: world.bytes.clone(),
        issuer: world.member(0).issuer,
        salt_key: [9; 32],
        batch: BatchPolicy { readings_max: 10, bytes_max: 100_000, age_max_us: 10 * SECOND_US },
        journal_within_us: 0,
        foreign_within_us: 0,
        tips: TipPolicy::default(),
        approve_delay_max_us: SECOND_US,
        start_check: StartCheck::None,
        enrolment: None,
        signing_keys: None,
        software: "scenario 1".to_owned(),
        window_records: 1_024,
    }
}

impl Driver {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A node whose settings `change` has changed, with one peer.
    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let world = World::new();
        let mut config = config_of(&world);
        change(&mut config);
        let now = Now { monotonic_us: START_US, wall_ns: START_WALL_NS, synchronised: true };
        let mut driver = Self::open(world, config, Store::default(), now, 1);
        driver.meet(PEER);
        driver
    }

    fn open(world: World, config: Config, store: Store, now: Now, starts: u8) -> Self {
        let mut out = Vec::new();
        let restored = store.restored(config.window_records);
        let node =
            Node::open(config.clone(), &[starts; 32], restored, now, &mut out).expect("the node opens");
        let mut driver = Self {
            world,
            config,
            node,
            store,
            now,
            hold: BTreeSet::new(),
            asked: Vec::new(),
            seen: Vec::new(),
            check_every: 1,
            inputs: 0,
            is_following: false,
            starts,
            next_reply: 0,
            served: Vec::new(),
        };
        driver.check();
        driver.follow(out);
        driver
    }

    /// Stops without warning and starts again. What was not durable is lost.
    pub(crate) fn crash(mut self) -> Self {
        self.store.cut();
        self.restart(|_| {})
    }

    /// Starts again with everything that was written, and other settings.
    pub(crate) fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { world, mut config, mut store, now, starts, .. } = self;
        change(&mut config);
        store.durable = store.log.len();
        Self::open(world, config, store, now, starts + 1)
    }

    /// Hands an input in and does what follows from it.
    pub(crate) fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.node.handle(self.now, input, &mut out);
        self.check();
        self.follow(out);
    }

    pub(crate) fn check(&mut self) {
        self.inputs += 1;
        if self.inputs.is_multiple_of(self.check_every) {
            invariants::check_all(&self.node).expect("the invariants hold");
        }
    }

    fn follow(&mut self, out: Vec<Effect>) {
        for effect in out {
            self.look_at(&effect);
            self.seen.push(effect.clone());
            if let Effect::Serve { ticket, peer, what } = &effect {
                self.served.push((*ticket, *peer, what.clone()));
            }
            let Some((work, ticket)) = Work::of(&effect) else { continue };
            if let Effect::Persist { writes, .. } = &effect {
                self.store.write(writes.clone());
            }
            self.asked.push(Asked { work, ticket, effect, log: self.store.log.len() });
        }
        if std::mem::replace(&mut self.is_following, true) {
            // Whoever answers now goes on with these: thousands of answers are no depth of calls.
            return;
        }
        while let Some(at) = self.asked.iter().position(|a| !self.hold.contains(&a.work)) {
            let asked = self.asked.remove(at);
            self.answer(&asked);
        }
        self.is_following = false;
    }

    /// Whatever a power cut could make a lie is durable when it is said.
    fn look_at(&self, effect: &Effect) {
        match effect {
            Effect::Send { frame, .. } => self.look_at_frame(frame),
            Effect::Emit(Event::Attached { number, .. }) => {
                assert!(self.store.durable_transactions() as u64 > *number, "said before it was durable");
            }
            Effect::Emit(Event::Batched { id, .. }) => {
                let record = self.store.records().find(|r| r.id == *id).expect("it was written");
                assert!(
                    self.store.durable_transactions() as u64 > record.number,
                    "said before it was durable"
                );
            }
            _ => {}
        }
    }

    /// What leaves decodes, and an own transaction in it is durable.
    fn look_at_frame(&self, frame: &Arc<[u8]>) {
        assert!(frame.len() <= limits::FRAME_BYTES_MAX, "a frame of {} bytes", frame.len());
        for envelope in envelopes_of(frame) {
            let (_, body) = Envelope::open(&envelope).expect("a transaction that is sent decodes");
            if body.issuer == self.config.issuer {
                assert!(
                    self.store.is_durable(&envelope),
                    "an own transaction was sent before it was durable"
                );
            }
        }
    }

    /// Does the work honestly and hands the answer in.
    pub(crate) fn answer(&mut self, asked: &Asked) {
        let ticket = asked.ticket;
        let input = match &asked.effect {
            Effect::Persist { .. } => {
                self.store.durable = self.store.durable.max(asked.log);
                Input::Persisted { ticket }
            }
            Effect::Load { references, .. } => {
                Input::Loaded { ticket, found: references.iter().map(|r| self.store.find(&r.id)).collect() }
            }
            Effect::LoadBatch { batch, .. } => {
                Input::BatchLoaded { ticket, records: self.store.journal(*batch) }
            }
            Effect::Verify { checks, .. } => Input::Verified { ticket, valid: checks.iter().all(holds) },
            Effect::Sign { message, key_number, .. } => {
                let key = self.own_key(*key_number);
                Input::Signed { ticket, signature: signature(&key, message) }
            }
            Effect::Seal { batch, .. } => {
                let sealed = SealedBatch::new(batch);
                let columns = encode_columns(&sealed);
                assert_eq!(
                    decode_columns(&columns).as_ref(),
                    Ok(&sealed),
                    "the archive gives the batch back"
                );
                let segment = Hash(derive(context::SEGMENT, &columns));
                let (root, segment_bytes) = (sealed.root(), columns.len() as u64);
                self.store.archive.insert(segment, sealed);
                Input::Sealed { ticket, root, segment, segment_bytes }
            }
            other => panic!("{other:?} asks for nothing"),
        };
        self.input(input);
    }

    /// Answers all that was held back of this kind, and what is asked for from now on.
    pub(crate) fn release(&mut self, work: Work) {
        self.hold.remove(&work);
        self.follow(Vec::new());
    }

    /// What is asked for and not answered, of this kind.
    pub(crate) fn open_work(&self, work: Work) -> Vec<Asked> {
        self.asked.iter().filter(|a| a.work == work).cloned().collect()
    }

    /// Forgets what was asked for: the answers are lost.
    pub(crate) fn lose(&mut self, work: Work) -> Vec<Asked> {
        let (lost, kept) = std::mem::take(&mut self.asked).into_iter().partition(|a| a.work == work);
        self.asked = kept;
        lost
    }

    /// The oldest open work of this kind could not be done.
    pub(crate) fn fail(&mut self, work: Work) {
        let at = self.asked.iter().position(|a| a.work == work).expect("there is such work");
        let ticket = self.asked.remove(at).ticket;
        self.input(Input::Failed { ticket, why: "made to fail".to_owned() });
    }

    /// Lets time pass, with a tick at each deadline on the way.
    pub(crate) fn advance_us(&mut self, us: u64) {
        let end = self.now.monotonic_us + us;
        for _ in 0..100_000 {
            let Some(due) = self.node.next_deadline().filter(|due| *due <= end) else { break };
            let due = due.max(self.now.monotonic_us);
            self.move_clock(due);
            self.input(Input::Tick);
            let next = self.node.next_deadline();
            assert!(next.is_none_or(|next| next > due), "a deadline that a tick at its time does not meet");
        }
        self.move_clock(end);
    }

    fn move_clock(&mut self, to_us: u64) {
        let passed_us = to_us - self.now.monotonic_us;
        self.now.monotonic_us = to_us;
        self.now.wall_ns += passed_us as i64 * 1_000;
    }

    /// A peer sends a transaction.
    pub(crate) fn frame(&mut self, tx: &Tx) {
        self.frame_from(PEER, &tx.envelope);
    }

    /// A peer sends the bytes of a transaction.
    pub(crate) fn frame_from(&mut self, peer: PeerId, envelope: &[u8]) {
        self.raw(peer, wire::transaction(envelope));
    }

    pub(crate) fn frames(&mut self, txs: &[&Tx]) {
        for tx in txs {
            self.frame(tx);
        }
    }

    /// Makes stream `handle` known under this name.
    pub(crate) fn describe(&mut self, handle: u32, name: &str) {
        self.describe_as(handle, descriptor(name, "1"), false);
    }

    pub(crate) fn describe_as(&mut self, handle: u32, descriptor: Descriptor, urgent: bool) {
        self.input(Input::Describe { stream: StreamHandle(handle), descriptor, urgent });
    }

    /// Submits readings and says under which name the outcome comes.
    pub(crate) fn submit(&mut self, readings: Vec<NewReading>) -> ReplyTo {
        let reply = self.next_reply();
        self.input(Input::Submit { readings, origins: Vec::new(), reply });
        reply
    }

    /// Submits so many readings of one stream.
    pub(crate) fn submit_count(&mut self, handle: u32, count: usize) -> ReplyTo {
        let readings = (0..count).map(|i| self.reading(handle, Value::Unsigned(i as u64))).collect();
        self.submit(readings)
    }

    pub(crate) fn issue(&mut self, kind: u16, payload: Vec<u8>) -> ReplyTo {
        let reply = self.next_reply();
        self.input(Input::Issue { kind, payload, reply });
        reply
    }

    pub(crate) fn next_reply(&mut self) -> ReplyTo {
        self.next_reply += 1;
        ReplyTo(self.next_reply + 1_000 * u64::from(self.starts))
    }

    /// A reading of the present moment.
    pub(crate) fn reading(&self, handle: u32, value: Value) -> NewReading {
        NewReading {
            stream: StreamHandle(handle),
            value,
            quality: Quality::Good,
            flags: 0,
            status: 0,
            source_time_ns: self.now.wall_ns - 1_000,
            receive_time_ns: self.now.wall_ns,
        }
    }

    /// The effects since the last time.
    pub(crate) fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.seen)
    }

    pub(crate) fn outcome(&self, reply: ReplyTo) -> Option<Outcome> {
        let of = |e: &Effect| match e {
            Effect::Reply { reply: r, outcome } if *r == reply => Some(outcome.clone()),
            _ => None,
        };
        let outcomes: Vec<Outcome> = self.seen.iter().filter_map(of).collect();
        assert!(outcomes.len() <= 1, "{reply:?} was answered {} times", outcomes.len());
        outcomes.into_iter().next()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let of = |e: &Effect| if let Effect::Emit(event) = e { Some(event.clone()) } else { None };
        self.seen.iter().filter_map(of).collect()
    }

    pub(crate) fn drops(&self) -> Vec<(PeerId, Reject)> {
        let of = |e: &Effect| match e {
            Effect::Drop { peer, reject } => Some((*peer, reject.clone())),
            _ => None,
        };
        self.seen.iter().filter_map(of).collect()
    }

    pub(crate) fn wants(&self) -> Vec<(PeerId, Vec<Reference>)> {
        let of = |e: &Effect| match e {
            Effect::Send { peer, frame, .. } => match Message::open(frame) {
                Ok(Message::Want(want)) => Some((*peer, want.references)),
                _ => None,
            },
            _ => None,
        };
        self.seen.iter().filter_map(of).collect()
    }

    /// How often this kind of work was asked for since the last `take`.
    pub(crate) fn count(&self, work: Work) -> usize {
        self.seen.iter().filter_map(Work::of).filter(|(w, _)| *w == work).count()
    }

    pub(crate) fn is_attached(&self, tx: &Tx) -> bool {
        self.store.find(&tx.id()).is_some()
    }

    /// The local number of an attached transaction.
    pub(crate) fn number(&self, tx: &Tx) -> u64 {
        self.store.find(&tx.id()).expect("it is attached").number
    }

    /// The transaction of this node with the greatest number, as it travels.
    pub(crate) fn own_newest(&self) -> Tx {
        let own = self.store.transactions().filter(|(r, _)| r.issuer == self.config.issuer).last();
        let (record, envelope) = own.expect("the node issued something");
        let reference = Reference { issuer: record.issuer, sequence: record.sequence, id: record.id };
        let opened = selvedge_core::transaction::Envelope::open(envelope).expect("what is attached decodes");
        Tx { envelope: envelope.clone(), body: opened.1, reference }
    }

    /// Transactions of this node that are empty notes.
    pub(crate) fn own_approvals(&self) -> usize {
        let own = self.store.records().filter(|r| r.issuer == self.config.issuer);
        own.filter(|r| r.kind == 0 && r.flags & selvedge_core::record::flag::PAYLOAD == 0).count()
    }
}

/// Who is at the other end of a connection, unless a scenario says otherwise: nobody whom the genesis names.
pub(crate) fn issuer_of(peer: PeerId) -> Issuer {
    key_of(&format!("peer {}", peer.0), Scheme::MlDsa44).issuer()
}

/// The envelopes in a frame.
pub(crate) fn envelopes_of(frame: &[u8]) -> Vec<Arc<[u8]>> {
    match Message::open(frame).expect("what this node says decodes") {
        Message::Transaction(envelope) => vec![envelope.into()],
        Message::Transactions(envelopes) => envelopes.into_iter().map(Into::into).collect(),
        _ => Vec::new(),
    }
}

/// A stream's descriptor; `scale` makes different ones of one name.
pub(crate) fn descriptor(name: &str, scale: &str) -> Descriptor {
    let made = Descriptor {
        name: name.to_owned(),
        device: "press".to_owned(),
        address: "holding 100".to_owned(),
        source_type: "u16".to_owned(),
        unit: "Cel".to_owned(),
        scale: scale.parse().expect("a decimal"),
        offset: Decimal::ZERO,
        attestation: Attestation::Gateway,
    };
    assert_eq!(codec::decode::<Descriptor>(&made.to_bytes()), Ok(made.clone()));
    made
}

/// Runs of a seeded scenario: `SELVEDGE_CASES` (50,000 unless set) scales them, so that emulation has fewer.
pub(crate) fn runs(of_50_000: u64) -> u64 {
    let cases = std::env::var("SELVEDGE_CASES").ok().and_then(|c| c.parse::<u64>().ok()).unwrap_or(50_000);
    (of_50_000 * cases).div_ceil(50_000).max(2)
}

/// The random numbers of one seed.
pub(crate) fn random_of(seed: u64) -> Random {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Random::new(&bytes)
}
