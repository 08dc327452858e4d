//! A gateway that subscribes to a real mosquitto: nothing that was acknowledged is lost, and nothing is recorded twice,
//! whatever dies, and between whichever two packets.
//!
//! Publishers count, so a number that is missing was lost and one that stands twice was doubled. `SELVEDGE_KILLS` sets
//! how often the gateway is killed, `SELVEDGE_SEED` when.

use std::ops::RangeInclusive;
use std::time::Duration;

use selvedge_tests::broker::{Broker, Packet, Publisher, Way};
use selvedge_tests::process::Signal;
use selvedge_tests::site::{Site, runs};
use selvedge_tests::{Random, eventually, from_env};
use serde_json::Value;

/// A `[[device]]` for each quality of service: a broker's client has one.
fn device(port: u16, qos: u8) -> String {
    format!(
        "[[device]]\nname = \"broker{qos}\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{port}\"\nqos = {qos}\n\n\
         [[device.stream]]\nname = \"count{qos}\"\ntopic = \"count/{qos}\"\ntype = \"u64\"\n\n"
    )
}

/// Waits until these devices are in this state; returns the status.
fn devices_are(site: &Site, state: &str) -> Value {
    eventually(&format!("devices that are {state}"), || {
        let status = site.status();
        let devices = status["devices"].as_array().expect("a list");
        if !devices.is_empty() && devices.iter().all(|device| device["state"] == state) {
            Ok(status)
        } else {
            Err(status)
        }
    })
}

/// All good readings of a stream, in order: number and flags.
fn numbers(site: &Site, stream: &str) -> Vec<(u64, Vec<Value>)> {
    let readings = site.readings(stream);
    for (expected, reading) in (0_u64..).zip(&readings) {
        assert_eq!(
            reading["counter"].as_u64(),
            Some(expected),
            "{stream} has a gap or a repetition: {reading}"
        );
    }
    // A stale one repeats the last number by design, and says so.
    let good = readings.iter().filter(|reading| reading["quality"] == "good");
    good.map(|reading| {
        let flags = reading["flags"].as_array().expect("a list").clone();
        (reading["value"].as_u64().expect("a number"), flags)
    })
    .collect()
}

/// Waits for `0..count`, and checks that they are all there is, each once, in order and without a mark.
fn has_all(site: &Site, stream: &str, count: u64) {
    eventually(&format!("{count} readings of {stream}"), || {
        let done = site.ask(&["export", "--stream", stream, "--format", "jsonl"]);
        if done.out.lines().filter(|line| line.contains("\"good\"")).count() as u64 >= count {
            Ok(())
        } else {
            Err(done)
        }
    });
    let found = numbers(site, stream);
    let flagged = found.iter().filter(|(_, flags)| !flags.is_empty()).map(|(number, _)| *number);
    let is_there = |number: &u64| found.iter().any(|(there, _)| there == number);
    let missing = runs_of((0..count).filter(|number| !is_there(number)));
    let (flagged, order) = (runs_of(flagged), runs_of(found.iter().map(|(number, _)| *number)));
    assert!(
        missing.is_empty() && flagged.is_empty() && order.len() == 1 && found.len() as u64 == count,
        "{stream}: {} of {count}; missing {missing:?}, flagged {flagged:?}, in this order {order:?}",
        found.len()
    );
}

/// Numbers as runs that count up by one.
fn runs_of(numbers: impl IntoIterator<Item = u64>) -> Vec<RangeInclusive<u64>> {
    let mut runs: Vec<RangeInclusive<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(last) if last.end() + 1 == number => *last = *last.start()..=number,
            _ => runs.push(number..=number),
        }
    }
    runs
}

fn say(publisher: &mut Publisher, numbers: std::ops::Range<u64>) {
    for number in numbers {
        publisher.say(&number.to_string());
    }
}

/// Waits until the status, which follows what happens within a moment, says this of a broker's messages.
fn figure_is(site: &Site, name: &str, expected: u64) {
    eventually(&format!("{expected} {name}"), || {
        let status = site.status();
        let found = status["devices"][0]["messages"][name].as_u64().unwrap_or(0);
        if found == expected { Ok(()) } else { Err(status) }
    });
}

#[test]
fn each_quality_of_service_brings_all_in_order() {
    let broker = Broker::start();
    let site = Site::new();
    let devices: String = (0..3).map(|qos| device(broker.port(), qos)).collect();
    site.configure(&devices);
    let node = site.run();
    devices_are(&site, "up");
    let mut publishers: Vec<_> = (0..3).map(|qos| broker.publisher(&format!("count/{qos}"), qos)).collect();
    for number in 0..2_000 {
        for publisher in &mut publishers {
            publisher.say(&number.to_string());
        }
    }
    publishers.into_iter().for_each(Publisher::finish);
    for qos in 0..3 {
        has_all(&site, &format!("count{qos}"), 2_000);
    }
    assert!(site.status()["devices"].as_array().expect("a list").iter().all(|device| device["dropped"] == 0));
    node.end_with(Signal::TERM).expect(0);
    site.prove("count2", &site.beside("count.proof"));
}

#[test]
fn a_broker_that_is_off_at_the_start_and_restarts_loses_nothing_for_it() {
    let mut broker = Broker::off();
    let site = Site::new();
    site.configure(&(device(broker.port(), 1) + &device(broker.port(), 2)));
    let node = site.run();
    devices_are(&site, "down");
    broker.switch_on();
    devices_are(&site, "up");
    let publish = |broker: &Broker, numbers: std::ops::Range<u64>| {
        for qos in [1, 2] {
            let mut publisher = broker.publisher(&format!("count/{qos}"), qos);
            say(&mut publisher, numbers.clone());
            publisher.finish();
        }
    };
    publish(&broker, 0..50);
    has_all(&site, "count1", 50);
    broker.switch_off();
    devices_are(&site, "down");
    let stale = site.readings("count1").last().cloned().expect("readings");
    assert_eq!((stale["quality"].as_str(), stale["value"].as_u64()), (Some("stale"), Some(49)), "{stale}");
    broker.switch_on();
    devices_are(&site, "up");
    publish(&broker, 50..100);
    has_all(&site, "count1", 100);
    // The gateway is away; the broker keeps what comes, over its own restart too.
    node.end_with(Signal::TERM).expect(0);
    publish(&broker, 100..150);
    broker.switch_off();
    broker.switch_on();
    publish(&broker, 150..200);
    let node = site.run();
    for stream in ["count1", "count2"] {
        has_all(&site, stream, 200);
    }
    figure_is(&site, "sessions_lost", 0);
    node.end_with(Signal::TERM).expect(0);
}

/// Kills the gateway when it has said this packet (or was sent it), which did not arrive, and starts it again.
fn killed_at(packet: Packet, qos: u8) {
    let broker = Broker::start();
    let way = Way::to(broker.port());
    let site = Site::new();
    site.configure(&device(way.port(), qos));
    let (topic, stream) = (format!("count/{qos}"), format!("count{qos}"));
    let node = site.run();
    devices_are(&site, "up");
    broker.publish(&topic, qos, false, "0");
    has_all(&site, &stream, 1);
    way.stop_at(packet);
    broker.publish(&topic, qos, false, "1");
    // It acknowledges what is durable, so this one is.
    way.has_stopped();
    node.end_with(Signal::KILL);
    way.cut();
    let node = site.run();
    devices_are(&site, "up");
    broker.publish(&topic, qos, false, "2");
    has_all(&site, &stream, 3);
    let repeats = u64::from(!matches!(packet, Packet::PubRel | Packet::PubComp));
    figure_is(&site, "repeats_dropped", repeats);
    node.end_with(Signal::TERM).expect(0);
    // Nothing is left in flight: a third life hears nothing of it.
    let node = site.run();
    devices_are(&site, "up");
    broker.publish(&topic, qos, false, "3");
    has_all(&site, &stream, 4);
    figure_is(&site, "messages", 1);
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn killed_between_durable_and_puback_it_records_once() {
    killed_at(Packet::PubAck, 1);
}

#[test]
fn killed_between_durable_and_pubrec_it_records_once() {
    killed_at(Packet::PubRec, 2);
}

#[test]
fn killed_between_pubrec_and_pubrel_it_goes_on() {
    killed_at(Packet::PubRel, 2);
}

#[test]
fn killed_between_pubrel_and_pubcomp_it_goes_on() {
    killed_at(Packet::PubComp, 2);
}

/// More messages are taken than the journal keeps origins of, and no acknowledgement of them arrives.
fn no_acknowledgement_arrives(packet: Packet, qos: u8) {
    let broker = Broker::start_unlimited();
    let way = Way::to(broker.port());
    let site = Site::new();
    site.configure(&device(way.port(), qos));
    let (topic, stream) = (format!("count/{qos}"), format!("count{qos}"));
    let node = site.run();
    devices_are(&site, "up");
    way.stop_at(packet);
    let mut publisher = broker.publisher(&topic, qos);
    say(&mut publisher, 0..1_000);
    has_all(&site, &stream, 1_000);
    node.end_with(Signal::KILL);
    way.cut();
    let node = site.run();
    say(&mut publisher, 1_000..1_100);
    publisher.finish();
    has_all(&site, &stream, 1_100);
    figure_is(&site, "repeats_dropped", 1_000);
    figure_is(&site, "possibly_repeated", 0);
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn more_repetitions_than_the_journal_knows_are_recorded_once_at_quality_1() {
    no_acknowledgement_arrives(Packet::PubAck, 1);
}

#[test]
fn more_repetitions_than_the_journal_knows_are_recorded_once_at_quality_2() {
    no_acknowledgement_arrives(Packet::PubRec, 2);
}

#[test]
fn cut_and_killed_at_random_moments_nothing_is_lost_or_doubled() {
    let (kills, seed) = (from_env("SELVEDGE_KILLS", 4), from_env("SELVEDGE_SEED", 1));
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let broker = Broker::start();
    let way = Way::to(broker.port());
    let site = Site::new();
    site.configure(&(device(way.port(), 1) + &device(way.port(), 2)));
    let mut node = site.run();
    devices_are(&site, "up");
    let mut publishers = [1, 2].map(|qos| broker.publisher(&format!("count/{qos}"), qos));
    let mut said = 0;
    for kill in 0..kills {
        let more = 100 + random.below(300);
        for publisher in &mut publishers {
            say(publisher, said..said + more);
        }
        said += more;
        way.cut_in(1 + random.below(600));
        // The random moment itself, nothing waits for anything.
        std::thread::sleep(Duration::from_micros(random.below(400_000)));
        println!("kill {kill} after {said} numbers");
        node.end_with(Signal::KILL);
        way.cut();
        node = site.start();
        if random.below(2) == 0 {
            runs(&node);
        }
    }
    publishers.into_iter().for_each(Publisher::finish);
    runs(&node);
    for stream in ["count1", "count2"] {
        has_all(&site, stream, said);
    }
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn after_the_broker_lost_the_session_new_messages_are_no_repetitions() {
    let mut broker = Broker::start();
    let site = Site::new();
    site.configure(&device(broker.port(), 1));
    let node = site.run();
    devices_are(&site, "up");
    broker.publish("count/1", 1, false, "0");
    has_all(&site, "count1", 1);
    broker.switch_off();
    devices_are(&site, "down");
    broker.forget();
    broker.switch_on();
    devices_are(&site, "up");
    // The same under the same packet id: packet ids begin again with the session.
    broker.publish("count/1", 1, false, "0");
    broker.publish("count/1", 1, false, "1");
    eventually("three readings", || {
        let found = numbers(&site, "count1");
        if found.len() == 3 { Ok(()) } else { Err(format!("{found:?}")) }
    });
    figure_is(&site, "sessions_lost", 1);
    figure_is(&site, "messages", 3);
    figure_is(&site, "repeats_dropped", 0);
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn a_look_beside_the_running_gateway_takes_nothing_from_it() {
    let broker = Broker::start();
    let site = Site::new();
    site.configure(&format!(
        "[[device]]\nname = \"broker1\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{}\"\n\n\
         [[device.stream]]\nname = \"count1\"\ntopic = \"count/1\"\ntype = \"u64\"\n\n\
         [[device.stream]]\nname = \"{{machine}}/temperature\"\ntopic = \"plant/{{machine}}/state\"\n\
         each = {{ machine = [\"filler\", \"capper\"] }}\npointer = \"/t\"\ntime = \"/ts\"\ntype = \"f64\"\nunit = \"Cel\"\n",
        broker.port()
    ));
    broker.publish("plant/filler/state", 1, true, r#"{"t": 21.5, "ts": "2025-01-15T08:00:00Z"}"#);
    broker.publish("plant/capper/state", 1, true, r#"{"t": 22.5}"#);
    broker.publish("plant/labeller/state", 1, true, r#"{"t": 23.5}"#);
    let node = site.run();
    devices_are(&site, "up");
    let mut publisher = broker.publisher("count/1", 1);
    say(&mut publisher, 0..500);
    let looked = site.ask(&["adapter", "test", "--for", "1s", "--json"]).expect(0);
    say(&mut publisher, 500..1_000);
    publisher.finish();
    has_all(&site, "count1", 1_000);

    let seen = looked.json_lines();
    let of = |stream: &str| {
        seen.iter()
            .find(|line| line["stream"] == stream)
            .unwrap_or_else(|| panic!("nothing of {stream}: {looked}"))
    };
    let filler = of("filler/temperature");
    assert_eq!(
        (filler["value"].as_f64(), filler["quality"].as_str()),
        (Some(21.5), Some("good")),
        "{filler}"
    );
    assert!(
        filler["source_time"].as_str().is_some_and(|time| time.starts_with("2025-01-15T08:00:00")),
        "{filler}"
    );
    let capper = of("capper/temperature");
    assert_eq!(capper["quality"], "uncertain", "nobody knows how old it is: {capper}");
    let status = site.status();
    let messages = &status["devices"][0]["messages"];
    assert_eq!(messages["unmatched"], 1, "{status}");
    assert_eq!(messages["unmatched_topics"][0], "plant/labeller/state");
    assert_eq!(messages["sessions_lost"], 0, "the look took the session away: {status}");
    node.end_with(Signal::TERM).expect(0);
}

#[test]
fn a_message_without_sense_is_a_bad_reading_and_does_not_come_for_ever() {
    let broker = Broker::start();
    let site = Site::new();
    site.configure(&device(broker.port(), 2));
    let node = site.run();
    devices_are(&site, "up");
    for payload in ["0", "warm", "1"] {
        broker.publish("count/2", 2, false, payload);
    }
    let readings = eventually("three readings", || {
        let readings = site.readings("count2");
        if readings.len() == 3 { Ok(readings) } else { Err(format!("{readings:?}")) }
    });
    assert_eq!((readings[1]["quality"].as_str(), readings[1]["value"].is_null()), (Some("bad"), true));
    figure_is(&site, "undecodable", 1);
    figure_is(&site, "messages", 3);
    node.end_with(Signal::TERM).expect(0);
}
