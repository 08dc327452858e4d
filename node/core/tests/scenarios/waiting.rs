//! What waits instead of being rejected, and what comes of it.

use selvedge_core::border::{Event, Input, PeerId};
use selvedge_core::limits::{PENDING_TIMEOUT_US, WANT_TIMEOUT_US};
use selvedge_core::transaction::{Body, Parents, Reference, WitnessPart};

use crate::driver::{Driver, PEER, SECOND_US, Work};
use crate::world::{nowhere, witness};
use selvedge_core::Id;

const OTHER: PeerId = PeerId(2);

#[test]
fn a_transaction_waits_for_what_it_refers_to_and_asks_its_sender() {
    let mut driver = Driver::new();
    driver.meet(OTHER);
    let mut one = driver.world.member(1);
    let root = driver.world.member(2).note("root", &[]);
    let first = one.note("first", &[]);
    let second = one.note("second", &[&root]);
    driver.frame_from(OTHER, &second.envelope);
    assert!(driver.drops().is_empty() && !driver.is_attached(&second));
    let wants = driver.wants();
    let [(peer, asked)] = wants.as_slice() else { panic!("{wants:?}") };
    assert_eq!(*peer, OTHER, "who sent it is asked first");
    let mut expected = vec![first.reference, root.reference];
    expected.sort_by_key(|r| r.id);
    assert_eq!(*asked, expected);
    driver.frame(&root);
    assert!(!driver.is_attached(&second), "one of two is there");
    driver.frame(&first);
    assert!(driver.is_attached(&second));
    let status = driver.node.status();
    assert_eq!((status.pending, status.pending_bytes, status.wanted), (0, 0, 0));
}

#[test]
fn what_is_wanted_is_asked_of_another_peer_after_a_while() {
    let mut driver = Driver::new();
    driver.meet(OTHER);
    let mut one = driver.world.member(1);
    let _missing = one.note("missing", &[]);
    let waiting = one.note("waiting", &[]);
    driver.frame(&waiting);
    assert_eq!(driver.wants().len(), 1);
    let mut asked = vec![driver.wants()[0].0];
    let mut since_us = driver.now.monotonic_us;
    while asked.len() < 4 {
        driver.take();
        driver.advance_us(SECOND_US / 10);
        let passed_us = driver.now.monotonic_us - since_us;
        let Some((peer, _)) = driver.wants().first().cloned() else {
            assert!(passed_us <= WANT_TIMEOUT_US + SECOND_US, "not asked again for {passed_us} us");
            continue;
        };
        assert!(passed_us >= WANT_TIMEOUT_US, "asked again after {passed_us} us");
        asked.push(peer);
        since_us = driver.now.monotonic_us;
    }
    assert_eq!(asked, [PEER, OTHER, PEER, OTHER]);
}

#[test]
fn what_is_wanted_is_asked_once_somebody_is_connected() {
    let mut driver = Driver::new();
    let mut one = driver.world.member(1);
    let missing = one.note("missing", &[]);
    let waiting = one.note("waiting", &[]);
    driver.hold.insert(Work::Verify);
    driver.frame(&waiting);
    driver.input(Input::PeerDown(PEER));
    driver.release(Work::Verify);
    assert!(driver.wants().is_empty(), "nobody is there to be asked");
    driver.meet(OTHER);
    assert_eq!(driver.wants(), [(OTHER, vec![missing.reference])]);
    driver.frame_from(OTHER, &missing.envelope);
    assert!(driver.is_attached(&waiting));
}

#[test]
fn frames_of_a_peer_that_is_not_connected_are_ignored() {
    let mut driver = Driver::new();
    let note = driver.world.member(1).note("n", &[]);
    driver.frame_from(PeerId(77), &note.envelope);
    assert_eq!((driver.node.status().pending, driver.count(Work::Verify)), (0, 0));
    driver.frame(&note);
    assert!(driver.is_attached(&note));
}

#[test]
fn what_waited_too_long_is_dropped_and_can_come_again() {
    let mut driver = Driver::new();
    let mut one = driver.world.member(1);
    let missing = one.note("missing", &[]);
    let waiting = one.note("waiting", &[]);
    driver.frame(&waiting);
    driver.advance_us(PENDING_TIMEOUT_US - 2 * SECOND_US);
    assert_eq!(driver.node.status().pending, 1);
    driver.advance_us(4 * SECOND_US);
    let status = driver.node.status();
    assert_eq!((status.pending, status.pending_bytes, status.wanted), (0, 0, 0));
    assert!(driver.is_at_rest());
    assert!(driver.drops().is_empty(), "waiting is nobody's fault");
    driver.meet(PEER);
    driver.frames(&[&waiting, &missing]);
    assert!(driver.is_attached(&waiting));
}

#[test]
fn a_transaction_of_an_unknown_issuer_waits_for_its_enrolment() {
    let mut driver = Driver::new();
    let mut stranger = driver.world.stranger("newcomer");
    let enrol = stranger.enrol();
    let first = stranger.note("first", &[]);
    let second = stranger.note("second", &[]);
    driver.frames(&[&second, &first]);
    assert!(driver.drops().is_empty());
    assert_eq!(driver.count(Work::Verify), 0, "its key is not known");
    let wanted: Vec<Reference> = driver.wants().into_iter().flat_map(|(_, r)| r).collect();
    assert!(wanted.contains(&enrol.reference), "transaction 0 is wanted");
    driver.frame(&enrol);
    assert!(driver.is_attached(&first) && driver.is_attached(&second));
}

/// An epoch that is not known yet may become known: its transactions wait.
#[test]
fn a_witness_of_a_later_epoch_waits() {
    let mut driver = Driver::new();
    for member in [1, 4] {
        let one = driver.world.member(member);
        let part = WitnessPart { epoch: 1, ..witness(1, Parents::Anchor(Id(nowhere("anchor").0)), &[]) };
        let tx = one.sign(Body { witness: Some(part), ..one.body("n", &[]) });
        driver.frame(&tx);
        assert!(!driver.is_attached(&tx));
    }
    assert!(driver.drops().is_empty());
    assert_eq!(driver.node.status().pending, 2);
    driver.advance_us(PENDING_TIMEOUT_US + 2 * SECOND_US);
    assert_eq!(driver.node.status().pending, 0);
}

#[test]
fn a_triple_that_does_not_agree_never_settles_and_is_no_fault() {
    let world = crate::world::World::new();
    let root = world.member(2).note("root", &[]);
    let wrong = [
        Reference { sequence: 1, ..root.reference },
        Reference { issuer: world.member(3).issuer, ..root.reference },
    ];
    for reference in wrong {
        for root_first in [true, false] {
            let mut driver = Driver::new();
            let one = world.member(1);
            let mut body = one.body("n", &[]);
            body.approves[1] = reference;
            let tx = one.sign(body);
            let order = if root_first { [&root, &tx] } else { [&tx, &root] };
            driver.frames(&order);
            driver.advance_us(PENDING_TIMEOUT_US / 2);
            assert!(driver.is_attached(&root) && !driver.is_attached(&tx));
            assert_eq!(driver.node.status().pending, 1);
            driver.advance_us(PENDING_TIMEOUT_US);
            assert_eq!((driver.node.status().pending, driver.drops().len()), (0, 0));
        }
    }
}

/// A peer that asks for something under a wrong triple does not keep others from getting it under the right one.
#[test]
fn a_wrong_triple_that_came_first_does_not_hide_the_right_one() {
    let mut driver = Driver::new();
    let root = driver.world.member(2).note("root", &[]);
    let (one, three) = (driver.world.member(1), driver.world.member(3));
    let mut body = one.body("n", &[]);
    body.approves = [Reference { sequence: 9, ..root.reference }; 2];
    let wrong = one.sign(body);
    let right = three.sign(three.body("n", &[&root]));
    driver.frames(&[&wrong, &right]);
    driver.advance_us(4 * SECOND_US);
    let wanted: Vec<Reference> = driver.wants().into_iter().flat_map(|(_, r)| r).collect();
    assert!(wanted.contains(&root.reference), "asked for were only {wanted:?}");
    driver.frame(&root);
    assert!(driver.is_attached(&right) && !driver.is_attached(&wrong));
}

#[test]
fn what_is_attached_is_told_once_and_with_its_place() {
    let mut driver = Driver::new();
    let note = driver.world.member(1).note("n", &[]);
    driver.frames(&[&note, &note]);
    let told: Vec<Event> =
        driver.events().into_iter().filter(|e| matches!(e, Event::Attached { own: false, .. })).collect();
    let expected = Event::Attached { number: 0, reference: note.reference, kind: 0, own: false };
    assert_eq!(told, [expected]);
    assert_eq!(driver.count(Work::Verify), 1, "what is attached is not verified again");
}
