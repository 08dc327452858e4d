//! Groups of Sparkplug: a device each, and a stream for each metric that a birth named.

use std::collections::BTreeMap;

use selvedge_core::limits::TEXT_FIELD_BYTES_MAX;

use super::super::births::Metric;
use super::super::kind::PayloadKind;
use super::super::{Report, TopicReport};
use super::{Proposal, STREAMS_MAX, quoted};
use crate::config::compose::one_line;
use crate::config::unit::of_symbol;
use crate::mqtt::sparkplug::topic::{Place, Topic, Verb};
use crate::mqtt::sparkplug::value::DataType;

/// Longest name of a device that is made of a group's.
const DEVICE_BYTES_MAX: usize = 40;
/// Births hold all metrics at once, and those of a large node are longer than a megabyte.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// What was seen of a node or device: its birth, if that came.
type Places<'a> = BTreeMap<Place, Option<&'a TopicReport>>;

/// All groups that said something.
pub(super) fn groups(proposal: &mut Proposal<'_>, report: &Report) {
    let groups = seen(report);
    for (number, (group, places)) in groups.iter().enumerate() {
        let name = if groups.len() == 1 {
            "sparkplug".to_owned()
        } else {
            // With the number no two have one name, however alike they are after the cut.
            let shown = one_line(group);
            format!("sparkplug-{}-{}", number + 1, &shown[..shown.floor_char_boundary(DEVICE_BYTES_MAX)])
        };
        one(proposal, group, &name, places);
    }
}

/// Edge nodes and devices that said something, and whose birth did not come: `bottling/line1`.
pub fn unborn(report: &Report) -> Vec<String> {
    let groups = seen(report);
    let places = groups.iter().flat_map(|(group, places)| places.iter().map(move |of| (group, of)));
    let unborn = places.filter(|(_, (_, birth))| birth.is_none());
    unborn.map(|(group, (place, _))| one_line(&format!("{group}/{place}"))).collect()
}

/// By group.
fn seen(report: &Report) -> BTreeMap<String, Places<'_>> {
    let mut groups: BTreeMap<String, Places<'_>> = BTreeMap::new();
    for topic in report.topics.iter().filter(|topic| topic.kind == PayloadKind::Sparkplug) {
        if let Some(Topic::Of { group, verb, place }) = Topic::parse(&topic.topic)
            && group != "STATE"
            && verb != Verb::Command
        {
            let birth = groups.entry(group).or_default().entry(place).or_default();
            if verb == Verb::Birth {
                *birth = Some(topic);
            }
        }
    }
    groups
}

/// One group. The device is there only if it has streams.
fn one(proposal: &mut Proposal<'_>, group: &str, name: &str, places: &Places<'_>) {
    let (before, streams) = (std::mem::take(&mut proposal.out), proposal.names.len());
    for (place, birth) in places {
        let Some(birth) = birth else {
            missing(proposal, group, place);
            continue;
        };
        for metric in &birth.metrics {
            stream(proposal, group, place, metric);
        }
        if birth.fields_left_out > 0 {
            proposal.comment(birth, &format!("{} further metrics are left out", birth.fields_left_out));
        }
    }
    let body = std::mem::replace(&mut proposal.out, before);
    if proposal.names.len() > streams {
        let more = [format!("group = {}", quoted(group)), format!("max_packet_bytes = {PACKET_BYTES_MAX}")];
        proposal.device(name, "sparkplug", &more);
    }
    proposal.out.push_str(&body);
}

/// A node or device that said something, but not what its metrics are.
fn missing(proposal: &mut Proposal<'_>, group: &str, place: &Place) {
    proposal.line(&format!(
        "\n# {}: no birth of it came, and only births name metrics; brokers keep none. Restart this edge node while you \
         listen,\n# or listen with --rebirth, which asks it for its births",
        one_line(&format!("{group}/{place}"))
    ));
}

fn stream(proposal: &mut Proposal<'_>, group: &str, place: &Place, metric: &Metric) {
    let kind = metric.kind.as_deref().and_then(DataType::named);
    if kind.is_some_and(|kind| !kind.is_plain()) || one_line(&metric.name) != metric.name {
        let kind = metric.kind.as_deref().unwrap_or("of no known type");
        proposal
            .line(&format!("\n# {}: {kind}; left out", one_line(&format!("{place} metric {}", metric.name))));
        return;
    }
    // A descriptor says where the value is: `sparkplug ADDRESS GROUP NODE/DEVICE metric METRIC`.
    let place_bytes =
        proposal.head.address.len() + group.len() + place.to_string().len() + metric.name.len() + 24;
    if proposal.names.len() >= STREAMS_MAX || place_bytes > TEXT_FIELD_BYTES_MAX || metric.name.is_empty() {
        proposal.left_out += 1;
        return;
    }
    let name = proposal.unique(&format!("{place}/{}", metric.name));
    proposal.line("\n[[device.stream]]");
    proposal.line(&format!("name = {}", quoted(&name)));
    proposal.line(&format!("node = {}", quoted(&place.node)));
    if let Some(device) = &place.device {
        proposal.line(&format!("device = {}", quoted(device)));
    }
    proposal.line(&format!("metric = {}", quoted(&metric.name)));
    let example = one_line(&metric.example);
    let seen = if example.is_empty() { String::new() } else { format!("     # seen last: {example}") };
    match kind {
        Some(kind) => proposal.line(&format!("type = \"{kind}\"{seen}")),
        None => proposal.line(&format!("# a type that is not known{seen}")),
    }
    match metric.unit.as_deref().map(|unit| (unit, of_symbol(unit))) {
        None => {}
        Some((_, Some(ucum))) => proposal.line(&format!("unit = {}", quoted(ucum))),
        // What is written here stands in proofs, as UCUM: no guess.
        Some((unit, None)) => {
            proposal
                .line(&format!("#unit = \"\"     # its birth says {:?}; write it as UCUM", one_line(unit)));
        }
    }
}
