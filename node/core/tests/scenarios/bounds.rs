//! What a peer says may be anything, for as long as it likes and over as many connections as it likes: sums, budgets,
//! rooms and slots hold all the same.

use selvedge_core::border::{Event, Farewell, Input, PeerId, Serve, StartCheck};
use selvedge_core::transaction::Body;
use selvedge_core::wire::{
    self, ChainHead, ChainHeads, ChainRange, Digest, Fetch, FetchEnd, Frontier, Message,
};
use selvedge_core::{Hash, Id, Issuer, limits};

use crate::driver::{Driver, PEER, SECOND_US, Work};
use crate::world::{Actor, Tx, nowhere};

const OTHER: PeerId = PeerId(2);

fn listening() -> Driver {
    Driver::with(|c| c.start_check = StartCheck::Listen)
}

/// A head that nobody here holds.
fn head(sequence: u64, label: &str) -> ChainHead {
    ChainHead { sequence, id: Id(nowhere(label).0) }
}

/// What a peer says it holds, in one part.
fn frontier(mut chains: Vec<ChainHeads>) -> Message<'static> {
    chains.sort_by_key(|chain| chain.issuer);
    Message::Frontier(Frontier { last: true, chains })
}

fn ahead_on(issuer: Issuer, head: ChainHead) -> ChainHeads {
    ChainHeads { issuer, heads: vec![head] }
}

fn frontiers_to(driver: &Driver, to: PeerId) -> Vec<Frontier> {
    let of = |frame: &std::sync::Arc<[u8]>| match Message::open(frame) {
        Ok(Message::Frontier(frontier)) => Some(frontier),
        _ => None,
    };
    driver.said_to(to).iter().filter_map(of).collect()
}

fn fetches_to(driver: &Driver, to: PeerId) -> Vec<Fetch> {
    let of = |frame: &std::sync::Arc<[u8]>| match Message::open(frame) {
        Ok(Message::Fetch(fetch)) => Some(fetch),
        _ => None,
    };
    driver.said_to(to).iter().filter_map(of).collect()
}

/// Breaks a rule so often.
fn break_rules(driver: &mut Driver, peer: PeerId, times: u64) {
    let hello = Message::Hello(driver.hello_of(peer));
    for _ in 0..times {
        driver.say(peer, &hello);
    }
}

/// A transaction of somebody unknown, whose `prev` does not exist.
fn of_stranger(stranger: &Actor, at: u64) -> Tx {
    let prev = Id(nowhere(&format!("prev {at}")).0);
    stranger.sign(Body { sequence: 1 + at, prev, ..stranger.body("n", &[]) })
}

/// Four chains that reach to the greatest sequence there is were summed up beyond what a number holds: whoever asked for
/// `peers` stopped the node (found by review).
#[test]
fn a_lead_that_no_number_holds_is_the_greatest_one() {
    let mut driver = listening();
    let chains =
        (1..=4).map(|at| ahead_on(driver.world.member(at).issuer, head(limits::SEQUENCE_MAX, "far")));
    let said = frontier(chains.collect());
    driver.say(PEER, &said);
    let peers = driver.node.peers(driver.now);
    assert_eq!(peers.iter().map(|p| p.ahead).collect::<Vec<_>>(), [u64::MAX]);
}

/// A new connection came with new budgets: who had used them up connected again (found by review).
#[test]
fn what_a_peer_used_up_stays_used_up_when_it_connects_again() {
    let mut driver = listening();
    let issuer = driver.world.member(3).issuer;
    driver.meet_as(PeerId(11), issuer);
    break_rules(&mut driver, PeerId(11), limits::FAULTS_BURST);
    assert_eq!(driver.farewells(), []);
    driver.input(Input::PeerDown(PeerId(11)));
    driver.meet_as(PeerId(13), issuer);
    break_rules(&mut driver, PeerId(13), 1);
    let farewells = driver.farewells();
    let [(peer, Farewell::Faults { .. })] = farewells.as_slice() else { panic!("{farewells:?}") };
    assert_eq!(*peer, PeerId(13));
    // With time it is forgiven.
    driver.take();
    driver.advance_us(60 * SECOND_US);
    driver.meet_as(PeerId(15), issuer);
    break_rules(&mut driver, PeerId(15), limits::FAULTS_BURST);
    assert_eq!(driver.farewells(), []);
}

/// A second link that had not said hello yet outlived the first one that was sent away, and went on in its place (found
/// by review).
#[test]
fn who_is_sent_away_loses_all_its_links() {
    let mut driver = listening();
    let issuer = driver.world.member(3).issuer;
    driver.meet_as(PeerId(11), issuer);
    driver.input(Input::PeerUp { peer: PeerId(12), issuer, outgoing: true });
    break_rules(&mut driver, PeerId(11), limits::FAULTS_BURST + 1);
    let mut gone: Vec<PeerId> = driver.farewells().into_iter().map(|(peer, _)| peer).collect();
    gone.sort_unstable();
    assert_eq!(gone, [PeerId(11), PeerId(12)]);
    let left: Vec<PeerId> = driver.node.peers(driver.now).iter().map(|p| p.peer).collect();
    assert_eq!(left, [PEER]);
}

/// What a connection left waiting for a key that nobody knows stayed for two minutes, and the next connection brought as
/// much again (found by review).
#[test]
fn strangers_transactions_do_not_pile_up_over_connections() {
    let mut driver = listening();
    driver.check_every = 16;
    let (issuer, stranger) = (driver.world.member(3).issuer, driver.world.stranger("unknown"));
    let each = limits::PENDING_UNKNOWN_KEY_PER_PEER_MAX as u64;
    for round in 0..6 {
        let peer = PeerId(11 + 2 * round);
        driver.meet_as(peer, issuer);
        for at in 0..each {
            driver.frame_from(peer, &of_stranger(&stranger, round * each + at).envelope);
        }
        assert_eq!(driver.node.status().pending as u64, each, "connection {round}");
        driver.input(Input::PeerDown(peer));
    }
    let status = driver.node.status();
    assert_eq!((status.pending, status.pending_bytes, status.wanted), (0, 0, 0));
    driver.check_every = 1;
    driver.check();
}

/// With a peer that is gone went what an honest one had sent of the same bodies: it had to come again (found by review).
#[test]
fn what_another_peer_sent_of_the_same_body_outlives_a_peer_that_is_gone() {
    let mut driver = listening();
    driver.meet(OTHER);
    let mut newcomer = driver.world.stranger("newcomer");
    let enrol = newcomer.enrol();
    // Signed under its second key: without what it refers to nobody can say whether that holds.
    newcomer.keys.push(crate::world::key_of("next", selvedge_core::Scheme::MlDsa44));
    let note = newcomer.note("n", &[]);
    newcomer.keys.pop();
    let genuine = driver.world.sign(note.body.clone(), &newcomer.keys[0], 0);
    driver.frame_from(PEER, &genuine.forged(1));
    driver.frame_from(PEER, &genuine.forged(2));
    driver.frame_from(OTHER, &genuine.envelope);
    assert_eq!(driver.node.status().pending_bytes, 3 * genuine.envelope.len());
    driver.input(Input::PeerDown(PEER));
    assert_eq!(driver.node.status().pending_bytes, genuine.envelope.len(), "what the gone one left is gone");
    driver.frame_from(OTHER, &enrol.envelope);
    driver.advance_us(3 * SECOND_US);
    assert!(driver.is_attached(&enrol) && driver.is_attached(&genuine), "{:?}", driver.drops());
    assert!(driver.drops().is_empty(), "nobody is blamed for what was never looked at");
}

/// Its references are asked for again, of whoever is left.
#[test]
fn what_the_remaining_copy_refers_to_is_asked_of_its_sender() {
    let mut driver = listening();
    driver.meet(OTHER);
    let mut one = driver.world.member(1);
    let rotate = one.rotate("next", &[]);
    let note = one.note("under the next key", &[]);
    driver.frame_from(PEER, &note.forged(1));
    driver.frame_from(OTHER, &note.envelope);
    assert_eq!(driver.wants(), [(PEER, vec![rotate.reference])]);
    driver.take();
    driver.input(Input::PeerDown(PEER));
    driver.advance_us(3 * SECOND_US / 2);
    assert_eq!(driver.wants(), [(OTHER, vec![rotate.reference])]);
    driver.frame_from(OTHER, &rotate.envelope);
    assert!(driver.is_attached(&note));
}

/// A chain of which only the newest transactions are in memory.
fn below_the_window() -> (Driver, Vec<Tx>) {
    let mut driver = Driver::with(|c| {
        c.window_records = 4;
        c.start_check = StartCheck::Listen;
    });
    driver.meet(OTHER);
    let mut one = driver.world.member(1);
    let notes: Vec<Tx> = (0..12).map(|at| one.note(&format!("{at}"), &[])).collect();
    let mut newest = one.clone();
    driver.frames(&notes.iter().collect::<Vec<_>>());
    // All of them are tips until something approves them.
    for at in (0..notes.len()).step_by(2) {
        let tx = newest.note("approves", &[&notes[at], &notes[at + 1]]);
        driver.frame(&tx);
    }
    (driver, notes)
}

/// A body whose lookup was under way when its sender left is looked up again for the next one, and not attached twice
/// (the store of these scenarios stops at a second one).
#[test]
fn a_lookup_is_made_again_for_the_remaining_copy() {
    let (mut driver, notes) = below_the_window();
    driver.hold.insert(Work::Load);
    driver.frame_from(PEER, &notes[1].forged(1));
    driver.frame_from(OTHER, &notes[1].envelope);
    let lost = driver.lose(Work::Load);
    assert_eq!(lost.len(), 1, "below the window the store has to say");
    driver.input(Input::PeerDown(PEER));
    driver.take();
    driver.advance_us(2 * SECOND_US);
    assert_eq!(driver.count(Work::Load), 1, "soon, not when a lost answer would be given up");
    driver.release(Work::Load);
    assert_eq!(driver.node.status().pending, 0);
}

/// Bodies that were not asked for counted as fetched while a fetch was under way: they took the room of what was, and the
/// next fetch waited for them (found by review).
#[test]
fn what_a_fetch_did_not_ask_for_takes_neither_its_room_nor_its_slot() {
    let mut driver = listening();
    driver.meet(OTHER);
    let (one, two) = (driver.world.member(1).issuer, driver.world.member(2).issuer);
    let stranger = driver.world.stranger("unknown");
    driver.say(PEER, &frontier(vec![ahead_on(one, head(5, "one"))]));
    driver.say(OTHER, &frontier(vec![ahead_on(two, head(3, "two"))]));
    assert_eq!((fetches_to(&driver, PEER).len(), fetches_to(&driver, OTHER).len()), (1, 0));
    let unasked = 2 * limits::PENDING_UNKNOWN_KEY_PER_PEER_MAX as u64;
    for at in 0..unasked {
        let tx = of_stranger(&stranger, at);
        driver.raw(PEER, wire::transactions(&[&*tx.envelope]));
    }
    assert_eq!(driver.node.status().pending, limits::PENDING_UNKNOWN_KEY_PER_PEER_MAX);
    driver.say(PEER, &Message::FetchEnd(FetchEnd { more: false }));
    assert_eq!(fetches_to(&driver, OTHER).len(), 1, "the slot is free at once");
}

/// Fetches were served without a limit of their own; those of branches are walked back by the store (found by review).
#[test]
fn fetches_have_a_budget_and_branches_cost_more() {
    let mut driver = listening();
    driver.check_every = 64;
    let one = driver.world.member(1).issuer;
    let fetch = |branches: usize| {
        let range = |at: usize| ChainRange {
            issuer: one,
            from: 0,
            to: at as u64,
            branch: (branches > 0).then_some(Id(nowhere("branch").0)),
        };
        Message::Fetch(Fetch { ranges: (0..branches.max(1)).map(range).collect(), transactions_max: 1 })
    };
    // Each is answered before the next one.
    let served = |driver: &mut Driver, message: &Message<'_>| {
        driver.say(PEER, message);
        let served = std::mem::take(&mut driver.served);
        for (ticket, _, what) in &served {
            assert!(matches!(what, Serve::Ranges { .. }));
            driver.input(Input::Served { ticket: *ticket });
        }
        served.len() as u64
    };
    let plain = fetch(0);
    let at_once: u64 = (0..limits::FETCHES_BURST + 10).map(|_| served(&mut driver, &plain)).sum();
    assert_eq!(at_once, limits::FETCHES_BURST);
    assert_eq!(driver.node.peers(driver.now)[0].counts.ignored, 10);
    driver.advance_us(SECOND_US);
    let after: u64 = (0..limits::FETCHES_PER_SECOND + 10).map(|_| served(&mut driver, &plain)).sum();
    assert_eq!(after, limits::FETCHES_PER_SECOND);
    // All of it again.
    driver.advance_us(limits::FETCHES_BURST / limits::FETCHES_PER_SECOND * SECOND_US);
    let branches = fetch(10);
    let of_branches: u64 = (0..20).map(|_| served(&mut driver, &branches)).sum();
    assert_eq!(of_branches, limits::FETCHES_BURST / (1 + 8 * 10));
    assert_eq!(driver.farewells(), [], "it is no fault");
}

/// Of a frontier in several parts only the last one was counted: a node with many members took a peer that knew all of
/// them for one that knew few, and said everything again, to everybody (found by review).
#[test]
fn a_frontier_in_parts_counts_as_a_whole() {
    let mut driver = listening();
    driver.check_every = 64;
    let members = limits::FRONTIER_CHAINS_MAX + 20;
    for at in 0..members {
        let enrol = driver.world.stranger(&format!("newcomer {at}")).enrol();
        driver.frame(&enrol);
    }
    assert_eq!(driver.store.records().count(), members);
    driver.advance_us(30 * SECOND_US);
    driver.take();
    driver.say(PEER, &Message::Digest(Digest { frontier: Hash([1; 32]) }));
    let mut parts = frontiers_to(&driver, PEER);
    let shape: Vec<(usize, bool)> = parts.iter().map(|part| (part.chains.len(), part.last)).collect();
    assert_eq!(shape, [(limits::FRONTIER_CHAINS_MAX, false), (20, true)]);
    driver.advance_us(2 * limits::FRONTIER_EVERY_US);
    driver.take();
    for part in &parts {
        driver.say(PEER, &Message::Frontier(part.clone()));
    }
    assert_eq!(frontiers_to(&driver, PEER).len(), 0, "it holds the same");
    assert!(fetches_to(&driver, PEER).is_empty());
    // What only the first part says is not forgotten over the second one.
    let ahead = parts[0].chains[7].issuer;
    parts[0].chains[7].heads = vec![head(9, "ahead")];
    for part in &parts {
        assert!(fetches_to(&driver, PEER).is_empty(), "not before its last part");
        driver.say(PEER, &Message::Frontier(part.clone()));
    }
    let fetches = fetches_to(&driver, PEER);
    let [fetch] = fetches.as_slice() else { panic!("{fetches:?}") };
    assert_eq!(fetch.ranges.iter().map(|r| r.issuer).collect::<Vec<_>>(), [ahead]);
    // And who knows fewer is told.
    driver.advance_us(2 * limits::FRONTIER_EVERY_US);
    driver.take();
    driver.say(PEER, &Message::Frontier(parts.remove(1)));
    assert_eq!(frontiers_to(&driver, PEER).len(), 2);
}

/// A store that could not say whether the heads of a frontier are here left the question open for ever; after some of
/// them no frontier was looked at any more (found by review).
#[test]
fn heads_that_the_store_could_not_look_up_are_asked_for_again() {
    let (mut driver, notes) = below_the_window();
    let issuer = notes[0].body.issuer;
    let said = frontier(vec![ahead_on(issuer, head(2, "another branch"))]);
    driver.hold.insert(Work::Load);
    for _ in 0..3 * limits::PEERS_MAX {
        driver.take();
        driver.say(PEER, &said);
        assert_eq!(driver.count(Work::Load), 1);
        driver.fail(Work::Load);
        assert!(matches!(driver.events().as_slice(), [Event::Retrying { .. }]), "{:?}", driver.events());
        driver.advance_us(SECOND_US / 10);
    }
    driver.take();
    driver.say(PEER, &said);
    assert!(fetches_to(&driver, PEER).is_empty());
    driver.release(Work::Load);
    assert_eq!(fetches_to(&driver, PEER).len(), 1, "nobody here holds it");
}
