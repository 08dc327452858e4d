//! Runs adapters, each in a task of its own. One that fails or panics is started again, alone, after a wait that
//! grows; the others do not notice.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use selvedge_core::border::StreamHandle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::adapter::{Context, Fault, FaultKind, Head, Source, StreamSpec, all_streams};
use crate::backoff::{Backoff, BackoffPolicy, seed_for};
use crate::clock::Clock;
use crate::health::{DeviceSnapshot, DeviceState, Health};
use crate::outlet::{Delivery, Outlet, View};
use crate::status_code;
use crate::write::desk::Door;
use crate::write::{Arming, Desk, Writes};

/// An adapter that ran this long had got going: its next wait is the first again.
const STEADY_AFTER: Duration = Duration::from_mins(5);
/// What became of a write that was under way at a change is recorded within this time, or not at all.
const RECORDED_WITHIN: Duration = Duration::from_secs(2);
/// An adapter that was told to stop and has not after this long is cut off. What it held back may then wait for the node for
/// as long once more.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A device to run: its source, and the handles of its streams in the order of [`all_streams`].
#[derive(Debug)]
pub struct Device {
    /// The source.
    pub source: Arc<dyn Source>,
    /// The handles.
    pub streams: Vec<StreamHandle>,
}

/// All adapters of a gateway. Dropping it stops them.
#[derive(Debug)]
pub struct Supervisor {
    running: Vec<Running>,
    devices: Devices,
    desk: Desk,
    /// Weak, so that the queue ends with the last adapter.
    deliveries: mpsc::WeakSender<Delivery>,
    clock: Arc<dyn Clock>,
    seed: u64,
    stop: CancellationToken,
    _stop: DropGuard,
}

/// One device that runs.
#[derive(Debug)]
struct Running {
    source: Arc<dyn Source>,
    view: View,
    doors: Vec<Arc<Door>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What another configuration changed, by the names of the devices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Untouched: they keep their connections.
    pub kept: Vec<String>,
    /// Started again, for another table or for a line that they share.
    pub restarted: Vec<String>,
    /// New.
    pub added: Vec<String>,
    /// Gone.
    pub removed: Vec<String>,
}

/// For reading the figures of all devices, from anywhere and for as long as one likes: it keeps neither adapters nor
/// the queue alive. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Devices(Arc<RwLock<Vec<View>>>);

impl Devices {
    /// All devices at this moment, in the order of the configuration.
    pub fn snapshots(&self) -> Vec<DeviceSnapshot> {
        self.views().iter().map(View::snapshot).collect()
    }
    /// Wakes whenever the state of the first device changes; `None` when there is no device.
    pub(crate) fn changes_of_first(&self) -> Option<watch::Receiver<DeviceState>> {
        self.views().first().map(View::changes)
    }
    fn views(&self) -> RwLockReadGuard<'_, Vec<View>> {
        // A panic elsewhere does not make the list less right: it is replaced whole.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Supervisor {
    /// Starts an adapter for each device. They deliver into `deliveries` until `stop` is cancelled; jitter comes from
    /// `seed`. Nothing is ever written to a device.
    ///
    /// # Panics
    /// When a device has not as many handles as streams, or outside a tokio runtime.
    pub fn start(
        devices: Vec<Device>,
        deliveries: &mpsc::Sender<Delivery>,
        clock: &Arc<dyn Clock>,
        seed: u64,
        stop: &CancellationToken,
    ) -> Self {
        Self::start_armable(devices, deliveries, clock, seed, stop, None)
    }

    /// The same with devices that can be written to while they are armed.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn start_armable(
        devices: Vec<Device>,
        deliveries: &mpsc::Sender<Delivery>,
        clock: &Arc<dyn Clock>,
        seed: u64,
        stop: &CancellationToken,
        arming: Option<Arming>,
    ) -> Self {
        let stop = stop.child_token();
        let mut supervisor = Self {
            running: Vec::new(),
            devices: Devices::default(),
            desk: Desk::new(arming, Arc::clone(clock)),
            deliveries: deliveries.downgrade(),
            clock: Arc::clone(clock),
            seed,
            stop: stop.clone(),
            _stop: stop.drop_guard(),
        };
        supervisor.running =
            devices.into_iter().map(|device| supervisor.run(device, deliveries.clone())).collect();
        supervisor.show();
        supervisor
    }

    /// Goes over to another configuration: devices whose table is the same go on undisturbed, with all devices of their
    /// line; others are stopped, and started anew with the handles that `describe` gives. It is asked only after
    /// everything that the stopped ones delivered was taken.
    ///
    /// Whoever wants to call this keeps a sender of the queue, which otherwise ends with the last adapter.
    ///
    /// # Panics
    /// When the queue has ended.
    ///
    /// # Errors
    /// What `describe` says of the first device that it refuses; those before it run, the refused and later ones do not.
    pub async fn change<E>(
        &mut self,
        sources: Vec<Arc<dyn Source>>,
        mut describe: impl AsyncFnMut(&Arc<dyn Source>) -> Result<Vec<StreamHandle>, E>,
    ) -> Result<Changes, E> {
        let deliveries =
            self.deliveries.upgrade().expect("a sender that is kept while there may be a change");
        let untouched = self.untouched(&sources);
        let mut before: BTreeMap<String, Running> =
            self.running.drain(..).map(|running| (running.source.device().to_owned(), running)).collect();
        let (kept, ended): (Vec<_>, Vec<_>) =
            before.keys().cloned().partition(|name| untouched.contains(name));
        for name in &ended {
            before[name].stop.cancel();
        }
        for name in &ended {
            if let Some(running) = before.get_mut(name) {
                // A supervising task that panicked has stopped too.
                let _ = (&mut running.task).await;
                for door in &running.doors {
                    // What became of a write is recorded before the way out is closed; who records it may be stuck.
                    let _ = tokio::time::timeout(RECORDED_WITHIN, door.attempt.write()).await;
                }
                running.view.close(&deliveries, status_code::STOPPED).await;
            }
        }
        taken(&deliveries).await;
        let mut changes = Changes { kept, ..Changes::default() };
        let mut refused = None;
        for source in sources {
            let name = source.device().to_owned();
            let was = before.remove(&name);
            if let Some(running) = was.filter(|_| untouched.contains(&name)) {
                self.running.push(running);
                continue;
            }
            if refused.is_some() {
                continue;
            }
            match describe(&source).await {
                Ok(streams) => self.running.push(self.run(Device { source, streams }, deliveries.clone())),
                Err(why) => refused = Some(why),
            }
            if ended.contains(&name) { &mut changes.restarted } else { &mut changes.added }.push(name);
        }
        changes.removed = before.into_keys().collect();
        self.show();
        refused.map_or(Ok(changes), Err)
    }

    /// The source that runs under this name.
    pub fn source(&self, device: &str) -> Option<&Arc<dyn Source>> {
        self.running.iter().map(|running| &running.source).find(|source| source.device() == device)
    }

    /// The way out of a device.
    #[cfg(test)]
    pub(crate) fn outlet_of(&self, device: &str) -> Option<Outlet> {
        let running = self.running.iter().find(|running| running.source.device() == device)?;
        Some(running.view.outlet(&self.deliveries.upgrade()?))
    }

    /// Names of the devices that a [`change`](Self::change) to these sources would leave as they are.
    pub fn untouched(&self, sources: &[Arc<dyn Source>]) -> BTreeSet<String> {
        let before: BTreeMap<&str, &Head> =
            self.running.iter().map(|running| (running.source.device(), running.source.head())).collect();
        let is_same = |source: &Arc<dyn Source>| before.get(source.device()) == Some(&source.head());
        // A line is touched by a device that changed, came or went.
        let mut touched: BTreeSet<String> =
            sources.iter().filter(|source| !is_same(source)).filter_map(|source| source.line()).collect();
        for running in &self.running {
            if !sources.iter().any(|source| source.device() == running.source.device() && is_same(source)) {
                touched.extend(running.source.line());
            }
        }
        let on_touched_line =
            |source: &&Arc<dyn Source>| source.line().is_some_and(|line| touched.contains(&line));
        let same = sources.iter().filter(|source| is_same(source));
        same.filter(|source| !on_touched_line(source)).map(|source| source.device().to_owned()).collect()
    }

    fn run(&self, device: Device, deliveries: mpsc::Sender<Delivery>) -> Running {
        let Device { source, streams } = device;
        let all = all_streams(&*source);
        assert_eq!(streams.len(), all.len(), "one handle for each stream of {}", source.device());
        let clock = &self.clock;
        let health = Arc::new(Health::new(
            source.device(),
            source.head().protocol,
            source.address(),
            Arc::clone(clock),
        ));
        let specs = streams.iter().copied().zip(all);
        let outlet = Outlet::new(specs, deliveries, Arc::clone(&health), Arc::clone(clock));
        let view = outlet.view();
        let (doors, writes) = doors(&*source, &streams, &outlet);
        let stop = self.stop.child_token();
        let context = Context {
            stop: stop.clone(),
            streams: streams[..source.streams().len()].into(),
            writes,
            outlet,
            health,
            clock: Arc::clone(clock),
            seed: seed_for(self.seed, source.device()),
        };
        let task = tokio::spawn(supervise(Arc::clone(&source), context));
        Running { source, view, doors, stop, task }
    }

    /// Lets others see what runs.
    fn show(&self) {
        let views = self.running.iter().map(|running| running.view.clone()).collect();
        *self.devices.0.write().unwrap_or_else(PoisonError::into_inner) = views;
        self.desk.open(self.running.iter().flat_map(|running| running.doors.iter().cloned()));
    }

    /// For reading figures.
    pub fn devices(&self) -> Devices {
        self.devices.clone()
    }

    /// For writing to devices.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Returns when `stop` was cancelled and every adapter has ended, which takes at most two seconds; where the node takes
    /// nothing and `min_interval` held something back, two more.
    pub async fn stopped(self) {
        for running in self.running {
            // A supervising task that panicked has stopped too.
            let _ = running.task.await;
        }
    }
}

/// Waits until everything that was delivered up to now was taken from the queue.
async fn taken(deliveries: &mpsc::Sender<Delivery>) {
    let (ack, taken) = oneshot::channel();
    let barrier = Delivery { readings: Vec::new(), origins: Vec::new(), ack: Some(ack) };
    if deliveries.send(barrier).await.is_ok() {
        // Dropped without a word: nobody takes anything any more.
        let _ = taken.await;
    }
}

/// The ways to the streams of a device that may be written, and where its adapter finds what is to be written.
fn doors(source: &dyn Source, handles: &[StreamHandle], outlet: &Outlet) -> (Vec<Arc<Door>>, Writes) {
    let own = source.streams();
    let written = own.iter().enumerate().filter(|(_, spec)| spec.write.is_some());
    let attempts = &handles[own.len()..];
    if attempts.is_empty() {
        return (Vec::new(), Writes::none());
    }
    let (sender, writes) = Writes::queue();
    let door = |((stream, spec), attempts): ((usize, &StreamSpec), &StreamHandle)| {
        let (spec, writes, outlet) = (spec.clone(), sender.clone(), outlet.weak());
        Arc::new(Door {
            stream,
            spec,
            attempts: *attempts,
            writes,
            outlet,
            attempt: tokio::sync::RwLock::default(),
        })
    };
    (written.zip(attempts).map(door).collect(), writes)
}

async fn supervise(source: Arc<dyn Source>, context: Context) {
    let mut backoff = Backoff::new(BackoffPolicy::default(), context.seed);
    let device = source.device().to_owned();
    loop {
        let begun = Instant::now();
        let Err(fault) = run_once(Arc::clone(&source), context.clone()).await else { break };
        if planted!(PanicEndsTheDevice) {
            break;
        }
        context.health.failed(fault.kind);
        context.outlet.mark_stale(status_code::ADAPTER);
        if begun.elapsed() >= STEADY_AFTER {
            backoff.reset();
        }
        let wait = backoff.next_wait();
        context.health.adapter_failed(&fault, wait);
        let (why, restart_in_ms) = (fault.detail.as_str(), wait.as_millis() as u64);
        tracing::error!(device, why, restart_in_ms, "adapter failed; it alone is started again");
        tokio::select! {
            biased;
            () = context.stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
        context.health.restarted();
    }
    // The node takes until the queue ends, unless it is stuck.
    if tokio::time::timeout(STOP_WITHIN, context.outlet.let_go()).await.is_err() {
        tracing::warn!(
            device,
            "the node takes nothing; changes that min_interval held back are not delivered"
        );
    }
    context.health.stopped();
}

/// `Ok` when it was told to stop.
async fn run_once(source: Arc<dyn Source>, context: Context) -> Result<(), Fault> {
    let (stop, outlet) = (context.stop.clone(), context.outlet.clone());
    let mut task = tokio::spawn(async move { source.build().run(context).await });
    let outcome = tokio::select! {
        biased;
        outcome = &mut task => outcome,
        never = outlet.deliver_held() => match never {},
        () = stop.cancelled() => {
            if tokio::time::timeout(STOP_WITHIN, &mut task).await.is_err() {
                task.abort();
            }
            return Ok(());
        }
    };
    match outcome {
        _ if stop.is_cancelled() => Ok(()),
        Ok(Ok(())) => Err(Fault::new(FaultKind::Adapter, "it ended without being told to")),
        Ok(Err(fault)) => Err(Fault::new(FaultKind::Adapter, fault.to_string())),
        Err(error) => Err(Fault::new(FaultKind::Adapter, describe(error))),
    }
}

fn describe(error: JoinError) -> String {
    if !error.is_panic() {
        return "its task was cut off".to_owned();
    }
    let payload: Box<dyn Any + Send> = error.into_panic();
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}
