//! What a waiting transaction refers to: attached, to be asked of the store, or wanted from peers.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, NewKey, Now, Ticket};
use crate::check::KeyPayload;
use crate::gossip::Walked;
use crate::hash::Id;
use crate::limits;
use crate::pending::{Stage, Waiting};
use crate::record::Stored;
use crate::reject::Reject;
use crate::transaction::{Body, Envelope, Reference};

use super::Node;
use super::attach::Ready;

/// What became of a reference.
pub(super) enum Settled {
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

impl Node {
    pub(super) fn load(&mut self, now: Now, id: Id, references: Vec<Reference>, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return };
        waiting.loading = Some(ticket);
        waiting.asked.clone_from(&references);
        waiting.asked_at_number = self.window.next_number();
        waiting.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        self.pending.tickets.insert(ticket, id);
        out.push(Effect::Load { ticket, references });
    }

    pub(in crate::node) fn loaded(
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

    /// Of this one and what stands before it on its chain: the first, downwards, that is neither attached nor waiting here.
    /// `None`: all of them are, or only the store can say. `walked` is what was found before in the same state: a peer may name
    /// thousands of heads over one long chain.
    pub(in crate::node) fn missing_below(&self, head: Reference, walked: &mut Walked) -> Option<Reference> {
        let (mut at, mut passed) = (head, Vec::new());
        // A waiting one names the one before it by its id, so this ends.
        let missing = loop {
            // A name under which something else waits is nobody's.
            let waiting = self.pending.waiting.get(&at.id);
            let named = |w: &&Waiting| w.body.issuer == at.issuer && w.body.sequence == at.sequence;
            walked.looked_at += 1;
            let Some(waiting) = waiting.filter(named) else { break Some(at) };
            if let Some(found) = walked.found.get(&at.id) {
                break *found;
            }
            passed.push(at.id);
            let prev = waiting.references[0];
            if !matches!(self.settle(waiting, &prev), Settled::Absent) {
                break None;
            }
            at = prev;
        };
        walked.found.extend(passed.into_iter().map(|id| (id, missing)));
        missing
    }

    pub(super) fn settle(&self, waiting: &Waiting, reference: &Reference) -> Settled {
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
    pub(super) fn settle_all(
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
        let (from, fetched, came_us) = (waiting.peer, waiting.fetched, waiting.since_us);
        let brings = match waiting.key_payload {
            KeyPayload::None => None,
            KeyPayload::Enrol(new, _) => Some(new),
            KeyPayload::Rotate(rotate) => {
                let in_force = key.and_then(|place| chain_key_number(self, &waiting.body, place));
                in_force.map(|n| NewKey { key_number: n + 1, key: Arc::new(rotate.key) })
            }
        };
        let (envelope, body) = (waiting.envelope, waiting.body);
        Ok(Some(Ready { id, envelope, body, settled, key, brings, from, fetched, came_us }))
    }

    pub(super) fn load_unknown(&mut self, now: Now, id: Id, out: &mut Vec<Effect>) {
        let Some(waiting) = self.pending.waiting.get(&id) else { return };
        if waiting.loading.is_some() {
            return;
        }
        let references = asked_of(&self.window, &self.issuers, waiting);
        self.load(now, id, references, out);
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
