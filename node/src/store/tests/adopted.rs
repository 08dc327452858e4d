//! Own batches that peers gave back to a gateway which was started from an old image: without their archive segments.

use std::collections::BTreeSet;

use selvedge_core::border::Write;
use selvedge_core::reading::Reading;

use super::script::Script;
use super::{open, run};
use crate::store::{CrashPolicy, Disk, MemDisk, Range, StoreError, StreamReading};

/// A machine, an old image of it, and the image after it took back what the machine issued since.
fn restored(seed: u64) -> (Script, MemDisk, MemDisk) {
    let (mut script, machine) = (Script::new(seed), MemDisk::new());
    let (mut store, _) = run(&mut script, &machine, 40);
    let image = machine.crash(CrashPolicy::KeepAll, 0);
    let (mut old, _, _) = open(&image, &script).expect("the image opens");
    for _ in 0..60 {
        let writes = script.next_group(&machine).expect("a group");
        store.commit(&writes).expect("committed");
        let given_back = writes.into_iter().filter_map(|write| match write {
            Write::Transaction { record, envelope, key, batch, .. } => {
                Some(Write::Transaction { record, envelope, key, batch, journal: None })
            }
            Write::Journal { .. } | Write::Descriptor { .. } => None,
        });
        old.commit(&given_back.collect::<Vec<_>>()).expect("given back");
        script.acknowledge();
    }
    old.close().expect("closes");
    (script, machine, image)
}

/// The readings of a stream, and the error that ended them.
fn read(
    readings: impl Iterator<Item = Result<StreamReading, StoreError>>,
) -> (Vec<StreamReading>, Option<StoreError>) {
    let (mut found, mut error) = (Vec::new(), None);
    for reading in readings {
        assert!(error.is_none(), "nothing comes after an error");
        match reading {
            Ok(reading) => found.push(reading),
            Err(why) => error = Some(why),
        }
    }
    (found, error)
}

#[test]
fn numbers_and_counters_go_on_after_what_was_given_back() {
    for seed in 60..66 {
        let (script, _, image) = restored(seed);
        let (store, restored, _) = open(&image, &script).expect("opens");
        assert_eq!(restored.next_chain_batch, script.issued.batches, "seed {seed}");
        assert!(restored.next_batch < script.issued.batches, "journal batches have numbers of their own");
        let mut pending = store.reader().pending().expect("reads");
        let mut left = BTreeSet::new();
        while let Some(batch) = pending.next_batch().expect("reads") {
            for (at, block) in batch.content.blocks.iter().enumerate() {
                let long = batch.content.long.get(&(at as u32)).map(Vec::as_slice);
                let reading = Reading::from_block(block, long).expect("a reading");
                let descriptor = batch.content.streams[reading.stream_index as usize].descriptor;
                let (descriptor, _) = store.reader().described(&descriptor).expect("known");
                assert!(left.insert((descriptor.name.clone(), reading.counter)), "a counter twice");
            }
        }
        for stream in &restored.streams {
            let own = left.iter().filter(|(name, _)| *name == stream.name).map(|(_, counter)| *counter);
            let expected: Vec<u64> = (stream.chain_counter..stream.next_counter).collect();
            assert!(own.eq(expected.iter().copied()), "seed {seed}: {} {expected:?}", stream.name);
        }
        let dump = store.index.dump();
        drop(store);
        image.remove(crate::store::index::FILE).expect("removed");
        let (store, again, report) = open(&image, &script).expect("opens");
        assert!(report.rebuilt.is_some());
        assert_eq!(store.index.dump(), dump, "seed {seed}");
        assert_eq!((again.streams, again.next_batch), (restored.streams, restored.next_batch));
    }
}

#[test]
fn readings_that_are_not_here_are_said_to_be_elsewhere_and_the_others_are_shown() {
    let (script, machine, image) = restored(61);
    let (store, _, _) = open(&image, &script).expect("opens");
    let reader = store.reader();
    let name = Script::name_of(1);
    let (before, error) = read(reader.readings(&name, Range::default()).expect("a stream"));
    let Some(StoreError::NotHere { batch, last, until_ns }) = error else { panic!("{error:?}") };
    let words = StoreError::NotHere { batch, last, until_ns }.to_string();
    assert!(words.contains("not on this machine") && words.contains("adopted from peers"), "{words}");
    assert!(before.iter().map(|r| r.reading.counter).eq(0..before.len() as u64));
    assert!(last >= batch && last < script.issued.batches);
    // From there on, and with the gap passed over.
    let range = Range { from_ns: Some(until_ns + 1), ..Range::default() };
    assert!(read(reader.readings(&name, range).expect("a stream")).1.is_none());
    let range = Range { skip_absent: true, ..Range::default() };
    let (here, error) = read(reader.readings(&name, range).expect("a stream"));
    assert!(error.is_none() && here.len() >= before.len());
    assert!(here.is_sorted_by(|a, b| a.reading.counter < b.reading.counter), "ascending, each once");
    let newest = read(reader.readings(&name, Range { last: Some(3), ..range }).expect("a stream")).0;
    assert_eq!(newest, here[here.len().saturating_sub(3)..]);
    let own = reader.own_batch(batch).expect("reads").expect("listed");
    assert!(own.adopted && matches!(reader.archived(batch, &own), Err(StoreError::NotHere { .. })));
    assert!(reader.streams().is_ok(), "streams are shown all the same");

    // The folder of the lost machine turns up.
    for file in machine.names().iter().filter(|n| n.starts_with("archive/") && image.content(n).is_none()) {
        image.make_dir(file.rsplit_once('/').expect("a folder").0).expect("made");
        let copy = image.create(file).expect("created");
        copy.write_at(0, &machine.content(file).expect("it is there")).expect("written");
    }
    let own = reader.own_batch(batch).expect("reads").expect("listed");
    assert_eq!(reader.archived(batch, &own).expect("it is here").number, batch);
    let (all, error) = read(reader.readings(&name, Range::default()).expect("a stream"));
    assert!(error.is_none(), "{error:?}");
    assert!(all.iter().map(|r| r.reading.counter).eq(0..all.len() as u64) && all.len() > before.len());
}
