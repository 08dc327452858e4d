//! Every question, with a node and without one: what it answers in JSON, its exit code, and how the daemon stops.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use selvedge_tests::device::Device;
use selvedge_tests::process::{Done, Output, Process, Signal};
use selvedge_tests::site::Site;
use selvedge_tests::{eventually, program};
use serde_json::Value;

const STREAM: &str = "counter/0";

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().map(String::as_str).collect()
}

#[track_caller]
fn has_keys(value: &Value, expected: &str) {
    assert_eq!(keys(value), expected.split(' ').collect(), "{value}");
}

/// RFC 3339 with a zone.
#[track_caller]
fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is no time"));
    let (date, time) = text.split_once('T').unwrap_or_else(|| panic!("{text} is no time"));
    assert!(date.len() == 10 && date.starts_with("20"), "{text}");
    assert!(time.ends_with('Z') || time.contains('+') || time.contains('-'), "{text} has no zone");
}

#[track_caller]
fn is_reading(reading: &Value) {
    has_keys(
        reading,
        "stream counter source_time receive_time value raw unit quality flags status state batch transaction",
    );
    is_time(&reading["source_time"]);
    is_time(&reading["receive_time"]);
    let attached = reading["state"] == "attached";
    assert!(attached || reading["state"] == "journaled", "{reading}");
    assert_eq!(reading["transaction"].is_string(), attached, "{reading}");
}

/// The same questions, to a running node and to the store.
fn questions(site: &Site, running: bool) {
    let status = site.ask(&["status", "--json"]).expect(if running { 0 } else { 3 }).json();
    has_keys(
        &status,
        "asked state attention version folder network gateway started uptime_s clock devices streams backlog ledger disk events own_chain peers",
    );
    assert_eq!(status["state"], if running { "running" } else { "not-running" });
    assert_eq!(status["network"]["id"], site.network());
    assert_eq!(
        (&status["gateway"]["name"], &status["gateway"]["organisation"]),
        (&"g1".into(), &"Acme".into())
    );
    assert!(
        status["disk"]["total_bytes"].as_u64() > Some(0) && status["disk"]["free_bytes"].as_u64() > Some(0)
    );
    assert_eq!(status["clock"]["plausible"], true, "the clock of this machine: {}", status["clock"]);
    let device = &status["devices"][0];
    assert_eq!(device["name"], "machine", "{status}");
    assert_eq!(device["state"].is_string(), running, "{status}");
    assert!(device["last_good"]["value"].is_u64(), "{status}");
    is_time(&device["last_good"]["receive_time"]);

    let streams = site.ask(&["streams", "--json"]).expect(0).json();
    has_keys(&streams, "asked streams");
    let all = streams["streams"].as_array().expect("streams");
    assert_eq!(all.len(), 8, "{streams}");
    for stream in all {
        has_keys(stream, "name device address source_type unit readings last last_good");
        is_reading(&stream["last"]);
    }

    let readings = site.ask(&["readings", STREAM, "--last", "5", "--json"]).expect(0).json_lines();
    assert_eq!(readings.len(), 5);
    readings.iter().for_each(is_reading);
    let counters: Vec<u64> = readings.iter().map(|r| r["counter"].as_u64().expect("a number")).collect();
    assert!(counters.windows(2).all(|pair| pair[1] == pair[0] + 1), "{counters:?}");
    assert_eq!(
        site.ask(&["readings", STREAM]).expect(0).out.lines().count(),
        10,
        "ten when nobody says how many"
    );
    ranges(site);

    let tangle = site.ask(&["tangle", "--last", "3", "--json"]).expect(0).json();
    has_keys(&tangle, "asked transactions tips committee newest");
    let newest = tangle["newest"].as_array().expect("transactions");
    assert_eq!(newest.len(), 3, "{tangle}");
    for transaction in newest {
        has_keys(
            transaction,
            "number id issuer issuer_name sequence kind payload batch readings approves issued_at own tip second_branch witnessed",
        );
        assert_eq!(transaction["approves"].as_array().map(Vec::len), Some(2), "{transaction}");
        is_time(&transaction["issued_at"]);
    }
    picture(&site.ask(&["tangle", "--last", "3", "--dot"]).expect(0).out, newest);

    let file = site.beside("it.proof");
    let proof = file.to_str().expect("UTF-8");
    let proved = site.ask(&["prove", STREAM, "latest", "-o", proof, "--json"]).expect(0).json();
    has_keys(&proved, "file bytes network command counter batch transaction journaled verdict");
    assert_eq!(proved["bytes"].as_u64(), Some(file.metadata().expect("it was written").len()));
    let verified = program::ask(["verify", proof, "--network", site.network(), "--json"]).expect(0).json();
    assert_eq!(verified, proved["verdict"], "one function says both");
    refusals(site);
    words(site);
}

/// By the time at which readings were received.
fn ranges(site: &Site) {
    let all = site.readings(STREAM);
    let time = |at: usize| all[at]["receive_time"].as_str().expect("a time");
    let (from, to) = (time(3), time(8));
    let some = site.ask(&["readings", STREAM, "--from", from, "--to", to, "--json"]).expect(0).json_lines();
    let counters: Vec<u64> = some.iter().map(|r| r["counter"].as_u64().expect("a number")).collect();
    assert_eq!(counters, [3, 4, 5, 6, 7], "from {from} on and before {to}");
    let none = site.ask(&["readings", STREAM, "--to", "2020-01-01T00:00:00Z", "--json"]).expect(0);
    assert_eq!(none.out, "");
}

/// The shape of a picture for Graphviz.
fn picture(dot: &str, newest: &[Value]) {
    assert!(dot.starts_with("digraph ") && dot.trim_end().ends_with('}'), "{dot}");
    assert_eq!(dot.matches('{').count(), dot.matches('}').count(), "{dot}");
    assert_eq!(dot.replace("\\\"", "").matches('"').count() % 2, 0, "{dot}");
    for transaction in newest {
        let id = transaction["id"].as_str().expect("an id");
        assert!(dot.contains(&format!("\"{id}\" [label=")), "{id} is missing in {dot}");
        for approved in transaction["approves"].as_array().expect("two") {
            let arrow = format!("\"{id}\" -> {approved};");
            assert!(dot.contains(&arrow), "{arrow} is missing in {dot}");
        }
    }
}

/// Questions that have no answer, and wrong ones.
fn refusals(site: &Site) {
    for command in [&["readings"][..], &["prove", "latest"], &["export", "--stream"]] {
        let mut line = vec![command[0]];
        line.extend(command[1..].iter().filter(|word| word.starts_with('-')));
        line.push("counter/O");
        line.extend(command[1..].iter().filter(|word| !word.starts_with('-')));
        site.ask(&line).expect(1).says(&[
            "there is no stream \"counter/O\"",
            "did you mean",
            "\"counter/0\"",
        ]);
    }
    let before = "1999-12-31T23:59:59Z";
    site.ask(&["prove", STREAM, before]).expect(1).says(&[
        "no reading at or before",
        before,
        "its first was received",
    ]);
    for (line, says) in [
        (&["readings", STREAM, "--from", "noon"][..], "--from: \"noon\""),
        (&["readings", STREAM, "--from", "2026-01-01T00:00:00"], "has no zone"),
        (&["readings", STREAM, "--from", "-1h", "--to", "-2h"], "before it begins"),
        (&["readings", STREAM, "--last", "0"], "expected 1 to"),
        (&["tangle", "--last", "0"], "expected 1 to"),
        (&["export"], "--stream"),
        (&["export", "--stream", STREAM, "--format", "xml"], "csv"),
        (&["readings"], "<STREAM>"),
        (&["redings", STREAM], "readings"),
        (&["readings", STREAM, "--lats", "3"], "--last"),
    ] {
        site.ask(line).expect(2).says(&[says]);
    }
}

/// What people read names what they look for.
fn words(site: &Site) {
    let status = site.ask(&["status"]);
    for word in ["Node", "Gateway", "Network", "Clock", "Backlog", "Disk", "machine", site.network()] {
        assert!(status.out.contains(word), "status does not say {word:?}: {status}");
    }
    site.ask(&["streams"]).expect(0).says(&[STREAM, "machine", "u32"]);
    site.ask(&["tangle"]).expect(0).says(&["g1", "svtx1"]);
    site.ask(&["key", "show"]).expect(0).says(&[site.network(), "svid1", "ML-DSA-44"]);
    let shown = site.ask(&["key", "show", "--json"]).expect(0).json();
    has_keys(&shown, "network gateway name organisation in_genesis key_files");
}

#[test]
fn questions_are_answered_alike_by_a_running_node_and_by_the_store() {
    let (site, device) = (Site::new(), Device::start());
    site.configure(&device.counters_config("20ms"));
    let node = site.run();
    site.wait_for_transactions(4);
    eventually("some readings", || {
        let readings = site.readings(STREAM).len();
        if readings > 20 { Ok(()) } else { Err(readings) }
    });
    questions(&site, true);
    node.end_with(Signal::TERM).expect(0);
    questions(&site, false);
    let (as_json, words) = (site.ask(&["check", "--json"]).expect(0).json(), site.ask(&["check"]).expect(0));
    assert_eq!(as_json["right"], true, "{as_json}");
    assert_eq!(as_json["devices"][0]["streams"], 8, "{as_json}");
    words.says(&["is right", "machine", "8 streams"]);
}

/// One client id at two addresses: right as it stands, and perhaps one broker, which throws out one client for the other.
#[test]
fn a_doubt_is_said_and_is_no_mistake() {
    let site = Site::new();
    let device = |name: &str, address: &str| {
        format!(
            "[[device]]\nname = \"{name}\"\nprotocol = \"mqtt\"\naddress = \"{address}:1883\"\nclient_id = \"gateway\"\n\
             [[device.stream]]\nname = \"{name}/t\"\ntopic = \"t\"\ntype = \"f64\"\n"
        )
    };
    site.configure(&(device("one", "broker.plant.example") + &device("other", "192.0.2.9")));
    let checked =
        site.ask(&["check"]).expect(0).says(&["is right", "warning: device \"other\"", "client_id"]);
    assert!(checked.err.contains("warning: "), "{checked}");
    let doubts = site.ask(&["check", "--json"]).expect(0).json()["doubts"].clone();
    assert_eq!(doubts.as_array().map(Vec::len), Some(1), "{doubts}");
    site.configure(&(device("one", "localhost") + &device("other", "127.0.0.1")));
    site.ask(&["check"]).expect(1).says(&["client_id", "localhost:1883", "\"one\""]);
}

/// A table of comma-separated values, by a reader that is not ours.
fn parse_csv(text: &str) -> Vec<Value> {
    const SCRIPT: &str =
        "import csv, json, sys\nfor row in csv.DictReader(sys.stdin, strict=True): print(json.dumps(row))";
    let file = tempfile::NamedTempFile::new().expect("a file for tests");
    std::fs::write(file.path(), text).expect("it can be written");
    let python = selvedge_tests::device::python();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$1\" -c \"$2\" < \"$3\"", "sh"]).arg(python).arg(SCRIPT).arg(file.path());
    Process::start(&mut command).done().expect(0).json_lines()
}

#[test]
fn exports_are_whole_and_can_be_read_by_others() {
    let (site, device) = (Site::new(), Device::start());
    site.configure(&device.config("50ms", "2s"));
    let node = site.run();
    site.wait_for_transactions(2);
    node.end_with(Signal::TERM).expect(0);

    let lines = site.ask(&["export", "--all", "--format", "jsonl"]).expect(0).json_lines();
    let rows = parse_csv(&site.ask(&["export", "--all"]).expect(0).out);
    assert_eq!(rows.len(), lines.len());
    assert!(lines.len() > device.streams().len(), "{} readings", lines.len());
    for (line, row) in lines.iter().zip(&rows) {
        is_reading(line);
        for key in keys(line) {
            let expected = match &line[key] {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                Value::Array(flags) => {
                    flags.iter().map(|f| f.as_str().expect("text")).collect::<Vec<_>>().join(" ")
                }
                other => other.to_string(),
            };
            assert_eq!(row[key], expected, "{key} of {line} and {row}");
        }
    }
    let temperature = lines.iter().find(|line| line["stream"] == "tank/temperature").expect("it was read");
    assert_eq!((temperature["value"].to_string(), &temperature["raw"]), ("21.4".into(), &614.into()));
    assert_eq!((&temperature["unit"], &temperature["quality"]), (&"Cel".into(), &"good".into()));

    site.ask(&["export", "--all", "--zone", "Europe/Berlni"]).expect(2).says(&["--zone: \"Europe/Berlni\""]);
    // A file is whole or not there.
    let file = site.beside("all.csv");
    let path = file.to_str().expect("UTF-8");
    site.ask(&["export", "--all", "-o", path]).expect(0).says(&["written to", path]);
    assert_eq!(parse_csv(&std::fs::read_to_string(&file).expect("it was written")).len(), lines.len());
    site.ask(&["export", "--all", "-o", "/nowhere/all.csv"]).expect(2).says(&["/nowhere/all.csv"]);
}

/// Runs a pipe of a shell, with the program as `$0`.
fn pipe(site: &Site, line: &str) -> Done {
    let mut command = Command::new("sh");
    command.arg("-c").arg(line).arg(program::path()).current_dir(site.data());
    Process::start(&mut command).done()
}

#[test]
fn a_reader_that_leaves_early_is_no_failure() {
    let site = Site::with_chain();
    for line in [
        "{ \"$0\" export --all --format jsonl; echo $? >code; } | head -n 1",
        "{ \"$0\" readings counter/0 --last 1000 --json; echo $? >code; } | head -n 1",
        "{ \"$0\" tangle --json; echo $? >code; } | head -c 1",
        "{ \"$0\" --help; echo $? >code; } | head -n 1",
        "{ \"$0\" export --all; echo $? >code; } | true",
    ] {
        let done = pipe(&site, line).expect(0);
        assert!(!done.err.contains("panicked") && !done.err.contains("Broken pipe"), "{done}");
        let code = std::fs::read_to_string(site.file("code")).expect("the shell wrote it");
        assert_eq!(code.trim(), "0", "{done}");
    }
    // A full disk is one.
    let done = pipe(&site, "\"$0\" export --all >/dev/full").expect(2);
    assert!(done.err.contains("cannot write"), "{done}");
}

#[test]
fn a_stop_puts_every_reading_into_a_transaction() {
    let (site, device) = (Site::new(), Device::start());
    // Batches that stay open for an hour: only the stop closes this one.
    site.configure_exactly(&format!(
        "[batch]\nage = \"1h\"\nreadings = 60000\n\n[journal]\nsync_within = \"10ms\"\n\n{}",
        device.counters_config("20ms")
    ));
    let node = site.run();
    eventually("readings in the journal", || {
        let status = site.status();
        let backlog = status["backlog"]["readings"].as_u64().expect("a number");
        if backlog > 80 { Ok(()) } else { Err(status) }
    });
    assert_eq!(site.status()["ledger"]["transactions"], 0, "nothing closed the batch");
    let done = node.end_with(Signal::TERM).expect(0).says(&["stopping", "stopped"]);
    let stopped = done.err.lines().filter(|line| line.contains("adapter stopped")).count();
    assert_eq!(stopped, 1, "{done}");
    let status = site.status();
    assert_eq!(status["backlog"]["readings"], 0, "{status}");
    assert_eq!(status["ledger"]["transactions"], 1, "{status}");
    let readings = site.readings(STREAM);
    assert!(readings.len() > 9 && readings.iter().all(|r| r["state"] == "attached"));
    assert!(!site.file("selvedge.sock").exists(), "the socket is gone with the node");
}

#[test]
fn ctrl_c_stops_like_sigterm_and_a_second_signal_ends_at_once() {
    let (site, device) = (Site::new(), Device::start());
    site.configure(&device.counters_config("20ms"));
    site.run().end_with(Signal::INT).expect(0);

    let node = site.run();
    site.wait_for_transactions(2);
    let before = site.readings(STREAM).len();
    node.signal(Signal::TERM);
    node.signal(Signal::INT);
    // Whichever came first: the second one may come after the end.
    let done = node.done();
    assert!([0, 1].contains(&done.code()), "{done}");
    assert!(site.readings(STREAM).len() >= before, "nothing that was shown is lost");
    let node = site.run();
    node.end_with(Signal::TERM).expect(0);
}

/// Whoever asks with no node running opens the store itself, for a moment. A node that is started just then waits.
#[test]
fn questions_do_not_keep_a_node_from_starting() {
    let site = Arc::new(Site::with_chain());
    let stop = Arc::new(AtomicBool::new(false));
    let asking = std::thread::spawn({
        let (site, stop) = (site.clone(), stop.clone());
        move || {
            let mut asked = 0;
            while !stop.load(Ordering::Relaxed) {
                site.ask(&["streams", "--json"]).expect(0);
                asked += 1;
            }
            asked
        }
    });
    let starts: Vec<Done> = (0..8)
        .map(|_| {
            let node = site.start();
            // Ended before it runs, it was kept from starting; that is looked at when the asking has stopped.
            eventually("that it runs or has ended", || {
                let says = |word: &str| node.lines(Output::Err).iter().any(|line| line.contains(word));
                if says("running") || says("selvedge: ") { Ok(()) } else { Err("neither") }
            });
            node.end_with(Signal::TERM)
        })
        .collect();
    stop.store(true, Ordering::Relaxed);
    let asked: u64 = asking.join().expect("every question was answered");
    println!("{asked} questions were answered meanwhile");
    for done in starts {
        done.expect(0);
    }
}

/// Each of them opens the store, alone; the next one comes when it is closed again, and not a moment before.
#[test]
fn many_questions_at_once_wait_for_one_another() {
    let (site, device) = (Arc::new(Site::new()), Device::start());
    site.configure(&device.counters_config("10ms"));
    for round in 1..=2 {
        let node = site.run();
        site.wait_for_transactions(round * 6);
        // Killed, it leaves an index that whoever comes first brings up to the log, and makes smaller.
        node.end_with(Signal::KILL);
        let ask = |site: Arc<Site>| (0..6).map(|_| site.readings(STREAM)).collect::<Vec<_>>();
        let asking: Vec<_> = (0..4)
            .map(|_| {
                let site = site.clone();
                std::thread::spawn(move || ask(site))
            })
            .collect();
        let mut answers =
            asking.into_iter().flat_map(|thread| thread.join().expect("every question was answered"));
        let first = answers.next().expect("an answer");
        assert!(answers.all(|answer| answer == first), "nobody runs, so nothing changes");
    }
}
