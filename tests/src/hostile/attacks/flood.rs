//! As much as possible, as fast as possible.

use selvedge_core::hash::{Hash, Id};
use selvedge_core::limits::REFERENCES_PER_ASK_MAX;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::{
    self, Announce, ChainHead, ChainHeads, Digest, Fetch, Frontier, Have, Message, Notice, Want,
};

use crate::hostile::attack::{Field, whole};
use crate::hostile::link::{FRESH, Link};

/// Sends what `make` makes until the time is over, and comes back when it was sent away.
async fn flood(field: &mut Field, mut make: impl FnMut(&mut Field) -> Vec<u8>) {
    let mut sent = 0;
    while field.goes_on() && sent < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        while field.goes_on() && sent < field.orders.count {
            let frame = make(field);
            if link.send(FRESH, &frame).await.is_err() {
                break;
            }
            sent += 1;
        }
        settle(field, link).await;
    }
}

/// What it did is judged by what became of the connection shortly after.
async fn settle(field: &mut Field, link: Link) {
    let within = field.left().min(std::time::Duration::from_millis(300));
    // Either way the outcome is counted.
    let _ = tokio::time::timeout(within, link.connection().closed()).await;
    field.leave(&link);
}

/// Announcements of what does not exist.
pub(super) async fn announcements(field: &mut Field) {
    flood(field, |field| {
        let references = (0..REFERENCES_PER_ASK_MAX).map(|_| field.maker.nothing()).collect();
        Message::Announce(Announce { references }).to_frame().to_vec()
    })
    .await;
}

/// Transactions that differ from right ones in their signature only.
pub(super) async fn signatures(field: &mut Field) {
    flood(field, |field| {
        let body = field.maker.body();
        let made = field.maker.garbage_signed(&body);
        wire::transaction(&made.envelope).to_vec()
    })
    .await;
}

/// Small frames that make the other side work or answer.
pub(super) async fn small(field: &mut Field) {
    let mut turn = 0;
    flood(field, |field| {
        turn += 1;
        let id = Id(field.maker.bytes32());
        let head = ChainHead { sequence: field.maker.below(1 << 30), id };
        let message = match turn % 5 {
            0 => Message::Digest(Digest { frontier: Hash(id.0) }),
            1 => Message::Frontier(Frontier { last: true, chains: Vec::new() }),
            2 => Message::Prune,
            3 => Message::Notice(Notice::AnotherMachine),
            _ => Message::Have(Have { head: Some(head) }),
        };
        message.to_frame().to_vec()
    })
    .await;
}

/// Wants of what exists and of what does not, and fetches of everything.
pub(super) async fn requests(field: &mut Field) {
    let to = field.target();
    let known = references(field, &to).await;
    let honest = field.identity().members("g");
    let mut turn = 0;
    flood(field, |field| {
        turn += 1;
        let message = if turn % 4 == 0 {
            let ranges = honest.iter().map(|issuer| whole(*issuer)).collect();
            Message::Fetch(Fetch { ranges, transactions_max: u32::MAX })
        } else {
            let one = |field: &mut Field| match known.len() as u64 {
                0 => field.maker.nothing(),
                count => known[field.maker.below(count) as usize],
            };
            let references = (0..REFERENCES_PER_ASK_MAX).map(|_| one(field)).collect();
            Message::Want(Want { graft: turn % 3 == 0, references })
        };
        message.to_frame().to_vec()
    })
    .await;
}

async fn references(field: &mut Field, to: &std::net::SocketAddr) -> Vec<Reference> {
    let network = field.identity().network.clone();
    let envelopes = field.overhear(*to).await;
    let opened = envelopes.iter().filter_map(|bytes| {
        let (envelope, body) = selvedge_core::transaction::Envelope::open(bytes).ok()?;
        let id = network.transaction_id(envelope.body);
        Some(Reference { issuer: body.issuer, sequence: body.sequence, id })
    });
    opened.collect()
}

/// Right transactions of its own, one after the other, to all gateways alike. Every one of them attaches.
pub(super) async fn transactions(field: &mut Field) {
    let mut links = Vec::new();
    for to in field.orders.targets.clone() {
        links.extend(field.force(to).await);
    }
    let mut made = 0_u64;
    while field.goes_on() && made < field.orders.count && !links.is_empty() {
        let frame = wire::transaction(&field.maker.go_on().envelope);
        made += 1;
        for link in &mut links {
            // A gateway that ended the connection gets them from the other one.
            let _ = link.send(FRESH, &frame).await;
        }
    }
    field.tally.say("transactions", made);
    for link in links {
        settle(field, link).await;
    }
}

/// Honest transactions, again and again, and as answers that nobody asked for.
pub(super) async fn replay(field: &mut Field) {
    let to = field.target();
    let envelopes = field.overhear(to).await;
    field.tally.say("overheard", envelopes.len());
    if envelopes.is_empty() {
        return;
    }
    let mut turn = 0;
    flood(field, |_| {
        turn += 1;
        let envelope = &envelopes[turn % envelopes.len()];
        if turn % 5 == 0 {
            return wire::transactions(&[envelope]).to_vec();
        }
        wire::transaction(envelope).to_vec()
    })
    .await;
}

/// Heads of chains that do not exist, ascending by issuer.
pub(super) fn invented(field: &mut Field, count: usize, greatest: u64) -> Vec<ChainHeads> {
    let mut chains: Vec<ChainHeads> = (0..count)
        .map(|_| {
            let head = ChainHead { sequence: greatest, id: Id(field.maker.bytes32()) };
            ChainHeads { issuer: selvedge_core::Issuer(field.maker.bytes32()), heads: vec![head] }
        })
        .collect();
    chains.sort_by_key(|chain| chain.issuer);
    chains
}
