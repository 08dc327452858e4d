//! What answers at an address, and what it has: which units, SunSpec models, readable registers.
//!
//! It only reads, one question at a time over one connection. What it finds becomes a configuration ([`mod@file`]).
//!
//! | file | what is in it |
//! |---|---|
//! | `ask.rs` | one connection, one question at a time, pauses where nothing answers |
//! | `unit.rs` | what one unit has |
//! | `ranges.rs` | pure: which registers can be read at all |
//! | `file.rs` | pure: the configuration |

mod ask;
pub mod file;
mod ranges;
#[cfg(test)]
mod tests;
mod unit;

use std::time::Duration;

pub use ranges::{Range, Readable};
use thiserror::Error;

use super::sunspec::decode::Model;
use ask::{Asker, Unreachable};

/// What is scanned.
#[derive(Debug, Clone)]
pub struct Request {
    /// Host and port.
    pub address: String,
    /// Which units, in order.
    pub units: Vec<u8>,
    /// How long an answer, or a connection, may take. Longer than a gateway in front of a serial line waits for a unit
    /// that is not there, so that it can say so.
    pub timeout: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Scanned {
    /// Host and port.
    pub address: String,
    /// The units that were asked, in order.
    pub units: Vec<Unit>,
    /// Questions that were asked.
    pub questions: u64,
    /// Why the scan ended before all units were asked, if it did.
    pub cut_short: Option<String>,
}

/// A unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Unit {
    /// Which.
    pub unit_id: u8,
    /// Does it answer?
    pub answer: Answering,
    /// What it says of itself (function 43/14): `VendorName`, `ProductCode` and so on. Mostly empty: few units know it.
    pub identification: Vec<(String, String)>,
    /// Its SunSpec models, if it has any.
    pub sunspec: Option<SunSpec>,
    /// What can be read, of a unit without SunSpec.
    pub readable: Vec<Readable>,
}

/// Does a unit answer?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answering {
    /// Yes, be it with an exception.
    Yes,
    /// Yes, with the same SunSpec serial number and models as this unit: it is the same device under another number.
    As(u8),
    /// No: why.
    No(String),
}

/// The SunSpec models of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct SunSpec {
    /// The register that holds `SunS`.
    pub base: u16,
    /// Its models, in order.
    pub models: Vec<Model>,
    /// Why the chain of models ended before its end mark, if it did.
    pub broken: Option<String>,
    /// Most registers that the device lets one request name.
    pub max_registers: u16,
}

/// The scan could not begin.
#[derive(Debug, Error)]
#[error("{address}: {why}")]
pub struct ScanError {
    /// Host and port.
    pub address: String,
    /// Why nobody can be asked there.
    pub why: String,
}

impl Scanned {
    /// The units that answer.
    pub fn answering(&self) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(|unit| !matches!(unit.answer, Answering::No(_)))
    }
}

/// Asks all units, in order. `progress` gets a line for each thing that may take a while.
///
/// # Errors
/// When nothing can be connected to. When that is so only later, what was found until then is the answer.
pub async fn scan(request: &Request, progress: impl Fn(&str)) -> Result<Scanned, ScanError> {
    let mut asker = Asker::new(request.address.clone(), request.timeout);
    let mut units: Vec<Unit> = Vec::new();
    let mut cut_short = None;
    for &unit_id in &request.units {
        let mut found = match unit::scan(&mut asker, unit_id, &progress).await {
            Ok(found) => found,
            Err(Unreachable(why)) if units.is_empty() => {
                return Err(ScanError { address: request.address.clone(), why });
            }
            Err(Unreachable(why)) => {
                cut_short = Some(format!("at unit {unit_id}: {why}"));
                break;
            }
        };
        if let Some(same) = units.iter().find(|known| unit::is_same_device(known, &found)) {
            found.answer = Answering::As(same.unit_id);
        }
        units.push(found);
    }
    Ok(Scanned { address: request.address.clone(), units, questions: asker.questions, cut_short })
}
