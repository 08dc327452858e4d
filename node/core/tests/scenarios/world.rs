//! A network, those who sign in it, and transactions made by hand.
//!
//! The core never computes a signature: it asks for one and asks whether one holds. Here a signature is a keyed hash
//! of the right length, so that scenarios need no cryptography and still tell a genuine one from a forged one.

use std::sync::Arc;

use selvedge_core::border::SignatureCheck;
use selvedge_core::codec;
use selvedge_core::genesis::{Genesis, Member, Organisation, PublicKey, role};
use selvedge_core::payload::{Credential, CredentialSigner, Enrol, PayloadKind, Rotate};
use selvedge_core::scheme::{credential_message, transaction_message};
use selvedge_core::transaction::{Body, Envelope, Parent, Parents, Reference, WitnessPart};
use selvedge_core::{Hash, Id, Issuer, Network, Scheme};

/// A key that only its label decides.
pub(crate) fn key_of(label: &str, scheme: Scheme) -> PublicKey {
    let mut hasher = blake3::Hasher::new_derive_key("selvedge tests public key");
    hasher.update(label.as_bytes());
    let mut bytes = vec![0; scheme.public_key_bytes()];
    hasher.finalize_xof().fill(&mut bytes);
    PublicKey { scheme, bytes }
}

/// What `key` says under `message`.
pub(crate) fn signature(key: &PublicKey, message: &[u8]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new_derive_key("selvedge tests signature");
    hasher.update(&key.bytes).update(message);
    let mut bytes = vec![0; key.scheme.signature_bytes()];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// Is it genuine?
pub(crate) fn holds(check: &SignatureCheck) -> bool {
    signature(&check.key, &check.message) == check.signature
}

/// A network: two organisations, six members, of which the first four are the committee. Member 1 is the inviter of
/// organisation 0; member 3 belongs to organisation 1. The node under test is member 0.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) genesis: Arc<Genesis>,
    pub(crate) bytes: Arc<[u8]>,
    pub(crate) network: Network,
}

impl World {
    pub(crate) fn new() -> Self {
        let organisation = |i: usize| Organisation {
            name: format!("organisation {i}"),
            key: key_of(&format!("organisation {i}"), Scheme::MlDsa65),
        };
        let member = |i: usize| Member {
            organisation: u16::from(i == 3),
            key: key_of(&format!("member {i}"), Scheme::MlDsa44),
            name: format!("member {i}"),
            roles: vec![if i == 1 { role::INVITER.to_owned() } else { role::GATEWAY.to_owned() }],
        };
        let genesis = Genesis {
            version: 0,
            network_name: "scenarios".to_owned(),
            random: [7; 32],
            organisations: (0..2).map(organisation).collect(),
            members: (0..6).map(member).collect(),
            committee: (0..4).collect(),
        };
        let bytes: Arc<[u8]> = genesis.to_bytes().into();
        let network = Network::new(Genesis::network_id_of(&bytes));
        Self { genesis: Arc::new(genesis), bytes, network }
    }

    pub(crate) fn genesis_reference(&self) -> Reference {
        Reference::genesis(self.network.id())
    }

    /// Member `place` of the genesis, before its first transaction.
    pub(crate) fn member(&self, place: usize) -> Actor {
        Actor::new(self, self.genesis.members[place].key.clone())
    }

    /// Somebody whom the genesis does not name.
    pub(crate) fn stranger(&self, label: &str) -> Actor {
        Actor::new(self, key_of(label, Scheme::MlDsa44))
    }

    /// An envelope around `body`, signed with `key` as key number `number`.
    pub(crate) fn sign(&self, body: Body, key: &PublicKey, number: u32) -> Tx {
        let bytes = codec::encode(&body);
        let id = self.network.transaction_id(&bytes);
        let message = transaction_message(key.scheme, number, self.network.id(), id);
        let made = signature(key, &message);
        let envelope = Envelope { scheme: key.scheme, key_number: number, signature: &made, body: &bytes };
        let reference = Reference { issuer: body.issuer, sequence: body.sequence, id };
        Tx { envelope: codec::encode(&envelope).into(), body, reference }
    }
}

/// A transaction, as it travels.
#[derive(Clone)]
pub(crate) struct Tx {
    pub(crate) envelope: Arc<[u8]>,
    pub(crate) body: Body,
    pub(crate) reference: Reference,
}

impl Tx {
    pub(crate) fn id(&self) -> Id {
        self.reference.id
    }

    /// The same body under a signature that nobody made; `salt` makes different ones.
    pub(crate) fn forged(&self, salt: u8) -> Arc<[u8]> {
        let mut envelope: Envelope<'_> = codec::decode(&self.envelope).expect("made here");
        let garbage = vec![salt; envelope.signature.len()];
        envelope.signature = &garbage;
        codec::encode(&envelope).into()
    }
}

/// One who signs, and where its chain stands.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) world: World,
    pub(crate) keys: Vec<PublicKey>,
    pub(crate) issuer: Issuer,
    pub(crate) sequence: u64,
    pub(crate) prev: Id,
}

impl Actor {
    fn new(world: &World, key: PublicKey) -> Self {
        let issuer = key.issuer();
        let prev = world.network.genesis_id();
        Self { world: world.clone(), keys: vec![key], issuer, sequence: 0, prev }
    }

    /// The body of its next transaction: a note that approves `past` (none: the genesis; one: twice).
    pub(crate) fn body(&self, text: &str, past: &[&Tx]) -> Body {
        let genesis = self.world.genesis_reference();
        let first = past.first().map_or(genesis, |tx| tx.reference);
        let second = past.get(1).map_or(first, |tx| tx.reference);
        Body {
            version: 0,
            issuer: self.issuer,
            sequence: self.sequence,
            prev: self.prev,
            approves: [first, second],
            witness: None,
            issued_at_ms: 1_800_000_000_000 + self.sequence,
            flags: 0,
            kind: PayloadKind::Note as u16,
            payload: text.as_bytes().to_vec(),
        }
    }

    /// Signs with the newest key; the chain stays where it is.
    pub(crate) fn sign(&self, body: Body) -> Tx {
        let number = self.keys.len() - 1;
        self.world.sign(body, &self.keys[number], number as u32)
    }

    /// Signs, and goes on from there.
    pub(crate) fn issue(&mut self, body: Body) -> Tx {
        let tx = self.sign(body);
        self.follow(&tx);
        tx
    }

    /// The chain goes on behind `tx`.
    pub(crate) fn follow(&mut self, tx: &Tx) {
        self.sequence = tx.body.sequence + 1;
        self.prev = tx.id();
    }

    /// Issues a note that approves `past`.
    pub(crate) fn note(&mut self, text: &str, past: &[&Tx]) -> Tx {
        let body = self.body(text, past);
        self.issue(body)
    }

    /// Issues an empty note: it approves and says nothing.
    pub(crate) fn approval(&mut self, past: &[&Tx]) -> Tx {
        let body = self.body("", past);
        self.issue(body)
    }

    /// Rotates to the key of this label.
    pub(crate) fn rotate(&mut self, label: &str, past: &[&Tx]) -> Tx {
        let key = key_of(label, Scheme::MlDsa44);
        let payload = codec::encode(&Rotate { key: key.clone() });
        let body = Body { kind: PayloadKind::Rotate as u16, payload, ..self.body("", past) };
        let tx = self.issue(body);
        self.keys.push(key);
        tx
    }

    /// The payload that lets it in, vouched for by `signer` with `key`.
    pub(crate) fn enrol_payload(
        &self,
        organisation: u16,
        signer: CredentialSigner,
        key: &PublicKey,
    ) -> Enrol {
        let (name, roles) = ("newcomer".to_owned(), vec![role::GATEWAY.to_owned()]);
        let hash = Enrol::credential_hash(self.issuer, organisation, &name, &roles);
        let message = credential_message(key.scheme, 0, self.world.network.id(), &hash);
        let credential = Credential { organisation, signer, signature: signature(key, &message) };
        Enrol { key: self.keys[0].clone(), name, roles, credential }
    }

    /// The body of an enrolment with this payload.
    pub(crate) fn enrol_body(&self, enrol: &Enrol) -> Body {
        Body { kind: PayloadKind::Enrol as u16, payload: codec::encode(enrol), ..self.body("", &[]) }
    }

    /// Enters by the word of organisation 0.
    pub(crate) fn enrol(&mut self) -> Tx {
        let key = self.world.genesis.organisations[0].key.clone();
        let body = self.enrol_body(&self.enrol_payload(0, CredentialSigner::Organisation, &key));
        self.issue(body)
    }
}

/// A witness part of epoch 0.
pub(crate) fn witness(round: u64, parents: Parents, also: &[&Tx]) -> WitnessPart {
    WitnessPart { epoch: 0, round, parents, also: also.iter().map(|tx| tx.reference).collect() }
}

/// `tx` as a parent: a witness of the committee member at `member`.
pub(crate) fn parent(member: u8, tx: &Tx) -> Parent {
    Parent { member, sequence: tx.body.sequence, id: tx.id() }
}

/// A hash of something that does not exist.
pub(crate) fn nowhere(label: &str) -> Hash {
    Hash(*blake3::hash(label.as_bytes()).as_bytes())
}
