//! One connection, from the end of its handshake to its own end: two lanes each way, and the answers from the store.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use quinn::{Connection, RecvStream, SendStream};
use selvedge_core::Issuer;
use selvedge_core::border::{Lane, Serve, Ticket};
use selvedge_core::limits::FRAME_BYTES_MAX;
use selvedge_core::wire::SHELL_KINDS;
use selvedge_crypto::ids;
use tokio::io::{AsyncReadExt as _, BufReader};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::arrivals::{Arrival, Permit};
use super::dial::News;
use super::limits::{
    HANDSHAKE, IN_ENGINE_LEAST_BYTES, READ_BYTES, RULE_BACK_OFF, SILENCE, SILENCE_LOOK, SKIPS_BURST,
    SKIPS_PER_SECOND, TELL_EVERY, TOLD_BURST, WRITE_BYTES,
};
use super::links::{Link, Shared, code, lock};
use super::{addresses, serve, words};
use crate::net::queue::Queue;

/// Why one part of a link ended.
enum Ended {
    /// With the connection.
    Lost,
    /// The peer broke a rule; it is told which.
    Broke(String),
    /// The core's loop is gone.
    NodeStops,
}

/// The lanes of a connection.
pub(super) struct Lanes {
    out: [SendStream; 2],
    into: [RecvStream; 2],
}

/// Opens this side's lanes and waits for the other's. That they come shows a dialler that it was accepted: in TLS 1.3
/// its own handshake ends before its key is looked at.
pub(super) async fn open_lanes(connection: &Connection) -> Result<Lanes, String> {
    let lanes = async {
        let (fresh, bulk) = (open_lane(connection, 0).await?, open_lane(connection, 1).await?);
        let (one, two) = (accept_lane(connection).await?, accept_lane(connection).await?);
        match (one, two) {
            ((0, fresh_in), (1, bulk_in)) | ((1, bulk_in), (0, fresh_in)) => {
                Ok(Lanes { out: [fresh, bulk], into: [fresh_in, bulk_in] })
            }
            ((one, _), (two, _)) => Err(format!("its streams begin with {one} and {two}, expected 0 and 1")),
        }
    };
    let outcome = match timeout(HANDSHAKE, lanes).await {
        Ok(outcome) => outcome,
        Err(_) => Err("its two streams did not open within ten seconds".into()),
    };
    outcome.map_err(|why| {
        if let Some(ended) = connection.close_reason() {
            return words::of_end(&ended);
        }
        connection.close(code::RULE, words::reason_bytes(&why));
        why
    })
}

async fn open_lane(connection: &Connection, lane: u8) -> Result<SendStream, String> {
    let mut stream = connection.open_uni().await.map_err(|why| words::of_end(&why))?;
    // What is new goes before answers.
    let _ = stream.set_priority(i32::from(lane == 0));
    stream.write_all(&[lane]).await.map_err(|why| why.to_string())?;
    Ok(stream)
}

async fn accept_lane(connection: &Connection) -> Result<(u8, RecvStream), String> {
    let mut stream = connection.accept_uni().await.map_err(|why| words::of_end(&why))?;
    let mut lane = [0];
    stream.read_exact(&mut lane).await.map_err(|why| why.to_string())?;
    Ok((lane[0], stream))
}

/// Runs a connection whose lanes are open until it ends.
pub(super) async fn run(
    shared: &Arc<Shared>,
    connection: Connection,
    lanes: Lanes,
    issuer: Issuer,
    dialled: Option<super::book::Target>,
) {
    let (link, requests) = shared.link(connection, issuer, dialled.is_some());
    let (peer, outgoing) = (link.peer, link.outgoing);
    tracing::info!(peer = peer.0, issuer = ids::to_text(&issuer), address = %link.address, outgoing, "connected");
    let up = shared.to_core.tell(Arrival::PeerUp { peer, issuer, outgoing }).await;
    shared.tell_dialler(News::Up { link: Arc::clone(&link), dialled }).await;
    if up.is_ok() {
        carry(shared, &link, lanes, requests).await;
    } else {
        link.close(code::STOPS, "the node stops");
    }
    let why = link.ended().unwrap_or_else(|| "closed".into());
    tracing::info!(peer = peer.0, issuer = ids::to_text(&issuer), address = %link.address, %why, "connection ended");
    shared.remove(&link);
    shared.note_closed(Some(issuer), link.address, &why);
    let owed = std::mem::take(&mut *lock(&link.owed));
    // Should the loop be gone, nobody waits for any of this.
    for ticket in owed {
        let _ = shared.to_core.tell(Arrival::Served(ticket)).await;
    }
    let _ = shared.to_core.tell(Arrival::PeerDown(peer)).await;
    shared.tell_dialler(News::Down { issuer, held: link.held(), why }).await;
}

/// Carries frames both ways until the first part ends; then all do.
async fn carry(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    lanes: Lanes,
    requests: mpsc::Receiver<(Ticket, Serve)>,
) {
    let mut parts = JoinSet::new();
    for (lane, out) in [Lane::Fresh, Lane::Bulk].into_iter().zip(lanes.out) {
        let writer = Arc::clone(link);
        parts.spawn(async move { write_lane(&writer, writer.queue(lane), out).await });
    }
    // The peer's first frame is its hello, on the fresh lane; when a packet is lost the other lane may overtake it.
    let (greeted, greeting) = oneshot::channel();
    let [fresh, bulk] = lanes.into;
    let (for_fresh, reader) = (Arc::clone(shared), Arc::clone(link));
    parts.spawn(async move { read_lane(&for_fresh, &reader, fresh, Some(greeted)).await });
    let (for_bulk, reader) = (Arc::clone(shared), Arc::clone(link));
    parts.spawn(async move {
        match greeting.await {
            Ok(()) => read_lane(&for_bulk, &reader, bulk, None).await,
            Err(_) => Ended::Lost,
        }
    });
    let watched = Arc::clone(link);
    parts.spawn(async move { watch(&watched).await });
    let (for_serving, serving) = (Arc::clone(shared), Arc::clone(link));
    parts.spawn(async move {
        serve::run(&for_serving, &serving, requests).await;
        // It ends with the connection, or with the core.
        serving.connection.closed().await;
        Ended::Lost
    });
    match parts.join_next().await {
        Some(Ok(Ended::Broke(why))) => {
            shared.members.put_off(&link.issuer, Instant::now(), RULE_BACK_OFF);
            tracing::warn!(peer = link.peer.0, issuer = ids::to_text(&link.issuer), %why, "a peer broke a rule of frames");
            link.close(code::RULE, &why);
        }
        Some(Ok(Ended::Lost)) | None => link.close(code::STOPS, "a stream ended"),
        Some(Err(why)) if why.is_panic() => std::panic::resume_unwind(why.into_panic()),
        // The core's loop is gone, or the network's threads end.
        Some(Ok(Ended::NodeStops) | Err(_)) => link.close(code::STOPS, "the node stops"),
    }
    link.fresh.close();
    link.bulk.close();
    parts.shutdown().await;
}

/// Ends when the path swallows what is sent: something that wants an answer went out, and nothing has come since. QUIC
/// would find out too, but its probes come at twice the distance each time, so that after a cut of a minute it may be
/// silent for another one; a new connection is up at once.
async fn watch(link: &Link) -> Ended {
    let mut looks = tokio::time::interval(SILENCE_LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut heard, mut asked, mut since) = (0, 0, None);
    loop {
        looks.tick().await;
        let stats = link.connection.stats();
        let asking = stats.frame_tx.stream + stats.frame_tx.ping;
        if stats.udp_rx.datagrams != heard {
            (heard, asked, since) = (stats.udp_rx.datagrams, asking, None);
        } else if asking > asked {
            let since = *since.get_or_insert_with(Instant::now);
            if since.elapsed() >= SILENCE {
                link.close(code::STOPS, "no answer for ten seconds: the path is dead");
                return Ended::Lost;
            }
        }
    }
}

async fn write_lane(link: &Link, queue: &Queue, mut stream: SendStream) -> Ended {
    let mut frames = Vec::new();
    loop {
        frames.clear();
        if queue.take(WRITE_BYTES, &mut frames).await.is_none() {
            return Ended::Lost;
        }
        // Made anew each time: an idle connection holds no buffer.
        let mut bytes = Vec::with_capacity(frames.iter().map(|f| f.len() + 4).sum());
        for frame in &frames {
            bytes.extend_from_slice(&(frame.len() as u32).to_le_bytes());
            bytes.extend_from_slice(frame);
        }
        if stream.write_all(&bytes).await.is_err() {
            return Ended::Lost;
        }
        link.counts.frames_sent.fetch_add(frames.len() as u64, Relaxed);
    }
}

async fn read_lane(
    shared: &Shared,
    link: &Link,
    stream: RecvStream,
    mut greeted: Option<oneshot::Sender<()>>,
) -> Ended {
    let mut stream = BufReader::with_capacity(READ_BYTES, stream);
    loop {
        let mut head = [0; 4];
        if stream.read_exact(&mut head).await.is_err() {
            return Ended::Lost;
        }
        let length = u32::from_le_bytes(head) as usize;
        if !(1..=FRAME_BYTES_MAX).contains(&length) {
            return Ended::Broke(format!("a frame of {length} bytes, expected 1 to {FRAME_BYTES_MAX}"));
        }
        // Room first, memory second: without room the stream is not read, and the peer's window closes.
        let share = length.max(IN_ENGINE_LEAST_BYTES) as u32;
        let Ok(permit) = Arc::clone(&link.room).acquire_many_owned(share).await else { return Ended::Lost };
        let mut bytes = vec![0; length];
        if stream.read_exact(&mut bytes).await.is_err() {
            return Ended::Lost;
        }
        link.counts.frames_received.fetch_add(1, Relaxed);
        if bytes[0] >= SHELL_KINDS {
            if let Err(why) = shell_frame(shared, link, &bytes).await {
                return Ended::Broke(why);
            }
            continue;
        }
        let (bytes, permit) = (bytes.into(), Permit::new(permit));
        if shared.to_core.tell(Arrival::Frame { peer: link.peer, bytes, permit }).await.is_err() {
            return Ended::NodeStops;
        }
        // Nobody listens once the connection ends.
        greeted.take().map(|greeted| greeted.send(()));
    }
}

/// A frame that is not the core's. Unknown kinds are skipped, so that a newer version may say more.
async fn shell_frame(shared: &Shared, link: &Link, frame: &[u8]) -> Result<(), String> {
    let per_second = 1.0 / TELL_EVERY.as_secs_f64();
    let now = Instant::now();
    if frame[0] != addresses::KIND || !lock(&link.told).take(TOLD_BURST, per_second, now) {
        link.counts.unknown.fetch_add(1, Relaxed);
        if !lock(&link.skips).take(SKIPS_BURST, SKIPS_PER_SECOND, now) {
            return Err("too many frames of kinds that this version does not know, or of addresses".into());
        }
        return Ok(());
    }
    let told = addresses::open(&frame[1..])
        .map_err(|why| String::from_utf8_lossy(words::reason_bytes(&why.to_string())).into_owned())?;
    shared.tell_dialler(News::Told { by: link.issuer, addresses: told }).await;
    Ok(())
}

impl Shared {
    /// The dialler is gone only when the node stops.
    pub(super) async fn tell_dialler(&self, news: News) {
        let _ = self.news.send(news).await;
    }
}
