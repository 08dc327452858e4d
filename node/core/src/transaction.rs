//! A transaction: the signed vertex of the tangle. It names its issuer's previous one and approves two tips.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::codec::{self, Canonical, CodecError};
use crate::hash::{Id, Issuer, NetworkId};
use crate::limits;
use crate::payload::PayloadKind;
use crate::scheme::Scheme;

/// How one transaction names another. A held transaction satisfies it only when all three agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Reference {
    /// Who signed it.
    pub issuer: Issuer,
    /// Its place on its issuer's chain.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
}

impl Reference {
    /// The genesis: issuer zeros, sequence 0, the network id.
    pub const fn genesis(network: NetworkId) -> Self {
        Self { issuer: Issuer::GENESIS, sequence: 0, id: Id(network.0) }
    }
    /// Does this name the genesis? (Whether it is the right one is checked on receipt.)
    pub fn is_genesis(&self) -> bool {
        self.issuer == Issuer::GENESIS
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.issuer.short(), self.sequence, self.id.short())
    }
}

/// A parent of a witness: a committee member's witness of the round before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Parent {
    /// Place in the committee of the epoch.
    pub member: u8,
    /// Sequence of that witness on its issuer's chain.
    pub sequence: u64,
    /// Its id.
    pub id: Id,
}

/// The witness part: one step of the agreement on the order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WitnessPart {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The round, from 1.
    pub round: u64,
    /// Round 1: the epoch's anchor. Above: witnesses of the round before.
    pub parents: Parents,
    /// Up to 16 further tips, so that a burst is covered soon.
    #[serde(deserialize_with = "codec::at_most::<_, _, { limits::ALSO_MAX }>")]
    pub also: Vec<Reference>,
}

/// What a witness stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parents {
    /// Round 1: the epoch's anchor (epoch 0: the network id).
    Anchor(Id),
    /// Above: in ascending order of place in the committee, each once.
    Witnesses(#[serde(deserialize_with = "codec::at_most::<_, _, { limits::COMMITTEE_MAX }>")] Vec<Parent>),
}

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Body {
    /// 0.
    pub version: u8,
    /// Who signs.
    pub issuer: Issuer,
    /// The issuer's gapless counter from 0.
    pub sequence: u64,
    /// The issuer's transaction before; for sequence 0 the genesis.
    pub prev: Id,
    /// The two tips. Both may be the same.
    pub approves: [Reference; 2],
    /// A committee member's step of the agreement, or none.
    pub witness: Option<WitnessPart>,
    /// The issuer's claim, ms since 1970 UTC. Never part of validity.
    pub issued_at_ms: u64,
    /// `FLAG_…`.
    pub flags: u8,
    /// What the payload is (`PayloadKind`, or a kind that this version does not know).
    pub kind: u16,
    /// The payload.
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// The issuer's wall clock was not synchronised.
pub const FLAG_UNSYNCHRONISED: u8 = 1;

impl Canonical for Body {
    const WHAT: &'static str = "transaction body";
    const BYTES_MAX: usize = limits::BODY_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("transaction version is not 0");
        }
        if self.issuer == Issuer::GENESIS {
            return Err("the issuer is zeros, which only the genesis has");
        }
        if self.sequence > limits::SEQUENCE_MAX {
            return Err("a sequence that no chain reaches");
        }
        if self.flags & !FLAG_UNSYNCHRONISED != 0 {
            return Err("an unknown flag");
        }
        if self.payload.len() > limits::PAYLOAD_BYTES_MAX {
            return Err("the payload is longer than 65,536 bytes");
        }
        self.witness.as_ref().map_or(Ok(()), WitnessPart::check)
    }
}

impl WitnessPart {
    fn check(&self) -> Result<(), &'static str> {
        if self.also.len() > limits::ALSO_MAX {
            return Err("a witness names more than 16 further tips");
        }
        match (&self.parents, self.round) {
            (_, 0) => Err("a witness has round 0"),
            (Parents::Anchor(_), 1) => Ok(()),
            (Parents::Anchor(_), _) | (Parents::Witnesses(_), 1) => {
                Err("round 1 names the epoch's anchor, later rounds name witnesses")
            }
            (Parents::Witnesses(parents), _)
                if parents.is_empty() || parents.len() > limits::COMMITTEE_MAX =>
            {
                Err("a witness has no parent, or more than 63")
            }
            (Parents::Witnesses(parents), _) if !parents.is_sorted_by(|a, b| a.member < b.member) => {
                Err("parents are not in ascending order of member, each once")
            }
            _ => Ok(()),
        }
    }
}

impl Body {
    /// The transaction before, as a reference.
    pub fn prev_reference(&self, network: NetworkId) -> Reference {
        match self.sequence.checked_sub(1) {
            Some(sequence) => Reference { issuer: self.issuer, sequence, id: self.prev },
            None => Reference::genesis(network),
        }
    }

    /// Is there something in it that others should approve?
    pub fn has_payload(&self) -> bool {
        self.kind != PayloadKind::Note as u16 || !self.payload.is_empty()
    }
}

/// A body with its signature. Nothing of the body is repeated outside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope<'a> {
    /// The scheme of the signature.
    pub scheme: Scheme,
    /// Which of the issuer's keys signed, from 0.
    pub key_number: u32,
    /// The signature, of exactly the scheme's length.
    #[serde(with = "serde_bytes", borrow)]
    pub signature: &'a [u8],
    /// The bytes of the body, as they were signed.
    #[serde(with = "serde_bytes", borrow)]
    pub body: &'a [u8],
}

impl Canonical for Envelope<'_> {
    const WHAT: &'static str = "transaction envelope";
    const BYTES_MAX: usize = limits::ENVELOPE_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.signature.len() != self.scheme.signature_bytes() {
            return Err("the signature is not of its scheme's length");
        }
        Ok(())
    }
}

impl<'a> Envelope<'a> {
    /// The outer layer once more, of bytes that [`open`](Self::open) took before: their form is known to be the one.
    pub(crate) fn reopen(bytes: &'a [u8]) -> Result<Self, CodecError> {
        codec::decode_again(bytes)
    }

    /// Both layers: the envelope, and the body in it.
    pub fn open(bytes: &'a [u8]) -> Result<(Self, Body), CodecError> {
        let envelope: Self = codec::decode(bytes)?;
        let body = codec::decode(envelope.body)?;
        Ok((envelope, body))
    }
}
