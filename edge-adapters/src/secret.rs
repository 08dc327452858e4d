//! Secrets that lie in files: never in the configuration, never in a log.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// A secret file holds one password or one key: more than this is some other file.
pub(crate) const SECRET_BYTES_MAX: u64 = 65_535;
/// Before a name of a systemd credential (`LoadCredential=`, systemd.exec(5)).
const CREDENTIAL: &str = "credential:";
/// Where systemd puts credentials for the service, and for no other.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// What stands in a secret file. Shows nothing of itself; wiped when dropped.
pub(crate) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Without the end of the line that an editor puts there.
    pub(crate) fn line(&self) -> &[u8] {
        let line = self.0.strip_suffix(b"\n").unwrap_or(&self.0);
        line.strip_suffix(b"\r").unwrap_or(line)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Where a secret lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretFile {
    /// In this file.
    Path(PathBuf),
    /// In a credential of this name, which systemd hands to the service.
    Credential(String),
}

/// As it was written.
#[cfg(feature = "modbus-tls")]
impl fmt::Display for SecretFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Credential(name) => write!(f, "{CREDENTIAL}{name}"),
        }
    }
}

impl SecretFile {
    /// As written: a path, or `credential:NAME`.
    ///
    /// # Errors
    /// What is expected.
    pub(crate) fn new(written: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "a path, or credential:NAME for a systemd credential";
        if written.is_empty() || written.contains(char::is_control) {
            return Err(EXPECTED);
        }
        match written.strip_prefix(CREDENTIAL) {
            None => Ok(Self::Path(PathBuf::from(written))),
            // A name, not a way out of the folder.
            Some(name) if name.is_empty() || name.contains('/') || name.starts_with('.') => Err(EXPECTED),
            Some(name) => Ok(Self::Credential(name.to_owned())),
        }
    }

    /// Its path now.
    ///
    /// # Errors
    /// Where systemd gave no credentials.
    pub(crate) fn path(&self) -> Result<PathBuf, String> {
        let name = match self {
            Self::Path(path) => return Ok(path.clone()),
            Self::Credential(name) => name,
        };
        let folder = std::env::var_os(CREDENTIALS_DIRECTORY).ok_or_else(|| {
            format!(
                "{CREDENTIAL}{name}: systemd gave no credentials; add LoadCredential={name}:FILE to the service, or name a file"
            )
        })?;
        Ok(Path::new(&folder).join(name))
    }

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        let path = self.path()?;
        read(&path).map(Secret)
    }

    /// What to do where others than its owner may read it; `None`: it is kept well, or is not there.
    pub(crate) fn exposed(&self) -> Option<String> {
        let path = self.path().ok()?;
        let mode = mode_of(&path)?;
        (mode & 0o007 != 0).then(|| {
            format!("every user of this machine may read {0}: chmod 600 {0}, or 640 with the group of the service", path.display())
        })
    }
}

#[cfg(unix)]
fn mode_of(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    Some(std::fs::metadata(path).ok()?.permissions().mode())
}

#[cfg(not(unix))]
fn mode_of(_: &Path) -> Option<u32> {
    None
}

/// A small file, whole.
///
/// # Errors
/// What is wrong, and what to do.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let file = File::open(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let mut bytes = Zeroizing::new(Vec::new());
    let mut few = file.take(SECRET_BYTES_MAX + 1);
    few.read_to_end(&mut bytes).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if bytes.is_empty() {
        return Err(wrong("is empty".to_owned()));
    }
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(wrong(format!("has more than {SECRET_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
