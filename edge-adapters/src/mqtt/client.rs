//! One connection to a broker, behind three small traits: what comes, what is said, and how both are made. The real
//! ones are in [`network`](super::network); tests play a broker with others.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::packet::encode::{Publication, Will};
pub(crate) use super::packet::{Message, Outcome, Service, Version};
use super::topic::Filter;
use crate::adapter::Fault;
use crate::secret::SecretFile;
use crate::tls::Tls;

/// How to reach a broker, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Name or address; an IPv6 address in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) version: Version,
    pub(crate) client_id: String,
    /// Does the broker forget everything when the connection ends?
    pub(crate) clean_session: bool,
    /// MQTT 5: how long the broker keeps the session without a connection.
    pub(crate) session_expiry: Duration,
    pub(crate) keep_alive: Duration,
    /// For a connection, until the broker has accepted it; and for the answer to a ping.
    pub(crate) timeout: Duration,
    /// Longest packet that is taken.
    pub(crate) packet_bytes_max: usize,
    /// `None`: without encryption.
    pub(crate) tls: Option<Tls>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretFile>,
    pub(crate) will: Option<Will>,
}

/// What comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The connection stands. First of all.
    Connected {
        /// Has the broker kept the session?
        resumed: bool,
    },
    /// A message.
    Message(Message),
    /// The answer to one `SUBSCRIBE`: what was granted for each of its filters, `None` for refused.
    Subscribed(Vec<Option<Service>>),
    /// The answer to a message of this client.
    Published {
        /// As [`Speak::publish`] returned it.
        packet: u16,
        /// Has the broker taken it?
        outcome: Outcome,
    },
}

pub(crate) type Hearing<'a> = Pin<Box<dyn Future<Output = Result<Heard, Fault>> + Send + 'a>>;
pub(crate) type Tending<'a> = Pin<Box<dyn Future<Output = Fault> + Send + 'a>>;

/// What comes from a broker.
pub(crate) trait Listen: Send {
    /// The next, if it has come already. After an error the connection is over.
    fn heard(&mut self) -> Result<Option<Heard>, Fault>;
    /// The next; meanwhile what is said goes out. After an error the connection is over. May be dropped only together
    /// with the connection.
    fn next(&mut self) -> Hearing<'_>;
    /// Sends what is said, and that this client is alive, and takes nothing in; for ever, or until it fails. May be
    /// dropped at any time.
    fn tend(&mut self) -> Tending<'_>;
}

/// What is said to a broker. Nothing waits.
pub(crate) trait Speak: Send {
    /// Asks for the messages of these filters; each returned count of filters gets one `Subscribed`, in order.
    fn subscribe(&mut self, filters: &[Filter], service: Service) -> Result<Vec<usize>, Fault>;
    /// Takes responsibility for these messages, by their packet ids; none is of quality of service 0.
    fn acknowledge(&mut self, packets: &[(u16, Service)]) -> Result<(), Fault>;
    /// Publishes a message of quality of service 0 or 1; of 1 a `Published` with the returned packet id follows.
    ///
    /// # Errors
    /// What the broker said that it does not take, or MQTT cannot say.
    fn publish(&mut self, publication: &Publication) -> Result<u16, String>;
    /// Acknowledgements that were said and are not on their way to the broker yet.
    fn unsaid(&self) -> Arc<Unsaid>;
}

/// Counts what waits to be said, and wakes whoever waits for it to become less.
#[derive(Debug, Default)]
pub(crate) struct Unsaid {
    count: AtomicUsize,
    less: Notify,
}

impl Unsaid {
    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
    /// Waits until it became less. One that became less before counts too.
    pub(crate) async fn less(&self) {
        self.less.notified().await;
    }
    pub(crate) fn more(&self, by: usize) {
        self.count.fetch_add(by, Ordering::SeqCst);
    }
    pub(crate) fn fewer(&self, by: usize) {
        self.count.fetch_sub(by, Ordering::SeqCst);
        self.less.notify_one();
    }
    /// Nothing goes out any more; whoever waits for it must look again.
    pub(crate) fn wake(&self) {
        self.less.notify_one();
    }
}

/// A connection: made when first listened to, closed when both are dropped.
pub(crate) type Connection = (Box<dyn Listen>, Box<dyn Speak>);

/// Makes connections.
pub(crate) trait Connect: Send + Sync + std::fmt::Debug {
    /// A new one.
    fn connect(&self, options: &Options) -> Connection;
}
