//! # Tip set exact
//!
//! Let T be the attached transactions that are on no second branch. The tips that the core keeps are exactly
//! { t ∈ T : no u ∈ T refers to t }.

use std::collections::BTreeSet;

use selvedge_core::invariants as inside;
use selvedge_core::node::Node;
use selvedge_core::record::{Record, flag};

use super::{Held, Invariant};

/// The tips, worked out record by record.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Tips {
    tips: BTreeSet<u64>,
}

impl Tips {
    /// A member of T covers what it refers to, all of which came before it.
    pub fn attached(&mut self, record: &Record) {
        if record.has(flag::SECOND_BRANCH) {
            return;
        }
        for reference in record.references() {
            self.tips.remove(&reference);
        }
        self.tips.insert(record.number);
    }

    /// # Errors
    /// When the core keeps other ones.
    pub fn check(&self, node: &Node) -> Held {
        Invariant::TipSet.ensure(inside::tips(node).eq(self.tips.iter().copied()), || {
            let kept: Vec<u64> = inside::tips(node).collect();
            format!("tips {kept:?}, the graph says {:?}", self.tips)
        })
    }
}
