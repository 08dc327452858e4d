//! What is journaled and in no transaction yet, with the counters and numbers that it would get on the chain now.

use std::collections::{BTreeMap, VecDeque};

use selvedge_core::batch::BatchContent;
use selvedge_core::counters::{CarriedSpan, ChainCounters};
use selvedge_core::hash::Hash;

use super::error::StoreError;
use super::index::{StreamRow, StreamSpanRow, View, state};
use super::journal::JournaledBatch;
use super::reader::StoreReader;

/// Spans of a stream asked of the index at once.
const SPANS: usize = 64;

/// The journal as it was at one moment, batch by batch. Holds its segments.
#[derive(Debug)]
pub struct Pending {
    reader: StoreReader,
    batches: VecDeque<JournaledBatch>,
    /// Names by number of the stream.
    names: BTreeMap<u32, String>,
    /// Streams by descriptor, as far as they were met.
    streams: BTreeMap<Hash, String>,
    counters: ChainCounters,
    /// For each stream that was met, what the chain carries of the counters that it has in the journal. Nearly always
    /// nothing.
    carried: BTreeMap<String, Vec<CarriedSpan>>,
    /// Number on the chain of the first of them.
    first_number: u64,
    next_number: u64,
}

/// A journaled batch that is in no transaction yet.
#[derive(Debug)]
pub struct PendingBatch {
    /// The journal batch.
    pub journal: u64,
    /// Its number on the chain, if nothing comes between.
    pub number: u64,
    /// Its readings with the counters that they get on the chain, if nothing comes between. Without those that the chain
    /// carries already; none may be left.
    pub content: BatchContent,
    /// Its records, in order.
    pub(super) records: Vec<Vec<u8>>,
    /// Readings in them.
    pub(super) journaled: u64,
    /// When the last of them was taken, ns since 1970 UTC.
    pub(super) taken_at_ns: i64,
}

impl Pending {
    /// The journal is taken first and the index after it: a batch that moves in between is in both, and the index says
    /// that it is in a transaction.
    pub(super) fn new(
        reader: StoreReader,
        mut journal: Vec<JournaledBatch>,
        view: &View,
    ) -> Result<Self, StoreError> {
        let next_journal = view.state(state::NEXT_JOURNAL_BATCH)?;
        journal.retain(|batch| batch.number >= next_journal);
        let rows = view.streams()?;
        let mut counters = ChainCounters::default();
        let names = rows.iter().map(|row| (row.number, row.name.clone())).collect();
        for StreamRow { name, next_counter, .. } in rows {
            counters.restore(name, next_counter, Vec::new(), u64::MAX);
        }
        let first_number = view.state(state::NEXT_CHAIN_BATCH)?;
        Ok(Self {
            reader,
            batches: journal.into(),
            names,
            streams: BTreeMap::new(),
            counters,
            carried: BTreeMap::new(),
            first_number,
            next_number: first_number,
        })
    }

    /// The number on the chain of the first of them.
    pub const fn first_number(&self) -> u64 {
        self.first_number
    }

    /// Of a stream: the next counter after the chain and the batches read so far, and what the chain carries of the
    /// counters that it has in them.
    pub(super) fn of_stream(&mut self, stream: &str) -> (u64, Vec<CarriedSpan>) {
        (self.counters.next(stream), self.carried.remove(stream).unwrap_or_default())
    }

    /// The next batch, oldest first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn next_batch(&mut self) -> Result<Option<PendingBatch>, StoreError> {
        let Some(batch) = self.batches.pop_front() else { return Ok(None) };
        let (journal, journaled) = (batch.number, batch.readings);
        let records = batch.records()?;
        let mut content = BatchContent::new(journal);
        let mut taken_at_ns = i64::MIN;
        for record in &records {
            let record =
                content.replay(record).map_err(|source| StoreError::Batch { batch: journal, source })?;
            taken_at_ns = taken_at_ns.max(record.taken_at_ns);
        }
        self.learn(&content)?;
        let streams = &self.streams;
        let name_of = |hash: &Hash| streams.get(hash).map(String::as_str);
        let content = self.counters.settle(content, false, name_of);
        self.counters.advance(&content, name_of);
        let number = self.next_number;
        self.next_number += u64::from(!content.blocks.is_empty());
        Ok(Some(PendingBatch { journal, number, content, records, journaled, taken_at_ns }))
    }

    /// Learns the streams of a batch, and what the chain carries of the counters in it.
    fn learn(&mut self, content: &BatchContent) -> Result<(), StoreError> {
        for span in &content.streams {
            let name = if let Some(name) = self.streams.get(&span.descriptor) {
                name.clone()
            } else {
                let stream = self.reader.stream_of(&span.descriptor)?;
                let missing = StoreError::IndexValue { what: "descriptor without its stream" };
                let name = self.names.get(&stream).cloned().ok_or(missing)?;
                self.streams.insert(span.descriptor, name.clone());
                name
            };
            // In the journal the counters of a stream ascend: the first one met is the least.
            if self.carried.contains_key(&name) {
                continue;
            }
            let overlaps = span.first < self.counters.next(&name);
            let carried = if overlaps { self.carried_from(&name, span.first)? } else { Vec::new() };
            for span in &carried {
                self.counters.carry(&name, *span);
            }
            self.carried.insert(name, carried);
        }
        Ok(())
    }

    /// The spans of a stream on the chain that end after a counter, ascending.
    fn carried_from(&self, stream: &str, from: u64) -> Result<Vec<CarriedSpan>, StoreError> {
        let view = self.reader.view()?;
        let Some(row) = view.stream(stream)? else { return Ok(Vec::new()) };
        let mut carried = VecDeque::new();
        let mut within = (0, 0)..(self.first_number, 0);
        loop {
            let spans = view.spans(row.number, &within, true, SPANS)?;
            for span in &spans {
                let StreamSpanRow { first, count, first_time_ns, last_time_ns, .. } = *span;
                if first.saturating_add(u64::from(count)) <= from {
                    return Ok(carried.into());
                }
                carried.push_front(CarriedSpan { first, count, first_time_ns, last_time_ns });
            }
            match spans.last() {
                Some(last) if spans.len() == SPANS => within.end = (last.batch, last.index),
                _ => return Ok(carried.into()),
            }
        }
    }
}

impl StoreReader {
    /// What is journaled and in no transaction yet.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn pending(&self) -> Result<Pending, StoreError> {
        let journal = self.journal().snapshot();
        Pending::new(self.clone(), journal, &self.view()?)
    }
}
