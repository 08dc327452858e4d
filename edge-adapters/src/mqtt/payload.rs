//! Payloads to values: pure pickers.
//!
//! | the payload, or what its pointer finds | value | quality | status |
//! |---|---|---|---|
//! | what its type says | as sent, never scaled | good | 0 |
//! | a mark of `not_available`, JSON's `null`, a NaN | none | not-available | 0 |
//! | an infinite number | the infinity | uncertain | [`INFINITE`](status_code::INFINITE) |
//! | a raw `string` that is not UTF-8 | its bytes | uncertain | [`NOT_TEXT`](status_code::NOT_TEXT) |
//! | anything else | none | bad | [`UNDECODABLE`](status_code::UNDECODABLE) |
//! | nothing: the pointer finds no such field | no reading, since the message says nothing of it | | |
//!
//! Numbers and bits may also stand in a text (`"21.5"`), as many devices send them in JSON. A cell of separated values
//! ([`csv`]) is such a text; an empty one is not available.

use std::fmt;

use selvedge_core::limits::READING_TEXT_BYTES_MAX;
use selvedge_core::reading::{Quality, Value};
use serde_json::Value as Json;

use super::csv::{self, Cell, Column, Dialect};
use crate::mapping::Decoded;
use crate::status_code;

/// What a stream holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`; `1` and `0`, `on` and `off` in any case too.
    Bool,
    /// A whole number with a sign.
    I64,
    /// A whole number without a sign.
    U64,
    /// A number.
    F64,
    /// Text, of at most 4,096 bytes.
    Text,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Bool, Self::I64, Self::U64, Self::F64, Self::Text];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::F64 => "f64",
            Self::Text => "string",
        })
    }
}

/// A value that means "not available".
#[derive(Debug, Clone, PartialEq)]
pub enum Mark {
    /// This whole number.
    Integer(i64),
    /// This number.
    Float(f64),
    /// This text, whatever the type.
    Text(String),
}

/// Where something stands in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spot {
    /// The whole payload, as text.
    Whole,
    /// Here in a JSON document (RFC 6901).
    Json(String),
    /// In a cell of a row of separated values.
    Csv(Dialect, Column),
}

/// How the value of one stream is found in a payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Picker {
    /// What it is.
    pub kind: Kind,
    /// Where the value stands.
    pub spot: Spot,
    /// Where its time stands.
    pub time: Option<Spot>,
    /// What means "not available".
    pub not_available: Vec<Mark>,
}

/// The time that a message gives for a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceTime {
    /// The configuration names none.
    None,
    /// Nanoseconds since 1970 UTC.
    At(i64),
    /// It names one, and the message has none that can be read.
    Unreadable,
}

/// A payload, parsed at most once however many streams it feeds.
#[derive(Debug)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    json: Option<Result<Json, serde_json::Error>>,
}

impl<'a> Payload<'a> {
    /// Not parsed yet.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, json: None }
    }

    fn json(&mut self) -> Option<&Json> {
        let bytes = self.bytes;
        self.json.get_or_insert_with(|| serde_json::from_slice(bytes)).as_ref().ok()
    }

    /// The value of a stream; `None`: the message says nothing of it.
    pub fn value(&mut self, picker: &Picker) -> Option<Decoded> {
        let bad = || Some(Decoded::bad(status_code::UNDECODABLE));
        match &picker.spot {
            Spot::Whole => Some(raw(self.bytes, picker)),
            Spot::Json(pointer) => {
                let Some(document) = self.json() else { return bad() };
                document.pointer(pointer).map(|found| field(found, picker))
            }
            Spot::Csv(dialect, column) => {
                let Ok(text) = std::str::from_utf8(self.bytes) else { return bad() };
                match csv::cell(text, *dialect, column) {
                    Cell::Text(text) => Some(from_cell(&text, *dialect, picker)),
                    Cell::Empty => Some(Decoded::not_available()),
                    Cell::Missing => None,
                    Cell::Malformed => bad(),
                }
            }
        }
    }

    /// The time of a stream's value.
    pub fn time(&mut self, picker: &Picker) -> SourceTime {
        let found = match &picker.time {
            None => return SourceTime::None,
            Some(Spot::Whole) => None,
            Some(Spot::Json(pointer)) => {
                self.json().and_then(|document| document.pointer(pointer)).and_then(time_ns)
            }
            Some(Spot::Csv(dialect, column)) => {
                match std::str::from_utf8(self.bytes).map(|text| csv::cell(text, *dialect, column)) {
                    Ok(Cell::Text(text)) => time_of_text(text.trim()),
                    _ => None,
                }
            }
        };
        found.map_or(SourceTime::Unreadable, SourceTime::At)
    }
}

/// RFC 3339, or milliseconds since 1970 as a number or in a text; ns since 1970 UTC.
pub fn time_ns(found: &Json) -> Option<i64> {
    match found {
        Json::Number(number) => match number.as_i64() {
            Some(ms) => ms.checked_mul(1_000_000),
            None => number.as_f64().and_then(float_ms),
        },
        Json::String(text) => time_of_text(text),
        _ => None,
    }
}

fn time_of_text(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(ms) => ms.checked_mul(1_000_000),
        Err(_) => i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok(),
    }
}

fn float_ms(ms: f64) -> Option<i64> {
    let ns = (ms * 1e6).round();
    // Below 2^63 exactly, so that the conversion keeps the number.
    (ns.abs() < 9.2e18).then_some(ns as i64)
}

fn raw(bytes: &[u8], picker: &Picker) -> Decoded {
    match std::str::from_utf8(bytes) {
        Ok(text) => from_text(text, picker),
        Err(_) if picker.kind == Kind::Text && bytes.len() <= READING_TEXT_BYTES_MAX => Decoded {
            value: Value::Bytes(bytes.to_vec()),
            quality: Quality::Uncertain,
            status: status_code::NOT_TEXT,
        },
        Err(_) => Decoded::bad(status_code::UNDECODABLE),
    }
}

fn field(found: &Json, picker: &Picker) -> Decoded {
    let decoded = match (found, picker.kind) {
        (Json::Null, _) => Some(Decoded::not_available()),
        (Json::String(text), _) => return from_text(text, picker),
        (Json::Bool(bit), Kind::Bool) => Some(Decoded::good(Value::Bool(*bit))),
        (Json::Number(number), Kind::Bool) => match number.as_u64() {
            Some(bit @ 0..=1) => Some(Decoded::good(Value::Bool(bit == 1))),
            _ => None,
        },
        (Json::Number(number), Kind::I64) => {
            number.as_i64().or_else(|| whole(number.as_f64()?)).map(|n| Decoded::good(Value::Int(n)))
        }
        (Json::Number(number), Kind::U64) => {
            let whole = || whole(number.as_f64()?).and_then(|n| u64::try_from(n).ok());
            number.as_u64().or_else(whole).map(|n| Decoded::good(Value::Unsigned(n)))
        }
        (Json::Number(number), Kind::F64) => number.as_f64().map(|n| Decoded::good(Value::Float(n))),
        _ => None,
    };
    finish(decoded, picker)
}

/// `3.0` is whole; beyond 2^53 nobody knows what was meant.
fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
}

/// A cell is a text; its numbers may have a comma.
fn from_cell(text: &str, dialect: Dialect, picker: &Picker) -> Decoded {
    if !dialect.decimal_comma || matches!(picker.kind, Kind::Text | Kind::Bool) {
        return from_text(text, picker);
    }
    match csv::with_point(text) {
        Some(text) => from_text(&text, picker),
        // It may still be a mark.
        None => match from_text(text, picker) {
            decoded if decoded.quality == Quality::NotAvailable => decoded,
            _ => Decoded::bad(status_code::UNDECODABLE),
        },
    }
}

fn from_text(text: &str, picker: &Picker) -> Decoded {
    let trimmed = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let is_mark = |mark: &Mark| matches!(mark, Mark::Text(mark) if mark == trimmed);
    if picker.not_available.iter().any(is_mark) {
        return Decoded::not_available();
    }
    let decoded = match picker.kind {
        Kind::Text => {
            (text.len() <= READING_TEXT_BYTES_MAX).then(|| Decoded::good(Value::Text(text.to_owned())))
        }
        Kind::Bool => bit(trimmed).map(|bit| Decoded::good(Value::Bool(bit))),
        Kind::I64 => trimmed.parse().ok().map(|n| Decoded::good(Value::Int(n))),
        Kind::U64 => trimmed.parse().ok().map(|n| Decoded::good(Value::Unsigned(n))),
        Kind::F64 => trimmed.parse().ok().map(float),
    };
    finish(decoded, picker)
}

fn bit(text: &str) -> Option<bool> {
    let is = |words: [&str; 3]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is(["true", "1", "on"]) {
        return Some(true);
    }
    is(["false", "0", "off"]).then_some(false)
}

fn float(number: f64) -> Decoded {
    if number.is_nan() {
        return Decoded::not_available();
    }
    if number.is_infinite() {
        return Decoded {
            value: Value::Float(number),
            quality: Quality::Uncertain,
            status: status_code::INFINITE,
        };
    }
    Decoded::good(Value::Float(number))
}

/// With marks that are numbers; bad where there is no value.
fn finish(decoded: Option<Decoded>, picker: &Picker) -> Decoded {
    let Some(decoded) = decoded else { return Decoded::bad(status_code::UNDECODABLE) };
    if is_marked(&picker.not_available, &decoded.value) { Decoded::not_available() } else { decoded }
}

/// Is this value, as it came, one that means "not available"?
pub(crate) fn is_marked(marks: &[Mark], value: &Value) -> bool {
    let is_mark = |mark: &Mark| match (mark, value) {
        (Mark::Integer(mark), Value::Int(value)) => mark == value,
        (Mark::Integer(mark), Value::Unsigned(value)) => {
            u64::try_from(*mark).is_ok_and(|mark| mark == *value)
        }
        (Mark::Integer(mark), Value::Float(value)) => same(*mark as f64, *value),
        (Mark::Float(mark), Value::Float(value)) => same(*mark, *value),
        (Mark::Text(mark), Value::Text(value)) => mark == value,
        _ => false,
    };
    marks.iter().any(is_mark)
}

/// The same number: a mark is written as exactly what the device sends.
fn same(mark: f64, value: f64) -> bool {
    mark.total_cmp(&value).is_eq()
}
