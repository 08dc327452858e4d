//! A device, its streams and their last readings, at one moment.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MessageFigures, SubscriptionFigures};
use crate::mapping::Scaled;

/// How a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceState {
    /// It was not reached yet, nor did an attempt fail.
    Starting,
    /// It answers.
    Up,
    /// It answers, but refuses some of what it is asked.
    Degraded,
    /// It does not answer.
    Down,
    /// The adapter has ended.
    Stopped,
}

impl DeviceState {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Stopped => "stopped",
        }
    }
}

/// How often what went wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorCounts {
    /// No answer in time.
    pub timeout: u64,
    /// No connection could be made.
    pub unreachable: u64,
    /// The connection was closed or broke.
    pub closed: u64,
    /// What came back was no answer to what was asked.
    pub protocol: u64,
    /// The device refused.
    pub exception: u64,
    /// The adapter failed or panicked.
    pub adapter: u64,
}

/// A span of time, as last seen, on average (of the last dozens), and at most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spans {
    /// The last, in microseconds.
    pub last_us: u64,
    /// Moving average with a weight of 1/16, in microseconds.
    pub mean_us: u64,
    /// The greatest since the start, in microseconds.
    pub max_us: u64,
}

impl Spans {
    pub(super) fn add(&mut self, span: Duration) {
        let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        self.mean_us =
            if self.max_us == 0 { span_us } else { self.mean_us - self.mean_us / 16 + span_us / 16 };
        self.last_us = span_us;
        self.max_us = self.max_us.max(span_us);
    }
}

/// One device at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeviceSnapshot {
    /// Its name.
    pub device: String,
    /// Its protocol.
    pub protocol: &'static str,
    /// Where it is.
    pub address: String,
    /// How it is.
    pub state: DeviceState,
    /// Since when, ns since 1970 UTC.
    pub since_ns: i64,
    /// What went wrong last, and is not over.
    pub error: Option<String>,
    /// When the next attempt is due while it is down, ns since 1970 UTC.
    pub next_attempt_ns: Option<i64>,
    /// Receive time of the last good reading, ns since 1970 UTC.
    pub last_good_ns: Option<i64>,
    /// Connections made.
    pub connections: u64,
    /// Requests sent.
    pub requests: u64,
    /// Requests answered, refusals included.
    pub answers: u64,
    /// Errors by kind.
    pub errors: ErrorCounts,
    /// From a request to its answer.
    pub round_trip: Spans,
    /// Polls done.
    pub polls: u64,
    /// Polls left out because the one before was still going on.
    pub polls_skipped_late: u64,
    /// Polls left out because the queue to the node was full.
    pub polls_skipped_full: u64,
    /// How long after it was due a poll began.
    pub lateness: Spans,
    /// Readings handed over.
    pub readings: u64,
    /// Readings lost because the queue to the node was full.
    pub readings_dropped: u64,
    /// Times that the adapter was started again after a failure.
    pub restarts: u64,
    /// Of a source that sends messages by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<MessageFigures>,
    /// Of a source that reports changes by subscription.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionFigures>,
    /// Its streams.
    pub streams: Vec<StreamSnapshot>,
}

/// One stream at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamSnapshot {
    /// Its name.
    pub name: String,
    /// Its unit, as UCUM text.
    pub unit: String,
    /// Is its link down, or does its source say that it is stale?
    pub stale: bool,
    /// The last reading.
    pub last: Option<ReadingSnapshot>,
    /// The last reading of good quality.
    pub last_good: Option<ReadingSnapshot>,
}

/// One reading, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReadingSnapshot {
    /// The scaled value; `null` in JSON for none, and for an infinite number.
    pub value: Scaled,
    /// What the configuration calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// Quality.
    pub quality: &'static str,
    /// Status code ([`status_code`](crate::status_code)).
    pub status: u32,
    /// Source time, ns since 1970 UTC.
    pub source_time_ns: i64,
    /// Receive time, ns since 1970 UTC.
    pub receive_time_ns: i64,
}
