//! Random choices of a run: integers only, from the core's own generator, so that every machine draws the same.

use selvedge_core::random::Random;

/// A stream of choices, named after what it is for: more draws in one place leave the others as they are.
#[derive(Debug, Clone)]
pub struct Dice(Random);

impl Dice {
    /// The stream `label` of the run with this seed.
    pub fn new(seed: u64, label: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("selvedge-sim v0 dice");
        hasher.update(&seed.to_le_bytes()).update(label.as_bytes());
        Self(Random::new(hasher.finalize().as_bytes()))
    }

    /// Uniform in `0 .. bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound.max(1))
    }

    /// Uniform in `low ..= high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True in `permille` of 1,000 cases.
    pub fn chance(&mut self, permille: u64) -> bool {
        self.below(1_000) < permille
    }

    /// One of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.bits()
    }

    /// 32 random bytes.
    pub fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for word in bytes.chunks_exact_mut(8) {
            word.copy_from_slice(&self.0.bits().to_le_bytes());
        }
        bytes
    }
}
