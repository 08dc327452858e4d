//! Data folders that cannot be used: another network's, in use, unreadable, too deep, on a full disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Done, Process, Signal};
use selvedge_tests::program;
use selvedge_tests::site::Site;
use serde_json::Value;

const STREAM: &str = "counter/0";

#[test]
fn the_store_of_another_network_is_refused_and_left_alone() {
    let (site, other) = (Site::with_chain(), Site::new());
    let before = site.readings(STREAM);
    fs::rename(site.file("store"), other.file("store")).expect("it can be moved");
    other.configure("");
    other.start().done().expect(2).says(&["belongs to network", "expected", "use another folder"]);
    other.ask(&["status"]).expect(2).says(&["belongs to network"]);
    fs::rename(other.file("store"), site.file("store")).expect("it can be moved back");
    assert_eq!(site.readings(STREAM), before);
    // Genesis and store of one network, identity of another.
    let kept = fs::read(site.file("gateway.id")).expect("init wrote it");
    fs::copy(other.file("gateway.id"), site.file("gateway.id")).expect("it can be copied");
    site.start().done().expect(2);
    fs::write(site.file("gateway.id"), "nobody\n").expect("it can be written");
    site.start().done().expect(2).says(&["gateway.id"]);
    fs::write(site.file("gateway.id"), kept).expect("it can be written");
    assert_eq!(site.readings(STREAM), before);
}

#[test]
fn two_nodes_on_one_folder_are_one_too_many() {
    let site = Site::with_chain();
    let node = site.run();
    let pid = node.pid().to_string();
    let second = site.start().done().expect(2).says(&["in use", &pid, "stop it first"]);
    assert!(second.err.lines().count() < 5, "{second}");
    // The first one noticed nothing.
    assert_eq!(site.status()["state"], "running");
    node.end_with(Signal::TERM).expect(0);
    site.run().end_with(Signal::TERM).expect(0);
}

#[test]
fn what_a_dead_node_left_behind_is_in_nobodys_way() {
    let site = Site::with_chain();
    site.run().end_with(Signal::KILL);
    assert!(site.file("selvedge.sock").exists(), "a killed node leaves its socket");
    assert!(site.readings(STREAM).len() > 5, "questions do not mind");
    site.run().end_with(Signal::TERM).expect(0);
    // Something else has the socket's name.
    fs::write(site.file("selvedge.sock"), "mine").expect("it can be written");
    site.start().done().expect(2).says(&["selvedge.sock", "no socket"]);
    assert_eq!(fs::read_to_string(site.file("selvedge.sock")).expect("it is left alone"), "mine");
}

#[test]
fn a_folder_without_a_gateway_says_how_to_make_one() {
    let above = tempfile::tempdir().expect("a folder for tests");
    let empty = above.path().to_str().expect("UTF-8");
    for command in
        [&["run"][..], &["status"], &["streams"], &["readings", "x"], &["tangle"], &["key", "show"]]
    {
        let line = command.iter().copied().chain(["--data", empty]);
        program::ask(line).expect(2).says(&["holds no gateway", "selvedge init", empty]);
    }
    program::ask(["status", "--data", "/nowhere/at/all"])
        .expect(2)
        .says(&["/nowhere/at/all", "selvedge init"]);
    program::ask(["status", "--data", "/dev/null"]).expect(2).says(&["/dev/null"]);
    // A gateway is never made over another one, and not where nothing can be made.
    let site = Site::new();
    let key = fs::read(site.file("keys/gateway.key")).expect("a key");
    site.ask(&["init"]).expect(2).says(&["already holds a gateway"]);
    assert_eq!(fs::read(site.file("keys/gateway.key")).expect("a key"), key);
    program::ask(["init", "--data", "/dev/null/g1"]).expect(2).says(&["/dev/null/g1"]);
    program::ask(["init", "--data", empty, "--gateway", ""]).expect(2).says(&["--gateway"]);
    let long = "n".repeat(129);
    program::ask(["init", "--data", empty, "--network", &long]).expect(2).says(&["--network"]);
    assert_eq!(fs::read_dir(empty).expect("a folder").count(), 0, "a refusal leaves nothing behind");
}

#[test]
fn a_path_too_long_for_a_socket_is_said_with_a_way_out() {
    let site = Site::with_chain();
    let deep = site.beside(&"deep/".repeat(20)).join("g1");
    fs::create_dir_all(deep.parent().expect("a folder")).expect("it can be made");
    fs::rename(site.data(), &deep).expect("it can be moved");
    let path = deep.to_str().expect("UTF-8");
    program::ask(["run", "--data", path]).expect(2).says(&["socket", "107", "--data ."]);
    // A question could not tell whether somebody answers there. The way out works for both.
    program::ask(["streams", "--data", path]).expect(2).says(&["socket", "--data ."]);
    let node = Process::start(program::command(["run", "--data", "."]).current_dir(&deep));
    selvedge_tests::site::runs(&node);
    let asked =
        Process::start(program::command(["status", "--json", "--data", "."]).current_dir(&deep)).done();
    assert_eq!(asked.json()["state"], "running");
    node.end_with(Signal::TERM).expect(0);
    fs::rename(deep, site.data()).expect("it can be moved back");
}

/// Runs the program without any right to ignore modes: also when this test is root.
fn as_nobody(arguments: &[&str]) -> Done {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=65534", "--map-group=65534"]).arg(program::path()).args(arguments);
    Process::start(&mut command).done()
}

#[test]
fn an_unreadable_folder_is_said() {
    let site = Site::with_chain();
    let data = site.data().to_str().expect("UTF-8");
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    as_nobody(&["streams", "--data", data]).expect(0).says(&[STREAM]);
    for (name, says) in
        [("genesis.bin", "genesis.bin"), ("store", "store"), ("store/log", "log"), ("keys", "gateway.key")]
    {
        let path = site.file(name);
        let before = path.metadata().expect("it is there").permissions().mode();
        mode(&path, 0o000);
        as_nobody(&["run", "--data", data]).expect(2).says(&["Permission denied", says]);
        mode(&path, before);
    }
    mode(site.data(), 0o000);
    as_nobody(&["status", "--data", data]).expect(2).says(&["Permission denied", data]);
    as_nobody(&["run", "--data", data]).expect(2).says(&["Permission denied", data]);
    mode(site.data(), 0o700);
    as_nobody(&["streams", "--data", data]).expect(0);
}

/// Runs a script in a file system of its own of `size`, mounted on `$DISK`, with the program as `$SELVEDGE`. Needs no
/// root: the mount is seen by the script alone, and ends with it.
fn on_small_disk(site: &Site, size: &str, script: &str) -> Done {
    let disk = site.beside("disk");
    fs::create_dir_all(&disk).expect("it can be made");
    let whole = format!("set -eu; mount -t tmpfs -o size={size} none \"$DISK\"; {script}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &whole]);
    command
        .env("DISK", disk)
        .env("SELVEDGE", program::path())
        .env("DATA", site.data())
        .env_remove("RUST_LOG");
    Process::start(&mut command).done()
}

#[test]
fn a_disk_that_is_full_at_the_start_is_said() {
    let site = Site::new();
    site.configure("");
    let done = on_small_disk(
        &site,
        "1m",
        "cp -a \"$DATA\" \"$DISK/g1\"; cat /dev/zero >\"$DISK/filler\" 2>/dev/null || true
         code=0; timeout 20 \"$SELVEDGE\" run --data \"$DISK/g1\" || code=$?; echo \"run $code\"
         code=0; \"$SELVEDGE\" init --data \"$DISK/g2\" || code=$?; echo \"init $code\"
         rm \"$DISK/filler\"; \"$SELVEDGE\" tangle --data \"$DISK/g1\"; echo fine",
    )
    .expect(0);
    assert!(done.out.contains("run 2") && done.out.contains("init 2"), "{done}");
    assert_eq!(done.err.matches("No space left on device").count(), 2, "{done}");
    done.says(&["fine"]);
}

#[test]
fn a_disk_that_fills_up_while_a_node_runs_stops_it_and_loses_nothing() {
    let (site, device) = (Site::new(), Device::start());
    site.configure(&device.everything_config("10ms"));
    // Questions meanwhile: what they were shown must be there in the end.
    let done = on_small_disk(
        &site,
        "2300k",
        "cp -a \"$DATA\" \"$DISK/g1\"
         timeout 40 \"$SELVEDGE\" run --data \"$DISK/g1\" & node=$!
         while kill -0 $node 2>/dev/null; do
             \"$SELVEDGE\" readings counter/0 --last 1000 --json --data \"$DISK/g1\" >>\"$DATA/../shown\" 2>/dev/null || true
         done
         code=0; wait $node || code=$?; echo \"run $code\"
         mount -o remount,size=100m \"$DISK\"
         \"$SELVEDGE\" export --all --format jsonl --data \"$DISK/g1\" >\"$DATA/../after\"",
    )
    .expect(0)
    .says(&["run 1", "No space left on device"]);
    let lines = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(site.beside(name)).expect("the script wrote it");
        // The last answer may have been cut off.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let what = |reading: &Value| {
        (reading["counter"].as_u64(), reading["value"].as_u64(), reading["receive_time"].to_string())
    };
    let (shown, after) = (lines("shown"), lines("after"));
    let kept: Vec<_> = after.iter().filter(|reading| reading["stream"] == STREAM).map(what).collect();
    println!("{} readings shown, {} kept", shown.len(), kept.len());
    assert!((0..).zip(&kept).all(|(expected, reading)| reading.0 == Some(expected)), "gapless: {done}");
    assert!(!shown.is_empty(), "{done}");
    for reading in shown {
        assert!(kept.contains(&what(&reading)), "{reading} was shown and is gone: {done}");
    }
}

#[test]
fn a_disk_that_is_full_at_a_later_start_loses_nothing() {
    let site = Site::with_chain();
    let before = site.ask(&["export", "--all", "--format", "jsonl"]).expect(0).out;
    fs::write(site.beside("before"), &before).expect("it can be written");
    // Filled to the last byte; what a node then does is its own affair, as long as it says why and keeps everything.
    let done = on_small_disk(
        &site,
        "100m",
        "cp -a \"$DATA\" \"$DISK/g1\"; cat /dev/zero >\"$DISK/filler\" 2>/dev/null || true
         code=0; \"$SELVEDGE\" streams --data \"$DISK/g1\" >\"$DATA/../streams\" || code=$?; echo \"question $code\"
         rm \"$DISK/g1/store/index.redb\"; cat /dev/zero >\"$DISK/filler2\" 2>/dev/null || true
         code=0; timeout 20 \"$SELVEDGE\" run --data \"$DISK/g1\" || code=$?; echo \"run $code\"
         rm \"$DISK/filler\" \"$DISK/filler2\"
         \"$SELVEDGE\" export --all --format jsonl --data \"$DISK/g1\" >\"$DATA/../after\"",
    )
    .expect(0);
    assert!(done.out.contains("run 2") || done.out.contains("run 1"), "{done}");
    let done = done.says(&["No space left on device"]);
    assert_eq!(fs::read_to_string(site.beside("after")).expect("the script wrote it"), before, "{done}");
}
