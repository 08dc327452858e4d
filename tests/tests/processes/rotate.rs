//! `key rotate` on a running gateway: the chain goes on under the next key, whatever ends the program on the way.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Process, Signal};
use selvedge_tests::site::Site;
use selvedge_tests::{Random, eventually, from_env, program};
use serde_json::Value;

use crate::bad_files::passphrase;

fn keys(site: &Site) -> Vec<Value> {
    site.ask(&["key", "list", "--json"]).expect(0).json()["keys"].as_array().expect("a list").clone()
}

/// Number of the key in force: the last one, and only that.
fn in_force(site: &Site) -> u64 {
    let keys = keys(site);
    let in_force: Vec<u64> = keys
        .iter()
        .filter(|k| k["in_force"] == true)
        .map(|k| k["number"].as_u64().expect("a number"))
        .collect();
    assert_eq!(in_force, [keys.len() as u64 - 1], "{keys:?}");
    in_force[0]
}

/// Waits until this gateway has issued so many transactions more.
fn issues(site: &Site, more: u64) {
    let count = site.status()["ledger"]["transactions"].as_u64().expect("a number");
    site.wait_for_transactions(count + more);
}

fn proves_and_verifies(site: &Site, name: &str) {
    let proof = site.beside(name);
    site.prove("counter/0", &proof);
    program::ask(["verify", proof.to_str().expect("UTF-8"), "--network", site.network()]).expect(0);
}

#[test]
fn the_chain_goes_on_under_the_next_key_and_older_readings_stay_provable() {
    let (site, device) = (Site::new(), Device::start());
    site.ask(&["key", "rotate"]).expect(1).says(&["no node runs", "selvedge run"]);
    assert!(!site.file("keys/gateway.1.key").exists());
    site.configure(&device.counters_config("20ms"));
    let node = site.run();
    issues(&site, 2);
    assert_eq!(in_force(&site), 0);
    let early = site.beside("early");
    site.prove("counter/0", &early);
    for number in 1..=2 {
        site.ask(&["key", "rotate"]).expect(0).says(&[&format!("Key {number} is in force"), "key backup"]);
        assert_eq!(in_force(&site), number);
        let file = site.file(&format!("keys/gateway.{number}.key"));
        assert_eq!(fs::metadata(file).expect("there").permissions().mode() & 0o777, 0o600);
        issues(&site, 2);
        eventually("a batch under the new key", || {
            proves_and_verifies(&site, &format!("after-{number}"));
            Ok::<_, String>(())
        });
    }
    node.end_with(Signal::TERM).expect(0);
    assert_eq!(in_force(&site), 2, "the same without a node");
    site.ask(&["key", "list"]).expect(0).says(&["named in the genesis", "replaced", "in force"]);
    program::ask(["verify", early.to_str().expect("UTF-8"), "--network", site.network()]).expect(0);

    // All keys are in the backup, and all come back.
    let pass = passphrase(&site, "pass", "correct horse battery");
    let backup = site.beside("backup");
    let backup = backup.to_str().expect("UTF-8");
    site.ask(&["key", "backup", backup, "--backup-passphrase-file", &pass]).expect(0);
    fs::remove_file(site.file("keys/gateway.2.key")).expect("there");
    let journaled = journals_without_its_key(&site);
    site.ask(&["key", "restore", backup, "--backup-passphrase-file", &pass])
        .expect(0)
        .says(&["keys/gateway.2.key"]);
    let node = site.run();
    issues(&site, 2);
    proves_and_verifies(&site, "restored");
    let status = site.status();
    assert_eq!(status["state"], "running", "{status}");
    node.end_with(Signal::TERM).expect(0);
    // What was journaled meanwhile is in transactions now, in its place.
    let readings = site.readings("counter/0");
    let counters: Vec<u64> = readings.iter().map(|r| r["counter"].as_u64().expect("a number")).collect();
    assert!(counters.len() as u64 > journaled && counters.iter().copied().eq(0..counters.len() as u64));
    assert_eq!(readings[journaled as usize - 1]["state"], "attached");

    // A file with another key in it is no key that is missing: signed with it, nothing would hold.
    fs::copy(site.file("keys/gateway.1.key"), site.file("keys/gateway.2.key")).expect("copied");
    site.start().done().expect(2).says(&["gateway.2.key holds another key"]);
}

/// Runs it while the file of the key in force is gone: readings are journaled, nothing is issued, and `status` says why
/// and what to do. Returns how many readings of the stream there are at the end.
fn journals_without_its_key(site: &Site) -> u64 {
    let before = site.status();
    let node = site.run();
    let status = eventually("readings in the journal", || {
        let status = site.status();
        let journaled = status["backlog"]["readings"].as_u64().expect("a number");
        if journaled >= 50 { Ok(status) } else { Err(status) }
    });
    assert_eq!(status["state"], "silent", "{status}");
    assert_eq!(status["ledger"]["transactions"], before["ledger"]["transactions"], "{status}");
    let needs = status["attention"][0].as_str().expect("words");
    for word in ["keys/gateway.2.key", "journaled", "selvedge key restore"] {
        assert!(needs.contains(word), "{needs}");
    }
    // No new key in place of the one that is to come back.
    site.ask(&["key", "rotate"]).expect(1).says(&["key 2", "not here"]);
    assert!(!site.file("keys/gateway.2.key").exists() && !site.file("keys/gateway.3.key").exists());
    node.end_with(Signal::TERM).expect(0);
    site.readings("counter/0").len() as u64
}

#[test]
fn killed_at_any_moment_of_a_rotation_it_signs_with_the_right_key() {
    let (site, device) = (Site::new(), Device::start());
    site.configure(&device.counters_config("20ms"));
    let seed = from_env("SELVEDGE_SEED", 12);
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut before = 0;
    for round in 0..from_env("SELVEDGE_KILLS", 6) {
        let node = site.run();
        let mut command = program::command(["key", "rotate", "--data", site.data().to_str().expect("UTF-8")]);
        let asking = Process::start(&mut command);
        std::thread::sleep(Duration::from_millis(random.below(80)));
        node.end_with(Signal::KILL);
        drop(asking);
        let now = in_force(&site);
        assert!(now == before || now == before + 1, "round {round}: {before}, then {now}");
        before = now;
        let node = site.run();
        issues(&site, 2);
        assert_eq!(site.status()["state"], "running");
        assert_eq!(in_force(&site), now, "nothing rotates by itself");
        proves_and_verifies(&site, &format!("round-{round}"));
        node.end_with(Signal::TERM).expect(0);
    }
    let node = site.run();
    site.ask(&["key", "rotate"]).expect(0);
    assert_eq!(in_force(&site), before + 1);
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn sealed_keys_are_rotated_under_the_same_passphrase() {
    let above = Site::new();
    let pass = passphrase(&above, "pass", "correct horse battery");
    let site = Site::with(&["--passphrase-file", &pass]);
    site.configure("");
    let node = site.start_with(&["--passphrase-file", &pass]);
    selvedge_tests::site::runs(&node);
    site.ask(&["key", "rotate"]).expect(0);
    node.end_with(Signal::TERM).expect(0);
    let text = fs::read_to_string(site.file("keys/gateway.1.key")).expect("a key file");
    assert!(text.contains("\nsealed "), "{text}");
    site.start().done().expect(2).says(&["passphrase"]);
    let node = site.start_with(&["--passphrase-file", &pass]);
    selvedge_tests::site::runs(&node);
    node.end_with(Signal::TERM).expect(0);
}
