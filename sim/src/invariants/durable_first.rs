//! # Durable before visible
//!
//! Nothing leaves a gateway that a power cut could still take back: an own transaction is sent, a reading or payload
//! acknowledged, an event emitted, and a peer told how far a chain is held here, only when what it says is durable.
//! Another's transaction may go on before it is durable here, since its issuer holds it; but never before it is attached.

use selvedge_core::Issuer;
use selvedge_core::border::Event as CoreEvent;
use selvedge_core::wire::{ChainHead, Frontier, Have};

use super::{Held, Invariant};
use crate::store::Store;

/// An event that says something of a transaction.
///
/// # Errors
/// When the transaction is not durable, or another one.
pub fn emitted(event: &CoreEvent, store: &Store) -> Held {
    match event {
        CoreEvent::Attached { reference, number, .. } => {
            let held = store.transaction(&reference.id).filter(|held| held.durable);
            let held =
                held.ok_or_else(|| Invariant::DurableFirst.broken("it says attached before it is durable"))?;
            let is_right = held.record.number == *number
                && held.record.issuer == reference.issuer
                && held.record.sequence == reference.sequence;
            Invariant::DurableFirst.ensure(is_right, || "it says attached of another one")
        }
        CoreEvent::Batched { id, .. } => {
            Invariant::DurableFirst.ensure(store.is_durable(id), || "it says batched before it is durable")
        }
        CoreEvent::Forked { issuer, sequence } => {
            let place = (*issuer, *sequence);
            let there = store.log().filter(|h| (h.record.issuer, h.record.sequence) == place);
            Invariant::DurableFirst.ensure(there.count() >= 2, || {
                format!("it says forked at sequence {sequence} without two durable ones")
            })
        }
        _ => Ok(()),
    }
}

fn is_head_durable(head: &ChainHead, store: &Store) -> bool {
    store.transaction(&head.id).is_some_and(|held| held.durable && held.record.sequence == head.sequence)
}

/// A peer is told how far its chain is held here: it trusts that word when it has lost its card.
///
/// # Errors
/// When a power cut could take the word back.
pub fn promised(have: &Have, store: &Store) -> Held {
    let is_true = have.head.as_ref().is_none_or(|head| is_head_durable(head, store));
    Invariant::DurableFirst
        .ensure(is_true, || format!("it promises to hold {:?}, which is not durable here", have.head))
}

/// What a frontier says is held here.
///
/// # Errors
/// When an own head is not durable, or another's is not attached.
pub fn frontier(frontier: &Frontier, store: &Store, own: Issuer, is_restored: bool) -> Held {
    for chain in &frontier.chains {
        for head in &chain.heads {
            // A tail that came back is held by those who gave it.
            let is_safe = if chain.issuer == own && !is_restored {
                is_head_durable(head, store)
            } else {
                store.transaction(&head.id).is_some_and(|held| held.record.sequence == head.sequence)
            };
            Invariant::DurableFirst.ensure(is_safe, || {
                let (issuer, sequence) = (chain.issuer.short(), head.sequence);
                format!("its frontier says {issuer}/{sequence}, which is not durable here")
            })?;
        }
    }
    Ok(())
}
