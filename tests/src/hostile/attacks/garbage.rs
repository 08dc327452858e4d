//! What is no frame, and frames that hold garbage.

use std::net::SocketAddr;
use std::time::Duration;

use selvedge_core::limits::FRAME_BYTES_MAX;

use crate::hostile::attack::Field;
use crate::hostile::link::{self, BULK, FRESH, Link};
use crate::hostile::tls::Manner;

/// Kinds of frames that are tried: all that are known, the shell's, and some of neither.
const KINDS: [u8; 17] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 63, 64, 65, 255];
/// Longest garbage in a frame.
const GARBAGE_BYTES: u64 = 4_096;

/// Streams that begin with no lane's number, further streams, streams both ways, datagrams, and bytes that are no frames.
pub(super) async fn streams(field: &mut Field) {
    let to = field.target();
    wrong_lanes(field, to).await;
    let mut turn = 2;
    while field.goes_on() && turn < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.knock(to).await else { continue };
        turn += 1;
        let bytes = field.maker.bytes(16 * 1024);
        match turn % 3 {
            0 => drop(link.raw(FRESH, &bytes).await),
            1 => further_streams(&mut link, &bytes).await,
            _ => both_ways(&mut link, &bytes).await,
        }
        // It answers at once or not at all; what it did not end by then it put up with.
        link.reason().await;
        field.leave(&link);
    }
}

/// Two streams that begin with no number of a lane.
async fn wrong_lanes(field: &mut Field, to: SocketAddr) {
    let opened = link::handshake(&field.endpoint, to, field.identity(), Manner::Right).await;
    let connection = match opened {
        Ok(connection) => connection,
        Err(why) => return field.tally.reason(&why),
    };
    let garbage = async {
        for lane in [7, 9] {
            let mut stream = connection.open_uni().await.ok()?;
            stream.write_all(&[lane; 100]).await.ok()?;
        }
        Some(connection.closed().await)
    };
    field.tally.connected();
    field.tally.tried(2, 200);
    let ended = tokio::time::timeout(Duration::from_secs(2), garbage).await.ok().flatten();
    let why = ended.or_else(|| connection.close_reason());
    field.tally.reason(&why.map_or_else(|| "left open".into(), |why| link::words(&why)));
}

async fn further_streams(link: &mut Link, bytes: &[u8]) {
    let connection = link.connection().clone();
    let open = async {
        while let Ok(mut stream) = connection.open_uni().await {
            if stream.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    // Beyond what is allowed a stream never opens.
    let _ = tokio::time::timeout(Duration::from_millis(300), open).await;
    // Such lanes are asked for with garbage, too.
    let _ = link.raw(BULK, bytes).await;
}

async fn both_ways(link: &mut Link, bytes: &[u8]) {
    let connection = link.connection().clone();
    // Neither is offered, so neither can be sent: that is the first thing to find out.
    let datagram = connection.send_datagram(bytes[..64].to_vec().into());
    let open = tokio::time::timeout(Duration::from_millis(300), connection.open_bi()).await;
    if datagram.is_ok() || matches!(open, Ok(Ok(_))) {
        // Said by the reason that it ends with, should the gateway take them.
        let _ = link.raw(BULK, &[0; 4]).await;
    }
    let _ = link.raw(FRESH, &bytes[..1_000]).await;
}

/// A hello and then garbage of every kind; again with the next kinds when it is sent away and let in again.
pub(super) async fn frames(field: &mut Field) {
    let mut sent = [0_u64; KINDS.len()];
    let mut at = 0;
    while field.goes_on() && at < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        loop {
            let kind = KINDS[at as usize % KINDS.len()];
            let length = 1 + field.maker.below(GARBAGE_BYTES) as usize;
            let mut frame = field.maker.bytes(length);
            frame[0] = kind;
            // One in four is of the bulk lane.
            let lane = if field.maker.below(4) == 0 { BULK } else { FRESH };
            if at >= field.orders.count || !field.goes_on() || link.send(lane, &frame).await.is_err() {
                break;
            }
            sent[at as usize % KINDS.len()] += 1;
            at += 1;
        }
        link.reason().await;
        field.leave(&link);
    }
    let kinds = sent.iter().filter(|count| **count > 0).count();
    field.tally.say("kinds", kinds);
}

/// Frames of no length, of one byte too many, and of four gigabytes.
pub(super) async fn oversize(field: &mut Field) {
    let lengths = [0, FRAME_BYTES_MAX as u32 + 1, u32::MAX];
    let mut turn = 0;
    while field.goes_on() && turn < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        let length = lengths[turn as usize % lengths.len()];
        turn += 1;
        let bytes = [&length.to_le_bytes()[..], &field.maker.bytes(4_096)].concat();
        let _ = link.raw(FRESH, &bytes).await;
        link.reason().await;
        field.leave(&link);
    }
}
