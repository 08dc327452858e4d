//! Peers with the keys of members, a joiner's and a stranger's, all of one mind, that send what they should not: forks,
//! forged and mangled copies, references to nothing, lies about what they hold, and all of it out of order.
//!
//! What they sign validly must end up on every gateway alike; [`Hostile::may_attach`] says what must end up on none.

mod acts;
mod lies;
mod make;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use selvedge_core::genesis::Genesis;
use selvedge_core::transaction::{Envelope, Reference};
use selvedge_core::{Id, Issuer, Network, codec};

use crate::dice::Dice;
use crate::signatures::Key;

/// Something to put on the wire.
#[derive(Debug, Clone)]
pub struct Post {
    /// To this gateway.
    pub to: usize,
    /// So many microseconds from now.
    pub after_us: u64,
    /// An envelope, or a whole frame.
    pub bytes: Arc<[u8]>,
    /// Is it a whole frame?
    pub is_raw: bool,
}

/// One branch of an issuer's chain, where it goes on.
#[derive(Debug, Clone)]
struct Branch {
    key: Key,
    key_number: u32,
    /// Keys that were in force before, with their numbers.
    old_keys: Vec<(u32, Key)>,
    sequence: u64,
    prev: Id,
}

/// An identity of the hostile peer, with all branches of its chain.
#[derive(Debug)]
struct Identity {
    issuer: Issuer,
    branches: Vec<Branch>,
}

/// See the module.
#[derive(Debug)]
pub struct Hostile {
    network: Network,
    committee: Vec<Issuer>,
    dice: Dice,
    organisation: Key,
    members: Vec<Identity>,
    /// Enters by an enrolment; its first branch begins when it does.
    joiner: Identity,
    stranger: Key,
    gateways: usize,
    /// What it may refer to: others' and its own.
    seen: Vec<Reference>,
    /// Bodies of honest gateways, newest last.
    overheard: Vec<Vec<u8>>,
    made: BTreeMap<Id, Arc<[u8]>>,
    never: BTreeSet<Id>,
    misnamed: BTreeSet<Id>,
}

/// The keys that hostile peers hold.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Of members that the genesis names.
    pub members: Vec<Key>,
    /// Of an identity that enters later.
    pub joiner: Key,
    /// Of one that never does.
    pub stranger: Key,
    /// Of the organisation: to sign the joiner's credential.
    pub organisation: Key,
}

impl Hostile {
    /// The hostile peers of a network with this genesis.
    pub fn new(seed: u64, network: Network, genesis: &Genesis, keys: &Keys, gateways: usize) -> Self {
        let identity = |key: &Key| Identity {
            issuer: key.public.issuer(),
            branches: vec![Branch {
                key: key.clone(),
                key_number: 0,
                old_keys: Vec::new(),
                sequence: 0,
                prev: network.genesis_id(),
            }],
        };
        let place = |m: &u16| genesis.members[usize::from(*m)].key.issuer();
        let members = keys.members.iter().map(identity).collect();
        let joiner = identity(&keys.joiner);
        Self {
            committee: genesis.committee.iter().map(place).collect(),
            dice: Dice::new(seed, "hostile"),
            organisation: keys.organisation.clone(),
            members,
            joiner,
            stranger: keys.stranger.clone(),
            gateways,
            seen: Vec::new(),
            overheard: Vec::new(),
            made: BTreeMap::new(),
            never: BTreeSet::new(),
            misnamed: BTreeSet::new(),
            network,
        }
    }

    /// May this be attached anywhere?
    pub fn may_attach(&self, id: &Id) -> bool {
        !self.never.contains(id)
    }

    /// Did it refer to this one at a place that is not its own?
    pub fn has_misnamed(&self, id: &Id) -> bool {
        self.misnamed.contains(id)
    }

    /// Is this issuer one of its identities?
    pub fn is_own(&self, issuer: &Issuer) -> bool {
        let others = [self.joiner.issuer, self.stranger.public.issuer()];
        others.contains(issuer) || self.members.iter().any(|m| m.issuer == *issuer)
    }

    /// How many members are hostile.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Who is at the other end of the connections of one of them.
    pub fn issuer(&self, member: usize) -> Issuer {
        self.members[member].issuer
    }

    /// All that it made, valid or not.
    pub fn made(&self) -> impl Iterator<Item = &Id> + '_ {
        self.made.keys()
    }

    /// Places of which it made more than two bodies.
    pub fn places_beyond_two(&self) -> impl Iterator<Item = (Issuer, u64)> + '_ {
        let mut places: BTreeMap<(Issuer, u64), BTreeSet<Id>> = BTreeMap::new();
        for (id, envelope) in &self.made {
            if let Ok((_, body)) = Envelope::open(envelope) {
                places.entry((body.issuer, body.sequence)).or_default().insert(*id);
            }
        }
        places.into_iter().filter(|(_, ids)| ids.len() > 2).map(|(place, _)| place)
    }

    /// Answers a question for a transaction of its own, when it feels like it.
    pub fn answer(&mut self, reference: &Reference) -> Option<Arc<[u8]>> {
        let answers = self.dice.chance(700);
        self.made.get(&reference.id).filter(|_| answers).cloned()
    }

    /// A gateway sent it a transaction: now and then it passes a mangled copy on, faster than the genuine one.
    pub fn overhear(&mut self, from: usize, frame: &[u8]) -> Vec<Post> {
        let Ok((envelope, body)) = Envelope::open(frame) else { return Vec::new() };
        let id = self.network.transaction_id(envelope.body);
        self.seen.push(Reference { issuer: body.issuer, sequence: body.sequence, id });
        if !self.is_own(&body.issuer) {
            self.overheard.push(envelope.body.to_vec());
        }
        if !self.dice.chance(100) {
            return Vec::new();
        }
        let key_number = if self.dice.chance(700) { envelope.key_number } else { envelope.key_number + 1 };
        let signature = self.garbage(envelope.scheme.signature_bytes());
        let copy = Envelope { signature: &signature, key_number, ..envelope };
        let bytes: Arc<[u8]> = codec::encode(&copy).into();
        let mut posts = Vec::new();
        for to in (0..self.gateways).filter(|to| *to != from) {
            posts.push(Post { to, after_us: self.dice.below(2_000), bytes: bytes.clone(), is_raw: false });
        }
        posts
    }

    fn garbage(&mut self, bytes: usize) -> Vec<u8> {
        let mut garbage = Vec::with_capacity(bytes + 32);
        while garbage.len() < bytes {
            garbage.extend_from_slice(&self.dice.bytes32());
        }
        garbage.truncate(bytes);
        garbage
    }
}
