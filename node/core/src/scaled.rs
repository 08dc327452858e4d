//! The value that people read: raw × scale + offset in exact decimal arithmetic, so that 214 × 0.1 is 21.4 and
//! not 21.400000000000002. Never stored, always computed; the one place where it is, so that an adapter, an answer
//! and a proof show the same digits for the same reading.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::fmt;

use crate::hash::hex;
use crate::reading::Value;
use crate::stream::{Decimal, Descriptor};

/// Longest number written out in full, in digits; longer ones are written as `1.5e300`.
const PLAIN_DIGITS_MAX: usize = 40;

/// The scaled value as text; `None` where the reading has no value.
///
/// - Integers: exact, whatever scale and offset are.
/// - Floats: the shortest decimal that names the float (for a source type `f32…` the shortest that names the
///   32-bit one), then exact. An infinite one stays as it is.
/// - Bits: `true` and `false`; where the descriptor scales them, 1 and 0 scaled.
/// - Text stays, opaque bytes become hexadecimal digits.
pub fn scaled(value: &Value, descriptor: &Descriptor) -> Option<String> {
    let number = match value {
        Value::None => return None,
        Value::Text(text) => return Some(text.clone()),
        Value::Bytes(bytes) => return Some(hex(bytes)),
        Value::Bool(bit) if !is_scaled(descriptor) => return Some(bit.to_string()),
        Value::Bool(bit) => Exact::from_parts(i128::from(*bit), 0),
        Value::Int(int) => Exact::from_parts(i128::from(*int), 0),
        Value::Unsigned(int) => Exact::from_parts(i128::from(*int), 0),
        Value::Float(float) if float.is_infinite() => {
            return Some(float_text(*float, &descriptor.source_type));
        }
        Value::Float(float) => Exact::from_text(&float_text(*float, &descriptor.source_type)),
    };
    Some(number.times(descriptor.scale).plus(&Exact::from(descriptor.offset)).to_string())
}

/// Does the descriptor change the numbers at all?
pub fn is_scaled(descriptor: &Descriptor) -> bool {
    descriptor.scale != Decimal::ONE || descriptor.offset != Decimal::ZERO
}

/// Scale or offset as text, exact; beyond 40 digits `1.5e49` and not, as [`Decimal`] shows itself, in full.
pub fn decimal_text(decimal: Decimal) -> String {
    Exact::from(decimal).to_string()
}

/// The shortest decimal that names this float; for 32-bit sources the shortest that names the 32-bit one.
fn float_text(float: f64, source_type: &str) -> String {
    let narrow = float as f32;
    if source_type.starts_with("f32") && f64::from(narrow).to_bits() == float.to_bits() {
        // `{:e}` has the same digits as `{}` and never 300 zeros.
        return if narrow.is_infinite() { format!("{narrow}") } else { format!("{narrow:e}") };
    }
    if float.is_infinite() { format!("{float}") } else { format!("{float:e}") }
}

/// The raw float for people: the shortest digits that name it (see [`scaled`]), written out where that is not too long.
pub fn float_words(float: f64, source_type: &str) -> String {
    let text = float_text(float, source_type);
    if float.is_infinite() { text } else { Exact::from_text(&text).to_string() }
}

/// A unit for people: UCUM text as it is (printable ASCII without spaces), degrees Celsius as everybody writes
/// them; a few signs that people use for UCUM's words as they are, any other text in quotes.
pub fn unit_text(unit: &str) -> String {
    match unit {
        "Cel" => "°C".to_owned(),
        _ if unit.chars().all(|c| c.is_ascii_graphic() || "°µμΩ²³·‰".contains(c)) => unit.to_owned(),
        _ => format!("{unit:?}"),
    }
}

/// A decimal number of any length: `± digits × 10^exponent`, most significant digit first, none for zero.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Exact {
    negative: bool,
    digits: Vec<u8>,
    exponent: i32,
}

impl Exact {
    fn new(negative: bool, digits: &[u8], exponent: i32) -> Self {
        let zeros = digits.iter().take_while(|d| **d == 0).count();
        let trailing = digits.iter().rev().take_while(|d| **d == 0).count();
        if zeros == digits.len() {
            return Self { negative: false, digits: Vec::new(), exponent: 0 };
        }
        let digits = digits[zeros..digits.len() - trailing].to_vec();
        Self { negative, digits, exponent: exponent + trailing as i32 }
    }

    fn from_parts(mantissa: i128, exponent: i32) -> Self {
        let digits: Vec<u8> = mantissa.unsigned_abs().to_string().bytes().map(|b| b - b'0').collect();
        Self::new(mantissa < 0, &digits, exponent)
    }

    /// Reads what `{:e}` writes of a finite float: `-2.14e1`.
    fn from_text(text: &str) -> Self {
        let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().expect("a float's exponent is a small integer");
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let numerals: Vec<u8> =
            whole.bytes().chain(fraction.bytes()).filter(u8::is_ascii_digit).map(|b| b - b'0').collect();
        Self::new(text.starts_with('-'), &numerals, exponent - fraction.len() as i32)
    }

    fn times(&self, factor: Decimal) -> Self {
        // At most 20 digits (a u64, or the 17 of a float) times 19: the sum of products per digit fits a u128.
        let own = self.digits.iter().fold(0_u128, |sum, digit| sum * 10 + u128::from(*digit));
        let product = own * u128::from(factor.mantissa().unsigned_abs());
        let digits: Vec<u8> = product.to_string().bytes().map(|b| b - b'0').collect();
        let negative = self.negative != (factor.mantissa() < 0);
        Self::new(negative, &digits, self.exponent + i32::from(factor.exponent()))
    }

    fn plus(&self, other: &Self) -> Self {
        if self.digits.is_empty() || other.digits.is_empty() {
            return if self.digits.is_empty() { other.clone() } else { self.clone() };
        }
        let exponent = self.exponent.min(other.exponent);
        let top = self.top().max(other.top());
        let width = (top - exponent) as usize;
        let (a, b) = (self.padded(exponent, width), other.padded(exponent, width));
        if self.negative == other.negative {
            return Self::new(self.negative, &sum(&a, &b), exponent);
        }
        match a.cmp(&b) {
            Ordering::Less => Self::new(other.negative, &difference(&b, &a), exponent),
            _ => Self::new(self.negative, &difference(&a, &b), exponent),
        }
    }

    /// The power of ten just above the first digit.
    fn top(&self) -> i32 {
        self.exponent + self.digits.len() as i32
    }

    /// The digits from `10^(exponent + width - 1)` down to `10^exponent`.
    fn padded(&self, exponent: i32, width: usize) -> Vec<u8> {
        let after = (self.exponent - exponent) as usize;
        let before = width - self.digits.len() - after;
        let mut digits = vec![0; before];
        digits.extend_from_slice(&self.digits);
        digits.resize(width, 0);
        digits
    }
}

/// Sum of two numbers of as many digits.
fn sum(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = Vec::with_capacity(a.len() + 1);
    let mut carry = 0;
    for (a, b) in a.iter().zip(b).rev() {
        let total = a + b + carry;
        digits.push(total % 10);
        carry = total / 10;
    }
    digits.push(carry);
    digits.reverse();
    digits
}

/// Difference of two numbers of as many digits, the first not the smaller.
fn difference(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut digits = Vec::with_capacity(a.len());
    let mut borrow = 0;
    for (a, b) in a.iter().zip(b).rev() {
        let (take, next) = if *a < b + borrow { (a + 10, 1) } else { (*a, 0) };
        digits.push(take - b - borrow);
        borrow = next;
    }
    digits.reverse();
    digits
}

impl From<Decimal> for Exact {
    fn from(decimal: Decimal) -> Self {
        Self::from_parts(i128::from(decimal.mantissa()), i32::from(decimal.exponent()))
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits: String = self.digits.iter().map(|d| char::from(b'0' + d)).collect();
        if digits.is_empty() {
            return f.write_str("0");
        }
        if self.negative {
            f.write_str("-")?;
        }
        let point = self.top();
        if self.exponent >= 0 && point as usize <= PLAIN_DIGITS_MAX {
            return write!(f, "{digits}{}", "0".repeat(self.exponent as usize));
        }
        if self.exponent < 0 && point > 0 {
            let (whole, fraction) = digits.split_at(point as usize);
            return write!(f, "{whole}.{fraction}");
        }
        if self.exponent < 0 && point.unsigned_abs() as usize + digits.len() <= PLAIN_DIGITS_MAX {
            return write!(f, "0.{}{digits}", "0".repeat(point.unsigned_abs() as usize));
        }
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        write!(f, "{first}{dot}{rest}e{}", point - 1)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::println;

    use super::*;
    use crate::stream::Attestation;

    fn descriptor(scale: &str, offset: &str, source_type: &str) -> Descriptor {
        Descriptor {
            name: "s".into(),
            device: "d".into(),
            address: String::new(),
            source_type: source_type.into(),
            unit: String::new(),
            scale: scale.parse().unwrap(),
            offset: offset.parse().unwrap(),
            attestation: Attestation::Gateway,
        }
    }

    fn text(value: &Value, scale: &str, offset: &str) -> String {
        scaled(value, &descriptor(scale, offset, "u16")).unwrap()
    }

    #[test]
    fn integers_are_scaled_without_noise() {
        assert_eq!(text(&Value::Int(214), "0.1", "0"), "21.4");
        assert_eq!(text(&Value::Int(3), "0.1", "0"), "0.3");
        assert_eq!(text(&Value::Unsigned(1_100), "1.1", "0"), "1210");
        assert_eq!(text(&Value::Int(-5), "0.01", "0"), "-0.05");
        assert_eq!(text(&Value::Int(0), "0.1", "-40"), "-40");
        assert_eq!(text(&Value::Int(400), "0.1", "-40"), "0");
        assert_eq!(text(&Value::Int(1), "0.1", "-40"), "-39.9");
        assert_eq!(text(&Value::Int(2_731), "0.1", "-273.15"), "-0.05");
        assert_eq!(text(&Value::Int(7), "1", "0"), "7");
        assert_eq!(text(&Value::Int(7), "1000", "0.5"), "7000.5");
    }

    #[test]
    fn the_ends_of_the_ranges_are_exact() {
        assert_eq!(text(&Value::Unsigned(u64::MAX), "1", "0.1"), "18446744073709551615.1");
        assert_eq!(
            text(&Value::Unsigned(u64::MAX), "-9223372036854775807", "0"),
            "-170141183460469231704017187605319778305"
        );
        assert_eq!(text(&Value::Int(i64::MIN), "-1", "0"), "9223372036854775808");
        assert_eq!(text(&Value::Int(1), "1e30", "1e-30"), format!("1{}.{}1", "0".repeat(30), "0".repeat(29)));
        assert_eq!(text(&Value::Int(1), "1e30", "-1e-30"), format!("{}.{}", "9".repeat(30), "9".repeat(30)));
        assert_eq!(text(&Value::Unsigned(u64::MAX), "1e30", "0"), "1.8446744073709551615e49");
        assert_eq!(text(&Value::Int(12), "1e-30", "0"), "0.000000000000000000000000000012");
    }

    #[test]
    fn sums_agree_with_wide_integers() {
        for a in [-1_005_i64, -999, -10, -1, 0, 1, 9, 10, 99, 100, 12_345] {
            for b in [-12_345_i64, -100, -9, 0, 1, 5, 90, 1_005] {
                for (scale, exponent) in [("1", 0), ("0.1", -1), ("0.001", -3), ("10", 1)] {
                    // In thousandths, everything is an integer.
                    let thousandths =
                        i128::from(a) * 10_i128.pow((3 + exponent) as u32) + i128::from(b) * 1_000;
                    let expected = Exact::from_parts(thousandths, -3).to_string();
                    assert_eq!(text(&Value::Int(a), scale, &b.to_string()), expected, "{a} × {scale} + {b}");
                }
            }
        }
    }

    #[test]
    fn floats_are_read_as_the_shortest_decimal_that_names_them() {
        let wide = descriptor("0.1", "0", "f64 ABCDEFGH");
        assert_eq!(scaled(&Value::Float(21.4), &wide).unwrap(), "2.14");
        let narrow = descriptor("1", "0", "f32 ABCD");
        assert_eq!(scaled(&Value::Float(f64::from(21.4_f32)), &narrow).unwrap(), "21.4");
        assert_eq!(
            scaled(&Value::Float(f64::from(21.4_f32)), &descriptor("1", "0", "f64")).unwrap(),
            "21.399999618530273"
        );
        assert_eq!(float_words(f64::from(21.4_f32), "f32 ABCD"), "21.4");
        assert_eq!(float_words(f64::NEG_INFINITY, "f64"), "-inf");
        assert_eq!(scaled(&Value::Float(-0.0), &wide).unwrap(), "0");
        assert_eq!(scaled(&Value::Float(f64::INFINITY), &wide).unwrap(), "inf");
        assert_eq!(scaled(&Value::Float(f64::MAX), &wide).unwrap(), "1.7976931348623157e307");
        assert_eq!(scaled(&Value::Float(5e-324), &wide).unwrap(), "5e-325");
        assert_eq!(
            scaled(&Value::Float(1e20), &descriptor("1", "0", "f64")).unwrap(),
            "100000000000000000000"
        );
    }

    /// A 32-bit float arrives widened, 23.1 as 23.100000381469727; the instrument said 23.1.
    #[test]
    fn a_scaled_32_bit_float_has_the_digits_of_the_instrument() {
        let float = Value::Float(f64::from(23.1_f32));
        for (scale, offset, source_type, shown) in [
            ("1", "0", "f32 ABCD", "23.1"),
            ("0.1", "0", "f32 ABCD", "2.31"),
            ("0.1", "-40", "f32 CDAB", "-37.69"),
            ("1000", "0.5", "f32", "23100.5"),
            ("0.1", "0", "f64 ABCDEFGH", "2.3100000381469727"),
        ] {
            assert_eq!(scaled(&float, &descriptor(scale, offset, source_type)).unwrap(), shown);
        }
    }

    #[test]
    fn any_value_scale_and_offset_agree_with_floats() {
        // SplitMix64 (Steele, Lea, Flood 2014).
        let mut state = 0x5e1f_ed6e_0000_0008_u64;
        println!("seed {state:#x}");
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        for case in 0..20_000 {
            let mut decimal = || {
                let mantissa = next() as i64 >> (next() % 64);
                Decimal::new(mantissa, (next() % 41) as i32 - 30).unwrap()
            };
            let (scale, offset) = (decimal(), decimal());
            let bits = next() >> (next() % 64);
            let value = match case % 4 {
                0 => Value::Int(bits as i64),
                1 => Value::Unsigned(bits),
                2 => Value::Float(bits as f64 / 1_000.0),
                _ => Value::Float(f64::from_bits(bits >> 12 | (next() % 0x500 + 0x180) << 52)),
            };
            let described = Descriptor { scale, offset, ..descriptor("1", "0", "f64") };
            let got: f64 = scaled(&value, &described).unwrap().parse().unwrap();
            let product = value.as_f64().unwrap() * scale.to_f64();
            let tolerance = (product.abs() + offset.to_f64().abs()) * 1e-14 + f64::MIN_POSITIVE;
            let difference = (got - (product + offset.to_f64())).abs();
            assert!(difference <= tolerance, "case {case}: {value:?} × {scale:?} + {offset:?} = {got}");
        }
    }

    #[test]
    fn other_values_stay_what_they_are() {
        let plain = descriptor("1", "0", "bit");
        assert_eq!(scaled(&Value::Bool(true), &plain).unwrap(), "true");
        assert_eq!(scaled(&Value::Bool(true), &descriptor("100", "0", "bit")).unwrap(), "100");
        assert_eq!(scaled(&Value::Text("on".into()), &plain).unwrap(), "on");
        assert_eq!(scaled(&Value::Bytes(vec![1, 255]), &plain).unwrap(), "01ff");
        assert_eq!(scaled(&Value::None, &plain), None);
    }

    #[test]
    fn scale_and_offset_are_shown_as_they_show_themselves_up_to_40_digits() {
        for text in ["2.5e-3", "-40", "0", "1", "12e3", "1e30", "-9223372036854775807e-30", "1234567891e30"] {
            let decimal: Decimal = text.parse().unwrap();
            assert_eq!(decimal_text(decimal), decimal.to_string());
        }
        assert_eq!(decimal_text("2.5e-3".parse().unwrap()), "0.0025");
        assert_eq!(decimal_text("-12345678901e30".parse().unwrap()), "-1.2345678901e40");
    }

    #[test]
    fn units_are_ucum_text_with_degrees_as_people_write_them() {
        assert_eq!(unit_text("Cel"), "°C");
        assert_eq!(unit_text("L/min"), "L/min");
        assert_eq!(unit_text("m³"), "m³");
        assert_eq!(unit_text("kg (checked)"), "\"kg (checked)\"");
        assert_eq!(unit_text("kg\u{1b}[2J"), "\"kg\\u{1b}[2J\"");
    }
}
