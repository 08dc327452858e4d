//! The server of figure 17: async-opcua's own, on a thread of its own, with variables that change when they are told to.
//!
//! Without the address space of the standard, which is megabytes of code: of it there is what clients ask for, the list
//! of namespaces and the state of the server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::Context as _;
use opcua::types::{DataTypeId, DataValue, DateTime, NodeId, VariableId};
use opcua_server::address_space::{AccessLevel, VariableBuilder};
use opcua_server::diagnostics::NamespaceMetadata;
use opcua_server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua_server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerEndpoint, ServerHandle};
use tokio::net::TcpListener;
use tokio::sync::{mpsc as orders, oneshot};

use crate::cpu;

/// The namespace of the variables.
pub(super) const NAMESPACE: &str = "urn:selvedge:bench";
const STANDARD: &str = "http://opcfoundation.org/UA/";
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
                let index =
                    handle.get_namespace_index(NAMESPACE).context("the namespace of the variables")?;
                let nodes: Vec<NodeId> = (0..variables).map(|number| node(index, number)).collect();
                // Before now, so that no value lies in the future.
                let first_ticks = DateTime::now().ticks() - TICKS_BEFORE;
                furnish(&handle, index, &nodes)?;
                set(&handle, &nodes, 0, first_ticks)?;
                tell.send((address, index))?;
                tokio::select! {
                    ended = server.run_with(listener) => ended.map_err(anyhow::Error::msg),
                    ended = obey(inbox, &handle, &nodes, first_ticks) => ended,
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
    let namespace =
        |uri: &str| NamespaceMetadata { namespace_uri: uri.to_owned(), ..NamespaceMetadata::default() };
    let mut builder = ServerBuilder::new()
        .application_name("bench")
        .application_uri("urn:selvedge:bench:server")
        .product_uri("urn:selvedge:bench:server")
        .create_sample_keypair(false)
        .pki_dir(folder)
        .host("127.0.0.1")
        .port(address.port())
        .add_endpoint("none", ServerEndpoint::new_none("/", &[ANONYMOUS_USER_TOKEN_ID.to_owned()]))
        .discovery_urls(vec!["/".to_owned()])
        .subscription_poll_interval_ms(PUBLISHING_MS)
        .max_message_size(64 * 1024 * 1024)
        .max_chunk_count(8_192)
        .with_node_manager(simple_node_manager(namespace(STANDARD), "standard"))
        .with_node_manager(simple_node_manager(namespace(NAMESPACE), "variables"));
    let limits = &mut builder.limits_mut().subscriptions;
    limits.min_sampling_interval_ms = 0.0;
    limits.min_publishing_interval_ms = PUBLISHING_MS as f64;
    limits.max_monitored_item_queue_size = QUEUE_MAX;
    // Here 0 would mean none at all.
    limits.max_queued_notifications = 100_000;
    builder
}

fn furnish(handle: &ServerHandle, index: u16, nodes: &[NodeId]) -> anyhow::Result<()> {
    let mut names = vec![String::new(); usize::from(index) + 1];
    STANDARD.clone_into(&mut names[0]);
    NAMESPACE.clone_into(&mut names[usize::from(index)]);
    let standard = manager(handle, "standard")?;
    let mut space = standard.address_space().write();
    VariableBuilder::new(&VariableId::Server_NamespaceArray.into(), "NamespaceArray", "NamespaceArray")
        .data_type(DataTypeId::String)
        .value_rank(1)
        .value(names)
        .insert(&mut *space);
    VariableBuilder::new(&VariableId::Server_ServerStatus_State.into(), "State", "State")
        .data_type(DataTypeId::Int32)
        .value(0_i32)
        .insert(&mut *space);
    drop(space);
    let variables = manager(handle, "variables")?;
    let mut space = variables.address_space().write();
    for node in nodes {
        VariableBuilder::new(node, "Value", "Value")
            .data_type(DataTypeId::UInt32)
            .access_level(AccessLevel::CURRENT_READ)
            .user_access_level(AccessLevel::CURRENT_READ)
            .value(0_u32)
            .insert(&mut *space);
    }
    Ok(())
}

fn manager(handle: &ServerHandle, name: &str) -> anyhow::Result<std::sync::Arc<SimpleNodeManager>> {
    handle.node_managers().get_by_name::<SimpleNodeManager>(name).context("a node manager by its name")
}

fn set(handle: &ServerHandle, nodes: &[NodeId], value: u32, first_ticks: i64) -> anyhow::Result<()> {
    let time = DateTime::from(first_ticks + i64::from(value) * TICKS_BETWEEN);
    let values = nodes.iter().map(|node| (node, None, DataValue::new_at(value, time)));
    manager(handle, "variables")?
        .set_values(handle.subscriptions(), values)
        .map_err(|status| anyhow::anyhow!("a variable cannot be set: {status}"))
}

/// Does what it is told until nobody can tell it any more.
async fn obey(
    mut inbox: orders::UnboundedReceiver<Order>,
    handle: &ServerHandle,
    nodes: &[NodeId],
    first_ticks: i64,
) -> anyhow::Result<()> {
    let mut value = 0_u32;
    while let Some(Order { rounds, done }) = inbox.recv().await {
        // Nothing is awaited here, so the server publishes nothing of it before all of it is there.
        for _ in 0..rounds {
            value += 1;
            set(handle, nodes, value, first_ticks)?;
        }
        // Whoever asked may have given up.
        let _ = done.send(Done { value, at: Instant::now() });
    }
    Ok(())
}
