//! A broker that breaks the protocol on purpose. Whatever it does, the adapter says what was wrong, records nothing that
//! was not said, and goes on as soon as the broker behaves.

use edge_adapters::DeviceState;
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, Value};

use crate::rig::{Rig, numbers};
use crate::support::{Output, Server};

fn bad(modes: &[&str]) -> (Server, u64) {
    let (server, said) = Server::python("bad_broker.py", modes);
    (server, said["port"].as_u64().expect("a port"))
}

fn device(port: u64, more: &str) -> String {
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{port}\"\ntimeout = \"1s\"\nkeep_alive = \"1s\"\n{more}\n\
         [[device.stream]]\nname = \"count\"\ntopic = \"plant/count\"\ntype = \"u64\"\n"
    )
}

/// Served in this mode it goes down for a reason with these words, and then comes up and hears the next message.
async fn recovers(mode: &str, version: &str, why: &str) {
    let (mut server, port) = bad(&[mode]);
    let mut rig = Rig::start(&device(port, &format!("version = \"{version}\"\nqos = 2")));
    rig.is_down(why).await;
    rig.is(DeviceState::Up).await;
    server.say("77");
    let said = rig.until("the message", |rig| {
        Some(rig.good(0)).filter(|good| good.last() == Some(&Value::Unsigned(77)))
    });
    let said = said.await;
    assert!(!said.contains(&Value::Unsigned(666)), "{mode}: {said:?}");
    assert_eq!(rig.device().restarts, 0, "{mode}: a broken connection is no failure of the adapter");
}

#[tokio::test]
async fn one_that_says_nothing_is_left_and_tried_again() {
    recovers("silent", "3.1.1", "no answer to CONNECT within 1s").await;
}

#[tokio::test]
async fn one_that_refuses_is_asked_again() {
    recovers("refuses", "3.1.1", "this client may not connect").await;
}

#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    for version in ["3.1.1", "5"] {
        recovers("garbage", version, "AUTH").await;
        recovers("garbage_later", version, "AUTH").await;
    }
}

#[tokio::test]
async fn a_message_that_is_cut_off_in_the_middle_is_none() {
    recovers("half", "3.1.1", "the broker closed the connection").await;
}

#[tokio::test]
async fn a_message_that_is_too_long_is_not_read_into_memory() {
    recovers("huge", "3.1.1", "more than max_packet_bytes").await;
}

#[tokio::test]
async fn a_message_before_the_connection_stands_is_not_taken() {
    recovers("early", "3.1.1", "no CONNACK").await;
}

#[tokio::test]
async fn answers_to_subscriptions_that_were_not_asked_or_never_come_are_said() {
    recovers("wrong_suback", "3.1.1", "not asked for").await;
    recovers("no_suback", "5", "no answer to the subscription within 1s").await;
    recovers("second_connack", "5", "a second CONNACK").await;
}

#[tokio::test]
async fn a_topic_alias_that_was_not_allowed_is_refused() {
    recovers("alias", "5", "topic alias").await;
}

#[tokio::test]
async fn the_reason_for_a_close_is_said_in_words_on_one_line() {
    let (_server, port) = bad(&["bye"]);
    let mut rig = Rig::start(&device(port, "version = \"5\""));
    let why = rig.is_down("it shuts down (reason 0x8B").await;
    assert!(why.len() < 600 && !why.contains(['\n', '\u{1b}']), "{why}");
}

#[tokio::test]
async fn a_refused_subscription_shows_while_the_connection_stands() {
    let (_server, port) = bad(&["refuses_subscription"]);
    let mut rig = Rig::start(&device(port, "version = \"5\""));
    let device = rig.is(DeviceState::Degraded).await;
    assert!(device.error.expect("a reason").contains("refuses \"plant/count\""));
}

/// TCP may take a quarter of an hour to notice that the other end is gone; the pings do.
#[tokio::test]
async fn a_connection_without_answers_to_pings_is_dead_and_its_streams_are_stale() {
    recovers("deaf", "3.1.1", "no answer to a ping").await;
}

/// Complaint 6. In a session that was said to be kept but was not, the subscription is made all the same: `status` says up
/// only after the broker has granted it.
#[tokio::test]
async fn a_session_that_is_said_to_be_kept_is_subscribed_to_all_the_same() {
    let (mut server, port) = bad(&["resumed"]);
    let mut rig = Rig::start(&device(port, ""));
    rig.is(DeviceState::Up).await;
    let asked = server.lines(Output::Out).iter().any(|line| line.contains("\"packet\": 8,"));
    assert!(asked, "it is up, and has not subscribed: {}", server.shown());
    server.say("1");
    assert_eq!(rig.has(0, 1).await, numbers(1..2));
}

/// They are two messages, whatever their id; and both are acknowledged.
#[tokio::test]
async fn two_messages_under_one_packet_id_are_two_readings() {
    let (server, port) = bad(&["same_id"]);
    let mut rig = Rig::start(&device(port, ""));
    assert_eq!(rig.has(0, 2).await, numbers(1..3));
    let is_ack = |line: &str| line.contains("\"packet\": 4, \"body\": \"0007\"");
    rig.until("two acknowledgements", |_| {
        (server.lines(Output::Out).iter().filter(|line| is_ack(line)).count() == 2).then_some(())
    })
    .await;
}

/// Quality of service 2 in a new session: what is marked as sent before may have been recorded by somebody, once; nobody
/// can say, so it is recorded with the flag. What was never sent is released all the same (MQTT 3.1.1, section 4.3.3).
#[tokio::test]
async fn a_message_of_quality_2_that_comes_again_is_marked_and_an_unknown_release_is_answered() {
    for version in ["3.1.1", "5"] {
        let (server, port) = bad(&["twice"]);
        let mut rig = Rig::start(&device(port, &format!("qos = 2\nversion = \"{version}\"")));
        rig.has(0, 2).await;
        let flags: Vec<_> = rig.readings.iter().map(|reading| reading.flags).collect();
        assert_eq!(flags, [0, FLAG_POSSIBLY_REPEATED], "{version}");
        for id in ["0009", "0fff"] {
            let wanted = format!("\"packet\": 7, \"body\": \"{id}\"");
            rig.until(&wanted, |_| {
                server.lines(Output::Out).iter().any(|line| line.contains(&wanted)).then_some(())
            })
            .await;
        }
        assert_eq!(rig.device().connections, 1, "{version}");
    }
}

/// It does not wait for acknowledgements, so five thousand messages come at once: more than the window takes. All of them
/// are recorded once, and acknowledged in order, while memory holds a window of them and what TCP holds.
#[tokio::test]
async fn a_broker_that_does_not_wait_for_acknowledgements_waits_for_the_window() {
    for version in ["3.1.1", "5"] {
        let (server, port) = bad(&["flood"]);
        let mut rig = Rig::start(&device(port, &format!("version = \"{version}\"")));
        assert_eq!(rig.has(0, 5_000).await, numbers(0..5_000));
        let acknowledged = |line: &str| line.contains("\"packet\": 4,");
        rig.until("all acknowledgements", |_| {
            (server.lines(Output::Out).iter().filter(|line| acknowledged(line)).count() == 5_000)
                .then_some(())
        })
        .await;
        let ids: Vec<String> =
            server.lines(Output::Out).into_iter().filter(|line| acknowledged(line)).collect();
        for (at, line) in ids.iter().enumerate() {
            assert!(line.contains(&format!("\"body\": \"{:04x}\"", at + 1)), "{at}: {line}");
        }
    }
}
