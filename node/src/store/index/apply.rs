//! Applying entries of the log to the index, a group at a time.

use std::collections::{BTreeMap, BTreeSet};

use redb::{Durability, ReadableTable as _, Table, WriteTransaction};
use selvedge_core::border::NewKey;
use selvedge_core::codec;
use selvedge_core::hash::{Hash, Id, Issuer};
use selvedge_core::limits;
use selvedge_core::payload::Batch;
use selvedge_core::record::{Record, flag};

use super::{
    BATCHES, CHAINS, CHILDREN, DESCRIPTORS, FORKS, HEADS, IDS, ISSUERS, Index, KEYS, OwnBatch, RECORDS,
    STATE, STREAM_BATCHES, STREAMS, SpanKey, SpanValue, TIPS, UNKNOWN, prefix_of, put_record, state,
};
use crate::store::error::{StoreError, index_error};
use crate::store::log::Place;

const WHAT: &str = "apply a group";

/// An entry of the log, as far as the index keeps it.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// A transaction.
    Transaction {
        /// Where its envelope lies.
        place: Place,
        /// What the core keeps of it.
        record: &'a Record,
        /// The key that it brings.
        key: Option<&'a NewKey>,
        /// Own batches only: what it carries.
        batch: Option<&'a Batch>,
        /// Own batches made from the journal: the journal batch.
        journal: Option<u64>,
        /// Own transactions only: the wall time it claims, ns since 1970 UTC.
        wall_ns: Option<i64>,
    },
    /// A descriptor of an own stream.
    Descriptor {
        /// Where it lies.
        place: Place,
        /// Its hash.
        hash: Hash,
        /// The stream that it describes.
        stream: String,
    },
}

impl Index {
    /// Applies entries in order; afterwards the log is applied up to frame `applied`.
    pub(crate) fn apply(&self, items: &[Item<'_>], applied: u64, durable: bool) -> Result<(), StoreError> {
        let mut write = self.database.begin_write().map_err(index_error(WHAT))?;
        let durability = if durable { Durability::Immediate } else { Durability::None };
        write.set_durability(durability).map_err(index_error(WHAT))?;
        write.set_quick_repair(durable);
        {
            let mut group = Group::new(&write)?;
            for item in items {
                group.apply(item)?;
            }
            group.finish(applied)?;
        }
        write.commit().map_err(index_error(WHAT))
    }
}

/// Issuer and branch heads: local number, sequence, id.
pub(super) type HeadsRow = (Issuer, Vec<(u64, u64, Id)>);

/// The tables of one group, and what changes too often to be written each time.
struct Group<'t> {
    ids: Table<'t, (u64, u64), ()>,
    records: Table<'t, u64, &'static [u8]>,
    chains: Table<'t, (u32, u64, u64), ()>,
    children: Table<'t, (u64, u64), ()>,
    tips: Table<'t, u64, ()>,
    issuers: Table<'t, &'static [u8; 32], u32>,
    heads: Table<'t, u32, &'static [u8]>,
    keys: Table<'t, (u32, u32), &'static [u8]>,
    forks: Table<'t, (u32, u64), ()>,
    streams: Table<'t, &'static str, (u32, u64, [u8; 32])>,
    descriptors: Table<'t, &'static [u8; 32], (u64, u32, u32)>,
    unknown: Table<'t, &'static [u8; 32], u64>,
    batches: Table<'t, u64, &'static [u8]>,
    stream_batches: Table<'t, SpanKey, SpanValue>,
    state: Table<'t, &'static str, u64>,
    next_number: u64,
    tips_added: BTreeSet<u64>,
    tips_removed: BTreeSet<u64>,
    issuers_seen: BTreeMap<Issuer, u32>,
    heads_changed: BTreeMap<u32, HeadsRow>,
}

impl<'t> Group<'t> {
    fn new(write: &'t WriteTransaction) -> Result<Self, StoreError> {
        let state = write.open_table(STATE).map_err(index_error(WHAT))?;
        let next_number = state.get(state::NEXT_NUMBER).map_err(index_error(WHAT))?.map_or(0, |n| n.value());
        Ok(Self {
            ids: write.open_table(IDS).map_err(index_error(WHAT))?,
            records: write.open_table(RECORDS).map_err(index_error(WHAT))?,
            chains: write.open_table(CHAINS).map_err(index_error(WHAT))?,
            children: write.open_table(CHILDREN).map_err(index_error(WHAT))?,
            tips: write.open_table(TIPS).map_err(index_error(WHAT))?,
            issuers: write.open_table(ISSUERS).map_err(index_error(WHAT))?,
            heads: write.open_table(HEADS).map_err(index_error(WHAT))?,
            keys: write.open_table(KEYS).map_err(index_error(WHAT))?,
            forks: write.open_table(FORKS).map_err(index_error(WHAT))?,
            streams: write.open_table(STREAMS).map_err(index_error(WHAT))?,
            descriptors: write.open_table(DESCRIPTORS).map_err(index_error(WHAT))?,
            unknown: write.open_table(UNKNOWN).map_err(index_error(WHAT))?,
            batches: write.open_table(BATCHES).map_err(index_error(WHAT))?,
            stream_batches: write.open_table(STREAM_BATCHES).map_err(index_error(WHAT))?,
            state,
            next_number,
            tips_added: BTreeSet::new(),
            tips_removed: BTreeSet::new(),
            issuers_seen: BTreeMap::new(),
            heads_changed: BTreeMap::new(),
        })
    }

    fn apply(&mut self, item: &Item<'_>) -> Result<(), StoreError> {
        match item {
            Item::Descriptor { place, hash, stream } => self.descriptor(*place, *hash, stream),
            Item::Transaction { place, record, key, batch, journal, wall_ns } => {
                self.transaction(*place, record)?;
                if let Some(key) = key {
                    self.key(record, key)?;
                }
                if let Some(batch) = batch {
                    self.batch(record.number, batch, *journal)?;
                }
                match wall_ns {
                    Some(wall_ns) => self.raise(state::LAST_WALL_NS, u64::try_from(*wall_ns).unwrap_or(0)),
                    None => Ok(()),
                }
            }
        }
    }

    fn transaction(&mut self, place: Place, record: &Record) -> Result<(), StoreError> {
        let number = record.number;
        if number != self.next_number {
            return Err(StoreError::Write(format!(
                "transaction number {number}, expected {}",
                self.next_number
            )));
        }
        self.next_number += 1;
        self.ids.insert((prefix_of(&record.id.0), number), ()).map_err(index_error(WHAT))?;
        self.records.insert(number, put_record(place, record).as_slice()).map_err(index_error(WHAT))?;
        let issuer = self.issuer(record.issuer)?;
        let place_on_chain = (issuer, record.sequence, 0)..=(issuer, record.sequence, u64::MAX);
        let forked = self.chains.range(place_on_chain).map_err(index_error(WHAT))?.next().is_some();
        if forked {
            self.forks.insert((issuer, record.sequence), ()).map_err(index_error(WHAT))?;
        }
        self.chains.insert((issuer, record.sequence, number), ()).map_err(index_error(WHAT))?;
        for parent in record.references() {
            self.children.insert((parent, number), ()).map_err(index_error(WHAT))?;
        }
        self.move_tips(record);
        self.move_heads(issuer, record)
    }

    /// A second branch is no tip and covers nothing; any other transaction covers what it refers to.
    fn move_tips(&mut self, record: &Record) {
        if record.has(flag::SECOND_BRANCH) {
            return;
        }
        for covered in record.references() {
            if !self.tips_added.remove(&covered) {
                self.tips_removed.insert(covered);
            }
        }
        self.tips_added.insert(record.number);
    }

    fn move_heads(&mut self, issuer: u32, record: &Record) -> Result<(), StoreError> {
        if !self.heads_changed.contains_key(&issuer) {
            let row = match self.heads.get(issuer).map_err(index_error(WHAT))? {
                Some(row) => decode(row.value(), "branch head")?,
                None => (record.issuer, Vec::new()),
            };
            self.heads_changed.insert(issuer, row);
        }
        let (_, heads) = self.heads_changed.get_mut(&issuer).expect("inserted above");
        let head = (record.number, record.sequence, record.id);
        if let Some(before) = heads.iter_mut().find(|(number, ..)| *number == record.prev) {
            *before = head;
        } else if heads.len() < limits::BRANCHES_MAX {
            heads.push(head);
        } else if let Some(last) = heads.last_mut()
            && head.1 > last.1
        {
            // As the core does it: of a forker with more branches only the farthest is kept.
            *last = head;
        }
        Ok(())
    }

    fn issuer(&mut self, issuer: Issuer) -> Result<u32, StoreError> {
        if let Some(number) = self.issuers_seen.get(&issuer) {
            return Ok(*number);
        }
        let known = self.issuers.get(&issuer.0).map_err(index_error(WHAT))?.map(|n| n.value());
        let number = if let Some(number) = known {
            number
        } else {
            let number = count(&self.issuers)?;
            self.issuers.insert(&issuer.0, number).map_err(index_error(WHAT))?;
            number
        };
        self.issuers_seen.insert(issuer, number);
        Ok(number)
    }

    fn key(&mut self, record: &Record, key: &NewKey) -> Result<(), StoreError> {
        let issuer = self.issuer(record.issuer)?;
        let mut rows = self.keys.range((issuer, 0)..=(issuer, u32::MAX)).map_err(index_error(WHAT))?;
        let place = match rows.next_back() {
            Some(row) => row.map_err(index_error(WHAT))?.0.value().1 + 1,
            None => 0,
        };
        drop(rows);
        let row = codec::encode(&(key.key_number, record.number, &*key.key));
        self.keys.insert((issuer, place), row.as_slice()).map_err(index_error(WHAT))?;
        Ok(())
    }

    fn descriptor(&mut self, place: Place, hash: Hash, stream: &str) -> Result<(), StoreError> {
        let known = self.streams.get(stream).map_err(index_error(WHAT))?.map(|row| row.value());
        let (number, next_counter, _) = match known {
            Some(row) => row,
            None => (count(&self.streams)?, 0, [0; 32]),
        };
        // Readings under it may be on the chain already, in batches that peers gave back.
        let carried = self.unknown.remove(&hash.0).map_err(index_error(WHAT))?.map_or(0, |next| next.value());
        let row = (number, next_counter.max(carried), hash.0);
        self.streams.insert(stream, row).map_err(index_error(WHAT))?;
        let row = (place.segment, place.offset, number);
        self.descriptors.insert(&hash.0, row).map_err(index_error(WHAT))?;
        Ok(())
    }

    fn batch(&mut self, transaction: u64, batch: &Batch, journal: Option<u64>) -> Result<(), StoreError> {
        let adopted = journal.is_none();
        let is_listed = self.batches.get(batch.number).map_err(index_error(WHAT))?.is_some();
        // Of two batches with one number, which a fork of the own chain makes, the first stays. The counters of both
        // are used.
        if !is_listed {
            self.list_batch(transaction, batch, adopted)?;
        }
        let mut next_counters: BTreeMap<u32, u64> = BTreeMap::new();
        for (at, span) in batch.streams.iter().enumerate() {
            let after = span.first.saturating_add(u64::from(span.count));
            let known = self.descriptors.get(&span.descriptor.0).map_err(index_error(WHAT))?;
            let known = known.map(|row| row.value().2);
            let Some(stream) = known else {
                self.unknown_span(batch.number, &span.descriptor, after, adopted)?;
                continue;
            };
            if !is_listed {
                let row = (span.first, span.count, batch.first_time_ns, batch.last_time_ns);
                let key = (stream, batch.number, at as u32);
                self.stream_batches.insert(key, row).map_err(index_error(WHAT))?;
            }
            let next = next_counters.entry(stream).or_default();
            *next = (*next).max(after);
        }
        self.raise_counters(&next_counters)?;
        self.raise(state::NEXT_CHAIN_BATCH, batch.number.saturating_add(1))?;
        match journal {
            Some(journal) => self.raise(state::NEXT_JOURNAL_BATCH, journal + 1),
            None => self.add(state::ADOPTED_BATCHES, 1),
        }
    }

    fn list_batch(&mut self, transaction: u64, batch: &Batch, adopted: bool) -> Result<(), StoreError> {
        let row = OwnBatch {
            transaction,
            first_time_ns: batch.first_time_ns,
            last_time_ns: batch.last_time_ns,
            count: batch.count,
            segment: batch.segment,
            segment_bytes: batch.segment_bytes,
            adopted,
        };
        self.batches.insert(batch.number, codec::encode(&row).as_slice()).map_err(index_error(WHAT))?;
        if adopted { Ok(()) } else { self.add(state::ARCHIVE_BYTES, batch.segment_bytes) }
    }

    /// Readings under a descriptor that the log does not hold: their counters are kept for when it comes.
    fn unknown_span(
        &mut self,
        batch: u64,
        descriptor: &Hash,
        after: u64,
        adopted: bool,
    ) -> Result<(), StoreError> {
        if !adopted {
            return Err(StoreError::Write(format!(
                "batch {batch} names descriptor {descriptor}, which the log does not hold"
            )));
        }
        let next = self.unknown.get(&descriptor.0).map_err(index_error(WHAT))?.map_or(0, |next| next.value());
        let is_bounded = count(&self.unknown)? < limits::UNKNOWN_DESCRIPTORS_MAX as u32;
        if next > 0 || is_bounded {
            self.unknown.insert(&descriptor.0, next.max(after)).map_err(index_error(WHAT))?;
        }
        Ok(())
    }

    fn raise_counters(&mut self, next_counters: &BTreeMap<u32, u64>) -> Result<(), StoreError> {
        let mut changed = Vec::new();
        for row in self.streams.iter().map_err(index_error(WHAT))? {
            let (name, row) = row.map_err(index_error(WHAT))?;
            let (number, next_counter, descriptor) = row.value();
            if let Some(next) = next_counters.get(&number) {
                changed.push((name.value().to_owned(), (number, next_counter.max(*next), descriptor)));
            }
        }
        for (name, row) in changed {
            self.streams.insert(name.as_str(), row).map_err(index_error(WHAT))?;
        }
        Ok(())
    }

    fn number(&self, name: &str) -> Result<u64, StoreError> {
        Ok(self.state.get(name).map_err(index_error(WHAT))?.map_or(0, |n| n.value()))
    }

    fn raise(&mut self, name: &'static str, to: u64) -> Result<(), StoreError> {
        if self.number(name)? < to {
            self.state.insert(name, to).map_err(index_error(WHAT))?;
        }
        Ok(())
    }

    fn add(&mut self, name: &'static str, more: u64) -> Result<(), StoreError> {
        let sum = self.number(name)?.saturating_add(more);
        self.state.insert(name, sum).map_err(index_error(WHAT))?;
        Ok(())
    }

    fn finish(mut self, applied: u64) -> Result<(), StoreError> {
        for tip in &self.tips_removed {
            self.tips.remove(tip).map_err(index_error(WHAT))?;
        }
        for tip in &self.tips_added {
            self.tips.insert(tip, ()).map_err(index_error(WHAT))?;
        }
        for (issuer, row) in &self.heads_changed {
            self.heads.insert(issuer, codec::encode(row).as_slice()).map_err(index_error(WHAT))?;
        }
        self.state.insert(state::NEXT_NUMBER, self.next_number).map_err(index_error(WHAT))?;
        self.state.insert(state::APPLIED, applied).map_err(index_error(WHAT))?;
        Ok(())
    }
}

/// Rows of a table that only grows: the next number to give out.
fn count<K: redb::Key + 'static, V: redb::Value + 'static>(
    table: &Table<'_, K, V>,
) -> Result<u32, StoreError> {
    use redb::ReadableTableMetadata as _;
    Ok(table.len().map_err(index_error(WHAT))? as u32)
}

pub(super) fn decode<'a, T: serde::Deserialize<'a>>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|_| StoreError::IndexValue { what })
}
