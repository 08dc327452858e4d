//! The plant on a Modbus TCP socket, its streams divided among gateways, and the configuration of each of them.
//!
//! | address | type | what |
//! |---|---|---|
//! | input 0, 1 | f32 | level of the tank, L |
//! | input 2 | u16 | flow through the valve, 0.01 L/min |
//! | input 3 | u16 | bottle under the valve, mL |
//! | input 4 | i16 | temperature in the tank, 0.1 °C |
//! | input 5 | u16 | speed of the conveyor, mm/s |
//! | input 6, 7 | u32 | bottles filled |
//! | coil 0, 1 | bit | pump on, valve open |
//! | holding 0, 1, 2 | u16 | set points: fill of a bottle, mL; pump on below and off above, 0.1 L |

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_adapters::modbus::Table;
use edge_adapters::modbus::server::{self, Bank};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::plant::{FILL_ML, Instruments, PUMP_OFF_ABOVE_DL, PUMP_ON_BELOW_DL, Plant};

/// The plant's device, as its configuration names it.
pub const DEVICE: &str = "filler-plc";
/// The broker, as the configuration names it.
pub const BROKER: &str = "plant-broker";
/// The stream of the tank's level.
pub const LEVEL: &str = "filler/tank/level";
/// Registers and bits that the plant has.
const BANK_SIZE: usize = 16;
/// The registers change this often.
const TURN_EVERY: Duration = Duration::from_millis(20);

/// A plant that runs and can be polled.
#[derive(Debug)]
pub struct RunningPlant {
    address: SocketAddr,
    bank: Arc<Bank>,
    instruments: watch::Receiver<Instruments>,
    stop: CancellationToken,
    turning: JoinHandle<Plant>,
    serving: JoinHandle<io::Result<()>>,
}

impl RunningPlant {
    /// Starts it on a free port of this machine.
    ///
    /// # Errors
    /// When the system gives no port.
    pub async fn start(seed: &[u8; 32]) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let plant = Plant::new(seed);
        let bank = Arc::new(Bank::new(BANK_SIZE));
        bank.set_registers(Table::Holding, 0, &[FILL_ML, PUMP_ON_BELOW_DL, PUMP_OFF_ABOVE_DL]);
        // Before anybody can connect: an answer of zeros would be a reading.
        show(&bank, &plant.instruments());
        let stop = CancellationToken::new();
        let (out, instruments) = watch::channel(plant.instruments());
        let turning = tokio::spawn(turn(plant, Arc::clone(&bank), out, stop.clone()));
        let serving = tokio::spawn(server::serve(listener, Arc::clone(&bank), stop.clone()));
        Ok(Self { address, bank, instruments, stop, turning, serving })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its instruments show, from now on.
    pub fn instruments(&self) -> watch::Receiver<Instruments> {
        self.instruments.clone()
    }

    /// Modbus requests that it answered.
    pub fn requests(&self) -> u64 {
        self.bank.requests()
    }

    /// Stops it, and gives back the plant as it then is.
    ///
    /// # Errors
    /// When it had stopped by itself.
    pub async fn stop(self) -> anyhow::Result<Plant> {
        self.stop.cancel();
        self.serving.await??;
        Ok(self.turning.await?)
    }
}

/// Lets the plant run in real time.
async fn turn(
    mut plant: Plant,
    bank: Arc<Bank>,
    out: watch::Sender<Instruments>,
    stop: CancellationToken,
) -> Plant {
    let mut ticks = tokio::time::interval(TURN_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut then = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return plant,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        plant.step(now - then);
        then = now;
        show(&bank, &plant.instruments());
        out.send_replace(plant.instruments());
    }
}

fn show(bank: &Bank, shown: &Instruments) {
    bank.set_registers(Table::Input, 0, &input_registers(shown));
    bank.set_bit(Table::Coil, 0, shown.pump_on);
    bank.set_bit(Table::Coil, 1, shown.valve_open);
}

fn input_registers(shown: &Instruments) -> [u16; 8] {
    let level = shown.level_l.to_bits();
    [
        (level >> 16) as u16,
        level as u16,
        (shown.flow_l_min * 100.0).round() as u16,
        shown.bottle_ml.round() as u16,
        // A negative number travels as its two's complement.
        (shown.temperature_cel * 10.0).round() as i16 as u16,
        shown.conveyor_mm_s.round() as u16,
        (shown.bottles >> 16) as u16,
        shown.bottles as u16,
    ]
}

/// One of the plant's streams.
#[derive(Debug, Clone, Copy)]
struct Wired {
    name: &'static str,
    register: &'static str,
    kind: &'static str,
    scale: &'static str,
    unit: &'static str,
    /// Is it published, where the plant has a broker?
    publishes: Option<fn(&Instruments) -> f64>,
}

const fn wired(
    name: &'static str,
    register: &'static str,
    kind: &'static str,
    scale: &'static str,
    unit: &'static str,
) -> Wired {
    Wired { name, register, kind, scale, unit, publishes: None }
}

impl Wired {
    const fn published(self, value: fn(&Instruments) -> f64) -> Self {
        Self { publishes: Some(value), ..self }
    }
}

/// The plant's streams. The first gateway gets the first of them, and with it the tank's level.
const STREAMS: [Wired; 11] = [
    wired(LEVEL, "input:0", "f32", "1", "L"),
    wired("filler/flow", "input:2", "u16", "0.01", "L/min"),
    wired("filler/bottle/fill", "input:3", "u16", "1", "mL"),
    wired("filler/tank/temperature", "input:4", "i16", "0.1", "Cel")
        .published(|shown| (shown.temperature_cel * 10.0).round() / 10.0),
    wired("filler/pump/on", "coil:0", "bool", "1", ""),
    wired("filler/valve/open", "coil:1", "bool", "1", ""),
    wired("conveyor/speed", "input:5", "u16", "1", "mm/s").published(|shown| shown.conveyor_mm_s.round()),
    wired("conveyor/bottles", "input:6", "u32", "1", "").published(|shown| f64::from(shown.bottles)),
    wired("filler/bottle/set-point", "holding:0", "u16", "1", "mL"),
    wired("filler/pump/on-below", "holding:1", "u16", "0.1", "L"),
    wired("filler/pump/off-above", "holding:2", "u16", "0.1", "L"),
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

/// What the plant publishes at one moment: name of the stream and value.
pub fn published(shown: &Instruments) -> Vec<(&'static str, f64)> {
    STREAMS.iter().filter_map(|stream| Some((stream.name, stream.publishes?(shown)))).collect()
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
    /// The plant, Modbus TCP.
    pub plant: SocketAddr,
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
    /// The streams that come by way of the broker.
    fn is_published(&self, stream: &Wired) -> bool {
        self.messages.is_some() && stream.publishes.is_some()
    }

    /// Does this gateway listen to the broker?
    pub fn subscribes(&self) -> bool {
        streams_of(self.gateway, self.count).any(|stream| self.is_published(stream))
    }

    /// The configuration: an ordinary one, such as `init` writes, with the plant as its device.
    pub fn configuration(&self) -> String {
        let mut text = PACE.to_owned();
        if let Some(network) = self.network {
            network_table(&mut text, network);
        }
        let (published, polled): (Vec<_>, Vec<_>) =
            streams_of(self.gateway, self.count).partition(|stream| self.is_published(stream));
        if !polled.is_empty() {
            self.modbus(&mut text, &polled);
        }
        if let Some(messages) = self.messages.filter(|_| !published.is_empty()) {
            self.mqtt(&mut text, messages, &published);
        }
        text
    }

    fn modbus(&self, text: &mut String, streams: &[&Wired]) {
        // Writing to a string cannot fail.
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
            self.plant
        );
        for Wired { name, register, kind, scale, unit, .. } in streams {
            stream_table(text, &[("name", name), ("register", register), ("type", kind), ("unit", unit)]);
            if *scale != "1" {
                let _ = writeln!(text, "scale = {scale}");
            }
        }
    }

    fn mqtt(&self, text: &mut String, messages: &Messages, streams: &[&Wired]) {
        let Messages { broker, prefix } = messages;
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            r#"
# The same plant, by way of a broker.
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
    use std::collections::BTreeMap;

    use edge_adapters::{Clock, SystemClock, Trial, TrialEvent};
    use selvedge_core::reading::{Quality, Value};

    use super::*;
    use crate::config;

    #[test]
    fn registers_hold_what_the_instruments_show() {
        let mut plant = Plant::new(&[3; 32]);
        plant.step(Duration::from_secs(7));
        let shown = Instruments { temperature_cel: -0.7, bottles: 70_000, ..plant.instruments() };
        let registers = input_registers(&shown);
        let level = f32::from_bits(u32::from(registers[0]) << 16 | u32::from(registers[1]));
        assert_eq!(level.to_bits(), shown.level_l.to_bits());
        assert_eq!(registers[4] as i16, -7);
        assert_eq!(registers[6..], [1, 4_464]);
    }

    fn messages() -> Messages {
        Messages { broker: "127.0.0.1:1883".into(), prefix: "selvedge-demo/0a1b2c3d".into() }
    }

    /// Whether one broker, several gateways or both: each stream is read by one gateway, and each gateway has some.
    #[test]
    fn the_configurations_are_valid_and_divide_all_streams() {
        let network = Network {
            advertise: Some("127.0.0.1:7450".parse().unwrap()),
            peers: vec!["127.0.0.1:7451".parse().unwrap(), "127.0.0.1:7452".parse().unwrap()],
        };
        for count in 1..=GATEWAYS_MAX {
            for messages in [None, Some(&messages())] {
                let mut names = Vec::new();
                for gateway in 0..count {
                    let network = (count > 1).then_some(&network);
                    let plant = "127.0.0.1:502".parse().unwrap();
                    let task = Task { gateway, count, plant, messages, network };
                    let text = task.configuration();
                    let settings = config::parse(&text).unwrap_or_else(|why| panic!("{why:?}\n{text}"));
                    assert_eq!(settings.batch.age_max_us, 2_000_000);
                    let streams = settings.devices.iter().flat_map(|device| device.streams());
                    let before = names.len();
                    names.extend(streams.map(|stream| stream.descriptor.name.clone()));
                    assert!(names.len() > before, "gateway {gateway} of {count} has nothing to do");
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

    #[tokio::test]
    async fn an_adapter_reads_the_running_plant() {
        let plant = RunningPlant::start(&[5; 32]).await.unwrap();
        let task = Task { gateway: 0, count: 1, plant: plant.address(), messages: None, network: None };
        let settings = config::parse(&task.configuration()).expect("valid");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut trial = Trial::start(Arc::clone(&settings.devices[0]), Duration::from_secs(30), &clock);
        let mut seen = BTreeMap::new();
        while seen.len() < 11 {
            if let TrialEvent::Reading(reading) = trial.next().await.expect("all streams within 30 s") {
                assert_eq!(reading.quality, Quality::Good, "{reading:?}");
                seen.insert(reading.stream.clone(), reading.raw);
            }
        }
        let Value::Float(level_l) = seen[LEVEL] else { panic!("{seen:?}") };
        assert!((38.0..42.0).contains(&level_l), "{level_l}");
        assert_eq!(seen["filler/bottle/set-point"], Value::Unsigned(u64::from(FILL_ML)));
        assert_eq!(seen["filler/pump/on-below"], Value::Unsigned(u64::from(PUMP_ON_BELOW_DL)));
        assert!(plant.requests() >= 3);
        drop(trial);
        assert!(plant.stop().await.unwrap().accounts().is_balanced());
    }
}
