//! Batches: open while readings come in, closed when full, old or urgent, and the same again from the journal.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::codec::{self, CodecError};
use crate::hash::{Hash, Issuer, NetworkId, context};
use crate::journal::{JournalRecord, JournalStream, long_bytes_of};
use crate::limits;
use crate::reading::{Block, Reading, ReadingError, is_long};

/// The readings of one stream in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchStream {
    /// The descriptor in force.
    pub descriptor: Hash,
    /// The counter of its first reading.
    pub first: u64,
    /// Its readings.
    pub count: u32,
}

/// Why records of the journal do not make a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BatchError {
    /// A record does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A reading does not decode.
    #[error(transparent)]
    Reading(#[from] ReadingError),
    /// Of the records of one batch some have provisional counters and some have not.
    #[error("one journal record says floating = {floating}, those of its batch before it say the opposite")]
    Mixed {
        /// Is the record floating?
        floating: bool,
    },
    /// A record belongs to another batch.
    #[error("journal record of batch {got} among those of batch {expected}")]
    OtherBatch {
        /// The record's batch.
        got: u64,
        /// The batch.
        expected: u64,
    },
    /// A reading names a stream beyond the batch's table.
    #[error("a reading names stream {got} of {expected}")]
    NoSuchStream {
        /// Its index.
        got: u32,
        /// Streams in the table.
        expected: usize,
    },
    /// The counters of a stream have a gap or go back.
    #[error("stream {stream} has counter {got}, expected {expected}")]
    Counter {
        /// The stream's index.
        stream: u32,
        /// The counter.
        got: u64,
        /// One more than the one before.
        expected: u64,
    },
    /// More streams, readings or bytes than a batch may hold.
    #[error("more streams, readings or bytes than a batch may hold")]
    TooLarge,
}

/// The readings of a journal batch, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchContent {
    /// Number of the journal batch: local, and no number on the chain.
    pub number: u64,
    /// Are its counters provisional?
    pub floating: bool,
    /// Its streams, in the order in which it met them.
    pub streams: Vec<BatchStream>,
    /// The readings.
    pub blocks: Vec<Block>,
    /// Bytes beside the long ones, by place in `blocks`.
    pub long: BTreeMap<u32, Vec<u8>>,
    /// Bytes of all readings.
    pub bytes: usize,
}

impl BatchContent {
    /// An empty batch.
    pub fn new(number: u64) -> Self {
        Self { number, ..Self::default() }
    }

    /// Replays one record of the journal. On an error the batch is as it was.
    pub fn replay(&mut self, record: &[u8]) -> Result<JournalRecord, BatchError> {
        let record: JournalRecord = codec::decode(record)?;
        if record.batch != self.number {
            return Err(BatchError::OtherBatch { got: record.batch, expected: self.number });
        }
        self.check_record(&record)?;
        self.apply(&record);
        Ok(record)
    }

    /// One more reading; its stream is in the table.
    pub(crate) fn push(&mut self, block: &Block, long: Option<&Vec<u8>>) {
        if let Some(bytes) = long {
            self.long.insert(self.blocks.len() as u32, bytes.clone());
            self.bytes += bytes.len();
        }
        self.blocks.push(*block);
        self.bytes += block.len();
    }

    /// Takes a record that [`check_record`](Self::check_record) would pass, as the core itself makes them.
    pub(crate) fn apply(&mut self, record: &JournalRecord) {
        self.floating = record.floating;
        for JournalStream { descriptor, first } in &record.streams {
            self.streams.push(BatchStream { descriptor: *descriptor, first: *first, count: 0 });
        }
        let mut long = record.long.as_slice();
        self.blocks.reserve(record.blocks().len());
        for block in record.blocks() {
            if is_long(block) {
                let (bytes, rest) = long.split_at(long_bytes_of(block));
                self.long.insert(self.blocks.len() as u32, bytes.to_vec());
                self.bytes += bytes.len();
                long = rest;
            }
            self.streams[stream_index(block) as usize].count += 1;
            self.blocks.push(*block);
            self.bytes += block.len();
        }
    }

    fn check_record(&self, record: &JournalRecord) -> Result<(), BatchError> {
        if record.floating != self.floating && !self.blocks.is_empty() {
            return Err(BatchError::Mixed { floating: record.floating });
        }
        let mut next: Vec<u64> = self.streams.iter().map(|s| s.first + u64::from(s.count)).collect();
        next.extend(record.streams.iter().map(|s| s.first));
        let mut long = record.long.as_slice();
        for block in record.blocks() {
            let beside = is_long(block).then(|| long.split_at(long_bytes_of(block)));
            let reading = Reading::from_block(block, beside.map(|(bytes, _)| bytes))?;
            long = beside.map_or(long, |(_, rest)| rest);
            let stream = reading.stream_index;
            let streams = next.len();
            let expected = next
                .get_mut(stream as usize)
                .ok_or(BatchError::NoSuchStream { got: stream, expected: streams })?;
            if reading.counter != *expected {
                return Err(BatchError::Counter { stream, got: reading.counter, expected: *expected });
            }
            *expected = expected.checked_add(1).ok_or(BatchError::TooLarge)?;
        }
        let bytes = self.bytes + record.blocks.len() + record.long.len();
        if next.len() > limits::BATCH_STREAMS_MAX
            || self.blocks.len() + record.blocks().len() > limits::BATCH_READINGS_MAX
            || bytes > limits::BATCH_BYTES_MAX
        {
            return Err(BatchError::TooLarge);
        }
        Ok(())
    }
}

/// The stream index in a block.
pub(crate) fn stream_index(block: &Block) -> u32 {
    u32::from_le_bytes(block[4..8].try_into().expect("four bytes"))
}

/// A batch that takes no more readings, with the secret of its salts and the descriptors of its streams.
#[derive(Clone, PartialEq, Eq)]
pub struct ClosedBatch {
    /// Number of the batch on the own chain: the payload carries it, and the secret derives from it.
    pub number: u64,
    /// The readings.
    pub content: BatchContent,
    /// Salts derive from it. Kept in the archive segment, with the readings.
    pub secret: [u8; 32],
    /// Encoded descriptors, in the order of `content.streams`.
    pub descriptors: Vec<Arc<[u8]>>,
}

impl fmt::Debug for ClosedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (journal, readings) = (self.content.number, self.content.blocks.len());
        write!(f, "ClosedBatch({}, journal batch {journal}, {readings} readings)", self.number)
    }
}

/// The secret of the own batch with this number on the chain, from the gateway's salt key.
pub fn secret_of(salt_key: &[u8; 32], network: NetworkId, issuer: Issuer, number: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context::BATCH_SECRET);
    hasher.update(salt_key).update(&network.0).update(&issuer.0).update(&number.to_le_bytes());
    *hasher.finalize().as_bytes()
}
