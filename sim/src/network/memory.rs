//! What a core holds in memory, estimated: counts times sizes. An allocator's word would be nearer to the truth, but a
//! process holds all gateways of a run at once, and the harness beside them.

use selvedge_core::genesis::PublicKey;
use selvedge_core::node::Status;
use selvedge_core::reading::READING_BYTES;
use selvedge_core::record::Record;
use selvedge_core::{Id, limits};

use super::params::Params;

/// A record in the window: itself, arrival and cones, its place among the ids, and what maps leave empty.
const RECORD_BYTES: u64 = (size_of::<Record>() + 16 + (size_of::<Id>() + 8) * 3 / 2) as u64;
/// One that waits, beside its envelope: body, references, what is known of them, and maps.
const PENDING_BYTES: u64 = 1_024;
/// An issuer: its chain, a head, a key.
const ISSUER_BYTES: u64 = (size_of::<PublicKey>() + 1_312 + 256) as u64;

/// Bytes that a core holds.
pub(super) fn of_core(status: &Status, params: &Params) -> u64 {
    let records = status.attached.min(params.node.window_records as u64) * RECORD_BYTES;
    let pending = status.pending as u64 * PENDING_BYTES + status.pending_bytes as u64;
    let issuers = status.issuers as u64 * ISSUER_BYTES;
    // Of closed batches only the first few stay in memory.
    let held = u64::from(params.batch.readings) * (limits::CLOSED_BATCHES_HELD_MAX as u64 + 2);
    let reading = params.workload.reading.bytes + READING_BYTES as u64 / 3;
    let readings = status.backlog_readings.min(held) * reading;
    records + pending + issuers + readings
}
