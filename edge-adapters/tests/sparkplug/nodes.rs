//! What edge nodes say, and what becomes of it when they die, come back, or lose messages.

use edge_adapters::{DeviceState, status_code};
use selvedge_core::reading::{Quality, Value};

use super::{
    Broker, COUNT, LEVEL, Look as _, Rig, TEMPERATURE, TEXT, TOTAL, VALVE, are_good, are_stale, config,
    edge_node, host, shows,
};

const ALL: [u32; 6] = [TEMPERATURE, COUNT, LEVEL, VALVE, TEXT, TOTAL];
const OF_DEVICE: [u32; 4] = [LEVEL, VALVE, TEXT, TOTAL];

#[tokio::test]
async fn births_and_aliased_data_of_every_kind() {
    let broker = Broker::start();
    let mut rig = host(&broker, "").await;
    let mut node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;
    let value = |rig: &Rig, stream| rig.last(stream).expect("it is good").value.clone();
    assert_eq!(value(&rig, TEMPERATURE), Value::Float(20.5));
    assert_eq!(value(&rig, COUNT), Value::Unsigned(4_294_967_295));
    // Its sign travels extended to 32 bits.
    assert_eq!(value(&rig, LEVEL), Value::Int(-7));
    assert_eq!(value(&rig, VALVE), Value::Bool(true));
    assert_eq!(value(&rig, TEXT), Value::Text("läuft".into()));
    assert_eq!(value(&rig, TOTAL), Value::Int(-5_000_000_000));
    rig.is(DeviceState::Up).await;
    let figures = rig.figures();
    assert_eq!((figures.births, figures.metrics_unmatched), (2, 2));
    assert_eq!(figures.unmatched_metrics, ["line1/filler Stuck", "line1/filler Unasked"]);

    node.command("data Outputs/Level 32767");
    let reading = shows(&mut rig, LEVEL, Value::Int(32_767)).await;
    let age_ms = (reading.receive_time_ns - reading.source_time_ns) / 1_000_000;
    assert!((0..60_000).contains(&age_ms), "the metric's own time, {age_ms} ms ago");
    node.command("named Text \"steht\"");
    shows(&mut rig, TEXT, Value::Text("steht".into())).await;

    // Unknown is not zero, and bad is bad whatever the number is.
    node.command("data Temperature null");
    node.command("bad Count 5");
    let of =
        |quality| move |rig: &Rig, stream| rig.last(stream).filter(|last| last.quality == quality).cloned();
    let unknown = rig.until("unknown", |rig| of(Quality::NotAvailable)(rig, TEMPERATURE)).await;
    assert_eq!(unknown.value, Value::None);
    let bad = rig.until("bad", |rig| of(Quality::Bad)(rig, COUNT)).await;
    assert_eq!((bad.value, bad.status), (Value::Unsigned(5), status_code::SOURCE_BAD));

    // What the node had stored has its own time, and is not what a later death makes stale.
    node.command("old Outputs/Level 12 1700000000000");
    let old = shows(&mut rig, LEVEL, Value::Int(12)).await;
    assert_eq!(old.source_time_ns, 1_700_000_000_000_000_000);
    node.kill();
    let stale = are_stale(&mut rig, &[LEVEL]).await;
    assert_eq!(stale[0].value, Value::Int(32_767));
    assert_eq!(stale[0].source_time_ns, reading.source_time_ns);
}

#[tokio::test]
async fn a_node_that_was_there_before_is_asked_for_its_births() {
    let broker = Broker::start();
    let mut node = edge_node(&broker, 0, 1);
    // It says that it is ready when its births are on their way: one that comes later needs no asking.
    crate::support::eventually("the births", || {
        let is_birth = |line: &String| line.contains("Received PUBLISH") && line.contains("/DBIRTH/");
        if broker.log().iter().any(is_birth) { Ok(()) } else { Err("not yet") }
    });
    let mut rig = Rig::start(&config(&broker, ""));
    are_good(&mut rig).await;
    rig.is(DeviceState::Up).await;
    assert!(rig.figures().rebirths_asked >= 1 && node.ask("ask")["rebirths"].as_u64() >= Some(1));
    // Somebody else asks for a birth: all but the level says nothing new, and is not recorded again.
    node.command("set Outputs/Level 5");
    node.command("birth");
    shows(&mut rig, LEVEL, Value::Int(5)).await;
    // What comes after it has come, so all of the birth has.
    node.command("data Temperature 21");
    shows(&mut rig, TEMPERATURE, Value::Float(21.0)).await;
    let values = |stream| rig.of(stream).iter().map(|reading| reading.value.clone()).collect::<Vec<_>>();
    assert_eq!(values(TEMPERATURE), [Value::Float(20.5), Value::Float(21.0)]);
    assert_eq!(values(LEVEL), [Value::Int(-7), Value::Int(5)]);
    for stream in [COUNT, VALVE, TEXT, TOTAL] {
        assert_eq!(values(stream).len(), 1, "{stream}: {:?}", values(stream));
    }
    // Each birth but the first says again what all streams showed, but for the level once.
    let births = rig.figures().births;
    let repeated = rig.device().messages.map(|messages| messages.repeats_dropped);
    assert!(births >= 4 && births.is_multiple_of(2), "node and device, twice at least: {births}");
    assert_eq!(repeated, Some(ALL.len() as u64 * (births / 2 - 1) - 1));
}

#[tokio::test]
async fn a_killed_node_makes_its_streams_stale_and_its_restart_with_other_aliases_does_not_mix_them_up() {
    let broker = Broker::start();
    let mut rig = host(&broker, "").await;
    let node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;
    let asked = rig.figures().rebirths_asked;
    let before: Vec<_> = ALL.iter().map(|stream| rig.last(*stream).cloned().expect("good")).collect();
    node.kill();
    for (stale, before) in are_stale(&mut rig, &ALL).await.iter().zip(&before) {
        assert_eq!((&stale.value, stale.source_time_ns), (&before.value, before.source_time_ns));
        assert_eq!(stale.status, status_code::NODE_DEAD);
        // The will was made when the connection was; the death is of now.
        assert!(stale.receive_time_ns > before.receive_time_ns);
    }
    let snapshot = rig.is(DeviceState::Degraded).await;
    assert_eq!(snapshot.error.as_deref(), Some("edge node \"line1\" is dead"));

    // 3 was the level, and is the temperature now.
    let mut node = edge_node(&broker, 1, 3);
    are_good(&mut rig).await;
    node.command("data Temperature 99.5");
    shows(&mut rig, TEMPERATURE, Value::Float(99.5)).await;
    assert_eq!(rig.last(LEVEL).expect("good").value, Value::Int(-7));
    rig.is(DeviceState::Up).await;

    // The will of the connection before comes late.
    node.command("death 0");
    node.command("data Temperature 98.5");
    shows(&mut rig, TEMPERATURE, Value::Float(98.5)).await;
    assert_eq!((rig.figures().late_deaths, rig.figures().deaths), (1, 1));
    assert_eq!(rig.figures().rebirths_asked, asked, "births came by themselves");
}

#[tokio::test]
async fn a_missing_message_makes_streams_stale_until_the_birth_that_is_asked_for() {
    let broker = Broker::start();
    let mut rig = host(&broker, "").await;
    let mut node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;
    let asked = rig.figures().rebirths_asked;
    node.command("gap");
    node.command("data Outputs/Level 8");
    shows(&mut rig, LEVEL, Value::Int(8)).await;
    are_good(&mut rig).await;
    let stale = rig.of(VALVE).into_iter().filter(|reading| reading.quality == Quality::Stale).count();
    assert_eq!((stale, rig.figures().gaps), (1, 1));
    assert!(rig.figures().rebirths_asked > asked && node.ask("ask")["rebirths"].as_u64() >= Some(1));
    rig.is(DeviceState::Up).await;
}

#[tokio::test]
async fn an_alias_that_no_birth_has_asks_for_one() {
    let broker = Broker::start();
    let mut rig = host(&broker, "").await;
    let mut node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;
    node.command("set Count 6");
    node.command("alias 77");
    shows(&mut rig, COUNT, Value::Unsigned(6)).await;
    assert_eq!(rig.figures().unknown_metrics, 1);
    assert!(rig.figures().rebirths_asked >= 1);
    assert!(rig.readings.iter().all(|reading| reading.quality != Quality::Stale), "nothing was missing");
}

#[tokio::test]
async fn a_device_dies_and_comes_back_and_its_node_goes_on() {
    let broker = Broker::start();
    let mut rig = host(&broker, "").await;
    let mut node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;
    node.command("ddeath");
    let stale = are_stale(&mut rig, &OF_DEVICE).await;
    assert!(stale.iter().all(|reading| reading.status == status_code::DEVICE_DEAD));
    assert_eq!(rig.last(COUNT).expect("good").quality, Quality::Good);
    rig.is(DeviceState::Degraded).await;
    node.command("data Count 7");
    shows(&mut rig, COUNT, Value::Unsigned(7)).await;
    node.command("dbirth");
    are_good(&mut rig).await;
    rig.is(DeviceState::Up).await;
    assert_eq!(rig.figures().gaps, 0);
}

#[tokio::test]
async fn after_a_restart_of_the_broker_all_is_asked_for_and_comes_back() {
    let mut broker = Broker::start();
    let mut rig = host(&broker, "").await;
    let _node = edge_node(&broker, 0, 1);
    are_good(&mut rig).await;
    broker.off();
    let stale = are_stale(&mut rig, &ALL).await;
    assert!(stale.iter().all(|reading| reading.status == status_code::CLOSED));
    broker.on();
    are_good(&mut rig).await;
    rig.is(DeviceState::Up).await;
    let sessions_lost = rig.device().messages.map(|messages| messages.sessions_lost);
    assert_eq!(sessions_lost, Some(0), "a clean session is not lost");
}
