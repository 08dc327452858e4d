//! What waited too long, and work that was never answered or failed.

use alloc::vec::Vec;

use crate::border::{Effect, Now, Ticket};
use crate::hash::Id;
use crate::limits;
use crate::pending::{Stage, Waiting};
use crate::transaction::Reference;

use super::Node;

impl Node {
    /// Drops what waited too long, and asks again for work that was never answered.
    pub(in crate::node) fn sweep_pending(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.pending.ask_due = true;
        let expired = |since: u64, after: u64| now.monotonic_us >= since.saturating_add(after);
        let old =
            self.pending.waiting.iter().filter(|(_, w)| expired(w.since_us, limits::PENDING_TIMEOUT_US));
        let old: Vec<Id> = old.map(|(id, _)| *id).collect();
        for id in &old {
            if let Some(gone) = self.pending.remove(id) {
                // What it refers to never came: it was of no use.
                self.wasted(now, gone.peer, gone.envelope.len(), out);
            }
        }
        let stuck = |w: &Waiting| {
            let is_working = w.loading.is_some() || matches!(w.stage, Stage::Verifying(..) | Stage::Lookup);
            is_working && now.monotonic_us >= w.due_us
        };
        let stuck: Vec<Id> =
            self.pending.waiting.iter().filter(|(_, w)| stuck(w)).map(|(id, _)| *id).collect();
        for id in stuck {
            self.ask_again(now, id, out);
        }
        if core::mem::take(&mut self.pending.overflowed) {
            let all: Vec<Id> = self.pending.waiting.keys().copied().collect();
            for id in all {
                self.advance(now, id, out);
            }
        }
    }

    fn ask_again(&mut self, now: Now, id: Id, out: &mut Vec<Effect>) {
        let Some(waiting) = self.pending.waiting.get_mut(&id) else { return };
        let mut stale = waiting.loading.take();
        if let Stage::Verifying(ticket, _) = waiting.stage {
            stale = stale.or(Some(ticket));
            waiting.stage = Stage::NoKey;
        }
        let lookup = (waiting.stage == Stage::Lookup).then_some(Reference {
            issuer: waiting.body.issuer,
            sequence: waiting.body.sequence,
            id,
        });
        if let Some(ticket) = stale {
            self.pending.tickets.remove(&ticket);
        }
        match lookup {
            Some(own) => self.load(now, id, Vec::from([own]), out),
            None => self.advance(now, id, out),
        }
    }

    /// A load or a check failed: the sweep asks again soon.
    pub(in crate::node) fn retry_pending(&mut self, now: Now, ticket: Ticket) -> Option<&'static str> {
        let id = self.pending.tickets.get(&ticket)?;
        let waiting = self.pending.waiting.get_mut(id)?;
        waiting.due_us = now.monotonic_us + limits::RETRY_US;
        Some(if matches!(waiting.stage, Stage::Verifying(..)) {
            "checking a signature"
        } else {
            "loading from the store"
        })
    }
}
