//! From messages to readings, with the clock: what [`Host`] says becomes readings of streams, requests and figures.

use std::time::Duration;

use selvedge_core::border::NewReading;
use selvedge_core::reading::{Quality, Value};
use tokio::time::Instant;

use super::host::{Came, Host, Out, Policy, Target};
use super::payload::{Metric, Payload};
use super::state::HostState;
use super::topic::{NAMESPACE, Place, Topic, Verb};
use super::value::DataType;
use super::writing::Writing;
use crate::adapter::{Claim, Context};
use crate::clock::is_sane;
use crate::health::UNMATCHED_SHOWN;
use crate::mqtt::client::{Message, Service, Speak};
use crate::mqtt::layer::{Layer, Layered};
use crate::mqtt::packet::encode::{Publication, Will};
use crate::mqtt::payload::{Mark, is_marked};
use crate::mqtt::topic::Filter;
use crate::outlet::Readings;
use crate::status_code;
use crate::write::WriteRequest;

/// The metric by which a node is asked for its births (specification 3.0.0, section 6.4.20).
const REBIRTH: &str = "Node Control/Rebirth";

/// A host application, as configured.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) group: String,
    /// `None`: it is no primary host, and nobody is told of it.
    pub(crate) state: Option<HostState>,
    pub(crate) policy: Policy,
    /// In the order of the streams.
    pub(crate) targets: Vec<Target>,
    /// What means "not available", in the order of the streams.
    pub(crate) marks: Vec<Vec<Mark>>,
    /// How long a metric may take to show what was written, in the order of the streams.
    pub(crate) confirm_within: Vec<Duration>,
    /// For claims.
    pub(crate) broker: String,
}

impl Settings {
    /// What is subscribed to.
    pub(crate) fn filters(&self) -> Vec<Filter> {
        let state = self.state.as_ref().map(HostState::topic);
        let topics = state.into_iter().chain([format!("{NAMESPACE}/{}/#", self.group)]);
        topics.filter_map(|topic| Filter::new(&topic).ok()).collect()
    }
}

impl Layered for Settings {
    fn layer(&self, is_rehearsal: bool) -> Box<dyn Layer> {
        let mut settings = self.clone();
        // Its end would tell the nodes that the gateway which runs is gone.
        settings.state = settings.state.filter(|_| !is_rehearsal);
        Box::new(Reader::new(settings))
    }

    fn claims(&self) -> Vec<Claim> {
        let claim = |state: &HostState| Claim {
            key: "host_id",
            resource: format!("mqtt {} host application {}", self.broker, state.topic()),
            terms: None,
            kin: None,
            expected: "a `host_id` in one [[device]] only: the end of one connection says that the host is gone",
        };
        self.state.iter().map(claim).collect()
    }
}

/// What the broker says of what is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subscription {
    /// Nothing yet.
    Asked,
    /// All is granted.
    Granted,
    /// Some is not. That stands above what is wrong with nodes.
    Refused,
}

pub(super) struct Reader {
    settings: Settings,
    host: Host,
    /// What the host's moments are counted from.
    begun: Instant,
    /// What each stream said last of the present.
    last: Vec<Option<NewReading>>,
    /// Wall time of the connection, ms since 1970 UTC.
    connected_ms: i64,
    /// Is the state of this host to be said?
    owes_state: bool,
    /// Has it been said on this connection?
    is_online: bool,
    subscription: Subscription,
    writing: Option<Writing>,
    /// Values that were written. What came before the last of them does not confirm it.
    writes: u64,
}

impl Reader {
    fn new(settings: Settings) -> Self {
        let host = Host::new(&settings.targets, settings.policy);
        let last = vec![None; settings.targets.len()];
        Self {
            settings,
            host,
            begun: Instant::now(),
            last,
            connected_ms: 0,
            owes_state: false,
            is_online: false,
            subscription: Subscription::Asked,
            writing: None,
            writes: 0,
        }
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn take(&mut self, out: Vec<Out>, readings: &mut Readings, context: &Context) {
        let receive_time_ns = context.clock.wall_ns();
        for out in out {
            match out {
                Out::Stale { stream, status } => {
                    let Some(last) = self.last[stream].take() else { continue };
                    readings.push(NewReading { quality: Quality::Stale, status, receive_time_ns, ..last });
                }
                Out::Value { stream, mut decoded, source_time_ns, is_historical, writes } => {
                    if is_marked(&self.settings.marks[stream], &decoded.value) {
                        (decoded.value, decoded.quality) = (Value::None, Quality::NotAvailable);
                    }
                    let doubt = match source_time_ns {
                        None => Some(status_code::NO_TIME),
                        Some(time) if !is_sane(time, receive_time_ns) => Some(status_code::ODD_TIME),
                        Some(_) => None,
                    };
                    if let Some(doubt) = doubt.filter(|_| decoded.quality == Quality::Good) {
                        (decoded.quality, decoded.status) = (Quality::Uncertain, doubt);
                    }
                    if matches!(decoded.status, status_code::UNDECODABLE | status_code::OTHER_TYPE) {
                        context.health.messages(|figures| figures.undecodable += 1);
                    }
                    let reading = NewReading {
                        stream: context.streams[stream],
                        value: decoded.value,
                        quality: decoded.quality,
                        flags: 0,
                        status: decoded.status,
                        source_time_ns: source_time_ns.unwrap_or(receive_time_ns),
                        receive_time_ns,
                    };
                    if is_historical {
                        readings.push_past(reading);
                    } else {
                        self.shows(stream, &reading.value, writes);
                        let last = self.last[stream].replace(reading.clone());
                        // A birth says again what was said before.
                        if source_time_ns.is_some() && last.is_some_and(|last| is_again(&last, &reading)) {
                            context.health.messages(|figures| figures.repeats_dropped += 1);
                            continue;
                        }
                        readings.push(reading);
                    }
                }
            }
        }
    }

    /// A stream shows a value of now, in a message that came after so many writes.
    fn shows(&mut self, stream: usize, value: &Value, writes: u64) {
        if writes < self.writes {
            return;
        }
        let Some(writing) = self.writing.take() else { return };
        self.writing = writing.shown(stream, value);
    }

    /// Tells people how it is.
    fn report(&mut self, context: &Context) {
        let figures = self.host.figures().clone();
        let is_changed = self.host.take_changed();
        let unmatched = is_changed.then(|| self.host.unmatched(UNMATCHED_SHOWN));
        context.health.messages(|messages| {
            let shown = messages.sparkplug.get_or_insert_default();
            let before = (shown.metrics_unmatched, std::mem::take(&mut shown.unmatched_metrics));
            *shown = figures;
            (shown.metrics_unmatched, shown.unmatched_metrics) = unmatched.unwrap_or(before);
        });
        if !is_changed || self.subscription != Subscription::Granted {
            return;
        }
        match self.host.complaints().as_slice() {
            [] => context.health.up(),
            [one] => context.health.degraded(one),
            [first, rest @ ..] => context.health.degraded(&format!("{first}, and {} more", rest.len())),
        }
    }

    /// What others say of this very host.
    fn state(&mut self, message: &Message) {
        let Some(state) = &self.settings.state else { return };
        // The will of an older connection may come after this one was made, and nodes would believe it.
        if self.is_online && message.topic == state.topic() && state.is_contradicted_by(&message.payload) {
            self.owes_state = true;
        }
    }

    fn say_state(&mut self, speaker: &mut dyn Speak) {
        self.owes_state = false;
        let Some(state) = &self.settings.state else { return };
        let publication = Publication {
            topic: state.topic(),
            payload: state.payload(true, self.connected_ms).into_bytes(),
            service: Service::AtLeastOnce,
            retain: true,
            expiry: None,
        };
        match speaker.publish(&publication) {
            Ok(_) => self.is_online = true,
            Err(why) => tracing::warn!(why, "the state of this host could not be published"),
        }
    }

    fn ask_for_births(&self, node: String, speaker: &mut dyn Speak, context: &Context) {
        let command = rebirth(&self.settings.group, node, context.clock.wall_ns());
        // It is asked for again when it does not come.
        if let Err(why) = speaker.publish(&command) {
            tracing::warn!(why, topic = command.topic, "a birth could not be asked for");
        }
    }
}

/// The same value of the same time.
fn is_again(last: &NewReading, reading: &NewReading) -> bool {
    (last.source_time_ns, &last.value, last.quality, last.status)
        == (reading.source_time_ns, &reading.value, reading.quality, reading.status)
}

/// Asks an edge node for its births and those of its devices.
pub(crate) fn rebirth(group: &str, node: String, now_ns: i64) -> Publication {
    let metric = Metric {
        name: Some(REBIRTH.as_bytes().to_vec()),
        datatype: Some(DataType::Boolean as u32),
        boolean_value: Some(true),
        ..Metric::default()
    };
    command(group, Place { node, device: None }, metric, now_ns)
}

/// A command with one metric: quality of service 0, not retained, without a sequence number (section 6.4.20).
pub(super) fn command(group: &str, place: Place, metric: Metric, now_ns: i64) -> Publication {
    use prost::Message as _;
    let timestamp = u64::try_from(now_ns / 1_000_000).ok();
    let metric = Metric { timestamp, ..metric };
    let payload = Payload { timestamp, metrics: vec![metric], ..Payload::default() };
    let topic = Topic::Of { group: group.to_owned(), verb: Verb::Command, place };
    Publication {
        topic: topic.to_string(),
        payload: payload.encode_to_vec(),
        service: Service::AtMostOnce,
        retain: false,
        expiry: None,
    }
}

impl Layer for Reader {
    fn connecting(&mut self, now_ns: i64) -> Option<Will> {
        self.connected_ms = now_ns / 1_000_000;
        let state = self.settings.state.as_ref()?;
        Some(Will {
            topic: state.topic(),
            payload: state.payload(false, self.connected_ms).into_bytes(),
            service: Service::AtLeastOnce,
            retain: true,
        })
    }

    fn subscribed(&mut self, refused: Option<&str>, context: &Context) {
        self.subscription = if refused.is_some() { Subscription::Refused } else { Subscription::Granted };
        self.owes_state = self.settings.state.is_some();
        self.host.connected(self.now());
        // Until they are born, nodes are what is missing.
        match refused {
            None => self.report(context),
            Some(why) => context.health.degraded(why),
        }
    }

    fn message(&mut self, message: &Message, is_older: bool, readings: &mut Readings, context: &Context) {
        let came = Came { at: self.now(), writes: self.writes.saturating_sub(u64::from(is_older)) };
        match Topic::parse(&message.topic) {
            Some(Topic::Of { group, verb, place }) if group == self.settings.group => {
                if verb == Verb::Command {
                    return;
                }
                // Nothing of a node is retained (section 5): who knows how old it is, and whether the node lives.
                if message.retained {
                    return context.health.messages(|figures| figures.unmatched(&message.topic));
                }
                let mut out = Vec::new();
                let payload = Payload::read(&message.payload);
                if let Err(why) = &payload {
                    tracing::debug!(topic = message.topic, %why, "a message cannot be read");
                }
                if !self.host.message(verb, &place, payload, came, &mut out) {
                    context.health.messages(|figures| figures.unmatched(&message.topic));
                }
                self.take(out, readings, context);
                self.report(context);
            }
            Some(Topic::State { .. }) => self.state(message),
            _ => context.health.messages(|figures| figures.unmatched(&message.topic)),
        }
    }

    fn due(&self) -> Option<Instant> {
        let host =
            self.host.due().filter(|_| self.subscription != Subscription::Asked).map(|due| self.begun + due);
        let state = self.owes_state.then_some(self.begun);
        host.into_iter().chain(state).chain(self.writing.as_ref().map(Writing::due)).min()
    }

    fn tick(&mut self, speaker: &mut dyn Speak, readings: &mut Readings, context: &Context) {
        if self.owes_state {
            self.say_state(speaker);
        }
        if let Some(writing) = self.writing.take() {
            self.writing = writing.tick();
        }
        let mut out = Vec::new();
        for node in self.host.tick(self.now(), &mut out) {
            self.ask_for_births(node, speaker, context);
        }
        self.take(out, readings, context);
        self.report(context);
    }

    fn can_write(&self) -> bool {
        self.subscription != Subscription::Asked && self.writing.is_none()
    }

    fn write(&mut self, request: WriteRequest, speaker: &mut dyn Speak, context: &Context) {
        self.writes += 1;
        let within = self.settings.confirm_within[request.stream];
        let metric = self.host.born(request.stream);
        let publish = |place: &Place, metric| {
            speaker.publish(&command(&self.settings.group, place.clone(), metric, context.clock.wall_ns()))
        };
        self.writing = Writing::begin(request, metric, within, publish);
    }

    fn disconnected(&mut self) {
        self.subscription = Subscription::Asked;
        (self.is_online, self.owes_state) = (false, false);
        // The session makes all streams stale.
        self.last.fill(None);
        if let Some(writing) = self.writing.take() {
            writing.ended("the connection ended before the metric showed the value");
        }
    }
}
