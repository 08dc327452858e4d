//! `status`: how the gateway is, and what needs a person.

use std::collections::BTreeMap;
use std::path::Path;

use edge_adapters::health::{ErrorCounts, Spans};
use edge_adapters::{DeviceSnapshot, DeviceState, MessageFigures, SubscriptionFigures};
use selvedge_core::border::Silence;
use selvedge_core::codec;
use selvedge_core::journal::JournalRecord;
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::live::{DrainAnswer, EventCounts, Live};
use super::readings::ReadingAnswer;
use super::shown::{Scalar, Time};
use super::standing::{self, OwnChainAnswer, PeersSummary};
use super::streams::StreamAnswer;
use super::times::span_words;
use super::{Answers, AskError, attention};
use crate::store::StoreError;

/// A wall clock this far behind what is stored already was set back.
const BEHIND_NS: i64 = 60_000_000_000;
/// Forks listed.
const FORKS_SHOWN: usize = 16;

/// How the gateway is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// When it was asked.
    pub asked: Time,
    /// In a word.
    pub state: NodeState,
    /// What needs a person: what is wrong and what to do, most pressing first. Empty when all is well.
    pub attention: Vec<String>,
    /// Version of the program that answers.
    pub version: String,
    /// The data folder.
    pub folder: String,
    /// The network.
    pub network: NetworkAnswer,
    /// This gateway.
    pub gateway: GatewayAnswer,
    /// Since when the node runs.
    pub started: Option<Time>,
    /// For how long, in seconds.
    pub uptime_s: Option<u64>,
    /// The wall clock.
    pub clock: ClockAnswer,
    /// The devices.
    pub devices: Vec<DeviceAnswer>,
    /// Number of streams.
    pub streams: u64,
    /// Readings that are in no transaction yet.
    pub backlog: BacklogAnswer,
    /// The ledger.
    pub ledger: LedgerAnswer,
    /// Its peers; only while the node runs with a network.
    pub peers: Option<PeersSummary>,
    /// How its own chain stands; only while the node runs.
    pub own_chain: Option<OwnChainAnswer>,
    /// The disk.
    pub disk: DiskAnswer,
    /// What happened since the start; only while the node runs.
    pub events: Option<EventCounts>,
}

/// How the node is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It runs and takes readings.
    Running,
    /// It runs and journals readings, and asks its peers how far its own chain goes before it issues.
    Starting,
    /// It runs and journals readings, and issues no transactions.
    Silent,
    /// It runs and takes nothing any more.
    Halted,
    /// It does not run; the answer is from the store.
    NotRunning,
}

/// The network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAnswer {
    /// Its id: what an auditor pins.
    pub id: String,
    /// What it calls itself.
    pub name: String,
}

/// This gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayAnswer {
    /// Its identity.
    pub id: String,
    /// Its name; none before its enrolment is attached.
    pub name: Option<String>,
    /// Its organisation.
    pub organisation: Option<String>,
}

/// The wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockAnswer {
    /// What it shows.
    pub now: Time,
    /// Is it synchronised with a time server? Only the running node knows.
    pub synchronised: Option<bool>,
    /// Can it be right: not before this program was made, and not behind what is stored already?
    pub plausible: bool,
}

/// What a device and its connection have done, for people who look for a fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceFigures {
    /// Connections made.
    pub connections: u64,
    /// Requests sent.
    pub requests: u64,
    /// Times that its adapter was started again after a failure.
    pub restarts: u64,
    /// Polls done.
    #[serde(default)]
    pub polls: u64,
    /// Polls left out because the one before was still going on.
    #[serde(default)]
    pub polls_skipped_late: u64,
    /// Polls left out because the node was too slow.
    #[serde(default)]
    pub polls_skipped_full: u64,
    /// Errors by kind.
    pub errors: ErrorCounts,
    /// From a request to its answer.
    pub round_trip: Spans,
    /// How long after it was due a poll began.
    pub lateness: Spans,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAnswer {
    /// Its name.
    pub name: String,
    /// Its protocol; while the node runs.
    pub protocol: Option<String>,
    /// Where it is.
    pub address: String,
    /// `starting`, `up`, `degraded`, `down` or `stopped`; none while no node runs.
    pub state: Option<String>,
    /// Since when it is in this state.
    pub since: Option<Time>,
    /// What went wrong last and is not over.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_attempt: Option<Time>,
    /// Its last good reading that is durable.
    pub last_good: Option<LastGood>,
    /// Readings that it handed over since the start.
    pub readings: Option<u64>,
    /// Readings and polls lost because the node was too slow, since the start.
    pub dropped: Option<u64>,
    /// Connections made, errors by kind, and spans of time, since the start of its adapter; while the node runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub figures: Option<DeviceFigures>,
    /// Figures of a broker, since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<MessageFigures>,
    /// Figures of a subscription (OPC-UA), since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription: Option<SubscriptionFigures>,
}

/// The last good reading of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// Its stream.
    pub stream: String,
    /// The scaled value.
    pub value: Scalar,
    /// What it is called, if the stream's description has words for its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// Its unit, as UCUM text.
    pub unit: String,
    /// When the source says it was taken.
    pub source_time: Time,
    /// When the gateway received it.
    pub receive_time: Time,
}

/// Readings that are in no transaction yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BacklogAnswer {
    /// How many.
    pub readings: u64,
    /// In how many batches, the open one included.
    pub batches: u64,
    /// When the oldest of them was journaled.
    pub oldest: Option<Time>,
    /// The newest batch.
    pub newest_batch: Option<BatchProgress>,
    /// How fast it shrinks; `None` while it does not, or when nothing but the usual waits.
    pub drain: Option<DrainAnswer>,
}

/// The batch that readings go into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProgress {
    /// The number that it will have on the chain, if nothing comes between.
    pub number: u64,
    /// Its readings so far.
    pub readings: u64,
    /// When its first reading was journaled.
    pub since: Time,
    /// It closes at this many readings; while the node runs.
    pub readings_max: Option<u32>,
    /// It closes after this many milliseconds; while the node runs.
    pub age_max_ms: Option<u64>,
}

/// The ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerAnswer {
    /// Transactions attached.
    pub transactions: u64,
    /// How many of them nobody approves yet.
    pub tips: u64,
    /// The newest transaction of this gateway: its sequence and id.
    pub own_newest: Option<(u64, String)>,
    /// Transactions received that wait for what they refer to; while the node runs.
    pub pending: Option<u64>,
    /// Transactions that something refers to and nobody here holds; while the node runs.
    pub wanted: Option<u64>,
    /// Places with more than one transaction: issuer and sequence.
    pub forks: Vec<(String, u64)>,
}

/// The disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskAnswer {
    /// Transactions.
    pub log_bytes: u64,
    /// Readings that are in no transaction yet, and recycled space.
    pub journal_bytes: u64,
    /// The index.
    pub index_bytes: u64,
    /// Readings that are in transactions.
    pub archive_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
    /// What the disk has left for this folder.
    pub free_bytes: Option<u64>,
}

impl Answers {
    /// How the gateway is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn status(&self, asked: Time) -> Result<StatusAnswer, AskError> {
        let streams = self.streams(asked)?.streams;
        let live = self.live.as_deref();
        let named = self.issuer_name(&self.facts.issuer)?;
        let (name, organisation) = named.map_or((None, None), |(name, of)| (Some(name), Some(of)));
        let newest = streams.iter().filter_map(|s| s.last.as_ref()).map(|r| r.receive_time).max();
        let mut answer = StatusAnswer {
            asked,
            state: self.node_state(),
            attention: Vec::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            folder: self.facts.folder.display().to_string(),
            network: NetworkAnswer {
                id: ids::to_text(&self.facts.network.id()),
                name: self.facts.genesis.network_name.clone(),
            },
            gateway: GatewayAnswer { id: ids::to_text(&self.facts.issuer), name, organisation },
            started: live.map(|live| live.started),
            uptime_s: live.map(|live| live.uptime.as_secs()),
            clock: ClockAnswer {
                now: asked,
                synchronised: live.map(|live| live.synchronised),
                plausible: asked.0 >= crate::engine::clock::EARLIEST_NS
                    && newest.is_none_or(|newest| asked.0 >= newest.0.saturating_sub(BEHIND_NS)),
            },
            devices: devices(live, &streams),
            streams: streams.len() as u64,
            backlog: self.backlog()?,
            ledger: self.ledger()?,
            peers: live.and_then(standing::peers_summary),
            own_chain: live.map(standing::own_chain),
            disk: self.disk()?,
            events: live.map(|live| live.events.clone()),
        };
        let is_marked = live.map_or(self.facts.restored_mark, |live| live.is_marked);
        answer.attention = attention::found(&answer, live, is_marked);
        Ok(answer)
    }

    fn node_state(&self) -> NodeState {
        match self.live.as_deref() {
            None => NodeState::NotRunning,
            Some(live) if live.ledger.halted || live.halted.is_some() => NodeState::Halted,
            Some(live) => match live.ledger.silence {
                None => NodeState::Running,
                Some(Silence::Asking) => NodeState::Starting,
                Some(_) => NodeState::Silent,
            },
        }
    }

    fn backlog(&self) -> Result<BacklogAnswer, AskError> {
        let backlog = self.reader.backlog()?;
        let mut answer = BacklogAnswer {
            readings: backlog.readings,
            batches: backlog.batches,
            oldest: None,
            newest_batch: None,
            drain: self.live.as_deref().and_then(|live| live.drain),
        };
        let policy = self.live.as_deref().map(|live| live.batch);
        let Some((first, last)) = backlog.ends else { return Ok(answer) };
        if let Some((since, readings)) = self.journaled_batch(last)? {
            answer.newest_batch = Some(BatchProgress {
                // When what was taken back after a restore carries one of them already, it is a lower one.
                number: backlog.next_number + backlog.batches - 1,
                readings,
                since,
                readings_max: policy.map(|policy| policy.readings_max),
                age_max_ms: policy.map(|policy| policy.age_max_us / 1_000),
            });
        }
        answer.oldest = self.journaled_batch(first)?.map(|(since, _)| since);
        Ok(answer)
    }

    /// When a journal batch got its first reading, and how many it has. `None` when it left the journal meanwhile.
    fn journaled_batch(&self, number: u64) -> Result<Option<(Time, u64)>, AskError> {
        let (mut since, mut readings) = (None, 0);
        for record in self.reader.batch_records(number)? {
            let record: JournalRecord = codec::decode(&record).map_err(StoreError::from)?;
            since.get_or_insert(Time(record.taken_at_ns));
            readings += record.blocks().len() as u64;
        }
        Ok(since.map(|since| (since, readings)))
    }

    fn ledger(&self) -> Result<LedgerAnswer, AskError> {
        let live = self.live.as_deref();
        let head =
            self.reader.issuer_state(&self.facts.issuer)?.and_then(|state| state.heads.first().copied());
        let forks = self.reader.forks(FORKS_SHOWN)?;
        Ok(LedgerAnswer {
            transactions: self.reader.next_number()?,
            tips: self.reader.tips()?.len() as u64,
            own_newest: head.map(|head| (head.sequence, ids::to_text(&head.id))),
            pending: live.map(|live| live.ledger.pending as u64),
            wanted: live.map(|live| live.ledger.wanted as u64),
            forks: forks.iter().map(|(issuer, at)| (ids::to_text(issuer), *at)).collect(),
        })
    }

    fn disk(&self) -> Result<DiskAnswer, AskError> {
        let used = self.reader.disk_usage()?;
        Ok(DiskAnswer {
            log_bytes: used.log_bytes,
            journal_bytes: used.journal_bytes,
            index_bytes: used.index_bytes,
            archive_bytes: used.archive_bytes,
            total_bytes: used.log_bytes + used.journal_bytes + used.index_bytes + used.archive_bytes,
            free_bytes: free_bytes(&self.facts.folder),
        })
    }
}

/// What the file system has left for a user without privileges.
fn free_bytes(folder: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// The devices: those that run, and those that only the store remembers.
fn devices(live: Option<&Live>, streams: &[StreamAnswer]) -> Vec<DeviceAnswer> {
    let mut last_good: BTreeMap<&str, (&ReadingAnswer, &StreamAnswer)> = BTreeMap::new();
    for stream in streams {
        let Some(reading) = &stream.last_good else { continue };
        let known = last_good.get(stream.device.as_str());
        if known.is_none_or(|(known, _)| reading.receive_time > known.receive_time) {
            last_good.insert(&stream.device, (reading, stream));
        }
    }
    let shown = |device: &str| {
        last_good.get(device).map(|(reading, stream)| LastGood {
            stream: stream.name.clone(),
            value: reading.value.clone(),
            word: reading.word.clone(),
            unit: reading.unit.clone(),
            source_time: reading.source_time,
            receive_time: reading.receive_time,
        })
    };
    let Some(live) = live else {
        let known: BTreeMap<&str, &str> =
            streams.iter().rev().map(|s| (s.device.as_str(), s.address.as_str())).collect();
        return known
            .into_iter()
            .map(|(name, address)| DeviceAnswer {
                name: name.to_owned(),
                protocol: None,
                address: address.to_owned(),
                state: None,
                since: None,
                error: None,
                next_attempt: None,
                last_good: shown(name),
                readings: None,
                dropped: None,
                figures: None,
                messages: None,
                subscription: None,
            })
            .collect();
    };
    live.devices.iter().map(|device| running_device(device, shown(&device.device))).collect()
}

pub(super) fn running_device(device: &DeviceSnapshot, last_good: Option<LastGood>) -> DeviceAnswer {
    DeviceAnswer {
        name: device.device.clone(),
        protocol: Some(device.protocol.to_owned()),
        address: device.address.clone(),
        state: Some(state_name(device.state).to_owned()),
        since: Some(Time(device.since_ns)),
        error: device.error.clone(),
        next_attempt: device.next_attempt_ns.map(Time),
        last_good,
        readings: Some(device.readings),
        dropped: Some(device.readings_dropped + device.polls_skipped_full),
        figures: Some(DeviceFigures {
            connections: device.connections,
            requests: device.requests,
            restarts: device.restarts,
            polls: device.polls,
            polls_skipped_late: device.polls_skipped_late,
            polls_skipped_full: device.polls_skipped_full,
            errors: device.errors,
            round_trip: device.round_trip,
            lateness: device.lateness,
        }),
        messages: device.messages.clone(),
        subscription: device.subscription.clone(),
    }
}

const fn state_name(state: DeviceState) -> &'static str {
    match state {
        DeviceState::Starting => "starting",
        DeviceState::Up => "up",
        DeviceState::Degraded => "degraded",
        DeviceState::Down => "down",
        DeviceState::Stopped => "stopped",
    }
}

/// When the open batch closes at the latest.
pub(super) fn closes_words(batch: &BatchProgress, asked: Time) -> Option<String> {
    let age_max_ns = i64::try_from(batch.age_max_ms?).ok()?.checked_mul(1_000_000)?;
    let left = batch.since.0.checked_add(age_max_ns)?.saturating_sub(asked.0);
    Some(if left > 0 {
        format!("closes in {} at the latest", span_words(left as u64))
    } else {
        "closing now".into()
    })
}
