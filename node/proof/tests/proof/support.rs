//! A small world with real keys: two organisations, a gateway, inviters, batches, transactions, proofs.

use std::sync::Arc;

use selvedge_core::batch::{BatchContent, BatchStream, ClosedBatch};
use selvedge_core::codec;
use selvedge_core::genesis::{Genesis, Member, Organisation, PublicKey};
use selvedge_core::hash::{Hash, Id, Issuer, Network};
use selvedge_core::payload::{Batch, Credential, CredentialSigner, Enrol, PayloadKind, Rotate};
use selvedge_core::reading::{Quality, Reading, Value};
use selvedge_core::scheme::{Scheme, credential_message, transaction_message};
use selvedge_core::seal::SealedBatch;
use selvedge_core::stream::{Attestation, Descriptor};
use selvedge_core::transaction::{Body, Envelope, Reference};
use selvedge_crypto::{SecretKey, Signer};
use selvedge_proof::{Parts, Proof, Refusal, Trust, Verdict};

pub(crate) const SCHEME: Scheme = Scheme::MlDsa44;
/// 2026-05-01T12:00:00Z
pub(crate) const NOON_NS: i64 = 1_777_636_800_000_000_000;
/// Where the batch's transaction stands on its chain.
pub(crate) const SEQUENCE: u64 = 14;

pub(crate) type Key = Arc<dyn Signer>;

/// The key with this seed.
pub(crate) fn key(scheme: Scheme, seed: u8) -> Key {
    selvedge_crypto::signer(&SecretKey::from_seed(scheme, &[seed; 32])).unwrap()
}

pub(crate) fn issuer(key: &Key) -> Issuer {
    key.public_key().issuer()
}

/// `verify` with the shipped verifier.
pub(crate) fn verify(bytes: &[u8], trust: Trust<'_>) -> Result<Verdict, Refusal> {
    selvedge_proof::verify(bytes, trust, &*selvedge_crypto::default_verifier())
}

/// Cases of a test over generated inputs.
pub(crate) fn cases() -> u64 {
    std::env::var("SELVEDGE_CASES")
        .ok()
        .map_or(50_000, |text| text.parse().expect("SELVEDGE_CASES is a number"))
}

/// SplitMix64 (Steele, Lea, Flood 2014): enough randomness for tests, the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes `bytes`: a bit, a byte, a cut, something more, something moved. An empty one grows.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let some = self.below(40);
        match self.below(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, self.next() as u8),
            2 if at < bytes.len() => drop(bytes.drain(at..bytes.len().min(at + some))),
            3 if at < bytes.len() => bytes.extend_from_within(at..bytes.len().min(at + some)),
            4 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            _ if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            _ => bytes.push(self.next() as u8),
        }
    }
}

pub(crate) struct World {
    pub(crate) organisation: Key,
    pub(crate) gateway: Key,
    pub(crate) inviter: Key,
    /// An inviter of the other organisation.
    pub(crate) stranger: Key,
    /// Not in the genesis.
    pub(crate) newcomer: Key,
    pub(crate) genesis: Genesis,
    pub(crate) bytes: Vec<u8>,
    pub(crate) network: Network,
}

impl World {
    /// Names and keys are always the same, so two of them differ in `random` only.
    pub(crate) fn new(random: u8) -> Self {
        Self::with_keys(random, 0)
    }

    /// The same names with keys of another seed.
    pub(crate) fn with_keys(random: u8, seed: u8) -> Self {
        let organisation = key(Scheme::MlDsa65, seed + 1);
        let other = key(SCHEME, seed + 2);
        let [gateway, inviter, stranger] = [3, 4, 5].map(|own| key(SCHEME, seed + own));
        let member = |organisation, key: &Key, name: &str, roles: &[&str]| Member {
            organisation,
            key: key.public_key().clone(),
            name: name.into(),
            roles: roles.iter().map(|&r| r.into()).collect(),
        };
        let named = |name: &str, key: &Key| Organisation { name: name.into(), key: key.public_key().clone() };
        let genesis = Genesis {
            version: 0,
            network_name: "bottling".into(),
            random: [random; 32],
            organisations: vec![named("Acme", &organisation), named("Beta", &other)],
            members: vec![
                member(0, &gateway, "g1", &["gateway"]),
                member(0, &inviter, "office", &["gateway", "inviter"]),
                member(1, &stranger, "other office", &["inviter"]),
            ],
            committee: vec![0],
        };
        let bytes = genesis.to_bytes();
        let network = Network::new(Genesis::network_id_of(&bytes));
        let newcomer = key(SCHEME, seed + 6);
        Self { organisation, gateway, inviter, stranger, newcomer, genesis, bytes, network }
    }

    pub(crate) fn id_of(&self, envelope: &[u8]) -> Id {
        self.network.transaction_id(Envelope::open(envelope).unwrap().0.body)
    }

    pub(crate) fn body(&self, issuer: Issuer, sequence: u64, kind: PayloadKind, payload: Vec<u8>) -> Body {
        Body {
            version: 0,
            issuer,
            sequence,
            prev: if sequence == 0 { self.network.genesis_id() } else { Id([7; 32]) },
            approves: [Reference::genesis(self.network.id()); 2],
            witness: None,
            issued_at_ms: (NOON_NS / 1_000_000) as u64 + 5_000,
            flags: 0,
            kind: kind as u16,
            payload,
        }
    }

    /// Signs a body.
    pub(crate) fn envelope(&self, key: &Key, key_number: u32, body: &Body) -> Vec<u8> {
        let body = codec::encode(body);
        let scheme = key.public_key().scheme;
        let id = self.network.transaction_id(&body);
        let message = transaction_message(scheme, key_number, self.network.id(), id);
        let signature = key.sign(&message).unwrap();
        codec::encode(&Envelope { scheme, key_number, signature: &signature, body: &body })
    }

    /// The transaction that carries `batch`, by key 0.
    pub(crate) fn carry(&self, key: &Key, batch: &Batch) -> Vec<u8> {
        let payload = codec::encode(batch);
        self.envelope(key, 0, &self.body(issuer(key), SEQUENCE, PayloadKind::Batch, payload))
    }

    pub(crate) fn enrol(&self, key: &Key, by: &Key, organisation: u16, signer: CredentialSigner) -> Enrol {
        let (name, roles) = ("g9".to_owned(), vec!["gateway".to_owned()]);
        let hash = Enrol::credential_hash(issuer(key), organisation, &name, &roles);
        let message = credential_message(by.public_key().scheme, 0, self.network.id(), &hash);
        let signature = by.sign(&message).unwrap();
        let credential = Credential { organisation, signer, signature };
        Enrol { key: key.public_key().clone(), name, roles, credential }
    }

    /// Transaction 0 of `key` with this enrolment.
    pub(crate) fn enrolment(&self, key: &Key, enrol: &Enrol) -> Vec<u8> {
        self.envelope(key, 0, &self.body(issuer(key), 0, PayloadKind::Enrol, codec::encode(enrol)))
    }

    /// The rotation of `issuer` at `sequence` to `next`, signed by key `key_number`.
    pub(crate) fn rotation(
        &self,
        issuer: Issuer,
        sequence: u64,
        key: &Key,
        key_number: u32,
        next: &PublicKey,
    ) -> Vec<u8> {
        let payload = codec::encode(&Rotate { key: next.clone() });
        self.envelope(key, key_number, &self.body(issuer, sequence, PayloadKind::Rotate, payload))
    }

    /// The proof of one leaf, by the gateway of the genesis.
    pub(crate) fn prove(&self, batch: &SealedBatch, leaf: u32) -> Proof {
        let transaction = self.carry(&self.gateway, &payload(batch));
        self.prove_in(batch, leaf, &transaction, None, &[])
    }

    pub(crate) fn prove_in(
        &self,
        batch: &SealedBatch,
        leaf: u32,
        transaction: &[u8],
        enrolment: Option<&[u8]>,
        rotations: &[&[u8]],
    ) -> Proof {
        let parts =
            Parts { genesis: &self.bytes, batch, tree: None, leaf, transaction, enrolment, rotations };
        Proof::make(&parts).unwrap()
    }

    pub(crate) fn trust(&self) -> Trust<'static> {
        Trust::Network(self.network.id())
    }
}

/// The payload of a batch, whose segment nobody looks at here.
pub(crate) fn payload(batch: &SealedBatch) -> Batch {
    batch.payload(batch.root(), Hash([9; 32]), 1_234)
}

pub(crate) fn descriptor(name: &str, source_type: &str, unit: &str, scale: &str) -> Descriptor {
    Descriptor {
        name: name.into(),
        device: "plc".into(),
        address: "modbus-tcp 10.0.0.7:502 unit 1 holding 100".into(),
        source_type: source_type.into(),
        unit: unit.into(),
        scale: scale.parse().unwrap(),
        offset: "0".parse().unwrap(),
        attestation: Attestation::Gateway,
    }
}

/// A stream, and its values by place in the batch.
pub(crate) type Stream = (Descriptor, fn(u64) -> Value);

/// The streams of [`batch`].
pub(crate) fn streams() -> Vec<Stream> {
    vec![
        (descriptor("tank/temperature", "u16", "Cel", "0.1"), |n| Value::Unsigned(214 + n)),
        (descriptor("filler/flow", "f32 ABCD", "L/min", "1"), |n| {
            Value::Float(f64::from(12.3_f32) + n as f64)
        }),
        (descriptor("filler/recipe", "string 20", "", "1"), |n| Value::Text(format!("lemon {n}"))),
        (descriptor("valve/open", "bit", "", "1"), |n| Value::Bool(n.is_multiple_of(2))),
        (descriptor("drive/trim", "i16", "mm", "0.01"), |n| Value::Int(-5 - n as i64)),
        (descriptor("drive/blob", "bytes", "", "1"), |n| Value::Bytes(vec![0xab; n as usize % 50])),
        (descriptor("drive/ghost", "u16", "", "1"), |_| Value::None),
    ]
}

/// The first counter of every stream in [`batch`].
pub(crate) const FIRST: u64 = 1_000;

/// A batch of [`streams`] with `each` readings a stream, interleaved as they came.
pub(crate) fn batch(each: u32) -> SealedBatch {
    batch_of(&streams(), each)
}

pub(crate) fn batch_of(streams: &[Stream], each: u32) -> SealedBatch {
    let mut content = BatchContent::new(12);
    let mut descriptors: Vec<Arc<[u8]>> = Vec::new();
    for (descriptor, _) in streams {
        let bytes = descriptor.to_bytes();
        content.streams.push(BatchStream {
            descriptor: Descriptor::hash_of(&bytes),
            first: FIRST,
            count: each,
        });
        descriptors.push(bytes.into());
    }
    for n in 0..u64::from(each) {
        for (index, (_, value)) in streams.iter().enumerate() {
            let reading = reading(index as u32, FIRST + n, value(n));
            let at = content.blocks.len() as u32;
            content.long.extend(reading.value.long_bytes().map(|bytes| (at, bytes.to_vec())));
            content.blocks.push(reading.to_block());
        }
    }
    SealedBatch::new(&ClosedBatch { number: content.number, content, secret: [42; 32], descriptors })
}

pub(crate) fn reading(stream_index: u32, counter: u64, value: Value) -> Reading {
    let taken = NOON_NS + counter as i64 * 250_000_000;
    let quality = if value == Value::None { Quality::NotAvailable } else { Quality::Good };
    Reading {
        stream_index,
        counter,
        source_time_ns: taken,
        receive_time_ns: taken + 3_000_000,
        quality,
        flags: 0,
        status: 0,
        value,
    }
}
