//! Metrics to values, and values to metrics: pure.
//!
//! | the metric | value | quality | status |
//! |---|---|---|---|
//! | a number, a bit, a text of its type | as sent | good | 0 |
//! | `is_null`, a NaN | none | not-available | 0 |
//! | an infinite number | the infinity | uncertain | [`INFINITE`](status_code::INFINITE) |
//! | a text that is not UTF-8 | its bytes | uncertain | [`NOT_TEXT`](status_code::NOT_TEXT) |
//! | `Bytes`, `File` | its bytes | good | 0 |
//! | `DataSet`, `Template`, an array | its bytes, as they travel | uncertain | [`ENCODED`](status_code::ENCODED) |
//! | a text or bytes of more than 4,096 bytes | none | bad | [`TOO_LONG`](status_code::TOO_LONG) |
//! | another field than its type says, or a number that its type cannot hold | none | bad | [`UNDECODABLE`](status_code::UNDECODABLE) |
//!
//! Its property `Quality` (section 6.4.10) comes on top: 192 to 255 is good, 500 is stale, 64 to 127 uncertain (as in
//! OPC, where the numbers come from), any other bad. It stands there only while the value is not good.
//!
//! **Signed numbers.** An `Int16` of −7 travels as 4,294,967,289 from the clients of Tahu, which extend the sign to 32
//! bits, and as 65,529 from others; both are −7. An `Int8` likewise. `UInt32` stands in the field of 32 bits or, from
//! version 2.2 on, in that of 64.

use std::fmt;

use selvedge_core::limits::READING_TEXT_BYTES_MAX;
use selvedge_core::reading::{Quality, Value};

use super::payload::{Metric, PropertySet, PropertyValue};
use crate::mapping::Decoded;
use crate::status_code;

/// Types of a metric (section 6.4.16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[expect(missing_docs, reason = "the specification's names")]
pub enum DataType {
    Int8 = 1,
    Int16 = 2,
    Int32 = 3,
    Int64 = 4,
    UInt8 = 5,
    UInt16 = 6,
    UInt32 = 7,
    UInt64 = 8,
    Float = 9,
    Double = 10,
    Boolean = 11,
    String = 12,
    DateTime = 13,
    Text = 14,
    Uuid = 15,
    DataSet = 16,
    Bytes = 17,
    File = 18,
    Template = 19,
    Int8Array = 22,
    Int16Array = 23,
    Int32Array = 24,
    Int64Array = 25,
    UInt8Array = 26,
    UInt16Array = 27,
    UInt32Array = 28,
    UInt64Array = 29,
    FloatArray = 30,
    DoubleArray = 31,
    BooleanArray = 32,
    StringArray = 33,
    DateTimeArray = 34,
}

impl DataType {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
        Self::Float,
        Self::Double,
        Self::Boolean,
        Self::String,
        Self::DateTime,
        Self::Text,
        Self::Uuid,
        Self::DataSet,
        Self::Bytes,
        Self::File,
        Self::Template,
        Self::Int8Array,
        Self::Int16Array,
        Self::Int32Array,
        Self::Int64Array,
        Self::UInt8Array,
        Self::UInt16Array,
        Self::UInt32Array,
        Self::UInt64Array,
        Self::FloatArray,
        Self::DoubleArray,
        Self::BooleanArray,
        Self::StringArray,
        Self::DateTimeArray,
    ];

    /// The type with this number.
    pub fn of(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u32 == number)
    }
    /// The type with this name, in any case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_string().eq_ignore_ascii_case(name))
    }
    /// Does a reading hold its values, and not just the bytes that travel?
    pub const fn is_plain(self) -> bool {
        !self.is_array() && !matches!(self, Self::DataSet | Self::Template)
    }
    const fn is_array(self) -> bool {
        self as u32 >= Self::Int8Array as u32
    }
    /// Least and greatest of a type of whole numbers.
    const fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Int8 => (i8::MIN as i128, i8::MAX as i128),
            Self::Int16 => (i16::MIN as i128, i16::MAX as i128),
            Self::Int32 => (i32::MIN as i128, i32::MAX as i128),
            Self::Int64 => (i64::MIN as i128, i64::MAX as i128),
            Self::UInt8 => (0, u8::MAX as i128),
            Self::UInt16 => (0, u16::MAX as i128),
            Self::UInt32 => (0, u32::MAX as i128),
            Self::UInt64 | Self::DateTime => (0, u64::MAX as i128),
            _ => return None,
        })
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid => f.write_str("UUID"),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// What a metric of this type says; its property `Quality` counts.
pub fn decode(metric: &Metric, kind: DataType) -> Decoded {
    let decoded = if metric.is_null == Some(true) {
        Decoded::not_available()
    } else {
        plain(metric, kind).unwrap_or(Decoded::bad(status_code::UNDECODABLE))
    };
    match metric.property_set().as_ref().and_then(quality) {
        Some(worse) => worsened(decoded, worse),
        None => decoded,
    }
}

/// Its source time in ns since 1970 UTC: that of the metric, else that of the payload; `None`: it names none that can be
/// read.
pub fn source_time_ns(metric: &Metric, payload: Option<u64>) -> Option<i64> {
    let ms = metric.timestamp.or(payload).filter(|ms| *ms > 0)?;
    i64::try_from(ms).ok()?.checked_mul(1_000_000)
}

/// The unit that a birth names for a metric, as people write it.
pub fn unit(metric: &Metric) -> Option<String> {
    let properties = metric.property_set()?;
    let text = properties.get("engUnit").or_else(|| properties.get("EngUnit"))?.string_value.clone()?;
    String::from_utf8(text).ok().filter(|unit| !unit.is_empty())
}

fn plain(metric: &Metric, kind: DataType) -> Option<Decoded> {
    if let Some(range) = kind.range() {
        return whole(metric, kind, range).map(Decoded::good);
    }
    Some(match kind {
        DataType::Float | DataType::Double => {
            float(metric.double_value.or(metric.float_value.map(f64::from))?)
        }
        DataType::Boolean => {
            let bit = match (metric.boolean_value, metric.int_value) {
                (Some(bit), _) => bit,
                (None, Some(bit @ 0..=1)) => bit == 1,
                _ => return None,
            };
            Decoded::good(Value::Bool(bit))
        }
        DataType::String | DataType::Text | DataType::Uuid => text(metric.string_value.as_ref()?),
        DataType::Bytes | DataType::File => bytes(metric.bytes_value.as_ref()?),
        DataType::DataSet => encoded(metric.dataset_value.as_ref()?),
        DataType::Template => encoded(metric.template_value.as_ref()?),
        _ if kind.is_array() => encoded(metric.bytes_value.as_ref()?),
        _ => return None,
    })
}

fn whole(metric: &Metric, kind: DataType, (least, greatest): (i128, i128)) -> Option<Value> {
    let is_signed = least < 0;
    let number = match (metric.int_value, metric.long_value) {
        // What was extended to 32 bits reads as such; what was not reads as the bits of its own width.
        (Some(int), _) if is_signed => {
            let extended = i128::from(int as i32);
            if kind == DataType::Int64 || (least..=greatest).contains(&extended) {
                extended
            } else {
                signed(int.into(), greatest)?
            }
        }
        (Some(int), _) => int.into(),
        (None, Some(long)) if is_signed => {
            let extended = i128::from(long as i64);
            if (least..=greatest).contains(&extended) { extended } else { signed(long, greatest)? }
        }
        (None, Some(long)) => long.into(),
        (None, None) => return None,
    };
    if !(least..=greatest).contains(&number) {
        return None;
    }
    if is_signed {
        i64::try_from(number).ok().map(Value::Int)
    } else {
        u64::try_from(number).ok().map(Value::Unsigned)
    }
}

/// Bits of a signed number of which `greatest` is the greatest, and nothing above them.
fn signed(bits: u64, greatest: i128) -> Option<i128> {
    let (bits, all) = (i128::from(bits), 2 * (greatest + 1));
    (bits < all).then(|| if bits > greatest { bits - all } else { bits })
}

fn float(number: f64) -> Decoded {
    if number.is_nan() {
        return Decoded::not_available();
    }
    if number.is_infinite() {
        return uncertain(Value::Float(number), status_code::INFINITE);
    }
    Decoded::good(Value::Float(number))
}

fn text(text: &[u8]) -> Decoded {
    if text.len() > READING_TEXT_BYTES_MAX {
        return Decoded::bad(status_code::TOO_LONG);
    }
    match std::str::from_utf8(text) {
        Ok(text) => Decoded::good(Value::Text(text.to_owned())),
        Err(_) => uncertain(Value::Bytes(text.to_vec()), status_code::NOT_TEXT),
    }
}

fn bytes(bytes: &[u8]) -> Decoded {
    if bytes.len() > READING_TEXT_BYTES_MAX {
        return Decoded::bad(status_code::TOO_LONG);
    }
    Decoded::good(Value::Bytes(bytes.to_vec()))
}

/// Nothing here says what they hold.
fn encoded(encoded: &[u8]) -> Decoded {
    let decoded = bytes(encoded);
    if decoded.quality == Quality::Good { uncertain(decoded.value, status_code::ENCODED) } else { decoded }
}

const fn uncertain(value: Value, status: u32) -> Decoded {
    Decoded { value, quality: Quality::Uncertain, status }
}

/// What the property `Quality` says, where that is not "good".
fn quality(properties: &PropertySet) -> Option<(Quality, u32)> {
    let PropertyValue { int_value, long_value, .. } = properties.get("Quality")?;
    match int_value.map(u64::from).or(*long_value)? {
        192..=255 => None,
        500 => Some((Quality::Stale, status_code::SOURCE_STALE)),
        64..=127 => Some((Quality::Uncertain, status_code::SOURCE_UNCERTAIN)),
        _ => Some((Quality::Bad, status_code::SOURCE_BAD)),
    }
}

/// The value as it is, with the worse of two qualities.
fn worsened(decoded: Decoded, (quality, status): (Quality, u32)) -> Decoded {
    let is_valued = decoded.value != Value::None;
    match (decoded.quality, quality) {
        (Quality::Good, _) | (Quality::Uncertain, Quality::Bad | Quality::Stale) if is_valued => {
            Decoded { quality, status, ..decoded }
        }
        // No value, and the source says that something is wrong rather than that there is none.
        (Quality::NotAvailable, Quality::Bad) => Decoded::bad(status),
        _ => decoded,
    }
}

/// A command that writes `value` to a metric of this type; `Err`: the type cannot hold it.
pub fn encode(value: &Value, kind: DataType) -> Result<Metric, String> {
    let mut metric = Metric { datatype: Some(kind as u32), ..Metric::default() };
    let cannot = || format!("{value:?} is no {kind}");
    let number = match value {
        Value::Int(int) => Some(i128::from(*int)),
        Value::Unsigned(int) => Some(i128::from(*int)),
        Value::Bool(bit) => Some(i128::from(*bit)),
        Value::Float(float) if float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0 => {
            Some(i128::from(*float as i64))
        }
        _ => None,
    };
    match (kind, value) {
        (DataType::Boolean, _) => {
            metric.boolean_value = Some(match number {
                Some(0) => false,
                Some(1) => true,
                _ => return Err(cannot()),
            });
        }
        (DataType::Float, _) => {
            let float = value.as_f64().ok_or_else(cannot)? as f32;
            if !float.is_finite() {
                return Err(cannot());
            }
            metric.float_value = Some(float);
        }
        (DataType::Double, _) => metric.double_value = Some(value.as_f64().ok_or_else(cannot)?),
        (DataType::String | DataType::Text | DataType::Uuid, Value::Text(text)) => {
            metric.string_value = Some(text.clone().into_bytes());
        }
        (DataType::Bytes | DataType::File, Value::Bytes(bytes)) => metric.bytes_value = Some(bytes.clone()),
        _ => {
            let (least, greatest) = kind.range().ok_or_else(cannot)?;
            let number = number.filter(|number| (least..=greatest).contains(number)).ok_or_else(cannot)?;
            // Fields as the schema says; both forms of a negative number are read everywhere, this one is Tahu's.
            match kind {
                DataType::Int64 => metric.long_value = Some(number as i64 as u64),
                // UInt32 in the field of 64 bits: that of 32 is read as a signed number by clients of version 2.2.
                DataType::UInt64 | DataType::DateTime | DataType::UInt32 => {
                    metric.long_value = Some(number as u64);
                }
                _ => metric.int_value = Some(number as i32 as u32),
            }
        }
    }
    Ok(metric)
}
