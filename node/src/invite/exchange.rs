//! The two messages of a redemption, and what each side proves.
//!
//! ```text
//! joiner → member   Redeem   "here is my key, and proof that I know the secret of invitation ID"
//! member → joiner   Answer   genesis, enrolment and addresses, and proof that it knows the secret too; or a refusal
//! ```
//!
//! Both proofs are BLAKE3 over the invitation's key (a hash of the secret), 32 bytes of keying material that TLS exports
//! for this connection alone (RFC 8446, section 7.5), and all that the message says. Nothing follows from them about the
//! secret, and they fit no other connection.

use std::fmt;

use selvedge_core::codec::{self, Canonical, check_name};
use selvedge_core::genesis::{Genesis, PublicKey};
use selvedge_core::hash::derive;
use selvedge_core::payload::Enrol;
use selvedge_core::{Network, NetworkId, limits};
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::book::{InvitationId, id_of, key_of};
use super::line::Line;
use crate::answers::shown::Time;
use crate::credential::{self, check_addresses};

/// Keying material exported from TLS.
pub const EXPORTER_BYTES: usize = 32;
/// Longest message of the joiner, in bytes.
pub const REDEEM_BYTES_MAX: usize = 4 * 1024;
/// Longest answer, in bytes: a genesis, an enrolment, some addresses.
pub const ANSWER_BYTES_MAX: usize = limits::GENESIS_BYTES_MAX + 32 * 1024;

const REDEEM_CONTEXT: &str = "selvedge v0 invitation joiner proof";
const ANSWER_CONTEXT: &str = "selvedge v0 invitation member proof";

/// The joiner's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeem {
    /// 0.
    pub version: u8,
    /// The network of the line.
    pub network: NetworkId,
    /// Which invitation.
    pub invitation: InvitationId,
    /// The joiner's first key; TLS has shown that it is its own.
    pub key: PublicKey,
    /// What it wants to be called.
    pub name: Option<String>,
    /// Over all of this.
    pub proof: [u8; 32],
}

impl Canonical for Redeem {
    const WHAT: &'static str = "redemption";
    const BYTES_MAX: usize = REDEEM_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        self.key.check()?;
        self.name.iter().try_for_each(|name| check_name(name))
    }
}

/// The member's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// 0.
    pub version: u8,
    /// What became of it.
    pub outcome: Result<Welcome, Refusal>,
}

impl Canonical for Answer {
    const WHAT: &'static str = "answer to a redemption";
    const BYTES_MAX: usize = ANSWER_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        match &self.outcome {
            Ok(welcome) => check_addresses(&welcome.addresses),
            Err(Refusal::OtherName(name)) => check_name(name),
            Err(_) => Ok(()),
        }
    }
}

/// All that a joiner needs to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The genesis.
    #[serde(with = "serde_bytes")]
    pub genesis: Vec<u8>,
    /// The encoded enrolment.
    #[serde(with = "serde_bytes")]
    pub enrolment: Vec<u8>,
    /// Where members are reached ("host:port").
    pub addresses: Vec<String>,
    /// Over all of this and the joiner's proof.
    pub proof: [u8; 32],
}

/// Why a member lets nobody in on a redemption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// It belongs to another network.
    OtherNetwork(NetworkId),
    /// It knows no such invitation.
    Unknown,
    /// The proof does not fit.
    Proof,
    /// Too late; when it ended, in seconds since 1970 UTC.
    Expired(u64),
    /// Somebody else was first; when, in seconds since 1970 UTC.
    Redeemed(u64),
    /// The invitation gives another name.
    OtherName(String),
    /// The key in the message is not the one of the connection.
    OtherKey,
    /// Too many wrong attempts from there; seconds to wait.
    Busy(u32),
    /// Not a message of this version.
    Malformed,
    /// The member failed; its log says why.
    Failed,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |s: &u64| Time(i64::try_from(*s).unwrap_or(i64::MAX).saturating_mul(1_000_000_000));
        match self {
            Self::OtherNetwork(network) => {
                write!(f, "the member at this address belongs to another network, {}", ids::to_text(network))
            }
            Self::Unknown => f.write_str(
                "the member knows no such invitation: it was made on another gateway, or ended more than a month ago",
            ),
            Self::Proof => f.write_str(
                "the proof of the secret does not fit: the line is not the one that was printed, or somebody stands \
                 between this machine and the member",
            ),
            Self::Expired(at) => write!(f, "the invitation ended at {}; ask for another", time(at)),
            Self::Redeemed(at) => write!(
                f,
                "the invitation was already redeemed by another gateway, at {}; ask for another (and if that was nobody of \
                 yours, say so: the line was seen by a stranger)",
                time(at)
            ),
            Self::OtherName(name) => write!(f, "the invitation is for a gateway called {name:?}"),
            Self::OtherKey => f.write_str("the key in the message is not the key of the connection"),
            Self::Busy(seconds) => {
                write!(f, "too many wrong attempts came from this address; try again in {seconds} s")
            }
            Self::Malformed => f.write_str("the message is none that the member knows; is it of another version?"),
            Self::Failed => f.write_str("the member could not do it; its log says why"),
        }
    }
}

/// Why a joiner did not get in.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The member said no.
    #[error("not let in: {0}")]
    Refused(Refusal),
    /// The answer is no answer.
    #[error("the member's answer is not good: {0}")]
    Codec(#[from] codec::CodecError),
    /// The member does not know the secret.
    #[error(
        "whoever answers at this address does not know the secret of the invitation: a wrong address, or somebody stands \
         between; nothing was taken over from there"
    )]
    NotTheMember,
    /// Another genesis than the line names.
    #[error(
        "the member sent the genesis of network {}, the line is for {}; nothing was taken over",
        ids::to_text(got),
        ids::to_text(expected)
    )]
    OtherNetwork {
        /// What its hash is.
        got: NetworkId,
        /// What the line says.
        expected: NetworkId,
    },
    /// The enrolment would be refused.
    #[error("the member's credential is not good: {0}")]
    Credential(#[from] credential::CredentialError),
    /// It names this gateway otherwise.
    #[error("the credential calls this gateway {got:?}, asked for was {expected:?}")]
    OtherName {
        /// The name in it.
        got: String,
        /// The name asked for.
        expected: String,
    },
    /// The connection.
    #[error("{what}: {why}")]
    Connection {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        #[source]
        why: std::io::Error,
    },
    /// No answer in time.
    #[error("no answer within {} s; try the same command again: if the member did let this key in, it says so again", .0.as_secs())]
    TooSlow(std::time::Duration),
}

/// What a joiner has when it was let in, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The genesis of the network that the line names.
    pub genesis: Vec<u8>,
    /// The encoded enrolment: payload of the first transaction.
    pub enrolment: Vec<u8>,
    /// The name in it.
    pub name: String,
    /// Where members are reached.
    pub addresses: Vec<String>,
}

pub(super) fn redeem_proof(key: &[u8; 32], exporter: &[u8; EXPORTER_BYTES], redeem: &Redeem) -> [u8; 32] {
    let Redeem { version, network, invitation, key: joiner, name, .. } = redeem;
    derive(REDEEM_CONTEXT, &codec::encode(&(key, exporter, version, network, invitation, joiner, name)))
}

pub(super) fn answer_proof(
    key: &[u8; 32],
    exporter: &[u8; EXPORTER_BYTES],
    redeem: &[u8; 32],
    welcome: &Welcome,
) -> [u8; 32] {
    let Welcome { genesis, enrolment, addresses, .. } = welcome;
    derive(ANSWER_CONTEXT, &codec::encode(&(key, exporter, redeem, genesis, enrolment, addresses)))
}

/// Alike? In a time that does not depend on where they differ.
pub(super) fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// The joiner's message on the connection with this keying material.
pub fn redeem(line: &Line, key: PublicKey, name: Option<String>, exporter: &[u8; EXPORTER_BYTES]) -> Redeem {
    let (network, invitation) = (line.network, id_of(&line.secret));
    let mut redeem = Redeem { version: 0, network, invitation, key, name, proof: [0; 32] };
    redeem.proof = redeem_proof(&key_of(&line.secret), exporter, &redeem);
    redeem
}

/// What the joiner makes of the answer: nothing of it is taken over before the member has proved that it knows the
/// secret, the genesis is the line's, and the enrolment is one that every node will take.
///
/// # Errors
/// See [`JoinError`].
pub fn accept(
    line: &Line,
    asked: &Redeem,
    exporter: &[u8; EXPORTER_BYTES],
    answer: &[u8],
) -> Result<Joined, JoinError> {
    let answer: Answer = codec::decode(answer)?;
    let welcome = answer.outcome.map_err(JoinError::Refused)?;
    let proof = answer_proof(&key_of(&line.secret), exporter, &asked.proof, &welcome);
    if !same(&proof, &welcome.proof) {
        return Err(JoinError::NotTheMember);
    }
    let got = Genesis::network_id_of(&welcome.genesis);
    if got != line.network {
        return Err(JoinError::OtherNetwork { got, expected: line.network });
    }
    let genesis: Genesis = codec::decode(&welcome.genesis)?;
    let enrol: Enrol =
        credential::check_enrolment(&welcome.enrolment, &Network::new(got), &genesis, asked.key.issuer())?;
    if let Some(expected) = asked.name.as_ref().filter(|name| **name != enrol.name) {
        return Err(JoinError::OtherName { got: enrol.name, expected: expected.clone() });
    }
    let Welcome { genesis, enrolment, addresses, .. } = welcome;
    Ok(Joined { genesis, enrolment, name: enrol.name, addresses })
}
