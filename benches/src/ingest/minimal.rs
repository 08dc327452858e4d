//! The limit: what cannot be left out. Each batch is salted, hashed to one root, signed, written and synced, in one
//! thread, into a file whose blocks are allocated already. It keeps no index, no journal, no archive, and could
//! answer no question.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use selvedge_core::merkle::{self, SaltedBlock};
use selvedge_core::reading::Block;
use selvedge_core::seal::Salts;
use selvedge_crypto::default_verifier;

use crate::cpu;
use crate::gateway::Identity;

const ROOT_BYTES: usize = 32;

/// Seconds of CPU.
pub(super) fn run(folder: &Path, blocks: &[Block], batch: usize, identity: &Identity) -> anyhow::Result<f64> {
    let path = folder.join("minimal");
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let signature_bytes = identity.signer.public_key().scheme.signature_bytes();
    let frame_bytes = |readings: usize| readings * 64 + ROOT_BYTES + signature_bytes;
    let total: usize = blocks.chunks(batch).map(|chunk| frame_bytes(chunk.len())).sum();
    file.write_all_at(&vec![0xff; total], 0)?;
    file.sync_all()?;

    let write = || {
        let mut offset = 0;
        for (number, chunk) in (0_u64..).zip(blocks.chunks(batch)) {
            let salts = Salts::new(&secret(number)).first(chunk.len());
            let salted: Vec<SaltedBlock> =
                chunk.iter().zip(&salts).map(|(block, salt)| merkle::salted(block, salt)).collect();
            let root = merkle::root(&merkle::leaf_hashes(&salted)).context("a batch has readings")?;
            let mut frame = Vec::with_capacity(frame_bytes(chunk.len()));
            frame.extend_from_slice(salted.as_flattened());
            frame.extend_from_slice(&root);
            frame.extend_from_slice(&identity.signer.sign(&root)?);
            file.write_all_at(&frame, offset)?;
            file.sync_data()?;
            offset += frame.len() as u64;
        }
        anyhow::Ok(())
    };
    let (seconds, outcome) = cpu::seconds(write);
    outcome?;
    check(&path, blocks, batch, identity)?;
    Ok(seconds)
}

/// Every batch is in the file, its root is that of its readings by the plain way of hashing, and the signature holds.
fn check(path: &Path, blocks: &[Block], batch: usize, identity: &Identity) -> anyhow::Result<()> {
    let bytes = std::fs::read(path)?;
    let mut rest = bytes.as_slice();
    for chunk in blocks.chunks(batch) {
        let (salted, after) = rest.split_at_checked(chunk.len() * 64).context("the file is too short")?;
        let (root, after) = after.split_at_checked(ROOT_BYTES).context("the file is too short")?;
        let signature_bytes = identity.signer.public_key().scheme.signature_bytes();
        let (signature, after) = after.split_at_checked(signature_bytes).context("the file is too short")?;
        let salted = salted.as_chunks::<64>().0;
        ensure!(salted.iter().zip(chunk).all(|(salted, block)| salted[..48] == *block), "other readings");
        let leaves = merkle::plain(salted);
        ensure!(merkle::root(&leaves).as_ref().map(|r| &r[..]) == Some(root), "a root is wrong");
        ensure!(
            default_verifier().verify(identity.signer.public_key(), root, signature),
            "a signature is wrong"
        );
        rest = after;
    }
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    Ok(())
}

fn secret(number: u64) -> [u8; 32] {
    *blake3::hash(&number.to_le_bytes()).as_bytes()
}
