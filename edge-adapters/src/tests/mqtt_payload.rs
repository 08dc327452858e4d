//! MQTT payloads and topics: what becomes a value, and that no message makes a picker fail.

use selvedge_core::reading::{Quality, Value};
use serde_json::json;

use super::support::cases;
use crate::backoff::SplitMix;
use crate::mapping::Decoded;
use crate::mqtt::payload::{Kind, Mark, Payload, Picker, SourceTime, Spot, time_ns};
use crate::mqtt::topic::{Filter, Routes, expand, subscriptions};
use crate::status_code;

fn picker(kind: Kind, pointer: Option<&str>) -> Picker {
    let spot = pointer.map_or(Spot::Whole, |pointer| Spot::Json(pointer.to_owned()));
    Picker { kind, spot, time: None, not_available: Vec::new() }
}

fn raw(kind: Kind, payload: &[u8]) -> Decoded {
    Payload::new(payload).value(&picker(kind, None)).expect("a raw payload always says something")
}

fn good(value: Value) -> Decoded {
    Decoded { value, quality: Quality::Good, status: 0 }
}

#[test]
fn raw_payloads_of_each_type() {
    for (kind, payload, value) in [
        (Kind::F64, "21.5", Value::Float(21.5)),
        (Kind::F64, " -3e2\r\n", Value::Float(-300.0)),
        (Kind::F64, "7", Value::Float(7.0)),
        (Kind::I64, "-9223372036854775808", Value::Int(i64::MIN)),
        (Kind::U64, "18446744073709551615", Value::Unsigned(u64::MAX)),
        (Kind::Bool, "ON", Value::Bool(true)),
        (Kind::Bool, "false", Value::Bool(false)),
        (Kind::Bool, "1", Value::Bool(true)),
        (Kind::Text, " as it is ", Value::Text(" as it is ".into())),
        (Kind::Text, "", Value::Text(String::new())),
    ] {
        assert_eq!(raw(kind, payload.as_bytes()), good(value), "{kind} {payload:?}");
    }
    for (kind, payload) in [
        (Kind::F64, &b"warm"[..]),
        (Kind::F64, b""),
        (Kind::F64, b"1,5"),
        (Kind::I64, b"1.0"),
        (Kind::U64, b"-1"),
        (Kind::U64, b"18446744073709551616"),
        (Kind::Bool, b"2"),
        (Kind::F64, &[0xFF, 0xFE]),
        (Kind::Text, &[b'x'; 4_097]),
        (Kind::Text, &[0xFF; 4_097]),
    ] {
        assert_eq!(raw(kind, payload), Decoded::bad(status_code::UNDECODABLE), "{kind} {payload:?}");
    }
    let nan = raw(Kind::F64, b"NaN");
    assert_eq!((nan.value, nan.quality), (Value::None, Quality::NotAvailable));
    let infinite = raw(Kind::F64, b"-inf");
    assert_eq!(infinite.value, Value::Float(f64::NEG_INFINITY));
    assert_eq!((infinite.quality, infinite.status), (Quality::Uncertain, status_code::INFINITE));
    let bytes = raw(Kind::Text, &[0xC3]);
    assert_eq!((bytes.value, bytes.status), (Value::Bytes(vec![0xC3]), status_code::NOT_TEXT));
}

#[test]
fn several_values_and_their_time_from_one_json_message() {
    let message = br#"{"t": 21.5, "n": {"count": 7, "a/b": "8"}, "on": true, "off": 0, "none": null, "list": [1, "2.5"],
                       "big": 9007199254740993, "whole": 3.0, "ts": "2027-01-15T09:00:00.25+01:00", "ms": 1800000000250}"#;
    let mut payload = Payload::new(message);
    for (pointer, kind, value) in [
        ("/t", Kind::F64, Value::Float(21.5)),
        ("/n/count", Kind::I64, Value::Int(7)),
        ("/n/a~1b", Kind::U64, Value::Unsigned(8)),
        ("/on", Kind::Bool, Value::Bool(true)),
        ("/off", Kind::Bool, Value::Bool(false)),
        ("/list/1", Kind::F64, Value::Float(2.5)),
        ("/big", Kind::I64, Value::Int(9_007_199_254_740_993)),
        ("/whole", Kind::I64, Value::Int(3)),
        ("/n/a~1b", Kind::Text, Value::Text("8".into())),
    ] {
        assert_eq!(payload.value(&picker(kind, Some(pointer))), Some(good(value)), "{pointer} as {kind}");
    }
    assert_eq!(payload.value(&picker(Kind::F64, Some("/gone"))), None, "the message says nothing of it");
    let null = payload.value(&picker(Kind::F64, Some("/none"))).unwrap();
    assert_eq!((null.value, null.quality), (Value::None, Quality::NotAvailable));
    for (pointer, kind) in [
        ("/n", Kind::F64),
        ("/t", Kind::I64),
        ("/t", Kind::Text),
        ("/on", Kind::U64),
        ("/list", Kind::Text),
        ("", Kind::Text),
    ] {
        let value = payload.value(&picker(kind, Some(pointer)));
        assert_eq!(value, Some(Decoded::bad(status_code::UNDECODABLE)), "{pointer} as {kind}");
    }
    for pointer in ["/ts", "/ms"] {
        let timed = Picker { time: Some(Spot::Json(pointer.into())), ..picker(Kind::F64, Some("/t")) };
        assert_eq!(payload.time(&timed), SourceTime::At(1_800_000_000_250_000_000), "{pointer}");
    }
    let timed =
        |pointer: &str| Picker { time: Some(Spot::Json(pointer.into())), ..picker(Kind::F64, Some("/t")) };
    assert_eq!(payload.time(&timed("/gone")), SourceTime::Unreadable);
    assert_eq!(payload.time(&timed("/on")), SourceTime::Unreadable);
    assert_eq!(payload.time(&picker(Kind::F64, Some("/t"))), SourceTime::None);
    assert_eq!(Payload::new(b"21.5").value(&picker(Kind::F64, Some(""))), Some(good(Value::Float(21.5))));
    let broken = Payload::new(b"{\"t\": 2").value(&picker(Kind::F64, Some("/t")));
    assert_eq!(broken, Some(Decoded::bad(status_code::UNDECODABLE)));
}

#[test]
fn times_beyond_what_a_reading_holds_are_no_times() {
    for (found, ns) in [
        (json!(0), Some(0)),
        (json!(-1), Some(-1_000_000)),
        (json!(1.5), Some(1_500_000)),
        (json!("1700000000000"), Some(1_700_000_000_000_000_000)),
        (json!("1970-01-01T00:00:00Z"), Some(0)),
        (json!("1969-12-31T23:59:59.999999999Z"), Some(-1)),
        (json!(9_223_372_036_855_i64), None),
        (json!(1e300), None),
        (json!("2500-01-01T00:00:00Z"), None),
        (json!("yesterday"), None),
        (json!("2027-01-15 09:00"), None),
        (json!(null), None),
    ] {
        assert_eq!(time_ns(&found), ns, "{found}");
    }
}

#[test]
fn marks_mean_that_there_is_no_value() {
    let marks = vec![Mark::Integer(-9_999), Mark::Float(0.5), Mark::Text("---".into())];
    let with = |kind, pointer: Option<&str>| Picker { not_available: marks.clone(), ..picker(kind, pointer) };
    for (kind, payload) in [
        (Kind::F64, "-9999"),
        (Kind::I64, "-9999"),
        (Kind::F64, "0.5"),
        (Kind::Bool, " ---"),
        (Kind::Text, "---"),
    ] {
        let decoded = Payload::new(payload.as_bytes()).value(&with(kind, None)).unwrap();
        assert_eq!(decoded.quality, Quality::NotAvailable, "{kind} {payload}");
    }
    let in_json = Payload::new(br#"{"v": -9999}"#).value(&with(Kind::F64, Some("/v"))).unwrap();
    assert_eq!(in_json.quality, Quality::NotAvailable);
    assert_eq!(Payload::new(b"-9998").value(&with(Kind::I64, None)), Some(good(Value::Int(-9_998))));
}

/// Half of them well-formed JSON, the other half that with bytes changed.
fn odd_payload(random: &mut SplitMix) -> Vec<u8> {
    let number = match random.next() % 6 {
        0 => json!(random.next() as i64),
        1 => json!(random.next()),
        2 => json!(f64::from_bits(random.next())),
        3 => json!(format!("{:e}", f64::from_bits(random.next()))),
        4 => json!(random.next() % 3),
        _ => json!(["on", "NaN", "-inf", "", "2027-01-15T09:00:00Z"][random.next() as usize % 5]),
    };
    let document = match random.next() % 4 {
        0 => number,
        1 => json!({ "v": number, "t": random.next() }),
        2 => json!({ "v": { "v": [number] }, "t": null }),
        _ => json!([{ "v": number }, random.next().is_multiple_of(2)]),
    };
    let mut bytes = document.to_string().into_bytes();
    if random.next().is_multiple_of(2) {
        for _ in 0..=random.next() % 4 {
            let at = random.next() as usize % bytes.len().max(1);
            match random.next() % 3 {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), random.next() as u8),
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = random.next() as u8;
                    }
                }
            }
        }
    }
    bytes
}

/// serde_json reads a number with many digits to the last bit but one, unless it is told to take the time: a temperature of
/// 9.655705957413164e34 stood in the ledger as …162e34. Found by writing generated numbers and reading them back.
#[test]
fn a_number_is_kept_to_its_last_bit_in_json_as_in_text() {
    let mut random = SplitMix(0xB17);
    println!("seed 0xB17");
    for case in 0..cases() {
        let number = f64::from_bits(random.next());
        if !number.is_finite() {
            continue;
        }
        for written in [format!("{number}"), format!("{number:e}")] {
            let expected = Some(good(Value::Float(number)));
            assert_eq!(Some(raw(Kind::F64, written.as_bytes())), expected, "case {case}: {written}");
            let document = format!("{{\"t\": {written}}}");
            let value = Payload::new(document.as_bytes()).value(&picker(Kind::F64, Some("/t")));
            assert_eq!(value, expected, "case {case}: {written}");
        }
    }
}

#[test]
fn no_payload_makes_a_picker_fail_and_every_value_fits_a_reading() {
    let seed = 0x3011;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let pointers = [None, Some(""), Some("/v"), Some("/v/v/0"), Some("/0/v"), Some("/~01")];
    let mut seen = std::collections::BTreeMap::<Quality, u64>::new();
    let mut times = [0_u64; 2];
    for case in 0..cases() {
        let bytes = odd_payload(&mut random);
        let kind = Kind::ALL[random.next() as usize % 5];
        let picker = Picker {
            kind,
            spot: pointers[random.next() as usize % 6]
                .map_or(Spot::Whole, |pointer| Spot::Json(pointer.into())),
            time: Some(Spot::Json("/t".into())),
            not_available: vec![Mark::Integer(1), Mark::Text("on".into())],
        };
        let mut payload = Payload::new(&bytes);
        times[usize::from(matches!(payload.time(&picker), SourceTime::At(_)))] += 1;
        let Some(decoded) = payload.value(&picker) else { continue };
        *seen.entry(decoded.quality).or_default() += 1;
        let what = format!("case {case}: {kind} {:?} gave {decoded:?}", String::from_utf8_lossy(&bytes));
        let fits = match (&decoded.value, decoded.quality) {
            (Value::None, Quality::Bad) => decoded.status == status_code::UNDECODABLE,
            (Value::None, quality) => quality == Quality::NotAvailable,
            (Value::Bool(_), Quality::Good) => kind == Kind::Bool,
            (Value::Int(_), Quality::Good) => kind == Kind::I64,
            (Value::Unsigned(_), Quality::Good) => kind == Kind::U64,
            (Value::Float(float), quality) => {
                kind == Kind::F64 && !float.is_nan() && (quality == Quality::Good) == float.is_finite()
            }
            (Value::Text(text), Quality::Good) => kind == Kind::Text && text.len() <= 4_096,
            (Value::Bytes(bytes), Quality::Uncertain) => kind == Kind::Text && bytes.len() <= 4_096,
            _ => false,
        };
        assert!(fits, "{what}");
    }
    println!("{seen:?}, times {times:?}");
    for quality in [Quality::Good, Quality::Uncertain, Quality::Bad, Quality::NotAvailable] {
        assert!(seen.contains_key(&quality), "{quality:?} never came");
    }
    assert!(times.iter().all(|times| *times > 0));
}

fn filter(text: &str) -> Filter {
    Filter::new(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

#[test]
fn filters_match_as_the_standard_says() {
    // The examples of MQTT 3.1.1, sections 4.7.1 and 4.7.2.
    for (pattern, topic, matches) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("#", "a/b", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "$SYS/x", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/x", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
    ] {
        assert_eq!(filter(pattern).matches(topic), matches, "{pattern} and {topic}");
    }
    for wrong in ["", "sport/tennis#", "sport/#/ranking", "sport+", "a\0b", &"x".repeat(161)] {
        assert!(Filter::new(wrong).is_err(), "{wrong:?}");
    }
}

/// A filter of up to four levels of three words.
fn odd_filter(random: &mut SplitMix, with_wildcards: bool) -> String {
    let words = if with_wildcards { 4 } else { 3 };
    let mut levels: Vec<&str> =
        (0..=random.next() % 4).map(|_| ["a", "b", "", "+"][random.next() as usize % words]).collect();
    if with_wildcards && random.next().is_multiple_of(4) {
        levels.push("#");
    }
    levels.join("/")
}

#[test]
fn covering_and_overlapping_agree_with_matching() {
    let seed = 0x70_1C;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let (mut covered, mut apart) = (0, 0);
    for _ in 0..cases() {
        let (one, other) = (odd_filter(&mut random, true), odd_filter(&mut random, true));
        let topic = odd_filter(&mut random, false);
        let (Ok(one), Ok(other)) = (Filter::new(&one), Filter::new(&other)) else { continue };
        let (by_one, by_other) = (one.matches(&topic), other.matches(&topic));
        if one.covers(&other) {
            covered += 1;
            assert!(!by_other || by_one, "{one:?} covers {other:?}, but {topic:?} says no");
            assert!(one.overlaps(&other), "{one:?} {other:?}");
        }
        if !one.overlaps(&other) {
            apart += 1;
            assert!(!(by_one && by_other), "{one:?} and {other:?} share {topic:?}");
        }
        assert_eq!(one.overlaps(&other), other.overlaps(&one), "{one:?} {other:?}");
        let routes = Routes::new([&one, &other]);
        let expected: Vec<usize> =
            [by_one, by_other].iter().enumerate().filter(|(_, by)| **by).map(|(at, _)| at).collect();
        let mut found = routes.of(&topic);
        found.sort_unstable();
        assert_eq!(found, expected, "{one:?} {other:?} {topic:?}");
    }
    assert!(covered > 0 && apart > 0);
}

#[test]
fn a_template_is_each_combination_and_is_subscribed_to_once() {
    let each = [("line", ["1", "2"]), ("machine", ["filler", "capper"])];
    let each = each.map(|(name, values)| (name.to_owned(), values.map(str::to_owned).to_vec())).into();
    let expansion = expand("{line}.{machine}", "plant/{line}/{machine}/+", &each, 100).unwrap();
    let shown: Vec<_> = expansion.streams.iter().map(|s| (s.name.as_str(), s.topic.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("1.filler", "plant/1/filler/+"),
            ("1.capper", "plant/1/capper/+"),
            ("2.filler", "plant/2/filler/+"),
            ("2.capper", "plant/2/capper/+"),
        ]
    );
    assert_eq!(expansion.filter, filter("plant/+/+/+"));
    assert_eq!(expand("x", "plant/{line}/a", &[].into(), 9).unwrap_err().0, "each");
    assert_eq!(expand("x", "plant/a", &each, 9).unwrap_err().0, "each");
    assert_eq!(expand("x", "plant/{line}/{machine}", &each, 3).unwrap_err().0, "each");
    let slash = [("line".to_owned(), vec!["a/b".to_owned()])].into();
    assert_eq!(expand("{line}", "plant/{line}", &slash, 9).unwrap_err().0, "each");
    assert_eq!(expand("x", "plant/#/a", &[].into(), 9).unwrap_err().0, "topic");

    let all = ["a/+/c", "a/b/c", "x", "a/b/c", "a/#"].map(filter);
    assert_eq!(subscriptions(&all), Ok(vec![filter("x"), filter("a/#")]));
    assert_eq!(subscriptions(&["a/+/c", "a/b/+"].map(filter)), Err((filter("a/+/c"), filter("a/b/+"))));
}

#[test]
fn no_text_makes_a_template_fail() {
    let seed = 0x7E;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let (mut right, mut wrong) = (0, 0);
    for _ in 0..cases() {
        let words = ["a", "{x}", "{y}", "+", "#", "", "{", "{}", "b+", "\u{7f}", "é"];
        let topic: Vec<&str> =
            (0..=random.next() % 4).map(|_| words[random.next() as usize % words.len()]).collect();
        let values = |random: &mut SplitMix| -> Vec<String> {
            (0..random.next() % 4)
                .map(|_| ["1", "2", "a/b", "", "ö"][random.next() as usize % 5].to_owned())
                .collect()
        };
        let mut each = std::collections::BTreeMap::new();
        for name in ["x", "y"] {
            if !random.next().is_multiple_of(3) {
                each.insert(name.to_owned(), values(&mut random));
            }
        }
        match expand("{x}{y}", &topic.join("/"), &each, 6) {
            Ok(expansion) => {
                right += 1;
                assert!((1..=6).contains(&expansion.streams.len()));
                for stream in expansion.streams {
                    assert!(expansion.filter.covers(&stream.topic), "{stream:?} and {:?}", expansion.filter);
                }
            }
            Err((key, why)) => {
                wrong += 1;
                assert!(["topic", "each"].contains(&key) && !why.is_empty());
            }
        }
    }
    assert!(right > 0 && wrong > 0);
}
