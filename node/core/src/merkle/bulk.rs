//! Hashing many 64-byte inputs at once with SIMD, three times faster than one by one.
//!
//! BLAKE3's crate uses this for its own chunks and keeps it in a hidden module (`blake3::platform`), which is
//! why the workspace pins the exact version. [`plain`] does the same with the public interface; a test holds
//! both together, and `SELVEDGE`'s other code never names the hidden module.

use alloc::vec::Vec;

use blake3::platform::Platform;

use super::SaltedBlock;
use crate::hash::context;

// Flags of the compression function (BLAKE3 paper, table 3). One 64-byte input is a whole chunk and the root.
const CHUNK_START: u8 = 1;
const CHUNK_END: u8 = 1 << 1;
const ROOT: u8 = 1 << 3;
const DERIVE_KEY_MATERIAL: u8 = 1 << 6;

/// Inputs handed over at once: the widest SIMD (AVX-512) takes sixteen.
const WIDTH: usize = 16;

/// Leaves folded at once to the root of their subtree: small enough to stay in the first cache, a power of two so that
/// the subtree is complete.
const CHUNK: usize = 1_024;

/// Hashes of numeric readings with their salts, in order.
pub fn leaf_hashes(blocks: &[SaltedBlock]) -> Vec<[u8; 32]> {
    Hasher::new(context::LEAF).all(blocks)
}

/// The level above `level`: neighbours hashed in pairs, a last one without a neighbour moved up.
pub(super) fn level_above(level: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let (pairs, rest) = level.as_flattened().as_chunks::<64>();
    let mut above = Hasher::new(context::NODE).all(pairs);
    if let Ok(single) = rest.try_into() {
        above.push(single);
    }
    above
}

/// The roots of the subtrees over [`CHUNK`] leaves each. A tree over these roots is the tree over the leaves: aligned
/// subtrees of a power of two are complete, and the last one's root moves up as it is.
pub(super) fn subtree_roots(leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    let hasher = Hasher::new(context::NODE);
    leaves.chunks(CHUNK).map(|chunk| hasher.fold(chunk)).collect()
}

struct Hasher {
    key: [u32; 8],
    platform: Platform,
}

impl Hasher {
    fn new(context: &str) -> Self {
        Self { key: words(&blake3::hazmat::hash_derive_key_context(context)), platform: Platform::detect() }
    }

    fn all(&self, blocks: &[[u8; 64]]) -> Vec<[u8; 32]> {
        let mut hashes = alloc::vec![[0; 32]; blocks.len()];
        self.write_all(blocks, &mut hashes);
        hashes
    }

    fn write_all(&self, blocks: &[[u8; 64]], hashes: &mut [[u8; 32]]) {
        for (inputs, outputs) in blocks.chunks(WIDTH).zip(hashes.chunks_mut(WIDTH)) {
            let mut borrowed = [&[0; 64]; WIDTH];
            for (slot, input) in borrowed.iter_mut().zip(inputs) {
                *slot = input;
            }
            self.platform.hash_many(
                &borrowed[..inputs.len()],
                &self.key,
                0,
                blake3::IncrementCounter::No,
                DERIVE_KEY_MATERIAL,
                CHUNK_START,
                CHUNK_END | ROOT,
                outputs.as_flattened_mut(),
            );
        }
    }

    /// The root over at most [`CHUNK`] nodes, level by level between two buffers on the stack.
    fn fold(&self, nodes: &[[u8; 32]]) -> [u8; 32] {
        let mut one = [[0; 32]; CHUNK / 2];
        let mut other = [[0; 32]; CHUNK / 2];
        // The buffers stay where they are; only which of them is read changes.
        let (mut here, mut there) = (&mut one, &mut other);
        let mut count = self.halve(nodes, here);
        while count > 1 {
            count = self.halve(&here[..count], there);
            core::mem::swap(&mut here, &mut there);
        }
        here[0]
    }

    /// Writes the level above `nodes` and returns its length.
    fn halve(&self, nodes: &[[u8; 32]], above: &mut [[u8; 32]; CHUNK / 2]) -> usize {
        let (pairs, rest) = nodes.as_flattened().as_chunks::<64>();
        self.write_all(pairs, &mut above[..pairs.len()]);
        if let Ok(single) = rest.try_into() {
            above[pairs.len()] = single;
        }
        nodes.len().div_ceil(2)
    }
}

fn words(key: &[u8; 32]) -> [u32; 8] {
    let mut words = [0; 8];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    words
}

/// The same by the crate's public interface, one at a time: what [`leaf_hashes`] must equal.
pub fn plain(blocks: &[SaltedBlock]) -> Vec<[u8; 32]> {
    blocks.iter().map(|block| crate::hash::derive(context::LEAF, block)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulk_and_plain_are_equal() {
        let blocks: Vec<SaltedBlock> =
            (0..100_u8).map(|i| core::array::from_fn(|j| i.wrapping_mul(31) ^ j as u8)).collect();
        for count in 0..=blocks.len() {
            assert_eq!(leaf_hashes(&blocks[..count]), plain(&blocks[..count]), "{count} blocks");
        }
    }
}
