//! Token buckets: so much at once, and so much in a second.

/// A bucket that fills with time and is emptied by use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    burst: u64,
    per_minute: u64,
    level: u64,
    at_us: u64,
}

impl Bucket {
    /// A full bucket.
    pub(crate) const fn per_second(burst: u64, per_second: u64, now_us: u64) -> Self {
        Self::per_minute(burst, per_second * 60, now_us)
    }

    /// A full bucket.
    pub(crate) const fn per_minute(burst: u64, per_minute: u64, now_us: u64) -> Self {
        Self { burst, per_minute, level: burst, at_us: now_us }
    }

    fn fill(&mut self, now_us: u64) {
        let gained = u128::from(now_us.saturating_sub(self.at_us)) * u128::from(self.per_minute) / 60_000_000;
        if gained > 0 {
            // What is less than a whole unit is kept by not moving the clock on.
            let gained = u64::try_from(gained).unwrap_or(u64::MAX);
            self.level = self.level.saturating_add(gained).min(self.burst);
            self.at_us = now_us;
        }
    }

    /// Takes so much, when it is there.
    pub(crate) fn take(&mut self, amount: u64, now_us: u64) -> bool {
        self.fill(now_us);
        let left = self.level.checked_sub(amount);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    /// What is left.
    pub(crate) fn left(&self, now_us: u64) -> u64 {
        let mut filled = *self;
        filled.fill(now_us);
        filled.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate_however_often_it_is_asked() {
        let mut bucket = Bucket::per_second(10, 2, 0);
        assert!(bucket.take(10, 0));
        // Asked every 100 ms for ten seconds: twenty more, not fewer for the asking.
        let given = (1..=100).filter(|tenth| bucket.take(1, tenth * 100_000)).count();
        assert_eq!(given, 20);
        assert_eq!(bucket.left(1_000_000_000), 10);
    }
}
