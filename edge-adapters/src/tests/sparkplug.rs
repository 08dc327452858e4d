//! Sparkplug B without IO: payloads, topics, values, and what a host makes of messages.

mod births;
mod config;
mod decode;
mod listen;
mod order;
mod random;

use std::time::Duration;

use selvedge_core::reading::Value;

use crate::backoff::SplitMix;
use crate::mapping::Decoded;
use crate::mqtt::sparkplug::host::{Came, Host, Out, Policy, Target};
use crate::mqtt::sparkplug::payload::{Metric, Payload};
use crate::mqtt::sparkplug::topic::{Place, Topic, Verb};
use crate::mqtt::sparkplug::value::DataType;

pub(super) const POLICY: Policy = Policy { rebirth: true, reorder: Duration::ZERO };

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn place(text: &str) -> Place {
    match text.split_once('/') {
        Some((node, device)) => Place { node: node.to_owned(), device: Some(device.to_owned()) },
        None => Place { node: text.to_owned(), device: None },
    }
}

pub(super) fn target(at: &str, metric: &str) -> Target {
    Target { place: place(at), metric: metric.to_owned(), kind: None }
}

/// A metric of type `Int64`.
pub(super) fn named(name: &str, value: i64) -> Metric {
    Metric {
        name: Some(name.as_bytes().to_vec()),
        datatype: Some(DataType::Int64 as u32),
        long_value: Some(value as u64),
        ..Metric::default()
    }
}

/// As a birth has it.
pub(super) fn with_alias(name: &str, alias: u64, value: i64) -> Metric {
    Metric { alias: Some(alias), ..named(name, value) }
}

/// As data has it: no name, no type.
pub(super) fn aliased(alias: u64, value: i64) -> Metric {
    Metric { alias: Some(alias), long_value: Some(value as u64), ..Metric::default() }
}

pub(super) fn payload(seq: impl Into<Option<u64>>, metrics: Vec<Metric>) -> Payload {
    Payload { timestamp: Some(1_000), metrics, seq: seq.into(), ..Payload::default() }
}

/// Evenly from 0 to `bound` - 1, nearly.
pub(super) fn below(random: &mut SplitMix, bound: u64) -> u64 {
    random.next() % bound
}

/// A host, the moment, and what it says.
pub(super) struct Rig {
    pub(super) host: Host,
    pub(super) now: Duration,
}

/// A value or a death, briefly.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Brief {
    Is(usize, i64),
    Other(usize, Decoded),
    Stale(usize, u32),
}

impl Rig {
    /// Connected long ago: nodes were given time to be born.
    pub(super) fn new(targets: &[Target]) -> Self {
        Self::with(targets, POLICY)
    }

    pub(super) fn with(targets: &[Target], policy: Policy) -> Self {
        let mut host = Host::new(targets, policy);
        host.connected(Duration::ZERO);
        Self { host, now: Duration::ZERO }
    }

    pub(super) fn say(&mut self, topic: &str, payload: Payload) -> Vec<Brief> {
        let topic = Topic::parse(&format!("spBv1.0/g/{topic}")).expect("a topic of Sparkplug");
        let Topic::Of { verb, place, .. } = topic else { panic!("no STATE here") };
        self.hear(verb, &place, payload)
    }

    pub(super) fn hear(&mut self, verb: Verb, place: &Place, payload: Payload) -> Vec<Brief> {
        let mut out = Vec::new();
        self.host.message(verb, place, Ok(payload), self.came(), &mut out);
        briefly(out)
    }

    pub(super) fn came(&self) -> Came {
        Came { at: self.now, writes: 0 }
    }

    /// Time goes on, in steps as the adapter would make them; which nodes are asked for births, and what else happens.
    pub(super) fn until(&mut self, moment: Duration) -> (Vec<String>, Vec<Brief>) {
        let (mut asked, mut out) = (Vec::new(), Vec::new());
        while let Some(due) = self.host.due().filter(|due| *due <= moment) {
            self.now = self.now.max(due);
            asked.extend(self.host.tick(self.now, &mut out));
        }
        self.now = moment;
        (asked, briefly(out))
    }

    /// The moments at which requests go out until then.
    pub(super) fn requests(&mut self, moment: Duration) -> Vec<Duration> {
        let mut moments = Vec::new();
        while let Some(due) = self.host.due().filter(|due| *due <= moment) {
            self.now = self.now.max(due);
            let asked = self.host.tick(self.now, &mut Vec::new());
            moments.extend(asked.iter().map(|_| self.now));
        }
        self.now = moment;
        moments
    }
}

pub(super) fn briefly(out: Vec<Out>) -> Vec<Brief> {
    let brief = |out| match out {
        Out::Value { stream, decoded: Decoded { value: Value::Int(value), status: 0, .. }, .. } => {
            Brief::Is(stream, value)
        }
        Out::Value { stream, decoded, .. } => Brief::Other(stream, decoded),
        Out::Stale { stream, status } => Brief::Stale(stream, status),
    };
    out.into_iter().map(brief).collect()
}
