//! What a device sends to what a reading holds. Pure.
//!
//! | the device sends | value | quality | status |
//! |---|---|---|---|
//! | a number, a bit, a text | as sent, never scaled | good | 0 |
//! | its mark for "not available" (`not_available`), or a NaN | none | not-available | 0 |
//! | an infinite float | the infinity | uncertain | [`INFINITE`](status_code::INFINITE) |
//! | a text that is not UTF-8 | its bytes | uncertain | [`NOT_TEXT`](status_code::NOT_TEXT) |
//!
//! An infinity is kept, because it is a value of the device (an overflowed sum, a division by zero) and a reading can
//! hold it; uncertain, because no tank has that level. A NaN says nothing and a reading cannot hold it.
//!
//! # Order of bytes and words
//!
//! Modbus sends a register as two bytes, the high one first, and knows nothing longer. Letters name the bytes of the
//! value, `A` the most significant, in the order in which they arrive: a 4-byte value in two registers is `ABCD` by
//! most devices, `CDAB` with the low word first, `BADC` with the bytes of each word swapped, `DCBA` with both.

use std::fmt;

use selvedge_core::reading::{Quality, Value};
use selvedge_core::scaled::is_scaled;
use selvedge_core::stream::Descriptor;
use serde::{Serialize, Serializer};

use crate::status_code;

/// What kind of value lies in the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One bit of a register, 0 the least significant.
    Bit(u8),
    /// A coil or discrete input; of a register: whether it is not 0.
    Bool,
    /// Signed, one byte of a register.
    I8,
    /// Unsigned, one byte of a register.
    U8,
    /// Signed, one register.
    I16,
    /// Unsigned, one register.
    U16,
    /// Signed, two registers.
    I32,
    /// Unsigned, two registers.
    U32,
    /// Signed, four registers.
    I64,
    /// Unsigned, four registers.
    U64,
    /// IEEE 754 single, two registers.
    F32,
    /// IEEE 754 double, four registers.
    F64,
    /// Text of this many bytes, two to a register.
    Text(u16),
}

impl Kind {
    /// All numbers.
    pub const NUMBERS: [Self; 10] = [
        Self::I8,
        Self::U8,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::I64,
        Self::U64,
        Self::F32,
        Self::F64,
    ];

    /// Registers that it takes.
    pub const fn registers(self) -> u16 {
        match self {
            Self::Bit(_) | Self::Bool | Self::I8 | Self::U8 | Self::I16 | Self::U16 => 1,
            Self::I32 | Self::U32 | Self::F32 => 2,
            Self::I64 | Self::U64 | Self::F64 => 4,
            Self::Text(bytes) => bytes.div_ceil(2),
        }
    }
    /// Bits of a number; `None` for bits and texts, which have no mark for "not available".
    pub const fn number_bits(self) -> Option<u32> {
        match self {
            Self::I8 | Self::U8 => Some(8),
            Self::Bit(_) | Self::Bool | Self::Text(_) => None,
            _ => Some(self.registers() as u32 * 16),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Bit(bit) => return write!(f, "bit({bit})"),
            Self::Text(bytes) => return write!(f, "string({bytes})"),
            Self::Bool => "bool",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::F32 => "f32",
            Self::F64 => "f64",
        };
        f.write_str(name)
    }
}

/// In which order the parts of a value arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Order {
    /// The least significant word comes first.
    pub words_reversed: bool,
    /// The low byte of each register comes first.
    pub bytes_swapped: bool,
}

impl Order {
    /// The orders that a kind may have; the first is the default.
    pub const fn choices(kind: Kind) -> &'static [(&'static str, Self)] {
        const PLAIN: Order = Order { words_reversed: false, bytes_swapped: false };
        const SWAPPED: Order = Order { words_reversed: false, bytes_swapped: true };
        const REVERSED: Order = Order { words_reversed: true, bytes_swapped: false };
        const BOTH: Order = Order { words_reversed: true, bytes_swapped: true };
        match kind {
            Kind::I8 | Kind::U8 => &[("B", PLAIN), ("A", SWAPPED)],
            Kind::Bit(_) | Kind::I16 | Kind::U16 | Kind::Text(_) => &[("AB", PLAIN), ("BA", SWAPPED)],
            Kind::I32 | Kind::U32 | Kind::F32 => {
                &[("ABCD", PLAIN), ("CDAB", REVERSED), ("BADC", SWAPPED), ("DCBA", BOTH)]
            }
            Kind::I64 | Kind::U64 | Kind::F64 => {
                &[("ABCDEFGH", PLAIN), ("GHEFCDAB", REVERSED), ("BADCFEHG", SWAPPED), ("HGFEDCBA", BOTH)]
            }
            Kind::Bool => &[],
        }
    }

    /// Its letters for a kind; empty where order means nothing.
    pub fn letters(self, kind: Kind) -> &'static str {
        Self::choices(kind).iter().find(|(_, order)| *order == self).map_or("", |(letters, _)| letters)
    }
}

/// Stands among the marks of a text for "a text without a character": registers of nothing but zeros.
pub const EMPTY_TEXT: u64 = 0;

/// How a value lies in its registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoding {
    /// Its kind.
    pub kind: Kind,
    /// Its order.
    pub order: Order,
    /// Bit patterns that mean "not available", in the width of the kind. With texts, [`EMPTY_TEXT`] if one without a
    /// character means that.
    pub not_available: Vec<u64>,
    /// Of an unsigned number only this bit, 0 the least significant, as a flag.
    pub bit: Option<u8>,
}

/// What a device sent, as a reading holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The raw value.
    pub value: Value,
    /// Its quality.
    pub quality: Quality,
    /// Status code ([`status_code`]).
    pub status: u32,
}

impl Decoded {
    pub(crate) const fn good(value: Value) -> Self {
        Self { value, quality: Quality::Good, status: status_code::NONE }
    }
    pub(crate) const fn not_available() -> Self {
        Self { value: Value::None, quality: Quality::NotAvailable, status: status_code::NONE }
    }
    /// No value, for this reason.
    pub const fn bad(status: u32) -> Self {
        Self { value: Value::None, quality: Quality::Bad, status }
    }
}

/// A coil or discrete input.
pub const fn decode_bit(bit: bool) -> Decoded {
    Decoded::good(Value::Bool(bit))
}

/// The value in these registers, which must be as many as the kind takes; else it is bad, by the status
/// [`PROTOCOL`](status_code::PROTOCOL).
pub fn decode_registers(encoding: &Encoding, registers: &[u16]) -> Decoded {
    let Encoding { kind, order, not_available, bit } = encoding;
    if registers.len() != usize::from(kind.registers()) {
        return Decoded::bad(status_code::PROTOCOL);
    }
    if let Kind::Text(bytes) = kind {
        let decoded = decode_text(*order, usize::from(*bytes), registers);
        let is_marked = not_available.contains(&EMPTY_TEXT) && decoded.value == Value::Text(String::new());
        return if is_marked { Decoded::not_available() } else { decoded };
    }
    let raw = integer(*order, registers);
    // One byte of a register is its low one, after its bytes were put in order.
    let raw = if kind.number_bits() == Some(8) { raw & 0xFF } else { raw };
    if not_available.contains(&raw) {
        return Decoded::not_available();
    }
    if let Some(bit) = bit {
        return Decoded::good(Value::Bool(raw >> (bit % 64) & 1 == 1));
    }
    Decoded::good(match kind {
        Kind::Bit(bit) => Value::Bool(raw >> (bit % 16) & 1 == 1),
        Kind::Bool => Value::Bool(raw != 0),
        Kind::I8 => Value::Int(i64::from(raw as u8 as i8)),
        Kind::I16 => Value::Int(i64::from(raw as u16 as i16)),
        Kind::I32 => Value::Int(i64::from(raw as u32 as i32)),
        Kind::I64 => Value::Int(raw as i64),
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Value::Unsigned(raw),
        Kind::F32 => return decode_float(f64::from(f32::from_bits(raw as u32))),
        Kind::F64 => return decode_float(f64::from_bits(raw)),
        Kind::Text(_) => unreachable!("texts were handled above"),
    })
}

pub(crate) fn decode_float(float: f64) -> Decoded {
    if float.is_nan() {
        return Decoded::not_available();
    }
    if float.is_infinite() {
        return Decoded {
            value: Value::Float(float),
            quality: Quality::Uncertain,
            status: status_code::INFINITE,
        };
    }
    Decoded::good(Value::Float(float))
}

/// Up to the first zero byte, without white space at the end.
fn decode_text(order: Order, length: usize, registers: &[u16]) -> Decoded {
    let word =
        |register: &u16| if order.bytes_swapped { register.to_le_bytes() } else { register.to_be_bytes() };
    let mut bytes: Vec<u8> = registers.iter().flat_map(word).take(length).collect();
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes.truncate(bytes.trim_ascii_end().len());
    match String::from_utf8(bytes) {
        Ok(text) => Decoded::good(Value::Text(text)),
        Err(error) => Decoded {
            value: Value::Bytes(error.into_bytes()),
            quality: Quality::Uncertain,
            status: status_code::NOT_TEXT,
        },
    }
}

/// The registers as one integer, at most four of them.
fn integer(order: Order, registers: &[u16]) -> u64 {
    let join = |all: u64, word: &u16| {
        all << 16 | u64::from(if order.bytes_swapped { word.swap_bytes() } else { *word })
    };
    if order.words_reversed { registers.iter().rev().fold(0, join) } else { registers.iter().fold(0, join) }
}

/// A value as people see it: the text of [`selvedge_core::scaled`], and what kind of value it is. In JSON a plain
/// value, and `null` for none or an infinite number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scaled {
    /// No value.
    None,
    /// A bit.
    Bool(bool),
    /// A number with all of its digits, or `inf`, `-inf`.
    Number(String),
    /// A text.
    Text(String),
    /// Bytes, in hexadecimal.
    Bytes(String),
}

impl Scaled {
    /// As a number, the nearest one; bits are 0 and 1.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Bool(bit) => Some(if *bit { 1.0 } else { 0.0 }),
            Self::Number(text) => text.parse().ok(),
            Self::None | Self::Text(_) | Self::Bytes(_) => None,
        }
    }
}

impl fmt::Display for Scaled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Bool(bit) => write!(f, "{bit}"),
            Self::Number(text) | Self::Bytes(text) => f.write_str(text),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl Serialize for Scaled {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Bool(bit) => serializer.serialize_bool(*bit),
            Self::Number(text) => serialize_number(text, serializer),
            Self::Text(text) | Self::Bytes(text) => serializer.serialize_str(text),
        }
    }
}

/// As the first of `i64`, `u64` and `f64` that can hold it; a float has 17 digits at most.
fn serialize_number<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    if let Ok(int) = text.parse() {
        return serializer.serialize_i64(int);
    }
    if let Ok(int) = text.parse() {
        return serializer.serialize_u64(int);
    }
    match text.parse() {
        Ok(float) if f64::is_finite(float) => serializer.serialize_f64(float),
        _ => serializer.serialize_none(),
    }
}

/// The raw value scaled by its descriptor, exact; see [`selvedge_core::scaled::scaled`]. A bit that the descriptor
/// scales is a number.
pub fn scaled(raw: &Value, descriptor: &Descriptor) -> Scaled {
    let Some(text) = selvedge_core::scaled::scaled(raw, descriptor) else { return Scaled::None };
    match raw {
        Value::Bool(bit) if !is_scaled(descriptor) => Scaled::Bool(*bit),
        Value::Text(_) => Scaled::Text(text),
        Value::Bytes(_) => Scaled::Bytes(text),
        _ => Scaled::Number(text),
    }
}
