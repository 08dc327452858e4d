//! Starts again after a stop or a power cut at any moment, from what the store kept.

use std::collections::BTreeMap;

use selvedge_core::border::{Input, Outcome, ReplyTo, StartCheck};
use selvedge_core::random::Random;

use crate::driver::{Driver, SECOND_US, Work, descriptor, random_of, runs};

const NAMES: [&str; 3] = ["a", "b", "c"];

/// One run: submissions, held-back answers and power cuts, drawn from a seed.
struct Run {
    random: Random,
    /// Submissions that were acknowledged, and those still open: readings of each stream.
    acknowledged: BTreeMap<&'static str, u64>,
    open: Vec<(ReplyTo, &'static str, u64)>,
}

impl Run {
    fn settle(&mut self, driver: &Driver) {
        let acknowledged = &mut self.acknowledged;
        self.open.retain(|(reply, name, count)| match driver.outcome(*reply) {
            Some(outcome) => {
                assert_eq!(outcome, Outcome::Durable);
                *acknowledged.entry(name).or_default() += count;
                false
            }
            None => true,
        });
    }

    fn describe_all(&mut self, driver: &mut Driver) {
        for (handle, name) in NAMES.iter().enumerate() {
            let scale = ["1", "0.1"][self.random.below(2) as usize];
            let urgent = self.random.below(8) == 0;
            driver.describe_as(handle as u32, descriptor(name, scale), urgent);
        }
    }

    fn step(&mut self, mut driver: Driver) -> Driver {
        match self.random.below(20) {
            0 => {
                self.settle(&driver);
                self.open.clear();
                driver = driver.crash();
                self.describe_all(&mut driver);
                self.check_kept(&driver);
            }
            1 => self.describe_all(&mut driver),
            2 => driver.input(Input::Flush),
            3 => driver.advance_us(self.random.below(20) * SECOND_US),
            4..=6 => {
                let work = self.any_work();
                driver.hold.insert(work);
            }
            7..=9 => {
                let work = self.any_work();
                driver.release(work);
            }
            _ => {
                let stream = self.random.below(3) as usize;
                let count = 1 + self.random.below(25);
                let reply = driver.submit_count(stream as u32, count as usize);
                self.open.push((reply, NAMES[stream], count));
            }
        }
        self.settle(&driver);
        driver
    }

    fn any_work(&mut self) -> Work {
        [Work::Persist, Work::Seal, Work::Sign, Work::LoadBatch][self.random.below(4) as usize]
    }

    /// Nothing acknowledged is lost.
    fn check_kept(&self, driver: &Driver) {
        let readings = driver.store.readings();
        for (name, count) in &self.acknowledged {
            let kept = readings.get(*name).map_or(0, Vec::len) as u64;
            assert!(kept >= *count, "{kept} readings of {name} are kept, {count} were acknowledged");
        }
    }
}

#[test]
fn counters_are_gapless_and_batches_whole_over_power_cuts_at_any_moment() {
    for seed in 0..runs(60) {
        println!("seed {seed}");
        let mut run = Run { random: random_of(seed), acknowledged: BTreeMap::new(), open: Vec::new() };
        let mut driver = Driver::new();
        run.describe_all(&mut driver);
        for _ in 0..120 {
            driver = run.step(driver);
        }
        for work in [Work::Persist, Work::Seal, Work::Sign, Work::LoadBatch] {
            driver.release(work);
        }
        run.settle(&driver);
        driver.input(Input::Flush);
        driver.advance_us(100 * SECOND_US);
        run.check_kept(&driver);
        driver.store.check_readings();
        assert_eq!(driver.node.status().backlog_readings, 0);
        let archived: u64 = driver.store.batches().iter().map(|b| u64::from(b.count)).sum();
        assert_eq!(archived, driver.store.readings().values().map(|r| r.len() as u64).sum::<u64>());
        assert!(run.open.is_empty() && archived > 0, "{} submissions were never answered", run.open.len());
    }
}

#[test]
fn the_same_batch_has_the_same_root_after_a_power_cut() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.hold.insert(Work::Sign);
    driver.submit_count(0, 10);
    let before: Vec<_> = driver.store.archive.values().map(selvedge_core::seal::SealedBatch::root).collect();
    assert_eq!(before.len(), 1, "sealed, and not in a transaction yet");
    let driver = driver.crash();
    let batches = driver.store.batches();
    assert_eq!(batches.iter().map(|b| b.root).collect::<Vec<_>>(), before);
}

#[test]
fn the_own_chain_goes_on_where_it_was() {
    let mut driver = Driver::new();
    for _ in 0..3 {
        driver.issue(0, b"before".to_vec());
    }
    let head = driver.node.own_head().expect("it issued");
    let mut driver = driver.crash();
    assert_eq!(driver.node.own_head(), Some(head));
    driver.issue(0, b"after".to_vec());
    let newest = driver.own_newest();
    assert_eq!((newest.body.sequence, newest.body.prev), (head.0 + 1, head.1));
    assert_eq!(newest.body.approves[0].id, head.1, "the only tip");
}

#[test]
fn a_transaction_that_was_not_durable_leaves_its_sequence_free() {
    let mut driver = Driver::new();
    driver.hold.insert(Work::Persist);
    let reply = driver.issue(0, b"lost".to_vec());
    assert_eq!(driver.store.records().count(), 1, "written, and not durable");
    assert_eq!(driver.outcome(reply), None);
    let mut driver = driver.crash();
    assert_eq!(driver.node.own_head(), None);
    driver.issue(0, b"kept".to_vec());
    assert_eq!(driver.own_newest().body.sequence, 0);
}

#[test]
fn window_tips_forks_and_keys_are_the_same_after_a_start() {
    let mut driver = Driver::with(|c| c.window_records = 6);
    let mut one = driver.world.member(1);
    let mut two = driver.world.member(2);
    let lone = two.note("a tip that stays", &[]);
    driver.frame(&lone);
    let fork = { one.clone().note("the other branch", &[]) };
    let mut before = one.note("n", &[]);
    driver.frames(&[&before, &fork]);
    for turn in 0..8 {
        let next = if turn == 3 { one.rotate("new key", &[&before]) } else { one.note("n", &[&before]) };
        driver.frame(&next);
        before = next;
    }
    let status = driver.node.status();
    let tips = driver.node.tip_numbers();
    assert!(tips.contains(&driver.number(&lone)) && status.forks.len() == 1);
    let mut driver = driver.restart(|c| c.start_check = StartCheck::Listen);
    driver.meet(crate::driver::PEER);
    let again = driver.node.status();
    assert_eq!((driver.node.tip_numbers(), again.forks), (tips, status.forks));
    assert_eq!(again.attached, status.attached);
    // The rotated key is in force, and a known transaction below the window is not attached twice.
    let next = one.note("with the new key", &[&before, &lone]);
    driver.frames(&[&lone, &fork, &next]);
    assert!(driver.is_attached(&next));
}

/// An old tip whose number lies right before the window was taken for a part of it, and the window was larger than set
/// until something was attached.
#[test]
fn an_old_tip_right_before_the_window_does_not_make_it_larger() {
    let mut driver = Driver::with(|c| (c.window_records, c.start_check) = (4, StartCheck::Listen));
    let lone = driver.world.member(2).note("lone", &[]);
    driver.frame(&lone);
    let mut one = driver.world.member(1);
    for i in 0..4 {
        let tx = one.note(&format!("{i}"), &[]);
        driver.frame(&tx);
    }
    let tips = driver.node.tip_numbers();
    assert_eq!(tips, [0, 4]);
    // The invariants are checked after opening.
    let mut driver = driver.crash();
    driver.meet(crate::driver::PEER);
    assert_eq!(driver.node.tip_numbers(), tips);
    driver.frame(&one.note("goes on", &[&lone]));
    assert_eq!(driver.node.tip_numbers(), [5]);
}
