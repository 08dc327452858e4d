//! Seconds of CPU: the one thing in a report that is not decided by the seed.

use rustix::time::{ClockId, clock_gettime};

/// Seconds of CPU of the calling thread, user and system. A run keeps to one thread, so the difference of two is what
/// it cost, whatever else the process does.
pub fn thread_s() -> f64 {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    at.tv_sec as f64 + at.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_grows_with_work() {
        let before = super::thread_s();
        let hash = (0..2_000_u32).fold([0; 32], |hash, _| *blake3::hash(&hash.repeat(100)).as_bytes());
        assert!(super::thread_s() > before && hash != [0; 32]);
    }
}
