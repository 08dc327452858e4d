//! Grids: every combination of the values of some parameters, each so often.

use std::path::Path;

use serde_json::Value;
use toml::de::{DeArray, DeTable, DeValue};

use super::document::{At, Findings, Where, put, scalar};
use super::task::{Kind, Task};
use super::{leaves, tell};

/// Most values of one key, most repetitions, and most runs of a sweep.
const VALUES_MAX: usize = 1_000;
const SEEDS_MAX: u64 = 10_000;
const RUNS_MAX: u64 = 100_000;
/// The key that is no parameter.
const SEEDS: &str = "seeds";

/// What a sweep runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// The keys in the order of the file; the last one varies fastest.
    pub keys: Vec<String>,
    /// How often each combination runs, with seeds one after the other.
    pub seeds: u64,
    /// All runs, in order.
    pub points: Vec<Point>,
}

/// One run of a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The values of the keys, as written.
    pub values: Vec<Value>,
    /// What is run.
    pub task: Task,
}

struct Key<'a, 't> {
    path: String,
    at: Where,
    values: &'a DeArray<'t>,
}

/// All points of a grid over these parameters, each of them checked; `None` when something is wrong.
pub(super) fn expand(
    kind: Kind,
    parameters: &At<DeTable<'_>>,
    grid: &At<DeTable<'_>>,
    folder: &Path,
    findings: &mut Findings<'_>,
) -> Option<Grid> {
    let before = findings.len();
    let (keys, seeds) = keys(grid, findings);
    if findings.len() > before {
        return None;
    }
    // Each value on its own first: does it fit its parameter?
    for key in &keys {
        for value in key.values {
            place(kind, parameters, [(key, value)].into_iter(), findings);
        }
    }
    let runs = keys.iter().try_fold(seeds, |runs, key| runs.checked_mul(key.values.len() as u64));
    if runs.is_none_or(|runs| runs > RUNS_MAX) {
        let got = runs.map_or_else(|| format!("more than {}", u64::MAX), |runs| runs.to_string());
        findings.add(grid.span(), "grid", format!("got {got} runs, expected at most {RUNS_MAX}"));
    }
    if findings.len() > before {
        return None;
    }
    let mut points = Vec::new();
    for number in 0..runs.unwrap_or(0) / seeds {
        let chosen = chosen(&keys, number);
        let (table, task) = place(kind, parameters, chosen.iter().copied(), findings);
        let mut task = task?;
        let problems = task.check(folder);
        tell(&problems, kind, &table, findings);
        let values: Vec<Value> = chosen.iter().filter_map(|(_, value)| scalar(value.get_ref())).collect();
        let Some(last) = task.seed().checked_add(seeds - 1) else {
            findings.add(
                grid.span(),
                "grid.seeds",
                format!("got {seeds}, expected room above seed {}", task.seed()),
            );
            return None;
        };
        points.extend(
            (task.seed()..=last)
                .map(|seed| Point { values: values.clone(), task: task.clone().with_seed(seed) }),
        );
    }
    (findings.len() == before).then(|| Grid {
        keys: keys.into_iter().map(|key| key.path).collect(),
        seeds,
        points,
    })
}

/// The keys of a grid, and how often each point runs.
fn keys<'a, 't>(grid: &'a At<DeTable<'t>>, findings: &mut Findings<'_>) -> (Vec<Key<'a, 't>>, u64) {
    let (mut keys, mut seeds) = (Vec::new(), 1);
    for (path, at, value) in leaves("", grid.get_ref()) {
        let name = format!("grid.{path}");
        if path == SEEDS {
            let number =
                scalar(value.get_ref()).and_then(|n| n.as_u64()).filter(|n| (1..=SEEDS_MAX).contains(n));
            seeds = number.unwrap_or(1);
            if number.is_none() {
                let got = super::article(value.get_ref());
                let expected = format!("a whole number from 1 to {SEEDS_MAX}, how often each point runs");
                findings.add(value.span(), &name, format!("got {got}, expected {expected}"));
            }
            continue;
        }
        let Some(values) = value.get_ref().as_array() else {
            let got = super::article(value.get_ref());
            findings.add(
                value.span(),
                &name,
                format!("got {got}, expected a list of values, such as [{got}]"),
            );
            continue;
        };
        check_values(&name, value.span(), values, findings);
        keys.push(Key { path, at, values });
    }
    if let Some(key) = keys.iter().find(|key| key.path == "seed" && seeds > 1) {
        let what =
            format!("got a list beside seeds = {seeds}, expected one of them: `seeds` counts up from `seed`");
        findings.add(key.at.clone(), "grid.seed", what);
    }
    if keys.is_empty() && seeds == 1 && findings.is_empty() {
        let expected = "a parameter with a list of values, such as gateways = [4, 7, 10], or seeds = 3";
        findings.add(grid.span(), "grid", format!("got nothing to vary, expected {expected}"));
    }
    (keys, seeds)
}

fn check_values(name: &str, at: Where, values: &DeArray<'_>, findings: &mut Findings<'_>) {
    if !(1..=VALUES_MAX).contains(&values.len()) {
        findings.add(at, name, format!("got {} values, expected 1 to {VALUES_MAX}", values.len()));
        return;
    }
    let mut seen = Vec::new();
    for value in values {
        match scalar(value.get_ref()) {
            None => {
                let got = super::article(value.get_ref());
                findings.add(
                    value.span(),
                    name,
                    format!("got {got}, expected a number, a text, true or false"),
                );
            }
            Some(known) if seen.contains(&known) => {
                findings.add(value.span(), name, format!("got {known} twice, expected each value once"));
            }
            Some(new) => seen.push(new),
        }
    }
}

/// The values of the combination with this number.
fn chosen<'k, 'a, 't>(keys: &'k [Key<'a, 't>], number: u64) -> Vec<(&'k Key<'a, 't>, &'k At<DeValue<'t>>)> {
    let mut rest = number;
    let mut chosen: Vec<_> = keys
        .iter()
        .rev()
        .map(|key| {
            let length = key.values.len() as u64;
            let value = &key.values[(rest % length) as usize];
            rest /= length;
            (key, value)
        })
        .collect();
    chosen.reverse();
    chosen
}

/// The parameters with these values in their places, and the task that they make.
fn place<'k, 'a: 'k, 't: 'a>(
    kind: Kind,
    parameters: &At<DeTable<'t>>,
    chosen: impl Iterator<Item = (&'k Key<'a, 't>, &'k At<DeValue<'t>>)>,
    findings: &mut Findings<'_>,
) -> (At<DeTable<'t>>, Option<Task>) {
    let mut table = parameters.clone();
    for (key, value) in chosen {
        if !put(table.get_mut(), &key.path, &key.at, value.clone()) {
            let what = "got a key below a value that is no table, expected the path of a parameter, such as link.delay";
            findings.add(key.at.clone(), &format!("grid.{}", key.path), what);
        }
    }
    let task = Task::read(kind, &table, findings);
    (table, task)
}
