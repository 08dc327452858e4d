//! Two transactions at one place of a chain: evidence, attached both, and the second branch is left alone.

use selvedge_core::border::{Event, StartCheck};
use selvedge_core::record::flag;

use crate::driver::{Driver, SECOND_US};
use crate::world::{Actor, Tx};

/// Member 1 signs two chains from its second transaction on.
struct Forked {
    first: Vec<Tx>,
    second: Vec<Tx>,
    one: Actor,
    other: Actor,
}

fn forked(driver: &Driver) -> Forked {
    let mut one = driver.world.member(1);
    let root = one.note("root", &[]);
    let mut other = one.clone();
    let first = vec![root.clone(), one.note("1", &[&root]), one.note("2", &[])];
    let second = (1..4).map(|i| other.note(&format!("{i} again"), &[&root])).collect();
    Forked { first, second, one, other }
}

fn silent() -> Driver {
    Driver::with(|c| c.start_check = StartCheck::Listen)
}

#[test]
fn a_fork_is_evidence_and_both_branches_are_attached() {
    let mut driver = silent();
    let Forked { first, second, .. } = forked(&driver);
    driver.frames(&first.iter().chain(&second).collect::<Vec<_>>());
    assert_eq!(driver.store.records().count(), 6);
    let issuer = first[0].reference.issuer;
    let told: Vec<u64> = driver
        .events()
        .into_iter()
        .filter_map(|e| match e {
            Event::Forked { issuer: i, sequence } if i == issuer => Some(sequence),
            _ => None,
        })
        .collect();
    assert_eq!(told, [1, 2], "each place once");
    assert_eq!(driver.node.status().forks, [(issuer, 1), (issuer, 2)]);
    assert!(driver.drops().is_empty(), "a fork is never a reason to reject");
    for (txs, is_second) in [(&first, false), (&second, true)] {
        for tx in txs {
            assert_eq!(
                driver.node.is_second_branch(driver.number(tx)),
                Some(is_second),
                "{:?}",
                tx.reference
            );
        }
    }
}

#[test]
fn a_second_branch_is_no_tip_covers_nothing_and_is_never_chosen() {
    let mut driver = Driver::with(|c| c.approve_delay_max_us = 1_000 * SECOND_US);
    let tip = driver.world.member(2).note("a tip", &[]);
    let Forked { first, mut second, mut other, .. } = forked(&driver);
    driver.frame(&tip);
    driver.frames(&first.iter().collect::<Vec<_>>());
    driver.frames(&second.iter().collect::<Vec<_>>());
    // It approves the honest tip: that must not hide it.
    second.push(other.note("hides", &[&tip]));
    driver.frame(&second[3]);
    let expected = [driver.number(&tip), driver.number(&first[2])];
    assert_eq!(driver.node.tip_numbers(), expected);
    for _ in 0..12 {
        driver.issue(0, b"n".to_vec());
        let approved = driver.own_newest().body.approves;
        assert!(second.iter().all(|s| !approved.contains(&s.reference)), "a second branch was approved");
        assert_eq!(driver.node.tip_numbers().len(), 1);
    }
}

#[test]
fn what_others_wrote_on_a_second_branch_is_in_the_ledger_like_anything_else() {
    let mut driver = silent();
    let Forked { first, second, .. } = forked(&driver);
    let honest = driver.world.member(2).note("approves the wrong one", &[&second[2], &first[2]]);
    driver.frames(&[&honest]);
    driver.frames(&second.iter().collect::<Vec<_>>());
    driver.frames(&first.iter().collect::<Vec<_>>());
    assert!(driver.is_attached(&honest));
    assert_eq!(driver.node.tip_numbers(), [driver.number(&honest)]);
}

/// What came first is the first branch, even when the other one grows longer.
#[test]
fn the_branch_that_came_first_stays_the_first() {
    let mut driver = silent();
    let Forked { first, second, mut one, .. } = forked(&driver);
    driver.frames(&[&first[0], &first[1]]);
    driver.frames(&second.iter().collect::<Vec<_>>());
    driver.frame(&first[2]);
    let flags: Vec<bool> = driver.store.records().map(|r| r.has(flag::SECOND_BRANCH)).collect();
    assert_eq!(flags, [false, false, true, true, true, false]);
    let next = one.note("3", &[]);
    driver.frame(&next);
    assert_eq!(driver.node.tip_numbers(), [driver.number(&next)]);
    let issuer = next.reference.issuer;
    assert_eq!(driver.node.status().forks, [(issuer, 1), (issuer, 2), (issuer, 3)]);
}

#[test]
fn evidence_survives_a_start_and_is_not_told_twice() {
    let mut driver = silent();
    let Forked { first, second, mut other, .. } = forked(&driver);
    driver.frames(&first.iter().chain(&second).collect::<Vec<_>>());
    let forks = driver.node.status().forks;
    let mut driver = driver.crash();
    driver.meet(crate::driver::PEER);
    assert_eq!(driver.node.status().forks, forks);
    let next = other.note("on the second branch", &[]);
    driver.frames(&[&second[0], &next]);
    assert_eq!(driver.node.is_second_branch(driver.number(&next)), Some(true));
    assert!(!driver.events().iter().any(|e| matches!(e, Event::Forked { .. })), "{:?}", driver.events());
}

#[test]
fn two_signatures_under_one_body_are_no_fork() {
    let mut driver = silent();
    let tx = driver.world.member(1).note("n", &[]);
    driver.frame(&tx);
    driver.frame_from(crate::driver::PEER, &tx.forged(4));
    assert!(driver.node.status().forks.is_empty());
    assert_eq!(driver.store.records().count(), 1);
}
