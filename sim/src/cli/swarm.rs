//! `swarm`: many runs, all parameters and faults of each drawn from its seed.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use selvedge_sim::case::{Base, Case, GATEWAYS_MAX};
use selvedge_sim::network::params::Signatures;
use selvedge_sim::shrink::shrink;
use selvedge_sim::swarm::{Summary, run_all};
use selvedge_sim::tally::Happened;
use selvedge_sim::{Failure, Report};

use super::{Mutant, again};

const EXAMPLES: &str = "Examples:
  selvedge-sim swarm --seeds 200
  selvedge-sim swarm --seeds 20 --from 1000 --json
  selvedge-sim swarm --minutes 10 --from 777000       new seeds until the time is over
  selvedge-sim swarm --gateways 16 --seeds 5
  selvedge-sim swarm --seeds 1000 --shrink            if a run fails, look for a smaller one

A failing seed is printed at once: the seed, what broke, and the command that replays it.

Of 1,000 runs or more each kind of fault must have happened in one: a swarm in which nothing goes wrong shows \
nothing. With --every-fault that holds for fewer runs, too.

Exit code 0: all checks held; 1: one did not, or a kind of fault never happened.";

/// So many runs of the swarm must show every kind of fault.
const EVERY_FAULT_RUNS: u64 = 1_000;
/// Progress is told this often.
const PROGRESS: Duration = Duration::from_secs(5);
/// Most runs of a search for a smaller case.
const SHRINK_RUNS_MAX: u64 = 400;

/// Many runs, all parameters and faults of each drawn from its seed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Swarm {
    /// How many runs [default: 200, or without end with --minutes].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    /// Seed of the first one.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Begin new runs for so many minutes.
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u64).range(1..=10_080))]
    minutes: Option<u64>,
    /// Gateways of each run [default: 3 to 7, from the seed].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(2..=GATEWAYS_MAX as i64))]
    gateways: Option<u16>,
    /// Of the first seed that fails, look for a smaller run that fails alike.
    #[arg(long)]
    shrink: bool,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
    /// Fail when a kind of fault never happened (of 1,000 drawn runs or more it always does).
    #[arg(long)]
    every_fault: bool,
    #[command(flatten)]
    mutant: Mutant,
    /// Which signatures: modelled (tokens that nobody without the secret can make) or real (ML-DSA, as shipped).
    #[arg(long, default_value_t = Signatures::Modelled)]
    signatures: Signatures,
}

impl Swarm {
    pub(crate) fn run(&self) -> ExitCode {
        self.mutant.plant();
        let begin = Instant::now();
        let until = self.minutes.map(|minutes| begin + Duration::from_secs(60 * minutes));
        let most = self.seeds.unwrap_or(if until.is_some() { u64::MAX } else { 200 });
        let base = self.gateways.map_or(Base::Swarm, |gateways| Base::Many(usize::from(gateways)));
        let begun = AtomicU64::new(0);
        let next = || {
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            let place = begun.fetch_add(1, Ordering::SeqCst);
            (!is_over && place < most).then(|| Case::new(base, self.from.wrapping_add(place)))
        };
        let (mut summary, mut said, mut failed) = (Summary::default(), begin, Vec::new());
        run_all(&next, self.signatures.into(), &mut |case, outcome| {
            self.tell(case, outcome, &mut failed);
            summary.add(outcome);
            if said.elapsed() >= PROGRESS {
                said = Instant::now();
                let of = self.seeds.map_or_else(String::new, |seeds| format!(" of {seeds}"));
                eprintln!(
                    "{}{of} runs, {} failed, {:.0} s",
                    summary.runs,
                    failed.len(),
                    begin.elapsed().as_secs_f64()
                );
            }
        });
        failed.sort_by_key(|(case, _): &(Case, Failure)| case.seed);
        if let Some((case, failure)) = failed.first().filter(|_| self.shrink) {
            print_shrunk(case.clone(), failure.clone(), self.signatures, self.mutant);
        }
        self.print(&summary, begin.elapsed());
        if failed.is_empty() && !self.is_idle(&summary) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn tell(&self, case: &Case, outcome: &Result<Report, Failure>, failed: &mut Vec<(Case, Failure)>) {
        if let Err(failure) = outcome {
            println!("FAILED {failure}");
            println!("  again: {}{} --trace", again(case, self.signatures), self.mutant);
            failed.push((case.clone(), failure.clone()));
        }
    }

    /// Did a kind of fault never happen that should have?
    fn is_idle(&self, summary: &Summary) -> bool {
        // Other plans do not draw all kinds.
        let is_owed = self.every_fault || (self.gateways.is_none() && summary.runs >= EVERY_FAULT_RUNS);
        is_owed && !summary.idle().is_empty()
    }

    fn print(&self, summary: &Summary, took: Duration) {
        let (runs, failed, seconds) = (summary.runs, summary.failed.len(), took.as_secs_f64());
        println!("{runs} runs from seed {}, {failed} failed, {seconds:.1} s", self.from);
        println!(
            "  {} steps, {} transactions, {} acknowledged readings, {} forks",
            summary.steps, summary.transactions, summary.acknowledged, summary.forks
        );
        for what in Happened::ALL {
            let (runs_with, times) = summary.happened(what);
            println!("  {:<20} in {runs_with} runs, {times} times", what.name());
        }
        let idle: Vec<&str> = summary.idle().into_iter().map(Happened::name).collect();
        if !idle.is_empty() {
            let failed = if self.is_idle(summary) { "FAILED " } else { "  " };
            println!("{failed}not put to the test: {}", idle.join(", "));
        }
        if self.json {
            let mut object = summary.to_json();
            object["from"] = self.from.into();
            println!("{object}");
        }
    }
}

/// Looks for a smaller case and prints it.
pub(super) fn print_shrunk(case: Case, failure: Failure, signatures: Signatures, mutant: Mutant) {
    eprintln!("looking for a smaller run that breaks {} too", failure.invariant);
    let shrunk = shrink(case, failure, signatures.into(), SHRINK_RUNS_MAX, &mut |case, fails| {
        eprintln!("  {} {case}", if fails { "fails: " } else { "passes:" });
    });
    println!("SMALLER after {} runs: {}", shrunk.runs, shrunk.failure);
    println!("  again: {}{mutant} --trace", again(&shrunk.case, signatures));
}
