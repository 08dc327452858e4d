//! Reading the index: one consistent view for as long as it is kept. Keep it short: it pins old pages.

use redb::{Key, ReadOnlyTable, ReadTransaction, ReadableTable as _, TableDefinition, Value};
use selvedge_core::border::{Head, IssuerKey, IssuerState};
use selvedge_core::genesis::PublicKey;
use selvedge_core::hash::{Hash, Id, Issuer};
use selvedge_core::record::Record;
use std::sync::Arc;

use super::apply::{HeadsRow, decode};
use super::{
    BATCHES, CHAINS, CHILDREN, DESCRIPTORS, FORKS, HEADS, IDS, ISSUERS, KEYS, OWNER, OwnBatch, RECORDS,
    STATE, STREAM_BATCHES, STREAMS, TIPS, UNKNOWN, prefix_of, take_record,
};
use crate::store::error::{StoreError, index_error};
use crate::store::log::Place;

const WHAT: &str = "read";

/// The index as one group left it.
pub(crate) struct View {
    read: ReadTransaction,
}

/// An own stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StreamRow {
    pub(crate) name: String,
    pub(crate) number: u32,
    /// Counter of its next reading, the journal left out.
    pub(crate) next_counter: u64,
    /// The descriptor that was written last.
    pub(crate) descriptor: Hash,
}

/// The readings of a stream in an own batch that is in a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamSpanRow {
    pub(crate) batch: u64,
    /// Place in the batch's stream table.
    pub(crate) index: u32,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) first_time_ns: i64,
    pub(crate) last_time_ns: i64,
}

impl View {
    pub(super) fn new(read: ReadTransaction) -> Self {
        Self { read }
    }

    fn table<K: Key + 'static, V: Value + 'static>(
        &self,
        definition: TableDefinition<'static, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StoreError> {
        self.read.open_table(definition).map_err(index_error("open a table"))
    }

    /// A number of the table `state`; 0 when it was never set.
    pub(crate) fn state(&self, name: &str) -> Result<u64, StoreError> {
        Ok(self.table(STATE)?.get(name).map_err(index_error(WHAT))?.map_or(0, |n| n.value()))
    }

    pub(crate) fn owner(&self) -> Result<Vec<u8>, StoreError> {
        let row = self.table(OWNER)?.get(()).map_err(index_error(WHAT))?;
        Ok(row.map(|row| row.value().to_vec()).unwrap_or_default())
    }

    pub(crate) fn record(&self, number: u64) -> Result<Option<(Place, Record)>, StoreError> {
        let row = self.table(RECORDS)?.get(number).map_err(index_error(WHAT))?;
        row.map(|row| take_record(row.value())).transpose()
    }

    /// The transaction with this id.
    pub(crate) fn by_id(&self, id: &Id) -> Result<Option<(Place, Record)>, StoreError> {
        let prefix = prefix_of(&id.0);
        for row in self.table(IDS)?.range((prefix, 0)..=(prefix, u64::MAX)).map_err(index_error(WHAT))? {
            let (_, number) = row.map_err(index_error(WHAT))?.0.value();
            if let Some(found) = self.record(number)?.filter(|(_, record)| record.id == *id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The newest `count` records, ascending.
    pub(crate) fn newest(&self, count: usize) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        for row in self.table(RECORDS)?.iter().map_err(index_error(WHAT))?.rev().take(count) {
            records.push(take_record(row.map_err(index_error(WHAT))?.1.value())?.1);
        }
        records.reverse();
        Ok(records)
    }

    pub(crate) fn tips(&self) -> Result<Vec<u64>, StoreError> {
        let table = self.table(TIPS)?;
        let rows = table.iter().map_err(index_error(WHAT))?;
        rows.map(|row| Ok(row.map_err(index_error(WHAT))?.0.value())).collect()
    }

    pub(crate) fn children(&self, number: u64) -> Result<Vec<u64>, StoreError> {
        let table = self.table(CHILDREN)?;
        let rows = table.range((number, 0)..=(number, u64::MAX)).map_err(index_error(WHAT))?;
        rows.map(|row| Ok(row.map_err(index_error(WHAT))?.0.value().1)).collect()
    }

    /// The number that stands for an issuer in the tables.
    pub(crate) fn issuer_number(&self, issuer: &Issuer) -> Result<Option<u32>, StoreError> {
        Ok(self.table(ISSUERS)?.get(&issuer.0).map_err(index_error(WHAT))?.map(|n| n.value()))
    }

    /// The transactions of an issuer at a sequence: one, or the branches of a fork.
    pub(crate) fn chain(&self, issuer: &Issuer, sequence: u64) -> Result<Vec<u64>, StoreError> {
        let Some(issuer) = self.issuer_number(issuer)? else { return Ok(Vec::new()) };
        let table = self.table(CHAINS)?;
        let range = (issuer, sequence, 0)..=(issuer, sequence, u64::MAX);
        let rows = table.range(range).map_err(index_error(WHAT))?;
        rows.map(|row| Ok(row.map_err(index_error(WHAT))?.0.value().2)).collect()
    }

    /// Sequences and local numbers on an issuer's chain, from a sequence and local number up to a last sequence,
    /// ascending, at most `max`.
    pub(crate) fn chain_rows(
        &self,
        issuer: u32,
        from: (u64, u64),
        last: u64,
        max: usize,
    ) -> Result<Vec<(u64, u64)>, StoreError> {
        if from.0 > last {
            return Ok(Vec::new());
        }
        let table = self.table(CHAINS)?;
        let rows =
            table.range((issuer, from.0, from.1)..=(issuer, last, u64::MAX)).map_err(index_error(WHAT))?;
        rows.take(max)
            .map(|row| {
                let (_, sequence, number) = row.map_err(index_error(WHAT))?.0.value();
                Ok((sequence, number))
            })
            .collect()
    }

    /// Where the transactions with these local numbers, ascending, lie.
    pub(crate) fn places(&self, numbers: &[u64]) -> Result<Vec<Place>, StoreError> {
        let table = self.table(RECORDS)?;
        let place = |number: &u64| {
            let row = table.get(number).map_err(index_error(WHAT))?;
            let row = row.ok_or(StoreError::IndexValue { what: "chain without its record" })?;
            Ok(take_record(row.value())?.0)
        };
        numbers.iter().map(place).collect()
    }

    pub(crate) fn issuer(&self, issuer: &Issuer) -> Result<Option<IssuerState>, StoreError> {
        let Some(number) = self.issuer_number(issuer)? else { return Ok(None) };
        let Some(row) = self.table(HEADS)?.get(number).map_err(index_error(WHAT))? else { return Ok(None) };
        self.issuer_of(number, row.value()).map(Some)
    }

    fn issuer_of(&self, number: u32, heads: &[u8]) -> Result<IssuerState, StoreError> {
        let (issuer, heads): HeadsRow = decode(heads, "branch head")?;
        let heads = heads.into_iter().map(|(number, sequence, id)| Head { number, sequence, id }).collect();
        let mut keys = Vec::new();
        for row in self.table(KEYS)?.range((number, 0)..=(number, u32::MAX)).map_err(index_error(WHAT))? {
            let row = row.map_err(index_error(WHAT))?.1;
            let (key_number, brought_by, key): (u32, u64, PublicKey) = decode(row.value(), "key")?;
            keys.push(IssuerKey { key_number, brought_by, key: Arc::new(key) });
        }
        Ok(IssuerState { issuer, heads, keys })
    }

    /// All issuers, in the order in which they first issued.
    pub(crate) fn issuers(&self) -> Result<Vec<IssuerState>, StoreError> {
        let table = self.table(HEADS)?;
        let mut issuers = Vec::new();
        for row in table.iter().map_err(index_error(WHAT))? {
            let (number, row) = row.map_err(index_error(WHAT))?;
            issuers.push(self.issuer_of(number.value(), row.value())?);
        }
        Ok(issuers)
    }

    /// Places with more than one transaction, at most `max`.
    pub(crate) fn forks(&self, max: usize) -> Result<Vec<(Issuer, u64)>, StoreError> {
        let heads = self.table(HEADS)?;
        let mut forks = Vec::new();
        for row in self.table(FORKS)?.iter().map_err(index_error(WHAT))?.take(max) {
            let (number, sequence) = row.map_err(index_error(WHAT))?.0.value();
            if let Some(row) = heads.get(number).map_err(index_error(WHAT))? {
                let (issuer, _): HeadsRow = decode(row.value(), "branch head")?;
                forks.push((issuer, sequence));
            }
        }
        Ok(forks)
    }

    pub(crate) fn streams(&self) -> Result<Vec<StreamRow>, StoreError> {
        let table = self.table(STREAMS)?;
        let rows = table.iter().map_err(index_error(WHAT))?;
        rows.map(|row| {
            let (name, row) = row.map_err(index_error(WHAT))?;
            let (number, next_counter, descriptor) = row.value();
            let name = name.value().to_owned();
            Ok(StreamRow { name, number, next_counter, descriptor: Hash(descriptor) })
        })
        .collect()
    }

    pub(crate) fn stream(&self, name: &str) -> Result<Option<StreamRow>, StoreError> {
        let row = self.table(STREAMS)?.get(name).map_err(index_error(WHAT))?.map(|row| row.value());
        Ok(row.map(|(number, next_counter, descriptor)| StreamRow {
            name: name.to_owned(),
            number,
            next_counter,
            descriptor: Hash(descriptor),
        }))
    }

    /// Where a descriptor lies, and the number of its stream.
    pub(crate) fn descriptor(&self, hash: &Hash) -> Result<Option<(Place, u32)>, StoreError> {
        let row = self.table(DESCRIPTORS)?.get(&hash.0).map_err(index_error(WHAT))?.map(|row| row.value());
        Ok(row.map(|(segment, offset, stream)| (Place { segment, offset }, stream)))
    }

    pub(crate) fn descriptors(&self) -> Result<Vec<(Hash, Place)>, StoreError> {
        let table = self.table(DESCRIPTORS)?;
        let rows = table.iter().map_err(index_error(WHAT))?;
        rows.map(|row| {
            let (hash, row) = row.map_err(index_error(WHAT))?;
            let (segment, offset, _) = row.value();
            Ok((Hash(*hash.value()), Place { segment, offset }))
        })
        .collect()
    }

    /// Descriptors that adopted own batches name and the log does not hold: hash, counter of the next reading.
    pub(crate) fn unknown_descriptors(&self) -> Result<Vec<(Hash, u64)>, StoreError> {
        let table = self.table(UNKNOWN)?;
        let rows = table.iter().map_err(index_error(WHAT))?;
        rows.map(|row| {
            let (hash, next) = row.map_err(index_error(WHAT))?;
            Ok((Hash(*hash.value()), next.value()))
        })
        .collect()
    }

    pub(crate) fn own_batch(&self, batch: u64) -> Result<Option<OwnBatch>, StoreError> {
        let row = self.table(BATCHES)?.get(batch).map_err(index_error(WHAT))?;
        row.map(|row| decode(row.value(), "batch")).transpose()
    }

    /// The spans of a stream in a range of (batch, place in its stream table), at most `max`; the newest first when
    /// `newest_first`.
    pub(crate) fn spans(
        &self,
        stream: u32,
        within: &std::ops::Range<(u64, u32)>,
        newest_first: bool,
        max: usize,
    ) -> Result<Vec<StreamSpanRow>, StoreError> {
        if within.is_empty() {
            return Ok(Vec::new());
        }
        let table = self.table(STREAM_BATCHES)?;
        let range = (stream, within.start.0, within.start.1)..(stream, within.end.0, within.end.1);
        let mut rows = table.range(range).map_err(index_error(WHAT))?;
        let mut spans = Vec::new();
        while spans.len() < max {
            let Some(row) = (if newest_first { rows.next_back() } else { rows.next() }) else { break };
            let (key, row) = row.map_err(index_error(WHAT))?;
            let (_, batch, index) = key.value();
            let (first, count, first_time_ns, last_time_ns) = row.value();
            spans.push(StreamSpanRow { batch, index, first, count, first_time_ns, last_time_ns });
        }
        Ok(spans)
    }

    #[cfg(test)]
    pub(super) fn dump(&self) -> Vec<String> {
        fn rows<K: Key + 'static, V: Value + 'static>(
            out: &mut Vec<String>,
            view: &View,
            table: TableDefinition<'static, K, V>,
        ) {
            use redb::TableHandle as _;
            let name = table.name().to_owned();
            for row in view.table(table).expect("a table").iter().expect("its rows") {
                let (key, value) = row.expect("a row");
                out.push(format!("{name}: {:?} -> {:?}", key.value(), value.value()));
            }
        }
        let mut out = Vec::new();
        rows(&mut out, self, IDS);
        rows(&mut out, self, RECORDS);
        rows(&mut out, self, CHAINS);
        rows(&mut out, self, CHILDREN);
        rows(&mut out, self, TIPS);
        rows(&mut out, self, ISSUERS);
        rows(&mut out, self, HEADS);
        rows(&mut out, self, KEYS);
        rows(&mut out, self, FORKS);
        rows(&mut out, self, STREAMS);
        rows(&mut out, self, DESCRIPTORS);
        rows(&mut out, self, UNKNOWN);
        rows(&mut out, self, BATCHES);
        rows(&mut out, self, STREAM_BATCHES);
        rows(&mut out, self, STATE);
        rows(&mut out, self, OWNER);
        out
    }
}
