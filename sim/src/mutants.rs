//! Planted bugs, and the hunt for them: each of [`ALL`] must make a run of the swarm fail, or the swarm has a hole.
//!
//! A seed that fails counts only when it passes with nothing planted. How many seeds a bug takes is the same on every
//! machine, however many threads look for it: the first seed that fails is what counts, not the first that is done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_core::planted::{self, Bug};
pub use selvedge_core::planted::{ALL, Kind, MARKER, Planted};

use crate::{Failure, Plan, run};

/// What came of a hunt.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A run failed with the bug, and passes without it.
    Found(Box<Found>),
    /// No run failed.
    Missed {
        /// So many seeds were run.
        seeds: u64,
    },
    /// A run fails with nothing planted: the hunt says nothing until that is mended.
    Unsound(Failure),
}

/// The run that showed a bug.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// So many seeds it took, this one included.
    pub seeds: u64,
    /// The run.
    pub plan: Plan,
    /// What broke.
    pub failure: Failure,
}

/// The run of a seed: the swarm's; for a bug that only a restored gateway can show, one with such a gateway, which the swarm has
/// for one seed in eight.
pub fn plan(bug: Bug, seed: u64) -> Plan {
    match bug {
        Bug::GivesNothingBack | Bug::SignsMeanwhile => Plan::restored(seed),
        _ => Plan::swarm(seed),
    }
}

/// Which bug is alive is one word for the whole process: hunts take turns.
static TURN: Mutex<()> = Mutex::new(());

/// A bug that is alive as long as this is held.
#[derive(Debug)]
struct Alive {
    _turn: MutexGuard<'static, ()>,
}

impl Alive {
    fn new(bug: Bug) -> Self {
        // Whoever panicked with a bug alive has put it to rest on the way.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        planted::choose(Some(bug));
        Self { _turn: turn }
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        planted::choose(None);
    }
}

/// Plants this bug for the rest of the process: for a command that runs nothing else.
pub fn plant(bug: Bug) {
    planted::choose(Some(bug));
}

/// Runs this plan with this bug.
///
/// # Errors
/// The first check that did not hold.
pub fn run_with(bug: Bug, plan: &Plan) -> Result<crate::Report, Failure> {
    let _alive = Alive::new(bug);
    run(plan)
}

/// Runs seeds from `from` on, as many as that, on all cores, until a run fails with this bug.
/// `progress` is told how many seeds are done, now and then.
pub fn hunt(bug: Bug, from: u64, seeds: u64, progress: &(dyn Fn(u64) + Sync)) -> Outcome {
    let first = {
        let _alive = Alive::new(bug);
        first_failure(bug, from, seeds, progress)
    };
    let Some((plan, failure)) = first else { return Outcome::Missed { seeds } };
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let without = run(&plan);
    drop(turn);
    match without {
        Ok(_) => {
            let seeds = plan.seed.wrapping_sub(from) + 1;
            Outcome::Found(Box::new(Found { seeds, plan, failure }))
        }
        Err(failure) => Outcome::Unsound(failure),
    }
}

/// The failing run that stands first.
fn first_failure(
    bug: Bug,
    from: u64,
    seeds: u64,
    progress: &(dyn Fn(u64) + Sync),
) -> Option<(Plan, Failure)> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    // No run after a failed one is begun; those before it are finished.
    let until = AtomicU64::new(seeds);
    let found: Mutex<Option<(u64, Plan, Failure)>> = Mutex::new(None);
    let work = || {
        loop {
            let place = next.fetch_add(1, Ordering::SeqCst);
            if place >= until.load(Ordering::SeqCst) {
                return;
            }
            let plan = plan(bug, from.wrapping_add(place));
            if let Err(failure) = run(&plan) {
                until.fetch_min(place, Ordering::SeqCst);
                let mut first = found.lock().unwrap_or_else(PoisonError::into_inner);
                if first.as_ref().is_none_or(|(before, ..)| place < *before) {
                    *first = Some((place, plan, failure));
                }
            }
            progress(done.fetch_add(1, Ordering::SeqCst) + 1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let first = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    first.map(|(_, plan, failure)| (plan, failure))
}
