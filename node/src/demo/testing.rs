//! What the demo's tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::{Frame, Newest, Shown};
use crate::store::{Backlog, DiskUsage};

/// A moment in which everything has something to show.
pub(crate) fn frame() -> Frame {
    let values = [
        ("conveyor/bottles", 4.0),
        ("conveyor/speed", 0.0),
        ("filler/bottle/fill", 312.0),
        ("filler/flow", 29.84),
        ("filler/pump/on", 1.0),
        ("filler/tank/level", 40.31),
        ("filler/tank/temperature", 9.0),
        ("filler/valve/open", 1.0),
    ];
    let values: BTreeMap<_, _> =
        values.into_iter().map(|(name, value)| (name.to_owned(), Shown { value, good: true })).collect();
    let approves = ["genesis".to_owned(), "genesis".to_owned()];
    Frame {
        elapsed: Duration::from_millis(7_400),
        run_for: Duration::from_secs(20),
        device: "filler-plc at 127.0.0.1:502 unit 1 (modbus-tcp): up".into(),
        device_up: true,
        values,
        readings: 1_320,
        waiting: Backlog { batches: 1, readings: 40 },
        batches: 1,
        transactions: 1,
        tips: 1,
        newest: Some(Newest { number: 0, id: "1a2b3c4d".into(), approves }),
        disk: DiskUsage { log_bytes: 10_000, journal_bytes: 2_000, index_bytes: 300, archive_bytes: 45 },
    }
}
