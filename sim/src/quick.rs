//! A first look in about a minute: the theory, a network of ten gateways, one run with faults. Findings in words.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::case::{Base, Case};
use crate::network::measure::Measured;
use crate::network::params::{Params, Problem};
use crate::network::units::Span;
use crate::network::{self, Report};
use crate::plot::{Axis, Plot};
use crate::{Plan, tangle};

/// The mean number of tips may be so far from the theory, as a share: what issue 5 asks of a million transactions.
const TIPS_WITHIN: f64 = 0.02;
/// Approvals of the runs of the theory.
const APPROVALS: [usize; 3] = [2, 3, 8];
/// λ of the weighted walks, and how much heavier counts in them: from hardly to much.
const WALK_LAMBDA: f64 = 20.0;
const ALPHAS: [f64; 3] = [0.001, 0.1, 1.0];
/// What the gateways of the network are built of.
const HARDWARE: &str = "pi4";

/// How much is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Transactions of each run of the theory.
    pub transactions: u64,
    /// Transactions of each weighted walk.
    pub walked: u64,
    /// Gateways of the network.
    pub gateways: usize,
    /// For how long its readings come in, virtual seconds.
    pub load_s: u64,
    /// Seed of the run with faults.
    pub seed: u64,
}

impl Size {
    /// What the command runs.
    pub const USUAL: Self =
        Self { transactions: 2_000_000, walked: 20_000, gateways: 10, load_s: 60, seed: 3 };
    /// For tests: the same in a second or two.
    pub const SMALL: Self = Self { transactions: 100_000, walked: 4_000, gateways: 4, load_s: 5, seed: 3 };
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Short and constant, for machines.
    pub name: &'static str,
    /// What was found, in words, with numbers.
    pub words: String,
    /// Did it hold? A finding that is only told always does.
    pub holds: bool,
    /// The numbers.
    pub numbers: Value,
}

/// All of it.
#[derive(Debug)]
pub struct Findings {
    /// In the order in which they are told.
    pub findings: Vec<Finding>,
    /// The plots that were written.
    pub plots: Vec<PathBuf>,
    /// Seconds of CPU.
    pub cpu_s: f64,
}

impl Findings {
    /// Did everything hold?
    pub fn hold(&self) -> bool {
        self.findings.iter().all(|finding| finding.holds)
    }

    /// One object.
    pub fn to_json(&self) -> Value {
        let of = |finding: &Finding| {
            json!({
                "name": finding.name,
                "holds": finding.holds,
                "words": finding.words,
                "numbers": finding.numbers,
            })
        };
        json!({
            "holds": self.hold(),
            "findings": self.findings.iter().map(of).collect::<Vec<_>>(),
            "plots": self.plots,
            "cpu_s": self.cpu_s,
        })
    }
}

/// Runs it all, and writes the plots into `folder`, which is there. `progress` is told what begins.
///
/// # Errors
/// When a plot cannot be drawn or written.
pub fn run(
    size: Size,
    folder: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<Findings, crate::plot::Error> {
    let before = crate::cpu::thread_s();
    let mut all = Findings { findings: Vec::new(), plots: Vec::new(), cpu_s: 0.0 };
    progress("theory: the abstract tangle of the papers");
    theory(size, folder, &mut all)?;
    progress("weighted walks: who is left behind");
    walks(size, folder, &mut all)?;
    progress(&format!("network: {} gateways for {} s", size.gateways, size.load_s));
    gateways(size, folder, &mut all)?;
    progress(&format!("faults: one run, seed {}", size.seed));
    all.findings.push(faults(size.seed));
    all.cpu_s = crate::cpu::thread_s() - before;
    Ok(all)
}

fn theory(size: Size, folder: &Path, all: &mut Findings) -> Result<(), crate::plot::Error> {
    let mut outcomes = Vec::new();
    for k in APPROVALS {
        let params = tangle::Params { k, transactions: size.transactions, ..tangle::Params::default() };
        let finding = match tangle::run(&params, &mut |_| ()) {
            Ok(outcome) => {
                let finding = tips_of(&params, &outcome);
                outcomes.push(outcome);
                finding
            }
            Err(problems) => broken("tips", &all_of(&problems)),
        };
        all.findings.push(finding);
    }
    let mut plot = Plot::new(
        "Tips of the abstract tangle, λ = 100, h = 1",
        Axis::new("time, h"),
        Axis::new("tips").from(0.0),
    );
    for outcome in &outcomes {
        let (k, samples) = (outcome.params.k, &outcome.samples);
        let expected = tangle::theory::tips(k, outcome.params.lambda, outcome.params.h);
        // The first hundred h: how it settles, and how it stays.
        let early = samples.iter().filter(|sample| sample.time <= 100.0 * outcome.params.h);
        plot = plot
            .line(format!("k = {k}"), early.map(|sample| (sample.time, f64::from(sample.tips))))
            .same_colour()
            .dashed(format!("theory, k = {k}"), [(0.0, expected), (100.0, expected)]);
    }
    write(&plot, folder, "tips-theory.svg", all)
}

fn tips_of(params: &tangle::Params, outcome: &tangle::Outcome) -> Finding {
    let (lambda, h, k) = (params.lambda, params.h, params.k);
    let expected = tangle::theory::tips(k, lambda, h);
    let deviation = outcome.mean_tips / expected - 1.0;
    let first = format!(
        "With λ = {lambda} transactions in a unit of time, each seen by all h = {h} later and approving k = {k} tips chosen \
         uniformly, the tangle held {:.1} tips at a time; the theory, k·λ·h/(k−1) (Popov), says {expected:.1} ({:+.2} %). \
         A transaction waited {:.2} h for its first approval.",
        outcome.mean_tips,
        100.0 * deviation,
        outcome.first_approval.mean() / h
    );
    let further = format!(
        "With k = {k} it held {:.1} tips; the theory says {expected:.1} ({:+.2} %). The first approval came after {:.2} h.",
        outcome.mean_tips,
        100.0 * deviation,
        outcome.first_approval.mean() / h
    );
    let words = if k == APPROVALS[0] { first } else { further };
    Finding {
        name: "tips",
        words,
        holds: deviation.abs() <= TIPS_WITHIN,
        numbers: json!({"k": k, "mean_tips": outcome.mean_tips, "expected": expected, "deviation": deviation}),
    }
}

/// Walks that prefer heavy transactions leave others behind: the more, the greater α.
fn walks(size: Size, folder: &Path, all: &mut Findings) -> Result<(), crate::plot::Error> {
    let mut outcomes = Vec::new();
    for alpha in ALPHAS {
        let tips = tangle::Selection::Walk { alpha };
        let params = tangle::Params {
            lambda: WALK_LAMBDA,
            tips,
            transactions: size.walked,
            ..tangle::Params::default()
        };
        match tangle::run(&params, &mut |_| ()) {
            Ok(outcome) => outcomes.push((alpha, outcome)),
            Err(problems) => {
                all.findings.push(broken("walks", &all_of(&problems)));
                return Ok(());
            }
        }
    }
    let shares: Vec<(f64, f64)> =
        outcomes.iter().map(|(alpha, o)| (*alpha, o.never_approved_share())).collect();
    let told: Vec<String> =
        shares.iter().map(|(alpha, share)| format!("{:.1} % at α = {alpha}", 100.0 * share)).collect();
    let words = format!(
        "Where tips are chosen by walks that prefer heavy transactions (λ = {WALK_LAMBDA}, {} transactions), some are never \
         approved: {}. Their tips pile up, as the plot shows; uniform selection leaves none behind, and it is what gateways \
         ship.",
        size.walked,
        told.join(", ")
    );
    all.findings.push(Finding {
        name: "walks",
        words,
        holds: shares.windows(2).all(|pair| pair[0].1 < pair[1].1),
        numbers: json!(shares),
    });
    let mut plot = Plot::new(
        format!("Tips under weighted walks, λ = {WALK_LAMBDA}, h = 1"),
        Axis::new("time, h"),
        Axis::new("tips").log(),
    );
    for (alpha, outcome) in &outcomes {
        let samples = outcome.samples.iter().map(|sample| (sample.time, f64::from(sample.tips)));
        plot = plot.line(format!("α = {alpha}"), samples);
    }
    write(&plot, folder, "tips-walks.svg", all)
}

fn gateways(size: Size, folder: &Path, all: &mut Findings) -> Result<(), crate::plot::Error> {
    let hardware = match HARDWARE.parse() {
        Ok(hardware) => hardware,
        Err(why) => {
            all.findings.push(broken("network", &why));
            return Ok(());
        }
    };
    let params =
        Params { gateways: size.gateways, load: Span::from_s(size.load_s), hardware, ..Params::default() };
    let measured = match network::measure(&params, &mut |_| ()) {
        Ok(measured) => measured,
        Err(problem) => {
            all.findings.push(broken("network", &problem));
            return Ok(());
        }
    };
    let report = Report::of(&params, &measured);
    all.findings.push(ledgers(&params, &report));
    all.findings.push(latencies(&params, &report));
    all.findings.push(busy(&report));
    write(&latency_plot(&params, &measured), folder, "network-latency.svg", all)?;
    write(&tips_plot(&params, &measured), folder, "network-tips.svg", all)
}

fn ledgers(params: &Params, report: &Report) -> Finding {
    let words = format!(
        "{} gateways ({}) took {} readings in {}, {} each, and made {} transactions of them; {} readings were attached \
         at every gateway and {} witnessed by a quorum. At the end the ledgers were {}.",
        params.gateways,
        params.hardware,
        report.offered,
        params.load,
        params.workload.rate,
        report.transactions,
        report.attached,
        report.witnessed,
        if report.ledgers_equal { "the same everywhere" } else { "NOT the same everywhere" }
    );
    Finding {
        name: "ledgers",
        words,
        holds: report.ledgers_equal
            && report.drained
            && report.offered > 0
            && report.attached == report.offered
            && report.witnessed == report.offered,
        numbers: json!({
            "offered": report.offered,
            "attached": report.attached,
            "witnessed": report.witnessed,
            "ledgers_equal": report.ledgers_equal,
        }),
    }
}

fn latencies(params: &Params, report: &Report) -> Finding {
    let ms = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), |ms| format!("{ms:.0} ms"));
    let (attach, witness, reading) =
        (report.attach_latency_ms, report.witness_latency_ms, report.reading_attach_latency_ms);
    let words = format!(
        "Over links of {} a transaction was attached at another gateway after {} (median; 99 of 100 within {}), and its own \
         gateway saw it witnessed after {}. From a reading's arrival to its attachment everywhere it took {}: most of \
         that is the wait for its batch, which is closed after {}.",
        params.link.delay,
        ms(attach.p50),
        ms(attach.p99),
        ms(witness.p50),
        ms(reading.p50),
        params.batch.age
    );
    Finding {
        name: "latency",
        words,
        holds: attach.p50.is_some() && witness.p50.is_some(),
        numbers: json!({"attach_latency_ms": attach, "witness_latency_ms": witness, "reading_attach_latency_ms": reading}),
    }
}

fn busy(report: &Report) -> Finding {
    let ranked = report.utilisation.ranked();
    let (name, share) = ranked.first().copied().unwrap_or(("nothing", 0.0));
    let words = format!(
        "Each transaction cost {:.1} kB and {:.0} frames on all wires together. The busiest part of the busiest gateway \
         ({}) was: {name}, {:.1} % of its time. The load can grow until that is full; `throughput` looks for where that is.",
        report.bytes_per_transaction.unwrap_or(0.0) / 1e3,
        report.messages_per_transaction.unwrap_or(0.0),
        report.params.hardware,
        100.0 * share
    );
    Finding {
        name: "cost",
        words,
        holds: true,
        numbers: json!({"bytes_per_transaction": report.bytes_per_transaction, "busiest": name, "share": share}),
    }
}

fn latency_plot(params: &Params, measured: &Measured) -> Plot {
    let mut plot = Plot::new(
        format!("{} gateways, links {}: how long it takes", params.gateways, params.link.delay),
        Axis::new("ms").log(),
        Axis::new("share that is done, %").from(0.0).to(100.0),
    );
    for (name, histogram) in [
        ("transaction attached elsewhere", &measured.attach),
        ("transaction witnessed", &measured.witness),
        ("reading attached everywhere", &measured.reading_attach),
    ] {
        let points = (1..1_000).step_by(5).filter_map(|permille| {
            Some((histogram.quantile(permille)? as f64 / 1e3, permille as f64 / 10.0))
        });
        plot = plot.line(name, points);
    }
    plot
}

fn tips_plot(params: &Params, measured: &Measured) -> Plot {
    let began = measured.began_us;
    let at = |us: u64| us.saturating_sub(began) as f64 / 1e6;
    let samples = || measured.tips.iter().filter(|sample| sample.time_us >= began);
    Plot::new(
        format!("{} gateways: tips over time", params.gateways),
        Axis::new("time, s"),
        Axis::new("tips").from(0.0),
    )
    .line("mean of the gateways", samples().map(|sample| (at(sample.time_us), sample.mean)))
    .line("most of one gateway", samples().map(|sample| (at(sample.time_us), sample.most as f64)))
}

fn faults(seed: u64) -> Finding {
    let plan = Plan::faulty(seed);
    let report = match crate::run(&plan) {
        Ok(report) => report,
        Err(failure) => {
            let again = Case::new(Base::Faulty, seed);
            return broken("faults", &format!("{failure}; again: {again} --trace"));
        }
    };
    let mut words = format!(
        "With faults drawn from seed {seed} ({:.1} % of frames lost, {:.1} % doubled, {} dead links for a while, {} crashes, \
         {} forks by hostile members) ",
        plan.faults.loss_permille as f64 / 10.0,
        plan.faults.duplicate_permille as f64 / 10.0,
        plan.faults.partitions,
        report.crashes,
        report.forks
    );
    // Writing to a text cannot fail.
    let _ = write!(
        words,
        "{} gateways ended with the same {} transactions. Of {} acknowledged readings none was lost and none doubled; \
         every check held after each of {} steps.",
        report.nodes, report.transactions, report.acknowledged, report.steps
    );
    Finding {
        name: "faults",
        words,
        holds: report.ledgers_equal && report.transactions > 0,
        numbers: report.to_json(),
    }
}

fn broken(name: &'static str, why: &dyn std::fmt::Display) -> Finding {
    Finding { name, words: format!("BROKEN: {why}"), holds: false, numbers: Value::Null }
}

fn all_of(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

fn write(plot: &Plot, folder: &Path, name: &str, all: &mut Findings) -> Result<(), crate::plot::Error> {
    let path = folder.join(name);
    plot.write(&path)?;
    all.plots.push(path);
    Ok(())
}
