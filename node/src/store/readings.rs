//! The readings of a stream: archived batches, then the journal, without a gap and none twice.
//!
//! A batch moves from the journal to the archive while somebody reads. So the journal is taken first and the index
//! after it: a batch that moves in between is in both, and the index says from which batch on the journal counts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use selvedge_core::batch::BatchContent;
use selvedge_core::codec;
use selvedge_core::hash::Id;
use selvedge_core::reading::{Block, Reading};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;

use super::error::StoreError;
use super::index::{StreamSpanRow, View, state};
use super::journal::JournaledBatch;
use super::pending::{Pending, PendingBatch};
use super::reader::StoreReader;

/// Spans asked of the index at once.
const SPANS: usize = 256;

/// Which readings, by receive time. The default is all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Range {
    /// From this receive time on, ns since 1970 UTC.
    pub from_ns: Option<i64>,
    /// Before this receive time, ns since 1970 UTC.
    pub to_ns: Option<i64>,
    /// Of these only so many, the newest.
    pub last: Option<usize>,
    /// Pass over batches whose archive segment is not on this machine ([`StoreError::NotHere`]), instead of ending with
    /// that error where they would be.
    pub skip_absent: bool,
}

impl Range {
    fn holds(&self, reading: &Reading) -> bool {
        self.meets(reading.receive_time_ns, reading.receive_time_ns)
    }
    fn meets(&self, first_ns: i64, last_ns: i64) -> bool {
        self.from_ns.is_none_or(|from| last_ns >= from) && self.to_ns.is_none_or(|to| first_ns < to)
    }
}

/// A reading as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamReading {
    /// The reading. Its `stream_index` is its place in the stream table of the batch.
    pub reading: Reading,
    /// What it means.
    pub descriptor: Arc<Descriptor>,
    /// Number of its batch on the chain; while it is in the journal only, the one that it will get if nothing comes
    /// between. The same holds for its counter.
    pub batch: u64,
    /// The transaction that carries the batch; none while it is in the journal only.
    pub transaction: Option<Id>,
}

/// What is to be read of the journal.
#[derive(Debug)]
enum Journal {
    /// Nearly always: journal batches with their numbers on the chain, if nothing comes between.
    Plain(VecDeque<(u64, JournaledBatch)>),
    /// Some readings do not keep the counters that they have in the journal.
    Unsettled(Box<Pending>),
}

/// Readings of one stream, ascending by counter. Reads one batch at a time.
#[derive(Debug)]
pub struct Readings {
    reader: StoreReader,
    stream: Option<u32>,
    range: Range,
    /// What the index is still to be asked for: (batch, place in its stream table).
    within: std::ops::Range<(u64, u32)>,
    spans: VecDeque<StreamSpanRow>,
    journal: Journal,
    /// The batch that was read last: a stream described anew within a batch has two spans in it.
    sealed: Option<(u64, Id, SealedBatch)>,
    ready: VecDeque<StreamReading>,
}

impl Readings {
    pub(super) fn new(reader: StoreReader, stream: &str, range: Range) -> Result<Self, StoreError> {
        let journal = reader.journal().snapshot();
        let view = reader.view()?;
        let next_batch = view.state(state::NEXT_CHAIN_BATCH)?;
        let journal = Journal::new(&reader, journal, &view)?;
        let stream = view.stream(stream)?.map(|row| row.number);
        drop(view);
        let mut readings = Self {
            reader,
            stream,
            range,
            within: (0, 0)..(next_batch, 0),
            spans: VecDeque::new(),
            journal,
            sealed: None,
            ready: VecDeque::new(),
        };
        if let Some(last) = range.last {
            readings.collect_last(last)?;
        }
        Ok(readings)
    }

    /// Goes backwards until there are enough; then nothing is left to be read.
    fn collect_last(&mut self, last: usize) -> Result<(), StoreError> {
        let mut newest = VecDeque::new();
        while newest.len() < last {
            let Some(batch) = self.step(true)? else { break };
            for reading in batch.into_iter().rev() {
                newest.push_front(reading);
            }
        }
        newest.drain(..newest.len().saturating_sub(last));
        self.journal = Journal::Plain(VecDeque::new());
        self.spans.clear();
        self.within.start = self.within.end;
        self.ready = newest;
        Ok(())
    }

    /// The readings of the next batch, or of the last one that is left; `None` when none is left.
    fn step(&mut self, newest_first: bool) -> Result<Option<Vec<StreamReading>>, StoreError> {
        let Some(stream) = self.stream else { return Ok(None) };
        if newest_first && let Some(batch) = self.step_journal_back(stream)? {
            return Ok(Some(batch));
        }
        if self.spans.is_empty() {
            self.ask_index(stream, newest_first)?;
        }
        if let Some(span) = self.spans.pop_front() {
            return match self.read_archive(&span) {
                Err(StoreError::NotHere { .. }) if self.range.skip_absent => Ok(Some(Vec::new())),
                read => read.map(Some),
            };
        }
        self.step_journal(stream)
    }

    fn ask_index(&mut self, stream: u32, newest_first: bool) -> Result<(), StoreError> {
        while self.spans.is_empty() && !self.within.is_empty() {
            let spans = self.reader.view()?.spans(stream, &self.within, newest_first, SPANS)?;
            match spans.last() {
                None => self.within.start = self.within.end,
                Some(last) if newest_first => self.within.end = (last.batch, last.index),
                Some(last) => self.within.start = (last.batch, last.index + 1),
            }
            let range = self.range;
            self.spans.extend(spans.into_iter().filter(|s| range.meets(s.first_time_ns, s.last_time_ns)));
        }
        Ok(())
    }

    fn read_archive(&mut self, span: &StreamSpanRow) -> Result<Vec<StreamReading>, StoreError> {
        if self.sealed.as_ref().is_none_or(|(batch, ..)| *batch != span.batch) {
            let (transaction, sealed) = archived_batch(&self.reader, span.batch)?;
            self.sealed = Some((span.batch, transaction, sealed));
        }
        let (batch, transaction, sealed) = self.sealed.as_ref().expect("just read");
        let found = archived(sealed, span.index)?;
        if found.first().map(|r| r.counter) != Some(span.first) || found.len() != span.count as usize {
            return Err(StoreError::IndexValue { what: "span that its archive segment does not have" });
        }
        let descriptor = descriptor_of(sealed, span.index)?;
        Ok(self.select(found, &descriptor, *batch, Some(*transaction)))
    }

    /// The readings of the journal's next batch.
    fn step_journal(&mut self, stream: u32) -> Result<Option<Vec<StreamReading>>, StoreError> {
        let (number, content) = match &mut self.journal {
            Journal::Plain(batches) => match batches.pop_front() {
                Some((number, batch)) => (number, replay(batch)?),
                None => return Ok(None),
            },
            Journal::Unsettled(pending) => match pending.next_batch()? {
                Some(PendingBatch { number, content, .. }) => (number, content),
                None => return Ok(None),
            },
        };
        self.read_journal(stream, number, &content).map(Some)
    }

    /// The readings of the journal's last batch that is left, or at least the newest of all that are left.
    fn step_journal_back(&mut self, stream: u32) -> Result<Option<Vec<StreamReading>>, StoreError> {
        if let Journal::Plain(batches) = &mut self.journal {
            let Some((number, batch)) = batches.pop_back() else { return Ok(None) };
            return self.read_journal(stream, number, &replay(batch)?).map(Some);
        }
        // What counters they get is known from the beginning on only.
        let (mut newest, last) = (VecDeque::new(), self.range.last.unwrap_or(usize::MAX));
        while let Some(readings) = self.step_journal(stream)? {
            newest.extend(readings);
            newest.drain(..newest.len().saturating_sub(last));
        }
        Ok((!newest.is_empty()).then(|| newest.into()))
    }

    fn read_journal(
        &self,
        stream: u32,
        number: u64,
        content: &BatchContent,
    ) -> Result<Vec<StreamReading>, StoreError> {
        let mut selected = Vec::new();
        for (index, span) in content.streams.iter().enumerate() {
            let (descriptor, of) = self.reader.described(&span.descriptor)?;
            if of == stream {
                selected.extend(self.select(journaled(content, index as u32)?, &descriptor, number, None));
            }
        }
        Ok(selected)
    }

    fn select(
        &self,
        readings: Vec<Reading>,
        descriptor: &Arc<Descriptor>,
        batch: u64,
        transaction: Option<Id>,
    ) -> Vec<StreamReading> {
        let held = readings.into_iter().filter(|reading| self.range.holds(reading));
        held.map(|reading| StreamReading { reading, descriptor: Arc::clone(descriptor), batch, transaction })
            .collect()
    }
}

impl Iterator for Readings {
    type Item = Result<StreamReading, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() {
            match self.step(false) {
                Ok(Some(readings)) => self.ready = readings.into(),
                Ok(None) => return None,
                Err(why) => {
                    // Nothing after an error: a gap must not go unseen.
                    self.stream = None;
                    return Some(Err(why));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

impl Journal {
    /// The journaled batches that are in no transaction.
    fn new(reader: &StoreReader, mut batches: Vec<JournaledBatch>, view: &View) -> Result<Self, StoreError> {
        let next_journal = view.state(state::NEXT_JOURNAL_BATCH)?;
        batches.retain(|batch| batch.number >= next_journal);
        if view.state(state::ADOPTED_BATCHES)? == 0 && batches.iter().all(|batch| !batch.floating) {
            return Ok(Self::Plain((view.state(state::NEXT_CHAIN_BATCH)?..).zip(batches).collect()));
        }
        Ok(Self::Unsettled(Box::new(Pending::new(reader.clone(), batches, view)?)))
    }
}

/// A journaled batch, from its records.
fn replay(batch: JournaledBatch) -> Result<BatchContent, StoreError> {
    let number = batch.number;
    let mut content = BatchContent::new(number);
    for record in batch.records()? {
        content.replay(&record).map_err(|source| StoreError::Batch { batch: number, source })?;
    }
    Ok(content)
}

/// The readings of one stream of a journaled batch, ascending by counter.
pub(super) fn journaled(content: &BatchContent, index: u32) -> Result<Vec<Reading>, StoreError> {
    let of_stream = |block: &Block| block[4..8] == index.to_le_bytes();
    let blocks = content.blocks.iter().enumerate().filter(|(_, block)| of_stream(block));
    decode(blocks, &content.long)
        .map_err(|why| StoreError::Batch { batch: content.number, source: why.into() })
}

/// The transaction of an own batch, and the batch from its archive segment.
pub(super) fn archived_batch(reader: &StoreReader, batch: u64) -> Result<(Id, SealedBatch), StoreError> {
    let row = reader.own_batch(batch)?.ok_or(StoreError::IndexValue { what: "span without its batch" })?;
    let record =
        reader.record(row.transaction)?.ok_or(StoreError::IndexValue { what: "batch without its record" })?;
    Ok((record.id, reader.archived(batch, &row)?))
}

/// The readings of one stream of an archived batch, ascending by counter.
pub(super) fn archived(sealed: &SealedBatch, index: u32) -> Result<Vec<Reading>, StoreError> {
    let before: usize = sealed.streams.iter().take(index as usize).map(|s| s.count as usize).sum();
    let count = sealed.streams.get(index as usize).map_or(0, |s| s.count as usize);
    let blocks = sealed.blocks.iter().enumerate().skip(before).take(count);
    decode(blocks, &sealed.long).map_err(|why| StoreError::Batch { batch: sealed.number, source: why.into() })
}

/// The descriptor of a stream of an archived batch.
pub(super) fn descriptor_of(sealed: &SealedBatch, index: u32) -> Result<Arc<Descriptor>, StoreError> {
    let bytes = sealed.descriptors.get(index as usize).map_or(&[][..], Vec::as_slice);
    Ok(Arc::new(codec::decode(bytes)?))
}

fn decode<'a>(
    blocks: impl Iterator<Item = (usize, &'a Block)>,
    long: &BTreeMap<u32, Vec<u8>>,
) -> Result<Vec<Reading>, selvedge_core::reading::ReadingError> {
    blocks.map(|(at, block)| Reading::from_block(block, long.get(&(at as u32)).map(Vec::as_slice))).collect()
}
