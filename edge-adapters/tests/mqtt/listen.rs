//! A look at mosquitto: what is there is shown, and what is proposed is used as it is.

use std::time::Duration;

use edge_adapters::DeviceState;
use edge_adapters::mqtt::survey::{Head, PayloadKind, Request, look, propose};
use selvedge_core::reading::Value;

use crate::broker::{Broker, certificates};
use crate::rig::Rig;

fn request(url: &str) -> Request {
    Request {
        url: url.parse().expect("an address"),
        is_version_5: false,
        filters: vec!["#".into()],
        user: None,
        password_file: None,
        ca_file: None,
        identity: None,
        server_name: None,
        lasts: Duration::from_millis(700),
        asks_for_births: false,
    }
}

#[tokio::test]
async fn what_a_broker_keeps_is_shown_proposed_and_used_as_it_is() {
    let broker = Broker::start();
    let keep = ["-r"];
    broker.publish("plant/filler/state", 1, r#"{"speed": 7.5, "running": true, "ts": 1700000000250}"#, &keep);
    broker.publish("plant/scale", 1, "1700000000250;12,5;ok", &keep);
    broker.publish("plant/temperature", 1, "21.5", &keep);
    let (survey, cut) =
        look(&request(&format!("mqtt://127.0.0.1:{}", broker.port)), |_| ()).await.expect("a broker");
    assert_eq!(cut, None);
    let report = survey.report();
    let kinds: Vec<_> = report.topics.iter().map(|topic| (topic.topic.as_str(), topic.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("plant/filler/state", PayloadKind::Json),
            ("plant/scale", PayloadKind::Csv),
            ("plant/temperature", PayloadKind::Number)
        ]
    );
    let head = Head { address: format!("127.0.0.1:{}", broker.port), ..Head::default() };
    let (text, streams) = propose(&head, &report);
    assert_eq!(streams, 5, "{text}");
    let mut rig = Rig::start(&text);
    rig.is(DeviceState::Up).await;
    broker.publish("plant/filler/state", 1, r#"{"speed": 8, "running": false, "ts": 1700000001250}"#, &[]);
    broker.publish("plant/scale", 1, "1700000001250;13,5;ok", &[]);
    broker.publish("plant/temperature", 1, "22", &[]);
    let last = |rig: &Rig, stream| rig.good(stream).last().cloned();
    let wanted = [
        Value::Bool(false),
        Value::Float(8.0),
        Value::Float(13.5),
        Value::Text("ok".into()),
        Value::Float(22.0),
    ];
    rig.until("all values", |rig| {
        (0..5).all(|at| last(rig, at as u32).as_ref() == Some(&wanted[at])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_look_says_why_it_sees_nothing() {
    let nowhere = look(&request("mqtt://127.0.0.1:1"), |_| ()).await.expect_err("nobody listens there");
    assert!(nowhere.contains("no connection"), "{nowhere}");
    let tls =
        "allow_anonymous true\ncafile FOLDER/ca.pem\ncertfile FOLDER/server.pem\nkeyfile FOLDER/server.key\n";
    let broker = Broker::with_files(tls, certificates);
    let mut request = request(&format!("mqtts://127.0.0.1:{}", broker.port));
    request.ca_file = Some(broker.path("other-ca.pem"));
    let why = look(&request, |_| ()).await.expect_err("another authority");
    assert!(why.contains("ca_file"), "{why}");
    request.ca_file = Some(broker.path("ca.pem"));
    let (survey, _) = look(&request, |_| ()).await.expect("the right one");
    assert_eq!(survey.messages(), 0);
}
