//! What an OPC-UA server says to what a reading holds (OPC 10000-4, 7.11 `DataValue`; OPC 10000-6, 5.2.2). Pure.
//!
//! | the server says | value | quality | status |
//! |---|---|---|---|
//! | a scalar with a Good status | as sent, never scaled | good | the server's |
//! | the same with an Uncertain one | as sent | uncertain | the server's |
//! | a Bad status | none, whatever came along | bad | the server's |
//! | null, a NaN, or a mark of the configuration | none | not-available | the server's |
//! | an infinite float | the infinity | uncertain | [`INFINITE`](status_code::INFINITE) |
//! | a structure | its bytes in the binary encoding | uncertain | [`STRUCTURE`](status_code::STRUCTURE) |
//! | an array, and no `index` is configured | none | bad | [`ARRAY`](status_code::ARRAY) |
//! | anything else than what `index` needs | none | bad | [`NO_ELEMENT`](status_code::NO_ELEMENT) |
//! | more than a reading may hold | none | bad | [`TOO_LONG`](status_code::TOO_LONG) |
//!
//! A status of the server that is Uncertain wins over one of ours; a Good one, whatever its lower bits say, does not.
//!
//! # Times
//! The source time is the server's `SourceTimestamp`; where there is none, its `ServerTimestamp`, which is the time at
//! which the server heard of the value. Where there is neither, the time of receipt stands in its place, and the
//! reading is uncertain by the status [`NO_TIME`](status_code::NO_TIME). A time that cannot be is kept as it is, and
//! the reading is uncertain by the status [`ODD_TIME`](status_code::ODD_TIME).

use std::sync::LazyLock;

use opcua::types::{ContextOwned, DataValue, DateTime, ExtensionObject, StatusCode, UAString, Variant};
use selvedge_core::limits::READING_TEXT_BYTES_MAX;
use selvedge_core::reading::{Quality, Value};

use crate::clock::is_sane;
pub use crate::clock::{AHEAD_MAX, EARLIEST_NS};
use crate::mapping::Decoded;
use crate::status_code;

/// Ticks of 100 ns from 1601 to 1970 (OPC 10000-6, 5.2.2.5).
pub(crate) const EPOCH_TICKS: i64 = 116_444_736_000_000_000;
/// A value within a value within a value…: no server has more than one.
const NESTED_MAX: usize = 4;

/// What a raw value must be to mean "not available".
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// This integer, or a float that is exactly it.
    Integer(i128),
    /// This float.
    Float(f64),
    /// This text.
    Text(String),
}

impl Mark {
    fn is(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Integer(mark), Value::Int(value)) => *mark == i128::from(*value),
            (Self::Integer(mark), Value::Unsigned(value)) => *mark == i128::from(*value),
            (Self::Integer(mark), Value::Float(value)) => same(*mark as f64, *value),
            (Self::Float(mark), Value::Float(value)) => same(*mark, *value),
            (Self::Text(mark), Value::Text(value)) => mark == value,
            _ => false,
        }
    }
}

/// The same number: a mark is written as exactly what the device sends.
fn same(mark: f64, value: f64) -> bool {
    mark.total_cmp(&value).is_eq()
}

/// How the value of one stream is taken from what a node holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picker {
    /// Which element of an array, counted from 0, the last dimension running fastest; `None`: the node holds a scalar.
    pub index: Option<u32>,
    /// What means "not available".
    pub not_available: Vec<Mark>,
}

/// A value with its times.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// Value, quality, status.
    pub decoded: Decoded,
    /// When the source says the value was taken, ns since 1970 UTC.
    pub source_time_ns: i64,
}

/// The reading in `data`, received at `receive_time_ns` (ns since 1970 UTC).
pub fn take(data: &DataValue, picker: &Picker, receive_time_ns: i64) -> Taken {
    let mut decoded = decode(data, picker);
    let said = source_time_ns(data);
    let source_time_ns = said.unwrap_or(receive_time_ns);
    let doubt = match said {
        None => Some(status_code::NO_TIME),
        Some(time) if !is_sane(time, receive_time_ns) => Some(status_code::ODD_TIME),
        Some(_) => None,
    };
    if let Some(status) = doubt
        && decoded.quality == Quality::Good
    {
        decoded.quality = Quality::Uncertain;
        decoded.status = status;
    }
    Taken { decoded, source_time_ns }
}

/// The time of the source, or else of the server; `None` when neither is there, or beyond what 64 bits hold.
fn source_time_ns(data: &DataValue) -> Option<i64> {
    let time = |stamp: Option<&DateTime>, tens_of_ps: Option<u16>| {
        let ns = time_ns(stamp?)?;
        // OPC 10000-6, 5.2.2.17: more than 9999 means 9999.
        Some(ns.saturating_add(i64::from(tens_of_ps.unwrap_or(0).min(9_999) / 100)))
    };
    time(data.source_timestamp.as_ref(), data.source_picoseconds)
        .or_else(|| time(data.server_timestamp.as_ref(), data.server_picoseconds))
}

/// Nanoseconds since 1970 UTC; `None` for no time, and for one that 64 bits do not hold (before 1678, after 2262).
pub fn time_ns(time: &DateTime) -> Option<i64> {
    if time.is_null() {
        return None;
    }
    time.ticks().checked_sub(EPOCH_TICKS)?.checked_mul(100)
}

/// Value, quality and status, without the times.
pub fn decode(data: &DataValue, picker: &Picker) -> Decoded {
    let status = data.status.unwrap_or(StatusCode::Good);
    // Severity 3 is reserved, and to be taken as bad (OPC 10000-4, 7.39.1).
    if status.bits() >> 31 == 1 {
        return Decoded::bad(status.bits());
    }
    let mut decoded = match data.value.as_ref() {
        None => Decoded::not_available(),
        Some(variant) => pick(variant, picker.index),
    };
    if picker.not_available.iter().any(|mark| mark.is(&decoded.value)) {
        decoded = Decoded::not_available();
    }
    if status.is_uncertain() && decoded.quality != Quality::Bad {
        decoded.status = status.bits();
        decoded.quality = decoded.quality.max(Quality::Uncertain);
    } else if decoded.status == status_code::NONE {
        decoded.status = status.bits();
    }
    decoded
}

fn pick(variant: &Variant, index: Option<u32>) -> Decoded {
    let Some(index) = index else { return scalar(variant, 0) };
    let index = index as usize;
    match variant {
        Variant::Array(array) => array
            .values
            .get(index)
            .map_or_else(|| Decoded::bad(status_code::NO_ELEMENT), |element| scalar(element, 0)),
        // An array of bytes travels as a string of bytes, by the choice of the server.
        Variant::ByteString(bytes) => bytes
            .as_ref()
            .get(index)
            .map_or_else(|| Decoded::bad(status_code::NO_ELEMENT), |byte| unsigned(u64::from(*byte))),
        Variant::Empty => Decoded::not_available(),
        _ => Decoded::bad(status_code::NO_ELEMENT),
    }
}

fn scalar(variant: &Variant, depth: usize) -> Decoded {
    match variant {
        Variant::Empty => Decoded::not_available(),
        Variant::Boolean(bit) => Decoded::good(Value::Bool(*bit)),
        Variant::SByte(int) => signed(i64::from(*int)),
        Variant::Int16(int) => signed(i64::from(*int)),
        Variant::Int32(int) => signed(i64::from(*int)),
        Variant::Int64(int) => signed(*int),
        Variant::Byte(int) => unsigned(u64::from(*int)),
        Variant::UInt16(int) => unsigned(u64::from(*int)),
        Variant::UInt32(int) => unsigned(u64::from(*int)),
        Variant::UInt64(int) => unsigned(*int),
        Variant::StatusCode(code) => unsigned(u64::from(code.bits())),
        Variant::Float(float) => crate::mapping::decode_float(f64::from(*float)),
        Variant::Double(float) => crate::mapping::decode_float(*float),
        Variant::String(string) => text(string),
        Variant::LocalizedText(localized) => text(&localized.text),
        Variant::DateTime(time) if time.is_null() => Decoded::not_available(),
        Variant::DateTime(time) => bounded(rfc3339(time)),
        Variant::Guid(guid) => bounded(guid.to_string()),
        Variant::XmlElement(xml) => bounded(xml.to_string()),
        Variant::QualifiedName(name) if name.name.is_null() => Decoded::not_available(),
        Variant::QualifiedName(name) => bounded(format!("{}:{}", name.namespace_index, name.name)),
        Variant::NodeId(id) if id.is_null() => Decoded::not_available(),
        Variant::NodeId(id) => bounded(id.to_string()),
        Variant::ExpandedNodeId(id) if id.is_null() => Decoded::not_available(),
        Variant::ExpandedNodeId(id) => bounded(id.to_string()),
        Variant::ByteString(string) if string.is_null() => Decoded::not_available(),
        Variant::ByteString(string) => bytes(string.as_ref().to_vec(), Decoded::good),
        Variant::ExtensionObject(object) => structure(object),
        Variant::Variant(inner) if depth < NESTED_MAX => scalar(inner, depth + 1),
        Variant::Array(_) => Decoded::bad(status_code::ARRAY),
        // A value within a value with a status of its own: nothing that a variable may hold.
        Variant::Variant(_) | Variant::DataValue(_) | Variant::DiagnosticInfo(_) => {
            Decoded::bad(status_code::UNDECODABLE)
        }
    }
}

const fn signed(int: i64) -> Decoded {
    Decoded::good(Value::Int(int))
}

const fn unsigned(int: u64) -> Decoded {
    Decoded::good(Value::Unsigned(int))
}

fn text(string: &UAString) -> Decoded {
    string.value().as_ref().map_or_else(Decoded::not_available, |text| bounded(text.clone()))
}

fn bounded(text: String) -> Decoded {
    if text.len() > READING_TEXT_BYTES_MAX {
        return Decoded::bad(status_code::TOO_LONG);
    }
    Decoded::good(Value::Text(text))
}

fn bytes(bytes: Vec<u8>, becomes: impl FnOnce(Value) -> Decoded) -> Decoded {
    if bytes.len() > READING_TEXT_BYTES_MAX {
        return Decoded::bad(status_code::TOO_LONG);
    }
    becomes(Value::Bytes(bytes))
}

/// In UTC, with as many digits as it has.
fn rfc3339(time: &DateTime) -> String {
    let text = time.to_string();
    text.strip_suffix("+00:00").map_or_else(|| text.clone(), |local| format!("{local}Z"))
}

/// Its body in the binary encoding, as it travelled. Nobody here knows what its fields mean.
fn structure(object: &ExtensionObject) -> Decoded {
    static CONTEXT: LazyLock<ContextOwned> = LazyLock::new(ContextOwned::default);
    let Some(body) = &object.body else { return Decoded::not_available() };
    let mut encoded = Vec::new();
    if body.encode_binary(&mut encoded, &CONTEXT.context()).is_err() {
        return Decoded::bad(status_code::UNDECODABLE);
    }
    bytes(encoded, |value| Decoded { value, quality: Quality::Uncertain, status: status_code::STRUCTURE })
}
