//! Many runs on all cores, and what they add up to.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::report::{Failure, Report};
use crate::run;
use crate::signatures::Mode;
use crate::tally::{Happened, Tally};

/// Runs cases on as many threads as there are cores, until `next` gives no more. `done` is told each, one at a time, in
/// the order in which they are done.
///
/// # Panics
/// When a thread of the harness itself panics; a panic of the core is a failure of its seed.
pub fn run_all(
    next: &(dyn Fn() -> Option<Case> + Sync),
    signatures: Mode,
    done: &mut (dyn FnMut(&Case, &Result<Report, Failure>) + Send),
) {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let done = Mutex::new(done);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = next() {
                    let mut plan = case.plan();
                    plan.signatures = signatures;
                    let outcome = run(&plan);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done(&case, &outcome);
                }
            });
        }
    });
}

/// What many runs add up to.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Runs, failed ones included.
    pub runs: u64,
    /// Those that failed.
    pub failed: Vec<Failure>,
    /// See the fields of [`Report`], of the runs that did not fail.
    pub transactions: u64,
    /// See [`Report`].
    pub acknowledged: u64,
    /// See [`Report`].
    pub steps: u64,
    /// See [`Report`].
    pub forks: u64,
    /// For each kind: in how many runs it happened, and how often; failed runs count until they failed.
    happened: Vec<(u64, u64)>,
    gateways: Vec<u64>,
}

impl Summary {
    /// One more.
    pub fn add(&mut self, outcome: &Result<Report, Failure>) {
        self.runs += 1;
        let report = match outcome {
            Ok(report) => report,
            Err(failure) => {
                self.count(&failure.happened);
                return self.failed.push(failure.clone());
            }
        };
        self.transactions += report.transactions as u64;
        self.acknowledged += report.acknowledged;
        self.steps += report.steps;
        self.forks += report.forks as u64;
        self.gateways.resize(self.gateways.len().max(report.nodes + 1), 0);
        self.gateways[report.nodes] += 1;
        self.count(&report.happened);
    }

    fn count(&mut self, tally: &Tally) {
        self.happened.resize(Happened::ALL.len(), (0, 0));
        for (sum, (_, times)) in self.happened.iter_mut().zip(tally.iter()) {
            sum.0 += u64::from(times > 0);
            sum.1 += times;
        }
    }

    /// In how many runs something happened, and how often in all of them.
    pub fn happened(&self, what: Happened) -> (u64, u64) {
        self.happened.get(what as usize).copied().unwrap_or_default()
    }

    /// Kinds of which there was none in any run: they were not put to the test.
    pub fn idle(&self) -> Vec<Happened> {
        Happened::ALL.into_iter().filter(|what| self.happened(*what).1 == 0).collect()
    }

    /// One object, for machines.
    pub fn to_json(&self) -> Value {
        let kinds = |of: fn((u64, u64)) -> u64| -> Map<String, Value> {
            Happened::ALL.into_iter().map(|w| (w.name().to_owned(), of(self.happened(w)).into())).collect()
        };
        let gateways = self.gateways.iter().enumerate().filter(|(_, runs)| **runs > 0);
        let gateways: Map<String, Value> =
            gateways.map(|(n, runs)| (n.to_string(), (*runs).into())).collect();
        let failed = self.failed.iter().map(|f| json!({ "seed": f.seed, "invariant": f.invariant.name() }));
        json!({
            "runs": self.runs,
            "failed": failed.collect::<Vec<_>>(),
            "transactions": self.transactions,
            "acknowledged": self.acknowledged,
            "steps": self.steps,
            "forks": self.forks,
            "runs_by_gateways": gateways,
            "not_put_to_the_test": self.idle().into_iter().map(Happened::name).collect::<Vec<_>>(),
            "runs_with": kinds(|(runs, _)| runs),
            "times": kinds(|(_, times)| times),
        })
    }
}
