//! Part of the plant's streams by way of an MQTT broker: the plant publishes, gateways subscribe with their adapter.
//!
//! Quality of service 1. A message is one object, `{"value": 40.31, "time": 1767225600000}`, with the time at which the
//! instrument showed it, in milliseconds since 1970 UTC. The plant waits for nobody: what the broker does not take is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::{AsyncClient, Event, EventLoop, Incoming, MqttOptions, QoS};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::serve::{Turn, json};
use super::wiring::{Messages, published};
use crate::invite::Address;

/// The plant publishes this often.
const PUBLISH_EVERY: Duration = Duration::from_millis(250);
/// The broker has this long to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// After an error the broker is left alone for this long.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Messages that wait for the broker. When it is full, further ones are dropped and counted.
const WAITING_MAX: usize = 64;
const PORT: u16 = 1883;

/// The broker of `mqtt://HOST[:PORT]`, as host and port.
///
/// # Errors
/// What was expected, in words.
pub fn broker(url: &str) -> Result<String, String> {
    let Some(rest) = url.strip_prefix("mqtt://") else {
        let hint = if url.starts_with("mqtts://") { "; TLS to brokers is not supported" } else { "" };
        return Err(format!("expected mqtt://HOST[:PORT]{hint}"));
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '@', '?', '#']) {
        return Err("expected mqtt://HOST[:PORT], without user, password or path".into());
    }
    // A colon within brackets belongs to the address.
    let has_port = rest.rfind(':').is_some_and(|at| rest.rfind(']').is_none_or(|end| at > end));
    let with_port = if has_port { rest.to_owned() } else { format!("{rest}:{PORT}") };
    let address: Address = with_port.parse().map_err(|why| format!("expected mqtt://HOST[:PORT]: {why}"))?;
    Ok(address.to_string())
}

impl Messages {
    /// Through this broker, apart from all other demos.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn through(broker: &str) -> anyhow::Result<Self> {
        let mut random = [0; 4];
        getrandom::fill(&mut random).context("the system gives no randomness")?;
        Ok(Self {
            broker: broker.to_owned(),
            prefix: format!("selvedge-demo/{:08x}", u32::from_be_bytes(random)),
        })
    }

    fn client(&self, id: String) -> anyhow::Result<(AsyncClient, EventLoop)> {
        let (host, port) = self.broker.rsplit_once(':').context("an address without a port")?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let mut options = MqttOptions::new(id, host, port.parse::<u16>().context("a wrong port")?);
        options.set_clean_session(true).set_keep_alive(Duration::from_secs(10));
        Ok(AsyncClient::new(options, WAITING_MAX))
    }

    /// Makes the broker forget a session that a gateway's adapter left behind.
    ///
    /// # Errors
    /// When the broker does not answer; then it keeps the session for as long as it keeps any.
    pub async fn forget(&self, client_id: String) -> anyhow::Result<()> {
        // To connect without a session ends the one that there is (MQTT 3.1.1, section 3.1.2.4).
        let (client, mut events) = self.client(client_id)?;
        connected(&mut events).await?;
        client.try_disconnect()?;
        // Until the goodbye is written and the broker closes.
        let closed = async { while events.poll().await.is_ok() {} };
        let _ = tokio::time::timeout(RETRY_AFTER, closed).await;
        Ok(())
    }
}

/// The plant's side.
#[derive(Debug)]
pub struct Publisher {
    stop: CancellationToken,
    counts: Arc<Counts>,
    tasks: [JoinHandle<()>; 2],
}

#[derive(Debug, Default)]
struct Counts {
    taken: AtomicU64,
    dropped: AtomicU64,
}

impl Publisher {
    /// Connects, and publishes from then on.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn start(messages: &Messages, turns: watch::Receiver<Turn>) -> anyhow::Result<Self> {
        let (client, mut events) = messages.client(format!("{}-plant", messages.prefix.replace('/', "-")))?;
        let broker = &messages.broker;
        connected(&mut events).await.with_context(|| {
            format!(
                "--mqtt mqtt://{broker}: the broker does not answer; start one there, or leave the option out"
            )
        })?;
        let (stop, counts) = (CancellationToken::new(), Arc::<Counts>::default());
        let publishing = publish(client, messages.prefix.clone(), turns, Arc::clone(&counts), stop.clone());
        let listening = listen(events, Arc::clone(&counts), stop.clone());
        Ok(Self { stop, counts, tasks: [tokio::spawn(publishing), tokio::spawn(listening)] })
    }

    /// Ends it: how many messages the broker took, and how many were dropped.
    ///
    /// # Errors
    /// When a task of it ended by a panic.
    pub async fn stop(self) -> anyhow::Result<(u64, u64)> {
        self.stop.cancel();
        for task in self.tasks {
            task.await?;
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Ok((read(&self.counts.taken), read(&self.counts.dropped)))
    }
}

/// Waits for the broker's word that the connection stands.
async fn connected(events: &mut EventLoop) -> anyhow::Result<()> {
    let answer = async {
        loop {
            if let Event::Incoming(Incoming::ConnAck(_)) = events.poll().await? {
                return Ok(());
            }
        }
    };
    match tokio::time::timeout(ANSWER_WITHIN, answer).await {
        Ok(answered) => answered,
        Err(_) => bail!("no answer within {} s", ANSWER_WITHIN.as_secs()),
    }
}

async fn publish(
    client: AsyncClient,
    prefix: String,
    turns: watch::Receiver<Turn>,
    counts: Arc<Counts>,
    stop: CancellationToken,
) {
    let mut ticks = tokio::time::interval(PUBLISH_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut last_ms = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Turn { time_ms, shown } = *turns.borrow();
        // After a stall two ticks may come within one turn of the plant.
        if last_ms.replace(time_ms) == Some(time_ms) {
            continue;
        }
        for (stream, value) in published(&shown) {
            let message = serde_json::json!({ "value": json(&value), "time": time_ms }).to_string();
            let topic = format!("{prefix}/{stream}");
            if client.try_publish(topic, QoS::AtLeastOnce, false, message).is_err() {
                counts.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Turns the connection's wheel, and connects again when it broke.
async fn listen(mut events: EventLoop, counts: Arc<Counts>, stop: CancellationToken) {
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.poll() => event,
        };
        match event {
            Ok(Event::Incoming(Incoming::PubAck(_))) => {
                counts.taken.fetch_add(1, Ordering::Relaxed);
            }
            Ok(_) => {}
            Err(why) => {
                tracing::warn!(%why, "the plant lost the broker");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_a_host_and_perhaps_a_port() {
        for (url, expected) in [
            ("mqtt://broker.example", "broker.example:1883"),
            ("mqtt://127.0.0.1:18830/", "127.0.0.1:18830"),
            ("mqtt://[::1]", "[::1]:1883"),
            ("mqtt://[::1]:99", "[::1]:99"),
        ] {
            assert_eq!(broker(url).as_deref(), Ok(expected), "{url}");
        }
        for url in [
            "",
            "broker",
            "mqtt://",
            "mqtts://broker",
            "mqtt://u:p@broker",
            "mqtt://broker/topic",
            "mqtt://b:0",
        ] {
            let why = broker(url).expect_err(url);
            assert!(why.contains("expected mqtt://HOST[:PORT]"), "{url}: {why}");
        }
        assert!(broker("mqtts://broker").unwrap_err().contains("TLS"));
    }

    #[tokio::test]
    async fn a_broker_that_is_not_there_is_named() {
        let gone = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        let messages = Messages::through(&gone.to_string()).unwrap();
        let plant = crate::demo::plant::Plant::new(&[1; 32]);
        let (_out, turns) = watch::channel(Turn { time_ms: 0, shown: plant.instruments() });
        let why = Publisher::start(&messages, turns).await.map(drop).expect_err("nobody is there");
        assert!(format!("{why:#}").contains(&format!("mqtt://{gone}")), "{why:#}");
    }
}
