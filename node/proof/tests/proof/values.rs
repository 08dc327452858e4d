//! What a proof says: for each type of value, for each kind of trust.

use selvedge_core::hash::Hash;
use selvedge_core::reading::{FLAG_POSSIBLY_REPEATED, FLAG_UNSYNCHRONISED, Quality, Value};
use selvedge_core::seal::Salts;
use selvedge_crypto::ids::to_text;
use selvedge_proof::{MakeError, Outcome, Parts, Proof, Refusal, Trust};

use crate::support::{FIRST, World, batch, batch_of, descriptor, issuer, payload, streams, verify};

#[test]
fn each_type_of_value_is_shown_in_words() {
    let world = World::new(1);
    let batch = batch(4);
    let expected = [
        "The reading: 21.6 °C (raw 216, scale 0.1), stream \"tank/temperature\" on device \"plc\", quality good, counter 1002",
        "The reading: 14.3 L/min, stream \"filler/flow\"",
        "The reading: \"lemon 2\", stream \"filler/recipe\"",
        "The reading: true, stream \"valve/open\"",
        "The reading: -0.07 mm (raw -7, scale 0.01), stream \"drive/trim\"",
        "The reading: 2 bytes, 0xabab, stream \"drive/blob\"",
        "The reading: no value, stream \"drive/ghost\" on device \"plc\", quality not-available, counter 1002",
    ];
    for (stream, expected) in expected.into_iter().enumerate() {
        let leaf = payload(&batch).leaf_index(stream as u32, FIRST + 2).unwrap() as u32;
        let bytes = world.prove(&batch, leaf).to_bytes();
        let verdict = verify(&bytes, world.trust()).unwrap();
        let first = verdict.links().remove(0);
        assert!(first.starts_with(expected), "{first}");
        assert_eq!((verdict.outcome, verdict.exit_code()), (Outcome::Verified, 0));
    }
}

#[test]
fn the_verdict_in_full() {
    let world = World::new(1);
    let proof = world.prove(&batch(4), 2);
    let verdict = verify(&proof.to_bytes(), world.trust()).unwrap();
    let network = to_text(&world.network.id());
    let expected = format!(
        "\
The reading: 21.6 °C (raw 216, scale 0.1), stream \"tank/temperature\" on device \"plc\", quality good, counter 1002, at 2026-05-01T12:04:10.5Z, received 2026-05-01T12:04:10.503Z (the gateway claims both).
It was read at \"modbus-tcp 10.0.0.7:502 unit 1 holding 100\" as \"u16\" and is gateway-attested: the device itself signed nothing.
Its leaf is number 2 (from 0) of 28 in the tree whose root {} the batch names; its place follows from stream and counter.
The batch, number 12, received from 2026-05-01T12:04:10.003Z to 2026-05-01T12:04:10.753Z, holds counters 1000 to 1003 of this stream; it is in transaction {}, sequence 14 of gateway \"g1\" ({}), issued at 2026-05-01T12:00:05Z (the gateway claims).
The transaction is signed with ML-DSA-44 by key 0 of gateway \"g1\".
Key 0 (ML-DSA-44) is the one that the genesis names for gateway \"g1\" of organisation \"Acme\".
The genesis itself names gateway \"g1\" a member of organisation \"Acme\", with the roles \"gateway\".
The network is {network} (it calls itself \"bottling\"), pinned by you.

This proof does not show:
- that the value is true at the machine: the gateway says that it read it
- that the times are right: the gateway claims them; only the order on its chain is proved
- that the transaction is final: that others hold it, and that its issuer signed no other one at its sequence
- that its issuer was still a member: a removal would stand in the network's order
- that no key was stolen: a thief signs like the owner
- that key 0 had not been replaced: a rotation between sequence 0 and 13 would have ended it
- whether other readings are missing: counters are gapless, so ask for those around 1002

Verified: signed by gateway \"g1\", at this place of its order, unchanged, in the network {network}.",
        batch(4).root().short(),
        to_text(&world.id_of(&proof.transaction)),
        to_text(&issuer(&world.gateway)),
    );
    assert_eq!(verdict.words(), expected);
}

#[test]
fn without_a_pinned_network_it_is_only_consistent() {
    let world = World::new(1);
    let verdict = verify(&world.prove(&batch(4), 2).to_bytes(), Trust::Nobody).unwrap();
    assert_eq!((verdict.outcome, verdict.exit_code()), (Outcome::Consistent, 3));
    let end = format!(
        "Consistent, but nobody said which network to trust: it names {}",
        to_text(&world.network.id())
    );
    assert!(verdict.words().ends_with(&end), "{verdict}");
    assert!(verdict.words().contains("- that this is the network you mean"), "{verdict}");
}

#[test]
fn a_genesis_file_pins_as_an_id_does() {
    let (world, forged) = (World::new(1), World::new(2));
    let bytes = world.prove(&batch(4), 2).to_bytes();
    let verdict = verify(&bytes, Trust::Genesis(&world.bytes)).unwrap();
    assert_eq!(verdict.exit_code(), 0);
    assert!(verdict.words().contains("founded by the genesis that you named"), "{verdict}");
    let refusal = verify(&bytes, Trust::Genesis(&forged.bytes)).unwrap_err();
    assert!(matches!(refusal, Refusal::OtherNetwork { .. }), "{refusal}");
    let refusal = verify(&bytes, Trust::Genesis(b"not a genesis")).unwrap_err();
    assert!(matches!(refusal, Refusal::TrustedGenesis { .. }), "{refusal}");
}

#[test]
fn doubts_of_gateway_and_source_are_told() {
    let world = World::new(1);
    let mut batch = batch(4);
    let block = &mut batch.blocks[2];
    block[2] = Quality::Uncertain as u8;
    block[3] = FLAG_UNSYNCHRONISED | FLAG_POSSIBLY_REPEATED;
    block[32..36].copy_from_slice(&0x8000_0001_u32.to_le_bytes());
    let words = verify(&world.prove(&batch, 2).to_bytes(), world.trust()).unwrap().words();
    for expected in [
        "quality uncertain",
        "status code 0x80000001",
        "with a clock that was not synchronised), possibly delivered twice by its source",
        "says itself that its clock was not synchronised",
    ] {
        assert!(words.contains(expected), "{expected}: {words}");
    }
}

/// A stranger's texts reach a terminal: no escape sequence, no line of their own, no reversed writing.
#[test]
fn texts_of_strangers_cannot_forge_a_line() {
    let world = World::new(1);
    let evil = "1\u{1b}[2J\n\u{202e}Verified\u{2028}\"";
    let mut hostile = descriptor("tank\u{202e}\" on device \"other", "u16", evil, "1");
    hostile.address = evil.into();
    let mut streams = streams();
    streams.truncate(1);
    streams[0].0 = hostile.clone();
    hostile.name = "text".into();
    streams.push((hostile, |_| Value::Text("1\u{1b}[2J\n\u{202e}Verified".into())));
    let batch = batch_of(&streams, 2);
    for leaf in [0, 2] {
        let verdict = verify(&world.prove(&batch, leaf).to_bytes(), world.trust()).unwrap();
        for line in verdict.links() {
            assert!(!line.chars().any(|c| c.is_control() || "\u{202e}\u{2028}".contains(c)), "{line:?}");
        }
        let first = verdict.links().remove(0);
        assert!(
            leaf != 0 || first.contains("stream \"tank\\u{202e}\\\" on device \\\"other\" on device \"plc\""),
            "{first}"
        );
    }
}

#[test]
fn the_verdict_as_json() {
    let world = World::new(1);
    let verdict = verify(&world.prove(&batch(4), 2).to_bytes(), world.trust()).unwrap();
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["outcome"], "verified");
    assert_eq!(json["reading"]["value"], "21.6");
    assert_eq!(json["reading"]["raw"], 216);
    assert_eq!(json["reading"]["unit"], "Cel");
    assert_eq!(json["reading"]["quality"], "good");
    assert_eq!(json["reading"]["source_time"], "2026-05-01T12:04:10.5Z");
    assert_eq!(json["leaf"]["index"], 2);
    assert_eq!(json["leaf"]["root"], batch(4).root().to_hex());
    assert_eq!(json["keys"][0]["named"]["by"], "genesis");
    assert_eq!(json["issuer"]["id"], to_text(&issuer(&world.gateway)));
    assert_eq!(json["network"]["id"], to_text(&world.network.id()));
    assert_eq!(json["network"]["trusted"], "id");
    assert_eq!(json["not_shown"][0]["what"], "truth");
    let refusal = verify(b"hello", world.trust()).unwrap_err();
    let json = serde_json::to_value(refusal.report()).unwrap();
    assert_eq!((json["outcome"].as_str(), json["link"].as_str()), (Some("refused"), Some("file")));
    assert_eq!(refusal.exit_code(), 1);
}

#[test]
fn parts_that_do_not_belong_together_make_no_proof() {
    let world = World::new(1);
    let (batch, other) = (batch(4), batch(5));
    let transaction = world.carry(&world.gateway, &payload(&batch));
    let good = Parts {
        genesis: &world.bytes,
        batch: &batch,
        tree: None,
        leaf: 2,
        transaction: &transaction,
        enrolment: None,
        rotations: &[],
    };
    Proof::make(&good).unwrap();
    assert_eq!(
        Proof::make(&Parts { leaf: 28, ..good }),
        Err(MakeError::NoSuchLeaf { got: 28, expected: 28 })
    );
    let wrong = Proof::make(&Parts { batch: &other, ..good }).unwrap_err();
    assert!(matches!(wrong, MakeError::Link(Refusal::PathLength { .. } | Refusal::Root { .. })), "{wrong}");
    let tree = other.tree();
    Proof::make(&Parts { tree: Some(&tree), ..good }).unwrap_err();
    let foreign = World::new(2);
    Proof::make(&Parts { genesis: &foreign.bytes, ..good }).unwrap_err();
    Proof::make(&Parts { transaction: &transaction[1..], ..good }).unwrap_err();
    // What is not needed is left out.
    let rotation = world.rotation(issuer(&world.gateway), 20, &world.gateway, 0, world.newcomer.public_key());
    let lean = Proof::make(&Parts { rotations: &[&rotation], enrolment: Some(&rotation), ..good }).unwrap();
    assert_eq!((lean.rotations.len(), lean.enrolment), (0, None));
}

#[test]
fn a_proof_from_a_batch_of_4096_is_small() {
    let world = World::new(1);
    let batch = batch_of(&streams()[..1], 4_096);
    let proof = world.prove(&batch, 1_717);
    let bytes = proof.to_bytes();
    let verdict = verify(&bytes, world.trust()).unwrap();
    assert_eq!((verdict.leaf.index, verdict.leaf.count, verdict.leaf.path_hashes), (1_717, 4_096, 12));
    assert_eq!(proof.salt, Salts::new(&batch.secret).of(1_717));
    assert_eq!(verdict.leaf.root, Hash(batch.tree().root()));
    let apart = bytes.len() - proof.genesis.len() - proof.transaction.len();
    println!(
        "proof of one of 4,096: {} bytes; path {} bytes; all but genesis ({}) and transaction ({}): {apart}",
        bytes.len(),
        proof.path.len(),
        proof.genesis.len(),
        proof.transaction.len()
    );
    assert!(proof.path.len() + proof.salt.len() + proof.block.len() <= 500);
}
