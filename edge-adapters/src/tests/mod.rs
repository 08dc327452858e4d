//! Tests of the crate as a whole. Those that need time hold tokio's clock still and move it by hand
//! ([`support::HeldTime`]), so that nothing sleeps and a slow machine changes nothing.

#[cfg(feature = "modbus")]
mod config;
mod mapping;
mod metrics;
#[cfg(feature = "mqtt")]
mod mqtt_command;
#[cfg(feature = "mqtt")]
mod mqtt_config;
#[cfg(feature = "mqtt")]
mod mqtt_csv;
#[cfg(feature = "mqtt")]
mod mqtt_packet;
#[cfg(feature = "mqtt")]
mod mqtt_payload;
#[cfg(feature = "mqtt")]
mod mqtt_session;
#[cfg(feature = "opcua")]
mod opcua_config;
#[cfg(feature = "opcua")]
mod opcua_glob;
#[cfg(feature = "opcua")]
mod opcua_value;
mod outlet;
#[cfg(feature = "modbus")]
mod plan;
#[cfg(feature = "modbus")]
mod poll;
#[cfg(feature = "modbus")]
mod poll_bad_devices;
#[cfg(feature = "sparkplug")]
mod sparkplug;
mod sunspec;
mod supervisor;
mod support;
mod toy;
#[cfg(feature = "modbus")]
mod trial;
mod write;
