//! `examples/opcua.toml`, plain and secured, against both servers.

use std::fs;

use edge_adapters::config::sources;

use crate::plant::{Make, Plant, Reader};
use crate::support::example::{example, with, with_keys};

/// The example with the address of this server.
fn addressed(plant: &Plant) -> String {
    let url = plant.said["url"].as_str().expect("a text");
    with(&example("opcua.toml"), "opc.tcp://plc.plant.example:4840", url)
}

async fn every_stream_is_good(toml: &str) {
    let sources = sources(toml).unwrap_or_else(|errors| panic!("{errors:#?}\n{toml}"));
    let names: Vec<&str> = sources[0].streams().iter().map(|spec| spec.descriptor.name.as_str()).collect();
    assert!(names.len() >= 6, "{names:?}");
    let mut reader = Reader::start(toml);
    reader.all_good(&names).await;
    for (name, value) in
        [("filler/level", 52.5), ("filler/pressure", 2.25), ("filler/valve/2", 3.0), ("filler/target", 50.0)]
    {
        let reading = reader.seen.iter().find(|reading| reading.stream == name).expect("waited for");
        assert_eq!(reading.value.as_f64(), Some(value), "{name}");
    }
}

async fn the_example_runs(make: Make) {
    let plant = Plant::start(make, &[]);
    every_stream_is_good(&addressed(&plant)).await;
    let polled = with_keys(&addressed(&plant), "mode = \"poll\"");
    let of_subscriptions = [
        "publishing_interval = \"1s\"\nkeep_alive = \"10s\"\n",
        "sampling_interval = \"200ms\"\nqueue_size = 100\n",
        "deadband_range_percent = 1\n",
    ];
    every_stream_is_good(&of_subscriptions.into_iter().fold(polled, |text, keys| with(&text, keys, "")))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_runs_as_it_is_against_asyncua() {
    the_example_runs(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_runs_as_it_is_against_node_opcua() {
    the_example_runs(Make::Node).await;
}

/// The keys for security that the example has as comments, with a pinned certificate and a user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_runs_secured() {
    let folder = tempfile::tempdir().expect("a folder");
    let plant = Plant::start(Make::Asyncua, &["--security", "basic256sha256", "--user", "gateway:s3cret"]);
    let mut toml = with_keys(&addressed(&plant), "security = \"Basic256Sha256/SignAndEncrypt\"");
    toml = with_keys(&toml, "pki = \"opcua-pki\"");
    toml = with_keys(&toml, "server_thumbprints = [\"aabbccddeeff00112233445566778899aabbccdd\"]");
    let thumbprint = plant.said["thumbprint"].as_str().expect("a text");
    toml = with(&toml, "aabbccddeeff00112233445566778899aabbccdd", thumbprint);
    toml = with(&toml, "#user = \"gateway\"\n#password_file", "user = \"gateway\"\npassword_file");
    for name in ["opcua-pki", "plc.secret"] {
        let path = folder.path().join(name);
        toml = with(&toml, &format!("\"{name}\""), &format!("\"{}\"", path.display()));
    }
    fs::write(folder.path().join("plc.secret"), "s3cret\n").expect("to write it");
    every_stream_is_good(&toml).await;
}
