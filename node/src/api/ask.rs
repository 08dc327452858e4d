//! For commands: asks the running node, or with none running the store itself. The answers are the same.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::client::{BlockingClient, Client, ClientError};
use crate::answers::evidence::EvidenceAnswer;
use crate::answers::keys::KeysAnswer;
use crate::answers::peers::PeersAnswer;
use crate::answers::prove::{ProofAnswer, ProofQuery};
use crate::answers::readings::{ReadingAnswer, ReadingsQuery};
use crate::answers::segment::{SegmentAnswer, SegmentQuery};
use crate::answers::status::StatusAnswer;
use crate::answers::streams::StreamsAnswer;
use crate::answers::tangle::TangleAnswer;
use crate::answers::write::WriteAnswer;
use crate::answers::{Answers, AskError, Facts, Time};
use crate::chain;
use crate::cli::Failed;
use crate::folder::Folder;
use crate::gateway::RotateAnswer;
use crate::store::{RealDisk, Store, StoreError};

/// A node that starts or stops holds the folder and does not answer: so long is it waited for.
const WAIT_FOR_NODE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Whoever answers.
#[derive(Debug)]
pub enum Ask {
    /// The running node.
    Node(BlockingClient),
    /// The store, opened by this process.
    Store(Box<Opened>),
}

/// Nodes that may go away under one question.
const ATTEMPTS: u32 = 5;

/// A store that was opened to be asked.
#[derive(Debug)]
pub struct Opened {
    answers: Answers,
    store: Option<Store>,
    /// Was the index behind the log? Then it is made durable, so that the next one has nothing to do.
    is_behind: bool,
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(store) = self.store.take().filter(|_| self.is_behind)
            && let Err(error) = store.close()
        {
            // Nothing is lost: the log has it all.
            tracing::warn!(%error, "the index could not be made durable");
        }
    }
}

/// Readings from whoever answers.
pub type AskedReadings<'a> = Box<dyn Iterator<Item = anyhow::Result<ReadingAnswer>> + 'a>;

impl Ask {
    /// Finds out who answers for this data folder.
    ///
    /// # Errors
    /// When there is no gateway in it, or another process holds it and does not answer.
    pub fn open(data: &Path) -> anyhow::Result<Self> {
        Self::open_within(data, WAIT_FOR_NODE)
    }

    /// The same with another time to wait for a node that starts or stops.
    pub(super) fn open_within(data: &Path, wait: Duration) -> anyhow::Result<Self> {
        let folder = Folder::open(data)?;
        let client = Client::new(folder.socket_path());
        let started = Instant::now();
        loop {
            if client.is_answered()? {
                return Ok(Self::Node(BlockingClient::new(client).context("the system refused a runtime")?));
            }
            match RealDisk::open(folder.store_path()) {
                Ok(disk) => return Self::open_store(&folder, disk),
                Err(StoreError::Locked { .. }) if started.elapsed() < wait => sleep(LOOK_EVERY),
                Err(StoreError::Locked { pid, .. }) => {
                    let who = pid.map_or_else(
                        || "another process".into(),
                        |pid| format!("the process with pid {pid}"),
                    );
                    bail!(
                        "{who} holds the data folder {}, but nobody answers on {}: a node that is starting or stopping, \
                         or another command; ask again in a moment, or look at what that process does",
                        folder.path().display(),
                        client.path().display()
                    );
                }
                Err(why) => return Err(why.into()),
            }
        }
    }

    fn open_store(folder: &Folder, disk: RealDisk) -> anyhow::Result<Self> {
        let chain::Opened { store, report, .. } = chain::open(folder, Arc::new(disk))?;
        let answers = Answers { reader: store.reader(), facts: Arc::new(Facts::of(folder)?), live: None };
        Ok(Self::Store(Box::new(Opened { answers, store: Some(store), is_behind: report.replayed > 0 })))
    }

    /// How the gateway is.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn status(&self) -> anyhow::Result<StatusAnswer> {
        match self {
            Self::Node(client) => client.status().map_err(failure),
            Self::Store(opened) => opened.answers.status(Time::now()).map_err(no_answer),
        }
    }

    /// Its streams.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn streams(&self) -> anyhow::Result<StreamsAnswer> {
        match self {
            Self::Node(client) => client.streams().map_err(failure),
            Self::Store(opened) => opened.answers.streams(Time::now()).map_err(no_answer),
        }
    }

    /// The newest transactions.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn tangle(&self, last: usize) -> anyhow::Result<TangleAnswer> {
        match self {
            Self::Node(client) => client.tangle(last).map_err(failure),
            Self::Store(opened) => opened.answers.tangle(Time::now(), last).map_err(no_answer),
        }
    }

    /// Its peers.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn peers(&self) -> anyhow::Result<PeersAnswer> {
        match self {
            Self::Node(client) => client.peers().map_err(failure),
            Self::Store(opened) => opened.answers.peers(Time::now()).map_err(no_answer),
        }
    }

    /// The forks.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn evidence(&self) -> anyhow::Result<EvidenceAnswer> {
        match self {
            Self::Node(client) => client.evidence().map_err(failure),
            Self::Store(opened) => opened.answers.evidence(Time::now()).map_err(no_answer),
        }
    }

    /// The keys that its chain names.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn keys(&self) -> anyhow::Result<KeysAnswer> {
        match self {
            Self::Node(client) => client.keys().map_err(failure),
            Self::Store(opened) => opened.answers.keys(Time::now()).map_err(no_answer),
        }
    }

    /// Gives the gateway its next key. Only a running node can: it is a transaction.
    ///
    /// # Errors
    /// When none runs, or why the key is as it was.
    pub fn rotate(&self) -> anyhow::Result<RotateAnswer> {
        match self {
            Self::Node(client) => client.rotate().map_err(failure),
            Self::Store(_) => Err(Failed(
                "no node runs on this folder, and the next key is named by a transaction: start it with `selvedge run`, and \
                 give the command again"
                    .into(),
            )
            .into()),
        }
    }

    /// Writes a value to a machine. Only a running node can: it holds the connection, and records the attempt.
    ///
    /// # Errors
    /// When none runs, or why nothing was sent.
    pub fn write(&self, stream: &str, value: &str, by: &str) -> anyhow::Result<WriteAnswer> {
        match self {
            Self::Node(client) => client.write(stream, value, by).map_err(failure),
            Self::Store(_) => {
                let why = "no node runs on this folder, and only a running one writes to machines: start it with `selvedge run`";
                Err(Failed(why.into()).into())
            }
        }
    }

    /// The proof of a reading.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn prove(&self, query: &ProofQuery) -> anyhow::Result<ProofAnswer> {
        match self {
            Self::Node(client) => client.prove(query).map_err(failure),
            Self::Store(opened) => opened.answers.prove(query).map_err(no_answer),
        }
    }

    /// The transaction that names an archive segment.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn segment(&self, query: &SegmentQuery) -> anyhow::Result<SegmentAnswer> {
        match self {
            Self::Node(client) => client.segment(query).map_err(failure),
            Self::Store(opened) => opened.answers.segment(query).map_err(no_answer),
        }
    }

    /// Readings.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn readings(&self, query: &ReadingsQuery) -> anyhow::Result<AskedReadings<'_>> {
        match self {
            Self::Node(client) => {
                let readings = client.readings(query).map_err(failure)?;
                Ok(Box::new(readings.map(|reading| reading.map_err(failure))))
            }
            Self::Store(opened) => {
                let readings = opened.answers.readings(query).map_err(no_answer)?;
                Ok(Box::new(readings.map(|reading| reading.map_err(no_answer))))
            }
        }
    }
}

/// Asks, and asks again when a node that was there went away before it answered: then the store answers, or the next
/// node. `question` must not have said anything before it fails.
///
/// # Errors
/// When there is no answer.
pub fn asking<T>(data: &Path, mut question: impl FnMut(&Ask) -> anyhow::Result<T>) -> anyhow::Result<T> {
    for _ in 1..ATTEMPTS {
        match question(&Ask::open(data)?) {
            Err(error) if matches!(error.downcast_ref(), Some(ClientError::NotRunning { .. })) => {}
            answer => return answer,
        }
    }
    question(&Ask::open(data)?)
}

fn failure(why: ClientError) -> anyhow::Error {
    match why {
        ClientError::Ask(why) => no_answer(why),
        other => other.into(),
    }
}

/// With the exit code that goes with it: [`Failed`] is 1, every other error 2.
fn no_answer(why: AskError) -> anyhow::Error {
    if why.exit_code() == 1 { Failed(why.to_string()).into() } else { why.into() }
}
