//! The same world with ML-DSA instead of modelled signatures. Two tests, so that they run side by side.
#![cfg(feature = "real-signatures")]

use std::ops::Range;

use selvedge_sim::signatures::Mode;
use selvedge_sim::{Plan, run};

fn runs(seeds: Range<u64>) {
    for seed in seeds {
        let report = run(&Plan { signatures: Mode::Real, ..Plan::faulty(seed) });
        report.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

#[test]
fn faulty_runs_hold_with_real_signatures_first_half() {
    runs(500..510);
}

#[test]
fn faulty_runs_hold_with_real_signatures_second_half() {
    runs(510..520);
}

/// Gateways that join, and a hostile member: an enrolment holds a signature in its body, so its id depends on the randomness of
/// signing. That came from the operating system, and a failed run could not be replayed.
#[test]
fn a_run_with_real_signatures_can_be_replayed() {
    let plan = Plan { signatures: Mode::Real, joiners: 1, ..Plan::faulty(42) };
    assert!(plan.hostile_actions > 0, "a run without hostile members shows less");
    let (first, second) = (run(&plan).expect("all checks hold"), run(&plan).expect("all checks hold"));
    assert_eq!(first, second);
}
