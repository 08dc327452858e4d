//! Cables that can be pulled out: a relay for UDP in front of each gateway.
//!
//! Every gateway is reached at its relay only, so each packet between two of them passes one, on its way there and
//! back. When a cable is out, the relays drop what its gateway sends and what is sent to it, without a word to
//! anybody, as a cable would. Made only where a cut is to be shown; otherwise gateways speak directly.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// Longest packet of UDP.
const PACKET_BYTES_MAX: usize = 65_536;

/// A relay for each gateway.
#[derive(Debug)]
pub struct Cables {
    ends: Arc<[End]>,
    addresses: Vec<SocketAddr>,
    stop: CancellationToken,
}

/// A gateway, as the relays know it.
#[derive(Debug, Default)]
struct End {
    /// Where it listens and speaks from, once it runs.
    gateway: OnceLock<SocketAddr>,
    is_out: AtomicBool,
    /// Packets for it that were lost to a cable that was out.
    lost: AtomicU64,
}

impl Cables {
    /// Lays `count` cables, all plugged in.
    ///
    /// # Errors
    /// When the system gives no port.
    pub async fn lay(count: usize) -> io::Result<Self> {
        let ends: Arc<[End]> = (0..count).map(|_| End::default()).collect();
        let stop = CancellationToken::new();
        let mut addresses = Vec::new();
        for to in 0..count {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            addresses.push(socket.local_addr()?);
            let relay = Relay { ends: Arc::clone(&ends), to, socket: Arc::new(socket), stop: stop.clone() };
            // It runs until the cables are dropped.
            drop(tokio::spawn(relay.run()));
        }
        Ok(Self { ends, addresses, stop })
    }

    /// Where a gateway is reached.
    pub fn address(&self, gateway: usize) -> SocketAddr {
        self.addresses[gateway]
    }

    /// Says where a gateway really listens. Until then nothing comes through.
    pub fn plug_in(&self, gateway: usize, at: SocketAddr) {
        // A gateway is started once.
        let _ = self.ends[gateway].gateway.set(at);
    }

    /// Pulls a cable out.
    pub fn cut(&self, gateway: usize) {
        self.ends[gateway].is_out.store(true, Ordering::Relaxed);
    }

    /// Puts a cable back.
    pub fn heal(&self, gateway: usize) {
        self.ends[gateway].is_out.store(false, Ordering::Relaxed);
    }

    /// Packets that were lost to cables that were out.
    pub fn lost(&self) -> u64 {
        self.ends.iter().map(|end| end.lost.load(Ordering::Relaxed)).sum()
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What stands before one gateway.
struct Relay {
    ends: Arc<[End]>,
    to: usize,
    socket: Arc<UdpSocket>,
    stop: CancellationToken,
}

impl Relay {
    async fn run(self) {
        // One for each other gateway, so at most as many as there are.
        let mut ways = BTreeMap::new();
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            let (length, from) = tokio::select! {
                () = self.stop.cancelled() => return,
                received = self.socket.recv_from(&mut packet) => match received {
                    Ok(received) => received,
                    // Of a packet that was sent before: whom it was for is gone.
                    Err(_) => continue,
                },
            };
            let Some(sender) = self.ends.iter().position(|end| end.gateway.get() == Some(&from)) else {
                continue;
            };
            let Some(to) = self.ends[self.to].gateway.get() else { continue };
            let way = match ways.entry(sender) {
                Entry::Occupied(way) => way.into_mut(),
                Entry::Vacant(place) => match self.open(*to, sender, from).await {
                    Ok(way) => place.insert(way),
                    Err(_) => continue,
                },
            };
            if passes(&self.ends, sender, self.to) {
                // What cannot be sent is lost, as on any network.
                let _ = way.send(&packet[..length]).await;
            }
        }
    }

    /// The way of one sender to this gateway, and back.
    async fn open(&self, to: SocketAddr, sender: usize, from: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        let way = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        way.connect(to).await?;
        let way = Arc::new(way);
        let (back, socket, stop) = (Arc::clone(&way), Arc::clone(&self.socket), self.stop.clone());
        let (ends, gateway) = (Arc::clone(&self.ends), self.to);
        tokio::spawn(async move {
            let mut packet = vec![0; PACKET_BYTES_MAX];
            loop {
                let length = tokio::select! {
                    () = stop.cancelled() => return,
                    received = back.recv(&mut packet) => match received {
                        Ok(length) => length,
                        Err(_) => continue,
                    },
                };
                if passes(&ends, gateway, sender) {
                    // As above.
                    let _ = socket.send_to(&packet[..length], from).await;
                }
            }
        });
        Ok(way)
    }
}

/// Are both cables in? If not, the packet counts as lost.
fn passes(ends: &[End], from: usize, to: usize) -> bool {
    let is_whole = [from, to].into_iter().all(|end| !ends[end].is_out.load(Ordering::Relaxed));
    if !is_whole {
        ends[to].lost.fetch_add(1, Ordering::Relaxed);
    }
    is_whole
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn end() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let at = socket.local_addr().expect("bound");
        (socket, at)
    }

    async fn next(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
        let mut packet = [0; 64];
        let received = tokio::time::timeout(Duration::from_secs(30), socket.recv_from(&mut packet));
        let (length, from) = received.await.expect("within 30 s").expect("a packet");
        (packet[..length].to_vec(), from)
    }

    /// What was dropped never comes, so what is sent after it comes first.
    #[tokio::test]
    async fn packets_pass_both_ways_and_none_while_a_cable_is_out() {
        let cables = Cables::lay(2).await.expect("ports");
        let ((one, at_one), (other, at_other)) = (end().await, end().await);
        one.send_to(b"too early", cables.address(1)).await.unwrap();
        cables.plug_in(0, at_one);
        cables.plug_in(1, at_other);
        // The one that came too early may come or not; the next one does.
        one.send_to(b"hello", cables.address(1)).await.unwrap();
        let (mut said, mut way) = next(&other).await;
        if said == b"too early" {
            (said, way) = next(&other).await;
        }
        assert_eq!(said, b"hello");
        assert_ne!(way, at_one, "it came through the relay");
        other.send_to(b"good day", way).await.unwrap();
        assert_eq!(next(&one).await, (b"good day".to_vec(), cables.address(1)));

        for out in [0, 1] {
            let lost = cables.lost();
            cables.cut(out);
            other.send_to(b"lost", way).await.unwrap();
            one.send_to(b"lost", cables.address(1)).await.unwrap();
            lost_is(&cables, lost + 2).await;
            cables.heal(out);
            one.send_to(b"again", cables.address(1)).await.unwrap();
            other.send_to(b"again", way).await.unwrap();
            assert_eq!((next(&one).await.0, next(&other).await.0), (b"again".to_vec(), b"again".to_vec()));
        }
    }

    async fn lost_is(cables: &Cables, lost: u64) {
        let counted = async {
            while cables.lost() < lost {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), counted).await.expect("within 30 s");
        assert_eq!(cables.lost(), lost);
    }

    #[tokio::test]
    async fn a_stranger_is_not_let_through() {
        let cables = Cables::lay(2).await.expect("ports");
        let ((one, at_one), (other, at_other)) = (end().await, end().await);
        cables.plug_in(0, at_one);
        cables.plug_in(1, at_other);
        let (stranger, _) = end().await;
        stranger.send_to(b"knock", cables.address(1)).await.unwrap();
        one.send_to(b"hello", cables.address(1)).await.unwrap();
        assert_eq!(next(&other).await.0, b"hello");
    }
}
