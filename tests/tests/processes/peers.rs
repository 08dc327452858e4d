//! Two organisations, a gateway each, as processes of their own on the loopback interface.

use std::fs;
use std::path::{Path, PathBuf};

use selvedge::folder::{Contents, Folder};
use selvedge_core::Scheme;
use selvedge_core::genesis::{Genesis, Member, Organisation, role};
use selvedge_crypto::SecretKey;
use selvedge_tests::device::Device;
use selvedge_tests::eventually;
use selvedge_tests::process::{Done, Process, Signal};
use selvedge_tests::program;
use selvedge_tests::site::runs;
use serde_json::Value;

/// Batches close often, and a lone start does not wait long.
const QUICK: &str = "[batch]\nreadings = 200\nage = \"200ms\"\n\n[journal]\nsync_within = \"20ms\"\n\n[clock]\ntrust = \"assume\"\n\n";

/// The data folders of one network.
struct Network {
    above: tempfile::TempDir,
}

impl Network {
    /// Two organisations with a gateway each; both are the committee.
    fn new() -> Self {
        let above = tempfile::tempdir().expect("a folder for tests");
        let generate = |scheme| SecretKey::generate(scheme).expect("randomness");
        let keys: Vec<(SecretKey, SecretKey)> =
            (0..2).map(|_| (generate(Scheme::MlDsa65), generate(Scheme::MlDsa44))).collect();
        let public = |key| selvedge_crypto::signer(key).expect("a key").public_key().clone();
        let names = [("Maker", "press-7"), ("Owner", "hall-2")];
        let genesis = Genesis {
            version: 0,
            network_name: "line 4".into(),
            random: [4; 32],
            organisations: std::iter::zip(names, &keys)
                .map(|((name, _), (key, _))| Organisation { name: name.into(), key: public(key) })
                .collect(),
            members: (0_u16..)
                .zip(std::iter::zip(names, &keys))
                .map(|(organisation, ((_, name), (_, key)))| Member {
                    organisation,
                    key: public(key),
                    name: name.into(),
                    roles: vec![role::GATEWAY.into()],
                })
                .collect(),
            committee: vec![0, 1],
        };
        for ((_, name), (organisation, gateway)) in std::iter::zip(names, &keys) {
            let contents = Contents {
                genesis: &genesis.to_bytes(),
                gateway,
                organisation: Some(organisation),
                salt_key: &[7; 32],
                config: QUICK,
                passphrase: None,
                enrolment: None,
                further: &[],
                restored: false,
            };
            Folder::create(&above.path().join(name), &contents).expect("a new folder");
        }
        Self { above }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.above.path().join(name)
    }

    /// Writes a configuration and starts the gateway.
    fn start(&self, name: &str, network: &str, devices: &str) -> Process {
        let data = self.data(name);
        fs::write(data.join("selvedge.toml"), format!("{QUICK}{network}\n\n{devices}"))
            .expect("it can be written");
        let node = Process::start(program::command(["run", "--data"]).arg(&data));
        runs(&node);
        node
    }

    fn ask(&self, name: &str, arguments: &[&str]) -> Done {
        ask(&self.data(name), arguments)
    }

    fn json(&self, name: &str, what: &str) -> Value {
        self.ask(name, &[what, "--json"]).json()
    }

    /// Where it listens.
    fn address(&self, name: &str) -> String {
        self.json(name, "peers")["listen"].as_str().expect("it listens").to_owned()
    }

    /// Waits for exactly one greeted peer for which `is_it` holds.
    fn peer(&self, name: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        eventually("a peer", || {
            let answer = self.json(name, "peers");
            match answer["peers"].as_array().expect("a list").as_slice() {
                [peer] if peer["software"].is_string() && is_it(peer) => Ok(peer.clone()),
                _ => Err(answer),
            }
        })
    }

    fn wait_for_transactions(&self, name: &str, count: u64) -> Value {
        eventually("transactions", || {
            let status = self.json(name, "status");
            if transactions(&status) >= count { Ok(status) } else { Err(status) }
        })
    }
}

fn ask(data: &Path, arguments: &[&str]) -> Done {
    Process::start(program::command(arguments).arg("--data").arg(data)).done()
}

fn transactions(status: &Value) -> u64 {
    status["ledger"]["transactions"].as_u64().expect("a number")
}

const LISTEN: &str = "[network]\nlisten = \"127.0.0.1:0\"\nstart_wait = \"200ms\"";

fn dials(address: &str) -> String {
    format!("[network]\nlisten = \"127.0.0.1:0\"\npeers = [{address:?}]\nstart_wait = \"30s\"")
}

#[test]
fn two_gateways_hold_one_ledger_and_find_each_other_again() {
    let (network, device) = (Network::new(), Device::start());
    let press = network.start("press-7", LISTEN, &device.counters_config("20ms"));
    network.ask("press-7", &["peers"]).expect(1).says(&["0 peers connected", "127.0.0.1"]);
    let hall = network.start("hall-2", &dials(&network.address("press-7")), "");

    // Each shows the other.
    let at_press = network.peer("press-7", |_| true);
    let at_hall = network.peer("hall-2", |_| true);
    assert_eq!((at_press["name"].as_str(), at_hall["name"].as_str()), (Some("hall-2"), Some("press-7")));
    assert_eq!((&at_press["organisation"], &at_hall["organisation"]), (&"Owner".into(), &"Maker".into()));
    assert_eq!((&at_press["outgoing"], &at_hall["outgoing"]), (&false.into(), &true.into()));
    assert_eq!(at_hall["address"], network.address("press-7").as_str());
    assert!(at_press["software"].as_str().is_some_and(|s| s.starts_with("selvedge ")), "{at_press}");
    network.ask("hall-2", &["peers"]).expect(0).says(&["1 peer connected", "press-7", "ROUND TRIP"]);

    // What one issues, both hold; and the other, which has nothing to say, approves it.
    network.wait_for_transactions("hall-2", 6);
    let shared = eventually("a peer that holds each own transaction but the newest", || {
        let status = network.json("press-7", "status");
        let unshared = status["own_chain"]["unshared"].as_u64();
        if unshared.is_some_and(|n| n <= 2) { Ok(status) } else { Err(status) }
    });
    assert_eq!(shared["peers"]["connected"], 1, "{shared}");
    eventually("an approval by the other organisation", || {
        let tangle = network.json("press-7", "tangle");
        let names = |t: &Value| t["issuer_name"] == "hall-2";
        if tangle["newest"].as_array().expect("a list").iter().any(names) { Ok(()) } else { Err(tangle) }
    });

    // One is killed, and dials again by itself after its next start.
    let before = at_press["since"].clone();
    hall.end_with(Signal::KILL);
    let hall = network.start("hall-2", &dials(&network.address("press-7")), "");
    network.peer("press-7", |peer| peer["since"] != before);
    let now = transactions(&network.json("press-7", "status"));
    network.wait_for_transactions("hall-2", now);
    let status = network.json("hall-2", "status");
    assert_eq!(status["own_chain"]["start_check"], "peers hold no more of it than this gateway", "{status}");

    // One stops in order: the other says why, and that nobody is there.
    hall.end_with(Signal::TERM).expect(0);
    eventually("that the peer is gone, and why", || {
        let answer = network.json("press-7", "peers");
        let is_gone = answer["peers"].as_array().is_some_and(Vec::is_empty);
        if is_gone && answer.to_string().contains("the gateway stops") { Ok(()) } else { Err(answer) }
    });
    press.end_with(Signal::TERM).expect(0);
    network.ask("press-7", &["peers"]).expect(3).says(&["no node runs"]);
    network.ask("press-7", &["evidence"]).expect(0).says(&["no fork"]);
}

#[test]
fn a_copied_card_is_noticed_and_shown_with_both_transactions() {
    let (network, device) = (Network::new(), Device::start());
    // The copy is made before the first transaction, and both work alone for a while.
    let copied = program_copy(&network.data("hall-2"), &network.data("copy"));
    assert!(copied.status.success(), "{copied}");
    for name in ["hall-2", "copy"] {
        let node = network.start(name, "", &device.counters_config("20ms"));
        network.wait_for_transactions(name, 3);
        node.end_with(Signal::TERM).expect(0);
    }
    let press = network.start("press-7", LISTEN, "");
    let dials = dials(&network.address("press-7"));
    let hall = network.start("hall-2", &dials, "");
    let count = transactions(&network.json("hall-2", "status"));
    network.wait_for_transactions("press-7", count);
    hall.end_with(Signal::TERM).expect(0);

    let copy = network.start("copy", &dials, "");
    let fork = eventually("the fork", || {
        let answer = network.json("press-7", "evidence");
        answer["forks"].as_array().and_then(|forks| forks.first().cloned()).ok_or(answer)
    });
    assert_eq!(
        (&fork["issuer_name"], &fork["sequence"], &fork["proven"]),
        (&"hall-2".into(), &0.into(), &true.into())
    );
    let [one, other] = fork["transactions"].as_array().expect("a list").as_slice() else {
        panic!("two: {fork}")
    };
    assert_ne!(one["envelope"], other["envelope"]);
    // The copy takes nothing back, issues nothing, and says what to do.
    let silent = eventually("that the copy falls silent", || {
        let status = network.json("copy", "status");
        if status["state"] == "silent" { Ok(status) } else { Err(status) }
    });
    let said = silent["attention"].to_string();
    assert!(said.contains("another machine uses this key") && said.contains("init --join"), "{silent}");
    copy.end_with(Signal::TERM).expect(0);
    press.end_with(Signal::TERM).expect(0);

    // The same without a node, as words and as files.
    let out = network.above.path().join("forks");
    let out_text = out.to_str().expect("UTF-8");
    network.ask("press-7", &["evidence", "--out", out_text]).expect(1).says(&[
        "hall-2",
        "proven: both",
        out_text,
    ]);
    let folder = fs::read_dir(&out).expect("it was made").next().expect("one fork").expect("readable").path();
    for file in ["1.envelope", "2.envelope", "1.signature", "2.key", "genesis.bin", "README.txt"] {
        assert!(fs::metadata(folder.join(file)).is_ok_and(|m| m.len() > 0), "{file}");
    }
    network.ask("press-7", &["status"]).expect(3).says(&["selvedge evidence"]);
}

/// Copies a data folder as an image of its card would.
fn program_copy(from: &Path, to: &Path) -> Done {
    program::run("cp", &["-a".as_ref(), from.as_ref(), to.as_ref()])
}

#[test]
fn a_network_that_cannot_be_opened_is_said_with_what_to_do() {
    let network = Network::new();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it has one").to_string();
    let data = network.data("hall-2");
    fs::write(data.join("selvedge.toml"), format!("[network]\nlisten = {address:?}\n"))
        .expect("it can be written");
    ask(&data, &["run"]).expect(2).says(&["cannot listen on UDP", &address, "another address or port"]);
    fs::write(data.join("selvedge.toml"), "[network]\nlisten = \"here\"\n").expect("it can be written");
    ask(&data, &["run"]).expect(2).says(&["selvedge.toml:2", "`listen`", "0.0.0.0:7440"]);
}
