//! The plant's streams: over which protocol each comes, which gateway reads it, and the configuration of that gateway.

use std::fmt::Write as _;
use std::net::SocketAddr;

use selvedge_core::reading::Value;

use super::plant::{FILL_ML, Instruments, PUMP_OFF_ABOVE_DL, PUMP_ON_BELOW_DL};

/// The plant's controller, as the configuration names it: Modbus TCP.
pub const DEVICE: &str = "filler-plc";
/// The conveyor's own controller: OPC-UA.
pub const CONVEYOR: &str = "conveyor-plc";
/// The broker that the plant's sensors publish to: MQTT.
pub const BROKER: &str = "plant-broker";
/// The namespace of the conveyor's nodes.
pub const NAMESPACE: &str = "urn:selvedge:demo:conveyor";
/// The stream of the tank's level.
pub const LEVEL: &str = "filler/tank/level";

/// Over what a stream comes, where the plant offers that. All but the messages' values are in the registers too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The filler's registers.
    Modbus,
    /// A node of the conveyor, by the text of its id.
    OpcUa(&'static str),
    /// Messages of a sensor.
    Mqtt,
}

/// One of the plant's streams.
#[derive(Debug, Clone, Copy)]
struct Wired {
    name: &'static str,
    register: &'static str,
    kind: &'static str,
    scale: &'static str,
    unit: &'static str,
    /// What the plant says of it, whichever way: scaled, with the digits that its register has.
    says: fn(&Instruments) -> Value,
    way: Way,
}

const fn wired(
    name: &'static str,
    register: &'static str,
    kind: &'static str,
    scale: &'static str,
    unit: &'static str,
    says: fn(&Instruments) -> Value,
) -> Wired {
    Wired { name, register, kind, scale, unit, says, way: Way::Modbus }
}

impl Wired {
    const fn by(self, way: Way) -> Self {
        Self { way, ..self }
    }
}

fn rounded(value: f64, per_unit: f64) -> Value {
    Value::Float((value * per_unit).round() / per_unit)
}

/// The plant's streams. The first gateway gets the first of them, and with it the tank's level.
const STREAMS: [Wired; 11] = [
    wired(LEVEL, "input:0", "f32", "1", "L", |shown| rounded(shown.level_l.into(), 100.0)),
    wired("filler/flow", "input:2", "u16", "0.01", "L/min", |shown| rounded(shown.flow_l_min, 100.0))
        .by(Way::Mqtt),
    wired("filler/bottle/fill", "input:3", "u16", "1", "mL", |shown| rounded(shown.bottle_ml, 1.0)),
    wired("filler/tank/temperature", "input:4", "i16", "0.1", "Cel", |shown| {
        rounded(shown.temperature_cel, 10.0)
    })
    .by(Way::Mqtt),
    wired("filler/pump/on", "coil:0", "bool", "1", "", |shown| Value::Bool(shown.pump_on)),
    wired("filler/valve/open", "coil:1", "bool", "1", "", |shown| Value::Bool(shown.valve_open)),
    wired("conveyor/speed", "input:5", "u16", "1", "mm/s", |shown| rounded(shown.conveyor_mm_s, 1.0))
        .by(Way::OpcUa("Conveyor.Speed")),
    wired("conveyor/bottles", "input:6", "u32", "1", "", |shown| Value::Unsigned(shown.bottles.into()))
        .by(Way::OpcUa("Conveyor.Bottles")),
    wired("filler/bottle/set-point", "holding:0", "u16", "1", "mL", |_| Value::Float(FILL_ML.into())),
    wired("filler/pump/on-below", "holding:1", "u16", "0.1", "L", |_| {
        rounded(f64::from(PUMP_ON_BELOW_DL) / 10.0, 10.0)
    }),
    wired("filler/pump/off-above", "holding:2", "u16", "0.1", "L", |_| {
        rounded(f64::from(PUMP_OFF_ABOVE_DL) / 10.0, 10.0)
    }),
];

/// Gateways that the plant's streams can be divided among, so that each has one that changes.
pub const GATEWAYS_MAX: usize = 7;

/// The streams of one of `count` gateways: a stretch of the plant each, none left out.
fn streams_of(gateway: usize, count: usize) -> impl Iterator<Item = &'static Wired> {
    let first = |gateway: usize| (gateway * STREAMS.len()).div_ceil(count);
    STREAMS[first(gateway)..first(gateway + 1)].iter()
}

/// The names of the streams of one of `count` gateways.
pub fn stream_names(gateway: usize, count: usize) -> Vec<&'static str> {
    streams_of(gateway, count).map(|stream| stream.name).collect()
}

/// What the plant says at one moment, of each stream: name and value.
pub fn said(shown: &Instruments) -> impl Iterator<Item = (&'static str, Value)> {
    STREAMS.iter().map(|stream| (stream.name, (stream.says)(shown)))
}

/// What its sensors publish at one moment: name of the stream and value.
pub fn published(shown: &Instruments) -> impl Iterator<Item = (&'static str, Value)> {
    let sensors = STREAMS.iter().filter(|stream| stream.way == Way::Mqtt);
    sensors.map(|stream| (stream.name, (stream.says)(shown)))
}

/// What the conveyor's nodes hold at one moment: text of the node's id and value.
pub fn nodes(shown: &Instruments) -> impl Iterator<Item = (&'static str, Value)> {
    STREAMS.iter().filter_map(|stream| match stream.way {
        Way::OpcUa(node) => Some((node, (stream.says)(shown))),
        Way::Modbus | Way::Mqtt => None,
    })
}

/// Where the plant is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Its registers.
    pub modbus: SocketAddr,
    /// Its conveyor; `None`: this program has no OPC-UA server, and the conveyor is in the registers.
    pub opcua: Option<SocketAddr>,
}

/// Where the plant's messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// The broker: host and port.
    pub broker: String,
    /// What stands before each topic, so that two demos at one broker do not meet.
    pub prefix: String,
}

/// Where a gateway is on the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// What it says of itself, when that is not where it listens.
    pub advertise: Option<SocketAddr>,
    /// Whom it dials.
    pub peers: Vec<SocketAddr>,
}

/// What a gateway of the demo is to do.
#[derive(Debug, Clone)]
pub struct Task<'a> {
    /// Which of them.
    pub gateway: usize,
    /// How many there are.
    pub count: usize,
    /// The plant.
    pub plant: Places,
    /// Where part of its streams is published.
    pub messages: Option<&'a Messages>,
    /// Its place on the network; `None`: it is alone.
    pub network: Option<&'a Network>,
}

/// How the demo's gateways, and the forger's, work.
pub const PACE: &str = r#"# A gateway of `selvedge demo`: an ordinary configuration. `selvedge init` writes one with a comment on every key.

[batch]
# Ten seconds by default; a demonstration has less patience.
age = "2s"

[journal]
sync_within = "200ms"
"#;

/// The name of a gateway's MQTT session at the broker.
pub fn client_id(messages: &Messages, gateway: usize) -> String {
    format!("{}-{}", messages.prefix.replace('/', "-"), gateway + 1)
}

impl Task<'_> {
    /// The way that a stream of this plant takes.
    fn way(&self, stream: &Wired) -> Way {
        let offered = match stream.way {
            Way::Modbus => true,
            Way::OpcUa(_) => self.plant.opcua.is_some(),
            Way::Mqtt => self.messages.is_some(),
        };
        if offered { stream.way } else { Way::Modbus }
    }

    fn streams(&self, is_it: impl Fn(Way) -> bool) -> Vec<&'static Wired> {
        streams_of(self.gateway, self.count).filter(|stream| is_it(self.way(stream))).collect()
    }

    /// Does this gateway listen to the broker?
    pub fn subscribes(&self) -> bool {
        !self.streams(|way| way == Way::Mqtt).is_empty()
    }

    /// The configuration: an ordinary one, such as `init` writes, with the plant as its devices.
    pub fn configuration(&self) -> String {
        let mut text = PACE.to_owned();
        if let Some(network) = self.network {
            network_table(&mut text, network);
        }
        self.modbus(&mut text, &self.streams(|way| way == Way::Modbus));
        if let Some(server) = self.plant.opcua {
            opcua(&mut text, server, &self.streams(|way| matches!(way, Way::OpcUa(_))));
        }
        if let Some(messages) = self.messages {
            self.mqtt(&mut text, messages, &self.streams(|way| way == Way::Mqtt));
        }
        text
    }

    fn modbus(&self, text: &mut String, streams: &[&Wired]) {
        if streams.is_empty() {
            return;
        }
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            text,
            r#"
# The simulated plant. It ran while the demo ran, so by now nothing answers there.
[[device]]
name = "{DEVICE}"
protocol = "modbus-tcp"
address = "{}"
poll_interval = "250ms"
timeout = "1s"
"#,
            self.plant.modbus
        );
        for Wired { name, register, kind, scale, unit, .. } in streams {
            stream_table(text, &[("name", name), ("register", register), ("type", kind), ("unit", unit)]);
            if *scale != "1" {
                let _ = writeln!(text, "scale = {scale}");
            }
        }
    }

    fn mqtt(&self, text: &mut String, messages: &Messages, streams: &[&Wired]) {
        if streams.is_empty() {
            return;
        }
        let Messages { broker, prefix } = messages;
        let _ = write!(
            text,
            r#"
# Sensors of the same plant, by way of a broker.
[[device]]
name = "{BROKER}"
protocol = "mqtt"
address = "{broker}"
client_id = "{}"
"#,
            client_id(messages, self.gateway)
        );
        for Wired { name, unit, .. } in streams {
            let topic = format!("{prefix}/{name}");
            let keys = [("name", *name), ("topic", &topic), ("pointer", "/value"), ("time", "/time")];
            stream_table(text, &keys);
            let _ = writeln!(text, "type = \"f64\"");
            if !unit.is_empty() {
                let _ = writeln!(text, "unit = \"{unit}\"");
            }
        }
    }
}

fn opcua(text: &mut String, server: SocketAddr, streams: &[&Wired]) {
    if streams.is_empty() {
        return;
    }
    let _ = write!(
        text,
        r#"
# The conveyor of the same plant, whose controller is an OPC-UA server.
[[device]]
name = "{CONVEYOR}"
protocol = "opcua"
address = "opc.tcp://{server}"
publishing_interval = "250ms"
"#
    );
    for stream in streams {
        let Way::OpcUa(node) = stream.way else { continue };
        let node = format!("nsu={NAMESPACE};s={node}");
        // Each change, with the time at which the controller saw it.
        let keys =
            [("name", stream.name), ("node", &node), ("sampling_interval", "0ms"), ("unit", stream.unit)];
        stream_table(text, &keys);
    }
}

fn network_table(text: &mut String, network: &Network) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"
[network]
# Any free port. The demo handed the ports of that run on, so a gateway that is started again by hand needs new peers.
listen = "127.0.0.1:0"
"#
    );
    if let Some(at) = network.advertise {
        let _ = writeln!(text, "advertise = [\"{at}\"]");
    }
    let peers: Vec<String> = network.peers.iter().map(|peer| format!("\"{peer}\"")).collect();
    let _ = writeln!(text, "peers = [{}]", peers.join(", "));
}

fn stream_table(text: &mut String, keys: &[(&str, &str)]) {
    text.push_str("\n[[device.stream]]\n");
    for (key, value) in keys.iter().filter(|(_, value)| !value.is_empty()) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{key} = \"{value}\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn messages() -> Messages {
        Messages { broker: "127.0.0.1:1883".into(), prefix: "selvedge-demo/0a1b2c3d".into() }
    }

    /// Whichever protocols the plant offers: each stream is read by one gateway, and each gateway has some.
    #[test]
    fn the_configurations_are_valid_and_divide_all_streams() {
        let network = Network {
            advertise: Some("127.0.0.1:7450".parse().unwrap()),
            peers: vec!["127.0.0.1:7451".parse().unwrap(), "127.0.0.1:7452".parse().unwrap()],
        };
        let server = Some("127.0.0.1:4840".parse().unwrap());
        for count in 1..=GATEWAYS_MAX {
            for (opcua, messages) in
                [(None, None), (None, Some(&messages())), (server, None), (server, Some(&messages()))]
            {
                let mut names = Vec::new();
                for gateway in 0..count {
                    let network = (count > 1).then_some(&network);
                    let plant = Places { modbus: "127.0.0.1:502".parse().unwrap(), opcua };
                    let task = Task { gateway, count, plant, messages, network };
                    let text = task.configuration();
                    let settings = config::parse(&text).unwrap_or_else(|why| panic!("{why:?}\n{text}"));
                    assert_eq!(settings.batch.age_max_us, 2_000_000);
                    let streams = settings.devices.iter().flat_map(|device| device.streams());
                    let before = names.len();
                    names.extend(streams.map(|stream| stream.descriptor.name.clone()));
                    assert!(names.len() > before, "gateway {gateway} of {count} has nothing to do");
                    let reads = |device: &str| settings.devices.iter().any(|one| one.device() == device);
                    let has =
                        |way: fn(&Way) -> bool| streams_of(gateway, count).any(|stream| way(&stream.way));
                    assert_eq!(reads(CONVEYOR), opcua.is_some() && has(|way| matches!(way, Way::OpcUa(_))));
                    let listens = settings.devices.iter().any(|device| device.device() == BROKER);
                    assert_eq!(listens, task.subscribes());
                }
                assert_eq!(names[0], LEVEL);
                names.sort();
                let mut all = STREAMS.map(|stream| stream.name.to_owned()).to_vec();
                all.sort();
                assert_eq!(names, all, "{count} gateways");
            }
        }
    }
}
