//! The data folder of one gateway: what lies where, and who the gateway is.
//!
//! ```text
//! selvedge.toml           configuration, for people
//! genesis.bin             what the network started from; its hash is the network's id
//! gateway.id              this gateway's identity (svid…), so that questions need no key
//! credential.bin          its enrolment, where the genesis does not name it: the payload of its transaction 0
//! keys/gateway.key        the gateway's first seed (ML-DSA-44), mode 0600: founds the identity, and speaks TLS for life
//! keys/gateway.1.key …    the keys that follow it (`selvedge key rotate`); which is in force stands on the chain
//! keys/organisation.key   the organisation's seed (ML-DSA-65), mode 0600; only where the network was made
//! keys/salt.key           32 bytes from which the salts of batches derive, mode 0600
//! waiting                 mark: the keys are there, a genesis or a credential is still to come (see `folder/waiting`)
//! invitations/            invitations that this gateway gave out, and who redeemed them (see `invite`)
//! admitted/               whom this gateway let in, so that it may connect before the ledger knows it
//! store/                  log, journal, index, archive (see `store`)
//! selvedge.sock           where a running node answers
//! issued                  mark: this gateway has signed something, so its store holds a chain
//! restored                mark: the keys are without the chain that they signed; nothing is issued
//! ```

mod admitted;
mod files;
mod keys;
pub mod waiting;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_core::codec;
use selvedge_core::genesis::Genesis;
use selvedge_core::payload::Enrol;
use selvedge_core::{Issuer, Network};
use selvedge_crypto::{SecretKey, ids, keyfile, secret_file};
use thiserror::Error;

use crate::credential;
pub use admitted::{ADMITTED_MAX, Admitted};
use files::{is_there, read};
pub(crate) use files::{make_private_folder, write};
pub use keys::KEYS_MAX;
pub(crate) use keys::file_of;

/// Why a data folder cannot be opened or made.
#[derive(Debug, Error)]
pub enum FolderError {
    /// There is no gateway in it.
    #[error("{path} holds no gateway ({missing} is missing); `selvedge init --data {path}` makes one")]
    Empty {
        /// The folder.
        path: String,
        /// The file that is missing.
        missing: &'static str,
    },
    /// Its keys are there; a genesis or a credential is still to come.
    #[error("{path} holds the keys of a gateway that {waits}")]
    Waiting {
        /// The folder.
        path: String,
        /// For what, and what to do.
        waits: String,
    },
    /// There is one already.
    #[error("{path} already holds a gateway; take another folder, or move this one away")]
    Taken {
        /// The folder.
        path: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {why}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        why: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, what was expected, what to do.
        why: String,
    },
    /// A key file.
    #[error(transparent)]
    Key(#[from] keyfile::KeyFileError),
    /// A secret file.
    #[error(transparent)]
    Secret(#[from] secret_file::SecretFileError),
}

/// A data folder that was opened: everything public about it.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    genesis_bytes: Arc<[u8]>,
    genesis: Arc<Genesis>,
    network: Network,
    issuer: Issuer,
    enrolment: Option<Arc<[u8]>>,
    name: Arc<str>,
    organisation: u16,
}

/// Names inside a data folder.
mod name {
    pub(super) const ARMING: &str = "armed.toml";
    pub(super) const CONFIG: &str = "selvedge.toml";
    pub(super) const GENESIS: &str = "genesis.bin";
    pub(super) const IDENTITY: &str = "gateway.id";
    pub(super) const GATEWAY_KEY: &str = "keys/gateway.key";
    pub(super) const ORGANISATION_KEY: &str = "keys/organisation.key";
    pub(super) const SALT_KEY: &str = "keys/salt.key";
    pub(super) const STORE: &str = "store";
    pub(super) const SOCKET: &str = "selvedge.sock";
    pub(super) const RESTORED: &str = "restored";
    pub(super) const ISSUED: &str = "issued";
    pub(super) const CREDENTIAL: &str = "credential.bin";
    pub(super) const WAITING: &str = "waiting";
    pub(super) const ADMITTED: &str = "admitted";
    pub(super) const INVITATIONS: &str = "invitations";
}

/// What the mark says to whoever opens it.
const RESTORED_TEXT: &str = "\
The keys in this folder are without (part of) the chain that they signed: they were restored from a backup, or the
store was lost or cut short. To sign again could contradict what was signed before, so this gateway journals
readings and issues nothing.
When the newest `store` is at hand: move the present one aside (the readings journaled meanwhile are only there;
`selvedge export` writes them out), put the other in its place, and run `selvedge key restore`.
";

/// Length of the salt key.
pub const SALT_KEY_BYTES: usize = 32;

/// Everything that makes a data folder, for `init` and `key restore`.
pub struct Contents<'a> {
    /// The encoded genesis.
    pub genesis: &'a [u8],
    /// The gateway's key.
    pub gateway: &'a SecretKey,
    /// The organisation's key, where it is kept.
    pub organisation: Option<&'a SecretKey>,
    /// Salts derive from it.
    pub salt_key: &'a [u8; SALT_KEY_BYTES],
    /// The configuration's text.
    pub config: &'a str,
    /// Seals the key files when given.
    pub passphrase: Option<&'a str>,
    /// The encoded enrolment, when the genesis does not name the gateway.
    pub enrolment: Option<&'a [u8]>,
    /// The keys after the first, in order.
    pub further: &'a [SecretKey],
    /// Do the keys come from a backup without their chain? Then the folder is marked before it is a gateway.
    pub restored: bool,
}

impl std::fmt::Debug for Contents<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without salt key and passphrase.
        f.debug_struct("Contents").field("restored", &self.restored).finish_non_exhaustive()
    }
}

impl Folder {
    /// Makes a data folder. The configuration is left alone when there is one.
    ///
    /// # Errors
    /// When the folder holds a gateway already, waits for one, or something cannot be written.
    pub fn create(path: &Path, contents: &Contents<'_>) -> Result<Self, FolderError> {
        if let Some(waits) = waiting::Waiting::read(path)? {
            return Err(waits.error(path));
        }
        let taken = [name::GENESIS, name::GATEWAY_KEY, name::STORE];
        for file in taken {
            if is_there(&path.join(file))? {
                return Err(FolderError::Taken { path: path.display().to_string() });
            }
        }
        make_private_folder(path)?;
        make_private_folder(&path.join("keys"))?;
        keyfile::create(&path.join(name::GATEWAY_KEY), contents.gateway, contents.passphrase)?;
        for (number, key) in (1..).zip(contents.further) {
            keyfile::create(&path.join(keys::file_of(number)), key, contents.passphrase)?;
        }
        if let Some(organisation) = contents.organisation {
            keyfile::create(&path.join(name::ORGANISATION_KEY), organisation, contents.passphrase)?;
        }
        secret_file::create(&path.join(name::SALT_KEY), contents.salt_key)?;
        if !is_there(&path.join(name::CONFIG))? {
            write(&path.join(name::CONFIG), contents.config.as_bytes())?;
        }
        let signer = selvedge_crypto::signer(contents.gateway).map_err(|why| FolderError::Content {
            path: path.join(name::GATEWAY_KEY),
            why: why.to_string(),
        })?;
        let identity = ids::to_text(&signer.public_key().issuer());
        write(&path.join(name::IDENTITY), format!("{identity}\n").as_bytes())?;
        if let Some(enrolment) = contents.enrolment {
            write(&path.join(name::CREDENTIAL), enrolment)?;
        }
        if contents.restored {
            write(&path.join(name::RESTORED), RESTORED_TEXT.as_bytes())?;
        }
        // Last: a folder without a genesis is no gateway, so a half-made one can be made again.
        write(&path.join(name::GENESIS), contents.genesis)?;
        Self::open(path)
    }

    /// Puts back the enrolment of a folder of this network that lost it. Returns whether it did.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_back_enrolment(path: &Path, genesis: &[u8], enrolment: &[u8]) -> Result<bool, FolderError> {
        let (file, of_network) = (path.join(name::CREDENTIAL), path.join(name::GENESIS));
        if !is_there(&of_network)? || is_there(&file)? || read(&of_network)? != genesis {
            return Ok(false);
        }
        write(&file, enrolment)?;
        Ok(true)
    }

    /// Opens a data folder. Reads no key.
    ///
    /// # Errors
    /// When there is no gateway in it, or genesis or identity do not decode.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let file = path.join(name::GENESIS);
        if !is_there(&file)? {
            return Err(match waiting::Waiting::read(path)? {
                Some(waits) => waits.error(path),
                None => FolderError::Empty { path: path.display().to_string(), missing: name::GENESIS },
            });
        }
        let genesis_bytes = read(&file)?;
        let content = |path: PathBuf, why: String| FolderError::Content { path, why };
        let genesis: Genesis = codec::decode(&genesis_bytes).map_err(|why| {
            content(file, format!("{why}; expected the genesis of a network, as `init` wrote it"))
        })?;
        let file = path.join(name::IDENTITY);
        let text = String::from_utf8_lossy(&read(&file)?).trim().to_owned();
        let issuer = ids::parse(&text).map_err(|why| {
            content(file, format!("{why}; expected this gateway's identity, as `init` wrote it"))
        })?;
        let network = Network::new(Genesis::network_id_of(&genesis_bytes));
        let (enrolment, name, organisation) = if let Some(member) = genesis.member(issuer) {
            (None, member.name.as_str().into(), member.organisation)
        } else {
            let (bytes, enrol) = read_enrolment(path, &network, &genesis, issuer)?;
            (Some(bytes.into()), enrol.name.into(), enrol.credential.organisation)
        };
        Ok(Self {
            path: path.to_owned(),
            genesis_bytes: genesis_bytes.into(),
            genesis: Arc::new(genesis),
            network,
            issuer,
            enrolment,
            name,
            organisation,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }
    /// Where log, journal, index and archive lie.
    pub fn store_path(&self) -> PathBuf {
        self.path.join(name::STORE)
    }
    /// Where a running node answers.
    pub fn socket_path(&self) -> PathBuf {
        self.path.join(name::SOCKET)
    }
    /// The file that arms the gateway for writing to its machines; it need not be there.
    pub fn arming_path(&self) -> PathBuf {
        self.path.join(name::ARMING)
    }
    /// The configuration.
    pub fn config_path(&self) -> PathBuf {
        self.path.join(name::CONFIG)
    }
    /// The genesis as it was signed and hashed.
    pub fn genesis_bytes(&self) -> Arc<[u8]> {
        self.genesis_bytes.clone()
    }
    /// The genesis.
    pub fn genesis(&self) -> Arc<Genesis> {
        self.genesis.clone()
    }
    /// The network.
    pub const fn network(&self) -> &Network {
        &self.network
    }
    /// This gateway.
    pub const fn issuer(&self) -> Issuer {
        self.issuer
    }
    /// What this gateway is called in its genesis or its enrolment.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// What the organisation is called that this gateway belongs to.
    pub fn organisation_name(&self) -> &str {
        // Genesis and enrolment were checked when the folder was opened.
        self.genesis.organisations.get(usize::from(self.organisation)).map_or("", |o| o.name.as_str())
    }
    /// The payload of this gateway's transaction 0 (an encoded [`Enrol`]); `None`: the genesis names it.
    pub fn enrolment(&self) -> Option<Arc<[u8]>> {
        self.enrolment.clone()
    }
    /// Where the invitations lie that this gateway gave out.
    pub fn invitations_path(&self) -> PathBuf {
        self.path.join(name::INVITATIONS)
    }

    /// Do the keys come from a backup without their chain?
    ///
    /// # Errors
    /// When that cannot be found out: to issue on a guess could contradict what was signed before.
    pub fn restored_mark(&self) -> Result<bool, FolderError> {
        is_there(&self.path.join(name::RESTORED))
    }

    /// Marks the folder: its chain is not whole, and nothing is issued from now on.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn mark_without_chain(&self) -> Result<(), FolderError> {
        write(&self.path.join(name::RESTORED), RESTORED_TEXT.as_bytes())
    }

    /// Has this gateway signed anything yet?
    ///
    /// # Errors
    /// When that cannot be found out.
    pub fn has_issued(&self) -> Result<bool, FolderError> {
        is_there(&self.path.join(name::ISSUED))
    }

    /// From now on its store must hold a chain.
    ///
    /// # Errors
    /// When the mark cannot be written.
    pub fn note_issued(&self) -> Result<(), FolderError> {
        write(&self.path.join(name::ISSUED), b"This gateway has signed transactions; its store holds them.\n")
    }

    /// Takes the mark away: the chain is here.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn clear_restored_mark(&self) -> Result<(), FolderError> {
        let path = self.path.join(name::RESTORED);
        fs::remove_file(&path).map_err(|why| FolderError::Io { what: "remove", path, why })
    }
}

/// The credential of a gateway that the genesis does not name, checked as every other node will check it.
fn read_enrolment(
    path: &Path,
    network: &Network,
    genesis: &Genesis,
    issuer: Issuer,
) -> Result<(Vec<u8>, Enrol), FolderError> {
    let file = path.join(name::CREDENTIAL);
    let content = |why: String| FolderError::Content { path: file.clone(), why };
    if !is_there(&file)? {
        return Err(content(format!(
            "missing, and the genesis does not name {}; put it back from a backup, or ask a member to admit that id and \
             run `selvedge init --credential FILE`",
            ids::to_text(&issuer)
        )));
    }
    let bytes = read(&file)?;
    let enrol = credential::check_enrolment(&bytes, network, genesis, issuer)
        .map_err(|why| content(format!("{why}; put the file of a backup back")))?;
    Ok((bytes, enrol))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
