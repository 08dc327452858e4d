//! # Id and signature hold
//!
//! For every transaction that is handed to the store: its id is the hash of its body in this network; the owner of the key
//! that was in force at its place signed this body; and it is none that the hostile peers made so that nobody may attach
//! it (forged, mangled, signed with an old key, referring to nothing).

use selvedge_core::transaction::Envelope;
use selvedge_core::{Id, Network, codec};

use super::{Held, Invariant};
use crate::hostile::Hostile;
use crate::signatures::Keyring;

/// # Errors
/// When it is not what it says, or must never be attached.
pub fn check(id: &Id, envelope: &[u8], network: &Network, keys: &Keyring, hostile: Option<&Hostile>) -> Held {
    let envelope: Envelope<'_> =
        codec::decode(envelope).map_err(|why| Invariant::Genuine.broken(why.to_string()))?;
    Invariant::Genuine.ensure(network.transaction_id(envelope.body) == *id, || {
        format!("{} is attached under another id", id.short())
    })?;
    Invariant::Genuine.ensure(keys.is_genuine(id, envelope.signature), || {
        format!("{} is attached and its signature does not hold", id.short())
    })?;
    Invariant::Genuine.ensure(hostile.is_none_or(|h| h.may_attach(id)), || {
        format!("{} is attached and must never be", id.short())
    })
}
