//! `peers`: who is connected, who is not and why, and who was refused.

mod words;

use std::collections::BTreeMap;

use selvedge_core::Issuer;
use selvedge_core::node::PeerStatus;
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::live::Live;
use super::shown::Time;
use super::{Answers, AskError};
use crate::net::{Closed, LinkStatus, NetStatus};

/// Reasons for which strangers were refused that are listed, the most frequent first.
const REASONS_SHOWN: usize = 16;

/// The peers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersAnswer {
    /// When it was asked.
    pub asked: Time,
    /// Does a node run, and has it a network? Without, nothing else is known.
    pub network: NetworkState,
    /// Where it waits for peers.
    pub listen: Option<String>,
    /// Own transactions that no peer has said to hold; `None`: no peer has said anything yet.
    pub unshared: Option<u64>,
    /// Connections, the oldest first.
    pub peers: Vec<PeerAnswer>,
    /// Addresses and members that are to be reached and are not.
    pub missing: Vec<MissingAnswer>,
    /// Members whose connection ended and that this node does not dial.
    pub gone: Vec<GoneAnswer>,
    /// Who broke rules since the start, connected or not.
    pub faulty: Vec<FaultyAnswer>,
    /// Whoever was not let in.
    pub refused: RefusedAnswer,
}

/// Is there a network?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkState {
    /// It is up.
    Up,
    /// The configuration has none.
    None,
    /// No node runs.
    NotRunning,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAnswer {
    /// Who: its identity.
    pub id: String,
    /// Its name; none before its enrolment is known here.
    pub name: Option<String>,
    /// Its organisation.
    pub organisation: Option<String>,
    /// Is it in the committee?
    pub committee: bool,
    /// Its address; none in the moment in which the connection ends.
    pub address: Option<String>,
    /// Did this node dial it?
    pub outgoing: Option<bool>,
    /// Since when.
    pub since: Option<Time>,
    /// Name and version of its program; none before its first word.
    pub software: Option<String>,
    /// Transactions that it holds and this node lacks, as far as it said.
    pub ahead: u64,
    /// Transactions that it lacked when it last said what it holds.
    pub behind: u64,
    /// The newest of this gateway's own transactions that it holds, by sequence; none: it has not said.
    pub holds_own: Option<u64>,
    /// Are whole transactions pushed to it (or their names announced)?
    pub eager: bool,
    /// Round trip, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Bytes sent, of UDP.
    pub bytes_sent: u64,
    /// Bytes received, of UDP.
    pub bytes_received: u64,
    /// Packets that were lost and sent again.
    pub packets_lost: u64,
    /// Bytes that wait for it.
    pub queued_bytes: u64,
    /// Frames for it that were dropped, since its queue was full.
    pub frames_dropped: u64,
    /// Transactions sent to it from the log.
    pub served: u64,
    /// What it may still do before it is slowed down or sent away.
    pub budget: BudgetAnswer,
    /// Transactions of its that wait here for what they refer to.
    pub pending: u64,
    /// Transactions that came from it first and are in the ledger.
    pub attached: u64,
    /// Transactions that came from it and were here already.
    pub repeated: u64,
    /// Requests of its beyond its budget, not answered.
    pub ignored: u64,
    /// Rules that it broke on this connection.
    pub faults: u64,
    /// The last of them, in words.
    pub last_fault: Option<String>,
}

/// See [`PeerAnswer::budget`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetAnswer {
    /// Useless bytes that it may send before it is sent away.
    pub waste_bytes: u64,
    /// Transactions that it may ask for at once.
    pub wants: u64,
}

/// Somebody to be reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingAnswer {
    /// As the configuration has it, or the addresses that were learnt.
    pub address: String,
    /// Does the configuration name it?
    pub configured: bool,
    /// Who it is, when that is known.
    pub id: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Is it being dialled now?
    pub dialling: bool,
    /// Attempts that failed since the last good one.
    pub failures: u32,
    /// Why the last one failed, in words.
    pub reason: Option<String>,
    /// When it is tried again.
    pub next_attempt: Option<Time>,
    /// How its last connection ended, when it had one.
    pub ended: Option<GoneAnswer>,
}

/// A member whose connection ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneAnswer {
    /// Who.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Where it was.
    pub address: String,
    /// When it ended.
    pub at: Time,
    /// Why, in words.
    pub reason: String,
}

/// Somebody who broke rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultyAnswer {
    /// Who.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// How often since the start.
    pub count: u64,
    /// The last time, in words.
    pub last: String,
    /// When that was.
    pub at: Time,
}

/// Whoever was not let in, since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedAnswer {
    /// Unknown keys.
    pub strangers: u64,
    /// Members that had been sent away for a while.
    pub put_off: u64,
    /// Connections with this gateway's own key.
    pub own_key: u64,
    /// First packets that were turned away before a handshake: too many at once.
    pub turned_away: u64,
    /// Addresses that had to prove themselves first.
    pub had_to_prove: u64,
    /// The newest of them by reason.
    pub reasons: Vec<ReasonAnswer>,
}

/// Why strangers were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonAnswer {
    /// In words.
    pub reason: String,
    /// From so many addresses of those that are remembered.
    pub addresses: u64,
    /// The last of them.
    pub last_address: String,
    /// When.
    pub last: Time,
}

impl Answers {
    /// The peers.
    ///
    /// # Errors
    /// When the store, which holds the names of members, cannot be read.
    pub fn peers(&self, asked: Time) -> Result<PeersAnswer, AskError> {
        let mut answer = PeersAnswer {
            asked,
            network: NetworkState::NotRunning,
            listen: None,
            unshared: None,
            peers: Vec::new(),
            missing: Vec::new(),
            gone: Vec::new(),
            faulty: Vec::new(),
            refused: RefusedAnswer::default(),
        };
        let Some(live) = self.live.as_deref() else { return Ok(answer) };
        answer.network = NetworkState::None;
        let Some(net) = live.net.as_deref() else { return Ok(answer) };
        answer.network = NetworkState::Up;
        answer.listen = live.listen.map(|listen| listen.to_string());
        answer.unshared = live.ledger.unshared;
        answer.refused = refused(net);
        for peer in &live.peers {
            let link = net.links.iter().find(|link| link.peer == peer.peer);
            answer.peers.push(self.peer(peer, link)?);
        }
        answer.peers.sort_by_key(|peer| peer.since);
        self.absent(&mut answer, live, net)?;
        for (issuer, faulty) in &live.faulty {
            answer.faulty.push(FaultyAnswer {
                id: ids::to_text(issuer),
                name: self.name(issuer)?,
                count: faulty.count,
                last: faulty.last.clone(),
                at: Time(faulty.at_ns),
            });
        }
        Ok(answer)
    }

    fn name(&self, issuer: &Issuer) -> Result<Option<String>, AskError> {
        Ok(self.issuer_name(issuer)?.map(|(name, _)| name))
    }

    fn peer(&self, peer: &PeerStatus, link: Option<&LinkStatus>) -> Result<PeerAnswer, AskError> {
        let (name, organisation) = self.issuer_name(&peer.issuer)?.unzip();
        let queued = |link: &LinkStatus| (link.fresh.bytes + link.bulk.bytes) as u64;
        Ok(PeerAnswer {
            id: ids::to_text(&peer.issuer),
            name,
            organisation,
            committee: peer.member,
            address: link.map(|link| link.address.to_string()),
            outgoing: link.map(|link| link.outgoing),
            since: link.map(|link| Time(link.since_ns)),
            software: Some(peer.software.clone()).filter(|software| !software.is_empty()),
            ahead: peer.ahead,
            behind: peer.behind,
            holds_own: peer.holds_own,
            eager: peer.eager,
            round_trip_us: link.map(|link| link.round_trip_us),
            bytes_sent: link.map_or(0, |link| link.bytes_sent),
            bytes_received: link.map_or(0, |link| link.bytes_received),
            packets_lost: link.map_or(0, |link| link.packets_lost),
            queued_bytes: link.map_or(0, queued),
            frames_dropped: link.map_or(0, |link| link.fresh.dropped + link.bulk.dropped),
            served: link.map_or(0, |link| link.served),
            budget: BudgetAnswer { waste_bytes: peer.waste_left, wants: peer.wants_left },
            pending: peer.pending as u64,
            attached: peer.counts.attached,
            repeated: peer.counts.repeated,
            ignored: peer.counts.ignored,
            faults: peer.counts.faults,
            last_fault: Some(peer.counts.last_fault.clone()).filter(|fault| !fault.is_empty()),
        })
    }

    /// Those who are not connected.
    fn absent(&self, answer: &mut PeersAnswer, live: &Live, net: &NetStatus) -> Result<(), AskError> {
        let is_up = |issuer: &Issuer| live.peers.iter().any(|peer| peer.issuer == *issuer);
        // Up already, and the dialler has not said so yet.
        let is_there = |to: &str| net.links.iter().any(|l| l.outgoing && l.address.to_string() == to);
        let ended = |issuer: Issuer| net.closed.iter().find(|closed| closed.issuer == Some(issuer));
        for dial in &net.dials {
            if dial.issuer.as_ref().is_some_and(is_up) || (dial.dialling && is_there(&dial.to)) {
                continue;
            }
            let ended = dial.issuer.and_then(|issuer| Some((issuer, ended(issuer)?)));
            let name = dial.issuer.as_ref().map(|issuer| self.name(issuer)).transpose()?.flatten();
            let next = dial.next.and_then(|next| i64::try_from(next.as_nanos()).ok());
            answer.missing.push(MissingAnswer {
                address: dial.to.clone(),
                configured: dial.configured,
                id: dial.issuer.as_ref().map(ids::to_text),
                name,
                dialling: dial.dialling,
                failures: dial.failures,
                reason: dial.last.clone(),
                next_attempt: next.map(|next| Time(answer.asked.0.saturating_add(next))),
                ended: ended.map(|(issuer, closed)| self.gone(issuer, closed)).transpose()?,
            });
        }
        for closed in &net.closed {
            let Some(issuer) = closed.issuer.filter(|issuer| !is_up(issuer)) else { continue };
            if net.dials.iter().any(|dial| dial.issuer == Some(issuer)) {
                continue;
            }
            answer.gone.push(self.gone(issuer, closed)?);
        }
        Ok(())
    }

    fn gone(&self, issuer: Issuer, closed: &Closed) -> Result<GoneAnswer, AskError> {
        Ok(GoneAnswer {
            id: ids::to_text(&issuer),
            name: self.name(&issuer)?,
            address: closed.address.to_string(),
            at: Time(closed.at_ns),
            reason: closed.why.clone(),
        })
    }
}

fn refused(net: &NetStatus) -> RefusedAnswer {
    let mut by_reason: BTreeMap<&str, (u64, &Closed)> = BTreeMap::new();
    // The newest first.
    for closed in net.closed.iter().filter(|closed| closed.issuer.is_none()) {
        by_reason.entry(&closed.why).and_modify(|(count, _)| *count += 1).or_insert((1, closed));
    }
    let mut reasons: Vec<ReasonAnswer> = by_reason
        .into_values()
        .map(|(addresses, newest)| ReasonAnswer {
            reason: newest.why.clone(),
            addresses,
            last_address: newest.address.to_string(),
            last: Time(newest.at_ns),
        })
        .collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse((reason.addresses, reason.last)));
    reasons.truncate(REASONS_SHOWN);
    RefusedAnswer {
        strangers: net.members.strangers,
        put_off: net.members.put_off,
        own_key: net.members.ourselves,
        turned_away: net.gate.turned_away,
        had_to_prove: net.gate.retried,
        reasons,
    }
}
