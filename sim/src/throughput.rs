//! What a network carries: its load is raised step by step until it saturates, and what was full then is named.
//!
//! # Saturation
//! A load is carried when the network is *stationary* under it: what comes in also goes out, and nothing that would have
//! to give way is full. Each run is judged by itself, by what does not depend on how long it is. It is saturated when one
//! of these holds:
//! - a reading was refused, since the backlog of its gateway was full;
//! - less than 98 % of the readings offered are attached at every gateway once the drain is over;
//! - the threads of a gateway together ask for more than its cores have;
//! - a wire is busy for 90 % of the load's time: near to full, queues are long whatever the load (in the simplest model nine
//!   wait for each that is sent), and here they feed themselves, since whatever comes late is asked for once more. Whether
//!   a run falls over is luck then, and no two seeds agree;
//! - a queue grows: the mean way of a reading is longer in the last third of the load than in the middle third, by more
//!   than 5 % of the time between the two. (Of what comes in, then, about a twentieth does not go out.)
//!
//! Each load runs with several seeds, and is too much when one of these runs is saturated: where it depends on the seed, it
//! depends on chance, and a plant that needs luck is too full.
//!
//! # Search
//! Loads are rungs of a ladder that does not depend on where the search begins, a step by [`ladder::GROWTH`] up or down until one was
//! carried and a heavier one was not, then the rung half-way. At the end the rungs just below are tried as well, and one far
//! below: where one of them is too much, the search goes on below it.
//!
//! # Layout
//! - here: the steps and the verdict on a run; [`ladder`]: which load comes next; [`bottleneck`]: what was full;
//!   [`table`]: what is shown of them
pub mod bottleneck;
pub mod ladder;
pub mod table;

use serde::Serialize;

use crate::network::params::{Params, Problem};
use crate::network::units::Rate;
use crate::network::{self, Progress, Report};
use ladder::Ladder;

/// Share of what was offered, in percent, that must be attached everywhere.
pub const ATTACHED_PERCENT: u64 = 98;
/// A wire that is busy for this share of the load's time is full. (Disk and threads are not judged so: a fuller disk makes
/// larger groups, and writes more with the same number of syncs.)
pub const WIRE_FULL: f64 = 0.9;
/// The mean way of a reading may grow by this much of the time that passes.
pub const GROWING: f64 = 0.05;
/// Submissions of a gateway in a second: above, more readings come together, as a poll of many registers brings them.
const SUBMISSIONS_PER_S: u64 = 100;
/// Fewest readings that a run is expected to bring, all gateways together: with fewer it says nothing.
const READINGS_MIN: u64 = 10;

/// What to look for.
#[derive(Debug, Clone)]
pub struct Search {
    /// The network. Its rate is near the first one that is tried.
    pub params: Params,
    /// The answer lies between two rates that differ by at most this, in percent; from 1.
    pub precision_percent: u64,
    /// Most loads that are tried.
    pub steps_max: usize,
    /// Runs of each load, with seeds one after the other; from 1.
    pub seeds: u64,
}

/// One run of a load.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// Why it is saturated; `None`: it is not.
    pub saturated: Option<String>,
    /// What is fullest, and how full.
    pub fullest: (String, f64),
    /// All of it.
    pub report: Report,
}

/// One load.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Readings per second and gateway.
    pub rate: Rate,
    /// Readings per second that came in, all gateways together; this and the other numbers: the mean of the runs.
    pub offered_per_s: f64,
    /// Readings per second that were attached everywhere in the last two thirds of the load.
    pub attached_per_s: f64,
    /// Transactions per second made in that time, all gateways together, notes too.
    pub transactions_per_s: f64,
    /// Why one of its runs is saturated, the first one; `None`: none is, and the load is carried.
    pub saturated: Option<String>,
    /// The runs, by seed.
    pub runs: Vec<Run>,
}

/// What was found.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The heaviest load that was carried and is lighter than all that were too much, readings per second and gateway;
    /// `None`: none was.
    pub carried: Option<Rate>,
    /// The lightest load that was too much; `None`: none was.
    pub too_much: Option<Rate>,
    /// Did the search close in? Else the steps were used up before.
    pub complete: bool,
    /// What limits it, in words.
    pub bottleneck: String,
    /// All loads, ascending.
    pub steps: Vec<Step>,
}

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

/// Looks for the load that saturates the network. `progress` is told the step (from 1), its rate, its seed and how far it is.
///
/// # Errors
/// What cannot be about the parameters, or a check of the simulator that did not hold.
pub fn run(
    search: &Search,
    progress: &mut dyn FnMut(usize, Rate, u64, Progress),
) -> Result<Outcome, Problem> {
    let ladder = ladder(search)?;
    let mut place = ladder.start(search.params.workload.rate);
    let mut steps: Vec<Step> = Vec::new();
    while let Some(rung) = place.next(&ladder).filter(|_| steps.len() < search.steps_max) {
        let (number, rate) = (steps.len() + 1, ladder.rate(rung));
        let runs = (0..search.seeds.max(1)).map(|nth| {
            let mut params = at_rate(&search.params, rate);
            params.seed = params.seed.wrapping_add(nth);
            let report = network::run(&params, &mut |so_far| progress(number, rate, params.seed, so_far))?;
            Ok(Run::of(report))
        });
        let step = Step::of(rate, runs.collect::<Result<_, Problem>>()?);
        place.tried(rung, step.saturated.is_some());
        steps.push(step);
    }
    let complete = place.next(&ladder).is_none();
    steps.sort_by_key(|step| step.rate);
    let rate = |rung: Option<i64>| rung.map(|rung| ladder.rate(rung));
    let (carried, too_much) = (rate(place.carried()), rate(place.too_much()));
    let limit = steps.iter().find(|step| Some(step.rate) == too_much);
    let bottleneck = match limit.and_then(Step::worst) {
        Some(run) => bottleneck::of(&run.report),
        None if complete => "nothing: the heaviest load that can be offered was carried".to_owned(),
        None => {
            format!("what is not known: all {} steps were used up before a load was too much", steps.len())
        }
    };
    Ok(Outcome { carried, too_much, complete, bottleneck, steps })
}

impl Search {
    /// Refuses what cannot be, before anything runs.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), Problem> {
        ladder(self).map(|_| ())
    }
}

/// The loads that can be tried.
fn ladder(search: &Search) -> Result<Ladder, Problem> {
    let params = &search.params;
    let speaking = params.gateways.saturating_sub(params.workload.silent) as u64;
    if speaking == 0 {
        let expected = format!("less than {}: somebody has to say something", params.gateways);
        return Err(Problem::new("workload.silent", params.workload.silent, expected));
    }
    let least = u128::from(READINGS_MIN) * 1_000_000_000_000 / u128::from(params.load.us.max(1) * speaking);
    let least = Rate { micro_per_s: u64::try_from(least).unwrap_or(u64::MAX).max(1) };
    Ok(Ladder::new(search.precision_percent, least.min(rate_max()), rate_max()))
}

impl Run {
    fn of(report: Report) -> Self {
        let (name, share) = report.utilisation.ranked()[0];
        let (seed, saturated) = (report.params.seed, saturation(&report));
        Self { seed, saturated, fullest: (name.to_owned(), share), report }
    }
}

impl Step {
    fn of(rate: Rate, runs: Vec<Run>) -> Self {
        let mean = |of: fn(&Report) -> f64| {
            runs.iter().map(|run| of(&run.report)).sum::<f64>() / runs.len().max(1) as f64
        };
        let saturated: Vec<&str> = runs.iter().filter_map(|run| run.saturated.as_deref()).collect();
        let saturated = saturated
            .first()
            .map(|why| format!("{why} (saturated: {} of {} runs)", saturated.len(), runs.len()));
        Self {
            rate,
            offered_per_s: mean(|report| report.offered as f64 / (report.params.load.us as f64 / 1e6)),
            attached_per_s: mean(|report| report.steady_attached_per_s),
            transactions_per_s: mean(|report| report.steady_transactions_per_s),
            saturated,
            runs,
        }
    }

    /// How many of its runs are saturated.
    pub fn saturated_runs(&self) -> usize {
        self.runs.iter().filter(|run| run.saturated.is_some()).count()
    }

    /// The first of its runs that is saturated.
    fn worst(&self) -> Option<&Run> {
        self.runs.iter().find(|run| run.saturated.is_some())
    }

    /// The middle one of what the runs say; `None` when none says anything.
    pub fn median(&self, of: impl Fn(&Report) -> Option<f64>) -> Option<f64> {
        let mut all: Vec<f64> = self.runs.iter().filter_map(|run| of(&run.report)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    }

    /// What is fullest in the run that is the fullest.
    pub fn fullest(&self) -> (&str, f64) {
        let most = self.runs.iter().max_by(|a, b| a.fullest.1.total_cmp(&b.fullest.1));
        most.map_or(("nothing", 0.0), |run| (run.fullest.0.as_str(), run.fullest.1))
    }
}

/// Why a run is saturated.
fn saturation(report: &Report) -> Option<String> {
    if report.refused > 0 {
        return Some(format!("{} readings were refused: the backlog is full", report.refused));
    }
    if report.attached * 100 < report.offered * ATTACHED_PERCENT {
        let share = report.attached as f64 * 100.0 / report.offered as f64;
        return Some(format!("{share:.1} % of the readings were attached everywhere in time"));
    }
    let used = &report.utilisation;
    if used.cpu > 1.0 {
        return Some(format!("{:.0} % of all cores were asked for", used.cpu * 100.0));
    }
    let wires = [("uplink", used.uplink), ("downlink", used.downlink), ("link", used.link)];
    if let Some((name, share)) = wires.into_iter().find(|(_, share)| *share >= WIRE_FULL) {
        return Some(format!("the fullest {name} was busy for {:.0} % of the load's time", share * 100.0));
    }
    let [_, Some(middle), Some(last)] = report.way_by_third_ms else { return None };
    let third_ms = report.params.load.us as f64 / 3e3;
    (last - middle > GROWING * third_ms).then(|| {
        format!(
            "the mean way of a reading grew from {middle:.0} to {last:.0} ms within {:.1} s",
            third_ms / 1e3
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
