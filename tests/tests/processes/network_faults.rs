//! Three gateways: one is killed again and again under load; one's card is copied and both run. `SELVEDGE_KILLS` sets how
//! often, `SELVEDGE_SEED` when.

use std::time::Duration;

use selvedge_tests::broker::Broker;
use selvedge_tests::device::Device;
use selvedge_tests::fleet::{Fleet, Gateway, Held, LISTEN, settle, stop_equal};
use selvedge_tests::process::{Process, Signal};
use selvedge_tests::{Random, eventually, from_env, program};
use serde_json::Value;

use super::network_show::{counting, device_is_up};

/// All good numbers of a stream, each once and in order, `0..count`.
fn has_each_once(gateway: &Gateway, count: u64) {
    let good = || {
        let readings = gateway.readings("count", &[]);
        readings.into_iter().filter(|r| r["quality"] == "good").collect::<Vec<_>>()
    };
    eventually("all numbers", || {
        let found = good().len() as u64;
        if found >= count { Ok(()) } else { Err(format!("{found} of {count}")) }
    });
    let found: Vec<u64> = good().iter().map(|r| r["value"].as_u64().expect("a number")).collect();
    let odd: Vec<_> = (0..).zip(&found).filter(|(expected, number)| expected != *number).take(3).collect();
    assert!(odd.is_empty() && found.len() as u64 == count, "{} of {count}: {odd:?}", found.len());
}

/// Its good numbers: each read of the device gives a new one, so none may stand twice.
fn has_no_number_twice(gateway: &Gateway, device_streams: &[String]) {
    let mut seen = std::collections::BTreeSet::new();
    for stream in device_streams {
        for (expected, reading) in (0_u64..).zip(gateway.readings(stream, &[])) {
            assert_eq!(reading["counter"].as_u64(), Some(expected), "{stream}: {reading}");
            if reading["quality"] == "good" {
                let number = reading["value"].as_u64().expect("a number");
                assert!(seen.insert(number), "{number} stands twice: {reading}");
            }
        }
    }
    assert!(!seen.is_empty());
}

#[test]
fn show4_killed_again_and_again_under_load_it_loses_and_doubles_nothing() {
    let (kills, seed) = (from_env("SELVEDGE_KILLS", 5), from_env("SELVEDGE_SEED", 21));
    println!("seed {seed}, {kills} kills");
    let mut random = Random::new(seed);
    let (broker, device) = (Broker::start(), Device::start());
    let fleet = Fleet::new(&["hub", "reader", "victim"]);
    let [hub, reader, victim] = ["hub", "reader", "victim"].map(|name| fleet.gateway(name));
    hub.configure(LISTEN, "");
    let first = hub.run();
    reader.configure(&hub.dials(), &device.counters_config("20ms"));
    let second = reader.run();
    victim.configure(&hub.dials(), &counting(broker.port()));
    let mut node = victim.run();
    device_is_up(&victim);
    let mut publisher = broker.publisher("count", 1);
    let mut said = 0;
    for kill in 0..kills {
        let more = 200 + random.below(400);
        (said..said + more).for_each(|number| publisher.say(&number.to_string()));
        said += more;
        // The random moment itself, nothing waits for anything.
        std::thread::sleep(Duration::from_micros(random.below(600_000)));
        let done = node.end_with(Signal::KILL);
        assert_eq!(done.status.code(), None, "killed, and not ended by itself: {done}");
        println!("kill {kill} after {said} numbers");
        node = if random.below(3) == 0 { Process::start(&mut victim.command()) } else { victim.run() };
    }
    publisher.finish();
    eventually("that it runs", || {
        let status = victim.status();
        if status["state"] == "running" { Ok(()) } else { Err(status) }
    });
    has_each_once(&victim, said);
    victim.issues(1);
    device.unplug();
    let transactions = settle(&[&hub, &reader, &victim]);
    let held = stop_equal([(hub.clone(), first), (reader.clone(), second), (victim.clone(), node)]);
    println!(
        "{kills} kills: {said} acknowledged readings, each there once; {transactions} transactions on all three"
    );
    held.check_counters();
    assert_eq!(Held::forks([&held]), []);
    has_each_once(&victim, said);
    for gateway in [&hub, &reader, &victim] {
        gateway.ask(&["evidence"]).expect(0).says(&["no fork"]);
    }
}

/// Stands it somewhere in what needs a person?
fn says(status: &Value, text: &str) -> bool {
    status["attention"].to_string().contains(text)
}

#[test]
fn show4_a_folder_copied_and_started_twice_is_found_out_by_all() {
    let (device, fleet) = (Device::start(), Fleet::new(&["hub", "press", "eye"]));
    let [hub, press, eye, twin] = ["hub", "press", "eye", "twin"].map(|name| fleet.gateway(name));
    hub.configure(LISTEN, "");
    let first = hub.run();
    let dials = hub.dials();
    press.configure(&dials, &device.counters_config("20ms"));
    eye.configure(&dials, "");
    let watcher = eye.run();
    let node = press.run();
    press.issues(3);
    node.end_with(Signal::TERM).expect(0);
    let copied = program::run("cp", &["-a".as_ref(), press.data().as_ref(), twin.data().as_ref()]);
    copied.expect(0);

    // Both alive, with one key.
    let (one, two) = (press.run(), twin.run());
    let silent = eventually("that one of the two falls silent", || {
        let (one, two) = (press.status(), twin.status());
        let is_silent = |status: &Value| status["state"] == "silent";
        if is_silent(&one) || is_silent(&two) { Ok([one, two]) } else { Err(format!("{one}\n{two}")) }
    });
    println!("press {}, its copy {}", silent[0]["state"], silent[1]["state"]);
    for status in silent.iter().filter(|status| status["state"] == "silent") {
        assert!(says(status, "another machine uses this key") && says(status, "init --join"), "{status}");
    }
    // Everybody says it, with what to do.
    for gateway in [&press, &twin] {
        eventually("that the machine says what is wrong with its key", || {
            let status = gateway.status();
            let is_said = says(&status, "two machines") || says(&status, "another machine uses this key");
            if is_said { Ok(()) } else { Err(status) }
        });
    }
    let id = press.id();
    for gateway in [&hub, &eye] {
        eventually("that others say it too", || {
            let status = gateway.status();
            let is_said = says(&status, &id) && (says(&status, "two machines") || says(&status, "fork"));
            if is_said { Ok(()) } else { Err(status) }
        });
    }
    for node in [one, two] {
        node.end_with(Signal::TERM).expect(0);
    }
    // The others hold one ledger, and whatever was signed twice and left those machines they show. A branch may be left on
    // a copy that was cut off before it could say it: nobody else has seen that.
    settle(&[&hub, &eye]);
    let held = stop_equal([(hub, first), (eye, watcher)]);
    let forks = Held::forks([&held]);
    println!("{} places signed twice", forks.len());
    for name in ["hub", "eye"] {
        fleet.gateway(name).ask(&["evidence"]).expect(i32::from(!forks.is_empty()));
    }
}

#[test]
fn a_peer_that_restarts_and_one_that_is_gone_are_said_and_found_again() {
    let (device, fleet) = (Device::start(), Fleet::new(&["hub", "press"]));
    let [hub, press] = ["hub", "press"].map(|name| fleet.gateway(name));
    hub.configure(LISTEN, "");
    let mut first = hub.run();
    let address = hub.address();
    press.configure(&hub.dials(), &device.counters_config("20ms"));
    let node = press.run();
    hub.wait_for(3);
    for signal in [Signal::TERM, Signal::KILL] {
        first.end_with(signal);
        // Nobody is there; it reads and issues on, and says whom it misses.
        press.issues(3);
        eventually("that its peer is missed", || {
            let status = press.status();
            let missed = status["peers"]["missing"] == 1 || status["peers"]["connected"] == 0;
            if missed || signal == Signal::KILL { Ok(()) } else { Err(status) }
        });
        hub.configure(&format!("listen = {address:?}\nstart_wait = \"30s\"\n"), "");
        first = hub.run();
        let count = press.count();
        hub.wait_for(count);
    }
    device.unplug();
    settle(&[&hub, &press]);
    let held = stop_equal([(hub, first), (press.clone(), node)]);
    held.check_counters();
    assert_eq!(Held::forks([&held]), []);
    has_no_number_twice(&press, &names(&held, &press));
}

/// The streams of a closed gateway.
fn names(held: &Held, gateway: &Gateway) -> Vec<String> {
    assert!(!held.batches.is_empty());
    let streams = gateway.json(&["streams"]);
    let list = streams["streams"].as_array().expect("a list").iter();
    list.map(|s| s["name"].as_str().expect("a name").to_owned()).collect()
}
