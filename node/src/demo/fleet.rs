//! The demo's gateways: founded together, started one after the other, looked at, stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use selvedge_core::border::PeerId;
use selvedge_core::{Issuer, Scheme};
use selvedge_crypto::SecretKey;
use zeroize::Zeroizing;

use super::cables::Cables;
use super::compare::Comparison;
use super::frame::{Frame, Look, Moment};
use super::wiring::{GATEWAYS_MAX, Messages, Network, Places, Task};
use crate::cli::Failed;
use crate::cli::init::Names;
use crate::config;
use crate::folder::{Contents, Folder, SALT_KEY_BYTES};
use crate::gateway::Gateway;
use crate::introduction::{Introduction, found};
use crate::net::NetStatus;

/// What the network is called.
pub const NETWORK: &str = "bottling";

/// Whose gateways they are: gateway, organisation. An organisation may have several.
const PARTNERS: [(&str, &str); GATEWAYS_MAX] = [
    ("filler-gateway", "Plant owner"),
    ("maker-gateway", "Machine maker"),
    ("service-gateway", "Maintainer"),
    ("audit-gateway", "Auditor"),
    ("line-gateway", "Plant owner"),
    ("remote-gateway", "Machine maker"),
    ("spare-gateway", "Maintainer"),
];

/// What everything of one gateway is called.
pub fn names_of(gateway: usize) -> Names {
    let (name, organisation) = PARTNERS[gateway];
    Names { network: NETWORK.into(), organisation: organisation.into(), gateway: name.into() }
}

/// Makes a data folder for each of `count` gateways under `root`, with one genesis that names them all. The committee
/// is all of them.
///
/// # Errors
/// When the system gives no randomness, or a folder cannot be written.
pub fn found_network(root: &Path, count: usize) -> anyhow::Result<Vec<Folder>> {
    let mut organisations: BTreeMap<&str, SecretKey> = BTreeMap::new();
    let mut gateways = Vec::new();
    let mut introductions = Vec::new();
    for (name, organisation) in &PARTNERS[..count] {
        if !organisations.contains_key(organisation) {
            organisations.insert(organisation, SecretKey::generate(Scheme::MlDsa65)?);
        }
        let gateway = SecretKey::generate(Scheme::MlDsa44)?;
        let introduced = Introduction::new(organisation, &organisations[organisation], name, &gateway, true)?;
        introductions.push(introduced);
        gateways.push((*name, &PARTNERS[gateways.len()].1, gateway));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system gives no randomness")?;
    let genesis = found(NETWORK, random, &introductions, None)?.to_bytes();
    let mut folders = Vec::new();
    for (name, organisation, gateway) in &gateways {
        let mut salt_key = Zeroizing::new([0; SALT_KEY_BYTES]);
        getrandom::fill(salt_key.as_mut_slice()).context("the system gives no randomness")?;
        let contents = Contents {
            genesis: &genesis,
            gateway,
            organisation: organisations.get(**organisation),
            salt_key: &salt_key,
            config: "",
            passphrase: None,
            enrolment: None,
            further: &[],
            restored: false,
        };
        folders.push(Folder::create(&root.join(name), &contents)?);
    }
    Ok(folders)
}

/// The running gateways.
#[derive(Debug)]
pub struct Fleet {
    members: Vec<Member>,
    /// Where cables are to be cut.
    cables: Option<Cables>,
    /// The gateway whose cable is out.
    cut: Option<usize>,
    /// `None` while a look is under way.
    comparison: Option<Comparison>,
}

/// One of them.
#[derive(Debug)]
struct Member {
    folder: Folder,
    gateway: Gateway,
    traffic: Traffic,
}

/// Bytes of all connections that a gateway had.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    /// As last seen: a connection that ended is seen no more, and its bytes stay.
    by_peer: BTreeMap<PeerId, (u64, u64)>,
}

impl Traffic {
    fn note(&mut self, status: &NetStatus) {
        for link in &status.links {
            self.by_peer.insert(link.peer, (link.bytes_sent, link.bytes_received));
        }
    }

    /// UDP payload sent and received so far.
    pub fn totals(&self) -> (u64, u64) {
        self.by_peer.values().fold((0, 0), |sum, bytes| (sum.0 + bytes.0, sum.1 + bytes.1))
    }
}

/// What the gateways are to do.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The plant.
    pub plant: Places,
    /// Where part of its streams is published.
    pub messages: Option<&'a Messages>,
    /// Are cables to be cut?
    pub has_cables: bool,
}

impl Fleet {
    /// Starts them, one after the other: each dials those before it, so that all are connected to all.
    ///
    /// # Errors
    /// When one cannot be started.
    pub async fn start(folders: &[Folder], work: Work<'_>) -> anyhow::Result<Self> {
        let count = folders.len();
        let cables = if work.has_cables {
            Some(Cables::lay(count).await.context("the system gives no ports for the cables")?)
        } else {
            None
        };
        let issuers: Vec<Issuer> = folders.iter().map(Folder::issuer).collect();
        let comparison = Some(Comparison::new(issuers));
        let mut fleet = Self { members: Vec::new(), cables, cut: None, comparison };
        let mut peers = Vec::new();
        for (place, folder) in folders.iter().enumerate() {
            let advertise = fleet.cables.as_ref().map(|cables| cables.address(place));
            let network = Network { advertise, peers: peers.clone() };
            let task = Task {
                gateway: place,
                count,
                plant: work.plant,
                messages: work.messages,
                network: (count > 1).then_some(&network),
            };
            let config = folder.config_path();
            std::fs::write(&config, task.configuration())
                .with_context(|| format!("cannot write {}", config.display()))?;
            let gateway = Gateway::start(folder, config::load(&config)?, None)
                .await
                .with_context(|| format!("gateway {:?} does not start", folder.name()))?;
            if let Some(at) = gateway.network_address() {
                if let Some(cables) = &fleet.cables {
                    cables.plug_in(place, at);
                }
                peers.push(advertise.unwrap_or(at));
            }
            fleet.members.push(Member { folder: folder.clone(), gateway, traffic: Traffic::default() });
        }
        Ok(fleet)
    }

    /// Pulls the cable of a gateway out.
    pub fn cut(&mut self, gateway: usize) {
        if let Some(cables) = &self.cables {
            cables.cut(gateway);
            self.cut = Some(gateway);
        }
    }

    /// Puts the cable back.
    pub fn heal(&mut self) {
        if let (Some(cables), Some(gateway)) = (&self.cables, self.cut.take()) {
            cables.heal(gateway);
        }
    }

    /// The gateway whose cable is out.
    pub const fn is_cut(&self) -> Option<usize> {
        self.cut
    }

    /// Packets that were lost to a cable that was out.
    pub fn packets_lost(&self) -> u64 {
        self.cables.as_ref().map_or(0, Cables::lost)
    }

    /// Has one of them halted by itself? Why, [`stop`](Self::stop) says.
    pub fn has_halted(&self) -> bool {
        self.members.iter().any(|member| member.gateway.live().borrow().halted.is_some())
    }

    /// Bytes that all of them have put on the wire.
    pub fn bytes_sent(&self) -> u64 {
        self.members.iter().map(|member| member.traffic.totals().0).sum()
    }

    /// Looks at all of them.
    ///
    /// # Errors
    /// When a store cannot be read.
    pub async fn look(&mut self, moment: Moment) -> anyhow::Result<Frame> {
        let mut looks = Vec::new();
        for (place, member) in self.members.iter_mut().enumerate() {
            let status = member.gateway.network().map(|network| network.status());
            if let Some(status) = &status {
                member.traffic.note(status);
            }
            looks.push(Look {
                name: member.folder.name().to_owned(),
                reader: member.gateway.reader(),
                live: Arc::clone(&member.gateway.live().borrow()),
                peers: status.map_or(0, |status| status.links.len()),
                traffic: member.traffic.totals(),
                is_cut: self.cut == Some(place),
            });
        }
        let mut comparison = self.comparison.take().context("the look before this one failed")?;
        // It reads files, and the runtime has adapters to serve.
        let looked = tokio::task::spawn_blocking(move || {
            let frame = Frame::take(&looks, &mut comparison, moment);
            frame.map(|frame| (frame, comparison))
        });
        let (frame, comparison) = looked.await??;
        self.comparison = Some(comparison);
        Ok(frame)
    }

    /// No more readings; everything else goes on.
    pub async fn stop_readings(&mut self) {
        for member in &mut self.members {
            member.gateway.stop_readings().await;
        }
    }

    /// Stops them, all at once.
    ///
    /// # Errors
    /// Why one halted, or why a store could not be closed.
    pub async fn stop(self) -> anyhow::Result<()> {
        let mut stopping = Vec::new();
        for Member { folder, gateway, .. } in self.members {
            stopping.push((folder, tokio::spawn(gateway.stop())));
        }
        for (folder, stopped) in stopping {
            stopped.await?.map_err(|why| Failed(format!("gateway {:?}: {why:#}", folder.name())))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_genesis_names_all_of_them_and_all_are_its_committee() {
        let root = tempfile::tempdir().unwrap();
        for count in [1, 4, GATEWAYS_MAX] {
            let folders = found_network(&root.path().join(count.to_string()), count).expect("founded");
            let genesis = folders[0].genesis();
            assert_eq!((genesis.members.len(), genesis.committee.len()), (count, count));
            assert_eq!(genesis.organisations.len(), count.min(4));
            for (place, folder) in folders.iter().enumerate() {
                assert_eq!(folder.genesis_bytes(), folders[0].genesis_bytes());
                assert_eq!((folder.name(), folder.enrolment()), (names_of(place).gateway.as_str(), None));
            }
        }
    }
}
