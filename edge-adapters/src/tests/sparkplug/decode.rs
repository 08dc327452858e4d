//! Payloads, topics and values.

use prost::Message as _;
use selvedge_core::reading::{Quality, Value};

use super::super::support::cases;
use super::{below, named, payload};
use crate::backoff::SplitMix;
use crate::mapping::Decoded;
use crate::mqtt::sparkplug::payload::{
    COMPRESSED, METRICS_MAX, Metric, Payload, PropertySet, PropertyValue, Template, Unreadable,
};
use crate::mqtt::sparkplug::topic::{ID_BYTES_MAX, Place, Topic, Verb};
use crate::mqtt::sparkplug::value::{DataType, decode, encode, source_time_ns, unit};
use crate::status_code;

fn good(value: Value) -> Decoded {
    Decoded { value, quality: Quality::Good, status: 0 }
}

fn int(int: u32) -> Metric {
    Metric { int_value: Some(int), ..Metric::default() }
}

fn long(long: u64) -> Metric {
    Metric { long_value: Some(long), ..Metric::default() }
}

#[test]
fn a_payload_of_the_reference_client_reads() {
    // What `sparkplug-payload` 1.0.3 of npm makes of { timestamp: 1700000000000, seq: 3, metrics: [
    // { name: "level", alias: 2, type: "Int16", value: -7, timestamp: 1699999999999 } ] }.
    let bytes = [
        0x08, 0x80, 0xd0, 0x95, 0xff, 0xbc, 0x31, 0x12, 0x18, 0x0a, 0x05, b'l', b'e', b'v', b'e', b'l', 0x10,
        0x02, 0x18, 0xff, 0xcf, 0x95, 0xff, 0xbc, 0x31, 0x20, 0x02, 0x50, 0xf9, 0xff, 0xff, 0xff, 0x0f, 0x18,
        0x03,
    ];
    let payload = Payload::read(&bytes).expect("a payload");
    assert_eq!((payload.timestamp, payload.seq), (Some(1_700_000_000_000), Some(3)));
    let metric = &payload.metrics[0];
    assert_eq!((metric.called(), metric.alias, metric.datatype), (Some("level"), Some(2), Some(2)));
    assert_eq!(decode(metric, DataType::Int16), good(Value::Int(-7)));
    assert_eq!(source_time_ns(metric, payload.timestamp), Some(1_699_999_999_999_000_000));
    assert_eq!(payload.encode_to_vec(), bytes);
}

#[test]
fn signed_numbers_in_both_forms() {
    for (kind, metric, value) in [
        (DataType::Int16, int(4_294_967_289), -7),
        (DataType::Int16, int(65_529), -7),
        (DataType::Int16, int(32_767), 32_767),
        (DataType::Int16, int(32_768), -32_768),
        (DataType::Int8, int(249), -7),
        (DataType::Int8, int(4_294_967_289), -7),
        (DataType::Int32, int(4_294_967_289), -7),
        (DataType::Int32, long(4_294_967_289), -7),
        (DataType::Int32, long(u64::MAX - 6), -7),
        (DataType::Int64, long(u64::MAX - 6), -7),
        (DataType::Int16, long(65_529), -7),
    ] {
        assert_eq!(decode(&metric, kind), good(Value::Int(value)), "{kind} {metric:?}");
    }
    for (kind, metric, value) in [
        (DataType::UInt8, int(255), 255),
        (DataType::UInt16, int(65_529), 65_529),
        (DataType::UInt32, int(u32::MAX), u64::from(u32::MAX)),
        (DataType::UInt32, long(u32::MAX.into()), u64::from(u32::MAX)),
        (DataType::UInt64, long(u64::MAX), u64::MAX),
        (DataType::DateTime, long(1_700_000_000_000), 1_700_000_000_000),
    ] {
        assert_eq!(decode(&metric, kind), good(Value::Unsigned(value)), "{kind} {metric:?}");
    }
    // A number that the type cannot hold is no number of it.
    for (kind, metric) in [
        (DataType::Int8, int(256)),
        (DataType::Int16, int(65_536)),
        (DataType::UInt8, int(256)),
        (DataType::UInt16, int(4_294_967_289)),
        (DataType::UInt32, long(1 << 32)),
        (DataType::Int32, long(1 << 32)),
        (DataType::Int16, Metric::default()),
        (DataType::Int16, Metric { double_value: Some(1.0), ..Metric::default() }),
    ] {
        assert_eq!(decode(&metric, kind), Decoded::bad(status_code::UNDECODABLE), "{kind} {metric:?}");
    }
}

#[test]
fn values_of_the_other_types() {
    let text = |text: &[u8]| Metric { string_value: Some(text.to_vec()), ..Metric::default() };
    let bytes = |bytes: &[u8]| Metric { bytes_value: Some(bytes.to_vec()), ..Metric::default() };
    let float = |float| Metric { float_value: Some(float), ..Metric::default() };
    let double = |double| Metric { double_value: Some(double), ..Metric::default() };
    let uncertain = |value, status| Decoded { value, quality: Quality::Uncertain, status };
    let nothing = Decoded { value: Value::None, quality: Quality::NotAvailable, status: 0 };
    let too_long = Decoded::bad(status_code::TOO_LONG);
    let encoded = |bytes: &[u8]| uncertain(Value::Bytes(bytes.to_vec()), status_code::ENCODED);
    for (kind, metric, decoded) in [
        (DataType::Float, float(1.5), good(Value::Float(1.5))),
        (DataType::Double, double(0.1), good(Value::Float(0.1))),
        (DataType::Double, float(1.5), good(Value::Float(1.5))),
        (DataType::Float, float(f32::NAN), nothing.clone()),
        (
            DataType::Double,
            double(f64::INFINITY),
            uncertain(Value::Float(f64::INFINITY), status_code::INFINITE),
        ),
        (
            DataType::Boolean,
            Metric { boolean_value: Some(true), ..Metric::default() },
            good(Value::Bool(true)),
        ),
        (DataType::Boolean, int(0), good(Value::Bool(false))),
        (DataType::Boolean, int(2), Decoded::bad(status_code::UNDECODABLE)),
        (DataType::String, text(b"run"), good(Value::Text("run".into()))),
        (DataType::Text, text(b""), good(Value::Text(String::new()))),
        (DataType::String, text(&[0xFF]), uncertain(Value::Bytes(vec![0xFF]), status_code::NOT_TEXT)),
        (DataType::String, text(&[b'x'; 4_097]), too_long.clone()),
        (DataType::Bytes, bytes(&[1, 2]), good(Value::Bytes(vec![1, 2]))),
        (DataType::File, bytes(&[0; 4_097]), too_long),
        (DataType::Int16Array, bytes(&[1, 0, 2, 0]), encoded(&[1, 0, 2, 0])),
        (
            DataType::DataSet,
            Metric { dataset_value: Some(vec![8, 1]), ..Metric::default() },
            encoded(&[8, 1]),
        ),
        (
            DataType::Template,
            Metric { template_value: Some(vec![40, 0]), ..Metric::default() },
            encoded(&[40, 0]),
        ),
        (DataType::Double, Metric { is_null: Some(true), ..double(0.0) }, nothing),
    ] {
        assert_eq!(decode(&metric, kind), decoded, "{kind} {metric:?}");
    }
}

fn with(key: &str, value: PropertyValue) -> Metric {
    let set = PropertySet {
        keys: vec![b"readOnly".to_vec(), key.as_bytes().to_vec()],
        values: vec![PropertyValue { int_value: Some(1), ..PropertyValue::default() }, value],
    };
    Metric { properties: Some(set.encode_to_vec()), ..int(5) }
}

#[test]
fn the_property_quality_counts() {
    let of =
        |quality| with("Quality", PropertyValue { int_value: Some(quality), ..PropertyValue::default() });
    for (number, quality, status) in [
        (192, Quality::Good, 0),
        (0, Quality::Bad, status_code::SOURCE_BAD),
        (500, Quality::Stale, status_code::SOURCE_STALE),
        (64, Quality::Uncertain, status_code::SOURCE_UNCERTAIN),
        (516, Quality::Bad, status_code::SOURCE_BAD),
    ] {
        let decoded = decode(&of(number), DataType::Int32);
        assert_eq!(decoded, Decoded { value: Value::Int(5), quality, status }, "{number}");
    }
    let null = Metric { is_null: Some(true), ..of(0) };
    assert_eq!(decode(&null, DataType::Int32), Decoded::bad(status_code::SOURCE_BAD));
    let null = Metric { is_null: Some(true), ..of(192) };
    assert_eq!(decode(&null, DataType::Int32).quality, Quality::NotAvailable);
    let text =
        with("Quality", PropertyValue { string_value: Some(b"bad".to_vec()), ..PropertyValue::default() });
    assert_eq!(decode(&text, DataType::Int32).quality, Quality::Good);
}

#[test]
fn units_and_times() {
    let unit_of = |text: &[u8]| {
        unit(&with(
            "engUnit",
            PropertyValue { string_value: Some(text.to_vec()), ..PropertyValue::default() },
        ))
    };
    assert_eq!(unit_of("°C".as_bytes()), Some("°C".to_owned()));
    assert_eq!((unit_of(b""), unit_of(&[0xFF]), unit(&int(1))), (None, None, None));
    let at = |timestamp| Metric { timestamp, ..int(1) };
    assert_eq!(source_time_ns(&at(Some(5)), Some(7)), Some(5_000_000));
    assert_eq!(source_time_ns(&at(None), Some(7)), Some(7_000_000));
    for (metric, payload) in [(None, None), (Some(0), None), (Some(u64::MAX), Some(7)), (None, Some(1 << 62))]
    {
        assert_eq!(source_time_ns(&at(metric), payload), None, "{metric:?} {payload:?}");
    }
}

#[test]
fn what_is_written_reads_as_it_was() {
    for (value, kind) in [
        (Value::Int(-7), DataType::Int8),
        (Value::Int(-7), DataType::Int16),
        (Value::Int(i64::MIN), DataType::Int64),
        (Value::Unsigned(u64::from(u32::MAX)), DataType::UInt32),
        (Value::Unsigned(u64::MAX), DataType::UInt64),
        (Value::Float(0.5), DataType::Float),
        (Value::Float(0.1), DataType::Double),
        (Value::Bool(true), DataType::Boolean),
        (Value::Text("on".into()), DataType::String),
        (Value::Bytes(vec![1]), DataType::Bytes),
    ] {
        let metric = encode(&value, kind).expect("it fits");
        assert_eq!(decode(&metric, kind), good(value), "{kind}");
        assert_eq!(metric.datatype, Some(kind as u32));
    }
    assert_eq!(encode(&Value::Float(3.0), DataType::Int16).map(|m| m.int_value), Ok(Some(3)));
    for (value, kind) in [
        (Value::Int(128), DataType::Int8),
        (Value::Int(-1), DataType::UInt64),
        (Value::Float(0.5), DataType::Int32),
        (Value::Float(1e300), DataType::Float),
        (Value::Int(2), DataType::Boolean),
        (Value::Text("on".into()), DataType::Boolean),
        (Value::Int(1), DataType::DataSet),
        (Value::None, DataType::Double),
    ] {
        assert!(encode(&value, kind).is_err(), "{value:?} {kind}");
    }
}

#[test]
fn what_is_no_payload_is_refused_without_being_built() {
    assert_eq!(Payload::read(&[]), Ok(Payload::default()));
    for bytes in [&[0x12][..], &[0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F], b"{\"v\": 1}", &[0x0B; 200]] {
        assert_eq!(Payload::read(bytes), Err(Unreadable::Malformed), "{bytes:?}");
    }
    // Two bytes each, two hundred in memory.
    let many = [0x12, 0x00].repeat(METRICS_MAX + 1);
    assert_eq!(Payload::read(&many), Err(Unreadable::TooMany));
    assert_eq!(Payload::read(&many[2..]).map(|payload| payload.metrics.len()), Ok(METRICS_MAX));
    let template = Metric { template_value: Some(many.clone()), ..Metric::default() };
    assert_eq!(template.template(), None);
    let properties = Metric { properties: Some([0x0A, 0x00].repeat(65)), ..Metric::default() };
    assert_eq!(properties.property_set(), None);
    let compressed = Payload { uuid: Some(COMPRESSED.to_vec()), ..Payload::default() };
    assert_eq!(Payload::read(&compressed.encode_to_vec()), Err(Unreadable::Compressed));
}

#[test]
fn topics() {
    let of = |verb, node: &str, device: Option<&str>| {
        let place = Place { node: node.to_owned(), device: device.map(str::to_owned) };
        Some(Topic::Of { group: "g".to_owned(), verb, place })
    };
    let state = |is_old| Some(Topic::State { host: "h".to_owned(), is_old });
    for (text, topic) in [
        ("spBv1.0/g/NBIRTH/n", of(Verb::Birth, "n", None)),
        ("spBv1.0/g/NDATA/n", of(Verb::Data, "n", None)),
        ("spBv1.0/g/NDEATH/n", of(Verb::Death, "n", None)),
        ("spBv1.0/g/NCMD/n", of(Verb::Command, "n", None)),
        ("spBv1.0/g/DBIRTH/n/d", of(Verb::Birth, "n", Some("d"))),
        ("spBv1.0/g/DDATA/n/d", of(Verb::Data, "n", Some("d"))),
        ("spBv1.0/g/DDEATH/n/d", of(Verb::Death, "n", Some("d"))),
        ("spBv1.0/g/DCMD/n/d", of(Verb::Command, "n", Some("d"))),
        ("spBv1.0/STATE/h", state(false)),
        ("STATE/h", state(true)),
    ] {
        assert_eq!(Topic::parse(text), topic, "{text}");
        assert_eq!(topic.map(|topic| topic.to_string()), Some(text.to_owned()));
    }
    let long = format!("spBv1.0/g/NDATA/{}", "n".repeat(ID_BYTES_MAX + 1));
    for text in [
        "",
        "spBv1.0",
        "spBv1.0/g",
        "spBv1.0/g/NDATA",
        "spBv1.0/g/NDATA/",
        "spBv1.0/g/NDATA/n/d",
        "spBv1.0/g/DDATA/n",
        "spBv1.0/g/DDATA/n/d/e",
        "spBv1.0/g/XDATA/n",
        "spBv1.0/g/NSTATE/n",
        "spBv1.0/g/ÄDATA/n",
        "spBv1.0//NDATA/n",
        "spAv1.0/g/NDATA/n",
        "STATE",
        "STATE/",
        "STATE/h/x",
        "plant/line1/state",
        &long,
    ] {
        assert_eq!(Topic::parse(text), None, "{text}");
    }
}

/// Bytes that are nearly a payload: a right one with some bytes changed, cut, or doubled.
fn nearly(random: &mut SplitMix, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[below(random, seeds.len() as u64) as usize].clone();
    for _ in 0..below(random, 6) {
        if bytes.is_empty() {
            break;
        }
        let at = below(random, bytes.len() as u64) as usize;
        match below(random, 4) {
            0 => bytes[at] = below(random, 256) as u8,
            1 => bytes.truncate(at),
            2 => bytes[at] ^= 1 << below(random, 8),
            _ => {
                let part = bytes[at..].to_vec();
                bytes.extend(part);
            }
        }
    }
    bytes
}

/// Templates within templates.
fn nested(depth: usize) -> Metric {
    let mut metric = named("leaf", 1);
    for _ in 0..depth {
        let template = Template { metrics: vec![metric], ..Template::default() };
        metric = Metric { template_value: Some(template.encode_to_vec()), ..named("t", 0) };
    }
    metric
}

#[test]
fn no_payload_makes_the_decoder_fail() {
    let seed = 0x5BA4;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let seeds: Vec<Vec<u8>> = [
        payload(1, vec![named("a", -1), with("Quality", PropertyValue::default()), int(7)]),
        payload(2, vec![nested(3), Metric { string_value: Some(b"text".to_vec()), ..int(1) }]),
        payload(3, vec![nested(50)]),
    ]
    .iter()
    .map(prost::Message::encode_to_vec)
    .collect();
    let (mut read, mut refused) = (0_u32, 0_u32);
    for case in 0..cases() {
        let bytes = nearly(&mut random, &seeds);
        let Ok(payload) = Payload::read(&bytes) else {
            refused += 1;
            continue;
        };
        read += 1;
        assert!(payload.metrics.len() <= METRICS_MAX);
        for metric in &payload.metrics {
            // Under any type, whatever it says of itself.
            let kind = DataType::ALL[below(&mut random, DataType::ALL.len() as u64) as usize];
            let decoded = decode(metric, kind);
            let is_nan = matches!(decoded.value, Value::Float(float) if float.is_nan());
            assert!(!is_nan, "case {case}: {metric:?}");
            assert!(decoded.quality != Quality::Good || decoded.value != Value::None, "case {case}");
            let _ = (unit(metric), metric.template(), source_time_ns(metric, payload.timestamp));
        }
        // What was read can be read again.
        let again = Payload::read(&payload.encode_to_vec()).expect("it was read");
        assert_eq!(again.encode_to_vec(), payload.encode_to_vec(), "case {case}");
    }
    assert!(read > refused / 20 && refused > read / 20, "{read} read, {refused} refused: too one-sided");
}

#[test]
fn every_number_of_every_width_reads_as_itself() {
    let seed = 0x1B16;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    for case in 0..cases() {
        let bits = [8, 16, 32, 64][below(&mut random, 4) as usize];
        let number = (random.next() as i64) >> below(&mut random, 64) >> (64 - bits);
        let kind = match bits {
            8 => DataType::Int8,
            16 => DataType::Int16,
            32 => DataType::Int32,
            _ => DataType::Int64,
        };
        let own_width = number as u64 & (u64::MAX >> (64 - bits));
        let mut forms = vec![long(number as u64), long(own_width)];
        if bits < 64 {
            forms.extend([int(number as i32 as u32), int(own_width as u32)]);
        }
        for metric in forms {
            assert_eq!(decode(&metric, kind), good(Value::Int(number)), "case {case} {kind} {metric:?}");
        }
        let metric = encode(&Value::Int(number), kind).expect("it fits");
        assert_eq!(decode(&metric, kind), good(Value::Int(number)), "case {case}");
    }
}

#[test]
fn topics_read_as_they_are_written() {
    let seed = 0x70B1C;
    println!("seed {seed:#x}");
    let mut random = SplitMix(seed);
    let words = ["spBv1.0", "STATE", "g", "NBIRTH", "DDATA", "NCMD", "n", "", "#", "ä", "DDEATH", "N", "D"];
    let mut parsed = 0;
    for case in 0..cases() {
        let mut levels: Vec<&str> = (0..below(&mut random, 6))
            .map(|_| words[below(&mut random, words.len() as u64) as usize])
            .collect();
        if below(&mut random, 2) == 0 {
            levels.insert(0, "spBv1.0");
        }
        let text = levels.join("/");
        if let Some(topic) = Topic::parse(&text) {
            parsed += 1;
            assert_eq!(topic.to_string(), text, "case {case}");
        }
    }
    assert!(parsed > 100, "{parsed}");
}
