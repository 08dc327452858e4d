//! # Acyclic
//!
//! Let n(t) be the local number of an attached transaction. Then n is a bijection from the attached transactions onto
//! 0 … N−1, it never changes, and for every t and every transaction r to which t refers: n(r) < n(t).
//!
//! So n is a topological order: there is no cycle, and nobody is missing. With [`past_closed`](super::past_closed), which
//! says that the numbers in a record are those of the ids that were signed, the graph of the ids is acyclic too.

use selvedge_core::Id;
use selvedge_core::invariants as inside;
use selvedge_core::node::Node;
use selvedge_core::record::Record;

use super::{Held, Invariant};

/// Ids by number.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Order {
    ids: Vec<Id>,
}

impl Order {
    /// The number that the next attached transaction must get.
    pub fn next_number(&self) -> u64 {
        self.ids.len() as u64
    }

    /// The id with this number.
    pub fn id_of(&self, number: u64) -> Option<Id> {
        self.ids.get(usize::try_from(number).ok()?).copied()
    }

    /// # Errors
    /// When it breaks the order.
    pub fn attached(&mut self, record: &Record) -> Held {
        let expected = self.next_number();
        Invariant::Acyclic.ensure(record.number == expected, || {
            format!("{} gets number {}, expected {expected}", record.id.short(), record.number)
        })?;
        let beyond = record.references().find(|r| *r >= record.number);
        Invariant::Acyclic
            .ensure(beyond.is_none(), || format!("{expected} refers to {beyond:?}, attached later"))?;
        self.ids.push(record.id);
        Ok(())
    }

    /// # Errors
    /// When the core counts differently.
    pub fn check(&self, node: &Node) -> Held {
        let (got, expected) = (inside::next_number(node), self.next_number());
        Invariant::Acyclic
            .ensure(got == expected, || format!("its next number is {got}, {expected} were attached"))
    }
}
