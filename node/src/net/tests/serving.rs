//! Answers from the log, over a real link.

use selvedge_core::border::{Lane, Serve, Ticket};
use selvedge_core::record::Record;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::{ChainRange, Message};

use super::*;
use crate::store::tests::serve::filled_on;

/// Two nodes, the first with a store of many transactions.
async fn pair() -> (Node, PeerId, Node, PeerId, Vec<(Record, Vec<u8>)>) {
    let (store, reader, transactions) = filled(9, 1_200);
    let mut one = Start { store: (store, reader), ..Start::new(1, &[2]) }.run();
    let mut two = Start::new(2, &[1]).dialling(one.at()).run();
    let (to_two, to_one) = (one.up(2).await, two.up(1).await);
    // A hello comes first, whatever it is here.
    one.net.handle().send(to_two, Lane::Fresh, frame(0, 9));
    two.frame(to_one).await;
    (one, to_two, two, to_one, transactions)
}

/// Envelopes until the end that is expected: so many of them, or a `FetchEnd`.
async fn take(node: &mut Node, from: PeerId, count: Option<usize>) -> (Vec<Vec<u8>>, Option<bool>) {
    let mut envelopes = Vec::new();
    while count.is_none_or(|count| envelopes.len() < count) {
        let frame = node.frame(from).await;
        assert!(frame.len() < 160 * 1024, "{} bytes", frame.len());
        match Message::open(&frame).expect("a frame") {
            Message::Transactions(list) => envelopes.extend(list.into_iter().map(<[u8]>::to_vec)),
            Message::FetchEnd(end) => return (envelopes, Some(end.more)),
            other => panic!("got {other:?}"),
        }
    }
    (envelopes, None)
}

#[tokio::test]
async fn ranges_and_ids_come_in_the_order_of_the_log() {
    let (mut one, to_two, mut two, to_one, transactions) = pair().await;
    let ranges: Vec<ChainRange> = [100, 101]
        .map(|n| ChainRange { issuer: Issuer([n; 32]), from: 0, to: u64::MAX, branch: None })
        .to_vec();
    let expected: Vec<&Vec<u8>> = transactions
        .iter()
        .filter(|(r, _)| ranges.iter().any(|x| x.issuer == r.issuer))
        .map(|(_, e)| e)
        .collect();
    assert!(expected.len() > 400);
    let handle = one.net.handle();
    for (ticket, max) in [(1, 10_000), (2, 50)] {
        let what = Serve::Ranges { ranges: ranges.clone(), transactions_max: max };
        assert!(handle.serve(Ticket(ticket), to_two, what));
        let (got, more) = take(&mut two, to_one, None).await;
        assert_eq!(more, Some((max as usize) < expected.len()));
        assert!(got.iter().eq(expected.iter().take(max as usize).copied()));
        assert!(matches!(one.next().await, Arrival::Served(Ticket(t)) if t == ticket));
    }
    let reference = |n: usize| {
        let (r, _) = &transactions[n];
        Reference { issuer: r.issuer, sequence: r.sequence, id: r.id }
    };
    assert!(handle.serve(Ticket(3), to_two, Serve::Ids(vec![reference(30), reference(3)])));
    let (got, _) = take(&mut two, to_one, Some(2)).await;
    assert_eq!(got, [transactions[3].1.clone(), transactions[30].1.clone()]);
    assert!(matches!(one.next().await, Arrival::Served(Ticket(3))));
    assert_eq!(one.link(to_two).served as usize, expected.len() + 50 + 2);
}

/// A want that the store could not answer was ended like a fetch: the peer took its own fetch, which was still to be
/// answered, for one that had brought everything (found by review).
#[tokio::test]
async fn a_want_that_the_store_cannot_answer_ends_no_fetch() {
    let (store, reader, transactions, disk) = filled_on(9, 300);
    let mut one = Start { store: (store, reader), ..Start::new(1, &[2]) }.run();
    let mut two = Start::new(2, &[1]).dialling(one.at()).run();
    let (to_two, to_one) = (one.up(2).await, two.up(1).await);
    let handle = one.net.handle();
    handle.send(to_two, Lane::Fresh, frame(0, 9));
    two.frame(to_one).await;
    let (record, _) = &transactions[0];
    let reference = Reference { issuer: record.issuer, sequence: record.sequence, id: record.id };
    let range = ChainRange { issuer: record.issuer, from: 0, to: u64::MAX, branch: None };
    let logs: Vec<String> = disk.names().into_iter().filter(|name| name.starts_with("log")).collect();
    assert!(!logs.is_empty(), "{:?}", disk.names());
    for name in logs {
        let bytes = disk.content(&name).expect("it has a name").len();
        disk.damage(&name, 0, &vec![0x5a; bytes]);
    }
    let asked = [
        Serve::Ids(vec![reference]),
        Serve::Ranges { ranges: vec![range], transactions_max: 10 },
        Serve::Ids(vec![reference]),
    ];
    for (ticket, what) in (1..).zip(asked) {
        assert!(handle.serve(Ticket(ticket), to_two, what));
        assert!(matches!(one.next().await, Arrival::Served(Ticket(t)) if t == ticket));
    }
    handle.send(to_two, Lane::Bulk, frame(1, 9));
    // One end, that of the fetch, and what came after all of them.
    assert_eq!(take(&mut two, to_one, None).await, (Vec::new(), Some(false)));
    assert_eq!(two.frame(to_one).await, frame(1, 9));
}

#[tokio::test]
async fn requests_beyond_the_bound_are_refused_and_every_one_taken_is_answered() {
    let (mut one, to_two, mut two, to_one, _) = pair().await;
    let what = || Serve::Ranges {
        ranges: vec![ChainRange { issuer: Issuer([100; 32]), from: 0, to: u64::MAX, branch: None }; 4],
        transactions_max: 4_000,
    };
    let handle = one.net.handle();
    let taken: Vec<u64> = (0..200).filter(|n| handle.serve(Ticket(*n), to_two, what())).collect();
    assert!(taken.len() >= 2 && taken.len() < 200, "{} taken", taken.len());
    assert_eq!(one.link(to_two).refused_requests as usize, 200 - taken.len());
    // The peer goes in the middle of it.
    let (_, more) = take(&mut two, to_one, None).await;
    assert_eq!(more, Some(false));
    two.net.stop("enough").await;
    let mut answered = Vec::new();
    loop {
        match one.next().await {
            Arrival::Served(ticket) => answered.push(ticket.0),
            Arrival::PeerDown(peer) => break assert_eq!(peer, to_two),
            got => panic!("got {got:?}"),
        }
    }
    assert_eq!(answered, taken);
    assert!(!handle.serve(Ticket(999), to_two, what()), "nobody is there");
}
