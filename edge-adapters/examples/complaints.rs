//! What users of such gateways complain of most, and whether the tests would notice: takes one cure out at a time and runs
//! the tests that must then fail, after the same tests with every cure in.
//!
//! ```text
//! cargo run --profile ci -p edge-adapters --features planted --example complaints                 all of them
//! cargo run --profile ci -p edge-adapters --features planted --example complaints -- 10 12        these, by number
//! cargo run --profile ci -p edge-adapters --features planted --example complaints -- --lib        without real servers
//! cargo run --profile ci -p edge-adapters --features planted --example complaints -- --list
//! ```
//!
//! Needs cargo-nextest, and the servers that `tests/run` installs. Exit codes: 0 each test passed with the cure and failed
//! without it; 1 one did not; 2 wrong use.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use edge_adapters::planted::{ALL, COMPLAINTS, MARKER, Planted, VARIABLE};

/// What cargo-nextest ends with when tests failed: not when something could not be built, or was not found.
const TESTS_FAILED: i32 = 100;
/// Faults that are looked at side by side: most of their tests wait for what does not come.
const AT_ONCE: usize = 4;

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = arguments.len();
        arguments.retain(|argument| argument != name);
        arguments.len() < before
    };
    let (list, lib_only) = (flag("--list"), flag("--lib"));
    let mut chosen: Vec<&Planted> = Vec::new();
    for argument in &arguments {
        let found = ALL.iter().find(|planted| planted.number().to_string() == *argument);
        let Some(found) = found else {
            eprintln!("{argument:?} is no fault; expected --list, --lib, or numbers that --list shows");
            return ExitCode::from(2);
        };
        chosen.push(found);
    }
    if chosen.is_empty() {
        chosen = ALL.iter().collect();
    }
    if list {
        for planted in chosen {
            println!("{:>2} {:<26} {}", planted.number(), planted.name, planted.what);
        }
        return ExitCode::SUCCESS;
    }
    if hunt(&chosen, lib_only) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a table; true when each test did what it should.
fn hunt(chosen: &[&Planted], lib_only: bool) -> bool {
    let tests = |planted: &Planted| -> Vec<&'static str> {
        planted.tests.iter().copied().filter(|test| !lib_only || is_of_library(test)).collect()
    };
    let mut all: Vec<&str> = chosen.iter().flat_map(|planted| tests(planted)).collect();
    all.sort_unstable();
    all.dedup();
    eprintln!("{} tests with every cure in", all.len());
    if run(0, &all, lib_only) != Ran::Passed {
        println!("with every cure in, a test failed: nothing can be said of them");
        return false;
    }
    println!("{:>2}  {:<26}  {:<62} {:>7}  without its cure", "no", "fault", "test", "seconds");
    let pairs = chosen.iter().flat_map(|planted| tests(planted).into_iter().map(|test| (*planted, test)));
    let (pairs, all_fail) = (Mutex::new(pairs), AtomicBool::new(true));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let next = || pairs.lock().expect("nobody panics while it is held").next();
                while let Some((planted, test)) = next() {
                    let fails = fails_with(planted, test, lib_only);
                    all_fail.fetch_and(fails, Ordering::Relaxed);
                }
            });
        }
    });
    for (number, complaint) in (1..).zip(COMPLAINTS) {
        let faults = chosen.iter().filter(|planted| planted.complaint == number);
        let tests: usize = faults.map(|planted| tests(planted).len()).sum();
        println!("complaint {number}, {complaint}: {tests} tests");
    }
    all_fail.into_inner()
}

/// Runs a test with a fault and prints its line.
fn fails_with(planted: &Planted, test: &str, lib_only: bool) -> bool {
    let begun = Instant::now();
    let ran = run(planted.number(), &[test], lib_only);
    let said = match ran {
        Ran::Failed => "fails",
        Ran::Passed => "PASSES",
        Ran::Not => "COULD NOT BE RUN",
    };
    let (number, name, seconds) = (planted.number(), planted.name, begun.elapsed().as_secs());
    let short = test.rsplit("::").next().unwrap_or(test);
    println!("{number:>2}  {name:<26}  {short:<62.62} {seconds:>7}  {said}");
    ran == Ran::Failed
}

/// Tests of the library lie in its modules; those of whole programs in files of their own.
fn is_of_library(test: &str) -> bool {
    ["tests::", "backoff::", "modbus::"].iter().any(|module| test.starts_with(module))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ran {
    Passed,
    Failed,
    Not,
}

fn run(fault: u32, tests: &[&str], lib_only: bool) -> Ran {
    // Each is the whole name of a test in one of the programs.
    let filter: Vec<String> = tests.iter().map(|test| format!("test(={test})")).collect();
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--cargo-profile", "ci", "--locked", "-p", "edge-adapters"]);
    command.args(["--features", "planted", "--no-tests", "fail", "--no-fail-fast"]);
    command.args(["--cargo-quiet", "--status-level", "none", "--final-status-level", "none"]);
    command.args(["--failure-output", "immediate", "--profile", "complaints"]);
    if lib_only {
        command.arg("--lib");
    }
    command.args(["-E", &filter.join(" | ")]).env(VARIABLE, fault.to_string());
    let Ok(done) = command.stdin(Stdio::null()).output() else { return Ran::Not };
    let said = String::from_utf8_lossy(&done.stderr);
    match done.status.code() {
        Some(0) => Ran::Passed,
        // It failed by its own words, and with the fault alive, which says so.
        Some(TESTS_FAILED) if fault > 0 && said.contains(MARKER) && !said.contains("TIMEOUT") => Ran::Failed,
        _ => {
            // What went wrong is asked for here, and else would fill the screen.
            eprint!("{said}");
            Ran::Not
        }
    }
}
