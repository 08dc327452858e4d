//! `run`: one scenario file, and whether it shows what it is expected to.

use std::path::PathBuf;
use std::process::ExitCode;

use selvedge_sim::scenario::{self, Scenario, Verdict};
use serde_json::json;

use super::progress::{self, Teller};

const EXAMPLES: &str = "Examples:
  selvedge-sim run sim/scenarios/ten-gateways.toml
  selvedge-sim run sim/scenarios/ten-gateways.toml --seed 7 --json
  selvedge-sim run mine.toml --check            only reads and checks the file

Exit code 0: all expectations hold; 1: one does not; 2: the file is wrong, and every place is named.";

/// Runs a scenario file, and checks what it expects.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    /// The scenario, a TOML file.
    file: PathBuf,
    /// With another seed than the file's.
    #[arg(long)]
    seed: Option<u64>,
    /// Only read and check the file; run nothing.
    #[arg(long)]
    check: bool,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
}

impl Run {
    pub(crate) fn run(&self) -> ExitCode {
        let scenario = match scenario::load(&self.file) {
            Ok(scenario) => scenario,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        if self.check {
            let runs = scenario.grid.as_ref().map_or(1, |grid| grid.points.len());
            println!("{}: {} is a sound scenario of {runs} runs", self.file.display(), scenario.name);
            if self.json {
                println!("{}", json!({"name": scenario.name, "kind": scenario.kind, "runs": runs}));
            }
            return ExitCode::SUCCESS;
        }
        if let Some(grid) = &scenario.grid {
            let file = self.file.display();
            eprintln!(
                "{file}: got a scenario with [grid], {} runs; expected one run: use `selvedge-sim sweep {file} --out DIR`",
                grid.points.len()
            );
            return ExitCode::from(2);
        }
        self.run_one(scenario)
    }

    fn run_one(&self, scenario: Scenario) -> ExitCode {
        println!("{}", scenario.name);
        println!("  {}", scenario.shows);
        let task = match self.seed {
            Some(seed) => scenario.task.with_seed(seed),
            None => scenario.task,
        };
        let mut teller = Teller::new();
        let result = task.run(&mut |share| teller.tell(|| format!("{:.0} %", share * 100.0)));
        progress::end();
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(why) => {
                println!("FAILED {why}");
                if self.json {
                    println!(
                        "{}",
                        json!({"name": scenario.name, "kind": scenario.kind, "holds": false, "broken": why})
                    );
                }
                return ExitCode::FAILURE;
            }
        };
        println!("{}", outcome.words);
        let verdicts: Vec<Verdict> =
            scenario.expectations.iter().map(|expectation| expectation.judge(&outcome.results)).collect();
        for verdict in &verdicts {
            println!("  {verdict}");
        }
        let failed = outcome.results.get("failed").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let holds = failed == 0 && verdicts.iter().all(|verdict| verdict.holds);
        if self.json {
            let of = |v: &Verdict| json!({"result": v.result, "got": v.got, "expected": v.expected, "holds": v.holds});
            println!(
                "{}",
                json!({
                    "name": scenario.name,
                    "kind": scenario.kind,
                    "holds": holds,
                    "expectations": verdicts.iter().map(of).collect::<Vec<_>>(),
                    "parameters": task.parameters(),
                    "results": outcome.object,
                })
            );
        }
        if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
