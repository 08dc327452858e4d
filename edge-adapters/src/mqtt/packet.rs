//! MQTT packets as a client needs them, of both versions: what a broker sends ([`decode`]) and what is said to it
//! ([`encode`]). Pure.
//!
//! Sections without a version are those of MQTT 5.0 (OASIS Standard, 7 March 2019); 3.1.1 is the OASIS Standard of
//! 29 October 2014. A packet of 3.1.1 is one of 5 without its properties and reason codes.

pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod reason;

use thiserror::Error;

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Version {
    /// 3.1.1.
    #[default]
    V3,
    /// 5.0.
    V5,
}

/// How a message is delivered (section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "the words of the standard")]
pub(crate) enum Service {
    /// Quality of service 0.
    AtMostOnce,
    /// 1.
    AtLeastOnce,
    /// 2.
    ExactlyOnce,
}

impl Service {
    /// Of its number.
    pub(crate) const fn of(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) service: Service,
    /// 0 for `AtMostOnce`.
    pub(crate) packet: u16,
    /// It may have been sent before.
    pub(crate) again: bool,
    /// The broker had kept it.
    pub(crate) retained: bool,
}

/// The four packets that consist of a packet id and, in 5, a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[expect(clippy::enum_variant_names, reason = "the words of the standard")]
pub(crate) enum Answer {
    PubAck = 4,
    PubRec = 5,
    PubRel = 6,
    PubComp = 7,
}

/// What a broker may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Incoming {
    ConnAck(ConnAck),
    Message(Message),
    Answer {
        which: Answer,
        packet: u16,
        outcome: Outcome,
    },
    SubAck {
        packet: u16,
        codes: Vec<u8>,
    },
    PingResp,
    /// Only in 5: the broker closes the connection, and says why.
    Disconnect(Outcome),
}

/// A reason code of 5 (section 2.4), 0 in 3.1.1, and what the broker says to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: u8,
    pub(crate) text: String,
}

impl Outcome {
    /// Section 2.4: 128 and above mean failure.
    pub(crate) const fn is_failure(&self) -> bool {
        self.code >= 0x80
    }
}

/// The answer to a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConnAck {
    /// Has the broker kept the session?
    pub(crate) resumed: bool,
    /// A return code in 3.1.1, a reason code in 5.
    pub(crate) outcome: Outcome,
    /// Seconds, where the broker wants another time than was asked for.
    pub(crate) keep_alive: Option<u16>,
    /// Seconds, where the broker keeps the session for another time than was asked for.
    pub(crate) session_expiry: Option<u32>,
    /// The longest packet that the broker takes.
    pub(crate) packet_bytes_max: Option<u32>,
    /// Does it keep retained messages?
    pub(crate) retains: Option<bool>,
    /// The highest quality of service that it takes.
    pub(crate) service_max: Option<u8>,
}

/// What is wrong with bytes that should be a packet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum Malformed {
    #[error("a packet of {bytes} bytes")]
    TooLong { bytes: usize },
    #[error("{packet}: {what}")]
    Packet { packet: &'static str, what: &'static str },
    #[error("{packet}, which a broker does not send here")]
    Unexpected { packet: &'static str },
}

/// Names of the packet types by their numbers (section 2.1.2).
const NAMES: [&str; 16] = [
    "packet type 0",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
];
