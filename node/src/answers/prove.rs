//! `prove`: the proof file of one reading, put together from archive and ledger.

use selvedge_core::payload::Batch;
use selvedge_core::reading::Reading;
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Envelope;
use selvedge_core::{Id, codec};
use selvedge_crypto::ids;
use selvedge_proof::{Parts, Proof};
use serde::{Deserialize, Serialize};

use super::shown::Time;
use super::{Answers, AskError};
use crate::store::{OwnBatch, Range, StoreError, StreamReading};

/// Which reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofQuery {
    /// Its stream.
    pub stream: String,
    /// The newest one received at this moment or before; `None`: the newest.
    pub at: Option<Time>,
}

/// A proof, and where the reading stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofAnswer {
    /// The file.
    pub bytes: Vec<u8>,
    /// About it.
    pub about: ProofAbout,
}

/// What is said beside a proof file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofAbout {
    /// The stream's counter of the proven reading.
    pub counter: u64,
    /// Its batch.
    pub batch: u64,
    /// The transaction that carries the batch.
    pub transaction: String,
    /// A newer reading that was meant, but is still in the journal: its counter, and when it was received.
    pub journaled: Option<(u64, Time)>,
}

/// A reading in an own batch that is in a transaction.
struct Place {
    batch: u64,
    own: OwnBatch,
    sealed: SealedBatch,
    stream_index: u32,
    counter: u64,
}

/// Batches of a stream that are asked for at first; nearly always the newest one is the right one.
const BATCHES_AT_FIRST: usize = 16;

impl Answers {
    /// The proof of the newest reading at the moment asked for, or before it, that is in a transaction. Signatures are
    /// not verified here: whoever gets the file does that ([`selvedge_proof::verify`]).
    ///
    /// # Errors
    /// When there is no such stream or reading, it is in no transaction yet, or the store cannot be read.
    pub fn prove(&self, query: &ProofQuery) -> Result<ProofAnswer, AskError> {
        self.check_stream(&query.stream)?;
        // The range ends before its end, and a reading at the very moment counts.
        let to_ns = query.at.map(|at| at.0.saturating_add(1));
        let range = Range { to_ns, last: Some(1), ..Range::default() };
        let newest = self.reader.readings(&query.stream, range)?.next().transpose()?;
        let Some(newest) = newest else { return Err(self.no_reading(query)?) };
        let place = if newest.transaction.is_some() {
            self.place_of(&newest)?
        } else {
            self.newest_in_transaction(&query.stream, to_ns)?.ok_or_else(|| AskError::NotInTransaction {
                stream: query.stream.clone(),
                counter: newest.reading.counter,
                received: Time(newest.reading.receive_time_ns),
                issues: self.issues(),
            })?
        };
        // It may have got into a transaction between the two looks.
        let is_newer = newest.reading.counter > place.counter;
        let journaled = is_newer.then_some((newest.reading.counter, Time(newest.reading.receive_time_ns)));
        let (bytes, transaction) = self.make(&place)?;
        let transaction = ids::to_text(&transaction);
        let about = ProofAbout { counter: place.counter, batch: place.batch, transaction, journaled };
        Ok(ProofAnswer { bytes, about })
    }

    fn no_reading(&self, query: &ProofQuery) -> Result<AskError, AskError> {
        let first = self.reader.readings(&query.stream, Range::default())?.next().transpose()?;
        let first = first.map(|first| Time(first.reading.receive_time_ns));
        Ok(AskError::NoReading { stream: query.stream.clone(), at: query.at, first })
    }

    /// Does this gateway issue transactions?
    fn issues(&self) -> bool {
        match &self.live {
            Some(live) => live.ledger.silence.is_none() && !live.ledger.halted,
            None => !self.facts.restored_mark,
        }
    }

    fn place_of(&self, reading: &StreamReading) -> Result<Place, AskError> {
        let missing = || store("the index names a batch that it does not hold");
        let own = self.reader.own_batch(reading.batch)?.ok_or_else(missing)?;
        Ok(Place {
            batch: reading.batch,
            sealed: self.reader.archived(reading.batch, &own)?,
            own,
            stream_index: reading.reading.stream_index,
            counter: reading.reading.counter,
        })
    }

    /// The newest reading of a stream before `to_ns` that is in a transaction.
    fn newest_in_transaction(&self, stream: &str, to_ns: Option<i64>) -> Result<Option<Place>, AskError> {
        let mut seen = 0;
        let mut asked = BATCHES_AT_FIRST;
        loop {
            let batches = self.reader.batches_of_stream(stream, asked)?;
            for batch in batches.iter().skip(seen) {
                let Some(own) = self.reader.own_batch(*batch)? else { continue };
                if to_ns.is_some_and(|to| own.first_time_ns >= to) {
                    continue;
                }
                let sealed = self.reader.archived(*batch, &own)?;
                if let Some((stream_index, counter)) = newest_in(&sealed, stream, to_ns)? {
                    return Ok(Some(Place { batch: *batch, own, sealed, stream_index, counter }));
                }
            }
            // Spans, of which a batch may hold several, are what is counted.
            if batches.len() <= seen && batches.len() < asked {
                return Ok(None);
            }
            seen = batches.len();
            asked = asked.saturating_mul(16);
        }
    }

    fn make(&self, place: &Place) -> Result<(Vec<u8>, Id), AskError> {
        let missing = || store("the index names a transaction that the log does not hold");
        let transaction = self.reader.envelope(place.own.transaction)?.ok_or_else(missing)?;
        let (envelope, body) = Envelope::open(&transaction).map_err(StoreError::from)?;
        let batch: Batch = codec::decode(&body.payload).map_err(StoreError::from)?;
        let leaf = batch.leaf_index(place.stream_index, place.counter).ok_or_else(|| {
            store("the transaction does not hold the reading that its archive segment holds")
        })?;
        let mut keys = self.reader.key_transactions(&body.issuer, envelope.key_number)?;
        let enrolment =
            (self.facts.genesis.member(body.issuer).is_none() && !keys.is_empty()).then(|| keys.remove(0));
        let rotations: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let parts = Parts {
            genesis: &self.facts.genesis_bytes,
            batch: &place.sealed,
            tree: None,
            leaf: leaf as u32,
            transaction: &transaction,
            enrolment: enrolment.as_deref(),
            rotations: &rotations,
        };
        let proof = Proof::make(&parts).map_err(|why| AskError::Store { why: why.to_string() })?;
        Ok((proof.to_bytes(), self.facts.network.transaction_id(envelope.body)))
    }
}

fn store(why: &'static str) -> AskError {
    AskError::Store {
        why: format!("{why}; the data folder is damaged: keep a copy of it before anything else"),
    }
}

/// The newest reading of a stream in a batch before `to_ns`: place in the stream table, and counter.
pub(super) fn newest_in(
    sealed: &SealedBatch,
    stream: &str,
    to_ns: Option<i64>,
) -> Result<Option<(u32, u64)>, AskError> {
    let mut own = Vec::with_capacity(sealed.descriptors.len());
    for bytes in &sealed.descriptors {
        own.push(codec::decode::<Descriptor>(bytes).map_err(StoreError::from)?.name == stream);
    }
    let mut newest: Option<(u32, u64)> = None;
    for (at, block) in sealed.blocks.iter().enumerate() {
        let long = sealed.long.get(&(at as u32)).map(Vec::as_slice);
        let reading = Reading::from_block(block, long)
            .map_err(|why| StoreError::Batch { batch: sealed.number, source: why.into() })?;
        let is_own = own.get(reading.stream_index as usize) == Some(&true);
        if is_own && to_ns.is_none_or(|to| reading.receive_time_ns < to) {
            newest = newest.max(Some((reading.stream_index, reading.counter)));
        }
    }
    Ok(newest)
}
