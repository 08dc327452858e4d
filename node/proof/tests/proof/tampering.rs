//! Every byte of the file is bound: whichever is changed, and whatever the verifier trusts, it is refused.

use selvedge_core::payload::{CredentialSigner, PayloadKind};
use selvedge_proof::{Link, MAGIC, Proof, Refusal, Trust};

use crate::support::{SCHEME, SEQUENCE, World, batch, issuer, key, payload, verify};

fn every_flip_is_refused(proof: &Proof, trust: Trust<'_>) {
    let bytes = proof.to_bytes();
    verify(&bytes, trust).unwrap();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80] {
            let mut altered = bytes.clone();
            altered[at] ^= mask;
            assert!(verify(&altered, trust).is_err(), "byte {at} of {} ^ {mask:#x}", bytes.len());
        }
    }
}

#[test]
fn every_byte_of_a_numeric_proof_is_bound() {
    let world = World::new(1);
    every_flip_is_refused(&world.prove(&batch(4), 2), world.trust());
}

#[test]
fn every_byte_of_a_numeric_proof_is_bound_to_a_genesis_file() {
    let world = World::new(1);
    every_flip_is_refused(&world.prove(&batch(4), 2), Trust::Genesis(&world.bytes));
}

#[test]
fn every_byte_of_a_text_proof_is_bound_even_when_nobody_is_trusted() {
    let world = World::new(1);
    let proof = world.prove(&batch(4), 9);
    assert_eq!(proof.long.as_ref().map(|b| b.to_vec()), Some(b"lemon 1".to_vec()));
    every_flip_is_refused(&proof, Trust::Nobody);
}

#[test]
fn every_byte_of_a_proof_with_enrolment_and_rotations_is_bound() {
    let (proof, world) = long_proof();
    every_flip_is_refused(&proof, world.trust());
}

#[test]
fn every_byte_of_a_proof_with_enrolment_and_rotations_is_bound_even_when_nobody_is_trusted() {
    let (proof, _) = long_proof();
    every_flip_is_refused(&proof, Trust::Nobody);
}

/// A newcomer that an inviter let in, and that has changed its key twice.
pub(crate) fn long_proof() -> (Proof, World) {
    let world = World::new(1);
    let batch = batch(4);
    let who = issuer(&world.newcomer);
    let (second, third) = (key(SCHEME, 101), key(SCHEME, 102));
    let enrol = world.enrol(&world.newcomer, &world.inviter, 0, CredentialSigner::Inviter(1));
    let enrolment = world.enrolment(&world.newcomer, &enrol);
    let first_rotation = world.rotation(who, 3, &world.newcomer, 0, second.public_key());
    let second_rotation = world.rotation(who, 8, &second, 1, third.public_key());
    let payload = selvedge_core::codec::encode(&payload(&batch));
    let transaction = world.envelope(&third, 2, &world.body(who, SEQUENCE, PayloadKind::Batch, payload));
    let rotations = [first_rotation.as_slice(), second_rotation.as_slice()];
    let proof = world.prove_in(&batch, 2, &transaction, Some(&enrolment), &rotations);
    (proof, world)
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let (proof, world) = long_proof();
    let bytes = proof.to_bytes();
    for length in 0..bytes.len() {
        let refusal = verify(&bytes[..length], world.trust()).unwrap_err();
        assert_eq!(refusal.link(), Link::File, "{length}: {refusal}");
    }
}

#[test]
fn a_byte_too_many_is_refused_with_its_place() {
    let (proof, world) = long_proof();
    for byte in [0x00, 0x01, 0x0a, 0xff] {
        let mut bytes = proof.to_bytes();
        let at = bytes.len();
        bytes.push(byte);
        let refusal = verify(&bytes, world.trust()).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed { link: Link::File, at: Some(got), .. } if got == at));
        assert!(refusal.to_string().starts_with(&format!("at byte {at}: proof file: 1 bytes left over")));
    }
}

#[test]
fn an_over_long_length_is_refused_with_its_place() {
    let world = World::new(1);
    let bytes = world.prove(&batch(4), 2).to_bytes();
    // The genesis has a length of two bytes; written with three it decodes to the same.
    let mut longer = bytes[..9].to_vec();
    longer.extend([bytes[9], bytes[10] | 0x80, 0]);
    longer.extend(&bytes[11..]);
    let refusal = verify(&longer, world.trust()).unwrap_err();
    assert!(matches!(refusal, Refusal::Malformed { link: Link::File, at: Some(10), .. }), "{refusal}");
}

#[test]
fn other_files_and_versions_are_named() {
    let world = World::new(1);
    let mut bytes = world.prove(&batch(4), 2).to_bytes();
    bytes[MAGIC.len()] = 1;
    assert_eq!(verify(&bytes, world.trust()), Err(Refusal::Version { got: 1 }));
    let refusal = verify(b"\x7fELF\x02", world.trust()).unwrap_err();
    assert!(refusal.to_string().contains("it begins with \"\\x7fELF\\x02\""), "{refusal}");
    verify(&MAGIC, world.trust()).unwrap_err();
    verify(&[], Trust::Nobody).unwrap_err();
}

#[test]
fn a_certificate_is_refused_until_it_can_be_checked() {
    let world = World::new(1);
    let mut proof = world.prove(&batch(4), 2);
    proof.certificate = Some(vec![1, 2, 3].into());
    let refusal = verify(&proof.to_bytes(), world.trust()).unwrap_err();
    assert!(refusal.to_string().contains("certificate"), "{refusal}");
}

/// Anyone can invent a whole network with the same names: its proofs hang together, and its id differs.
#[test]
fn a_forged_network_with_the_same_names_is_refused() {
    let (world, forged) = (World::new(1), World::with_keys(1, 50));
    assert_eq!(world.genesis.network_name, forged.genesis.network_name);
    let bytes = forged.prove(&batch(4), 2).to_bytes();
    assert_eq!(verify(&bytes, forged.trust()).unwrap().exit_code(), 0);
    assert_eq!(verify(&bytes, Trust::Nobody).unwrap().exit_code(), 3);
    let refusal = verify(&bytes, world.trust()).unwrap_err();
    let expected = Refusal::OtherNetwork {
        got: forged.network.id(),
        name: Some("bottling".into()),
        expected: world.network.id(),
    };
    assert_eq!(refusal, expected);
    for network in [&world, &forged] {
        assert!(refusal.to_string().contains(&selvedge_crypto::ids::to_text(&network.network.id())));
    }
    // The forged transaction under the true genesis: its signature is of another network and another key.
    let mut mixed = forged.prove(&batch(4), 2);
    mixed.genesis.clone_from(&world.bytes);
    verify(&mixed.to_bytes(), world.trust()).unwrap_err();
}
