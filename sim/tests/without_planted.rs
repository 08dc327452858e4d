//! An ordinary build of the simulator has no planted bugs, and says how to get them.
#![cfg(not(feature = "planted"))]

use std::process::Command;

#[test]
fn mutants_says_how_to_build_it() {
    let program = Command::new(env!("CARGO_BIN_EXE_selvedge-sim")).args(["mutants", "--only", "1"]).output();
    let output = program.expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("without planted bugs") && said.contains("--features planted"), "{said}");
    assert!(output.stdout.is_empty());
}
