//! The MQTT adapter against real brokers: mosquitto in a process of its own, with TLS and without, in both versions; and
//! one that breaks the protocol on purpose.

#[path = "support/mod.rs"]
mod support;

#[path = "mqtt/bad_broker.rs"]
mod bad_broker;
#[path = "mqtt/broker.rs"]
mod broker;
#[path = "mqtt/example.rs"]
mod example;
#[path = "mqtt/listen.rs"]
mod listen;
#[path = "mqtt/rig.rs"]
mod rig;
#[path = "mqtt/secure.rs"]
mod secure;
#[path = "mqtt/sessions.rs"]
mod sessions;
#[path = "mqtt/writing.rs"]
mod writing;
