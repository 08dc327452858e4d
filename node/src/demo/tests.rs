//! The demo from end to end, in this process.

use std::path::Path;

use selvedge_proof::Link;

use super::*;
use crate::folder::Folder;

/// Ends the run once something can be seen of everything, so that no test depends on how fast the machine is.
struct Watcher {
    stop: CancellationToken,
    frames: Vec<Frame>,
    words: String,
}

impl Watcher {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), frames: Vec::new(), words: String::new() }
    }
}

impl Audience for Watcher {
    fn frame(&mut self, frame: &Frame) {
        let each_has_some = frame.gateways.iter().all(|gateway| gateway.batches > 0);
        if each_has_some && frame.device_up && frame.value(LEVEL).is_some() {
            self.stop.cancel();
        }
        self.frames.push(frame.clone());
    }

    fn say(&mut self, text: &str) {
        self.words += text;
        self.words.push('\n');
    }
}

/// Two minutes are for a machine that is busy with other tests.
fn options(gateways: usize, keep: Option<&Path>) -> Options {
    Options {
        gateways,
        run_for: Duration::from_mins(2),
        keep: keep.map(Path::to_owned),
        broker: None,
        cut: None,
        seed: [9; 32],
    }
}

async fn demo(options: &Options) -> (anyhow::Result<Report>, Watcher) {
    let mut watcher = Watcher::new();
    let stop = watcher.stop.clone();
    (run(options, &mut watcher, &stop).await, watcher)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("kept");
    let (report, watcher) = demo(&options(3, Some(&root))).await;
    let report = report.unwrap_or_else(|why| panic!("{why:#}\n{}", watcher.words));

    assert!(report.holds(), "{report:?}\n{}", watcher.words);
    assert!(report.witnessed_all && report.ledgers_equal, "{report:?}\n{}", watcher.words);
    assert_eq!((report.gateways, report.data.as_deref()), (3, Some(root.as_path())));
    assert!(report.readings >= 11, "one of each stream at least: {report:?}");
    assert!(report.batches >= 3 && report.transactions > report.batches, "{report:?}");
    assert_eq!(report.transactions_compared, report.transactions);
    assert!(report.bytes_sent > 10_000, "{report:?}");
    let shown = watcher.frames.last().expect("frames");
    assert!(shown.readings() <= report.readings && shown.agreement.transactions <= report.transactions);
    // Two millions of litres would be another plant.
    assert!(shown.value(LEVEL).is_some_and(|level| (38.0..42.0).contains(&level)), "{shown:?}");
    assert!(shown.gateways.iter().all(|gateway| gateway.peers == 2), "{shown:?}");
    let conveyor = if cfg!(feature = "demo-opcua") { ", conveyor-plc opcua" } else { "" };
    let polled = watcher.frames.iter().rfind(|frame| frame.device_up).expect("a frame while all answered");
    assert_eq!(polled.device, format!("filler-plc modbus-tcp{conveyor}: up"));
    let record = std::fs::read_to_string(root.join("plant.jsonl")).expect("what the plant showed is kept");
    assert!(record.lines().count() > 10 && record.contains(LEVEL), "{record}");
    assert!(shown.gateways.iter().all(|gateway| gateway.bytes_sent > 0 && gateway.bytes_received > 0));

    let data = root.join("filler-gateway");
    let folder = Folder::open(&data).expect("an ordinary data folder");
    let network = ids::to_text(&folder.network().id());
    assert_eq!(report.network, network);
    for words in ["Verified: signed by", "All of it held", "- maker-gateway, ", network.as_str()] {
        assert!(watcher.words.contains(words), "{words:?} is missing in\n{}", watcher.words);
    }
    assert_eq!(watcher.words.matches("| Refused").count(), 2, "{}", watcher.words);
    whoever_trusts_the_forger_is_told_otherwise(&root, &folder);
    every_flip_is_refused(&root, &folder);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_gateway_compares_nothing_and_proves_all_the_same() {
    let (report, watcher) = demo(&options(1, None)).await;
    let report = report.unwrap_or_else(|why| panic!("{why:#}\n{}", watcher.words));
    assert!(
        !report.witnessed_all && !report.ledgers_equal && report.transactions_compared == 0,
        "{report:?}"
    );
    assert!(report.holds(), "{report:?}");
    assert!(watcher.words.contains("nothing was compared"), "{}", watcher.words);
    // A lone gateway's chain: each transaction carries one batch, and approves the one before.
    assert!(report.batches >= 1 && report.transactions == report.batches && report.tips == 1, "{report:?}");
    assert_eq!(report.bytes_sent, 0);
}

/// The outcomes are not constants: with the forger's id in place of the true one they turn.
fn whoever_trusts_the_forger_is_told_otherwise(data: &Path, folder: &Folder) {
    let forger = Folder::open(&data.join("forger")).expect("the forger's folder is an ordinary one");
    assert_eq!(forger.genesis().network_name, folder.genesis().network_name);
    let (own, other) = (Reopened::open(folder).unwrap(), Reopened::open(&forger).unwrap());
    let (last, forged) = (own.prove_last(LEVEL).unwrap(), other.prove_last(LEVEL).unwrap());
    assert_eq!(last.reading.counter, forged.reading.counter);
    assert_eq!(last.reading.receive_time_ns, forged.reading.receive_time_ns);
    assert_ne!(last.reading.value, forged.reading.value);

    let files = Files::within(&data.join("proofs"));
    let (trusted, forging) = (folder.network().id(), forger.network().id());
    let judgement = Judgement::of(&files, trusted, forging).unwrap();
    assert!(judgement.proof_verified(&last));
    assert!(judgement.tampered_proof_rejected());
    assert!(judgement.forged_network_rejected(&forged));
    assert_eq!(judgement.tampered.as_ref().unwrap_err().link(), Link::Leaf);
    assert_eq!(judgement.forged.as_ref().unwrap_err().link(), Link::Network);
    assert!(
        !judgement.proof_verified(&forged),
        "a proof of another reading is not the one that was asked for"
    );

    let deceived = Judgement::of(&files, forging, trusted).unwrap();
    assert!(!deceived.proof_verified(&last));
    assert!(!deceived.tampered_proof_rejected(), "nothing is shown by refusing what was refused before");
    assert!(!deceived.forged_network_rejected(&forged));

    // And where the changed file is in truth the unchanged one.
    let unchanged = Files { tampered: files.last.clone(), ..files };
    assert!(!Judgement::of(&unchanged, trusted, forging).unwrap().tampered_proof_rejected());
}

/// Each byte of the demo's proof in turn, in a file, by the function behind `verify`.
fn every_flip_is_refused(data: &Path, folder: &Folder) {
    const THREADS: usize = 4;
    let bytes = std::fs::read(data.join("proofs/last.proof")).unwrap();
    let trust = selvedge_proof::Trust::Network(folder.network().id());
    let flip = |thread: usize| {
        let path = data.join(format!("proofs/flip-{thread}.proof"));
        for at in (thread..bytes.len()).step_by(THREADS) {
            let mut altered = bytes.clone();
            // Another bit at each byte, the lowest and the highest among them.
            altered[at] ^= 1 << (at % 8);
            std::fs::write(&path, &altered).unwrap();
            let said = crate::cli::verify::verify_file(&path, trust).expect("the file can be read");
            assert!(said.is_err(), "byte {at} of {}", bytes.len());
        }
        std::fs::write(&path, &bytes).unwrap();
        crate::cli::verify::verify_file(&path, trust).unwrap().expect("unchanged it is verified");
    };
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || flip(thread));
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keep_nothing_is_left() {
    let (report, watcher) = demo(&options(2, None)).await;
    let report = report.expect("it runs");
    assert!(report.holds() && report.data.is_none(), "{report:?}");
    assert!(watcher.words.contains("--keep DIR"), "{}", watcher.words);
    assert!(!watcher.words.contains("$ selvedge"), "no command that could not be given: {}", watcher.words);
    assert!(!serde_json::to_string(&report).unwrap().contains("\"data\""));
}

#[tokio::test]
async fn a_folder_that_is_not_empty_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), b"data").unwrap();
    let (report, watcher) = demo(&options(4, Some(folder.path()))).await;
    let why = report.expect_err("it is refused").to_string();
    assert!(why.contains("is not empty") && why.contains("expected"), "{why}");
    assert!(watcher.frames.is_empty());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn a_file_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"data").unwrap();
    let why = demo(&options(4, Some(&file))).await.0.expect_err("it is refused");
    assert!(format!("{why:#}").contains("--keep"), "{why:#}");
}

#[test]
fn without_a_reading_there_is_no_proof() {
    let data = tempfile::tempdir().unwrap();
    let names =
        crate::cli::init::Names { network: "n".into(), organisation: "o".into(), gateway: "g".into() };
    let folder = crate::cli::init::new_network(data.path(), &names, None).unwrap();
    let reopened = Reopened::open(&folder).unwrap();
    assert_eq!(reopened.count().unwrap(), Counts::default());
    assert!(reopened.prove_last(LEVEL).is_err());
    let words = story::no_reading(Duration::from_millis(1_500), 0);
    assert!(words.contains("1.5 s") && words.contains("0 times"), "{words}");
}

#[test]
fn what_must_agree_and_does_not_fails_the_demo() {
    let report = Report {
        gateways: 4,
        readings: 1,
        batches: 1,
        transactions: 1,
        tips: 1,
        witnessed_all: true,
        ledgers_equal: true,
        transactions_compared: 1,
        bytes_sent: 1,
        proof_verified: true,
        tampered_proof_rejected: true,
        forged_network_rejected: true,
        network: String::new(),
        seconds: 1.0,
        data: None,
        agreement_expected: true,
    };
    assert!(report.holds());
    assert!(!Report { witnessed_all: false, ..report.clone() }.holds());
    assert!(!Report { ledgers_equal: false, ..report.clone() }.holds());
    assert!(!Report { proof_verified: false, ..report.clone() }.holds());
    let cut = Report { witnessed_all: false, ledgers_equal: false, agreement_expected: false, ..report };
    assert!(cut.holds() && !Report { tampered_proof_rejected: false, ..cut }.holds());
}

#[test]
fn options_that_contradict_each_other_are_refused_with_words() {
    let cut = |gateway, at, heal_at: Option<u64>| {
        Some(Cut { gateway, at: Duration::from_secs(at), heal_at: heal_at.map(Duration::from_secs) })
    };
    let with = |gateways, cut| Options { cut, run_for: Duration::from_secs(20), ..options(gateways, None) };
    for (gateways, cut, words) in [
        (0, None, "--gateways 0: expected 1 to 7"),
        (8, None, "--gateways 8"),
        (1, cut(0, 5, None), "expected --gateways 2 or more"),
        (4, cut(4, 5, None), "--cut 5: expected one of the gateways, 1 to 4"),
        (4, cut(0, 20, None), "--cut-at 20s: expected less than --for"),
        (4, cut(0, 5, Some(5)), "--heal-at 5s"),
        (4, cut(0, 5, Some(21)), "--heal-at 21s"),
    ] {
        let why = with(gateways, cut).check().expect_err(words).to_string();
        assert!(why.contains(words), "{why}");
    }
    for (gateways, cut) in [(1, None), (7, None), (2, cut(1, 0, None)), (4, cut(3, 5, Some(20)))] {
        with(gateways, cut).check().expect("it can be run");
    }
}
