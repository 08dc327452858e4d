//! Joining a network: with a line, without a network, and founding one together; real processes, real QUIC on loopback.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Done, Output, Process, Signal};
use selvedge_tests::site::{Site, runs};
use selvedge_tests::{Random, eventually, from_env, program};
use serde_json::Value;

const QUICK: &str = "[batch]\nreadings = 200\nage = \"200ms\"\n\n[journal]\nsync_within = \"20ms\"\n\n[clock]\ntrust = \"assume\"\n\n";

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A command on a data folder that is no `Site`.
fn ask(data: &Path, arguments: &[&str]) -> Done {
    program::ask([arguments, &["--data", text(data)]].concat())
}

/// The configuration of a gateway that listens on any free port.
fn listening(site: &Site, devices: &str) {
    site.configure_exactly(&format!("{QUICK}[network]\nlisten = \"127.0.0.1:0\"\n\n{devices}"));
}

/// Where a running gateway listens.
fn address(data: &Path) -> String {
    eventually("an address", || {
        let done = ask(data, &["peers", "--json"]);
        let answer: Option<Value> = serde_json::from_str(&done.out).ok();
        answer.and_then(|a| a["listen"].as_str().map(str::to_owned)).ok_or(done)
    })
}

/// An invitation to a running gateway.
fn invite(site: &Site, address: &str, more: &[&str]) -> String {
    let done = site.ask(&[&["invite", "--address", address], more].concat()).expect(0);
    let line = done.out.strip_suffix('\n').expect("a line");
    assert!(!line.contains('\n') && line.starts_with("svinvite1") && line.len() <= 150, "{done}");
    line.to_owned()
}

fn start(data: &Path) -> Process {
    let node = Process::start(&mut program::command(["run", "--data", text(data)]));
    runs(&node);
    node
}

/// Ids of all transactions.
fn ids(data: &Path) -> Vec<String> {
    let answer = ask(data, &["tangle", "--json", "--last", "10000"]).expect(0).json();
    let newest = answer["newest"].as_array().expect("a list");
    let mut ids: Vec<String> = newest.iter().map(|t| t["id"].as_str().expect("an id").to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn a_line_lets_one_gateway_in_and_it_reads_signs_and_is_heard() {
    let (site, device) = (Site::new(), Device::start());
    listening(&site, &device.counters_config("20ms"));
    let first = site.run();
    let address = address(site.data());
    let line = invite(&site, &address, &["--name", "Press 7", "--for", "2h"]);
    let joiner = site.beside("g2");
    let joined = ask(&joiner, &["init", "--json", "--join", &line]).expect(0).json();
    assert_eq!(
        (joined["network"].as_str(), joined["name"].as_str()),
        (Some(site.network()), Some("Press 7"))
    );
    let config = fs::read_to_string(joiner.join("selvedge.toml")).expect("a configuration");
    assert!(config.contains(&format!("peers = [{address:?}]")), "{config}");
    for file in ["keys/gateway.key", "keys/salt.key", "credential.bin"] {
        let mode = fs::metadata(joiner.join(file)).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
    }
    assert!(!joiner.join("keys/organisation.key").exists() && !joiner.join("waiting").exists());
    // Given again, it says so; another folder comes too late.
    ask(&joiner, &["init", "--join", &line]).expect(0).says(&["joined that network already"]);
    ask(&site.beside("g3"), &["init", "--join", &line])
        .expect(1)
        .says(&["already redeemed by another gateway"]);
    assert!(!site.beside("g3").join("genesis.bin").exists());
    ask(&site.beside("g3"), &["status"]).expect(2).says(&["--join LINE"]);

    // It reads a device of its own, and both have the transactions of both.
    let second_device = Device::start();
    let config =
        format!("{QUICK}[network]\npeers = [{address:?}]\n\n{}", second_device.counters_config("20ms"));
    fs::write(joiner.join("selvedge.toml"), config).expect("written");
    let second = start(&joiner);
    let gateway = joined["gateway"].as_str().expect("an id");
    eventually("the joiner's batches on the first gateway", || {
        let done = site.ask(&["tangle", "--json", "--last", "10000"]).expect(0);
        let answer = done.json();
        let of_joiner = |kind: &str| {
            let all = answer["newest"].as_array().expect("a list").iter();
            all.filter(|t| t["issuer"] == gateway && t["kind"] == kind).count()
        };
        if of_joiner("enrol") == 1 && of_joiner("batch") >= 3 { Ok(()) } else { Err(done) }
    });
    let shown = site.ask(&["tangle", "--last", "100"]).expect(0);
    assert!(shown.out.contains("Press 7"), "{shown}");
    device.unplug();
    second_device.unplug();
    eventually("one ledger", || {
        let (here, there) = (ids(site.data()), ids(&joiner));
        if here == there { Ok(()) } else { Err(format!("{} and {} transactions", here.len(), there.len())) }
    });
    second.end_with(Signal::TERM).expect(0);
    first.end_with(Signal::TERM).expect(0);

    // A reading of the joiner is proved down to the organisation.
    let proof = site.beside("proof");
    ask(&joiner, &["prove", "counter/0", "latest", "-o", text(&proof)]).expect(0);
    program::ask(["verify", text(&proof), "--network", site.network()]).expect(0).says(&["Press 7", "Acme"]);
    // And its backup holds what it needs to be itself.
    let pass = crate::bad_files::passphrase(&site, "pass", "correct horse battery");
    let backup = site.beside("g2.backup");
    ask(&joiner, &["key", "backup", text(&backup), "--backup-passphrase-file", &pass]).expect(0);
    fs::remove_file(joiner.join("credential.bin")).expect("there");
    ask(&joiner, &["status"]).expect(2).says(&["credential.bin", "backup"]);
    let restore = ["key", "restore", text(&backup), "--backup-passphrase-file", &pass];
    ask(&joiner, &restore).expect(0).says(&["The chain goes on"]);
    ask(&joiner, &["key", "show"]).expect(0).says(&["Press 7"]);
    let restored = site.beside("g2-restored");
    ask(&restored, &restore).expect(0);
    ask(&restored, &["key", "show"]).expect(0).says(&["Press 7", "its credential", gateway]);
}

#[test]
fn while_the_member_is_away_nothing_is_half_made_and_the_same_command_works_later() {
    let site = Site::new();
    listening(&site, "");
    let first = site.run();
    let address = address(site.data());
    first.end_with(Signal::TERM).expect(0);
    // Made while the node does not run.
    let line = invite(&site, &address, &[]);
    let joiner = site.beside("g2");
    ask(&joiner, &["init", "--join", &line, "--name", "late"]).expect(1).says(&[
        "no connection",
        &address,
        "the same command",
    ]);
    assert!(!joiner.join("genesis.bin").exists());
    ask(&joiner, &["run"]).expect(2).says(&["waits to be let in"]);
    let id = fs::read_to_string(joiner.join("gateway.id")).expect("an id");
    // The port was the system's choice; now it is the configured one.
    site.configure_exactly(&format!("{QUICK}[network]\nlisten = {address:?}\nadvertise = [{address:?}]\n"));
    let first = site.run();
    // Killed at any moment, as often as it likes to be: the same key goes on, and one gateway is let in.
    let seed = from_env("SELVEDGE_SEED", 11);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    for _ in 0..from_env("SELVEDGE_KILLS", 12) {
        let process =
            Process::start(&mut program::command(["init", "--join", &line, "--data", text(&joiner)]));
        std::thread::sleep(Duration::from_millis(random.below(60)));
        process.end_with(Signal::KILL);
    }
    ask(&joiner, &["init", "--join", &line]).expect(0).says(&["late"]);
    assert_eq!(fs::read_to_string(joiner.join("gateway.id")).expect("an id"), id);
    let admitted = fs::read_dir(site.file("admitted")).expect("a folder").count();
    assert_eq!(admitted, 1);
    // The advertised address needs no option.
    let done = site.ask(&["invite", "--json"]).expect(0).json();
    assert_eq!(done["address"].as_str(), Some(address.as_str()));
    first.end_with(Signal::TERM).expect(0);
}

#[test]
fn lines_that_are_none_are_said_to_be_what_they_are() {
    let (site, other) = (Site::new(), Site::new());
    let line = invite(&site, "127.0.0.1:9", &[]);
    let joiner = site.beside("g2");
    let join = |line: &str| ask(&joiner, &["init", "--join", line]).expect(2);
    join(&line[..line.len() - 5]).says(&["cut short", &format!("{} of {}", line.len() - 5, line.len())]);
    let mut mistyped = line.clone().into_bytes();
    mistyped[40] = if mistyped[40] == b'q' { b'p' } else { b'q' };
    join(std::str::from_utf8(&mistyped).expect("ASCII")).says(&["mistyped", "look at character 41"]);
    join("hello").says(&["no invitation", "selvedge invite"]);
    join(site.network()).says(&["this is a network id"]);
    assert!(!joiner.exists(), "nothing is made of a line that is none");
    // From standard input, in two lines as a mail breaks it; nobody listens there.
    let mut command = program::command(["init", "--join", "-", "--data", text(&joiner)]);
    let mut process = Process::start(&mut command);
    process.say(&line[..60]);
    process.say(&line[60..]);
    process.done().expect(1).says(&["no connection to 127.0.0.1:9"]);

    site.ask(&["invite"]).expect(2).says(&["advertise", "--address HOST:PORT", "selvedge.toml"]);
    site.ask(&["invite", "--address", "nowhere"]).expect(2).says(&["HOST:PORT"]);
    site.ask(&["invite", "--address", &format!("{}.example:1", "a".repeat(40))]).expect(2).says(&["29"]);
    for lasts in ["0s", "59s", "721h", "soon"] {
        site.ask(&["invite", "--address", "127.0.0.1:9", "--for", lasts]).expect(2).says(&["--for", lasts]);
    }
    site.ask(&["invite", "--address", "127.0.0.1:9", "--name", ""]).expect(2).says(&["--name"]);
    let kept = fs::read_dir(site.file("invitations")).expect("a folder");
    let files: Vec<PathBuf> = kept.map(|e| e.expect("readable").path()).collect();
    assert_eq!(files.len(), 1, "what was refused leaves nothing behind: {files:?}");
    assert_eq!(fs::metadata(&files[0]).expect("there").permissions().mode() & 0o777, 0o600);
    // A gateway that may not.
    fs::remove_file(other.file("keys/organisation.key")).expect("there");
    other.ask(&["invite", "--address", "127.0.0.1:9"]).expect(0);
    program::ask(["init", "--join", &line, "--network", "x"]).expect(2).says(&["--network"]);
    program::ask(["init", "--join", &line, "--organisation", "x"]).expect(2).says(&["--organisation"]);
    program::ask(["init", "--join", &line, "--introduce"]).expect(2);
}

#[test]
fn without_a_network_a_gateway_is_let_in_by_its_id() {
    let (site, stranger) = (Site::new(), Site::new());
    let joiner = site.beside("g2");
    let waits = ["init", "--await-credential", "--name", "Press 7"];
    let said = ask(&joiner, &waits).expect(0);
    let id = said.out.lines().next().expect("an id").to_owned();
    assert!(id.starts_with("svid1"), "{said}");
    assert_eq!(ask(&joiner, &waits).expect(0).out, said.out, "the same id again");
    ask(&joiner, &["run"]).expect(2).says(&["waits to be let in", "--credential FILE"]);
    let file = site.beside("press-7.credential");
    let file = text(&file);

    // In the wrong order, and with wrong ids.
    let at = |name: &str| site.beside(name);
    ask(&at("empty"), &["init", "--credential", file]).expect(2).says(&[file]);
    site.ask(&["admit", &id[..40], "--name", "Press 7", "-o", file]).expect(2).says(&["63 for an issuer"]);
    site.ask(&["admit", site.network(), "--name", "Press 7", "-o", file]).expect(2).says(&["a network id"]);
    let own = fs::read_to_string(site.file("gateway.id")).expect("an id");
    site.ask(&["admit", own.trim(), "--name", "x", "-o", file])
        .expect(2)
        .says(&["names that gateway already"]);
    site.ask(&["admit", &id, "--name", "", "-o", file]).expect(2).says(&["--name"]);
    assert!(!site.file("admitted").exists() && !Path::new(file).exists());

    let admit = ["admit", &id, "--name", "Press 7", "-o", file, "--address", "192.0.2.7:7440"];
    site.ask(&admit).expect(0).says(&[&id, "Press 7"]);
    site.ask(&admit).expect(2).says(&["exists already"]);
    let again = site.beside("again.credential");
    site.ask(&["admit", &id, "--name", "Press 8", "-o", text(&again)])
        .expect(2)
        .says(&["as \"Press 7\" already"]);
    site.ask(&["admit", &id, "--name", "Press 7", "-o", text(&again), "--address", "192.0.2.7:7440"])
        .expect(0);
    assert_eq!(fs::read(&again).expect("a file"), fs::read(file).expect("a file"), "the same word");

    ask(&at("empty"), &["init", "--credential", file]).expect(2).says(&["--await-credential"]);
    ask(&at("other"), &["init", "--await-credential"]).expect(0);
    ask(&at("other"), &["init", "--credential", file]).expect(2).says(&["the credential is for", &id]);
    ask(&joiner, &["init", "--credential", file, "--name", "Press 8"])
        .expect(2)
        .says(&["\"Press 7\"", "\"Press 8\""]);
    let bytes = fs::read(file).expect("a file");
    let damaged = at("damaged");
    for cut in [0, 10, 22, bytes.len() - 1] {
        fs::write(&damaged, &bytes[..cut]).expect("written");
        ask(&joiner, &["init", "--credential", text(&damaged)]).expect(2).says(&["damaged"]);
    }
    let mut changed = bytes;
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&damaged, &changed).expect("written");
    ask(&joiner, &["init", "--credential", text(&damaged)]).expect(2).says(&["checksum"]);
    let genesis = stranger.file("genesis.bin");
    ask(&joiner, &["init", "--credential", text(&genesis)]).expect(2).says(&["no credential of Selvedge"]);
    assert!(!joiner.join("genesis.bin").exists());

    ask(&joiner, &["init", "--credential", file]).expect(0).says(&[
        site.network(),
        "Press 7",
        "192.0.2.7:7440",
    ]);
    ask(&joiner, &["init", "--credential", file]).expect(0).says(&["taken already"]);
    ask(&joiner, &["check"]).expect(0);
    ask(&joiner, &["key", "list"]).expect(0).says(&["not in the ledger yet"]);
    // Another network's word on the same id comes too late, and is named.
    let foreign = at("foreign.credential");
    stranger
        .ask(&["admit", &id, "--name", "Press 7", "-o", text(&foreign)])
        .expect(0)
        .says(&["names no address"]);
    ask(&joiner, &["init", "--credential", text(&foreign)]).expect(2).says(&[
        "already holds a gateway",
        stranger.network(),
        site.network(),
    ]);
    // It runs alone and enrols itself.
    let node = start(&joiner);
    eventually("its enrolment", || {
        let done = ask(&joiner, &["key", "list", "--json"]).expect(0);
        if done.json()["keys"][0]["named_at"] == 0 { Ok(()) } else { Err(done) }
    });
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn partners_found_a_network_together() {
    let above = tempfile::tempdir().expect("a folder");
    let at = |name: &str| above.path().join(name);
    let introduce = |data: &str, organisation: &str, name: &str| {
        let introduced = ["init", "--introduce", "--organisation", organisation, "--name", name];
        ask(&at(data), &introduced).expect(0).says(&["svid1", "introduction", "no secret"]);
        at(data).join("introduction")
    };
    let press = introduce("press", "Maker Inc", "Press 7");
    let eye = introduce("eye", "Auditor", "Eye");
    ask(&at("press"), &["run"]).expect(2).says(&["waits for its genesis", "--genesis FILE"]);
    ask(&at("press"), &["init", "--network", "mine"]).expect(2).says(&["waits for its genesis"]);
    let found = |data: &str, more: &[&str]| {
        let base = ["init", "--network", "Line 4", "--organisation", "Owner AG", "--name", "Edge"];
        ask(&at(data), &[&base, more].concat())
    };
    // What goes wrong, before anything is made.
    let edited = at("edited");
    let mut bytes = fs::read(&press).expect("a file");
    bytes[60] ^= 1;
    fs::write(&edited, bytes).expect("written");
    found("edge", &["--with", text(&edited)]).expect(2).says(&["edited", "damaged"]);
    let key = at("press").join("keys/gateway.key");
    found("edge", &["--with", text(&key)]).expect(2).says(&["gateway.key", "--introduce"]);
    assert!(!at("edge").exists());
    found("edge", &["--with", text(&press), "--with", text(&press)]).expect(2).says(&["introduced twice"]);
    found("edge", &["--with", text(&press), "--committee", "Edge,Nobody"])
        .expect(2)
        .says(&["Nobody", "Press 7"]);

    let with = ["--with", text(&press), "--with", text(&eye), "--committee", "Edge,Press 7"];
    let made = found("edge", &with).expect(0).says(&["Line 4", "Press 7", "Maker Inc", "in the committee"]);
    let network =
        made.out.split_whitespace().find(|word| word.starts_with("svnet1")).expect("an id").to_owned();
    let genesis = at("edge").join("genesis.bin");
    // A third party, and a partner whose introduction was replaced after it was used.
    ask(&at("nobody"), &["init", "--genesis", text(&genesis)]).expect(2).says(&["--introduce"]);
    introduce("stranger", "Stranger", "Press 9");
    ask(&at("stranger"), &["init", "--genesis", text(&genesis)])
        .expect(2)
        .says(&["does not name this gateway"]);
    introduce("eye", "Auditor", "Eye 2");
    ask(&at("eye"), &["init", "--genesis", text(&genesis)]).expect(2).says(&["\"Eye\"", "\"Eye 2\""]);
    introduce("eye", "Auditor", "Eye");
    ask(&at("eye"), &["init", "--genesis", text(&press)]).expect(2).says(&["no genesis"]);
    for data in ["press", "eye"] {
        ask(&at(data), &["init", "--genesis", text(&genesis)]).expect(0).says(&[&network]);
        ask(&at(data), &["init", "--genesis", text(&genesis)]).expect(0).says(&["taken already"]);
        ask(&at(data), &["check"]).expect(0);
    }
    ask(&at("press"), &["key", "show"]).expect(0).says(&["Press 7", "Maker Inc", &network]);
    let again = found("edge", &with).expect(2);
    assert!(again.err.contains("already holds a gateway"), "{again}");

    // The three talk, and each signs.
    let config = |peers: &str| format!("{QUICK}[network]\nlisten = \"127.0.0.1:0\"\npeers = [{peers}]\n");
    let device = Device::start();
    fs::write(at("edge/selvedge.toml"), config("") + "\n" + &device.counters_config("20ms"))
        .expect("written");
    let edge = start(&at("edge"));
    let peer = format!("{:?}", address(&at("edge")));
    let others: Vec<Process> = ["press", "eye"]
        .iter()
        .map(|data| {
            fs::write(at(data).join("selvedge.toml"), config(&peer)).expect("written");
            start(&at(data))
        })
        .collect();
    eventually("transactions of all three on the third", || {
        let done = ask(&at("eye"), &["tangle", "--last", "1000"]);
        if ["Edge", "Press 7"].iter().all(|name| done.out.contains(name)) { Ok(()) } else { Err(done) }
    });
    for node in others.into_iter().chain([edge]) {
        assert!(node.lines(Output::Err).iter().all(|line| !line.contains("panicked")));
        node.end_with(Signal::TERM).expect(0);
    }
}
