//! Adapters: read machines and hand what they say to a gateway as readings.
//!
//! An adapter never signs, stores or counts anything; it knows no node. It delivers [`Delivery`]s into a bounded
//! channel and keeps a [`Health`] that others may read. What it writes to a machine comes from the [`write::Desk`] alone,
//! which takes nothing that the configuration does not allow and nobody at the gateway has armed.
//!
//! # Layout
//!
//! | file | what is in it |
//! |---|---|
//! | `adapter.rs` | the two traits: a [`Source`] is a checked configuration that builds itself, an [`Adapter`] runs |
//! | `outlet.rs`, `outlet/` | the way out: bounded channel, full-queue policy, deadband, what becomes of a stream when its link dies (`memory.rs`: what a stream remembers of itself; `brought.rs`: readings of the present and of the past; `held.rs`: the last change of a burst) |
//! | `health.rs`, `health/`, `metrics.rs` | figures of one device, and its log lines; the same as samples for a page of metrics |
//! | `write.rs`, `write/` | writing: requests, arming, and the desk that records each attempt |
//! | `fuzzing.rs` | decoders as functions of bytes (feature `fuzzing`, for `fuzz/run`) |
//! | `planted.rs` | cures taken out on purpose (feature `planted`, for `examples/complaints.rs`) |
//! | `supervisor.rs` | runs adapters; isolates their panics and starts them again |
//! | `backoff.rs` | ever longer waits with jitter |
//! | `clock.rs` | the wall clock as a value, so that tests can set it |
//! | `status_code.rs` | the status codes that a reading carries beside its quality |
//! | `config.rs`, `config/` | `[[device]]` tables: the reader of keys (`keys.rs`), the keys of every stream (`stream.rs`), and those of each protocol |
//! | `mapping.rs` | pure: registers and bits to value and quality, raw to scaled value |
//! | `modbus.rs`, `modbus/` | Modbus over TCP, RTU, RTU over TCP and TLS (features `modbus`, `modbus-serial`, `modbus-tls`): pure planner, codec and turns; lines that units share; polling; writing; a server (feature `server`) |
//! | `modbus/scan.rs`, `modbus/sunspec.rs` | what answers at an address, as a configuration; SunSpec models (pure) |
//! | `mqtt.rs`, `mqtt/` | MQTT 3.1.1 and 5 (feature `mqtt`): pure packets (`packet.rs`), topics (`topic.rs`), payloads (`payload.rs`, `csv.rs`), commands (`command.rs`) and memory of messages (`memory.rs`); one connection (`client.rs` the traits, `network.rs` the real one), the session (`session.rs`), a look at a broker (`survey.rs`) |
//! | `mqtt/layer.rs`, `mqtt/sparkplug.rs`, `mqtt/sparkplug/` | a protocol over MQTT, and Sparkplug B (feature `sparkplug`): pure payloads, topics, values and host, and what it says and writes |
//! | `opcua.rs`, `opcua/` | OPC-UA (feature `opcua`): pure values and node names, security, session, subscription, polling, writing, browsing; a server (feature `opcua-server`) |
//! | `tls.rs`, `secret.rs` | TLS from files, for Modbus and MQTT, and secrets in files |
//! | `trial.rs` | one device read for a while without any node, for `selvedge adapter test` |
//!
//! # Example
//!
//! ```no_run
//! # async fn example(configuration: &str) -> Result<(), Vec<edge_adapters::config::ConfigError>> {
//! use std::sync::Arc;
//! use edge_adapters::{Device, Supervisor, SystemClock, config, delivery_queue};
//! use selvedge_core::border::StreamHandle;
//! use tokio_util::sync::CancellationToken;
//!
//! let mut next = 0;
//! let mut devices_with_handles = Vec::new();
//! for source in config::sources(configuration)? {
//!     // Here a node also says `Input::Describe` for each of `source.streams()`.
//!     let streams = source.streams().iter().map(|_| { next += 1; StreamHandle(next - 1) }).collect();
//!     devices_with_handles.push(Device { source, streams });
//! }
//! let (sender, mut deliveries) = delivery_queue();
//! let stop = CancellationToken::new();
//! let supervisor = Supervisor::start(devices_with_handles, &sender, &(Arc::new(SystemClock) as _), 42, &stop);
//! drop(sender);
//! while let Some(delivery) = deliveries.recv().await {
//!     println!("{:?}", delivery.readings);
//! }
//! # drop(supervisor); Ok(()) }
//! ```
#![warn(missing_docs)]
#![cfg_attr(
    not(all(feature = "modbus", feature = "mqtt", feature = "opcua")),
    allow(
        dead_code,
        reason = "what the protocols share is whole in each build, and a build of some uses a part of it"
    )
)]

/// Is this fault planted and alive? Only `examples/complaints.rs` is built with the feature, to show that tests find such
/// faults.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($fault:ident) => {
        $crate::planted::is($crate::planted::Fault::$fault)
    };
}
/// Nothing is planted in what is shipped.
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($fault:ident) => {
        false
    };
}

pub mod adapter;
pub mod backoff;
pub mod clock;
pub mod config;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod health;
pub mod mapping;
pub mod metrics;
#[cfg(feature = "modbus")]
pub mod modbus;
#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "opcua")]
pub mod opcua;
pub mod outlet;
#[cfg(feature = "planted")]
pub mod planted;
#[cfg(any(feature = "mqtt", feature = "opcua", feature = "modbus-tls"))]
pub(crate) mod secret;
pub mod status_code;
pub mod supervisor;
#[cfg(any(feature = "mqtt", feature = "modbus-tls"))]
pub(crate) mod tls;
pub mod trial;
pub mod write;

#[cfg(test)]
mod tests;

pub use adapter::{
    Adapter, Bounds, Claim, Context, Deadband, Fault, FaultKind, Head, Report, Running, Source, Start,
    StreamSpec, Words, all_streams,
};
pub use clock::{Clock, SystemClock};
pub use health::{DeviceSnapshot, DeviceState, Health, MessageFigures, SubscriptionFigures};
pub use outlet::{DELIVERIES_MAX, Delivery, Outlet, UnderWay, delivery_queue};
pub use supervisor::{Changes, Device, Devices, Supervisor};
pub use trial::{DecodedReading, Trial, TrialEvent};
