//! # Past closed
//!
//! For every attached transaction t and every reference (issuer, sequence, id) in its signed body: a transaction with
//! this id, issuer and sequence was attached before t, or the reference is the genesis. What is kept of t names exactly
//! these, by their local numbers.

use selvedge_core::Id;
use selvedge_core::record::{GENESIS_NUMBER, Record};
use selvedge_core::transaction::{Body, Parents, Reference};

use super::{Held, Invariant, Watch};
use crate::store::Store;

/// Does the record say what the body says, and is all of it here?
///
/// # Errors
/// When a reference is missing, or another one is kept.
pub fn check(record: &Record, body: &Body, watch: &Watch, store: &Store, genesis: Id) -> Held {
    let is = |number: u64, id: Id| {
        if number == GENESIS_NUMBER { id == genesis } else { watch.id_of(number) == Some(id) }
    };
    let wrong = |what: &str| {
        let at = record.number;
        Err(Invariant::PastClosed.broken(format!("{at} is attached without its {what}, or with another one")))
    };
    if !is(record.prev, body.prev) {
        return wrong("prev");
    }
    if record.approves.iter().zip(&body.approves).any(|(number, reference)| !is(*number, reference.id)) {
        return wrong("approved tips");
    }
    let further = further_of(body);
    if record.further.len() != further.len()
        || further.iter().any(|id| !record.further.iter().any(|number| is(*number, *id)))
    {
        return wrong("parents or further tips");
    }
    let misplaced = |r: &&Reference| {
        r.id != genesis
            && store
                .transaction(&r.id)
                .is_none_or(|held| held.record.issuer != r.issuer || held.record.sequence != r.sequence)
    };
    let misplaced = body.approves.iter().find(misplaced);
    Invariant::PastClosed.ensure(misplaced.is_none(), || {
        format!("{} refers to {misplaced:?}, which nobody attached at that place", record.number)
    })
}

/// What the witness part names beside the approved tips; the genesis is not kept.
fn further_of(body: &Body) -> Vec<Id> {
    let Some(witness) = &body.witness else { return Vec::new() };
    let mut ids: Vec<Id> = match &witness.parents {
        Parents::Anchor(_) => Vec::new(),
        Parents::Witnesses(parents) => parents.iter().map(|p| p.id).collect(),
    };
    ids.extend(witness.also.iter().map(|r| r.id));
    ids
}
