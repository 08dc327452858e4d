//! What a store would keep of the core's writes, and what it would hand back after a stop or a power cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_core::batch::BatchContent;
use selvedge_core::border::{Head, IssuerKey, IssuerState, Origin, Restored, StreamState, Write};
use selvedge_core::codec;
use selvedge_core::counters::{CarriedSpan, ChainCounters};
use selvedge_core::genesis::PublicKey;
use selvedge_core::journal::JournalRecord;
use selvedge_core::origins::Origins;
use selvedge_core::payload::{Batch, StreamSpan};
use selvedge_core::reading::{Reading, is_long};
use selvedge_core::record::{GENESIS_NUMBER, Record, Stored, flag};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Envelope;
use selvedge_core::{Hash, Id, Issuer};

/// All writes in the order in which they were handed out; the first `durable` of them survive a power cut.
#[derive(Default, Clone)]
pub(crate) struct Store {
    pub(crate) log: Vec<Write>,
    pub(crate) durable: usize,
    /// Archive segments, by the hash that a batch names. (Kept beside the log: `Sealed` says that one is durable.)
    pub(crate) archive: BTreeMap<Hash, SealedBatch>,
    ids: BTreeMap<Id, Stored>,
}

impl Store {
    pub(crate) fn write(&mut self, writes: Vec<Write>) {
        for write in writes {
            if let Write::Transaction { record, .. } = &write {
                let expected = self.ids.len() as u64;
                assert_eq!(record.number, expected, "transactions are written in the order of their numbers");
                let twice = self.ids.insert(record.id, Stored::from(record));
                assert!(twice.is_none(), "{:?} was attached twice", record.id);
            }
            self.log.push(write);
        }
    }

    /// Power is cut: what was not durable is gone.
    pub(crate) fn cut(&mut self) {
        let kept: Vec<Write> = self.log.drain(..self.durable).collect();
        *self = Self { archive: std::mem::take(&mut self.archive), ..Self::default() };
        self.write(kept);
        self.durable = self.log.len();
    }

    pub(crate) fn find(&self, id: &Id) -> Option<Stored> {
        self.ids.get(id).copied()
    }

    /// The key of this number that this issuer's chain brought.
    pub(crate) fn own_key(&self, own: Issuer, number: u32) -> Option<PublicKey> {
        let of = |write: &Write| match write {
            Write::Transaction { record, key: Some(key), .. } => {
                (record.issuer == own && key.key_number == number).then(|| key.key.as_ref().clone())
            }
            _ => None,
        };
        self.log.iter().find_map(of)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.transactions().map(|(record, _)| record)
    }

    pub(crate) fn transactions(&self) -> impl Iterator<Item = (&Record, &Arc<[u8]>)> {
        self.log.iter().filter_map(|write| match write {
            Write::Transaction { record, envelope, .. } => Some((record, envelope)),
            _ => None,
        })
    }

    /// Transactions that a power cut would leave.
    pub(crate) fn durable_transactions(&self) -> usize {
        self.log[..self.durable].iter().filter(|w| matches!(w, Write::Transaction { .. })).count()
    }

    pub(crate) fn is_durable(&self, envelope: &Arc<[u8]>) -> bool {
        self.log[..self.durable]
            .iter()
            .any(|w| matches!(w, Write::Transaction { envelope: kept, .. } if kept == envelope))
    }

    /// Ids of all that is attached.
    pub(crate) fn attached(&self) -> BTreeSet<Id> {
        self.ids.keys().copied().collect()
    }

    /// Own batches in transactions, in order.
    pub(crate) fn batches(&self) -> Vec<Arc<Batch>> {
        let of = |write: &Write| match write {
            Write::Transaction { batch, .. } => batch.clone(),
            _ => None,
        };
        self.log.iter().filter_map(of).collect()
    }

    /// The journal's records of one batch, in order.
    pub(crate) fn journal(&self, batch: u64) -> Vec<Vec<u8>> {
        let of = |write: &Write| match write {
            Write::Journal { batch: b, record } if *b == batch => Some(record.clone()),
            _ => None,
        };
        self.log.iter().filter_map(of).collect()
    }

    /// Journal batches before this one are recycled.
    pub(crate) fn forget_journal_before(&mut self, batch: u64) {
        self.log.retain(|write| !matches!(write, Write::Journal { batch: b, .. } if *b < batch));
        self.durable = self.log.len();
    }

    fn journaled(&self) -> BTreeMap<u64, Vec<Vec<u8>>> {
        let mut batches: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        for write in &self.log {
            if let Write::Journal { batch, record } = write {
                batches.entry(*batch).or_default().push(record.clone());
            }
        }
        batches
    }

    fn descriptors(&self) -> Vec<(Hash, Arc<[u8]>)> {
        let of = |write: &Write| match write {
            Write::Descriptor { hash, bytes } => Some((*hash, bytes.clone())),
            _ => None,
        };
        self.log.iter().filter_map(of).collect()
    }

    /// Every journaled reading, by the name of its stream, in the order of the journal.
    pub(crate) fn readings(&self) -> BTreeMap<String, Vec<Reading>> {
        let names = self.names();
        let mut readings: BTreeMap<String, Vec<Reading>> = BTreeMap::new();
        for records in self.journaled().into_values() {
            let mut table = Vec::new();
            for record in records {
                let record: JournalRecord = codec::decode(&record).expect("a journal record decodes");
                table.extend(record.streams.iter().map(|s| names[&s.descriptor].clone()));
                let mut long = record.long.as_slice();
                for block in record.blocks() {
                    let length = u64::from_le_bytes(block[40..48].try_into().expect("eight bytes"));
                    let beside = is_long(block).then(|| long.split_at(length as usize));
                    let reading =
                        Reading::from_block(block, beside.map(|(bytes, _)| bytes)).expect("a reading");
                    long = beside.map_or(long, |(_, rest)| rest);
                    readings.entry(table[reading.stream_index as usize].clone()).or_default().push(reading);
                }
            }
        }
        readings
    }

    /// Counters of every stream start at 0 and have no gap, in the journal and in the archive, and each batch in a
    /// transaction is what its archive segment holds.
    pub(crate) fn check_readings(&self) {
        for (name, readings) in self.readings() {
            for (expected, reading) in readings.iter().enumerate() {
                assert_eq!(reading.counter, expected as u64, "the counters of {name} have a gap");
            }
        }
        for (number, batch) in self.batches().iter().enumerate() {
            assert_eq!(batch.number, number as u64, "batches are issued in their order");
            let archived = &self.archive[&batch.segment];
            assert_eq!((archived.number, &archived.streams), (batch.number, &batch.streams));
            assert_eq!(archived.root(), batch.root);
            self.check_places(batch, archived);
        }
    }

    /// A reading's place follows from stream and counter alone.
    fn check_places(&self, batch: &Batch, archived: &SealedBatch) {
        let journaled: usize = self
            .journal(batch.number)
            .iter()
            .map(|r| codec::decode::<JournalRecord>(r).expect("it decodes").blocks().len())
            .sum();
        assert_eq!(journaled, archived.blocks.len(), "readings of batch {}", batch.number);
        for (at, block) in archived.blocks.iter().enumerate() {
            let long = archived.long.get(&(at as u32)).map(Vec::as_slice);
            let reading = Reading::from_block(block, long).expect("a reading");
            let place = batch.leaf_index(reading.stream_index, reading.counter);
            assert_eq!(place, Some(at as u64), "the place of {reading:?} in batch {}", batch.number);
        }
    }

    /// What `Node::open` gets after a start.
    pub(crate) fn restored(&self, window: usize) -> Restored {
        let records: Vec<Record> = self.records().cloned().collect();
        let tips = tips_of(&records);
        let from = (records.len()).saturating_sub(window) as u64;
        let is_kept = |r: &Record| r.number >= from || tips.contains(&r.number);
        let mut restored = Restored {
            next_number: records.len() as u64,
            recent: records.iter().filter(|r| is_kept(r)).cloned().collect(),
            tips: tips.into_iter().collect(),
            issuers: self.issuers(),
            forks: forks_of(&records),
            descriptors: self.descriptors(),
            next_chain_batch: self.batches().last().map_or(0, |b| b.number + 1),
            next_batch: self.next_journal_batch(),
            ..Restored::default()
        };
        (restored.streams, restored.unknown_descriptors) = self.streams(restored.next_batch);
        restored.origins = self.origins();
        let mut waiting: Vec<(u64, Vec<Vec<u8>>)> =
            self.journaled().into_iter().filter(|(number, _)| *number >= restored.next_batch).collect();
        restored.open_batch = waiting.pop();
        let readings = |records: &[Vec<u8>]| -> usize {
            records
                .iter()
                .map(|r| codec::decode::<JournalRecord>(r).expect("it decodes").blocks().len())
                .sum()
        };
        restored.closed_batches = waiting.iter().map(|(n, records)| (*n, readings(records) as u32)).collect();
        restored.last_wall_ns = self.last_wall_ns();
        restored
    }

    /// The first journal batch that is in no transaction.
    fn next_journal_batch(&self) -> u64 {
        let of = |write: &Write| match write {
            Write::Transaction { journal: Some(batch), .. } => Some(batch + 1),
            _ => None,
        };
        self.log.iter().filter_map(of).max().unwrap_or(0)
    }

    /// The streams, with what the own chain carries of them and where they stand when the journal from batch
    /// `next_batch` on has its place on the chain; and the counters under descriptors that are not known.
    fn streams(&self, next_batch: u64) -> (Vec<StreamState>, Vec<(Hash, u64)>) {
        let names: BTreeMap<Hash, String> = self.names();
        let (mut unknown, mut spans) = (BTreeMap::new(), BTreeMap::<String, Vec<CarriedSpan>>::new());
        for batch in self.batches() {
            let (first_time_ns, last_time_ns) = (batch.first_time_ns, batch.last_time_ns);
            for StreamSpan { descriptor, first, count } in &batch.streams {
                let span = CarriedSpan { first: *first, count: *count, first_time_ns, last_time_ns };
                match names.get(descriptor) {
                    Some(name) => spans.entry(name.clone()).or_default().push(span),
                    None => drop(unknown.insert(*descriptor, first + u64::from(*count))),
                }
            }
        }
        let mut counters = ChainCounters::default();
        let of = |name: &String| spans.get(name).cloned().unwrap_or_default();
        let end =
            |spans: &[CarriedSpan]| spans.iter().map(|s| s.first + u64::from(s.count)).max().unwrap_or(0);
        let all: BTreeSet<String> = names.values().cloned().collect();
        for name in &all {
            counters.restore(name.clone(), end(&of(name)), of(name), u64::MAX);
        }
        let name_of = |hash: &Hash| names.get(hash).map(String::as_str);
        for (number, records) in self.journaled().into_iter().filter(|(number, _)| *number >= next_batch) {
            let mut content = BatchContent::new(number);
            for record in &records {
                content.replay(record).expect("the core's own record");
            }
            let content = counters.settle(content, false, name_of);
            counters.advance(&content, name_of);
        }
        let state = |name: String| StreamState {
            next_counter: counters.next(&name),
            chain_counter: end(&of(&name)),
            carried: of(&name),
            name,
        };
        (all.into_iter().map(state).collect(), unknown.into_iter().collect())
    }

    /// The messages that brought readings, from all records.
    fn origins(&self) -> Vec<Origin> {
        let mut origins = Origins::default();
        for record in self.journaled().into_values().flatten() {
            origins.extend(&codec::decode::<JournalRecord>(&record).expect("it decodes").origins);
        }
        origins.all()
    }

    /// Streams by descriptor.
    pub(crate) fn names(&self) -> BTreeMap<Hash, String> {
        let name = |bytes: &[u8]| codec::decode::<Descriptor>(bytes).expect("written by the core").name;
        self.descriptors().into_iter().map(|(hash, bytes)| (hash, name(&bytes))).collect()
    }

    fn last_wall_ns(&self) -> i64 {
        let of = |write: &Write| match write {
            Write::Journal { record, .. } => {
                codec::decode::<JournalRecord>(record).expect("it decodes").taken_at_ns
            }
            _ => 0,
        };
        self.log.iter().map(of).max().unwrap_or(0)
    }

    fn issuers(&self) -> Vec<IssuerState> {
        let mut states: BTreeMap<Issuer, IssuerState> = BTreeMap::new();
        for write in &self.log {
            let Write::Transaction { record, key, .. } = write else { continue };
            let fresh = || IssuerState { issuer: record.issuer, heads: Vec::new(), keys: Vec::new() };
            let state = states.entry(record.issuer).or_insert_with(fresh);
            let head = Head { number: record.number, sequence: record.sequence, id: record.id };
            match state.heads.iter_mut().find(|h| h.number == record.prev) {
                Some(before) if record.prev != GENESIS_NUMBER => *before = head,
                _ => state.heads.push(head),
            }
            if let Some(new) = key {
                let (key_number, key) = (new.key_number, new.key.clone());
                state.keys.push(IssuerKey { key_number, brought_by: record.number, key });
            }
        }
        states.into_values().collect()
    }

    /// The body of the transaction with this local number.
    pub(crate) fn body(&self, number: u64) -> selvedge_core::transaction::Body {
        let (_, envelope) = self.transactions().nth(number as usize).expect("it is attached");
        Envelope::open(envelope).expect("what is attached decodes").1
    }
}

/// T without all that a member of T refers to.
fn tips_of(records: &[Record]) -> BTreeSet<u64> {
    let members = || records.iter().filter(|r| !r.has(flag::SECOND_BRANCH));
    let covered: BTreeSet<u64> = members().flat_map(Record::references).collect();
    members().map(|r| r.number).filter(|n| !covered.contains(n)).collect()
}

fn forks_of(records: &[Record]) -> Vec<(Issuer, u64)> {
    let mut places = BTreeSet::new();
    records.iter().map(|r| (r.issuer, r.sequence)).filter(|place| !places.insert(*place)).collect()
}
