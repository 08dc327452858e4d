//! The run loop: one thread owns the core, hands it inputs, and has its effects carried out.
//!
//! # Layout
//! - this file: opening, and the handle that the rest of the daemon holds
//! - [`turn`]: the loop itself
//! - [`workers`]: threads for slow work (signatures, sealing, reading back)
//! - [`clock`]: the two clocks, and whether to believe the second
//!
//! A panic in here, in the store or in a worker ends the process ([`die_on_panic`]): a ledger whose state is in
//! doubt must not go on. Adapters are another matter, and are started again.

pub mod clock;
mod turn;
mod workers;

use std::sync::Arc;
use std::thread::JoinHandle;

use selvedge_core::border::{Config, Event, NewReading, Outcome, StreamHandle};
use selvedge_core::node::{Node, OpenError, Status};
use selvedge_core::stream::Descriptor;
use selvedge_crypto::Signer;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::store::{Committer, Disk, OpenReport, Store, StoreError, StoreReader};
use clock::Clock;
use turn::Turn;

/// Requests that may wait for the loop. When it is full the sender waits; adapters then skip polls and count them.
const REQUESTS_MAX: usize = 256;
/// Writes that may wait for the disk. When it is full the loop waits: a slow disk slows the node down instead of
/// filling its memory.
const WRITES_MAX: usize = 1_024;
/// Events that a slow listener may be behind before it misses some.
const EVENTS_MAX: usize = 1_024;

/// Why the engine cannot start.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The core.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The system gives no randomness, no thread or no timer.
    #[error("the system refused {what}: {why}")]
    System {
        /// What was asked for.
        what: &'static str,
        /// Why.
        why: String,
    },
}

/// What the daemon asks of the loop.
#[derive(Debug)]
pub(crate) enum Request {
    Describe {
        stream: StreamHandle,
        descriptor: Descriptor,
        urgent: bool,
    },
    Submit {
        readings: Vec<NewReading>,
        reply: oneshot::Sender<Outcome>,
    },
    Issue {
        kind: u16,
        payload: Vec<u8>,
        reply: oneshot::Sender<Outcome>,
    },
    Flush,
    /// Nothing: the answer shows that the loop turns.
    Turn {
        reply: oneshot::Sender<()>,
    },
    /// Close the open batch, issue what can be issued, sync, and end.
    Stop {
        within: std::time::Duration,
    },
}

/// The loop is gone: it was stopped, or the store failed.
#[derive(Debug, Clone, Copy, Error)]
#[error("the node has stopped")]
pub struct Stopped;

/// How the rest of the daemon speaks with the loop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    requests: mpsc::Sender<Request>,
    snapshot: watch::Receiver<Arc<Snapshot>>,
    events: broadcast::Sender<Event>,
    reader: StoreReader,
}

/// Newest transactions whose witnesses a snapshot counts.
const WITNESSED_SHOWN: u64 = 256;

/// What the loop publishes of itself.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The core's own figures.
    pub ledger: Status,
    /// How many committee members have the newest transactions in their past cone: local number, members; ascending.
    pub witnessed: Vec<(u64, u32)>,
    /// Is the wall clock synchronised?
    pub synchronised: bool,
    /// Why the core takes nothing any more, when it does not.
    pub halted: Option<String>,
}

impl Snapshot {
    fn of(node: &Node, synchronised: bool, halted: Option<String>) -> Self {
        let ledger = node.status();
        let newest = ledger.attached.saturating_sub(WITNESSED_SHOWN)..ledger.attached;
        let witnessed = newest.filter_map(|n| node.witnessed(n).map(|k| (n, k))).collect();
        Self { ledger, witnessed, synchronised, halted }
    }
}

/// The loop's thread, to wait for.
#[derive(Debug)]
pub struct Running {
    thread: JoinHandle<Result<(), String>>,
}

impl Running {
    /// Waits until the loop has ended.
    ///
    /// # Errors
    /// Why the core halted, when it did.
    pub fn join(self) -> Result<(), String> {
        self.thread.join().unwrap_or_else(|_| Err("the run loop panicked".into()))
    }
    /// Has it ended?
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Everything an engine is made of.
#[derive(Debug)]
pub struct Parts {
    /// The core's configuration.
    pub config: Config,
    /// The medium under the store: sealing writes archive segments to it.
    pub disk: Arc<dyn Disk>,
    /// The store, just opened.
    pub store: Store,
    /// What it restored.
    pub restored: selvedge_core::border::Restored,
    /// Signs for this gateway.
    pub signer: Arc<dyn Signer>,
    /// The clocks.
    pub clock: Clock,
}

impl Engine {
    /// Opens the core on a store and starts the loop.
    ///
    /// # Errors
    /// When the core refuses what the store restored, or the system gives no randomness or no thread.
    pub fn start(parts: Parts) -> Result<(Self, Running), EngineError> {
        let system = |what, why: String| EngineError::System { what, why };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|why| system("randomness", why.to_string()))?;
        let mut effects = Vec::new();
        let now = parts.clock.now();
        let node = Node::open(parts.config, &seed, parts.restored, now, &mut effects)?;
        let reader = parts.store.reader();
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (published, snapshot) = watch::channel(Arc::new(Snapshot::of(&node, now.synchronised, None)));
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (done, completions) = mpsc::unbounded_channel();
        let committer = {
            let done = done.clone();
            Committer::start(parts.store, WRITES_MAX, move |outcome| turn::report_commit(&done, outcome))?
        };
        let tools = workers::Tools::new(parts.signer, reader.clone(), parts.disk);
        let workers = workers::Workers::start(&tools, &done)
            .map_err(|why| system("worker threads", why.to_string()))?;
        let turn = Turn::new(node, parts.clock, committer, workers, published, events.clone());
        let thread = std::thread::Builder::new()
            .name("selvedge-core".into())
            .spawn(move || turn.run(inbox, completions, effects))
            .map_err(|why| system("a thread for the core", why.to_string()))?;
        Ok((Self { requests, snapshot, events, reader }, Running { thread }))
    }

    /// Makes a stream known, or changes what its numbers mean from now on.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn describe(
        &self,
        stream: StreamHandle,
        descriptor: Descriptor,
        urgent: bool,
    ) -> Result<(), Stopped> {
        self.requests.send(Request::Describe { stream, descriptor, urgent }).await.map_err(|_| Stopped)
    }

    /// Hands readings in; returns when they are durable or refused.
    ///
    /// # Errors
    /// When the loop is gone: the outcome is unknown.
    pub async fn submit(&self, readings: Vec<NewReading>) -> Result<Outcome, Stopped> {
        self.submit_later(readings).await?.await.map_err(|_| Stopped)
    }

    /// Hands readings in; the outcome comes by the receiver. So several submissions can share one sync.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn submit_later(
        &self,
        readings: Vec<NewReading>,
    ) -> Result<oneshot::Receiver<Outcome>, Stopped> {
        let (reply, outcome) = oneshot::channel();
        self.requests.send(Request::Submit { readings, reply }).await.map_err(|_| Stopped)?;
        Ok(outcome)
    }

    /// Issues a note or a registry payload; returns when it is durable or refused.
    ///
    /// # Errors
    /// When the loop is gone: the outcome is unknown.
    pub async fn issue(&self, kind: u16, payload: Vec<u8>) -> Result<Outcome, Stopped> {
        let (reply, outcome) = oneshot::channel();
        self.requests.send(Request::Issue { kind, payload, reply }).await.map_err(|_| Stopped)?;
        outcome.await.map_err(|_| Stopped)
    }

    /// Closes the open batch now.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn flush(&self) -> Result<(), Stopped> {
        self.requests.send(Request::Flush).await.map_err(|_| Stopped)
    }

    /// Returns once the loop has come round: it is alive.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn turn(&self) -> Result<(), Stopped> {
        let (reply, turned) = oneshot::channel();
        self.requests.send(Request::Turn { reply }).await.map_err(|_| Stopped)?;
        turned.await.map_err(|_| Stopped)
    }

    /// Ends the loop: the open batch goes into a transaction if that takes no longer than `within`, and stays in
    /// the journal otherwise; either way nothing acknowledged is lost.
    pub async fn stop(&self, within: std::time::Duration) {
        // Gone already is as good.
        let _ = self.requests.send(Request::Stop { within }).await;
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> watch::Receiver<Arc<Snapshot>> {
        self.snapshot.clone()
    }

    /// Events from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Reads what is durable, beside the loop.
    pub fn reader(&self) -> StoreReader {
        self.reader.clone()
    }
}

/// One line about how the store was opened, for the log.
pub fn log_open(report: &OpenReport) {
    tracing::info!(
        new = report.new,
        replayed = report.replayed,
        log_cut_frames = report.log_cut_frames,
        journal_cut_frames = report.journal_cut_frames,
        "store open"
    );
    if let Some(why) = &report.rebuilt {
        tracing::warn!(%why, "the index was made again from the log");
    }
}

/// From now on a panic in a thread of ours other than an adapter's ends the process.
pub fn die_on_panic() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        before(info);
        let is_ours = std::thread::current().name().is_some_and(|name| name.starts_with("selvedge-"));
        if is_ours {
            // Not an exit: destructors must not touch a store whose state is in doubt.
            std::process::abort();
        }
    }));
}
