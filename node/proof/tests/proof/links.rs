//! Each link by itself: a file that is whole but for one, signed by a gateway that lies.

use selvedge_core::codec;
use selvedge_core::hash::{Hash, Id};
use selvedge_core::payload::{Batch, PayloadKind};
use selvedge_core::reading::Value;
use selvedge_core::seal::SealedBatch;
use selvedge_core::transaction::Reference;
use selvedge_proof::{Link, Proof, Refusal};

use crate::support::{FIRST, SEQUENCE, World, batch, issuer, payload, reading, verify};

/// The proof of leaf 2, after `change`, with a transaction of the gateway for the changed batch.
fn altered(world: &World, batch: &SealedBatch, change: impl FnOnce(&mut Proof, &mut Batch)) -> Refusal {
    let mut proof = world.prove(batch, 2);
    let mut payload = payload(batch);
    change(&mut proof, &mut payload);
    proof.transaction = world.carry(&world.gateway, &payload);
    verify(&proof.to_bytes(), world.trust()).unwrap_err()
}

/// The sequence of the batch's transaction is that of any other: only its body changes.
fn with_body(change: impl FnOnce(&World, &mut selvedge_core::transaction::Body)) -> Refusal {
    let world = World::new(1);
    let batch = batch(4);
    let mut proof = world.prove(&batch, 2);
    let bytes = codec::encode(&payload(&batch));
    let mut body = world.body(issuer(&world.gateway), SEQUENCE, PayloadKind::Batch, bytes);
    change(&world, &mut body);
    proof.transaction = world.envelope(&world.gateway, 0, &body);
    verify(&proof.to_bytes(), world.trust()).unwrap_err()
}

#[test]
fn a_changed_reading_leads_to_another_root() {
    let refusal = altered(&World::new(1), &batch(4), |proof, _| {
        proof.block = reading(0, FIRST + 2, Value::Unsigned(215)).to_block().to_vec();
    });
    assert!(matches!(refusal, Refusal::Root { leaf: 2, count: 28, .. }), "{refusal}");
    assert_eq!(refusal.link(), Link::Leaf);
}

/// A gateway that puts two readings of a stream in each other's place cannot prove either.
#[test]
fn a_reading_at_another_place_than_its_counter_says_is_refused() {
    let world = World::new(1);
    let honest = batch(4);
    let mut swapped = batch(4);
    swapped.blocks.swap(1, 2);
    let mut proof = world.prove(&honest, 2);
    for (leaf, block) in [(1, 1), (2, 2), (1, 2), (2, 1)] {
        proof.block = swapped.blocks[block].to_vec();
        proof.salt = selvedge_core::seal::Salts::new(&swapped.secret).of(leaf).to_vec();
        proof.path = swapped.tree().path(leaf as usize).unwrap().concat();
        proof.transaction = world.carry(&world.gateway, &payload(&swapped));
        let refusal = verify(&proof.to_bytes(), world.trust()).unwrap_err();
        assert!(matches!(refusal, Refusal::Root { .. }), "{leaf} {block}: {refusal}");
    }
}

#[test]
fn a_counter_beyond_its_stream_is_refused() {
    for counter in [FIRST - 1, FIRST + 4] {
        let refusal = altered(&World::new(1), &batch(4), |proof, _| {
            proof.block = reading(0, counter, Value::Unsigned(216)).to_block().to_vec();
        });
        assert_eq!(refusal, Refusal::Counter { got: counter, first: FIRST, last: FIRST + 3 });
    }
}

#[test]
fn a_stream_beyond_the_table_is_refused() {
    let refusal = altered(&World::new(1), &batch(4), |proof, _| {
        proof.block = reading(7, FIRST, Value::Unsigned(216)).to_block().to_vec();
    });
    assert_eq!(refusal, Refusal::NoSuchStream { got: 7, expected: 7 });
}

#[test]
fn the_descriptor_of_another_stream_is_refused() {
    let batch = batch(4);
    let refusal =
        altered(&World::new(1), &batch, |proof, _| proof.descriptor.clone_from(&batch.descriptors[1]));
    assert!(matches!(refusal, Refusal::Descriptor { stream: 0, .. }), "{refusal}");
}

#[test]
fn a_descriptor_that_is_none_is_refused_even_when_the_batch_names_it() {
    let refusal = altered(&World::new(1), &batch(4), |proof, batch| {
        proof.descriptor = vec![0xff; 9];
        batch.streams[0].descriptor = selvedge_core::stream::Descriptor::hash_of(&proof.descriptor);
    });
    assert_eq!(refusal.link(), Link::Descriptor, "{refusal}");
}

#[test]
fn a_path_of_the_wrong_length_is_refused() {
    for hashes in [0, 4, 6] {
        let refusal = altered(&World::new(1), &batch(4), |proof, _| proof.path.resize(hashes * 32, 0));
        assert_eq!(refusal, Refusal::PathLength { leaf: 2, count: 28, got: hashes });
    }
}

#[test]
fn a_reading_outside_the_times_of_its_batch_is_refused() {
    let refusal = altered(&World::new(1), &batch(4), |_, batch| batch.first_time_ns = batch.last_time_ns);
    assert!(matches!(refusal, Refusal::Time { .. }), "{refusal}");
}

#[test]
fn bytes_beside_a_number_and_none_beside_a_text_are_refused() {
    let world = World::new(1);
    let mut number = world.prove(&batch(4), 2);
    number.long = Some(vec![1].into());
    let refusal = verify(&number.to_bytes(), world.trust()).unwrap_err();
    assert_eq!(refusal.link(), Link::Reading, "{refusal}");
    let mut text = world.prove(&batch(4), 9);
    text.long = None;
    let refusal = verify(&text.to_bytes(), world.trust()).unwrap_err();
    assert_eq!(refusal.link(), Link::Reading, "{refusal}");
}

#[test]
fn a_root_of_another_batch_is_refused() {
    let refusal = altered(&World::new(1), &batch(4), |_, batch| batch.root = Hash([3; 32]));
    assert!(matches!(refusal, Refusal::Root { expected: Hash(bytes), .. } if bytes == [3; 32]), "{refusal}");
}

#[test]
fn a_transaction_without_a_batch_is_refused() {
    let refusal = with_body(|_, body| body.kind = PayloadKind::Note as u16);
    assert_eq!(refusal, Refusal::Kind { link: Link::Batch, got: 0, expected: 3 });
    let refusal = with_body(|_, body| body.payload.truncate(9));
    assert_eq!(refusal.link(), Link::Batch, "{refusal}");
}

#[test]
fn a_header_that_no_node_takes_is_refused() {
    let first = with_body(|_, body| {
        body.sequence = 0;
        body.prev = Id([1; 32]);
    });
    let foreign = with_body(|_, body| body.approves[1] = Reference::genesis(World::new(2).network.id()));
    let future = with_body(|_, body| {
        body.approves[0] = Reference { issuer: body.issuer, sequence: SEQUENCE, id: Id([1; 32]) };
    });
    for (refusal, why) in [(first, "before it"), (foreign, "another network"), (future, "not before it")] {
        assert!(matches!(refusal, Refusal::Header { link: Link::Transaction, .. }), "{refusal}");
        assert!(refusal.to_string().contains(why), "{refusal}");
    }
}

#[test]
fn a_signature_by_another_key_is_refused() {
    let world = World::new(1);
    let batch = batch(4);
    let mut proof = world.prove(&batch, 2);
    let body =
        world.body(issuer(&world.gateway), SEQUENCE, PayloadKind::Batch, codec::encode(&payload(&batch)));
    proof.transaction = world.envelope(&world.inviter, 0, &body);
    let refusal = verify(&proof.to_bytes(), world.trust()).unwrap_err();
    assert!(matches!(refusal, Refusal::Signature { link: Link::Signature, .. }), "{refusal}");
    // Another scheme than that of the key.
    proof.transaction = world.envelope(&world.organisation, 0, &body);
    let refusal = verify(&proof.to_bytes(), world.trust()).unwrap_err();
    assert!(matches!(refusal, Refusal::WrongScheme { key_number: 0, .. }), "{refusal}");
}
