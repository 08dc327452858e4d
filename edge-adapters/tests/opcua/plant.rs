//! The plant of `tests/servers/opcua_plant.json`, served by either of two servers, and an adapter that reads it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::config::sources;
use edge_adapters::{Clock, DecodedReading, DeviceSnapshot, DeviceState, SystemClock, Trial, TrialEvent};
use selvedge_core::reading::Quality;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{Server, WITHIN};

/// Longer than any test takes.
const TRIAL: Duration = Duration::from_mins(10);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Asyncua,
    Node,
}

/// A server with the plant.
pub(crate) struct Plant {
    pub(crate) server: Server,
    pub(crate) said: Value,
}

impl Plant {
    pub(crate) fn start(make: Make, arguments: &[&str]) -> Self {
        let (server, said) = match make {
            Make::Asyncua => Server::python("opcua_asyncua.py", arguments),
            Make::Node => Server::node("opcua_node.mjs", arguments),
        };
        Self { server, said }
    }

    /// A `[[device]]` with these lines, and a stream of the same name for each node; more lines of a stream follow its
    /// name after a line break.
    pub(crate) fn table(&self, lines: &str, streams: &[&str]) -> String {
        let mut text = format!(
            "[[device]]\nname = \"plant\"\nprotocol = \"opcua\"\naddress = {}\npublishing_interval = \"100ms\"\n{lines}\n",
            self.said["url"]
        );
        for stream in streams {
            let (name, more) = stream.split_once('\n').unwrap_or((stream, ""));
            let node =
                self.node(name)["node"].as_str().expect("a text").replace('\\', "\\\\").replace('"', "\\\"");
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[[device.stream]]\nname = \"{name}\"\nnode = \"{node}\"\n{more}");
        }
        text
    }

    pub(crate) fn node(&self, name: &str) -> &Value {
        let nodes = self.said["nodes"].as_array().expect("a list");
        nodes.iter().find(|node| node["name"] == *name).unwrap_or_else(|| panic!("no node {name}"))
    }
}

/// An adapter that reads a plant, and what it said.
pub(crate) struct Reader {
    trial: Trial,
    pub(crate) seen: Vec<DecodedReading>,
}

impl Reader {
    pub(crate) fn start(config: &str) -> Self {
        let source = match sources(config) {
            Ok(mut sources) => sources.remove(0),
            Err(errors) => panic!("{errors:?}\n{config}"),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        Self { trial: Trial::start(source, TRIAL, &clock), seen: Vec::new() }
    }

    pub(crate) fn snapshot(&self) -> DeviceSnapshot {
        self.trial.snapshot()
    }

    /// What is read next, or how the device is.
    async fn next(&mut self, what: &str) -> TrialEvent {
        if let Ok(Some(event)) = timeout(WITHIN, self.trial.next()).await {
            return event;
        }
        let last: Vec<_> = self.seen.iter().rev().take(12).rev().collect();
        panic!("waited in vain for {what}; last read: {last:#?}\n{:#?}", self.snapshot());
    }

    /// The first reading from now on for which `is_it` holds.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        is_it: impl Fn(&DecodedReading) -> bool,
    ) -> DecodedReading {
        let within = async {
            loop {
                if let TrialEvent::Reading(reading) = self.next(what).await {
                    self.seen.push(reading.clone());
                    if is_it(&reading) {
                        return reading;
                    }
                }
            }
        };
        let found = timeout(WITHIN, within).await;
        found.unwrap_or_else(|_| {
            let last: Vec<_> = self.seen.iter().rev().take(12).rev().collect();
            panic!("waited in vain for {what}; last read: {last:#?}\n{:#?}", self.snapshot());
        })
    }

    /// The first good reading of a stream from now on, with this value if there is one.
    pub(crate) async fn good(&mut self, stream: &str, value: Option<f64>) -> DecodedReading {
        let is_it = |reading: &DecodedReading| {
            reading.stream == stream
                && reading.quality == Quality::Good
                && value.is_none_or(|value| reading.value.as_f64() == Some(value))
        };
        self.until(&format!("{stream} good, {value:?}"), is_it).await
    }

    /// A good reading of each stream.
    pub(crate) async fn all_good(&mut self, streams: &[&str]) {
        let mut missing: Vec<&str> = streams.to_vec();
        while !missing.is_empty() {
            let waited_for = missing.clone();
            let reading = self
                .until(&format!("{waited_for:?}"), |r| {
                    r.quality == Quality::Good && waited_for.contains(&r.stream.as_str())
                })
                .await;
            missing.retain(|name| *name != reading.stream);
        }
    }

    /// The state of the device, and why.
    pub(crate) async fn until_state(
        &mut self,
        what: &str,
        is_it: impl Fn(&DeviceSnapshot) -> bool,
    ) -> DeviceSnapshot {
        let within = async {
            loop {
                let snapshot = self.snapshot();
                if is_it(&snapshot) {
                    return snapshot;
                }
                // Figures change without an event.
                if let Ok(event) = timeout(Duration::from_millis(20), self.next(what)).await
                    && let TrialEvent::Reading(reading) = event
                {
                    self.seen.push(reading);
                }
            }
        };
        let found = timeout(WITHIN, within).await;
        found.unwrap_or_else(|_| panic!("waited in vain for {what}: {:#?}", self.snapshot()))
    }

    /// Waits until the device answers.
    pub(crate) async fn until_up(&mut self) {
        self.until_state("the device to be up", |snapshot| snapshot.state == DeviceState::Up).await;
    }
}
