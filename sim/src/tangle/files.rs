//! The series of one or several runs as CSV files and as plots.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::outcome::Outcome;
use super::params::Selection;
use super::theory;
use crate::plot::{Axis, Error, Plot};

/// Spans until the first approval are drawn up to so many h, in bins of h divided by [`Spans`](super::measure::Spans)'
/// bins × this.
const SPAN_H: f64 = 7.0;
const BINS_JOINED: usize = 50;
/// Tips are drawn on a log axis when a run has so many times those of the theory.
const LOG_FROM: f64 = 5.0;
/// Direct approvers that are drawn.
const APPROVERS_DRAWN: usize = 10;

/// Writes tips.csv, first_approval.csv, direct_approvers.csv and cumulative_weight.csv; the first column names the run.
///
/// # Errors
/// The file that cannot be written, and why.
pub fn write_csv(runs: &[Outcome], folder: &Path) -> Result<(), Error> {
    let mut files = [
        ("tips.csv", "run,time,tips,visible_tips\n".to_owned()),
        ("first_approval.csv", "run,span,transactions\n".to_owned()),
        ("direct_approvers.csv", "run,approvers,transactions,share_by_theory\n".to_owned()),
        ("cumulative_weight.csv", "run,age,weight,weight_by_theory\n".to_owned()),
    ];
    for run in runs {
        let [tips, spans, approvers, weights] = &mut files;
        let name = run.params.tips;
        // Writing to a string cannot fail.
        for sample in &run.samples {
            let _ = writeln!(tips.1, "{name},{},{},{}", sample.time, sample.tips, sample.visible);
        }
        for (span, count) in run.first_approval.histogram(BINS_JOINED) {
            let _ = writeln!(spans.1, "{name},{span},{count}");
        }
        for (n, count) in run.direct_approvers.iter().enumerate() {
            let _ = writeln!(approvers.1, "{name},{n},{count},{}", theory::approvers(run.params.k, n));
        }
        for ((age, weight), (_, expected)) in run.cumulative_weight.iter().zip(mean_field(run)) {
            let _ = writeln!(weights.1, "{name},{age},{weight},{expected}");
        }
    }
    create(folder)?;
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
    }
    Ok(())
}

/// Writes tips.svg, first_approval.svg, direct_approvers.svg, cumulative_weight.svg and, for several walks,
/// never_approved.svg. Returns what was written; a plot without a point is left out.
///
/// # Errors
/// The file that cannot be written, and why.
///
/// # Panics
/// When there is no run.
pub fn write_plots(runs: &[Outcome], folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let first = &runs.first().expect("a command has at least one run").params;
    let about = format!("λ = {}, h = {}, k = {}", first.lambda, first.h, first.k);
    create(folder)?;
    let plots = [
        ("tips.svg", tips(runs, &about)),
        ("first_approval.svg", spans(runs, &about)),
        ("direct_approvers.svg", approvers(runs, &about)),
        ("cumulative_weight.svg", weights(runs, &about)),
        ("never_approved.svg", never_approved(runs, &about)),
    ];
    let mut written = Vec::new();
    for (name, plot) in plots {
        let path = folder.join(name);
        match plot.write(&path) {
            Ok(()) => written.push(path),
            Err(Error::Empty(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

fn create(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Write { path: folder.to_owned(), source })
}

fn mean_field(run: &Outcome) -> Vec<(f64, f64)> {
    let Some((age, _)) = run.cumulative_weight.get(1) else { return Vec::new() };
    theory::mean_field(&run.params, *age, run.cumulative_weight.len() - 1)
}

fn tips(runs: &[Outcome], about: &str) -> Plot {
    let title = format!("Tips over time, {about}");
    let params = &runs[0].params;
    let expected = theory::tips(params.k, params.lambda, params.h);
    // Where tips are left behind for ever the others would lie flat on the axis.
    let grows = runs.iter().any(|run| run.mean_tips > LOG_FROM * expected);
    let y = if grows { Axis::new("tips").log() } else { Axis::new("tips").from(0.0) };
    let mut plot = Plot::new(title, Axis::new("time, units"), y);
    for run in runs {
        let points = run.samples.iter().map(|sample| (sample.time, f64::from(sample.tips)));
        plot = plot.line(run.label(), points);
    }
    let end = runs[0].samples.last().map_or(0.0, |sample| sample.time);
    plot.dashed("kλh/(k−1)", [(0.0, expected), (end, expected)])
}

fn spans(runs: &[Outcome], about: &str) -> Plot {
    let (k, h) = (runs[0].params.k as f64, runs[0].params.h);
    let title = format!("Time to the first approval, {about}");
    let x = Axis::new("time from arrival, units").from(0.0).to(SPAN_H * h);
    let mut plot = Plot::new(title, x, Axis::new("density, 1/unit").from(0.0));
    for run in runs {
        let bins: Vec<(f64, u64)> = run.first_approval.histogram(BINS_JOINED).collect();
        let width = bins.first().map_or(1.0, |(middle, _)| 2.0 * middle);
        let all = run.judged() as f64 * width;
        plot = plot.line(run.label(), bins.into_iter().map(move |(span, count)| (span, count as f64 / all)));
    }
    let rate = (k - 1.0) / h;
    let expected = (0..=240).map(|n| h + f64::from(n) * (SPAN_H - 1.0) * h / 240.0);
    plot.dashed("urts, theory", expected.map(|span| (span, rate * libm::exp(-rate * (span - h)))))
}

fn approvers(runs: &[Outcome], about: &str) -> Plot {
    let title = format!("Direct approvers, {about}");
    let mut plot = Plot::new(title, Axis::new("direct approvers"), Axis::new("share of transactions"));
    for run in runs {
        let judged = run.judged() as f64;
        let counts = run.direct_approvers.iter().take(APPROVERS_DRAWN + 1).enumerate();
        plot = plot.bars(run.label(), counts.map(|(n, count)| (n as f64, *count as f64 / judged)));
    }
    let k = runs[0].params.k;
    plot.points("urts, theory", (0..=APPROVERS_DRAWN).map(|n| (n as f64, theory::approvers(k, n))))
}

fn weights(runs: &[Outcome], about: &str) -> Plot {
    let title = format!("Growth of cumulative weight, {about}");
    let y = Axis::new("mean cumulative weight").log().from(1.0);
    let mut plot = Plot::new(title, Axis::new("age, units"), y);
    for run in runs {
        plot = plot.line(run.label(), run.cumulative_weight.iter().copied());
    }
    plot.dashed("urts, mean field", mean_field(&runs[0]))
}

/// Of walks: the share left behind by α.
fn never_approved(runs: &[Outcome], about: &str) -> Plot {
    let walks: Vec<(f64, f64)> = runs
        .iter()
        .filter_map(|run| match run.params.tips {
            Selection::Walk { alpha } if alpha > 0.0 => Some((alpha, run.never_approved_share())),
            _ => None,
        })
        .collect();
    let title = format!("Transactions never approved, {about}");
    let plot = Plot::new(title, Axis::new("α").log(), Axis::new("share of transactions").from(0.0));
    if walks.len() < 2 {
        return plot;
    }
    plot.line("", walks.iter().copied()).same_colour().points("walks", walks)
}
