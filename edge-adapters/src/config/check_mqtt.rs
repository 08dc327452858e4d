//! Devices of the protocol `mqtt`: one broker each.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::limits::{STREAMS_MAX, TEXT_FIELD_BYTES_MAX};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};

use super::check::{Check, quoted};
use super::{Scalar, StreamConfig};
use crate::adapter::StreamSpec;
use crate::mqtt::client::Service;
use crate::mqtt::payload::{Kind, Mark, Picker};
use crate::mqtt::topic::{self, Filter};
use crate::mqtt::{CLIENT_ID_BYTES_MAX, Mqtt, Shared};

const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// A packet that is never longer than this cannot fill the memory: 256 MiB is the longest that MQTT knows.
const PACKET_BYTES: RangeInclusive<i64> = 1_024..=16 * 1024 * 1024;

/// What one entry gives.
struct Entry {
    filter: Filter,
    streams: Vec<(Filter, Picker, StreamSpec)>,
}

impl Check<'_> {
    pub(super) fn mqtt(&mut self) -> Option<Mqtt> {
        let config = self.config;
        self.no_modbus_keys();
        let address = self.address().map(|(host, port)| (host.to_owned(), port));
        let client_id = self.client_id();
        let service = match config.qos.unwrap_or(1) {
            0 => Some(Service::AtMostOnce),
            1 => Some(Service::AtLeastOnce),
            2 => Some(Service::ExactlyOnce),
            other => self.wrong("qos", other, "0, 1 or 2"),
        };
        let seconds = Duration::from_secs;
        let keep_alive = self.span("keep_alive", config.keep_alive.as_ref(), seconds(30), &KEEP_ALIVES);
        let timeout = self.span("timeout", config.timeout.as_ref(), seconds(5), &TIMEOUTS);
        let bytes = config.max_packet_bytes.unwrap_or(1_048_576);
        let packet_bytes_max = if PACKET_BYTES.contains(&bytes) {
            Some(bytes as usize)
        } else {
            self.wrong(
                "max_packet_bytes",
                bytes,
                format!("{} to {}", PACKET_BYTES.start(), PACKET_BYTES.end()),
            )
        };
        let mut entries = Vec::new();
        for (index, stream) in config.streams.iter().enumerate() {
            self.stream = Some(index);
            entries.push(self.entry(stream));
        }
        self.stream = None;
        if entries.is_empty() {
            return self.wrong("stream", "none", "at least one [[device.stream]] entry");
        }
        let entries = entries.into_iter().collect::<Option<Vec<_>>>()?;
        let filters: Vec<Filter> = entries.iter().map(|entry| entry.filter.clone()).collect();
        let filters = self.subscriptions(&filters)?;
        let (host, port) = address?;
        let mut mqtt = Mqtt {
            name: config.name.clone(),
            host,
            port,
            client_id: client_id?,
            service: service?,
            keep_alive: keep_alive?,
            timeout: timeout?,
            packet_bytes_max: packet_bytes_max?,
            filters,
            topics: Vec::new(),
            pickers: Vec::new(),
            streams: Vec::new(),
            is_rehearsal: false,
            connect: Mqtt::rumqttc(),
            shared: Arc::<Shared>::default(),
        };
        for (topic, picker, spec) in entries.into_iter().flat_map(|entry| entry.streams) {
            mqtt.topics.push(topic);
            mqtt.pickers.push(picker);
            mqtt.streams.push(spec);
        }
        Some(mqtt)
    }

    /// Keys that mean nothing to a broker.
    fn no_modbus_keys(&mut self) {
        let config = self.config;
        for (key, is_there) in [
            ("unit_id", config.unit_id.is_some()),
            ("poll_interval", config.poll_interval.is_some()),
            ("max_registers", config.max_registers.is_some()),
            ("max_bits", config.max_bits.is_some()),
            ("max_gap", config.max_gap.is_some()),
        ] {
            self.no_key(key, is_there);
        }
        for (index, stream) in config.streams.iter().enumerate() {
            self.stream = Some(index);
            self.no_key("register", !stream.register.is_empty());
            self.no_key("order", stream.order.is_some());
        }
        self.stream = None;
    }

    /// The outer `None`: it is wrong. The inner: there is none.
    #[expect(clippy::option_option, reason = "wrong and absent are two things")]
    fn client_id(&mut self) -> Option<Option<String>> {
        let Some(written) = &self.config.client_id else { return Some(None) };
        let is_right =
            (1..=CLIENT_ID_BYTES_MAX).contains(&written.len()) && !written.contains(char::is_control);
        if !is_right {
            let expected = format!("1 to {CLIENT_ID_BYTES_MAX} bytes of UTF-8 without control characters");
            return self.wrong("client_id", quoted(written), expected);
        }
        Some(Some(written.clone()))
    }

    fn span(
        &mut self,
        key: &'static str,
        written: Option<&String>,
        usual: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Option<Duration> {
        if written.is_none() { Some(usual) } else { self.duration(key, written, range) }
    }

    fn subscriptions(&mut self, filters: &[Filter]) -> Option<Vec<Filter>> {
        match topic::subscriptions(filters) {
            Ok(filters) => Some(filters),
            Err((one, other)) => {
                self.stream = filters.iter().position(|filter| *filter == other);
                let found = format!(
                    "{}, which names some topics of {} too, but not all",
                    quoted(other.as_str()),
                    quoted(one.as_str())
                );
                let expected = "topics that are apart, or one within the other, since a broker may send such a message twice; \
                                or another [[device]] with a client_id of its own";
                let wrong = self.wrong("topic", found, expected);
                self.stream = None;
                wrong
            }
        }
    }

    fn entry(&mut self, stream: &StreamConfig) -> Option<Entry> {
        self.name(&stream.name);
        let kind = self.value_kind(stream);
        let pointer = self.pointer("pointer", stream.pointer.as_ref());
        let time = self.pointer("time", stream.time.as_ref());
        let unit = self.unit(stream);
        let scale = self.decimal("scale", stream.scale.as_ref(), Decimal::ONE);
        let offset = self.decimal("offset", stream.offset.as_ref(), Decimal::ZERO);
        let deadband = self.deadband(stream.deadband.as_ref());
        let Some(topic) = &stream.topic else {
            return self.wrong("topic", "nothing", "a topic such as plant/line1/filler/state");
        };
        let expansion = match topic::expand(&stream.name, topic, &stream.each, STREAMS_MAX) {
            Ok(expansion) => expansion,
            Err((key, expected)) => {
                let found = if key == "topic" { quoted(topic) } else { format!("{:?}", stream.each) };
                return self.wrong(key, found, expected);
            }
        };
        let (kind, pointer) = (kind?, pointer?);
        let not_available = stream.not_available.iter().map(mark).collect();
        let picker = Picker { kind, pointer, time: time?, not_available };
        let (unit, scale, offset, deadband) = (unit?, scale?, offset?, deadband?);
        let mut streams = Vec::new();
        for expanded in expansion.streams {
            self.name(&expanded.name);
            let spot = picker.pointer.as_ref().map_or(String::new(), |pointer| format!(" {pointer}"));
            let address = format!("mqtt {} topic {}{spot}", self.config.address, expanded.topic.as_str());
            if address.len() > TEXT_FIELD_BYTES_MAX {
                let expected =
                    format!("address, topic and pointer of at most {TEXT_FIELD_BYTES_MAX} bytes together");
                return self.wrong("topic", format!("{} bytes", address.len()), expected);
            }
            let form = if picker.pointer.is_some() { "json" } else { "text" };
            let descriptor = Descriptor {
                name: expanded.name,
                device: self.config.name.clone(),
                address,
                source_type: format!("{form} {kind}"),
                unit: unit.clone(),
                scale,
                offset,
                attestation: Attestation::Gateway,
            };
            let spec = StreamSpec { descriptor, urgent: stream.urgent, deadband };
            streams.push((expanded.topic, picker.clone(), spec));
        }
        Some(Entry { filter: expansion.filter, streams })
    }

    fn value_kind(&mut self, stream: &StreamConfig) -> Option<Kind> {
        let written = stream.kind.as_deref().unwrap_or_default();
        let known = Kind::ALL.into_iter().find(|kind| kind.to_string() == written);
        if known.is_some() {
            return known;
        }
        let found = stream.kind.as_deref().map_or_else(|| "nothing".to_owned(), quoted);
        self.wrong("type", found, "bool, i64, u64, f64 or string")
    }

    /// The outer `None`: it is wrong. The inner: there is none.
    #[expect(clippy::option_option, reason = "wrong and absent are two things")]
    fn pointer(&mut self, key: &'static str, written: Option<&String>) -> Option<Option<String>> {
        let Some(pointer) = written else { return Some(None) };
        // RFC 6901, section 3: after ~ stands 0 or 1.
        let escapes_hold = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        if (!pointer.is_empty() && !pointer.starts_with('/'))
            || !escapes_hold
            || pointer.contains(char::is_control)
        {
            let expected = "a JSON pointer such as /temperature/value, or \"\" for the whole message";
            return self.wrong(key, quoted(pointer), expected);
        }
        Some(Some(pointer.clone()))
    }
}

fn mark(written: &Scalar) -> Mark {
    match written {
        Scalar::Integer(integer) => Mark::Integer(*integer),
        Scalar::Float(float) => Mark::Float(*float),
        Scalar::Text(text) => Mark::Text(text.clone()),
    }
}
