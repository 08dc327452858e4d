//! The network: frames between this node and its peers, over QUIC. What the frames say is the core's; who may connect,
//! how much of everything is held, and where others are found is decided here.
//!
//! # Layout
//! - this file: starting and stopping, and the handle that the core's loop holds
//! - [`arrivals`]: what the network tells the core's loop
//! - [`members`]: who may connect; [`tls`]: keys, and the verifier that asks that table
//! - [`endpoint`]: the socket, and who is let in; [`gate`]: how many handshakes at once
//! - [`link`]: one connection, its lanes; [`queue`]: what waits for a lane; [`links`]: all of them, and what is shown
//! - [`serve`]: answers from the log
//! - [`book`], [`dial`]: whom to reach, where, when; [`addresses`]: what peers tell one another of that
//! - [`join`]: the connection of whoever holds an invitation
//! - [`words`]: errors of QUIC and TLS in words; [`limits`]: every number
//!
//! It has threads of its own, named so that a panic on one of them ends the process
//! ([`die_on_panic`](crate::engine::die_on_panic)).

pub mod addresses;
mod arrivals;
mod book;
mod dial;
mod endpoint;
mod gate;
pub mod join;
pub mod limits;
mod link;
mod links;
mod members;
mod queue;
mod serve;
mod tls;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_core::border::{Lane, PeerId, Serve, Ticket};
use selvedge_crypto::Signer;
use thiserror::Error;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub use arrivals::{Arrival, Permit, ToCore};
pub use book::{DialStatus, Target};
pub use gate::GateCounts;
pub use join::Guest;
pub use links::{Closed, LinkStatus, NetStatus};
pub use members::{MemberCounts, Members, Standing};
pub use queue::QueueStatus;
pub use tls::{ALPN, ALPN_JOIN};

use crate::store::StoreReader;
use book::Book;
use dial::{Dialler, News};
use links::{Shared, code, lock};
use queue::Pushed;
use tls::Identity;

/// Threads that carry the network; reading the store for peers has up to four more.
const THREADS: usize = 2;

/// Why there is no network.
#[derive(Debug, Error)]
pub enum NetError {
    /// The key is of a scheme that TLS is not spoken with here.
    #[error("this gateway's key is {scheme}; expected ML-DSA-44, the scheme of gateways")]
    Key {
        /// The scheme.
        scheme: &'static str,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up: {why}")]
    Tls {
        /// Why.
        why: String,
    },
    /// The socket cannot be opened.
    #[error("cannot listen on UDP {listen}: {why}; choose another address or port, or stop what has it")]
    Socket {
        /// The address.
        listen: SocketAddr,
        /// Why.
        why: std::io::Error,
    },
    /// The system gives no thread or no randomness.
    #[error("the system refused {what} for the network: {why}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// A member cannot be reached for joining.
    #[error("cannot join through {to}: {why}")]
    Join {
        /// Where.
        to: String,
        /// Why.
        why: String,
    },
}

/// What the network is started with.
pub struct NetConfig {
    /// The UDP address to listen on; port 0 takes a free one. `[::]` takes IPv4 too.
    pub listen: SocketAddr,
    /// Where others can reach this node, to be told to peers. May be empty.
    pub advertise: Vec<SocketAddr>,
    /// Peers to be kept connected: "host:port" each, resolved anew at each attempt.
    pub peers: Vec<String>,
    /// The identity's first key (key number 0), whatever the chain has rotated to.
    pub signer: Arc<dyn Signer>,
    /// Who may connect.
    pub members: Members,
    /// What peers ask for is read here.
    pub reader: StoreReader,
    /// Where frames go.
    pub to_core: ToCore,
    /// Where those who want to join go; of [`limits::GUESTS_WAITING_MAX`] places. `None`: nobody joins here.
    pub guests: Option<mpsc::Sender<Guest>>,
    /// A secret that outlives starts and is used for nothing else: derived from another secret of the data folder.
    pub reset_key: [u8; 32],
}

impl std::fmt::Debug for NetConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the reset key, which is secret.
        f.debug_struct("NetConfig")
            .field("listen", &self.listen)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

/// Threads of the network. Ended by dropping, wherever that happens: a runtime as such waits when it is dropped, and
/// panics when that is within another one.
#[derive(Debug)]
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The network, running. Dropped, it is gone without a goodbye.
#[derive(Debug)]
pub struct Net {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    local_addr: SocketAddr,
    threads: Threads,
}

/// How the core's loop speaks to the network. Cheap to clone; nothing in it waits.
#[derive(Debug, Clone)]
pub struct NetHandle {
    shared: Arc<Shared>,
}

/// What became of a frame that was to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It waits for its lane.
    Queued,
    /// The queue is full: dropped. The core is to be told of each, `Input::Congested`: it takes what was queued after the last
    /// word for sent.
    Congested,
    /// There is no such connection (any more); `PeerDown` says so too.
    Gone,
}

impl Net {
    /// Opens the socket and starts.
    ///
    /// # Errors
    /// When the key is not ML-DSA-44, the address cannot be had, or the system gives no threads or randomness.
    pub fn start(config: NetConfig) -> Result<Self, NetError> {
        let identity = Identity::new(&config.signer)?;
        let server = identity.server(&config.members)?;
        let system = |what, why: String| NetError::System { what, why };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|why| system("randomness", why.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(8)
            .thread_name("selvedge-net")
            .enable_all()
            .build()
            .map_err(|why| system("threads", why.to_string()))?;
        let runtime_handle = runtime.handle().clone();
        let threads = Threads(Some(runtime));
        let within = runtime_handle.enter();
        let endpoint = endpoint::open(config.listen, Some(server), config.reset_key)?;
        drop(within);
        let local_addr =
            endpoint.local_addr().map_err(|why| NetError::Socket { listen: config.listen, why })?;
        // When it is full, whoever tells waits: links, which then read no more.
        let (news, heard) = mpsc::channel(limits::NEWS_MAX);
        let book = Book::new(config.members.clone(), config.peers, config.advertise, &seed, Instant::now());
        let shared = Arc::new(Shared::new(config.members, config.to_core, news, config.reader));
        let dialler = Dialler::new(Arc::clone(&shared), endpoint.clone(), identity, book);
        runtime_handle.spawn(dialler.run(heard));
        runtime_handle.spawn(endpoint::accept(Arc::clone(&shared), endpoint.clone(), config.guests));
        tracing::info!(listen = %local_addr, "network open");
        Ok(Self { shared, endpoint, local_addr, threads })
    }

    /// Where it listens.
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// For the core's loop, and for questions.
    pub fn handle(&self) -> NetHandle {
        NetHandle { shared: Arc::clone(&self.shared) }
    }

    /// Sends what waits, says goodbye to all peers, in words, and ends. Takes at most two seconds and a bit.
    pub async fn stop(mut self, reason: &str) {
        // What was just signed should go out: closing throws away what waits.
        let gone_out = async {
            while self.shared.all().iter().any(|link| link.fresh.status().frames > 0) {
                tokio::time::sleep(limits::FLUSH_LOOK).await;
            }
            let round_trip = self.shared.all().iter().map(|link| link.connection.rtt()).max();
            tokio::time::sleep(round_trip.unwrap_or_default() * 2).await;
        };
        if timeout(limits::GOODBYE, gone_out).await.is_err() {
            tracing::debug!("a peer was too slow for what was left to say");
        }
        self.endpoint.close(code::STOPS, words::reason_bytes(reason));
        if timeout(limits::GOODBYE, self.endpoint.wait_idle()).await.is_err() {
            tracing::debug!("not every peer took the goodbye");
        }
        if let Some(runtime) = self.threads.0.take() {
            // Its tasks hold the store: only when they are gone may whoever stops a gateway open its folder.
            let ended = tokio::task::spawn_blocking(move || runtime.shutdown_timeout(limits::GOODBYE));
            if ended.await.is_err() {
                tracing::debug!("the network's threads ended badly");
            }
        }
    }
}

impl NetHandle {
    /// Sends a frame.
    pub fn send(&self, peer: PeerId, lane: Lane, frame: Arc<[u8]>) -> Sent {
        let Some(link) = self.shared.get(peer) else { return Sent::Gone };
        match link.queue(lane).push(frame) {
            Pushed::Queued => Sent::Queued,
            Pushed::Dropped => Sent::Congested,
            Pushed::Closed => Sent::Gone,
        }
    }

    /// Has transactions sent from the log. True: `Arrival::Served` comes when all of it is queued, or the peer is gone.
    /// False: the peer is gone or has too many requests already; nothing is sent, and the core is to be told `Served`.
    pub fn serve(&self, ticket: Ticket, peer: PeerId, what: Serve) -> bool {
        let Some(link) = self.shared.get(peer) else { return false };
        // Under the lock, so that a link that ends meanwhile either answers the ticket or refuses it.
        let mut owed = lock(&link.owed);
        let taken = link.requests.try_send((ticket, what)).is_ok();
        if taken {
            owed.push(ticket);
        } else {
            link.counts.refused_requests.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        taken
    }

    /// Ends a connection. Its peer is told why; and for so long it is neither let in nor dialled.
    pub fn disconnect(&self, peer: PeerId, why: &str, back_off: Duration) {
        let Some(link) = self.shared.get(peer) else { return };
        if !back_off.is_zero() {
            self.shared.members.put_off(&link.issuer, Instant::now(), back_off);
        }
        link.close(code::FAREWELL, why);
    }

    /// Looks again whom to dial: a member was added. Without it, that happens within half a minute.
    pub fn look(&self) {
        // Full: it is about to look anyway.
        let _ = self.shared.news.try_send(News::Look);
    }

    /// How everything stands.
    pub fn status(&self) -> NetStatus {
        self.shared.status()
    }
}

#[cfg(test)]
mod tests;
