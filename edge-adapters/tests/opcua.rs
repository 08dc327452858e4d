//! The OPC-UA adapter against real servers: asyncua and node-opcua in processes of their own.

#[path = "support/mod.rs"]
mod support;

#[path = "opcua/example.rs"]
mod example;
#[path = "opcua/items.rs"]
mod items;
#[path = "opcua/plant.rs"]
mod plant;
#[path = "opcua/recovery.rs"]
mod recovery;
#[allow(dead_code, reason = "another binary uses the rest")]
#[path = "mqtt/rig.rs"]
mod rig;
#[path = "opcua/security.rs"]
mod security;
#[path = "opcua/values.rs"]
mod values;
#[path = "opcua/writing.rs"]
mod writing;
