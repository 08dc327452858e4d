//! Devices of the protocol `modbus-tcp`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys::{Keys, quoted};
use super::stream::Common;
use super::text;
use crate::adapter::{Head, StreamSpec};
use crate::mapping::{Encoding, Kind, Order};
use crate::modbus::plan::Caps;
use crate::modbus::{BITS_MAX, Field, ModbusTcp, REGISTERS_MAX, Table};

const POLL_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);

/// Reads the keys of one device.
pub(super) fn device(keys: &mut Keys<'_>, head: Head) -> Option<ModbusTcp> {
    let second = Duration::from_secs(1);
    let (host, port) = keys.host_and_port();
    let address = format!("{host}:{port}");
    let unit_id = keys.integer("unit_id", 1, 0..=255) as u8;
    let poll_interval = keys.duration("poll_interval", second, &POLL_INTERVALS);
    let timeout = keys.duration("timeout", second, &TIMEOUTS);
    let most = i64::from(REGISTERS_MAX);
    let caps = Caps {
        registers: keys.integer("max_registers", most, 1..=most) as u16,
        bits: keys.integer("max_bits", BITS_MAX.into(), 1..=BITS_MAX.into()) as u16,
        gap: keys.integer("max_gap", 0, 0..=BITS_MAX.into()) as u16,
    };
    let (mut fields, mut streams) = (Vec::new(), Vec::new());
    for mut entry in keys.streams() {
        let place = format!("modbus-tcp {address} unit {unit_id}");
        if let Some((field, spec)) = stream(&mut entry, &head, &place, caps) {
            fields.push(field);
            streams.push(spec);
        }
        entry.finish();
    }
    Some(ModbusTcp { head, address, unit_id, poll_interval, timeout, caps, fields, streams })
}

fn stream(keys: &mut Keys<'_>, head: &Head, place: &str, caps: Caps) -> Option<(Field, StreamSpec)> {
    let common = Common::read(keys, |_| ());
    let field = field(keys, &common, caps);
    let (table, kind) = field.as_ref().map(|field| (field.table, field.encoding.kind))?;
    let field = field?;
    let letters = field.encoding.order.letters(kind);
    let address = format!("{place} {} {}", table.name(), field.address);
    let spec = common.spec(keys, head, address, format!("{kind} {letters}").trim_end().to_owned());
    Some((field, spec))
}

/// Where the value lies and how.
fn field(keys: &mut Keys<'_>, common: &Common, caps: Caps) -> Option<Field> {
    let expected = "holding:ADDRESS, input:ADDRESS, coil:ADDRESS or discrete:ADDRESS with an address from 0 to 65535, \
                    counted from 0";
    let register = keys.required("register", expected);
    let place = text::register(&register);
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
        match text::bit_pattern(mark, kind) {
            Ok(bits) => not_available.push(bits),
            Err(expected) => {
                keys.wrong("not_available", mark, expected);
                return None;
            }
        }
    }
    Some(Field { table, address, encoding: Encoding { kind, order, not_available } })
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
    let kind = written.and_then(text::kind);
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
