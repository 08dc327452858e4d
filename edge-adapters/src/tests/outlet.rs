//! What leaves a device, and what does not.

use std::sync::Arc;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::limits::SUBMIT_READINGS_MAX;
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use tokio::sync::mpsc;

use super::support::brief;
use crate::adapter::{Deadband, Report, StreamSpec};
use crate::clock::SetClock;
use crate::health::Health;
use crate::outlet::{Delivery, NotTaken, Outlet, Readings};
use crate::status_code::{CLOSED, TIMEOUT};

fn outlet(streams: u32, deliveries_max: usize, deadband: Option<f64>) -> (Outlet, mpsc::Receiver<Delivery>) {
    let spec = |stream| StreamSpec {
        descriptor: Descriptor {
            name: format!("s{stream}"),
            device: "d".into(),
            address: String::new(),
            source_type: "i16 AB".into(),
            unit: String::new(),
            scale: Decimal::new(1, -1).unwrap(),
            offset: Decimal::ZERO,
            attestation: Attestation::Gateway,
        },
        urgent: false,
        report: Report { deadband: deadband.map(Deadband::Absolute), ..Report::default() },
        write: None,
        words: None,
    };
    let (sender, receiver) = mpsc::channel(deliveries_max);
    let clock = Arc::new(SetClock::at(9_000));
    let health = Arc::new(Health::new("d", "modbus-tcp", String::new(), Arc::clone(&clock) as _));
    (Outlet::new((0..streams).map(|s| (StreamHandle(s), spec(s))), sender, health, clock), receiver)
}

fn reading(stream: u32, value: i64, time: i64) -> NewReading {
    NewReading {
        stream: StreamHandle(stream),
        value: Value::Int(value),
        quality: Quality::Good,
        flags: 0,
        status: 0,
        source_time_ns: time,
        receive_time_ns: time,
    }
}

#[test]
fn a_dead_link_gives_each_stream_one_reading_under_its_old_time() {
    let (outlet, mut receiver) = outlet(3, 10, None);
    outlet.mark_stale(TIMEOUT);
    assert!(receiver.try_recv().is_err(), "a stream that never spoke has nothing to be stale");
    outlet.offer(vec![reading(0, 5, 100), reading(1, 6, 101)]);
    receiver.try_recv().unwrap();

    outlet.mark_stale(TIMEOUT);
    let stale = receiver.try_recv().unwrap().readings;
    let expected = [(0, 5, 100), (1, 6, 101)].map(|(s, v, t)| (s, Value::Int(v), Quality::Stale, TIMEOUT, t));
    assert_eq!(brief(&stale), expected);
    assert!(
        stale.iter().all(|r| r.receive_time_ns == 9_000),
        "the receive time says when the gateway noticed"
    );
    assert!(outlet.snapshot().streams[0].stale && !outlet.snapshot().streams[2].stale);

    for _ in 0..5 {
        outlet.mark_stale(CLOSED);
        assert!(receiver.try_recv().is_err(), "then silence");
    }
    outlet.offer(vec![reading(0, 7, 200)]);
    assert_eq!(brief(&receiver.try_recv().unwrap().readings), [(0, Value::Int(7), Quality::Good, 0, 200)]);
    outlet.mark_stale(CLOSED);
    let again = brief(&receiver.try_recv().unwrap().readings);
    assert_eq!(again, [(0, Value::Int(7), Quality::Stale, CLOSED, 200)], "stream 1 has been stale all along");
}

#[test]
fn what_finds_no_room_is_dropped_and_counted_but_staleness_stays_owed() {
    let (outlet, mut receiver) = outlet(1, 1, None);
    assert!(outlet.has_room());
    outlet.offer(vec![reading(0, 1, 100)]);
    assert!(!outlet.has_room());
    outlet.offer(vec![reading(0, 2, 200)]);
    outlet.mark_stale(TIMEOUT);
    let figures = outlet.snapshot();
    assert_eq!((figures.readings, figures.readings_dropped), (1, 1));
    assert!(figures.streams[0].stale, "people see it at once");

    assert_eq!(receiver.try_recv().unwrap().readings, [reading(0, 1, 100)]);
    outlet.mark_stale(TIMEOUT);
    let stale = brief(&receiver.try_recv().unwrap().readings);
    assert_eq!(
        stale,
        [(0, Value::Int(2), Quality::Stale, TIMEOUT, 200)],
        "the last value that the device gave"
    );
}

/// Story: the link died while the queue was full, and was back before there was room. The gap was not in the ledger, and the
/// first reading after it was left out as too like the last before it.
#[test]
fn a_gap_for_which_there_was_no_room_is_marked_before_the_next_reading() {
    let (outlet, mut receiver) = outlet(2, 1, Some(0.5));
    outlet.offer(vec![reading(0, 1, 100), reading(1, 1, 100)]);
    outlet.mark_stale(TIMEOUT);
    receiver.try_recv().expect("the readings before");

    outlet.offer(vec![reading(0, 1, 300)]);
    let after = receiver.try_recv().expect("room for both").readings;
    assert_eq!(
        brief(&after),
        [(0, Value::Int(1), Quality::Stale, TIMEOUT, 100), (0, Value::Int(1), Quality::Good, 0, 300)]
    );
    // Once; and what found no room in a poll's delivery is owed on.
    outlet.offer(vec![reading(0, 1, 400), reading(0, 9, 401)]);
    outlet.offer(vec![reading(1, 1, 402)]);
    assert_eq!(
        brief(&receiver.try_recv().expect("a change").readings),
        [(0, Value::Int(9), Quality::Good, 0, 401)]
    );
    outlet.offer(vec![reading(1, 1, 500)]);
    let after = brief(&receiver.try_recv().expect("room for both").readings);
    assert_eq!(
        after,
        [(1, Value::Int(1), Quality::Stale, TIMEOUT, 100), (1, Value::Int(1), Quality::Good, 0, 500)]
    );
    assert!(outlet.snapshot().streams.iter().all(|stream| !stream.stale));
}

/// Story: an edge node said what it had stored years ago after it had said 500. `streams` showed the old value as the last
/// one, the dead link made the old one stale, and a deadband was measured from it.
#[tokio::test]
async fn a_value_of_the_past_is_recorded_and_is_no_last_value() {
    let (outlet, mut receiver) = outlet(1, 10, Some(0.5));
    let mut said = Readings::default();
    said.push(reading(0, 500, 1_000));
    said.push_past(reading(0, 12, 10));
    said.push_past(reading(0, 12, 11));
    said.push(reading(0, 501, 1_001));
    outlet.hand_over(said, Vec::new()).await.expect("there is room");
    let delivered: Vec<_> =
        receiver.try_recv().expect("it came").readings.into_iter().map(|r| r.value).collect();
    assert_eq!(delivered, [500, 12, 12].map(Value::Int), "the past whole, and 501 is within the band of 500");
    let last = outlet.snapshot().streams[0].last.clone().expect("it spoke");
    assert_eq!(last.source_time_ns, 1_001);

    outlet.mark_stale(TIMEOUT);
    let stale = brief(&receiver.try_recv().expect("room").readings);
    assert_eq!(stale, [(0, Value::Int(501), Quality::Stale, TIMEOUT, 1_001)]);
    let mut said = Readings::default();
    said.push_past(reading(0, 13, 12));
    outlet.hand_over(said, Vec::new()).await.expect("there is room");
    assert_eq!(receiver.try_recv().expect("it came").readings, [reading(0, 13, 12)]);
    assert!(outlet.snapshot().streams[0].stale, "it says nothing of now");
}

#[test]
fn a_deadband_is_measured_from_the_reading_delivered_last() {
    // Scale 0.1, band 0.5: five raw steps.
    let (outlet, mut receiver) = outlet(1, 100, Some(0.5));
    for (time, value) in [100, 103, 105, 106, 102, 101, 100, 99].into_iter().enumerate() {
        outlet.offer(vec![reading(0, value, time as i64)]);
    }
    let mut delivered = Vec::new();
    while let Ok(delivery) = receiver.try_recv() {
        delivered.extend(delivery.readings.into_iter().map(|r| r.value));
    }
    assert_eq!(delivered, [100, 106, 100].map(Value::Int), "a slow drift does not slip through");
    let last = outlet.snapshot().streams[0].last_good.clone().unwrap();
    assert_eq!(last.source_time_ns, 7, "what was left out was seen");

    outlet.mark_stale(TIMEOUT);
    outlet.offer(vec![reading(0, 99, 8)]);
    let brief_after: Vec<_> =
        std::iter::from_fn(|| receiver.try_recv().ok()).flat_map(|d| brief(&d.readings)).collect();
    assert_eq!(brief_after[0].2, Quality::Stale);
    assert_eq!(brief_after[1].2, Quality::Good, "the first good reading after a gap is always delivered");
    let bad = NewReading { quality: Quality::Bad, value: Value::None, ..reading(0, 0, 9) };
    outlet.offer(vec![bad.clone(), bad]);
    assert_eq!(receiver.try_recv().unwrap().readings.len(), 2, "no band around what is not good");
}

#[test]
fn a_delivery_is_no_larger_than_a_submission() {
    let (outlet, mut receiver) = outlet(1, 10, None);
    outlet.offer((0..10_000).map(|n| reading(0, n, n)).collect());
    let sizes: Vec<usize> =
        std::iter::from_fn(|| receiver.try_recv().ok()).map(|d| d.readings.len()).collect();
    assert_eq!(sizes, [SUBMIT_READINGS_MAX, SUBMIT_READINGS_MAX, 10_000 - 2 * SUBMIT_READINGS_MAX]);
}

#[tokio::test]
async fn a_source_that_acknowledges_waits_until_its_readings_are_durable() {
    let (outlet, mut receiver) = outlet(1, 1, None);
    let first = tokio::spawn({
        let outlet = outlet.clone();
        async move { outlet.deliver(vec![reading(0, 1, 1)]).await }
    });
    let delivery = receiver.recv().await.unwrap();
    assert!(!first.is_finished(), "not before it is durable");
    delivery.ack.unwrap().send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok(()));

    // A full queue: the source waits, nothing is dropped.
    outlet.offer(vec![reading(0, 2, 2)]);
    let waiting = tokio::spawn({
        let outlet = outlet.clone();
        async move { outlet.deliver(vec![reading(0, 3, 3)]).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(receiver.recv().await.unwrap().readings, [reading(0, 2, 2)]);
    let refused = receiver.recv().await.unwrap();
    assert_eq!(refused.readings, [reading(0, 3, 3)]);
    drop(refused);
    assert_eq!(waiting.await.unwrap(), Err(NotTaken), "refused: nothing may be acknowledged");
    assert_eq!(outlet.snapshot().readings_dropped, 0);
    drop(receiver);
    assert_eq!(outlet.deliver(vec![reading(0, 4, 4)]).await, Err(NotTaken));
}
