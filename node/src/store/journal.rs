//! The reading journal: a log of its own, freed batch by batch.
//!
//! Batches follow one another in it: a record goes to the newest batch or to one after it, so what is freed is always
//! the beginning, and whole segments are recycled. The numbers are those of journal batches, which are no numbers on the
//! chain.
//!
//! The segments of the newest batch stay, even when it is freed: its first record holds the origins of the readings that
//! came last, and a source that is resumed may ask for them long after.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use selvedge_core::border::Origin;
use selvedge_core::codec;
use selvedge_core::journal::JournalRecord;
use selvedge_core::origins::Origins;

use super::disk::Disk;
use super::error::StoreError;
use super::log::{Cursor, Frame, LogKind, LogReader, LogReport, Place, SegmentLog};

const KIND: LogKind = LogKind { folder: "journal", purpose: b'J', recycled: true };
/// Kind of a frame that holds a record: the batch as u64, little-endian, then the record.
const RECORD: u8 = 1;

/// Where the records of a batch lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    place: Place,
    sequence: u64,
    records: u32,
    readings: u64,
    floating: bool,
}

/// The journal, for its one writer.
#[derive(Debug)]
pub(crate) struct Journal {
    log: SegmentLog,
    shared: JournalReader,
    /// Appended, not shown to readers yet.
    staged: Vec<(u64, Extent)>,
    newest: Option<u64>,
    /// The segment in which the newest batch begins.
    newest_segment: u64,
    /// Those of all records that are there, as it was opened.
    origins: Origins,
    /// Journal batches before this one are in transactions.
    freed_before: u64,
}

/// The journal, for readers: what is durable in it.
#[derive(Debug, Clone)]
pub(crate) struct JournalReader {
    extents: Arc<RwLock<BTreeMap<u64, Extent>>>,
    log: LogReader,
}

/// The records of one batch. Holds their segments.
#[derive(Debug, Clone)]
pub(crate) struct JournaledBatch {
    /// The journal batch.
    pub(crate) number: u64,
    /// Are its counters provisional?
    pub(crate) floating: bool,
    /// Its readings.
    pub(crate) readings: u64,
    records: Cursor,
}

impl Journal {
    /// Opens the journal. Batches before `next_batch` are in transactions and count as freed.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        segment_bytes: u32,
        next_batch: u64,
    ) -> Result<(Self, LogReport), StoreError> {
        let (mut log, report) = SegmentLog::open(disk, KIND, segment_bytes)?;
        let first = first_needed(&log.tags(), next_batch);
        log.release_before(first);
        let shared = JournalReader { extents: Arc::default(), log: log.reader() };
        let mut journal = Self {
            log,
            shared,
            staged: Vec::new(),
            newest: None,
            newest_segment: first,
            origins: Origins::default(),
            freed_before: next_batch,
        };
        journal.index_from(first)?;
        journal.publish();
        journal.free_before(next_batch);
        Ok((journal, report))
    }

    fn index_from(&mut self, segment: u64) -> Result<(), StoreError> {
        let first = self.log.first_sequence_of(segment).unwrap_or(0);
        let mut frames = self.log.frames_from(first)?;
        while let Some(frame) = frames.next()? {
            let (batch, bytes) = split(&frame)?;
            let record: JournalRecord = codec::decode(bytes)?;
            self.origins.extend(&record.origins);
            self.note_newest(batch, frame.place);
            if batch >= self.freed_before {
                self.stage(frame.place, frame.sequence, &record);
            }
        }
        Ok(())
    }

    fn note_newest(&mut self, batch: u64, place: Place) {
        if self.newest.is_none_or(|newest| newest < batch) {
            (self.newest, self.newest_segment) = (Some(batch), place.segment);
        }
    }

    fn stage(&mut self, place: Place, sequence: u64, record: &JournalRecord) {
        let readings = record.blocks().len() as u64;
        match self.staged.last_mut() {
            Some((last, extent)) if *last == record.batch => {
                extent.records += 1;
                extent.readings += readings;
            }
            _ => {
                let floating = record.floating;
                self.staged.push((record.batch, Extent { place, sequence, records: 1, readings, floating }));
            }
        }
    }

    /// The messages that brought the newest readings of each source, from all records that were there when it was
    /// opened.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        self.origins.all()
    }

    /// For readers.
    pub(crate) fn reader(&self) -> JournalReader {
        self.shared.clone()
    }

    /// Appends a record; durable after [`sync`](Self::sync), seen by readers after [`publish`](Self::publish).
    pub(crate) fn append(&mut self, batch: u64, bytes: &[u8]) -> Result<(), StoreError> {
        if batch < self.freed_before || self.newest.is_some_and(|newest| batch < newest) {
            return Err(StoreError::Write(format!(
                "a journal record of batch {batch}, expected {} or a later one",
                self.newest.unwrap_or(0).max(self.freed_before)
            )));
        }
        let record: JournalRecord = codec::decode(bytes)?;
        if record.batch != batch {
            return Err(StoreError::Write(format!(
                "a journal record of batch {} as one of batch {batch}",
                record.batch
            )));
        }
        let sequence = self.log.next_sequence();
        let place = self.log.append(RECORD, &[&batch.to_le_bytes(), bytes], batch)?;
        self.stage(place, sequence, &record);
        self.note_newest(batch, place);
        Ok(())
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.log.sync()
    }

    /// Shows what was synced to readers: after the index, which knows the descriptors that it names.
    pub(crate) fn publish(&mut self) {
        let mut extents = self.shared.extents.write().unwrap_or_else(PoisonError::into_inner);
        for (batch, more) in self.staged.drain(..) {
            let extent = extents.entry(batch).or_insert(Extent { records: 0, readings: 0, ..more });
            extent.records += more.records;
            extent.readings += more.readings;
        }
    }

    /// The journal batches before this one are in durable transactions.
    pub(crate) fn free_before(&mut self, batch: u64) {
        self.freed_before = self.freed_before.max(batch);
        let kept = {
            let mut extents = self.shared.extents.write().unwrap_or_else(PoisonError::into_inner);
            *extents = extents.split_off(&self.freed_before);
            extents.first_key_value().map(|(_, e)| e.place.segment)
        };
        // Readers take their segments while they hold the extents, so none is on the way to one of these.
        self.log.release_before(kept.unwrap_or(u64::MAX).min(self.newest_segment));
    }
}

fn split(frame: &Frame) -> Result<(u64, &[u8]), StoreError> {
    match frame.payload.split_first_chunk() {
        Some((batch, record)) if frame.kind == RECORD => Ok((u64::from_le_bytes(*batch), record)),
        _ => Err(StoreError::Corrupt {
            file: KIND.folder.into(),
            offset: u64::from(frame.place.offset),
            why: format!("frame {} of segment {} is no journal record", frame.sequence, frame.place.segment),
        }),
    }
}

/// The first segment that is still needed, from the number of each segment and the batch of its first frame: that of the
/// first batch that is in no transaction, or the one in which the newest batch begins.
fn first_needed(tags: &[(u64, u64)], next_batch: u64) -> u64 {
    // No batch in a segment is newer than the first of the segment after it.
    let open = tags.windows(2).find(|pair| pair[1].1 >= next_batch).map(|pair| pair[0].0);
    let newest_tag = tags.last().map_or(0, |(_, tag)| *tag);
    let begins = tags.iter().rev().find(|(_, tag)| *tag < newest_tag).or(tags.first());
    let newest = begins.map_or(0, |(number, _)| *number);
    open.map_or(newest, |open| open.min(newest))
}

impl JournalReader {
    /// The journaled batches: number, readings; ascending.
    pub(crate) fn batches(&self) -> Vec<(u64, u64)> {
        let extents = self.extents.read().unwrap_or_else(PoisonError::into_inner);
        extents.iter().map(|(batch, extent)| (*batch, extent.readings)).collect()
    }

    /// The journal as it is now, for as long as the caller keeps it. Ascending by batch.
    pub(crate) fn snapshot(&self) -> Vec<JournaledBatch> {
        let extents = self.extents.read().unwrap_or_else(PoisonError::into_inner);
        extents.iter().map(|(batch, extent)| self.open(*batch, *extent)).collect()
    }

    /// One batch, when the journal has it.
    pub(crate) fn batch(&self, batch: u64) -> Option<JournaledBatch> {
        let extents = self.extents.read().unwrap_or_else(PoisonError::into_inner);
        extents.get(&batch).map(|extent| self.open(batch, *extent))
    }

    fn open(&self, number: u64, extent: Extent) -> JournaledBatch {
        let until = extent.sequence + u64::from(extent.records);
        let records = self.log.frames(extent.place, extent.sequence, until);
        JournaledBatch { number, floating: extent.floating, readings: extent.readings, records }
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.log.disk_bytes()
    }
}

impl JournaledBatch {
    /// The records, in order.
    pub(crate) fn records(mut self) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut records = Vec::new();
        while let Some(mut frame) = self.records.next()? {
            split(&frame)?;
            frame.payload.drain(..8);
            records.push(frame.payload);
        }
        Ok(records)
    }
}
