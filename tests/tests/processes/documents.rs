//! What the documents promise exists: files that they name, commands that they show.

use std::fs;
use std::path::Path;

use selvedge_tests::{program, project};

fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|why| panic!("cannot read {file}: {why}"))
}

/// Texts in backticks on one line.
fn quoted(text: &str) -> Vec<&str> {
    let mut in_block = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            found.extend(line.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// Targets of links, `[words](target)`, that are no addresses of the web.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .map(|target| target.split('#').next().unwrap_or(target))
        .filter(|t| !t.is_empty() && !t.contains("://"))
        .collect()
}

/// Does it look like a path of this project? `a/b.rs`, `node/docs/`; not `filler/tank/level`, not `/etc`.
fn is_path(text: &str) -> bool {
    let tops = ["node/", "edge-adapters/", "sim/", "cross/", "tests/", "benches/", ".ci/", ".config/"];
    tops.iter().any(|top| text.starts_with(top)) && !text.contains([' ', '*', '<', '…', '{'])
}

#[test]
fn the_files_that_documents_name_exist() {
    let documents = [
        "README.md",
        "node/ARCHITECTURE.md",
        "CHANGELOG.md",
        "edge-adapters/README.md",
        "cross/README.md",
        "benches/README.md",
    ];
    for document in documents {
        let text = read(document);
        for path in quoted(&text).into_iter().filter(|text| is_path(text)) {
            let path = path.split(':').next().expect("something stands before a colon");
            assert!(project().join(path).exists(), "{document} names `{path}`, which does not exist");
        }
        let folder = Path::new(document).parent().expect("a folder");
        for target in links(&text) {
            assert!(
                project().join(folder).join(target).exists(),
                "{document} links to {target}, which does not exist"
            );
        }
    }
}

#[test]
fn the_table_where_is_it_names_files() {
    let text = read("node/ARCHITECTURE.md");
    let table = text.split("Where is it?").nth(1).expect("the table \"Where is it?\"");
    let table = table.split("\n## ").next().expect("a part");
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).skip(2).collect();
    assert!(rows.len() > 10, "the table has {} rows", rows.len());
    for row in rows {
        let paths = quoted(row).into_iter().filter(|text| is_path(text)).count();
        assert!(paths > 0, "a row names no file: {row}");
    }
}

/// Command lines of `selvedge` in a text: of code blocks and examples.
fn command_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let line = line.trim().trim_start_matches("$ ");
        let rest = ["selvedge ", "cargo run --release --locked -- ", "cargo run -- "]
            .iter()
            .find_map(|p| line.strip_prefix(p));
        let Some(rest) = rest else { continue };
        // What follows two spaces, a hash or a pipe is a comment or another program.
        let end =
            ["  ", " #", " |", " >"].iter().filter_map(|mark| rest.find(mark)).min().unwrap_or(rest.len());
        lines.push(rest[..end].to_owned());
    }
    lines
}

/// The words of a command line, as a shell would split it: double quotes hold words together.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for (place, part) in line.split('"').enumerate() {
        if place % 2 == 1 {
            words.last_mut().expect("one at least").push_str(part);
            continue;
        }
        for (at, piece) in part.split(' ').enumerate() {
            if at > 0 {
                words.push(String::new());
            }
            words.last_mut().expect("one at least").push_str(piece);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Is this command line one that the program takes? It is parsed by the program itself, and help comes before work.
fn is_taken(line: &str) -> Result<(), String> {
    let words = words_of(line);
    let done = program::ask(words.iter().map(String::as_str).chain(["--help"]));
    if done.status.success() && done.out.contains("Usage:") { Ok(()) } else { Err(done.to_string()) }
}

#[test]
fn the_commands_that_the_readme_shows_are_taken() {
    let readme = read("README.md");
    let mut in_block = false;
    let blocks: Vec<&str> = readme
        .lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            in_block ^= fence;
            in_block && !fence
        })
        .collect();
    let lines = command_lines(&blocks.join("\n"));
    assert!(lines.len() >= 10, "the README shows {lines:?}");
    for line in &lines {
        is_taken(line).unwrap_or_else(|why| panic!("README.md shows `selvedge {line}`: {why}"));
    }
    for needed in ["demo", "init", "run", "status", "prove", "verify", "adapter test", "check", "key backup"]
    {
        assert!(lines.iter().any(|line| line.starts_with(needed)), "the README does not show {needed}");
    }
    assert!(readme.contains("tests/run"), "the README names the test command");
}

/// Every command with its subcommands, as the help lists them.
pub(crate) const COMMANDS: &[&str] = &[
    "init",
    "invite",
    "admit",
    "run",
    "demo",
    "status",
    "streams",
    "readings",
    "prove",
    "verify",
    "tangle",
    "peers",
    "evidence",
    "export",
    "check",
    "adapter test",
    "key show",
    "key list",
    "key rotate",
    "key backup",
    "key restore",
];

#[test]
fn every_command_has_help_with_examples_that_are_taken() {
    let top = program::ask(["--help"]).expect(0);
    for command in COMMANDS {
        let name = command.split(' ').next().expect("a word");
        assert!(
            top.out.lines().any(|line| line.trim_start().starts_with(name)),
            "--help does not list {name}"
        );
    }
    let listed = top
        .out
        .split("Commands:")
        .nth(1)
        .expect("a list of commands")
        .split("\n\n")
        .next()
        .expect("its part");
    for line in listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")) {
        let name = line.split_whitespace().next().expect("a name");
        let is_known = name == "help" || COMMANDS.iter().any(|c| c.split(' ').next() == Some(name));
        assert!(is_known, "{name} is listed, and this test does not know it");
    }
    // Those of `key` stand at `key` itself.
    for command in COMMANDS.iter().chain(&["key"]).filter(|c| !c.starts_with("key ")) {
        let help = program::ask(command.split(' ').chain(["--help"])).expect(0);
        let examples =
            help.out.split("Examples:").nth(1).unwrap_or_else(|| panic!("{command} has no examples: {help}"));
        let lines = command_lines(examples);
        assert!(!lines.is_empty(), "{command} has no examples: {help}");
        for line in lines {
            is_taken(&line)
                .unwrap_or_else(|why| panic!("`selvedge {command} --help` shows `selvedge {line}`: {why}"));
        }
        let has_codes = help.out.contains("Exit codes:");
        assert!(
            has_codes || ["init", "key"].contains(command),
            "{command} does not say its exit codes: {help}"
        );
    }
}

#[test]
fn decisions_with_alternatives_are_recorded() {
    let folder = project().join("node/docs/decisions");
    let mut texts = String::new();
    for entry in fs::read_dir(folder).expect("the decisions") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("text");
        assert!(text.lines().count() > 10, "{} says too little", path.display());
        texts.push_str(&text.to_lowercase());
    }
    for subject in ["pqcrypto-dilithium", "segment log", "postcard", "border", "triple"] {
        assert!(texts.contains(subject), "no decision record speaks of {subject:?}");
    }
}
