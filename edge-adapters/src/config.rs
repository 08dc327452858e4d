//! `[[device]]` tables and their `[[device.stream]]` entries.
//!
//! These types hold what is written, so that a parser can point at the line of an unknown or ill-typed key. What
//! the values mean is checked by [`sources`], whose errors name device, stream and key, and carry the
//! [`Place`] from which the line can be found.

mod check;
#[cfg(feature = "mqtt")]
mod check_mqtt;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

#[cfg(test)]
pub(crate) use check::modbus_tcp;
#[cfg(all(test, feature = "mqtt"))]
pub(crate) use check::mqtt;
pub use check::sources;
pub use text::duration;
#[cfg(test)]
pub(crate) use text::{bit_pattern, kind};

/// A device, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// Its name, unique on the gateway.
    pub name: String,
    /// How it is spoken to: `modbus-tcp`, `mqtt`. Which further keys there are depends on it.
    pub protocol: String,
    /// Where it is: `10.0.0.7:502`, `plc.example:502`, `[fd00::7]:502`.
    pub address: String,
    /// Modbus: which unit behind that address, 0 to 255; 1 if not given.
    #[serde(default)]
    pub unit_id: Option<i64>,
    /// Modbus: how often it is read: `1s`, `200ms`; one second if not given.
    #[serde(default)]
    pub poll_interval: Option<String>,
    /// How long an answer, or a connection, may take; one second if not given, with MQTT five.
    #[serde(default)]
    pub timeout: Option<String>,
    /// Modbus: most registers in a request, 1 to 125; 125 if not given.
    #[serde(default)]
    pub max_registers: Option<i64>,
    /// Modbus: most coils or discrete inputs in a request, 1 to 2000; 2000 if not given.
    #[serde(default)]
    pub max_bits: Option<i64>,
    /// Modbus: registers (or bits) that nobody asked for are read along if that saves a request, up to this many in a row;
    /// 0 if not given, since some devices refuse or do something when such a register is read.
    #[serde(default)]
    pub max_gap: Option<i64>,
    /// MQTT: the name under which the broker keeps what comes while nobody listens; made of gateway and device if not
    /// given. Another name is another session.
    #[serde(default)]
    pub client_id: Option<String>,
    /// MQTT: quality of service, 0, 1 or 2; 1 if not given.
    #[serde(default)]
    pub qos: Option<i64>,
    /// MQTT: after this long without a word the other side is asked whether it is there; 30 seconds if not given.
    #[serde(default)]
    pub keep_alive: Option<String>,
    /// MQTT: longest packet that is taken; 1,048,576 bytes if not given.
    #[serde(default)]
    pub max_packet_bytes: Option<i64>,
    /// Its streams.
    #[serde(default, rename = "stream")]
    pub streams: Vec<StreamConfig>,
}

/// A stream, as written.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    /// Its name, unique on the gateway: `filler/tank/level`.
    pub name: String,
    /// Modbus: where on the device: `holding:100`, `input:0`, `coil:7`, `discrete:3`. Addresses count from 0, as they travel:
    /// the register that a manual calls 40101 is `holding:100`.
    #[serde(default)]
    pub register: String,
    /// MQTT: which topic: `plant/line1/filler/state`, a filter with `+` and `#`, or with `{name}` levels whose values
    /// stand in `each`; then `name` holds `{name}` too, and each combination is a stream.
    #[serde(default)]
    pub topic: Option<String>,
    /// MQTT: what each `{name}` of the topic may be.
    #[serde(default)]
    pub each: BTreeMap<String, Vec<String>>,
    /// MQTT: where in the message, which is JSON then, the value stands (RFC 6901): `/temperature/value`. The whole
    /// message is the value, as text, if not given.
    #[serde(default)]
    pub pointer: Option<String>,
    /// MQTT: where in the message the time of the value stands: RFC 3339, or milliseconds since 1970. The time of receipt
    /// if not given.
    #[serde(default)]
    pub time: Option<String>,
    /// What lies there. MQTT: `bool`, `i64`, `u64`, `f64`, `string`. Modbus: `bool`, `bit(0)` to `bit(15)`, `i8` to `i64`, `u8` to `u64`, `f32`, `f64`, `string(1)` to
    /// `string(250)`. May be left out for coils and discrete inputs, which are `bool`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Modbus: in which order its bytes arrive, `A` the most significant: `ABCD`, `CDAB`, `BADC`, `DCBA` for 4 bytes, and
    /// so on; most significant first if not given.
    #[serde(default)]
    pub order: Option<String>,
    /// Scaled value = raw × scale + offset; a number or, for more digits than a float has, a text. 1 if not given.
    #[serde(default)]
    pub scale: Option<Scalar>,
    /// See `scale`; 0 if not given.
    #[serde(default)]
    pub offset: Option<Scalar>,
    /// Unit of the scaled value as UCUM text: `Cel`, `L/min`, `%`; none if not given.
    #[serde(default)]
    pub unit: Option<String>,
    /// Raw values that mean "not available": numbers, or bit patterns such as `"0x8000"`. A NaN always does.
    #[serde(default)]
    pub not_available: Vec<Scalar>,
    /// Does each reading close the batch at once?
    #[serde(default)]
    pub urgent: bool,
    /// Leave readings out while the scaled value is at most this far from the one delivered last.
    #[serde(default)]
    pub deadband: Option<Scalar>,
}

/// A number or text, as written.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => write!(f, "{integer}"),
            // With the exponent where there would be dozens of zeros.
            Self::Float(float) => write!(f, "{float:?}"),
            Self::Text(text) => write!(f, "{text:?}"),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or a number as text")
            }
            fn visit_i64<E: de::Error>(self, integer: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(integer))
            }
            fn visit_u64<E: de::Error>(self, integer: u64) -> Result<Scalar, E> {
                Ok(i64::try_from(integer).map_or_else(|_| Scalar::Text(integer.to_string()), Scalar::Integer))
            }
            fn visit_f64<E: de::Error>(self, float: f64) -> Result<Scalar, E> {
                Ok(Scalar::Float(float))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Where in the configuration: `device[1].stream[0].register`, counted from 0 as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which `[[device]]`.
    pub device: usize,
    /// Which `[[device.stream]]` of it.
    pub stream: Option<usize>,
    /// Which key.
    pub key: &'static str,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}, key `{}`: found {found}, expected {expected}", .name, .place.key)]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// Device and stream by name.
    pub name: String,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub expected: String,
}
