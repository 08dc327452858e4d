//! The power is cut at every operation, and what was not synced is kept, lost, torn or turned into garbage.

use std::sync::Arc;

use super::script::Script;
use super::{from_env, open};
use crate::store::{CrashPolicy, Faults, MemDisk, Store};

const GROUPS: usize = 48;

/// Runs the script until the faults stop it; what was acknowledged before stands in the script.
fn run_until_fault(script: &mut Script, disk: &MemDisk, faults: Faults) {
    disk.set_faults(faults);
    let Ok((mut store, _, _)) = open(disk, script) else { return };
    for _ in 0..GROUPS {
        let Ok(writes) = script.next_group(disk) else { return };
        if store.commit(&writes).is_err() {
            assert!(store.commit(&[]).is_err(), "a handle that failed takes nothing more");
            return;
        }
        script.acknowledge();
    }
    let _ = store.close();
}

fn operations_of(seed: u64) -> u64 {
    let (mut script, disk) = (Script::new(seed), MemDisk::new());
    run_until_fault(&mut script, &disk, Faults::default());
    assert_eq!(script.acknowledged, script.issued, "without faults everything is acknowledged");
    assert!(script.acknowledged.batches > 2 && script.transactions.len() > 20, "the script does enough");
    disk.operations()
}

/// Opens an image, checks it, goes on, and cuts the power once more.
fn check_image(script: &Script, image: &MemDisk, seed: u64) -> Result<(), String> {
    let (mut store, restored, _) = open(image, script).map_err(|why| format!("cannot be opened: {why}"))?;
    let marks = script.check(&store, &restored)?;
    if seed.is_multiple_of(2) {
        same_without_index(script, image, &store, seed)?;
    }
    // It can be written to, and keeps that as well.
    let mut next = Continued::after(script, &marks, &restored);
    next.commit(&mut store)?;
    drop(store);
    let second = image.crash(CrashPolicy::DropAll, seed);
    let (store, restored, _) = open(&second, script).map_err(|why| format!("after the second cut: {why}"))?;
    next.check(&store, &restored)
}

/// What the index says is what the log says.
fn same_without_index(script: &Script, image: &MemDisk, store: &Store, seed: u64) -> Result<(), String> {
    let without = image.crash(CrashPolicy::KeepAll, seed);
    crate::store::Disk::remove(&without, crate::store::index::FILE).map_err(|why| why.to_string())?;
    let (again, restored_again, _) = open(&without, script).map_err(|why| format!("without index: {why}"))?;
    if again.index.dump() != store.index.dump() {
        return Err("the index made again differs".into());
    }
    script.check(&again, &restored_again).map(drop)
}

/// One more reading after a restart.
struct Continued {
    script: Script,
    counters: Vec<u64>,
}

impl Continued {
    fn after(
        script: &Script,
        marks: &super::script::Marks,
        restored: &selvedge_core::border::Restored,
    ) -> Self {
        let mut script = script.clone();
        script.resume(marks, restored);
        Self { script, counters: marks.counters.to_vec() }
    }
    fn commit(&mut self, store: &mut Store) -> Result<(), String> {
        let mut writes = Vec::new();
        self.script.foreign(&mut writes);
        self.script.journal(&mut writes);
        store.commit(&writes).map_err(|why| format!("cannot go on: {why}"))?;
        self.script.acknowledge();
        Ok(())
    }
    fn check(&self, store: &Store, restored: &selvedge_core::border::Restored) -> Result<(), String> {
        let marks =
            self.script.check(store, restored).map_err(|why| format!("after the second cut: {why}"))?;
        if marks.counters.iter().sum::<u64>() <= self.counters.iter().sum() {
            return Err("the reading after the restart is gone".into());
        }
        Ok(())
    }
}

/// Images of one policy; the number that fail, and the first reason.
fn images(policy: CrashPolicy, images: u64, ignore_syncs: Option<&'static str>) -> (u64, Option<String>) {
    const SCRIPTS: u64 = 7;
    let operations: Vec<u64> = (0..SCRIPTS).map(operations_of).collect();
    let (mut failed, mut first) = (0, None);
    let mut acknowledged = 0;
    for image in 0..images {
        let script_seed = image % SCRIPTS;
        let operations = operations[script_seed as usize];
        // Spread over the whole run, each seed at other places.
        let at = (image * 7_919 + image / SCRIPTS) % operations;
        let (mut script, disk) = (Script::new(script_seed), MemDisk::new());
        run_until_fault(
            &mut script,
            &disk,
            Faults { fail_at: Some(at), and_after: true, ignore_syncs, ..Faults::default() },
        );
        acknowledged += script.acknowledged.counters.iter().sum::<u64>();
        let after = disk.crash(policy, image);
        if let Err(why) = check_image(&script, &after, image) {
            failed += 1;
            first.get_or_insert(format!(
                "script {script_seed}, {policy:?} at operation {at}, seed {image}: {why}"
            ));
        }
    }
    println!(
        "{policy:?}: {images} images, {acknowledged} acknowledged readings, {failed} failed, first: {first:?}"
    );
    assert!(acknowledged > 0, "nothing was acknowledged, so nothing could be lost");
    (failed, first)
}

fn nothing_is_lost(policy: CrashPolicy) {
    let count = from_env("SELVEDGE_CRASH_IMAGES", 2_000).div_ceil(CrashPolicy::ALL.len() as u64);
    let (failed, first) = images(policy, count, None);
    assert_eq!((failed, first), (0, None));
}

#[test]
fn nothing_is_lost_when_everything_reached_the_medium() {
    nothing_is_lost(CrashPolicy::KeepAll);
}

#[test]
fn nothing_is_lost_when_nothing_unsynced_did() {
    nothing_is_lost(CrashPolicy::DropAll);
}

#[test]
fn nothing_is_lost_when_some_sectors_did() {
    nothing_is_lost(CrashPolicy::RandomSectors);
}

#[test]
fn nothing_is_lost_when_writes_were_torn() {
    nothing_is_lost(CrashPolicy::Torn);
}

#[test]
fn nothing_is_lost_when_sectors_are_garbage() {
    nothing_is_lost(CrashPolicy::Garbage);
}

/// The test above can fail: with the syncs of one part taken out, it does.
#[test]
fn without_its_syncs_each_part_loses_what_was_acknowledged() {
    for part in ["", "log", "journal", "archive"] {
        let (failed, first) = images(CrashPolicy::DropAll, 40, Some(part));
        assert!(failed > 0, "without the syncs of {part:?} nothing was lost");
        println!("without the syncs of {part:?}: {failed} of 40, first: {first:?}");
    }
}

#[test]
fn an_error_at_any_operation_is_told_and_nothing_acknowledged_is_lost() {
    let operations = operations_of(3);
    for at in 0..operations {
        let (mut script, disk) = (Script::new(3), MemDisk::new());
        run_until_fault(&mut script, &disk, Faults { fail_at: Some(at), ..Faults::default() });
        disk.set_faults(Faults::default());
        check_image(&script, &disk.crash(CrashPolicy::KeepAll, at), at)
            .unwrap_or_else(|why| panic!("error at operation {at}: {why}"));
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() {
    for space in (0..4_000_000).step_by(100_003) {
        let (mut script, disk) = (Script::new(4), MemDisk::new());
        run_until_fault(&mut script, &disk, Faults { space_bytes: Some(space), ..Faults::default() });
        disk.set_faults(Faults::default());
        check_image(&script, &disk.crash(CrashPolicy::DropAll, space), space)
            .unwrap_or_else(|why| panic!("no space after {space} bytes: {why}"));
    }
}

#[test]
fn power_cuts_while_opening_lose_nothing_either() {
    for seed in 0..6 {
        let (mut script, disk) = (Script::new(seed), MemDisk::new());
        let at = operations_of(seed) * (seed + 3) / 10;
        run_until_fault(
            &mut script,
            &disk,
            Faults { fail_at: Some(at), and_after: true, ..Faults::default() },
        );
        let image = disk.crash(CrashPolicy::Garbage, seed);
        for at in 0..400 {
            let again = image.crash(CrashPolicy::KeepAll, 0);
            again.set_faults(Faults { fail_at: Some(at), and_after: true, ..Faults::default() });
            let opened = Store::open(Arc::new(again.clone()), &script.options()).is_ok();
            let policy = CrashPolicy::ALL[(at % 5) as usize];
            check_image(&script, &again.crash(policy, at), at)
                .unwrap_or_else(|why| panic!("seed {seed}, cut at {at} while opening, {policy:?}: {why}"));
            if opened {
                break;
            }
        }
    }
}
