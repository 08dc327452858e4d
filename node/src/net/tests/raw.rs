//! A peer that has a key and a QUIC client, and nothing of the rest.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::{Connection, Endpoint, RecvStream, SendStream};

use super::super::tls::{ALPN, Identity, Pass};
use super::super::{dial, endpoint};
use super::{key, within};

pub(super) struct Raw {
    pub(super) connection: Connection,
    _endpoint: Endpoint,
}

/// A connection with the key of this number, whoever answers.
pub(super) async fn connect(number: u8, to: SocketAddr) -> Result<Raw, String> {
    let identity = Identity::new(&key(number)).expect("a key");
    let config = dial::client_config(&identity, Pass::Anybody, ALPN).expect("a configuration");
    connect_with(config, to).await
}

/// A connection with these settings.
pub(super) async fn connect_with(config: quinn::ClientConfig, to: SocketAddr) -> Result<Raw, String> {
    let endpoint = endpoint::open(([127, 0, 0, 1], 0).into(), None, [7; 32]).expect("a socket");
    let connection =
        within("a handshake", dial::connect(&endpoint, config, to)).await.map_err(|(_, why)| why)?;
    Ok(Raw { connection, _endpoint: endpoint })
}

/// The lanes as they are: to fresh, to bulk, and the two from the node, in the order in which they came.
pub(super) struct RawLanes {
    pub(super) fresh: SendStream,
    pub(super) bulk: SendStream,
    pub(super) from: [RecvStream; 2],
}

impl Raw {
    pub(super) async fn lanes(&self) -> RawLanes {
        let mut out = Vec::new();
        for lane in [0_u8, 1] {
            let mut stream = within("a stream", self.connection.open_uni()).await.expect("a stream");
            stream.write_all(&[lane]).await.expect("a byte");
            out.push(stream);
        }
        let bulk = out.pop().expect("two");
        let fresh = out.pop().expect("two");
        let mut from = Vec::new();
        for _ in 0..2 {
            let mut stream = within("a stream", self.connection.accept_uni()).await.expect("a stream");
            let mut lane = [9];
            stream.read_exact(&mut lane).await.expect("its lane");
            from.push((lane[0], stream));
        }
        from.sort_by_key(|(lane, _)| *lane);
        let from: Vec<RecvStream> = from.into_iter().map(|(_, stream)| stream).collect();
        RawLanes { fresh, bulk, from: from.try_into().expect("two") }
    }

    /// Why the node ended it, in the node's words.
    pub(super) async fn end(&self) -> String {
        super::super::words::of_end(&within("the end", self.connection.closed()).await)
    }
}

/// A frame as it stands on a stream.
pub(super) fn on_stream(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_le_bytes(), frame].concat()
}

/// TLS settings that a test changes, with the raw key of a node.
pub(super) fn rustls_config(
    number: Option<u8>,
    provider: rustls::crypto::CryptoProvider,
) -> Result<quinn::ClientConfig, String> {
    use rustls::pki_types::CertificateDer;
    let text = |why: &dyn std::fmt::Display| why.to_string();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|why| text(&why))?
        .dangerous()
        .with_custom_certificate_verifier(super::super::tls::tests::anybody());
    let mut config = match number {
        None => builder.with_no_client_auth(),
        Some(number) => {
            let certified = super::super::tls::tests::certified(&key(number));
            let _: &[CertificateDer<'_>] = &certified.cert;
            builder.with_client_cert_resolver(Arc::new(
                rustls::client::AlwaysResolvesClientRawPublicKeys::new(certified),
            ))
        }
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    let initial = super::super::tls::initial_suite().map_err(|why| text(&why))?;
    let config = quinn::crypto::rustls::QuicClientConfig::with_initial(Arc::new(config), initial)
        .map_err(|why| text(&why))?;
    Ok(quinn::ClientConfig::new(Arc::new(config)))
}
