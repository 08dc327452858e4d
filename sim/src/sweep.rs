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

use crate::scenario::{Grid, Point, Scenario, Verdict};
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
    /// Runs that broke off, and why.
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
    let mut folder = Folder::open(scenario, grid, into)?;
    let found = folder.lines.len();
    let missing: Vec<usize> = (0..grid.points.len()).filter(|run| !folder.lines.contains_key(run)).collect();
    let broken = work(grid, &missing, threads, &mut folder, progress)?;
    let mut files = Vec::new();
    let is_whole = broken.is_empty();
    if is_whole {
        files.push(folder.sort()?);
        for (name, text) in table::tables(grid, &folder.lines) {
            files.push(folder.write(name, text.as_bytes())?);
        }
        if let Some(view) = &scenario.view {
            for (name, svg) in plots::draw(scenario, view, grid, &folder.lines).map_err(Error::Plot)? {
                files.push(folder.write(&name, svg.as_bytes())?);
            }
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

/// Does the missing runs on so many threads; this one writes what they find. Gives the runs that broke off.
fn work(
    grid: &Grid,
    missing: &[usize],
    threads: usize,
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
                    if sender.send((*run, grid.points[*run].task.run(&mut |_| ()))).is_err() {
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
