//! The bytes of a connection, both ways, and the signs of life.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::outbox::Outbox;
use super::{Stream, ping_after};
use crate::adapter::{Fault, FaultKind};
use crate::mqtt::client::{Heard, Options, Service, Version};
use crate::mqtt::packet::decode::decode;
use crate::mqtt::packet::reason::failure;
use crate::mqtt::packet::{Answer, ConnAck, Incoming, Malformed, encode};
use crate::tls::explain;

/// Read at once.
const READ_BYTES: usize = 16 * 1024;

/// A connection that stands.
pub(super) struct Open {
    reader: ReadHalf<Box<dyn Stream>>,
    writer: WriteHalf<Box<dyn Stream>>,
    version: Version,
    packet_bytes_max: usize,
    has_tls: bool,
    is_greeted: bool,
    inbox: Inbox,
    /// What goes out now; of it, `written` bytes are gone.
    writing: Vec<u8>,
    written: usize,
    /// Acknowledgements in `writing`.
    acknowledgements: usize,
    /// TLS may still hold some of what was written.
    is_flushed: bool,
    life: Life,
}

/// What was read and is not a whole packet yet.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    /// Bytes of packets that were taken.
    taken: usize,
}

/// When something went out and came in.
struct Life {
    keep_alive: Duration,
    answer_within: Duration,
    last_out: Instant,
    last_in: Instant,
    /// Since when an answer is due.
    asked: Option<Instant>,
}

impl Open {
    pub(super) fn new(stream: Box<dyn Stream>, options: &Options) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let now = Instant::now();
        let life = Life {
            keep_alive: options.keep_alive,
            answer_within: options.timeout,
            last_out: now,
            last_in: now,
            asked: None,
        };
        Self {
            reader,
            writer,
            version: options.version,
            packet_bytes_max: options.packet_bytes_max,
            has_tls: options.tls.is_some(),
            is_greeted: false,
            inbox: Inbox::default(),
            writing: Vec::new(),
            written: 0,
            acknowledgements: 0,
            is_flushed: true,
            life,
        }
    }

    /// The broker has accepted.
    pub(super) fn greeted(&mut self, answer: &ConnAck) {
        self.is_greeted = true;
        if let Some(seconds) = answer.keep_alive {
            self.life.keep_alive = match seconds {
                // It asks for no signs of life; this side wants to know all the same.
                0 => self.life.keep_alive,
                seconds => Duration::from_secs(seconds.into()),
            };
        }
    }

    /// What matters to whoever listens.
    pub(super) async fn hear(&mut self, outbox: &Outbox) -> Result<Heard, Fault> {
        self.life.listens_again();
        loop {
            if let Some(heard) = self.heard(outbox)? {
                return Ok(heard);
            }
            self.inbox.compact();
            self.turn(outbox, true).await?;
        }
    }

    /// The same, of what was read already.
    pub(super) fn heard(&mut self, outbox: &Outbox) -> Result<Option<Heard>, Fault> {
        while let Some(incoming) = self.read_already()? {
            match incoming {
                Incoming::Message(message) => return Ok(Some(Heard::Message(message))),
                Incoming::SubAck { packet, codes } => {
                    if !outbox.answers(packet, codes.len()) {
                        return Err(protocol("it answers a subscription that was not asked for so"));
                    }
                    // 3.1.1: 0x80; 5: any from there on.
                    let granted = codes.into_iter().map(Service::of).collect();
                    return Ok(Some(Heard::Subscribed(granted)));
                }
                // Section 4.3.3 demands the answer for messages that are not known, too: after a crash between the
                // two halves nobody knows them any more.
                Incoming::Answer { which: Answer::PubRel, packet, .. } => {
                    let mut bytes = Vec::with_capacity(4);
                    encode::answer(Answer::PubComp, packet, &mut bytes);
                    outbox.push(&bytes, 0).map_err(|why| Fault::new(FaultKind::Adapter, why))?;
                }
                Incoming::Answer { which: Answer::PubAck, packet, outcome } => {
                    return Ok(Some(Heard::Published { packet, outcome }));
                }
                Incoming::Answer { .. } => {
                    return Err(protocol("it answers a message of quality 2, and none was sent"));
                }
                Incoming::ConnAck(_) => return Err(protocol("a second CONNACK")),
                Incoming::Disconnect(outcome) => {
                    return Err(Fault::new(FaultKind::Closed, failure("the broker closes", &outcome)));
                }
                Incoming::PingResp => {}
            }
        }
        Ok(None)
    }

    /// Sends, and takes nothing in.
    pub(super) async fn tend(&mut self, outbox: &Outbox) -> Fault {
        loop {
            if let Err(fault) = self.turn(outbox, false).await {
                return fault;
            }
        }
    }

    /// The next packet.
    pub(super) async fn incoming(&mut self, outbox: &Outbox) -> Result<Incoming, Fault> {
        loop {
            if let Some(incoming) = self.read_already()? {
                return Ok(incoming);
            }
            self.inbox.compact();
            self.turn(outbox, true).await?;
        }
    }

    /// The next packet, if all of it was read.
    fn read_already(&mut self) -> Result<Option<Incoming>, Fault> {
        let next = decode(self.version, self.packet_bytes_max, self.inbox.left());
        let Some((incoming, bytes)) = next.map_err(|why| malformed(&why))? else { return Ok(None) };
        self.inbox.taken += bytes;
        Ok(Some(incoming))
    }

    /// One step: something goes out, comes in, or is due.
    async fn turn(&mut self, outbox: &Outbox, reads: bool) -> Result<(), Fault> {
        if self.written == self.writing.len() && self.is_flushed {
            self.acknowledgements = outbox.take(&mut self.writing);
            self.written = 0;
        }
        let unwritten = &self.writing[self.written..];
        let goes_out = !unwritten.is_empty() || !self.is_flushed;
        let due = self.life.due(reads);
        tokio::select! {
            biased;
            gone = push(&mut self.writer, unwritten), if goes_out => {
                let gone = gone.map_err(|error| self.failed(&error))?;
                self.gone(gone, outbox);
            }
            () = outbox.more(), if !goes_out => {}
            () = sleep_until(due) => self.signs_of_life(outbox, reads)?,
            read = self.reader.read_buf(&mut self.inbox.bytes), if reads => match read {
                Ok(0) => return Err(self.closed()),
                Ok(_) => self.life.heard(),
                Err(error) => return Err(self.failed(&error)),
            },
        }
        Ok(())
    }

    /// So many bytes were written, or, where there were none, all were flushed.
    fn gone(&mut self, bytes: usize, outbox: &Outbox) {
        self.written += bytes;
        // After the flush nothing is on its way any more.
        self.is_flushed = bytes == 0;
        self.life.last_out = Instant::now();
        if self.is_flushed && self.acknowledgements > 0 {
            outbox.unsaid().fewer(std::mem::take(&mut self.acknowledgements));
        }
    }

    fn signs_of_life(&mut self, outbox: &Outbox, reads: bool) -> Result<(), Fault> {
        if self.life.asked.is_some() && reads && !planted!(TrustsTheSocket) {
            let why =
                format!("no answer to a ping within {:?}; the connection is dead", self.life.answer_within);
            return Err(Fault::new(FaultKind::Timeout, why));
        }
        let mut ping = Vec::with_capacity(2);
        encode::ping(&mut ping);
        self.life.asked = Some(Instant::now());
        self.life.last_out = Instant::now();
        outbox.push(&ping, 0).map_err(|why| Fault::new(FaultKind::Adapter, why))
    }

    fn closed(&self) -> Fault {
        if self.is_greeted {
            let why =
                "the broker closed the connection, as it also does when another client uses this client id";
            return Fault::new(FaultKind::Closed, why);
        }
        let why = if self.has_tls {
            "the broker closed the connection before it answered"
        } else {
            "the broker closed the connection before it answered, as one that expects TLS does, or another version of MQTT"
        };
        Fault::new(FaultKind::Unreachable, why)
    }

    fn failed(&self, error: &io::Error) -> Fault {
        if let Some(why) = explain(error) {
            let kind = if self.is_greeted { FaultKind::Closed } else { FaultKind::Unreachable };
            return Fault::new(kind, why);
        }
        let fault = self.closed();
        Fault { detail: format!("{} ({error})", fault.detail), ..fault }
    }
}

/// Writes some of these bytes, or, where there are none, flushes.
async fn push(writer: &mut WriteHalf<Box<dyn Stream>>, bytes: &[u8]) -> io::Result<usize> {
    if bytes.is_empty() {
        writer.flush().await?;
        return Ok(0);
    }
    match writer.write(bytes).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}

impl Inbox {
    fn left(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Forgets what was taken, and makes room to read.
    fn compact(&mut self) {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > 4 * READ_BYTES {
            // One long packet is no reason to keep its room for ever.
            self.bytes = Vec::new();
        }
        self.bytes.reserve(READ_BYTES);
    }
}

impl Life {
    fn due(&self, reads: bool) -> Instant {
        match self.asked {
            Some(asked) if reads => asked + self.answer_within,
            // Nothing is read, so no answer can be due; the broker wants to hear something all the same.
            Some(_) => self.last_out + ping_after(self.keep_alive),
            None => self.last_out.min(self.last_in) + ping_after(self.keep_alive),
        }
    }

    fn heard(&mut self) {
        self.last_in = Instant::now();
        self.asked = None;
    }

    /// An answer may lie unread: it is due from now on.
    fn listens_again(&mut self) {
        if let Some(asked) = &mut self.asked {
            *asked = Instant::now();
        }
    }
}

fn protocol(why: &str) -> Fault {
    Fault::new(FaultKind::Protocol, why)
}

fn malformed(why: &Malformed) -> Fault {
    let detail = match why {
        Malformed::TooLong { bytes } => format!(
            "a packet of {bytes} bytes, more than max_packet_bytes; the broker sends it again until it is taken: \
             make max_packet_bytes greater, or take the message off the broker"
        ),
        other => other.to_string(),
    };
    Fault::new(FaultKind::Protocol, detail)
}
