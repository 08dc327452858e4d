//! The one UDP socket: how QUIC is set, and who is let in.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Incoming, MtuDiscoveryConfig,
    TransportConfig, VarInt,
};
use selvedge_core::hash::derive;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::gate::Verdict;
use super::join::{self, Guest};
use super::limits::{
    CONNECTIONS_MAX, CONNECTIONS_PER_MEMBER_MAX, HANDSHAKE, IDLE, INCOMING_BYTES, INCOMING_MAX, MTU_INTERVAL,
    RECEIVE_WINDOW_BYTES, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use super::links::{Shared, code, lock, seen_address};
use super::tls::{self, Identity};
use super::{NetError, link, words};

/// How every connection is set. Congestion control is quinn's default, CUBIC: its BBR is marked experimental, and on
/// a link that others share (a plant's uplink) it takes more than its share.
pub(super) fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.interval(MTU_INTERVAL);
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS_MAX))
        // A guest is given one after its handshake; members have no use for any.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .datagram_send_buffer_size(0)
        .mtu_discovery_config(Some(mtu))
        .max_idle_timeout(Some(idle()));
    transport
}

fn idle() -> quinn::IdleTimeout {
    VarInt::from_u32(IDLE.as_millis() as u32).into()
}

/// Opens the socket. Within a tokio runtime only.
pub(super) fn open(
    listen: SocketAddr,
    server: Option<quinn::ServerConfig>,
    reset_key: [u8; 32],
) -> Result<Endpoint, NetError> {
    let failed = |why| NetError::Socket { listen, why };
    let socket = UdpSocket::bind(listen).map_err(failed)?;
    let mut config = EndpointConfig::new(Arc::new(ResetKey(reset_key)));
    config.cid_generator(|| Box::new(RandomIds));
    let server = server.map(|mut server| {
        server
            .transport_config(Arc::new(transport()))
            .max_incoming(INCOMING_MAX)
            .incoming_buffer_size(INCOMING_BYTES)
            .incoming_buffer_size_total(INCOMING_BYTES * INCOMING_MAX as u64);
        server
    });
    Endpoint::new(config, server, socket, Arc::new(quinn::TokioRuntime)).map_err(failed)
}

/// Makes the tokens of stateless resets (RFC 9000, section 10.3) of a secret that outlives starts: so a peer learns
/// from its next packet that this node was killed and started again, instead of waiting for silence.
struct ResetKey([u8; 32]);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = derive("selvedge v0 reset token", &[&self.0, data].concat());
        signature_out.copy_from_slice(&tag);
    }
    fn signature_len(&self) -> usize {
        32
    }
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let tag = derive("selvedge v0 reset token", &[&self.0, data].concat());
        // Whole before it is judged, so that time tells nothing.
        let differences = tag.iter().zip(signature).fold(0, |sum, (a, b)| sum | (a ^ b));
        if signature.len() == tag.len() && differences == 0 { Ok(()) } else { Err(CryptoError) }
    }
}

/// Random connection ids. quinn's own default marks them with a key of this start, and would leave packets to an
/// earlier start unanswered, where a reset is wanted.
#[derive(Debug, Clone, Copy)]
struct RandomIds;

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; 8];
        // An id need not be a secret, only new; without randomness no handshake gets this far.
        let _ = getrandom::fill(&mut bytes);
        ConnectionId::new(&bytes)
    }
    fn cid_len(&self) -> usize {
        8
    }
    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// Lets others in until the endpoint is closed.
pub(super) async fn accept(shared: Arc<Shared>, endpoint: Endpoint, guests: Option<mpsc::Sender<Guest>>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { break };
                let has_room = running.len() < CONNECTIONS_MAX && endpoint.open_connections() < CONNECTIONS_MAX;
                if let Some(connecting) = judge(&shared, incoming, has_room) {
                    running.spawn(shake(Arc::clone(&shared), connecting, guests.clone()));
                }
            }
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if let Err(why) = ended && why.is_panic() {
                    std::panic::resume_unwind(why.into_panic());
                }
            }
        }
    }
    while running.join_next().await.is_some() {}
}

fn judge(shared: &Shared, incoming: Incoming, has_room: bool) -> Option<quinn::Connecting> {
    let (from, proved) = (incoming.remote_address().ip(), incoming.remote_address_validated());
    let verdict = lock(&shared.gate).judge(from, proved, has_room, Instant::now());
    match verdict {
        Verdict::Accept => match incoming.accept() {
            Ok(connecting) => return Some(connecting),
            Err(error) => {
                lock(&shared.gate).ended(from);
                tracing::debug!(%from, %error, "a first packet that begins nothing");
            }
        },
        Verdict::Retry => {
            // It may already have been asked to; then it is as good as proved, which `judge` was told.
            let _ = incoming.retry();
        }
        Verdict::Refuse => incoming.refuse(),
        Verdict::Ignore => incoming.ignore(),
    }
    None
}

/// A handshake that others began, and what comes of it.
async fn shake(shared: Arc<Shared>, connecting: quinn::Connecting, guests: Option<mpsc::Sender<Guest>>) {
    let from = connecting.remote_address();
    let outcome = timeout(HANDSHAKE, connecting).await;
    lock(&shared.gate).ended(from.ip());
    let connection = match outcome {
        Ok(Ok(connection)) => connection,
        Ok(Err(why)) => return refused(&shared, from, &words::of_end(&why)),
        Err(_) => return refused(&shared, from, "its handshake was not done within ten seconds"),
    };
    let (Some(key), Some(alpn)) = (tls::key_of(&connection), tls::alpn_of(&connection)) else {
        connection.close(code::RULE, b"no key or no protocol");
        return;
    };
    let issuer = key.issuer();
    if alpn == tls::ALPN_JOIN {
        return join::receive(connection, key, guests).await;
    }
    if !shared.members.contains(&issuer) {
        // Let through for an invitation that is open, but it wants something else.
        let why = "not a member of this network; joining has a protocol of its own";
        connection.close(code::RULE, words::reason_bytes(why));
        return refused(&shared, from, why);
    }
    let Some(_place) = shared.enter(issuer) else {
        let why = format!("this member has {CONNECTIONS_PER_MEMBER_MAX} connections here already");
        return connection.close(code::RULE, words::reason_bytes(&why));
    };
    match link::open_lanes(&connection).await {
        Ok(lanes) => link::run(&shared, connection, lanes, issuer, None).await,
        Err(why) => shared.note_closed(Some(issuer), seen_address(&connection), &why),
    }
}

fn refused(shared: &Shared, from: SocketAddr, why: &str) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    tracing::debug!(%from, why, "a handshake came to nothing");
    shared.note_closed(None, from, why);
}

/// The socket for one dial out, for whoever has no network yet.
pub(super) fn for_one_dial(
    to: SocketAddr,
    identity: &Identity,
) -> Result<(Endpoint, quinn::ClientConfig), NetError> {
    let listen: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let mut reset_key = [0; 32];
    getrandom::fill(&mut reset_key)
        .map_err(|why| NetError::Tls { why: format!("the system gave no randomness: {why}") })?;
    let endpoint = open(listen, None, reset_key)?;
    let config = super::dial::client_config(identity, tls::Pass::Anybody, tls::ALPN_JOIN)?;
    Ok((endpoint, config))
}
