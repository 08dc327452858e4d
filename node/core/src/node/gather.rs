//! Readings into batches: counters, the open batch and its journal, closed batches waiting for their transaction.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::{BatchContent, BatchError, BatchStream, ClosedBatch, secret_of};
use crate::border::{
    BatchPolicy, Effect, NewReading, Now, Outcome, Refusal, ReplyTo, StreamHandle, StreamState, Ticket, Write,
};
use crate::codec::Canonical;
use crate::hash::Hash;
use crate::journal::{JournalRecord, JournalStream};
use crate::limits;
use crate::payload::{Batch, StreamSpan};
use crate::reading::{FLAG_UNSYNCHRONISED, READING_BYTES, Reading, Value};
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
    number: u64,
    readings: u32,
    /// `None`: only in the journal, to keep memory bounded.
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
    Ready(Batch),
    /// In a transaction that is in the making.
    Issuing,
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
    open: BatchContent,
    open_since_us: Option<u64>,
    is_urgent: bool,
    closed: VecDeque<Closed>,
    work: Work,
    /// When the present work is asked for again, if there is no answer.
    due_us: u64,
}

impl Gatherer {
    /// Takes up what the journal held.
    pub(super) fn restore(
        streams: Vec<StreamState>,
        descriptors: Vec<(Hash, Arc<[u8]>)>,
        next_batch: u64,
        closed: Vec<(u64, u32)>,
        open: Option<(u64, Vec<Vec<u8>>)>,
        now: Now,
    ) -> Result<Self, (u64, BatchError)> {
        let first_free = closed.last().map_or(next_batch, |(number, _)| number + 1);
        let mut content = BatchContent::new(first_free);
        if let Some((number, records)) = open {
            content = BatchContent::new(number);
            for record in &records {
                content.replay(record).map_err(|why| (number, why))?;
            }
        }
        let open_since_us = (!content.blocks.is_empty()).then_some(now.monotonic_us);
        let closed = closed.into_iter().map(|(number, readings)| Closed { number, readings, content: None });
        Ok(Self {
            streams: Vec::new(),
            dormant: streams.into_iter().map(|s| (s.name, s.next_counter)).collect(),
            descriptors: descriptors.into_iter().collect(),
            open: content,
            open_since_us,
            is_urgent: false,
            closed: closed.collect(),
            work: Work::Idle,
            due_us: 0,
        })
    }

    pub(super) fn closes_at_us(&self, age_max_us: u64) -> Option<u64> {
        self.open_since_us.map(|since| since.saturating_add(age_max_us))
    }

    pub(super) const fn is_working(&self) -> bool {
        matches!(self.work, Work::Loading(..) | Work::Sealing(..))
    }

    /// The batch that is ready for a transaction, when there is one.
    pub(super) fn take_ready(&mut self) -> Option<Batch> {
        if !matches!(self.work, Work::Ready(_)) {
            return None;
        }
        match core::mem::replace(&mut self.work, Work::Issuing) {
            Work::Ready(batch) => Some(batch),
            other => {
                self.work = other;
                None
            }
        }
    }

    pub(super) fn put_back(&mut self, batch: Batch) {
        self.work = Work::Ready(batch);
    }

    /// The transaction of this batch is attached: the next one may be sealed.
    pub(super) fn issued(&mut self, number: u64) {
        let first = self.closed.pop_front();
        assert_eq!(first.map(|c| c.number), Some(number), "batches are issued in their order");
        self.work = Work::Idle;
    }

    /// Readings that are not in a transaction: closed batches and the open one.
    pub(crate) fn backlog(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|c| u64::from(c.readings)).sum();
        closed + self.open.blocks.len() as u64
    }

    pub(crate) fn closed_batches(&self) -> usize {
        self.closed.len()
    }

    pub(crate) fn held_batches(&self) -> usize {
        self.closed.iter().filter(|c| c.content.is_some()).count()
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
        readings < policy.readings_max as usize
            && (readings == 0 || held + bytes <= policy.bytes_max)
            && streams <= limits::BATCH_STREAMS_MAX
    }
}

impl Node {
    pub(super) fn describe(
        &mut self,
        stream: StreamHandle,
        descriptor: &Descriptor,
        urgent: bool,
        out: &mut Vec<Effect>,
    ) {
        let (bytes, at) = (Arc::<[u8]>::from(descriptor.to_bytes()), stream.0 as usize);
        let hash = Descriptor::hash_of(&bytes);
        if at >= limits::STREAMS_MAX || bytes.len() > Descriptor::BYTES_MAX || descriptor.check().is_err() {
            // Its readings are refused as those of an unknown stream; the shell checks both beforehand.
            return;
        }
        let gatherer = &mut self.gatherer;
        if gatherer.streams.len() <= at {
            gatherer.streams.resize_with(at + 1, || None);
        }
        gatherer.lay_by(at);
        let namesake = |s: &Option<OwnStream>| s.as_ref().is_some_and(|s| s.name == descriptor.name);
        if let Some(other) = gatherer.streams.iter().position(namesake) {
            gatherer.lay_by(other);
        }
        let next_counter = gatherer.dormant.remove(&descriptor.name).unwrap_or(0);
        let (name, place) = (descriptor.name.clone(), None);
        gatherer.streams[at] = Some(OwnStream { name, descriptor: hash, urgent, next_counter, place });
        if self.gatherer.descriptors.insert(hash, bytes.clone()).is_none() {
            let within = self.config.journal_within_us;
            self.persist(Vec::from([Write::Descriptor { hash, bytes }]), within, Vec::new(), out);
        }
    }

    pub(super) fn submit(
        &mut self,
        now: Now,
        readings: Vec<NewReading>,
        reply: ReplyTo,
        out: &mut Vec<Effect>,
    ) {
        if let Some(refusal) = self.refusal_of(&readings) {
            return out.push(Effect::Reply { reply, outcome: Outcome::Refused(refusal) });
        }
        // While the clock is not synchronised, no stamp falls below what was persisted.
        let floor_ns = if now.synchronised { i64::MIN } else { self.last_wall_ns };
        let stamp_ns = self.stamp_ns(now);
        let mut writes = Vec::new();
        let mut record = self.new_record(stamp_ns);
        record.blocks.reserve_exact(readings.len() * READING_BYTES);
        for reading in readings {
            let bytes = READING_BYTES + reading.value.long_bytes().map_or(0, <[u8]>::len);
            let mut known = self.place_in(&record, reading.stream);
            if !self.gatherer.has_room(&self.config.batch, &record, bytes, known.is_none()) {
                self.journal(&mut record, &mut writes);
                self.close_batch();
                record = self.new_record(stamp_ns);
                known = None;
            }
            self.add(&mut record, reading, known, floor_ns, now.synchronised);
        }
        self.journal(&mut record, &mut writes);
        if self.gatherer.open_since_us.is_none() && !self.gatherer.open.blocks.is_empty() {
            self.gatherer.open_since_us = Some(now.monotonic_us);
        }
        let held = Vec::from([Effect::Reply { reply, outcome: Outcome::Durable }]);
        self.persist(writes, self.config.journal_within_us, held, out);
    }

    fn refusal_of(&self, readings: &[NewReading]) -> Option<Refusal> {
        if readings.is_empty() || readings.len() > limits::SUBMIT_READINGS_MAX {
            return Some(Refusal::Count(readings.len()));
        }
        for reading in readings {
            if self.gatherer.stream(reading.stream).is_none() {
                return Some(Refusal::UnknownStream(reading.stream.0));
            }
            let is_long =
                reading.value.long_bytes().is_some_and(|b| b.len() > limits::READING_TEXT_BYTES_MAX);
            if is_long || matches!(reading.value, Value::Float(f) if f.is_nan()) {
                return Some(Refusal::Value);
            }
        }
        None
    }

    fn new_record(&self, taken_at_ns: i64) -> JournalRecord {
        let batch = self.gatherer.open.number;
        JournalRecord { batch, taken_at_ns, streams: Vec::new(), blocks: Vec::new(), long: Vec::new() }
    }

    /// Where this stream stands in the table of the open batch, the record at hand included.
    fn place_in(&self, record: &JournalRecord, stream: StreamHandle) -> Option<u32> {
        let own = self.gatherer.stream(stream)?;
        if let Some((batch, place)) = own.place
            && batch == record.batch
        {
            return Some(place);
        }
        // After a start: by its hash, and only where its counter goes on. When a descriptor changed there and back,
        // the counter went on elsewhere, and the stream gets a second place in the table.
        let goes_on = |s: &BatchStream| {
            s.descriptor == own.descriptor && s.first + u64::from(s.count) == own.next_counter
        };
        self.gatherer.open.streams.iter().rposition(goes_on).map(|place| place as u32)
    }

    fn add(
        &mut self,
        record: &mut JournalRecord,
        reading: NewReading,
        known: Option<u32>,
        floor_ns: i64,
        synchronised: bool,
    ) {
        let gatherer = &mut self.gatherer;
        let own = gatherer.streams[reading.stream.0 as usize].as_mut().expect("checked before");
        let counter = own.next_counter;
        let stream_index = known.unwrap_or_else(|| {
            record.streams.push(JournalStream { descriptor: own.descriptor, first: counter });
            (gatherer.open.streams.len() + record.streams.len() - 1) as u32
        });
        own.place = Some((record.batch, stream_index));
        own.next_counter += 1;
        gatherer.is_urgent |= own.urgent;
        let unsynchronised = if synchronised { 0 } else { FLAG_UNSYNCHRONISED };
        let reading = Reading {
            stream_index,
            counter,
            source_time_ns: reading.source_time_ns,
            receive_time_ns: reading.receive_time_ns.max(floor_ns),
            quality: reading.quality,
            flags: reading.flags | unsynchronised,
            status: reading.status,
            value: reading.value,
        };
        record.blocks.extend_from_slice(&reading.to_block());
        record.long.extend_from_slice(reading.value.long_bytes().unwrap_or(&[]));
    }

    /// The record goes into the open batch and to the journal.
    fn journal(&mut self, record: &mut JournalRecord, writes: &mut Vec<Write>) {
        if record.blocks.is_empty() {
            return;
        }
        self.gatherer.open.apply(record);
        writes.push(Write::Journal { batch: record.batch, record: record.to_bytes() });
        let empty = self.new_record(record.taken_at_ns);
        *record = empty;
    }

    pub(super) fn close_batch(&mut self) {
        let gatherer = &mut self.gatherer;
        gatherer.open_since_us = None;
        if gatherer.open.blocks.is_empty() {
            return;
        }
        let next = BatchContent::new(gatherer.open.number + 1);
        let content = core::mem::replace(&mut gatherer.open, next);
        let (number, readings) = (content.number, content.blocks.len() as u32);
        let is_held = gatherer.held_batches() < limits::CLOSED_BATCHES_HELD_MAX && self.config.may_issue;
        gatherer.closed.push_back(Closed { number, readings, content: is_held.then_some(content) });
    }

    /// Closes what is due and starts sealing the oldest closed batch.
    pub(super) fn gather(&mut self, now: Now, out: &mut Vec<Effect>) {
        let policy = self.config.batch;
        let is_old = self.gatherer.closes_at_us(policy.age_max_us).is_some_and(|at| at <= now.monotonic_us);
        if is_old || core::mem::take(&mut self.gatherer.is_urgent) || self.gatherer.is_full(&policy) {
            self.close_batch();
        }
        if self.config.may_issue && matches!(self.gatherer.work, Work::Idle) {
            self.work_on_oldest(now, out);
        }
    }

    fn work_on_oldest(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(oldest) = self.gatherer.closed.front_mut() else { return };
        let number = oldest.number;
        if let Some(content) = oldest.content.take() {
            return self.seal(now, content, out);
        }
        // Its records are durable: it was laid by because eight batches stood before it, and each of those has gone
        // into a transaction since, whose `Persist` came after them.
        self.load_batch(now, number, out);
    }

    fn load_batch(&mut self, now: Now, number: u64, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        self.gatherer.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
        self.gatherer.work = Work::Loading(ticket, number);
        out.push(Effect::LoadBatch { ticket, batch: number });
    }

    fn seal(&mut self, now: Now, content: BatchContent, out: &mut Vec<Effect>) {
        let secret = secret_of(&self.config.salt_key, self.network.id(), self.config.issuer, content.number);
        let known = &self.gatherer.descriptors;
        let descriptors = content.streams.iter().map(|s| {
            known.get(&s.descriptor).cloned().expect("a descriptor is in the log before its readings")
        });
        let batch = Arc::new(ClosedBatch { secret, descriptors: descriptors.collect(), content });
        self.ask_to_seal(now, batch, out);
    }

    fn ask_to_seal(&mut self, now: Now, batch: Arc<ClosedBatch>, out: &mut Vec<Effect>) {
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
        self.seal(now, content, out);
    }

    pub(super) fn sealed(&mut self, ticket: Ticket, root: Hash, segment: Hash, segment_bytes: u64) {
        let Work::Sealing(asked, batch) = &self.gatherer.work else { return };
        if *asked != ticket {
            return;
        }
        let content = &batch.content;
        let (first_time_ns, last_time_ns) = receive_times(&content.blocks);
        let span = |s: &BatchStream| StreamSpan { descriptor: s.descriptor, first: s.first, count: s.count };
        let payload = Batch {
            number: content.number,
            first_time_ns,
            last_time_ns,
            count: content.blocks.len() as u32,
            root,
            segment,
            segment_bytes,
            streams: content.streams.iter().map(span).collect(),
        };
        self.gatherer.work = Work::Ready(payload);
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
            Work::Idle | Work::Ready(_) | Work::Issuing => return,
        }
        self.gatherer.due_us = now.monotonic_us + limits::COMPLETION_TIMEOUT_US;
    }
}
