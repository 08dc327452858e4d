//! Signatures of Selvedge: ML-DSA-44 and ML-DSA-65 (FIPS 204, pure, empty context), by two implementations
//! that accept and refuse the same; the files that hold keys; ids as people read and type them.
//!
//! The ledger itself (`selvedge-core`) knows neither of the two: it asks for a signature or a verification
//! and is told the outcome.
//!
//! # Layout
//!
//! | module | what is in it |
//! |---|---|
//! | here | [`Signer`], [`Verifier`], and [`signer`] and [`default_verifier`], which choose the shipped implementation |
//! | `aws` | feature `aws-lc`, default: AWS-LC, the shipped implementation |
//! | `pure` | feature `pure`: RustCrypto's `ml-dsa`, for programs without C, and the yardstick in the tests |
//! | [`SecretKey`] | a scheme and a 32-byte seed |
//! | `passphrase` | feature `aws-lc`: bytes sealed with a passphrase (Argon2id and ChaCha20-Poly1305) |
//! | [`secret_file`] | files of mode 0600, written durably, refused when others can read them |
//! | [`keyfile`] | a [`SecretKey`] as a file, open or sealed |
//! | [`ids`] | network ids, issuers and transaction ids as bech32m text |
//! | [`line`](mod@line) | bytes of other lengths as one line of bech32m text |
#![warn(missing_docs)]

#[cfg(not(any(feature = "aws-lc", feature = "pure")))]
compile_error!("selvedge-crypto needs the feature `aws-lc` or the feature `pure`");

use std::fmt::Debug;
use std::sync::Arc;

use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use thiserror::Error;

#[cfg(feature = "aws-lc")]
pub mod aws;
pub mod ids;
#[cfg(feature = "pure")]
mod key_cache;
#[cfg(unix)]
pub mod keyfile;
pub mod line;
#[cfg(feature = "aws-lc")]
pub mod passphrase;
#[cfg(feature = "pure")]
pub mod pure;
mod secret;
#[cfg(unix)]
pub mod secret_file;

#[cfg(feature = "aws-lc")]
pub use passphrase::{open_with_passphrase, seal_with_passphrase};
pub use secret::{RandomnessError, SEED_BYTES, SecretKey};

/// Signs with one key. Signing is randomised (hedged, FIPS 204 section 3.4): twice the same message gives two
/// signatures.
pub trait Signer: Debug + Send + Sync {
    /// The public key that goes with it.
    fn public_key(&self) -> &PublicKey;

    /// The signature of `message`, of exactly the scheme's length.
    ///
    /// # Errors
    /// When the operating system gives no randomness, or the library fails.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// Verifies signatures of any key.
pub trait Verifier: Debug + Send + Sync {
    /// Is `signature` a signature of `message` by `key`? Lengths are checked before anything else, so bytes of
    /// another scheme are refused whatever the library would make of them.
    fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> bool;
}

/// Why there is no signature, or no signer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// The library failed; it gives no reason. With a key of the right length and randomness at hand it never
    /// should.
    #[error("{}: {library} could not {what}; expected a result, since key and lengths are right", scheme.name())]
    Failed {
        /// The scheme.
        scheme: Scheme,
        /// Whose implementation.
        library: &'static str,
        /// What it was asked to do.
        what: &'static str,
    },
}

/// The shipped verifier: AWS-LC, or the pure one in a build without it.
pub fn default_verifier() -> Arc<dyn Verifier> {
    #[cfg(feature = "aws-lc")]
    return Arc::new(aws::AwsVerifier);
    #[cfg(all(feature = "pure", not(feature = "aws-lc")))]
    return Arc::new(pure::PureVerifier::default());
}

/// The shipped signer for this key: AWS-LC, or the pure one in a build without it.
///
/// # Errors
/// When the library cannot expand the seed; with memory at hand it always can.
pub fn signer(secret: &SecretKey) -> Result<Arc<dyn Signer>, SignError> {
    #[cfg(feature = "aws-lc")]
    return Ok(Arc::new(aws::AwsSigner::new(secret)?));
    #[cfg(all(feature = "pure", not(feature = "aws-lc")))]
    return Ok(Arc::new(pure::PureSigner::new(secret)));
}

/// Have key and signature the lengths of the key's scheme?
fn lengths_fit(key: &PublicKey, signature: &[u8]) -> bool {
    key.bytes.len() == key.scheme.public_key_bytes() && signature.len() == key.scheme.signature_bytes()
}
