//! A long past is fetched in pages, oldest first, whatever else comes meanwhile.

use std::collections::BTreeMap;

use selvedge_core::border::{PeerId, StartCheck};
use selvedge_core::wire::{self, ChainHead, ChainHeads, Fetch, FetchEnd, Frontier, Message};
use selvedge_core::{Id, limits};

use crate::driver::{Driver, PEER};
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
