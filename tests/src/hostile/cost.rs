//! What an attack costs a process: processor time and memory, as the kernel counts them.

use std::fs;
use std::time::{Duration, Instant};

/// Processor time that a process used so far.
pub fn cpu(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // The name in brackets may hold anything, so what counts comes after the last bracket: state is the third field.
    let after = stat.rsplit_once(')').expect("a name in brackets").1;
    let field = |number: usize| -> u64 {
        let text = after.split_whitespace().nth(number - 3).expect("as proc(5) says");
        text.parse().expect("a number")
    };
    let ticks = field(14) + field(15);
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Forgets the most memory that a process held, so that the next [`rss_most`] is of what comes now.
pub fn forget_rss_most(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the process is ours");
}

/// The most memory that a process held, in bytes.
pub fn rss_most(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// The memory that a process holds now, in bytes.
pub fn rss(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("as proc(5) says");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
    kilobytes * 1_024
}

/// Measures processor time from one moment on.
#[derive(Debug, Clone)]
pub struct CpuSince {
    since: Instant,
    before: Vec<(u32, Duration)>,
}

impl CpuSince {
    /// Begins.
    pub fn now(pids: &[u32]) -> Self {
        Self { since: Instant::now(), before: pids.iter().map(|pid| (*pid, cpu(*pid))).collect() }
    }

    /// Seconds of processor time a second, of each process.
    pub fn rates(&self) -> Vec<f64> {
        let seconds = self.since.elapsed().as_secs_f64().max(0.001);
        self.before
            .iter()
            .map(|(pid, before)| (cpu(*pid).saturating_sub(*before)).as_secs_f64() / seconds)
            .collect()
    }
}
