//! The file: eight bytes of magic, one of version, then the canonical encoding of [`Proof`].
//!
//! Every byte is bound by some link, so that no two files prove the same: there is nothing in it that a
//! verifier may ignore, and what follows from other bytes (the leaf's index, ids, keys) is not in it.

use selvedge_core::codec::{self, Canonical, CodecError};
use selvedge_core::limits;
use selvedge_core::merkle::{SALT_BYTES, Tree};
use selvedge_core::reading::{READING_BYTES, is_long};
use selvedge_core::seal::{Salts, SealedBatch};
use selvedge_core::transaction::Envelope;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::refusal::{Link, MakeError, Refusal};
use crate::verify::Trust;
use crate::walk::{follow_network, walk_in};

/// The first bytes of the file.
pub const MAGIC: [u8; 8] = *b"SVPROOF\n";
/// The version of the file, the byte after the magic.
pub const VERSION: u8 = 0;
/// Bytes before the encoding.
pub(crate) const HEAD_BYTES: usize = MAGIC.len() + 1;

/// Rotations that a proof may carry: as many times may a gateway have changed its key.
pub const ROTATIONS_MAX: usize = 256;
/// Hashes on the longest path: a batch has at most 65,536 leaves.
pub const PATH_HASHES_MAX: usize = limits::BATCH_READINGS_MAX.ilog2() as usize;
/// Longest proof file, in bytes. Checked before anything is decoded.
pub const PROOF_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest envelope with a rotation: what is in a body beside the payload, the payload, the signature.
const ROTATION_BYTES_MAX: usize = (limits::BODY_BYTES_MAX - limits::PAYLOAD_BYTES_MAX)
    + limits::PUBLIC_KEY_BYTES_MAX
    + limits::SIGNATURE_BYTES_MAX
    + 64;

const _: () = {
    assert!(limits::BATCH_READINGS_MAX.is_power_of_two());
    // A proof of everything at its longest fits.
    assert!(
        HEAD_BYTES
            + limits::GENESIS_BYTES_MAX
            + READING_BYTES
            + limits::READING_TEXT_BYTES_MAX
            + SALT_BYTES
            + limits::DESCRIPTOR_BYTES_MAX
            + PATH_HASHES_MAX * 32
            + 2 * limits::ENVELOPE_BYTES_MAX
            + ROTATIONS_MAX * ROTATION_BYTES_MAX
            + 1_024
            <= PROOF_BYTES_MAX
    );
};

/// What the file holds. Having one says nothing yet: [`verify`](crate::verify) does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The genesis: its hash is the network's id.
    #[serde(with = "serde_bytes")]
    pub genesis: Vec<u8>,
    /// The reading's fixed layout, 48 bytes.
    #[serde(with = "serde_bytes")]
    pub block: Vec<u8>,
    /// The bytes beside it: for text and opaque values, and only for them.
    pub long: Option<ByteBuf>,
    /// The salt of its leaf, 16 bytes.
    #[serde(with = "serde_bytes")]
    pub salt: Vec<u8>,
    /// The stream's descriptor, whose hash stands in the batch.
    #[serde(with = "serde_bytes")]
    pub descriptor: Vec<u8>,
    /// The audit path from the leaf up, 32 bytes a hash. The index follows from stream and counter.
    #[serde(with = "serde_bytes")]
    pub path: Vec<u8>,
    /// The envelope of the transaction whose payload is the batch.
    #[serde(with = "serde_bytes")]
    pub transaction: Vec<u8>,
    /// The envelope of the issuer's transaction 0: when the genesis does not name it, and only then.
    pub enrolment: Option<ByteBuf>,
    /// The envelopes of the issuer's rotations up to the key that signed, ascending: as many as the key's number.
    pub rotations: Vec<ByteBuf>,
    /// The committee's certificate once the transaction is final. Version 0 knows none and refuses one: bytes
    /// that a verifier cannot check must not look as if it had.
    pub certificate: Option<ByteBuf>,
}

impl Canonical for Proof {
    const WHAT: &'static str = "proof file";
    const BYTES_MAX: usize = PROOF_BYTES_MAX - HEAD_BYTES;

    fn check(&self) -> Result<(), &'static str> {
        if self.block.len() != READING_BYTES {
            return Err("the reading is not 48 bytes");
        }
        if self.salt.len() != SALT_BYTES {
            return Err("the salt is not 16 bytes");
        }
        if !self.path.len().is_multiple_of(32) || self.path.len() > PATH_HASHES_MAX * 32 {
            return Err("the path is not whole hashes of 32 bytes, or more than 16 of them");
        }
        if self.rotations.len() > ROTATIONS_MAX {
            return Err("more than 256 rotations");
        }
        if self.certificate.is_some() {
            return Err("it holds a certificate, which this version cannot check; use a newer selvedge");
        }
        Ok(())
    }
}

/// What a proof is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The genesis, as its bytes are.
    pub genesis: &'a [u8],
    /// The batch that holds the reading.
    pub batch: &'a SealedBatch,
    /// Its tree, where it is at hand; without, it is computed: every leaf is hashed again.
    pub tree: Option<&'a Tree>,
    /// The reading's place in it (`Batch::leaf_index`).
    pub leaf: u32,
    /// The envelope of the transaction that carries the batch.
    pub transaction: &'a [u8],
    /// The envelope of the issuer's transaction 0. Give it or not where the genesis names the issuer: then it
    /// is left out.
    pub enrolment: Option<&'a [u8]>,
    /// The envelopes of the issuer's rotations, ascending. Those after the key that signed are left out.
    pub rotations: &'a [&'a [u8]],
}

impl Proof {
    /// Puts a proof together and follows its links, so that no proof is handed out that does not hang together.
    /// Signatures are not verified here (the maker attached these transactions, so it has done that before):
    /// [`verify`](crate::verify) on [`to_bytes`](Self::to_bytes) does.
    ///
    /// # Errors
    /// When the batch has no such leaf, or when a link does not hold, which means that the parts do not belong
    /// together.
    pub fn make(parts: &Parts<'_>) -> Result<Self, MakeError> {
        let batch = parts.batch;
        let missing = MakeError::NoSuchLeaf { got: parts.leaf, expected: batch.blocks.len() };
        let block = batch.blocks.get(parts.leaf as usize).ok_or_else(|| missing.clone())?;
        let stream = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        let descriptor = batch.descriptors.get(stream as usize);
        let path = match parts.tree {
            Some(tree) => tree.path(parts.leaf as usize),
            None => batch.tree().path(parts.leaf as usize),
        };
        let (envelope, body) =
            Envelope::open(parts.transaction).map_err(|why| Refusal::malformed(Link::Transaction, why))?;
        let key_number = envelope.key_number as usize;
        let mut proof = Self {
            genesis: parts.genesis.to_vec(),
            block: block.to_vec(),
            long: is_long(block)
                .then(|| ByteBuf::from(batch.long.get(&parts.leaf).cloned().unwrap_or_default())),
            salt: Salts::new(&batch.secret).of(u64::from(parts.leaf)).to_vec(),
            descriptor: descriptor.cloned().unwrap_or_default(),
            path: path.ok_or(missing)?.concat(),
            transaction: parts.transaction.to_vec(),
            enrolment: parts.enrolment.map(ByteBuf::from),
            rotations: parts.rotations.iter().take(key_number).copied().map(ByteBuf::from).collect(),
            certificate: None,
        };
        proof
            .check()
            .map_err(|why| Refusal::malformed(Link::File, CodecError::Rule { what: Self::WHAT, why }))?;
        let found = follow_network(&proof, Trust::Nobody)?;
        if found.genesis.member(body.issuer).is_some() {
            proof.enrolment = None;
        }
        walk_in(&proof, found)?;
        Ok(proof)
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(VERSION);
        bytes.append(&mut codec::encode(self));
        bytes
    }

    /// Reads a file. No link is checked, only that this is the one encoding of something of this form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Refusal> {
        let Some((magic, rest)) = bytes.split_first_chunk::<8>().filter(|(magic, _)| **magic == MAGIC) else {
            return Err(Refusal::NotAProof { got: bytes[..bytes.len().min(MAGIC.len())].to_vec() });
        };
        let malformed = |why| Refusal::malformed_at(Link::File, HEAD_BYTES, bytes.len(), why);
        match rest.split_first() {
            Some((&VERSION, encoded)) => codec::decode(encoded).map_err(malformed),
            Some((got, _)) => Err(Refusal::Version { got: *got }),
            None => Err(Refusal::NotAProof { got: magic.to_vec() }),
        }
    }
}
