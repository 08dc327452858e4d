//! `[[device]]` tables: what is taken, and what the messages say of the rest.

use std::time::Duration;

use selvedge_core::codec::Canonical;
use selvedge_core::stream::Decimal;

use super::support::{cases, device, errors};
use crate::adapter::{Deadband, Source};
use crate::backoff::SplitMix;
use crate::config::{Scalar, duration, sources};
use crate::mapping::{EMPTY_TEXT, decode_registers};
use crate::modbus::plan::plan;
use crate::modbus::{Field, Modbus};

fn readme() -> &'static str {
    let text = include_str!("../../README.md");
    let (_, rest) = text.split_once("```toml\n").expect("an example");
    rest.split_once("```").expect("an end of the example").0
}

#[test]
fn the_example_of_the_readme_is_right() {
    let sources = sources(readme()).expect("the example");
    let source = &sources[0];
    assert_eq!((source.device(), source.address().as_str()), ("filler", "10.0.0.7:502 unit 1"));
    let shown: Vec<_> = source
        .streams()
        .iter()
        .map(|s| {
            (
                s.descriptor.address.as_str(),
                s.descriptor.source_type.as_str(),
                s.descriptor.unit.as_str(),
                s.urgent,
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("modbus-tcp 10.0.0.7:502 unit 1 holding 100", "f32 CDAB", "m", false),
            ("modbus-tcp 10.0.0.7:502 unit 1 input 7", "i16 AB", "Cel", false),
            ("modbus-tcp 10.0.0.7:502 unit 1 coil 3", "bool", "", true),
            ("modbus-tcp 10.0.0.7:502 unit 1 holding 110", "bit(4) AB", "", false),
            ("modbus-tcp 10.0.0.7:502 unit 1 holding 200", "string(16) AB", "", false),
        ]
    );
    let temperature = &source.streams()[1];
    assert_eq!(temperature.descriptor.scale, Decimal::new(1, -1).unwrap());
    assert_eq!(temperature.descriptor.offset, Decimal::new(-40, 0).unwrap());
    assert_eq!(temperature.report.deadband, Some(Deadband::Absolute(0.5)));
    assert!(source.streams().iter().all(|s| s.descriptor.check().is_ok()));
}

/// A device with these lines besides, and one stream with these besides.
fn toml(device: &str, stream: &str) -> String {
    let mut text = String::from("[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\n");
    if !device.contains("address =") {
        text += "address = \"h:502\"\n";
    }
    text += device;
    text += "\n[[device.stream]]\nname = \"s\"\n";
    if !stream.contains("register =") {
        text += "register = \"holding:0\"\n";
    }
    if !stream.contains("type =") && !stream.contains("coil:") {
        text += "type = \"i16\"\n";
    }
    text + stream
}

#[test]
fn a_mistake_is_named_with_device_stream_key_found_and_expected() {
    for (device, stream, key, found, expected) in [
        ("address = \"h\"", "", "address", "\"h\"", "host and port"),
        ("address = \"h:0\"", "", "address", "\"h:0\"", "host and port"),
        ("address = \"fd00::7:502\"", "", "address", "\"fd00::7:502\"", "[fd00::7]:502"),
        ("unit_id = 256", "", "unit_id", "256", "0 to 255"),
        ("max_registers = 126", "", "max_registers", "126", "1 to 125"),
        ("max_bits = 0", "", "max_bits", "0", "1 to 2000"),
        ("max_gap = -1", "", "max_gap", "-1", "0 to 2000"),
        ("poll_interval = \"1\"", "", "poll_interval", "\"1\"", "200ms"),
        ("poll_interval = \"1ms\"", "", "poll_interval", "\"1ms\"", "10ms to "),
        ("timeout = \"2min\"", "", "timeout", "\"2min\"", "10ms to 60s"),
        ("timeout = \"99999999999999999999s\"", "", "timeout", "\"9999", "200ms"),
        ("", "register = \"holdin:100\"", "register", "\"holdin:100\"", "holding:ADDRESS"),
        ("", "register = \"holding:65536\"", "register", "\"holding:65536\"", "0 to 65535"),
        ("", "register = \"holding:+1\"", "register", "\"holding:+1\"", "0 to 65535"),
        ("", "register = \"40101\"", "register", "\"40101\"", "holding:ADDRESS"),
        ("", "register = \"holding:65535\"\ntype = \"f32\"", "register", "65535", "2 registers of f32"),
        ("", "type = \"float\"", "type", "\"float\"", "f32, f64"),
        ("", "type = \"bit(16)\"", "type", "\"bit(16)\"", "bit(15)"),
        ("", "type = \"string(251)\"", "type", "\"string(251)\"", "string(250)"),
        ("max_registers = 4", "type = \"string(9)\"", "type", "5 registers", "at most 4"),
        ("", "register = \"coil:1\"\ntype = \"u16\"", "type", "\"u16\"", "\"bool\""),
        ("", "order = \"ABCD\"", "order", "\"ABCD\"", "AB, BA"),
        ("", "register = \"coil:1\"\norder = \"AB\"", "order", "\"AB\"", "no order"),
        ("", "scale = 0", "scale", "0", "other than 0"),
        ("", "scale = \"1/10\"", "scale", "1/10", "0.1"),
        ("", "scale = nan", "scale", "NaN", "decimal"),
        ("", "scale = 1e300", "scale", "1e300", "decimal"),
        ("", "offset = \"\"", "offset", "\"\"", "decimal"),
        ("", "unit = \"°C\"", "unit", "\"°C\"", "Cel"),
        ("", "deadband = -1", "deadband", "-1", "0 or more"),
        ("", "not_available = [70000]", "not_available", "70000", "-32768 to 32767"),
        ("", "not_available = [\"0x12345\"]", "not_available", "0x12345", "4 hexadecimal"),
        ("", "not_available = [1.5]", "not_available", "1.5", "-32768 to 32767"),
        ("", "type = \"bit(1)\"\nnot_available = [1]", "not_available", "1", "no such key"),
        ("", "type = \"string(4)\"\nnot_available = [\"none\"]", "not_available", "none", "only \"\""),
    ] {
        let text = toml(device, stream);
        let errors = errors(&text);
        assert_eq!(errors.len(), 1, "{text}: {errors:?}");
        let error = &errors[0];
        let shown = error.to_string();
        assert_eq!(error.key, key, "{shown}");
        let line = text.lines().position(|line| line.starts_with(&format!("{key} ="))).map(|at| at + 1);
        assert!(line.is_none() || error.line >= line, "{shown}: {:?} in\n{text}", error.line);
        let name =
            if stream.is_empty() { "device \"plc\", key" } else { "device \"plc\", stream \"s\", key" };
        assert!(shown.starts_with(name), "{shown}");
        assert!(error.found.contains(found), "{shown}: should show {found}");
        assert!(error.expected.contains(expected), "{shown}: should expect {expected}");
    }
}

#[test]
fn unknown_missing_and_ill_typed_keys_are_named_with_their_line() {
    let error = |text: &str| errors(text).remove(0);
    let unknown = error(&toml("pol_interval = \"1s\"", ""));
    assert_eq!((unknown.line, unknown.key.as_str()), (Some(5), "pol_interval"));
    let shown = unknown.to_string();
    assert!(shown.contains("an unknown key, expected `poll_interval` (did you mean that?)"), "{shown}");
    let unknown = error(&toml("", "regster = \"holding:1\"\nregister = \"holding:1\""));
    assert!(unknown.to_string().contains("`register` (did you mean that?)"), "{unknown}");
    let qos = error(&toml("qos = 1", ""));
    assert!(qos.to_string().contains("unknown key") && !qos.to_string().contains("did you"), "{qos}");
    let missing = error("[[device]]\nname = \"plc\"\n");
    assert_eq!(
        (missing.line, missing.key.as_str(), missing.found.as_str()),
        (Some(1), "protocol", "nothing")
    );
    let near = error("[[device]]\nname = \"plc\"\nprotocol = \"modbus-tpc\"\n");
    assert!(near.to_string().contains("`modbus-tcp` (did you mean that?)"), "{near}");
    let wrong_type = error(&toml("", "scale = true"));
    assert_eq!(wrong_type.line, Some(10));
    assert!(wrong_type.to_string().contains("found true, expected a number"), "{wrong_type}");
    let no_toml = error("[[device]\nname = 1\n");
    assert_eq!((no_toml.line, no_toml.expected.as_str()), (Some(1), "TOML"), "{no_toml}");
    let no_list = error("device = 3\n");
    assert!(no_list.to_string().contains("[[device]]"), "{no_list}");
    assert!(sources("[batch]\nreadings = 1\n").expect("no device is fine").is_empty());
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = toml("unit_id = 999\ntimeout = \"x\"", "type = \"float\"\nunit = \"a b\"");
    let keys: Vec<_> = errors(&text).into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["unit_id", "timeout", "type", "unit"]);
    let other = errors("[[device]]\nname = \"plc\"\nprotocol = \"profinet\"\naddress = \"h:1\"\n");
    assert!(other[0].to_string().contains("found \"profinet\", expected one of modbus-tcp"), "{other:?}");
    let none = errors("[[device]]\nname = \"plc\"\nprotocol = \"modbus-tcp\"\naddress = \"h:1\"\n");
    assert!(none[0].to_string().contains("at least one [[device.stream]]"), "{none:?}");
    let nameless = errors(&toml("", "").replace("\"plc\"", "\"\""));
    assert_eq!(nameless[0].key, "name");
}

#[test]
fn clashes_are_found_before_the_start() {
    let first = toml("", "");
    let second = |name: &str, address: &str, stream: &str| {
        toml(&format!("address = \"{address}\""), "")
            .replace("\"plc\"", &format!("\"{name}\""))
            .replace("\"s\"", &format!("\"{stream}\""))
    };
    assert!(sources(&format!("{first}\n{}", second("b", "h:503", "t"))).is_ok());
    let clash = |other: String| errors(&format!("{first}\n{other}")).remove(0);

    let name = clash(second("plc", "h:503", "t"));
    assert_eq!((name.device, name.key.as_str(), name.line), (1, "name", Some(12)));
    assert!(name.to_string().contains("also the name of device \"plc\" (line 2)"), "{name}");
    let stream = clash(second("b", "h:503", "s"));
    assert_eq!((stream.device, stream.key.as_str(), stream.line), (1, "name", Some(16)));
    assert!(stream.to_string().contains("device \"plc\", stream \"s\" (line 7)"), "{stream}");
    let unit = clash(second("b", "H:502", "t"));
    assert_eq!((unit.device, unit.key.as_str(), unit.line), (1, "unit_id", Some(11)));
    assert!(unit.to_string().contains("modbus-tcp h:502 unit 1, which device \"plc\" uses too"), "{unit}");
}

#[test]
fn decimals_are_exactly_what_is_written() {
    let scale = |text: &str| {
        let sources = sources(&toml("", &format!("scale = {text}"))).unwrap();
        sources[0].streams()[0].descriptor.scale
    };
    for (written, mantissa, exponent) in [
        ("0.1", 1, -1),
        ("0.30000000000000004", 30_000_000_000_000_004, -17),
        ("1e-30", 1, -30),
        ("2.5e-3", 25, -4),
        ("1_000", 1, 3),
        ("-40.0", -4, 1),
        ("\"0.123456789012345678\"", 123_456_789_012_345_678, -18),
        ("123456.789", 123_456_789, -3),
    ] {
        assert_eq!(scale(written), Decimal::new(mantissa, exponent).unwrap(), "{written}");
    }
}

#[test]
fn durations_are_a_number_and_a_unit() {
    for (text, expected) in [("200ms", 200), ("1s", 1_000), ("5min", 300_000), ("1 h", 3_600_000)] {
        assert_eq!(duration(text), Ok(Duration::from_millis(expected)));
    }
    for text in ["", "s", "1", "-1s", "1.5s", "1d", "1sec", "١s", "99999999999999999h"] {
        assert!(duration(text).is_err(), "{text}");
    }
}

#[test]
fn marks_for_not_available_become_bit_patterns() {
    let marks = |kind: &str, marks: &str| {
        let text = toml("", &format!("type = \"{kind}\"\nnot_available = [{marks}]"));
        device::<Modbus>(&text).fields[0].encoding.not_available.clone()
    };
    assert_eq!(marks("i16", "-32768, \"0x8000\", 32767, \"-1\""), [0x8000, 0x8000, 0x7FFF, 0xFFFF]);
    assert_eq!(marks("u64", "\"18446744073709551615\", \"0xffffffffffffffff\""), [u64::MAX, u64::MAX]);
    assert_eq!(marks("i64", "-9223372036854775808"), [1 << 63]);
    assert_eq!(marks("i8", "-1"), [0xFF]);
    assert_eq!(marks("f32", "-9999.9, 0, \"0x7fc00000\""), [(-9999.9_f32).to_bits().into(), 0, 0x7FC0_0000]);
    assert_eq!(marks("f64", "-9999.9"), [(-9999.9_f64).to_bits()]);
    assert_eq!(marks("string(8)", "\"\""), [EMPTY_TEXT]);
}

/// Broken files: no panic, an error or a right configuration.
#[test]
fn altered_files_are_refused_or_right() {
    const SEED: u64 = 21;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let example = readme().as_bytes();
    let (mut parsed, mut taken) = (0_u32, 0_u32);
    for _ in 0..cases() {
        let mut text = example.to_vec();
        for _ in 0..=random.next() % 4 {
            if text.is_empty() {
                break;
            }
            let at = random.next() as usize % text.len();
            let other = random.next() as usize % text.len();
            match random.next() % 5 {
                0 => text[at] = random.next() as u8,
                1 => text[at] = text[other],
                2 => drop(text.drain(at..(at + 1 + other % 12).min(text.len()))),
                3 => text.truncate(at.max(1)),
                _ => {
                    let piece = text[other..(other + 40).min(text.len())].to_vec();
                    drop(text.splice(at..at, piece));
                }
            }
        }
        let Ok(text) = String::from_utf8(text) else { continue };
        if toml::de::DeTable::parse(&text).is_err() {
            continue;
        }
        parsed += 1;
        taken += u32::from(sources(&text).is_ok_and(|sources| sources.iter().all(|s| right(&**s))));
    }
    assert!(taken > 0 && taken < parsed, "{taken} of {parsed} that parsed were taken");
}

fn right(source: &dyn Source) -> bool {
    source.streams().iter().all(|s| s.descriptor.check().is_ok() && !matches!(s.report.deadband, Some(Deadband::Absolute(band) | Deadband::Percent(band)) if band < 0.0))
}

/// Odd values in files that parse: no panic, and what is taken can be planned, built and decoded.
#[test]
fn odd_values_are_refused_or_can_be_read() {
    const SEED: u64 = 22;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let mut taken = 0;
    let cases = cases();
    for case in 0..cases {
        let config = odd_device(&mut random);
        let Ok(sources) = sources(&config) else { continue };
        taken += 1;
        assert!(right(&*sources[0]), "case {case}: {config}");
        drop(sources[0].build());
        let modbus: Modbus = device(&config);
        let spans: Vec<_> = modbus.fields.iter().map(Field::span).collect();
        for request in plan(&spans, modbus.caps) {
            for index in request.fields {
                let registers: Vec<u16> = (0..spans[index].count).map(|_| random.next() as u16).collect();
                let decoded = decode_registers(&modbus.fields[index].encoding, &registers);
                assert_ne!(decoded.status, crate::status_code::PROTOCOL, "case {case}: {config}");
            }
        }
    }
    assert!(taken > cases / 100, "{taken} of {cases} were taken");
}

fn pick(random: &mut SplitMix, from: &[&str]) -> String {
    // Now and then something that no list holds.
    if random.next().is_multiple_of(30) {
        return (0..random.next() % 6)
            .map(|_| char::from_u32(random.next() as u32 % 0x300).unwrap_or('x'))
            .collect();
    }
    from[random.next() as usize % from.len()].to_owned()
}

fn odd_integer(random: &mut SplitMix) -> Option<i64> {
    match random.next() % 40 {
        0 => Some(random.next() as i64),
        1 => Some([i64::MIN, i64::MAX, -1, 0][random.next() as usize % 4]),
        2..=8 => Some((random.next() % 130) as i64),
        _ => None,
    }
}

fn odd_scalar(random: &mut SplitMix) -> Scalar {
    match random.next() % 6 {
        0 => Scalar::Integer(random.next() as i64),
        1 => Scalar::Float(f64::from_bits(random.next())),
        2 => Scalar::Text(pick(
            random,
            &["0x8000", "0x", "0xfffffffffffffffff", "1e-31", "-0", "9e18", "..", "1e99999999999"],
        )),
        _ => Scalar::Integer((random.next() % 200) as i64 - 100),
    }
}

fn odd_device(random: &mut SplitMix) -> String {
    let addresses = [
        "h:1",
        "h:1",
        "h:1",
        "h:1",
        "[::1]:65535",
        "[::1]:65535",
        ":1",
        "h:",
        "[:1",
        "h:99999",
        "10.0.0.7:502",
    ];
    let kinds = [
        "bool",
        "bit(0)",
        "bit(15)",
        "i8",
        "u8",
        "i16",
        "u16",
        "i32",
        "u64",
        "f32",
        "f64",
        "string(1)",
        "string(250)",
        "bit(",
        "string()",
    ];
    let registers =
        ["holding:0", "input:65535", "coil:65535", "discrete:7", "holding:65411", "coil", ":", "holding:"];
    let orders = ["A", "B", "AB", "BA", "ABCD", "CDAB", "BADC", "DCBA", "HGFEDCBA", "AA"];
    let mut text = String::from("[[device]]\nprotocol = \"modbus-tcp\"\n");
    key(&mut text, "name", Some(format!("{:?}", pick(random, &["plc"]))));
    key(&mut text, "address", Some(format!("{:?}", pick(random, &addresses))));
    for name in ["unit_id", "max_registers", "max_bits", "max_gap"] {
        key(&mut text, name, odd_integer(random));
    }
    let maybe_of = |random: &mut SplitMix, one_in: u64, from: &[&str]| {
        random.next().is_multiple_of(one_in).then(|| format!("{:?}", pick(random, from)))
    };
    key(
        &mut text,
        "poll_interval",
        maybe_of(random, 4, &["1s", "10ms", "24h", "25h", "0s", "18446744073709551615h"]),
    );
    key(&mut text, "timeout", maybe_of(random, 4, &["1s", "10ms", "61s"]));
    for at in 0..=random.next() % 3 {
        key(&mut text, "[[device.stream]]\nname", Some(format!("\"s{at}\"")));
        key(&mut text, "register", Some(format!("{:?}", pick(random, &registers))));
        let kind = (!random.next().is_multiple_of(3)).then(|| format!("{:?}", pick(random, &kinds)));
        key(&mut text, "type", kind);
        key(&mut text, "order", maybe_of(random, 3, &orders));
        for name in ["scale", "offset"] {
            key(&mut text, name, random.next().is_multiple_of(4).then(|| odd_scalar(random)));
        }
        key(&mut text, "unit", maybe_of(random, 4, &["Cel", "%", "m3/h"]));
        let marks: Vec<String> = (0..random.next() % 5 / 3).map(|_| odd_scalar(random).to_string()).collect();
        key(&mut text, "not_available", Some(format!("[{}]", marks.join(", "))));
        key(&mut text, "urgent", Some(random.next().is_multiple_of(2)));
        for name in ["deadband", "deadband_percent"] {
            key(&mut text, name, random.next().is_multiple_of(6).then(|| odd_scalar(random)));
        }
    }
    text
}

fn key(text: &mut String, name: &str, value: Option<impl std::fmt::Display>) {
    if let Some(value) = value {
        text.extend([name, " = ", &value.to_string(), "\n"]);
    }
}
