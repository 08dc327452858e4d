//! Figure 3: the Merkle root over a million readings, each 64 bytes with its salt: leaves hashed, then the tree.
//!
//! The limit is BLAKE3's own bulk hashing (`blake3::platform`, `hash_many`) over as many blocks of 64 bytes, in a
//! row, as the tree has leaves and nodes. The peer is `rs_merkle` with BLAKE3 as its hasher.

use blake3::IncrementCounter;
use blake3::platform::Platform;
use rs_merkle::{Hasher, MerkleTree};
use selvedge_core::hash::context;
use selvedge_core::merkle::{self, SaltedBlock};

use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::plan::Plan;
use crate::plant::Random;

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    // Not a power of two: the last nodes of some levels have no neighbour.
    let blocks = random_blocks(plan.size(1_000_000, 1_001));
    let mut own = Samples::default();
    let mut bulk = Samples::default();
    let mut stream = Samples::default();
    let mut peer = Samples::default();
    let (mut root, mut peer_root) = (None, None);
    let mut kept = [0; 32];
    for _ in 0..plan.rounds() {
        let (seconds, found) = cpu::seconds(|| merkle::root(&merkle::leaf_hashes(&blocks)));
        own.add(seconds);
        root = found;
        let (seconds, last) = cpu::seconds(|| hash_in_bulk(&blocks));
        bulk.add(seconds);
        kept = last;
        let (seconds, hash) = cpu::seconds(|| hash_as_one(&blocks));
        stream.add(seconds);
        anyhow::ensure!(hash != [0; 32], "no hash");
        let (seconds, found) = cpu::seconds(|| {
            let leaves: Vec<[u8; 32]> = blocks.iter().map(|block| Blake3::hash(block)).collect();
            MerkleTree::<Blake3>::from_leaves(&leaves).root()
        });
        peer.add(seconds);
        peer_root = found;
    }
    check(&blocks, root, kept, peer_root)?;
    let figure = |part| Figure::of(3, part, "CPU-s", &own);
    let figures = vec![
        figure("vs bulk")
            .against("blake3's hash_many over as many blocks", bulk.median())
            .goal(Goal::Ratio(1.3)),
        // Eight times faster.
        figure("vs rs_merkle").against("rs_merkle with BLAKE3", peer.median()).goal(Goal::Ratio(1.0 / 8.0)),
    ];
    let notes = vec![format!(
        "3: {} leaves; one BLAKE3 hash over as many bytes (Hasher::update, chunks of 1 KiB): {} CPU-s; least of bulk {}, of \
         rs_merkle {}; roots equal those of an independent RFC 9162 tree",
        blocks.len(),
        number(stream.median()),
        number(bulk.least()),
        number(peer.least()),
    )];
    Ok(Report { figures, notes })
}

/// `rs_merkle`'s usual way to have a hasher.
#[derive(Clone)]
struct Blake3;

impl Hasher for Blake3 {
    type Hash = [u8; 32];
    fn hash(data: &[u8]) -> [u8; 32] {
        *blake3::hash(data).as_bytes()
    }
}

fn random_blocks(count: usize) -> Vec<SaltedBlock> {
    let mut random = Random(3);
    let mut blocks = vec![[0; 64]; count];
    for bytes in blocks.as_flattened_mut().chunks_exact_mut(8) {
        bytes.copy_from_slice(&random.next().to_le_bytes());
    }
    blocks
}

/// As many blocks as the tree has leaves and inner nodes: all leaves, and all but the last once more. The last hash.
fn hash_in_bulk(blocks: &[SaltedBlock]) -> [u8; 32] {
    // Flags of the compression function (BLAKE3 paper, table 3): one block is a whole chunk and the root.
    const START: u8 = 1;
    const END_AND_ROOT: u8 = 1 << 1 | 1 << 3;
    const WIDTH: usize = 16;
    // The key of the unkeyed hash (BLAKE3 paper, section 2.2; that of SHA-256).
    const KEY: [u32; 8] = [
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ];
    let platform = Platform::detect();
    let mut hashes = [[0; 32]; WIDTH];
    let mut last = [0; 32];
    for inputs in blocks.chunks(WIDTH).chain(blocks[..blocks.len() - 1].chunks(WIDTH)) {
        let mut borrowed = [&[0; 64]; WIDTH];
        for (slot, input) in borrowed.iter_mut().zip(inputs) {
            *slot = input;
        }
        let out = &mut hashes[..inputs.len()];
        let no = IncrementCounter::No;
        platform.hash_many(
            &borrowed[..inputs.len()],
            &KEY,
            0,
            no,
            0,
            START,
            END_AND_ROOT,
            out.as_flattened_mut(),
        );
        last = out[inputs.len() - 1];
    }
    last
}

/// As many bytes as the tree hashes, as one message.
fn hash_as_one(blocks: &[SaltedBlock]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(blocks.as_flattened()).update(blocks[..blocks.len() - 1].as_flattened());
    *hasher.finalize().as_bytes()
}

/// The work was done: both roots are those of a tree written down from RFC 9162, and bulk hashing gave the hash of
/// the last block.
fn check(
    blocks: &[SaltedBlock],
    root: Option<[u8; 32]>,
    bulk_last: [u8; 32],
    peer_root: Option<[u8; 32]>,
) -> anyhow::Result<()> {
    let by_context = |context: &str, bytes: &[u8]| {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(bytes);
        *hasher.finalize().as_bytes()
    };
    let leaves: Vec<_> = blocks.iter().map(|block| by_context(context::LEAF, block)).collect();
    let expected = by_the_book(&leaves, &|pair| by_context(context::NODE, pair));
    anyhow::ensure!(root == Some(expected), "the root is not that of RFC 9162's tree");
    let plain = |bytes: &[u8]| *blake3::hash(bytes).as_bytes();
    let leaves: Vec<_> = blocks.iter().map(|block| plain(block)).collect();
    anyhow::ensure!(peer_root == Some(by_the_book(&leaves, &plain)), "rs_merkle's root is another");
    anyhow::ensure!(bulk_last == plain(&blocks[blocks.len() - 2]), "bulk hashing gave another hash");
    Ok(())
}

/// RFC 9162, section 2.1.1: the split at the largest power of two below the number of leaves.
fn by_the_book(leaves: &[[u8; 32]], node: &impl Fn(&[u8]) -> [u8; 32]) -> [u8; 32] {
    if let [only] = leaves {
        return *only;
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    node([by_the_book(left, node), by_the_book(right, node)].as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_root_is_refused() {
        let blocks = random_blocks(37);
        let root = merkle::root(&merkle::leaf_hashes(&blocks));
        let leaves: Vec<[u8; 32]> = blocks.iter().map(|block| Blake3::hash(block)).collect();
        let peer = MerkleTree::<Blake3>::from_leaves(&leaves).root();
        let bulk = hash_in_bulk(&blocks);
        check(&blocks, root, bulk, peer).unwrap();
        assert!(check(&blocks[..36], root, bulk, peer).is_err());
        assert!(check(&blocks, peer, bulk, peer).is_err());
        assert!(check(&blocks, root, [0; 32], peer).is_err());
        assert!(check(&blocks, root, bulk, root).is_err());
    }
}
