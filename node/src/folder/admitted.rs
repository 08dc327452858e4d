//! Whom this gateway let in: the credentials that it wrote, one durable file each. Their keys may connect from then on,
//! before the ledger knows them; how else would their enrolment get there?

use std::fs;
use std::path::PathBuf;

use selvedge_core::codec::{self, Canonical, check_name};
use selvedge_core::genesis::PublicKey;
use selvedge_core::payload::Credential;
use selvedge_core::{Issuer, limits};
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::files::{is_there, make_private_folder, read, write};
use super::{Folder, FolderError, name};

/// Whom a gateway may let in.
pub const ADMITTED_MAX: usize = limits::ISSUERS_MAX;

/// One whom this gateway let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Admitted {
    /// 0.
    pub version: u8,
    /// Who.
    pub issuer: Issuer,
    /// Its first key; `None` for one admitted by its id alone: then whoever connects with a key that founds this id.
    pub key: Option<PublicKey>,
    /// For people.
    pub name: String,
    /// Roles, ascending, each once.
    pub roles: Vec<String>,
    /// The word on it.
    pub credential: Credential,
    /// When, in seconds since 1970 UTC by this machine's clock.
    pub admitted_s: u64,
}

impl Canonical for Admitted {
    const WHAT: &'static str = "record of an admitted gateway";
    const BYTES_MAX: usize = 16 * 1024;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        check_name(&self.name)?;
        if self.roles.len() > limits::ROLES_MAX {
            return Err("more than 16 roles");
        }
        match &self.key {
            Some(key) if key.issuer() != self.issuer => Err("its key founds another identity"),
            Some(key) => key.check(),
            None => Ok(()),
        }
    }
}

impl Folder {
    /// Where the records lie.
    pub fn admitted_path(&self) -> PathBuf {
        self.path.join(name::ADMITTED)
    }

    fn admitted_file(&self, issuer: &Issuer) -> PathBuf {
        self.admitted_path().join(format!("{}.member", ids::to_text(issuer)))
    }

    /// Notes durably that this gateway let someone in.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn admit(&self, admitted: &Admitted) -> Result<(), FolderError> {
        make_private_folder(&self.admitted_path())?;
        write(&self.admitted_file(&admitted.issuer), &codec::encode(admitted))
    }

    /// The record of one whom this gateway let in.
    ///
    /// # Errors
    /// When it cannot be read or is none.
    pub fn admitted(&self, issuer: &Issuer) -> Result<Option<Admitted>, FolderError> {
        let path = self.admitted_file(issuer);
        if !is_there(&path)? {
            return Ok(None);
        }
        let record: Result<Admitted, _> = codec::decode(&read(&path)?);
        match record {
            Ok(record) if record.issuer == *issuer => Ok(Some(record)),
            Ok(_) => Err(FolderError::Content { path, why: "it is the record of another gateway".into() }),
            Err(why) => Err(FolderError::Content {
                path,
                why: format!("{why}; remove it, and admit that gateway again"),
            }),
        }
    }

    /// All whom this gateway let in, those of `known` left out (a running node asks again and again). A damaged record
    /// is left out with a line in the log: it must not keep the others away.
    ///
    /// # Errors
    /// When the records cannot be listed.
    pub fn all_admitted(&self, known: impl Fn(&Issuer) -> bool) -> Result<Vec<Admitted>, FolderError> {
        let folder = self.admitted_path();
        if !is_there(&folder)? {
            return Ok(Vec::new());
        }
        let io = |why| FolderError::Io { what: "look into", path: folder.clone(), why };
        let mut all = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io)?.take(2 * ADMITTED_MAX) {
            let file = entry.map_err(io)?.file_name();
            let id = file.to_str().and_then(|file| file.strip_suffix(".member"));
            let Some(issuer) = id.and_then(|id| ids::parse::<Issuer>(id).ok()).filter(|i| !known(i)) else {
                continue;
            };
            match self.admitted(&issuer) {
                Ok(record) => all.extend(record),
                Err(error) => tracing::warn!(%error, "a record of an admitted gateway is left out"),
            }
            if all.len() == ADMITTED_MAX {
                break;
            }
        }
        all.sort_unstable_by_key(|record| record.issuer);
        Ok(all)
    }
}
