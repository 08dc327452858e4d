//! A scaled value into the raw one that stands for it: the way back of [`selvedge_core::scaled::scaled`], as exact. Pure.
//!
//! A person who writes 12.34 where readings are raw × 0.1 means 123.4, and not the 123.39999999999999 that dividing floats
//! gives: a machine would be told a number that nobody said, and would never seem to hold it.

use selvedge_core::reading::Value;
use selvedge_core::stream::{Decimal, Descriptor};

/// Digits of a quotient that does not end (10 ÷ 3): twice as many as decide which float is the nearest.
const QUOTIENT_DIGITS: usize = 40;
/// A float is not more exact than this part of itself, so a raw value that is so near a whole number is that number: a
/// program that adds 0.1 and 0.2 means 0.3. Two numbers of 15 digits are never so near one another.
const FLOAT_NOISE: f64 = 4.0 * f64::EPSILON;

/// The raw value that stands for a scaled one; `None` where there is none.
pub(crate) fn unscaled(descriptor: &Descriptor, scaled: &Value) -> Option<Value> {
    let Descriptor { scale, offset, .. } = descriptor;
    if *scale == Decimal::ONE && *offset == Decimal::ZERO {
        return Some(scaled.clone());
    }
    let raw = exactly(scaled, *scale, *offset).or_else(|| roughly(scaled, *scale, *offset))?;
    Some(match (raw, scaled) {
        (Value::Float(raw), Value::Float(scaled)) => {
            let (whole, noise) = (raw.round(), FLOAT_NOISE * (scaled / scale.to_f64()).abs());
            let is_whole = (raw - whole).abs() <= noise && whole.abs() < 9.0e15;
            if is_whole { Value::Int(whole as i64) } else { Value::Float(raw) }
        }
        (raw, _) => raw,
    })
}

/// In decimal; `None` for what is no number, and for numbers so far apart that their difference has more than 38 digits.
fn exactly(scaled: &Value, scale: Decimal, offset: Decimal) -> Option<Value> {
    let (digits, exponent) = decimal(scaled)?;
    let (offset, offset_exponent) = (i128::from(offset.mantissa()), i32::from(offset.exponent()));
    // Both as multiples of one power of ten.
    let common = if offset == 0 { exponent } else { exponent.min(offset_exponent) };
    let aligned = |digits: i128, exponent: i32| match digits {
        0 => Some(0),
        _ => 10_i128.checked_pow(u32::try_from(exponent - common).ok()?)?.checked_mul(digits),
    };
    let dividend = aligned(digits, exponent)?.checked_sub(aligned(offset, offset_exponent)?)?;
    let is_negative = (dividend < 0) != (scale.mantissa() < 0);
    quotient(is_negative, dividend.unsigned_abs(), scale, common)
}

/// `dividend × 10^exponent ÷ scale`: a whole number as such, else the nearest float.
fn quotient(is_negative: bool, dividend: u128, scale: Decimal, exponent: i32) -> Option<Value> {
    let divisor = u128::from(scale.mantissa().unsigned_abs());
    let mut exponent = exponent - i32::from(scale.exponent());
    let mut digits = dividend.checked_div(divisor)?.to_string();
    let mut rest = dividend % divisor;
    while rest != 0 && digits.len() < QUOTIENT_DIGITS {
        // Less than ten times a mantissa of 63 bits.
        rest *= 10;
        digits.push(char::from(b'0' + (rest / divisor) as u8));
        rest %= divisor;
        exponent -= 1;
    }
    if rest != 0 {
        // Somewhat more than these digits, whatever follows: no tie between two floats.
        digits.push('1');
        exponent -= 1;
    }
    let significant = digits.trim_end_matches('0');
    exponent += (digits.len() - significant.len()) as i32;
    if significant.is_empty() {
        return Some(Value::Int(0));
    }
    let sign = if is_negative { "-" } else { "" };
    // With more zeros it is no number of 64 bits.
    if let Ok(zeros @ 0..=19) = usize::try_from(exponent) {
        let text = format!("{sign}{significant}{}", "0".repeat(zeros));
        if let Ok(whole) = text.parse().map(Value::Int).or_else(|_| text.parse().map(Value::Unsigned)) {
            return Some(whole);
        }
    }
    let nearest: f64 = format!("{sign}{significant}e{exponent}").parse().ok()?;
    nearest.is_finite().then_some(Value::Float(nearest))
}

/// `digits × 10^exponent`: of a float the shortest decimal that names it, which is the one that somebody wrote.
fn decimal(value: &Value) -> Option<(i128, i32)> {
    match value {
        Value::Int(integer) => Some((i128::from(*integer), 0)),
        Value::Unsigned(integer) => Some((i128::from(*integer), 0)),
        Value::Float(float) if float.is_finite() => {
            let text = format!("{float:e}");
            let (digits, exponent) = text.split_once('e')?;
            let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
            let exponent: i32 = exponent.parse().ok()?;
            Some((format!("{whole}{fraction}").parse().ok()?, exponent - fraction.len() as i32))
        }
        _ => None,
    }
}

/// By floats, where decimals would be too long: what is lost lies beyond the digits of any float.
fn roughly(scaled: &Value, scale: Decimal, offset: Decimal) -> Option<Value> {
    let raw = (number(scaled)? - offset.to_f64()) / scale.to_f64();
    raw.is_finite().then_some(Value::Float(raw))
}

/// A number as the nearest float.
pub(super) fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(integer) => Some(*integer as f64),
        Value::Unsigned(integer) => Some(*integer as f64),
        Value::Float(float) => Some(*float).filter(|float| float.is_finite()),
        _ => None,
    }
}
