//! The two traits. A [`Source`] is a checked configuration: it names its streams, names what it claims, and builds
//! an [`Adapter`], as often as one is needed. An [`Adapter`] runs until it is told to stop.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::{Origin, StreamHandle};
use selvedge_core::reading::Value;
use selvedge_core::stream::{Decimal, Descriptor};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::Health;
use crate::outlet::Outlet;
use crate::status_code;
use crate::write::Writes;

/// One stream that a source will deliver.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSpec {
    /// What its numbers mean.
    pub descriptor: Descriptor,
    /// Does each of its readings close the batch at once?
    pub urgent: bool,
    /// Which of its readings are left out.
    pub report: Report,
    /// What may be written to it; `None`: nothing, ever.
    pub write: Option<Bounds>,
    /// What its values are called; `None`: they are numbers.
    pub words: Option<Words>,
}

/// Words for values: `0` is `stopped`, `1` is `running`. Readings hold the number; this is for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(BTreeMap<i128, String>);

impl Words {
    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// From now on `value` is called `word`.
    pub fn insert(&mut self, value: i128, word: &str) {
        self.0.insert(value, word.to_owned());
    }
    /// The word for a raw value, if there is one.
    pub fn word(&self, raw: &Value) -> Option<&str> {
        let number = match raw {
            Value::Int(int) => i128::from(*int),
            Value::Unsigned(int) => i128::from(*int),
            Value::Bool(bit) => i128::from(*bit),
            _ => return None,
        };
        self.0.get(&number).map(String::as_str)
    }
    /// The raw value that is called `word`; `None` if there is none, or more than one.
    pub fn number(&self, word: &str) -> Option<i128> {
        let mut numbers = self.0.iter().filter(|(_, known)| *known == word).map(|(number, _)| *number);
        numbers.next().filter(|_| numbers.next().is_none())
    }
    /// Those that stand at the end of a type, as in `u16 AB {0=stopped, 1=running}`: what [`Self`] shows there, read back.
    /// None where there are none.
    pub fn of_type(source_type: &str) -> Self {
        let mut words = Self::default();
        let listed = source_type.strip_suffix('}').and_then(|text| text.split_once(" {"));
        let mut last = None;
        for part in listed.map_or("", |(_, listed)| listed).split(", ") {
            let entry = part.split_once('=').and_then(|(number, word)| Some((number.parse().ok()?, word)));
            match (entry, last) {
                (Some((number, word)), _) => {
                    words.insert(number, word);
                    last = Some(number);
                }
                // A comma within a word.
                (None, Some(number)) => {
                    let word = words.0.entry(number).or_default();
                    word.push_str(", ");
                    word.push_str(part);
                }
                (None, None) => return Self::default(),
            }
        }
        words
    }
}

/// `{0=stopped, 1=running}`, which [`Words::of_type`] reads back.
impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (value, word)) in self.0.iter().enumerate() {
            let before = if number == 0 { "{" } else { ", " };
            write!(f, "{before}{value}={word}")?;
        }
        f.write_str("}")
    }
}

impl StreamSpec {
    /// Does it hold attempts to write? Those are the gateway's own words, which no dead link makes stale.
    pub(crate) fn is_attempts(&self) -> bool {
        self.descriptor.source_type == ATTEMPTS_TYPE
    }

    /// What a raw value is called.
    pub(crate) fn word(&self, raw: &Value) -> Option<String> {
        self.words.as_ref()?.word(raw).map(str::to_owned)
    }

    /// The stream of the attempts to write to this one, if it may be written.
    pub fn attempts(&self) -> Option<Self> {
        self.write.as_ref()?;
        let descriptor = Descriptor {
            name: attempts_of(&self.descriptor.name),
            source_type: ATTEMPTS_TYPE.to_owned(),
            unit: String::new(),
            scale: Decimal::ONE,
            offset: Decimal::ZERO,
            ..self.descriptor.clone()
        };
        Some(Self { descriptor, urgent: true, report: Report::default(), write: None, words: None })
    }
}

/// What stands in the descriptor of a stream of attempts; no device has values of this type.
const ATTEMPTS_TYPE: &str = "write attempt json";

/// Name of the stream of attempts to write to a stream.
pub(crate) fn attempts_of(name: &str) -> String {
    format!("{name}/write")
}

/// Report by exception: which good readings of a stream are left out. A change of quality, and the first reading after
/// a dead link, are always delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Report {
    /// Left out while the scaled value is within this of the one delivered last.
    pub deadband: Option<Deadband>,
    /// Left out until this long after the one delivered last, by receive time; zero: never.
    pub min_interval: Duration,
    /// Never left out for the deadband when the one delivered last is this old, by receive time. What a device does not
    /// say is not made up: a silent device stays silent.
    pub max_silence: Option<Duration>,
}

/// How far a value may move without being reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deadband {
    /// In the unit of the scaled value.
    Absolute(f64),
    /// In percent of the absolute value delivered last.
    Percent(f64),
}

/// What may be written to a stream. Of scaled values, which are what people know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bounds {
    /// Least number.
    pub min: Option<Decimal>,
    /// Greatest number.
    pub max: Option<Decimal>,
    /// If not empty: exactly these, and nothing else.
    pub one_of: Vec<Value>,
}

/// Which device a source is, and what its table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub device: String,
    /// Its protocol, as the configuration names it: `modbus-tcp`.
    pub protocol: &'static str,
    /// Its table without comments and layout: equal if and only if nothing has changed that is written.
    pub written: String,
}

/// Something of which there is one, and which only one device may use (a name, a unit of a server), or several devices
/// on the same terms (a serial line).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The key of the configuration that claims it.
    pub key: &'static str,
    /// What is claimed: `modbus-tcp 10.0.0.7:502 unit 1`.
    pub resource: String,
    /// `None`: it is for one device alone. Else it is shared by those that say the same here: `19200 8E1`.
    pub terms: Option<String>,
    /// Of two claims that say the same here, the resources may be one under two names: `mqtt port 1883 client id "c"`.
    /// That is no mistake, but a person should look ([`config::doubts`](crate::config::doubts)). `None`: names are enough.
    pub kin: Option<String>,
    /// What to do instead.
    pub expected: &'static str,
}

/// A device as configured and checked.
pub trait Source: fmt::Debug + Send + Sync {
    /// Which device, and what its table says.
    fn head(&self) -> &Head;
    /// Its name.
    fn device(&self) -> &str {
        &self.head().device
    }
    /// Where it is: `10.0.0.7:502 unit 1`.
    fn address(&self) -> String;
    /// Its streams. The handles in [`Context::streams`] come in this order.
    fn streams(&self) -> &[StreamSpec];
    /// What it claims, besides its own name and those of its streams. Compared between all devices before any of
    /// them is started.
    fn claims(&self) -> Vec<Claim>;
    /// The line that it shares with other devices on purpose, such as a serial line: `rtu /dev/ttyUSB0`. When one of them
    /// changes, all of them are started again. `None`: it shares none.
    fn line(&self) -> Option<String> {
        None
    }
    /// Told once, after [`begin`](Self::begin), when it takes the place of another source of the same name while the
    /// gateway runs. What that one knew of its server's session can be taken over.
    fn succeed(&self, _before: &dyn Source) {}
    /// For [`succeed`](Self::succeed), which must see what kind of source the other is.
    fn as_any(&self) -> &dyn Any;
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

/// All streams of a source, in the order of their handles: its own, then `NAME/write` for each that may be written.
pub fn all_streams(source: &dyn Source) -> Vec<StreamSpec> {
    let own = source.streams();
    own.iter().cloned().chain(own.iter().filter_map(StreamSpec::attempts)).collect()
}

/// What a gateway knows at its start ([`Source::begin`]).
#[derive(Debug, Clone, Copy)]
pub struct Start<'a> {
    /// Names the gateway: the same at each start, and no other gateway's.
    pub gateway: &'a str,
    /// Origins of the readings that were durable last, oldest first, of all sources.
    pub origins: &'a [Origin],
    /// Does the gateway run already? Then nobody knows what of this source was durable before.
    pub is_running: bool,
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
    /// What is to be written to the device.
    pub writes: Writes,
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
            FaultKind::Refused(status) => status,
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
    /// An OPC-UA server refused with this status code.
    Refused(u32),
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
            Self::Refused(_) => "refused",
            Self::Adapter => "the adapter failed",
        })
    }
}
