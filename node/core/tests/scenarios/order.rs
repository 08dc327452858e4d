//! The order of arrival changes nothing but flags.

use std::collections::BTreeSet;

use selvedge_core::Id;
use selvedge_core::border::StartCheck;
use selvedge_core::random::Random;
use selvedge_core::record::flag;

use crate::driver::{Driver, Work, random_of, runs};
use crate::world::{Tx, World};

/// What every node agrees on: what is attached.
fn outcome_of(order: &[&Tx], hold_verify: bool) -> (BTreeSet<Id>, Driver) {
    let mut driver = Driver::with(|c| c.start_check = StartCheck::Listen);
    if hold_verify {
        driver.hold.insert(Work::Verify);
    }
    driver.frames(order);
    driver.release(Work::Verify);
    (driver.store.attached(), driver)
}

fn permutations(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for next in 0..count {
        all = all
            .into_iter()
            .flat_map(|p: Vec<usize>| {
                (0..=p.len()).map(move |at| {
                    let mut q = p.clone();
                    q.insert(at, next);
                    q
                })
            })
            .collect();
    }
    all
}

/// Every order, or so many drawn ones where the time is short (emulation).
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = permutations(count);
    let mut random = Random::new(&[5; 32]);
    let wanted = (runs(all.len() as u64) as usize).min(all.len());
    while all.len() > wanted {
        all.swap_remove(random.below(all.len() as u64) as usize);
    }
    all
}

/// All orders of `txs` give the same attached set: all of them, unless `absent` says otherwise.
fn all_orders_agree(txs: &[Tx], absent: &[&Tx]) {
    let expected: BTreeSet<Id> =
        txs.iter().filter(|t| absent.iter().all(|a| a.id() != t.id())).map(Tx::id).collect();
    for order in orders(txs.len()) {
        let arrivals: Vec<&Tx> = order.iter().map(|i| &txs[*i]).collect();
        for hold in [false, true] {
            let (attached, driver) = outcome_of(&arrivals, hold);
            let missing: Vec<usize> = (0..txs.len())
                .filter(|i| expected.contains(&txs[*i].id()) && !attached.contains(&txs[*i].id()))
                .collect();
            assert!(
                missing.is_empty(),
                "order {order:?}: {missing:?} are not attached; {:?}",
                driver.drops()
            );
            assert_eq!(attached, expected, "order {order:?}");
            assert_eq!(driver.node.status().pending, txs.len() - expected.len(), "order {order:?}");
        }
    }
}

#[test]
fn any_order_of_arrival_gives_the_same_ledger() {
    let world = World::new();
    let (mut one, mut two, mut new) = (world.member(1), world.member(2), world.stranger("newcomer"));
    let root = one.note("root", &[]);
    let side = two.note("side", &[&root]);
    let enrol = new.enrol();
    let both = new.note("both", &[&root, &side]);
    let rotate = one.rotate("next key of one", &[&both]);
    let last = one.note("last", &[&rotate, &side]);
    all_orders_agree(&[root, side, enrol, both, rotate, last], &[]);
}

#[test]
fn any_order_of_arrival_of_a_forked_chain_gives_the_same_ledger() {
    let world = World::new();
    let mut one = world.member(1);
    let root = one.note("root", &[]);
    let mut other = one.clone();
    let left = one.note("left", &[]);
    let right = other.note("right", &[]);
    let on_left = one.note("on the left", &[&root]);
    let on_right = other.note("on the right", &[&root]);
    let outside = world.member(2).note("approves both", &[&on_left, &on_right]);
    all_orders_agree(&[root, left, right, on_left, on_right, outside], &[]);
}

/// A forker named two keys at one place and went on from the second. A node that knew only the first one checked
/// what follows the second with the wrong key, rejected it, and never took it again: two nodes, two ledgers.
#[test]
fn any_order_of_arrival_of_a_forked_rotation_gives_the_same_ledger() {
    let world = World::new();
    let mut left = world.member(1);
    let mut right = left.clone();
    let rotates_left = left.rotate("left", &[]);
    let rotates_right = right.rotate("right", &[]);
    let on_left = left.note("on the left", &[]);
    let on_right = right.note("on the right", &[]);
    let outside = world.member(2).note("approves both", &[&on_left, &on_right]);
    all_orders_agree(&[rotates_left, rotates_right, on_left, on_right, outside], &[]);
}

#[test]
fn any_order_of_arrival_with_something_that_never_settles_gives_the_same_ledger() {
    let world = World::new();
    let (mut one, mut two) = (world.member(1), world.member(2));
    let a = one.note("a", &[]);
    let mut body = two.body("refers to a under a wrong sequence", &[&a]);
    body.approves[1].sequence = 4;
    let never = two.issue(body);
    let behind = two.note("behind it", &[]);
    let b = one.note("b", &[]);
    let txs = [a, never.clone(), behind.clone(), b];
    all_orders_agree(&txs, &[&never, &behind]);
}

/// Six issuers, one of them with two branches, each transaction approving two drawn ones.
fn random_graph(random: &mut Random, count: usize) -> Vec<Tx> {
    let world = World::new();
    let mut actors: Vec<_> = (1..6).map(|m| world.member(m)).collect();
    actors.push(world.member(5));
    let mut txs: Vec<Tx> = Vec::new();
    for at in 0..count {
        let place = random.below(actors.len() as u64) as usize;
        let mut draw = || (!txs.is_empty()).then(|| txs[random.below(txs.len() as u64) as usize].clone());
        let past: Vec<Tx> = [draw(), draw()].into_iter().flatten().collect();
        let past: Vec<&Tx> = past.iter().collect();
        // Each branch says something of its own, so that the two of one issuer never coincide.
        txs.push(actors[place].note(&format!("{at} of {place}"), &past));
    }
    txs
}

#[test]
fn random_graphs_in_random_orders_give_the_same_ledger_and_the_same_witnesses() {
    for seed in 0..runs(120) {
        println!("seed {seed}");
        let mut random = random_of(seed);
        let txs = random_graph(&mut random, 25);
        let mut kept: Option<Vec<u32>> = None;
        for _ in 0..3 {
            let mut order: Vec<&Tx> = txs.iter().collect();
            for at in (1..order.len()).rev() {
                order.swap(at, random.below(at as u64 + 1) as usize);
            }
            let mut driver = Driver::with(|c| c.start_check = StartCheck::Listen);
            for tx in order {
                if random.below(4) == 0 {
                    driver.hold.insert([Work::Verify, Work::Persist][random.below(2) as usize]);
                }
                if random.below(4) == 0 {
                    driver.release(Work::Verify);
                    driver.release(Work::Persist);
                }
                driver.frame(tx);
            }
            driver.release(Work::Verify);
            driver.release(Work::Persist);
            assert_eq!(driver.store.attached().len(), txs.len());
            let witnessed: Vec<u32> = txs
                .iter()
                .map(|tx| driver.node.witnessed(driver.number(tx)).expect("in the window"))
                .collect();
            assert_eq!(kept.get_or_insert_with(|| witnessed.clone()), &witnessed, "witnesses differ");
            // Which branch is the second one is a matter of arrival; that there is one is not.
            let second = driver.store.records().filter(|r| r.has(flag::SECOND_BRANCH));
            assert!(second.map(|r| r.issuer).all(|i| i == driver.world.member(5).issuer));
        }
    }
}
