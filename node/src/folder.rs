//! The data folder of one gateway: what lies where, and who the gateway is.
//!
//! ```text
//! selvedge.toml           configuration, for people
//! genesis.bin             what the network started from; its hash is the network's id
//! gateway.id              this gateway's identity (svid…), so that questions need no key
//! keys/gateway.key        the gateway's seed (ML-DSA-44), mode 0600
//! keys/organisation.key   the organisation's seed (ML-DSA-65), mode 0600; only where the network was made
//! keys/salt.key           32 bytes from which the salts of batches derive, mode 0600
//! store/                  log, journal, index, archive (see `store`)
//! selvedge.sock           where a running node answers
//! issued                  mark: this gateway has signed something, so its store holds a chain
//! restored                mark: the keys are without the chain that they signed; nothing is issued
//! ```

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use selvedge_core::codec;
use selvedge_core::genesis::Genesis;
use selvedge_core::{Issuer, Network};
use selvedge_crypto::{SecretKey, ids, keyfile, secret_file};
use thiserror::Error;
use zeroize::Zeroizing;

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
}

/// Names inside a data folder.
mod name {
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
    /// When the folder holds a gateway already, or something cannot be written.
    pub fn create(path: &Path, contents: &Contents<'_>) -> Result<Self, FolderError> {
        let taken = [name::GENESIS, name::GATEWAY_KEY, name::STORE];
        for file in taken {
            if is_there(&path.join(file))? {
                return Err(FolderError::Taken { path: path.display().to_string() });
            }
        }
        make_private_folder(path)?;
        make_private_folder(&path.join("keys"))?;
        keyfile::create(&path.join(name::GATEWAY_KEY), contents.gateway, contents.passphrase)?;
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
        if contents.restored {
            write(&path.join(name::RESTORED), RESTORED_TEXT.as_bytes())?;
        }
        // Last: a folder without a genesis is no gateway, so a half-made one can be made again.
        write(&path.join(name::GENESIS), contents.genesis)?;
        Self::open(path)
    }

    /// Opens a data folder. Reads no key.
    ///
    /// # Errors
    /// When there is no gateway in it, or genesis or identity do not decode.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let file = path.join(name::GENESIS);
        if !is_there(&file)? {
            return Err(FolderError::Empty { path: path.display().to_string(), missing: name::GENESIS });
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
        Ok(Self {
            path: path.to_owned(),
            genesis_bytes: genesis_bytes.into(),
            genesis: Arc::new(genesis),
            network,
            issuer,
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

    /// The gateway's key. Its identity must be that of the folder.
    ///
    /// # Errors
    /// When the file cannot be read, is open to others, is sealed with another passphrase, or holds another key.
    pub fn gateway_key(&self, passphrase: Option<&str>) -> Result<SecretKey, FolderError> {
        let path = self.path.join(name::GATEWAY_KEY);
        let key = keyfile::load(&path, passphrase)?;
        let signer = selvedge_crypto::signer(&key)
            .map_err(|why| FolderError::Content { path: path.clone(), why: why.to_string() })?;
        let got = signer.public_key().issuer();
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

    /// Puts back the key files that are missing, and returns their names. Those that are there are left alone.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn put_back_keys(
        &self,
        gateway: &SecretKey,
        organisation: Option<&SecretKey>,
        salt_key: &[u8; SALT_KEY_BYTES],
        passphrase: Option<&str>,
    ) -> Result<Vec<&'static str>, FolderError> {
        make_private_folder(&self.path.join("keys"))?;
        let mut restored = Vec::new();
        let keys = [(name::GATEWAY_KEY, Some(gateway)), (name::ORGANISATION_KEY, organisation)];
        for (file, key) in keys {
            if let Some(key) = key
                && !is_there(&self.path.join(file))?
            {
                keyfile::create(&self.path.join(file), key, passphrase)?;
                restored.push(file);
            }
        }
        if !is_there(&self.path.join(name::SALT_KEY))? {
            secret_file::create(&self.path.join(name::SALT_KEY), salt_key)?;
            restored.push(name::SALT_KEY);
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

/// Is there such a file? A folder that cannot be searched is an error, not a no.
fn is_there(path: &Path) -> Result<bool, FolderError> {
    path.try_exists().map_err(|why| FolderError::Io { what: "look for", path: path.to_owned(), why })
}

fn read(path: &Path) -> Result<Vec<u8>, FolderError> {
    let io = |why| FolderError::Io { what: "read", path: path.to_owned(), why };
    let bytes_max = selvedge_core::limits::GENESIS_BYTES_MAX as u64;
    if fs::metadata(path).map_err(io)?.len() > bytes_max {
        return Err(FolderError::Content {
            path: path.to_owned(),
            why: format!("longer than {bytes_max} bytes; this is no file of a data folder"),
        });
    }
    fs::read(path).map_err(io)
}

/// Writes a whole file or none: beside it first, synced, then renamed.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let io = |what| move |why| FolderError::Io { what, path: path.to_owned(), why };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io("write beside"))?;
    file.write_all(bytes).map_err(io("write"))?;
    file.as_file().sync_all().map_err(io("sync"))?;
    file.persist(path).map_err(|e| io("write")(e.error))?;
    fs::File::open(folder).and_then(|f| f.sync_all()).map_err(io("sync the folder of"))
}

fn make_private_folder(path: &Path) -> Result<(), FolderError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|why| FolderError::Io { what: "make the folder", path: path.to_owned(), why })
}
