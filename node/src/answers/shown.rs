//! How moments and values stand in answers: exact in JSON, and the same again after reading it back.

use std::fmt;

use selvedge_core::reading::Value;
use selvedge_core::stream::Descriptor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A moment, ns since 1970 UTC. RFC 3339 in JSON, with as many digits as it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub i64);

impl Time {
    /// Now, by the wall clock.
    pub fn now() -> Self {
        Self(crate::engine::clock::wall_ns())
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&selvedge_proof::rfc3339(self.0))
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |_| serde::de::Error::custom(format!("{text:?} is no time of RFC 3339"));
        let time: jiff::Timestamp = text.parse().map_err(wrong)?;
        i64::try_from(time.as_nanosecond())
            .map(Self)
            .map_err(|_| serde::de::Error::custom(format!("{text} is not between the years 1677 and 2262")))
    }
}

/// A value as JSON has it, except that a number keeps all of its digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// No value: `null`.
    None,
    /// A bit.
    Bool(bool),
    /// A number of JSON, digit by digit.
    Number(String),
    /// Text; opaque bytes as hexadecimal digits; an infinite float as `inf` or `-inf`.
    Text(String),
}

impl Scalar {
    /// The value scaled with the descriptor; see [`selvedge_proof::scaled`].
    pub fn scaled(value: &Value, descriptor: &Descriptor) -> Self {
        match (value, selvedge_proof::scaled(value, descriptor)) {
            (_, None) => Self::None,
            (Value::Text(_) | Value::Bytes(_), Some(text)) => Self::Text(text),
            (_, Some(text)) if text == "true" || text == "false" => Self::Bool(text == "true"),
            (_, Some(text)) if text.ends_with("inf") => Self::Text(text),
            (_, Some(text)) => Self::Number(text),
        }
    }

    /// The raw value, as the device gave it.
    pub fn raw(value: &Value) -> Self {
        match value {
            Value::None => Self::None,
            Value::Bool(bit) => Self::Bool(*bit),
            Value::Int(int) => Self::Number(int.to_string()),
            Value::Unsigned(int) => Self::Number(int.to_string()),
            Value::Float(float) => serde_json::Number::from_f64(*float)
                .map_or_else(|| Self::Text(float.to_string()), |number| Self::Number(number.to_string())),
            Value::Text(text) => Self::Text(text.clone()),
            Value::Bytes(bytes) => Self::Text(selvedge_core::hash::hex(bytes)),
        }
    }

    /// For a table cell: nothing for no value.
    pub fn text(&self) -> &str {
        match self {
            Self::None => "",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(text) | Self::Text(text) => text,
        }
    }

    /// For people: text in quotes, with everything escaped that is no visible character.
    pub fn words(&self) -> String {
        match self {
            Self::None => "no value".into(),
            Self::Text(text) if text == "inf" || text == "-inf" => text.clone(),
            Self::Text(text) => format!("{text:?}"),
            other => other.text().to_owned(),
        }
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::None => serializer.serialize_none(),
            Self::Bool(bit) => serializer.serialize_bool(*bit),
            Self::Number(text) => {
                let raw = RawValue::from_string(text.clone()).map_err(serde::ser::Error::custom)?;
                raw.serialize(serializer)
            }
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'n') => Ok(Self::None),
            Some(b't' | b'f') => Ok(Self::Bool(text == "true")),
            Some(b'"') => serde_json::from_str(text).map(Self::Text).map_err(serde::de::Error::custom),
            Some(b'-' | b'0'..=b'9') => Ok(Self::Number(text.to_owned())),
            _ => Err(serde::de::Error::custom("a list or an object, expected a value")),
        }
    }
}

#[cfg(test)]
mod tests {
    use selvedge_core::stream::Attestation;

    use super::*;

    fn descriptor(scale: &str) -> Descriptor {
        Descriptor {
            name: "s".into(),
            device: "d".into(),
            address: String::new(),
            source_type: "u64".into(),
            unit: String::new(),
            scale: scale.parse().unwrap(),
            offset: "0".parse().unwrap(),
            attestation: Attestation::Gateway,
        }
    }

    #[test]
    fn numbers_keep_every_digit_through_json() {
        let exact = Scalar::scaled(&Value::Unsigned(u64::MAX), &descriptor("0.1"));
        let json = serde_json::to_string(&exact).unwrap();
        assert_eq!(json, "1844674407370955161.5");
        assert_eq!(serde_json::from_str::<Scalar>(&json).unwrap(), exact);
    }

    #[test]
    fn every_kind_of_value_comes_back_from_json() {
        let values = [
            (Value::None, "null"),
            (Value::Bool(true), "true"),
            (Value::Int(-7), "-7"),
            (Value::Float(0.1), "0.1"),
            (Value::Float(f64::NEG_INFINITY), "\"-inf\""),
            (Value::Text("a\"\u{1b}".into()), "\"a\\\"\\u001b\""),
            (Value::Bytes(vec![1, 0xff]), "\"01ff\""),
        ];
        for (value, json) in values {
            for scalar in [Scalar::raw(&value), Scalar::scaled(&value, &descriptor("1"))] {
                assert_eq!(serde_json::to_string(&scalar).unwrap(), json);
                assert_eq!(serde_json::from_str::<Scalar>(json).unwrap(), scalar, "{json}");
            }
        }
        assert!(serde_json::from_str::<Scalar>("[1]").is_err());
    }

    #[test]
    fn extreme_floats_are_numbers_of_json() {
        for float in [f64::MAX, f64::MIN_POSITIVE, 5e-324, -0.0, 1e21] {
            let text = serde_json::to_string(&Scalar::raw(&Value::Float(float))).unwrap();
            assert_eq!(serde_json::from_str::<f64>(&text).unwrap().to_bits(), float.to_bits(), "{text}");
            let scaled =
                serde_json::to_string(&Scalar::scaled(&Value::Float(float), &descriptor("1"))).unwrap();
            assert!(serde_json::from_str::<f64>(&scaled).is_ok(), "{scaled}");
        }
    }

    #[test]
    fn times_come_back_from_json_to_the_nanosecond() {
        for ns in [0, 1, -1, 1_777_636_800_250_000_000, i64::MIN, i64::MAX] {
            let json = serde_json::to_string(&Time(ns)).unwrap();
            assert_eq!(serde_json::from_str::<Time>(&json).unwrap(), Time(ns), "{json}");
        }
        assert!(serde_json::from_str::<Time>("\"9999-01-01T00:00:00Z\"").is_err());
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }
}
