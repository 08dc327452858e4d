//! Three gateways as separate processes: one reads a pymodbus server, one subscribes to a mosquitto, the third joined by
//! a line of text. One ledger on all, and each proves a reading that another one handed over.

use std::fs;

use selvedge_tests::broker::Broker;
use selvedge_tests::device::Device;
use selvedge_tests::fleet::{Fleet, Gateway, Held, LISTEN, settle, stop_equal, text};
use selvedge_tests::{eventually, program};
use serde_json::Value;

/// A subscription to numbers that a publisher counts.
pub(crate) fn counting(port: u16) -> String {
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{port}\"\nqos = 1\n\n\
         [[device.stream]]\nname = \"count\"\ntopic = \"count\"\ntype = \"u64\"\n"
    )
}

/// Waits until a device of a gateway answers.
pub(crate) fn device_is_up(gateway: &Gateway) {
    eventually("a device that answers", || {
        let status = gateway.status();
        if status["devices"][0]["state"] == "up" { Ok(()) } else { Err(status) }
    });
}

/// The newest reading of a stream that is in a transaction.
fn newest(gateway: &Gateway, stream: &str) -> Value {
    let readings = gateway.readings(stream, &[]);
    readings.into_iter().rfind(|r| r["state"] == "attached").expect("a reading in a transaction")
}

/// `from` hands over the segment of its newest reading of a stream, and `to` proves it.
fn hand_over(fleet: &Fleet, from: &Gateway, to: &Gateway, stream: &str, organisation: &str) {
    let reading = newest(from, stream);
    let batch = reading["batch"].to_string();
    let name = format!("{}-{batch}", stream.replace('/', "-"));
    let (segment, proof) = (fleet.beside(&format!("{name}.segment")), fleet.beside(&format!("{name}.proof")));
    let given = from.ask(&["export", "--segment", &batch, "-o", text(&segment)]).expect(0);
    given.says(&["prove STREAM latest --segment"]);
    to.ask(&["prove", stream, "latest", "-o", text(&proof)]).expect(1).says(&["there is no stream"]);
    let proved =
        to.ask(&["prove", stream, "latest", "--segment", text(&segment), "-o", text(&proof), "--json"]);
    let proved = proved.expect(0).json();
    assert_eq!((&proved["counter"], &proved["batch"]), (&reading["counter"], &reading["batch"]));
    assert_eq!(proved["transaction"], reading["transaction"]);

    // Whoever gets the file needs nothing else: an empty folder, no settings.
    let empty = fleet.beside(&format!("{name}.empty"));
    fs::create_dir(&empty).expect("a new folder");
    let mut verify = program::command(["verify", text(&proof), "--network", fleet.network()]);
    let verified = selvedge_tests::process::Process::start(verify.current_dir(&empty).env_clear()).done();
    verified.expect(0).says(&[organisation, stream]);
    // Its ledger closed, it says the same.
    assert_eq!(fs::read_dir(&empty).expect("a folder").count(), 0);
}

#[test]
fn show2_three_processes_hold_one_ledger_and_prove_one_anothers_batches() {
    let (fleet, broker, press) = (Fleet::new(&["Maker", "Owner"]), Broker::start(), Device::start());
    let [maker, owner, guest] = ["Maker", "Owner", "Guest"].map(|name| fleet.gateway(name));
    maker.configure(LISTEN, &press.counters_config("20ms"));
    let first = maker.run();
    owner.configure(&maker.dials(), &counting(broker.port()));
    let second = owner.run();
    device_is_up(&owner);
    let mut publisher = broker.publisher("count", 1);
    (0..200).for_each(|number: u64| publisher.say(&number.to_string()));
    publisher.finish();

    // The third joins by a line, and reads a device of its own.
    let line = maker.ask(&["invite", "--address", &maker.address(), "--name", "Guest"]).expect(0).out;
    guest.ask(&["init", "--join", line.trim()]).expect(0);
    let other = Device::start();
    guest.configure(&maker.dials(), &other.counters_config("20ms"));
    let third = guest.run();
    for gateway in [&maker, &owner, &guest] {
        gateway.issues(2);
    }
    for (gateway, stream) in [(&owner, "count"), (&guest, "counter/0"), (&maker, "counter/0")] {
        eventually("readings", || {
            let found = gateway.readings(stream, &[]);
            if found.iter().any(|r| r["state"] == "attached") { Ok(()) } else { Err(format!("{found:?}")) }
        });
    }
    press.unplug();
    other.unplug();
    let transactions = settle(&[&maker, &owner, &guest]);
    // Asked of running gateways: the other's ledger is at hand.
    hand_over(&fleet, &owner, &guest, "count", "Owner");
    let nodes = [(maker.clone(), first), (owner.clone(), second), (guest.clone(), third)];
    let held = stop_equal(nodes);
    println!("{transactions} transactions on all three, {} bytes", held.bytes.values().sum::<u64>());
    assert!(transactions >= 6 && held.bytes.len() >= transactions);
    assert_eq!(Held::forks([&held]), []);
    held.check_counters();
    assert_eq!(held.batches.len(), 3, "all three issued batches");
    assert_eq!(owner.readings("count", &[]).iter().filter(|r| r["quality"] == "good").count(), 200);

    // And of closed folders: the guest's readings, of which the ledger's proof needs its enrolment.
    guest.ask(&["key", "list"]).expect(0);
    let segment = fleet.beside("guest.segment");
    let batch = newest(&guest, "counter/0")["batch"].to_string();
    guest.ask(&["export", "--segment", &batch, "-o", text(&segment)]).expect(0);
    let proof = fleet.beside("guest.proof");
    let prove = ["prove", "counter/0", "latest", "--segment", text(&segment), "-o", text(&proof)];
    owner.ask(&prove).expect(0).says(&["Guest", "Maker"]);
    program::ask(["verify", text(&proof), "--network", fleet.network()]).expect(0).says(&["Guest", "Maker"]);
    refusals(&fleet, &owner, &segment);
}

/// What is no segment, damaged, unnamed, or without that reading, is said to be that.
fn refusals(fleet: &Fleet, gateway: &Gateway, segment: &std::path::Path) {
    let proof = fleet.beside("none.proof");
    let prove = |stream: &str, time: &str, file: &std::path::Path| {
        let done = gateway.ask(&["prove", stream, time, "--segment", text(file), "-o", text(&proof)]);
        assert!(!proof.exists(), "{done}");
        done
    };
    prove("no/such", "latest", segment).expect(1).says(&["no reading of \"no/such\"", "\"counter/0\""]);
    prove("counter/0", "2020-01-01T00:00:00Z", segment).expect(1).says(&["none that was received by then"]);
    prove("counter/0", "latest", &fleet.beside("nowhere")).expect(2).says(&["cannot read", "nowhere"]);
    let mut bytes = fs::read(segment).expect("a file");
    let damaged = fleet.beside("damaged.segment");
    for at in [0, bytes.len() / 2, bytes.len() - 1] {
        bytes[at] ^= 1;
        fs::write(&damaged, &bytes).expect("written");
        prove("counter/0", "latest", &damaged).expect(1).says(&["damaged.segment"]);
        bytes[at] ^= 1;
    }
    fs::write(&damaged, &bytes[..bytes.len() - 3]).expect("written");
    prove("counter/0", "latest", &damaged).expect(1).says(&["damaged.segment", "export --segment"]);
    // A right one of a network that this gateway is not in.
    let stranger = selvedge_tests::site::Site::with_chain();
    let foreign = fleet.beside("foreign.segment");
    stranger.ask(&["export", "--segment", "0", "-o", text(&foreign)]).expect(0);
    prove("counter/0", "latest", &foreign)
        .expect(1)
        .says(&["no transaction in this ledger names", "another network"]);
    stranger.ask(&["export", "--segment", "999999"]).expect(1).says(&["carries batch 999999"]);
    stranger.ask(&["export", "--segment", "0", "--from", "-1d"]).expect(2);
}
