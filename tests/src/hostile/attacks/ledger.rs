//! Transactions that are to harm the ledger itself.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use selvedge_core::transaction::{Envelope, Reference};
use selvedge_core::wire::{self, Message, Want};
use selvedge_crypto::ids;

use crate::hostile::attack::Field;
use crate::hostile::link::{BULK, FRESH, Link};
use crate::hostile::make::{self, Made};

/// Bodies for one place.
const BODIES: u64 = 40;
/// Copies with garbage for a signature before a genuine one, at most: as many as are kept until one of them verifies.
const GARBAGE_COPIES: u64 = 3;
/// A gateway is asked this often whether it holds something.
const ASKED_EVERY: Duration = Duration::from_millis(100);
/// Transactions to come before a connection is looked at again.
const BURST: u64 = 64;

/// Sends transactions of `make`, hears what is wanted of it, and gives nothing.
async fn give_and_withhold(field: &mut Field, mut make: impl FnMut(&mut Field) -> Made) {
    let (mut sent, mut wanted) = (0_u64, 0_u64);
    while field.goes_on() && sent < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        while field.goes_on() && sent < field.orders.count {
            let made = make(field);
            if link.send(FRESH, &wire::transaction(&made.envelope)).await.is_err() {
                break;
            }
            sent += 1;
            if sent % BURST == 0 {
                wanted += wants(&link);
            }
        }
        field.stay(&link).await;
        wanted += wants(&link);
    }
    field.tally.say("transactions", sent);
    field.tally.say("wanted_of_it", wanted);
}

/// References that a gateway asked for.
fn wants(link: &Link) -> u64 {
    let of = |frame: Vec<u8>| match Message::open(&frame) {
        Ok(Message::Want(want)) => want.references.len() as u64,
        _ => 0,
    };
    link.heard().into_iter().map(of).sum()
}

/// A chain of which the first transaction is never given.
pub(super) async fn withheld_parents(field: &mut Field) {
    let withheld = field.maker.go_on();
    field.tally.say("withheld", ids::to_text(&withheld.reference.id));
    give_and_withhold(field, |field| field.maker.go_on()).await;
}

/// Transactions that approve what does not exist.
pub(super) async fn references_to_nothing(field: &mut Field) {
    give_and_withhold(field, |field| {
        let mut body = field.maker.body();
        body.approves = [field.maker.nothing(), field.maker.nothing()];
        field.maker.sign(&body)
    })
    .await;
}

/// To each gateway copies with garbage for a signature, and the genuine one after them: to the same gateway, and to
/// another one only.
pub(super) async fn garbage_first(field: &mut Field) {
    let mut links = Vec::new();
    for to in field.orders.targets.clone() {
        links.extend(field.force(to).await);
    }
    let (mut genuine, mut given) = (Vec::new(), vec![Vec::new(); links.len()]);
    for turn in 0..field.orders.count {
        let body = field.maker.body();
        let made = field.maker.sign(&body);
        for _ in 0..=turn % GARBAGE_COPIES {
            let garbage = field.maker.garbage_signed(&body);
            for link in &mut links {
                let _ = link.send(FRESH, &wire::transaction(&garbage.envelope)).await;
            }
        }
        // Now to all, now to the last only: the others have to get it from there.
        let from = if turn % 2 == 0 { 0 } else { links.len().saturating_sub(1) };
        for (link, given) in links.iter_mut().zip(&mut given).skip(from) {
            let _ = link.send(FRESH, &wire::transaction(&made.envelope)).await;
            given.push(made.reference);
        }
        field.maker.follow(&made);
        genuine.push(ids::to_text(&made.reference.id));
        // The attacker's own pace: garbage and genuine ones come to be judged together, and not one after the other.
        tokio::time::sleep(Duration::from_millis(50).min(field.left())).await;
    }
    field.tally.say("genuine", genuine);
    for (link, given) in links.iter_mut().zip(given) {
        held(field, link, given).await;
        field.leave(link);
    }
}

/// One body to each gateway, at one place; both branches go on.
pub(super) async fn fork(field: &mut Field) {
    let mut links = Vec::new();
    for to in field.orders.targets.clone() {
        links.extend(field.force(to).await);
    }
    let (mut bodies, mut given) = (Vec::new(), Vec::new());
    let body = field.maker.body();
    for (number, link) in links.iter_mut().enumerate() {
        let mut body = body.clone();
        body.payload = format!("branch {number}").into_bytes();
        let made = field.maker.sign(&body);
        field.maker.follow(&made);
        let next = field.maker.go_on();
        for made in [&made, &next] {
            let _ = link.send(FRESH, &wire::transaction(&made.envelope)).await;
        }
        bodies.push(ids::to_text(&made.reference.id));
        given.push(vec![made.reference, next.reference]);
    }
    field.tally.say("bodies", bodies);
    for (link, given) in links.iter_mut().zip(given) {
        held(field, link, given).await;
        field.leave(link);
    }
}

/// Waits until a gateway holds these: it gives them when it is asked. What it has not judged when a connection ends it
/// forgets with the connection. A gateway that never holds them is left when the attack's time is over.
async fn held(field: &Field, link: &mut Link, mut missing: Vec<Reference>) {
    while !missing.is_empty() && link.ended().is_none() {
        let want = Message::Want(Want { graft: false, references: missing.clone() });
        if link.say(&want).await.is_err() {
            return;
        }
        let until = Instant::now() + ASKED_EVERY;
        while !missing.is_empty() && Instant::now() < until && link.ended().is_none() {
            link.wait(until.saturating_duration_since(Instant::now())).await;
            for frame in link.heard() {
                let there = references_in(field, &frame);
                missing.retain(|reference| !there.contains(reference));
            }
        }
    }
}

/// Many bodies at one place to the first gateway, while an observer with another key counts at the last gateway how
/// many of them are passed on.
pub(super) async fn many_bodies(field: &mut Field) {
    assert!(field.orders.identities.len() > 1, "this attack needs an observer: give --keys twice");
    let first = field.orders.targets[0];
    let last = *field.orders.targets.last().expect("there is one");
    let Some(mut observer) = field.knock_as(last, 1, true).await else { return };
    let hello = field.hello();
    let _ = observer.say(&Message::Hello(hello)).await;
    let Some(mut link) = field.force(first).await else { return };
    let made: Vec<Made> = (0..BODIES)
        .map(|_| {
            let body = field.maker.body();
            field.maker.sign(&body)
        })
        .collect();
    for made in &made {
        let _ = link.send(FRESH, &wire::transaction(&made.envelope)).await;
    }
    let place: BTreeSet<Reference> = made.iter().map(|m| m.reference).collect();
    let mut passed_on = BTreeSet::new();
    while field.goes_on() {
        observer.wait(field.left()).await;
        for frame in observer.heard() {
            passed_on.extend(references_in(field, &frame).into_iter().filter(|r| place.contains(r)));
        }
    }
    field.tally.say("bodies", made.len());
    field.tally.say("passed_on", passed_on.len());
    field.leave(&link);
    field.leave(&observer);
}

/// What a frame carries or announces.
fn references_in(field: &Field, frame: &[u8]) -> Vec<Reference> {
    let network = &field.identity().network;
    let open = |bytes: &[u8]| {
        let (envelope, body) = Envelope::open(bytes).ok()?;
        let id = network.transaction_id(envelope.body);
        Some(Reference { issuer: body.issuer, sequence: body.sequence, id })
    };
    match Message::open(frame) {
        Ok(Message::Transaction(one)) => open(one).into_iter().collect(),
        Ok(Message::Transactions(some)) => some.into_iter().filter_map(open).collect(),
        Ok(Message::Announce(announce)) => announce.references,
        _ => Vec::new(),
    }
}

/// Honest transactions as nobody may write them, before the other gateway has them.
pub(super) async fn not_canonical(field: &mut Field) {
    let from = field.target();
    let (mut copies, mut overheard) = (0_u64, 0_u64);
    while field.goes_on() && copies < field.orders.count {
        let Some(source) = field.enter(from).await else { continue };
        let to = field.target();
        let to = if to == from { field.target() } else { to };
        let Some(mut sink) = field.enter(to).await else { continue };
        let mut open = true;
        while open && field.goes_on() && copies < field.orders.count && source.ended().is_none() {
            source.wait(field.left()).await;
            for frame in source.heard() {
                let Ok(Message::Transaction(envelope)) = Message::open(&frame) else { continue };
                overheard += 1;
                for (number, copy) in make::not_canonical(envelope).iter().enumerate() {
                    let lane = if number % 2 == 0 { FRESH } else { BULK };
                    open = open && sink.send(lane, &wire::transaction(copy)).await.is_ok();
                    copies += 1;
                }
            }
        }
        for link in [&source, &sink] {
            field.leave(link);
        }
    }
    field.tally.say("overheard", overheard);
    field.tally.say("copies", copies);
}
