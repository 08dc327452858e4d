//! The trace: a hash over every input and effect with its time and gateway, and the same as lines for people.
//!
//! Numbers go in as little-endian words, bytes with their length before them, so two different traces never look
//! alike.

use selvedge_core::border::{Effect, Input, NewReading, SignatureCheck, Write};
use selvedge_core::codec;
use selvedge_core::reading::Value;
use selvedge_core::record::Stored;
use selvedge_core::transaction::{Envelope, Reference};
use selvedge_core::wire::Message;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    hasher: blake3::Hasher,
    print: bool,
}

impl Trace {
    /// An empty trace.
    pub fn new(print: bool) -> Self {
        Self { hasher: blake3::Hasher::new_derive_key("selvedge-sim v0 trace"), print }
    }

    /// The hash so far.
    pub fn hash(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }

    /// Something that the world did to a gateway: a crash, a start.
    pub fn note(&mut self, time_us: u64, gateway: usize, what: &str) {
        self.head(time_us, gateway, 0, 0);
        self.bytes(what.as_bytes());
        self.line(time_us, gateway, "**", &what);
    }

    /// An input, before the core takes it.
    pub fn input(&mut self, time_us: u64, gateway: usize, input: &Input) {
        self.line(time_us, gateway, "->", &Brief(input));
        self.head(time_us, gateway, 1, input_kind(input));
        match input {
            Input::Describe { stream, descriptor, urgent } => {
                self.words(&[u64::from(stream.0), u64::from(*urgent)]);
                self.bytes(&descriptor.to_bytes());
            }
            Input::Submit { readings, origins, reply } => {
                debug_assert!(origins.is_empty(), "no source of the world wants to be acknowledged");
                self.words(&[reply.0, readings.len() as u64]);
                for r in readings {
                    self.reading(r);
                }
            }
            Input::Issue { kind, payload, reply } => {
                self.words(&[reply.0, u64::from(*kind)]);
                self.bytes(payload);
            }
            Input::Flush | Input::Tick => {}
            Input::Frame { peer, bytes } => {
                self.words(&[peer.0]);
                self.frame(bytes);
            }
            Input::PeerUp { peer, issuer, outgoing } => {
                self.words(&[peer.0, u64::from(*outgoing)]);
                self.bytes(&issuer.0);
            }
            Input::PeerDown(peer) | Input::Congested { peer } => self.words(&[peer.0]),
            Input::Loaded { ticket, found } => {
                self.words(&[ticket.0, found.len() as u64]);
                for f in found {
                    self.stored(f.as_ref());
                }
            }
            Input::BatchLoaded { ticket, records } => {
                self.words(&[ticket.0, records.len() as u64]);
                for r in records {
                    self.bytes(r);
                }
            }
            Input::Verified { ticket, valid } => self.words(&[ticket.0, u64::from(*valid)]),
            Input::Sealed { ticket, root, segment, segment_bytes } => {
                self.words(&[ticket.0, *segment_bytes]);
                self.bytes(&root.0);
                self.bytes(&segment.0);
            }
            Input::Signed { ticket, signature } => {
                self.words(&[ticket.0]);
                self.bytes(signature);
            }
            Input::Persisted { ticket } | Input::Served { ticket } => self.words(&[ticket.0]),
            Input::Failed { ticket, why } => {
                self.words(&[ticket.0]);
                self.bytes(why.as_bytes());
            }
        }
    }

    /// An effect, in the order in which it came out.
    pub fn effect(&mut self, time_us: u64, gateway: usize, effect: &Effect) {
        self.line(time_us, gateway, "<-", &BriefEffect(effect));
        self.head(time_us, gateway, 2, effect_kind(effect));
        match effect {
            Effect::Persist { ticket, writes, within_us } => {
                self.words(&[ticket.0, *within_us, writes.len() as u64]);
                for w in writes {
                    self.write(w);
                }
            }
            Effect::Load { ticket, references } => {
                self.words(&[ticket.0]);
                self.references(references);
            }
            Effect::LoadBatch { ticket, batch } => self.words(&[ticket.0, *batch]),
            Effect::Seal { ticket, batch } => {
                self.words(&[ticket.0, batch.content.number, batch.content.blocks.len() as u64]);
                self.bytes(batch.content.blocks.as_flattened());
            }
            Effect::Verify { ticket, checks } => {
                self.words(&[ticket.0, checks.len() as u64]);
                for c in checks {
                    self.check(c);
                }
            }
            Effect::Sign { ticket, key_number, message } => {
                self.words(&[ticket.0, u64::from(*key_number)]);
                self.bytes(message);
            }
            Effect::Send { peer, lane, frame } => {
                self.words(&[peer.0, *lane as u64]);
                self.frame(frame);
            }
            Effect::Serve { ticket, peer, what } => {
                self.words(&[ticket.0, peer.0]);
                self.bytes(format!("{what:?}").as_bytes());
            }
            Effect::Disconnect { peer, why, back_off_us } => {
                self.words(&[peer.0, *back_off_us]);
                self.bytes(why.to_string().as_bytes());
            }
            Effect::Drop { peer, reject } => {
                self.words(&[peer.0]);
                self.bytes(reject.to_string().as_bytes());
            }
            Effect::Reply { reply, outcome } => {
                self.words(&[reply.0]);
                self.bytes(format!("{outcome:?}").as_bytes());
            }
            Effect::Emit(event) => self.bytes(format!("{event:?}").as_bytes()),
        }
    }

    fn line(&self, time_us: u64, gateway: usize, arrow: &str, what: &dyn std::fmt::Display) {
        if self.print {
            println!("{:>4}.{:06} {gateway} {arrow} {what}", time_us / 1_000_000, time_us % 1_000_000);
        }
    }

    fn head(&mut self, time_us: u64, gateway: usize, direction: u8, kind: u8) {
        self.hasher.update(&time_us.to_le_bytes()).update(&[gateway as u8, direction, kind]);
    }

    fn words(&mut self, words: &[u64]) {
        for word in words {
            self.hasher.update(&word.to_le_bytes());
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.words(&[bytes.len() as u64]);
        self.hasher.update(bytes);
    }

    fn frame(&mut self, frame: &[u8]) {
        let envelopes = match Message::open(frame) {
            Ok(Message::Transaction(envelope)) => vec![envelope],
            Ok(Message::Transactions(list)) => list,
            _ => return self.bytes(frame),
        };
        self.words(&[u64::from(frame[0]), envelopes.len() as u64]);
        for envelope in envelopes {
            self.bytes(envelope);
        }
    }

    fn references(&mut self, references: &[Reference]) {
        self.words(&[references.len() as u64]);
        for reference in references {
            self.bytes(&reference.issuer.0);
            self.words(&[reference.sequence]);
            self.bytes(&reference.id.0);
        }
    }

    fn stored(&mut self, stored: Option<&Stored>) {
        let Some(s) = stored else { return self.words(&[0]) };
        self.words(&[1, s.number, s.sequence, u64::from(s.key), u64::from(s.flags)]);
        self.bytes(&s.issuer.0);
    }

    fn check(&mut self, check: &SignatureCheck) {
        self.bytes(&check.key.bytes);
        self.bytes(&check.message);
        self.bytes(&check.signature);
    }

    fn reading(&mut self, reading: &NewReading) {
        let NewReading { stream, value, quality, flags, status, source_time_ns, receive_time_ns } = reading;
        self.words(&[u64::from(stream.0), *quality as u64, u64::from(*flags), u64::from(*status)]);
        self.words(&[*source_time_ns as u64, *receive_time_ns as u64]);
        match value {
            Value::None => self.words(&[0]),
            Value::Bool(bit) => self.words(&[1, u64::from(*bit)]),
            Value::Int(int) => self.words(&[2, *int as u64]),
            Value::Unsigned(int) => self.words(&[3, *int]),
            Value::Float(float) => self.words(&[4, float.to_bits()]),
            Value::Text(text) => {
                self.words(&[5]);
                self.bytes(text.as_bytes());
            }
            Value::Bytes(bytes) => {
                self.words(&[6]);
                self.bytes(bytes);
            }
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Descriptor { hash, bytes } => {
                self.words(&[0]);
                self.bytes(&hash.0);
                self.bytes(bytes);
            }
            Write::Journal { batch, record } => {
                self.words(&[1, *batch]);
                self.bytes(record);
            }
            Write::Transaction { record, envelope, key, batch, journal } => {
                self.words(&[2]);
                self.bytes(&codec::encode(record));
                self.bytes(envelope);
                self.words(&[key.as_ref().map_or(u64::MAX, |k| u64::from(k.key_number))]);
                self.words(&[batch.as_ref().map_or(u64::MAX, |b| b.number), journal.unwrap_or(u64::MAX)]);
            }
        }
    }
}

fn input_kind(input: &Input) -> u8 {
    match input {
        Input::Describe { .. } => 0,
        Input::Submit { .. } => 1,
        Input::Issue { .. } => 2,
        Input::Flush => 3,
        Input::Frame { .. } => 4,
        Input::PeerUp { .. } => 5,
        Input::PeerDown(_) => 6,
        Input::Loaded { .. } => 7,
        Input::BatchLoaded { .. } => 8,
        Input::Verified { .. } => 9,
        Input::Sealed { .. } => 10,
        Input::Signed { .. } => 11,
        Input::Persisted { .. } => 12,
        Input::Failed { .. } => 13,
        Input::Tick => 14,
        Input::Congested { .. } => 15,
        Input::Served { .. } => 16,
    }
}

fn effect_kind(effect: &Effect) -> u8 {
    match effect {
        Effect::Persist { .. } => 0,
        Effect::Load { .. } => 1,
        Effect::LoadBatch { .. } => 2,
        Effect::Seal { .. } => 3,
        Effect::Verify { .. } => 4,
        Effect::Sign { .. } => 5,
        Effect::Send { .. } => 6,
        Effect::Serve { .. } => 7,
        Effect::Drop { .. } => 8,
        Effect::Reply { .. } => 9,
        Effect::Emit(_) => 10,
        Effect::Disconnect { .. } => 11,
    }
}

struct Brief<'a>(&'a Input);

impl std::fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Input::Frame { peer, bytes } => write!(f, "Frame from {} {}", peer.0, of_frame(bytes)),
            Input::Submit { readings, reply, .. } => {
                write!(f, "Submit {} readings, reply {}", readings.len(), reply.0)
            }
            Input::Issue { kind, payload, reply } => {
                write!(f, "Issue kind {kind}, {} bytes, reply {}", payload.len(), reply.0)
            }
            Input::Signed { ticket, .. } => write!(f, "Signed {}", ticket.0),
            Input::BatchLoaded { ticket, records } => {
                write!(f, "BatchLoaded {}, {} records", ticket.0, records.len())
            }
            Input::Describe { stream, descriptor, .. } => {
                write!(f, "Describe {} as {}", stream.0, descriptor.name)
            }
            other => write!(f, "{other:?}"),
        }
    }
}

struct BriefEffect<'a>(&'a Effect);

impl std::fmt::Display for BriefEffect<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Effect::Persist { ticket, writes, within_us } => {
                write!(f, "Persist {} within {within_us} us:", ticket.0)?;
                writes.iter().try_for_each(|w| match w {
                    Write::Descriptor { hash, .. } => write!(f, " descriptor {}", hash.short()),
                    Write::Journal { batch, record } => {
                        write!(f, " journal of batch {batch}, {} bytes", record.len())
                    }
                    Write::Transaction { record, .. } => write!(
                        f,
                        " transaction {} {}/{}/{} prev {} approves {:?} flags {}",
                        record.number,
                        record.issuer.short(),
                        record.sequence,
                        record.id.short(),
                        record.prev as i64,
                        record.approves.map(|n| n as i64),
                        record.flags
                    ),
                })
            }
            Effect::Verify { ticket, checks } => write!(f, "Verify {}, {} checks", ticket.0, checks.len()),
            Effect::Sign { ticket, .. } => write!(f, "Sign {}", ticket.0),
            Effect::Send { peer, frame, .. } => write!(f, "Send to {} {}", peer.0, of_frame(frame)),
            other => write!(f, "{other:?}"),
        }
    }
}

fn of_frame(frame: &[u8]) -> String {
    match Message::open(frame) {
        Ok(Message::Transaction(envelope)) => format!("transaction {}", of_envelope(envelope)),
        Ok(Message::Transactions(list)) => {
            let each: Vec<String> = list.into_iter().map(of_envelope).collect();
            format!("{} transactions: {}", each.len(), each.join("; "))
        }
        Ok(message) => format!("{message:?}"),
        Err(why) => format!("{} bytes that do not decode: {why}", frame.len()),
    }
}

fn of_envelope(bytes: &[u8]) -> String {
    match Envelope::open(bytes) {
        Ok((envelope, body)) => format!(
            "{}/{} kind {} key {} prev {}",
            body.issuer.short(),
            body.sequence,
            body.kind,
            envelope.key_number,
            body.prev.short()
        ),
        Err(why) => format!("{} bytes that do not decode: {why}", bytes.len()),
    }
}
