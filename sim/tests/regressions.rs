//! Runs that failed once: see seeds.toml, which tells their stories.

use selvedge_sim::case::{Base, Case};
use selvedge_sim::run;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    run: Vec<Run>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    seed: u64,
    plan: String,
    story: String,
}

#[test]
fn runs_that_failed_once_pass() {
    let kept: Kept =
        toml::from_str(include_str!("seeds.toml")).expect("seeds.toml is TOML with seed, plan and story");
    assert!(!kept.run.is_empty());
    for Run { seed, plan, story } in kept.run {
        assert!(story.trim().len() > 40, "seed {seed} has no story");
        let base: Base = plan.parse().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        let case = Case::new(base, seed);
        if let Err(failure) = run(&case.plan()) {
            panic!(
                "{failure}\nagain: cargo run -p selvedge-sim -- replay {seed} --plan {plan} --trace\n{story}"
            );
        }
    }
}
