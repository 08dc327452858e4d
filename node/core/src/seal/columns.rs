//! The columns of an archive segment: what a batch holds, arranged so that zstd finds little left to say.
//!
//! Column by column over the leaves, each stream by itself: source times as differences of differences, receive
//! times as changes of the lag behind the source, integers as differences, floats as XOR with the one before in
//! eight byte planes, and type, quality, flags and status as runs. Counters and stream indexes need no column: the
//! stream table gives them. Compression itself is the shell's; a segment is named by the hash of its compressed
//! bytes.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::SealedBatch;
use crate::codec::{self, Canonical, CodecError};
use crate::journal::long_bytes_of;
use crate::limits;
use crate::payload::StreamSpan;
use crate::reading::{Block, READING_BYTES, Reading, ReadingError, is_long};
use crate::stream::Descriptor;

const FLOAT: u8 = 4;

/// Why bytes are not the columns of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArchiveError {
    /// The frame does not decode.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A reading in it does not decode.
    #[error("archive segment: {0}")]
    Reading(#[from] ReadingError),
    /// A column ends too early, goes on too long, or contradicts another.
    #[error("archive segment: the column of {0} does not fit the others")]
    Column(&'static str),
}

/// Readings in a row with the same type, quality, flags and status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    length: u32,
    /// Value type, quality, flags.
    state: [u8; 3],
    status: u32,
}

/// All of a segment, as it is encoded.
#[derive(Serialize, Deserialize)]
struct Columns {
    version: u8,
    number: u64,
    secret: [u8; 32],
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::BATCH_STREAMS_MAX }>")]
    streams: Vec<StreamSpan>,
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::BATCH_STREAMS_MAX }>")]
    descriptors: Vec<serde_bytes::ByteBuf>,
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::BATCH_READINGS_MAX }>")]
    runs: Vec<Run>,
    #[serde(with = "serde_bytes")]
    source_times: Vec<u8>,
    #[serde(with = "serde_bytes")]
    lags: Vec<u8>,
    #[serde(with = "serde_bytes")]
    integers: Vec<u8>,
    #[serde(with = "serde_bytes")]
    floats: Vec<u8>,
    #[serde(with = "serde_bytes")]
    long: Vec<u8>,
}

impl Canonical for Columns {
    const WHAT: &'static str = "archive segment";
    const BYTES_MAX: usize =
        2 * limits::BATCH_BYTES_MAX + limits::BATCH_STREAMS_MAX * limits::DESCRIPTOR_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        if self.streams.len() != self.descriptors.len() || self.streams.len() > limits::BATCH_STREAMS_MAX {
            return Err("not one descriptor for each stream, or more than 1,024");
        }
        let total: u64 = self.streams.iter().map(|s| u64::from(s.count)).sum();
        if total > limits::BATCH_READINGS_MAX as u64 {
            return Err("more than 65,536 readings");
        }
        if self.runs.iter().map(|r| u64::from(r.length)).sum::<u64>() != total {
            return Err("the runs do not add up to the readings");
        }
        if self.streams.iter().any(|s| s.first.checked_add(u64::from(s.count)).is_none()) {
            return Err("a counter overflows");
        }
        let named = |(s, d): (&StreamSpan, &serde_bytes::ByteBuf)| Descriptor::hash_of(d) == s.descriptor;
        if !self.streams.iter().zip(&self.descriptors).all(named) {
            return Err("a descriptor does not have the hash that its stream names");
        }
        Ok(())
    }
}

/// The columns of a batch, uncompressed.
pub fn encode_columns(batch: &SealedBatch) -> Vec<u8> {
    let mut columns = Columns {
        version: 0,
        number: batch.number,
        secret: batch.secret,
        streams: batch.streams.clone(),
        descriptors: batch.descriptors.iter().map(|d| serde_bytes::ByteBuf::from(d.as_slice())).collect(),
        runs: Vec::new(),
        source_times: Vec::new(),
        lags: Vec::new(),
        integers: Vec::new(),
        floats: Vec::new(),
        long: batch.long.values().flatten().copied().collect(),
    };
    let mut floats = Vec::new();
    let mut blocks = batch.blocks.as_slice();
    for stream in &batch.streams {
        let (own, rest) = blocks.split_at(stream.count as usize);
        let mut before = Before::default();
        for block in own {
            encode_block(block, &mut before, &mut columns, &mut floats);
        }
        blocks = rest;
    }
    columns.floats = to_planes(&floats);
    codec::encode(&columns)
}

/// What the differences of one stream refer to.
#[derive(Default)]
struct Before {
    source_time: u64,
    step: u64,
    lag: u64,
    integer: u64,
    float: u64,
}

fn word(block: &Block, at: usize) -> u64 {
    u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"))
}

fn encode_block(block: &Block, before: &mut Before, columns: &mut Columns, floats: &mut Vec<u64>) {
    let state = [block[1], block[2], block[3]];
    let status = u32::from_le_bytes(block[32..36].try_into().expect("four bytes"));
    match columns.runs.last_mut() {
        Some(run) if run.state == state && run.status == status => run.length += 1,
        _ => columns.runs.push(Run { length: 1, state, status }),
    }
    let (source_time, receive_time, value) = (word(block, 16), word(block, 24), word(block, 40));
    let step = source_time.wrapping_sub(before.source_time);
    put_signed(&mut columns.source_times, step.wrapping_sub(before.step));
    let lag = receive_time.wrapping_sub(source_time);
    put_signed(&mut columns.lags, lag.wrapping_sub(before.lag));
    (before.source_time, before.step, before.lag) = (source_time, step, lag);
    if block[1] == FLOAT {
        floats.push(value ^ before.float);
        before.float = value;
    } else {
        put_signed(&mut columns.integers, value.wrapping_sub(before.integer));
        before.integer = value;
    }
}

/// The batch with these columns. There is one encoding of a batch.
pub fn decode_columns(bytes: &[u8]) -> Result<SealedBatch, ArchiveError> {
    let columns: Columns = codec::decode(bytes)?;
    let mut readers = Readers {
        source_times: &columns.source_times,
        lags: &columns.lags,
        integers: &columns.integers,
        floats: from_planes(&columns.floats)?.into_iter(),
    };
    let mut states = columns.runs.iter().flat_map(|run| core::iter::repeat_n(run, run.length as usize));
    let total: usize = columns.streams.iter().map(|s| s.count as usize).sum();
    let mut blocks = Vec::with_capacity(total);
    for (index, stream) in columns.streams.iter().enumerate() {
        let mut before = Before::default();
        for within in 0..u64::from(stream.count) {
            let run = states.next().ok_or(ArchiveError::Column("states"))?;
            blocks.push(readers.block(index as u32, stream.first + within, run, &mut before)?);
        }
    }
    readers.end()?;
    let long = split_long(&blocks, &columns.long)?;
    for (at, block) in blocks.iter().enumerate() {
        Reading::from_block(block, long.get(&(at as u32)).map(Vec::as_slice))?;
    }
    let batch = SealedBatch {
        number: columns.number,
        secret: columns.secret,
        streams: columns.streams,
        descriptors: columns.descriptors.into_iter().map(serde_bytes::ByteBuf::into_vec).collect(),
        blocks,
        long,
    };
    if encode_columns(&batch) != bytes {
        return Err(ArchiveError::Column("numbers (not the canonical encoding)"));
    }
    Ok(batch)
}

struct Readers<'a> {
    source_times: &'a [u8],
    lags: &'a [u8],
    integers: &'a [u8],
    floats: alloc::vec::IntoIter<u64>,
}

impl Readers<'_> {
    fn block(
        &mut self,
        index: u32,
        counter: u64,
        run: &Run,
        before: &mut Before,
    ) -> Result<Block, ArchiveError> {
        before.step = before
            .step
            .wrapping_add(take_signed(&mut self.source_times).ok_or(ArchiveError::Column("source times"))?);
        before.source_time = before.source_time.wrapping_add(before.step);
        before.lag = before
            .lag
            .wrapping_add(take_signed(&mut self.lags).ok_or(ArchiveError::Column("receive times"))?);
        let value = if run.state[0] == FLOAT {
            before.float ^= self.floats.next().ok_or(ArchiveError::Column("floats"))?;
            before.float
        } else {
            let step = take_signed(&mut self.integers).ok_or(ArchiveError::Column("integers"))?;
            before.integer = before.integer.wrapping_add(step);
            before.integer
        };
        let mut block = [0; READING_BYTES];
        block[1..4].copy_from_slice(&run.state);
        block[4..8].copy_from_slice(&index.to_le_bytes());
        block[8..16].copy_from_slice(&counter.to_le_bytes());
        block[16..24].copy_from_slice(&before.source_time.to_le_bytes());
        block[24..32].copy_from_slice(&before.source_time.wrapping_add(before.lag).to_le_bytes());
        block[32..36].copy_from_slice(&run.status.to_le_bytes());
        block[40..48].copy_from_slice(&value.to_le_bytes());
        Ok(block)
    }

    fn end(&mut self) -> Result<(), ArchiveError> {
        match (
            self.source_times.is_empty(),
            self.lags.is_empty(),
            self.integers.is_empty(),
            self.floats.next(),
        ) {
            (true, true, true, None) => Ok(()),
            (false, ..) => Err(ArchiveError::Column("source times")),
            (_, false, ..) => Err(ArchiveError::Column("receive times")),
            (_, _, false, _) => Err(ArchiveError::Column("integers")),
            _ => Err(ArchiveError::Column("floats")),
        }
    }
}

fn split_long(blocks: &[Block], mut bytes: &[u8]) -> Result<BTreeMap<u32, Vec<u8>>, ArchiveError> {
    let mut long = BTreeMap::new();
    for (at, block) in blocks.iter().enumerate().filter(|(_, b)| is_long(b)) {
        let (own, rest) =
            bytes.split_at_checked(long_bytes_of(block)).ok_or(ArchiveError::Column("texts"))?;
        long.insert(at as u32, own.to_vec());
        bytes = rest;
    }
    if bytes.is_empty() { Ok(long) } else { Err(ArchiveError::Column("texts")) }
}

/// A difference as a varint of its zigzag form.
fn put_signed(out: &mut Vec<u8>, difference: u64) {
    let signed = difference as i64;
    let mut rest = ((signed << 1) ^ (signed >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn take_signed(bytes: &mut &[u8]) -> Option<u64> {
    let mut zigzag = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1) ^ (zigzag & 1).wrapping_neg());
        }
    }
    None
}

/// All first bytes, then all second bytes, …: the high bytes of neighbours are alike.
fn to_planes(words: &[u64]) -> Vec<u8> {
    (0..8).rev().flat_map(|plane| words.iter().map(move |word| (word >> (plane * 8)) as u8)).collect()
}

fn from_planes(bytes: &[u8]) -> Result<Vec<u64>, ArchiveError> {
    if !bytes.len().is_multiple_of(8) {
        return Err(ArchiveError::Column("floats"));
    }
    let count = bytes.len() / 8;
    let mut words = alloc::vec![0_u64; count];
    for (at, byte) in bytes.iter().enumerate() {
        words[at % count.max(1)] |= u64::from(*byte) << ((7 - at / count.max(1)) * 8);
    }
    Ok(words)
}
