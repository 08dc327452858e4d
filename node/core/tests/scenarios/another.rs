//! A second machine with this node's key: what is a sign of it, and what is a tail that takes its time.

use selvedge_core::border::{Event, Silence, StartCheck};
use selvedge_core::transaction::Body;

use crate::driver::{Driver, PEER, SECOND_US};
use crate::world::Tx;

/// A tail that came piece by piece, each soon after the one before, was taken for another machine's work as soon as its
/// first piece was some seconds old (found by review).
#[test]
fn a_tail_that_takes_its_time_is_no_second_machine() {
    let mut driver = Driver::new();
    let mut own = driver.world.member(0);
    for piece in 0..8 {
        driver.frame_from(PEER, &own.note(&format!("piece {piece}"), &[]).envelope);
        assert_eq!(driver.node.silence(), None, "piece {piece}");
        driver.advance_us(4 * SECOND_US);
    }
    assert_eq!(driver.node.status().adopted, 8);
    // What comes long after the last piece was made by somebody.
    driver.advance_us(2 * SECOND_US);
    driver.frame_from(PEER, &own.note("made just now", &[]).envelope);
    assert_eq!(driver.node.silence(), Some(Silence::AnotherMachine));
    assert!(driver.events().iter().any(|e| matches!(e, Event::AnotherMachine { seen: Some(_) })));
}

/// Of a place with two bodies a third is not taken for its own sake, but of the own key each one shows another machine:
/// a gateway whose chain was forked before never saw what its clone went on to sign (found by review).
#[test]
fn of_the_own_key_every_body_of_a_place_is_taken() {
    let mut driver = Driver::with(|c| c.start_check = StartCheck::Listen);
    let own = driver.world.member(0);
    let bodies: Vec<Tx> =
        (0..4).map(|at| own.sign(Body { payload: vec![at], ..own.body("", &[]) })).collect();
    for (at, tx) in bodies.iter().enumerate() {
        driver.frame(tx);
        assert!(driver.is_attached(tx), "body {at}");
    }
    assert!(driver.drops().is_empty());
}
