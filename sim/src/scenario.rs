//! Scenarios: runs described in TOML files, with what they are expected to show.
//!
//! ```toml
//! [scenario]
//! name = "Ten gateways"
//! kind = "network"                  # or "tangle", "swarm"
//! shows = "What a reader learns from it."
//!
//! [network]                         # parameters of this kind; what is not written has its default
//! gateways = 10
//! link.delay = "uniform:50ms..100ms"
//!
//! [expect]                          # what makes a test of it
//! ledgers_equal = true
//! "attach_latency_ms.p99" = "< 2000"
//!
//! [grid]                            # for `sweep`: every combination is run
//! gateways = [4, 7, 10]
//! "link.delay" = ["20ms", "100ms"]
//! seeds = 3                         # so often, with seeds one after the other
//!
//! [plot]                            # one file for each y
//! x = "gateways"
//! y = "attach_latency_ms.p50"
//! ```
//!
//! Everything is checked before anything runs, each point of a grid too; several things that are wrong are told at once.
//!
//! # Layout
//! - here: the file as a whole; [`finding`]: what is wrong with it, and where; `document`: the text and its places
//! - [`task`]: one run by its kind; [`faulty`]: the kind `swarm`; [`results`]: names of results
//! - [`expect`]: expectations; [`grid`]: combinations; [`view`]: plots of a sweep

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::network::units::nearest;
use document::{At, Findings, place_of, read};

mod document;
pub mod expect;
pub mod faulty;
pub mod finding;
pub mod grid;
pub mod results;
pub mod task;
pub mod view;

pub use expect::{Expectation, Verdict};
pub use finding::{Error, Finding, Place};
pub use grid::{Grid, Point};
pub use task::{Kind, Outcome, Task};
pub use view::View;

/// A scenario file is at most this long.
const BYTES_MAX: u64 = 1024 * 1024;
/// A name is at most this long, in characters: it is the title of plots.
const NAME_MAX: usize = 80;

/// A checked scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What a reader learns from it.
    pub shows: String,
    /// What it runs.
    pub kind: Kind,
    /// The run; with a grid what its points start from.
    pub task: Task,
    /// What the results have to be, of each point when there is a grid.
    pub expectations: Vec<Expectation>,
    /// What a sweep runs.
    pub grid: Option<Grid>,
    /// What a sweep plots.
    pub view: Option<View>,
    /// The text of the file.
    pub text: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Head {
    name: Option<String>,
    kind: Option<Kind>,
    shows: Option<String>,
}

/// Reads and checks a scenario file.
///
/// # Errors
/// When it cannot be read, or all that is wrong with it.
pub fn load(path: &Path) -> Result<Scenario, Error> {
    let io = |why| Error::Io { path: path.to_owned(), why };
    let wrong = |findings| Error::Wrong { path: path.to_owned(), findings };
    if std::fs::metadata(path).map_err(io)?.len() > BYTES_MAX {
        let what = format!("got a file of more than {BYTES_MAX} bytes, expected a scenario");
        return Err(wrong(vec![Finding { place: None, key: String::new(), what }]));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    parse(&text, path.parent().unwrap_or(Path::new(""))).map_err(wrong)
}

/// Checks the text of a scenario. Files that it names are looked for in `folder`.
///
/// # Errors
/// All that is wrong with it, in the order of the text.
pub fn parse(text: &str, folder: &Path) -> Result<Scenario, Vec<Finding>> {
    let mut findings = Findings::new(text);
    let root = document::parse(text, &mut findings);
    if !findings.is_empty() {
        return Err(findings.sorted());
    }
    let scenario = build(text, root.get_ref(), folder, &mut findings);
    match scenario {
        Some(scenario) if findings.is_empty() => Ok(scenario),
        _ => Err(findings.sorted()),
    }
}

fn build(text: &str, root: &DeTable<'_>, folder: &Path, findings: &mut Findings<'_>) -> Option<Scenario> {
    let (name, shows, kind) = head(root, findings)?;
    tables(root, kind, findings);
    let parameters = table(root, kind.name(), findings).unwrap_or_else(|| Spanned::new(0..0, DeTable::new()));
    let grid_table = table(root, "grid", findings);
    let before = findings.len();
    let mut task = Task::read(kind, &parameters, findings);
    let is_readable = findings.len() == before;
    let mut grid = None;
    match (&grid_table, &mut task) {
        // A point may be possible where what it starts from is not, so only the points are checked.
        (Some(table), _) if is_readable => grid = grid::expand(kind, &parameters, table, folder, findings),
        (None, Some(task)) => {
            let problems = task.check(folder);
            tell(&problems, kind, &parameters, findings);
        }
        _ => {}
    }
    let expectations = expectations(root, kind, findings);
    let view = table(root, "plot", findings)
        .and_then(|plot| view::read_view(kind, &plot, grid_table.is_some(), grid.as_ref(), findings));
    Some(Scenario { name, shows, kind, task: task?, expectations, grid, view, text: text.to_owned() })
}

/// The head; without a kind there is nothing more to look at.
fn head(root: &DeTable<'_>, findings: &mut Findings<'_>) -> Option<(String, String, Kind)> {
    let Some(table) = table(root, "scenario", findings) else {
        if findings.is_empty() {
            findings.add(
                0..0,
                "scenario",
                "got no such table, expected [scenario] with name, kind and shows",
            );
        }
        return None;
    };
    let before = findings.len();
    let head: Head = match read(&table, "scenario.", findings) {
        Some(head) => head,
        // What can be read of it shows whether the rest can be checked.
        None => Head { kind: kind_of(table.get_ref()), ..Head::default() },
    };
    let is_readable = findings.len() == before;
    let mut need = |key: &str, is_there: bool, expected: &str| {
        if is_readable && !is_there {
            findings.add(
                table.span(),
                &format!("scenario.{key}"),
                format!("got nothing, expected {expected}"),
            );
        }
    };
    let named = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    need("name", named(&head.name), "a name, such as \"Ten gateways\"");
    need("shows", named(&head.shows), "what a reader learns from it");
    need("kind", head.kind.is_some(), "one of network, tangle, swarm");
    if let Some(letters) = head.name.as_ref().map(|name| name.chars().count()).filter(|n| *n > NAME_MAX) {
        let at = place_of(table.get_ref(), "name").unwrap_or_else(|| table.span());
        findings.add(at, "scenario.name", format!("got {letters} characters, expected at most {NAME_MAX}"));
    }
    let shows = head.shows.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    Some((head.name.unwrap_or_default(), shows, head.kind?))
}

fn kind_of(head: &DeTable<'_>) -> Option<Kind> {
    let word = head.get("kind")?.get_ref().as_str()?;
    Kind::ALL.into_iter().find(|kind| kind.name() == word)
}

/// Finds tables that have no meaning here.
fn tables(root: &DeTable<'_>, kind: Kind, findings: &mut Findings<'_>) {
    let valid = ["scenario", kind.name(), "expect", "grid", "plot"];
    for key in root.keys() {
        let name: &str = key.get_ref().as_ref();
        if valid.contains(&name) {
            continue;
        }
        let is_kind = Kind::ALL.iter().any(|other| other.name() == name);
        let what = if is_kind {
            let kind = kind.name();
            format!("got parameters of another kind, expected [{kind}], the kind of this scenario")
        } else {
            let near = nearest(name, &valid).map(|near| format!("; did you mean `{near}`?"));
            format!("got an unknown table, expected one of {}{}", valid.join(", "), near.unwrap_or_default())
        };
        findings.add(key.span(), name, what);
    }
}

/// A table of the root, when it is there and is one.
fn table<'t>(root: &DeTable<'t>, name: &str, findings: &mut Findings<'_>) -> Option<At<DeTable<'t>>> {
    let value = root.get(name)?;
    match value.get_ref() {
        DeValue::Table(table) => Some(Spanned::new(value.span(), table.clone())),
        other => {
            findings.add(value.span(), name, format!("got {}, expected a table: [{name}]", article(other)));
            None
        }
    }
}

/// What kind of a value it is.
fn article(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
        DeValue::Datetime(_) => "a date".to_owned(),
        single => {
            document::scalar(single).map_or_else(|| "a number out of range".to_owned(), |v| v.to_string())
        }
    }
}

/// Problems of parameters, where they stand; where they are not written, at the table.
fn tell(
    problems: &[crate::network::params::Problem],
    kind: Kind,
    table: &At<DeTable<'_>>,
    findings: &mut Findings<'_>,
) {
    for problem in problems {
        let place = place_of(table.get_ref(), &problem.key);
        let at = place.clone().unwrap_or_else(|| table.span());
        let key = format!("{}.{}", kind.name(), problem.key);
        findings.add(at, &key, format!("got {}, expected {}", problem.got, problem.expected));
    }
}

fn expectations(root: &DeTable<'_>, kind: Kind, findings: &mut Findings<'_>) -> Vec<Expectation> {
    let Some(table) = table(root, "expect", findings) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, at, value) in leaves("", table.get_ref()) {
        let key = format!("expect.{name}");
        let value_at = value.span();
        let Some(written) = document::scalar(value.get_ref()) else {
            let got = article(value.get_ref());
            findings.add(value_at, &key, format!("got {got}, expected {}", expect::FORMS));
            continue;
        };
        match Expectation::new(&name, &written) {
            Ok(expectation) => {
                for result in expectation.names().filter(|result| !kind.results().contains(result)) {
                    let at = if result == name { at.clone() } else { value_at.clone() };
                    findings.add(at, &key, expect::unknown_result(result, kind.results()));
                }
                all.push(expectation);
            }
            Err(what) => findings.add(value_at, &key, what),
        }
    }
    all
}

/// Keys that lead to values, with and without quotes around the dots: path, place of the key, value.
fn leaves<'a, 't>(
    prefix: &str,
    table: &'a DeTable<'t>,
) -> Vec<(String, document::Where, &'a At<DeValue<'t>>)> {
    let mut found = Vec::new();
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => found.extend(leaves(&format!("{path}."), inner)),
            _ => found.push((path, key.span(), value)),
        }
    }
    // In the order of the file.
    found.sort_by_key(|(_, at, _)| at.start);
    found
}
