//! Key files: one [`SecretKey`], open or sealed with a passphrase, as a few lines of text in a
//! [secret file](crate::secret_file).
//!
//! ```text
//! selvedge key 1
//! scheme ML-DSA-44
//! seed <64 hexadecimal digits>            or: sealed <hexadecimal>
//! check <32 hexadecimal digits>
//! ```
//!
//! The last line is a checksum over the lines before it (BLAKE3), so that a damaged file is told apart from a
//! wrong passphrase. Sealed are the scheme's tag and the seed, in the format of the module `passphrase`. A key
//! has one file text (open) or the texts that its sealed bytes vary in; nothing else is taken.

use std::path::{Path, PathBuf};

use selvedge_core::Scheme;
use selvedge_core::hash::derive;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::SecretKey;
#[cfg(feature = "aws-lc")]
use crate::passphrase::{self, PassphraseError};
use crate::secret::SEED_BYTES;
use crate::secret_file::{self, SecretFileError};

/// Longest key file, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 1_024;

const NAME: &str = "selvedge key ";
const VERSION: &str = "1";
const CHECK_CONTEXT: &str = "selvedge v0 key file check";
const CHECK_BYTES: usize = 16;

#[cfg(feature = "aws-lc")]
const _: () = assert!(128 + 2 * (1 + SEED_BYTES + passphrase::OVERHEAD_BYTES) < KEY_FILE_BYTES_MAX);

/// Why a key file was not written or not read.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file itself.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// What stands in it.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        why: KeyTextError,
    },
}

/// Why the text of a key file is not a key, or a key not made into one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyTextError {
    /// Something else.
    #[error("not a key file: expected the first line \"selvedge key 1\"")]
    NotAKeyFile,
    /// Of a version that this program does not know.
    #[error("a key file of another version; expected version {VERSION}, open it with a newer Selvedge")]
    Version,
    /// The checksum does not fit, or is not there.
    #[error("damaged: {0}; restore this file from its backup")]
    Damaged(&'static str),
    /// Sealed, and no passphrase was given.
    #[error("sealed with a passphrase, and none was given")]
    PassphraseNeeded,
    /// Not sealed, but a passphrase was given: whoever gave it believes that it is.
    #[error("not sealed, although a passphrase was given; leave the passphrase out")]
    NotSealed,
    /// Opening or sealing failed.
    #[cfg(feature = "aws-lc")]
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// This build has no passphrase box.
    #[cfg(not(feature = "aws-lc"))]
    #[error("sealed key files need a build with the feature `aws-lc`")]
    NoSealing,
}

/// Writes a new key file of mode 0600, durably; sealed if there is a passphrase.
///
/// # Errors
/// See [`KeyFileError`]; an existing file is never overwritten.
pub fn create(path: &Path, secret: &SecretKey, passphrase: Option<&str>) -> Result<(), KeyFileError> {
    let text = encode(secret, passphrase).map_err(|why| KeyFileError::Content { path: path.into(), why })?;
    Ok(secret_file::create(path, &text)?)
}

/// The key in this file. [`KeyTextError::PassphraseNeeded`] says that it is sealed and must be asked for.
///
/// # Errors
/// See [`KeyFileError`].
pub fn load(path: &Path, passphrase: Option<&str>) -> Result<SecretKey, KeyFileError> {
    let text = secret_file::read(path, KEY_FILE_BYTES_MAX)?;
    decode(&text, passphrase).map_err(|why| KeyFileError::Content { path: path.into(), why })
}

/// The text of a key file.
///
/// # Errors
/// When it cannot be sealed.
pub fn encode(secret: &SecretKey, passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, KeyTextError> {
    let Some(passphrase) = passphrase else { return Ok(text(secret.scheme(), "seed", secret.seed())) };
    seal(secret, passphrase)
}

/// The key in the text of a key file.
///
/// # Errors
/// Tells damage and a wrong passphrase apart.
pub fn decode(bytes: &[u8], passphrase: Option<&str>) -> Result<SecretKey, KeyTextError> {
    let fields = Fields::read(bytes)?;
    match (fields.sealed, passphrase) {
        (false, None) => {
            let seed = fields.content.first_chunk::<SEED_BYTES>();
            let seed = seed.filter(|_| fields.content.len() == SEED_BYTES);
            let seed = seed.ok_or(KeyTextError::Damaged("the seed is not of 32 bytes"))?;
            Ok(SecretKey::from_seed(fields.scheme, seed))
        }
        (false, Some(_)) => Err(KeyTextError::NotSealed),
        (true, None) => Err(KeyTextError::PassphraseNeeded),
        (true, Some(passphrase)) => open(fields.scheme, &fields.content, passphrase),
    }
}

#[cfg(feature = "aws-lc")]
fn seal(secret: &SecretKey, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, KeyTextError> {
    seal_at_cost(secret, passphrase, passphrase::Cost::DEFAULT)
}

#[cfg(feature = "aws-lc")]
fn seal_at_cost(
    secret: &SecretKey,
    passphrase: &str,
    cost: passphrase::Cost,
) -> Result<Zeroizing<Vec<u8>>, KeyTextError> {
    let mut content = Zeroizing::new([0; 1 + SEED_BYTES]);
    content[0] = secret.scheme().tag();
    content[1..].copy_from_slice(secret.seed());
    let sealed = passphrase::seal_at_cost(content.as_slice(), passphrase, cost)?;
    Ok(text(secret.scheme(), "sealed", &sealed))
}

#[cfg(feature = "aws-lc")]
fn open(scheme: Scheme, sealed: &[u8], passphrase: &str) -> Result<SecretKey, KeyTextError> {
    let content = passphrase::open_with_passphrase(sealed, passphrase)?;
    match content.split_first().map(|(tag, seed)| (*tag, <&[u8; SEED_BYTES]>::try_from(seed))) {
        Some((tag, Ok(seed))) if tag == scheme.tag() => Ok(SecretKey::from_seed(scheme, seed)),
        _ => Err(KeyTextError::Damaged("what is sealed is not a key of the scheme that the file names")),
    }
}

#[cfg(not(feature = "aws-lc"))]
fn seal(_: &SecretKey, _: &str) -> Result<Zeroizing<Vec<u8>>, KeyTextError> {
    Err(KeyTextError::NoSealing)
}

#[cfg(not(feature = "aws-lc"))]
fn open(_: Scheme, _: &[u8], _: &str) -> Result<SecretKey, KeyTextError> {
    Err(KeyTextError::NoSealing)
}

fn text(scheme: Scheme, field: &str, content: &[u8]) -> Zeroizing<Vec<u8>> {
    // Room for all of it from the start: growing would leave a copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(128 + 2 * content.len()));
    for part in [NAME, VERSION, "\nscheme ", scheme.name(), "\n", field, " "] {
        text.extend_from_slice(part.as_bytes());
    }
    push_hex(&mut text, content);
    text.push(b'\n');
    let check = check_of(&text);
    text.extend_from_slice(b"check ");
    push_hex(&mut text, &check);
    text.push(b'\n');
    text
}

fn check_of(text: &[u8]) -> [u8; CHECK_BYTES] {
    *derive(CHECK_CONTEXT, text).first_chunk().expect("a hash is longer than the checksum")
}

/// What a key file says, once its checksum fits.
struct Fields {
    scheme: Scheme,
    sealed: bool,
    content: Zeroizing<Vec<u8>>,
}

impl Fields {
    fn read(bytes: &[u8]) -> Result<Self, KeyTextError> {
        let name = NAME.as_bytes();
        if !bytes.starts_with(&name[..bytes.len().min(name.len())]) {
            return Err(KeyTextError::NotAKeyFile);
        }
        if bytes.len() > KEY_FILE_BYTES_MAX {
            return Err(KeyTextError::Damaged("it is longer than a key file can be"));
        }
        let cut_short = KeyTextError::Damaged("it is cut short");
        let version = bytes.get(name.len()..).and_then(|rest| rest.split(|byte| *byte == b'\n').next());
        match version {
            None | Some([]) => return Err(cut_short),
            Some(version) if version != VERSION.as_bytes() => return Err(KeyTextError::Version),
            Some(_) => {}
        }
        let text = std::str::from_utf8(bytes).map_err(|_| KeyTextError::Damaged("it is not text"))?;
        let (body, check) = text.rsplit_once("check ").ok_or(cut_short.clone())?;
        let check = check.strip_suffix('\n').ok_or(cut_short)?;
        if unhex(check).as_deref().map(Vec::as_slice) != Some(check_of(body.as_bytes()).as_slice()) {
            return Err(KeyTextError::Damaged("its checksum does not fit its content"));
        }
        Self::parse(body).ok_or(KeyTextError::Damaged("its lines are not those of a key file"))
    }

    fn parse(body: &str) -> Option<Self> {
        let mut lines = body.strip_suffix('\n')?.split('\n');
        let (_, scheme, content) = (lines.next()?, lines.next()?, lines.next()?);
        if lines.next().is_some() {
            return None;
        }
        let scheme = scheme.strip_prefix("scheme ")?;
        let scheme = [Scheme::MlDsa44, Scheme::MlDsa65].into_iter().find(|known| known.name() == scheme)?;
        let (field, content) = content.split_once(' ')?;
        let sealed = match field {
            "seed" => false,
            "sealed" => true,
            _ => return None,
        };
        Some(Self { scheme, sealed, content: unhex(content)? })
    }
}

fn push_hex(text: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)]);
        text.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Bytes of lower-case hexadecimal digits. (Upper case would be a second text for the same key.)
fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut bytes = Zeroizing::new(Vec::with_capacity(pairs.len()));
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
