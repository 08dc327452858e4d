//! Keys lost and restored: into the folder that holds the chain the gateway goes on; into an empty one it issues
//! nothing, because it could contradict what it signed.

use std::fs;

use selvedge_tests::device::Device;
use selvedge_tests::eventually;
use selvedge_tests::process::{Output, Signal};
use selvedge_tests::program;
use selvedge_tests::site::{Site, runs};

use crate::bad_files::passphrase;

const STREAM: &str = "counter/0";

/// Backs the keys up; returns the backup and the file with its passphrase.
fn backup(site: &Site) -> (String, String) {
    let pass = passphrase(site, "backup-pass", "correct horse battery staple");
    let file = site.beside("g1.backup").to_str().expect("UTF-8").to_owned();
    site.ask(&["key", "backup", &file, "--backup-passphrase-file", &pass])
        .expect(0)
        .says(&["svid1", "sealed"]);
    (file, pass)
}

#[test]
fn restored_beside_its_chain_the_gateway_goes_on() {
    let site = Site::with_chain();
    let (file, pass) = backup(&site);
    let before = site.ask(&["tangle", "--json", "--last", "1000"]).expect(0).json();
    let restore = ["key", "restore", &file, "--backup-passphrase-file", &pass];
    site.ask(&restore).expect(0).says(&["nothing to restore"]);
    fs::remove_dir_all(site.file("keys")).expect("they were there");
    site.start().done().expect(2).says(&["gateway.key"]);
    site.ask(&restore).expect(0).says(&[
        "keys/gateway.key",
        "keys/organisation.key",
        "keys/salt.key",
        "The chain goes on",
    ]);

    let device = Device::start();
    site.configure(&device.counters_config("20ms"));
    let node = site.run();
    let count = before["transactions"].as_u64().expect("a number");
    site.wait_for_transactions(count + 2);
    assert_eq!(site.status()["state"], "running");
    node.end_with(Signal::TERM).expect(0);
    let after = site.ask(&["tangle", "--json", "--last", "1000"]).expect(0).json();
    let sequences: Vec<u64> =
        after["newest"].as_array().expect("some").iter().filter_map(|t| t["sequence"].as_u64()).collect();
    assert!(
        (0..).zip(&sequences).all(|(expected, sequence)| *sequence == expected),
        "one chain: {sequences:?}"
    );
    assert_eq!(before["newest"][0]["id"], after["newest"][0]["id"]);
    assert!(!site.file("restored").exists());
}

#[test]
fn restored_into_an_empty_folder_it_journals_issues_nothing_and_says_why() {
    let site = Site::with_chain();
    let (file, pass) = backup(&site);
    let empty = site.beside("g2");
    let data = empty.to_str().expect("UTF-8");
    program::ask(["key", "restore", &file, "--backup-passphrase-file", &pass, "--data", data])
        .expect(0)
        .says(&["empty folder", "issues nothing"]);
    assert!(empty.join("restored").exists(), "the folder is marked");

    let device = Device::start();
    let config = format!(
        "[batch]\nage = \"200ms\"\n\n[clock]\ntrust = \"assume\"\n\n{}",
        device.counters_config("20ms")
    );
    fs::write(empty.join("selvedge.toml"), config).expect("it can be written");
    for start in 0..2 {
        let node = selvedge_tests::process::Process::start(&mut program::command(["run", "--data", data]));
        runs(&node);
        node.line(Output::Err, "why it issues nothing", |line| {
            line.contains("restored without its chain") && line.contains("nothing is issued")
        });
        let backlog = eventually("readings in the journal", || {
            let status = program::ask(["status", "--json", "--data", data]).expect(1).json();
            let backlog = status["backlog"]["readings"].as_u64().expect("a number");
            if backlog > 100 * (start + 1) { Ok(status) } else { Err(status) }
        });
        assert_eq!(backlog["state"], "silent", "{backlog}");
        assert_eq!(backlog["ledger"]["transactions"], 0, "{backlog}");
        program::ask(["status", "--data", data]).expect(1).says(&["issues nothing", "selvedge key restore"]);
        program::ask(["prove", STREAM, "latest", "--data", data])
            .expect(1)
            .says(&["still in the journal", "issues no transactions"]);
        node.end_with(Signal::TERM).expect(0);
    }
    let readings = program::ask(["readings", STREAM, "--last", "100000", "--json", "--data", data])
        .expect(0)
        .json_lines();
    assert!(
        (0_u64..)
            .zip(&readings)
            .all(|(counter, reading)| reading["counter"] == counter && reading["state"] == "journaled")
    );
    assert!(readings.len() > 20);
}

#[test]
fn a_backup_opens_only_with_its_passphrase_and_only_where_it_belongs() {
    let site = Site::with_chain();
    let (file, pass) = backup(&site);
    let wrong = passphrase(&site, "wrong", "correct horse battery stable");
    let empty = site.beside("g2");
    let data = empty.to_str().expect("UTF-8");
    let restore = |file: &str, pass: &str, data: &str| {
        program::ask(["key", "restore", file, "--backup-passphrase-file", pass, "--data", data])
    };
    restore(&file, &wrong, data).expect(2).says(&["wrong passphrase", "g1.backup"]);
    let bytes = fs::read(&file).expect("a backup");
    let damaged = site.beside("damaged").to_str().expect("UTF-8").to_owned();
    for at in [0, 9, bytes.len() / 2, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        fs::write(&damaged, &changed).expect("it can be written");
        fs::set_permissions(&damaged, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("it is ours");
        restore(&damaged, &pass, data).expect(2).says(&["damaged"]);
    }
    fs::write(&damaged, &bytes[..bytes.len() / 2]).expect("it can be written");
    restore(&damaged, &pass, data).expect(2).says(&["damaged"]);
    assert!(!empty.exists(), "nothing is made from a backup that does not open");

    let other = Site::new();
    let other_data = other.data().to_str().expect("UTF-8");
    restore(&file, &pass, other_data).expect(2).says(&[other.network(), site.network(), "its own folder"]);
    // A backup is never written over another file, and one of sealed keys needs their passphrase.
    site.ask(&["key", "backup", &file, "--backup-passphrase-file", &pass])
        .expect(2)
        .says(&["exists already"]);
    let sealed = Site::with(&["--passphrase-file", &pass]);
    let second = site.beside("second").to_str().expect("UTF-8").to_owned();
    let line = ["key", "backup", &second, "--backup-passphrase-file", &wrong];
    sealed.ask(&line).expect(2).says(&["sealed with a passphrase"]);
    sealed.ask(&[&line[..], &["--passphrase-file", &pass]].concat()).expect(0);
}

#[test]
fn when_the_chain_is_back_the_mark_goes_and_the_gateway_issues_again() {
    let site = Site::with_chain();
    let (file, pass) = backup(&site);
    let empty = site.beside("g2");
    let data = empty.to_str().expect("UTF-8");
    let restore = || {
        program::ask(["key", "restore", &file, "--backup-passphrase-file", &pass, "--data", data]).expect(0)
    };
    restore().says(&["issues nothing"]);
    restore().says(&["issues nothing"]);
    assert!(empty.join("restored").exists(), "still without its chain");
    fs::remove_dir_all(empty.join("store")).expect("the look for a chain made it");
    fs::rename(site.file("store"), empty.join("store")).expect("the chain moves over");
    restore().says(&["The chain goes on"]);
    assert!(!empty.join("restored").exists());

    let device = Device::start();
    fs::write(
        empty.join("selvedge.toml"),
        format!("[batch]\nage = \"200ms\"\n\n{}", device.counters_config("20ms")),
    )
    .expect("it can be written");
    let node = selvedge_tests::process::Process::start(&mut program::command(["run", "--data", data]));
    runs(&node);
    eventually("a transaction", || {
        let done = program::ask(["status", "--json", "--data", data]);
        let status = done.json();
        if status["state"] == "running" && status["ledger"]["transactions"].as_u64() > Some(3) {
            Ok(())
        } else {
            Err(status)
        }
    });
    node.end_with(Signal::TERM).expect(0);
}

/// A store that is gone (a folder that was not mounted), or whose log lost what the index knew: the gateway signed
/// sequences that it does not know any more, and went on to sign others in their place. Found by reading.
#[test]
fn a_gateway_that_lost_part_of_its_chain_journals_and_issues_nothing() {
    for is_gone in [true, false] {
        let site = Site::with_chain();
        if is_gone {
            fs::remove_dir_all(site.file("store")).expect("it was there");
        } else {
            let log =
                fs::OpenOptions::new().write(true).open(site.file("store/log/000000.seg")).expect("a log");
            log.set_len(4_000).expect("it can be cut");
        }
        // A question comes first; it must not hide the loss.
        site.ask(&["status"]).says(&["issued", "selvedge key restore"]);
        let device = Device::start();
        site.configure(&device.counters_config("20ms"));
        let before = site.ask(&["status", "--json"]).json()["ledger"]["transactions"].clone();
        let node = site.run();
        eventually("readings in the journal", || {
            let status = site.ask(&["status", "--json"]).json();
            let backlog = status["backlog"]["readings"].as_u64().expect("a number");
            if backlog > 100 { Ok(()) } else { Err(status) }
        });
        let status = site.ask(&["status", "--json"]).expect(1).json();
        assert_eq!(status["state"], "silent", "{status}");
        assert_eq!(status["ledger"]["transactions"], before, "{status}");
        node.end_with(Signal::TERM).expect(0);
    }
}
