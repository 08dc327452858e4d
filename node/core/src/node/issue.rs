//! This node's own transactions. One is in the making at a time; its tips are chosen when it is built, and its
//! sequence counts as used only once it is durable.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, NewKey, Now, Outcome, PeerId, Refusal, ReplyTo, Silence, Ticket};
use crate::codec::{self, Canonical as _};
use crate::hash::Id;
use crate::limits;
use crate::payload::{Batch, PayloadKind, Rotate};
use crate::record::{GENESIS_NUMBER, Record, Stored};
use crate::scheme::{Scheme, transaction_message};
use crate::tips;
use crate::transaction::{Body, Envelope, FLAG_UNSYNCHRONISED, Reference};

use super::Node;
use super::receive::Ready;

/// Why a transaction is made.
#[derive(Debug, Clone)]
enum Purpose {
    /// It carries a batch.
    Batch(Arc<Batch>),
    /// Somebody asked for it.
    Asked(ReplyTo),
    /// It approves what others wrote.
    Approve,
    /// It makes this node known.
    Enrol,
}

/// The key that signs, and the one that it brings.
#[derive(Debug)]
struct Signs {
    /// Place in the own list of keys.
    place: u16,
    /// Its number.
    number: u32,
    scheme: Scheme,
    brings: Option<NewKey>,
}

/// A transaction in the making.
#[derive(Debug)]
struct Draft {
    body: Body,
    bytes: Vec<u8>,
    id: Id,
    /// What it refers to, `prev` first.
    settled: Vec<Option<Stored>>,
    signs: Signs,
    purpose: Purpose,
    /// When the signature is asked for again, if there is no answer.
    due_us: u64,
}

#[derive(Debug, Default)]
enum Making {
    #[default]
    Idle,
    Signing(Ticket, alloc::boxed::Box<Draft>),
    /// Its name and envelope: to be sent once it is durable.
    Persisting(Ticket, Reference, Arc<[u8]>),
}

/// A payload that waits to be issued.
#[derive(Debug)]
struct Asked {
    kind: u16,
    payload: Vec<u8>,
    reply: ReplyTo,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Own {
    making: Making,
    queue: VecDeque<Asked>,
    /// Own transactions that came from peers and are not durable yet.
    foreign: Vec<(Ticket, Durable)>,
}

/// An own transaction, on its way to the store or durable: only then is it sent.
#[derive(Debug)]
pub(super) struct Durable {
    pub(super) reference: Reference,
    pub(super) envelope: Arc<[u8]>,
    /// `None`: this start made it.
    pub(super) returned: Option<Returned>,
}

/// How an own transaction came back from a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Returned {
    /// By whom, and was it fetched?
    pub(super) from: PeerId,
    pub(super) fetched: bool,
    /// Is it the newest of the chain, and not a second branch of it?
    pub(super) extends: bool,
}

impl Own {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.making, Making::Idle)
    }
    pub(super) const fn is_signing(&self) -> bool {
        matches!(self.making, Making::Signing(..))
    }
    pub(super) fn is_signing_with(&self, ticket: Ticket) -> bool {
        matches!(&self.making, Making::Signing(t, _) if *t == ticket)
    }
    /// An own transaction that came from a peer is on its way to the store.
    pub(super) fn note_foreign(&mut self, ticket: Ticket, own: Durable) {
        self.foreign.push((ticket, own));
    }
    /// The one that is durable now.
    pub(super) fn persisted(&mut self, ticket: Ticket) -> Option<Durable> {
        if let Some(place) = self.foreign.iter().position(|(t, _)| *t == ticket) {
            return Some(self.foreign.remove(place).1);
        }
        if !matches!(&self.making, Making::Persisting(t, ..) if *t == ticket) {
            return None;
        }
        match core::mem::take(&mut self.making) {
            Making::Persisting(_, reference, envelope) => {
                Some(Durable { reference, envelope, returned: None })
            }
            Making::Idle | Making::Signing(..) => None,
        }
    }
    /// Whoever waits for something that will not be issued any more.
    pub(super) fn abandon(&mut self) -> Vec<ReplyTo> {
        let mut replies: Vec<ReplyTo> = self.queue.drain(..).map(|asked| asked.reply).collect();
        if let Making::Signing(_, draft) = core::mem::take(&mut self.making)
            && let Purpose::Asked(reply) = draft.purpose
        {
            replies.push(reply);
        }
        replies
    }
}

impl Node {
    pub(super) fn ask_to_issue(
        &mut self,
        kind: u16,
        payload: Vec<u8>,
        reply: ReplyTo,
        out: &mut Vec<Effect>,
    ) {
        let limit = match PayloadKind::from_u16(kind) {
            Some(PayloadKind::Note) => limits::NOTE_BYTES_MAX,
            Some(PayloadKind::Registry) => limits::PAYLOAD_BYTES_MAX,
            Some(PayloadKind::Rotate) if codec::decode::<Rotate>(&payload).is_ok() => Rotate::BYTES_MAX,
            // Batches come from readings, an enrolment from the configuration.
            _ => 0,
        };
        let refusal = if let Some(why) = self.silence() {
            Some(Refusal::Silent(why))
        } else if payload.is_empty() || payload.len() > limit {
            Some(Refusal::Payload)
        } else if self.own.queue.len() >= limits::ISSUE_QUEUE_MAX {
            Some(Refusal::Busy(self.own.queue.len()))
        } else {
            None
        };
        match refusal {
            Some(refusal) => out.push(Effect::Reply { reply, outcome: Outcome::Refused(refusal) }),
            None => self.own.queue.push_back(Asked { kind, payload, reply }),
        }
    }

    /// Starts the next own transaction, when none is in the making and there is something to say.
    pub(super) fn issue(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Some(why @ (Silence::AnotherMachine | Silence::KeyMissing { .. })) = self.silence() {
            // Whoever waits would wait until the next start.
            for Asked { reply, .. } in self.own.queue.drain(..) {
                out.push(Effect::Reply { reply, outcome: Outcome::Refused(Refusal::Silent(why)) });
            }
        }
        if !self.can_sign() || !self.own.is_idle() || self.waits_for_lost(now) {
            return;
        }
        if !self.has_key() {
            return self.enrol(now, out);
        }
        if let Some(Asked { kind, payload, reply }) = self.own.queue.pop_front() {
            return self.draft(now, kind, payload, Purpose::Asked(reply), out);
        }
        if let Some(batch) = self.gatherer.take_ready() {
            let payload = codec::encode(&batch);
            return self.draft(now, PayloadKind::Batch as u16, payload, Purpose::Batch(Arc::new(batch)), out);
        }
        if self.approve_at_us.is_some_and(|at| at <= now.monotonic_us) {
            self.approve_at_us = None;
            self.draft(now, PayloadKind::Note as u16, Vec::new(), Purpose::Approve, out);
        }
    }

    /// Transaction 0 of a node that the genesis does not name: it brings its own key.
    fn enrol(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(enrolment) = &self.enrolment else { return };
        let key = NewKey { key_number: 0, key: Arc::new(enrolment.key.clone()) };
        let (payload, scheme) = (codec::encode(enrolment), enrolment.key.scheme);
        let signs = Signs { place: 0, number: 0, scheme, brings: Some(key) };
        self.draft_signed(now, (PayloadKind::Enrol as u16, payload), Purpose::Enrol, signs, out);
    }

    fn draft(&mut self, now: Now, kind: u16, payload: Vec<u8>, purpose: Purpose, out: &mut Vec<Effect>) {
        // The key in force is the newest one: an own chain has one branch.
        let keys = self.issuers.get(&self.config.issuer).map_or(&[][..], |c| &c.keys);
        let Some(in_force) = keys.last() else { return self.put_back(kind, payload, purpose) };
        let brings = if kind == PayloadKind::Rotate as u16 {
            let rotate: Result<Rotate, _> = codec::decode(&payload);
            rotate.ok().map(|r| NewKey { key_number: in_force.key_number + 1, key: Arc::new(r.key) })
        } else {
            None
        };
        let place = (keys.len() - 1) as u16;
        let signs = Signs { place, number: in_force.key_number, scheme: in_force.key.scheme, brings };
        self.draft_signed(now, (kind, payload), purpose, signs, out);
    }

    fn draft_signed(
        &mut self,
        now: Now,
        (kind, payload): (u16, Vec<u8>),
        purpose: Purpose,
        signs: Signs,
        out: &mut Vec<Effect>,
    ) {
        let issuer = self.config.issuer;
        let genesis = self.network.genesis_id();
        let head = self.issuers.get(&issuer).and_then(|c| c.heads.first().copied());
        let (approves, approved) = self.choose_tips(now, &purpose);
        let stamp = self.stamp_ns(now);
        let body = Body {
            version: 0,
            issuer,
            sequence: head.map_or(0, |h| h.sequence + 1),
            prev: head.map_or(genesis, |h| h.id),
            approves,
            witness: None,
            issued_at_ms: u64::try_from(stamp / 1_000_000).unwrap_or(0),
            flags: if now.synchronised { 0 } else { FLAG_UNSYNCHRONISED },
            kind,
            payload,
        };
        let key = signs.place;
        let prev = head.map(|h| Stored { number: h.number, issuer, sequence: h.sequence, key, flags: 0 });
        let bytes = codec::encode(&body);
        let id = self.network.transaction_id(&bytes);
        let settled = Vec::from([prev, approved[0], approved[1]]);
        let due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        let draft = Draft { body, bytes, id, settled, signs, purpose, due_us };
        let ticket = self.ticket();
        out.push(self.ask_to_sign(ticket, &draft));
        self.own.making = Making::Signing(ticket, alloc::boxed::Box::new(draft));
    }

    fn ask_to_sign(&self, ticket: Ticket, draft: &Draft) -> Effect {
        let (scheme, key_number) = (draft.signs.scheme, draft.signs.number);
        let message = transaction_message(scheme, key_number, self.network.id(), draft.id);
        Effect::Sign { ticket, key_number, message }
    }

    fn put_back(&mut self, kind: u16, payload: Vec<u8>, purpose: Purpose) {
        match purpose {
            Purpose::Asked(reply) => self.own.queue.push_front(Asked { kind, payload, reply }),
            Purpose::Batch(batch) => self.gatherer.put_back(Arc::unwrap_or_clone(batch)),
            Purpose::Approve | Purpose::Enrol => {}
        }
    }

    /// Two tips, as references and as what the store would say of them.
    fn choose_tips(&mut self, now: Now, purpose: &Purpose) -> ([Reference; 2], [Option<Stored>; 2]) {
        let tips = self.window.tips();
        let window = &self.window;
        let chosen = if matches!(purpose, Purpose::Approve) {
            // An approval is for what no own transaction reaches yet, however old: so it comes to an end.
            tips::two_of(&window.unapproved_tips(), &mut self.random)
        } else {
            let stretch = || window.stretch();
            tips::select(&self.config.tips, &tips, stretch, now.monotonic_us, &mut self.random)
        };
        let genesis = Reference::genesis(self.network.id());
        let Some(numbers) = chosen else { return ([genesis; 2], [None; 2]) };
        let entry = |number| self.window.get(number).expect("tips are held");
        let reference = |r: &Record| Reference { issuer: r.issuer, sequence: r.sequence, id: r.id };
        (numbers.map(|n| reference(&entry(n).record)), numbers.map(|n| Some(Stored::from(&entry(n).record))))
    }

    pub(super) fn signed(&mut self, now: Now, ticket: Ticket, signature: &[u8], out: &mut Vec<Effect>) {
        if !self.own.is_signing_with(ticket) {
            return;
        }
        let Making::Signing(_, draft) = core::mem::take(&mut self.own.making) else { return };
        let (got, expected) = (signature.len(), draft.signs.scheme.signature_bytes());
        if got != expected {
            let why = alloc::format!("the signer gave {got} bytes, expected {expected}");
            self.own.making = Making::Signing(ticket, draft);
            return self.halt(why, out);
        }
        let head = self.issuers.get(&self.config.issuer).and_then(|c| c.heads.first());
        let is_moved = head.map(|h| h.number) != draft.settled[0].map(|s| s.number);
        if !self.can_sign() || is_moved || self.is_coming_back(now.monotonic_us) {
            // The own chain went on elsewhere while this was signed, or is about to: never a fork by accident.
            if matches!(draft.purpose, Purpose::Approve) {
                self.plan_approval(now);
            }
            return self.put_back(draft.body.kind, draft.body.payload, draft.purpose);
        }
        let (scheme, key_number) = (draft.signs.scheme, draft.signs.number);
        let envelope = Envelope { scheme, key_number, signature, body: &draft.bytes };
        let envelope: Arc<[u8]> = codec::encode(&envelope).into();
        self.attach_own(now, *draft, &envelope, out);
    }

    /// Durable at once; sent, answered and told only then.
    fn attach_own(&mut self, now: Now, draft: Draft, envelope: &Arc<[u8]>, out: &mut Vec<Effect>) {
        let Draft { body, id, settled, signs, purpose, .. } = draft;
        let reference = Reference { issuer: body.issuer, sequence: body.sequence, id };
        let batch = match &purpose {
            Purpose::Batch(batch) => Some(batch.clone()),
            _ => None,
        };
        let journal = batch.as_ref().and_then(|_| self.gatherer.journal_batch());
        let journal = journal.filter(|_| !planted!(JournalNeverFreed));
        let key = signs.brings.is_none().then_some(signs.place);
        if let Some(brought) = &signs.brings {
            // Whoever asked for it holds it.
            self.own_keys.hold(&brought.key);
        }
        let (from, fetched, came_us) = (PeerId(0), false, now.monotonic_us);
        let (envelope_of, brings) = (envelope.clone(), signs.brings);
        let ready = Ready { id, envelope: envelope_of, body, settled, key, brings, from, fetched, came_us };
        let (stored, write, mut held) = self.attach(now, ready, batch, journal);
        match purpose {
            Purpose::Batch(batch) => {
                self.gatherer.issued(batch.number);
                let (batch, readings) = (batch.number, batch.count);
                held.push(Effect::Emit(Event::Batched { batch, readings, id }));
            }
            Purpose::Asked(reply) => held.push(Effect::Reply { reply, outcome: Outcome::Durable }),
            Purpose::Approve | Purpose::Enrol => {}
        }
        let ticket = self.persist_attached(stored.number, write, 0, held, out);
        self.own.making = Making::Persisting(ticket, reference, envelope.clone());
        self.own_chain.note_issued();
        self.approve_at_us = None;
        self.plan_approval(now);
        self.advance_waiters(now, id, stored, out);
    }

    /// A signature that never came is asked for again, under the same ticket: slow work that is done in the end counts,
    /// whichever question it answers.
    pub(super) fn sweep_own(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Making::Signing(ticket, draft) = &mut self.own.making else { return };
        if now.monotonic_us < draft.due_us {
            return;
        }
        draft.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        let ticket = *ticket;
        let Making::Signing(_, draft) = &self.own.making else { return };
        out.push(self.ask_to_sign(ticket, draft));
    }

    /// The own chain's newest transaction: sequence and id.
    pub fn own_head(&self) -> Option<(u64, Id)> {
        let head = self.issuers.get(&self.config.issuer)?.heads.first()?;
        debug_assert_ne!(head.number, GENESIS_NUMBER);
        Some((head.sequence, head.id))
    }
}
