//! The status code that a reading carries beside its quality.
//!
//! A Modbus exception keeps its own number, 1 to 255. An OPC-UA server's status code is kept as it is; whatever it
//! says stands in its upper half (OPC 10000-4, 7.39). What the gateway itself found out has the high bit set and
//! nothing else in that half, so that nobody takes it for a word of the device.

/// Nothing to add.
pub const NONE: u32 = 0;
/// The device did not answer within the time-out.
pub const TIMEOUT: u32 = 0x8000_0001;
/// The connection was closed or broke.
pub const CLOSED: u32 = 0x8000_0002;
/// What came back is not an answer to what was asked.
pub const PROTOCOL: u32 = 0x8000_0003;
/// No connection could be made.
pub const UNREACHABLE: u32 = 0x8000_0004;
/// The adapter itself failed and is being started again.
pub const ADAPTER: u32 = 0x8000_0005;
/// A text that is not UTF-8; the value holds its bytes.
pub const NOT_TEXT: u32 = 0x8000_0010;
/// A float that is infinite.
pub const INFINITE: u32 = 0x8000_0011;

/// A message that does not hold what the configuration says it holds.
pub const UNDECODABLE: u32 = 0x8000_0012;
/// A message that the broker had kept (MQTT's retain): nobody knows how old the value is.
pub const RETAINED: u32 = 0x8000_0013;
/// The message names no time that can be read; the source time is the time of receipt.
pub const NO_TIME: u32 = 0x8000_0014;
/// A source time that cannot be: before 1990, or well ahead of the gateway's clock. The time is kept as it came.
pub const ODD_TIME: u32 = 0x8000_0015;
/// The gateway does not ask the device any more, or is about to ask it in another way: its configuration changed.
pub const STOPPED: u32 = 0x8000_0006;
/// A write that was not sent: the gateway is not armed.
pub const NOT_ARMED: u32 = 0x8000_0020;
/// A write that was not sent: the stream's `write` table does not allow it, or it could not be recorded.
pub const NOT_ALLOWED: u32 = 0x8000_0021;
/// A write of which nobody knows whether the device holds it.
pub const NOT_CONFIRMED: u32 = 0x8000_0022;

/// OPC-UA: the node holds an array, and the configuration names no element.
pub const ARRAY: u32 = 0x8000_0030;
/// OPC-UA: the node does not hold the element that the configuration names.
pub const NO_ELEMENT: u32 = 0x8000_0031;
/// OPC-UA: a structure; the value holds its bytes.
pub const STRUCTURE: u32 = 0x8000_0032;
/// OPC-UA: the server has no namespace of the name that the node is configured with.
pub const NO_NAMESPACE: u32 = 0x8000_0034;
/// A text or bytes that are longer than a reading holds.
pub const TOO_LONG: u32 = 0x8000_0033;
/// Bytes as they travel; what they hold is not decoded here.
pub const ENCODED: u32 = 0x8000_0041;
/// The metric has another type than the configuration says.
pub const OTHER_TYPE: u32 = 0x8000_0042;
/// The source itself says that the value is bad.
pub const SOURCE_BAD: u32 = 0x8000_0043;
/// The source itself says that the value is uncertain.
pub const SOURCE_UNCERTAIN: u32 = 0x8000_0044;
/// The source itself says that the value is stale.
pub const SOURCE_STALE: u32 = 0x8000_0045;
/// The edge node died.
pub const NODE_DEAD: u32 = 0x8000_0046;
/// The device behind the edge node died.
pub const DEVICE_DEAD: u32 = 0x8000_0047;
/// A message of the edge node is missing; it must be born anew.
pub const MISSED: u32 = 0x8000_0048;
/// The edge node was born anew without this device or metric.
pub const NOT_IN_BIRTH: u32 = 0x8000_0049;

/// In words, for people; empty for [`NONE`].
pub fn words(status: u32) -> String {
    let text = match status {
        NONE => "",
        TIMEOUT => "no answer within the time-out",
        CLOSED => "the connection was closed",
        PROTOCOL => "the answer does not fit the request",
        UNREACHABLE => "no connection",
        ADAPTER => "the adapter failed",
        NOT_TEXT => "not valid UTF-8",
        INFINITE => "an infinite number",
        UNDECODABLE => "the message does not hold what the configuration says",
        RETAINED => "kept by the broker; its age is unknown",
        NO_TIME => "no source time that can be read; the time of receipt stands in its place",
        ODD_TIME => "a source time before 1990, or ahead of the gateway's clock",
        STOPPED => "the gateway does not ask any more, or in another way: its configuration changed",
        NOT_ARMED => "not written: the gateway is not armed",
        NOT_ALLOWED => "not written: not allowed",
        NOT_CONFIRMED => "written, but not read back",
        ARRAY => "an array; `index` names no element of it",
        NO_ELEMENT => "the node does not hold the element that `index` names",
        STRUCTURE => "a structure; the value holds its bytes",
        NO_NAMESPACE => "the server has no namespace of this name",
        TOO_LONG => "longer than a reading holds",
        ENCODED => "bytes as they travel, not decoded",
        OTHER_TYPE => "another type than the configuration says",
        SOURCE_BAD => "the source says that it is bad",
        SOURCE_UNCERTAIN => "the source says that it is uncertain",
        SOURCE_STALE => "the source says that it is stale",
        NODE_DEAD => "the edge node died",
        DEVICE_DEAD => "the device behind the edge node died",
        MISSED => "a message of the edge node is missing",
        NOT_IN_BIRTH => "the edge node was born anew without it",
        0x01 => "Modbus exception 1: illegal function",
        0x02 => "Modbus exception 2: illegal data address",
        0x03 => "Modbus exception 3: illegal data value",
        0x04 => "Modbus exception 4: device failure",
        0x05 => "Modbus exception 5: acknowledge",
        0x06 => "Modbus exception 6: device busy",
        0x08 => "Modbus exception 8: memory parity error",
        0x0A => "Modbus exception 10: gateway path unavailable",
        0x0B => "Modbus exception 11: the device behind the gateway did not answer",
        0x07 | 0x09 | 0x0C..=0xFF => return format!("Modbus exception {status}"),
        _ => return foreign(status),
    };
    text.to_owned()
}

#[cfg(feature = "opcua")]
fn foreign(status: u32) -> String {
    crate::opcua::status_words(status)
}

#[cfg(not(feature = "opcua"))]
fn foreign(status: u32) -> String {
    format!("status {status:#010x}")
}
