//! The messages that brought readings stay known when their batches are in transactions and the journal is freed.

use selvedge_core::border::Restored;

use super::open;
use super::script::Script;
use crate::store::{CrashPolicy, MemDisk, Store};

/// Commits `groups` submissions, all of one batch, and then its transaction: nothing is left in the journal.
fn one_batch(script: &mut Script, disk: &MemDisk, store: &mut Store, groups: usize) {
    for _ in 0..groups {
        let mut writes = Vec::new();
        script.journal(&mut writes);
        store.commit(&writes).expect("committed");
        script.acknowledge();
    }
    let mut writes = Vec::new();
    script.issue_all(disk, &mut writes);
    store.commit(&writes).expect("committed");
    script.acknowledge();
}

/// A freed batch may begin in another segment than the last one, and its first record has what is to be known of all
/// before it: the segment was recycled, and a message that came again was recorded twice.
#[test]
fn messages_are_known_when_all_batches_are_in_transactions() {
    for groups in [1, 3, 40, 150] {
        let (mut script, disk) = (Script::new(71), MemDisk::new());
        script.segment_bytes = 8 * 1024;
        let (mut store, _, _) = open(&disk, &script).expect("a new store");
        for _ in 0..3 {
            one_batch(&mut script, &disk, &mut store, 20);
        }
        one_batch(&mut script, &disk, &mut store, groups);
        assert_eq!(store.reader().backlog().expect("reads").batches, 0, "everything is freed");
        drop(store);
        let image = disk.crash(CrashPolicy::DropAll, 0);
        let (mut store, restored, _) = open(&image, &script).expect("opens");
        check(&script, &store, &restored, groups);
        // Freed once more by a start that found nothing to do.
        let mut writes = Vec::new();
        script.foreign(&mut writes);
        store.commit(&writes).expect("committed");
        script.acknowledge();
        drop(store);
        let (store, restored, _) = open(&image, &script).expect("opens");
        check(&script, &store, &restored, groups);
    }
}

fn check(script: &Script, store: &Store, restored: &Restored, groups: usize) {
    script.check(store, restored).unwrap_or_else(|why| panic!("{groups} records in the last batch: {why}"));
    assert_eq!(restored.origins.len() as u64, script.issued.messages);
}
