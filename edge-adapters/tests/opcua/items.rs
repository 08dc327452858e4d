//! The nodes that are watched: each by itself.

use std::fmt::Write as _;

use edge_adapters::{DeviceState, status_code};
use selvedge_core::reading::Quality;

use crate::plant::{Make, Plant, Reader};

const BAD_NODE_ID_UNKNOWN: u32 = 0x8034_0000;
/// What node-opcua says of a node that is there no more.
const BAD_NODE_ID_INVALID: u32 = 0x8033_0000;
const QUICK: &str = "timeout = \"2s\"\nkeep_alive = \"1s\"\ncheck_interval = \"1s\"";

async fn a_node_that_disappears(make: Make) {
    let mut plant = Plant::start(make, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &["Filler.Speed", "Filler.Ticks"]));
    plant.server.command("count Filler.Ticks 100");
    reader.all_good(&["Filler.Speed", "Filler.Ticks"]).await;
    for speed in [1_500.0, 1_600.0] {
        plant.server.command("remove Filler.Speed");
        let gone =
            reader.until("it is bad", |r| r.stream == "Filler.Speed" && r.quality == Quality::Bad).await;
        let expected = if make == Make::Node { BAD_NODE_ID_INVALID } else { BAD_NODE_ID_UNKNOWN };
        assert_eq!(gone.status, expected, "{make:?} {}", status_code::words(gone.status));
        let degraded = reader.until_state("degraded", |s| s.state == DeviceState::Degraded).await;
        assert!(degraded.error.as_deref().unwrap_or("").contains("BadNodeId"), "{degraded:?}");
        reader.good("Filler.Ticks", None).await;
        plant.server.command("add Filler.Speed");
        plant.server.command(&format!("set Filler.Speed {speed}"));
        reader.good("Filler.Speed", Some(speed)).await;
        reader.until_up().await;
    }
    assert_eq!(reader.snapshot().connections, 2, "one to ask for the endpoints and one for all the rest");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_disappears_from_asyncua_is_bad_and_comes_back() {
    a_node_that_disappears(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_disappears_from_node_opcua_is_bad_and_comes_back() {
    a_node_that_disappears(Make::Node).await;
}

async fn nodes_that_are_refused(make: Make) {
    let mut plant = Plant::start(make, &[]);
    let mut table = plant.table(QUICK, &["Filler.Level"]);
    for (name, node) in
        [("none", "nsu=urn:selvedge:test:plant;s=No.Such"), ("nowhere", "nsu=urn:nowhere;i=1")]
    {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "[[device.stream]]\nname = \"{name}\"\nnode = \"{node}\"");
    }
    let mut reader = Reader::start(&table);
    for (name, status) in [("none", BAD_NODE_ID_UNKNOWN), ("nowhere", status_code::NO_NAMESPACE)] {
        let bad = match reader.seen.iter().find(|r| r.stream == name).cloned() {
            Some(bad) => bad,
            None => reader.until(name, |r| r.stream == name).await,
        };
        assert_eq!((bad.quality, bad.status), (Quality::Bad, status), "{make:?} {name}");
    }
    reader.until_state("degraded", |s| s.state == DeviceState::Degraded).await;
    plant.server.command("set Filler.Level 77.5");
    reader.good("Filler.Level", Some(77.5)).await;
    let figures = reader.snapshot().subscription.expect("figures");
    assert_eq!((figures.items, figures.items_refused), (1, 2), "{figures:?}");
    let told = reader.seen.iter().filter(|r| r.stream == "none").count();
    assert_eq!(told, 1, "said once, however often the server is asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_asyncua_refuses_are_bad_and_others_go_on() {
    nodes_that_are_refused(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_node_opcua_refuses_are_bad_and_others_go_on() {
    nodes_that_are_refused(Make::Node).await;
}

/// Two namespaces have a node `i=3001`. After a restart in another order, a number would name the other one.
async fn the_order_of_namespaces_changes(make: Make) {
    let mut plant = Plant::start(make, &[]);
    let mut reader = Reader::start(&plant.table(QUICK, &["Filler.Pressure", "Ids.Numeric"]));
    reader.all_good(&["Filler.Pressure", "Ids.Numeric"]).await;
    for value in [20.0, 30.0] {
        plant.server.command("swap");
        reader.until("stale", |r| r.stream == "Ids.Numeric" && r.quality == Quality::Stale).await;
        plant.server.command(&format!("set Ids.Numeric {value}"));
        reader.good("Ids.Numeric", Some(value)).await;
        plant.server.command(&format!("set Filler.Pressure {}", value / 8.0));
        reader.good("Filler.Pressure", Some(value / 8.0)).await;
    }
    for reading in reader.seen.iter().filter(|r| r.quality == Quality::Good) {
        let value = reading.value.as_f64().expect("a number");
        assert_eq!(reading.stream == "Ids.Numeric", value > 10.0, "another node's value: {reading:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_when_asyncua_numbers_its_namespaces_anew() {
    the_order_of_namespaces_changes(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_hold_when_node_opcua_numbers_its_namespaces_anew() {
    the_order_of_namespaces_changes(Make::Node).await;
}

async fn a_deadband(make: Make) {
    let mut plant = Plant::start(make, &[]);
    let streams = ["Filler.Level\ndeadband = 0.5\nscale = 0.1", "Filler.Temperature"];
    let mut reader = Reader::start(&plant.table("", &streams));
    reader.all_good(&["Filler.Level", "Filler.Temperature"]).await;
    for (level, temperature) in [(55.0, 30.0), (48.0, 31.0), (60.0, 32.0)] {
        plant.server.command(&format!("set Filler.Level {level}"));
        plant.server.command(&format!("set Filler.Temperature {temperature}"));
        // What came before it in time has come before it here.
        reader.good("Filler.Temperature", Some(temperature)).await;
    }
    if !reader.seen.iter().any(|r| r.value.to_string() == "6") {
        reader.until("beyond the band", |r| r.value.to_string() == "6").await;
    }
    let levels: Vec<String> =
        reader.seen.iter().filter(|r| r.stream == "Filler.Level").map(|r| r.value.to_string()).collect();
    assert_eq!(levels, ["5.25", "6"], "{make:?}: within 0.5 of 5.25 nothing is said");
    // asyncua measures from the value before, and not from the one it reported: it says one more.
    let values = reader.snapshot().subscription.expect("figures").values;
    assert!(values < 8, "{make:?}: the server leaves out what the gateway does not want: {values}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadband_is_kept_by_asyncua() {
    a_deadband(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadband_is_kept_by_node_opcua() {
    a_deadband(Make::Node).await;
}

/// asyncua knows no percentage of a range: then every change comes, which is more than was wished and nothing lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_percentage_of_the_range_is_kept_where_the_server_can() {
    for (make, expected) in [(Make::Node, vec![52.5, 60.0]), (Make::Asyncua, vec![52.5, 55.0, 60.0])] {
        let mut plant = Plant::start(make, &[]);
        let streams = ["Filler.Level\ndeadband_range_percent = 5"];
        let mut reader = Reader::start(&plant.table("", &streams));
        reader.good("Filler.Level", Some(52.5)).await;
        plant.server.command("set Filler.Level 55.0");
        if make == Make::Asyncua {
            reader.good("Filler.Level", Some(55.0)).await;
        }
        plant.server.command("set Filler.Level 60.0");
        reader.good("Filler.Level", Some(60.0)).await;
        let levels: Vec<f64> = reader.seen.iter().filter_map(|r| r.value.as_f64()).collect();
        assert_eq!(levels, expected, "{make:?}");
    }
}

/// More nodes than the server takes in one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_big_subscription_is_made_in_parts() {
    const NODES: usize = 2_000;
    let plant = Plant::start(Make::Node, &["--large", "2000", "--operations", "300"]);
    let mut table = plant.table("timeout = \"30s\"", &[]);
    for number in 0..NODES {
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "[[device.stream]]\nname = \"v{number}\"\nnode = \"nsu=urn:selvedge:test:plant;s=Large.V{number:05}\""
        );
    }
    let mut reader = Reader::start(&table);
    let mut seen = vec![false; NODES];
    while !seen.iter().all(|seen| *seen) {
        let reading = reader.until("each node", |r| r.quality == Quality::Good).await;
        let number: usize = reading.stream[1..].parse().expect("a number");
        assert_eq!(reading.value.as_f64(), Some(number as f64), "{reading:?}");
        seen[number] = true;
    }
    reader.until_up().await;
}
