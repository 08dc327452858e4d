//! The bytes and hashes of every format, from fixed values: what is signed, hashed, stored or sent today must be the
//! same tomorrow, on every machine.
//!
//! `SELVEDGE_BLESS=1` writes `golden/vectors.txt` anew. Do that only for a change of a format that is meant, and name
//! it in the note.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use selvedge_core::batch::{BatchContent, BatchStream, ClosedBatch, secret_of};
use selvedge_core::border::Origin;
use selvedge_core::codec::{self, Canonical};
use selvedge_core::genesis::{Genesis, Member, Organisation, PublicKey, role};
use selvedge_core::hash::{context, derive, hex};
use selvedge_core::journal::{JournalRecord, JournalStream};
use selvedge_core::merkle::{self, Tree};
use selvedge_core::payload::{Batch, Credential, CredentialSigner, Enrol, PayloadKind, Rotate, StreamSpan};
use selvedge_core::random::Random;
use selvedge_core::reading::{Block, FLAG_POSSIBLY_REPEATED, FLAG_UNSYNCHRONISED, Quality, Reading, Value};
use selvedge_core::scheme::{credential_message, transaction_message};
use selvedge_core::seal::{Salts, SealedBatch, decode_columns, encode_columns};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::transaction::{
    Body, Envelope, FLAG_UNSYNCHRONISED as BODY_UNSYNCHRONISED, Parent, Parents, Reference, WitnessPart,
};
use selvedge_core::{Hash, Id, Issuer, Network, Scheme};
use serde::Deserialize;

const KEPT: &str = include_str!("golden/vectors.txt");

/// Name and bytes of each vector, in order.
#[derive(Default)]
struct Vectors(Vec<(String, Vec<u8>)>);

impl Vectors {
    fn add(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.0.push((name.to_owned(), bytes.as_ref().to_vec()));
    }

    /// An encoding, which must decode to the same value.
    fn add_value<T>(&mut self, name: &str, value: &T)
    where
        T: Canonical + PartialEq + std::fmt::Debug + for<'a> Deserialize<'a>,
    {
        let bytes = codec::encode(value);
        assert_eq!(codec::decode::<T>(&bytes).as_ref(), Ok(value), "{name}");
        self.add(name, bytes);
    }

    fn text(&self) -> String {
        let mut text = String::from(
            "# Written by SELVEDGE_BLESS=1 (see tests/golden.rs). A change here is a change of a format:\n# name it in the note.\n",
        );
        for (name, bytes) in &self.0 {
            let _ = writeln!(text, "{name} = {}", hex(bytes));
        }
        text
    }
}

fn key(scheme: Scheme, first: u8) -> PublicKey {
    PublicKey { scheme, bytes: (0..scheme.public_key_bytes()).map(|i| first.wrapping_add(i as u8)).collect() }
}

fn genesis() -> Genesis {
    let member = |organisation, first, name: &str, roles: &[&str]| Member {
        organisation,
        key: key(Scheme::MlDsa44, first),
        name: name.to_owned(),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
    };
    Genesis {
        version: 0,
        network_name: "bottling plant".to_owned(),
        random: std::array::from_fn(|i| i as u8),
        organisations: vec![
            Organisation { name: "Maker".to_owned(), key: key(Scheme::MlDsa65, 1) },
            Organisation { name: "Betreiber Süd".to_owned(), key: key(Scheme::MlDsa65, 2) },
        ],
        members: vec![
            member(0, 3, "filler", &[role::GATEWAY, role::INVITER]),
            member(1, 4, "capper", &[role::GATEWAY]),
        ],
        committee: vec![1, 0],
    }
}

fn filled(byte: u8) -> [u8; 32] {
    [byte; 32]
}

fn reference(byte: u8, sequence: u64) -> Reference {
    Reference { issuer: Issuer(filled(byte)), sequence, id: Id(filled(byte + 1)) }
}

fn body(network: &Network, kind: PayloadKind, payload: Vec<u8>) -> Body {
    Body {
        version: 0,
        issuer: Issuer(filled(0x31)),
        sequence: 300,
        prev: Id(filled(0x32)),
        approves: [reference(0x40, 70_000), Reference::genesis(network.id())],
        witness: None,
        issued_at_ms: 1_800_000_000_123,
        flags: 0,
        kind: kind as u16,
        payload,
    }
}

fn descriptor() -> Descriptor {
    Descriptor {
        name: "filler/tank/level".to_owned(),
        device: "filler".to_owned(),
        address: "modbus-tcp 10.0.0.7:502 unit 1 holding 100".to_owned(),
        source_type: "f32 ABCD".to_owned(),
        unit: "Cel".to_owned(),
        scale: "0.1".parse().expect("a decimal"),
        offset: Decimal::new(-40, 0).expect("within bounds"),
        attestation: Attestation::Gateway,
    }
}

fn reading(stream_index: u32, counter: u64, value: Value) -> Reading {
    Reading {
        stream_index,
        counter,
        source_time_ns: 1_800_000_000_000_000_000 + (counter % 1_000) as i64 * 1_000_003,
        receive_time_ns: 1_800_000_000_000_700_000 + (counter % 1_000) as i64 * 1_000_001,
        quality: Quality::Uncertain,
        flags: FLAG_UNSYNCHRONISED | FLAG_POSSIBLY_REPEATED,
        status: 0x4080_0001,
        value,
    }
}

fn formats_of_identity(vectors: &mut Vectors) -> Network {
    let genesis = genesis();
    vectors.add_value("genesis", &genesis);
    let network = Network::new(Genesis::network_id_of(&genesis.to_bytes()));
    vectors.add("network id", network.id().as_bytes());
    vectors.add("issuer of an ML-DSA-44 key", genesis.members[0].key.issuer().as_bytes());
    vectors.add("issuer of an ML-DSA-65 key", genesis.organisations[0].key.issuer().as_bytes());
    let roles = vec!["gateway".to_owned(), "inviter".to_owned()];
    let credential = Enrol::credential_hash(Issuer(filled(7)), 1, "labeller", &roles);
    vectors.add("credential hash", credential);
    vectors.add(
        "signed message of a credential",
        credential_message(Scheme::MlDsa65, 0, network.id(), &credential),
    );
    network
}

fn batch_payload() -> Batch {
    Batch {
        number: 129,
        first_time_ns: -1,
        last_time_ns: 1_800_000_000_000_000_000,
        count: 1_003,
        root: Hash(filled(0x51)),
        segment: Hash(filled(0x52)),
        segment_bytes: 2_417,
        streams: vec![
            StreamSpan { descriptor: Hash(filled(0x53)), first: 0, count: 1_000 },
            StreamSpan { descriptor: Hash(filled(0x54)), first: u64::MAX - 3, count: 3 },
        ],
    }
}

fn formats_of_transactions(vectors: &mut Vectors, network: &Network) {
    let enrol = |signer, signature_bytes| Enrol {
        key: key(Scheme::MlDsa44, 9),
        name: "labeller".to_owned(),
        roles: vec!["gateway".to_owned()],
        credential: Credential { organisation: 1, signer, signature: vec![0x5e; signature_bytes] },
    };
    let by_organisation = enrol(CredentialSigner::Organisation, 3_309);
    let by_inviter = enrol(CredentialSigner::Inviter(300), 2_420);
    let rotate = Rotate { key: key(Scheme::MlDsa65, 10) };
    let batch = batch_payload();
    vectors.add_value("payload enrol by an organisation", &by_organisation);
    vectors.add_value("payload enrol by an inviter", &by_inviter);
    vectors.add_value("payload rotate", &rotate);
    vectors.add_value("payload batch", &batch);

    let anchored =
        WitnessPart { epoch: 0, round: 1, parents: Parents::Anchor(network.genesis_id()), also: Vec::new() };
    let parents =
        (0..3).map(|m| Parent { member: m * 20, sequence: 127 + u64::from(m), id: Id(filled(0x60 + m)) });
    let later = WitnessPart {
        epoch: 2,
        round: 500,
        parents: Parents::Witnesses(parents.collect()),
        also: vec![reference(0x70, 0), reference(0x72, 16_384)],
    };
    let note = body(network, PayloadKind::Note, b"hello".to_vec());
    let first = Body {
        sequence: 0,
        prev: network.genesis_id(),
        approves: [Reference::genesis(network.id()); 2],
        flags: BODY_UNSYNCHRONISED,
        ..body(network, PayloadKind::Enrol, codec::encode(&by_organisation))
    };
    let bodies = [
        ("note", note.clone()),
        ("empty note", body(network, PayloadKind::Note, Vec::new())),
        ("batch", body(network, PayloadKind::Batch, codec::encode(&batch))),
        ("registry", body(network, PayloadKind::Registry, vec![0, 1, 2])),
        ("unknown kind", Body { kind: 40_000, ..note.clone() }),
        ("enrol", first),
        ("rotate", body(network, PayloadKind::Rotate, codec::encode(&rotate))),
        ("witness of round 1", Body { witness: Some(anchored), ..note.clone() }),
        ("witness with parents and further tips", Body { witness: Some(later), ..note.clone() }),
    ];
    for (name, body) in bodies {
        vectors.add_value(&format!("body {name}"), &body);
        vectors.add(&format!("id {name}"), network.transaction_id(&codec::encode(&body)).as_bytes());
    }
    let bytes = codec::encode(&note);
    let id = network.transaction_id(&bytes);
    for (scheme, key_number) in [(Scheme::MlDsa44, 0), (Scheme::MlDsa65, 300)] {
        let signature = vec![0xa7; scheme.signature_bytes()];
        let envelope = Envelope { scheme, key_number, signature: &signature, body: &bytes };
        let encoded = codec::encode(&envelope);
        assert_eq!(Envelope::open(&encoded), Ok((envelope, note.clone())));
        vectors.add(&format!("envelope {}", scheme.name()), encoded);
        vectors.add(
            &format!("signed message of a transaction {}", scheme.name()),
            transaction_message(scheme, key_number, network.id(), id),
        );
    }
}

/// One reading of each type. The last two travel with bytes beside the block.
fn values() -> [Value; 7] {
    [
        Value::None,
        Value::Bool(true),
        Value::Int(-2),
        Value::Unsigned(u64::MAX - 1),
        Value::Float(-21.5),
        Value::Text("läuft".to_owned()),
        Value::Bytes(vec![0, 0xff, 0x80]),
    ]
}

fn formats_of_readings(vectors: &mut Vectors) {
    let descriptor = descriptor();
    vectors.add_value("descriptor", &descriptor);
    vectors.add("descriptor hash", Descriptor::hash_of(&descriptor.to_bytes()).as_bytes());
    let names = ["none", "bool", "int", "unsigned", "float", "text", "bytes"];
    for (name, value) in names.into_iter().zip(values()) {
        let reading = reading(258, 0x0102_0304_0506_0708, value);
        let block = reading.to_block();
        assert_eq!(Reading::from_block(&block, reading.value.long_bytes()), Ok(reading));
        vectors.add(&format!("reading block {name}"), block);
    }
    let readings = values().into_iter().enumerate().map(|(at, v)| reading(0, at as u64, v));
    let record = JournalRecord {
        batch: 300,
        floating: false,
        taken_at_ns: 1_800_000_000_000_000_000,
        streams: vec![JournalStream { descriptor: Descriptor::hash_of(&descriptor.to_bytes()), first: 0 }],
        blocks: readings.clone().flat_map(|r| r.to_block()).collect(),
        long: readings.flat_map(|r| r.value.long_bytes().unwrap_or(&[]).to_vec()).collect(),
        origins: Vec::new(),
    };
    vectors.add_value("journal record", &record);
    let origin = |packet| Origin { source: 0x0102_0304_0506_0708, packet, digest: [0x5a; 16] };
    let record = JournalRecord { floating: true, origins: vec![origin(1), origin(300)], ..record };
    vectors.add_value("floating journal record with origins", &record);
}

fn formats_of_trees(vectors: &mut Vectors, network: &Network) {
    let secret = secret_of(&filled(0x88), network.id(), Issuer(filled(0x31)), 129);
    vectors.add("batch secret", secret);
    let salts = Salts::new(&secret);
    vectors.add("salts of the first 3 leaves", salts.first(3).as_flattened());
    vectors.add("salt of leaf 65535", salts.of(65_535));
    assert_eq!(salts.first(3)[2], salts.of(2));
    let block: Block = reading(0, 4, Value::Float(21.5)).to_block();
    let text = reading(0, 5, Value::Text("läuft".to_owned()));
    vectors.add("leaf", merkle::leaf(&block, &salts.of(4)));
    vectors.add("long leaf", merkle::long_leaf(&text.to_block(), &salts.of(5), "läuft".as_bytes()));
    vectors.add("node", merkle::node(&filled(1), &filled(2)));
    let leaves: Vec<[u8; 32]> = (1..=5).map(filled).collect();
    let tree = Tree::new(leaves.clone());
    assert_eq!(merkle::root(&leaves), Some(tree.root()));
    vectors.add("root of 5 leaves", tree.root());
    for (index, leaf) in leaves.iter().enumerate() {
        let path = tree.path(index).expect("within the tree");
        assert_eq!(merkle::root_from_path(*leaf, index as u64, 5, &path), Some(tree.root()));
        vectors.add(&format!("path of leaf {index} of 5"), path.as_flattened());
    }
}

fn formats_of_archives(vectors: &mut Vectors, network: &Network) {
    let second = Descriptor { name: "filler/valve".to_owned(), ..descriptor() };
    let descriptors = [descriptor().to_bytes(), second.to_bytes()];
    // Its number in the journal is no part of anything that is signed or archived.
    let mut content = BatchContent::new(31);
    content.streams = descriptors
        .iter()
        .zip([7_u32, 12])
        .map(|(d, count)| BatchStream { descriptor: Descriptor::hash_of(d), first: 40, count })
        .collect();
    let of_first = values().into_iter().enumerate().map(|(at, v)| reading(0, 40 + at as u64, v));
    let of_second = (0..12).map(|at| reading(1, 40 + at, Value::Float(20.0 + at as f64 / 4.0)));
    // They came interleaved; leaves stand stream by stream.
    let mut rest = of_second;
    for first in of_first {
        if let Some(bytes) = first.value.long_bytes() {
            content.long.insert(content.blocks.len() as u32, bytes.to_vec());
        }
        content.blocks.push(first.to_block());
        content.blocks.extend(rest.by_ref().take(1).map(|r| r.to_block()));
    }
    content.blocks.extend(rest.map(|r| r.to_block()));
    let closed = ClosedBatch {
        number: 129,
        secret: secret_of(&filled(0x88), network.id(), Issuer(filled(0x31)), 129),
        descriptors: descriptors.iter().map(|d| d.as_slice().into()).collect(),
        content,
    };
    let sealed = SealedBatch::new(&closed);
    let columns = encode_columns(&sealed);
    assert_eq!(decode_columns(&columns).as_ref(), Ok(&sealed));
    vectors.add("leaves of a batch", sealed.leaves().as_flattened());
    vectors.add("root of a batch", sealed.root().as_bytes());
    vectors.add("archive columns", &columns);
    let segment = Hash(derive(context::SEGMENT, &columns));
    vectors.add("segment hash", segment.as_bytes());
    vectors.add_value("payload of that batch", &sealed.payload(sealed.root(), segment, columns.len() as u64));
}

/// No format; but seeded runs on two kinds of machine are compared by their traces.
fn random_numbers(vectors: &mut Vectors) {
    let mut random = Random::new(&filled(3));
    let words: Vec<u8> = (0..20).flat_map(|_| random.bits().to_le_bytes()).collect();
    vectors.add("random words", words);
    let below: Vec<u8> = (0..20).map(|_| random.below(200) as u8).collect();
    vectors.add("random numbers below 200", below);
    vectors.add("random unit", random.unit().to_bits().to_le_bytes());
}

fn kept() -> BTreeMap<&'static str, &'static str> {
    KEPT.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once(" = ")).collect()
}

/// Writes what is right from now on.
#[expect(clippy::disallowed_methods, reason = "blessing vectors is the one thing here that writes a file")]
fn bless(vectors: &Vectors) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/vectors.txt");
    std::fs::write(path, vectors.text()).expect("golden/vectors.txt can be written");
}

#[test]
fn formats_are_what_they_were() {
    let mut vectors = Vectors::default();
    let network = formats_of_identity(&mut vectors);
    formats_of_transactions(&mut vectors, &network);
    formats_of_readings(&mut vectors);
    formats_of_trees(&mut vectors, &network);
    formats_of_archives(&mut vectors, &network);
    random_numbers(&mut vectors);
    if std::env::var_os("SELVEDGE_BLESS").is_some_and(|v| v == "1") {
        return bless(&vectors);
    }
    let mut kept = kept();
    let mut changed = Vec::new();
    for (name, bytes) in &vectors.0 {
        let now = hex(bytes);
        match kept.remove(name.as_str()) {
            Some(then) if then == now => {}
            Some(then) => {
                let at = then.bytes().zip(now.bytes()).take_while(|(a, b)| a == b).count() / 2;
                changed.push(format!(
                    "{name}: changed from byte {at} on ({} bytes, were {})",
                    bytes.len(),
                    then.len() / 2
                ));
            }
            None => changed.push(format!("{name}: new")),
        }
    }
    changed.extend(kept.keys().map(|name| format!("{name}: gone")));
    assert!(
        changed.is_empty(),
        "{} of {} vectors are not what they were:\n  {}\nA format change must be named in the note. If it is meant: SELVEDGE_BLESS=1 cargo test -p selvedge-core --test golden",
        changed.len(),
        vectors.0.len(),
        changed.join("\n  ")
    );
}

/// The vectors stand for what is documented: a few facts about them that can be read off without this code.
#[test]
fn the_vectors_show_what_the_formats_say() {
    let kept = kept();
    let bytes = |name: &str| kept.get(name).copied().unwrap_or_default();
    assert!(kept.len() > 50, "{} vectors", kept.len());
    // An envelope: scheme tag, key number, length of the signature (2,420 as a varint), the signature.
    assert!(bytes("envelope ML-DSA-44").starts_with(concat!("0100", "f412", "a7a7")));
    // Scheme 2, key 300, 3,309 bytes.
    assert!(bytes("envelope ML-DSA-65").starts_with(concat!("02", "ac02", "ed19", "a7a7")));
    // The signed message: domain, scheme, key number, network id, id.
    let message =
        [&hex(b"selvedge transaction"), "01", "00000000", bytes("network id"), bytes("id note")].concat();
    assert_eq!(bytes("signed message of a transaction ML-DSA-44"), message);
    let message =
        [&hex(b"selvedge credential"), "02", "00000000", bytes("network id"), bytes("credential hash")];
    assert_eq!(bytes("signed message of a credential"), message.concat());
    // A block: version, type, quality, flags, stream index, counter, all little-endian.
    assert!(bytes("reading block float").starts_with(concat!(
        "00",
        "04",
        "01",
        "03",
        "02010000",
        "0807060504030201"
    )));
    assert_eq!(&bytes("reading block float")[64..], concat!("01008040", "00000000", "00000000008035c0"));
    assert_eq!(bytes("reading block none").len(), 96);
    // A body begins with version, length and issuer.
    assert!(bytes("body note").starts_with(&["0020", &hex(&filled(0x31)), "ac02", "20"].concat()));
    // Leaf 4 of 5 hangs directly under the root: one step; the others have three.
    assert_eq!((bytes("path of leaf 4 of 5").len(), bytes("path of leaf 0 of 5").len()), (64, 192));
}
