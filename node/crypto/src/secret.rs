//! A secret key: its scheme and its seed.

use std::fmt;

use selvedge_core::Scheme;
use thiserror::Error;
use zeroize::Zeroizing;

/// Length of a seed, in bytes (FIPS 204, algorithm 1: ξ).
pub const SEED_BYTES: usize = 32;

/// The operating system gave no randomness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the operating system gave no random bytes ({0}); expected getrandom(2) to answer")]
pub struct RandomnessError(pub getrandom::Error);

/// A secret key as it is kept: the scheme, and the seed from which key pair and public key follow (FIPS 204,
/// `ML-DSA.KeyGen_internal`). Wiped from memory when dropped; never shown.
pub struct SecretKey {
    scheme: Scheme,
    // Boxed, so that moving the key leaves no copy of the seed behind.
    seed: Box<Zeroizing<[u8; SEED_BYTES]>>,
}

impl SecretKey {
    /// A new key, from the randomness of the operating system.
    ///
    /// # Errors
    /// When there is none.
    pub fn generate(scheme: Scheme) -> Result<Self, RandomnessError> {
        let mut seed = Box::new(Zeroizing::new([0; SEED_BYTES]));
        getrandom::fill(seed.as_mut_slice()).map_err(RandomnessError)?;
        Ok(Self { scheme, seed })
    }

    /// The key with this seed. The caller's copy stays the caller's to wipe.
    pub fn from_seed(scheme: Scheme, seed: &[u8; SEED_BYTES]) -> Self {
        let mut own = Box::new(Zeroizing::new([0; SEED_BYTES]));
        own.copy_from_slice(seed);
        Self { scheme, seed: own }
    }

    /// The scheme.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The seed. Whoever holds it can sign.
    pub fn seed(&self) -> &[u8; SEED_BYTES] {
        &self.seed
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}, hidden)", self.scheme.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_the_seed() {
        let secret = SecretKey::from_seed(Scheme::MlDsa65, &[0xAB; SEED_BYTES]);
        let shown = format!("{secret:?} {secret:#?}").to_lowercase();
        assert!(!shown.contains("ab") && !shown.contains("171"), "{shown}");
        assert!(shown.contains("ml-dsa-65"), "{shown}");
    }

    #[test]
    fn generated_keys_differ() {
        let [one, two] = [(), ()].map(|()| SecretKey::generate(Scheme::MlDsa44).unwrap());
        assert_ne!(one.seed(), two.seed());
        assert_ne!(one.seed(), &[0; SEED_BYTES]);
    }
}
