//! A hostile peer attacks an honest pair of real gateways, in groups of attacks at the same time. The pair goes on
//! working all the while, at a bounded cost, and says why it refused what it refused.
//!
//! `SELVEDGE_SEED` sets the seed, `SELVEDGE_STRANGERS` how many strangers knock, `SELVEDGE_HOSTILE_SECONDS` for how long
//! each group attacks.

use std::time::Duration;

use selvedge_tests::hostile::attack::Attack;
use selvedge_tests::hostile::pair::Pair;
use selvedge_tests::hostile::table::OBSERVER;
use selvedge_tests::hostile::trial::{self, Outcome, Plan};
use selvedge_tests::{eventually, from_env};
use serde_json::Value;

/// The most memory that a gateway may hold under attack. At rest it holds about 25 MiB; what peers may have waiting is 32
/// MiB, and the QUIC windows of a handful of hostile connections are 2 MiB each.
const RSS_MOST: u64 = 192 << 20;
/// The most processor time that a gateway may use under attack, in seconds a second: attackers can always make it look at
/// what they send, but never more than one of them could be used up by.
const CPU_MOST: f64 = 1.5;
/// The most that both gateways may write to their logs meanwhile, in bytes: a flood of frames is no flood of lines.
const LOG_MOST: u64 = 256 << 10;
/// The longest that a new batch may take to the other gateway meanwhile, on a machine busy with other tests.
const CROSSING_MOST: Duration = Duration::from_secs(20);

/// A pair, and hostile members named after these attacks.
fn pair(attacks: &[Attack]) -> Pair {
    let seed = from_env("SELVEDGE_SEED", 1);
    println!("seed {seed}");
    let names: Vec<String> = attacks.iter().map(|attack| attack.name()).collect();
    let mut members: Vec<&str> = names.iter().map(String::as_str).collect();
    members.push(OBSERVER);
    Pair::start(seed, &members)
}

fn seconds() -> f64 {
    from_env("SELVEDGE_HOSTILE_SECONDS", 3) as f64
}

/// As many as there is time for.
fn plan(attack: Attack) -> Plan {
    Plan::new(attack, u64::MAX, seconds())
}

/// Attacks in all of these ways at once. The cost is bounded; it is printed beside that of a pair left alone.
fn attack(pair: &mut Pair, plans: &[Plan]) -> Vec<Outcome> {
    let baseline = trial::baseline(pair, Duration::from_secs(1));
    let outcomes = trial::together(pair, plans);
    let first = &outcomes[0];
    for (number, (cpu, base)) in first.cpu.iter().zip(&baseline).enumerate() {
        let rss = first.rss_most[number];
        println!(
            "g{}: {cpu:.2} processors, {:.1} times as much as alone; {} MiB at most; new batches crossed within {:?}",
            number + 1,
            cpu / base.max(0.001),
            rss >> 20,
            first.crossing
        );
        assert!(rss <= RSS_MOST, "{rss} bytes of memory, expected at most {RSS_MOST}");
        assert!(*cpu <= CPU_MOST, "{cpu} processors, expected at most {CPU_MOST}");
    }
    let log = first.log_bytes();
    assert!(
        log <= LOG_MOST,
        "{log} bytes of log, expected at most {LOG_MOST}; the last: {:?}",
        first.log.last()
    );
    assert!(first.crossing <= CROSSING_MOST, "{:?}, expected at most {CROSSING_MOST:?}", first.crossing);
    for outcome in &outcomes {
        println!("{}", outcome.said);
    }
    outcomes
}

/// It was told this, and the gateways name what was wrong.
#[track_caller]
fn told_and_named(outcome: &Outcome, told: &str) {
    assert!(outcome.was_told(told), "not told {told:?}: {}", outcome.said);
    named(outcome);
}

/// The gateways name what was wrong.
#[track_caller]
fn named(outcome: &Outcome) {
    let phrase = outcome.plan.attack.named();
    assert!(!phrase.is_empty(), "nothing to be named");
    assert!(
        outcome.is_named(phrase),
        "{phrase:?} is named nowhere: {}\n{}",
        outcome.peers,
        outcome.log.join("\n")
    );
}

/// At the end there is one ledger.
fn end(pair: Pair) {
    println!("{} transactions, the same on both", pair.end().len());
}

#[test]
fn garbage_is_refused_with_words() {
    let attacks = [Attack::GarbageStreams, Attack::GarbageFrames, Attack::Oversize];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    told_and_named(&outcomes[0], "its streams begin with");
    told_and_named(&outcomes[1], "addresses: malformed");
    assert!(outcomes[1].is_named("expected at most"), "its faults are counted: {}", outcomes[1].peers);
    assert_eq!(outcomes[1].number("/said/kinds"), 17, "not every kind was tried: {}", outcomes[1].said);
    told_and_named(&outcomes[2], "expected 1 to 262144");
    end(pair);
}

#[test]
fn floods_cost_a_bounded_amount() {
    let attacks =
        [Attack::FloodAnnouncements, Attack::FloodSignatures, Attack::FloodSmall, Attack::FloodRequests];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    told_and_named(&outcomes[1], "it broke the rules");
    for outcome in &outcomes {
        assert!(outcome.number("/tried/frames") > 30, "that was no flood: {}", outcome.said);
    }
    end(pair);
}

#[test]
fn a_flood_of_right_transactions_is_attached_and_replays_are_waste() {
    let attacks = [Attack::FloodTransactions, Attack::Replay];
    let mut pair = pair(&attacks);
    let flood = Plan { count: 1_000, ..plan(Attack::FloodTransactions) };
    let outcomes = attack(&mut pair, &[flood, plan(Attack::Replay)]);
    assert!(outcomes[0].number("/said/transactions") > 100, "{}", outcomes[0].said);
    assert!(outcomes[1].number("/said/overheard") > 0, "nothing to replay: {}", outcomes[1].said);
    told_and_named(&outcomes[1], "repeated, refused or not asked for");
    end(pair);
}

#[test]
fn slow_peers_cost_no_more_than_their_windows() {
    let attacks = [Attack::SlowReading, Attack::SlowWriting];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    assert!(outcomes[0].number("/said/asked") > 10, "{}", outcomes[0].said);
    end(pair);
}

#[test]
fn wrong_half_open_and_many_handshakes() {
    let attacks = [Attack::HalfOpen, Attack::WrongHandshakes, Attack::ManyConnections];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    assert!(outcomes[0].number("/said/handshakes") > 1_000, "{}", outcomes[0].said);
    let (sent, back) = (outcomes[0].number("/tried/bytes"), outcomes[0].number("/said/answer_bytes"));
    assert!(back <= 3 * sent, "{back} bytes in answer to {sent}: it amplifies (RFC 9000, section 8)");
    for manner in ["NoKey", "WrongSignature", "WrongGroup", "WrongProtocol"] {
        assert!(outcomes[1].was_told(&format!("{manner}: ")), "{manner} was not tried: {}", outcomes[1].said);
        assert!(!outcomes[1].was_told(&format!("{manner}: let in")), "{}", outcomes[1].said);
    }
    assert!(outcomes[2].number("/said/open_at_the_end") <= 2, "one a gateway: {}", outcomes[2].said);
    told_and_named(&outcomes[2], "second connection");
    end(pair);
}

#[test]
fn strangers_are_refused_before_they_cost_much() {
    let attacks = [Attack::Strangers, Attack::NoHello];
    let mut pair = pair(&attacks);
    let count = from_env("SELVEDGE_STRANGERS", 1_000);
    let strangers = Plan { count, seconds: 600.0, ..plan(Attack::Strangers) };
    let outcomes = attack(&mut pair, &[strangers, Plan { seconds: 12.0, ..plan(Attack::NoHello) }]);
    assert_eq!(outcomes[0].number("/said/attempts"), count, "{}", outcomes[0].said);
    assert!(!outcomes[0].was_told("let in"), "{}", outcomes[0].said);
    told_and_named(&outcomes[0], "not a member");
    told_and_named(&outcomes[1], "was not a hello");
    end(pair);
}

#[test]
fn wrong_networks_and_versions_are_told_so() {
    let attacks = [Attack::WrongNetwork, Attack::NoVersion];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    told_and_named(&outcomes[0], "network");
    told_and_named(&outcomes[1], "no common version: it speaks 7 to 9");
    end(pair);
}

#[test]
fn what_refers_to_nothing_waits_in_bounded_room() {
    let attacks = [Attack::WithheldParents, Attack::ReferencesToNothing];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    for outcome in &outcomes {
        assert!(outcome.number("/said/transactions") > 100, "{}", outcome.said);
        assert!(outcome.number("/said/wanted_of_it") > 0, "it was asked for nothing: {}", outcome.said);
    }
    end(pair);
}

#[test]
fn garbage_first_does_not_censor_the_genuine_one() {
    let mut pair = pair(&[Attack::GarbageSignatureFirst]);
    let plan = Plan { count: 8, ..plan(Attack::GarbageSignatureFirst) };
    let outcomes = attack(&mut pair, &[plan]);
    let genuine = texts(&outcomes[0].said["said"]["genuine"]);
    assert_eq!(genuine.len(), 8);
    assert!(outcomes[0].counted().contains("faults"), "{:?}", outcomes[0].entries);
    all_hold(&pair, &genuine);
    end(pair);
}

/// A list of texts.
fn texts(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    list.iter().map(|text| text.as_str().expect("text").to_owned()).collect()
}

/// Waits until both gateways hold all of these.
fn all_hold(pair: &Pair, wanted: &[String]) {
    for gateway in pair.gateways() {
        eventually("these transactions", || {
            let ids = gateway.ids();
            match wanted.iter().find(|id| !ids.contains(*id)) {
                None => Ok(()),
                Some(missing) => Err(format!("{missing} is missing among {}", ids.len())),
            }
        });
    }
}

#[test]
fn forks_end_as_evidence_on_both_sides() {
    let attacks = [Attack::Fork, Attack::NonCanonical];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    let bodies = texts(&outcomes[0].said["said"]["bodies"]);
    assert_eq!(bodies.len(), 2, "{}", outcomes[0].said);
    all_hold(&pair, &bodies);
    for gateway in pair.gateways() {
        let evidence = gateway.ask(&["evidence", "--json"]).out;
        for body in &bodies {
            assert!(evidence.contains(body), "{body} is missing in {evidence}");
        }
    }
    assert!(outcomes[1].number("/said/copies") > 10, "{}", outcomes[1].said);
    named(&outcomes[0]);
    named(&outcomes[1]);
    end(pair);
}

#[test]
fn many_bodies_at_one_place_end_as_two() {
    let mut pair = pair(&[Attack::ManyBodies]);
    let outcomes = attack(&mut pair, &[plan(Attack::ManyBodies).observed_by(OBSERVER)]);
    assert!(outcomes[0].number("/said/bodies") > 10, "{}", outcomes[0].said);
    assert!(outcomes[0].number("/said/passed_on") <= 2, "two bodies of a place: {}", outcomes[0].said);
    named(&outcomes[0]);
    end(pair);
}

#[test]
fn lies_about_what_there_is_hold_nobody_up() {
    let attacks = [Attack::FrontierLies, Attack::EmptyAnswers, Attack::GreatSequences, Attack::AddressLies];
    let mut pair = pair(&attacks);
    let outcomes = attack(&mut pair, &attacks.map(plan));
    assert!(outcomes[0].number("/tried/frames") > 10, "{}", outcomes[0].said);
    assert!(outcomes[3].number("/said/addresses") > 64, "{}", outcomes[3].said);
    // A gateway that lacks something gets it from the honest one while a liar keeps it waiting.
    let liar = trial::start(&pair, &Plan { seconds: 90.0, ..plan(Attack::EmptyAnswers) });
    pair.kill_and_start(1);
    pair.agree();
    pair.crossings();
    drop(liar);
    end(pair);
}

#[test]
fn a_liar_about_the_own_chain_holds_no_start_up_for_ever() {
    let mut pair = pair(&[Attack::OwnHeadLies]);
    let plan = Plan { seconds: 90.0, ..plan(Attack::OwnHeadLies) };
    let attacker = trial::start(&pair, &plan);
    // It lies while a gateway starts; that gateway issues all the same, within a minute: `crossings` waits no longer.
    pair.kill_and_start(1);
    pair.crossings();
    drop(attacker);
    end(pair);
}
