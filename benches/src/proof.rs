//! Figure 6: the proof of one reading in a batch of 4,096: microseconds of CPU to make it with the batch's tree at
//! hand and to follow its path from the leaf to the root, and the bytes of the path. The signature is apart: it
//! costs every scheme of this kind the same, whatever the tree.

use anyhow::{Context as _, ensure};
use rs_merkle::{Hasher, MerkleTree};
use selvedge_core::codec;
use selvedge_core::hash::Hash;
use selvedge_core::merkle::{self, Tree};
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::scheme::transaction_message;
use selvedge_core::seal::SealedBatch;
use selvedge_core::transaction::{Body, Envelope, Reference};
use selvedge_crypto::default_verifier;
use selvedge_proof::{Parts, Proof, Trust, verify};

use crate::archive::closed_batch;
use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::gateway::Identity;
use crate::plan::Plan;
use crate::plant::{Plant, Random};

/// A batch, its tree, and the transaction that carries it.
struct Subject {
    identity: Identity,
    batch: SealedBatch,
    tree: Tree,
    transaction: Vec<u8>,
    payload: Batch,
}

/// Microseconds of CPU for each proof, one sample a round.
#[derive(Default)]
struct Times {
    make: Samples,
    path: Samples,
    whole: Samples,
    without_tree: Samples,
    peer_make: Samples,
    peer_verify: Samples,
}

pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let subject = Subject::new(4_096)?;
    let rounds = if plan.smoke { 1 } else { 15 };
    let mut times = Times::default();
    let mut files = Vec::new();
    for _ in 0..rounds {
        files = subject.round(plan, &mut times)?;
    }
    let checked = subject.check(&files, plan.size(256, 8))?;
    let path_bytes: Samples = files.iter().map(|proof| proof.path.len() as f64).collect();
    let figure = |part, unit, samples: &Samples| Figure::of(6, part, unit, samples);
    let figures = vec![
        figure("make", "µs", &times.make)
            .against("immudb elsewhere, its published range's best", 36.0)
            .goal(Goal::Measured(30.0)),
        figure("verify", "µs", &times.path)
            .against("immudb elsewhere, the best", 21.0)
            .goal(Goal::Measured(5.0)),
        figure("bytes", "B", &path_bytes).against("Tessera elsewhere", 702.0).goal(Goal::Measured(500.0)),
    ];
    let notes = vec![
        format!(
            "6: the references are figures of other systems taken elsewhere, not in this run (Tessera: make 1.2 ms, verify \
             25 to 36 µs, 702 B; immudb: 36 µs, 21 to 48 µs, 1.3 kB). In this run rs_merkle with BLAKE3, path only: make {} \
             µs, verify {} µs",
            number(times.peer_make.median()),
            number(times.peer_verify.median()),
        ),
        format!(
            "6: {} leaves in {rounds} rounds; {checked} files verified with their signatures and refused with one bit \
             changed; with the signature: verify {} µs, file {} B; make without the tree at hand {} µs",
            files.len(),
            number(times.whole.median()),
            files.iter().map(|proof| proof.to_bytes().len()).max().unwrap_or(0),
            number(times.without_tree.median()),
        ),
    ];
    Ok(Report { figures, notes })
}

impl Subject {
    fn new(readings: usize) -> anyhow::Result<Self> {
        let identity = Identity::new()?;
        let closed = closed_batch(&mut Plant::new(2, 10, 6), readings, 0);
        let batch = SealedBatch::new(&closed);
        let tree = batch.tree();
        let payload = batch.payload(Hash(tree.root()), Hash([9; 32]), 20_000);
        let body = Body {
            version: 0,
            issuer: identity.issuer(),
            sequence: 0,
            prev: identity.network.genesis_id(),
            approves: [Reference::genesis(identity.network.id()); 2],
            witness: None,
            issued_at_ms: 1_777_636_800_000,
            flags: 0,
            kind: PayloadKind::Batch as u16,
            payload: codec::encode(&payload),
        };
        let body = codec::encode(&body);
        let scheme = identity.signer.public_key().scheme;
        let id = identity.network.transaction_id(&body);
        let message = transaction_message(scheme, 0, identity.network.id(), id);
        let signature = identity.signer.sign(&message)?;
        let envelope = Envelope { scheme, key_number: 0, signature: &signature, body: &body };
        let transaction = codec::encode(&envelope);
        Ok(Self { identity, batch, tree, transaction, payload })
    }

    fn make(&self, leaf: u32, tree: Option<&Tree>) -> anyhow::Result<Proof> {
        let parts = Parts {
            genesis: &self.identity.genesis_bytes,
            batch: &self.batch,
            tree,
            leaf,
            transaction: &self.transaction,
            enrolment: None,
            rotations: &[],
        };
        Ok(Proof::make(&parts)?)
    }

    /// Contestants take turns; the proofs of all leaves.
    fn round(&self, plan: &Plan, times: &mut Times) -> anyhow::Result<Vec<Proof>> {
        let leaves = self.batch.blocks.len();
        let each = |seconds: f64, count: usize| seconds * 1e6 / count as f64;
        let (seconds, files) =
            cpu::seconds(|| (0..leaves as u32).map(|leaf| self.make(leaf, Some(&self.tree))).collect());
        let files: Vec<Proof> = anyhow::Result::<Vec<Proof>>::from(files)?;
        times.make.add(each(seconds, leaves));

        let (seconds, led) = cpu::seconds(|| self.follow(&files));
        ensure!(led == leaves, "{led} of {leaves} paths lead to the root");
        times.path.add(each(seconds, leaves));

        let hashes = self.batch.leaves();
        let peer = MerkleTree::<Blake3>::from_leaves(&hashes);
        let (seconds, paths) =
            cpu::seconds(|| (0..leaves).map(|leaf| peer.proof(&[leaf])).collect::<Vec<_>>());
        times.peer_make.add(each(seconds, leaves));
        let root = peer.root().context("rs_merkle gave no root")?;
        let (seconds, led) = cpu::seconds(|| {
            let leads = |leaf: &usize| paths[*leaf].verify(root, &[*leaf], &[hashes[*leaf]], leaves);
            (0..leaves).filter(leads).count()
        });
        ensure!(led == leaves, "{led} of {leaves} paths of rs_merkle lead to its root");
        times.peer_verify.add(each(seconds, leaves));

        let some = plan.size(128, 8);
        let bytes: Vec<Vec<u8>> = files.iter().step_by(leaves / some).map(Proof::to_bytes).collect();
        let verifier = default_verifier();
        let trust = Trust::Network(self.identity.network.id());
        let (seconds, held) =
            cpu::seconds(|| bytes.iter().filter(|file| verify(file, trust, &*verifier).is_ok()).count());
        ensure!(held == bytes.len(), "{held} of {} files verify", bytes.len());
        times.whole.add(each(seconds, bytes.len()));

        let few = plan.size(16, 2);
        let (seconds, made) = cpu::seconds(|| (0..few as u32).all(|leaf| self.make(leaf, None).is_ok()));
        ensure!(made, "a proof could not be made without the tree");
        times.without_tree.add(each(seconds, few));
        Ok(files)
    }

    /// How many paths lead from their leaf, hashed here, to the root in the transaction.
    fn follow(&self, files: &[Proof]) -> usize {
        let root = self.payload.root.0;
        let leads = |&(index, proof): &(usize, &Proof)| {
            let (Ok(block), Ok(salt)) = (proof.block.as_slice().try_into(), proof.salt.as_slice().try_into())
            else {
                return false;
            };
            let leaf = merkle::leaf(block, salt);
            let path = proof.path.as_chunks::<32>().0;
            merkle::root_from_path(leaf, index as u64, u64::from(self.payload.count), path) == Some(root)
        };
        files.iter().enumerate().filter(leads).count()
    }

    /// Some of the files, written out: each verifies, and with one bit changed each is refused.
    fn check(&self, files: &[Proof], count: usize) -> anyhow::Result<usize> {
        let mut random = Random(6);
        let verifier = default_verifier();
        let trust = Trust::Network(self.identity.network.id());
        let chosen: Vec<&Proof> = files.iter().step_by((files.len() / count).max(1)).collect();
        for proof in &chosen {
            let mut bytes = proof.to_bytes();
            verify(&bytes, trust, &*verifier).context("a proof does not verify")?;
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
            ensure!(verify(&bytes, trust, &*verifier).is_err(), "a bit changed in byte {at} is not noticed");
        }
        Ok(chosen.len())
    }
}

#[derive(Clone)]
struct Blake3;

impl Hasher for Blake3 {
    type Hash = [u8; 32];
    fn hash(data: &[u8]) -> [u8; 32] {
        *blake3::hash(data).as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_not_counted() {
        let subject = Subject::new(64).unwrap();
        let mut files: Vec<Proof> =
            (0..64).map(|leaf| subject.make(leaf, Some(&subject.tree)).unwrap()).collect();
        assert_eq!(subject.follow(&files), 64);
        files[5].path[7] ^= 1;
        assert_eq!(subject.follow(&files), 63);
        assert!(subject.check(&files, 64).is_err());
    }
}
