//! The machines of a running gateway: their adapters, the handles of their streams, and another configuration while all
//! else goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Context as _;
use edge_adapters::supervisor::Devices;
use edge_adapters::write::{Arming, Desk};
use edge_adapters::{
    Changes, Clock, Delivery, Device, Source, Supervisor, SystemClock, all_streams, delivery_queue,
};
use selvedge_core::border::{Origin, Outcome, StreamHandle};
use selvedge_core::limits::STREAMS_MAX;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::engine::Engine;
use crate::folder::Folder;

/// The adapters, and what hands over their readings.
#[derive(Debug)]
pub(super) struct Machines {
    engine: Engine,
    /// Names the gateway to servers.
    gateway: String,
    supervisor: Supervisor,
    handles: Handles,
    /// Ends the adapters.
    stop: CancellationToken,
    pump: JoinHandle<()>,
    /// Kept, so that another configuration can bring devices where there are none.
    deliveries: mpsc::Sender<Delivery>,
}

/// Which device has which handles. They are numbers below [`STREAMS_MAX`], and those of a device that went are given to
/// another.
#[derive(Debug, Default)]
struct Handles(BTreeMap<String, Vec<StreamHandle>>);

impl Handles {
    /// As many as the source has streams, in place of those that its device had.
    fn take(&mut self, source: &dyn Source) -> anyhow::Result<Vec<StreamHandle>> {
        self.0.remove(source.device());
        let taken: BTreeSet<u32> = self.0.values().flatten().map(|handle| handle.0).collect();
        let wanted = all_streams(source).len();
        let free = (0..STREAMS_MAX as u32).filter(|handle| !taken.contains(handle)).map(StreamHandle);
        let handles: Vec<StreamHandle> = free.take(wanted).collect();
        anyhow::ensure!(handles.len() == wanted, "more than {STREAMS_MAX} streams, those of writes included");
        self.0.insert(source.device().to_owned(), handles.clone());
        Ok(handles)
    }
}

impl Machines {
    /// Starts the adapters. `origins` are what was acknowledged last.
    pub(super) async fn start(
        engine: &Engine,
        folder: &Folder,
        sources: &[Arc<dyn Source>],
        origins: &[Origin],
    ) -> anyhow::Result<Self> {
        let gateway = selvedge_crypto::ids::to_text(&folder.issuer());
        let mut handles = Handles::default();
        let mut devices = Vec::new();
        say_doubts(sources);
        for source in sources {
            source.begin(&edge_adapters::Start { gateway: &gateway, origins, is_running: false });
            let streams = describe(engine, &mut handles, source).await?;
            devices.push(Device { source: Arc::clone(source), streams });
        }
        let (sender, deliveries) = delivery_queue();
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).context("the system gives no randomness")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let arming = Arming::new(folder.arming_path(), Arc::clone(&clock));
        let (seed, stop) = (u64::from_le_bytes(seed), CancellationToken::new());
        let supervisor = Supervisor::start_armable(devices, &sender, &clock, seed, &stop, Some(arming));
        let pump = tokio::spawn(pump(engine.clone(), deliveries));
        Ok(Self { engine: engine.clone(), gateway, supervisor, handles, stop, pump, deliveries: sender })
    }

    /// For reading figures.
    pub(super) fn devices(&self) -> Devices {
        self.supervisor.devices()
    }

    /// For writing to devices.
    pub(super) fn desk(&self) -> Desk {
        self.supervisor.desk()
    }

    /// Goes over to these sources; devices whose tables are the same are not disturbed.
    pub(super) async fn change(&mut self, sources: Vec<Arc<dyn Source>>) -> anyhow::Result<Changes> {
        let Self { engine, gateway, supervisor, handles, .. } = self;
        say_doubts(&sources);
        let names: BTreeSet<&str> = sources.iter().map(|source| source.device()).collect();
        // Handles of what stops are free for all that starts: they are given out only after it has stopped.
        let kept = supervisor.untouched(&sources);
        handles.0.retain(|device, _| kept.contains(device));
        let before: BTreeMap<String, Arc<dyn Source>> = names
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), Arc::clone(supervisor.source(name)?))))
            .collect();
        let describe = async |source: &Arc<dyn Source>| {
            source.begin(&edge_adapters::Start { gateway, origins: &[], is_running: true });
            if let Some(before) = before.get(source.device()) {
                source.succeed(&**before);
            }
            describe(engine, handles, source).await
        };
        supervisor.change(sources, describe).await
    }

    /// Ends the adapters, and hands over what they delivered.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.supervisor.stopped().await;
        drop(self.deliveries);
        // The adapters are gone, so the queue ends; what is in it is handed over.
        let _ = self.pump.await;
    }
}

fn say_doubts(sources: &[Arc<dyn Source>]) {
    for doubt in edge_adapters::config::doubts(sources) {
        tracing::warn!("{doubt}");
    }
}

/// Makes the streams of a source known to the core; returns their handles.
async fn describe(
    engine: &Engine,
    handles: &mut Handles,
    source: &Arc<dyn Source>,
) -> anyhow::Result<Vec<StreamHandle>> {
    let streams = handles.take(&**source)?;
    for (handle, spec) in streams.iter().zip(all_streams(&**source)) {
        engine.describe(*handle, spec.descriptor, spec.urgent).await?;
    }
    Ok(streams)
}

/// Hands deliveries to the core in their order, many under way at once, and acknowledges each when it is durable.
async fn pump(engine: Engine, mut deliveries: mpsc::Receiver<Delivery>) {
    while let Some(Delivery { readings, origins, ack }) = deliveries.recv().await {
        if readings.is_empty() && origins.is_empty() {
            // Only the question whether everything before it was handed over.
            let _ = ack.map(|ack| ack.send(()));
            continue;
        }
        let Ok(outcome) = engine.submit_later(readings, origins).await else {
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
