//! A gateway that starts from an old image of its card, takes back from its peers what it issued after that, and goes on:
//! every counter once, every number of a batch once, every acknowledged reading once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_core::border::{Input, Origin, Outcome, ReplyTo, StartCheck, Write};
use selvedge_core::codec;
use selvedge_core::journal::JournalRecord;
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::random::Random;
use selvedge_core::reading::{Reading, Value};
use selvedge_core::seal::SealedBatch;
use selvedge_core::transaction::Envelope;
use selvedge_core::{Hash, limits};

use crate::driver::{Driver, PEER, SECOND_US, Work, random_of, runs};
use crate::store::Store;

const STREAMS: [&str; 4] = ["a", "b", "c", "late"];
/// So long a start waits for a peer.
const WAIT_US: u64 = 3 * SECOND_US;
const HELD: [Work; 5] = [Work::Persist, Work::Seal, Work::Sign, Work::LoadBatch, Work::Verify];

/// A gateway whose readings are numbered, and what was acknowledged of them.
struct Gateway {
    driver: Driver,
    random: Random,
    next_value: u64,
    waiting: BTreeMap<ReplyTo, Vec<u64>>,
    acknowledged: BTreeSet<u64>,
    /// Streams that are described.
    described: usize,
}

impl Gateway {
    fn new(seed: u64) -> Self {
        let mut random = random_of(seed);
        let check = if random.below(2) == 0 { StartCheck::None } else { StartCheck::Bounded(WAIT_US) };
        let mut driver = Driver::with(|c| {
            c.batch.readings_max = 6;
            c.start_check = check;
        });
        driver.check_every = 7;
        let mut gateway = Self {
            driver,
            random,
            next_value: 0,
            waiting: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            described: 3,
        };
        gateway.describe();
        gateway
    }

    fn describe(&mut self) {
        for (handle, name) in STREAMS.iter().enumerate().take(self.described) {
            self.driver.describe(handle as u32, name);
        }
    }

    /// Does something, whatever it is.
    fn step(&mut self) {
        match self.random.below(12) {
            0..6 => self.submit(),
            6 => self.driver.advance_us(1_000 + self.random.below(2 * SECOND_US)),
            7 => self.driver.input(Input::Flush),
            8 | 9 => {
                let work = HELD[self.random.below(HELD.len() as u64) as usize];
                if !self.driver.hold.insert(work) {
                    self.driver.release(work);
                }
            }
            10 => self.release(),
            _ if self.random.below(3) == 0 => self.crash(),
            _ => self.driver.advance_us(11 * SECOND_US),
        }
        self.hear();
    }

    fn submit(&mut self) {
        self.driver.advance_us(1_000);
        let count = 1 + self.random.below(4);
        let values: Vec<u64> = (self.next_value..self.next_value + count).collect();
        self.next_value += count;
        let handle = self.random.below(self.described as u64) as u32;
        let readings = values.iter().map(|v| self.driver.reading(handle, Value::Unsigned(*v))).collect();
        let reply = self.driver.submit(readings);
        self.waiting.insert(reply, values);
    }

    /// What was acknowledged meanwhile.
    fn hear(&mut self) {
        let heard = |reply: &ReplyTo| self.driver.outcome(*reply) == Some(Outcome::Durable);
        let replies: Vec<ReplyTo> = self.waiting.keys().filter(|r| heard(r)).copied().collect();
        for reply in replies {
            self.acknowledged.extend(self.waiting.remove(&reply).expect("it waits"));
        }
        self.driver.take();
    }

    fn release(&mut self) {
        for work in HELD {
            self.driver.release(work);
        }
    }

    fn crash(&mut self) {
        self.hear();
        self.waiting.clear();
        replace(&mut self.driver, Driver::crash);
        self.driver.check_every = 7;
        self.describe();
        self.driver.meet(PEER);
    }

    /// What a power cut now would leave.
    fn image(&self) -> Store {
        let mut image = self.driver.store.clone();
        image.cut();
        image
    }

    /// Everything comes to rest, in batches on the chain.
    fn rest(&mut self) {
        self.release();
        self.driver.advance_us(2 * WAIT_US);
        for _ in 0..40 {
            self.driver.input(Input::Flush);
            self.driver.advance_us(SECOND_US);
        }
        self.hear();
    }
}

fn replace(driver: &mut Driver, change: impl FnOnce(Driver) -> Driver) {
    let other = Driver::new();
    *driver = change(std::mem::replace(driver, other));
}

/// Own transactions in a store, by sequence.
fn own_chain(store: &Store, driver: &Driver) -> Vec<Arc<[u8]>> {
    let mut own: Vec<_> = store.transactions().filter(|(r, _)| r.issuer == driver.config.issuer).collect();
    own.sort_by_key(|(r, _)| r.sequence);
    own.into_iter().map(|(_, envelope)| envelope.clone()).collect()
}

/// The payloads of the batches on a chain, in order.
fn batches_of(chain: &[Arc<[u8]>]) -> Vec<Batch> {
    let bodies = chain.iter().map(|envelope| Envelope::open(envelope).expect("it is attached").1);
    let batches = bodies.filter(|body| body.kind == PayloadKind::Batch as u16);
    batches.map(|body| codec::decode(&body.payload).expect("an own batch")).collect()
}

/// The values on the chain, each once; numbers and counters without a gap.
fn check_chain(
    batches: &[Batch],
    archive: &BTreeMap<Hash, SealedBatch>,
    names: &BTreeMap<Hash, String>,
) -> Result<BTreeSet<u64>, String> {
    let mut next: BTreeMap<&str, u64> = BTreeMap::new();
    let mut values = BTreeSet::new();
    for (number, batch) in batches.iter().enumerate() {
        if batch.number != number as u64 {
            return Err(format!("batch {} is the {number}th on the chain", batch.number));
        }
        let sealed = &archive[&batch.segment];
        assert_eq!(
            (sealed.number, &sealed.streams, sealed.root()),
            (batch.number, &batch.streams, batch.root)
        );
        for span in &batch.streams {
            let next = next.entry(&names[&span.descriptor]).or_default();
            if span.first != *next {
                let name = &names[&span.descriptor];
                return Err(format!(
                    "batch {number}, stream {name}: counter {}, expected {next}",
                    span.first
                ));
            }
            *next += u64::from(span.count);
        }
        for (at, block) in sealed.blocks.iter().enumerate() {
            let reading = Reading::from_block(block, None).expect("a reading");
            assert_eq!(batch.leaf_index(reading.stream_index, reading.counter), Some(at as u64));
            let Value::Unsigned(value) = reading.value else { return Err("another value".into()) };
            if !values.insert(value) {
                return Err(format!("reading {value} is on the chain twice, again in batch {number}"));
            }
        }
    }
    Ok(values)
}

/// One history: a gateway, an image of it, what it does after that, and the same card started from the image.
fn history(seed: u64) -> Result<(usize, usize), String> {
    let mut gateway = Gateway::new(seed);
    for _ in 0..gateway.random.below(60) {
        gateway.step();
    }
    let (image, known) = (gateway.image(), gateway.acknowledged.clone());
    gateway.described = 3 + gateway.random.below(2) as usize;
    gateway.describe();
    for _ in 0..gateway.random.below(80) {
        gateway.step();
    }
    gateway.hear();
    // What left it: durable transactions. What it only journaled after the image is lost with the card.
    let lost = gateway.image();
    let before = own_chain(&image, &gateway.driver).len();
    let tail = own_chain(&lost, &gateway.driver).split_off(before);
    let (mut archive, mut names) = (lost.archive.clone(), lost.names());
    gateway.acknowledged = known;
    gateway.waiting.clear();
    gateway.driver.hold.clear();
    gateway.driver.advance_us(SECOND_US);
    gateway.driver.store = image;
    replace(&mut gateway.driver, |d| d.restart(|c| c.start_check = StartCheck::Bounded(WAIT_US)));
    gateway.driver.check_every = 7;
    gateway.driver.meet(PEER);
    gateway.described = 3;
    gateway.describe();
    take_back(&mut gateway, &tail);
    gateway.described = 4;
    gateway.describe();
    for _ in 0..gateway.random.below(60) {
        gateway.step();
    }
    gateway.rest();
    let chain = own_chain(&gateway.driver.store, &gateway.driver);
    if chain[before..].iter().zip(&tail).any(|(got, expected)| got != expected)
        || chain.len() < before + tail.len()
    {
        return Err("the tail was not taken back".into());
    }
    archive.extend(gateway.driver.store.archive.clone());
    names.extend(gateway.driver.store.names());
    let batches = batches_of(&chain);
    let values = check_chain(&batches, &archive, &names)?;
    let missing: Vec<_> = gateway.acknowledged.difference(&values).collect();
    if !missing.is_empty() || gateway.driver.node.status().backlog_readings > 0 {
        return Err(format!("acknowledged and not on the chain: {missing:?}"));
    }
    Ok((tail.len(), values.len()))
}

/// The tail comes, with readings and power cuts in between, until the gateway has it.
fn take_back(gateway: &mut Gateway, tail: &[Arc<[u8]>]) {
    for _ in 0..gateway.random.below(4) {
        gateway.submit();
    }
    let (mut at, mut crashes) = (0, 0);
    while at < tail.len() {
        gateway.driver.frame_from(PEER, &tail[at]);
        at += 1;
        match gateway.random.below(8) {
            0 => gateway.submit(),
            1 if crashes < 3 => {
                crashes += 1;
                gateway.crash();
                at = 0;
            }
            2 => drop(gateway.driver.hold.insert(Work::Persist)),
            3 => gateway.release(),
            _ => {}
        }
        gateway.hear();
    }
    gateway.release();
    gateway.hear();
}

#[test]
fn a_restored_image_takes_its_tail_back_and_goes_on_without_using_anything_twice() {
    let (mut taken_back, mut readings) = (0, 0);
    for seed in 0..runs(600) {
        let outcome = history(seed);
        let (tail, values) = outcome.unwrap_or_else(|why| panic!("history of seed {seed}: {why}"));
        taken_back += tail;
        readings += values;
    }
    println!("{taken_back} transactions taken back, {readings} readings on the chains");
    assert!(taken_back > 0 && readings > 0);
}

/// An image of an hour ago whose journal held an open batch; the tail carries its readings and others.
#[test]
fn readings_that_the_tail_carries_are_not_issued_again() {
    let mut driver = Driver::with(|c| c.batch.readings_max = 5);
    driver.describe(0, "a");
    driver.submit_count(0, 7);
    let image = driver.store.clone();
    driver.advance_us(SECOND_US);
    driver.submit_count(0, 6);
    let chain = own_chain(&driver.store, &driver);
    assert_eq!(batches_of(&chain).len(), 2, "the tail is the second batch");
    driver.store = image;
    let mut driver = driver.restart(|c| c.start_check = StartCheck::Bounded(WAIT_US));
    driver.meet(PEER);
    driver.describe(0, "a");
    driver.submit_count(0, 2);
    driver.frame_from(PEER, &chain[1]);
    driver.advance_us(2 * WAIT_US);
    driver.input(Input::Flush);
    let batches = batches_of(&own_chain(&driver.store, &driver));
    let spans: Vec<_> = batches.iter().map(|b| (b.number, b.streams[0].first, b.count)).collect();
    assert_eq!(
        spans,
        [(0, 0, 5), (1, 5, 5), (2, 10, 2)],
        "two of the image are in the tail; the two new ones follow it"
    );
    assert_eq!(driver.node.status().backlog_readings, 0);
    // From here on counters are final when they are journaled.
    driver.submit_count(0, 1);
    let Some(Write::Journal { record, .. }) = driver.store.log.last() else {
        panic!("a reading was journaled")
    };
    let record: JournalRecord = codec::decode(record).expect("the core's own");
    assert!(!record.floating);
    assert_eq!(Reading::from_block(&record.blocks()[0], None).expect("a reading").counter, 12);
}

#[test]
fn messages_outlive_the_batches_that_they_came_with() {
    let mut driver = Driver::with(|c| c.batch.readings_max = 3);
    driver.describe(0, "a");
    let origin = |n: u64| Origin { source: n % 2, packet: n as u16, digest: [n as u8; 16] };
    for n in 0..700 {
        let (readings, reply) = (vec![driver.reading(0, Value::Unsigned(n))], ReplyTo(n));
        driver.input(Input::Submit { readings, origins: vec![origin(n)], reply });
    }
    let newest = |origins: &[Origin], source: u64| -> Vec<u16> {
        origins.iter().filter(|o| o.source == source).map(|o| o.packet).collect()
    };
    let expected = |source: u64| -> Vec<u16> {
        let all: Vec<u16> = (0..700_u64).filter(|n| n % 2 == source).map(|n| n as u16).collect();
        all[all.len() - limits::ORIGINS_HELD_MAX..].to_vec()
    };
    // All but the newest batch is freed, and gone.
    let kept = driver.node.status().closed_batches;
    assert_eq!(kept, 0);
    driver.store.forget_journal_before(233);
    driver = driver.crash();
    for source in 0..2 {
        assert_eq!(newest(&driver.node.origins(), source), expected(source));
    }
    // And once more, with readings that nobody is acknowledged for.
    driver.describe(0, "a");
    driver.submit_count(0, 9);
    driver.store.forget_journal_before(236);
    driver = driver.crash();
    for source in 0..2 {
        assert_eq!(newest(&driver.node.origins(), source), expected(source));
    }
}
