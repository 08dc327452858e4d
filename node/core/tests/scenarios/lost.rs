//! Own transactions that a gateway lost with its card, and that only wait at its peers for something else.
//!
//! The story: the peers of a restored gateway held what it had signed last as pending only, since something that it refers
//! to was still missing there. They said nothing of it, it signed another one at that sequence, and in the end both were
//! attached: an honest gateway had forked (found by the simulator: seed 3011 of the restored ones, and 940022).

use selvedge_core::border::{Event, Input, Outcome, PeerId, StartCheck};
use selvedge_core::limits::{
    COMPLETION_TIMEOUT_US, HAVE_EVERY_US, LOST_MAX, NOTE_BYTES_MAX, PENDING_TIMEOUT_US, RESTORED_GRACE_US,
    START_GRACE_US,
};
use selvedge_core::wire::{self, ChainHead, Have, Hello, Message};

use crate::driver::{Driver, PEER, SECOND_US, Work, envelopes_of};
use crate::world::{Actor, Tx};

const OTHER: PeerId = PeerId(2);

/// What was said to a peer, as far as this is about: envelopes, and how far its chain is held.
#[derive(PartialEq)]
enum Said {
    Body(Vec<u8>),
    Have(Option<ChainHead>),
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // A hash tells them apart as well, and is shorter.
            Self::Body(envelope) => write!(f, "Body({})", &blake3::hash(envelope).to_hex()[..8]),
            Self::Have(head) => write!(f, "Have({head:?})"),
        }
    }
}

fn said(driver: &Driver, to: PeerId) -> Vec<Said> {
    let mut said = Vec::new();
    for frame in driver.said_to(to) {
        said.extend(envelopes_of(&frame).iter().map(|e| Said::Body(e.to_vec())));
        if let Ok(Message::Have(have)) = Message::open(&frame) {
            said.push(Said::Have(have.head));
        }
    }
    said
}

fn body(tx: &Tx) -> Said {
    Said::Body(tx.envelope.to_vec())
}

fn listening() -> Driver {
    Driver::with(|c| c.start_check = StartCheck::Listen)
}

/// Forty notes of `of` that wait here for something that is nowhere: more than one piece holds.
fn forty_long(driver: &mut Driver, of: &mut Actor) -> Vec<Tx> {
    let missing = driver.world.member(2).note("missing", &[]);
    let long = "x".repeat(NOTE_BYTES_MAX);
    let lost: Vec<Tx> = (0..40).map(|_| of.note(&long, &[&missing])).collect();
    for tx in &lost {
        driver.frame(tx);
    }
    lost
}

/// A note of `of` that refers to another one, which is nowhere yet: both.
fn waiting_of(driver: &Driver, of: &mut Actor) -> (Tx, Tx) {
    let missing = driver.world.member(2).note("missing", &[]);
    let waits = of.note("lost", &[&missing]);
    (waits, missing)
}

#[test]
fn what_only_waits_here_is_given_back_to_whom_it_lost_before_the_answer() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let (lost, missing) = waiting_of(&driver, &mut one);
    let forged = one.sign(one.body("forged", &[&missing])).forged(7);
    driver.frame(&lost);
    driver.frame_from(PEER, &forged);
    driver.take();
    driver.meet_as(OTHER, one.issuer);
    assert_eq!(said(&driver, OTHER), [body(&lost)], "whether that found room is known a little later");
    driver.advance_us(HAVE_EVERY_US);
    assert_eq!(said(&driver, OTHER), [body(&lost), Said::Have(None)]);
    assert!(said(&driver, PEER).is_empty(), "others get what is attached, and nothing else");
    driver.take();
    driver.frame(&missing);
    driver.advance_us(SECOND_US);
    let head = ChainHead { sequence: 0, id: lost.id() };
    assert_eq!(said(&driver, OTHER), [body(&missing), Said::Have(Some(head))]);
}

/// What came after its hello it has made since, and holds itself.
#[test]
fn what_a_peer_still_has_is_not_given_back() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let (still_there, _) = waiting_of(&driver, &mut one);
    driver.frame(&still_there);
    let issuer = one.issuer;
    driver.input(Input::PeerUp { peer: OTHER, issuer, outgoing: false });
    let head = Some(ChainHead { sequence: 0, id: still_there.id() });
    let hello = Hello { head, ..driver.hello_of(OTHER) };
    driver.say(OTHER, &Message::Hello(hello));
    let (new, _) = waiting_of(&driver, &mut one);
    driver.frame_from(OTHER, &new.envelope);
    driver.advance_us(10 * SECOND_US);
    assert_eq!(said(&driver, OTHER), [Said::Have(None)]);
}

/// Its signature is still being checked when it asks: the answer waits for that, but not for ever.
#[test]
fn the_answer_waits_for_what_is_being_checked_for_a_while() {
    for is_checked in [true, false] {
        let mut driver = listening();
        let mut one = driver.world.member(1);
        let (lost, _) = waiting_of(&driver, &mut one);
        driver.hold.insert(Work::Verify);
        driver.frame(&lost);
        driver.meet_as(OTHER, one.issuer);
        driver.advance_us(5 * SECOND_US);
        assert!(said(&driver, OTHER).is_empty());
        if is_checked {
            driver.release(Work::Verify);
            driver.advance_us(SECOND_US);
            assert_eq!(said(&driver, OTHER), [body(&lost), Said::Have(None)]);
        } else {
            driver.advance_us(COMPLETION_TIMEOUT_US);
            assert_eq!(said(&driver, OTHER), [Said::Have(None)]);
        }
    }
}

/// A queue that was full may have lost it.
#[test]
fn it_is_given_back_again_after_congestion() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let (lost, _) = waiting_of(&driver, &mut one);
    driver.frame(&lost);
    driver.meet_as(OTHER, one.issuer);
    driver.take();
    driver.input(Input::Congested { peer: OTHER });
    driver.advance_us(SECOND_US);
    assert_eq!(said(&driver, OTHER), [body(&lost), Said::Have(None)]);
    driver.take();
    // After the answer, too: both may have been among what was dropped.
    driver.input(Input::Congested { peer: OTHER });
    driver.advance_us(SECOND_US);
    assert_eq!(said(&driver, OTHER), [body(&lost), Said::Have(None)]);
}

/// All at once would overflow what may wait to be sent, and the beginning would be sent again for ever.
#[test]
fn much_is_given_back_in_pieces_before_the_answer() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let lost = forty_long(&mut driver, &mut one);
    driver.take();
    driver.meet_as(OTHER, one.issuer);
    let first = said(&driver, OTHER).len();
    assert!((1..lost.len()).contains(&first), "{first} at once");
    driver.advance_us(2 * SECOND_US);
    let mut all: Vec<Said> = lost.iter().map(body).collect();
    all.push(Said::Have(None));
    assert!(said(&driver, OTHER) == all, "each once and in order, and then the answer");
}

fn pieces(driver: &Driver, to: PeerId) -> usize {
    driver.said_to(to).iter().filter(|frame| !envelopes_of(frame).is_empty()).count()
}

/// Two dozen went out as two dozen frames, of which a short queue dropped the last ones and the answer; all of them were given
/// again a little later, and the same ones were dropped. Meanwhile the quorum had answered, and the gateway signed another one
/// in place of one that it never got back (found by the swarm: seed 940046).
#[test]
fn what_fits_one_frame_is_given_back_in_one() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let missing = driver.world.member(2).note("missing", &[]);
    let lost: Vec<Tx> = (0..24).map(|_| one.note("lost", &[&missing])).collect();
    for tx in &lost {
        driver.frame(tx);
    }
    driver.take();
    driver.meet_as(OTHER, one.issuer);
    driver.advance_us(SECOND_US);
    let mut all: Vec<Said> = lost.iter().map(body).collect();
    all.push(Said::Have(None));
    assert_eq!(said(&driver, OTHER), all);
    assert_eq!(pieces(&driver, OTHER), 1);
}

/// Where each piece finds the queue full of something else, each has its turn, and not always the first one (the same story).
#[test]
fn congestion_again_and_again_keeps_none_of_them_back() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let lost = forty_long(&mut driver, &mut one);
    driver.take();
    driver.meet_as(OTHER, one.issuer);
    for _ in 0..10 {
        driver.advance_us(HAVE_EVERY_US / 2);
        driver.input(Input::Congested { peer: OTHER });
        driver.advance_us(HAVE_EVERY_US / 2);
    }
    let said = said(&driver, OTHER);
    assert!(lost.iter().all(|tx| said.contains(&body(tx))), "{} of {}", said.len(), lost.len());
    assert!(!said.contains(&Said::Have(None)), "the answer comes after all of them");
}

/// What reached a peer on a long way round, after the hello, was not given back, and a gateway that had not signed anything yet
/// forked. What its issuer itself sends, announces or holds it has.
#[test]
fn what_reaches_a_peer_later_is_given_back_too() {
    for has_it in [false, true] {
        let mut driver = listening();
        let mut one = driver.world.member(1);
        driver.meet_as(OTHER, one.issuer);
        let (lost, missing) = waiting_of(&driver, &mut one);
        let next = one.note("next", &[&missing]);
        if has_it {
            driver.frame_from(OTHER, &next.envelope);
        }
        driver.take();
        driver.frame(&lost);
        driver.advance_us(SECOND_US);
        let expected = if has_it { Vec::new() } else { Vec::from([body(&lost)]) };
        assert_eq!(said(&driver, OTHER), expected);
    }
}

/// Long after the hello a lot reached a peer on a long way round: of it one piece went out, and the rest was never looked at
/// again.
#[test]
fn much_that_comes_late_is_given_back_to_the_end() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    driver.meet_as(OTHER, one.issuer);
    driver.advance_us(2 * COMPLETION_TIMEOUT_US);
    driver.take();
    let lost = forty_long(&mut driver, &mut one);
    driver.advance_us(5 * SECOND_US);
    let said = said(&driver, OTHER);
    assert!(lost.iter().all(|tx| said.contains(&body(tx))), "{} of {}", said.len(), lost.len());
}

/// A liar fills the places with what nobody can check: what is genuine goes first.
#[test]
fn forged_ones_do_not_crowd_out_what_is_genuine() {
    let mut driver = listening();
    let mut one = driver.world.member(1);
    let mut next = one.clone();
    next.rotate("a key that nobody knows", &[]);
    // Their key is not known as long as what they follow is not here.
    for at in 0..=LOST_MAX {
        let unknown = next.sign(next.body(&format!("{at}"), &[]));
        driver.frame(&unknown);
    }
    let missing = driver.world.member(2).note("missing", &[]);
    for _ in 0..5 {
        one.note("not here", &[]);
    }
    let lost = one.note("lost", &[&missing]);
    driver.frame(&lost);
    assert_eq!(driver.node.status().pending, LOST_MAX + 2);
    driver.take();
    driver.meet_as(OTHER, one.issuer);
    driver.advance_us(HAVE_EVERY_US);
    assert_eq!(said(&driver, OTHER), [body(&lost), Said::Have(None)]);
    // What comes later finds room as well.
    driver.take();
    let late = one.note("late", &[&missing]);
    driver.frame(&late);
    driver.advance_us(SECOND_US);
    assert_eq!(said(&driver, OTHER), [body(&late)]);
}

/// A gateway whose store is an old image and whose chain has nothing yet: it asks its peer.
fn asking() -> (Driver, Actor) {
    let driver = Driver::with(|c| c.start_check = StartCheck::Bounded(20 * SECOND_US));
    let own = driver.world.member(0);
    (driver, own)
}

fn give(driver: &mut Driver, envelope: &[u8]) {
    driver.raw(PEER, wire::transactions(&[envelope]));
}

fn is_settled(driver: &Driver) -> bool {
    driver.events().iter().any(|e| matches!(e, Event::Settled { .. }))
}

/// The first piece was attached at once, the quorum had answered, and whoever gave it back had not: more was to come (the same
/// story). It is waited for as long as it has not answered, but no longer than for an answer at all.
#[test]
fn who_gives_back_is_waited_for_until_it_answers() {
    for answers in [true, false] {
        let (mut driver, mut own) = asking();
        driver.meet(OTHER);
        let began = driver.now.monotonic_us;
        let (first, second) = (own.note("first", &[]), own.note("second", &[]));
        give(&mut driver, &first.envelope);
        driver.say(OTHER, &Message::Have(Have { head: None }));
        driver.advance_us(10 * SECOND_US);
        assert!(!is_settled(&driver), "more may follow");
        if answers {
            give(&mut driver, &second.envelope);
            driver.say(PEER, &Message::Have(Have { head: None }));
            driver.advance_us(2 * START_GRACE_US);
            assert!(driver.events().iter().any(|e| matches!(e, Event::Settled { adopted: 2, .. })));
        } else {
            driver.advance_us(10 * SECOND_US);
            assert!(is_settled(&driver));
            assert_eq!(driver.now.monotonic_us, began + 20 * SECOND_US);
        }
    }
}

/// What waits at a single peer the quorum need not have seen. So a gateway whose store is marked waits for all of the committee,
/// once the quorum has answered for a minute.
#[test]
fn a_marked_store_waits_for_the_whole_committee_for_a_while() {
    for answers in [true, false] {
        let mut driver = Driver::with(|c| c.start_check = StartCheck::UntilAnswered);
        let members: Vec<PeerId> = (1..4).map(|at| PeerId(10 + at)).collect();
        for (at, peer) in (1..3).zip(&members) {
            driver.meet_as(*peer, driver.world.member(at).issuer);
            driver.say(*peer, &Message::Have(Have { head: None }));
        }
        driver.advance_us(RESTORED_GRACE_US - SECOND_US);
        assert!(!is_settled(&driver), "one more may know more");
        if answers {
            driver.meet_as(members[2], driver.world.member(3).issuer);
            driver.say(members[2], &Message::Have(Have { head: None }));
            driver.advance_us(2 * START_GRACE_US);
        } else {
            driver.advance_us(2 * SECOND_US);
        }
        assert!(is_settled(&driver), "answers: {answers}");
    }
}

/// The quorum answered, the cable came out for more than a minute, and the minute was over when the first two were back: the
/// third had something to give back and was not waited for.
#[test]
fn the_minute_for_the_others_begins_anew_when_the_quorum_has_gone() {
    let mut driver = Driver::with(|c| c.start_check = StartCheck::UntilAnswered);
    let members: Vec<(PeerId, usize)> = (1..3).map(|at| (PeerId(10 + at as u64), at)).collect();
    let answer = |driver: &mut Driver, round: u64| {
        for (peer, at) in &members {
            let peer = PeerId(peer.0 + round);
            driver.meet_as(peer, driver.world.member(*at).issuer);
            driver.say(peer, &Message::Have(Have { head: None }));
        }
    };
    answer(&mut driver, 0);
    driver.advance_us(SECOND_US);
    for (peer, _) in &members {
        driver.input(Input::PeerDown(*peer));
    }
    driver.advance_us(2 * RESTORED_GRACE_US);
    answer(&mut driver, 100);
    driver.advance_us(RESTORED_GRACE_US - SECOND_US);
    assert!(!is_settled(&driver), "the third is waited for");
    driver.advance_us(2 * SECOND_US);
    assert!(is_settled(&driver));
}

/// Two came back together after the check; the second waited ten seconds longer for what it refers to, and was taken for the
/// sign of another machine that is alive.
#[test]
fn what_waited_here_is_no_sign_of_another_machine() {
    let (mut driver, mut own) = asking();
    let (first, missing) = waiting_of(&driver, &mut own);
    let missing_too = driver.world.member(3).note("missing too", &[]);
    let second = own.note("second", &[&missing_too]);
    driver.say(PEER, &Message::Have(Have { head: None }));
    driver.advance_us(2 * START_GRACE_US);
    assert!(is_settled(&driver));
    give(&mut driver, &first.envelope);
    give(&mut driver, &second.envelope);
    driver.frame(&missing);
    driver.advance_us(10 * SECOND_US);
    assert!(driver.is_attached(&first));
    driver.frame(&missing_too);
    driver.advance_us(SECOND_US);
    assert!(driver.is_attached(&second));
    assert!(driver.events().iter().all(|e| !matches!(e, Event::AnotherMachine { .. })));
}

#[test]
fn nothing_is_signed_in_place_of_what_is_on_its_way_back() {
    let (mut driver, mut own) = asking();
    let (lost, missing) = waiting_of(&driver, &mut own);
    give(&mut driver, &lost.envelope);
    driver.say(PEER, &Message::Have(Have { head: None }));
    driver.advance_us(60 * SECOND_US);
    assert!(!is_settled(&driver), "one of its own is on its way back");
    driver.frame(&missing);
    driver.advance_us(30 * SECOND_US);
    assert!(driver.events().iter().any(|e| matches!(e, Event::Settled { adopted: 1, .. })));
    driver.issue(0, b"goes on".to_vec());
    let newest = driver.own_newest();
    assert_eq!((newest.body.sequence, newest.body.prev), (1, lost.id()));
    assert!(!driver.events().iter().any(|e| matches!(e, Event::Forked { .. })));
}

/// The same when it comes after the check, as long as nothing was issued; and when something is just being signed.
#[test]
fn what_comes_back_after_the_check_is_waited_for_too() {
    for is_signing in [false, true] {
        let (mut driver, mut own) = asking();
        let (lost, missing) = waiting_of(&driver, &mut own);
        driver.say(PEER, &Message::Have(Have { head: None }));
        driver.advance_us(2 * START_GRACE_US);
        assert!(is_settled(&driver));
        driver.hold.insert(Work::Sign);
        let early = is_signing.then(|| driver.issue(0, b"early".to_vec()));
        give(&mut driver, &lost.envelope);
        driver.release(Work::Sign);
        let late = driver.issue(0, b"late".to_vec());
        driver.advance_us(60 * SECOND_US);
        assert_eq!(driver.outcome(late), None, "it waits");
        driver.frame(&missing);
        driver.advance_us(SECOND_US);
        for reply in early.into_iter().chain([late]) {
            assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
        }
        assert!(driver.is_attached(&lost));
        assert!(
            driver.events().iter().all(|e| !matches!(e, Event::Forked { .. } | Event::AnotherMachine { .. }))
        );
    }
}

/// What can never be attached is waited for as long as it would wait, once; what is not its own is not waited for.
#[test]
fn a_liar_delays_a_start_for_a_while_and_once() {
    let (mut driver, mut own) = asking();
    let (lost, _) = waiting_of(&driver, &mut own);
    give(&mut driver, &lost.envelope);
    driver.say(PEER, &Message::Have(Have { head: None }));
    let began = driver.now.monotonic_us;
    while !is_settled(&driver) {
        // Again and again, since it is dropped after a while.
        give(&mut driver, &lost.envelope);
        driver.advance_us(SECOND_US);
        assert!(driver.now.monotonic_us < began + PENDING_TIMEOUT_US + 5 * SECOND_US, "it waits for ever");
    }
    give(&mut driver, &lost.envelope);
    assert!(driver.now.monotonic_us >= began + PENDING_TIMEOUT_US - SECOND_US, "it waits");
    let reply = driver.issue(0, b"goes on".to_vec());
    driver.advance_us(2 * SECOND_US);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
}

#[test]
fn what_has_not_its_own_signature_delays_nothing() {
    let (mut driver, own) = asking();
    let missing = driver.world.member(2).note("missing", &[]);
    let forged = own.sign(own.body("forged", &[&missing])).forged(3);
    give(&mut driver, &forged);
    driver.say(PEER, &Message::Have(Have { head: None }));
    driver.advance_us(2 * START_GRACE_US);
    assert!(is_settled(&driver));
}

/// What came back goes on to others, but not before it is durable here: else a second crash would lose it once more.
#[test]
fn what_came_back_goes_on_once_it_is_durable() {
    let (mut driver, mut own) = asking();
    driver.meet_as(OTHER, driver.world.member(3).issuer);
    let lost = own.note("lost", &[]);
    driver.hold.insert(Work::Persist);
    driver.take();
    give(&mut driver, &lost.envelope);
    assert!(said(&driver, OTHER).is_empty());
    driver.release(Work::Persist);
    assert_eq!(said(&driver, OTHER), [body(&lost)]);
    assert!(said(&driver, PEER).is_empty(), "whoever gave it has it");
}
