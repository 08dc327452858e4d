//! Signatures of a run: ML-DSA as shipped, or tokens that stand for it. A token has the right length, is no use for
//! another message, and cannot be made without the secret; it is made and checked in a fraction of a microsecond, so
//! that a run measures the ledger and not a stand-in for its cryptography. Virtual time is charged for both alike.

use std::sync::Arc;

use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;

use crate::signatures::Mode;
#[cfg(feature = "real-signatures")]
use crate::signatures::{Key, Keyring};

/// The hash in a token; what follows is zeros.
const TOKEN_BYTES: usize = 32;
/// A modelled public key begins with its place among the keys.
const PLACE_BYTES: usize = 4;

/// All keys of a run, by place.
#[derive(Debug)]
pub(super) enum Keys {
    /// Keyed BLAKE3 and zeros.
    Modelled(Vec<Modelled>),
    /// ML-DSA.
    #[cfg(feature = "real-signatures")]
    Real(Keyring, Vec<Key>),
}

#[derive(Debug)]
pub(super) struct Modelled {
    public: Arc<PublicKey>,
    secret: [u8; 32],
}

impl Keys {
    pub(super) fn new(mode: Mode) -> Self {
        match mode {
            Mode::Modelled => Self::Modelled(Vec::new()),
            #[cfg(feature = "real-signatures")]
            Mode::Real => Self::Real(Keyring::new(mode), Vec::new()),
        }
    }

    /// Makes the next key from a secret.
    pub(super) fn make(&mut self, scheme: Scheme, secret: [u8; 32]) -> Arc<PublicKey> {
        match self {
            Self::Modelled(keys) => {
                let mut bytes = vec![0; scheme.public_key_bytes()];
                let (place, rest) = bytes.split_at_mut(PLACE_BYTES);
                place.copy_from_slice(&(keys.len() as u32).to_le_bytes());
                let mut hasher = blake3::Hasher::new_derive_key("selvedge-sim v0 modelled public key");
                hasher.update(&secret).finalize_xof().fill(rest);
                let public = Arc::new(PublicKey { scheme, bytes });
                keys.push(Modelled { public: public.clone(), secret });
                public
            }
            #[cfg(feature = "real-signatures")]
            Self::Real(ring, keys) => {
                let key = ring.make(scheme, secret);
                let public = key.public.clone();
                keys.push(key);
                public
            }
        }
    }

    /// Signs with the key at this place.
    pub(super) fn sign(&mut self, place: usize, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Modelled(keys) => {
                let key = &keys[place];
                let mut signature = vec![0; key.public.scheme.signature_bytes()];
                signature[..TOKEN_BYTES].copy_from_slice(blake3::keyed_hash(&key.secret, message).as_bytes());
                signature
            }
            #[cfg(feature = "real-signatures")]
            Self::Real(ring, keys) => ring.sign(&keys[place], message, 0),
        }
    }

    /// Is this a signature of `message` by the owner of `key`?
    pub(super) fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Modelled(keys) => {
                let Some(place) = key.bytes.first_chunk::<PLACE_BYTES>() else { return false };
                let Some(known) = keys.get(u32::from_le_bytes(*place) as usize) else { return false };
                let Some((token, zeros)) = signature.split_at_checked(TOKEN_BYTES) else { return false };
                *known.public == *key
                    && signature.len() == key.scheme.signature_bytes()
                    && token == blake3::keyed_hash(&known.secret, message).as_bytes()
                    && zeros.iter().fold(0, |all, byte| all | byte) == 0
            }
            #[cfg(feature = "real-signatures")]
            Self::Real(ring, _) => ring.verify(key, message, signature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_key_and_message_only() {
        let mut keys = Keys::new(Mode::Modelled);
        let (key, other) = (keys.make(Scheme::MlDsa44, [1; 32]), keys.make(Scheme::MlDsa44, [2; 32]));
        let signature = keys.sign(0, b"message");
        assert_eq!((signature.len(), key.bytes.len()), (2_420, 1_312));
        assert!(keys.verify(&key, b"message", &signature));
        assert!(!keys.verify(&key, b"massage", &signature));
        assert!(!keys.verify(&other, b"message", &signature));
        assert!(!keys.verify(&key, b"message", &signature[..2_419]));
        for at in [0, 31, 32, 1_000, 2_419] {
            let mut broken = signature.clone();
            broken[at] ^= 1;
            assert!(!keys.verify(&key, b"message", &broken), "byte {at}");
        }
        // A key of somebody who copied its beginning, or one that nobody has.
        let mut forged = (*key).clone();
        forged.bytes[100] ^= 1;
        assert!(!keys.verify(&forged, b"message", &signature));
        forged.bytes[..PLACE_BYTES].copy_from_slice(&9_u32.to_le_bytes());
        assert!(!keys.verify(&forged, b"message", &signature));
    }
}
