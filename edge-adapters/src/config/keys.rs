//! Reads one table key by key.
//!
//! What is wrong is noted in [`Findings`] with line, key, what was found and what was expected, and the getter returns
//! the usual value, so that all that is wrong with a file is said at once and readers need no plumbing for errors: a
//! file with one finding is refused whole, whatever was made of it. The keys that were asked for are the valid ones;
//! [`Keys::finish`] finds all others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_core::codec::check_name;
use selvedge_core::limits::NAME_BYTES_MAX;
use selvedge_core::reading::Value as Raw;
use selvedge_core::stream::Decimal;

use super::written::{Entry, Table, Value};
use super::{ConfigError, Scalar, text};
#[cfg(any(feature = "mqtt", feature = "opcua", feature = "modbus-tls"))]
use crate::secret::SecretFile;

/// All that is wrong, and the names that are taken.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Where the configuration lies.
    folder: PathBuf,
    errors: RefCell<Vec<ConfigError>>,
    /// Name of a device or stream, and whose it is.
    names: RefCell<BTreeMap<(Named, String), String>>,
}

/// What has a name that nothing else of its kind may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Device,
    Stream,
}

impl Findings {
    /// Nothing is wrong yet with the file in this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), ..Self::default() }
    }

    pub(crate) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors = self.errors.into_inner();
        errors.sort_by_key(|error| error.line);
        errors
    }

    pub(crate) fn push(&self, error: ConfigError) {
        self.errors.borrow_mut().push(error);
    }

    pub(crate) fn count(&self) -> usize {
        self.errors.borrow().len()
    }

    pub(crate) fn names(&self, kind: Named) -> usize {
        self.names.borrow().keys().filter(|(of, _)| *of == kind).count()
    }
}

/// The reader of one table.
#[derive(Debug)]
pub(crate) struct Keys<'a> {
    table: &'a Table,
    findings: &'a Findings,
    /// Which device, counted from 0.
    device: usize,
    /// Whose table it is, for people: `device "plc", stream "level"`.
    owner: String,
    /// What stands before a key in messages: `tls.`.
    prefix: String,
    asked: Vec<&'static str>,
}

impl<'a> Keys<'a> {
    /// A reader that has asked for nothing yet.
    pub(crate) fn new(table: &'a Table, findings: &'a Findings, device: usize) -> Self {
        let owner = match table.get("name") {
            Some(Entry { value: Value::Text(name), .. }) => format!("device {}", quoted(name)),
            _ => format!("device {}", device + 1),
        };
        Self { table, findings, device, owner, prefix: String::new(), asked: Vec::new() }
    }

    fn entry(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.asked.contains(&key) {
            self.asked.push(key);
        }
        self.table.get(key)
    }

    /// The whole table, without comments and layout.
    pub(crate) fn written(&self) -> String {
        self.table.to_string()
    }

    /// Is it written?
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.entry(key).is_some()
    }

    /// Notes that the value of a key is wrong; of a key that is not written, at the table's own line.
    pub(crate) fn wrong(&self, key: &str, found: impl fmt::Display, expected: impl Into<String>) {
        let line = self.table.get(key).map_or(self.table.line, |entry| entry.line);
        self.findings.push(ConfigError {
            line: Some(line),
            device: self.device,
            name: self.owner.clone(),
            key: format!("{}{key}", self.prefix),
            found: found.to_string(),
            expected: expected.into(),
        });
    }

    /// The value as `take` understands it; what it does not understand is wrong.
    fn read<T>(
        &mut self,
        key: &'static str,
        expected: impl FnOnce() -> String,
        take: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let entry = self.entry(key)?;
        let taken = take(&entry.value);
        if taken.is_none() {
            self.wrong(key, shown(&entry.value), expected());
        }
        taken
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.read(
            key,
            || "a text in quotes".to_owned(),
            |value| match value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            },
        )
    }

    /// A file or folder; a relative one is meant from the folder of the configuration.
    pub(crate) fn path(&mut self, key: &'static str) -> Option<PathBuf> {
        let written = self.text(key)?;
        if written.is_empty() {
            self.wrong(key, "nothing", "a file or folder");
        }
        Some(self.place_of(&written))
    }

    /// The file that a text names, which may be relative to the folder of the configuration.
    pub(crate) fn place_of(&self, written: &str) -> PathBuf {
        self.findings.folder.join(written)
    }

    /// Where a secret lies: a file, or `credential:NAME` for one that systemd hands over.
    #[cfg(any(feature = "mqtt", feature = "opcua", feature = "modbus-tls"))]
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<SecretFile> {
        let written = self.text(key)?;
        match SecretFile::new(&written) {
            Ok(SecretFile::Path(_)) => Some(SecretFile::Path(self.place_of(&written))),
            Ok(credential) => Some(credential),
            Err(expected) => {
                self.wrong(key, quoted(&written), expected);
                None
            }
        }
    }

    /// A text that must be there; empty if it is not.
    pub(crate) fn required(&mut self, key: &'static str, expected: &str) -> String {
        if !self.has(key) {
            self.wrong(key, "nothing", expected);
        }
        self.text(key).unwrap_or_default()
    }

    /// A whole number within a range.
    pub(crate) fn integer(&mut self, key: &'static str, usual: i64, range: RangeInclusive<i64>) -> i64 {
        let expected = format!("a whole number, {} to {}", range.start(), range.end());
        let within = |value: &Value| match value {
            Value::Integer(integer) if range.contains(integer) => Some(*integer),
            _ => None,
        };
        self.read(key, || expected, within).unwrap_or(usual)
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &'static str, usual: bool) -> bool {
        let take = |value: &Value| if let Value::Flag(flag) = value { Some(*flag) } else { None };
        self.read(key, || "true or false".to_owned(), take).unwrap_or(usual)
    }

    /// A duration within a range.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        usual: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Duration {
        self.optional_duration(key, range).unwrap_or(usual)
    }

    /// A duration within a range, or none.
    pub(crate) fn optional_duration(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let written = self.text(key)?;
        match text::duration(&written) {
            Ok(duration) if range.contains(&duration) => return Some(duration),
            Ok(_) => self.wrong(key, quoted(&written), format!("{:?} to {:?}", range.start(), range.end())),
            Err(expected) => self.wrong(key, quoted(&written), expected),
        }
        None
    }

    /// One of these words.
    pub(crate) fn choice<T: Clone>(&mut self, key: &'static str, usual: T, choices: &[(&str, T)]) -> T {
        let Some(written) = self.text(key) else { return usual };
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == written) {
            return chosen.clone();
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.wrong(key, quoted(&written), one_of(&written, &words));
        usual
    }

    /// A decimal number.
    pub(crate) fn decimal(&mut self, key: &'static str, usual: Decimal) -> Decimal {
        self.optional_decimal(key).unwrap_or(usual)
    }

    /// A decimal number, or none.
    pub(crate) fn optional_decimal(&mut self, key: &'static str) -> Option<Decimal> {
        let scalar = self.scalar(key)?;
        match text::decimal(&scalar) {
            Ok(decimal) => Some(decimal),
            Err(expected) => {
                self.wrong(key, scalar, expected);
                None
            }
        }
    }

    /// A number, or a number as text.
    pub(crate) fn scalar(&mut self, key: &'static str) -> Option<Scalar> {
        self.read(key, || "a number, or a number as text".to_owned(), Value::scalar)
    }

    /// Numbers, or numbers as texts.
    pub(crate) fn scalars(&mut self, key: &'static str) -> Vec<Scalar> {
        let take = |value: &Value| match value {
            Value::List(list) => list.iter().map(Value::scalar).collect(),
            _ => None,
        };
        self.read(key, || "a list of numbers, or of numbers as texts: [1, \"0x8000\"]".to_owned(), take)
            .unwrap_or_default()
    }

    /// Values that may be written: numbers, texts, true and false.
    pub(crate) fn written_values(&mut self, key: &'static str) -> Vec<Raw> {
        let one = |value: &Value| match value {
            Value::Integer(integer) => Some(Raw::Int(*integer)),
            Value::Float(float) => Some(Raw::Float(*float)),
            Value::Flag(flag) => Some(Raw::Bool(*flag)),
            Value::Text(text) => Some(Raw::Text(text.clone())),
            _ => None,
        };
        let take = |value: &Value| match value {
            Value::List(list) => list.iter().map(one).collect(),
            _ => None,
        };
        self.read(key, || "a list of values: [0, 50, 100], [true], [\"stop\"]".to_owned(), take)
            .unwrap_or_default()
    }

    /// Texts.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.read(key, || "a list of texts: [\"one\", \"two\"]".to_owned(), texts).unwrap_or_default()
    }

    /// Names with a list of texts each.
    pub(crate) fn lists(&mut self, key: &'static str) -> BTreeMap<String, Vec<String>> {
        let take = |value: &Value| match value {
            Value::Table(table) => {
                table.entries.iter().map(|entry| Some((entry.key.clone(), texts(&entry.value)?))).collect()
            }
            _ => None,
        };
        self.read(
            key,
            || "names with a list of texts each: { machine = [\"filler\", \"capper\"] }".to_owned(),
            take,
        )
        .unwrap_or_default()
    }

    /// Names with a number or text each, in the order of the file.
    pub(crate) fn scalars_by_name(&mut self, key: &'static str) -> Vec<(String, Scalar)> {
        let take = |value: &Value| match value {
            Value::Table(table) => {
                table.entries.iter().map(|entry| Some((entry.key.clone(), entry.value.scalar()?))).collect()
            }
            _ => None,
        };
        self.read(key, || "names with a number or a text each: { name = 1 }".to_owned(), take)
            .unwrap_or_default()
    }

    /// A table within this one: `[device.tls]`.
    pub(crate) fn table(&mut self, key: &'static str) -> Option<Self> {
        let take = |value: &'a Value| if let Value::Table(table) = value { Some(table) } else { None };
        let table = self.read(key, || format!("a table: [{key}]"), take)?;
        let prefix = format!("{}{key}.", self.prefix);
        Some(Self { table, prefix, owner: self.owner.clone(), asked: Vec::new(), ..*self })
    }

    /// The `[[device.stream]]` entries.
    pub(crate) fn streams(&mut self) -> Vec<Self> {
        let take = |value: &'a Value| {
            let Value::List(list) = value else { return None };
            list.iter()
                .map(|value| if let Value::Table(table) = value { Some(table) } else { None })
                .collect()
        };
        let expected = "at least one [[device.stream]] entry";
        let tables: Vec<&Table> = self.read("stream", || expected.to_owned(), take).unwrap_or_default();
        if !self.has("stream") {
            self.wrong("stream", "none", expected);
        }
        let stream = |(number, table): (usize, &'a Table)| {
            let name = match table.get("name") {
                Some(Entry { value: Value::Text(name), .. }) => quoted(name),
                _ => (number + 1).to_string(),
            };
            let owner = format!("{}, stream {name}", self.owner);
            Self { table, owner, prefix: String::new(), asked: Vec::new(), ..*self }
        };
        tables.into_iter().enumerate().map(stream).collect()
    }

    /// The name of a device or stream, which nothing else of its kind may have. Of one entry that stands for several
    /// streams this is called for each.
    pub(crate) fn take_name(&self, kind: Named, name: &str) {
        if let Err(why) = check_name(name) {
            let expected = format!("1 to {NAME_BYTES_MAX} bytes of UTF-8 without control characters ({why})");
            self.wrong("name", quoted(name), expected);
            return;
        }
        let mut names = self.findings.names.borrow_mut();
        if let Some(first) = names.get(&(kind, name.to_owned())) {
            let found = format!("{}, which is also the name of {first}", quoted(name));
            self.wrong("name", found, "a name that nothing else has");
            return;
        }
        let line = self.table.get("name").map_or(self.table.line, |entry| entry.line);
        names.insert((kind, name.to_owned()), format!("{} (line {line})", self.owner));
    }

    /// Host and port of `address`.
    pub(crate) fn host_and_port(&mut self) -> (String, u16) {
        let expected = "host and port, such as \"10.0.0.7:502\" or \"[fd00::7]:502\", of at most 128 bytes";
        let address = self.required("address", expected);
        let parts = text::host_and_port(&address);
        if parts.is_none() && !address.is_empty() {
            self.wrong("address", quoted(&address), expected);
        }
        parts.unwrap_or_default()
    }

    /// Everything that was not asked for is unknown.
    pub(crate) fn finish(self) {
        for entry in &self.table.entries {
            if self.asked.contains(&entry.key.as_str()) {
                continue;
            }
            let expected = one_of(&entry.key, &self.asked);
            self.findings.push(ConfigError {
                line: Some(entry.line),
                device: self.device,
                name: self.owner.clone(),
                key: format!("{}{}", self.prefix, entry.key),
                found: "an unknown key".to_owned(),
                expected,
            });
        }
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let Value::List(list) = value else { return None };
    list.iter().map(|value| if let Value::Text(text) = value { Some(text.clone()) } else { None }).collect()
}

/// What may stand there, with the one that is most like what does first.
fn one_of(written: &str, words: &[&str]) -> String {
    let scored = words.iter().map(|word| (strsim::damerau_levenshtein(written, word), *word));
    match scored.min().filter(|(distance, word)| *distance <= 1 + word.len() / 3) {
        Some((_, near)) => format!("`{near}` (did you mean that?), or one of {}", words.join(", ")),
        None => format!("one of {}", words.join(", ")),
    }
}

/// As it stands, cut where it is too long to be shown.
pub(crate) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{text:?}") }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        other => {
            let all = other.to_string();
            let shown: String = all.chars().take(80).collect();
            if shown.len() < all.len() { shown + "…" } else { all }
        }
    }
}
