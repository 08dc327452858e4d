//! Clocks, and what to make of what they say.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Seconds of CPU of this process, user and system, all threads, those that ended too.
pub(crate) fn process() -> f64 {
    seconds_of(clock_gettime(ClockId::ProcessCPUTime))
}

/// Seconds of CPU of the calling thread.
pub(crate) fn thread() -> f64 {
    seconds_of(clock_gettime(ClockId::ThreadCPUTime))
}

fn seconds_of(at: Timespec) -> f64 {
    at.tv_sec as f64 + at.tv_nsec as f64 / 1e9
}

/// Seconds of CPU that `work` takes, all threads of this process.
pub(crate) fn seconds<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = process();
    let outcome = work();
    (process() - before, outcome)
}

/// One value a round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value that this part (0 to 1) of the samples does not exceed; nearest rank.
    ///
    /// # Panics
    /// When there is none.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        assert!(!self.0.is_empty(), "a figure has at least one sample");
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1]
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn least(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) const fn count(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_nearest_rank() {
        let samples: Samples = (1..=100).rev().map(f64::from).collect();
        assert_eq!((samples.least(), samples.median(), samples.quantile(0.99)), (1.0, 50.0, 99.0));
        let one: Samples = [7.0].into_iter().collect();
        assert_eq!((one.least(), one.median(), one.quantile(0.99)), (7.0, 7.0, 7.0));
    }

    #[test]
    fn cpu_time_grows_with_work_and_not_with_waiting() {
        // The thread's own clock: other tests may run in this process.
        let before = thread();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let waited = thread() - before;
        assert!(waited < 0.025, "{waited} s of CPU for waiting");
        let work = || (0..200_u32).fold([0; 32], |hash, _| *blake3::hash(&hash.repeat(1_000)).as_bytes());
        let (worked, hash) = seconds(work);
        assert!(worked > 0.0 && hash != [0; 32]);
    }
}
