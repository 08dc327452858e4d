//! What stands in the frames of the transaction log.

use selvedge_core::border::NewKey;
use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use selvedge_core::hash::{Hash, Issuer, Network};
use selvedge_core::payload::Batch;
use selvedge_core::record::Record;
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Envelope;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::error::StoreError;
use super::index::Item;
use super::log::{Frame, LogKind, Place, SegmentLog};

pub(crate) const LOG: LogKind = LogKind { folder: "log", purpose: b'L', recycled: false };
/// Length of the head as u32, little-endian; [`Head`]; the envelope.
const TRANSACTION: u8 = 1;
/// Hash of the descriptor, 32 bytes; the descriptor.
const DESCRIPTOR: u8 = 2;

/// What stands before the envelope: with it the index is made again without verifying anything.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    record: Record,
    key: Option<(u32, PublicKey)>,
    carries: Carries,
}

/// Does the transaction carry an own batch?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Carries {
    /// No.
    Nothing,
    /// One that peers gave back.
    Adopted,
    /// One that was made from this journal batch.
    Journaled(u64),
}

impl Carries {
    /// As [`Write::Transaction`](selvedge_core::border::Write::Transaction) says it.
    pub(crate) fn of(batch: Option<&Batch>, journal: Option<u64>) -> Self {
        match (batch, journal) {
            (None, _) => Self::Nothing,
            (Some(_), None) => Self::Adopted,
            (Some(_), Some(journal)) => Self::Journaled(journal),
        }
    }

    const fn journal(self) -> Option<u64> {
        match self {
            Self::Journaled(journal) => Some(journal),
            Self::Nothing | Self::Adopted => None,
        }
    }
}

/// An entry of the log, read back.
#[allow(clippy::large_enum_variant)] // Nearly all are transactions.
#[derive(Debug)]
pub(crate) enum Entry {
    Transaction {
        place: Place,
        record: Record,
        key: Option<NewKey>,
        batch: Option<Batch>,
        journal: Option<u64>,
        wall_ns: Option<i64>,
    },
    Descriptor {
        place: Place,
        hash: Hash,
        stream: String,
    },
}

impl Entry {
    pub(crate) fn as_item(&self) -> Item<'_> {
        match self {
            Self::Transaction { place, record, key, batch, journal, wall_ns } => Item::Transaction {
                place: *place,
                record,
                key: key.as_ref(),
                batch: batch.as_ref(),
                journal: *journal,
                wall_ns: *wall_ns,
            },
            Self::Descriptor { place, hash, stream } => {
                Item::Descriptor { place: *place, hash: *hash, stream: stream.clone() }
            }
        }
    }

    /// Reads a frame, and checks that record and envelope are of one transaction.
    pub(crate) fn read(frame: &Frame, network: &Network, own: Issuer) -> Result<Self, StoreError> {
        match frame.kind {
            TRANSACTION => {
                let (head, envelope) = split(frame)?;
                check(frame, &head, envelope, network, own)
            }
            DESCRIPTOR => {
                let (hash, bytes) = descriptor_in(frame)?;
                let stream = codec::decode::<Descriptor>(bytes)?.name;
                Ok(Self::Descriptor { place: frame.place, hash, stream })
            }
            other => Err(corrupt(frame, &format!("its kind is {other}, expected 1 or 2"))),
        }
    }
}

fn check(
    frame: &Frame,
    head: &Head,
    envelope: &[u8],
    network: &Network,
    own: Issuer,
) -> Result<Entry, StoreError> {
    let (outer, body) = Envelope::open(envelope)?;
    let record = &head.record;
    let id = network.transaction_id(outer.body);
    if id != record.id {
        return Err(corrupt(frame, &format!("its record has id {}, but its envelope id {id}", record.id)));
    }
    if (body.issuer, body.sequence, body.kind) != (record.issuer, record.sequence, record.kind) {
        return Err(corrupt(frame, "record and envelope differ in issuer, sequence or kind"));
    }
    let batch = if head.carries == Carries::Nothing { None } else { Some(codec::decode(&body.payload)?) };
    let journal = head.carries.journal();
    let wall_ns = (record.issuer == own).then(|| wall_ns(body.issued_at_ms));
    let key = head
        .key
        .as_ref()
        .map(|(key_number, key)| NewKey { key_number: *key_number, key: Arc::new(key.clone()) });
    Ok(Entry::Transaction { place: frame.place, record: record.clone(), key, batch, journal, wall_ns })
}

/// Milliseconds as nanoseconds, as far as they fit.
fn wall_ns(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000)
}

/// The wall time that an own transaction claims, ns since 1970 UTC.
pub(crate) fn claimed_wall_ns(envelope: &[u8]) -> Result<i64, StoreError> {
    Ok(wall_ns(Envelope::open(envelope)?.1.issued_at_ms))
}

/// Appends a transaction.
pub(crate) fn append_transaction(
    log: &mut SegmentLog,
    record: &Record,
    envelope: &[u8],
    key: Option<&NewKey>,
    carries: Carries,
) -> Result<Place, StoreError> {
    let key = key.map(|k| (k.key_number, PublicKey::clone(&k.key)));
    let head = codec::encode(&Head { record: record.clone(), key, carries });
    log.append(TRANSACTION, &[&(head.len() as u32).to_le_bytes(), &head, envelope], 0)
}

/// Appends a descriptor.
pub(crate) fn append_descriptor(log: &mut SegmentLog, hash: Hash, bytes: &[u8]) -> Result<Place, StoreError> {
    log.append(DESCRIPTOR, &[&hash.0, bytes], 0)
}

/// The envelope in a frame of a transaction.
pub(crate) fn into_envelope(mut frame: Frame) -> Result<Vec<u8>, StoreError> {
    let start = frame.payload.len() - envelope_in(&frame)?.len();
    frame.payload.drain(..start);
    Ok(frame.payload)
}

fn envelope_in(frame: &Frame) -> Result<&[u8], StoreError> {
    let take = || {
        let (length, rest) = frame.payload.split_first_chunk()?;
        rest.get(u32::from_le_bytes(*length) as usize..)
    };
    match take() {
        Some(envelope) if frame.kind == TRANSACTION => Ok(envelope),
        _ => Err(corrupt(frame, "it holds no transaction")),
    }
}

fn split(frame: &Frame) -> Result<(Head, &[u8]), StoreError> {
    let envelope = envelope_in(frame)?;
    let head = &frame.payload[4..frame.payload.len() - envelope.len()];
    let head = postcard::from_bytes(head).map_err(|_| corrupt(frame, "its record does not decode"))?;
    Ok((head, envelope))
}

/// Hash and encoding in a frame of a descriptor, checked against each other.
pub(crate) fn descriptor_in(frame: &Frame) -> Result<(Hash, &[u8]), StoreError> {
    match frame.payload.split_first_chunk() {
        Some((hash, bytes)) if frame.kind == DESCRIPTOR && Descriptor::hash_of(bytes).0 == *hash => {
            Ok((Hash(*hash), bytes))
        }
        _ => Err(corrupt(frame, "it holds no descriptor with the hash that it names")),
    }
}

fn corrupt(frame: &Frame, why: &str) -> StoreError {
    StoreError::Corrupt {
        file: format!("{} segment {}", LOG.folder, frame.place.segment),
        offset: u64::from(frame.place.offset),
        why: format!("frame {}: {why}", frame.sequence),
    }
}
