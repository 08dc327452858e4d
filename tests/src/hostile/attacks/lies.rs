//! Right frames that say what is not so.

use std::net::SocketAddr;
use std::time::Duration;

use selvedge_core::hash::Id;
use selvedge_core::limits::FRONTIER_CHAINS_MAX;
use selvedge_core::wire::{
    self, ChainHead, ChainHeads, FetchEnd, Frontier, Have, Hello, Message, SHELL_KINDS,
};
use selvedge_core::{Issuer, codec};

use super::flood::invented;
use crate::hostile::attack::{Field, other_network};
use crate::hostile::link::{BULK, FRESH, Link};

/// Says one wrong hello after the other, whenever it is let in.
async fn hellos(field: &mut Field, change: impl Fn(&mut Hello)) {
    let mut turn = 0;
    while field.goes_on() && turn < field.orders.count {
        turn += 1;
        let to = field.target();
        let Some(mut link) = field.knock(to).await else { continue };
        let mut hello = field.hello();
        change(&mut hello);
        let _ = link.say(&Message::Hello(hello)).await;
        link.reason().await;
        field.leave(&link);
    }
}

/// A hello of another network.
pub(super) async fn network(field: &mut Field) {
    hellos(field, |hello| hello.network = other_network()).await;
}

/// A hello without a common version.
pub(super) async fn version(field: &mut Field) {
    hellos(field, |hello| (hello.lowest, hello.highest) = (7, 9)).await;
}

/// Something else before the hello; and nothing at all.
pub(super) async fn no_hello(field: &mut Field) {
    let to = field.target();
    if let Some(mut link) = field.knock(to).await {
        let _ = link.say(&Message::Prune).await;
        link.reason().await;
        field.leave(&link);
    }
    let to = field.target();
    if let Some(link) = field.knock(to).await {
        field.stay(&link).await;
    }
}

/// Frontiers of invented chains, in many parts, and of invented heads of honest chains.
pub(super) async fn frontier(field: &mut Field) {
    let honest = field.identity().members("");
    while field.goes_on() {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        let mut open = true;
        while open && field.goes_on() && link.sent.1 < field.orders.count {
            let mut chains = invented(field, FRONTIER_CHAINS_MAX - honest.len(), 1 << 40);
            for issuer in &honest {
                let head = ChainHead { sequence: 1 << 40, id: Id(field.maker.bytes32()) };
                chains.push(ChainHeads { issuer: *issuer, heads: vec![head] });
            }
            chains.sort_by_key(|chain| chain.issuer);
            let last = field.maker.below(8) == 0;
            open = link.say(&Message::Frontier(Frontier { last, chains })).await.is_ok();
            link.heard();
        }
        field.stay(&link).await;
    }
}

/// Heads, claims and bodies with the greatest sequence that there is.
pub(super) async fn great_sequences(field: &mut Field) {
    let victims = field.identity().members("g");
    let (mut turn, mut fetches) = (0, 0_u64);
    while field.goes_on() && turn < field.orders.count {
        turn += 1;
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        let head = ChainHead { sequence: u64::MAX, id: Id(field.maker.bytes32()) };
        let chain = |issuer: Issuer| ChainHeads { issuer, heads: vec![head] };
        let mut chains: Vec<ChainHeads> = victims.iter().copied().map(chain).collect();
        chains.push(chain(field.identity().issuer()));
        chains.sort_by_key(|chain| chain.issuer);
        let _ = link.say(&Message::Frontier(Frontier { last: true, chains })).await;
        // Long enough for it to be asked for, and to be shown in `peers`.
        for _ in 0..5 {
            pause(field, 100).await;
            if link.heard().iter().any(|frame| matches!(Message::open(frame), Ok(Message::Fetch(_)))) {
                fetches += 1;
                bring_greatest(field, &mut link, victims[0]).await;
            }
        }
        let _ = link.say(&Message::Have(Have { head: Some(head) })).await;
        pause(field, 200).await;
        field.leave(&link);
    }
    field.tally.say("fetches_answered", fetches);
}

/// Bodies that stand at the end of all numbers: one that is signed, and one in another's name.
async fn bring_greatest(field: &mut Field, link: &mut Link, victim: Issuer) {
    let mut body = field.maker.body();
    (body.sequence, body.prev) = (u64::MAX, Id(field.maker.bytes32()));
    let signed = field.maker.sign(&body);
    body.issuer = victim;
    let of_another = field.maker.garbage_signed(&body);
    let _ = link.send(BULK, &wire::transactions(&[&signed.envelope, &of_another.envelope])).await;
    let _ = link.send(FRESH, &wire::transaction(&signed.envelope)).await;
    let _ = link.send(BULK, &wire::fetch_end(true)).await;
}

/// Has what is asked for and never gives it: each answer is empty or holds what is of no use, and promises more.
pub(super) async fn empty_answers(field: &mut Field) {
    let mut links = Vec::new();
    for to in field.orders.targets.clone() {
        links.extend(field.force(to).await);
    }
    let (mut answers, mut turn) = (0_u64, 0_usize);
    while field.goes_on() && !links.is_empty() {
        let number = turn % links.len();
        turn += 1;
        if links[number].ended().is_some() {
            // Sent away, or the gateway was started again: back to it.
            field.leave(&links[number]);
            let to = field.orders.targets[number % field.orders.targets.len()];
            if let Some(link) = field.enter(to).await {
                links[number] = link;
            }
            continue;
        }
        answers += answer(field, &mut links[number]).await;
    }
    field.tally.say("fetches_answered", answers);
    for link in &links {
        field.leave(link);
    }
}

/// Names invented heads, and answers fetches at once with nothing, or with one body that nobody can place.
async fn answer(field: &mut Field, link: &mut Link) -> u64 {
    let honest = field.identity().members("");
    let mut chains = invented(field, 8, 1 << 20);
    for issuer in honest {
        let head = ChainHead { sequence: 1 << 20, id: Id(field.maker.bytes32()) };
        chains.push(ChainHeads { issuer, heads: vec![head] });
    }
    chains.sort_by_key(|chain| chain.issuer);
    if link.say(&Message::Frontier(Frontier { last: true, chains })).await.is_err() {
        return 0;
    }
    let mut answers = 0;
    for _ in 0..100 {
        link.wait(Duration::from_millis(50).min(field.left())).await;
        let heard = link.heard();
        if heard.is_empty() || !field.goes_on() {
            break;
        }
        for frame in heard {
            let Ok(Message::Fetch(fetch)) = Message::open(&frame) else { continue };
            answers += 1;
            if answers % 2 == 0 {
                let mut body = field.maker.body();
                (body.issuer, body.sequence) = (fetch.ranges[0].issuer, fetch.ranges[0].from);
                body.prev = Id(field.maker.bytes32());
                let useless = field.maker.garbage_signed(&body);
                let _ = link.send(BULK, &wire::transactions(&[&useless.envelope])).await;
            }
            let end = Message::FetchEnd(FetchEnd { more: true }).to_frame();
            if link.send(BULK, &end).await.is_err() {
                return answers;
            }
        }
    }
    answers
}

/// Claims to hold more of each gateway's own chain than there is, over and over.
pub(super) async fn own_head(field: &mut Field) {
    while field.goes_on() {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        // Several claims a connection, and then a new connection: each may be believed anew.
        for _ in 0..10 {
            let head = ChainHead { sequence: 1 << 30, id: Id(field.maker.bytes32()) };
            if !field.goes_on() || link.say(&Message::Have(Have { head: Some(head) })).await.is_err() {
                break;
            }
            pause(field, 100).await;
        }
        field.leave(&link);
    }
}

/// Frames of addresses: members where nobody is, members who do not exist, too many frames, and one that is none.
pub(super) async fn addresses(field: &mut Field) {
    let members = field.identity().members("");
    let targets = field.orders.targets.clone();
    let mut told = 0_u64;
    while field.goes_on() && told < field.orders.count {
        let to = field.target();
        let Some(mut link) = field.enter(to).await else { continue };
        let mut open = true;
        while open && field.goes_on() && told < field.orders.count {
            told += 1;
            let list: Vec<(Issuer, String)> = (0..64).map(|n| lie(field, &members, &targets, n)).collect();
            open = link.send(FRESH, &addresses_frame(&list)).await.is_ok();
        }
        if told >= field.orders.count {
            // And one that nobody can be reached at.
            let list = vec![(members[0], "0.0.0.0:0".to_owned())];
            let _ = link.send(FRESH, &addresses_frame(&list)).await;
        }
        link.reason().await;
        field.leave(&link);
    }
    field.tally.say("addresses", told * 64);
}

fn lie(field: &mut Field, members: &[Issuer], targets: &[SocketAddr], n: usize) -> (Issuer, String) {
    let port = 1 + field.maker.below(65_535);
    match n % 3 {
        // Another member is said to be where one of the gateways is.
        0 => (members[n % members.len()], targets[n % targets.len()].to_string()),
        // A member is said to be where nobody is.
        1 => (members[n % members.len()], format!("127.9.{}.1:{port}", field.maker.below(250))),
        _ => (Issuer(field.maker.bytes32()), format!("127.8.{}.1:{port}", field.maker.below(250))),
    }
}

/// The shell's frame of addresses, as it is coded there.
fn addresses_frame(list: &[(Issuer, String)]) -> Vec<u8> {
    let mut frame = vec![SHELL_KINDS];
    frame.append(&mut codec::encode(&list));
    frame
}

/// The attacker's own pace.
async fn pause(field: &Field, ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms).min(field.left())).await;
}
