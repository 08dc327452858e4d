//! The connection of a joiner: QUIC to the member whose address the line names.

use std::time::{Duration, Instant};

use selvedge_core::genesis::PublicKey;
use selvedge_crypto::SecretKey;

use crate::invite::exchange::{JoinError, Joined};
use crate::invite::{Line, stream};
use crate::net;

/// A member looks for new invitations once a second, and a busy one a little later: with a line that was printed just now
/// the door may still be shut, so it is knocked at for this long.
const DOOR_OPENS_WITHIN: Duration = Duration::from_secs(4);
const DIAL_EVERY: Duration = Duration::from_millis(250);

/// Why there is no connection, or nothing came of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// No connection.
    #[error(
        "no connection to {address}: {why}. Does the member run, is UDP let through, and is the invitation still open there? \
         (A member lets strangers as far as the door only while one is.)"
    )]
    Dial {
        /// Whom.
        address: String,
        /// Why not.
        why: String,
    },
    /// The member ended it.
    #[error("{address} closed the connection before it answered: {why}")]
    Closed {
        /// Who.
        address: String,
        /// What it said.
        why: String,
    },
    /// The exchange.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The key cannot be used.
    #[error(transparent)]
    Sign(#[from] selvedge_crypto::SignError),
}

/// Redeems a line for this key.
pub(super) async fn redeem(line: &Line, key: &SecretKey, name: Option<String>) -> Result<Joined, DialError> {
    let signer = selvedge_crypto::signer(key)?;
    let public: PublicKey = signer.public_key().clone();
    let address = line.address.to_string();
    let started = Instant::now();
    let mut member = loop {
        match net::join::dial(&address, &signer).await {
            Ok(member) => break member,
            Err(_) if started.elapsed() < DOOR_OPENS_WITHIN => tokio::time::sleep(DIAL_EVERY).await,
            Err(why) => return Err(DialError::Dial { address, why: why.to_string() }),
        }
    };
    let joined = stream::join(&mut member.recv, &mut member.send, &member.exporter, line, public, name).await;
    if let (Err(JoinError::Connection { .. }), Some(why)) = (&joined, member.ended()) {
        // What the member said when it closed says more than how the stream ended.
        return Err(DialError::Closed { address: line.address.to_string(), why });
    }
    member.close(if joined.is_ok() { "joined" } else { "not joined" }).await;
    Ok(joined?)
}
