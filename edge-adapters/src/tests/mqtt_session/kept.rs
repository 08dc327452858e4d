//! What a message says of its own time, what the broker had kept, and what of a message stands in the log.

use selvedge_core::reading::{Quality, Value};

use super::{NOW_NS, Rig, keep, message};
use crate::clock::{AHEAD_MAX, EARLIEST_NS};
use crate::mqtt::client::{Heard, Message};
use crate::status_code;
use crate::tests::support::Log;

/// Story: a controller loses its battery and says 1984; another's clock was set to 2190 by a slip. Both readings were good,
/// with times that sorted them before the plant was built and after it is gone. What the broker kept for a week is right.
#[tokio::test(start_paused = true)]
async fn a_time_that_cannot_be_is_kept_and_makes_the_reading_uncertain() {
    let mut rig = Rig::new();
    let mut link = rig.running().await;
    let odd = (Quality::Uncertain, status_code::ODD_TIME);
    let good = (Quality::Good, status_code::NONE);
    let ahead_ns = AHEAD_MAX.as_nanos() as i64;
    let cases = [
        (441_763_200_000_000_000, odd),
        (6_942_585_600_000_000_000, odd),
        (EARLIEST_NS - 1_000_000, odd),
        (EARLIEST_NS, good),
        (NOW_NS - 7 * 86_400_000_000_000, good),
        (NOW_NS + ahead_ns, good),
        (NOW_NS + ahead_ns + 1_000_000, odd),
    ];
    for (packet, (source_time_ns, expected)) in (1..).zip(cases) {
        let payload = format!("{{\"v\": 4, \"ts\": {}}}", source_time_ns / 1_000_000);
        for retained in [false, true] {
            // A kept message with a time of its own is no other than one that comes live.
            let packet = 2 * packet + u16::from(retained);
            let message = Message {
                retained,
                ..message(packet, "a/j", &format!("{payload}{}", " ".repeat(packet.into())))
            };
            link.say(Heard::Message(message));
            let reading = keep(rig.delivery().await).swap_remove(0);
            assert_eq!((reading.quality, reading.status), expected, "{payload}, retained: {retained}");
            assert_eq!((reading.source_time_ns, reading.receive_time_ns), (source_time_ns, NOW_NS));
            link.acknowledged().await;
        }
    }
    // What the source says of the value itself is not covered up.
    link.message(90, "a/j", "{\"v\": null, \"ts\": 0}");
    let nothing = keep(rig.delivery().await).swap_remove(0);
    assert_eq!((nothing.quality, nothing.status), (Quality::NotAvailable, status_code::NONE));
}

/// Story: a stranger may publish on one topic. What he wrote there looked like a line of the gateway's own log, in red, and the
/// real line named a number where a person looks for a stream.
#[tokio::test(start_paused = true)]
async fn a_payload_forges_no_line_in_the_log() {
    let (log, _guard) = Log::listen();
    let mut rig = Rig::new();
    let link = rig.running().await;
    link.message(1, "a/t", "1\n2026-11-22T01:00:00Z  INFO device answers \u{1b}[31m\u{9b}2J\u{202e}");
    keep(rig.delivery().await);
    assert_eq!(log.lines_with("stream=\"t\""), 1);
    assert_eq!(log.lines_with("1\\n2026"), 1, "it is there, escaped");
    for raw in ["\n", "\u{1b}", "\u{9b}", "\u{202e}"] {
        assert_eq!(log.lines_with(raw), 0, "{raw:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retained_message_is_of_unknown_age_and_taken_once() {
    let mut rig = Rig::new();
    let link = rig.running().await;
    let retained = |packet, topic, payload| {
        Heard::Message(Message { retained: true, ..message(packet, topic, payload) })
    };
    link.say(retained(1, "a/t", "5"));
    let first = keep(rig.delivery().await);
    assert_eq!((first[0].quality, first[0].status), (Quality::Uncertain, status_code::RETAINED));
    link.say(retained(2, "a/j", "{\"v\": 1, \"ts\": 1767225599077}"));
    let timed = keep(rig.delivery().await);
    assert_eq!(
        (timed[0].quality, timed[0].source_time_ns),
        (Quality::Good, NOW_NS - 923_000_000),
        "it says how old it is"
    );
    link.say(retained(3, "a/t", "5"));
    link.say(retained(4, "a/t", "6"));
    let next = rig.awaited().await;
    assert_eq!(keep(next)[0].value, Value::Float(6.0));
    assert_eq!(rig.figures().retained_repeated, 1);
}

/// Story: the state of a valve changes once a month. The broker restarts without its store, so the stream becomes stale; the
/// broker then says the state again, which it had from the valve's own controller, and the stream stayed stale for a month.
#[tokio::test(start_paused = true)]
async fn what_the_broker_keeps_ends_the_staleness_though_it_is_unchanged() {
    let mut rig = Rig::new();
    let mut link = rig.running().await;
    let retained = |packet, topic, payload| {
        Heard::Message(Message { retained: true, ..message(packet, topic, payload) })
    };
    let timed = "{\"v\": 1, \"ts\": 1767225599077}";
    for _ in 0..2 {
        link.say(retained(1, "a/t", "5"));
        link.say(retained(2, "a/j", timed));
        let mut readings = Vec::new();
        while readings.len() < 2 {
            readings.extend(keep(rig.awaited().await));
        }
        assert_eq!((readings[0].quality, readings[0].status), (Quality::Uncertain, status_code::RETAINED));
        assert_eq!((readings[1].quality, readings[1].source_time_ns), (Quality::Good, NOW_NS - 923_000_000));
        assert_eq!([link.acknowledged().await, link.acknowledged().await], [1, 2]);
        drop(link);
        let stale = rig.delivery().await;
        assert!(
            stale.ack.is_none() && stale.readings.iter().all(|reading| reading.quality == Quality::Stale)
        );
        link = rig.link().await;
        link.accept(false).await;
    }
    assert_eq!(rig.figures().retained_repeated, 0);
}
