//! Others' transactions, from bytes to attached.
//!
//! - this file: decode, check, key, signature
//! - [`settle`]: what it refers to
//! - [`attach`]: into window and chains, own ones too
//! - [`overdue`]: what waited too long, or was never answered

mod attach;
mod overdue;
mod settle;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Now, PeerId, SignatureCheck, Ticket};
use crate::check::{Facts, KeyPayload, check};
use crate::codec;
use crate::genesis::PublicKey;
use crate::hash::{Hash, Id, Issuer, context, derive};
use crate::limits;
use crate::pending::{Stage, Waiting};
use crate::record::Stored;
use crate::reject::Reject;
use crate::scheme::transaction_message;
use crate::transaction::{Body, Envelope, Reference};

use super::Node;
use settle::Settled;

pub(super) use attach::Ready;

/// What became of an envelope that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// It is on its way into the ledger.
    New,
    /// It is here already.
    Held,
    /// There is no room now. It can be fetched again, and it is not its sender's fault.
    NoRoom,
    /// A further body of a place that has two, and nothing needs it.
    Unwelcome,
    /// No node can accept it.
    Refused,
}

impl Node {
    /// Takes an envelope. Says what became of it, and who signed it as far as that could be read.
    pub(super) fn receive(
        &mut self,
        now: Now,
        peer: PeerId,
        bytes: &[u8],
        fetched: bool,
        out: &mut Vec<Effect>,
    ) -> (Received, Option<Issuer>) {
        if self.pending.is_refused(|| envelope_hash(bytes)) {
            return (Received::Refused, None);
        }
        let opened = codec::decode(bytes).and_then(|envelope: Envelope<'_>| {
            let id = self.network.transaction_id(envelope.body);
            // The body of what is in the window is known: the id commits to it.
            if let Some(held) = self.window.by_id(&id) {
                return Ok((id, (held.record.issuer, held.record.sequence), None));
            }
            let body: Body = codec::decode(envelope.body)?;
            Ok((id, (body.issuer, body.sequence), Some(body)))
        });
        let (id, (issuer, sequence), body) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                self.fault(now, peer, why.into(), out);
                return (Received::Refused, None);
            }
        };
        // Only what was asked for has the room of what was asked for.
        let reference = Reference { issuer, sequence, id };
        let fetched = fetched && self.gossip.fetching.as_ref().is_some_and(|f| f.covers(&reference));
        let by_id = self.was_asked_for(&reference);
        self.note_own_sent(peer, issuer, sequence);
        let received = match body {
            Some(body) => self.receive_body(now, peer, bytes, (id, body), fetched, out),
            None => Received::Held,
        };
        if fetched && matches!(received, Received::New | Received::Held) {
            self.fetch_brought(now.monotonic_us, &issuer, sequence, by_id);
        }
        (received, Some(issuer))
    }

    fn receive_body(
        &mut self,
        now: Now,
        peer: PeerId,
        bytes: &[u8],
        (id, body): (Id, Body),
        fetched: bool,
        out: &mut Vec<Effect>,
    ) -> Received {
        if self.window.by_id(&id).is_some() {
            return Received::Held;
        }
        if let Some(waiting) = self.pending.waiting.get(&id) {
            let is_verified = matches!(waiting.stage, Stage::Verified(_));
            let is_kept = self.pending.keep_copy(&id, peer, &Arc::from(bytes));
            return match (is_verified, is_kept) {
                (true, _) => Received::Held,
                (false, true) => Received::New,
                (false, false) => Received::Unwelcome,
            };
        }
        if self.is_crowded(&body.issuer, body.sequence) && !self.is_needed(&id, body.issuer) {
            return Received::Unwelcome;
        }
        let facts = Facts {
            network: &self.network,
            genesis: &self.config.genesis,
            committee: self.issuers.committee(),
            in_genesis: self.issuers.is_in_genesis(&body.issuer),
        };
        let (references, key_payload) = match check(&facts, &body) {
            Ok(checked) => checked,
            Err(reject) => {
                self.fault(now, peer, reject, out);
                return Received::Refused;
            }
        };
        let is_known = self.issuers.get(&body.issuer).is_some();
        let has_room = self.pending.has_room(peer, &id, bytes.len(), !is_known, fetched);
        if !has_room || !(is_known || self.issuers.has_room()) {
            return Received::NoRoom;
        }
        // Below the window only the store knows what is attached.
        let may_be_attached = !self.window.is_whole()
            && self.issuers.may_be_attached(&body.issuer, body.sequence)
            && !planted!(ForgetsBelowWindow);
        let own = Reference { issuer: body.issuer, sequence: body.sequence, id };
        let waiting = Waiting {
            envelope: Arc::from(bytes),
            peer,
            of_stranger: !is_known,
            fetched,
            body,
            references,
            key_payload,
            stage: if may_be_attached { Stage::Lookup } else { Stage::NoKey },
            since_us: now.monotonic_us,
            due_us: now.monotonic_us + limits::COMPLETION_TIMEOUT_US,
            loading: None,
            asked: Vec::new(),
            asked_at_number: 0,
            held: alloc::collections::BTreeMap::new(),
            absent: alloc::collections::BTreeSet::new(),
            copies: Vec::new(),
        };
        self.pending.insert(id, waiting);
        if may_be_attached {
            self.load(now, id, Vec::from([own]), out);
        } else {
            self.advance(now, id, out);
        }
        Received::New
    }

    /// Brings a waiting transaction as far as it goes, and then whatever waited for it.
    fn advance(&mut self, now: Now, id: Id, out: &mut Vec<Effect>) {
        let mut work = Vec::from([id]);
        while let Some(id) = work.pop() {
            let stage = self.pending.waiting.get(&id).map(|w| w.stage);
            let outcome = match stage {
                Some(Stage::NoKey) => self.find_key(now, id, out),
                Some(Stage::Verified(key)) => self.settle_all(now, id, key, out),
                _ => Ok(None),
            };
            match outcome {
                Ok(Some(ready)) => {
                    let attached = (ready.id, self.attach_foreign(now, ready, out));
                    work.extend(self.notify(attached.0, attached.1));
                }
                Ok(None) => {}
                Err(reject) => {
                    if self.reject(now, id, reject, out) {
                        work.push(id);
                    }
                }
            }
        }
    }

    /// Everything that waited for an attached transaction knows it now.
    pub(super) fn notify(&mut self, id: Id, stored: Stored) -> Vec<Id> {
        let Some(awaited) = self.pending.awaited.remove(&id) else { return Vec::new() };
        for waiter in &awaited.waiters {
            if let Some(waiting) = self.pending.waiting.get_mut(waiter) {
                waiting.held.insert(id, stored);
            }
        }
        awaited.waiters.into_iter().collect()
    }

    /// An own transaction was attached: whatever waited for it goes on.
    pub(super) fn advance_waiters(&mut self, now: Now, id: Id, stored: Stored, out: &mut Vec<Effect>) {
        for waiter in self.notify(id, stored) {
            self.advance(now, waiter, out);
        }
    }

    /// Says what was wrong. `true` when another copy of the same body takes its place: key number and scheme are no
    /// part of the id, so a copy with wrong ones must not take the genuine one down with it.
    fn reject(&mut self, now: Now, id: Id, reject: Reject, out: &mut Vec<Effect>) -> bool {
        let Some(peer) = self.pending.waiting.get(&id).map(|w| w.peer) else { return false };
        let is_of_envelope = matches!(reject, Reject::WrongKeyNumber { .. } | Reject::WrongScheme { .. });
        self.fault(now, peer, reject, out);
        if is_of_envelope {
            return self.pending.next_copy(&id);
        }
        self.pending.remove(&id);
        false
    }

    /// Finds the key that should have signed it and asks for the check.
    fn find_key(&mut self, now: Now, id: Id, out: &mut Vec<Effect>) -> Result<Option<Ready>, Reject> {
        let Some(waiting) = self.pending.waiting.get(&id) else { return Ok(None) };
        let envelope = Envelope::reopen(&waiting.envelope)?;
        let number = envelope.key_number;
        let chain = self.issuers.get(&waiting.body.issuer);
        let (place, key) = if waiting.body.sequence == 0 {
            if number != 0 {
                return Err(Reject::WrongKeyNumber { got: number, expected: 0 });
            }
            match &waiting.key_payload {
                KeyPayload::Enrol(new, _) => (None, new.key.clone()),
                _ => match chain.and_then(|c| c.keys.first()) {
                    Some(first) => (Some(0), first.key.clone()),
                    None => return Ok(None),
                },
            }
        } else if let (0, Some(first)) = (number, chain.and_then(|c| c.keys.first())) {
            // Key 0 is fixed by the issuer's id, whatever branch this is on.
            (Some(0), first.key.clone())
        } else {
            // A forker may bring two keys with one number: only `prev` says which of them is meant.
            return self.find_key_at_prev(now, id, number, out);
        };
        self.ask_to_verify(now, id, place, &key, out)?;
        Ok(None)
    }

    /// The key in force at `prev`, once that is held; until then it is wanted.
    fn find_key_at_prev(
        &mut self,
        now: Now,
        id: Id,
        number: u32,
        out: &mut Vec<Effect>,
    ) -> Result<Option<Ready>, Reject> {
        let Some(waiting) = self.pending.waiting.get(&id) else { return Ok(None) };
        let prev = waiting.references[0];
        match self.settle(waiting, &prev) {
            Settled::Held(stored) => {
                let key = self.key_at(&waiting.body, stored);
                let Some((expected, key)) = key else { return Ok(None) };
                if expected != number {
                    return Err(Reject::WrongKeyNumber { got: number, expected });
                }
                self.ask_to_verify(now, id, Some(stored.key), &key, out)?;
            }
            Settled::Unknown => self.load_unknown(now, id, out),
            Settled::Absent if planted!(WaitingIsWrong) => {
                return Err(Reject::NotEnrolled { issuer: prev.issuer, got: waiting.body.kind });
            }
            Settled::Absent => self.pending.wait_for(&prev, id),
            Settled::Genesis | Settled::Never => {}
        }
        Ok(None)
    }

    fn key_at(&self, body: &Body, prev: Stored) -> Option<(u32, Arc<PublicKey>)> {
        let key = self.issuers.get(&body.issuer)?.keys.get(usize::from(prev.key))?;
        Some((key.key_number, key.key.clone()))
    }

    fn ask_to_verify(
        &mut self,
        now: Now,
        id: Id,
        place: Option<u16>,
        key: &Arc<PublicKey>,
        out: &mut Vec<Effect>,
    ) -> Result<(), Reject> {
        let ticket = self.ticket();
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return Ok(()) };
        let envelope = Envelope::reopen(&waiting.envelope)?;
        if envelope.scheme != key.scheme {
            return Err(Reject::WrongScheme { got: envelope.scheme.tag(), expected: key.scheme.tag() });
        }
        let message = transaction_message(envelope.scheme, envelope.key_number, self.network.id(), id);
        let mut checks =
            Vec::from([SignatureCheck { key: key.clone(), message, signature: envelope.signature.to_vec() }]);
        if let KeyPayload::Enrol(_, credential) = &waiting.key_payload {
            checks.push(credential.clone());
        }
        waiting.stage = Stage::Verifying(ticket, place);
        waiting.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        self.pending.tickets.insert(ticket, id);
        out.push(Effect::Verify { ticket, checks });
        Ok(())
    }

    pub(super) fn verified(&mut self, now: Now, ticket: Ticket, valid: bool, out: &mut Vec<Effect>) {
        let Some(id) = self.pending.tickets.remove(&ticket) else { return };
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return };
        let Stage::Verifying(_, place) = waiting.stage else { return };
        if valid || (planted!(CopyVouches) && !waiting.copies.is_empty()) {
            waiting.stage = Stage::Verified(place);
            // What the store said earlier may be out of date by now.
            waiting.absent.clear();
            let (from, issuer, sequence) = (waiting.peer, waiting.body.issuer, waiting.body.sequence);
            self.note_given_back(from, issuer, sequence);
            self.advance(now, id, out);
            return self.note_lost_late(now.monotonic_us, id);
        }
        let (peer, envelope) = (waiting.peer, envelope_hash(&waiting.envelope));
        self.pending.refuse(envelope);
        self.fault(now, peer, Reject::BadSignature { id }, out);
        // The id counts as never seen: another copy may be the genuine one.
        if self.pending.next_copy(&id) {
            self.advance(now, id, out);
        }
    }
}

fn envelope_hash(bytes: &[u8]) -> Hash {
    if planted!(RefusesBody) {
        let body = Envelope::open(bytes).map_or(bytes, |(envelope, _)| envelope.body);
        return Hash(derive(context::ENVELOPE, body));
    }
    Hash(derive(context::ENVELOPE, bytes))
}
