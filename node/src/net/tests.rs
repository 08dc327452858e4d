//! The network over real loopback QUIC: two nodes, or a node and a peer that does what it likes.

mod hostile;
mod joining;
mod meeting;
mod raw;
mod serving;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::PeerId;
use selvedge_core::{Issuer, Scheme};
use selvedge_crypto::{SecretKey, Signer, signer};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{Arrival, Closed, Guest, LinkStatus, Members, Net, NetConfig, ToCore};
use crate::store::tests::serve::filled;
use crate::store::{Store, StoreReader};

/// Nothing here takes as long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} did not come within {PATIENCE:?}"))
}

/// Looks again and again until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "{what} did not come within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The key of a test's node: another one for each number.
fn key(number: u8) -> Arc<dyn Signer> {
    signer(&SecretKey::from_seed(Scheme::MlDsa44, &[number; 32])).expect("a key")
}

fn issuer(number: u8) -> Issuer {
    key(number).public_key().issuer()
}

fn members(own: u8, others: &[u8]) -> Members {
    let members = Members::new(issuer(own));
    for other in others {
        members.add(issuer(*other));
    }
    members
}

/// A node without a core: the test is the core.
struct Node {
    number: u8,
    net: Net,
    members: Members,
    arrivals: mpsc::Receiver<Arrival>,
    /// Where it reads.
    _store: Store,
}

/// How a node is started.
struct Start {
    number: u8,
    members: Members,
    peers: Vec<String>,
    listen: SocketAddr,
    guests: Option<mpsc::Sender<Guest>>,
    store: (Store, StoreReader),
}

impl Start {
    fn new(number: u8, others: &[u8]) -> Self {
        let (store, reader, _) = filled(1, 1);
        Self {
            number,
            members: members(number, others),
            peers: Vec::new(),
            listen: ([127, 0, 0, 1], 0).into(),
            guests: None,
            store: (store, reader),
        }
    }

    fn dialling(mut self, peer: SocketAddr) -> Self {
        self.peers.push(peer.to_string());
        self
    }

    fn try_run(self) -> Result<Node, super::NetError> {
        let (to_core, arrivals) = ToCore::channel();
        let (store, reader) = self.store;
        let net = Net::start(NetConfig {
            listen: self.listen,
            advertise: Vec::new(),
            peers: self.peers,
            signer: key(self.number),
            members: self.members.clone(),
            reader,
            to_core,
            guests: self.guests,
            reset_key: [self.number; 32],
        })?;
        Ok(Node { number: self.number, net, members: self.members, arrivals, _store: store })
    }

    fn run(self) -> Node {
        self.try_run().expect("a network")
    }
}

impl Node {
    fn at(&self) -> SocketAddr {
        self.net.local_addr()
    }

    async fn next(&mut self) -> Arrival {
        let what = format!("something for node {}", self.number);
        within(&what, self.arrivals.recv()).await.expect("the network runs")
    }

    /// The next thing is this peer.
    async fn up(&mut self, other: u8) -> PeerId {
        match self.next().await {
            Arrival::PeerUp { peer, issuer: who, .. } if who == issuer(other) => peer,
            got => panic!("node {}: got {got:?}, expected node {other} to come up", self.number),
        }
    }

    /// The next thing is the end of this peer.
    async fn down(&mut self, peer: PeerId) {
        match self.next().await {
            Arrival::PeerDown(gone) if gone == peer => {}
            got => panic!("node {}: got {got:?}, expected the end of {peer:?}", self.number),
        }
    }

    /// The next thing is a frame of this peer.
    async fn frame(&mut self, from: PeerId) -> Arc<[u8]> {
        match self.next().await {
            Arrival::Frame { peer, bytes, .. } if peer == from => bytes,
            got => panic!("node {}: got {got:?}, expected a frame of {from:?}", self.number),
        }
    }

    fn link(&self, peer: PeerId) -> LinkStatus {
        let status = self.net.handle().status();
        status.links.into_iter().find(|l| l.peer == peer).expect("a link")
    }

    /// How the last connection with this node ended.
    fn closed(&self, other: u8) -> Option<Closed> {
        self.net.handle().status().closed.into_iter().find(|c| c.issuer == Some(issuer(other)))
    }
}

/// A frame of a kind that the core knows nothing of: a number, and so many bytes in all.
fn frame(number: u64, bytes: usize) -> Arc<[u8]> {
    let mut frame = vec![42; bytes.max(9)];
    frame[1..9].copy_from_slice(&number.to_le_bytes());
    frame.into()
}
