//! A scan of real units, against what SunSpec's own client reads from the same server; and the configuration that it
//! writes, used as it is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::config::sources;
use edge_adapters::modbus::Table;
use edge_adapters::modbus::scan::file::{Wish, configuration, device_name};
use edge_adapters::modbus::scan::{Answering, Request, Scanned, Unit, scan};
use edge_adapters::modbus::sunspec::decode::Point;
use edge_adapters::modbus::sunspec::kind::PointKind;
use edge_adapters::trial::DecodedReading;
use edge_adapters::{Clock, SystemClock, Trial, TrialEvent};
use selvedge_core::reading::{Quality, Value as Raw};
use serde_json::Value;

use crate::support::{Server, WITHIN};

/// Ends early when everything was seen.
const TRIAL: Duration = Duration::from_secs(45);

async fn scanned(address: &str, units: &[u8], timeout: Duration) -> Scanned {
    let request = Request { address: address.to_owned(), units: units.to_vec(), timeout };
    scan(&request, |line| println!("{line}")).await.expect("the server listens")
}

async fn one(port: &Value, unit: u8) -> (Scanned, Unit) {
    let scanned = scanned(&format!("127.0.0.1:{port}"), &[unit], WITHIN).await;
    let unit = scanned.units[0].clone();
    (scanned, unit)
}

/// The models of a unit as the oracle sees them. It leaves out those that no definition knows.
fn models(told: &Value) -> &Vec<Value> {
    told["models"].as_array().expect("a list of models")
}

/// A float of the oracle, which the server writes as text.
fn float(told: &Value) -> Option<f64> {
    told.as_str()?.parse().ok()
}

/// Is a raw value what the oracle says? It writes a hardware address as text.
fn same_raw(kind: PointKind, raw: &Raw, oracle: &Value) -> bool {
    match (raw, oracle) {
        (Raw::None, Value::Null) => true,
        (Raw::Text(text), Value::String(told)) => text == told,
        (Raw::Unsigned(number), Value::String(told)) if kind == PointKind::Eui48 => {
            u64::from_str_radix(&told.replace(':', ""), 16) == Ok(*number)
        }
        (Raw::Int(number), told) => told.as_i64() == Some(*number),
        (Raw::Unsigned(number), told) => told.as_u64() == Some(*number),
        (Raw::Float(number), told) => float(told) == Some(*number),
        _ => false,
    }
}

/// Is a scaled value what the oracle says? It computes with floats, and shows those of 32 bits with all digits of 64.
fn same_value(kind: PointKind, shown: &Value, oracle: &Value) -> bool {
    match (shown, oracle) {
        (Value::Number(number), told) if kind == PointKind::Eui48 => {
            same_raw(kind, &Raw::Unsigned(number.as_u64().expect("an address is a whole number")), told)
        }
        (Value::Number(number), told) => {
            let (number, told) = (number.as_f64(), float(told).or_else(|| told.as_f64()));
            let narrow = |number: Option<f64>| number.map(|number| number as f32);
            if kind == PointKind::Float32 {
                narrow(number) == narrow(told)
            } else {
                number == told && told.is_some()
            }
        }
        (shown, told) => shown == told,
    }
}

fn check_point(point: &Point, told: &Value, what: &str) {
    assert_eq!(told["type"], point.kind.name(), "{what}");
    assert_eq!(told["address"], point.address, "{what}");
    let Some(decoded) = point.decoded() else {
        // What no stream can hold is named in the file, with its registers in --json.
        let is_long = matches!(point.kind, PointKind::Text(registers) if registers > 125);
        assert!(is_long || point.kind == PointKind::Ipv6addr, "{what}: {point:?}");
        assert_eq!(point.is_implemented(), !told["raw"].is_null(), "{what}: {told}");
        return;
    };
    assert!(
        same_raw(point.kind, &decoded.value, &told["raw"]),
        "{what}: {decoded:?}, the oracle says {told}"
    );
    assert_eq!(point.is_implemented(), !told["raw"].is_null(), "{what}: {told}");
    let shown = serde_json::to_value(point.value()).expect("a value");
    assert!(same_value(point.kind, &shown, &told["value"]), "{what}: {shown}, the oracle says {told}");
}

/// Each point of each model, and no other. Returns how many there were.
fn check_unit(unit: &Unit, told: &Value) -> usize {
    let sunspec = unit.sunspec.as_ref().expect("SunSpec");
    assert_eq!(told["base"], sunspec.base);
    let known: Vec<_> = sunspec.models.iter().filter(|model| model.known.is_some()).collect();
    assert_eq!(known.len(), models(told).len());
    let mut points = 0;
    for (model, told) in known.into_iter().zip(models(told)) {
        let what = format!("unit {}, model {}", unit.unit_id, model.link.id);
        assert_eq!(
            (&told["id"], &told["address"]),
            (&model.link.id.into(), &model.link.address.into()),
            "{what}"
        );
        assert_eq!(model.known.map(|known| known.0), told["name"].as_str(), "{what}");
        assert_eq!(model.notes, Vec::<String>::new(), "{what}");
        let told = told["points"].as_object().expect("points by name");
        let names: Vec<&str> = model.points.iter().map(|point| point.path.as_str()).collect();
        let told_names: Vec<&str> = told.keys().map(String::as_str).collect();
        let sorted = |mut names: Vec<_>| {
            names.sort_unstable();
            names
        };
        assert_eq!(sorted(names), sorted(told_names), "{what}");
        for point in &model.points {
            check_point(point, &told[&point.path], &format!("{what}, {}", point.path));
        }
        points += model.points.len();
    }
    points
}

#[tokio::test]
async fn every_point_of_every_model_is_what_sunspecs_own_client_reads() {
    const SEED: u32 = 6;
    println!("seed: {SEED}");
    let (mut server, said) = Server::python("sunspec.py", ["--seed", &SEED.to_string()]);
    for (unit_id, models, at_least, max_registers) in
        [(1, 14, 380, 125), (2, 2, 180, 16), (3, 113, 4_500, 125)]
    {
        let (_, unit) = one(&said["port"], unit_id).await;
        let sunspec = unit.sunspec.as_ref().expect("SunSpec");
        assert_eq!((sunspec.models.len(), &sunspec.broken), (models, &None));
        assert_eq!(sunspec.max_registers, max_registers, "unit 2 refuses more than 20");
        let points = check_unit(&unit, &server.ask(&format!("oracle {unit_id}")));
        assert!(points >= at_least, "{points} points");
        println!("unit {unit_id}: {points} points are equal");
        assert_eq!(
            unit.identification.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>(),
            ["VendorName Selvedge tests", "ProductCode sunspec.py", "MajorMinorRevision 1"]
        );
    }
    server.stop();
}

#[tokio::test]
async fn a_model_that_no_definition_knows_is_listed_with_its_registers() {
    let (_server, said) = Server::python("sunspec.py", ["--seed", "1"]);
    let (scanned, unit) = one(&said["port"], 3).await;
    let sunspec = unit.sunspec.as_ref().expect("SunSpec");
    let unknown: Vec<_> = sunspec.models.iter().filter(|model| model.known.is_none()).collect();
    let [model] = unknown[..] else { panic!("{} unknown models", unknown.len()) };
    let (first, registers) = model.rest.as_ref().expect("its registers");
    assert_eq!((model.link.id, model.link.length, registers.len()), (60_000, 5, 5));
    assert_eq!(*first, model.link.address + 2);
    let (file, _) = configuration(&scanned, &Wish::default());
    let words: Vec<String> = registers.iter().map(|word| format!("{word:04X}")).collect();
    assert!(file.contains("# Model 60000 (not known here): 5 registers"), "{file}");
    assert!(file.contains(&words.join(" ")), "{words:?}");
}

/// The first reading of each stream, by name.
async fn readings(file: &str) -> BTreeMap<String, DecodedReading> {
    let source = sources(file).unwrap_or_else(|errors| panic!("{errors:?}\n{file}")).remove(0);
    let streams = source.streams().len();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut trial = Trial::start(source, TRIAL, &clock);
    let mut readings = BTreeMap::new();
    while readings.len() < streams {
        match trial.next().await {
            Some(TrialEvent::Reading(reading)) => {
                readings.entry(reading.stream.clone()).or_insert(reading);
            }
            Some(TrialEvent::Device(_)) => {}
            None => panic!("read {} of {streams} streams", readings.len()),
        }
    }
    readings
}

/// Story: somebody connects an inverter, scans it, and takes the file as it is. A value that is not what SunSpec's own
/// client shows, or a mark for "not implemented" that became a number (complaint: sentinels are not numbers), would go
/// into proofs for years.
#[tokio::test]
async fn a_written_configuration_used_as_it_is_reads_what_sunspecs_own_client_reads() {
    let (mut server, said) = Server::python("sunspec.py", ["--seed", "1"]);
    for unit_id in [1, 2] {
        let told = server.ask(&format!("oracle {unit_id}"));
        let (scanned, unit) = one(&said["port"], unit_id).await;
        for all in [false, true] {
            let wish = Wish { all, name: None };
            let (file, streams) = configuration(&scanned, &wish);
            let readings = readings(&file).await;
            assert_eq!(readings.len(), streams);
            let mut seen = 0;
            for model in models(&told) {
                for (path, point) in model["points"].as_object().expect("points") {
                    let name = format!(
                        "{}/{}/{path}",
                        device_name(&unit, &wish),
                        model["name"].as_str().expect("a name")
                    );
                    let is_there = all || !point["raw"].is_null();
                    assert_eq!(readings.contains_key(&name), is_there, "{name}: {point}\n{file}");
                    let Some(reading) = readings.get(&name) else { continue };
                    seen += 1;
                    let is_missing = point["raw"].is_null();
                    let quality = if is_missing { Quality::NotAvailable } else { Quality::Good };
                    assert_eq!(reading.quality, quality, "{name}: {reading:?}, {point}");
                    // No point of these two devices is a hardware address or a float.
                    let kind = PointKind::Uint16;
                    assert!(same_raw(kind, &reading.raw, &point["raw"]), "{name}: {reading:?}, {point}");
                    let shown = serde_json::to_value(&reading.value).expect("a value");
                    assert!(same_value(kind, &shown, &point["value"]), "{name}: {shown}, {point}");
                }
            }
            assert_eq!(seen, streams, "no stream beyond the oracle's points");
            println!("unit {unit_id}, all {all}: {streams} streams");
        }
    }
    // Power, its unit and its scale, as a person would look at it.
    let (scanned, _) = one(&said["port"], 1).await;
    let (file, _) = configuration(&scanned, &Wish { name: Some("roof".to_owned()), all: false });
    let readings = readings(&file).await;
    let seen = |name: &str| {
        let reading = &readings[&format!("roof-unit-1/{name}")];
        format!("{} {}", reading.value, reading.unit)
    };
    assert_eq!(seen("DERMeasureAC/Hz"), "60.01 Hz");
    assert_eq!(seen("DERMeasureAC/TmpAmb"), "45 Cel");
    assert_eq!(seen("DERMeasureAC/TotWhInj"), "150000 W.h");
    assert_eq!(seen("DERMeasureAC/PF"), "0.985 ");
    assert_eq!(seen("common/SN"), "\"sn-123456789\" ");
    server.stop();
}

#[tokio::test]
async fn units_that_are_not_there_are_told_from_those_that_answer() {
    let (_server, said) = Server::python("sunspec.py", ["--seed", "1"]);
    let address = format!("127.0.0.1:{}", said["port"]);
    // A gateway's word for a unit that is not there is no answer of the unit. Unit 4 is unit 1 once more.
    let found = scanned(&address, &[1, 4, 5, 250], WITHIN).await;
    let answers: Vec<_> = found.units.iter().map(|unit| unit.answer.clone()).collect();
    let gone = Answering::No("no answer: it does not answer the gateway (exception 11)".to_owned());
    assert_eq!(answers, [Answering::Yes, Answering::As(1), Answering::Yes, gone]);
    assert_eq!(found.answering().map(|unit| unit.unit_id).collect::<Vec<_>>(), [1, 4, 5]);
    let (file, _) = configuration(&found, &Wish::default());
    assert_eq!(sources(&file).expect("a right configuration").len(), 1, "one device: {file}");
    assert!(file.contains("# Unit 4 is unit 1 once more"), "{file}");

    // Half a second in vain, and then the next one is asked over a new connection.
    let found = scanned(&address, &[6], Duration::from_millis(500)).await;
    assert_eq!(found.units[0].answer, Answering::No("no answer in time".to_owned()));
    assert_eq!(found.answering().count(), 0);
}

#[tokio::test]
async fn of_a_unit_without_sunspec_it_says_what_can_be_read_and_no_more() {
    let (_server, said) = Server::python("sunspec.py", ["--seed", "1"]);
    let (scanned, unit) = one(&said["port"], 5).await;
    assert!(unit.sunspec.is_none());
    let ranges: Vec<_> = unit.readable.iter().map(|r| (r.span.table, r.span.first, r.span.last)).collect();
    // 300 to 304 are there too, but nobody tried an address among them: the scan says what it found, not that there is
    // nothing else. The rest of the address space was not tried either.
    assert_eq!(ranges, [(Table::Holding, 10, 209), (Table::Input, 0, 7), (Table::Coil, 0, 15)]);
    assert!(scanned.questions < 250, "{} questions", scanned.questions);
    let (file, streams) = configuration(&scanned, &Wish::default());
    assert_eq!(streams, 0);
    assert!(file.contains("# Readable: holding:10 to holding:209"), "{file}");
    assert!(file.contains("# [[device]]"), "{file}");
    // All of it is commented out, and with the hashes taken away it is a right start.
    assert_eq!(sources(&file).map(|sources| sources.len()), Ok(0));
    let at = file.find("# [[device]]").expect("just seen");
    let lines: Vec<&str> = file[at..].lines().map(|line| line.trim_start_matches(['#', ' '])).collect();
    let started = lines.join("\n");
    assert_eq!(sources(&started).map(|sources| sources.len()), Ok(1), "{started}");
}

#[tokio::test]
async fn a_chain_without_an_end_mark_gives_its_models_and_says_so() {
    let (_server, said) = Server::python("sunspec.py", ["--seed", "1"]);
    let (scanned, unit) = one(&said["port"], 7).await;
    let sunspec = unit.sunspec.as_ref().expect("SunSpec");
    assert_eq!(sunspec.models.iter().map(|model| model.link.id).collect::<Vec<_>>(), [1, 129]);
    let why = sunspec.broken.as_ref().expect("its chain is broken");
    assert!(why.contains("exception 2") && why.contains("0xFFFF is missing"), "{why}");
    assert!(configuration(&scanned, &Wish::default()).0.contains("# Its chain of models is broken: "));
}
