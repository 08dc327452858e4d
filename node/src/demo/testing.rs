//! What the demo's tests share.

use std::collections::BTreeMap;
use std::time::Duration;

use super::compare::Agreement;
use super::frame::{Frame, GatewayFrame, Newest, Phase, Shown};
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
        device: "filler-plc modbus-tcp, conveyor-plc opcua, plant-broker mqtt: up".into(),
        device_up: true,
        values,
        phase: Phase::Polling,
        cable: Some("that of \"maker-gateway\", from 5 s; 7 packets lost".into()),
        gateways: vec![
            GatewayFrame {
                name: "filler-gateway".into(),
                readings: 1_320,
                waiting: Backlog { batches: 1, readings: 40, ..Backlog::default() },
                in_core: 40,
                batches: 4,
                transactions: 12,
                peers: 3,
                witnessed: Some((2, 4)),
                bytes_sent: 40_000,
                bytes_received: 50_000,
                is_cut: false,
            },
            GatewayFrame {
                name: "maker-gateway".into(),
                readings: 5,
                waiting: Backlog { batches: 1, readings: 1, ..Backlog::default() },
                in_core: 1,
                batches: 1,
                transactions: 9,
                peers: 3,
                witnessed: None,
                bytes_sent: 0,
                bytes_received: 0,
                is_cut: true,
            },
        ],
        agreement: Agreement {
            transactions: 12,
            payloads: 9,
            witnessed_by_all: 7,
            missing: vec![0, 3],
            unapproved: vec![1, 1],
        },
        tips: 2,
        newest: Some(Newest { number: 0, id: "1a2b3c4d".into(), approves }),
        disk: DiskUsage { log_bytes: 10_000, journal_bytes: 2_000, index_bytes: 300, archive_bytes: 45 },
    }
}
