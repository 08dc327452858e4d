//! The folder `invitations`: one file for each invitation that this gateway gave out, and one more for each that was
//! redeemed. Nothing in them lets anybody redeem an invitation; what is kept of the secret are two hashes.
//!
//! A file is made once and never changed: `ID.invitation` when the line is printed, `ID.redeemed` when it is redeemed.
//! The second appears whole or not at all and for one joiner only, so it decides who was first, whatever else happens.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use selvedge_core::codec::{self, Canonical, check_name};
use selvedge_core::hash::{derive, hex};
use selvedge_core::{Issuer, NetworkId};
use selvedge_crypto::secret_file::{self, SecretFileError};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::line::SECRET_BYTES;
use crate::folder::{Folder, FolderError, make_private_folder};

/// Invitations of one gateway that are kept, open and ended ones together.
pub const INVITATIONS_MAX: usize = 1_000;
/// An invitation lasts no shorter.
pub const LASTS_MIN: Duration = Duration::from_mins(1);
/// And no longer: a secret that lies about.
pub const LASTS_MAX: Duration = Duration::from_hours(30 * 24);
/// An ended invitation is kept for so long, in seconds, to tell whoever comes with it why it is none any more.
const KEPT_S: u64 = 30 * 24 * 3_600;
/// Longest file of this folder, in bytes.
const FILE_BYTES_MAX: usize = 16 * 1024;

const ID_CONTEXT: &str = "selvedge v0 invitation id";
const KEY_CONTEXT: &str = "selvedge v0 invitation key";

/// By what an invitation is found; known to whoever has the line or saw it redeemed.
pub(super) type InvitationId = [u8; 16];

/// An invitation that this gateway gave out.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    version: u8,
    /// For which network.
    pub network: NetworkId,
    /// By what it is found.
    pub id: InvitationId,
    /// What proves knowledge of the secret, on both sides.
    pub(super) key: [u8; 32],
    /// The name that the joiner gets; `None`: as the joiner asks.
    pub name: Option<String>,
    /// When it was given out, in seconds since 1970 UTC.
    pub made_s: u64,
    /// When it ends, likewise.
    pub expires_s: u64,
}

impl Drop for Invitation {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl std::fmt::Debug for Invitation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("Invitation").field("id", &hex(&self.id)).finish_non_exhaustive()
    }
}

impl Canonical for Invitation {
    const WHAT: &'static str = "invitation";
    const BYTES_MAX: usize = 512;

    fn check(&self) -> Result<(), &'static str> {
        if self.version != 0 {
            return Err("its version is not 0");
        }
        self.name.iter().try_for_each(|name| check_name(name))
    }
}

/// Who redeemed an invitation, and with what answer: the same again for whoever lost it on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redeemed {
    pub(super) version: u8,
    /// Which invitation.
    pub id: InvitationId,
    /// By whom.
    pub issuer: Issuer,
    /// The encoded enrolment.
    #[serde(with = "serde_bytes")]
    pub enrolment: Vec<u8>,
    /// When, in seconds since 1970 UTC.
    pub redeemed_s: u64,
}

impl Canonical for Redeemed {
    const WHAT: &'static str = "record of a redeemed invitation";
    const BYTES_MAX: usize = FILE_BYTES_MAX;

    fn check(&self) -> Result<(), &'static str> {
        if self.version == 0 { Ok(()) } else { Err("its version is not 0") }
    }
}

/// By what the invitation with this secret is found. The secret has 128 bits, so this tells nothing of it.
pub(super) fn id_of(secret: &[u8; SECRET_BYTES]) -> InvitationId {
    *derive(ID_CONTEXT, secret).first_chunk().expect("a hash is longer than an id")
}

/// What proves knowledge of the secret.
pub(super) fn key_of(secret: &[u8; SECRET_BYTES]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(derive(KEY_CONTEXT, secret))
}

impl Invitation {
    /// The invitation with this secret.
    pub fn new(
        network: NetworkId,
        secret: &[u8; SECRET_BYTES],
        name: Option<String>,
        made_s: u64,
        expires_s: u64,
    ) -> Self {
        Self { version: 0, network, id: id_of(secret), key: *key_of(secret), name, made_s, expires_s }
    }

    fn path(folder: &Folder, id: &InvitationId) -> PathBuf {
        folder.invitations_path().join(format!("{}.invitation", hex(id)))
    }

    /// Keeps it durably, mode 0600. Invitations that ended long ago are removed.
    ///
    /// # Errors
    /// When it cannot be written, or too many are kept.
    pub fn keep(&self, folder: &Folder) -> Result<(), FolderError> {
        let path = folder.invitations_path();
        make_private_folder(&path)?;
        sweep(folder, self.made_s)?;
        let kept = list(folder)?.len();
        if kept >= INVITATIONS_MAX {
            let why = format!(
                "{kept} invitations are kept, expected fewer than {INVITATIONS_MAX}; remove files of those that have ended"
            );
            return Err(FolderError::Content { path, why });
        }
        Ok(secret_file::create(&Self::path(folder, &self.id), &codec::encode(self))?)
    }

    /// The invitation found by this id.
    ///
    /// # Errors
    /// When it cannot be read, is open to others, or is none.
    pub fn read(folder: &Folder, id: &InvitationId) -> Result<Option<Self>, FolderError> {
        let path = Self::path(folder, id);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        let read: Result<Self, _> = codec::decode(&bytes);
        match read {
            Ok(read) if read.id == *id => Ok(Some(read)),
            Ok(_) => Err(FolderError::Content { path, why: "it is another invitation; remove it".into() }),
            Err(why) => {
                Err(FolderError::Content { path, why: format!("{why}; remove it, and invite again") })
            }
        }
    }
}

impl Redeemed {
    fn path(folder: &Folder, id: &InvitationId) -> PathBuf {
        folder.invitations_path().join(format!("{}.redeemed", hex(id)))
    }

    /// Keeps it durably. `false`: somebody was first.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&self, folder: &Folder) -> Result<bool, FolderError> {
        match secret_file::create(&Self::path(folder, &self.id), &codec::encode(self)) {
            Ok(()) => Ok(true),
            Err(SecretFileError::Exists { .. }) => Ok(false),
            Err(why) => Err(why.into()),
        }
    }

    /// Who redeemed the invitation with this id.
    ///
    /// # Errors
    /// When it cannot be read or is none: then nobody else may redeem it.
    pub fn read(folder: &Folder, id: &InvitationId) -> Result<Option<Self>, FolderError> {
        let path = Self::path(folder, id);
        let Some(bytes) = read_if_there(&path)? else { return Ok(None) };
        codec::decode(&bytes).map(Some).map_err(|why| FolderError::Content { path, why: why.to_string() })
    }
}

fn read_if_there(path: &std::path::Path) -> Result<Option<Zeroizing<Vec<u8>>>, FolderError> {
    match secret_file::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(SecretFileError::Io { why, .. }) if why.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why.into()),
    }
}

/// Ids of all invitations that are kept.
pub(super) fn list(folder: &Folder) -> Result<Vec<InvitationId>, FolderError> {
    let path = folder.invitations_path();
    let io = |why| FolderError::Io { what: "look into", path: path.clone(), why };
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(why) => return Err(io(why)),
    };
    let mut ids = Vec::new();
    for entry in entries.take(4 * INVITATIONS_MAX) {
        let file = entry.map_err(io)?.file_name();
        let id = file.to_str().and_then(|file| file.strip_suffix(".invitation")).and_then(unhex);
        ids.extend(id);
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Removes what ended long ago.
fn sweep(folder: &Folder, now_s: u64) -> Result<(), FolderError> {
    for id in list(folder)? {
        // One that cannot be read is left for people to look at; its redemption names it when somebody comes with it.
        let Ok(Some(invitation)) = Invitation::read(folder, &id) else { continue };
        if invitation.expires_s.saturating_add(KEPT_S) < now_s {
            for path in [Invitation::path(folder, &id), Redeemed::path(folder, &id)] {
                match fs::remove_file(&path) {
                    Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
                        return Err(FolderError::Io { what: "remove", path, why });
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn unhex(text: &str) -> Option<InvitationId> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut id = InvitationId::default();
    if pairs.len() != id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).ok().filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(id)
}
