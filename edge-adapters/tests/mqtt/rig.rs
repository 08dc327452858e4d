//! A gateway's part of the adapter, without the gateway: a supervisor, and somebody who makes readings durable.

use std::sync::Arc;
use std::time::Duration;

use edge_adapters::write::{Arming, Desk};
use edge_adapters::{
    Clock, Delivery, Device, DeviceSnapshot, DeviceState, Start, Supervisor, SystemClock, config,
    delivery_queue,
};
use selvedge_core::border::{NewReading, Origin, StreamHandle};
use selvedge_core::reading::{Quality, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::WITHIN;

/// The adapters of one configuration. Dropping it stops them, as a gateway that is killed.
pub(crate) struct Rig {
    supervisor: Supervisor,
    deliveries: mpsc::Receiver<Delivery>,
    /// What was made durable.
    pub(crate) readings: Vec<NewReading>,
    pub(crate) origins: Vec<Origin>,
}

impl Rig {
    pub(crate) fn start(toml: &str) -> Self {
        Self::with(toml, &[], None)
    }

    /// With what an earlier one has kept.
    pub(crate) fn with(toml: &str, origins: &[Origin], arming: Option<Arming>) -> Self {
        let sources = config::sources(toml).unwrap_or_else(|errors| panic!("{errors:#?}"));
        let mut next = 0..;
        let devices = sources.into_iter().map(|source| {
            source.begin(&Start { gateway: "test", origins, is_running: false });
            // A written stream has a second one, for the attempts.
            let count = edge_adapters::adapter::all_streams(&*source).len();
            Device { source, streams: next.by_ref().take(count).map(StreamHandle).collect() }
        });
        let (sender, deliveries) = delivery_queue();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let stop = CancellationToken::new();
        let supervisor = Supervisor::start_armable(devices.collect(), &sender, &clock, 7, &stop, arming);
        Self { supervisor, deliveries, readings: Vec::new(), origins: origins.to_vec() }
    }

    pub(crate) fn desk(&self) -> Desk {
        self.supervisor.desk()
    }

    pub(crate) fn device(&self) -> DeviceSnapshot {
        self.supervisor.devices().snapshots().swap_remove(0)
    }

    /// Takes the next delivery, and makes it durable.
    pub(crate) async fn take(&mut self) {
        let Some(Delivery { readings, origins, ack, .. }) = self.deliveries.recv().await else {
            panic!("the adapters have gone")
        };
        self.readings.extend(readings);
        self.origins.extend(origins);
        // An adapter whose connection ended meanwhile needs no answer.
        let _ = ack.map(|ack| ack.send(()));
    }

    /// Makes durable what comes, until this holds.
    pub(crate) async fn until<T>(&mut self, what: &str, mut holds: impl FnMut(&Self) -> Option<T>) -> T {
        let end = tokio::time::Instant::now() + WITHIN;
        loop {
            if let Some(found) = holds(self) {
                return found;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "waited in vain for {what}; {:#?}\nlast readings: {:?}",
                self.device(),
                &self.readings[self.readings.len().saturating_sub(5)..]
            );
            // States change without a delivery, so they are looked at now and then.
            let _ = tokio::time::timeout(Duration::from_millis(20), self.take()).await;
        }
    }

    /// Waits until the device is in this state.
    pub(crate) async fn is(&mut self, state: DeviceState) -> DeviceSnapshot {
        self.until(&format!("{state:?}"), |rig| Some(rig.device()).filter(|device| device.state == state))
            .await
    }

    /// Waits until the device is down for a reason with this text.
    pub(crate) async fn is_down(&mut self, why: &str) -> String {
        self.until(&format!("down with {why:?}"), |rig| {
            rig.device().error.filter(|error| rig.device().state == DeviceState::Down && error.contains(why))
        })
        .await
    }

    /// Values of the good readings of a stream.
    pub(crate) fn good(&self, stream: u32) -> Vec<Value> {
        let is_good = |reading: &&NewReading| {
            reading.stream == StreamHandle(stream) && reading.quality == Quality::Good
        };
        self.readings.iter().filter(is_good).map(|reading| reading.value.clone()).collect()
    }

    /// Waits until a stream has so many good readings.
    pub(crate) async fn has(&mut self, stream: u32, count: usize) -> Vec<Value> {
        self.until(&format!("{count} good readings of stream {stream}"), |rig| {
            Some(rig.good(stream)).filter(|good| good.len() >= count)
        })
        .await
    }
}

/// Whole numbers.
pub(crate) fn numbers(numbers: impl IntoIterator<Item = u64>) -> Vec<Value> {
    numbers.into_iter().map(Value::Unsigned).collect()
}
