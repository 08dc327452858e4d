//! # One transaction per issuer and sequence, unless evidence is held
//!
//! For attached t ≠ u with the same issuer and sequence: that place is among the forks that the gateway knows, whose
//! evidence is the two transactions themselves, held by its store; and it knows of no other fork. Each follows the one
//! before it on its chain: prev(t) has the same issuer and sequence(t) − 1, or t has sequence 0 and its prev is the
//! genesis. The second-branch flag of t is set exactly if another one of its place was attached before it on no second
//! branch, or prev(t) has it.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_core::Issuer;
use selvedge_core::invariants as inside;
use selvedge_core::limits::FORKS_MAX;
use selvedge_core::node::Node;
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};

use super::{Held, Invariant};

/// Who stands where.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Places {
    /// Transactions of each place.
    taken: BTreeMap<(Issuer, u64), u32>,
    /// Places of the first branches.
    firsts: BTreeSet<(Issuer, u64)>,
    forked: Vec<(Issuer, u64)>,
    /// By number: issuer, sequence, and whether it is on a second branch.
    all: Vec<(Issuer, u64, bool)>,
    /// As many of `forked` were found in the core.
    found: usize,
}

impl Places {
    /// # Errors
    /// When it does not follow its chain, or is wrongly flagged.
    pub fn attached(&mut self, record: &Record) -> Held {
        let place = (record.issuer, record.sequence);
        let number = record.number;
        let prev = usize::try_from(record.prev).ok().and_then(|at| self.all.get(at)).copied();
        let follows = match prev {
            Some((issuer, sequence, _)) => issuer == record.issuer && sequence + 1 == record.sequence,
            None => record.prev == GENESIS_NUMBER && record.sequence == 0,
        };
        Invariant::OnePerPlace.ensure(follows, || format!("{number} does not follow its prev"))?;
        let is_second = prev.is_some_and(|(.., second)| second) || self.firsts.contains(&place);
        Invariant::OnePerPlace.ensure(is_second == record.has(flag::SECOND_BRANCH), || {
            format!("{number} says {} of being on a second branch", !is_second)
        })?;
        if !is_second {
            self.firsts.insert(place);
        }
        let taken = self.taken.entry(place).or_default();
        *taken += 1;
        if *taken == 2 {
            self.forked.push(place);
        }
        self.all.push((record.issuer, record.sequence, is_second));
        Ok(())
    }

    /// # Errors
    /// When the core does not know a fork, or knows of one that is none.
    pub fn check(&mut self, node: &Node) -> Held {
        let known = inside::forks(node);
        if known.len() >= FORKS_MAX {
            return Ok(());
        }
        for place in &self.forked[self.found..] {
            Invariant::OnePerPlace.ensure(known.contains(place), || {
                format!("two share sequence {} of {}, and no fork is known", place.1, place.0.short())
            })?;
        }
        self.found = self.forked.len();
        Invariant::OnePerPlace.ensure(known.len() == self.forked.len(), || {
            format!("{} forks are known, the graph has {}", known.len(), self.forked.len())
        })
    }
}
