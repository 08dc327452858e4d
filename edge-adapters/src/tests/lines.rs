//! Units that share a line, polling groups, and RTU: the test is the device, and time is moved by hand.

use std::fmt::Write as _;

use selvedge_core::reading::{Quality, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::support::{
    Rig, accept, advance, advance_past_backoff, answer, asked, brief, cases, frame, listen, send,
};
use crate::backoff::SplitMix;
use crate::health::DeviceState;
use crate::mapping::{Encoding, Kind, Order, decode_registers};
use crate::modbus::encode::encode_registers;
use crate::status_code;

fn table(
    name: &str,
    protocol: &str,
    address: impl std::fmt::Display,
    more: &str,
    registers: &[u16],
) -> String {
    let mut text = format!(
        "[[device]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\naddress = \"{address}\"\ntimeout = \"500ms\"\n{more}\n"
    );
    for register in registers {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "[[device.stream]]\nname = \"{name}/{register}\"\nregister = \"holding:{register}\"\ntype = \"u16\""
        );
    }
    text
}

/// A gateway whose living units answer. Of the others it says nothing, or after a while that they are dead.
pub(super) async fn units_of_which_some_are_alive(
    listener: TcpListener,
    is_alive: impl Fn(u8) -> bool,
    says_so_after_ms: Option<u64>,
) {
    loop {
        let Ok((mut socket, _)) = listener.accept().await else { return };
        while let Some(asked) = asked_for_ever(&mut socket).await {
            if is_alive(asked.unit) {
                let _ = socket.write_all(&answer(asked, &[7])).await;
            } else if let Some(ms) = says_so_after_ms {
                tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
                let silent = frame(asked.transaction, asked.unit, &[0x83, 11]);
                let _ = socket.write_all(&silent).await;
            }
        }
    }
}

async fn asked_for_ever(socket: &mut TcpStream) -> Option<super::support::Asked> {
    socket.readable().await.ok()?;
    asked(socket).await
}

/// Complaint 2: one dead device stops the others. Twelve dead units on the line of a living one.
#[tokio::test(start_paused = true)]
async fn dead_units_take_no_more_than_a_tenth_of_the_line_and_stay_out_of_the_way() {
    dead_units_stay_out_of_the_way(None).await;
}

/// Story: behind a gateway in front of a serial line twelve meters are switched off. The gateway waits for each, and then says
/// so (exception 11): an answer, and the line was not free for anybody until it came.
#[tokio::test(start_paused = true)]
async fn units_that_a_gateway_calls_dead_take_no_more_than_a_tenth_of_the_line_either() {
    dead_units_stay_out_of_the_way(Some(450)).await;
}

async fn dead_units_stay_out_of_the_way(says_so_after_ms: Option<u64>) {
    const DEAD: u64 = 12;
    let (listener, address) = listen().await;
    let gateway = tokio::spawn(units_of_which_some_are_alive(listener, |unit| unit == 1, says_so_after_ms));
    let mut text = table("alive", "modbus-tcp", address, "unit_id = 1", &[5]);
    for unit in 2..2 + DEAD {
        text += &table(&format!("dead{unit}"), "modbus-tcp", address, &format!("unit_id = {unit}"), &[5]);
    }
    let mut rig = Rig::new(&text);
    let step = async |rig: &mut Rig, milliseconds: u64| {
        for _ in 0..milliseconds / 50 {
            advance(50).await;
            for _ in 0..60 {
                tokio::task::yield_now().await;
            }
            while rig.deliveries.try_recv().is_ok() {}
        }
    };
    let attempts = |rig: &Rig| rig.devices.snapshots()[1..].iter().map(|device| device.requests).sum::<u64>();
    // The first attempts of all are not held back.
    step(&mut rig, 10_000).await;
    let (first, before) = (attempts(&rig), rig.device());
    assert!(first >= DEAD, "each was tried: {first}");
    step(&mut rig, 120_000).await;
    let (later, after) = (attempts(&rig), rig.device());
    // 450 or 500 ms each: a tenth of two minutes are 26 of them at most.
    assert!((later - first) <= 26, "{} attempts in two minutes", later - first);
    assert!((later - first) >= 6, "they are tried still: {} attempts", later - first);
    assert_eq!(after.polls_skipped_late, before.polls_skipped_late, "the living unit misses no poll");
    assert_eq!(after.polls - before.polls, 120, "the living unit is polled each second");
    assert!(after.lateness.mean_us < 60_000, "its polls begin when they are due: {:?}", after.lateness);
    let dead = &rig.devices.snapshots()[1];
    assert_eq!(dead.state, DeviceState::Down);
    assert!(dead.next_attempt_ns.is_some());
    gateway.abort();
}

#[tokio::test(start_paused = true)]
async fn streams_with_an_interval_of_their_own_are_read_at_it_and_planned_together() {
    let (listener, address) = listen().await;
    let text = table("plc", "modbus-tcp", address, "poll_interval = \"5s\"", &[10, 11, 20])
        .replace("name = \"plc/20\"", "name = \"plc/20\"\npoll_interval = \"1s\"");
    let rig = Rig::new(&text);
    let mut device = accept(&listener).await;
    let mut seen = Vec::new();
    for second in 0..=10 {
        let expected = if second % 5 == 0 { 2 } else { 1 };
        for _ in 0..expected {
            let asked = asked(&mut device).await.expect("a request");
            seen.push((second, asked.start, asked.count));
            send(&mut device, &answer(asked, &vec![1; asked.count.into()])).await;
        }
        let polls = seen.len() as u64;
        rig.polls(polls).await;
        advance(1_000).await;
    }
    let slow: Vec<_> = seen.iter().filter(|(_, start, _)| *start == 10).collect();
    assert_eq!(slow, [&(0, 10, 2), &(5, 10, 2), &(10, 10, 2)]);
    assert_eq!(seen.iter().filter(|(_, start, count)| (*start, *count) == (20, 1)).count(), 11);
}

/// CRC-16/MODBUS, bit by bit.
fn check_sum(bytes: &[u8]) -> [u8; 2] {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xA001 } else { crc >> 1 };
        }
    }
    crc.to_le_bytes()
}

fn rtu(unit: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![unit];
    frame.extend(body);
    frame.extend(check_sum(&frame));
    frame
}

/// The next request of one register: unit and address. `None` when the client closed.
async fn asked_rtu(socket: &mut TcpStream) -> Option<(u8, u16)> {
    let mut frame = [0; 8];
    super::support::soon("a request, or the end", socket.read_exact(&mut frame)).await.ok()?;
    assert_eq!(frame[6..], check_sum(&frame[..6]), "{frame:02x?}");
    Some((frame[0], u16::from_be_bytes([frame[2], frame[3]])))
}

/// A connection over which questions may come: the line was silent for as long as an answer may take.
async fn accept_silent(rig: &Rig, listener: &TcpListener) -> TcpStream {
    let before = rig.device().connections;
    let device = accept(listener).await;
    rig.until("connected", |device| device.connections > before).await;
    advance(500).await;
    device
}

fn rtu_answer((unit, address): (u8, u16)) -> Vec<u8> {
    let value = address + 1_000;
    rtu(unit, &[3, 2, (value >> 8) as u8, value as u8])
}

/// Complaint 4 on RTU, where no answer names its question. The answer for register 50 comes after the time-out; the next
/// question is for register 5 and would take it for its own.
#[tokio::test(start_paused = true)]
async fn on_rtu_a_late_answer_is_listened_to_until_silence_and_belongs_to_nobody() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&table("u", "modbus-rtu-over-tcp", address, "", &[5, 50]));
    let mut device = accept_silent(&rig, &listener).await;
    let first = asked_rtu(&mut device).await.unwrap();
    send(&mut device, &rtu_answer(first)).await;
    let late = asked_rtu(&mut device).await.unwrap();
    assert_eq!(late.1, 50);
    advance(500).await;
    rig.until("the time-out is being waited out", |device| device.requests == 2).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.device().polls, 0, "the line is listened to still");
    advance(400).await;
    send(&mut device, &rtu_answer(late)).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    advance(400).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.device().polls, 0, "silent for the whole time-out means since the last byte");
    advance(100).await;
    rig.polls(1).await;
    assert_eq!(asked_rtu(&mut device).await, None, "a device server is connected to anew");
    advance_past_backoff().await;
    let mut device = accept_silent(&rig, &listener).await;
    for _ in 0..2 {
        let asked = asked_rtu(&mut device).await.unwrap();
        send(&mut device, &rtu_answer(asked)).await;
    }
    rig.polls(2).await;
    let mut values = Vec::new();
    while let Ok(delivery) = rig.deliveries.try_recv() {
        values.extend(brief(&delivery.readings));
    }
    let (good, stale) = (Quality::Good, Quality::Stale);
    let five = Value::Unsigned(1_005);
    assert_eq!(
        values,
        [
            (0, five.clone(), good, 0, 1_000),
            (0, five.clone(), stale, status_code::TIMEOUT, 1_000),
            (0, five, good, 0, 1_000),
            (1, Value::Unsigned(1_050), good, 0, 1_000),
        ]
    );
}

/// An adapter that was restarted knows nothing of the question of the one before it. The answer to that one, for register
/// 102, comes over the new connection, where the first question is for register 5 and would take it.
#[tokio::test(start_paused = true)]
async fn on_rtu_a_line_is_listened_to_before_it_is_first_asked() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&table("u", "modbus-rtu-over-tcp", address, "", &[5]));
    let mut device = accept(&listener).await;
    rig.until("connected", |device| device.connections == 1).await;
    advance(400).await;
    send(&mut device, &rtu_answer((1, 102))).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    advance(400).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.device().requests, 0, "silent for the whole time-out means since the last byte");
    advance(100).await;
    let asked = asked_rtu(&mut device).await.unwrap();
    send(&mut device, &rtu_answer(asked)).await;
    rig.polls(1).await;
    let seen = brief(&rig.readings().await);
    assert_eq!(seen, [(0, Value::Unsigned(1_005), Quality::Good, 0, 1_000)]);
}

/// A line that was late without anybody noticing: its answers come two at a time, the first for the question before.
#[tokio::test(start_paused = true)]
async fn on_rtu_an_answer_with_another_frame_behind_it_is_no_answer() {
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&table("u", "modbus-rtu-over-tcp", address, "", &[5]));
    let mut device = accept_silent(&rig, &listener).await;
    let asked = asked_rtu(&mut device).await.unwrap();
    let both = [rtu_answer((asked.0, 50)), rtu_answer(asked)].concat();
    send(&mut device, &both).await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    advance(500).await;
    let figures = rig.polls(1).await;
    assert_eq!((figures.state, figures.errors.protocol), (DeviceState::Down, 1), "{:?}", figures.error);
    rig.nothing_delivered();
}

#[tokio::test(start_paused = true)]
async fn on_rtu_random_bytes_are_never_a_value() {
    const SEED: u64 = 41;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let (listener, address) = listen().await;
    let mut rig = Rig::new(&table("u", "modbus-rtu-over-tcp", address, "", &[5]));
    for poll in 1..=200 {
        let mut device = accept_silent(&rig, &listener).await;
        let asked = asked_rtu(&mut device).await.unwrap();
        let mut bytes: Vec<u8> = (0..random.next() % 40).map(|_| random.next() as u8).collect();
        match random.next() % 4 {
            // Another unit, another function, another length: right frames, wrong answers.
            0 => bytes = rtu(asked.0 + 1, &[3, 2, 1, 2]),
            1 => bytes = rtu(asked.0, &[4, 2, 1, 2]),
            2 => bytes = rtu(asked.0, &[3, 4, 1, 2, 3, 4]),
            _ => {}
        }
        send(&mut device, &bytes).await;
        drop(device);
        let figures = rig.polls(poll).await;
        assert_eq!(figures.errors.protocol + figures.errors.closed, poll, "{bytes:02x?}");
        rig.nothing_delivered();
        advance_past_backoff().await;
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    const SEED: u64 = 42;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let kinds = [
        Kind::Bool,
        Kind::I16,
        Kind::U16,
        Kind::I32,
        Kind::U32,
        Kind::I64,
        Kind::U64,
        Kind::F32,
        Kind::F64,
        Kind::Text(7),
    ];
    for case in 0..cases() {
        let kind = kinds[random.next() as usize % kinds.len()];
        let orders = Order::choices(kind);
        let order =
            orders.get(random.next() as usize % orders.len().max(1)).map_or(Order::default(), |(_, o)| *o);
        let encoding = Encoding { kind, order, not_available: Vec::new(), bit: None };
        let registers: Vec<u16> = (0..kind.registers()).map(|_| random.next() as u16).collect();
        let decoded = decode_registers(&encoding, &registers);
        if decoded.quality != Quality::Good {
            continue; // a NaN, an infinity, a text that is none
        }
        let encoded = encode_registers(&encoding, &decoded.value)
            .unwrap_or_else(|why| panic!("seed {SEED} case {case}: {kind} {:?}: {why}", decoded.value));
        assert_eq!(decode_registers(&encoding, &encoded).value, decoded.value, "seed {SEED} case {case}");
        if !matches!(kind, Kind::Bool | Kind::Text(_)) {
            assert_eq!(encoded, registers, "seed {SEED} case {case}: {kind}");
        }
        // Never a value of another kind, and never the mark for "not available".
        assert!(encode_registers(&encoding, &Value::Bytes(vec![1])).is_err());
        if let Some(bits) = kind.number_bits().filter(|_| kind != Kind::F32 && kind != Kind::F64) {
            let Value::Int(int) = decoded.value else { continue };
            let mark = int as u64 & (u64::MAX >> (64 - bits));
            let marked = Encoding { not_available: vec![mark], ..encoding };
            assert!(encode_registers(&marked, &decoded.value).is_err(), "seed {SEED} case {case}");
        }
    }
}

#[test]
fn what_does_not_fit_is_not_written() {
    let plain = |kind| Encoding { kind, order: Order::default(), not_available: Vec::new(), bit: None };
    for (kind, value) in [
        (Kind::U16, Value::Int(-1)),
        (Kind::U16, Value::Int(65_536)),
        (Kind::I16, Value::Int(32_768)),
        (Kind::U64, Value::Int(-1)),
        (Kind::I64, Value::Unsigned(1 << 63)),
        (Kind::U16, Value::Float(1.0)),
        (Kind::F32, Value::Float(1e39)),
        (Kind::F64, Value::Int(i64::MAX)),
        (Kind::Text(3), Value::Text("four".into())),
        (Kind::U8, Value::Unsigned(1)),
        (Kind::Bit(3), Value::Bool(true)),
    ] {
        assert!(encode_registers(&plain(kind), &value).is_err(), "{value:?} into {kind}");
    }
}

/// Bit 20 of a number of 32 bits, wherever the order of its words puts it; and not available when the number is not.
#[test]
fn named_bits_are_bits_of_the_number_whatever_its_order() {
    const SEED: u64 = 43;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    for kind in [Kind::U8, Kind::U16, Kind::U32, Kind::U64] {
        for (_, order) in Order::choices(kind) {
            for _ in 0..2_000 {
                let registers: Vec<u16> = (0..kind.registers()).map(|_| random.next() as u16).collect();
                let whole = Encoding { kind, order: *order, not_available: Vec::new(), bit: None };
                let Value::Unsigned(number) = decode_registers(&whole, &registers).value else { panic!() };
                let bit = (random.next() % u64::from(kind.number_bits().unwrap())) as u8;
                let one = Encoding { bit: Some(bit), ..whole.clone() };
                let expected = Value::Bool(number >> bit & 1 == 1);
                assert_eq!(
                    decode_registers(&one, &registers).value,
                    expected,
                    "bit {bit} of {registers:04x?}"
                );
                let marked = Encoding { not_available: vec![number], ..one };
                assert_eq!(decode_registers(&marked, &registers).quality, Quality::NotAvailable);
            }
        }
    }
}
