//! `sweep`: all runs of a scenario with a grid.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use selvedge_sim::scenario;
use selvedge_sim::sweep::{self, Progress, Summary, THREADS_MAX};
use serde_json::json;

const EXAMPLES: &str = "Examples:
  selvedge-sim sweep sim/scenarios/sweep-delay-gateways.toml --out delay
  selvedge-sim sweep sim/scenarios/sweep-delay-gateways.toml --out delay --threads 2 --json

Stopped however, the same command goes on where it was. In the folder: results.jsonl, results.csv (the \
same bytes each time), machine.csv (seconds of CPU), and the plots that the scenario names.

A run that breaks off is named, left out of tables and plots, and tried again by the next start.

Exit code 0: all expectations hold at every point; 1: one does not, or a run broke off; 2: the file or the folder cannot be used.";

/// Without a terminal progress is told so often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs every combination of a scenario's grid, on all cores; goes on where it was stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Sweep {
    /// The scenario, a TOML file with [grid].
    file: PathBuf,
    /// The folder for results; a new one, or that of this sweep.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Runs at a time [default: as many as there are cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=THREADS_MAX as i64))]
    threads: Option<u16>,
    /// End with one JSON object on a line.
    #[arg(long)]
    json: bool,
}

impl Sweep {
    pub(crate) fn run(&self) -> ExitCode {
        let scenario = match scenario::load(&self.file) {
            Ok(scenario) => scenario,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        let Some(grid) = &scenario.grid else {
            let file = self.file.display();
            eprintln!(
                "{file}: got a scenario without [grid], expected one: use `selvedge-sim run {file}`, or add [grid]"
            );
            return ExitCode::from(2);
        };
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = self.threads.map_or(cores, usize::from);
        println!("{}: {} runs on {threads} threads", scenario.name, grid.points.len());
        println!("  {}", scenario.shows);
        let summary = match sweep::run(&scenario, grid, &self.out, threads, &mut teller()) {
            Ok(summary) => summary,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        let label = |run: usize| sweep::label(grid, &grid.points[run]);
        tell(&summary, label);
        let holds = summary.broken.is_empty() && summary.unmet.is_empty();
        if self.json {
            let unmet = summary
                .unmet
                .iter()
                .map(|(run, verdict)| json!({"run": run, "point": label(*run), "what": verdict.to_string()}));
            let broken = summary
                .broken
                .iter()
                .map(|(run, why)| json!({"run": run, "point": label(*run), "what": why}));
            println!(
                "{}",
                json!({
                    "name": scenario.name,
                    "holds": holds,
                    "runs": summary.runs,
                    "found": summary.found,
                    "was_torn": summary.was_torn,
                    "unmet": unmet.collect::<Vec<_>>(),
                    "broken": broken.collect::<Vec<_>>(),
                    "files": summary.files,
                    "cpu_s": summary.cpu_s,
                })
            );
        }
        if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn tell(summary: &Summary, label: impl Fn(usize) -> String) {
    if summary.was_torn {
        println!("the last line of results.jsonl was torn: cut off, and its run done again");
    }
    for (run, why) in &summary.broken {
        println!("BROKEN run {run} ({}): {why}", label(*run));
    }
    for (run, verdict) in &summary.unmet {
        println!("run {run} ({}): {verdict}", label(*run));
    }
    println!(
        "{} runs, {} of them found from before, {} broke off, {} expectations do not hold; {:.1} s of CPU",
        summary.runs,
        summary.found,
        summary.broken.len(),
        summary.unmet.len(),
        summary.cpu_s
    );
    if !summary.broken.is_empty() {
        println!(
            "INCOMPLETE: tables and plots hold {} of {} runs, without those that broke off",
            summary.runs - summary.broken.len(),
            summary.runs
        );
    }
    for file in &summary.files {
        println!("  {}", file.display());
    }
}

/// Tells a terminal on one line, and anything else with a line now and then.
fn teller() -> impl FnMut(Progress) {
    let is_terminal = std::io::stderr().is_terminal();
    let mut told: Option<Duration> = None;
    move |at| {
        let is_end = at.done == at.runs;
        let is_time = told.is_none_or(|told| at.elapsed >= told + LINE_EVERY);
        if !is_terminal && !is_time && !is_end {
            return;
        }
        told = Some(at.elapsed);
        let rest = at.remaining().map_or_else(String::new, |rest| format!(", about {} left", clock(rest)));
        let (begin, end) =
            if is_terminal { ("\r", if is_end { "    \n" } else { "    " }) } else { ("", "\n") };
        let line = format!("{begin}{} of {} runs, {}{rest}{end}", at.done, at.runs, clock(at.elapsed));
        // Progress that cannot be shown is no reason to stop.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

fn clock(time: Duration) -> String {
    let s = time.as_secs();
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{}:{:02} min", s / 60, s % 60),
        _ => format!("{}:{:02} h", s / 3_600, s / 60 % 60),
    }
}
