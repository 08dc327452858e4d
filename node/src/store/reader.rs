//! Questions to the store, on any thread, beside the running writer. They see only what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;

use selvedge_core::border::IssuerState;
use selvedge_core::codec;
use selvedge_core::hash::{Hash, Id, Issuer};
use selvedge_core::record::{GENESIS_NUMBER, Record, Stored};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Reference;

use super::archive;
use super::disk::Disk;
use super::entry;
use super::error::StoreError;
use super::index::{IndexReader, OwnBatch, StreamRow, View, state};
use super::journal::{JournalReader, JournaledBatch};
use super::log::LogReader;

use super::pending::{Pending, PendingBatch};
use super::readings::{self, Range, Readings, StreamReading};

/// Hashes and encodings, as [`Restored::descriptors`](selvedge_core::border::Restored::descriptors) has them.
type Encoded = Vec<(Hash, Arc<[u8]>)>;

/// Answers questions. Clones are cheap and share everything.
#[derive(Debug, Clone)]
pub struct StoreReader {
    disk: Arc<dyn Disk>,
    index: IndexReader,
    log: LogReader,
    journal: JournalReader,
}

/// An own stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// Its name.
    pub name: String,
    /// What its newest reading means; before the first one, what was described last.
    pub descriptor: Descriptor,
    /// The counter of its next reading.
    pub next_counter: u64,
    /// Its newest reading.
    pub newest: Option<StreamReading>,
}

/// Journaled readings that are in no transaction yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Batches, the open one included.
    pub batches: u64,
    /// Readings.
    pub readings: u64,
    /// The first and the last of the journal batches.
    pub ends: Option<(u64, u64)>,
    /// The number on the chain that the first of them gets, if nothing comes between.
    pub next_number: u64,
}

/// Bytes on the disk, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Segments of the log.
    pub log_bytes: u64,
    /// Segments of the journal.
    pub journal_bytes: u64,
    /// The index.
    pub index_bytes: u64,
    /// Archive segments of batches that are in transactions.
    pub archive_bytes: u64,
}

impl StoreReader {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        index: IndexReader,
        log: LogReader,
        journal: JournalReader,
    ) -> Self {
        Self { disk, index, log, journal }
    }

    pub(super) fn view(&self) -> Result<View, StoreError> {
        self.noting(self.index.view())
    }

    pub(super) const fn journal(&self) -> &JournalReader {
        &self.journal
    }

    pub(super) const fn log(&self) -> &LogReader {
        &self.log
    }

    /// Damage of the index that a question meets is mended at the next start.
    fn noting<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        outcome.inspect_err(|why| self.index.note_damage(why))
    }

    fn ask<T>(&self, question: impl FnOnce(&View) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.noting(self.index.view().and_then(|view| question(&view)))
    }

    /// For each reference what is stored under its id, in the order asked: the answer to the effect `Load`.
    pub fn load(&self, references: &[Reference]) -> Result<Vec<Option<Stored>>, StoreError> {
        self.ask(|view| {
            let stored = |r: &Reference| Ok(view.by_id(&r.id)?.map(|(_, record)| Stored::from(&record)));
            references.iter().map(stored).collect()
        })
    }

    /// The journal's records of a journal batch, in order: the answer to the effect `LoadBatch`. None when the batch is in a
    /// transaction already, or was never there.
    pub fn batch_records(&self, batch: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        self.journal.batch(batch).map_or_else(|| Ok(Vec::new()), JournaledBatch::records)
    }

    /// Number of transactions attached: the next local number.
    pub fn next_number(&self) -> Result<u64, StoreError> {
        self.ask(|view| view.state(state::NEXT_NUMBER))
    }

    /// The record of a transaction.
    pub fn record(&self, number: u64) -> Result<Option<Record>, StoreError> {
        self.ask(|view| Ok(view.record(number)?.map(|(_, record)| record)))
    }

    /// The local number of a transaction.
    pub fn number_of(&self, id: &Id) -> Result<Option<u64>, StoreError> {
        self.ask(|view| Ok(view.by_id(id)?.map(|(_, record)| record.number)))
    }

    /// The envelope of a transaction, as it was received or made.
    pub fn envelope(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((place, _)) = self.ask(|view| view.record(number))? else { return Ok(None) };
        entry::into_envelope(self.log.read(place)?).map(Some)
    }

    /// The newest `count` records, ascending by number.
    pub fn newest(&self, count: usize) -> Result<Vec<Record>, StoreError> {
        self.ask(|view| view.newest(count))
    }

    /// All tips, by local number.
    pub fn tips(&self) -> Result<Vec<u64>, StoreError> {
        self.ask(View::tips)
    }

    /// Places with more than one transaction: issuer and sequence; at most `max`.
    pub fn forks(&self, max: usize) -> Result<Vec<(Issuer, u64)>, StoreError> {
        self.ask(|view| view.forks(max))
    }

    /// What refers to a transaction.
    pub fn children(&self, number: u64) -> Result<Vec<u64>, StoreError> {
        self.ask(|view| view.children(number))
    }

    /// The transactions of an issuer at a sequence: none, one, or the branches of a fork.
    pub fn chain(&self, issuer: &Issuer, sequence: u64) -> Result<Vec<u64>, StoreError> {
        self.ask(|view| view.chain(issuer, sequence))
    }

    /// Heads and keys of an issuer that issued; keys that the genesis gives are not listed.
    pub fn issuer_state(&self, issuer: &Issuer) -> Result<Option<IssuerState>, StoreError> {
        self.ask(|view| view.issuer(issuer))
    }

    /// The envelopes of the transactions that brought an issuer's keys up to this key number, in order: what a proof
    /// carries beside the genesis. None for a member of the genesis that never changed its key.
    pub fn key_transactions(&self, issuer: &Issuer, key_number: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        let keys = self.issuer_state(issuer)?.map(|state| state.keys).unwrap_or_default();
        let brought = keys.iter().filter(|k| k.key_number <= key_number && k.brought_by != GENESIS_NUMBER);
        let mut envelopes = Vec::new();
        for key in brought {
            envelopes.extend(self.envelope(key.brought_by)?);
        }
        Ok(envelopes)
    }

    /// The encoding of a descriptor of an own stream.
    pub fn descriptor(&self, hash: &Hash) -> Result<Option<Vec<u8>>, StoreError> {
        let Some((place, _)) = self.ask(|view| view.descriptor(hash))? else { return Ok(None) };
        let frame = self.log.read(place)?;
        entry::descriptor_in(&frame).map(|(_, bytes)| Some(bytes.to_vec()))
    }

    /// All descriptors of own streams: hash and encoding.
    pub(super) fn descriptors(&self, view: &View) -> Result<Encoded, StoreError> {
        let mut descriptors = Vec::new();
        for (hash, place) in view.descriptors()? {
            let frame = self.log.read(place)?;
            descriptors.push((hash, entry::descriptor_in(&frame)?.1.into()));
        }
        Ok(descriptors)
    }

    /// A descriptor and the number of its stream.
    pub(super) fn described(&self, hash: &Hash) -> Result<(Arc<Descriptor>, u32), StoreError> {
        let found = self.ask(|view| view.descriptor(hash))?;
        let (place, stream) = found.ok_or_else(|| {
            StoreError::Write(format!("readings name descriptor {hash}, which the log does not hold"))
        })?;
        let frame = self.log.read(place)?;
        let (_, bytes) = entry::descriptor_in(&frame)?;
        Ok((Arc::new(codec::decode(bytes)?), stream))
    }

    /// The number of the stream that a descriptor describes.
    pub(super) fn stream_of(&self, hash: &Hash) -> Result<u32, StoreError> {
        let found = self.ask(|view| view.descriptor(hash))?;
        found.map(|(_, stream)| stream).ok_or_else(|| {
            StoreError::Write(format!("readings name descriptor {hash}, which the log does not hold"))
        })
    }

    /// What is kept of the own batch with this number on the chain.
    pub fn own_batch(&self, batch: u64) -> Result<Option<OwnBatch>, StoreError> {
        self.ask(|view| view.own_batch(batch))
    }

    /// The own batches in transactions that hold readings of a stream, the newest first, at most `max`.
    pub fn batches_of_stream(&self, stream: &str, max: usize) -> Result<Vec<u64>, StoreError> {
        self.ask(|view| {
            let Some(row) = view.stream(stream)? else { return Ok(Vec::new()) };
            let spans = view.spans(row.number, &((0, 0)..(u64::MAX, u32::MAX)), true, max)?;
            let mut batches: Vec<u64> = spans.into_iter().map(|span| span.batch).collect();
            batches.dedup();
            Ok(batches)
        })
    }

    /// The own batch with this number on the chain, from its archive segment.
    ///
    /// # Errors
    /// [`StoreError::NotHere`] when peers gave the batch back and its archive segment is not on this machine.
    pub fn archived(&self, batch: u64, own: &OwnBatch) -> Result<SealedBatch, StoreError> {
        match self.archive_segment(own.segment) {
            Err(StoreError::Io { source, .. }) if own.adopted && source.kind() == ErrorKind::NotFound => {
                Err(self.not_here(batch, own)?)
            }
            found => found,
        }
    }

    fn not_here(&self, batch: u64, own: &OwnBatch) -> Result<StoreError, StoreError> {
        let (mut last, mut until_ns) = (batch, own.last_time_ns);
        while let Some(next) = self.own_batch(last + 1)?.filter(|next| next.adopted) {
            (last, until_ns) = (last + 1, until_ns.max(next.last_time_ns));
        }
        Ok(StoreError::NotHere { batch, last, until_ns })
    }

    /// The batch in an archive segment.
    pub fn archive_segment(&self, segment: Hash) -> Result<SealedBatch, StoreError> {
        archive::read(segment, self.disk.as_ref())
    }

    /// Readings of a stream by receive time, ascending by counter: archived batches, then the journal, each reading
    /// once. None for a stream that is not known.
    pub fn readings(&self, stream: &str, range: Range) -> Result<Readings, StoreError> {
        Readings::new(self.clone(), stream, range)
    }

    /// Journaled readings that are in no transaction yet.
    pub fn backlog(&self) -> Result<Backlog, StoreError> {
        // The journal first: a batch that is freed between the two counts is seen in a transaction.
        let batches = self.journal.batches();
        let (next_journal, next_number) = self
            .ask(|view| Ok((view.state(state::NEXT_JOURNAL_BATCH)?, view.state(state::NEXT_CHAIN_BATCH)?)))?;
        let mut backlog = Backlog { next_number, ..Backlog::default() };
        for (batch, readings) in batches.into_iter().filter(|(batch, _)| *batch >= next_journal) {
            backlog.batches += 1;
            backlog.readings += readings;
            backlog.ends = Some((backlog.ends.map_or(batch, |(first, _)| first), batch));
        }
        Ok(backlog)
    }

    /// Bytes on the disk, by kind.
    pub fn disk_usage(&self) -> Result<DiskUsage, StoreError> {
        Ok(DiskUsage {
            log_bytes: self.log.disk_bytes(),
            journal_bytes: self.journal.disk_bytes(),
            index_bytes: self.index.disk_bytes(),
            archive_bytes: self.ask(|view| view.state(state::ARCHIVE_BYTES))?,
        })
    }

    /// All own streams by name, with the newest reading of each.
    pub fn streams(&self) -> Result<Vec<StreamInfo>, StoreError> {
        let journal = self.journal.snapshot();
        let view = self.view()?;
        let rows = view.streams()?;
        let mut pending = Pending::new(self.clone(), journal, &view)?;
        drop(view);
        let mut newest = Newest { reader: self, found: BTreeMap::new() };
        while let Some(batch) = pending.next_batch()? {
            newest.read_journal(&batch)?;
        }
        newest.read_archive(&rows, pending.first_number())?;
        rows.into_iter().map(|row| newest.info(row)).collect()
    }
}

/// Looks for the newest reading of each stream: in the journal, and for those that it does not have in the archive.
struct Newest<'a> {
    reader: &'a StoreReader,
    found: BTreeMap<u32, StreamReading>,
}

impl Newest<'_> {
    /// The batches come oldest first.
    fn read_journal(&mut self, pending: &PendingBatch) -> Result<(), StoreError> {
        for (index, span) in pending.content.streams.iter().enumerate() {
            let (descriptor, stream) = self.reader.described(&span.descriptor)?;
            if let Some(reading) = readings::journaled(&pending.content, index as u32)?.pop() {
                let (batch, transaction) = (pending.number, None);
                self.found.insert(stream, StreamReading { reading, descriptor, batch, transaction });
            }
        }
        Ok(())
    }

    /// A stream whose newest readings are not on this machine has no newest one.
    fn read_archive(&mut self, rows: &[StreamRow], next_batch: u64) -> Result<(), StoreError> {
        // By batch, so that each segment is read once.
        let mut wanted: BTreeMap<u64, Vec<(u32, u32)>> = BTreeMap::new();
        for row in rows.iter().filter(|row| !self.found.contains_key(&row.number)) {
            let last = self.reader.ask(|view| view.spans(row.number, &((0, 0)..(next_batch, 0)), true, 1))?;
            if let Some(span) = last.first() {
                wanted.entry(span.batch).or_default().push((row.number, span.index));
            }
        }
        for (batch, streams) in wanted {
            let (id, sealed) = match readings::archived_batch(self.reader, batch) {
                Err(StoreError::NotHere { .. }) => continue,
                found => found?,
            };
            let seen: BTreeSet<(u32, u32)> = streams.into_iter().collect();
            for (stream, index) in seen {
                let descriptor = readings::descriptor_of(&sealed, index)?;
                if let Some(reading) = readings::archived(&sealed, index)?.pop() {
                    let transaction = Some(id);
                    self.found.insert(stream, StreamReading { reading, descriptor, batch, transaction });
                }
            }
        }
        Ok(())
    }

    fn info(&mut self, row: StreamRow) -> Result<StreamInfo, StoreError> {
        let (descriptor, newest) = match self.found.remove(&row.number) {
            Some(newest) => (Arc::clone(&newest.descriptor), Some(newest)),
            None => (self.reader.described(&row.descriptor)?.0, None),
        };
        let journaled = newest.as_ref().map_or(0, |newest| newest.reading.counter + 1);
        Ok(StreamInfo {
            name: row.name,
            descriptor: Arc::unwrap_or_clone(descriptor),
            next_counter: row.next_counter.max(journaled),
            newest,
        })
    }
}
