//! What became of a value that was to be written to a machine.

use std::fmt;

use edge_adapters::write::{Attempt, Written};
use selvedge_core::reading::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// See the head of this file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteAnswer {
    /// The stream.
    pub stream: String,
    /// The scaled value that was asked for.
    pub value: Json,
    /// The raw value that was sent.
    pub raw: Json,
    /// `confirmed`, `not confirmed` or `refused` (by the device, or because it does not take such a value).
    pub outcome: String,
    /// The raw value that was read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_back: Option<Json>,
    /// Why it was not confirmed, or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl WriteAnswer {
    /// Does the device hold the value, as far as is known?
    pub fn is_confirmed(&self) -> bool {
        self.outcome == "confirmed"
    }

    /// Was it refused, by the device or before anything was sent? Then the device does not hold it.
    pub fn is_refused(&self) -> bool {
        self.outcome == "refused"
    }
}

impl From<Attempt> for WriteAnswer {
    fn from(attempt: Attempt) -> Self {
        let Attempt { stream, value, raw, written } = attempt;
        let (outcome, read_back, why) = match written {
            Written::Confirmed { read_back } => ("confirmed", Some(json(&read_back)), None),
            Written::NotConfirmed { read_back, why } => {
                ("not confirmed", read_back.as_ref().map(json), Some(why))
            }
            Written::Refused { why, .. } => ("refused", None, Some(why)),
        };
        Self { stream, value: json(&value), raw: json(&raw), outcome: outcome.to_owned(), read_back, why }
    }
}

impl fmt::Display for WriteAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} (raw {}): {}", self.stream, self.value, self.raw, self.outcome)?;
        if let Some(read_back) = &self.read_back {
            write!(f, ", read back {read_back}")?;
        }
        self.why.as_ref().map_or(Ok(()), |why| write!(f, ": {why}"))
    }
}

/// A value as JSON; bytes as hexadecimal digits.
fn json(value: &Value) -> Json {
    edge_adapters::write::desk::json(value)
}

/// A value that was written as JSON: a number, a text in quotes, true or false.
pub(crate) fn value_of(text: &str) -> Option<Value> {
    match serde_json::from_str(text).ok()? {
        Json::Bool(flag) => Some(Value::Bool(flag)),
        Json::String(text) => Some(Value::Text(text)),
        Json::Number(number) => {
            let unsigned = || number.as_u64().map(Value::Unsigned);
            number.as_i64().map(Value::Int).or_else(unsigned).or_else(|| number.as_f64().map(Value::Float))
        }
        _ => None,
    }
}
