//! How long a world is given, once nothing goes wrong any more, until all hold the same.
//!
//! Sixty seconds and ten are what the swarm's own worlds get, seven gateways and two that join, in whatever topology. Twice as
//! many hops take twice as long, whatever the core does: a line of a hundred gateways is given more. How much more follows
//! from the world alone, by the slowest way on which a healthy link still passes a transaction on:
//!
//! - *A hop*: it is announced and not pushed, gathered for [`limits::ANNOUNCE_US`], asked for after [`limits::GRAFT_US`] when
//!   nobody else has brought it, and comes: three ways of a frame, and the check of its signature.
//! - *A queue*: all get a reading at the same moment, so each link has to carry one transaction and one approval of every
//!   gateway. A lane takes as many at once as its queue holds, and as many again a way later; a hundred gateways with queues
//!   of eight fill it two dozen times. (What is dropped is asked for when something refers to it. A run of a hundred gateways
//!   took 12.5 s over 15 hops with queues of eight, and 3.25 s with queues of 4,096, everything else being equal.)
//!
//! What this adds up to for the longest of the swarm's own worlds, a line of nine, is in its sixty and ten seconds already; only
//! what a world needs beyond that is added.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use selvedge_core::border::Lane;
use selvedge_core::limits;

use crate::plan::{Faults, Plan};

/// From faults off to equal ledgers, microseconds.
const LEDGERS_US: u64 = 60_000_000;
/// From equal ledgers until a reading that came in then is attached everywhere, microseconds.
const FRESH_US: u64 = 10_000_000;
/// A transaction with a short payload, bytes.
const TRANSACTION_BYTES: u64 = 2_900;
/// Gateways of the largest world to which that applies as it is: seven, and two that join.
const SMALL: usize = 9;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// From faults off to equal ledgers, microseconds.
    pub(super) ledgers_us: u64,
    /// From equal ledgers until a reading that came in then is attached everywhere, microseconds.
    pub(super) fresh_us: u64,
}

impl Patience {
    pub(super) fn of(plan: &Plan, links: &BTreeSet<(usize, usize)>) -> Self {
        let at_once =
            plan.queue_frames.min(plan.queue_bytes[Lane::Fresh as usize] / TRANSACTION_BYTES).max(1);
        let small_us = crossing_us(SMALL, SMALL - 1, at_once);
        let more_us =
            crossing_us(plan.gateways + plan.joiners, diameter(links), at_once).saturating_sub(small_us);
        // A reading goes to the other end, and the approval of whoever is there comes back.
        Self { ledgers_us: LEDGERS_US + 2 * more_us, fresh_us: FRESH_US + more_us }
    }
}

/// See the module; a lane takes so many transactions at once.
const fn crossing_us(gateways: usize, hops: usize, at_once: u64) -> u64 {
    let calm = Faults::none();
    let hop_us = limits::ANNOUNCE_US + limits::GRAFT_US + 3 * calm.delay_max_us + calm.work_max_us;
    let queues_full = (2 * gateways as u64).div_ceil(at_once);
    hops as u64 * hop_us + queues_full * calm.delay_max_us
}

/// Hops between the two gateways that are farthest apart; those that no link joins are not counted.
fn diameter(links: &BTreeSet<(usize, usize)>) -> usize {
    let mut neighbours: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (one, other) in links {
        neighbours.entry(*one).or_default().push(*other);
        neighbours.entry(*other).or_default().push(*one);
    }
    neighbours.keys().map(|from| farthest(*from, &neighbours)).max().unwrap_or(0)
}

fn farthest(from: usize, neighbours: &BTreeMap<usize, Vec<usize>>) -> usize {
    let mut hops = BTreeMap::from([(from, 0)]);
    let (mut left, mut most) = (VecDeque::from([from]), 0);
    while let Some(at) = left.pop_front() {
        let next = hops[&at] + 1;
        for other in &neighbours[&at] {
            if !hops.contains_key(other) {
                hops.insert(*other, next);
                left.push_back(*other);
                most = next;
            }
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::plan::Topology;
    use crate::world::begin::links_of;

    fn of(gateways: usize, topology: Topology, queue_frames: u64) -> Patience {
        let plan = Plan { topology, queue_frames, ..Plan::calm(1, gateways, 0) };
        Patience::of(&plan, &links_of(&plan, &mut Dice::new(1, "links")))
    }

    #[test]
    fn a_small_world_has_sixty_seconds_and_ten_exactly() {
        let small = Patience { ledgers_us: 60_000_000, fresh_us: 10_000_000 };
        for gateways in 2..=SMALL {
            for queue_frames in [8, 64, 4_096] {
                for topology in [Topology::Full, Topology::Line, Topology::Star, Topology::Random(2)] {
                    assert_eq!(of(gateways, topology, queue_frames), small, "{gateways}, {topology:?}");
                }
            }
        }
    }

    #[test]
    fn hops_and_full_queues_give_a_large_world_longer() {
        // A hop: 20 ms and 300 ms, three ways of 200 ms, a check of 10 ms.
        let line = of(100, Topology::Line, 4_096);
        assert_eq!(line.fresh_us, 10_000_000 + (99 - 8) * 930_000);
        assert_eq!(line.ledgers_us, 60_000_000 + 2 * (99 - 8) * 930_000);
        // With queues of eight, 25 of them go one after the other; three for the small world.
        let queued = of(100, Topology::Line, 8);
        assert_eq!(queued.fresh_us - line.fresh_us, (25 - 3) * 200_000);
        // Two hops and one queue are less than what a line of nine takes.
        assert_eq!(of(60, Topology::Star, 4_096).fresh_us, 10_000_000);
    }
}
