//! The text of a scenario with the places of all that stands in it, so that whatever is wrong can be shown where it is.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::finding::{Finding, Place};
use crate::network::units::nearest;

/// A table or value and its place.
pub(super) type At<T> = Spanned<T>;
/// Findings of one file are cut off after so many: whoever has more reads the first ones first.
pub(super) const FINDINGS_MAX: usize = 50;

/// Where something stands in the text.
pub(super) type Where = Range<usize>;

/// All that is found wrong with a text, each thing once.
#[derive(Debug)]
pub(super) struct Findings<'t> {
    text: &'t str,
    found: Vec<(usize, Finding)>,
}

impl<'t> Findings<'t> {
    pub(super) const fn new(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// `key` at `at` is wrong: `what` says what was found and what was expected.
    pub(super) fn add(&mut self, at: Where, key: &str, what: impl Into<String>) {
        let place = Place::of(self.text, at.start);
        let finding = Finding { place: Some(place), key: key.to_owned(), what: what.into() };
        if self.found.len() < FINDINGS_MAX && !self.found.iter().any(|(_, known)| *known == finding) {
            self.found.push((at.start, finding));
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// In the order of the file.
    pub(super) fn sorted(mut self) -> Vec<Finding> {
        self.found.sort_by_key(|(at, _)| *at);
        self.found.into_iter().map(|(_, finding)| finding).collect()
    }
}

/// Parses the text. What is no TOML is found, all of it.
pub(super) fn parse<'t>(text: &'t str, findings: &mut Findings<'_>) -> At<DeTable<'t>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().unwrap_or(text.len()..text.len());
        let got = match text.get(at.clone()).map(str::trim) {
            Some("") | None => String::new(),
            Some(got) => format!("got `{}`, ", got.lines().next().unwrap_or_default()),
        };
        findings.add(at, "", format!("{got}no TOML: {}", error.message()));
    }
    table
}

/// Reads a table as a `T`, and finds everything in it that does not fit: what is wrong is taken out and the rest read
/// again. `prefix` comes before the keys, such as `network.`.
pub(super) fn read<T: DeserializeOwned>(
    table: &At<DeTable<'_>>,
    prefix: &str,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let mut rest = table.clone();
    let mut is_whole = true;
    loop {
        let error = match T::deserialize(Deserializer::from(rest.clone())) {
            Ok(value) => return is_whole.then_some(value),
            Err(error) => error,
        };
        let at = error.span().unwrap_or_else(|| table.span());
        let path = take(rest.get_mut(), &at);
        // What was taken out is missing now; that is no new finding.
        if is_whole || path.is_some() {
            let key = path.as_deref().map(|path| format!("{prefix}{}", path.join("."))).unwrap_or_default();
            findings.add(at, &key, explain(error.message()));
        }
        is_whole = false;
        path.as_ref()?;
    }
}

/// Takes out what stands at this place, a key or a value; gives its path.
fn take(table: &mut DeTable<'_>, at: &Where) -> Option<Vec<String>> {
    let is_it = |key: &At<_>, value: &At<DeValue<'_>>| {
        let span = value.span();
        let is_leaf = value.get_ref().as_table().is_none();
        key.span() == *at || span == *at || (is_leaf && span.start <= at.start && at.end <= span.end)
    };
    let whole = table.iter().find(|(key, value)| is_it(key, value)).map(|(key, _)| key.clone());
    if let Some(key) = whole {
        table.remove(key.get_ref().as_ref());
        return Some(vec![key.into_inner().into_owned()]);
    }
    table.iter_mut().find_map(|(key, value)| {
        let DeValue::Table(inner) = value.get_mut() else { return None };
        let mut path = take(inner, at)?;
        path.insert(0, key.get_ref().to_string());
        Some(path)
    })
}

/// The place of a key such as `link.delay`: that of its value.
pub(super) fn place_of(table: &DeTable<'_>, path: &str) -> Option<Where> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = table.get(first)?;
    match rest {
        None => Some(value.span()),
        Some(rest) => place_of(value.get_ref().as_table()?, rest),
    }
}

/// Puts a value at a path, over what was there; tables on the way are made, at the place of the key.
/// `false` when something on the way is no table.
pub(super) fn put<'t>(table: &mut DeTable<'t>, path: &str, at: &Where, value: At<DeValue<'t>>) -> bool {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let key = |at: Where| Spanned::new(at, first.to_owned().into());
    let Some(rest) = rest else {
        // An entry that is there keeps its key; the new one has the place of the grid's.
        table.remove(first);
        table.insert(key(at.clone()), value);
        return true;
    };
    if table.get(first).is_none() {
        // An empty place: an error at the whole key is one of its last part.
        let begin = at.start..at.start;
        table.insert(key(begin.clone()), Spanned::new(begin, DeValue::Table(DeTable::new())));
    }
    match table.get_mut(first).map(Spanned::get_mut) {
        Some(DeValue::Table(inner)) => put(inner, rest, at, value),
        _ => false,
    }
}

/// A reader's words for what the parser says about a value.
fn explain(message: &str) -> String {
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let choice = |got: &str, unknown: &str, valid: &[String]| {
        let words: Vec<&str> = valid.iter().map(String::as_str).collect();
        let near = nearest(unknown, &words).map(|near| format!("; did you mean `{near}`?"));
        let expected = if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        format!("got {got}, expected one of {expected}{}", near.unwrap_or_default())
    };
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (unknown, expected) = rest.split_once('`').unwrap_or((rest, ""));
        return choice("an unknown key", unknown, &quoted(expected));
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let (unknown, expected) = rest.split_once('`').unwrap_or((rest, ""));
        return choice(&format!("\"{unknown}\""), unknown, &quoted(expected));
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return format!("got nothing for {name}, expected this key");
    }
    let plain = ["invalid type: ", "invalid value: "].iter().find_map(|start| message.strip_prefix(start));
    match plain.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((got, expected)) => format!("got {}, expected {}", plain_value(got), plain_type(expected)),
        None => message.to_owned(),
    }
}

/// `integer `5`` is 5 to a reader.
fn plain_value(got: &str) -> String {
    for kind in ["integer `", "floating point `", "boolean `"] {
        if let Some(rest) = got.strip_prefix(kind) {
            return rest.trim_end_matches('`').to_owned();
        }
    }
    match got {
        "sequence" => "a list".to_owned(),
        "map" => "a table".to_owned(),
        _ => got.strip_prefix("string ").unwrap_or(got).to_owned(),
    }
}

/// The parser speaks of Rust's types.
fn plain_type(expected: &str) -> String {
    match expected {
        "u64" | "usize" => "a whole number from 0 up".to_owned(),
        "u32" => format!("a whole number from 0 to {}", u32::MAX),
        "i64" => "a whole number".to_owned(),
        "f64" => "a number".to_owned(),
        "a string" | "string" => "a text in quotes".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a sequence" => "a list".to_owned(),
        other if other.starts_with("struct ") || other == "a map" => "a table".to_owned(),
        other => other.to_owned(),
    }
}

/// A value as a reader writes it, for messages and tables; `None` for lists, tables and dates.
pub(super) fn scalar(value: &DeValue<'_>) -> Option<serde_json::Value> {
    match value {
        DeValue::String(text) => Some(text.as_ref().into()),
        DeValue::Boolean(is) => Some((*is).into()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).ok().map(serde_json::Value::from)
        }
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(serde_json::Value::from),
        _ => None,
    }
}
