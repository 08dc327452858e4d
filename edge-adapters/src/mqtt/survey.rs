//! What a broker has: a look at it for a while, which takes nothing from anybody, and a configuration that is proposed.
//!
//! # Layout
//!
//! | file | what is in it |
//! |---|---|
//! | this file | pure: topics, rates and kinds of payloads, in bounded memory whatever comes |
//! | `kind.rs` | pure: what a payload is, and what is in it |
//! | `births.rs` | pure: the metrics that births of Sparkplug name |
//! | `propose.rs`, `propose/` | pure: the configuration |
//! | `look.rs` | the connection |

#[cfg(feature = "sparkplug")]
mod births;
mod kind;
mod look;
mod propose;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

#[cfg(feature = "sparkplug")]
pub use births::{METRICS_MAX, Metric};
pub use kind::{Field, FieldKind, PayloadKind, Rows};
pub use look::{Request, Url, look};
#[cfg(feature = "sparkplug")]
pub use propose::unborn;
pub use propose::{Head, propose};

use super::topic::Filter;
use kind::Seen;

/// Topics that are looked at. Messages on further ones are counted.
pub const TOPICS_MAX: usize = 500;
/// Fields of the messages of one topic. Further ones are counted.
pub const FIELDS_MAX: usize = 64;

/// What was seen so far.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    topics: BTreeMap<String, Topic>,
    /// Messages that came.
    messages: u64,
    /// Of them, those on topics beyond [`TOPICS_MAX`], or whose name no stream could have.
    left_out: u64,
    #[cfg(feature = "sparkplug")]
    births: births::Births,
}

#[derive(Debug, Clone, Default)]
struct Topic {
    messages: u64,
    retained: u64,
    bytes_max: usize,
    first: Duration,
    last: Duration,
    seen: Seen,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopicReport {
    /// Its name.
    pub topic: String,
    /// Messages that came.
    pub messages: u64,
    /// Of them, those that the broker had kept: their rate says nothing.
    pub retained: u64,
    /// Messages a second, between the first and the last that were not kept; `None` for less than two.
    pub per_second: Option<f64>,
    /// The longest payload.
    pub bytes_max: usize,
    /// What the payloads are; `mixed` where they are of several kinds.
    pub kind: PayloadKind,
    /// What is in them.
    pub fields: Vec<Field>,
    /// Fields beyond [`FIELDS_MAX`], or too deep or too long to be pointed to; metrics that are too many or too long.
    pub fields_left_out: u64,
    /// The metrics that it names, if it is a birth of Sparkplug.
    #[cfg(feature = "sparkplug")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<Metric>,
    /// How its rows are written, if it has some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<Rows>,
    /// What a person should know besides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Messages that came.
    pub messages: u64,
    /// Of them, those on topics that are not shown.
    pub messages_left_out: u64,
    /// Edge nodes of Sparkplug that were asked for their births.
    pub births_asked: usize,
    /// The topics, by name.
    pub topics: Vec<TopicReport>,
}

impl Survey {
    /// A message, `at` so long after the beginning.
    pub fn heard(&mut self, topic: &str, payload: &[u8], retained: bool, at: Duration) {
        self.messages += 1;
        let is_known = self.topics.contains_key(topic);
        if !is_known && (self.topics.len() >= TOPICS_MAX || !is_configurable(topic)) {
            self.left_out += 1;
            return;
        }
        let seen = self.topics.entry(topic.to_owned()).or_default();
        seen.messages += 1;
        seen.bytes_max = seen.bytes_max.max(payload.len());
        if retained {
            seen.retained += 1;
        } else {
            if seen.messages - seen.retained == 1 {
                seen.first = at;
            }
            seen.last = at;
        }
        seen.seen.payload(topic, payload);
        #[cfg(feature = "sparkplug")]
        self.births.heard(topic, payload);
    }

    /// The group and the edge node of Sparkplug that should be asked for its births after a message on this topic: it
    /// lives, and its births did not come. Each is named once.
    #[cfg(feature = "sparkplug")]
    pub fn should_ask(&mut self, topic: &str) -> Option<(String, String)> {
        self.births.should_ask(topic)
    }

    /// How many messages came.
    pub const fn messages(&self) -> u64 {
        self.messages
    }

    /// What was seen.
    pub fn report(&self) -> Report {
        let report = |(topic, seen): (&String, &Topic)| {
            #[cfg_attr(not(feature = "sparkplug"), allow(unused_mut, reason = "nothing more is known of it"))]
            let mut report = seen.report(topic);
            #[cfg(feature = "sparkplug")]
            {
                let (metrics, left_out) = self.births.of(topic);
                report.metrics = metrics;
                report.fields_left_out += left_out;
            }
            report
        };
        let topics = self.topics.iter().map(report).collect();
        #[cfg(feature = "sparkplug")]
        let births_asked = self.births.asked();
        #[cfg(not(feature = "sparkplug"))]
        let births_asked = 0;
        Report { messages: self.messages, messages_left_out: self.left_out, births_asked, topics }
    }
}

/// Could a stream have this topic? Not one that is too long, or looks like a filter or a template.
fn is_configurable(topic: &str) -> bool {
    Filter::new(topic).is_ok_and(|filter| filter.is_plain())
        && !topic.split('/').any(|level| level.starts_with('{') && level.ends_with('}'))
}

impl Topic {
    fn report(&self, topic: &str) -> TopicReport {
        let live = self.messages - self.retained;
        let span = self.last.saturating_sub(self.first).as_secs_f64();
        let per_second = (live >= 2 && span > 0.0).then(|| (live - 1) as f64 / span);
        TopicReport {
            topic: topic.to_owned(),
            messages: self.messages,
            retained: self.retained,
            per_second,
            bytes_max: self.bytes_max,
            kind: self.seen.kind(),
            fields: self.seen.fields(),
            fields_left_out: self.seen.left_out(),
            #[cfg(feature = "sparkplug")]
            metrics: Vec::new(),
            rows: self.seen.rows(),
            note: self.seen.note(),
        }
    }
}
