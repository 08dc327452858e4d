//! What a look at a broker makes of births: metrics with types and units, and a configuration that is right.

use std::time::Duration;

use prost::Message as _;

use crate::backoff::SplitMix;
use crate::config::sources;
use crate::mqtt::sparkplug::payload::{Metric, Payload, PropertySet, PropertyValue};
use crate::mqtt::sparkplug::value::DataType;
use crate::mqtt::survey::{Head, METRICS_MAX, Survey, propose, unborn};
use crate::tests::support::cases;

fn head() -> Head {
    Head { address: "h:1883".into(), ..Head::default() }
}

fn metric(name: &str, kind: DataType) -> Metric {
    let name = Some(name.as_bytes().to_vec());
    Metric { name, datatype: Some(kind as u32), int_value: Some(7), ..Metric::default() }
}

fn with_unit(unit: &str, metric: Metric) -> Metric {
    let value = PropertyValue {
        datatype: Some(DataType::String as u32),
        string_value: Some(unit.as_bytes().to_vec()),
        ..PropertyValue::default()
    };
    let set = PropertySet { keys: vec![b"engUnit".to_vec()], values: vec![value] };
    Metric { properties: Some(set.encode_to_vec()), ..metric }
}

fn payload(metrics: Vec<Metric>) -> Vec<u8> {
    Payload { timestamp: Some(1_700_000_000_000), metrics, seq: Some(0), ..Payload::default() }
        .encode_to_vec()
}

fn survey(messages: &[(&str, Vec<u8>)]) -> Survey {
    let mut survey = Survey::default();
    for (topic, payload) in messages {
        survey.heard(topic, payload, false, Duration::ZERO);
    }
    survey
}

/// Story: a plant speaks nothing but Sparkplug. `listen --out plant.toml` showed the births, said that it would write a
/// configuration, wrote none, and ended as if all were well.
#[test]
fn births_become_a_device_with_a_stream_for_each_metric() {
    let node = payload(vec![
        metric("bdSeq", DataType::UInt64),
        metric("Node Control/Rebirth", DataType::Boolean),
        with_unit("°C", metric("Temperature", DataType::Int32)),
        with_unit("Stück", metric("Count \"good\"", DataType::UInt32)),
        metric("Motor", DataType::Template),
        metric("Two\nlines", DataType::Int32),
        Metric { name: Some(b"Untyped".to_vec()), ..Metric::default() },
    ]);
    let device = payload(vec![metric("Outputs/Level", DataType::Int16)]);
    let data = payload(vec![Metric { alias: Some(3), int_value: Some(1), ..Metric::default() }]);
    let report = survey(&[
        ("spBv1.0/bottling/NBIRTH/line1", node),
        ("spBv1.0/bottling/DBIRTH/line1/filler", device),
        ("spBv1.0/bottling/DDATA/line1/filler", data.clone()),
        ("spBv1.0/bottling/DDATA/line1/capper", data),
        ("spBv1.0/bottling/NCMD/line9", payload(vec![metric("Node Control/Rebirth", DataType::Boolean)])),
        ("spBv1.0/STATE/host", br#"{"online": true, "timestamp": 1700000000000}"#.to_vec()),
    ])
    .report();
    let (text, count) = propose(&head(), &report);
    let sources = sources(&text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    assert_eq!((sources.len(), sources[0].head().protocol), (1, "sparkplug"), "{text}");
    let shown: Vec<_> = sources[0]
        .streams()
        .iter()
        .map(|stream| &stream.descriptor)
        .map(|d| (d.name.as_str(), d.address.as_str(), d.source_type.as_str(), d.unit.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            (
                "line1/Count \"good\"",
                "sparkplug h:1883 bottling line1 metric Count \"good\"",
                "sparkplug UInt32",
                ""
            ),
            (
                "line1/Temperature",
                "sparkplug h:1883 bottling line1 metric Temperature",
                "sparkplug Int32",
                "Cel"
            ),
            ("line1/Untyped", "sparkplug h:1883 bottling line1 metric Untyped", "sparkplug metric", ""),
            (
                "line1/filler/Outputs/Level",
                "sparkplug h:1883 bottling line1/filler metric Outputs/Level",
                "sparkplug Int16",
                ""
            ),
        ]
    );
    assert_eq!(count, 4);
    for line in [
        "group = \"bottling\"",
        "Motor: Template",
        "\"Stück\"",
        "bottling/line1/capper",
        "--rebirth",
        "Twolines",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(unborn(&report), ["bottling/line1/capper"], "a command says nothing of a node");
}

#[test]
fn beside_other_topics_and_groups_each_has_a_device_of_its_own() {
    let birth = || payload(vec![metric("Level", DataType::Int16)]);
    let report = survey(&[
        ("plant/t", b"21.5".to_vec()),
        ("spBv1.0/a/NBIRTH/n", birth()),
        ("spBv1.0/b/NBIRTH/n", birth()),
        ("spBv1.0/c/NDATA/n", birth()),
    ])
    .report();
    let (text, count) = propose(&head(), &report);
    let sources = sources(&text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    let devices: Vec<_> = sources.iter().map(|source| (source.device(), source.head().protocol)).collect();
    assert_eq!(devices, [("broker", "mqtt"), ("sparkplug-1-a", "sparkplug"), ("sparkplug-2-b", "sparkplug")]);
    assert_eq!((count, unborn(&report)), (3, vec!["c/n".to_owned()]));
}

/// Who is asked for births is alive, not born here, and asked once: each time it sends all that it has.
#[test]
fn only_those_that_talk_and_were_not_born_are_asked_and_once() {
    let mut survey = Survey::default();
    let mut hear = |topic: &str, metrics: Vec<Metric>| {
        survey.heard(topic, &payload(metrics), false, Duration::ZERO);
        survey.should_ask(topic).map(|(group, node)| format!("{group} {node}"))
    };
    let level = || vec![metric("Level", DataType::Int16)];
    assert_eq!(hear("spBv1.0/g/NBIRTH/born", level()), None);
    assert_eq!(hear("spBv1.0/g/NDATA/born", level()), None);
    assert_eq!(hear("spBv1.0/g/DBIRTH/born/d", level()), None);
    assert_eq!(hear("spBv1.0/g/DDATA/born/d", level()), None);
    assert_eq!(hear("spBv1.0/g/NDEATH/dead", Vec::new()), None);
    assert_eq!(hear("spBv1.0/g/NCMD/unheard", level()), None);
    assert_eq!(
        hear("spBv1.0/g/DDATA/born/other", level()).as_deref(),
        Some("g born"),
        "its device was not born"
    );
    assert_eq!(hear("spBv1.0/g/NDATA/n", level()).as_deref(), Some("g n"));
    assert_eq!(hear("spBv1.0/g/NDATA/n", level()), None, "once");
    assert_eq!(
        hear("spBv1.0/h/DBIRTH/n/d", level()).as_deref(),
        Some("h n"),
        "the node's own birth was before"
    );
    assert_eq!(hear("plant/t", level()), None);
    assert_eq!(survey.report().births_asked, 3);
}

/// Whatever births say, memory has a bound, and what is proposed is a configuration.
#[test]
fn generated_births_are_kept_in_bounds_and_give_a_configuration() {
    let mut random = SplitMix(0xB127);
    println!("seed 0xB127");
    let parts = [
        "a",
        "Level",
        "/",
        "\"",
        "\\",
        "\n",
        "\u{1b}",
        "é",
        "\u{202e}",
        "#",
        "{x}",
        " ",
        "'",
        "]",
        "xxxxxxxxxxxxxxxx",
    ];
    let mut streams = 0;
    for round in 0..cases() / 500 {
        let mut survey = Survey::default();
        for _ in 0..100 {
            let mut any = |most: u64| -> String {
                (0..random.next() % most).map(|_| parts[random.next() as usize % parts.len()]).collect()
            };
            let topic = format!(
                "spBv1.0/{}/{}/{}{}",
                any(4),
                ["NBIRTH", "DBIRTH", "NDATA"][any(3).len() % 3],
                any(3),
                ["", "/d"][any(2).len() % 2]
            );
            let metrics = (0..5).map(|_| {
                let kind = DataType::ALL[any(9).len() % DataType::ALL.len()];
                let (name, unit, text) = (any(24), any(4), any(9));
                let metric = Metric { string_value: Some(text.into_bytes()), ..metric(&name, kind) };
                with_unit(&unit, metric)
            });
            survey.heard(&topic, &payload(metrics.collect()), false, Duration::ZERO);
        }
        let (text, count) = propose(&head(), &survey.report());
        let taken = sources(&text);
        assert!(taken.is_ok(), "round {round}: {:#?}\n{text}", taken.err());
        streams += count;
    }
    println!("{streams} streams");
    assert!(streams > 100, "hardly anything was tried: {streams}");

    let mut survey = Survey::default();
    for number in 0..4_u64 {
        let metrics = (0..2_000).map(|at| metric(&format!("m{at}"), DataType::Int8)).collect();
        survey.heard(&format!("spBv1.0/g/NBIRTH/n{number}"), &payload(metrics), false, Duration::ZERO);
    }
    let report = survey.report();
    let kept: usize = report.topics.iter().map(|topic| topic.metrics.len()).sum();
    let left_out: u64 = report.topics.iter().map(|topic| topic.fields_left_out).sum();
    assert_eq!((kept, left_out), (METRICS_MAX, 8_000 - METRICS_MAX as u64));
}
