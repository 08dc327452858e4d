//! One running gateway: store, engine, adapters and the local API, started and stopped in their order.
//!
//! Stopping: adapters end, what they delivered is handed over, the open batch goes into a transaction if that takes
//! no longer than a few seconds, the last commit is durable, the API ends last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use edge_adapters::{Delivery, Device, Supervisor, SystemClock, delivery_queue};
use selvedge_core::border::{BatchPolicy, Config, Event, Outcome, StreamHandle};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::answers::Facts;
use crate::answers::live::{EventCounts, Live};
use crate::answers::shown::Time;
use crate::api;
use crate::chain;
use crate::config::Settings;
use crate::engine::{self, Engine, Running, Snapshot};
use crate::folder::Folder;
use crate::store::{RealDisk, StoreError, StoreReader};

/// Others' transactions may wait this long for a sync: they can be fetched again.
const FOREIGN_WITHIN: Duration = Duration::from_secs(1);
/// An approval of others' payloads comes after a random delay of up to this.
const APPROVE_WITHIN: Duration = Duration::from_secs(2);
/// When stopping, the open batch has this long to get into a transaction.
const FLUSH_WITHIN: Duration = Duration::from_secs(5);
/// The data folder may be taken for this long by a question, and is looked at this often.
const LOCK_WITHIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The live figures are made anew this often.
const LIVE_EVERY: Duration = Duration::from_millis(200);

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    engine: Engine,
    running: Option<Running>,
    live: watch::Receiver<Arc<Live>>,
    /// Ends the adapters.
    stop_adapters: CancellationToken,
    /// Ends everything else.
    stop_all: CancellationToken,
    supervisor: Supervisor,
    pump: JoinHandle<()>,
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
        let started = Instant::now();
        let signer = selvedge_crypto::signer(&folder.gateway_key(passphrase)?)?;
        let disk = Arc::new(open_disk(folder).await?);
        let listener = api::bind(&folder.socket_path()).await?;
        let opened = chain::open(folder, disk.clone())?;
        engine::log_open(&opened.report);
        if opened.own_newest(folder).is_some() && !folder.has_issued()? {
            folder.note_issued()?;
        }
        let chain::Opened { store, restored, .. } = opened;
        let config = core_config(folder, &settings)?;
        let clock = engine::clock::Clock::new(settings.clock);
        let parts = engine::Parts { config, disk, store, restored, signer, clock };
        let (engine, running) = Engine::start(parts)?;

        let devices = describe(&engine, &settings).await?;
        let (stop_adapters, stop_all) = (CancellationToken::new(), CancellationToken::new());
        let (sender, deliveries) = delivery_queue();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).context("the system gives no randomness")?;
        let clock: Arc<dyn edge_adapters::Clock> = Arc::new(SystemClock);
        let supervisor =
            Supervisor::start(devices, &sender, &clock, u64::from_le_bytes(seed), &stop_adapters);
        drop(sender);
        let pump = tokio::spawn(pump(engine.clone(), deliveries));
        let publisher = Publisher {
            snapshot: engine.snapshot(),
            devices: supervisor.devices(),
            batch: settings.batch,
            started: Time::now(),
            since: started,
            events: EventCounts::default(),
            folder: folder.clone(),
            has_issued: folder.has_issued()?,
        };
        let (live_out, live) = watch::channel(Arc::new(publisher.live()));
        let publishing = publisher.run(live_out, engine.events(), stop_all.clone());
        let serving = serve(listener, engine.reader(), Facts::of(folder)?, live.clone(), stop_all.clone());
        let others = vec![tokio::spawn(publishing), tokio::spawn(serving)];
        Ok(Self { engine, running: Some(running), live, stop_adapters, stop_all, supervisor, pump, others })
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

    /// Stops it, in order.
    ///
    /// # Errors
    /// Why the core halted, or why the store could not be closed.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        self.stop_adapters.cancel();
        self.supervisor.stopped().await;
        // The adapters are gone, so the queue ends; what is in it is handed over.
        let _ = self.pump.await;
        self.engine.stop(FLUSH_WITHIN).await;
        let running = self.running.take();
        let joined = tokio::task::spawn_blocking(move || running.map_or(Ok(()), Running::join)).await?;
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

fn core_config(folder: &Folder, settings: &Settings) -> anyhow::Result<Config> {
    let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
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
        may_issue: !folder.restored_mark()?,
        window_records: selvedge_core::limits::WINDOW_RECORDS,
    })
}

/// Makes all streams known to the core, and gives each its handle.
async fn describe(engine: &Engine, settings: &Settings) -> anyhow::Result<Vec<Device>> {
    let mut next = 0;
    let mut devices = Vec::new();
    for source in &settings.devices {
        let mut streams = Vec::new();
        for spec in source.streams() {
            let handle = StreamHandle(next);
            next += 1;
            engine.describe(handle, spec.descriptor.clone(), spec.urgent).await?;
            streams.push(handle);
        }
        devices.push(Device { source: source.clone(), streams });
    }
    Ok(devices)
}

/// Hands deliveries to the core, many under way at once, and acknowledges each when it is durable.
async fn pump(engine: Engine, mut deliveries: mpsc::Receiver<Delivery>) {
    while let Some(Delivery { readings, ack }) = deliveries.recv().await {
        let Ok(outcome) = engine.submit_later(readings).await else {
            // The loop is gone: nothing more can be taken, and senders learn it by the closed queue.
            return;
        };
        tokio::spawn(async move {
            match (outcome.await, ack) {
                (Ok(Outcome::Durable), Some(ack)) => drop(ack.send(())),
                (Ok(Outcome::Durable), None) => {}
                (Ok(Outcome::Refused(why)), _) => tracing::error!(%why, "readings were refused"),
                (Ok(Outcome::Unknown) | Err(_), _) => {
                    tracing::error!(
                        "readings may be lost: the store stopped before it said that they are durable"
                    );
                }
            }
        });
    }
}

async fn serve(
    listener: UnixListener,
    reader: StoreReader,
    facts: Facts,
    live: watch::Receiver<Arc<Live>>,
    stop: CancellationToken,
) {
    let state = api::ApiState::new(reader, facts, live);
    if let Err(error) = api::serve(listener, state, stop.cancelled_owned()).await {
        tracing::error!(%error, "the local API ended");
    }
}

/// Puts together what only the running node knows.
struct Publisher {
    snapshot: watch::Receiver<Arc<Snapshot>>,
    devices: edge_adapters::supervisor::Devices,
    batch: BatchPolicy,
    started: Time,
    since: Instant,
    events: EventCounts,
    folder: Folder,
    has_issued: bool,
}

impl Publisher {
    fn live(&self) -> Live {
        let snapshot = self.snapshot.borrow().clone();
        Live {
            ledger: snapshot.ledger.clone(),
            batch: self.batch,
            devices: self.devices.snapshots(),
            started: self.started,
            uptime: self.since.elapsed(),
            synchronised: snapshot.synchronised,
            events: self.events.clone(),
            halted: snapshot.halted.clone(),
            witnessed: snapshot.witnessed.clone(),
        }
    }

    /// The first own transaction is durable: from now on a store without a chain is one that was lost.
    fn note_issued(&mut self, event: &Event) {
        if !self.has_issued && matches!(event, Event::Attached { own: true, .. }) {
            match self.folder.note_issued() {
                Ok(()) => self.has_issued = true,
                // The next start notes it.
                Err(error) => tracing::warn!(%error, "could not note that this gateway has issued"),
            }
        }
    }

    async fn run(
        mut self,
        out: watch::Sender<Arc<Live>>,
        mut events: broadcast::Receiver<Event>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(LIVE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Ok(event) => {
                        self.note_issued(&event);
                        self.events.count(&event, Time::now());
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = ticks.tick() => drop(out.send_replace(Arc::new(self.live()))),
            }
        }
    }
}
