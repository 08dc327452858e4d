//! Opening: whose folder it is, who has it, and that a real one is like one in memory.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use selvedge_core::hash::{Issuer, Network, NetworkId};

use super::script::Script;
use super::{open, run};
use crate::store::{CrashPolicy, Disk, MemDisk, RealDisk, Store, StoreError, StoreOptions};

#[test]
fn a_folder_of_another_network_or_issuer_is_refused() {
    let (mut script, disk) = (Script::new(21), MemDisk::new());
    drop(run(&mut script, &disk, 5));
    let other = Network::new(NetworkId([2; 32]));
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let outcome = Store::open(Arc::clone(&disk), &StoreOptions::new(&other, script.own));
    let Err(StoreError::OtherNetwork { got, expected }) = outcome else { panic!("{outcome:?}") };
    assert_eq!((got, expected), (script.network.id(), other.id()));
    let outcome = Store::open(disk, &StoreOptions::new(&script.network, Issuer([5; 32])));
    let Err(StoreError::OtherIssuer { got, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(got, script.own);
}

#[test]
fn a_folder_whose_identity_is_gone_or_damaged_is_refused() {
    let (mut script, disk) = (Script::new(22), MemDisk::new());
    drop(run(&mut script, &disk, 5));
    let length = disk.content("identity").expect("it is there").len();
    for at in 0..length {
        let image = disk.crash(CrashPolicy::KeepAll, 0);
        let before = image.content("identity").expect("it is there")[at];
        image.damage("identity", at, &[before ^ 1]);
        let outcome = open(&image, &script).map(|_| ());
        assert!(matches!(outcome, Err(StoreError::Identity { .. })), "byte {at}: {outcome:?}");
    }
    disk.remove("identity").expect("removed");
    let outcome = open(&disk, &script).map(|_| ());
    assert!(matches!(outcome, Err(StoreError::Identity { .. })), "{outcome:?}");
}

#[test]
fn a_real_folder_is_locked_and_keeps_what_a_folder_in_memory_keeps() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let (mut script, memory) = (Script::new(23), MemDisk::new());
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&path).expect("opens"));
    assert_eq!(path.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    let second = RealDisk::open(&path).map(|_| ());
    let Err(StoreError::Locked { pid, .. }) = &second else { panic!("{second:?}") };
    assert_eq!(*pid, Some(std::process::id()), "the message names the owner");

    let (mut store, _, report) = Store::open(Arc::clone(&disk), &script.options()).expect("a new store");
    assert!(report.new);
    let (mut same, _, _) = open(&memory, &script).expect("a new store");
    for _ in 0..60 {
        let writes = script.next_group(&memory).expect("a group");
        copy_archive(&memory, disk.as_ref());
        store.commit(&writes).expect("committed");
        same.commit(&writes).expect("committed");
        script.acknowledge();
    }
    store.close().expect("closes");
    drop(disk);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&path).expect("free again"));
    let (store, restored, report) = Store::open(disk, &script.options()).expect("opens");
    assert_eq!((report.new, report.replayed, report.rebuilt), (false, 0, None));
    script.check(&store, &restored).expect("everything is there");
    assert_eq!(store.index.dump(), same.index.dump());
    let usage = store.reader().disk_usage().expect("a look");
    assert!(
        usage.log_bytes > 0 && usage.journal_bytes > 0 && usage.index_bytes > 0 && usage.archive_bytes > 0
    );
}

/// Archive segments that the script sealed in memory.
fn copy_archive(from: &MemDisk, to: &dyn Disk) {
    for name in from.names().iter().filter(|n| n.starts_with("archive/")) {
        if to.open(name).is_err() {
            to.make_dir(name.rsplit_once('/').expect("a folder").0).expect("made");
            let file = to.create(name).expect("created");
            file.write_at(0, &from.content(name).expect("it is there")).expect("written");
        }
    }
}

#[test]
fn the_journal_stays_small() {
    let (mut script, disk) = (Script::new(24), MemDisk::new());
    drop(run(&mut script, &disk, 400));
    assert!(script.acknowledged.batches > 60, "{:?}", script.acknowledged);
    let files = disk.names().iter().filter(|n| n.starts_with("journal/")).count();
    assert!(files <= 4, "{files} segments");
}

#[test]
fn an_index_behind_the_log_catches_up() {
    let (mut script, disk) = (Script::new(25), MemDisk::new());
    script.index_every = 1_000_000;
    let (store, _) = run(&mut script, &disk, 70);
    let dump = store.index.dump();
    let image = disk.crash(CrashPolicy::DropAll, 0);
    let (store, restored, report) = open(&image, &script).expect("opens");
    assert!(report.replayed > 50 && report.rebuilt.is_none(), "{report:?}");
    script.check(&store, &restored).expect("everything is there");
    assert_eq!(store.index.dump(), dump);
}
