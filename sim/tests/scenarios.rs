//! Every scenario of `sim/scenarios` shows what it is expected to; and names of results are those of real runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use selvedge_sim::scenario::{self, Kind};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}

/// Runs a scenario and checks what it expects.
fn shows(name: &str) {
    let path = folder().join(format!("{name}.toml"));
    let scenario = scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
    assert!(!scenario.expectations.is_empty(), "{name} expects nothing, so it shows nothing");
    println!("{}, seed {}", scenario.name, scenario.task.seed());
    let outcome = scenario.task.run(&mut |_| ()).unwrap_or_else(|why| panic!("{name}: {why}"));
    println!("{}", outcome.words);
    let verdicts: Vec<_> = scenario.expectations.iter().map(|e| e.judge(&outcome.results)).collect();
    let failed: Vec<String> = verdicts.iter().filter(|v| !v.holds).map(ToString::to_string).collect();
    assert!(failed.is_empty(), "{name}: {failed:#?}");
}

macro_rules! shows {
    ($($test:ident: $name:literal),* $(,)?) => {
        $(#[test] fn $test() { shows($name); })*
        const TESTED: &[&str] = &[$($name),*];
    };
}

shows! {
    ten_gateways: "ten-gateways",
    ten_pi4_thin_uplinks: "ten-pi4-thin-uplinks",
    three_sites: "three-sites",
    lossy_radio: "lossy-radio",
    burst_and_silence: "burst-and-silence",
    hundred_gateways: "hundred-gateways",
    theory: "theory",
    faulty: "faulty",
}

#[test]
fn no_scenario_is_forgotten_and_each_is_explained() {
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        let scenario = scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.text.starts_with('#'), "{} does not begin with words for a reader", path.display());
        assert!(scenario.shows.len() > 40, "{}: `shows` says little", path.display());
        assert!(
            !scenario.expectations.is_empty() || scenario.view.is_some(),
            "{} has no use",
            path.display()
        );
        if scenario.grid.is_none() {
            runs.push(path.file_stem().expect("a file").to_string_lossy().into_owned());
        }
    }
    runs.sort();
    let mut tested = TESTED.to_vec();
    tested.sort_unstable();
    assert_eq!(runs, tested, "each scenario without a grid has a test above");
}

/// A small run of this kind has exactly the results that may be named.
fn results_are_named(kind: Kind, parameters: &str, rare: &[&str]) {
    let name = kind.name();
    let text = format!("[scenario]\nname = \"a\"\nkind = \"{name}\"\nshows = \"b\"\n[{name}]\n{parameters}");
    let scenario = scenario::parse(&text, Path::new("")).expect("it is sound");
    let outcome = scenario.task.run(&mut |_| ()).expect("it runs");
    let got: Vec<&str> = outcome.results.keys().map(String::as_str).filter(|n| !rare.contains(n)).collect();
    let named: Vec<&str> = kind.results().iter().copied().filter(|n| !rare.contains(n)).collect();
    assert_eq!(got, named, "scenario/results.rs and the report of {name} differ");
}

#[test]
fn results_of_a_network_are_named() {
    results_are_named(Kind::Network, "gateways = 4\nfor = \"5s\"\n", &[]);
}

#[test]
fn results_of_a_tangle_are_named() {
    results_are_named(Kind::Tangle, "lambda = 10\ntransactions = 10_000\n", &[]);
}

#[test]
fn results_of_a_swarm_are_named() {
    results_are_named(Kind::Swarm, "plan = \"calm\"\nfor = \"5s\"\n", &["first_failure"]);
}

fn selvedge_sim(arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_selvedge-sim")).args(arguments).output().expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

#[test]
fn run_says_whether_expectations_hold_by_its_exit_code() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("mine.toml");
    let path = file.to_str().expect("UTF-8");
    let write = |expect: &str| {
        let text = format!(
            "[scenario]\nname = \"Mine\"\nkind = \"tangle\"\nshows = \"a test\"\n\
             [tangle]\nlambda = 20\ntransactions = 20_000\n[expect]\n{expect}\n"
        );
        std::fs::write(&file, text).expect("written");
    };
    write("mean_tips = \"40 ± 10 %\"");
    let (code, out, err) = selvedge_sim(&["run", path, "--json"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let object: Value = serde_json::from_str(out.lines().last().expect("lines")).expect("an object");
    assert_eq!(object["holds"], true);
    assert_eq!(object["parameters"]["lambda"], 20.0);
    assert!(object["results"]["mean_tips"].as_f64().expect("a number") > 30.0);

    write("mean_tips = \"> 1000\"");
    let (code, out, _) = selvedge_sim(&["run", path]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("FAILS  mean_tips: got ") && out.contains(", expected > 1000"), "{out}");

    let other_seed = |seed: &str| {
        let (_, out, _) = selvedge_sim(&["run", path, "--json", "--seed", seed]);
        let object: Value = serde_json::from_str(out.lines().last().expect("lines")).expect("an object");
        object["results"]["trace_hash"].clone()
    };
    assert_eq!(other_seed("7"), other_seed("7"));
    assert_ne!(other_seed("7"), other_seed("8"));

    write("mean_tip = 1");
    let (code, out, err) = selvedge_sim(&["run", path, "--check"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with(&format!("{path}:9:1: expect.mean_tip: got no result `mean_tip`")), "{err}");
    assert!(err.contains("did you mean `mean_tips`?"), "{err}");

    let (code, _, err) = selvedge_sim(&["run", "no such file.toml"]);
    assert!(code == 2 && err.starts_with("no such file.toml: cannot be read: "), "{err}");
}

#[test]
fn run_and_sweep_send_each_others_files_to_the_right_command() {
    let sweep = folder().join("sweep-delay-gateways.toml");
    let (code, _, err) = selvedge_sim(&["run", sweep.to_str().expect("UTF-8")]);
    assert!(code == 2 && err.contains("use `selvedge-sim sweep"), "{err}");
    let single = folder().join("theory.toml");
    let (code, _, err) = selvedge_sim(&["sweep", single.to_str().expect("UTF-8"), "--out", "never made"]);
    assert!(code == 2 && err.contains("use `selvedge-sim run"), "{err}");
    assert!(!Path::new("never made").exists());
}

#[test]
fn what_is_written_takes_the_place_of_what_the_seed_draws() {
    use selvedge_sim::Plan;
    use selvedge_sim::scenario::faulty::{Origin, Params};
    let nothing = Params::default();
    assert_eq!(nothing.plan(3), Plan::faulty(3), "written or not, the seed draws the same");
    let text = "gateways = 4\nfor = \"7s\"\nloss = \"12.5%\"\nduplicate = \"0%\"\npartitions = 9\ncrash_effects = 77\n\
                clock_jumps = 8\nhostile = 5\n";
    let text = format!("[scenario]\nname = \"a\"\nkind = \"swarm\"\nshows = \"b\"\n[swarm]\n{text}");
    let scenario = scenario::parse(&text, Path::new("")).expect("it is sound");
    let scenario::Task::Swarm(written) = scenario.task else { panic!("the kind is swarm") };
    let plan = written.plan(3);
    assert_eq!((plan.gateways, plan.load_us, plan.hostile_actions), (4, 7_000_000, 5));
    let faults = plan.faults;
    assert_eq!((faults.loss_permille, faults.duplicate_permille), (125, 0));
    assert_eq!((faults.partitions, faults.crash_effects_max, faults.clock_jumps), (9, 77, 8));
    assert!(!plan.is_ordered, "links that keep their order would lose nothing");
    let calm = Params { plan: Origin::Calm, ..nothing }.plan(3);
    assert_eq!((calm.faults.loss_permille, calm.hostile_actions), (0, 0));
}

/// "Those of the command of the same name" was said of the keys, which they are not: `tips = "walk:0.01"`, and tables. Now the
/// README lists them, and this looks whether it lists all.
#[test]
fn the_readme_names_every_key_of_a_scenario() {
    let readme = include_str!("../README.md");
    let from = readme.find("### Keys of a scenario").expect("the list of keys");
    let listed = readme[from..].split("\n## ").next().expect("a section ends");
    let unknown = |kind: &str| {
        let text =
            format!("[scenario]\nname = \"n\"\nkind = \"{kind}\"\nshows = \"s\"\n[{kind}]\nnone_such = 1\n");
        let found = selvedge_sim::scenario::parse(&text, std::path::Path::new("")).expect_err("no such key");
        found.iter().map(|finding| finding.what.clone()).collect::<String>()
    };
    let tables = ["workload", "link", "batch", "node"];
    for kind in ["network", "tangle", "swarm"] {
        let what = unknown(kind);
        let keys = what
            .split("expected one of ")
            .nth(1)
            .expect("the valid keys")
            .split("; did")
            .next()
            .expect("keys");
        for key in keys.split(", ") {
            let named = if tables.contains(&key) { format!("`{key}.") } else { format!("`{key}`") };
            assert!(listed.contains(&named), "{kind}: {key} is not in the README");
        }
    }
    for table in tables {
        let text = format!(
            "[scenario]\nname = \"n\"\nkind = \"network\"\nshows = \"s\"\n[network.{table}]\nnone_such = 1\n"
        );
        let found = selvedge_sim::scenario::parse(&text, std::path::Path::new("")).expect_err("no such key");
        let keys = found[0].what.split("expected one of ").nth(1).expect("the valid keys");
        for key in keys.split("; did").next().expect("keys").split(", ") {
            assert!(listed.contains(&format!("`{table}.{key}`")), "{table}.{key} is not in the README");
        }
    }
}
