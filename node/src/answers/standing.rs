//! The part of `status` that is about others: the peers in short, and how this gateway's own chain stands with them.

use selvedge_core::border::Silence;
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::live::Live;
use super::status::StatusAnswer;
use super::times::{count_words, plural};

/// A node that runs this long without any peer needs a person.
const LONELY_S: u64 = 60;

/// Its peers in short; [`peers`](super::peers) says more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersSummary {
    /// Where it waits for peers.
    pub listen: Option<String>,
    /// Connections that are up and greeted.
    pub connected: u64,
    /// Addresses and members that it wants to reach and does not.
    pub missing: u64,
    /// Why one of those is not reached, in words.
    pub last_reason: Option<String>,
}

/// How the gateway's own chain stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnChainAnswer {
    /// What came of the question to peers at the start, how far they hold this chain.
    pub start_check: String,
    /// Why it issues nothing, when it does not.
    pub silence: Option<String>,
    /// Own transactions that no peer has said to hold; `None`: no peer has said anything since the start.
    pub unshared: Option<u64>,
    /// Own transactions that came back from peers since the start.
    pub adopted: u64,
    /// Sequence and id of a transaction of this gateway's key that another machine made.
    pub another_machine: Option<(u64, String)>,
    /// Peers that say that two machines use this gateway's key.
    pub said_to_be_two: Vec<String>,
    /// Other members of which two machines are up with one key.
    pub twins: Vec<String>,
}

pub(super) fn peers_summary(live: &Live) -> Option<PeersSummary> {
    let net = live.net.as_deref()?;
    let is_up = |issuer| live.peers.iter().any(|peer| peer.issuer == issuer);
    let missing: Vec<_> = net.dials.iter().filter(|dial| !dial.issuer.is_some_and(is_up)).collect();
    Some(PeersSummary {
        listen: live.listen.map(|listen| listen.to_string()),
        connected: live.peers.iter().filter(|peer| !peer.software.is_empty()).count() as u64,
        missing: missing.len() as u64,
        last_reason: missing.iter().find_map(|dial| dial.last.clone()),
    })
}

pub(super) fn own_chain(live: &Live) -> OwnChainAnswer {
    let (ledger, notices) = (&live.ledger, &live.notices);
    let start_check = match (notices.settled, ledger.silence) {
        (_, Some(silence @ (Silence::Asking | Silence::Restored))) => silence.to_string(),
        (Some((0, true)), _) => "peers hold no more of it than this gateway".to_owned(),
        (Some((adopted, true)), _) => format!("{} came back from peers", plural(adopted, "own transaction")),
        (Some((_, false)), _) => "no peer answered in time; it went on alone".to_owned(),
        (None, _) => "not made: there was nobody to ask".to_owned(),
    };
    OwnChainAnswer {
        start_check,
        silence: ledger.silence.map(|silence| silence.to_string()),
        unshared: ledger.unshared.filter(|_| live.net.is_some()),
        adopted: ledger.adopted,
        another_machine: notices.another_machine.map(|(sequence, id)| (sequence, ids::to_text(&id))),
        said_to_be_two: notices.said_to_be_two.iter().map(ids::to_text).collect(),
        twins: notices.twins.iter().map(ids::to_text).collect(),
    }
}

/// What of this needs a person.
pub(super) fn attention(answer: &StatusAnswer) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(own) = &answer.own_chain {
        if let Some(by) = own.said_to_be_two.first() {
            found.push(format!(
                "key: {by} says that two machines with this gateway's key are up; is there a copy of this card? Switch one \
                 off"
            ));
        }
        if let Some(issuer) = own.twins.first() {
            found.push(format!(
                "key: two machines use the key of {issuer}: a copied card; tell whoever owns it"
            ));
        }
    }
    if let Some(peers) = &answer.peers
        && peers.connected == 0
        && peers.missing > 0
        && answer.uptime_s.is_some_and(|s| s >= LONELY_S)
    {
        let why = peers.last_reason.as_deref().unwrap_or("no reason known yet");
        found.push(format!(
            "peers: none is connected: {why}. They are tried again by themselves; `selvedge peers` shows each"
        ));
    }
    found
}

/// For people.
pub(super) fn words(peers: &PeersSummary, own: Option<&OwnChainAnswer>) -> String {
    let mut words = vec![format!("{} connected", count_words(peers.connected))];
    if peers.missing > 0 {
        words.push(format!(", {} not", count_words(peers.missing)));
    }
    match &peers.listen {
        Some(listen) => words.push(format!("; listens on {listen}")),
        None => words.push("; only dials".to_owned()),
    }
    let Some(own) = own else { return words.concat() };
    match own.unshared {
        Some(0) => words.push("; each own transaction is held by a peer".to_owned()),
        Some(unshared) => {
            words.push(format!("; {} that no peer has yet", plural(unshared, "own transaction")));
        }
        None => words.push("; no peer has said yet what it holds of the own chain".to_owned()),
    }
    if own.adopted > 0 {
        words.push(format!("; {} came back from peers", plural(own.adopted, "own transaction")));
    }
    words.concat()
}
