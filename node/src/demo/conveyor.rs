//! The conveyor's controller: an OPC-UA server on a free port of this machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use edge_adapters::opcua::server::{Server, Variables};

use selvedge_core::reading::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::serve::Turn;
use super::wiring::{self, NAMESPACE};

/// The running server.
#[derive(Debug)]
pub(super) struct Conveyor {
    address: SocketAddr,
    variables: Arc<Variables>,
    serving: JoinHandle<io::Result<()>>,
}

/// Its nodes.
pub(super) struct Nodes(Arc<Variables>);

impl Conveyor {
    pub(super) async fn start(
        first: &Turn,
        folder: &Path,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<Self>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("the system gives no port for the conveyor")?;
        let address = listener.local_addr()?;
        let nodes: Vec<(&str, Value)> = wiring::nodes(&first.shown).collect();
        let time_ns = first.time_ms * 1_000_000;
        let made = Server::new(listener, NAMESPACE, &nodes, time_ns, &folder.join("plant-pki"));
        let (server, variables) = made.context("the conveyor's OPC-UA server does not start")?;
        let serving = tokio::spawn(server.run(stop.clone()));
        Ok(Some(Self { address, variables, serving }))
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn nodes(&self) -> Nodes {
        Nodes(Arc::clone(&self.variables))
    }

    pub(super) fn changes(&self) -> u64 {
        self.variables.changes()
    }

    pub(super) async fn ended(self) -> anyhow::Result<()> {
        Ok(self.serving.await??)
    }
}

impl Nodes {
    pub(super) fn show(&self, turn: &Turn) {
        for (place, (_, value)) in wiring::nodes(&turn.shown).enumerate() {
            self.0.set(place, &value, turn.time_ms * 1_000_000);
        }
    }
}
