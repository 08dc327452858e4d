//! What becomes of each effect, and what must be true of it at the moment at which it comes out.

use std::sync::Arc;

use selvedge_core::batch::ClosedBatch;
use selvedge_core::border::{Effect, Event as CoreEvent, Input, SignatureCheck, Ticket, Write};
use selvedge_core::hash::{context, derive};
use selvedge_core::journal::JournalRecord;
use selvedge_core::reading::FLAG_UNSYNCHRONISED;
use selvedge_core::seal::{SealedBatch, encode_columns};
use selvedge_core::transaction::Envelope;
use selvedge_core::wire::{Announce, Message, Want};
use selvedge_core::{Hash, Id, codec, limits};

use super::{Checked, Event, Peer, World};
use crate::plan::Plant;

impl World {
    pub(super) fn do_effect(&mut self, at: usize, effect: Effect) -> Checked {
        let start = self.gateways[at].start;
        match effect {
            Effect::Persist { ticket, writes, within_us } => self.persist(at, ticket, writes, within_us)?,
            Effect::Load { ticket, references } => {
                if references.is_empty() || references.len() > limits::REFERENCES_PER_ASK_MAX {
                    return Err(format!("it loads {} references at once", references.len()));
                }
                let after_us = self.work_us();
                self.at(after_us, Event::Load { at, start, ticket, references });
            }
            Effect::LoadBatch { ticket, batch } => {
                let after_us = self.work_us();
                self.at(after_us, Event::LoadBatch { at, start, ticket, batch });
            }
            Effect::Seal { ticket, batch } => {
                let after_us = self.work_us();
                self.at(after_us, Event::Seal { at, start, ticket, batch });
            }
            Effect::Verify { ticket, checks } => {
                let believes = self.plan.plant == Plant::BelieveAll;
                let holds = |c: &SignatureCheck| self.keyring.verify(&c.key, &c.message, &c.signature);
                let valid = believes || checks.iter().all(holds);
                self.answer(at, start, ticket, Input::Verified { ticket, valid });
            }
            Effect::Sign { ticket, key_number, message } => {
                if key_number != 0 {
                    return Err(format!("it signs with key {key_number}, which it does not have"));
                }
                let (key, nonce) = (self.gateways[at].key.clone(), self.dice.bits());
                let signature = self.keyring.sign(&key, &message, nonce);
                self.answer_signing(at, start, ticket, Input::Signed { ticket, signature });
            }
            Effect::Send { peer, lane, frame } => {
                self.must_be_sound(at, &frame)?;
                self.send(at, peer, lane, &frame);
            }
            Effect::Serve { ticket, peer, what } => {
                let after_us = self.work_us();
                self.at(after_us, Event::Serve { at, start, ticket, peer, what });
            }
            Effect::Disconnect { peer, why, back_off_us } => self.disconnect(at, peer, &why, back_off_us)?,
            Effect::Drop { peer, reject } => {
                if self.peers_ever.get(&peer) != Some(&Peer::Hostile) {
                    return Err(format!("it blames an honest peer: {reject}"));
                }
            }
            Effect::Reply { reply, outcome } => {
                let gateway = &mut self.gateways[at];
                gateway.oracle.told(reply, &outcome, &gateway.store, gateway.config.issuer)?;
            }
            Effect::Emit(event) => self.emitted(at, &event)?,
        }
        Ok(())
    }

    fn emitted(&mut self, at: usize, event: &CoreEvent) -> Checked {
        let store = &self.gateways[at].store;
        match event {
            CoreEvent::Attached { reference, number, .. } => {
                let held = store.transaction(&reference.id).filter(|held| held.durable);
                let held = held.ok_or("it says attached before it is durable")?;
                let is_right = held.record.number == *number
                    && held.record.issuer == reference.issuer
                    && held.record.sequence == reference.sequence;
                is_right.then_some(()).ok_or_else(|| "it says attached of another one".into())
            }
            CoreEvent::Batched { id, .. } if !store.is_durable(id) => {
                Err("it says batched before it is durable".into())
            }
            CoreEvent::Forked { issuer, sequence } => {
                let place = (*issuer, *sequence);
                let there = store.log().filter(|h| (h.record.issuer, h.record.sequence) == place);
                if there.count() < 2 {
                    return Err(format!("it says forked at sequence {sequence} without two durable ones"));
                }
                let is_hostile = self.hostile.as_ref().is_some_and(|h| h.is_own(issuer));
                is_hostile.then_some(()).ok_or_else(|| "an honest issuer forked".into())
            }
            CoreEvent::Halted { why } => {
                if !self.gateways[at].may_halt {
                    return Err(format!("it halted while store and key work: {why}"));
                }
                // The shell stops; the rest is as after a crash.
                self.gateways[at].crash_after = Some(1);
                Ok(())
            }
            CoreEvent::Twins { issuer } => {
                let is_hostile = self.hostile.as_ref().is_some_and(|h| h.is_own(issuer));
                is_hostile
                    .then_some(())
                    .ok_or_else(|| "it takes two starts of one gateway for two machines".into())
            }
            CoreEvent::AnotherMachine { seen } => {
                Err(format!("it takes {seen:?} of its own for another machine's"))
            }
            CoreEvent::SaidToBeTwo { .. } => Err("it is told that another machine uses its key".into()),
            CoreEvent::Settled { adopted, .. } if self.gateways[at].is_restored => {
                self.figures.adopted += adopted;
                Ok(())
            }
            CoreEvent::Settled { adopted, .. } if *adopted > 0 => {
                Err(format!("it adopts {adopted} own transactions and lost none"))
            }
            CoreEvent::Enrolled { issuer, key } if key.issuer() != *issuer => {
                Err("it says enrolled with another's key".into())
            }
            CoreEvent::Batched { .. }
            | CoreEvent::Retrying { .. }
            | CoreEvent::Settled { .. }
            | CoreEvent::Enrolled { .. }
            | CoreEvent::Silent => Ok(()),
        }
    }

    /// What leaves decodes and fits; a transaction in it was attached, and an own one is durable.
    fn must_be_sound(&self, at: usize, frame: &[u8]) -> Checked {
        let gateway = &self.gateways[at];
        let message = Message::open(frame).map_err(|why| format!("it sends nonsense: {why}"))?;
        if let Message::Want(Want { references, .. }) | Message::Announce(Announce { references }) = &message
            && references.is_empty()
        {
            return Err("it names no reference at all".into());
        }
        let envelopes = match message {
            Message::Transaction(envelope) => vec![envelope],
            Message::Transactions(list) => list,
            _ => return Ok(()),
        };
        for envelope in envelopes {
            let (envelope, body) =
                Envelope::open(envelope).map_err(|why| format!("it sends nonsense: {why}"))?;
            let id = self.network.transaction_id(envelope.body);
            // One that came back from peers may go on at once: they hold it.
            let is_held = self.gateways.iter().any(|g| g.store.is_durable(&id));
            let is_safe = gateway.store.is_durable(&id) || gateway.is_restored && is_held;
            if body.issuer == gateway.config.issuer && !is_safe {
                return Err(format!("it sends {} before it is durable", id.short()));
            }
            if gateway.store.transaction(&id).is_none() {
                return Err(format!("it sends {}, which it has not attached", id.short()));
            }
        }
        Ok(())
    }

    fn persist(&mut self, at: usize, ticket: Ticket, writes: Vec<Write>, within_us: u64) -> Checked {
        for write in &writes {
            match write {
                Write::Transaction { record, envelope, .. } => self.must_be_genuine(&record.id, envelope)?,
                Write::Journal { record, .. } => self.check_stamp(at, record)?,
                Write::Descriptor { .. } => {}
            }
        }
        let fails = self.dice.chance(self.faults.sync_failed_permille) && !self.gateways[at].is_restored;
        let after_us = self.dice.below(within_us + 1) + self.dice.below(self.faults.sync_max_us);
        let gateway = &mut self.gateways[at];
        let start = gateway.start;
        gateway.store.accept(ticket, writes)?;
        if self.plan.plant == Plant::AcknowledgeEarly {
            let input = Input::Persisted { ticket };
            self.at(after_us / 2, Event::Input { to: at, start, input });
        }
        self.at(after_us, Event::Sync { at, start, ticket, fails });
        Ok(())
    }

    /// Signed by the owner of the key, its id that of its body, and nothing that may never be attached.
    fn must_be_genuine(&self, id: &Id, envelope: &[u8]) -> Checked {
        let envelope: Envelope<'_> = codec::decode(envelope).map_err(|why| why.to_string())?;
        if self.network.transaction_id(envelope.body) != *id {
            return Err(format!("{} is attached under another id", id.short()));
        }
        if !self.keyring.is_genuine(id, envelope.signature) {
            return Err(format!("{} is attached and its signature does not hold", id.short()));
        }
        let may_attach = self.hostile.as_ref().is_none_or(|h| h.may_attach(id));
        may_attach.then_some(()).ok_or_else(|| format!("{} is attached and must never be", id.short()))
    }

    /// While the clock is not synchronised no stamp falls below the one before.
    fn check_stamp(&mut self, at: usize, record: &[u8]) -> Checked {
        let record: JournalRecord = codec::decode(record).map_err(|why| why.to_string())?;
        let gateway = &mut self.gateways[at];
        let unsynchronised = record.blocks().iter().any(|b| b[3] & FLAG_UNSYNCHRONISED != 0);
        if unsynchronised == gateway.clock.synchronised {
            return Err("its readings do not say whether the clock is synchronised".into());
        }
        if unsynchronised && record.taken_at_ns < gateway.last_stamp_ns {
            let back_ns = gateway.last_stamp_ns - record.taken_at_ns;
            return Err(format!("an unsynchronised stamp falls {back_ns} ns below the last one"));
        }
        gateway.last_stamp_ns = record.taken_at_ns;
        Ok(())
    }

    pub(super) fn sync(&mut self, at: usize, start: u64, ticket: Ticket, fails: bool) -> Checked {
        let late_us = self.dice.below(5_000);
        let gateway = &mut self.gateways[at];
        if gateway.start != start || gateway.store.broken {
            return Ok(());
        }
        if fails {
            (gateway.store.broken, gateway.may_halt) = (true, true);
            let why = "simulated: the card gave an error".to_owned();
            return self.step(at, Input::Failed { ticket, why });
        }
        gateway.store.sync(ticket)?;
        if self.plan.plant != Plant::AcknowledgeEarly {
            self.at(late_us, Event::Input { to: at, start, input: Input::Persisted { ticket } });
        }
        Ok(())
    }

    pub(super) fn seal(&mut self, at: usize, start: u64, ticket: Ticket, batch: &Arc<ClosedBatch>) {
        let sealed = SealedBatch::new(batch);
        let columns = encode_columns(&sealed);
        let segment = Hash(derive(context::SEGMENT, &columns));
        let input =
            Input::Sealed { ticket, root: sealed.root(), segment, segment_bytes: columns.len() as u64 };
        if self.gateways[at].start == start {
            self.gateways[at].store.write_segment(segment, columns);
            self.answer(at, start, ticket, input);
        }
    }

    fn work_us(&mut self) -> u64 {
        self.dice.between(1, self.faults.work_max_us)
    }

    /// The answer to slow work: in its time, too late, never, or a failure.
    pub(super) fn answer(&mut self, to: usize, start: u64, ticket: Ticket, input: Input) {
        let failed = self.dice.chance(self.faults.work_failed_permille);
        let input = if failed {
            Input::Failed { ticket, why: "simulated: it did not work".to_owned() }
        } else {
            input
        };
        self.bring(to, start, input);
    }

    /// A key that fails stops the node, as a store does.
    fn answer_signing(&mut self, to: usize, start: u64, ticket: Ticket, input: Input) {
        let failed = self.dice.chance(self.faults.sync_failed_permille) && !self.gateways[to].is_restored;
        let input = if failed {
            Input::Failed { ticket, why: "simulated: the key gave no signature".to_owned() }
        } else {
            input
        };
        self.gateways[to].may_halt |= failed;
        self.bring(to, start, input);
    }

    fn bring(&mut self, to: usize, start: u64, input: Input) {
        let mut after_us = self.work_us();
        if self.dice.chance(self.faults.work_lost_permille) {
            return;
        }
        if self.dice.chance(self.faults.work_late_permille) {
            after_us += limits::COMPLETION_TIMEOUT_US + self.dice.below(10_000_000);
        }
        self.at(after_us, Event::Input { to, start, input });
    }
}
