//! `key rotate`: a new signing key, named on the gateway's own chain by the one before it.
//!
//! The identity stays, and so does the key that speaks TLS: both hang on the first key. What a rotation protects is the
//! chain: after it, transactions need the new key.
//!
//! The order of the steps is what makes it safe against a crash at any moment. The key file is durable before the
//! `Rotate` is issued; which key is in force is read from the chain, never from the folder:
//!
//! | the power goes | what is found | what happens |
//! |---|---|---|
//! | before the file has its name | keys as before | a new rotation makes a new key |
//! | after it, before the `Rotate` is durable | one key more than the chain names | the old one signs; the next rotation takes the file that is there |
//! | after the `Rotate` is durable | as many keys as the chain names | the new one signs |

use std::path::PathBuf;

use selvedge_core::Scheme;
use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use selvedge_core::payload::Rotate;
use selvedge_crypto::{RandomnessError, SecretKey, SignError, keyfile};
use thiserror::Error;

use crate::folder::{Folder, FolderError};

/// Why a key was not rotated, or why the keys do not fit the chain.
#[derive(Debug, Error)]
pub enum RotateError {
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] keyfile::KeyFileError),
    /// No randomness.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The key cannot be used.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A key that the chain names is not here.
    #[error(
        "the chain names key {number}, and {} is missing; put it back from a backup (`selvedge key restore`). Without it \
         this gateway cannot sign any more", file.display()
    )]
    Missing {
        /// Its number.
        number: u32,
        /// Where it should lie.
        file: PathBuf,
    },
    /// A key file holds another key than the chain names.
    #[error(
        "{} holds another key than the chain names as key {number}; put the right file back from a backup", file.display()
    )]
    Other {
        /// Its number.
        number: u32,
        /// The file.
        file: PathBuf,
    },
    /// The folder holds keys beyond the next one.
    #[error(
        "the folder holds {got} keys, the chain names {named}; expected at most one more. Is the newest store at hand?"
    )]
    Beyond {
        /// Key files.
        got: u32,
        /// Keys that the chain names.
        named: u32,
    },
}

/// A rotation that is ready to be issued.
#[derive(Debug)]
pub struct Prepared {
    /// Number of the new key.
    pub number: u32,
    /// Where it lies.
    pub file: PathBuf,
    /// The new key.
    pub key: SecretKey,
    /// The encoded [`Rotate`], to be issued with the key in force.
    pub payload: Vec<u8>,
}

/// Makes the key that follows number `in_force`, durably, or takes the one that an earlier attempt made.
///
/// # Errors
/// When the keys in the folder do not fit that number, or the file cannot be written.
pub fn prepare(folder: &Folder, in_force: u32, passphrase: Option<&str>) -> Result<Prepared, RotateError> {
    let (got, named) = (folder.keys_count()?, in_force.saturating_add(1));
    if got < named {
        return Err(RotateError::Missing { number: got, file: folder.key_path(got) });
    }
    if got > named.saturating_add(1) {
        return Err(RotateError::Beyond { got, named });
    }
    let (number, file) = (named, folder.key_path(named));
    let key = if got > named {
        keyfile::load(&file, passphrase)?
    } else {
        // Sealed like the first one: a passphrase that does not open that is refused here.
        folder.gateway_key(passphrase)?;
        let key = SecretKey::generate(Scheme::MlDsa44)?;
        keyfile::create(&file, &key, passphrase)?;
        key
    };
    let payload = codec::encode(&Rotate { key: selvedge_crypto::signer(&key)?.public_key().clone() });
    Ok(Prepared { number, file, key, payload })
}

/// The number of the key in force, once every key that the chain names was found in the folder. `named`: the keys of
/// the own chain in order, the first included.
///
/// # Errors
/// When one is missing or is another.
pub fn check(keys: &[SecretKey], named: &[PublicKey], folder: &Folder) -> Result<u32, RotateError> {
    for (number, public) in (0..).zip(named) {
        let file = folder.key_path(number);
        let Some(key) = keys.get(number as usize) else { return Err(RotateError::Missing { number, file }) };
        if selvedge_crypto::signer(key)?.public_key() != public {
            return Err(RotateError::Other { number, file });
        }
    }
    let (got, named) = (keys.len() as u32, named.len() as u32);
    if got > named.saturating_add(1) {
        return Err(RotateError::Beyond { got, named });
    }
    Ok(named.saturating_sub(1))
}

#[cfg(test)]
mod tests;
