//! Devices that refuse some of what they are asked for. Real TCP connections; the test is the device.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use selvedge_core::reading::{Quality, Value};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::support::{Asked, Rig, accept, advance, answer, asked, brief, frame, listen, send};
use crate::health::DeviceState;

/// A device that refuses with one code all requests that are not as it likes them, and counts what it is asked. A register
/// holds its own address.
fn device(listener: TcpListener, code: u8, likes: fn(Asked) -> bool) -> (Arc<AtomicU64>, JoinHandle<()>) {
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    let serving = tokio::spawn(async move {
        let mut socket = accept(&listener).await;
        while let Some(request) = asked(&mut socket).await {
            counted.fetch_add(1, Ordering::Relaxed);
            let words: Vec<u16> = (request.start..).take(request.count.into()).collect();
            let refusal = frame(request.transaction, request.unit, &[request.function | 0x80, code]);
            let bytes = if likes(request) { answer(request, &words) } else { refusal };
            send(&mut socket, &bytes).await;
        }
    });
    (requests, serving)
}

fn streams(address: impl std::fmt::Display, more: &str, registers: impl Iterator<Item = u16>) -> String {
    let streams = registers.map(|at| {
        format!("[[device.stream]]\nname = \"r{at}\"\nregister = \"holding:{at}\"\ntype = \"u16\"\n")
    });
    format!(
        "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\n{more}\n{}",
        streams.collect::<String>()
    )
}

/// What the streams say, in their order: a number, or the code by which there is none.
fn said(readings: &[selvedge_core::border::NewReading]) -> Vec<Result<u64, u32>> {
    let mut brief = brief(readings);
    brief.sort_by_key(|reading| reading.0);
    let one = |(_, value, quality, status, _)| match (value, quality) {
        (Value::Unsigned(value), Quality::Good) => Ok(value),
        (Value::None, Quality::Bad) => Err(status),
        other => panic!("{other:?}"),
    };
    brief.into_iter().map(one).collect()
}

/// Both registers can be read by themselves; it is the gateway that asks for what lies between them (`max_gap = 8`, as in
/// the example). Devices refuse that by "illegal data address", as the standard says, and also by "illegal data value",
/// "device failure" (pymodbus) and "illegal function". Once only code 2 made the gateway ask for less: of all others both
/// streams were bad for as long as it ran.
#[tokio::test(start_paused = true)]
async fn what_nobody_asked_for_costs_nobody_a_value_whatever_the_device_calls_it() {
    for code in [1, 2, 3, 4] {
        let (listener, address) = listen().await;
        let (requests, device) = device(listener, code, |request| request.count == 1);
        let mut rig = Rig::new(&streams(address, "max_gap = 8", [100, 108].into_iter()));
        assert_eq!(said(&rig.readings().await), [Ok(100), Ok(108)], "exception {code}");
        assert_eq!(rig.polls(1).await.state, DeviceState::Up, "exception {code}");
        advance(1_000).await;
        assert_eq!(said(&rig.readings().await), [Ok(100), Ok(108)], "exception {code}");
        assert_eq!(requests.load(Ordering::Relaxed), 3 + 2, "exception {code}: learnt once");
        device.abort();
    }
}

/// One of 64 registers in a row is not there. The others are still read, and not one by one from then on: on a serial
/// line of 9600 baud 64 requests take longer than the second in which they should come.
#[tokio::test(start_paused = true)]
async fn of_many_registers_in_a_row_one_that_is_refused_costs_a_few_requests() {
    for code in [2, 3] {
        let (listener, address) = listen().await;
        let (requests, device) =
            device(listener, code, |asked| !(asked.start..asked.start + asked.count).contains(&37));
        let mut rig = Rig::new(&streams(address, "", 0..64));
        let expected: Vec<Result<u64, u32>> =
            (0..64).map(|at| if at == 37 { Err(code.into()) } else { Ok(at) }).collect();
        assert_eq!(said(&rig.readings().await), expected);
        let before = requests.load(Ordering::Relaxed);
        advance(1_000).await;
        assert_eq!(said(&rig.readings().await), expected);
        assert_eq!(
            requests.load(Ordering::Relaxed) - before,
            7,
            "32, 16, 8, 4, 2 and 1 that answer, and one"
        );
        device.abort();
    }
}

/// A device that takes fewer registers in a request than the standard allows, and nobody set `max_registers`: it refuses the
/// count with "illegal data value". It is asked for as many as it takes.
#[tokio::test(start_paused = true)]
async fn a_device_that_takes_fewer_registers_at_once_is_asked_for_fewer() {
    let (listener, address) = listen().await;
    let (requests, device) = device(listener, 3, |request| request.count <= 16);
    let mut rig = Rig::new(&streams(address, "", 0..64));
    let expected: Vec<Result<u64, u32>> = (0..64).map(Ok).collect();
    assert_eq!(said(&rig.readings().await), expected);
    let before = requests.load(Ordering::Relaxed);
    advance(1_000).await;
    assert_eq!(said(&rig.readings().await), expected);
    assert_eq!(requests.load(Ordering::Relaxed) - before, 4);
    device.abort();
}

/// An inverter at night answers everything with "device failure". That says nothing of places: what is beside one another
/// goes on being asked for at once, and is read so again in the morning.
#[tokio::test(start_paused = true)]
async fn a_failing_device_is_not_asked_one_by_one() {
    for code in [1, 4, 5, 6, 8] {
        let (listener, address) = listen().await;
        let (requests, device) = device(listener, code, |_| false);
        let mut rig = Rig::new(&streams(address, "max_gap = 8", 0..8));
        for poll in 1..=3 {
            assert_eq!(said(&rig.readings().await), [Err(u32::from(code)); 8]);
            rig.polls(poll).await;
            assert_eq!(requests.load(Ordering::Relaxed), poll, "exception {code}");
            advance(1_000).await;
        }
        device.abort();
    }
}
