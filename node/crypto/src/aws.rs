//! The shipped implementation: ML-DSA of AWS-LC, through `aws-lc-rs`.
//!
//! It has no context string (FIPS 204 allows an empty one, which is what Selvedge uses) and signs hedged only.
//! Parsed public keys are not cached: AWS-LC expands the matrix at every verification anyway, so a parsed key
//! saves 2 µs of 40, not worth a table behind a lock that all verifying threads share.

use std::fmt;

use aws_lc_rs::signature::{
    KeyPair as _, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair,
    PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm, VerificationAlgorithm as _,
};
use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;

use crate::{SecretKey, SignError, Signer, Verifier, lengths_fit};

const LIBRARY: &str = "AWS-LC";

/// Signs with AWS-LC.
pub struct AwsSigner {
    public_key: PublicKey,
    pair: PqdsaKeyPair,
}

impl AwsSigner {
    /// The signer for this key.
    ///
    /// # Errors
    /// When AWS-LC cannot expand the seed (no memory).
    pub fn new(secret: &SecretKey) -> Result<Self, SignError> {
        let scheme = secret.scheme();
        let failed = SignError::Failed { scheme, library: LIBRARY, what: "expand a seed" };
        let pair = PqdsaKeyPair::from_seed(signing_algorithm(scheme), secret.seed()).map_err(|_| failed)?;
        let public_key = PublicKey { scheme, bytes: pair.public_key().as_ref().to_vec() };
        public_key.check().map_err(|_| failed)?;
        Ok(Self { public_key, pair })
    }
}

impl Signer for AwsSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let scheme = self.public_key.scheme;
        let failed = SignError::Failed { scheme, library: LIBRARY, what: "sign" };
        let mut signature = vec![0; scheme.signature_bytes()];
        let length = self.pair.sign(message, &mut signature).map_err(|_| failed)?;
        if length == signature.len() { Ok(signature) } else { Err(failed) }
    }
}

impl fmt::Debug for AwsSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AwsSigner({}, {})", self.public_key.scheme.name(), self.public_key.issuer().short())
    }
}

/// Verifies with AWS-LC.
#[derive(Debug, Clone, Copy, Default)]
pub struct AwsVerifier;

impl Verifier for AwsVerifier {
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
        // The lengths also keep out the DER form of a key, which AWS-LC would take as well.
        lengths_fit(key, signature)
            && verification_algorithm(key.scheme).verify_sig(&key.bytes, message, signature).is_ok()
    }
}

fn signing_algorithm(scheme: Scheme) -> &'static PqdsaSigningAlgorithm {
    match scheme {
        Scheme::MlDsa44 => &ML_DSA_44_SIGNING,
        Scheme::MlDsa65 => &ML_DSA_65_SIGNING,
    }
}

fn verification_algorithm(scheme: Scheme) -> &'static PqdsaVerificationAlgorithm {
    match scheme {
        Scheme::MlDsa44 => &ML_DSA_44,
        Scheme::MlDsa65 => &ML_DSA_65,
    }
}
