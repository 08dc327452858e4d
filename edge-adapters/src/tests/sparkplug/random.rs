//! Edge nodes that restart, lose and give up devices, over a broker that loses, delays and swaps messages, against what
//! these nodes know of themselves.
//!
//! Each value says whose it is, so a value that reaches another stream shows.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::support::cases;
use super::{Brief, POLICY, Rig, aliased, below, named, payload, place, seconds, target, with_alias};
use crate::backoff::SplitMix;
use crate::mqtt::sparkplug::host::{DEVICE_BIRTH_WAIT, GRACE, Policy};
use crate::mqtt::sparkplug::payload::Payload;
use crate::mqtt::sparkplug::rebirth::WAIT_MAX;
use crate::mqtt::sparkplug::topic::{Place, Verb};

/// Metrics of each place, which are the streams 0, 1, … in this order.
const PLACES: [(&str, usize); 3] = [("n", 2), ("n/d0", 3), ("n/d1", 1)];
const STREAMS: usize = 6;
/// Values of a stream begin with its number.
const OWN: i64 = 1_000_000;

struct Message {
    verb: Verb,
    place: Place,
    payload: Payload,
}

/// The truth.
struct Edge {
    bd_seq: i64,
    seq: u64,
    /// Of each stream, other ones in each session.
    aliases: [u64; STREAMS],
    values: [i64; STREAMS],
    /// Of each place.
    alive: [bool; 3],
    sent: Vec<Message>,
}

impl Edge {
    fn new(random: &mut SplitMix) -> Self {
        let values = std::array::from_fn(|stream| stream as i64 * OWN);
        let mut edge =
            Self { bd_seq: 0, seq: 0, aliases: [0; STREAMS], values, alive: [true; 3], sent: Vec::new() };
        edge.deal(random);
        edge
    }

    fn deal(&mut self, random: &mut SplitMix) {
        for at in 0..STREAMS {
            self.aliases[at] = at as u64;
            self.aliases.swap(at, below(random, at as u64 + 1) as usize);
        }
    }

    fn streams(of: usize) -> std::ops::Range<usize> {
        let first = PLACES[..of].iter().map(|(_, metrics)| metrics).sum();
        first..first + PLACES[of].1
    }

    fn send(&mut self, verb: Verb, of: usize, metrics: Vec<crate::mqtt::sparkplug::payload::Metric>) {
        let payload = payload(self.seq % 256, metrics);
        self.seq += 1;
        self.sent.push(Message { verb, place: place(PLACES[of].0), payload });
    }

    fn birth_of(&mut self, of: usize) {
        let mut metrics: Vec<_> = Self::streams(of)
            .map(|stream| with_alias(&format!("m{stream}"), self.aliases[stream], self.values[stream]))
            .collect();
        if of == 0 {
            metrics.push(named("bdSeq", self.bd_seq));
        }
        self.send(Verb::Birth, of, metrics);
    }

    fn births(&mut self) {
        self.seq = 0;
        for of in 0..PLACES.len() {
            if self.alive[of] {
                self.birth_of(of);
            }
        }
    }

    fn death(&self) -> Message {
        let payload = payload(None, vec![named("bdSeq", self.bd_seq)]);
        Message { verb: Verb::Death, place: place("n"), payload }
    }

    fn change(&mut self, random: &mut SplitMix, is_named: bool) {
        let of = below(random, 3) as usize;
        if !self.alive[of] {
            return;
        }
        let streams = Self::streams(of);
        let stream = streams.start + below(random, streams.len() as u64) as usize;
        self.values[stream] += 1;
        let value = self.values[stream];
        let metric =
            if is_named { named(&format!("m{stream}"), value) } else { aliased(self.aliases[stream], value) };
        self.send(Verb::Data, of, vec![metric]);
    }

    /// A device goes or comes.
    fn toggle(&mut self, random: &mut SplitMix) {
        let of = 1 + below(random, 2) as usize;
        self.alive[of] = !self.alive[of];
        if self.alive[of] { self.birth_of(of) } else { self.send(Verb::Death, of, vec![]) }
    }

    fn restart(&mut self, random: &mut SplitMix) {
        self.bd_seq += 1;
        self.deal(random);
        self.births();
    }
}

/// What reached the streams.
struct Seen {
    last: [Option<Brief>; STREAMS],
    greatest: [i64; STREAMS],
}

impl Seen {
    fn take(&mut self, case: u64, briefs: Vec<Brief>) {
        for brief in briefs {
            let stream = match brief {
                Brief::Is(stream, value) => {
                    assert_eq!(value / OWN, stream as i64, "case {case}: a value of another metric");
                    assert!(
                        value >= self.greatest[stream],
                        "case {case}: {value} after {}",
                        self.greatest[stream]
                    );
                    self.greatest[stream] = value;
                    stream
                }
                Brief::Stale(stream, _) => stream,
                Brief::Other(..) => panic!("case {case}: {brief:?}"),
            };
            self.last[stream] = Some(brief);
        }
    }
}

fn run(case: u64, random: &mut SplitMix) {
    let is_waiting = below(random, 2) == 0;
    let swaps = below(random, 2) == 0;
    let reorder = if is_waiting { seconds(2) } else { Duration::ZERO };
    let targets: Vec<_> = PLACES
        .iter()
        .enumerate()
        .flat_map(|(of, (at, _))| Edge::streams(of).map(move |stream| target(at, &format!("m{stream}"))))
        .collect();
    let mut rig = Rig::with(&targets, Policy { reorder, ..POLICY });
    let mut edge = Edge::new(random);
    let mut seen =
        Seen { last: [const { None }; STREAMS], greatest: std::array::from_fn(|s| s as i64 * OWN) };
    let mut late: VecDeque<Message> = VecDeque::new();
    for _ in 0..40 {
        match below(random, 12) {
            0 => edge.toggle(random),
            1 => {
                for message in std::mem::take(&mut edge.sent) {
                    seen.take(case, rig.hear(message.verb, &message.place, message.payload));
                }
                let death = edge.death();
                edge.restart(random);
                // The broker notices late that the old connection is gone, or at once. (If the birth were lost too, and
                // the count of messages the same by chance, nobody could know that aliases are others.)
                if below(random, 2) == 0 {
                    late.push_back(death);
                    let birth = edge.sent.remove(0);
                    seen.take(case, rig.hear(birth.verb, &birth.place, birth.payload));
                } else {
                    seen.take(case, rig.hear(death.verb, &death.place, death.payload));
                }
            }
            2 => rig.host.connected(rig.now),
            _ => {
                let is_named = !swaps && below(random, 8) == 0;
                edge.change(random, is_named);
            }
        }
        if swaps && edge.sent.len() < 2 && below(random, 4) == 0 {
            edge.change(random, false);
            // No birth is swapped: data that overtake theirs cannot be told from those of an earlier one.
            if edge.sent.len() > 1 && edge.sent.iter().all(|message| message.verb != Verb::Birth) {
                edge.sent.swap(0, 1);
            }
        }
        for message in std::mem::take(&mut edge.sent) {
            if below(random, 20) > 0 {
                seen.take(case, rig.hear(message.verb, &message.place, message.payload));
            }
        }
        if below(random, 4) == 0
            && let Some(death) = late.pop_front()
        {
            seen.take(case, rig.hear(death.verb, &death.place, death.payload));
        }
        let (asked, out) = rig.until(rig.now + Duration::from_millis(below(random, 3_000)));
        seen.take(case, out);
        if !asked.is_empty() {
            edge.births();
        }
    }
    settle(case, random, &mut rig, &mut edge, &mut seen);
}

/// From now on nothing is lost: the host must come to know everything by itself.
fn settle(case: u64, random: &mut SplitMix, rig: &mut Rig, edge: &mut Edge, seen: &mut Seen) {
    for of in 0..3 {
        if edge.alive[of] {
            for stream in Edge::streams(of) {
                edge.values[stream] += 1;
                edge.send(Verb::Data, of, vec![aliased(edge.aliases[stream], edge.values[stream])]);
            }
        }
    }
    for _ in 0..8 {
        for message in std::mem::take(&mut edge.sent) {
            seen.take(case, rig.hear(message.verb, &message.place, message.payload));
        }
        let wait = WAIT_MAX + GRACE + DEVICE_BIRTH_WAIT;
        let (asked, out) = rig.until(rig.now + wait);
        seen.take(case, out);
        if !asked.is_empty() {
            edge.births();
        }
        edge.change(random, false);
    }
    for message in std::mem::take(&mut edge.sent) {
        seen.take(case, rig.hear(message.verb, &message.place, message.payload));
    }
    for of in 0..3 {
        for stream in Edge::streams(of) {
            let last = &seen.last[stream];
            if edge.alive[of] {
                assert_eq!(
                    *last,
                    Some(Brief::Is(stream, edge.values[stream])),
                    "case {case}, stream {stream}"
                );
            } else {
                assert!(!matches!(last, Some(Brief::Is(..))), "case {case}: {last:?} of a dead device");
            }
        }
    }
    let asked = rig.host.figures().rebirths_asked;
    assert!(asked <= 30, "case {case}: {asked} requests");
}

#[test]
fn whatever_is_lost_or_late_no_value_goes_astray_and_all_is_found_again() {
    let seed = 0x5EED;
    println!("seed {seed:#x}");
    for case in 0..cases() {
        run(case, &mut SplitMix(seed + case));
    }
}
