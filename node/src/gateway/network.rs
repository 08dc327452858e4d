//! The network of a gateway: who may connect, where peers are, and the desk for those who want to join.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use selvedge_core::border::{Restored, StartCheck};
use selvedge_core::hash::derive;
use selvedge_crypto::{Signer, ids};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::network::NetworkSettings;
use crate::credential::ADDRESSES_MAX;
use crate::engine;
use crate::folder::Folder;
use crate::invite::{Desk, stream};
use crate::net::{Guest, Members, Net, NetConfig, NetHandle, ToCore, limits};
use crate::store::StoreReader;

/// The folder is looked at this often for invitations and admitted gateways that a command wrote while the node runs.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Guests that are answered at once. Further ones wait in the network's queue, and beyond that are sent away.
const GUESTS_AT_ONCE: usize = 4;
/// Without an address to listen on, a node only dials, from a port that the system chooses.
const DIAL_ONLY: [SocketAddr; 2] = [
    // Takes IPv4 too, where the system has IPv6 at all.
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0),
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
];
/// Whoever knows this key can end QUIC connections of a node that was started again, and nothing else.
const RESET_CONTEXT: &str = "selvedge v0 quic stateless reset";

/// A network that was just started.
pub(super) struct Started {
    pub(super) net: Net,
    pub(super) for_engine: engine::Network,
    pub(super) porter: Porter,
}

/// Starts the network, unless the configuration has none. `first_key` speaks TLS for the whole life of the gateway.
pub(super) fn start(
    folder: &Folder,
    settings: &NetworkSettings,
    first_key: &Arc<dyn Signer>,
    passphrase: Option<&str>,
    reader: StoreReader,
    restored: &Restored,
) -> anyhow::Result<Option<Started>> {
    if !settings.is_used() {
        return Ok(None);
    }
    let members = members(folder, restored)?;
    let desk = Desk::open(folder, passphrase).context("the key that lets others in cannot be used")?;
    // What the network holds for the core's loop; what happens when it is full stands there.
    let (to_core, arrivals) = ToCore::channel();
    // When it is full, a further guest is told so and sent away.
    let (guests_in, guests) = mpsc::channel(limits::GUESTS_WAITING_MAX);
    let net = Net::start(NetConfig {
        listen: settings.listen.unwrap_or_else(dial_only),
        advertise: settings.advertised(),
        peers: settings.peers.iter().map(ToString::to_string).collect(),
        signer: Arc::clone(first_key),
        members: members.clone(),
        reader,
        to_core,
        guests: Some(guests_in),
        reset_key: derive(RESET_CONTEXT, folder.salt_key()?.as_slice()),
    })?;
    let for_engine = engine::Network { handle: net.handle(), arrivals, members: members.clone() };
    let addresses = settings.advertise.iter().chain(&settings.peers).map(ToString::to_string).collect();
    let porter = Porter { desk: Arc::new(desk), members, handle: net.handle(), guests, addresses };
    Ok(Some(Started { net, for_engine, porter }))
}

/// The first of [`DIAL_ONLY`] that this system has.
fn dial_only() -> SocketAddr {
    let has = |at: &&SocketAddr| std::net::UdpSocket::bind(at).is_ok();
    DIAL_ONLY.iter().find(has).copied().unwrap_or(DIAL_ONLY[1])
}

/// Who may connect from the start: the genesis' members, whoever issued, and whom this gateway let in.
fn members(folder: &Folder, restored: &Restored) -> anyhow::Result<Members> {
    let members = Members::new(folder.issuer());
    let founders = folder.genesis();
    let founders = founders.members.iter().map(|member| member.key.issuer());
    let enrolled = restored.issuers.iter().map(|state| state.issuer);
    let admitted = folder.all_admitted(|issuer| members.contains(issuer))?;
    for issuer in founders.chain(enrolled).chain(admitted.into_iter().map(|a| a.issuer)) {
        if issuer != folder.issuer() {
            members.add(issuer);
        }
    }
    Ok(members)
}

/// What is asked of peers before this gateway issues.
pub(super) fn start_check(
    folder: &Folder,
    settings: &NetworkSettings,
    started: Option<&Started>,
) -> anyhow::Result<StartCheck> {
    if folder.restored_mark()? {
        return Ok(StartCheck::UntilAnswered);
    }
    // Alone in the world: nobody could hold more of its chain.
    let has_peers = started.is_some_and(|started| started.porter.members.count() > 0);
    if !has_peers || settings.start_wait.is_zero() {
        return Ok(StartCheck::None);
    }
    Ok(StartCheck::Bounded(super::micros(settings.start_wait)))
}

/// Lets in: looks into the folder now and then, and answers those who come with an invitation.
pub(super) struct Porter {
    desk: Arc<Desk>,
    members: Members,
    handle: NetHandle,
    guests: mpsc::Receiver<Guest>,
    /// Told to joiners: this gateway's own, then those of its peers.
    addresses: Vec<String>,
}

impl Porter {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut answering = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = looks.tick() => self.look().await,
                Some(guest) = self.guests.recv(), if answering.len() < GUESTS_AT_ONCE => {
                    let (desk, members, handle) = (self.desk.clone(), self.members.clone(), self.handle.clone());
                    answering.spawn(answer(guest, desk, members, handle, self.addresses()));
                }
                Some(_) = answering.join_next(), if !answering.is_empty() => {}
            }
        }
        answering.shutdown().await;
    }

    async fn look(&self) {
        let desk = Arc::clone(&self.desk);
        let looked = tokio::task::spawn_blocking(move || desk.look(now_s())).await;
        match looked {
            Ok(Ok(look)) => {
                self.members.set_guests_open(look.guests);
                let new = look.admitted.iter().filter(|admitted| self.members.add(admitted.issuer)).count();
                if new > 0 {
                    self.handle.look();
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "invitations and admitted gateways cannot be read"),
            // The runtime ends.
            Err(_) => {}
        }
    }

    /// Own addresses first, then peers that this node dialled: those can be reached.
    fn addresses(&self) -> Vec<String> {
        let mut addresses = self.addresses.clone();
        for link in self.handle.status().links.iter().filter(|link| link.outgoing) {
            let address = link.address.to_string();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.truncate(ADDRESSES_MAX);
        addresses
    }
}

/// One guest, from its message to its goodbye.
async fn answer(
    mut guest: Guest,
    desk: Arc<Desk>,
    members: Members,
    handle: NetHandle,
    addresses: Vec<String>,
) {
    let issuer = guest.key.issuer();
    let who =
        crate::invite::Guest { key: guest.key.clone(), source: guest.address.ip(), exporter: guest.exporter };
    let answered = stream::serve(&mut guest.recv, &mut guest.send, desk, who, addresses, now_s()).await;
    let goodbye = match answered {
        Ok(answer) if answer.outcome.is_ok() => {
            if issuer != members.own() && members.add(issuer) {
                handle.look();
            }
            "welcome"
        }
        Ok(_) => "refused; the answer says why",
        Err(error) => {
            tracing::warn!(address = %guest.address, guest = ids::to_text(&issuer), %error, "a guest was not answered");
            "too slow, or the connection broke"
        }
    };
    guest.close(goodbye).await;
}

/// Seconds since 1970 UTC, by this machine's clock.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
