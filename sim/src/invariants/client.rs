//! # The client
//!
//! For every reading that a client handed in: if it was told `Durable`, it is in the journal at that moment and after every
//! crash, and at the end in exactly one batch, with its value and time, under the root that the batch's transaction
//! carries. The counters of a stream in batches are 0, 1, 2 … without gap and without repetition. If it was told
//! `Refused`, it is in none. While the outcome is unknown nothing is assumed: what a restart finds durable was kept, and
//! what it does not find was not, unless it had been acknowledged. The same goes for payloads to be issued.
//!
//! [`Oracle`] keeps the books of the clients of one gateway.

use selvedge_core::Issuer;
use selvedge_core::border::{Outcome, ReplyTo};

use super::{Held, Invariant};
use crate::oracle::{Kept, Oracle};
use crate::store::Store;

/// A client is told an outcome.
///
/// # Errors
/// When it is not true at this moment.
pub fn told(oracle: &mut Oracle, reply: ReplyTo, outcome: &Outcome, store: &Store, own: Issuer) -> Held {
    oracle.told(reply, outcome, store, own).map_err(|what| Invariant::Client.broken(what))
}

/// A gateway crashed: what is durable decides what was kept.
///
/// # Errors
/// When something acknowledged is lost.
pub fn after_crash(oracle: &mut Oracle, store: &Store) -> Held {
    oracle.after_crash(store).map_err(|what| Invariant::Client.broken(what))
}

/// The end of a run.
///
/// # Errors
/// When a reading or payload is lost, doubled or invented.
pub fn finish(oracle: &Oracle, store: &Store, own: Issuer) -> Held<Kept> {
    oracle.finish(store, own).map_err(|what| Invariant::Client.broken(what))
}
