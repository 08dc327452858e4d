//! A model of the store: what it holds, what of it is durable, and nothing about how.
//!
//! Reads see what is durable and no more. A crash keeps what is durable and a prefix of the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use selvedge_core::border::{Ticket, Write};
use selvedge_core::codec;
use selvedge_core::journal::JournalRecord;
use selvedge_core::payload::Batch;
use selvedge_core::reading::{Reading, is_long};
use selvedge_core::record::{Record, Stored};
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::ChainRange;
use selvedge_core::{Hash, Id};

/// A transaction that the store was handed.
#[derive(Debug, Clone)]
pub struct Held {
    /// What the core keeps of it.
    pub record: Record,
    /// Its bytes.
    pub envelope: Arc<[u8]>,
    /// Would a crash leave it?
    pub durable: bool,
}

/// See the module.
#[derive(Debug, Default, Clone)]
pub struct Store {
    /// What a crash leaves, in order.
    durable: Vec<Write>,
    volatile: VecDeque<(Ticket, Vec<Write>)>,
    transactions: BTreeMap<Id, Held>,
    /// Durable transactions in log order.
    log: Vec<Id>,
    /// Archive segments: columns, uncompressed.
    segments: BTreeMap<Hash, Vec<u8>>,
    /// Names of streams by the hash of their descriptors.
    names: BTreeMap<Hash, String>,
    /// Durable readings of each stream by counter, from the journal.
    readings: BTreeMap<String, Vec<Reading>>,
    /// Stream tables of journaled batches.
    tables: BTreeMap<u64, Vec<Hash>>,
    /// Durable batches that are in a transaction, by number.
    batches: Vec<(Id, Arc<Batch>)>,
    /// The first journal batch that is in no transaction.
    next_journal: u64,
    /// It was restored from an old image: counters go on where its chain stands, not where its journal does.
    pub is_restored: bool,
    /// A sync failed: nothing is taken until the next start.
    pub broken: bool,
}

impl Store {
    /// Takes writes over; they are not durable yet.
    pub fn accept(&mut self, ticket: Ticket, writes: Vec<Write>) -> Result<(), String> {
        for write in &writes {
            let Write::Transaction { record, envelope, .. } = write else { continue };
            let held = Held { record: record.clone(), envelope: envelope.clone(), durable: false };
            if self.transactions.insert(record.id, held).is_some() {
                return Err(format!("transaction {} is handed to the store twice", record.id.short()));
            }
        }
        self.volatile.push_back((ticket, writes));
        Ok(())
    }

    /// Makes everything durable up to and including this ticket.
    pub fn sync(&mut self, ticket: Ticket) -> Result<(), String> {
        while self.volatile.front().is_some_and(|(first, _)| *first <= ticket) {
            let Some((_, writes)) = self.volatile.pop_front() else { break };
            writes.into_iter().try_for_each(|write| self.make_durable(write))?;
        }
        Ok(())
    }

    /// The machine stops. Of the writes that are not durable the first `keep` survive.
    pub fn crash(&mut self, keep: usize) -> Result<(), String> {
        let left: Vec<Write> = self.volatile.drain(..).flat_map(|(_, writes)| writes).collect();
        for (place, write) in left.into_iter().enumerate() {
            if place < keep {
                self.make_durable(write)?;
            } else if let Write::Transaction { record, .. } = write {
                self.transactions.remove(&record.id);
            }
        }
        self.broken = false;
        Ok(())
    }

    /// Writes that are not durable.
    pub fn volatile_writes(&self) -> usize {
        self.volatile.iter().map(|(_, writes)| writes.len()).sum()
    }

    /// For a planted fault: the last durable writes are gone.
    pub fn lose_durable(&mut self, count: usize) -> Result<(), String> {
        let mut left = std::mem::take(&mut self.durable);
        left.truncate(left.len().saturating_sub(count));
        *self = Self { segments: std::mem::take(&mut self.segments), ..Self::default() };
        self.accept(Ticket(0), left)?;
        self.sync(Ticket(0))
    }

    fn make_durable(&mut self, write: Write) -> Result<(), String> {
        match &write {
            Write::Descriptor { hash, bytes } => {
                if Descriptor::hash_of(bytes) != *hash {
                    return Err(format!("a descriptor is written under the hash {}", hash.short()));
                }
                let descriptor: Descriptor = codec::decode(bytes).map_err(|why| why.to_string())?;
                self.names.insert(*hash, descriptor.name);
            }
            Write::Journal { batch, record } => self.journal(*batch, record)?,
            Write::Transaction { record, batch, journal, .. } => {
                let held = self.transactions.get_mut(&record.id).ok_or("a write was never accepted")?;
                held.durable = true;
                if record.number != self.log.len() as u64 {
                    return Err(format!("number {} at place {} of the log", record.number, self.log.len()));
                }
                self.log.push(record.id);
                if let Some(journal) = journal {
                    self.next_journal = journal + 1;
                }
                if let Some(batch) = batch {
                    if batch.number != self.batches.len() as u64 {
                        return Err(format!("batch {} follows {} others", batch.number, self.batches.len()));
                    }
                    self.batches.push((record.id, batch.clone()));
                }
            }
        }
        self.durable.push(write);
        Ok(())
    }

    fn journal(&mut self, batch: u64, record: &[u8]) -> Result<(), String> {
        let record: JournalRecord = codec::decode(record).map_err(|why| why.to_string())?;
        if record.batch != batch {
            return Err(format!("a journal record of batch {} goes to batch {batch}", record.batch));
        }
        if batch < self.next_journal {
            return Err(format!("a journal record of batch {batch}, which is in a transaction already"));
        }
        let table = self.tables.entry(batch).or_default();
        table.extend(record.streams.iter().map(|s| s.descriptor));
        let mut long = record.long.as_slice();
        for block in record.blocks() {
            let beside = is_long(block).then(|| {
                let length = u64::from_le_bytes(block[40..48].try_into().expect("eight bytes")) as usize;
                let (bytes, rest) = long.split_at(length.min(long.len()));
                long = rest;
                bytes
            });
            let reading = Reading::from_block(block, beside).map_err(|why| why.to_string())?;
            let descriptor = table.get(reading.stream_index as usize).ok_or("a reading without a stream")?;
            let name = self.names.get(descriptor).ok_or("a reading is journaled before its descriptor")?;
            let readings = self.readings.entry(name.clone()).or_default();
            if reading.counter != readings.len() as u64 && !self.is_restored {
                let (got, expected) = (reading.counter, readings.len());
                return Err(format!("stream {name} has counter {got} in the journal, expected {expected}"));
            }
            readings.push(reading);
        }
        Ok(())
    }

    /// The durable readings of a stream, by counter.
    pub fn readings(&self, stream: &str) -> &[Reading] {
        self.readings.get(stream).map_or(&[], Vec::as_slice)
    }

    /// Names of streams by the hash of their descriptors.
    pub const fn stream_names(&self) -> &BTreeMap<Hash, String> {
        &self.names
    }

    /// Name of the stream with this descriptor.
    pub fn stream_name(&self, descriptor: &Hash) -> Option<&str> {
        self.names.get(descriptor).map(String::as_str)
    }

    /// Would a crash leave this transaction?
    pub fn is_durable(&self, id: &Id) -> bool {
        self.transactions.get(id).is_some_and(|held| held.durable)
    }

    /// A transaction, durable or not.
    pub fn transaction(&self, id: &Id) -> Option<&Held> {
        self.transactions.get(id)
    }

    /// All transactions, durable or not.
    pub fn transactions(&self) -> impl Iterator<Item = &Held> + '_ {
        self.transactions.values()
    }

    /// Durable transactions, in log order.
    pub fn log(&self) -> impl Iterator<Item = &Held> + '_ {
        self.log.iter().filter_map(|id| self.transactions.get(id))
    }

    /// How many transactions are durable.
    pub fn log_len(&self) -> usize {
        self.log.len()
    }

    /// All durable writes, in order.
    pub fn durable(&self) -> &[Write] {
        &self.durable
    }

    /// Durable batches in their order, with the transaction of each.
    pub fn batches(&self) -> &[(Id, Arc<Batch>)] {
        &self.batches
    }

    /// Answers a `Load`.
    pub fn load(&self, references: &[Reference]) -> Vec<Option<Stored>> {
        let durable = |r: &Reference| self.transactions.get(&r.id).filter(|held| held.durable);
        references.iter().map(|r| durable(r).map(|held| Stored::from(&held.record))).collect()
    }

    /// Answers a `LoadBatch`.
    pub fn load_batch(&self, batch: u64) -> Vec<Vec<u8>> {
        let of_batch = |write: &Write| match write {
            Write::Journal { batch: number, record } if *number == batch => Some(record.clone()),
            _ => None,
        };
        self.durable.iter().filter_map(of_batch).collect()
    }

    /// Durable transactions of these stretches in log order, at most so many, and whether there are more.
    pub fn ranges(&self, ranges: &[ChainRange], most: usize) -> (Vec<Arc<[u8]>>, bool) {
        let mut of_branches: BTreeSet<Id> = BTreeSet::new();
        for range in ranges {
            let mut at = range.branch;
            while let Some(held) = at.and_then(|id| self.transactions.get(&id)).filter(|held| held.durable) {
                let record = &held.record;
                if record.issuer != range.issuer || record.sequence < range.from {
                    break;
                }
                of_branches.insert(record.id);
                at = self.log.get(record.prev as usize).copied();
            }
        }
        let covers = |r: &ChainRange, record: &Record| {
            r.branch.is_none() && r.issuer == record.issuer && (r.from..=r.to).contains(&record.sequence)
        };
        let is_asked = |held: &&Held| {
            of_branches.contains(&held.record.id) || ranges.iter().any(|r| covers(r, &held.record))
        };
        let mut found = self.log().filter(is_asked);
        let envelopes: Vec<Arc<[u8]>> = found.by_ref().take(most).map(|held| held.envelope.clone()).collect();
        (envelopes, found.next().is_some())
    }

    /// Writes an archive segment durably.
    pub fn write_segment(&mut self, hash: Hash, columns: Vec<u8>) {
        self.segments.insert(hash, columns);
    }

    /// An archive segment.
    pub fn segment(&self, hash: &Hash) -> Option<&[u8]> {
        self.segments.get(hash).map(Vec::as_slice)
    }
}
