//! What must hold after every input, as functions. For harness, simulator and tests: too slow for a gateway.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::limits;
use crate::node::Node;
use crate::record::{Record, flag};
use crate::window::{Entry, OWN_BIT};

/// All of them.
///
/// # Errors
/// The first one that is broken, in words.
pub fn check_all(node: &Node) -> Result<(), String> {
    past_closed(node)?;
    one_transaction_per_place(node)?;
    tip_set_exact(node)?;
    witnesses_exact(node)?;
    within_limits(node)?;
    counted_right(node)
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}

/// What a transaction refers to was attached before it: nothing is missing, and there is no cycle.
pub fn past_closed(node: &Node) -> Result<(), String> {
    for entry in entries(node) {
        let record = &entry.record;
        let beyond = record.references().find(|r| *r >= record.number);
        ensure(beyond.is_none(), || format!("{} refers to {beyond:?}, attached later", record.number))?;
    }
    Ok(())
}

/// One transaction per issuer and sequence, unless the fork is known; and each follows the one before it.
pub fn one_transaction_per_place(node: &Node) -> Result<(), String> {
    let mut places = BTreeMap::new();
    for entry in entries(node) {
        let record = &entry.record;
        let place = (record.issuer, record.sequence);
        if let Some(other) = places.insert(place, record.id) {
            let is_known =
                node.issuers.forks().contains(&place) || node.issuers.forks().len() >= limits::FORKS_MAX;
            ensure(is_known, || format!("{other} and {} share {place:?}, and no fork is known", record.id))?;
        }
        if let Some(prev) = node.window.get(record.prev) {
            let follows = prev.record.issuer == record.issuer && prev.record.sequence + 1 == record.sequence;
            ensure(follows, || format!("{} does not follow its prev", record.number))?;
        }
    }
    Ok(())
}

/// Recomputing the tips from the graph gives the set that is kept.
pub fn tip_set_exact(node: &Node) -> Result<(), String> {
    let members = || entries(node).filter(|e| !e.record.has(flag::SECOND_BRANCH));
    let covered: BTreeSet<u64> = members().flat_map(|e| e.record.references()).collect();
    let expected: Vec<u64> = members().map(|e| e.record.number).filter(|n| !covered.contains(n)).collect();
    let kept: Vec<u64> = node.window.tip_numbers().collect();
    ensure(kept == expected, || format!("tips {kept:?}, the graph says {expected:?}"))
}

/// Recomputing who has whom in the past cone gives the bits that are kept.
pub fn witnesses_exact(node: &Node) -> Result<(), String> {
    let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
    let all: Vec<&Entry> = entries(node).collect();
    for entry in all.iter().rev() {
        let record = &entry.record;
        let mut bits = expected.get(&record.number).copied().unwrap_or(0);
        bits |= node.issuers.member_bit(&record.issuer).map_or(0, |bit| 1 << bit);
        if record.issuer == node.issuer() {
            bits |= 1 << OWN_BIT;
        }
        expected.insert(record.number, bits);
        for reference in record.references() {
            *expected.entry(reference).or_default() |= bits;
        }
    }
    // Below the window marks stop; within its gapless part nothing is lost.
    let base = node.window.base();
    for entry in all.iter().filter(|e| e.record.number >= base) {
        let (number, bits) = (entry.record.number, expected[&entry.record.number]);
        ensure(entry.cones == bits, || {
            format!("{number} has bits {:x}, the graph says {bits:x}", entry.cones)
        })?;
    }
    let open = |e: &&&Entry| {
        e.record.has(flag::PAYLOAD)
            && !e.record.has(flag::SECOND_BRANCH)
            && e.record.issuer != node.issuer()
            && e.cones & (1 << OWN_BIT) == 0
    };
    let unapproved = all.iter().filter(open).count() as u64;
    let kept = node.window.unapproved();
    ensure(kept == unapproved, || {
        format!("{kept} payloads count as not approved, the graph says {unapproved}")
    })
}

/// Everything is within its limit, and what is counted is counted right.
pub fn within_limits(node: &Node) -> Result<(), String> {
    let pending = &node.pending;
    ensure(pending.waiting.len() <= limits::PENDING_MAX, || "too many pending transactions".into())?;
    ensure(
        pending.bytes() <= limits::PENDING_BYTES_MAX + limits::COPIES_MAX * limits::ENVELOPE_BYTES_MAX,
        || "too many pending bytes".into(),
    )?;
    ensure(pending.awaited.len() <= limits::WANTED_MAX, || "too many wanted transactions".into())?;
    ensure(node.gatherer.held_batches() <= limits::CLOSED_BATCHES_HELD_MAX, || {
        "too many batches in memory".into()
    })?;
    let gapless = node.window.next_number() - node.window.base();
    // What is not durable yet cannot leave: the store would not know it.
    let undurable = node.window.next_number() - node.window.durable();
    let allowed = (node.config.window_records as u64).max(undurable);
    ensure(gapless <= allowed, || "the window is too large".into())?;
    let known = entries(node).count();
    ensure(node.window.known_ids() == known, || "ids and records are not the same ones".into())
}

/// How much [`counted_right`] looks at.
pub fn pending_size(node: &Node) -> usize {
    node.pending.waiting.len() + node.pending.awaited.len()
}

/// What waits is counted right, and what is awaited somebody waits for. Goes over all of it.
pub fn counted_right(node: &Node) -> Result<(), String> {
    let pending = &node.pending;
    ensure(pending.bytes() == pending.recount_bytes(), || "pending bytes are miscounted".into())?;
    for (id, awaited) in &pending.awaited {
        let all_wait = awaited.waiters.iter().all(|w| pending.waiting.contains_key(w));
        ensure(all_wait && !awaited.waiters.is_empty(), || format!("{id} is awaited by nobody"))?;
        ensure(node.window.by_id(id).is_none(), || format!("{id} is awaited and attached"))?;
    }
    Ok(())
}

/// The mark of "in this node's own past cone", among those of the committee: see [`Marked::cones`].
pub const OWN_MARK: u64 = 1 << OWN_BIT;

/// A record of the window, and who has it in the past cone.
#[derive(Debug, Clone, Copy)]
pub struct Marked<'a> {
    /// The record.
    pub record: &'a Record,
    /// One bit for each committee member that has it in its past cone or signed it, and [`OWN_MARK`].
    pub cones: u64,
}

/// Records of the window from this number on, oldest first; of older ones only tips are left.
pub fn records_from(node: &Node, number: u64) -> impl Iterator<Item = Marked<'_>> {
    let skipped = usize::try_from(number.saturating_sub(node.window.base())).unwrap_or(usize::MAX);
    node.window.recent().skip(skipped).map(|e| Marked { record: &e.record, cones: e.cones })
}

/// Tips that are older than the window. Their marks need not be all: what lies between them and the window is gone.
pub fn old_tips(node: &Node) -> impl Iterator<Item = Marked<'_>> {
    node.window.old_tips().map(|e| Marked { record: &e.record, cones: e.cones })
}

/// What something waits for and peers are to be asked for: it is not here, no fetch brings it, and it is welcome.
pub fn to_be_asked_for(node: &Node) -> impl Iterator<Item = crate::hash::Id> + '_ {
    node.pending.awaited.keys().copied().filter(|id| node.next_ask(id).is_some())
}

/// Steps that the node has taken since its start, down what waits here, to learn what is missing below heads that peers name.
/// A peer must not be able to make it take more of them than it names heads and has transactions waiting.
pub fn steps_below_heads(node: &Node) -> u64 {
    node.gossip.looked_at
}

/// The local number that the next attached transaction gets.
pub fn next_number(node: &Node) -> u64 {
    node.window.next_number()
}

/// The oldest number of the gapless part of the window.
pub fn base(node: &Node) -> u64 {
    node.window.base()
}

/// The tips that are kept, ascending.
pub fn tips(node: &Node) -> impl Iterator<Item = u64> {
    node.window.tip_numbers()
}

/// Others' payloads that count as not approved.
pub fn unapproved(node: &Node) -> u64 {
    node.window.unapproved()
}

/// Places with two transactions of which this node knows.
pub fn forks(node: &Node) -> &BTreeSet<(crate::hash::Issuer, u64)> {
    node.issuers.forks()
}

/// The mark of an issuer: its bit in the committee, and [`OWN_MARK`] when it is this node; 0 for everybody else.
pub fn mark_of(node: &Node, issuer: &crate::hash::Issuer) -> u64 {
    let bit = node.issuers.member_bit(issuer).map_or(0, |bit| 1 << bit);
    bit | if *issuer == node.issuer() { OWN_MARK } else { 0 }
}

fn entries(node: &Node) -> impl Iterator<Item = &Entry> + '_ {
    node.window.old_tips().chain(node.window.recent())
}
