//! # Stamps never fall while the clock is not synchronised
//!
//! Readings say whether the clock was synchronised when they were taken, and say it truly. Two stamps in a row that were
//! taken while it was not: the later one is not below the earlier one, across restarts and jumps of the wall clock.

use selvedge_core::journal::JournalRecord;
use selvedge_core::reading::FLAG_UNSYNCHRONISED;

use super::{Held, Invariant};

/// A record goes to the journal. Gives the new last stamp, nanoseconds since 1970.
///
/// # Errors
/// When it says something untrue of the clock, or falls back.
pub fn stamped(record: &JournalRecord, is_synchronised: bool, last_stamp_ns: i64) -> Held<i64> {
    let unsynchronised = record.blocks().iter().any(|b| b[3] & FLAG_UNSYNCHRONISED != 0);
    Invariant::Clock.ensure(
        unsynchronised != is_synchronised,
        || "its readings do not say whether the clock is synchronised",
    )?;
    Invariant::Clock.ensure(!unsynchronised || record.taken_at_ns >= last_stamp_ns, || {
        let back_ns = last_stamp_ns - record.taken_at_ns;
        format!("an unsynchronised stamp falls {back_ns} ns below the last one")
    })?;
    Ok(record.taken_at_ns)
}
