//! What is remembered of each peer and of what peers said. The rules are in [`node`](crate::node): `peers`, `spread`,
//! `catch_up` and `own_chain`.
//!
//! Dissemination follows Plumtree (Leitão et al., "Epidemic Broadcast Trees", 2007): bodies go along eager links, ids
//! along lazy ones; a body that comes twice prunes its link, an id whose body does not come grafts it. Catch-up compares
//! frontiers: each issuer's chain is gapless, so the newest sequence of each says it all.

pub(crate) mod budget;

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;

use crate::border::{Head, PeerId, Ticket};
use crate::hash::{Hash, Id, Issuer};
use crate::limits;
use crate::transaction::Reference;
use crate::wire::{ChainHead, ChainRange, Have, Hello, StartId};
use budget::Bucket;

/// Heads that fetches did not bring: how often that was, and until when they are not asked for, in microseconds.
pub(crate) type GivenUp = BTreeMap<Id, (u32, u64)>;

/// A connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) issuer: Issuer,
    pub(crate) outgoing: bool,
    pub(crate) since_us: u64,
    /// What it said first; nothing else is heard before.
    pub(crate) hello: Option<Hello>,
    /// Are bodies pushed to it? Else their ids are announced.
    pub(crate) eager: bool,
    /// Ids that wait to be announced, and since when the oldest does.
    pub(crate) announce: Vec<Reference>,
    pub(crate) announce_at_us: Option<u64>,
    pub(crate) budget: Budget,
    pub(crate) counts: Counts,
    /// Heads of its frontier that are not held here, with the number of fetches that did not bring them.
    pub(crate) ahead: BTreeMap<Issuer, Vec<(ChainHead, u32)>>,
    /// Heads of its that several fetches did not bring, further bodies of forked places or lies: how often that was,
    /// and until when they are not asked for.
    pub(crate) given_up: GivenUp,
    /// Transactions that it lacked when it last sent its frontier.
    pub(crate) behind: u64,
    /// Does what arrives now belong to a frontier of several parts?
    pub(crate) frontier_open: bool,
    /// Chains in the parts of it so far.
    pub(crate) frontier_chains: usize,
    pub(crate) digest: DigestTimer,
    pub(crate) frontier_sent_us: Option<u64>,
    /// What it said it holds of this node's own chain; `None`: nothing yet.
    pub(crate) claim: Option<Have>,
    /// What it was told that this node holds of its chain; `None`: nothing yet.
    pub(crate) told: Option<Have>,
    pub(crate) tell_at_us: Option<u64>,
    /// What it is told next, once it is durable.
    pub(crate) telling: Option<Head>,
    /// Transactions of its own chain that it has lost and that wait here, and whether it got them back.
    pub(crate) lost: Vec<(Id, bool)>,
    /// The newest of its own chain that it has itself sent or announced on this connection.
    pub(crate) own_sent: Option<u64>,
    /// The last one that it has sent of this node's own, and that this node lacked: more may follow until it has answered.
    pub(crate) gave_back: Option<u64>,
    /// It is answered then, even if the signature of one of them is still being checked.
    pub(crate) answer_by_us: u64,
    /// It is one of two machines with one key, was told so, and is closed then.
    pub(crate) leaves_us: Option<u64>,
    /// The fetch of its that is being served.
    pub(crate) serving: Option<Ticket>,
    /// Wants of its that are being served.
    pub(crate) serving_ids: u32,
}

/// What a peer may use up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) waste: Bucket,
    pub(crate) wants: Bucket,
    pub(crate) faults: Bucket,
    pub(crate) short: Bucket,
    pub(crate) fetches: Bucket,
}

impl Budget {
    const fn new(now_us: u64) -> Self {
        Self {
            waste: Bucket::per_second(limits::WASTE_BYTES_BURST, limits::WASTE_BYTES_PER_SECOND, now_us),
            wants: Bucket::per_second(limits::WANTS_BURST, limits::WANTS_PER_SECOND, now_us),
            faults: Bucket::per_minute(limits::FAULTS_BURST, limits::FAULTS_PER_MINUTE, now_us),
            fetches: Bucket::per_second(limits::FETCHES_BURST, limits::FETCHES_PER_SECOND, now_us),
            short: Bucket::per_second(limits::SHORT_FRAMES_BURST, limits::SHORT_FRAMES_PER_SECOND, now_us),
        }
    }
}

/// What a peer did, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames received.
    pub frames: u64,
    /// Frames of a kind that this version does not know.
    pub unknown: u64,
    /// Transactions that came from it first and are attached.
    pub attached: u64,
    /// Transactions that came from it and were here already.
    pub repeated: u64,
    /// Requests of its beyond its budget, not answered.
    pub ignored: u64,
    /// Broken rules.
    pub faults: u64,
    /// The last of them, in words.
    pub last_fault: String,
}

/// When the digest goes out next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DigestTimer {
    pub(crate) at_us: u64,
    pub(crate) wait_us: u64,
}

impl Peer {
    pub(crate) const fn new(id: PeerId, issuer: Issuer, outgoing: bool, now_us: u64) -> Self {
        Self {
            id,
            issuer,
            outgoing,
            since_us: now_us,
            hello: None,
            eager: false,
            announce: Vec::new(),
            announce_at_us: None,
            budget: Budget::new(now_us),
            counts: Counts {
                frames: 0,
                unknown: 0,
                attached: 0,
                repeated: 0,
                ignored: 0,
                faults: 0,
                last_fault: String::new(),
            },
            ahead: BTreeMap::new(),
            given_up: BTreeMap::new(),
            behind: 0,
            frontier_open: false,
            frontier_chains: 0,
            digest: DigestTimer { at_us: now_us, wait_us: limits::DIGEST_FIRST_US },
            frontier_sent_us: None,
            claim: None,
            told: None,
            tell_at_us: None,
            telling: None,
            lost: Vec::new(),
            own_sent: None,
            gave_back: None,
            answer_by_us: now_us,
            leaves_us: None,
            serving: None,
            serving_ids: 0,
        }
    }

    /// When something of this peer is due.
    fn deadline(&self) -> u64 {
        if let Some(at) = self.leaves_us {
            return at;
        }
        if self.hello.is_none() {
            return self.since_us + limits::HELLO_WITHIN_US;
        }
        let announce = self.announce_at_us.map_or(u64::MAX, |at| at + limits::ANNOUNCE_US);
        self.digest.at_us.min(announce).min(self.tell_at_us.unwrap_or(u64::MAX))
    }
}

/// A fetch under way.
#[derive(Debug)]
pub(crate) struct Fetching {
    pub(crate) peer: PeerId,
    /// What is still to come: of each issuer what follows its chain here, and branches that are not here.
    pub(crate) ranges: Vec<ChainRange>,
    /// Is an answer under way? Else the next page is asked for when there is room.
    pub(crate) asked: bool,
    /// Has this page brought something that was expected?
    pub(crate) fruitful: bool,
    /// When it last did.
    pub(crate) progress_us: u64,
    /// When this page was asked for, and the first one.
    pub(crate) page_us: u64,
    pub(crate) since_us: u64,
}

impl Fetching {
    /// The ranges of one issuer; they ascend by issuer.
    pub(crate) fn of(&self, issuer: &Issuer) -> Option<&[ChainRange]> {
        let from = self.ranges.partition_point(|r| r.issuer < *issuer);
        let count = self.ranges[from..].partition_point(|r| r.issuer == *issuer);
        (count > 0).then(|| &self.ranges[from..from + count])
    }

    /// This came: it need not come again. Says whether it was expected. One that was asked for by its id as well says
    /// nothing of what stands before it on its chain.
    pub(crate) fn brought(&mut self, issuer: &Issuer, sequence: u64, by_id: bool) -> bool {
        let from = self.ranges.partition_point(|r| r.issuer < *issuer);
        let count = self.ranges[from..].partition_point(|r| r.issuer == *issuer);
        let (mut is_over, mut is_expected) = (false, false);
        for range in &mut self.ranges[from..from + count] {
            if (range.from..=range.to).contains(&sequence) && (!by_id || sequence == range.from) {
                range.from = sequence + 1;
                is_expected = true;
                is_over |= range.from > range.to;
            }
        }
        if is_over {
            self.ranges.retain(|r| r.from <= r.to);
        }
        is_expected
    }

    /// Will this fetch bring the transaction?
    pub(crate) fn covers(&self, reference: &Reference) -> bool {
        let covers = |r: &ChainRange| (r.from..=r.to).contains(&reference.sequence);
        self.of(&reference.issuer).is_some_and(|ranges| ranges.iter().any(covers))
    }
}

/// A transaction that was announced and is not here.
#[derive(Debug)]
pub(crate) struct Announced {
    /// Who announced it, in that order.
    pub(crate) peers: VecDeque<PeerId>,
    pub(crate) due_us: u64,
}

/// What walks from heads of frontiers down what waits here have found, in one state of it.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    /// Of each waiting transaction that was passed: the first below it that is neither attached nor waiting.
    pub(crate) found: BTreeMap<Id, Option<Reference>>,
    /// Steps that were taken.
    pub(crate) looked_at: u64,
}

/// What outlives the connections to an issuer.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// The newest start that said hello, and when.
    pub(crate) newest: Option<StartId>,
    /// Starts that a newer one took the place of.
    pub(crate) replaced: VecDeque<StartId>,
    /// How often it was sent away for breaking rules.
    pub(crate) sent_away: u32,
    /// Was it said already that two machines use its key?
    pub(crate) twins: bool,
    /// What was left of its budgets, and what it could not bring, when its last connection ended.
    pub(crate) left: Option<(Budget, GivenUp)>,
    /// Until when its word is believed that it holds more of this node's own chain: once, not each time it says so.
    pub(crate) claim_until_us: Option<u64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gossip {
    peers: Vec<Peer>,
    /// When something of a peer is due first; `None`: a peer may have changed since that was last asked.
    peers_due_us: Cell<Option<u64>>,
    pub(crate) announced: BTreeMap<Reference, Announced>,
    /// No announced id is due before this.
    pub(crate) graft_at_us: Option<u64>,
    pub(crate) fetching: Option<Fetching>,
    /// Whom the last fetch asked: the next one asks another first.
    pub(crate) fetched_from: Option<PeerId>,
    /// So much of what it brought was announced to others.
    pub(crate) fetched_announced: u32,
    /// Steps that all walks below heads of frontiers took since the start. See [`Walked`].
    pub(crate) looked_at: u64,
    remembered: BTreeMap<Issuer, Remembered>,
    /// Loads that ask whether heads of a frontier are attached below the window.
    pub(crate) checking: BTreeMap<Ticket, (PeerId, Vec<Reference>)>,
    /// When the frontier last changed, and its digest since then.
    pub(crate) changed_us: u64,
    pub(crate) digest: Option<Hash>,
}

impl Gossip {
    pub(crate) fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.iter().find(|p| p.id == peer)
    }
    pub(crate) fn get_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers_mut().iter_mut().find(|p| p.id == peer)
    }
    /// Every change of a peer goes through here.
    fn peers_mut(&mut self) -> &mut Vec<Peer> {
        self.peers_due_us.set(None);
        &mut self.peers
    }
    pub(crate) fn peers(&self) -> &[Peer] {
        &self.peers
    }
    /// Those that have said hello.
    pub(crate) fn greeted(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|p| p.hello.is_some())
    }
    pub(crate) fn greeted_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.peers_mut().iter_mut().filter(|p| p.hello.is_some())
    }
    pub(crate) fn is_full(&self) -> bool {
        self.peers.len() >= limits::PEERS_MAX
    }
    /// A new connection. What its issuer has used up on earlier ones stays used up, and what it could not bring is not
    /// asked for again.
    pub(crate) fn insert(&mut self, mut peer: Peer) {
        let elsewhere = self.peers.iter().find(|p| p.issuer == peer.issuer).map(|p| p.budget);
        let remembered = self.remembered.get_mut(&peer.issuer);
        if let Some((budget, given_up)) = remembered.and_then(|r| r.left.take()) {
            peer.budget = budget;
            peer.given_up = given_up;
        }
        peer.budget = elsewhere.unwrap_or(peer.budget);
        self.peers_mut().push(peer);
    }

    /// Forgets a connection. What was asked of it is asked of others.
    pub(crate) fn remove(&mut self, peer: PeerId) {
        if let Some(place) = self.peers.iter().position(|p| p.id == peer) {
            let gone = self.peers_mut().remove(place);
            self.remember(gone.issuer).left = Some((gone.budget, gone.given_up));
        }
        self.checking.retain(|_, (of, _)| *of != peer);
        if self.fetching.as_ref().is_some_and(|f| f.peer == peer) {
            self.fetching = None;
        }
        self.announced.retain(|_, announced| {
            announced.peers.retain(|p| *p != peer);
            !announced.peers.is_empty()
        });
        self.keep_one_eager();
    }

    /// Without any eager link everything would wait for a graft.
    pub(crate) fn keep_one_eager(&mut self) {
        if self.greeted().all(|p| !p.eager)
            && let Some(first) = self.greeted_mut().next()
        {
            first.eager = true;
        }
    }

    pub(crate) fn eager_links(&self) -> usize {
        self.peers.iter().filter(|p| p.eager).count()
    }

    /// Until when this issuer's claim is believed.
    pub(crate) fn claim_until_us(&self, issuer: &Issuer) -> Option<u64> {
        self.remembered.get(issuer)?.claim_until_us
    }

    /// What is remembered of an issuer; the oldest name goes when there are too many.
    pub(crate) fn remember(&mut self, issuer: Issuer) -> &mut Remembered {
        if self.remembered.len() >= limits::REMEMBERED_ISSUERS_MAX && !self.remembered.contains_key(&issuer) {
            let idle = self.remembered.keys().find(|i| self.peers.iter().all(|p| p.issuer != **i)).copied();
            if let Some(idle) = idle {
                self.remembered.remove(&idle);
            }
        }
        self.remembered.entry(issuer).or_default()
    }

    /// Something was attached: the frontier is another one, and digests are due soon.
    pub(crate) fn changed(&mut self, now_us: u64) {
        self.changed_us = now_us;
        self.digest = None;
        for peer in self.peers_mut() {
            peer.digest.wait_us = limits::DIGEST_FIRST_US;
            peer.digest.at_us = peer.digest.at_us.min(now_us + limits::DIGEST_FIRST_US);
        }
    }

    /// When something is due. Asked for twice with every input, so peers are looked at only when one may have changed.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let of_peers = || self.peers.iter().map(Peer::deadline).min().unwrap_or(u64::MAX);
        let peers = self.peers_due_us.get().unwrap_or_else(of_peers);
        self.peers_due_us.set(Some(peers));
        let fetch = self.fetching.as_ref().map(|f| f.progress_us + limits::FETCH_TIMEOUT_US);
        let first = peers.min(self.graft_at_us.unwrap_or(u64::MAX)).min(fetch.unwrap_or(u64::MAX));
        (first < u64::MAX).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_follows_every_change_of_a_peer() {
        let mut gossip = Gossip::default();
        assert_eq!(gossip.deadline(), None);
        let (first, second) = (PeerId(1), PeerId(2));
        gossip.insert(Peer::new(first, Issuer([1; 32]), true, 1_000));
        assert_eq!(gossip.deadline(), Some(1_000 + limits::HELLO_WITHIN_US));
        gossip.insert(Peer::new(second, Issuer([2; 32]), true, 500));
        assert_eq!(gossip.deadline(), Some(500 + limits::HELLO_WITHIN_US));
        gossip.get_mut(second).expect("it is connected").leaves_us = Some(400);
        assert_eq!(gossip.deadline(), Some(400));
        gossip.get_mut(second).expect("it is connected").leaves_us = Some(600);
        assert_eq!(gossip.deadline(), Some(600));
        gossip.graft_at_us = Some(300);
        assert_eq!(gossip.deadline(), Some(300));
        gossip.graft_at_us = None;
        gossip.remove(second);
        assert_eq!(gossip.deadline(), Some(1_000 + limits::HELLO_WITHIN_US));
        let known = gossip.get_mut(first).expect("it is connected");
        known.leaves_us = Some(900);
        assert_eq!(gossip.deadline(), Some(900));
        gossip.remove(first);
        assert_eq!(gossip.deadline(), None);
    }

    #[test]
    fn a_change_of_the_frontier_makes_digests_due_soon() {
        let mut gossip = Gossip::default();
        let mut peer = Peer::new(PeerId(1), Issuer([1; 32]), true, 0);
        peer.hello = Some(Hello {
            lowest: 0,
            highest: 0,
            features: 0,
            network: crate::hash::NetworkId([3; 32]),
            frame_bytes_max: 0,
            head: None,
            start: StartId([4; 16]),
            software: String::new(),
        });
        peer.digest.at_us = 60_000_000;
        gossip.insert(peer);
        assert_eq!(gossip.deadline(), Some(60_000_000));
        gossip.changed(1_000);
        assert_eq!(gossip.deadline(), Some(1_000 + limits::DIGEST_FIRST_US));
        for known in gossip.greeted_mut() {
            known.tell_at_us = Some(7);
        }
        assert_eq!(gossip.deadline(), Some(7));
    }
}
