//! Polling over real TCP connections: good devices, and good devices that come and go.

use std::sync::Arc;

use selvedge_core::reading::{Quality, Value};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::support::{
    Log, Rig, accept, advance, advance_past_backoff, answer, asked, brief, closed_by_client, listen, reserve,
    send,
};
use crate::health::DeviceState;
use crate::modbus::Table;
use crate::modbus::server::{Bank, serve};
use crate::status_code;

/// Two holding registers far apart, so that each has a request of its own.
pub(super) fn two_registers(address: impl std::fmt::Display) -> String {
    format!(
        "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\n\
         poll_interval = \"1s\"\ntimeout = \"500ms\"\n\
         [[device.stream]]\nname = \"a\"\nregister = \"holding:100\"\ntype = \"u16\"\n\
         [[device.stream]]\nname = \"b\"\nregister = \"holding:5000\"\ntype = \"u16\"\n"
    )
}

fn start_server(listener: TcpListener, bank: &Arc<Bank>) -> CancellationToken {
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, Arc::clone(bank), stop.clone()));
    stop
}

fn good(stream: u32, value: u64, time: i64) -> (u32, Value, Quality, u32, i64) {
    (stream, Value::Unsigned(value), Quality::Good, 0, time)
}

fn stale(stream: u32, value: u64, status: u32, time: i64) -> (u32, Value, Quality, u32, i64) {
    (stream, Value::Unsigned(value), Quality::Stale, status, time)
}

#[tokio::test(start_paused = true)]
async fn all_four_tables_are_read_with_the_time_at_which_the_answer_came() {
    let (listener, address) = listen().await;
    let bank = Arc::new(Bank::new(1_000));
    bank.set_f32(Table::Holding, 100, 23.5);
    bank.set_registers(Table::Input, 7, &[0xFFFE, 0x8000]);
    bank.set_bit(Table::Coil, 3, true);
    bank.set_bit(Table::Discrete, 17, true);
    let _server = start_server(listener, &bank);
    let stream = |name, register, more| {
        format!("[[device.stream]]\nname = \"{name}\"\nregister = \"{register}\"\n{more}\n")
    };
    let mut rig = Rig::new(
        &[
            format!("[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\nunit_id = 9\n"),
            stream("level", "holding:100", "type = \"f32\""),
            stream("temperature", "input:7", "type = \"i16\"\nscale = 0.1"),
            stream("pressure", "input:8", "type = \"i16\"\nnot_available = [\"0x8000\"]"),
            stream("open", "coil:3", ""),
            stream("shut", "coil:4", ""),
            stream("full", "discrete:17", ""),
        ]
        .concat(),
    );
    let mut readings = brief(&rig.readings().await);
    readings.sort_by_key(|reading| reading.0);
    let expected = [
        (0, Value::Float(23.5), Quality::Good, 0, 1_000),
        (1, Value::Int(-2), Quality::Good, 0, 1_000),
        (2, Value::None, Quality::NotAvailable, 0, 1_000),
        (3, Value::Bool(true), Quality::Good, 0, 1_000),
        (4, Value::Bool(false), Quality::Good, 0, 1_000),
        (5, Value::Bool(true), Quality::Good, 0, 1_000),
    ];
    assert_eq!(readings, expected);
    let device = rig.polls(1).await;
    assert_eq!(
        (device.state, device.connections, device.requests, device.answers),
        (DeviceState::Up, 1, 4, 4)
    );
    assert_eq!(serde_json::to_value(&device.streams[1].last_good).unwrap()["value"], -0.2);

    // The next poll comes after the interval, with new values and a new time, over the same connection.
    rig.nothing_delivered();
    bank.set_registers(Table::Input, 7, &[5, 6]);
    rig.clock.set(2_000);
    advance(1_000).await;
    let readings = brief(&rig.readings().await);
    assert!(readings.contains(&(2, Value::Int(6), Quality::Good, 0, 2_000)), "{readings:?}");
    assert_eq!(rig.polls(2).await.connections, 1);
    assert_eq!(bank.requests(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_off_at_the_start_stops_nothing_and_is_read_when_it_comes() {
    let (listener, address) = listen().await;
    let bank = Arc::new(Bank::new(6_000));
    let _server = start_server(listener, &bank);
    // Bound and not listening: connections are refused, and nobody else gets the port.
    let off = reserve("127.0.0.1:0".parse().unwrap());
    let off_address = off.local_addr().unwrap();
    let other = two_registers(address)
        .replace("\"plc\"", "\"other\"")
        .replace("\"a\"", "\"c\"")
        .replace("\"b\"", "\"d\"");
    let mut rig = Rig::new(&format!("{}{other}", two_registers(off_address)));

    let mut from_other = 0;
    for attempt in 1..=6 {
        let dead = rig.polls(attempt).await;
        assert_eq!((dead.state, dead.errors.unreachable, dead.requests), (DeviceState::Down, attempt, 0));
        assert!(dead.error.unwrap().contains("no connection"));
        assert!(dead.next_attempt_ns.unwrap() > 1_000);
        from_other += rig.readings().await.iter().filter(|r| r.stream.0 >= 2).count();
        advance_past_backoff().await;
    }
    assert_eq!(from_other, 12, "the device beside it is read all the time");
    assert!(
        rig.device().streams.iter().all(|stream| stream.last.is_none()),
        "nothing was ever said, so nothing is stale"
    );

    bank.set_registers(Table::Holding, 100, &[42]);
    let _server = start_server(off.listen(8).unwrap(), &bank);
    rig.polls(7).await; // the attempt that the last advance began may have been refused still
    advance_past_backoff().await;
    rig.until("an answer", |device| device.state == DeviceState::Up).await;
    let mut values = Vec::new();
    while let Ok(delivery) = rig.deliveries.try_recv() {
        values.extend(brief(&delivery.readings));
    }
    assert!(values.contains(&good(0, 42, 1_000)), "{values:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_server_restarts_each_stream_is_stale_once_and_then_read_again() {
    let (log, _guard) = Log::listen();
    let first = reserve("127.0.0.1:0".parse().unwrap());
    let address = first.local_addr().unwrap();
    let second = reserve(address);
    let bank = Arc::new(Bank::new(6_000));
    bank.set_registers(Table::Holding, 100, &[7]);
    bank.set_registers(Table::Holding, 5_000, &[8]);
    let server = start_server(first.listen(8).unwrap(), &bank);
    let mut rig = Rig::new(&two_registers(address));
    assert_eq!(brief(&rig.readings().await), [good(0, 7, 1_000), good(1, 8, 1_000)]);
    rig.polls(1).await;

    server.cancel();
    rig.clock.set(2_000);
    advance(1_000).await;
    let readings = rig.readings().await;
    let closed = status_code::CLOSED;
    assert_eq!(
        brief(&readings),
        [stale(0, 7, closed, 1_000), stale(1, 8, closed, 1_000)],
        "old value, old time"
    );
    assert!(readings.iter().all(|r| r.receive_time_ns == 2_000));
    for attempt in 3..=10 {
        rig.polls(attempt - 1).await;
        rig.clock.set(1_000 * attempt as i64);
        advance_past_backoff().await;
    }
    let dead = rig.polls(10).await;
    rig.nothing_delivered();
    assert_eq!((dead.state, dead.errors.closed, dead.errors.unreachable), (DeviceState::Down, 1, 8));
    assert!(dead.streams.iter().all(|stream| stream.stale));
    assert_eq!(log.lines_with("device does not answer"), 1, "one line when the state changes");
    let still = log.lines_with("device still does not answer");
    assert!((7..=8).contains(&still), "{still} lines in eight minutes: at most one a minute");

    bank.set_registers(Table::Holding, 100, &[9]);
    let _server = start_server(second.listen(8).unwrap(), &bank);
    rig.clock.set(90_000);
    advance_past_backoff().await;
    assert_eq!(brief(&rig.readings().await), [good(0, 9, 90_000), good(1, 8, 90_000)]);
    let device = rig.polls(11).await;
    assert_eq!((device.state, device.connections), (DeviceState::Up, 2));
    assert!(!device.streams[0].stale);
    assert_eq!(log.lines_with("device answers"), 2, "at the start and now");
}

#[tokio::test(start_paused = true)]
async fn a_poll_never_overlaps_itself_and_what_is_missed_is_counted() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address).replace("\"1s\"", "\"100ms\""));
    let mut device = accept(&listener).await;
    let first = asked(&mut device).await.unwrap();
    // Within the time-out, but longer than three intervals. The second answer makes the poll end.
    advance(350).await;
    let mut byte = [0; 1];
    assert!(device.try_read(&mut byte).is_err(), "no second request while the first is not answered");
    send(&mut device, &answer(first, &[1])).await;
    let second = asked(&mut device).await.unwrap();
    assert_eq!((first.start, second.start), (100, 5_000));
    send(&mut device, &answer(second, &[2])).await;
    assert_eq!(brief(&rig.readings().await), [good(0, 1, 1_000), good(1, 2, 1_000)]);
    let figures = rig.polls(1).await;
    assert_eq!(figures.polls_skipped_late, 3, "those due after 100, 200 and 300 ms");
    assert_eq!(figures.round_trip.max_us, 350_000);
    // The next is due after 400 ms, on the grid of the first. It begins 20 ms late.
    advance(49).await;
    assert!(device.try_read(&mut byte).is_err(), "not before it is due");
    advance(21).await;
    asked(&mut device).await.unwrap();
    let lateness = rig.device().lateness.last_us;
    assert!((19_000..=21_000).contains(&lateness), "{lateness}");
}

#[tokio::test(start_paused = true)]
async fn with_a_full_queue_polls_are_skipped_and_counted() {
    let (listener, address) = listen().await;
    let bank = Arc::new(Bank::new(6_000));
    let _server = start_server(listener, &bank);
    let mut rig = Rig::with_queue(&two_registers(address), 1);
    rig.polls(1).await;
    for skipped in 1..=5 {
        advance(1_000).await;
        rig.until("a skipped poll", |device| device.polls_skipped_full == skipped).await;
    }
    assert_eq!(bank.requests(), 2, "the device is not read for nothing");
    assert_eq!((rig.device().readings, rig.device().readings_dropped), (2, 0));
    rig.readings().await;
    advance(1_000).await;
    rig.polls(2).await;
    assert_eq!(rig.readings().await.len(), 2, "and goes on when there is room");
}

#[tokio::test(start_paused = true)]
async fn stopping_closes_a_connection_with_a_request_in_flight() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&two_registers(address));
    let mut device = accept(&listener).await;
    asked(&mut device).await.unwrap();
    rig.stop.cancel();
    closed_by_client(&mut device).await;
    let devices = rig.devices.clone();
    rig.supervisor.stopped().await;
    assert_eq!(devices.snapshots()[0].state, DeviceState::Stopped);
    assert!(rig.deliveries.recv().await.is_none(), "the queue ends when the last adapter has");
}

#[tokio::test(start_paused = true)]
async fn a_refused_address_costs_only_the_streams_that_lie_there() {
    let (log, _guard) = Log::listen();
    let (listener, address) = listen().await;
    // Addresses end at 110: 100 and 108 are there, 112 is not.
    let bank = Arc::new(Bank::new(110));
    bank.set_registers(Table::Holding, 100, &[1]);
    bank.set_registers(Table::Holding, 108, &[2]);
    let _server = start_server(listener, &bank);
    let text = format!(
        "{}[[device.stream]]\nname = \"c\"\nregister = \"holding:108\"\ntype = \"u16\"\n",
        two_registers(address)
    )
    .replace("holding:5000", "holding:112")
    .replace("timeout", "max_gap = 8\ntimeout");
    let mut rig = Rig::new(&text);
    let mut readings = brief(&rig.readings().await);
    readings.sort_by_key(|reading| reading.0);
    let refused = (1, Value::None, Quality::Bad, 2, 1_000);
    assert_eq!(readings, [good(0, 1, 1_000), refused, good(2, 2, 1_000)]);
    let device = rig.polls(1).await;
    assert_eq!((device.state, device.connections), (DeviceState::Degraded, 1));
    let why = device.error.unwrap();
    assert!(
        why.contains("1 of 3 streams; holding 112 to 112") && why.contains("illegal data address"),
        "{why}"
    );
    let asked_so_far = bank.requests();
    advance(1_000).await;
    rig.polls(2).await;
    assert_eq!(bank.requests() - asked_so_far, 3, "it is not asked for all of it again");
    assert_eq!(log.lines_with("smaller requests"), 1);
    assert_eq!(log.lines_with("device refuses part"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_server_of_the_demo_refuses_what_it_has_not() {
    let (listener, address) = listen().await;
    let bank = Arc::new(Bank::new(10));
    let stop = start_server(listener, &bank);
    let _time = super::support::HeldTime::new();
    let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
    for (body, expected) in [
        (vec![3, 0, 9, 0, 1], vec![3, 2, 0, 0]),
        (vec![3, 0, 9, 0, 2], vec![0x83, 2]),
        (vec![4, 0, 0, 0, 126], vec![0x84, 3]),
        (vec![1, 0, 0, 0, 0], vec![0x81, 3]),
        (vec![6, 0, 0, 0, 1], vec![0x86, 1]),
        (vec![5, 0, 0, 0xFF, 0], vec![0x85, 1]),
    ] {
        send(&mut client, &super::support::frame(77, 3, &body)).await;
        let expected = super::support::frame(77, 3, &expected);
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected, "asked {body:?}");
    }
    stop.cancel();
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0, "stopping closes its connections");
}
