//! What comes again and is older than all that the journal kept.

use selvedge_core::border::Origin;
use selvedge_core::limits::SUBMIT_READINGS_MAX;
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, Value};

use super::{Rig, keep, origin};
use crate::mqtt::aside::{ASIDE_MAX, SILENCE};
use crate::mqtt::client::Heard;

/// As many as the journal keeps: 257 to 512, in this order.
fn full_journal() -> Vec<Origin> {
    (257..=512).map(|packet| origin(packet, "a/t", &packet.to_string())).collect()
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_before_what_is_known_was_recorded_too() {
    // More was recorded and acknowledged than the journal keeps origins of, and no acknowledgement arrived.
    let mut rig = Rig::with(&full_journal(), 256);
    let mut link = rig.running().await;
    link.again(200, "a/unknown", "x");
    for packet in 201..=512 {
        link.again(packet, "a/t", &packet.to_string());
    }
    for packet in 200..=512 {
        assert_eq!(link.acknowledged().await, packet, "acknowledged in the order in which they came");
    }
    link.again(513, "a/t", "513");
    link.message(514, "a/t", "514");
    let mut readings = Vec::new();
    while readings.len() < 2 {
        readings.extend(keep(rig.delivery().await));
    }
    assert_eq!(readings.iter().map(|r| r.flags).collect::<Vec<_>>(), [0, 0], "nothing is doubtful");
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [513, 514]);
    let figures = rig.figures();
    assert_eq!((figures.repeats_dropped, figures.possibly_repeated, figures.unmatched), (312, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_nothing_known_follows_is_recorded_with_a_flag() {
    let mut rig = Rig::with(&full_journal(), 256);
    let mut link = rig.running().await;
    // After half of all ids went by with messages of no stream, a new one looks like an old one.
    link.again(3, "a/t", "3");
    link.message(0, "a/t", "0");
    assert_eq!(keep(rig.delivery().await)[0].value, Value::Float(0.0), "quality 0 waits for nothing");
    link.nothing_said();
    link.message(4, "a/t", "4");
    let mut readings = Vec::new();
    while readings.len() < 2 {
        readings.extend(keep(rig.delivery().await));
    }
    let flags: Vec<_> = readings.iter().map(|r| (r.value.clone(), r.flags)).collect();
    assert_eq!(flags, [(Value::Float(3.0), FLAG_POSSIBLY_REPEATED), (Value::Float(4.0), 0)]);
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn what_nothing_follows_is_recorded_with_a_flag_after_a_while() {
    let mut rig = Rig::with(&full_journal(), 256);
    let mut link = rig.running().await;
    link.again(100, "a/t", "100");
    link.again(101, "a/t", "101");
    let begun = tokio::time::Instant::now();
    let readings = keep(rig.delivery().await);
    assert!(begun.elapsed() >= SILENCE, "{:?}", begun.elapsed());
    let flags: Vec<_> = readings.iter().map(|r| r.flags).collect();
    assert_eq!(flags, [FLAG_POSSIBLY_REPEATED; 2]);
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [100, 101]);
    // What was set aside on a connection that ended is not taken, and comes again on the next.
    link.again(99, "a/t", "99");
    drop(link);
    let link = rig.link().await;
    link.say(Heard::Connected { resumed: false });
    link.again(99, "a/t", "99");
    assert_eq!(keep(rig.awaited().await).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_is_bounded() {
    let mut rig = Rig::with(&full_journal(), 256);
    let mut link = rig.running().await;
    // All of them before 257: ids begin again after 65,535.
    let packets: Vec<u16> = (60_000..=60_000 + ASIDE_MAX as u16).collect();
    for packet in &packets {
        link.again(*packet, "a/t", &packet.to_string());
    }
    let mut flagged = 0;
    while flagged < packets.len() {
        let delivery = rig.delivery().await;
        assert!(delivery.origins.len() <= SUBMIT_READINGS_MAX);
        let readings = keep(delivery);
        assert!(readings.iter().all(|reading| reading.flags == FLAG_POSSIBLY_REPEATED));
        flagged += readings.len();
    }
    for packet in packets {
        assert_eq!(link.acknowledged().await, packet);
    }
}
