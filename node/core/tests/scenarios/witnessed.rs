//! Witnessed by k of n: how many committee members have a transaction in their past.

use selvedge_core::border::StartCheck;
use selvedge_core::transaction::{Body, Parents};

use crate::driver::{Driver, SECOND_US, random_of, runs};
use crate::world::{Tx, parent, witness};

fn k(driver: &Driver, tx: &Tx) -> u32 {
    driver.node.witnessed(driver.number(tx)).expect("in the window")
}

#[test]
fn members_count_once_each_with_or_without_a_witness_part() {
    let mut driver = Driver::with(|c| c.approve_delay_max_us = 1_000 * SECOND_US);
    let genesis = driver.world.network.genesis_id();
    let (mut one, mut two, mut three, mut outside) =
        (driver.world.member(1), driver.world.member(2), driver.world.member(3), driver.world.member(4));
    let tx = outside.note("by one outside the committee", &[]);
    driver.frame(&tx);
    assert_eq!(k(&driver, &tx), 0);
    let first = one.note("approves it", &[&tx]);
    driver.frame(&first);
    assert_eq!((k(&driver, &tx), k(&driver, &first)), (1, 1), "its issuer counts for its own");
    driver.frame(&one.note("approves it again", &[&tx]));
    assert_eq!(k(&driver, &tx), 1);
    driver.frame(&outside.note("does not count", &[&first]));
    assert_eq!(k(&driver, &first), 1);
    // Member 2 has it in its past through a further tip of a witness part, member 3 through a parent.
    let part = witness(1, Parents::Anchor(genesis), &[&first]);
    let body = Body { witness: Some(part), ..two.body("", &[]) };
    let by_two = two.issue(body);
    driver.frame(&by_two);
    assert_eq!((k(&driver, &tx), k(&driver, &first)), (2, 2));
    let anchored = |actor: &mut crate::world::Actor| {
        let body = Body { witness: Some(witness(1, Parents::Anchor(genesis), &[])), ..actor.body("", &[]) };
        actor.issue(body)
    };
    let (by_one, by_three) = (anchored(&mut one), anchored(&mut three));
    driver.frames(&[&by_one, &by_three]);
    assert_eq!(k(&driver, &tx), 2, "member 3 does not reach it yet");
    let parents = Parents::Witnesses(vec![parent(1, &by_one), parent(2, &by_two), parent(3, &by_three)]);
    let body = Body { witness: Some(witness(2, parents, &[])), ..three.body("", &[]) };
    let round_two = three.issue(body);
    driver.frame(&round_two);
    assert_eq!((k(&driver, &tx), k(&driver, &by_two), k(&driver, &round_two)), (3, 2, 1));
    // The node itself is member 0.
    driver.issue(0, b"n".to_vec());
    assert_eq!((k(&driver, &tx), k(&driver, &round_two)), (4, 2));
}

#[test]
fn a_parent_that_is_not_held_is_waited_for() {
    let mut driver = Driver::with(|c| c.start_check = StartCheck::Listen);
    let genesis = driver.world.network.genesis_id();
    let mut members: Vec<_> = (0..4).map(|m| driver.world.member(m)).collect();
    let anchored: Vec<Tx> = members
        .iter_mut()
        .map(|m| {
            let body = Body { witness: Some(witness(1, Parents::Anchor(genesis), &[])), ..m.body("", &[]) };
            m.issue(body)
        })
        .collect();
    let parents = Parents::Witnesses((1..4).map(|m| parent(m, &anchored[usize::from(m)])).collect());
    let body = Body { witness: Some(witness(2, parents, &[])), ..members[1].body("", &[]) };
    let second = members[1].issue(body);
    driver.frames(&[&second, &anchored[1], &anchored[2]]);
    assert!(!driver.is_attached(&second) && driver.drops().is_empty());
    driver.frame(&anchored[3]);
    assert!(driver.is_attached(&second));
}

#[test]
fn the_count_never_falls() {
    for seed in 0..runs(40) {
        println!("seed {seed}");
        let mut random = random_of(seed);
        let mut driver = Driver::with(|c| c.window_records = 20);
        let mut actors: Vec<_> = (1..6).map(|m| driver.world.member(m)).collect();
        actors.push(actors[0].clone());
        let mut txs: Vec<Tx> = Vec::new();
        let mut counts: Vec<u32> = Vec::new();
        for at in 0..60_u64 {
            let place = random.below(6) as usize;
            let newest = txs.len().saturating_sub(6);
            let mut draw = || {
                (!txs.is_empty())
                    .then(|| txs[newest + random.below((txs.len() - newest) as u64) as usize].clone())
            };
            let past: Vec<Tx> = [draw(), draw()].into_iter().flatten().collect();
            let tx = actors[place].note(&format!("{at} of {place}"), &past.iter().collect::<Vec<_>>());
            driver.frame(&tx);
            driver.advance_us(random.below(SECOND_US));
            txs.push(tx);
            counts.push(0);
            for (tx, before) in txs.iter().zip(&mut counts) {
                // Below the window it is the store's to remember.
                let Some(now) = driver.node.witnessed(driver.number(tx)) else { continue };
                assert!(now >= *before, "{now} after {before}");
                *before = now;
            }
        }
        assert!(counts.contains(&4), "some are witnessed by all: {counts:?}");
    }
}
