//! What several tests need: a seeded generator, both implementations, hexadecimal.
#![allow(dead_code, reason = "no test uses all of it")]

use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use selvedge_crypto::aws::AwsVerifier;
use selvedge_crypto::pure::PureVerifier;
use selvedge_crypto::{SecretKey, Verifier as _};

pub(crate) const SCHEMES: [Scheme; 2] = [Scheme::MlDsa44, Scheme::MlDsa65];

/// SplitMix64 (Steele, Lea, Flood 2014): every draw of a test follows from its seed.
pub(crate) struct Draws(u64);

impl Draws {
    /// Prints the seed, so that a failure can be repeated.
    pub(crate) fn new(seed: u64) -> Self {
        println!("seed {seed:#018x}");
        Self(seed)
    }
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// 0 … `end` − 1. The bias of the remainder does not matter here.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }
    pub(crate) fn coin(&mut self) -> bool {
        self.next() & 1 == 1
    }
    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
    pub(crate) fn secret(&mut self, scheme: Scheme) -> SecretKey {
        SecretKey::from_seed(scheme, &self.bytes(32).try_into().unwrap())
    }
}

/// Both verifiers.
#[derive(Default)]
pub(crate) struct Both {
    pub(crate) aws: AwsVerifier,
    pub(crate) pure: PureVerifier,
}

impl Both {
    /// What AWS-LC says, and what `ml-dsa` says.
    pub(crate) fn verify(&self, key: &PublicKey, message: &[u8], signature: &[u8]) -> [bool; 2] {
        [self.aws.verify(key, message, signature), self.pure.verify(key, message, signature)]
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().as_chunks::<2>();
    assert!(digits.1.is_empty(), "an odd number of hexadecimal digits");
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.0.iter().map(byte).collect()
}
