//! What must hold, one file each, headed by its formal statement. All are checked after every simulated step.
//!
//! # How
//! [`Watch`] follows the graph of one gateway by itself: each record that the core attaches is taken up once, and after
//! every step what the core keeps (tips, marks, forks, the whole window) is compared with what the watch worked out. That
//! costs a pass over the window's marks, not a recomputation of the graph. Now and then, and at the end, everything is
//! also recomputed from nothing: `selvedge_core::invariants::check_all` and [`Watch::recompute`]; `tests/invariants.rs`
//! shows that the two see the same.
//!
//! What a moment shows (an effect that comes out, a reply, an event) is checked at that moment, by a function of the
//! invariant's file that `world/effects.rs` calls.
//!
//! Finality joins them with its issue.

pub mod acyclic;
pub mod asked_again;
pub mod client;
pub mod clock;
pub mod durable_first;
pub mod genuine;
pub mod honest_peer;
pub mod ledgers;
pub mod limits;
pub mod no_panic;
pub mod one_per_place;
pub mod past_closed;
pub mod tip_set;
pub mod witness_marks;

use std::fmt;

use selvedge_core::invariants as inside;
use selvedge_core::node::Node;

use crate::store::Store;
use acyclic::Order;
use one_per_place::Places;
use tip_set::Tips;
use witness_marks::Marks;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// See [`past_closed`].
    PastClosed,
    /// See [`acyclic`].
    Acyclic,
    /// See [`genuine`].
    Genuine,
    /// See [`one_per_place`].
    OnePerPlace,
    /// See [`tip_set`].
    TipSet,
    /// See [`witness_marks`].
    WitnessMarks,
    /// See [`durable_first`].
    DurableFirst,
    /// See [`asked_again`].
    AskedAgain,
    /// See [`limits`].
    Limits,
    /// See [`honest_peer`].
    HonestPeer,
    /// See [`no_panic`].
    NoPanic,
    /// See [`client`].
    Client,
    /// See [`clock`].
    Clock,
    /// See [`ledgers`].
    Ledgers,
    /// What crosses the border of the core keeps to what `border.rs` says: nothing is written twice, nothing is answered
    /// that nobody asked, an own chain never forks, a gateway halts only when its store or key failed.
    Border,
}

impl Invariant {
    /// Its name, as reports and `--json` say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PastClosed => "past-closed",
            Self::Acyclic => "acyclic",
            Self::Genuine => "genuine",
            Self::OnePerPlace => "one-per-place",
            Self::TipSet => "tip-set",
            Self::WitnessMarks => "witness-marks",
            Self::DurableFirst => "durable-first",
            Self::AskedAgain => "asked-again",
            Self::Limits => "limits",
            Self::HonestPeer => "honest-peer",
            Self::NoPanic => "no-panic",
            Self::Client => "client",
            Self::Clock => "clock",
            Self::Ledgers => "ledgers",
            Self::Border => "border",
        }
    }

    /// It is broken, and how.
    pub fn broken(self, what: impl Into<String>) -> Broken {
        Broken { invariant: self, what: what.into() }
    }

    /// # Errors
    /// When it does not hold.
    pub fn ensure<W: Into<String>>(self, holds: bool, what: impl FnOnce() -> W) -> Held {
        if holds { Ok(()) } else { Err(self.broken(what())) }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was seen, and what was expected.
    pub what: String,
}

impl From<String> for Broken {
    fn from(what: String) -> Self {
        Invariant::Border.broken(what)
    }
}

impl From<&str> for Broken {
    fn from(what: &str) -> Self {
        Invariant::Border.broken(what)
    }
}

/// Whether one holds.
pub type Held<T = ()> = Result<T, Broken>;

/// One gateway's ledger, followed record by record.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Watch {
    order: Order,
    places: Places,
    tips: Tips,
    marks: Marks,
}

impl Watch {
    /// From what is durable in a store, before a core is opened over it.
    ///
    /// # Errors
    /// When the log itself breaks an invariant.
    pub fn recompute(node: &Node, store: &Store) -> Held<Self> {
        let mut watch = Self::default();
        for held in store.log() {
            watch.attached(node, &held.record)?;
        }
        Ok(watch)
    }

    fn attached(&mut self, node: &Node, record: &selvedge_core::record::Record) -> Held {
        self.order.attached(record)?;
        self.places.attached(record)?;
        self.tips.attached(record);
        self.marks.attached(record, inside::mark_of(node, &record.issuer));
        Ok(())
    }

    /// After a step: takes up what was attached, and compares all that the core keeps.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn step(&mut self, node: &Node) -> Held {
        let next = self.order.next_number();
        for marked in inside::records_from(node, next) {
            self.attached(node, marked.record)?;
        }
        self.order.check(node)?;
        self.places.check(node)?;
        self.tips.check(node)?;
        self.marks.check(node, &self.order)?;
        limits::check(node)
    }

    /// Recomputes everything from the core's own records, by the core's slow checks.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check_all(node: &Node) -> Held {
        let of = |invariant: Invariant, held: Result<(), String>| held.map_err(|what| invariant.broken(what));
        of(Invariant::PastClosed, inside::past_closed(node))?;
        of(Invariant::OnePerPlace, inside::one_transaction_per_place(node))?;
        of(Invariant::TipSet, inside::tip_set_exact(node))?;
        of(Invariant::WitnessMarks, inside::witnesses_exact(node))?;
        of(Invariant::Limits, inside::within_limits(node))?;
        of(Invariant::Limits, inside::counted_right(node))
    }

    /// The id of an attached transaction by its number.
    pub fn id_of(&self, number: u64) -> Option<selvedge_core::Id> {
        self.order.id_of(number)
    }
}
