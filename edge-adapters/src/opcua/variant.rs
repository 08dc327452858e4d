//! A raw value as a server wants it: of the node's own type, or not at all. Pure.

use opcua::types::{DateTime, LocalizedText, UAString, Variant, VariantScalarTypeId};
use selvedge_core::reading::Value;

/// The value in this type.
///
/// # Errors
/// Why the type does not hold it, for a person.
pub(crate) fn variant(value: &Value, kind: VariantScalarTypeId) -> Result<Variant, String> {
    use VariantScalarTypeId as Kind;
    let not = || format!("{value:?} is no value of the node's type {kind:?}");
    let found = match kind {
        Kind::Boolean => boolean(value).map(Variant::Boolean),
        Kind::SByte => whole(value).and_then(|n| n.try_into().ok()).map(Variant::SByte),
        Kind::Byte => whole(value).and_then(|n| n.try_into().ok()).map(Variant::Byte),
        Kind::Int16 => whole(value).and_then(|n| n.try_into().ok()).map(Variant::Int16),
        Kind::UInt16 => whole(value).and_then(|n| n.try_into().ok()).map(Variant::UInt16),
        Kind::Int32 => whole(value).and_then(|n| n.try_into().ok()).map(Variant::Int32),
        Kind::UInt32 => whole(value).and_then(|n| n.try_into().ok()).map(Variant::UInt32),
        Kind::Int64 => whole(value).and_then(|n| n.try_into().ok()).map(Variant::Int64),
        Kind::UInt64 => whole(value).and_then(|n| n.try_into().ok()).map(Variant::UInt64),
        Kind::Float => value.as_f64().map(|n| n as f32).filter(|n| n.is_finite()).map(Variant::Float),
        Kind::Double => value.as_f64().filter(|n| n.is_finite()).map(Variant::Double),
        Kind::String => text(value).map(|text| Variant::String(UAString::from(text))),
        Kind::LocalizedText => text(value).map(|text| Variant::from(LocalizedText::from(text))),
        Kind::DateTime => {
            text(value).and_then(|text| DateTime::parse_from_rfc3339(text).ok()).map(Variant::from)
        }
        _ => None,
    };
    found.ok_or_else(not)
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(bit) => Some(*bit),
        _ => match whole(value)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}

/// Without a fraction, and of a float no more than it holds exactly.
fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(int) => Some(i128::from(*int)),
        Value::Unsigned(int) => Some(i128::from(*int)),
        Value::Float(float) => {
            (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(*float as i128)
        }
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}
