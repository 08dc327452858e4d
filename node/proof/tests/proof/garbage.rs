//! Generated inputs: no panic, one encoding per proof, and nothing but the original is verified.

use selvedge_proof::{MAGIC, Proof, Trust, VERSION};

use crate::support::{Random, cases, verify};
use crate::tampering::long_proof;

const SEED: u64 = 0x5e1f_ed6e_0000_0006;

#[test]
fn mutated_files_are_refused() {
    println!("seed {SEED:#x}, {} cases", cases());
    let mut random = Random(SEED);
    let (proof, world) = long_proof();
    let original = proof.to_bytes();
    for case in 0..cases() {
        let mut bytes = original.clone();
        for _ in 0..=random.below(3) {
            random.mutate(&mut bytes);
        }
        if bytes == original {
            continue;
        }
        let trust = if case % 2 == 0 { world.trust() } else { Trust::Nobody };
        assert!(verify(&bytes, trust).is_err(), "case {case}");
        if let Ok(decoded) = Proof::from_bytes(&bytes) {
            assert_eq!(decoded.to_bytes(), bytes, "case {case}");
        }
    }
}

/// Mutations below the form of the file, which reach the links.
#[test]
fn mutated_parts_are_refused() {
    println!("seed {SEED:#x}, {} cases", cases());
    let mut random = Random(SEED ^ 1);
    let (original, world) = long_proof();
    for case in 0..cases() {
        let mut proof = original.clone();
        let part = random.below(9);
        let bytes: &mut Vec<u8> = match part {
            0 => &mut proof.genesis,
            1 => &mut proof.block,
            2 => &mut proof.salt,
            3 => &mut proof.descriptor,
            4 => &mut proof.path,
            5 => &mut proof.transaction,
            6 => proof.enrolment.as_mut().unwrap(),
            7 => &mut proof.rotations[0],
            _ => &mut proof.rotations[1],
        };
        random.mutate(bytes);
        if proof == original {
            continue;
        }
        let trust = if case % 2 == 0 { world.trust() } else { Trust::Nobody };
        assert!(verify(&proof.to_bytes(), trust).is_err(), "case {case}, part {part}");
    }
}

#[test]
fn garbage_is_refused() {
    println!("seed {SEED:#x}, {} cases", cases());
    let mut random = Random(SEED ^ 2);
    for case in 0..cases() {
        let length = random.below(300);
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        if case % 4 != 0 {
            bytes.splice(..0, MAGIC.into_iter().chain([VERSION]));
        }
        // Small numbers make plausible lengths.
        if case % 2 == 0 {
            bytes[(9.min(length))..].iter_mut().for_each(|b| *b %= 50);
        }
        assert!(verify(&bytes, Trust::Nobody).is_err(), "case {case}");
    }
}
