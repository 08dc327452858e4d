//! A write on a line that is in use, to a unit that is dead, or under way when its device is taken out: the test is the
//! device.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio_util::sync::CancellationToken;

use super::lines::units_of_which_some_are_alive;
use super::support::{Asked, HeldTime, accept, advance, answer, asked, frame, listen, send, soon};
use crate::adapter::{Source, all_streams};
use crate::clock::{Clock, SystemClock};
use crate::config::sources;
use crate::health::{DeviceSnapshot, DeviceState};
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Supervisor};
use crate::write::{Arming, Written};

const READ: u8 = 3;
const WRITE_ONE: u8 = 6;
const BUSY: u8 = 1;
const VALVE: u8 = 2;

/// Two units on one line: `valve`, which may be written, and `busy`.
struct Gateway {
    _folder: tempfile::TempDir,
    _time: HeldTime,
    arming: Arming,
    supervisor: Supervisor,
    /// What became durable.
    readings: Arc<Mutex<Vec<NewReading>>>,
}

/// The end of the line at which the units are.
struct Units {
    line: TcpStream,
    _listener: TcpListener,
}

impl Gateway {
    /// Reads the units at this address at these intervals.
    fn new(address: SocketAddr, valve: &str, busy: &str) -> Self {
        let time = HeldTime::new();
        let unit = |name: &str, unit: u8, interval: &str| {
            format!(
                "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\nunit_id = {unit}\n\
                 poll_interval = \"{interval}\"\ntimeout = \"500ms\"\n\
                 [[device.stream]]\nname = \"{name}/s\"\nregister = \"holding:7\"\ntype = \"u16\"\n"
            )
        };
        let write = "[device.stream.write]\nmin = 0\nmax = 100\n";
        let toml = [unit("valve", VALVE, valve), write.to_owned(), unit("busy", BUSY, busy)].concat();
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let arming = Arming::new(folder.path().join("armed.toml"), Arc::clone(&clock));
        arming.arm(&["valve".to_owned()], Duration::from_mins(10)).expect("armed");
        let mut next = (0..).map(StreamHandle);
        let devices = sources(&toml).expect("a right configuration").into_iter().map(|source| {
            let streams = next.by_ref().take(all_streams(&*source).len()).collect();
            Device { source, streams }
        });
        let (sender, deliveries) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let armable = Some(arming.clone());
        let supervisor = Supervisor::start_armable(devices.collect(), &sender, &clock, 7, &stop, armable);
        let readings = Arc::default();
        // The sender is kept, as by a node whose configuration may change.
        tokio::spawn(keep(deliveries, sender, Arc::clone(&readings)));
        Self { _folder: folder, _time: time, arming, supervisor, readings }
    }

    /// With units that were read once.
    async fn start(valve: &str, busy: &str) -> (Self, Units) {
        let (listener, address) = listen().await;
        let gateway = Self::new(address, valve, busy);
        let mut units = Units { line: accept(&listener).await, _listener: listener };
        for _ in 0..2 {
            let first = units.asked().await;
            send(&mut units.line, &answer(first, &[0])).await;
        }
        gateway.settle().await;
        (gateway, units)
    }

    /// With a write of 50 to the valve that waits, since the line carries a question to its neighbour.
    async fn with_a_write_that_waits() -> (Self, Units, Asked, JoinHandle<Written>) {
        let (gateway, mut units) = Self::start("1h", "1s").await;
        advance(1_000).await;
        let neighbour = units.asked().await;
        assert_eq!((neighbour.unit, neighbour.function), (BUSY, READ));
        let writing = gateway.write(50);
        gateway.settle().await;
        assert_eq!((gateway.stages(), writing.is_finished()), (vec!["asked".to_owned()], false), "it waits");
        (gateway, units, neighbour, writing)
    }

    /// Lets everything go on that needs no time.
    async fn settle(&self) {
        for _ in 0..2_000 {
            yield_now().await;
        }
    }

    fn write(&self, value: i64) -> JoinHandle<Written> {
        let desk = self.supervisor.desk();
        tokio::spawn(async move {
            desk.write("valve/s", Value::Int(value), "test").await.expect("allowed and armed").written
        })
    }

    /// How it is with the valve.
    fn valve(&self) -> DeviceSnapshot {
        self.supervisor.devices().snapshots().swap_remove(0)
    }

    /// The stages of the attempts that became durable.
    fn stages(&self) -> Vec<String> {
        let readings = self.readings.lock().expect("no panic");
        let texts = readings.iter().filter_map(|reading| match &reading.value {
            Value::Text(text) => Some(serde_json::from_str::<serde_json::Value>(text).expect("JSON")),
            _ => None,
        });
        texts.map(|line| line["stage"].as_str().expect("a stage").to_owned()).collect()
    }
}

impl Units {
    async fn asked(&mut self) -> Asked {
        asked(&mut self.line).await.expect("the line is open")
    }

    /// The unit takes the value.
    async fn take(&mut self, write: Asked) {
        assert_eq!((write.unit, write.function, write.start), (VALVE, WRITE_ONE, 7));
        let [high, low] = write.count.to_be_bytes();
        send(&mut self.line, &frame(write.transaction, VALVE, &[WRITE_ONE, 0, 7, high, low])).await;
    }

    /// The unit takes the value, and holds it when it is asked.
    async fn confirm(&mut self, write: Asked) {
        self.take(write).await;
        let back = self.asked().await;
        assert_eq!((back.unit, back.function, back.start), (VALVE, READ, 7));
        send(&mut self.line, &answer(back, &[write.count])).await;
    }
}

async fn keep(
    mut deliveries: mpsc::Receiver<Delivery>,
    _sender: mpsc::Sender<Delivery>,
    readings: Arc<Mutex<Vec<NewReading>>>,
) {
    while let Some(Delivery { readings: new, ack, .. }) = deliveries.recv().await {
        readings.lock().expect("no panic").extend(new);
        let _ = ack.map(|ack| ack.send(()));
    }
}

/// Story: somebody writes, sees that it was a mistake, and disarms the gateway. The write still waits, since another unit of
/// the line has not answered yet. It must not go out after that.
#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_the_line_is_not_made_when_the_gateway_is_disarmed_meanwhile() {
    let (gateway, mut units, neighbour, writing) = Gateway::with_a_write_that_waits().await;
    gateway.arming.disarm().expect("disarmed");
    send(&mut units.line, &answer(neighbour, &[0])).await;
    let written = soon("what became of it", writing).await.expect("no panic");
    assert!(matches!(&written, Written::Refused { status: status_code::NOT_ARMED, .. }), "{written:?}");
    // The next that the line carries is a question.
    advance(1_000).await;
    let next = units.asked().await;
    assert_eq!((next.unit, next.function), (BUSY, READ));
    assert_eq!(gateway.stages(), ["asked", "refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_the_line_is_made_when_the_gateway_stays_armed() {
    let (_gateway, mut units, neighbour, writing) = Gateway::with_a_write_that_waits().await;
    send(&mut units.line, &answer(neighbour, &[0])).await;
    let write = units.asked().await;
    assert_eq!(write.count, 50);
    units.confirm(write).await;
    let written = soon("what became of it", writing).await.expect("no panic");
    assert_eq!(written, Written::Confirmed { read_back: Value::Unsigned(50) });
}

/// Story: a valve is told to open, and in the same second somebody takes its table out of the configuration. The valve is
/// open; a ledger that says "asked" and nothing more, or "nobody knows", leaves that open for ever.
#[tokio::test(start_paused = true)]
async fn a_write_that_has_begun_is_ended_and_recorded_before_its_device_is_taken_out() {
    let (mut gateway, mut units) = Gateway::start("1h", "1s").await;
    let writing = gateway.write(50);
    let write = units.asked().await;
    let busy: Vec<Arc<dyn Source>> = gateway.supervisor.source("busy").cloned().into_iter().collect();
    let none = async |_: &Arc<dyn Source>| Ok::<_, ()>(Vec::new());
    let change = gateway.supervisor.change(busy, none);
    let device = async {
        for _ in 0..2_000 {
            yield_now().await;
        }
        units.confirm(write).await;
    };
    let (changes, ()) = soon("the change", async { tokio::join!(change, device) }).await;
    assert_eq!(changes.expect("a change").removed, ["valve"]);
    assert_eq!(gateway.stages(), ["asked", "confirmed"], "recorded when the change is over");
    assert_eq!(writing.await.expect("no panic"), Written::Confirmed { read_back: Value::Unsigned(50) });
}

/// Story: a write to the valve waits for the line, and its table is taken out of the configuration. The poll that held the line
/// was dropped with that, and the line was free: the command went out under bounds that were just withdrawn.
#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_the_line_is_not_made_when_its_device_is_taken_out_meanwhile() {
    let (mut gateway, _units, _, writing) = Gateway::with_a_write_that_waits().await;
    let none = async |_: &Arc<dyn Source>| Ok::<_, ()>(Vec::new());
    let changes = soon("the change", gateway.supervisor.change(Vec::new(), none)).await;
    assert_eq!(changes.expect("a change").removed, ["busy", "valve"]);
    let written = writing.await.expect("no panic");
    assert!(matches!(&written, Written::Refused { status: status_code::NOT_ARMED, .. }), "{written:?}");
    assert_eq!(gateway.stages(), ["asked", "refused"]);
}

/// Story: a valve on a busy line was switched off, and a program went on trying to open it, every three seconds. Each write was
/// refused, as it should be, and made the valve wait for its turn on the line anew: when it was switched on again, nobody
/// asked it, as long as the program tried.
#[tokio::test(start_paused = true)]
async fn a_write_to_a_dead_unit_keeps_its_turn() {
    let (listener, address) = listen().await;
    let is_on = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&is_on);
    let is_alive = move |unit| unit == BUSY || switch.load(Ordering::SeqCst);
    let units = tokio::spawn(units_of_which_some_are_alive(listener, is_alive, None));
    // Polls of the other come closer together than a time-out is long, so that there is never room for an attempt, only
    // patience.
    let gateway = Gateway::new(address, "1s", "400ms");
    let mut refused = 0;
    for second in 0..180 {
        if second == 20 {
            assert_eq!(gateway.valve().state, DeviceState::Down);
            is_on.store(true, Ordering::SeqCst);
        }
        if gateway.valve().state == DeviceState::Up {
            break;
        }
        let writing = (second % 3 == 2).then(|| gateway.write(50));
        for _ in 0..20 {
            advance(50).await;
            for _ in 0..60 {
                yield_now().await;
            }
        }
        if let Some(writing) = writing {
            let written = soon("a refusal", writing).await.expect("no panic");
            let Written::Refused { status, why } = written else { panic!("{written:?}") };
            assert_eq!(status, status_code::UNREACHABLE, "{why}");
            refused += 1;
        }
    }
    assert_eq!(gateway.valve().state, DeviceState::Up, "found again, whatever is written meanwhile");
    assert!(refused >= 6, "{refused} writes");
    units.abort();
}

/// Story: a program writes a set point again as soon as the last one was confirmed, and each exchange takes longer than the
/// valve's interval. The valve was not read any more. The other way round, polls that are always due leave no moment for a
/// write.
#[tokio::test(start_paused = true)]
async fn writes_and_polls_take_turns() {
    const WRITES: i64 = 8;
    let (gateway, mut units) = Gateway::start("100ms", "1h").await;
    let writing: Vec<_> = (1..=WRITES).map(|value| gateway.write(value)).collect();
    gateway.settle().await;
    advance(100).await;
    let mut carried = String::new();
    while carried.matches('w').count() < WRITES as usize {
        let asked = units.asked().await;
        // Within the time-out, and longer than the interval.
        advance(200).await;
        if asked.function == WRITE_ONE {
            units.confirm(asked).await;
            carried.push('w');
        } else {
            send(&mut units.line, &answer(asked, &[0])).await;
            carried.push('p');
        }
        gateway.settle().await;
    }
    assert_eq!(carried.trim_start_matches('p'), format!("w{}", "pw".repeat(WRITES as usize - 1)));
    for writing in writing {
        let written = soon("what became of it", writing).await.expect("no panic");
        assert!(matches!(written, Written::Confirmed { .. }), "{written:?}");
    }
}
