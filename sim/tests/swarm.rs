//! The swarm: every parameter and fault drawn from the seed. Four tests, so that they run side by side.
//!
//! `SELVEDGE_SEEDS` says how many runs (200 where it is not set), `SELVEDGE_SEEDS_FROM` the first seed (1).

use selvedge_sim::{Plan, run};

const PARTS: u64 = 4;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a whole number")),
        Err(_) => otherwise,
    }
}

/// Every fourth seed, so that all parts take about as long.
fn runs(part: u64) {
    let (seeds, from) = (number("SELVEDGE_SEEDS", 200), number("SELVEDGE_SEEDS_FROM", 1));
    println!("seeds {from} to {}, every fourth from the one at {part}", from + seeds - 1);
    let (mut crashes, mut forks, mut acknowledged) = (0, 0, 0);
    for seed in (from..from + seeds).filter(|seed| (seed - from) % PARTS == part) {
        match run(&Plan::faulty(seed)) {
            Ok(report) => {
                crashes += report.crashes;
                forks += report.forks;
                acknowledged += report.acknowledged;
            }
            Err(failure) => {
                panic!("{failure}\nagain: cargo run -p selvedge-sim -- three --seed {seed} --faults --trace")
            }
        }
    }
    println!("{crashes} crashes, {forks} forks, {acknowledged} acknowledged readings");
    // A swarm in which nothing goes wrong shows nothing.
    assert!(seeds < 40 || (crashes > 0 && forks > 0 && acknowledged > 0));
}

#[test]
fn faulty_runs_first_part() {
    runs(0);
}

#[test]
fn faulty_runs_second_part() {
    runs(1);
}

#[test]
fn faulty_runs_third_part() {
    runs(2);
}

#[test]
fn faulty_runs_fourth_part() {
    runs(3);
}
