//! The first hour of a plant engineer: a new gateway, a PLC, a cable that is pulled out and put back.

use std::collections::BTreeMap;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Output, Process, Signal};
use selvedge_tests::site::{Site, runs};
use selvedge_tests::{eventually, program};
use serde_json::Value;

/// Are these the same value? Numbers are compared as numbers: 21.40 is 21.4.
fn same(shown: &Value, held: &Value) -> bool {
    match (shown.as_i64(), held.as_i64(), shown.as_u64(), held.as_u64(), shown.as_f64(), held.as_f64()) {
        (Some(a), Some(b), ..) => a == b,
        (_, _, Some(a), Some(b), ..) => a == b,
        (.., Some(a), Some(b)) => (a - b).abs() <= a.abs() * 1e-12,
        _ => shown == held,
    }
}

/// Compares what a gateway shows with what the device holds.
fn compare(device: &Device, shown: &BTreeMap<String, Value>, raw: bool) {
    for stream in device.streams() {
        let name = stream["name"].as_str().expect("a name");
        let reading = shown.get(name).unwrap_or_else(|| panic!("{name} was not shown"));
        let (value, held) = (&reading["value"], &stream["value"]);
        assert!(same(value, held), "{name}: shown {value}, the device holds {held} ({reading})");
        let quality = if held.is_null() { "not-available" } else { "good" };
        assert_eq!(reading["quality"], quality, "{reading}");
        assert_eq!(reading["unit"], stream.get("unit").cloned().unwrap_or_else(|| "".into()), "{reading}");
        if raw && name == "tank/temperature" {
            assert_eq!(reading["raw"], 614, "the raw value is the device's: {reading}");
        }
    }
    assert!(device.streams().len() > 60, "all types in all orders");
}

#[test]
fn from_nothing_to_a_status_that_says_how_the_machine_is() {
    let (site, device) = (Site::new(), Device::start());
    // What `init` wrote is right, explains itself, and has no device yet.
    let written = std::fs::read_to_string(site.file("selvedge.toml")).expect("init wrote it");
    assert!(written.lines().filter(|line| line.starts_with('#')).count() > 20, "{written}");
    site.ask(&["check"]).expect(0).says(&["is right", "no devices yet"]);
    site.ask(&["adapter", "test"]).expect(2).says(&["no [[device]]"]);
    // Nothing is signed, so nothing needs a node.
    site.configure(&device.config("100ms", "2s"));
    site.ask(&["check"]).expect(0).says(&["is right", "machine"]);
    let tested = site.ask(&["adapter", "test", "--for", "2s", "--json"]).expect(0).json_lines();
    let decoded: BTreeMap<String, Value> =
        tested.into_iter().filter_map(|line| Some((line["stream"].as_str()?.to_owned(), line))).collect();
    compare(&device, &decoded, false);
    site.ask(&["adapter", "test", "machine", "--for", "1s"]).expect(0).says(&[
        "tank/temperature",
        "21.4",
        "°C",
        "polls",
    ]);
    site.ask(&["adapter", "test", "machin", "--for", "1s"])
        .expect(2)
        .says(&["no device \"machin\"", "machine"]);
    assert!(!site.file("store").exists(), "a test of devices stores nothing");

    let node = site.run();
    site.wait_for_transactions(2);
    let streams = site.ask(&["streams", "--json"]).expect(0).json();
    let last = |s: &Value| Some((s["name"].as_str()?.to_owned(), s["last"].clone()));
    compare(
        &device,
        &streams["streams"].as_array().expect("streams").iter().filter_map(last).collect(),
        true,
    );

    let status = site.ask(&["status"]).expect(0).says(&["running", "machine", "up", "last good", " ago"]);
    assert!(!status.out.contains("Needs attention"), "{status}");
    let json = site.status();
    let (asked, received) = (&json["asked"], &json["devices"][0]["last_good"]["receive_time"]);
    assert_eq!(
        asked.as_str().map(|t| &t[..10]),
        received.as_str().map(|t| &t[..10]),
        "the age is that of a moment ago"
    );
    node.end_with(Signal::TERM).expect(0);
}

fn device_lines(node: &Process) -> Vec<String> {
    node.lines(Output::Err)
        .into_iter()
        .filter(|line| line.contains("device=\"machine\"") || line.contains("machine"))
        .collect()
}

fn state(site: &Site) -> String {
    site.status()["devices"][0]["state"].as_str().unwrap_or("none").to_owned()
}

fn wait_for_state(site: &Site, wanted: &str) {
    eventually(&format!("state {wanted:?}"), || {
        let now = state(site);
        if now == wanted { Ok(()) } else { Err(now) }
    });
}

#[test]
fn a_cable_pulled_out_leaves_a_mark_and_no_gap() {
    let (site, device) = (Site::new(), Device::on_stable_port());
    site.configure(&device.counters_config("50ms"));
    let streams = device.counter_names();
    let node = site.run();
    site.wait_for_transactions(2);
    wait_for_state(&site, "up");
    let quiet = device_lines(&node).len();

    let port = device.unplug();
    wait_for_state(&site, "down");
    // One reading a stream says that its value is old now, under its old time, and then there is silence.
    let marked: Vec<Value> = eventually("stale marks", || {
        let all: Vec<Value> = streams.iter().filter_map(|s| site.readings(s).pop()).collect();
        if all.iter().all(|last| last["quality"] == "stale") { Ok(all) } else { Err(format!("{all:?}")) }
    });
    assert_eq!(marked.len(), streams.len());
    for last in &marked {
        let before = &site.readings(last["stream"].as_str().expect("a name"))
            [last["counter"].as_u64().expect("a number") as usize - 1];
        assert_eq!(
            (&last["value"], &last["source_time"]),
            (&before["value"], &before["source_time"]),
            "its last value, its old time"
        );
    }
    let status =
        site.ask(&["status"]).expect(1).says(&["Needs attention", "machine", "does not answer", "last good"]);
    assert!(status.out.contains(" ago"), "{status}");
    // The backlog drains although nothing new comes.
    eventually("an empty backlog", || {
        let backlog = site.status()["backlog"].clone();
        if backlog["readings"] == 0 { Ok(()) } else { Err(backlog) }
    });
    // Several attempts later: still one line.
    eventually("further attempts", || {
        let device = site.status()["devices"][0].clone();
        let due = device["next_attempt"].as_str().map(str::to_owned);
        if due.is_some_and(|due| due.as_str() > device["since"].as_str().unwrap_or_default()) {
            Ok(())
        } else {
            Err(device)
        }
    });
    let lines = device_lines(&node);
    let bad: Vec<&String> = lines[quiet..].iter().filter(|line| line.contains("does not answer")).collect();
    assert_eq!(bad.len(), 1, "one line when the state changes: {lines:?}");

    let device = Device::on_port(port);
    wait_for_state(&site, "up");
    let good = eventually("new readings", || {
        let readings = site.readings(&streams[0]);
        let last = readings.last().expect("there were some");
        if last["quality"] == "good" { Ok(readings) } else { Err(last.to_string()) }
    });
    assert!(
        (0_u64..).zip(&good).all(|(counter, reading)| reading["counter"] == counter),
        "a gap in {good:?}"
    );
    assert_eq!(good.iter().filter(|reading| reading["quality"] == "stale").count(), 1);
    let lines = device_lines(&node);
    assert_eq!(lines[quiet..].iter().filter(|line| line.contains("device answers")).count(), 1, "{lines:?}");
    node.end_with(Signal::TERM).expect(0);
    drop(device);
}

#[test]
fn a_backlog_drains_after_a_restart() {
    let (site, device) = (Site::new(), Device::start());
    // Nothing closes this batch but the limit, which is not reached.
    let slow = "[batch]\nage = \"1h\"\nreadings = 60000\n\n[journal]\nsync_within = \"10ms\"\n\n";
    site.configure_exactly(&format!("{slow}{}", device.counters_config("20ms")));
    let node = site.run();
    eventually("a backlog", || {
        let backlog = site.status()["backlog"]["readings"].as_u64().expect("a number");
        if backlog > 100 { Ok(()) } else { Err(backlog) }
    });
    node.end_with(Signal::KILL);
    let left = site.ask(&["status", "--json"]).expect(3).json();
    let backlog = left["backlog"]["readings"].as_u64().expect("a number");
    assert!(backlog > 100, "the journal outlives the process: {left}");
    // With the usual limits the old batch is too old, and goes into a transaction by itself.
    drop(device);
    let device = Device::start();
    site.configure(&device.counters_config("20ms"));
    let node = site.start();
    runs(&node);
    site.wait_for_transactions(1);
    let first = site.readings("counter/0");
    assert_eq!(first[0]["state"], "attached", "{}", first[0]);
    let file = site.beside("first.proof");
    let time = first[0]["receive_time"].as_str().expect("a time");
    site.ask(&["prove", "counter/0", time, "-o", file.to_str().expect("UTF-8")]).expect(0);
    program::ask(["verify", file.to_str().expect("UTF-8"), "--network", site.network()]).expect(0);
    node.end_with(Signal::TERM).expect(0);
}
