//! What a payload is, and what is in it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value as Json;

use super::FIELDS_MAX;
use crate::config::compose::one_line;
use crate::mqtt::csv::with_point;
use crate::mqtt::payload::time_ns;

/// A document is looked into so deep.
const DEPTH_MAX: usize = 8;
/// A pointer is at most so long.
const POINTER_BYTES_MAX: usize = 96;
/// Longer payloads are not looked into.
const LOOKED_INTO_BYTES_MAX: usize = 256 * 1024;
/// An example is at most so long, in characters.
pub(super) const EXAMPLE_MAX: usize = 40;
/// Entries of a list that are looked at.
const ENTRIES_MAX: usize = 4;
/// 2001 to 2096 as milliseconds since 1970: what else would such a number be?
const TIMES_MS: std::ops::Range<i64> = 1_000_000_000_000..4_000_000_000_000;

/// What the payloads of a topic are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PayloadKind {
    /// An object or a list of JSON.
    Json,
    /// One number.
    Number,
    /// `true`, `false`, `on`, `off`.
    Switch,
    /// A row of separated values.
    Csv,
    /// Other text.
    Text,
    /// A message of Sparkplug B.
    Sparkplug,
    /// Bytes that are no text.
    Binary,
    /// Nothing.
    Empty,
    /// Several of these.
    Mixed,
}

impl fmt::Display for PayloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "JSON",
            Self::Number => "number",
            Self::Switch => "on or off",
            Self::Csv => "CSV",
            Self::Text => "text",
            Self::Sparkplug => "Sparkplug B",
            Self::Binary => "binary",
            Self::Empty => "empty",
            Self::Mixed => "mixed",
        })
    }
}

/// What kind of value a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// A whole number, so far.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// A time of day and year: RFC 3339, or milliseconds since 1970.
    Time,
    /// Only `null`, or an empty cell, so far.
    Nothing,
}

impl FieldKind {
    /// What both are.
    const fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, kind) | (kind, Self::Nothing) => kind,
            (Self::Integer, Self::Integer) => Self::Integer,
            (Self::Integer | Self::Number, Self::Integer | Self::Number) => Self::Number,
            (Self::Bool, Self::Bool) => Self::Bool,
            (Self::Time, Self::Time) => Self::Time,
            // A time that is not always one was a number.
            (Self::Time, Self::Integer | Self::Number) | (Self::Integer | Self::Number, Self::Time) => {
                Self::Number
            }
            _ => Self::Text,
        }
    }

    /// The type of a stream with such values; `None`: it would have none.
    pub(super) const fn stream_type(self) -> Option<&'static str> {
        match self {
            // The next value may have a point.
            Self::Integer | Self::Number => Some("f64"),
            Self::Bool => Some("bool"),
            Self::Text => Some("string"),
            Self::Time | Self::Nothing => None,
        }
    }
}

/// Something in a payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its JSON pointer; of a row the number of its column, from 1; empty: the whole payload.
    pub place: String,
    /// What it is.
    pub kind: FieldKind,
    /// In how many messages it was.
    pub messages: u64,
    /// What it was last, cut.
    pub example: String,
}

/// How rows of separated values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rows {
    /// Between two cells.
    pub separator: char,
    /// Is `1,5` one and a half?
    pub decimal_comma: bool,
}

/// What was seen of one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    kinds: BTreeMap<PayloadKind, u64>,
    fields: BTreeMap<Place, (FieldKind, u64, String)>,
    left_out: u64,
    separator: Option<char>,
    decimal_comma: bool,
    note: Option<String>,
}

/// Sorted as they stand.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Whole,
    Pointer(String),
    Column(usize),
}

impl Seen {
    pub(super) fn payload(&mut self, topic: &str, payload: &[u8]) {
        let kind = self.look(topic, payload);
        *self.kinds.entry(kind).or_default() += 1;
    }

    fn look(&mut self, topic: &str, payload: &[u8]) -> PayloadKind {
        if payload.is_empty() {
            return PayloadKind::Empty;
        }
        if let Some(note) = sparkplug(topic, payload) {
            self.note = Some(note);
            return PayloadKind::Sparkplug;
        }
        let Ok(text) = std::str::from_utf8(payload) else { return PayloadKind::Binary };
        if text.chars().any(|c| c.is_control() && !"\t\r\n\0".contains(c)) {
            return PayloadKind::Binary;
        }
        if payload.len() > LOOKED_INTO_BYTES_MAX {
            return PayloadKind::Text;
        }
        if text.trim_start().starts_with(['{', '['])
            && let Ok(document) = serde_json::from_slice::<Json>(payload)
        {
            self.document(&document, &mut String::new(), 0);
            return PayloadKind::Json;
        }
        self.text(text.trim_matches(|c: char| c.is_whitespace() || c == '\0'))
    }

    fn text(&mut self, text: &str) -> PayloadKind {
        let kind = text_kind(text);
        if matches!(kind, FieldKind::Integer | FieldKind::Number) {
            self.note_field(Place::Whole, kind, text);
            return PayloadKind::Number;
        }
        if kind == FieldKind::Bool || ["on", "off"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
            self.note_field(Place::Whole, FieldKind::Bool, text);
            return PayloadKind::Switch;
        }
        if let Some((separator, cells)) = row(text) {
            self.separator = Some(separator);
            for (at, cell) in cells.iter().enumerate() {
                self.decimal_comma |= has_decimal_comma(separator, cell);
                self.note_field(Place::Column(at + 1), cell_kind(separator, cell), cell);
            }
            return PayloadKind::Csv;
        }
        self.note_field(Place::Whole, FieldKind::Text, text);
        PayloadKind::Text
    }

    fn document(&mut self, json: &Json, pointer: &mut String, depth: usize) {
        let entries: Vec<(String, &Json)> = match json {
            Json::Object(object) => {
                object.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
            }
            Json::Array(list) => {
                self.left_out += list.len().saturating_sub(ENTRIES_MAX) as u64;
                list.iter().take(ENTRIES_MAX).enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            leaf => {
                let (kind, example) = leaf_kind(leaf);
                return self.note_field(Place::Pointer(pointer.clone()), kind, &example);
            }
        };
        for (key, value) in entries {
            let before = pointer.len();
            if depth >= DEPTH_MAX || before + key.len() >= POINTER_BYTES_MAX {
                self.left_out += 1;
                continue;
            }
            pointer.push('/');
            pointer.push_str(&key);
            self.document(value, pointer, depth + 1);
            pointer.truncate(before);
        }
    }

    fn note_field(&mut self, place: Place, kind: FieldKind, example: &str) {
        if !self.fields.contains_key(&place) && self.fields.len() >= FIELDS_MAX {
            self.left_out += 1;
            return;
        }
        let field = self.fields.entry(place).or_insert((FieldKind::Nothing, 0, String::new()));
        field.0 = field.0.with(kind);
        field.1 += 1;
        field.2 = one_line(&example.chars().take(EXAMPLE_MAX).collect::<String>());
    }

    pub(super) fn kind(&self) -> PayloadKind {
        // What is empty takes a value back; it does not make the others something else.
        let mut kinds = self.kinds.keys().filter(|kind| **kind != PayloadKind::Empty);
        match (kinds.next(), kinds.next()) {
            (None, _) => PayloadKind::Empty,
            (Some(kind), None) => *kind,
            _ => PayloadKind::Mixed,
        }
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        let field = |(place, (kind, messages, example)): (&Place, &(FieldKind, u64, String))| Field {
            place: match place {
                Place::Whole => String::new(),
                Place::Pointer(pointer) => pointer.clone(),
                Place::Column(column) => column.to_string(),
            },
            kind: *kind,
            messages: *messages,
            example: example.clone(),
        };
        self.fields.iter().map(field).collect()
    }

    pub(super) const fn left_out(&self) -> u64 {
        self.left_out
    }

    /// How its rows are written.
    pub(super) fn rows(&self) -> Option<Rows> {
        let separator = self.separator.filter(|_| self.kind() == PayloadKind::Csv)?;
        Some(Rows { separator, decimal_comma: self.decimal_comma })
    }

    pub(super) fn note(&self) -> Option<String> {
        self.note.clone().filter(|_| self.kind() == PayloadKind::Sparkplug)
    }
}

fn leaf_kind(leaf: &Json) -> (FieldKind, String) {
    match leaf {
        Json::Null => (FieldKind::Nothing, "null".to_owned()),
        Json::Bool(bit) => (FieldKind::Bool, bit.to_string()),
        Json::Number(number) => {
            let kind = match number.as_i64() {
                Some(ms) if TIMES_MS.contains(&ms) => FieldKind::Time,
                Some(_) => FieldKind::Integer,
                None if number.is_u64() => FieldKind::Integer,
                None => FieldKind::Number,
            };
            (kind, number.to_string())
        }
        Json::String(text) => {
            let is_time = text.contains('T') && time_ns(leaf).is_some();
            (
                if is_time { FieldKind::Time } else { FieldKind::Text },
                text.chars().take(EXAMPLE_MAX).collect(),
            )
        }
        Json::Array(_) | Json::Object(_) => (FieldKind::Nothing, String::new()),
    }
}

fn text_kind(text: &str) -> FieldKind {
    let text = text.trim();
    if text.is_empty() {
        return FieldKind::Nothing;
    }
    if let Ok(number) = text.parse::<i64>() {
        return if TIMES_MS.contains(&number) { FieldKind::Time } else { FieldKind::Integer };
    }
    if text.parse::<f64>().is_ok() {
        return FieldKind::Number;
    }
    match text.to_ascii_lowercase().as_str() {
        "true" | "false" => FieldKind::Bool,
        _ if text.contains('T') && time_ns(&Json::String(text.to_owned())).is_some() => FieldKind::Time,
        _ => FieldKind::Text,
    }
}

/// A row of at least two cells, most of which are no plain text: a sentence with a comma is no row.
fn row(text: &str) -> Option<(char, Vec<&str>)> {
    if text.contains('\n') {
        return None;
    }
    let rows = [';', '\t', '|', ','].map(|separator| (separator, text.split(separator).collect::<Vec<_>>()));
    rows.into_iter().filter(|(_, cells)| (2..=FIELDS_MAX).contains(&cells.len())).find(
        |(separator, cells)| {
            let texts = cells.iter().filter(|cell| cell_kind(*separator, cell) == FieldKind::Text).count();
            texts * 2 < cells.len()
        },
    )
}

fn cell_kind(separator: char, cell: &str) -> FieldKind {
    if has_decimal_comma(separator, cell) { FieldKind::Number } else { text_kind(cell) }
}

fn has_decimal_comma(separator: char, cell: &str) -> bool {
    let number = || with_point(cell.trim()).and_then(|text| text.parse::<f64>().ok());
    separator != ',' && cell.contains(',') && number().is_some()
}

/// What a message of Sparkplug B says of itself.
#[cfg(feature = "sparkplug")]
fn sparkplug(topic: &str, payload: &[u8]) -> Option<String> {
    use crate::mqtt::sparkplug::payload::Payload;
    if !topic.starts_with("spBv1.0/") || topic.starts_with("spBv1.0/STATE/") {
        return None;
    }
    let Ok(payload) = Payload::read(payload) else { return Some("its payload cannot be read".to_owned()) };
    let names: Vec<&str> = payload.metrics.iter().filter_map(|metric| metric.called()).take(6).collect();
    let more = payload.metrics.len().saturating_sub(names.len());
    let names: String = one_line(&names.join(", ")).chars().take(160).collect();
    Some(match (names.is_empty(), more) {
        (true, _) => format!("{} metrics by alias", payload.metrics.len()),
        (false, 0) => names,
        (false, more) => format!("{names}, and {more} more"),
    })
}

#[cfg(not(feature = "sparkplug"))]
fn sparkplug(topic: &str, _: &[u8]) -> Option<String> {
    topic.starts_with("spBv1.0/").then(|| "this program is built without Sparkplug".to_owned())
}
