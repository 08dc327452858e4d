//! A small stand-in for the core: it makes groups of writes from a seed, and knows what must be in the store.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use selvedge_core::batch::{BatchContent, ClosedBatch};
use selvedge_core::border::{NewKey, Restored, Write};
use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use selvedge_core::hash::{Hash, Issuer, Network, NetworkId};
use selvedge_core::journal::{JournalRecord, JournalStream};
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::reading::{Quality, Reading, Value};
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};
use selvedge_core::scheme::Scheme;
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::transaction::{Body, Envelope, Reference};

use crate::store::{MemDisk, Range, Store, StoreError, StoreOptions, archive};

const STREAMS: usize = 3;
const FOREIGN: usize = 2;
pub(super) const START_NS: i64 = 1_700_000_000_000_000_000;

/// How far things are: transactions, readings of each stream, own batches in transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) transactions: usize,
    pub(super) counters: [u64; STREAMS],
    pub(super) batches: u64,
}

#[derive(Debug, Clone, Copy)]
struct Tail {
    number: u64,
    sequence: u64,
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct Script {
    random: u64,
    pub(super) network: Network,
    pub(super) own: Issuer,
    pub(super) transactions: Vec<(Record, Vec<u8>)>,
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
        match self.below(10) {
            0..4 => self.journal(&mut writes),
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
            let known = self.open.streams.iter().map(|s| s.descriptor);
            let mut table = known.chain(streams.iter().map(|s: &JournalStream| s.descriptor));
            let index = table.position(|descriptor| descriptor == hash).unwrap_or_else(|| {
                streams.push(JournalStream { descriptor: hash, first: counter });
                self.open.streams.len() + streams.len() - 1
            });
            let value = Self::value_of(stream, counter);
            long.extend_from_slice(value.long_bytes().unwrap_or_default());
            let reading = Reading {
                stream_index: index as u32,
                counter,
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
        let record = JournalRecord { batch: self.open.number, taken_at_ns, streams, blocks, long }.to_bytes();
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
            self.transaction(issuer, kind, payload, key, None, fork, writes);
        }
    }

    fn own_batch(&mut self, disk: &MemDisk, writes: &mut Vec<Write>) -> Result<(), StoreError> {
        let Some(content) = self.closed.front().cloned() else { return Ok(()) };
        let descriptors =
            content.streams.iter().map(|s| Arc::clone(&self.described[&s.descriptor])).collect();
        let closed = ClosedBatch { secret: [content.number as u8; 32], content, descriptors };
        let (root, segment, segment_bytes) = archive::seal(&closed, disk)?;
        let batch = SealedBatch::new(&closed).payload(root, segment, segment_bytes);
        self.closed.pop_front();
        let payload = codec::encode(&batch);
        self.transaction(self.own, PayloadKind::Batch, payload, None, Some(Arc::new(batch)), false, writes);
        self.issued.batches += 1;
        Ok(())
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
        batch: Option<Arc<Batch>>,
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
        writes.push(Write::Transaction { record, envelope: envelope.into(), key, batch });
    }

    /// What the first `count` transactions leave as tips.
    fn tips_after(&self, count: usize) -> BTreeSet<u64> {
        let mut tips = BTreeSet::new();
        for (record, _) in &self.transactions[..count] {
            if !record.has(flag::SECOND_BRANCH) {
                for covered in record.references() {
                    tips.remove(&covered);
                }
                tips.insert(record.number);
            }
        }
        tips
    }

    /// Is everything in the store that was acknowledged, nothing twice, and nothing that was never handed in?
    pub(super) fn check(&self, store: &Store, restored: &Restored) -> Result<Marks, String> {
        let reader = store.reader();
        let fail = |what: &str, got: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| {
            Err(format!("{what}: got {got:?}, expected {expected:?}"))
        };
        let text = |why: StoreError| why.to_string();
        let count = restored.next_number as usize;
        if !(self.acknowledged.transactions..=self.issued.transactions).contains(&count) {
            return fail("transactions", &count, &self.acknowledged.transactions);
        }
        for (record, envelope) in &self.transactions[..count] {
            if reader.record(record.number).map_err(text)?.as_ref() != Some(record) {
                return fail("record", &record.number, record);
            }
            if reader.envelope(record.number).map_err(text)?.as_ref() != Some(envelope) {
                return fail("envelope", &record.number, record);
            }
            if reader.number_of(&record.id).map_err(text)? != Some(record.number) {
                return fail("id", &record.number, record);
            }
        }
        let tips = self.tips_after(count);
        if !restored.tips.iter().eq(&tips) {
            return fail("tips", &restored.tips, &tips);
        }
        let batches = self.transactions[..count].iter().filter(|(r, _)| r.issuer == self.own).count() as u64;
        if restored.next_batch != batches || batches < self.acknowledged.batches {
            return fail("own batches", &restored.next_batch, &batches);
        }
        self.check_recent(restored, count)?;
        let counters = self.check_readings(store, restored)?;
        Ok(Marks { transactions: count, counters, batches })
    }

    fn check_recent(&self, restored: &Restored, count: usize) -> Result<(), String> {
        let window = count.saturating_sub(self.options().window_records) as u64;
        let expected = self.transactions[..count].iter().map(|(record, _)| record);
        let expected = expected.filter(|r| r.number >= window || restored.tips.contains(&r.number));
        if !restored.recent.iter().eq(expected) {
            return Err(format!("recent records: got {:?}", restored.recent));
        }
        let mut places = BTreeSet::new();
        let mut forks = BTreeSet::new();
        let mut greatest_own = 0;
        for (record, envelope) in &self.transactions[..count] {
            if !places.insert((record.issuer, record.sequence)) {
                forks.insert((record.issuer, record.sequence));
            }
            if record.issuer == self.own {
                greatest_own = greatest_own
                    .max(Envelope::open(envelope).expect("own").1.issued_at_ms as i64 * 1_000_000);
            }
        }
        if restored.forks.iter().copied().collect::<BTreeSet<_>>() != forks {
            return Err(format!("forks: got {:?}, expected {forks:?}", restored.forks));
        }
        if restored.last_wall_ns < greatest_own {
            return Err(format!(
                "last wall time: got {}, expected {greatest_own} or later",
                restored.last_wall_ns
            ));
        }
        let issuers: BTreeSet<Issuer> = places.iter().map(|(issuer, _)| *issuer).collect();
        if restored.issuers.iter().map(|s| s.issuer).collect::<BTreeSet<_>>() != issuers {
            return Err(format!("issuers: got {:?}, expected {issuers:?}", restored.issuers));
        }
        for state in &restored.issuers {
            let newest = places.iter().filter(|(issuer, _)| *issuer == state.issuer).map(|(_, s)| *s).max();
            if state.heads.iter().map(|h| h.sequence).max() != newest {
                return Err(format!(
                    "heads of {:?}: got {:?}, expected {newest:?}",
                    state.issuer, state.heads
                ));
            }
            if (state.issuer == self.own) != state.keys.is_empty() {
                return Err(format!("keys of {:?}: got {}", state.issuer, state.keys.len()));
            }
        }
        Ok(())
    }

    fn check_readings(&self, store: &Store, restored: &Restored) -> Result<[u64; STREAMS], String> {
        let reader = store.reader();
        let text = |why: StoreError| why.to_string();
        let mut counters = [0; STREAMS];
        let mut journaled = 0;
        for (stream, counter) in counters.iter_mut().enumerate() {
            let name = Self::name_of(stream);
            for reading in reader.readings(&name, Range::default()).map_err(text)? {
                let got = reading.map_err(text)?;
                if got.reading.counter != *counter || got.reading.value != Self::value_of(stream, *counter) {
                    return Err(format!("{name}: got {:?}, expected counter {counter}", got.reading));
                }
                if got.transaction.is_some() != (got.batch < restored.next_batch) {
                    return Err(format!("{name}: batch {} and transaction {:?}", got.batch, got.transaction));
                }
                journaled += u64::from(got.transaction.is_none());
                *counter += 1;
            }
            let (least, most) = (self.acknowledged.counters[stream], self.issued.counters[stream]);
            if !(least..=most).contains(counter) {
                return Err(format!("{name}: {counter} readings, expected {least} to {most}"));
            }
            let next = restored.streams.iter().find(|s| s.name == name).map_or(0, |s| s.next_counter);
            if next != *counter {
                return Err(format!("{name}: next counter {next}, expected {counter}"));
            }
        }
        let backlog = reader.backlog().map_err(text)?;
        let mut in_batches: u64 =
            restored.closed_batches.iter().map(|(_, readings)| u64::from(*readings)).sum();
        let mut numbers: Vec<u64> = restored.closed_batches.iter().map(|(number, _)| *number).collect();
        if let Some((number, records)) = &restored.open_batch {
            let mut content = BatchContent::new(*number);
            for record in records {
                content.replay(record).map_err(|why| why.to_string())?;
            }
            in_batches += content.blocks.len() as u64;
            numbers.push(*number);
        }
        if in_batches != journaled || backlog.readings != journaled || backlog.batches != numbers.len() as u64
        {
            return Err(format!(
                "backlog {backlog:?}, {in_batches} in batches, expected {journaled} readings"
            ));
        }
        if numbers.first().is_some_and(|n| *n < restored.next_batch) || !numbers.is_sorted_by(|a, b| a < b) {
            return Err(format!("journaled batches {numbers:?}, expected from {} on", restored.next_batch));
        }
        Ok(counters)
    }
}

impl Script {
    /// Goes on from what a restart found.
    pub(super) fn resume(&mut self, marks: &Marks, restored: &Restored) {
        self.transactions.truncate(marks.transactions);
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
