//! MQTT 3.1.1 (OASIS Standard, 29 October 2014) and 5.0 (7 March 2019), with TLS or without.
//!
//! # Which streams there are
//! The configuration names them ([`topic`]); a message on another topic is acknowledged, counted and shown, and
//! gives no reading. One message may feed many streams ([`payload`]).
//!
//! # Neither lost nor doubled
//! The session is persistent: the broker keeps what comes while nobody listens, and sends each message of quality of
//! service 1 or 2 until it is acknowledged. The acknowledgement goes out once the readings are durable in the
//! journal, with their origin (client id, packet id, digest of topic and payload).
//!
//! | a message with the flag `dup`, in a session that … | becomes |
//! |---|---|
//! | was resumed, and its origin is known ([`memory`]) | acknowledged, not recorded again |
//! | was resumed, and its origin is not known | recorded |
//! | was resumed, and it is older than all origins that are known | set aside until the next ones tell ([`aside`]) |
//! | was resumed, and nobody can say | recorded with the flag `possibly-repeated` |
//! | is new, whether lost or the first | recorded with the flag `possibly-repeated` |
//!
//! At most [`WINDOW`](session::WINDOW) messages are taken and not acknowledged: as many origins as the journal keeps.
//! But nothing says which acknowledgements arrived, so more than these may come again.
//! When the node takes nothing, no more is read, and the broker waits. Quality of service 0 promises nothing: the
//! broker drops what it cannot get rid of.
//!
//! # Time and quality
//! The source time is the one that the message names, or else that of receipt. A *retained* message without a time of
//! its own is a value of unknown age: uncertain, by the status [`RETAINED`](crate::status_code::RETAINED). A time that
//! cannot be ([`clock`](crate::clock)) is kept as it is, and the reading is uncertain by the status
//! [`ODD_TIME`](crate::status_code::ODD_TIME). Retained messages come at each subscription, which is once for each start
//! and for each lost session. A dead link has made the streams stale, so such a message is recorded though the broker
//! said the same before; on one connection, one that says the same as the last message of its topic is counted and left
//! out.

pub(crate) mod aside;
pub(crate) mod client;
pub(crate) mod command;
pub mod csv;
pub(crate) mod layer;
pub(crate) mod listen;
pub mod memory;
pub(crate) mod network;
pub(crate) mod packet;
pub mod payload;
pub(crate) mod session;
#[cfg(feature = "sparkplug")]
pub mod sparkplug;
pub mod survey;
pub mod topic;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::adapter::{Adapter, Claim, Head, Source, Start, StreamSpec};
use crate::secret::SecretFile;
use crate::tls::Tls;
use client::{Connect, Options, Service, Version};
use command::Command;
use layer::Layered;
use memory::{Memory, source_of};
use network::Network;
use packet::encode::Will;
use payload::Picker;
use session::Session;
use topic::Filter;

/// Longest client id: brokers must take 23 bytes, and all that are known take more.
pub const CLIENT_ID_BYTES_MAX: usize = 128;

/// A broker, checked ([`config::sources`](crate::config::sources)).
#[derive(Debug, Clone)]
pub struct Mqtt {
    pub(crate) head: Head,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: Version,
    /// As configured.
    pub(crate) client_id: Option<String>,
    pub(crate) service: Service,
    pub(crate) keep_alive: Duration,
    /// MQTT 5: how long the broker keeps the session of a gateway that is away.
    pub(crate) session_expiry: Duration,
    /// `None`: without encryption.
    pub(crate) tls: Option<Tls>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretFile>,
    pub(crate) will: Option<Will>,
    /// For a connection, and for the answer to a subscription.
    pub(crate) timeout: Duration,
    pub(crate) packet_bytes_max: usize,
    /// What is subscribed to.
    pub(crate) filters: Vec<Filter>,
    /// In the order of `streams`.
    pub(crate) topics: Vec<Filter>,
    /// In the order of `streams`.
    pub(crate) pickers: Vec<Picker>,
    /// In the order of `streams`; `None`: it is not written.
    pub(crate) commands: Vec<Option<Command>>,
    pub(crate) streams: Vec<StreamSpec>,
    /// A protocol over MQTT; `None`: topics and payloads are what the configuration says.
    pub(crate) layered: Option<Arc<dyn Layered>>,
    /// Is this only a look? Then the broker is to keep nothing.
    pub(crate) is_rehearsal: bool,
    pub(crate) connect: Arc<dyn Connect>,
    pub(crate) shared: Arc<Shared>,
}

/// What outlives an adapter.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
pub(crate) struct State {
    /// As made from the name of the gateway.
    client_id: Option<String>,
    pub(crate) memory: Memory,
    /// Did the broker ever hold a session for this client, as far as is known here?
    pub(crate) had_session: bool,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic of an adapter the memory still holds: each change is complete by itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mqtt {
    /// Over the network.
    pub(crate) fn network() -> Arc<dyn Connect> {
        Arc::new(Network)
    }

    fn client_id(&self) -> String {
        let made = || {
            self.shared.lock().client_id.clone().unwrap_or_else(|| format!("selvedge-{}", self.head.device))
        };
        let client_id = self.client_id.clone().unwrap_or_else(made);
        if self.is_rehearsal { format!("{client_id}-test-{}", std::process::id()) } else { client_id }
    }

    /// What a broker knows this client by: one at a time.
    fn session(&self) -> String {
        format!("mqtt {}:{} client id {:?}", one_name(&self.host), self.port, self.client_id())
    }

    /// Says which secrets others may read, at each start of an adapter.
    fn warn_of_exposed(&self) {
        let device = self.head.device.as_str();
        let password = self.password.as_ref().and_then(SecretFile::exposed);
        let key = self.tls.as_ref().and_then(Tls::exposed);
        for exposed in password.into_iter().chain(key) {
            tracing::warn!(device, "{exposed}");
        }
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            host: self.host.clone(),
            port: self.port,
            version: self.version,
            client_id: self.client_id(),
            clean_session: self.is_rehearsal || self.layered.is_some(),
            keep_alive: self.keep_alive,
            timeout: self.timeout,
            packet_bytes_max: self.packet_bytes_max,
            session_expiry: self.session_expiry,
            tls: self.tls.clone(),
            user: self.user.clone(),
            password: self.password.clone(),
            // A look says nothing to others of the gateway that runs.
            will: self.will.clone().filter(|_| !self.is_rehearsal),
        }
    }
}

/// A host as it is compared with others: all that mean this very machine are one, and an address has one form.
pub(crate) fn one_name(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        // One connects to "any address" as to oneself.
        Ok(address) if address.is_loopback() || address.is_unspecified() => "localhost".to_owned(),
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        Ok(address) => address.to_string(),
        Err(_) => match bare.strip_suffix('.').unwrap_or(bare) {
            "localhost" | "ip6-localhost" => "localhost".to_owned(),
            name => name.to_owned(),
        },
    }
}

impl Source for Mqtt {
    fn head(&self) -> &Head {
        &self.head
    }
    fn address(&self) -> String {
        format!("{}:{} as {}", self.host, self.port, self.client_id())
    }
    fn streams(&self) -> &[StreamSpec] {
        &self.streams
    }
    fn claims(&self) -> Vec<Claim> {
        // A broker closes one connection of a client id when another comes, and they would take turns for ever.
        let client_id = Claim {
            key: "client_id",
            resource: self.session(),
            terms: None,
            // Two names of one machine cannot be told from two machines here.
            kin: Some(format!("mqtt port {} client id {:?}", self.port, self.client_id())),
            expected: "a `client_id` of its own, or one [[device]] table for this broker",
        };
        std::iter::once(client_id).chain(self.layered.iter().flat_map(|layered| layered.claims())).collect()
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
    fn build(&self) -> Box<dyn Adapter> {
        self.warn_of_exposed();
        self.shared.lock().memory.begin_adapter();
        Box::new(Session::new(self.clone(), self.options()))
    }
    fn begin(&self, start: &Start<'_>) {
        {
            let mut state = self.shared.lock();
            // Sixteen characters tell gateways of one network apart, and the name of the device does the rest.
            let gateway: String =
                start.gateway.chars().rev().take(16).collect::<Vec<_>>().into_iter().rev().collect();
            state.client_id = Some(format!("selvedge-{gateway}-{}", self.head.device));
        }
        let source = source_of(&self.client_id());
        let mut state = self.shared.lock();
        state.memory =
            if start.is_running { Memory::unknown() } else { Memory::restored(source, start.origins) };
        state.had_session = start.origins.iter().any(|origin| origin.source == source);
    }
    /// The same broker keeps the session under the same name, and repeats what was not acknowledged. Of another session
    /// nothing is known, as [`begin`](Self::begin) has said already.
    fn succeed(&self, before: &dyn Source) {
        let Some(before) = before.as_any().downcast_ref::<Self>() else { return };
        if before.session() == self.session() {
            let State { memory, had_session, .. } = &mut *before.shared.lock();
            let mut state = self.shared.lock();
            state.memory = std::mem::take(memory);
            state.had_session = *had_session;
        }
    }
    fn rehearsal(&self) -> Option<Arc<dyn Source>> {
        Some(Arc::new(Self { is_rehearsal: true, shared: Arc::default(), ..self.clone() }))
    }
}
