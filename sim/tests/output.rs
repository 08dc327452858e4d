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

/// A swarm whose faults never happen shows nothing. That was only printed, and only the tests of the library looked, with 400
/// seeds or more.
#[test]
fn a_swarm_that_puts_nothing_to_the_test_can_be_made_to_fail() {
    // One seed cannot show every kind.
    let once = ["swarm", "--seeds", "1", "--json"];
    let plain = selvedge_sim(&once).output().expect("it starts");
    let strict = selvedge_sim(&once).arg("--every-fault").output().expect("it starts");
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!((plain.status.code(), strict.status.code()), (Some(0), Some(1)), "{}", said(&strict));
    assert!(said(&plain).contains("\n  not put to the test: "), "{}", said(&plain));
    assert!(said(&strict).contains("\nFAILED not put to the test: "), "{}", said(&strict));
    let object =
        said(&strict).lines().last().and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let idle = object.and_then(|object| object["not_put_to_the_test"].as_array().map(Vec::len));
    assert!(idle.is_some_and(|idle| idle > 0), "{}", said(&strict));
}

/// These were taken without a word, and had no effect.
#[test]
fn options_that_have_no_effect_are_refused() {
    for (wrong, why) in [
        (
            &["tangle", "--tips", "urts", "--issuers", "5"][..],
            "--issuers: got 5, expected nothing unless tips is shipped",
        ),
        (&["network", "--lan-delay", "1ms", "--for", "1s"], "--lan-delay: got 1ms, expected nothing unless"),
        (&["network", "--lan-bandwidth", "1Mbit/s"], "--lan-bandwidth: got 1Mbit/s, expected nothing unless"),
        (&["throughput", "--silent", "10"], "--silent: got 10, expected less than 10"),
    ] {
        let output = selvedge_sim(wrong).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {said}");
        assert!(said.contains(why), "{wrong:?}: {said}");
    }
}
