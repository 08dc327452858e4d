//! Tables of a sweep: one row for each run.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::Grid;
use crate::scenario::expect::plain;
use crate::scenario::results::OF_THE_MACHINE;

use super::folder::Line;

/// `results.csv` with what the seed decides, `machine.csv` with the rest.
pub(super) fn tables(grid: &Grid, lines: &BTreeMap<usize, Line>) -> [(&'static str, String); 2] {
    let of_machine = |name: &&str| OF_THE_MACHINE.contains(name);
    let names: BTreeSet<&str> =
        lines.values().flat_map(|line| line.results.keys().map(String::as_str)).collect();
    let seeded: Vec<&str> = names.iter().copied().filter(|name| !of_machine(name)).collect();
    let others: Vec<&str> = names.iter().copied().filter(of_machine).collect();
    [("results.csv", table(grid, lines, &seeded)), ("machine.csv", table(grid, lines, &others))]
}

fn table(grid: &Grid, lines: &BTreeMap<usize, Line>, names: &[&str]) -> String {
    let has_seed = grid.keys.iter().any(|key| key == "seed");
    let keys = grid.keys.iter().map(String::as_str);
    let seed = (!has_seed).then_some("seed");
    // A result may have the name of a parameter that is varied; the parameter keeps it.
    let names: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| *name != "seed" && !grid.keys.iter().any(|key| key == name))
        .collect();
    let mut text = row(keys.chain(seed).chain(names.iter().copied()).map(str::to_owned));
    for (run, line) in lines {
        let point = &grid.points[*run];
        let values = point.values.iter().map(plain);
        let seed = (!has_seed).then(|| point.task.seed().to_string());
        let results = names.iter().map(|name| line.results.get(*name).map(plain).unwrap_or_default());
        text.push_str(&row(values.chain(seed).chain(results)));
    }
    text
}

/// RFC 4180, but with a bare line feed.
fn row(cells: impl Iterator<Item = String>) -> String {
    let quoted = cells.map(|cell| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        let cells = ["a", "uniform:1ms..2ms", "pareto:20ms,1.5", "say \"x\"", ""];
        let expected = "a,uniform:1ms..2ms,\"pareto:20ms,1.5\",\"say \"\"x\"\"\",\n";
        assert_eq!(super::row(cells.into_iter().map(str::to_owned)), expected);
    }
}
