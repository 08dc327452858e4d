//! A peer that sends anything, beside an honest one: no panic, every limit holds, what the honest one says is attached,
//! and the other is sent away with a reason.

use std::sync::Arc;

use selvedge_core::border::{Farewell, Input, PeerId};
use selvedge_core::limits;
use selvedge_core::random::Random;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::{
    self, Announce, ChainHead, ChainHeads, ChainRange, Digest, Fetch, FetchEnd, Frontier, Have, Hello,
    Message, Notice, StartId, Want,
};
use selvedge_core::{Hash, Id, Issuer, NetworkId};

use crate::driver::{Driver, PEER, SECOND_US, random_of, runs};
use crate::world::{Actor, Tx};

const HONEST: PeerId = PeerId(2);
/// Branches that the hostile member keeps going.
const BRANCHES: usize = 6;

struct Attack {
    random: Random,
    driver: Driver,
    /// The hostile peer's connection of this moment.
    link: PeerId,
    branches: Vec<Actor>,
    made: Vec<Tx>,
    honest: Actor,
    said: Vec<Tx>,
    away: u64,
}

impl Attack {
    fn new(seed: u64) -> Self {
        let mut driver = Driver::with(|c| c.window_records = 96);
        driver.input(Input::PeerDown(PEER));
        let (honest, hostile) = (driver.world.member(1), driver.world.member(2));
        driver.meet_as(HONEST, honest.issuer);
        driver.check_every = 16;
        let (random, link) = (random_of(seed), PeerId(100));
        let mut attack = Self {
            random,
            driver,
            link,
            branches: vec![hostile],
            made: Vec::new(),
            honest,
            said: Vec::new(),
            away: 0,
        };
        attack.link_up();
        attack
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound.max(1) as u64) as usize
    }

    fn bytes32(&mut self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.random.bits().to_le_bytes());
        bytes
    }

    fn is_up(&self) -> bool {
        self.driver.node.peers(self.driver.now).iter().any(|p| p.peer == self.link)
    }

    /// Connects anew, mostly with a right hello.
    fn link_up(&mut self) {
        self.link = PeerId(self.link.0 + 1);
        let issuer = self.branches[0].issuer;
        let outgoing = self.random.below(2) == 0;
        self.driver.input(Input::PeerUp { peer: self.link, issuer, outgoing });
        let mut hello = Hello { start: StartId([9; 16]), ..self.driver.hello_of(self.link) };
        match self.below(12) {
            0 => hello.network = NetworkId(self.bytes32()),
            1 => (hello.lowest, hello.highest) = (5, 9),
            2 => hello.features = self.random.bits(),
            3 => hello.start = StartId([self.random.below(256) as u8; 16]),
            4 => hello.head = Some(ChainHead { sequence: u64::MAX, id: Id(self.bytes32()) }),
            5 => return self.say(&Message::Prune),
            _ => {}
        }
        self.say(&Message::Hello(hello));
    }

    fn say(&mut self, message: &Message<'_>) {
        self.driver.say(self.link, message);
    }

    fn push(&mut self, envelope: &[u8]) {
        self.driver.raw(self.link, wire::transaction(envelope));
    }

    fn note(&mut self) -> Tx {
        let (branch, label) = (self.below(self.branches.len()), self.random.bits());
        let past: Vec<Tx> = self.any_made().into_iter().collect();
        let tx = self.branches[branch].note(&format!("{label}"), &past.iter().collect::<Vec<_>>());
        self.made.push(tx.clone());
        tx
    }

    fn any_made(&mut self) -> Option<Tx> {
        let at = self.below(self.made.len());
        self.made.get(at).cloned()
    }

    fn any_reference(&mut self) -> Reference {
        let at = self.below(self.said.len());
        match self.below(4) {
            0 => self.any_made().map(|tx| tx.reference),
            1 => self.said.get(at).map(|tx| tx.reference),
            _ => None,
        }
        .unwrap_or_else(|| {
            let sequence = [0, 7, 1 << 40, u64::MAX][self.below(4)];
            let issuer = if self.below(2) == 0 { self.honest.issuer } else { Issuer(self.bytes32()) };
            Reference { issuer, sequence, id: Id(self.bytes32()) }
        })
    }

    fn references(&mut self) -> Vec<Reference> {
        let count = [0, 1, 5, limits::REFERENCES_PER_ASK_MAX][self.below(4)];
        (0..count).map(|_| self.any_reference()).collect()
    }

    fn frontier(&mut self) -> Frontier {
        let mut issuers: Vec<Issuer> = (0..self.below(8)).map(|_| self.any_reference().issuer).collect();
        issuers.extend([self.honest.issuer, self.driver.config.issuer, self.branches[0].issuer]);
        issuers.sort_unstable();
        issuers.dedup();
        let chains = issuers
            .into_iter()
            .map(|issuer| {
                let mut heads: Vec<ChainHead> = (0..=self.below(3))
                    .map(|_| self.any_reference())
                    .map(|r| ChainHead { sequence: r.sequence, id: r.id })
                    .collect();
                heads.sort_unstable();
                heads.dedup();
                ChainHeads { issuer, heads }
            })
            .collect();
        Frontier { last: self.below(3) > 0, chains }
    }

    fn fetch(&mut self) -> Fetch {
        let range = |r: Reference, branch: bool| ChainRange {
            issuer: r.issuer,
            from: r.sequence / 2,
            to: r.sequence,
            branch: branch.then_some(r.id),
        };
        let ranges = (0..=self.below(20)).map(|at| range(self.any_reference(), at % 2 == 0)).collect();
        Fetch { ranges, transactions_max: [1, 512, u32::MAX][self.below(3)] }
    }

    fn act(&mut self) {
        match self.below(30) {
            0 => {
                let length = self.below(200);
                let bytes: Vec<u8> = (0..length).map(|_| self.random.bits() as u8).collect();
                self.driver.raw(self.link, bytes.into());
            }
            1..=4 => self.transactions(),
            5 => self.fork(),
            6 => {
                // What it refers to is withheld.
                self.note();
                let tx = self.note();
                self.push(&tx.envelope);
            }
            7 => {
                let (nothing, branch) = (self.any_reference(), self.below(self.branches.len()));
                let mut body = self.branches[branch].body("refers to nothing", &[]);
                body.approves[1] = nothing;
                let tx = self.branches[branch].sign(body);
                self.push(&tx.envelope);
            }
            8 => {
                let tx = self.note();
                let forged = tx.forged(self.random.bits() as u8);
                self.push(&forged);
                self.push(&tx.envelope);
            }
            9 => {
                let mut copy = self.note().envelope.to_vec();
                copy.push(0);
                self.push(&copy);
            }
            10..=12 => self.replay(),
            13 => {
                let want = Want { graft: self.below(2) == 0, references: self.references() };
                self.say(&Message::Want(want));
            }
            14 | 15 => {
                let references = self.references();
                self.say(&Message::Announce(Announce { references }));
            }
            16..=18 => {
                let frontier = self.frontier();
                self.say(&Message::Frontier(frontier));
            }
            19 => {
                let r = self.any_reference();
                let head = Some(ChainHead { sequence: r.sequence, id: r.id });
                self.say(&Message::Have(Have { head }));
            }
            20 => {
                let fetch = self.fetch();
                self.say(&Message::Fetch(fetch));
            }
            21 => {
                let more = self.below(2) == 0;
                self.say(&Message::FetchEnd(FetchEnd { more }));
            }
            22 => self.say(&Message::Prune),
            23 => self.say(&Message::Notice(Notice::AnotherMachine)),
            24 => {
                let frontier = Hash(self.bytes32());
                self.say(&Message::Digest(Digest { frontier }));
            }
            25 => {
                let kind = 12 + self.below(240) as u8;
                self.say(&Message::Unknown(kind));
            }
            26 => {
                let hello = self.driver.hello_of(self.link);
                self.say(&Message::Hello(hello));
            }
            27 => self.driver.input(Input::Congested { peer: self.link }),
            28 if self.below(20) == 0 => {
                self.driver.input(Input::PeerDown(self.link));
            }
            _ => {
                let most = [1_000, 100_000, SECOND_US][self.below(3)];
                let us = self.random.below(most);
                self.driver.advance_us(us);
            }
        }
    }

    /// Several at once, as if they were asked for.
    fn transactions(&mut self) {
        let mut list: Vec<Arc<[u8]>> = (0..self.below(5)).map(|_| self.note().envelope).collect();
        if let Some(old) = self.any_made() {
            list.push(old.envelope);
        }
        if self.below(2) == 0 {
            list.reverse();
        }
        self.driver.raw(self.link, wire::transactions(&list));
    }

    /// A second, third or further body of one place.
    fn fork(&mut self) {
        let at = self.below(self.branches.len());
        let branch = self.branches[at].clone();
        if self.branches.len() < BRANCHES {
            self.branches.push(branch);
        } else {
            self.branches[(at + 1) % BRANCHES] = branch;
        }
        for _ in 0..2 {
            let tx = self.note();
            self.push(&tx.envelope);
        }
    }

    /// Something old, of its own or the honest one's; as it was, or with a bit flipped.
    fn replay(&mut self) {
        let at = self.below(self.said.len());
        let own = self.any_made();
        let Some(tx) = (if self.below(2) == 0 { own } else { self.said.get(at).cloned() }) else { return };
        let mut bytes = tx.envelope.to_vec();
        if self.below(3) == 0 {
            let at = self.below(bytes.len());
            bytes[at] ^= 1 << self.below(8);
        }
        self.push(&bytes);
    }

    /// The honest peer says something new, and answers what it is asked.
    fn honest_turn(&mut self) {
        let past: Vec<Tx> = self.said.last().cloned().into_iter().collect();
        let label = format!("honest {}", self.said.len());
        let tx = self.honest.note(&label, &past.iter().collect::<Vec<_>>());
        self.driver.frame_from(HONEST, &tx.envelope);
        self.said.push(tx);
        self.answer();
    }

    fn answer(&mut self) {
        let asked: Vec<Reference> = self.driver.wants().into_iter().flat_map(|(_, r)| r).collect();
        let mut is_fetched = false;
        for frame in self.driver.said_to(HONEST) {
            is_fetched |= matches!(Message::open(&frame), Ok(Message::Fetch(_)));
        }
        for (peer, why) in self.driver.farewells() {
            assert_ne!(peer, HONEST, "the honest peer is sent away: {why}");
            self.away += u64::from(matches!(why, Farewell::Faults { .. } | Farewell::Waste { .. }));
        }
        self.driver.take();
        let held = self.said.iter().filter(|tx| asked.contains(&tx.reference));
        let answers: Vec<Arc<[u8]>> = held.map(|tx| tx.envelope.clone()).collect();
        if !answers.is_empty() {
            self.driver.raw(HONEST, wire::transactions(&answers));
        }
        if is_fetched {
            self.driver.say(HONEST, &Message::FetchEnd(FetchEnd { more: false }));
        }
        for (ticket, _, _) in std::mem::take(&mut self.driver.served) {
            self.driver.input(Input::Served { ticket });
        }
    }

    fn finish(mut self) {
        self.driver.input(Input::PeerDown(self.link));
        self.driver.advance_us(limits::PENDING_TIMEOUT_US + 10 * SECOND_US);
        self.answer();
        let lost = self.said.iter().filter(|tx| !self.driver.is_attached(tx)).count();
        assert_eq!(lost, 0, "{lost} of {} honest transactions are not attached", self.said.len());
        let status = self.driver.node.status();
        assert_eq!((status.pending, status.pending_bytes, status.wanted), (0, 0, 0));
        self.driver.check_every = 1;
        self.driver.check();
    }
}

/// `SELVEDGE_CASES` inputs in all (50,000 unless set).
#[test]
fn whatever_a_peer_sends_the_honest_one_goes_on() {
    let each = 1_000;
    let (mut away, mut attached) = (0, 0);
    for seed in 0..runs(50_000).div_ceil(each) {
        println!("seed {seed}");
        let mut attack = Attack::new(seed);
        for step in 0..each {
            if !attack.is_up() {
                attack.link_up();
            }
            attack.act();
            if step % 25 == 0 {
                attack.honest_turn();
            }
        }
        attack.answer();
        (away, attached) = (away + attack.away, attached + attack.driver.store.records().count());
        attack.finish();
    }
    println!("sent away {away} times, {attached} transactions attached");
    assert!(away > 0, "it was never sent away");
}
