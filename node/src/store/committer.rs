//! Group commit: one thread owns the store, and what is handed in at about the same time shares one sync.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use selvedge_core::border::{Ticket, Write};

use super::Store;
use super::error::StoreError;

/// Writes in one group, so that a group stays a bounded piece of memory and time.
const GROUP_WRITES_MAX: usize = 4_096;

/// What became of the tickets of a group: durable, all of them, or failed, and why.
pub type GroupOutcome = Result<Vec<Ticket>, (Vec<Ticket>, String)>;

#[derive(Debug)]
struct Job {
    ticket: Ticket,
    writes: Vec<Write>,
    deadline: Instant,
}

/// The commit thread. Dropped or [shut down](Self::shutdown), it commits what was handed in, then closes the store.
#[derive(Debug)]
pub struct Committer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<(), StoreError>>>,
}

impl Committer {
    /// Starts the thread. `done` is called on it once for each group, in order.
    ///
    /// At most `capacity` jobs wait; then [`submit`](Self::submit) waits too, so a disk that is too slow slows the
    /// node down instead of filling its memory.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        store: Store,
        capacity: usize,
        done: impl Fn(GroupOutcome) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (sender, receiver) = sync_channel(capacity);
        let thread = std::thread::Builder::new()
            .name("selvedge-commit".into())
            .spawn(move || run(store, &receiver, &done))
            .map_err(super::error::io_error("start", "the commit thread"))?;
        Ok(Self { jobs: Some(sender), thread: Some(thread) })
    }

    /// Hands writes in, to be durable after all before them. They may wait `within_us` microseconds for others to join.
    ///
    /// # Errors
    /// [`StoreError::Ended`] when the thread is gone; nothing of the writes is kept.
    pub fn submit(&self, ticket: Ticket, writes: Vec<Write>, within_us: u64) -> Result<(), StoreError> {
        let deadline = Instant::now() + Duration::from_micros(within_us);
        let jobs = self.jobs.as_ref().ok_or(StoreError::Ended)?;
        jobs.send(Job { ticket, writes, deadline }).map_err(|_| StoreError::Ended)
    }

    /// Commits what was handed in, closes the store and ends the thread.
    ///
    /// # Errors
    /// The error that ended the store, when one did.
    pub fn shutdown(mut self) -> Result<(), StoreError> {
        self.end()
    }

    fn end(&mut self) -> Result<(), StoreError> {
        drop(self.jobs.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Whoever wants to know calls `shutdown`; a panic was already printed by its own thread.
            let _ = thread.join();
        }
    }
}

fn run(mut store: Store, jobs: &Receiver<Job>, done: &impl Fn(GroupOutcome)) -> Result<(), StoreError> {
    let mut held = None;
    while let Some(first) = held.take().or_else(|| jobs.recv().ok()) {
        let (group, next) = gather(first, jobs);
        held = next;
        let mut tickets = Vec::with_capacity(group.len());
        let mut writes = Vec::new();
        for job in group {
            tickets.push(job.ticket);
            writes.extend(job.writes);
        }
        match store.commit(&writes) {
            Ok(()) => done(Ok(tickets)),
            // The handle takes nothing more, but whoever waits still hears of it.
            Err(why) => done(Err((tickets, why.to_string()))),
        }
    }
    store.close()
}

/// Waits for others until the first deadline among those gathered. The second part did not fit any more.
fn gather(first: Job, jobs: &Receiver<Job>) -> (Vec<Job>, Option<Job>) {
    let mut deadline = first.deadline;
    let mut writes = first.writes.len();
    let mut group = vec![first];
    loop {
        // What is already there joins, however late it is.
        let job = match jobs.try_recv() {
            Ok(job) => job,
            Err(_) => match jobs.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return (group, None),
            },
        };
        if writes + job.writes.len() > GROUP_WRITES_MAX {
            return (group, Some(job));
        }
        deadline = deadline.min(job.deadline);
        writes += job.writes.len();
        group.push(job);
    }
}
