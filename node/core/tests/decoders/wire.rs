//! The decoders of what gateways say to one another: each kind by its own, and whole frames.

use selvedge_core::limits::FRAME_BYTES_MAX;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::{
    Announce, ChainHead, ChainHeads, ChainRange, Digest, Fetch, FetchEnd, Frontier, Have, Hello, Message,
    Notice, StartId, Want,
};
use selvedge_core::{Hash, Id, Issuer, NetworkId};

use super::{Inputs, MEMORY_FACTOR, MEMORY_FLOOR, alone, attack, cases, within_memory};

fn head(byte: u8) -> ChainHead {
    ChainHead { sequence: 300 + u64::from(byte), id: Id([byte; 32]) }
}

fn references(count: u8) -> Vec<Reference> {
    (0..count)
        .map(|at| Reference { issuer: Issuer([at; 32]), sequence: 200 * u64::from(at), id: Id([at ^ 9; 32]) })
        .collect()
}

fn hello(software: &str) -> Hello {
    Hello {
        lowest: 0,
        highest: 300,
        features: u64::MAX,
        network: NetworkId([3; 32]),
        frame_bytes_max: FRAME_BYTES_MAX as u32,
        head: Some(head(1)),
        start: StartId([4; 16]),
        software: software.to_owned(),
    }
}

fn frontier(chains: u8) -> Frontier {
    let of = |at: u8| ChainHeads { issuer: Issuer([at; 32]), heads: (0..=at % 3).map(head).collect() };
    Frontier { last: chains.is_multiple_of(2), chains: (0..chains).map(of).collect() }
}

fn fetch(ranges: u8) -> Fetch {
    let of = |at: u8| ChainRange {
        issuer: Issuer([at; 32]),
        from: u64::from(at),
        to: 700,
        branch: (at % 2 == 1).then_some(Id([at; 32])),
    };
    Fetch { ranges: (0..ranges).map(of).collect(), transactions_max: 512 }
}

#[test]
fn hellos() {
    attack(40, &[hello("selvedge 0.1.0"), Hello { head: None, ..hello(&"ö".repeat(32)) }]);
}

#[test]
fn announcements() {
    attack(41, &[Announce { references: references(1) }, Announce { references: references(40) }]);
}

#[test]
fn wants() {
    let want = |graft, count| Want { graft, references: references(count) };
    attack(42, &[want(true, 2), want(false, 30)]);
}

#[test]
fn frontiers() {
    attack(43, &[frontier(1), frontier(2), frontier(20)]);
}

#[test]
fn fetches() {
    attack(44, &[fetch(1), fetch(20)]);
}

#[test]
fn haves() {
    attack(
        45,
        &[Have { head: Some(head(3)) }, Have { head: Some(ChainHead { sequence: 1 << 40, ..head(4) }) }],
    );
}

/// Whole frames of every kind: what is accepted is what this node itself would have written.
#[test]
fn frames() {
    let _alone = alone();
    let (one, two) = (vec![7_u8; 2_700], vec![8_u8; 90]);
    let messages = [
        Message::Hello(hello("selvedge 0.1.0")),
        Message::Transaction(&two),
        Message::Transactions(vec![&one, &two, &two]),
        Message::Announce(Announce { references: references(3) }),
        Message::Want(Want { graft: true, references: references(3) }),
        Message::Prune,
        Message::Digest(Digest { frontier: Hash([8; 32]) }),
        Message::Frontier(frontier(5)),
        Message::Fetch(fetch(5)),
        Message::FetchEnd(FetchEnd { more: true }),
        Message::Have(Have { head: None }),
        Message::Notice(Notice::AnotherMachine),
    ];
    let valid: Vec<Vec<u8>> = messages.iter().map(|m| m.to_frame().to_vec()).collect();
    let mut inputs = Inputs::new(46, valid);
    let (mut accepted, mut kinds) = (0_usize, [0_usize; 256]);
    let limit = MEMORY_FACTOR * FRAME_BYTES_MAX + MEMORY_FLOOR;
    for _ in 0..cases() {
        let bytes = inputs.next();
        let Ok(message) = within_memory(limit, &bytes, || Message::open(&bytes)) else { continue };
        accepted += 1;
        kinds[usize::from(bytes[0])] += 1;
        if !matches!(message, Message::Unknown(_)) {
            assert_eq!(*message.to_frame(), *bytes, "decoded, and encoded differently");
        }
    }
    println!("frames: {accepted} of {} accepted", cases());
    assert!(accepted < cases());
    assert!(
        cases() < 5_000 || kinds[..12].iter().all(|count| *count > 0),
        "a kind that was never accepted: {kinds:?}"
    );
}
