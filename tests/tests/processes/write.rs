//! `selvedge adapter arm`, `disarm` and `write`, by the program itself: what is not allowed or not armed never reaches the
//! machine, what is gets there and is read back, and each attempt is a reading of its own.

use selvedge_tests::device::Device;
use selvedge_tests::eventually;
use selvedge_tests::process::{Output, Process, Signal};
use selvedge_tests::site::Site;
use serde_json::Value;

/// What holding register 2 of the device holds at the start.
const FROM_THE_START: u64 = 54_321;

/// Two streams, one of which may be written, of one device; and a device of which none may be.
fn devices(device: &Device) -> String {
    let head = |name: &str, unit: u8| {
        format!(
            "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{}\"\nunit_id = {unit}\n\
             poll_interval = \"50ms\"\n\n",
            device.port()
        )
    };
    let stream = |name: &str, place: u16| {
        format!(
            "[[device.stream]]\nname = \"{name}\"\nregister = \"holding:{place}\"\ntype = \"u16\"\nscale = 0.1\n"
        )
    };
    let write = "[device.stream.write]\nmin = 0\nmax = 100\n\n";
    [
        head("filler", 1),
        stream("filler/setpoint", 2),
        write.to_owned(),
        stream("filler/level", 3),
        head("capper", 1).replace("unit_id = 1", "unit_id = 2"),
        stream("capper/speed", 2),
    ]
    .concat()
}

/// The newest good reading of a stream, if there is one: its raw value.
fn last_raw(site: &Site, stream: &str) -> Option<u64> {
    let done = site.ask(&["readings", stream, "--last", "1", "--json"]);
    let last = done.json_lines().pop()?;
    (last["quality"] == "good").then(|| last["raw"].as_u64().expect("a number"))
}

fn shows(site: &Site, stream: &str, raw: u64) {
    eventually(&format!("{raw} in {stream}"), || match last_raw(site, stream) {
        Some(seen) if seen == raw => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
}

/// A gateway that reads the device.
fn running(device: &Device) -> (Site, Process) {
    let site = Site::new();
    site.configure(&devices(device));
    let node = site.run();
    shows(&site, "filler/setpoint", FROM_THE_START);
    (site, node)
}

/// The attempts on the setpoint so far: who, what stage, and the whole line.
fn attempts(site: &Site) -> Vec<(Value, Value)> {
    let readings = site.readings("filler/setpoint/write");
    let line = |reading: Value| {
        let text = reading["value"].as_str().expect("a text").to_owned();
        (serde_json::from_str(&text).expect("JSON"), reading)
    };
    readings.into_iter().map(line).collect()
}

#[test]
fn nothing_reaches_a_machine_that_is_not_armed_and_what_is_armed_is_written_and_recorded() {
    let mut device = Device::on_two_units();
    let (site, node) = running(&device);

    // Not armed: it is said what arms, and the machine is not asked.
    let write = ["adapter", "write", "filler/setpoint", "50", "--by", "eva"];
    site.ask(&write).expect(1).says(&["not armed", "selvedge adapter arm filler --for 10min"]);
    assert_eq!(device.writes(), 0);

    // Only devices that are there, and of which something may be written, can be armed; and not for ever.
    site.ask(&["adapter", "arm", "filer"]).expect(2).says(&["no device \"filer\"", "filler, capper"]);
    site.ask(&["adapter", "arm", "capper"])
        .expect(2)
        .says(&["no stream of \"capper\"", "[device.stream.write]"]);
    site.ask(&["adapter", "arm", "filler", "--for", "25h"]).expect(2).says(&["at most 24 hours"]);
    site.ask(&write).expect(1).says(&["not armed"]);

    let armed = site.ask(&["adapter", "arm", "filler", "--for", "10min", "--json"]).expect(0).json();
    assert_eq!(armed, serde_json::json!({ "armed": ["filler"], "for_ms": 600_000 }));
    let told = site.ask(&[&write[..], &["--json"]].concat()).expect(0).json();
    assert_eq!(
        told,
        serde_json::json!({
            "stream": "filler/setpoint", "value": 50, "raw": 500, "outcome": "confirmed", "read_back": 500
        })
    );
    assert_eq!(device.writes(), 1);
    shows(&site, "filler/setpoint", 500);
    site.ask(&["adapter", "write", "filler/setpoint", "7.5"])
        .expect(0)
        .says(&["7.5 (raw 75): confirmed, read back 75"]);
    assert_eq!(device.writes(), 2);

    // Armed or not: bounds are bounds, and only streams with a table may be written.
    for (value, stream, why) in [
        ("100.1", "filler/setpoint", "0 to 100"),
        ("-1", "filler/setpoint", "0 to 100"),
        ("full", "filler/setpoint", "0 to 100"),
        ("5", "filler/level", "may not be written, so nothing was sent; those that may: filler/setpoint"),
        ("5", "filler/setpont", "may not be written, so nothing was sent; those that may: filler/setpoint"),
    ] {
        site.ask(&["adapter", "write", stream, value]).expect(1).says(&[why]);
    }
    site.ask(&["adapter", "write", "filler/setpoint", "[1]"])
        .expect(2)
        .says(&["no number, text, true or false"]);
    assert_eq!(device.writes(), 2);

    let disarmed = site.ask(&["adapter", "disarm", "--json"]).expect(0).json();
    assert_eq!(disarmed, serde_json::json!({ "armed": [] }));
    site.ask(&write).expect(1).says(&["not armed"]);
    assert_eq!(device.writes(), 2);

    // Each attempt is there: who, what, and what became of it.
    let attempts = attempts(&site);
    let seen: Vec<(&str, f64)> = attempts
        .iter()
        .filter(|(line, _)| line["value"].is_number())
        .map(|(line, _)| {
            (line["stage"].as_str().expect("a stage"), line["value"].as_f64().expect("a number"))
        })
        .collect();
    let expected = [
        ("refused", 50.0),
        ("refused", 50.0),
        ("asked", 50.0),
        ("confirmed", 50.0),
        ("asked", 7.5),
        ("confirmed", 7.5),
        ("refused", 100.1),
        ("refused", -1.0),
        ("refused", 50.0),
    ];
    assert_eq!(seen, expected);
    let (line, reading) = &attempts[3];
    assert_eq!((&line["by"], &line["raw"], &line["read_back"]), (&"eva".into(), &500.into(), &500.into()));
    assert_eq!(reading["quality"], "good", "{reading}");
    assert_eq!(attempts[0].1["quality"], "bad", "{}", attempts[0].1);
    assert_eq!(attempts[7].0["value"], -1, "a negative number is no option");
    site.ask(&["readings", "filler/setpoint/write"]).expect(0).says(&["eva", "not armed"]);
    let streams = site.ask(&["streams", "--json"]).expect(0).json();
    let of_attempts = streams["streams"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|stream| stream["name"] == "filler/setpoint/write")
        .expect("a stream of attempts");
    assert_eq!(
        (&of_attempts["device"], &of_attempts["readings"]),
        (&"filler".into(), &attempts.len().into())
    );
    node.end_with(Signal::TERM).expect(0);
    site.ask(&write).expect(1).says(&["no node runs on this folder"]);
    assert_eq!(device.writes(), 2);
}

#[test]
fn arming_ends_by_itself() {
    let mut device = Device::on_two_units();
    let (site, _node) = running(&device);
    site.ask(&["adapter", "arm", "filler", "--for", "1ms"]).expect(0);
    // Another process runs in between, so a millisecond is over.
    let done = site.ask(&["adapter", "write", "filler/setpoint", "50"]).expect(1);
    done.says(&["it was armed for 1ms, which is over"]);
    assert_eq!(device.writes(), 0);
}

#[test]
fn a_file_that_others_may_write_arms_nothing() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut device = Device::on_two_units();
    let (site, _node) = running(&device);
    site.ask(&["adapter", "arm", "filler"]).expect(0);
    let file = site.file("armed.toml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).expect("a mode");
    site.ask(&["adapter", "write", "filler/setpoint", "50"]).expect(1).says(&["others may write it"]);
    assert_eq!(device.writes(), 0);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    site.ask(&["adapter", "write", "filler/setpoint", "50"]).expect(0).says(&["confirmed"]);
}

/// A machine that does not answer: the command waits for what becomes of it, and says that nobody knows, or that nothing
/// was sent; never that it was done.
#[test]
fn a_write_to_a_machine_that_went_away_is_never_called_done() {
    let device = Device::on_two_units();
    let (site, node) = running(&device);
    site.ask(&["adapter", "arm", "filler"]).expect(0);
    drop(device);
    node.line(Output::Err, "that the device is gone", |line| line.contains("does not answer"));
    let told = site.ask(&["adapter", "write", "filler/setpoint", "50", "--json"]).expect(1).json();
    assert_ne!(told["outcome"], "confirmed", "{told}");
    assert!(told["why"].is_string(), "{told}");
    let attempts = attempts(&site);
    let (last, reading) = attempts.last().expect("attempts");
    assert_eq!((attempts.len(), &last["stage"]), (2, &told["outcome"]), "{last}");
    assert_ne!(reading["quality"], "good", "{reading}");
}
