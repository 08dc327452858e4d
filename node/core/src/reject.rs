//! Why a transaction can never be accepted: what its bytes and the genesis show, alike for every node, for ever.
//!
//! Everything else is waiting: a missing reference, an unknown issuer. Age, a known fork, or what this node
//! happens to have seen are never a reason.

use thiserror::Error;

use crate::codec::CodecError;
use crate::hash::{Id, Issuer};
use crate::transaction::Reference;

/// Why a transaction is rejected. Each says what was got and what was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Reject {
    /// Not the one encoding of a transaction.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// A peer said hello twice.
    #[error("a second hello, expected one at the beginning")]
    SecondHello,
    /// A reference to the genesis that is not this network's.
    #[error("reference {got:?} has issuer zeros, expected the genesis {expected:?} of this network")]
    WrongGenesis {
        /// The reference.
        got: Reference,
        /// The genesis.
        expected: Reference,
    },
    /// Sequence 0 whose `prev` is not the genesis.
    #[error("sequence 0 has {got} before it, expected the genesis {expected}")]
    FirstWithoutGenesis {
        /// Its `prev`.
        got: Id,
        /// The genesis.
        expected: Id,
    },
    /// Transaction 0 of an issuer that the genesis does not name is no `Enrol`.
    #[error(
        "transaction 0 of {issuer} has payload kind {got}, expected an enrolment: the genesis does not name this issuer"
    )]
    NotEnrolled {
        /// The issuer.
        issuer: Issuer,
        /// The payload kind.
        got: u16,
    },
    /// An `Enrol` anywhere but in transaction 0 of an issuer that the genesis does not name.
    #[error(
        "an enrolment at sequence {sequence} of {issuer}, expected only at sequence 0 of an issuer that the genesis does not name"
    )]
    MisplacedEnrol {
        /// The issuer.
        issuer: Issuer,
        /// The sequence.
        sequence: u64,
    },
    /// An `Enrol` whose key does not found its issuer.
    #[error("the enrolled key founds {got}, expected the issuer {expected}")]
    ForeignKey {
        /// The identity of the key.
        got: Issuer,
        /// The issuer.
        expected: Issuer,
    },
    /// An `Enrol` or `Rotate` that its decoder refuses: the only payloads that validity reads.
    #[error("the payload carries a key and does not decode: {0}")]
    KeyPayload(CodecError),
    /// A credential of an organisation or inviter that the genesis does not have.
    #[error(
        "the credential names a signer that the genesis does not have, or that may not invite for organisation {organisation}"
    )]
    UnknownSigner {
        /// Place of the organisation.
        organisation: u16,
    },
    /// A credential of the wrong length for its signer's scheme.
    #[error("the credential's signature has {got} bytes, expected {expected}")]
    CredentialLength {
        /// Its length.
        got: usize,
        /// That of the scheme.
        expected: usize,
    },
    /// The key number is not that of the key in force before it.
    #[error("signed with key {got}, expected key {expected}, the one in force before it")]
    WrongKeyNumber {
        /// The number in the envelope.
        got: u32,
        /// The number in force.
        expected: u32,
    },
    /// The scheme in the envelope is not that of the key.
    #[error("scheme tag {got}, expected {expected}, that of the key")]
    WrongScheme {
        /// The tag in the envelope.
        got: u8,
        /// That of the key.
        expected: u8,
    },
    /// A signature does not hold: that of the transaction, or that of a credential in it.
    #[error("a signature of transaction {id} does not hold")]
    BadSignature {
        /// The transaction.
        id: Id,
    },
    /// A witness part of one who is not in that epoch's committee.
    #[error("{issuer} issues a witness of epoch {epoch} and is not in its committee")]
    NotInCommittee {
        /// The issuer.
        issuer: Issuer,
        /// The epoch.
        epoch: u64,
    },
    /// A witness names too few parents.
    #[error("a witness names {got} parents, expected at least {expected}")]
    TooFewParents {
        /// How many.
        got: usize,
        /// The quorum.
        expected: usize,
    },
    /// A parent beyond the committee.
    #[error("a witness names member {got} of a committee of {expected}")]
    NoSuchMember {
        /// Its place.
        got: u8,
        /// Members.
        expected: usize,
    },
    /// A witness of round 1 with another anchor.
    #[error("a witness of round 1 names the anchor {got}, expected {expected}")]
    WrongAnchor {
        /// The anchor named.
        got: Id,
        /// The epoch's.
        expected: Id,
    },
}
