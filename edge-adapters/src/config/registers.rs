//! What Modbus alone writes as text: registers, types of values, marks for "not available".

use super::Scalar;
use crate::mapping::{EMPTY_TEXT, Kind};
use crate::modbus::Table;

/// `holding:100`: table and address, counted from 0.
pub(super) fn register(text: &str) -> Option<(Table, u16)> {
    let (table, address) = text.split_once(':')?;
    let table = Table::ALL.into_iter().find(|known| known.name() == table)?;
    // `parse` alone would take a plus sign.
    let address = address.bytes().all(|b| b.is_ascii_digit()).then(|| address.parse().ok())??;
    Some((table, address))
}

/// `u16`, `bit(3)`, `string(16)`.
pub(super) fn kind(text: &str) -> Option<Kind> {
    let argument = |name| -> Option<u16> {
        let digits = text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    if let Some(bit) = argument("bit") {
        return (bit < 16).then_some(Kind::Bit(bit as u8));
    }
    if let Some(bytes) = argument("string") {
        return (1..=250).contains(&bytes).then_some(Kind::Text(bytes));
    }
    [Kind::Bool].into_iter().chain(Kind::NUMBERS).find(|kind| kind.to_string() == text)
}

/// The bit pattern of a mark for "not available", in the width of `kind`.
pub(super) fn bit_pattern(scalar: &Scalar, kind: Kind) -> Result<u64, String> {
    if let Kind::Text(_) = kind {
        let is_empty = matches!(scalar, Scalar::Text(text) if text.is_empty());
        return is_empty
            .then_some(EMPTY_TEXT)
            .ok_or_else(|| "only \"\", a text without a character".to_owned());
    }
    let bits =
        kind.number_bits().ok_or_else(|| format!("no such key, since {kind} has no room for a mark"))?;
    if let Scalar::Text(text) = scalar
        && let Some(digits) = text.strip_prefix("0x")
    {
        let pattern = digits
            .bytes()
            .all(|b| b.is_ascii_hexdigit())
            .then(|| u64::from_str_radix(digits, 16).ok())
            .flatten();
        let fits = |pattern: &u64| bits == 64 || *pattern >> bits == 0;
        return pattern
            .filter(fits)
            .ok_or_else(|| format!("at most {} hexadecimal digits after 0x", bits / 4));
    }
    if matches!(kind, Kind::F32 | Kind::F64) {
        let float = match scalar {
            Scalar::Integer(integer) => Some(*integer as f64),
            Scalar::Float(float) => Some(*float),
            Scalar::Text(text) => text.parse().ok(),
        };
        let float =
            float.ok_or_else(|| format!("a number, or the bits of an {kind} such as \"0x7fc00000\""))?;
        return Ok(if bits == 32 { u64::from((float as f32).to_bits()) } else { float.to_bits() });
    }
    let signed = matches!(kind, Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64);
    let (low, high) =
        if signed { (-(1_i128 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
    let integer: Option<i128> = match scalar {
        Scalar::Integer(integer) => Some((*integer).into()),
        Scalar::Float(_) => None,
        Scalar::Text(text) => text.parse().ok(),
    };
    let mask = u64::MAX >> (64 - bits);
    let integer = integer.filter(|integer| (low..=high).contains(integer));
    integer
        .map(|integer| integer as u64 & mask)
        .ok_or_else(|| format!("an integer from {low} to {high}, or its bits such as \"0x80\""))
}
