//! A write on a line that is in use, and one that is under way when its device is taken out: the test is the device.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, yield_now};
use tokio_util::sync::CancellationToken;

use super::support::{
    Asked, HeldTime, accept, advance, answer, asked, frame, listen, registers_body, send, soon,
};
use crate::adapter::{Source, all_streams};
use crate::clock::{Clock, SystemClock};
use crate::config::sources;
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Supervisor};
use crate::write::{Arming, Written};

const READ: u8 = 3;
const WRITE_ONE: u8 = 6;

/// Two units on one line: `busy` is read each second, `valve` once an hour, and may be written.
struct Plant {
    _folder: tempfile::TempDir,
    _time: HeldTime,
    arming: Arming,
    supervisor: Supervisor,
    /// What became durable.
    readings: Arc<Mutex<Vec<NewReading>>>,
    line: TcpStream,
    _listener: TcpListener,
}

impl Plant {
    async fn start() -> Self {
        let time = HeldTime::new();
        let (listener, address) = listen().await;
        let unit = |name: &str, unit: u8, interval: &str| {
            format!(
                "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-tcp\"\naddress = \"{address}\"\nunit_id = {unit}\n\
                 poll_interval = \"{interval}\"\ntimeout = \"500ms\"\n\
                 [[device.stream]]\nname = \"{name}/s\"\nregister = \"holding:7\"\ntype = \"u16\"\n"
            )
        };
        let write = "[device.stream.write]\nmin = 0\nmax = 100\n";
        let toml = [unit("valve", 2, "1h"), write.to_owned(), unit("busy", 1, "1s")].concat();
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
        let mut line = accept(&listener).await;
        for _ in 0..2 {
            let first = asked(&mut line).await.expect("each unit is read once");
            send(&mut line, &answer(first, &[0])).await;
        }
        let plant =
            Self { _folder: folder, _time: time, arming, supervisor, readings, line, _listener: listener };
        plant.settle().await;
        plant
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

    async fn asked(&mut self) -> Asked {
        asked(&mut self.line).await.expect("the line is open")
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
    let mut plant = Plant::start().await;
    advance(1_000).await;
    let neighbour = plant.asked().await;
    assert_eq!((neighbour.unit, neighbour.function), (1, READ));
    let writing = plant.write(50);
    plant.settle().await;
    assert_eq!((plant.stages(), writing.is_finished()), (vec!["asked".to_owned()], false), "it waits");
    plant.arming.disarm().expect("disarmed");
    send(&mut plant.line, &answer(neighbour, &[0])).await;
    let written = soon("what became of it", writing).await.expect("no panic");
    assert!(matches!(&written, Written::Refused { status: status_code::NOT_ARMED, .. }), "{written:?}");
    // The next that the line carries is a question.
    advance(1_000).await;
    let next = plant.asked().await;
    assert_eq!((next.unit, next.function), (1, READ));
    assert_eq!(plant.stages(), ["asked", "refused"]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_the_line_is_made_when_the_gateway_stays_armed() {
    let mut plant = Plant::start().await;
    advance(1_000).await;
    let neighbour = plant.asked().await;
    let writing = plant.write(50);
    plant.settle().await;
    send(&mut plant.line, &answer(neighbour, &[0])).await;
    let write = plant.asked().await;
    assert_eq!((write.unit, write.function, write.start, write.count), (2, WRITE_ONE, 7, 50));
    confirm(&mut plant, write).await;
    let written = soon("what became of it", writing).await.expect("no panic");
    assert_eq!(written, Written::Confirmed { read_back: Value::Unsigned(50) });
}

/// The unit takes the value, and holds it when it is asked.
async fn confirm(plant: &mut Plant, write: Asked) {
    let [high, low] = write.count.to_be_bytes();
    let taken = frame(write.transaction, write.unit, &[WRITE_ONE, 0, write.start as u8, high, low]);
    send(&mut plant.line, &taken).await;
    let back = plant.asked().await;
    assert_eq!((back.unit, back.function, back.start), (write.unit, READ, write.start));
    let held = registers_body(READ, &[write.count]);
    send(&mut plant.line, &frame(back.transaction, back.unit, &held)).await;
}

/// Story: a valve is told to open, and in the same second somebody takes its table out of the configuration. The valve is
/// open; a ledger that says "asked" and nothing more, or "nobody knows", leaves that open for ever.
#[tokio::test(start_paused = true)]
async fn a_write_that_has_begun_is_ended_and_recorded_before_its_device_is_taken_out() {
    let mut plant = Plant::start().await;
    let writing = plant.write(50);
    let write = plant.asked().await;
    assert_eq!((write.unit, write.function), (2, WRITE_ONE));
    let busy: Vec<Arc<dyn Source>> = plant.supervisor.source("busy").cloned().into_iter().collect();
    let none = async |_: &Arc<dyn Source>| Ok::<_, ()>(Vec::new());
    let Plant { supervisor, line, readings, .. } = &mut plant;
    let change = supervisor.change(busy, none);
    let device = async {
        for _ in 0..2_000 {
            yield_now().await;
        }
        let taken = frame(write.transaction, 2, &[WRITE_ONE, 0, 7, 0, 50]);
        send(line, &taken).await;
        let back = asked(line).await.expect("it is read back");
        assert_eq!((back.unit, back.function), (2, READ));
        send(line, &answer(back, &[50])).await;
    };
    let (changes, ()) = soon("the change", async { tokio::join!(change, device) }).await;
    assert_eq!(changes.expect("a change").removed, ["valve"]);
    let durable = readings.lock().expect("no panic").iter().any(|reading| match &reading.value {
        Value::Text(text) => text.contains("\"confirmed\""),
        _ => false,
    });
    assert!(durable, "recorded when the change is over: {:?}", plant.stages());
    assert_eq!(writing.await.expect("no panic"), Written::Confirmed { read_back: Value::Unsigned(50) });
}

/// Story: a write to the valve waits for the line, and its table is taken out of the configuration. The poll that held the line
/// was dropped with that, and the line was free: the command went out under bounds that were just withdrawn.
#[tokio::test(start_paused = true)]
async fn a_write_that_waits_for_the_line_is_not_made_when_its_device_is_taken_out_meanwhile() {
    let mut plant = Plant::start().await;
    advance(1_000).await;
    let neighbour = plant.asked().await;
    assert_eq!((neighbour.unit, neighbour.function), (1, READ));
    let writing = plant.write(50);
    plant.settle().await;
    let none = async |_: &Arc<dyn Source>| Ok::<_, ()>(Vec::new());
    let changes = soon("the change", plant.supervisor.change(Vec::new(), none)).await;
    assert_eq!(changes.expect("a change").removed, ["busy", "valve"]);
    let written = writing.await.expect("no panic");
    assert!(matches!(&written, Written::Refused { status: status_code::NOT_ARMED, .. }), "{written:?}");
    assert_eq!(plant.stages(), ["asked", "refused"]);
}
