//! Devices that answer late, wrongly, in part, or not at all. Real TCP connections; the test is the device.

use std::time::Duration;

use selvedge_core::reading::{Quality, Value};
use tokio::net::TcpStream;
use tokio_modbus::client::{Reader, tcp};

use super::poll::two_registers;
use super::support::{
    Asked, HeldTime, Rig, accept, advance, advance_past_backoff, answer, asked, brief, closed_by_client,
    frame, listen, registers_body, send,
};
use crate::backoff::SplitMix;
use crate::health::DeviceState;
use crate::status_code;

/// What the device holds: 111 in register 100, 555 in register 5000.
fn words(asked: Asked) -> [u16; 1] {
    match asked.start {
        100 => [111],
        5_000 => [555],
        other => panic!("nobody asks for {other}"),
    }
}

async fn answer_next(device: &mut TcpStream) {
    let asked = asked(device).await.expect("a request");
    send(device, &answer(asked, &words(asked))).await;
}

/// A gateway in front of a serial line, of a make that exists: what comes from the line goes out under the
/// transaction id of the newest request of that connection. Register 5000 is answered late, once; from then on the
/// line is late by one. Serves until the client closes.
async fn gateway_with_a_late_line(mut socket: TcpStream) {
    let mut line = std::collections::VecDeque::new();
    let mut late = false;
    while let Some(asked) = asked(&mut socket).await {
        line.push_back(words(asked));
        if asked.start == 5_000 && !late {
            late = true;
            continue;
        }
        let oldest = line.pop_front().unwrap();
        send(&mut socket, &answer(asked, &oldest)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_never_becomes_the_value_of_another_register() {
    // The harm, shown on a client that keeps its connection after a time-out: 100 holds 111, and it reads 555.
    let (listener, address) = listen().await;
    let time = HeldTime::new();
    let gateway = tokio::spawn(async move { gateway_with_a_late_line(accept(&listener).await).await });
    let mut client = tcp::connect(address).await.unwrap();
    assert_eq!(client.read_holding_registers(100, 1).await.unwrap().unwrap(), [111]);
    tokio::select! {
        biased;
        answer = client.read_holding_registers(5_000, 1) => panic!("too early: {answer:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(client.read_holding_registers(100, 1).await.unwrap().unwrap(), [555], "the harm");
    drop(client);
    gateway.await.unwrap();
    drop(time);

    // The poller: every value is that of its register, over many such connections.
    let (listener, address) = listen().await;
    let gateway = tokio::spawn(async move {
        loop {
            gateway_with_a_late_line(accept(&listener).await).await;
        }
    });
    let mut rig = Rig::new(&two_registers(address));
    let mut values = Vec::new();
    for poll in 1..=20 {
        // The first request is answered; the second never is, on this connection.
        rig.until("the second request", |device| device.requests == poll * 2).await;
        advance(500).await;
        rig.polls(poll).await;
        advance_past_backoff().await;
    }
    while let Ok(delivery) = rig.deliveries.try_recv() {
        values.extend(brief(&delivery.readings));
    }
    assert!(values.iter().filter(|reading| reading.2 == Quality::Good).count() >= 20);
    for (stream, value, quality, ..) in values {
        assert_eq!((stream, value), (0, Value::Unsigned(111)), "{quality:?}");
    }
    let figures = rig.device();
    assert!(
        figures.errors.timeout >= 20 && figures.connections >= 20,
        "a new connection after each: {figures:#?}"
    );
    gateway.abort();
}

#[tokio::test(start_paused = true)]
async fn after_a_late_answer_of_an_honest_device_the_next_values_are_right_at_once() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    let mut first = accept(&listener).await;
    answer_next(&mut first).await;
    let late = asked(&mut first).await.unwrap();
    advance(500).await;
    rig.polls(1).await;
    // It comes late, with its own transaction id, and finds nobody.
    drop(tokio::io::AsyncWriteExt::write_all(&mut first, &answer(late, &[999])).await);
    closed_by_client(&mut first).await;
    advance_past_backoff().await;
    let mut second = accept(&listener).await;
    answer_next(&mut second).await;
    answer_next(&mut second).await;
    rig.polls(2).await;
    let (timeout, good) = (status_code::TIMEOUT, Quality::Good);
    assert_eq!(brief(&rig.readings().await), [(0, Value::Unsigned(111), good, 0, 1_000)]);
    let stale = brief(&rig.readings().await);
    assert_eq!(stale, [(0, Value::Unsigned(111), Quality::Stale, timeout, 1_000)]);
    let now = brief(&rig.readings().await);
    assert_eq!(now, [(0, Value::Unsigned(111), good, 0, 1_000), (1, Value::Unsigned(555), good, 0, 1_000)]);
}

/// Answers that do not fit what was asked, each with its name.
fn nonsense(asked: Asked) -> Vec<(&'static str, Vec<u8>)> {
    let Asked { transaction, unit, function, .. } = asked;
    let body = registers_body(function, &words(asked));
    let mut other_protocol = frame(transaction, unit, &body);
    other_protocol[2] = 0x80;
    let mut no_length = frame(transaction, unit, &body);
    no_length[4..6].fill(0);
    vec![
        ("another transaction", frame(transaction.wrapping_add(1), unit, &body)),
        ("another unit", frame(transaction, unit.wrapping_add(1), &body)),
        ("another protocol", other_protocol),
        ("a length of nothing", no_length),
        ("an empty body", frame(transaction, unit, &[])),
        ("another function", frame(transaction, unit, &registers_body(4, &words(asked)))),
        ("an exception of another function", frame(transaction, unit, &[0x84, 2])),
        ("an exception without a code", frame(transaction, unit, &[0x83])),
        ("no register", frame(transaction, unit, &registers_body(function, &[]))),
        ("two registers", frame(transaction, unit, &registers_body(function, &[1, 2]))),
        ("an odd number of bytes", frame(transaction, unit, &[function, 1, 7])),
        ("fewer bytes than it says", frame(transaction, unit, &[function, 2, 7])),
        ("more bytes than it says", frame(transaction, unit, &[function, 2, 7, 7, 7])),
    ]
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_never_a_value_and_always_ends_the_connection() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    let mut polls = 0;
    for index in 0..nonsense(Asked { transaction: 0, unit: 1, function: 3, start: 100, count: 1 }).len() {
        let mut device = accept(&listener).await;
        let request = asked(&mut device).await.unwrap();
        let (name, bytes) = nonsense(request).swap_remove(index);
        send(&mut device, &bytes).await;
        closed_by_client(&mut device).await;
        polls += 1;
        let figures = rig.polls(polls).await;
        assert_eq!(figures.errors.protocol, polls, "{name}: {figures:#?}");
        assert!(figures.error.unwrap().starts_with("protocol error: "), "{name}");
        rig.nothing_delivered();
        advance_past_backoff().await;
    }
    let mut device = accept(&listener).await;
    answer_next(&mut device).await;
    answer_next(&mut device).await;
    let good = |stream, value| (stream, Value::Unsigned(value), Quality::Good, 0, 1_000);
    assert_eq!(
        brief(&rig.readings().await),
        [good(0, 111), good(1, 555)],
        "an honest device then is read at once"
    );
    rig.polls(polls + 1).await;

    // In the middle of a good life: stale under the old time, by the status of nonsense.
    rig.clock.set(2_000);
    advance(1_000).await;
    let request = asked(&mut device).await.unwrap();
    send(&mut device, &nonsense(request)[0].1).await;
    let stale =
        |stream, value| (stream, Value::Unsigned(value), Quality::Stale, status_code::PROTOCOL, 1_000);
    assert_eq!(brief(&rig.readings().await), [stale(0, 111), stale(1, 555)]);
}

#[tokio::test(start_paused = true)]
async fn random_bytes_are_never_a_value() {
    const SEED: u64 = 31;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    for poll in 1..=300 {
        let mut device = accept(&listener).await;
        let request = asked(&mut device).await.unwrap();
        let mut bytes: Vec<u8> = (0..random.next() % 300).map(|_| random.next() as u8).collect();
        if random.next().is_multiple_of(2) {
            // With a right header, so that the body is looked at; never with the right body.
            let mut body = bytes.split_off(bytes.len() / 2);
            body.insert(0, [3, 0x83, random.next() as u8][random.next() as usize % 3]);
            if body.len() == 4 && body[0] == 3 && body[1] == 2 || body[0] == 0x83 {
                body[0] = 0x84;
            }
            bytes = frame(request.transaction, request.unit, &body);
        }
        send(&mut device, &bytes).await;
        drop(device); // it may wait for more, which does not come
        let figures = rig.polls(poll).await;
        assert_eq!(figures.errors.protocol + figures.errors.closed, poll, "{bytes:?}");
        rig.nothing_delivered();
        advance_past_backoff().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_its_code_and_the_connection() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    let mut device = accept(&listener).await;
    for (poll, code) in (1_u64..).zip([1_u8, 2, 3, 4, 5, 6, 8, 99, 255]) {
        let request = asked(&mut device).await.unwrap();
        send(&mut device, &frame(request.transaction, request.unit, &[0x83, code])).await;
        answer_next(&mut device).await;
        let bad = (0, Value::None, Quality::Bad, u32::from(code), 1_000);
        assert_eq!(brief(&rig.readings().await), [bad, (1, Value::Unsigned(555), Quality::Good, 0, 1_000)]);
        let figures = rig.polls(poll).await;
        assert_eq!((figures.state, figures.errors.exception), (DeviceState::Degraded, poll));
        assert!(figures.error.unwrap().contains(&format!("Modbus exception {code}")));
        advance(1_000).await;
    }
    assert_eq!(rig.device().connections, 1);
}

#[tokio::test(start_paused = true)]
async fn a_dead_unit_behind_a_gateway_is_a_dead_link() {
    for code in [10_u8, 11] {
        let (listener, address) = listen().await;
        let mut rig = Rig::new(&two_registers(address));
        let mut device = accept(&listener).await;
        answer_next(&mut device).await;
        answer_next(&mut device).await;
        rig.readings().await;
        rig.polls(1).await;
        advance(1_000).await;
        let request = asked(&mut device).await.unwrap();
        send(&mut device, &frame(request.transaction, request.unit, &[0x83, code])).await;
        let stale = |stream, value| (stream, Value::Unsigned(value), Quality::Stale, u32::from(code), 1_000);
        assert_eq!(brief(&rig.readings().await), [stale(0, 111), stale(1, 555)]);
        assert_eq!(rig.polls(2).await.state, DeviceState::Down);
        closed_by_client(&mut device).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_closed_in_the_middle_of_an_answer_gives_no_value() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    let whole = answer(Asked { transaction: 0, unit: 1, function: 3, start: 100, count: 1 }, &[111]).len();
    for cut in 0..whole {
        let mut device = accept(&listener).await;
        let request = asked(&mut device).await.unwrap();
        send(&mut device, &answer(request, &[111])[..cut]).await;
        drop(device);
        let figures = rig.polls(cut as u64 + 1).await;
        assert_eq!(figures.errors.closed, cut as u64 + 1, "cut at {cut}: {:?}", figures.error);
        rig.nothing_delivered();
        advance_past_backoff().await;
    }
    let mut device = accept(&listener).await;
    answer_next(&mut device).await;
    answer_next(&mut device).await;
    assert_eq!(rig.readings().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_accepts_and_never_answers_is_asked_ever_more_rarely() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    let started = tokio::time::Instant::now();
    let mut asked_at = Vec::new();
    for poll in 1..=12 {
        let mut device = accept(&listener).await;
        asked(&mut device).await.unwrap();
        asked_at.push(started.elapsed());
        advance(500).await;
        let figures = rig.polls(poll).await;
        assert_eq!((figures.state, figures.errors.timeout), (DeviceState::Down, poll));
        closed_by_client(&mut device).await;
        // In small steps until it tries again, to see when that is.
        while rig.device().requests == poll && rig.device().connections == poll {
            advance(250).await;
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
        }
    }
    rig.nothing_delivered();
    let asked_at: Vec<u128> = asked_at.iter().map(Duration::as_millis).collect();
    let waits: Vec<u128> = asked_at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= 1_500, "soon at first: {waits:?}");
    assert!(
        waits[8..].iter().all(|wait| (30_000..=61_000).contains(wait)),
        "once a minute at last: {waits:?}"
    );
}
