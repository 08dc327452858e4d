//! What values a device can hold in one place. Pure.

use std::fmt;

use selvedge_core::reading::Value;

/// What a place of a device takes, as raw values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Takes {
    /// `true` and `false`.
    Flag,
    /// Text of so many bytes at most.
    Text {
        /// Bytes.
        most: usize,
    },
    /// Whole numbers.
    Whole {
        /// The least.
        low: i128,
        /// The greatest.
        high: i128,
    },
    /// Numbers up to this, and down to its negative.
    Number {
        /// The greatest.
        most: f64,
    },
}

impl Takes {
    /// Whole numbers of so many bits, 64 at most.
    pub(crate) const fn whole(bits: u32, is_signed: bool) -> Self {
        let all = 1_i128 << bits;
        if is_signed {
            Self::Whole { low: -(all / 2), high: all / 2 - 1 }
        } else {
            Self::Whole { low: 0, high: all - 1 }
        }
    }

    /// Does it take this raw value?
    pub(crate) fn holds(self, raw: &Value) -> bool {
        let is_whole = |number: i128| match self {
            Self::Whole { low, high } => (low..=high).contains(&number),
            // Only what a float holds exactly.
            Self::Number { .. } => (number as f64) as i128 == number,
            Self::Flag | Self::Text { .. } => false,
        };
        match (self, raw) {
            (Self::Flag, Value::Bool(_)) => true,
            (Self::Text { most }, Value::Text(text)) => text.len() <= most,
            (_, Value::Int(int)) => is_whole(i128::from(*int)),
            (_, Value::Unsigned(int)) => is_whole(i128::from(*int)),
            (Self::Number { most }, Value::Float(float)) => float.abs() <= most,
            _ => false,
        }
    }

    /// Are these numbers at all?
    pub(crate) const fn is_numbers(self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Number { .. })
    }
}

/// For a person: `whole numbers from 0 to 65535`.
impl fmt::Display for Takes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Text { most } => write!(f, "texts of at most {most} bytes"),
            Self::Whole { low, high } => write!(f, "whole numbers from {low} to {high}"),
            Self::Number { most } => write!(f, "numbers up to {most:e}"),
        }
    }
}
