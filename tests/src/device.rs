//! A device: a real pymodbus server in a process of its own (`tests/servers/modbus.py`).

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::process::{Output, Process};
use crate::project;

/// The interpreter that has the packages of `tests/requirements.txt`.
pub fn python() -> PathBuf {
    let path = std::env::var_os("SELVEDGE_TEST_PYTHON")
        .map_or_else(|| project().join(".test-env/python/bin/python"), PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: this test needs Python with the packages of tests/requirements.txt. `tests/run` installs it \
         there; or name an interpreter that has them in SELVEDGE_TEST_PYTHON",
        path.display()
    );
    path
}

/// A Node.js program of `tests/servers`, with the packages of `tests/package.json`.
pub fn node(script: &str) -> Command {
    let modules = std::env::var_os("SELVEDGE_TEST_NODE_MODULES")
        .map_or_else(|| project().join(".test-env/node/node_modules"), PathBuf::from);
    assert!(
        modules.exists(),
        "{} is missing: this test needs the packages of tests/package.json. `tests/run` installs them there; or name \
         another place in SELVEDGE_TEST_NODE_MODULES",
        modules.display()
    );
    let mut command = Command::new("node");
    command.arg(project().join("tests/servers").join(script)).env("SELVEDGE_TEST_NODE_MODULES", modules);
    command
}

fn script() -> PathBuf {
    project().join("tests/servers/modbus.py")
}

/// A device that serves registers of all types and orders, and numbers that are new at each read.
#[derive(Debug)]
pub struct Device {
    process: Process,
    port: u16,
    streams: Vec<Value>,
    counters: Vec<Value>,
}

impl Device {
    /// Starts one that answers as it should.
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with a second unit behind its address, 2.
    pub fn on_two_units() -> Self {
        Self::with(&["--units", "2"])
    }

    /// Starts one on a port that can be taken again after [`unplug`](Self::unplug).
    pub fn on_stable_port() -> Self {
        Self::with(&["--stable"])
    }

    /// Starts one in a mode: see the head of `modbus.py`.
    pub fn in_mode(mode: &str) -> Self {
        Self::with(&["--mode", mode])
    }

    /// Starts one on this port.
    pub fn on_port(port: u16) -> Self {
        Self::with(&["--port", &port.to_string()])
    }

    /// Starts one by this command, which runs the program that its further arguments name: on another machine, say.
    pub fn by(mut command: Command) -> Self {
        command.arg(python()).arg(script());
        Self::started(&mut command)
    }

    fn with(arguments: &[&str]) -> Self {
        Self::started(Command::new(python()).arg(script()).args(arguments))
    }

    fn started(command: &mut Command) -> Self {
        let process = Process::start(command);
        let line = process.line(Output::Out, "that it listens", |line| line.starts_with('{'));
        let said: Value = serde_json::from_str(&line).expect("a line of JSON");
        let list = |name: &str| said[name].as_array().expect("a list of streams").clone();
        let port = said["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        Self { process, port, streams: list("streams"), counters: list("counters") }
    }

    /// Its port on 127.0.0.1.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What it holds, and how each value must be shown (`value`).
    pub fn streams(&self) -> &[Value] {
        &self.streams
    }

    /// Changes how it answers, and returns once that holds.
    pub fn mode(&mut self, mode: &str) {
        let before = self.process.lines(Output::Out).len();
        let command = format!("mode {mode}");
        self.process.say(&command);
        self.process.line_from(Output::Out, before, "that it changed its mode", |line| line == command);
    }

    /// Requests to write that it got, whatever it made of them.
    pub fn writes(&mut self) -> u64 {
        let before = self.process.lines(Output::Out).len();
        self.process.say("writes");
        let line = self
            .process
            .line_from(Output::Out, before, "how often it was written to", |line| line.starts_with('{'));
        let said: Value = serde_json::from_str(&line).expect("a line of JSON");
        said["writes"].as_u64().expect("a number")
    }

    /// Ends it, with all of its connections. Returns its port.
    pub fn unplug(self) -> u16 {
        self.port
    }

    /// A `[[device]]` table that reads all that it holds.
    pub fn config(&self, poll_interval: &str, timeout: &str) -> String {
        table(self.port, poll_interval, timeout, &self.streams)
    }

    /// A `[[device]]` table that reads only the numbers that are new at each read.
    pub fn counters_config(&self, poll_interval: &str) -> String {
        table(self.port, poll_interval, "5s", &self.counters)
    }

    /// A `[[device]]` table that reads all of that: many readings a poll.
    pub fn everything_config(&self, poll_interval: &str) -> String {
        table(self.port, poll_interval, "5s", &[&self.counters[..], &self.streams].concat())
    }

    /// Names of the streams of [`counters_config`](Self::counters_config).
    pub fn counter_names(&self) -> Vec<String> {
        self.counters.iter().map(|s| s["name"].as_str().expect("a name").to_owned()).collect()
    }
}

/// A `[[device]]` table.
fn table(port: u16, poll_interval: &str, timeout: &str, streams: &[Value]) -> String {
    let mut text = format!(
        "[[device]]\nname = \"machine\"\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         poll_interval = \"{poll_interval}\"\ntimeout = \"{timeout}\"\n"
    );
    for stream in streams {
        text.push_str("\n[[device.stream]]\n");
        for key in ["name", "register", "type", "order", "scale", "offset", "unit", "not_available"] {
            if let Some(value) = stream.get(key).filter(|value| !value.is_null()) {
                // These values of JSON are values of TOML too. Writing to a string cannot fail.
                let _ = writeln!(text, "{key} = {value}");
            }
        }
    }
    text
}
