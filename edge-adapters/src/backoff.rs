//! Ever longer waits between attempts, with jitter, so that fifty devices behind one dead switch do not come back
//! in step.

use std::time::Duration;

/// How waits grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackoffPolicy {
    /// The first wait, before jitter.
    pub first: Duration,
    /// No wait is longer than this.
    pub longest: Duration,
}

impl Default for BackoffPolicy {
    /// Half a second (a switch that restarts a port is back within seconds) up to one minute (an engineer who
    /// plugs a cable in again waits beside it no longer than that).
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_mins(1) }
    }
}

/// The waits of one device.
#[derive(Debug, Clone)]
pub struct Backoff {
    policy: BackoffPolicy,
    failures: u32,
    random: SplitMix,
}

impl Backoff {
    /// Waits by `policy`, with jitter from `seed`.
    pub const fn new(policy: BackoffPolicy, seed: u64) -> Self {
        Self { policy, failures: 0, random: SplitMix(seed) }
    }

    /// The next wait: twice the one before, up to the longest, of which a random half to the whole is taken.
    pub fn next_wait(&mut self) -> Duration {
        let doubled = self.policy.first.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1);
        if planted!(GivesUp) && self.failures > 1 {
            return Duration::from_hours(100_000);
        }
        let half = doubled.min(self.policy.longest) / 2;
        half + half.mul_f64(self.random.unit())
    }

    /// It worked: the next wait is the first again.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough for jitter, not for secrets.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// Uniform in 0 … 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One seed for many devices: each gets its own from its name (FNV-1a).
pub(crate) fn seed_for(seed: u64, device: &str) -> u64 {
    device.bytes().fold(0xcbf2_9ce4_8422_2325 ^ seed, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_start_again_after_success() {
        let policy = BackoffPolicy { first: Duration::from_secs(1), longest: Duration::from_secs(10) };
        for seed in 0..200 {
            let mut backoff = Backoff::new(policy, seed);
            for whole in [1, 2, 4, 8, 10, 10, 10] {
                let wait = backoff.next_wait();
                let whole = Duration::from_secs(whole);
                assert!((whole / 2..=whole).contains(&wait), "seed {seed}: {wait:?} for {whole:?}");
            }
            backoff.reset();
            assert!(backoff.next_wait() <= Duration::from_secs(1), "seed {seed}");
        }
    }

    #[test]
    fn a_device_that_is_off_for_years_is_still_tried() {
        let mut backoff = Backoff::new(BackoffPolicy::default(), 7);
        backoff.failures = u32::MAX - 1;
        for _ in 0..4 {
            assert!(backoff.next_wait() <= Duration::from_mins(1));
        }
    }

    #[test]
    fn devices_do_not_come_back_in_step() {
        let wait = |device| Backoff::new(BackoffPolicy::default(), seed_for(1, device)).next_wait();
        assert_ne!(wait("filler"), wait("capper"));
        assert_eq!(wait("filler"), wait("filler"));
    }
}
