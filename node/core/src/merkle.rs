//! The Merkle tree over a batch: the shape of RFC 9162 section 2.1 (left-complete), BLAKE3 with keys of its
//! own for leaves and for nodes instead of a prefix byte.

mod bulk;

use alloc::vec::Vec;

pub use bulk::{leaf_hashes, plain};

use crate::hash::{context, derive};
use crate::reading::{Block, READING_BYTES};

/// Length of a salt.
pub const SALT_BYTES: usize = 16;
/// A salt: it hides a reading whose neighbours are disclosed.
pub type Salt = [u8; SALT_BYTES];
/// One 64-byte block: a reading and its salt.
pub type SaltedBlock = [u8; READING_BYTES + SALT_BYTES];

/// Hash of a numeric reading and its salt.
pub fn leaf(block: &Block, salt: &Salt) -> [u8; 32] {
    derive(context::LEAF, &salted(block, salt))
}

/// Hash of a long reading: block, salt, and the bytes beside it.
pub fn long_leaf(block: &Block, salt: &Salt, long: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context::LONG_LEAF);
    hasher.update(&salted(block, salt));
    hasher.update(long);
    *hasher.finalize().as_bytes()
}

/// A reading and its salt, side by side.
pub fn salted(block: &Block, salt: &Salt) -> SaltedBlock {
    let mut bytes = [0; READING_BYTES + SALT_BYTES];
    bytes[..READING_BYTES].copy_from_slice(block);
    bytes[READING_BYTES..].copy_from_slice(salt);
    bytes
}

/// Hash of an inner node.
pub fn node(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(left);
    bytes[32..].copy_from_slice(right);
    derive(context::NODE, &bytes)
}

/// All levels of a tree, from the leaves up to the root. Pays when several paths are wanted.
#[derive(Debug, Clone)]
pub struct Tree {
    levels: Vec<Vec<[u8; 32]>>,
}

impl Tree {
    /// The tree over `leaves`.
    ///
    /// # Panics
    /// When there is no leaf: a batch has at least one reading.
    pub fn new(leaves: Vec<[u8; 32]>) -> Self {
        assert!(!leaves.is_empty(), "a tree has at least one leaf");
        let mut levels = Vec::from([leaves]);
        while levels[levels.len() - 1].len() > 1 {
            let above = bulk::level_above(&levels[levels.len() - 1]);
            levels.push(above);
        }
        Self { levels }
    }

    /// The root.
    pub fn root(&self) -> [u8; 32] {
        self.levels[self.levels.len() - 1][0]
    }

    /// The audit path of leaf `index` (RFC 9162 section 2.1.3.1), from the leaf up; `None` beyond the leaves.
    pub fn path(&self, index: usize) -> Option<Vec<[u8; 32]>> {
        if index >= self.levels[0].len() {
            return None;
        }
        let mut at = index;
        let mut path = Vec::with_capacity(self.levels.len());
        for level in &self.levels[..self.levels.len() - 1] {
            // A last node without a neighbour moves up as it is.
            if let Some(neighbour) = level.get(at ^ 1) {
                path.push(*neighbour);
            }
            at /= 2;
        }
        Some(path)
    }
}

/// The root over `leaves`; `None` when there is none.
pub fn root(leaves: &[[u8; 32]]) -> Option<[u8; 32]> {
    let mut nodes = bulk::subtree_roots(leaves);
    while nodes.len() > 1 {
        nodes = bulk::subtree_roots(&nodes);
    }
    nodes.first().copied()
}

/// The root that a leaf at `index` of `size` leaves has with this audit path (RFC 9162 section 2.1.3.2);
/// `None` when the path cannot belong to that place.
pub fn root_from_path(leaf: [u8; 32], index: u64, size: u64, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut hash = leaf;
    let mut path = path.iter();
    while last > 0 {
        if at & 1 == 1 {
            hash = node(path.next()?, &hash);
        } else if at < last {
            hash = node(&hash, path.next()?);
        }
        at >>= 1;
        last >>= 1;
    }
    path.next().is_none().then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 2.1.1 of RFC 9162, word for word: the split at the largest power of two below n.
    fn by_the_book(leaves: &[[u8; 32]]) -> [u8; 32] {
        if let [only] = leaves {
            return *only;
        }
        let split = leaves.len().next_power_of_two() / 2;
        node(&by_the_book(&leaves[..split]), &by_the_book(&leaves[split..]))
    }

    fn leaves(count: usize) -> Vec<[u8; 32]> {
        (0..count).map(|i| derive(context::LEAF, &(i as u64).to_le_bytes())).collect()
    }

    #[test]
    fn the_shape_is_that_of_rfc_9162() {
        for count in (1..200).chain([1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 3_000, 5_121]) {
            let leaves = leaves(count);
            assert_eq!(root(&leaves), Some(by_the_book(&leaves)), "{count} leaves");
        }
    }

    #[test]
    fn each_path_leads_to_the_root_and_to_no_other_place() {
        for count in (1..70).chain([255, 256, 257]) {
            let tree = Tree::new(leaves(count));
            for index in 0..count {
                let path = tree.path(index).expect("within");
                let leaf = tree.levels[0][index];
                assert_eq!(root_from_path(leaf, index as u64, count as u64, &path), Some(tree.root()));
                for other in (0..count).filter(|o| *o != index) {
                    assert_ne!(root_from_path(leaf, other as u64, count as u64, &path), Some(tree.root()));
                }
            }
            assert_eq!(tree.path(count), None);
        }
    }
}
