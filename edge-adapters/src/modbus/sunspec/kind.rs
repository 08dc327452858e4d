//! The types of points (SunSpec Device Information Model Specification 1.2, section 4.2).

use crate::mapping::{EMPTY_TEXT, Kind};

/// Type of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointKind {
    /// Signed, 16 bits.
    Int16,
    /// Unsigned, 16 bits.
    Uint16,
    /// How often a group comes.
    Count,
    /// A sum that only grows, 16 bits.
    Acc16,
    /// One of several states, 16 bits.
    Enum16,
    /// Flags, 16 bits.
    Bitfield16,
    /// A power of ten, for other points.
    Sunssf,
    /// Nothing; fills a register.
    Pad,
    /// Signed, 32 bits.
    Int32,
    /// Unsigned, 32 bits.
    Uint32,
    /// A sum that only grows, 32 bits.
    Acc32,
    /// One of several states, 32 bits.
    Enum32,
    /// Flags, 32 bits.
    Bitfield32,
    /// IEEE 754 single.
    Float32,
    /// An IPv4 address.
    Ipaddr,
    /// Signed, 64 bits.
    Int64,
    /// Unsigned, 64 bits.
    Uint64,
    /// A sum that only grows, 64 bits.
    Acc64,
    /// IEEE 754 double.
    Float64,
    /// A hardware address of 6 bytes, after two bytes of zero.
    Eui48,
    /// An IPv6 address.
    Ipv6addr,
    /// Text in so many registers.
    Text(u16),
}

const NAMES: [(&str, PointKind); 21] = [
    ("int16", PointKind::Int16),
    ("uint16", PointKind::Uint16),
    ("count", PointKind::Count),
    ("acc16", PointKind::Acc16),
    ("enum16", PointKind::Enum16),
    ("bitfield16", PointKind::Bitfield16),
    ("sunssf", PointKind::Sunssf),
    ("pad", PointKind::Pad),
    ("int32", PointKind::Int32),
    ("uint32", PointKind::Uint32),
    ("acc32", PointKind::Acc32),
    ("enum32", PointKind::Enum32),
    ("bitfield32", PointKind::Bitfield32),
    ("float32", PointKind::Float32),
    ("ipaddr", PointKind::Ipaddr),
    ("int64", PointKind::Int64),
    ("uint64", PointKind::Uint64),
    ("acc64", PointKind::Acc64),
    ("float64", PointKind::Float64),
    ("eui48", PointKind::Eui48),
    ("ipv6addr", PointKind::Ipv6addr),
];

impl PointKind {
    /// `uint16`, or `string:16` for a text of 16 registers.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(registers) = text.strip_prefix("string:") {
            return registers.parse().ok().map(Self::Text);
        }
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind)
    }

    /// As SunSpec calls it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, kind)| *kind == self).map_or("string", |(name, _)| name)
    }

    /// Registers that it takes.
    pub const fn registers(self) -> u16 {
        match self {
            Self::Int16
            | Self::Uint16
            | Self::Count
            | Self::Acc16
            | Self::Enum16
            | Self::Bitfield16
            | Self::Sunssf
            | Self::Pad => 1,
            Self::Int32
            | Self::Uint32
            | Self::Acc32
            | Self::Enum32
            | Self::Bitfield32
            | Self::Float32
            | Self::Ipaddr => 2,
            Self::Int64 | Self::Uint64 | Self::Acc64 | Self::Float64 | Self::Eui48 => 4,
            Self::Ipv6addr => 8,
            Self::Text(registers) => registers,
        }
    }

    /// What a stream can read it as; `None` for what no reading can hold in one value: padding, an IPv6 address, and a
    /// text that is longer than one answer.
    pub const fn stream_kind(self) -> Option<Kind> {
        Some(match self {
            Self::Int16 | Self::Sunssf => Kind::I16,
            Self::Uint16 | Self::Count | Self::Acc16 | Self::Enum16 | Self::Bitfield16 => Kind::U16,
            Self::Int32 => Kind::I32,
            Self::Uint32 | Self::Acc32 | Self::Enum32 | Self::Bitfield32 | Self::Ipaddr => Kind::U32,
            Self::Int64 => Kind::I64,
            Self::Uint64 | Self::Acc64 | Self::Eui48 => Kind::U64,
            Self::Float32 => Kind::F32,
            Self::Float64 => Kind::F64,
            Self::Text(registers @ 1..=125) => Kind::Text(registers * 2),
            Self::Text(_) | Self::Pad | Self::Ipv6addr => return None,
        })
    }

    /// Bit patterns that mean "not implemented"; with floats it is any NaN.
    pub const fn not_implemented(self) -> &'static [u64] {
        match self {
            Self::Int16 | Self::Sunssf => &[0x8000],
            Self::Uint16 | Self::Count | Self::Enum16 | Self::Bitfield16 => &[0xFFFF],
            Self::Int32 => &[0x8000_0000],
            Self::Uint32 | Self::Enum32 | Self::Bitfield32 => &[0xFFFF_FFFF],
            Self::Int64 => &[0x8000_0000_0000_0000],
            Self::Uint64 => &[0xFFFF_FFFF_FFFF_FFFF],
            // A sum of nothing: it is not kept.
            Self::Acc16 | Self::Acc32 | Self::Acc64 | Self::Ipaddr => &[0],
            Self::Eui48 => &[0x0000_FFFF_FFFF_FFFF, 0],
            Self::Text(_) => &[EMPTY_TEXT],
            Self::Float32 | Self::Float64 | Self::Pad | Self::Ipv6addr => &[],
        }
    }
}
