//! `quick`: a first look in about a minute.

use std::path::PathBuf;
use std::process::ExitCode;

use selvedge_sim::quick::{self, Size};

const EXAMPLES: &str = "Examples:
  selvedge-sim quick
  selvedge-sim quick --out look --json

Exit code 0: everything held; 1: something did not; 2: the folder cannot be written.";

/// Columns of the page of findings.
const COLUMNS: usize = 100;

/// A first look: a small theory check, ten gateways, one run with faults; findings in words, and plots.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Quick {
    /// The folder for the plots.
    #[arg(long, value_name = "DIR", default_value = "selvedge-sim-quick")]
    out: PathBuf,
    /// Much smaller: four gateways, a tenth of the transactions.
    #[arg(long)]
    small: bool,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
}

impl Quick {
    pub(crate) fn run(&self) -> ExitCode {
        if let Err(why) = std::fs::create_dir_all(&self.out) {
            eprintln!("{}: cannot be made: {why}; give another --out", self.out.display());
            return ExitCode::from(2);
        }
        let size = if self.small { Size::SMALL } else { Size::USUAL };
        let findings = match quick::run(size, &self.out, &mut |what| eprintln!("{what} …")) {
            Ok(findings) => findings,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        println!("What a first look found\n");
        for finding in &findings.findings {
            println!("{}\n", wrapped(if finding.holds { "  ok   " } else { "  FAIL " }, &finding.words));
        }
        println!("Plots:");
        for plot in &findings.plots {
            println!("  {}", plot.display());
        }
        println!("\n{:.1} s of CPU. {}", findings.cpu_s, NEXT);
        if self.json {
            println!("{}", findings.to_json());
        }
        if findings.hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

const NEXT: &str = "Where to go next:
  selvedge-sim run sim/scenarios/ten-gateways.toml      one scenario, explained in its file
  selvedge-sim tangle --help                            theory: tip selection, weights, many parameters
  selvedge-sim network --help                           your own links, hardware and load
  selvedge-sim throughput --help                        how much a network carries, and what is full first
  selvedge-sim sweep sim/scenarios/sweep-delay-gateways.toml --out sweep
  selvedge-sim swarm --seeds 20                         faults of every kind
  sim/README.md                                         what is modelled, and what is not";

/// Words in lines, the first of which begins with `mark`.
fn wrapped(mark: &str, words: &str) -> String {
    let indent = " ".repeat(mark.len());
    let (mut text, mut column) = (mark.to_owned(), mark.len());
    for word in words.split_whitespace() {
        let length = word.chars().count() + 1;
        if column + length > COLUMNS {
            text = format!("{}\n{indent}", text.trim_end());
            column = indent.len();
        }
        text.push_str(word);
        text.push(' ');
        column += length;
    }
    text.trim_end().to_owned()
}
