//! The look itself: a session of its own, quality of service 0, and nothing kept by the broker.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Survey;
use crate::adapter::{Fault, FaultKind};
#[cfg(feature = "sparkplug")]
use crate::clock::{Clock as _, SystemClock};
use crate::mqtt::client::{Connect as _, Heard, Options, Service, Version};
use crate::mqtt::network::Network;
#[cfg(feature = "sparkplug")]
use crate::mqtt::sparkplug::reader::rebirth;
use crate::mqtt::topic::Filter;
use crate::secret::SecretFile;
use crate::tls::Tls;

/// For a connection.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A longer packet ends the look, and is said.
const PACKET_BYTES_MAX: usize = 4 << 20;

/// `mqtt://HOST[:PORT]` or `mqtts://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Name or address; an IPv6 address in brackets.
    pub host: String,
    /// 1883 or, with TLS, 8883, if none is written.
    pub port: u16,
    /// Is it `mqtts`?
    pub has_tls: bool,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected mqtt://HOST[:PORT], or mqtts://HOST[:PORT] with TLS";
        let (has_tls, rest) = match (text.strip_prefix("mqtt://"), text.strip_prefix("mqtts://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(EXPECTED.to_owned()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            // What stands on a command line, every user of the machine can read.
            return Err(format!("{EXPECTED}; user and password belong into --user and --password-file"));
        }
        // A colon within brackets belongs to the address.
        let colon = rest.rfind(':').filter(|at| rest.rfind(']').is_none_or(|end| *at > end));
        let (host, port) = match colon {
            Some(at) => (&rest[..at], rest[at + 1..].parse::<u16>().ok().filter(|port| *port > 0)),
            None => (rest, Some(if has_tls { 8883 } else { 1883 })),
        };
        let is_host = !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic() && !b"/?#@".contains(&b));
        match port {
            Some(port) if is_host => Ok(Self { host: host.to_owned(), port, has_tls }),
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

/// What to look at.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which broker.
    pub url: Url,
    /// MQTT 5, and not 3.1.1?
    pub is_version_5: bool,
    /// Topic filters.
    pub filters: Vec<String>,
    /// As whom.
    pub user: Option<String>,
    /// A file with the password, or `credential:NAME`.
    pub password_file: Option<String>,
    /// Authorities; those of the system if not given.
    pub ca_file: Option<PathBuf>,
    /// This client's certificate and its key.
    pub identity: Option<(PathBuf, String)>,
    /// The name in the broker's certificate, where it is not the host's.
    pub server_name: Option<String>,
    /// How long.
    pub lasts: Duration,
    /// Ask edge nodes of Sparkplug whose births do not come for them? Nothing else is ever said.
    pub asks_for_births: bool,
}

impl Request {
    /// Is it one that can be asked? What is wrong with it is known before anybody is asked.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> Result<(), String> {
        self.filters()?;
        if self.asks_for_births && cfg!(not(feature = "sparkplug")) {
            return Err("this program is built without Sparkplug, and cannot ask for births".to_owned());
        }
        self.options().map(drop)
    }

    fn filters(&self) -> Result<Vec<Filter>, String> {
        let filter = |text: &String| Filter::new(text).map_err(|why| format!("{text:?}: {why}"));
        self.filters.iter().map(filter).collect()
    }

    fn options(&self) -> Result<Options, String> {
        let secret =
            |written: &String| SecretFile::new(written).map_err(|why| format!("{written:?}: expected {why}"));
        let password = self.password_file.as_ref().map(secret).transpose()?;
        let identity = match &self.identity {
            Some((certificate, key)) => Some((certificate.clone(), secret(key)?)),
            None => None,
        };
        let tls = Tls { ca_file: self.ca_file.clone(), identity, server_name: self.server_name.clone() };
        if !self.url.has_tls && tls != Tls::default() {
            return Err("certificates are for mqtts://, and this is mqtt://".to_owned());
        }
        Ok(Options {
            host: self.url.host.clone(),
            port: self.url.port,
            version: if self.is_version_5 { Version::V5 } else { Version::V3 },
            client_id: format!("selvedge-listen-{}", std::process::id()),
            clean_session: true,
            session_expiry: Duration::ZERO,
            keep_alive: Duration::from_secs(30),
            timeout: TIMEOUT,
            packet_bytes_max: PACKET_BYTES_MAX,
            tls: self.url.has_tls.then_some(tls),
            user: self.user.clone(),
            password,
            will: None,
        })
    }
}

/// Looks, and says how many messages there were each second. What was seen before a connection ended is kept.
///
/// # Errors
/// What is wrong with the request, or why there is no connection or no subscription.
pub async fn look(
    request: &Request,
    mut progress: impl FnMut(u64),
) -> Result<(Survey, Option<String>), String> {
    let options = request.options()?;
    let filters = request.filters()?;
    let (mut listener, mut speaker) = Network.connect(&options);
    let said = |fault: Fault| fault.to_string();
    listener.next().await.map_err(said)?;
    speaker.subscribe(&filters, Service::AtMostOnce).map_err(said)?;
    let begun = Instant::now();
    let end = begun + request.lasts;
    let (mut survey, mut shown) = (Survey::default(), begun);
    let mut answers = 0;
    while let Ok(heard) = timeout_at(end, listener.next()).await {
        match heard {
            Ok(Heard::Message(message)) => {
                // A broker sends nothing but quality 0 here; what it does all the same is not acknowledged, so not taken.
                survey.heard(&message.topic, &message.payload, message.retained, begun.elapsed());
                #[cfg(feature = "sparkplug")]
                if request.asks_for_births
                    && let Some((group, node)) = survey.should_ask(&message.topic)
                {
                    let ask = rebirth(&group, node, SystemClock.wall_ns());
                    speaker.publish(&ask).map_err(|why| format!("{}: {why}", ask.topic))?;
                }
            }
            Ok(Heard::Subscribed(granted)) => {
                let refused = granted
                    .iter()
                    .position(Option::is_none)
                    .map(|at| filters[(answers + at) % filters.len()].as_str());
                if let Some(filter) = refused {
                    return Err(format!("the broker refuses {filter:?}; this user may not read it"));
                }
                answers += granted.len();
            }
            Ok(_) => {}
            Err(fault) if survey.messages() == 0 && fault.kind != FaultKind::Closed => {
                return Err(fault.to_string());
            }
            Err(fault) => return Ok((survey, Some(fault.to_string()))),
        }
        if shown.elapsed() >= Duration::from_secs(1) {
            shown = Instant::now();
            progress(survey.messages());
        }
    }
    Ok((survey, None))
}
