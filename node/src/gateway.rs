//! One running gateway: store, network, engine, adapters and the local API, started and stopped in their order.
//!
//! Stopping: adapters end, what they delivered is handed over, the open batch goes into a transaction if that takes
//! no longer than a few seconds, the last commit is durable, peers get a goodbye, the API ends last.
//!
//! # Layout
//! - this file: starting and stopping
//! - [`devices`]: the adapters, and another configuration of them
//! - [`network`]: who may connect, whom to dial, and the desk for those who join
//! - [`publisher`]: what only the running node knows, for questions
//! - [`rotate`]: the next key

mod devices;
mod network;
mod publisher;
mod rotate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use edge_adapters::{Changes, Source};
use selvedge_core::border::{Config, Restored, StartCheck};
use selvedge_crypto::Signer;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::answers::Facts;
use crate::answers::live::Live;
use crate::api;
use crate::chain;
use crate::config::Settings;
use crate::engine::{self, Engine, Running, SigningKeys};
use crate::folder::Folder;
use crate::net::{Net, NetHandle};
use crate::store::{RealDisk, StoreError, StoreReader};
use devices::Machines;
use publisher::Publisher;
pub use rotate::{RotateAnswer, Rotator};

/// Others' transactions may wait this long for a sync: they can be fetched again.
const FOREIGN_WITHIN: Duration = Duration::from_secs(1);
/// An approval of others' payloads comes after a random delay of up to this.
const APPROVE_WITHIN: Duration = Duration::from_secs(2);
/// When stopping, the open batch has this long to get into a transaction.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);
/// The data folder may be taken for this long by a question, and is looked at this often.
const LOCK_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    engine: Engine,
    running: Option<Running>,
    live: watch::Receiver<Arc<Live>>,
    /// Ends everything but the adapters.
    stop_all: CancellationToken,
    /// `None` once the adapters were stopped.
    machines: Option<Machines>,
    net: Option<Net>,
    others: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Starts it. When this returns, the store is open, the adapters run and the API answers.
    ///
    /// # Errors
    /// When keys, store or socket cannot be opened.
    pub async fn start(
        folder: &Folder,
        settings: Settings,
        passphrase: Option<&str>,
    ) -> anyhow::Result<Self> {
        let disk = Arc::new(open_disk(folder).await?);
        let listener = api::bind(&folder.socket_path()).await?;
        let opened = chain::open(folder, disk.clone())?;
        engine::log_open(&opened.report);
        if opened.own_newest(folder).is_some() && !folder.has_issued()? {
            folder.note_issued()?;
        }
        let chain::Opened { store, restored, .. } = opened;
        let signers = signers(folder, &restored, passphrase)?;
        let first_key = signers.get(&0).context("the folder holds no key")?;
        let network =
            network::start(folder, &settings.network, first_key, passphrase, store.reader(), &restored)?;
        let check = network::start_check(folder, &settings.network, network.as_ref())?;
        let config = core_config(folder, &settings, check, &signers)?;
        let (net, for_engine, porter) = match network {
            Some(network::Started { net, for_engine, porter }) => (Some(net), Some(for_engine), Some(porter)),
            None => (None, None, None),
        };
        let origins = restored.origins.clone();
        let keys = SigningKeys::new([]);
        for (number, signer) in signers {
            keys.add(number, signer);
        }
        let clock = engine::clock::Clock::new(settings.clock);
        let parts =
            engine::Parts { config, disk, store, restored, keys: keys.clone(), clock, network: for_engine };
        let (engine, running) = Engine::start(parts)?;

        let machines = Machines::start(&engine, folder, &settings.devices, &origins).await?;
        let stop_all = CancellationToken::new();
        let handle = net.as_ref().map(Net::handle);
        let publisher = Publisher::new(&engine, machines.devices(), handle, folder, settings.batch)?;
        let publisher = publisher.listening(net.as_ref().map(Net::local_addr));
        let (live_out, live) = watch::channel(Arc::new(publisher.live()));
        let publishing = publisher.run(live_out, engine.events(), stop_all.clone());
        let rotator = Arc::new(Rotator::new(folder, passphrase, keys, &engine));
        let state = api::ApiState::new(engine.reader(), Facts::of(folder)?, live.clone())
            .with_rotator(rotator)
            .with_desk(machines.desk());
        let mut others =
            vec![tokio::spawn(publishing), tokio::spawn(serve(listener, state, stop_all.clone()))];
        others.extend(porter.map(|porter| tokio::spawn(porter.run(stop_all.clone()))));
        Ok(Self { engine, running: Some(running), live, stop_all, machines: Some(machines), net, others })
    }

    /// Where it listens for peers; `None`: it has no network.
    pub fn network_address(&self) -> Option<SocketAddr> {
        self.net.as_ref().map(Net::local_addr)
    }

    /// Its connections.
    pub fn network(&self) -> Option<NetHandle> {
        self.net.as_ref().map(Net::handle)
    }

    /// The figures of the running node.
    pub fn live(&self) -> watch::Receiver<Arc<Live>> {
        self.live.clone()
    }

    /// The engine, for submissions and events.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Reads what is durable.
    pub fn reader(&self) -> StoreReader {
        self.engine.reader()
    }

    /// Resolves when the core halted by itself.
    pub async fn halted(&self) {
        let mut snapshot = self.engine.snapshot();
        // The sender lives as long as the loop; when it is gone, the loop has ended.
        let _ = snapshot.wait_for(|s| s.halted.is_some()).await;
    }

    /// Goes over to these devices: those whose tables are the same are not disturbed.
    ///
    /// # Errors
    /// When there are more streams than a gateway may have; the devices that were started until then run.
    pub async fn change_devices(&mut self, sources: Vec<Arc<dyn Source>>) -> anyhow::Result<Changes> {
        self.machines.as_mut().context("the adapters were stopped")?.change(sources).await
    }

    /// Ends the adapters, hands over what they delivered, and closes the open batch. All else goes on.
    pub async fn stop_readings(&mut self) {
        if let Some(machines) = self.machines.take() {
            machines.stop().await;
        }
        // A loop that is gone has nothing open.
        let _ = self.engine.flush().await;
    }

    /// Stops it, in order.
    ///
    /// # Errors
    /// Why the core halted, or why the store could not be closed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_readings().await;
        self.engine.stop(FLUSH_WITHIN).await;
        let running = self.running.take();
        let joined = tokio::task::spawn_blocking(move || running.map_or(Ok(()), Running::join)).await?;
        if let Some(net) = self.net.take() {
            net.stop("the gateway stops").await;
        }
        self.stop_all.cancel();
        for task in self.others {
            // A panic in them was reported by its own task.
            let _ = task.await;
        }
        joined.map_err(|why| anyhow::anyhow!("the node stopped by itself: {why}"))
    }
}

/// Takes the data folder. A question that found no node running holds it for some milliseconds: no reason to fail.
async fn open_disk(folder: &Folder) -> Result<RealDisk, StoreError> {
    let started = Instant::now();
    loop {
        match RealDisk::open(folder.store_path()) {
            Err(StoreError::Locked { .. }) if started.elapsed() < LOCK_WITHIN && !is_running(folder) => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            opened => return opened,
        }
    }
}

/// Does a node answer on this folder?
fn is_running(folder: &Folder) -> bool {
    std::os::unix::net::UnixStream::connect(folder.socket_path()).is_ok()
}

/// In microseconds.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn core_config(
    folder: &Folder,
    settings: &Settings,
    start_check: StartCheck,
    signers: &Signers,
) -> anyhow::Result<Config> {
    Ok(Config {
        genesis: folder.genesis(),
        genesis_bytes: folder.genesis_bytes(),
        issuer: folder.issuer(),
        salt_key: *folder.salt_key()?,
        batch: settings.batch,
        journal_within_us: micros(settings.sync_within),
        foreign_within_us: micros(FOREIGN_WITHIN),
        tips: settings.tips,
        approve_delay_max_us: micros(APPROVE_WITHIN),
        start_check,
        enrolment: folder.enrolment().map(|bytes| bytes.to_vec()),
        signing_keys: Some(signers.values().map(|signer| signer.public_key().clone()).collect()),
        software: concat!("selvedge ", env!("CARGO_PKG_VERSION")).to_owned(),
        window_records: selvedge_core::limits::WINDOW_RECORDS,
    })
}

/// The keys of the folder, by number.
type Signers = BTreeMap<u32, Arc<dyn Signer>>;

/// The keys of the folder. None may be another than the own chain names; one that is missing is warned of, and the core
/// knows what to do without it.
fn signers(folder: &Folder, restored: &Restored, passphrase: Option<&str>) -> anyhow::Result<Signers> {
    let keys = folder.held_keys(passphrase)?;
    let signers: Signers = keys
        .iter()
        .map(|(number, key)| Ok((*number, selvedge_crypto::signer(key)?)))
        .collect::<anyhow::Result<_>>()?;
    let own = restored.issuers.iter().find(|state| state.issuer == folder.issuer());
    let brought = own.map_or(&[][..], |own| &own.keys).iter();
    let mut named: Vec<_> = brought.filter(|key| key.key_number > 0).collect();
    named.sort_by_key(|key| key.key_number);
    // A chain that was forked may have two of one number; then nothing is signed anyway.
    named.dedup_by_key(|key| key.key_number);
    let first = signers.get(&0).map(|first| first.public_key().clone());
    let further = named.into_iter().map(|key| key.key.as_ref().clone());
    let publics: Vec<_> = first.into_iter().chain(further).collect();
    if let Some(warning) = crate::rotate::check(&keys, &publics, folder)?.warning(folder) {
        tracing::warn!("{warning}");
    }
    Ok(signers)
}

async fn serve(listener: UnixListener, state: api::ApiState, stop: CancellationToken) {
    if let Err(error) = api::serve(listener, state, stop.cancelled_owned()).await {
        tracing::error!(%error, "the local API ended");
    }
}
