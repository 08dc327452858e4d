//! One connection to a broker, behind two small traits: what comes, and what is said. Everything that is particular to
//! rumqttc stands in this file.
//!
//! Facts about rumqttc 0.25 that shaped it:
//! - It keeps packets of an ended connection and hands them out on the next. So each connection gets an event loop of
//!   its own, and an acknowledgement never goes out on another connection than that on which its message came.
//! - A `PUBREL` for a message that this event loop has not seen ends the connection, each time anew; it comes after
//!   every restart between `PUBREC` and `PUBREL`. So each new event loop is told that it has seen all packet ids.
//! - It reads ten packets for each that it writes, so acknowledgements would gather in its channel, to be lost with the
//!   process. So they are counted until it says that they went out ([`Unsaid`]), and belong to the window until then.
//! - Awaiting the client inside the loop that polls deadlocks when its channel is full. Nothing here waits: the
//!   channel has room for all that may be said ([`REQUESTS_MAX`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rumqttc::mqttbytes::v4::{ConnectReturnCode, Packet, Publish, SubscribeReasonCode};
use rumqttc::mqttbytes::{self, QoS};
use rumqttc::{
    AsyncClient, ConnectionError, EventLoop, MqttOptions, NetworkOptions, Outgoing, StateError,
    SubscribeFilter,
};

use tokio::sync::Notify;

use super::aside::ASIDE_MAX;
use super::session::WINDOW;
use super::topic::Filter;
use crate::adapter::{Fault, FaultKind};

/// What may wait to be said: acknowledgements of a whole window, of what was set aside, and subscriptions. More than that is a fault of this
/// program; the connection is then made anew.
const REQUESTS_MAX: usize = 2 * WINDOW + ASIDE_MAX + 1_024;
/// Filters in one `SUBSCRIBE`.
const FILTERS_PER_PACKET: usize = 64;

/// How to reach a broker, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Name or address; an IPv6 address in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) client_id: String,
    /// Does the broker forget everything when the connection ends?
    pub(crate) clean_session: bool,
    pub(crate) keep_alive: Duration,
    /// For a connection.
    pub(crate) timeout: Duration,
    /// Longest packet that is taken.
    pub(crate) packet_bytes_max: usize,
}

/// How a message is delivered (MQTT 3.1.1, section 4.3).
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
}

pub(crate) type Hearing<'a> = Pin<Box<dyn Future<Output = Result<Heard, Fault>> + Send + 'a>>;

/// What comes from a broker.
pub(crate) trait Listen: Send {
    /// The next; after an error the connection is over. May be dropped only together with the connection.
    fn next(&mut self) -> Hearing<'_>;
}

/// What is said to a broker. Nothing waits.
pub(crate) trait Speak: Send {
    /// Asks for the messages of these filters; each returned count of filters gets one `Subscribed`, in order.
    fn subscribe(&mut self, filters: &[Filter], service: Service) -> Result<Vec<usize>, Fault>;
    /// Takes responsibility for a message.
    fn acknowledge(&mut self, packet: u16, service: Service) -> Result<(), Fault>;
    /// Acknowledgements that were said and are not on their way to the broker yet.
    fn unsaid(&self) -> Arc<Unsaid>;
}

/// Counts what waits to be said, and wakes whoever waits for it to become less.
#[derive(Debug, Default)]
pub(crate) struct Unsaid {
    count: AtomicUsize,
    less: Notify,
    more: Notify,
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
    /// Waits until it became more. One that became more before counts too.
    pub(crate) async fn more(&self) {
        self.more.notified().await;
    }
    fn one_more(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.more.notify_one();
    }
    fn one_less(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
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

/// With rumqttc.
#[derive(Debug)]
pub(crate) struct Rumqttc;

impl Connect for Rumqttc {
    fn connect(&self, options: &Options) -> Connection {
        let mut mqtt = MqttOptions::new(&options.client_id, &options.host, options.port);
        mqtt.set_clean_session(options.clean_session)
            .set_keep_alive(options.keep_alive)
            .set_manual_acks(true)
            .set_max_packet_size(options.packet_bytes_max, options.packet_bytes_max);
        let (client, mut events) = AsyncClient::new(mqtt, REQUESTS_MAX);
        let unsaid = Arc::<Unsaid>::default();
        let mut network = NetworkOptions::new();
        // It counts in whole seconds.
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(options.timeout.as_secs().max(1));
        events.set_network_options(network);
        (
            Box::new(Listener {
                events,
                is_connected: false,
                timeout: options.timeout,
                unsaid: Arc::clone(&unsaid),
            }),
            Box::new(Speaker { client, unsaid }),
        )
    }
}

struct Listener {
    events: EventLoop,
    is_connected: bool,
    timeout: Duration,
    unsaid: Arc<Unsaid>,
}

impl Listener {
    async fn hear(&mut self) -> Result<Heard, Fault> {
        if !self.is_connected {
            let connected = tokio::time::timeout(self.timeout, self.events.poll()).await;
            let event = connected.map_err(|_| {
                Fault::new(FaultKind::Timeout, format!("no answer within {:?}", self.timeout))
            })?;
            let rumqttc::Event::Incoming(Packet::ConnAck(answer)) = event.map_err(|e| fault(&e, false))?
            else {
                return Err(Fault::new(FaultKind::Protocol, "no CONNACK"));
            };
            self.is_connected = true;
            self.expect_releases()?;
            return Ok(Heard::Connected { resumed: answer.session_present });
        }
        loop {
            let event = self.events.poll().await.map_err(|error| fault(&error, true))?;
            match event {
                rumqttc::Event::Incoming(Packet::Publish(publish)) => {
                    return Ok(Heard::Message(message(publish)));
                }
                rumqttc::Event::Incoming(Packet::SubAck(answer)) => {
                    let granted = answer.return_codes.into_iter().map(granted).collect();
                    return Ok(Heard::Subscribed(granted));
                }
                rumqttc::Event::Outgoing(Outgoing::PubAck(_) | Outgoing::PubRec(_)) => self.unsaid.one_less(),
                _ => {}
            }
        }
    }

    /// Makes the event loop answer every `PUBREL`, as section 4.3.3 demands.
    fn expect_releases(&mut self) -> Result<(), Fault> {
        let mut seen = Publish::new("", QoS::ExactlyOnce, Vec::new());
        for packet in 1..=u16::MAX {
            seen.pkid = packet;
            let noted = self.events.state.handle_incoming_packet(Packet::Publish(seen.clone()));
            noted.map_err(|error| Fault::new(FaultKind::Adapter, error.to_string()))?;
            self.events.state.events.clear();
        }
        Ok(())
    }
}

impl Drop for Listener {
    /// Nothing goes out any more; whoever waits for it must look again.
    fn drop(&mut self) {
        self.unsaid.less.notify_one();
    }
}

impl Listen for Listener {
    fn next(&mut self) -> Hearing<'_> {
        Box::pin(self.hear())
    }
}

struct Speaker {
    client: AsyncClient,
    unsaid: Arc<Unsaid>,
}

impl Speak for Speaker {
    fn subscribe(&mut self, filters: &[Filter], service: Service) -> Result<Vec<usize>, Fault> {
        let mut counts = Vec::new();
        for part in filters.chunks(FILTERS_PER_PACKET) {
            let part: Vec<_> = part
                .iter()
                .map(|filter| SubscribeFilter::new(filter.as_str().to_owned(), qos(service)))
                .collect();
            counts.push(part.len());
            self.client.try_subscribe_many(part).map_err(|_| no_room())?;
        }
        Ok(counts)
    }

    fn acknowledge(&mut self, packet: u16, service: Service) -> Result<(), Fault> {
        let mut publish = Publish::new("", qos(service), Vec::new());
        publish.pkid = packet;
        self.unsaid.one_more();
        self.client.try_ack(&publish).map_err(|_| no_room())
    }

    fn unsaid(&self) -> Arc<Unsaid> {
        Arc::clone(&self.unsaid)
    }
}

fn no_room() -> Fault {
    Fault::new(FaultKind::Adapter, "no room for what is to be said to the broker")
}

const fn qos(service: Service) -> QoS {
    match service {
        Service::AtMostOnce => QoS::AtMostOnce,
        Service::AtLeastOnce => QoS::AtLeastOnce,
        Service::ExactlyOnce => QoS::ExactlyOnce,
    }
}

const fn service(qos: QoS) -> Service {
    match qos {
        QoS::AtMostOnce => Service::AtMostOnce,
        QoS::AtLeastOnce => Service::AtLeastOnce,
        QoS::ExactlyOnce => Service::ExactlyOnce,
    }
}

fn granted(code: SubscribeReasonCode) -> Option<Service> {
    match code {
        SubscribeReasonCode::Success(qos) => Some(service(qos)),
        SubscribeReasonCode::Failure => None,
    }
}

fn message(publish: Publish) -> Message {
    Message {
        topic: publish.topic,
        payload: publish.payload.into(),
        service: service(publish.qos),
        packet: publish.pkid,
        again: publish.dup,
        retained: publish.retain,
    }
}

fn fault(error: &ConnectionError, is_connected: bool) -> Fault {
    let text = error.to_string();
    match error {
        ConnectionError::ConnectionRefused(code) => Fault::new(FaultKind::Unreachable, refusal(*code)),
        ConnectionError::NetworkTimeout | ConnectionError::FlushTimeout => {
            Fault::new(FaultKind::Timeout, "the connection takes nothing")
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            Fault::new(FaultKind::Timeout, "no answer to a ping")
        }
        ConnectionError::MqttState(StateError::Deserialization(
            mqttbytes::Error::PayloadSizeLimitExceeded(bytes),
        )) => {
            let why = format!(
                "a packet of {bytes} bytes, more than max_packet_bytes; the broker sends it again until it is taken: \
                 make max_packet_bytes greater, or take the message off the broker"
            );
            Fault::new(FaultKind::Protocol, why)
        }
        ConnectionError::MqttState(
            StateError::ConnectionAborted
            | StateError::Io(_)
            | StateError::Deserialization(mqttbytes::Error::Io(_)),
        )
        | ConnectionError::Io(_) => {
            if is_connected {
                let hint = "the broker closed the connection, as it also does when another client uses this client id";
                Fault::new(FaultKind::Closed, format!("{hint} ({text})"))
            } else {
                Fault::new(FaultKind::Unreachable, text)
            }
        }
        _ => Fault::new(FaultKind::Protocol, text),
    }
}

fn refusal(code: ConnectReturnCode) -> &'static str {
    match code {
        ConnectReturnCode::BadUserNamePassword => "the broker refuses: wrong user name or password",
        ConnectReturnCode::NotAuthorized => "the broker refuses: this client may not connect",
        ConnectReturnCode::BadClientId => "the broker refuses the client id",
        ConnectReturnCode::ServiceUnavailable => "the broker refuses: not available",
        ConnectReturnCode::RefusedProtocolVersion => "the broker refuses MQTT 3.1.1",
        ConnectReturnCode::Success => "the broker refuses, and says that it does not",
    }
}
