//! What a hostile file can make the verifier allocate, measured by the allocator itself.

#[path = "proof/support.rs"]
#[allow(dead_code, reason = "shared with the other tests, of which this one needs less")]
mod support;

use std::alloc::System;

use cap::Cap;
use selvedge_proof::{MAGIC, PROOF_BYTES_MAX, Proof, Refusal, Trust, VERSION};

use support::{Random, World, batch, cases, verify};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// A list is given room for as many elements as it says to have, up to 1 MiB (serde); two lists may be open at
/// once. The rest is copies of the file's own bytes.
const BYTES_MAX: usize = 4 * 1024 * 1024;

fn file(encoded: &[u8]) -> Vec<u8> {
    [MAGIC.as_slice(), &[VERSION], encoded].concat()
}

/// One test, because the allocator counts for the whole process; the greater need comes second, because it counts
/// the most there ever was.
#[test]
fn memory_is_bounded_whatever_the_file_says() {
    a_small_file_cannot_take_much_memory();
    a_file_that_is_too_long_is_refused_before_it_is_read();
}

fn a_small_file_cannot_take_much_memory() {
    let world = World::new(1);
    let original = world.prove(&batch(4), 2);
    verify(&original.to_bytes(), world.trust()).unwrap();
    let start = ALLOCATOR.allocated();
    let mut random = Random(0x5e1f_ed6e_0000_0007);
    let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
    // A length of four thousand million for each of the first fields.
    for fields in 0..8 {
        verify(&file(&[vec![0; fields], huge.to_vec()].concat()), Trust::Nobody).unwrap_err();
    }
    for _ in 0..cases() / 10 {
        let mut proof: Proof = original.clone();
        let parts = [&mut proof.genesis, &mut proof.transaction, &mut proof.descriptor];
        let part = parts.into_iter().nth(random.below(3)).unwrap();
        let at = random.below(part.len());
        let end = part.len().min(at + random.below(6));
        part.splice(at..end, huge);
        verify(&proof.to_bytes(), Trust::Nobody).unwrap_err();
    }
    let most = ALLOCATOR.max_allocated() - start;
    println!("at most {most} bytes beyond the start");
    assert!(most < BYTES_MAX, "{most} bytes");
}

fn a_file_that_is_too_long_is_refused_before_it_is_read() {
    // Made in place, so that what is allocated now is also the most there ever was.
    let mut bytes = Vec::with_capacity(PROOF_BYTES_MAX + 1);
    bytes.extend(MAGIC.into_iter().chain([VERSION]));
    bytes.resize(PROOF_BYTES_MAX + 1, 0);
    let start = ALLOCATOR.allocated();
    let refusal = verify(&bytes, Trust::Nobody).unwrap_err();
    assert!(ALLOCATOR.max_allocated() - start < 64 * 1024);
    assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal}");
    assert!(refusal.to_string().contains("8388600 bytes, expected at most 8388599"), "{refusal}");
}
