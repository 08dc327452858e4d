//! `examples/mqtt.toml`, with the messages that it shows, plain and over TLS.

use edge_adapters::{DeviceState, config};
use selvedge_core::reading::Value;

use crate::broker::{Broker, certificates};
use crate::rig::Rig;
use crate::support::example::{example, with, with_file, with_keys};

/// Topics and payloads of the messages that the example shows as commands.
fn messages(text: &str) -> Vec<(String, String)> {
    let commands = text.lines().filter_map(|line| line.strip_prefix("#   mosquitto_pub "));
    let word = |rest: &str, key: &str| {
        let (_, rest) = rest.split_once(&format!("{key} '")).expect("a key with a word in quotes");
        rest.split_once('\'').expect("the end of the word").0.to_owned()
    };
    commands.map(|command| (word(command, "-t"), word(command, "-m"))).collect()
}

/// Publishes what the example shows, and waits for a good reading of each stream.
async fn every_stream_is_good(broker: &Broker, toml: &str, publish: &[&str]) {
    let sources = config::sources(toml).unwrap_or_else(|errors| panic!("{errors:#?}\n{toml}"));
    let streams = sources[0].streams();
    let mut rig = Rig::start(toml);
    rig.is(DeviceState::Up).await;
    let messages = messages(toml);
    assert_eq!(messages.len(), 5, "{messages:?}");
    for (topic, payload) in &messages {
        broker.publish(topic, 1, payload, publish);
    }
    rig.until("a good reading of each stream", |rig| {
        (0..streams.len() as u32).all(|stream| !rig.good(stream).is_empty()).then_some(())
    })
    .await;
    for (name, value, source_time_ms) in [
        ("line1/filler/temperature", Value::Float(81.2), Some(1_763_713_800_000_i64)),
        ("line1/capper/temperature", Value::Float(24.0), Some(1_763_713_800_000)),
        ("line1/capper/running", Value::Bool(false), Some(1_763_713_800_000)),
        ("line1/filler/speed", Value::Float(120.5), None),
        ("line1/alarm", Value::Text("tank 2 is full".into()), None),
        ("line1/scale", Value::Float(12.5), Some(1_763_713_800_000)),
    ] {
        let place = streams.iter().position(|spec| spec.descriptor.name == name).expect("a stream") as u32;
        let reading = rig.readings.iter().find(|reading| reading.stream.0 == place).expect("waited for");
        assert_eq!(reading.value, value, "{name}");
        if let Some(ms) = source_time_ms {
            assert_eq!(reading.source_time_ns / 1_000_000, ms, "{name}");
        }
    }
    assert_eq!(rig.device().messages.map(|messages| messages.unmatched), Some(0));
}

#[tokio::test]
async fn the_example_runs_as_it_is() {
    let broker = Broker::start();
    let address = format!("127.0.0.1:{}", broker.port);
    every_stream_is_good(&broker, &with(&example("mqtt.toml"), "broker.plant.example:1883", &address), &[])
        .await;
}

#[tokio::test]
async fn the_example_runs_over_tls_with_a_certificate_of_the_gateway() {
    let broker = Broker::with_files(
        "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/server.pem\nkeyfile FOLDER/server.key\n\
         require_certificate true\n",
        |folder| {
            certificates(folder);
            for (from, to) in
                [("ca.pem", "plant-ca.pem"), ("client.pem", "gateway.pem"), ("client.key", "gateway.key")]
            {
                std::fs::copy(folder.join(from), folder.join(to)).expect("a copy");
            }
        },
    );
    let mut toml = example("mqtt.toml");
    toml = with(&toml, "broker.plant.example:1883", &format!("127.0.0.1:{}", broker.port));
    toml = with_keys(
        &toml,
        "tls = { ca_file = \"plant-ca.pem\", certificate_file = \"gateway.pem\", key_file = \"gateway.key\" }",
    );
    for name in ["plant-ca.pem", "gateway.pem", "gateway.key"] {
        toml = with_file(&toml, name, broker.folder.path());
    }
    let path = |name: &str| broker.path(name).display().to_string();
    let (ca, certificate, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    every_stream_is_good(&broker, &toml, &["--cafile", &ca, "--cert", &certificate, "--key", &key]).await;
}
