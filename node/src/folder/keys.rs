//! The key files of a data folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use selvedge_crypto::{SecretKey, ids, keyfile, secret_file};
use zeroize::Zeroizing;

use super::files::{is_there, make_private_folder};
use super::{Folder, FolderError, SALT_KEY_BYTES, name};

/// Keys of one gateway, at most: as many as the ledger keeps of an issuer.
pub const KEYS_MAX: u32 = selvedge_core::limits::KEYS_PER_ISSUER_MAX as u32;

/// Where the gateway's key of this number lies, within the folder.
pub(crate) fn file_of(number: u32) -> String {
    if number == 0 { name::GATEWAY_KEY.to_owned() } else { format!("keys/gateway.{number}.key") }
}

/// A key file that may have been begun by a start before this one: taken as it is, or made.
pub(super) fn load_or_create(
    path: &Path,
    passphrase: Option<&str>,
    make: impl FnOnce() -> Result<SecretKey, FolderError>,
) -> Result<SecretKey, FolderError> {
    if is_there(path)? {
        return Ok(keyfile::load(path, passphrase)?);
    }
    let key = make()?;
    keyfile::create(path, &key, passphrase)?;
    Ok(key)
}

/// A new key; `path` is what it is for.
pub(super) fn generate(scheme: selvedge_core::Scheme, path: &Path) -> Result<SecretKey, FolderError> {
    SecretKey::generate(scheme)
        .map_err(|why| FolderError::Content { path: path.to_owned(), why: why.to_string() })
}

/// Makes the salt key unless it is there.
pub(super) fn make_salt_key(folder: &Path) -> Result<(), FolderError> {
    let path = folder.join(name::SALT_KEY);
    if is_there(&path)? {
        return Ok(());
    }
    let mut salt_key = Zeroizing::new([0; SALT_KEY_BYTES]);
    getrandom::fill(salt_key.as_mut_slice()).map_err(|why| FolderError::Content {
        path: path.clone(),
        why: format!("the system gives no randomness ({why})"),
    })?;
    Ok(secret_file::create(&path, salt_key.as_slice())?)
}

/// The identity that this key founds.
pub(super) fn issuer_of(key: &SecretKey, path: &Path) -> Result<selvedge_core::Issuer, FolderError> {
    let signer = selvedge_crypto::signer(key)
        .map_err(|why| FolderError::Content { path: path.to_owned(), why: why.to_string() })?;
    Ok(signer.public_key().issuer())
}

impl Folder {
    /// The gateway's key. Its identity must be that of the folder.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, is sealed with another passphrase, or holds another key.
    pub fn gateway_key(&self, passphrase: Option<&str>) -> Result<SecretKey, FolderError> {
        let path = self.path.join(name::GATEWAY_KEY);
        let key = keyfile::load(&path, passphrase)?;
        let got = issuer_of(&key, &path)?;
        if got != self.issuer {
            return Err(FolderError::Content {
                path,
                why: format!(
                    "it holds the key of {}, expected that of {}; put the right key file back",
                    ids::to_text(&got),
                    ids::to_text(&self.issuer)
                ),
            });
        }
        Ok(key)
    }

    /// Where the gateway's key of this number lies, or would lie.
    pub fn key_path(&self, number: u32) -> PathBuf {
        self.path.join(file_of(number))
    }

    /// All keys of the gateway, by number: the first, and those that `key rotate` made. Which of them is in force
    /// stands on the chain; the last may not have been named there yet.
    ///
    /// # Errors
    /// As for [`gateway_key`](Self::gateway_key), and when a number is missing between others.
    pub fn signing_keys(&self, passphrase: Option<&str>) -> Result<Vec<SecretKey>, FolderError> {
        let mut keys = vec![self.gateway_key(passphrase)?];
        for number in 1..self.keys_count()? {
            keys.push(keyfile::load(&self.key_path(number), passphrase)?);
        }
        Ok(keys)
    }

    /// Those of the gateway's keys that are here, by number: a start needs no more than the one in force, and without that
    /// one readings are journaled all the same.
    ///
    /// # Errors
    /// As for [`gateway_key`](Self::gateway_key).
    pub fn held_keys(&self, passphrase: Option<&str>) -> Result<BTreeMap<u32, SecretKey>, FolderError> {
        let mut keys = BTreeMap::from([(0, self.gateway_key(passphrase)?)]);
        for number in self.key_numbers()? {
            keys.insert(number, keyfile::load(&self.key_path(number), passphrase)?);
        }
        Ok(keys)
    }

    /// Numbers of the key files, but that of the first key.
    fn key_numbers(&self) -> Result<BTreeSet<u32>, FolderError> {
        let folder = self.path.join("keys");
        let io = |why| FolderError::Io { what: "look into", path: folder.clone(), why };
        let mut numbers = BTreeSet::new();
        for entry in std::fs::read_dir(&folder).map_err(io)? {
            let file = entry.map_err(io)?.file_name();
            let number = file.to_str().and_then(|f| f.strip_prefix("gateway.")?.strip_suffix(".key"));
            // Only what `file_of` writes: not `gateway.01.key`, not a copy somebody put beside it.
            let number = number
                .and_then(|n| n.parse().ok())
                .filter(|n| file_of(*n).strip_prefix("keys/") == file.to_str());
            numbers.extend(number);
        }
        Ok(numbers)
    }

    /// How many key files of the gateway there are, without reading one.
    ///
    /// # Errors
    /// When the folder cannot be searched, or a number is missing between others.
    pub fn keys_count(&self) -> Result<u32, FolderError> {
        let numbers = self.key_numbers()?;
        let count = (1..).zip(&numbers).take_while(|(expected, got)| expected == *got).count() as u32;
        if let Some(beyond) = numbers.iter().find(|n| **n > count) {
            return Err(FolderError::Content {
                path: self.key_path(count + 1),
                why: format!("missing, although key {beyond} is there; put it back from a backup"),
            });
        }
        if count >= KEYS_MAX {
            return Err(FolderError::Content {
                path: self.key_path(count),
                why: format!("more than {KEYS_MAX} keys; make a new identity"),
            });
        }
        Ok(count + 1)
    }

    /// The organisation's key, where it is kept here.
    ///
    /// # Errors
    /// As for [`gateway_key`](Self::gateway_key).
    pub fn organisation_key(&self, passphrase: Option<&str>) -> Result<Option<SecretKey>, FolderError> {
        let path = self.path.join(name::ORGANISATION_KEY);
        if !is_there(&path)? {
            return Ok(None);
        }
        Ok(Some(keyfile::load(&path, passphrase)?))
    }

    /// Does the folder hold an organisation's key?
    ///
    /// # Errors
    /// When it cannot be searched.
    pub fn has_organisation_key(&self) -> Result<bool, FolderError> {
        is_there(&self.path.join(name::ORGANISATION_KEY))
    }

    /// Puts back the key files that are missing, and returns their names. Those that are there are left alone.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn put_back_keys(
        &self,
        gateway: &[SecretKey],
        organisation: Option<&SecretKey>,
        salt_key: &[u8; SALT_KEY_BYTES],
        passphrase: Option<&str>,
    ) -> Result<Vec<String>, FolderError> {
        make_private_folder(&self.path.join("keys"))?;
        let mut restored = Vec::new();
        let named = (0..).zip(gateway).map(|(number, key)| (file_of(number), key));
        let organisation = organisation.map(|key| (name::ORGANISATION_KEY.to_owned(), key));
        for (file, key) in named.chain(organisation) {
            if !is_there(&self.path.join(&file))? {
                keyfile::create(&self.path.join(&file), key, passphrase)?;
                restored.push(file);
            }
        }
        if !is_there(&self.path.join(name::SALT_KEY))? {
            secret_file::create(&self.path.join(name::SALT_KEY), salt_key)?;
            restored.push(name::SALT_KEY.to_owned());
        }
        Ok(restored)
    }

    /// The salt key.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, or is not 32 bytes long.
    pub fn salt_key(&self) -> Result<Zeroizing<[u8; SALT_KEY_BYTES]>, FolderError> {
        let path = self.path.join(name::SALT_KEY);
        let bytes = secret_file::read(&path, SALT_KEY_BYTES)?;
        let key = bytes.as_slice().try_into().map_err(|_| FolderError::Content {
            path,
            why: format!("{} bytes, expected {SALT_KEY_BYTES}; put the file of the backup back", bytes.len()),
        })?;
        Ok(Zeroizing::new(key))
    }
}
