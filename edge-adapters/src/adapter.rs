//! The two traits. A [`Source`] is a checked configuration: it names its streams, names what it claims, and builds
//! an [`Adapter`], as often as one is needed. An [`Adapter`] runs until it is told to stop.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use selvedge_core::border::{Origin, StreamHandle};
use selvedge_core::stream::Descriptor;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::Health;
use crate::outlet::Outlet;
use crate::status_code;

/// One stream that a source will deliver.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSpec {
    /// What its numbers mean.
    pub descriptor: Descriptor,
    /// Does each of its readings close the batch at once?
    pub urgent: bool,
    /// A good reading is left out while its scaled value is at most this far from the one delivered last.
    pub deadband: Option<f64>,
}

/// Something of which there is one, and which only one device may use: a name, a serial line, a unit of a server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The key of the configuration that claims it.
    pub key: &'static str,
    /// What is claimed: `modbus-tcp 10.0.0.7:502 unit 1`.
    pub resource: String,
}

/// A device as configured and checked.
pub trait Source: fmt::Debug + Send + Sync {
    /// Its name.
    fn device(&self) -> &str;
    /// Its protocol, as the configuration names it: `modbus-tcp`.
    fn protocol(&self) -> &'static str;
    /// Where it is: `10.0.0.7:502 unit 1`.
    fn address(&self) -> String;
    /// Its streams. The handles in [`Context::streams`] come in this order.
    fn streams(&self) -> &[StreamSpec];
    /// What it claims, besides its own name and those of its streams. Compared between all devices before any of
    /// them is started.
    fn claims(&self) -> Vec<Claim>;
    /// A new adapter, which has done nothing yet. Called at the start, and again after a failure.
    fn build(&self) -> Box<dyn Adapter>;
    /// Told once, before the first [`build`](Self::build) of a gateway that runs. Of use only to sources that are
    /// known to their server by a name, or whose messages come again.
    fn begin(&self, _start: &Start<'_>) {}
    /// The same source for a look at what it says while the gateway may be running: it must take nothing away from
    /// that one. `None`: this source itself does.
    fn rehearsal(&self) -> Option<Arc<dyn Source>> {
        None
    }
}

/// What a gateway knows at its start ([`Source::begin`]).
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Names the gateway: the same at each start, and no other gateway's.
    pub gateway: &'a str,
    /// Origins of the readings that were durable last, oldest first, of all sources.
    pub origins: &'a [Origin],
}

/// What [`Adapter::run`] returns.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// A running connection to one device.
///
/// It connects by itself, and again for ever: a device that is off is no reason to return. It returns `Ok` after
/// [`Context::stop`], and an error only for what it cannot mend; then, and when it panics, the supervisor builds
/// it anew. Dropping the future must leave nothing behind that a later adapter could trip over.
pub trait Adapter: Send {
    /// Reads until `context.stop` is cancelled.
    fn run(self: Box<Self>, context: Context) -> Running;
}

/// What an adapter is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// Cancelled when the adapter must end.
    pub stop: CancellationToken,
    /// Handles of the streams, in the order of [`Source::streams`].
    pub streams: Arc<[StreamHandle]>,
    /// Where readings go.
    pub outlet: Outlet,
    /// Where figures and states go.
    pub health: Arc<Health>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// For jitter.
    pub seed: u64,
}

/// What went wrong with a device.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}: {detail}")]
pub struct Fault {
    /// Which kind.
    pub kind: FaultKind,
    /// The particulars, for a person.
    pub detail: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: FaultKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
    /// The status code of readings that this fault makes stale or bad.
    pub const fn status(&self) -> u32 {
        match self.kind {
            FaultKind::Timeout => status_code::TIMEOUT,
            FaultKind::Unreachable => status_code::UNREACHABLE,
            FaultKind::Closed => status_code::CLOSED,
            FaultKind::Protocol => status_code::PROTOCOL,
            FaultKind::Exception(code) => code as u32,
            FaultKind::Adapter => status_code::ADAPTER,
        }
    }
}

/// Kinds of fault; each is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No answer in time.
    Timeout,
    /// No connection could be made.
    Unreachable,
    /// The connection was closed or broke.
    Closed,
    /// What came back is no answer to what was asked.
    Protocol,
    /// The device refused with this Modbus exception code.
    Exception(u8),
    /// The adapter itself failed.
    Adapter,
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Timeout => "time-out",
            Self::Unreachable => "no connection",
            Self::Closed => "connection closed",
            Self::Protocol => "protocol error",
            Self::Exception(_) => "Modbus exception",
            Self::Adapter => "the adapter failed",
        })
    }
}
