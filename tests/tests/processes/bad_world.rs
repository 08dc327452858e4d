//! Devices and clocks that do not do what they should: said once, and every reading says how far it can be trusted.

use std::sync::Arc;

use selvedge::folder::Folder;
use selvedge::store::RealDisk;
use selvedge_tests::device::Device;
use selvedge_tests::eventually;
use selvedge_tests::ledger::{Identity, Ledger};
use selvedge_tests::process::{Output, Process, Signal};
use selvedge_tests::site::Site;
use serde_json::Value;

const STREAM: &str = "counter/0";

fn wait_for_device(site: &Site, wanted: &str) -> Value {
    eventually(&format!("a device that is {wanted}"), || {
        let device = site.status()["devices"][0].clone();
        if device["state"] == wanted { Ok(device) } else { Err(device) }
    })
}

fn said(node: &Process, words: &str) -> usize {
    node.lines(Output::Err).iter().filter(|line| line.contains(words)).count()
}

#[test]
fn a_device_that_is_off_at_the_start_keeps_nothing_from_starting() {
    let site = Site::new();
    let device = Device::on_stable_port();
    site.configure(&device.counters_config("50ms"));
    let port = device.unplug();
    site.ask(&["adapter", "test", "--for", "1s"]).expect(1).says(&[
        "machine",
        "down",
        "no good reading from machine",
    ]);
    let node = site.run();
    let down = wait_for_device(&site, "down");
    assert!(down["error"].as_str().is_some_and(|why| why.contains("refused")), "{down}");
    assert!(down["next_attempt"].is_string() && down["last_good"].is_null(), "{down}");
    site.ask(&["status"]).expect(1).says(&["does not answer", "tried again by itself"]);
    // Never spoken, so there is nothing to be stale.
    eventually("streams without a reading", || {
        let done = site.ask(&["readings", STREAM]);
        if done.status.success() { Ok(done.says(&["no reading"])) } else { Err(done) }
    });
    site.ask(&["prove", STREAM, "latest"]).expect(1).says(&["has no reading yet", "selvedge status"]);
    let device = Device::on_port(port);
    wait_for_device(&site, "up");
    site.wait_for_transactions(1);
    assert_eq!(said(&node, "does not answer"), 1, "one line: {:?}", node.lines(Output::Err));
    node.end_with(Signal::TERM).expect(0);
    assert!(site.readings(STREAM).iter().all(|reading| reading["quality"] == "good"));
    drop(device);
}

/// Runs with a device that behaves, then one that does not, then one that does again. No number may come twice or
/// under another's name, and what is not good says so.
fn through(mode: &str, error: &str) -> Vec<Value> {
    let site = Site::new();
    let mut device = Device::start();
    site.configure(&device.counters_config("50ms").replace("timeout = \"5s\"", "timeout = \"300ms\""));
    let node = site.run();
    wait_for_device(&site, "up");
    site.wait_for_transactions(1);
    device.mode(mode);
    let bad = eventually("a device in trouble", || {
        let device = site.status()["devices"][0].clone();
        let is_bad = device["state"] == "down" || device["state"] == "degraded";
        if is_bad && device["error"].is_string() { Ok(device) } else { Err(device) }
    });
    assert!(bad["error"].as_str().is_some_and(|why| why.contains(error)), "expected {error:?}: {bad}");
    site.ask(&["status"]).expect(1).says(&["machine", error]);
    device.mode("normal");
    wait_for_device(&site, "up");
    let count = site.readings(STREAM).len();
    eventually("good readings again", || {
        let readings = site.readings(STREAM);
        let good = readings.last().is_some_and(|last| last["quality"] == "good");
        if good && readings.len() > count { Ok(()) } else { Err(readings.len()) }
    });
    let done = node.end_with(Signal::TERM).expect(0);
    assert!(!done.err.contains("panicked"), "{done}");
    let readings = site.readings(STREAM);
    assert!((0_u64..).zip(&readings).all(|(counter, reading)| reading["counter"] == counter), "a gap");
    // Eight streams share each read, so this one has every eighth number, from 1 on.
    let good = readings.iter().filter(|reading| reading["quality"] == "good");
    let numbers: Vec<u64> = good.map(|reading| reading["value"].as_u64().expect("a number")).collect();
    assert!(numbers.iter().all(|number| number % 8 == 1), "another register's number: {numbers:?}");
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "a late or repeated number: {numbers:?}");
    assert!(numbers.len() > 5, "{numbers:?}");
    readings
}

fn count(readings: &[Value], quality: &str) -> usize {
    readings.iter().filter(|reading| reading["quality"] == quality).count()
}

#[test]
fn a_device_that_answers_nonsense_is_not_believed() {
    let readings = through("garbage", "");
    assert_eq!(count(&readings, "stale"), 1, "one mark, and then silence");
}

#[test]
fn a_device_that_answers_late_gives_no_number_to_another_moment() {
    let readings = through("slow 700", "no answer within 300ms");
    assert_eq!(count(&readings, "stale"), 1);
}

#[test]
fn a_device_that_never_answers_is_marked() {
    let readings = through("silent", "no answer within 300ms");
    assert_eq!(count(&readings, "stale"), 1);
}

#[test]
fn a_device_that_closes_the_connection_is_marked() {
    let readings = through("closes", "closed");
    assert_eq!(count(&readings, "stale"), 1);
}

#[test]
fn a_device_that_refuses_is_read_on_and_its_readings_are_bad() {
    let readings = through("refuses", "exception 4");
    assert!(count(&readings, "bad") > 0, "a refusal is a reading without a value");
    for bad in readings.iter().filter(|reading| reading["quality"] == "bad") {
        assert_eq!((&bad["value"], &bad["status"]), (&Value::Null, &4.into()), "{bad}");
    }
}

#[test]
fn a_clock_that_was_set_back_by_years_is_said_and_loses_nothing() {
    let (site, device) = (Site::new(), Device::start());
    let four_years_ns = 4 * 365 * 86_400 * 1_000_000_000;
    // A gateway whose clock ran four years ahead, then somebody put it right.
    let ahead_ns = selvedge::engine::clock::wall_ns() + four_years_ns;
    let folder = Folder::open(site.data()).expect("init made it");
    let disk = Arc::new(RealDisk::open(folder.store_path()).expect("nobody else has it"));
    let mut ledger = Ledger::open(&Identity::of_folder(&folder), disk, false, ahead_ns).expect("a new store");
    ledger.describe(STREAM, "L");
    ledger.submit(STREAM, 20);
    ledger.drain().expect("the disk works");
    ledger.close().expect("the disk works");

    let asked = site.ask(&["status", "--json"]).expect(3).json();
    assert_eq!(asked["clock"]["plausible"], false, "behind what is stored: {}", asked["clock"]);
    site.configure_exactly(&format!(
        "[batch]\nage = \"200ms\"\n\n[journal]\nsync_within = \"20ms\"\n\n[clock]\ntrust = \"auto\"\n\n{}",
        device.counters_config("50ms")
    ));
    let node = site.run();
    site.wait_for_transactions(4);
    site.ask(&["status"]).expect(1).says(&["clock", "cannot be right"]);
    let file = site.beside("it.proof");
    site.prove("counter/1", &file);
    node.end_with(Signal::TERM).expect(0);
    let readings = site.readings(STREAM);
    assert!(readings.len() > 20, "it goes on");
    assert!(
        (0_u64..).zip(&readings).all(|(counter, reading)| reading["counter"] == counter),
        "in order of the counter"
    );
    assert_eq!(readings[0]["value"], 9, "what was there before: {}", readings[0]);
    // Nobody keeps this clock (`auto`, and no time server in a test), so new readings and transactions say so, and
    // transactions are never dated before those that stand before them on the chain.
    let marked =
        readings.iter().skip(20).filter(|r| r["flags"] == serde_json::json!(["unsynchronised"])).count();
    let kept = std::path::Path::new("/run/systemd/timesync/synchronized").exists();
    assert_eq!(marked, if kept { 0 } else { readings.len() - 20 }, "{readings:?}");
    if !kept {
        let tangle = site.ask(&["tangle", "--json", "--last", "1000"]).expect(0).json();
        let times: Vec<&str> = tangle["newest"]
            .as_array()
            .expect("some")
            .iter()
            .filter_map(|t| t["issued_at"].as_str())
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        let words = selvedge_tests::program::ask([
            "verify",
            file.to_str().expect("UTF-8"),
            "--network",
            site.network(),
        ]);
        words.expect(0).says(&["its clock was not synchronised"]);
    }
}
