//! Questions beside the writer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use selvedge_core::hash::{Id, Issuer};
use selvedge_core::record::Stored;
use selvedge_core::transaction::Reference;

use super::run;
use super::script::{LOST, START_NS, Script};
use crate::store::{MemDisk, Range, StreamReading};

#[test]
fn transactions_are_found_by_id_number_issuer_and_parent() {
    let (mut script, disk) = (Script::new(41), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 80);
    let records: Vec<_> = script.transactions.iter().map(|(record, _)| record.clone()).collect();
    let references: Vec<Reference> =
        records.iter().map(|r| Reference { issuer: r.issuer, sequence: r.sequence, id: r.id }).collect();
    let loaded = reader.load(&references).expect("reads");
    assert_eq!(loaded, records.iter().map(|r| Some(Stored::from(r))).collect::<Vec<_>>());
    // The same first bytes are not the same id.
    let mut other = references[3];
    other.id.0[31] ^= 1;
    assert_eq!(reader.load(&[other]).expect("reads"), [None]);
    assert_eq!(reader.number_of(&Id([7; 32])).expect("reads"), None);
    for record in &records {
        let children: BTreeSet<u64> =
            records.iter().filter(|r| r.references().any(|n| n == record.number)).map(|r| r.number).collect();
        assert!(reader.children(record.number).expect("reads").iter().eq(&children));
        let beside: Vec<u64> = records
            .iter()
            .filter(|r| (r.issuer, r.sequence) == (record.issuer, record.sequence))
            .map(|r| r.number)
            .collect();
        assert_eq!(reader.chain(&record.issuer, record.sequence).expect("reads"), beside);
    }
    assert_eq!(reader.newest(5).expect("reads"), records[records.len() - 5..]);
    assert_eq!(reader.next_number().expect("reads"), records.len() as u64);
    assert_eq!(reader.record(records.len() as u64).expect("reads"), None);
    assert_eq!(reader.envelope(records.len() as u64).expect("reads"), None);
    assert!(reader.chain(&Issuer([77; 32]), 0).expect("reads").is_empty());
    assert!(reader.issuer_state(&Issuer([77; 32])).expect("reads").is_none());
}

#[test]
fn keys_come_with_the_transactions_that_brought_them() {
    let (mut script, disk) = (Script::new(42), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 30);
    let issuer = Issuer([100; 32]);
    let first = script.transactions.iter().find(|(r, _)| r.issuer == issuer).expect("it issued");
    assert_eq!(reader.key_transactions(&issuer, 0).expect("reads"), std::slice::from_ref(&first.1));
    let state = reader.issuer_state(&issuer).expect("reads").expect("known");
    assert_eq!((state.keys.len(), state.keys[0].brought_by), (1, first.0.number));
    assert!(reader.key_transactions(&script.own, 5).expect("reads").is_empty(), "its key is of the genesis");
}

fn all(readings: crate::store::Readings) -> Vec<StreamReading> {
    readings.collect::<Result<_, _>>().expect("reads")
}

#[test]
fn readings_come_by_time_and_by_number() {
    let (mut script, disk) = (Script::new(43), MemDisk::new());
    let (mut store, reader) = run(&mut script, &disk, 300);
    let mut writes = Vec::new();
    script.journal(&mut writes);
    script.journal(&mut writes);
    script.journal(&mut writes);
    store.commit(&writes).expect("committed");
    let name = Script::name_of(1);
    let whole = all(reader.readings(&name, Range::default()).expect("a stream"));
    assert_eq!(whole.len() as u64, script.issued.counters[1]);
    assert!(whole.iter().any(|r| r.transaction.is_some()) && whole.iter().any(|r| r.transaction.is_none()));
    for last in [0, 1, 7, whole.len(), whole.len() + 1] {
        let range = Range { last: Some(last), ..Range::default() };
        let newest = all(reader.readings(&name, range).expect("a stream"));
        assert_eq!(newest, whole[whole.len().saturating_sub(last)..], "last {last}");
    }
    for (from, to) in [(0, 1_000), (50, 120), (200, 201), (900, 1_000)] {
        let (from_ns, to_ns) = (START_NS + from * 1_000_000, START_NS + to * 1_000_000);
        let expected: Vec<_> =
            whole.iter().filter(|r| (from_ns..to_ns).contains(&r.reading.receive_time_ns)).cloned().collect();
        let range = Range { from_ns: Some(from_ns), to_ns: Some(to_ns), ..Range::default() };
        assert_eq!(all(reader.readings(&name, range).expect("a stream")), expected);
        let range = Range { last: Some(3), ..range };
        let newest = all(reader.readings(&name, range).expect("a stream"));
        assert_eq!(newest, expected[expected.len().saturating_sub(3)..]);
    }
    assert!(all(reader.readings("unknown", Range::default()).expect("no stream")).is_empty());
    assert!(whole.iter().all(|r| r.descriptor.name == name));
}

#[test]
fn streams_show_their_newest_reading_and_its_descriptor() {
    let (mut script, disk) = (Script::new(44), MemDisk::new());
    let (mut store, reader) = run(&mut script, &disk, 1);
    for _ in 0..120 {
        store.commit(&script.next_group(&disk).expect("a group")).expect("committed");
        for info in reader.streams().expect("reads") {
            if info.name == LOST {
                assert_eq!(
                    (info.next_counter, info.newest),
                    (script.issued.lost, None),
                    "not on this machine"
                );
                continue;
            }
            let stream = (0..3).find(|s| Script::name_of(*s) == info.name).expect("a stream of the script");
            let range = Range { last: Some(1), ..Range::default() };
            let newest = all(reader.readings(&info.name, range).expect("a stream")).pop().expect("a reading");
            assert_eq!(info.next_counter, script.issued.counters[stream]);
            assert_eq!(info.descriptor, *newest.descriptor);
            assert_eq!(info.newest, Some(newest));
            let batches = reader.batches_of_stream(&info.name, 1_000).expect("reads");
            assert!(batches.is_sorted_by(|a, b| a > b), "newest first, each once");
            let hash = selvedge_core::stream::Descriptor::hash_of(&info.descriptor.to_bytes());
            assert_eq!(reader.descriptor(&hash).expect("reads"), Some(info.descriptor.to_bytes()));
        }
    }
}

#[test]
fn a_reader_beside_the_writer_sees_no_gap_and_nothing_twice() {
    let (mut script, disk) = (Script::new(45), MemDisk::new());
    let (mut store, reader) = run(&mut script, &disk, 3);
    let (done, shown) = (AtomicBool::new(false), AtomicU64::new(0));
    let acknowledged = [const { AtomicU64::new(0) }; 3];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                for (stream, least) in acknowledged.iter().enumerate() {
                    let least = least.load(Ordering::Acquire);
                    let readings =
                        reader.readings(&Script::name_of(stream), Range::default()).expect("reads");
                    let counters: Vec<u64> = readings.map(|r| r.expect("reads").reading.counter).collect();
                    assert!(counters.iter().copied().eq(0..counters.len() as u64), "{counters:?}");
                    assert!(counters.len() as u64 >= least, "an acknowledged reading is not shown");
                    shown.fetch_add(counters.len() as u64, Ordering::Relaxed);
                }
                let newest = reader.newest(20).expect("reads");
                for record in &newest {
                    assert!(reader.envelope(record.number).expect("reads").is_some());
                }
            }
        });
        for _ in 0..250 {
            store.commit(&script.next_group(&disk).expect("a group")).expect("committed");
            for (counter, reached) in acknowledged.iter().zip(script.issued.counters) {
                counter.store(reached, Ordering::Release);
            }
        }
        done.store(true, Ordering::Release);
    });
    assert!(shown.load(Ordering::Relaxed) > 0);
}

#[test]
fn the_journal_gives_a_closed_batch_back() {
    let (mut script, disk) = (Script::new(46), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 40);
    let (_, restored, _) = {
        let image = disk.crash(crate::store::CrashPolicy::KeepAll, 0);
        super::open(&image, &script).expect("opens")
    };
    let (number, records) = restored.open_batch.expect("an open batch");
    assert_eq!(reader.batch_records(number).expect("reads"), records);
    assert!(reader.batch_records(number + 100).expect("reads").is_empty());
}
