//! Sequence numbers, messages that are missing or late, and how often a birth is asked for.

use std::time::Duration;

use super::Brief::{Is, Stale};
use super::{POLICY, Rig, aliased, named, payload, seconds, target, with_alias};
use crate::mqtt::sparkplug::Life;
use crate::mqtt::sparkplug::host::{GRACE, HELD_MAX, Policy};
use crate::mqtt::sparkplug::payload::{Payload, Unreadable};
use crate::mqtt::sparkplug::rebirth::{CALM, SPACING, WAIT_MAX, WAIT_MIN};
use crate::mqtt::sparkplug::topic::Verb;
use crate::status_code;

const MISSED: u32 = status_code::MISSED;

fn birth(value: i64) -> Payload {
    payload(0, vec![named("bdSeq", 1), with_alias("a", 1, value)])
}

fn data(seq: u64, value: i64) -> Payload {
    payload(seq, vec![aliased(1, value)])
}

fn born(policy: Policy) -> Rig {
    let mut rig = Rig::with(&[target("n", "a")], policy);
    assert_eq!(rig.say("NBIRTH/n", birth(0)), [Is(0, 0)]);
    rig
}

fn waiting() -> Policy {
    Policy { reorder: seconds(2), ..POLICY }
}

#[test]
fn the_sequence_runs_to_255_and_begins_again() {
    let mut rig = born(POLICY);
    for number in 1..=1_000 {
        assert_eq!(rig.say("NDATA/n", data(number % 256, number as i64)), [Is(0, number as i64)]);
    }
    assert_eq!(rig.host.figures().gaps, 0);
}

#[test]
fn after_a_gap_aliases_mean_nothing_until_the_next_birth() {
    let mut rig = born(POLICY);
    // The message that is missing may have been a birth in which 1 stands for something else.
    assert_eq!(rig.say("NDATA/n", data(2, 5)), [Stale(0, MISSED)]);
    assert_eq!(rig.host.life("n"), Some(Life::Lost));
    assert_eq!(rig.host.complaints(), ["messages of edge node \"n\" are missing; no new birth"]);
    assert_eq!(rig.say("NDATA/n", data(3, 6)), []);
    assert_eq!(rig.say("NDATA/n", payload(4, vec![named("a", 7)])), [Is(0, 7)], "it explains itself");
    assert_eq!(rig.until(seconds(0)).0, ["n"]);
    assert_eq!(rig.say("NBIRTH/n", birth(8)), [Is(0, 8)]);
    assert_eq!(rig.say("NDATA/n", data(1, 9)), [Is(0, 9)]);
    assert_eq!(rig.host.figures().gaps, 1);
}

#[test]
fn the_same_message_twice_is_a_gap_too() {
    let mut rig = born(POLICY);
    rig.say("NDATA/n", data(1, 5));
    assert_eq!(rig.say("NDATA/n", data(1, 5)), [Stale(0, MISSED)]);
    let mut rig = born(POLICY);
    assert_eq!(rig.say("NDATA/n", data(257, 5)), [Stale(0, MISSED)], "257 is no sequence number");
}

#[test]
fn a_message_that_cannot_be_read_shows_as_a_gap() {
    let mut rig = born(POLICY);
    let (place, unreadable) = (super::place("n"), Err(Unreadable::Malformed));
    assert!(rig.host.message(Verb::Data, &place, unreadable, rig.came(), &mut Vec::new()));
    assert_eq!(rig.say("NDATA/n", data(2, 5)), [Stale(0, MISSED)]);
    assert_eq!(rig.host.figures().unreadable, 1);
}

#[test]
fn a_node_without_sequence_numbers_is_taken_as_it_comes() {
    let mut rig = Rig::new(&[target("n", "a")]);
    rig.say("NBIRTH/n", payload(None, vec![with_alias("a", 1, 1)]));
    assert_eq!(rig.say("NDATA/n", payload(None, vec![aliased(1, 2)])), [Is(0, 2)]);
    assert_eq!(rig.say("NDATA/n", payload(77, vec![aliased(1, 3)])), [Is(0, 3)]);
}

#[test]
fn with_a_reorder_time_messages_wait_for_their_turn() {
    let mut rig = born(waiting());
    assert_eq!(rig.say("NDATA/n", data(3, 30)), []);
    assert_eq!(rig.say("NDATA/n", data(2, 20)), []);
    assert_eq!(rig.say("NDATA/n", data(1, 10)), [Is(0, 10), Is(0, 20), Is(0, 30)]);
    assert_eq!(rig.until(seconds(60)), (vec![], vec![]));
    assert_eq!((rig.host.figures().reordered, rig.host.figures().gaps), (2, 0));
    // Over the end of the numbers.
    for number in 4..255 {
        rig.say("NDATA/n", data(number, 0));
    }
    assert_eq!(rig.say("NDATA/n", data(0, 1)), []);
    assert_eq!(rig.say("NDATA/n", data(255, 2)), [Is(0, 2), Is(0, 1)]);
}

#[test]
fn a_message_that_never_comes_is_a_gap_when_the_time_is_over() {
    let mut rig = born(waiting());
    rig.say("NDATA/n", data(3, 30));
    rig.say("NDATA/n", payload(4, vec![named("a", 40)]));
    assert_eq!(rig.until(seconds(1)), (vec![], vec![]));
    let (asked, out) = rig.until(seconds(2));
    assert_eq!(out, [Stale(0, MISSED), Is(0, 40)], "what waited and explains itself is not lost");
    assert_eq!(asked, ["n"]);
    // A birth ends the waiting.
    let mut rig = born(waiting());
    rig.say("NDATA/n", data(3, 30));
    assert_eq!(rig.say("NBIRTH/n", birth(1)), [Is(0, 1)]);
    assert_eq!(rig.until(seconds(60)), (vec![], vec![]));
}

#[test]
fn what_may_wait_is_bounded() {
    let mut rig = born(waiting());
    let mut out = Vec::new();
    for seq in 2..200 {
        out = rig.say("NDATA/n", data(seq, 0));
        if !out.is_empty() {
            assert_eq!(seq as usize, HELD_MAX + 2);
            break;
        }
    }
    assert_eq!(out, [Stale(0, MISSED)]);
}

#[test]
fn births_are_asked_for_ever_more_rarely_and_for_ever() {
    let mut rig = Rig::new(&[target("n", "a")]);
    let day = seconds(86_400);
    let moments = rig.requests(day);
    assert_eq!(moments[..4], [GRACE, GRACE + WAIT_MIN, GRACE + 3 * WAIT_MIN, GRACE + 7 * WAIT_MIN]);
    let gaps: Vec<Duration> = moments.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    assert!(gaps.windows(2).all(|pair| pair[0] <= pair[1]) && gaps.last() == Some(&WAIT_MAX), "{gaps:?}");
    assert_eq!(rig.host.figures().rebirths_asked, moments.len() as u64);
}

#[test]
fn a_node_that_loses_messages_all_the_time_is_not_asked_all_the_time() {
    let mut rig = born(POLICY);
    let mut requests = 0;
    let minutes = 60;
    for second in 1..=minutes * 60 {
        rig.say("NDATA/n", data(9, 0));
        let (asked, _) = rig.until(seconds(second));
        requests += asked.len();
        if !asked.is_empty() {
            rig.say("NBIRTH/n", birth(0));
        }
    }
    assert!((8..=14).contains(&requests), "{requests} in an hour");
    // Well for a while: the next time it is asked at once.
    let well = rig.now + CALM + WAIT_MAX;
    rig.until(well);
    rig.say("NBIRTH/n", birth(0));
    rig.until(well + CALM);
    rig.say("NDATA/n", data(9, 0));
    assert_eq!(rig.requests(well + CALM), [well + CALM]);
}

#[test]
fn a_flapping_connection_does_not_ask_more_often() {
    let mut rig = Rig::new(&[target("n", "a")]);
    let mut requests = 0;
    for second in 0..3_600 {
        if second % 3 == 0 {
            rig.host.connected(rig.now);
        }
        requests += rig.until(seconds(second)).0.len();
    }
    assert!(requests <= 14, "{requests} in an hour");
}

#[test]
fn many_nodes_are_asked_one_after_the_other() {
    let targets: Vec<_> = (0..100).map(|node| target(&format!("n{node}"), "a")).collect();
    let mut rig = Rig::new(&targets);
    let moments = rig.requests(GRACE + SPACING * 99);
    assert_eq!(moments.len(), 100);
    assert!(moments.windows(2).all(|pair| pair[1].saturating_sub(pair[0]) >= SPACING));
}

#[test]
fn a_host_that_must_not_ask_does_not() {
    let mut rig = born(Policy { rebirth: false, ..POLICY });
    assert_eq!(rig.say("NDATA/n", data(5, 5)), [Stale(0, MISSED)]);
    rig.host.connected(rig.now);
    assert_eq!(rig.until(seconds(86_400)), (vec![], vec![]));
}
