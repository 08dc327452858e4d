//! The table `[network]`: where this gateway listens, is reached, and finds others.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;

use super::Span;
use crate::invite::{Address, Host};

/// Addresses in `peers`, at most.
pub const PEERS_MAX: usize = 64;
/// Addresses in `advertise`, at most: as many as others remember of one member.
pub const ADVERTISE_MAX: usize = 4;
/// How long the start check waits for a peer when nobody says how long.
pub const START_WAIT: Duration = Duration::from_secs(10);
/// The longest wait that can be asked for.
const START_WAIT_MAX: Duration = Duration::from_hours(1);

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NetworkTable {
    listen: Option<String>,
    advertise: Vec<String>,
    peers: Vec<String>,
    start_wait: Option<Span>,
}

/// A checked table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkSettings {
    /// The UDP address on which peers are waited for; `None`: others are dialled only.
    pub listen: Option<SocketAddr>,
    /// Where others reach this gateway; an invitation names the first.
    pub advertise: Vec<Address>,
    /// Whom to dial.
    pub peers: Vec<Address>,
    /// How long a start waits for a peer to say how far this gateway's own chain goes. Zero: not at all.
    pub start_wait: Duration,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self { listen: None, advertise: Vec::new(), peers: Vec::new(), start_wait: START_WAIT }
    }
}

impl NetworkSettings {
    /// Is there a network at all: does it listen, or dial?
    pub fn is_used(&self) -> bool {
        self.listen.is_some() || !self.peers.is_empty()
    }

    /// What of `advertise` can be told to peers: addresses of IP. A name is for people and invitations.
    pub fn advertised(&self) -> Vec<SocketAddr> {
        let ip = |host: &Host| match host {
            Host::V4(ip) => Some(IpAddr::V4(*ip)),
            Host::V6(ip) => Some(IpAddr::V6(*ip)),
            Host::Name(_) => None,
        };
        self.advertise.iter().filter_map(|a| Some(SocketAddr::new(ip(&a.host)?, a.port))).collect()
    }
}

impl NetworkTable {
    /// What is right of it; for what is wrong, `wrong` is called with the key.
    pub(super) fn settings(&self, mut wrong: impl FnMut(&'static str, &str)) -> NetworkSettings {
        let mut settings = NetworkSettings::default();
        if let Some(text) = &self.listen {
            settings.listen = text.parse().ok();
            if settings.listen.is_none() {
                wrong(
                    "listen",
                    "key `listen`: expected an IP address of this machine and a port, such as \"0.0.0.0:7440\"",
                );
            }
        }
        let mut address = |key, text: &String| match text.parse() {
            Ok(address) => Some(address),
            Err(why) => {
                wrong(key, &format!("key `{key}`: {why}"));
                None
            }
        };
        settings.advertise =
            self.advertise.iter().take(ADVERTISE_MAX).filter_map(|text| address("advertise", text)).collect();
        settings.peers =
            self.peers.iter().take(PEERS_MAX).filter_map(|text| address("peers", text)).collect();
        if self.peers.len() > PEERS_MAX {
            wrong(
                "peers",
                "key `peers`: expected at most 64 addresses; a few are enough, peers tell each other the rest",
            );
        }
        if self.advertise.len() > ADVERTISE_MAX {
            wrong("advertise", "key `advertise`: expected at most 4 addresses of this gateway");
        }
        if let Some(Span(wait)) = self.start_wait {
            settings.start_wait = wait;
            if wait > START_WAIT_MAX {
                wrong(
                    "start_wait",
                    "key `start_wait`: expected at most 1h; readings are journaled meanwhile",
                );
            }
        }
        settings
    }
}
