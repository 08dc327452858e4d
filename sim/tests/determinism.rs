//! One seed, one trace: in two runs, and on every machine.

use selvedge_sim::{Plan, golden, run};

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 100..110 {
        let plan = Plan::faulty(seed);
        let (first, second) = (run(&plan).expect("all checks hold"), run(&plan).expect("all checks hold"));
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn another_seed_gives_another_trace() {
    let calm = |seed| run(&Plan::calm(seed, 3, 2_000_000)).expect("all checks hold").trace_hash;
    assert_ne!(calm(1), calm(2));
}

/// The file is the same for every architecture: x86-64 and emulated aarch64 are compared through it.
#[test]
fn golden_traces_are_as_they_were() {
    let kept = include_str!("golden/traces.txt");
    let now = golden::traces().expect("all checks hold");
    assert_eq!(
        now, kept,
        "the traces changed. If the core was meant to behave otherwise from now on: \
         cargo run -p selvedge-sim -- golden > sim/tests/golden/traces.txt"
    );
}

#[test]
fn five_gateways_agree_too() {
    let report = run(&Plan::calm(3, 5, 10_000_000)).expect("all checks hold");
    assert_eq!((report.nodes, report.ledgers_equal), (5, true));
}

/// With delays several tips stand side by side, and transactions approve two different ones.
#[test]
fn three_gateways_give_the_tangle_its_width() {
    let report = run(&Plan::calm(1, 3, 30_000_000)).expect("all checks hold");
    println!("seed 1: {report}");
    assert!(report.mean_tips > 1.3, "mean tips {}", report.mean_tips);
    assert!(report.two_tips_share > 0.3, "two different tips: {}", report.two_tips_share);
    assert!(report.forks == 0 && report.crashes == 0);
    assert_eq!(report.readings, report.acknowledged, "nothing was lost on the way, so all was acknowledged");
}
