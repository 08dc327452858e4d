//! Folders for tests.

use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use selvedge_core::random::Random;
use selvedge_crypto::SecretKey;
use tempfile::TempDir;

use super::Folder;
use crate::cli::init::{Names, new_network};

/// A new network of one gateway, in a folder that goes with the guard.
pub(crate) fn network(name: &str) -> (TempDir, Folder) {
    let above = tempfile::tempdir().expect("a folder for tests");
    let names = Names { network: name.into(), organisation: "Acme".into(), gateway: "g1".into() };
    let folder = new_network(&above.path().join("g1"), &names, None).expect("a new network");
    (above, folder)
}

/// The key with this seed, and its public key.
pub(crate) fn key(seed: u8) -> (SecretKey, PublicKey) {
    let secret = SecretKey::from_seed(Scheme::MlDsa44, &[seed; 32]);
    let public = selvedge_crypto::signer(&secret).expect("a signer").public_key().clone();
    (secret, public)
}

/// How many generated inputs a decoder gets.
pub(crate) fn cases() -> u32 {
    std::env::var("SELVEDGE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(50_000)
}

/// `good` with some bytes changed, taken out, doubled, or cut off; or bytes of no meaning.
pub(crate) fn mutated(good: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = good.to_vec();
    if random.below(16) == 0 {
        bytes = (0..random.below(200)).map(|_| random.bits() as u8).collect();
    }
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        let to = (at + random.below(40) as usize).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..to)),
            1 => bytes.splice(at..at, bytes[at..to].to_vec()).for_each(drop),
            2 => bytes.truncate(at),
            3 => bytes.splice(at..to, [0xFF; 9]).for_each(drop),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
    bytes
}
