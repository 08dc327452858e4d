//! Transactions of a hostile member: right ones, wrong ones, and copies of others'.

use selvedge_core::payload::PayloadKind;
use selvedge_core::scheme::transaction_message;
use selvedge_core::transaction::{Body, Envelope, Reference};
use selvedge_core::{Id, Scheme, codec};

use super::identity::Identity;
use crate::Random;

/// A signed transaction.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its name.
    pub reference: Reference,
    /// The envelope.
    pub envelope: Vec<u8>,
}

/// Makes the transactions of one identity.
#[derive(Debug)]
pub struct Maker {
    identity: Identity,
    random: Random,
    /// The next sequence, and what comes before it.
    sequence: u64,
    prev: Id,
}

impl Maker {
    /// At the beginning of its chain.
    pub fn new(identity: &Identity, seed: u64) -> Self {
        let prev = identity.network.genesis_id();
        Self { identity: identity.clone(), random: Random::new(seed ^ 0x6D61_6B65), sequence: 0, prev }
    }

    /// Random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.random.bits().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }

    /// 32 random bytes.
    pub fn bytes32(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.random.bits() as u8)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    /// A reference to what does not exist.
    pub fn nothing(&mut self) -> Reference {
        let issuer = self.identity.issuer();
        Reference { issuer, sequence: self.random.below(1 << 40), id: Id(self.bytes32()) }
    }

    /// A note that comes next on its chain.
    pub fn body(&mut self) -> Body {
        let genesis = Reference::genesis(self.identity.network.id());
        Body {
            version: 0,
            issuer: self.identity.issuer(),
            sequence: self.sequence,
            prev: self.prev,
            approves: [genesis; 2],
            witness: None,
            issued_at_ms: 1_800_000_000_000 + self.sequence,
            flags: 0,
            kind: PayloadKind::Note as u16,
            payload: self.bytes(32),
        }
    }

    /// Goes on after this one.
    pub const fn follow(&mut self, made: &Made) {
        self.sequence = made.reference.sequence + 1;
        self.prev = made.reference.id;
    }

    /// A right note, and the chain goes on after it.
    pub fn go_on(&mut self) -> Made {
        let body = self.body();
        let made = self.sign(&body);
        self.follow(&made);
        made
    }

    /// Signs a body.
    pub fn sign(&self, body: &Body) -> Made {
        let (bytes, id) = self.coded(body);
        let message = transaction_message(Scheme::MlDsa44, 0, self.identity.network.id(), id);
        let signature = self.identity.signer.sign(&message).expect("a signature");
        made(body, id, &signature, &bytes)
    }

    /// A body with a signature that is none.
    pub fn garbage_signed(&mut self, body: &Body) -> Made {
        let (bytes, id) = self.coded(body);
        let signature = self.bytes(Scheme::MlDsa44.signature_bytes());
        made(body, id, &signature, &bytes)
    }

    fn coded(&self, body: &Body) -> (Vec<u8>, Id) {
        let bytes = codec::encode(body);
        let id = self.identity.network.transaction_id(&bytes);
        (bytes, id)
    }
}

fn made(body: &Body, id: Id, signature: &[u8], bytes: &[u8]) -> Made {
    let envelope = Envelope { scheme: Scheme::MlDsa44, key_number: 0, signature, body: bytes };
    let reference = Reference { issuer: body.issuer, sequence: body.sequence, id };
    Made { reference, envelope: codec::encode(&envelope) }
}

/// Ways to write an envelope as nobody may.
pub fn not_canonical(envelope: &[u8]) -> Vec<Vec<u8>> {
    let trailing = [envelope, &[0]].concat();
    // Byte 1 is the key number, below 128: the same number in two bytes.
    let mut longer = envelope.to_vec();
    longer[1] |= 0x80;
    longer.insert(2, 0);
    let cut = envelope[..envelope.len() - 1].to_vec();
    // The length of the signature (2,420 takes two bytes) in three.
    let mut length = envelope.to_vec();
    length[3] |= 0x80;
    length.insert(4, 0);
    vec![trailing, longer, cut, length]
}
