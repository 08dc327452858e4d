//! The local API: the [answers](crate::answers) over HTTP and JSON, on a Unix socket in the data folder.
//!
//! | GET | answer |
//! |---|---|
//! | `/v0/status` | [`StatusAnswer`](crate::answers::status::StatusAnswer) |
//! | `/v0/streams` | [`StreamsAnswer`](crate::answers::streams::StreamsAnswer) |
//! | `/v0/readings?stream=&from=&to=&last=` | one [`ReadingAnswer`](crate::answers::readings::ReadingAnswer) a line; without `stream` those of all |
//! | `/v0/proof?stream=&at=` | the proof file; about it in the header `selvedge-proof` |
//! | `/v0/segment?hash=` or `?batch=` | [`SegmentAnswer`](crate::answers::segment::SegmentAnswer) |
//! | `/v0/tangle?last=` | [`TangleAnswer`](crate::answers::tangle::TangleAnswer) |
//! | `/v0/peers` | [`PeersAnswer`](crate::answers::peers::PeersAnswer) |
//! | `/v0/evidence` | [`EvidenceAnswer`](crate::answers::evidence::EvidenceAnswer) |
//! | `/v0/keys` | [`KeysAnswer`](crate::answers::keys::KeysAnswer) |
//!
//! Two things can be asked to be done, without a body. `POST /v0/rotate` gives the gateway its next key and answers with a
//! [`RotateAnswer`]. `POST /v0/write?stream=&value=&by=` writes a value (as JSON) to a machine, if the configuration
//! allows it and the gateway is armed, and answers with a [`WriteAnswer`](crate::answers::write::WriteAnswer).
//!
//! What goes wrong is an object `{"error": {"message": …, "reason": {"kind": …}}}` with a status of 4xx or 5xx. Readings are
//! sent while they are read; when that fails half-way, the last line is such an object.
//!
//! Questions never enter the run loop. They are bounded: connections, questions at work, the size of a request, the
//! time that a reader may leave a line untaken.
//!
//! # Layout
//! - this file: the server; [`handlers`]: one function for each question
//! - [`socket`]: the socket file
//! - [`client`]: the other end; [`ask`]: for commands, the running node or else the store itself

pub mod ask;
pub mod client;
mod handlers;
pub mod socket;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::write::Desk;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::answers::{AskError, Facts, Live};
pub use crate::gateway::RotateAnswer;
use crate::gateway::Rotator;
use crate::store::StoreReader;
pub use socket::bind;

/// Connections at once; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 64;
/// Questions that read the store at once: each read pins old pages of the index.
pub const QUESTIONS_MAX: usize = 4;
/// A question waits at most this long for its turn.
pub const WAIT_MAX: Duration = Duration::from_secs(10);
/// Longest head of a request, in bytes.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// The head of a request must arrive within this time.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// When stopping, answers under way have this long.
const DRAIN_WITHIN: Duration = Duration::from_secs(2);
/// Header that says what a proof file proves, as JSON.
pub const PROOF_HEADER: &str = "selvedge-proof";

/// What the server answers from.
#[derive(Debug, Clone)]
pub struct ApiState {
    reader: StoreReader,
    facts: Arc<Facts>,
    live: watch::Receiver<Arc<Live>>,
    questions: Arc<Semaphore>,
    rotator: Option<Arc<Rotator>>,
    desk: Option<Desk>,
}

impl ApiState {
    /// The state of a running node.
    pub fn new(reader: StoreReader, facts: Facts, live: watch::Receiver<Arc<Live>>) -> Self {
        let questions = Arc::new(Semaphore::new(QUESTIONS_MAX));
        Self { reader, facts: Arc::new(facts), live, questions, rotator: None, desk: None }
    }

    /// The same of a node that can be asked for its next key.
    #[must_use]
    pub fn with_rotator(self, rotator: Arc<Rotator>) -> Self {
        Self { rotator: Some(rotator), ..self }
    }

    /// The same of a node that can be asked to write to its machines.
    #[must_use]
    pub fn with_desk(self, desk: Desk) -> Self {
        Self { desk: Some(desk), ..self }
    }
}

/// What goes wrong, on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireError {
    pub(crate) error: WireReason,
}

/// See [`WireError`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireReason {
    /// In words, for whoever asks with a tool of its own.
    pub(crate) message: String,
    pub(crate) reason: AskError,
}

impl From<AskError> for WireError {
    fn from(reason: AskError) -> Self {
        Self { error: WireReason { message: reason.to_string(), reason } }
    }
}

/// Answers on `listener` until `shutdown` resolves, then lets what is under way end within a short time and removes
/// the socket file.
///
/// # Errors
/// When the listener fails for good.
///
/// # Panics
/// Never: the semaphore that counts connections is not closed.
pub async fn serve(
    listener: UnixListener,
    state: ApiState,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let router = handlers::router(state);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let place = tokio::select! {
            () = &mut shutdown => break,
            place = Arc::clone(&places).acquire_owned() => place.expect("the semaphore is never closed"),
        };
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
            // Ended ones are only to be forgotten.
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) if socket::may_ask(&stream) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    connection(stream, router, stop).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("another user asked over the socket and was turned away"),
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors, say: give others time to be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
    }
    socket::remove(&listener);
    drop(listener);
    stop.cancel();
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_WITHIN, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Does this concern one connection, or the moment, and not the listener?
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory, WouldBlock};
    // EMFILE, ENFILE: no ErrorKind of their own.
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | OutOfMemory | WouldBlock)
        || matches!(error.raw_os_error(), Some(23 | 24))
}

async fn connection(stream: UnixStream, router: axum::Router, stop: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        // A client that leaves early, or sent nonsense and was told so.
        tracing::debug!(%error, "connection ended");
    }
}
