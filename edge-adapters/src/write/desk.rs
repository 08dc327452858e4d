//! Who may write what: the one way by which a value gets to a device.
//!
//! Each attempt is recorded before anything is sent, durably, and what became of it after that: two readings of the
//! stream `NAME/write`, as JSON texts. An attempt that was refused here is recorded once. So what was written to a
//! machine is in the ledger even if the power fails in between.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::scaled::scaled;
use selvedge_core::stream::Decimal;
use serde::Serialize;
use serde_json::json as literal;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::unscaled::{number, unscaled};
use super::{Arming, WriteRequest, Written};
use crate::adapter::{Bounds, StreamSpec};
use crate::clock::Clock;
use crate::outlet::WeakOutlet;
use crate::status_code;

/// An adapter has this long to write and to read back; then the outcome is not known.
const WRITE_WITHIN: Duration = Duration::from_secs(30);
/// Longest name of who asks, in bytes.
pub const BY_BYTES_MAX: usize = 256;

/// Takes what is to be written. Clones are the same desk.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// By name of the stream. Replaced when the configuration changes.
    doors: RwLock<HashMap<String, Arc<Door>>>,
    arming: Option<Arming>,
    clock: Arc<dyn Clock>,
}

/// The way to one stream.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) stream: usize,
    pub(crate) spec: StreamSpec,
    /// Of the stream of attempts.
    pub(crate) attempts: StreamHandle,
    pub(crate) writes: mpsc::Sender<WriteRequest>,
    pub(crate) outlet: WeakOutlet,
    /// Held for reading from the first record of an attempt to the last.
    pub(crate) attempt: tokio::sync::RwLock<()>,
}

/// Why nothing was sent.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Refusal {
    /// There is no such stream, or it has no `write` table.
    #[error("{stream:?} may not be written, so nothing was sent; those that may: {allowed}")]
    NotAllowed {
        /// What was asked for.
        stream: String,
        /// What may be written.
        allowed: String,
    },
    /// The value is not within the bounds of the stream.
    #[error("{stream:?}: {value} is not allowed, so nothing was sent; its `write` table allows {allowed}")]
    OutOfBounds {
        /// The stream.
        stream: String,
        /// What was asked for.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// The gateway is not armed.
    #[error(transparent)]
    NotArmed(#[from] super::NotArmed),
    /// The device has too many writes waiting.
    #[error("{0:?}: too many writes wait for this device already, so nothing was sent")]
    Busy(String),
    /// The attempt could not be recorded, so it was not made.
    #[error("{0:?}: the attempt could not be recorded, so nothing was written")]
    NotRecorded(String),
}

/// What was tried, and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The stream.
    pub stream: String,
    /// The scaled value that was asked for.
    pub value: Value,
    /// The raw value that was sent.
    pub raw: Value,
    /// What became of it.
    pub written: Written,
}

impl Desk {
    pub(crate) fn new(arming: Option<Arming>, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { doors: RwLock::default(), arming, clock }))
    }

    /// What may be written from now on.
    pub(crate) fn open(&self, doors: impl Iterator<Item = Arc<Door>>) {
        let doors = doors.map(|door| (door.spec.descriptor.name.clone(), door)).collect();
        // A panic elsewhere does not make the map less right: it is replaced whole.
        *self.0.doors.write().unwrap_or_else(PoisonError::into_inner) = doors;
    }

    fn door(&self, stream: &str) -> Result<Arc<Door>, Refusal> {
        let doors = self.0.doors.read().unwrap_or_else(PoisonError::into_inner);
        doors.get(stream).cloned().ok_or_else(|| {
            let mut allowed: Vec<&str> = doors.keys().map(String::as_str).collect();
            allowed.sort_unstable();
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            Refusal::NotAllowed { stream: stream.to_owned(), allowed }
        })
    }

    /// Writes a scaled value to a stream, or what the configuration calls it, on behalf of `by` (a name for the record, at most [`BY_BYTES_MAX`] bytes), and
    /// waits until it is known what became of it, thirty seconds at most.
    ///
    /// # Errors
    /// Why nothing was sent. What the device itself refuses is no error here but an outcome.
    pub async fn write(&self, stream: &str, value: Value, by: &str) -> Result<Attempt, Refusal> {
        let door = &*self.door(stream)?;
        let _attempt = door.attempt.read().await;
        let value = meant(&door.spec, value);
        let by: String = by.chars().take(BY_BYTES_MAX / 4).collect();
        let record = Record { door, by: &by, value: &value, clock: &*self.0.clock };
        match self.send(door, &value, &record).await {
            Ok((raw, answer)) => {
                let written = outcome(answer).await;
                record.outcome(&raw, &written).await;
                Ok(Attempt { stream: stream.to_owned(), value, raw, written })
            }
            Err(refusal) => {
                record.refusal(&refusal).await;
                Err(refusal)
            }
        }
    }

    async fn send(
        &self,
        door: &Door,
        value: &Value,
        record: &Record<'_>,
    ) -> Result<(Value, oneshot::Receiver<Written>), Refusal> {
        let descriptor = &door.spec.descriptor;
        let name = || descriptor.name.clone();
        let bounds = door.spec.write.clone().unwrap_or_default();
        let raw = unscaled(descriptor, value).filter(|_| allows(&bounds, value));
        let Some(raw) = raw else {
            let (value, allowed) = (json(value).to_string(), words(&door.spec, &bounds));
            return Err(Refusal::OutOfBounds { stream: name(), value, allowed });
        };
        let unarmed = || super::NotArmed {
            device: descriptor.device.clone(),
            why: "this gateway cannot be armed".into(),
            advice: String::new(),
        };
        let permit = self.0.arming.as_ref().ok_or_else(unarmed)?.permit(&descriptor.device)?;
        let room = door.writes.try_reserve().map_err(|_| Refusal::Busy(name()))?;
        if !record.asked(&raw).await {
            return Err(Refusal::NotRecorded(name()));
        }
        let (answer, outcome) = oneshot::channel();
        room.send(WriteRequest { stream: door.stream, value: raw.clone(), permit, answer });
        Ok((raw, outcome))
    }
}

async fn outcome(answer: oneshot::Receiver<Written>) -> Written {
    let unknown = |why: &str| Written::NotConfirmed { read_back: None, why: why.to_owned() };
    match tokio::time::timeout(WRITE_WITHIN, answer).await {
        Ok(Ok(written)) => written,
        Ok(Err(_)) => unknown("the adapter was started again, or stopped, before it answered"),
        Err(_) => unknown("the adapter was busy, or its device did not answer in time"),
    }
}

/// Writes down what is tried.
struct Record<'a> {
    door: &'a Door,
    by: &'a str,
    value: &'a Value,
    clock: &'a dyn Clock,
}

/// The text of a reading of `NAME/write`.
#[derive(Serialize)]
struct Line<'a> {
    stage: &'static str,
    by: &'a str,
    value: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    read_back: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Record<'_> {
    async fn asked(&self, raw: &Value) -> bool {
        self.keep(Quality::Good, status_code::NONE, "asked", Some(raw), None, None).await
    }

    async fn refusal(&self, why: &Refusal) {
        let status = match why {
            Refusal::NotArmed(_) => status_code::NOT_ARMED,
            _ => status_code::NOT_ALLOWED,
        };
        self.keep(Quality::Bad, status, "refused", None, None, Some(why.to_string())).await;
    }

    async fn outcome(&self, raw: &Value, written: &Written) {
        match written {
            Written::Confirmed { read_back } => {
                self.keep(Quality::Good, status_code::NONE, "confirmed", Some(raw), Some(read_back), None)
                    .await
            }
            Written::NotConfirmed { read_back, why } => {
                let (status, back) = (status_code::NOT_CONFIRMED, read_back.as_ref());
                self.keep(Quality::Uncertain, status, "not confirmed", Some(raw), back, Some(why.clone()))
                    .await
            }
            Written::Refused { status, why } => {
                self.keep(Quality::Bad, *status, "refused", Some(raw), None, Some(why.clone())).await
            }
        };
    }

    /// Is it durable?
    async fn keep(
        &self,
        quality: Quality,
        status: u32,
        stage: &'static str,
        raw: Option<&Value>,
        read_back: Option<&Value>,
        why: Option<String>,
    ) -> bool {
        let (raw, read_back) = (raw.map(json), read_back.map(json));
        let line = Line { stage, by: self.by, value: json(self.value), raw, read_back, why };
        let text = serde_json::to_string(&line).unwrap_or_default();
        let now_ns = self.clock.wall_ns();
        let reading = NewReading {
            stream: self.door.attempts,
            value: Value::Text(text.clone()),
            quality,
            flags: 0,
            status,
            source_time_ns: now_ns,
            receive_time_ns: now_ns,
        };
        let kept = match self.door.outlet.upgrade() {
            Some(outlet) => outlet.deliver(vec![reading]).await.is_ok(),
            None => false,
        };
        let (stream, by) = (self.door.spec.descriptor.name.as_str(), self.by);
        if kept {
            tracing::info!(stream, by, stage, "write");
        } else {
            tracing::error!(
                stream,
                by,
                stage,
                record = text,
                "write; what became of it could not be recorded"
            );
        }
        kept
    }
}

/// A word that the configuration has for a value (`values`) means that value; everything else means itself.
fn meant(spec: &StreamSpec, asked: Value) -> Value {
    let number = match (&asked, &spec.words) {
        (Value::Text(word), Some(words)) => words.number(word),
        _ => None,
    };
    let raw = number.and_then(|number| {
        i64::try_from(number).map(Value::Int).or_else(|_| u64::try_from(number).map(Value::Unsigned)).ok()
    });
    let shown = raw.and_then(|raw| scaled(&raw, &spec.descriptor));
    let number = shown.and_then(|shown| {
        let whole = shown.parse().map(Value::Int).or_else(|_| shown.parse().map(Value::Unsigned));
        whole.ok().or_else(|| shown.parse().map(Value::Float).ok())
    });
    number.unwrap_or(asked)
}

fn allows(bounds: &Bounds, value: &Value) -> bool {
    if !bounds.one_of.is_empty() {
        let same = |allowed: &Value| match (number(allowed), number(value)) {
            // Exactly the number that is written, whatever its type.
            // Also 0 and -0.
            (Some(allowed), Some(asked)) => {
                allowed.total_cmp(&asked).is_eq() || (allowed - asked).abs() <= 0.0
            }
            _ => allowed == value,
        };
        return bounds.one_of.iter().any(same);
    }
    let (Some(min), Some(max), Some(asked)) = (bounds.min, bounds.max, number(value)) else { return false };
    (min.to_f64()..=max.to_f64()).contains(&asked)
}

fn words(spec: &StreamSpec, bounds: &Bounds) -> String {
    let mut words = String::new();
    if bounds.one_of.is_empty() {
        let shown = |decimal: Option<Decimal>| decimal.map_or(f64::NAN, Decimal::to_f64);
        // Writing into a text does not fail.
        let _ = write!(words, "{} to {}", shown(bounds.min), shown(bounds.max));
    } else {
        let one = |value: &Value| {
            let word = unscaled(&spec.descriptor, value).and_then(|raw| spec.word(&raw));
            json(value).to_string() + &word.map_or_else(String::new, |word| format!(" ({word})"))
        };
        let all: Vec<String> = bounds.one_of.iter().map(one).collect();
        let _ = write!(words, "one of {}", all.join(", "));
    }
    words
}

/// A value as JSON; bytes as hexadecimal digits.
pub fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(flag) => literal!(flag),
        Value::Int(integer) => literal!(integer),
        Value::Unsigned(integer) => literal!(integer),
        Value::Float(float) => literal!(float),
        Value::Text(text) => literal!(text),
        Value::Bytes(bytes) => {
            let mut digits = String::with_capacity(2 * bytes.len());
            for byte in bytes {
                // Writing into a text does not fail.
                let _ = write!(digits, "{byte:02x}");
            }
            literal!(digits)
        }
    }
}
