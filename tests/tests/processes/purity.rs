//! The crates' borders, checked by machine: who may use whom, and that the core touches nothing of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use selvedge_tests::process::Process;
use selvedge_tests::project;
use serde_json::Value;

/// Who may use whom (the design's layout). Tests and benches may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("selvedge", &["edge-adapters", "selvedge-proof", "selvedge-crypto", "selvedge-core"]),
    ("selvedge-proof", &["selvedge-crypto", "selvedge-core"]),
    ("edge-adapters", &["selvedge-core"]),
    ("selvedge-crypto", &["selvedge-core"]),
    ("selvedge-sim", &["selvedge-core", "selvedge-crypto"]),
    ("selvedge-core", &[]),
];
const MAY_USE_ALL: &[&str] = &["selvedge-tests", "selvedge-benches"];

/// What must not stand anywhere below the core: runtimes, networks, stores, clocks, threads, randomness. (Not in the
/// list: `libc`, by which BLAKE3 asks some processors what they can do.)
const NOT_IN_CORE: &[&str] = &[
    "async-io",
    "async-std",
    "aws-lc-rs",
    "chrono",
    "crossbeam",
    "futures",
    "getrandom",
    "hashbrown",
    "jiff",
    "mio",
    "parking_lot",
    "quinn",
    "rand",
    "rand_core",
    "rayon",
    "redb",
    "rusqlite",
    "rustix",
    "smol",
    "socket2",
    "tempfile",
    "time",
    "tokio",
    "tracing",
    "windows-sys",
    "zstd",
];

struct Workspace {
    metadata: Value,
}

impl Workspace {
    fn read() -> Self {
        Self::read_with(&[])
    }

    /// With further features. Not `--offline`: crates that other platforms would need are named too, and a clean machine
    /// has built without them.
    fn read_with(features: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["metadata", "--format-version", "1", "--locked"]).current_dir(project());
        for feature in features {
            command.args(["--features", feature]);
        }
        Self { metadata: Process::start(&mut command).done().expect(0).json() }
    }

    /// The features with which a package is built.
    fn features_of(&self, package: &str) -> Vec<&str> {
        let of_name = |p: &&Value| text(&p["name"]) == package;
        let id = &self.packages().iter().find(of_name).expect("the package")["id"];
        let nodes = self.metadata["resolve"]["nodes"].as_array().expect("nodes");
        strings(&nodes.iter().find(|n| n["id"] == *id).expect("the package is built")["features"])
    }

    fn packages(&self) -> &Vec<Value> {
        self.metadata["packages"].as_array().expect("packages")
    }

    fn members(&self) -> Vec<&Value> {
        let members = strings(&self.metadata["workspace_members"]);
        self.packages().iter().filter(|p| members.contains(&text(&p["id"]))).collect()
    }

    /// Everything that a package is built from, transitively, without what only its build scripts and tests use.
    fn built_from(&self, package: &str) -> BTreeSet<String> {
        let names: BTreeMap<&str, &str> =
            self.packages().iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let nodes = self.metadata["resolve"]["nodes"].as_array().expect("nodes");
        let uses: BTreeMap<&str, Vec<&str>> = nodes
            .iter()
            .map(|node| {
                let is_normal = |dep: &&Value| {
                    dep["dep_kinds"].as_array().expect("kinds").iter().any(|k| k["kind"].is_null())
                };
                let deps = node["deps"].as_array().expect("deps").iter().filter(is_normal);
                (text(&node["id"]), deps.map(|dep| text(&dep["pkg"])).collect())
            })
            .collect();
        let start = names.iter().find(|(_, name)| **name == package).expect("the package").0;
        let (mut found, mut open) = (BTreeSet::new(), vec![*start]);
        while let Some(id) = open.pop() {
            for used in &uses[id] {
                if found.insert(names[used].to_owned()) {
                    open.push(used);
                }
            }
        }
        found
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().map(text).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|why| panic!("cannot read {file}: {why}"))
}

#[test]
fn imports_go_one_way() {
    let workspace = Workspace::read();
    let members = workspace.members();
    let names: BTreeSet<&str> = members.iter().map(|p| text(&p["name"])).collect();
    let known: BTreeSet<&str> =
        MAY_USE.iter().map(|(name, _)| *name).chain(MAY_USE_ALL.iter().copied()).collect();
    assert_eq!(names, known, "a new crate needs its place in this test and in ARCHITECTURE.md");
    for member in members {
        let name = text(&member["name"]);
        if MAY_USE_ALL.contains(&name) {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(known, _)| *known == name).expect("known").1;
        for dependency in member["dependencies"].as_array().expect("dependencies") {
            let used = text(&dependency["name"]);
            // A crate's tests may switch on its own features.
            let is_fine = !names.contains(used) || allowed.contains(&used) || used == name;
            assert!(is_fine, "{name} uses {used}, and may use {allowed:?} only");
        }
    }
}

#[test]
fn the_core_is_built_from_nothing_that_touches_the_world() {
    let used = Workspace::read().built_from("selvedge-core");
    println!("the core is built from {used:?}");
    assert!(used.contains("blake3") && used.contains("postcard"), "the list is the core's");
    for name in NOT_IN_CORE {
        assert!(!used.contains(*name), "the core is built from {name}");
    }
    // Few enough to be looked at one by one: a new one is a decision.
    assert!(used.len() < 40, "the core is built from {} crates: {used:?}", used.len());
    // The list above finds what is there: the daemon is built from some of it.
    let daemon = Workspace::read().built_from("selvedge");
    assert!(["tokio", "redb", "getrandom"].iter().all(|name| daemon.contains(*name)), "{daemon:?}");
}

/// What the simulator may not be built from: it runs in virtual time, on models of network and store.
const NOT_IN_SIM: &[&str] =
    &["tokio", "quinn", "rustls", "redb", "mio", "socket2", "selvedge", "edge-adapters"];

/// Its README says so, and nothing looked: a simulator that took in the daemon's network or store would no longer be
/// deterministic, and no test would fail.
#[test]
fn the_simulator_is_built_from_the_ledger_and_no_runtime() {
    let workspace = Workspace::read();
    let used = workspace.built_from("selvedge-sim");
    println!("the simulator is built from {used:?}");
    assert!(used.contains("selvedge-core") && used.contains("selvedge-crypto"), "{used:?}");
    for name in NOT_IN_SIM {
        assert!(!used.contains(*name), "the simulator is built from {name}");
    }
    let daemon = workspace.built_from("selvedge");
    assert!(
        ["tokio", "quinn", "redb"].iter().all(|name| daemon.contains(*name)),
        "these names are known: {daemon:?}"
    );
}

#[test]
fn the_core_is_without_the_standard_library() {
    let root = read("node/core/src/lib.rs");
    assert!(root.lines().any(|line| line == "#![no_std]"), "node/core/src/lib.rs lost #![no_std]");
    assert!(!root.contains("extern crate std"), "the core takes the standard library back in");
    let features = read("node/core/Cargo.toml");
    assert!(features.contains("default = []"), "the core is without the standard library as it comes");
}

#[test]
fn the_cores_bans_stand_with_reasons() {
    let bans = read("node/core/clippy.toml");
    let banned = [
        "std::time::Instant::now",
        "std::time::SystemTime::now",
        "std::thread::spawn",
        "std::fs::read",
        "std::fs::write",
        "std::fs::File",
        "std::net::TcpStream",
        "std::net::UdpSocket",
        "std::collections::HashMap",
        "std::collections::HashSet",
    ];
    for path in banned {
        let line = bans.lines().find(|line| line.contains(&format!("path = \"{path}\"")));
        let line = line.unwrap_or_else(|| panic!("node/core/clippy.toml does not ban {path}"));
        assert!(line.contains("reason = \""), "{line} gives no reason");
    }
    let lints = read("Cargo.toml");
    for lint in ["disallowed_methods = \"allow\"", "disallowed_types = \"allow\"", "style = \"allow\""] {
        assert!(!lints.contains(lint), "Cargo.toml switches the bans off: {lint}");
    }
    for source in rust_files("node/core/src") {
        let text = read(&source);
        assert!(!text.contains("disallowed_"), "{source} lifts a ban");
    }
}

/// Bugs are planted in the core for `selvedge-sim mutants`, behind a feature that nothing else may switch on.
#[test]
fn no_build_but_the_hunt_for_them_has_planted_bugs() {
    let workspace = Workspace::read();
    let built = workspace.features_of("selvedge-core");
    assert!(
        built.contains(&"std") && !built.contains(&"planted"),
        "the workspace builds the core with {built:?}"
    );
    assert!(
        !workspace.features_of("edge-adapters").contains(&"planted"),
        "nor are cures taken out of the adapters"
    );
    // And this would see it.
    let hunted = Workspace::read_with(&["selvedge-sim/planted", "edge-adapters/planted"]);
    assert!(hunted.features_of("selvedge-core").contains(&"planted"));
    assert!(hunted.features_of("edge-adapters").contains(&"planted"));
    for member in workspace.members() {
        let name = text(&member["name"]);
        for (feature, switches_on) in member["features"].as_object().expect("features") {
            let is_wanted = name == "selvedge-sim" && feature == "planted";
            let plants = strings(switches_on).iter().any(|other| other.contains("planted"));
            assert_eq!(plants, is_wanted, "{name}: the feature {feature} switches on {switches_on}");
        }
        for dependency in member["dependencies"].as_array().expect("dependencies") {
            let asked = strings(&dependency["features"]);
            assert!(!asked.contains(&"planted"), "{name} asks {} for planted bugs", dependency["name"]);
        }
    }
}

#[test]
fn the_program_has_no_planted_bugs() {
    let path = selvedge_tests::program::path();
    let program = fs::read(&path).expect("the program is readable");
    let holds = |text: &str| program.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    for home in ["node/core/src/planted.rs", "edge-adapters/src/planted.rs"] {
        let source = read(home);
        let marker =
            source.split("pub const MARKER: &str = \"").nth(1).and_then(|rest| rest.split('"').next());
        let marker = marker.unwrap_or_else(|| panic!("{home} holds the text by which its bugs are found"));
        assert!(marker.len() > 20, "{marker:?} could stand anywhere");
        for folder in ["node", "edge-adapters"] {
            for file in rust_files(folder).into_iter().filter(|file| file != home) {
                assert!(!read(&file).contains(marker), "{file} holds the text that only {home} may hold");
            }
        }
        assert!(!holds(marker), "{} has planted bugs", path.display());
    }
    // Texts of the core and of the adapters are found as they stand in them; sim/tests/mutants.rs finds the marker where it
    // must be.
    for text in ["expected one at the beginning", "the line is not silent, although nobody was asked"] {
        assert!(holds(text), "{} does not hold {text:?}", path.display());
    }
}

#[test]
fn no_crate_may_have_unsafe_code() {
    assert!(read("Cargo.toml").contains("unsafe_code = \"forbid\""));
    for member in Workspace::read().members() {
        let manifest = text(&member["manifest_path"]);
        let manifest = fs::read_to_string(manifest).expect("it was just read by cargo");
        let inherits = manifest
            .split("[lints]")
            .nth(1)
            .is_some_and(|rest| rest.trim_start().starts_with("workspace = true"));
        assert!(inherits, "{} does not inherit the workspace's lints", member["name"]);
    }
}

#[test]
fn the_top_level_is_fixed_and_the_program_is_the_default() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("default-members = [\"node\"]"), "`cargo run -- demo` must start the program");
    for name in [
        "Cargo.toml",
        "node",
        "edge-adapters",
        "sim",
        "cross",
        "tests",
        "benches",
        "README.md",
        "rust-toolchain.toml",
    ] {
        assert!(project().join(name).exists(), "{name} is missing");
    }
    assert!(!read("rust-toolchain.toml").contains("targets"), "a list of targets starts a download");
}

/// All Rust files below a folder, as paths within the project.
fn rust_files(folder: &str) -> Vec<String> {
    let (mut files, mut open) = (Vec::new(), vec![project().join(folder)]);
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("a folder of the project") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let within = path.strip_prefix(project()).expect("within the project");
                files.push(within.to_str().expect("UTF-8").to_owned());
            }
        }
    }
    assert!(!files.is_empty(), "{folder} holds Rust files");
    files
}
