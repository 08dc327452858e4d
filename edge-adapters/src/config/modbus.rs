//! Devices of the Modbus protocols: `modbus-tcp`, `modbus-rtu`, `modbus-rtu-over-tcp`, `modbus-tls`.

use std::ops::RangeInclusive;
use std::time::Duration;

use selvedge_core::limits::TEXT_FIELD_BYTES_MAX;
use selvedge_core::stream::Decimal;

use super::keys::{Keys, quoted};
use super::stream::Common;
use super::{Scalar, bounds, registers};
use crate::adapter::{Head, Report, StreamSpec, Words};
use crate::mapping::{Encoding, Kind, Order};
use crate::modbus::encode::{is_writable, takes};
use crate::modbus::plan::{Caps, Framing};
#[cfg(feature = "modbus-serial")]
use crate::modbus::timing::{BAUD, Characters, Parity};
use crate::modbus::transport::Transport;
use crate::modbus::{BITS_MAX, Field, Modbus, REGISTERS_MAX, Table};

const POLL_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);
/// Units on a serial line; 0 speaks to all of them and is answered by none (Modbus over Serial Line V1.02, 2.2).
const SERIAL_UNITS: RangeInclusive<i64> = 1..=247;

/// What the streams of a device have in common.
struct Unit<'a> {
    head: &'a Head,
    /// Protocol, address and unit, as descriptors name them.
    place: String,
    poll_interval: Duration,
    caps: Caps,
}

/// Reads the keys of one device.
pub(super) fn device(keys: &mut Keys<'_>, head: Head) -> Option<Modbus> {
    let second = Duration::from_secs(1);
    let transport = transport(keys, head.protocol);
    let framing = transport.as_ref().map_or(Framing::Tcp, Transport::framing);
    let units = if framing == Framing::Rtu { SERIAL_UNITS } else { 0..=255 };
    let unit_id = keys.integer("unit_id", 1, units) as u8;
    let poll_interval = keys.duration("poll_interval", second, &POLL_INTERVALS);
    let timeout = keys.duration("timeout", second, &TIMEOUTS);
    let most = i64::from(REGISTERS_MAX);
    let caps = Caps {
        registers: keys.integer("max_registers", most, 1..=most) as u16,
        bits: keys.integer("max_bits", BITS_MAX.into(), 1..=BITS_MAX.into()) as u16,
        gap: keys.integer("max_gap", 0, 0..=BITS_MAX.into()) as u16,
        each_alone: keys.flag("one_request_per_stream", false),
        framing,
    };
    let address = transport.as_ref().map_or("", Transport::address);
    let place = format!("{} {address} unit {unit_id}", head.protocol);
    let unit = Unit { head: &head, place, poll_interval, caps };
    let (mut fields, mut streams) = (Vec::new(), Vec::new());
    for mut entry in keys.streams() {
        for (field, spec) in unit.streams(&mut entry) {
            fields.push(field);
            streams.push(spec);
        }
        entry.finish();
    }
    Some(Modbus { transport: transport?, unit_id, timeout, caps, fields, streams, head })
}

fn transport(keys: &mut Keys<'_>, protocol: &str) -> Option<Transport> {
    match protocol {
        #[cfg(feature = "modbus-serial")]
        "modbus-rtu" => Some(serial(keys)),
        #[cfg(feature = "modbus-tls")]
        "modbus-tls" => tls(keys),
        "modbus-rtu-over-tcp" => Some(Transport::RtuOverTcp { address: address(keys) }),
        _ => Some(Transport::Tcp { address: address(keys) }),
    }
}

fn address(keys: &mut Keys<'_>) -> String {
    let (host, port) = keys.host_and_port();
    format!("{host}:{port}")
}

#[cfg(feature = "modbus-serial")]
fn serial(keys: &mut Keys<'_>) -> Transport {
    let expected = "the device file of the serial port, such as \"/dev/ttyUSB0\" or one in /dev/serial/by-id, of at most \
                    128 bytes";
    let path = keys.required("address", expected);
    if !path.is_empty() && (!path.starts_with('/') || path.len() > 128) {
        keys.wrong("address", quoted(&path), expected);
    }
    let usual = Characters::default();
    let parities = [("even", Parity::Even), ("odd", Parity::Odd), ("none", Parity::None)];
    let characters = Characters {
        baud: keys.integer("baud", usual.baud.into(), (*BAUD.start()).into()..=(*BAUD.end()).into()) as u32,
        // RTU sends whole bytes. The key is there because manuals name it.
        data_bits: keys.integer("data_bits", usual.data_bits.into(), 8..=8) as u8,
        parity: keys.choice("parity", usual.parity, &parities),
        stop_bits: keys.integer("stop_bits", usual.stop_bits.into(), 1..=2) as u8,
    };
    Transport::Serial { path, characters }
}

#[cfg(feature = "modbus-tls")]
fn tls(keys: &mut Keys<'_>) -> Option<Transport> {
    let address = address(keys);
    let Some(table) = keys.table("tls") else {
        keys.wrong("tls", "nothing", "a table [device.tls] with at least `ca_file`");
        return None;
    };
    let tls = super::tls::read_whole(table).into();
    Some(Transport::Tls { address, tls })
}

impl Unit<'_> {
    /// The streams of one entry: the value itself, then its named bits.
    fn streams(&self, keys: &mut Keys<'_>) -> Vec<(Field, StreamSpec)> {
        let mut write_as_many = false;
        let common = Common::read(keys, |write| {
            let functions = [("single", false), ("multiple", true)];
            write_as_many = write.choice("function", false, &functions);
        });
        let poll_interval = keys.duration("poll_interval", self.poll_interval, &POLL_INTERVALS);
        let (bits, words) = (keys.scalars_by_name("bits"), keys.scalars_by_name("values"));
        let Some((table, address, encoding)) = place(keys, &common, self.caps) else { return Vec::new() };
        if common.is_written() && !is_writable(table, &encoding) {
            let found = format!("it for a {} of type {}", table.name(), encoding.kind);
            let expected = "it only for coils, and for holding registers of a type that fills them";
            keys.wrong("write", found, expected);
        }
        let kind = encoding.kind;
        let source_type = format!("{kind} {}", encoding.order.letters(kind)).trim_end().to_owned();
        let words = Some(read_words(keys, &words)).filter(|words| !words.is_empty());
        let told =
            words.as_ref().map_or_else(|| source_type.clone(), |words| with_words(&source_type, words));
        let at = format!("{} {} {address}", self.place, table.name());
        let mut spec = common.spec(keys, self.head, at.clone(), told);
        spec.words = words;
        if is_writable(table, &encoding) {
            let called = if table.is_bits() { table.name().to_owned() } else { kind.to_string() };
            bounds::check(keys, &spec, &called, takes(kind));
        }
        let field = Field { table, address, encoding, poll_interval, write_as_many };
        let mut streams = vec![(field.clone(), spec)];
        for (name, bit) in named_bits(keys, &bits, kind) {
            let name = format!("{}/{name}", common.name);
            let mut spec =
                common.spec_named(keys, self.head, name, at.clone(), format!("{source_type} bit {bit}"));
            // Scale, unit and deadband are those of the number.
            let descriptor = &mut spec.descriptor;
            (descriptor.scale, descriptor.offset, descriptor.unit) =
                (Decimal::ONE, Decimal::ZERO, String::new());
            spec.report = Report { deadband: None, ..spec.report };
            spec.write = None;
            let encoding = Encoding { bit: Some(bit), ..field.encoding.clone() };
            streams.push((Field { encoding, ..field.clone() }, spec));
        }
        streams
    }
}

/// Names and places of bits, the least significant first.
fn named_bits(keys: &Keys<'_>, written: &[(String, Scalar)], kind: Kind) -> Vec<(String, u8)> {
    if written.is_empty() {
        return Vec::new();
    }
    let unsigned = matches!(kind, Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64);
    let Some(width) = kind.number_bits().filter(|_| unsigned) else {
        keys.wrong("bits", format!("it for {kind}"), "it only for u8, u16, u32 and u64");
        return Vec::new();
    };
    let mut bits = Vec::new();
    for (name, bit) in written {
        match bit {
            Scalar::Integer(bit) if (0..i64::from(width)).contains(bit) => {
                bits.push((name.clone(), *bit as u8));
            }
            other => {
                keys.wrong("bits", format!("{name} = {other}"), format!("0 to {} for {kind}", width - 1));
            }
        }
    }
    bits.sort_by_key(|(_, bit)| *bit);
    bits
}

/// Words for values.
fn read_words(keys: &Keys<'_>, written: &[(String, Scalar)]) -> Words {
    let mut words = Words::default();
    for (value, word) in written {
        let number = match value.strip_prefix("0x") {
            Some(digits) => i128::from_str_radix(digits, 16).ok(),
            None => value.parse().ok(),
        };
        match (number, word) {
            (Some(number), Scalar::Text(word)) if !word.is_empty() => words.insert(number, word),
            _ => keys.wrong(
                "values",
                format!("{} = {word}", quoted(value)),
                "whole numbers in quotes with a word each: { \"0\" = \"stopped\", \"1\" = \"running\" }",
            ),
        }
    }
    words
}

/// The words travel with the ledger where there is room for all of them: a part would mislead.
fn with_words(source_type: &str, words: &Words) -> String {
    let told = format!("{source_type} {words}");
    // A word such as "off, 1=on" would be read back as two.
    let is_whole = told.len() <= TEXT_FIELD_BYTES_MAX && Words::of_type(&told) == *words;
    if is_whole { told } else { source_type.to_owned() }
}

/// Where the value lies and how.
fn place(keys: &mut Keys<'_>, common: &Common, caps: Caps) -> Option<(Table, u16, Encoding)> {
    let expected = "holding:ADDRESS, input:ADDRESS, coil:ADDRESS or discrete:ADDRESS with an address from 0 to 65535, \
                    counted from 0";
    let register = keys.required("register", expected);
    let place = registers::register(&register);
    if place.is_none() && !register.is_empty() {
        keys.wrong("register", quoted(&register), expected);
    }
    let (written_kind, written_order) = (keys.text("type"), keys.text("order"));
    let (table, address) = place?;
    let kind = kind(keys, written_kind.as_deref(), table)?;
    let order = order(keys, written_order.as_deref(), kind)?;
    if u32::from(address) + u32::from(kind.registers()) > 65_536 {
        let expected =
            format!("an address at which {} registers of {kind} lie below 65536", kind.registers());
        keys.wrong("register", quoted(&register), expected);
        return None;
    }
    if !table.is_bits() && kind.registers() > caps.registers {
        let found = format!("{kind}, which takes {} registers", kind.registers());
        keys.wrong(
            "type",
            found,
            format!("a type of at most {} registers, which is max_registers", caps.registers),
        );
        return None;
    }
    let mut not_available = Vec::new();
    for mark in &common.not_available {
        match registers::bit_pattern(mark, kind) {
            Ok(bits) => not_available.push(bits),
            Err(expected) => {
                keys.wrong("not_available", mark, expected);
                return None;
            }
        }
    }
    Some((table, address, Encoding { kind, order, not_available, bit: None }))
}

fn kind(keys: &Keys<'_>, written: Option<&str>, table: Table) -> Option<Kind> {
    if table.is_bits() {
        if matches!(written, None | Some("bool")) {
            return Some(Kind::Bool);
        }
        keys.wrong(
            "type",
            quoted(written.unwrap_or_default()),
            format!("\"bool\" or nothing for a {}", table.name()),
        );
        return None;
    }
    let kind = written.and_then(registers::kind);
    if kind.is_none() {
        let found = written.map_or_else(|| "nothing".to_owned(), quoted);
        let expected = "bool, bit(0) to bit(15), i8, u8, i16, u16, i32, u32, i64, u64, f32, f64, or string(1) to \
                        string(250)";
        keys.wrong("type", found, expected);
    }
    kind
}

fn order(keys: &Keys<'_>, written: Option<&str>, kind: Kind) -> Option<Order> {
    let Some(written) = written else { return Some(Order::default()) };
    let choices = Order::choices(kind);
    if let Some((_, order)) = choices.iter().find(|(letters, _)| *letters == written) {
        return Some(*order);
    }
    let names: Vec<&str> = choices.iter().map(|(letters, _)| *letters).collect();
    let expected = match names.as_slice() {
        [] => format!("no order, since a {kind} has none"),
        names => format!("one of {} for {kind}", names.join(", ")),
    };
    keys.wrong("order", quoted(written), expected);
    None
}
