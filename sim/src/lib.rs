//! The other side of the core's border: a world of gateways, each the shipped `selvedge_core::node::Node` over a
//! model store, in virtual time. One seed decides everything, so the same seed gives the same trace on every machine.
//!
//! # Layout
//! - [`plan`]: every parameter and fault of a run, drawn from its seed
//! - [`world`]: the event queue, the gateways, what happens to effects, and the checks after every step
//! - [`store`]: what a real store does, as plainly as possible; [`restore`]: what it hands to `Node::open`
//! - [`invariants`]: what must hold, one file each, checked after every step
//! - [`oracle`]: what the clients of a gateway were promised, and whether it was kept
//! - [`hostile`]: peers with members' keys that send what they should not
//! - [`case`]: a run by name, as the command that replays it; [`swarm`]: many of them; [`shrink`]: smaller ones that fail
//!   alike; [`tally`]: what went wrong on the way
//! - [`signatures`]: modelled or real
//! - [`network`]: gateways without faults, with links, hardware and load; [`throughput`]: how much load one carries
//! - [`tangle`]: the abstract tangle of the papers, on the core's tip selection
//! - [`scenario`]: runs described in files; [`sweep`]: many of them; [`quick`]: a first look; [`plot`]: plots as SVG
//! - `mutants`: bugs planted in the core, and the hunt for them (feature `planted`)
//! - [`trace`]: the hash over all that went in and came out; [`golden`]: hashes that are kept; [`report`]: what a run
//!   ends with
//! - [`dice`]: random numbers, a stream of each purpose; [`cpu`]: seconds of CPU of a thread
//!
//! The cores gossip by themselves. The world carries their frames in two lanes, sends from the model store what they
//! tell it to, and lets links break and come back.
#![warn(missing_docs)]

pub mod case;
pub mod cpu;
pub mod dice;
pub mod golden;
pub mod hostile;
pub mod invariants;
#[cfg(feature = "planted")]
pub mod mutants;
pub mod network;
pub mod oracle;
pub mod plan;
pub mod plot;
pub mod quick;
pub mod report;
pub mod restore;
pub mod scenario;
pub mod shrink;
pub mod signatures;
pub mod store;
pub mod swarm;
pub mod sweep;
pub mod tally;
pub mod tangle;
pub mod throughput;
pub mod trace;
pub mod world;

pub use plan::Plan;
pub use report::{Failure, Report};

/// Runs a plan to its end. A panic of the core is a failure like any other.
///
/// # Errors
/// The first check that did not hold.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let outcome = invariants::no_panic::guard(|| world::World::new(plan.clone()).run());
    outcome.unwrap_or_else(|broken| Err(Failure::new(plan.seed, None, None, broken)))
}
