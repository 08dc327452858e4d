//! `readings` and `export`: readings of one stream or of all, from the journal and the archive alike.

use std::collections::VecDeque;
use std::sync::Arc;

use edge_adapters::Words;
use selvedge_core::batch::ClosedBatch;
use selvedge_core::hash::Hash;
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, FLAG_UNSYNCHRONISED, Quality, Reading};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;
use selvedge_core::{Id, codec};
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::shown::{Scalar, Time};
use super::{Answers, AskError};
use crate::store::{Pending, PendingBatch, Range, StoreError, StoreReader, StreamReading};

/// Most readings that `last` may ask for: they are gathered backwards, so they are all in memory at once.
pub const LAST_MAX: usize = 100_000;

/// Which readings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadingsQuery {
    /// Of this stream; `None`: of all, batch by batch.
    pub stream: Option<String>,
    /// Received at this moment or later.
    pub from: Option<Time>,
    /// Received before this moment.
    pub to: Option<Time>,
    /// Of these only so many, the newest. Only for one stream.
    pub last: Option<usize>,
}

/// One reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingAnswer {
    /// Its stream.
    pub stream: String,
    /// The stream's counter, gapless from 0. While the reading is journaled it may still change, when peers give back
    /// transactions that this gateway had lost.
    pub counter: u64,
    /// When the source says the value was taken.
    pub source_time: Time,
    /// When the gateway received it.
    pub receive_time: Time,
    /// The scaled value.
    pub value: Scalar,
    /// What it is called, if the stream's description has words for its values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// The raw value, as the device gave it.
    pub raw: Scalar,
    /// Unit of the scaled value, as UCUM text; empty for none.
    pub unit: String,
    /// `good`, `uncertain`, `bad`, `stale` or `not-available`.
    pub quality: String,
    /// `unsynchronised`, `possibly-repeated`.
    pub flags: Vec<String>,
    /// The source's own status code; 0 where it has none.
    pub status: u32,
    /// `journaled`: durable here and signed by nothing yet. `attached`: in a transaction.
    pub state: ReadingState,
    /// Its batch; while it is journaled, the one that it will be in if nothing comes between.
    pub batch: u64,
    /// The transaction that carries the batch; `null` while it is journaled.
    pub transaction: Option<String>,
}

/// How far a reading got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadingState {
    /// In the journal: durable here, signed by nothing yet.
    Journaled,
    /// In a transaction of the ledger.
    Attached,
}

impl ReadingState {
    /// As it stands in JSON and CSV.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Journaled => "journaled",
            Self::Attached => "attached",
        }
    }
}

impl ReadingAnswer {
    /// A reading of the store, for showing.
    pub fn new(stored: &StreamReading) -> Self {
        let StreamReading { reading, descriptor, .. } = stored;
        let flags = [(FLAG_UNSYNCHRONISED, "unsynchronised"), (FLAG_POSSIBLY_REPEATED, "possibly-repeated")];
        Self {
            stream: descriptor.name.clone(),
            counter: reading.counter,
            source_time: Time(reading.source_time_ns),
            receive_time: Time(reading.receive_time_ns),
            value: Scalar::scaled(&reading.value, descriptor),
            word: Words::of_type(&descriptor.source_type).word(&reading.value).map(str::to_owned),
            raw: Scalar::raw(&reading.value),
            unit: descriptor.unit.clone(),
            quality: reading.quality.name().to_owned(),
            flags: flags
                .iter()
                .filter(|(f, _)| reading.flags & f != 0)
                .map(|(_, n)| (*n).to_owned())
                .collect(),
            status: reading.status,
            state: if stored.transaction.is_some() {
                ReadingState::Attached
            } else {
                ReadingState::Journaled
            },
            batch: stored.batch,
            transaction: stored.transaction.as_ref().map(ids::to_text),
        }
    }

    /// Is its quality good?
    pub fn is_good(&self) -> bool {
        self.quality == Quality::Good.name()
    }
}

/// Readings, one after the other. At most one batch of them is in memory, or as many as `last` asked for.
pub type ReadingsAnswer = Box<dyn Iterator<Item = Result<ReadingAnswer, AskError>> + Send>;

impl Answers {
    /// The readings of one stream, ascending by counter; or of all streams, batch by batch and in a batch stream by
    /// stream, so that each stream is ascending too. What is journaled while they are read may be missing, a gap
    /// never is.
    ///
    /// # Errors
    /// When there is no such stream, the question contradicts itself, or the store cannot be read.
    pub fn readings(&self, query: &ReadingsQuery) -> Result<ReadingsAnswer, AskError> {
        let malformed = |what: String| AskError::Malformed { what };
        if let (Some(from), Some(to)) = (query.from, query.to)
            && from > to
        {
            return Err(malformed(format!(
                "the range ends at {to}, before it begins at {from}; exchange the two"
            )));
        }
        if query.last.is_some_and(|last| last > LAST_MAX || last == 0) {
            return Err(malformed(format!(
                "{} readings asked for, expected 1 to {LAST_MAX}; `selvedge export` gives any number",
                query.last.unwrap_or_default()
            )));
        }
        let range = Range {
            from_ns: query.from.map(|t| t.0),
            to_ns: query.to.map(|t| t.0),
            last: query.last,
            skip_absent: false,
        };
        let Some(stream) = &query.stream else {
            if query.last.is_some() {
                return Err(malformed(
                    "the last readings of all streams at once; expected one stream with `last`".into(),
                ));
            }
            return Ok(Box::new(AllReadings::new(self.reader.clone(), range)));
        };
        self.check_stream(stream)?;
        let readings = self.reader.readings(stream, range)?;
        Ok(Box::new(readings.map(|reading| Ok(ReadingAnswer::new(&reading?)))))
    }
}

/// The readings of all streams. Each batch is read once, whatever the number of streams.
#[derive(Debug)]
struct AllReadings {
    reader: StoreReader,
    range: Range,
    part: Part,
    ready: VecDeque<ReadingAnswer>,
}

/// Where it stands.
#[derive(Debug)]
enum Part {
    /// In the archive; the own batch with this number is read next.
    Archive(u64),
    /// In the journal.
    Journal(Box<Pending>),
    /// After the last, and after an error: a gap must not go unseen.
    End,
}

impl AllReadings {
    const fn new(reader: StoreReader, range: Range) -> Self {
        Self { reader, range, part: Part::Archive(0), ready: VecDeque::new() }
    }

    /// Reads the next batch that may hold something of the range. `false`: there is none.
    fn advance(&mut self) -> Result<bool, StoreError> {
        self.part = match std::mem::replace(&mut self.part, Part::End) {
            Part::Archive(number) => {
                if self.read_archived(number)? {
                    Part::Archive(number + 1)
                } else {
                    let pending = self.reader.pending()?;
                    // Some may have moved into transactions between the two looks.
                    if pending.first_number() > number {
                        Part::Archive(number)
                    } else {
                        Part::Journal(Box::new(pending))
                    }
                }
            }
            Part::Journal(mut pending) => match pending.next_batch()? {
                Some(batch) => {
                    self.read_journaled(batch)?;
                    Part::Journal(pending)
                }
                None => return Ok(false),
            },
            Part::End => return Ok(false),
        };
        Ok(true)
    }

    /// `false`: there is no such batch.
    fn read_archived(&mut self, number: u64) -> Result<bool, StoreError> {
        let Some(own) = self.reader.own_batch(number)? else { return Ok(false) };
        let before = self.range.from_ns.is_some_and(|from| own.last_time_ns < from);
        let after = self.range.to_ns.is_some_and(|to| own.first_time_ns >= to);
        if !before && !after {
            let transaction = self.reader.record(own.transaction)?.map(|record| record.id);
            let batch = self.reader.archived(number, &own)?;
            self.take(number, &batch, transaction)?;
        }
        Ok(true)
    }

    fn read_journaled(&mut self, pending: PendingBatch) -> Result<(), StoreError> {
        let PendingBatch { number, content, .. } = pending;
        let descriptors: Result<_, StoreError> =
            content.streams.iter().map(|s| self.descriptor(&s.descriptor)).collect();
        // Sorted like a sealed one; no salt is made from this, so it needs no secret.
        let closed = ClosedBatch { number, content, secret: [0; 32], descriptors: descriptors? };
        self.take(number, &SealedBatch::new(&closed), None)
    }

    fn descriptor(&self, hash: &Hash) -> Result<Arc<[u8]>, StoreError> {
        let found = self.reader.descriptor(hash)?;
        found.map(Arc::from).ok_or_else(|| {
            StoreError::Write(format!("readings name descriptor {hash}, which the log does not hold"))
        })
    }

    fn take(&mut self, number: u64, batch: &SealedBatch, transaction: Option<Id>) -> Result<(), StoreError> {
        let descriptors: Result<Vec<Arc<Descriptor>>, _> =
            batch.descriptors.iter().map(|bytes| codec::decode(bytes).map(Arc::new)).collect();
        let descriptors = descriptors?;
        for (at, block) in batch.blocks.iter().enumerate() {
            let long = batch.long.get(&(at as u32)).map(Vec::as_slice);
            let reading = Reading::from_block(block, long)
                .map_err(|why| StoreError::Batch { batch: number, source: why.into() })?;
            let time = reading.receive_time_ns;
            if self.range.from_ns.is_some_and(|from| time < from)
                || self.range.to_ns.is_some_and(|to| time >= to)
            {
                continue;
            }
            let descriptor = Arc::clone(&descriptors[reading.stream_index as usize]);
            let stored = StreamReading { reading, descriptor, batch: number, transaction };
            self.ready.push_back(ReadingAnswer::new(&stored));
        }
        Ok(())
    }
}

impl Iterator for AllReadings {
    type Item = Result<ReadingAnswer, AskError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(reading) = self.ready.pop_front() {
                return Some(Ok(reading));
            }
            match self.advance() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(why) => return Some(Err(why.into())),
            }
        }
    }
}
