//! The node: all state of the ledger, one input at a time.
//!
//! # Layout
//! - this file: opening, dispatch, deadlines, what is durable
//! - [`receive`]: others' transactions, from bytes to attached
//! - [`issue`]: this node's own transactions, one in the making at a time
//! - [`gather`]: readings into batches
//! - [`peers`]: connections, budgets, who is sent away
//! - [`spread`]: bodies pushed, ids announced and asked for
//! - [`catch_up`]: frontiers, and the fetch of what is missing
//! - [`own_chain`]: the start check, and the sign of a second machine with this key
//! - [`lost`]: own transactions that a gateway lost and that only wait elsewhere
//! - [`own_keys`]: is the key in force here?

mod catch_up;
mod gather;
mod issue;
mod lost;
mod own_chain;
mod own_keys;
mod peers;
mod receive;
mod spread;
mod status;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use crate::gossip::Counts;
pub use peers::PeerStatus;
pub use status::Status;

use crate::batch::BatchError;
use crate::border::{
    Config, Effect, Event, Input, Now, Outcome, PeerId, Refusal, Restored, Silence, StartCheck, Ticket, Write,
};
use crate::codec::{self, CodecError};
use crate::gossip::Gossip;
use crate::hash::{Issuer, Network};
use crate::issuers::Issuers;
use crate::limits;
use crate::payload::Enrol;
use crate::pending::Pending;
use crate::random::Random;
use crate::record::flag;
use crate::window::Window;
use crate::wire::{ChainHead, StartId};
use gather::Gatherer;
use issue::{Durable, Own, Returned};
use own_chain::OwnChain;
use own_keys::OwnKeys;

/// Why a node cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The journal's records do not make a batch.
    #[error("the reading journal of batch {batch} cannot be read: {why}")]
    Journal {
        /// The batch.
        batch: u64,
        /// Why.
        why: BatchError,
    },
    /// The enrolment of this node is none, or another node's.
    #[error("this gateway's enrolment cannot be used: {0}")]
    Enrolment(CodecError),
    /// A setting leaves its bounds.
    #[error("{what} is {got}, expected {expected}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The bounds.
        expected: &'static str,
    },
}

/// All state of the ledger. See the [module](self).
#[derive(Debug)]
pub struct Node {
    pub(crate) config: Config,
    pub(crate) network: Network,
    pub(crate) window: Window,
    pub(crate) issuers: Issuers,
    pub(crate) pending: Pending,
    pub(crate) gatherer: Gatherer,
    own: Own,
    own_chain: OwnChain,
    own_keys: OwnKeys,
    /// Transaction 0 of a node that the genesis does not name.
    enrolment: Option<Enrol>,
    pub(crate) gossip: Gossip,
    start: StartId,
    random: Random,
    next_ticket: u64,
    /// What leaves once a `Persist` is answered.
    held: BTreeMap<Ticket, Vec<Effect>>,
    /// Which transaction a `Persist` writes, to know what is durable.
    attaching: BTreeMap<Ticket, u64>,
    /// Envelopes of others that are attached and not durable: peers that ask get them from here.
    unsynced: BTreeMap<u64, Arc<[u8]>>,
    /// Whom a `Serve` is for.
    serving: BTreeMap<Ticket, PeerId>,
    /// When overdue work and pending transactions are looked at next.
    sweep_at_us: Option<u64>,
    /// When an empty note approves what others wrote.
    approve_at_us: Option<u64>,
    last_wall_ns: i64,
    halted: bool,
}

impl Node {
    /// Takes up the ledger where the store left it.
    ///
    /// # Errors
    /// When the journal's records do not make a batch, or a setting leaves its bounds.
    ///
    /// # Panics
    /// When what was restored contradicts itself: a broken store must not be built upon.
    pub fn open(
        config: Config,
        seed: &[u8; 32],
        mut restored: Restored,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Result<Self, OpenError> {
        check_settings(&config)?;
        let enrolment = config.enrolment.as_deref().map(codec::decode::<Enrol>).transpose();
        let enrolment = enrolment.map_err(OpenError::Enrolment)?;
        if enrolment.as_ref().is_some_and(|e| e.key.issuer() != config.issuer) {
            let (what, why) = ("enrolment", "it is of another key");
            return Err(OpenError::Enrolment(CodecError::Rule { what, why }));
        }
        let is_settled = config.start_check == StartCheck::None;
        let gatherer = Gatherer::restore(&mut restored, is_settled, now)
            .map_err(|(batch, why)| OpenError::Journal { batch, why })?;
        let network = Network::new(crate::genesis::Genesis::network_id_of(&config.genesis_bytes));
        let issuers = Issuers::new(&config.genesis, restored.issuers, restored.forks);
        let mut window = Window::new(config.window_records);
        for record in restored.recent {
            let is_tip = restored.tips.binary_search(&record.number).is_ok();
            let (bit, own) = (issuers.member_bit(&record.issuer), record.issuer == config.issuer);
            // Tips restored at start count as just arrived.
            window.restore(record, now.monotonic_us, is_tip, bit, own);
        }
        assert_eq!(window.next_number(), restored.next_number, "the newest record is the last one attached");
        assert_eq!(window.tip_count(), restored.tips.len(), "every tip is among the restored records");
        // An old tip just below the window may have joined it: then the window is one too large until this.
        window.set_durable(restored.next_number);
        window.recount_unapproved(|record| record.issuer == config.issuer);
        let own_heads = issuers.get(&config.issuer).map_or(&[][..], |c| &c.heads);
        let durable = own_heads.first().map(|h| ChainHead { sequence: h.sequence, id: h.id });
        let own_chain = OwnChain::new(config.start_check, own_heads.len() > 1, durable, now.monotonic_us);
        let own_keys = OwnKeys::new(config.signing_keys.clone(), issuers.get(&config.issuer));
        let mut node = Self {
            network,
            window,
            issuers,
            pending: Pending::default(),
            gatherer,
            own: Own::default(),
            own_chain,
            own_keys,
            enrolment,
            gossip: Gossip::default(),
            start: peers::start_id(seed),
            random: Random::new(seed),
            next_ticket: 0,
            held: BTreeMap::new(),
            attaching: BTreeMap::new(),
            unsynced: BTreeMap::new(),
            serving: BTreeMap::new(),
            sweep_at_us: None,
            approve_at_us: None,
            last_wall_ns: restored.last_wall_ns,
            halted: false,
            config,
        };
        let says_why = [Silence::Restored, Silence::AnotherMachine, Silence::Listening];
        if node.own_chain.silence().is_some_and(|why| says_why.contains(&why)) {
            out.push(Effect::Emit(Event::Silent));
        }
        if !planted!(ApprovesNothingLeft) {
            node.plan_approval(now);
        }
        node.after(now, out);
        Ok(node)
    }

    /// Takes one input. What follows from it is appended to `out`, in the order in which it must be done.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        if self.halted {
            refuse_when_halted(&input, out);
            return;
        }
        match input {
            Input::Describe { stream, descriptor, urgent } => self.describe(stream, &descriptor, urgent, out),
            Input::Submit { readings, origins, reply } => self.submit(now, readings, &origins, reply, out),
            Input::Issue { kind, payload, reply } => self.ask_to_issue(kind, payload, reply, out),
            Input::Flush => self.close_batch(),
            Input::Frame { peer, bytes } => self.frame(now, peer, &bytes, out),
            Input::PeerUp { peer, issuer, outgoing } => self.peer_up(now, peer, issuer, outgoing, out),
            Input::PeerDown(peer) => self.peer_down(peer),
            Input::Congested { peer } => self.congested(now, peer),
            Input::Served { ticket } => self.served(ticket),
            Input::Loaded { ticket, found } => self.loaded(now, ticket, &found, out),
            Input::BatchLoaded { ticket, records } => self.batch_loaded(now, ticket, &records, out),
            Input::Verified { ticket, valid } => self.verified(now, ticket, valid, out),
            Input::Sealed { ticket, root, segment, segment_bytes } => {
                self.sealed(ticket, root, segment, segment_bytes);
            }
            Input::Signed { ticket, signature } => self.signed(now, ticket, &signature, out),
            Input::Persisted { ticket } => self.persisted(now, ticket, out),
            Input::Failed { ticket, why } => self.failed(now, ticket, why, out),
            Input::Tick => {}
        }
        self.after(now, out);
    }

    /// What is due after any input: batches to close and seal, own transactions, overdue work.
    fn after(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.halted {
            return;
        }
        if self.sweep_at_us.is_some_and(|at| at <= now.monotonic_us) {
            self.sweep(now, out);
        }
        self.check_start(now, out);
        self.say_missing_key(out);
        self.gather(now, out);
        self.issue(now, out);
        self.gossip_due(now, out);
        self.ask_for_awaited(now, out);
        let is_waiting =
            !self.pending.waiting.is_empty() || self.own.is_signing() || self.gatherer.is_working();
        if !is_waiting {
            self.sweep_at_us = None;
        } else if self.sweep_at_us.is_none() {
            self.sweep_at_us = Some(now.monotonic_us + limits::WANT_TIMEOUT_US / 2);
        }
    }

    /// When an input must come at the latest, as `monotonic_us`: hand in a `Tick` then. `None`: nothing is due.
    pub fn next_deadline(&self) -> Option<u64> {
        if self.halted {
            return None;
        }
        let batch = self.gatherer.closes_at_us(self.config.batch.age_max_us);
        let approve = self.approve_at_us.filter(|_| self.can_sign() && self.own.is_idle());
        let others = [self.gossip.deadline(), self.own_chain.deadline(), self.sweep_at_us];
        [batch, approve].into_iter().chain(others).flatten().min()
    }

    /// Has it a key that the network knows?
    const fn has_key(&self) -> bool {
        self.own_keys.is_known()
    }

    /// May it issue, and has it a key that the network knows, or can make known, and that is here?
    fn can_sign(&self) -> bool {
        self.own_chain.is_settled()
            && self.own_keys.missing().is_none()
            && (self.has_key() || self.enrolment.is_some())
    }

    /// Looks for work that was never answered and for transactions that waited too long.
    fn sweep(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.sweep_at_us = None;
        self.sweep_pending(now, out);
        self.sweep_gatherer(now, out);
        self.sweep_own(now, out);
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Hands writes to the store; `held` leaves when they are durable.
    fn persist(
        &mut self,
        writes: Vec<Write>,
        within_us: u64,
        held: Vec<Effect>,
        out: &mut Vec<Effect>,
    ) -> Ticket {
        let ticket = self.ticket();
        self.held.insert(ticket, held);
        out.push(Effect::Persist { ticket, writes, within_us });
        ticket
    }

    /// The same for an attached transaction, which may leave the window only once it is durable.
    fn persist_attached(
        &mut self,
        number: u64,
        write: Write,
        within_us: u64,
        held: Vec<Effect>,
        out: &mut Vec<Effect>,
    ) -> Ticket {
        let ticket = self.persist(Vec::from([write]), within_us, held, out);
        self.attaching.insert(ticket, number);
        ticket
    }

    fn persisted(&mut self, now: Now, ticket: Ticket, out: &mut Vec<Effect>) {
        let Some(held) = self.held.remove(&ticket) else { return };
        out.extend(held);
        if let Some(number) = self.attaching.remove(&ticket) {
            // And with it everything that was handed to the store before it.
            self.window.set_durable(number + 1);
            self.unsynced = self.unsynced.split_off(&(number + 1));
        }
        if let Some(Durable { reference, envelope, returned }) = self.own.persisted(ticket) {
            if returned.is_none_or(|r| r.extends) {
                self.own_chain.set_durable(ChainHead { sequence: reference.sequence, id: reference.id });
                self.gossip.changed(now.monotonic_us);
            }
            match returned {
                None => self.spread_own(now.monotonic_us, reference, &envelope, out),
                Some(Returned { from, fetched, .. }) => {
                    self.spread(now.monotonic_us, reference, &envelope, (from, fetched), out);
                }
            }
        }
    }

    fn failed(&mut self, now: Now, ticket: Ticket, why: String, out: &mut Vec<Effect>) {
        if self.held.contains_key(&ticket) {
            self.halt(why, out);
        } else if self.own.is_signing_with(ticket) {
            self.halt(alloc::format!("signing failed: {why}"), out);
        } else if self.gossip.checking.remove(&ticket).is_some() {
            // The next frontier asks again.
            out.push(Effect::Emit(Event::Retrying { what: "loading from the store", why }));
        } else if let Some(what) = self.retry_later(now, ticket) {
            out.push(Effect::Emit(Event::Retrying { what, why }));
        }
    }

    /// The store or the key failed: whoever waits learns that the outcome is unknown, and nothing more is taken.
    fn halt(&mut self, why: String, out: &mut Vec<Effect>) {
        self.halted = true;
        for effect in core::mem::take(&mut self.held).into_values().flatten() {
            if let Effect::Reply { reply, .. } = effect {
                out.push(Effect::Reply { reply, outcome: Outcome::Unknown });
            }
        }
        for reply in self.own.abandon() {
            out.push(Effect::Reply { reply, outcome: Outcome::Refused(Refusal::Halted) });
        }
        out.push(Effect::Emit(Event::Halted { why }));
    }

    /// The wall time to stamp with: while the clock is not synchronised it never falls below what was persisted.
    fn stamp_ns(&mut self, now: Now) -> i64 {
        let is_trusted = now.synchronised || planted!(StampFallsBack);
        let stamp = if is_trusted { now.wall_ns } else { now.wall_ns.max(self.last_wall_ns) };
        self.last_wall_ns = self.last_wall_ns.max(stamp);
        stamp
    }

    /// This node's identity.
    pub const fn issuer(&self) -> Issuer {
        self.config.issuer
    }

    /// How many committee members have this transaction in their past cone, or signed it; `None` below the window.
    pub fn witnessed(&self, number: u64) -> Option<u32> {
        let committee = (1_u64 << self.issuers.committee().len()) - 1;
        self.window.get(number).map(|entry| (entry.cones & committee).count_ones())
    }

    /// After an own or foreign transaction was attached: is there something to approve?
    fn plan_approval(&mut self, now: Now) {
        if self.window.unapproved() == 0 {
            self.approve_at_us = None;
        } else if self.approve_at_us.is_none() {
            let delay = self.random.below(self.config.approve_delay_max_us + 1);
            self.approve_at_us = Some(now.monotonic_us + delay);
        }
    }

    /// Does the transaction with this number stand on a second branch? For people and tests.
    pub fn is_second_branch(&self, number: u64) -> Option<bool> {
        self.window.get(number).map(|entry| entry.record.has(flag::SECOND_BRANCH))
    }
}

fn refuse_when_halted(input: &Input, out: &mut Vec<Effect>) {
    if let Input::Submit { reply, .. } | Input::Issue { reply, .. } = input {
        out.push(Effect::Reply { reply: *reply, outcome: Outcome::Refused(Refusal::Halted) });
    }
}

fn check_settings(config: &Config) -> Result<(), OpenError> {
    let setting = |what, got, expected| Err(OpenError::Setting { what, got, expected });
    let batch = &config.batch;
    if batch.readings_max == 0 || batch.readings_max as usize > limits::BATCH_READINGS_MAX {
        return setting("readings of a batch", u64::from(batch.readings_max), "1 to 65,536");
    }
    if batch.bytes_max < 1_024 || batch.bytes_max > limits::BATCH_BYTES_MAX {
        return setting("bytes of a batch", batch.bytes_max as u64, "1,024 to 8,388,608");
    }
    if config.window_records == 0 || config.window_records > limits::WINDOW_RECORDS {
        return setting("records in memory", config.window_records as u64, "1 to 65,536");
    }
    Ok(())
}
