//! Who signed: issuers of the genesis, issuers that were let in, and keys that were changed.

use selvedge_core::codec;
use selvedge_core::hash::Id;
use selvedge_core::payload::{CredentialSigner, Enrol, PayloadKind};
use selvedge_core::transaction::Envelope;
use selvedge_proof::{KeyNamed, Link, NamedBy, NotShown, Proof, Refusal, Verdict};

use crate::support::{Key, SCHEME, SEQUENCE, World, batch, issuer, key, payload, verify};
use crate::tampering::long_proof;

/// A proof of the newcomer's batch, with these enrolment and rotations as they are: nothing is checked.
fn proof_with(
    world: &World,
    transaction: Vec<u8>,
    enrolment: Option<Vec<u8>>,
    rotations: &[Vec<u8>],
) -> Proof {
    let mut proof = world.prove(&batch(4), 2);
    proof.transaction = transaction;
    proof.enrolment = enrolment.map(Into::into);
    proof.rotations = rotations.iter().cloned().map(Into::into).collect();
    proof
}

fn enrolled(world: &World, enrol: &Enrol) -> Result<Verdict, Refusal> {
    let transaction = world.carry(&world.newcomer, &payload(&batch(4)));
    let enrolment = world.enrolment(&world.newcomer, enrol);
    verify(&proof_with(world, transaction, Some(enrolment), &[]).to_bytes(), world.trust())
}

/// The batch's transaction at `sequence`, by this key.
fn signed(world: &World, first: &Key, sequence: u64, prev: Id, key: &Key, number: u32) -> Vec<u8> {
    let bytes = codec::encode(&payload(&batch(4)));
    let mut body = world.body(issuer(first), sequence, PayloadKind::Batch, bytes);
    body.prev = prev;
    world.envelope(key, number, &body)
}

#[test]
fn an_organisation_lets_a_gateway_in() {
    let world = World::new(1);
    let enrol = world.enrol(&world.newcomer, &world.organisation, 0, CredentialSigner::Organisation);
    let verdict = enrolled(&world, &enrol).unwrap();
    assert!(matches!(verdict.issuer.named, NamedBy::Organisation { .. }));
    assert_eq!(verdict.keys[0].named, KeyNamed::Enrolment);
    assert_eq!((verdict.issuer.name.as_str(), verdict.issuer.organisation.as_str()), ("g9", "Acme"));
    let words = verdict.words();
    assert!(words.contains("Organisation \"Acme\" of the genesis let gateway \"g9\" in, with the roles \"gateway\": its key signed the credential (ML-DSA-65)"), "{words}");
    assert!(words.contains("Key 0 (ML-DSA-44) is the one with which gateway \"g9\" enrolled."), "{words}");
}

#[test]
fn an_inviter_lets_a_gateway_in() {
    let world = World::new(1);
    let enrol = world.enrol(&world.newcomer, &world.inviter, 0, CredentialSigner::Inviter(1));
    let words = enrolled(&world, &enrol).unwrap().words();
    assert!(words.contains("Inviter \"office\""), "{words}");
    assert!(
        words.contains("whom the genesis names for organisation \"Acme\", let gateway \"g9\" in"),
        "{words}"
    );
}

#[test]
fn a_credential_of_anybody_else_is_refused() {
    let world = World::new(1);
    let stranger = key(SCHEME, 77);
    let cases = [
        // Signed by somebody else than it says.
        (&stranger, 0, CredentialSigner::Inviter(1)),
        (&world.stranger, 0, CredentialSigner::Inviter(1)),
        (&world.organisation, 1, CredentialSigner::Organisation),
        (&world.newcomer, 0, CredentialSigner::Organisation),
        // No inviter; an inviter of another organisation; nobody; no such organisation.
        (&world.gateway, 0, CredentialSigner::Inviter(0)),
        (&world.stranger, 0, CredentialSigner::Inviter(2)),
        (&world.inviter, 1, CredentialSigner::Inviter(1)),
        (&world.inviter, 0, CredentialSigner::Inviter(3)),
        (&world.organisation, 2, CredentialSigner::Organisation),
    ];
    for (by, organisation, signer) in cases {
        let refusal = enrolled(&world, &world.enrol(&world.newcomer, by, organisation, signer)).unwrap_err();
        assert_eq!(refusal.link(), Link::Credential, "{organisation} {signer:?}: {refusal}");
    }
}

#[test]
fn a_credential_holds_for_one_name_one_identity_and_one_network() {
    let world = World::new(1);
    let good = world.enrol(&world.newcomer, &world.inviter, 0, CredentialSigner::Inviter(1));
    let renamed = Enrol { name: "g10".into(), ..good.clone() };
    let promoted = Enrol { roles: vec!["gateway".into(), "inviter".into()], ..good.clone() };
    let foreign = World::new(2).enrol(&world.newcomer, &world.inviter, 0, CredentialSigner::Inviter(1));
    let lent = Enrol {
        credential: world.enrol(&world.gateway, &world.inviter, 0, CredentialSigner::Inviter(1)).credential,
        ..good
    };
    for enrol in [renamed, promoted, foreign, lent] {
        let refusal = enrolled(&world, &enrol).unwrap_err();
        assert!(matches!(refusal, Refusal::Signature { link: Link::Credential, .. }), "{refusal}");
    }
}

#[test]
fn an_enrolment_is_needed_exactly_when_the_genesis_does_not_name_the_issuer() {
    let world = World::new(1);
    let transaction = world.carry(&world.newcomer, &payload(&batch(4)));
    let refusal = verify(&proof_with(&world, transaction, None, &[]).to_bytes(), world.trust()).unwrap_err();
    assert_eq!(refusal, Refusal::NotEnrolled { issuer: issuer(&world.newcomer) });

    let enrol = world.enrol(&world.gateway, &world.inviter, 0, CredentialSigner::Inviter(1));
    let enrolment = world.enrolment(&world.gateway, &enrol);
    let mut proof = world.prove(&batch(4), 2);
    proof.enrolment = Some(enrolment.into());
    let refusal = verify(&proof.to_bytes(), world.trust()).unwrap_err();
    assert_eq!(refusal, Refusal::Enrolled { issuer: issuer(&world.gateway) });
}

#[test]
fn an_enrolment_of_somebody_else_is_refused() {
    let world = World::new(1);
    let other = key(SCHEME, 78);
    let transaction = world.carry(&world.newcomer, &payload(&batch(4)));
    let refused = |enrolment: Vec<u8>| {
        let proof = proof_with(&world, transaction.clone(), Some(enrolment), &[]);
        verify(&proof.to_bytes(), world.trust()).unwrap_err()
    };
    let of_other = world.enrol(&other, &world.inviter, 0, CredentialSigner::Inviter(1));
    assert!(matches!(
        refused(world.enrolment(&other, &of_other)),
        Refusal::OtherIssuer { link: Link::Enrolment, .. }
    ));
    // The newcomer's issuer with another's key.
    let body = world.body(issuer(&world.newcomer), 0, PayloadKind::Enrol, codec::encode(&of_other));
    assert!(matches!(refused(world.envelope(&other, 0, &body)), Refusal::ForeignKey { .. }));
    // At another place, of another kind, by a later key, by another key.
    let good = world.enrol(&world.newcomer, &world.inviter, 0, CredentialSigner::Inviter(1));
    let mut body = world.body(issuer(&world.newcomer), 0, PayloadKind::Enrol, codec::encode(&good));
    assert!(matches!(
        refused(world.envelope(&other, 0, &body)),
        Refusal::Signature { link: Link::Enrolment, .. }
    ));
    assert!(matches!(refused(world.envelope(&world.newcomer, 1, &body)), Refusal::KeyNumber { got: 1, .. }));
    body.sequence = 1;
    assert!(matches!(
        refused(world.envelope(&world.newcomer, 0, &body)),
        Refusal::Header { link: Link::Enrolment, .. }
    ));
    body.sequence = 0;
    body.kind = PayloadKind::Note as u16;
    assert!(matches!(
        refused(world.envelope(&world.newcomer, 0, &body)),
        Refusal::Kind { link: Link::Enrolment, .. }
    ));
}

#[test]
fn a_batch_at_the_place_of_the_enrolment_is_refused() {
    let world = World::new(1);
    let enrol = world.enrol(&world.newcomer, &world.inviter, 0, CredentialSigner::Inviter(1));
    let enrolment = world.enrolment(&world.newcomer, &enrol);
    let at = |sequence, prev| {
        let transaction = signed(&world, &world.newcomer, sequence, prev, &world.newcomer, 0);
        verify(&proof_with(&world, transaction, Some(enrolment.clone()), &[]).to_bytes(), world.trust())
    };
    let refusal = at(0, world.network.genesis_id()).unwrap_err();
    assert!(
        matches!(refusal, Refusal::Order { link: Link::Transaction, got: 0, before: 0, .. }),
        "{refusal}"
    );
    // Right after it, and not naming it.
    let refusal = at(1, Id([7; 32])).unwrap_err();
    assert!(
        matches!(refusal, Refusal::Order { link: Link::Transaction, got: 1, before: 0, .. }),
        "{refusal}"
    );
    // Right after it, naming it: then the key is shown to be in force.
    let verdict = at(1, world.id_of(&enrolment)).unwrap();
    assert!(!verdict.not_shown.iter().any(|n| matches!(n, NotShown::KeyInForce { .. })), "{verdict}");
}

#[test]
fn changed_keys_are_followed_from_the_first_to_the_one_that_signed() {
    let (proof, world) = long_proof();
    let verdict = verify(&proof.to_bytes(), world.trust()).unwrap();
    assert_eq!(verdict.signature.key_number, 2);
    assert_eq!(verdict.keys.len(), 3);
    assert!(matches!(verdict.keys[2].named, KeyNamed::Rotation { sequence: 8, .. }));
    let words = verdict.words();
    assert!(words.contains("signed with ML-DSA-44 by key 2 of gateway \"g9\""), "{words}");
    assert!(words.contains("sequence 3 of the same chain, signed by key 0."), "{words}");
    assert!(
        words.contains("- that key 2 had not been replaced: a rotation between sequence 9 and 13"),
        "{words}"
    );
}

#[test]
fn a_gateway_of_the_genesis_changes_its_key_to_another_scheme() {
    let world = World::new(1);
    let next = key(selvedge_core::Scheme::MlDsa65, 90);
    let rotation = world.rotation(issuer(&world.gateway), SEQUENCE - 1, &world.gateway, 0, next.public_key());
    let transaction = signed(&world, &world.gateway, SEQUENCE, world.id_of(&rotation), &next, 1);
    let proof = world.prove_in(&batch(4), 2, &transaction, None, &[&rotation]);
    let verdict = verify(&proof.to_bytes(), world.trust()).unwrap();
    assert!(verdict.words().contains("signed with ML-DSA-65 by key 1"), "{verdict}");
    assert!(!verdict.words().contains("had not been replaced"), "{verdict}");
}

#[test]
fn rotations_are_as_many_as_the_number_of_the_key() {
    let (proof, world) = long_proof();
    for count in [0, 1] {
        let mut fewer = proof.clone();
        fewer.rotations.truncate(count);
        let refusal = verify(&fewer.to_bytes(), world.trust()).unwrap_err();
        assert_eq!(refusal, Refusal::RotationCount { got: count, expected: 2 });
    }
    let mut more = proof.clone();
    more.rotations.push(proof.rotations[1].clone());
    let refusal = verify(&more.to_bytes(), world.trust()).unwrap_err();
    assert_eq!(refusal, Refusal::RotationCount { got: 3, expected: 2 });
}

#[test]
fn rotations_out_of_order_or_by_the_wrong_key_are_refused() {
    let (proof, world) = long_proof();
    let who = issuer(&world.newcomer);
    let (second, third) = (key(SCHEME, 101), key(SCHEME, 102));
    let refused = |rotations: [Vec<u8>; 2]| {
        let mut altered = proof.clone();
        altered.rotations = rotations.into_iter().map(Into::into).collect();
        verify(&altered.to_bytes(), world.trust()).unwrap_err()
    };
    let good = [proof.rotations[0].to_vec(), proof.rotations[1].to_vec()];
    let [one, two] = good.clone();
    let rotation = |sequence, key: &Key, number, next: &Key| {
        world.rotation(who, sequence, key, number, next.public_key())
    };
    assert!(matches!(refused([two.clone(), one.clone()]), Refusal::KeyNumber { got: 1, expected: 0, .. }));
    assert!(matches!(refused([one.clone(), one.clone()]), Refusal::Order { link: Link::Rotation, .. }));
    // The same sequence, one before it, and after the batch's transaction.
    for sequence in [3, 2] {
        let refusal = refused([one.clone(), rotation(sequence, &second, 1, &third)]);
        assert!(matches!(refusal, Refusal::Order { link: Link::Rotation, before: 3, .. }), "{refusal}");
    }
    let refusal = refused([one.clone(), rotation(SEQUENCE, &second, 1, &third)]);
    assert!(matches!(refusal, Refusal::Order { link: Link::Transaction, .. }), "{refusal}");
    // Right after the one before it, and not naming it.
    let refusal = refused([one.clone(), rotation(4, &second, 1, &third)]);
    assert!(matches!(refusal, Refusal::Order { link: Link::Rotation, got: 4, before: 3, .. }), "{refusal}");
    // Signed by a thief of a later key, by the first key, by nobody's.
    for thief in [&third, &world.newcomer, &world.gateway] {
        let refusal = refused([one.clone(), rotation(8, thief, 1, &third)]);
        assert!(matches!(refusal, Refusal::Signature { link: Link::Rotation, .. }), "{refusal}");
    }
    // Of somebody else.
    let foreign = world.rotation(issuer(&world.gateway), 8, &second, 1, third.public_key());
    assert!(matches!(refused([one, foreign]), Refusal::OtherIssuer { link: Link::Rotation, .. }));
}

/// A key number is signed: the very same signature under another number does not hold.
#[test]
fn a_rotation_to_another_key_than_the_one_that_signed_is_refused() {
    let (mut proof, world) = long_proof();
    let bytes = proof.transaction.clone();
    let envelope: Envelope<'_> = codec::decode(&bytes).unwrap();
    proof.transaction = codec::encode(&Envelope { key_number: 1, ..envelope });
    proof.rotations.truncate(1);
    let refusal = verify(&proof.to_bytes(), world.trust()).unwrap_err();
    assert!(matches!(refusal, Refusal::Signature { link: Link::Signature, .. }), "{refusal}");
}
