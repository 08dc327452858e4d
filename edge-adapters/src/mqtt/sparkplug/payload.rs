//! Payloads of Sparkplug B (specification 3.0.0, section 6; the Protocol Buffers schema is Eclipse Tahu's
//! `sparkplug_b.proto`): pure.
//!
//! The structs are written by hand, so that each message inside another stays bytes until somebody asks for it: a
//! decoder then goes one level deep for each call, however deep a payload is nested, and makes nothing of what
//! nobody reads. Texts are bytes too: one text that is not UTF-8 spoils its metric and not a whole birth.
//!
//! A field of two bytes can become a struct of two hundred, so parts are counted before they are made
//! ([`METRICS_MAX`], [`PROPERTIES_MAX`]).

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

/// Most metrics in one payload, or in one template; a large birth has some thousands.
pub const METRICS_MAX: usize = 16_384;
/// Most properties of one metric.
pub const PROPERTIES_MAX: usize = 64;
/// Templates within templates.
pub const TEMPLATE_DEPTH_MAX: usize = 4;

/// The `uuid` of a payload whose `body` holds another one, compressed: Tahu's way, which the specification does not have.
pub const COMPRESSED: &[u8] = b"SPBV1.0_COMPRESSED";

/// One message.
#[derive(Clone, PartialEq, Message)]
pub struct Payload {
    /// When it was made, ms since 1970 UTC.
    #[prost(uint64, optional, tag = "1")]
    pub timestamp: Option<u64>,
    /// Its metrics.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// 0 to 255, one more with each message of an edge node and its devices.
    #[prost(uint64, optional, tag = "3")]
    pub seq: Option<u64>,
    /// What the body is.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub uuid: Option<Vec<u8>>,
    /// Anything.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub body: Option<Vec<u8>>,
}

/// A named value.
#[derive(Clone, PartialEq, Message)]
pub struct Metric {
    /// Its name, UTF-8.
    #[prost(bytes = "vec", optional, tag = "1")]
    pub name: Option<Vec<u8>>,
    /// A number that stands for its name after the birth.
    #[prost(uint64, optional, tag = "2")]
    pub alias: Option<u64>,
    /// When the value was taken, ms since 1970 UTC.
    #[prost(uint64, optional, tag = "3")]
    pub timestamp: Option<u64>,
    /// Its type ([`DataType`](super::value::DataType)).
    #[prost(uint32, optional, tag = "4")]
    pub datatype: Option<u32>,
    /// Is it no value of now, but one that was kept while nobody could be told?
    #[prost(bool, optional, tag = "5")]
    pub is_historical: Option<bool>,
    /// Is it not to be kept?
    #[prost(bool, optional, tag = "6")]
    pub is_transient: Option<bool>,
    /// Is the value unknown?
    #[prost(bool, optional, tag = "7")]
    pub is_null: Option<bool>,
    /// A [`PropertySet`].
    #[prost(bytes = "vec", optional, tag = "9")]
    pub properties: Option<Vec<u8>>,
    /// A value of up to 32 bits.
    #[prost(uint32, optional, tag = "10")]
    pub int_value: Option<u32>,
    /// A value of up to 64 bits.
    #[prost(uint64, optional, tag = "11")]
    pub long_value: Option<u64>,
    /// A value.
    #[prost(float, optional, tag = "12")]
    pub float_value: Option<f32>,
    /// A value.
    #[prost(double, optional, tag = "13")]
    pub double_value: Option<f64>,
    /// A value.
    #[prost(bool, optional, tag = "14")]
    pub boolean_value: Option<bool>,
    /// A text, UTF-8.
    #[prost(bytes = "vec", optional, tag = "15")]
    pub string_value: Option<Vec<u8>>,
    /// Bytes, a file, or the elements of an array.
    #[prost(bytes = "vec", optional, tag = "16")]
    pub bytes_value: Option<Vec<u8>>,
    /// A table.
    #[prost(bytes = "vec", optional, tag = "17")]
    pub dataset_value: Option<Vec<u8>>,
    /// A [`Template`].
    #[prost(bytes = "vec", optional, tag = "18")]
    pub template_value: Option<Vec<u8>>,
}

/// A structure of metrics.
#[derive(Clone, PartialEq, Message)]
pub struct Template {
    /// Its members.
    #[prost(message, repeated, tag = "2")]
    pub metrics: Vec<Metric>,
    /// Which definition it follows.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub template_ref: Option<Vec<u8>>,
    /// Is it a definition, and no value?
    #[prost(bool, optional, tag = "5")]
    pub is_definition: Option<bool>,
}

/// Names and values beside a metric.
#[derive(Clone, PartialEq, Message)]
pub struct PropertySet {
    /// Names.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub keys: Vec<Vec<u8>>,
    /// A value for each name.
    #[prost(message, repeated, tag = "2")]
    pub values: Vec<PropertyValue>,
}

/// The value of a property, as far as it is a number or a text.
#[derive(Clone, PartialEq, Message)]
pub struct PropertyValue {
    /// Its type.
    #[prost(uint32, optional, tag = "1")]
    pub datatype: Option<u32>,
    /// Is it unknown?
    #[prost(bool, optional, tag = "2")]
    pub is_null: Option<bool>,
    /// A number.
    #[prost(uint32, optional, tag = "3")]
    pub int_value: Option<u32>,
    /// A number.
    #[prost(uint64, optional, tag = "4")]
    pub long_value: Option<u64>,
    /// A text, UTF-8.
    #[prost(bytes = "vec", optional, tag = "8")]
    pub string_value: Option<Vec<u8>>,
}

/// Why a payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not what the schema says.
    #[error("not a payload of Sparkplug B")]
    Malformed,
    /// It has more parts than are taken.
    #[error("more than {METRICS_MAX} metrics in one message")]
    TooMany,
    /// It is compressed, which the specification does not know and this program does not read.
    #[error(
        "a compressed payload, which is not part of the specification; switch compression off at the edge node"
    )]
    Compressed,
}

impl Payload {
    /// Reads a message.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let payload: Self = read(bytes, 2, METRICS_MAX)?;
        if payload.uuid.as_deref() == Some(COMPRESSED) {
            return Err(Unreadable::Compressed);
        }
        Ok(payload)
    }
}

impl Metric {
    /// Its name, where it is a text.
    pub fn called(&self) -> Option<&str> {
        std::str::from_utf8(self.name.as_deref()?).ok()
    }

    /// Its template, if it is one.
    pub fn template(&self) -> Option<Template> {
        read(self.template_value.as_deref()?, 2, METRICS_MAX).ok()
    }

    /// Its properties; `None` also for those that cannot be read.
    pub fn property_set(&self) -> Option<PropertySet> {
        let bytes = self.properties.as_deref()?;
        if count(bytes, 1)? > PROPERTIES_MAX {
            return None;
        }
        read(bytes, 2, PROPERTIES_MAX).ok()
    }
}

impl PropertySet {
    /// The value of a property.
    pub fn get(&self, key: &str) -> Option<&PropertyValue> {
        let at = self.keys.iter().position(|known| known == key.as_bytes())?;
        self.values.get(at).filter(|value| value.is_null != Some(true))
    }
}

/// Reads a message of which the field `repeated` may stand there so often.
fn read<M: Message + Default>(bytes: &[u8], repeated: u32, most: usize) -> Result<M, Unreadable> {
    if count(bytes, repeated).ok_or(Unreadable::Malformed)? > most {
        return Err(Unreadable::TooMany);
    }
    M::decode(bytes).map_err(|_| Unreadable::Malformed)
}

/// How often a field stands in a message; `None`: it is no message.
fn count(mut bytes: &[u8], field: u32) -> Option<usize> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).ok()?;
        count += usize::from(tag == field);
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?;
    }
    Some(count)
}
