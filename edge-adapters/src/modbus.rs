//! Modbus (Modbus Application Protocol V1.1b3), over TCP (Modbus Messaging on TCP/IP Implementation Guide V1.0b), RTU on
//! a serial line (Modbus over Serial Line V1.02), RTU over TCP, and TLS (MODBUS/TCP Security).
//!
//! Modbus has no time of its own: the source time of a reading is the moment at which the answer arrived.
//!
//! # Layout
//!
//! | file | what is in it |
//! |---|---|
//! | `plan.rs` | pure: which requests read which fields |
//! | `ask.rs` | pure: questions, and whether an answer fits |
//! | `encode.rs` | pure: a value into registers |
//! | `turns.rs` | pure: whose turn it is on a line with dead units |
//! | `timing.rs` | pure: characters and silences on a serial line |
//! | `line.rs` | one connection or serial port, shared by units that take turns; late answers |
//! | `port.rs`, `transport.rs`, `serial.rs`, `tls.rs` | byte streams, and how each kind is opened |
//! | `poll.rs`, `write.rs` | polling one unit, writing to it |
//! | `scan.rs`, `sunspec.rs` | what is there: units, readable registers, SunSpec models |
//! | `server.rs` | a server over a bank of registers (feature `server`) |

mod ask;
pub mod encode;
mod line;
pub mod plan;
mod poll;
mod port;
pub mod scan;
#[cfg(feature = "modbus-serial")]
mod serial;
#[cfg(any(test, feature = "server"))]
pub mod server;
pub mod sunspec;
pub mod timing;
#[cfg(feature = "modbus-tls")]
mod tls;
pub mod transport;
mod turns;
mod write;

use std::time::Duration;

use crate::adapter::{Adapter, Claim, Head, Source, StreamSpec};
use crate::mapping::{Encoding, Kind};
use plan::{Caps, Span};
use transport::Transport;

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
    /// How often it is read.
    pub poll_interval: Duration,
    /// Is it written by the functions for many (15, 16) even where those for one (5, 6) would do? Some devices know only
    /// them.
    pub write_as_many: bool,
}

impl Field {
    /// The place that it takes.
    pub fn span(&self) -> Span {
        let count = if self.table.is_bits() { 1 } else { self.encoding.kind.registers() };
        Span { table: self.table, start: self.address, count }
    }
}

/// A Modbus device, checked ([`config::sources`](crate::config::sources)).
#[derive(Debug, Clone)]
pub struct Modbus {
    pub(crate) head: Head,
    pub(crate) transport: Transport,
    pub(crate) unit_id: u8,
    /// For a connection, and for an answer.
    pub(crate) timeout: Duration,
    pub(crate) caps: Caps,
    /// In the order of `streams`.
    pub(crate) fields: Vec<Field>,
    pub(crate) streams: Vec<StreamSpec>,
}

impl Source for Modbus {
    fn head(&self) -> &Head {
        &self.head
    }
    fn address(&self) -> String {
        self.transport.place(self.unit_id)
    }
    fn streams(&self) -> &[StreamSpec] {
        &self.streams
    }
    #[cfg(feature = "modbus-tls")]
    fn begin(&self, _start: &crate::adapter::Start<'_>) {
        if let Transport::Tls { tls, .. } = &self.transport
            && let Some(exposed) = tls.exposed()
        {
            tracing::warn!(device = self.head.device, "{exposed}");
        }
    }
    fn claims(&self) -> Vec<Claim> {
        let line = self.transport.line();
        let unit = Claim {
            key: "unit_id",
            resource: format!("{line} unit {}", self.unit_id),
            terms: None,
            kin: None,
            // Two tables would ask it twice as often.
            expected: "one [[device]] table for this unit, with all its streams",
        };
        let terms = Some(self.transport.terms());
        vec![
            unit,
            Claim {
                key: "address",
                resource: line,
                terms,
                kin: None,
                expected: "the same for all units of a line",
            },
        ]
    }
    /// A serial port is there once; connections over a network are not shared with what went before.
    fn line(&self) -> Option<String> {
        (self.transport.protocol() == "modbus-rtu").then(|| self.transport.line())
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn build(&self) -> Box<dyn Adapter> {
        Box::new(poll::Poller::new(self.clone()))
    }
}

const _: () = assert!(Kind::Text(250).registers() == REGISTERS_MAX, "the longest text fills one answer");
