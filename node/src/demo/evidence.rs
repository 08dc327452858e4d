//! What is left when the gateway has stopped: the data folder opened again, a proof of the last reading, and two
//! forgeries of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use selvedge_core::border::{NewReading, Outcome, StreamHandle};
use selvedge_core::limits::SUBMIT_READINGS_MAX;
use selvedge_core::reading::{READING_BYTES, Reading, Value};
use selvedge_core::stream::Descriptor;
use selvedge_core::{NetworkId, codec};
use selvedge_proof::{Proof, Refusal, Trust, Verdict, scaled, unit_text};

use super::wiring::PACE;
use crate::answers::prove::ProofQuery;
use crate::answers::{Answers, Facts};
use crate::cli::init::{Names, new_network};
use crate::cli::verify::verify_file;
use crate::config;
use crate::engine::clock;
use crate::folder::Folder;
use crate::gateway::Gateway;
use crate::store::{Range, RealDisk, Store, StoreOptions, StreamReading};

/// The store of a gateway that has stopped.
#[derive(Debug)]
pub struct Reopened {
    /// Answers questions about it.
    pub answers: Answers,
    store: Store,
}

impl Reopened {
    /// Opens it, as every command does when no node runs.
    ///
    /// # Errors
    /// When the store cannot be opened, or a node still runs on it.
    pub fn open(folder: &Folder) -> anyhow::Result<Self> {
        let disk = Arc::new(RealDisk::open(folder.store_path())?);
        let (store, _, _) = Store::open(disk, &StoreOptions::new(folder.network(), folder.issuer()))?;
        let answers = Answers { reader: store.reader(), facts: Arc::new(Facts::of(folder)?), live: None };
        Ok(Self { answers, store })
    }

    /// Closes it.
    ///
    /// # Errors
    /// Of the disk.
    pub fn close(self) -> anyhow::Result<()> {
        Ok(self.store.close()?)
    }

    /// Counts what is there: every reading is read back, and its counter must be the next.
    ///
    /// # Errors
    /// When something cannot be read, or a counter has a gap.
    pub fn count(&self) -> anyhow::Result<Counts> {
        let reader = &self.answers.reader;
        let mut counts = Counts { transactions: reader.next_number()?, ..Counts::default() };
        counts.tips = reader.tips()?.len() as u64;
        while reader.own_batch(counts.batches)?.is_some() {
            counts.batches += 1;
        }
        for stream in reader.streams()? {
            let mut expected = 0;
            for reading in reader.readings(&stream.name, Range::default())? {
                let got = reading?.reading.counter;
                ensure!(got == expected, "stream {:?} has counter {got}, expected {expected}", stream.name);
                expected += 1;
            }
            ensure!(
                expected == stream.next_counter,
                "stream {:?} holds {expected} readings, expected {}, as its counter says",
                stream.name,
                stream.next_counter
            );
            counts.readings += expected;
            counts.streams += 1;
        }
        Ok(counts)
    }

    /// Has this stream a reading?
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn has_reading(&self, stream: &str) -> anyhow::Result<bool> {
        let streams = self.answers.reader.streams()?;
        Ok(streams.iter().any(|known| known.name == stream && known.newest.is_some()))
    }

    /// One of its streams that has a reading.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn some_stream(&self) -> anyhow::Result<Option<String>> {
        let streams = self.answers.reader.streams()?;
        Ok(streams.into_iter().find(|stream| stream.newest.is_some()).map(|stream| stream.name))
    }

    /// All readings of a stream.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn readings(&self, stream: &str) -> anyhow::Result<Vec<StreamReading>> {
        Ok(self.answers.reader.readings(stream, Range::default())?.collect::<Result<_, _>>()?)
    }

    /// The proof file of the last reading of a stream, and that reading.
    ///
    /// # Errors
    /// When there is no reading, or the last one is in no transaction.
    pub fn prove_last(&self, stream: &str) -> anyhow::Result<Last> {
        let range = Range { last: Some(1), ..Range::default() };
        let last = self.answers.reader.readings(stream, range)?.next().transpose()?;
        let last = last.with_context(|| format!("stream {stream:?} has no reading"))?;
        let proof = self.answers.prove(&ProofQuery { stream: stream.to_owned(), at: None })?;
        ensure!(
            proof.about.counter == last.reading.counter,
            "the last reading of {stream:?} has counter {}, and only {} is in a transaction: the disk was too slow for \
             the open batch to be signed before the gateway stopped. Nothing is lost; run the demo again",
            last.reading.counter,
            proof.about.counter
        );
        Ok(Last { bytes: proof.bytes, stream: stream.to_owned(), reading: last.reading })
    }
}

/// What a data folder holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Streams.
    pub streams: u64,
    /// Readings, all streams together.
    pub readings: u64,
    /// Batches that are in transactions.
    pub batches: u64,
    /// Transactions.
    pub transactions: u64,
    /// Tips.
    pub tips: u64,
}

impl Counts {
    /// Adds what another gateway's folder holds. Of tips each folder has its own, and they say nothing together.
    pub fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.readings += other.readings;
        self.batches += other.batches;
    }
}

/// The last reading and its proof.
#[derive(Debug, Clone)]
pub struct Last {
    /// The proof file.
    pub bytes: Vec<u8>,
    /// The stream.
    pub stream: String,
    /// The reading, as the store has it.
    pub reading: Reading,
}

/// A proof file with one byte changed.
#[derive(Debug, Clone)]
pub struct Tampered {
    /// The file.
    pub bytes: Vec<u8>,
    /// Which byte.
    pub at: usize,
}

/// Place of the value in a reading's fixed layout (see `selvedge_core::reading`).
const VALUE_AT: usize = 40;

/// Changes one byte of a proof file, where it tells the most: within the reading's value.
///
/// # Errors
/// When it is no proof file.
pub fn tamper(bytes: &[u8]) -> anyhow::Result<Tampered> {
    let proof = Proof::from_bytes(bytes)?;
    let block = bytes.windows(READING_BYTES).position(|window| window == proof.block);
    // Of a float the highest bit of the mantissa: the number grows or shrinks by up to a half, and stays one.
    let at = block.context("the proof file does not hold its reading as it is")? + VALUE_AT + 6;
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x08;
    Ok(Tampered { bytes, at })
}

/// The value that a proof file claims, with its unit, whether or not the proof holds.
pub fn claimed(bytes: &[u8]) -> Option<String> {
    let proof = Proof::from_bytes(bytes).ok()?;
    let reading = Reading::from_block(proof.block.as_slice().try_into().ok()?, None).ok()?;
    let descriptor: Descriptor = codec::decode(&proof.descriptor).ok()?;
    let value = scaled(&reading.value, &descriptor)?;
    Some(format!("{value} {}", unit_text(&descriptor.unit)).trim_end().to_owned())
}

/// What a forger made.
#[derive(Debug)]
pub struct Forged {
    /// His network.
    pub network: NetworkId,
    /// His proof file.
    pub last: Last,
}

/// What anybody can do: invents a whole network with the same names, and a gateway in it that signs the same
/// readings, except that the last one is another. Nothing in it is fake but the keys: it is made by `init` and a
/// gateway, from readings that were handed to it.
///
/// # Errors
/// When the forger's gateway cannot be made or run.
pub async fn forge(
    path: &Path,
    names: &Names,
    stream: &str,
    readings: &[StreamReading],
) -> anyhow::Result<Forged> {
    let descriptor = readings.last().context("there is nothing to forge")?.descriptor.as_ref().clone();
    let folder = new_network(path, names, None)?;
    // A forger reads no device and has no peers; and of his clock he says what he likes.
    let settings = config::parse(PACE).map_err(|findings| anyhow::anyhow!("{findings:?}"))?;
    let settings = config::Settings { clock: clock::Trust::Assume, ..settings };
    let gateway = Gateway::start(&folder, settings, None).await?;
    let signed = sign_all(&gateway, descriptor, readings).await;
    gateway.stop().await?;
    signed?;
    let reopened = Reopened::open(&folder)?;
    let last = reopened.prove_last(stream)?;
    reopened.close()?;
    Ok(Forged { network: folder.network().id(), last })
}

async fn sign_all(
    gateway: &Gateway,
    descriptor: Descriptor,
    readings: &[StreamReading],
) -> anyhow::Result<()> {
    let stream = StreamHandle(0);
    gateway.engine().describe(stream, descriptor, false).await?;
    let count = readings.len();
    let copies = readings.iter().enumerate().map(|(at, StreamReading { reading, .. })| NewReading {
        stream,
        value: if at + 1 == count { altered(&reading.value) } else { reading.value.clone() },
        quality: reading.quality,
        flags: 0,
        status: reading.status,
        source_time_ns: reading.source_time_ns,
        receive_time_ns: reading.receive_time_ns,
    });
    let copies: Vec<NewReading> = copies.collect();
    for chunk in copies.chunks(SUBMIT_READINGS_MAX) {
        match gateway.engine().submit(chunk.to_vec()).await? {
            Outcome::Durable => {}
            outcome => bail!("the forger's own gateway did not take his readings: {outcome:?}"),
        }
    }
    Ok(())
}

/// Another value of the same kind.
fn altered(value: &Value) -> Value {
    match value {
        Value::Float(float) => Value::Float(float / 2.0),
        Value::Int(int) => Value::Int(int ^ 1),
        Value::Unsigned(int) => Value::Unsigned(int ^ 1),
        Value::Bool(bit) => Value::Bool(!bit),
        Value::None | Value::Text(_) | Value::Bytes(_) => Value::Float(0.0),
    }
}

/// Three proof files.
#[derive(Debug, Clone)]
pub struct Files {
    /// The true one.
    pub last: PathBuf,
    /// The same with one byte changed.
    pub tampered: PathBuf,
    /// One of a network with the same names.
    pub forged: PathBuf,
}

impl Files {
    /// Their places in a folder.
    pub fn within(folder: &Path) -> Self {
        let place = |name| folder.join(name);
        Self { last: place("last.proof"), tampered: place("tampered.proof"), forged: place("forged.proof") }
    }

    /// Writes them.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(&self, last: &[u8], tampered: &[u8], forged: &[u8]) -> anyhow::Result<()> {
        for (path, bytes) in [(&self.last, last), (&self.tampered, tampered), (&self.forged, forged)] {
            write(path, bytes)?;
        }
        Ok(())
    }
}

/// Writes a file, and the folder around it.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// What `verify` says of a file.
pub type Said = Result<Verdict, Refusal>;

/// A proof from the folder of another gateway than the first.
#[derive(Debug)]
pub struct Other {
    /// The gateway.
    pub gateway: String,
    /// What it proves.
    pub last: Last,
    /// What `verify` says of it.
    pub said: Said,
}

/// What `verify` says of the files.
#[derive(Debug)]
pub struct Judgement {
    /// Of the true proof.
    pub last: Said,
    /// Of the one with a byte changed.
    pub tampered: Said,
    /// Of the forger's.
    pub forged: Said,
    /// Of the forger's, by one who trusts the forger.
    pub forged_among_forgers: Said,
    /// Of the proofs of the other gateways.
    pub others: Vec<Other>,
}

impl Judgement {
    /// Reads the files back and verifies each against the network that is trusted; the forger's also against his own,
    /// since only a forgery without a fault of its own shows anything when it is refused.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn of(files: &Files, trusted: NetworkId, forger: NetworkId) -> anyhow::Result<Self> {
        let verify = |path: &Path, network| {
            verify_file(path, Trust::Network(network))
                .with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(Self {
            last: verify(&files.last, trusted)?,
            tampered: verify(&files.tampered, trusted)?,
            forged: verify(&files.forged, trusted)?,
            forged_among_forgers: verify(&files.forged, forger)?,
            others: Vec::new(),
        })
    }

    /// Judges the proof of another gateway as well, from its file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn add(
        &mut self,
        path: &Path,
        gateway: String,
        last: Last,
        trusted: NetworkId,
    ) -> anyhow::Result<()> {
        let said = verify_file(path, Trust::Network(trusted))
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.others.push(Other { gateway, last, said });
        Ok(())
    }

    /// Are the true proofs verified, and does each show the reading that its store holds?
    pub fn proof_verified(&self, last: &Last) -> bool {
        shows(&self.last, last) && self.others.iter().all(|other| shows(&other.said, &other.last))
    }

    /// Is the changed one refused, where the unchanged one is not?
    pub fn tampered_proof_rejected(&self) -> bool {
        self.tampered.is_err() && self.last.is_ok()
    }

    /// Is the forger's refused, where one who trusts him would accept it?
    pub fn forged_network_rejected(&self, forged: &Last) -> bool {
        self.forged.is_err() && shows(&self.forged_among_forgers, forged)
    }
}

/// Verified, down to a network that is trusted, and of this very reading?
fn shows(said: &Said, last: &Last) -> bool {
    said.as_ref().is_ok_and(|verdict| {
        verdict.exit_code() == 0
            && verdict.reading.stream == last.stream
            && verdict.reading.counter == last.reading.counter
            && verdict.reading.raw == last.reading.value
            && verdict.reading.receive_time_ns == last.reading.receive_time_ns
    })
}
