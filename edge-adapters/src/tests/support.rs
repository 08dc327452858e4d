//! What the tests share.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};

use crate::adapter::Source;
use crate::clock::{Clock, SetClock};
use crate::config::{ConfigError, sources};
use crate::health::DeviceSnapshot;
use crate::outlet::Delivery;
use crate::supervisor::{Device, Devices, Supervisor};

/// Generated inputs for each decoder: 50,000, or what SELVEDGE_CASES says.
pub(super) fn cases() -> u64 {
    let cases = std::env::var("SELVEDGE_CASES")
        .map_or(50_000, |text| text.parse().expect("SELVEDGE_CASES: a number"));
    println!("cases: {cases}");
    cases
}

/// What must happen does so without time going on. If it does not, [`HeldTime`] lets go after a minute, this fails,
/// and the test with it.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let day = tokio::time::timeout(Duration::from_hours(24), future).await;
    day.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// While it lives, tokio's paused clock moves only by `tokio::time::advance`: tokio does not skip ahead while a
/// blocking task runs, so real sockets and a clock moved by hand go together.
pub(super) struct HeldTime(
    #[allow(dead_code, reason = "dropping it ends the blocking task")] std::sync::mpsc::Sender<()>,
);

impl HeldTime {
    pub(super) fn new() -> Self {
        let (end, ended) = std::sync::mpsc::channel();
        tokio::task::spawn_blocking(move || ended.recv_timeout(Duration::from_mins(1)).unwrap_or(()));
        Self(end)
    }
}

pub(super) fn errors(toml: &str) -> Vec<ConfigError> {
    sources(toml).expect_err("this configuration is wrong")
}

/// The only device of a right configuration.
pub(super) fn device<S: Source + Clone + 'static>(toml: &str) -> S {
    let sources = sources(toml).unwrap_or_else(|errors| panic!("{errors:?}\n{toml}"));
    sources[0].as_any().downcast_ref::<S>().expect("a device of this protocol").clone()
}

/// Devices under a supervisor, and their deliveries.
pub(super) struct Rig {
    pub(super) deliveries: mpsc::Receiver<Delivery>,
    pub(super) devices: Devices,
    pub(super) clock: Arc<SetClock>,
    pub(super) stop: CancellationToken,
    pub(super) supervisor: Supervisor,
    _time: HeldTime,
}

impl Rig {
    pub(super) fn new(toml: &str) -> Self {
        Self::with_queue(toml, 256)
    }

    pub(super) fn with_queue(toml: &str, deliveries_max: usize) -> Self {
        let mut next = 0..;
        let devices = sources(toml).expect("a right configuration").into_iter().map(|source| {
            let streams = next.by_ref().take(source.streams().len()).map(StreamHandle).collect();
            Device { source, streams }
        });
        let (sender, deliveries) = mpsc::channel(deliveries_max);
        let clock = Arc::new(SetClock::at(1_000));
        let stop = CancellationToken::new();
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let supervisor = Supervisor::start(devices.collect(), &sender, &shared, 7, &stop);
        Self { deliveries, devices: supervisor.devices(), clock, stop, supervisor, _time: HeldTime::new() }
    }

    /// The first device.
    pub(super) fn device(&self) -> DeviceSnapshot {
        self.devices.snapshots().swap_remove(0)
    }

    /// Lets everything go on, without moving time, until the first device is like this.
    pub(super) async fn until(&self, what: &str, like: impl Fn(&DeviceSnapshot) -> bool) -> DeviceSnapshot {
        let give_up = std::time::Instant::now() + Duration::from_mins(1);
        loop {
            let device = self.device();
            if like(&device) {
                return device;
            }
            assert!(std::time::Instant::now() < give_up, "never came to {what}: {device:#?}");
            yield_now().await;
        }
    }

    /// Lets everything go on until so many polls are over. When they are, the poller sleeps until the next.
    pub(super) async fn polls(&self, polls: u64) -> DeviceSnapshot {
        self.until(&format!("{polls} polls"), |device| device.polls >= polls).await
    }

    /// The readings of the next delivery.
    pub(super) async fn readings(&mut self) -> Vec<NewReading> {
        soon("a delivery", self.deliveries.recv()).await.expect("adapters are running").readings
    }

    pub(super) fn nothing_delivered(&mut self) {
        if let Ok(delivery) = self.deliveries.try_recv() {
            panic!("nothing was to be delivered, got {:?}", delivery.readings);
        }
    }
}

pub(super) async fn advance(milliseconds: u64) {
    tokio::time::advance(Duration::from_millis(milliseconds)).await;
}

/// Long enough for any wait of a dead device.
pub(super) async fn advance_past_backoff() {
    advance(61_000).await;
}

pub(super) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A port that is taken, so that no other test gets it, and on which nobody listens yet.
pub(super) fn reserve(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}

pub(super) async fn accept(listener: &TcpListener) -> TcpStream {
    let (socket, _) = soon("a connection", listener.accept()).await.unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A request as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) transaction: u16,
    pub(super) unit: u8,
    pub(super) function: u8,
    pub(super) start: u16,
    pub(super) count: u16,
}

/// The next request; `None` when the client closed the connection.
pub(super) async fn asked(socket: &mut TcpStream) -> Option<Asked> {
    let mut bytes = [0; 12];
    soon("a request, or the end of the connection", socket.read_exact(&mut bytes)).await.ok()?;
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    assert_eq!((word(2), word(4)), (0, 6), "protocol and length of a reading request");
    Some(Asked { transaction: word(0), unit: bytes[6], function: bytes[7], start: word(8), count: word(10) })
}

/// Header and body.
pub(super) fn frame(transaction: u16, unit: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = transaction.to_be_bytes().to_vec();
    bytes.extend([0, 0]);
    bytes.extend((body.len() as u16 + 1).to_be_bytes());
    bytes.push(unit);
    bytes.extend(body);
    bytes
}

pub(super) fn registers_body(function: u8, words: &[u16]) -> Vec<u8> {
    let mut body = vec![function, words.len() as u8 * 2];
    body.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    body
}

/// A right answer to what was asked.
pub(super) fn answer(asked: Asked, words: &[u16]) -> Vec<u8> {
    frame(asked.transaction, asked.unit, &registers_body(asked.function, words))
}

pub(super) async fn send(socket: &mut TcpStream, bytes: &[u8]) {
    socket.write_all(bytes).await.unwrap();
}

/// Waits until the client has closed this connection.
pub(super) async fn closed_by_client(socket: &mut TcpStream) {
    assert_eq!(asked(socket).await, None, "the connection was to be closed, not used again");
}

/// Stream, value, quality, status, source time.
pub(super) fn brief(readings: &[NewReading]) -> Vec<(u32, Value, Quality, u32, i64)> {
    readings.iter().map(|r| (r.stream.0, r.value.clone(), r.quality, r.status, r.source_time_ns)).collect()
}

/// Collects log lines of this thread: level, message and fields as text.
#[derive(Clone, Default)]
pub(super) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Until the guard is dropped.
    pub(super) fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        (log.clone(), tracing::subscriber::set_default(log))
    }
    pub(super) fn lines_with(&self, text: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}
