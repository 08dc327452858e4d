//! The connection under joining: who holds an invitation speaks `selvedge-join/0` with a member, over one stream.
//!
//! The transport proves that each side has the key that it shows, and gives both 32 bytes that only this connection
//! has ([`Guest::exporter`]). Who holds which invitation is proved above it (`invite`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use selvedge_core::genesis::PublicKey;
use selvedge_crypto::Signer;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::limits::{GOODBYE, GUEST_WINDOW_BYTES, HANDSHAKE, RESOLVED_MAX};
use super::links::{code, seen_address};
use super::tls::{self, Identity};
use super::{NetError, dial, endpoint, words};

/// Label of the exported bytes (RFC 8446, section 7.5).
const EXPORTER_LABEL: &[u8] = b"EXPERIMENTAL selvedge join v0";

/// One side of a joining connection: the guest as the member sees it, or the member as the guest sees it. Few guests are
/// let in at a time, so whoever answers one must give up after a bounded time.
pub struct Guest {
    /// The other side's key, proved by the handshake; of the guest it is the key that is to be a member's first.
    pub key: PublicKey,
    /// The other side's address.
    pub address: SocketAddr,
    /// The same on both sides, and on no other connection.
    pub exporter: [u8; 32],
    /// To the other side.
    pub send: SendStream,
    /// From the other side. Bytes are as it sent them: bound every length before reading.
    pub recv: RecvStream,
    connection: Connection,
    /// Of the guest: its own socket.
    endpoint: Option<Endpoint>,
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the exported bytes, which are secret.
        f.debug_struct("Guest")
            .field("issuer", &self.key.issuer())
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Guest {
    /// Ends the conversation. What was written before is delivered if the other side reads it within a second; then it
    /// is told the reason.
    pub async fn close(mut self, reason: &str) {
        let _ = self.send.finish();
        let _ = timeout(GOODBYE, self.send.stopped()).await;
        self.connection.close(code::FAREWELL, words::reason_bytes(reason));
        if let Some(endpoint) = self.endpoint {
            let _ = timeout(GOODBYE, endpoint.wait_idle()).await;
        }
    }

    /// Why the connection ended, once it has: what the other side said, in words.
    pub fn ended(&self) -> Option<String> {
        self.connection.close_reason().map(|why| words::of_end(&why))
    }
}

/// A guest is there: one stream, small windows, and on to whoever answers guests.
pub(super) async fn receive(connection: Connection, key: PublicKey, guests: Option<mpsc::Sender<Guest>>) {
    let away = |why: &str| connection.close(code::NO_GUESTS, words::reason_bytes(why));
    let Some(place) = guests.as_ref().and_then(|guests| guests.try_reserve().ok()) else {
        return away(
            "nobody joins here at present: no invitation is open, or several guests wait; try again in a minute",
        );
    };
    connection.set_receive_window(VarInt::from_u32(GUEST_WINDOW_BYTES));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(1));
    let streams = match timeout(HANDSHAKE, connection.accept_bi()).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(_)) => return,
        Err(_) => return away("no stream within ten seconds"),
    };
    match guest(connection.clone(), key, streams, None) {
        Ok(guest) => place.send(guest),
        Err(why) => away(&why.to_string()),
    }
}

fn guest(
    connection: Connection,
    key: PublicKey,
    (send, recv): (SendStream, RecvStream),
    endpoint: Option<Endpoint>,
) -> Result<Guest, NetError> {
    let mut exporter = [0; 32];
    connection
        .export_keying_material(&mut exporter, EXPORTER_LABEL, &[])
        .map_err(|why| NetError::Tls { why: format!("no exported bytes: {why:?}") })?;
    let address = seen_address(&connection);
    Ok(Guest { key, address, exporter, send, recv, connection, endpoint })
}

/// Dials the member at "host:port" to join its network. Needs no running node and no membership; whoever answers is
/// taken, so the caller must have it prove that it knows the invitation. Within a tokio runtime.
///
/// # Errors
/// When the name has no address, nobody answers there within ten seconds for each of its addresses, or the other side
/// takes no guests; all in words.
pub async fn dial(to: &str, signer: &Arc<dyn Signer>) -> Result<Guest, NetError> {
    let identity = Identity::new(signer)?;
    let failed = |why: String| NetError::Join { to: to.to_owned(), why };
    let mut last = "it has no address".to_owned();
    for at in dial::resolve(to).await.map_err(failed)?.into_iter().take(RESOLVED_MAX) {
        let (endpoint, config) = endpoint::for_one_dial(at, &identity)?;
        let connection = match dial::connect(&endpoint, config, at).await {
            Ok(connection) => connection,
            Err((_, why)) => {
                last = why;
                continue;
            }
        };
        let key = tls::key_of(&connection).ok_or_else(|| failed("it showed no key".into()))?;
        // In TLS 1.3 this side is done before the other has looked at its key: the stream shows that it was let in.
        let streams = match timeout(HANDSHAKE + Duration::from_secs(1), connection.open_bi()).await {
            Ok(Ok(streams)) => streams,
            Ok(Err(why)) => return Err(failed(words::of_end(&why))),
            Err(_) => return Err(failed("it opened no stream within ten seconds".into())),
        };
        return guest(connection, key, streams, Some(endpoint));
    }
    Err(failed(last))
}
