//! # Everything within its limit
//!
//! Pending transactions, their bytes, what is awaited, batches in memory and the window stay within `core/limits.rs`, and
//! what is counted is counted right. A batch keeps to the policy: at most so many readings, and so many bytes unless one
//! reading alone is longer; at most `BATCH_STREAMS_MAX` streams. One question to the store names at most
//! `REFERENCES_PER_ASK_MAX` references, and at least one.

use selvedge_core::batch::ClosedBatch;
use selvedge_core::border::BatchPolicy;
use selvedge_core::invariants as inside;
use selvedge_core::limits;
use selvedge_core::node::Node;

use super::{Held, Invariant};

/// What waits is recounted after every step as long as it is no more than this; beyond, now and then: a miscount stays. With
/// a thousand waiting that count alone took two thirds of a run.
const RECOUNTED_MAX: usize = 64;

/// # Errors
/// When the core holds too much, or has miscounted it.
pub fn check(node: &Node) -> Held {
    let counted = || {
        let is_little = inside::pending_size(node) <= RECOUNTED_MAX;
        if is_little { inside::counted_right(node) } else { Ok(()) }
    };
    inside::within_limits(node).and_then(|()| counted()).map_err(|what| Invariant::Limits.broken(what))
}

/// # Errors
/// When it asks for nothing, or too much at once.
pub fn asks(references: usize) -> Held {
    Invariant::Limits.ensure((1..=limits::REFERENCES_PER_ASK_MAX).contains(&references), || {
        format!("it loads {references} references at once")
    })
}

/// # Errors
/// When a batch is larger than its policy.
pub fn sealed(batch: &ClosedBatch, policy: &BatchPolicy) -> Held {
    let (readings, streams) = (batch.content.blocks.len(), batch.content.streams.len());
    let most = policy.readings_max as usize;
    Invariant::Limits.ensure((1..=most).contains(&readings), || {
        format!("a batch has {readings} readings, expected 1 to {most}")
    })?;
    let long: usize = batch.content.long.values().map(Vec::len).sum();
    let bytes = batch.content.blocks.as_flattened().len() + long;
    Invariant::Limits.ensure(readings == 1 || bytes <= policy.bytes_max, || {
        format!("a batch has {bytes} bytes in {readings} readings, expected at most {}", policy.bytes_max)
    })?;
    Invariant::Limits
        .ensure(streams <= limits::BATCH_STREAMS_MAX, || format!("a batch has {streams} streams"))
}
