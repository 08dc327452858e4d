//! A folder whose keys are there while a genesis or a credential is still to come: after `init --introduce`,
//! `init --await-credential`, and during `init --join`.
//!
//! The mark is written first and each step can be taken again, so whatever ends the program half way, the same command
//! goes on with the same keys: an answer that was lost can be asked for again, and is the same.

use std::path::{Path, PathBuf};

use selvedge_core::codec::{self, Canonical, check_name};
use selvedge_core::genesis::Genesis;
use selvedge_core::{Issuer, Network, Scheme};
use selvedge_crypto::{SecretKey, ids, keyfile};
use serde::{Deserialize, Serialize};

use super::files::{is_there, make_private_folder, read, sync_folder_of, write};
use super::keys::{generate, issuer_of, load_or_create, make_salt_key};
use super::{Folder, FolderError, name};
use crate::credential;

/// What a folder waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitsFor {
    /// The genesis that one of the partners makes of their introductions.
    Genesis,
    /// A member's word, over the network or as a file.
    Credential,
}

/// The mark `waiting` in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// 0.
    pub version: u8,
    /// For what.
    pub waits_for: WaitsFor,
    /// What the organisation is called, when it has a key of its own here.
    pub organisation: Option<String>,
    /// What the gateway is called, when that was said.
    pub name: Option<String>,
}

impl Canonical for Waiting {
    const WHAT: &'static str = "mark of a folder that waits";
    const BYTES_MAX: usize = 512;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        self.organisation.iter().chain(&self.name).try_for_each(|name| check_name(name))
    }
}

impl Waiting {
    /// The mark of this folder; `None`: it has none, or holds a gateway already.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn read(folder: &Path) -> Result<Option<Self>, FolderError> {
        let path = folder.join(name::WAITING);
        if !is_there(&path)? || is_there(&folder.join(name::GENESIS))? {
            return Ok(None);
        }
        let mark = codec::decode(&read(&path)?);
        mark.map(Some).map_err(|why| FolderError::Content {
            path,
            why: format!("{why}; if nothing was given to others yet, remove the folder and begin again"),
        })
    }

    /// What a command says that needs a whole gateway.
    pub(super) fn error(&self, folder: &Path) -> FolderError {
        let path = folder.display().to_string();
        let waits = match self.waits_for {
            WaitsFor::Genesis => format!(
                "waits for its genesis: give {path}/introduction to the partner who makes the network, and run \
                 `selvedge init --genesis FILE --data {path}` with the genesis that comes back"
            ),
            WaitsFor::Credential => format!(
                "waits to be let in: run `selvedge init --join LINE --data {path}` with an invitation, or \
                 `selvedge init --credential FILE --data {path}`"
            ),
        };
        FolderError::Waiting { path, waits }
    }
}

/// A gateway to be: its keys are durable in the folder, and it is no gateway yet.
#[derive(Debug)]
pub struct Candidate {
    path: PathBuf,
    /// What it waits for.
    pub waiting: Waiting,
    /// The gateway's first key.
    pub gateway: SecretKey,
    /// The organisation's key, when the folder holds one.
    pub organisation: Option<SecretKey>,
    /// The identity that the gateway's key founds.
    pub issuer: Issuer,
}

impl Candidate {
    /// Makes the keys, or takes those that a start before this one made. Nothing is done twice.
    ///
    /// # Errors
    /// When the folder holds a gateway, waits for something else, or cannot be written; when the keys there are sealed
    /// with another passphrase.
    pub fn begin(path: &Path, waiting: &Waiting, passphrase: Option<&str>) -> Result<Self, FolderError> {
        match Waiting::read(path)? {
            Some(there) if there.waits_for != waiting.waits_for => return Err(there.error(path)),
            Some(there) if there == *waiting => {}
            Some(_) => write(&path.join(name::WAITING), &codec::encode(waiting))?,
            None => {
                for file in [name::GENESIS, name::GATEWAY_KEY, name::STORE] {
                    if is_there(&path.join(file))? {
                        return Err(FolderError::Taken { path: path.display().to_string() });
                    }
                }
                make_private_folder(path)?;
                // First: keys beside it are its own from now on.
                write(&path.join(name::WAITING), &codec::encode(waiting))?;
            }
        }
        make_private_folder(&path.join("keys"))?;
        let file = path.join(name::GATEWAY_KEY);
        load_or_create(&file, passphrase, || generate(Scheme::MlDsa44, &file))?;
        if waiting.organisation.is_some() {
            let file = path.join(name::ORGANISATION_KEY);
            load_or_create(&file, passphrase, || generate(Scheme::MlDsa65, &file))?;
        }
        make_salt_key(path)?;
        Self::open(path, passphrase)?.ok_or_else(|| FolderError::Content {
            path: path.join(name::WAITING),
            why: "gone since it was written; is another `init` at work on this folder?".into(),
        })
    }

    /// The candidate of a folder; `None`: nothing was begun there, or it is a gateway already.
    ///
    /// # Errors
    /// When a key cannot be read.
    pub fn open(path: &Path, passphrase: Option<&str>) -> Result<Option<Self>, FolderError> {
        let Some(waiting) = Waiting::read(path)? else { return Ok(None) };
        let file = path.join(name::GATEWAY_KEY);
        if !is_there(&file)? {
            // Ended before the first key: beginning again makes it.
            return Ok(None);
        }
        let gateway = keyfile::load(&file, passphrase)?;
        let issuer = issuer_of(&gateway, &file)?;
        let identity = path.join(name::IDENTITY);
        if !is_there(&identity)? {
            write(&identity, format!("{}\n", ids::to_text(&issuer)).as_bytes())?;
        }
        let file = path.join(name::ORGANISATION_KEY);
        let organisation = if is_there(&file)? { Some(keyfile::load(&file, passphrase)?) } else { None };
        Ok(Some(Self { path: path.to_owned(), waiting, gateway, organisation, issuer }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration; it is left alone when there is one.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(name::CONFIG)
    }

    /// Makes a gateway of it. The genesis must name it, or the enrolment be a good one of its own. The configuration is
    /// written unless there is one; the genesis is written last, so that the folder is a gateway from then on.
    ///
    /// # Errors
    /// When genesis or enrolment are not for this gateway, or something cannot be written.
    pub fn complete(
        &self,
        genesis_bytes: &[u8],
        enrolment: Option<&[u8]>,
        config: &str,
    ) -> Result<Folder, FolderError> {
        let content = |file: &str, why: String| FolderError::Content { path: self.path.join(file), why };
        let genesis: Genesis =
            codec::decode(genesis_bytes).map_err(|why| content(name::GENESIS, why.to_string()))?;
        if let Some(enrolment) = enrolment {
            let network = Network::new(Genesis::network_id_of(genesis_bytes));
            credential::check_enrolment(enrolment, &network, &genesis, self.issuer)
                .map_err(|why| content(name::CREDENTIAL, why.to_string()))?;
            write(&self.path.join(name::CREDENTIAL), enrolment)?;
        } else if genesis.member(self.issuer).is_none() {
            let id = ids::to_text(&self.issuer);
            return Err(content(name::GENESIS, format!("it does not name this gateway's key, {id}")));
        }
        if !is_there(&self.config_path())? {
            write(&self.config_path(), config.as_bytes())?;
        }
        write(&self.path.join(name::GENESIS), genesis_bytes)?;
        let mark = self.path.join(name::WAITING);
        // Meaningless beside a genesis, so a crash before this line does no harm.
        std::fs::remove_file(&mark).map_err(|why| FolderError::Io {
            what: "remove",
            path: mark.clone(),
            why,
        })?;
        sync_folder_of(&mark)?;
        Folder::open(&self.path)
    }
}
