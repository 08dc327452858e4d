//! What goes wrong between a gateway and a server, and that values go on after it: nothing else is the measure.
//!
//! The tests about restarts and cut connections are the first complaint of users of such gateways; that about a server
//! that is off the seventh. Readings under a new time with an old value would be the third.

use edge_adapters::{DecodedReading, DeviceState};
use selvedge_core::reading::Quality;

use crate::plant::{Make, Plant, Reader};

const TICKS: &str = "Filler.Ticks";
/// The server is missed soon.
const QUICK: &str = "timeout = \"1s\"\nkeep_alive = \"1s\"\ncheck_interval = \"1s\"";

fn number(reading: &DecodedReading) -> u64 {
    reading.value.as_f64().expect("a number") as u64
}

/// No value came twice under two times, and no time went back.
fn no_old_value_under_a_new_time(seen: &[DecodedReading]) {
    let good: Vec<&DecodedReading> =
        seen.iter().filter(|r| r.stream == TICKS && r.quality == Quality::Good).collect();
    for pair in good.windows(2) {
        let (one, other) = (pair[0], pair[1]);
        assert!(number(one) <= number(other), "{one:?} {other:?}");
        if number(one) == number(other) {
            assert_eq!(
                one.source_time_ns, other.source_time_ns,
                "an old value under a new time: {one:?} {other:?}"
            );
        }
    }
    for (at, stale) in seen.iter().enumerate().filter(|(_, r)| r.quality == Quality::Stale) {
        let before = seen[..at].iter().rev().find(|r| r.stream == stale.stream).expect("it spoke before");
        assert_eq!(stale.source_time_ns, before.source_time_ns, "stale is the old time: {stale:?}");
        assert_eq!(stale.raw, before.raw, "and the old value: {stale:?}");
    }
}

async fn the_server_restarts(make: Make) {
    let mut plant = Plant::start(make, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &[TICKS, "Filler.Level"]));
    plant.server.command("count Filler.Ticks 50");
    reader.all_good(&[TICKS, "Filler.Level"]).await;
    for _ in 0..3 {
        let before = number(&reader.good(TICKS, None).await);
        plant.server.command("restart");
        let stale =
            reader.until("ticks are stale", |r| r.stream == TICKS && r.quality == Quality::Stale).await;
        assert_ne!(stale.status, 0, "why");
        // Twice: the first value after a reconnect comes whether the server publishes or not.
        let after = number(&reader.good(TICKS, None).await);
        assert!(after >= before, "{before} {after}");
        for _ in 0..5 {
            reader.until("ticks go on", |r| r.stream == TICKS && number(r) > after).await;
        }
    }
    no_old_value_under_a_new_time(&reader.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_go_on_after_asyncua_restarts_and_the_gap_is_marked() {
    the_server_restarts(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_go_on_after_node_opcua_restarts_and_the_gap_is_marked() {
    the_server_restarts(Make::Node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_go_on_after_the_connection_to_asyncua_was_cut() {
    let mut plant = Plant::start(Make::Asyncua, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &[TICKS]));
    plant.server.command("count Filler.Ticks 50");
    for _ in 0..3 {
        let before = number(&reader.good(TICKS, None).await);
        plant.server.command("drop");
        reader.until("stale", |r| r.quality == Quality::Stale).await;
        reader.until("ticks go on", |r| r.quality == Quality::Good && number(r) > before + 20).await;
    }
    no_old_value_under_a_new_time(&reader.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_connection_is_cut_and_the_session_is_still_there() {
    let mut plant = Plant::start(Make::Node, &[]);
    let streams = ["Filler.Ticks\nsampling_interval = \"0ms\"\nqueue_size = 1000", "Filler.Level"];
    let mut reader = Reader::start(&plant.table(QUICK, &streams));
    reader.all_good(&[TICKS, "Filler.Level"]).await;
    // node-opcua looks every 50 ms at most.
    plant.server.command("count Filler.Ticks 150");
    for _ in 0..3 {
        let before = number(&reader.good(TICKS, None).await);
        plant.server.command("drop");
        reader.until("stale", |r| r.stream == "Filler.Level" && r.quality == Quality::Stale).await;
        reader.until("ticks go on", |r| r.quality == Quality::Good && number(r) > before + 30).await;
        // It did not change, so the server says nothing of it: it is read, so that it is not stale for ever.
        if !reader
            .seen
            .iter()
            .rev()
            .take_while(|r| r.quality != Quality::Stale)
            .any(|r| r.stream == "Filler.Level")
        {
            reader.good("Filler.Level", Some(52.5)).await;
        }
    }
    let figures = reader.snapshot().subscription.expect("figures");
    assert_eq!(figures.resumed, 3, "{figures:?}");
    assert_eq!((figures.notifications_lost, figures.overflows, figures.recreated), (0, 0, 0), "{figures:?}");
    let good = reader.seen.iter().filter(|r| r.stream == TICKS && r.quality == Quality::Good);
    let mut ticks: Vec<(u64, i64)> = good.map(|r| (number(r), r.source_time_ns)).collect();
    // What ends being stale may be the last value once more, under its old time, if nothing has changed since.
    ticks.dedup();
    let ticks: Vec<u64> = ticks.into_iter().map(|(number, _)| number).collect();
    let first = ticks[0];
    let whole: Vec<u64> = (first..first + ticks.len() as u64).collect();
    assert_eq!(ticks, whole, "each value once, in order");
    no_old_value_under_a_new_time(&reader.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_off_at_the_start_is_read_when_it_comes() {
    let mut plant = Plant::start(Make::Asyncua, &[]);
    plant.server.command("stop");
    let mut reader = Reader::start(&plant.table(QUICK, &[TICKS]));
    let down = reader
        .until_state("two attempts", |s| s.state == DeviceState::Down && s.errors.unreachable > 1)
        .await;
    assert!(down.error.as_deref().unwrap_or("").contains("no connection"), "{down:?}");
    assert!(down.next_attempt_ns.is_some(), "{down:?}");
    assert!(reader.seen.is_empty(), "nothing is made up: {:?}", reader.seen);
    plant.server.command("start");
    reader.good(TICKS, None).await;
    reader.until_up().await;
}

/// Connections stand and nothing is answered: whoever watches connections waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_its_connections_and_says_nothing_is_noticed() {
    let mut plant = Plant::start(Make::Asyncua, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &[TICKS]));
    plant.server.command("count Filler.Ticks 50");
    let before = number(&reader.good(TICKS, None).await);
    plant.server.command("hang");
    let stale = reader.until("stale", |r| r.quality == Quality::Stale).await;
    assert_eq!(stale.status, edge_adapters::status_code::TIMEOUT);
    plant.server.command("go");
    reader.until("ticks go on", |r| r.quality == Quality::Good && number(r) > before + 20).await;
    no_old_value_under_a_new_time(&reader.seen);
}

/// A server that has much to do is not one that has gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_answers_late_is_not_left() {
    let mut plant = Plant::start(Make::Asyncua, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &[TICKS]));
    reader.good(TICKS, None).await;
    plant.server.command("slow 1500");
    plant.server.command("count Filler.Ticks 100");
    for _ in 0..20 {
        reader.good(TICKS, None).await;
    }
    assert!(reader.seen.iter().all(|r| r.quality == Quality::Good), "{:?}", reader.seen);
}

/// The node takes nothing for a while: its queue is full. Then nothing is asked of the server, which keeps its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_keeps_its_queue_while_the_node_has_no_room() {
    let mut plant = Plant::start(Make::Node, &[]);
    let stream = "Filler.Ticks\nsampling_interval = \"0ms\"\nqueue_size = 10000";
    let table = plant.table("check_interval = \"1h\"", &[stream]).replace("\"100ms\"", "\"10ms\"");
    let mut reader = Reader::start(&table);
    reader.good(TICKS, None).await;
    // More rarely than node-opcua looks, so that it is not behind by itself.
    plant.server.command("count Filler.Ticks 60");
    // Nothing is taken from here on: the queue fills, values come no more, and the server gets ahead.
    crate::support::eventually("a server that is far ahead of what came", || {
        let said = plant.server.ask("get Filler.Ticks")["value"].as_f64().expect("a number") as u64;
        let came = reader.snapshot().subscription.expect("figures").values;
        if said > came + 50 { Ok(()) } else { Err(format!("{said} said, {came} came")) }
    });
    plant.server.command("count Filler.Ticks 0");
    let last = plant.server.ask("get Filler.Ticks")["value"].as_f64().expect("a number");
    reader.good(TICKS, Some(last)).await;
    let ticks: Vec<u64> = reader.seen.iter().map(number).collect();
    // node-opcua looks every 50 ms, so a number may be passed over; a second and more of them were kept.
    for pair in ticks.windows(2) {
        assert!(pair[0] < pair[1] && pair[1] - pair[0] < 15, "none is missing: {pair:?} in {ticks:?}");
    }
    let snapshot = reader.snapshot();
    let figures = snapshot.subscription.expect("figures");
    assert_eq!(
        (snapshot.readings_dropped, figures.overflows, figures.notifications_lost),
        (0, 0, 0),
        "{figures:?}"
    );
}

/// Small servers have room for few sessions: one that nobody closed blocks a place until its time is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stops_leaves_nothing_behind() {
    let mut plant = Plant::start(Make::Node, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &[TICKS]));
    reader.good(TICKS, None).await;
    let clients = plant.server.ask("clients");
    assert_eq!((&clients["sessions"], &clients["subscriptions"]), (&1.into(), &1.into()), "{clients}");
    drop(reader);
    crate::support::eventually("no session", || {
        let clients = plant.server.ask("clients");
        if clients["sessions"] == 0 && clients["subscriptions"] == 0 { Ok(()) } else { Err(clients) }
    });
}
