//! A real connection: TCP, with TLS around it or not, and the packets on it.
//!
//! It lives for one connection and knows nothing of the next: an acknowledgement never goes out on another connection
//! than that on which its message came, and nothing is ever sent twice.

mod open;
mod outbox;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::client::{
    Connect, Connection, Heard, Hearing, Listen, Options, Service, Speak, Tending, Unsaid, Version,
};
use super::packet::encode::{self, Publication};
use super::packet::reason::refusal;
use super::packet::{Answer, ConnAck, Incoming};
use super::session::WINDOW;
use super::topic::Filter;
use crate::adapter::{Fault, FaultKind};
use crate::secret::Secret;
use crate::tls::{Tls, explain};
use open::Open;
use outbox::Outbox;

/// Filters in one `SUBSCRIBE`.
const FILTERS_PER_PACKET: usize = 64;

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Connects over the network.
#[derive(Debug)]
pub(crate) struct Network;

impl Connect for Network {
    fn connect(&self, options: &Options) -> Connection {
        let outbox = Arc::new(Outbox::default());
        let listener = Listener { options: options.clone(), outbox: Arc::clone(&outbox), open: None };
        (Box::new(listener), Box::new(Speaker { version: options.version, outbox, last_packet: 0 }))
    }
}

struct Listener {
    options: Options,
    outbox: Arc<Outbox>,
    open: Option<Open>,
}

impl Listener {
    async fn hear(&mut self) -> Result<Heard, Fault> {
        if let Some(open) = &mut self.open {
            return open.hear(&self.outbox).await;
        }
        let (open, answer) = connect(&self.options, &self.outbox).await?;
        self.open = Some(open);
        Ok(Heard::Connected { resumed: answer.resumed })
    }
}

impl Listen for Listener {
    fn heard(&mut self) -> Result<Option<Heard>, Fault> {
        self.open.as_mut().map_or(Ok(None), |open| open.heard(&self.outbox))
    }

    fn next(&mut self) -> Hearing<'_> {
        Box::pin(self.hear())
    }

    fn tend(&mut self) -> Tending<'_> {
        Box::pin(async {
            match &mut self.open {
                Some(open) => open.tend(&self.outbox).await,
                None => std::future::pending().await,
            }
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.outbox.unsaid().wake();
    }
}

/// A connection that the broker has accepted, within the time-out.
async fn connect(options: &Options, outbox: &Outbox) -> Result<(Open, ConnAck), Fault> {
    let due = Instant::now() + options.timeout;
    let secrets = load(options).await?;
    let stream = stream(options, &secrets, due).await?;
    let mut open = Open::new(stream, options);
    let password = secrets.password.as_ref().map(Secret::line);
    let hello = encode::Connect {
        client_id: &options.client_id,
        clean: options.clean_session,
        keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1),
        will: options.will.as_ref(),
        user: options.user.as_deref(),
        password,
        session_expiry: session_expiry(options),
        receive_maximum: WINDOW as u16,
    };
    let mut bytes = Vec::new();
    encode::connect(options.version, &hello, &mut bytes)
        .map_err(|why| Fault::new(FaultKind::Adapter, format!("cannot be said to a broker: {why}")))?;
    outbox.push(&bytes, 0).map_err(|why| Fault::new(FaultKind::Adapter, why))?;
    let answered = timeout_at(due, open.incoming(outbox)).await;
    let answered = answered.map_err(|_| late(options, "no answer to CONNECT"))??;
    let Incoming::ConnAck(answer) = answered else {
        return Err(Fault::new(FaultKind::Protocol, "its first packet is no CONNACK"));
    };
    if answer.outcome.code != 0 {
        return Err(Fault::new(FaultKind::Unreachable, refusal(options.version, &answer.outcome)));
    }
    if answer.resumed && options.clean_session {
        // MQTT 5, section 3.2.2.1.1.
        return Err(Fault::new(FaultKind::Protocol, "it resumes a session that was to be a new one"));
    }
    if let Some(granted) = answer.session_expiry.filter(|granted| *granted < session_expiry(options)) {
        let client_id = options.client_id.as_str();
        tracing::warn!(
            client_id,
            "the broker keeps this session for {granted} s at most; what comes while the gateway is away for longer is lost"
        );
    }
    open.greeted(&answer);
    outbox.greeted(&answer);
    Ok((open, answer))
}

/// What [`Options`] name by their files.
struct Secrets {
    tls: Option<Arc<rustls::ClientConfig>>,
    password: Option<Secret>,
}

/// Reads the files anew, on a thread that may wait for a disk.
async fn load(options: &Options) -> Result<Secrets, Fault> {
    let (tls, password) = (options.tls.clone(), options.password.clone());
    let load = move || {
        let tls = tls.as_ref().map(Tls::load).transpose()?;
        let password = password.as_ref().map(crate::secret::SecretFile::read).transpose()?;
        Ok::<_, String>(Secrets { tls, password })
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let loaded = loaded.map_err(|error| Fault::new(FaultKind::Adapter, error.to_string()))?;
    loaded.map_err(|why| Fault::new(FaultKind::Unreachable, why))
}

async fn stream(options: &Options, secrets: &Secrets, due: Instant) -> Result<Box<dyn Stream>, Fault> {
    let unreachable = |error: io::Error| Fault::new(FaultKind::Unreachable, error.to_string());
    let host = options.host.trim_start_matches('[').trim_end_matches(']');
    let connecting = TcpStream::connect((host, options.port));
    let tcp = timeout_at(due, connecting).await.map_err(|_| late(options, "no TCP connection"))?;
    let tcp = tcp.map_err(unreachable)?;
    // Acknowledgements are small, and the broker waits for them.
    tcp.set_nodelay(true).map_err(unreachable)?;
    let (Some(tls), Some(config)) = (&options.tls, &secrets.tls) else { return Ok(Box::new(tcp)) };
    let name = tls.name(host).map_err(|why| Fault::new(FaultKind::Unreachable, why))?;
    let shaking = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
    let shaken = timeout_at(due, shaking)
        .await
        .map_err(|_| late(options, "no TLS handshake: does that port speak TLS"))?;
    let shaken = shaken.map_err(|error| {
        let cut = || format!("the broker ended the TLS handshake ({error}): does that port speak TLS");
        Fault::new(FaultKind::Unreachable, explain(&error).unwrap_or_else(cut))
    })?;
    Ok(Box::new(shaken))
}

fn late(options: &Options, what: &str) -> Fault {
    Fault::new(FaultKind::Timeout, format!("{what} within {:?}", options.timeout))
}

/// Seconds; the highest number means "for ever" (section 3.1.2.11.2), so it is not reached by chance.
fn session_expiry(options: &Options) -> u32 {
    if options.clean_session {
        return 0;
    }
    u32::try_from(options.session_expiry.as_secs()).unwrap_or(u32::MAX - 1)
}

struct Speaker {
    version: Version,
    outbox: Arc<Outbox>,
    last_packet: u16,
}

impl Speaker {
    /// From 1 to 65,535, and again. So many are never under way at once.
    fn packet_id(&mut self) -> u16 {
        self.last_packet = self.last_packet.checked_add(1).unwrap_or(1);
        self.last_packet
    }
}

impl Speak for Speaker {
    fn subscribe(&mut self, filters: &[Filter], service: Service) -> Result<Vec<usize>, Fault> {
        let refused = |why: String| Fault::new(FaultKind::Adapter, why);
        let mut counts = Vec::new();
        for part in filters.chunks(FILTERS_PER_PACKET) {
            let packet = self.packet_id();
            let mut bytes = Vec::new();
            encode::subscribe(self.version, packet, part, service, &mut bytes)
                .map_err(|why| refused(why.to_string()))?;
            self.outbox.asks(packet, part.len());
            self.outbox.push(&bytes, 0).map_err(refused)?;
            counts.push(part.len());
        }
        Ok(counts)
    }

    fn acknowledge(&mut self, packets: &[(u16, Service)]) -> Result<(), Fault> {
        let mut bytes = Vec::with_capacity(4 * packets.len());
        for (packet, service) in packets {
            let which = if *service == Service::ExactlyOnce { Answer::PubRec } else { Answer::PubAck };
            encode::answer(which, *packet, &mut bytes);
        }
        self.outbox.push(&bytes, packets.len()).map_err(|why| Fault::new(FaultKind::Adapter, why))
    }

    fn publish(&mut self, publication: &Publication) -> Result<u16, String> {
        let packet = if publication.service == Service::AtMostOnce { 0 } else { self.packet_id() };
        let mut bytes = Vec::new();
        encode::publish(self.version, packet, publication, &mut bytes).map_err(|why| why.to_string())?;
        self.outbox.takes(publication, bytes.len())?;
        self.outbox.push(&bytes, 0)?;
        Ok(packet)
    }

    fn unsaid(&self) -> Arc<Unsaid> {
        self.outbox.unsaid()
    }
}

/// How long after the last sign of life a ping goes out: a broker gives a client one and a half `keep_alive`s (3.1.2.10).
fn ping_after(keep_alive: Duration) -> Duration {
    keep_alive.mul_f64(0.75)
}
