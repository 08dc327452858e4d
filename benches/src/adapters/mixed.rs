//! The plant of figure 18: fifty devices that say 10,000 values a second between them, by all three protocols: thirty
//! machines that are polled over Modbus TCP, ten that publish to a mosquitto, ten parts of an OPC-UA server.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::opcua_server::{NAMESPACE, OpcUaServer};
use super::runtime;
use crate::machines::{Machines, Shape};

/// Every value is a new one so often.
const INTERVAL: Duration = Duration::from_millis(250);
const STREAMS_PER_DEVICE: usize = 50;
const MODBUS: Shape = Shape { devices: 30, streams_per_device: STREAMS_PER_DEVICE, interval: INTERVAL };
const MQTT_DEVICES: usize = 10;
const OPCUA_DEVICES: usize = 10;
/// Messages that mosquitto sends before it waits for an acknowledgement, if nobody configures it.
const IN_FLIGHT_MAX: usize = 20;

/// All devices together.
pub(super) const STREAMS: usize = (MODBUS.devices + MQTT_DEVICES + OPCUA_DEVICES) * STREAMS_PER_DEVICE;
pub(super) const READINGS_PER_SECOND: f64 = STREAMS as f64 / 0.25;

/// The devices, at work on threads and in processes that are not the gateway's.
#[derive(Debug)]
pub(super) struct Plant {
    machines: Machines,
    /// The gateway's configuration.
    pub(super) configuration: String,
    stop: CancellationToken,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Plant {
    /// Starts them; keys and certificates go into `folder`.
    ///
    /// # Errors
    /// When there is no mosquitto, or a server does not start.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let machines = Machines::of_a_plant(MODBUS)?;
        let broker = Broker::start(IN_FLIGHT_MAX)?;
        let server = OpcUaServer::start(OPCUA_DEVICES * STREAMS_PER_DEVICE, &folder.join("server"))?;
        let mut configuration = machines.configuration(MODBUS)?;
        add_mqtt(&mut configuration, &broker)?;
        add_opcua(&mut configuration, &server, folder)?;
        let stop = CancellationToken::new();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            runtime()?.block_on(move_values(&server, &broker, &token))?;
            server.stop().map(drop)
        });
        Ok(Self { machines, configuration, stop, thread })
    }

    /// # Errors
    /// What went wrong while they were at work.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.thread.join().map_err(|_| anyhow::anyhow!("the plant panicked"))??;
        self.machines.stop().map(drop)
    }
}

/// Those that nobody polls.
async fn move_values(server: &OpcUaServer, broker: &Broker, stop: &CancellationToken) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(INTERVAL);
    for number in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        server.burst(1).await?;
        let messages: Vec<(String, String)> = (0..MQTT_DEVICES)
            .flat_map(|device| (0..STREAMS_PER_DEVICE).map(move |line| (device, line)))
            .map(|(device, line)| {
                (format!("hall-{device}/{line}/state"), format!("{{\"value\":{number},\"unit\":\"bar\"}}"))
            })
            .collect();
        broker.publish(&messages).await?;
    }
    Ok(())
}

fn add_mqtt(text: &mut String, broker: &Broker) -> anyhow::Result<()> {
    let each: Vec<String> = (0..STREAMS_PER_DEVICE).map(|line| format!("\"{line}\"")).collect();
    for device in 0..MQTT_DEVICES {
        writeln!(
            text,
            "[[device]]\nname = \"hall-{device}\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{}\"\n\
             client_id = \"bench-{device}\"\nqos = 1\n[[device.stream]]\nname = \"hall-{device}/line-{{line}}\"\n\
             topic = \"hall-{device}/{{line}}/state\"\neach = {{ line = [{}] }}\npointer = \"/value\"\ntype = \"u64\"",
            broker.port,
            each.join(", ")
        )?;
    }
    Ok(())
}

fn add_opcua(text: &mut String, server: &OpcUaServer, folder: &Path) -> anyhow::Result<()> {
    for device in 0..OPCUA_DEVICES {
        writeln!(
            text,
            "[[device]]\nname = \"cell-{device}\"\nprotocol = \"opcua\"\naddress = \"opc.tcp://{}/\"\npki = \"{}\"\n\
             publishing_interval = \"{}ms\"",
            server.address,
            folder.join("client").display(),
            INTERVAL.as_millis()
        )?;
        for within in 0..STREAMS_PER_DEVICE {
            let node = device * STREAMS_PER_DEVICE + within + 1;
            writeln!(
                text,
                "[[device.stream]]\nname = \"cell-{device}/stream-{within}\"\nnode = \"nsu={NAMESPACE};i={node}\"\n\
                 sampling_interval = \"100ms\"\nqueue_size = 10"
            )?;
        }
    }
    Ok(())
}
