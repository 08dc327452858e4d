//! What becomes of each effect, and what must be true of it at the moment at which it comes out.

use std::sync::Arc;

use selvedge_core::batch::ClosedBatch;
use selvedge_core::border::{Effect, Event as CoreEvent, Input, PeerId, SignatureCheck, Ticket, Write};
use selvedge_core::hash::{context, derive};
use selvedge_core::journal::JournalRecord;
use selvedge_core::record::Record;
use selvedge_core::seal::{SealedBatch, encode_columns};
use selvedge_core::transaction::Envelope;
use selvedge_core::wire::{Announce, Message, Want};
use selvedge_core::{Hash, Id, Issuer, codec, limits};

use super::{Checked, Event, Peer, World};
use crate::invariants::{self, Invariant};
use crate::plan::Plant;
use crate::tally::Happened;

/// The last power cut of a gateway comes within this many microseconds after something that it attached.
const LAST_CUT_WITHIN_US: u64 = 500_000;
/// What a disk without room says.
const NO_ROOM: &str = "simulated: no space left on device";

impl World {
    pub(super) fn do_effect(&mut self, at: usize, effect: Effect) -> Checked {
        let start = self.gateways[at].start;
        match effect {
            Effect::Persist { ticket, writes, within_us } => self.persist(at, ticket, writes, within_us)?,
            Effect::Load { ticket, references } => {
                invariants::limits::asks(references.len())?;
                let after_us = self.work_us() + self.load_us();
                self.at(after_us, Event::Load { at, start, ticket, references });
            }
            Effect::LoadBatch { ticket, batch } => {
                let after_us = self.work_us() + self.load_us();
                self.at(after_us, Event::LoadBatch { at, start, ticket, batch });
            }
            Effect::Seal { ticket, batch } => {
                invariants::limits::sealed(&batch, &self.plan.batch)?;
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
                    return Err(format!("it signs with key {key_number}, which it does not have").into());
                }
                let (key, nonce) = (self.gateways[at].key.clone(), self.dice.bits());
                let signature = self.keyring.sign(&key, &message, nonce);
                self.answer_signing(at, start, ticket, Input::Signed { ticket, signature });
            }
            Effect::Send { peer, lane, frame } => {
                self.must_be_sound(at, peer, &frame)?;
                self.send(at, peer, lane, &frame);
            }
            Effect::Serve { ticket, peer, what } => {
                let after_us = self.work_us();
                self.at(after_us, Event::Serve { at, start, ticket, peer, what });
            }
            Effect::Disconnect { peer, why, back_off_us } => self.disconnect(at, peer, &why, back_off_us)?,
            Effect::Drop { peer, reject } => {
                let is_hostile = matches!(self.peers_ever.get(&peer), Some(Peer::Hostile(_)));
                invariants::honest_peer::blamed(is_hostile, &reject)?;
            }
            Effect::Reply { reply, outcome } => {
                let gateway = &mut self.gateways[at];
                let (oracle, store) = (&mut gateway.oracle, &gateway.store);
                invariants::client::told(oracle, reply, &outcome, store, gateway.config.issuer)?;
            }
            Effect::Emit(event) => self.emitted(at, &event)?,
        }
        Ok(())
    }

    fn emitted(&mut self, at: usize, event: &CoreEvent) -> Checked {
        invariants::durable_first::emitted(event, &self.gateways[at].store)?;
        match event {
            CoreEvent::Forked { issuer, .. } if !self.is_hostile(issuer) => {
                Err(Invariant::OnePerPlace.broken("an honest issuer forked"))
            }
            CoreEvent::Halted { why } => {
                if !self.gateways[at].may_halt {
                    return Err(format!("it halted while store and key work: {why}").into());
                }
                self.tally.add(Happened::Halt);
                // The shell stops; the rest is as after a crash.
                self.gateways[at].crash_after = Some(1);
                Ok(())
            }
            CoreEvent::Twins { issuer } => invariants::honest_peer::accused(
                self.is_hostile(issuer),
                "it takes two starts of one gateway for two machines",
            ),
            CoreEvent::AnotherMachine { seen } => {
                Err(format!("it takes {seen:?} of its own for another machine's").into())
            }
            CoreEvent::SaidToBeTwo { by } => invariants::honest_peer::accused(
                self.is_hostile(by),
                "an honest peer says that it runs twice",
            ),
            CoreEvent::Settled { adopted, .. } if self.gateways[at].is_restored => {
                self.figures.adopted += adopted;
                Ok(())
            }
            CoreEvent::Settled { adopted, .. } if *adopted > 0 => {
                Err(format!("it adopts {adopted} own transactions and lost none").into())
            }
            CoreEvent::Enrolled { issuer, key } if key.issuer() != *issuer => {
                Err("it says enrolled with another's key".into())
            }
            CoreEvent::Attached { own: false, .. } if self.last_cuts.contains(&at) => {
                if self.dice.chance(300) {
                    self.last_cuts.remove(&at);
                    let after_us = self.dice.below(LAST_CUT_WITHIN_US);
                    self.at(after_us, Event::Cut { at });
                }
                Ok(())
            }
            CoreEvent::Attached { .. }
            | CoreEvent::Forked { .. }
            | CoreEvent::Batched { .. }
            | CoreEvent::Retrying { .. }
            | CoreEvent::Settled { .. }
            | CoreEvent::Enrolled { .. }
            | CoreEvent::Silent => Ok(()),
        }
    }

    fn is_hostile(&self, issuer: &Issuer) -> bool {
        self.hostile.as_ref().is_some_and(|h| h.is_own(issuer))
    }

    /// What leaves decodes and fits; a transaction in it was attached, and an own one is durable.
    fn must_be_sound(&mut self, at: usize, to: PeerId, frame: &[u8]) -> Checked {
        let nonsense = |why| Invariant::Border.broken(format!("it sends nonsense: {why}"));
        let message = Message::open(frame).map_err(nonsense)?;
        let envelopes = match message {
            Message::Want(Want { references, .. }) | Message::Announce(Announce { references })
                if references.is_empty() =>
            {
                return Err("it names no reference at all".into());
            }
            Message::Want(want) => {
                let gateway = &mut self.gateways[at];
                if !want.graft {
                    gateway.asked_us.extend(want.references.iter().map(|r| (r.id, self.time_us)));
                }
                let hostile = self.hostile.as_ref();
                let is_misnamed = |id: &Id| hostile.is_some_and(|h| h.has_misnamed(id));
                return invariants::asked_again::asks(&want, &gateway.store, is_misnamed);
            }
            Message::Have(have) => {
                return invariants::durable_first::promised(&have, &self.gateways[at].store);
            }
            Message::Frontier(frontier) => {
                let gateway = &self.gateways[at];
                let (own, is_restored) = (gateway.config.issuer, gateway.is_restored);
                return invariants::durable_first::frontier(&frontier, &gateway.store, own, is_restored);
            }
            Message::Transaction(envelope) => vec![envelope],
            Message::Transactions(list) => list,
            _ => return Ok(()),
        };
        let gateway = &self.gateways[at];
        for envelope in envelopes {
            let (envelope, body) = Envelope::open(envelope).map_err(nonsense)?;
            let id = self.network.transaction_id(envelope.body);
            let held = gateway.store.transaction(&id);
            // What only waits here goes to nobody but the one who signed it, which has lost it.
            let is_given_back = || self.is_given_back(to, &body.issuer, &id);
            Invariant::DurableFirst.ensure(held.is_some() || is_given_back(), || {
                format!("it sends {}, which it has not attached", id.short())
            })?;
            // One that came back from peers may go on at once: they hold it.
            let is_held = || self.gateways.iter().any(|g| g.store.is_durable(&id));
            let is_safe = body.issuer != gateway.config.issuer
                || held.is_some_and(|h| h.durable)
                || gateway.is_restored && is_held();
            Invariant::DurableFirst
                .ensure(is_safe, || format!("it sends {} before it is durable", id.short()))?;
        }
        Ok(())
    }

    /// Did the one at the other end sign it itself?
    fn is_given_back(&self, to: PeerId, issuer: &Issuer, id: &Id) -> bool {
        match self.peers_ever.get(&to) {
            Some(Peer::Gateway(of)) => {
                let gateway = &self.gateways[*of];
                let is_made = gateway.lost.contains(id) || gateway.store.transaction(id).is_some();
                gateway.config.issuer == *issuer && is_made
            }
            Some(Peer::Hostile(_)) => self.is_hostile(issuer),
            None => false,
        }
    }

    fn persist(&mut self, at: usize, ticket: Ticket, writes: Vec<Write>, within_us: u64) -> Checked {
        for write in &writes {
            match write {
                Write::Transaction { record, envelope, .. } => self.must_be_genuine(at, record, envelope)?,
                Write::Journal { record, .. } => self.check_stamp(at, record)?,
                Write::Descriptor { .. } => {}
            }
        }
        let fails = self.dice.chance(self.faults.sync_failed_permille) && !self.gateways[at].is_restored;
        let after_us = self.dice.below(within_us + 1) + self.dice.below(self.faults.sync_max_us);
        let gateway = &mut self.gateways[at];
        let stalled_us = gateway.stalled_until_us.saturating_sub(self.time_us);
        if stalled_us > 0 {
            self.tally.add(Happened::DiskStalled);
        }
        let after_us = after_us + stalled_us;
        let start = gateway.start;
        gateway.store.accept(ticket, writes)?;
        if self.plan.plant == Plant::AcknowledgeEarly {
            let input = Input::Persisted { ticket };
            self.at(after_us / 2, Event::Input { to: at, start, input });
        }
        self.at(after_us, Event::Sync { at, start, ticket, fails });
        Ok(())
    }

    /// Signed by the owner of the key, its id that of its body, what it refers to in the record and here.
    fn must_be_genuine(&self, at: usize, record: &Record, envelope: &[u8]) -> Checked {
        let (id, hostile) = (&record.id, self.hostile.as_ref());
        invariants::genuine::check(id, envelope, &self.network, &self.keyring, hostile)?;
        let (_, body) = Envelope::open(envelope).map_err(|why| Invariant::Genuine.broken(why.to_string()))?;
        let (gateway, genesis) = (&self.gateways[at], self.network.genesis_id());
        invariants::past_closed::check(record, &body, &gateway.watch, &gateway.store, genesis)
    }

    fn check_stamp(&mut self, at: usize, record: &[u8]) -> Checked {
        let record: JournalRecord = codec::decode(record).map_err(|why| why.to_string())?;
        let gateway = &mut self.gateways[at];
        gateway.last_stamp_ns =
            invariants::clock::stamped(&record, gateway.clock.synchronised, gateway.last_stamp_ns)?;
        Ok(())
    }

    pub(super) fn sync(&mut self, at: usize, start: u64, ticket: Ticket, fails: bool) -> Checked {
        let late_us = self.dice.below(5_000);
        let gateway = &mut self.gateways[at];
        if gateway.start != start || gateway.store.broken {
            return Ok(());
        }
        let is_full = gateway.is_full(self.time_us);
        if fails || is_full {
            self.tally.add(if is_full { Happened::DiskFull } else { Happened::SyncFailed });
            (gateway.store.broken, gateway.may_halt) = (true, true);
            let why = if is_full { NO_ROOM } else { "simulated: the card gave an error" }.to_owned();
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
        let gateway = &mut self.gateways[at];
        if gateway.start != start {
            return;
        }
        if gateway.is_full(self.time_us) {
            self.tally.add(Happened::DiskFull);
            return self.bring(at, start, Input::Failed { ticket, why: NO_ROOM.to_owned() });
        }
        gateway.store.write_segment(segment, columns);
        self.answer(at, start, ticket, input);
    }

    fn work_us(&mut self) -> u64 {
        self.dice.between(1, self.faults.work_max_us)
    }

    /// Further time of a store that is busy. Nothing is drawn where it never is.
    fn load_us(&mut self) -> u64 {
        match self.faults.load_max_us {
            0 => 0,
            most => self.dice.below(most),
        }
    }

    /// An answer of the store: what it says may be old when it comes.
    pub(super) fn answer_load(&mut self, to: usize, start: u64, ticket: Ticket, input: Input) {
        let after_us = self.load_us();
        self.answer_after(to, start, ticket, input, after_us);
    }

    /// The answer to slow work: in its time, too late, never, or a failure.
    fn answer(&mut self, to: usize, start: u64, ticket: Ticket, input: Input) {
        self.answer_after(to, start, ticket, input, 0);
    }

    fn answer_after(&mut self, to: usize, start: u64, ticket: Ticket, input: Input, more_us: u64) {
        let failed = self.dice.chance(self.faults.work_failed_permille);
        if failed {
            self.tally.add(Happened::WorkFailed);
        }
        let input = if failed {
            Input::Failed { ticket, why: "simulated: it did not work".to_owned() }
        } else {
            input
        };
        self.bring_after(to, start, input, more_us);
    }

    /// A key that fails stops the node, as a store does.
    fn answer_signing(&mut self, to: usize, start: u64, ticket: Ticket, input: Input) {
        let failed = self.dice.chance(self.faults.sync_failed_permille) && !self.gateways[to].is_restored;
        let input = if failed {
            Input::Failed { ticket, why: "simulated: the key gave no signature".to_owned() }
        } else {
            input
        };
        if failed {
            self.tally.add(Happened::KeyFailed);
        }
        self.gateways[to].may_halt |= failed;
        self.bring(to, start, input);
    }

    fn bring(&mut self, to: usize, start: u64, input: Input) {
        self.bring_after(to, start, input, 0);
    }

    fn bring_after(&mut self, to: usize, start: u64, input: Input, more_us: u64) {
        let mut after_us = more_us + self.work_us();
        if self.dice.chance(self.faults.work_lost_permille) {
            return self.tally.add(Happened::WorkLost);
        }
        if self.dice.chance(self.faults.work_late_permille) {
            self.tally.add(Happened::WorkLate);
            after_us += limits::COMPLETION_TIMEOUT_US + self.dice.below(10_000_000);
        }
        self.at(after_us, Event::Input { to, start, input });
    }
}
