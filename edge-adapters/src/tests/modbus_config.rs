//! The keys of Modbus devices beyond those of Modbus TCP, and lines that several devices share.

use std::time::Duration;

use selvedge_core::reading::Value;

use super::support::{device, errors};
use crate::adapter::Words;
use crate::config::sources;
use crate::modbus::Modbus;
use crate::modbus::plan::Framing;

fn serial(name: &str, device: &str, stream: &str) -> String {
    format!(
        "[[device]]\nname = \"{name}\"\nprotocol = \"modbus-rtu\"\naddress = \"/dev/ttyS7\"\n{device}\n\
         [[device.stream]]\nname = \"{name}/s\"\nregister = \"holding:0\"\ntype = \"u16\"\n{stream}\n"
    )
}

#[test]
fn a_serial_line_is_what_the_specification_requires_unless_something_else_is_written() {
    let usual: Modbus = device(&serial("a", "", ""));
    assert_eq!(usual.transport.place(1), "/dev/ttyS7 19200 8E1 unit 1");
    assert_eq!(usual.caps.framing, Framing::Rtu);
    let other: Modbus =
        device(&serial("a", "baud = 9600\nparity = \"none\"\nstop_bits = 2\nunit_id = 247", ""));
    assert_eq!(other.transport.place(other.unit_id), "/dev/ttyS7 9600 8N2 unit 247");
    for (line, key) in [
        ("baud = 10", "baud"),
        ("parity = \"mark\"", "parity"),
        ("stop_bits = 3", "stop_bits"),
        ("data_bits = 7", "data_bits"),
        ("unit_id = 0", "unit_id"),
        ("unit_id = 248", "unit_id"),
    ] {
        assert_eq!(errors(&serial("a", line, ""))[0].key, key, "{line}");
    }
    let relative = errors(&serial("a", "", "").replace("/dev/ttyS7", "ttyS7"));
    assert!(relative[0].to_string().contains("the device file of the serial port"), "{}", relative[0]);
    // Keys of one transport are no keys of another.
    let tcp = serial("a", "baud = 9600", "").replace("modbus-rtu", "modbus-tcp").replace("/dev/ttyS7", "h:1");
    assert!(errors(&tcp)[0].to_string().contains("key `baud`: found an unknown key"), "{:?}", errors(&tcp));
}

#[test]
fn two_units_share_a_serial_line_if_they_agree_how_it_speaks() {
    let two = |first: &str, second: &str| format!("{}{}", serial("a", first, ""), serial("b", second, ""));
    assert_eq!(sources(&two("unit_id = 1", "unit_id = 2")).expect("two units of one line").len(), 2);
    assert!(sources(&two("unit_id = 1\nbaud = 9600", "unit_id = 2\nbaud = 9600")).is_ok());
    let unlike = errors(&two("unit_id = 1\nbaud = 9600", "unit_id = 2"));
    assert_eq!((unlike[0].device, unlike[0].key.as_str()), (1, "address"));
    let text = unlike[0].to_string();
    assert!(
        text.contains("serial line /dev/ttyS7 with 19200 8E1, which device \"a\" uses with 9600 8E1"),
        "{text}"
    );
    let same = errors(&two("unit_id = 2", "unit_id = 2"));
    assert_eq!((same.len(), same[0].key.as_str()), (1, "unit_id"));
    assert!(same[0].to_string().contains("serial line /dev/ttyS7 unit 2, which device \"a\" uses too"));
}

/// Story: one table names /dev/ttyUSB0, another the link to it in /dev/serial/by-id. Two programs' worth of questions on one
/// line, each of which takes the other's answers for its own.
#[test]
fn a_serial_line_has_one_name_however_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("tty"), "").expect("a file");
    std::os::unix::fs::symlink(at("tty"), at("by-id")).expect("a link");
    let one = |name: &str, path: &str, keys: &str| serial(name, keys, "").replace("/dev/ttyS7", path);
    let folder_name = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
    for other in [
        at("by-id"),
        at("./tty"),
        at(&format!("../{folder_name}/tty")),
        format!("{}//tty", folder.path().display()),
    ] {
        let two = |keys: &str| one("a", &at("tty"), "unit_id = 1") + &one("b", &other, keys);
        assert!(sources(&two("unit_id = 2")).is_ok(), "{other}");
        let same = errors(&two("unit_id = 1"));
        assert_eq!((same.len(), same[0].key.as_str()), (1, "unit_id"), "{other}: {same:?}");
        let unlike = errors(&two("unit_id = 2\nbaud = 9600"));
        assert_eq!((unlike.len(), unlike[0].key.as_str()), (1, "address"), "{other}: {unlike:?}");
    }
}

#[test]
fn tls_names_the_file_that_is_missing() {
    let text = |tls: &str| {
        serial("a", tls, "").replace("modbus-rtu", "modbus-tls").replace("/dev/ttyS7", "plc.plant:802")
    };
    assert_eq!(errors(&text(""))[0].key, "tls");
    assert_eq!(errors(&text("[device.tls]\nserver_name = \"x\""))[0].key, "tls.ca_file");
    let missing = errors(&text("[device.tls]\nca_file = \"/nowhere/ca.pem\""));
    assert_eq!(missing[0].key, "tls.ca_file");
    assert!(missing[0].found.contains("/nowhere/ca.pem"), "{}", missing[0]);
    let half = errors(&text("[device.tls]\nca_file = \"/nowhere/ca.pem\"\nkey_file = \"/nowhere/key.pem\""));
    assert!(half.iter().any(|error| error.key == "tls.certificate_file"), "{half:?}");
}

/// Story: the key is a credential of systemd, and a person arms a device by hand. The commands read the configuration, and
/// must not stop at what only the service is given.
#[test]
fn a_key_that_only_the_service_may_read_is_no_mistake() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["gateway.plant".to_owned()]).expect("parameters");
    let pem = folder.path().join("one.pem");
    std::fs::write(&pem, certificate.self_signed(&key).expect("a certificate").pem()).expect("written");
    let text = |key: &str| {
        let pem = pem.display();
        let tls =
            format!("[device.tls]\nca_file = \"{pem}\"\ncertificate_file = \"{pem}\"\nkey_file = \"{key}\"");
        serial("a", &tls, "").replace("modbus-rtu", "modbus-tls").replace("/dev/ttyS7", "plc.plant:802")
    };
    assert_eq!(sources(&text("credential:gateway-key")).map(|sources| sources.len()), Ok(1));
    // Nor is a file that whoever runs the command cannot see.
    assert_eq!(sources(&text("/nowhere/only-the-service.key")).map(|sources| sources.len()), Ok(1));
    let wrong = errors(&text("credential:../key"));
    assert!(wrong.iter().any(|error| error.key == "tls.key_file"), "{wrong:?}");
}

#[test]
fn a_stream_may_have_an_interval_named_bits_and_words() {
    let text = serial(
        "a",
        "poll_interval = \"2s\"\none_request_per_stream = true",
        "poll_interval = \"10s\"\nunit = \"1\"\nbits = { running = 0, fault = 12 }\n\
         values = { \"0\" = \"off\", \"0x1001\" = \"tripped\" }",
    );
    let modbus: Modbus = device(&text);
    assert!(modbus.caps.each_alone);
    let names: Vec<&str> = modbus.streams.iter().map(|spec| spec.descriptor.name.as_str()).collect();
    assert_eq!(names, ["a/s", "a/s/running", "a/s/fault"]);
    assert!(modbus.fields.iter().all(|field| field.poll_interval == Duration::from_secs(10)));
    assert_eq!(modbus.fields[2].encoding.bit, Some(12));
    let types: Vec<&str> = modbus.streams.iter().map(|spec| spec.descriptor.source_type.as_str()).collect();
    assert_eq!(types, ["u16 AB {0=off, 4097=tripped}", "u16 AB bit 0", "u16 AB bit 12"]);
    assert_eq!(modbus.streams[0].word(&Value::Unsigned(0x1001)).as_deref(), Some("tripped"));
    assert_eq!(modbus.streams[0].word(&Value::Unsigned(7)), None);
    assert_eq!(modbus.streams[1].descriptor.unit, "", "the unit is the number's");

    for (stream, key) in [
        ("bits = { running = 16 }", "bits"),
        ("bits = { running = \"0\" }", "bits"),
        ("values = { on = \"running\" }", "values"),
        ("values = { \"1\" = 5 }", "values"),
        ("poll_interval = \"1ms\"", "poll_interval"),
        ("[device.stream.write]\nmin = 0\nmax = 1\nfunction = \"both\"", "write.function"),
    ] {
        assert_eq!(errors(&serial("a", "", stream))[0].key, key, "{stream}");
    }
    let signed = serial("a", "", "bits = { running = 1 }").replace("\"u16\"", "\"i16\"");
    assert_eq!(errors(&signed)[0].key, "bits");
    for unwritable in ["\"u8\"", "\"bit(3)\""] {
        let text = serial("a", "", "[device.stream.write]\nmin = 0\nmax = 1").replace("\"u16\"", unwritable);
        assert_eq!(errors(&text)[0].key, "write", "{unwritable}");
    }
    // Words for which the descriptor has no room stay with the gateway, rather than half of them travelling.
    let many: Vec<String> = (0..60).map(|value| format!("\"{value}\" = \"state number {value}\"")).collect();
    let modbus: Modbus = device(&serial("a", "", &format!("values = {{ {} }}", many.join(", "))));
    assert_eq!(modbus.streams[0].descriptor.source_type, "u16 AB");
    assert_eq!(modbus.streams[0].word(&Value::Unsigned(59)).as_deref(), Some("state number 59"));
    // What travels is read back as what was written, or does not travel.
    let told = |values: &str| {
        let modbus: Modbus = device(&serial("a", "", &format!("values = {values}")));
        let told = modbus.streams[0].descriptor.source_type.clone();
        (Words::of_type(&told), modbus.streams[0].words.clone().expect("words"))
    };
    let (read, written) =
        told("{ \"0\" = \"cold, wet\", \"1\" = \"a = {b}\", \"2\" = \"warm, not ready}\" }");
    assert_eq!(read, written);
    let (read, _) = told("{ \"0\" = \"off, 1=on\", \"2\" = \"auto\" }");
    assert!(read.is_empty(), "nobody could tell this from two words: {read}");
    for other in ["u16 AB", "", "}", " {}", "json {name}", "{1=on}", "u16 {=on}", "u16 AB {0=off"] {
        assert!(Words::of_type(other).is_empty(), "{other}");
    }
}

/// A coil with `one_of = [0, 1]` passed `check`, and could never be written: 1 was refused as "Int(1) does not fit into bool",
/// and `true` as not allowed. Bounds that a stream could never hold are found before the start, with what to write instead.
#[test]
fn bounds_that_the_stream_could_never_hold_are_found_before_the_start() {
    let finding = |register: &str, more: &str, bounds: &str| {
        let text = serial("a", "", &format!("{more}\n[device.stream.write]\n{bounds}"))
            .replace("register = \"holding:0\"\ntype = \"u16\"", register);
        match sources(&text) {
            Ok(_) => String::new(),
            Err(errors) => format!("{}: {}", errors[0].key, errors[0]),
        }
    };
    let coil = "register = \"coil:3\"";
    for wrong in ["one_of = [0, 1]", "one_of = [\"true\"]", "min = 0\nmax = 1"] {
        let found = finding(coil, "", wrong);
        assert!(found.contains("one_of = [true, false]"), "{wrong}: {found}");
        assert_eq!(found.matches("expected").count(), 1, "{wrong}: {found}");
    }
    assert_eq!(finding(coil, "", "one_of = [true]"), "");
    assert!(finding(coil, "scale = 100", "one_of = [true]").starts_with("scale: "));
    let of = |kind: &str| format!("register = \"holding:0\"\ntype = \"{kind}\"");
    for (kind, more, bounds, key, expected) in [
        ("u16", "", "min = -1\nmax = 10", "write.min", "whole numbers from 0 to 65535"),
        ("u16", "", "min = 0\nmax = 65536", "write.max", "whole numbers from 0 to 65535"),
        ("i16", "scale = 0.1", "min = -3276.8\nmax = 4000", "write.max", "-3276.8 to 3276.7 in steps of 0.1"),
        ("i16", "scale = -0.1\noffset = 5", "min = -4000\nmax = 0", "write.min", "3281.8 to -3271.7"),
        ("u16", "scale = 0.1", "one_of = [1.5, 12.34]", "write.one_of", "in steps of 0.1"),
        ("u16", "", "one_of = [1, true]", "write.one_of", "whole numbers"),
        ("u16", "", "one_of = [\"auto\"]", "write.one_of", "whole numbers"),
        ("u64", "", "one_of = [-1]", "write.one_of", "whole numbers from 0 to 18446744073709551615"),
        ("f32", "", "min = 0\nmax = \"12345678912e30\"", "write.max", "numbers up to 3.4"),
        ("string(4)", "", "one_of = [\"brandy\"]", "write.one_of", "at most 4 bytes"),
        ("string(4)", "", "min = 0\nmax = 1", "write.min", "one_of with texts"),
        ("bool", "", "one_of = [1]", "write.one_of", "one_of = [true, false]"),
    ] {
        let found = finding(&of(kind), more, bounds);
        assert!(found.starts_with(key) && found.contains(expected), "{kind} {more} {bounds}: {found}");
    }
    for (kind, more, bounds) in [
        ("u16", "", "min = 0\nmax = 65535"),
        ("u16", "scale = 0.1", "min = 0.05\nmax = 6553.5"),
        ("i16", "scale = -0.1\noffset = 5", "min = -3271.7\nmax = 3281.8"),
        ("i64", "", "min = -9e18\nmax = 9e18"),
        ("f32", "", "one_of = [0.1, 7]"),
        ("f64", "scale = 0.1", "min = -1e6\nmax = 1e6"),
        ("string(4)", "", "one_of = [\"ale\"]"),
        ("bool", "", "one_of = [true, false]"),
    ] {
        assert_eq!(finding(&of(kind), more, bounds), "", "{kind} {more} {bounds}");
    }
}

#[test]
fn the_example_of_a_serial_line_in_the_readme_is_right() {
    let readme = include_str!("../../README.md");
    let block =
        readme.split("```toml\n").find(|text| text.contains("protocol = \"modbus-rtu\"")).expect("one");
    let modbus: Modbus = device(block.split_once("```").expect("an end").0);
    let names: Vec<&str> = modbus.streams.iter().map(|spec| spec.descriptor.name.as_str()).collect();
    assert_eq!(
        names,
        ["meter/energy", "meter/status", "meter/status/running", "meter/status/fault", "meter/mode"]
    );
    assert!(modbus.streams[4].write.is_some());
}
