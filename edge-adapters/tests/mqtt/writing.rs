//! Writing over MQTT: a value is published, and confirmed when the device shows it.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use edge_adapters::write::{Arming, Attempt, Desk, Refusal, Written};
use edge_adapters::{Clock, DeviceState, SystemClock, status_code};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use selvedge_core::reading::Value;

use crate::broker::Broker;
use crate::rig::Rig;

fn toml(port: u16, more: &str) -> String {
    format!(
        "[[device]]\nname = \"filler\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{port}\"\nversion = \"5\"\n\
         [[device.stream]]\nname = \"filler/speed\"\ntopic = \"plant/filler/state\"\npointer = \"/speed\"\ntype = \"f64\"\n\
         [device.stream.write]\nmin = 0\nmax = 200\ntopic = \"plant/filler/set\"\npayload = '{{\"speed\": {{json}}}}'\n\
         confirm_within = \"1s\"\n{more}"
    )
}

/// A gateway that may be armed.
struct Gateway {
    _folder: tempfile::TempDir,
    arming: Arming,
    rig: Rig,
    desk: Desk,
}

impl Gateway {
    fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("a mode");
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let arming = Arming::new(folder.path().join("armed.toml"), clock);
        let rig = Rig::with(&toml(port, ""), &[], Some(arming.clone()));
        let desk = rig.desk();
        Self { _folder: folder, arming, rig, desk }
    }

    fn arm(&self) {
        self.arming.arm(&["filler".to_owned()], Duration::from_mins(1)).expect("armed");
    }

    /// Writes, while what is recorded becomes durable.
    async fn write(&mut self, value: Value) -> Result<Attempt, Refusal> {
        let desk = self.desk.clone();
        let write = desk.write("filler/speed", value, "operator");
        tokio::pin!(write);
        loop {
            tokio::select! {
                outcome = &mut write => return outcome,
                () = self.rig.take() => {}
            }
        }
    }
}

/// A machine that takes commands, and shows `shown` of what it was told.
async fn machine(port: u16, shown: impl Fn(f64) -> f64 + Send + 'static) -> tokio::task::AbortHandle {
    let mut options = MqttOptions::new("machine", "127.0.0.1", port);
    options.set_clean_session(true);
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("plant/filler/set", QoS::AtLeastOnce).await.expect("room");
    loop {
        if matches!(events.poll().await.expect("a broker"), Event::Incoming(Incoming::SubAck(_))) {
            break;
        }
    }
    let running = async move {
        while let Ok(event) = events.poll().await {
            let Event::Incoming(Incoming::Publish(told)) = event else { continue };
            let told: serde_json::Value = serde_json::from_slice(&told.payload).expect("JSON");
            let speed = shown(told["speed"].as_f64().expect("a number"));
            let state = serde_json::json!({ "speed": speed }).to_string();
            client.try_publish("plant/filler/state", QoS::AtLeastOnce, false, state).expect("room");
        }
    };
    tokio::spawn(running).abort_handle()
}

#[tokio::test]
async fn a_value_is_confirmed_when_the_machine_shows_it() {
    let broker = Broker::start();
    let machine = machine(broker.port, |told| told).await;
    let mut gateway = Gateway::start(broker.port);
    gateway.rig.is(DeviceState::Up).await;
    gateway.arm();
    let attempt = gateway.write(Value::Float(120.5)).await.expect("it was sent");
    assert_eq!(attempt.written, Written::Confirmed { read_back: Value::Float(120.5) });
    // A whole number is the same number.
    let attempt = gateway.write(Value::Int(100)).await.expect("it was sent");
    assert_eq!(attempt.written, Written::Confirmed { read_back: Value::Float(100.0) });
    machine.abort();
}

#[tokio::test]
async fn a_machine_that_shows_something_else_has_not_confirmed() {
    let broker = Broker::start();
    // It goes no faster.
    let machine = machine(broker.port, |told| told.min(90.0)).await;
    let mut gateway = Gateway::start(broker.port);
    gateway.rig.is(DeviceState::Up).await;
    gateway.arm();
    let attempt = gateway.write(Value::Int(100)).await.expect("it was sent");
    let Written::NotConfirmed { read_back, why } = attempt.written else { panic!("{attempt:?}") };
    assert_eq!(read_back, Some(Value::Float(90.0)));
    assert!(why.contains("in time"), "{why}");
    machine.abort();
}

#[tokio::test]
async fn a_machine_that_is_not_there_is_said_to_be_missing() {
    let broker = Broker::start();
    let mut gateway = Gateway::start(broker.port);
    gateway.rig.is(DeviceState::Up).await;
    gateway.arm();
    let attempt = gateway.write(Value::Int(100)).await.expect("it was sent");
    let Written::NotConfirmed { read_back: None, why } = attempt.written else { panic!("{attempt:?}") };
    assert!(why.contains("nobody has subscribed"), "{why}");
    // What the broker kept of before the write is no answer to it.
    broker.publish("plant/filler/state", 1, "{\"speed\": 100}", &["-r"]);
}

/// Without a connection nothing waits for one: a command that comes late is worse than one that does not come. And
/// without arming no message goes out at all.
#[tokio::test]
async fn nothing_is_written_without_arming_or_later_than_it_was_asked() {
    let mut broker = Broker::start();
    let mut gateway = Gateway::start(broker.port);
    gateway.rig.is(DeviceState::Up).await;
    assert!(matches!(gateway.write(Value::Int(100)).await, Err(Refusal::NotArmed(_))));
    assert!(!broker.log().iter().any(|line| line.contains("plant/filler/set")), "nothing was published");
    gateway.arm();
    broker.off();
    gateway.rig.is(DeviceState::Down).await;
    let attempt = gateway.write(Value::Int(100)).await.expect("allowed and armed");
    let Written::Refused { status, why } = attempt.written else { panic!("{attempt:?}") };
    assert_eq!(status, status_code::UNREACHABLE);
    assert!(why.contains("no connection"), "{why}");
    broker.on();
    gateway.rig.is(DeviceState::Up).await;
    assert!(
        !broker.log().iter().any(|line| line.contains("plant/filler/set")),
        "nothing was published later"
    );
}
