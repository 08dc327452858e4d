//! Whether a store holds what the script knows.

use std::collections::BTreeSet;

use selvedge_core::batch::BatchContent;
use selvedge_core::border::{Origin, Restored};
use selvedge_core::hash::Issuer;
use selvedge_core::record::flag;
use selvedge_core::transaction::Envelope;

use super::{LOST, Marks, STREAMS, Script, origin_of};
use crate::store::{Range, Store, StoreError};

impl Script {
    /// What the first `count` transactions leave as tips.
    fn tips_after(&self, count: usize) -> BTreeSet<u64> {
        let mut tips = BTreeSet::new();
        for (record, _) in &self.transactions[..count] {
            if !record.has(flag::SECOND_BRANCH) {
                for covered in record.references() {
                    tips.remove(&covered);
                }
                tips.insert(record.number);
            }
        }
        tips
    }

    /// Is everything in the store that was acknowledged, nothing twice, and nothing that was never handed in?
    pub(in crate::store::tests) fn check(&self, store: &Store, restored: &Restored) -> Result<Marks, String> {
        let reader = store.reader();
        let fail = |what: &str, got: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
            Err(format!("{what}: got {got:?}, expected {expected:?}"))
        };
        let text = |why: StoreError| why.to_string();
        let count = restored.next_number as usize;
        if !(self.acknowledged.transactions..=self.issued.transactions).contains(&count) {
            return fail("transactions", &count, &self.acknowledged.transactions);
        }
        for (record, envelope) in &self.transactions[..count] {
            if reader.record(record.number).map_err(text)?.as_ref() != Some(record) {
                return fail("record", &record.number, record);
            }
            if reader.envelope(record.number).map_err(text)?.as_ref() != Some(envelope) {
                return fail("envelope", &record.number, record);
            }
            if reader.number_of(&record.id).map_err(text)? != Some(record.number) {
                return fail("id", &record.number, record);
            }
        }
        let tips = self.tips_after(count);
        if !restored.tips.iter().eq(&tips) {
            return fail("tips", &restored.tips, &tips);
        }
        let own: Vec<_> = self.own_batches[..count].iter().flatten().collect();
        let batches = own.len() as u64;
        if restored.next_chain_batch != batches || batches < self.acknowledged.batches {
            return fail("own batches", &restored.next_chain_batch, &batches);
        }
        let journal = own.iter().filter_map(|(journal, _)| *journal).max().map_or(0, |newest| newest + 1);
        if restored.next_batch != journal {
            return fail("first journal batch", &restored.next_batch, &journal);
        }
        let lost = own.last().map_or(0, |(_, lost)| *lost);
        Self::check_lost(restored, lost)?;
        let messages = self.check_origins(restored)?;
        self.check_recent(restored, count)?;
        let counters = self.check_readings(store, restored)?;
        Ok(Marks { transactions: count, counters, batches, lost, messages })
    }

    /// The lost stream goes on where the chain left it, whether its descriptor is known here or not.
    fn check_lost(restored: &Restored, lost: u64) -> Result<(), String> {
        let known = restored.streams.iter().filter(|s| s.name == LOST);
        let known: Vec<u64> = known.map(|s| s.next_counter.max(s.chain_counter)).collect();
        let unknown: Vec<u64> = restored.unknown_descriptors.iter().map(|(_, next)| *next).collect();
        let got: Vec<u64> = known.into_iter().chain(unknown).collect();
        if lost > 0 && got != [lost] {
            return Err(format!("counter of the lost stream: got {got:?}, expected {lost}"));
        }
        Ok(())
    }

    /// Messages are there in their order, at least those that were acknowledged. (There are fewer than are held.)
    fn check_origins(&self, restored: &Restored) -> Result<u64, String> {
        let mut messages = 0;
        for source in 0..2 {
            let got: Vec<Origin> = restored.origins.iter().filter(|o| o.source == source).copied().collect();
            let of_source = |from: u64| (from..).map(origin_of).filter(move |o| o.source == source);
            let expected: Vec<Origin> = of_source(0).take(got.len()).collect();
            if got.iter().collect::<BTreeSet<_>>() != expected.iter().collect() {
                return Err(format!("messages of source {source}: {got:?}"));
            }
            let least = (0..self.acknowledged.messages).filter(|n| origin_of(*n).source == source).count();
            if expected.len() < least {
                return Err(format!("{} messages of source {source}, expected {least}", expected.len()));
            }
            messages += expected.len() as u64;
        }
        Ok(messages)
    }

    fn check_recent(&self, restored: &Restored, count: usize) -> Result<(), String> {
        let window = count.saturating_sub(self.options().window_records) as u64;
        let expected = self.transactions[..count].iter().map(|(record, _)| record);
        let expected = expected.filter(|r| r.number >= window || restored.tips.contains(&r.number));
        if !restored.recent.iter().eq(expected) {
            return Err(format!("recent records: got {:?}", restored.recent));
        }
        let mut places = BTreeSet::new();
        let mut forks = BTreeSet::new();
        let mut greatest_own = 0;
        for (record, envelope) in &self.transactions[..count] {
            if !places.insert((record.issuer, record.sequence)) {
                forks.insert((record.issuer, record.sequence));
            }
            if record.issuer == self.own {
                greatest_own = greatest_own
                    .max(Envelope::open(envelope).expect("own").1.issued_at_ms as i64 * 1_000_000);
            }
        }
        if restored.forks.iter().copied().collect::<BTreeSet<_>>() != forks {
            return Err(format!("forks: got {:?}, expected {forks:?}", restored.forks));
        }
        if restored.last_wall_ns < greatest_own {
            return Err(format!(
                "last wall time: got {}, expected {greatest_own} or later",
                restored.last_wall_ns
            ));
        }
        let issuers: BTreeSet<Issuer> = places.iter().map(|(issuer, _)| *issuer).collect();
        if restored.issuers.iter().map(|s| s.issuer).collect::<BTreeSet<_>>() != issuers {
            return Err(format!("issuers: got {:?}, expected {issuers:?}", restored.issuers));
        }
        for state in &restored.issuers {
            let newest = places.iter().filter(|(issuer, _)| *issuer == state.issuer).map(|(_, s)| *s).max();
            if state.heads.iter().map(|h| h.sequence).max() != newest {
                return Err(format!(
                    "heads of {:?}: got {:?}, expected {newest:?}",
                    state.issuer, state.heads
                ));
            }
            if (state.issuer == self.own) != state.keys.is_empty() {
                return Err(format!("keys of {:?}: got {}", state.issuer, state.keys.len()));
            }
        }
        Ok(())
    }

    fn check_readings(&self, store: &Store, restored: &Restored) -> Result<[u64; STREAMS], String> {
        let reader = store.reader();
        let text = |why: StoreError| why.to_string();
        let mut counters = [0; STREAMS];
        let mut journaled = 0;
        for (stream, counter) in counters.iter_mut().enumerate() {
            let name = Self::name_of(stream);
            for reading in reader.readings(&name, Range::default()).map_err(text)? {
                let got = reading.map_err(text)?;
                if got.reading.counter != *counter || got.reading.value != Self::value_of(stream, *counter) {
                    return Err(format!("{name}: got {:?}, expected counter {counter}", got.reading));
                }
                if got.transaction.is_some() != (got.batch < restored.next_chain_batch) {
                    return Err(format!("{name}: batch {} and transaction {:?}", got.batch, got.transaction));
                }
                journaled += u64::from(got.transaction.is_none());
                *counter += 1;
            }
            let (least, most) = (self.acknowledged.counters[stream], self.issued.counters[stream]);
            if !(least..=most).contains(counter) {
                return Err(format!("{name}: {counter} readings, expected {least} to {most}"));
            }
            let next = restored.streams.iter().find(|s| s.name == name).map_or(0, |s| s.next_counter);
            if next != *counter {
                return Err(format!("{name}: next counter {next}, expected {counter}"));
            }
        }
        let backlog = reader.backlog().map_err(text)?;
        let mut in_batches: u64 =
            restored.closed_batches.iter().map(|(_, readings)| u64::from(*readings)).sum();
        let mut numbers: Vec<u64> = restored.closed_batches.iter().map(|(number, _)| *number).collect();
        if let Some((number, records)) = &restored.open_batch {
            let mut content = BatchContent::new(*number);
            for record in records {
                content.replay(record).map_err(|why| why.to_string())?;
            }
            in_batches += content.blocks.len() as u64;
            numbers.push(*number);
        }
        if in_batches != journaled || backlog.readings != journaled || backlog.batches != numbers.len() as u64
        {
            return Err(format!(
                "backlog {backlog:?}, {in_batches} in batches, expected {journaled} readings"
            ));
        }
        if numbers.first().is_some_and(|n| *n < restored.next_batch) || !numbers.is_sorted_by(|a, b| a < b) {
            return Err(format!("journaled batches {numbers:?}, expected from {} on", restored.next_batch));
        }
        Ok(counters)
    }
}
