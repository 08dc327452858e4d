//! A sweep that is killed goes on where it was, and ends with the same bytes as one that was never stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const SCENARIO: &str = "# A sweep for a test.
[scenario]
name = \"Tips\"
kind = \"tangle\"
shows = \"a test\"
[tangle]
transactions = 40_000
[grid]
lambda = [5, 10, 20]
k = [2, 3]
seeds = 3
[plot]
x = \"lambda\"
y = [\"mean_tips\", \"first_approval.p50\"]
[expect]
tips_deviation = \"0 ± 0.2\"
";
const RUNS: usize = 18;

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().expect("a folder"));
        place.write(SCENARIO);
        place
    }

    fn write(&self, text: &str) {
        fs::write(self.0.path().join("s.toml"), text).expect("written");
    }

    fn out(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, out: &str, threads: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selvedge-sim"));
        command.arg("sweep").arg(self.0.path().join("s.toml")).arg("--out").arg(self.out(out));
        command.args(["--json", "--threads", &threads.to_string()]);
        command
    }

    fn sweep(&self, out: &str, threads: usize) -> Output {
        self.command(out, threads).output().expect("it starts")
    }

    /// Runs to the end; the last line of its output.
    fn ends(&self, out: &str, threads: usize) -> Value {
        let output = self.sweep(out, threads);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(text.lines().last().expect("lines")).expect("an object")
    }

    fn read(&self, out: &str, name: &str) -> String {
        fs::read_to_string(self.out(out).join(name)).unwrap_or_else(|why| panic!("{out}/{name}: {why}"))
    }

    /// Starts a sweep that the system kills (SIGXFSZ) in the middle of the write that makes a file longer than so many
    /// blocks of 512 bytes. The bytes of its results then.
    fn dies_in_a_write(&self, out: &str, blocks: usize) -> Vec<u8> {
        let sweep = self.command(out, 2);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -f \"$0\" && exec \"$@\"", &blocks.to_string()]);
        let status =
            command.arg(sweep.get_program()).args(sweep.get_args()).output().expect("it starts").status;
        assert!(!status.success(), "it was stopped: {status}");
        fs::read(self.out(out).join("results.jsonl")).expect("results are there")
    }
}

/// Lines without what the machine decides.
fn seeded(lines: &str) -> Vec<Value> {
    let without = |line: &str| {
        let mut line: Value = serde_json::from_str(line).expect("each line is an object");
        let results = line["results"].as_object_mut().expect("results");
        results.retain(|name, _| !name.contains("cpu_s"));
        line
    };
    lines.lines().map(without).collect()
}

#[test]
fn killed_twice_and_torn_it_ends_as_if_never_stopped() {
    let place = Place::new();
    let whole = place.ends("whole", 1);
    assert_eq!((&whole["runs"], &whole["found"]), (&RUNS.into(), &0.into()));

    let whole_lines = |bytes: &[u8]| String::from_utf8_lossy(bytes).matches('\n').count();
    let first = place.dies_in_a_write("killed", 8);
    let second = place.dies_in_a_write("killed", 16);
    assert!(!first.ends_with(b"\n") && !second.ends_with(b"\n"), "both times a line was torn");
    let (first, second) = (whole_lines(&first), whole_lines(&second));
    assert!(0 < first && first < second && second < RUNS, "{first}, {second}");

    let resumed = place.ends("killed", 2);
    assert_eq!((&resumed["was_torn"], &resumed["found"]), (&true.into(), &second.into()));
    for name in ["results.csv", "mean_tips.svg", "first_approval-p50.svg", "scenario.toml"] {
        assert_eq!(place.read("whole", name), place.read("killed", name), "{name}");
    }
    assert_eq!(seeded(&place.read("whole", "results.jsonl")), seeded(&place.read("killed", "results.jsonl")));
    // Done is done.
    assert_eq!(place.ends("killed", 2)["found"], RUNS);
}

#[test]
fn the_number_of_threads_changes_nothing_and_the_table_is_whole() {
    let place = Place::new();
    place.ends("one", 1);
    place.ends("four", 4);
    let table = place.read("one", "results.csv");
    assert_eq!(table, place.read("four", "results.csv"));
    assert_eq!(table.lines().count(), RUNS + 1);
    let mut lines = table.lines();
    let head: Vec<&str> = lines.next().expect("a head").split(',').collect();
    assert_eq!(head[..3], ["lambda", "k", "seed"]);
    assert!(
        head.contains(&"mean_tips") && head.contains(&"trace_hash") && !head.contains(&"cpu_s"),
        "{head:?}"
    );
    let keys: Vec<String> = lines.map(|line| line.split(',').take(3).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(keys[..4], ["5 2 1", "5 2 2", "5 2 3", "5 3 1"]);
    assert!(place.read("one", "machine.csv").starts_with("lambda,k,seed,cpu_s,"));
    let svg = place.read("one", "mean_tips.svg");
    assert!(svg.contains("k 2") && svg.contains("k 3") && svg.contains("lambda"), "{svg}");
}

#[test]
fn another_scenario_is_refused_and_a_better_comment_is_not() {
    let place = Place::new();
    place.ends("out", 2);
    place.write(&SCENARIO.replace("# A sweep for a test.", "# Better words.").replace("± 0.2", "± 0.3"));
    assert_eq!(place.ends("out", 2)["found"], RUNS, "comments and expectations change no result");

    place.write(&SCENARIO.replace("40_000", "50_000").replace("[5, 10, 20]", "[5, 10, 40]"));
    let before = place.read("out", "results.jsonl");
    let refused = place.sweep("out", 2);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    let folder = place.out("out");
    let expected = format!(
        "{}: this folder holds results of another scenario (grid.lambda was [5,10,20] and is [5,10,40] now; \
         parameters.transactions was 40000 and is 50000 now); give another --out, go back to the scenario kept in \
         scenario.toml there, or delete the folder\n",
        folder.display()
    );
    assert_eq!(said, expected);
    assert_eq!(before, place.read("out", "results.jsonl"), "nothing was touched");
}

#[test]
fn a_folder_that_was_changed_is_refused_with_the_line() {
    let place = Place::new();
    place.ends("out", 2);
    let path = place.out("out").join("results.jsonl");
    let lines = place.read("out", "results.jsonl");
    let refused = |expected: &str| {
        let refused = place.sweep("out", 2);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(expected), "{said}");
    };
    fs::write(&path, lines.replacen("{\"run\":0", "{\"ran\":0", 1)).expect("written");
    refused("results.jsonl:1: got no result of a run: unknown field `ran`");
    fs::write(&path, lines.replacen("\"lambda\":5.0", "\"lambda\":6.0", 1)).expect("written");
    refused("results.jsonl:1: got other parameters than those of run 0");
    fs::write(&path, lines.replacen("\"run\":3", "\"run\":300", 1)).expect("written");
    refused("results.jsonl:4: got run 300, expected 0 to 17");
    fs::remove_file(place.out("out").join("sweep.json")).expect("removed");
    refused("results.jsonl: got results without sweep.json beside them");
}

#[test]
fn results_of_another_program_are_refused() {
    let place = Place::new();
    place.ends("out", 2);
    let path = place.out("out").join("sweep.json");
    let mut object: Value = serde_json::from_str(&place.read("out", "sweep.json")).expect("an object");
    object["program"] = "0.0.9 0123456789abcdef".into();
    fs::write(&path, object.to_string()).expect("written");
    let refused = place.sweep("out", 2);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        said.contains("made by another build of selvedge-sim (\"0.0.9 0123456789abcdef\", this one is"),
        "{said}"
    );
}

#[test]
fn two_sweeps_do_not_share_a_folder() {
    let place = Place::new();
    fs::create_dir(place.out("out")).expect("made");
    let lock = fs::File::create(place.out("out").join(".lock")).expect("made");
    lock.lock().expect("nobody has it");
    let refused = place.sweep("out", 2);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2));
    assert!(said.contains("another sweep is writing into this folder"), "{said}");
    drop(lock);
    place.ends("out", 2);
}

#[test]
fn expectations_that_fail_at_a_point_are_told_with_it() {
    let place = Place::new();
    place.write(&SCENARIO.replace("0 ± 0.2", "< -1").replace("seeds = 3", "seeds = 1"));
    let output = place.sweep("out", 2);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("run 3 (lambda 10, k 3, seed 1): FAILS  tips_deviation: got "), "{text}");
    assert!(Path::new(&place.out("out").join("results.csv")).exists());
}

#[test]
fn a_file_that_the_scenario_names_belongs_to_it() {
    let place = Place::new();
    place.write(
        "[scenario]\nname = \"Two\"\nkind = \"network\"\nshows = \"a test\"\n[network]\nfor = \"1s\"\n\
         batch.age = \"200ms\"\nlink.delay = \"matrix:ways\"\n[grid]\ngateways = [2, 3]\n",
    );
    // Beside the scenario, whatever folder the command is given in.
    let matrix = |ms: &str| format!("a b\na 1 {ms}\nb {ms} 1\n");
    let file = place.out("ways");
    fs::write(&file, matrix("20")).expect("written");
    assert_eq!(place.ends("out", 2)["runs"], 2);
    fs::write(&file, matrix("30")).expect("written");
    let refused = place.sweep("out", 2);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        refused.status.code() == Some(2) && said.contains("(a file that it names has changed)"),
        "{said}"
    );
}

#[test]
fn the_sweeps_of_the_folder_show_what_they_are_expected_to() {
    for name in ["sweep-delay-gateways", "sweep-rate-bandwidth"] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(name).with_extension("toml");
        let scenario = selvedge_sim::scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
        let grid = scenario.grid.as_ref().expect("it is a sweep");
        assert!(!scenario.expectations.is_empty(), "{name} expects nothing");
        let mut told = Vec::new();
        let mut progress = |at: selvedge_sim::sweep::Progress| told.push(at.done);
        let summary = selvedge_sim::sweep::run(&scenario, grid, folder.path(), 2, &mut progress);
        let summary = summary.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(summary.unmet.is_empty() && summary.broken.is_empty(), "{name}: {summary:#?}");
        // Two tables, the results, and a plot for each y.
        let plots = scenario.view.as_ref().map_or(0, |view| view.y.len());
        assert_eq!(summary.files.len(), 3 + plots, "{name}: {:?}", summary.files);
        assert!(told.is_sorted() && told.last() == Some(&grid.points.len()), "{name}: {told:?}");
    }
}
