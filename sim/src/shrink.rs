//! Looks for a smaller run that breaks the same invariant: for whoever has to read its trace.
//!
//! One thing at a time is left out or halved, and stays so while the run still fails in the same way; until nothing more
//! can be left out. A smaller run is another run: what it shows may be another way to the same broken invariant.

use crate::case::Case;
use crate::plan::Plan;
use crate::plan::faults::FaultKind;
use crate::report::Failure;
use crate::run;
use crate::signatures::Mode;

/// Shortest time in which readings come in, microseconds.
const LOAD_MIN_US: u64 = 1_000_000;
/// Fewest gateways.
const GATEWAYS_MIN: usize = 2;

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shrunk {
    /// The smallest that was found.
    pub case: Case,
    /// How it fails.
    pub failure: Failure,
    /// Runs that it took.
    pub runs: u64,
}

/// Looks for a smaller case that fails as `failure` does, in at most so many runs. `tried` is told each attempt and
/// whether it fails still.
pub fn shrink(
    case: Case,
    failure: Failure,
    signatures: Mode,
    runs_max: u64,
    tried: &mut dyn FnMut(&Case, bool),
) -> Shrunk {
    let fails = |plan: &Plan| run(&Plan { signatures, ..plan.clone() }).err();
    shrink_by(case, failure, runs_max, &fails, tried)
}

/// The same with another way to run a plan: `fails` says how it fails, if it does.
pub fn shrink_by(
    case: Case,
    failure: Failure,
    runs_max: u64,
    fails: &dyn Fn(&Plan) -> Option<Failure>,
    tried: &mut dyn FnMut(&Case, bool),
) -> Shrunk {
    let mut best = Shrunk { case, failure, runs: 0 };
    loop {
        let before = best.case.clone();
        for step in STEPS {
            // The same step again, as long as it helps: halves of halves.
            while let Some(smaller) = step(&best.case) {
                if best.runs >= runs_max {
                    return best;
                }
                best.runs += 1;
                let failure = fails(&smaller.plan()).filter(|f| f.invariant == best.failure.invariant);
                tried(&smaller, failure.is_some());
                let Some(failure) = failure else { break };
                (best.case, best.failure) = (smaller, failure);
            }
        }
        for kind in FaultKind::ALL {
            let Some(smaller) = without(&best.case, kind).filter(|_| best.runs < runs_max) else { continue };
            best.runs += 1;
            let failure = fails(&smaller.plan()).filter(|f| f.invariant == best.failure.invariant);
            tried(&smaller, failure.is_some());
            if let Some(failure) = failure {
                (best.case, best.failure) = (smaller, failure);
            }
        }
        if best.case == before {
            return best;
        }
    }
}

/// All cases that are one step smaller: none of them fails when a search has come to its end.
pub fn steps(case: &Case) -> impl Iterator<Item = Case> {
    let kinds = FaultKind::ALL.into_iter().filter_map(|kind| without(case, kind));
    STEPS.iter().filter_map(|step| step(case)).chain(kinds)
}

/// The same without this kind of fault; `None` when it is left out already.
fn without(case: &Case, kind: FaultKind) -> Option<Case> {
    let mut smaller = case.clone();
    smaller.without.insert(kind).then_some(smaller)
}

type Step = fn(&Case) -> Option<Case>;

/// Ways to make a case smaller; `None` when it is as small as that way can make it.
const STEPS: [Step; 9] = [
    |case| (case.plan().hostile_actions > 0).then(|| Case { hostile_acts: Some(0), ..case.clone() }),
    |case| {
        let acts = case.plan().hostile_actions;
        (acts > 1).then(|| Case { hostile_acts: Some(acts / 2), ..case.clone() })
    },
    |case| {
        let acts = case.plan().hostile_actions;
        (acts > 1).then(|| Case { hostile_acts: Some(acts - 1), ..case.clone() })
    },
    |case| (case.plan().joiners > 0).then(|| Case { joiners: Some(0), ..case.clone() }),
    |case| {
        let gateways = case.plan().gateways;
        (gateways > GATEWAYS_MIN).then(|| Case { gateways: Some(GATEWAYS_MIN), ..case.clone() })
    },
    |case| {
        let gateways = case.plan().gateways;
        (gateways > GATEWAYS_MIN).then(|| Case { gateways: Some(gateways - 1), ..case.clone() })
    },
    |case| shorter(case, 1, 2),
    |case| shorter(case, 3, 4),
    |case| (!case.plain_links).then(|| Case { plain_links: true, ..case.clone() }),
];

fn shorter(case: &Case, times: u64, of: u64) -> Option<Case> {
    let load_us = case.plan().load_us;
    // Whole milliseconds: that is what the command line says.
    let shorter_us = (load_us * times / of).max(LOAD_MIN_US) / 1_000 * 1_000;
    (shorter_us < load_us).then(|| Case { load_us: Some(shorter_us), ..case.clone() })
}
