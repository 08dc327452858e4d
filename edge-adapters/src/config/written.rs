//! What is written in a file, with the line of each key: TOML as a tree of our own, which two files can be compared by.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Scalar;

/// A table: its keys as they stand, and the line at which it begins, from 1.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) line: usize,
    pub(crate) entries: Vec<Entry>,
}

/// A key, the line at which it stands, and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    /// Beyond 64 signed bits it is a [`Text`](Self::Text) of digits.
    Integer(i64),
    Float(f64),
    Flag(bool),
    List(Vec<Self>),
    Table(Table),
    /// TOML knows dates; no key takes one.
    Date(String),
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Value {
    /// A number, or a number as text.
    pub(crate) fn scalar(&self) -> Option<Scalar> {
        match self {
            Self::Integer(integer) => Some(Scalar::Integer(*integer)),
            Self::Float(float) => Some(Scalar::Float(*float)),
            Self::Text(text) => Some(Scalar::Text(text.clone())),
            _ => None,
        }
    }
}

/// As TOML, without comments, lines and layout: equal for two tables that say the same in the same order.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (number, Entry { key, value, .. }) in self.entries.iter().enumerate() {
            write!(f, "{}{key:?} = {value}", if number == 0 { " " } else { ", " })?;
        }
        f.write_str(" }")
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(integer) => write!(f, "{integer}"),
            // With the exponent where there would be dozens of zeros.
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Date(date) => f.write_str(date),
            Self::Table(table) => write!(f, "{table}"),
            Self::List(list) => {
                f.write_str("[")?;
                for (number, value) in list.iter().enumerate() {
                    write!(f, "{}{value}", if number == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

/// A file, or the line and the words of the parser about what is no TOML.
pub(crate) fn parse(text: &str) -> Result<Table, (Option<usize>, String)> {
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(table) => Ok(lines.table(table.get_ref(), 0)),
        Err(error) => {
            Err((error.span().map(|span| lines.at(span.start)), error.message().trim().replace('\n', ", ")))
        }
    }
}

/// Offsets of the ends of lines.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }

    fn table(&self, table: &DeTable<'_>, start: usize) -> Table {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                line: self.at(key.span().start),
                value: self.value(value),
            })
            .collect();
        // In the order of the file, whatever the parser's map does.
        entries.sort_by_key(|entry| entry.line);
        Table { line: self.at(start), entries }
    }

    fn value(&self, value: &Spanned<DeValue<'_>>) -> Value {
        match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
                .map_or_else(|_| Value::Text(integer.to_string()), Value::Integer),
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(flag) => Value::Flag(*flag),
            DeValue::Datetime(date) => Value::Date(date.to_string()),
            DeValue::Array(array) => Value::List(array.iter().map(|value| self.value(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table, value.span().start)),
        }
    }
}
