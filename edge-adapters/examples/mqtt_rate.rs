//! How fast messages of quality of service 1 are drained from a broker: by this adapter, where each is acknowledged after
//! somebody has taken its reading, and by bare rumqttc, which acknowledges at once and does nothing with it.
//!
//! ```text
//! printf 'listener 1883 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 256\nset_tcp_nodelay true\n' > m.conf
//! mosquitto -c m.conf &
//! cargo run --release -p edge-adapters --example mqtt_rate -- 127.0.0.1 1883 50000
//! ```
//!
//! Each subscribes and goes; then the messages are published, which the broker keeps; then they are drained. So the
//! publisher takes no time of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_adapters::{
    Clock, Delivery, Device, DeviceState, Start, Supervisor, SystemClock, config, delivery_queue,
};
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use selvedge_core::border::StreamHandle;
use tokio_util::sync::CancellationToken;

type Failed = Box<dyn std::error::Error>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let (Some(host), Some(port), Some(count)) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("expected HOST PORT MESSAGES".into());
    };
    let (port, count): (u16, usize) = (port.parse()?, count.parse()?);
    let bare = bare(&host, port, count).await?;
    println!("bare rumqttc 3.1.1  {bare:.0} messages/s");
    for version in ["3.1.1", "5"] {
        let rate = adapter(&host, port, count, version).await?;
        println!("adapter {version:<11} {rate:.0} messages/s, {:.0} % of it", 100.0 * rate / bare);
    }
    Ok(())
}

async fn publish(host: &str, port: u16, topic: &str, count: usize) -> Result<(), Failed> {
    let (client, mut events) = AsyncClient::new(MqttOptions::new("rate-publisher", host, port), 1_000);
    let publishing = async {
        for number in 0..count {
            // 64 bytes, of which the adapter reads one number.
            let payload = format!(
                "{{\"value\": {number:<10}, \"unit\": \"Cel\", \"from\": \"a sensor of the plant\"}}"
            );
            client.publish(topic, QoS::AtLeastOnce, false, payload).await?;
        }
        Ok::<_, Failed>(())
    };
    let answered = async {
        let mut answers = 0;
        while answers < count {
            answers += usize::from(matches!(events.poll().await?, Event::Incoming(Incoming::PubAck(_))));
        }
        Ok::<_, Failed>(())
    };
    let (published, answered) = tokio::join!(publishing, answered);
    published.and(answered)
}

fn persistent(host: &str, port: u16) -> (AsyncClient, rumqttc::EventLoop) {
    let mut options = MqttOptions::new("rate-bare", host, port);
    options.set_clean_session(false);
    AsyncClient::new(options, 1_000)
}

async fn bare(host: &str, port: u16, count: usize) -> Result<f64, Failed> {
    let (client, mut events) = persistent(host, port);
    client.subscribe("rate/bare", QoS::AtLeastOnce).await?;
    while !matches!(events.poll().await?, Event::Incoming(Incoming::SubAck(_))) {}
    drop((client, events));
    publish(host, port, "rate/bare", count).await?;
    let begun = Instant::now();
    let (_client, mut events) = persistent(host, port);
    let mut messages = 0;
    while messages < count {
        messages += usize::from(matches!(events.poll().await?, Event::Incoming(Incoming::Publish(_))));
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

async fn adapter(host: &str, port: u16, count: usize, version: &str) -> Result<f64, Failed> {
    let toml = format!(
        "[[device]]\nname = \"rate\"\nprotocol = \"mqtt\"\naddress = \"{host}:{port}\"\nversion = \"{version}\"\n\
         client_id = \"rate-{version}\"\n\
         [[device.stream]]\nname = \"rate\"\ntopic = \"rate/{version}\"\npointer = \"/value\"\ntype = \"u64\"\n"
    );
    drain(&toml, 0).await?;
    publish(host, port, &format!("rate/{version}"), count).await?;
    let begun = Instant::now();
    drain(&toml, count).await?;
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Runs the adapter until it is subscribed and so many readings came.
async fn drain(toml: &str, count: usize) -> Result<(), Failed> {
    let source = config::sources(toml).map_err(|errors| format!("{errors:?}"))?.remove(0);
    source.begin(&Start { gateway: "rate", origins: &[], is_running: false });
    let device = Device { source, streams: vec![StreamHandle(0)] };
    let (sender, mut deliveries) = delivery_queue();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let supervisor = Supervisor::start(vec![device], &sender, &clock, 7, &CancellationToken::new());
    let mut readings = 0;
    let is_up = || supervisor.devices().snapshots()[0].state == DeviceState::Up;
    while readings < count || !is_up() {
        let next = tokio::time::timeout(Duration::from_millis(10), deliveries.recv()).await;
        if let Ok(Some(Delivery { readings: some, ack, .. })) = next {
            readings += some.len();
            // The adapter may be waiting for it; one that has gone is none's.
            let _ = ack.map(|ack| ack.send(()));
        }
    }
    Ok(())
}
