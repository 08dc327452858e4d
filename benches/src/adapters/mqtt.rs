//! Figure 16: messages of quality of service 1 through the adapter and a whole engine, each acknowledged once its
//! reading is durable in the synced journal; against bare rumqttc, which acknowledges as it reads.
//!
//! Both have a session in the same mosquitto, which keeps all messages before the clock starts: no publisher holds them
//! up. A broker sends no more than its window before it waits for acknowledgements, so what arrives beyond a window
//! proves that all before it was acknowledged. Two windows are measured: as many as the adapter takes, and as many as
//! mosquitto sends if nobody configures it.
//!
//! Nothing of what bare rumqttc acknowledges is durable. So the notes have a third contestant, which shows the part of the
//! disk: bare rumqttc that writes what has come to an allocated file, syncs that, and only then acknowledges. It decodes
//! nothing, signs nothing, and waits for the disk instead of listening.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use edge_adapters::{Delivery, Source};
use rumqttc::{AsyncClient, Event, Outgoing, Packet, Publish};
use selvedge::engine::Engine;
use selvedge_core::border::{BatchPolicy, NewReading, Outcome};
use selvedge_core::limits::ORIGINS_HELD_MAX;
use selvedge_core::reading::{Quality, Value};
use tokio::sync::mpsc::unbounded_channel;

use super::broker::{Broker, leave};
use super::{AtWork, STUCK, descriptors_of, runtime, sources, within};
use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::gateway::{self, Expected, Identity};
use crate::plan::Plan;

const TOPICS: usize = 50;
const PAYLOAD_BYTES: usize = 64;
/// What a new gateway is configured with; a submission whose source waits for an acknowledgement waits less.
const JOURNAL_WITHIN: Duration = Duration::from_secs(1);
/// Of the adapter's session.
const CLIENT_ID: &str = "bench-adapter";
/// Of the bare client's.
const BARE_ID: &str = "bench-bare";
/// Of the one that syncs.
const SYNCED_ID: &str = "bench-synced";
/// All topics.
const FILTER: &str = "plant/+/state";

/// A window, and what was measured with it.
struct Window {
    part: &'static str,
    messages_max: usize,
    adapter: Contestant,
    bare: Contestant,
    synced: Contestant,
}

/// Microseconds a message, one sample a round.
#[derive(Default)]
struct Contestant {
    clock: Samples,
    cpu: Samples,
}

impl Contestant {
    fn add(&mut self, messages: usize, (clock, cpu): (f64, f64)) {
        self.clock.add(clock / messages as f64 * 1e6);
        self.cpu.add(cpu / messages as f64 * 1e6);
    }
}

/// # Errors
/// When there is no broker, or a message was not recorded exactly once and in order.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let identity = Identity::new()?;
    let window = |part, messages_max| Window {
        part,
        messages_max,
        adapter: Contestant::default(),
        bare: Contestant::default(),
        synced: Contestant::default(),
    };
    // Mosquitto's own default is 20.
    let mut windows = [window("MQTT, window 256", ORIGINS_HELD_MAX), window("MQTT, window 20", 20)];
    for round in 0..plan.rounds() {
        for window in &mut windows {
            let count = plan.size(20_000, 600);
            let messages = messages(round, count + window.messages_max);
            let broker = Broker::start(window.messages_max)?;
            let spent = through_adapter(plan, &identity, &broker, &messages)?;
            window.adapter.add(messages.len(), spent);
            let spent = runtime()?.block_on(bare(&broker, &messages))?;
            window.bare.add(messages.len(), spent);
            let spent = runtime()?.block_on(synced(plan, &broker, &messages))?;
            window.synced.add(messages.len(), spent);
        }
    }
    let mut report = Report::default();
    for Window { part, adapter, bare, synced, .. } in &windows {
        let figure = Figure::of(16, part, "us a message", &adapter.clock)
            .against("bare rumqttc", bare.clock.median())
            .goal(Goal::Ratio(2.0));
        report.figures.push(figure);
        report.notes.push(format!(
            "16, {part}: {} messages a second recorded and acknowledged, {} by bare rumqttc, {} by bare rumqttc that writes \
             and syncs each group before it acknowledges it; CPU-us a message {}, {} and {}; {} rounds, all messages in the \
             store, once and in order",
            number(1e6 / adapter.clock.median()),
            number(1e6 / bare.clock.median()),
            number(1e6 / synced.clock.median()),
            number(adapter.cpu.median()),
            number(bare.cpu.median()),
            number(synced.cpu.median()),
            adapter.clock.count(),
        ));
    }
    Ok(report)
}

/// Topic and payload; of each topic the values count up.
fn messages(round: usize, count: usize) -> Vec<(String, String)> {
    (0..count)
        .map(|number| {
            let value = (round * count + number) as u64;
            let head = format!("{{\"value\":{value},\"unit\":\"bar\",\"is\":\"");
            let padding = "x".repeat(PAYLOAD_BYTES - head.len() - 2);
            (format!("plant/{}/state", number % TOPICS), format!("{head}{padding}\"}}"))
        })
        .collect()
}

/// The value in a payload of [`messages`].
fn value_of(payload: &str) -> anyhow::Result<u64> {
    let number = payload.strip_prefix("{\"value\":").and_then(|rest| rest.split_once(','));
    Ok(number.context("no value")?.0.parse()?)
}

fn configuration(port: u16) -> String {
    let each: Vec<String> = (0..TOPICS).map(|topic| format!("\"{topic}\"")).collect();
    format!(
        "[[device]]\nname = \"broker\"\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:{port}\"\nclient_id = \"{CLIENT_ID}\"\n\
         qos = 1\n[[device.stream]]\nname = \"line-{{line}}/pressure\"\ntopic = \"plant/{{line}}/state\"\n\
         each = {{ line = [{}] }}\npointer = \"/value\"\ntype = \"u64\"\n",
        each.join(", ")
    )
}

/// Seconds by the clock and of CPU, from the start of the adapter until the last reading is durable.
fn through_adapter(
    plan: &Plan,
    identity: &Identity,
    broker: &Broker,
    messages: &[(String, String)],
) -> anyhow::Result<(f64, f64)> {
    let folder = plan.folder()?;
    let store = folder.path().join("store");
    let sources = sources(&configuration(broker.port))?;
    let descriptors = descriptors_of(&sources);
    let runtime = runtime()?;
    let (collected, spent) = runtime.block_on(async {
        broker.keep_for(CLIENT_ID, FILTER).await?;
        broker.publish(messages).await?;
        let (engine, running) = identity.start(&store, BatchPolicy::default(), JOURNAL_WITHIN)?;
        gateway::describe(&engine, &descriptors).await?;
        let (started, before) = (Instant::now(), cpu::process());
        let (adapters, collected) = take(&engine, sources, messages.len()).await?;
        let spent = (started.elapsed().as_secs_f64(), cpu::process() - before);
        adapters.end().await;
        gateway::stop(engine, running).await?;
        broker.forget(CLIENT_ID).await?;
        anyhow::Ok((collected, spent))
    })?;
    ensure!(collected.iter().all(|r| r.quality == Quality::Good && r.flags == 0), "a reading has a mark");
    let mut expected = Expected::default();
    expected.add(&descriptors, &collected);
    let kept = identity.check(&store, &expected)?;
    ensure!(kept.readings == messages.len(), "{} readings of {} messages", kept.readings, messages.len());
    let mut of_stream: BTreeMap<u32, Vec<&Value>> = BTreeMap::new();
    for reading in &collected {
        of_stream.entry(reading.stream.0).or_default().push(&reading.value);
    }
    let mut next = vec![0; TOPICS];
    for (number, (_, payload)) in messages.iter().enumerate() {
        let topic = number % TOPICS;
        let reading = of_stream.get(&(topic as u32)).and_then(|values| values.get(next[topic]));
        let wanted = Value::Unsigned(value_of(payload)?);
        ensure!(
            reading == Some(&&wanted),
            "topic {topic}: reading {} is {reading:?}, not {wanted:?}",
            next[topic]
        );
        next[topic] += 1;
    }
    Ok(spent)
}

/// Hands over what the adapter delivers, as the daemon does, until as many readings are durable.
async fn take(
    engine: &Engine,
    sources: Vec<Arc<dyn Source>>,
    wanted: usize,
) -> anyhow::Result<(AtWork, Vec<NewReading>)> {
    let mut adapters = AtWork::start(sources);
    let (tell, mut told) = unbounded_channel();
    let (mut collected, mut durable) = (Vec::with_capacity(wanted), 0);
    let too_late = tokio::time::sleep(STUCK);
    tokio::pin!(too_late);
    while durable < wanted {
        tokio::select! {
            () = &mut too_late => {
                let figures = adapters.devices().snapshots();
                bail!(
                    "{durable} of {} readings are durable, of {wanted} messages, after {STUCK:?}: {:?}",
                    collected.len(),
                    figures.first().map(|device| (device.state, &device.error, device.connections, &device.messages))
                );
            }
            Some(Delivery { readings, origins, ack }) = adapters.deliveries.recv() => {
                if readings.is_empty() && origins.is_empty() {
                    let _ = ack.map(|ack| ack.send(()));
                    continue;
                }
                collected.extend_from_slice(&readings);
                let (count, tell) = (readings.len(), tell.clone());
                let outcome = engine.submit_later(readings, origins).await?;
                tokio::spawn(async move {
                    let is_durable = outcome.await == Ok(Outcome::Durable);
                    if is_durable && let Some(ack) = ack {
                        // An adapter that has gone needs no answer.
                        let _ = ack.send(());
                    }
                    let _ = tell.send(is_durable.then_some(count));
                });
            }
            Some(count) = told.recv() => durable += count.context("a delivery was not kept")?,
            else => bail!("the adapter ended"),
        }
    }
    Ok((adapters, collected))
}

/// Seconds by the clock and of CPU, from the start of the client until the last acknowledgement went out.
async fn bare(broker: &Broker, messages: &[(String, String)]) -> anyhow::Result<(f64, f64)> {
    broker.keep_for(BARE_ID, FILTER).await?;
    broker.publish(messages).await?;
    let (started, before) = (Instant::now(), cpu::process());
    let (client, mut events) = broker.client(BARE_ID);
    let (mut received, mut acknowledged) = (Vec::with_capacity(messages.len()), 0);
    while received.len() < messages.len() || acknowledged < messages.len() {
        match events.poll().await? {
            Event::Incoming(Packet::Publish(publish)) => received.push(publish),
            Event::Outgoing(Outgoing::PubAck(_)) => acknowledged += 1,
            _ => {}
        }
        ensure!(started.elapsed() < STUCK, "{} of {} messages came", received.len(), messages.len());
    }
    let spent = (started.elapsed().as_secs_f64(), cpu::process() - before);
    leave(&client, &mut events).await?;
    broker.forget(BARE_ID).await?;
    check(&received, messages)?;
    Ok(spent)
}

/// The same for one that acknowledges what was written and synced: all that has come, once nothing more is there or as much
/// has come as the adapter takes. (A mosquitto with a backlog sends more than its window.)
async fn synced(plan: &Plan, broker: &Broker, messages: &[(String, String)]) -> anyhow::Result<(f64, f64)> {
    broker.keep_for(SYNCED_ID, FILTER).await?;
    broker.publish(messages).await?;
    let folder = plan.folder()?;
    let bytes = messages.iter().map(|(_, payload)| payload.len()).sum();
    let file = allocated(&folder.path().join("payloads"), bytes)?;
    let (started, before) = (Instant::now(), cpu::process());
    let (client, mut events) = broker.client_that_is_told(SYNCED_ID, messages.len());
    let (mut received, mut kept, mut end, mut acknowledged) = (Vec::with_capacity(messages.len()), 0, 0, 0);
    while received.len() < messages.len() || acknowledged < messages.len() {
        let is_full = received.len() - kept >= ORIGINS_HELD_MAX;
        tokio::select! {
            biased;
            event = within("the broker", events.poll()), if !is_full => match event?? {
                Event::Incoming(Packet::Publish(publish)) => received.push(publish),
                Event::Outgoing(Outgoing::PubAck(_)) => acknowledged += 1,
                _ => {}
            },
            () = std::future::ready(()), if kept < received.len() => {
                end = keep(&file, end, &received[kept..], &client)?;
                kept = received.len();
            }
        }
    }
    let spent = (started.elapsed().as_secs_f64(), cpu::process() - before);
    leave(&client, &mut events).await?;
    broker.forget(SYNCED_ID).await?;
    check(&received, messages)?;
    Ok(spent)
}

/// Writes the payloads at `end`, syncs them and acknowledges their messages; where they end.
fn keep(file: &File, end: u64, group: &[Publish], client: &AsyncClient) -> anyhow::Result<u64> {
    let payloads: Vec<u8> = group.iter().flat_map(|publish| &publish.payload).copied().collect();
    file.write_all_at(&payloads, end)?;
    file.sync_data()?;
    for publish in group {
        // There is room for all: a broker with a backlog sends more than its window.
        client.try_ack(publish)?;
    }
    Ok(end + payloads.len() as u64)
}

/// A file in which a sync of so many bytes changes nothing but them, as in the journal.
fn allocated(path: &Path, bytes: usize) -> anyhow::Result<File> {
    let file = File::create_new(path)?;
    file.write_all_at(&vec![0; bytes], 0)?;
    file.sync_all()?;
    Ok(file)
}

fn check(received: &[Publish], messages: &[(String, String)]) -> anyhow::Result<()> {
    for (publish, (topic, payload)) in received.iter().zip(messages) {
        ensure!(
            publish.topic == *topic && publish.payload == payload.as_bytes() && !publish.dup,
            "a message on {} is not the next one on {topic}",
            publish.topic
        );
    }
    Ok(())
}
