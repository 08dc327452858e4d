//! Figures of a source that sends messages by itself (MQTT), and of Sparkplug over it.

use serde::{Deserialize, Serialize};

/// Topics without a stream that are shown.
pub const UNMATCHED_SHOWN: usize = 8;

/// Figures of a source that sends messages by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageFigures {
    /// Messages that came.
    pub messages: u64,
    /// Of them, those on a topic that no stream is configured for.
    pub unmatched: u64,
    /// Some of these topics, the newest last.
    pub unmatched_topics: Vec<String>,
    /// Readings that are bad because the message does not hold what the configuration says.
    pub undecodable: u64,
    /// Fields that a message did not hold; they give no reading.
    pub fields_missing: u64,
    /// Messages that came again, were known, and were not recorded again.
    pub repeats_dropped: u64,
    /// Messages that came again and of which nobody knows whether they were recorded: they are, with a flag.
    pub possibly_repeated: u64,
    /// Retained messages that said the same as the last of their topic, and were left out.
    pub retained_repeated: u64,
    /// Times that the broker had forgotten the session.
    pub sessions_lost: u64,
    /// Of a Sparkplug host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparkplug: Option<SparkplugFigures>,
}

/// Figures of a Sparkplug host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparkplugFigures {
    /// Births of edge nodes and devices that feed streams.
    pub births: u64,
    /// Deaths of edge nodes and devices that feed streams.
    pub deaths: u64,
    /// Deaths of older connections, which were ignored.
    pub late_deaths: u64,
    /// Times that a sequence number was missing.
    pub gaps: u64,
    /// Messages that waited for their turn, and got it.
    pub reordered: u64,
    /// Messages that came before the birth that explains them.
    pub before_birth: u64,
    /// Metrics with an alias or name that the birth does not have.
    pub unknown_metrics: u64,
    /// Births asked for.
    pub rebirths_asked: u64,
    /// Messages that are no payload of Sparkplug B.
    pub unreadable: u64,
    /// Metrics of the last births that no stream is configured for.
    pub metrics_unmatched: u64,
    /// Some of them, with node and device.
    pub unmatched_metrics: Vec<String>,
}

impl MessageFigures {
    pub(crate) fn unmatched(&mut self, topic: &str) {
        self.unmatched += 1;
        if self.unmatched_topics.iter().any(|known| known == topic) {
            return;
        }
        if self.unmatched_topics.len() == UNMATCHED_SHOWN {
            self.unmatched_topics.remove(0);
        }
        self.unmatched_topics.push(topic.to_owned());
    }
}
