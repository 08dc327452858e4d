//! A long past is fetched in pages, oldest first, whatever else comes meanwhile.

use std::collections::BTreeMap;

use selvedge_core::border::{PeerId, StartCheck};
use selvedge_core::wire::{self, ChainHead, ChainHeads, ChainRange, Fetch, FetchEnd, Frontier, Message};
use selvedge_core::{Id, Issuer, invariants, limits};

use crate::driver::{Driver, PEER, Work};
use crate::world::Tx;

fn listening() -> Driver {
    Driver::with(|c| c.start_check = StartCheck::Listen)
}

/// So many notes of member 1, each behind the one before.
fn chain(driver: &Driver, notes: usize) -> Vec<Tx> {
    let mut member = driver.world.member(1);
    let mut chain: Vec<Tx> = Vec::new();
    for at in 0..notes {
        let past: Vec<&Tx> = chain.last().into_iter().collect();
        chain.push(member.note(&format!("note {at}"), &past));
    }
    chain
}

fn frontier(chain: &[Tx]) -> Message<'static> {
    let newest = chain.last().expect("a chain");
    let head = ChainHead { sequence: newest.body.sequence, id: newest.id() };
    let chains = vec![ChainHeads { issuer: newest.body.issuer, heads: vec![head] }];
    Message::Frontier(Frontier { last: true, chains })
}

/// What is asked for next, since the last `take`.
fn fetch(driver: &Driver) -> Fetch {
    let frames = driver.said_to(PEER);
    let mut fetches = frames.iter().filter_map(|frame| match Message::open(frame) {
        Ok(Message::Fetch(fetch)) => Some(fetch),
        _ => None,
    });
    fetches.next().expect("it fetches")
}

/// The peer answers with a page of the range that is asked for.
fn page(driver: &mut Driver, chain: &[Tx], most: usize) -> usize {
    let range = fetch(driver).ranges[0];
    driver.take();
    let (from, to) = (range.from as usize, range.to as usize);
    let part: Vec<&[u8]> = chain[from..=to].iter().take(most).map(|tx| &*tx.envelope).collect();
    // What fits a frame.
    for few in part.chunks(64) {
        driver.raw(PEER, wire::transactions(few));
    }
    let sent = part.len();
    driver.say(PEER, &Message::FetchEnd(FetchEnd { more: from + sent <= to }));
    sent
}

/// A body that was asked for by id came while its chain was being fetched, and the fetch took all before it for received:
/// the rest had to be walked back id by id (found by figure 7: a gateway that joined a long tangle with a busy peer
/// attached nothing for ever).
#[test]
fn a_body_asked_for_by_id_does_not_move_a_fetch() {
    let mut driver = listening();
    let chain = chain(&driver, 20);
    let other = driver.world.member(2).note("a new one", &[&chain[15]]);
    driver.frame(&other);
    assert_eq!(driver.wants().len(), 1, "it asks for what the new one approves");
    driver.say(PEER, &frontier(&chain));
    driver.raw(PEER, wire::transactions(&[&*chain[15].envelope]));
    page(&mut driver, &chain, 5);
    assert!(driver.is_attached(&chain[4]));
    let next = fetch(&driver);
    assert_eq!((next.ranges[0].from, next.ranges[0].to), (5, 19), "it goes on where the page ended");
    while !driver.is_attached(&chain[19]) {
        page(&mut driver, &chain, 5);
    }
    assert!(driver.is_attached(&other));
    assert_eq!(driver.node.status().pending, 0);
}

/// What is walked back id by id from a new transaction filled all room, and the fetch that brings the beginning was
/// refused (the same story).
#[test]
fn a_set_full_of_what_is_awaited_has_room_for_a_fetch() {
    let mut driver = listening();
    driver.check_every = 256;
    let chain = chain(&driver, limits::PENDING_MAX + 600);
    let by_id: BTreeMap<Id, &Tx> = chain.iter().map(|tx| (tx.id(), tx)).collect();
    driver.frame(chain.last().expect("a chain"));
    // Each wanted one comes, until no more of them is taken.
    let mut pending = 0;
    while driver.node.status().pending > pending {
        pending = driver.node.status().pending;
        let wanted: Vec<_> = driver.wants().into_iter().flat_map(|(_, references)| references).collect();
        driver.take();
        for reference in wanted {
            driver.raw(PEER, wire::transactions(&[&*by_id[&reference.id].envelope]));
        }
    }
    assert!(pending > limits::PENDING_MAX / 2, "{pending}: nothing was full");
    driver.say(PEER, &frontier(&chain));
    let sent = page(&mut driver, &chain, limits::FETCH_TRANSACTIONS as usize);
    assert!(driver.is_attached(&chain[sent - 1]), "{:?}", driver.node.status());
    while !driver.is_attached(chain.last().expect("a chain")) {
        page(&mut driver, &chain, limits::FETCH_TRANSACTIONS as usize);
    }
    assert_eq!(driver.node.status().pending, 0);
}

/// What one peer's fetch brought and could not be attached filled the room of the next one's (reading the change again).
#[test]
fn what_a_fetch_left_behind_makes_room_for_the_next_one() {
    let mut driver = listening();
    driver.check_every = 256;
    let other = PeerId(2);
    driver.meet(other);
    let mut liar = driver.world.member(3);
    // Its chain without a beginning.
    liar.note("withheld", &[]);
    let headless: Vec<Tx> = (0..limits::PENDING_FETCHED_MAX).map(|_| liar.note("headless", &[])).collect();
    driver.say(other, &frontier(&headless));
    for few in headless.chunks(64) {
        driver.raw(other, wire::transactions(&few.iter().map(|tx| &*tx.envelope).collect::<Vec<_>>()));
    }
    assert_eq!(driver.node.status().pending, limits::PENDING_FETCHED_MAX, "its room is full");
    driver.say(other, &Message::FetchEnd(FetchEnd { more: false }));
    let chain = chain(&driver, limits::PENDING_MAX / 4);
    driver.take();
    driver.say(PEER, &frontier(&chain));
    driver.advance_us(limits::FETCH_TIMEOUT_US);
    // What it still brings is ordinary room's business; that of the fetch is free again.
    assert!(driver.node.status().pending < limits::PENDING_FETCHED_MAX, "{:?}", driver.node.status());
    while !driver.is_attached(chain.last().expect("a chain")) {
        page(&mut driver, &chain, limits::FETCH_TRANSACTIONS as usize);
    }
}

fn announced_to(driver: &Driver, to: PeerId) -> Vec<Id> {
    let of = |frame: &std::sync::Arc<[u8]>| match Message::open(frame) {
        Ok(Message::Announce(announce)) => announce.references.iter().map(|r| r.id).collect(),
        _ => Vec::new(),
    };
    driver.said_to(to).iter().flat_map(of).collect()
}

/// What came by a fetch was told to nobody: a single transaction crossed a line of nine gateways by frontiers alone, at
/// eight seconds a gateway (found by the swarm: seed 627). A few are announced; of a long past only the beginning is, since
/// those who lack it are mostly fetching too.
#[test]
fn what_few_a_fetch_brings_is_announced_to_the_others() {
    for notes in [1, limits::FETCHED_ANNOUNCED_MAX as usize + 20] {
        let mut driver = listening();
        driver.meet(PeerId(2));
        let chain = chain(&driver, notes);
        driver.say(PEER, &frontier(&chain));
        let (mut came, mut told) = (0, Vec::new());
        while came < notes {
            came += page(&mut driver, &chain, 50);
            told.extend(announced_to(&driver, PeerId(2)));
        }
        driver.advance_us(limits::ANNOUNCE_US);
        told.extend(announced_to(&driver, PeerId(2)));
        let most = notes.min(limits::FETCHED_ANNOUNCED_MAX as usize);
        let expected: Vec<Id> = chain[..most].iter().map(Tx::id).collect();
        assert_eq!(told, expected);
        assert!(announced_to(&driver, PEER).is_empty(), "whoever sent it has it");
    }
}

/// The second body of a place makes no chain longer. So a gateway that lacked it was not told the frontier that names it, and
/// waited until it was its own turn to ask (found with the same seed).
#[test]
fn a_peer_that_lacks_a_branch_is_told_the_frontier() {
    let mut driver = listening();
    let one = driver.world.member(1);
    let bodies: Vec<Tx> = (0..2).map(|at| one.sign(one.body(&format!("{at}"), &[]))).collect();
    for tx in &bodies {
        driver.frame(tx);
    }
    driver.advance_us(10_000_000);
    let frontiers = |driver: &Driver| {
        driver.said_to(PEER).iter().filter(|f| matches!(Message::open(f), Ok(Message::Frontier(_)))).count()
    };
    for (held, told) in [(&bodies[..1], 1), (&bodies[..], 0)] {
        driver.take();
        let mut heads: Vec<ChainHead> =
            held.iter().map(|tx| ChainHead { sequence: 0, id: tx.id() }).collect();
        heads.sort_unstable();
        let chains = vec![ChainHeads { issuer: one.issuer, heads }];
        driver.say(PEER, &Message::Frontier(Frontier { last: true, chains }));
        assert_eq!(frontiers(&driver), told);
        driver.advance_us(10_000_000);
    }
}

fn fetches_from(driver: &Driver, peer: PeerId) -> Vec<Fetch> {
    let of = |frame: &std::sync::Arc<[u8]>| match Message::open(frame) {
        Ok(Message::Fetch(fetch)) => Some(fetch),
        _ => None,
    };
    driver.said_to(peer).iter().filter_map(of).collect()
}

/// What waited here already was fetched, came, waited, and was fetched again from farther back, a dozen times in two seconds: while
/// a slow card had to say what it waited for, an honest peer was sent away for all that came twice (found by the swarm: seed
/// 7000054).
#[test]
fn what_waits_here_is_not_fetched_again() {
    let mut driver = listening();
    driver.hold.insert(Work::Verify);
    let chain = chain(&driver, 6);
    for tx in &chain[2..] {
        driver.frame(tx);
    }
    driver.take();
    driver.say(PEER, &frontier(&chain));
    let range = fetch(&driver).ranges[0];
    assert_eq!((range.from, range.to, range.branch), (0, 1, None), "only what is missing before it");
    page(&mut driver, &chain, 2);
    for _ in 0..20 {
        driver.advance_us(limits::FRONTIER_EVERY_US);
        driver.say(PEER, &frontier(&chain));
    }
    let again = fetches_from(&driver, PEER);
    assert!(again.is_empty(), "all of it waits: {again:?}");
    driver.release(Work::Verify);
    assert!(driver.is_attached(&chain[5]));
}

/// What can never be attached is given up all the same, and not fetched anew each time it is dropped, nor from one peer after the
/// other (seed 7000038).
#[test]
fn what_is_fetched_and_waits_for_ever_is_given_up() {
    let mut driver = listening();
    let other = PeerId(2);
    driver.meet(other);
    let missing = driver.world.member(2).note("nowhere", &[]);
    let hopeless = [driver.world.member(1).note("hopeless", &[&missing])];
    let mut fetched = 0;
    for _ in 0..60 {
        for peer in [PEER, other] {
            driver.take();
            driver.say(peer, &frontier(&hopeless));
            for _ in fetches_from(&driver, peer) {
                fetched += 1;
                driver.raw(peer, wire::transactions(&[&*hopeless[0].envelope]));
                driver.say(peer, &Message::FetchEnd(FetchEnd { more: false }));
            }
            driver.advance_us(limits::FETCH_TIMEOUT_US);
        }
        driver.advance_us(limits::PENDING_TIMEOUT_US);
    }
    assert!((2..=limits::GIVEN_UP_TIMES as usize + 2).contains(&fetched), "fetched {fetched} times");
}

/// A peer sent a chain without its beginning and then a frontier with thousands of heads over it, and each of them was walked
/// down to the bottom: millions of steps for 100 kB. Counted here, since a clock would say little: what was found below one head
/// holds for all that stand above it, and a name under which somebody else's transaction waits is nobody's.
#[test]
fn many_heads_over_one_chain_are_walked_once_in_all() {
    const CHAIN: usize = 1_000;
    let mut driver = listening();
    driver.check_every = 256;
    let chain = chain(&driver, CHAIN + 1);
    for tx in &chain[1..] {
        driver.frame(tx);
    }
    assert_eq!(driver.node.status().pending, CHAIN, "all but the first wait for it");
    let head = |tx: &Tx| ChainHead { sequence: tx.body.sequence, id: tx.id() };
    let newest = chain.last().expect("a chain");
    // As many heads as a frontier holds of one chain, and the newest one once more under a thousand other names.
    let own = chain[chain.len() - limits::BRANCHES_MAX..].iter().map(head).collect();
    let mut chains = vec![ChainHeads { issuer: newest.body.issuer, heads: own }];
    chains.extend((0..1_000_u32).map(|at| {
        let mut name = [0xee; 32];
        name[..4].copy_from_slice(&at.to_be_bytes());
        ChainHeads { issuer: Issuer(name), heads: vec![head(newest)] }
    }));
    chains.sort_unstable_by_key(|chain| chain.issuer);
    let heads: usize = chains.iter().map(|chain| chain.heads.len()).sum();
    let before = invariants::steps_below_heads(&driver.node);
    let parts: Vec<&[ChainHeads]> = chains.chunks(limits::FRONTIER_CHAINS_MAX).collect();
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        driver.say(PEER, &Message::Frontier(Frontier { last, chains: part.to_vec() }));
    }
    let steps = invariants::steps_below_heads(&driver.node) - before;
    // It has looked at all of them: it asks for what its chain lacks, and for what the others name.
    let fetch = fetch(&driver);
    let lacks = |r: &&ChainRange| r.issuer == newest.body.issuer;
    assert!(fetch.ranges.iter().filter(lacks).all(|r| (r.from, r.to) == (0, 0)), "only the first is missing");
    assert_eq!(fetch.ranges.len(), heads);
    // Down the chain once, and of each head one look at it and one at what is known of the one below.
    let most = (CHAIN + 2 * heads) as u64;
    assert!((CHAIN as u64..=most).contains(&steps), "{steps} steps for {heads} heads over {CHAIN}");
}
