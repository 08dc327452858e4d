//! What the own chain says of counters and numbers of batches: own batches that go out, and own batches that peers give
//! back to a gateway that had lost them.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::{BatchContent, ClosedBatch};
use crate::border::Origin;
use crate::counters::CarriedSpan;
use crate::limits;
use crate::node::Node;
use crate::payload::Batch;

use super::{Gatherer, Work};

impl Gatherer {
    /// The journal batch in the transaction that is in the making.
    pub(in crate::node) fn journal_batch(&self) -> Option<u64> {
        match &self.work {
            Work::Issuing(closed) => Some(closed.content.number),
            _ => None,
        }
    }

    /// The transaction of this batch is attached: the next one may be sealed.
    pub(in crate::node) fn issued(&mut self, number: u64) {
        let Work::Issuing(closed) = core::mem::take(&mut self.work) else {
            panic!("batch {number} was issued, and none was in the making");
        };
        let first = self.closed.pop_front().map(|c| c.number);
        assert_eq!(first, Some(closed.content.number), "batches are issued in their order");
        assert_eq!((closed.number, self.next_number), (number, number), "numbers on the chain have no gap");
        self.next_number = number.saturating_add(1);
        let names = &self.names;
        self.chain.advance(&closed.content, |hash| names.get(hash).map(alloc::string::String::as_str));
        self.forget_spans_in_time();
        self.become_firm();
    }

    /// Peers gave back a batch of the own chain that this gateway had lost. To be called in the order of the chain.
    ///
    /// Streams are known by the descriptors in the log. Of one that is not known here the counters are kept under the
    /// hash of the descriptor, for when it is described in this way again; if its descriptor has changed meanwhile, its
    /// counters cannot be mapped to it and begin anew.
    pub(in crate::node) fn adopt(&mut self, batch: &Batch) {
        self.next_number = self.next_number.max(batch.number.saturating_add(1));
        let (first_time_ns, last_time_ns) = (batch.first_time_ns, batch.last_time_ns);
        for span in &batch.streams {
            let (first, count) = (span.first, span.count - u32::from(planted!(AdoptsOneLess)));
            if let Some(name) = self.names.get(&span.descriptor) {
                self.chain.carry(name, CarriedSpan { first, count, first_time_ns, last_time_ns });
            } else if self.unknown.len() < limits::UNKNOWN_DESCRIPTORS_MAX {
                let next = self.unknown.entry(span.descriptor).or_default();
                *next = (*next).max(first.saturating_add(u64::from(count)));
            }
        }
        // Whatever was given a counter meanwhile has a provisional one.
        if self.is_firm {
            self.is_firm = false;
            self.close_open();
        }
        match core::mem::take(&mut self.work) {
            // An answer that still comes is not waited for any more.
            Work::Idle | Work::Loading(..) => {}
            Work::Sealing(_, closed) | Work::Ready(_, closed) => self.seal_anew(closed),
            issuing @ Work::Issuing(_) => self.work = issuing,
        }
    }

    /// Back to where it was before it was sealed.
    pub(super) fn seal_anew(&mut self, closed: Arc<ClosedBatch>) {
        self.work = Work::Idle;
        if let Some(oldest) = self.closed.front_mut() {
            oldest.content = Some(Arc::unwrap_or_clone(closed).content);
        }
    }

    /// The oldest closed batch with final counters.
    pub(super) fn settle(&self, content: BatchContent) -> BatchContent {
        let is_of_this_start = content.number >= self.first_of_start;
        let names = &self.names;
        self.chain
            .settle(content, is_of_this_start, |hash| names.get(hash).map(alloc::string::String::as_str))
    }

    /// The chain carries all of the oldest closed batch already.
    pub(super) fn skip_oldest(&mut self) {
        self.closed.pop_front();
        self.forget_spans_in_time();
    }

    /// Only what was journaled before this start can be on the chain already.
    fn forget_spans_in_time(&mut self) {
        if self.closed.front().is_none_or(|oldest| oldest.number >= self.first_of_start) {
            self.chain.forget_spans();
        }
    }

    /// From here on counters are final when they are given, if nothing floats before the open batch. That one is closed,
    /// and what comes after it follows it.
    fn become_firm(&mut self) {
        if self.is_firm || !self.closed.is_empty() || self.open.number < self.first_of_start {
            return;
        }
        self.is_firm = true;
        let names = &self.names;
        let name_of = |hash: &_| names.get(hash).map(alloc::string::String::as_str);
        let mut counters = self.chain.clone();
        let settled = self.chain.settle(self.open.clone(), true, name_of);
        counters.advance(&settled, name_of);
        self.close_open();
        for stream in self.streams.iter_mut().flatten() {
            stream.next_counter = counters.next(&stream.name);
        }
        for (name, next_counter) in &mut self.dormant {
            *next_counter = counters.next(name);
        }
    }
}

impl Node {
    /// The messages that brought the newest readings of each source, durable or about to be: a source that is resumed
    /// and sends one of them again need not be heard. In order; at most
    /// [`ORIGINS_HELD_MAX`](crate::limits::ORIGINS_HELD_MAX) of each source.
    pub fn origins(&self) -> Vec<Origin> {
        self.gatherer.origins.all()
    }
}
