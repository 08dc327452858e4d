//! Figures 15 to 18: what adapters cost beside the libraries and servers that they stand on.
//!
//! Both contestants speak to the same server in the same run, in turns. A connection waits for its server most of the
//! time, so what counts here is the clock and not the CPU, and each figure is a quotient of two times.
//!
//! # Layout
//! - [`modbus`] (figure 15), [`mqtt`] (16) with a real [`broker`], [`opcua`] (17) with the library's own
//!   [server](opcua_server), [`memory`] (18) with a [plant](mixed) of all three

mod broker;
pub(crate) mod memory;
mod mixed;
pub(crate) mod modbus;
pub(crate) mod mqtt;
pub(crate) mod opcua;
mod opcua_server;

use std::sync::Arc;
use std::time::Duration;

use edge_adapters::{
    Clock, Delivery, Device, Devices, Source, Start, Supervisor, SystemClock, config, delivery_queue,
};
use selvedge_core::border::StreamHandle;
use selvedge_core::stream::Descriptor;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;

/// A contestant that gets no further in this time has failed.
const STUCK: Duration = Duration::from_mins(1);

/// Adapters at work, with the queue that they deliver into.
#[derive(Debug)]
pub(crate) struct AtWork {
    pub(crate) deliveries: Receiver<Delivery>,
    pub(crate) stop: CancellationToken,
    supervisor: Supervisor,
}

impl AtWork {
    /// Starts an adapter for each source; handles go up from 0.
    pub(crate) fn start(sources: Vec<Arc<dyn Source>>) -> Self {
        Self::start_by(&(Arc::new(SystemClock) as _), sources)
    }

    /// The same by another clock.
    fn start_by(clock: &Arc<dyn Clock>, sources: Vec<Arc<dyn Source>>) -> Self {
        let mut next = 0;
        let mut devices = Vec::new();
        for source in sources {
            source.begin(&Start { gateway: "bench", origins: &[], is_running: false });
            let count = source.streams().len() as u32;
            devices.push(Device { source, streams: (next..next + count).map(StreamHandle).collect() });
            next += count;
        }
        let (sender, deliveries) = delivery_queue();
        let stop = CancellationToken::new();
        let supervisor = Supervisor::start(devices, &sender, clock, 7, &stop);
        Self { deliveries, stop, supervisor }
    }

    fn devices(&self) -> Devices {
        self.supervisor.devices()
    }

    /// Ends them.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        self.supervisor.stopped().await;
    }
}

/// The devices of a bench's own configuration.
pub(crate) fn sources(configuration: &str) -> anyhow::Result<Vec<Arc<dyn Source>>> {
    config::sources(configuration)
        .map_err(|errors| anyhow::anyhow!("the bench's own configuration: {errors:?}"))
}

/// What their streams mean, by handle.
pub(crate) fn descriptors_of(sources: &[Arc<dyn Source>]) -> Vec<Descriptor> {
    sources.iter().flat_map(|source| source.streams()).map(|spec| spec.descriptor.clone()).collect()
}

/// Both contestants run on one thread.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Waits for something, not for ever.
async fn within<T>(what: &str, doing: impl Future<Output = T>) -> anyhow::Result<T> {
    tokio::time::timeout(STUCK, doing).await.map_err(|_| anyhow::anyhow!("{what}: not within {STUCK:?}"))
}
