//! An old copy of a data folder is put back: the gateway takes what it had signed since then back from its peers, and goes
//! on; no sequence and no counter is used twice.

use std::fs;

use selvedge_tests::broker::Broker;
use selvedge_tests::device::Device;
use selvedge_tests::eventually;
use selvedge_tests::fleet::{Fleet, Gateway, Held, LISTEN, settle, stop_equal};
use selvedge_tests::process::Signal;
use selvedge_tests::program;
use serde_json::Value;

use super::network_show::{counting, device_is_up};

fn publish(broker: &Broker, numbers: std::ops::Range<u64>) {
    let mut publisher = broker.publisher("count", 1);
    numbers.for_each(|number| publisher.say(&number.to_string()));
    publisher.finish();
}

/// Waits until this number stands in a transaction of the gateway.
fn is_attached(gateway: &Gateway, number: u64) -> Value {
    eventually(&format!("number {number} in a transaction"), || {
        let newest = gateway.ask(&["readings", "count", "--last", "1", "--json"]);
        let line: Option<Value> = newest.out.lines().last().and_then(|line| serde_json::from_str(line).ok());
        match line {
            Some(reading) if reading["value"] == number && reading["state"] == "attached" => Ok(reading),
            _ => Err(newest),
        }
    })
}

#[test]
fn show4_an_old_copy_takes_its_tail_back_from_peers_and_goes_on() {
    let (broker, device) = (Broker::start(), Device::start());
    let fleet = Fleet::new(&["hub", "reader", "press"]);
    let [hub, reader, press] = ["hub", "reader", "press"].map(|name| fleet.gateway(name));
    hub.configure(LISTEN, "");
    let first = hub.run();
    reader.configure(&hub.dials(), &device.counters_config("50ms"));
    let second = reader.run();
    press.configure(&hub.dials(), &counting(broker.port()));

    // The copy is made while it is stopped, and it goes on for a while.
    let node = press.run();
    device_is_up(&press);
    publish(&broker, 0..100);
    is_attached(&press, 99);
    node.end_with(Signal::TERM).expect(0);
    let old = fleet.gateway("old");
    program::run("cp", &["-a".as_ref(), press.data().as_ref(), old.data().as_ref()]).expect(0);
    let node = press.run();
    device_is_up(&press);
    for from in [100, 200, 300] {
        publish(&broker, from..from + 100);
        is_attached(&press, from + 99);
    }
    settle_own(&press);
    node.end_with(Signal::TERM).expect(0);
    let lost = fleet.gateway("lost");
    fs::rename(press.data(), lost.data()).expect("beside each other");
    fs::rename(old.data(), press.data()).expect("beside each other");

    // The old copy, without a word by anybody.
    let before = press.held().bytes.len();
    let node = press.run();
    device_is_up(&press);
    publish(&broker, 400..600);
    let reading = is_attached(&press, 599);
    // What the loop publishes follows what is durable within a moment.
    let status = eventually("that it runs", || {
        let status = press.status();
        if status["state"] == "running" { Ok(status) } else { Err(status) }
    });
    let adopted = status["own_chain"]["adopted"].as_u64().expect("a number");
    assert!(adopted >= 3, "{adopted} came back: {status}");
    assert_eq!(reading["counter"], 599, "counters go on after what was lost: {reading}");
    device.unplug();
    settle(&[&hub, &reader, &press]);
    let held = stop_equal([(hub.clone(), first), (reader.clone(), second), (press.clone(), node)]);
    println!(
        "{before} transactions in the old copy, {adopted} own came back, {} at the end",
        held.bytes.len()
    );

    // Neither a sequence nor a counter is used twice, what the lost folder holds included.
    let lost = lost.held();
    assert_eq!(Held::forks([&held, &lost]), []);
    assert!(lost.ids().is_subset(&held.ids()), "something that it had signed is gone");
    held.check_counters();
    for gateway in [&hub, &reader, &press] {
        gateway.ask(&["evidence"]).expect(0).says(&["no fork"]);
    }
    // All that was acknowledged before the copy and after the restore is there; of what lies between the ledger has the
    // transactions, and the readings went with the lost folder.
    let numbers: Vec<u64> = good(&press);
    let expected: Vec<u64> = (0..100).chain(400..600).collect();
    assert_eq!(numbers, expected);
}

/// Waits until a peer holds each own transaction.
fn settle_own(gateway: &Gateway) {
    eventually("that peers hold each own transaction", || {
        let status = gateway.status();
        if status["own_chain"]["unshared"] == 0 { Ok(()) } else { Err(status) }
    });
}

/// Good numbers of the stream: those before the batches that are not here, and those after them, as the refusal says to
/// ask.
fn good(gateway: &Gateway) -> Vec<u64> {
    let whole = gateway.ask(&["export", "--stream", "count", "--format", "jsonl"]).expect(2);
    let words = whole.err.split_once("ask for readings from ").expect("what to do instead").1;
    let after = words.split(' ').next().expect("a moment");
    let rest = gateway.readings("count", &["--from", after]);
    let readings = whole.out.lines().filter(|line| line.contains("\"counter\""));
    let before = readings.map(|line| serde_json::from_str::<Value>(line).expect("a reading"));
    let all = before.chain(rest).filter(|r| r["quality"] == "good");
    all.map(|r| r["value"].as_u64().expect("a number")).collect()
}
