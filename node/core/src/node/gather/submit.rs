//! Streams, and readings into the open batch.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::BatchStream;
use crate::border::{Effect, NewReading, Now, Origin, Outcome, Refusal, ReplyTo, StreamHandle, Write};
use crate::codec::Canonical;
use crate::journal::{JournalRecord, JournalStream};
use crate::limits;
use crate::node::Node;
use crate::reading::{FLAG_UNSYNCHRONISED, READING_BYTES, Reading, Value};
use crate::stream::Descriptor;

use super::{Gatherer, OwnStream};

impl Node {
    pub(in crate::node) fn describe(
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
        if let Some(next) = gatherer.unknown.remove(&hash) {
            gatherer.chain.raise(&descriptor.name, next);
        }
        let known = gatherer.dormant.remove(&descriptor.name).unwrap_or(0);
        let next_counter = known.max(gatherer.chain.next(&descriptor.name));
        let (name, place) = (descriptor.name.clone(), None);
        gatherer.names.insert(hash, name.clone());
        gatherer.streams[at] = Some(OwnStream { name, descriptor: hash, urgent, next_counter, place });
        if self.gatherer.descriptors.insert(hash, bytes.clone()).is_none() {
            let within = self.config.journal_within_us;
            self.persist(Vec::from([Write::Descriptor { hash, bytes }]), within, Vec::new(), out);
        }
    }

    pub(in crate::node) fn submit(
        &mut self,
        now: Now,
        readings: Vec<NewReading>,
        origins: &[Origin],
        reply: ReplyTo,
        out: &mut Vec<Effect>,
    ) {
        if let Some(refusal) = self.refusal_of(&readings, origins) {
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
                self.journal(&mut record, &[], &mut writes);
                self.close_batch();
                record = self.new_record(stamp_ns);
                known = None;
            }
            self.add(&mut record, reading, known, floor_ns, now.synchronised);
        }
        self.journal(&mut record, origins, &mut writes);
        if self.gatherer.open_since_us.is_none() && !self.gatherer.open.blocks.is_empty() {
            self.gatherer.open_since_us = Some(now.monotonic_us);
        }
        let mut held = Vec::from([Effect::Reply { reply, outcome: Outcome::Durable }]);
        if planted!(AcknowledgesEarly) {
            out.append(&mut held);
        }
        let within = self
            .config
            .journal_within_us
            .min(self.gatherer.acknowledge_within_us(now.monotonic_us, origins.len()));
        self.persist(writes, within, held, out);
    }

    fn refusal_of(&self, readings: &[NewReading], origins: &[Origin]) -> Option<Refusal> {
        if readings.is_empty() || readings.len() > limits::SUBMIT_READINGS_MAX {
            return Some(Refusal::Count(readings.len()));
        }
        if origins.len() > limits::SUBMIT_READINGS_MAX {
            return Some(Refusal::Count(origins.len()));
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
        JournalRecord {
            batch: self.gatherer.open.number,
            floating: !self.gatherer.is_firm,
            taken_at_ns,
            streams: Vec::new(),
            blocks: Vec::new(),
            long: Vec::new(),
            origins: Vec::new(),
        }
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
            s.descriptor == own.descriptor
                && (s.first + u64::from(s.count) == own.next_counter || planted!(OldEntryOfTable))
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

    /// The record goes into the open batch and to the journal. `origins`: of a submission that is complete with it.
    fn journal(&mut self, record: &mut JournalRecord, origins: &[Origin], writes: &mut Vec<Write>) {
        if record.blocks.is_empty() {
            return;
        }
        let gatherer = &mut self.gatherer;
        if gatherer.open.blocks.is_empty() {
            // The batches before it may be freed, and with them the records that these stand in.
            record.origins = gatherer.origins.all();
        }
        record.origins.extend_from_slice(origins);
        gatherer.origins.extend(origins);
        gatherer.open.apply(record);
        writes.push(Write::Journal { batch: record.batch, record: record.to_bytes() });
        let empty = self.new_record(record.taken_at_ns);
        *record = empty;
    }
}

impl Gatherer {
    /// How long a submission with so many messages to acknowledge may wait for others to share a sync. One that need not wait
    /// takes all before it along.
    fn acknowledge_within_us(&mut self, now_us: u64, origins: usize) -> u64 {
        if origins == 0 {
            return u64::MAX;
        }
        let (waiting, since_us) = self.unasked_origins;
        // Those of longer ago are synced, or just being so.
        let (before, since_us) =
            if now_us < since_us + limits::ACKNOWLEDGE_WITHIN_US { (waiting, since_us) } else { (0, now_us) };
        let is_enough = before + origins >= limits::ACKNOWLEDGE_AT;
        self.unasked_origins = (if is_enough { 0 } else { before + origins }, since_us);
        if is_enough { 0 } else { limits::ACKNOWLEDGE_WITHIN_US }
    }
}
