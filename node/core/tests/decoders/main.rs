//! Every decoder against bytes that nobody made in good faith: no panic, bounded memory, one encoding a value.
//!
//! `SELVEDGE_CASES` inputs each (50,000 unless set), from a fixed seed that is printed. Most are mutations of valid
//! encodings, so that they get past the first field; the rest are random bytes.

mod wire;

use std::alloc::System;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap::Cap;
use selvedge_core::border::Origin;
use selvedge_core::codec::{self, Canonical, CodecError};
use selvedge_core::genesis::{Genesis, Member, Organisation, PublicKey};
use selvedge_core::journal::{JournalRecord, JournalStream};
use selvedge_core::payload::{Batch, Credential, CredentialSigner, Enrol, Rotate, StreamSpan};
use selvedge_core::random::Random;
use selvedge_core::reading::{Quality, READING_BYTES, Reading, Value};
use selvedge_core::seal::{SealedBatch, decode_columns, encode_columns};
use selvedge_core::stream::{Attestation, Decimal, Descriptor};
use selvedge_core::transaction::{Body, Envelope, Parent, Parents, Reference, WitnessPart};
use selvedge_core::{Hash, Id, Issuer, Scheme, limits};
use serde::Deserialize;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time: the counts of the allocator are those of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a decoder may use beyond its input: the value, its encoding made anew, and the growth of both.
const MEMORY_FACTOR: usize = 4;
const MEMORY_FLOOR: usize = 64 * 1024;

/// Runs `work` and fails when it had more than `limit` bytes allocated at once.
///
/// The allocator's greatest count never goes back, so a run is measured only where it rises: the first run that
/// exceeds the limit is always seen, since all before it stayed below.
fn within_memory<T>(limit: usize, input: &[u8], work: impl FnOnce() -> T) -> T {
    let (before, highest) = (ALLOCATOR.allocated(), ALLOCATOR.max_allocated());
    let result = work();
    let now_highest = ALLOCATOR.max_allocated();
    if now_highest > highest {
        let used = now_highest.saturating_sub(before);
        let shown = &input[..input.len().min(60)];
        assert!(
            used <= limit,
            "{used} bytes of memory for {} bytes of input, at most {limit}: {shown:02x?}",
            input.len()
        );
    }
    result
}

fn cases() -> usize {
    std::env::var("SELVEDGE_CASES").ok().and_then(|c| c.parse().ok()).unwrap_or(50_000)
}

/// Inputs made from valid encodings.
struct Inputs {
    random: Random,
    valid: Vec<Vec<u8>>,
}

impl Inputs {
    fn new(seed: u8, valid: Vec<Vec<u8>>) -> Self {
        println!("seed {seed}, {} inputs", cases());
        Self { random: Random::new(&[seed; 32]), valid }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound.max(1) as u64) as usize
    }

    fn any_valid(&mut self) -> Vec<u8> {
        let at = self.below(self.valid.len());
        self.valid[at].clone()
    }

    fn random_bytes(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.below(length_max);
        (0..length).map(|_| self.random.bits() as u8).collect()
    }

    fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.any_valid();
        match self.below(9) {
            0 => return self.random_bytes(300),
            1 => {
                let keep = self.below(bytes.len() + 1);
                bytes.truncate(keep);
            }
            2 => {
                let more = self.random_bytes(40);
                bytes.extend(more);
            }
            3 => {
                // The front of one and the back of another.
                let other = self.any_valid();
                let (at, from) = (self.below(bytes.len() + 1), self.below(other.len() + 1));
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 => {
                let at = self.below(bytes.len());
                over_long(&mut bytes, at);
            }
            5 => {
                // A length or number beyond everything.
                let at = self.below(bytes.len());
                let huge: &[u8] = [
                    [0xff, 0xff, 0xff, 0xff, 0x0f].as_slice(),
                    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                    &[0x80, 0x80, 0x40],
                    &[0xff; 12],
                ][self.below(4)];
                bytes.splice(at..=at, huge.iter().copied());
            }
            6 => {
                let (from, length) = (self.below(bytes.len()), self.below(50));
                let piece: Vec<u8> = bytes[from..(from + length).min(bytes.len())].to_vec();
                let at = self.below(bytes.len());
                bytes.splice(at..at, piece);
            }
            _ => {}
        }
        // Early bytes hold the structure, so half of the flips go there.
        for _ in 0..self.below(4) {
            let early = [bytes.len(), bytes.len().min(100)][self.below(2)];
            if early > 0 {
                let at = self.below(early);
                bytes[at] ^= 1 << self.below(8);
            }
        }
        bytes
    }
}

/// Writes the varint that ends at `at`, if there is one, with one byte more.
fn over_long(bytes: &mut Vec<u8>, at: usize) {
    if bytes[at] < 0x80 {
        bytes[at] |= 0x80;
        bytes.insert(at + 1, 0);
    }
}

/// The decoder of `T` against generated inputs; `limit` bounds what it may allocate.
fn attack<T>(seed: u8, valid: &[T])
where
    T: Canonical + for<'a> Deserialize<'a> + PartialEq + Debug,
{
    let _alone = alone();
    let encodings: Vec<Vec<u8>> = valid.iter().map(codec::encode).collect();
    for (value, bytes) in valid.iter().zip(&encodings) {
        assert_eq!(codec::decode::<T>(bytes).as_ref(), Ok(value));
        one_encoding::<T>(bytes);
    }
    let limit = MEMORY_FACTOR * T::BYTES_MAX + MEMORY_FLOOR;
    let mut inputs = Inputs::new(seed, encodings);
    let mut accepted = 0_usize;
    for _ in 0..cases() {
        let bytes = inputs.next();
        let Ok(value) = within_memory(limit, &bytes, || codec::decode::<T>(&bytes)) else { continue };
        accepted += 1;
        assert_eq!(codec::encode(&value), bytes, "decoded, and encoded differently");
        assert!(value.check().is_ok() && bytes.len() <= T::BYTES_MAX);
    }
    println!("{}: {accepted} of {} accepted", T::WHAT, cases());
    assert!(accepted > 0, "no input got past the decoder: the generator is of no use");
    assert!(accepted < cases(), "every input was accepted");
}

/// Every over-long number and every trailing byte is refused.
fn one_encoding<T>(bytes: &[u8])
where
    T: Canonical + for<'a> Deserialize<'a> + Debug,
{
    let mut not_canonical = 0;
    for at in 0..bytes.len().min(3_000) {
        let mut longer = bytes.to_vec();
        over_long(&mut longer, at);
        if longer.len() == bytes.len() {
            continue;
        }
        match codec::decode::<T>(&longer) {
            Ok(value) => {
                // Inside a byte string this is another value, and then its own encoding.
                assert_eq!(codec::encode(&value), longer);
            }
            Err(CodecError::NotCanonical { .. }) => not_canonical += 1,
            Err(_) => {}
        }
    }
    assert!(not_canonical > 0, "no over-long number of {} was met", T::WHAT);
    for more in 0..=u8::MAX {
        let mut longer = bytes.to_vec();
        longer.push(more);
        let why = codec::decode::<T>(&longer).expect_err("a trailing byte");
        assert!(
            matches!(why, CodecError::Trailing { left: 1, .. } | CodecError::TooLong { .. }),
            "a trailing {more}: {why:?}"
        );
    }
    for length in 0..bytes.len().min(5_000) {
        assert!(codec::decode::<T>(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    let mut large = bytes.to_vec();
    large.resize(T::BYTES_MAX + 1, 0);
    assert!(matches!(codec::decode::<T>(&large), Err(CodecError::TooLong { .. })));
}

fn hash(byte: u8) -> Hash {
    Hash([byte; 32])
}

fn key(scheme: Scheme, byte: u8) -> PublicKey {
    PublicKey { scheme, bytes: (0..scheme.public_key_bytes()).map(|i| byte ^ i as u8).collect() }
}

fn member(byte: u8, roles: &[&str]) -> Member {
    Member {
        organisation: u16::from(byte % 2),
        key: key(Scheme::MlDsa44, byte),
        name: format!("member {byte}"),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
    }
}

#[test]
fn genesis() {
    let genesis = |members: u8, committee: Vec<u16>| Genesis {
        version: 0,
        network_name: "netz ä".to_owned(),
        random: [200; 32],
        organisations: (0..2)
            .map(|i| Organisation { name: format!("o{i}"), key: key(Scheme::MlDsa65, 100 + i) })
            .collect(),
        members: (0..members).map(|m| member(m, &["gateway", "inviter"][..usize::from(m % 3)])).collect(),
        committee,
    };
    attack(1, &[genesis(1, vec![0]), genesis(3, vec![2, 0, 1])]);
}

fn reference(byte: u8, sequence: u64) -> Reference {
    Reference { issuer: Issuer([byte; 32]), sequence, id: Id([byte ^ 0xff; 32]) }
}

fn body(witness: Option<WitnessPart>, payload: Vec<u8>) -> Body {
    Body {
        version: 0,
        issuer: Issuer([3; 32]),
        sequence: 300,
        prev: Id([4; 32]),
        approves: [reference(5, 70_000), reference(6, u64::MAX)],
        witness,
        issued_at_ms: 1_800_000_000_000,
        flags: 1,
        kind: 4,
        payload,
    }
}

fn bodies() -> Vec<Body> {
    let parents =
        (0..4).map(|m| Parent { member: m * 9, sequence: 200 + u64::from(m), id: Id([m; 32]) }).collect();
    vec![
        body(None, Vec::new()),
        body(None, vec![0x80; 400]),
        body(
            Some(WitnessPart { epoch: 0, round: 1, parents: Parents::Anchor(Id([9; 32])), also: vec![] }),
            vec![1, 2, 3],
        ),
        body(
            Some(WitnessPart {
                epoch: 700,
                round: 900,
                parents: Parents::Witnesses(parents),
                also: vec![reference(7, 1), reference(8, 128)],
            }),
            Vec::new(),
        ),
    ]
}

#[test]
fn transaction_body() {
    attack(2, &bodies());
}

/// The envelope borrows, so it cannot go through `attack`; and `open` decodes both layers.
#[test]
fn transaction_envelope() {
    let _alone = alone();
    let signature = vec![0x55; Scheme::MlDsa44.signature_bytes()];
    let large_signature = vec![0xaa; Scheme::MlDsa65.signature_bytes()];
    let bodies: Vec<Vec<u8>> = bodies().iter().map(codec::encode).collect();
    let valid: Vec<Vec<u8>> = bodies
        .iter()
        .flat_map(|body| {
            let small = Envelope { scheme: Scheme::MlDsa44, key_number: 0, signature: &signature, body };
            let large =
                Envelope { scheme: Scheme::MlDsa65, key_number: 500, signature: &large_signature, body };
            [codec::encode(&small), codec::encode(&large)]
        })
        .collect();
    for bytes in &valid {
        assert!(Envelope::open(bytes).is_ok());
        let mut trailing = bytes.clone();
        trailing.push(0);
        assert!(matches!(Envelope::open(&trailing), Err(CodecError::Trailing { left: 1, .. })));
        let mut not_canonical = 0;
        for at in 0..bytes.len().min(3_000) {
            let mut longer = bytes.clone();
            over_long(&mut longer, at);
            if longer.len() == bytes.len() {
                continue;
            }
            match Envelope::open(&longer) {
                // Inside the signature it would be another one, and of the wrong length.
                Ok(_) => panic!("two encodings of one envelope (byte {at})"),
                Err(CodecError::NotCanonical { .. }) => not_canonical += 1,
                Err(_) => {}
            }
        }
        assert!(not_canonical > 0, "no over-long number was met");
    }
    let limit = MEMORY_FACTOR * limits::ENVELOPE_BYTES_MAX + MEMORY_FLOOR;
    let mut inputs = Inputs::new(3, valid);
    let mut accepted = 0;
    for _ in 0..cases() {
        let bytes = inputs.next();
        let Ok((envelope, body)) = within_memory(limit, &bytes, || Envelope::open(&bytes)) else { continue };
        accepted += 1;
        assert_eq!(codec::encode(&body), envelope.body);
        assert_eq!(codec::encode(&envelope), bytes);
        assert_eq!(envelope.signature.len(), envelope.scheme.signature_bytes());
    }
    println!("{accepted} of {} accepted", cases());
    assert!(accepted > 0 && accepted < cases());
}

fn enrol(roles: &[&str], signer: CredentialSigner) -> Enrol {
    Enrol {
        key: key(Scheme::MlDsa44, 77),
        name: "n".to_owned(),
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        credential: Credential { organisation: 300, signer, signature: vec![0x33; 3_309] },
    }
}

#[test]
fn enrol_payload() {
    attack(
        4,
        &[
            enrol(&[], CredentialSigner::Organisation),
            enrol(&["a", "b", "c"], CredentialSigner::Inviter(1_000)),
        ],
    );
}

#[test]
fn rotate_payload() {
    attack(5, &[Rotate { key: key(Scheme::MlDsa44, 1) }, Rotate { key: key(Scheme::MlDsa65, 2) }]);
}

#[test]
fn batch_payload() {
    let batch = |streams: Vec<StreamSpan>| Batch {
        number: 500,
        first_time_ns: -1,
        last_time_ns: 1_800_000_000_000_000_000,
        count: streams.iter().map(|s| s.count).sum(),
        root: hash(1),
        segment: hash(2),
        segment_bytes: 200_000,
        streams,
    };
    let span =
        |n: u8| StreamSpan { descriptor: hash(n), first: u64::from(n) * 1_000, count: 1 + u32::from(n) };
    attack(6, &[batch(vec![span(0)]), batch((0..20).map(span).collect())]);
}

fn descriptor(name: &str) -> Descriptor {
    Descriptor {
        name: name.to_owned(),
        device: "press 4".to_owned(),
        address: "modbus-tcp 10.0.0.7:502 unit 1 holding 100".to_owned(),
        source_type: "f32 ABCD".to_owned(),
        unit: "Cel".to_owned(),
        scale: Decimal::new(-25, -3).expect("within bounds"),
        offset: Decimal::ZERO,
        attestation: Attestation::Gateway,
    }
}

#[test]
fn stream_descriptor() {
    attack(7, &[descriptor("a"), descriptor(&"ö".repeat(60))]);
}

fn values() -> Vec<Value> {
    vec![
        Value::None,
        Value::Bool(true),
        Value::Int(-5),
        Value::Unsigned(u64::MAX),
        Value::Float(21.5),
        Value::Text("läuft".to_owned()),
        Value::Bytes(vec![0, 1, 0x80]),
    ]
}

fn reading(stream_index: u32, counter: u64, value: Value) -> Reading {
    Reading {
        stream_index,
        counter,
        source_time_ns: 1_800_000_000_000_000_000 + counter as i64,
        receive_time_ns: 1_800_000_000_000_500_000 + counter as i64,
        quality: Quality::Uncertain,
        flags: 3,
        status: 0x8000_0000,
        value,
    }
}

#[test]
fn journal_record() {
    let record = |values: &[Value]| {
        let readings: Vec<Reading> =
            values.iter().enumerate().map(|(i, v)| reading(0, i as u64, v.clone())).collect();
        JournalRecord {
            batch: 129,
            floating: readings.len() == 1,
            taken_at_ns: -300,
            streams: vec![JournalStream { descriptor: hash(8), first: 0 }],
            blocks: readings.iter().flat_map(Reading::to_block).collect(),
            long: readings.iter().flat_map(|r| r.value.long_bytes().unwrap_or(&[]).to_vec()).collect(),
            origins: vec![Origin { source: 77, packet: 300, digest: [4; 16] }],
        }
    };
    attack(8, &[record(&values()), record(&[Value::Unsigned(1)])]);
}

/// What decodes may still be no batch; replaying it must not panic either, and takes all of a record or nothing.
#[test]
fn replaying_a_mutated_journal_takes_a_record_as_a_whole_or_not_at_all() {
    use selvedge_core::batch::BatchContent;
    let _alone = alone();
    let blocks = |from: u64, streams: &[u32]| -> Vec<u8> {
        streams
            .iter()
            .enumerate()
            .flat_map(|(i, s)| reading(*s, from + i as u64, Value::Int(4)).to_block())
            .collect()
    };
    let stream = |n| JournalStream { descriptor: hash(n), first: 10 };
    let record = |streams, blocks| {
        let (batch, taken_at_ns, long) = (5, 0, Vec::new());
        let (floating, origins) = (false, Vec::new());
        JournalRecord { batch, floating, taken_at_ns, streams, blocks, long, origins }.to_bytes()
    };
    let first = record(vec![stream(1)], blocks(10, &[0, 0, 0]));
    let second = record(vec![stream(2)], blocks(10, &[1, 1]));
    let mut start = BatchContent::new(5);
    start.replay(&first).expect("valid");
    let mut inputs = Inputs::new(9, vec![first, second]);
    let mut taken = 0;
    for _ in 0..cases() {
        let bytes = inputs.next();
        let mut batch = start.clone();
        match batch.replay(&bytes) {
            Ok(record) => {
                taken += 1;
                assert_eq!(batch.blocks.len(), start.blocks.len() + record.blocks().len());
                let counted: u32 = batch.streams.iter().map(|s| s.count).sum();
                assert_eq!(counted as usize, batch.blocks.len());
            }
            Err(_) => assert_eq!(batch, start, "an error left something behind"),
        }
    }
    assert!(taken > 0 && taken < cases());
}

fn sealed(values: &[Value], streams: u32) -> SealedBatch {
    let descriptors: Vec<Vec<u8>> = (0..streams).map(|s| descriptor(&format!("s{s}")).to_bytes()).collect();
    let mut blocks = Vec::new();
    let mut long = BTreeMap::new();
    for stream in 0..streams {
        for (at, value) in values.iter().enumerate() {
            if let Some(bytes) = value.long_bytes() {
                long.insert(blocks.len() as u32, bytes.to_vec());
            }
            blocks.push(reading(stream, 50 + at as u64, value.clone()).to_block());
        }
    }
    SealedBatch {
        number: 200,
        secret: [0x99; 32],
        streams: descriptors
            .iter()
            .map(|d| StreamSpan { descriptor: Descriptor::hash_of(d), first: 50, count: values.len() as u32 })
            .collect(),
        descriptors,
        blocks,
        long,
    }
}

#[test]
fn archive_columns() {
    let _alone = alone();
    let floats: Vec<Value> = (0..40).map(|i| Value::Float(20.0 + f64::from(i) / 8.0)).collect();
    let batches = [sealed(&values(), 2), sealed(&floats, 1), sealed(&[Value::Int(1)], 1)];
    let encodings: Vec<Vec<u8>> = batches.iter().map(encode_columns).collect();
    for (batch, bytes) in batches.iter().zip(&encodings) {
        assert_eq!(decode_columns(bytes).as_ref(), Ok(batch));
        let mut trailing = bytes.clone();
        trailing.push(0);
        assert!(decode_columns(&trailing).is_err());
        for length in 0..bytes.len() {
            assert!(decode_columns(&bytes[..length]).is_err(), "cut to {length}");
        }
        for at in 0..bytes.len() {
            let mut longer = bytes.clone();
            over_long(&mut longer, at);
            if longer.len() > bytes.len()
                && let Ok(other) = decode_columns(&longer)
            {
                assert_eq!(encode_columns(&other), longer, "two encodings of one batch (byte {at})");
            }
        }
    }
    // A segment may grow by this much only: 48 bytes a reading, at most 65,536 of them, and what is beside them.
    let limit = MEMORY_FACTOR * (limits::BATCH_READINGS_MAX * READING_BYTES) + MEMORY_FLOOR;
    let mut inputs = Inputs::new(10, encodings);
    let mut accepted = 0;
    for _ in 0..cases() {
        let bytes = inputs.next();
        let Ok(batch) = within_memory(limit, &bytes, || decode_columns(&bytes)) else { continue };
        accepted += 1;
        assert_eq!(encode_columns(&batch), bytes);
        let total: u32 = batch.streams.iter().map(|s| s.count).sum();
        assert_eq!(total as usize, batch.blocks.len());
    }
    println!("{accepted} of {} accepted", cases());
    assert!(accepted > 0 && accepted < cases());
}

#[test]
fn reading_block() {
    let _alone = alone();
    let valid: Vec<(Vec<u8>, Option<Vec<u8>>)> = values()
        .into_iter()
        .map(|v| {
            let reading = reading(3, 9, v);
            let long = reading.value.long_bytes().map(<[u8]>::to_vec);
            let block = reading.to_block();
            assert_eq!(Reading::from_block(&block, long.as_deref()), Ok(reading));
            (block.to_vec(), long)
        })
        .collect();
    let blocks: Vec<Vec<u8>> = valid.iter().map(|(block, _)| block.clone()).collect();
    let mut inputs = Inputs::new(11, blocks);
    let mut accepted = 0;
    for _ in 0..cases() {
        let mut bytes = inputs.next();
        bytes.resize(READING_BYTES, 0);
        let block = bytes.try_into().expect("48 bytes");
        let long = valid[inputs.below(valid.len())].1.clone();
        let decode = || Reading::from_block(&block, long.as_deref());
        let Ok(reading) = within_memory(MEMORY_FLOOR, &block, decode) else { continue };
        accepted += 1;
        assert_eq!(reading.to_block(), block);
        assert_eq!(reading.value.long_bytes(), long.as_deref());
        assert!(!matches!(reading.value, Value::Float(f) if f.is_nan()));
    }
    println!("{accepted} of {} accepted", cases());
    assert!(accepted > 0 && accepted < cases());
}

/// A varint as postcard writes it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// The longest input that is allowed, all of it a list of the shortest elements there are: one byte each on the wire,
/// dozens in memory. Limits on counts were checked only after the whole list had been made.
#[test]
fn long_lists_of_tiny_elements_take_bounded_memory() {
    let _alone = alone();
    let fill = |mut front: Vec<u8>, bytes_max: usize| {
        let count = bytes_max - front.len() - 4;
        front.extend(varint(count as u64));
        front.resize(bytes_max, 0);
        front
    };
    let limit = |bytes_max: usize| MEMORY_FACTOR * bytes_max + MEMORY_FLOOR;

    let mut front = codec::encode(&key(Scheme::MlDsa44, 1));
    front.extend(codec::encode(&"n"));
    let bytes = fill(front, Enrol::BYTES_MAX);
    let decoded = within_memory(limit(Enrol::BYTES_MAX), &bytes, || codec::decode::<Enrol>(&bytes));
    assert!(decoded.is_err());

    // Organisations of three zero bytes, and members with roles of one.
    let front = codec::encode(&(0_u8, "n", [0_u8; 32]));
    for member in [false, true] {
        let mut bytes = front.clone();
        if member {
            bytes.extend(codec::encode(&vec![Organisation {
                name: "o".to_owned(),
                key: key(Scheme::MlDsa65, 1),
            }]));
            bytes.extend(varint(1));
            bytes.extend(codec::encode(&(0_u16, key(Scheme::MlDsa44, 1), "m")));
        }
        let bytes = fill(bytes, Genesis::BYTES_MAX);
        let decoded = within_memory(limit(Genesis::BYTES_MAX), &bytes, || codec::decode::<Genesis>(&bytes));
        assert!(decoded.is_err());
    }
}

/// The same of an archive segment: descriptors of no bytes.
#[test]
fn an_archive_of_empty_descriptors_takes_bounded_memory() {
    let _alone = alone();
    let bytes_max = 2 * limits::BATCH_BYTES_MAX + limits::BATCH_STREAMS_MAX * limits::DESCRIPTOR_BYTES_MAX;
    let mut bytes = codec::encode(&(0_u8, 5_u64, [0_u8; 32], Vec::<StreamSpan>::new()));
    bytes.extend(varint((bytes_max - bytes.len() - 4) as u64));
    bytes.resize(bytes_max, 0);
    let decoded = within_memory(MEMORY_FACTOR * bytes_max, &bytes, || decode_columns(&bytes));
    assert!(decoded.is_err());
}
