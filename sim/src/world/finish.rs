//! Faults off: what must come true within a minute, and that all then come to rest.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_core::Id;
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};

use super::{Checked, Event, World};
use crate::hostile::Hostile;
use crate::oracle::Kept;
use crate::plan::Faults;
use crate::report::Report;

impl World {
    /// From now on nothing goes wrong, and the hostile peer is silent.
    pub(super) fn heal(&mut self) {
        self.is_healed = true;
        self.faults = Faults::none();
        self.dead_until.clear();
        for at in 0..self.gateways.len() {
            self.gateways[at].crash_after = None;
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

    /// A minute later: the same transactions everywhere, nothing left to do, everything witnessed by all.
    pub(super) fn check_ledgers(&mut self) -> Checked {
        let ids = |at: usize| self.gateways[at].store.log().map(|h| h.record.id).collect::<BTreeSet<Id>>();
        let first = ids(0);
        for at in 0..self.gateways.len() {
            let theirs = ids(at);
            if theirs != first {
                let lacks = first.difference(&theirs).count();
                let more = theirs.difference(&first).count();
                return Err(format!(
                    "gateway {at} lacks {lacks} of gateway 0's transactions and has {more} more"
                ));
            }
            self.check_worked_off(at, &first).map_err(|what| format!("gateway {at}: {what}"))?;
        }
        self.check_witnessed()?;
        for at in 0..self.gateways.len() {
            self.submit_to_nowhere(at)?;
        }
        self.attached_at_check = self.gateways.iter().map(|g| g.store.log_len()).collect();
        Ok(())
    }

    fn check_worked_off(&self, at: usize, attached: &BTreeSet<Id>) -> Checked {
        let gateway = &self.gateways[at];
        let node = gateway.node.as_ref().ok_or("it is down")?;
        let status = node.status();
        if status.halted || status.attached != attached.len() as u64 {
            return Err(format!("it is halted, or holds what is not durable: {status:?}"));
        }
        if status.backlog_readings > 0 || gateway.oracle.unanswered() > 0 {
            let open = gateway.oracle.unanswered();
            return Err(format!("{} readings wait, {open} clients too", status.backlog_readings));
        }
        // What the hostile peer made and nobody can attach may wait a while longer.
        let made = self.hostile.iter().flat_map(Hostile::made);
        let hopeless = made.filter(|id| !attached.contains(id)).count();
        if status.pending > hopeless {
            return Err(format!("{} transactions wait, {hopeless} of them may", status.pending));
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
            self.check_witness_count(at, &records)?;
        }
        for (at, cone) in cones.iter().enumerate() {
            if let Some(id) = payloads[at].difference(cone).next() {
                let record = self.gateways[at].store.transaction(id).map(|h| &h.record);
                return Err(format!("gateway {at} has not approved {record:?}"));
            }
        }
        Ok(())
    }

    /// Where the committee is the gateways and nobody else, the core's own count says the same.
    fn check_witness_count(&self, at: usize, records: &[&Record]) -> Checked {
        let Some(node) = self.gateways[at].node.as_ref() else { return Ok(()) };
        if self.hostile.is_some() {
            return Ok(());
        }
        for record in records.iter().filter(|r| r.has(flag::PAYLOAD)) {
            let witnessed = node.witnessed(record.number);
            if witnessed.is_some_and(|w| w as usize != self.gateways.len()) {
                return Err(format!("{} is witnessed by {witnessed:?}", record.id.short()));
            }
        }
        Ok(())
    }

    /// Much later: nobody issued anything more, and nothing waits any more.
    pub(super) fn check_rest(&mut self) -> Checked {
        for (at, gateway) in self.gateways.iter().enumerate() {
            let node = gateway.node.as_ref().ok_or("a gateway is down")?;
            let (before, now) = (self.attached_at_check[at], gateway.store.log_len());
            if now != before {
                return Err(format!("gateway {at} is not at rest: {} transactions more", now - before));
            }
            let status = node.status();
            if status.pending > 0 || status.wanted > 0 {
                let (pending, wanted) = (status.pending, status.wanted);
                return Err(format!("gateway {at} never gave up: {pending} pending, {wanted} wanted"));
            }
            if let Some(deadline) = node.next_deadline() {
                let after_us = gateway.clock.world_time(deadline).saturating_sub(self.time_us);
                return Err(format!("gateway {at} is at rest and wants to be woken in {after_us} us"));
            }
        }
        self.report = Some(self.finish()?);
        Ok(())
    }

    fn finish(&self) -> Checked<Report> {
        let mut kept = Kept::default();
        for (at, gateway) in self.gateways.iter().enumerate() {
            let of_one = gateway.oracle.finish(&gateway.store, gateway.config.issuer);
            let of_one = of_one.map_err(|what| format!("gateway {at}: {what}"))?;
            kept.readings += of_one.readings;
            kept.acknowledged += of_one.acknowledged;
            kept.batches += of_one.batches;
        }
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
            steps: self.figures.steps,
            crashes: self.figures.crashes,
        })
    }
}
