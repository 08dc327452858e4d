//! Threads for slow work: signatures, sealing, reading back. Results may come in any order; the core does not mind.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use selvedge_core::batch::ClosedBatch;
use selvedge_core::border::{Input, SignatureCheck, Ticket};
use selvedge_core::transaction::Reference;
use selvedge_crypto::Verifier;
use tokio::sync::mpsc::UnboundedSender;

use super::keys::SigningKeys;
use crate::store::{Disk, StoreReader, archive};

/// Threads at most: a gateway has four cores and other things to do.
const THREADS_MAX: usize = 4;

/// One piece of work. Its number is bounded by the core: what is under way has a limit there.
#[derive(Debug)]
pub(super) enum Job {
    Load { ticket: Ticket, references: Vec<Reference> },
    LoadBatch { ticket: Ticket, batch: u64 },
    Seal { ticket: Ticket, batch: Arc<ClosedBatch> },
    Verify { ticket: Ticket, checks: Vec<SignatureCheck> },
    Sign { ticket: Ticket, key_number: u32, message: Vec<u8> },
}

/// The threads.
#[derive(Debug)]
pub(super) struct Workers {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a worker works with.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    keys: SigningKeys,
    verifier: Arc<dyn Verifier>,
    reader: StoreReader,
    disk: Arc<dyn Disk>,
}

impl Workers {
    pub(super) fn start(tools: &Tools, done: &UnboundedSender<Input>) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let threads = (0..count)
            .map(|number| {
                let (tools, queue, done) = (tools.clone(), queue.clone(), done.clone());
                std::thread::Builder::new()
                    .name(format!("selvedge-work-{number}"))
                    .spawn(move || work(&tools, &queue, &done))
            })
            .collect::<std::io::Result<_>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    pub(super) fn submit(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The threads live as long as this sender.
            let _ = jobs.send(job);
        }
    }

    /// Waits until what was handed out is done.
    pub(super) fn stop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A panic has ended the process already.
            let _ = thread.join();
        }
    }
}

fn work(tools: &Tools, queue: &Mutex<Receiver<Job>>, done: &UnboundedSender<Input>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if done.send(tools.run(job)).is_err() {
            return;
        }
    }
}

impl Tools {
    pub(super) fn new(keys: SigningKeys, reader: StoreReader, disk: Arc<dyn Disk>) -> Self {
        Self { keys, verifier: selvedge_crypto::default_verifier(), reader, disk }
    }

    fn run(&self, job: Job) -> Input {
        match job {
            Job::Load { ticket, references } => match self.reader.load(&references) {
                Ok(found) => Input::Loaded { ticket, found },
                Err(why) => Input::Failed { ticket, why: why.to_string() },
            },
            Job::LoadBatch { ticket, batch } => match self.reader.batch_records(batch) {
                Ok(records) => Input::BatchLoaded { ticket, records },
                Err(why) => Input::Failed { ticket, why: why.to_string() },
            },
            Job::Seal { ticket, batch } => match archive::seal(&batch, self.disk.as_ref()) {
                Ok((root, segment, segment_bytes)) => Input::Sealed { ticket, root, segment, segment_bytes },
                Err(why) => Input::Failed { ticket, why: why.to_string() },
            },
            Job::Verify { ticket, checks } => {
                let holds = |c: &SignatureCheck| self.verifier.verify(&c.key, &c.message, &c.signature);
                Input::Verified { ticket, valid: checks.iter().all(holds) }
            }
            Job::Sign { ticket, key_number, message } => self.sign(ticket, key_number, &message),
        }
    }

    /// Signs, and checks the signature before anybody relies on it: a faulty computation must not go out.
    fn sign(&self, ticket: Ticket, key_number: u32, message: &[u8]) -> Input {
        let Some(signer) = self.keys.get(key_number) else {
            let why = format!(
                "the chain names key {key_number}, which this node does not hold; put it back into the folder `keys` \
                 from a backup, and start the node again"
            );
            return Input::Failed { ticket, why };
        };
        match signer.sign(message) {
            Ok(signature) if self.verifier.verify(signer.public_key(), message, &signature) => {
                Input::Signed { ticket, signature }
            }
            Ok(_) => Input::Failed {
                ticket,
                why: "the signature just made does not verify: faulty hardware?".into(),
            },
            Err(why) => Input::Failed { ticket, why: why.to_string() },
        }
    }
}
