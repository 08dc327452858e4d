//! Whole gateways: what a network of them carries, and how long it takes, on the shipped core, in virtual time.
//!
//! No faults but those of the links; for faults there is [`crate::world`]. What is modelled and what is not stands in
//! `sim/README.md`.
//!
//! # Layout
//! - [`params`]: what a run depends on; [`units`], [`delay`], [`links`], [`wires`], [`topology`], [`workload`], [`hardware`]: its words
//! - `begin`: from parameters to a world; `world`: its loop over events; `queue`: the events
//! - `gateway`: one gateway's loop; `machine`: its workers and its disk; `ledger`: its store, and all transactions once
//! - `effects`: what becomes of what a core asks for; `lanes`: what waits to be sent; `tokens`: signatures
//! - [`mod@measure`]: what is measured; `watch`: where; `memory`: estimated; `trace`: the hash over a run

mod begin;
pub mod delay;
mod effects;
mod gateway;
pub mod hardware;
mod lanes;
mod ledger;
pub mod links;
mod machine;
pub mod measure;
mod memory;
pub mod params;
mod queue;
pub mod report;
mod tokens;
pub mod topology;
mod trace;
pub mod units;
mod watch;
pub mod wires;
pub mod workload;
mod world;

use measure::Measured;
use params::{Params, Problem};
pub use report::Report;
use world::World;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Virtual time, microseconds.
    pub time_us: u64,
    /// When it ends at the latest.
    pub end_us: u64,
    /// Attachments so far.
    pub attached: u64,
}

/// Events between two calls of `progress`.
const PROGRESS_EVERY: u64 = 65_536;

/// Runs a network to its end. The same parameters give the same measurements on every machine, but for `cpu_s`.
/// `progress` is told now and then how far it is.
///
/// # Errors
/// What cannot be about the parameters; or a check that did not hold on the way, which is a bug of ledger or simulator.
///
/// # Panics
/// When an assertion of the core does not hold.
pub fn measure(params: &Params, progress: &mut dyn FnMut(Progress)) -> Result<Measured, Problem> {
    params.check().map_err(|problems| problems.into_iter().next().expect("an error names a problem"))?;
    let before = crate::cpu::thread_s();
    let broken = |why: String| {
        let expected = format!("{why}: a bug of ledger or simulator, please report it with this seed");
        Problem::new("seed", params.seed, expected)
    };
    let mut world = World::new(params).map_err(broken)?;
    let end_us = begin::BEGIN_US + params.load.us + params.drain.us;
    let mut events = 0_u64;
    while world.step().map_err(broken)? {
        events += 1;
        if events.is_multiple_of(PROGRESS_EVERY) {
            progress(Progress { time_us: world.now_us, end_us, attached: world.measured.attached });
        }
    }
    let mut measured = world.finish();
    measured.cpu_s = crate::cpu::thread_s() - before;
    Ok(measured)
}

/// Runs a network to its end and makes its report.
///
/// # Errors
/// As [`measure()`].
pub fn run(params: &Params, progress: &mut dyn FnMut(Progress)) -> Result<Report, Problem> {
    measure(params, progress).map(|measured| Report::of(params, &measured))
}
