//! Writing to a device: allowed, within bounds, armed on the spot, recorded before and after.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
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
use crate::adapter::{Bounds, Words};
use crate::clock::{Clock, SetClock, SystemClock};
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Supervisor};
use crate::write::arming::heir;
use crate::write::{Arming, Desk, Refusal, Written, user_name};

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
    plant_with(bounds, scale, ends, None)
}

fn plant_with(bounds: Bounds, scale: &str, ends: &'static [End], words: Option<Words>) -> Plant {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("a mode");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let arming = Arming::new(folder.path().join("armed.toml"), Arc::clone(&clock));
    let mut spec = toy::spec("d/setpoint", "d");
    spec.write = Some(bounds);
    spec.words = words;
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

/// A mode is written by the word that the configuration has for it, which is the one that people are shown.
#[tokio::test]
async fn a_value_may_be_written_by_its_word() {
    let mut words = Words::default();
    for (number, word) in [(0, "stopped"), (10, "auto"), (20, "off"), (30, "off")] {
        words.insert(number, word);
    }
    let bounds = Bounds { one_of: vec![Value::Int(0), Value::Int(1)], ..Bounds::default() };
    let mut plant = plant_with(bounds, "0.1", &[End::GoOn], Some(words));
    plant.arm("d");
    // The word stands for the raw value, 10 tenths.
    let (written, records) = plant.write("d/setpoint", Value::Text("auto".into())).await;
    assert_eq!(written, Ok(Written::Confirmed { read_back: Value::Int(10) }));
    assert_eq!((&text(&records[0])["value"], &text(&records[0])["raw"]), (&1.into(), &10.into()));
    for word in ["off", "Auto", "10"] {
        let (written, _) = plant.write("d/setpoint", Value::Text(word.into())).await;
        let Err(Refusal::OutOfBounds { allowed, .. }) = written else { panic!("{word}: {written:?}") };
        assert_eq!(allowed, "one of 0 (stopped), 1 (auto)", "{word}: of two values, or of none");
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

/// A gateway as the shipped unit runs it: user `selvedge`, no capabilities. Whoever administers it types `sudo selvedge
/// adapter arm …`, and was told that it is armed; the file was root's alone, so the gateway could not read it, and each write
/// was refused as not armed.
#[test]
fn what_root_arms_belongs_to_the_owner_of_the_folder() {
    let (root, service) = (0, (998, 997));
    assert_eq!(heir(root, service), Some(service));
    assert_eq!(heir(998, service), None, "the owner's own is right as it is");
    assert_eq!(heir(1_000, service), Some(service), "which the system refuses to anybody but root");

    // With two users, where this test may: the file as the system has it, and read by the other user.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("a mode");
    let nobody = 65_534;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let arming = Arming::new(path.join("armed.toml"), clock);
    if let Err(why) = chown(path, Some(nobody), Some(nobody)) {
        println!("only one user here: {why}");
        return;
    }
    arming.arm(&["d".to_owned()], Duration::from_mins(1)).expect("armed");
    let file = fs::metadata(path.join("armed.toml")).expect("a file");
    assert_eq!((file.uid(), file.gid(), file.mode() & 0o777), (nobody, nobody, 0o600));
    assert!(arming.permit("d").is_ok());
    let mut cat = std::process::Command::new("cat");
    let read = cat.arg(path.join("armed.toml")).uid(nobody).gid(nobody).output().expect("cat runs");
    assert!(read.status.success(), "the gateway's user reads it: {read:?}");
    let left = fs::read_dir(path).expect("a folder").count();
    assert_eq!(left, 1, "nothing else is left");
}

/// Whoever is told that a device is not armed can type what is said: as the right user, and for this data folder.
#[test]
fn who_is_not_armed_is_told_the_command_that_arms() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("it's a plant");
    fs::create_dir(&inner).expect("a folder");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let told = |path: &Path| {
        let arming = Arming::new(path.join("armed.toml"), Arc::clone(&clock));
        arming.permit("filler 1").map(drop).expect_err("not armed").to_string()
    };
    let real = fs::canonicalize(&inner).expect("there").display().to_string().replace('\'', "'\\''");
    let expected = format!("selvedge adapter arm 'filler 1' --for 10min --data '{real}'");
    assert!(told(&inner).ends_with(&expected), "{}", told(&inner));
    let is_root = fs::metadata(&inner).expect("there").uid() == 0;
    assert_eq!(told(&inner).contains(": sudo selvedge"), is_root, "{}", told(&inner));
    // Of a service: `nobody` or the like has a number that is nobody's who logs in.
    if chown(&inner, Some(2), Some(2)).is_ok() {
        let user = user_name(2);
        assert!(told(&inner).contains(&format!(": sudo -u {user} selvedge")), "{}", told(&inner));
    }
    assert!(told(&inner).contains("nothing was sent"), "{}", told(&inner));
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
