//! What a `write` table allows, and whether its stream could ever hold it.

use selvedge_core::reading::Value;
use selvedge_core::scaled::{is_scaled, scaled};

use super::keys::Keys;
use crate::adapter::{Bounds, StreamSpec};
use crate::write::desk::json;
use crate::write::takes::Takes;
use crate::write::unscaled;

/// Reads them. Without bounds nothing is allowed, so at least one of the keys must be there.
pub(super) fn read(keys: &mut Keys<'_>) -> Bounds {
    let bounds = Bounds {
        min: keys.optional_decimal("min"),
        max: keys.optional_decimal("max"),
        one_of: keys.written_values("one_of"),
    };
    let is_range = bounds.min.is_some() && bounds.max.is_some();
    if bounds.one_of.is_empty() && !is_range {
        keys.wrong(
            "min",
            "no bounds",
            "`min` and `max` of the scaled value, or `one_of` with all values that may be written",
        );
    }
    if let (Some(min), Some(max)) = (bounds.min, bounds.max)
        && min.to_f64() > max.to_f64()
    {
        keys.wrong("max", "less than `min`", "`min` or more");
    }
    bounds
}

/// Notes bounds that the stream, which is `called` so and takes these raw values, could never hold: each write of them would
/// be refused.
pub(super) fn check(keys: &mut Keys<'_>, spec: &StreamSpec, called: &str, takes: Takes) {
    let (Some(bounds), Some(table)) = (&spec.write, keys.table("write")) else { return };
    let descriptor = &spec.descriptor;
    let what = match takes {
        Takes::Flag if is_scaled(descriptor) => {
            return keys.wrong(
                "scale",
                "it for what is written as true or false",
                "neither `scale` nor `offset`",
            );
        }
        Takes::Flag => format!("one_of = [true, false]: a {called} takes true or false"),
        Takes::Text { most } => {
            format!("one_of with texts of at most {most} bytes, which is what a {called} takes")
        }
        Takes::Whole { low, high } if is_scaled(descriptor) => {
            let ends = [low, high].map(|end| scaled(&whole(end), descriptor).unwrap_or_default());
            let (scale, [one, other]) = (descriptor.scale, &ends);
            format!("{one} to {other} in steps of {scale}: what a {called} takes at this scale")
        }
        Takes::Whole { .. } | Takes::Number { .. } => format!("{takes}, which is what a {called} takes"),
    };
    for value in &bounds.one_of {
        if !unscaled(descriptor, value).is_some_and(|raw| takes.holds(&raw)) {
            table.wrong("one_of", json(value), what.clone());
        }
    }
    // With a list, the list alone counts.
    if !bounds.one_of.is_empty() {
        return;
    }
    for (key, bound) in [("min", bounds.min), ("max", bounds.max)] {
        let Some(bound) = bound else { continue };
        let raw = unscaled(descriptor, &Value::Float(bound.to_f64())).and_then(|raw| raw.as_f64());
        let is_within = raw.is_some_and(|raw| match takes {
            // A bound may lie between two steps.
            Takes::Whole { low, high } => (low as f64..=high as f64).contains(&raw),
            Takes::Number { most } => raw.abs() <= most,
            Takes::Flag | Takes::Text { .. } => false,
        });
        if !is_within {
            table.wrong(key, bound, what.clone());
            // The other bound of what is no number at all would say the same again.
            if !takes.is_numbers() {
                return;
            }
        }
    }
}

/// A number of 64 bits.
fn whole(number: i128) -> Value {
    i64::try_from(number).map_or_else(|_| Value::Unsigned(number as u64), Value::Int)
}
