//! Several data folders laid side by side: do they hold the same transactions, and did every gateway approve what the
//! others signed?
//!
//! Everything comes from the records that the stores keep, over the whole run. What refers to what is a fact about a
//! transaction, whoever holds it: so the past cones are those of all folders together, and what a folder lacks is
//! counted beside that. Folders are read on from where they were read to, so the live view asks the same question.

use std::collections::BTreeMap;

use selvedge_core::record::{Record, flag};
use selvedge_core::{Id, Issuer};

use crate::store::{StoreError, StoreReader};

/// Gateways that can be compared: one bit each.
pub const GATEWAYS_MAX: usize = 64;

/// What the folders hold, as far as they were read.
#[derive(Debug, Clone)]
pub struct Comparison {
    gateways: Vec<Issuer>,
    transactions: BTreeMap<Id, Seen>,
    /// For each folder the ids by local number.
    folders: Vec<Vec<Id>>,
}

/// A transaction that a folder holds.
#[derive(Debug, Clone)]
struct Seen {
    issuer: Issuer,
    has_payload: bool,
    references: Vec<Id>,
    /// One bit for each gateway that has it in the past cone of a transaction of its own.
    approved_by: u64,
    /// One bit for each folder that holds it.
    held_by: u64,
}

/// What a comparison says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Distinct transactions, all folders together.
    pub transactions: u64,
    /// Those of them with a payload.
    pub payloads: u64,
    /// Those with a payload that lie in the past cone of a transaction of every other gateway.
    pub witnessed_by_all: u64,
    /// For each folder how many of the transactions it lacks.
    pub missing: Vec<u64>,
    /// For each gateway how many of the others' payloads it has in no past cone of its own.
    pub unapproved: Vec<u64>,
}

impl Agreement {
    /// Were there two folders at least, and something in them?
    pub fn is_comparison(&self) -> bool {
        self.missing.len() > 1 && self.transactions > 0
    }

    /// Does each transaction with a payload lie in the past cone of a transaction of every other gateway? No, when
    /// there is nothing to compare.
    pub fn witnessed_all(&self) -> bool {
        self.is_comparison() && self.payloads > 0 && self.witnessed_by_all == self.payloads
    }

    /// Does each folder hold each transaction? No, when there is nothing to compare.
    pub fn ledgers_equal(&self) -> bool {
        self.is_comparison() && self.missing.iter().all(|missing| *missing == 0)
    }

    /// Folders that lack nothing.
    pub fn whole(&self) -> usize {
        self.missing.iter().filter(|missing| **missing == 0).count()
    }
}

impl Comparison {
    /// Of the folders of these gateways, in this order; nothing is read yet.
    ///
    /// # Panics
    /// When there are more than [`GATEWAYS_MAX`].
    pub fn new(gateways: Vec<Issuer>) -> Self {
        assert!(gateways.len() <= GATEWAYS_MAX, "one bit for each gateway");
        let folders = vec![Vec::new(); gateways.len()];
        Self { gateways, transactions: BTreeMap::new(), folders }
    }

    /// Reads what a folder holds more than when it was read last.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_on(&mut self, folder: usize, reader: &StoreReader) -> Result<(), StoreError> {
        let next = reader.next_number()?;
        for number in self.folders[folder].len() as u64..next {
            let Some(record) = reader.record(number)? else {
                return Err(StoreError::Write(format!(
                    "transaction {number} of {next} is not in the index, though all before it are"
                )));
            };
            self.add(folder, &record);
        }
        Ok(())
    }

    /// Takes the next record of a folder, in the order of local numbers: parents come first.
    fn add(&mut self, folder: usize, record: &Record) {
        let held = &mut self.folders[folder];
        assert_eq!(record.number, held.len() as u64, "local numbers have no gap");
        let references = record.references().map(|number| held[number as usize]).collect();
        held.push(record.id);
        let is_new = !self.transactions.contains_key(&record.id);
        let seen = self.transactions.entry(record.id).or_insert_with(|| Seen {
            issuer: record.issuer,
            has_payload: record.has(flag::PAYLOAD),
            references,
            approved_by: 0,
            held_by: 0,
        });
        seen.held_by |= 1 << folder;
        // As in the core: whoever forks approves nothing with the second branch.
        if is_new && !record.has(flag::SECOND_BRANCH) {
            self.mark_past(record.id, record.issuer);
        }
    }

    /// Marks the past cone of a transaction for the gateway that signed it.
    fn mark_past(&mut self, id: Id, issuer: Issuer) {
        let Some(place) = self.gateways.iter().position(|gateway| *gateway == issuer) else { return };
        let mark = 1_u64 << place;
        let mut left = vec![id];
        while let Some(at) = left.pop() {
            let seen = self.transactions.get_mut(&at).expect("parents come first, so it was added");
            // Marks go down with every transaction: where one is, the rest of the past has it too.
            if seen.approved_by & mark == 0 {
                seen.approved_by |= mark;
                left.extend(seen.references.iter().copied());
            }
        }
    }

    /// The newest transaction with a payload that a gateway signed: its number in that gateway's own folder.
    pub fn newest_payload(&self, gateway: usize) -> Option<u64> {
        let issuer = self.gateways[gateway];
        let is_it =
            |id: &Id| self.transactions.get(id).is_some_and(|seen| seen.has_payload && seen.issuer == issuer);
        self.folders[gateway].iter().rposition(is_it).map(|number| number as u64)
    }

    /// What it comes to.
    pub fn agreement(&self) -> Agreement {
        let count = self.gateways.len();
        let mut agreement =
            Agreement { missing: vec![0; count], unapproved: vec![0; count], ..Agreement::default() };
        for seen in self.transactions.values() {
            agreement.transactions += 1;
            for (folder, missing) in agreement.missing.iter_mut().enumerate() {
                *missing += u64::from(seen.held_by & (1 << folder) == 0);
            }
            if !seen.has_payload {
                continue;
            }
            agreement.payloads += 1;
            let mut lacks_none = true;
            for (place, gateway) in self.gateways.iter().enumerate() {
                if *gateway != seen.issuer && seen.approved_by & (1 << place) == 0 {
                    agreement.unapproved[place] += 1;
                    lacks_none = false;
                }
            }
            agreement.witnessed_by_all += u64::from(lacks_none);
        }
        agreement
    }
}

#[cfg(test)]
mod tests {
    use selvedge_core::record::GENESIS_NUMBER;

    use super::*;

    const GATEWAYS: usize = 3;

    fn issuer(gateway: usize) -> Issuer {
        Issuer([gateway as u8 + 1; 32])
    }

    fn id(name: u8) -> Id {
        Id([name; 32])
    }

    /// A transaction of the written-down ledger: its name, who signed it, whether it carries a payload, what it names.
    type Written = (u8, usize, bool, &'static [u8]);

    /// Three payloads and, above them, what each gateway approves at last.
    const LEDGER: [Written; 6] = [
        (10, 0, true, &[]),
        (11, 1, true, &[10]),
        (12, 2, true, &[]),
        (20, 0, false, &[10, 11, 12]),
        (21, 1, false, &[11, 20]),
        (22, 2, false, &[12, 20]),
    ];

    /// The records of a folder that holds these, attached in this order.
    fn records(written: &[Written]) -> Vec<Record> {
        let number_of = |name: u8| written.iter().position(|w| w.0 == name).expect("parents first") as u64;
        let record = |(number, (name, gateway, has_payload, names)): (usize, &Written)| {
            let mut references: Vec<u64> = names.iter().map(|name| number_of(*name)).collect();
            references.resize(references.len().max(3), GENESIS_NUMBER);
            Record {
                number: number as u64,
                id: id(*name),
                issuer: issuer(*gateway),
                sequence: 0,
                key: 0,
                flags: if *has_payload { flag::PAYLOAD } else { 0 },
                kind: 0,
                prev: references[0],
                approves: [references[1], references[2]],
                further: references[3..].into(),
            }
        };
        written.iter().enumerate().map(record).collect()
    }

    fn compare(folders: &[Vec<Record>]) -> Comparison {
        let mut comparison = Comparison::new((0..folders.len()).map(issuer).collect());
        for (folder, records) in folders.iter().enumerate() {
            for record in records {
                comparison.add(folder, record);
            }
        }
        comparison
    }

    fn without(names: &[u8]) -> Vec<Record> {
        let left: Vec<Written> = LEDGER.into_iter().filter(|w| !names.contains(&w.0)).collect();
        records(&left)
    }

    #[test]
    fn folders_that_agree() {
        // Attached in another order, the same ledger.
        let mut other = LEDGER;
        other.swap(0, 2);
        other.swap(1, 2);
        let comparison = compare(&[records(&LEDGER), records(&other), records(&LEDGER)]);
        let agreement = comparison.agreement();
        assert!(agreement.witnessed_all() && agreement.ledgers_equal(), "{agreement:?}");
        let expected = Agreement {
            transactions: 6,
            payloads: 3,
            witnessed_by_all: 3,
            missing: vec![0; GATEWAYS],
            unapproved: vec![0; GATEWAYS],
        };
        assert_eq!(agreement, expected);
        // By the numbers of each one's own folder.
        let newest: Vec<_> = (0..GATEWAYS).map(|gateway| comparison.newest_payload(gateway)).collect();
        assert_eq!(newest, [Some(0), Some(2), Some(2)]);
    }

    #[test]
    fn a_transaction_that_one_folder_lacks() {
        // 22 is nobody's parent: the third folder has it, the first never got it.
        let agreement = compare(&[without(&[22]), records(&LEDGER), records(&LEDGER)]).agreement();
        assert!(!agreement.ledgers_equal());
        assert_eq!(agreement.missing, [1, 0, 0]);
        assert_eq!((agreement.transactions, agreement.whole()), (6, 2));
        // It was signed all the same, so each payload is witnessed.
        assert!(agreement.witnessed_all());
    }

    #[test]
    fn a_payload_that_one_gateway_does_not_approve() {
        let mut ledger = LEDGER;
        ledger[5].3 = &[12];
        let same = records(&ledger);
        let agreement = compare(&[same.clone(), same.clone(), same]).agreement();
        assert!(agreement.ledgers_equal() && !agreement.witnessed_all(), "{agreement:?}");
        // The third gateway lacks the payloads of the two others.
        assert_eq!(agreement.unapproved, [0, 0, 2]);
        assert_eq!((agreement.witnessed_by_all, agreement.payloads), (1, 3));
    }

    #[test]
    fn what_lies_far_back_counts_as_well() {
        // A payload long before the others: 100 transactions of the first gateway on top of it, then one of the second.
        let mut first = Vec::new();
        for number in 0..100_u64 {
            let before = number.checked_sub(1).unwrap_or(GENESIS_NUMBER);
            let mut record = records(&LEDGER[..1]).remove(0);
            record.id = id(number as u8);
            record.number = number;
            record.prev = before;
            record.approves = [before; 2];
            first.push(record);
        }
        let alone = compare(&[first.clone(), first.clone()]).agreement();
        assert_eq!((alone.payloads, alone.witnessed_by_all, alone.unapproved), (100, 0, vec![0, 100]));
        let mut top = first[99].clone();
        (top.number, top.id, top.issuer, top.flags) = (100, id(200), issuer(1), 0);
        (top.prev, top.approves) = (GENESIS_NUMBER, [99; 2]);
        first.push(top);
        let agreement = compare(&[first.clone(), first]).agreement();
        assert!(agreement.witnessed_all() && agreement.ledgers_equal(), "{agreement:?}");
    }

    #[test]
    fn a_second_branch_approves_nothing() {
        let mut forked = records(&LEDGER);
        forked[5].flags |= flag::SECOND_BRANCH;
        let agreement = compare(&[forked.clone(), forked.clone(), forked]).agreement();
        assert_eq!(agreement.unapproved, [0, 0, 2]);
    }

    #[test]
    fn where_nothing_is_compared_nothing_holds() {
        let nothing = compare(&[Vec::new(), Vec::new()]).agreement();
        assert!(!nothing.witnessed_all() && !nothing.ledgers_equal());
        let alone = compare(&[records(&LEDGER)]).agreement();
        assert!(!alone.witnessed_all() && !alone.ledgers_equal(), "{alone:?}");
        // Approvals only: equal, and nothing that could be witnessed.
        let notes = records(&[(20, 0, false, &[]), (21, 1, false, &[20])]);
        let notes = compare(&[notes.clone(), notes]).agreement();
        assert!(notes.ledgers_equal() && !notes.witnessed_all());
    }
}
