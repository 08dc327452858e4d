//! What the host says: its state, and values that are written.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use edge_adapters::write::{Arming, Written};
use edge_adapters::{SystemClock, config, status_code, trial::Trial, trial::TrialEvent};
use selvedge_core::reading::{Quality, Value};

use super::{Broker, LEVEL, Look as _, Rig, are_good, edge_node};
use crate::support::example::{example, with};
use crate::support::{Output, Server, WITHIN, program};

/// Prints each message on these topics, as `TOPIC PAYLOAD`.
fn listener(broker: &Broker, topic: &str) -> Server {
    let mut command = Command::new(program("mosquitto_sub"));
    command.args(["-h", "127.0.0.1", "-p", &broker.port.to_string(), "-v", "-t", topic]);
    let listener = Server::start(&mut command);
    crate::support::eventually("the subscription", || {
        let is_there = broker.log().iter().any(|line| line.contains(&format!("{topic} (QoS 0)")));
        if is_there { Ok(()) } else { Err("not yet") }
    });
    listener
}

/// Waits for a line after the first `from`, while the adapter goes on.
async fn said(listener: &Server, from: usize, is_it: impl Fn(&str) -> bool) -> String {
    let end = tokio::time::Instant::now() + WITHIN;
    loop {
        if let Some(line) = listener.lines(Output::Out).into_iter().skip(from).find(|line| is_it(line)) {
            return line;
        }
        assert!(tokio::time::Instant::now() < end, "{}", listener.shown());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for a state after the first `from` lines, and gives its time.
async fn state(listener: &Server, from: usize, is_online: bool) -> u64 {
    let line = said(listener, from, |line| {
        line.starts_with("spBv1.0/STATE/plant-host ") && line.contains(&format!("\"online\":{is_online}"))
    });
    let line = line.await;
    let (_, json) = line.split_once(' ').expect("topic and payload");
    let state: serde_json::Value = serde_json::from_str(json).expect("JSON");
    state["timestamp"].as_u64().expect("ms since 1970")
}

#[tokio::test]
async fn the_state_of_a_primary_host_is_there_and_gone_with_its_connection() {
    let broker = Broker::start();
    let listener = listener(&broker, "spBv1.0/STATE/#");
    let rig = Rig::start(&super::config(&broker, "host_id = \"plant-host\""));
    let born = state(&listener, 0, true).await;
    // Somebody says that it is gone: an old will, or another program. Nodes would believe it, so it contradicts.
    let before = listener.lines(Output::Out).len();
    broker.publish("spBv1.0/STATE/plant-host", 1, r#"{"online":false,"timestamp":1}"#, &["-r"]);
    let again = state(&listener, before, true).await;
    assert_eq!(born, again, "the time of the connection, as in its will");
    let before = listener.lines(Output::Out).len();
    drop(rig);
    assert_eq!(state(&listener, before, false).await, born, "the will has the time of its birth");
}

#[tokio::test]
async fn the_state_in_the_form_of_version_2_2() {
    let broker = Broker::start();
    let listener = listener(&broker, "STATE/#");
    let rig = Rig::start(&super::config(&broker, "host_id = \"plant-host\"\nstate = \"2.2\""));
    said(&listener, 0, |line| line == "STATE/plant-host ONLINE").await;
    drop(rig);
    said(&listener, 1, |line| line == "STATE/plant-host OFFLINE").await;
}

#[tokio::test]
async fn a_look_says_nothing_of_the_gateway_that_runs() {
    let broker = Broker::start();
    let listener = listener(&broker, "spBv1.0/STATE/#");
    let _node = edge_node(&broker, 0, 1);
    let mut rig = Rig::start(&super::config(&broker, "host_id = \"plant-host\""));
    state(&listener, 0, true).await;
    let source =
        config::sources(&super::config(&broker, "host_id = \"plant-host\"")).expect("right").remove(0);
    let clock: std::sync::Arc<dyn edge_adapters::Clock> = std::sync::Arc::new(SystemClock);
    let mut trial = Trial::start(source, Duration::from_mins(1), &clock);
    loop {
        match trial.next().await.expect("a reading within a minute") {
            TrialEvent::Reading(reading) if reading.quality == Quality::Good => break,
            _ => {}
        }
    }
    drop(trial);
    are_good(&mut rig).await;
    assert_eq!(listener.lines(Output::Out).len(), 1, "{:?}", listener.lines(Output::Out));
}

/// A configuration in which the level, the valve and a metric that takes nothing may be written.
fn written(broker: &Broker) -> String {
    let mut toml = super::config(broker, "");
    let stuck = "[[device.stream]]\nname = \"stuck\"\nnode = \"line1\"\ndevice = \"filler\"\nmetric = \"Stuck\"\n\
                 [device.stream.write]\nmin = 0\nmax = 9\nconfirm_within = \"500ms\"\n";
    toml = toml.replace(
        "metric = \"Outputs/Level\"\n",
        "metric = \"Outputs/Level\"\nscale = 0.1\n[device.stream.write]\nmin = -5000\nmax = 5000\n",
    );
    toml.push_str(stuck);
    toml
}

#[tokio::test]
async fn a_written_metric_is_confirmed_by_the_metric_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
    let arming = Arming::new(folder.path().join("armed"), std::sync::Arc::new(SystemClock));
    arming.arm(&["plant".to_owned()], Duration::from_mins(5)).expect("it can be armed");
    let broker = Broker::start();
    let mut rig = Rig::with(&written(&broker), &[], Some(arming));
    let mut node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;

    let attempt = write(&mut rig, "level", Value::Float(-0.7)).await;
    assert_eq!(attempt, Written::Confirmed { read_back: Value::Int(-7) }, "as it was");
    let attempt = write(&mut rig, "level", Value::Int(12)).await;
    assert_eq!(attempt, Written::Confirmed { read_back: Value::Int(120) });
    assert_eq!(rig.last(LEVEL).expect("it showed it").value, Value::Int(120));
    let Written::Refused { status, why } = write(&mut rig, "level", Value::Int(4_000)).await else {
        panic!("40,000 is no Int16")
    };
    assert_eq!(status, status_code::NOT_ALLOWED, "{why}");
    let Written::NotConfirmed { why, .. } = write(&mut rig, "stuck", Value::Int(2)).await else {
        panic!("it takes nothing")
    };
    assert!(why.contains("in time"), "{why}");
    let commands = node.ask("ask")["commands"].clone();
    let level = serde_json::json!({
        "to": "filler", "name": "Outputs/Level", "byAlias": true, "type": "Int16", "value": 120, "seq": null
    });
    assert_eq!((commands.as_array().map(Vec::len), &commands[1]), (Some(3), &level), "{commands}");

    node.kill();
    super::are_stale(&mut rig, &[LEVEL]).await;
    let Written::Refused { status, .. } = write(&mut rig, "level", Value::Int(1)).await else {
        panic!("nobody is there")
    };
    assert_eq!(status, status_code::UNREACHABLE);
}

async fn write(rig: &mut Rig, stream: &str, value: Value) -> Written {
    let desk = rig.desk();
    let stream = stream.to_owned();
    let writing = tokio::spawn(async move { desk.write(&stream, value, "test").await });
    while !writing.is_finished() {
        // The attempt must become durable before it is made.
        let _ = tokio::time::timeout(Duration::from_millis(20), rig.take()).await;
    }
    writing.await.expect("no panic").expect("it is allowed and armed").written
}

#[tokio::test]
async fn the_example_runs_as_it_is() {
    let broker = Broker::start();
    let address = format!("127.0.0.1:{}", broker.port);
    let toml = with(&example("sparkplug.toml"), "broker.plant.example:1883", &address);
    let mut rig = Rig::start(&toml);
    let _node = edge_node(&broker, 0, 1);
    let streams = config::sources(&toml).expect("right")[0].streams().len();
    rig.until("all streams of the example", |rig| {
        (0..streams as u32).all(|stream| !rig.good(stream).is_empty()).then_some(())
    })
    .await;
}
