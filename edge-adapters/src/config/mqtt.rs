//! Devices of the protocol `mqtt`: one broker each.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::limits::STREAMS_MAX;

use super::Scalar;
use super::keys::{Keys, quoted};
use super::stream::Common;
use crate::adapter::{Head, StreamSpec};
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

/// Reads the keys of one broker.
pub(super) fn device(keys: &mut Keys<'_>, head: Head) -> Option<Mqtt> {
    let seconds = Duration::from_secs;
    let (host, port) = keys.host_and_port();
    let client_id = client_id(keys);
    let service = match keys.integer("qos", 1, 0..=2) {
        0 => Service::AtMostOnce,
        1 => Service::AtLeastOnce,
        _ => Service::ExactlyOnce,
    };
    let keep_alive = keys.duration("keep_alive", seconds(30), &KEEP_ALIVES);
    let timeout = keys.duration("timeout", seconds(5), &TIMEOUTS);
    let packet_bytes_max = keys.integer("max_packet_bytes", 1_048_576, PACKET_BYTES) as usize;
    let (mut entries, mut filters): (Vec<Entry>, Vec<Filter>) = (Vec::new(), Vec::new());
    let place = format!("mqtt {host}:{port}");
    for mut table in keys.streams() {
        if let Some(entry) = entry(&mut table, &head, &place) {
            filters.push(entry.filter.clone());
            if let Err((one, other)) = topic::subscriptions(&filters) {
                overlapping(&table, &one, &other);
                filters.pop();
            }
            entries.push(entry);
        }
        table.finish();
    }
    let filters = topic::subscriptions(&filters).unwrap_or_default();
    let mut mqtt = Mqtt {
        head,
        host,
        port,
        client_id,
        service,
        keep_alive,
        timeout,
        packet_bytes_max,
        filters,
        topics: Vec::new(),
        pickers: Vec::new(),
        streams: Vec::new(),
        is_rehearsal: false,
        connect: Mqtt::network(),
        shared: Arc::<Shared>::default(),
    };
    for (topic, picker, spec) in entries.into_iter().flat_map(|entry| entry.streams) {
        mqtt.topics.push(topic);
        mqtt.pickers.push(picker);
        mqtt.streams.push(spec);
    }
    Some(mqtt)
}

fn client_id(keys: &mut Keys<'_>) -> Option<String> {
    let written = keys.text("client_id")?;
    if !(1..=CLIENT_ID_BYTES_MAX).contains(&written.len()) || written.contains(char::is_control) {
        let expected = format!("1 to {CLIENT_ID_BYTES_MAX} bytes of UTF-8 without control characters");
        keys.wrong("client_id", quoted(&written), expected);
    }
    Some(written)
}

fn overlapping(keys: &Keys<'_>, one: &Filter, other: &Filter) {
    let found = format!(
        "{}, which names some topics of {} too, but not all",
        quoted(other.as_str()),
        quoted(one.as_str())
    );
    let expected = "topics that are apart, or one within the other, since a broker may send such a message twice; \
                    or another [[device]] with a client_id of its own";
    keys.wrong("topic", found, expected);
}

fn entry(keys: &mut Keys<'_>, head: &Head, place: &str) -> Option<Entry> {
    let common = Common::read(keys, |_| ());
    let kind = value_kind(keys);
    let spot = pointer(keys, "pointer");
    let time = pointer(keys, "time");
    let each = keys.lists("each");
    let topic = keys.required("topic", "a topic such as plant/line1/filler/state");
    if topic.is_empty() {
        return None;
    }
    let expansion = match topic::expand(&common.name, &topic, &each, STREAMS_MAX) {
        Ok(expansion) => expansion,
        Err((key, expected)) => {
            let found = if key == "topic" { quoted(&topic) } else { format!("{each:?}") };
            keys.wrong(key, found, expected);
            return None;
        }
    };
    let kind = kind?;
    let not_available = common.not_available.iter().map(mark).collect();
    let picker = Picker { kind, pointer: spot, time, not_available };
    let form = if picker.pointer.is_some() { "json" } else { "text" };
    let spot = picker.pointer.as_ref().map_or(String::new(), |pointer| format!(" {pointer}"));
    let streams = expansion.streams.into_iter().map(|expanded| {
        let address = format!("{place} topic {}{spot}", expanded.topic.as_str());
        let spec = common.spec_named(keys, head, expanded.name, address, format!("{form} {kind}"));
        (expanded.topic, picker.clone(), spec)
    });
    let streams = streams.collect();
    Some(Entry { filter: expansion.filter, streams })
}

fn value_kind(keys: &mut Keys<'_>) -> Option<Kind> {
    let written = keys.text("type");
    let known = Kind::ALL.into_iter().find(|kind| Some(kind.to_string()) == written);
    if known.is_none() {
        let found = written.as_deref().map_or_else(|| "nothing".to_owned(), quoted);
        keys.wrong("type", found, "bool, i64, u64, f64 or string");
    }
    known
}

/// A JSON pointer (RFC 6901).
fn pointer(keys: &mut Keys<'_>, key: &'static str) -> Option<String> {
    let pointer = keys.text(key)?;
    // Section 3: after ~ stands 0 or 1.
    let escapes_hold = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let is_pointer = pointer.is_empty() || pointer.starts_with('/');
    if !is_pointer || !escapes_hold || pointer.contains(char::is_control) {
        keys.wrong(
            key,
            quoted(&pointer),
            "a JSON pointer such as /temperature/value, or \"\" for the whole message",
        );
    }
    Some(pointer)
}

fn mark(written: &Scalar) -> Mark {
    match written {
        Scalar::Integer(integer) => Mark::Integer(*integer),
        Scalar::Float(float) => Mark::Float(*float),
        Scalar::Text(text) => Mark::Text(text.clone()),
    }
}
