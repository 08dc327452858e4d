//! Records of the reading journal: where readings lie durable until their batch is in a transaction.
//!
//! A record stands for one submission, or for a part of it, and belongs to one journal batch. It holds the streams that
//! the batch meets here for the first time, and the readings. Replaying the records of a batch in order gives the batch
//! again, bit for bit, so a batch that was hashed before a crash has the same root after it.
//!
//! Journal batches have numbers of their own: local, ascending, never on the chain. What a batch is called on the chain is
//! decided when it is sealed; so are the counters of a floating batch ([`JournalRecord::floating`]).

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::border::Origin;
use crate::codec::{self, Canonical};
use crate::hash::Hash;
use crate::limits;
use crate::reading::{Block, READING_BYTES, is_long};

/// Longest encoding of an [`Origin`]: two varints and sixteen bytes.
const ORIGIN_BYTES_MAX: usize = 10 + 3 + 16;

/// A stream that a batch meets for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalStream {
    /// Its descriptor; the log holds it already.
    pub descriptor: Hash,
    /// The counter of its first reading in the batch.
    pub first: u64,
}

/// One submission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRecord {
    /// The journal batch.
    pub batch: u64,
    /// Are the counters provisional, the same in all records of a batch? Then they are given anew when the batch is
    /// sealed ([`ChainCounters::settle`](crate::counters::ChainCounters::settle)): it was journaled before this node knew
    /// how far its own chain goes.
    pub floating: bool,
    /// Wall time at which the core took it, ns since 1970 UTC.
    pub taken_at_ns: i64,
    /// Streams new to the batch: they follow those of the records before.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::BATCH_STREAMS_MAX }>")]
    pub streams: Vec<JournalStream>,
    /// The readings: blocks of 48 bytes, one after the other.
    #[serde(with = "serde_bytes")]
    pub blocks: Vec<u8>,
    /// The bytes beside long readings, one after the other, in order; lengths stand in the blocks.
    #[serde(with = "serde_bytes")]
    pub long: Vec<u8>,
    /// The messages that brought the readings, when a source wants to be acknowledged. They stand in the last record of
    /// a submission: whoever finds them, finds all its readings. The first record of a batch holds, before them, the
    /// whole window ([`Origins`](crate::origins::Origins)).
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::ORIGINS_PER_RECORD_MAX }>")]
    pub origins: Vec<Origin>,
}

impl Canonical for JournalRecord {
    const WHAT: &'static str = "journal record";
    const BYTES_MAX: usize = limits::SUBMIT_READINGS_MAX
        * (READING_BYTES + limits::READING_TEXT_BYTES_MAX + 43)
        + limits::ORIGINS_PER_RECORD_MAX * ORIGIN_BYTES_MAX
        + 64;

    fn check(&self) -> Result<(), &'static str> {
        if !self.blocks.len().is_multiple_of(READING_BYTES) || self.blocks.is_empty() {
            return Err("the readings are not whole blocks of 48 bytes, or none");
        }
        let mut long = 0_usize;
        for block in self.blocks().iter().filter(|b| is_long(b)) {
            long = long.saturating_add(long_bytes_of(block));
        }
        if long != self.long.len() {
            return Err("the bytes beside the readings are not as many as the readings say");
        }
        Ok(())
    }
}

impl JournalRecord {
    /// The readings.
    pub fn blocks(&self) -> &[Block] {
        self.blocks.as_chunks().0
    }
    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
}

/// The length that a long reading names, capped so that a sum cannot overflow.
pub(crate) fn long_bytes_of(block: &Block) -> usize {
    let length = u64::from_le_bytes(block[40..48].try_into().expect("eight bytes"));
    usize::try_from(length).unwrap_or(usize::MAX).min(limits::BATCH_BYTES_MAX + 1)
}
