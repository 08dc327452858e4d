//! The dialler: one task that keeps the links that this node wants, and tells peers where others are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{ConnectionError, Endpoint};
use selvedge_core::Issuer;
use selvedge_core::border::{Lane, PeerId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};

use super::addresses::{self, Address};
use super::book::{At, Book, Connected, Dial, Target};
use super::limits::{HANDSHAKE, KEEP_ALIVE, RESOLVED_MAX, TELL_EVERY};
use super::links::{Link, Shared};
use super::tls::{self, Identity, Pass};
use super::{NetError, endpoint, link, words};

/// What the dialler is told. The channel is bounded; whoever tells waits.
#[derive(Debug)]
pub(super) enum News {
    Up {
        link: Arc<Link>,
        dialled: Option<Target>,
    },
    Down {
        issuer: Issuer,
        held: Duration,
        why: String,
    },
    Told {
        by: Issuer,
        addresses: Vec<Address>,
    },
    /// Nothing: look again (a member was added).
    Look,
}

/// What came of a dial that led to no link, or whose link ended.
enum Came {
    Failed { target: Target, why: String },
    Ourselves { target: Target, why: String },
    Over,
}

/// See the head of this file.
pub(super) struct Dialler {
    shared: Arc<Shared>,
    endpoint: Endpoint,
    identity: Identity,
    book: Book,
    told: BTreeMap<PeerId, (Instant, Vec<u8>)>,
    running: JoinSet<Came>,
}

impl Dialler {
    pub(super) fn new(shared: Arc<Shared>, endpoint: Endpoint, identity: Identity, book: Book) -> Self {
        Self { shared, endpoint, identity, book, told: BTreeMap::new(), running: JoinSet::new() }
    }

    /// Runs until the endpoint is closed.
    pub(super) async fn run(mut self, mut news: mpsc::Receiver<News>) {
        loop {
            let now = Instant::now();
            for dial in self.book.due(&self.connected(), now) {
                self.begin(dial);
            }
            let untold = self.tell(now);
            self.shared.publish_dials(self.book.status(&self.connected(), now), now);
            // Also without news: members come, and those who were sent away may come back.
            let latest = now + TELL_EVERY;
            let wake = [self.book.next_due(now), untold].into_iter().flatten().fold(latest, Instant::min);
            tokio::select! {
                told = news.recv() => match told {
                    Some(told) => self.hear(told),
                    None => return,
                },
                Some(came) = self.running.join_next(), if !self.running.is_empty() => match came {
                    Ok(came) => self.came(came),
                    Err(why) if why.is_panic() => std::panic::resume_unwind(why.into_panic()),
                    Err(_) => {}
                },
                () = sleep_until(wake.into()) => {}
            }
        }
    }

    fn connected(&self) -> Vec<Connected> {
        let links = self.shared.all();
        links.iter().map(|link| Connected { issuer: link.issuer, outgoing: link.outgoing }).collect()
    }

    fn hear(&mut self, news: News) {
        let now = Instant::now();
        match news {
            News::Up { link, dialled } => self.book.up(link.issuer, link.address, dialled, now),
            News::Down { issuer, held, why } => self.book.down(issuer, held, &why, now),
            News::Told { by, addresses } => {
                self.book.told(by, &addresses, now);
            }
            News::Look => {}
        }
    }

    fn came(&mut self, came: Came) {
        match came {
            Came::Failed { target, why } => {
                tracing::debug!(?target, %why, "dial failed");
                self.book.failed(target, why, Instant::now());
            }
            Came::Ourselves { target, why } => {
                tracing::warn!(?target, %why, "this address is not dialled again");
                self.book.ourselves(target, why);
            }
            Came::Over => {}
        }
    }

    fn begin(&mut self, dial: Dial) {
        let (shared, endpoint, identity) =
            (Arc::clone(&self.shared), self.endpoint.clone(), self.identity.clone());
        self.running.spawn(async move { dial_once(&shared, &endpoint, &identity, dial).await });
    }

    /// Tells each peer what it was not told yet, but not too often. When there is more to tell later, says when.
    fn tell(&mut self, now: Instant) -> Option<Instant> {
        let links = self.shared.all();
        self.told.retain(|peer, _| links.iter().any(|link| link.peer == *peer));
        let all = self.book.to_tell();
        let mut next: Option<Instant> = None;
        for link in links {
            // It knows where it is itself; this node may not.
            let list: Vec<Address> = all.iter().filter(|a| a.issuer != link.issuer).copied().collect();
            let frame = addresses::frame(&list);
            match self.told.get(&link.peer) {
                Some((_, told)) if *told == frame => continue,
                Some((at, _)) if *at + TELL_EVERY > now => {
                    let due = *at + TELL_EVERY;
                    next = Some(next.map_or(due, |n| n.min(due)));
                    continue;
                }
                None if list.is_empty() => continue,
                _ => {}
            }
            link.queue(Lane::Fresh).push(frame.as_slice().into());
            self.told.insert(link.peer, (now, frame));
        }
        next
    }
}

/// One dial, and the link that comes of it until it ends.
async fn dial_once(shared: &Arc<Shared>, endpoint: &Endpoint, identity: &Identity, dial: Dial) -> Came {
    let target = dial.target;
    let connected = reach(shared, endpoint, identity, &dial).await;
    let connection = match connected {
        Ok(connection) => connection,
        Err(Failure::Ourselves(why)) => return Came::Ourselves { target, why },
        Err(Failure::Other(why)) => return Came::Failed { target, why },
    };
    let Some(key) = tls::key_of(&connection) else {
        return Came::Failed { target, why: "the other side showed no key".into() };
    };
    match link::open_lanes(&connection).await {
        Ok(lanes) => {
            link::run(shared, connection, lanes, key.issuer(), Some(target)).await;
            Came::Over
        }
        // The book remembers why; how the last link ended stays what it was.
        Err(why) => Came::Failed { target, why },
    }
}

enum Failure {
    Ourselves(String),
    Other(String),
}

async fn reach(
    shared: &Shared,
    endpoint: &Endpoint,
    identity: &Identity,
    dial: &Dial,
) -> Result<quinn::Connection, Failure> {
    let addresses = match &dial.at {
        At::Addresses(addresses) => addresses.clone(),
        At::Name(name) => resolve(name).await.map_err(Failure::Other)?,
    };
    // A socket of IPv4 reaches nothing else; one of IPv6 reaches both.
    let only_ipv4 = endpoint.local_addr().is_ok_and(|own| own.is_ipv4());
    let addresses = addresses.into_iter().filter(|at| at.is_ipv4() || !only_ipv4).take(RESOLVED_MAX);
    let pass = Pass::Dialled(shared.members.clone(), dial.expect);
    let config = client_config(identity, pass, tls::ALPN).map_err(|why| Failure::Other(why.to_string()))?;
    let mut last = Failure::Other("it has no address that this gateway's socket reaches".into());
    for at in addresses {
        match connect(endpoint, config.clone(), at).await {
            Ok(connection) => return Ok(connection),
            Err((true, why)) => last = Failure::Ourselves(why),
            Err((false, why)) => last = Failure::Other(why),
        }
    }
    Err(last)
}

/// The settings of one dial.
pub(super) fn client_config(
    identity: &Identity,
    pass: Pass,
    alpn: &[u8],
) -> Result<quinn::ClientConfig, NetError> {
    let mut config = identity.client(pass, alpn)?;
    let mut transport = endpoint::transport();
    // Only the side that dialled: both would cost twice as much.
    transport.keep_alive_interval(Some(KEEP_ALIVE));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// A handshake with whoever is there. An error says whether it is this node itself, and why in words.
pub(super) async fn connect(
    endpoint: &Endpoint,
    config: quinn::ClientConfig,
    at: SocketAddr,
) -> Result<quinn::Connection, (bool, String)> {
    // The name is not sent, and the verifier does not look at it.
    let connecting = endpoint.connect_with(config, at, "selvedge").map_err(|why| (false, why.to_string()))?;
    match timeout(HANDSHAKE, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(why)) => {
            let ourselves =
                matches!(&why, ConnectionError::TransportError(e) if u64::from(e.code) == ONE_KEY);
            Err((ourselves, words::of_end(&why)))
        }
        Err(_) => Err((false, words::of_end(&ConnectionError::TimedOut))),
    }
}

/// How the verifier says "our own key": TLS alert 44 as an error of QUIC.
const ONE_KEY: u64 = 0x100 + 44;

/// The addresses of "host:port".
pub(super) async fn resolve(name: &str) -> Result<Vec<SocketAddr>, String> {
    let found = timeout(HANDSHAKE, tokio::net::lookup_host(name)).await;
    let found = found.map_err(|_| format!("no answer when asked for the address of {name}"))?;
    let found =
        found.map_err(|why| format!("cannot find the address of {name}: {why}; expected HOST:PORT"))?;
    Ok(found.collect())
}
