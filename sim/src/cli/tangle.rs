//! `tangle`: the abstract tangle of the papers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use selvedge_sim::network::params::Problem;
use selvedge_sim::tangle::{self, Arrivals, Outcome, Params, Selection, files};
use serde_json::json;

const EXAMPLES: &str = "Examples:
  selvedge-sim tangle --lambda 100 --h 1 --k 2 --tips urts --transactions 1000000 --seed 1 --json
  selvedge-sim tangle --k 8 --arrivals bursty:50 --csv series --plots plots
  selvedge-sim tangle --tips walk --alpha 0,0.001,0.01,0.1,1 --transactions 20000 --plots walks
                                                   several runs beside each other
  selvedge-sim tangle --tips shipped --issuers 10 --lambda 5

The unit of time is yours; --lambda and --h are in it (with --tips shipped it is a second).";

/// Says a word to the standard error this often.
const TELL_EACH: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Tips {
    /// Uniform over the visible tips.
    Urts,
    /// Random walks from the genesis, weighted by exact cumulative weight; needs --alpha.
    Walk,
    /// As gateways ship it: the newest few of each issuer, the young ones, two of them.
    Shipped,
}

/// The abstract tangle of the papers, beside its theory: transactions arrive, are seen h later, and approve k tips.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tangle {
    /// λ: transactions that arrive in a unit of time.
    #[arg(long, default_value_t = 100.0, allow_negative_numbers = true)]
    lambda: f64,
    /// h: units of time until a transaction is seen.
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    h: f64,
    /// Tips that a transaction approves: 2 to 16.
    #[arg(long, default_value_t = 2)]
    k: usize,
    /// How it chooses them.
    #[arg(long, value_enum, default_value_t = Tips::Urts)]
    tips: Tips,
    /// With --tips walk: how much heavier counts, from 0 up; several, with commas, are several runs.
    #[arg(long, value_name = "A", value_delimiter = ',', allow_negative_numbers = true)]
    alpha: Vec<f64>,
    /// When transactions arrive: poisson, fixed, or bursty:N (N at once).
    #[arg(long, default_value_t = Arrivals::Poisson)]
    arrivals: Arrivals,
    /// How many arrive.
    #[arg(long, default_value_t = 100_000)]
    transactions: u64,
    /// Decides every choice of the run.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many transactions at the beginning are not measured [default: those of 20 h, at most a quarter].
    #[arg(long, value_name = "TRANSACTIONS")]
    warmup: Option<u64>,
    /// With --tips shipped: issuers, each as busy as the others.
    #[arg(long, default_value_t = 100)]
    issuers: u32,
    /// End with one JSON object on a line; of several runs {"runs": [...]}.
    #[arg(long)]
    json: bool,
    /// Write the series as CSV files into this folder.
    #[arg(long, value_name = "DIR")]
    csv: Option<PathBuf>,
    /// Write plots (SVG) into this folder.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
}

impl Tangle {
    pub(crate) fn run(&self) -> ExitCode {
        match self.runs() {
            Ok(()) => ExitCode::SUCCESS,
            Err(lines) => {
                for line in lines {
                    eprintln!("error: {line}");
                }
                ExitCode::from(2)
            }
        }
    }

    /// Each selection that was asked for; what is wrong with the options, if anything.
    fn selections(&self) -> Result<Vec<Selection>, Vec<String>> {
        match (self.tips, self.alpha.as_slice()) {
            (Tips::Walk, []) => Err(vec![
                "--alpha: not given, expected a number from 0 up with --tips walk, such as --alpha 0.01 (0: unweighted)".to_owned(),
            ]),
            (Tips::Walk, alphas) => Ok(alphas.iter().map(|alpha| Selection::Walk { alpha: *alpha }).collect()),
            (_, [alpha, ..]) => Err(vec![format!("--alpha: got {alpha}, expected nothing unless --tips is walk")]),
            (Tips::Urts, []) => Ok(vec![Selection::Uniform]),
            (Tips::Shipped, []) => Ok(vec![Selection::Shipped]),
        }
    }

    fn runs(&self) -> Result<(), Vec<String>> {
        let params = |tips| Params {
            seed: self.seed,
            lambda: self.lambda,
            h: self.h,
            k: self.k,
            tips,
            arrivals: self.arrivals,
            transactions: self.transactions,
            warmup: self.warmup,
            issuers: self.issuers,
        };
        let as_options = |problems: Vec<Problem>| -> Vec<String> {
            problems.iter().map(|problem| format!("--{problem}")).collect()
        };
        let all: Vec<Params> = self.selections()?.into_iter().map(params).collect();
        all.iter().try_for_each(Params::check).map_err(as_options)?;
        // Before anything runs: a long run should not end at a folder that cannot be.
        for (option, folder) in [("--csv", &self.csv), ("--plots", &self.plots)] {
            if let Some(folder) = folder {
                std::fs::create_dir_all(folder)
                    .map_err(|why| vec![format!("{option}: {} cannot be made: {why}", folder.display())])?;
            }
        }
        let mut outcomes = Vec::new();
        for params in &all {
            let outcome = tangle::run(params, &mut teller(params)).map_err(as_options)?;
            println!("{outcome}");
            outcomes.push(outcome);
        }
        self.write(&outcomes).map_err(|error| vec![error.to_string()])?;
        match outcomes.as_slice() {
            _ if !self.json => {}
            [only] => println!("{}", only.to_json()),
            several => {
                let runs: Vec<_> = several.iter().map(Outcome::to_json).collect();
                println!("{}", json!({ "runs": runs }));
            }
        }
        Ok(())
    }

    fn write(&self, outcomes: &[Outcome]) -> Result<(), selvedge_sim::plot::Error> {
        if let Some(folder) = &self.csv {
            files::write_csv(outcomes, folder)?;
        }
        if let Some(folder) = &self.plots {
            for path in files::write_plots(outcomes, folder)? {
                println!("wrote {}", path.display());
            }
        }
        Ok(())
    }
}

/// Says now and then how far a run is, and how long it will take.
fn teller(params: &Params) -> impl FnMut(u64) + use<> {
    let (begin, mut last) = (Instant::now(), Instant::now());
    let (all, tips) = (params.transactions, params.tips);
    move |done| {
        if last.elapsed() >= TELL_EACH {
            last = Instant::now();
            let left = begin.elapsed().as_secs_f64() * (all - done) as f64 / done as f64;
            eprintln!("{tips}: {done} of {all} transactions, about {left:.0} s left at this pace");
        }
    }
}
