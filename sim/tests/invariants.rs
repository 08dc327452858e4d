//! The quick checks of every step see what the slow ones see that recompute everything.

use selvedge_sim::invariants::Invariant;
use selvedge_sim::plan::Plant;
use selvedge_sim::{Plan, run};

const SEEDS: u64 = 12;

/// After every single step the whole window is recomputed too, and finds nothing that the quick checks passed.
#[test]
fn nothing_is_left_for_the_slow_checks_to_find() {
    for seed in 40_000..40_003 {
        let plan = Plan { check_every: 1, ..Plan::faulty(seed) };
        let (with, without) = (run(&plan), run(&Plan { check_every: u64::MAX, ..plan.clone() }));
        let with = with.unwrap_or_else(|failure| panic!("{failure}"));
        assert_eq!(Ok(with), without, "seed {seed}: checking changes the run");
    }
}

/// A core that starts with a tip too few: the quick check alone finds it at the first step, and names the tip set.
#[test]
fn a_forgotten_tip_is_seen_by_the_quick_check_alone_and_at_once() {
    let mut seen = 0;
    for seed in 1..=SEEDS {
        let plan = Plan { plant: Plant::ForgetTip, check_every: u64::MAX, ..Plan::faulty(seed) };
        let Err(failure) = run(&plan) else { continue };
        // Whoever recomputes everything after every step finds it no earlier, and nothing else.
        let both = run(&Plan { check_every: 1, ..plan }).expect_err("what the quick check finds is there");
        assert_eq!(failure, both, "seed {seed}");
        seen += u64::from(failure.invariant == Invariant::TipSet);
    }
    println!("{seen} of {SEEDS} seeds");
    assert!(seen > 0, "the plant shows in none of {SEEDS} seeds: nothing was compared");
}
