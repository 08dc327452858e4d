//! The answers, asked of a real core on a real store.

use selvedge_core::border::Silence;
use selvedge_core::reading::{Quality, Value};
use selvedge_core::stream::Descriptor;
use selvedge_proof::{Outcome, Trust};

use super::prove::ProofQuery;
use super::readings::{ReadingAnswer, ReadingState, ReadingsQuery};
use super::shown::Scalar;
use super::status::NodeState;
use super::testing::{Bench, SECOND, START, filled, temperature};
use super::{Answers, AskError, Time};
use crate::cli::verify::verify_file;

fn all(answers: &Answers, query: &ReadingsQuery) -> Vec<ReadingAnswer> {
    answers.readings(query).unwrap().collect::<Result<_, _>>().unwrap()
}

fn of(stream: &str) -> ReadingsQuery {
    ReadingsQuery { stream: Some(stream.into()), ..ReadingsQuery::default() }
}

#[test]
fn readings_are_those_submitted_across_archive_and_journal() {
    let mut bench = Bench::new(1);
    let submitted = filled(&mut bench);
    let readings = all(&bench.answers(), &of("tank/level"));
    assert_eq!(readings.len(), submitted.len());
    for (reading, (counter, at)) in readings.iter().zip(&submitted) {
        assert_eq!(reading.counter, *counter);
        assert_eq!((reading.source_time, reading.receive_time), (*at, *at));
        assert_eq!(reading.raw, Scalar::Number(counter.to_string()));
        assert_eq!(reading.unit, "Cel");
        let is_attached = *counter <= 7;
        assert_eq!(reading.state == ReadingState::Attached, is_attached, "{counter}");
        assert_eq!(reading.transaction.is_some(), is_attached, "{counter}");
    }
    assert_eq!(readings[7].value, Scalar::Number("0.7".into()));
    let batches: Vec<u64> = readings.iter().map(|r| r.batch).collect();
    assert_eq!(batches, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]);
}

#[test]
fn ranges_and_the_last_ones_cross_the_boundary_too() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let answers = bench.answers();
    let counters = |query: ReadingsQuery| all(&answers, &query).iter().map(|r| r.counter).collect::<Vec<_>>();
    assert_eq!(counters(ReadingsQuery { last: Some(4), ..of("tank/level") }), [6, 7, 8, 9]);
    assert_eq!(counters(ReadingsQuery { last: Some(50), ..of("tank/text") }), [0, 1, 2, 3]);
    let second = |n: i64| Some(Time(START.0 + n * SECOND));
    let within = ReadingsQuery { from: second(2), to: second(9), ..of("tank/level") };
    assert_eq!(counters(within.clone()), [2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(counters(ReadingsQuery { last: Some(2), ..within }), [7, 8]);
    assert!(counters(ReadingsQuery { from: second(100), ..of("tank/level") }).is_empty());
}

#[test]
fn all_streams_give_each_reading_once_and_each_stream_in_order() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let answers = bench.answers();
    let everything = all(&answers, &ReadingsQuery::default());
    assert_eq!(everything.len(), 14);
    for stream in ["tank/level", "tank/text"] {
        let own: Vec<_> = everything.iter().filter(|r| r.stream == stream).cloned().collect();
        assert_eq!(own, all(&answers, &of(stream)));
    }
    let within = ReadingsQuery {
        from: Some(Time(START.0 + 3 * SECOND)),
        to: Some(Time(START.0 + 7 * SECOND)),
        ..ReadingsQuery::default()
    };
    let some = all(&answers, &within);
    assert_eq!(some.len(), 6, "counters 3 to 6 of one stream, 1 and 2 of the other");
    assert!(some.iter().all(|r| everything.contains(r)));
}

#[test]
fn wrong_questions_are_told_what_was_expected() {
    let mut bench = Bench::new(1);
    let answers = bench.answers();
    let why = |query: &ReadingsQuery| answers.readings(query).err().unwrap().to_string();
    assert!(why(&of("tank/level")).contains("has none yet"));
    filled(&mut bench);
    assert_eq!(why(&of("tank/levle")), "there is no stream \"tank/levle\"; did you mean \"tank/level\"?");
    assert!(why(&ReadingsQuery { last: Some(0), ..of("tank/level") }).contains("expected 1 to"));
    assert!(
        why(&ReadingsQuery { last: Some(1), ..ReadingsQuery::default() }).contains("expected one stream")
    );
    let backwards = ReadingsQuery { from: Some(Time(2)), to: Some(Time(1)), ..of("tank/level") };
    assert!(why(&backwards).contains("exchange the two"));
    for (query, code) in [(of("nothing"), 1), (backwards, 2)] {
        assert_eq!(answers.readings(&query).err().unwrap().exit_code(), code);
    }
}

#[test]
fn a_proof_made_here_is_verified_in_an_empty_folder() {
    let mut bench = Bench::new(1);
    let submitted = filled(&mut bench);
    let answers = bench.answers();
    let network = bench.facts.network.id();
    let empty = tempfile::tempdir().unwrap();
    let file = empty.path().join("one.proof");
    // What is meant, which counter is proven, whether a newer one is still in the journal.
    let at = |n: usize| Some(submitted[n].1);
    let cases = [(None, 7, true), (at(9), 7, true), (at(7), 7, false), (at(4), 4, false), (at(0), 0, false)];
    for (at, counter, is_journaled) in cases {
        let answer = answers.prove(&ProofQuery { stream: "tank/level".into(), at }).unwrap();
        assert_eq!(answer.about.counter, counter);
        assert_eq!(answer.about.journaled.is_some(), is_journaled, "{counter}");
        std::fs::write(&file, &answer.bytes).unwrap();
        let verdict = verify_file(&file, Trust::Network(network)).unwrap().unwrap();
        assert_eq!(verdict.outcome, Outcome::Verified);
        assert_eq!((verdict.reading.counter, verdict.reading.stream.as_str()), (counter, "tank/level"));
        assert_eq!(selvedge_crypto::ids::to_text(&verdict.transaction.id), answer.about.transaction);
    }
    let text = answers.prove(&ProofQuery { stream: "tank/text".into(), at: None }).unwrap();
    std::fs::write(&file, &text.bytes).unwrap();
    let verdict = verify_file(&file, Trust::Genesis(&bench.facts.genesis_bytes)).unwrap().unwrap();
    assert_eq!(verdict.reading.value.as_deref(), Some("level 6"));
    assert_eq!(text.about.journaled.map(|(counter, _)| counter), Some(3));
}

#[test]
fn a_network_with_the_same_names_is_refused() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let mut forged = Bench::new(100);
    filled(&mut forged);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forged.proof");
    let proof = forged.answers().prove(&ProofQuery { stream: "tank/level".into(), at: None }).unwrap();
    std::fs::write(&file, &proof.bytes).unwrap();
    let refusal = verify_file(&file, Trust::Network(bench.facts.network.id())).unwrap().unwrap_err();
    assert_eq!(refusal.exit_code(), 1);
    let consistent = verify_file(&file, Trust::Nobody).unwrap().unwrap();
    assert_eq!(consistent.exit_code(), 3);
}

#[test]
fn what_cannot_be_proven_is_said() {
    let mut bench = Bench::new(1);
    bench.describe(0, temperature("tank/level"));
    let ask = |bench: &Bench, at| {
        bench.answers().prove(&ProofQuery { stream: "tank/level".into(), at }).unwrap_err()
    };
    assert!(matches!(
        ask(&bench, None),
        AskError::NoReading { first: None, .. } | AskError::NoSuchStream { .. }
    ));
    let reading = bench.reading(0, Value::Int(1));
    bench.submit(vec![reading]);
    assert!(matches!(ask(&bench, None), AskError::NotInTransaction { counter: 0, issues: true, .. }));
    bench.flush();
    let before = Time(START.0 - 1);
    assert_eq!(
        ask(&bench, Some(before)),
        AskError::NoReading { stream: "tank/level".into(), at: Some(before), first: Some(START) }
    );
}

#[test]
fn a_stream_described_anew_within_a_batch_is_proven_with_what_it_meant_then() {
    let mut bench = Bench::new(1);
    bench.describe(0, temperature("tank/level"));
    let first = bench.reading(0, Value::Int(214));
    bench.submit(vec![first]);
    bench.pass(SECOND);
    let mut other = temperature("tank/level");
    other.scale = "1".parse().unwrap();
    bench.describe(0, other);
    let second = bench.reading(0, Value::Int(215));
    bench.submit(vec![second]);
    bench.flush();
    bench.pass(SECOND);
    let third = bench.reading(0, Value::Int(216));
    bench.submit(vec![third]);
    let answers = bench.answers();
    let values: Vec<Scalar> = all(&answers, &of("tank/level")).into_iter().map(|r| r.value).collect();
    assert_eq!(values, ["21.4", "215", "216"].map(|v| Scalar::Number(v.into())));
    for (at, value) in [(Some(START), "21.4"), (None, "215")] {
        let answer = answers.prove(&ProofQuery { stream: "tank/level".into(), at }).unwrap();
        let trust = Trust::Network(bench.facts.network.id());
        let verifier = selvedge_crypto::default_verifier();
        let verdict = selvedge_proof::verify(&answer.bytes, trust, verifier.as_ref()).unwrap();
        assert_eq!(verdict.reading.value.as_deref(), Some(value));
    }
}

/// The documentation promised that "people are shown the word", and only `adapter test` kept it: whoever asked the gateway
/// at night what mode a machine is in was told 54321.
#[test]
fn a_value_with_a_word_is_shown_with_its_word() {
    let mut bench = Bench::new(1);
    let mode = Descriptor {
        source_type: "u16 AB {0=off, 7=warm, not ready, 54321=auto}".into(),
        unit: String::new(),
        scale: "1".parse().unwrap(),
        ..temperature("filler/mode")
    };
    bench.describe(0, mode);
    for value in [54_321, 7, 8] {
        let reading = bench.reading(0, Value::Unsigned(value));
        bench.submit(vec![reading]);
    }
    let answers = bench.answers();
    let readings = all(&answers, &of("filler/mode"));
    let words: Vec<Option<&str>> = readings.iter().map(|r| r.word.as_deref()).collect();
    assert_eq!(words, [Some("auto"), Some("warm, not ready"), None]);
    let json = serde_json::to_value(&readings).unwrap();
    assert_eq!((&json[0]["value"], &json[0]["word"]), (&54_321.into(), &"auto".into()), "programs get both");
    assert!(json[2].get("word").is_none());
    let line = super::words::reading_words(&readings[0]);
    assert!(line.contains("54321 (auto)  good"), "{line}");

    let reading = bench.reading(0, Value::Unsigned(54_321));
    bench.submit(vec![reading]);
    let streams = bench.answers().streams(bench.now()).unwrap();
    assert_eq!(streams.streams[0].last.as_ref().unwrap().word.as_deref(), Some("auto"));
    let mut words = Vec::new();
    streams.write_words(&mut words).unwrap();
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("54321 (auto)"), "{words}");
    let status = bench.answers().status(bench.now()).unwrap();
    let mut words = Vec::new();
    status.write_words(&mut words).unwrap();
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("last good: filler/mode = 54321 (auto)"), "{words}");
}

/// A server that drops values because its queue is full, and refuses a node, looked healthy: what the subscription counts
/// was on the page of metrics only, which a gateway without a collector has nobody to read.
#[test]
fn what_a_subscription_counts_is_in_status() {
    use edge_adapters::{Health, SystemClock};

    let health =
        Health::new("filler", "opcua", "opc.tcp://10.0.0.7".into(), std::sync::Arc::new(SystemClock));
    let shown = |health: &Health| super::status::running_device(&health.figures(), None);
    assert_eq!(shown(&health).subscription, None, "a device without one");
    health.subscription(|figures| {
        (figures.items, figures.items_refused, figures.overflows) = (7, 1, 1_234);
        (figures.notifications_lost, figures.republished, figures.resumed) = (2, 3, 4);
        (figures.recreated, figures.deaf) = (5, 6);
    });
    let device = shown(&health);
    let json = serde_json::to_value(&device).unwrap();
    for (key, expected) in [
        ("items", 7),
        ("items_refused", 1),
        ("overflows", 1_234),
        ("notifications_lost", 2),
        ("republished", 3),
        ("resumed", 4),
        ("recreated", 5),
        ("deaf", 6),
    ] {
        assert_eq!(json["subscription"][key], expected, "{key}");
    }
    assert_eq!(serde_json::from_value::<super::status::DeviceAnswer>(json).unwrap(), device);
    let words = super::words::device_words(&device, Time(0));
    for expected in [
        "1 of its nodes refused by the server",
        "1,234 times its queue was full",
        "2 notifications lost",
        "6 nodes of which the server said nothing",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
}

#[test]
fn streams_say_how_far_they_are_and_what_they_said_last() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let mut stale = bench.reading(0, Value::Int(9));
    stale.quality = Quality::Stale;
    bench.submit(vec![stale]);
    let answer = bench.answers().streams(bench.now()).unwrap();
    let [level, text] = answer.streams.as_slice() else { panic!("two streams") };
    assert_eq!((level.name.as_str(), level.readings), ("tank/level", 11));
    assert_eq!(level.last.as_ref().unwrap().quality, "stale");
    assert_eq!(level.last_good.as_ref().unwrap().counter, 9);
    assert_eq!((text.name.as_str(), text.readings), ("tank/text", 4));
    assert_eq!(text.last.as_ref().unwrap().value, Scalar::Text("level 9".into()));
    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<super::streams::StreamsAnswer>(&json).unwrap(), answer);
    let mut words = Vec::new();
    answer.write_words(&mut words).unwrap();
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("0.9 °C") && words.contains("\"level 9\""), "{words}");
}

#[test]
fn the_tangle_is_that_of_the_ledger() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    bench.issue(0, b"hello".to_vec());
    let mut answers = bench.answers();
    answers.live = Some(bench.live().into());
    let answer = answers.tangle(bench.now(), 3).unwrap();
    assert_eq!((answer.transactions, answer.tips, answer.newest.len()), (4, 1, 3));
    let numbers: Vec<u64> = answer.newest.iter().map(|t| t.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let [_, second, note] = answer.newest.as_slice() else { panic!("three") };
    assert_eq!((second.kind.as_str(), second.batch, second.readings), ("batch", Some(2), Some(3)));
    assert_eq!(second.payload, "batch 2: 3 readings of 2 streams");
    assert_eq!((note.kind.as_str(), note.payload.as_str()), ("note", "note of 5 bytes"));
    assert!(note.tip && !second.tip && note.own);
    assert_eq!(
        note.approves,
        [second.id.clone(), second.id.clone()],
        "a lone gateway names its one tip twice"
    );
    assert_eq!(note.witnessed, Some(1), "the committee is this gateway");
    assert_eq!(note.issuer_name, "gateway-1");
    assert_eq!(
        answers.tangle(bench.now(), 4).unwrap().newest[0].approves[0],
        selvedge_crypto::ids::to_text(&bench.facts.network.id())
    );
    let json = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<super::tangle::TangleAnswer>(&json).unwrap(), answer);
    let dot = answer.to_dot();
    assert_eq!(dot.matches(" -> ").count(), 3, "{dot}");
    assert!(dot.starts_with("digraph tangle {") && dot.ends_with("}\n"), "{dot}");
    assert!(matches!(answers.tangle(bench.now(), 0), Err(AskError::Malformed { .. })));
}

#[test]
fn status_counts_what_is_there() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let mut answers = bench.answers();
    let stopped = answers.status(bench.now()).unwrap();
    assert_eq!(stopped.state, NodeState::NotRunning);
    assert!(stopped.attention[0].contains("selvedge run"), "{:?}", stopped.attention);
    assert_eq!((stopped.backlog.readings, stopped.backlog.batches), (3, 1));
    assert_eq!(stopped.backlog.oldest, Some(Time(START.0 + 8 * SECOND)));
    let progress = stopped.backlog.newest_batch.clone().unwrap();
    assert_eq!((progress.number, progress.readings, progress.readings_max), (3, 3, None));
    assert_eq!((stopped.ledger.transactions, stopped.ledger.tips), (3, 1));
    assert_eq!(stopped.ledger.own_newest.as_ref().unwrap().0, 2);
    assert!(stopped.disk.log_bytes > 0 && stopped.disk.archive_bytes > 0);
    let good = stopped.devices[0].last_good.clone().unwrap();
    assert_eq!((stopped.devices[0].name.as_str(), good.receive_time), ("filler", Time(START.0 + 9 * SECOND)));

    answers.live = Some(bench.live().into());
    let running = answers.status(bench.now()).unwrap();
    assert_eq!(running.state, NodeState::Running);
    assert_eq!(running.backlog.newest_batch.as_ref().unwrap().readings_max, Some(1_000));
    assert_eq!(running.events.as_ref().unwrap().readings_batched, 11);
    assert_eq!(running.gateway.name.as_deref(), Some("gateway-1"));
    let json = serde_json::to_string(&running).unwrap();
    assert_eq!(serde_json::from_str::<super::status::StatusAnswer>(&json).unwrap(), running);
    let mut words = Vec::new();
    running.write_words(&mut words).unwrap();
    let words = String::from_utf8(words).unwrap();
    assert!(words.contains("3 readings in no transaction yet"), "{words}");
    assert!(words.contains("batch 3: 3 of 1,000, closes in 8.0 s at the latest"), "{words}");
}

#[test]
fn status_says_what_needs_a_person() {
    let mut bench = Bench::new(1);
    filled(&mut bench);
    let mut answers = bench.answers();
    let mut live = bench.live();
    live.ledger.silence = Some(Silence::Restored);
    live.is_marked = true;
    live.synchronised = false;
    answers.live = Some(live.clone().into());
    let silent = answers.status(bench.now()).unwrap();
    assert_eq!(silent.state, NodeState::Silent);
    assert!(silent.attention[0].contains("selvedge key restore"), "{:?}", silent.attention);
    assert!(silent.attention.iter().any(|a| a.contains("not synchronised")), "{:?}", silent.attention);
    live.halted = Some("disk full".into());
    answers.live = Some(live.into());
    let halted = answers.status(bench.now()).unwrap();
    assert_eq!(halted.state, NodeState::Halted);
    assert!(halted.attention[0].contains("disk full"), "{:?}", halted.attention);
    // A clock that stands years behind what is stored.
    let early = answers.status(Time(SECOND)).unwrap();
    assert!(!early.clock.plausible);
    assert!(early.attention.iter().any(|a| a.contains("cannot be right")), "{:?}", early.attention);
}
