//! What a message says, for a person who does not know the plant yet: pure.

use selvedge_core::reading::Quality;
use serde::Serialize;

use super::payload::{Metric, Payload};
use super::topic::{Place, Topic, Verb};
use super::value::{self, DataType};
use crate::write::desk::json;

/// A message of an edge node or device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Described {
    /// The group.
    pub group: String,
    /// The edge node.
    pub node: String,
    /// The device, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// `birth`, `data`, `death` or `command`.
    pub says: &'static str,
    /// Its number in the sequence of the edge node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Its metrics, members of templates not among them.
    pub metrics: Vec<DescribedMetric>,
    /// Why the payload cannot be read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DescribedMetric {
    /// Its name; data have only its alias.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number that stands for it in data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<u64>,
    /// Its type, such as `Int16`; data may leave it out.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its value, where the type is known; bytes as hexadecimal digits.
    pub value: serde_json::Value,
    /// How good it is.
    pub quality: &'static str,
    /// Its unit, as the edge node writes it: not UCUM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// When it was taken, ns since 1970 UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_time_ns: Option<i64>,
}

/// What a message says; `None`: it is not on a topic of an edge node or device.
pub fn describe(topic: &str, payload: &[u8]) -> Option<Described> {
    let Topic::Of { group, verb, place: Place { node, device } } = Topic::parse(topic)? else { return None };
    let says = match verb {
        Verb::Birth => "birth",
        Verb::Death => "death",
        Verb::Data => "data",
        Verb::Command => "command",
    };
    let (payload, unreadable) = match Payload::read(payload) {
        Ok(payload) => (payload, None),
        Err(why) => (Payload::default(), Some(why.to_string())),
    };
    let metrics = payload.metrics.iter().map(|metric| described(metric, payload.timestamp)).collect();
    Some(Described { group, node, device, says, seq: payload.seq, metrics, unreadable })
}

fn described(metric: &Metric, time: Option<u64>) -> DescribedMetric {
    let kind = metric.datatype.and_then(DataType::of);
    let decoded = kind.map(|kind| value::decode(metric, kind));
    DescribedMetric {
        name: metric.called().map(str::to_owned),
        alias: metric.alias,
        kind: kind.map(|kind| kind.to_string()),
        value: decoded.as_ref().map_or(serde_json::Value::Null, |decoded| json(&decoded.value)),
        quality: decoded.map_or(Quality::Uncertain, |decoded| decoded.quality).name(),
        unit: value::unit(metric),
        source_time_ns: value::source_time_ns(metric, time),
    }
}
