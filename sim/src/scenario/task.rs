//! What a scenario runs, by its kind: parameters in, results out.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use toml::de::DeTable;

use super::document::{At, Findings, read};
use super::faulty;
use crate::network::params::Problem;
use crate::{network, tangle};

/// The kinds of scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Whole gateways, throughput and latency.
    Network,
    /// The tangle of the papers.
    Tangle,
    /// Runs with faults.
    Swarm,
}

impl Kind {
    /// The name of the table that holds its parameters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Tangle => "tangle",
            Self::Swarm => "swarm",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::Network, Self::Tangle, Self::Swarm];

    /// The names of single results that its runs can have, flat, in the order of the alphabet.
    pub const fn results(self) -> &'static [&'static str] {
        match self {
            Self::Network => super::results::NETWORK,
            Self::Tangle => super::results::TANGLE,
            Self::Swarm => &faulty::RESULTS,
        }
    }
}

/// One run, ready to go.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// See [`Kind::Network`].
    Network(Box<network::params::Params>),
    /// See [`Kind::Tangle`].
    Tangle(tangle::Params),
    /// See [`Kind::Swarm`].
    Swarm(faulty::Params),
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// All of it, as the command of this kind prints it with `--json`.
    pub object: Value,
    /// The same in words.
    pub words: String,
    /// Single results by flat names, such as `attach_latency_ms.p99`.
    pub results: Map<String, Value>,
}

impl Task {
    /// The parameters as they stand in the table of their kind.
    pub(super) fn read(kind: Kind, table: &At<DeTable<'_>>, findings: &mut Findings<'_>) -> Option<Self> {
        let prefix = format!("{}.", kind.name());
        Some(match kind {
            Kind::Network => Self::Network(Box::new(read(table, &prefix, findings)?)),
            Kind::Tangle => Self::Tangle(read(table, &prefix, findings)?),
            Kind::Swarm => Self::Swarm(read(table, &prefix, findings)?),
        })
    }

    /// Reads the files that the parameters name, relative to `folder`, and refuses what cannot be.
    pub(super) fn check(&mut self, folder: &Path) -> Vec<Problem> {
        let checked = match self {
            Self::Network(params) => match params.load_files(folder) {
                Ok(()) => params.check(),
                Err(problem) => Err(vec![problem]),
            },
            Self::Tangle(params) => params.check(),
            Self::Swarm(params) => return params.check(),
        };
        checked.err().unwrap_or_default()
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        match self {
            Self::Network(params) => params.seed,
            Self::Tangle(params) => params.seed,
            Self::Swarm(params) => params.seed,
        }
    }

    /// The same run by another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        match &mut self {
            Self::Network(params) => params.seed = seed,
            Self::Tangle(params) => params.seed = seed,
            Self::Swarm(params) => params.seed = seed,
        }
        self
    }

    /// All parameters, those by default too.
    ///
    /// # Panics
    /// Never: every parameter has a form in JSON.
    pub fn parameters(&self) -> Value {
        let object = match self {
            Self::Network(params) => serde_json::to_value(params),
            Self::Tangle(params) => serde_json::to_value(params),
            Self::Swarm(params) => serde_json::to_value(params),
        };
        object.expect("texts, whole and finite numbers in tables with texts as keys are JSON")
    }

    /// Runs it. `progress` is told now and then which share is done.
    ///
    /// # Errors
    /// A check that did not hold on the way, which is a bug of ledger or simulator, with the seed.
    pub fn run(&self, progress: &mut dyn FnMut(f64)) -> Result<Outcome, String> {
        let attempt = std::panic::AssertUnwindSafe(|| self.run_or_panic(progress));
        std::panic::catch_unwind(attempt).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(format!("seed {}: panic: {text}", self.seed()))
        })
    }

    fn run_or_panic(&self, progress: &mut dyn FnMut(f64)) -> Result<Outcome, String> {
        match self {
            Self::Network(params) => {
                let mut share = |at: network::Progress| progress(at.time_us as f64 / at.end_us as f64);
                let report = network::run(params, &mut share).map_err(|problem| problem.to_string())?;
                let object =
                    serde_json::to_value(&report).map_err(|why| format!("the report is no JSON: {why}"))?;
                Ok(Outcome::new(object, report.to_string()))
            }
            Self::Tangle(params) => {
                let mut share = |done: u64| progress(done as f64 / params.transactions as f64);
                let outcome = tangle::run(params, &mut share).map_err(|problems| {
                    let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
                    all.join("; ")
                })?;
                let mut object = outcome.to_json();
                let expected = tangle::theory::tips(params.k, params.lambda, params.h);
                object["tips_expected"] = expected.into();
                object["tips_deviation"] = (outcome.mean_tips / expected - 1.0).into();
                Ok(Outcome::new(object, outcome.to_string()))
            }
            Self::Swarm(params) => {
                let results = params.run(progress);
                let words = faulty::words(&results);
                Ok(Outcome::new(Value::Object(results), words))
            }
        }
    }
}

impl Outcome {
    fn new(object: Value, words: String) -> Self {
        let mut results = Map::new();
        super::results::flatten("", &object, &mut results);
        results.retain(|name, _| {
            !super::results::PARAMETERS.contains(&name.as_str()) && !name.starts_with("params.")
        });
        Self { object, words, results }
    }
}
