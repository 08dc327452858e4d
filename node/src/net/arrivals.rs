//! What the network tells the core's loop, and how much of it may be on its way.

use std::sync::Arc;

use selvedge_core::Issuer;
use selvedge_core::border::{PeerId, Ticket};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::limits::ARRIVALS_MAX;

/// Something for the core. For one peer the order is `PeerUp`, any number of others, `PeerDown`, and nothing after it.
#[derive(Debug)]
pub enum Arrival {
    /// Becomes `Input::PeerUp`.
    PeerUp {
        /// The connection: a number that is never used again.
        peer: PeerId,
        /// Who is at the other end; checked by TLS.
        issuer: Issuer,
        /// Did this node dial?
        outgoing: bool,
    },
    /// Becomes `Input::PeerDown`.
    PeerDown(PeerId),
    /// Becomes `Input::Frame`. The kinds of the shell never come here.
    Frame {
        /// The connection.
        peer: PeerId,
        /// The frame.
        bytes: Arc<[u8]>,
        /// Drop it when the core was handed the frame: it is what the peer may have on its way.
        permit: Permit,
    },
    /// Becomes `Input::Served`.
    Served(Ticket),
}

/// A peer's share of what is on its way to the core.
#[derive(Debug)]
pub struct Permit {
    _bytes: OwnedSemaphorePermit,
}

impl Permit {
    pub(super) fn new(bytes: OwnedSemaphorePermit) -> Self {
        Self { _bytes: bytes }
    }
}

/// The network's end of the channel to the core's loop.
#[derive(Debug, Clone)]
pub struct ToCore {
    arrivals: mpsc::Sender<Arrival>,
}

/// The loop is gone: the node stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl ToCore {
    /// Both ends. When the channel is full the connections wait, and through QUIC's flow control the peers do; of each
    /// at most 64 frames and 256 KiB are in it.
    pub fn channel() -> (Self, mpsc::Receiver<Arrival>) {
        let (arrivals, inbox) = mpsc::channel(ARRIVALS_MAX);
        (Self { arrivals }, inbox)
    }

    pub(super) async fn tell(&self, arrival: Arrival) -> Result<(), Gone> {
        self.arrivals.send(arrival).await.map_err(|_| Gone)
    }
}
