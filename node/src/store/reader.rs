//! Questions to the store, on any thread, beside the running writer. They see only what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_core::batch::BatchContent;
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

    /// The journal's records of a batch, in order: the answer to the effect `LoadBatch`. None when the batch is in a
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

    /// What is kept of an own batch that is in a transaction.
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
        let next_batch = self.ask(|view| view.state(state::NEXT_BATCH))?;
        let open = batches.into_iter().filter(|(batch, _)| *batch >= next_batch);
        Ok(open.fold(Backlog::default(), |sum, (_, readings)| Backlog {
            batches: sum.batches + 1,
            readings: sum.readings + readings,
        }))
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
        let (rows, next_batch) = self.ask(|view| Ok((view.streams()?, view.state(state::NEXT_BATCH)?)))?;
        let mut newest = Newest { reader: self, found: BTreeMap::new() };
        for batch in journal.into_iter().rev().filter(|b| b.number >= next_batch) {
            let content = readings::replay(batch)?;
            newest.read_journal(&content)?;
        }
        newest.read_archive(&rows, next_batch)?;
        rows.into_iter().map(|row| newest.info(row)).collect()
    }
}

/// Looks for the newest reading of each stream, from the newest batch backwards.
struct Newest<'a> {
    reader: &'a StoreReader,
    found: BTreeMap<u32, StreamReading>,
}

impl Newest<'_> {
    fn read_journal(&mut self, content: &BatchContent) -> Result<(), StoreError> {
        let mut within = BTreeMap::new();
        for index in 0..content.streams.len() {
            let (descriptor, stream) = self.reader.described(&content.streams[index].descriptor)?;
            if self.found.contains_key(&stream) {
                continue;
            }
            if let Some(reading) = readings::journaled(content, index as u32)?.pop() {
                let (batch, transaction) = (content.number, None);
                within.insert(stream, StreamReading { reading, descriptor, batch, transaction });
            }
        }
        self.found.extend(within);
        Ok(())
    }

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
            let (id, sealed) = readings::archived_batch(self.reader, batch)?;
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
