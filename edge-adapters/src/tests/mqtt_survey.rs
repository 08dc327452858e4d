//! A look at a broker: what payloads are, what is proposed, and that memory is bounded whatever comes.

use std::time::Duration;

use super::support::cases;
use crate::backoff::SplitMix;
use crate::config::sources;
use crate::mqtt::survey::{FIELDS_MAX, FieldKind, Head, PayloadKind, Survey, TOPICS_MAX, Url, propose};

fn head() -> Head {
    Head { address: "h:1883".into(), ..Head::default() }
}

fn survey(messages: &[(&str, &[u8])]) -> Survey {
    let mut survey = Survey::default();
    for (at, (topic, payload)) in messages.iter().enumerate() {
        survey.heard(topic, payload, false, Duration::from_secs(at as u64));
    }
    survey
}

#[test]
fn payloads_are_known_for_what_they_are() {
    for (payload, kind) in [
        (&b"21.5"[..], PayloadKind::Number),
        (b" -3 \n", PayloadKind::Number),
        (b"ON", PayloadKind::Switch),
        (b"false", PayloadKind::Switch),
        (b"{\"t\": 1}", PayloadKind::Json),
        (b"[1, 2]", PayloadKind::Json),
        (b"{ not json", PayloadKind::Text),
        (b"1800000000250;21,5;ok;7", PayloadKind::Csv),
        (b"1,2,3", PayloadKind::Csv),
        (b"the filler stands still, as before", PayloadKind::Text),
        (b"idle", PayloadKind::Text),
        (b"", PayloadKind::Empty),
        (&[0, 1, 2, 255], PayloadKind::Binary),
    ] {
        let report = survey(&[("a", payload)]).report();
        assert_eq!(report.topics[0].kind, kind, "{:?}", String::from_utf8_lossy(payload));
    }
    let mixed = survey(&[("a", b"1"), ("a", b""), ("a", b"{}")]).report();
    assert_eq!(mixed.topics[0].kind, PayloadKind::Mixed);
    assert_eq!(
        survey(&[("a", b"1"), ("a", b"")]).report().topics[0].kind,
        PayloadKind::Number,
        "empty takes it back"
    );
}

#[test]
fn fields_have_their_places_kinds_and_rates() {
    let one = br#"{"ts": 1800000000250, "v": {"t": 21, "ok": true}, "a/b": null, "name": "filler", "l": [1, 2, 3, 4, 5, 6]}"#;
    let two = br#"{"ts": 1800000001250, "v": {"t": 21.5, "ok": false}, "a/b": 7}"#;
    let report = survey(&[("p", one), ("p", two), ("p", two)]).report();
    let topic = &report.topics[0];
    assert_eq!((topic.messages, topic.per_second, topic.fields_left_out), (3, Some(1.0), 2));
    let fields: Vec<_> =
        topic.fields.iter().map(|field| (field.place.as_str(), field.kind, field.messages)).collect();
    assert_eq!(
        fields,
        [
            ("/a~1b", FieldKind::Integer, 3),
            ("/l/0", FieldKind::Integer, 1),
            ("/l/1", FieldKind::Integer, 1),
            ("/l/2", FieldKind::Integer, 1),
            ("/l/3", FieldKind::Integer, 1),
            ("/name", FieldKind::Text, 1),
            ("/ts", FieldKind::Time, 3),
            ("/v/ok", FieldKind::Bool, 3),
            ("/v/t", FieldKind::Number, 3),
        ]
    );
}

#[test]
fn what_the_broker_had_kept_has_no_rate() {
    let mut survey = Survey::default();
    for (at, retained) in [(0, true), (10, false), (12, false), (14, false)] {
        survey.heard("a", b"1", retained, Duration::from_secs(at));
    }
    let topic = &survey.report().topics[0];
    assert_eq!((topic.messages, topic.retained, topic.per_second), (4, 1, Some(0.5)));
}

#[test]
fn a_proposal_is_a_configuration_with_times_and_columns() {
    let survey = survey(&[
        ("plant/filler", br#"{"ts": 1800000000250, "speed": 7.5, "state": "ok"}"#),
        ("plant/row", b"1800000000250;21,5;7"),
        ("plant/on", b"on"),
        ("plant/picture", &[0xFF, 0xD8, 0]),
        ("$SYS/uptime", b"7"),
    ]);
    let lines = vec!["version = \"5\"".to_owned()];
    let head = Head { lines, tls: Some(vec!["ca_file = \"/etc/ca.pem\"".into()]), ..head() };
    let (text, count) = propose(&head, &survey.report());
    let sources = sources(&text).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    let shown: Vec<_> = sources[0]
        .streams()
        .iter()
        .map(|s| (s.descriptor.name.as_str(), s.descriptor.source_type.as_str()))
        .collect();
    assert_eq!(
        shown,
        [
            ("plant/filler/speed", "json f64"),
            ("plant/filler/state", "json string"),
            ("plant/on", "text bool"),
            ("plant/row/2", "csv f64"),
            ("plant/row/3", "csv f64"),
        ]
    );
    assert_eq!(count, 5);
    for line in [
        "time = \"/ts\"",
        "separator = \";\"",
        "column = 2",
        "time = 1",
        "# plant/picture: bytes",
        "# $SYS/uptime: ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

/// Whatever a broker sends, memory has a bound, and what is proposed is a configuration.
#[test]
fn generated_messages_are_looked_at_in_bounds_and_give_a_configuration() {
    let mut random = SplitMix(0x10CC);
    println!("seed 0x10CC");
    let parts = [
        "{",
        "}",
        "[",
        "]",
        "\"a\"",
        "\"b/~\"",
        ":",
        ",",
        "1",
        "-2.5e3",
        "true",
        "null",
        ";",
        "\n",
        "é",
        "\u{1}",
        "\"",
        "1800000000250",
        "2027-01-15T08:00:00Z",
        "on",
        "\t",
        "#",
    ];
    for round in 0..cases() / 500 {
        let mut survey = Survey::default();
        for message in 0..500_u64 {
            let mut any = |most: u64| -> String {
                (0..random.next() % most).map(|_| parts[random.next() as usize % parts.len()]).collect()
            };
            let (topic, payload) = (any(5), any(16));
            let topic = if topic.is_empty() { "t".to_owned() } else { topic };
            survey.heard(&topic, payload.as_bytes(), message % 7 == 0, Duration::from_millis(message));
        }
        let report = survey.report();
        assert!(report.topics.iter().all(|topic| topic.fields.len() <= FIELDS_MAX), "round {round}");
        let (text, count) = propose(&head(), &report);
        if count > 0 {
            let taken = sources(&text);
            assert!(taken.is_ok(), "round {round}: {:#?}\n{text}", taken.err());
        }
    }
}

#[test]
fn a_broker_that_invents_topics_and_fields_fills_nothing() {
    let mut survey = Survey::default();
    for number in 0..20_000_u64 {
        survey.heard(&format!("t/{number}"), b"1", false, Duration::from_millis(number));
        survey.heard(
            "wide",
            format!("{{\"field {number}\": 1}}").as_bytes(),
            false,
            Duration::from_millis(number),
        );
    }
    survey.heard(&"x".repeat(60_000), b"1", false, Duration::ZERO);
    let report = survey.report();
    assert_eq!((report.messages, report.topics.len()), (40_001, TOPICS_MAX));
    assert_eq!(report.messages_left_out, 40_001 - 20_000 - (TOPICS_MAX as u64 - 1));
    let wide = report.topics.iter().find(|topic| topic.topic == "wide").expect("it came early");
    assert_eq!((wide.fields.len(), wide.fields_left_out), (FIELDS_MAX, 20_000 - FIELDS_MAX as u64));
    let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
    let report =
        self::survey(&[("deep", deep.as_bytes()), ("a/{b}/c", b"1"), ("a/#", b"1"), ("a\n", b"1")]).report();
    assert_eq!((report.topics.len(), report.messages_left_out), (1, 3), "no stream could have the others");
    assert!(report.topics[0].fields.is_empty() && report.topics[0].fields_left_out == 1);
}

#[test]
fn addresses_of_brokers_are_read_and_secrets_in_them_refused() {
    for (text, host, port, has_tls) in [
        ("mqtt://h", "h", 1883, false),
        ("mqtts://h/", "h", 8883, true),
        ("mqtt://10.0.0.7:1884", "10.0.0.7", 1884, false),
        ("mqtts://[fd00::7]", "[fd00::7]", 8883, true),
        ("mqtts://[fd00::7]:1", "[fd00::7]", 1, true),
    ] {
        let url = Url { host: host.into(), port, has_tls };
        assert_eq!(text.parse::<Url>(), Ok(url), "{text}");
    }
    for text in ["h", "http://h", "mqtt://", "mqtt://h:0", "mqtt://h:99999", "mqtt://h/topic", "mqtt://h:x"] {
        assert!(text.parse::<Url>().is_err(), "{text}");
    }
    let why = "mqtt://me:secret@h".parse::<Url>().expect_err("a password on the command line");
    assert!(why.contains("--password-file") && !why.contains("secret"), "{why}");
}
