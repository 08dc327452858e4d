//! Files that people hand to each other (an introduction, a credential): one line that says what it is, the canonical
//! encoding of one value, and a checksum over both.
//!
//! The checksum is for damage on the way, so that it is told apart from a wrong file. What such a file says is trusted
//! for the signatures in it only.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use selvedge_core::codec::{self, Canonical, CodecError};
use selvedge_core::hash::derive;
use serde::Deserialize;
use thiserror::Error;

const CHECK_CONTEXT: &str = "selvedge v0 document check";
const CHECK_BYTES: usize = 16;
/// What all of these files begin with.
const BEGIN: &str = "selvedge ";

/// A value with a file form.
pub trait Document: Canonical {
    /// What it is, in its first line.
    const KIND: &'static str;
    /// Where one comes from, for whoever has the wrong file.
    const FROM: &'static str;
}

/// Why a file is not the one that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// Something else altogether.
    #[error("this is no {expected} of Selvedge; expected a file that {from} wrote")]
    Other {
        /// What was expected.
        expected: &'static str,
        /// Where one comes from.
        from: &'static str,
    },
    /// Another file of ours.
    #[error("this is a {got:?} file of Selvedge; expected {expected:?}, which {from} writes")]
    Kind {
        /// What it is.
        got: String,
        /// What was expected.
        expected: &'static str,
        /// Where one comes from.
        from: &'static str,
    },
    /// Longer than it can be.
    #[error("longer than {bytes_max} bytes, so no {expected}")]
    TooLong {
        /// What was expected.
        expected: &'static str,
        /// The limit.
        bytes_max: usize,
    },
    /// Cut short or changed on the way.
    #[error("damaged: its checksum does not fit its content (cut short, or sent as text?); send it again")]
    Damaged,
    /// Whole, and not well made.
    #[error("{0}")]
    Content(#[from] CodecError),
}

/// Why such a file could not be read.
#[derive(Debug, Error)]
pub enum DocumentFileError {
    /// The system refused.
    #[error("cannot read {}: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        why: std::io::Error,
    },
    /// It can be read and is none.
    #[error("{}: {why}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        why: DocumentError,
    },
}

fn head<T: Document>() -> String {
    format!("{BEGIN}{} 0\n", T::KIND)
}

fn bytes_max<T: Document>() -> usize {
    T::BYTES_MAX + head::<T>().len() + CHECK_BYTES
}

/// The file of a value.
pub fn encode<T: Document>(value: &T) -> Vec<u8> {
    let mut bytes = head::<T>().into_bytes();
    bytes.extend(codec::encode(value));
    let check = derive(CHECK_CONTEXT, &bytes);
    bytes.extend(&check[..CHECK_BYTES]);
    bytes
}

/// The value of a file.
///
/// # Errors
/// See [`DocumentError`].
pub fn decode<T: Document + for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, DocumentError> {
    let (expected, from) = (T::KIND, T::FROM);
    let head = head::<T>();
    if !bytes.starts_with(head.as_bytes()) {
        let line = bytes.strip_prefix(BEGIN.as_bytes()).unwrap_or_default();
        let line = &line[..line.len().min(40)];
        let line = line.split(|byte| *byte == b'\n').next().filter(|l| l.len() < 40);
        return Err(match line.and_then(|line| std::str::from_utf8(line).ok()) {
            Some(got) if !got.is_empty() && !got.chars().any(char::is_control) => {
                DocumentError::Kind { got: got.to_owned(), expected, from }
            }
            _ => DocumentError::Other { expected, from },
        });
    }
    if bytes.len() > bytes_max::<T>() {
        return Err(DocumentError::TooLong { expected, bytes_max: bytes_max::<T>() });
    }
    let content = bytes.len().checked_sub(CHECK_BYTES).filter(|end| *end >= head.len());
    let (content, check) = bytes.split_at(content.ok_or(DocumentError::Damaged)?);
    if check != &derive(CHECK_CONTEXT, content)[..CHECK_BYTES] {
        return Err(DocumentError::Damaged);
    }
    Ok(codec::decode(&content[head.len()..])?)
}

/// Reads a file, never more of it than one of its kind can hold.
///
/// # Errors
/// When it cannot be read or is none.
pub fn read<T: Document + for<'a> Deserialize<'a>>(path: &Path) -> Result<T, DocumentFileError> {
    let io = |why| DocumentFileError::Io { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(bytes_max::<T>() as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    decode(&bytes).map_err(|why| DocumentFileError::Content { path: path.to_owned(), why })
}
