//! Answers to what people and programs ask of a gateway: pure functions over the store, beside the running loop.
//!
//! A running node gives these answers over its socket ([`crate::api`]); with no node running a command opens the
//! store and calls the very same functions. Nothing here changes anything, and everything said is durable: only
//! what a power cut cannot take back is shown.
//!
//! # Layout
//! - this file: what an answer is made from, and why there may be none
//! - [`live`]: what only the running node knows
//! - [`status`], [`streams`], [`readings`], [`prove`], [`tangle`], [`peers`], [`evidence`], [`keys`]: one question each
//! - [`segment`]: what a proof needs of the ledger, when the readings come from elsewhere
//! - [`standing`]: the part of `status` that is about others; [`attention`]: what of it needs a person
//! - [`shown`]: moments and values in JSON; [`times`]: moments and spans as people type and read them
//! - [`words`]: the answers as lines for people; [`mod@print`]: standard output that may be closed

mod attention;
pub mod evidence;
pub mod keys;
pub mod live;
pub mod peers;
pub mod print;
pub mod prove;
pub mod readings;
pub mod segment;
pub mod shown;
pub mod standing;
pub mod status;
pub mod streams;
pub mod tangle;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_others;
pub mod times;
pub mod words;
pub mod write;

use std::path::PathBuf;
use std::sync::Arc;

use selvedge_core::codec;
use selvedge_core::genesis::Genesis;
use selvedge_core::payload::{Enrol, PayloadKind};
use selvedge_core::transaction::Envelope;
use selvedge_core::{Issuer, Network};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::folder::{Folder, FolderError};
use crate::store::{StoreError, StoreReader};
pub use live::{EventCounts, Live};
pub use shown::Time;

/// What does not change while a node runs.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The network.
    pub network: Network,
    /// Its genesis.
    pub genesis: Arc<Genesis>,
    /// The bytes that it was decoded from.
    pub genesis_bytes: Arc<[u8]>,
    /// This gateway.
    pub issuer: Issuer,
    /// The data folder.
    pub folder: PathBuf,
    /// Is the folder marked as restored without its chain?
    pub restored_mark: bool,
}

impl Facts {
    /// Those of a data folder.
    ///
    /// # Errors
    /// When the mark of a restored folder cannot be looked for.
    pub fn of(folder: &Folder) -> Result<Self, FolderError> {
        Ok(Self {
            network: folder.network().clone(),
            genesis: folder.genesis(),
            genesis_bytes: folder.genesis_bytes(),
            issuer: folder.issuer(),
            folder: folder.path().to_owned(),
            restored_mark: folder.restored_mark()?,
        })
    }
}

/// Answers questions.
#[derive(Debug, Clone)]
pub struct Answers {
    /// What is durable.
    pub reader: StoreReader,
    /// What does not change.
    pub facts: Arc<Facts>,
    /// The running node's snapshot; `None` when none runs.
    pub live: Option<Arc<Live>>,
}

/// Why there is no answer. The same on both sides of the socket.
#[derive(Debug, Clone, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AskError {
    /// No stream has this name.
    #[error("there is no stream {name:?}{}", nearest_words(nearest, *streams))]
    NoSuchStream {
        /// The name.
        name: String,
        /// Names like it, the nearest first.
        nearest: Vec<String>,
        /// How many streams there are.
        streams: usize,
    },
    /// The stream has no reading there.
    #[error("{}", nothing_words(stream, *at, *first))]
    NoReading {
        /// The stream.
        stream: String,
        /// At or before this moment; `None`: at all.
        at: Option<Time>,
        /// When its first reading was received.
        first: Option<Time>,
    },
    /// There is a reading, but it is in no transaction yet.
    #[error(
        "stream {stream:?} has a reading there (counter {counter}, received {received}), but it is still in the \
         journal: nothing signs it yet. {}",
        if *issues {
            "Ask again once its batch is in a transaction; `selvedge status` says when the batch closes"
        } else {
            "This gateway issues no transactions; `selvedge status` says why"
        }
    )]
    NotInTransaction {
        /// The stream.
        stream: String,
        /// Counter of the newest reading there.
        counter: u64,
        /// When it was received.
        received: Time,
        /// Does the gateway issue transactions?
        issues: bool,
    },
    /// What was asked to be done is not done.
    #[error("{why}")]
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// The question itself is wrong.
    #[error("{what}")]
    Malformed {
        /// What, what was expected.
        what: String,
    },
    /// Too many questions at once.
    #[error("the node answers other questions already and had no time within {seconds} s; ask again")]
    Busy {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The store cannot be read.
    #[error("{why}")]
    Store {
        /// Why, where, what to do.
        why: String,
    },
}

impl AskError {
    /// What a command ends with: 1 when the answer is no, 2 when there could be none.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::NoSuchStream { .. }
            | Self::NoReading { .. }
            | Self::NotInTransaction { .. }
            | Self::Refused { .. } => 1,
            Self::Malformed { .. } | Self::Busy { .. } | Self::Store { .. } => 2,
        }
    }
}

impl From<StoreError> for AskError {
    fn from(why: StoreError) -> Self {
        Self::Store { why: why.to_string() }
    }
}

fn nearest_words(nearest: &[String], streams: usize) -> String {
    match nearest {
        [] if streams == 0 => {
            ": this gateway has none yet; `selvedge run` makes those of the configuration".into()
        }
        [] => "; `selvedge streams` lists them all".into(),
        nearest => {
            let quoted: Vec<String> = nearest.iter().map(|name| format!("{name:?}")).collect();
            format!("; did you mean {}?", quoted.join(" or "))
        }
    }
}

fn nothing_words(stream: &str, at: Option<Time>, first: Option<Time>) -> String {
    match (at, first) {
        (Some(at), Some(first)) => {
            format!("stream {stream:?} has no reading at or before {at}; its first was received {first}")
        }
        _ => format!("stream {stream:?} has no reading yet; `selvedge status` says how its device is"),
    }
}

impl Answers {
    /// The name of an issuer and that of its organisation, from the genesis or its enrolment. `None` for an issuer
    /// that has neither, which no attached transaction has.
    pub(crate) fn issuer_name(&self, issuer: &Issuer) -> Result<Option<(String, String)>, AskError> {
        let organisation = |at: u16| {
            let found = self.facts.genesis.organisations.get(usize::from(at));
            found.map_or_else(String::new, |o| o.name.clone())
        };
        if let Some(member) = self.facts.genesis.member(*issuer) {
            return Ok(Some((member.name.clone(), organisation(member.organisation))));
        }
        let Some(first) = self.reader.chain(issuer, 0)?.first().copied() else { return Ok(None) };
        let Some(envelope) = self.reader.envelope(first)? else { return Ok(None) };
        let (_, body) = Envelope::open(&envelope).map_err(StoreError::from)?;
        if body.kind != PayloadKind::Enrol as u16 {
            return Ok(None);
        }
        let enrol: Enrol = codec::decode(&body.payload).map_err(StoreError::from)?;
        Ok(Some((enrol.name, organisation(enrol.credential.organisation))))
    }
}
