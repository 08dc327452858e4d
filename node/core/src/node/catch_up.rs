//! Catching up: digests, frontiers, and the fetch of what a peer has and this node lacks.

use alloc::vec::Vec;

use crate::border::{Effect, Now, PeerId, Serve, Ticket};
use crate::codec;
use crate::gossip::{Fetching, Peer, Walked};
use crate::hash::{Hash, Id, Issuer, context, derive};
use crate::limits;
use crate::record::Stored;
use crate::transaction::Reference;
use crate::wire::{ChainHead, ChainHeads, ChainRange, Digest, Fetch, Frontier, Message};

use super::Node;

impl Node {
    /// Everything attached, as heads of chains, ascending. Of the own chain only what is durable: a power cut must not
    /// make this a lie.
    fn frontier(&self) -> Vec<ChainHeads> {
        let own = self.config.issuer;
        let durable = self.own_chain.durable_head();
        let chains = self.issuers.iter().filter_map(|(issuer, chain)| {
            let mut heads: Vec<ChainHead> =
                chain.heads.iter().map(|h| ChainHead { sequence: h.sequence, id: h.id }).collect();
            if planted!(BranchesUntold) {
                heads.truncate(1);
            }
            if *issuer == own {
                let first = chain.heads.first()?;
                heads.retain(|h| h.id != first.id);
                heads.extend(durable);
            }
            heads.sort_unstable();
            (!heads.is_empty()).then_some(ChainHeads { issuer: *issuer, heads })
        });
        chains.collect()
    }

    fn frontier_digest(&mut self) -> Hash {
        if let Some(digest) = self.gossip.digest {
            return digest;
        }
        let digest = Hash(derive(context::FRONTIER, &codec::encode(&self.frontier())));
        self.gossip.digest = Some(digest);
        digest
    }

    /// Sends digests where they are due: soon after a change, ever more rarely while nothing changes.
    pub(super) fn digests_due(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let due: Vec<PeerId> =
            self.gossip.greeted().filter(|p| p.digest.at_us <= now_us).map(|p| p.id).collect();
        for peer in due {
            let frontier = self.frontier_digest();
            self.send(peer, &Message::Digest(Digest { frontier }), out);
            if let Some(known) = self.gossip.get_mut(peer) {
                known.digest.at_us = now_us + known.digest.wait_us;
                known.digest.wait_us = (known.digest.wait_us * 2).min(limits::DIGEST_LAST_US);
            }
        }
    }

    pub(super) fn digest_came(&mut self, now: Now, peer: PeerId, digest: Digest, out: &mut Vec<Effect>) {
        if self.frontier_digest() == digest.frontier {
            if let Some(known) = self.gossip.get_mut(peer) {
                known.ahead.clear();
                known.behind = 0;
            }
            return;
        }
        // While transactions are on their way frontiers differ by them: that is no reason to compare.
        let is_quiet = now.monotonic_us >= self.gossip.changed_us + limits::GRAFT_US;
        let Some(known) = self.gossip.get(peer) else { return };
        let since = known.frontier_sent_us.map(|at| now.monotonic_us.saturating_sub(at));
        let may = match since {
            None => true,
            Some(since) if is_quiet => since >= limits::FRONTIER_EVERY_US,
            Some(since) => since >= 10 * limits::FRONTIER_EVERY_US,
        };
        if may {
            self.send_frontier(now.monotonic_us, peer, out);
        }
    }

    fn send_frontier(&mut self, now_us: u64, peer: PeerId, out: &mut Vec<Effect>) {
        if let Some(known) = self.gossip.get_mut(peer) {
            known.frontier_sent_us = Some(now_us);
        }
        let chains = self.frontier();
        let mut parts = chains.chunks(limits::FRONTIER_CHAINS_MAX).peekable();
        if parts.peek().is_none() {
            self.send(peer, &Message::Frontier(Frontier { last: true, chains: Vec::new() }), out);
        }
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            self.send(peer, &Message::Frontier(Frontier { last, chains: part.to_vec() }), out);
        }
    }

    /// A peer says what it holds: what is missing here is noted, and fetched; what is missing there it is told.
    pub(super) fn frontier_came(
        &mut self,
        now: Now,
        peer: PeerId,
        frontier: &Frontier,
        out: &mut Vec<Effect>,
    ) {
        let Some(known) = self.gossip.get_mut(peer) else { return };
        if !known.budget.wants.take(frontier.chains.len() as u64, now.monotonic_us) {
            return self.ignored(peer);
        }
        if !core::mem::replace(&mut known.frontier_open, !frontier.last) {
            known.ahead.clear();
            known.behind = 0;
            known.frontier_chains = 0;
        }
        known.frontier_chains += frontier.chains.len();
        let mut unsure = Vec::new();
        let mut behind = 0;
        for chain in &frontier.chains {
            behind += self.lag_of(chain);
            for head in &chain.heads {
                self.note_head(now.monotonic_us, peer, chain.issuer, *head, &mut unsure);
            }
        }
        if let Some(known) = self.gossip.get_mut(peer) {
            known.behind += behind;
        }
        unsure.truncate(limits::REFERENCES_PER_ASK_MAX);
        if !unsure.is_empty() && self.gossip.checking.len() < 2 * limits::PEERS_MAX {
            let ticket = self.ticket();
            out.push(Effect::Load { ticket, references: unsure.clone() });
            self.gossip.checking.insert(ticket, (peer, unsure));
        }
        if frontier.last {
            self.answer_frontier(now, peer, out);
            self.plan_fetch(now, out);
        }
    }

    /// It lacks something, or knows fewer chains: then it should see this node's frontier too.
    fn answer_frontier(&mut self, now: Now, peer: PeerId, out: &mut Vec<Effect>) {
        let Some(known) = self.gossip.get(peer) else { return };
        let is_due =
            known.frontier_sent_us.is_none_or(|at| at + limits::FRONTIER_EVERY_US <= now.monotonic_us);
        let fewer = known.frontier_chains < self.issuers.with_heads();
        if is_due && (known.behind > 0 || fewer) {
            self.send_frontier(now.monotonic_us, peer, out);
        }
    }

    /// Transactions of a chain that its holder lacks, or branches of it.
    fn lag_of(&self, theirs: &ChainHeads) -> u64 {
        let issuer = theirs.issuer;
        let Some(ours) = self.issuers.get(&issuer) else { return 0 };
        let greatest = theirs.heads.iter().map(|h| h.sequence).max().unwrap_or(0);
        let fewer = ours.greatest.map_or(0, |greatest_here| greatest_here.saturating_sub(greatest));
        let is_held = |h: &ChainHead| self.holds(&Reference { issuer, sequence: h.sequence, id: h.id });
        if fewer > 0 || ours.heads.len() < 2 || !theirs.heads.iter().all(is_held) {
            return fewer;
        }
        // It names nothing that is not here: so a branch that it does not name it lacks.
        let is_named = |id: Id| theirs.heads.iter().any(|h| h.id == id);
        ours.heads.iter().filter(|h| !is_named(h.id)).count() as u64
    }

    fn note_head(
        &mut self,
        now_us: u64,
        peer: PeerId,
        issuer: Issuer,
        head: ChainHead,
        unsure: &mut Vec<Reference>,
    ) {
        let reference = Reference { issuer, sequence: head.sequence, id: head.id };
        if self.holds(&reference) {
            return;
        }
        let ours = self.issuers.get(&issuer).and_then(|c| c.greatest);
        if !self.window.is_whole() && ours >= Some(head.sequence) {
            // Below the window, or a branch that is not known: the store has to say.
            return unsure.push(reference);
        }
        self.note_ahead(now_us, peer, issuer, head);
    }

    fn note_ahead(&mut self, now_us: u64, peer: PeerId, issuer: Issuer, head: ChainHead) {
        let Some(known) = self.gossip.get_mut(peer) else { return };
        let before = known.given_up.get(&head.id).copied();
        if before.is_some_and(|(_, until)| now_us < until) {
            return;
        }
        // Asked for before: now as a whole branch, and once.
        let attempts = if before.is_some() { WHOLE_AFTER } else { 0 };
        if known.ahead.len() < limits::AHEAD_MAX || known.ahead.contains_key(&issuer) {
            let heads = known.ahead.entry(issuer).or_default();
            if heads.len() < limits::BRANCHES_MAX && heads.iter().all(|(h, _)| *h != head) {
                heads.push((head, attempts));
            }
        }
    }

    /// The store said which heads of a frontier are attached below the window.
    pub(super) fn heads_checked(
        &mut self,
        now: Now,
        ticket: Ticket,
        found: &[Option<Stored>],
        out: &mut Vec<Effect>,
    ) {
        let Some((peer, references)) = self.gossip.checking.remove(&ticket) else { return };
        for (reference, stored) in references.iter().zip(found) {
            if stored.is_none() && !self.holds(reference) {
                let head = ChainHead { sequence: reference.sequence, id: reference.id };
                self.note_ahead(now.monotonic_us, peer, reference.issuer, head);
            }
        }
        self.plan_fetch(now, out);
    }

    /// Is it attached, as far as memory shows?
    fn holds(&self, reference: &Reference) -> bool {
        let is_head = || {
            let chain = self.issuers.get(&reference.issuer);
            chain.is_some_and(|c| c.heads.iter().any(|h| h.id == reference.id))
        };
        self.window.by_id(&reference.id).is_some() || is_head()
    }

    /// Transactions that a peer holds and this node lacks, as far as it said.
    pub(super) fn lacking(&self, peer: &Peer) -> u64 {
        let of_chain = |(issuer, heads): (&Issuer, &Vec<(ChainHead, u32)>)| {
            let ours = self.issuers.get(issuer).and_then(|c| c.greatest).map_or(0, |g| g + 1);
            heads.iter().map(|(h, _)| (h.sequence + 1).saturating_sub(ours).max(1)).max().unwrap_or(0)
        };
        // The peer may have said anything.
        peer.ahead.iter().map(of_chain).fold(0, u64::saturating_add)
    }

    /// Starts a fetch from a peer that is ahead, when none is under way: one at a time, so that nothing comes twice.
    pub(super) fn plan_fetch(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.gossip.fetching.is_some() {
            return;
        }
        let mut ahead = self.peers_ahead();
        // In turn, so that one that is slow, or lies, does not keep the others from being asked.
        let turn = ahead.iter().position(|p| Some(*p) > self.gossip.fetched_from).unwrap_or(0);
        ahead.rotate_left(turn);
        for peer in ahead {
            let ranges = self.ranges_from(now.monotonic_us, peer);
            if !ranges.is_empty() {
                let (progress_us, page_us) = (now.monotonic_us, now.monotonic_us);
                let (asked, fruitful) = (false, false);
                self.gossip.fetching =
                    Some(Fetching { peer, ranges, asked, fruitful, progress_us, page_us, since_us: page_us });
                self.gossip.fetched_from = Some(peer);
                self.gossip.fetched_announced = 0;
                self.pending.make_room_for_fetch(peer);
                return self.fetch_next(now, out);
            }
        }
    }

    fn peers_ahead(&self) -> Vec<PeerId> {
        let mut ahead: Vec<PeerId> =
            self.gossip.greeted().filter(|p| !p.ahead.is_empty()).map(|p| p.id).collect();
        ahead.sort_unstable();
        ahead
    }

    /// What to fetch from a peer, by issuer. A head that many fetches did not bring is given up; its transaction comes
    /// by id when something refers to it.
    fn ranges_from(&mut self, now_us: u64, peer: PeerId) -> Vec<ChainRange> {
        let Some(known) = self.gossip.get_mut(peer) else { return Vec::new() };
        let mut ahead = core::mem::take(&mut known.ahead);
        let mut ranges: Vec<ChainRange> = Vec::new();
        let (mut given_up, mut walked) = (Vec::new(), Walked::default());
        ahead.retain(|issuer, heads| {
            let next = self.issuers.get(issuer).and_then(|c| c.greatest).map_or(0, |g| g + 1);
            heads.retain_mut(|(head, attempts)| {
                let reference = Reference { issuer: *issuer, sequence: head.sequence, id: head.id };
                if self.holds(&reference) {
                    return false;
                }
                // The last fetch reached back to the beginning, and did not bring it.
                let was_whole = limits::BRANCH_REACH << attempts.saturating_sub(1) >= head.sequence;
                if *attempts > BRANCH_ATTEMPTS_MAX || (*attempts > WHOLE_AFTER && was_whole) {
                    given_up.push(head.id);
                    return false;
                }
                if ranges.len() >= limits::RANGES_MAX {
                    return true;
                }
                // What waits here already need not come again: fetched over and over while a slow store has to say what
                // it waits for, it would be held against whoever sends it. What a fetch has brought may wait for ever.
                let Some(missing) = self.missing_below(reference, &mut walked) else {
                    let since_us = self.pending.waiting.get(&head.id).map_or(now_us, |w| w.since_us);
                    let is_vain = *attempts > 0 || since_us + limits::GIVEN_UP_US <= now_us;
                    given_up.extend(is_vain.then_some(head.id));
                    return false;
                };
                let missing = ChainHead { sequence: missing.sequence, id: missing.id };
                ranges.push(range_to(*issuer, missing, next, *attempts));
                *attempts += 1;
                true
            });
            !heads.is_empty()
        });
        self.gossip.looked_at += walked.looked_at;
        if let Some(known) = self.gossip.get_mut(peer) {
            known.ahead = ahead;
            for id in given_up {
                let times = known.given_up.get(&id).map_or(0, |(times, _)| *times);
                let is_last = times >= limits::GIVEN_UP_TIMES;
                let wait = if is_last { limits::GIVEN_UP_LAST_US } else { limits::GIVEN_UP_US << times };
                if known.given_up.len() >= limits::GIVEN_UP_MAX {
                    known.given_up.pop_first();
                }
                known.given_up.insert(id, (times + 1, now_us + wait));
            }
        }
        ranges
    }

    /// Asks for the next page, when what came before is mostly done with.
    fn fetch_next(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(fetching) = &mut self.gossip.fetching else { return };
        if fetching.asked || self.pending.fetched_from(fetching.peer) > limits::FETCH_PENDING_LOW {
            return;
        }
        fetching.asked = true;
        fetching.fruitful = false;
        fetching.progress_us = now.monotonic_us;
        fetching.page_us = now.monotonic_us;
        let peer = fetching.peer;
        let ranges = fetching.ranges.clone();
        let fetch = Fetch { ranges, transactions_max: limits::FETCH_TRANSACTIONS };
        self.send(peer, &Message::Fetch(fetch), out);
    }

    /// A body of the fetch came and is on its way into the ledger, or there already.
    pub(super) fn fetch_brought(&mut self, now_us: u64, issuer: &Issuer, sequence: u64, by_id: bool) {
        if let Some(fetching) = &mut self.gossip.fetching
            && fetching.brought(issuer, sequence, by_id)
        {
            fetching.progress_us = now_us;
            fetching.fruitful = true;
        }
    }

    pub(super) fn fetch_ended(&mut self, now: Now, peer: PeerId, more: bool) {
        let Some(fetching) = &mut self.gossip.fetching else { return };
        if fetching.peer != peer || !fetching.asked {
            return;
        }
        fetching.asked = false;
        fetching.progress_us = now.monotonic_us;
        if !more || !fetching.fruitful {
            fetching.ranges.clear();
        }
        if more && !fetching.fruitful {
            // It says that there is more, and brings nothing: others are asked.
            self.gossip.fetching = None;
            if let Some(known) = self.gossip.get_mut(peer) {
                known.ahead.clear();
            }
        }
    }

    /// Goes on with the fetch, gives one up that brings nothing, and begins the next.
    pub(super) fn fetch_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(fetching) = &self.gossip.fetching else { return };
        let is_slow = fetching.asked && fetching.page_us + limits::PAGE_TIMEOUT_US <= now.monotonic_us;
        let is_stuck = fetching.progress_us + limits::FETCH_TIMEOUT_US <= now.monotonic_us
            || (is_slow && self.peers_ahead().len() > 1);
        let is_over = !fetching.asked && fetching.ranges.is_empty();
        if is_over && (is_stuck || self.pending.fetched_from(fetching.peer) == 0) {
            // All of it is attached, or waits for something else: is there more to get, here or from another?
            self.gossip.fetching = None;
            self.pending.ask_due = true;
            self.plan_fetch(now, out);
        } else if is_stuck {
            let (peer, asked) = (fetching.peer, fetching.asked);
            self.gossip.fetching = None;
            if let Some(known) = self.gossip.get_mut(peer).filter(|_| asked) {
                known.ahead.clear();
            }
            self.plan_fetch(now, out);
        } else if !fetching.asked
            && fetching.since_us + limits::FETCH_TURN_US <= now.monotonic_us
            && self.peers_ahead().len() > 1
        {
            // Others have their turn; what is left of this one comes round again.
            self.gossip.fetching = None;
            self.plan_fetch(now, out);
        } else if !is_over {
            self.fetch_next(now, out);
        }
    }

    /// A peer asks for stretches: streamed from the log, one answer at a time.
    pub(super) fn fetch_came(&mut self, now: Now, peer: PeerId, fetch: Fetch, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        let Some(known) = self.gossip.get_mut(peer) else { return };
        // A branch is walked back from its head: that costs more than a stretch that the index names.
        let branches = fetch.ranges.iter().filter(|r| r.branch.is_some()).count() as u64;
        let cost = 1 + 8 * branches + fetch.ranges.len() as u64 / 64;
        let within = known.budget.fetches.take(cost.min(limits::FETCHES_BURST), now.monotonic_us);
        if known.serving.is_some() || !within {
            return self.ignored(peer);
        }
        known.serving = Some(ticket);
        self.serving.insert(ticket, peer);
        let transactions_max = fetch.transactions_max.min(4 * limits::FETCH_TRANSACTIONS);
        out.push(Effect::Serve {
            ticket,
            peer,
            what: Serve::Ranges { ranges: fetch.ranges, transactions_max },
        });
    }

    /// Frames to a peer were not sent: it is told the digest soon, and fetches what it missed.
    pub(super) fn congested(&mut self, now: Now, peer: PeerId) {
        if let Some(known) = self.gossip.get_mut(peer) {
            // How far its chain is held may have been among them, and is said once only.
            known.told = None;
            // All of it again, but what was given last goes last: else the beginning would be given for ever.
            known.lost.sort_by_key(|(_, is_given)| *is_given);
            known.lost.iter_mut().for_each(|(_, is_given)| *is_given = false);
            known.tell_at_us.get_or_insert(now.monotonic_us + limits::HAVE_EVERY_US);
            known.digest.wait_us = limits::DIGEST_FIRST_US;
            known.digest.at_us = known.digest.at_us.min(now.monotonic_us + limits::DIGEST_FIRST_US);
        }
    }
}

/// A head is given up after so many fetches: the last of them reached over 2^12 times `BRANCH_REACH`.
const BRANCH_ATTEMPTS_MAX: u32 = 12;

/// So many fetches of a branch are made before it is given up, when the last one reached back to its beginning.
const WHOLE_AFTER: u32 = 3;

/// The first time what follows the chain here, of which `next` is the next sequence; then, as it must be another
/// branch, that branch, each time from farther back.
fn range_to(issuer: Issuer, head: ChainHead, next: u64, attempts: u32) -> ChainRange {
    if attempts == 0 && next <= head.sequence {
        return ChainRange { issuer, from: next, to: head.sequence, branch: None };
    }
    let from = head.sequence.saturating_sub(limits::BRANCH_REACH << attempts);
    ChainRange { issuer, from, to: head.sequence, branch: Some(head.id) }
}
