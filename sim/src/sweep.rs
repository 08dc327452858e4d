//! Sweeps: all runs of a grid on all cores, each result kept as soon as it is there, so that nothing runs twice.
//!
//! # The folder
//! - `sweep.json`: what is run, the hash of it and of the program: a folder holds results of one sweep by one program
//! - `scenario.toml`: the scenario as it was
//! - `results.jsonl`: one object for each finished run, in the order in which they finish, synced one by one; sorted at
//!   the end
//! - `results.csv`: what the seed decides, the same bytes whatever the number of threads; `machine.csv`: what the
//!   machine decides, such as seconds of CPU
//! - `NAME.svg`: one plot for each result that `[plot]` names
//!
//! # Layout
//! - here: threads and progress; [`folder`]: what is kept; `table`: CSV; `plots`

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::scenario::{Grid, Outcome, Point, Scenario, Verdict};
use folder::{Folder, Line};

pub mod folder;
mod plots;
mod table;

pub use folder::Error;

/// Most threads of a sweep.
pub const THREADS_MAX: usize = 1_024;
/// Progress is told at least so often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// How far a sweep is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Runs that are finished, those of earlier starts too.
    pub done: usize,
    /// Of these, found in the folder.
    pub found: usize,
    /// All of them.
    pub runs: usize,
    /// Since this start.
    pub elapsed: Duration,
}

impl Progress {
    /// How long the rest takes if it goes on as it did; `None` before the first run has finished.
    pub fn remaining(&self) -> Option<Duration> {
        let finished = (self.done - self.found) as u32;
        (finished > 0).then(|| self.elapsed * (self.runs - self.done) as u32 / finished)
    }
}

/// What a sweep ends with.
#[derive(Debug)]
pub struct Summary {
    /// Runs.
    pub runs: usize,
    /// Of these, found in the folder.
    pub found: usize,
    /// A torn last line was cut off and its run done again.
    pub was_torn: bool,
    /// Expectations that do not hold: the number of the run, and what.
    pub unmet: Vec<(usize, Verdict)>,
    /// Runs that broke off, and why. They are in no table and no plot, and are tried again by the next start.
    pub broken: Vec<(usize, String)>,
    /// What was written.
    pub files: Vec<PathBuf>,
    /// Seconds of CPU of all runs, those of earlier starts too.
    pub cpu_s: f64,
}

/// Runs what is missing of a sweep, and writes its tables and plots.
///
/// # Errors
/// When the folder cannot be used: it holds another sweep, another process works in it, or it cannot be written.
pub fn run(
    scenario: &Scenario,
    grid: &Grid,
    into: &Path,
    threads: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, Error> {
    run_by(scenario, grid, into, threads, &|point| point.task.run(&mut |_| ()), progress)
}

/// The same with another way to run a point.
fn run_by(
    scenario: &Scenario,
    grid: &Grid,
    into: &Path,
    threads: usize,
    run_point: RunPoint<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, Error> {
    let mut folder = Folder::open(scenario, grid, into)?;
    let found = folder.lines.len();
    let missing: Vec<usize> = (0..grid.points.len()).filter(|run| !folder.lines.contains_key(run)).collect();
    let broken = work(grid, &missing, threads, run_point, &mut folder, progress)?;
    let mut files = Vec::new();
    // A run that broke off leaves out its row and its point, and not those of all others.
    files.push(folder.sort()?);
    for (name, text) in table::tables(grid, &folder.lines) {
        files.push(folder.write(name, text.as_bytes())?);
    }
    if let Some(view) = scenario.view.as_ref().filter(|_| !folder.lines.is_empty()) {
        for (name, svg) in plots::draw(scenario, view, grid, &folder.lines).map_err(Error::Plot)? {
            files.push(folder.write(&name, svg.as_bytes())?);
        }
    }
    let judged = folder.lines.iter().flat_map(|(run, line)| {
        let verdicts = scenario.expectations.iter().map(|expectation| expectation.judge(&line.results));
        verdicts.filter(|verdict| !verdict.holds).map(|verdict| (*run, verdict))
    });
    let cpu_s = folder.lines.values().filter_map(|line| line.results.get("cpu_s")?.as_f64()).sum();
    Ok(Summary {
        runs: grid.points.len(),
        found,
        was_torn: folder.was_torn,
        unmet: judged.collect(),
        broken,
        files,
        cpu_s,
    })
}

/// How a point is run.
type RunPoint<'a> = &'a (dyn Fn(&Point) -> Result<Outcome, String> + Sync);

/// Does the missing runs on so many threads; this one writes what they find. Gives the runs that broke off.
fn work(
    grid: &Grid,
    missing: &[usize],
    threads: usize,
    run_point: RunPoint<'_>,
    folder: &mut Folder,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<(usize, String)>, Error> {
    let begin = Instant::now();
    let found = folder.lines.len();
    let runs = grid.points.len();
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let mut broken = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..threads.clamp(1, missing.len().clamp(1, THREADS_MAX)) {
            let (sender, next, is_over) = (sender.clone(), &next, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed)
                    && let Some(run) = missing.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    // Nobody listens any more once the folder could not be written.
                    if sender.send((*run, run_point(&grid.points[*run]))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let written = (|| {
            loop {
                let done = folder.lines.len() + broken.len();
                progress(Progress { done, found, runs, elapsed: begin.elapsed() });
                match receiver.recv_timeout(TELL_EVERY) {
                    Ok((run, Ok(outcome))) => {
                        folder.append(run, Line::new(run, &grid.points[run], outcome.results))?;
                    }
                    Ok((run, Err(why))) => broken.push((run, why)),
                    Err(mpsc::RecvTimeoutError::Timeout) => {}
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        })();
        is_over.store(true, Ordering::Relaxed);
        drop(receiver);
        written
    })?;
    broken.sort_by_key(|(run, _)| *run);
    Ok(broken)
}

/// The values of a point in words: `gateways 4, link.delay 50ms, seed 1`.
pub fn label(grid: &Grid, point: &Point) -> String {
    let mut words = String::new();
    for (key, value) in grid.keys.iter().zip(&point.values) {
        // Writing to a text cannot fail.
        let _ = write!(words, "{key} {}, ", crate::scenario::expect::plain(value));
    }
    if !grid.keys.iter().any(|key| key == "seed") {
        let _ = write!(words, "seed {}", point.task.seed());
    }
    words.trim_end_matches(", ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCENARIO: &str = "[scenario]
name = \"Tips\"
kind = \"tangle\"
shows = \"a test\"
[tangle]
transactions = 2_000
lambda = 10
[grid]
k = [2, 3, 4]
[plot]
x = \"k\"
y = \"mean_tips\"
";

    /// One point of a sweep that broke off once withheld everything: no table and no plot of all the others, however long
    /// they had run.
    #[test]
    fn a_point_that_breaks_off_leaves_the_others_in_tables_and_plots() {
        let scenario = crate::scenario::parse(SCENARIO, Path::new("")).expect("it is sound");
        let grid = scenario.grid.as_ref().expect("it has one");
        let folder = tempfile::tempdir().expect("a folder");
        let run_with = |breaks: &(dyn Fn(&Point) -> bool + Sync)| {
            let run_point = |point: &Point| {
                if breaks(point) { Err("it broke".to_owned()) } else { point.task.run(&mut |_| ()) }
            };
            run_by(&scenario, grid, folder.path(), 2, &run_point, &mut |_| ())
                .expect("the folder can be used")
        };
        let rows = || {
            let table = std::fs::read_to_string(folder.path().join("results.csv")).expect("it is written");
            table.lines().skip(1).map(|row| row[..1].to_owned()).collect::<Vec<_>>()
        };
        let none = run_with(&|_| true);
        assert_eq!((none.broken.len(), rows().len()), (3, 0), "and nothing to plot is no error");
        let summary = run_with(&|point| point.values[0] == 3);
        assert_eq!(summary.broken, [(1, "it broke".to_owned())]);
        assert_eq!(label(grid, &grid.points[1]), "k 3, seed 1", "that is how it is named");
        assert_eq!(rows(), ["2", "4"]);
        assert!(
            folder.path().join("mean_tips.svg").exists() && summary.files.len() == 4,
            "{:?}",
            summary.files
        );
        // The next start does what is missing.
        let summary = run_with(&|_| false);
        assert_eq!((summary.found, summary.broken.len()), (2, 0));
        assert_eq!(rows(), ["2", "3", "4"]);
    }
}
