//! Sessions with mosquitto, of both versions: what comes, what is kept, what is lost, and what is said of it.

use edge_adapters::DeviceState;
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, Quality, Value};

use crate::broker::Broker;
use crate::rig::{Rig, numbers};

fn device(port: u16, version: &str, more: &str) -> String {
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{port}\"\nversion = \"{version}\"\n{more}\n\
         [[device.stream]]\nname = \"count\"\ntopic = \"plant/count\"\ntype = \"u64\"\n"
    )
}

const VERSIONS: [&str; 2] = ["3.1.1", "5"];

#[tokio::test]
async fn each_version_brings_all_at_each_quality_of_service_in_order() {
    let broker = Broker::start();
    for (at, version) in VERSIONS.into_iter().enumerate() {
        for qos in 0..3 {
            let mut rig = Rig::start(&device(
                broker.port,
                version,
                &format!("qos = {qos}\nclient_id = \"v{at}q{qos}\""),
            ));
            rig.is(DeviceState::Up).await;
            for number in 0..20 {
                broker.publish("plant/count", qos, &number.to_string(), &[]);
            }
            assert_eq!(rig.has(0, 20).await, numbers(0..20), "version {version} at {qos}");
            assert!(rig.readings.iter().all(|reading| reading.flags == 0));
            assert_eq!(rig.origins.len(), if qos == 0 { 0 } else { 20 });
        }
    }
    let log = broker.log();
    assert!(log.iter().any(|line| line.contains("as v1q2 (p5,")), "it was MQTT 5: {log:#?}");
}

/// Complaint 1, and the part of 6 that is a session which is kept: without subscribing again nothing would come after
/// the restart; without a persistent session what came meanwhile would be lost.
#[tokio::test]
async fn a_broker_that_restarts_in_order_keeps_what_came_meanwhile() {
    for version in VERSIONS {
        let mut broker = Broker::start();
        let toml = device(broker.port, version, "");
        let mut rig = Rig::start(&toml);
        rig.is(DeviceState::Up).await;
        broker.publish("plant/count", 1, "0", &[]);
        assert_eq!(rig.has(0, 1).await, numbers(0..1));
        broker.end();
        rig.is(DeviceState::Down).await;
        let stale = rig.readings.last().expect("a reading");
        assert_eq!((stale.quality, &stale.value), (Quality::Stale, &Value::Unsigned(0)), "{version}");
        broker.on();
        rig.is(DeviceState::Up).await;
        broker.publish("plant/count", 1, "1", &[]);
        rig.has(0, 2).await;
        // Now the gateway is away, and the broker restarts meanwhile.
        let origins = rig.origins.clone();
        drop(rig);
        broker.publish("plant/count", 1, "2", &[]);
        broker.end();
        broker.on();
        broker.publish("plant/count", 1, "3", &[]);
        let mut rig = Rig::with(&toml, &origins, None);
        assert_eq!(rig.has(0, 2).await, numbers(2..4), "{version}");
        assert_eq!(rig.device().messages.expect("figures").sessions_lost, 0);
    }
}

/// Complaint 6. Fails without the subscription that follows each session that is new.
#[tokio::test]
async fn a_broker_that_loses_the_session_is_subscribed_to_again_and_it_shows() {
    for version in VERSIONS {
        let mut broker = Broker::start();
        let mut rig = Rig::start(&device(broker.port, version, ""));
        rig.is(DeviceState::Up).await;
        broker.publish("plant/count", 1, "0", &[]);
        rig.has(0, 1).await;
        broker.end();
        broker.forget();
        rig.is(DeviceState::Down).await;
        broker.on();
        rig.is(DeviceState::Up).await;
        // The same content under the same packet id: ids begin again with the session, so it is no repetition.
        broker.publish("plant/count", 1, "0", &[]);
        broker.publish("plant/count", 1, "1", &[]);
        assert_eq!(
            rig.has(0, 3).await,
            [Value::Unsigned(0), Value::Unsigned(0), Value::Unsigned(1)],
            "{version}"
        );
        let figures = rig.device().messages.expect("figures");
        assert_eq!((figures.sessions_lost, figures.repeats_dropped), (1, 0), "{version}");
        assert!(rig.readings.iter().all(|reading| reading.flags & FLAG_POSSIBLY_REPEATED == 0));
    }
}

/// A broker whose plug was pulled: TCP says it at once here, and the values go on when it is back.
#[tokio::test]
async fn a_killed_broker_comes_back() {
    let mut broker = Broker::start();
    let mut rig = Rig::start(&device(broker.port, "5", ""));
    rig.is(DeviceState::Up).await;
    broker.off();
    rig.is(DeviceState::Down).await;
    broker.on();
    rig.is(DeviceState::Up).await;
    broker.publish("plant/count", 1, "7", &[]);
    assert_eq!(rig.has(0, 1).await, numbers(7..8));
}

#[tokio::test]
async fn a_last_will_is_published_when_the_gateway_is_gone() {
    for version in VERSIONS {
        let broker = Broker::start();
        let will =
            "[device.last_will]\ntopic = \"plant/gateway\"\npayload = \"offline\"\nqos = 1\nretain = true";
        let mut rig = Rig::start(&device(broker.port, version, will));
        rig.is(DeviceState::Up).await;
        let watch = device(broker.port, version, "client_id = \"watch\"")
            .replace("plant/count", "plant/gateway")
            .replace("u64", "string");
        let mut watching = Rig::start(&watch);
        watching.is(DeviceState::Up).await;
        drop(rig);
        let said = watching.has(0, 1).await;
        assert_eq!(said, [Value::Text("offline".into())], "{version}");
    }
}

#[tokio::test]
async fn two_clients_with_one_id_are_told_of_each_other() {
    let broker = Broker::start();
    let toml = device(broker.port, "5", "client_id = \"one\"");
    let mut first = Rig::start(&toml);
    first.is(DeviceState::Up).await;
    let mut second = Rig::start(&toml);
    second.is(DeviceState::Up).await;
    // This mosquitto closes without a word, whatever the version; others give reason 0x8E.
    first.is_down("another client uses this client id").await;
}

#[tokio::test]
async fn rows_of_a_logger_become_readings() {
    let broker = Broker::start();
    let toml = format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{}\"\n\
         [[device.stream]]\nname = \"temperature\"\ntopic = \"logger/row\"\nformat = \"csv\"\nheader = true\n\
         column = \"temperature\"\ntime = \"t\"\nseparator = \";\"\ndecimal_comma = true\ntype = \"f64\"\nunit = \"Cel\"\n\
         [[device.stream]]\nname = \"rpm\"\ntopic = \"logger/row\"\nformat = \"csv\"\nheader = true\ncolumn = 3\n\
         separator = \";\"\ntype = \"i64\"\n",
        broker.port
    );
    let mut rig = Rig::start(&toml);
    rig.is(DeviceState::Up).await;
    broker.publish("logger/row", 1, "t;temperature;rpm\n1700000000250;21,5;1450\n", &[]);
    assert_eq!(rig.has(0, 1).await, [Value::Float(21.5)]);
    assert_eq!(rig.has(1, 1).await, [Value::Int(1450)]);
    let timed = rig.readings.iter().find(|reading| reading.stream.0 == 0).expect("it is there");
    assert_eq!(timed.source_time_ns, 1_700_000_000_250_000_000);
}
