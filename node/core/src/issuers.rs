//! What is known of each issuer: its chain's branches, its keys, its place in the committee.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::border::{Head, IssuerKey, IssuerState, NewKey};
use crate::genesis::Genesis;
use crate::hash::{Id, Issuer};
use crate::limits;
use crate::record::{GENESIS_NUMBER, Record, flag};

/// One issuer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chain {
    /// Branch heads, that of the first branch first.
    pub(crate) heads: Vec<Head>,
    /// Keys in the order in which they were attached.
    pub(crate) keys: Vec<IssuerKey>,
    /// Greatest sequence on the first branch; `None` before transaction 0.
    pub(crate) first_branch: Option<u64>,
    /// Greatest sequence on any branch.
    pub(crate) greatest: Option<u64>,
    /// Place in the committee of epoch 0.
    pub(crate) member: Option<u32>,
}

/// All issuers known here.
#[derive(Debug, Default)]
pub(crate) struct Issuers {
    chains: BTreeMap<Issuer, Chain>,
    forks: BTreeSet<(Issuer, u64)>,
    committee: Vec<Issuer>,
}

impl Issuers {
    pub(crate) fn new(genesis: &Genesis, states: Vec<IssuerState>, forks: Vec<(Issuer, u64)>) -> Self {
        let mut issuers = Self { forks: forks.into_iter().collect(), ..Self::default() };
        for member in &genesis.members {
            let key =
                IssuerKey { key_number: 0, brought_by: GENESIS_NUMBER, key: Arc::new(member.key.clone()) };
            issuers.chains.insert(member.key.issuer(), Chain { keys: Vec::from([key]), ..Chain::default() });
        }
        for (place, member) in genesis.committee.iter().enumerate() {
            let issuer = genesis.members[usize::from(*member)].key.issuer();
            issuers.committee.push(issuer);
            if let Some(chain) = issuers.chains.get_mut(&issuer) {
                chain.member = Some(place as u32);
            }
        }
        for state in states {
            issuers.restore(state);
        }
        issuers
    }

    fn restore(&mut self, state: IssuerState) {
        let chain = self.chains.entry(state.issuer).or_default();
        chain.first_branch = state.heads.first().map(|h| h.sequence);
        chain.greatest = state.heads.iter().map(|h| h.sequence).max();
        chain.heads = state.heads;
        for key in state.keys {
            // The store may or may not list the key that the genesis gives.
            if key.brought_by != GENESIS_NUMBER {
                chain.keys.push(key);
            }
        }
    }

    pub(crate) fn get(&self, issuer: &Issuer) -> Option<&Chain> {
        self.chains.get(issuer)
    }

    /// Does the genesis name it? Its first key says where it comes from.
    pub(crate) fn is_in_genesis(&self, issuer: &Issuer) -> bool {
        let first = self.chains.get(issuer).and_then(|c| c.keys.first());
        first.is_some_and(|key| key.brought_by == GENESIS_NUMBER)
    }

    /// The committee of epoch 0, in order.
    pub(crate) fn committee(&self) -> &[Issuer] {
        &self.committee
    }

    pub(crate) fn member_bit(&self, issuer: &Issuer) -> Option<u32> {
        self.chains.get(issuer)?.member
    }

    /// Is there room for one more issuer that the genesis does not name?
    pub(crate) fn has_room(&self) -> bool {
        self.chains.len() < limits::ISSUERS_MAX
    }

    /// May a transaction of this issuer and sequence be attached already?
    pub(crate) fn may_be_attached(&self, issuer: &Issuer, sequence: u64) -> bool {
        self.chains.get(issuer).and_then(|c| c.greatest).is_some_and(|greatest| sequence <= greatest)
    }

    /// Is a transaction of this place, with this flag on the one before it, on a second branch?
    pub(crate) fn is_second_branch(&self, issuer: &Issuer, sequence: u64, prev_is: bool) -> bool {
        let taken =
            self.chains.get(issuer).and_then(|c| c.first_branch).is_some_and(|first| sequence <= first);
        (prev_is && !planted!(LongestForkWins)) || taken
    }

    /// Takes an attached record. Returns whether it shows a fork that was not known.
    pub(crate) fn attach(&mut self, record: &Record, prev: Id, key: Option<NewKey>) -> bool {
        let place = (record.issuer, record.sequence);
        let chain = self.chains.entry(record.issuer).or_default();
        let forked = chain.greatest.is_some_and(|greatest| record.sequence <= greatest);
        let head = Head { number: record.number, sequence: record.sequence, id: record.id };
        if let Some(before) = chain.heads.iter_mut().find(|h| h.id == prev) {
            *before = head;
        } else if chain.heads.len() < limits::BRANCHES_MAX {
            chain.heads.push(head);
        } else if let Some(last) = chain.heads.last_mut()
            && head.sequence > last.sequence
        {
            // Of a forker with more branches only the farthest is kept: what may be attached is read off the heads.
            *last = head;
        }
        if !record.has(flag::SECOND_BRANCH) {
            chain.first_branch = Some(record.sequence);
        }
        chain.greatest = chain.greatest.max(Some(record.sequence));
        if let Some(NewKey { key_number, key }) = key {
            chain.keys.push(IssuerKey { key_number, brought_by: record.number, key });
        }
        forked && self.forks.len() < limits::FORKS_MAX && self.forks.insert(place)
    }

    /// Has this place two bodies already? While more forks are known than are remembered, any used place counts.
    pub(crate) fn is_forked(&self, issuer: &Issuer, sequence: u64) -> bool {
        let is_full = self.forks.len() >= limits::FORKS_MAX && self.may_be_attached(issuer, sequence);
        is_full || self.forks.contains(&(*issuer, sequence))
    }

    /// All issuers, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Issuer, &Chain)> {
        self.chains.iter()
    }

    /// Issuers with at least one transaction.
    pub(crate) fn with_heads(&self) -> usize {
        self.chains.values().filter(|c| !c.heads.is_empty()).count()
    }

    pub(crate) fn forks(&self) -> &BTreeSet<(Issuer, u64)> {
        &self.forks
    }

    pub(crate) fn len(&self) -> usize {
        self.chains.len()
    }
}

#[cfg(test)]
mod tests {
    use alloc::boxed::Box;

    use super::*;

    /// Of a forker with many branches the head of the farthest was dropped. The store keeps heads only, so after a
    /// start its transaction looked as if it could not be attached yet, and was attached twice (found by reading).
    #[test]
    fn the_farthest_of_many_branches_stays_among_the_heads() {
        let mut issuers = Issuers::default();
        let issuer = Issuer([1; 32]);
        for number in 0..2 * limits::BRANCHES_MAX as u64 {
            let mut id = [7; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            let record = Record {
                number,
                id: Id(id),
                issuer,
                sequence: number,
                key: 0,
                flags: 0,
                kind: 0,
                prev: GENESIS_NUMBER,
                approves: [GENESIS_NUMBER; 2],
                further: Box::new([]),
            };
            // Its prev is never a head: each is a branch of its own.
            issuers.attach(&record, Id([9; 32]), None);
            let chain = issuers.get(&issuer).expect("just attached");
            assert!(chain.heads.len() <= limits::BRANCHES_MAX);
            assert_eq!(
                chain.heads.iter().map(|h| h.sequence).max(),
                chain.greatest,
                "what a start would read off them"
            );
        }
    }
}
