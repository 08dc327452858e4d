//! Empty notes: they approve what others wrote, come after a short delay, and come to an end.

use selvedge_core::border::{Config, StartCheck};
use selvedge_core::transaction::Parents;

use crate::driver::{Driver, PEER, SECOND_US, Work};
use crate::world::witness;

const DELAY_US: u64 = 2 * SECOND_US;

fn approving(config: &mut Config) {
    config.approve_delay_max_us = DELAY_US;
}

#[test]
fn others_payloads_are_approved_after_the_delay_and_then_there_is_rest() {
    let mut driver = Driver::with(approving);
    let note = driver.world.member(1).note("n", &[]);
    driver.frame(&note);
    assert_eq!(driver.own_approvals(), 0, "not at once");
    let due = driver.node.next_deadline().expect("a note is due");
    assert!(due > driver.now.monotonic_us - 1 && due <= driver.now.monotonic_us + DELAY_US);
    driver.advance_us(DELAY_US);
    assert_eq!(driver.own_approvals(), 1);
    let own = driver.own_newest().body;
    assert_eq!((own.kind, own.payload.len(), own.approves), (0, 0, [note.reference; 2]));
    driver.advance_us(3_600 * SECOND_US);
    assert_eq!((driver.own_approvals(), driver.is_at_rest()), (1, true));
}

#[test]
fn many_payloads_are_approved_by_few_notes() {
    let mut driver = Driver::with(approving);
    for member in 1..6 {
        let note = driver.world.member(member).note("n", &[]);
        driver.frame(&note);
    }
    driver.advance_us(60 * SECOND_US);
    let notes = driver.own_approvals();
    assert!((1..=5).contains(&notes), "{notes} notes for five tips");
    assert!(driver.is_at_rest());
    for number in 0..5 {
        // The node is a committee member: with its word each is witnessed by one more than before.
        let by_itself = u32::from(number < 3);
        assert_eq!(driver.node.witnessed(number), Some(by_itself + 1), "transaction {number}");
    }
}

#[test]
fn empty_notes_need_no_approval() {
    let mut driver = Driver::with(approving);
    let mut one = driver.world.member(1);
    for _ in 0..5 {
        let empty = one.approval(&[]);
        driver.frame(&empty);
    }
    assert!(driver.is_at_rest());
    driver.advance_us(60 * SECOND_US);
    assert_eq!(driver.count(Work::Sign), 0);
}

#[test]
fn a_second_branch_is_not_approved() {
    let mut driver = Driver::with(approving);
    let mut one = driver.world.member(1);
    let root = one.note("root", &[]);
    let mut other = one.clone();
    let (left, right) = (one.note("left", &[]), other.note("right", &[]));
    driver.frames(&[&root, &left]);
    driver.advance_us(10 * SECOND_US);
    assert_eq!(driver.own_approvals(), 1);
    driver.frame(&right);
    driver.frame(&other.note("further right", &[]));
    driver.advance_us(60 * SECOND_US);
    assert_eq!((driver.own_approvals(), driver.is_at_rest()), (1, true));
}

#[test]
fn a_payload_of_its_own_makes_the_note_needless() {
    let mut driver = Driver::with(approving);
    let note = driver.world.member(1).note("n", &[]);
    driver.frame(&note);
    driver.issue(0, b"mine".to_vec());
    driver.advance_us(60 * SECOND_US);
    assert_eq!((driver.own_approvals(), driver.store.records().count()), (0, 2));
}

#[test]
fn old_tips_are_approved_too_although_younger_ones_exist() {
    let mut driver = Driver::with(|c| {
        c.approve_delay_max_us = 0;
        c.tips.age_max_us = SECOND_US;
        c.start_check = StartCheck::Listen;
    });
    let old = driver.world.member(1).note("old", &[]);
    driver.frame(&old);
    let mut driver = driver.restart(|c| (c.start_check, c.tips.age_max_us) = (StartCheck::None, SECOND_US));
    driver.meet(PEER);
    driver.hold.insert(Work::Sign);
    driver.advance_us(5 * SECOND_US);
    let young = driver.world.member(2).note("young", &[]);
    driver.frame(&young);
    driver.release(Work::Sign);
    driver.advance_us(60 * SECOND_US);
    for tx in [&old, &young] {
        assert_eq!(driver.node.witnessed(driver.number(tx)), Some(2));
    }
}

/// A node that was stopped before it approved others' payloads planned nothing when it was started again, and so kept
/// silent until something else arrived.
#[test]
fn what_was_not_approved_before_a_stop_is_approved_after_the_start() {
    let mut driver = Driver::with(approving);
    let note = driver.world.member(1).note("n", &[]);
    driver.frame(&note);
    assert_eq!(driver.own_approvals(), 0);
    let mut driver = driver.crash();
    driver.advance_us(10 * SECOND_US);
    assert_eq!(driver.own_approvals(), 1);
}

#[test]
fn what_was_approved_before_a_stop_is_not_approved_again() {
    let mut driver = Driver::with(approving);
    let note = driver.world.member(1).note("n", &[]);
    driver.frame(&note);
    driver.advance_us(10 * SECOND_US);
    let mut driver = driver.crash();
    driver.advance_us(60 * SECOND_US);
    assert_eq!((driver.own_approvals(), driver.is_at_rest()), (1, true));
}

#[test]
fn an_empty_witness_needs_no_approval_by_a_note() {
    let mut driver = Driver::with(approving);
    let one = driver.world.member(1);
    let part = witness(1, Parents::Anchor(driver.world.network.genesis_id()), &[]);
    let tx = one.sign(selvedge_core::transaction::Body { witness: Some(part), ..one.body("", &[]) });
    driver.frame(&tx);
    driver.advance_us(10 * SECOND_US);
    assert!(driver.is_attached(&tx));
    assert_eq!(driver.own_approvals(), 0);
}
