//! Writing to a device: allowed, within bounds, armed on the spot, recorded before and after.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::Decimal;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::toy::{self, End, Toy};
use crate::adapter::Bounds;
use crate::clock::{Clock, SetClock, SystemClock};
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Supervisor};
use crate::write::{Arming, Desk, Refusal, Written};

/// A plant of one device whose stream `d/setpoint` may be set from 0 to 100, in tenths.
struct Plant {
    _folder: tempfile::TempDir,
    arming: Arming,
    desk: Desk,
    deliveries: mpsc::Receiver<Delivery>,
    /// Writes that reached the device.
    written: Arc<AtomicU32>,
    _supervisor: Supervisor,
}

fn plant(bounds: Bounds, scale: &str) -> Plant {
    plant_of(bounds, scale, &[End::GoOn])
}

fn plant_of(bounds: Bounds, scale: &str, ends: &'static [End]) -> Plant {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let arming = Arming::new(folder.path().join("armed.toml"), Arc::clone(&clock));
    let mut spec = toy::spec("d/setpoint", "d");
    spec.write = Some(bounds);
    spec.descriptor.scale = scale.parse().expect("a decimal");
    let source = Toy::with("d", vec![toy::spec("d/level", "d"), spec], ends);
    let written = Arc::clone(&source.written);
    let streams = (0..3).map(StreamHandle).collect();
    let (sender, deliveries) = mpsc::channel(16);
    let (stop, armable) = (CancellationToken::new(), Some(arming.clone()));
    let device = Device { source: Arc::new(source), streams };
    let supervisor = Supervisor::start_armable(vec![device], &sender, &clock, 7, &stop, armable);
    Plant { _folder: folder, arming, desk: supervisor.desk(), deliveries, written, _supervisor: supervisor }
}

fn range(min: i64, max: i64) -> Bounds {
    let decimal = |number| Decimal::new(number, 0);
    Bounds { min: decimal(min), max: decimal(max), one_of: Vec::new() }
}

impl Plant {
    fn arm(&self, device: &str) {
        self.arming.arm(&[device.to_owned()], Duration::from_mins(10)).expect("armed");
    }

    /// Writes, while somebody makes durable what is recorded; returns the outcome and the records.
    async fn write(&mut self, stream: &str, value: Value) -> (Result<Written, Refusal>, Vec<NewReading>) {
        self.write_while(stream, value, || ()).await
    }

    /// The same; `recorded` is called for each record before it is durable.
    async fn write_while(
        &mut self,
        stream: &str,
        value: Value,
        recorded: impl Fn(),
    ) -> (Result<Written, Refusal>, Vec<NewReading>) {
        let mut records = Vec::new();
        let write = self.desk.write(stream, value, "operator");
        tokio::pin!(write);
        let outcome = loop {
            tokio::select! {
                biased;
                Some(Delivery { readings, ack, .. }) = self.deliveries.recv() => {
                    if readings.iter().all(|reading| reading.stream != StreamHandle(2)) {
                        continue;
                    }
                    recorded();
                    records.extend(readings);
                    let _ = ack.map(|ack| ack.send(()));
                }
                outcome = &mut write => break outcome.map(|attempt| attempt.written),
            }
        };
        (outcome, records)
    }
}

fn text(reading: &NewReading) -> serde_json::Value {
    let Value::Text(text) = &reading.value else { panic!("{reading:?}") };
    serde_json::from_str(text).expect("JSON")
}

#[tokio::test]
async fn an_armed_value_within_bounds_is_written_as_raw_and_recorded_before_and_after() {
    let mut plant = plant(range(0, 100), "0.1");
    plant.arm("d");
    let (written, records) = plant.write("d/setpoint", Value::Float(12.3)).await;
    assert_eq!(written, Ok(Written::Confirmed { read_back: Value::Int(123) }), "12.3 in tenths");
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|r| r.stream == StreamHandle(2) && r.quality == Quality::Good));
    assert_eq!(
        text(&records[0]),
        serde_json::json!({"stage": "asked", "by": "operator", "value": 12.3, "raw": 123})
    );
    assert_eq!(
        text(&records[1]),
        serde_json::json!({"stage": "confirmed", "by": "operator", "value": 12.3, "raw": 123, "read_back": 123})
    );
}

#[tokio::test]
async fn what_is_not_allowed_is_refused_and_the_device_never_asked() {
    let mut plant = plant(range(0, 100), "0.1");
    // Not armed.
    let (written, records) = plant.write("d/setpoint", Value::Int(50)).await;
    assert!(
        matches!(&written, Err(Refusal::NotArmed(why)) if why.to_string().contains("adapter arm d")),
        "{written:?}"
    );
    assert_eq!(
        (records.len(), records[0].quality, records[0].status),
        (1, Quality::Bad, status_code::NOT_ARMED)
    );
    // Another device is armed.
    plant.arm("other");
    assert!(matches!(plant.write("d/setpoint", Value::Int(50)).await.0, Err(Refusal::NotArmed(_))));
    plant.arm("d");
    for value in [
        Value::Int(101),
        Value::Float(-0.1),
        Value::Float(f64::NAN),
        Value::Bool(true),
        Value::Text("5".into()),
    ] {
        let (written, records) = plant.write("d/setpoint", value).await;
        assert!(
            matches!(&written, Err(Refusal::OutOfBounds { allowed, .. }) if allowed == "0 to 100"),
            "{written:?}"
        );
        assert_eq!(text(&records[0])["stage"], "refused");
    }
    // A stream without a `write` table, and one that does not exist: nothing to record them in.
    for stream in ["d/level", "nowhere"] {
        let (written, records) = plant.write(stream, Value::Int(1)).await;
        assert!(
            matches!(&written, Err(Refusal::NotAllowed { allowed, .. }) if allowed == "d/setpoint"),
            "{written:?}"
        );
        assert!(records.is_empty());
    }
    assert_eq!(plant.written.load(Ordering::SeqCst), 0, "the device was never asked");
}

#[tokio::test]
async fn a_list_allows_exactly_its_values() {
    let one_of = vec![Value::Int(0), Value::Float(2.5), Value::Text("auto".into())];
    let mut plant = plant(Bounds { one_of, ..Bounds::default() }, "1");
    plant.arm("d");
    for value in [Value::Int(0), Value::Float(0.0), Value::Float(2.5), Value::Text("auto".into())] {
        assert!(plant.write("d/setpoint", value.clone()).await.0.is_ok(), "{value:?}");
    }
    for value in [Value::Int(1), Value::Float(2.4), Value::Text("Auto".into()), Value::Bool(false)] {
        assert!(matches!(plant.write("d/setpoint", value).await.0, Err(Refusal::OutOfBounds { .. })));
    }
}

/// Nobody else on the gateway, and nothing that lies around for long, may arm it.
#[test]
fn only_a_fresh_file_of_the_right_owner_arms() {
    let folder = tempfile::tempdir().expect("a folder");
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
    mode(folder.path(), 0o700);
    let file = folder.path().join("armed.toml");
    let clock = Arc::new(SetClock::at(SystemClock.wall_ns()));
    let arming = Arming::new(file.clone(), Arc::clone(&clock) as _);
    let why = || arming.permit("d").map(drop).expect_err("not armed").to_string();
    assert!(why().contains("there is no"), "{}", why());
    let arm = || arming.arm(&["d".to_owned()], Duration::from_mins(1)).expect("armed");
    arm();
    let permit = arming.permit("d").expect("armed");
    assert!(arming.permit("e").is_err());

    mode(&file, 0o620);
    assert!(why().contains("chmod go-w"), "{}", why());
    arm();
    mode(folder.path(), 0o777);
    assert!(why().contains("its folder"), "{}", why());
    mode(folder.path(), 0o700);

    let now_ns = clock.wall_ns();
    clock.set(now_ns + 61_000_000_000);
    assert!(why().contains("is over"), "{}", why());
    assert!(!permit.holds(), "a permit ends with the file");
    clock.set(now_ns - 60_000_000_000);
    assert!(why().contains("in the future"), "{}", why());
    clock.set(now_ns);

    fs::write(&file, "devices = [\"d\"]\nfor = \"25h\"\n").expect("written");
    assert!(why().contains("longer than 24 hours"), "{}", why());
    fs::write(&file, "devices = [\"d\"]\n").expect("written");
    assert!(why().contains("missing field"), "{}", why());
    let elsewhere = folder.path().join("elsewhere");
    fs::rename(&file, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &file).expect("a link");
    assert!(why().contains("no plain file"), "{}", why());
    arming.disarm().expect("disarmed");
    arming.disarm().expect("disarmed already");
    assert!(elsewhere.exists() && why().contains("there is no"));
    assert!(arming.arm(&["d".to_owned()], Duration::from_hours(25)).is_err());
}

#[tokio::test]
async fn what_waits_while_the_gateway_is_disarmed_is_not_written() {
    let mut plant = plant(range(0, 100), "1");
    plant.arm("d");
    let arming = plant.arming.clone();
    let disarm = || arming.disarm().expect("disarmed");
    let (written, records) = plant.write_while("d/setpoint", Value::Int(5), disarm).await;
    assert!(matches!(written, Ok(Written::Refused { status: status_code::NOT_ARMED, .. })), "{written:?}");
    assert_eq!(records.iter().map(|r| text(r)["stage"].clone()).collect::<Vec<_>>(), ["asked", "refused"]);
    assert_eq!(plant.written.load(Ordering::SeqCst), 0);
}

/// A command to a machine must not come late: whoever asked has been told that nobody knows, and may have asked again.
#[tokio::test(start_paused = true)]
async fn what_waited_until_whoever_asked_gave_up_is_not_written() {
    const ENDS: &[End] = &[End::Busy(Duration::from_secs(40))];
    let mut plant = plant_of(range(0, 100), "1", ENDS);
    plant.arm("d");
    let (written, _) = plant.write("d/setpoint", Value::Int(5)).await;
    assert!(matches!(written, Ok(Written::NotConfirmed { read_back: None, .. })), "{written:?}");
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(plant.written.load(Ordering::SeqCst), 0, "the adapter has looked, and found nothing to write");
}
