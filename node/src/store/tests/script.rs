//! A small stand-in for the core: it makes groups of writes from a seed, and knows what must be in the store.

mod check;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use selvedge_core::batch::{BatchContent, ClosedBatch};
use selvedge_core::border::{NewKey, Origin, Restored, Write};
use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use selvedge_core::hash::{Hash, Issuer, Network, NetworkId};
use selvedge_core::journal::{JournalRecord, JournalStream};
use selvedge_core::origins::Origins;
use selvedge_core::payload::{Batch, PayloadKind, StreamSpan};
use selvedge_core::reading::{Quality, Reading, Value};
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};
use selvedge_core::scheme::Scheme;
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::transaction::{Body, Envelope, Reference};

use crate::store::{MemDisk, StoreError, StoreOptions, archive};

const STREAMS: usize = 3;
const FOREIGN: usize = 2;
/// By so much the provisional counters of a floating batch are off.
const SHIFT: u64 = 1_000;
/// The stream whose batches only peers still had.
pub(super) const LOST: &str = "filler/lost";
pub(super) const START_NS: i64 = 1_700_000_000_000_000_000;

/// How far things are: transactions, readings of each stream, own batches in transactions, readings of the lost stream
/// that peers gave back, messages that brought readings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) transactions: usize,
    pub(super) counters: [u64; STREAMS],
    pub(super) batches: u64,
    pub(super) lost: u64,
    pub(super) messages: u64,
}

#[derive(Debug, Clone, Copy)]
struct Tail {
    number: u64,
    sequence: u64,
}

/// What an own transaction carries.
enum Carried {
    Nothing,
    /// A batch, and the journal batch that it was made from.
    Batch(Arc<Batch>, Option<u64>),
}

/// By how much the counters of a journal batch are off; it floats when they are.
const fn shift_of(journal: u64) -> u64 {
    if journal % 4 == 3 { SHIFT } else { 0 }
}

/// A journal batch with the counters that it has on the chain.
fn settled(mut content: BatchContent) -> BatchContent {
    let shift = shift_of(content.number);
    for span in &mut content.streams {
        span.first -= shift;
    }
    for block in &mut content.blocks {
        let journaled = u64::from_le_bytes(block[8..16].try_into().expect("eight bytes"));
        block[8..16].copy_from_slice(&(journaled - shift).to_le_bytes());
    }
    content
}

/// The message with this number.
fn origin_of(number: u64) -> Origin {
    Origin { source: number % 2, packet: number as u16, digest: [7; 16] }
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Script {
    random: u64,
    pub(super) network: Network,
    pub(super) own: Issuer,
    pub(super) transactions: Vec<(Record, Vec<u8>)>,
    /// For each of them, when it is an own batch: the journal batch, and how far the lost stream is after it.
    own_batches: Vec<Option<(Option<u64>, u64)>>,
    origins: Origins,
    tails: BTreeMap<Issuer, Tail>,
    tips: BTreeSet<u64>,
    generations: [u32; STREAMS],
    described: BTreeMap<Hash, Arc<[u8]>>,
    open: BatchContent,
    closed: VecDeque<BatchContent>,
    pub(super) issued: Marks,
    pub(super) acknowledged: Marks,
    ticks: i64,
    pub(super) segment_bytes: u32,
    pub(super) index_every: u64,
}

impl Script {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed,
            network: Network::new(NetworkId([1; 32])),
            own: Issuer([9; 32]),
            transactions: Vec::new(),
            own_batches: Vec::new(),
            origins: Origins::default(),
            tails: BTreeMap::new(),
            tips: BTreeSet::new(),
            generations: [0; STREAMS],
            described: BTreeMap::new(),
            open: BatchContent::new(0),
            closed: VecDeque::new(),
            issued: Marks::default(),
            acknowledged: Marks::default(),
            ticks: 0,
            segment_bytes: 12 * 1024,
            index_every: 5,
        }
    }

    pub(super) fn options(&self) -> StoreOptions<'_> {
        StoreOptions {
            segment_bytes: self.segment_bytes,
            index_every: self.index_every,
            window_records: 8,
            ..StoreOptions::new(&self.network, self.own)
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    /// The group that was made last is durable.
    pub(super) fn acknowledge(&mut self) {
        self.acknowledged = self.issued.clone();
    }

    /// The next group of writes. A batch is sealed on `disk`, as a worker thread would.
    pub(super) fn next_group(&mut self, disk: &MemDisk) -> Result<Vec<Write>, StoreError> {
        let mut writes = Vec::new();
        match self.below(11) {
            0..4 => self.journal(&mut writes),
            4 if self.below(2) == 0 => self.adopt(&mut writes),
            4..6 => self.foreign(&mut writes),
            6 => {
                self.journal(&mut writes);
                self.foreign(&mut writes);
            }
            7 => {
                self.close();
                self.journal(&mut writes);
            }
            _ => {
                self.close();
                for _ in 0..=self.below(3) {
                    self.own_batch(disk, &mut writes)?;
                }
                if self.below(2) == 0 {
                    self.journal(&mut writes);
                }
            }
        }
        if writes.is_empty() {
            self.journal(&mut writes);
        }
        Ok(writes)
    }

    pub(super) fn name_of(stream: usize) -> String {
        format!("filler/stream {stream}")
    }

    fn descriptor(&self, stream: usize) -> Descriptor {
        Descriptor {
            name: Self::name_of(stream),
            device: "filler".into(),
            address: format!("holding {stream}"),
            source_type: "u16".into(),
            unit: format!("unit {}", self.generations[stream]),
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            attestation: Attestation::Gateway,
        }
    }

    pub(super) fn value_of(stream: usize, counter: u64) -> Value {
        if counter % 5 == 3 {
            return Value::Text(format!("text {stream} {counter}"));
        }
        Value::Unsigned(stream as u64 * 1_000_000 + counter)
    }

    pub(super) fn journal(&mut self, writes: &mut Vec<Write>) {
        let (mut streams, mut blocks, mut long) = (Vec::new(), Vec::new(), Vec::new());
        self.ticks += 1;
        let taken_at_ns = START_NS + self.ticks * 1_000_000;
        for _ in 0..=self.below(4) {
            let stream = self.below(STREAMS as u64) as usize;
            if self.below(12) == 0 {
                self.generations[stream] += 1;
            }
            let bytes: Arc<[u8]> = self.descriptor(stream).to_bytes().into();
            let hash = Descriptor::hash_of(&bytes);
            if self.described.insert(hash, Arc::clone(&bytes)).is_none() {
                writes.push(Write::Descriptor { hash, bytes });
            }
            let counter = self.issued.counters[stream];
            let journaled = counter + shift_of(self.open.number);
            let known = self.open.streams.iter().map(|s| s.descriptor);
            let mut table = known.chain(streams.iter().map(|s: &JournalStream| s.descriptor));
            let index = table.position(|descriptor| descriptor == hash).unwrap_or_else(|| {
                streams.push(JournalStream { descriptor: hash, first: journaled });
                self.open.streams.len() + streams.len() - 1
            });
            let value = Self::value_of(stream, counter);
            long.extend_from_slice(value.long_bytes().unwrap_or_default());
            let reading = Reading {
                stream_index: index as u32,
                counter: journaled,
                source_time_ns: taken_at_ns,
                receive_time_ns: taken_at_ns,
                quality: Quality::Good,
                flags: 0,
                status: 0,
                value,
            };
            blocks.extend_from_slice(&reading.to_block());
            self.issued.counters[stream] += 1;
        }
        let mut origins = if self.open.blocks.is_empty() { self.origins.all() } else { Vec::new() };
        if self.below(3) == 0 {
            let origin = origin_of(self.issued.messages);
            self.issued.messages += 1;
            self.origins.push(origin);
            origins.push(origin);
        }
        let (batch, floating) = (self.open.number, shift_of(self.open.number) > 0);
        let record =
            JournalRecord { batch, floating, taken_at_ns, streams, blocks, long, origins }.to_bytes();
        self.open.replay(&record).expect("the script's own record");
        writes.push(Write::Journal { batch: self.open.number, record });
    }

    fn close(&mut self) {
        if !self.open.blocks.is_empty() {
            let next = BatchContent::new(self.open.number + 1);
            self.closed.push_back(std::mem::replace(&mut self.open, next));
        }
    }

    pub(super) fn foreign(&mut self, writes: &mut Vec<Write>) {
        for _ in 0..=self.below(3) {
            let issuer = Issuer([100 + self.below(FOREIGN as u64) as u8; 32]);
            let first = !self.tails.contains_key(&issuer);
            let fork = !first && self.below(8) == 0;
            let payload = self.below(500).to_le_bytes().repeat(1 + self.below(20) as usize);
            let key = first.then(|| NewKey {
                key_number: 0,
                key: Arc::new(PublicKey { scheme: Scheme::MlDsa44, bytes: vec![issuer.0[0]; 1_312] }),
            });
            let kind = if first { PayloadKind::Enrol } else { PayloadKind::Note };
            self.transaction(issuer, kind, payload, key, Carried::Nothing, fork, writes);
        }
    }

    fn own_batch(&mut self, disk: &MemDisk, writes: &mut Vec<Write>) -> Result<(), StoreError> {
        let Some(journaled) = self.closed.front().cloned() else { return Ok(()) };
        let (number, journal) = (self.issued.batches, journaled.number);
        let content = settled(journaled);
        let descriptors =
            content.streams.iter().map(|s| Arc::clone(&self.described[&s.descriptor])).collect();
        let closed = ClosedBatch { number, secret: [number as u8; 32], content, descriptors };
        let (root, segment, segment_bytes) = archive::seal(&closed, disk)?;
        let batch = SealedBatch::new(&closed).payload(root, segment, segment_bytes);
        self.closed.pop_front();
        let payload = codec::encode(&batch);
        let carried = Carried::Batch(Arc::new(batch), Some(journal));
        self.transaction(self.own, PayloadKind::Batch, payload, None, carried, false, writes);
        Ok(())
    }

    /// Everything journaled goes into transactions.
    pub(super) fn issue_all(&mut self, disk: &MemDisk, writes: &mut Vec<Write>) {
        self.close();
        while !self.closed.is_empty() {
            self.own_batch(disk, writes).expect("sealed");
        }
    }

    fn lost_descriptor(&self) -> Descriptor {
        Descriptor { name: LOST.into(), ..self.descriptor(0) }
    }

    /// Peers give back a batch that was lost here with its archive segment and, at first, the descriptor.
    fn adopt(&mut self, writes: &mut Vec<Write>) {
        let bytes: Arc<[u8]> = Descriptor { unit: String::new(), ..self.lost_descriptor() }.to_bytes().into();
        let descriptor = Descriptor::hash_of(&bytes);
        let (first, count) = (self.issued.lost, 1 + self.below(5) as u32);
        let batch = Batch {
            number: self.issued.batches,
            first_time_ns: START_NS,
            last_time_ns: START_NS,
            count,
            root: Hash([1; 32]),
            segment: Hash([self.issued.batches as u8; 32]),
            segment_bytes: 77,
            streams: vec![StreamSpan { descriptor, first, count }],
        };
        let payload = codec::encode(&batch);
        self.issued.lost += u64::from(count);
        let carried = Carried::Batch(Arc::new(batch), None);
        self.transaction(self.own, PayloadKind::Batch, payload, None, carried, false, writes);
        // Described again, with the next one known and with this one not.
        if self.below(2) == 0 && self.described.insert(descriptor, Arc::clone(&bytes)).is_none() {
            writes.push(Write::Descriptor { hash: descriptor, bytes });
        }
    }

    fn reference(&self, number: u64) -> Reference {
        match self.transactions.get(number as usize) {
            Some((record, _)) => {
                Reference { issuer: record.issuer, sequence: record.sequence, id: record.id }
            }
            None => Reference::genesis(self.network.id()),
        }
    }

    #[allow(clippy::too_many_arguments)] // A transaction has as many parts.
    fn transaction(
        &mut self,
        issuer: Issuer,
        kind: PayloadKind,
        payload: Vec<u8>,
        key: Option<NewKey>,
        carried: Carried,
        fork: bool,
        writes: &mut Vec<Write>,
    ) {
        self.ticks += 1;
        let tail = self.tails.get(&issuer).copied();
        // A fork stands beside the tail: same sequence, same previous one.
        let beside = tail.filter(|_| fork).map(|t| self.transactions[t.number as usize].0.prev);
        let prev = beside.unwrap_or_else(|| tail.map_or(GENESIS_NUMBER, |t| t.number));
        let sequence = tail.map_or(0, |t| if fork { t.sequence } else { t.sequence + 1 });
        let tips: Vec<u64> = self.tips.iter().copied().collect();
        let pick = |script: &mut Self| match tips.len() as u64 {
            0 => GENESIS_NUMBER,
            some => tips[script.below(some) as usize],
        };
        let approves = [pick(self), pick(self)];
        let body = Body {
            version: 0,
            issuer,
            sequence,
            prev: self.reference(prev).id,
            approves: approves.map(|number| self.reference(number)),
            witness: None,
            issued_at_ms: (START_NS / 1_000_000 + self.ticks) as u64,
            flags: 0,
            kind: kind as u16,
            payload,
        };
        let body = codec::encode(&body);
        let signature = vec![sequence as u8; 2_420];
        let envelope = codec::encode(&Envelope {
            scheme: Scheme::MlDsa44,
            key_number: 0,
            signature: &signature,
            body: &body,
        });
        let record = Record {
            number: self.transactions.len() as u64,
            id: self.network.transaction_id(&body),
            issuer,
            sequence,
            key: 0,
            flags: flag::PAYLOAD | if fork { flag::SECOND_BRANCH } else { 0 },
            kind: kind as u16,
            prev,
            approves,
            further: Box::new([]),
        };
        if !fork {
            for covered in record.references() {
                self.tips.remove(&covered);
            }
            self.tips.insert(record.number);
            self.tails.insert(issuer, Tail { number: record.number, sequence });
        }
        self.transactions.push((record.clone(), envelope.clone()));
        self.issued.transactions += 1;
        let (batch, journal) = match carried {
            Carried::Nothing => (None, None),
            Carried::Batch(batch, journal) => (Some(batch), journal),
        };
        self.issued.batches += u64::from(batch.is_some());
        self.own_batches.push(batch.is_some().then_some((journal, self.issued.lost)));
        writes.push(Write::Transaction { record, envelope: envelope.into(), key, batch, journal });
    }
}

impl Script {
    /// Goes on from what a restart found.
    pub(super) fn resume(&mut self, marks: &Marks, restored: &Restored) {
        self.transactions.truncate(marks.transactions);
        self.own_batches.truncate(marks.transactions);
        self.origins = Origins::default();
        self.origins.extend(&restored.origins);
        self.tips = restored.tips.iter().copied().collect();
        self.tails.clear();
        for (record, _) in self.transactions.iter().filter(|(r, _)| !r.has(flag::SECOND_BRANCH)) {
            let tail = Tail { number: record.number, sequence: record.sequence };
            self.tails.insert(record.issuer, tail);
        }
        self.described = restored.descriptors.iter().cloned().collect();
        self.closed.clear();
        // A batch that was being sealed may be in the transaction while its last records are still to come.
        let (number, records) = restored.open_batch.clone().unwrap_or((restored.next_batch, Vec::new()));
        self.open = BatchContent::new(number);
        for record in records {
            self.open.replay(&record).expect("a record that was checked");
        }
        self.issued = marks.clone();
        self.acknowledged = marks.clone();
    }
}
