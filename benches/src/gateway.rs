//! A gateway in a folder: its network, its store, its engine, and the check of what it kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use selvedge::engine::clock::{Clock, Trust};
use selvedge::engine::{Engine, Parts, Running, SigningKeys};
use selvedge::store::{RealDisk, Store, StoreOptions, StoreReader};
use selvedge_core::border::{BatchPolicy, Config, NewReading, StartCheck, StreamHandle, TipPolicy};
use selvedge_core::codec;
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::reading::{Reading, Value};
use selvedge_core::scheme::{Scheme, transaction_message};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::Descriptor;
use selvedge_core::transaction::Envelope;
use selvedge_core::{Issuer, Network, limits};
use selvedge_crypto::{SecretKey, Signer, default_verifier, signer};

/// Keys of one lone gateway, by fixed seeds: nothing here is secret.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) genesis_bytes: Arc<[u8]>,
    pub(crate) network: Network,
    pub(crate) signer: Arc<dyn Signer>,
}

impl Identity {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let organisation = signer(&SecretKey::from_seed(Scheme::MlDsa65, &[1; 32]))?;
        let gateway = signer(&SecretKey::from_seed(Scheme::MlDsa44, &[2; 32]))?;
        let genesis = Genesis {
            version: 0,
            network_name: "bench".into(),
            random: [3; 32],
            organisations: vec![Organisation {
                name: "Bench".into(),
                key: organisation.public_key().clone(),
            }],
            members: vec![Member {
                organisation: 0,
                key: gateway.public_key().clone(),
                name: "g1".into(),
                roles: vec![role::GATEWAY.into()],
            }],
            committee: vec![0],
        };
        let bytes = genesis.to_bytes();
        let network = Network::new(Genesis::network_id_of(&bytes));
        // The library's random source takes 20 ms of CPU to start, once a process, at the first signature.
        gateway.sign(b"warm")?;
        Ok(Self { genesis: Arc::new(genesis), genesis_bytes: bytes.into(), network, signer: gateway })
    }

    pub(crate) fn issuer(&self) -> Issuer {
        self.signer.public_key().issuer()
    }

    fn open(&self, folder: &Path) -> anyhow::Result<(Arc<RealDisk>, Store, selvedge_core::border::Restored)> {
        let disk = Arc::new(RealDisk::open(folder)?);
        let (store, restored, _) =
            Store::open(disk.clone(), &StoreOptions::new(&self.network, self.issuer()))?;
        Ok((disk, store, restored))
    }

    /// Starts the daemon's engine on a store in `folder`, as `selvedge run` does.
    pub(crate) fn start(
        &self,
        folder: &Path,
        batch: BatchPolicy,
        journal_within: Duration,
    ) -> anyhow::Result<(Engine, Running)> {
        let (disk, store, restored) = self.open(folder)?;
        let config = Config {
            genesis: Arc::clone(&self.genesis),
            genesis_bytes: Arc::clone(&self.genesis_bytes),
            issuer: self.issuer(),
            salt_key: [4; 32],
            batch,
            journal_within_us: journal_within.as_micros() as u64,
            foreign_within_us: 1_000_000,
            tips: TipPolicy::default(),
            approve_delay_max_us: 2_000_000,
            start_check: StartCheck::None,
            enrolment: None,
            signing_keys: None,
            software: "benches".to_owned(),
            window_records: limits::WINDOW_RECORDS,
        };
        let clock = Clock::new(Trust::Assume);
        let keys = SigningKeys::new([Arc::clone(&self.signer)]);
        let parts = Parts { config, disk, store, restored, keys, clock, network: None };
        Ok(Engine::start(parts)?)
    }

    /// Opens the store again and checks that it holds exactly what was submitted: nothing left outside a
    /// transaction, every transaction signed by this gateway, every root the root of the readings in the archive,
    /// every stream's counters without a gap, every reading as it was handed in.
    ///
    /// # Errors
    /// The first thing that is not so.
    pub(crate) fn check(&self, folder: &Path, expected: &Expected) -> anyhow::Result<Kept> {
        let (_disk, store, _) = self.open(folder)?;
        let reader = store.reader();
        let backlog = reader.backlog()?;
        ensure!(backlog.readings == 0, "{} readings are in no transaction", backlog.readings);
        let mut kept = Kept::default();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        while let Some(sealed) = self.batch(&reader, kept.batches)? {
            check_readings(&sealed, expected, &mut seen)?;
            kept.batches += 1;
            kept.readings += sealed.blocks.len();
        }
        for (stream, readings) in &expected.0 {
            let got = seen.get(stream).copied().unwrap_or(0);
            ensure!(
                got == readings.len(),
                "{stream}: {got} readings are kept of {} submitted",
                readings.len()
            );
        }
        let usage = reader.disk_usage()?;
        kept.archive_bytes = usage.archive_bytes;
        store.close()?;
        Ok(kept)
    }

    /// An own batch from the archive, after its transaction, its signature and its root were checked.
    fn batch(&self, reader: &StoreReader, number: u64) -> anyhow::Result<Option<SealedBatch>> {
        let Some(own) = reader.own_batch(number)? else { return Ok(None) };
        let bytes = reader.envelope(own.transaction)?.context("a batch without its transaction")?;
        let (envelope, body) = Envelope::open(&bytes)?;
        let id = self.network.transaction_id(envelope.body);
        let message = transaction_message(envelope.scheme, envelope.key_number, self.network.id(), id);
        let key = self.signer.public_key();
        ensure!(
            default_verifier().verify(key, &message, envelope.signature),
            "the signature of batch {number} does not verify"
        );
        ensure!(
            body.issuer == self.issuer() && body.sequence == number,
            "batch {number} is out of its place"
        );
        ensure!(body.kind == PayloadKind::Batch as u16, "the transaction of batch {number} carries none");
        let payload: Batch = codec::decode(&body.payload)?;
        let sealed = reader.archive_segment(payload.segment)?;
        ensure!(sealed.root() == payload.root, "the root of batch {number} is not that of its readings");
        ensure!(sealed.streams == payload.streams, "the streams of batch {number} are others in the archive");
        Ok(Some(sealed))
    }
}

/// What was submitted, stream by stream: value and source time.
#[derive(Debug, Default)]
pub(crate) struct Expected(BTreeMap<String, Vec<(Value, i64)>>);

impl Expected {
    pub(crate) fn add(&mut self, descriptors: &[Descriptor], readings: &[NewReading]) {
        for reading in readings {
            let name = &descriptors[reading.stream.0 as usize].name;
            let one = (reading.value.clone(), reading.source_time_ns);
            match self.0.get_mut(name) {
                Some(stream) => stream.push(one),
                None => drop(self.0.insert(name.clone(), vec![one])),
            }
        }
    }

    pub(crate) fn of(descriptors: &[Descriptor], submissions: &[Vec<NewReading>]) -> Self {
        let mut expected = Self::default();
        for readings in submissions {
            expected.add(descriptors, readings);
        }
        expected
    }
}

/// What the check found.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) batches: u64,
    pub(crate) readings: usize,
    pub(crate) archive_bytes: u64,
}

fn check_readings(
    sealed: &SealedBatch,
    expected: &Expected,
    seen: &mut BTreeMap<String, usize>,
) -> anyhow::Result<()> {
    let mut blocks = sealed.blocks.iter();
    for (span, descriptor) in sealed.streams.iter().zip(&sealed.descriptors) {
        let name = codec::decode::<Descriptor>(descriptor)?.name;
        let Some(readings) = expected.0.get(&name) else { bail!("{name}: nothing of it was submitted") };
        let next = seen.entry(name.clone()).or_default();
        ensure!(span.first == *next as u64, "{name}: counter {} follows {} readings", span.first, *next);
        for block in blocks.by_ref().take(span.count as usize) {
            let reading = Reading::from_block(block, None)?;
            ensure!(reading.counter == *next as u64, "{name}: counter {} is out of order", reading.counter);
            let kept = (reading.value, reading.source_time_ns);
            ensure!(
                readings.get(*next) == Some(&kept),
                "{name}: reading {} is not what was submitted",
                *next
            );
            *next += 1;
        }
    }
    ensure!(blocks.next().is_none(), "readings beyond the stream table of batch {}", sealed.number);
    Ok(())
}

/// Makes all streams known, by the order of their handles.
pub(crate) async fn describe(engine: &Engine, descriptors: &[Descriptor]) -> anyhow::Result<()> {
    for (handle, descriptor) in (0..).zip(descriptors) {
        engine.describe(StreamHandle(handle), descriptor.clone(), false).await?;
    }
    Ok(())
}

/// Ends the engine: what was submitted is in transactions, and the store is closed.
pub(crate) async fn stop(engine: Engine, running: Running) -> anyhow::Result<()> {
    engine.stop(Duration::from_mins(1)).await;
    drop(engine);
    tokio::task::spawn_blocking(move || running.join()).await?.map_err(anyhow::Error::msg)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plant::Plant;

    /// What would be printed as a rate must be refused when a reading is missing, doubled or another.
    #[test]
    fn a_store_that_holds_something_else_is_refused() {
        let identity = Identity::new().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut plant = Plant::new(2, 5, 1);
        let descriptors = plant.descriptors();
        let mut submissions = plant.submissions(100);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let policy = BatchPolicy { readings_max: 40, ..BatchPolicy::default() };
            let (engine, running) = identity.start(folder.path(), policy, Duration::ZERO).unwrap();
            describe(&engine, &descriptors).await.unwrap();
            for readings in submissions.clone() {
                engine.submit(readings).await.unwrap();
            }
            stop(engine, running).await.unwrap();
        });
        let check = |submissions: &[Vec<NewReading>]| {
            identity.check(folder.path(), &Expected::of(&descriptors, submissions))
        };
        let kept = check(&submissions).unwrap();
        assert_eq!((kept.readings, kept.batches), (100, 3));
        assert!(check(&submissions[..19]).is_err(), "more than was submitted");
        let more = plant.poll();
        submissions.push(more);
        let error = check(&submissions).unwrap_err().to_string();
        assert!(error.contains("10 readings are kept of 11 submitted"), "{error}");
        submissions.pop();
        submissions[7][3].source_time_ns += 1;
        let error = check(&submissions).unwrap_err().to_string();
        assert!(error.contains("is not what was submitted"), "{error}");
    }
}
