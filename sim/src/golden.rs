//! Traces that are kept in a file: a machine on which one differs does not run the same ledger.

use std::fmt::Write as _;

use crate::plan::Plan;
use crate::report::Failure;
use crate::run;

/// Seeds with every fault.
const FAULTY: [u64; 4] = [1, 2, 3, 4];
/// Seed of the calm run.
const CALM: u64 = 1;

/// A line for each run: kind, seed, trace hash.
///
/// # Errors
/// When a check of one of them does not hold.
pub fn traces() -> Result<String, Failure> {
    let mut lines = String::new();
    let calm = run(&Plan::calm(CALM, 3, 10_000_000))?;
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "calm {CALM} {}", calm.trace_hash);
    for seed in FAULTY {
        let _ = writeln!(lines, "faulty {seed} {}", run(&Plan::faulty(seed))?.trace_hash);
    }
    Ok(lines)
}
