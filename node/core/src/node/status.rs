//! What the shell may show of a node, copied out so that nobody needs the loop.

use alloc::string::String;
use alloc::vec::Vec;

use crate::border::Silence;
use crate::hash::{Id, Issuer};

use super::Node;

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Transactions attached.
    pub attached: u64,
    /// Tips.
    pub tips: usize,
    /// Transactions received and not attached.
    pub pending: usize,
    /// Their bytes.
    pub pending_bytes: usize,
    /// Transactions that something refers to and nobody here holds.
    pub wanted: usize,
    /// Readings that are not in a transaction.
    pub backlog_readings: u64,
    /// Closed batches among them.
    pub closed_batches: usize,
    /// This node's newest transaction: sequence and id.
    pub own_head: Option<(u64, Id)>,
    /// Places with more than one transaction.
    pub forks: Vec<(Issuer, u64)>,
    /// Issuers known.
    pub issuers: usize,
    /// Why it issues nothing, when it does not.
    pub silence: Option<Silence>,
    /// Own transactions that no peer has said to hold; `None`: no peer has said anything since the start.
    pub unshared: Option<u64>,
    /// Own transactions that came back from peers since the start.
    pub adopted: u64,
    /// Did the store or the key fail?
    pub halted: bool,
    /// Own streams: name and the counter of the next reading.
    pub streams: Vec<(String, u64)>,
}

impl Node {
    /// A snapshot of what people may want to know.
    pub fn status(&self) -> Status {
        Status {
            attached: self.window.next_number(),
            tips: self.window.tip_count(),
            pending: self.pending.waiting.len(),
            pending_bytes: self.pending.bytes(),
            wanted: self.pending.awaited.len(),
            backlog_readings: self.gatherer.backlog(),
            closed_batches: self.gatherer.closed_batches(),
            own_head: self.own_head(),
            forks: self.issuers.forks().iter().copied().collect(),
            issuers: self.issuers.len(),
            silence: self.silence(),
            unshared: self.unshared(),
            adopted: self.own_chain.adopted(),
            halted: self.halted,
            streams: self.gatherer.counters().into_iter().collect(),
        }
    }

    /// Readings that are not in a transaction yet.
    pub fn backlog(&self) -> u64 {
        self.gatherer.backlog()
    }

    /// Does it issue?
    pub fn may_issue(&self) -> bool {
        self.silence().is_none()
    }

    /// Local numbers of all tips, ascending.
    pub fn tip_numbers(&self) -> Vec<u64> {
        self.window.tip_numbers().collect()
    }
}
