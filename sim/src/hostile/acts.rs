//! What the hostile peer does, one thing at a time.

use std::sync::Arc;

use selvedge_core::payload::{CredentialSigner, PayloadKind, Rotate};
use selvedge_core::transaction::{Body, Envelope, Parent, Parents, Reference, WitnessPart};
use selvedge_core::{Id, Issuer, Scheme, codec, limits};

use super::make::{Content, Made, Who};
use super::{Hostile, Post};
use crate::signatures::Keyring;

const LATER_US: u64 = 400_000;

impl Hostile {
    /// Does one thing.
    pub fn act(&mut self, ring: &mut Keyring) -> Vec<Post> {
        let who = if self.dice.chance(300) { Who::Joiner } else { self.any_member() };
        if who == Who::Joiner && self.joiner.branches[0].sequence == 0 {
            return self.enrol(ring);
        }
        match self.dice.below(20) {
            0 => self.extend_with_two_signatures(ring, who),
            1 | 2 => self.fork(ring, who),
            3 | 4 => self.fork_and_rotate(ring, who),
            5 => self.garbage_first(ring, who),
            6 => self.refer_to_nothing(ring, who),
            7 => self.not_canonical(ring, who),
            8 => self.wrong_key_number(ring, who),
            9 => self.strangers(ring),
            10 => self.rotate(ring, who),
            11 => self.unknown_kind(ring, who),
            12 => self.witness(ring),
            13 => self.noise(),
            14 => self.forge(ring),
            15 => self.flood(ring, who),
            16 | 17 => self.lie(),
            18 => self.old_key(ring, who),
            _ => self.withhold(ring, who),
        }
    }

    fn post(&mut self, to: usize, bytes: &Arc<[u8]>) -> Post {
        Post { to, after_us: self.dice.below(LATER_US), bytes: bytes.clone(), is_raw: false }
    }

    pub(super) fn post_to_all(&mut self, bytes: &Arc<[u8]>) -> Vec<Post> {
        (0..self.gateways).map(|to| self.post(to, bytes)).collect()
    }

    fn any_member(&mut self) -> Who {
        Who::Member(self.dice.below(self.members.len() as u64) as usize)
    }

    fn anyone(&mut self) -> usize {
        self.dice.below(self.gateways as u64) as usize
    }

    fn extend_with_two_signatures(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let (branch, content) = (self.any_branch(who), self.note());
        let made = self.extend(ring, who, branch, content);
        let again = self.sign_again(ring, &made);
        let (first, rest) = (self.post(0, &again), 1..self.gateways);
        std::iter::once(first).chain(rest.map(|to| self.post(to, &made.bytes))).collect()
    }

    /// Two at one sequence, to different gateways; both branches go on, and the later one may approve the earlier.
    fn fork(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let other = self.split(who, branch);
        let content = self.note();
        let first = self.extend(ring, who, branch, content);
        let mut content = self.note();
        if self.dice.chance(500) {
            content.approves = [first.reference; 2];
        }
        let second = self.extend(ring, who, other, content);
        let (here, there) = (self.anyone(), self.anyone());
        let mut posts = vec![self.post(here, &first.bytes), self.post(there, &second.bytes)];
        for on in [branch, other] {
            if self.dice.chance(500) {
                let content = self.note();
                let made = self.extend(ring, who, on, content);
                let to = self.anyone();
                posts.push(self.post(to, &made.bytes));
            }
        }
        posts
    }

    /// Both branches bring a key with the same number, and go on with it.
    fn fork_and_rotate(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let other = self.split(who, branch);
        let mut posts = Vec::new();
        for on in [branch, other] {
            let rotation = self.rotate_branch(ring, who, on);
            let content = self.note();
            let next = self.extend(ring, who, on, content);
            for to in 0..self.gateways {
                posts.push(self.post(to, &rotation.bytes));
                posts.push(self.post(to, &next.bytes));
            }
        }
        posts
    }

    fn rotate_branch(&mut self, ring: &mut Keyring, who: Who, branch: usize) -> Made {
        let secret = self.dice.bytes32();
        let key = ring.make(Scheme::MlDsa44, secret);
        let payload = codec::encode(&Rotate { key: (*key.public).clone() });
        let content =
            Content { kind: PayloadKind::Rotate as u16, payload, approves: self.two_seen(), witness: None };
        let made = self.extend(ring, who, branch, content);
        let at = &mut self.branches(who)[branch];
        let before = std::mem::replace(&mut at.key, key);
        at.old_keys.push((at.key_number, before));
        at.key_number += 1;
        made
    }

    fn rotate(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let rotation = self.rotate_branch(ring, who, branch);
        let content = self.note();
        let next = self.extend(ring, who, branch, content);
        let mut posts = self.post_to_all(&next.bytes);
        posts.extend(self.post_to_all(&rotation.bytes));
        // A rotation whose key does not decode.
        let content = Content { kind: PayloadKind::Rotate as u16, payload: vec![1, 2, 3], ..self.note() };
        let broken = self.draft(ring, who, branch, content);
        self.forbid(broken.reference.id);
        posts.extend(self.post_to_all(&broken.bytes));
        posts
    }

    /// A key that was rotated away signs on, under its own number or under the new one.
    fn old_key(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let mut posts = Vec::new();
        if self.branches(who)[branch].old_keys.is_empty() {
            let rotation = self.rotate_branch(ring, who, branch);
            posts = self.post_to_all(&rotation.bytes);
        }
        let at = self.branches(who)[branch].clone();
        let place = self.dice.below(at.old_keys.len() as u64) as usize;
        let (old_number, old_key) = at.old_keys[place].clone();
        let content = self.note();
        let key_number = if self.dice.chance(700) { old_number } else { at.key_number };
        let made = self.draft_with(ring, who, branch, content, (key_number, &old_key));
        self.forbid(made.reference.id);
        posts.extend(self.post_to_all(&made.bytes));
        posts
    }

    fn garbage_first(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let (branch, content) = (self.any_branch(who), self.note());
        let made = self.extend(ring, who, branch, content);
        let mut posts = Vec::new();
        for to in 0..self.gateways {
            for _ in 0..self.dice.between(1, 5) {
                let garbage = self.with_garbage(&made);
                posts.push(Post { to, after_us: self.dice.below(10_000), bytes: garbage, is_raw: false });
            }
            let after_us = 10_000 + self.dice.below(50_000);
            posts.push(Post { to, after_us, bytes: made.bytes.clone(), is_raw: false });
        }
        posts
    }

    /// References that nothing will ever satisfy: made up, or a held id at another place; or that no network has.
    fn refer_to_nothing(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let mut content = self.note();
        let [mut wrong, _] = content.approves;
        match self.dice.below(4) {
            0 => wrong.id = Id(self.dice.bytes32()),
            1 => wrong = Reference { sequence: wrong.sequence + 1, ..wrong },
            2 => wrong = Reference { issuer: self.members[0].issuer, ..wrong },
            _ => wrong = Reference { issuer: Issuer::GENESIS, ..wrong },
        }
        if self.seen.contains(&wrong) || wrong == Reference::genesis(self.network.id()) {
            return Vec::new();
        }
        self.misnamed.insert(wrong.id);
        content.approves[self.dice.below(2) as usize] = wrong;
        let made = self.draft(ring, who, branch, content);
        self.forbid(made.reference.id);
        self.post_to_all(&made.bytes)
    }

    fn not_canonical(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let (branch, content) = (self.any_branch(who), self.note());
        let made = self.draft(ring, who, branch, content);
        self.forbid(made.reference.id);
        let mut bytes = made.bytes.to_vec();
        match self.dice.below(3) {
            0 => bytes.push(0),
            // Byte 1 is the key number, below 128: the same number in two bytes.
            1 => {
                bytes[1] |= 0x80;
                bytes.insert(2, 0);
            }
            _ => bytes.truncate(bytes.len() / 2),
        }
        self.post_to_all(&bytes.into())
    }

    fn wrong_key_number(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let number = self.dice.between(1, 3) as u32;
        self.branches(who)[branch].key_number += number;
        let content = self.note();
        let made = self.draft(ring, who, branch, content);
        self.branches(who)[branch].key_number -= number;
        self.forbid(made.reference.id);
        self.post_to_all(&made.bytes)
    }

    /// Strangers, and enrolments that nobody vouches for.
    fn strangers(&mut self, ring: &mut Keyring) -> Vec<Post> {
        let key = self.stranger.clone();
        let (mut kind, mut payload) = (PayloadKind::Note as u16, b"let me in".to_vec());
        let mut sequence = 0;
        let mut enrol = self.enrolment(ring, &key.public, "stranger");
        match self.dice.below(5) {
            0 => {}
            1 => sequence = 3,
            2 => {
                enrol.credential.signature = self.garbage(Scheme::MlDsa65.signature_bytes());
                kind = PayloadKind::Enrol as u16;
            }
            3 => {
                enrol.credential.signer = CredentialSigner::Inviter(0);
                kind = PayloadKind::Enrol as u16;
            }
            _ => {
                enrol.credential.organisation = 9;
                kind = PayloadKind::Enrol as u16;
            }
        }
        if kind == PayloadKind::Enrol as u16 {
            payload = codec::encode(&enrol);
        }
        let prev = if sequence == 0 { self.network.genesis_id() } else { Id(self.dice.bytes32()) };
        let body = Body {
            version: 0,
            issuer: key.public.issuer(),
            sequence,
            prev,
            approves: self.two_seen(),
            witness: None,
            issued_at_ms: self.dice.bits() >> 20,
            flags: 0,
            kind,
            payload,
        };
        let made = self.sign(ring, &body, 0, &key);
        self.forbid(made.reference.id);
        self.post_to_all(&made.bytes)
    }

    /// The joiner enters; its second transaction may come before its first, and it may enter under two names.
    fn enrol(&mut self, ring: &mut Keyring) -> Vec<Post> {
        let key = self.joiner.branches[0].key.public.clone();
        let mut posts = Vec::new();
        if self.dice.chance(200) {
            self.split(Who::Joiner, 0);
        }
        for branch in 0..self.joiner.branches.len() {
            let enrol = self.enrolment(ring, &key, &format!("joiner {branch}"));
            let payload = codec::encode(&enrol);
            let content = Content { kind: PayloadKind::Enrol as u16, payload, ..self.note() };
            let first = self.extend(ring, Who::Joiner, branch, content);
            let content = self.note();
            let second = self.extend(ring, Who::Joiner, branch, content);
            posts.extend(self.post_to_all(&second.bytes));
            posts.extend(self.post_to_all(&first.bytes));
        }
        posts
    }

    fn unknown_kind(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let kind =
            self.dice.pick(&[PayloadKind::Batch as u16, PayloadKind::Registry as u16, 5, 999, u16::MAX]);
        let length = self.dice.below(300) as usize;
        let payload = self.garbage(length);
        let content = Content { kind, payload, ..self.note() };
        let made = self.extend(ring, who, branch, content);
        self.post_to_all(&made.bytes)
    }

    /// Witness parts, well formed and not. Their rules come later; what the bytes show is checked from the start.
    fn witness(&mut self, ring: &mut Keyring) -> Vec<Post> {
        let who = self.any_member();
        let Who::Member(which) = who else { return Vec::new() };
        let in_committee = self.committee.contains(&self.members[which].issuer);
        let members = self.committee.len();
        let genesis = self.network.genesis_id();
        let parent = |(member, issuer): (usize, &Issuer)| {
            let of_member = self.seen.iter().rev().find(|r| r.issuer == *issuer)?;
            Some(Parent { member: member as u8, sequence: of_member.sequence, id: of_member.id })
        };
        let parents: Vec<Parent> = self.committee.iter().enumerate().filter_map(parent).collect();
        let quorum = members - (members - 1) / 3;
        let enough = parents.len() >= quorum;
        let (mut epoch, mut round, mut good) = (0, 1, in_committee);
        let named = match self.dice.below(6) {
            0 | 1 => Parents::Anchor(genesis),
            2 => {
                good = false;
                Parents::Anchor(Id(self.dice.bytes32()))
            }
            3 => {
                // Waits for an epoch that never comes.
                (epoch, good) = (1, false);
                Parents::Anchor(genesis)
            }
            _ if parents.is_empty() => Parents::Anchor(genesis),
            4 => {
                round = 2;
                good &= enough;
                Parents::Witnesses(parents)
            }
            _ => {
                (round, good) = (7, false);
                Parents::Witnesses(vec![Parent { member: 62, ..parents[0] }])
            }
        };
        let also = self.two_seen()[..self.dice.below(3) as usize].to_vec();
        let content =
            Content { witness: Some(WitnessPart { epoch, round, parents: named, also }), ..self.note() };
        let branch = self.any_branch(who);
        let made = self.draft(ring, who, branch, content);
        if good {
            self.advance(who, branch, &made);
        } else {
            self.forbid(made.reference.id);
        }
        self.post_to_all(&made.bytes)
    }

    fn noise(&mut self) -> Vec<Post> {
        let length = self.dice.pick(&[0, 1, 100, 3_000, limits::ENVELOPE_BYTES_MAX + 1]);
        let bytes = self.garbage(length);
        let is_raw = self.dice.chance(500);
        let posts = self.post_to_all(&bytes.into());
        posts.into_iter().map(|post| Post { is_raw, ..post }).collect()
    }

    /// An honest gateway's next transaction, signed by somebody else or by nobody.
    fn forge(&mut self, ring: &mut Keyring) -> Vec<Post> {
        let Some(newest) = self.overheard.last().cloned() else { return Vec::new() };
        let Ok(mut body) = codec::decode::<Body>(&newest) else { return Vec::new() };
        body.issued_at_ms += 1;
        if self.dice.chance(500) {
            (body.sequence, body.prev) = (body.sequence + 1, self.network.transaction_id(&newest));
        }
        let forged = codec::encode(&body);
        let id = self.network.transaction_id(&forged);
        self.forbid(id);
        let key = self.members[0].branches[0].key.clone();
        let message = selvedge_core::scheme::transaction_message(key.public.scheme, 0, self.network.id(), id);
        let signature = if self.dice.chance(500) {
            ring.sign(&key, &message, self.dice.bits())
        } else {
            self.garbage(Scheme::MlDsa44.signature_bytes())
        };
        let envelope =
            Envelope { scheme: Scheme::MlDsa44, key_number: 0, signature: &signature, body: &forged };
        let bytes: Arc<[u8]> = codec::encode(&envelope).into();
        self.made.insert(id, bytes.clone());
        self.post_to_all(&bytes)
    }

    /// Many at once, the last one first.
    fn flood(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let mut posts = Vec::new();
        for place in 0..self.dice.between(5, 15) {
            let content = self.note();
            let made = self.extend(ring, who, branch, content);
            for to in 0..self.gateways {
                posts.push(Post {
                    to,
                    after_us: LATER_US - place * 20_000,
                    bytes: made.bytes.clone(),
                    is_raw: false,
                });
            }
        }
        posts
    }

    /// A transaction whose predecessor is sent to nobody; whoever asks may get it.
    fn withhold(&mut self, ring: &mut Keyring, who: Who) -> Vec<Post> {
        let branch = self.any_branch(who);
        let content = self.note();
        self.extend(ring, who, branch, content);
        let content = self.note();
        let made = self.extend(ring, who, branch, content);
        self.post_to_all(&made.bytes)
    }
}
