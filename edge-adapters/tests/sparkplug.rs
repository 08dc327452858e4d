//! The Sparkplug host against the reference client of Eclipse Tahu (npm `sparkplug-client`), over a real mosquitto.

#[path = "support/mod.rs"]
mod support;

#[path = "mqtt/broker.rs"]
#[allow(dead_code, reason = "the certificates are for the MQTT tests")]
mod broker;
#[path = "sparkplug/host.rs"]
mod host;
#[path = "sparkplug/nodes.rs"]
mod nodes;
#[path = "mqtt/rig.rs"]
#[allow(dead_code, reason = "a part of it is for the MQTT tests")]
mod rig;

use edge_adapters::health::SparkplugFigures;
use edge_adapters::{DeviceSnapshot, DeviceState};
use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::{Quality, Value};

use broker::Broker;
use rig::Rig;
use support::Server;

/// Streams of [`config`], in order.
const TEMPERATURE: u32 = 0;
const COUNT: u32 = 1;
const LEVEL: u32 = 2;
const VALVE: u32 = 3;
const TEXT: u32 = 4;
const TOTAL: u32 = 5;
const STREAMS: usize = 6;

/// All metrics of the edge node of `tests/servers/sparkplug.mjs` but two; `more` are further keys of the device.
fn config(broker: &Broker, more: &str) -> String {
    let mut toml = format!(
        "[[device]]\nname = \"plant\"\nprotocol = \"sparkplug\"\naddress = \"127.0.0.1:{}\"\ngroup = \"bottling\"\n{more}\n",
        broker.port
    );
    for (name, device, metric) in [
        ("temperature", "", "Temperature"),
        ("count", "", "Count"),
        ("level", "filler", "Outputs/Level"),
        ("valve", "filler", "Outputs/Valve"),
        ("text", "filler", "Text"),
        ("total", "filler", "Total"),
    ] {
        let device = if device.is_empty() { String::new() } else { format!("device = \"{device}\"\n") };
        let stream = format!(
            "[[device.stream]]\nname = \"{name}\"\nnode = \"line1\"\n{device}metric = \"{metric}\"\n"
        );
        toml.push_str(&stream);
    }
    toml
}

/// The edge node, born under this number of its connection, with aliases from `aliases` on.
fn edge_node(broker: &Broker, bd_seq: u64, aliases: u64) -> Server {
    let words = [broker.port.to_string(), "bottling".to_owned(), "line1".to_owned()];
    let words = words.into_iter().chain([bd_seq.to_string(), aliases.to_string()]);
    Server::node("sparkplug.mjs", words).0
}

/// A gateway that has subscribed already.
async fn host(broker: &Broker, more: &str) -> Rig {
    let mut rig = Rig::start(&config(broker, more));
    rig.is(DeviceState::Degraded).await;
    rig
}

/// A rig that looks at its readings as these tests do.
trait Look {
    /// The readings of a stream.
    fn of(&self, stream: u32) -> Vec<&NewReading>;
    fn last(&self, stream: u32) -> Option<&NewReading>;
    fn figures(&self) -> SparkplugFigures;
}

impl Look for Rig {
    fn of(&self, stream: u32) -> Vec<&NewReading> {
        self.readings.iter().filter(|reading| reading.stream == StreamHandle(stream)).collect()
    }
    fn last(&self, stream: u32) -> Option<&NewReading> {
        self.of(stream).pop()
    }
    fn figures(&self) -> SparkplugFigures {
        let DeviceSnapshot { messages, .. } = self.device();
        messages.and_then(|messages| messages.sparkplug).unwrap_or_default()
    }
}

/// Waits until the last reading of a stream is good and has this value.
async fn shows(rig: &mut Rig, stream: u32, value: Value) -> NewReading {
    rig.until(&format!("{value:?} of stream {stream}"), |rig| {
        rig.last(stream).filter(|last| last.quality == Quality::Good && last.value == value).cloned()
    })
    .await
}

/// Waits until the last reading of every one of these streams is stale, and gives them.
async fn are_stale(rig: &mut Rig, streams: &[u32]) -> Vec<NewReading> {
    rig.until("stale streams", |rig| {
        let last: Vec<_> = streams.iter().filter_map(|stream| rig.last(*stream).cloned()).collect();
        let is_all = last.len() == streams.len() && last.iter().all(|r| r.quality == Quality::Stale);
        is_all.then_some(last)
    })
    .await
}

/// Waits until all streams are good.
async fn are_good(rig: &mut Rig) {
    rig.until("good streams", |rig| {
        (0..STREAMS as u32)
            .all(|stream| rig.last(stream).is_some_and(|last| last.quality == Quality::Good))
            .then_some(())
    })
    .await;
}
