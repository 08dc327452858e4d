//! How the hostile peer makes transactions.

use std::sync::Arc;

use selvedge_core::genesis::PublicKey;
use selvedge_core::payload::{Credential, CredentialSigner, Enrol, PayloadKind};
use selvedge_core::scheme::{credential_message, transaction_message};
use selvedge_core::transaction::{Body, Envelope, Reference, WitnessPart};
use selvedge_core::{Id, codec};

use super::{Branch, Hostile};
use crate::signatures::{Key, Keyring};

/// Which of its identities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// This one of its members.
    Member(usize),
    Joiner,
}

/// What goes into a transaction beside its place.
#[derive(Debug, Clone)]
pub(super) struct Content {
    pub(super) kind: u16,
    pub(super) payload: Vec<u8>,
    pub(super) approves: [Reference; 2],
    pub(super) witness: Option<WitnessPart>,
}

/// A transaction, signed.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) reference: Reference,
    pub(super) bytes: Arc<[u8]>,
    pub(super) body: Vec<u8>,
    pub(super) key_number: u32,
    pub(super) key: Key,
}

impl Hostile {
    /// A note with a payload of its own, over two that it has seen.
    pub(super) fn note(&mut self) -> Content {
        let payload = format!("hostile note {}", self.dice.bits()).into_bytes();
        Content { kind: PayloadKind::Note as u16, payload, approves: self.two_seen(), witness: None }
    }

    /// Two of the newest that it has seen.
    pub(super) fn two_seen(&mut self) -> [Reference; 2] {
        let newest = self.seen[self.seen.len().saturating_sub(12)..].to_vec();
        if newest.is_empty() {
            return [Reference::genesis(self.network.id()); 2];
        }
        [self.dice.pick(&newest), self.dice.pick(&newest)]
    }

    pub(super) fn branches(&mut self, who: Who) -> &mut Vec<Branch> {
        match who {
            Who::Member(which) => &mut self.members[which].branches,
            Who::Joiner => &mut self.joiner.branches,
        }
    }

    pub(super) fn any_branch(&mut self, who: Who) -> usize {
        let count = self.branches(who).len() as u64;
        self.dice.below(count) as usize
    }

    /// Makes the next transaction of a branch without moving the branch on.
    pub(super) fn draft(&mut self, ring: &mut Keyring, who: Who, branch: usize, content: Content) -> Made {
        let at = self.branches(who)[branch].clone();
        self.draft_with(ring, who, branch, content, (at.key_number, &at.key))
    }

    /// The same with any key under any number.
    pub(super) fn draft_with(
        &mut self,
        ring: &mut Keyring,
        who: Who,
        branch: usize,
        content: Content,
        key: (u32, &Key),
    ) -> Made {
        let at = self.branches(who)[branch].clone();
        let body = Body {
            version: 0,
            issuer: match who {
                Who::Member(which) => self.members[which].issuer,
                Who::Joiner => self.joiner.issuer,
            },
            sequence: at.sequence,
            prev: at.prev,
            approves: content.approves,
            witness: content.witness,
            issued_at_ms: self.dice.bits() >> 20,
            flags: 0,
            kind: content.kind,
            payload: content.payload,
        };
        self.sign(ring, &body, key.0, key.1)
    }

    /// Signs any body with any key.
    pub(super) fn sign(&mut self, ring: &mut Keyring, body: &Body, key_number: u32, key: &Key) -> Made {
        let bytes = codec::encode(body);
        let id = self.network.transaction_id(&bytes);
        let made = Made {
            reference: Reference { issuer: body.issuer, sequence: body.sequence, id },
            bytes: Arc::from([]),
            body: bytes,
            key_number,
            key: key.clone(),
        };
        let bytes = self.sign_again(ring, &made);
        self.made.insert(id, bytes.clone());
        Made { bytes, ..made }
    }

    /// The same body with another good signature.
    pub(super) fn sign_again(&mut self, ring: &mut Keyring, made: &Made) -> Arc<[u8]> {
        let scheme = made.key.public.scheme;
        let message = transaction_message(scheme, made.key_number, self.network.id(), made.reference.id);
        let signature = ring.sign(&made.key, &message, self.dice.bits());
        let (key_number, signature) = (made.key_number, signature.as_slice());
        codec::encode(&Envelope { scheme, key_number, signature, body: &made.body }).into()
    }

    /// The same body with a signature that does not hold.
    pub(super) fn with_garbage(&mut self, made: &Made) -> Arc<[u8]> {
        let scheme = made.key.public.scheme;
        let signature = self.garbage(scheme.signature_bytes());
        let envelope =
            Envelope { scheme, key_number: made.key_number, signature: &signature, body: &made.body };
        codec::encode(&envelope).into()
    }

    /// Moves a branch on to what was drafted for it.
    pub(super) fn advance(&mut self, who: Who, branch: usize, made: &Made) {
        let at = &mut self.branches(who)[branch];
        at.sequence = made.reference.sequence + 1;
        at.prev = made.reference.id;
        self.seen.push(made.reference);
    }

    /// Drafts and moves on.
    pub(super) fn extend(&mut self, ring: &mut Keyring, who: Who, branch: usize, content: Content) -> Made {
        let made = self.draft(ring, who, branch, content);
        self.advance(who, branch, &made);
        made
    }

    /// A second branch from where this one goes on now.
    pub(super) fn split(&mut self, who: Who, branch: usize) -> usize {
        let copy = self.branches(who)[branch].clone();
        let branches = self.branches(who);
        branches.push(copy);
        branches.len() - 1
    }

    /// What is drafted here must end up on no gateway.
    pub(super) fn forbid(&mut self, id: Id) {
        self.never.insert(id);
    }

    /// An enrolment of the joiner with a credential of the organisation.
    pub(super) fn enrolment(&mut self, ring: &mut Keyring, key: &PublicKey, name: &str) -> Enrol {
        let roles = vec!["gateway".to_owned()];
        let hash = Enrol::credential_hash(key.issuer(), 0, name, &roles);
        let organisation = self.organisation.clone();
        let message = credential_message(organisation.public.scheme, 0, self.network.id(), &hash);
        let signature = ring.sign(&organisation, &message, self.dice.bits());
        let credential = Credential { organisation: 0, signer: CredentialSigner::Organisation, signature };
        Enrol { key: key.clone(), name: name.to_owned(), roles, credential }
    }
}
