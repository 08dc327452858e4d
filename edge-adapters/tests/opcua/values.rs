//! Every type, as two servers of other make hold it.

use edge_adapters::DecodedReading;
use edge_adapters::status_code;
use selvedge_core::reading::{Quality, Value as Raw};
use serde_json::Value;

use crate::plant::{Make, Plant, Reader};

/// Scalars that have a value.
const TYPES: [&str; 17] = [
    "Types.Boolean",
    "Types.SByte",
    "Types.Byte",
    "Types.Int16",
    "Types.UInt16",
    "Types.Int32",
    "Types.UInt32",
    "Types.Int64",
    "Types.UInt64",
    "Types.Float",
    "Types.Double",
    "Types.String",
    "Types.DateTime",
    "Types.Guid",
    "Types.ByteString",
    "Types.LocalizedText",
    "Types.StatusCode",
];

/// As the plant's table writes it: 64-bit integers and bytes are texts there.
fn shown(reading: &DecodedReading) -> String {
    match &reading.raw {
        Raw::None => "null".to_owned(),
        Raw::Bool(bit) => bit.to_string(),
        Raw::Int(int) => int.to_string(),
        Raw::Unsigned(int) => int.to_string(),
        Raw::Float(float) => float.to_string(),
        Raw::Text(text) => text.clone(),
        Raw::Bytes(bytes) => bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex).collect(),
    }
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

async fn every_type(make: Make) {
    let plant = Plant::start(make, &[]);
    let mut reader = Reader::start(&plant.table("", &TYPES));
    reader.all_good(&TYPES).await;
    for name in TYPES {
        let reading = reader.seen.iter().find(|r| r.stream == name).expect("it was read");
        assert_eq!(shown(reading), written(&plant.node(name)["value"]), "{make:?} {name}: {reading:?}");
        assert_eq!(reading.status, 0, "{make:?} {name}");
        assert!(reading.source_time_ns <= reading.receive_time_ns, "{make:?} {reading:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_read_from_asyncua() {
    every_type(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_type_is_read_from_node_opcua() {
    every_type(Make::Node).await;
}

async fn what_is_no_plain_value(make: Make) {
    let plant = Plant::start(make, &[]);
    let streams = [
        "Types.NotANumber",
        "Types.Infinite",
        "Types.Empty",
        "Arrays.Doubles\nindex = 1",
        "Arrays.Words",
        "Arrays.None\nindex = 0",
        "Broken.Bad",
        "Broken.Uncertain",
        "Filler.Level\nscale = 0.1",
    ];
    let mut reader = Reader::start(&plant.table("", &streams));
    let bad_sensor = 0x808C_0000;
    let last_usable = 0x4090_0000;
    for (name, raw, quality, status) in [
        ("Types.NotANumber", Raw::None, Quality::NotAvailable, 0),
        ("Types.Infinite", Raw::Float(f64::INFINITY), Quality::Uncertain, status_code::INFINITE),
        ("Arrays.Doubles", Raw::Float(-2.5), Quality::Good, 0),
        ("Arrays.Words", Raw::None, Quality::Bad, status_code::ARRAY),
        ("Arrays.None", Raw::None, Quality::Bad, status_code::NO_ELEMENT),
        ("Broken.Bad", Raw::None, Quality::Bad, bad_sensor),
        ("Broken.Uncertain", Raw::Float(2.0), Quality::Uncertain, last_usable),
        ("Filler.Level", Raw::Float(52.5), Quality::Good, 0),
    ] {
        let found = reader.seen.iter().find(|r| r.stream == name).cloned();
        let found = match found {
            Some(found) => found,
            None => reader.until(name, |r| r.stream == name).await,
        };
        assert_eq!((&found.raw, found.quality, found.status), (&raw, quality, status), "{make:?} {name}");
    }
    let level = reader.seen.iter().find(|r| r.stream == "Filler.Level").expect("it was read");
    assert_eq!(level.value.to_string(), "5.25", "scaled exactly");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_plain_value_says_so_with_asyncua() {
    what_is_no_plain_value(Make::Asyncua).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_plain_value_says_so_with_node_opcua() {
    what_is_no_plain_value(Make::Node).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_of_the_source_are_kept_and_odd_ones_say_so() {
    let mut plant = Plant::start(Make::Asyncua, &[]);
    let mut reader = Reader::start(&plant.table("", &["Filler.Level"]));
    reader.good("Filler.Level", Some(52.5)).await;
    plant.server.command("set Filler.Level 53.5 2026-01-02T03:04:05.678901Z");
    let reading = reader.good("Filler.Level", Some(53.5)).await;
    assert_eq!(reading.source_time_ns, 1_767_323_045_678_901_000);
    plant.server.command("set Filler.Level 54.5 1984-01-01T00:00:00Z");
    let odd = reader.until("an old time", |r| r.value.as_f64() == Some(54.5)).await;
    assert_eq!(odd.source_time_ns, 441_763_200_000_000_000, "kept as it was");
    assert_eq!((odd.quality, odd.status), (Quality::Uncertain, status_code::ODD_TIME));
    plant.server.command("set Filler.Level 55.5 2190-01-01T00:00:00Z");
    let odd = reader.until("a time to come", |r| r.value.as_f64() == Some(55.5)).await;
    assert_eq!((odd.quality, odd.status), (Quality::Uncertain, status_code::ODD_TIME));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_polled_where_that_is_wished() {
    let mut plant = Plant::start(Make::Asyncua, &[]);
    let text = plant.table("", &["Filler.Level", "Filler.Speed"]);
    let text = text.replace("publishing_interval = \"100ms\"", "mode = \"poll\"\npoll_interval = \"50ms\"");
    let mut reader = Reader::start(&text);
    reader.all_good(&["Filler.Level", "Filler.Speed"]).await;
    plant.server.command("set Filler.Level 61.25");
    reader.good("Filler.Level", Some(61.25)).await;
    let clients = plant.server.ask("clients");
    assert_eq!(clients["subscriptions"], 0, "{clients}");
    plant.server.command("restart");
    reader.until("stale", |r| r.stream == "Filler.Level" && r.quality == Quality::Stale).await;
    plant.server.command("set Filler.Level 62.25");
    reader.good("Filler.Level", Some(62.25)).await;
}

fn hex(half: u8) -> char {
    char::from_digit(half.into(), 16).expect("half a byte")
}
