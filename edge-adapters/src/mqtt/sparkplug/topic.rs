//! Topics of Sparkplug (specification 3.0.0, section 4): pure.

use std::fmt;

/// The first level of every topic of a payload of version B.
pub const NAMESPACE: &str = "spBv1.0";
/// Longest name of a group, edge node, device or host that is taken: MQTT allows 65,535 bytes for all of a topic, and
/// names are kept as long as the program runs.
pub const ID_BYTES_MAX: usize = 256;

/// What a message of an edge node or device is, or a command to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// It has come up: names, types and values of all that it has.
    Birth,
    /// It is gone.
    Death,
    /// Some values.
    Data,
    /// Somebody writes to it.
    Command,
}

/// An edge node, or a device behind one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The edge node.
    pub node: String,
    /// The device; `None` for the edge node itself.
    pub device: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "{}/{device}", self.node),
            None => f.write_str(&self.node),
        }
    }
}

/// A topic, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    /// `spBv1.0/GROUP/NBIRTH/NODE`, `spBv1.0/GROUP/DDATA/NODE/DEVICE` and so on.
    Of {
        /// The group.
        group: String,
        /// What it says.
        verb: Verb,
        /// Of whom, or to whom.
        place: Place,
    },
    /// `spBv1.0/STATE/HOST`, or `STATE/HOST` of version 2.2: is that host application there?
    State {
        /// Its id.
        host: String,
        /// In the form of 2.2?
        is_old: bool,
    },
}

impl Topic {
    /// `None`: no topic of Sparkplug B.
    pub fn parse(text: &str) -> Option<Self> {
        let mut levels = text.split('/');
        let first = levels.next()?;
        if first == "STATE" {
            let host = id(levels.next()?)?;
            return levels.next().is_none().then_some(Self::State { host, is_old: true });
        }
        if first != NAMESPACE {
            return None;
        }
        let group = id(levels.next()?)?;
        let (kind, node) = (levels.next()?, levels.next());
        let device = levels.next();
        if levels.next().is_some() {
            return None;
        }
        let Some(node) = node else {
            return (group == "STATE").then(|| id(kind).map(|host| Self::State { host, is_old: false }))?;
        };
        let verb = match kind.get(1..)? {
            "BIRTH" => Verb::Birth,
            "DEATH" => Verb::Death,
            "DATA" => Verb::Data,
            "CMD" => Verb::Command,
            _ => return None,
        };
        let device = match (kind.get(..1)?, device) {
            ("N", None) => None,
            ("D", Some(device)) => Some(id(device)?),
            _ => return None,
        };
        Some(Self::Of { group, verb, place: Place { node: id(node)?, device } })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State { host, is_old: true } => write!(f, "STATE/{host}"),
            Self::State { host, is_old: false } => write!(f, "{NAMESPACE}/STATE/{host}"),
            Self::Of { group, verb, place } => {
                let letter = if place.device.is_some() { 'D' } else { 'N' };
                let verb = match verb {
                    Verb::Birth => "BIRTH",
                    Verb::Death => "DEATH",
                    Verb::Data => "DATA",
                    Verb::Command => "CMD",
                };
                write!(f, "{NAMESPACE}/{group}/{letter}{verb}/{place}")
            }
        }
    }
}

/// May this name a group, edge node, device or host? Section 4.1 keeps `+`, `/` and `#` for MQTT.
pub fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && !text.contains(['+', '#', '/'])
        && !text.contains(char::is_control)
}

fn id(text: &str) -> Option<String> {
    is_id(text).then(|| text.to_owned())
}
