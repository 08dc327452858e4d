//! Well-formed frames with nothing behind them: chains that nobody has, questions without end, warnings of what is not.

use std::sync::Arc;

use selvedge_core::transaction::Reference;
use selvedge_core::wire::{
    Announce, ChainHead, ChainHeads, ChainRange, Digest, Fetch, FetchEnd, Frontier, Have, Message, Notice,
    Want,
};
use selvedge_core::{Hash, Id, Issuer};

use super::{Hostile, Post};

/// References in one lie.
const LIED_MAX: u64 = 64;

impl Hostile {
    /// One lie, to everybody.
    pub(super) fn lie(&mut self) -> Vec<Post> {
        let message = match self.dice.below(10) {
            0 | 1 => Message::Frontier(self.false_frontier()),
            2 => Message::Announce(Announce { references: self.made_up() }),
            3 => Message::Want(Want { graft: self.dice.chance(500), references: self.made_up() }),
            4 => Message::Fetch(self.greedy_fetch()),
            5 => Message::Digest(Digest { frontier: Hash(self.dice.bytes32()) }),
            6 => Message::Have(Have { head: Some(self.head_of_nothing()) }),
            7 => Message::Notice(Notice::AnotherMachine),
            8 => Message::Prune,
            _ => Message::FetchEnd(FetchEnd { more: self.dice.chance(500) }),
        };
        let frame: Arc<[u8]> = message.to_frame();
        let posts = self.post_to_all(&frame);
        posts.into_iter().map(|post| Post { is_raw: true, ..post }).collect()
    }

    fn head_of_nothing(&mut self) -> ChainHead {
        ChainHead { sequence: self.dice.below(1_000), id: Id(self.dice.bytes32()) }
    }

    /// Issuers that it has seen: most of them are honest.
    fn seen_issuers(&mut self) -> Vec<Issuer> {
        let mut issuers: Vec<Issuer> = self.seen.iter().map(|r| r.issuer).collect();
        issuers.push(Issuer(self.dice.bytes32()));
        issuers.sort_unstable();
        issuers.dedup();
        issuers
    }

    /// It says that it holds more of honest chains than there is of them.
    fn false_frontier(&mut self) -> Frontier {
        let issuers = self.seen_issuers();
        let mut chains = Vec::new();
        for issuer in issuers {
            if self.dice.chance(500) {
                let heads = vec![self.head_of_nothing()];
                chains.push(ChainHeads { issuer, heads });
            }
        }
        Frontier { last: self.dice.chance(800), chains }
    }

    /// References of which some are held by somebody and most by nobody.
    fn made_up(&mut self) -> Vec<Reference> {
        let issuers = self.seen_issuers();
        let mut references = Vec::new();
        for _ in 0..self.dice.between(1, LIED_MAX) {
            let genuine = self.seen.last().copied().filter(|_| self.dice.chance(200));
            let (issuer, head) = (self.dice.pick(&issuers), self.head_of_nothing());
            let invented = Reference { issuer, sequence: head.sequence, id: head.id };
            references.push(genuine.unwrap_or(invented));
        }
        references
    }

    /// All of every chain, at once.
    fn greedy_fetch(&mut self) -> Fetch {
        let issuers = self.seen_issuers();
        let mut ranges = Vec::new();
        for issuer in issuers {
            let to = self.dice.below(1 << 20);
            let branch = self.dice.chance(300).then(|| self.dice.bytes32()).map(Id);
            ranges.push(ChainRange { issuer, from: 0, to, branch });
        }
        Fetch { ranges, transactions_max: self.dice.between(1, 100_000) as u32 }
    }
}
