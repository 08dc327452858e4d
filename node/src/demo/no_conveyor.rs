//! In place of `conveyor.rs` where the program is built without its OPC-UA server (feature `demo-opcua`): there is no
//! value of these types.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::serve::Turn;

#[derive(Debug)]
pub(super) struct Conveyor(Infallible);

pub(super) struct Nodes(Infallible);

impl Conveyor {
    #[expect(clippy::unused_async, reason = "as that of the other")]
    pub(super) async fn start(_: &Turn, _: &Path, _: &CancellationToken) -> anyhow::Result<Option<Self>> {
        Ok(None)
    }

    pub(super) const fn address(&self) -> SocketAddr {
        match self.0 {}
    }

    pub(super) fn nodes(&self) -> Nodes {
        Nodes(self.0)
    }

    pub(super) const fn changes(&self) -> u64 {
        match self.0 {}
    }

    #[expect(clippy::unused_async, reason = "as that of the other")]
    pub(super) async fn ended(self) -> anyhow::Result<()> {
        match self.0 {}
    }
}

impl Nodes {
    pub(super) const fn show(&self, _: &Turn) {
        match self.0 {}
    }
}
