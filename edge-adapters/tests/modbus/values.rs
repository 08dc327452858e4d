//! Every type in every order, as a server of other make holds it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::config::sources;
use edge_adapters::{Clock, SystemClock, Trial, TrialEvent};
use serde_json::Value;

use crate::plant::reached;

/// A `[[device]]` table with these lines, and an entry for each of these streams.
pub(crate) fn table(lines: &str, streams: &Value) -> String {
    let mut text = format!("[[device]]\nname = \"machine\"\n{lines}\n");
    for stream in streams.as_array().expect("a list of streams") {
        text += "\n[[device.stream]]\n";
        for key in ["name", "register", "type", "order", "scale", "offset", "unit", "not_available"] {
            if let Some(value) = stream.get(key).filter(|value| !value.is_null()) {
                // These values of JSON are values of TOML too. Writing to a string cannot fail.
                let _ = writeln!(text, "{key} = {value}");
            }
        }
    }
    text
}

#[tokio::test]
async fn every_type_in_every_order_is_read_over_tcp() {
    let device = reached("tcp", &["--mode", "normal"]);
    all_values_are_read(&device.lines, &device.said).await;
}

/// Reads all that the server says it holds, and compares it with what it says that each value is.
pub(crate) async fn all_values_are_read(lines: &str, said: &Value) {
    let source = sources(&table(lines, &said["streams"])).expect("a right configuration").remove(0);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut trial = Trial::start(source, Duration::from_secs(30), &clock);
    let expected = said["streams"].as_array().expect("a list");
    let mut seen = 0;
    while let Some(event) = trial.next().await {
        let TrialEvent::Reading(reading) = event else { continue };
        let stream = expected.iter().find(|s| s["name"] == *reading.stream).expect("a stream of the table");
        let shown = serde_json::to_value(&reading.value).expect("a value");
        assert_eq!(shown, stream["value"], "{}: {reading:?}", reading.stream);
        seen += 1;
        if seen == expected.len() {
            return;
        }
    }
    panic!("read {seen} of {} streams: {:?}", expected.len(), trial.snapshot().error);
}
