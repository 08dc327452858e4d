//! Writing to nodes and calling methods, through the one door there is; the server's own word is the oracle.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::write::{Arming, Attempt, Written};
use edge_adapters::{Clock, DeviceState, SystemClock, status_code};
use selvedge_core::reading::Value as Raw;
use serde_json::json;

use crate::plant::{Make, Plant};
use crate::rig::Rig;

/// A plant, and a gateway that is armed for it.
struct Armed {
    plant: Plant,
    rig: Rig,
    _folder: tempfile::TempDir,
}

impl Armed {
    async fn start(make: Make) -> Self {
        let plant = Plant::start(make, &[]);
        let target = &plant.said["methods"]["SetTarget"];
        let refuse = &plant.said["methods"]["Refuse"];
        let call = |method: &serde_json::Value| {
            format!("method = {}\nobject = {}", method["method"], method["object"])
        };
        let streams = [
            "Filler.Batch\n[device.stream.write]\nmin = -10\nmax = 3000000000".to_owned(),
            "Filler.Recipe\n[device.stream.write]\none_of = [\"ale\", \"stout\"]".to_owned(),
            "Arrays.Words\nindex = 1\n[device.stream.write]\nmin = 0\nmax = 100".to_owned(),
            "Filler.Deaf\n[device.stream.write]\nmin = 0\nmax = 100".to_owned(),
            "Filler.Speed\n[device.stream.write]\nmin = 0\nmax = 5000".to_owned(),
            format!(
                "Filler.Target\nscale = 0.1\n[device.stream.write]\nmin = 0\nmax = 100\n{}",
                call(target)
            ),
            format!("Filler.Running\n[device.stream.write]\none_of = [false]\n{}", call(refuse)),
        ];
        let streams: Vec<&str> = streams.iter().map(String::as_str).collect();
        let table = plant.table("timeout = \"5s\"", &streams);
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let arming = Arming::new(folder.path().join("armed.toml"), clock);
        let mut rig = Rig::with(&table, &[], Some(arming.clone()));
        rig.is(DeviceState::Up).await;
        arming.arm(&["plant".to_owned()], Duration::from_mins(5)).expect("armed");
        Self { plant, rig, _folder: folder }
    }

    async fn write(&mut self, stream: &str, value: Raw) -> Attempt {
        let desk = self.rig.desk();
        let write = desk.write(stream, value, "operator");
        tokio::pin!(write);
        loop {
            tokio::select! {
                outcome = &mut write => return outcome.expect("it was sent"),
                () = self.rig.take() => {}
            }
        }
    }

    fn holds(&mut self, name: &str) -> serde_json::Value {
        self.plant.server.ask(&format!("get {name}"))["value"].clone()
    }
}

async fn nodes_are_written(make: Make) {
    let mut armed = Armed::start(make).await;
    // An Int32, whatever kind of number was asked for.
    for value in [Raw::Int(9), Raw::Float(-3.0)] {
        let attempt = armed.write("Filler.Batch", value.clone()).await;
        let whole = value.as_f64().expect("a number") as i64;
        assert_eq!(attempt.written, Written::Confirmed { read_back: Raw::Int(whole) }, "{make:?}");
        assert_eq!(armed.holds("Filler.Batch"), json!(whole), "{make:?}");
    }
    // Within the bounds, and not within the type: the server is not asked.
    let attempt = armed.write("Filler.Batch", Raw::Int(3_000_000_000)).await;
    let Written::Refused { why, .. } = &attempt.written else { panic!("{make:?} {attempt:?}") };
    assert!(why.contains("Int32"), "{why}");
    assert_eq!(armed.holds("Filler.Batch"), json!(-3), "{make:?}");
    let attempt = armed.write("Filler.Recipe", Raw::Text("stout".to_owned())).await;
    assert_eq!(attempt.written, Written::Confirmed { read_back: Raw::Text("stout".to_owned()) }, "{make:?}");
    assert_eq!(armed.holds("Filler.Recipe"), json!("stout"), "{make:?}");
    // It takes the value and keeps its own.
    let attempt = armed.write("Filler.Deaf", Raw::Int(50)).await;
    let Written::NotConfirmed { read_back, why } = &attempt.written else { panic!("{make:?} {attempt:?}") };
    assert_eq!(read_back, &Some(Raw::Int(5)), "{make:?} {why}");
    // It may not be written at the server.
    let attempt = armed.write("Filler.Speed", Raw::Int(50)).await;
    let Written::Refused { status, why } = &attempt.written else { panic!("{make:?} {attempt:?}") };
    assert!(status_code::words(*status).starts_with("Bad"), "{make:?} {why}");
    assert_eq!(armed.holds("Filler.Speed"), json!(1_480), "{make:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_asyncua_are_written_and_read_back() {
    nodes_are_written(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_of_node_opcua_are_written_and_read_back() {
    nodes_are_written(Make::Node).await;
}

async fn methods_are_called(make: Make) {
    let mut armed = Armed::start(make).await;
    // The scaled value is 7.5, and what the method is given the raw one.
    let attempt = armed.write("Filler.Target", Raw::Float(7.5)).await;
    assert_eq!(attempt.written, Written::Confirmed { read_back: Raw::Float(75.0) }, "{make:?}");
    assert_eq!(armed.holds("Filler.Target").as_f64(), Some(75.0), "{make:?}");
    let attempt = armed.write("Filler.Running", Raw::Bool(false)).await;
    let Written::Refused { status, why } = &attempt.written else { panic!("{make:?} {attempt:?}") };
    assert!(status_code::words(*status).contains("BadInvalidState"), "{make:?} {why}");
    assert_eq!(armed.holds("Filler.Running"), json!(true), "{make:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_of_asyncua_are_called_and_the_node_is_read_back() {
    methods_are_called(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_of_node_opcua_are_called_and_the_node_is_read_back() {
    methods_are_called(Make::Node).await;
}

/// One element of an array, and not its neighbours. node-opcua keeps its arrays by a range of indices; asyncua knows no
/// range in a write, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_element_of_an_array_is_written() {
    let mut armed = Armed::start(Make::Node).await;
    let attempt = armed.write("Arrays.Words", Raw::Int(77)).await;
    assert_eq!(attempt.written, Written::Confirmed { read_back: Raw::Unsigned(77) });
    assert_eq!(armed.holds("Arrays.Words"), json!([1, 77, 65_535]));
}

/// A value that goes out when the connection comes back would surprise somebody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_later_to_a_server_that_is_off_now() {
    let mut armed = Armed::start(Make::Asyncua).await;
    armed.plant.server.command("stop");
    armed.rig.is(DeviceState::Down).await;
    let attempt = armed.write("Filler.Batch", Raw::Int(99)).await;
    let Written::Refused { status, .. } = attempt.written else { panic!("{attempt:?}") };
    assert_eq!(status, status_code::UNREACHABLE);
    armed.plant.server.command("start");
    armed.rig.is(DeviceState::Up).await;
    assert_eq!(armed.holds("Filler.Batch"), json!(7));
}

/// Story: the server takes the value, and its answer is lost. Whoever is told "refused" writes again, or believes that the
/// machine stands still; nobody knows until somebody looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_is_missing_is_not_confirmed_and_not_refused() {
    let mut armed = Armed::start(Make::Node).await;
    armed.plant.server.command("mute");
    let values = [("Filler.Batch", Raw::Int(9), json!(9)), ("Filler.Target", Raw::Float(7.5), json!(75.0))];
    for (over, (stream, value, held)) in (0..).zip(values) {
        armed.rig.is(DeviceState::Up).await;
        let attempt = armed.write(stream, value).await;
        let Written::NotConfirmed { read_back, why } = &attempt.written else { panic!("{attempt:?}") };
        assert_eq!(read_back, &None, "{stream}: {why}");
        assert!(why.contains("time-out"), "{stream}: {why}");
        assert_eq!(armed.holds(stream).as_f64(), held.as_f64(), "{stream}: it arrived");
        // The connection is not used any more: something may be on its way still.
        armed.rig.until("that it is over", |rig| (rig.device().errors.timeout > over).then_some(())).await;
    }
    armed.plant.server.command("unmute");
    armed.rig.is(DeviceState::Up).await;
    let attempt = armed.write("Filler.Batch", Raw::Int(3)).await;
    assert_eq!(attempt.written, Written::Confirmed { read_back: Raw::Int(3) });
}
