//! Births of Sparkplug B: which metrics there are, in bounded memory, and who has not been born here.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::kind::EXAMPLE_MAX;
use crate::mqtt::sparkplug::describe;
use crate::mqtt::sparkplug::topic::{Topic, Verb};

/// Metrics that are remembered, of all births together. Further ones are counted.
pub const METRICS_MAX: usize = 4_096;
/// Longer names are counted only; the configuration takes no longer one.
const NAME_BYTES_MAX: usize = 256;
/// A unit is at most so long, in characters.
const UNIT_MAX: usize = 40;
/// Edge nodes that are asked for their births in one look.
const ASKED_MAX: usize = 256;

/// A metric, as a birth says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Its name.
    pub name: String,
    /// Its type, such as `Int16`; `None`: none that is known.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its unit, as the edge node writes it: not UCUM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What it was, cut.
    pub example: String,
}

/// What births have said.
#[derive(Debug, Clone, Default)]
pub(super) struct Births {
    by_topic: BTreeMap<String, Birth>,
    metrics: usize,
    /// Group and edge node.
    asked: BTreeSet<(String, String)>,
}

#[derive(Debug, Clone, Default)]
struct Birth {
    metrics: BTreeMap<String, Metric>,
    left_out: u64,
}

impl Births {
    /// A message on a topic that is remembered.
    pub(super) fn heard(&mut self, topic: &str, payload: &[u8]) {
        let Some(said) = describe(topic, payload).filter(|said| said.says == "birth") else { return };
        let birth = self.by_topic.entry(topic.to_owned()).or_default();
        birth.left_out = 0;
        for metric in said.metrics {
            let Some(name) = metric.name else { continue };
            if is_of_the_protocol(&name) {
                continue;
            }
            let is_known = birth.metrics.contains_key(&name);
            if !is_known && (self.metrics >= METRICS_MAX || name.len() > NAME_BYTES_MAX) {
                birth.left_out += 1;
                continue;
            }
            self.metrics += usize::from(!is_known);
            let example = match metric.value {
                serde_json::Value::String(text) => text,
                serde_json::Value::Null => String::new(),
                other => other.to_string(),
            };
            let cut = |text: String, most| text.chars().take(most).collect();
            let unit = metric.unit.map(|unit| cut(unit, UNIT_MAX));
            let metric =
                Metric { name: name.clone(), kind: metric.kind, unit, example: cut(example, EXAMPLE_MAX) };
            birth.metrics.insert(name, metric);
        }
    }

    /// The metrics of a birth, by name, and how many more there were.
    pub(super) fn of(&self, topic: &str) -> (Vec<Metric>, u64) {
        let birth = self.by_topic.get(topic);
        birth.map_or_else(Default::default, |birth| {
            (birth.metrics.values().cloned().collect(), birth.left_out)
        })
    }

    /// The group and the edge node that should be asked for its births after a message on this topic: it lives, and was not
    /// born here. Each is named once.
    pub(super) fn should_ask(&mut self, topic: &str) -> Option<(String, String)> {
        let Topic::Of { group, verb, place } = Topic::parse(topic)? else { return None };
        let is_alive = match verb {
            Verb::Birth | Verb::Data => true,
            // A device's death is said by its edge node.
            Verb::Death => place.device.is_some(),
            Verb::Command => false,
        };
        let born = |place| {
            let topic = Topic::Of { group: group.clone(), verb: Verb::Birth, place };
            self.by_topic.contains_key(&topic.to_string())
        };
        let mut of_node = place.clone();
        of_node.device = None;
        let is_missing = !born(of_node) || (verb == Verb::Data && !born(place.clone()));
        let node = (group, place.node);
        if !is_alive || !is_missing || self.asked.len() >= ASKED_MAX || !self.asked.insert(node.clone()) {
            return None;
        }
        Some(node)
    }

    /// How many were asked.
    pub(super) fn asked(&self) -> usize {
        self.asked.len()
    }
}

/// Metrics by which nodes and hosts talk of themselves (specification 3.0.0, section 6.4): nothing of the machine.
fn is_of_the_protocol(name: &str) -> bool {
    name == "bdSeq" || name.starts_with("Node Control/") || name.starts_with("Device Control/")
}
