//! All transactions of a run, each once, whatever number of gateways holds it; and the model store of one gateway,
//! which names them by their place here.
//!
//! The store keeps what [`crate::store`] promises: nothing is durable before its sync, the log stands in the order of
//! attaching, reads see what is durable and no more. It runs without crashes, so it forgets what no read asks for.
//! No gateway of these runs forks its chain; that is checked as transactions come in.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use selvedge_core::border::{Ticket, Write};
use selvedge_core::record::{Record, Stored};
use selvedge_core::transaction::Reference;
use selvedge_core::wire::ChainRange;
use selvedge_core::{Id, Issuer};

/// Ids are hashes already: eight bytes of one serve as they are. For look-ups only.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
    fn write_usize(&mut self, _: usize) {
        // The length of the array, alike for all.
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

type ById<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) id: Id,
    /// Place of its gateway.
    pub(super) issuer: u32,
    pub(super) sequence: u64,
    pub(super) envelope: Arc<[u8]>,
    /// Does it carry something that others approve?
    pub(super) has_payload: bool,
    pub(super) made_us: u64,
    /// Gateways at which it is attached.
    pub(super) attached: u32,
    /// When its readings were submitted, and how many each time. Dropped once nothing is to be measured any more.
    pub(super) submitted: Vec<(u64, u32)>,
    pub(super) is_witnessed: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    transactions: Vec<Transaction>,
    places: ById<Id, u32>,
    /// Places of the transactions of each gateway, by sequence.
    chains: Vec<Vec<u32>>,
    gateways: ById<Issuer, u32>,
    issuers: Vec<Issuer>,
}

impl Ledger {
    pub(super) fn new(issuers: &[Issuer]) -> Self {
        Self {
            chains: vec![Vec::new(); issuers.len()],
            gateways: issuers.iter().enumerate().map(|(at, issuer)| (*issuer, at as u32)).collect(),
            issuers: issuers.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.transactions.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Transaction> {
        self.transactions.iter()
    }

    pub(super) fn get(&self, place: u32) -> &Transaction {
        &self.transactions[place as usize]
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut Transaction {
        &mut self.transactions[place as usize]
    }

    pub(super) fn place_of(&self, id: &Id) -> Option<u32> {
        self.places.get(id).copied()
    }

    /// A gateway made a transaction; its place.
    ///
    /// # Errors
    /// When it does not continue its chain.
    pub(super) fn made(&mut self, transaction: Transaction) -> Result<u32, String> {
        let place = self.transactions.len() as u32;
        let chain = &mut self.chains[transaction.issuer as usize];
        if chain.len() as u64 != transaction.sequence {
            let (got, expected) = (transaction.sequence, chain.len());
            return Err(format!("gateway {} made sequence {got}, expected {expected}", transaction.issuer));
        }
        chain.push(place);
        if self.places.insert(transaction.id, place).is_some() {
            return Err(format!("{} was made twice", transaction.id.short()));
        }
        self.transactions.push(transaction);
        Ok(place)
    }

    /// Places of a stretch of a chain.
    fn stretch(&self, issuer: &Issuer, from: u64, to: u64) -> &[u32] {
        let chain = self.gateways.get(issuer).map_or(&[][..], |at| &self.chains[*at as usize]);
        let to = chain.len().min(usize::try_from(to).unwrap_or(usize::MAX).saturating_add(1));
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(to);
        &chain[from..to]
    }
}

/// What a store keeps of an attached transaction beside the ledger.
#[derive(Debug, Clone, Copy)]
struct Held {
    place: u32,
    key: u16,
    flags: u8,
}

/// The model store of one gateway.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// Handed in and not durable, in order.
    volatile: VecDeque<(Ticket, Vec<Write>)>,
    /// Durable transactions, in the order of attaching.
    log: Vec<Held>,
    /// For each place of the ledger one more than its number in the log, 0 when it is not there.
    numbers: Vec<u32>,
    /// Durable journal records of batches that no durable transaction carries yet.
    journal: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl Store {
    /// Takes writes over; they are not durable yet.
    pub(super) fn accept(&mut self, ticket: Ticket, writes: Vec<Write>) {
        self.volatile.push_back((ticket, writes));
    }

    /// Makes the oldest so many of what was handed in durable; their tickets.
    ///
    /// # Errors
    /// When a transaction does not have the next number of the log, or its bytes are not those that its issuer made.
    pub(super) fn sync(&mut self, count: usize, ledger: &Ledger) -> Result<Vec<Ticket>, String> {
        let mut tickets = Vec::with_capacity(count);
        for _ in 0..count {
            let Some((ticket, writes)) = self.volatile.pop_front() else { break };
            tickets.push(ticket);
            for write in writes {
                match write {
                    Write::Transaction { record, envelope, journal, .. } => {
                        self.log(&record, &envelope, ledger)?;
                        if let Some(journal) = journal {
                            self.journal = self.journal.split_off(&(journal + 1));
                        }
                    }
                    Write::Journal { batch, record } => self.journal.entry(batch).or_default().push(record),
                    Write::Descriptor { .. } => {}
                }
            }
        }
        Ok(tickets)
    }

    fn log(&mut self, record: &Record, envelope: &[u8], ledger: &Ledger) -> Result<(), String> {
        if record.number != self.log.len() as u64 {
            return Err(format!("number {} at place {} of the log", record.number, self.log.len()));
        }
        let place = ledger.place_of(&record.id).ok_or("a transaction is stored that nobody made")?;
        if *ledger.get(place).envelope != *envelope {
            return Err(format!("{} is stored with other bytes than it was made with", record.id.short()));
        }
        if self.numbers.len() <= place as usize {
            self.numbers.resize(ledger.len(), 0);
        }
        if self.numbers[place as usize] != 0 {
            return Err(format!("{} is stored twice", record.id.short()));
        }
        self.log.push(Held { place, key: record.key, flags: record.flags });
        self.numbers[place as usize] = self.log.len() as u32;
        Ok(())
    }

    fn number(&self, place: u32) -> Option<u32> {
        self.numbers.get(place as usize)?.checked_sub(1)
    }

    /// Answers a `Load`.
    pub(super) fn load(&self, references: &[Reference], ledger: &Ledger) -> Vec<Option<Stored>> {
        let stored = |reference: &Reference| {
            let place = ledger.place_of(&reference.id)?;
            let (number, of) = (self.number(place)?, ledger.get(place));
            let held = self.log[number as usize];
            let (number, issuer) = (u64::from(number), ledger.issuers[of.issuer as usize]);
            Some(Stored { number, issuer, sequence: of.sequence, key: held.key, flags: held.flags })
        };
        references.iter().map(stored).collect()
    }

    /// Answers a `LoadBatch`.
    pub(super) fn load_batch(&self, batch: u64) -> Vec<Vec<u8>> {
        self.journal.get(&batch).cloned().unwrap_or_default()
    }

    /// The envelope of a durable transaction.
    pub(super) fn envelope(&self, id: &Id, ledger: &Ledger) -> Option<Arc<[u8]>> {
        let place = ledger.place_of(id)?;
        self.number(place).map(|_| ledger.get(place).envelope.clone())
    }

    /// Durable transactions of these stretches in log order, at most so many, and whether there are more.
    pub(super) fn ranges(
        &self,
        ranges: &[ChainRange],
        most: usize,
        ledger: &Ledger,
    ) -> (Vec<Arc<[u8]>>, bool) {
        let mut numbers: Vec<u32> = Vec::new();
        for range in ranges {
            let is_held = |id: &Id| ledger.place_of(id).is_some_and(|place| self.number(place).is_some());
            if range.branch.as_ref().is_some_and(|id| !is_held(id)) {
                continue;
            }
            let stretch = ledger.stretch(&range.issuer, range.from, range.to);
            numbers.extend(stretch.iter().filter_map(|place| self.number(*place)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        let more = numbers.len() > most;
        let envelope = |number: &u32| ledger.get(self.log[*number as usize].place).envelope.clone();
        (numbers.iter().take(most).map(envelope).collect(), more)
    }
}
