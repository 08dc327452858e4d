//! This node's own chain, as others hold it: the start check, what is taken back, and the sign of a second machine.
//!
//! A restored image, or a card that lied about a sync, would make a node sign a second transaction at a sequence that it
//! used before. So before its first own transaction after a start it asks its peers how far they hold its chain, and
//! takes back what it lacks. A transaction of its own key that comes up later, and that this start did not make, was
//! made by another machine: from then on it issues nothing.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Effect, Event, Lane, Now, PeerId, Silence, StartCheck};
use crate::codec;
use crate::gossip::Peer;
use crate::hash::Issuer;
use crate::limits;
use crate::payload::{Batch, PayloadKind};
use crate::transaction::Reference;
use crate::wire::{ChainHead, Have, Message, Want};

use super::receive::Ready;
use super::{Node, lost};

/// A peer that claims to hold more of the own chain than comes from it is believed for this long, in microseconds.
const CLAIM_PATIENCE_US: u64 = 30_000_000;
/// The check is looked at this often, in microseconds.
const LOOK_US: u64 = 1_000_000;
/// While the own tail comes in, the next piece is awaited for this long, in microseconds.
const COMING_US: u64 = 10_000_000;

/// May this node issue?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Peers are asked.
    Asking {
        /// When the wait ends without an answer; `None`: never.
        until_us: Option<u64>,
        /// When the first answer was in.
        answered_us: Option<u64>,
    },
    /// It may.
    Settled,
    /// It only listens.
    Listening,
    /// Another machine uses its key.
    Another,
}

/// See the module.
#[derive(Debug)]
pub(super) struct OwnChain {
    standing: Standing,
    /// Must the committee answer, and not just anybody?
    strict: bool,
    /// The newest own transaction that is durable.
    durable: Option<ChainHead>,
    /// Own transactions that came from peers since the start.
    adopted: u64,
    /// When the last of them came after the check was over.
    adopted_late_us: Option<u64>,
    /// Has this start signed anything?
    issued: bool,
    /// When one came back from a peer that cannot be attached yet.
    lost_since_us: Option<u64>,
    /// So many own transactions some peer has said to hold since the start.
    shared: Option<u64>,
    /// Own transactions have been coming in: more may follow until then.
    coming_until_us: u64,
    /// When the check is looked at next.
    look_us: u64,
    /// Members of the committee that say that two machines use its key.
    said_by: BTreeSet<Issuer>,
}

impl OwnChain {
    pub(super) fn new(check: StartCheck, forked: bool, durable: Option<ChainHead>, now_us: u64) -> Self {
        let standing = match check {
            _ if forked => Standing::Another,
            _ if planted!(AsksNobody) => Standing::Settled,
            StartCheck::None => Standing::Settled,
            StartCheck::Bounded(wait) => {
                Standing::Asking { until_us: Some(now_us.saturating_add(wait)), answered_us: None }
            }
            StartCheck::UntilAnswered => Standing::Asking { until_us: None, answered_us: None },
            StartCheck::Listen => Standing::Listening,
        };
        let strict = check == StartCheck::UntilAnswered;
        Self {
            standing,
            strict,
            durable,
            adopted: 0,
            adopted_late_us: None,
            issued: false,
            lost_since_us: None,
            shared: None,
            coming_until_us: 0,
            look_us: now_us,
            said_by: BTreeSet::new(),
        }
    }

    pub(super) const fn durable_head(&self) -> Option<ChainHead> {
        self.durable
    }
    pub(super) fn set_durable(&mut self, head: ChainHead) {
        if self.durable.is_none_or(|d| d.sequence < head.sequence) {
            self.durable = Some(head);
        }
    }
    pub(super) const fn adopted(&self) -> u64 {
        self.adopted
    }
    pub(super) const fn note_issued(&mut self) {
        self.issued = true;
    }
    pub(super) const fn has_issued(&self) -> bool {
        self.issued
    }
    /// Since when something lost has been on its way back: counted once a start, from now on if never before.
    pub(super) fn lost_since(&mut self, now_us: u64) -> u64 {
        *self.lost_since_us.get_or_insert(now_us)
    }
    pub(super) fn is_settled(&self) -> bool {
        self.standing == Standing::Settled
    }
    pub(super) fn silence(&self) -> Option<Silence> {
        match self.standing {
            Standing::Settled => None,
            Standing::Another => Some(Silence::AnotherMachine),
            Standing::Listening => Some(Silence::Listening),
            Standing::Asking { .. } if self.strict => Some(Silence::Restored),
            Standing::Asking { .. } => Some(Silence::Asking),
        }
    }

    /// When the check is looked at next.
    pub(super) fn deadline(&self) -> Option<u64> {
        matches!(self.standing, Standing::Asking { .. }).then_some(self.look_us)
    }
}

impl Node {
    /// Ends the start check when it is decided.
    pub(super) fn check_start(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.decide_start(now, out);
        if let Standing::Asking { until_us, answered_us } = self.own_chain.standing {
            // Claims run out, too: now and then is soon enough for them.
            let grace = answered_us.map(|at| at + limits::START_GRACE_US);
            let ends = [until_us, grace].into_iter().flatten().filter(|at| *at > now.monotonic_us).min();
            let soon = now.monotonic_us + LOOK_US;
            self.own_chain.look_us = ends.map_or(soon, |at| at.min(soon));
        }
    }

    fn decide_start(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Standing::Asking { until_us, answered_us } = self.own_chain.standing else { return };
        let now_us = now.monotonic_us;
        let own_next = self.own_next();
        // Who claims more than is here has a while to bring it, and is believed once.
        let is_believed = |issuer| {
            let until = self.gossip.claim_until_us(issuer);
            until.is_some_and(|at| now_us < at) || now_us < self.own_chain.coming_until_us
        };
        let is_open = |p: &Peer| {
            p.claim.and_then(|c| c.head).is_some_and(|h| h.sequence >= own_next || self.contradicts(h))
        };
        if self.gossip.greeted().any(|p| is_open(p) && is_believed(&p.issuer)) {
            self.own_chain.standing = Standing::Asking { until_us, answered_us: None };
            return;
        }
        let (answers, needed) = self.answers();
        if answers >= needed {
            let since = answered_us.unwrap_or(now_us);
            self.own_chain.standing = Standing::Asking { until_us, answered_us: Some(since) };
            let all = self.gossip.peers().iter().all(|p| p.claim.is_some());
            let is_enough = all || since + limits::START_GRACE_US <= now_us;
            let until_us = (since + limits::RESTORED_GRACE_US).min(until_us.unwrap_or(u64::MAX));
            let waits = now_us < until_us && self.is_answer_missing(answers);
            if is_enough && !waits && !self.is_coming_back(now_us) {
                self.end_check(true, out);
            }
        } else if until_us.is_some_and(|until| until <= now_us) && !self.is_coming_back(now_us) {
            self.end_check(false, out);
        } else {
            // Whoever has gone is awaited anew, and others with it.
            self.own_chain.standing = Standing::Asking { until_us, answered_us: None };
        }
    }

    /// Is the answer of somebody awaited who is likely to know more? That is whoever gives something back; where the store is
    /// marked, each member of the committee and nobody else: what a member holds as pending the quorum need not have seen,
    /// and a stranger who gives back and never answers would cost all of that minute.
    fn is_answer_missing(&self, answers: usize) -> bool {
        let is_giving = |p: &Peer| p.gave_back.is_some() && p.claim.is_none();
        let others = self.issuers.committee().iter().filter(|m| **m != self.config.issuer).count();
        if self.own_chain.strict { answers < others } else { self.gossip.greeted().any(is_giving) }
    }

    fn end_check(&mut self, answered: bool, out: &mut Vec<Effect>) {
        self.own_chain.standing = Standing::Settled;
        out.push(Effect::Emit(Event::Settled { adopted: self.own_chain.adopted, answered }));
    }

    /// How many have said how far they hold the own chain, and how many must. A marked store wants as many members of
    /// the committee as make a quorum together with this node: a peer that has just joined holds nothing, and would
    /// say so in good faith.
    fn answers(&self) -> (usize, usize) {
        let said = self.gossip.greeted().filter(|p| p.claim.is_some());
        if !self.own_chain.strict {
            return (said.count(), 1);
        }
        let members = self.issuers.committee().len();
        let quorum = members - (members - 1) / 3;
        let is_member = self.issuers.member_bit(&self.config.issuer).is_some();
        let answers = said.filter(|p| self.issuers.member_bit(&p.issuer).is_some()).count();
        (answers, (quorum - usize::from(is_member)).max(1))
    }

    /// Is this head, of a sequence that was used here, no transaction of the own chain, as far as memory shows?
    fn contradicts(&self, head: ChainHead) -> bool {
        let heads = self.issuers.get(&self.config.issuer).map_or(&[][..], |c| &c.heads);
        let is_head = heads.iter().any(|h| h.id == head.id);
        let is_newest = heads.iter().any(|h| h.sequence == head.sequence);
        !is_head && (is_newest || self.window.is_whole()) && self.window.by_id(&head.id).is_none()
    }

    /// The sequence that the own chain here would use next.
    pub(super) fn own_next(&self) -> u64 {
        self.issuers.get(&self.config.issuer).and_then(|c| c.greatest).map_or(0, |g| g + 1)
    }

    /// A peer says how far it holds the own chain.
    pub(super) fn have_came(
        &mut self,
        now: Now,
        peer: PeerId,
        head: Option<ChainHead>,
        out: &mut Vec<Effect>,
    ) {
        let (issuer, own_next) = (self.config.issuer, self.own_next());
        let Some(known) = self.gossip.get_mut(peer) else { return };
        known.claim = Some(Have { head });
        let held = head.map_or(0, |h| h.sequence.saturating_add(1)).min(own_next);
        self.own_chain.shared = self.own_chain.shared.max(Some(held));
        let by = known.issuer;
        let Some(head) = head else { return };
        let is_more = head.sequence >= own_next;
        if !is_more && !self.contradicts(head) {
            return;
        }
        let until = now.monotonic_us + CLAIM_PATIENCE_US;
        self.gossip.remember(by).claim_until_us.get_or_insert(until);
        if !is_more {
            // Another transaction at a sequence of ours: it is asked for, since only its signature proves it.
            let references = Vec::from([Reference { issuer, sequence: head.sequence, id: head.id }]);
            return self.send(peer, &Message::Want(Want { graft: false, references }), out);
        }
        if let Some(known) = self.gossip.get_mut(peer) {
            let heads = known.ahead.entry(issuer).or_default();
            if heads.is_empty() {
                heads.push((head, 0));
            }
        }
        self.plan_fetch(now, out);
    }

    /// Tells peers how far this node holds their chains, as far as it is durable.
    pub(super) fn tell_due(&mut self, now_us: u64, out: &mut Vec<Effect>) {
        let (issuers, window, pending) = (&self.issuers, &self.window, &self.pending);
        for peer in self.gossip.greeted_mut() {
            if peer.tell_at_us.is_none_or(|at| at > now_us) {
                continue;
            }
            let may_be_more = lost::give_back(pending, peer, out);
            if may_be_more && now_us < peer.answer_by_us && peer.told.is_none() {
                peer.tell_at_us = Some(now_us + limits::HAVE_EVERY_US);
                continue;
            }
            let first = issuers.get(&peer.issuer).and_then(|c| c.heads.first().copied());
            let telling = peer.telling.or(first);
            if telling.is_some_and(|h| h.number >= window.durable()) && !planted!(PromisesEarly) {
                // What a power cut could take back is not promised.
                peer.telling = telling;
                peer.tell_at_us = Some(now_us + limits::HAVE_EVERY_US);
                continue;
            }
            peer.telling = None;
            let again = telling != first || may_be_more;
            peer.tell_at_us = again.then_some(now_us + limits::HAVE_EVERY_US);
            let head = telling.map(|h| ChainHead { sequence: h.sequence, id: h.id });
            let have = Have { head };
            if peer.told != Some(have) {
                peer.told = Some(have);
                let frame = Message::Have(have).to_frame();
                out.push(Effect::Send { peer: peer.id, lane: Lane::Fresh, frame });
            }
        }
    }

    /// A transaction of a connected peer's own chain was attached: it will be told.
    pub(super) fn plan_telling(&mut self, now_us: u64, reference: &Reference) {
        let of = self.gossip.greeted_mut().find(|p| p.issuer == reference.issuer);
        if let Some(peer) = of {
            peer.tell_at_us.get_or_insert(now_us + limits::HAVE_EVERY_US);
        }
    }

    /// A transaction of this node's own key came from a peer and is attached, if it `extends` the chain or not. The batch that
    /// it carries, when it does.
    pub(super) fn adopt(
        &mut self,
        now: Now,
        ready: &Ready,
        extends: bool,
        events: &mut Vec<Effect>,
    ) -> Option<Arc<Batch>> {
        let (now_us, came_us, body, id) = (now.monotonic_us, ready.came_us, &ready.body, ready.id);
        // What came long ago and waited for something is no sign of life.
        let is_lively =
            self.own_chain.adopted_late_us.is_some_and(|at| came_us > at + 10 * limits::START_GRACE_US);
        let is_another = match self.own_chain.standing {
            Standing::Another | Standing::Listening => false,
            Standing::Asking { .. } => !extends,
            // A peer that was asked too late, once; but what goes on coming is made by somebody.
            Standing::Settled => self.own_chain.issued || !extends || is_lively,
        };
        if is_another {
            self.own_chain.standing = Standing::Another;
            let seen = Some(ChainHead { sequence: body.sequence, id });
            events.push(Effect::Emit(Event::AnotherMachine { seen }));
        }
        self.own_chain.adopted += 1;
        self.own_chain.coming_until_us = now_us + COMING_US;
        if self.own_chain.is_settled() {
            // From the last one: a tail may take its time.
            self.own_chain.adopted_late_us = Some(now_us);
        }
        if body.kind != PayloadKind::Batch as u16 {
            return None;
        }
        let batch: Batch = codec::decode(&body.payload).ok()?;
        self.gatherer.adopt(&batch);
        Some(Arc::new(batch))
    }

    /// Another machine uses this node's key: from now on nothing is issued.
    pub(super) fn another_machine(&mut self, seen: Option<ChainHead>, out: &mut Vec<Effect>) {
        if self.own_chain.standing != Standing::Another {
            self.own_chain.standing = Standing::Another;
            out.push(Effect::Emit(Event::AnotherMachine { seen }));
        }
    }

    /// A peer says that two machines use this node's key. Of a committee of n members ⌊(n−1)/3⌋ may lie: when more say
    /// so, one of them at least is honest. Two must say so in any case, where there are two others.
    pub(super) fn said_to_be_two(&mut self, peer: PeerId, out: &mut Vec<Effect>) {
        let Some(by) = self.gossip.get(peer).map(|p| p.issuer) else { return };
        out.push(Effect::Emit(Event::SaidToBeTwo { by }));
        if self.issuers.member_bit(&by).is_some() {
            self.own_chain.said_by.insert(by);
        }
        let committee = self.issuers.committee();
        let others = committee.iter().filter(|m| **m != self.config.issuer).count();
        let needed = ((committee.len().max(1) - 1) / 3 + 1).max(others.min(2));
        if self.own_chain.said_by.len() >= needed {
            self.another_machine(None, out);
        }
    }

    /// Own transactions that no peer has said to hold; `None`: no peer has said anything since the start.
    pub(super) fn unshared(&self) -> Option<u64> {
        self.own_chain.shared.map(|shared| self.own_next().saturating_sub(shared))
    }
}
