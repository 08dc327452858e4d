//! A reading: one value of one stream at one source time, with quality.
//!
//! A numeric reading is 48 bytes, all little-endian; with its 16-byte salt it is one BLAKE3 block:
//!
//! ```text
//!  0 layout version u8 = 0      4 stream index in the batch u32   16 source time  i64 ns since 1970 UTC
//!  1 value type u8              8 the stream's gapless            24 receive time i64 ns since 1970 UTC
//!  2 quality u8                   counter u64                     32 status code of the source u32
//!  3 flags u8                                                     36 four zero bytes
//!                                                                 40 value u64 (raw integer, or bits of an f64 that is no NaN)
//! ```
//!
//! A text or opaque value has the same 48 bytes, its length in the value field, and the bytes beside it.

use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use crate::limits::READING_TEXT_BYTES_MAX;

/// Length of the fixed layout.
pub const READING_BYTES: usize = 48;
/// The fixed layout of one reading.
pub type Block = [u8; READING_BYTES];

/// The wall clock of the gateway was not synchronised when it stamped the reading.
pub const FLAG_UNSYNCHRONISED: u8 = 1;
/// The source may have delivered this reading twice (an MQTT message again after a lost session).
pub const FLAG_POSSIBLY_REPEATED: u8 = 2;
const FLAGS_KNOWN: u8 = FLAG_UNSYNCHRONISED | FLAG_POSSIBLY_REPEATED;

/// How much the source itself trusts the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Quality {
    /// Good.
    Good = 0,
    /// The source has doubts; the status code says which.
    Uncertain = 1,
    /// The source says that the value must not be used.
    Bad = 2,
    /// The link is down: the last value, with its old source time.
    Stale = 3,
    /// The device sent its mark for "not available" (0x8000, NaN, …); there is no value.
    NotAvailable = 4,
}

impl Quality {
    /// The quality with this number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Good,
            1 => Self::Uncertain,
            2 => Self::Bad,
            3 => Self::Stale,
            4 => Self::NotAvailable,
            _ => return None,
        })
    }
    /// For people and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Uncertain => "uncertain",
            Self::Bad => "bad",
            Self::Stale => "stale",
            Self::NotAvailable => "not-available",
        }
    }
}

/// The raw value, as the device gave it. Scaling is the descriptor's and never stored in its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: bad, or not available.
    None,
    /// A bit.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Unsigned(u64),
    /// A float, never NaN: [`Block`]s with NaN do not decode, adapters turn NaN into `NotAvailable`.
    Float(f64),
    /// Text.
    Text(String),
    /// Opaque bytes.
    Bytes(Vec<u8>),
}

impl Value {
    const fn type_number(&self) -> u8 {
        match self {
            Self::None => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Unsigned(_) => 3,
            Self::Float(_) => 4,
            Self::Text(_) => 5,
            Self::Bytes(_) => 6,
        }
    }
    const fn bits(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::Bool(bit) => *bit as u64,
            Self::Int(int) => *int as u64,
            Self::Unsigned(int) => *int,
            Self::Float(float) => float.to_bits(),
            Self::Text(text) => text.len() as u64,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
    /// The bytes that travel beside the block.
    pub fn long_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
    /// As a number, for scaling; `None` for no value, text and bytes.
    pub const fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(bit) => Some(if *bit { 1.0 } else { 0.0 }),
            Self::Int(int) => Some(*int as f64),
            Self::Unsigned(int) => Some(*int as f64),
            Self::Float(float) => Some(*float),
            Self::None | Self::Text(_) | Self::Bytes(_) => None,
        }
    }
}

/// One value of one stream at one source time, with quality.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Place of the stream in the stream table of the batch.
    pub stream_index: u32,
    /// The stream's own counter, from 0 without gaps.
    pub counter: u64,
    /// When the source says the value was taken, ns since 1970 UTC.
    pub source_time_ns: i64,
    /// When the gateway received it, ns since 1970 UTC.
    pub receive_time_ns: i64,
    /// Quality.
    pub quality: Quality,
    /// `FLAG_…`.
    pub flags: u8,
    /// The source's own status code; 0 where it has none.
    pub status: u32,
    /// The raw value.
    pub value: Value,
}

/// Why bytes are no reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReadingError {
    /// The layout version is not 0.
    #[error("reading: layout version {0}, expected 0")]
    Version(u8),
    /// The value type is unknown.
    #[error("reading: value type {0}, expected 0 to 6")]
    ValueType(u8),
    /// The quality is unknown.
    #[error("reading: quality {0}, expected 0 to 4")]
    Quality(u8),
    /// An unknown flag, or a byte that must be zero is not.
    #[error("reading: unknown flags or a reserved byte that is not zero")]
    Reserved,
    /// The value does not fit its type.
    #[error(
        "reading: the value does not fit its type (a NaN, a bit other than 0 and 1, a value where there is none)"
    )]
    Value,
    /// The bytes beside the block are missing, too many, not of the length named, or not UTF-8.
    #[error("reading: the text or bytes beside it do not fit")]
    Long,
}

impl Reading {
    /// The fixed layout.
    pub fn to_block(&self) -> Block {
        let mut block = [0; READING_BYTES];
        block[1] = self.value.type_number();
        block[2] = self.quality as u8;
        block[3] = self.flags;
        block[4..8].copy_from_slice(&self.stream_index.to_le_bytes());
        block[8..16].copy_from_slice(&self.counter.to_le_bytes());
        block[16..24].copy_from_slice(&self.source_time_ns.to_le_bytes());
        block[24..32].copy_from_slice(&self.receive_time_ns.to_le_bytes());
        block[32..36].copy_from_slice(&self.status.to_le_bytes());
        block[40..48].copy_from_slice(&self.value.bits().to_le_bytes());
        block
    }

    /// Reads the fixed layout, and the bytes beside it where the type has some.
    ///
    /// # Errors
    /// When a field holds what this version does not know, or the value does not fit its type.
    ///
    /// # Panics
    /// Never.
    pub fn from_block(block: &Block, long: Option<&[u8]>) -> Result<Self, ReadingError> {
        let word = |at: usize| u64::from_le_bytes(block[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().expect("four bytes"));
        if block[0] != 0 {
            return Err(ReadingError::Version(block[0]));
        }
        let quality = Quality::from_u8(block[2]).ok_or(ReadingError::Quality(block[2]))?;
        if block[3] & !FLAGS_KNOWN != 0 || half(36) != 0 {
            return Err(ReadingError::Reserved);
        }
        let value = value_from(block[1], word(40), long)?;
        Ok(Self {
            stream_index: half(4),
            counter: word(8),
            source_time_ns: word(16) as i64,
            receive_time_ns: word(24) as i64,
            quality,
            flags: block[3],
            status: half(32),
            value,
        })
    }
}

/// Does the value of this block lie beside it?
pub const fn is_long(block: &Block) -> bool {
    block[1] >= 5
}

fn value_from(type_number: u8, bits: u64, long: Option<&[u8]>) -> Result<Value, ReadingError> {
    if type_number < 5 && long.is_some() {
        return Err(ReadingError::Long);
    }
    match (type_number, bits) {
        (0, 0) => Ok(Value::None),
        (1, 0 | 1) => Ok(Value::Bool(bits == 1)),
        (2, _) => Ok(Value::Int(bits as i64)),
        (3, _) => Ok(Value::Unsigned(bits)),
        (4, _) if !f64::from_bits(bits).is_nan() => Ok(Value::Float(f64::from_bits(bits))),
        (0 | 1 | 4, _) => Err(ReadingError::Value),
        (5 | 6, length) => {
            let bytes = long.filter(|b| b.len() as u64 == length && b.len() <= READING_TEXT_BYTES_MAX);
            let bytes = bytes.ok_or(ReadingError::Long)?.to_vec();
            if type_number == 6 {
                return Ok(Value::Bytes(bytes));
            }
            String::from_utf8(bytes).map(Value::Text).map_err(|_| ReadingError::Long)
        }
        (other, _) => Err(ReadingError::ValueType(other)),
    }
}
