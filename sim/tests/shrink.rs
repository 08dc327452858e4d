//! A failing run is made smaller, and what is left fails in the same way.

use selvedge_sim::case::{Base, Case};
use selvedge_sim::plan::Plant;
use selvedge_sim::shrink::{shrink_by, steps};
use selvedge_sim::{Failure, Plan, run};

const RUNS_MAX: u64 = 200;

/// A harness with a fault of its own: a start forgets a tip.
fn fails(plan: &Plan) -> Option<Failure> {
    run(&Plan { plant: Plant::ForgetTip, ..plan.clone() }).err()
}

#[test]
fn a_failing_run_becomes_smaller_and_still_fails_the_same_way() {
    let found = (1..40).find_map(|seed| {
        let case = Case::new(Base::Faulty, seed);
        fails(&case.plan()).map(|failure| (case, failure))
    });
    let (case, failure) = found.expect("a forgotten tip is found in forty seeds");
    println!("seed {}: {failure}", case.seed);
    let (before, invariant) = (case.plan(), failure.invariant);
    let mut attempts = Vec::new();
    let shrunk =
        shrink_by(case, failure, RUNS_MAX, &fails, &mut |case, still| attempts.push((case.clone(), still)));
    println!("{} after {} runs: {}", shrunk.case, shrunk.runs, shrunk.failure);
    let after = shrunk.case.plan();
    assert!(after.load_us < before.load_us, "{} of {} us", after.load_us, before.load_us);
    assert!(after.gateways <= before.gateways && after.hostile_actions <= before.hostile_actions);
    assert!(!shrunk.case.without.is_empty(), "no kind of fault could be left out");
    assert_eq!(shrunk.failure.invariant, invariant);
    // What is printed is what was run, and it fails as it was said to.
    assert_eq!(fails(&after), Some(shrunk.failure.clone()));
    assert_eq!(shrunk.runs, attempts.len() as u64);
    assert_eq!(attempts.iter().rev().find(|(_, still)| *still).map(|(case, _)| case), Some(&shrunk.case));
    // Nothing more can be left out: each step from there was tried last, and passes.
    assert!(shrunk.runs < RUNS_MAX, "the search was cut short");
    let passed: Vec<&Case> =
        attempts.iter().rev().take_while(|(_, still)| !still).map(|(case, _)| case).collect();
    let smaller: Vec<Case> = steps(&shrunk.case).collect();
    assert!(!smaller.is_empty());
    for step in smaller {
        assert!(passed.contains(&&step), "not tried: {step}");
    }
}

/// A case that fails only with three gateways or more and with loss is cut down to just that.
#[test]
fn only_what_is_needed_is_left() {
    let case = Case::new(Base::Faulty, 7);
    let failure = Failure::new(7, None, None, String::from("made up").into());
    let needs = |plan: &Plan| {
        let is_needed = plan.gateways >= 3 && plan.faults.loss_permille > 0;
        is_needed.then(|| failure.clone())
    };
    assert!(needs(&case.plan()).is_some(), "choose another seed: {:?}", case.plan());
    let shrunk = shrink_by(case, failure.clone(), RUNS_MAX, &needs, &mut |_, _| {});
    let plan = shrunk.case.plan();
    assert_eq!((plan.gateways, plan.joiners, plan.hostile_actions), (3, 0, 0));
    assert!(plan.load_us <= 1_500_000 && plan.faults.loss_permille > 0, "{}", plan.load_us);
    let left: Vec<_> = selvedge_sim::plan::faults::FaultKind::ALL
        .into_iter()
        .filter(|kind| !shrunk.case.without.contains(kind))
        .map(selvedge_sim::plan::faults::FaultKind::name)
        .collect();
    assert_eq!(left, ["loss"]);
}
