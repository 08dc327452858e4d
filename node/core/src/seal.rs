//! Sealing: from a closed batch to leaves, root and the columns of its archive segment. Pure; run on a worker thread.
//!
//! Leaves stand stream by stream, each stream by its counter, so a reading's place follows from its stream and
//! counter alone, and a proof for one place can be no other reading.

mod columns;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

pub use columns::{ArchiveError, decode_columns, encode_columns};

use crate::batch::{BatchContent, stream_index};
use crate::hash::{Hash, context};
use crate::merkle::{self, SALT_BYTES, Salt, SaltedBlock, Tree};
use crate::payload::{Batch, StreamSpan};
use crate::reading::Block;

/// The readings of a batch in the order of its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBatch {
    /// Number of the batch.
    pub number: u64,
    /// Salts derive from it.
    pub secret: [u8; 32],
    /// Stream table of the transaction.
    pub streams: Vec<StreamSpan>,
    /// Encoded descriptors, in the order of `streams`.
    pub descriptors: Vec<Vec<u8>>,
    /// The readings.
    pub blocks: Vec<Block>,
    /// Bytes beside the long ones, by leaf index.
    pub long: BTreeMap<u32, Vec<u8>>,
}

impl SealedBatch {
    /// Sorts a batch stream by stream.
    pub fn new(batch: &crate::batch::ClosedBatch) -> Self {
        let content = &batch.content;
        let mut place = starts(content);
        let mut blocks = alloc::vec![[0; 48]; content.blocks.len()];
        let mut long = BTreeMap::new();
        for (at, block) in content.blocks.iter().enumerate() {
            let leaf = &mut place[stream_index(block) as usize];
            blocks[*leaf as usize] = *block;
            if let Some(bytes) = content.long.get(&(at as u32)) {
                long.insert(*leaf, bytes.clone());
            }
            *leaf += 1;
        }
        Self {
            number: batch.number,
            secret: batch.secret,
            streams: content
                .streams
                .iter()
                .map(|s| StreamSpan { descriptor: s.descriptor, first: s.first, count: s.count })
                .collect(),
            descriptors: batch.descriptors.iter().map(|d| d.to_vec()).collect(),
            blocks,
            long,
        }
    }

    /// The leaves, in order.
    pub fn leaves(&self) -> Vec<[u8; 32]> {
        let salts = Salts::new(&self.secret).first(self.blocks.len());
        let salted: Vec<SaltedBlock> =
            self.blocks.iter().zip(&salts).map(|(b, s)| merkle::salted(b, s)).collect();
        let mut leaves = merkle::leaf_hashes(&salted);
        for (at, bytes) in &self.long {
            let at = *at as usize;
            leaves[at] = merkle::long_leaf(&self.blocks[at], &salts[at], bytes);
        }
        leaves
    }

    /// The root over the leaves.
    ///
    /// # Panics
    /// When the batch is empty; the core closes no empty batch.
    pub fn root(&self) -> Hash {
        Hash(merkle::root(&self.leaves()).expect("a batch has at least one reading"))
    }

    /// All levels of the tree, for paths.
    pub fn tree(&self) -> Tree {
        Tree::new(self.leaves())
    }

    /// The payload that a transaction carries for this batch.
    pub fn payload(&self, root: Hash, segment: Hash, segment_bytes: u64) -> Batch {
        let (first_time_ns, last_time_ns) = receive_times(&self.blocks);
        Batch {
            number: self.number,
            first_time_ns,
            last_time_ns,
            count: self.blocks.len() as u32,
            root,
            segment,
            segment_bytes,
            streams: self.streams.clone(),
        }
    }
}

/// Smallest and greatest receive time.
pub(crate) fn receive_times(blocks: &[Block]) -> (i64, i64) {
    blocks.iter().fold((i64::MAX, i64::MIN), |(first, last), block| {
        let time = i64::from_le_bytes(block[24..32].try_into().expect("eight bytes"));
        (first.min(time), last.max(time))
    })
}

/// The leaf index of each stream's first reading.
fn starts(content: &BatchContent) -> Vec<u32> {
    let mut next = 0;
    content
        .streams
        .iter()
        .map(|stream| {
            let start = next;
            next += stream.count;
            start
        })
        .collect()
}

/// The salts of a batch: a stream of bytes from its secret, sixteen for each leaf.
#[derive(Clone)]
pub struct Salts(blake3::OutputReader);

impl core::fmt::Debug for Salts {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Salts(…)")
    }
}

impl Salts {
    /// The salts of the batch with this secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context::SALT);
        hasher.update(secret);
        Self(hasher.finalize_xof())
    }
    /// The salt of one leaf.
    pub fn of(&self, leaf: u64) -> Salt {
        let mut reader = self.0.clone();
        reader.set_position(leaf * SALT_BYTES as u64);
        let mut salt = [0; SALT_BYTES];
        reader.fill(&mut salt);
        salt
    }
    /// The salts of the first `count` leaves.
    pub fn first(&self, count: usize) -> Vec<Salt> {
        let mut salts = alloc::vec![[0; SALT_BYTES]; count];
        self.0.clone().fill(salts.as_flattened_mut());
        salts
    }
}
