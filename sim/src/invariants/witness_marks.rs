//! # Witness marks exact
//!
//! For every transaction t of the window and every mark m (a committee member, or "this node"): t has m exactly if a
//! transaction signed by m is t, or reaches t over references. The count of others' payloads that this node has not
//! approved is that of the transactions with a payload, on no second branch, not its own and without its own mark, among
//! the window and older tips. Of an older tip the core's own mark counts: over a second branch that has left the window an
//! own transaction may reach it without a mark, and then it is approved once more.

use selvedge_core::invariants::{self as inside, OWN_MARK};
use selvedge_core::node::Node;
use selvedge_core::record::{Record, flag};

use super::acyclic::Order;
use super::{Held, Invariant};

/// Marks and edges of all attached transactions, by number: the watch has no window.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Marks {
    by_number: Vec<u64>,
    references: Vec<Vec<u64>>,
    /// Where each walk stands; kept for its room.
    left: Vec<u64>,
}

impl Marks {
    /// Takes a record up, whose issuer has these marks.
    pub fn attached(&mut self, record: &Record, marks: u64) {
        self.by_number.push(0);
        self.references.push(record.references().collect());
        self.left.push(record.number);
        while let Some(at) = self.left.pop() {
            let at = at as usize;
            // What has a mark has it on its whole past.
            if marks & !self.by_number[at] != 0 {
                self.by_number[at] |= marks;
                self.left.extend_from_slice(&self.references[at]);
            }
        }
    }

    /// The whole window, transaction by transaction.
    ///
    /// # Errors
    /// When a mark is missing or too many, or the count is wrong.
    pub fn check(&self, node: &Node, order: &Order) -> Held {
        let own = node.issuer();
        let is_payload = |r: &Record| r.has(flag::PAYLOAD) && !r.has(flag::SECOND_BRANCH) && r.issuer != own;
        let is_open = |m: &inside::Marked<'_>| m.cones & OWN_MARK == 0 && is_payload(m.record);
        let mut unapproved = inside::old_tips(node).filter(is_open).count() as u64;
        let base = inside::base(node);
        for (number, marked) in (base..).zip(inside::records_from(node, base)) {
            let expected = self.by_number.get(number as usize).copied();
            Invariant::WitnessMarks.ensure(expected == Some(marked.cones), || {
                format!("{number} has marks {:x}, the graph says {expected:x?}", marked.cones)
            })?;
            let is_it = marked.record.number == number && order.id_of(number) == Some(marked.record.id);
            Invariant::Acyclic
                .ensure(is_it, || format!("number {number} is another transaction than before"))?;
            unapproved += u64::from(is_open(&marked));
        }
        let kept = inside::unapproved(node);
        Invariant::WitnessMarks.ensure(kept == unapproved, || {
            format!("{kept} payloads count as not approved, the graph says {unapproved}")
        })
    }
}
