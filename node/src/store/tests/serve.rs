//! What peers ask for, against a plain search through everything that was written.

use selvedge_core::hash::{Id, Issuer};
use selvedge_core::record::Record;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::ChainRange;

use super::{from_env, run, script::Script};
use crate::store::{MemDisk, Store, StoreReader};

/// A store of the script, for tests of what stands on it: the store to keep, questions, and all transactions in order.
pub(crate) fn filled(seed: u64, groups: usize) -> (Store, StoreReader, Vec<(Record, Vec<u8>)>) {
    let (store, reader, transactions, _) = filled_on(seed, groups);
    (store, reader, transactions)
}

/// The same, with the disk that it lies on.
pub(crate) fn filled_on(seed: u64, groups: usize) -> (Store, StoreReader, Vec<(Record, Vec<u8>)>, MemDisk) {
    let (mut script, disk) = (Script::new(seed), MemDisk::new());
    let (store, reader) = run(&mut script, &disk, groups);
    (store, reader, script.transactions, disk)
}

/// A generator that depends on its seed alone.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// All envelopes at once, and in slices of a few hundred bytes: they are the same.
fn read(reader: &StoreReader, places: &crate::store::Places) -> Vec<Vec<u8>> {
    let all = reader.envelopes_at(&places.list, usize::MAX).expect("reads");
    let mut sliced = Vec::new();
    while sliced.len() < places.list.len() {
        let slice = reader.envelopes_at(&places.list[sliced.len()..], 300).expect("reads");
        assert!(!slice.is_empty());
        sliced.extend(slice);
    }
    assert_eq!(all, sliced);
    all
}

fn in_ranges(record: &Record, ranges: &[ChainRange]) -> bool {
    ranges.iter().any(|r| r.issuer == record.issuer && (r.from..=r.to).contains(&record.sequence))
}

#[test]
fn ranges_with_forks_equal_a_plain_search() {
    let seed = from_env("SELVEDGE_SERVE_SEED", 5);
    println!("seed {seed}");
    let (mut script, disk) = (Script::new(seed), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 500);
    let places: std::collections::BTreeSet<_> =
        script.transactions.iter().map(|(r, _)| (r.issuer, r.sequence)).collect();
    assert!(places.len() < script.transactions.len(), "the script made forks");
    let issuers = [Issuer([100; 32]), Issuer([101; 32]), script.own, Issuer([55; 32])];
    let (mut draw, mut cut, mut whole) = (Draw(seed), 0, 0);
    for _ in 0..400 {
        let ranges: Vec<ChainRange> = (0..=draw.below(5))
            .map(|_| {
                let from = draw.below(120);
                let to = if draw.below(4) == 0 { u64::MAX } else { from + draw.below(200) };
                ChainRange { issuer: issuers[draw.below(4) as usize], from, to, branch: None }
            })
            .collect();
        let most = if draw.below(2) == 0 { 10 } else { 600 };
        let max = 1 + draw.below(most) as usize;
        let expected: Vec<&Vec<u8>> =
            script.transactions.iter().filter(|(r, _)| in_ranges(r, &ranges)).map(|(_, e)| e).collect();
        let found = reader.places_in(&ranges, max).expect("reads");
        assert_eq!(found.more, expected.len() > max, "{ranges:?} {max}");
        let got = read(&reader, &found);
        assert!(got.iter().eq(expected.iter().take(max).copied()), "{ranges:?} {max}");
        if found.more { cut += 1 } else { whole += 1 }
    }
    assert!(cut > 50 && whole > 50, "{cut} cut short, {whole} whole");
}

#[test]
fn a_branch_that_was_attached_late_comes_in_its_place() {
    // A chain of forks only: the second branch at each place is as young as it is.
    let (mut script, disk) = (Script::new(77), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 300);
    let range = ChainRange { issuer: Issuer([101; 32]), from: 0, to: u64::MAX, branch: None };
    let expected: Vec<&Vec<u8>> =
        script.transactions.iter().filter(|(r, _)| r.issuer == range.issuer).map(|(_, e)| e).collect();
    for max in 1..=expected.len() + 1 {
        let found = reader.places_in(&[range, range], max).expect("reads");
        assert_eq!((found.list.len(), found.more), (max.min(expected.len()), max < expected.len()));
        assert!(read(&reader, &found).iter().eq(expected.iter().take(max).copied()), "{max}");
    }
}

#[test]
fn asked_by_id_parents_come_first_and_what_is_not_held_is_left_out() {
    let (mut script, disk) = (Script::new(6), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 60);
    let reference = |n: usize| {
        let record = &script.transactions[n].0;
        Reference { issuer: record.issuer, sequence: record.sequence, id: record.id }
    };
    let missing = Reference { issuer: Issuer([3; 32]), sequence: 1, id: Id([4; 32]) };
    let found =
        reader.places_of(&[reference(9), missing, reference(2), reference(9), reference(4)]).expect("reads");
    let expected = [2, 4, 9].map(|n: usize| script.transactions[n].1.clone());
    assert_eq!(read(&reader, &found), expected);
    assert!(!found.more);
    let none = reader.places_in(&[], 10).expect("reads");
    assert!(none.list.is_empty() && !none.more);
}

#[test]
fn of_a_named_branch_only_that_one_comes() {
    let (mut script, disk) = (Script::new(8), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 400);
    let records: Vec<&Record> = script.transactions.iter().map(|(record, _)| record).collect();
    let (mut draw, mut second) = (Draw(8), 0);
    for _ in 0..500 {
        let head = records[draw.below(records.len() as u64) as usize];
        let from = draw.below(head.sequence + 2);
        let range = ChainRange { issuer: head.issuer, from, to: head.sequence, branch: Some(head.id) };
        let mut expected = Vec::new();
        let mut at = Some(head);
        while let Some(record) = at.filter(|r| r.sequence >= from) {
            expected.insert(0, &script.transactions[record.number as usize].1);
            at = records.get(record.prev as usize).copied();
        }
        second += usize::from(head.has(selvedge_core::record::flag::SECOND_BRANCH));
        let max = 1 + draw.below(40) as usize;
        let found = reader.places_in(&[range], max).expect("reads");
        assert!(read(&reader, &found).iter().eq(expected.iter().take(max).copied()), "{range:?}");
        assert_eq!(found.more, expected.len() > max);
        // A head of another place or issuer is none of this stretch.
        for wrong in [
            ChainRange { to: range.to + 1, ..range },
            ChainRange { issuer: Issuer([55; 32]), ..range },
            ChainRange { branch: Some(Id([5; 32])), ..range },
        ] {
            assert!(reader.places_in(&[wrong], max).expect("reads").list.is_empty());
        }
    }
    assert!(second > 5, "{second} second branches");
}
