//! The store: everything a node keeps. A segment log is the truth, redb is an index that can be made again from it.
//!
//! # Order
//!
//! [`Store::commit`] takes a group of writes: log appended and synced, journal appended and synced, index committed;
//! then it returns, and only then may anybody be told. After any error the handle takes nothing more: reopen, or exit.
//!
//! # What lies in the data folder
//!
//! All numbers are little-endian. "Check" is CRC32C. A sector is 512 bytes.
//!
//! ```text
//! lock               the pid of the owner; locked by the kernel while it runs
//! identity           8 "selvedge" | 4 version 0 | 32 network id | 32 issuer | 4 check over all before
//! log/NNNNNN.seg     transactions and descriptors, in the order in which they were attached
//! journal/NNNNNN.seg readings whose batch is in no transaction yet
//! index.redb         the index (tables: see the head of index.rs)
//! index.damaged      is there when damage of the index was found at run time: the next start makes it again
//! archive/xx/HASH    one sealed batch: core's columns, zstd; HASH is the hash of the file, xx its first two digits
//! archive/xx/N.tmp   a segment that was being written
//! ```
//!
//! **Segment file.** The number in its name says nothing; the header does. A file is recycled by writing another
//! header, so nothing needs a rename or a sync of the folder.
//!
//! ```text
//! header, the first sector; a copy of it, the second
//!      0  8  "selvseg0"                 16  8  number of the segment, from 0 without gaps
//!      8  1  purpose: 'L' log,          24  8  number of its first frame
//!            'J' journal                32  8  tag: in the journal the batch of its first frame, else 0
//!      9  3  zeros                      40  8  nonce: random for each life of the file
//!     12  4  length of the segment      48  4  check over bytes 0 to 47
//! frame, at a multiple of 8
//!      0  3  length of the payload       8  8  number of the frame (of all frames of this log), XOR nonce
//!      3  1  kind, from 1               16  4  how many frames before it no sync covered when it was written
//!      4  4  check over segment number, 20     payload, then zeros to a multiple of 8
//!            nonce, bytes 0 to 3, number
//!            of the frame, bytes 16 to
//!            19, payload
//! ```
//!
//! A group that was synced is padded to whole sectors and never touched again. A segment is synced before the header
//! of the next is written, and that header, then its copy, before any frame in it. So at the start the end of the log is where the
//! last segment has no frame with the next number; if a frame after it says that it was durable, that is damage and
//! an error, and else it is what the power cut left of the last group: it is overwritten, so that it never comes back.
//!
//! Payload in the log, kind 1, a transaction: 4 bytes length of the head; head (postcard: the core's record, the key
//! number and key that it brings or none, whether it carries an own batch, adopted or made from which journal batch); the
//! envelope as received. Kind 2, a
//! descriptor: 32 bytes hash; its encoding. In the journal, kind 1: 8 bytes journal batch; the core's journal
//! record.
//!
//! # Assumed of the medium
//!
//! A sector that is not being written does not change. What a sync covered stays. Everything else may be lost, kept
//! or garbage after a power cut, in any mixture; `tests.rs` does all of it to this store.

pub mod archive;
mod committer;
mod disk;
mod entry;
mod error;
mod identity;
mod index;
mod journal;
mod log;
mod memdisk;
mod pending;
mod reader;
mod readings;
mod recover;
mod serve;
#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use selvedge_core::border::{Restored, Write};
use selvedge_core::codec;
use selvedge_core::hash::{Hash, Issuer, Network};
use selvedge_core::stream::Descriptor;

pub use committer::{Committer, GroupOutcome};
pub use disk::{Disk, DiskFile, LOCK_FILE, RealDisk};
pub use error::StoreError;
pub use index::OwnBatch;
pub use memdisk::{CrashPolicy, Faults, MemDisk, SECTOR_BYTES};
pub use pending::{Pending, PendingBatch};
pub use reader::{Backlog, DiskUsage, StoreReader, StreamInfo};
pub use readings::{Range, Readings, StreamReading};
pub use serve::{Places, TransactionPlace};

use index::{Index, Item};
use journal::Journal;
use log::SegmentLog;

/// What a store is opened with.
#[derive(Debug, Clone)]
pub struct StoreOptions<'a> {
    /// The network whose ledger it holds.
    pub network: &'a Network,
    /// The gateway whose folder it is.
    pub issuer: Issuer,
    /// Length of a segment file, at most 16 MiB. It bounds the longest journal record.
    pub segment_bytes: u32,
    /// After this many transactions the index is made durable.
    pub index_every: u64,
    /// Newest records that [`Restored::recent`] holds.
    pub window_records: usize,
}

impl<'a> StoreOptions<'a> {
    /// 16 MiB segments, an index that is durable every 20,000 transactions (what was measured to wear a card least),
    /// and the core's whole window.
    pub const fn new(network: &'a Network, issuer: Issuer) -> Self {
        Self {
            network,
            issuer,
            segment_bytes: 16 * 1024 * 1024,
            index_every: 20_000,
            window_records: selvedge_core::limits::WINDOW_RECORDS,
        }
    }
}

/// What opening found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Was the folder empty?
    pub new: bool,
    /// Entries of the log that were applied to the index.
    pub replayed: u64,
    /// Why the index was made again from the log, when it was.
    pub rebuilt: Option<String>,
    /// Entries that the index knew and the log does not hold: the disk lost what it had said was durable, or the
    /// folder is of two ages. Own transactions may be among them, so a node must not go on issuing without asking.
    pub lost_entries: u64,
    /// Frames of an unfinished last group that were dropped from the log; none of them was ever acknowledged.
    pub log_cut_frames: u64,
    /// The same for the journal.
    pub journal_cut_frames: u64,
}

/// The store, for its one writer.
#[derive(Debug)]
pub struct Store {
    issuer: Issuer,
    log: SegmentLog,
    journal: Journal,
    index: Index,
    index_every: u64,
    /// Transactions since the index was durable.
    since_durable: u64,
    reader: StoreReader,
    poisoned: Option<String>,
}

impl Store {
    /// Opens a data folder, repairs what a crash left, and says where the ledger stands.
    ///
    /// # Errors
    /// A folder of another network or issuer; damage that no power cut explains; any error of the disk.
    pub fn open(
        disk: Arc<dyn Disk>,
        options: &StoreOptions<'_>,
    ) -> Result<(Self, Restored, OpenReport), StoreError> {
        let network = options.network.id();
        let new = identity::check(disk.as_ref(), network, options.issuer)?;
        let (log, cut) = SegmentLog::open(Arc::clone(&disk), entry::LOG, options.segment_bytes)?;
        let mut report = OpenReport { new, log_cut_frames: cut.cut_frames, ..OpenReport::default() };
        let index = recover::index(&disk, &log, options, &mut report)?;
        let next_batch = index.reader().view()?.state(index::state::NEXT_JOURNAL_BATCH)?;
        let (journal, cut) = Journal::open(Arc::clone(&disk), options.segment_bytes, next_batch)?;
        report.journal_cut_frames = cut.cut_frames;
        let reader = StoreReader::new(disk, index.reader(), log.reader(), journal.reader());
        let mut restored = recover::restored(&reader, options.window_records)?;
        restored.origins = journal.origins();
        let store = Self {
            issuer: options.issuer,
            log,
            journal,
            index,
            index_every: options.index_every.max(1),
            since_durable: 0,
            reader,
            poisoned: None,
        };
        Ok((store, restored, report))
    }

    /// For questions, on any thread, beside the writer. Sees only what is durable.
    pub fn reader(&self) -> StoreReader {
        self.reader.clone()
    }

    /// Makes a group of writes durable, in order, after all before it.
    ///
    /// # Errors
    /// After any error nothing of the group may be acknowledged, and the handle takes nothing more.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if let Some(why) = &self.poisoned {
            return Err(StoreError::Poisoned { why: why.clone() });
        }
        let outcome = self.commit_group(writes);
        if let Err(why) = &outcome {
            self.index.reader().note_damage(why);
            self.poisoned = Some(why.to_string());
        }
        outcome
    }

    fn commit_group(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut items = Vec::new();
        let (mut transactions, mut journaled, mut freed) = (0, false, None);
        for write in writes {
            match write {
                Write::Journal { batch, record } => {
                    self.journal.append(*batch, record)?;
                    journaled = true;
                }
                Write::Descriptor { hash, bytes } => items.push(self.append_descriptor(*hash, bytes)?),
                Write::Transaction { record, envelope, key, batch, journal } => {
                    let batch = batch.as_deref();
                    let place = entry::append_transaction(
                        &mut self.log,
                        record,
                        envelope,
                        key.as_ref(),
                        entry::Carries::of(batch, *journal),
                    )?;
                    let own = record.issuer == self.issuer;
                    let wall_ns = if own { Some(entry::claimed_wall_ns(envelope)?) } else { None };
                    let (key, journal) = (key.as_ref(), *journal);
                    items.push(Item::Transaction { place, record, key, batch, journal, wall_ns });
                    transactions += 1;
                    freed = freed.max(journal.map(|journal| journal + 1));
                }
            }
        }
        // The log first: a journal record names descriptors that the log holds.
        self.log.sync()?;
        if journaled {
            self.journal.sync()?;
        }
        if !items.is_empty() {
            self.since_durable += transactions;
            let durable = self.since_durable >= self.index_every;
            self.index.apply(&items, self.log.next_sequence(), durable)?;
            if durable {
                self.since_durable = 0;
            }
        }
        self.journal.publish();
        if let Some(before) = freed {
            self.journal.free_before(before);
        }
        Ok(())
    }

    fn append_descriptor<'a>(&mut self, hash: Hash, bytes: &[u8]) -> Result<Item<'a>, StoreError> {
        let stream = codec::decode::<Descriptor>(bytes)?.name;
        if Descriptor::hash_of(bytes) != hash {
            return Err(StoreError::Write(format!("descriptor of {stream} does not have the hash {hash}")));
        }
        let place = entry::append_descriptor(&mut self.log, hash, bytes)?;
        Ok(Item::Descriptor { place, hash, stream })
    }

    /// Makes the index durable too, so that the next start has nothing to do.
    ///
    /// # Errors
    /// Of the disk. What was committed is safe all the same: the log holds it.
    pub fn close(mut self) -> Result<(), StoreError> {
        if let Some(why) = self.poisoned.take() {
            return Err(StoreError::Poisoned { why });
        }
        self.index.apply(&[], self.log.next_sequence(), true)
    }
}
