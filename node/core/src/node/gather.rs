//! Readings into batches: counters, the open batch and its journal, closed batches waiting for their transaction.
//!
//! # Layout
//! - this file: the state, and closing and sealing batches
//! - [`submit`]: streams, and readings into the open batch
//! - [`chain`]: what the own chain says of counters and numbers of batches
//!
//! # Numbers
//! Journal batches have local numbers, by which the journal keeps and frees them. Its number on the chain a batch gets
//! when it is sealed: the next one there, without gaps, never twice, since the secret of its salts derives from it.
//!
//! # Floating batches
//! After a start with peers nobody knows yet how far the own chain goes. Readings are journaled all the same, into
//! *floating* batches, whose counters are provisional. When the chain is settled they get their final ones at sealing.
//! Batches float on until the first own batch of this start is out and none floats before the open one: only then is
//! it certain that no other tail of the own chain can come between. A start without peers has nothing to wait for.

mod chain;
mod submit;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::{BatchContent, BatchError, BatchStream, ClosedBatch, secret_of};
use crate::border::{BatchPolicy, Effect, Now, Restored, StreamHandle, Ticket};
use crate::codec;
use crate::counters::ChainCounters;
use crate::hash::Hash;
use crate::journal::JournalRecord;
use crate::limits;
use crate::origins::Origins;
use crate::payload::{Batch, StreamSpan};
use crate::seal::receive_times;
use crate::stream::Descriptor;

use super::Node;

/// A stream of this gateway.
#[derive(Debug)]
struct OwnStream {
    name: String,
    descriptor: Hash,
    urgent: bool,
    next_counter: u64,
    /// The batch and the place in its table where this stream was met last.
    place: Option<(u64, u32)>,
}

/// A closed batch that is not in a transaction yet.
#[derive(Debug)]
struct Closed {
    /// The journal batch.
    number: u64,
    readings: u32,
    /// `None`: only in the journal, to keep memory bounded; or at work.
    content: Option<BatchContent>,
}

/// The batch that is on its way into a transaction: the oldest closed one.
#[derive(Debug, Default)]
enum Work {
    #[default]
    Idle,
    /// Read back from the journal.
    Loading(Ticket, u64),
    /// Hashed, and its archive segment written.
    Sealing(Ticket, Arc<ClosedBatch>),
    /// Ready for a transaction.
    Ready(Batch, Arc<ClosedBatch>),
    /// In a transaction that is in the making.
    Issuing(Arc<ClosedBatch>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Gatherer {
    /// By handle.
    streams: Vec<Option<OwnStream>>,
    /// Next counters of streams that nobody described since the start.
    dormant: BTreeMap<String, u64>,
    /// Encoded descriptors that the log holds.
    descriptors: BTreeMap<Hash, Arc<[u8]>>,
    /// The streams that they describe.
    names: BTreeMap<Hash, String>,
    /// Counters by the own chain.
    chain: ChainCounters,
    /// Next counters under descriptors that adopted batches name and the log does not hold.
    unknown: BTreeMap<Hash, u64>,
    /// Number on the chain of the next own batch.
    next_number: u64,
    /// The first journal batch that is all of this start: none of its readings can be on the chain.
    first_of_start: u64,
    /// Do new journal batches get final counters?
    is_firm: bool,
    origins: Origins,
    /// Messages to acknowledge for which no sync was asked for at once, and when the first of them came, microseconds.
    unasked_origins: (usize, u64),
    open: BatchContent,
    open_since_us: Option<u64>,
    is_urgent: bool,
    closed: VecDeque<Closed>,
    work: Work,
    /// When the present work is asked for again, if there is no answer.
    due_us: u64,
}

impl Gatherer {
    /// Takes up what the journal held. `is_settled`: nothing is asked of peers before this node issues.
    pub(super) fn restore(
        restored: &mut Restored,
        is_settled: bool,
        now: Now,
    ) -> Result<Self, (u64, BatchError)> {
        let closed = core::mem::take(&mut restored.closed_batches);
        let first_free = closed.last().map_or(restored.next_batch, |(number, _)| number + 1);
        let mut content = BatchContent::new(first_free);
        if let Some((number, records)) = restored.open_batch.take() {
            content = BatchContent::new(number);
            for record in &records {
                content.replay(record).map_err(|why| (number, why))?;
            }
        }
        let mut chain = ChainCounters::default();
        let mut dormant = BTreeMap::new();
        for stream in core::mem::take(&mut restored.streams) {
            let (next, spans) = (stream.chain_counter, stream.carried);
            chain.restore(stream.name.clone(), next, spans, stream.next_counter);
            dormant.insert(stream.name, if planted!(CounterOfChain) { next } else { stream.next_counter });
        }
        let descriptors: BTreeMap<_, _> = core::mem::take(&mut restored.descriptors).into_iter().collect();
        let name =
            |(hash, bytes): (&Hash, &Arc<[u8]>)| Some((*hash, codec::decode::<Descriptor>(bytes).ok()?.name));
        let mut origins = Origins::default();
        origins.extend(&core::mem::take(&mut restored.origins));
        let closed = closed.into_iter().map(|(number, readings)| Closed { number, readings, content: None });
        let mut gatherer = Self {
            streams: Vec::new(),
            dormant,
            names: descriptors.iter().filter_map(name).collect(),
            descriptors,
            chain,
            unknown: core::mem::take(&mut restored.unknown_descriptors).into_iter().collect(),
            next_number: restored.next_chain_batch,
            first_of_start: 0,
            is_firm: is_settled,
            origins,
            unasked_origins: (0, 0),
            open_since_us: (!content.blocks.is_empty()).then_some(now.monotonic_us),
            open: content,
            is_urgent: false,
            closed: closed.collect(),
            work: Work::Idle,
            due_us: 0,
        };
        // A batch with final counters can be gone on with when no other tail of the chain can come.
        if !is_settled || gatherer.open.floating {
            gatherer.close_open();
        }
        gatherer.first_of_start = gatherer.open.number + u64::from(!gatherer.open.blocks.is_empty());
        Ok(gatherer)
    }

    pub(super) fn closes_at_us(&self, age_max_us: u64) -> Option<u64> {
        self.open_since_us.map(|since| since.saturating_add(age_max_us))
    }

    pub(super) const fn is_working(&self) -> bool {
        matches!(self.work, Work::Loading(..) | Work::Sealing(..))
    }

    /// The batch that is ready for a transaction, when there is one.
    pub(super) fn take_ready(&mut self) -> Option<Batch> {
        // Asked for with every input: nothing is moved unless there is one.
        if !matches!(self.work, Work::Ready(..)) {
            return None;
        }
        let Work::Ready(batch, closed) = core::mem::take(&mut self.work) else { return None };
        self.work = Work::Issuing(closed);
        Some(batch)
    }

    /// No transaction came of it: it waits for the next one. If the chain went on meanwhile it is sealed anew.
    pub(super) fn put_back(&mut self, batch: Batch) {
        match core::mem::take(&mut self.work) {
            Work::Issuing(closed) if batch.number == self.next_number => {
                self.work = Work::Ready(batch, closed);
            }
            Work::Issuing(closed) => self.seal_anew(closed),
            other => self.work = other,
        }
    }

    /// Readings that are not in a transaction: closed batches and the open one.
    pub(crate) fn backlog(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|c| u64::from(c.readings)).sum();
        closed + self.open.blocks.len() as u64
    }

    pub(crate) fn closed_batches(&self) -> usize {
        self.closed.len()
    }

    /// Batches in memory, the one at work left out.
    pub(crate) fn held_batches(&self) -> usize {
        self.closed.iter().skip(1).filter(|c| c.content.is_some()).count()
    }

    /// All own streams: name and the counter of the next reading.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        let described = self.streams.iter().flatten().map(|s| (s.name.clone(), s.next_counter));
        self.dormant.iter().map(|(n, c)| (n.clone(), *c)).chain(described).collect()
    }

    fn stream(&self, handle: StreamHandle) -> Option<&OwnStream> {
        self.streams.get(handle.0 as usize)?.as_ref()
    }

    /// Lays a stream by: its counter goes on when it is described again.
    fn lay_by(&mut self, at: usize) {
        if let Some(stream) = self.streams.get_mut(at).and_then(Option::take) {
            self.dormant.insert(stream.name, stream.next_counter);
        }
    }

    fn is_full(&self, policy: &BatchPolicy) -> bool {
        self.open.blocks.len() >= policy.readings_max as usize || self.open.bytes >= policy.bytes_max
    }

    /// Has the open batch room for one more reading of this size, of this stream?
    fn has_room(&self, policy: &BatchPolicy, record: &JournalRecord, bytes: usize, new_stream: bool) -> bool {
        let readings = self.open.blocks.len() + record.blocks().len();
        let held = self.open.bytes + record.blocks.len() + record.long.len();
        let streams = self.open.streams.len() + record.streams.len() + usize::from(new_stream);
        readings < policy.readings_max as usize + usize::from(planted!(OneReadingTooMany))
            && (readings == 0 || held + bytes <= policy.bytes_max)
            && streams <= limits::BATCH_STREAMS_MAX
    }

    /// Closes the open batch, if there is anything in it.
    fn close_open(&mut self) {
        self.open_since_us = None;
        if self.open.blocks.is_empty() {
            return;
        }
        let next = BatchContent::new(self.open.number + 1);
        let content = core::mem::replace(&mut self.open, next);
        let (number, readings) = (content.number, content.blocks.len() as u32);
        let is_held = self.held_batches() < limits::CLOSED_BATCHES_HELD_MAX;
        self.closed.push_back(Closed { number, readings, content: is_held.then_some(content) });
    }
}

impl Node {
    pub(super) fn close_batch(&mut self) {
        self.gatherer.close_open();
    }

    /// Closes what is due and starts sealing the oldest closed batch.
    pub(super) fn gather(&mut self, now: Now, out: &mut Vec<Effect>) {
        let policy = self.config.batch;
        let is_old = self.gatherer.closes_at_us(policy.age_max_us).is_some_and(|at| at <= now.monotonic_us);
        if is_old || core::mem::take(&mut self.gatherer.is_urgent) || self.gatherer.is_full(&policy) {
            self.close_batch();
        }
        // Until then readings are journaled and not sealed.
        if self.can_sign() {
            self.work_on_oldest(now, out);
        }
    }

    /// Starts on the oldest closed batch, when none is at work.
    fn work_on_oldest(&mut self, now: Now, out: &mut Vec<Effect>) {
        while matches!(self.gatherer.work, Work::Idle)
            && let Some(oldest) = self.gatherer.closed.front_mut()
        {
            let number = oldest.number;
            match oldest.content.take() {
                Some(content) => self.seal(now, content, out),
                // Its records are durable: they were there at the start, or it was laid by because eight batches stood
                // before it, and each of those has gone into a transaction since, whose `Persist` came after them.
                None => self.load_batch(now, number, out),
            }
        }
    }

    fn load_batch(&mut self, now: Now, number: u64, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        self.gatherer.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        self.gatherer.work = Work::Loading(ticket, number);
        out.push(Effect::LoadBatch { ticket, batch: number });
    }

    /// Gives the batch its number and its final counters, and asks for it to be sealed. When the chain carries all of
    /// it already it is left out; the journal is freed of it together with the next one.
    fn seal(&mut self, now: Now, content: BatchContent, out: &mut Vec<Effect>) {
        let content = self.gatherer.settle(content);
        if content.blocks.is_empty() {
            self.gatherer.skip_oldest();
            return;
        }
        let number = self.gatherer.next_number;
        let secret = secret_of(&self.config.salt_key, self.network.id(), self.config.issuer, number);
        let known = &self.gatherer.descriptors;
        let descriptors = content.streams.iter().map(|s| {
            known.get(&s.descriptor).cloned().expect("a descriptor is in the log before its readings")
        });
        let batch = Arc::new(ClosedBatch { number, secret, descriptors: descriptors.collect(), content });
        let ticket = self.ticket();
        self.gatherer.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        self.gatherer.work = Work::Sealing(ticket, batch.clone());
        out.push(Effect::Seal { ticket, batch });
    }

    pub(super) fn batch_loaded(
        &mut self,
        now: Now,
        ticket: Ticket,
        records: &[Vec<u8>],
        out: &mut Vec<Effect>,
    ) {
        let Work::Loading(asked, number) = self.gatherer.work else { return };
        if asked != ticket {
            return;
        }
        let mut content = BatchContent::new(number);
        for record in records {
            if let Err(why) = content.replay(record) {
                return self
                    .halt(alloc::format!("the journal of batch {number} cannot be read back: {why}"), out);
            }
        }
        let expected = self.gatherer.closed.front().map(|c| c.readings);
        if expected != Some(content.blocks.len() as u32) {
            let got = content.blocks.len();
            return self.halt(
                alloc::format!("the journal gave {got} readings of batch {number}, expected {expected:?}"),
                out,
            );
        }
        self.gatherer.work = Work::Idle;
        self.seal(now, content, out);
    }

    pub(super) fn sealed(&mut self, ticket: Ticket, root: Hash, segment: Hash, segment_bytes: u64) {
        let Work::Sealing(asked, closed) = &self.gatherer.work else { return };
        if *asked != ticket {
            return;
        }
        let content = &closed.content;
        let (first_time_ns, last_time_ns) = receive_times(&content.blocks);
        let span = |s: &BatchStream| StreamSpan { descriptor: s.descriptor, first: s.first, count: s.count };
        let payload = Batch {
            number: closed.number,
            first_time_ns,
            last_time_ns,
            count: content.blocks.len() as u32,
            root,
            segment,
            segment_bytes,
            streams: content.streams.iter().map(span).collect(),
        };
        self.gatherer.work = Work::Ready(payload, closed.clone());
    }

    /// Sealing or loading that failed is due again soon.
    pub(super) fn retry_later(&mut self, now: Now, ticket: Ticket) -> Option<&'static str> {
        let what = match &self.gatherer.work {
            Work::Sealing(asked, _) if *asked == ticket => "sealing a batch",
            Work::Loading(asked, _) if *asked == ticket => "reading a batch back from the journal",
            _ => return self.retry_pending(now, ticket),
        };
        self.gatherer.due_us = now.monotonic_us + limits::RETRY_US;
        Some(what)
    }

    pub(super) fn sweep_gatherer(&mut self, now: Now, out: &mut Vec<Effect>) {
        if now.monotonic_us < self.gatherer.due_us {
            return;
        }
        // Under the same ticket: slow work that is done in the end counts, whichever question it answers.
        match &self.gatherer.work {
            Work::Sealing(ticket, batch) => {
                out.push(Effect::Seal { ticket: *ticket, batch: batch.clone() });
            }
            Work::Loading(ticket, batch) => out.push(Effect::LoadBatch { ticket: *ticket, batch: *batch }),
            Work::Idle | Work::Ready(..) | Work::Issuing(_) => return,
        }
        self.gatherer.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
    }
}
