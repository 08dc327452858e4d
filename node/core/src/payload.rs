//! What a transaction carries. A kind that this version does not know is carried and ordered like any other.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Canonical};
use crate::genesis::{PublicKey, check_roles};
use crate::hash::{Hash, Issuer, context, derive};
use crate::limits;

/// The kinds that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum PayloadKind {
    /// Application bytes; an empty one is used for approving.
    Note = 0,
    /// A member that the genesis does not name enters. Always and only sequence 0.
    Enrol = 1,
    /// The issuer's next key. Alone in its transaction.
    Rotate = 2,
    /// The root over a batch of readings.
    Batch = 3,
    /// Operations on identities and twins: ordered now, interpreted from a later version on.
    Registry = 4,
}

impl PayloadKind {
    /// The kind with this number.
    pub const fn from_u16(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::Note,
            1 => Self::Enrol,
            2 => Self::Rotate,
            3 => Self::Batch,
            4 => Self::Registry,
            _ => return None,
        })
    }
    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Enrol => "enrol",
            Self::Rotate => "rotate",
            Self::Batch => "batch",
            Self::Registry => "registry",
        }
    }
}

/// Who signed a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CredentialSigner {
    /// The organisation itself.
    Organisation,
    /// A member of the genesis with the role `inviter` for that organisation: place in its `members`.
    Inviter(u16),
}

/// An organisation's word that an identity is its member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credential {
    /// Place of the organisation in the genesis.
    pub organisation: u16,
    /// Who signed.
    pub signer: CredentialSigner,
    /// Over [`Enrol::credential_hash`], by the first key of the signer.
    #[serde(with = "serde_bytes")]
    pub signature: Vec<u8>,
}

/// The payload of transaction 0 of every issuer that the genesis does not name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// Its first key (key number 0): the identity is the hash of it.
    pub key: PublicKey,
    /// For people.
    pub name: String,
    /// Roles, ascending, each once.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::ROLES_MAX }>")]
    pub roles: Vec<String>,
    /// Who lets it in.
    pub credential: Credential,
}

impl Canonical for Enrol {
    const WHAT: &'static str = "enrol payload";
    const BYTES_MAX: usize = 16 * 1024;

    fn check(&self) -> Result<(), &'static str> {
        self.key.check()?;
        codec::check_name(&self.name)?;
        check_roles(&self.roles)?;
        if self.credential.signature.len() > limits::SIGNATURE_BYTES_MAX {
            return Err("the credential's signature is too long");
        }
        Ok(())
    }
}

impl Enrol {
    /// What a credential vouches for: who, under which organisation, with which name and roles.
    pub fn credential_hash(issuer: Issuer, organisation: u16, name: &str, roles: &[String]) -> [u8; 32] {
        derive(context::CREDENTIAL, &codec::encode(&(issuer, organisation, name, roles)))
    }
}

/// The issuer's next key, signed with the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    /// The next key; its number is one more than that of the key in force.
    pub key: PublicKey,
}

impl Canonical for Rotate {
    const WHAT: &'static str = "rotate payload";
    const BYTES_MAX: usize = limits::PUBLIC_KEY_BYTES_MAX + 16;

    fn check(&self) -> Result<(), &'static str> {
        self.key.check()
    }
}

/// The readings of one stream in a batch: leaves `offset .. offset + count`, counters `first .. first + count`,
/// where `offset` is the sum of the counts before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSpan {
    /// Hash of the descriptor in force.
    pub descriptor: Hash,
    /// The stream's counter of its first reading here.
    pub first: u64,
    /// Readings, at least 1.
    pub count: u32,
}

/// A batch: the root over readings, and where to find them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The gateway's gapless counter of batches, from 0.
    pub number: u64,
    /// Smallest and greatest receive time in it, ns since 1970 UTC.
    pub first_time_ns: i64,
    /// See `first_time_ns`.
    pub last_time_ns: i64,
    /// Readings: the leaves of the tree.
    pub count: u32,
    /// Root over the leaves.
    pub root: Hash,
    /// Hash of the archive segment.
    pub segment: Hash,
    /// Its length in bytes.
    pub segment_bytes: u64,
    /// The streams, in the order of the leaves.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::BATCH_STREAMS_MAX }>")]
    pub streams: Vec<StreamSpan>,
}

impl Canonical for Batch {
    const WHAT: &'static str = "batch payload";
    const BYTES_MAX: usize = limits::PAYLOAD_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.streams.is_empty() || self.streams.len() > limits::BATCH_STREAMS_MAX {
            return Err("not between 1 and 1,024 streams");
        }
        if self.count as usize > limits::BATCH_READINGS_MAX {
            return Err("more than 65,536 readings");
        }
        if self.streams.iter().any(|s| s.count == 0 || s.first.checked_add(u64::from(s.count)).is_none()) {
            return Err("a stream without readings, or a counter that overflows");
        }
        if self.streams.iter().map(|s| u64::from(s.count)).sum::<u64>() != u64::from(self.count) {
            return Err("the counts of the streams do not add up");
        }
        if self.first_time_ns > self.last_time_ns {
            return Err("its first time is after its last");
        }
        Ok(())
    }
}

impl Batch {
    /// The leaf of the reading `counter` of the stream at `stream_index`.
    pub fn leaf_index(&self, stream_index: u32, counter: u64) -> Option<u64> {
        let (before, from) = self.streams.split_at_checked(stream_index as usize)?;
        let span = from.first()?;
        let within = counter.checked_sub(span.first).filter(|w| *w < u64::from(span.count))?;
        Some(before.iter().map(|s| u64::from(s.count)).sum::<u64>() + within)
    }
}
