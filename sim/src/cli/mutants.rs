//! `mutants`: bugs planted on purpose, and how many seeds the swarm takes to find each.

use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  selvedge-sim mutants                             every planted bug, up to 500 seeds each
  selvedge-sim mutants --list                      what they are
  selvedge-sim mutants --only 5 --seeds 100 --from 1000
  selvedge-sim mutants --only 5 --trace            the run that shows it, step by step

The bugs are in no ordinary build. This one has them:
  cargo run --profile ci -p selvedge-sim --features planted -- mutants";

/// Plants one bug after the other in the core, and runs the swarm until it is found. (Needs a build with `planted`.)
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Mutants {
    /// Only the bug with this number.
    #[arg(long, value_name = "N")]
    only: Option<u32>,
    /// So many seeds at most for each.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Say what the bugs are, and run nothing.
    #[arg(long, conflicts_with_all = ["only", "trace", "json"])]
    list: bool,
    /// Print every input and effect of the run that shows the bug.
    #[arg(long, requires = "only")]
    trace: bool,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
}

#[cfg(not(feature = "planted"))]
impl Mutants {
    #[expect(clippy::unused_self, reason = "as every command")]
    pub(crate) fn run(&self) -> ExitCode {
        eprintln!(
            "This selvedge-sim was built without planted bugs, as everything is that is shipped. Build it with them:\n  \
             cargo run --profile ci -p selvedge-sim --features planted -- mutants"
        );
        ExitCode::from(2)
    }
}

#[cfg(feature = "planted")]
impl Mutants {
    pub(crate) fn run(&self) -> ExitCode {
        use selvedge_sim::mutants::{ALL, Planted};

        let wanted: Vec<&Planted> =
            ALL.iter().filter(|p| self.only.is_none_or(|n| n == p.number())).collect();
        if wanted.is_empty() {
            let got = self.only.unwrap_or_default();
            eprintln!("no planted bug has number {got}: expected 1 to {} (see mutants --list)", ALL.len());
            return ExitCode::from(2);
        }
        if self.list {
            for planted in wanted {
                println!(
                    "{:>2}  {:<20} {:<10}  {}",
                    planted.number(),
                    planted.name,
                    planted.kind.word(),
                    planted.what
                );
            }
            return ExitCode::SUCCESS;
        }
        // A panic of the core is a finding, and is printed as one.
        std::panic::set_hook(Box::new(|_| {}));
        let results: Vec<Hunted> = wanted.into_iter().map(|planted| self.hunt(planted)).collect();
        let missed: Vec<u32> =
            results.iter().filter(|r| r.seeds.is_none()).map(|r| r.planted.number()).collect();
        let (found, all) = (results.len() - missed.len(), results.len());
        let most = results.iter().filter_map(|r| r.seeds).max();
        let hardest = most.map_or_else(String::new, |most| format!(", the hardest one after {most} seeds"));
        println!("{found} of {all} planted bugs found{hardest}");
        if self.json {
            let bugs: Vec<serde_json::Value> = results.iter().map(Hunted::to_json).collect();
            println!(
                "{}",
                serde_json::json!({ "bugs": bugs, "found": found, "missed": missed, "seeds_max": self.seeds, "from": self.from })
            );
        }
        if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// One hunt, and its line.
    fn hunt(&self, planted: &'static selvedge_sim::mutants::Planted) -> Hunted {
        use selvedge_sim::mutants::{Outcome, hunt, run_with};

        let (begin, number, name) = (std::time::Instant::now(), planted.number(), planted.name);
        let progress = |done: u64| {
            if done.is_multiple_of(25) {
                eprintln!("  {number:>2}  {name}: {done} of at most {} seeds, not found yet", self.seeds);
            }
        };
        let outcome = hunt(planted.bug, self.from, self.seeds, &progress);
        let (seeds, seed, by) = match &outcome {
            Outcome::Found(found) => (Some(found.seeds), Some(found.plan.seed), found.failure.to_string()),
            Outcome::Missed { seeds } => {
                (None, None, format!("NOT FOUND in {seeds} seeds from {}", self.from))
            }
            Outcome::Unsound(failure) => (None, None, format!("fails with nothing planted too: {failure}")),
        };
        let took = seeds.map_or_else(|| "-".to_owned(), |seeds| seeds.to_string());
        println!("{number:>2}  {name:<20} {:<10} {took:>4} seeds  {by}", planted.kind.word());
        eprintln!("  {number:>2}  {name}: {:.1} s", begin.elapsed().as_secs_f64());
        if let (true, Outcome::Found(found)) = (self.trace, &outcome) {
            let plan = selvedge_sim::Plan { print_trace: true, ..found.plan.clone() };
            if let Err(failure) = run_with(planted.bug, &plan) {
                println!("FAILED {failure}");
            }
        }
        let invariant = match &outcome {
            Outcome::Found(found) => Some(found.failure.invariant.name()),
            Outcome::Missed { .. } | Outcome::Unsound(_) => None,
        };
        Hunted { planted, seeds, seed, invariant, by }
    }
}

/// What came of one hunt.
#[cfg(feature = "planted")]
struct Hunted {
    planted: &'static selvedge_sim::mutants::Planted,
    /// `None`: it was not found.
    seeds: Option<u64>,
    seed: Option<u64>,
    /// The check that found it.
    invariant: Option<&'static str>,
    /// What found it, or why nothing did.
    by: String,
}

#[cfg(feature = "planted")]
impl Hunted {
    fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "number": self.planted.number(),
            "name": self.planted.name,
            "kind": self.planted.kind.word(),
            "what": self.planted.what,
            "seeds": self.seeds,
            "seed": self.seed,
            "invariant": self.invariant,
            "by": self.by,
        })
    }
}
