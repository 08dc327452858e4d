//! What is published to write a value, and whether what comes back is that value. Pure.
//!
//! Quality of service 2 is not offered. A message is never sent again here, since a command that comes late is worse than
//! one that does not come; and then quality 1 arrives once at most and is acknowledged, which is all that 2 could add.

use std::time::Duration;

use selvedge_core::reading::Value;

use super::packet::Service;
use super::packet::encode::Publication;

/// Stands for the value as plain text.
const PLAIN: &str = "{value}";
/// Stands for the value as JSON: a text with quotes.
const JSON: &str = "{json}";
/// Longest template of a payload.
pub(crate) const TEMPLATE_BYTES_MAX: usize = 4_096;

/// How a stream is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) topic: String,
    pub(crate) service: Service,
    pub(crate) retain: bool,
    pub(crate) template: Template,
    /// The stream itself must show the value by then.
    pub(crate) confirm_within: Duration,
}

/// A payload with a place for the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(String);

impl Default for Template {
    fn default() -> Self {
        Self(PLAIN.to_owned())
    }
}

impl Template {
    /// As written.
    ///
    /// # Errors
    /// What is expected.
    pub(crate) fn new(written: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "at most 4096 bytes with {value}, or with {json} for the value as JSON: {\"setpoint\": {json}}";
        let holds_value = written.contains(PLAIN) || written.contains(JSON);
        if written.len() <= TEMPLATE_BYTES_MAX && holds_value {
            Ok(Self(written.to_owned()))
        } else {
            Err(EXPECTED)
        }
    }

    /// With this value; `None`: there is no text for it.
    pub(crate) fn filled(&self, value: &Value) -> Option<String> {
        let json = match value {
            Value::Bool(bit) => bit.to_string(),
            Value::Int(number) => number.to_string(),
            Value::Unsigned(number) => number.to_string(),
            // The shortest text that is read as the same number; neither JSON nor most devices know infinities.
            Value::Float(number) if number.is_finite() => number.to_string(),
            Value::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Value::None | Value::Bytes(_) | Value::Float(_) => return None,
        };
        let plain = if let Value::Text(text) = value { text } else { &json };
        // In one go, so that a value which looks like a place is not filled in again.
        let mut filled = String::with_capacity(self.0.len() + json.len());
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            rest = if let Some(after) = from.strip_prefix(PLAIN) {
                filled.push_str(plain);
                after
            } else if let Some(after) = from.strip_prefix(JSON) {
                filled.push_str(&json);
                after
            } else {
                filled.push('{');
                &from[1..]
            };
        }
        filled.push_str(rest);
        Some(filled)
    }
}

impl Command {
    /// What to publish for this value; `None`: there is no text for it.
    pub(crate) fn publication(&self, value: &Value) -> Option<Publication> {
        let payload = self.template.filled(value)?.into_bytes();
        // Where nobody takes it soon, nobody should take it later: the attempt was not confirmed then. What is retained
        // is meant to stay.
        let expiry =
            (!self.retain).then(|| u32::try_from(self.confirm_within.as_secs()).unwrap_or(u32::MAX).max(1));
        let (topic, service, retain) = (self.topic.clone(), self.service, self.retain);
        Some(Publication { topic, payload, service, retain, expiry })
    }
}

/// Is what the device says what it was told? Numbers are compared as numbers, whatever their types.
pub(crate) fn is_same(told: &Value, says: &Value) -> bool {
    match (number(told), number(says)) {
        // By what they stand for, so that 0 and -0 are one; a NaN is none.
        (Some(told), Some(says)) => told.partial_cmp(&says).is_some_and(std::cmp::Ordering::is_eq),
        _ => told == says,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(bit) => Some(f64::from(u8::from(*bit))),
        Value::Int(integer) => Some(*integer as f64),
        Value::Unsigned(integer) => Some(*integer as f64),
        Value::Float(float) => Some(*float),
        Value::None | Value::Text(_) | Value::Bytes(_) => None,
    }
}
