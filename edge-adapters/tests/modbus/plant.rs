//! Devices read as a gateway reads them, and what they delivered.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::write::{Arming, Desk};
use edge_adapters::{
    Clock, Delivery, Device, DeviceSnapshot, Supervisor, SystemClock, all_streams, config, delivery_queue,
};
use selvedge_core::border::{NewReading, StreamHandle};
use selvedge_core::reading::Quality;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::support::{Server, WITHIN, eventually, program};

/// Devices that are being read. Dropping it stops them.
pub(crate) struct Plant {
    supervisor: Supervisor,
    deliveries: mpsc::Receiver<Delivery>,
    names: Vec<String>,
    /// All readings so far, by the name of their stream.
    pub(crate) readings: Vec<(String, NewReading)>,
}

impl Plant {
    pub(crate) fn start(toml: &str, arming: Option<Arming>) -> Self {
        let sources = config::sources(toml).unwrap_or_else(|errors| panic!("{errors:#?}\n{toml}"));
        let (mut names, mut devices) = (Vec::new(), Vec::new());
        for source in sources {
            let first = names.len() as u32;
            names.extend(all_streams(&*source).into_iter().map(|spec| spec.descriptor.name.clone()));
            let streams = (first..names.len() as u32).map(StreamHandle).collect();
            devices.push(Device { source, streams });
        }
        let (sender, deliveries) = delivery_queue();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let supervisor =
            Supervisor::start_armable(devices, &sender, &clock, 7, &CancellationToken::new(), arming);
        Self { supervisor, deliveries, names, readings: Vec::new() }
    }

    pub(crate) fn desk(&self) -> Desk {
        self.supervisor.desk()
    }

    pub(crate) fn device(&self, name: &str) -> DeviceSnapshot {
        let all = self.supervisor.devices().snapshots();
        all.into_iter().find(|device| device.device == name).expect("a device of the plant")
    }

    /// Takes the next delivery, and says that it is durable.
    pub(crate) async fn take(&mut self) {
        let delivery = tokio::time::timeout(WITHIN, self.deliveries.recv()).await;
        let Delivery { readings, ack, .. } = delivery.expect("a delivery in time").expect("adapters run");
        for reading in readings {
            self.readings.push((self.names[reading.stream.0 as usize].clone(), reading));
        }
        let _ = ack.map(|ack| ack.send(()));
    }

    /// Takes deliveries until this holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let until = tokio::time::Instant::now() + WITHIN;
        while !holds(self) {
            assert!(tokio::time::Instant::now() < until, "waited in vain for {what}");
            // A state may change without a delivery.
            if let Ok(delivery) =
                tokio::time::timeout(Duration::from_millis(20), self.deliveries.recv()).await
            {
                let Delivery { readings, ack, .. } = delivery.expect("adapters run");
                for reading in readings {
                    self.readings.push((self.names[reading.stream.0 as usize].clone(), reading));
                }
                let _ = ack.map(|ack| ack.send(()));
            }
        }
    }

    /// Good readings of a stream.
    pub(crate) fn good(&self, stream: &str) -> usize {
        let good = |reading: &NewReading| reading.quality == Quality::Good;
        self.readings.iter().filter(|(name, reading)| name == stream && good(reading)).count()
    }
}

/// A serial line without a serial port: two ends of a pair of pseudo terminals. What is written to one is read from
/// the other.
pub(crate) struct SerialLine {
    _socat: Server,
    pub(crate) folder: tempfile::TempDir,
}

impl SerialLine {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let end = |name: &str| format!("pty,raw,echo=0,link={}", folder.path().join(name).display());
        let socat = Server::start(Command::new(program("socat")).args([end("gateway"), end("device")]));
        let line = Self { _socat: socat, folder };
        for name in ["gateway", "device"] {
            let path = line.end(name);
            eventually(&path, || {
                if std::path::Path::new(&path).exists() { Ok(()) } else { Err("no such file") }
            });
        }
        line
    }

    /// The device file of one end: `gateway` or `device`.
    pub(crate) fn end(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

/// A pymodbus server behind one of the transports, and the first lines of a `[[device]]` table for it.
pub(crate) struct Reached {
    pub(crate) server: Server,
    pub(crate) said: Value,
    /// Protocol and address, and what else it takes to reach it; the table is not named yet.
    pub(crate) lines: String,
    pub(crate) serial: Option<SerialLine>,
}

/// Starts one. Over `tls` the certificates lie in a folder of the caller.
pub(crate) fn reached(over: &str, arguments: &[&str]) -> Reached {
    let mut all = vec!["--over".to_owned(), over.to_owned()];
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    if over == "rtu" {
        let serial = SerialLine::new();
        all.extend(["--serial".to_owned(), serial.end("device")]);
        let (server, said) = Server::python("modbus.py", &all);
        let lines = format!(
            "protocol = \"modbus-rtu\"\naddress = \"{}\"\nparity = \"none\"\n",
            serial.end("gateway")
        );
        return Reached { server, said, lines, serial: Some(serial) };
    }
    let (server, said) = Server::python("modbus.py", &all);
    let lines = format!("protocol = \"modbus-{over}\"\naddress = \"127.0.0.1:{}\"\n", said["port"]);
    Reached { server, said, lines, serial: None }
}

/// A `[[device]]` table with these lines, and holding registers of 16 bits as its streams: `NAME/ADDRESS`.
pub(crate) fn registers(name: &str, lines: &str, addresses: &[u16]) -> String {
    let mut text = format!("[[device]]\nname = \"{name}\"\n{lines}");
    for address in addresses {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "[[device.stream]]\nname = \"{name}/{address}\"\nregister = \"holding:{address}\"\ntype = \"u16\""
        );
    }
    text
}
