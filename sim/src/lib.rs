//! The other side of the core's border: a world of gateways, each the shipped `selvedge_core::node::Node` over a
//! model store, in virtual time. One seed decides everything, so the same seed gives the same trace on every machine.
//!
//! # Layout
//! - [`plan`]: every parameter and fault of a run, drawn from its seed
//! - [`world`]: the event queue, the gateways, what happens to effects, and the checks after every step
//! - [`store`]: what a real store does, as plainly as possible; [`restore`]: what it hands to `Node::open`
//! - [`oracle`]: what the clients of a gateway were promised, and whether it was kept
//! - [`hostile`]: a peer with a member's key that sends what it should not
//! - [`signatures`]: modelled or real
//! - [`trace`]: the hash over all that went in and came out; [`golden`]: hashes that are kept; [`report`]: what a run
//!   ends with
//!
//! The cores gossip by themselves. The world carries their frames in two lanes, sends from the model store what they
//! tell it to, and lets links break and come back.
#![warn(missing_docs)]

pub mod dice;
pub mod golden;
pub mod hostile;
pub mod oracle;
pub mod plan;
pub mod report;
pub mod restore;
pub mod signatures;
pub mod store;
pub mod trace;
pub mod world;

pub use plan::Plan;
pub use report::{Failure, Report};

/// Runs a plan to its end. A panic of the core is a failure like any other.
///
/// # Errors
/// The first check that did not hold.
pub fn run(plan: &Plan) -> Result<Report, Failure> {
    let attempt = std::panic::AssertUnwindSafe(|| world::World::new(plan.clone()).run());
    std::panic::catch_unwind(attempt).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let what = format!("panic: {}", text.unwrap_or_else(|| "without a message".to_owned()));
        Err(Failure { seed: plan.seed, time_us: None, gateway: None, what })
    })
}

/// Runs the faulty world of each seed, on as many threads as there are cores. Results stand in the order of seeds.
///
/// # Panics
/// When a thread of the harness itself panics; a panic of the core is a failure of its seed.
pub fn swarm(seeds: &[u64], signatures: signatures::Mode) -> Vec<Result<Report, Failure>> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let share = seeds.len().div_ceil(threads).max(1);
    let run_all = |part: &[u64]| -> Vec<Result<Report, Failure>> {
        part.iter().map(|seed| run(&Plan { signatures, ..Plan::faulty(*seed) })).collect()
    };
    std::thread::scope(|scope| {
        let parts: Vec<_> = seeds.chunks(share).map(|part| scope.spawn(move || run_all(part))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("the harness does not panic")).collect()
    })
}
