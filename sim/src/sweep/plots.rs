//! Plots of a sweep: a result over one key of the grid, a line for each combination of the others.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::network::units::{Bandwidth, Rate, Share, Size, Span};
use crate::plot::{Axis, Error, Plot};
use crate::scenario::expect::plain;
use crate::scenario::{Grid, Scenario, View};

use super::folder::Line;

/// One file for each result: name and text.
pub(super) fn draw(
    scenario: &Scenario,
    view: &View,
    grid: &Grid,
    lines: &BTreeMap<usize, Line>,
) -> Result<Vec<(String, String)>, Error> {
    let place = |key: &String| grid.keys.iter().position(|known| known == key);
    let Some(x) = place(&view.x) else { return Ok(Vec::new()) };
    let series: Vec<usize> = view.series.iter().filter_map(place).collect();
    let scale = Scale::of(grid, x);
    let mut files = Vec::new();
    for name in &view.y {
        let mut x_axis = Axis::new(scale.axis(&view.x));
        let mut y_axis = Axis::new(name.clone());
        if view.is_x_log && scale.is_number() {
            x_axis = x_axis.log();
        }
        y_axis = if view.is_y_log { y_axis.log() } else { y_axis.from(0.0) };
        let mut plot = Plot::new(format!("{}: {name}", scenario.name), x_axis, y_axis);
        // In the order of the grid.
        let mut all: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
        for (run, line) in lines {
            let values = &grid.points[*run].values;
            let words = series.iter().map(|key| format!("{} {}", grid.keys[*key], plain(&values[*key])));
            let label = words.collect::<Vec<_>>().join(", ");
            let y = line.results.get(name).and_then(as_number);
            let (Some(x), Some(y)) = (scale.at(&values[x]), y) else { continue };
            match all.iter_mut().find(|(known, _)| *known == label) {
                Some((_, points)) => points.push((x, y)),
                None => all.push((label, vec![(x, y)])),
            }
        }
        for (label, points) in all {
            plot = plot.line(label, means(&points));
            if grid.seeds > 1 {
                plot = plot.same_colour().points("", points);
            }
        }
        files.push((format!("{}.svg", name.replace('.', "-")), plot.to_svg()?));
    }
    Ok(files)
}

fn as_number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_bool().map(|is| f64::from(u8::from(is))))
}

/// The mean of the seeds at each x, from the least x to the greatest.
fn means(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted
        .chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq())
        .map(|same| (same[0].0, same.iter().map(|(_, y)| y).sum::<f64>() / same.len() as f64))
        .collect()
}

/// How the values of a key become places on an axis.
enum Scale {
    /// As quantities, in this unit.
    Number(&'static str),
    /// By their order in the grid.
    Order(Vec<Value>),
}

impl Scale {
    fn of(grid: &Grid, key: usize) -> Self {
        let mut values: Vec<Value> = Vec::new();
        for point in &grid.points {
            if !values.contains(&point.values[key]) {
                values.push(point.values[key].clone());
            }
        }
        let units: Vec<Option<&str>> =
            values.iter().map(|value| quantity(value).map(|(_, unit)| unit)).collect();
        match units.first() {
            Some(Some(unit)) if units.iter().all(|other| *other == Some(unit)) => Self::Number(unit),
            _ => Self::Order(values),
        }
    }

    const fn is_number(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    fn at(&self, value: &Value) -> Option<f64> {
        match self {
            Self::Number(_) => quantity(value).map(|(number, _)| number),
            Self::Order(values) => {
                values.iter().position(|known| known == value).map(|place| place as f64 + 1.0)
            }
        }
    }

    fn axis(&self, key: &str) -> String {
        match self {
            Self::Number("") => key.to_owned(),
            Self::Number(unit) => format!("{key}, {unit}"),
            Self::Order(values) => {
                let words: Vec<String> = values
                    .iter()
                    .enumerate()
                    .map(|(place, value)| format!("{} = {}", place + 1, plain(value)))
                    .collect();
                format!("{key} ({})", words.join("; "))
            }
        }
    }
}

/// A value as a number with its unit, when it is a plain quantity.
fn quantity(value: &Value) -> Option<(f64, &'static str)> {
    let text = match value {
        Value::String(text) => text,
        other => return other.as_f64().map(|number| (number, "")),
    };
    let span = text.parse::<Span>().ok().map(|span| (span.us as f64 / 1_000.0, "ms"));
    let rate = || text.parse::<Rate>().ok().map(|rate| (rate.as_per_s(), "1/s"));
    let band = || text.parse::<Bandwidth>().ok().map(|band| (band.bits_per_s as f64 / 1e6, "Mbit/s"));
    let share = || text.parse::<Share>().ok().map(|share| (f64::from(share.ppm) / 1e4, "%"));
    let size = || text.parse::<Size>().ok().map(|size| (size.bytes as f64, "bytes"));
    span.or_else(rate).or_else(band).or_else(share).or_else(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_have_units_and_other_texts_an_order() {
        let known = [("50ms", 50.0, "ms"), ("2/s", 2.0, "1/s"), ("1Mbit/s", 1.0, "Mbit/s"), ("5%", 5.0, "%")];
        for (text, number, unit) in known {
            assert_eq!(quantity(&text.into()), Some((number, unit)), "{text}");
        }
        assert_eq!(quantity(&7.into()), Some((7.0, "")));
        assert_eq!(quantity(&"uniform:1ms..2ms".into()), None);
    }

    #[test]
    fn means_are_over_equal_places() {
        assert_eq!(means(&[(2.0, 1.0), (1.0, 4.0), (2.0, 3.0)]), [(1.0, 4.0), (2.0, 2.0)]);
    }
}
