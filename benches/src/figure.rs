//! A figure with its goal; the table and the JSON made of many.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cpu::Samples;
use crate::plan::Plan;

/// What a figure is to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// The measured value itself is at most this, in its unit.
    Measured(f64),
    /// Measured over reference is at most this.
    Ratio(f64),
}

/// One part of a figure.
#[derive(Debug, Clone)]
#[allow(clippy::struct_field_names)] // A figure's number is what everybody calls "figure 14".
pub(crate) struct Figure {
    pub(crate) figure: u32,
    pub(crate) part: &'static str,
    pub(crate) unit: &'static str,
    /// The median.
    pub(crate) measured: f64,
    pub(crate) least: f64,
    /// The limit or peer, in the same unit.
    pub(crate) reference: f64,
    /// What the reference is.
    pub(crate) against: &'static str,
    pub(crate) goal: Goal,
}

/// As it goes into the JSON: these eight keys.
#[derive(Serialize)]
struct Entry {
    figure: u32,
    part: &'static str,
    unit: &'static str,
    measured: f64,
    reference: f64,
    /// Always measured over reference.
    ratio: f64,
    goal: String,
    met: Option<bool>,
}

#[derive(Serialize)]
struct Entries {
    figures: Vec<Entry>,
}

impl Figure {
    /// Median and least of the samples, against the median of the reference.
    pub(crate) fn of(figure: u32, part: &'static str, unit: &'static str, measured: &Samples) -> Self {
        let (median, least) = (measured.median(), measured.least());
        let (reference, against) = (f64::NAN, "");
        Self { figure, part, unit, measured: median, least, reference, against, goal: Goal::Ratio(1.0) }
    }

    pub(crate) fn against(self, against: &'static str, reference: f64) -> Self {
        Self { reference, against, ..self }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    fn ratio(&self) -> f64 {
        self.measured / self.reference
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::Measured(most) => format!("measured <= {most} {}", self.unit),
            Goal::Ratio(most) => format!("ratio <= {most}"),
        }
    }

    fn is_met(&self) -> bool {
        match self.goal {
            Goal::Measured(most) => self.measured <= most,
            Goal::Ratio(most) => self.ratio() <= most,
        }
    }

    fn entry(&self, is_judged: bool) -> Entry {
        Entry {
            figure: self.figure,
            part: self.part,
            unit: self.unit,
            measured: self.measured,
            reference: self.reference,
            ratio: self.ratio(),
            goal: self.goal_text(),
            met: is_judged.then(|| self.is_met()),
        }
    }
}

/// Figures, and lines that say what else was seen.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) figures: Vec<Figure>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) fn append(&mut self, mut other: Self) {
        self.figures.append(&mut other.figures);
        self.notes.append(&mut other.notes);
    }

    /// For people.
    pub(crate) fn table(&self, plan: &Plan) -> String {
        let head = ["figure", "part", "measured", "least", "limit or peer", "ratio", "goal", "met"];
        let mut rows = vec![head.map(String::from)];
        for figure in &self.figures {
            let met = match (plan.smoke, figure.is_met()) {
                (true, _) => "not judged",
                (false, true) => "yes",
                (false, false) => "NO",
            };
            rows.push([
                figure.figure.to_string(),
                figure.part.to_owned(),
                format!("{} {}", number(figure.measured), figure.unit),
                number(figure.least),
                format!("{} ({})", number(figure.reference), figure.against),
                number(figure.ratio()),
                figure.goal_text(),
                met.to_owned(),
            ]);
        }
        let mut text = String::new();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 8] = std::array::from_fn(width);
        for row in &rows {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        for note in &self.notes {
            let _ = writeln!(text, "- {note}");
        }
        let _ = writeln!(text, "- folder of the stores: {}", plan.place().display());
        text
    }

    /// For programs: one line.
    pub(crate) fn json(&self, plan: &Plan) -> anyhow::Result<String> {
        let figures = self.figures.iter().map(|figure| figure.entry(!plan.smoke)).collect();
        Ok(serde_json::to_string(&Entries { figures })?)
    }
}

/// With the digits that a measurement has.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_judged_by_what_it_names() {
        let samples: Samples = [2.0].into_iter().collect();
        let figure = Figure::of(1, "1000", "CPU-s", &samples).against("a loop", 1.0);
        assert!(figure.clone().goal(Goal::Measured(2.0)).is_met());
        assert!(!figure.clone().goal(Goal::Measured(1.9)).is_met());
        assert!(figure.clone().goal(Goal::Ratio(2.0)).is_met());
        assert!(!figure.goal(Goal::Ratio(1.9)).is_met());
    }
}
