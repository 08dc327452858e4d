//! Answers that are lost, late, or say that the work failed.

use selvedge_core::border::{Event, Input, Outcome, Refusal, StartCheck};
use selvedge_core::limits::{COMPLETION_TIMEOUT_US, RETRY_US};

use crate::driver::{Asked, Driver, SECOND_US, START_US, Work};
use crate::world::Actor;

/// What is asked for again comes within this much of its time: work is looked at once a second.
const SLACK_US: u64 = 2 * SECOND_US;

/// Brings a node to where it asks for this work, and says how one sees that it was done.
fn asking_for(work: Work) -> (Driver, fn(&Driver) -> bool) {
    let mut driver = Driver::with(|c| c.window_records = 4);
    driver.describe(0, "a");
    let is_batched = |d: &Driver| !d.store.batches().is_empty();
    match work {
        Work::Seal | Work::Sign => {
            driver.hold.insert(work);
            driver.submit_count(0, 10);
            (driver, is_batched)
        }
        Work::LoadBatch => {
            driver.submit_count(0, 9);
            driver = driver.restart(|c| c.start_check = StartCheck::Listen);
            driver.describe(0, "a");
            driver.submit_count(0, 30);
            driver = driver.restart(|c| c.start_check = StartCheck::None);
            // Opening asked and was answered at once; the next start is held back from the beginning.
            assert!(is_batched(&driver));
            driver.hold.insert(Work::LoadBatch);
            driver.hold.insert(Work::Seal);
            driver.describe(0, "a");
            driver.submit_count(0, 120);
            driver.release(Work::Seal);
            (driver, |d: &Driver| d.node.status().closed_batches == 0)
        }
        Work::Verify => {
            driver.hold.insert(work);
            let note = driver.world.member(1).note("n", &[]);
            driver.frame(&note);
            (driver, |d: &Driver| d.store.records().count() == 1)
        }
        Work::Load => {
            let mut one: Actor = driver.world.member(1);
            let first = one.note("n", &[]);
            driver.frame(&first);
            for _ in 0..8 {
                let next = one.note("n", &[]);
                driver.frame(&next);
            }
            driver.advance_us(5 * SECOND_US);
            driver.hold.insert(work);
            let late = driver.world.member(2).approval(&[&first]);
            driver.frame(&late);
            (driver, |d: &Driver| d.store.records().any(|r| r.issuer == d.world.member(2).issuer))
        }
        Work::Persist => unreachable!("never asked for twice"),
    }
}

const REPEATED: [Work; 5] = [Work::Seal, Work::Sign, Work::LoadBatch, Work::Verify, Work::Load];

/// Loses the answer to this work, waits until it is asked for again, and returns both questions.
fn asked_twice(work: Work) -> (Driver, fn(&Driver) -> bool, Asked, Asked) {
    let (mut driver, is_done) = asking_for(work);
    let mut lost = driver.lose(work);
    assert_eq!(lost.len(), 1, "{work:?} is asked for once");
    driver.take();
    driver.advance_us(COMPLETION_TIMEOUT_US - SLACK_US);
    assert_eq!(driver.count(work), 0, "{work:?} is asked for again too early");
    driver.advance_us(2 * SLACK_US);
    let mut again = driver.open_work(work);
    assert_eq!(again.len(), 1, "{work:?} is asked for again");
    assert!(!is_done(&driver));
    (driver, is_done, lost.remove(0), again.remove(0))
}

#[test]
fn checks_and_loads_are_asked_for_again_under_a_new_ticket() {
    for work in [Work::Verify, Work::Load] {
        let (mut driver, is_done, lost, again) = asked_twice(work);
        assert_ne!(again.ticket, lost.ticket);
        // The late answer to the first ticket is ignored, the new one counts.
        driver.answer(&lost);
        assert!(!is_done(&driver), "a stale answer to {work:?} was taken");
        driver.release(work);
        assert!(is_done(&driver), "{work:?} was answered");
        driver.store.check_readings();
    }
}

#[test]
fn work_slower_than_the_patience_ends_all_the_same() {
    // A card that stalls for 31 seconds while a batch is sealed: each answer came after the next question, counted
    // for nothing, and the batch was sealed for ever (found by reading).
    for work in [Work::Seal, Work::Sign, Work::LoadBatch] {
        let (mut driver, is_done, lost, again) = asked_twice(work);
        assert_eq!(again.ticket, lost.ticket);
        driver.answer(&lost);
        driver.release(work);
        assert!(is_done(&driver), "the late answer to {work:?} counts");
        driver.store.check_readings();
    }
}

#[test]
fn an_answer_that_comes_twice_counts_once() {
    for work in REPEATED {
        let (mut driver, is_done) = asking_for(work);
        let asked = driver.open_work(work).remove(0);
        driver.release(work);
        assert!(is_done(&driver));
        let log = driver.store.log.len();
        driver.take();
        driver.answer(&asked);
        assert_eq!(driver.store.log.len(), log, "{work:?} counted twice");
    }
}

#[test]
fn work_that_failed_is_tried_again_soon_and_said() {
    for work in [Work::Seal, Work::LoadBatch, Work::Verify, Work::Load] {
        let (mut driver, is_done) = asking_for(work);
        driver.take();
        driver.fail(work);
        assert!(
            matches!(driver.events().as_slice(), [Event::Retrying { .. }]),
            "{work:?}: {:?}",
            driver.events()
        );
        driver.advance_us(RETRY_US + SLACK_US);
        assert_eq!(driver.count(work), 1, "{work:?} is tried again");
        driver.release(work);
        assert!(is_done(&driver));
    }
}

/// Failed work was back-dated by the time-out to be due soon; near the zero of the monotonic clock that could not be
/// expressed, and it waited for up to 30 seconds.
#[test]
fn work_that_failed_is_tried_again_soon_on_a_young_clock_too() {
    let mut driver = Driver::new();
    driver.now.monotonic_us -= START_US;
    let mut driver = driver.restart(|_| {});
    driver.describe(0, "a");
    driver.hold.insert(Work::Seal);
    driver.submit_count(0, 10);
    driver.fail(Work::Seal);
    driver.take();
    driver.advance_us(RETRY_US + SLACK_US);
    assert_eq!(driver.count(Work::Seal), 1);
}

#[test]
fn a_store_that_fails_halts_the_node_and_the_outcome_is_unknown() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.hold.insert(Work::Persist);
    let first = driver.submit_count(0, 1);
    let second = driver.submit_count(0, 1);
    driver.fail(Work::Persist);
    for reply in [first, second] {
        assert_eq!(driver.outcome(reply), Some(Outcome::Unknown));
    }
    assert!(matches!(driver.events().last(), Some(Event::Halted { why }) if why.contains("made to fail")));
    assert!(driver.node.status().halted);
    assert!(driver.is_at_rest());
    let log = driver.store.log.len();
    let later = driver.submit_count(0, 1);
    assert_eq!(driver.outcome(later), Some(Outcome::Refused(Refusal::Halted)));
    let note = driver.issue(0, b"n".to_vec());
    assert_eq!(driver.outcome(note), Some(Outcome::Refused(Refusal::Halted)));
    let foreign = driver.world.member(1).note("n", &[]);
    driver.frame(&foreign);
    driver.advance_us(100 * SECOND_US);
    driver.input(Input::Flush);
    assert_eq!(driver.store.log.len(), log, "nothing more is written");
    driver.release(Work::Persist);
    assert_eq!(driver.events().iter().filter(|e| matches!(e, Event::Attached { .. })).count(), 0);
}

#[test]
fn an_own_transaction_whose_store_failed_is_not_sent() {
    let mut driver = Driver::new();
    driver.hold.insert(Work::Persist);
    let reply = driver.issue(0, b"n".to_vec());
    let queued = driver.issue(0, b"m".to_vec());
    driver.fail(Work::Persist);
    assert_eq!(driver.outcome(reply), Some(Outcome::Unknown));
    assert_eq!(driver.outcome(queued), Some(Outcome::Refused(Refusal::Halted)));
    assert!(driver.sent_to(crate::driver::PEER).is_empty());
}

#[test]
fn a_key_that_fails_or_signs_with_the_wrong_length_halts_the_node() {
    for signature in [None, Some(vec![0; 64])] {
        let mut driver = Driver::new();
        driver.hold.insert(Work::Sign);
        let reply = driver.issue(0, b"n".to_vec());
        match signature {
            None => driver.fail(Work::Sign),
            Some(signature) => {
                let ticket = driver.lose(Work::Sign)[0].ticket;
                driver.input(Input::Signed { ticket, signature });
            }
        }
        assert!(driver.node.status().halted);
        assert!(matches!(driver.events().last(), Some(Event::Halted { .. })));
        assert_eq!(driver.store.records().count(), 0);
        assert!(driver.outcome(reply).is_some(), "whoever asked hears of it");
    }
}

#[test]
fn a_journal_that_gives_back_something_else_halts_the_node() {
    let (mut driver, _) = asking_for(Work::LoadBatch);
    let lost = driver.lose(Work::LoadBatch);
    let ticket = lost[0].ticket;
    driver.input(Input::BatchLoaded { ticket, records: Vec::new() });
    let Some(Event::Halted { why }) = driver.events().last().cloned() else { panic!("not halted") };
    assert!(why.contains("expected") && why.contains("batch"), "{why}");
}
