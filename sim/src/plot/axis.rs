//! One axis: its name with unit, its scale, and where its ticks stand.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};

/// From this value on a tick is written as 2e7 and not with all its digits.
const LONG_NUMBER: f64 = 1e7;

/// How an axis divides its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    /// Equal steps for equal ratios; only values above 0 have a place.
    Log,
}

/// An axis as asked for: what it shows, in which unit, on which scale, and a bound where the data should not decide.
#[derive(Debug, Clone)]
pub struct Axis {
    pub(super) name: String,
    scale: Scale,
    from: Option<f64>,
    to: Option<f64>,
}

impl Axis {
    /// A linear axis that reaches from the least to the greatest value. The name ends with the unit: `age, s`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), scale: Scale::Linear, from: None, to: None }
    }

    /// On a logarithmic scale. Points that are not above 0 are left out.
    #[must_use]
    pub fn log(self) -> Self {
        Self { scale: Scale::Log, ..self }
    }

    /// Begins here whatever the data says; points before it are left out.
    #[must_use]
    pub fn from(self, from: f64) -> Self {
        Self { from: Some(from), ..self }
    }

    /// Ends here whatever the data says; points behind it are left out.
    #[must_use]
    pub fn to(self, to: f64) -> Self {
        Self { to: Some(to), ..self }
    }

    /// Whether a value can have a place on it.
    pub(super) fn admits(&self, value: f64) -> bool {
        value.is_finite()
            && (self.scale == Scale::Linear || value > 0.0)
            && self.from.is_none_or(|from| value >= from)
            && self.to.is_none_or(|to| value <= to)
    }

    pub(super) const fn is_log(&self) -> bool {
        matches!(self.scale, Scale::Log)
    }

    /// The axis over these values, none when there is no value and the bounds do not say either.
    pub(super) fn over(&self, values: impl Iterator<Item = f64>) -> Option<Laid> {
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        let (low, high) = (self.from.unwrap_or(least), self.to.unwrap_or(greatest));
        if !low.is_finite() || !high.is_finite() {
            return None;
        }
        let (place_low, place_high) = (place(self.scale, low), place(self.scale, high));
        let length = if place_high > place_low { place_high - place_low } else { 1.0 };
        // A little air beyond the data; none beyond a bound that was asked for.
        let air =
            |bound: Option<f64>| if bound.is_some() && place_high > place_low { 0.0 } else { 0.04 * length };
        Some(Laid { scale: self.scale, low: place_low - air(self.from), high: place_high + air(self.to) })
    }
}

/// Where a value stands along an axis of this scale. The logarithm is libm's, so that a plot has the same bytes on
/// every machine.
fn place(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Log => libm::log10(value),
    }
}

/// An axis whose ends are known, as plotters wants it.
#[derive(Debug, Clone)]
pub(super) struct Laid {
    scale: Scale,
    /// Ends as places: the values themselves, or their logarithms.
    low: f64,
    high: f64,
}

impl Laid {
    /// Least value on the axis.
    pub(super) fn least(&self) -> f64 {
        self.value(self.low)
    }

    /// Part of the length, 0 to 1, at which a value stands.
    pub(super) fn part(&self, value: f64) -> f64 {
        (place(self.scale, value) - self.low) / (self.high - self.low)
    }

    fn value(&self, place: f64) -> f64 {
        match self.scale {
            Scale::Linear => place,
            Scale::Log => libm::pow(10.0, place),
        }
    }

    /// At most `most` values, evenly spread.
    fn ticks(&self, most: usize) -> Vec<f64> {
        match self.scale {
            Scale::Linear => multiples(self.low, self.high, step(self.high - self.low, most)),
            Scale::Log => self.decades(most),
        }
    }

    /// Powers of ten, every so many of them; with 2 and 5 between them when there is room.
    fn decades(&self, most: usize) -> Vec<f64> {
        let (first, last) = (libm::ceil(self.low) as i32, libm::floor(self.high) as i32);
        let whole = usize::try_from(last - first + 1).unwrap_or(0);
        if whole * 3 > most {
            let stride = whole.div_ceil(most.max(1)).max(1);
            return (first..=last).step_by(stride).map(power_of_ten).collect();
        }
        (first - 1..=last)
            .flat_map(|exponent| [1.0, 2.0, 5.0].map(|digit| digit * power_of_ten(exponent)))
            .filter(|value| (self.low..=self.high).contains(&libm::log10(*value)))
            .collect()
    }

    /// A tick as text. On a linear axis all ticks have the decimals that their distance needs.
    pub(super) fn text(&self, value: f64, most: usize) -> String {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high - self.low, most);
                let decimals = usize::try_from(-libm::floor(libm::log10(step) + 1e-9) as i32).unwrap_or(0);
                number(value, decimals)
            }
            Scale::Log => {
                number(value, usize::try_from(-libm::floor(libm::log10(value) + 1e-9) as i32).unwrap_or(0))
            }
        }
    }
}

impl Ranged for Laid {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        pixels.0 + libm::round(self.part(*value) * f64::from(pixels.1 - pixels.0)) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        self.ticks(hint.bold_points())
    }

    fn range(&self) -> Range<f64> {
        self.least()..self.value(self.high)
    }
}

impl ValueFormatter<f64> for Laid {
    fn format_ext(&self, value: &f64) -> String {
        self.text(*value, super::TICKS)
    }
}

fn power_of_ten(exponent: i32) -> f64 {
    libm::pow(10.0, f64::from(exponent))
}

/// The least of 1, 2, 5 times a power of ten that cuts `length` into fewer than `most` pieces.
fn step(length: f64, most: usize) -> f64 {
    let least = length / most.max(1) as f64;
    let power = power_of_ten(libm::floor(libm::log10(least)) as i32);
    [1.0, 2.0, 5.0].map(|digit| digit * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power)
}

fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = (libm::ceil(low / step) as i64, libm::floor(high / step) as i64);
    // Not by adding up: the tick at 0 is 0.
    (first..=last).map(|n| n as f64 * step).collect()
}

/// With commas between thousands; large ones as 2e7.
fn number(value: f64, decimals: usize) -> String {
    if value.abs() >= LONG_NUMBER {
        return format!("{value:e}");
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{}{grouped}{rest}", if value < 0.0 { "-" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, low: f64, high: f64) -> Vec<String> {
        let laid = axis.over([low, high].into_iter()).expect("two values");
        laid.ticks(8).into_iter().map(|tick| laid.text(tick, 8)).collect()
    }

    #[test]
    fn ticks_stand_at_round_values() {
        let axis = Axis::new("x");
        assert_eq!(texts(&axis, 0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(
            texts(&axis, 0.0, 7_000.0),
            ["0", "1,000", "2,000", "3,000", "4,000", "5,000", "6,000", "7,000"]
        );
        assert_eq!(texts(&axis, -3.0, 3.0), ["-3", "-2", "-1", "0", "1", "2", "3"]);
        assert_eq!(texts(&axis, 0.0, 4e7), ["0", "1e7", "2e7", "3e7", "4e7"]);
    }

    #[test]
    fn a_log_axis_has_decades_or_the_steps_between_them() {
        let axis = Axis::new("x").log();
        assert_eq!(texts(&axis, 1.0, 1e6), ["1", "10", "100", "1,000", "10,000", "100,000", "1,000,000"]);
        assert_eq!(
            texts(&axis, 0.01, 1.0),
            ["0.01", "0.10", "1"].map(|t| if t == "0.10" { "0.1" } else { t })
        );
        assert_eq!(texts(&axis, 1.0, 30.0), ["1", "2", "5", "10", "20"]);
    }

    #[test]
    fn one_value_still_has_an_axis_and_none_has_not() {
        assert!(Axis::new("x").over([5.0].into_iter()).is_some());
        assert!(Axis::new("x").log().over([5.0].into_iter()).is_some());
        assert!(Axis::new("x").over(std::iter::empty()).is_none());
        assert!(!Axis::new("x").log().admits(0.0) && !Axis::new("x").admits(f64::NAN));
        assert!(!Axis::new("x").from(1.0).to(2.0).admits(2.1));
    }
}
