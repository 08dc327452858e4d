//! `selvedge demo` as a process: what it promises in its last line, and that it always comes to its end.

use std::path::Path;
use std::process::Stdio;

use selvedge::answers::shown::Time;
use selvedge::answers::times::parse_moment;
use selvedge_tests::broker::Broker;
use selvedge_tests::process::{Done, Output, Process, Signal};
use selvedge_tests::program;
use serde_json::Value;

/// An answer over Modbus comes within a second, or not at all: the demo's configuration says so.
const TIMEOUT_NS: i64 = 1_000_000_000;

/// The object in the last line.
fn end_of(done: &Done) -> Value {
    let last = done.out.lines().last().unwrap_or_else(|| panic!("it said nothing: {done}"));
    serde_json::from_str(last).unwrap_or_else(|why| panic!("{why}: {done}"))
}

const PROOFS: [&str; 3] = ["proof_verified", "tampered_proof_rejected", "forged_network_rejected"];
const AGREEMENT: [&str; 2] = ["witnessed_all", "ledgers_equal"];

#[track_caller]
fn all_are(end: &Value, promises: &[&str], expected: bool, done: &Done) {
    for promise in promises {
        assert_eq!(end[promise], expected, "{promise}: {end}\n{done}");
    }
}

#[test]
fn four_gateways_hold_one_ledger_and_the_last_line_says_so() {
    let done = program::ask(["demo", "--for", "4s", "--json"]).expect(0);
    let end = end_of(&done);
    all_are(&end, &PROOFS, true, &done);
    all_are(&end, &AGREEMENT, true, &done);
    assert_eq!(end["gateways"], 4, "{end}");
    for count in ["readings", "batches", "transactions", "tips", "bytes_sent"] {
        assert!(end[count].as_u64().is_some_and(|n| n > 0), "{count}: {end}");
    }
    // Each of the four put something in, and somebody approved it.
    assert!(
        end["batches"].as_u64() >= Some(4) && end["transactions"].as_u64() > end["batches"].as_u64(),
        "{end}"
    );
    assert_eq!(end["transactions_compared"], end["transactions"], "{end}");
    let gateways = ["filler-gateway", "maker-gateway", "service-gateway", "audit-gateway"];
    done.says(&gateways).says(&["peers witnessed", "the same "]);
}

#[test]
fn one_gateway_compares_nothing() {
    let done = program::ask(["demo", "--gateways", "1", "--for", "2s", "--json"]).expect(0);
    let end = end_of(&done);
    all_are(&end, &PROOFS, true, &done);
    all_are(&end, &AGREEMENT, false, &done);
    assert_eq!(
        (&end["gateways"], &end["transactions_compared"], &end["bytes_sent"]),
        (&1.into(), &0.into(), &0.into())
    );
    done.says(&["nothing was compared"]);
}

#[test]
fn a_gateway_that_is_cut_off_lacks_what_the_others_have_and_they_lack_its_own() {
    let done = program::ask(["demo", "--for", "5s", "--cut", "3", "--cut-at", "1s", "--json"]).expect(0);
    let end = end_of(&done);
    all_are(&end, &AGREEMENT, false, &done);
    // Alone it still signs, and what it signed is proved.
    all_are(&end, &PROOFS, true, &done);
    assert!(end["transactions_compared"].as_u64() >= Some(4), "{end}");
    done.says(&["\"service-gateway\" lacks", "\"filler-gateway\" lacks", "has not approved", "cut cable"]);
}

#[test]
fn a_cable_that_is_put_back_leaves_one_ledger() {
    let arguments = ["demo", "--for", "8s", "--cut", "2", "--cut-at", "2s", "--heal-at", "5s", "--json"];
    let done = program::ask(arguments).expect(0);
    let end = end_of(&done);
    all_are(&end, &AGREEMENT, true, &done);
    all_are(&end, &PROOFS, true, &done);
    let lost = |line: &str| line.contains("packets lost") && !line.contains(" 0 packets lost");
    assert!(done.err.lines().any(lost), "the cable was never out: {done}");
    assert!(!done.err.contains("lacks"), "{done}");
}

#[test]
fn what_is_wrong_with_a_cut_is_said() {
    for (arguments, words) in [
        (&["--cut", "5"][..], "1 to 4"),
        (&["--cut", "1", "--gateways", "1"], "--gateways 2 or more"),
        (&["--cut", "1", "--for", "3s"], "--cut-at"),
        (&["--cut", "1", "--heal-at", "2s"], "--heal-at"),
        (&["--heal-at", "2s"], "--cut"),
        (&["--gateways", "8"], "1 to 7"),
        (&["--mqtt", "http://127.0.0.1"], "mqtt://HOST"),
    ] {
        let all: Vec<&str> = ["demo"].into_iter().chain(arguments.iter().copied()).collect();
        program::ask(all).expect(2).says(&[words]);
    }
}

/// What a gateway recorded of a stream: quality, source and receive time in ns, and the value, with bits as 0 and 1.
fn recorded(kept: &Path, gateway: &str, stream: &str) -> Vec<(String, i64, i64, f64)> {
    let data = kept.join(gateway);
    let data = data.to_str().expect("UTF-8");
    let arguments = ["export", "--stream", stream, "--format", "jsonl", "--data", data];
    let readings = program::ask(arguments).expect(0).json_lines();
    let parsed = readings.iter().map(|reading| {
        let time = |name: &str| ns(reading[name].as_str().expect("a time"));
        let quality = reading["quality"].as_str().expect("a word").to_owned();
        (quality, time("source_time"), time("receive_time"), number(&reading["value"]).unwrap_or(f64::NAN))
    });
    parsed.collect()
}

fn ns(time: &str) -> i64 {
    parse_moment(time, Time(0)).expect("a time").0
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(|bit| f64::from(u8::from(bit))))
}

/// The plant beside the gateways says what its instruments showed, fifty times a second: nothing may stand in a ledger
/// that they did not show, whichever protocol it came over, and nothing at another time.
#[test]
fn over_all_three_protocols_readings_are_what_the_plant_showed() {
    let broker = Broker::start();
    let above = tempfile::tempdir().expect("a folder for tests");
    let kept = above.path().join("kept");
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let arguments =
        ["demo", "--for", "6s", "--json", "--mqtt", &url, "--keep", kept.to_str().expect("UTF-8")];
    let done = program::ask(arguments).expect(0);
    let end = end_of(&done);
    all_are(&end, &AGREEMENT, true, &done);
    all_are(&end, &PROOFS, true, &done);
    done.clone().says(&["Modbus request", "new OPC-UA value", "MQTT message", "opc.tcp://127.0.0.1:"]);

    let record = std::fs::read_to_string(kept.join("plant.jsonl")).expect("the plant's record");
    let record: Vec<Value> = record.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let turns: Vec<i64> =
        record.iter().map(|turn| turn["time_ms"].as_i64().expect("a time") * 1_000_000).collect();
    assert!(turns.is_sorted() && turns.len() > 100, "{} turns", turns.len());
    let showed = |at: usize, stream: &str| number(&record[at][stream]).expect("a number");
    let is_same = |one: f64, other: f64| (one - other).abs() < 1e-9;
    // Over OPC-UA and MQTT a reading brings the moment at which the plant showed it.
    for (gateway, stream, least) in [
        ("filler-gateway", "filler/flow", 10),
        ("maker-gateway", "filler/tank/temperature", 10),
        ("service-gateway", "conveyor/speed", 10),
        ("service-gateway", "conveyor/bottles", 2),
    ] {
        let readings = recorded(&kept, gateway, stream);
        let good: Vec<_> = readings.iter().filter(|(quality, ..)| quality == "good").collect();
        assert!(good.len() >= least, "{stream}: {readings:?}");
        for (_, source, receive, value) in &good {
            let at = turns.iter().enumerate().filter(|(_, turn)| *turn == source);
            let shown: Vec<f64> = at.map(|(at, _)| showed(at, stream)).collect();
            assert!(
                shown.iter().any(|shown| is_same(*shown, *value)),
                "{stream}: {value} at {source}, not {shown:?}"
            );
            assert!(receive >= source, "{stream}: {value} was received before the plant showed it");
        }
        let changes = good.windows(2).all(|pair| pair[0].1 < pair[1].1);
        assert!(changes, "{stream}: source times rise: {good:?}");
    }
    // Modbus has no time of its own: what was read is what the plant showed shortly before the answer came.
    for (gateway, stream) in [
        ("filler-gateway", "filler/tank/level"),
        ("filler-gateway", "filler/bottle/fill"),
        ("maker-gateway", "filler/valve/open"),
        ("audit-gateway", "filler/pump/on-below"),
    ] {
        let readings = recorded(&kept, gateway, stream);
        let good: Vec<_> = readings.iter().filter(|(quality, ..)| quality == "good").collect();
        assert!(good.len() >= 10, "{stream}: {readings:?}");
        for (_, _, receive, value) in &good {
            let newest = turns.partition_point(|turn| turn <= receive);
            // What stood when it was asked belongs to the turn before.
            let oldest = turns.partition_point(|turn| *turn < receive - TIMEOUT_NS).saturating_sub(1);
            let shown: Vec<f64> = (oldest..newest).map(|at| showed(at, stream)).collect();
            assert!(
                shown.iter().any(|shown| is_same(*shown, *value)),
                "{stream}: {value} is none of {shown:?}"
            );
        }
    }

    // Each session that a gateway had was ended: the broker keeps nothing for a demo that is over.
    let log = broker.log();
    let sessions = |clean: &str| {
        let is_it = |line: &&String| line.contains(" as selvedge-demo-") && line.contains(clean);
        let name = |line: &String| {
            line.split(" as ").nth(1).and_then(|rest| rest.split(' ').next().map(str::to_owned))
        };
        log.iter().filter(is_it).filter_map(name).collect::<Vec<_>>()
    };
    let (kept, ended) = (sessions(", c0,"), sessions(", c1,"));
    assert!(!kept.is_empty() && kept.iter().all(|name| ended.contains(name)), "{kept:?} {ended:?}");
}

#[test]
fn a_broker_that_is_not_there_is_named() {
    let broker = Broker::off();
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    program::ask(["demo", "--for", "2s", "--mqtt", &url]).expect(2).says(&[&url, "does not answer"]);
}

#[test]
fn without_a_terminal_it_prints_plain_lines() {
    let done = program::ask(["demo", "--for", "2s"]).expect(0);
    assert!(!done.out.contains('\u{1b}'), "escape sequences, and nobody has a terminal: {done}");
    let text = done.out.clone();
    done.says(&["erified", "efused"]);
    assert!(text.lines().count() > 5, "{text}");
}

#[test]
fn what_it_keeps_can_be_looked_at_and_verified_again() {
    let above = tempfile::tempdir().expect("a folder for tests");
    let folder = above.path().join("kept");
    let kept = folder.to_str().expect("UTF-8");
    let done = program::ask(["demo", "--for", "2s", "--keep", kept, "--json"]).expect(0);
    let report = end_of(&done);
    let mut data = Vec::new();
    let mut proofs = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == "genesis.bin") {
                data.push(path.parent().expect("a folder").to_owned());
            } else if path.extension().is_some_and(|e| e == "proof") {
                proofs.push(path);
            }
        }
    }
    let shown = data.iter().find_map(|data| {
        let done = program::ask(["status", "--json", "--data", data.to_str()?]);
        let status: Value = serde_json::from_str(&done.out).ok()?;
        // The forger's folder lies there too.
        (status["network"]["id"] == report["network"]
            && status["ledger"]["transactions"] == report["transactions"])
            .then(|| status["network"]["id"].as_str().map(str::to_owned))?
    });
    let network = shown.unwrap_or_else(|| panic!("no kept folder holds what {report} says: {data:?}"));
    let codes: Vec<i32> = proofs
        .iter()
        .map(|proof| program::ask(["verify", proof.to_str().expect("UTF-8"), "--network", &network]).code())
        .collect();
    assert!(codes.contains(&0) && codes.contains(&1), "the proof and the forgeries: {codes:?} of {proofs:?}");
    // The folder is not empty now, so it is not taken again.
    program::ask(["demo", "--for", "1s", "--keep", kept]).expect(2).says(&[kept]);
}

#[test]
fn it_ends_when_nobody_listens_any_more() {
    let mut command = program::command(["demo", "--for", "2s"]);
    // A shell that reads one line and leaves; then the pipe is closed.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$@\" | head -n 1", "sh"]).arg(command.get_program()).args(command.get_args());
    let done = Process::start(&mut shell).done().expect(0);
    assert_eq!(done.out.lines().count(), 1, "{done}");
    assert!(!done.err.contains("panicked"), "{done}");
    // And when there never was anybody.
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let status = command.status().expect("it starts");
    assert!(status.success(), "{status}");
}

#[test]
fn ctrl_c_ends_the_polling_and_the_proof_still_comes() {
    let demo = Process::start(&mut program::command(["demo", "--for", "10min", "--json"]));
    demo.line(Output::Err, "that it has readings", |line| line.contains("L in the tank"));
    let done = demo.end_with(Signal::INT).expect(0);
    let end = end_of(&done);
    assert_eq!(end["proof_verified"], true, "{done}");
}
