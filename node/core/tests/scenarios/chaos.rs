//! One node in a bad neighbourhood, by seed: a graph with forks, rotations, newcomers and witnesses comes in any order,
//! several times, forged, cut and mutated; answers are held back, lost, failed or late; power is cut. After every input
//! the invariants hold, and in the end the ledger is the graph.

use std::collections::BTreeSet;

use selvedge_core::Id;
use selvedge_core::border::{Input, PeerId};
use selvedge_core::node::Node;
use selvedge_core::random::Random;
use selvedge_core::record::{Record, flag};
use selvedge_core::transaction::{Body, Parents};

use crate::driver::{Driver, PEER, SECOND_US, Work, random_of, runs};
use crate::world::{Actor, Tx, World, parent, witness};

const WORK: [Work; 6] = [Work::Persist, Work::Load, Work::LoadBatch, Work::Seal, Work::Verify, Work::Sign];

/// Grows a graph. Every transaction in `txs` can be attached; those in `never` cannot.
struct Graph {
    actors: Vec<Actor>,
    txs: Vec<Tx>,
    never: Vec<Tx>,
    rotations: usize,
}

impl Graph {
    fn new(world: &World, random: &mut Random, count: usize) -> Self {
        let actors = (1..5).map(|m| world.member(m)).collect();
        let mut graph = Self { actors, txs: Vec::new(), never: Vec::new(), rotations: 0 };
        for label in ["newcomer", "another"] {
            let mut new = world.stranger(label);
            let enrol = new.enrol();
            graph.txs.push(enrol);
            graph.actors.push(new);
        }
        while graph.txs.len() < count {
            graph.grow(world, random);
        }
        graph
    }

    fn past(&self, random: &mut Random) -> [Tx; 2] {
        // Mostly the newest, now and then something old.
        let span = if random.below(6) == 0 { self.txs.len() } else { self.txs.len().min(5) };
        [(); 2].map(|()| self.txs[self.txs.len() - 1 - random.below(span as u64) as usize].clone())
    }

    fn grow(&mut self, world: &World, random: &mut Random) {
        let place = random.below(self.actors.len() as u64) as usize;
        let past = self.past(random);
        let past = [&past[0], &past[1]];
        // A body that can never be attached must not be that of a later genuine one.
        let label = format!("{} of {place}, after {}", self.txs.len(), self.never.len());
        let actor = &mut self.actors[place];
        let tx = match random.below(20) {
            0 => {
                // From now on the same identity signs two chains. (A third body of one place is another scenario's.)
                let issuer = self.actors[place].issuer;
                if self.actors.len() < 9 && self.actors.iter().filter(|a| a.issuer == issuer).count() < 2 {
                    let branch = self.actors[place].clone();
                    self.actors.push(branch);
                }
                return;
            }
            1 | 2 => {
                self.rotations += 1;
                actor.rotate(&format!("key {} of {place}", self.rotations), &past)
            }
            3..=6 => actor.approval(&past),
            7 => {
                let mut body = actor.body(&label, &past);
                body.approves[1].sequence += 1;
                self.never.push(actor.sign(body));
                return;
            }
            8 => {
                // Key and place do not fit: rejected, or waiting for ever when they come too early.
                let body = actor.body(&label, &past);
                self.never.push(world.sign(body, &actor.keys[0], actor.keys.len() as u32 + 3));
                return;
            }
            9 | 10 if place < 3 => {
                let part = witness(1, Parents::Anchor(world.network.genesis_id()), &past);
                let body = Body { witness: Some(part), ..actor.body(&label, &past) };
                actor.issue(body)
            }
            11 if place < 3 => {
                let newest: Option<Vec<_>> = (1..4_u8)
                    .map(|m| {
                        let issuer = world.member(usize::from(m)).issuer;
                        self.txs.iter().rev().find(|t| t.reference.issuer == issuer).map(|t| parent(m, t))
                    })
                    .collect();
                let Some(parents) = newest else { return };
                let part = witness(2, Parents::Witnesses(parents), &[]);
                let body = Body { witness: Some(part), ..actor.body("", &past) };
                actor.issue(body)
            }
            _ => actor.note(&label, &past),
        };
        self.txs.push(tx);
    }
}

struct Chaos {
    random: Random,
    graph: Graph,
    lost: Vec<crate::driver::Asked>,
}

impl Chaos {
    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    fn peer(&mut self) -> PeerId {
        PeerId(1 + self.random.below(3))
    }

    fn any_frame(&mut self) -> std::sync::Arc<[u8]> {
        let (all, never) = (self.graph.txs.len(), self.graph.never.len());
        match self.below(12) {
            0 if never > 0 => {
                let at = self.below(never);
                self.graph.never[at].envelope.clone()
            }
            1 => {
                let (at, salt) = (self.below(all), self.below(4) as u8);
                self.graph.txs[at].forged(salt)
            }
            2 => {
                let at = self.below(all);
                let mut bytes = self.graph.txs[at].envelope.to_vec();
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << self.below(8);
                bytes.into()
            }
            _ => {
                let at = self.below(all);
                self.graph.txs[at].envelope.clone()
            }
        }
    }

    fn step(&mut self, mut driver: Driver) -> Driver {
        match self.below(60) {
            0 => {
                self.lost.clear();
                driver = driver.crash();
                meet(&mut driver);
            }
            1 => {
                let peer = self.peer();
                driver.input(Input::PeerDown(peer));
            }
            2 => {
                let peer = self.peer();
                meet_again(&mut driver, peer);
            }
            3..=8 => {
                let work = WORK[self.below(WORK.len())];
                driver.hold.insert(work);
            }
            9..=16 => {
                let work = WORK[self.below(WORK.len())];
                driver.release(work);
            }
            17 | 18 => {
                // `Persist` is never lost: a store that does not answer is broken.
                let work = WORK[1 + self.below(5)];
                self.lost.extend(driver.lose(work));
            }
            19 => {
                let work = WORK[1 + self.below(4)];
                if !driver.open_work(work).is_empty() {
                    driver.fail(work);
                }
            }
            20 => {
                // One answer, out of turn: perhaps to work that was lost and asked for again.
                self.lost.extend(driver.asked.iter().filter(|a| a.work != Work::Persist).cloned());
                if !self.lost.is_empty() {
                    let at = self.below(self.lost.len());
                    let asked = self.lost.swap_remove(at);
                    driver.asked.retain(|a| a.ticket != asked.ticket);
                    driver.answer(&asked);
                }
            }
            21..=24 => {
                let us = self.random.below(8 * SECOND_US);
                driver.advance_us(us);
            }
            25 => driver.advance_us(45 * SECOND_US),
            26 | 27 => {
                let count = 1 + self.below(15);
                driver.submit_count(0, count);
            }
            28 => {
                driver.issue(0, b"mine".to_vec());
            }
            _ => {
                let (peer, frame) = (self.peer(), self.any_frame());
                meet_again(&mut driver, peer);
                driver.frame_from(peer, &frame);
            }
        }
        driver
    }
}

/// After every start: streams and peers.
fn meet(driver: &mut Driver) {
    driver.describe(0, "a");
    for peer in 1..4 {
        meet_again(driver, PeerId(peer));
    }
}

/// Unless it is there: what these peers send is often enough a reason to send them away.
fn meet_again(driver: &mut Driver, peer: PeerId) {
    if driver.node.peers(driver.now).iter().all(|p| p.peer != peer) {
        driver.meet(peer);
    }
}

/// Hands in everything again until nothing new attaches.
fn deliver_all(driver: &mut Driver, txs: &[Tx]) {
    for work in WORK {
        driver.release(work);
    }
    meet(driver);
    for _ in 0..txs.len() {
        let before = driver.store.records().count();
        for tx in txs {
            meet_again(driver, PEER);
            driver.frame(tx);
        }
        driver.advance_us(130 * SECOND_US);
        if driver.store.records().count() == before {
            return;
        }
    }
}

fn tips_by_the_book(records: &[Record]) -> Vec<u64> {
    let members = || records.iter().filter(|r| !r.has(flag::SECOND_BRANCH));
    let covered: BTreeSet<u64> = members().flat_map(Record::references).collect();
    members().map(|r| r.number).filter(|n| !covered.contains(n)).collect()
}

fn check_end(driver: &Driver, node: &Node, graph: &Graph) {
    let attached = driver.store.attached();
    let missing: Vec<Id> = graph.txs.iter().map(Tx::id).filter(|id| !attached.contains(id)).collect();
    assert!(missing.is_empty(), "{} of {} are not attached: {missing:?}", missing.len(), graph.txs.len());
    assert!(graph.never.iter().all(|tx| !attached.contains(&tx.id())), "something impossible is attached");
    let records: Vec<Record> = driver.store.records().cloned().collect();
    let foreign = records.iter().filter(|r| r.issuer != driver.config.issuer).count();
    assert_eq!(foreign, graph.txs.len(), "nothing else of others is attached");
    assert_eq!(node.tip_numbers(), tips_by_the_book(&records));
    assert_eq!(node.status().pending, 0);
    driver.store.check_readings();
    // The own chain has no fork, and approves no second branch that was known.
    let own: Vec<&Record> = records.iter().filter(|r| r.issuer == driver.config.issuer).collect();
    assert!(own.iter().enumerate().all(|(at, r)| r.sequence == at as u64));
    for record in own {
        let second = |n: u64| records.get(n as usize).is_some_and(|r| r.has(flag::SECOND_BRANCH));
        assert!(!record.approves.into_iter().any(second), "{} approves a second branch", record.number);
    }
}

#[test]
fn in_the_end_the_ledger_is_the_graph_whatever_happened_on_the_way() {
    for seed in 0..runs(60) {
        println!("seed {seed}");
        let mut random = random_of(seed);
        let window = 3 + random.below(60) as usize;
        let mut driver = Driver::with(|c| {
            c.window_records = window;
            c.batch.readings_max = 7;
        });
        meet(&mut driver);
        let graph = Graph::new(&driver.world.clone(), &mut random, 60);
        let mut chaos = Chaos { random, graph, lost: Vec::new() };
        for _ in 0..500 {
            driver = chaos.step(driver);
        }
        driver.check_every = 16;
        deliver_all(&mut driver, &chaos.graph.txs);
        driver.input(Input::Flush);
        driver.advance_us(60 * SECOND_US);
        driver.check_every = 1;
        driver.check();
        assert!(driver.is_at_rest(), "it comes to rest");
        assert_eq!(driver.node.status().backlog_readings, 0);
        check_end(&driver, &driver.node, &chaos.graph);
        // And the same after a start.
        let tips = driver.node.tip_numbers();
        let driver = driver.restart(|_| {});
        assert_eq!(driver.node.tip_numbers(), tips);
    }
}
