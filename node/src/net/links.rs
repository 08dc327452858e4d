//! The connections that are up, and what became of those that are not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use selvedge_core::Issuer;
use selvedge_core::border::{Lane, PeerId, Serve, Ticket};
use tokio::sync::{Semaphore, mpsc};

use super::arrivals::ToCore;
use super::book::DialStatus;
use super::dial::News;
use super::gate::{Bucket, Gate, GateCounts};
use super::limits::{
    BULK_BYTES_MAX, BULK_FRAMES_MAX, CLOSED_MAX, CONNECTIONS_PER_MEMBER_MAX, FRESH_BYTES_MAX,
    FRESH_FRAMES_MAX, IN_ENGINE_BYTES, SERVE_WAITING_MAX, SKIPS_BURST, TOLD_BURST,
};
use super::members::{MemberCounts, Members};
use super::queue::{Queue, QueueStatus};
use super::words;
use crate::engine::clock::wall_ns;
use crate::store::StoreReader;

/// Ends of a connection that are no error of QUIC.
pub(super) mod code {
    use quinn::VarInt;
    /// This node stops.
    pub(crate) const STOPS: VarInt = VarInt::from_u32(0);
    /// The core ended it.
    pub(crate) const FAREWELL: VarInt = VarInt::from_u32(1);
    /// A rule of the frames was broken.
    pub(crate) const RULE: VarInt = VarInt::from_u32(2);
    /// Nobody answers guests, or too many wait.
    pub(crate) const NO_GUESTS: VarInt = VarInt::from_u32(3);
}

/// What all parts of the network share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) members: Members,
    pub(super) to_core: ToCore,
    pub(super) news: mpsc::Sender<News>,
    pub(super) reader: StoreReader,
    pub(super) gate: Mutex<Gate>,
    links: Mutex<BTreeMap<PeerId, Arc<Link>>>,
    closed: Mutex<Vec<Closed>>,
    /// When they were published, and what.
    dials: Mutex<(Instant, Vec<DialStatus>)>,
    next_peer: AtomicU64,
    /// Connections that members dialled, from the end of the handshake on.
    dialled_here: Mutex<BTreeMap<Issuer, usize>>,
    /// UDP payload of connections that ended: sent, received.
    ended_bytes: [AtomicU64; 2],
}

/// A connection that is up.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) issuer: Issuer,
    pub(super) address: SocketAddr,
    pub(super) outgoing: bool,
    pub(super) since: Instant,
    since_ns: i64,
    pub(super) connection: quinn::Connection,
    pub(super) fresh: Queue,
    pub(super) bulk: Queue,
    /// Bytes on their way from this peer to the core.
    pub(super) room: Arc<Semaphore>,
    pub(super) requests: mpsc::Sender<(Ticket, Serve)>,
    /// Requests that were not answered with `Served` yet.
    pub(super) owed: Mutex<Vec<Ticket>>,
    /// Why this side ended it.
    farewell: Mutex<Option<String>>,
    pub(super) told: Mutex<Bucket>,
    /// Frames of the shell's kinds that may still be skipped.
    pub(super) skips: Mutex<Bucket>,
    pub(super) counts: LinkCounts,
}

#[derive(Debug, Default)]
pub(super) struct LinkCounts {
    pub(super) frames_sent: AtomicU64,
    pub(super) frames_received: AtomicU64,
    pub(super) unknown: AtomicU64,
    pub(super) refused_requests: AtomicU64,
    pub(super) served: AtomicU64,
}

/// A connection, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkStatus {
    /// Its name in the core.
    pub peer: PeerId,
    /// Who is at the other end.
    pub issuer: Issuer,
    /// Where.
    pub address: SocketAddr,
    /// Did this node dial?
    pub outgoing: bool,
    /// Since when, ns since 1970 UTC by this node's clock.
    pub since_ns: i64,
    /// Round trip, microseconds.
    pub round_trip_us: u64,
    /// UDP payload sent, bytes.
    pub bytes_sent: u64,
    /// UDP payload received, bytes.
    pub bytes_received: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that were lost and sent again.
    pub packets_lost: u64,
    /// Frames handed to QUIC.
    pub frames_sent: u64,
    /// Frames received.
    pub frames_received: u64,
    /// Frames of kinds of the shell that this version does not know, and addresses told too often.
    pub frames_skipped: u64,
    /// What waits for the fresh lane.
    pub fresh: QueueStatus,
    /// What waits for the bulk lane.
    pub bulk: QueueStatus,
    /// Transactions sent from the log.
    pub served: u64,
    /// Requests to the store refused, since others of this peer waited already.
    pub refused_requests: u64,
}

/// A connection that ended, or a handshake that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// Who, as far as it was known.
    pub issuer: Option<Issuer>,
    /// Where.
    pub address: SocketAddr,
    /// When, ns since 1970 UTC by this node's clock.
    pub at_ns: i64,
    /// Why.
    pub why: String,
}

/// The network, as it is shown.
#[derive(Debug, Clone, Default)]
pub struct NetStatus {
    /// Connections, by age.
    pub links: Vec<LinkStatus>,
    /// UDP payload sent by all links since the start, those that ended included, bytes.
    pub bytes_sent: u64,
    /// The same received.
    pub bytes_received: u64,
    /// How connections ended: the last one of each peer or address, the newest first.
    pub closed: Vec<Closed>,
    /// Whom this node wants to reach, and how it stands.
    pub dials: Vec<DialStatus>,
    /// What the verifier counted.
    pub members: MemberCounts,
    /// What the gate counted.
    pub gate: GateCounts,
}

/// Every change under these locks is whole before the lock is let go, so a panic elsewhere leaves nothing half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(
        members: Members,
        to_core: ToCore,
        news: mpsc::Sender<News>,
        reader: StoreReader,
    ) -> Self {
        Self {
            members,
            to_core,
            news,
            reader,
            gate: Mutex::new(Gate::new(Instant::now())),
            links: Mutex::default(),
            closed: Mutex::default(),
            dials: Mutex::new((Instant::now(), Vec::new())),
            next_peer: AtomicU64::new(1),
            dialled_here: Mutex::default(),
            ended_bytes: Default::default(),
        }
    }

    /// Makes a link of a connection whose lanes are open; the receiver is for its serving task.
    pub(super) fn link(
        &self,
        connection: quinn::Connection,
        issuer: Issuer,
        outgoing: bool,
    ) -> (Arc<Link>, mpsc::Receiver<(Ticket, Serve)>) {
        // When it is full the request is refused: see `NetHandle::serve`.
        let (requests, inbox) = mpsc::channel(SERVE_WAITING_MAX);
        let since = Instant::now();
        let link = Arc::new(Link {
            peer: PeerId(self.next_peer.fetch_add(1, Relaxed)),
            issuer,
            address: seen_address(&connection),
            outgoing,
            since,
            since_ns: wall_ns(),
            connection,
            fresh: Queue::new(FRESH_FRAMES_MAX, FRESH_BYTES_MAX),
            bulk: Queue::new(BULK_FRAMES_MAX, BULK_BYTES_MAX),
            room: Arc::new(Semaphore::new(IN_ENGINE_BYTES)),
            requests,
            owed: Mutex::default(),
            farewell: Mutex::default(),
            told: Mutex::new(Bucket::full(TOLD_BURST, since)),
            skips: Mutex::new(Bucket::full(SKIPS_BURST, since)),
            counts: LinkCounts::default(),
        });
        lock(&self.links).insert(link.peer, Arc::clone(&link));
        (link, inbox)
    }

    /// A place for a connection that a member dialled, if it has not too many; given back by dropping.
    pub(super) fn enter(self: &Arc<Self>, issuer: Issuer) -> Option<Place> {
        let mut dialled = lock(&self.dialled_here);
        let count = dialled.entry(issuer).or_default();
        if *count >= CONNECTIONS_PER_MEMBER_MAX {
            return None;
        }
        *count += 1;
        Some(Place { shared: Arc::clone(self), issuer })
    }

    pub(super) fn get(&self, peer: PeerId) -> Option<Arc<Link>> {
        lock(&self.links).get(&peer).cloned()
    }

    pub(super) fn remove(&self, link: &Link) {
        let mut links = lock(&self.links);
        if links.remove(&link.peer).is_some() {
            // Under the lock, so that a sum misses nothing and counts nothing twice.
            let stats = link.connection.stats();
            self.ended_bytes[0].fetch_add(stats.udp_tx.bytes, Relaxed);
            self.ended_bytes[1].fetch_add(stats.udp_rx.bytes, Relaxed);
        }
    }

    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        lock(&self.links).values().cloned().collect()
    }

    /// Remembers why a connection ended, in place of what was known of this peer or address.
    pub(super) fn note_closed(&self, issuer: Option<Issuer>, address: SocketAddr, why: &str) {
        let mut closed = lock(&self.closed);
        closed.retain(|c| match issuer {
            Some(_) => c.issuer != issuer,
            None => c.issuer.is_some() || c.address.ip() != address.ip(),
        });
        if closed.len() >= CLOSED_MAX {
            // Strangers from many addresses push out one another, not what is known of members.
            let oldest = closed.iter().position(|c| c.issuer.is_none()).unwrap_or(0);
            closed.remove(oldest);
        }
        closed.push(Closed { issuer, address, at_ns: wall_ns(), why: why.to_owned() });
    }

    pub(super) fn publish_dials(&self, dials: Vec<DialStatus>, now: Instant) {
        *lock(&self.dials) = (now, dials);
    }

    pub(super) fn status(&self) -> NetStatus {
        let (links, ended): (Vec<LinkStatus>, _) = {
            let links = lock(&self.links);
            let ended = [0, 1].map(|way: usize| self.ended_bytes[way].load(Relaxed));
            (links.values().map(|link| link.status()).collect(), ended)
        };
        let bytes_sent = ended[0] + links.iter().map(|l| l.bytes_sent).sum::<u64>();
        let bytes_received = ended[1] + links.iter().map(|l| l.bytes_received).sum::<u64>();
        let closed = lock(&self.closed).iter().rev().cloned().collect();
        let (published, mut dials) = lock(&self.dials).clone();
        for next in dials.iter_mut().filter_map(|dial| dial.next.as_mut()) {
            *next = next.saturating_sub(published.elapsed());
        }
        let gate = lock(&self.gate).counts();
        NetStatus { links, bytes_sent, bytes_received, closed, dials, members: self.members.counts(), gate }
    }
}

/// See [`Shared::enter`].
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    issuer: Issuer,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut dialled = lock(&self.shared.dialled_here);
        if let Some(count) = dialled.get_mut(&self.issuer) {
            *count -= 1;
            if *count == 0 {
                dialled.remove(&self.issuer);
            }
        }
    }
}

impl Link {
    pub(super) fn queue(&self, lane: Lane) -> &Queue {
        match lane {
            Lane::Fresh => &self.fresh,
            Lane::Bulk => &self.bulk,
        }
    }

    /// Ends the connection, unless it has ended already; the other side is told why.
    pub(super) fn close(&self, code: quinn::VarInt, why: &str) {
        if self.connection.close_reason().is_some() {
            // Closing again would put this side's reason in place of the other's.
            return;
        }
        lock(&self.farewell).get_or_insert_with(|| why.to_owned());
        self.connection.close(code, words::reason_bytes(why));
    }

    /// Why it ended, once it has.
    pub(super) fn ended(&self) -> Option<String> {
        let why = self.connection.close_reason()?;
        let own = lock(&self.farewell).clone();
        Some(match (&why, own) {
            (quinn::ConnectionError::LocallyClosed, Some(own)) => format!("closed by this side: {own}"),
            _ => words::of_end(&why),
        })
    }

    pub(super) fn held(&self) -> Duration {
        self.since.elapsed()
    }

    fn status(&self) -> LinkStatus {
        let stats = self.connection.stats();
        let counts = &self.counts;
        LinkStatus {
            peer: self.peer,
            issuer: self.issuer,
            address: self.address,
            outgoing: self.outgoing,
            since_ns: self.since_ns,
            round_trip_us: u64::try_from(stats.path.rtt.as_micros()).unwrap_or(u64::MAX),
            bytes_sent: stats.udp_tx.bytes,
            bytes_received: stats.udp_rx.bytes,
            packets_sent: stats.path.sent_packets,
            packets_lost: stats.path.lost_packets,
            frames_sent: counts.frames_sent.load(Relaxed),
            frames_received: counts.frames_received.load(Relaxed),
            frames_skipped: counts.unknown.load(Relaxed),
            fresh: self.fresh.status(),
            bulk: self.bulk.status(),
            served: counts.served.load(Relaxed),
            refused_requests: counts.refused_requests.load(Relaxed),
        }
    }
}

/// The other side's address; one of IPv4 as such, whatever the socket.
pub(super) fn seen_address(connection: &quinn::Connection) -> SocketAddr {
    let at = connection.remote_address();
    SocketAddr::new(at.ip().to_canonical(), at.port())
}
