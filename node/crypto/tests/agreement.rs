//! AWS-LC and `ml-dsa` accept and refuse the same: over honest signatures, over generated mutations of them,
//! and over forged ones that are wrong in nothing but their norm or the encoding of their hint.
//!
//! `SELVEDGE_MUTATIONS` says how many mutations (10,000 unless told): fewer for an emulated processor.

mod common;
#[path = "common/forge.rs"]
mod forge;

use std::collections::BTreeMap;
use std::fmt;

use common::{Both, Draws, SCHEMES};
use forge::{Draft, Forge, Parameters};
use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use selvedge_core::hash::hex;
use selvedge_crypto::aws::AwsSigner;
use selvedge_crypto::pure::PureSigner;
use selvedge_crypto::{Signer, default_verifier, signer};

fn mutations() -> usize {
    let count = std::env::var("SELVEDGE_MUTATIONS").map_or(10_000, |text| text.parse().unwrap());
    assert!(count >= 100, "SELVEDGE_MUTATIONS is {count}: too few to meet every kind");
    count
}

#[derive(Clone)]
struct Case {
    key: PublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
}

/// All of it: signing is randomised, so the seed alone does not bring an honest signature back.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [key, message, signature] = [&self.key.bytes, &self.message, &self.signature].map(|b| hex(b));
        write!(f, "{}, key {key}, message {message}, signature {signature}", self.key.scheme.name())
    }
}

/// Messages of several lengths under several keys, signed by both.
fn honest(draws: &mut Draws, both: &Both) -> Vec<Case> {
    let mut cases = Vec::new();
    for scheme in SCHEMES {
        for _ in 0..4 {
            let secret = draws.secret(scheme);
            let signers: [Box<dyn Signer>; 2] =
                [Box::new(AwsSigner::new(&secret).unwrap()), Box::new(PureSigner::new(&secret))];
            assert_eq!(signers[0].public_key(), signers[1].public_key());
            for signer in signers {
                for length in [1, 32, 87 + draws.below(100), 5_000] {
                    let message = draws.bytes(length);
                    let signature = signer.sign(&message).unwrap();
                    let key = signer.public_key().clone();
                    assert_eq!(both.verify(&key, &message, &signature), [true; 2], "{signer:?}, unmutated");
                    cases.push(Case { key, message, signature });
                }
            }
        }
    }
    cases
}

fn flip(draws: &mut Draws, bytes: &mut [u8]) {
    let at = draws.below(bytes.len());
    bytes[at] ^= 1 << draws.below(8);
}

fn lengthen_or_shorten(draws: &mut Draws, bytes: &mut Vec<u8>) {
    match draws.below(4) {
        0 => bytes.push(0),
        1 => bytes.insert(0, draws.next() as u8),
        2 => drop(bytes.remove(0)),
        _ => drop(bytes.pop()),
    }
}

/// One mutation, and its name.
fn mutate(draws: &mut Draws, case: &mut Case) -> &'static str {
    let parameters = Parameters::of(case.key.scheme);
    let hint_at = case.signature.len() - parameters.hint_bytes();
    match draws.below(9) {
        0 => {
            flip(draws, &mut case.message);
            "a bit of the message"
        }
        1 => {
            flip(draws, &mut case.key.bytes);
            "a bit of the key"
        }
        2 => {
            flip(draws, &mut case.signature[..parameters.challenge_bytes]);
            "a bit of the challenge"
        }
        3 => {
            flip(draws, &mut case.signature[parameters.challenge_bytes..hint_at]);
            "a bit of z"
        }
        4 => {
            flip(draws, &mut case.signature[hint_at..]);
            "a bit of the hint"
        }
        5 => {
            lengthen_or_shorten(draws, &mut case.signature);
            "length of the signature ± 1"
        }
        6 => {
            lengthen_or_shorten(draws, &mut case.key.bytes);
            "length of the key ± 1"
        }
        7 => {
            lengthen_or_shorten(draws, &mut case.message);
            "length of the message ± 1"
        }
        _ => {
            case.key.scheme = match case.key.scheme {
                Scheme::MlDsa44 => Scheme::MlDsa65,
                Scheme::MlDsa65 => Scheme::MlDsa44,
            };
            // With the lengths of the other scheme, too: the tag alone must not be what saves it.
            if draws.coin() {
                case.key.bytes.resize(case.key.scheme.public_key_bytes(), 0);
                case.signature.resize(case.key.scheme.signature_bytes(), 0);
            }
            "the other scheme"
        }
    }
}

#[test]
fn mutated_signatures_are_refused_by_both() {
    let mut draws = Draws::new(0x5EED_0001_A11C_E000);
    let both = Both::default();
    let cases = honest(&mut draws, &both);
    let mut met = BTreeMap::new();
    for number in 0..mutations() / 2 {
        let mut case = cases[draws.below(cases.len())].clone();
        let kind = mutate(&mut draws, &mut case);
        let said = both.verify(&case.key, &case.message, &case.signature);
        assert_eq!(said, [false; 2], "mutation {number}, {kind}: {case}");
        *met.entry(kind).or_insert(0) += 1;
    }
    println!("{met:#?}");
    assert_eq!(met.len(), 9, "a kind of mutation was never met");
}

/// One change to a forged signature, its name, and whether what comes out is valid.
fn forged(draws: &mut Draws, forge: &Forge, message: &[u8]) -> (Vec<u8>, &'static str, bool) {
    let Parameters { gamma1, beta, omega, .. } = forge.parameters;
    let mut draft = forge.draft(draws);
    let sign = |draft: &Draft| forge.sign(message, draft);
    let mut extreme = |draft: &mut Draft, norm: i64| {
        let row = draws.below(draft.z.len());
        draft.z[row][draws.below(256)] = if draws.coin() { norm } else { -norm };
    };
    match draws_kind(message) {
        0 => (sign(&draft), "unchanged", true),
        1 => {
            extreme(&mut draft, gamma1 - beta - 1);
            (sign(&draft), "z just within its bound", true)
        }
        2 => {
            extreme(&mut draft, gamma1 - beta);
            (sign(&draft), "z just beyond its bound", false)
        }
        3 => {
            extreme(&mut draft, gamma1 - 1);
            (sign(&draft), "z far beyond its bound", false)
        }
        4 => {
            draft.z[0][draws.below(256)] = gamma1;
            (sign(&draft), "the largest z that can be said", false)
        }
        5 => {
            fill_hint(draws, &mut draft, omega);
            (sign(&draft), "as many hints as there may be", true)
        }
        _ => wrong_hint(draws, forge, message, draft),
    }
}

/// The message's first byte chooses the kind, so that the kind shows in a failure.
fn draws_kind(message: &[u8]) -> u8 {
    message[0] % 12
}

/// `count` hints, at least two of them in the first row.
fn fill_hint(draws: &mut Draws, draft: &mut Draft, count: usize) {
    let rows = draft.hint.len();
    for row in &mut draft.hint {
        row.clear();
    }
    while draft.hint.iter().map(Vec::len).sum::<usize>() < count {
        let row = if draft.hint[0].len() < 2 { 0 } else { draws.below(rows) };
        let place = draws.next() as u8;
        if let Err(at) = draft.hint[row].binary_search(&place) {
            draft.hint[row].insert(at, place);
        }
    }
}

/// A hint that a lenient decoder would read as the same hint, but that is not its encoding.
fn wrong_hint(
    draws: &mut Draws,
    forge: &Forge,
    message: &[u8],
    mut draft: Draft,
) -> (Vec<u8>, &'static str, bool) {
    let Parameters { k, omega, .. } = forge.parameters;
    let few = omega / 2;
    fill_hint(draws, &mut draft, few);
    let first_row = draft.hint[0].len();
    let mut signature = forge.sign(message, &draft);
    let hint_at = signature.len() - forge.parameters.hint_bytes();
    let hint = &mut signature[hint_at..];
    let kind = match draws_kind(message) {
        6 => {
            hint.swap(0, first_row - 1);
            "hints out of order"
        }
        7 => {
            // One index twice in the last row that has any: the set of hints stays the same.
            hint.copy_within(few - 1..few, few);
            for count in &mut hint[omega..] {
                *count += u8::from(usize::from(*count) == few);
            }
            "a hint twice"
        }
        8 => {
            hint[few + draws.below(omega - few)] = 1 + draws.below(255) as u8;
            "padding that is not zero"
        }
        9 => {
            hint[omega + k - 1] = omega as u8 + 1;
            "more hints than there may be"
        }
        10 => {
            hint[omega + k - 1] = 0;
            "a count that falls"
        }
        _ => {
            hint[omega + k - 1] = 255;
            "a count beyond the signature"
        }
    };
    (signature, kind, false)
}

#[test]
fn forged_signatures_are_judged_alike() {
    let mut draws = Draws::new(0x5EED_0002_F04E_D000);
    let both = Both::default();
    let forges: Vec<Forge> =
        SCHEMES.iter().flat_map(|scheme| [*scheme; 3]).map(|scheme| Forge::new(scheme, &mut draws)).collect();
    let mut met: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for number in 0..mutations() / 2 {
        let forge = &forges[draws.below(forges.len())];
        let length = 1 + draws.below(200);
        let message = draws.bytes(length);
        let (signature, kind, valid) = forged(&mut draws, forge, &message);
        let said = both.verify(&forge.key, &message, &signature);
        assert_eq!(said, [valid; 2], "number {number}, {}, {kind}", forge.key.scheme.name());
        met.entry(kind).or_default()[usize::from(valid)] += 1;
    }
    println!("refused, accepted: {met:#?}");
    if mutations() >= 1_000 {
        assert_eq!(met.len(), 12, "a kind of forgery was never met");
    }
}

#[test]
fn the_shipped_pair_signs_and_verifies() {
    let mut draws = Draws::new(0x5EED_0003_0000_0000);
    let verifier = default_verifier();
    for scheme in SCHEMES {
        let signer = signer(&draws.secret(scheme)).unwrap();
        let [one, two] = [(), ()].map(|()| signer.sign(b"a message").unwrap());
        assert_ne!(one, two, "signing is randomised");
        assert!(verifier.verify(signer.public_key(), b"a message", &one));
        assert!(verifier.verify(signer.public_key(), b"a message", &two));
        assert!(!verifier.verify(signer.public_key(), b"another", &one));
        assert!(!verifier.verify(signer.public_key(), b"a message", &[]));
    }
}

/// A library elsewhere wrote "ML-DSA-65" over a 64-byte Ed25519 signature and nobody noticed.
#[test]
fn the_der_form_of_a_key_and_short_signatures_are_refused() {
    let mut draws = Draws::new(0x5EED_0004_0000_0000);
    let both = Both::default();
    for scheme in SCHEMES {
        let signer = PureSigner::new(&draws.secret(scheme));
        let signature = signer.sign(b"m").unwrap();
        let oid = match scheme {
            Scheme::MlDsa44 => 0x11,
            Scheme::MlDsa65 => 0x12,
        };
        // SubjectPublicKeyInfo (RFC 9881).
        let length = u16::try_from(signer.public_key().bytes.len()).unwrap();
        let mut der = vec![0x30, 0x82];
        der.extend((length + 18).to_be_bytes());
        der.extend([0x30, 0x0B, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, oid, 0x03, 0x82]);
        der.extend((length + 1).to_be_bytes());
        der.push(0);
        der.extend(&signer.public_key().bytes);
        assert_eq!(both.verify(&PublicKey { scheme, bytes: der }, b"m", &signature), [false; 2]);
        assert_eq!(both.verify(signer.public_key(), b"m", &signature[..64]), [false; 2]);
    }
}
