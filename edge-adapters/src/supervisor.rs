//! Runs adapters, each in a task of its own. One that fails or panics is started again, alone, after a wait that
//! grows; the others do not notice.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::StreamHandle;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::adapter::{Context, Fault, FaultKind, Source};
use crate::backoff::{Backoff, BackoffPolicy, seed_for};
use crate::clock::Clock;
use crate::health::{DeviceSnapshot, DeviceState, Health};
use crate::outlet::{Delivery, Outlet, View};
use crate::status_code;

/// An adapter that ran this long had got going: its next wait is the first again.
const STEADY_AFTER: Duration = Duration::from_mins(5);
/// An adapter that was told to stop and has not after this long is cut off.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// A device to run: its source, and the handles of its streams in the order of [`Source::streams`].
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
    devices: Devices,
    tasks: Vec<JoinHandle<()>>,
    _stop: DropGuard,
}

/// For reading the figures of all devices, from anywhere and for as long as one likes: it keeps neither adapters nor
/// the queue alive. Clones are the same.
#[derive(Debug, Clone)]
pub struct Devices(Arc<[View]>);

impl Devices {
    /// All devices at this moment, in the order of the configuration.
    pub fn snapshots(&self) -> Vec<DeviceSnapshot> {
        self.0.iter().map(View::snapshot).collect()
    }
    /// Wakes whenever the state of the first device changes; `None` when there is no device.
    pub(crate) fn changes_of_first(&self) -> Option<watch::Receiver<DeviceState>> {
        self.0.first().map(View::changes)
    }
}

impl Supervisor {
    /// Starts an adapter for each device. They deliver into `deliveries` until `stop` is cancelled; jitter comes from
    /// `seed`.
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
        let stop = stop.child_token();
        let mut views = Vec::new();
        let mut tasks = Vec::new();
        for Device { source, streams } in devices {
            assert_eq!(
                streams.len(),
                source.streams().len(),
                "one handle for each stream of {}",
                source.device()
            );
            let health = Arc::new(Health::new(
                source.device(),
                source.protocol(),
                source.address(),
                Arc::clone(clock),
            ));
            let specs = streams.iter().copied().zip(source.streams().iter().cloned());
            let outlet = Outlet::new(specs, deliveries.clone(), Arc::clone(&health), Arc::clone(clock));
            views.push(outlet.view());
            let context = Context {
                stop: stop.clone(),
                streams: streams.into(),
                outlet,
                health,
                clock: Arc::clone(clock),
                seed: seed_for(seed, source.device()),
            };
            tasks.push(tokio::spawn(supervise(source, context)));
        }
        Self { devices: Devices(views.into()), tasks, _stop: stop.drop_guard() }
    }

    /// For reading figures.
    pub fn devices(&self) -> Devices {
        self.devices.clone()
    }

    /// Returns when `stop` was cancelled and every adapter has ended, which takes at most two seconds.
    pub async fn stopped(self) {
        for task in self.tasks {
            // A supervising task that panicked has stopped too.
            let _ = task.await;
        }
    }
}

async fn supervise(source: Arc<dyn Source>, context: Context) {
    let mut backoff = Backoff::new(BackoffPolicy::default(), context.seed);
    let device = source.device().to_owned();
    loop {
        let begun = Instant::now();
        let Err(fault) = run_once(Arc::clone(&source), context.clone()).await else { break };
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
    context.health.stopped();
}

/// `Ok` when it was told to stop.
async fn run_once(source: Arc<dyn Source>, context: Context) -> Result<(), Fault> {
    let stop = context.stop.clone();
    let mut task = tokio::spawn(async move { source.build().run(context).await });
    let outcome = tokio::select! {
        biased;
        outcome = &mut task => outcome,
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
