//! Bytes to packets. Never reads more than the packet has, never keeps more than a packet may have.

use super::{Answer, ConnAck, Incoming, Malformed, Message, NAMES, Outcome, Service, Version};

/// The next packet at the start of `bytes`, and how many of them it takes; `None`: it is not complete yet.
///
/// # Errors
/// What is wrong with it. Nothing that follows can be read then: the connection must end (section 4.13).
pub(crate) fn decode(
    version: Version,
    packet_bytes_max: usize,
    bytes: &[u8],
) -> Result<Option<(Incoming, usize)>, Malformed> {
    let Some((&first, rest)) = bytes.split_first() else { return Ok(None) };
    let packet = NAMES[usize::from(first >> 4)];
    let wrong = |what| Malformed::Packet { packet, what };
    let Some((length, length_bytes)) = variable_integer(rest).map_err(|()| wrong("its length has no end"))?
    else {
        return Ok(None);
    };
    let whole = 1 + length_bytes + length;
    if whole > packet_bytes_max {
        return Err(Malformed::TooLong { bytes: whole });
    }
    let Some(body) = bytes.get(1 + length_bytes..whole) else { return Ok(None) };
    let mut body = Body { packet, bytes: body };
    let incoming = incoming(version, first, &mut body)?;
    body.ends()?;
    Ok(Some((incoming, whole)))
}

fn incoming(version: Version, first: u8, body: &mut Body<'_>) -> Result<Incoming, Malformed> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    // Section 2.1.3: these flags are reserved.
    let expected = match kind {
        3 => flags,
        6 => 2,
        _ => 0,
    };
    if flags != expected {
        return Err(body.wrong("its flags are not those of the standard"));
    }
    match (kind, version) {
        (2, _) => conn_ack(version, body).map(Incoming::ConnAck),
        (3, _) => message(version, flags, body).map(Incoming::Message),
        (4..=7, _) => answer(version, kind, body),
        (9, _) => sub_ack(version, body),
        (13, _) => Ok(Incoming::PingResp),
        (14, Version::V5) => outcome(body).map(Incoming::Disconnect),
        _ => Err(Malformed::Unexpected { packet: body.packet }),
    }
}

fn conn_ack(version: Version, body: &mut Body<'_>) -> Result<ConnAck, Malformed> {
    let flags = body.byte()?;
    if flags > 1 {
        return Err(body.wrong("its flags are not those of the standard"));
    }
    let code = body.byte()?;
    let properties = match version {
        Version::V3 => Properties::default(),
        Version::V5 => body.properties()?,
    };
    Ok(ConnAck {
        resumed: flags == 1,
        outcome: Outcome { code, text: properties.reason },
        keep_alive: properties.keep_alive,
        session_expiry: properties.session_expiry,
        packet_bytes_max: properties.packet_bytes_max,
        retains: properties.retains,
        service_max: properties.service_max,
    })
}

fn message(version: Version, flags: u8, body: &mut Body<'_>) -> Result<Message, Malformed> {
    let service = Service::of(flags >> 1 & 3).ok_or_else(|| body.wrong("quality of service 3"))?;
    let topic = body.text()?;
    if topic.contains(['+', '#']) {
        return Err(body.wrong("a topic with + or #"));
    }
    let packet = if service == Service::AtMostOnce { 0 } else { body.packet_id()? };
    if version == Version::V5 && body.properties()?.has_alias {
        // None was allowed in the CONNECT (section 3.1.2.11.5).
        return Err(body.wrong("a topic alias, which it was not allowed to use"));
    }
    if topic.is_empty() {
        return Err(body.wrong("an empty topic"));
    }
    let payload = std::mem::take(&mut body.bytes).to_vec();
    // Bit 3 of quality 0 means nothing (section 3.3.1.1); there are brokers that set it.
    let again = flags & 8 != 0 && service != Service::AtMostOnce;
    Ok(Message { topic, payload, service, packet, again, retained: flags & 1 != 0 })
}

fn answer(version: Version, kind: u8, body: &mut Body<'_>) -> Result<Incoming, Malformed> {
    let which = match kind {
        4 => Answer::PubAck,
        5 => Answer::PubRec,
        6 => Answer::PubRel,
        _ => Answer::PubComp,
    };
    let packet = body.packet_id()?;
    let outcome = if version == Version::V5 { outcome(body)? } else { Outcome::default() };
    Ok(Incoming::Answer { which, packet, outcome })
}

/// A reason and its properties, of which the properties, or both, may be left out (section 3.4.2.1).
fn outcome(body: &mut Body<'_>) -> Result<Outcome, Malformed> {
    if body.bytes.is_empty() {
        return Ok(Outcome::default());
    }
    let code = body.byte()?;
    let text = if body.bytes.is_empty() { String::new() } else { body.properties()?.reason };
    Ok(Outcome { code, text })
}

fn sub_ack(version: Version, body: &mut Body<'_>) -> Result<Incoming, Malformed> {
    let packet = body.packet_id()?;
    if version == Version::V5 {
        body.properties()?;
    }
    let codes = std::mem::take(&mut body.bytes).to_vec();
    if codes.is_empty() {
        return Err(body.wrong("no codes"));
    }
    Ok(Incoming::SubAck { packet, codes })
}

/// A variable byte integer (section 1.5.5) and how many bytes it takes; `None`: it is not complete.
fn variable_integer(bytes: &[u8]) -> Result<Option<(usize, usize)>, ()> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some((value, at + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(()) }
}

/// What of the properties matters here; all others are read over.
#[derive(Default)]
struct Properties {
    reason: String,
    keep_alive: Option<u16>,
    session_expiry: Option<u32>,
    packet_bytes_max: Option<u32>,
    retains: Option<bool>,
    service_max: Option<u8>,
    has_alias: bool,
}

/// What is left of a packet.
struct Body<'a> {
    packet: &'static str,
    bytes: &'a [u8],
}

impl<'a> Body<'a> {
    const fn wrong(&self, what: &'static str) -> Malformed {
        Malformed::Packet { packet: self.packet, what }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let Some((taken, rest)) = self.bytes.split_at_checked(count) else {
            return Err(self.wrong("it ends too early"));
        };
        self.bytes = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let taken = self.take(N)?;
        Ok(std::array::from_fn(|at| taken[at]))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.number().map(|[byte]| byte)
    }

    fn packet_id(&mut self) -> Result<u16, Malformed> {
        match u16::from_be_bytes(self.number()?) {
            0 => Err(self.wrong("packet id 0")),
            packet => Ok(packet),
        }
    }

    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = u16::from_be_bytes(self.number()?);
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let text = std::str::from_utf8(self.binary()?).map_err(|_| self.wrong("a text that is not UTF-8"))?;
        // Section 1.5.4.
        if text.contains('\0') { Err(self.wrong("a text with U+0000")) } else { Ok(text.to_owned()) }
    }

    fn variable(&mut self) -> Result<usize, Malformed> {
        match variable_integer(self.bytes) {
            Ok(Some((value, bytes))) => self.take(bytes).map(|_| value),
            _ => Err(self.wrong("a length without end")),
        }
    }

    fn ends(&self) -> Result<(), Malformed> {
        if self.bytes.is_empty() { Ok(()) } else { Err(self.wrong("it goes on after its end")) }
    }

    fn properties(&mut self) -> Result<Properties, Malformed> {
        let length = self.variable()?;
        let mut inner = Body { packet: self.packet, bytes: self.take(length)? };
        let mut properties = Properties::default();
        while !inner.bytes.is_empty() {
            inner.property(&mut properties)?;
        }
        Ok(properties)
    }

    /// One of section 2.2.2.2.
    fn property(&mut self, properties: &mut Properties) -> Result<(), Malformed> {
        match self.variable()? {
            // Session expiry.
            0x11 => properties.session_expiry = Some(u32::from_be_bytes(self.number()?)),
            // Server keep alive.
            0x13 => properties.keep_alive = Some(u16::from_be_bytes(self.number()?)),
            // Reason string.
            0x1F => properties.reason = self.text()?,
            // Topic alias.
            0x23 => {
                self.take(2)?;
                properties.has_alias = true;
            }
            // Maximum quality of service.
            0x24 => properties.service_max = Some(self.byte()?),
            // Retain available.
            0x25 => properties.retains = Some(self.byte()? != 0),
            // Maximum packet size.
            0x27 => properties.packet_bytes_max = Some(u32::from_be_bytes(self.number()?)),
            // A byte: payload format, request problem and response information, three things available or not.
            0x01 | 0x17 | 0x19 | 0x28..=0x2A => drop(self.byte()?),
            // Two bytes: receive maximum, topic alias maximum.
            0x21 | 0x22 => drop(self.take(2)?),
            // Four: message expiry, will delay.
            0x02 | 0x18 => drop(self.take(4)?),
            // A variable integer: subscription identifier.
            0x0B => drop(self.variable()?),
            // Text or binary: content type, response topic, correlation data, assigned client id, authentication
            // method and data, response information, server reference.
            0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C => drop(self.binary()?),
            // User property.
            0x26 => {
                self.binary()?;
                self.binary()?;
            }
            _ => return Err(self.wrong("a property that MQTT 5 does not know")),
        }
        Ok(())
    }
}
