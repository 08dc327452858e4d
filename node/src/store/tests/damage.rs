//! Damage that no power cut explains: found, named, and mended where it can be.

use selvedge_core::codec;
use selvedge_core::hash::Hash;

use super::script::Script;
use super::{open, run};
use crate::store::entry::{Carries, LOG, append_transaction};
use crate::store::log::SegmentLog;
use crate::store::{CrashPolicy, Disk, Faults, MemDisk, StoreError, archive, index};
use std::sync::Arc;

fn closed(groups: usize, seed: u64) -> (Script, MemDisk, Vec<String>) {
    let (mut script, disk) = (Script::new(seed), MemDisk::new());
    let (store, _) = run(&mut script, &disk, groups);
    let dump = store.index.dump();
    store.close().expect("closes");
    (script, disk, dump)
}

/// A way to damage an index, and its name.
type Way<'a> = (&'static str, &'a dyn Fn(&MemDisk));

/// Opens, checks everything, and says why the index was made again, if it was.
fn reopened(script: &Script, disk: &MemDisk, dump: &[String]) -> Option<String> {
    let (store, restored, report) = open(disk, script).expect("opens");
    script.check(&store, &restored).expect("everything is there");
    assert_eq!(store.index.dump(), dump);
    report.rebuilt
}

#[test]
fn an_index_that_is_gone_or_damaged_is_made_again() {
    let (script, disk, dump) = closed(40, 11);
    assert_eq!(reopened(&script, &disk, &dump), None, "a good one is used");
    let length = disk.content(index::FILE).expect("it is there").len();
    let ways: [Way<'_>; 6] = [
        ("gone", &|d| d.remove(index::FILE).expect("removed")),
        ("empty", &|d| d.open(index::FILE).expect("opens").set_len(0).expect("cut")),
        ("cut in half", &|d| d.open(index::FILE).expect("opens").set_len(length as u64 / 2).expect("cut")),
        ("a damaged header", &|d| d.damage(index::FILE, 0, &[0x5a; 512])),
        ("all garbage", &|d| d.damage(index::FILE, 0, &vec![0x5a; length])),
        ("marked", &|d| drop(d.create(index::DAMAGED_FILE).expect("created"))),
    ];
    for (what, way) in ways {
        let image = disk.crash(CrashPolicy::KeepAll, 0);
        way(&image);
        assert!(reopened(&script, &image, &dump).is_some(), "{what}: the report says so");
        assert_eq!(reopened(&script, &image, &dump), None, "{what}: only once");
    }
}

#[test]
fn an_index_of_another_folder_is_made_again() {
    let (script, disk, dump) = closed(20, 12);
    let other = MemDisk::new();
    let mut theirs = Script::new(99);
    theirs.own = selvedge_core::hash::Issuer([8; 32]);
    let (store, _) = run(&mut theirs, &other, 5);
    store.close().expect("closes");
    let foreign = other.content(index::FILE).expect("it is there");
    disk.remove(index::FILE).expect("removed");
    disk.create(index::FILE).expect("created").write_at(0, &foreign).expect("written");
    let why = reopened(&script, &disk, &dump).expect("made again");
    assert!(why.contains("another data folder"), "{why}");
}

#[test]
fn a_log_older_than_its_index_is_taken_as_it_is() {
    let (mut script, disk) = (Script::new(13), MemDisk::new());
    let (store, _) = run(&mut script, &disk, 20);
    let older = disk.crash(CrashPolicy::KeepAll, 0);
    drop(store);
    let (mut store, _, _) = open(&disk, &script).expect("opens");
    let mut later = script.clone();
    for _ in 0..10 {
        store.commit(&later.next_group(&disk).expect("a group")).expect("committed");
    }
    store.close().expect("closes");
    // As a restored image has it: everything older but the index.
    older.remove(index::FILE).expect("removed");
    let newer = disk.content(index::FILE).expect("it is there");
    older.create(index::FILE).expect("created").write_at(0, &newer).expect("written");
    let (store, restored, report) = open(&older, &script).expect("opens");
    script.check(&store, &restored).expect("what the log has is there");
    let why = report.rebuilt.expect("made again");
    assert!(why.contains("the disk lost"), "{why}");
    assert!(report.lost_entries > 0);
}

#[test]
fn damage_of_log_or_journal_is_named_not_cut_away() {
    let (script, disk, _) = closed(40, 14);
    for (folder, name) in [("log", "log/000000.seg"), ("journal", "")] {
        let image = disk.crash(CrashPolicy::KeepAll, 0);
        // Of the journal the segment that is written now.
        let name = if name.is_empty() { newest_of(&image, folder) } else { name.to_owned() };
        let before = image.content(&name).expect("it is there")[1_052];
        image.damage(&name, 1_052, &[before ^ 0x10]);
        if folder == "log" {
            image.remove(index::FILE).expect("removed");
        }
        let Err(why) = open(&image, &script) else { panic!("{name}: damage is not seen") };
        let StoreError::Corrupt { file, offset, .. } = &why else { panic!("{name}: {why}") };
        assert_eq!((file.as_str(), *offset), (name.as_str(), 1_024), "{why}");
    }
}

/// The file whose header has the greatest segment number.
fn newest_of(disk: &MemDisk, folder: &str) -> String {
    let number = |name: &String| disk.content(name).expect("it is there")[16..24].to_vec();
    let names = disk.names().into_iter().filter(|n| n.starts_with(folder));
    names.max_by_key(|n| u64::from_le_bytes(number(n).try_into().expect("eight bytes"))).expect("a segment")
}

#[test]
fn a_record_that_is_not_of_its_envelope_is_refused() {
    let (mut script, disk) = (Script::new(15), MemDisk::new());
    let (store, _) = run(&mut script, &disk, 12);
    drop(store);
    let (mut log, _) =
        SegmentLog::open(Arc::new(disk.clone()), LOG, script.segment_bytes).expect("the log alone opens");
    let (mut record, envelope) = script.transactions[0].clone();
    record.number = script.transactions.len() as u64;
    record.id.0[5] ^= 1;
    append_transaction(&mut log, &record, &envelope, None, Carries::Nothing).expect("appended");
    log.sync().expect("synced");
    drop(log);
    let Err(why) = open(&disk, &script) else { panic!("not seen") };
    assert!(why.to_string().contains("its record has id"), "{why}");
}

#[test]
fn archive_segments_are_what_their_name_says_or_refused() {
    let (mut script, disk) = (Script::new(16), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 40);
    let batch = reader.own_batch(0).expect("reads").expect("a batch");
    let sealed = reader.archive_segment(batch.segment).expect("a good one");
    assert_eq!((sealed.number, sealed.blocks.len() as u32), (0, batch.count));
    assert_eq!(archive::write(&sealed, &disk).expect("again"), (batch.segment, batch.segment_bytes));
    let name = disk.names().into_iter().find(|n| n.ends_with(&batch.segment.to_hex())).expect("its file");
    let good = disk.content(&name).expect("it is there");
    for (at, byte) in good.iter().enumerate() {
        disk.damage(&name, at, &[byte ^ 1]);
        let outcome = reader.archive_segment(batch.segment);
        assert!(matches!(outcome, Err(StoreError::Archive { .. })), "byte {at}: {outcome:?}");
        disk.damage(&name, at, &[*byte]);
    }
    for length in 0..good.len() {
        disk.open(&name).expect("opens").set_len(length as u64).expect("cut");
        assert!(reader.archive_segment(batch.segment).is_err(), "{length} bytes");
    }
    disk.open(&name).expect("opens").set_len(1 << 26).expect("grown");
    assert!(reader.archive_segment(batch.segment).is_err(), "too long");
    assert!(disk.largest_read() < 1 << 26, "a file that is too long is not read");
    assert!(reader.archive_segment(Hash([3; 32])).is_err(), "one that is not there");
}

/// Each attempt to seal on a full card left half a segment behind, tried again every second, until the journal had no
/// room either (found by reading).
#[test]
fn a_segment_that_finds_no_room_leaves_nothing_behind() {
    let (mut script, disk) = (Script::new(16), MemDisk::new());
    let (_store, reader) = run(&mut script, &disk, 40);
    let batch = reader.own_batch(0).expect("reads").expect("a batch");
    let sealed = reader.archive_segment(batch.segment).expect("a good one");
    let before = disk.names();
    disk.set_faults(Faults { space_bytes: Some(10), ..Faults::default() });
    archive::write(&sealed, &disk).expect_err("no room");
    disk.set_faults(Faults::default());
    assert_eq!(disk.names(), before);
}

/// A segment may say of itself that it becomes huge.
#[test]
fn a_segment_that_decompresses_without_end_is_refused() {
    let disk = MemDisk::new();
    let bomb = zstd::bulk::compress(&vec![0; 200 << 20], 1).expect("compresses");
    let segment = Hash(selvedge_core::hash::derive(selvedge_core::hash::context::SEGMENT, &bomb));
    let hex = segment.to_hex();
    let file = disk.create(&format!("archive/{}/{hex}", &hex[..2])).expect("created");
    file.write_at(0, &bomb).expect("written");
    let outcome = archive::read(segment, &disk);
    assert!(matches!(outcome, Err(StoreError::Archive { .. })), "{outcome:?}");
}

#[test]
fn writes_that_break_a_rule_poison_the_handle() {
    use selvedge_core::border::Write;
    let refused: [&dyn Fn(&mut Script) -> Write; 3] = [
        &|_| Write::Journal { batch: 0, record: vec![1, 2, 3] },
        &|_| Write::Descriptor { hash: Hash([1; 32]), bytes: codec::encode(&0_u8).into() },
        &|script| {
            let (mut record, envelope) = script.transactions[0].clone();
            record.number = 1_000;
            Write::Transaction { record, envelope: envelope.into(), key: None, batch: None, journal: None }
        },
    ];
    for (at, write) in refused.into_iter().enumerate() {
        let (mut script, disk) = (Script::new(17), MemDisk::new());
        let (mut store, _) = run(&mut script, &disk, 10);
        let write = write(&mut script);
        assert!(store.commit(&[write]).is_err(), "write {at}");
        let outcome = store.commit(&[]);
        assert!(matches!(outcome, Err(StoreError::Poisoned { .. })), "write {at}: {outcome:?}");
        assert!(store.close().is_err());
    }
}
