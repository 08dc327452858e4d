//! The session with a broker that a test plays: what is acknowledged, and when; what comes again; what finds no room.

mod aside;
mod kept;
mod writing;

use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::{NewReading, Origin, StreamHandle};
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, Quality, Value};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::support::{device, soon};
use crate::adapter::{Fault, FaultKind, Source, Start};
use crate::clock::{Clock, SetClock};
use crate::health::{DeviceSnapshot, DeviceState, MessageFigures};
use crate::mqtt::Mqtt;
use crate::mqtt::client::{
    Connect, Connection, Heard, Hearing, Listen, Message, Options, Service, Speak, Tending, Unsaid,
};
use crate::mqtt::memory::{digest_of, source_of};
use crate::mqtt::packet::encode::Publication;
use crate::mqtt::session::WINDOW;
use crate::mqtt::topic::Filter;
use crate::outlet::Delivery;
use crate::status_code;
use crate::supervisor::{Device, Devices, Supervisor};

const CONFIG: &str = "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"h:1883\"\nclient_id = \"c\"\n\
                      [[device.stream]]\nname = \"t\"\ntopic = \"a/t\"\ntype = \"f64\"\n\
                      [[device.stream]]\nname = \"j\"\ntopic = \"a/j\"\npointer = \"/v\"\ntime = \"/ts\"\ntype = \"i64\"\n\
                      [[device.stream]]\nname = \"k\"\ntopic = \"a/j\"\npointer = \"/k\"\ntype = \"bool\"\n";

/// When all this happens, ns since 1970 UTC: 2026-01-01.
const NOW_NS: i64 = 1_767_225_600_000_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Subscribed(Vec<Filter>),
    Acknowledged(u16),
    Published(Publication),
}

/// The broker's end of a connection.
struct Link {
    hear: UnboundedSender<Result<Heard, Fault>>,
    said: UnboundedReceiver<Said>,
    options: Options,
}

#[derive(Debug)]
struct Broker(UnboundedSender<Link>);

struct Ear(UnboundedReceiver<Result<Heard, Fault>>);
struct Mouth(UnboundedSender<Said>);

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a link of {:?}", self.options.client_id)
    }
}

impl Connect for Broker {
    fn connect(&self, options: &Options) -> Connection {
        let ((hear, heard), (say, said)) = (unbounded_channel(), unbounded_channel());
        self.0.send(Link { hear, said, options: options.clone() }).expect("the test waits for connections");
        (Box::new(Ear(heard)), Box::new(Mouth(say)))
    }
}

impl Listen for Ear {
    fn heard(&mut self) -> Result<Option<Heard>, Fault> {
        self.0.try_recv().ok().transpose()
    }
    fn next(&mut self) -> Hearing<'_> {
        Box::pin(async {
            self.0.recv().await.unwrap_or_else(|| Err(Fault::new(FaultKind::Closed, "the test closed it")))
        })
    }
    fn tend(&mut self) -> Tending<'_> {
        Box::pin(std::future::pending())
    }
}

impl Speak for Mouth {
    fn subscribe(&mut self, filters: &[Filter], _: Service) -> Result<Vec<usize>, Fault> {
        // The test may have gone already.
        let _ = self.0.send(Said::Subscribed(filters.to_vec()));
        Ok(vec![filters.len()])
    }
    fn acknowledge(&mut self, packets: &[(u16, Service)]) -> Result<(), Fault> {
        for (packet, _) in packets {
            let _ = self.0.send(Said::Acknowledged(*packet));
        }
        Ok(())
    }
    fn publish(&mut self, publication: &Publication) -> Result<u16, String> {
        let _ = self.0.send(Said::Published(publication.clone()));
        Ok(1)
    }
    fn unsaid(&self) -> Arc<Unsaid> {
        Arc::default()
    }
}

impl Link {
    fn say(&self, heard: Heard) {
        self.hear.send(Ok(heard)).expect("the adapter listens");
    }
    fn message(&self, packet: u16, topic: &str, payload: &str) {
        self.say(Heard::Message(message(packet, topic, payload)));
    }
    fn again(&self, packet: u16, topic: &str, payload: &str) {
        self.say(Heard::Message(Message { again: true, ..message(packet, topic, payload) }));
    }
    async fn acknowledged(&mut self) -> u16 {
        match soon("an acknowledgement", self.said.recv()).await {
            Some(Said::Acknowledged(packet)) => packet,
            other => panic!("expected an acknowledgement, got {other:?}"),
        }
    }
    /// Accepts the connection and the subscription, which must come.
    async fn accept(&mut self, resumed: bool) {
        self.say(Heard::Connected { resumed });
        let said = soon("a subscription", self.said.recv()).await;
        let filters = ["a/t", "a/j"].map(|topic| Filter::new(topic).unwrap()).to_vec();
        assert_eq!(said, Some(Said::Subscribed(filters)));
        self.say(Heard::Subscribed(vec![Some(Service::ExactlyOnce); 2]));
    }
    fn nothing_said(&mut self) {
        assert!(self.said.try_recv().is_err(), "nothing was to be said yet");
    }
}

fn message(packet: u16, topic: &str, payload: &str) -> Message {
    let service = if packet == 0 { Service::AtMostOnce } else { Service::AtLeastOnce };
    let (topic, payload) = (topic.to_owned(), payload.as_bytes().to_vec());
    Message { topic, payload, service, packet, again: false, retained: false }
}

struct Rig {
    links: UnboundedReceiver<Link>,
    deliveries: mpsc::Receiver<Delivery>,
    devices: Devices,
    clock: Arc<SetClock>,
    _supervisor: Supervisor,
}

impl Rig {
    fn new() -> Self {
        Self::with(&[], 256)
    }

    fn with(origins: &[Origin], room: usize) -> Self {
        Self::begun(origins, room, false)
    }

    fn begun(origins: &[Origin], room: usize, is_running: bool) -> Self {
        let (connect, links) = unbounded_channel();
        let mut source = device::<Mqtt>(CONFIG);
        source.connect = Arc::new(Broker(connect));
        source.begin(&Start { gateway: "g", origins, is_running });
        let streams = (0..3).map(StreamHandle).collect();
        let (sender, deliveries) = mpsc::channel(room);
        let clock = Arc::new(SetClock::at(NOW_NS));
        let shared: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let device = Device { source: Arc::new(source), streams };
        let supervisor = Supervisor::start(vec![device], &sender, &shared, 7, &CancellationToken::new());
        Self { links, deliveries, devices: supervisor.devices(), clock, _supervisor: supervisor }
    }

    async fn link(&mut self) -> Link {
        soon("a connection", self.links.recv()).await.expect("the adapter runs")
    }
    async fn delivery(&mut self) -> Delivery {
        soon("a delivery", self.deliveries.recv()).await.expect("the adapter runs")
    }
    /// The next delivery that somebody waits for; before it, at most, streams became stale.
    async fn awaited(&mut self) -> Delivery {
        loop {
            let delivery = self.delivery().await;
            if delivery.ack.is_some() {
                return delivery;
            }
            assert!(delivery.readings.iter().all(|reading| reading.quality == Quality::Stale));
        }
    }
    /// A link that is accepted, and with it a session that is not new.
    async fn running(&mut self) -> Link {
        let mut link = self.link().await;
        link.accept(true).await;
        link
    }
    fn device(&self) -> DeviceSnapshot {
        self.devices.snapshots().swap_remove(0)
    }
    fn figures(&self) -> MessageFigures {
        self.device().messages.unwrap_or_default()
    }
    async fn state(&self, state: DeviceState) {
        let mut changes = self.devices.changes_of_first().expect("one device");
        soon("a state", changes.wait_for(|now| *now == state)).await.expect("the adapter runs");
    }
}

fn keep(delivery: Delivery) -> Vec<NewReading> {
    delivery.ack.expect("somebody waits").send(()).expect("the adapter waits");
    delivery.readings
}

fn origin(packet: u16, topic: &str, payload: &str) -> Origin {
    Origin { source: source_of("c"), packet, digest: digest_of(topic, payload.as_bytes()) }
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_it_is_durable_and_not_before() {
    let mut rig = Rig::new();
    let mut link = rig.running().await;
    assert_eq!((link.options.client_id.as_str(), link.options.clean_session), ("c", false));
    link.message(1, "a/t", "21.5");
    let first = rig.delivery().await;
    assert_eq!(first.origins, [origin(1, "a/t", "21.5")]);
    link.message(2, "a/t", "22.5");
    let second = rig.delivery().await;
    link.nothing_said();
    // The later one first: acknowledgements keep the order of the messages.
    assert_eq!(keep(second)[0].value, Value::Float(22.5));
    tokio::task::yield_now().await;
    link.nothing_said();
    let first = keep(first);
    assert_eq!(
        (first[0].value.clone(), first[0].flags, first[0].source_time_ns),
        (Value::Float(21.5), 0, NOW_NS)
    );
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [1, 2]);
    rig.state(DeviceState::Up).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_node_does_not_take_is_not_acknowledged_and_comes_again_with_a_flag() {
    let mut rig = Rig::new();
    let mut link = rig.running().await;
    link.message(1, "a/t", "1");
    drop(rig.delivery().await);
    let mut again = rig.running().await;
    link.nothing_said();
    assert_eq!(rig.device().restarts, 1);
    again.again(1, "a/t", "1");
    // The node may have kept it and failed to say so.
    let readings = keep(rig.awaited().await);
    assert_eq!(readings[0].flags, FLAG_POSSIBLY_REPEATED);
    assert_eq!(again.acknowledged().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_recorded_once() {
    let mut rig = Rig::with(&[origin(5, "a/t", "5"), origin(6, "a/t", "6")], 256);
    let mut link = rig.running().await;
    for packet in [5, 6] {
        link.again(packet, "a/t", &packet.to_string());
    }
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [5, 6], "known from the journal");
    link.again(7, "a/t", "7");
    let seven = rig.delivery().await;
    assert_eq!((seven.readings.len(), seven.readings[0].flags), (1, 0), "not known, so it was not recorded");
    // The link dies while it is under way.
    drop(link);
    let mut link = rig.link().await;
    link.say(Heard::Connected { resumed: true });
    link.again(7, "a/t", "7");
    link.message(8, "a/t", "8");
    let next = rig.awaited().await;
    assert_eq!(next.readings.len(), 1, "7 is under way already: {:?}", next.readings);
    keep(next);
    tokio::task::yield_now().await;
    link.nothing_said();
    keep(seven);
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [7, 8]);
    assert_eq!(rig.figures().repeats_dropped, 3);
}

#[tokio::test(start_paused = true)]
async fn after_a_lost_session_what_comes_again_is_flagged_and_subscribed_to_anew() {
    let mut rig = Rig::with(&[origin(5, "a/t", "5")], 256);
    let mut link = rig.link().await;
    link.accept(false).await;
    link.again(5, "a/t", "5");
    link.message(6, "a/t", "6");
    let mut readings = Vec::new();
    while readings.len() < 2 {
        readings.extend(keep(rig.delivery().await));
    }
    assert_eq!(readings.iter().map(|r| r.flags).collect::<Vec<_>>(), [FLAG_POSSIBLY_REPEATED, 0]);
    assert_eq!([link.acknowledged().await, link.acknowledged().await], [5, 6]);
    drop(link);
    // The broker loses it once more.
    let mut link = rig.link().await;
    link.accept(false).await;
    rig.state(DeviceState::Up).await;
    let figures = rig.figures();
    assert_eq!((figures.sessions_lost, figures.possibly_repeated), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn without_room_nothing_more_is_taken_and_nothing_is_lost() {
    let mut rig = Rig::with(&[], 1);
    let mut link = rig.running().await;
    let all = 3 * WINDOW as u16;
    for packet in 1..=all {
        link.message(packet, "a/t", &packet.to_string());
    }
    let mut waiting = std::collections::VecDeque::new();
    let mut taken = Vec::new();
    let mut acknowledged = 0;
    while acknowledged < all {
        // Nothing is kept as long as more comes: the window alone must end that.
        if let Ok(delivery) = tokio::time::timeout(Duration::from_secs(1), rig.deliveries.recv()).await {
            let delivery = delivery.expect("the adapter runs");
            assert_eq!(delivery.origins.len(), delivery.readings.len());
            taken.extend(delivery.readings.iter().map(|r| r.value.clone()));
            waiting.push_back(delivery.ack.expect("somebody waits"));
            continue;
        }
        assert!(taken.len() - usize::from(acknowledged) <= WINDOW, "{} taken", taken.len());
        waiting.pop_front().expect("something under way").send(()).expect("the adapter waits");
        while let Ok(Some(Said::Acknowledged(packet))) =
            tokio::time::timeout(Duration::from_millis(1), link.said.recv()).await
        {
            acknowledged += 1;
            assert_eq!(packet, acknowledged);
        }
    }
    let expected: Vec<_> = (1..=all).map(|packet| Value::Float(packet.into())).collect();
    assert_eq!(taken, expected);
    assert_eq!(rig.device().readings_dropped, 0);
}

#[tokio::test(start_paused = true)]
async fn messages_of_no_stream_and_of_no_sense_are_acknowledged_and_counted() {
    let mut rig = Rig::new();
    let mut link = rig.running().await;
    link.message(1, "a/unknown", "1");
    assert_eq!(link.acknowledged().await, 1);
    link.message(2, "a/t", "warm");
    let bad = keep(rig.delivery().await);
    assert_eq!((bad[0].quality, bad[0].status), (Quality::Bad, status_code::UNDECODABLE));
    assert_eq!(link.acknowledged().await, 2);
    link.message(3, "a/j", "{\"v\": 4, \"ts\": 1767225599077}");
    let good = keep(rig.delivery().await);
    assert_eq!(good.len(), 1, "it says nothing of the second stream");
    assert_eq!(
        (good[0].value.clone(), good[0].source_time_ns, good[0].receive_time_ns),
        (Value::Int(4), NOW_NS - 923_000_000, NOW_NS)
    );
    assert_eq!(link.acknowledged().await, 3);
    link.message(4, "a/j", "{\"v\": 4, \"k\": true}");
    let doubtful = keep(rig.delivery().await);
    assert_eq!((doubtful[0].quality, doubtful[0].status), (Quality::Uncertain, status_code::NO_TIME));
    assert_eq!((doubtful[1].value.clone(), doubtful[1].quality), (Value::Bool(true), Quality::Good));
    link.message(0, "a/t", "5");
    let unasked = rig.delivery().await;
    assert!(unasked.origins.is_empty(), "quality 0 never comes again");
    let figures = rig.figures();
    assert_eq!(
        (figures.messages, figures.unmatched, figures.undecodable, figures.fields_missing),
        (5, 1, 1, 1)
    );
    assert_eq!(figures.unmatched_topics, ["a/unknown"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_link_makes_streams_stale_once_and_is_tried_again() {
    let mut rig = Rig::new();
    let link = rig.running().await;
    link.message(0, "a/t", "5");
    keep(rig.delivery().await);
    rig.clock.set(NOW_NS + 8_000);
    drop(link);
    let stale = rig.delivery().await;
    assert_eq!(stale.readings.len(), 1, "only one has spoken");
    let reading = &stale.readings[0];
    assert_eq!((reading.quality, reading.status), (Quality::Stale, status_code::CLOSED));
    assert_eq!((reading.source_time_ns, reading.receive_time_ns), (NOW_NS, NOW_NS + 8_000));
    rig.state(DeviceState::Down).await;
    for _ in 0..5 {
        drop(rig.link().await);
    }
    // The broker has kept session and subscriptions.
    let mut link = rig.link().await;
    link.say(Heard::Connected { resumed: true });
    rig.state(DeviceState::Up).await;
    link.nothing_said();
    assert!(rig.deliveries.try_recv().is_err(), "one stale reading is enough");
}

#[tokio::test(start_paused = true)]
async fn refused_and_unanswered_subscriptions_show() {
    let mut rig = Rig::new();
    let mut link = rig.link().await;
    link.say(Heard::Connected { resumed: false });
    soon("a subscription", link.said.recv()).await;
    rig.state(DeviceState::Down).await;
    assert!(rig.device().error.is_some_and(|why| why.contains("subscription")));
    let mut link = rig.link().await;
    link.say(Heard::Connected { resumed: true });
    soon("a subscription", link.said.recv()).await;
    link.say(Heard::Subscribed(vec![Some(Service::AtLeastOnce), None]));
    rig.state(DeviceState::Degraded).await;
    assert!(rig.device().error.is_some_and(|why| why.contains("a/j")));
}

/// Story: a gateway runs, somebody adds a device by SIGHUP, and the broker still keeps a session of the same name from last
/// week, with messages that were sent and not acknowledged. Nobody knows any more which of them were recorded then.
#[tokio::test(start_paused = true)]
async fn what_comes_again_to_a_device_that_was_added_while_the_gateway_runs_is_flagged() {
    for (is_running, flags) in [(false, 0), (true, FLAG_POSSIBLY_REPEATED)] {
        let mut rig = Rig::begun(&[origin(5, "a/t", "5")], 256, is_running);
        let mut link = rig.running().await;
        // Not the one that the journal knows, and newer than all that it knows: at a start it was not recorded.
        link.again(5, "a/t", "5");
        if is_running {
            assert_eq!(keep(rig.awaited().await)[0].flags, FLAG_POSSIBLY_REPEATED);
        } else {
            assert_eq!(link.acknowledged().await, 5, "known from the journal");
        }
        link.again(7, "a/t", "7");
        assert_eq!(keep(rig.awaited().await)[0].flags, flags, "{is_running}");
    }
}
