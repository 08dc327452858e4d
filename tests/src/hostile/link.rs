//! A connection to an honest gateway, on which anything can be said.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use selvedge_core::limits::FRAME_BYTES_MAX;
use selvedge_core::wire::Message;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::identity::Identity;
use super::tls::{self, Manner};

/// A handshake and the opening of streams may take this long.
const HANDSHAKE: Duration = Duration::from_secs(12);
/// Frames that were heard and that nobody looked at: the oldest are forgotten.
const HEARD_MAX: usize = 8_192;
/// Lane for what is new.
pub const FRESH: usize = 0;
/// Lane for answers.
pub const BULK: usize = 1;

/// What a gateway said.
#[derive(Debug, Default)]
pub struct Heard {
    /// Frames, oldest first.
    pub frames: VecDeque<Vec<u8>>,
    /// How many there were.
    pub count: u64,
    /// Bytes of them.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Ears {
    heard: Mutex<Heard>,
    more: Notify,
}

impl Ears {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket from which connections are made. Each of 127.0.0.0/8 is an address of its own to whoever counts.
pub fn endpoint(last_byte: u8) -> Endpoint {
    let at = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last_byte), 0));
    Endpoint::client(at).expect("a socket on the loopback interface")
}

/// A connection whose lanes are open. Closed when dropped.
#[derive(Debug)]
pub struct Link {
    connection: Connection,
    lanes: [SendStream; 2],
    ears: Arc<Ears>,
    readers: Vec<JoinHandle<()>>,
    /// Kept unread by a slow reader.
    _unread: Vec<RecvStream>,
    /// Bytes and frames given to QUIC.
    pub sent: (u64, u64),
}

/// Makes a connection and goes no further than TLS.
///
/// # Errors
/// Why not, in words.
pub async fn handshake(
    endpoint: &Endpoint,
    to: SocketAddr,
    identity: &Identity,
    manner: Manner,
) -> Result<Connection, String> {
    let mut config = tls::client(&identity.signer, manner);
    let mut transport = quinn::TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    let connecting = endpoint.connect_with(config, to, "gateway").map_err(|why| why.to_string())?;
    match timeout(HANDSHAKE, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(why)) => Err(words(&why)),
        Err(_) => Err("no answer to a handshake".into()),
    }
}

impl Link {
    /// Connects as a member does. A slow reader never reads what comes.
    ///
    /// # Errors
    /// Why not, in words: TLS itself ends well for a client before its key is looked at, so refusals come here.
    pub async fn open(
        endpoint: &Endpoint,
        to: SocketAddr,
        identity: &Identity,
        reads: bool,
    ) -> Result<Self, String> {
        let connection = handshake(endpoint, to, identity, Manner::Right).await?;
        let opened = timeout(HANDSHAKE, lanes(&connection)).await;
        let (lanes, streams) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(why)) => return Err(connection.close_reason().map_or(why, |reason| words(&reason))),
            Err(_) => return Err("its streams did not open".into()),
        };
        let ears = Arc::new(Ears::default());
        let (mut readers, mut unread) = (Vec::new(), Vec::new());
        for stream in streams {
            if reads {
                readers.push(tokio::spawn(listen(stream, Arc::clone(&ears))));
            } else {
                unread.push(stream);
            }
        }
        Ok(Self { connection, lanes, ears, readers, _unread: unread, sent: (0, 0) })
    }

    /// Sends a frame as it should be.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn send(&mut self, lane: usize, frame: &[u8]) -> Result<(), String> {
        let head = (frame.len() as u32).to_le_bytes();
        let bytes = [&head[..], frame].concat();
        self.raw(lane, &bytes).await
    }

    /// Says a message on the fresh lane.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn say(&mut self, message: &Message<'_>) -> Result<(), String> {
        self.send(FRESH, &message.to_frame()).await
    }

    /// Sends any bytes.
    ///
    /// # Errors
    /// Why the connection ended.
    pub async fn raw(&mut self, lane: usize, bytes: &[u8]) -> Result<(), String> {
        if let Some(why) = self.connection.close_reason() {
            return Err(words(&why));
        }
        self.sent.0 += bytes.len() as u64;
        self.sent.1 += 1;
        match self.lanes[lane].write_all(bytes).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.reason().await),
        }
    }

    /// The connection.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Has it ended? Why?
    pub fn ended(&self) -> Option<String> {
        self.connection.close_reason().map(|why| words(&why))
    }

    /// Waits for its end, and says why.
    pub async fn reason(&self) -> String {
        match timeout(Duration::from_secs(2), self.connection.closed()).await {
            Ok(why) => words(&why),
            Err(_) => "a stream was stopped and the connection left open".into(),
        }
    }

    /// Takes all frames heard so far.
    pub fn heard(&self) -> Vec<Vec<u8>> {
        self.ears.lock().frames.drain(..).collect()
    }

    /// Frames and bytes heard in all.
    pub fn heard_count(&self) -> (u64, u64) {
        let heard = self.ears.lock();
        (heard.count, heard.bytes)
    }

    /// Waits until something is heard that nobody took yet, or the connection ends, or the time is over.
    pub async fn wait(&self, within: Duration) {
        let more = self.ears.more.notified();
        if self.ears.lock().frames.is_empty() {
            self.wait_more(more, within).await;
        }
    }

    /// Waits until so many frames were heard in all, or one more came, or the connection ends, or the time is over.
    pub async fn wait_for(&self, count: u64, within: Duration) {
        let more = self.ears.more.notified();
        if self.ears.lock().count < count {
            self.wait_more(more, within).await;
        }
    }

    async fn wait_more(&self, more: Notified<'_>, within: Duration) {
        // Whichever comes first; what came is looked at by the caller.
        let _ = timeout(within, async {
            tokio::select! {
                () = more => {}
                _ = self.connection.closed() => {}
            }
        })
        .await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.close(VarInt::from_u32(0), b"done");
        for reader in &self.readers {
            reader.abort();
        }
    }
}

async fn lanes(connection: &Connection) -> Result<([SendStream; 2], [RecvStream; 2]), String> {
    let say = |why: ConnectionError| words(&why);
    let mut fresh = connection.open_uni().await.map_err(say)?;
    let mut bulk = connection.open_uni().await.map_err(say)?;
    fresh.write_all(&[0]).await.map_err(|why| why.to_string())?;
    bulk.write_all(&[1]).await.map_err(|why| why.to_string())?;
    let one = connection.accept_uni().await.map_err(say)?;
    let two = connection.accept_uni().await.map_err(say)?;
    Ok(([fresh, bulk], [one, two]))
}

async fn listen(mut stream: RecvStream, ears: Arc<Ears>) {
    // The lane: it does not matter here which of the two this is.
    let mut lane = [0];
    if stream.read_exact(&mut lane).await.is_err() {
        return;
    }
    loop {
        let mut head = [0; 4];
        if stream.read_exact(&mut head).await.is_err() {
            return;
        }
        let length = u32::from_le_bytes(head) as usize;
        assert!(length <= FRAME_BYTES_MAX, "an honest gateway sent a frame of {length} bytes");
        let mut frame = vec![0; length];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let mut heard = ears.lock();
        heard.count += 1;
        heard.bytes += frame.len() as u64 + 4;
        if heard.frames.len() == HEARD_MAX {
            heard.frames.pop_front();
        }
        heard.frames.push_back(frame);
        drop(heard);
        ears.more.notify_waiters();
    }
}

/// How a connection ended, in a few words: the other side's own when it gave some.
pub fn words(why: &ConnectionError) -> String {
    match why {
        ConnectionError::ApplicationClosed(closed) => String::from_utf8_lossy(&closed.reason).into_owned(),
        ConnectionError::ConnectionClosed(closed) => match u64::from(closed.error_code) {
            2 => "refused: too many connections or handshakes".into(),
            alert @ 0x100..=0x1ff => match alert - 0x100 {
                48 => "TLS alert 48: not a member".into(),
                49 => "TLS alert 49: put off for a while".into(),
                44 => "TLS alert 44: its own key".into(),
                other => format!("TLS alert {other}"),
            },
            code => format!("QUIC error {code}: {}", String::from_utf8_lossy(&closed.reason)),
        },
        ConnectionError::TimedOut => "no answer".into(),
        other => other.to_string(),
    }
}
