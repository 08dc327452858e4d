//! The same world with ML-DSA instead of modelled signatures.
#![cfg(feature = "real-signatures")]

use selvedge_sim::signatures::Mode;
use selvedge_sim::{Plan, run};

#[test]
fn faulty_runs_hold_with_real_signatures() {
    for seed in 500..505 {
        let report = run(&Plan { signatures: Mode::Real, ..Plan::faulty(seed) });
        report.unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Signing is randomised; the trace without signatures is still the same. Without the hostile peer and joiners: an
/// enrolment holds a signature in its body, so its id is another one each time.
#[test]
fn the_trace_does_not_depend_on_the_randomness_of_signatures() {
    let plan =
        Plan { signatures: Mode::Real, hostile_actions: 0, joiners: 0, late: (0, 0), ..Plan::faulty(42) };
    let (first, second) = (run(&plan).expect("all checks hold"), run(&plan).expect("all checks hold"));
    assert_eq!(first, second);
}
