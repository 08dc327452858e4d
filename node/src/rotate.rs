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
//! | and an image from before it is started | fewer keys than the chain names, once peers gave it back | readings are journaled, nothing is issued |

use std::collections::BTreeMap;
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
        "the chain names key {number}, and {} is missing; put it back from a backup (`selvedge key restore`) and start the \
         gateway again. Without it this gateway cannot sign any more", file.display()
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

/// How the keys of a folder fit the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    /// Number of the key in force.
    pub in_force: u32,
    /// Numbers of keys that the chain names and the folder does not hold.
    pub missing: Vec<u32>,
}

impl Fit {
    /// For the log, when a key is missing.
    pub fn warning(&self, folder: &Folder) -> Option<RotateError> {
        // The one that signs first: without the others only backup and rotation fail.
        let number = *self.missing.iter().find(|n| **n == self.in_force).or(self.missing.first())?;
        Some(RotateError::Missing { number, file: folder.key_path(number) })
    }
}

/// Compares the keys of the folder with those that the own chain names, the first included. A key that is missing is no
/// error: readings are journaled without it, and to stop the start would lose them.
///
/// # Errors
/// When one is another, or there are more than one beyond those that the chain names.
pub fn check(
    keys: &BTreeMap<u32, SecretKey>,
    named: &[PublicKey],
    folder: &Folder,
) -> Result<Fit, RotateError> {
    let mut missing = Vec::new();
    for (number, public) in (0..).zip(named) {
        match keys.get(&number) {
            None => missing.push(number),
            Some(key) if selvedge_crypto::signer(key)?.public_key() != public => {
                return Err(RotateError::Other { number, file: folder.key_path(number) });
            }
            Some(_) => {}
        }
    }
    let got = keys.last_key_value().map_or(0, |(newest, _)| newest.saturating_add(1));
    let named = named.len() as u32;
    if got > named.saturating_add(1) {
        return Err(RotateError::Beyond { got, named });
    }
    Ok(Fit { in_force: named.saturating_sub(1), missing })
}

#[cfg(test)]
mod tests;
