//! From durable writes to `Restored`, as plainly as its documentation says it: a second opinion on what the real
//! store and the core keep step by step.

use std::collections::{BTreeMap, BTreeSet};

use selvedge_core::border::{Head, IssuerKey, IssuerState, Restored, StreamState, Write};
use selvedge_core::codec;
use selvedge_core::journal::JournalRecord;
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::{Body, Envelope};
use selvedge_core::{Hash, Issuer};

use crate::store::Store;

/// What the store of `own` hands to `Node::open` for a window of this many records.
///
/// # Errors
/// When the durable writes contradict themselves.
pub fn restored(store: &Store, own: Issuer, window_records: usize) -> Result<Restored, String> {
    let mut replay = Replay { own, ..Replay::default() };
    for write in store.durable() {
        replay.write(write)?;
    }
    let records = replay.records;
    let tips = tips_of(&records);
    let base = records.len().saturating_sub(window_records) as u64;
    let is_recent = |r: &&Record| r.number >= base || tips.binary_search(&r.number).is_ok();
    let mut waiting: Vec<(u64, Vec<Vec<u8>>, u32)> =
        replay.journal.into_iter().map(|(number, (records, readings))| (number, records, readings)).collect();
    let open_batch = waiting.pop().map(|(number, records, _)| (number, records));
    Ok(Restored {
        next_number: records.len() as u64,
        recent: records.iter().filter(is_recent).cloned().collect(),
        tips: tips.clone(),
        issuers: issuers_of(&records, &replay.keys),
        forks: forks_of(&records)?,
        streams: replay
            .counters
            .into_iter()
            .map(|(name, next_counter)| {
                let chain_counter = replay.on_chain.get(&name).copied().unwrap_or(0);
                StreamState { name, next_counter, chain_counter, carried: Vec::new() }
            })
            .collect(),
        descriptors: replay.descriptors,
        unknown_descriptors: Vec::new(),
        next_chain_batch: replay.next_chain_batch,
        next_batch: replay.next_batch,
        closed_batches: waiting.into_iter().map(|(number, _, readings)| (number, readings)).collect(),
        open_batch,
        origins: Vec::new(),
        last_wall_ns: replay.last_wall_ns,
    })
}

#[derive(Default)]
struct Replay {
    own: Issuer,
    records: Vec<Record>,
    keys: BTreeMap<Issuer, Vec<IssuerKey>>,
    names: BTreeMap<Hash, String>,
    descriptors: Vec<(Hash, std::sync::Arc<[u8]>)>,
    /// Next counters.
    counters: BTreeMap<String, u64>,
    /// Records and number of readings of batches that are not in a transaction.
    journal: BTreeMap<u64, (Vec<Vec<u8>>, u32)>,
    tables: BTreeMap<u64, Vec<Hash>>,
    next_batch: u64,
    next_chain_batch: u64,
    /// One more than the greatest counter in a transaction.
    on_chain: BTreeMap<String, u64>,
    last_wall_ns: i64,
}

impl Replay {
    fn write(&mut self, write: &Write) -> Result<(), String> {
        match write {
            Write::Descriptor { hash, bytes } => {
                let descriptor: Descriptor = codec::decode(bytes).map_err(|why| why.to_string())?;
                self.names.insert(*hash, descriptor.name);
                self.descriptors.push((*hash, bytes.clone()));
            }
            Write::Journal { batch, record } => self.journal(*batch, record)?,
            Write::Transaction { record, envelope, key, batch, journal } => {
                if let Some(new) = key {
                    self.keys.entry(record.issuer).or_default().push(IssuerKey {
                        key_number: new.key_number,
                        brought_by: record.number,
                        key: new.key.clone(),
                    });
                }
                if let Some(batch) = batch {
                    self.next_chain_batch = self.next_chain_batch.max(batch.number + 1);
                    for span in &batch.streams {
                        let name =
                            self.names.get(&span.descriptor).ok_or("a batch without its descriptor")?;
                        let next = self.on_chain.entry(name.clone()).or_default();
                        *next = (*next).max(span.first + u64::from(span.count));
                    }
                }
                if let Some(journal) = journal {
                    self.journal.retain(|number, _| number > journal);
                    self.next_batch = journal + 1;
                }
                if record.issuer == self.own {
                    let envelope: Envelope<'_> = codec::decode(envelope).map_err(|why| why.to_string())?;
                    let body: Body = codec::decode(envelope.body).map_err(|why| why.to_string())?;
                    self.last_wall_ns = self.last_wall_ns.max(body.issued_at_ms as i64 * 1_000_000);
                }
                self.records.push(record.clone());
            }
        }
        Ok(())
    }

    fn journal(&mut self, batch: u64, bytes: &[u8]) -> Result<(), String> {
        let record: JournalRecord = codec::decode(bytes).map_err(|why| why.to_string())?;
        let table = self.tables.entry(batch).or_default();
        table.extend(record.streams.iter().map(|s| s.descriptor));
        for block in record.blocks() {
            let index = u32::from_le_bytes(block[4..8].try_into().expect("four bytes"));
            let counter = u64::from_le_bytes(block[8..16].try_into().expect("eight bytes"));
            let name = table.get(index as usize).and_then(|d| self.names.get(d));
            self.counters.insert(name.ok_or("a reading without a stream")?.clone(), counter + 1);
        }
        self.last_wall_ns = self.last_wall_ns.max(record.taken_at_ns);
        let entry = self.journal.entry(batch).or_default();
        entry.0.push(bytes.to_vec());
        entry.1 += record.blocks().len() as u32;
        Ok(())
    }
}

/// On no second branch, and named by none that is on no second branch.
fn tips_of(records: &[Record]) -> Vec<u64> {
    let members = || records.iter().filter(|r| !r.has(flag::SECOND_BRANCH));
    let covered: BTreeSet<u64> = members().flat_map(Record::references).collect();
    members().map(|r| r.number).filter(|n| !covered.contains(n)).collect()
}

/// Heads are what no later one of the same issuer names as the one before it; their branches stand in the order in
/// which they were attached.
fn issuers_of(records: &[Record], keys: &BTreeMap<Issuer, Vec<IssuerKey>>) -> Vec<IssuerState> {
    let mut heads: BTreeMap<Issuer, Vec<Head>> = BTreeMap::new();
    for record in records {
        let head = Head { number: record.number, sequence: record.sequence, id: record.id };
        let branches = heads.entry(record.issuer).or_default();
        match branches.iter_mut().find(|h| record.prev != GENESIS_NUMBER && h.number == record.prev) {
            Some(before) => *before = head,
            None => branches.push(head),
        }
    }
    let keys_of = |issuer: &Issuer| keys.get(issuer).cloned().unwrap_or_default();
    heads.into_iter().map(|(issuer, heads)| IssuerState { issuer, heads, keys: keys_of(&issuer) }).collect()
}

/// Places with more than one transaction. Checks on the way which of them were taken for second branches.
fn forks_of(records: &[Record]) -> Result<Vec<(Issuer, u64)>, String> {
    let mut firsts: BTreeSet<(Issuer, u64)> = BTreeSet::new();
    let mut places: BTreeMap<(Issuer, u64), u32> = BTreeMap::new();
    for record in records {
        let place = (record.issuer, record.sequence);
        *places.entry(place).or_default() += 1;
        let follows_second = records.get(record.prev as usize).is_some_and(|p| p.has(flag::SECOND_BRANCH));
        let is_second = follows_second || firsts.contains(&place);
        if is_second != record.has(flag::SECOND_BRANCH) {
            return Err(format!("{} at sequence {} is wrongly flagged", record.id.short(), record.sequence));
        }
        if !is_second {
            firsts.insert(place);
        }
    }
    Ok(places.into_iter().filter(|(_, count)| *count > 1).map(|(place, _)| place).collect())
}
