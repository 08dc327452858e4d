//! Faults off: what must come true within a minute, and that all then come to rest.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_core::invariants as inside;
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};
use selvedge_core::{Id, limits};

use super::{Checked, Event, World};
use crate::hostile::Hostile;
use crate::invariants::{Invariant, asked_again, client};
use crate::oracle::Kept;
use crate::plan::Faults;
use crate::report::Report;

/// Bytes that may go over a link in an hour in which nothing happens.
const QUIET_BYTES_MAX: u64 = 25_000;

impl World {
    /// From now on nothing goes wrong, and the hostile peer is silent.
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        self.faults = Faults::none();
        self.dead_until.clear();
        for at in 0..self.gateways.len() {
            let gateway = &mut self.gateways[at];
            gateway.crash_after = None;
            (gateway.full_until_us, gateway.stalled_until_us) = (0, 0);
            // Work goes on: these readings too must be in everybody's ledger in time.
            let after_us = 4_000_000 + self.dice.below(2_000_000);
            self.at(after_us, Event::Submit { at, again: false });
            // One last cut, after which nothing new comes in: what is left to do must not wait for an occasion.
            if self.plan.faults.crash_effects_max > 0 && self.dice.chance(500) {
                let after_us = 5_000_000 + self.dice.below(4_000_000);
                self.at(after_us, Event::Cut { at });
            }
        }
    }

    /// A minute later, or as long as [`Patience`](super::patience::Patience) says: the same transactions everywhere, nothing left to do, everything witnessed by all. Then every
    /// gateway gets one reading more.
    pub(super) fn check_ledgers(&mut self) -> Checked {
        self.check_equal()?;
        for at in 0..self.gateways.len() {
            self.check_asked_again(at)?;
            self.submit_to_nowhere(at)?;
            self.hand_in(at, 1, false)?;
        }
        Ok(())
    }

    /// Ten seconds later, or longer in a large world: each of these readings is in a batch that everybody has attached.
    pub(super) fn check_fresh(&mut self) -> Checked {
        for at in 0..self.gateways.len() {
            let gateway = &self.gateways[at];
            let backlog = gateway.node.as_ref().map(|node| node.status().backlog_readings);
            if backlog != Some(0) || gateway.oracle.unanswered() > 0 {
                let seconds = self.patience.fresh_us / 1_000_000;
                return Err(Invariant::Ledgers
                    .broken(format!("gateway {at}: a reading of {seconds} s ago is in no transaction yet")));
            }
            let lacking = (0..self.gateways.len())
                .find(|g| gateway.store.batches().iter().any(|(id, _)| !self.is_held(*g, id)));
            if let Some(lacking) = lacking {
                let seconds = self.patience.fresh_us / 1_000_000;
                return Err(Invariant::Ledgers.broken(format!(
                    "gateway {lacking} lacks a batch of gateway {at}, {seconds} s after its reading"
                )));
            }
        }
        self.last_reading()
    }

    /// One gateway gets one reading more, and nothing else comes after it. Power fails at others right after they have
    /// attached something (see `emitted`): what is left to approve then must not wait for an occasion.
    fn last_reading(&mut self) -> Checked {
        let of = self.dice.below(self.gateways.len() as u64) as usize;
        if self.plan.faults.crash_effects_max > 0 {
            self.last_cuts = (0..self.gateways.len()).filter(|at| *at != of).collect();
        }
        self.hand_in(of, 1, false)
    }

    /// Once that too is approved by everybody.
    pub(super) fn check_again(&mut self) -> Checked {
        self.check_equal()?;
        self.attached_at_check = self.gateways.iter().map(|g| g.store.log_len()).collect();
        Ok(())
    }

    fn check_equal(&mut self) -> Checked {
        let all: BTreeMap<Id, Record> = self
            .gateways
            .iter()
            .flat_map(|g| g.store.log())
            .map(|h| (h.record.id, h.record.clone()))
            .collect();
        for at in 0..self.gateways.len() {
            let lacks = all.values().filter(|r| !self.is_held(at, &r.id));
            let lacks: Vec<&Record> = lacks.filter(|r| !self.is_beyond_two(r)).collect();
            if let Some(first) = lacks.first() {
                let holders: Vec<usize> =
                    (0..self.gateways.len()).filter(|g| self.is_held(*g, &first.id)).collect();
                return Err(Invariant::Ledgers.broken(format!(
                    "gateway {at} lacks {} transactions, such as {}/{}/{}, which {holders:?} hold",
                    lacks.len(),
                    first.issuer.short(),
                    first.sequence,
                    first.id.short()
                )));
            }
            self.check_worked_off(at)?;
        }
        self.check_witnessed()
    }

    /// Gateways need not agree on a third body of a place, nor on what follows it on its own chain, unless others refer
    /// to it; and then each of them that holds the others' transaction holds it.
    fn is_beyond_two(&self, record: &Record) -> bool {
        let Some(hostile) = self.hostile.as_ref().filter(|h| h.is_own(&record.issuer)) else { return false };
        hostile
            .places_beyond_two()
            .any(|(issuer, sequence)| issuer == record.issuer && sequence <= record.sequence)
    }

    fn check_worked_off(&self, at: usize) -> Checked {
        let gateway = &self.gateways[at];
        let node = gateway
            .node
            .as_ref()
            .ok_or_else(|| Invariant::Ledgers.broken(format!("gateway {at} is down")))?;
        let status = node.status();
        if status.halted || status.attached != gateway.store.log_len() as u64 {
            return Err(Invariant::Ledgers
                .broken(format!("gateway {at} is halted, or holds what is not durable: {status:?}")));
        }
        if status.backlog_readings > 0 || gateway.oracle.unanswered() > 0 {
            let open = gateway.oracle.unanswered();
            return Err(Invariant::Ledgers.broken(format!(
                "gateway {at}: {} readings wait, {open} clients too",
                status.backlog_readings
            )));
        }
        // What the hostile peer made and nobody can attach may wait a while longer.
        // So may what a gateway made before it was lost, when what that follows is with nobody.
        let made = self.hostile.iter().flat_map(Hostile::made);
        let lost = self.gateways.iter().flat_map(|g| &g.lost);
        let hopeless = made.chain(lost).filter(|id| !self.is_held(at, id)).count();
        if status.pending > hopeless {
            return Err(Invariant::Ledgers.broken(format!(
                "gateway {at}: {} transactions wait, {hopeless} of them may",
                status.pending
            )));
        }
        Ok(())
    }

    /// What is to be asked for now must be asked for until the ledgers are compared, if it is still missing then.
    pub(super) fn note_awaited(&mut self) {
        for gateway in &mut self.gateways {
            gateway.awaited = gateway.node.iter().flat_map(inside::to_be_asked_for).collect();
        }
    }

    fn check_asked_again(&self, at: usize) -> Checked {
        let gateway = &self.gateways[at];
        let Some(node) = gateway.node.as_ref().filter(|_| !gateway.peers.is_empty()) else { return Ok(()) };
        for id in inside::to_be_asked_for(node).filter(|id| gateway.awaited.contains(id)) {
            asked_again::lately(&id, gateway.asked_us.get(&id).copied(), self.time_us)
                .map_err(|b| b.invariant.broken(format!("gateway {at}: {}", b.what)))?;
        }
        Ok(())
    }

    /// Every payload on no second branch has an own transaction of every gateway on top; counted here from the log.
    /// What has left the window of a core is not asked of it: it forgets what it did not approve by then.
    fn check_witnessed(&self) -> Checked {
        let mut payloads: Vec<BTreeSet<Id>> = Vec::new();
        let mut cones: Vec<BTreeSet<Id>> = vec![BTreeSet::new(); self.gateways.len()];
        for (at, gateway) in self.gateways.iter().enumerate() {
            let records: Vec<&Record> = gateway.store.log().map(|h| &h.record).collect();
            let mut left: Vec<u64> = (0..records.len() as u64)
                .filter(|n| records[*n as usize].issuer == gateway.config.issuer)
                .collect();
            while let Some(number) = left.pop() {
                let record = records[number as usize];
                if cones[at].insert(record.id) {
                    left.extend(record.references().filter(|n| *n != GENESIS_NUMBER));
                }
            }
            let base = records.len().saturating_sub(self.plan.window_records) as u64;
            let is_payload = |r: &Record| r.has(flag::PAYLOAD) && !r.has(flag::SECOND_BRANCH);
            let asks = |r: &&&Record| is_payload(r) && r.number >= base;
            payloads.push(records.iter().filter(asks).map(|r| r.id).collect());
        }
        for (at, cone) in cones.iter().enumerate() {
            if let Some(id) = payloads[at].difference(cone).next() {
                let record = self.gateways[at].store.transaction(id).map(|h| &h.record);
                return Err(Invariant::Ledgers.broken(format!("gateway {at} has not approved {record:?}")));
            }
        }
        (0..self.gateways.len()).try_for_each(|at| self.check_witness_count(at, &cones))
    }

    /// Where the committee is the gateways and nobody else, the core counts the members whose transactions reach one, as
    /// they are counted here from the logs.
    fn check_witness_count(&self, at: usize, cones: &[BTreeSet<Id>]) -> Checked {
        let Some(node) = self.gateways[at].node.as_ref() else { return Ok(()) };
        if self.hostile.is_some() {
            return Ok(());
        }
        let committee = self.plan.gateways.min(limits::COMMITTEE_MAX);
        // What has left the window of one gateway before it approved it, that one does not approve.
        let in_window = |g: &super::Gateway, id: &Id| {
            let base = g.store.log_len().saturating_sub(self.plan.window_records) as u64;
            g.store.transaction(id).is_some_and(|held| held.record.number >= base)
        };
        let in_all = |r: &&Record| self.gateways.iter().all(|g| in_window(g, &r.id));
        let records = self.gateways[at].store.log().map(|h| &h.record);
        for record in records.filter(|r| r.has(flag::PAYLOAD)).filter(in_all) {
            let Some(witnessed) = node.witnessed(record.number) else { continue };
            let expected = cones[..committee].iter().filter(|cone| cone.contains(&record.id)).count();
            if witnessed as usize != expected {
                let id = record.id.short();
                let what =
                    format!("gateway {at} counts {witnessed} members that have {id}, it is {expected}");
                return Err(Invariant::Ledgers.broken(what));
            }
        }
        Ok(())
    }

    /// Much later: nobody issued anything more, and nothing waits any more.
    pub(super) fn check_rest(&mut self) -> Checked {
        for (at, gateway) in self.gateways.iter().enumerate() {
            let node = gateway
                .node
                .as_ref()
                .ok_or_else(|| Invariant::Ledgers.broken(format!("gateway {at} is down")))?;
            // A third body may be with some only, and then one that compares ledgers with them fetches it sooner or later
            // (seed 241687654331).
            let later = gateway.store.log().skip(self.attached_at_check[at]).map(|held| &held.record);
            let later = later.filter(|record| !self.is_beyond_two(record)).count();
            if later > 0 {
                return Err(Invariant::Ledgers
                    .broken(format!("gateway {at} is not at rest: {later} transactions more")));
            }
            let status = node.status();
            if status.pending > 0 || status.wanted > 0 {
                let (pending, wanted) = (status.pending, status.wanted);
                return Err(Invariant::Ledgers
                    .broken(format!("gateway {at} never gave up: {pending} pending, {wanted} wanted")));
            }
        }
        self.attached_at_check = self.gateways.iter().map(|g| g.store.log_len()).collect();
        Ok(())
    }

    /// Nothing happens any more: an hour of that costs next to nothing.
    pub(super) fn check_quiet(&mut self, ends: bool) -> Checked {
        let now = (self.figures.frames, self.figures.frame_bytes);
        let Some(before) = self.quiet_since else {
            self.quiet_since = Some(now);
            return Ok(());
        };
        debug_assert!(ends, "the quiet hour begins once");
        let links = self.gateways.iter().map(|g| g.peers.len() as u64).sum::<u64>().div_ceil(2).max(1);
        let bytes = (now.1 - before.1) / links;
        if bytes > QUIET_BYTES_MAX {
            return Err(Invariant::Ledgers
                .broken(format!("{bytes} bytes went over each link in an hour in which nothing happened")));
        }
        for (at, gateway) in self.gateways.iter().enumerate() {
            let gone = gateway.store.log_len() - self.attached_at_check[at];
            if gone > 0 {
                return Err(Invariant::Ledgers
                    .broken(format!("gateway {at} is not at rest: {gone} transactions more")));
            }
        }
        self.quiet_bytes = bytes;
        self.report = Some(self.finish()?);
        Ok(())
    }

    fn finish(&self) -> Checked<Report> {
        let mut kept = Kept::default();
        for (at, gateway) in self.gateways.iter().enumerate() {
            let of_one = client::finish(&gateway.oracle, &gateway.store, gateway.config.issuer);
            let of_one = of_one.map_err(|b| b.invariant.broken(format!("gateway {at}: {}", b.what)))?;
            kept.readings += of_one.readings;
            kept.acknowledged += of_one.acknowledged;
            kept.batches += of_one.batches;
        }
        let foreign =
            |g: &super::Gateway| g.store.log().filter(|h| h.record.issuer != g.config.issuer).count();
        let bodies: Vec<(u64, u64)> =
            self.gateways.iter().map(|g| (g.bodies_received, foreign(g) as u64)).collect();
        let records: Vec<&Record> = self.gateways[0].store.log().map(|h| &h.record).collect();
        let own = || records.iter().filter(|r| self.honest(&r.issuer).is_some());
        let two_tips = own().filter(|r| r.approves[0] != r.approves[1]).count();
        let mut places: BTreeMap<_, u32> = BTreeMap::new();
        for record in &records {
            *places.entry((record.issuer, record.sequence)).or_default() += 1;
        }
        Ok(Report {
            seed: self.plan.seed,
            trace_hash: self.trace.hash(),
            nodes: self.gateways.len(),
            transactions: records.len(),
            readings: kept.readings,
            acknowledged: kept.acknowledged,
            batches: kept.batches,
            mean_tips: self.figures.tip_time as f64 / self.figures.time.max(1) as f64,
            max_tips: self.figures.max_tips,
            two_tips_share: two_tips as f64 / own().count().max(1) as f64,
            forks: places.values().filter(|count| **count > 1).count(),
            ledgers_equal: true,
            bodies_per_attached: bodies.iter().map(|b| b.0).sum::<u64>() as f64
                / bodies.iter().map(|b| b.1).sum::<u64>().max(1) as f64,
            bodies,
            frames: self.figures.frames,
            frame_bytes: self.figures.frame_bytes,
            quiet_bytes_per_link: self.quiet_bytes,
            steps: self.figures.steps,
            crashes: self.figures.crashes,
            restored: self.figures.restored,
            adopted: self.figures.adopted,
            happened: self.tally,
        })
    }
}
