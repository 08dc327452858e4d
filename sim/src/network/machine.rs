//! What a gateway works with beside its core: threads for slow work and for the network, and the disk with its group
//! commit. Virtual time only: what each piece of work costs comes from the hardware's table.

use std::collections::VecDeque;

use selvedge_core::border::{Input, Write};

use super::hardware::Profile;

/// Writes in one group, as in the shipped store's committer.
const GROUP_WRITES_MAX: usize = 4_096;

/// Bytes of an envelope without much in it: how many transactions an answer of so many bytes holds.
const ENVELOPE_BYTES: usize = 2_600;
/// Bytes of a frame that one packet carries (node/src/net: QUIC over Ethernet).
const PACKET_BYTES: usize = 1_400;

/// What the loop spends on a frame.
pub(super) fn frame_ns(profile: &Profile, frame: &[u8]) -> u64 {
    let bodies = match frame.first() {
        Some(1) => 1,
        Some(2) => frame.len().div_ceil(ENVELOPE_BYTES) as u64,
        _ => 0,
    };
    profile.input_ns + bodies * profile.attach_ns
}

/// What the loop spends on anything else.
pub(super) fn input_ns(profile: &Profile, input: &Input) -> u64 {
    match input {
        Input::Submit { readings, .. } => profile.input_ns + readings.len() as u64 * profile.reading_ns,
        _ => profile.input_ns,
    }
}

/// What a thread of the network spends on a frame, sent or received.
pub(super) fn packets_ns(profile: &Profile, bytes: usize) -> u64 {
    profile.frame_ns + bytes.div_ceil(PACKET_BYTES) as u64 * profile.packet_ns
}

/// What a worker spends on sealing a batch.
pub(super) const fn seal_ns(profile: &Profile, readings: usize) -> u64 {
    profile.seal_batch_ns + readings as u64 * profile.seal_reading_ns
}

/// What a worker spends on looking things up in the store: no more than writing them there takes.
pub(super) const fn load_ns(profile: &Profile, count: usize) -> u64 {
    count as u64 * profile.store_transaction_ns
}

/// Bytes of writes, and what the disk's thread spends on them, in nanoseconds.
pub(super) fn writes_cost(profile: &Profile, writes: &[Write]) -> (usize, u64) {
    writes.iter().fold((0, 0), |(bytes, cost_ns), write| {
        let (length, own_ns) = match write {
            Write::Descriptor { bytes, .. } => (bytes.len(), 0),
            Write::Journal { record, .. } => (record.len(), 0),
            Write::Transaction { envelope, .. } => (envelope.len(), profile.store_transaction_ns),
        };
        (bytes + length, cost_ns + own_ns + length as u64 * profile.store_kilobyte_ns / 1_000)
    })
}

/// How long a sync of so many bytes takes, in nanoseconds.
pub(super) fn sync_ns(profile: &Profile, bytes: usize) -> u64 {
    profile.sync_us * 1_000 + bytes as u64 * 1_000_000_000 / profile.disk_bytes_per_s.max(1)
}

/// Threads that take jobs in the order in which they are handed out.
#[derive(Debug)]
pub(super) struct Workers {
    /// When each is free.
    free_at_ns: Vec<u64>,
    under_way: usize,
    pub(super) most_under_way: usize,
    pub(super) busy_ns: u64,
}

impl Workers {
    pub(super) fn new(threads: usize) -> Self {
        Self { free_at_ns: vec![0; threads.max(1)], under_way: 0, most_under_way: 0, busy_ns: 0 }
    }

    /// A job that takes so long; when it is done, in microseconds.
    pub(super) fn submit(&mut self, now_us: u64, cost_ns: u64) -> u64 {
        self.under_way += 1;
        self.most_under_way = self.most_under_way.max(self.under_way);
        self.busy_ns += cost_ns;
        let free = self.free_at_ns.iter_mut().min().expect("there is at least one");
        *free = (*free).max(now_us * 1_000) + cost_ns;
        free.div_ceil(1_000)
    }

    /// A job's answer is back.
    pub(super) fn done(&mut self) {
        self.under_way -= 1;
    }
}

/// One job of the disk: the writes of one `Persist`.
#[derive(Debug, Clone, Copy)]
struct Job {
    deadline_us: u64,
    writes: usize,
    bytes: usize,
    /// CPU of the disk's thread.
    cost_ns: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// Others may join until then.
    Gathering {
        until_us: u64,
    },
    /// So many jobs are being synced.
    Syncing {
        jobs: usize,
    },
}

/// The commit thread and its medium: what is handed in at about the same time shares one sync
/// (`node/src/store/committer.rs`).
#[derive(Debug)]
pub(super) struct Disk {
    jobs: VecDeque<Job>,
    state: State,
    waiting: (usize, usize),
    /// Writes and bytes at the fullest moment.
    pub(super) most_waiting: (usize, usize),
    pub(super) busy_us: u64,
    pub(super) syncs: u64,
}

impl Disk {
    pub(super) fn new() -> Self {
        let (waiting, most_waiting) = ((0, 0), (0, 0));
        Self { jobs: VecDeque::new(), state: State::Idle, waiting, most_waiting, busy_us: 0, syncs: 0 }
    }

    /// Takes a job (writes, bytes, nanoseconds of CPU); when its group is to be started, unless that is known already.
    pub(super) fn accept(&mut self, now_us: u64, within_us: u64, job: (usize, usize, u64)) -> Option<u64> {
        let (deadline_us, (writes, bytes, cost_ns)) = (now_us + within_us, job);
        self.jobs.push_back(Job { deadline_us, writes, bytes, cost_ns });
        self.waiting = (self.waiting.0 + writes, self.waiting.1 + bytes);
        self.most_waiting =
            (self.most_waiting.0.max(self.waiting.0), self.most_waiting.1.max(self.waiting.1));
        match self.state {
            State::Idle => Some(self.gather_until(deadline_us)),
            State::Gathering { until_us } if deadline_us < until_us => Some(self.gather_until(deadline_us)),
            State::Gathering { .. } | State::Syncing { .. } => None,
        }
    }

    fn gather_until(&mut self, until_us: u64) -> u64 {
        self.state = State::Gathering { until_us };
        until_us
    }

    /// Starts the group that is due now, if one is; when it will be durable. `sync_ns` says how long a sync of so many
    /// bytes takes.
    pub(super) fn start(&mut self, now_us: u64, sync_ns: impl Fn(usize) -> u64) -> Option<u64> {
        if self.state != (State::Gathering { until_us: now_us }) {
            return None;
        }
        let (mut jobs, mut writes, mut bytes, mut cost_ns) = (0, 0, 0, 0);
        for job in &self.jobs {
            if jobs > 0 && writes + job.writes > GROUP_WRITES_MAX {
                break;
            }
            jobs += 1;
            writes += job.writes;
            bytes += job.bytes;
            cost_ns += job.cost_ns;
        }
        let takes_us = (cost_ns + sync_ns(bytes)).div_ceil(1_000);
        self.state = State::Syncing { jobs };
        self.busy_us += takes_us;
        self.syncs += 1;
        Some(now_us + takes_us)
    }

    /// The group is durable: how many jobs it was, and when the next group is to be started.
    pub(super) fn done(&mut self, now_us: u64) -> (usize, Option<u64>) {
        let State::Syncing { jobs } = self.state else { return (0, None) };
        for job in self.jobs.drain(..jobs) {
            self.waiting = (self.waiting.0 - job.writes, self.waiting.1 - job.bytes);
        }
        self.state = State::Idle;
        let next = self.jobs.iter().map(|job| job.deadline_us).min();
        (jobs, next.map(|deadline| self.gather_until(deadline.max(now_us))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_wait_for_a_free_worker() {
        let mut workers = Workers::new(2);
        assert_eq!(workers.submit(10, 5_000), 15);
        assert_eq!(workers.submit(10, 1_500), 12, "rounded up");
        assert_eq!(workers.submit(10, 1_000), 13, "behind the shorter one: 11.5 and 1");
        assert_eq!((workers.under_way, workers.busy_ns), (3, 7_500));
        workers.done();
        assert_eq!(workers.submit(100, 1_000), 101);
        assert_eq!(workers.most_under_way, 3);
    }

    #[test]
    fn a_group_waits_for_the_first_deadline_and_shares_one_sync() {
        let mut disk = Disk::new();
        let cost = |bytes: usize| 100_000 + bytes as u64 * 1_000;
        assert_eq!(disk.accept(0, 50, (1, 10, 0)), Some(50));
        assert_eq!(disk.accept(10, 200, (1, 10, 500)), None, "it joins");
        assert_eq!(disk.accept(20, 0, (1, 10, 500)), Some(20), "it is in a hurry");
        assert_eq!(disk.start(20, cost), Some(151));
        assert_eq!(disk.start(50, cost), None, "the first plan is void");
        assert_eq!(disk.accept(60, 500, (1, 7, 0)), None, "it waits for the next group");
        assert_eq!(disk.done(151), (3, Some(560)));
        assert_eq!(disk.start(560, cost), Some(667));
        assert_eq!(disk.done(667), (1, None));
        assert_eq!((disk.syncs, disk.busy_us, disk.waiting), (2, 238, (0, 0)));
    }

    #[test]
    fn a_group_has_a_limit() {
        let mut disk = Disk::new();
        assert_eq!(disk.accept(0, 0, (GROUP_WRITES_MAX, 0, 0)), Some(0));
        assert_eq!(disk.accept(0, 0, (1, 0, 0)), None);
        assert_eq!(disk.start(0, |_| 10_000), Some(10));
        assert_eq!(disk.done(10), (1, Some(10)));
    }
}
