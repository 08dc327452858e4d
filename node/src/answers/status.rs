//! `status`: how the gateway is, and what needs a person.

use std::collections::BTreeMap;
use std::path::Path;

use edge_adapters::{DeviceSnapshot, DeviceState};
use selvedge_core::codec;
use selvedge_core::journal::JournalRecord;
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::live::{EventCounts, Live};
use super::readings::{ReadingAnswer, ReadingState};
use super::shown::{Scalar, Time};
use super::streams::StreamAnswer;
use super::times::{bytes_words, plural, span_words};
use super::{Answers, AskError};
use crate::store::StoreError;

/// Less free space than this needs a person.
const FREE_BYTES_LOW: u64 = 200_000_000;
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
}

/// The last good reading of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastGood {
    /// Its stream.
    pub stream: String,
    /// The scaled value.
    pub value: Scalar,
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
}

/// The batch that readings go into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchProgress {
    /// Its number.
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
            backlog: self.backlog(&streams)?,
            ledger: self.ledger()?,
            disk: self.disk()?,
            events: live.map(|live| live.events.clone()),
        };
        answer.attention = attention(&answer, live, self.facts.restored_mark);
        Ok(answer)
    }

    fn node_state(&self) -> NodeState {
        match self.live.as_deref() {
            None => NodeState::NotRunning,
            Some(live) if live.ledger.halted || live.halted.is_some() => NodeState::Halted,
            Some(live) if !live.ledger.may_issue => NodeState::Silent,
            Some(_) => NodeState::Running,
        }
    }

    fn backlog(&self, streams: &[StreamAnswer]) -> Result<BacklogAnswer, AskError> {
        let backlog = self.reader.backlog()?;
        // Readings go into the newest batch, so the newest reading of all is in it.
        let journaled =
            streams.iter().filter_map(|s| s.last.as_ref()).filter(|r| r.state == ReadingState::Journaled);
        let newest = journaled.map(|reading| reading.batch).max();
        let mut answer = BacklogAnswer {
            readings: backlog.readings,
            batches: backlog.batches,
            oldest: None,
            newest_batch: None,
        };
        let Some(number) = newest else { return Ok(answer) };
        let policy = self.live.as_deref().map(|live| live.batch);
        if let Some((since, readings)) = self.journaled_batch(number)? {
            answer.newest_batch = Some(BatchProgress {
                number,
                readings,
                since,
                readings_max: policy.map(|policy| policy.readings_max),
                age_max_ms: policy.map(|policy| policy.age_max_us / 1_000),
            });
        }
        let oldest = (number + 1).saturating_sub(backlog.batches);
        answer.oldest = self.journaled_batch(oldest)?.map(|(since, _)| since);
        Ok(answer)
    }

    /// When a batch got its first reading, and how many it has. `None` when it left the journal meanwhile.
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
        let forks = live.map(|live| live.ledger.forks.as_slice()).unwrap_or_default();
        Ok(LedgerAnswer {
            transactions: self.reader.next_number()?,
            tips: self.reader.tips()?.len() as u64,
            own_newest: head.map(|head| (head.sequence, ids::to_text(&head.id))),
            pending: live.map(|live| live.ledger.pending as u64),
            wanted: live.map(|live| live.ledger.wanted as u64),
            forks: forks.iter().take(FORKS_SHOWN).map(|(issuer, at)| (ids::to_text(issuer), *at)).collect(),
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
            })
            .collect();
    };
    live.devices.iter().map(|device| running_device(device, shown(&device.device))).collect()
}

fn running_device(device: &DeviceSnapshot, last_good: Option<LastGood>) -> DeviceAnswer {
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

/// What needs a person, most pressing first.
/// Why a gateway issues nothing, and what to do.
const SILENT: &str = "silent: the keys are without (part of) the chain that they signed, so readings are journaled and \
                      nothing is issued. The file `restored` in the data folder says how to bring the chain back; then \
                      `selvedge key restore`";

fn attention(answer: &StatusAnswer, live: Option<&Live>, restored_mark: bool) -> Vec<String> {
    let mut found = Vec::new();
    match answer.state {
        NodeState::Halted => {
            let why =
                live.and_then(|live| live.halted.as_deref()).unwrap_or("the store or the signing key failed");
            found.push(format!(
                "halted: {why}. Nothing more is taken; what was acknowledged is safe. Look after the cause, then start the node again"
            ));
        }
        NodeState::Silent => found.push(SILENT.into()),
        NodeState::NotRunning => {
            found.push(format!(
                "no node runs on this folder: start it with `selvedge run --data {}`",
                answer.folder
            ));
            if restored_mark {
                found.push(SILENT.into());
            }
        }
        NodeState::Running => {}
    }
    found.extend(disk_attention(&answer.disk));
    found.extend(answer.devices.iter().filter_map(device_attention));
    found.extend(clock_attention(&answer.clock));
    if let Some((issuer, sequence)) = answer.ledger.forks.first() {
        let more = answer.ledger.forks.len() - 1;
        let more =
            if more > 0 { format!(", and {} like it", plural(more as u64, "place")) } else { String::new() };
        let whose = if *issuer == answer.gateway.id {
            "this gateway signed two transactions at one sequence: its key is used by another machine too"
        } else {
            "somebody signed two transactions at one sequence"
        };
        found.push(format!("fork: {whose} ({issuer}, sequence {sequence}{more})"));
    }
    if let Some(retry) = live.and_then(|live| live.events.last_retry.as_ref())
        && answer.asked.0.saturating_sub(retry.at.0) < 60_000_000_000
    {
        found.push(format!("{} failed and is tried again: {}", retry.what, retry.why));
    }
    found
}

fn disk_attention(disk: &DiskAnswer) -> Option<String> {
    let free = disk.free_bytes.filter(|free| *free < FREE_BYTES_LOW)?;
    Some(format!(
        "disk: {} free, expected at least {}; free some, or move the data folder to a larger disk",
        bytes_words(free),
        bytes_words(FREE_BYTES_LOW)
    ))
}

fn device_attention(device: &DeviceAnswer) -> Option<String> {
    let (name, why) = (&device.name, device.error.as_deref().unwrap_or("no reason known"));
    match device.state.as_deref() {
        Some("down") => Some(format!(
            "device {name:?} at {} does not answer: {why}. It is tried again by itself",
            device.address
        )),
        Some("degraded") => Some(format!(
            "device {name:?} refuses part of what it is asked: {why}. Compare the configuration with its register map"
        )),
        _ => None,
    }
}

fn clock_attention(clock: &ClockAnswer) -> Option<String> {
    if !clock.plausible {
        return Some(format!(
            "clock: it shows {}, which cannot be right; set it, or let a time server do so (`timedatectl`)",
            clock.now
        ));
    }
    (clock.synchronised == Some(false)).then(|| {
        "clock: not synchronised with a time server, so readings and transactions say so; start systemd-timesyncd, or \
         set `trust = \"assume\"` under [clock] when another service keeps it"
            .to_owned()
    })
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
