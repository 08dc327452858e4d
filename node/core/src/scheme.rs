//! Signature schemes: which, how long, and what exactly is signed. The arithmetic is in `selvedge-crypto`.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::hash::{Id, NetworkId};

/// A signature scheme of FIPS 204. The tag travels in the envelope and in the signed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// ML-DSA-44: gateways and devices. Tag 1.
    MlDsa44,
    /// ML-DSA-65: organisations, long-lived. Tag 2.
    MlDsa65,
}

impl Scheme {
    /// The tag on the wire.
    pub const fn tag(self) -> u8 {
        match self {
            Self::MlDsa44 => 1,
            Self::MlDsa65 => 2,
        }
    }
    /// The scheme with this tag.
    pub const fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::MlDsa44),
            2 => Some(Self::MlDsa65),
            _ => None,
        }
    }
    /// Length of a public key, in bytes (FIPS 204, table 2).
    pub const fn public_key_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 1_312,
            Self::MlDsa65 => 1_952,
        }
    }
    /// Length of a signature, in bytes (FIPS 204, table 2).
    pub const fn signature_bytes(self) -> usize {
        match self {
            Self::MlDsa44 => 2_420,
            Self::MlDsa65 => 3_309,
        }
    }
    /// The standard's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
        }
    }
}

impl Serialize for Scheme {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.tag())
    }
}

impl<'de> Deserialize<'de> for Scheme {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = u8::deserialize(deserializer)?;
        Self::from_tag(tag).ok_or_else(|| serde::de::Error::custom("unknown signature scheme"))
    }
}

/// What the signature of a transaction covers (FIPS 204 with an empty context).
pub fn transaction_message(scheme: Scheme, key_number: u32, network: NetworkId, id: Id) -> Vec<u8> {
    message(b"selvedge transaction", scheme, key_number, network, &id.0)
}

/// What the signature of a membership credential covers; `credential` is the hash of its content.
pub fn credential_message(
    scheme: Scheme,
    key_number: u32,
    network: NetworkId,
    credential: &[u8; 32],
) -> Vec<u8> {
    message(b"selvedge credential", scheme, key_number, network, credential)
}

fn message(domain: &[u8], scheme: Scheme, key_number: u32, network: NetworkId, hash: &[u8; 32]) -> Vec<u8> {
    let mut message = Vec::with_capacity(domain.len() + 69);
    message.extend_from_slice(domain);
    message.push(scheme.tag());
    message.extend_from_slice(&key_number.to_le_bytes());
    message.extend_from_slice(&network.0);
    message.extend_from_slice(hash);
    message
}
