//! Nodes that mean well.

use selvedge_core::border::Lane;
use selvedge_core::limits::FRAME_BYTES_MAX;
use tokio::time::Duration;

use super::super::Sent;
use super::*;
use crate::store::{RealDisk, StoreOptions};

#[tokio::test]
async fn two_members_exchange_frames_on_both_lanes_and_say_goodbye() {
    let mut one = Start::new(1, &[2]).run();
    let mut two = Start::new(2, &[1]).dialling(one.at()).run();
    let (to_two, to_one) = (one.up(2).await, two.up(1).await);
    let handle = one.net.handle();
    for number in 0..200 {
        let bytes = if number == 150 { FRAME_BYTES_MAX } else { 100 + number as usize * 7 };
        let lane = if number % 2 == 0 { Lane::Fresh } else { Lane::Bulk };
        assert_eq!(handle.send(to_two, lane, frame(number, bytes)), Sent::Queued);
    }
    // Each lane keeps its order, and every byte arrives.
    let mut next = [0, 1];
    for _ in 0..200 {
        let got = two.frame(to_one).await;
        let number = u64::from_le_bytes(got[1..9].try_into().expect("eight"));
        assert_eq!(number, next[number as usize % 2], "in the order of its lane");
        let bytes = if number == 150 { FRAME_BYTES_MAX } else { 100 + number as usize * 7 };
        assert_eq!(got, frame(number, bytes));
        next[number as usize % 2] += 2;
    }
    assert_eq!(two.net.handle().send(to_one, Lane::Fresh, frame(7, 9)), Sent::Queued);
    assert_eq!(one.frame(to_two).await, frame(7, 9));
    let (here, there) = (one.link(to_two), two.link(to_one));
    assert!(!here.outgoing && there.outgoing);
    assert_eq!((here.frames_sent, there.frames_received), (200, 200));
    assert_eq!(there.address, one.at());
    assert!(here.bytes_sent > FRAME_BYTES_MAX as u64 && here.round_trip_us > 0);
    assert_eq!(one.members.counts().verified, 1);
    one.net.stop("maintenance until noon").await;
    two.down(to_one).await;
    let closed = two.closed(1).expect("it is remembered");
    assert_eq!(closed.why, "closed by the other side: maintenance until noon");
    assert_eq!(two.net.handle().send(to_one, Lane::Fresh, frame(8, 9)), Sent::Gone);
}

#[tokio::test]
async fn a_node_that_was_killed_and_started_again_is_met_again_at_once() {
    let mut one = Start::new(1, &[2]).run();
    let at = one.at();
    let mut two = Start::new(2, &[1]).dialling(at).run();
    one.up(2).await;
    let to_one = two.up(1).await;
    // No goodbye: the process is gone.
    drop(one);
    let end = Instant::now() + PATIENCE;
    let mut one = loop {
        match (Start { listen: at, ..Start::new(1, &[2]) }).try_run() {
            Ok(one) => break one,
            Err(why) => assert!(Instant::now() < end, "{why}"),
        }
        tokio::task::yield_now().await;
    };
    let began = Instant::now();
    two.net.handle().send(to_one, Lane::Fresh, frame(1, 9));
    two.down(to_one).await;
    assert_eq!(two.closed(1).expect("it is remembered").why, "the other side was started again");
    let again = two.up(1).await;
    assert_ne!(again, to_one, "a number is never used again");
    one.up(2).await;
    assert!(began.elapsed() < Duration::from_secs(20), "well before a minute of silence");
}

#[tokio::test]
async fn peers_learn_of_each_other_from_a_third() {
    let mut hub = Start::new(1, &[2, 3]).run();
    let mut two = Start::new(2, &[1, 3]).dialling(hub.at()).run();
    hub.up(2).await;
    two.up(1).await;
    let mut three = Start::new(3, &[1, 2]).dialling(hub.at()).run();
    hub.up(3).await;
    three.up(1).await;
    // One of them dials the other, or both do.
    two.up(3).await;
    three.up(2).await;
    until("the book to show it", || {
        let dials = three.net.handle().status().dials;
        let learnt = dials.iter().find(|d| d.issuer == Some(issuer(2)));
        learnt.is_some_and(|d| !d.configured && d.to.contains(&two.at().to_string()))
    })
    .await;
}

#[tokio::test]
async fn whoever_is_sent_away_is_told_why_and_neither_heard_nor_dialled_meanwhile() {
    let mut one = Start::new(1, &[2]).run();
    let mut two = Start::new(2, &[1]).dialling(one.at()).run();
    let (to_two, to_one) = (one.up(2).await, two.up(1).await);
    one.net.handle().disconnect(
        to_two,
        "it broke the rules 33 times, last: a frame that is empty",
        Duration::from_mins(10),
    );
    two.down(to_one).await;
    one.down(to_two).await;
    let why = two.closed(1).expect("remembered").why;
    assert_eq!(why, "closed by the other side: it broke the rules 33 times, last: a frame that is empty");
    let why = one.closed(2).expect("remembered").why;
    assert_eq!(why, "closed by this side: it broke the rules 33 times, last: a frame that is empty");
    // It comes again, and is refused before its signature is checked.
    let verified = one.members.counts().verified;
    until("a refusal", || one.members.counts().put_off > 0).await;
    until("the words for it", || {
        let dials = two.net.handle().status().dials;
        dials
            .iter()
            .any(|d| d.last.as_deref().is_some_and(|why| why.contains("refuses this gateway for a while")))
    })
    .await;
    assert_eq!(one.members.counts().verified, verified);
    // The other way round: it is not dialled.
    two.members.put_off(&issuer(1), std::time::Instant::now(), Duration::from_mins(10));
    until("it to give up", || {
        let dials = two.net.handle().status().dials;
        dials.iter().all(|d| !d.dialling && d.next.is_none_or(|next| next > Duration::from_mins(1)))
    })
    .await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_says_so() {
    let one = Start::new(1, &[2]).run();
    let why =
        (Start { listen: one.at(), ..Start::new(2, &[1]) }).try_run().err().expect("it is taken").to_string();
    assert!(why.contains(&one.at().to_string()) && why.contains("stop what has it"), "{why}");
}

#[tokio::test]
async fn an_address_that_leads_back_here_is_tried_once() {
    let start = Start::new(1, &[2]);
    let listen = {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        free.local_addr().expect("its number")
    };
    let one = Start { listen, ..start }.dialling(listen).run();
    until("the words for it", || {
        let dials = one.net.handle().status().dials;
        let why = dials.first().filter(|d| d.next.is_none()).and_then(|d| d.last.as_deref());
        why.is_some_and(|why| why.contains("both sides have one key"))
    })
    .await;
    one.net.handle().look();
    until("another look", || !one.net.handle().status().dials[0].dialling).await;
    assert_eq!(one.members.counts().ourselves, 1);
}

#[tokio::test]
async fn a_member_that_is_added_while_the_node_runs_comes_in() {
    let mut one = Start::new(1, &[]).run();
    let two = Start::new(2, &[1]).dialling(one.at()).run();
    until("a refusal", || one.members.counts().strangers > 0).await;
    until("the words for it", || {
        let dials = two.net.handle().status().dials;
        let why = dials.first().and_then(|d| d.last.as_deref());
        why == Some("the other side does not know this gateway as a member")
    })
    .await;
    assert_eq!(one.members.counts().verified, 0, "a stranger's signature is not looked at");
    one.members.add(issuer(2));
    one.up(2).await;
}

/// Two gateways of the demo stopped, and opening one's folder at once failed with "in use by the process with pid (our
/// own)": the network's tasks ended some time after `stop` had returned, and held the store until then.
#[tokio::test]
async fn when_stop_returns_nothing_of_the_network_holds_the_store() {
    for _ in 0..12 {
        let place = tempfile::tempdir().expect("a folder");
        let disk = Arc::new(RealDisk::open(place.path()).expect("free"));
        let network = selvedge_core::Network::new(selvedge_core::NetworkId([1; 32]));
        let options = StoreOptions::new(&network, issuer(1));
        let (store, ..) = Store::open(disk, &options).expect("a new store");
        let mut first = Start::new(1, &[2]);
        let reader = store.reader();
        first.store = (store, reader);
        let mut first = first.run();
        let mut second = Start::new(2, &[1]).dialling(first.at()).run();
        first.up(2).await;
        second.up(1).await;
        let Node { net, _store: store, .. } = first;
        drop(store);
        within("the end", net.stop("done")).await;
        RealDisk::open(place.path()).expect("nobody holds it any more");
    }
}
