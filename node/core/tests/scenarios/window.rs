//! Below the window only the store knows: it is asked, and what it says counts.

use selvedge_core::border::{Effect, Input, StartCheck};
use selvedge_core::limits::PENDING_TIMEOUT_US;

use crate::driver::{Driver, SECOND_US, Work};
use crate::world::{Actor, Tx};

const WINDOW: usize = 8;

/// A node whose window has moved past the first of these: a chain of 30 by member 1.
fn moved_on() -> (Driver, Actor, Vec<Tx>) {
    let mut driver = Driver::with(|c| (c.window_records, c.start_check) = (WINDOW, StartCheck::Listen));
    let mut one = driver.world.member(1);
    let txs: Vec<Tx> = (0..30).map(|i| one.note(&format!("{i}"), &[])).collect();
    driver.frames(&txs.iter().collect::<Vec<_>>());
    assert_eq!(driver.node.witnessed(driver.number(&txs[0])), None, "it is below the window");
    driver.take();
    (driver, one, txs)
}

#[test]
fn the_store_is_asked_for_what_lies_below_the_window() {
    let (mut driver, _, txs) = moved_on();
    let late = driver.world.member(2).note("late", &[&txs[2], &txs[3]]);
    driver.frame(&late);
    assert!(driver.is_attached(&late));
    let asked: Vec<_> = driver
        .seen
        .iter()
        .filter_map(|e| match e {
            Effect::Load { references, .. } => Some(references.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(asked, [vec![txs[2].reference, txs[3].reference]], "once, and both together");
    assert!(driver.wants().is_empty(), "what the store holds is not asked of peers");
}

#[test]
fn what_is_below_the_window_is_not_attached_twice_or_verified_again() {
    let (mut driver, _, txs) = moved_on();
    for tx in [&txs[0], &txs[5], &txs[29]] {
        driver.frame(tx);
    }
    assert_eq!((driver.store.records().count(), driver.count(Work::Verify)), (30, 0));
    assert_eq!(driver.count(Work::Load), 2, "the newest is in the window");
    assert_eq!(driver.node.status().pending, 0);
}

#[test]
fn what_neither_window_nor_store_holds_is_wanted() {
    let (mut driver, mut one, txs) = moved_on();
    // A second branch at an old place: the store has another transaction there, not this one.
    let mut branch = driver.world.member(1);
    branch.follow(&txs[3]);
    let hidden = branch.note("hidden", &[]);
    let late = driver.world.member(2).note("late", &[&hidden]);
    driver.frame(&late);
    assert!(!driver.is_attached(&late));
    assert_eq!(driver.wants().into_iter().flat_map(|(_, r)| r).collect::<Vec<_>>(), [hidden.reference]);
    driver.frame(&hidden);
    assert!(driver.is_attached(&hidden) && driver.is_attached(&late));
    assert_eq!(driver.node.is_second_branch(driver.number(&hidden)), Some(true));
    driver.frame(&one.note("goes on", &[]));
}

#[test]
fn a_wrong_triple_below_the_window_never_settles() {
    let (mut driver, _, txs) = moved_on();
    let two = driver.world.member(2);
    let mut body = two.body("n", &[&txs[2]]);
    body.approves[1].sequence = 3;
    let tx = two.sign(body);
    driver.frame(&tx);
    driver.advance_us(PENDING_TIMEOUT_US / 2);
    assert!(!driver.is_attached(&tx));
    driver.advance_us(PENDING_TIMEOUT_US);
    assert_eq!((driver.node.status().pending, driver.drops().len()), (0, 0));
}

#[test]
fn old_tips_stay_when_the_window_moves_on() {
    let mut driver = Driver::with(|c| (c.window_records, c.start_check) = (WINDOW, StartCheck::Listen));
    let lone = driver.world.member(2).note("lone", &[]);
    driver.frame(&lone);
    let mut one = driver.world.member(1);
    for i in 0..30 {
        let tx = one.note(&format!("{i}"), &[]);
        driver.frame(&tx);
    }
    assert_eq!(driver.node.tip_numbers(), [0, 30]);
    driver.take();
    let next = driver.world.member(3).note("finds it", &[&lone]);
    driver.frame(&next);
    assert!(driver.is_attached(&next));
    assert_eq!(driver.count(Work::Load), 0, "an old tip is still known");
    assert_eq!(driver.node.tip_numbers(), [30, 31]);
}

#[test]
fn the_key_of_a_chain_that_left_the_window_is_that_in_force() {
    let (mut driver, mut one, txs) = moved_on();
    let rotate = one.rotate("second key", &[]);
    driver.frame(&rotate);
    let mut two = driver.world.member(2);
    for i in 0..10 {
        let tx = two.note(&format!("{i}"), &[]);
        driver.frame(&tx);
    }
    driver.advance_us(SECOND_US);
    let next = one.note("by the new key", &[&txs[29]]);
    driver.frame(&next);
    assert!(driver.is_attached(&next), "{:?}", driver.drops());
    let old = driver.world.sign(one.body("by the old key", &[]), &one.keys[0], 0);
    driver.frame(&old);
    assert!(!driver.is_attached(&old));
    assert_eq!(driver.drops().len(), 1);
}

/// A reference that the store did not hold when it was first asked, that came meanwhile and left the window again,
/// was awaited for ever: nobody told.
#[test]
fn what_came_and_left_the_window_while_another_thing_was_missing_is_found() {
    let (mut driver, mut one, txs) = moved_on();
    let mut branch = driver.world.member(1);
    branch.follow(&txs[3]);
    let hidden = branch.note("hidden", &[]);
    let mut two = driver.world.member(2);
    let first = two.note("first of two", &[]);
    let mut other = two.clone();
    // Another branch of member 2 is here, so only the store can say that its rotation is not.
    driver.frames(&[&first, &other.note("the other branch", &[])]);
    let missing = two.rotate("key of two", &[]);
    // Signed with a key that is not known yet, and approving something that is not there yet either.
    let late = two.note("late", &[&hidden]);
    driver.frame(&late);
    assert_eq!(driver.count(Work::Load), 1);
    driver.frame(&hidden);
    for i in 0..2 * WINDOW {
        let tx = one.note(&format!("more {i}"), &[]);
        driver.frame(&tx);
    }
    driver.frame(&missing);
    assert!(driver.is_attached(&late), "awaited: {:?}", driver.wants());
}

/// The store said "nothing" of what was attached while the question was on its way, and had left the window when the
/// answer came: it was awaited for ever, although it was there.
#[test]
fn a_late_answer_of_nothing_strands_nobody() {
    let (mut driver, mut one, txs) = moved_on();
    let mut branch = driver.world.member(1);
    branch.follow(&txs[3]);
    let hidden = branch.note("hidden", &[]);
    let late = driver.world.member(2).note("late", &[&hidden]);
    driver.hold.insert(Work::Load);
    driver.frame(&late);
    let asked = driver.lose(Work::Load);
    assert_eq!(asked.len(), 1);
    driver.hold.clear();
    driver.frame(&hidden);
    for i in 0..2 * WINDOW {
        let tx = one.note(&format!("more {i}"), &[]);
        driver.frame(&tx);
    }
    assert!(driver.is_attached(&hidden) && !driver.is_attached(&late));
    driver.input(Input::Loaded { ticket: asked[0].ticket, found: vec![None] });
    assert!(driver.is_attached(&late), "wanted: {:?}", driver.wants());
}

/// The store said "nothing" of what was attached while the question was on its way; when something else that was missing
/// came, it had left the window, and peers were asked for what was here. (The swarm found it.)
#[test]
fn what_was_attached_behind_the_stores_back_is_not_asked_for() {
    let (mut driver, mut one, txs) = moved_on();
    let (mut left, mut right) = (driver.world.member(1), driver.world.member(1));
    left.follow(&txs[3]);
    right.follow(&txs[4]);
    let (hidden, missing) = (left.note("hidden", &[]), right.note("missing", &[]));
    let late = driver.world.member(2).note("late", &[&hidden, &missing]);
    driver.hold.insert(Work::Load);
    driver.frame(&late);
    let asked = driver.lose(Work::Load);
    assert_eq!(asked.len(), 1);
    driver.hold.clear();
    driver.frame(&hidden);
    assert!(driver.is_attached(&hidden));
    driver.input(Input::Loaded { ticket: asked[0].ticket, found: vec![None, None] });
    for i in 0..2 * WINDOW {
        let tx = one.note(&format!("more {i}"), &[]);
        driver.frame(&tx);
    }
    driver.advance_us(PENDING_TIMEOUT_US / 2);
    let wanted: Vec<_> = driver.wants().into_iter().flat_map(|(_, references)| references).collect();
    assert!(wanted.contains(&missing.reference) && !wanted.contains(&hidden.reference), "{wanted:?}");
    driver.frame(&missing);
    assert!(driver.is_attached(&late));
}

/// What is not durable cannot be asked of the store yet, so it stays in the window, however small that is.
#[test]
fn nothing_leaves_the_window_before_it_is_durable() {
    let (mut driver, mut one, _) = moved_on();
    driver.hold.insert(Work::Persist);
    let more: Vec<Tx> = (0..3 * WINDOW).map(|i| one.note(&format!("more {i}"), &[])).collect();
    driver.frames(&more.iter().collect::<Vec<_>>());
    driver.take();
    let late = driver.world.member(2).note("late", &[&more[0], &more[1]]);
    driver.frame(&late);
    assert_eq!(driver.count(Work::Load), 0);
    assert!(driver.is_attached(&late));
    driver.release(Work::Persist);
    assert_eq!(driver.node.witnessed(driver.number(&more[0])), None, "durable, and out of the window");
}
