//! Files that are not what they should be: configuration, keys, genesis, log, index. Each is said, and nothing is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use selvedge_tests::device::Device;
use selvedge_tests::process::{Done, Output, Signal};
use selvedge_tests::site::{Site, runs};
use selvedge_tests::{eventually, program};

const STREAM: &str = "counter/0";

/// `check` and `run` both refuse, and name the same.
#[track_caller]
fn is_refused(site: &Site, config: &str, line: Option<usize>, says: &[&str]) {
    site.configure_exactly(config);
    let place = match line {
        Some(line) => format!("selvedge.toml:{line}:"),
        None => "selvedge.toml".into(),
    };
    let checked = site.ask(&["check"]).expect(1).says(&[&place]).says(says);
    assert!(!checked.err.contains("panicked"), "{checked}");
    let json = site.ask(&["check", "--json"]).expect(1).json();
    assert_eq!(json["right"], false, "{json}");
    assert_eq!(json["findings"][0]["line"].as_u64(), line.map(|l| l as u64), "{json}");
    site.start().done().expect(2).says(&[&place]).says(says);
}

#[test]
fn a_wrong_configuration_names_file_line_key_and_the_nearest_valid_one() {
    let site = Site::new();
    let device = "[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:502\"\n";
    let stream = "\n[[device.stream]]\nname = \"a\"\nregister = \"holding:1\"\ntype = \"u16\"\n";
    is_refused(
        &site,
        "[batch]\nreadings = 10\nagee = \"1s\"\n",
        Some(3),
        &["unknown key `agee`", "did you mean `age`?"],
    );
    is_refused(&site, "[bacth]\nreadings = 10\n", Some(1), &["`bacth`", "`batch`"]);
    is_refused(
        &site,
        "[batch]\nreadings = \"many\"\n",
        Some(2),
        &["key `readings`", "\"many\"", "whole number"],
    );
    is_refused(&site, "[batch]\nreadings = 0\n", Some(2), &["`readings`", "expected 1 to 65536"]);
    is_refused(&site, "[journal]\nsync_within = \"soon\"\n", Some(2), &["\"soon\"", "200ms"]);
    is_refused(&site, "[batch\nreadings = 10\n", Some(1), &[]);
    is_refused(&site, "\u{0}\u{1}", Some(1), &[]);
    is_refused(
        &site,
        &format!("{device}pol_interval = \"1s\"\n{stream}"),
        Some(5),
        &["`pol_interval`", "`poll_interval`"],
    );
    is_refused(&site, &format!("{device}{stream}ordr = \"AB\"\n"), Some(10), &["`ordr`", "`order`"]);
    is_refused(
        &site,
        &format!("{device}{}", stream.replace(":1", ":65536")),
        Some(8),
        &["65536", "holding:ADDRESS"],
    );
    is_refused(&site, &format!("{device}{stream}order = \"ABCD\"\n"), Some(10), &["ABCD", "AB"]);
    is_refused(&site, &format!("{device}{}", stream.replace("u16", "u17")), Some(9), &["u17", "u16"]);
    is_refused(&site, device, Some(1), &["plc", "stream"]);
    let nowhere = device.replace("127.0.0.1:502", "nowhere");
    is_refused(&site, &format!("{nowhere}{stream}"), Some(4), &["nowhere", "port"]);
    is_refused(&site, &format!("{device}{stream}{stream}"), Some(12), &["\"a\""]);
    is_refused(&site, &"# a comment\n".repeat(500_000), None, &["4194304"]);
    fs::write(site.file("selvedge.toml"), b"[batch]\nreadings = 10 # \xff\n").expect("it can be written");
    site.ask(&["check"]).says(&["selvedge.toml", "UTF-8"]);
    fs::remove_file(site.file("selvedge.toml")).expect("it was there");
    site.ask(&["check"]).expect(2).says(&["selvedge.toml", "No such file"]);
    site.start().done().expect(2).says(&["selvedge.toml", "No such file"]);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let site = Site::new();
    site.configure_exactly("[batch]\nreadings = 0\nage = \"1ms\"\n\n[tips]\nalpha = -1\n");
    let done = site.ask(&["check"]).expect(1);
    assert_eq!(done.err.lines().filter(|line| line.contains("selvedge.toml:")).count(), 3, "{done}");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn keys_that_others_could_read_are_refused() {
    let site = Site::new();
    site.configure("");
    for name in ["keys/gateway.key", "keys/salt.key"] {
        let path = site.file(name);
        assert_eq!(path.metadata().expect("init made it").permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o660] {
            set_mode(&path, mode);
            let fix = format!("chmod 600 '{}'", path.display());
            site.start().done().expect(2).says(&[name, &format!("{mode:04o}"), "expected 0600", &fix]);
        }
        set_mode(&path, 0o600);
    }
    set_mode(&site.file("keys/organisation.key"), 0o644);
    let node = site.run();
    node.end_with(Signal::TERM).expect(0);
    let pass = passphrase(&site, "pass", "a word");
    let backup = site.beside("b");
    let backup = ["key", "backup", backup.to_str().expect("UTF-8"), "--backup-passphrase-file", &pass];
    site.ask(&backup).expect(2).says(&["organisation.key", "expected 0600"]);
    set_mode(&site.file("keys/organisation.key"), 0o600);
    set_mode(Path::new(&pass), 0o644);
    site.ask(&backup).expect(2).says(&["pass", "expected 0600"]);
    set_mode(Path::new(&pass), 0o600);
    site.ask(&backup).expect(0);
}

/// A file with a passphrase.
pub(crate) fn passphrase(site: &Site, name: &str, words: &str) -> String {
    let path = site.beside(name);
    fs::write(&path, format!("{words}\n")).expect("it can be written");
    set_mode(&path, 0o600);
    path.to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_sealed_key_opens_with_its_passphrase_only() {
    let above = Site::new();
    let right = passphrase(&above, "right", "correct horse");
    let site = Site::with(&["--passphrase-file", &right]);
    site.configure("");
    assert!(
        !fs::read_to_string(site.file("keys/gateway.key")).expect("text").contains("seed"),
        "it is sealed"
    );
    let node = site.start_with(&["--passphrase-file", &right]);
    runs(&node);
    node.end_with(Signal::TERM).expect(0);
    let wrong = passphrase(&above, "wrong", "correct hoarse");
    site.start_with(&["--passphrase-file", &wrong])
        .done()
        .expect(2)
        .says(&["gateway.key", "wrong passphrase"]);
    site.start().done().expect(2).says(&["gateway.key", "sealed with a passphrase, and none was given"]);
    let empty = passphrase(&above, "empty", "");
    site.start_with(&["--passphrase-file", &empty]).done().expect(2).says(&["empty"]);
    site.start_with(&["--passphrase-file", "/nowhere/pass"]).done().expect(2).says(&["/nowhere/pass"]);
    above.configure("");
    above.start_with(&["--passphrase-file", &right]).done().expect(2).says(&["not sealed"]);
}

#[test]
fn another_key_or_a_damaged_one_is_refused() {
    let (site, other) = (Site::new(), Site::new());
    let (own, its) = (site.file("keys/gateway.key"), other.file("keys/gateway.key"));
    let kept = fs::read(&own).expect("a key");
    fs::copy(its, &own).expect("it can be copied");
    site.start().done().expect(2).says(&["gateway.key", "put the right key file back"]);
    let mut damaged = kept.clone();
    let at = damaged.len() - 3;
    damaged[at] ^= 1;
    for bytes in [&damaged[..], &kept[..kept.len() / 2], b"", b"-----BEGIN PRIVATE KEY-----\n"] {
        fs::write(&own, bytes).expect("it can be written");
        site.start().done().expect(2).says(&["gateway.key"]);
    }
    fs::remove_file(&own).expect("it was there");
    site.start().done().expect(2).says(&["gateway.key"]);
    fs::write(&own, kept).expect("it can be written");
    set_mode(&own, 0o600);
    site.run().end_with(Signal::TERM).expect(0);
}

#[test]
fn a_changed_genesis_is_refused_and_nothing_is_lost() {
    let site = Site::with_chain();
    let before = site.readings(STREAM);
    let path = site.file("genesis.bin");
    let genesis = fs::read(&path).expect("init wrote it");
    for bytes in [&genesis[..genesis.len() / 2], b"", &[&genesis[..], b"x"].concat()] {
        fs::write(&path, bytes).expect("it can be written");
        site.start().done().expect(2).says(&["genesis.bin"]);
        site.ask(&["status"]).expect(2).says(&["genesis.bin"]);
    }
    // The random bytes stand behind version and name: still a genesis, but of another network.
    let mut other = genesis.clone();
    other[12] ^= 1;
    fs::write(&path, other).expect("it can be written");
    site.start().done().expect(2).says(&["belongs to network", "use another folder"]);
    site.ask(&["streams"]).expect(2).says(&["belongs to network"]);
    fs::write(&path, genesis).expect("it can be written");
    assert_eq!(site.readings(STREAM), before, "refusals change nothing");
}

/// Flips a bit in the middle of what was written to a segment, and not in the zeros that fill a sector up.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a segment");
    let used = bytes.iter().rposition(|byte| *byte != 0).expect("something was written");
    let at = (used / 2..used)
        .find(|at| bytes[*at..at + 8].iter().all(|byte| *byte != 0))
        .expect("eight bytes of a record");
    bytes[at + 4] ^= 1;
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn a_journal_damaged_in_the_middle_is_said_and_never_cut() {
    let (site, device) = (Site::new(), Device::start());
    // Nothing closes the batch, so all readings lie in the journal.
    site.configure_exactly(&format!(
        "[batch]\nage = \"1h\"\nreadings = 60000\n\n[journal]\nsync_within = \"10ms\"\n\n{}",
        device.counters_config("20ms")
    ));
    let node = site.run();
    eventually("readings in the journal", || {
        let backlog = site.status()["backlog"]["readings"].as_u64().expect("a number");
        if backlog > 160 { Ok(()) } else { Err(backlog) }
    });
    node.end_with(Signal::KILL);
    let before = site.readings(STREAM);
    let path = site.file("store/journal/000000.seg");
    let whole = fs::read(&path).expect("a segment");
    damage(&path);
    let damaged = fs::read(&path).expect("a segment");
    let refused = site.start().done().says(&["journal/000000.seg", "damaged at byte", "keep a copy"]);
    assert!([1, 2].contains(&refused.code()), "{refused}");
    site.ask(&["readings", STREAM]).expect(2).says(&["journal/000000.seg", "damaged at byte"]);
    assert_eq!(fs::read(&path).expect("a segment"), damaged, "the journal is as it was");
    fs::write(&path, whole).expect("it can be written");
    assert_eq!(site.readings(STREAM), before);
}

#[test]
fn a_log_damaged_in_the_middle_is_said_and_never_cut() {
    let site = Site::with_chain();
    let whole = fs::read(site.file("store/log/000000.seg")).expect("a segment");
    damage(&site.file("store/log/000000.seg"));
    let damaged = fs::read(site.file("store/log/000000.seg")).expect("a segment");
    assert_ne!(whole, damaged);
    // Without an index all of the log must be read: it is refused with the place, and not cut there.
    fs::remove_file(site.file("store/index.redb")).expect("it was there");
    let refused = site.start().done().says(&["log/000000.seg", "damaged at byte", "keep a copy"]);
    assert!([1, 2].contains(&refused.code()), "{refused}");
    site.ask(&["tangle"]).expect(2).says(&["log/000000.seg", "damaged at byte"]);
    assert_eq!(
        fs::read(site.file("store/log/000000.seg")).expect("a segment"),
        damaged,
        "the log is as it was"
    );
    // With the right bytes back, all is well.
    fs::write(site.file("store/log/000000.seg"), whole).expect("it can be written");
    site.run().end_with(Signal::TERM).expect(0);
}

#[test]
fn a_damaged_index_is_made_again_by_itself_and_says_so() {
    let site = Site::with_chain();
    let (before, tangle) = (site.readings(STREAM), site.ask(&["tangle", "--json"]).expect(0).json());
    assert!(before.len() > 5);
    let index = site.file("store/index.redb");
    let good = fs::read(&index).expect("an index");
    let mut torn = good.clone();
    torn[..512].fill(0xa5);
    let mut half = good.clone();
    half.truncate(good.len() / 2);
    for (what, bytes) in [
        ("gone", None),
        ("garbage", Some(vec![0x5a; 40_000])),
        ("torn", Some(torn)),
        ("half", Some(half)),
        ("empty", Some(Vec::new())),
    ] {
        match &bytes {
            None => fs::remove_file(&index).expect("it was there"),
            Some(bytes) => fs::write(&index, bytes).expect("it can be written"),
        }
        let node = site.run();
        node.line(Output::Err, "that the index was made again", |line| {
            line.contains("the index is made again from the log")
        });
        let same = site.readings(STREAM);
        assert_eq!(same[..before.len()], before, "{what}");
        node.end_with(Signal::TERM).expect(0);
        let again = site.ask(&["tangle", "--json", "--last", "10000"]).expect(0).json();
        for transaction in tangle["newest"].as_array().expect("some") {
            let number = transaction["number"].as_u64().expect("a number") as usize;
            assert_eq!(again["newest"][number]["id"], transaction["id"], "{what}");
        }
    }
    let node = site.run();
    assert!(!node.lines(Output::Err).iter().any(|line| line.contains("made again")), "once is enough");
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn a_damaged_archive_is_said_by_whoever_reads_it() {
    let site = Site::with_chain();
    let archive = site.file("store/archive");
    let mut segments = Vec::new();
    for folder in fs::read_dir(&archive).expect("an archive") {
        for file in fs::read_dir(folder.expect("readable").path()).expect("a folder") {
            segments.push(file.expect("readable").path());
        }
    }
    assert!(!segments.is_empty(), "batches were archived");
    for path in &segments {
        let mut bytes = fs::read(path).expect("a segment");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("it can be written");
    }
    let says = |done: Done| assert!(done.err.contains("archive") && done.err.contains("damaged"), "{done}");
    says(site.ask(&["export", "--stream", STREAM]).expect(2));
    let file = site.beside("it.proof");
    says(site.ask(&["prove", STREAM, "latest", "-o", file.to_str().expect("UTF-8")]).expect(2));
    assert!(!file.exists(), "no proof is better than a wrong one");
    site.run().end_with(Signal::TERM).expect(0);
}

#[test]
fn a_file_that_is_no_proof_is_refused() {
    let above = tempfile::tempdir().expect("a folder for tests");
    let network = Site::new();
    let verify = |bytes: &[u8]| {
        let path = above.path().join("it");
        fs::write(&path, bytes).expect("it can be written");
        program::ask(["verify", path.to_str().expect("UTF-8"), "--network", network.network()])
    };
    verify(b"").expect(1).says(&["Refused", "SVPROOF"]);
    verify(b"%PDF-1.7").expect(1).says(&["%PDF", "SVPROOF"]);
    verify(b"SVPROOF\n\x09rest").expect(1).says(&["version 9"]);
    verify(&vec![0; 64 * 1024 * 1024]).expect(1).says(&["Refused"]);
    program::ask(["verify", "/nowhere/it", "--network", network.network()]).expect(2).says(&["/nowhere/it"]);
    program::ask(["verify", "/", "--network", network.network()]).expect(2);
    // An endless file.
    program::ask(["verify", "/dev/zero", "--network", network.network()]).expect(1).says(&["Refused"]);
}
