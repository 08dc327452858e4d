//! Others' transactions, from bytes to attached: decode, check, key, signature, references.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, NewKey, Now, PeerId, SignatureCheck, Ticket, Write};
use crate::check::{Facts, KeyPayload, check};
use crate::codec;
use crate::genesis::PublicKey;
use crate::hash::{Hash, Id, Issuer, context, derive};
use crate::limits;
use crate::payload::{Batch, PayloadKind};
use crate::pending::{Stage, Waiting};
use crate::record::{GENESIS_NUMBER, Record, Stored, flag};
use crate::reject::Reject;
use crate::scheme::transaction_message;
use crate::transaction::{Body, Envelope, Reference};

use super::Node;

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

/// What became of a reference.
enum Settled {
    /// It is the genesis.
    Genesis,
    /// It is attached.
    Held(Stored),
    /// Something else is attached under that id: it can never be settled by attaching.
    Never,
    /// The store has to say.
    Unknown,
    /// Nobody here holds it.
    Absent,
}

/// What is to be attached, with everything about it settled.
pub(super) struct Ready {
    pub(super) id: Id,
    pub(super) envelope: Arc<[u8]>,
    pub(super) body: Body,
    /// What it refers to, `prev` first; `None`: the genesis.
    pub(super) settled: Vec<Option<Stored>>,
    /// The key that signed it: place in the issuer's list; `None`: the one it brings.
    pub(super) key: Option<u16>,
    pub(super) brings: Option<NewKey>,
    /// Who sent it, and was it fetched? Of no meaning for an own one.
    pub(super) from: PeerId,
    pub(super) fetched: bool,
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

    fn load(&mut self, now: Now, id: Id, references: Vec<Reference>, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return };
        waiting.loading = Some(ticket);
        waiting.asked.clone_from(&references);
        waiting.asked_at_number = self.window.next_number();
        waiting.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        self.pending.tickets.insert(ticket, id);
        out.push(Effect::Load { ticket, references });
    }

    pub(super) fn loaded(
        &mut self,
        now: Now,
        ticket: Ticket,
        found: &[Option<Stored>],
        out: &mut Vec<Effect>,
    ) {
        let Some(id) = self.pending.tickets.remove(&ticket) else {
            return self.heads_checked(now, ticket, found, out);
        };
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return };
        waiting.loading = None;
        if waiting.stage == Stage::Lookup {
            if let Some(Some(stored)) = found.first() {
                self.pending.remove(&id);
                // Somebody may wait for it who was told that nobody holds it.
                return self.advance_waiters(now, id, *stored, out);
            }
            waiting.stage = Stage::NoKey;
        } else {
            // What was attached since, an answer of "nothing" may have missed: it may have left the window already, or leave
            // it before this one has all that it waits for.
            let is_current = self.window.base() <= waiting.asked_at_number;
            for (reference, stored) in waiting.asked.iter().zip(found) {
                match stored.or_else(|| self.window.stored(&reference.id)).as_ref() {
                    Some(stored) => drop(waiting.held.insert(reference.id, *stored)),
                    None if is_current || planted!(StaleAnswer) => drop(waiting.absent.insert(reference.id)),
                    None => {}
                }
            }
        }
        self.advance(now, id, out);
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
            return self.advance(now, id, out);
        }
        let (peer, envelope) = (waiting.peer, envelope_hash(&waiting.envelope));
        self.pending.refuse(envelope);
        self.fault(now, peer, Reject::BadSignature { id }, out);
        // The id counts as never seen: another copy may be the genuine one.
        if self.pending.next_copy(&id) {
            self.advance(now, id, out);
        }
    }

    fn settle(&self, waiting: &Waiting, reference: &Reference) -> Settled {
        if reference.is_genesis() {
            return Settled::Genesis;
        }
        let stored = self.window.stored(&reference.id).or_else(|| waiting.held.get(&reference.id).copied());
        match stored {
            Some(s) if planted!(BelievesPlaces) => Settled::Held(s),
            Some(s) if s.issuer == reference.issuer && s.sequence == reference.sequence => Settled::Held(s),
            Some(_) => Settled::Never,
            None if needs_load(&self.window, &self.issuers, waiting, reference) => Settled::Unknown,
            None => Settled::Absent,
        }
    }

    /// Settles all references; what is missing is loaded or wanted.
    fn settle_all(
        &mut self,
        now: Now,
        id: Id,
        key: Option<u16>,
        out: &mut Vec<Effect>,
    ) -> Result<Option<Ready>, Reject> {
        let Some(waiting) = self.pending.waiting.get(&id) else { return Ok(None) };
        if waiting.body.witness.as_ref().is_some_and(|w| w.epoch > 0) {
            // An epoch not known yet.
            return Ok(None);
        }
        let mut settled = Vec::with_capacity(waiting.references.len());
        let (mut absent, mut unknown, mut never) = (Vec::new(), false, false);
        for reference in &waiting.references {
            match self.settle(waiting, reference) {
                Settled::Genesis => settled.push(None),
                Settled::Held(stored) => settled.push(Some(stored)),
                Settled::Never => never = true,
                Settled::Unknown => unknown = true,
                Settled::Absent if planted!(AttachesWithoutPast) => settled.push(None),
                Settled::Absent => absent.push(*reference),
            }
        }
        if unknown {
            self.load_unknown(now, id, out);
        }
        for reference in &absent {
            self.pending.wait_for(reference, id);
        }
        if unknown || never || !absent.is_empty() {
            return Ok(None);
        }
        self.check_key_in_force(now, id, key, settled, out)
    }

    /// The key that signed it must be the one in force at `prev`, which is held by now.
    fn check_key_in_force(
        &mut self,
        now: Now,
        id: Id,
        key: Option<u16>,
        settled: Vec<Option<Stored>>,
        out: &mut Vec<Effect>,
    ) -> Result<Option<Ready>, Reject> {
        let Some(waiting) = self.pending.waiting.get(&id) else { return Ok(None) };
        if let (Some(prev), Some(used)) = (settled[0], key)
            && prev.key != used
            && !planted!(OldKeyHolds)
        {
            let envelope = Envelope::reopen(&waiting.envelope)?;
            let number = envelope.key_number;
            let Some((expected, in_force)) = self.key_at(&waiting.body, prev) else { return Ok(None) };
            if expected != number {
                return Err(Reject::WrongKeyNumber { got: number, expected });
            }
            // A forker brought two keys with this number: check with that of this branch.
            self.ask_to_verify(now, id, Some(prev.key), &in_force, out)?;
            return Ok(None);
        }
        let chain = self.issuers.get(&waiting.body.issuer);
        let brings_key = !matches!(waiting.key_payload, KeyPayload::None);
        if brings_key && chain.is_some_and(|c| c.keys.len() >= limits::KEYS_PER_ISSUER_MAX) {
            return Ok(None);
        }
        let (issuer, sequence) = (waiting.body.issuer, waiting.body.sequence);
        if self.is_crowded(&issuer, sequence) && !self.is_needed(&id, issuer) {
            // Two others of its place were attached while its signature was being checked.
            self.pending.remove(&id);
            return Ok(None);
        }
        let Some(waiting) = self.pending.remove(&id) else { return Ok(None) };
        let (from, fetched) = (waiting.peer, waiting.fetched);
        let brings = match waiting.key_payload {
            KeyPayload::None => None,
            KeyPayload::Enrol(new, _) => Some(new),
            KeyPayload::Rotate(rotate) => {
                let in_force = key.and_then(|place| chain_key_number(self, &waiting.body, place));
                in_force.map(|n| NewKey { key_number: n + 1, key: Arc::new(rotate.key) })
            }
        };
        let (envelope, body) = (waiting.envelope, waiting.body);
        Ok(Some(Ready { id, envelope, body, settled, key, brings, from, fetched }))
    }

    fn load_unknown(&mut self, now: Now, id: Id, out: &mut Vec<Effect>) {
        let Some(waiting) = self.pending.waiting.get(&id) else { return };
        if waiting.loading.is_some() {
            return;
        }
        let references = asked_of(&self.window, &self.issuers, waiting);
        self.load(now, id, references, out);
    }

    fn attach_foreign(&mut self, now: Now, ready: Ready, out: &mut Vec<Effect>) -> Stored {
        let (from, fetched, envelope) = (ready.from, ready.fetched, ready.envelope.clone());
        let reference = Reference { issuer: ready.body.issuer, sequence: ready.body.sequence, id: ready.id };
        let mut said = Vec::new();
        let is_own = reference.issuer == self.config.issuer;
        let batch = if is_own {
            let head = self.issuers.get(&reference.issuer).and_then(|c| c.heads.first());
            let extends = head.map_or(reference.sequence == 0, |h| h.id == ready.body.prev);
            self.adopt(now, &ready.body, ready.id, extends, &mut said)
        } else {
            None
        };
        let (stored, write, mut events) = self.attach(now, ready, batch, None);
        events.append(&mut said);
        self.unsynced.insert(stored.number, envelope.clone());
        let ticket = self.persist_attached(stored.number, write, self.config.foreign_within_us, events, out);
        if is_own && stored.flags & flag::SECOND_BRANCH == 0 {
            self.own.note_foreign(ticket, reference);
        }
        if let Some(peer) = self.gossip.get_mut(from) {
            peer.counts.attached += 1;
        }
        self.gossip.changed(now.monotonic_us);
        self.plan_telling(now.monotonic_us, &reference);
        if !fetched {
            self.spread(now.monotonic_us, reference, &envelope, from, out);
        }
        self.plan_approval(now);
        stored
    }

    /// Puts a transaction into window and chains. What to write, and what to say once it is durable.
    pub(super) fn attach(
        &mut self,
        now: Now,
        ready: Ready,
        batch: Option<Arc<Batch>>,
        journal: Option<u64>,
    ) -> (Stored, Write, Vec<Effect>) {
        let record = self.record_of(&ready);
        let stored = Stored::from(&record);
        let own = record.issuer == self.config.issuer;
        let reference = Reference { issuer: record.issuer, sequence: record.sequence, id: record.id };
        let mut events = Vec::from([Effect::Emit(Event::Attached {
            number: record.number,
            reference,
            kind: record.kind,
            own,
        })]);
        if let (true, Some(brought)) = (record.kind == PayloadKind::Enrol as u16, &ready.brings) {
            let (issuer, key) = (record.issuer, brought.key.clone());
            events.push(Effect::Emit(Event::Enrolled { issuer, key }));
        }
        if self.issuers.attach(&record, ready.body.prev, ready.brings.clone()) {
            events.push(Effect::Emit(Event::Forked { issuer: record.issuer, sequence: record.sequence }));
        }
        if own && ready.brings.is_some() {
            self.own_keys.look(self.issuers.get(&record.issuer));
        }
        let bit = self.issuers.member_bit(&record.issuer);
        self.window.attach(record.clone(), now.monotonic_us, bit, own);
        let write =
            Write::Transaction { record, envelope: ready.envelope, key: ready.brings, batch, journal };
        (stored, write, events)
    }

    fn record_of(&self, ready: &Ready) -> Record {
        let body = &ready.body;
        let numbers: Vec<u64> =
            ready.settled.iter().map(|s| s.map_or(GENESIS_NUMBER, |s| s.number)).collect();
        let prev_is_second = ready.settled[0].is_some_and(|s| s.flags & flag::SECOND_BRANCH != 0);
        let mut flags = 0;
        if body.has_payload() || planted!(NotesForNotes) {
            flags |= flag::PAYLOAD;
        }
        if body.witness.is_some() {
            flags |= flag::WITNESS;
        }
        if self.issuers.is_second_branch(&body.issuer, body.sequence, prev_is_second) {
            flags |= flag::SECOND_BRANCH;
        }
        let keys = self.issuers.get(&body.issuer).map_or(0, |c| c.keys.len()) as u16;
        Record {
            number: self.window.next_number(),
            id: ready.id,
            issuer: body.issuer,
            sequence: body.sequence,
            key: if ready.brings.is_some() { keys } else { ready.key.unwrap_or(0) },
            flags,
            kind: body.kind,
            prev: numbers[0],
            approves: [numbers[1], numbers[2]],
            further: numbers[3..].into(),
        }
    }

    /// Drops what waited too long, and asks again for work that was never answered.
    pub(super) fn sweep_pending(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.pending.ask_due = true;
        let expired = |since: u64, after: u64| now.monotonic_us >= since.saturating_add(after);
        let old =
            self.pending.waiting.iter().filter(|(_, w)| expired(w.since_us, limits::PENDING_TIMEOUT_US));
        let old: Vec<Id> = old.map(|(id, _)| *id).collect();
        for id in &old {
            if let Some(gone) = self.pending.remove(id) {
                // What it refers to never came: it was of no use.
                self.wasted(now, gone.peer, gone.envelope.len(), out);
            }
        }
        let stuck = |w: &Waiting| {
            let is_working = w.loading.is_some() || matches!(w.stage, Stage::Verifying(..) | Stage::Lookup);
            is_working && now.monotonic_us >= w.due_us
        };
        let stuck: Vec<Id> =
            self.pending.waiting.iter().filter(|(_, w)| stuck(w)).map(|(id, _)| *id).collect();
        for id in stuck {
            self.ask_again(now, id, out);
        }
        if core::mem::take(&mut self.pending.overflowed) {
            let all: Vec<Id> = self.pending.waiting.keys().copied().collect();
            for id in all {
                self.advance(now, id, out);
            }
        }
    }

    fn ask_again(&mut self, now: Now, id: Id, out: &mut Vec<Effect>) {
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return };
        let mut stale = waiting.loading.take();
        if let Stage::Verifying(ticket, _) = waiting.stage {
            stale = stale.or(Some(ticket));
            waiting.stage = Stage::NoKey;
        }
        let lookup = (waiting.stage == Stage::Lookup).then_some(Reference {
            issuer: waiting.body.issuer,
            sequence: waiting.body.sequence,
            id,
        });
        if let Some(ticket) = stale {
            self.pending.tickets.remove(&ticket);
        }
        match lookup {
            Some(own) => self.load(now, id, Vec::from([own]), out),
            None => self.advance(now, id, out),
        }
    }

    /// A load or a check failed: the sweep asks again soon.
    pub(super) fn retry_pending(&mut self, now: Now, ticket: Ticket) -> Option<&'static str> {
        let id = self.pending.tickets.get(&ticket)?;
        let waiting = self.pending.waiting.get_mut(id)?;
        waiting.due_us = now.monotonic_us + limits::RETRY_US;
        Some(if matches!(waiting.stage, Stage::Verifying(..)) {
            "checking a signature"
        } else {
            "loading from the store"
        })
    }
}

/// References of this one that only the store can answer.
fn asked_of(
    window: &crate::window::Window,
    issuers: &crate::issuers::Issuers,
    waiting: &Waiting,
) -> Vec<Reference> {
    let mut asked: Vec<Reference> =
        waiting.references.iter().filter(|r| needs_load(window, issuers, waiting, r)).copied().collect();
    asked.dedup();
    asked.truncate(limits::REFERENCES_PER_ASK_MAX);
    asked
}

fn needs_load(
    window: &crate::window::Window,
    issuers: &crate::issuers::Issuers,
    waiting: &Waiting,
    reference: &Reference,
) -> bool {
    !reference.is_genesis()
        && window.by_id(&reference.id).is_none()
        && !waiting.held.contains_key(&reference.id)
        && !waiting.absent.contains(&reference.id)
        && !window.is_whole()
        && issuers.may_be_attached(&reference.issuer, reference.sequence)
}

fn chain_key_number(node: &Node, body: &Body, place: u16) -> Option<u32> {
    node.issuers.get(&body.issuer)?.keys.get(usize::from(place)).map(|k| k.key_number)
}

fn envelope_hash(bytes: &[u8]) -> Hash {
    if planted!(RefusesBody) {
        let body = Envelope::open(bytes).map_or(bytes, |(envelope, _)| envelope.body);
        return Hash(derive(context::ENVELOPE, body));
    }
    Hash(derive(context::ENVELOPE, bytes))
}
