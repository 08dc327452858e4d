//! Modbus TCP (Modbus Messaging on TCP/IP Implementation Guide V1.0b, Modbus Application Protocol V1.1b3).
//!
//! Modbus has no time of its own: the source time of a reading is the moment at which the answer arrived.

mod link;
pub mod plan;
mod poll;
pub mod scan;
#[cfg(any(test, feature = "server"))]
pub mod server;
pub mod sunspec;

use std::time::Duration;

use crate::adapter::{Adapter, Claim, Head, Source, StreamSpec};
use crate::mapping::{Encoding, Kind};
use plan::{Caps, Span};

/// Most registers that one answer can hold.
pub const REGISTERS_MAX: u16 = 125;
/// Most bits that one answer can hold.
pub const BITS_MAX: u16 = 2_000;

/// The four tables of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Read-write bits (function 1).
    Coil,
    /// Read-only bits (function 2).
    Discrete,
    /// Read-write registers (function 3).
    Holding,
    /// Read-only registers (function 4).
    Input,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Coil, Self::Discrete, Self::Holding, Self::Input];

    /// As the configuration writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::Discrete => "discrete",
            Self::Holding => "holding",
            Self::Input => "input",
        }
    }
    /// Does it hold bits, not registers?
    pub const fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::Discrete)
    }
}

/// A value on a device: where and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// In which table.
    pub table: Table,
    /// Its first register, or its bit, counted from 0.
    pub address: u16,
    /// How it lies there.
    pub encoding: Encoding,
}

impl Field {
    /// The place that it takes.
    pub fn span(&self) -> Span {
        let count = if self.table.is_bits() { 1 } else { self.encoding.kind.registers() };
        Span { table: self.table, start: self.address, count }
    }
}

/// A Modbus TCP device, checked ([`config::sources`](crate::config::sources)).
#[derive(Debug, Clone)]
pub struct ModbusTcp {
    pub(crate) head: Head,
    /// Host and port.
    pub(crate) address: String,
    pub(crate) unit_id: u8,
    pub(crate) poll_interval: Duration,
    /// For a connection, and for an answer.
    pub(crate) timeout: Duration,
    pub(crate) caps: Caps,
    /// In the order of `streams`.
    pub(crate) fields: Vec<Field>,
    pub(crate) streams: Vec<StreamSpec>,
}

impl Source for ModbusTcp {
    fn head(&self) -> &Head {
        &self.head
    }
    fn address(&self) -> String {
        format!("{} unit {}", self.address, self.unit_id)
    }
    fn streams(&self) -> &[StreamSpec] {
        &self.streams
    }
    fn claims(&self) -> Vec<Claim> {
        // Two tables for one unit would ask it twice as often, and many devices serve few connections.
        let resource = format!("modbus-tcp {} unit {}", self.address.to_ascii_lowercase(), self.unit_id);
        vec![Claim {
            key: "address",
            resource,
            expected: "one [[device]] table for this unit, with all its streams",
        }]
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn build(&self) -> Box<dyn Adapter> {
        Box::new(poll::Poller::new(self.clone()))
    }
}

const _: () = assert!(Kind::Text(250).registers() == REGISTERS_MAX, "the longest text fills one answer");
