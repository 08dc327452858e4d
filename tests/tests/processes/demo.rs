//! `selvedge demo` as a process: what it promises in its last line, and that it always comes to its end.

use std::process::Stdio;

use selvedge_tests::process::{Output, Process, Signal};
use selvedge_tests::program;

#[test]
fn the_last_line_says_what_happened() {
    let done = program::ask(["demo", "--for", "3s", "--json"]).expect(0);
    let last = done.out.lines().last().unwrap_or_else(|| panic!("it said nothing: {done}"));
    let end: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|why| panic!("{why}: {done}"));
    for promise in ["proof_verified", "tampered_proof_rejected", "forged_network_rejected"] {
        assert_eq!(end[promise], true, "{promise}: {end}");
    }
    assert_eq!(end["gateways"], 1, "{end}");
    for count in ["readings", "batches", "transactions", "tips"] {
        assert!(end[count].as_u64().is_some_and(|n| n > 0), "{count}: {end}");
    }
}

#[test]
fn without_a_terminal_it_prints_plain_lines() {
    let done = program::ask(["demo", "--for", "2s"]).expect(0);
    assert!(!done.out.contains('\u{1b}'), "escape sequences, and nobody has a terminal: {done}");
    let text = done.out.clone();
    done.says(&["erified", "efused"]);
    assert!(text.lines().count() > 5, "{text}");
}

#[test]
fn what_it_keeps_can_be_looked_at_and_verified_again() {
    let above = tempfile::tempdir().expect("a folder for tests");
    let folder = above.path().join("kept");
    let kept = folder.to_str().expect("UTF-8");
    let done = program::ask(["demo", "--for", "2s", "--keep", kept, "--json"]).expect(0);
    let report: serde_json::Value =
        serde_json::from_str(done.out.lines().last().expect("a line")).expect("JSON");
    let mut data = Vec::new();
    let mut proofs = Vec::new();
    let mut open = vec![folder.clone()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.file_name().is_some_and(|name| name == "genesis.bin") {
                data.push(path.parent().expect("a folder").to_owned());
            } else if path.extension().is_some_and(|e| e == "proof") {
                proofs.push(path);
            }
        }
    }
    let shown = data.iter().find_map(|data| {
        let done = program::ask(["status", "--json", "--data", data.to_str()?]);
        let status: serde_json::Value = serde_json::from_str(&done.out).ok()?;
        (status["ledger"]["transactions"] == report["transactions"])
            .then(|| status["network"]["id"].as_str().map(str::to_owned))?
    });
    let network = shown.unwrap_or_else(|| panic!("no kept folder holds what {report} says: {data:?}"));
    let codes: Vec<i32> = proofs
        .iter()
        .map(|proof| program::ask(["verify", proof.to_str().expect("UTF-8"), "--network", &network]).code())
        .collect();
    assert!(codes.contains(&0) && codes.contains(&1), "the proof and the forgeries: {codes:?} of {proofs:?}");
    // The folder is not empty now, so it is not taken again.
    program::ask(["demo", "--for", "1s", "--keep", kept]).expect(2).says(&[kept]);
}

#[test]
fn it_ends_when_nobody_listens_any_more() {
    let mut command = program::command(["demo", "--for", "2s"]);
    // A shell that reads one line and leaves; then the pipe is closed.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "\"$@\" | head -n 1", "sh"]).arg(command.get_program()).args(command.get_args());
    let done = Process::start(&mut shell).done().expect(0);
    assert_eq!(done.out.lines().count(), 1, "{done}");
    assert!(!done.err.contains("panicked"), "{done}");
    // And when there never was anybody.
    command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
    let status = command.status().expect("it starts");
    assert!(status.success(), "{status}");
}

#[test]
fn ctrl_c_ends_the_polling_and_the_proof_still_comes() {
    let demo = Process::start(&mut program::command(["demo", "--for", "10min", "--json"]));
    demo.line(Output::Err, "that it has readings", |line| {
        line.contains(" readings, ") && !line.contains(" 0 readings, ")
    });
    let done = demo.end_with(Signal::INT).expect(0);
    let end: serde_json::Value =
        serde_json::from_str(done.out.lines().last().expect("a last line")).expect("JSON");
    assert_eq!(end["proof_verified"], true, "{done}");
}
