//! `selvedge adapter browse`: from an address to a configuration that reads, and that goes on reading, by the program
//! itself. The server is node-opcua.

use std::collections::BTreeMap;

use selvedge_tests::device::node;
use selvedge_tests::process::{Done, Output, Process};
use selvedge_tests::program;
use serde_json::Value;
use tempfile::TempDir;

const LEVEL: &str = "nsu=urn:selvedge:test:plant;s=Filler.Level";
const TICKS: &str = "nsu=urn:selvedge:test:plant;s=Filler.Ticks";

fn server(arguments: &[&str]) -> (Process, Value) {
    let server = Process::start(node("opcua_node.mjs").args(arguments));
    let line = server.line(Output::Out, "its url", |line| line.starts_with('{'));
    (server, serde_json::from_str(&line).expect("JSON"))
}

/// Says a command to a server, and waits until it holds.
fn command(server: &mut Process, line: &str) {
    let before = server.lines(Output::Out).len();
    server.say(line);
    server.line_from(Output::Out, before, "that it did so", |said| said == line);
}

fn browse(said: &Value, more: &[&str]) -> Done {
    let mut arguments = vec!["adapter", "browse", "opcua", said["url"].as_str().expect("a url")];
    arguments.extend(more);
    program::ask(arguments)
}

#[test]
fn a_tree_is_shown_and_chosen_nodes_become_a_configuration() {
    let (_server, said) = server(&["--references", "5"]);
    browse(&said, &["--path", "Objects/Line1/Filler/**"]).expect(0).says(&[
        "Objects  ",
        "Line1",
        "├ Temperature",
        "Float  21.5 °C",
        "52.5 l",
        "see Objects/Line1",
        LEVEL,
        "bad: BadNotReadable",
        "--out FILE writes a configuration",
    ]);

    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("filler.toml");
    let out = file.to_str().expect("UTF-8");
    let chosen =
        ["--out", out, "--name", "filler", "--select", LEVEL, "--select", "**/Arrays/Words", "--json"];
    let told = browse(&said, &chosen).expect(0).json();
    assert_eq!(told["file"]["streams"], 4, "{told}");
    let level = told["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .find(|node| node["node"] == LEVEL)
        .expect("the level");
    let seen = [&level["path"], &level["value"], &level["unit"], &level["type"], &level["access"]];
    let expected: [Value; 5] =
        ["Objects/Line1/Filler/Level".into(), 52.5.into(), "L".into(), "Double".into(), "r".into()];
    assert_eq!(seen, expected.each_ref(), "{level}");

    let test = ["adapter", "test", "--config", out, "--for", "5s", "--json"];
    let readings = program::ask(test).expect(0).json_lines();
    let value = |stream: &str| {
        let found = readings.iter().find(|line| line["stream"] == stream);
        found.unwrap_or_else(|| panic!("no {stream} among {readings:?}"))["value"].clone()
    };
    assert_eq!(value("filler/Line1/Filler/Level"), 52.5);
    assert_eq!(value("filler/Line1/Arrays/Words.2"), 65_535);

    // What is there is not overwritten.
    let before = std::fs::read(&file).expect("it was written");
    browse(&said, &["--out", out]).expect(2).says(&["is there already and is not overwritten"]);
    assert_eq!(std::fs::read(&file).expect("still there"), before);
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_written() {
    // node-opcua takes no password where it has no key to encrypt it with.
    let (server, said) = server(&["--security", "none,basic256sha256", "--user", "operator:s3cret"]);
    let folder = TempDir::new().expect("a folder");
    let (file, secret) = (folder.path().join("new.toml"), folder.path().join("password"));
    let (out, password) = (file.to_str().expect("UTF-8"), secret.to_str().expect("UTF-8"));
    std::fs::write(&secret, "wrong\n").expect("a file");
    browse(&said, &["--out", out]).expect(1).says(&["the server does not take anonymous"]);
    let login = ["--user", "operator", "--password-file", password, "--plain-password"];
    browse(&said, &login).expect(1).says(&["does not accept user"]);
    std::fs::write(&secret, "s3cret\n").expect("a file");
    browse(&said, &login).expect(0).says(&["52.5 l"]);

    let none = [&login[..], &["--path", "Objects/Nothing/**", "--out", out]].concat();
    browse(&said, &none).expect(1).says(&["no variable of opc.tcp://", "Objects/Nothing/**"]);
    let none = [&login[..], &["--select", "i=1", "--out", out]].concat();
    browse(&said, &none).expect(1).says(&["--select i=1 chose none"]);
    assert!(!file.exists());

    for wrong in [
        &["--path", "Objects//x"][..],
        &["--select", "i=1"],
        &["--out", out, "--select", "nsu=x;q=1"],
        &["--depth", "0"],
        &["--security", "Basic128Rsa15/Sign"],
        &["--server-thumbprint", "abc"],
        &["--timeout", "1h"],
        &["--user", "operator"],
    ] {
        browse(&said, wrong).expect(2);
    }
    program::ask(["adapter", "browse", "opcua", "http://plc"]).expect(2).says(&["opc.tcp://"]);
    drop(server);
    browse(&said, &login).expect(1).says(&["no connection"]);
}

#[test]
fn a_secured_server_is_trusted_first_and_its_configuration_works_as_it_is() {
    let (_server, said) = server(&["--security", "basic256sha256,aes256", "--user", "operator:s3cret"]);
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (out, pki, password) = (file("new.toml"), file("pki"), file("password"));
    std::fs::write(&password, "s3cret\n").expect("a file");
    let secured = [
        "--user",
        "operator",
        "--password-file",
        password.as_str(),
        "--pki",
        pki.as_str(),
        "--out",
        out.as_str(),
        "--select",
        LEVEL,
    ];
    let aes256 = [&["--security", "Aes256_Sha256_RsaPss/SignAndEncrypt"][..], &secured].concat();

    // Nobody said yet that this server is the one that is meant; what to do is said.
    let thumbprint = said["thumbprint"].as_str().expect("a thumbprint");
    browse(&said, &aes256).expect(1).says(&["is not trusted", thumbprint, "rejected", "trusted"]);
    let pinned = [&aes256[..], &["--server-thumbprint", thumbprint]].concat();
    browse(&said, &pinned).expect(0).says(&["with 1 streams"]);
    let test = ["adapter", "test", "--config", &out, "--for", "5s", "--json"];
    let readings = program::ask(test).expect(0).json_lines();
    assert!(readings.iter().any(|line| line["value"] == 52.5 && line["quality"] == "good"), "{readings:?}");
    let text = std::fs::read_to_string(&out).expect("it was written");
    assert!(!text.contains("s3cret"), "{text}");
}

/// Show 2 of the adapters: two nodes chosen, the server killed and started again while the trial runs. Values go on by
/// themselves, the gap is marked in both streams, and no old value stands under a new time.
#[test]
fn show2_a_trial_goes_on_when_the_server_was_killed() {
    let (mut first, said) = server(&[]);
    command(&mut first, "count Filler.Ticks 100");
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("two.toml");
    let out = file.to_str().expect("UTF-8");
    browse(&said, &["--out", out, "--select", LEVEL, "--select", TICKS]).expect(0).says(&["with 2 streams"]);

    let arguments = ["adapter", "test", "--config", out, "--for", "60s", "--json"];
    let trial = Process::start(&mut program::command(arguments));
    let level = "opcua/Line1/Filler/Level";
    let ticks = "opcua/Line1/Filler/Ticks";
    let is = |line: &str, stream: &str, quality: &str, more: &dyn Fn(&Value) -> bool| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["stream"] == stream && line["quality"] == quality && more(&line)
    };
    trial.line(Output::Out, "the level", |line| is(line, level, "good", &|said| said["value"] == 52.5));
    trial.line(Output::Out, "that it counts", |line| {
        is(line, ticks, "good", &|said| said["value"].as_u64().is_some_and(|count| count > 3))
    });

    // Dropping it kills it, with all of its connections.
    drop(first);
    for stream in [level, ticks] {
        trial.line(Output::Out, "that it is stale", |line| is(line, stream, "stale", &|_| true));
    }
    let gap = trial.lines(Output::Out).len();
    let port = said["port"].to_string();
    let (mut second, _) = server(&["--port", &port]);
    command(&mut second, "set Filler.Level 61.25");
    command(&mut second, "count Filler.Ticks 100");
    trial.line_from(Output::Out, gap, "the new level", |line| {
        is(line, level, "good", &|said| said["value"] == 61.25)
    });
    trial.line_from(Output::Out, gap, "that it counts again", |line| {
        is(line, ticks, "good", &|said| said["value"].as_u64().is_some_and(|count| count > 3))
    });

    // The gap repeats the last value under its own old time, and under no other.
    let mut last: BTreeMap<String, Value> = BTreeMap::new();
    for line in trial.lines(Output::Out) {
        let line: Value = serde_json::from_str(&line).expect("JSON");
        let Some(stream) = line["stream"].as_str() else { continue };
        if line["quality"] == "stale" {
            let before = last.get(stream).unwrap_or_else(|| panic!("stale before it spoke: {line}"));
            assert_eq!(
                (&line["value"], &line["source_time"]),
                (&before["value"], &before["source_time"]),
                "{line} after {before}"
            );
        } else {
            last.insert(stream.to_owned(), line);
        }
    }
}
