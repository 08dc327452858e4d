//! The run loop: one thread owns the core, hands it inputs, and has its effects carried out.
//!
//! # Layout
//! - this file: opening, and the handle that the rest of the daemon holds
//! - [`turn`]: the loop itself
//! - [`links`]: the network as the loop sees it
//! - [`workers`]: threads for slow work (signatures, sealing, reading back)
//! - [`keys`]: the keys that sign
//! - [`clock`]: the two clocks, and whether to believe the second
//!
//! A panic in here, in the store or in a worker ends the process ([`die_on_panic`]): a ledger whose state is in
//! doubt must not go on. Adapters are another matter, and are started again.

pub mod clock;
mod keys;
mod links;
mod turn;
mod workers;

use std::sync::Arc;
use std::thread::JoinHandle;

use selvedge_core::Issuer;
use selvedge_core::border::{Config, Event, NewReading, Now, Origin, Outcome, StreamHandle};
use selvedge_core::hash::Id;
use selvedge_core::node::{Node, OpenError, PeerStatus, Status};
use selvedge_core::stream::Descriptor;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::store::{Committer, Disk, OpenReport, Store, StoreError, StoreReader};
use clock::Clock;
pub use keys::SigningKeys;
pub use links::{Faulty, FaultyIssuers, Network};
use turn::{Inboxes, Turn};

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
        origins: Vec<Origin>,
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
    /// Its connections, as the core sees them.
    pub peers: Vec<PeerStatus>,
    /// Who broke rules since the start.
    pub faulty: FaultyIssuers,
    /// What happened to the own chain since the start.
    pub notices: Notices,
    /// How many committee members have the newest transactions in their past cone: local number, members; ascending.
    pub witnessed: Vec<(u64, u32)>,
    /// Is the wall clock synchronised?
    pub synchronised: bool,
    /// Why the core takes nothing any more, when it does not.
    pub halted: Option<String>,
}

/// What a listener to events must not miss: it stands in each snapshot since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// The start check is over: own transactions that came back from peers, and whether a peer answered at all.
    pub settled: Option<(u64, bool)>,
    /// A transaction of this gateway's key that this start did not make.
    pub another_machine: Option<(u64, Id)>,
    /// Peers that say that two machines with this gateway's key are up.
    pub said_to_be_two: Vec<Issuer>,
    /// Peers of which two starts with one key were up at once.
    pub twins: Vec<Issuer>,
    /// Issuers of which a fork came up. Each later place of the same two branches is no news.
    pub forkers: Vec<Issuer>,
}

/// Issuers that a list of [`Notices`] names at most; each is named once.
const NOTICED_MAX: usize = 16;

impl Notices {
    /// Takes an event. `false`: it only repeats what was noted; a peer could say it without end.
    fn note(&mut self, event: &Event) -> bool {
        let add = |list: &mut Vec<Issuer>, issuer: &Issuer| {
            let is_new = list.len() < NOTICED_MAX && !list.contains(issuer);
            if is_new {
                list.push(*issuer);
            }
            is_new
        };
        match event {
            Event::Settled { adopted, answered } => self.settled = Some((*adopted, *answered)),
            Event::AnotherMachine { seen } => {
                self.another_machine = seen.map(|head| (head.sequence, head.id));
            }
            Event::SaidToBeTwo { by } => return add(&mut self.said_to_be_two, by),
            Event::Twins { issuer } => return add(&mut self.twins, issuer),
            Event::Forked { issuer, .. } => return add(&mut self.forkers, issuer),
            _ => {}
        }
        true
    }
}

impl Snapshot {
    fn of(node: &Node, now: Now) -> Self {
        let ledger = node.status();
        let newest = ledger.attached.saturating_sub(WITNESSED_SHOWN)..ledger.attached;
        let witnessed = newest.filter_map(|n| node.witnessed(n).map(|k| (n, k))).collect();
        Self {
            ledger,
            peers: node.peers(now),
            faulty: FaultyIssuers::new(),
            notices: Notices::default(),
            witnessed,
            synchronised: now.synchronised,
            halted: None,
        }
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
    /// Sign for this gateway.
    pub keys: SigningKeys,
    /// The clocks.
    pub clock: Clock,
    /// The network, when there is one.
    pub network: Option<Network>,
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
        let (published, snapshot) = watch::channel(Arc::new(Snapshot::of(&node, now)));
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (done, completions) = mpsc::unbounded_channel();
        let committer = {
            let done = done.clone();
            Committer::start(parts.store, WRITES_MAX, move |outcome| turn::report_commit(&done, outcome))?
        };
        let tools = workers::Tools::new(parts.keys, reader.clone(), parts.disk);
        let workers = workers::Workers::start(&tools, &done)
            .map_err(|why| system("worker threads", why.to_string()))?;
        let (links, arrivals) = match parts.network {
            Some(Network { handle, arrivals, members }) => {
                (Some(links::Links::new(handle, members)), Some(arrivals))
            }
            None => (None, None),
        };
        let inboxes = Inboxes { requests: inbox, completions, arrivals };
        let turn = Turn::new(node, parts.clock, committer, workers, links, published, events.clone());
        let thread = std::thread::Builder::new()
            .name("selvedge-core".into())
            .spawn(move || turn.run(inboxes, effects))
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
        self.submit_later(readings, Vec::new()).await?.await.map_err(|_| Stopped)
    }

    /// Hands readings in, with the messages they came from where their source waits for an acknowledgement; the outcome
    /// comes by the receiver. So several submissions can share one sync.
    ///
    /// # Errors
    /// When the loop is gone.
    pub async fn submit_later(
        &self,
        readings: Vec<NewReading>,
        origins: Vec<Origin>,
    ) -> Result<oneshot::Receiver<Outcome>, Stopped> {
        let (reply, outcome) = oneshot::channel();
        self.requests.send(Request::Submit { readings, origins, reply }).await.map_err(|_| Stopped)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_repeats_is_news_once_and_the_list_is_bounded() {
        let mut notices = Notices::default();
        let said = |n: u8| Event::SaidToBeTwo { by: Issuer([n; 32]) };
        let news = (0..1_000).filter(|_| notices.note(&said(1))).count();
        assert_eq!(news, 1);
        let news = (0..=u8::MAX).filter(|n| notices.note(&said(*n))).count();
        assert_eq!(news, NOTICED_MAX - 1);
        assert_eq!(notices.said_to_be_two.len(), NOTICED_MAX);
        assert!(notices.note(&Event::Twins { issuer: Issuer([1; 32]) }), "another kind of news");
    }
}
