//! `selvedge adapter listen`: from the address of a broker to a configuration that reads, by the program itself.

use std::net::TcpListener;

use selvedge_tests::broker::Broker;
use selvedge_tests::device::node;
use selvedge_tests::process::{Done, Output, Process};
use selvedge_tests::program;
use serde_json::Value;
use tempfile::TempDir;

/// A broker that keeps two messages, and its address.
fn broker() -> (Broker, String) {
    let broker = Broker::start();
    let state = r#"{"speed": 7.5, "running": true, "ts": 1700000000250}"#;
    broker.publish("plant/filler/state", 1, true, state);
    broker.publish("plant/temperature", 1, true, "21.5");
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    (broker, url)
}

fn listen(url: &str, more: &[&str]) -> Done {
    let mut arguments = vec!["adapter", "listen", "mqtt", url];
    arguments.extend(more);
    program::ask(arguments)
}

#[test]
fn what_a_broker_has_is_shown_and_becomes_a_configuration_that_the_trial_reads() {
    let (broker, url) = broker();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("broker.toml");
    let out = file.to_str().expect("UTF-8");
    listen(&url, &["--for", "1s", "--out", out]).expect(0).says(&[
        "plant/filler/state",
        "/speed",
        "7.5",
        "plant/temperature",
        "21.5",
        "1 kept by the broker",
        "with 3 streams",
        "selvedge adapter test --config",
    ]);
    let text = std::fs::read_to_string(&file).expect("it was written");
    assert!(text.contains(&format!("address = \"127.0.0.1:{}\"", broker.port())), "{text}");

    // Used as it is: what the broker has kept comes at once.
    let test = ["adapter", "test", "--config", out, "--for", "3s", "--json"];
    let readings = program::ask(test).expect(0).json_lines();
    for value in [Value::from(7.5), true.into(), 21.5.into()] {
        assert!(readings.iter().any(|line| line["value"] == value), "no {value} among {readings:?}");
    }

    // What is there is not overwritten, and nobody is asked before that is clear.
    let again = listen(&url, &["--out", out]).expect(2).says(&["is there already and is not overwritten"]);
    assert!(!again.err.contains("listening to"), "{again}");
    assert_eq!(std::fs::read_to_string(&file).expect("still there"), text);
}

#[test]
fn its_answer_for_programs_is_one_object_and_live_messages_have_a_rate() {
    let (broker, url) = broker();
    let arguments =
        ["adapter", "listen", "mqtt", &url, "--for", "3s", "--topic", "live/#", "--mqtt5", "--json"];
    let listening = Process::start(&mut program::command(arguments));
    broker.says("live/# (QoS 0)");
    let mut publisher = broker.publisher("live/count", 0);
    for n in 0..10 {
        publisher.say(&n.to_string());
    }
    publisher.finish();
    let done = listening.done().expect(0);
    let told = done.json();
    assert_eq!((&told["address"], &told["file"]), (&Value::from(&url["mqtt://".len()..]), &Value::Null));
    assert_eq!((&told["report"]["messages"], &told["ended_early"]), (&10.into(), &Value::Null), "{told}");
    let topics = told["report"]["topics"].as_array().expect("a list");
    assert_eq!(topics.len(), 1, "only what was asked for: {told}");
    assert_eq!((&topics[0]["topic"], &topics[0]["messages"]), (&"live/count".into(), &10.into()), "{told}");
    assert!(topics[0]["per_second"].as_f64().is_some_and(|rate| rate > 1.0), "{told}");
}

#[test]
fn where_nothing_comes_or_nobody_is_it_says_so() {
    let (broker, url) = broker();
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("new.toml");
    let out = file.to_str().expect("UTF-8");
    let nothing = listen(&url, &["--for", "300ms", "--topic", "nowhere/#", "--json", "--out", out]).expect(1);
    assert_eq!(nothing.says(&["nothing came", "--topic"]).json()["report"]["messages"], 0);
    assert!(!file.exists(), "a configuration of nothing");
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
    listen(&format!("mqtt://127.0.0.1:{port}"), &[]).expect(1).says(&["no connection", "refused"]);
    // TLS where there is none.
    let port = broker.port();
    listen(&format!("mqtts://127.0.0.1:{port}"), &["--for", "300ms"]).expect(1).says(&["TLS"]);
}

#[test]
fn wrong_use_is_told_from_a_broker_that_does_not_answer() {
    // Nobody listens there: whoever asks before looking at the arguments would say so, and end with 1.
    let nobody = "mqtt://127.0.0.1:1";
    for (url, more, why) in [
        ("http://broker", &[][..], "expected mqtt://HOST[:PORT]"),
        ("broker:1883", &[], "expected mqtt://HOST[:PORT]"),
        ("mqtt://broker:port", &[], "expected mqtt://HOST[:PORT]"),
        ("mqtt://eva:secret@broker", &[], "--password-file"),
        (nobody, &["--for", "soon"], "--for"),
        (nobody, &["--topic", "a/#/b"], "#"),
        (nobody, &["--ca", "ca.pem"], "mqtts://"),
        (nobody, &["--password-file", "x"], "--user"),
        (nobody, &["--user", "eva", "--password-file", "credential:a/b"], "credential"),
        (nobody, &["--cert", "x.pem"], "--key"),
    ] {
        let done = listen(url, more).expect(2).says(&[why]);
        assert!(!done.err.contains("no connection"), "{done}");
    }
}

/// Story: a plant speaks nothing but Sparkplug, and its edge nodes were born last week. `listen --out plant.toml` said that it
/// would write a configuration, wrote none, and ended as if all were well.
#[test]
fn births_of_sparkplug_become_a_configuration_and_are_asked_for_only_if_one_says_so() {
    let broker = Broker::start();
    let port = broker.port().to_string();
    let mut edge = Process::start(node("sparkplug.mjs").args([&port, "bottling", "line1"]));
    edge.line(Output::Out, "that it is born", |line| line.contains("ready"));
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("plant.toml");
    let out = file.to_str().expect("UTF-8");
    let url = format!("mqtt://127.0.0.1:{port}");
    // As often as somebody listens, something is said when he does.
    let mut data = 20;
    let mut look = |more: &[&str]| {
        let filter = format!("spBv1.0/bottling/{}", ["+/#", "#"][data % 2]);
        let arguments = ["adapter", "listen", "mqtt", &url, "--for", "3s", "--topic", &filter, "--out", out];
        let listening = Process::start(program::command(arguments).args(more));
        broker.says(&format!("{filter} (QoS 0)"));
        data += 1;
        edge.say(&format!("data Temperature {data}"));
        let done = listening.done();
        let asked = edge.lines(Output::Out).len();
        edge.say("ask");
        let asked = edge.line_from(Output::Out, asked, "what it was asked", |line| line.contains("rebirths"));
        let asked: Value = serde_json::from_str(&asked).expect("JSON");
        (done, asked["rebirths"].as_u64().expect("a number"))
    };

    let (silent, asked) = look(&[]);
    silent.expect(1).says(&["no birth of bottling/line1 came", "--rebirth", "was not written"]);
    assert!(!file.exists() && asked == 0, "a command to a machine that nobody wanted: {asked}");

    let (done, asked) = look(&["--rebirth"]);
    done.expect(0).says(&["Outputs/Level", "Int16", "1 edge node", "with 8 streams"]);
    assert_eq!(asked, 1);
    let text = std::fs::read_to_string(&file).expect("it was written");
    for line in ["protocol = \"sparkplug\"", "group = \"bottling\"", "device = \"filler\"", "unit = \"Cel\""]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
    program::ask(["check", out]).expect(0).says(&["is right", "8 streams"]);

    // Used as it is.
    let test = ["adapter", "test", "--config", out, "--for", "8s", "--json"];
    let readings = program::ask(test).expect(0).json_lines();
    for (stream, value) in [
        ("line1/Temperature", Value::from(22)),
        ("line1/Count", 4_294_967_295_u32.into()),
        ("line1/filler/Outputs/Level", (-7).into()),
        ("line1/filler/Outputs/Valve", true.into()),
        ("line1/filler/Text", "läuft".into()),
        ("line1/filler/Total", (-5_000_000_000_i64).into()),
        ("line1/filler/Unasked", 1.5.into()),
    ] {
        let is_it =
            |line: &&Value| line["stream"] == stream && line["value"] == value && line["quality"] == "good";
        assert!(readings.iter().any(|line| is_it(&line)), "no {value} of {stream} among {readings:#?}");
    }
}
