//! A real MQTT broker, and the messages that wait in it.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};

use super::within;

/// The port may be taken by another program before the broker takes it; then there is another one.
const PORTS_TRIED: usize = 20;
/// What may wait to be published, and be under way to the broker.
const PUBLISHED_AHEAD: u16 = 1_000;

/// A mosquitto in a process of its own. Ended when dropped.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) port: u16,
    child: Child,
}

impl Broker {
    /// Starts one that sends a client so many messages before it waits for an acknowledgement.
    ///
    /// # Errors
    /// When there is no mosquitto, or it does not start.
    pub(super) fn start(in_flight_max: usize) -> anyhow::Result<Self> {
        let program = program()?;
        let folder = tempfile::tempdir()?;
        for _ in 0..PORTS_TRIED {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let file = folder.path().join("mosquitto.conf");
            std::fs::write(&file, configuration(port, in_flight_max))?;
            let mut child = Command::new(&program)
                .arg("-c")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .with_context(|| format!("{} does not start", program.display()))?;
            let log = BufReader::new(child.stderr.take().context("its log")?);
            let mut lines = log.lines().map_while(Result::ok);
            let is_up = lines.any(|line| line.contains("mosquitto version") && line.contains("running"));
            let broker = Self { port, child };
            if is_up {
                // A full pipe would stop it. The thread ends with the broker.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(broker);
            }
        }
        bail!("{} found no free port in {PORTS_TRIED} attempts", program.display())
    }

    fn options(&self, client_id: &str, clean_session: bool) -> MqttOptions {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", self.port);
        options.set_clean_session(clean_session).set_keep_alive(Duration::from_secs(30));
        options
    }

    /// A bare client that takes up its session.
    pub(super) fn client(&self, client_id: &str) -> (AsyncClient, EventLoop) {
        AsyncClient::new(self.options(client_id, false), PUBLISHED_AHEAD.into())
    }

    /// The same, which acknowledges nothing by itself; so many acknowledgements may wait to be sent.
    pub(super) fn client_that_is_told(
        &self,
        client_id: &str,
        waiting_max: usize,
    ) -> (AsyncClient, EventLoop) {
        let mut options = self.options(client_id, false);
        options.set_manual_acks(true);
        AsyncClient::new(options, waiting_max)
    }

    /// From now on the broker keeps what comes for this client.
    pub(super) async fn keep_for(&self, client_id: &str, topic: &str) -> anyhow::Result<()> {
        let (client, mut events) = self.client(client_id);
        client.subscribe(topic, QoS::AtLeastOnce).await?;
        let subscribed = |event: &Event| matches!(event, Event::Incoming(Packet::SubAck(_)));
        until(&mut events, "an answer to the subscription", subscribed).await?;
        leave(&client, &mut events).await
    }

    /// What it keeps for this client is of no use any more.
    pub(super) async fn forget(&self, client_id: &str) -> anyhow::Result<()> {
        let (client, mut events) = AsyncClient::new(self.options(client_id, true), 10);
        let connected = |event: &Event| matches!(event, Event::Incoming(Packet::ConnAck(_)));
        until(&mut events, "a connection", connected).await?;
        leave(&client, &mut events).await
    }

    /// Publishes these (topic, payload) with quality of service 1; returns when the broker has them all.
    pub(super) async fn publish(&self, messages: &[(String, String)]) -> anyhow::Result<()> {
        let mut options = self.options("publisher", true);
        options.set_inflight(PUBLISHED_AHEAD);
        let (client, mut events) = AsyncClient::new(options, PUBLISHED_AHEAD.into());
        let publishing = async {
            for (topic, payload) in messages {
                client.publish(topic, QoS::AtLeastOnce, false, payload.as_bytes()).await?;
            }
            anyhow::Ok(())
        };
        let acknowledged = async {
            let mut acknowledged = 0;
            while acknowledged < messages.len() {
                if let Event::Incoming(Packet::PubAck(_)) = events.poll().await? {
                    acknowledged += 1;
                }
            }
            anyhow::Ok(())
        };
        within("publishing", async { tokio::try_join!(publishing, acknowledged) }).await??;
        leave(&client, &mut events).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It keeps nothing that would have to be written down.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn until(events: &mut EventLoop, what: &str, is_it: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
    within(what, async {
        while !is_it(&events.poll().await?) {}
        Ok(())
    })
    .await?
}

/// Ends a connection in order.
pub(super) async fn leave(client: &AsyncClient, events: &mut EventLoop) -> anyhow::Result<()> {
    client.disconnect().await?;
    let gone = |event: &Event| matches!(event, Event::Outgoing(Outgoing::Disconnect));
    until(events, "the end of the connection", gone).await
}

fn program() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places.find_map(|place| Some(place.join("mosquitto")).filter(|path| path.is_file())).context(
        "mosquitto is missing, and this figure needs a real broker: `apt-get install mosquitto`, or `tests/run`, which \
         installs it and leaves no service running",
    )
}

fn configuration(port: u16, in_flight_max: usize) -> String {
    let mut text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
         max_inflight_messages {in_flight_max}\nset_tcp_nodelay true\nlog_dest stderr\nlog_type error\n\
         log_type warning\nlog_type notice\nlog_type information\n"
    );
    if rustix::process::geteuid().is_root() {
        // Else it changes to a user that need not be there.
        text.push_str("user root\n");
    }
    text
}
