//! OPC-UA values and names of nodes: what becomes a reading, and that nothing a server sends makes the mapping fail.

use std::io::Cursor;

use opcua::types::{
    Array, BinaryDecodable, BinaryEncodable, ByteString, ContextOwned, DataValue, DateTime, ExtensionObject,
    Guid, LocalizedText, NodeId, QualifiedName, Range, StatusCode, UAString, Variant, VariantScalarTypeId,
};
use selvedge_core::limits::READING_TEXT_BYTES_MAX;
use selvedge_core::reading::{Quality, Reading, Value};

use super::support::cases;
use crate::backoff::SplitMix;
use crate::mapping::Decoded;
use crate::opcua::node_id::{NodeName, NodeNameError};
use crate::opcua::value::{AHEAD_MAX, EARLIEST_NS, Mark, Picker, decode, take, time_ns};
use crate::status_code;

/// 2026-11-21T17:00:00Z.
const NOW_NS: i64 = 1_795_280_400_000_000_000;

fn at(ns: i64) -> DateTime {
    DateTime::from(116_444_736_000_000_000 + ns / 100)
}

fn said(variant: impl Into<Variant>) -> DataValue {
    DataValue {
        value: Some(variant.into()),
        source_timestamp: Some(at(NOW_NS - 5_000_000_000)),
        server_timestamp: Some(at(NOW_NS)),
        ..DataValue::null()
    }
}

fn plain(data: &DataValue) -> Decoded {
    decode(data, &Picker::default())
}

fn good(value: Value) -> Decoded {
    Decoded { value, quality: Quality::Good, status: 0 }
}

const NOTHING: Decoded = Decoded { value: Value::None, quality: Quality::NotAvailable, status: 0 };

#[test]
fn every_scalar_type_is_what_it_was() {
    let guid: Guid = "09087e75-8e5e-499b-954f-f2a9603db28a".parse().unwrap();
    for (variant, value) in [
        (Variant::from(true), Value::Bool(true)),
        (Variant::from(i8::MIN), Value::Int(-128)),
        (Variant::from(u8::MAX), Value::Unsigned(255)),
        (Variant::from(i16::MIN), Value::Int(-32_768)),
        (Variant::from(u16::MAX), Value::Unsigned(65_535)),
        // An enumeration travels as its number.
        (Variant::from(i32::MIN), Value::Int(i64::from(i32::MIN))),
        (Variant::from(u32::MAX), Value::Unsigned(u64::from(u32::MAX))),
        (Variant::from(i64::MIN), Value::Int(i64::MIN)),
        (Variant::from(u64::MAX), Value::Unsigned(u64::MAX)),
        (Variant::from(0.1_f32), Value::Float(f64::from(0.1_f32))),
        (Variant::from(-2.5_f64), Value::Float(-2.5)),
        (Variant::from("Füller"), Value::Text("Füller".into())),
        (Variant::from(""), Value::Text(String::new())),
        (Variant::from(LocalizedText::new("de", "läuft")), Value::Text("läuft".into())),
        (Variant::from(QualifiedName::new(3, "Motor")), Value::Text("3:Motor".into())),
        (Variant::from(NodeId::new(2, "Motor")), Value::Text("ns=2;s=Motor".into())),
        (Variant::from(guid.clone()), Value::Text("09087e75-8e5e-499b-954f-f2a9603db28a".into())),
        (Variant::from(at(NOW_NS + 123_456_700)), Value::Text("2026-11-21T17:00:00.123456700Z".into())),
        (Variant::from(StatusCode::BadTimeout), Value::Unsigned(0x800A_0000)),
        (Variant::from(ByteString::from(vec![0, 255])), Value::Bytes(vec![0, 255])),
        (Variant::Variant(Box::new(Variant::from(7_i32))), Value::Int(7)),
    ] {
        assert_eq!(plain(&said(variant.clone())), good(value), "{variant:?}");
    }
}

#[test]
fn nothing_is_nothing() {
    for variant in [
        Variant::Empty,
        Variant::from(UAString::null()),
        Variant::from(ByteString::null()),
        Variant::from(LocalizedText::null()),
        Variant::from(DateTime::null()),
        Variant::from(NodeId::null()),
        Variant::from(ExtensionObject::null()),
        Variant::from(f64::NAN),
        Variant::from(f32::NAN),
    ] {
        assert_eq!(plain(&said(variant.clone())), NOTHING, "{variant:?}");
    }
    assert_eq!(plain(&DataValue::null()), NOTHING);
}

#[test]
fn what_is_no_plain_value_says_so() {
    let infinite = plain(&said(f64::INFINITY));
    assert_eq!(infinite.value, Value::Float(f64::INFINITY));
    assert_eq!((infinite.quality, infinite.status), (Quality::Uncertain, status_code::INFINITE));
    let range = plain(&said(ExtensionObject::from_message(Range { low: 1.0, high: 2.0 })));
    let bytes = [1.0_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat();
    assert_eq!(range.value, Value::Bytes(bytes));
    assert_eq!((range.quality, range.status), (Quality::Uncertain, status_code::STRUCTURE));
    let long = "x".repeat(READING_TEXT_BYTES_MAX + 1);
    assert_eq!(plain(&said(long.as_str())), Decoded::bad(status_code::TOO_LONG));
    assert_eq!(plain(&said(ByteString::from(long.into_bytes()))), Decoded::bad(status_code::TOO_LONG));
}

#[test]
fn an_element_of_an_array_by_its_index_and_nothing_without_one() {
    let array = said(vec![10_i16, 20, 30]);
    let pick = |data: &DataValue, index| decode(data, &Picker { index: Some(index), ..Picker::default() });
    assert_eq!(plain(&array), Decoded::bad(status_code::ARRAY));
    assert_eq!(pick(&array, 0), good(Value::Int(10)));
    assert_eq!(pick(&array, 2), good(Value::Int(30)));
    assert_eq!(pick(&array, 3), Decoded::bad(status_code::NO_ELEMENT));
    let one = said(vec![7_u8]);
    assert_eq!(plain(&one), Decoded::bad(status_code::ARRAY), "an array of one is an array");
    // Two rows of three: the last dimension runs fastest.
    let values: Vec<Variant> = (0..6_i32).map(Variant::from).collect();
    let matrix = Array::new_multi(VariantScalarTypeId::Int32, values, vec![2, 3]).unwrap();
    assert_eq!(pick(&said(Variant::from(matrix)), 4), good(Value::Int(4)));
    assert_eq!(pick(&said(ByteString::from(vec![5, 6])), 1), good(Value::Unsigned(6)));
    assert_eq!(pick(&said(5_i32), 0), Decoded::bad(status_code::NO_ELEMENT));
    assert_eq!(pick(&said("text"), 0), Decoded::bad(status_code::NO_ELEMENT));
    assert_eq!(pick(&said(Variant::Empty), 0), NOTHING);
}

#[test]
fn the_status_of_the_server_stands_in_the_reading() {
    let with =
        |variant: Variant, status: u32| DataValue { status: Some(StatusCode::from(status)), ..said(variant) };
    let sensor = StatusCode::BadSensorFailure.bits();
    assert_eq!(plain(&with(21.5.into(), sensor)), Decoded::bad(sensor), "a value that must not be used");
    let usable = StatusCode::UncertainLastUsableValue.bits();
    let decoded = plain(&with(21.5.into(), usable));
    assert_eq!(decoded, Decoded { value: Value::Float(21.5), quality: Quality::Uncertain, status: usable });
    // Severity 3 is reserved; a client takes it for bad.
    assert_eq!(plain(&with(21.5.into(), 0xC000_0000)), Decoded::bad(0xC000_0000));
    // Good, but values before it were lost in the server's queue: the bits of the overflow are kept.
    let overflow = 0x0000_0480;
    let decoded = plain(&with(21.5.into(), overflow));
    assert_eq!(decoded, Decoded { value: Value::Float(21.5), quality: Quality::Good, status: overflow });
    let decoded = plain(&with(f64::INFINITY.into(), usable));
    assert_eq!((decoded.quality, decoded.status), (Quality::Uncertain, usable));
    let decoded = plain(&with(f64::NAN.into(), usable));
    assert_eq!((decoded.value, decoded.quality), (Value::None, Quality::NotAvailable));
    let decoded = plain(&with(vec![1_i32].into(), usable));
    assert_eq!(decoded, Decoded::bad(status_code::ARRAY));
    assert!(status_code::words(sensor).contains("BadSensorFailure"), "{}", status_code::words(sensor));
}

#[test]
fn marks_for_not_available_are_exact() {
    let picker = Picker {
        index: None,
        not_available: vec![Mark::Integer(-32_768), Mark::Float(-999.9), Mark::Text("n/a".into())],
    };
    let decoded = |variant: Variant| decode(&said(variant), &picker);
    assert_eq!(decoded(i16::MIN.into()), NOTHING);
    assert_eq!(decoded((-32_768.0_f64).into()), NOTHING);
    assert_eq!(decoded((-999.9_f64).into()), NOTHING);
    assert_eq!(decoded("n/a".into()), NOTHING);
    assert_eq!(decoded(i16::MAX.into()), good(Value::Int(32_767)));
    assert_eq!(decoded("N/A".into()), good(Value::Text("N/A".into())));
}

#[test]
fn times_are_those_of_the_source_and_doubtful_ones_say_so() {
    let data = said(1.0);
    assert_eq!(take(&data, &Picker::default(), NOW_NS).source_time_ns, NOW_NS - 5_000_000_000);
    let fine = DataValue { source_picoseconds: Some(4_200), ..data.clone() };
    assert_eq!(take(&fine, &Picker::default(), NOW_NS).source_time_ns, NOW_NS - 5_000_000_000 + 42);
    let by_server = DataValue { source_timestamp: None, ..data.clone() };
    let taken = take(&by_server, &Picker::default(), NOW_NS + 1);
    assert_eq!((taken.source_time_ns, taken.decoded.quality), (NOW_NS, Quality::Good));
    let null = DataValue { source_timestamp: Some(DateTime::null()), server_timestamp: None, ..data.clone() };
    let taken = take(&null, &Picker::default(), NOW_NS + 1);
    assert_eq!((taken.source_time_ns, taken.decoded.status), (NOW_NS + 1, status_code::NO_TIME));
    assert_eq!(taken.decoded.quality, Quality::Uncertain);
    let ahead_ns = i64::try_from(AHEAD_MAX.as_nanos()).unwrap();
    for (time_ns, sane) in [
        (NOW_NS + ahead_ns, true),
        (NOW_NS + ahead_ns + 100, false),
        (EARLIEST_NS, true),
        (EARLIEST_NS - 100, false),
        (0, false),
    ] {
        let data = DataValue { source_timestamp: Some(at(time_ns)), ..data.clone() };
        let taken = take(&data, &Picker::default(), NOW_NS);
        assert_eq!(taken.source_time_ns, time_ns, "kept as it was");
        assert_eq!(taken.decoded.value, Value::Float(1.0));
        let expected = if sane { (Quality::Good, 0) } else { (Quality::Uncertain, status_code::ODD_TIME) };
        assert_eq!((taken.decoded.quality, taken.decoded.status), expected, "{time_ns}");
    }
    for time in [DateTime::from(i64::MIN), DateTime::from(i64::MAX), DateTime::from(i64::MAX - 1)] {
        assert_eq!(time_ns(&time), None, "{time}");
    }
}

/// Any variant, arrays and nested ones too.
fn generated(random: &mut SplitMix, depth: u32) -> Variant {
    let word = random.next();
    match word % 22 {
        0 => Variant::Empty,
        1 => Variant::from(word & 64 == 0),
        2 => Variant::from(random.next() as i8),
        3 => Variant::from(random.next() as u8),
        4 => Variant::from(random.next() as i16),
        5 => Variant::from(random.next() as u16),
        6 => Variant::from(random.next() as i32),
        7 => Variant::from(random.next() as u32),
        8 => Variant::from(random.next() as i64),
        9 => Variant::from(random.next()),
        10 => Variant::from(f32::from_bits(random.next() as u32)),
        11 => Variant::from(f64::from_bits(random.next())),
        12 => Variant::from("é".repeat((random.next() % 3_000) as usize)),
        13 => Variant::from(DateTime::from(random.next() as i64)),
        14 => Variant::from(StatusCode::from(random.next() as u32)),
        15 => Variant::from(ByteString::from(vec![7; (random.next() % 5_000) as usize])),
        16 => Variant::from(LocalizedText::new("", "x")),
        17 => Variant::from(ExtensionObject::from_message(Range { low: f64::NAN, high: 2.0 })),
        18 if depth < 8 => Variant::Variant(Box::new(generated(random, depth + 1))),
        19 if depth < 8 => Variant::DataValue(Box::new(DataValue::new_now(generated(random, depth + 1)))),
        20 => Variant::from(vec![random.next() as i32; (random.next() % 4) as usize]),
        _ => Variant::from(NodeId::new(random.next() as u16, random.next() as u32)),
    }
}

/// What must hold of every reading, whatever the server said.
fn check(data: &DataValue, picker: &Picker, case: &str) {
    let now_ns = NOW_NS;
    let taken = take(data, picker, now_ns);
    let Decoded { value, quality, status } = taken.decoded.clone();
    let server = data.status.map_or(0, |status| status.bits());
    let without = matches!(quality, Quality::Bad | Quality::NotAvailable);
    assert_eq!(value == Value::None, without, "{case}: {taken:?}");
    assert_ne!(quality, Quality::Stale, "{case}");
    if server >> 31 == 1 {
        assert_eq!((quality, status), (Quality::Bad, server), "{case}");
    }
    if quality == Quality::Good {
        assert_eq!((server >> 30, status), (0, server), "{case}");
    }
    let long = value.long_bytes().map(<[u8]>::to_vec);
    let reading = Reading {
        stream_index: 0,
        counter: 0,
        source_time_ns: taken.source_time_ns,
        receive_time_ns: now_ns,
        quality,
        flags: 0,
        status,
        value,
    };
    let read = Reading::from_block(&reading.to_block(), long.as_deref());
    assert_eq!(read.as_ref(), Ok(&reading), "{case}: a reading that can be signed and read again");
}

#[test]
fn every_generated_value_gives_a_reading_that_holds() {
    for seed in 0..cases() {
        let mut random = SplitMix(seed);
        let mut data = said(generated(&mut random, 0));
        if random.next().is_multiple_of(3) {
            data.status = Some(StatusCode::from(random.next() as u32));
        }
        if random.next().is_multiple_of(8) {
            data.source_timestamp = Some(DateTime::from(random.next() as i64));
            data.source_picoseconds = Some(random.next() as u16);
        }
        let index = random.next().is_multiple_of(4).then(|| (random.next() % 5) as u32);
        let picker = Picker { index, not_available: vec![Mark::Integer(0), Mark::Float(0.5)] };
        check(&data, &picker, &format!("seed {seed}"));
    }
}

#[test]
fn no_bytes_from_the_wire_make_it_fail() {
    let owned = ContextOwned::default();
    let context = owned.context();
    let mut decoded = 0;
    for seed in 0..cases() {
        let mut random = SplitMix(seed ^ 0x0C0D_E000);
        let bytes = if seed.is_multiple_of(2) {
            let mut bytes = said(generated(&mut random, 0)).encode_to_vec(&context);
            for _ in 0..=random.next() % 3 {
                let at = (random.next() % bytes.len() as u64) as usize;
                bytes[at] = random.next() as u8;
            }
            bytes
        } else {
            (0..random.next() % 64).map(|_| random.next() as u8).collect()
        };
        if let Ok(data) = DataValue::decode(&mut Cursor::new(&bytes), &context) {
            decoded += 1;
            check(&data, &Picker::default(), &format!("seed {seed}"));
        }
    }
    assert!(decoded > cases() / 10, "too few of them were values: {decoded}");
}

#[test]
fn names_of_nodes_are_read_and_written() {
    for name in [
        "i=2258",
        "ns=2;i=4294967295",
        "ns=3;s=Tank.Level;with=signs",
        "nsu=http://example.com/filler/;s=Tank.Level",
        "nsu=urn:a%3Bb%25;g=09087e75-8e5e-499b-954f-f2a9603db28a",
        "ns=65535;b=AAEC",
    ] {
        let parsed: NodeName = name.parse().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parsed.to_string(), name);
    }
    for (name, error) in [
        ("", NodeNameError::NoIdentifier),
        ("Tank.Level", NodeNameError::NoIdentifier),
        ("x=5", NodeNameError::NoIdentifier),
        ("ns=2", NodeNameError::NoSemicolon),
        ("ns=2;", NodeNameError::NoIdentifier),
        ("ns=two;i=1", NodeNameError::Index),
        ("ns=65536;i=1", NodeNameError::Index),
        ("ns=+1;i=1", NodeNameError::Index),
        ("nsu=;i=1", NodeNameError::Uri),
        ("nsu=urn:x%;i=1", NodeNameError::Uri),
        ("nsu=urn:x", NodeNameError::NoSemicolon),
        ("i=4294967296", NodeNameError::Numeric),
        ("i=", NodeNameError::Numeric),
        ("i=-1", NodeNameError::Numeric),
        ("s=", NodeNameError::Text),
        ("g=7", NodeNameError::Guid),
        ("b=***", NodeNameError::Bytes),
        ("svr=1;i=5", NodeNameError::Server),
    ] {
        assert_eq!(name.parse::<NodeName>(), Err(error), "{name}");
    }
}

#[test]
fn a_name_means_the_same_node_in_whatever_order_namespaces_come() {
    let name: NodeName = "nsu=urn:filler;s=Level".parse().unwrap();
    let namespaces = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let before = namespaces(&["http://opcfoundation.org/UA/", "urn:server", "urn:filler"]);
    let after = namespaces(&["http://opcfoundation.org/UA/", "urn:filler", "urn:server"]);
    assert_eq!(name.resolve(&before), Ok(NodeId::new(2, "Level")));
    assert_eq!(name.resolve(&after), Ok(NodeId::new(1, "Level")));
    let gone = namespaces(&["http://opcfoundation.org/UA/", "urn:server"]);
    assert_eq!(name.resolve(&gone), Err(NodeNameError::NoNamespace("urn:filler".into())));
    let fixed: NodeName = "ns=7;i=1".parse().unwrap();
    assert_eq!(fixed.resolve(&gone), Ok(NodeId::new(7, 1_u32)));
}

#[test]
fn no_text_makes_the_reader_of_names_fail() {
    const PARTS: [&str; 12] = ["ns=", "nsu=", "i=", "s=", "g=", "b=", ";", "%", "%3B", "7", "urn:é", "="];
    for seed in 0..cases() {
        let mut random = SplitMix(seed);
        let text: String =
            (0..random.next() % 8).map(|_| PARTS[(random.next() % PARTS.len() as u64) as usize]).collect();
        if let Ok(name) = text.parse::<NodeName>() {
            let again: NodeName = name.to_string().parse().unwrap_or_else(|e| panic!("{text:?} {name}: {e}"));
            assert_eq!(again, name, "seed {seed}: {text:?}");
        }
    }
}
