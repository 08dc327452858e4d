//! A write is confirmed by what the machine says after it, and not by what had come before.
//!
//! Story: the gateway is behind, and a message "speed 50" waits in it. Somebody writes 50; the machine does not take it. The
//! waiting message must not be taken for the machine's answer.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::StreamHandle;
use selvedge_core::reading::Value;
use tokio::sync::mpsc::{self, UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Broker, Link, Said, message};
use crate::adapter::{Source, Start, all_streams};
use crate::clock::{Clock, SystemClock};
use crate::mqtt::Mqtt;
use crate::mqtt::client::{Heard, Service};
use crate::mqtt::session::WINDOW;
use crate::outlet::Delivery;
use crate::supervisor::{Device, Supervisor};
use crate::tests::support::{device, soon};
use crate::write::{Arming, Written};

/// A gateway whose device is armed, and the broker that a test plays.
struct Gateway {
    _folder: tempfile::TempDir,
    links: UnboundedReceiver<Link>,
    deliveries: mpsc::Receiver<Delivery>,
    supervisor: Supervisor,
    /// The streams that are no attempts to write.
    streams: u32,
}

impl Gateway {
    fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let arming = Arming::new(folder.path().join("armed.toml"), Arc::clone(&clock));
        arming.arm(&["broker".to_owned()], Duration::from_mins(10)).expect("armed");
        let (connect, links) = unbounded_channel();
        let mut source = device::<Mqtt>(toml);
        source.connect = Arc::new(Broker(connect));
        source.begin(&Start { gateway: "g", origins: &[], is_running: false });
        let streams = source.streams().len() as u32;
        let handles = (0..all_streams(&source).len() as u32).map(StreamHandle).collect();
        let (sender, deliveries) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let device = Device { source: Arc::new(source), streams: handles };
        let supervisor = Supervisor::start_armable(vec![device], &sender, &clock, 7, &stop, Some(arming));
        Self { _folder: folder, links, deliveries, supervisor, streams }
    }

    /// A connection whose subscriptions are granted.
    async fn link(&mut self) -> Link {
        let mut link = soon("a connection", self.links.recv()).await.expect("the adapter runs");
        link.say(Heard::Connected { resumed: false });
        let Some(Said::Subscribed(filters)) = soon("a subscription", link.said.recv()).await else {
            panic!("something else came first")
        };
        link.say(Heard::Subscribed(vec![Some(Service::AtLeastOnce); filters.len()]));
        link
    }

    async fn delivery(&mut self) -> Delivery {
        soon("a delivery", self.deliveries.recv()).await.expect("the adapter runs")
    }

    /// Keeps whatever comes.
    async fn keep_all(&mut self) {
        // Paused time goes on when everything waits.
        while let Ok(Some(delivery)) =
            tokio::time::timeout(Duration::from_millis(5), self.deliveries.recv()).await
        {
            let _ = delivery.ack.map(|ack| ack.send(()));
        }
    }

    /// Begins to write, and returns when the command has been published.
    async fn write(&mut self, link: &mut Link, value: Value) -> JoinHandle<Written> {
        let desk = self.supervisor.desk();
        let writing = tokio::spawn(async move {
            desk.write("speed", value, "test").await.expect("allowed and armed").written
        });
        let asked = self.delivery().await;
        assert!(asked.readings.iter().all(|reading| reading.stream.0 >= self.streams), "the attempt");
        asked.ack.expect("the desk waits").send(()).expect("the desk waits");
        loop {
            match soon("a command", link.said.recv()).await.expect("the adapter runs") {
                Said::Published(_) => return writing,
                Said::Acknowledged(_) => {}
                Said::Subscribed(filters) => panic!("{filters:?}"),
            }
        }
    }
}

/// `say` says the nth message, with this value.
async fn what_had_come_before_confirms_nothing(toml: &str, begin: &[Heard], say: impl Fn(u16, i64) -> Heard) {
    let mut gateway = Gateway::new(toml);
    let mut link = gateway.link().await;
    for heard in begin {
        link.say(heard.clone());
    }
    gateway.keep_all().await;
    // Nothing is kept, so the window fills; what comes then waits.
    for number in 1..=WINDOW as u16 {
        link.say(say(number, 1));
    }
    let mut not_kept = Vec::new();
    while let Ok(Some(delivery)) =
        tokio::time::timeout(Duration::from_millis(5), gateway.deliveries.recv()).await
    {
        not_kept.push(delivery);
    }
    let older = WINDOW as u16 + 1;
    link.say(say(older, 50));
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(gateway.deliveries.try_recv().is_err(), "it waits");

    let writing = gateway.write(&mut link, Value::Int(50)).await;
    for delivery in not_kept {
        let _ = delivery.ack.map(|ack| ack.send(()));
    }
    gateway.keep_all().await;
    assert!(!writing.is_finished(), "confirmed by what had come before: {:?}", writing.await);
    // Another value, and then the machine's own answer.
    link.say(say(older + 1, 2));
    gateway.keep_all().await;
    assert!(!writing.is_finished(), "another value: {:?}", writing.await);
    link.say(say(older + 2, 50));
    gateway.keep_all().await;
    let written = writing.await.expect("no panic");
    assert!(matches!(written, Written::Confirmed { .. }), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn over_mqtt_what_had_come_before_a_write_does_not_confirm_it() {
    let toml = "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"h:1883\"\n\
                [[device.stream]]\nname = \"speed\"\ntopic = \"a/speed\"\ntype = \"i64\"\n\
                [device.stream.write]\nmin = 0\nmax = 100\ntopic = \"a/speed/set\"\n";
    let say = |number: u16, value: i64| Heard::Message(message(number, "a/speed", &value.to_string()));
    what_had_come_before_confirms_nothing(toml, &[], say).await;
}

/// A device with one stream that may be written; `more` are further keys of the device.
#[cfg(feature = "sparkplug")]
fn sparkplug(more: &str) -> String {
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"sparkplug\"\naddress = \"h:1883\"\ngroup = \"g\"\n{more}\
         [[device.stream]]\nname = \"speed\"\nnode = \"n\"\nmetric = \"Speed\"\n\
         [device.stream.write]\nmin = 0\nmax = 100\n"
    )
}

/// What the edge node says, each time at another time: a value of the same time is the same value.
#[cfg(feature = "sparkplug")]
fn said(packet: u16, verb: &str, seq: u64, metrics: Vec<crate::mqtt::sparkplug::payload::Metric>) -> Heard {
    use prost::Message as _;

    let now_ms = u64::try_from(SystemClock.wall_ns() / 1_000_000).expect("after 1970");
    let mut said = crate::tests::sparkplug::payload(seq, metrics);
    said.timestamp = Some(now_ms + u64::from(packet));
    let mut message = message(packet, &format!("spBv1.0/g/{verb}/n"), "");
    message.payload = said.encode_to_vec();
    Heard::Message(message)
}

#[cfg(feature = "sparkplug")]
#[tokio::test(start_paused = true)]
async fn over_sparkplug_what_had_come_before_a_write_does_not_confirm_it() {
    use crate::tests::sparkplug::named;

    let birth = said(9_999, "NBIRTH", 0, vec![named("bdSeq", 0), named("Speed", 0)]);
    let say =
        |number: u16, value: i64| said(number, "NDATA", u64::from(number) % 256, vec![named("Speed", value)]);
    what_had_come_before_confirms_nothing(&sparkplug(""), &[birth], say).await;
}

/// Story: with `reorder`, "speed 50" comes before its turn and is held. Somebody writes 50; the machine does not take it.
/// Then what was missing comes (or never comes, and the time is over), and the held message is taken at last: after the
/// write, and yet it says nothing of it.
#[cfg(feature = "sparkplug")]
#[tokio::test(start_paused = true)]
async fn over_sparkplug_what_was_held_since_before_a_write_does_not_confirm_it() {
    use crate::tests::sparkplug::named;

    for is_missing_for_good in [false, true] {
        let mut gateway = Gateway::new(&sparkplug("reorder = \"1s\"\n"));
        let mut link = gateway.link().await;
        let speed = |value| vec![named("Speed", value)];
        link.say(said(1, "NBIRTH", 0, vec![named("bdSeq", 0), named("Speed", 0)]));
        // Number 2 is missing.
        link.say(said(2, "NDATA", 1, speed(1)));
        link.say(said(3, "NDATA", 3, speed(50)));
        gateway.keep_all().await;

        let writing = gateway.write(&mut link, Value::Int(50)).await;
        if is_missing_for_good {
            tokio::time::sleep(Duration::from_secs(1)).await;
        } else {
            link.say(said(4, "NDATA", 2, speed(2)));
        }
        gateway.keep_all().await;
        assert!(!writing.is_finished(), "confirmed by what was held: {:?}", writing.await);
        // What came after the write and was held as well is the machine's answer.
        if is_missing_for_good {
            link.say(said(5, "NDATA", 4, speed(50)));
        } else {
            link.say(said(5, "NDATA", 5, speed(50)));
            gateway.keep_all().await;
            assert!(!writing.is_finished(), "it waits for its turn: {:?}", writing.await);
            link.say(said(6, "NDATA", 4, speed(3)));
        }
        gateway.keep_all().await;
        let written = writing.await.expect("no panic");
        assert!(matches!(written, Written::Confirmed { .. }), "{written:?}");
    }
}
