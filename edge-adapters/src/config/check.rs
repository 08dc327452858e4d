//! From what is written to [`Source`]s. Everything that is wrong is found at once, before anything is started.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::codec::check_name;
use selvedge_core::limits::{NAME_BYTES_MAX, STREAMS_MAX, TEXT_FIELD_BYTES_MAX};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::{ConfigError, DeviceConfig, Place, Scalar, StreamConfig, text};
use crate::adapter::{Source, StreamSpec};
use crate::mapping::{Encoding, Kind, Order};
use crate::modbus::plan::Caps;
use crate::modbus::{BITS_MAX, Field, ModbusTcp, REGISTERS_MAX, Table};

const POLL_INTERVALS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_hours(24);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_mins(1);
const DEVICES_MAX: usize = 256;
const PROTOCOLS: &str = if cfg!(feature = "mqtt") { "\"modbus-tcp\" or \"mqtt\"" } else { "\"modbus-tcp\"" };

/// Every device, checked, in order.
///
/// # Errors
/// All that is wrong with them, in order of the file; claims of two devices on one thing last.
pub fn sources(devices: &[DeviceConfig]) -> Result<Vec<Arc<dyn Source>>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut sources: Vec<Option<Arc<dyn Source>>> = Vec::new();
    for (index, config) in devices.iter().enumerate() {
        let mut check = Check { device: index, stream: None, config, errors: &mut errors };
        sources.push(check.source());
    }
    let names: Vec<Vec<Vec<String>>> =
        devices.iter().map(|device| device.streams.iter().map(names_of).collect()).collect();
    check_counts(devices, &names, &mut errors);
    check_names(devices, &names, &mut errors);
    check_claims(devices, &sources, &mut errors);
    if errors.is_empty() { Ok(sources.into_iter().flatten().collect()) } else { Err(errors) }
}

/// One device alone.
#[cfg(test)]
pub(crate) fn modbus_tcp(config: &DeviceConfig) -> Option<ModbusTcp> {
    Check { device: 0, stream: None, config, errors: &mut Vec::new() }.modbus_tcp()
}

/// One broker alone.
#[cfg(all(test, feature = "mqtt"))]
pub(crate) fn mqtt(config: &DeviceConfig) -> Option<crate::mqtt::Mqtt> {
    Check { device: 0, stream: None, config, errors: &mut Vec::new() }.mqtt()
}

/// The check of one device.
pub(super) struct Check<'a> {
    device: usize,
    pub(super) stream: Option<usize>,
    pub(super) config: &'a DeviceConfig,
    errors: &'a mut Vec<ConfigError>,
}

impl Check<'_> {
    pub(super) fn wrong<T>(
        &mut self,
        key: &'static str,
        found: impl fmt::Display,
        expected: impl Into<String>,
    ) -> Option<T> {
        self.errors.push(ConfigError {
            place: Place { device: self.device, stream: self.stream, key },
            name: name_of(self.config, self.stream),
            found: found.to_string(),
            expected: expected.into(),
        });
        None
    }

    fn source(&mut self) -> Option<Arc<dyn Source>> {
        self.name(&self.config.name);
        match self.config.protocol.as_str() {
            "modbus-tcp" => Some(Arc::new(self.modbus_tcp()?)),
            #[cfg(feature = "mqtt")]
            "mqtt" => Some(Arc::new(self.mqtt()?)),
            other => self.wrong("protocol", quoted(other), PROTOCOLS),
        }
    }

    fn modbus_tcp(&mut self) -> Option<ModbusTcp> {
        let config = self.config;
        self.no_mqtt_keys();
        self.address()?;
        // Each is checked, so that all that is wrong is said at once.
        let unit_id = self.integer("unit_id", config.unit_id, 1, 0..=255);
        let poll_interval = self.duration("poll_interval", config.poll_interval.as_ref(), &POLL_INTERVALS);
        let timeout = self.duration("timeout", config.timeout.as_ref(), &TIMEOUTS);
        let registers = self.integer("max_registers", config.max_registers, 125, 1..=125);
        let bits = self.integer("max_bits", config.max_bits, 2_000, 1..=2_000);
        let gap = self.integer("max_gap", config.max_gap, 0, 0..=2_000);
        // With a wrong cap the streams are still checked, by the greatest.
        let caps = Caps {
            registers: registers.unwrap_or(REGISTERS_MAX),
            bits: bits.unwrap_or(BITS_MAX),
            gap: gap.unwrap_or(0),
        };
        let mut streams = Vec::new();
        for (index, stream) in config.streams.iter().enumerate() {
            self.stream = Some(index);
            streams.push(self.stream(stream, unit_id.unwrap_or(0), caps));
        }
        self.stream = None;
        if streams.is_empty() {
            return self.wrong("stream", "none", "at least one [[device.stream]] entry");
        }
        let (fields, specs) = streams.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
        Some(ModbusTcp {
            name: config.name.clone(),
            address: config.address.clone(),
            unit_id: unit_id? as u8,
            poll_interval: poll_interval?,
            timeout: timeout?,
            caps: Caps { registers: registers?, bits: bits?, gap: gap? },
            fields,
            streams: specs,
        })
    }

    /// Host and port.
    pub(super) fn address(&mut self) -> Option<(&str, u16)> {
        let address = &self.config.address;
        let expected = "host and port, such as \"10.0.0.7:502\" or \"[fd00::7]:502\", of at most 128 bytes";
        if !is_host_and_port(address) {
            return self.wrong("address", quoted(address), expected);
        }
        let (host, port) = address.rsplit_once(':')?;
        Some((host, port.parse().ok()?))
    }

    /// Keys that mean nothing to a Modbus device.
    fn no_mqtt_keys(&mut self) {
        let config = self.config;
        for (key, is_there) in [
            ("client_id", config.client_id.is_some()),
            ("qos", config.qos.is_some()),
            ("keep_alive", config.keep_alive.is_some()),
            ("max_packet_bytes", config.max_packet_bytes.is_some()),
        ] {
            self.no_key(key, is_there);
        }
        for (index, stream) in config.streams.iter().enumerate() {
            self.stream = Some(index);
            for (key, is_there) in [
                ("topic", stream.topic.is_some()),
                ("each", !stream.each.is_empty()),
                ("pointer", stream.pointer.is_some()),
                ("time", stream.time.is_some()),
            ] {
                self.no_key(key, is_there);
            }
        }
        self.stream = None;
    }

    pub(super) fn no_key(&mut self, key: &'static str, is_there: bool) {
        if is_there {
            let expected = format!("no such key for the protocol {}", quoted(&self.config.protocol));
            self.wrong::<()>(key, "it", expected);
        }
    }

    /// Unit of a scaled value.
    pub(super) fn unit(&mut self, stream: &StreamConfig) -> Option<String> {
        let unit = stream.unit.clone().unwrap_or_default();
        if unit.len() > TEXT_FIELD_BYTES_MAX || !unit.bytes().all(|b| b.is_ascii_graphic()) {
            let expected =
                "a UCUM unit of printable ASCII without spaces: Cel for °C, um for µm, L/min, m3/h, %";
            return self.wrong("unit", quoted(&unit), expected);
        }
        Some(unit)
    }

    fn stream(&mut self, stream: &StreamConfig, unit_id: u16, caps: Caps) -> Option<(Field, StreamSpec)> {
        self.name(&stream.name);
        let field = self.field(stream, caps);
        let unit = self.unit(stream)?;
        let scale = self.decimal("scale", stream.scale.as_ref(), Decimal::ONE);
        let offset = self.decimal("offset", stream.offset.as_ref(), Decimal::ZERO);
        let deadband = self.deadband(stream.deadband.as_ref());
        let field = field?;
        let (table, kind) = (field.table, field.encoding.kind);
        let letters = field.encoding.order.letters(kind);
        let descriptor = Descriptor {
            name: stream.name.clone(),
            device: self.config.name.clone(),
            address: format!(
                "modbus-tcp {} unit {unit_id} {} {}",
                self.config.address,
                table.name(),
                field.address
            ),
            source_type: format!("{kind} {letters}").trim_end().to_owned(),
            unit,
            scale: scale?,
            offset: offset?,
            attestation: Attestation::Gateway,
        };
        Some((field, StreamSpec { descriptor, urgent: stream.urgent, deadband: deadband? }))
    }

    /// Where the value lies and how.
    fn field(&mut self, stream: &StreamConfig, caps: Caps) -> Option<Field> {
        let Some((table, address)) = text::register(&stream.register) else {
            let expected = "holding:ADDRESS, input:ADDRESS, coil:ADDRESS or discrete:ADDRESS with an address from 0 to \
                            65535, counted from 0";
            return self.wrong("register", quoted(&stream.register), expected);
        };
        let kind = self.kind(stream, table)?;
        let order = self.order(stream, kind)?;
        if u32::from(address) + u32::from(kind.registers()) > 65_536 {
            let expected =
                format!("an address at which {} registers of {kind} lie below 65536", kind.registers());
            return self.wrong("register", quoted(&stream.register), expected);
        }
        if !table.is_bits() && kind.registers() > caps.registers {
            let expected = format!("a type of at most {} registers, which is max_registers", caps.registers);
            return self.wrong(
                "type",
                format!("{kind}, which takes {} registers", kind.registers()),
                expected,
            );
        }
        let mut not_available = Vec::new();
        for mark in &stream.not_available {
            match text::bit_pattern(mark, kind) {
                Ok(bits) => not_available.push(bits),
                Err(expected) => return self.wrong("not_available", mark, expected),
            }
        }
        Some(Field { table, address, encoding: Encoding { kind, order, not_available } })
    }

    fn kind(&mut self, stream: &StreamConfig, table: Table) -> Option<Kind> {
        let written = stream.kind.as_deref();
        if table.is_bits() {
            return match written.unwrap_or("bool") {
                "bool" => Some(Kind::Bool),
                other => {
                    self.wrong("type", quoted(other), format!("\"bool\" or nothing for a {}", table.name()))
                }
            };
        }
        if let Some(kind) = written.and_then(text::kind) {
            return Some(kind);
        }
        let found = written.map_or_else(|| "nothing".to_owned(), quoted);
        let expected = "bool, bit(0) to bit(15), i8, u8, i16, u16, i32, u32, i64, u64, f32, f64, or string(1) to \
                        string(250)";
        self.wrong("type", found, expected)
    }

    fn order(&mut self, stream: &StreamConfig, kind: Kind) -> Option<Order> {
        let Some(written) = stream.order.as_deref() else { return Some(Order::default()) };
        let choices = Order::choices(kind);
        if let Some((_, order)) = choices.iter().find(|(letters, _)| *letters == written) {
            return Some(*order);
        }
        let names: Vec<&str> = choices.iter().map(|(letters, _)| *letters).collect();
        let expected = match names.as_slice() {
            [] => format!("no order, since a {kind} has none"),
            names => format!("one of {} for {kind}", names.join(", ")),
        };
        self.wrong("order", quoted(written), expected)
    }

    pub(super) fn name(&mut self, name: &str) {
        if let Err(why) = check_name(name) {
            let expected = format!("1 to {NAME_BYTES_MAX} bytes of UTF-8 without control characters ({why})");
            self.wrong::<()>("name", quoted(name), expected);
        }
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        written: Option<i64>,
        usual: i64,
        range: RangeInclusive<i64>,
    ) -> Option<u16> {
        let number = written.unwrap_or(usual);
        if range.contains(&number) {
            return Some(number as u16);
        }
        self.wrong(key, number, format!("{} to {}", range.start(), range.end()))
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        written: Option<&String>,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let Some(written) = written else { return Some(Duration::from_secs(1)) };
        match text::duration(written) {
            Ok(duration) if range.contains(&duration) => Some(duration),
            Ok(_) => self.wrong(key, quoted(written), format!("{:?} to {:?}", range.start(), range.end())),
            Err(expected) => self.wrong(key, quoted(written), expected),
        }
    }

    pub(super) fn decimal(
        &mut self,
        key: &'static str,
        written: Option<&Scalar>,
        usual: Decimal,
    ) -> Option<Decimal> {
        let Some(written) = written else { return Some(usual) };
        match text::decimal(written) {
            Ok(Decimal::ZERO) if key == "scale" => self.wrong(key, written, "a decimal number other than 0"),
            Ok(decimal) => Some(decimal),
            Err(expected) => self.wrong(key, written, expected),
        }
    }

    /// The outer `None`: it is wrong. The inner: there is none.
    #[expect(clippy::option_option, reason = "wrong and absent are two things")]
    pub(super) fn deadband(&mut self, written: Option<&Scalar>) -> Option<Option<f64>> {
        let Some(written) = written else { return Some(None) };
        match text::decimal(written).map(Decimal::to_f64) {
            Ok(band) if band >= 0.0 => Some(Some(band)),
            _ => self.wrong(
                "deadband",
                written,
                "a decimal number, 0 or more, in the unit of the scaled value",
            ),
        }
    }
}

/// The names of the streams that one entry stands for.
fn names_of(stream: &StreamConfig) -> Vec<String> {
    #[cfg(feature = "mqtt")]
    if let Some(topic) = &stream.topic
        && let Ok(expansion) = crate::mqtt::topic::expand(&stream.name, topic, &stream.each, STREAMS_MAX)
    {
        return expansion.streams.into_iter().map(|stream| stream.name).collect();
    }
    vec![stream.name.clone()]
}

fn check_counts(devices: &[DeviceConfig], names: &[Vec<Vec<String>>], errors: &mut Vec<ConfigError>) {
    let streams: usize = names.iter().flatten().map(Vec::len).sum();
    for (key, found, most) in [("device", devices.len(), DEVICES_MAX), ("stream", streams, STREAMS_MAX)] {
        if found > most {
            errors.push(ConfigError {
                place: Place { device: devices.len() - 1, stream: None, key },
                name: "all devices".to_owned(),
                found: found.to_string(),
                expected: format!("at most {most}"),
            });
        }
    }
}

/// No two devices and no two streams have one name.
fn check_names(devices: &[DeviceConfig], names: &[Vec<Vec<String>>], errors: &mut Vec<ConfigError>) {
    let mut seen_devices = BTreeMap::new();
    let mut seen_streams = BTreeMap::new();
    let twice = |place: Place, config: &DeviceConfig, name: &str, first: String| ConfigError {
        place,
        name: name_of(config, place.stream),
        found: format!("{}, which is also the name of {first}", quoted(name)),
        expected: "a name that nothing else has".to_owned(),
    };
    for (index, config) in devices.iter().enumerate() {
        let place = Place { device: index, stream: None, key: "name" };
        if let Some(first) = seen_devices.insert(&config.name, index) {
            errors.push(twice(place, config, &config.name, format!("device {}", first + 1)));
        }
        for (at, name) in
            names[index].iter().enumerate().flat_map(|(at, names)| names.iter().map(move |n| (at, n)))
        {
            let place = Place { stream: Some(at), ..place };
            if let Some((device, first)) = seen_streams.insert(name, (&config.name, at)) {
                let first = format!("stream {} of device {}", first + 1, quoted(device));
                errors.push(twice(place, config, name, first));
            }
        }
    }
}

/// No two devices claim one thing.
fn check_claims(
    devices: &[DeviceConfig],
    sources: &[Option<Arc<dyn Source>>],
    errors: &mut Vec<ConfigError>,
) {
    let mut claimed = BTreeMap::new();
    for (index, source) in sources.iter().enumerate() {
        let Some(source) = source else { continue };
        for claim in source.claims() {
            let place = Place { device: index, stream: None, key: claim.key };
            if let Some(first) = claimed.insert(claim.resource.clone(), source.device().to_owned()) {
                errors.push(ConfigError {
                    place,
                    name: name_of(&devices[index], None),
                    found: format!("{}, which device {} reads too", claim.resource, quoted(&first)),
                    expected: "one device table for it, with all its streams".to_owned(),
                });
            }
        }
    }
}

fn name_of(config: &DeviceConfig, stream: Option<usize>) -> String {
    match stream {
        Some(at) => format!("device {}, stream {}", quoted(&config.name), quoted(&config.streams[at].name)),
        None => format!("device {}", quoted(&config.name)),
    }
}

/// As it stands, cut where it is too long to be shown.
pub(super) fn quoted(text: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    if shown.len() < text.len() { format!("{shown:?}…") } else { format!("{text:?}") }
}

fn is_host_and_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok()),
        None => Some(host).filter(|host| !host.contains([':', '[', ']'])),
    };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    address.len() <= 128
        && host.is_some_and(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()))
        && digits
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

const _: () = assert!(REGISTERS_MAX == 125, "the texts above name it");
