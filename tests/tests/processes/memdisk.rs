//! The power is cut between any two effects of a gateway, and all that was not synced is lost.
//!
//! Core, store and signatures are the real ones, the disk is memory that knows what was synced. What was
//! acknowledged, shown to a question or said in an event must be there after the restart, with the right values, in
//! gapless order, and the gateway must go on from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge::store::{CrashPolicy, Faults, MemDisk};
use selvedge_core::border::Input;
use selvedge_tests::ledger::{Identity, Ledger, START_NS};
use selvedge_tests::{Random, from_env};

const STREAMS: [&str; 3] = ["tank/level", "flow", "valve"];
const STEPS: u64 = 60;

/// What must survive.
#[derive(Debug, Default, Clone)]
struct Known {
    /// Readings of each stream, from counter 0 on.
    readings: BTreeMap<String, u64>,
    transactions: u64,
}

impl Known {
    fn learn(&mut self, ledger: &Ledger) {
        let shown = ledger.shown().expect("the disk works");
        for (stream, count) in ledger.acknowledged().iter().chain(&shown) {
            let known = self.readings.entry(stream.clone()).or_default();
            *known = (*known).max(*count);
        }
        let stored = ledger.stored_transactions().expect("the disk works");
        self.transactions = self.transactions.max(ledger.attached()).max(stored);
    }

    fn total(&self) -> u64 {
        self.readings.values().sum()
    }
}

/// What cuts found.
#[derive(Debug, Default)]
struct Found {
    cuts: u64,
    failed: u64,
    first: Option<String>,
}

/// One seeded run, with the power cut after each effect.
struct Run {
    identity: Identity,
    disk: MemDisk,
    random: Random,
    known: Known,
    found: Found,
    policies: &'static [CrashPolicy],
}

impl Run {
    fn new(seed: u64, ignore_syncs: Option<&'static str>, policies: &'static [CrashPolicy]) -> Self {
        let disk = MemDisk::new();
        disk.set_faults(Faults { ignore_syncs, ..Faults::default() });
        Self {
            identity: Identity::from_seed(seed as u8),
            disk,
            random: Random::new(seed),
            known: Known::default(),
            found: Found::default(),
            policies,
        }
    }

    fn all(mut self) -> (Known, Found) {
        let disk = Arc::new(self.disk.clone());
        let mut ledger = Ledger::open(&self.identity, disk, true, START_NS).expect("a new folder");
        for step in 0..STEPS {
            if step % 30 == 0 {
                for stream in STREAMS {
                    ledger.describe(stream, &format!("u{}", self.random.below(2)));
                }
            }
            match self.random.below(12) {
                0 => ledger.input(Input::Flush),
                1..=3 => ledger.advance(self.random.below(300_000)),
                _ => {
                    let stream = STREAMS[self.random.below(3) as usize];
                    ledger.submit(stream, 1 + self.random.below(4));
                }
            }
            // Some of the work is left lying, so that inputs come in between.
            for _ in 0..self.random.below(9) {
                if !self.step(&mut ledger) {
                    break;
                }
            }
        }
        ledger.input(Input::Flush);
        while self.step(&mut ledger) {}
        assert!(ledger.attached() > 5, "the run makes transactions: {}", ledger.attached());
        (self.known, self.found)
    }

    /// One effect, then the power is cut in every way.
    fn step(&mut self, ledger: &mut Ledger) -> bool {
        let any = ledger.step().expect("the disk works");
        self.known.learn(ledger);
        for policy in self.policies {
            self.found.cuts += 1;
            let image = self.disk.crash(*policy, self.found.cuts);
            if let Err(why) = self.check(&image) {
                self.found.failed += 1;
                let cut = self.found.cuts;
                self.found.first.get_or_insert(format!("cut {cut}, {policy:?}: {why}"));
            }
        }
        any
    }

    /// Starts again, looks, goes on, cuts the power again, and looks again.
    fn check(&self, image: &MemDisk) -> Result<(), String> {
        let mut known = self.known.clone();
        let mut ledger = self.open(image)?;
        compare(&ledger, &known)?;
        for stream in STREAMS {
            ledger.describe(stream, "u2");
            ledger.submit(stream, 2);
        }
        ledger.drain().map_err(|why| format!("cannot go on: {why}"))?;
        known.learn(&ledger);
        if known.total() < self.known.total() + 6 || known.transactions == self.known.transactions {
            return Err(format!("it did not go on: {known:?} after {:?}", self.known));
        }
        drop(ledger);
        let again = self.open(&image.crash(CrashPolicy::DropAll, 1))?;
        compare(&again, &known).map_err(|why| format!("after the second cut: {why}"))
    }

    fn open(&self, image: &MemDisk) -> Result<Ledger, String> {
        Ledger::open(&self.identity, Arc::new(image.clone()), true, START_NS + 3_600_000_000_000)
            .map_err(|why| format!("cannot be opened: {why}"))
    }
}

/// Is all that is known there, and right?
fn compare(ledger: &Ledger, known: &Known) -> Result<(), String> {
    let transactions = ledger.stored_transactions().map_err(|why| why.to_string())?;
    if transactions < known.transactions {
        return Err(format!("{transactions} transactions, expected at least {}", known.transactions));
    }
    for (stream, count) in &known.readings {
        let readings = ledger.readings(stream).map_err(|why| format!("{stream}: {why}"))?;
        if (readings.len() as u64) < *count {
            return Err(format!("{} readings of {stream}, expected at least {count}", readings.len()));
        }
        for (counter, found) in (0..).zip(&readings) {
            let expected = Ledger::value(stream, counter);
            if found.reading.counter != counter || found.reading.value != expected {
                return Err(format!(
                    "{stream}: {:?}, expected counter {counter} and {expected:?}",
                    found.reading
                ));
            }
        }
    }
    Ok(())
}

fn runs(ignore_syncs: Option<&'static str>, policies: &'static [CrashPolicy], seeds: u64) -> Found {
    let mut all = Found::default();
    for seed in 0..seeds {
        let (known, found) = Run::new(seed, ignore_syncs, policies).all();
        println!(
            "seed {seed}: {} cuts, {} readings and {} transactions known at the end, {} cuts failed; first: {:?}",
            found.cuts,
            known.total(),
            known.transactions,
            found.failed,
            found.first
        );
        assert!(known.total() > 30, "something was acknowledged, so something could be lost");
        all.cuts += found.cuts;
        all.failed += found.failed;
        all.first = all.first.or(found.first);
    }
    all
}

#[test]
fn nothing_is_lost_when_the_power_is_cut_after_any_effect() {
    let found = runs(None, &[CrashPolicy::DropAll], from_env("SELVEDGE_SEEDS", 2).min(200));
    assert_eq!((found.failed, found.first), (0, None));
}

#[test]
fn nothing_is_lost_when_sectors_are_torn_or_garbage_after_any_effect() {
    const POLICIES: &[CrashPolicy] =
        &[CrashPolicy::KeepAll, CrashPolicy::RandomSectors, CrashPolicy::Torn, CrashPolicy::Garbage];
    let found = runs(None, POLICIES, 1);
    assert_eq!((found.failed, found.first), (0, None));
}

/// The tests above can fail: with the syncs of one part taken out, they do.
#[test]
fn with_the_syncs_of_any_part_taken_out_something_is_lost() {
    for part in ["", "log", "journal", "archive"] {
        let found = runs(Some(part), &[CrashPolicy::DropAll], 1);
        assert!(found.failed > 0, "without the syncs of {part:?} nothing was lost in {} cuts", found.cuts);
    }
}
