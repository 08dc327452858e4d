//! What a reader of the output gets when something about the output itself is wrong.

use std::process::{Command, Stdio};

fn selvedge_sim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-sim"));
    command.args(arguments);
    command
}

/// As with `| head`: a panic here would look like a bug of the ledger, and the harness would report it as one.
#[test]
fn nobody_who_stops_reading_is_told_of_a_panic() {
    let mut child = selvedge_sim(&["replay", "7", "--plan", "calm", "--for", "20s", "--trace"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // The trace is longer than a pipe holds, so the program meets the closed one.
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(141));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// A command that runs nothing would say that all is well.
#[test]
fn a_swarm_of_no_runs_is_refused() {
    let output = selvedge_sim(&["swarm", "--seeds", "0"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("invalid value '0' for '--seeds"), "{said}");
}
