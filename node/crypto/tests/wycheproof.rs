//! Both implementations against the Wycheproof vectors (see `vectors/README.md`).
//!
//! Selvedge uses the empty context only, so a vector with another context must be refused, even where
//! Wycheproof calls it valid. No vector is left out.

mod common;

use common::{Both, unhex};
use selvedge_core::Scheme;
use selvedge_core::genesis::PublicKey;
use selvedge_crypto::aws::AwsSigner;
use selvedge_crypto::pure::PureSigner;
use selvedge_crypto::{SecretKey, Signer};
use serde_json::Value;

fn groups(text: &str, scheme: Scheme) -> Vec<Value> {
    let mut file: Value = serde_json::from_str(text).unwrap();
    assert_eq!(file["algorithm"], scheme.name());
    let Value::Array(groups) = file["testGroups"].take() else { panic!("no test groups") };
    let held: usize = groups.iter().map(|group| tests(group).len()).sum();
    assert_eq!(file["numberOfTests"], held, "the file says how many vectors it holds");
    groups
}

fn tests(group: &Value) -> &[Value] {
    group["tests"].as_array().unwrap()
}

fn bytes(value: &Value, field: &str) -> Option<Vec<u8>> {
    value[field].as_str().map(unhex)
}

fn has_context(test: &Value) -> bool {
    bytes(test, "ctx").is_some_and(|context| !context.is_empty())
}

/// How many vectors were run, and how many of them were accepted.
fn verify_all(text: &str, scheme: Scheme) -> (usize, usize) {
    let both = Both::default();
    let (mut run, mut accepted) = (0, 0);
    for group in groups(text, scheme) {
        let key = PublicKey { scheme, bytes: bytes(&group, "publicKey").unwrap() };
        for test in tests(&group) {
            let (message, signature) = (bytes(test, "msg").unwrap(), bytes(test, "sig").unwrap());
            let valid = test["result"] == "valid" && !has_context(test);
            let said = both.verify(&key, &message, &signature);
            let (number, comment) = (&test["tcId"], &test["comment"]);
            assert_eq!(said, [valid; 2], "{} vector {number} {comment}", scheme.name());
            run += 1;
            accepted += usize::from(valid);
        }
    }
    (run, accepted)
}

#[test]
fn verify_44() {
    let (run, accepted) = verify_all(include_str!("vectors/mldsa_44_verify_test.json"), Scheme::MlDsa44);
    assert_eq!(run, 180);
    assert!(accepted > 50, "only {accepted} of {run} are to be accepted");
}

#[test]
fn verify_65() {
    let (run, accepted) = verify_all(include_str!("vectors/mldsa_65_verify_test.json"), Scheme::MlDsa65);
    assert_eq!(run, 210);
    assert!(accepted > 50, "only {accepted} of {run} are to be accepted");
}

/// From each seed both make the vectors' public key, both accept the vectors' signatures, and each accepts
/// what the other signs.
fn sign_all(text: &str, scheme: Scheme) -> (usize, usize) {
    let both = Both::default();
    let (mut keys, mut signatures) = (0, 0);
    for group in groups(text, scheme) {
        // A seed of another length cannot even be said: `SecretKey` holds 32 bytes.
        let Ok(seed) = <[u8; 32]>::try_from(bytes(&group, "privateSeed").unwrap()) else {
            assert!(tests(&group).iter().all(|test| test["result"] == "invalid"));
            continue;
        };
        let secret = SecretKey::from_seed(scheme, &seed);
        let signers: [Box<dyn Signer>; 2] =
            [Box::new(AwsSigner::new(&secret).unwrap()), Box::new(PureSigner::new(&secret))];
        let expected = PublicKey { scheme, bytes: bytes(&group, "publicKey").unwrap() };
        for signer in &signers {
            assert_eq!(signer.public_key(), &expected, "{signer:?}");
        }
        keys += 1;
        for test in tests(&group) {
            // Vectors for the internal function give μ only, and no message that could be handed in.
            let Some(message) = bytes(test, "msg") else { continue };
            if test["result"] == "valid" && !has_context(test) {
                let signature = bytes(test, "sig").unwrap();
                assert_eq!(
                    both.verify(&expected, &message, &signature),
                    [true; 2],
                    "vector {}",
                    test["tcId"]
                );
                signatures += 1;
            }
            for signer in &signers {
                let signature = signer.sign(&message).unwrap();
                assert_eq!(both.verify(&expected, &message, &signature), [true; 2], "{signer:?}");
            }
        }
    }
    (keys, signatures)
}

#[test]
fn sign_44() {
    let (keys, signatures) = sign_all(include_str!("vectors/mldsa_44_sign_seed_test.json"), Scheme::MlDsa44);
    assert!(keys > 20 && signatures > 40, "{keys} keys, {signatures} signatures");
}

#[test]
fn sign_65() {
    let (keys, signatures) = sign_all(include_str!("vectors/mldsa_65_sign_seed_test.json"), Scheme::MlDsa65);
    assert!(keys > 20 && signatures > 40, "{keys} keys, {signatures} signatures");
}
