//! The server of figure 17: the demo's, with bounds for bursts, on a thread of its own, and variables that change when they
//! are told to.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use edge_adapters::opcua::server;
use opcua::types::{DataTypeId, DataValue, DateTime, NodeId};
use opcua_server::address_space::{AccessLevel, VariableBuilder};
use opcua_server::node_manager::memory::SimpleNodeManager;
use opcua_server::{ServerBuilder, ServerHandle};
use tokio::net::TcpListener;
use tokio::sync::{mpsc as orders, oneshot};

use crate::cpu;

/// The namespace of the variables.
pub(super) const NAMESPACE: &str = "urn:selvedge:bench";
/// Values that the server keeps of one variable for one client.
pub(super) const QUEUE_MAX: usize = 1_000;
/// It looks this often whether there is something to publish, and publishes as often if asked to.
pub(super) const PUBLISHING_MS: u64 = 10;
/// Ticks of 100 ns in a millisecond: values are as far apart.
const TICKS_BETWEEN: i64 = 10_000;
/// Ticks in a minute.
const TICKS_BEFORE: i64 = 600_000_000;

/// So many values of each variable, one after the other.
#[derive(Debug)]
struct Order {
    rounds: usize,
    done: oneshot::Sender<Done>,
}

/// What an order did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// Each variable has this value now; a burst counts up by one.
    pub(super) value: u32,
    /// When the last value was set, and nothing of them published.
    pub(super) at: Instant,
}

/// A running server.
#[derive(Debug)]
pub(super) struct OpcUaServer {
    pub(super) address: SocketAddr,
    /// Index of [`NAMESPACE`].
    pub(super) index: u16,
    orders: orders::UnboundedSender<Order>,
    thread: JoinHandle<anyhow::Result<f64>>,
}

impl OpcUaServer {
    /// One with so many variables, all 0; `folder` is for its certificates, of which it has none.
    pub(super) fn start(variables: usize, folder: &Path) -> anyhow::Result<Self> {
        let (orders, inbox) = orders::unbounded_channel();
        let (tell, told) = mpsc::channel();
        let folder = folder.to_owned();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
                let address = listener.local_addr()?;
                let (server, handle) = builder(address, &folder).build().map_err(anyhow::Error::msg)?;
                let (variables, index) = Variables::new(handle, variables)?;
                tell.send((address, index))?;
                tokio::select! {
                    ended = server.run_with(listener) => ended.map_err(anyhow::Error::msg),
                    ended = obey(inbox, &variables) => ended,
                }
            })?;
            drop(runtime);
            Ok(cpu::thread())
        });
        let Ok((address, index)) = told.recv() else {
            let why = thread.join().map_err(|_| anyhow::anyhow!("the OPC-UA server panicked"))?;
            return Err(why.err().unwrap_or_else(|| anyhow::anyhow!("the OPC-UA server did not start")));
        };
        Ok(Self { address, index, orders, thread })
    }

    /// Sets each variable so many times.
    pub(super) async fn burst(&self, rounds: usize) -> anyhow::Result<Done> {
        let (done, told) = oneshot::channel();
        self.orders.send(Order { rounds, done }).ok().context("the OPC-UA server ended")?;
        told.await.context("the OPC-UA server ended")
    }

    /// Seconds of CPU that its thread took.
    pub(super) fn stop(self) -> anyhow::Result<f64> {
        drop(self.orders);
        self.thread.join().map_err(|_| anyhow::anyhow!("the OPC-UA server panicked"))?
    }
}

/// A variable.
pub(super) fn node(index: u16, number: usize) -> NodeId {
    NodeId::new(index, number as u32 + 1)
}

fn builder(address: SocketAddr, folder: &Path) -> ServerBuilder {
    let mut builder = server::builder(NAMESPACE, address.port(), folder)
        .subscription_poll_interval_ms(PUBLISHING_MS)
        .max_message_size(64 * 1024 * 1024)
        .max_chunk_count(8_192);
    let limits = &mut builder.limits_mut().subscriptions;
    limits.min_publishing_interval_ms = PUBLISHING_MS as f64;
    limits.max_monitored_item_queue_size = QUEUE_MAX;
    // Here 0 would mean none at all.
    limits.max_queued_notifications = 100_000;
    builder
}

/// The variables, and who must hear of their changes.
struct Variables {
    handle: ServerHandle,
    manager: Arc<SimpleNodeManager>,
    nodes: Vec<NodeId>,
    first_ticks: i64,
}

impl Variables {
    /// So many, all 0.
    fn new(handle: ServerHandle, count: usize) -> anyhow::Result<(Self, u16)> {
        let (index, manager) = server::open(&handle, NAMESPACE)?;
        let nodes: Vec<NodeId> = (0..count).map(|number| node(index, number)).collect();
        let mut space = manager.address_space().write();
        for node in &nodes {
            VariableBuilder::new(node, "Value", "Value")
                .data_type(DataTypeId::UInt32)
                .access_level(AccessLevel::CURRENT_READ)
                .user_access_level(AccessLevel::CURRENT_READ)
                .value(0_u32)
                .insert(&mut *space);
        }
        drop(space);
        // Before now, so that no value lies in the future.
        let first_ticks = DateTime::now().ticks() - TICKS_BEFORE;
        let variables = Self { handle, manager, nodes, first_ticks };
        variables.set(0)?;
        Ok((variables, index))
    }

    fn set(&self, value: u32) -> anyhow::Result<()> {
        let time = DateTime::from(self.first_ticks + i64::from(value) * TICKS_BETWEEN);
        let values = self.nodes.iter().map(|node| (node, None, DataValue::new_at(value, time)));
        self.manager
            .set_values(self.handle.subscriptions(), values)
            .map_err(|status| anyhow::anyhow!("a variable cannot be set: {status}"))
    }
}

/// Does what it is told until nobody can tell it any more.
async fn obey(mut inbox: orders::UnboundedReceiver<Order>, variables: &Variables) -> anyhow::Result<()> {
    let mut value = 0_u32;
    while let Some(Order { rounds, done }) = inbox.recv().await {
        // Nothing is awaited here, so the server publishes nothing of it before all of it is there.
        for _ in 0..rounds {
            value += 1;
            variables.set(value)?;
        }
        // Whoever asked may have given up.
        let _ = done.send(Done { value, at: Instant::now() });
    }
    Ok(())
}
