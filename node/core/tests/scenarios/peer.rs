//! The other ends of a driven node's connections: hello, what they say, what was said to them.

use std::sync::Arc;

use selvedge_core::border::{Effect, Farewell, Input, PeerId};
use selvedge_core::wire::{self, Hello, Message, StartId};
use selvedge_core::{Issuer, limits};

use crate::driver::{Driver, envelopes_of, issuer_of};

impl Driver {
    /// Without peers, so that no digest is due: does nothing wait, and is nothing to be approved?
    pub(crate) fn is_at_rest(&mut self) -> bool {
        for peer in self.node.peers(self.now) {
            self.input(Input::PeerDown(peer.peer));
        }
        self.node.next_deadline().is_none()
    }

    /// A peer connects, and both say hello.
    pub(crate) fn meet(&mut self, peer: PeerId) {
        self.meet_as(peer, issuer_of(peer));
    }

    /// The same, with this identity.
    pub(crate) fn meet_as(&mut self, peer: PeerId, issuer: Issuer) {
        self.input(Input::PeerUp { peer, issuer, outgoing: peer.0.is_multiple_of(2) });
        let hello = self.hello_of(peer);
        self.say(peer, &Message::Hello(hello));
    }

    /// What an honest peer says first.
    pub(crate) fn hello_of(&self, peer: PeerId) -> Hello {
        let mut start = [1; 16];
        start[..8].copy_from_slice(&peer.0.to_le_bytes());
        Hello {
            lowest: wire::VERSION,
            highest: wire::VERSION,
            features: 0,
            network: self.world.network.id(),
            frame_bytes_max: limits::FRAME_BYTES_MAX as u32,
            head: None,
            start: StartId(start),
            software: "peer 1".to_owned(),
        }
    }

    /// A peer says something.
    pub(crate) fn say(&mut self, peer: PeerId, message: &Message<'_>) {
        self.raw(peer, message.to_frame());
    }

    /// A peer sends any bytes.
    pub(crate) fn raw(&mut self, peer: PeerId, bytes: Arc<[u8]>) {
        self.input(Input::Frame { peer, bytes });
    }

    /// What was said to a peer since the last `take`, as frames; [`Message::open`] reads them.
    pub(crate) fn said_to(&self, to: PeerId) -> Vec<Arc<[u8]>> {
        let of = |e: &Effect| match e {
            Effect::Send { peer, frame, .. } if *peer == to => Some(frame.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(of).collect()
    }

    /// The transactions that were sent to a peer since the last `take`.
    pub(crate) fn sent_to(&self, to: PeerId) -> Vec<Arc<[u8]>> {
        self.said_to(to).iter().flat_map(|frame| envelopes_of(frame)).collect()
    }

    /// Who was sent away since the last `take`, and why.
    pub(crate) fn farewells(&self) -> Vec<(PeerId, Farewell)> {
        let of = |e: &Effect| match e {
            Effect::Disconnect { peer, why, .. } => Some((*peer, why.clone())),
            _ => None,
        };
        self.seen.iter().filter_map(of).collect()
    }
}
