//! What a network carries: its load is raised step by step until it saturates, and what was full then is named.
//!
//! # Saturation
//! A step is saturated when one of these holds:
//! - less than 98 % of the readings offered are attached at every gateway once the drain is over;
//! - the p99 of a reading's way to the last gateway is longer than in the lightest step by more than a tenth of the load's
//!   time: what comes in faster than it leaves waits longer and longer, and so long a queue only builds up then;
//! - the threads of a gateway together ask for more than its cores have.
//!
//! # Layout
//! - here: the steps; [`table`]: what is shown of them
pub mod table;

use serde::Serialize;

use crate::network::params::{Params, Problem};
use crate::network::units::Rate;
use crate::network::{self, Progress, Report};

/// Share of what was offered, in percent, that must be attached everywhere.
pub const ATTACHED_PERCENT: u64 = 98;
/// The rate grows so many times from step to step until it is too much.
const GROWTH: u64 = 4;
/// Submissions of a gateway in a second: above, more readings come together, as a poll of many registers brings them.
const SUBMISSIONS_PER_S: u64 = 100;
/// What is not the first to be full when it is not this full.
const FULL: f64 = 0.7;
/// Bytes that wait for one peer and are more than a burst.
const MANY_SEND_BYTES: usize = 128 * 1024;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Search {
    /// The network. Its rate is the first one that is tried.
    pub params: Params,
    /// The answer lies between two rates that differ by at most this, in percent.
    pub precision_percent: u64,
    /// Most runs.
    pub steps_max: usize,
}

/// One load.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Readings per second and gateway.
    pub rate: Rate,
    /// Readings per second that came in, all gateways together.
    pub offered_per_s: f64,
    /// Readings per second of load that were attached everywhere; of a saturated run per second until its end.
    pub attached_per_s: f64,
    /// Transactions per second made, all gateways together, notes too.
    pub transactions_per_s: f64,
    /// Why it is saturated; `None`: it is not.
    pub saturated: Option<String>,
    /// What is fullest, and how full.
    pub fullest: (String, f64),
    /// The run.
    pub report: Report,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The heaviest load that was carried, readings per second and gateway; `None`: none was.
    pub carried: Option<Rate>,
    /// The lightest load that was too much; `None`: the most that can be offered was carried.
    pub too_much: Option<Rate>,
    /// What limits it, in words.
    pub bottleneck: String,
    /// All loads, ascending.
    pub steps: Vec<Step>,
}

/// The least rate that is tried: one reading in 100 s.
const RATE_MIN: Rate = Rate { micro_per_s: 10_000 };

/// The most that one gateway is offered: full submissions, as often as they come.
pub fn rate_max() -> Rate {
    Rate::per_s(SUBMISSIONS_PER_S * selvedge_core::limits::SUBMIT_READINGS_MAX as u64)
}

/// The network at this rate.
pub fn at_rate(params: &Params, rate: Rate) -> Params {
    let mut params = params.clone();
    params.workload.rate = rate;
    let together = rate.micro_per_s.div_ceil(1_000_000 * SUBMISSIONS_PER_S);
    params.workload.together = params.workload.together.max(together as u32);
    params
}

/// Looks for the load that saturates the network. `progress` is told the step (from 1), its rate and how far it is.
///
/// # Errors
/// What cannot be about the parameters, or a check of the simulator that did not hold.
pub fn run(search: &Search, progress: &mut dyn FnMut(usize, Rate, Progress)) -> Result<Outcome, Problem> {
    let first = search.params.workload.rate.clamp(RATE_MIN, rate_max());
    let mut steps: Vec<Step> = Vec::new();
    let (mut carried, mut too_much): (Option<Rate>, Option<Rate>) = (None, None);
    let mut next = Some(first);
    while let Some(rate) = next.filter(|_| steps.len() < search.steps_max) {
        let params = at_rate(&search.params, rate);
        let number = steps.len() + 1;
        let report = network::run(&params, &mut |so_far| progress(number, rate, so_far))?;
        // Of the steps so far the lightest one shows what a reading's way takes without a queue.
        let lightest = steps.iter().filter(|step| step.rate < rate).min_by_key(|step| step.rate);
        let step = Step::of(report, lightest);
        if step.saturated.is_some() {
            too_much = Some(too_much.map_or(rate, |other| other.min(rate)));
        } else {
            carried = Some(carried.map_or(rate, |other| other.max(rate)));
        }
        steps.push(step);
        next = next_rate(carried, too_much, search.precision_percent);
    }
    steps.sort_by_key(|step| step.rate);
    let bottleneck = bottleneck(&steps, too_much);
    Ok(Outcome { carried, too_much, bottleneck, steps })
}

/// Up or down by [`GROWTH`] until one load was carried and one was too much; then the geometric mean of the two.
fn next_rate(carried: Option<Rate>, too_much: Option<Rate>, precision_percent: u64) -> Option<Rate> {
    match (carried.map(|rate| rate.micro_per_s), too_much.map(|rate| rate.micro_per_s)) {
        (None, None) => None,
        (Some(low), None) => {
            let most = rate_max().micro_per_s;
            (low < most).then(|| Rate { micro_per_s: low.saturating_mul(GROWTH).min(most) })
        }
        (None, Some(high)) => {
            let least = RATE_MIN.micro_per_s;
            (high > least).then(|| Rate { micro_per_s: (high / GROWTH).max(least) })
        }
        (Some(low), Some(high)) if high * 100 <= low * (100 + precision_percent) => None,
        (Some(low), Some(high)) => {
            let middle = (u128::from(low) * u128::from(high)).isqrt() as u64;
            (middle > low && middle < high).then_some(Rate { micro_per_s: middle })
        }
    }
}

impl Step {
    fn of(report: Report, lightest: Option<&Self>) -> Self {
        let load_s = report.params.load.us as f64 / 1e6;
        let saturated = saturation(&report, lightest.map(|step| &step.report));
        let until_s = if saturated.is_some() { report.virtual_s.max(load_s) } else { load_s };
        let (name, share) = report.utilisation.ranked()[0];
        Self {
            rate: report.params.workload.rate,
            offered_per_s: report.offered as f64 / load_s,
            attached_per_s: report.attached as f64 / until_s,
            transactions_per_s: (report.transactions + report.notes) as f64 / until_s,
            saturated,
            fullest: (name.to_owned(), share),
            report,
        }
    }
}

/// Why a run is saturated.
fn saturation(report: &Report, lightest: Option<&Report>) -> Option<String> {
    if report.refused > 0 {
        return Some(format!("{} readings were refused: the backlog is full", report.refused));
    }
    if report.attached * 100 < report.offered * ATTACHED_PERCENT {
        let share = report.attached as f64 * 100.0 / report.offered as f64;
        return Some(format!("{share:.1} % of the readings were attached everywhere in time"));
    }
    if report.utilisation.cpu > 1.0 {
        return Some(format!("{:.0} % of all cores were asked for", report.utilisation.cpu * 100.0));
    }
    let p99 = |of: &Report| of.reading_attach_latency_ms.p99;
    let (now, before) = (p99(report)?, lightest.and_then(p99)?);
    let most = before + report.params.load.us as f64 / 1e4;
    (now > most).then(|| format!("the p99 of a reading's way grew from {before:.0} to {now:.0} ms"))
}

/// What limits it: what was fullest in the lightest step that was too much.
fn bottleneck(steps: &[Step], too_much: Option<Rate>) -> String {
    let Some(step) = steps.iter().find(|step| Some(step.rate) == too_much) else {
        return "none found: the heaviest load that can be offered was carried".to_owned();
    };
    let (name, share) = &step.fullest;
    let report = &step.report;
    if *share >= FULL {
        return format!("{name} ({:.0} % of the load's time)", share * 100.0);
    }
    let fullest = format!("nothing is full (most: {name}, {:.0} %)", share * 100.0);
    if report.queue_peaks.send_bytes > MANY_SEND_BYTES {
        return format!("the windows of the connections: {fullest}, and frames wait to be sent");
    }
    format!(
        "the wait for sealing, signature and sync, since a gateway makes one transaction at a time: {fullest}, and {} \
         readings wait",
        report.queue_peaks.backlog_readings
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows the search against a network that carries so much.
    fn found(carries: u64, first: Rate) -> (Option<Rate>, Option<Rate>, usize) {
        let (mut carried, mut too_much, mut runs) = (None, None, 0);
        let mut next = Some(first);
        while let Some(rate) = next {
            runs += 1;
            assert!(runs < 100);
            if rate.micro_per_s > carries {
                too_much = Some(rate);
            } else {
                carried = Some(rate);
            }
            next = next_rate(carried, too_much, 10);
        }
        (carried, too_much, runs)
    }

    #[test]
    fn the_search_closes_in_from_above_and_below() {
        for carries in [20_000, 3_000_000, 77_000_000, 40_000_000_000] {
            let (carried, too_much, runs) = found(carries, Rate::per_s(10));
            let (low, high) = (carried.expect("one").micro_per_s, too_much.expect("one").micro_per_s);
            assert!(low <= carries && carries < high && high * 100 <= low * 110, "{carries}: {low} {high}");
            assert!(runs < 20, "{runs} runs");
        }
    }

    #[test]
    fn the_search_ends_at_its_bounds() {
        assert_eq!(found(u64::MAX, Rate::per_s(10)).0, Some(rate_max()));
        assert_eq!(found(1, Rate::per_s(10)).1, Some(RATE_MIN));
    }

    #[test]
    fn readings_come_together_at_high_rates() {
        let params = Params::default();
        assert_eq!(at_rate(&params, Rate::per_s(100)).workload.together, 1);
        assert_eq!(at_rate(&params, Rate::per_s(101)).workload.together, 2);
        let most = at_rate(&params, rate_max());
        assert_eq!(most.workload.together as usize, selvedge_core::limits::SUBMIT_READINGS_MAX);
        assert_eq!(most.check(), Ok(()));
    }
}
