//! Everything that can go wrong in the store. A storage error is fatal to the handle: reopen, or exit.

use std::io;

use selvedge_core::batch::BatchError;
use selvedge_core::codec::CodecError;
use selvedge_core::hash::{Hash, Issuer, NetworkId};
use selvedge_core::seal::ArchiveError;
use thiserror::Error;

/// Why the store cannot do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another node has the data folder.
    #[error(
        "the data folder {folder} is in use by {}; stop it first, or ask it over its socket",
        owner(*pid)
    )]
    Locked {
        /// The folder.
        folder: String,
        /// The process that holds it, when its lock file says so.
        pid: Option<u32>,
    },
    /// The data folder belongs to another network.
    #[error(
        "the data folder belongs to network {got}, expected {expected}; use another folder for this network"
    )]
    OtherNetwork {
        /// The folder's network.
        got: NetworkId,
        /// The one asked for.
        expected: NetworkId,
    },
    /// The data folder belongs to another gateway.
    #[error(
        "the data folder belongs to issuer {got}, expected {expected}; use the key it was made with, or another folder"
    )]
    OtherIssuer {
        /// The folder's issuer.
        got: Issuer,
        /// The one asked for.
        expected: Issuer,
    },
    /// The folder holds segments but no readable identity.
    #[error(
        "the file {file} is missing or damaged ({why}), but the folder holds data; restore it from a backup"
    )]
    Identity {
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// An operation on a file failed.
    #[error("cannot {what} {file}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file, relative to the data folder.
        file: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// Bytes that were durable are not what was written.
    #[error(
        "{file} is damaged at byte {offset}: {why}. What lies before it is intact; keep a copy of the data folder \
         before anything else"
    )]
    Corrupt {
        /// The file, relative to the data folder.
        file: String,
        /// Where in it.
        offset: u64,
        /// What was found, and what was expected.
        why: String,
    },
    /// Something is too long for one frame of a log.
    #[error("{what}: {got} bytes, expected at most {limit} in a segment of this size")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// The index failed.
    #[error("the index failed while it had to {what}: {source}")]
    Index {
        /// What was being done.
        what: &'static str,
        /// The database's reason.
        #[source]
        source: Box<redb::Error>,
    },
    /// A value in the index does not decode.
    #[error("the index holds a {what} that does not decode; it is rebuilt at the next start")]
    IndexValue {
        /// What.
        what: &'static str,
    },
    /// A write that breaks a rule which the core keeps.
    #[error("a write was refused: {0}")]
    Write(String),
    /// The records of a journaled batch do not make a batch.
    #[error("the journal's batch {batch} cannot be replayed: {source}")]
    Batch {
        /// The batch.
        batch: u64,
        /// Why.
        #[source]
        source: BatchError,
    },
    /// Bytes in the log do not decode.
    #[error("what the store holds does not decode: {0}")]
    Codec(#[from] CodecError),
    /// An archive segment is damaged or not there.
    #[error("the archive segment {segment} is damaged: {why}")]
    Archive {
        /// Its name.
        segment: Hash,
        /// What is wrong.
        why: String,
    },
    /// Readings of this gateway that its peers gave back only the transactions of.
    #[error(
        "the archive segment of batch {batch} is not on this machine (adopted from peers after a restore), nor those after it \
         up to batch {last}; ask for readings from {} on, or bring the folder `archive` of the lost machine",
        selvedge_proof::rfc3339(until_ns.saturating_add(1))
    )]
    NotHere {
        /// Its number on the chain.
        batch: u64,
        /// The last batch of those after it, without a gap, that were adopted too.
        last: u64,
        /// The greatest receive time in them, ns since 1970 UTC.
        until_ns: i64,
    },
    /// An earlier error ended this handle.
    #[error("the store stopped after an earlier error ({why}); start the node again")]
    Poisoned {
        /// The first error.
        why: String,
    },
    /// The commit thread is gone.
    #[error("the commit thread has ended; start the node again")]
    Ended,
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".into(), |pid| format!("the process with pid {pid}"))
}

impl StoreError {
    /// Is it the index alone that is damaged? It can be rebuilt from the log.
    pub(crate) fn is_index_damage(&self) -> bool {
        match self {
            Self::IndexValue { .. } => true,
            Self::Index { source, .. } => match &**source {
                // A length or an offset that cannot be is what a damaged page looks like from below.
                redb::Error::Io(why) => {
                    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
                    matches!(why.kind(), InvalidData | InvalidInput | UnexpectedEof)
                }
                redb::Error::PreviousIo => false,
                _ => true,
            },
            _ => false,
        }
    }

    pub(crate) fn archive(segment: Hash, why: &ArchiveError) -> Self {
        Self::Archive { segment, why: why.to_string() }
    }
}

/// Names the operation and the file of an I/O error.
pub(crate) fn io_error(what: &'static str, file: &str) -> impl FnOnce(io::Error) -> StoreError {
    let file = file.to_owned();
    move |source| StoreError::Io { what, file, source }
}

/// Names the operation of an error of the database.
pub(crate) fn index_error<E: Into<redb::Error>>(what: &'static str) -> impl FnOnce(E) -> StoreError {
    move |source| StoreError::Index { what, source: Box::new(source.into()) }
}
