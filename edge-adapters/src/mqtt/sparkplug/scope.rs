//! What one edge node or device has told of its metrics: pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::host::Out;
use super::payload::{Metric, Payload, TEMPLATE_DEPTH_MAX};
use super::value::{self, DataType};
use crate::mapping::Decoded;
use crate::status_code;

/// Most aliases that are kept of all edge nodes together. Of a birth with more, the further ones are not kept; a message
/// that uses one of them is taken as of no stream.
pub const ALIASES_MAX: usize = 262_144;

/// A metric that feeds streams.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The streams, and which type each expects.
    pub(super) streams: Vec<(usize, Option<DataType>)>,
    /// As the birth says; `None`: it does not stand in the birth.
    pub(super) born: Option<Born>,
}

/// What a birth says of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Born {
    /// Its type; `None`: a type that this program does not know.
    pub kind: Option<DataType>,
    /// Its alias.
    pub alias: Option<u64>,
}

/// How far a message can be trusted to name its metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// All messages since the birth are here.
    Full,
    /// Some may be missing, a birth with other aliases among them: only a metric that brings its own name and type.
    Names,
}

/// What a metric has of its message.
#[derive(Debug, Clone, Copy)]
struct Said {
    /// Its time, ms since 1970 UTC.
    time: Option<u64>,
    /// How many values had been written when it came.
    writes: u64,
}

/// What a message had that a birth must explain.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Unexplained {
    pub(super) aliases: u64,
    pub(super) names: u64,
}

#[derive(Debug, Default)]
pub(super) struct Scope {
    wanted: HashMap<String, Slot>,
    /// Names before a `/` of a wanted one: templates whose members feed streams.
    parents: HashSet<String>,
    pub(super) is_born: bool,
    /// The node was born anew; until then the device must be.
    pub(super) birth_due: Option<Duration>,
    /// The name where it matters to a stream.
    aliases: HashMap<u64, Option<String>>,
    /// Are there further ones?
    has_more_aliases: bool,
    /// Metrics of the last birth that feed no stream.
    pub(super) unmatched: Vec<String>,
    pub(super) unmatched_count: u64,
    /// Aliases of the last birth that stand for two metrics.
    pub(super) aliases_twice: u64,
}

/// Names of metrics without a stream that are shown, for each edge node or device.
const UNMATCHED_SHOWN: usize = 4;

impl Scope {
    pub(super) fn want(&mut self, metric: &str, stream: usize, kind: Option<DataType>) {
        self.wanted.entry(metric.to_owned()).or_default().streams.push((stream, kind));
        self.parents.extend(metric.match_indices('/').map(|(at, _)| metric[..at].to_owned()));
    }

    /// All that it feeds.
    pub(super) fn streams(&self) -> impl Iterator<Item = usize> + '_ {
        self.wanted.values().flat_map(|slot| slot.streams.iter().map(|(stream, _)| *stream))
    }

    /// Wanted metrics that the birth does not have, in order.
    pub(super) fn missing(&self) -> Vec<&str> {
        let is_missing = |(name, slot): (_, &Slot)| slot.born.is_none().then_some(name);
        let mut names: Vec<&str> =
            self.wanted.iter().map(|(name, slot)| (name.as_str(), slot)).filter_map(is_missing).collect();
        names.sort_unstable();
        names
    }

    pub(super) fn slot(&self, metric: &str) -> Option<&Slot> {
        self.wanted.get(metric)
    }

    /// Nothing of its birth holds any more.
    pub(super) fn forget(&mut self) {
        self.is_born = false;
        self.aliases = HashMap::new();
        self.has_more_aliases = false;
        self.wanted.values_mut().for_each(|slot| slot.born = None);
    }

    /// Aliases that it keeps.
    pub(super) fn aliases(&self) -> usize {
        self.aliases.len()
    }

    /// A birth that came after so many writes, with room for so many aliases.
    pub(super) fn birth(&mut self, payload: &Payload, writes: u64, room: usize, out: &mut Vec<Out>) {
        self.forget();
        (self.is_born, self.birth_due) = (true, None);
        (self.unmatched, self.unmatched_count, self.aliases_twice) = (Vec::new(), 0, 0);
        for metric in &payload.metrics {
            let Some(name) = metric.called() else { continue };
            let matters = self.wanted.contains_key(name) || self.parents.contains(name);
            if let Some(alias) = metric.alias {
                self.note_alias(alias, matters.then_some(name), room);
            }
            if !matters {
                self.note_unmatched(name);
            }
        }
        let said = Said { time: payload.timestamp, writes };
        for metric in &payload.metrics {
            let Some(name) = metric.called() else { continue };
            self.note_types(name, metric, 0);
            self.values(name, metric, said, 0, out);
        }
        // What the birth does not have has no value of now.
        for slot in self.wanted.values().filter(|slot| slot.born.is_none()) {
            out.extend(slot.streams.iter().map(|(stream, _)| Out::stale(*stream, status_code::NOT_IN_BIRTH)));
        }
    }

    fn note_alias(&mut self, alias: u64, name: Option<&str>, room: usize) {
        if let Some(known) = self.aliases.get_mut(&alias) {
            // It stands for two: a value under it could be either's.
            self.aliases_twice += 1;
            *known = None;
        } else if self.aliases.len() < room {
            self.aliases.insert(alias, name.map(str::to_owned));
        } else {
            self.has_more_aliases = true;
        }
    }

    fn note_unmatched(&mut self, name: &str) {
        if name == "bdSeq" || name.starts_with("Node Control/") || name.starts_with("Device Control/") {
            return;
        }
        self.unmatched_count += 1;
        if self.unmatched.len() < UNMATCHED_SHOWN {
            self.unmatched.push(name.to_owned());
        }
    }

    fn note_types(&mut self, name: &str, metric: &Metric, depth: usize) {
        let alias = metric.alias.filter(|_| depth == 0);
        let alias = alias.filter(|alias| self.aliases.get(alias).is_some_and(Option::is_some));
        if let Some(slot) = self.wanted.get_mut(name) {
            slot.born = Some(Born { kind: metric.datatype.and_then(DataType::of), alias });
        }
        for (name, member) in self.members(name, metric, depth) {
            self.note_types(&name, &member, depth + 1);
        }
    }

    /// Members of a template that matter, with their names.
    fn members(&self, name: &str, metric: &Metric, depth: usize) -> Vec<(String, Metric)> {
        if depth >= TEMPLATE_DEPTH_MAX || !self.parents.contains(name) {
            return Vec::new();
        }
        let Some(template) = metric.template().filter(|t| t.is_definition != Some(true)) else {
            return Vec::new();
        };
        let named = |member: Metric| {
            let name = format!("{name}/{}", member.called()?);
            (self.wanted.contains_key(&name) || self.parents.contains(&name)).then_some((name, member))
        };
        template.metrics.into_iter().filter_map(named).collect()
    }

    /// What a message that came after so many writes brings. Without its birth a metric needs a type of its own.
    pub(super) fn data(
        &self,
        payload: &Payload,
        writes: u64,
        trust: Trust,
        out: &mut Vec<Out>,
    ) -> Unexplained {
        let said = Said { time: payload.timestamp, writes };
        let mut unexplained = Unexplained::default();
        for metric in &payload.metrics {
            // The name stands above the alias, which only stands for it.
            if let Some(name) = metric.called() {
                unexplained.names += u64::from(self.slot(name).is_some_and(|slot| slot.born.is_none()));
                self.values(name, metric, said, 0, out);
            } else if trust == Trust::Full
                && let Some(alias) = metric.alias
            {
                match self.aliases.get(&alias) {
                    Some(Some(name)) => self.values(name, metric, said, 0, out),
                    Some(None) => {}
                    None => unexplained.aliases += u64::from(!self.has_more_aliases),
                }
            }
        }
        unexplained
    }

    fn values(&self, name: &str, metric: &Metric, said: Said, depth: usize, out: &mut Vec<Out>) {
        if let Some(slot) = self.wanted.get(name) {
            let kind = match (metric.datatype, slot.born) {
                (Some(number), _) => DataType::of(number),
                (None, Some(born)) => born.kind,
                (None, None) => return,
            };
            let decoded = kind.map_or(Decoded::bad(status_code::UNDECODABLE), |k| value::decode(metric, k));
            let source_time_ns = value::source_time_ns(metric, said.time);
            for (stream, expected) in &slot.streams {
                let is_other = expected.is_some() && *expected != kind;
                out.push(Out::Value {
                    stream: *stream,
                    decoded: if is_other { Decoded::bad(status_code::OTHER_TYPE) } else { decoded.clone() },
                    source_time_ns,
                    is_historical: metric.is_historical == Some(true),
                    writes: said.writes,
                });
            }
        }
        for (name, member) in self.members(name, metric, depth) {
            self.values(&name, &member, said, depth + 1, out);
        }
    }
}
