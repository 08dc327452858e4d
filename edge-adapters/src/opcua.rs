//! OPC-UA, as a client (OPC 10000).
//!
//! # Which streams there are
//! The configuration names nodes ([`node_id`]), by the names of their namespaces, which hold when a server numbers them
//! anew. Each node is a stream; of an array, one element is. What becomes of a value, its status and its times:
//! [`value`].
//!
//! # By subscription
//! The server samples and says what changed ([`subscribe`]). After a connection that broke the session and its queues
//! are still there, and nothing is lost; after a restart of the server everything is made anew, and each node must speak
//! again ([`items`]). While there is no connection every stream is stale. What is watched is values and not
//! connections ([`watch`]): a server that keeps its connection and says nothing is left, and a node whose value changes
//! without a word is watched anew.
//!
//! With `mode = "poll"`, and with servers that know no subscriptions, nodes are read at an interval ([`poll`]).
//!
//! # Layout
//! - pure: [`value`], [`node_id`]
//! - [`security`], [`pki`]: policies, users, certificates
//! - [`link`]: one connection with its channel; [`session`]: what is asked in it
//! - [`subscribe`], [`items`]: a subscription and the nodes that it watches
//! - [`run`]: connects for ever; [`watch`]: one connection with a subscription, [`poll`]: one that polls
//! - [`write`]: writes to nodes, and calls of methods
//! - `server`: a server of some variables (feature `opcua-server`)
//!
//! Of the library `async-opcua` the codecs, chunks and keys are used. Its session is not: after a reconnect it never
//! publishes again and says that it is connected, gives up after ten attempts, and knows no way to wait with its answers.

pub mod browse;
pub mod items;
pub(crate) mod link;
pub mod node_id;
pub mod pki;
pub(crate) mod poll;
pub(crate) mod run;
pub mod security;
#[cfg(feature = "opcua-server")]
pub mod server;
pub(crate) mod session;
pub(crate) mod subscribe;
pub mod value;
pub(crate) mod variant;
pub(crate) mod watch;
pub(crate) mod write;

use std::any::Any;
use std::time::Duration;

use opcua::types::status_code::SubStatusCode;

use crate::adapter::{Adapter, Claim, Head, Source, StreamSpec};
use items::Item;
use session::Connect;
use subscribe::Wish;
use write::Call;

/// A server, checked ([`config::sources`](crate::config::sources)).
#[derive(Debug, Clone)]
pub struct OpcUa {
    pub(crate) head: Head,
    /// As configured: `opc.tcp://10.0.0.7:4840/plc`.
    pub(crate) url: String,
    pub(crate) connect: Connect,
    pub(crate) mode: Mode,
    /// Nodes that say nothing are looked at this often.
    pub(crate) check_interval: Duration,
    /// In the order of `streams`.
    pub(crate) items: Vec<Item>,
    /// In the order of `streams`: written by a method, and not to the node.
    pub(crate) calls: Vec<Option<Call>>,
    pub(crate) streams: Vec<StreamSpec>,
}

/// How values come.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// By subscription; polled at its interval where the server knows none.
    Subscribe(Wish),
    /// Polled at this interval.
    Poll(Duration),
}

impl Source for OpcUa {
    fn head(&self) -> &Head {
        &self.head
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn address(&self) -> String {
        format!("{} {}", self.url, self.connect.security)
    }
    fn streams(&self) -> &[StreamSpec] {
        &self.streams
    }
    fn claims(&self) -> Vec<Claim> {
        // A server has room for many sessions.
        Vec::new()
    }
    fn build(&self) -> Box<dyn Adapter> {
        if let Some(exposed) = self.connect.user.exposed() {
            tracing::warn!(device = self.head.device, "{exposed}");
        }
        Box::new(run::Runner::new(self.clone()))
    }
}

/// A server's status code in words.
pub(crate) fn status_words(status: u32) -> String {
    match SubStatusCode::from_value(status & 0xFFFF_0000) {
        Some(code) => format!("{}:{}", code.name(), code.description().trim_end_matches('.')),
        None => format!("status {status:#010x}"),
    }
}
