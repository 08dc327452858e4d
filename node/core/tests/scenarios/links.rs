//! Connections: what is said to whom, and again when it did not get there.

use selvedge_core::border::{Event, Farewell, Input, PeerId, Silence, StartCheck};
use selvedge_core::transaction::Body;
use selvedge_core::wire::{Announce, ChainHead, Digest, Have, Hello, Message, Notice, StartId, Want};
use selvedge_core::{Hash, limits};

use crate::driver::{Driver, PEER, SECOND_US, Work};
use crate::world::Tx;

const OTHER: PeerId = PeerId(2);

fn silent() -> Driver {
    Driver::with(|c| c.start_check = StartCheck::Listen)
}

fn haves(driver: &Driver, to: PeerId) -> Vec<Option<ChainHead>> {
    let of = |frame: &std::sync::Arc<[u8]>| match Message::open(frame) {
        Ok(Message::Have(have)) => Some(have.head),
        _ => None,
    };
    driver.said_to(to).iter().filter_map(of).collect()
}

fn head_of(tx: &Tx) -> ChainHead {
    ChainHead { sequence: tx.body.sequence, id: tx.id() }
}

/// What was dropped because a queue was full held the word that a restored gateway waits for, and it was never said
/// again (found by the simulator: seed 3035 of the restored ones).
#[test]
fn how_far_a_chain_is_held_is_said_again_after_congestion() {
    let mut driver = silent();
    let mut one = driver.world.member(1);
    driver.meet_as(OTHER, one.issuer);
    assert_eq!(haves(&driver, OTHER), [None]);
    let note = one.note("n", &[]);
    driver.frame_from(OTHER, &note.envelope);
    driver.take();
    driver.advance_us(SECOND_US);
    assert_eq!(haves(&driver, OTHER), [Some(head_of(&note))]);
    driver.take();
    driver.input(Input::Congested { peer: OTHER });
    driver.advance_us(SECOND_US);
    assert_eq!(haves(&driver, OTHER), [Some(head_of(&note))]);
}

/// A transaction that is not durable is not promised.
#[test]
fn what_is_not_durable_is_not_said_to_be_held() {
    let mut driver = silent();
    let mut one = driver.world.member(1);
    driver.meet_as(OTHER, one.issuer);
    driver.hold.insert(Work::Persist);
    let note = one.note("n", &[]);
    driver.take();
    driver.frame_from(OTHER, &note.envelope);
    driver.advance_us(5 * SECOND_US);
    assert_eq!(haves(&driver, OTHER), []);
    driver.release(Work::Persist);
    driver.advance_us(SECOND_US);
    assert_eq!(haves(&driver, OTHER), [Some(head_of(&note))]);
}

#[test]
fn who_says_no_hello_or_the_wrong_one_is_sent_away() {
    let mut driver = silent();
    let issuer = driver.world.member(3).issuer;
    let up = |driver: &mut Driver, peer| driver.input(Input::PeerUp { peer, issuer, outgoing: false });
    let (first, second, third, fourth) = (PeerId(11), PeerId(12), PeerId(13), PeerId(14));
    up(&mut driver, first);
    driver.say(first, &Message::Prune);
    up(&mut driver, second);
    let hello = driver.hello_of(second);
    driver
        .say(second, &Message::Hello(Hello { network: selvedge_core::NetworkId([9; 32]), ..hello.clone() }));
    up(&mut driver, third);
    driver.say(third, &Message::Hello(Hello { lowest: 3, highest: 9, ..hello }));
    up(&mut driver, fourth);
    driver.advance_us(limits::HELLO_WITHIN_US);
    let farewells = driver.farewells();
    let [(a, no_hello), (b, network), (c, version), (d, late)] = farewells.as_slice() else {
        panic!("{farewells:?}")
    };
    assert_eq!([*a, *b, *c, *d], [first, second, third, fourth]);
    assert!(matches!((no_hello, late), (Farewell::NoHello, Farewell::NoHello)));
    assert!(matches!(network, Farewell::OtherNetwork { .. }));
    assert!(matches!(version, Farewell::NoCommonVersion { lowest: 3, highest: 9, ours: 0 }));
}

/// A cloned card: an older start that comes back while the newer one is connected.
#[test]
fn two_starts_with_one_key_at_one_time_are_told_and_said() {
    let mut driver = silent();
    let issuer = driver.world.member(3).issuer;
    let say_hello = |driver: &mut Driver, peer: PeerId, start: u8| {
        driver.input(Input::PeerUp { peer, issuer, outgoing: false });
        let hello = Hello { start: StartId([start; 16]), ..driver.hello_of(peer) };
        driver.say(peer, &Message::Hello(hello));
    };
    say_hello(&mut driver, PeerId(11), 1);
    say_hello(&mut driver, PeerId(12), 2);
    assert_eq!(driver.farewells(), [(PeerId(11), Farewell::Replaced)], "a newer start takes its place");
    assert!(!driver.events().contains(&Event::Twins { issuer }), "a restart is no clone");
    say_hello(&mut driver, PeerId(13), 1);
    assert!(driver.events().contains(&Event::Twins { issuer }));
    for peer in [PeerId(12), PeerId(13)] {
        let is_told = driver
            .said_to(peer)
            .iter()
            .any(|f| matches!(Message::open(f), Ok(Message::Notice(Notice::AnotherMachine))));
        assert!(is_told, "{peer:?}");
    }
}

/// A member that says "two machines use your key" could silence any gateway; of four members one may lie, so the second
/// that says so is believed.
#[test]
fn one_member_of_four_cannot_silence_a_gateway_and_two_can() {
    let mut driver = Driver::with(|_| {});
    let (one, two, outsider) = (driver.world.member(1), driver.world.member(2), driver.world.member(5));
    let links = [(PeerId(11), one.issuer), (PeerId(12), two.issuer), (PeerId(13), outsider.issuer)];
    for (peer, issuer) in links {
        driver.meet_as(peer, issuer);
    }
    for peer in [PeerId(11), PeerId(13), PeerId(11)] {
        driver.say(peer, &Message::Notice(Notice::AnotherMachine));
        assert_eq!(driver.node.silence(), None, "one member's word, whoever else joins in");
    }
    driver.say(PeerId(12), &Message::Notice(Notice::AnotherMachine));
    assert_eq!(driver.node.silence(), Some(Silence::AnotherMachine));
    assert!(driver.events().contains(&Event::AnotherMachine { seen: None }));
}

/// Two bodies of one place are evidence; a third is taken only when others refer to it.
#[test]
fn a_third_body_of_a_place_is_taken_only_when_others_refer_to_it() {
    let mut driver = silent();
    let one = driver.world.member(1);
    let bodies: Vec<Tx> = (0..3).map(|at| one.sign(one.body(&format!("{at}"), &[]))).collect();
    for tx in &bodies {
        driver.frame(tx);
    }
    assert!(
        driver.is_attached(&bodies[0]) && driver.is_attached(&bodies[1]) && !driver.is_attached(&bodies[2])
    );
    assert!(driver.drops().is_empty(), "an honest peer may pass it on");
    driver.take();
    let honest = driver.world.member(2).note("approves the third", &[&bodies[2]]);
    driver.frame(&honest);
    assert_eq!(driver.wants(), [(PEER, vec![bodies[2].reference])]);
    driver.frame(&bodies[2]);
    assert!(driver.is_attached(&bodies[2]) && driver.is_attached(&honest));
}

/// What is announced and does not come by itself is asked for, and its link becomes an eager one.
#[test]
fn what_is_announced_and_does_not_come_is_asked_for() {
    let mut driver = silent();
    driver.meet(OTHER);
    let note = driver.world.member(1).note("n", &[]);
    driver.take();
    let references = vec![note.reference];
    driver.say(OTHER, &Message::Announce(Announce { references: references.clone() }));
    driver.advance_us(limits::GRAFT_US - 1);
    assert!(driver.wants().is_empty());
    driver.advance_us(1);
    let graft = Message::Want(Want { graft: true, references }).to_frame();
    assert!(driver.said_to(OTHER).contains(&graft));
    driver.frame_from(OTHER, &note.envelope);
    assert!(driver.is_attached(&note));
    driver.take();
    driver.advance_us(60 * SECOND_US);
    assert!(driver.wants().is_empty(), "it is here");
}

/// A body that comes twice prunes its link, but never the last eager one.
#[test]
fn a_body_that_comes_twice_prunes_its_link() {
    let mut driver = silent();
    driver.meet(OTHER);
    let mut one = driver.world.member(1);
    let notes = [one.note("a", &[]), one.note("b", &[])];
    for note in &notes {
        driver.frame(note);
        driver.frame_from(OTHER, &note.envelope);
    }
    let prunes = |driver: &Driver, peer| {
        driver.said_to(peer).iter().filter(|f| matches!(Message::open(f), Ok(Message::Prune))).count()
    };
    assert_eq!((prunes(&driver, PEER), prunes(&driver, OTHER)), (0, 1));
}

/// Different digests make both say their frontiers; equal ones make nobody say anything.
#[test]
fn equal_digests_need_no_words() {
    let mut driver = silent();
    let note = driver.world.member(1).note("n", &[]);
    driver.frame(&note);
    driver.advance_us(30 * SECOND_US);
    let frames = driver.said_to(PEER);
    let digest = frames.iter().rev().find_map(|f| match Message::open(f) {
        Ok(Message::Digest(digest)) => Some(digest),
        _ => None,
    });
    let ours = digest.expect("a digest was said");
    driver.take();
    driver.say(PEER, &Message::Digest(ours));
    assert!(driver.said_to(PEER).is_empty());
    driver.say(PEER, &Message::Digest(Digest { frontier: Hash([1; 32]) }));
    assert!(driver.said_to(PEER).iter().any(|f| matches!(Message::open(f), Ok(Message::Frontier(_)))));
}

/// A transaction of its own key that this start did not make, after it issued: from then on it issues nothing.
#[test]
fn an_own_transaction_that_this_start_did_not_make_silences_it() {
    let mut driver = Driver::new();
    let mut own = driver.world.member(0);
    driver.issue(0, b"mine".to_vec());
    own.follow(&driver.own_newest());
    let elsewhere = own.sign(Body { payload: b"a clone's".to_vec(), ..own.body("", &[]) });
    driver.frame(&elsewhere);
    assert!(driver.is_attached(&elsewhere));
    let is_said = |e: &Event| matches!(e, Event::AnotherMachine { seen: Some(head) } if head.sequence == 1);
    assert!(driver.events().iter().any(is_said));
    let reply = driver.issue(0, b"no more".to_vec());
    assert!(matches!(driver.outcome(reply), Some(selvedge_core::border::Outcome::Refused(_))));
}

/// A client that waits when the node falls silent learns so.
#[test]
fn who_waits_for_a_payload_is_told_when_another_machine_uses_the_key() {
    let mut driver = Driver::new();
    let mut own = driver.world.member(0);
    driver.issue(0, b"mine".to_vec());
    own.follow(&driver.own_newest());
    driver.hold.insert(Work::Sign);
    let waits = [driver.issue(0, b"being signed".to_vec()), driver.issue(0, b"queued".to_vec())];
    driver.frame(&own.note("a clone's", &[]));
    driver.release(Work::Sign);
    for reply in waits {
        let outcome = driver.outcome(reply);
        assert!(
            matches!(outcome, Some(selvedge_core::border::Outcome::Refused(_))),
            "{reply:?}: {outcome:?}"
        );
    }
}

/// What a peer says of this node's own chain is asked for once more than is here is claimed.
#[test]
fn a_claim_of_more_than_is_here_is_fetched_before_anything_is_signed() {
    let mut driver = Driver::with(|c| c.start_check = StartCheck::Bounded(20 * SECOND_US));
    let mut own = driver.world.member(0);
    let lost = own.note("lost", &[]);
    driver.say(PEER, &Message::Have(Have { head: Some(head_of(&lost)) }));
    assert!(driver.said_to(PEER).iter().any(|f| matches!(Message::open(f), Ok(Message::Fetch(_)))));
    let refused = driver.issue(0, b"too early".to_vec());
    assert!(matches!(driver.outcome(refused), Some(selvedge_core::border::Outcome::Refused(_))));
    driver.raw(PEER, selvedge_core::wire::transactions(&[&*lost.envelope]));
    driver.raw(PEER, selvedge_core::wire::fetch_end(false));
    driver.advance_us(30 * SECOND_US);
    let is_settled = |e: &Event| matches!(e, Event::Settled { adopted: 1, .. });
    assert!(driver.events().iter().any(is_settled), "{:?}", driver.events());
    driver.issue(0, b"goes on".to_vec());
    let newest = driver.own_newest();
    assert_eq!((newest.body.sequence, newest.body.prev), (1, lost.id()));
}
