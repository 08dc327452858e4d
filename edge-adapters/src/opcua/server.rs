//! An OPC-UA server of some variables: a machine of the demo.
//!
//! The library's own server with what clients of variables ask for: sessions, reading, subscriptions. Of the address
//! space of the standard it holds the list of namespaces and the state of the server, so it cannot be browsed; the rest
//! is megabytes of code. It offers policy None to anonymous sessions and takes no writes, so it needs no certificate and
//! belongs on the loopback interface. The caller gives the listener and says when to stop.
//!
//! [`builder`] and [`open`] are for whoever wants the same server with bounds and variables of their own.
//!
//! A client that wants the source times as they are subscribes with a sampling interval of zero: between two samples
//! this library keeps the newest value back, and then gives it the time of the sample in place of its own.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opcua::types::{DataTypeId, DataValue, DateTime, LocalizedText, NodeId, UAString, VariableId, Variant};
use opcua_server::address_space::{AccessLevel, VariableBuilder};
use opcua_server::diagnostics::NamespaceMetadata;
use opcua_server::node_manager::memory::{SimpleNodeManager, simple_node_manager};
use opcua_server::{ANONYMOUS_USER_TOKEN_ID, ServerBuilder, ServerEndpoint, ServerHandle};
use selvedge_core::reading::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::value::EPOCH_TICKS;

/// Namespace 0 (OPC 10000-3).
const STANDARD: &str = "http://opcfoundation.org/UA/";
/// Names of the library's two rooms for nodes.
const ROOMS: [&str; 2] = ["standard", "variables"];
/// Subscriptions are looked at, and publish at the soonest, this often.
const TURN_MS: u64 = 50;
/// Values that are kept of one variable for one client.
const QUEUE_MAX: usize = 100;
/// Values that are kept for one subscription.
const NOTIFICATIONS_MAX: usize = 1_000;
/// `Running` of the type `ServerState` (OPC 10000-5, 12.6).
const RUNNING: i32 = 0;
/// Sessions have this long to close in order at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// A tick of OPC-UA is so many nanoseconds.
const TICK_NS: i64 = 100;

/// The variables, shared between the server and whatever changes them.
pub struct Variables {
    handle: ServerHandle,
    manager: Arc<SimpleNodeManager>,
    nodes: Vec<NodeId>,
    values: Mutex<Vec<Value>>,
    changes: AtomicU64,
}

impl std::fmt::Debug for Variables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variables")
            .field("nodes", &self.nodes)
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

impl Variables {
    /// Gives a variable (by its place in the list that the server was made with) a new value, with the time at which it
    /// was taken, ns since 1970 UTC. What is no other value than before changes nothing, the time neither.
    ///
    /// # Panics
    /// When there is no such variable.
    pub fn set(&self, place: usize, value: &Value, time_ns: i64) {
        let mut values = self.values.lock().unwrap_or_else(PoisonError::into_inner);
        if values[place] == *value {
            return;
        }
        values[place].clone_from(value);
        self.changes.fetch_add(1, Ordering::Relaxed);
        self.tell(place, value, time_ns);
    }

    /// Values that were new.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn tell(&self, place: usize, value: &Value, time_ns: i64) {
        let value = DataValue::new_at(variant(value), DateTime::from(EPOCH_TICKS + time_ns / TICK_NS));
        let values = std::iter::once((&self.nodes[place], None, value));
        let told = self.manager.set_values(self.handle.subscriptions(), values);
        told.expect("the variable was made with the server, and nobody takes it away");
    }
}

/// A server that can be run.
pub struct Server {
    library: opcua_server::Server,
    listener: TcpListener,
    token: CancellationToken,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Server {
    /// One with these variables in a namespace: for each the text of its node id (`s=…`), and its value at this time (ns
    /// since 1970 UTC), which also says of what type it is. `folder` is for certificates, of which it keeps none.
    ///
    /// # Errors
    /// When the listener has no address, or the library refuses.
    pub fn new(
        listener: TcpListener,
        namespace: &str,
        variables: &[(&str, Value)],
        time_ns: i64,
        folder: &Path,
    ) -> io::Result<(Self, Arc<Variables>)> {
        let port = listener.local_addr()?.port();
        let mut builder = builder(namespace, port, folder).subscription_poll_interval_ms(TURN_MS);
        let limits = &mut builder.limits_mut().subscriptions;
        limits.min_publishing_interval_ms = TURN_MS as f64;
        limits.max_monitored_item_queue_size = QUEUE_MAX;
        limits.max_queued_notifications = NOTIFICATIONS_MAX;
        let (library, handle) = builder.build().map_err(io::Error::other)?;
        let (index, manager) = open(&handle, namespace)?;
        let nodes: Vec<NodeId> =
            variables.iter().map(|(id, _)| NodeId::new(index, UAString::from(*id))).collect();
        {
            let mut space = manager.address_space().write();
            for (node, (id, value)) in nodes.iter().zip(variables) {
                VariableBuilder::new(node, *id, LocalizedText::from(*id))
                    .data_type(data_type(value))
                    .access_level(AccessLevel::CURRENT_READ)
                    .user_access_level(AccessLevel::CURRENT_READ)
                    .value(variant(value))
                    .insert(&mut *space);
            }
        }
        let token = handle.token().clone();
        let values: Vec<Value> = variables.iter().map(|(_, value)| value.clone()).collect();
        let variables = Variables {
            handle,
            manager,
            nodes,
            values: Mutex::new(values.clone()),
            changes: AtomicU64::new(0),
        };
        for (place, value) in values.iter().enumerate() {
            variables.tell(place, value, time_ns);
        }
        Ok((Self { library, listener, token }, Arc::new(variables)))
    }

    /// Serves whoever connects, until `stop` is cancelled; then closes all sessions.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let Self { library, listener, token } = self;
        // However this ends, no connection of it outlives it.
        let _cancelled = token.clone().drop_guard();
        let serving = library.run_with(listener);
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended.map_err(io::Error::other),
            () = stop.cancelled() => token.cancel(),
        }
        // A client that does not let go is left behind.
        tokio::time::timeout(CLOSE_WITHIN, serving)
            .await
            .map_or(Ok(()), |ended| ended.map_err(io::Error::other))
    }
}

/// The library's server with this namespace and hardly anything of the standard's, for anonymous sessions without security
/// at this port of 127.0.0.1. A client may ask for every value. `folder` is for certificates, of which it keeps none.
pub fn builder(namespace: &str, port: u16, folder: &Path) -> ServerBuilder {
    let room = |uri: &str, name: &'static str| {
        let metadata = NamespaceMetadata { namespace_uri: uri.to_owned(), ..NamespaceMetadata::default() };
        simple_node_manager(metadata, name)
    };
    let mut builder = ServerBuilder::new()
        .application_name("selvedge")
        .application_uri(format!("{namespace}:server"))
        .product_uri("urn:selvedge:server")
        .create_sample_keypair(false)
        .pki_dir(folder)
        .host("127.0.0.1")
        .port(port)
        .add_endpoint("none", ServerEndpoint::new_none("/", &[ANONYMOUS_USER_TOKEN_ID.to_owned()]))
        .discovery_urls(vec!["/".to_owned()])
        .with_node_manager(room(STANDARD, ROOMS[0]))
        .with_node_manager(room(namespace, ROOMS[1]));
    builder.limits_mut().subscriptions.min_sampling_interval_ms = 0.0;
    builder
}

/// Puts into what [`builder`] built the two nodes of the standard that clients look at: which namespaces there are, and that
/// the server runs. Returns the index of the namespace, and where its variables belong.
///
/// # Errors
/// When the server was not made by [`builder`] with this namespace.
pub fn open(handle: &ServerHandle, namespace: &str) -> io::Result<(u16, Arc<SimpleNodeManager>)> {
    let other = || io::Error::other(format!("a server that was made without the namespace {namespace}"));
    let room = |name| handle.node_managers().get_by_name::<SimpleNodeManager>(name).ok_or_else(other);
    let index = handle.get_namespace_index(namespace).ok_or_else(other)?;
    let standard = room(ROOMS[0])?;
    let mut names = vec![String::new(); usize::from(index) + 1];
    STANDARD.clone_into(&mut names[0]);
    namespace.clone_into(&mut names[usize::from(index)]);
    let mut space = standard.address_space().write();
    VariableBuilder::new(&VariableId::Server_NamespaceArray.into(), "NamespaceArray", "NamespaceArray")
        .data_type(DataTypeId::String)
        .value_rank(1)
        .value(names)
        .insert(&mut *space);
    VariableBuilder::new(&VariableId::Server_ServerStatus_State.into(), "State", "State")
        .data_type(DataTypeId::Int32)
        .value(RUNNING)
        .insert(&mut *space);
    Ok((index, room(ROOMS[1])?))
}

fn variant(value: &Value) -> Variant {
    match value {
        Value::None => Variant::Empty,
        Value::Bool(value) => Variant::from(*value),
        Value::Int(value) => Variant::from(*value),
        Value::Unsigned(value) => Variant::from(*value),
        Value::Float(value) => Variant::from(*value),
        Value::Text(value) => Variant::from(value.as_str()),
        Value::Bytes(value) => Variant::from(opcua::types::ByteString::from(value.clone())),
    }
}

const fn data_type(value: &Value) -> DataTypeId {
    match value {
        Value::None => DataTypeId::BaseDataType,
        Value::Bool(_) => DataTypeId::Boolean,
        Value::Int(_) => DataTypeId::Int64,
        Value::Unsigned(_) => DataTypeId::UInt64,
        Value::Float(_) => DataTypeId::Double,
        Value::Text(_) => DataTypeId::String,
        Value::Bytes(_) => DataTypeId::ByteString,
    }
}
