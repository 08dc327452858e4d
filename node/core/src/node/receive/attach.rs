//! Into window and chains: the last step of every transaction, others' and own.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, NewKey, Now, PeerId, Write};
use crate::hash::Id;
use crate::payload::{Batch, PayloadKind};
use crate::record::{GENESIS_NUMBER, Record, Stored, flag};
use crate::transaction::{Body, Reference};

use super::Node;
use crate::node::issue::{Durable, Returned};

/// What is to be attached, with everything about it settled.
pub(in crate::node) struct Ready {
    pub(in crate::node) id: Id,
    pub(in crate::node) envelope: Arc<[u8]>,
    pub(in crate::node) body: Body,
    /// What it refers to, `prev` first; `None`: the genesis.
    pub(in crate::node) settled: Vec<Option<Stored>>,
    /// The key that signed it: place in the issuer's list; `None`: the one it brings.
    pub(in crate::node) key: Option<u16>,
    pub(in crate::node) brings: Option<NewKey>,
    /// Who sent it, and was it fetched? Of no meaning for an own one.
    pub(in crate::node) from: PeerId,
    pub(in crate::node) fetched: bool,
    /// When it came, microseconds.
    pub(in crate::node) came_us: u64,
}

impl Node {
    pub(super) fn attach_foreign(&mut self, now: Now, ready: Ready, out: &mut Vec<Effect>) -> Stored {
        let (from, fetched, envelope) = (ready.from, ready.fetched, ready.envelope.clone());
        let reference = Reference { issuer: ready.body.issuer, sequence: ready.body.sequence, id: ready.id };
        let mut said = Vec::new();
        let is_own = reference.issuer == self.config.issuer;
        let batch = if is_own {
            let head = self.issuers.get(&reference.issuer).and_then(|c| c.heads.first());
            let extends = head.map_or(reference.sequence == 0, |h| h.id == ready.body.prev);
            self.adopt(now, &ready, extends, &mut said)
        } else {
            None
        };
        let (stored, write, mut events) = self.attach(now, ready, batch, None);
        events.append(&mut said);
        self.unsynced.insert(stored.number, envelope.clone());
        let ticket = self.persist_attached(stored.number, write, self.config.foreign_within_us, events, out);
        if is_own {
            let extends = stored.flags & flag::SECOND_BRANCH == 0;
            let returned = Some(Returned { from, fetched, extends });
            self.own.note_foreign(ticket, Durable { reference, envelope: envelope.clone(), returned });
        }
        if let Some(peer) = self.gossip.get_mut(from) {
            peer.counts.attached += 1;
        }
        self.gossip.changed(now.monotonic_us);
        self.plan_telling(now.monotonic_us, &reference);
        if !is_own {
            self.spread(now.monotonic_us, reference, &envelope, (from, fetched), out);
        }
        self.plan_approval(now);
        stored
    }

    /// Puts a transaction into window and chains. What to write, and what to say once it is durable.
    pub(in crate::node) fn attach(
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
}
