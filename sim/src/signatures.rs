//! Signatures: modelled by default, as tokens of the right length that nobody without the secret can make; or real.

use std::collections::BTreeMap;
use std::sync::Arc;

use selvedge_core::genesis::PublicKey;
use selvedge_core::{Id, Issuer, Scheme};

/// Which signatures a run uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Tokens: keyed BLAKE3, stretched. The ledger cannot tell the difference, and a run is ten times faster.
    Modelled,
    /// ML-DSA, checked by the shipped implementation. Signing takes its randomness from the seed of the run.
    #[cfg(feature = "real-signatures")]
    Real,
}

/// A key pair of the world.
#[derive(Debug, Clone)]
pub struct Key {
    /// The public half.
    pub public: Arc<PublicKey>,
    secret: [u8; 32],
}

/// A signature that was made here.
#[derive(Debug)]
struct Made {
    key: Arc<PublicKey>,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// All keys of a world.
#[derive(Debug)]
pub struct Keyring {
    mode: Mode,
    secrets: BTreeMap<Issuer, [u8; 32]>,
    /// What was signed by the owner of a key: transaction, key and message.
    signed: BTreeMap<Id, (Arc<PublicKey>, Vec<u8>)>,
    /// Modelled signatures that were made here, by the hash in the message: to check one of these again is to find it.
    /// Each comes by dozens of times.
    made: BTreeMap<Id, Vec<Made>>,
}

const NONCE_BYTES: usize = 16;

impl Keyring {
    /// Without keys.
    pub fn new(mode: Mode) -> Self {
        Self { mode, secrets: BTreeMap::new(), signed: BTreeMap::new(), made: BTreeMap::new() }
    }

    /// Makes a key from a secret.
    pub fn make(&mut self, scheme: Scheme, secret: [u8; 32]) -> Key {
        let public = Arc::new(self.public_of(scheme, &secret));
        self.secrets.insert(public.issuer(), secret);
        Key { public, secret }
    }

    fn public_of(&self, scheme: Scheme, secret: &[u8; 32]) -> PublicKey {
        match self.mode {
            Mode::Modelled => {
                let mut bytes = vec![0; scheme.public_key_bytes()];
                let mut hasher = blake3::Hasher::new_derive_key("selvedge-sim v0 public key");
                hasher.update(&[scheme.tag()]).update(secret).finalize_xof().fill(&mut bytes);
                PublicKey { scheme, bytes }
            }
            #[cfg(feature = "real-signatures")]
            Mode::Real => real_public_key(scheme, secret),
        }
    }

    /// Signs. As ML-DSA with randomness: another `nonce` gives another signature of the same message, the same one the same.
    pub fn sign(&mut self, key: &Key, message: &[u8], nonce: u64) -> Vec<u8> {
        // Every message ends with the hash of what is signed.
        if let Some(id) = message.last_chunk::<32>() {
            self.signed.insert(Id(*id), (key.public.clone(), message.to_vec()));
        }
        let signature = self.signature(key, message, nonce);
        // Real ones are really checked each time.
        if let (Mode::Modelled, Some(id)) = (self.mode, message.last_chunk::<32>()) {
            let (key, message) = (key.public.clone(), message.to_vec());
            self.made.entry(Id(*id)).or_default().push(Made { key, message, signature: signature.clone() });
        }
        signature
    }

    fn signature(&self, key: &Key, message: &[u8], nonce: u64) -> Vec<u8> {
        match self.mode {
            Mode::Modelled => {
                let mut prefix = [0; NONCE_BYTES];
                prefix[..8].copy_from_slice(&nonce.to_le_bytes());
                token(&key.secret, key.public.scheme, &prefix, message)
            }
            #[cfg(feature = "real-signatures")]
            Mode::Real => real_signature(key.public.scheme, &key.secret, message, nonce),
        }
    }

    /// Is this a signature of `message` by the owner of `key`?
    pub fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        let of_hash = message.last_chunk::<32>().and_then(|id| self.made.get(&Id(*id)));
        let is_it = |m: &Made| m.signature == signature && m.message == message && *m.key == *key;
        if of_hash.is_some_and(|made| made.iter().any(is_it)) {
            return true;
        }
        match self.mode {
            Mode::Modelled => {
                let Some(secret) = self.secrets.get(&key.issuer()) else { return false };
                let Some(nonce) = signature.first_chunk::<NONCE_BYTES>() else { return false };
                token(secret, key.scheme, nonce, message) == signature
            }
            #[cfg(feature = "real-signatures")]
            Mode::Real => selvedge_crypto::default_verifier().verify(key, message, signature),
        }
    }

    /// Was this transaction signed by the owner of a key, and is this such a signature?
    pub fn is_genuine(&self, id: &Id, signature: &[u8]) -> bool {
        self.signed.get(id).is_some_and(|(key, message)| self.verify(key, message, signature))
    }
}

fn token(secret: &[u8; 32], scheme: Scheme, nonce: &[u8; NONCE_BYTES], message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; scheme.signature_bytes()];
    signature[..NONCE_BYTES].copy_from_slice(nonce);
    let mut hasher = blake3::Hasher::new_keyed(secret);
    hasher.update(nonce).update(message).finalize_xof().fill(&mut signature[NONCE_BYTES..]);
    signature
}

#[cfg(feature = "real-signatures")]
fn real_public_key(scheme: Scheme, secret: &[u8; 32]) -> PublicKey {
    let secret = selvedge_crypto::SecretKey::from_seed(scheme, secret);
    selvedge_crypto::signer(&secret).expect("any 32 bytes are a seed").public_key().clone()
}

/// FIPS 204, algorithm 2 (ML-DSA.Sign, hedged) with an empty context, and with randomness that comes from `nonce`: the shipped
/// signer takes it from the operating system, and then the id of an enrolment, which holds a signature, would be another
/// one in each run.
#[cfg(feature = "real-signatures")]
fn real_signature(scheme: Scheme, secret: &[u8; 32], message: &[u8], nonce: u64) -> Vec<u8> {
    use ml_dsa::{B32, ExpandedSigningKey, MlDsa44, MlDsa65, Seed};
    let (seed, random) = (Seed::from(*secret), blake3::hash(&nonce.to_le_bytes()));
    let random = B32::from(*random.as_bytes());
    // A pure signature (0), and the length of its context.
    let parts: [&[u8]; 2] = [&[0, 0], message];
    match scheme {
        Scheme::MlDsa44 => {
            ExpandedSigningKey::<MlDsa44>::from_seed(&seed).sign_internal(&parts, &random).encode().to_vec()
        }
        Scheme::MlDsa65 => {
            ExpandedSigningKey::<MlDsa65>::from_seed(&seed).sign_internal(&parts, &random).encode().to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An enrolment holds a signature, so its id was another one in each run with real signatures, and a failed run could not
    /// be replayed.
    #[cfg(feature = "real-signatures")]
    #[test]
    fn a_real_signature_depends_on_key_message_and_nonce_alone() {
        for scheme in [Scheme::MlDsa44, Scheme::MlDsa65] {
            let sign = |nonce| {
                let mut ring = Keyring::new(Mode::Real);
                let key = ring.make(scheme, [3; 32]);
                let signature = ring.sign(&key, b"message", nonce);
                assert!(ring.verify(&key.public, b"message", &signature));
                assert!(!ring.verify(&key.public, b"massage", &signature));
                signature
            };
            assert_eq!((sign(1), sign(1).len()), (sign(1), scheme.signature_bytes()));
            assert_ne!(sign(1), sign(2));
        }
    }

    #[test]
    fn a_token_holds_for_its_key_and_message_only() {
        let mut ring = Keyring::new(Mode::Modelled);
        let key = ring.make(Scheme::MlDsa44, [1; 32]);
        let other = ring.make(Scheme::MlDsa44, [2; 32]);
        let signature = ring.sign(&key, b"message", 7);
        assert_eq!(signature.len(), 2_420);
        assert_eq!(key.public.bytes.len(), 1_312);
        assert_ne!(signature, ring.sign(&key, b"message", 8));
        assert!(ring.verify(&key.public, b"message", &signature));
        assert!(!ring.verify(&key.public, b"massage", &signature));
        assert!(!ring.verify(&other.public, b"message", &signature));
        for at in [0, 16, 2_419] {
            let mut broken = signature.clone();
            broken[at] ^= 1;
            assert!(!ring.verify(&key.public, b"message", &broken), "byte {at}");
        }
    }
}
