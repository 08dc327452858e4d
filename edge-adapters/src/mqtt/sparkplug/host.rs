//! A host application: what messages of edge nodes say, and which nodes must be asked for their births again. Pure: time
//! is an argument, a span since any fixed moment.
//!
//! Only nodes and devices that feed a stream are followed, so what is kept is bounded by the configuration, aside from
//! aliases ([`ALIASES_MAX`]) and messages that came before their turn ([`HELD_MAX`]).
//!
//! | what comes | becomes |
//! |---|---|
//! | birth | values; later aliases mean what it says |
//! | data in turn | values |
//! | data not in turn | waits for its turn for the reorder time, if there is one; then every stream of the node is stale, and a birth is asked for |
//! | data before any birth, an unknown alias, a name that is not in the birth | a birth is asked for |
//! | … that names itself and its type | values all the same, since no birth is needed to read it |
//! | death of the node with the `bdSeq` of its birth | all its streams are stale |
//! | … with another | an older connection's; ignored and counted |
//! | death of a device | its streams are stale |
//! | birth of a node that a device's birth does not follow within [`DEVICE_BIRTH_WAIT`] | the device's streams are stale |

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::{Around, Life, Message, Node};
use super::payload::{Payload, Unreadable};
use super::rebirth::SPACING;
use super::scope::{ALIASES_MAX, Born};
use super::topic::{Place, Verb};
use super::value::DataType;
use crate::health::SparkplugFigures as Figures;
use crate::mapping::Decoded;

/// Messages of one node that may wait for their turn.
pub const HELD_MAX: usize = 64;
/// After its node's birth, a device must be born within this time.
pub const DEVICE_BIRTH_WAIT: Duration = Duration::from_secs(10);
/// After a connection to the broker was made, nodes are given this time to be born by themselves, as they are when they
/// see their host come.
pub const GRACE: Duration = Duration::from_secs(2);

/// What may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Are births asked for?
    pub rebirth: bool,
    /// How long a message may wait for those before it; zero: not at all.
    pub reorder: Duration,
}

/// What one stream reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Of whom.
    pub place: Place,
    /// Which metric; `a/b` is also the member `b` of a template `a`.
    pub metric: String,
    /// Its type, where the configuration names one.
    pub kind: Option<DataType>,
}

/// When a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// The moment, as a span since any fixed one.
    pub at: Duration,
    /// How many values had been written by then: what came before a value was written does not confirm it, however late
    /// its turn comes.
    pub writes: u64,
}

/// What becomes of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum Out {
    /// It has a value.
    Value {
        /// Which stream.
        stream: usize,
        /// The value.
        decoded: Decoded,
        /// ns since 1970 UTC; `None`: the message names none that can be read.
        source_time_ns: Option<i64>,
        /// Is it one that was kept while nobody could be told?
        is_historical: bool,
        /// How many values had been written when its message came.
        writes: u64,
    },
    /// Its last value is no value of now.
    Stale {
        /// Which stream.
        stream: usize,
        /// Why ([`status_code`](crate::status_code)).
        status: u32,
    },
}

impl Out {
    pub(super) const fn stale(stream: usize, status: u32) -> Self {
        Self::Stale { stream, status }
    }
}

/// The nodes of one group.
#[derive(Debug)]
pub struct Host {
    nodes: BTreeMap<String, Node>,
    places: Vec<(Place, String)>,
    policy: Policy,
    figures: Figures,
    /// Nothing happens by itself before this moment.
    due: Option<Duration>,
    /// No request goes out before this moment.
    next_request: Duration,
    /// May complaints or unmatched metrics be others than at the last look?
    is_changed: bool,
}

impl Host {
    /// A host with these streams.
    pub fn new(targets: &[Target], policy: Policy) -> Self {
        let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
        for (stream, Target { place, metric, kind }) in targets.iter().enumerate() {
            let node = nodes.entry(place.node.clone()).or_default();
            // A node has a birth of its own, whether or not one of its streams is the node's.
            node.scopes.entry(None).or_default();
            node.scopes.entry(place.device.clone()).or_default().want(metric, stream, *kind);
        }
        let places = targets.iter().map(|target| (target.place.clone(), target.metric.clone())).collect();
        let (figures, next_request) = (Figures::default(), Duration::ZERO);
        Self { nodes, places, policy, figures, due: None, next_request, is_changed: true }
    }

    /// The connection to the broker stands, and what was said while there was none is not known.
    pub fn connected(&mut self, now: Duration) {
        for node in self.nodes.values_mut() {
            node.link_is_new();
            if self.policy.rebirth {
                node.asking.want(now, now + GRACE);
            }
        }
        self.is_changed = true;
        self.renew_due();
    }

    /// A message. `false`: no stream is configured for that edge node or device.
    pub fn message(
        &mut self,
        verb: Verb,
        place: &Place,
        payload: Result<Payload, Unreadable>,
        came: Came,
        out: &mut Vec<Out>,
    ) -> bool {
        // Only a birth brings aliases.
        let is_birth = verb == Verb::Birth;
        let kept = if is_birth { self.aliases() } else { 0 };
        let Some(node) = self.nodes.get_mut(&place.node) else { return false };
        let Ok(payload) = payload else {
            // Of a node that counts its messages the next one tells that this one is missing.
            self.figures.unreadable += 1;
            return true;
        };
        let room = if is_birth { ALIASES_MAX.saturating_sub(kept - node.aliases()) } else { 0 };
        let is_wanted = node.scopes.contains_key(&place.device);
        let before = (node.life, verb == Verb::Data);
        let mut around = Around { now: came.at, policy: &self.policy, figures: &mut self.figures, room, out };
        let message = Message { verb, device: place.device.clone(), payload, writes: came.writes };
        node.message(message, &mut around);
        self.due = self.due.into_iter().chain(node.due()).min();
        self.is_changed |= before != (node.life, true);
        is_wanted
    }

    /// When [`Self::tick`] is to be called; `None`: no need.
    pub const fn due(&self) -> Option<Duration> {
        self.due
    }

    /// Time has gone on. Gives the nodes that are to be asked for their births now.
    pub fn tick(&mut self, now: Duration, out: &mut Vec<Out>) -> Vec<String> {
        self.is_changed = true;
        for node in self.nodes.values_mut() {
            let mut around = Around { now, policy: &self.policy, figures: &mut self.figures, room: 0, out };
            node.tick(&mut around);
        }
        let mut asked = Vec::new();
        // The one that waits longest comes first.
        let due = |node: &Node| node.asking.due().filter(|due| *due <= now);
        if now >= self.next_request
            && let Some((name, node)) = self
                .nodes
                .iter_mut()
                .filter(|(_, node)| due(node).is_some())
                .min_by_key(|(_, node)| due(node))
        {
            node.asking.asked(now);
            self.figures.rebirths_asked += 1;
            self.next_request = now + SPACING;
            asked.push(name.clone());
        }
        self.renew_due();
        asked
    }

    fn renew_due(&mut self) {
        let requests = self.nodes.values().filter_map(|node| node.asking.due()).min();
        let due = self.nodes.values().filter_map(Node::due).min();
        // A request that is due may have to wait for the one before.
        self.due = match (due, requests) {
            (Some(due), Some(request)) if due == request => Some(due.max(self.next_request)),
            (due, _) => due,
        };
    }

    /// May [`Self::complaints`] or [`Self::unmatched`] say something else than when this was last asked?
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// What happened.
    pub const fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Aliases that are kept.
    pub fn aliases(&self) -> usize {
        self.nodes.values().map(Node::aliases).sum()
    }

    /// How it is with an edge node.
    pub fn life(&self, node: &str) -> Option<Life> {
        self.nodes.get(node).map(|node| node.life)
    }

    /// What a birth, as far as there is one, says of a stream's metric.
    pub fn born(&self, stream: usize) -> Option<(&Place, &str, Born)> {
        let (place, metric) = self.places.get(stream)?;
        let born = self.nodes.get(&place.node)?.scopes.get(&place.device)?.slot(metric)?.born?;
        Some((place, metric, born))
    }

    /// Metrics of born nodes and devices that feed no stream: how many, and some of them.
    pub fn unmatched(&self, shown: usize) -> (u64, Vec<String>) {
        let mut count = 0;
        let mut names = Vec::new();
        for (node, device, scope) in self.scopes() {
            count += scope.unmatched_count;
            let place = Place { node: node.to_owned(), device: device.clone() };
            names.extend(scope.unmatched.iter().map(|metric| format!("{place} {metric}")));
        }
        names.truncate(shown);
        (count, names)
    }

    /// What is wrong with nodes, devices and metrics, in words; empty when all is well.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (name, node) in &self.nodes {
            let asked = match node.asking.in_vain {
                0 => String::new(),
                1 => ", asked for it once".to_owned(),
                times => format!(", asked for it {times} times"),
            };
            match node.life {
                Life::Unheard => complaints.push(format!("no birth of edge node {name:?}{asked}")),
                Life::Lost => {
                    complaints
                        .push(format!("messages of edge node {name:?} are missing; no new birth{asked}"));
                }
                Life::Dead => complaints.push(format!("edge node {name:?} is dead")),
                Life::Born => {}
            }
        }
        for (node, device, scope) in self.scopes() {
            let place = Place { node: node.to_owned(), device: device.clone() };
            if self.life(node) != Some(Life::Born) {
                continue;
            }
            if !scope.is_born && scope.birth_due.is_none() {
                complaints.push(format!("device \"{place}\" is not there"));
            } else if scope.is_born
                && let [first, rest @ ..] = scope.missing().as_slice()
            {
                let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
                complaints.push(format!("the birth of \"{place}\" has no metric {first:?}{more}"));
            }
            if scope.aliases_twice > 0 {
                complaints.push(format!("an alias of \"{place}\" stands for two metrics"));
            }
        }
        complaints
    }

    fn scopes(&self) -> impl Iterator<Item = (&str, &Option<String>, &super::scope::Scope)> {
        self.nodes.iter().flat_map(|(name, node)| {
            node.scopes.iter().map(move |(device, scope)| (name.as_str(), device, scope))
        })
    }
}
