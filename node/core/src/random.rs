//! Randomness: the seed of this start, stretched with BLAKE3. The core has no other source.

use core::fmt;

use crate::hash::context;

/// A stream of random numbers that the seed alone decides.
#[derive(Clone)]
pub struct Random {
    stream: blake3::OutputReader,
    block: [u8; 64],
    used: usize,
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(…)")
    }
}

impl Random {
    /// The stream of this seed.
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context::RANDOM);
        hasher.update(seed);
        Self { stream: hasher.finalize_xof(), block: [0; 64], used: 64 }
    }

    /// 64 random bits.
    ///
    /// # Panics
    /// Never.
    pub fn bits(&mut self) -> u64 {
        if self.used == self.block.len() {
            self.stream.fill(&mut self.block);
            self.used = 0;
        }
        let word = self.block[self.used..self.used + 8].try_into().expect("eight bytes");
        self.used += 8;
        u64::from_le_bytes(word)
    }

    /// Uniform in `0 .. bound` (Lemire's multiplication; the bias is below 2⁻⁶⁴ × bound).
    ///
    /// # Panics
    /// When `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "nothing lies below 0");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `0.0 .. 1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
