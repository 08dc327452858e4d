//! `selvedge adapter scan`: from an address to a configuration that reads, by the program itself.

use std::process::Command;

use selvedge_tests::device::python;
use selvedge_tests::process::{Done, Output, Process};
use selvedge_tests::{program, project};
use serde_json::Value;
use tempfile::TempDir;

/// SunSpec devices by pymodbus, and the address of them.
fn server() -> (Process, String) {
    let script = project().join("tests/servers/sunspec.py");
    let server = Process::start(Command::new(python()).arg(script));
    let line = server.line(Output::Out, "its port", |line| line.starts_with('{'));
    let said: Value = serde_json::from_str(&line).expect("JSON");
    (server, format!("127.0.0.1:{}", said["port"]))
}

fn scan(address: &str, more: &[&str]) -> Done {
    let mut arguments = vec!["adapter", "scan", "modbus", address];
    arguments.extend(more);
    program::ask(arguments)
}

#[test]
fn a_scan_writes_a_configuration_that_the_trial_reads() {
    let (_server, address) = server();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("inverters.toml");
    let out = file.to_str().expect("UTF-8");
    let done = scan(&address, &["--unit", "1-2,5,99", "--out", out, "--timeout", "30s"]).expect(0);
    let done = done.says(&[
        "SunSpecTest, Test-1547-1, serial number sn-123456789, version 1.2.3; SunSpec at holding:40000",
        "model 701   DERMeasureAC (DER AC Measurement) at holding:40070",
        "unit 5    answers: VendorName Selvedge tests",
        "Readable: holding:10 to holding:209",
        "unit 99   no answer: it does not answer the gateway (exception 11)",
        "try it: selvedge adapter test --config",
    ]);
    assert!(
        done.err.contains("unit 2: model 129 of 210 registers"),
        "progress goes to standard error: {done}"
    );

    let test = ["adapter", "test", "--config", out, "--for", "5s", "--json"];
    let readings = program::ask(test).expect(0).json_lines();
    let hertz = readings.iter().find(|line| line["stream"] == "test-1547-1-unit-1/DERMeasureAC/Hz");
    let hertz = hertz.unwrap_or_else(|| panic!("no frequency among {} lines", readings.len()));
    let seen = [&hertz["value"], &hertz["raw"], &hertz["unit"], &hertz["quality"]];
    assert_eq!(seen, [&Value::from(60.01), &Value::from(60_010), &"Hz".into(), &"good".into()], "{hertz}");

    // What is there is not overwritten, and nobody is asked before that is clear.
    let before = std::fs::read(&file).expect("it was written");
    let again = scan(&address, &["--out", out]).expect(2).says(&["is there already and is not overwritten"]);
    assert!(!again.err.contains("asking"), "{again}");
    assert_eq!(std::fs::read(&file).expect("still there"), before);
}

#[test]
fn its_answer_for_programs_is_one_object() {
    let (_server, address) = server();
    let told = scan(&address, &["--unit", "1,4,5,99", "--json", "--timeout", "30s"]).expect(0).json();
    assert_eq!((&told["address"], &told["file"]), (&address.into(), &Value::Null));
    let units = told["units"].as_array().expect("units");
    let answers: Vec<_> = units.iter().map(|unit| (&unit["answers"], &unit["same_as"])).collect();
    let (yes, no, none) = (Value::from(true), Value::from(false), Value::Null);
    assert_eq!(answers, [(&yes, &none), (&yes, &Value::from(1)), (&yes, &none), (&no, &none)]);
    assert_eq!(units[0]["identification"]["ProductCode"], "sunspec.py");
    let models = units[0]["sunspec"]["models"].as_array().expect("models");
    assert_eq!(models.len(), 14);
    let points = models[1]["points"].as_array().expect("points");
    let hertz = points.iter().find(|point| point["name"] == "Hz").expect("a frequency");
    assert_eq!(
        (&hertz["value"], &hertz["raw"], &hertz["unit"]),
        (&60.01.into(), &60_010.into(), &"Hz".into())
    );
    assert_eq!(units[2]["readable"][0]["last"], 209);
}

#[test]
fn where_nothing_answers_it_says_so() {
    let (_server, address) = server();
    let nothing = scan(&address, &["--unit", "99", "--json"]).expect(1).says(&["no unit of 99 answered"]);
    assert_eq!(nothing.json()["units"][0]["answers"], false);
    // A port that was free a moment ago.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    scan(&format!("127.0.0.1:{port}"), &[]).expect(1).says(&["Connection refused", "is the device on"]);
    for wrong in [&["--unit", "300"][..], &["--unit", "4-1"], &["--name", "a b"], &["--timeout", "soon"]] {
        scan(&address, wrong).expect(2);
    }
    scan("modbus://plc", &[]).expect(2).says(&["no address"]);
    let (folder, name) = (TempDir::new().expect("a folder"), "missing/inverter.toml");
    let file = folder.path().join(name);
    scan(&address, &["--out", file.to_str().expect("UTF-8")])
        .expect(2)
        .says(&["is no folder; make it first"]);
}
