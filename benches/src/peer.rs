//! The peers' side of the network benches: this program again, in a process of its own.

use std::io::{BufRead as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use selvedge::net::{Arrival, Members, Net, NetConfig, NetHandle, Sent, ToCore};
use selvedge::store::{RealDisk, Store, StoreOptions};
use selvedge_core::border::{Lane, PeerId};
use selvedge_core::wire;
use selvedge_crypto::signer;
use tokio::sync::mpsc::Receiver;

use crate::adapters::memory;
use crate::network::{self, FIRST_PEER, MEASURED, Tangle, hello, key};

#[derive(Debug, Subcommand)]
pub(crate) enum Role {
    /// A gateway on a folder that was filled before.
    Serve { place: PathBuf },
    /// Signs a tangle, and sends it once it is told to.
    Feed { to: String, transactions: usize },
    /// Connects and takes what comes; so many peers.
    Crowd { to: String, peers: u8, first: u8 },
    /// A gateway on a folder, with the devices of a file; says what memory it takes when asked.
    Gather { place: PathBuf, devices: PathBuf },
}

pub(crate) fn run(role: &Role) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match role {
        Role::Serve { place } => runtime.block_on(serve(place)),
        Role::Feed { to, transactions } => runtime.block_on(feed(to, *transactions)),
        Role::Crowd { to, peers, first } => runtime.block_on(crowd(to, *peers, *first)),
        Role::Gather { place, devices } => memory::gather(place, devices),
    }
}

pub(crate) fn say(line: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

/// Waits for a line, or the end of the input.
pub(crate) async fn told() -> anyhow::Result<bool> {
    let wait = || std::io::stdin().lock().read_line(&mut String::new());
    Ok(tokio::task::spawn_blocking(wait).await?? > 0)
}

async fn serve(place: &std::path::Path) -> anyhow::Result<()> {
    let folder = selvedge::folder::Folder::open(place)?;
    let gateway = network::start(&folder, &[]).await?;
    say(&gateway.network_address().context("it listens")?.to_string())?;
    while told().await? {}
    gateway.stop().await
}

/// A network without a ledger behind it.
struct Bare {
    net: Net,
    arrivals: Receiver<Arrival>,
    _place: tempfile::TempDir,
}

impl Bare {
    fn start(to: &str, member: u8) -> anyhow::Result<Self> {
        let place = tempfile::tempdir()?;
        let founders = network::genesis()?;
        let network =
            selvedge_core::Network::new(selvedge_core::genesis::Genesis::network_id_of(&founders.to_bytes()));
        let own = signer(&key(member))?;
        let issuer = own.public_key().issuer();
        let disk = Arc::new(RealDisk::open(place.path())?);
        let (store, ..) = Store::open(disk, &StoreOptions::new(&network, issuer))?;
        let members = Members::new(issuer);
        members.add(signer(&key(MEASURED))?.public_key().issuer());
        let (to_core, arrivals) = ToCore::channel();
        let net = Net::start(NetConfig {
            listen: "127.0.0.1:0".parse()?,
            advertise: Vec::new(),
            peers: vec![to.to_owned()],
            signer: own,
            members,
            reader: store.reader(),
            to_core,
            guests: None,
            reset_key: [6; 32],
        })?;
        Ok(Self { net, arrivals, _place: place })
    }

    /// Waits for the connection and says hello.
    async fn greet(&mut self) -> anyhow::Result<PeerId> {
        let network = selvedge_core::genesis::Genesis::network_id_of(&network::genesis()?.to_bytes());
        while let Some(arrival) = self.arrivals.recv().await {
            if let Arrival::PeerUp { peer, .. } = arrival {
                self.net.handle().send(peer, Lane::Fresh, hello(network, None));
                return Ok(peer);
            }
        }
        bail!("the network ended")
    }
}

async fn feed(to: &str, transactions: usize) -> anyhow::Result<()> {
    let mut tangle = Tangle::new()?;
    let frames: Vec<Arc<[u8]>> =
        (0..transactions).map(|n| Ok(wire::transaction(&tangle.next(n)?))).collect::<anyhow::Result<_>>()?;
    let mut bare = Bare::start(to, FIRST_PEER)?;
    let peer = bare.greet().await?;
    say("ready")?;
    let handle = bare.net.handle();
    // What the other says is taken, so that it is not held up.
    tokio::spawn(async move { while bare.arrivals.recv().await.is_some() {} });
    if told().await? {
        for frame in frames {
            push(&handle, peer, frame).await?;
        }
        say("sent")?;
    }
    while told().await? {}
    Ok(())
}

async fn push(handle: &NetHandle, peer: PeerId, frame: Arc<[u8]>) -> anyhow::Result<()> {
    loop {
        match handle.send(peer, Lane::Fresh, frame.clone()) {
            Sent::Queued => return Ok(()),
            Sent::Congested => tokio::time::sleep(Duration::from_millis(1)).await,
            Sent::Gone => bail!("the connection is gone"),
        }
    }
}

async fn crowd(to: &str, peers: u8, first: u8) -> anyhow::Result<()> {
    let mut all = Vec::new();
    for member in first..first + peers {
        let mut bare = Bare::start(to, member)?;
        bare.greet().await?;
        all.push(bare);
    }
    say("ready")?;
    let mut takers = tokio::task::JoinSet::new();
    for mut bare in all {
        takers.spawn(async move {
            while bare.arrivals.recv().await.is_some() {}
            drop(bare.net);
        });
    }
    while told().await? {}
    takers.abort_all();
    Ok(())
}
