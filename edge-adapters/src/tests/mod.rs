//! Tests of the crate as a whole. Those that need time hold tokio's clock still and move it by hand
//! ([`support::HeldTime`]), so that nothing sleeps and a slow machine changes nothing.

#[cfg(feature = "modbus")]
mod config;
#[cfg(feature = "modbus")]
mod lines;
mod mapping;
mod metrics;
#[cfg(feature = "modbus")]
mod modbus_config;
#[cfg(feature = "modbus")]
mod modbus_write;
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
#[cfg(feature = "mqtt")]
mod mqtt_survey;
#[cfg(feature = "opcua")]
mod opcua_browse_file;
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
#[cfg(feature = "modbus")]
mod poll_refusals;
#[cfg(feature = "modbus")]
mod report;
#[cfg(feature = "sparkplug")]
mod sparkplug;
#[cfg(feature = "modbus")]
mod sunspec;
mod supervisor;
mod support;
mod toy;
#[cfg(feature = "modbus")]
mod trial;
mod unscaled;
mod write;
