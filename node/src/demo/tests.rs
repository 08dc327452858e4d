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
        if frame.transactions > 0 && frame.device_up && frame.value(LEVEL).is_some() {
            self.stop.cancel();
        }
        self.frames.push(frame.clone());
    }

    fn say(&mut self, text: &str) {
        self.words += text;
        self.words.push('\n');
    }
}

/// Runs the demo into a folder. Two minutes are for a machine that is busy with other tests.
async fn demo(keep: Option<&Path>) -> (anyhow::Result<Report>, Watcher) {
    let options = Options { run_for: Duration::from_mins(2), keep: keep.map(Path::to_owned), seed: [9; 32] };
    let mut watcher = Watcher::new();
    let stop = watcher.stop.clone();
    (run(&options, &mut watcher, &stop).await, watcher)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_demo_shows_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("kept");
    let (report, watcher) = demo(Some(&data)).await;
    let report = report.expect("it runs");

    assert!(report.holds(), "{report:?}\n{}", watcher.words);
    assert_eq!((report.gateways, report.data.as_deref()), (1, Some(data.as_path())));
    assert!(report.readings >= 11, "one of each stream at least: {report:?}");
    // A lone gateway's chain: each transaction carries one batch, and approves the one before.
    assert!(report.batches >= 1 && report.transactions == report.batches && report.tips == 1, "{report:?}");
    let shown = watcher.frames.last().expect("frames");
    assert!(shown.readings <= report.readings && shown.transactions <= report.transactions);
    // Two millions of litres would be another plant.
    assert!(shown.value(LEVEL).is_some_and(|level| (38.0..42.0).contains(&level)), "{shown:?}");

    let folder = Folder::open(&data).expect("an ordinary data folder");
    let network = ids::to_text(&folder.network().id());
    assert_eq!(report.network, network);
    for words in ["Verified: signed by", "All of it held", network.as_str()] {
        assert!(watcher.words.contains(words), "{words:?} is missing in\n{}", watcher.words);
    }
    assert_eq!(watcher.words.matches("| Refused").count(), 2, "{}", watcher.words);
    whoever_trusts_the_forger_is_told_otherwise(&data, &folder);
    every_flip_is_refused(&data, &folder);
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
    let (report, watcher) = demo(None).await;
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
    let (report, watcher) = demo(Some(folder.path())).await;
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
    let why = demo(Some(&file)).await.0.expect_err("it is refused");
    assert!(format!("{why:#}").contains("--keep"), "{why:#}");
}

#[test]
fn without_a_reading_there_is_no_proof() {
    let data = tempfile::tempdir().unwrap();
    let names = Names { network: "n".into(), organisation: "o".into(), gateway: "g".into() };
    let folder = new_network(data.path(), &names, None).unwrap();
    let reopened = Reopened::open(&folder).unwrap();
    assert_eq!(reopened.count().unwrap(), Counts::default());
    assert!(reopened.prove_last(LEVEL).is_err());
    let words = no_reading(Duration::from_millis(1_500), 0);
    assert!(words.contains("1.5 s") && words.contains("0 times"), "{words}");
}
