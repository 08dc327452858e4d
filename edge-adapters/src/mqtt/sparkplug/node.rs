//! One edge node with its devices: birth, sequence, death. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::host::{DEVICE_BIRTH_WAIT, HELD_MAX, Out, Policy};
use super::payload::Payload;
use super::rebirth::Asking;
use super::scope::{Scope, Trust, Unexplained};
use super::topic::Verb;
use crate::health::SparkplugFigures as Figures;
use crate::status_code;

/// How it is with an edge node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nothing was heard of it on this connection.
    Unheard,
    /// It is born, and every message since then came.
    Born,
    /// A message is missing. What it says by alias cannot be trusted until it is born again: the missing message may have
    /// been a birth that gave the aliases to other metrics.
    Lost,
    /// It died.
    Dead,
}

/// A message of a node or, with a name, of one of its devices.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) verb: Verb,
    pub(super) device: Option<String>,
    pub(super) payload: Payload,
    /// How many values had been written when it came.
    pub(super) writes: u64,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) life: Life,
    /// Its devices, and itself under `None`.
    pub(super) scopes: BTreeMap<Option<String>, Scope>,
    pub(super) asking: Asking,
    bd_seq: Option<u64>,
    /// The sequence number of the next message, where its messages have any.
    expected: Option<u8>,
    /// What came before its turn, by sequence number.
    held: BTreeMap<u8, Message>,
    held_until: Option<Duration>,
}

impl Default for Node {
    fn default() -> Self {
        Self {
            life: Life::Unheard,
            scopes: BTreeMap::new(),
            asking: Asking::default(),
            bd_seq: None,
            expected: None,
            held: BTreeMap::new(),
            held_until: None,
        }
    }
}

/// What handling a message needs beside the node.
pub(super) struct Around<'a> {
    pub(super) now: Duration,
    pub(super) policy: &'a Policy,
    pub(super) figures: &'a mut Figures,
    /// Aliases that this node may keep.
    pub(super) room: usize,
    pub(super) out: &'a mut Vec<Out>,
}

impl Node {
    /// The connection to the broker is new: what is known may be of the past.
    pub(super) fn link_is_new(&mut self) {
        self.life = Life::Unheard;
        self.forget();
        self.asking.cancel();
    }

    fn forget(&mut self) {
        (self.bd_seq, self.expected, self.held_until) = (None, None, None);
        self.held.clear();
        for scope in self.scopes.values_mut() {
            scope.forget();
            scope.birth_due = None;
        }
    }

    pub(super) fn aliases(&self) -> usize {
        self.scopes.values().map(Scope::aliases).sum()
    }

    /// The next moment at which something happens by itself.
    pub(super) fn due(&self) -> Option<Duration> {
        let births = self.scopes.values().filter_map(|scope| scope.birth_due);
        births.chain(self.held_until).chain(self.asking.due()).min()
    }

    fn stale(&self, status: u32, out: &mut Vec<Out>) {
        for scope in self.scopes.values() {
            out.extend(scope.streams().map(|stream| Out::stale(stream, status)));
        }
    }

    /// A message of it or of one of its devices.
    pub(super) fn message(&mut self, message: Message, around: &mut Around<'_>) {
        match (message.verb, &message.device) {
            (Verb::Command, _) => {}
            (Verb::Birth, None) => self.birth(&message, around),
            (Verb::Death, None) => self.death(&message.payload, around),
            _ if self.life == Life::Born => self.in_turn(message, around),
            _ => {
                around.figures.before_birth += 1;
                self.want_birth(around);
                self.unordered(&message, around);
            }
        }
    }

    fn want_birth(&mut self, around: &mut Around<'_>) {
        if around.policy.rebirth {
            self.asking.want(around.now, around.now);
        }
    }

    fn birth(&mut self, message: &Message, around: &mut Around<'_>) {
        let Message { payload, writes, .. } = message;
        around.figures.births += 1;
        self.forget();
        self.life = Life::Born;
        self.bd_seq = bd_seq(payload);
        self.expected = payload.seq.map(|seq| (seq as u8).wrapping_add(1));
        self.asking.born(around.now);
        for (device, scope) in &mut self.scopes {
            match device {
                None => scope.birth(payload, *writes, around.room, around.out),
                // Births of devices follow; those that do not come are devices that are gone.
                Some(_) => scope.birth_due = Some(around.now + DEVICE_BIRTH_WAIT),
            }
        }
    }

    fn death(&mut self, payload: &Payload, around: &mut Around<'_>) {
        // The broker may send the will of a connection long after the node came back on another one.
        if let (Life::Born, Some(ours), Some(theirs)) = (self.life, self.bd_seq, bd_seq(payload))
            && ours != theirs
        {
            around.figures.late_deaths += 1;
            return;
        }
        around.figures.deaths += 1;
        // It hears nothing, and is born by itself when it is back. Without its birth nobody knows whether this is the death
        // of an older connection; then it is asked for all the same.
        if self.life == Life::Born {
            self.asking.cancel();
        }
        self.life = Life::Dead;
        self.forget();
        self.stale(status_code::NODE_DEAD, around.out);
    }

    /// A message with a place in the order.
    fn in_turn(&mut self, message: Message, around: &mut Around<'_>) {
        let (Some(expected), Some(seq)) = (self.expected, message.payload.seq) else {
            return self.ordered(&message, around);
        };
        // 256 and more are no sequence numbers (section 6.4.1), and so never the next.
        let seq = u8::try_from(seq).ok();
        if seq == Some(expected) {
            self.expected = Some(expected.wrapping_add(1));
            self.ordered(&message, around);
            return self.take_held(around);
        }
        let may_wait = around.policy.reorder > Duration::ZERO && self.held.len() < HELD_MAX;
        if let Some(seq) = seq.filter(|seq| may_wait && seq.wrapping_sub(expected) < 128) {
            self.held.insert(seq, message);
            self.held_until.get_or_insert(around.now + around.policy.reorder);
        } else {
            self.gap(around);
            self.unordered(&message, around);
        }
    }

    fn take_held(&mut self, around: &mut Around<'_>) {
        while let Some(expected) = self.expected
            && let Some(message) = self.held.remove(&expected)
        {
            around.figures.reordered += 1;
            self.expected = Some(expected.wrapping_add(1));
            self.ordered(&message, around);
        }
        if self.held.is_empty() {
            self.held_until = None;
        }
    }

    /// A message is missing, and will not come.
    fn gap(&mut self, around: &mut Around<'_>) {
        around.figures.gaps += 1;
        let held = std::mem::take(&mut self.held);
        self.life = Life::Lost;
        self.forget();
        self.stale(status_code::MISSED, around.out);
        self.want_birth(around);
        for message in held.values() {
            self.unordered(message, around);
        }
    }

    /// A message whose turn it is.
    fn ordered(&mut self, message: &Message, around: &mut Around<'_>) {
        let aliases = self.aliases();
        let Message { verb, device, payload, writes } = message;
        let Some(scope) = self.scopes.get_mut(device) else { return };
        match verb {
            Verb::Birth => {
                around.figures.births += 1;
                let room = around.room.saturating_sub(aliases - scope.aliases());
                scope.birth(payload, *writes, room, around.out);
            }
            Verb::Death => {
                around.figures.deaths += 1;
                scope.forget();
                scope.birth_due = None;
                around.out.extend(scope.streams().map(|s| Out::stale(s, status_code::DEVICE_DEAD)));
            }
            Verb::Data => {
                let before_birth = !scope.is_born;
                let Unexplained { aliases, names } = scope.data(payload, *writes, Trust::Full, around.out);
                around.figures.before_birth += u64::from(before_birth);
                if !before_birth {
                    around.figures.unknown_metrics += aliases + names;
                }
                if before_birth || aliases + names > 0 {
                    self.want_birth(around);
                }
            }
            Verb::Command => {}
        }
    }

    /// A message of which nobody knows what came before it.
    fn unordered(&mut self, message: &Message, around: &mut Around<'_>) {
        let Message { verb, device, payload, writes } = message;
        let Some(scope) = self.scopes.get_mut(device) else { return };
        match verb {
            Verb::Birth | Verb::Data => {
                scope.data(payload, *writes, Trust::Names, around.out);
            }
            Verb::Death => {
                around.figures.deaths += 1;
                around.out.extend(scope.streams().map(|s| Out::stale(s, status_code::DEVICE_DEAD)));
            }
            Verb::Command => {}
        }
    }

    /// Time has gone on.
    pub(super) fn tick(&mut self, around: &mut Around<'_>) {
        if self.held_until.is_some_and(|until| until <= around.now) {
            self.gap(around);
        }
        let now = around.now;
        for scope in self.scopes.values_mut().filter(|scope| scope.birth_due.is_some_and(|due| due <= now)) {
            scope.birth_due = None;
            around.out.extend(scope.streams().map(|s| Out::stale(s, status_code::NOT_IN_BIRTH)));
        }
    }
}

/// Which connection of its node a birth or death belongs to.
fn bd_seq(payload: &Payload) -> Option<u64> {
    let metric = payload.metrics.iter().find(|metric| metric.called() == Some("bdSeq"))?;
    metric.long_value.or(metric.int_value.map(u64::from))
}
