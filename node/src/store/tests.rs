//! The store under crashes, errors and damage. `script.rs` plays the core; every test checks against what it knows.

mod adopted;
mod committer;
mod crash;
mod damage;
mod open;
mod origins;
mod questions;
mod script;
pub(crate) mod serve;

use std::sync::Arc;

use super::{MemDisk, OpenReport, Store, StoreError, StoreReader};
use script::Script;
use selvedge_core::border::Restored;

/// A number from the environment, for longer runs.
pub(super) fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn open(disk: &MemDisk, script: &Script) -> Result<(Store, Restored, OpenReport), StoreError> {
    Store::open(Arc::new(disk.clone()), &script.options())
}

/// Commits groups of the script until `groups` are acknowledged.
fn run(script: &mut Script, disk: &MemDisk, groups: usize) -> (Store, StoreReader) {
    let (mut store, _, _) = open(disk, script).expect("a new store");
    for _ in 0..groups {
        let writes = script.next_group(disk).expect("a group");
        store.commit(&writes).expect("committed");
        script.acknowledge();
    }
    let reader = store.reader();
    (store, reader)
}
