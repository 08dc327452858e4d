//! Scenarios of kind `swarm`: runs with faults, every check of the swarm after each step.

use std::fmt::Write as _;

use selvedge_core::limits;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::network::params::Problem;
use crate::network::units::{Share, Span};
use crate::signatures::Mode;
use crate::{Failure, Plan, Report};

/// Most runs of one scenario; a longer hunt is `selvedge-sim swarm`.
const RUNS_MAX: u64 = 100_000;
/// Most gateways of a run: its checks look at everything after each step.
const GATEWAYS_MAX: usize = 100;
/// Bounds of the time for which readings come in.
const LOAD: (Span, Span) = (Span::from_s(1), Span::from_s(3_600));
/// Most windows in which a link is dead, and most jumps of clocks.
const WINDOWS_MAX: u64 = 1_000;
/// Most things that hostile peers do.
const HOSTILE_MAX: u64 = 10_000;

/// Where the faults come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Delays, and nothing worse.
    Calm,
    /// Every parameter and fault from the seed.
    Faulty,
    /// The same, and one gateway starts again from an old image of its card.
    Restored,
}

/// Runs with faults. What is written here takes the place of what the seed would have drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Of the first run; each further run has the next one.
    pub seed: u64,
    /// How many runs.
    pub runs: u64,
    /// Where the faults come from.
    pub plan: Origin,
    /// Gateways; without it 3 to 7, by the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateways: Option<usize>,
    /// For how long readings come in and faults happen, virtual time.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub load: Option<Span>,
    /// Frames that get lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Share>,
    /// Frames that arrive twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Share>,
    /// Windows in which one way of a link is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u64>,
    /// Crashes of each gateway come after 1 to so many effects, counted from its start; 0: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crash_effects: Option<u64>,
    /// Jumps of a wall clock by up to an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_jumps: Option<u64>,
    /// Things that hostile members do; 0: there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostile: Option<u64>,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            seed: 1,
            runs: 1,
            plan: Origin::Faulty,
            gateways: None,
            load: None,
            loss: None,
            duplicate: None,
            partitions: None,
            crash_effects: None,
            clock_jumps: None,
            hostile: None,
        }
    }
}

/// Names of the results, in the order of the alphabet.
pub const RESULTS: [&str; 13] = [
    "acknowledged",
    "cpu_s",
    "crashes",
    "failed",
    "first_failure",
    "forks",
    "ledgers_equal",
    "readings",
    "restored",
    "runs",
    "steps",
    "trace_hash",
    "transactions",
];

impl Params {
    /// Refuses what cannot be.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut bound = |key: &str, got: Option<u64>, low: u64, high: u64, what: &str| {
            if let Some(got) = got.filter(|got| !(low..=high).contains(got)) {
                problems.push(Problem::new(key, got, format!("{low} to {high}{what}")));
            }
        };
        bound("runs", Some(self.runs), 1, RUNS_MAX, "");
        let gateways = self.gateways.map(|n| n as u64);
        bound(
            "gateways",
            gateways,
            2,
            GATEWAYS_MAX.min(limits::COMMITTEE_MAX) as u64,
            ", the committee of a run",
        );
        bound("partitions", self.partitions, 0, WINDOWS_MAX, "");
        bound("crash_effects", self.crash_effects, 0, 1_000_000, "");
        bound("clock_jumps", self.clock_jumps, 0, WINDOWS_MAX, "");
        bound("hostile", self.hostile, 0, HOSTILE_MAX, "");
        // A network in which most frames are lost never comes to rest, and the liveness phase would say so.
        for (key, share) in [("loss", self.loss), ("duplicate", self.duplicate)] {
            if let Some(share) = share.filter(|share| share.ppm > 500_000 || share.ppm % 1_000 != 0) {
                problems.push(Problem::new(key, share, "0% to 50%, in steps of 0.1%"));
            }
        }
        if let Some(load) = self.load.filter(|load| !(LOAD.0..=LOAD.1).contains(load)) {
            problems.push(Problem::new("for", load, format!("{} to {}", LOAD.0, LOAD.1)));
        }
        if self.plan == Origin::Restored && self.crash_effects.is_some_and(|effects| effects > 0) {
            let expected = "0 (or nothing) with plan = \"restored\": the one gateway that is started from an image is the crash";
            problems.push(Problem::new("crash_effects", self.crash_effects.unwrap_or(0), expected));
        }
        if self.plan == Origin::Restored && self.loss.is_some_and(|loss| loss.ppm > 0) {
            let expected =
                "0% (or nothing) with plan = \"restored\": its links keep their order and lose nothing";
            problems.push(Problem::new("loss", self.loss.unwrap_or_default(), expected));
        }
        if self.seed.checked_add(self.runs).is_none() {
            problems.push(Problem::new("seed", self.seed, format!("room for {} seeds above it", self.runs)));
        }
        problems
    }

    /// The run with this seed.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut plan = match (self.plan, self.gateways) {
            (Origin::Calm, gateways) => Plan::calm(seed, gateways.unwrap_or(3), 20_000_000),
            (Origin::Faulty, Some(gateways)) => Plan::faulty_of(seed, gateways),
            (Origin::Faulty, None) => Plan::faulty(seed),
            (Origin::Restored, gateways) => {
                let drawn = Plan::restored(seed);
                Plan { gateways: gateways.unwrap_or(drawn.gateways), ..drawn }
            }
        };
        // A committee of n bears f liars only from n = 3f + 1.
        plan.hostile_members = plan.hostile_members.min(Plan::hostile_members_max(plan.gateways).max(1));
        plan.load_us = self.load.map_or(plan.load_us, |load| load.us);
        let permille = |share: Share| u64::from(share.ppm / 1_000);
        let faults = &mut plan.faults;
        faults.loss_permille = self.loss.map_or(faults.loss_permille, permille);
        faults.duplicate_permille = self.duplicate.map_or(faults.duplicate_permille, permille);
        faults.partitions = self.partitions.unwrap_or(faults.partitions);
        faults.crash_effects_max = self.crash_effects.unwrap_or(faults.crash_effects_max);
        faults.clock_jumps = self.clock_jumps.unwrap_or(faults.clock_jumps);
        plan.hostile_actions = self.hostile.unwrap_or(plan.hostile_actions);
        // Transport that keeps order loses nothing.
        plan.is_ordered &= self.loss.is_none_or(|loss| loss.ppm == 0);
        plan.signatures = Mode::Modelled;
        plan
    }

    /// Runs them one after the other; `progress` is told the share that is done.
    pub fn run(&self, progress: &mut dyn FnMut(f64)) -> Map<String, Value> {
        let before = crate::cpu::thread_s();
        let mut total = Total::default();
        for done in 0..self.runs {
            progress(done as f64 / self.runs as f64);
            // `run --seed` may name a seed that has not so many above it.
            total.add(&crate::run(&self.plan(self.seed.wrapping_add(done))));
        }
        let mut results = total.results(self.runs);
        results.insert("cpu_s".to_owned(), (crate::cpu::thread_s() - before).into());
        results
    }
}

/// The sums of all runs.
#[derive(Default)]
struct Total {
    failed: u64,
    first_failure: Option<Failure>,
    transactions: u64,
    readings: u64,
    acknowledged: u64,
    crashes: u64,
    restored: u64,
    forks: u64,
    steps: u64,
    hashes: Vec<String>,
}

impl Total {
    fn add(&mut self, run: &Result<Report, Failure>) {
        match run {
            Ok(report) => {
                self.transactions += report.transactions as u64;
                self.readings += report.readings;
                self.acknowledged += report.acknowledged;
                self.crashes += report.crashes;
                self.restored += report.restored;
                self.forks += report.forks as u64;
                self.steps += report.steps;
                self.hashes.push(report.trace_hash.clone());
            }
            Err(failure) => {
                self.failed += 1;
                self.hashes.push(failure.to_string());
                self.first_failure.get_or_insert_with(|| failure.clone());
            }
        }
    }

    fn results(self, runs: u64) -> Map<String, Value> {
        // Of several runs the hash over their hashes.
        let trace_hash = match self.hashes.as_slice() {
            [one] => one.clone(),
            all => blake3::hash(all.join("\n").as_bytes()).to_hex().to_string(),
        };
        let mut results = Map::new();
        let mut put = |name: &str, value: Value| results.insert(name.to_owned(), value);
        put("runs", runs.into());
        put("failed", self.failed.into());
        // A run in which they were not equal has failed.
        put("ledgers_equal", (self.failed == 0).into());
        put("transactions", self.transactions.into());
        put("readings", self.readings.into());
        put("acknowledged", self.acknowledged.into());
        put("crashes", self.crashes.into());
        put("restored", self.restored.into());
        put("forks", self.forks.into());
        put("steps", self.steps.into());
        put("trace_hash", trace_hash.into());
        if let Some(failure) = self.first_failure {
            put("first_failure", failure.to_string().into());
        }
        results
    }
}

/// The results in words.
pub(super) fn words(results: &Map<String, Value>) -> String {
    let of = |name: &str| results.get(name).map(super::expect::plain).unwrap_or_default();
    let mut words = format!(
        "{} runs with faults, {} failed\n  {} steps, every check after each\n  {} transactions, the same on every gateway of a run at its end\n  \
         {} readings, {} of them acknowledged: none lost, none doubled, no gap\n  {} crashes, {} starts from an old image, {} forks",
        of("runs"),
        of("failed"),
        of("steps"),
        of("transactions"),
        of("readings"),
        of("acknowledged"),
        of("crashes"),
        of("restored"),
        of("forks")
    );
    if let Some(failure) = results.get("first_failure") {
        let failure = super::expect::plain(failure);
        // Writing to a text cannot fail.
        let _ = write!(
            words,
            "\n  FAILED {failure}\n  again, this one first: `selvedge-sim run` of the same file with --seed and the seed above"
        );
    }
    words
}
