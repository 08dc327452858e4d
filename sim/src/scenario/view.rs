//! What a sweep plots: `[plot]` with `x`, `y`, `series` and `log`.

use serde::Deserialize;
use toml::de::DeTable;

use super::document::{At, Findings, Where, place_of, read};
use super::grid::Grid;
use super::task::Kind;
use crate::network::units::nearest;

/// Plots of a sweep: for each `y` one file, with a line for each combination of the keys in `series`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// A key of the grid.
    pub x: String,
    /// Results.
    pub y: Vec<String>,
    /// Further keys of the grid.
    pub series: Vec<String>,
    /// Is the x axis logarithmic?
    pub is_x_log: bool,
    /// Is the y axis?
    pub is_y_log: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Written {
    x: Option<String>,
    y: Option<Words>,
    series: Option<Words>,
    log: Log,
}

/// One or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text in quotes or a list of them")]
enum Words {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Log {
    #[default]
    None,
    X,
    Y,
    Xy,
}

impl From<Words> for Vec<String> {
    fn from(words: Words) -> Self {
        match words {
            Words::One(word) => vec![word],
            Words::Several(words) => words,
        }
    }
}

/// The view of a scenario. Its keys are checked against the grid when there is a sound one.
pub(super) fn read_view(
    kind: Kind,
    table: &At<DeTable<'_>>,
    has_grid: bool,
    grid: Option<&Grid>,
    findings: &mut Findings<'_>,
) -> Option<View> {
    let written: Written = read(table, "plot.", findings)?;
    if !has_grid {
        findings.add(table.span(), "plot", "got a plot without [grid], expected a grid: it is for sweeps");
        return None;
    }
    let place = |key: &str| place_of(table.get_ref(), key).unwrap_or_else(|| table.span());
    let y: Vec<String> = written.y.map(Vec::from).unwrap_or_default();
    if y.is_empty() {
        let example = kind.results().first().copied().unwrap_or_default();
        findings.add(place("y"), "plot.y", format!("got nothing, expected a result, such as \"{example}\""));
    }
    for name in y.iter().filter(|name| !kind.results().contains(&name.as_str())) {
        findings.add(place("y"), "plot.y", super::expect::unknown_result(name, kind.results()));
    }
    let grid = grid?;
    let keys: Vec<&str> = grid.keys.iter().map(String::as_str).collect();
    let Some(x) = written.x else {
        findings.add(table.span(), "plot.x", format!("got nothing, expected one of {}", keys.join(", ")));
        return None;
    };
    let mut is_key = |at: Where, key: &str, word: &str| {
        if !keys.contains(&word) {
            let near =
                nearest(word, &keys).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            findings.add(at, key, format!("got \"{word}\", expected one of {}{near}", keys.join(", ")));
        }
    };
    is_key(place("x"), "plot.x", &x);
    let series = match written.series {
        None => keys.iter().filter(|key| **key != x).map(|key| (*key).to_owned()).collect(),
        Some(words) => Vec::from(words),
    };
    for word in &series {
        is_key(place("series"), "plot.series", word);
    }
    // A key that is neither would be averaged over, and nobody would see it.
    for key in keys.iter().filter(|key| **key != x && !series.iter().any(|s| s == *key)) {
        let what =
            format!("got no `{key}`, expected all keys of the grid but x: a line cannot mix its values");
        findings.add(place("series"), "plot.series", what);
    }
    let (is_x_log, is_y_log) =
        (matches!(written.log, Log::X | Log::Xy), matches!(written.log, Log::Y | Log::Xy));
    Some(View { x, y, series, is_x_log, is_y_log })
}
