//! Devices of the protocol `sparkplug`: one group of edge nodes at one broker each.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::{CONFIRM_WITHIN, broker, mark};
use crate::adapter::{Head, StreamSpec};
use crate::config::keys::{Keys, quoted};
use crate::config::stream::Common;
use crate::mqtt::client::Service;
use crate::mqtt::payload::Mark;
use crate::mqtt::sparkplug::host::{Policy, Target};
use crate::mqtt::sparkplug::reader::Settings;
use crate::mqtt::sparkplug::state::{Form, HostState};
use crate::mqtt::sparkplug::topic::{ID_BYTES_MAX, Place, is_id};
use crate::mqtt::sparkplug::value::DataType;
use crate::mqtt::topic::TOPIC_BYTES_MAX;
use crate::mqtt::{Mqtt, one_name};

const REORDER: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(1);
/// Longest group and host id: the topics that are made of them are filters.
const GROUP_BYTES_MAX: usize = TOPIC_BYTES_MAX - "spBv1.0/STATE/".len();
/// Longest name of a metric.
const METRIC_BYTES_MAX: usize = 256;

/// What one entry gives.
struct Entry {
    target: Target,
    marks: Vec<Mark>,
    confirm_within: Duration,
    spec: StreamSpec,
}

/// Reads the keys of one group.
pub(in crate::config) fn device(keys: &mut Keys<'_>, head: Head) -> Mqtt {
    let mut mqtt = broker(keys, head);
    // Edge nodes publish with quality of service 0, and their wills with 1 (section 4.2).
    mqtt.service =
        if keys.integer("qos", 1, 0..=1) == 0 { Service::AtMostOnce } else { Service::AtLeastOnce };
    let group = id(keys, "group", Some("the group of the edge nodes: the second level of their topics"));
    let form = keys.choice("state", Form::New, &[("3.0", Form::New), ("2.2", Form::Old)]);
    let host_id = keys.has("host_id").then(|| id(keys, "host_id", None));
    let policy = Policy {
        rebirth: keys.flag("rebirth", true),
        reorder: keys.duration("reorder", Duration::ZERO, &REORDER),
    };
    let broker = format!("{}:{}", mqtt.host.to_ascii_lowercase(), mqtt.port);
    let mut settings = Settings {
        group,
        state: host_id.map(|id| HostState::new(id, form)),
        policy,
        targets: Vec::new(),
        marks: Vec::new(),
        confirm_within: Vec::new(),
        broker: format!("{}:{}", one_name(&mqtt.host), mqtt.port),
    };
    for mut table in keys.streams() {
        let entry = entry(&mut table, &mqtt.head, &format!("sparkplug {broker} {}", settings.group));
        settings.targets.push(entry.target);
        settings.marks.push(entry.marks);
        settings.confirm_within.push(entry.confirm_within);
        mqtt.streams.push(entry.spec);
        table.finish();
    }
    mqtt.filters = settings.filters();
    mqtt.layered = Some(Arc::new(settings));
    mqtt
}

/// A name within topics. With `expected` it must be there.
fn id(keys: &mut Keys<'_>, key: &'static str, expected: Option<&str>) -> String {
    let written = match expected {
        Some(expected) => keys.required(key, expected),
        None => keys.text(key).unwrap_or_default(),
    };
    let most = if matches!(key, "group" | "host_id") { GROUP_BYTES_MAX } else { ID_BYTES_MAX };
    if keys.has(key) && (!is_id(&written) || written.len() > most || (key == "group" && written == "STATE")) {
        let expected = format!("one level of a topic: 1 to {most} bytes without +, # and /, and not STATE");
        keys.wrong(key, quoted(&written), expected);
    }
    written
}

fn entry(keys: &mut Keys<'_>, head: &Head, place: &str) -> Entry {
    let mut confirm_within = Duration::from_secs(5);
    let common = Common::read(keys, |table| {
        confirm_within = table.duration("confirm_within", confirm_within, &CONFIRM_WITHIN);
    });
    let node = id(keys, "node", Some("the edge node: the fourth level of its topics"));
    let device = keys.has("device").then(|| id(keys, "device", None));
    let metric = keys.required("metric", "a metric as births name it, such as Outputs/Level");
    if keys.has("metric") && !(1..=METRIC_BYTES_MAX).contains(&metric.len()) {
        keys.wrong("metric", quoted(&metric), format!("1 to {METRIC_BYTES_MAX} bytes"));
    }
    let kind = kind(keys);
    let at = Place { node, device };
    let source_type = kind.map_or_else(|| "sparkplug metric".to_owned(), |kind| format!("sparkplug {kind}"));
    let spec = common.spec(keys, head, format!("{place} {at} metric {metric}"), source_type);
    let marks = common.not_available.iter().map(mark).collect();
    Entry { target: Target { place: at, metric, kind }, marks, confirm_within, spec }
}

fn kind(keys: &mut Keys<'_>) -> Option<DataType> {
    let written = keys.text("type")?;
    let kind = DataType::named(&written);
    if kind.is_none() {
        let names: Vec<String> = DataType::ALL.iter().map(ToString::to_string).collect();
        keys.wrong("type", quoted(&written), format!("one of {}", names.join(", ")));
    }
    kind
}
