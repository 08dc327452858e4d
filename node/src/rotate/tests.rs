//! A rotation that ends at any step.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::folder::testing::{key, network};

fn public(key: &SecretKey) -> PublicKey {
    selvedge_crypto::signer(key).expect("a signer").public_key().clone()
}

/// The key in force when the chain names these.
fn in_force(folder: &Folder, named: &[PublicKey]) -> Result<u32, RotateError> {
    let fit = check(&folder.held_keys(None).expect("keys"), named, folder)?;
    assert_eq!((&fit.missing[..], fit.warning(folder).map(|w| w.to_string())), (&[][..], None));
    Ok(fit.in_force)
}

#[test]
fn three_rotations_each_ended_once_before_the_chain_named_the_key() {
    let (_above, folder) = network("works");
    let mut named = vec![public(&folder.gateway_key(None).expect("a key"))];
    for number in 1..=3 {
        let first = prepare(&folder, number - 1, None).expect("prepared");
        assert_eq!((first.number, in_force(&folder, &named).expect("fits")), (number, number - 1));
        assert_eq!(fs::metadata(&first.file).expect("there").permissions().mode() & 0o777, 0o600);
        // The power went: the next attempt takes the key that is there.
        let again = prepare(&folder, number - 1, None).expect("prepared");
        assert_eq!((again.payload, &again.file), (first.payload, &first.file));
        assert_eq!(in_force(&folder, &named).expect("fits"), number - 1, "the old one signs");
        let rotate: Rotate =
            codec::decode(&prepare(&folder, number - 1, None).expect("prepared").payload).expect("one");
        assert_eq!(rotate.key, public(&first.key));
        named.push(rotate.key);
        assert_eq!(in_force(&folder, &named).expect("fits"), number, "the new one signs");
    }
    assert_eq!(
        Folder::open(folder.path()).expect("a folder").issuer(),
        named[0].issuer(),
        "the identity stays"
    );
}

#[test]
fn keys_that_do_not_fit_the_chain_are_named() {
    let (_above, folder) = network("works");
    let first = public(&folder.gateway_key(None).expect("a key"));
    let says = |named: &[PublicKey], words: &str| {
        let error = in_force(&folder, named).expect_err("does not fit").to_string();
        assert!(error.contains(words), "{error}");
    };
    // The chain of a later time, and the keys of an earlier one (a restored image).
    let fit = check(&folder.held_keys(None).expect("keys"), &[first.clone(), key(1).1], &folder);
    let fit = fit.expect("without it readings are journaled");
    assert_eq!((fit.in_force, &fit.missing[..]), (1, &[1][..]));
    let warning = fit.warning(&folder).expect("one is missing").to_string();
    assert!(warning.contains("gateway.1.key is missing") && warning.contains("key restore"), "{warning}");
    let error = prepare(&folder, 1, None).map(drop).expect_err("missing").to_string();
    assert!(error.contains("gateway.1.key") && error.contains("key restore"), "{error}");
    keyfile::create(&folder.key_path(1), &key(2).0, None).expect("written");
    says(&[first.clone(), key(1).1], "gateway.1.key holds another key");
    keyfile::create(&folder.key_path(2), &key(3).0, None).expect("written");
    says(std::slice::from_ref(&first), "holds 3 keys, the chain names 1");
    assert!(matches!(prepare(&folder, 0, None), Err(RotateError::Beyond { got: 3, named: 1 })));
    assert_eq!(in_force(&folder, &[first.clone(), key(2).1]).expect("fits"), 1);
    // Of two that the chain names the older one is gone: the one in force still signs, and is still compared.
    fs::remove_file(folder.key_path(1)).expect("removed");
    let fit = check(&folder.held_keys(None).expect("keys"), &[first.clone(), key(2).1, key(3).1], &folder);
    assert_eq!(fit.expect("fits"), Fit { in_force: 2, missing: vec![1] });
    says(&[first, key(2).1, key(4).1], "gateway.2.key holds another key");
}

#[test]
fn a_new_key_is_sealed_like_the_first() {
    let (_above, folder) = network("works");
    let path = folder.key_path(0);
    let first = keyfile::load(&path, None).expect("a key");
    fs::remove_file(&path).expect("removed");
    keyfile::create(&path, &first, Some("a passphrase")).expect("sealed");
    assert!(prepare(&folder, 0, None).is_err());
    assert!(prepare(&folder, 0, Some("another")).is_err());
    assert_eq!(folder.keys_count().expect("one"), 1, "nothing was made");
    prepare(&folder, 0, Some("a passphrase")).expect("prepared");
    assert!(keyfile::load(&folder.key_path(1), None).is_err());
    assert_eq!(folder.signing_keys(Some("a passphrase")).expect("both").len(), 2);
}
