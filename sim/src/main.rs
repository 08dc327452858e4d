//! `selvedge-sim`: gateways in one process, calm or with every fault that a seed can draw.

use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand, ValueEnum};
use selvedge_sim::signatures::Mode;
use selvedge_sim::{Failure, Plan, Report, run};
use serde_json::json;

const EXAMPLES: &str = "Examples:
  selvedge-sim three                         three gateways for a minute, with delays
  selvedge-sim three --seed 7 --for 20s --json
  selvedge-sim three --seed 1234 --faults --trace
                                             one run of the swarm again, step by step
  selvedge-sim swarm --seeds 200             200 runs with faults drawn from their seeds
  selvedge-sim swarm --seeds 20 --from 1000

Every run is checked after each step. Exit code 0: all checks held; 1: one did not, and the seed is printed.";

#[derive(Debug, Parser)]
#[command(name = "selvedge-sim", version, about = "Drives the ledger core of Selvedge in virtual time", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Three gateways that hand each other what they issue.
    #[command(after_help = EXAMPLES)]
    Three(Three),
    /// Many runs, all parameters and faults of each drawn from its seed.
    #[command(after_help = EXAMPLES)]
    Swarm(Swarm),
    /// Prints the trace hashes that sim/tests/golden/traces.txt keeps.
    Golden,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct Three {
    /// Decides every choice of the run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long readings come in, in virtual time: 500ms, 20s, 2m [default: 60s; with --faults from the seed].
    #[arg(long = "for", value_parser = parse_us, value_name = "TIME")]
    load_us: Option<u64>,
    /// Draw every parameter and fault from the seed, as the swarm does.
    #[arg(long)]
    faults: bool,
    /// With --faults: start one gateway again from an old image of its card, as the restored test does.
    #[arg(long, requires = "faults")]
    restored: bool,
    /// Print every input and effect.
    #[arg(long)]
    trace: bool,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
    /// Which signatures.
    #[arg(long, value_enum, default_value_t = Signatures::Modelled)]
    signatures: Signatures,
}

#[derive(Debug, Args)]
struct Swarm {
    /// How many runs.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Seed of the first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
    /// Which signatures.
    #[arg(long, value_enum, default_value_t = Signatures::Modelled)]
    signatures: Signatures,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signatures {
    /// Tokens that nobody without the secret can make.
    Modelled,
    /// ML-DSA, as shipped.
    #[cfg(feature = "real-signatures")]
    Real,
}

impl From<Signatures> for Mode {
    fn from(signatures: Signatures) -> Self {
        match signatures {
            Signatures::Modelled => Self::Modelled,
            #[cfg(feature = "real-signatures")]
            Signatures::Real => Self::Real,
        }
    }
}

fn parse_us(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "ms" => 1_000,
        "s" => 1_000_000,
        "m" => 60_000_000,
        _ => return Err("expected a number and ms, s or m, such as 20s".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "expected a whole number before the unit, such as 20s")?;
    let time_us = number.checked_mul(factor).filter(|us| (1_000_000..=3_600_000_000).contains(us));
    time_us.ok_or_else(|| "expected between 1s and 60m".to_owned())
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Three(three) => three.run(),
        Command::Swarm(swarm) => swarm.run(),
        Command::Golden => match selvedge_sim::golden::traces() {
            Ok(lines) => {
                print!("{lines}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                print_failure(&failure);
                ExitCode::FAILURE
            }
        },
    }
}

impl Three {
    fn run(&self) -> ExitCode {
        println!("seed {}", self.seed);
        let mut plan = if self.restored {
            Plan::restored(self.seed)
        } else if self.faults {
            Plan::faulty(self.seed)
        } else {
            Plan::calm(self.seed, 3, 60_000_000)
        };
        plan.load_us = self.load_us.unwrap_or(plan.load_us);
        plan.signatures = self.signatures.into();
        plan.print_trace = self.trace;
        match run(&plan) {
            Ok(report) => {
                println!("{report}");
                if self.json {
                    println!("{}", report.to_json());
                }
                ExitCode::SUCCESS
            }
            Err(failure) => {
                print_failure(&failure);
                if self.json {
                    println!("{}", json!({ "seed": failure.seed, "failed": failure.what }));
                }
                ExitCode::FAILURE
            }
        }
    }
}

fn print_failure(failure: &Failure) {
    println!("FAILED {failure}");
}

impl Swarm {
    fn run(&self) -> ExitCode {
        let begin = Instant::now();
        let seeds: Vec<u64> = (0..self.seeds).map(|n| self.from.wrapping_add(n)).collect();
        let results = selvedge_sim::swarm(&seeds, self.signatures.into());
        let failures: Vec<&Failure> = results.iter().filter_map(|r| r.as_ref().err()).collect();
        for failure in &failures {
            print_failure(failure);
            println!("  again: selvedge-sim three --seed {} --faults --trace", failure.seed);
        }
        let reports: Vec<&Report> = results.iter().filter_map(|r| r.as_ref().ok()).collect();
        let sum = |of: fn(&Report) -> u64| reports.iter().map(|r| of(r)).sum::<u64>();
        let seconds = begin.elapsed().as_secs_f64();
        let total = json!({
            "seeds": self.seeds,
            "from": self.from,
            "failed": failures.iter().map(|f| f.seed).collect::<Vec<_>>(),
            "transactions": sum(|r| r.transactions as u64),
            "acknowledged": sum(|r| r.acknowledged),
            "crashes": sum(|r| r.crashes),
            "forks": sum(|r| r.forks as u64),
            "steps": sum(|r| r.steps),
        });
        println!("{} runs from seed {}, {} failed, {seconds:.1} s", self.seeds, self.from, failures.len());
        println!(
            "  {} steps, {} transactions, {} acknowledged readings, {} crashes, {} forks",
            total["steps"], total["transactions"], total["acknowledged"], total["crashes"], total["forks"]
        );
        if self.json {
            println!("{total}");
        }
        if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
