//! Streams: the named series that readings belong to, and the descriptor that says what their numbers mean.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Canonical};
use crate::hash::{Hash, context, derive};
use crate::limits::{DESCRIPTOR_BYTES_MAX, TEXT_FIELD_BYTES_MAX};

/// A decimal number, exact: `mantissa × 10^exponent`. Signed types hold no floats.
///
/// Normal form: the mantissa does not end in a zero, and zero is `0 × 10^0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decimal {
    mantissa: i64,
    exponent: i8,
}

impl Decimal {
    /// One.
    pub const ONE: Self = Self { mantissa: 1, exponent: 0 };
    /// Zero.
    pub const ZERO: Self = Self { mantissa: 0, exponent: 0 };

    /// `mantissa × 10^exponent` in normal form; `None` when the exponent leaves −30 … 30.
    pub fn new(mut mantissa: i64, exponent: i32) -> Option<Self> {
        let mut exponent = exponent;
        if mantissa == 0 {
            return Some(Self::ZERO);
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent += 1;
        }
        let exponent = i8::try_from(exponent).ok().filter(|e| (-30..=30).contains(e))?;
        Some(Self { mantissa, exponent })
    }

    /// The mantissa; it does not end in a zero.
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The power of ten, −30 to 30.
    pub const fn exponent(self) -> i8 {
        self.exponent
    }

    /// The nearest `f64`.
    pub fn to_f64(self) -> f64 {
        // Dividing by an exact power of ten rounds once, so 0.1 is the f64 that everybody writes as 0.1.
        let power = libm::pow(10.0, f64::from(self.exponent.unsigned_abs()));
        if self.exponent < 0 { self.mantissa as f64 / power } else { self.mantissa as f64 * power }
    }

    fn is_normal(self) -> bool {
        Self::new(self.mantissa, i32::from(self.exponent)) == Some(self)
    }
}

impl FromStr for Decimal {
    type Err = &'static str;

    /// Reads `12`, `-0.1`, `2.5e-3`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WHY: &str = "not a decimal number such as 0.1, -4 or 2.5e-3";
        let (digits, exponent) = match text.split_once(['e', 'E']) {
            Some((digits, exponent)) => (digits, exponent.parse::<i32>().map_err(|_| WHY)?),
            None => (text, 0),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if fraction.starts_with(['+', '-']) || (fraction.is_empty() && digits.contains('.')) {
            return Err(WHY);
        }
        let mantissa = (whole.to_string() + fraction).parse::<i64>().map_err(|_| WHY)?;
        if !(-1_000..=1_000).contains(&exponent) {
            return Err("a decimal exponent beyond 30");
        }
        Self::new(mantissa, exponent - fraction.len() as i32).ok_or("a decimal exponent beyond 30")
    }
}

impl fmt::Display for Decimal {
    /// All its digits, without an exponent: `0.0025`, `-40`, `12000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let digits = self.mantissa.unsigned_abs().to_string();
        let places = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            return write!(f, "{sign}{digits}{}", "0".repeat(places));
        }
        let digits = alloc::format!("{digits:0>width$}", width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// Who vouches that the value came from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Attestation {
    /// The gateway read it and says so; the device itself signs nothing.
    Gateway,
}

impl Attestation {
    /// In words, for a proof.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gateway => "gateway-attested",
        }
    }
}

/// What the numbers of a stream mean. Its hash stands in every batch that holds readings of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Descriptor {
    /// Name of the stream, unique on its gateway: `filler/tank/level`.
    pub name: String,
    /// The device, as the configuration names it.
    pub device: String,
    /// Where on the device: `modbus-tcp 10.0.0.7:502 unit 1 holding 100`.
    pub address: String,
    /// What the device sends: `f32 ABCD`, `u16`.
    pub source_type: String,
    /// Unit as UCUM text: `Cel`, `L/min`; empty for none.
    pub unit: String,
    /// Scaled value = raw × scale + offset.
    pub scale: Decimal,
    /// See `scale`.
    pub offset: Decimal,
    /// Who vouches for the values.
    pub attestation: Attestation,
}

impl Canonical for Descriptor {
    const WHAT: &'static str = "stream descriptor";
    const BYTES_MAX: usize = DESCRIPTOR_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        codec::check_name(&self.name)?;
        codec::check_name(&self.device)?;
        if [&self.address, &self.source_type, &self.unit].iter().any(|t| t.len() > TEXT_FIELD_BYTES_MAX) {
            return Err("a text is longer than 256 bytes");
        }
        if !self.scale.is_normal() || !self.offset.is_normal() {
            return Err("scale or offset is not in normal form");
        }
        Ok(())
    }
}

impl Descriptor {
    /// The encoding.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::encode(self)
    }
    /// Hash of an encoding.
    pub fn hash_of(bytes: &[u8]) -> Hash {
        Hash(derive(context::DESCRIPTOR, bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_digits() {
        for (text, shown) in [
            ("0.1", "0.1"),
            ("-0.0025", "-0.0025"),
            ("12e3", "12000"),
            ("-4.50", "-4.5"),
            ("0", "0"),
            ("9007199254740993", "9007199254740993"),
        ] {
            let decimal: Decimal = text.parse().expect("a decimal");
            assert_eq!(decimal.to_string(), shown);
            assert_eq!(shown.parse(), Ok(decimal));
        }
        assert!((Decimal::new(1, -1).expect("in bounds").to_f64() - 0.1).abs() < f64::EPSILON);
        for text in ["", "x", "1.", "1.-5", "1e", "1e99", "--1"] {
            assert!(text.parse::<Decimal>().is_err(), "{text:?}");
        }
    }
}
