//! Peers that mean ill, and strangers.

use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::crypto::aws_lc_rs::{cipher_suite, kx_group};
use selvedge_core::border::Lane;
use selvedge_core::limits::FRAME_BYTES_MAX;

use super::super::limits::{
    CONNECTIONS_PER_MEMBER_MAX, FRESH_BYTES_MAX, FRESH_FRAMES_MAX, HALF_OPEN_MAX, SEND_WINDOW_BYTES,
    STREAM_WINDOW_BYTES,
};
use super::super::{Sent, addresses, tls};
use super::raw::{self, on_stream};
use super::*;

#[tokio::test]
async fn another_key_exchange_no_key_or_another_scheme_is_refused() {
    let one = Start::new(1, &[2]).run();
    let without = |provider| raw::rustls_config(Some(2), provider);
    let mut classical = tls::provider();
    classical.kx_groups = vec![kx_group::X25519];
    let mut short = tls::provider();
    short.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    for (what, config) in [("X25519 alone", without(classical)), ("AES-128", without(short))] {
        let config = config.expect("a configuration");
        let why =
            raw::connect_with(config, one.at()).await.err().unwrap_or_else(|| panic!("{what} was let in"));
        assert!(why.contains("no common TLS"), "{what}: {why}");
    }
    // Without a key: this side is done before the node has looked.
    let config = raw::rustls_config(None, tls::provider()).expect("a configuration");
    let why = match raw::connect_with(config, one.at()).await {
        Ok(raw) => raw.end().await,
        Err(why) => why,
    };
    assert!(why.contains("a key was expected") || why.contains("no common TLS"), "{why}");
    assert_eq!(one.members.counts().verified, 0);
    // The same with everything right is let in.
    let config = raw::rustls_config(Some(2), tls::provider()).expect("a configuration");
    let raw = raw::connect_with(config, one.at()).await.expect("a member");
    raw.lanes().await;
    assert_eq!(one.members.counts().verified, 1);
}

#[tokio::test]
async fn a_frame_that_is_too_long_or_empty_ends_the_connection_with_words() {
    let mut one = Start::new(1, &[2, 3, 4, 5]).run();
    for (member, length) in [(2, 0), (3, FRAME_BYTES_MAX as u32 + 1), (4, u32::MAX)] {
        let raw = raw::connect(member, one.at()).await.expect("a member");
        let mut lanes = raw.lanes().await;
        let peer = one.up(member).await;
        lanes.fresh.write_all(&length.to_le_bytes()).await.expect("written");
        let why = raw.end().await;
        assert_eq!(why, format!("closed by the other side: a frame of {length} bytes, expected 1 to 262144"));
        one.down(peer).await;
        assert!(one.closed(member).expect("remembered").why.contains(&format!("a frame of {length} bytes")));
        // And it is not let in again at once.
        let again = raw::connect(member, one.at()).await.expect("this side is done first");
        assert!(again.end().await.contains("refuses this gateway for a while"));
    }
    // Streams that are no lanes.
    let raw = raw::connect(5, one.at()).await.expect("a member");
    for lane in [0_u8, 7] {
        let mut stream = raw.connection.open_uni().await.expect("a stream");
        stream.write_all(&[lane]).await.expect("written");
    }
    let why = raw.end().await;
    assert!(why.contains("its streams begin with") && why.contains("expected 0 and 1"), "{why}");
}

/// The core was told of the first drop only, until the queue was half empty again. It said what matters a quarter of a second
/// later once more, that was dropped too, without a word, and it believed for ever that the peer knew. It is told of each:
/// whatever it is not told of arrives.
#[tokio::test]
async fn what_the_core_is_not_told_of_arrives_however_often_the_queue_is_full() {
    let mut one = Start::new(1, &[2]).run();
    let raw = raw::connect(2, one.at()).await.expect("a member");
    let mut lanes = raw.lanes().await;
    let peer = one.up(2).await;
    let handle = one.net.handle();
    let (mut number, mut told, mut read) = (0, 0, 0);
    let mut taken = Vec::new();
    for round in 0..4 {
        // A peer that reads a little each time: the queue has room for some and is never half empty.
        if round > 0 {
            for _ in 0..10 {
                let mut bytes = vec![0; 10_004];
                within("a frame", lanes.from[0].read_exact(&mut bytes)).await.expect("read");
                assert_eq!(bytes, on_stream(&frame(taken[read], 10_000)));
                read += 1;
            }
            until("room", || one.link(peer).fresh.bytes + 10_000 <= FRESH_BYTES_MAX).await;
            assert!(one.link(peer).fresh.bytes > FRESH_BYTES_MAX / 2, "it is half empty");
        }
        // Until it stays full: QUIC takes some, up to its bounds.
        let (mut in_a_row, end) = (0, Instant::now() + PATIENCE);
        while in_a_row < 1_000 {
            assert!(Instant::now() < end, "{told} of {number} told, and it never stays full");
            match handle.send(peer, Lane::Fresh, frame(number, 10_000)) {
                Sent::Queued => {
                    taken.push(number);
                    in_a_row = 0;
                }
                Sent::Congested => (told, in_a_row) = (told + 1, in_a_row + 1),
                Sent::Gone => panic!("it is gone"),
            }
            number += 1;
            tokio::task::yield_now().await;
        }
        assert_eq!(told, one.link(peer).fresh.dropped, "in round {round}");
    }
    for number in &taken[read..] {
        let mut bytes = vec![0; 10_004];
        within("a frame", lanes.from[0].read_exact(&mut bytes)).await.expect("read");
        assert_eq!(bytes, on_stream(&frame(*number, 10_000)));
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_costs_a_bounded_amount_and_the_core_hears_of_each_drop() {
    let mut one = Start::new(1, &[2]).run();
    let raw = raw::connect(2, one.at()).await.expect("a member");
    let mut lanes = raw.lanes().await;
    let peer = one.up(2).await;
    let handle = one.net.handle();
    let (mut queued, mut dropped) = (0_u64, 0);
    // Until the queue stays full: what QUIC takes is bounded as well.
    let end = Instant::now() + PATIENCE;
    while dropped < 5_000 {
        match handle.send(peer, Lane::Fresh, frame(queued, 10_000)) {
            Sent::Queued => (queued, dropped) = (queued + 1, 0),
            Sent::Congested => dropped += 1,
            Sent::Gone => panic!("it is gone"),
        }
        assert!(Instant::now() < end);
        tokio::task::yield_now().await;
    }
    let link = one.link(peer);
    assert!(link.fresh.frames <= FRESH_FRAMES_MAX && link.fresh.bytes <= FRESH_BYTES_MAX, "{link:?}");
    let held = FRESH_BYTES_MAX as u64 + SEND_WINDOW_BYTES + u64::from(STREAM_WINDOW_BYTES) + 64 * 1024;
    assert!(queued * 10_004 <= held, "{queued} frames of 10,000 bytes were taken");
    // The other lane of the same peer is not held up.
    assert_eq!(handle.send(peer, Lane::Bulk, frame(1, 9)), Sent::Queued);
    let mut bulk = [0; 13];
    within("the bulk lane", lanes.from[1].read_exact(&mut bulk)).await.expect("read");
    assert_eq!(bulk.to_vec(), on_stream(&frame(1, 9)));
    // It reads on: what was queued comes, in order and whole, and there is room again.
    for number in 0..queued {
        let mut bytes = vec![0; 10_004];
        within("a frame", lanes.from[0].read_exact(&mut bytes)).await.expect("read");
        assert_eq!(bytes, on_stream(&frame(number, 10_000)));
    }
    until("the queue to be empty", || one.link(peer).fresh.frames == 0).await;
    assert_eq!(handle.send(peer, Lane::Fresh, frame(1, 9)), Sent::Queued);
}

#[tokio::test]
async fn a_flood_of_one_peer_waits_at_its_own_door_and_another_is_heard() {
    let mut one = Start::new(1, &[2, 3]).run();
    let flood = raw::connect(2, one.at()).await.expect("a member");
    let mut lanes = flood.lanes().await;
    one.up(2).await;
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let flooding = tokio::spawn(async move {
        let small = on_stream(&frame(1, 1_000));
        while lanes.fresh.write_all(&small).await.is_ok() {
            count.fetch_add(small.len(), Ordering::Relaxed);
        }
    });
    // Nothing is handed on: the permits are kept.
    let mut held = Vec::new();
    while held.len() < 64 {
        match one.next().await {
            Arrival::Frame { permit, .. } => held.push(permit),
            got => panic!("got {got:?}"),
        }
    }
    let other = raw::connect(3, one.at()).await.expect("a member");
    let mut quiet = other.lanes().await;
    let third = one.up(3).await;
    quiet.fresh.write_all(&on_stream(&frame(7, 50))).await.expect("written");
    assert_eq!(one.frame(third).await, frame(7, 50), "not one more of the flood came before it");
    let most = 64 * 1_004 + STREAM_WINDOW_BYTES as usize + SEND_WINDOW_BYTES as usize + 64 * 1_004;
    assert!(written.load(Ordering::Relaxed) <= most, "{} bytes taken", written.load(Ordering::Relaxed));
    // It goes on where it stopped.
    drop(held);
    assert!(matches!(one.next().await, Arrival::Frame { .. }));
    flooding.abort();
}

#[tokio::test]
async fn the_bulk_lane_waits_for_the_hello_on_the_fresh_one() {
    let mut one = Start::new(1, &[2]).run();
    let raw = raw::connect(2, one.at()).await.expect("a member");
    let mut lanes = raw.lanes().await;
    let peer = one.up(2).await;
    let before = one.link(peer).bytes_received;
    lanes.bulk.write_all(&on_stream(&frame(1, 5_000))).await.expect("written");
    until("the bulk frame to arrive", || one.link(peer).bytes_received >= before + 5_000).await;
    lanes.fresh.write_all(&on_stream(&frame(2, 9))).await.expect("written");
    assert_eq!(one.frame(peer).await, frame(2, 9));
    assert_eq!(one.frame(peer).await, frame(1, 5_000));
}

#[tokio::test]
async fn one_member_cannot_take_the_places_of_others() {
    let mut one = Start::new(1, &[2, 3]).run();
    let mut kept = Vec::new();
    for _ in 0..CONNECTIONS_PER_MEMBER_MAX {
        let raw = raw::connect(2, one.at()).await.expect("a member");
        let lanes = raw.lanes().await;
        kept.push((one.up(2).await, raw, lanes));
    }
    let more = raw::connect(2, one.at()).await.expect("this side is done first");
    assert_eq!(more.end().await, "closed by the other side: this member has 3 connections here already");
    let other = raw::connect(3, one.at()).await.expect("another member");
    let _lanes = other.lanes().await;
    one.up(3).await;
    // One goes, and there is a place again.
    let (peer, raw, _lanes) = kept.pop().expect("three");
    raw.connection.close(0_u32.into(), b"enough");
    one.down(peer).await;
    let mut again = raw::connect(2, one.at()).await.expect("a member");
    let end = Instant::now() + PATIENCE;
    while again.connection.accept_uni().await.is_err() {
        // The place is given back a moment after the core was told.
        assert!(Instant::now() < end);
        again = raw::connect(2, one.at()).await.expect("a member");
    }
}

#[tokio::test]
async fn addresses_that_do_not_decode_end_the_connection_and_too_many_are_skipped() {
    let mut one = Start::new(1, &[2]).run();
    let raw = raw::connect(2, one.at()).await.expect("a member");
    let mut lanes = raw.lanes().await;
    let peer = one.up(2).await;
    let good = addresses::frame(&[addresses::Address { issuer: issuer(9), at: ([10, 0, 0, 1], 9).into() }]);
    for _ in 0..100 {
        lanes.fresh.write_all(&on_stream(&good)).await.expect("written");
    }
    // A kind of the shell that nobody knows yet.
    lanes.fresh.write_all(&on_stream(&[200, 1, 2, 3])).await.expect("written");
    until("all of them", || one.link(peer).frames_received == 101).await;
    assert_eq!(one.link(peer).frames_skipped, 101 - 8);
    let again = raw::connect(2, one.at()).await.expect("a member");
    let mut lanes = again.lanes().await;
    one.up(2).await;
    lanes.fresh.write_all(&on_stream(&[addresses::KIND, 200, 200, 200])).await.expect("written");
    let why = again.end().await;
    assert!(why.starts_with("closed by the other side: addresses: "), "{why}");
}

#[tokio::test]
async fn a_thousand_strangers_cost_few_handshakes_and_members_stay_and_come() {
    let mut one = Start::new(1, &[2, 3]).run();
    let mut two = Start::new(2, &[1]).dialling(one.at()).run();
    let (to_two, to_one) = (one.up(2).await, two.up(1).await);
    let to = one.at();
    let mut strangers = tokio::task::JoinSet::new();
    let began = Instant::now();
    for n in 0..1_000_u16 {
        strangers.spawn(async move {
            let identity = tls::Identity::new(&key(10 + (n % 40) as u8)).expect("a key");
            let config = super::super::dial::client_config(&identity, tls::Pass::Anybody, tls::ALPN)
                .expect("settings");
            let endpoint =
                super::super::endpoint::open(([127, 0, 0, 1], 0).into(), None, [7; 32]).expect("a socket");
            let connecting = endpoint.connect_with(config, to, "selvedge").expect("begun");
            // It does not stay to hear the answer: the socket goes, the next one comes.
            let _ = tokio::time::timeout(Duration::from_millis(300), connecting).await;
        });
    }
    let mut heard = 0;
    while let Some(done) = strangers.join_next().await {
        done.expect("no panic");
        heard += 1;
        if heard % 100 == 0 {
            assert_eq!(one.net.handle().send(to_two, Lane::Fresh, frame(heard, 50)), Sent::Queued);
            assert_eq!(two.frame(to_one).await, frame(heard, 50), "the member is heard all the while");
        }
    }
    let status = one.net.handle().status();
    assert!(status.gate.half_open_most <= HALF_OPEN_MAX, "{:?}", status.gate);
    let seconds = began.elapsed().as_secs() + 1;
    // All come from one address here: 24 at once and 8 a second.
    assert!(status.gate.accepted <= 24 + 8 * seconds, "{:?} in {seconds} s", status.gate);
    assert!(status.gate.retried + status.gate.turned_away > 500, "{:?}", status.gate);
    assert_eq!(status.members.verified, 1, "no stranger's signature was looked at");
    assert!(status.closed.len() < 50, "one line for an address: {}", status.closed.len());
    // And a member that comes now comes in.
    let mut three = Start::new(3, &[1]).dialling(to).run();
    three.up(1).await;
    one.up(3).await;
}
