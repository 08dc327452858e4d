//! Planted bugs are found. Built with the feature `planted` only:
//! `cargo nextest run -p selvedge-sim --features planted --test mutants`.
//!
//! Three bugs of the list in one run of these tests: `SELVEDGE_MUTANTS_TURN` (0 where it is not set) says which three, and
//! `SELVEDGE_SEEDS_FROM` (1) where the hunt begins. `SELVEDGE_MUTANTS=all` hunts all of them.

use std::process::{Command, Output};

use selvedge_sim::mutants::{ALL, MARKER, Outcome, Planted, hunt, plan, run_with};

/// targets.md: each within so many.
const SEEDS: u64 = 500;

fn number(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, expected a whole number")),
        Err(_) => otherwise,
    }
}

fn first_seed() -> u64 {
    number("SELVEDGE_SEEDS_FROM", 1)
}

/// The bugs of this part of the tests: every third of the list, one of them or all.
fn is_found(part: usize) {
    let from = first_seed();
    let third: Vec<&Planted> = ALL.iter().skip(part).step_by(3).collect();
    let all = std::env::var("SELVEDGE_MUTANTS").is_ok_and(|which| which == "all");
    let chosen =
        if all { third } else { vec![third[number("SELVEDGE_MUTANTS_TURN", 0) as usize % third.len()]] };
    for planted in chosen {
        println!("{} {}, from seed {from}: {}", planted.number(), planted.name, planted.what);
        match hunt(planted.bug, from, SEEDS, &|_| {}) {
            Outcome::Found(found) => println!("found after {} seeds: {}", found.seeds, found.failure),
            Outcome::Missed { seeds } => panic!("{} is not found in {seeds} seeds from {from}", planted.name),
            Outcome::Unsound(failure) => panic!("fails with nothing planted: {failure}"),
        }
    }
}

#[test]
fn planted_bugs_are_found_first_part() {
    is_found(0);
}

#[test]
fn planted_bugs_are_found_second_part() {
    is_found(1);
}

#[test]
fn planted_bugs_are_found_third_part() {
    is_found(2);
}

#[test]
fn the_same_bug_takes_the_same_seeds_however_it_is_looked_for() {
    // Of the graph, of durability, and a panic of a core among what may come of them.
    for planted in [&ALL[0], &ALL[8], &ALL[24]] {
        let from = first_seed();
        let Outcome::Found(first) = hunt(planted.bug, from, SEEDS, &|_| {}) else {
            panic!("{} is not found", planted.name);
        };
        assert_eq!(
            hunt(planted.bug, from, SEEDS, &|_| {}),
            Outcome::Found(first.clone()),
            "{}",
            planted.name
        );
        // One after the other.
        let passes =
            (from..first.plan.seed).all(|seed| run_with(planted.bug, &plan(planted.bug, seed)).is_ok());
        assert!(passes, "{} fails before seed {}", planted.name, first.plan.seed);
        assert_eq!(run_with(planted.bug, &first.plan), Err(first.failure));
    }
}

fn ask(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_selvedge-sim"))
        .arg("mutants")
        .args(arguments)
        .output()
        .expect("the program starts")
}

fn last_line(output: &Output) -> serde_json::Value {
    let said = std::str::from_utf8(&output.stdout).expect("UTF-8");
    let last = said.lines().last().unwrap_or_else(|| panic!("nothing was said: {output:?}"));
    serde_json::from_str(last).unwrap_or_else(|why| panic!("{last}: {why}"))
}

#[test]
fn the_command_says_what_it_found_and_fails_when_it_found_nothing() {
    let output = ask(&["--only", "9", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let end = last_line(&output);
    assert_eq!((&end["found"], &end["missed"]), (&1.into(), &serde_json::json!([])));
    let bug = &end["bugs"][0];
    assert_eq!((&bug["number"], &bug["name"]), (&9.into(), &"AcknowledgesEarly".into()));
    assert!(bug["seeds"].as_u64().is_some_and(|seeds| seeds > 0), "{bug}");
    assert!(bug["by"].as_str().is_some_and(|by| by.contains("is not durable")), "{bug}");

    // A bug that needs a rare moment, and a seed in which it does not come.
    let rare = ALL[21];
    let passes =
        (1..=SEEDS).find(|seed| run_with(rare.bug, &plan(rare.bug, *seed)).is_ok()).expect("it is rare");
    let output = ask(&["--only", "22", "--from", &passes.to_string(), "--seeds", "1", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(last_line(&output)["missed"], serde_json::json!([22]));

    for wrong in [&["--only", "0"][..], &["--only", "99"], &["--seeds", "0"], &["--trace"]] {
        let output = ask(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{wrong:?}: {output:?}");
    }
}

#[test]
fn the_list_names_every_bug_once() {
    let output = ask(&["--list"]);
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(said.lines().count(), ALL.len());
    for (line, planted) in said.lines().zip(ALL) {
        assert!(line.contains(planted.name) && line.contains(planted.what), "{line}");
    }
    let names: std::collections::BTreeSet<&str> = ALL.iter().map(|p| p.name).collect();
    assert!(names.len() == ALL.len() && ALL.len() >= 12, "{names:?}");
}

/// The shipped program is searched for this text (`the_program_has_no_planted_bugs`): here it must be.
#[test]
fn a_program_with_planted_bugs_shows_it() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_selvedge-sim")).expect("the program is readable");
    assert!(program.windows(MARKER.len()).any(|bytes| bytes == MARKER.as_bytes()));
}

/// Nothing looked at what a failing run prints, which is all that whoever has one gets: the seed and what broke first, then the
/// command that runs it again, which has to be a command that does.
#[test]
fn a_failing_run_prints_itself_first_and_the_command_that_replays_it() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-sim"));
        let output = command.args(arguments).output().expect("the program starts");
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
    };
    // "again: selvedge-sim replay …", without the program and the trace.
    let again = |line: &str| -> Vec<String> {
        let command = line.trim().strip_prefix("again: selvedge-sim ").unwrap_or_else(|| panic!("{line}"));
        command.split(' ').filter(|word| *word != "--trace").map(str::to_owned).collect()
    };
    let (code, said) = run(&["swarm", "--seeds", "1", "--from", "1", "--planted", "9", "--json"]);
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let failure = lines[0].strip_prefix("FAILED ").unwrap_or_else(|| panic!("{said}"));
    assert!(failure.starts_with("seed 1, at "), "{failure}");
    let command = again(lines[1]);
    assert_eq!(command[..2], ["replay", "1"]);
    assert!(said.contains("1 runs from seed 1, 1 failed"), "{said}");
    let end: serde_json::Value = serde_json::from_str(lines[lines.len() - 1]).expect("an object");
    assert_eq!(end["failed"][0]["seed"], 1);
    // What had happened until it failed counts: a swarm in which every run fails at its first crash has had crashes.
    let times = end["times"].as_object().expect("by kind");
    assert!(times.values().any(|times| times.as_u64() > Some(0)), "{end}");

    let replay: Vec<&str> = command.iter().map(String::as_str).collect();
    let (code, again_said) = run(&replay);
    assert_eq!(code, Some(1), "{again_said}");
    assert!(again_said.lines().any(|line| line == lines[0]), "{again_said}\n{}", lines[0]);

    let (code, said) = run(&[&replay[..], &["--for", "2s", "--shrink", "--json"]].concat());
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    let at = |start: &str| {
        lines.iter().position(|line| line.trim_start().starts_with(start)).unwrap_or_else(|| panic!("{said}"))
    };
    assert!(at("FAILED seed 1") < at("SMALLER after "), "{said}");
    let invariant = failure.split(": ").nth(1).expect("the check that broke");
    let smaller = lines[at("SMALLER after ")];
    assert!(smaller.contains(&format!(": {invariant}: ")), "{smaller} does not break {invariant}");
    let command = again(lines[at("SMALLER after ") + 1]);
    let (code, said) = run(&command.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(code, Some(1), "{said}");
    let (_, smaller) = smaller.split_once("runs: ").expect("how it fails");
    assert!(said.contains(&format!("FAILED {smaller}")), "{said}\n{smaller}");
}
