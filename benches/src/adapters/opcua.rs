//! Figure 17: notifications of an OPC-UA server through the adapter, and through bare async-opcua.
//!
//! Each has a subscription of the same variables with the same parameters on the same server. The server is told to
//! change all variables many times at once; the clock runs from the moment at which all of these values wait in the
//! server until the last of them has arrived: through the adapter, has come out of the queue as a reading.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use edge_adapters::{Delivery, DeviceState};
use opcua::client::{ClientBuilder, DataChangeCallback, IdentityToken, Session};
use opcua::crypto::SecurityPolicy;
use opcua::types::{
    EndpointDescription, ExtensionObject, Identifier, MessageSecurityMode, MonitoredItemCreateRequest,
    MonitoringMode, MonitoringParameters, NodeId, StatusCode, TimestampsToReturn, UserTokenPolicy, Variant,
};
use selvedge_core::border::NewReading;
use selvedge_core::reading::{Quality, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::opcua_server::{NAMESPACE, OpcUaServer, PUBLISHING_MS, QUEUE_MAX, node};
use super::{AtWork, runtime, sources, within};
use crate::cpu::{self, Samples};
use crate::figure::{Figure, Goal, Report, number};
use crate::plan::Plan;

/// Values in one notification, as the adapter asks for.
const VALUES_MAX: u32 = 5_000;
/// Turns of each contestant in a round: most of the time goes to the server, and how fast one is differs from the next by
/// more than the contestants do.
const TURNS: usize = 3;

/// How much is done in one turn.
#[derive(Debug, Clone, Copy)]
struct Size {
    variables: usize,
    /// Values of each variable in a burst.
    rounds: usize,
    bursts: usize,
}

/// Microseconds a value: one sample a burst of the clock, one a turn of the CPU, the server's taken off.
#[derive(Default)]
struct Contestant {
    clock: Samples,
    cpu: Samples,
}

/// # Errors
/// When a value did not arrive, or not in its place.
pub(crate) fn measure(plan: &Plan) -> anyhow::Result<Report> {
    let size = Size { variables: plan.size(500, 20), rounds: plan.size(100, 5), bursts: plan.size(3, 1) };
    let folder = tempfile::tempdir()?;
    let (mut adapter, mut bare) = (Contestant::default(), Contestant::default());
    for _ in 0..plan.size(TURNS, 1) * plan.rounds() {
        turn(size, folder.path(), &mut adapter, async |server, spent| {
            through_adapter(server, size, folder.path(), spent).await
        })?;
        turn(size, folder.path(), &mut bare, async |server, spent| {
            through_bare(server, size, folder.path(), spent).await
        })?;
    }
    let figure = Figure::of(17, "OPC-UA notifications", "us a value", &adapter.clock)
        .against("bare async-opcua", bare.clock.median())
        .goal(Goal::Ratio(1.11));
    let note = format!(
        "17: {} values a second through the adapter, {} through bare async-opcua; CPU-us a value, the server's thread taken \
         off: {} and {}; bursts of {} values of {} variables, {} each, all checked",
        number(1e6 / adapter.clock.median()),
        number(1e6 / bare.clock.median()),
        number(adapter.cpu.median()),
        number(bare.cpu.median()),
        size.variables * size.rounds,
        size.variables,
        adapter.clock.count(),
    );
    Ok(Report { figures: vec![figure], notes: vec![note] })
}

/// A contestant's turn with a server of its own.
fn turn(
    size: Size,
    folder: &Path,
    contestant: &mut Contestant,
    client: impl AsyncFnOnce(&OpcUaServer, &mut Vec<Duration>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let before = cpu::process();
    let server = OpcUaServer::start(size.variables, &folder.join("server"))?;
    let mut spent = Vec::new();
    runtime()?.block_on(client(&server, &mut spent))?;
    let seconds = cpu::process() - before - server.stop()?;
    let values = (size.variables * size.rounds) as f64;
    contestant.cpu.add(seconds / (values * size.bursts as f64) * 1e6);
    for burst in spent {
        contestant.clock.add(burst.as_secs_f64() / values * 1e6);
    }
    Ok(())
}

/// What each variable said last, and how many values came.
struct Arrived {
    last: Vec<Option<u32>>,
    count: usize,
}

impl Arrived {
    fn new(size: Size) -> Self {
        Self { last: vec![None; size.variables], count: 0 }
    }

    /// The first of a variable is what it is, and then it counts up by one.
    fn add(&mut self, index: usize, value: u32) -> anyhow::Result<()> {
        let last = self.last.get_mut(index).with_context(|| format!("there is no variable {index}"))?;
        if let Some(before) = last {
            ensure!(value == *before + 1, "variable {index}: {value} follows {before}");
        }
        *last = Some(value);
        self.count += 1;
        Ok(())
    }

    fn is_all_at(&self, value: u32) -> bool {
        self.last.iter().all(|last| *last == Some(value))
    }
}

async fn through_adapter(
    server: &OpcUaServer,
    size: Size,
    folder: &Path,
    spent: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    let mut adapters = AtWork::start(sources(&configuration(server, size, folder))?);
    let mut arrived = Arrived::new(size);
    let wanted = |bursts: usize| size.variables * (1 + bursts * size.rounds);
    take(&mut adapters, &mut arrived, wanted(0)).await?;
    for burst in 1..=size.bursts {
        let done = server.burst(size.rounds).await?;
        take(&mut adapters, &mut arrived, wanted(burst)).await?;
        spent.push(done.at.elapsed());
        ensure!(arrived.is_all_at(done.value), "not all variables came to {}", done.value);
    }
    let state = adapters.devices().snapshots().pop().context("one device")?.state;
    ensure!(state == DeviceState::Up, "the device is {}", state.name());
    adapters.end().await;
    Ok(())
}

/// Takes readings from the queue until so many came.
async fn take(adapters: &mut AtWork, arrived: &mut Arrived, wanted: usize) -> anyhow::Result<()> {
    while arrived.count < wanted {
        let delivery = within("notifications", adapters.deliveries.recv()).await?;
        let Delivery { readings, ack, .. } = delivery.context("the adapter ended")?;
        for reading in &readings {
            arrived.add(reading.stream.0 as usize, value_of(reading)?)?;
        }
        let _ = ack.map(|ack| ack.send(()));
    }
    Ok(())
}

fn value_of(reading: &NewReading) -> anyhow::Result<u32> {
    match (&reading.value, reading.quality) {
        (Value::Unsigned(value), Quality::Good) => Ok(u32::try_from(*value)?),
        _ => bail!("a reading that is not good: {reading:?}"),
    }
}

fn configuration(server: &OpcUaServer, size: Size, folder: &Path) -> String {
    use std::fmt::Write as _;
    let mut text = format!(
        "[[device]]\nname = \"server\"\nprotocol = \"opcua\"\naddress = \"opc.tcp://{}/\"\npki = \"{}\"\n\
         publishing_interval = \"{PUBLISHING_MS}ms\"\n",
        server.address,
        folder.join("client").display()
    );
    for number in 0..size.variables {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "[[device.stream]]\nname = \"stream-{number}\"\nnode = \"nsu={NAMESPACE};i={}\"\n\
             sampling_interval = \"1ms\"\nqueue_size = {QUEUE_MAX}",
            number + 1
        );
    }
    text
}

async fn through_bare(
    server: &OpcUaServer,
    size: Size,
    folder: &Path,
    spent: &mut Vec<Duration>,
) -> anyhow::Result<()> {
    let mut client = ClientBuilder::new()
        .application_name("bench")
        .application_uri("urn:selvedge:bench:client")
        .product_uri("urn:selvedge:bench:client")
        .create_sample_keypair(false)
        .pki_dir(folder.join("bare"))
        .session_retry_limit(0)
        .max_array_length(65_536)
        .max_message_size(64 * 1024 * 1024)
        .max_chunk_count(8_192)
        .min_publish_interval(Duration::from_millis(PUBLISHING_MS))
        .client()
        .map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let url = format!("opc.tcp://{}/", server.address);
    let policy = SecurityPolicy::None.to_str();
    let endpoint: EndpointDescription =
        (url.as_str(), policy, MessageSecurityMode::None, UserTokenPolicy::anonymous()).into();
    let (session, events) = client.connect_to_matching_endpoint(endpoint, IdentityToken::Anonymous).await?;
    let running = events.spawn();
    ensure!(within("a session", session.wait_for_connection()).await?, "no session");
    let mut values = subscribe(&session, server, size).await?;

    let mut arrived = Arrived::new(size);
    let wanted = |bursts: usize| size.variables * (1 + bursts * size.rounds);
    receive(&mut values, &mut arrived, wanted(0)).await?;
    for burst in 1..=size.bursts {
        let done = server.burst(size.rounds).await?;
        receive(&mut values, &mut arrived, wanted(burst)).await?;
        spent.push(done.at.elapsed());
        ensure!(arrived.is_all_at(done.value), "not all variables came to {}", done.value);
    }
    session.disconnect().await?;
    within("the end of the session", running).await??;
    Ok(())
}

type Came = (usize, Option<u32>);

/// Watches all variables; each value goes into the channel.
async fn subscribe(
    session: &Arc<Session>,
    server: &OpcUaServer,
    size: Size,
) -> anyhow::Result<UnboundedReceiver<Came>> {
    let (tell, values) = unbounded_channel();
    let callback = DataChangeCallback::new(move |data, item| {
        let number = match item.item_to_monitor().node_id.identifier {
            Identifier::Numeric(number) => number as usize - 1,
            _ => usize::MAX,
        };
        let value = match data.value {
            Some(Variant::UInt32(value)) if data.status.is_none_or(|status| status == StatusCode::Good) => {
                Some(value)
            }
            _ => None,
        };
        // Whoever took them may have gone.
        let _ = tell.send((number, value));
    });
    let interval = Duration::from_millis(PUBLISHING_MS);
    let id = session.create_subscription(interval, 30_000, 1_000, VALUES_MAX, 0, true, callback).await?;
    let items = (0..size.variables).map(|number| item(node(server.index, number))).collect();
    let created = session.create_monitored_items(id, TimestampsToReturn::Both, items).await?;
    ensure!(created.iter().all(|item| item.result.status_code.is_good()), "a variable is not watched");
    Ok(values)
}

fn item(node: NodeId) -> MonitoredItemCreateRequest {
    let parameters = MonitoringParameters {
        client_handle: 0,
        sampling_interval: 1.0,
        filter: ExtensionObject::null(),
        queue_size: QUEUE_MAX as u32,
        discard_oldest: true,
    };
    MonitoredItemCreateRequest::new(node.into(), MonitoringMode::Reporting, parameters)
}

async fn receive(
    values: &mut UnboundedReceiver<Came>,
    arrived: &mut Arrived,
    wanted: usize,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while arrived.count < wanted {
        let came = within("notifications", values.recv()).await?;
        let (number, value) = came.context("the subscription ended")?;
        arrived.add(number, value.with_context(|| format!("variable {number} is not good"))?)?;
        ensure!(started.elapsed() < super::STUCK, "{} of {wanted} values came", arrived.count);
    }
    Ok(())
}
