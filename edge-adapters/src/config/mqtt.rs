//! Devices of the protocol `mqtt`: one broker each.

mod places;
#[cfg(feature = "sparkplug")]
pub(super) mod sparkplug;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::limits::STREAMS_MAX;

use super::keys::{Keys, quoted};
use super::stream::Common;
use super::{Scalar, bounds};
use crate::adapter::{Head, StreamSpec};
use crate::mqtt::client::{Service, Version};
use crate::mqtt::command::{Command, Template};
use crate::mqtt::packet::encode::Will;
use crate::mqtt::payload::{Kind, Mark, Picker};
use crate::mqtt::topic::{self, Expansion, Filter};
use crate::mqtt::{CLIENT_ID_BYTES_MAX, Mqtt, Shared};
use crate::write::takes::Takes;

const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(1);
/// A packet that is never longer than this cannot fill the memory: 256 MiB is the longest that MQTT knows.
const PACKET_BYTES: RangeInclusive<i64> = 1_024..=16 * 1024 * 1024;

const SESSION_EXPIRIES: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(24 * 3_650);
/// How long a broker of MQTT 5 keeps the session if nothing else is written.
const SESSION_EXPIRY: Duration = Duration::from_hours(24 * 30);
/// Beyond this whoever asked for the write has been told that nothing is known.
const CONFIRM_WITHIN: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(25);
/// A user name is at most this long.
const USER_BYTES_MAX: usize = 1_024;
/// A last will is at most this long.
const WILL_BYTES_MAX: usize = 4_096;
/// A text is at most this long ([`Kind::Text`]).
const TEXT_BYTES_MAX: usize = 4_096;

/// What one entry gives.
struct Entry {
    filter: Filter,
    streams: Vec<Stream>,
}

struct Stream {
    topic: Filter,
    picker: Picker,
    command: Option<Command>,
    spec: StreamSpec,
}

/// Keys of a `write` table.
struct Write {
    topic: String,
    service: Service,
    retain: bool,
    template: Template,
    confirm_within: Duration,
}

/// Reads the keys of a broker, whatever is spoken over MQTT: all but the streams.
fn broker(keys: &mut Keys<'_>, head: Head) -> Mqtt {
    let seconds = Duration::from_secs;
    let (host, port) = keys.host_and_port();
    let version = keys.choice("version", Version::V3, &[("3.1.1", Version::V3), ("5", Version::V5)]);
    let user = user(keys);
    let password = keys.secret("password_file");
    if password.is_some() && user.is_none() && version == Version::V3 {
        // MQTT 3.1.1, section 3.1.2.9.
        keys.wrong("password_file", "it without `user`", "both, or version = \"5\"");
    }
    let tls = keys.table("tls").map(super::tls::read);
    Mqtt {
        head,
        host,
        port,
        version,
        client_id: client_id(keys),
        session_expiry: SESSION_EXPIRY,
        tls,
        user,
        password,
        will: None,
        service: Service::AtLeastOnce,
        keep_alive: keys.duration("keep_alive", seconds(30), &KEEP_ALIVES),
        timeout: keys.duration("timeout", seconds(5), &TIMEOUTS),
        packet_bytes_max: keys.integer("max_packet_bytes", 1_048_576, PACKET_BYTES) as usize,
        filters: Vec::new(),
        topics: Vec::new(),
        pickers: Vec::new(),
        commands: Vec::new(),
        streams: Vec::new(),
        layered: None,
        is_rehearsal: false,
        connect: Mqtt::network(),
        shared: Arc::<Shared>::default(),
    }
}

/// Reads the keys of one broker.
pub(super) fn device(keys: &mut Keys<'_>, head: Head) -> Mqtt {
    let mut mqtt = broker(keys, head);
    mqtt.service = match keys.integer("qos", 1, 0..=2) {
        0 => Service::AtMostOnce,
        1 => Service::AtLeastOnce,
        _ => Service::ExactlyOnce,
    };
    mqtt.session_expiry = session_expiry(keys, mqtt.version);
    mqtt.will = keys.table("last_will").map(last_will);
    let (mut entries, mut filters): (Vec<Entry>, Vec<Filter>) = (Vec::new(), Vec::new());
    let place = format!("mqtt {}:{}", mqtt.host, mqtt.port);
    for mut table in keys.streams() {
        if let Some(entry) = entry(&mut table, &mqtt.head, &place) {
            filters.push(entry.filter.clone());
            if let Err((one, other)) = topic::subscriptions(&filters) {
                overlapping(&table, &one, &other);
                filters.pop();
            }
            entries.push(entry);
        }
        table.finish();
    }
    mqtt.filters = topic::subscriptions(&filters).unwrap_or_default();
    for stream in entries.into_iter().flat_map(|entry| entry.streams) {
        mqtt.topics.push(stream.topic);
        mqtt.pickers.push(stream.picker);
        mqtt.commands.push(stream.command);
        mqtt.streams.push(stream.spec);
    }
    mqtt
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
    let mut write = None;
    let common = Common::read(keys, |table| write = Some(self::write(table)));
    let kind = value_kind(keys);
    let places = places::read(keys);
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
    let commands = commands(keys, write.as_ref(), &expansion, &each);
    let kind = kind?;
    let not_available = common.not_available.iter().map(mark).collect();
    let picker = Picker { kind, spot: places.value, time: places.time, not_available };
    let (form, spot) = places::shown(&picker.spot);
    let streams = expansion.streams.into_iter().zip(commands).map(|(expanded, command)| {
        let address = format!("{place} topic {}{spot}", expanded.topic.as_str());
        let spec = common.spec_named(keys, head, expanded.name, address, format!("{form} {kind}"));
        Stream { topic: expanded.topic, picker: picker.clone(), command, spec }
    });
    let streams: Vec<Stream> = streams.collect();
    if let (Some(first), Some(takes)) = (streams.first(), takes(kind)) {
        bounds::check(keys, &first.spec, &kind.to_string(), takes);
    }
    Some(Entry { filter: expansion.filter, streams })
}

/// What may be written to such a value. `None`: who knows; machines take `true`, `1` and `on` for a bool.
const fn takes(kind: Kind) -> Option<Takes> {
    Some(match kind {
        Kind::Bool => return None,
        Kind::I64 => Takes::whole(64, true),
        Kind::U64 => Takes::whole(64, false),
        Kind::F64 => Takes::Number { most: f64::MAX },
        Kind::Text => Takes::Text { most: TEXT_BYTES_MAX },
    })
}

fn write(keys: &mut Keys<'_>) -> Write {
    let topic =
        keys.required("topic", "the topic that the device listens to, such as plant/line1/filler/set");
    let service = if keys.integer("qos", 1, 0..=1) == 0 { Service::AtMostOnce } else { Service::AtLeastOnce };
    let retain = keys.flag("retain", false);
    let template = match keys.text("payload").map(|written| (Template::new(&written), written)) {
        None => Template::default(),
        Some((Ok(template), _)) => template,
        Some((Err(expected), written)) => {
            keys.wrong("payload", quoted(&written), expected);
            Template::default()
        }
    };
    let confirm_within = keys.duration("confirm_within", Duration::from_secs(5), &CONFIRM_WITHIN);
    Write { topic, service, retain, template, confirm_within }
}

/// The command of each stream of an entry, in order.
fn commands(
    keys: &Keys<'_>,
    write: Option<&Write>,
    expansion: &Expansion,
    each: &BTreeMap<String, Vec<String>>,
) -> Vec<Option<Command>> {
    let none = || vec![None; expansion.streams.len()];
    let Some(write) = write.filter(|write| !write.topic.is_empty()) else { return none() };
    let wrong = |expected: &str| {
        keys.wrong("write.topic", quoted(&write.topic), expected);
        none()
    };
    // The same names in the same order, so the same streams.
    let topics = match topic::expand("", &write.topic, each, STREAMS_MAX) {
        Ok(topics) => topics.streams,
        Err((_, expected)) => return wrong(&expected),
    };
    let topics = topics.into_iter().map(|expanded| expanded.topic);
    let pairs: Vec<_> = topics.zip(&expansion.streams).collect();
    if pairs.iter().any(|(topic, _)| !topic.is_plain()) {
        return wrong("one topic, without + and #");
    }
    if pairs.iter().any(|(topic, stream)| stream.topic.matches(topic.as_str())) {
        return wrong(
            "another topic than the stream's own: the broker sends there what this gateway says itself, and that is no \
             answer of the device",
        );
    }
    let command = |(topic, _): (Filter, _)| Command {
        topic: topic.as_str().to_owned(),
        service: write.service,
        retain: write.retain,
        template: write.template.clone(),
        confirm_within: write.confirm_within,
    };
    pairs.into_iter().map(command).map(Some).collect()
}

fn session_expiry(keys: &mut Keys<'_>, version: Version) -> Duration {
    if version == Version::V3 && keys.has("session_expiry") {
        keys.wrong(
            "session_expiry",
            "it with version 3.1.1, which knows no such time",
            "version = \"5\", or no such key",
        );
        return SESSION_EXPIRY;
    }
    keys.duration("session_expiry", SESSION_EXPIRY, &SESSION_EXPIRIES)
}

fn user(keys: &mut Keys<'_>) -> Option<String> {
    let user = keys.text("user")?;
    if user.is_empty() || user.len() > USER_BYTES_MAX || user.contains(char::is_control) {
        let expected = format!("1 to {USER_BYTES_MAX} bytes of UTF-8 without control characters");
        keys.wrong("user", quoted(&user), expected);
    }
    Some(user)
}

fn last_will(mut keys: Keys<'_>) -> Will {
    let topic = keys.required("topic", "a topic such as plant/gateway1/state");
    if !topic.is_empty() && !Filter::new(&topic).is_ok_and(|topic| topic.is_plain()) {
        keys.wrong("topic", quoted(&topic), "one topic, without + and #");
    }
    let payload =
        keys.required("payload", "what is said when this gateway is gone: \"offline\"").into_bytes();
    if payload.len() > WILL_BYTES_MAX {
        keys.wrong("payload", format!("{} bytes", payload.len()), format!("at most {WILL_BYTES_MAX} bytes"));
    }
    let service = Service::of(keys.integer("qos", 1, 0..=2) as u8).unwrap_or(Service::AtLeastOnce);
    let retain = keys.flag("retain", true);
    keys.finish();
    Will { topic, payload, service, retain }
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

fn mark(written: &Scalar) -> Mark {
    match written {
        Scalar::Integer(integer) => Mark::Integer(*integer),
        Scalar::Float(float) => Mark::Float(*float),
        Scalar::Text(text) => Mark::Text(text.clone()),
    }
}
