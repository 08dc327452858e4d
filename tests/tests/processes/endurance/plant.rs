//! Fifty devices: Modbus units that count what they are asked, an OPC-UA server, machines that publish to a broker, and
//! edge nodes of Sparkplug. Three are dead, each in its own way, and one comes and goes.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use selvedge_tests::broker::{Broker, Publisher};
use selvedge_tests::device::{node, python};
use selvedge_tests::line::{Line, Lines, Wire};
use selvedge_tests::process::{Output, Process};
use selvedge_tests::project;
use serde_json::Value;
use tokio::net::TcpSocket;

/// Lines that five units share; behind the first there is a dead one too.
const LINES: u8 = 4;
const UNITS: [u8; 5] = [1, 2, 3, 4, 5];
const DEAD_UNIT: u8 = 9;
/// Devices with an address of their own.
const METERS: usize = 6;
const OPCUA: usize = 10;
const MQTT: usize = 8;
const SPARKPLUG: usize = 2;

/// Each Modbus device is polled once in this time.
pub(super) const POLL: Duration = Duration::from_secs(1);
/// Machines publish once in this time.
const PUBLISH: Duration = Duration::from_millis(500);
/// The value of the OPC-UA server's node changes once in this time, in milliseconds.
const TICK_MS: u64 = 250;
/// How often a client of the OPC-UA server is told.
const PUBLISHING: &str = "500ms";

/// Nothing listens there.
pub(super) const OFF: &str = "dead-off";
/// Connections are accepted, requests taken, and nothing is answered.
pub(super) const MUTE: &str = "dead-mute";
/// A unit that does not answer, on the first line.
pub(super) const UNIT: &str = "dead-unit";
/// Its way is cut and mended.
pub(super) const FLAPPING: &str = "flapping";

/// How a device is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Good,
    Dead,
    Flapping,
}

/// A device in the configuration.
#[derive(Debug, Clone)]
pub(super) struct Device {
    pub(super) name: String,
    pub(super) protocol: &'static str,
    pub(super) fate: Fate,
    /// It shares a line with a dead one.
    pub(super) is_neighbour: bool,
}

impl Device {
    /// The stream of its count.
    pub(super) fn count(&self) -> String {
        format!("{}/count", self.name)
    }
}

/// All that is read.
pub(super) struct Plant {
    _lines: Lines,
    line: Vec<Line>,
    meters: Vec<Line>,
    mute: Line,
    behind: Line,
    pub(super) wire: Wire,
    /// Bound, and nobody listens: the port is nobody else's.
    off: TcpSocket,
    opcua: Process,
    said: Value,
    broker: Broker,
    edges: Vec<Process>,
}

impl Plant {
    pub(super) fn start() -> Self {
        let lines = Lines::new();
        let line = (0..LINES)
            .map(|number| lines.line(&UNITS, if number == 0 { &[DEAD_UNIT] } else { &[] }))
            .collect();
        let meters = (0..METERS).map(|_| lines.line(&[1], &[])).collect();
        let (mute, behind) = (lines.line(&[], &[1]), lines.line(&[1], &[]));
        let wire = lines.wire(behind.address());
        let off = TcpSocket::new_v4().expect("a socket");
        off.bind(([127, 0, 0, 1], 0).into()).expect("a free port");
        let script = project().join("tests/servers/opcua_asyncua.py");
        let mut opcua = Process::start(Command::new(python()).arg(script));
        let said = opcua.line(Output::Out, "its url", |line| line.starts_with('{'));
        let said = serde_json::from_str(&said).expect("JSON");
        command(&mut opcua, &format!("count Filler.Ticks {TICK_MS}"));
        let broker = Broker::start();
        let port = broker.port().to_string();
        let edge = |number: usize| {
            let edge = format!("edge{number}");
            Process::start(node("sparkplug.mjs").args([&port, "works", &edge]))
        };
        let edges: Vec<Process> = (1..=SPARKPLUG).map(edge).collect();
        for edge in &edges {
            edge.line(Output::Out, "that it is born", |line| line.contains("ready"));
        }
        Self { _lines: lines, line, meters, mute, behind, wire, off, opcua, said, broker, edges }
    }

    /// All of them.
    pub(super) fn devices() -> Vec<Device> {
        let device = |name: String, protocol, fate| Device { name, protocol, fate, is_neighbour: false };
        let mut devices = Vec::new();
        for line in 1..=LINES {
            let unit = |unit| Device {
                is_neighbour: line == 1,
                ..device(format!("line{line}-{unit}"), "modbus-tcp", Fate::Good)
            };
            devices.extend(UNITS.map(unit));
        }
        for (kind, protocol, count) in [
            ("meter", "modbus-tcp", METERS),
            ("opcua", "opcua", OPCUA),
            ("mqtt", "mqtt", MQTT),
            ("sparkplug", "sparkplug", SPARKPLUG),
        ] {
            devices.extend((1..=count).map(|number| device(format!("{kind}{number}"), protocol, Fate::Good)));
        }
        devices.extend([OFF, MUTE, UNIT].map(|name| device(name.to_owned(), "modbus-tcp", Fate::Dead)));
        devices.push(device(FLAPPING.to_owned(), "modbus-tcp", Fate::Flapping));
        devices
    }

    /// The tables of all of them.
    pub(super) fn config(&self) -> String {
        let mut text = String::new();
        for (number, line) in (1..).zip(&self.line) {
            for unit in UNITS {
                modbus(&mut text, &format!("line{number}-{unit}"), line.address(), unit, "5s");
            }
        }
        for (number, meter) in (1..).zip(&self.meters) {
            modbus(&mut text, &format!("meter{number}"), meter.address(), 1, "5s");
        }
        let off = self.off.local_addr().expect("it is bound");
        modbus(&mut text, OFF, off, 1, "1s");
        modbus(&mut text, MUTE, self.mute.address(), 1, "1s");
        modbus(&mut text, UNIT, self.line[0].address(), DEAD_UNIT, "300ms");
        modbus(&mut text, FLAPPING, self.wire.address(), 1, "1s");
        let nodes = self.said["nodes"].as_array().expect("a list");
        let ticks = nodes.iter().find(|node| node["name"] == "Filler.Ticks").expect("the node that counts");
        for number in 1..=OPCUA {
            let lines = format!(
                "address = {}\npublishing_interval = \"{PUBLISHING}\"\n\n[[device.stream]]\nname = \"opcua{number}/count\"\n\
                 node = {}\nsampling_interval = \"0ms\"\n",
                self.said["url"], ticks["node"]
            );
            device(&mut text, &format!("opcua{number}"), "opcua", &lines);
        }
        let broker = format!("address = \"127.0.0.1:{}\"\n", self.broker.port());
        for number in 1..=MQTT {
            let lines = format!(
                "{broker}\n[[device.stream]]\nname = \"mqtt{number}/count\"\ntopic = \"{}\"\npointer = \"/n\"\n\
                 time = \"/t\"\ntype = \"u64\"\n",
                topic(number)
            );
            device(&mut text, &format!("mqtt{number}"), "mqtt", &lines);
        }
        for number in 1..=SPARKPLUG {
            let lines = format!(
                "{broker}group = \"works\"\n\n[[device.stream]]\nname = \"sparkplug{number}/count\"\n\
                 node = \"edge{number}\"\nmetric = \"Count\"\n"
            );
            device(&mut text, &format!("sparkplug{number}"), "sparkplug", &lines);
        }
        text
    }

    /// Lets the machines publish, and the edge nodes send, until that is [`end`](Publishing::end)ed.
    pub(super) fn publish(&mut self) -> Publishing {
        let mut publishers: Vec<Publisher> =
            (1..=MQTT).map(|number| self.broker.publisher(&topic(number), 1)).collect();
        let mut edges = std::mem::take(&mut self.edges);
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut said = 0;
            while !seen.load(Ordering::SeqCst) {
                said += 1;
                for publisher in &mut publishers {
                    publisher.say(&format!("{{\"n\": {said}, \"t\": {}}}", now_ns() / 1_000_000));
                }
                for edge in &mut edges {
                    edge.say(&format!("data Count {said}"));
                }
                // The machines' own pace: nothing waits for it.
                std::thread::sleep(PUBLISH);
            }
            publishers.into_iter().for_each(Publisher::finish);
            (said, edges)
        });
        Publishing { is_over, thread }
    }

    /// The OPC-UA server's node changes no more; returns its last value.
    pub(super) fn stop_ticking(&mut self) -> u64 {
        command(&mut self.opcua, "count Filler.Ticks 0");
        let before = self.opcua.lines(Output::Out).len();
        self.opcua.say("get Filler.Ticks");
        let said = self.opcua.line_from(Output::Out, before, "the value", |line| line.starts_with('{'));
        let said: Value = serde_json::from_str(&said).expect("JSON");
        said["value"].as_u64().expect("a number")
    }

    /// The last number that a Modbus device gave.
    pub(super) fn given(&self, device: &str) -> u32 {
        if device == FLAPPING {
            return self.behind.unit(1).given;
        }
        let number = |text: &str| text.parse::<usize>().expect("a number");
        if let Some(meter) = device.strip_prefix("meter") {
            return self.meters[number(meter) - 1].unit(1).given;
        }
        let (line, unit) =
            device.strip_prefix("line").and_then(|rest| rest.split_once('-')).expect("a unit on a line");
        self.line[number(line) - 1].unit(number(unit) as u8).given
    }

    /// When a dead device that takes requests was asked: seconds between one request and the next.
    pub(super) fn between_attempts(&self, device: &str) -> Vec<f64> {
        let unit = if device == MUTE { self.mute.unit(1) } else { self.line[0].unit(DEAD_UNIT) };
        unit.asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect()
    }
}

/// Machines and edge nodes that send.
pub(super) struct Publishing {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<(u64, Vec<Process>)>,
}

impl Publishing {
    /// Ends it once the broker has all that the machines said: how many numbers, and the edge nodes, which live on.
    pub(super) fn end(self) -> (u64, Vec<Process>) {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().expect("nobody who publishes ended before")
    }
}

/// Nanoseconds since 1970 UTC.
pub(super) fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_nanos()).expect("a clock before 2262")
}

fn command(server: &mut Process, line: &str) {
    let before = server.lines(Output::Out).len();
    server.say(line);
    server.line_from(Output::Out, before, "that it did so", |said| said == line);
}

fn topic(number: usize) -> String {
    format!("works/machine{number}")
}

fn device(text: &mut String, name: &str, protocol: &str, lines: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "[[device]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\n{lines}");
}

/// A count, and four values beside it that are read with it.
fn modbus(text: &mut String, name: &str, at: std::net::SocketAddr, unit: u8, timeout: &str) {
    let mut lines = format!(
        "address = \"{at}\"\nunit_id = {unit}\npoll_interval = \"{}ms\"\ntimeout = \"{timeout}\"\n\n\
         [[device.stream]]\nname = \"{name}/count\"\nregister = \"holding:0\"\ntype = \"u32\"\n",
        POLL.as_millis()
    );
    for register in 2..6 {
        let _ = write!(
            lines,
            "\n[[device.stream]]\nname = \"{name}/value{register}\"\nregister = \"holding:{register}\"\ntype = \"u16\"\n"
        );
    }
    device(text, name, "modbus-tcp", &lines);
}
