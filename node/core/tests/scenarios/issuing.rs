//! This node's own transactions that somebody asked for.

use selvedge_core::border::{Event, Input, Outcome, PeerId, Refusal};
use selvedge_core::limits;

use crate::driver::{Driver, PEER, SECOND_US, Work};

const NOTE: u16 = 0;
const REGISTRY: u16 = 4;

#[test]
fn an_own_transaction_is_sent_told_and_answered_once_it_is_durable() {
    let mut driver = Driver::new();
    driver.meet(PeerId(2));
    driver.hold.insert(Work::Persist);
    driver.take();
    let reply = driver.issue(NOTE, b"hello".to_vec());
    assert_eq!((driver.count(Work::Sign), driver.count(Work::Persist)), (1, 1));
    assert!(driver.outcome(reply).is_none() && driver.events().is_empty());
    driver.release(Work::Persist);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    let frame = driver.own_newest().envelope;
    for peer in [PEER, PeerId(2)] {
        assert_eq!(driver.sent_to(peer), core::slice::from_ref(&frame), "to each peer once");
    }
}

#[test]
fn the_first_transaction_approves_the_genesis_twice_and_the_next_ones_the_tip() {
    let mut driver = Driver::new();
    let genesis = driver.world.genesis_reference();
    driver.issue(NOTE, b"one".to_vec());
    let first = driver.own_newest();
    assert_eq!((first.body.sequence, first.body.prev, first.body.approves), (0, genesis.id, [genesis; 2]));
    driver.issue(REGISTRY, b"two".to_vec());
    let second = driver.own_newest();
    assert_eq!(
        (second.body.sequence, second.body.prev, second.body.approves),
        (1, first.id(), [first.reference; 2])
    );
    assert_eq!((second.body.kind, second.body.payload.as_slice()), (REGISTRY, b"two".as_slice()));
}

#[test]
fn two_tips_are_approved_when_there_are_two() {
    let mut driver = Driver::new();
    let left = driver.world.member(1).note("left", &[]);
    let right = driver.world.member(2).note("right", &[]);
    driver.frames(&[&left, &right]);
    driver.issue(NOTE, b"both".to_vec());
    let mut approved = driver.own_newest().body.approves;
    let mut both = [left.reference, right.reference];
    approved.sort();
    both.sort();
    assert_eq!(approved, both);
    assert_eq!(driver.node.tip_numbers(), [2]);
}

#[test]
fn one_transaction_is_in_the_making_at_a_time_and_a_full_queue_says_so() {
    let mut driver = Driver::new();
    driver.hold.insert(Work::Sign);
    let replies: Vec<_> =
        (0..=limits::ISSUE_QUEUE_MAX).map(|i| driver.issue(NOTE, vec![i as u8 + 1])).collect();
    assert_eq!(driver.open_work(Work::Sign).len(), 1);
    let refused = driver.issue(NOTE, b"one too many".to_vec());
    assert_eq!(driver.outcome(refused), Some(Outcome::Refused(Refusal::Busy(limits::ISSUE_QUEUE_MAX))));
    driver.release(Work::Sign);
    for reply in replies {
        assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    }
    let sequences: Vec<u64> = driver.store.records().map(|r| r.sequence).collect();
    assert!(sequences.iter().copied().eq(0..=64), "{sequences:?}");
    let payloads: Vec<u8> = (0..=64).map(|n| driver.store.body(n).payload[0]).collect();
    assert!(payloads.into_iter().eq(1..=65), "in the order in which they were asked for");
}

#[test]
fn payloads_that_the_node_issues_by_itself_and_too_long_ones_are_refused() {
    let mut driver = Driver::new();
    let long = vec![1; limits::NOTE_BYTES_MAX + 1];
    let longer = vec![1; limits::PAYLOAD_BYTES_MAX + 1];
    for (kind, payload) in [
        (NOTE, vec![]),
        (1, vec![1]),
        (2, vec![1]),
        (3, vec![1]),
        (5, vec![1]),
        (NOTE, long),
        (REGISTRY, longer),
    ] {
        let reply = driver.issue(kind, payload);
        assert_eq!(driver.outcome(reply), Some(Outcome::Refused(Refusal::Payload)), "kind {kind}");
    }
    for (kind, bytes) in [(NOTE, limits::NOTE_BYTES_MAX), (REGISTRY, limits::PAYLOAD_BYTES_MAX)] {
        let reply = driver.issue(kind, vec![7; bytes]);
        assert_eq!(driver.outcome(reply), Some(Outcome::Durable), "kind {kind}");
    }
}

/// Its own newer transaction comes back from a peer (a restored card) while the first one of this start is being
/// signed: signing on would fork the chain.
#[test]
fn a_chain_that_went_on_elsewhere_is_not_forked() {
    let mut driver = Driver::new();
    let mut own = driver.world.member(0);
    driver.issue(NOTE, b"zero".to_vec());
    own.follow(&driver.own_newest());
    let mut driver = driver.restart(|_| {});
    driver.meet(PEER);
    driver.hold.insert(Work::Sign);
    let reply = driver.issue(NOTE, b"mine".to_vec());
    let elsewhere = own.note("from before the restore", &[]);
    driver.frame(&elsewhere);
    assert!(driver.is_attached(&elsewhere));
    driver.release(Work::Sign);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    let newest = driver.own_newest();
    assert_eq!((newest.body.sequence, newest.body.prev), (2, elsewhere.id()));
    assert_eq!(newest.body.payload, b"mine");
    assert!(driver.node.status().forks.is_empty());
}

#[test]
fn a_tip_of_old_age_is_left_while_a_younger_one_exists() {
    let mut driver = Driver::with(|c| c.tips.age_max_us = 60 * SECOND_US);
    let old = driver.world.member(1).approval(&[]);
    driver.frame(&old);
    driver.advance_us(61 * SECOND_US);
    let young = driver.world.member(2).approval(&[]);
    driver.frame(&young);
    driver.issue(NOTE, b"n".to_vec());
    assert_eq!(driver.own_newest().body.approves, [young.reference; 2]);
    assert!(driver.node.tip_numbers().contains(&driver.number(&old)), "it stays a tip");
}

#[test]
fn a_weighted_walk_chooses_tips_too() {
    use selvedge_core::border::TipSelection;
    let mut driver = Driver::with(|c| c.tips.selection = TipSelection::Walk { alpha: 0.5 });
    let mut one = driver.world.member(1);
    let root = one.approval(&[]);
    let tips = [2, 3, 4].map(|m| driver.world.member(m).approval(&[&root]));
    driver.frame(&root);
    driver.frames(&[&tips[0], &tips[1], &tips[2]]);
    driver.issue(NOTE, b"n".to_vec());
    let [a, b] = driver.own_newest().body.approves;
    assert!(a != b && [a, b].iter().all(|r| tips.iter().any(|t| t.reference == *r)));
}

#[test]
fn events_of_own_transactions_say_so() {
    let mut driver = Driver::new();
    driver.issue(NOTE, b"n".to_vec());
    let id = driver.own_newest().id();
    let told = driver.events().into_iter().any(
        |e| matches!(e, Event::Attached { number: 0, reference, kind: NOTE, own: true } if reference.id == id),
    );
    assert!(told);
}

/// `Persisted` covers everything before it, but each outcome leaves with its own ticket, in whatever order they come.
#[test]
fn tickets_that_are_answered_in_another_order_release_what_is_theirs() {
    let mut driver = Driver::new();
    driver.describe(0, "a");
    driver.hold.insert(Work::Persist);
    let readings = driver.submit_count(0, 2);
    let foreign = driver.world.member(1).note("n", &[]);
    driver.frame(&foreign);
    let issued = driver.issue(NOTE, b"n".to_vec());
    let asked = driver.open_work(Work::Persist);
    assert_eq!(asked.len(), 3);
    driver.lose(Work::Persist);
    driver.answer(&asked[2]);
    assert_eq!((driver.outcome(issued), driver.outcome(readings)), (Some(Outcome::Durable), None));
    driver.answer(&asked[0]);
    assert_eq!(driver.outcome(readings), Some(Outcome::Durable));
    driver.answer(&asked[1]);
    let told = driver.events().into_iter().filter(|e| matches!(e, Event::Attached { .. })).count();
    assert_eq!(told, 2);
    // A ticket that was never handed out changes nothing.
    driver.input(Input::Persisted { ticket: selvedge_core::border::Ticket(9_999) });
    driver.input(Input::Failed { ticket: selvedge_core::border::Ticket(9_999), why: "stale".to_owned() });
    assert!(!driver.node.status().halted);
}
