//! `throughput`: the load is raised step by step until the network saturates.

use std::path::PathBuf;
use std::process::ExitCode;

use selvedge_sim::network::params::Params;
use selvedge_sim::network::units::Span;
use selvedge_sim::throughput::{self, Search};

use super::network::{Options, checked, how_far, named};
use super::progress::{self, Teller};

const EXAMPLES: &str = "Examples:
  selvedge-sim throughput --hardware pi4 --gateways 10 --uplink 1Mbit/s
  selvedge-sim throughput --hardware pi4 --uplink 100Mbit/s --batch-readings 4096 --out results
  selvedge-sim throughput --topology sites:3x4 --uplink 2Mbit/s --rate 100/s --precision 5 --json

The load grows four times from step to step until it is too much; then what lies between is tried, until \
both are close, and some lighter loads, lest luck decides. Which loads are tried does not depend on the first \
one (--rate is rounded to one of them). Above 100 readings a second and gateway several come together. Each \
load runs with several seeds, and is too much when one of these runs is saturated: readings refused, less \
than 98 % attached everywhere within the drain, more than all cores needed, a wire busy for 90 % of the load's \
time, or a mean way of readings that grows from the middle third of the load to the last by more than 5 % of \
the time between.

Exit code 0: it ran to the end; 1: a check of the simulator did not hold; 2: the command line or a file is wrong.";

/// What is not attached so long after the load does not keep up with it.
const DRAIN: Span = Span::from_s(10);
/// Long enough for thirds that can be compared.
const LOAD: Span = Span::from_s(30);

/// What a network carries: raises the load step by step until it saturates, and says what the bottleneck is.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("rate", |arg| arg.help("The first load that is tried, readings per second and gateway [default: 10/s]")))]
#[command(mut_arg("load", |arg| arg.help("For how long readings come in, virtual time [default: 30s]")))]
#[command(mut_arg("drain", |arg| arg.help("How long a run goes on after its load at most [default: 10s]")))]
pub(crate) struct Throughput {
    #[command(flatten)]
    options: Options,
    /// The answer lies between two loads that differ by at most so many percent.
    #[arg(long, default_value_t = 15, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=300))]
    precision: u64,
    /// Most loads that are tried.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    steps: u64,
    /// Runs of each load, with seeds one after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Write throughput.csv, throughput.svg and latency.svg to this folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
}

impl Throughput {
    pub(crate) fn run(&self) -> ExitCode {
        let defaults = Params { drain: DRAIN, load: LOAD, ..Params::default() };
        let params = match self.options.unchecked_params(defaults).and_then(checked) {
            Ok(params) => params,
            Err(code) => return code,
        };
        let link = &params.link;
        let wire = |name: &str, limit: Option<_>| {
            limit.map_or_else(String::new, |limit| format!(", {name} {limit}"))
        };
        let title = format!(
            "{} gateways, {}{}{}{}",
            params.gateways,
            params.hardware,
            wire("uplink", link.uplink),
            wire("downlink", link.downlink),
            wire("link", link.bandwidth)
        );
        println!("{title}, batches of {} readings or {}", params.batch.readings, params.batch.age);
        if let Some(folder) = &self.out
            && let Err(why) = std::fs::create_dir_all(folder)
        {
            eprintln!("error: --out: {} cannot be made: {why}", folder.display());
            return ExitCode::from(2);
        }
        let search = Search {
            params,
            precision_percent: self.precision,
            steps_max: self.steps as usize,
            seeds: self.seeds,
        };
        if let Err(problem) = search.check() {
            eprintln!("{}", named(&problem));
            return ExitCode::from(2);
        }
        let mut teller = Teller::new();
        let result = throughput::run(&search, &mut |step, rate, seed, so_far| {
            teller.tell(|| how_far(&format!("step {step}, {rate} a gateway, seed {seed}"), so_far));
        });
        progress::end();
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(problem) => {
                eprintln!("{}", named(&problem));
                return ExitCode::FAILURE;
            }
        };
        println!("{outcome}");
        if let Some(folder) = &self.out {
            if let Err(why) = outcome.write(folder, &title) {
                eprintln!("error: --out: {why}");
                return ExitCode::from(2);
            }
            println!("  written to {}", folder.display());
        }
        if self.json {
            println!("{}", serde_json::json!(outcome));
        }
        ExitCode::SUCCESS
    }
}
