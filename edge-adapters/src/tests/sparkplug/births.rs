//! Births, deaths, aliases: each transition of a host.

use selvedge_core::reading::{Quality, Value};

use super::Brief::{Is, Other, Stale};
use super::{Brief, Rig, aliased, named, payload, seconds, target, with_alias};
use crate::mapping::Decoded;
use crate::mqtt::sparkplug::host::{DEVICE_BIRTH_WAIT, GRACE, Target};
use crate::mqtt::sparkplug::payload::{METRICS_MAX, Metric, Payload, Template};
use crate::mqtt::sparkplug::topic::Verb;
use crate::mqtt::sparkplug::value::DataType;
use crate::mqtt::sparkplug::{ALIASES_MAX, Life};
use crate::status_code;

/// Stream 0 of the node, 1 and 2 of its device.
fn rig() -> Rig {
    Rig::new(&[target("n", "temp"), target("n/d", "level"), target("n/d", "Outputs/Valve")])
}

fn birth(bd_seq: i64) -> Payload {
    payload(0, vec![named("bdSeq", bd_seq), with_alias("temp", 1, 20), named("Node Control/Rebirth", 0)])
}

fn device_birth(seq: u64) -> Payload {
    payload(seq, vec![with_alias("level", 2, 70), with_alias("Outputs/Valve", 3, 1), named("other", 5)])
}

fn born() -> Rig {
    let mut rig = rig();
    assert_eq!(rig.say("NBIRTH/n", birth(7)), [Is(0, 20)]);
    assert_eq!(rig.say("DBIRTH/n/d", device_birth(1)), [Is(1, 70), Is(2, 1)]);
    rig
}

fn death(bd_seq: i64) -> Payload {
    payload(None, vec![named("bdSeq", bd_seq)])
}

#[test]
fn births_give_values_and_meaning_to_aliases() {
    let mut rig = born();
    assert_eq!(rig.say("DDATA/n/d", payload(2, vec![aliased(3, 0), aliased(2, 71)])), [Is(2, 0), Is(1, 71)]);
    assert_eq!(rig.say("NDATA/n", payload(3, vec![aliased(1, 21)])), [Is(0, 21)]);
    assert_eq!(rig.say("DDATA/n/d", payload(4, vec![named("level", 72)])), [Is(1, 72)], "by its name");
    assert_eq!(rig.host.complaints(), Vec::<String>::new());
    assert_eq!(rig.until(seconds(3_600)), (vec![], vec![]), "all is well: nobody is asked for anything");
    assert_eq!(rig.host.unmatched(8), (1, vec!["n/d other".to_owned()]));
}

#[test]
fn an_alias_of_one_device_says_nothing_of_another() {
    let mut rig = born();
    assert_eq!(rig.say("NDATA/n", payload(2, vec![aliased(2, 99)])), []);
    assert_eq!(rig.host.figures().unknown_metrics, 1);
}

#[test]
fn an_unknown_alias_or_name_asks_for_a_birth_and_the_rest_of_the_message_counts() {
    let mut rig = born();
    assert_eq!(rig.say("DDATA/n/d", payload(2, vec![aliased(9, 1), aliased(2, 71)])), [Is(1, 71)]);
    let (asked, out) = rig.until(seconds(1));
    assert_eq!((asked, out), (vec!["n".to_owned()], vec![]));
    assert_eq!(rig.say("NBIRTH/n", birth(7)), [Is(0, 20)]);
    let device = payload(1, vec![with_alias("level", 2, 70)]);
    // What was there and is not in the new birth has no value of now.
    assert_eq!(rig.say("DBIRTH/n/d", device), [Is(1, 70), Stale(2, status_code::NOT_IN_BIRTH)]);
    assert_eq!(rig.host.complaints(), ["the birth of \"n/d\" has no metric \"Outputs/Valve\""]);
    // It is sent all the same, with a type of its own: a value, and a birth that should name it.
    assert_eq!(rig.say("DDATA/n/d", payload(2, vec![named("Outputs/Valve", 4)])), [Is(2, 4)]);
    assert_eq!(rig.host.figures().unknown_metrics, 2);
    assert!(rig.host.due().is_some());
}

#[test]
fn data_before_a_birth_asks_for_it_and_is_taken_only_if_it_explains_itself() {
    let mut rig = rig();
    let data = payload(9, vec![aliased(2, 71), named("level", 72)]);
    assert_eq!(rig.say("DDATA/n/d", data), [Is(1, 72)]);
    let untyped = Metric { datatype: None, ..named("level", 73) };
    assert_eq!(rig.say("DDATA/n/d", payload(10, vec![untyped])), [], "who knows what its bits mean");
    assert_eq!(rig.until(seconds(0)).0, ["n"], "at once");
    assert_eq!(rig.host.complaints(), ["no birth of edge node \"n\", asked for it once"]);
    assert_eq!(rig.host.figures().before_birth, 2);
    assert_eq!(rig.say("NBIRTH/n", birth(7)), [Is(0, 20)]);
    // The device's birth is still missing.
    assert_eq!(rig.say("DDATA/n/d", payload(1, vec![aliased(2, 71)])), []);
    assert_eq!(rig.host.figures().before_birth, 3);
    assert_eq!(rig.until(seconds(5)).0, ["n"], "not before five seconds have gone by");
}

#[test]
fn after_a_connection_nodes_get_a_moment_to_be_born_by_themselves() {
    let mut rig = rig();
    assert_eq!(rig.until(GRACE.saturating_sub(seconds(1))).0, Vec::<String>::new());
    assert_eq!(rig.until(GRACE).0, ["n"]);
    let mut rig = self::born();
    assert_eq!(rig.until(seconds(60)).0, Vec::<String>::new());
    // A new connection: what happened meanwhile is not known, so what is known is of the past.
    rig.host.connected(rig.now);
    assert_eq!(rig.host.life("n"), Some(Life::Unheard));
    assert_eq!(rig.say("NDATA/n", payload(2, vec![aliased(1, 21)])), []);
    assert_eq!(rig.until(seconds(60)).0, ["n"]);
}

#[test]
fn a_death_of_the_node_makes_all_its_streams_stale_and_a_birth_refreshes_them() {
    let mut rig = born();
    let dead = status_code::NODE_DEAD;
    assert_eq!(by_stream(rig.say("NDEATH/n", death(7))), [0, 1, 2].map(|stream| Stale(stream, dead)));
    assert_eq!(rig.host.life("n"), Some(Life::Dead));
    assert_eq!(rig.host.complaints(), ["edge node \"n\" is dead"]);
    assert_eq!(rig.until(seconds(3_600)).0, Vec::<String>::new(), "nobody asks the dead");
    assert_eq!(rig.say("NBIRTH/n", birth(8)), [Is(0, 20)]);
    assert_eq!(rig.say("DBIRTH/n/d", device_birth(1)), [Is(1, 70), Is(2, 1)]);
    // One that speaks is not dead.
    rig.say("NDEATH/n", death(8));
    rig.say("NDATA/n", payload(2, vec![aliased(1, 5)]));
    assert_eq!(rig.until(rig.now).0, ["n"]);
}

/// Streams of one place come in any order.
fn by_stream(mut briefs: Vec<Brief>) -> Vec<Brief> {
    briefs.sort_by_key(|brief| format!("{brief:?}"));
    briefs
}

#[test]
fn the_late_death_of_an_older_connection_is_ignored() {
    let mut rig = born();
    assert_eq!(rig.say("NDEATH/n", death(6)), []);
    assert_eq!((rig.host.life("n"), rig.host.figures().late_deaths), (Some(Life::Born), 1));
    assert_eq!(rig.say("NDATA/n", payload(2, vec![aliased(1, 21)])), [Is(0, 21)]);
    // One without a number is believed.
    assert_eq!(rig.say("NDEATH/n", payload(None, vec![])).len(), 3);
}

#[test]
fn a_death_that_no_birth_explains_may_be_an_older_one_so_the_node_is_asked_all_the_same() {
    let mut rig = rig();
    assert_eq!(rig.say("NDEATH/n", death(6)).len(), 3);
    assert_eq!(rig.host.life("n"), Some(Life::Dead));
    assert_eq!(rig.until(GRACE).0, ["n"]);
    assert_eq!(rig.say("NBIRTH/n", birth(7)), [Is(0, 20)]);
}

#[test]
fn a_death_of_a_device_makes_its_streams_stale_alone() {
    let mut rig = born();
    let stale = rig.say("DDEATH/n/d", payload(2, vec![]));
    assert_eq!(by_stream(stale), [1, 2].map(|stream| Stale(stream, status_code::DEVICE_DEAD)));
    assert_eq!(rig.host.complaints(), ["device \"n/d\" is not there"]);
    assert_eq!(rig.say("NDATA/n", payload(3, vec![aliased(1, 21)])), [Is(0, 21)]);
    assert_eq!(rig.say("DDATA/n/d", payload(4, vec![aliased(2, 71)])), [], "its aliases died with it");
    assert_eq!(rig.until(seconds(1)).0, ["n"]);
    assert_eq!(rig.say("DBIRTH/n/d", device_birth(5)), [Is(1, 70), Is(2, 1)]);
}

#[test]
fn a_device_that_is_not_born_again_with_its_node_is_gone() {
    let mut rig = born();
    assert_eq!(rig.say("NBIRTH/n", birth(7)), [Is(0, 20)], "a birth alone makes no device stale");
    rig.until(DEVICE_BIRTH_WAIT.saturating_sub(seconds(1)));
    assert_eq!(rig.host.complaints(), Vec::<String>::new());
    let (asked, stale) = rig.until(DEVICE_BIRTH_WAIT);
    assert_eq!(by_stream(stale), [1, 2].map(|stream| Stale(stream, status_code::NOT_IN_BIRTH)));
    assert_eq!(asked, Vec::<String>::new());
    assert_eq!(rig.host.complaints(), ["device \"n/d\" is not there"]);
    assert_eq!(rig.say("DBIRTH/n/d", device_birth(1)), [Is(1, 70), Is(2, 1)]);
}

#[test]
fn an_alias_that_stands_for_two_metrics_gives_no_value() {
    let mut rig = Rig::new(&[target("n", "a"), target("n", "b")]);
    rig.say("NBIRTH/n", payload(0, vec![with_alias("a", 1, 1), with_alias("b", 1, 2)]));
    assert_eq!(rig.say("NDATA/n", payload(1, vec![aliased(1, 3)])), []);
    assert_eq!(rig.host.complaints(), ["an alias of \"n\" stands for two metrics"]);
}

#[test]
fn a_stream_that_expects_another_type_is_bad() {
    let float = Target { kind: Some(DataType::Float), ..target("n", "temp") };
    let mut rig = Rig::new(&[float, target("n", "temp")]);
    let bad = Decoded::bad(status_code::OTHER_TYPE);
    assert_eq!(rig.say("NBIRTH/n", birth(7)), [Other(0, bad), Is(1, 20)], "and its neighbour is not");
}

#[test]
fn null_is_unknown_and_no_zero() {
    let mut rig = born();
    let null = Metric { alias: Some(1), is_null: Some(true), ..Metric::default() };
    let unknown = Decoded { value: Value::None, quality: Quality::NotAvailable, status: 0 };
    assert_eq!(rig.say("NDATA/n", payload(2, vec![null])), [Other(0, unknown)]);
    // Neither null nor a value.
    let nothing = Metric { alias: Some(1), ..Metric::default() };
    let bad = Decoded::bad(status_code::UNDECODABLE);
    assert_eq!(rig.say("NDATA/n", payload(3, vec![nothing])), [Other(0, bad)]);
}

#[test]
fn members_of_templates_are_metrics() {
    use prost::Message as _;
    let template = |speed, is_definition| {
        let inner = Template { metrics: vec![named("Current", 4)], ..Template::default() };
        let drive = Metric { template_value: Some(inner.encode_to_vec()), ..named("Drive", 0) };
        let metrics = vec![named("Speed", speed), named("Unasked", 1), drive];
        let template = Template { metrics, is_definition: Some(is_definition), ..Template::default() };
        Some(template.encode_to_vec())
    };
    let mut rig = Rig::new(&[target("n", "Motor/Speed"), target("n", "Motor/Drive/Current")]);
    let motor = |speed| Metric {
        datatype: Some(DataType::Template as u32),
        long_value: None,
        template_value: template(speed, false),
        ..with_alias("Motor", 5, 0)
    };
    let definition =
        Metric { name: Some(b"Motor".to_vec()), template_value: template(9, true), ..Metric::default() };
    assert_eq!(rig.say("NBIRTH/n", payload(0, vec![definition, motor(50)])), [Is(0, 50), Is(1, 4)]);
    let data = Metric { name: None, datatype: None, ..motor(60) };
    assert_eq!(rig.say("NDATA/n", payload(1, vec![data])), [Is(0, 60), Is(1, 4)]);
    assert_eq!(rig.host.complaints(), Vec::<String>::new());
}

#[test]
fn nodes_and_devices_without_streams_are_not_kept_but_count_in_the_sequence() {
    let mut rig = born();
    assert_eq!(rig.say("DBIRTH/n/unknown", device_birth(2)), []);
    assert_eq!(rig.say("DDATA/n/unknown", payload(3, vec![aliased(3, 0)])), []);
    assert_eq!(rig.say("NDATA/n", payload(4, vec![aliased(1, 21)])), [Is(0, 21)]);
    assert_eq!(rig.host.figures().gaps, 0);
    let mut out = Vec::new();
    assert!(!rig.host.message(Verb::Birth, &super::place("m"), Ok(birth(1)), rig.came(), &mut out));
    assert!(out.is_empty() && rig.host.life("m").is_none());
}

#[test]
fn aliases_are_bounded_over_all_nodes() {
    let nodes = ALIASES_MAX / METRICS_MAX + 1;
    let targets: Vec<_> = (0..nodes).map(|node| target(&format!("n{node}"), "a")).collect();
    let mut rig = Rig::new(&targets);
    let metrics: Vec<_> = (0..METRICS_MAX as u64).map(|n| with_alias(&format!("m{n}"), n, 0)).collect();
    for node in 0..nodes {
        rig.say(&format!("NBIRTH/n{node}"), payload(0, metrics.clone()));
    }
    assert!(rig.host.aliases() <= ALIASES_MAX);
    // The last one's did not fit: an alias of it may be one of those, so nobody is asked for ever.
    rig.say(&format!("NDATA/n{}", nodes - 1), payload(1, vec![aliased(5, 1)]));
    assert_eq!(rig.host.figures().unknown_metrics, 0);
    // What a node had makes room for its next birth.
    rig.say("NBIRTH/n0", payload(0, vec![with_alias("a", 1, 0)]));
    assert_eq!(rig.say("NDATA/n0", payload(1, vec![aliased(1, 5)])), [Is(0, 5)]);
}
