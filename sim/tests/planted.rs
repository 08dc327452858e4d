//! The checks themselves are checked: a fault built into the harness on purpose must be found, for the right reason.

use selvedge_sim::plan::Plant;
use selvedge_sim::{Plan, run};

const SEEDS: u64 = 40;

/// The plant is found within so many seeds, each of which passes without it (the swarm sees to that).
fn is_found(plant: Plant, reasons: &[&str]) {
    let mut found = Vec::new();
    for seed in 1..=SEEDS {
        let Err(failure) = run(&Plan { plant, ..Plan::faulty(seed) }) else { continue };
        println!("{plant:?}: {failure}");
        if reasons.iter().any(|reason| failure.what.contains(reason)) {
            return;
        }
        found.push(failure);
    }
    panic!("{plant:?} is not found in {SEEDS} seeds, or for another reason: {found:?}");
}

#[test]
fn a_store_that_acknowledges_too_early_is_found() {
    is_found(Plant::AcknowledgeEarly, &["before it is durable", "is not durable", "no durable transaction"]);
}

#[test]
fn a_store_that_loses_what_it_synced_is_found() {
    is_found(Plant::LoseSynced, &["was acknowledged and is lost"]);
}

#[test]
fn a_forgotten_tip_is_found() {
    is_found(Plant::ForgetTip, &["the graph says"]);
}

#[test]
fn a_counter_given_twice_is_found() {
    is_found(Plant::CounterBack, &["in the journal, expected"]);
}

#[test]
fn a_batch_issued_twice_is_found() {
    is_found(Plant::BatchAgain, &["which is in a transaction already", "follows"]);
}

#[test]
fn a_verifier_that_believes_everything_is_found() {
    is_found(Plant::BelieveAll, &["its signature does not hold", "must never be"]);
}

#[test]
fn a_gateway_that_is_never_told_is_found() {
    is_found(Plant::DeafLink, &["lacks"]);
}
