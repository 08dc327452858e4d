//! # What is missing is asked for again, and nothing else is
//!
//! While something waits for a transaction that a gateway does not hold, and a peer is connected, the gateway asks for such
//! a transaction at least every [`AGAIN_WITHIN_US`]: a question and its answer may both get lost. It never asks for what it
//! has attached, however long its store takes to say so, unless somebody referred to that at a place that is not its own.
//!
//! The first half is checked when faults are off, of what `selvedge_core::invariants::to_be_asked_for` names at both ends of
//! that time: a third body of a place is awaited and not asked for, nor is what a fetch is to bring.

use selvedge_core::Id;
use selvedge_core::limits;
use selvedge_core::wire::Want;

use super::{Held, Invariant};
use crate::store::Store;

/// Longest time between two questions, microseconds: `WANT_TIMEOUT_US`, and a fetch that may bring it first and does not.
pub const AGAIN_WITHIN_US: u64 = limits::PAGE_TIMEOUT_US + limits::WANT_TIMEOUT_US;

/// What a gateway asks for, at the moment at which it does. One that was referred to at a wrong place (`is_misnamed`) is not
/// looked at: that there is nothing under that name only other peers could say.
///
/// # Errors
/// When it holds that.
pub fn asks(want: &Want, store: &Store, is_misnamed: impl Fn(&Id) -> bool) -> Held {
    // What was announced is asked for when it is not in memory; what something refers to, when the store has it not either.
    let needless = want.references.iter().filter(|_| !want.graft).find(|reference| {
        let held = store.transaction(&reference.id).map(|held| &held.record);
        held.is_some_and(|r| (r.issuer, r.sequence) == (reference.issuer, reference.sequence))
            && !is_misnamed(&reference.id)
    });
    Invariant::AskedAgain
        .ensure(needless.is_none(), || format!("it asks for {needless:?}, which it has attached"))
}

/// A gateway awaited this all the time from `AGAIN_WITHIN_US` ago, and asked for it then.
///
/// # Errors
/// When it has stopped asking.
pub fn lately(id: &Id, asked_us: Option<u64>, now_us: u64) -> Held {
    let is_lately = asked_us.is_some_and(|at| at + AGAIN_WITHIN_US >= now_us);
    Invariant::AskedAgain.ensure(is_lately, || {
        let asked = asked_us.map_or("never".to_owned(), |at| format!("{} s ago", (now_us - at) / 1_000_000));
        format!("it awaits {}, and asked for it {asked}", id.short())
    })
}
