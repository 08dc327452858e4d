//! The first look: what it says, what it writes, and that it fails when something does not hold.

use std::process::Command;

use serde_json::Value;

#[test]
fn a_small_first_look_holds_and_writes_its_plots() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("look");
    let output = Command::new(env!("CARGO_BIN_EXE_selvedge-sim"))
        .args(["quick", "--small", "--json", "--out"])
        .arg(&out)
        .output()
        .expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{text}");
    let object: Value = serde_json::from_str(text.lines().last().expect("lines")).expect("an object");
    assert_eq!(object["holds"], true, "{text}");
    let names: Vec<&str> =
        object["findings"].as_array().expect("a list").iter().filter_map(|f| f["name"].as_str()).collect();
    assert_eq!(names, ["tips", "tips", "tips", "walks", "ledgers", "latency", "cost", "faults"]);
    for words in ["the theory, k·λ·h/(k−1) (Popov), says 200.0", "the same everywhere", "Where to go next:"]
    {
        assert!(text.replace("\n       ", " ").contains(words), "{words:?} is missing in {text}");
    }
    for plot in ["tips-theory.svg", "tips-walks.svg", "network-latency.svg", "network-tips.svg"] {
        let svg = std::fs::read_to_string(out.join(plot)).unwrap_or_else(|why| panic!("{plot}: {why}"));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{plot}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "in the way").expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_selvedge-sim"))
        .args(["quick", "--small", "--out"])
        .arg(file.join("below"))
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("below: cannot be made: ") && said.contains("give another --out"), "{said}");
}

#[test]
fn tips_far_from_the_theory_fail() {
    // Five hundred transactions are too few for the mean to stand: the bound of 2 % is one that a run can miss.
    use selvedge_sim::quick::{Size, run};
    let folder = tempfile::tempdir().expect("a folder");
    let size = Size { transactions: 500, walked: 500, gateways: 2, load_s: 1, seed: 1 };
    let findings = run(size, folder.path(), &mut |_| ()).expect("plots are written");
    assert!(
        !findings.hold() && findings.findings.iter().any(|f| f.name == "tips" && !f.holds),
        "{findings:?}"
    );
}
