//! `examples/modbus.toml`, over each transport that it names.

use edge_adapters::config::sources;
use selvedge_core::reading::{Quality, Value};

use crate::lines::certificates;
use crate::plant::{Plant, Reached, reached};
use crate::support::example::{example, with, with_file, with_keys};

const OVER_TCP: &str = "protocol = \"modbus-tcp\"\naddress = \"filler.plant.example:502\"\n";

/// Waits for a good reading of each stream, and looks at some values: what a word-swapped float, a scale, a bit or a text
/// becomes.
async fn every_stream_is_good(toml: &str) {
    let sources = sources(toml).unwrap_or_else(|errors| panic!("{errors:#?}\n{toml}"));
    let streams: Vec<String> = sources
        .iter()
        .flat_map(|source| source.streams().iter().map(|spec| spec.descriptor.name.clone()))
        .collect();
    assert!(streams.len() >= 10, "{streams:?}");
    let mut plant = Plant::start(toml, None);
    plant
        .until("a good reading of each stream", |plant| streams.iter().all(|stream| plant.good(stream) > 0))
        .await;
    for (stream, value) in [
        ("filler/temperature", Value::Int(614)),
        ("filler/vacuum", Value::Float(-21.375)),
        ("filler/bottles", Value::Unsigned(4_023_456_789)),
        ("filler/product", Value::Text("Füller 7".into())),
        ("filler/running", Value::Bool(true)),
        ("filler/status/ready", Value::Bool(true)),
        ("filler/status/fault", Value::Bool(false)),
        ("filler/mode", Value::Unsigned(1)),
    ] {
        let good = |reading: &&(String, _)| reading.0 == stream && reading_is_good(reading);
        let (_, reading) = plant.readings.iter().find(good).expect("waited for");
        assert_eq!(reading.value, value, "{stream}");
    }
    assert!(plant.readings.iter().all(reading_is_good), "{:?}", plant.readings);
}

fn reading_is_good((_, reading): &(String, selvedge_core::border::NewReading)) -> bool {
    reading.quality == Quality::Good
}

/// The first device of the example, spoken to in another way that it has as a comment.
fn variant(protocol: &str) -> String {
    let text = example("modbus.toml");
    let (first, _) = text.split_once("# A second unit").expect("a second device");
    with_keys(&with(first, OVER_TCP, ""), &format!("protocol = \"{protocol}\""))
}

fn address(device: &Reached) -> String {
    format!("127.0.0.1:{}", device.said["port"])
}

#[tokio::test]
async fn the_example_runs_as_it_is() {
    let device = reached("tcp", &["--units", "2"]);
    every_stream_is_good(&with(&example("modbus.toml"), "filler.plant.example:502", &address(&device))).await;
}

#[tokio::test]
async fn the_example_runs_on_a_serial_line() {
    let device = reached("rtu", &[]);
    let path = device.serial.as_ref().expect("a line").end("gateway");
    every_stream_is_good(&with(&variant("modbus-rtu"), "/dev/ttyUSB0", &path)).await;
}

#[tokio::test]
async fn the_example_runs_as_rtu_over_tcp() {
    let device = reached("rtu-over-tcp", &[]);
    let toml = with(&variant("modbus-rtu-over-tcp"), "filler.plant.example:4001", &address(&device));
    every_stream_is_good(&toml).await;
}

#[tokio::test]
async fn the_example_runs_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    certificates(folder.path());
    let at = |name: &str| folder.path().join(name).display().to_string();
    let device = reached(
        "tls",
        &["--certificate", &at("device.pem"), "--key", &at("device.key"), "--ca", &at("ca.pem")],
    );
    let mut toml = with(&variant("modbus-tls"), "filler.plant.example:802", &address(&device));
    toml = with(&toml, "\"filler.plant\"", "\"device.plant\"");
    std::fs::copy(at("ca.pem"), at("plant-ca.pem")).expect("a copy");
    for name in ["plant-ca.pem", "gateway.pem", "gateway.key"] {
        toml = with_file(&toml, name, folder.path());
    }
    every_stream_is_good(&toml).await;
}
