//! The answers about others: peers, forks, and how the own chain stands with them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::{PeerId, Silence};
use selvedge_core::hash::Issuer;
use selvedge_crypto::{SecretKey, default_verifier, ids, signer};

use super::Time;
use super::evidence::EvidenceAnswer;
use super::live::{DrainAnswer, Live};
use super::peers::{NetworkState, PeersAnswer};
use super::status::{NodeState, StatusAnswer};
use super::testing::{Bench, SECOND, START, genesis_of_two};
use crate::engine::Faulty;
use crate::net::{Closed, DialStatus, LinkStatus, NetStatus, QueueStatus};
use crate::store::MemDisk;

fn issuer_of(key: &SecretKey) -> Issuer {
    signer(key).unwrap().public_key().issuer()
}

/// A gateway that holds a fork of the other member: two machines with one key, each with its own store.
fn forked() -> (Bench, Issuer) {
    let (genesis, gateway, other) = genesis_of_two(1);
    let on =
        |key: &SecretKey| Bench::on(Arc::new(MemDisk::new()), Path::new("/nowhere"), genesis.clone(), key);
    let (mut one, mut copy) = (on(&other), on(&other));
    one.issue(0, b"here".to_vec());
    copy.issue(0, b"there".to_vec());
    let mut bench = on(&gateway);
    bench.connect(1, issuer_of(&other));
    bench.receive(1, &one.envelope(0));
    bench.receive(1, &copy.envelope(0));
    (bench, issuer_of(&other))
}

fn words(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_fork_is_shown_whole_and_both_signatures_are_checked() {
    let (bench, forker) = forked();
    let answer = bench.answers().evidence(bench.now()).unwrap();
    let [fork] = answer.forks.as_slice() else { panic!("one fork: {answer:?}") };
    assert_eq!((fork.issuer.as_str(), fork.sequence, fork.own), (ids::to_text(&forker).as_str(), 0, false));
    assert_eq!((fork.issuer_name.as_deref(), fork.organisation.as_deref()), (Some("press-7"), Some("Owner")));
    let [one, other] = fork.transactions.as_slice() else { panic!("two transactions") };
    assert!(fork.proven && one.signature_holds && other.signature_holds);
    assert!(!one.second_branch && other.second_branch && one.id != other.id);
    assert_eq!(
        (one.body.payload.as_str(), other.body.payload.as_str()),
        ("note of 4 bytes", "note of 5 bytes")
    );
    assert_eq!(one.body.prev, answer.network, "sequence 0 comes after the genesis");
    assert!(fork.key_transactions.is_empty(), "its key stands in the genesis");

    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<EvidenceAnswer>(&json).unwrap(), answer);
    let words = words(|out| answer.write_words(out));
    for said in
        ["\"press-7\" of \"Owner\"", "signed 2 transactions at sequence 0", "note of 5 bytes", "proven: both"]
    {
        assert!(words.contains(said), "{said}: {words}");
    }
    // `status` says so too, with a node and without.
    let status = bench.answers().status(bench.now()).unwrap();
    assert_eq!(status.ledger.forks, [(ids::to_text(&forker), 0)]);
    assert!(status.attention.iter().any(|a| a.contains("selvedge evidence")), "{:?}", status.attention);
}

#[test]
fn the_files_of_a_fork_can_be_checked_by_whoever_has_nothing_else() {
    let (bench, forker) = forked();
    let answer = bench.answers().evidence(bench.now()).unwrap();
    let out = tempfile::tempdir().unwrap();
    let folders = answer.write_files(out.path(), &bench.facts.genesis_bytes).unwrap();
    let [folder] = folders.as_slice() else { panic!("one folder") };
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    // As an outsider would: the key out of the genesis, and the messages as the files have them.
    let genesis: selvedge_core::genesis::Genesis =
        selvedge_core::codec::decode(&read("genesis.bin")).unwrap();
    let key = &genesis.member(forker).unwrap().key;
    for number in [1, 2] {
        assert_eq!(read(&format!("{number}.key")), key.bytes);
        let (message, signature) = (read(&format!("{number}.message")), read(&format!("{number}.signature")));
        assert!(default_verifier().verify(key, &message, &signature));
        let envelope = read(&format!("{number}.envelope"));
        let (opened, body) = selvedge_core::transaction::Envelope::open(&envelope).unwrap();
        assert_eq!((body.issuer, body.sequence, opened.signature), (forker, 0, signature.as_slice()));
        assert_eq!(message[message.len() - 32..], bench.facts.network.transaction_id(opened.body).0);
    }
    assert_ne!(read("1.message"), read("2.message"));
    let readme = String::from_utf8(read("README.txt")).unwrap();
    assert!(readme.contains(&ids::to_text(&forker)) && readme.contains("FIPS 204"), "{readme}");
    // Once more into the same folder is fine.
    answer.write_files(out.path(), &bench.facts.genesis_bytes).unwrap();
}

#[test]
fn without_a_fork_there_is_no_evidence() {
    let mut bench = Bench::new(1);
    super::testing::filled(&mut bench);
    let answer = bench.answers().evidence(bench.now()).unwrap();
    assert!(answer.forks.is_empty());
    assert!(words(|out| answer.write_words(out)).starts_with("no fork"));
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A network with the other member connected, an address that does not answer, and a stranger that was refused.
fn with_network(bench: &Bench, other: Issuer) -> Live {
    let queue = QueueStatus { frames: 1, bytes: 100, dropped: 2 };
    let link = LinkStatus {
        peer: PeerId(1),
        issuer: other,
        address: address("192.0.2.7:7440"),
        outgoing: true,
        since_ns: START.0 - 90 * SECOND,
        round_trip_us: 2_300,
        bytes_sent: 12_000,
        bytes_received: 34_000,
        packets_sent: 9,
        packets_lost: 1,
        frames_sent: 8,
        frames_received: 7,
        frames_skipped: 0,
        fresh: queue,
        bulk: queue,
        served: 5,
        refused_requests: 0,
    };
    let dial = DialStatus {
        to: "press-8.lan:7440".into(),
        configured: true,
        issuer: None,
        dialling: false,
        failures: 3,
        last: Some("no answer: nobody listens there, UDP is blocked, or the link is cut".into()),
        next: Some(Duration::from_secs(12)),
    };
    let up = DialStatus { to: "192.0.2.7:7440".into(), issuer: Some(other), next: None, ..dial.clone() };
    let stranger = |from: &str, at_ns| Closed {
        issuer: None,
        address: address(from),
        at_ns,
        why: "the other side is not a member of this network\u{1b}[2J".into(),
    };
    let left = Closed {
        issuer: Some(Issuer([9; 32])),
        address: address("192.0.2.9:1"),
        at_ns: START.0,
        why: "closed by the other side: the gateway stops".into(),
    };
    let mut net = NetStatus {
        links: vec![link],
        closed: vec![left, stranger("198.51.100.2:5", START.0 + SECOND), stranger("198.51.100.1:4", START.0)],
        dials: vec![up, dial],
        ..NetStatus::default()
    };
    net.members.strangers = 1_234;
    let mut live = bench.live();
    live.listen = Some(address("0.0.0.0:7440"));
    live.net = Some(Arc::new(net));
    live
}

#[test]
fn peers_are_shown_with_what_a_person_needs() {
    let (bench, other) = forked();
    let mut live = with_network(&bench, other);
    live.faulty.insert(
        other,
        Faulty { count: 40, last: "a frame of kind 9 that does not decode".into(), at_ns: START.0 },
    );
    let mut answers = bench.answers();
    answers.live = Some(live.into());
    let asked = Time(START.0 + 10 * SECOND);
    let answer = answers.peers(asked).unwrap();
    assert_eq!(answer.network, NetworkState::Up);
    let [peer] = answer.peers.as_slice() else { panic!("one peer") };
    assert_eq!(peer.id, ids::to_text(&other));
    assert_eq!((peer.name.as_deref(), peer.organisation.as_deref()), (Some("press-7"), Some("Owner")));
    assert!(peer.committee && peer.outgoing == Some(true));
    assert_eq!(peer.software.as_deref(), Some("selvedge 9.9"));
    assert_eq!((peer.round_trip_us, peer.bytes_sent, peer.bytes_received), (Some(2_300), 12_000, 34_000));
    assert_eq!((peer.queued_bytes, peer.frames_dropped, peer.attached), (200, 4, 2));
    assert!(peer.budget.waste_bytes > 0 && peer.budget.wants > 0);
    let [missing] = answer.missing.as_slice() else { panic!("one: who is connected is not missing") };
    assert_eq!(missing.next_attempt, Some(Time(asked.0 + 12 * SECOND)));
    let [reason] = answer.refused.reasons.as_slice() else { panic!("one reason") };
    assert_eq!((reason.addresses, reason.last_address.as_str()), (2, "198.51.100.2:5"));
    assert_eq!(answer.gone[0].name, None);

    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<PeersAnswer>(&json).unwrap(), answer);
    let words = words(|out| answer.write_words(out));
    for said in [
        "1 peer connected, listening on 0.0.0.0:7440 (UDP)",
        "press-7",
        "192.0.2.7:7440",
        "selvedge 9.9",
        "2.3 ms",
        "press-8.lan:7440 (configured): no answer",
        "tried again in 12 s",
        "closed by the other side: the gateway stops",
        "broke 40 rules since the start",
        "1,234 unknown keys",
        "2 addresses, last 198.51.100.2:5",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert!(!words.contains('\u{1b}'), "a peer's words do not reach the terminal as they are: {words:?}");
}

#[test]
fn without_a_network_or_a_node_that_is_said() {
    let bench = Bench::new(1);
    let mut answers = bench.answers();
    let stopped = answers.peers(bench.now()).unwrap();
    assert_eq!(stopped.network, NetworkState::NotRunning);
    assert!(words(|out| stopped.write_words(out)).contains("no node runs"));
    answers.live = Some(bench.live().into());
    let alone = answers.peers(bench.now()).unwrap();
    assert_eq!(alone.network, NetworkState::None);
    assert!(words(|out| alone.write_words(out)).contains("works alone"));
}

fn status(bench: &Bench, change: impl FnOnce(&mut Live)) -> (StatusAnswer, String) {
    let other = Issuer([5; 32]);
    let mut live = with_network(bench, other);
    change(&mut live);
    let mut answers = bench.answers();
    answers.live = Some(live.into());
    let answer = answers.status(bench.now()).unwrap();
    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<StatusAnswer>(&json).unwrap(), answer);
    let words = words(|out| answer.write_words(out));
    (answer, words)
}

#[test]
fn status_says_how_the_own_chain_stands_with_others() {
    let (bench, _) = forked();
    let (running, said) = status(&bench, |live| {
        live.ledger.unshared = Some(3);
        live.notices.settled = Some((2, true));
        live.ledger.adopted = 2;
    });
    assert_eq!(running.state, NodeState::Running);
    assert_eq!(running.peers.as_ref().unwrap().connected, 1);
    assert_eq!(running.own_chain.as_ref().unwrap().start_check, "2 own transactions came back from peers");
    assert!(said.contains("3 own transactions that no peer has yet; 2 own transactions came back"), "{said}");

    let (starting, said) = status(&bench, |live| live.ledger.silence = Some(Silence::Asking));
    assert_eq!(starting.state, NodeState::Starting);
    assert!(said.contains("asks its peers how far its chain goes"), "{said}");

    let (copied, said) = status(&bench, |live| {
        live.ledger.silence = Some(Silence::AnotherMachine);
        live.notices.said_to_be_two = vec![Issuer([5; 32])];
    });
    assert_eq!(copied.state, NodeState::Silent);
    assert!(copied.attention[0].contains("selvedge init --join"), "{:?}", copied.attention);
    assert!(said.contains("two machines with this gateway's key are up"), "{said}");

    let (keyless, said) = status(&bench, |live| {
        live.ledger.silence = Some(Silence::KeyMissing { number: 2 });
        live.is_marked = true;
    });
    assert_eq!(keyless.state, NodeState::Silent);
    assert!(
        said.contains("keys/gateway.2.key does not hold it") && said.contains("selvedge key restore"),
        "{said}"
    );

    let (lonely, _) = status(&bench, |live| {
        live.peers.clear();
        live.uptime = Duration::from_secs(61);
    });
    let why = lonely.attention.iter().find(|a| a.starts_with("peers: none is connected"));
    assert!(why.is_some_and(|why| why.contains("UDP is blocked")), "{:?}", lonely.attention);
}

#[test]
fn status_says_when_a_backlog_will_be_gone() {
    let (mut bench, _) = forked();
    bench.describe(0, super::testing::temperature("tank/level"));
    let readings = (0..3).map(|n| bench.reading(0, selvedge_core::reading::Value::Int(n))).collect();
    bench.submit(readings);
    let (_, said) = status(&bench, |live| live.drain = Some(DrainAnswer { readings_per_s: 300, left_s: 41 }));
    assert!(said.contains("3 readings in no transaction yet, about 41 s left"), "{said}");
    let (_, said) = status(&bench, |_| {});
    assert!(!said.contains("left"), "{said}");
}
