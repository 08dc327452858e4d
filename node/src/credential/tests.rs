//! Who may write credentials, and which are good.

use std::fs;

use selvedge_core::genesis::Genesis;
use selvedge_core::random::Random;

use super::*;
use crate::document::{self, DocumentError};
use crate::folder::testing::{cases, key, mutated, network};

fn file_for(folder: &Folder, seed: u8) -> CredentialFile {
    let issuer = key(seed).1.issuer();
    let authority = Authority::of(folder, None).expect("it may");
    CredentialFile {
        version: 0,
        genesis: folder.genesis_bytes().to_vec(),
        issuer,
        name: "Press 7".into(),
        roles: roles(),
        credential: authority.sign(issuer, "Press 7", &roles()).expect("signed"),
        addresses: vec!["192.0.2.7:7440".into()],
    }
}

#[test]
fn organisation_inviter_and_nobody() {
    let (_above, folder) = network("works");
    let issuer = key(1).1.issuer();
    let with = |folder: &Folder| {
        let credential = Authority::of(folder, None)?.sign(issuer, "x", &roles())?;
        let bytes = enrolment(key(1).1, "x", &roles(), &credential);
        check_enrolment(&bytes, folder.network(), &folder.genesis(), issuer)
    };
    assert!(matches!(with(&folder).expect("good").credential.signer, CredentialSigner::Organisation));
    fs::remove_file(folder.path().join("keys/organisation.key")).expect("removed");
    assert!(matches!(with(&folder).expect("good").credential.signer, CredentialSigner::Inviter(0)));
    assert!(Authority::is_likely(&folder).expect("searched"));

    // A genesis without the role, and an organisation's key that it does not name.
    let mut genesis = Genesis::clone(&folder.genesis());
    genesis.members[0].roles = roles();
    fs::write(folder.path().join("genesis.bin"), genesis.to_bytes()).expect("written");
    let folder = Folder::open(folder.path()).expect("a folder");
    assert!(matches!(with(&folder), Err(CredentialError::NotAllowed)));
    assert!(!Authority::is_likely(&folder).expect("searched"));
    let foreign = SecretKey::generate(selvedge_core::Scheme::MlDsa65).expect("a key");
    selvedge_crypto::keyfile::create(&folder.path().join("keys/organisation.key"), &foreign, None)
        .expect("written");
    assert!(matches!(with(&folder), Err(CredentialError::NotAllowed)));
}

#[test]
fn a_credential_is_for_one_key_one_name_and_one_network() {
    let ((_a, folder), (_b, other)) = (network("works"), network("works"));
    let good = file_for(&folder, 1);
    let enrol = good.enrolment_for(&key(1).0).expect("good");
    let check = |bytes: &[u8], folder: &Folder, issuer| {
        check_enrolment(bytes, folder.network(), &folder.genesis(), issuer)
    };
    assert_eq!(check(&enrol, &folder, good.issuer).expect("good").name, "Press 7");
    assert!(matches!(check(&enrol, &other, good.issuer), Err(CredentialError::Signature)));
    assert!(matches!(check(&enrol, &folder, folder.issuer()), Err(CredentialError::OtherKey { .. })));
    assert!(matches!(good.enrolment_for(&key(2).0), Err(CredentialError::OtherKey { .. })));
    let renamed = CredentialFile { name: "Press 8".into(), ..good.clone() };
    assert!(matches!(renamed.enrolment_for(&key(1).0), Err(CredentialError::Signature)));
    let with_roles = CredentialFile { roles: vec!["gateway".into(), "inviter".into()], ..good.clone() };
    assert!(matches!(with_roles.enrolment_for(&key(1).0), Err(CredentialError::Signature)));
    let elsewhere = CredentialFile { genesis: other.genesis_bytes().to_vec(), ..good.clone() };
    assert!(matches!(elsewhere.enrolment_for(&key(1).0), Err(CredentialError::Signature)));
    let mut unsorted = good.clone();
    unsorted.roles = vec!["b".into(), "a".into()];
    assert!(matches!(unsorted.enrolment_for(&key(1).0), Err(CredentialError::Codec(_))));
    let mut nobody = good.clone();
    nobody.credential.organisation = 1;
    assert!(matches!(nobody.enrolment_for(&key(1).0), Err(CredentialError::Rejected(_))));
}

#[test]
fn files_come_back_and_others_are_named() {
    let (_above, folder) = network("works");
    let good = file_for(&folder, 1);
    let bytes = document::encode(&good);
    assert_eq!(document::decode::<CredentialFile>(&bytes), Ok(good.clone()));
    for end in [0, 1, 8, 20, 40, bytes.len() / 2, bytes.len() - 1] {
        assert!(document::decode::<CredentialFile>(&bytes[..end]).is_err(), "cut at {end}");
    }
    assert_eq!(document::decode::<CredentialFile>(&bytes[..1_000]), Err(DocumentError::Damaged));
    let kind =
        document::decode::<crate::introduction::Introduction>(&bytes).expect_err("another kind").to_string();
    assert!(kind.contains("credential 0") && kind.contains("--introduce"), "{kind}");
    let newer = document::decode::<CredentialFile>(b"selvedge credential 1\nwhatever")
        .expect_err("newer")
        .to_string();
    assert!(newer.contains("\"credential 1\""), "{newer}");
    assert!(matches!(
        document::decode::<CredentialFile>(&folder.genesis_bytes()),
        Err(DocumentError::Other { .. })
    ));
    let long = [b"selvedge credential 0\n".to_vec(), vec![0; CredentialFile::BYTES_MAX + 17]].concat();
    assert!(matches!(document::decode::<CredentialFile>(&long), Err(DocumentError::TooLong { .. })));
    for addresses in [vec!["\u{1b}[2J:1".to_owned()], vec![String::new()], vec!["a:1".to_owned(); 17]] {
        let bad = document::encode(&CredentialFile { addresses, ..good.clone() });
        assert!(matches!(document::decode::<CredentialFile>(&bad), Err(DocumentError::Content(_))));
    }
}

#[test]
fn no_bytes_make_the_decoder_of_credential_files_panic_and_none_get_by() {
    println!("seed 0xC1, {} cases", cases());
    let (_above, folder) = network("works");
    let good = file_for(&folder, 1);
    let (bytes, body) = (document::encode(&good), codec::encode(&good));
    let mut random = Random::new(&[0xC1; 32]);
    let mut decoded = 0;
    for _ in 0..cases() {
        let file = mutated(&bytes, &mut random);
        assert!(file == bytes || document::decode::<CredentialFile>(&file).is_err());
        // Behind the checksum too.
        let changed = mutated(&body, &mut random);
        if let Ok(read) = codec::decode::<CredentialFile>(&changed) {
            decoded += 1;
            assert_eq!(codec::encode(&read), changed);
            let is_as_signed = CredentialFile { addresses: good.addresses.clone(), ..read.clone() } == good;
            assert!(is_as_signed || decoded > 200 || read.enrolment_for(&key(1).0).is_err());
        }
    }
    assert!(decoded > 0);
}
