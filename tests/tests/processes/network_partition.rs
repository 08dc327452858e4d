//! A partition in network namespaces: three machines on a switch, one's cable is cut, both sides work, and afterwards there
//! is one ledger. `SELVEDGE_PARTITION_S` sets how long; beyond a minute connections are given up and dialled again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use selvedge_core::Id;
use selvedge_tests::device::Device;
use selvedge_tests::fleet::{Fleet, Gateway, Held, settle, stop_equal};
use selvedge_tests::netns::{Over, Switch, inside};
use selvedge_tests::process::Process;
use selvedge_tests::site::runs;
use selvedge_tests::{eventually_within, from_env};
use serde_json::Value;

const MACHINES: [&str; 3] = ["east", "west", "far"];
/// After the cable is mended: a dial may have been given up just before, and the next comes a minute later at most.
const HEALS_WITHIN: Duration = Duration::from_secs(100);
/// Bytes on the cable for each byte of a transaction that had to cross it: headers and announcements, and two neighbours on
/// the other side that push to the same one.
const OVERHEAD_MAX: u64 = 3;

struct Machine {
    gateway: Gateway,
    node: Process,
    _device: Device,
}

/// A gateway on a machine of the switch, with a device beside it.
fn start(fleet: &Fleet, switch: &Switch, name: &str, number: usize) -> Machine {
    let device = Device::by(switch.on(name));
    let gateway = fleet.gateway(name);
    let peers: Vec<String> = (1..=MACHINES.len())
        .filter(|other| *other < number)
        .map(|other| format!("\"10.9.0.{other}:7440\""))
        .collect();
    let network = format!(
        "listen = \"10.9.0.{number}:7440\"\nadvertise = [\"10.9.0.{number}:7440\"]\nstart_wait = \"1s\"\npeers = [{}]\n",
        peers.join(", ")
    );
    gateway.configure(&network, &device.counters_config("100ms"));
    let node = Process::start(&mut switch.run_on(name, &gateway.command()));
    runs(&node);
    Machine { gateway, node, _device: device }
}

fn own_transactions(gateway: &Gateway) -> usize {
    let tangle = gateway.json(&["tangle", "--last", "10000"]);
    tangle["newest"].as_array().expect("a list").iter().filter(|t: &&Value| t["own"] == true).count()
}

#[test]
fn show3_a_partition_heals_into_one_ledger() {
    if !inside("network_partition::show3_a_partition_heals_into_one_ledger") {
        return;
    }
    let _over = Over;
    let lasts = Duration::from_secs(from_env("SELVEDGE_PARTITION_S", 15));
    let (fleet, mut switch) = (Fleet::new(&MACHINES), Switch::new());
    for name in MACHINES {
        switch.plug(name);
    }
    let machines: Vec<Machine> =
        (1..).zip(MACHINES).map(|(number, name)| start(&fleet, &switch, name, number)).collect();
    let [east, _, far] = [0, 1, 2].map(|at| &machines[at].gateway);
    for machine in &machines {
        machine.gateway.issues(2);
    }
    eventually_within(HEALS_WITHIN, "transactions of all on the far one", || {
        let tangle = far.json(&["tangle", "--last", "10000"]);
        let newest = tangle["newest"].as_array().expect("a list");
        let issuers: BTreeSet<&str> = newest.iter().filter_map(|t| t["issuer_name"].as_str()).collect();
        if issuers.len() == MACHINES.len() { Ok(()) } else { Err(format!("{issuers:?}")) }
    });

    // Cut. Both sides go on: that time is what is tested, nothing waits for it.
    let before = machines.iter().map(|m| own_transactions(&m.gateway)).collect::<Vec<_>>();
    switch.cable("far", false);
    std::thread::sleep(lasts);
    for (machine, before) in machines.iter().zip(&before) {
        let now = own_transactions(&machine.gateway);
        assert!(now >= before + 5, "{now} own transactions, {before} before the cut: it stood still");
    }
    let (here, there) = (east.ids(), far.ids());
    let missing: BTreeSet<String> = here.symmetric_difference(&there).cloned().collect();
    assert!(here.difference(&there).count() > 5 && there.difference(&here).count() > 5, "was it cut?");

    // Mended, while all still read and issue.
    let (healed, bytes_before) = (Instant::now(), switch.bytes("far"));
    switch.cable("far", true);
    eventually_within(HEALS_WITHIN, "what was missing on every machine", || {
        let lack: Vec<usize> =
            machines.iter().map(|m| missing.difference(&m.gateway.ids()).count()).collect();
        if lack.iter().all(|lack| *lack == 0) { Ok(()) } else { Err(format!("{lack:?} are missing")) }
    });
    let (took, bytes) = (healed.elapsed(), switch.bytes("far") - bytes_before);
    // All that was issued since the cut crossed the cable in that time, what came after the mending included.
    let common: BTreeSet<String> = here.intersection(&there).cloned().collect();
    let crossed: BTreeSet<String> = far.ids().difference(&common).cloned().collect();
    let (gateways, nodes): (Vec<_>, Vec<_>) =
        machines.into_iter().map(|machine| (machine.gateway, machine.node)).unzip();
    for gateway in &gateways {
        assert_eq!(gateway.status()["state"], "running", "{}", gateway.status());
    }
    settle(&gateways.iter().collect::<Vec<_>>());
    let held = stop_equal(gateways.into_iter().zip(nodes));

    let bytes_of = |wanted: &BTreeSet<String>| -> u64 {
        let is_wanted = |id: &Id| wanted.contains(&selvedge_crypto::ids::to_text(id));
        held.bytes.iter().filter(|(id, _)| is_wanted(id)).map(|(_, bytes)| bytes).sum()
    };
    let (missing_bytes, crossed_bytes) = (bytes_of(&missing), bytes_of(&crossed));
    println!(
        "partition of {} s: {} transactions of {missing_bytes} bytes were missing on one side or the other; on every \
         machine {} ms after the cable was mended. Until then {} transactions of {crossed_bytes} bytes had crossed it, for \
         {bytes} bytes on the cable, {}.{:02} for each",
        lasts.as_secs(),
        missing.len(),
        took.as_millis(),
        crossed.len(),
        bytes / crossed_bytes,
        bytes * 100 / crossed_bytes % 100,
    );
    assert!(bytes <= OVERHEAD_MAX * crossed_bytes, "{bytes} for {crossed_bytes}");
    assert_eq!(Held::forks([&held]), [], "a partition is no reason to sign twice");
    held.check_counters();
}
