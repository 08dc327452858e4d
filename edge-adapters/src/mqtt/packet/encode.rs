//! Packets to bytes.

use std::fmt;

use super::{Answer, Service, Version};
use crate::mqtt::topic::Filter;

/// A text or a binary field is at most this long (section 1.5.4).
pub(crate) const FIELD_BYTES_MAX: usize = u16::MAX as usize;

/// A field is longer than MQTT can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooLong(&'static str);

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of more than {FIELD_BYTES_MAX} bytes", self.0)
    }
}

/// What the broker publishes when this client is gone without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Will {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) service: Service,
    pub(crate) retain: bool,
}

/// Begins a session.
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    /// Does the broker forget what it kept for this client?
    pub(crate) clean: bool,
    /// Seconds.
    pub(crate) keep_alive: u16,
    pub(crate) will: Option<&'a Will>,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
    /// 5: seconds that the broker keeps the session without a connection.
    pub(crate) session_expiry: u32,
    /// 5: messages that may be sent and not acknowledged.
    pub(crate) receive_maximum: u16,
}

/// CONNECT (section 3.1).
pub(crate) fn connect(version: Version, connect: &Connect<'_>, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let mut body = Vec::with_capacity(64);
    field("a protocol name", b"MQTT", &mut body)?;
    let (will, user, password) = (connect.will, connect.user, connect.password);
    let will_flags = will.map_or(0, |will| 4 | (will.service as u8) << 3 | u8::from(will.retain) << 5);
    let flags = u8::from(connect.clean) << 1
        | will_flags
        | u8::from(password.is_some()) << 6
        | u8::from(user.is_some()) << 7;
    body.extend([if version == Version::V5 { 5 } else { 4 }, flags]);
    body.extend(connect.keep_alive.to_be_bytes());
    if version == Version::V5 {
        let mut properties = Vec::new();
        properties.push(0x11);
        properties.extend(connect.session_expiry.to_be_bytes());
        properties.push(0x21);
        properties.extend(connect.receive_maximum.to_be_bytes());
        prefixed(&properties, &mut body);
    }
    field("a client id", connect.client_id.as_bytes(), &mut body)?;
    if let Some(will) = will {
        no_properties(version, &mut body);
        field("a last will's topic", will.topic.as_bytes(), &mut body)?;
        field("a last will's payload", &will.payload, &mut body)?;
    }
    if let Some(user) = user {
        field("a user name", user.as_bytes(), &mut body)?;
    }
    if let Some(password) = password {
        field("a password", password, &mut body)?;
    }
    packet(0x10, &body, out);
    Ok(())
}

/// A message that goes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) service: Service,
    pub(crate) retain: bool,
    /// 5: the broker forgets it when nobody took it for so many seconds.
    pub(crate) expiry: Option<u32>,
}

/// PUBLISH (section 3.3); `id` is 0 for quality of service 0.
pub(crate) fn publish(
    version: Version,
    id: u16,
    publication: &Publication,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut body = Vec::with_capacity(publication.topic.len() + publication.payload.len() + 16);
    field("a topic", publication.topic.as_bytes(), &mut body)?;
    if publication.service != Service::AtMostOnce {
        body.extend(id.to_be_bytes());
    }
    match (version, publication.expiry) {
        (Version::V5, Some(expiry)) => {
            body.extend([5, 0x02]);
            body.extend(expiry.to_be_bytes());
        }
        _ => no_properties(version, &mut body),
    }
    body.extend(&publication.payload);
    packet(0x30 | (publication.service as u8) << 1 | u8::from(publication.retain), &body, out);
    Ok(())
}

/// SUBSCRIBE (section 3.8).
pub(crate) fn subscribe(
    version: Version,
    id: u16,
    filters: &[Filter],
    service: Service,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut body = Vec::new();
    body.extend(id.to_be_bytes());
    no_properties(version, &mut body);
    for filter in filters {
        field("a topic filter", filter.as_str().as_bytes(), &mut body)?;
        // The further options of 5 are 0: also what this client says itself, retained messages at each subscription.
        body.push(service as u8);
    }
    packet(0x82, &body, out);
    Ok(())
}

/// PUBACK, PUBREC, PUBREL, PUBCOMP (sections 3.4 to 3.7), with success, which needs no reason code in 5 either.
pub(crate) fn answer(which: Answer, id: u16, out: &mut Vec<u8>) {
    let [high, low] = id.to_be_bytes();
    let flags = if which == Answer::PubRel { 2 } else { 0 };
    out.extend([(which as u8) << 4 | flags, 2, high, low]);
}

/// PINGREQ (section 3.12).
pub(crate) fn ping(out: &mut Vec<u8>) {
    out.extend([0xC0, 0]);
}

fn packet(first: u8, body: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    prefixed(body, out);
}

/// With its length before it, as a variable byte integer (section 1.5.5).
fn prefixed(body: &[u8], out: &mut Vec<u8>) {
    let mut length = body.len();
    while length > 0x7F {
        out.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend(body);
}

fn no_properties(version: Version, out: &mut Vec<u8>) {
    if version == Version::V5 {
        out.push(0);
    }
}

fn field(what: &'static str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length = u16::try_from(bytes.len()).map_err(|_| TooLong(what))?;
    out.extend(length.to_be_bytes());
    out.extend(bytes);
    Ok(())
}
