//! This node's own transactions. One is in the making at a time; its tips are chosen when it is built, and its
//! sequence counts as used only once it is durable.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, Now, Outcome, Refusal, ReplyTo, Ticket};
use crate::codec;
use crate::hash::Id;
use crate::limits;
use crate::payload::{Batch, PayloadKind};
use crate::record::{GENESIS_NUMBER, Record, Stored};
use crate::scheme::transaction_message;
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
}

/// A transaction in the making.
#[derive(Debug)]
struct Draft {
    body: Body,
    bytes: Vec<u8>,
    id: Id,
    /// What it refers to, `prev` first.
    settled: Vec<Option<Stored>>,
    key: u16,
    key_number: u32,
    purpose: Purpose,
    /// When the signature is asked for again, if there is no answer.
    due_us: u64,
}

#[derive(Debug, Default)]
enum Making {
    #[default]
    Idle,
    Signing(Ticket, alloc::boxed::Box<Draft>),
    Persisting(Ticket),
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
    pub(super) fn persisted(&mut self, ticket: Ticket) {
        if matches!(self.making, Making::Persisting(t) if t == ticket) {
            self.making = Making::Idle;
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
            // Batches come from readings; keys come with the next version.
            _ => 0,
        };
        let refusal = if !self.config.may_issue {
            Some(Refusal::Silent)
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
        if !self.can_sign() || !self.own.is_idle() {
            return;
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

    fn draft(&mut self, now: Now, kind: u16, payload: Vec<u8>, purpose: Purpose, out: &mut Vec<Effect>) {
        let issuer = self.config.issuer;
        let genesis = self.network.genesis_id();
        let chain = self.issuers.get(&issuer);
        let head = chain.and_then(|c| c.heads.first().copied());
        // The key in force is the newest one: an own chain has one branch.
        let Some(place) = chain.and_then(|c| c.keys.len().checked_sub(1)) else {
            // The genesis does not name this node and it is not enrolled: it cannot sign yet.
            return self.put_back(kind, payload, purpose);
        };
        let key = chain.and_then(|c| c.keys.get(place)).map(|k| (k.key_number, k.key.scheme));
        let Some((key_number, scheme)) = key else { return };
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
        let prev = head.map(|h| Stored {
            number: h.number,
            issuer,
            sequence: h.sequence,
            key: place as u16,
            flags: 0,
        });
        let bytes = codec::encode(&body);
        let id = self.network.transaction_id(&bytes);
        let message = transaction_message(scheme, key_number, self.network.id(), id);
        let settled = Vec::from([prev, approved[0], approved[1]]);
        let due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        let draft = Draft { body, bytes, id, settled, key: place as u16, key_number, purpose, due_us };
        let ticket = self.ticket();
        self.own.making = Making::Signing(ticket, alloc::boxed::Box::new(draft));
        out.push(Effect::Sign { ticket, message });
    }

    fn put_back(&mut self, kind: u16, payload: Vec<u8>, purpose: Purpose) {
        match purpose {
            Purpose::Asked(reply) => self.own.queue.push_front(Asked { kind, payload, reply }),
            Purpose::Batch(batch) => self.gatherer.put_back(Arc::unwrap_or_clone(batch)),
            Purpose::Approve => {}
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
        if let Some(why) = self.wrong_length(signature) {
            return self.halt(why, out);
        }
        let Making::Signing(_, draft) = core::mem::take(&mut self.own.making) else { return };
        let head = self.issuers.get(&self.config.issuer).and_then(|c| c.heads.first());
        if head.map(|h| h.number) != draft.settled[0].map(|s| s.number) {
            // The own chain went on elsewhere while this was signed: never a fork by accident.
            return self.put_back(draft.body.kind, draft.body.payload, draft.purpose);
        }
        let key = &self.issuers.get(&self.config.issuer).expect("it drafted").keys[usize::from(draft.key)];
        let (scheme, key_number) = (key.key.scheme, draft.key_number);
        let envelope = Envelope { scheme, key_number, signature, body: &draft.bytes };
        let envelope: Arc<[u8]> = codec::encode(&envelope).into();
        self.attach_own(now, *draft, &envelope, out);
    }

    fn wrong_length(&self, signature: &[u8]) -> Option<alloc::string::String> {
        let key = self.issuers.get(&self.config.issuer)?.keys.last()?;
        let (got, expected) = (signature.len(), key.key.scheme.signature_bytes());
        (got != expected).then(|| alloc::format!("the signer gave {got} bytes, expected {expected}"))
    }

    /// Durable at once; sent, answered and told only then.
    fn attach_own(&mut self, now: Now, draft: Draft, envelope: &Arc<[u8]>, out: &mut Vec<Effect>) {
        let Draft { body, id, settled, key, purpose, .. } = draft;
        let batch = match &purpose {
            Purpose::Batch(batch) => Some(batch.clone()),
            _ => None,
        };
        let ready = Ready { id, envelope: envelope.clone(), body, settled, key: Some(key), brings: None };
        let (stored, write, mut held) = self.attach(now, ready, batch.clone());
        held.extend(self.peers.iter().map(|peer| Effect::Send { peer: *peer, frame: envelope.clone() }));
        match purpose {
            Purpose::Batch(batch) => {
                self.gatherer.issued(batch.number);
                let (batch, readings) = (batch.number, batch.count);
                held.push(Effect::Emit(Event::Batched { batch, readings, id }));
            }
            Purpose::Asked(reply) => held.push(Effect::Reply { reply, outcome: Outcome::Durable }),
            Purpose::Approve => {}
        }
        let ticket = self.persist_attached(stored.number, write, 0, held, out);
        self.own.making = Making::Persisting(ticket);
        self.approve_at_us = None;
        self.plan_approval(now);
        self.advance_waiters(now, id, stored, out);
    }

    /// A signature that never came is asked for again.
    pub(super) fn sweep_own(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Making::Signing(ticket, draft) = &mut self.own.making else { return };
        if now.monotonic_us < draft.due_us {
            return;
        }
        draft.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        let (ticket, id, place, key_number) = (*ticket, draft.id, draft.key, draft.key_number);
        let Some(chain) = self.issuers.get(&self.config.issuer) else { return };
        let scheme = chain.keys[usize::from(place)].key.scheme;
        let message = transaction_message(scheme, key_number, self.network.id(), id);
        // Under the same ticket: slow work that is done in the end counts, whichever question it answers.
        out.push(Effect::Sign { ticket, message });
    }

    /// The own chain's newest transaction: sequence and id.
    pub fn own_head(&self) -> Option<(u64, Id)> {
        let head = self.issuers.get(&self.config.issuer)?.heads.first()?;
        debug_assert_ne!(head.number, GENESIS_NUMBER);
        Some((head.sequence, head.id))
    }
}
