//! The swarm: every parameter and fault drawn from the seed. Four tests, so that they run side by side.
//!
//! `SELVEDGE_SEEDS` says how many runs (60 where it is not set), `SELVEDGE_SEEDS_FROM` the first seed (1).

use selvedge_sim::case::{Base, Case};
use selvedge_sim::run;
use selvedge_sim::swarm::Summary;

const PARTS: u64 = 4;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a whole number")),
        Err(_) => otherwise,
    }
}

/// Every fourth seed, so that all parts take about as long.
fn runs(part: u64) {
    let (seeds, from) = (number("SELVEDGE_SEEDS", 60), number("SELVEDGE_SEEDS_FROM", 1));
    println!("seeds {from} to {}, every fourth from the one at {part}", from + seeds - 1);
    let mut summary = Summary::default();
    for seed in (from..from + seeds).filter(|seed| (seed - from) % PARTS == part) {
        let case = Case::new(Base::Swarm, seed);
        let outcome = run(&case.plan());
        if let Err(failure) = &outcome {
            panic!("{failure}\nagain: cargo run -p selvedge-sim -- replay {seed} --trace");
        }
        summary.add(&outcome);
    }
    println!("{}", summary.to_json());
    // A swarm in which nothing goes wrong shows nothing.
    let idle = summary.idle();
    assert!(seeds < 400 || idle.is_empty(), "never happened: {idle:?}");
    assert!(seeds < 40 || (summary.forks > 0 && summary.acknowledged > 0));
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

/// Committees of sixteen, of whom up to five are hostile: `SELVEDGE_SEEDS_16` says how many runs (10 where it is not set).
#[test]
fn sixteen_gateways() {
    let (seeds, from) = (number("SELVEDGE_SEEDS_16", 10), number("SELVEDGE_SEEDS_FROM", 1));
    for seed in from..from + seeds {
        let case = Case::new(Base::Many(16), seed);
        if let Err(failure) = run(&case.plan()) {
            panic!("{failure}\nagain: cargo run -p selvedge-sim -- replay {seed} --plan many:16 --trace");
        }
    }
}
