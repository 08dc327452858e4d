//! Whom to reach, where, and when to try again. No IO: time is an argument, chance a seeded stream.

mod places;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use selvedge_core::Issuer;
use selvedge_core::random::Random;

use super::addresses::Address;
use super::limits::{
    ADDRESSES_PER_FRAME, BACK_OFF_FIRST, BACK_OFF_LAST, BACK_OFF_LEAST, KNOWN_MAX, PROVEN, WANTED_LEARNT,
};
use super::members::Members;
use places::{Places, Source};

/// Whom a dial is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The peer at this place in the configuration.
    Configured(usize),
    /// A member whose address was learnt.
    Member(Issuer),
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    pub(super) target: Target,
    pub(super) at: At,
    /// Who has to answer.
    pub(super) expect: Option<Issuer>,
}

/// Where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    /// "host:port", to be resolved anew.
    Name(String),
    /// In this order.
    Addresses(Vec<SocketAddr>),
}

/// How it stands with somebody whom this node wants to reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DialStatus {
    /// As the configuration has it, or the addresses that were learnt.
    pub to: String,
    /// Does the configuration name it?
    pub configured: bool,
    /// Who it is, when that is known.
    pub issuer: Option<Issuer>,
    /// Is it being dialled now?
    pub dialling: bool,
    /// Dials that failed, or did not hold, since the last that was good.
    pub failures: u32,
    /// How long until the next attempt; `None` while it is dialled or connected, or when it leads back here.
    pub next: Option<Duration>,
    /// Why the last one failed.
    pub last: Option<String>,
}

/// When to try again.
#[derive(Debug, Clone)]
struct Pace {
    failures: u32,
    not_before: Instant,
    dialling: bool,
    last: Option<String>,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self { failures: 0, not_before: now, dialling: false, last: None }
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.dialling && self.not_before <= now
    }

    /// Another pause, of random length up to a bound that doubles (full jitter: peers of a node that comes back do not
    /// all dial at once).
    fn pause(&mut self, random: &mut Random, now: Instant) {
        let bound = BACK_OFF_FIRST.saturating_mul(1 << self.failures.min(16)).min(BACK_OFF_LAST);
        let drawn = Duration::from_micros(random.below(bound.as_micros() as u64));
        self.not_before = now + drawn.max(BACK_OFF_LEAST);
        self.failures = self.failures.saturating_add(1);
        self.dialling = false;
    }
}

struct Configured {
    text: String,
    /// Who answered there last.
    answered: Option<Issuer>,
    /// It leads back here: not dialled again in this start.
    ourselves: bool,
    pace: Pace,
}

struct Known {
    places: Places,
    pace: Pace,
    heard: Instant,
}

/// See the head of this file.
pub(super) struct Book {
    members: Members,
    advertise: Vec<SocketAddr>,
    configured: Vec<Configured>,
    known: BTreeMap<Issuer, Known>,
    random: Random,
}

impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Book({} configured, {} known)", self.configured.len(), self.known.len())
    }
}

/// A connection that is up, as far as the book cares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Connected {
    pub(super) issuer: Issuer,
    pub(super) outgoing: bool,
}

impl Book {
    pub(super) fn new(
        members: Members,
        configured: Vec<String>,
        advertise: Vec<SocketAddr>,
        seed: &[u8; 32],
        now: Instant,
    ) -> Self {
        let configured = configured
            .into_iter()
            .map(|text| Configured { text, answered: None, ourselves: false, pace: Pace::new(now) })
            .collect();
        Self { members, advertise, configured, known: BTreeMap::new(), random: Random::new(seed) }
    }

    /// What to dial now; each is under way until [`failed`](Self::failed) or [`up`](Self::up) says more.
    pub(super) fn due(&mut self, connected: &[Connected], now: Instant) -> Vec<Dial> {
        let there: BTreeSet<Issuer> = connected.iter().map(|c| c.issuer).collect();
        let mut dials = self.configured_due(&there, now);
        let named: BTreeSet<Issuer> = self.configured.iter().filter_map(|c| c.answered).collect();
        let outgoing = connected.iter().filter(|c| c.outgoing && !named.contains(&c.issuer)).count();
        let under_way = self.known.values().filter(|k| k.pace.dialling).count();
        let room = WANTED_LEARNT.saturating_sub(outgoing + under_way);
        let mut candidates: Vec<Issuer> = self
            .known
            .iter()
            .filter(|(issuer, known)| {
                known.pace.is_due(now)
                    && !there.contains(issuer)
                    && !named.contains(issuer)
                    && !known.places.is_empty()
                    && self.may_dial(issuer, now)
            })
            .map(|(issuer, _)| *issuer)
            .collect();
        for _ in 0..room.min(candidates.len()) {
            // At random: otherwise all would dial the members with the smallest ids.
            let at = self.random.below(candidates.len() as u64) as usize;
            let issuer = candidates.swap_remove(at);
            let known = self.known.get_mut(&issuer).expect("a candidate was taken from the table");
            known.pace.dialling = true;
            dials.push(Dial {
                target: Target::Member(issuer),
                at: At::Addresses(known.places.in_order()),
                expect: Some(issuer),
            });
        }
        dials
    }

    fn configured_due(&mut self, there: &BTreeSet<Issuer>, now: Instant) -> Vec<Dial> {
        let mut dials = Vec::new();
        for at in 0..self.configured.len() {
            let entry = &self.configured[at];
            let waits = entry.answered.is_some_and(|issuer| {
                there.contains(&issuer) || self.members.refused_until(&issuer, now).is_some()
            });
            if entry.ourselves || waits || !entry.pace.is_due(now) {
                continue;
            }
            self.configured[at].pace.dialling = true;
            // Whoever answers there: a gateway may get another card and with it another key.
            dials.push(Dial {
                target: Target::Configured(at),
                at: At::Name(self.configured[at].text.clone()),
                expect: None,
            });
        }
        dials
    }

    fn may_dial(&self, issuer: &Issuer, now: Instant) -> bool {
        self.members.contains(issuer) && self.members.refused_until(issuer, now).is_none()
    }

    /// When something more becomes due by time alone. What is due and waits for something else (it is connected, or was
    /// sent away) does not count.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let configured = self.configured.iter().filter(|c| !c.ourselves).map(|c| &c.pace);
        let paces = configured.chain(self.known.values().map(|k| &k.pace));
        paces.filter(|p| !p.dialling && p.not_before > now).map(|p| p.not_before).min()
    }

    /// A dial did not lead to a link.
    pub(super) fn failed(&mut self, target: Target, why: String, now: Instant) {
        if let Some(pace) = pace_of(&mut self.configured, &mut self.known, target) {
            pace.pause(&mut self.random, now);
            pace.last = Some(why);
        }
    }

    /// A dial led back to this node, or to a machine with its key.
    pub(super) fn ourselves(&mut self, target: Target, why: String) {
        match target {
            Target::Configured(at) => {
                if let Some(entry) = self.configured.get_mut(at) {
                    entry.ourselves = true;
                    entry.pace.dialling = false;
                    entry.pace.last = Some(why);
                }
            }
            Target::Member(issuer) => {
                self.known.remove(&issuer);
            }
        }
    }

    /// A link is up.
    pub(super) fn up(&mut self, issuer: Issuer, at: SocketAddr, dialled: Option<Target>, now: Instant) {
        if let Some(target) = dialled {
            if let Some(pace) = pace_of(&mut self.configured, &mut self.known, target) {
                pace.dialling = false;
            }
            if let Target::Configured(at) = target {
                self.configured[at].answered = Some(issuer);
            }
        }
        let source = if dialled.is_some() { Source::Dialled } else { Source::Hint };
        self.remember(issuer, at, source, now);
    }

    /// A link ended after it was up for so long.
    pub(super) fn down(&mut self, issuer: Issuer, held: Duration, why: &str, now: Instant) {
        let configured =
            self.configured.iter_mut().filter(|c| c.answered == Some(issuer)).map(|c| &mut c.pace);
        let known = self.known.get_mut(&issuer).map(|k| &mut k.pace);
        for pace in configured.chain(known).filter(|p| !p.dialling) {
            if held >= PROVEN {
                pace.failures = 0;
            }
            pace.pause(&mut self.random, now);
            pace.last = Some(why.to_owned());
        }
    }

    /// A peer told addresses. True when something in it is new.
    pub(super) fn told(&mut self, by: Issuer, addresses: &[Address], now: Instant) -> bool {
        let mut is_new = false;
        for told in addresses {
            let source = if told.issuer == by { Source::Own } else { Source::Told };
            is_new |= self.remember(told.issuer, told.at, source, now);
        }
        is_new
    }

    fn remember(&mut self, issuer: Issuer, at: SocketAddr, source: Source, now: Instant) -> bool {
        if issuer == self.members.own() || self.advertise.contains(&at) {
            return false;
        }
        if !self.known.contains_key(&issuer) && self.known.len() >= KNOWN_MAX && !self.forget_one(&issuer) {
            return false;
        }
        let known = self.known.entry(issuer).or_insert_with(|| Known {
            places: Places::default(),
            pace: Pace::new(now),
            heard: now,
        });
        known.heard = now;
        known.places.add(at, source)
    }

    /// Makes room for `issuer`: first somebody who is no member goes, then, for a member, who was not heard of longest.
    fn forget_one(&mut self, issuer: &Issuer) -> bool {
        let member = |i: &Issuer| self.members.contains(i);
        let idle = self.known.iter().filter(|(_, k)| !k.pace.dialling);
        let Some((victim, _)) = idle.min_by_key(|(i, k)| (member(i), k.heard)) else { return false };
        let victim = *victim;
        if member(&victim) && !member(issuer) {
            return false;
        }
        self.known.remove(&victim).is_some()
    }

    /// What this node tells its peers: how to reach itself, then those that it is or was connected to, then others.
    pub(super) fn to_tell(&self) -> Vec<Address> {
        let own = self.members.own();
        let mut list: Vec<Address> =
            self.advertise.iter().map(|at| Address { issuer: own, at: *at }).collect();
        let known = self.known.iter().filter(|(issuer, _)| self.members.contains(issuer));
        let mut best: Vec<(Source, Address)> = known
            .filter_map(|(issuer, k)| {
                k.places.best().map(|(at, source)| (source, Address { issuer: *issuer, at }))
            })
            .collect();
        best.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        list.extend(best.into_iter().map(|(_, address)| address));
        list.truncate(ADDRESSES_PER_FRAME);
        list
    }

    pub(super) fn status(&self, connected: &[Connected], now: Instant) -> Vec<DialStatus> {
        let there = |issuer: Issuer| connected.iter().any(|c| c.issuer == issuer);
        let status = |to, configured, issuer: Option<Issuer>, never: bool, pace: &Pace| {
            let waits = !pace.dialling && !never && !issuer.is_some_and(there);
            let refused = issuer.and_then(|issuer| self.members.refused_until(&issuer, now));
            let at = refused.map_or(pace.not_before, |until| until.max(pace.not_before));
            DialStatus {
                to,
                configured,
                issuer,
                dialling: pace.dialling,
                failures: pace.failures,
                next: waits.then(|| at.saturating_duration_since(now)),
                last: pace.last.clone(),
            }
        };
        let configured =
            self.configured.iter().map(|c| status(c.text.clone(), true, c.answered, c.ourselves, &c.pace));
        let known = self.known.iter().map(|(issuer, k)| {
            let never = !self.members.contains(issuer);
            status(k.places.to_string(), false, Some(*issuer), never, &k.pace)
        });
        configured.chain(known).collect()
    }
}

fn pace_of<'a>(
    configured: &'a mut [Configured],
    known: &'a mut BTreeMap<Issuer, Known>,
    target: Target,
) -> Option<&'a mut Pace> {
    match target {
        Target::Configured(at) => configured.get_mut(at).map(|c| &mut c.pace),
        Target::Member(issuer) => known.get_mut(&issuer).map(|k| &mut k.pace),
    }
}

#[cfg(test)]
mod tests;
