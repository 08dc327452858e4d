//! The Modbus adapter against real devices: pymodbus in processes of their own.

#[path = "support/mod.rs"]
mod support;

#[path = "modbus/example.rs"]
mod example;
#[path = "modbus/libmodbus.rs"]
mod libmodbus;
#[path = "modbus/lines.rs"]
mod lines;
#[path = "modbus/plant.rs"]
mod plant;
#[path = "modbus/scan.rs"]
mod scan;
#[path = "modbus/values.rs"]
mod values;
#[path = "modbus/write.rs"]
mod write;
