//! Why a proof is refused: which link does not hold, what was got and what was expected.

use std::fmt;

use selvedge_core::codec::CodecError;
use selvedge_core::hash::{Hash, Id, Issuer, NetworkId};
use selvedge_core::reading::ReadingError;
use selvedge_core::scheme::Scheme;
use serde::Serialize;
use thiserror::Error;

use crate::ids;

/// A link of the chain from the reading to the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Link {
    /// The file itself: its form.
    File,
    /// The network that the verifier trusts.
    Network,
    /// The genesis in the file.
    Genesis,
    /// The reading's own bytes.
    Reading,
    /// The stream's descriptor.
    Descriptor,
    /// The reading's place in the batch, and its path to the root.
    Leaf,
    /// The batch in the transaction.
    Batch,
    /// The transaction's own bytes.
    Transaction,
    /// The issuer's enrolment.
    Enrolment,
    /// The credential in the enrolment.
    Credential,
    /// One of the issuer's rotations.
    Rotation,
    /// The key that signed.
    Key,
    /// A signature.
    Signature,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Network => "network",
            Self::Genesis => "genesis",
            Self::Reading => "reading",
            Self::Descriptor => "descriptor",
            Self::Leaf => "leaf",
            Self::Batch => "batch",
            Self::Transaction => "transaction",
            Self::Enrolment => "enrolment",
            Self::Credential => "credential",
            Self::Rotation => "rotation",
            Self::Key => "key",
            Self::Signature => "signature",
        })
    }
}

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The file does not begin as a proof does.
    #[error(
        "this is no proof file: it begins with \"{}\", expected \"SVPROOF\\n\" and a version",
        got.escape_ascii()
    )]
    NotAProof {
        /// Its first bytes.
        got: Vec<u8>,
    },
    /// A version that this program does not know.
    #[error("the proof file has version {got}, expected {}; a newer selvedge may know it", crate::VERSION)]
    Version {
        /// The version.
        got: u8,
    },
    /// Bytes that are not the one encoding of what they should be.
    #[error("{}{why}", at.map_or_else(String::new, |at| format!("at byte {at}: ")))]
    Malformed {
        /// What they should be.
        link: Link,
        /// Offset in it (for [`Link::File`] in the file), where it is known.
        at: Option<usize>,
        /// The decoder's reason.
        why: CodecError,
    },
    /// The genesis that the verifier was told to trust is none.
    #[error("the genesis that you named is none: {why}")]
    TrustedGenesis {
        /// The decoder's reason.
        why: CodecError,
    },
    /// Another network than the trusted one, whatever its names are.
    #[error(
        "the proof is of the network {}{}, expected {}; names prove nothing, ids do",
        ids::text(*got),
        name.as_ref().map_or_else(String::new, |name| format!(" that calls itself {name:?}")),
        ids::text(*expected)
    )]
    OtherNetwork {
        /// The network of the genesis in the file.
        got: NetworkId,
        /// What that genesis calls it, if it is one.
        name: Option<String>,
        /// The trusted one.
        expected: NetworkId,
    },
    /// The reading does not decode.
    #[error("{0}")]
    Reading(#[from] ReadingError),
    /// The reading names a stream beyond the table of the batch.
    #[error("the reading names stream {got} of a batch of {expected} streams")]
    NoSuchStream {
        /// Its index.
        got: u32,
        /// Streams in the table.
        expected: usize,
    },
    /// The descriptor is not the one that the batch names for the stream.
    #[error(
        "the descriptor has the hash {got}, expected {expected}, which the batch names for stream {stream}"
    )]
    Descriptor {
        /// Index of the stream.
        stream: u32,
        /// Hash of the descriptor in the file.
        got: Hash,
        /// Hash in the batch.
        expected: Hash,
    },
    /// The reading's counter is not among those of its stream in the batch.
    #[error(
        "the reading has counter {got}, expected one of {first} to {last}, which the batch holds of its stream"
    )]
    Counter {
        /// The counter.
        got: u64,
        /// The first of the stream in the batch.
        first: u64,
        /// The last.
        last: u64,
    },
    /// The path does not have the length for its place.
    #[error("the path from leaf {leaf} of {count} has {got} hashes, which does not fit that place")]
    PathLength {
        /// Index of the leaf.
        leaf: u64,
        /// Leaves.
        count: u32,
        /// Hashes in the path.
        got: usize,
    },
    /// The path leads to another root.
    #[error(
        "the reading leads from leaf {leaf} of {count} to the root {got}, expected {expected}, which the batch names: the reading, its salt or its path was changed"
    )]
    Root {
        /// Index of the leaf.
        leaf: u64,
        /// Leaves.
        count: u32,
        /// Root of the path.
        got: Hash,
        /// Root in the batch.
        expected: Hash,
    },
    /// The reading was not received in the time that the batch spans.
    #[error("the reading was received at {}, expected within {} to {}, which the batch names",
        crate::rfc3339(*got), crate::rfc3339(*first), crate::rfc3339(*last))]
    Time {
        /// Receive time, ns since 1970 UTC.
        got: i64,
        /// First time of the batch.
        first: i64,
        /// Last time of the batch.
        last: i64,
    },
    /// The transaction carries something else than it should.
    #[error("{link}: the transaction has payload kind {got}, expected {expected}")]
    Kind {
        /// Which transaction.
        link: Link,
        /// Its payload kind.
        got: u16,
        /// The kind expected.
        expected: u16,
    },
    /// A transaction that no node would take: what its header refers to cannot be.
    #[error("{link}: transaction {} at sequence {sequence} {why}", ids::text(*id))]
    Header {
        /// Which transaction.
        link: Link,
        /// Its id.
        id: Id,
        /// Its sequence.
        sequence: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A transaction of the chain is of somebody else.
    #[error("the {link} is signed by {}, expected {}, the issuer of the batch", ids::text(*got), ids::text(*expected))]
    OtherIssuer {
        /// Which transaction.
        link: Link,
        /// Its issuer.
        got: Issuer,
        /// The issuer of the batch.
        expected: Issuer,
    },
    /// The issuer is not in the genesis and the file has no enrolment.
    #[error("the genesis does not name the issuer {}, and the file holds no enrolment of it", ids::text(*issuer))]
    NotEnrolled {
        /// The issuer.
        issuer: Issuer,
    },
    /// An enrolment of an issuer that the genesis names.
    #[error("the file holds an enrolment, but the genesis already names the issuer {}", ids::text(*issuer))]
    Enrolled {
        /// The issuer.
        issuer: Issuer,
    },
    /// The enrolled key does not found the issuer.
    #[error("the enrolled key founds {}, expected the issuer {}", ids::text(*got), ids::text(*expected))]
    ForeignKey {
        /// The identity that the key founds.
        got: Issuer,
        /// The issuer.
        expected: Issuer,
    },
    /// The credential names a signer that the genesis does not have, or that may not invite.
    #[error("the credential is of organisation {organisation} and {why}")]
    Credential {
        /// Place of the organisation in the genesis.
        organisation: u16,
        /// What is wrong.
        why: &'static str,
    },
    /// The rotations do not reach the key that signed.
    #[error(
        "the transaction is signed by key {expected}, which takes {expected} rotations; the file holds {got}"
    )]
    RotationCount {
        /// Rotations in the file.
        got: usize,
        /// The number of the key that signed.
        expected: u32,
    },
    /// A transaction of the issuer's chain does not follow the one before it in the file.
    #[error("the {link} at sequence {got} does not follow sequence {before}: {why}")]
    Order {
        /// Which transaction.
        link: Link,
        /// Its sequence.
        got: u64,
        /// The sequence of the one before it in the file.
        before: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A transaction is signed by another key than the one in force.
    #[error("the {link} is signed by key {got}, expected key {expected}, the one in force before it")]
    KeyNumber {
        /// Which transaction.
        link: Link,
        /// The number in the envelope.
        got: u32,
        /// The number in force.
        expected: u32,
    },
    /// The scheme in the envelope is not that of the key.
    #[error("the {link} is signed with {}, expected {}, the scheme of key {key_number}", got.name(), expected.name())]
    WrongScheme {
        /// Which transaction.
        link: Link,
        /// The number of the key.
        key_number: u32,
        /// The scheme in the envelope.
        got: Scheme,
        /// That of the key.
        expected: Scheme,
    },
    /// A signature does not hold.
    #[error("{link}: the {} signature by {key} does not hold: what was signed, or the signature itself, was changed", scheme.name())]
    Signature {
        /// What is signed.
        link: Link,
        /// The scheme.
        scheme: Scheme,
        /// Whose key, in words.
        key: String,
    },
}

impl Refusal {
    pub(crate) const fn malformed(link: Link, why: CodecError) -> Self {
        let at = match why {
            CodecError::NotCanonical { at, .. } => Some(at),
            _ => None,
        };
        Self::Malformed { link, at, why }
    }

    /// Malformed bytes that begin at `start` of a file of `length` bytes.
    pub(crate) fn malformed_at(link: Link, start: usize, length: usize, why: CodecError) -> Self {
        let at = match &why {
            CodecError::NotCanonical { at, .. } => Some(start + at),
            CodecError::Trailing { left, .. } => Some(length - left),
            CodecError::Malformed { why: postcard::Error::DeserializeUnexpectedEnd, .. } => Some(length),
            _ => None,
        };
        Self::Malformed { link, at, why }
    }

    /// Which link does not hold.
    pub const fn link(&self) -> Link {
        match self {
            Self::NotAProof { .. } | Self::Version { .. } => Link::File,
            Self::TrustedGenesis { .. } | Self::OtherNetwork { .. } => Link::Network,
            Self::Reading(_) => Link::Reading,
            Self::Descriptor { .. } => Link::Descriptor,
            Self::NoSuchStream { .. }
            | Self::Counter { .. }
            | Self::PathLength { .. }
            | Self::Root { .. } => Link::Leaf,
            Self::Time { .. } => Link::Batch,
            Self::NotEnrolled { .. } | Self::Enrolled { .. } | Self::ForeignKey { .. } => Link::Enrolment,
            Self::Credential { .. } => Link::Credential,
            Self::RotationCount { .. } => Link::Key,
            Self::Malformed { link, .. }
            | Self::Kind { link, .. }
            | Self::Header { link, .. }
            | Self::OtherIssuer { link, .. }
            | Self::Order { link, .. }
            | Self::KeyNumber { link, .. }
            | Self::WrongScheme { link, .. }
            | Self::Signature { link, .. } => *link,
        }
    }

    /// What the program ends with: 1.
    pub const fn exit_code(&self) -> u8 {
        1
    }

    /// For `--json`.
    pub fn report(&self) -> RefusalReport {
        RefusalReport { outcome: "refused", link: self.link(), reason: self.to_string() }
    }
}

/// A refusal for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalReport {
    /// `refused`.
    pub outcome: &'static str,
    /// The link that does not hold.
    pub link: Link,
    /// In words.
    pub reason: String,
}

/// Why a proof cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MakeError {
    /// The batch has fewer readings.
    #[error("the batch has no leaf {got}: it holds {expected} readings")]
    NoSuchLeaf {
        /// The leaf.
        got: u32,
        /// Readings in the batch.
        expected: usize,
    },
    /// The parts do not belong together: a link does not hold.
    #[error("the parts of the proof do not belong together: {0}")]
    Link(#[from] Refusal),
}
