//! The second implementation: `ml-dsa` of RustCrypto, pure Rust with the same arithmetic on every CPU.
//!
//! Expanding a public key costs as much as verifying with it, so expanded keys are kept, within a bound.

use std::fmt;

use getrandom::SysRng;
use ml_dsa::{
    EncodedVerifyingKey, ExpandedSigningKey, MlDsa44, MlDsa65, MlDsaParams, Seed, Signature, VerifyingKey,
};
use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use zeroize::Zeroizing;

use crate::key_cache::KeyCache;
use crate::{SecretKey, SignError, Signer, Verifier, lengths_fit};

const LIBRARY: &str = "ml-dsa";

/// Expanded keys that a [`PureVerifier`] keeps. One takes up to 45 KiB (ML-DSA-65), so all of them 6 MiB.
pub const KEYS_CACHED_MAX: usize = 128;

/// Signs with `ml-dsa`.
pub struct PureSigner {
    public_key: PublicKey,
    key: SigningKey,
}

enum SigningKey {
    MlDsa44(Box<ExpandedSigningKey<MlDsa44>>),
    MlDsa65(Box<ExpandedSigningKey<MlDsa65>>),
}

impl PureSigner {
    /// The signer for this key.
    pub fn new(secret: &SecretKey) -> Self {
        let seed = Zeroizing::new(Seed::from(*secret.seed()));
        let scheme = secret.scheme();
        let (bytes, key) = match scheme {
            Scheme::MlDsa44 => {
                let key = Box::new(ExpandedSigningKey::from_seed(&seed));
                (key.verifying_key().encode().to_vec(), SigningKey::MlDsa44(key))
            }
            Scheme::MlDsa65 => {
                let key = Box::new(ExpandedSigningKey::from_seed(&seed));
                (key.verifying_key().encode().to_vec(), SigningKey::MlDsa65(key))
            }
        };
        Self { public_key: PublicKey { scheme, bytes }, key }
    }
}

impl Signer for PureSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = match &self.key {
            SigningKey::MlDsa44(key) => {
                key.sign_randomized(message, &[], &mut SysRng).map(|s| s.encode().to_vec())
            }
            SigningKey::MlDsa65(key) => {
                key.sign_randomized(message, &[], &mut SysRng).map(|s| s.encode().to_vec())
            }
        };
        signature.map_err(|_| SignError::Failed {
            scheme: self.public_key.scheme,
            library: LIBRARY,
            what: "sign (the operating system gave no random bytes)",
        })
    }
}

impl fmt::Debug for PureSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PureSigner({}, {})", self.public_key.scheme.name(), self.public_key.issuer().short())
    }
}

/// Verifies with `ml-dsa`.
pub struct PureVerifier {
    keys: KeyCache<ExpandedKey>,
}

enum ExpandedKey {
    MlDsa44(VerifyingKey<MlDsa44>),
    MlDsa65(VerifyingKey<MlDsa65>),
}

impl Default for PureVerifier {
    fn default() -> Self {
        Self { keys: KeyCache::new(KEYS_CACHED_MAX) }
    }
}

impl Verifier for PureVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        if !lengths_fit(key, signature) {
            return false;
        }
        // The two schemes' keys differ in length, so the bytes alone tell which it is.
        match &*self.keys.get(&key.bytes, || ExpandedKey::new(key)) {
            ExpandedKey::MlDsa44(expanded) => verify(expanded, message, signature),
            ExpandedKey::MlDsa65(expanded) => verify(expanded, message, signature),
        }
    }
}

impl fmt::Debug for PureVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PureVerifier")
    }
}

impl ExpandedKey {
    fn new(key: &PublicKey) -> Self {
        match key.scheme {
            Scheme::MlDsa44 => Self::MlDsa44(expand(&key.bytes)),
            Scheme::MlDsa65 => Self::MlDsa65(expand(&key.bytes)),
        }
    }
}

fn expand<P: MlDsaParams>(bytes: &[u8]) -> VerifyingKey<P> {
    let encoded = EncodedVerifyingKey::<P>::try_from(bytes).expect("the length was checked before");
    VerifyingKey::decode(&encoded)
}

fn verify<P: MlDsaParams>(key: &VerifyingKey<P>, message: &[u8], signature: &[u8]) -> bool {
    Signature::<P>::try_from(signature)
        .is_ok_and(|signature| key.verify_with_context(message, &[], &signature))
}
