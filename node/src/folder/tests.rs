//! What a folder is after each step that a power cut may end it at.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use selvedge_core::codec;
use selvedge_core::payload::Enrol;

use super::testing::network;
use super::waiting::{Candidate, Waiting, WaitsFor};
use super::{Admitted, Folder, FolderError, name};
use crate::credential::{Authority, enrolment, roles};

fn waiting(name: &str) -> Waiting {
    Waiting { version: 0, waits_for: WaitsFor::Credential, organisation: None, name: Some(name.into()) }
}

/// Genesis and enrolment for a candidate, by the gateway in `member`.
fn let_in(member: &Folder, candidate: &Candidate, name: &str) -> (Vec<u8>, Vec<u8>) {
    let authority = Authority::of(member, None).expect("it may");
    let credential = authority.sign(candidate.issuer, name, &roles()).expect("signed");
    let key = selvedge_crypto::signer(&candidate.gateway).expect("a signer").public_key().clone();
    (member.genesis_bytes().to_vec(), enrolment(key, name, &roles(), &credential))
}

fn files(folder: &Path) -> Vec<String> {
    let mut all: Vec<String> = ["", "keys"]
        .iter()
        .filter_map(|sub| fs::read_dir(folder.join(sub)).ok().map(|entries| (sub, entries)))
        .flat_map(|(sub, entries)| {
            entries.map(move |e| format!("{sub}/{}", e.expect("readable").file_name().to_string_lossy()))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_candidate_becomes_a_gateway_with_an_enrolment() {
    let (above, member) = network("works");
    let path = above.path().join("g2");
    let candidate = Candidate::begin(&path, &waiting("g2"), None).expect("begun");
    let text = Folder::open(&path).expect_err("not yet").to_string();
    assert!(text.contains("--join LINE") && text.contains("--credential FILE"), "{text}");
    let (genesis, enrol) = let_in(&member, &candidate, "g2");
    let folder = candidate.complete(&genesis, Some(&enrol), "").expect("complete");
    assert_eq!(folder.enrolment().as_deref(), Some(&*enrol));
    assert_eq!((folder.name(), folder.organisation_name()), ("g2", "Acme"));
    assert_eq!(folder.network().id(), member.network().id());
    assert_eq!(folder.signing_keys(None).expect("keys").len(), 1);
    assert!(!path.join(name::WAITING).exists());
    assert_eq!(member.enrolment(), None, "the genesis names the first");
    for file in [name::GATEWAY_KEY, name::SALT_KEY] {
        let mode = fs::metadata(path.join(file)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o700);
    assert!(matches!(Candidate::begin(&path, &waiting("g2"), None), Err(FolderError::Taken { .. })));
}

/// Every set of files that a power cut can leave behind, in the order in which they are written: the same command goes
/// on, and never with another key once one was shown to anybody.
#[test]
fn whatever_a_power_cut_leaves_the_same_steps_go_on() {
    let (above, member) = network("works");
    let whole = above.path().join("whole");
    let candidate = Candidate::begin(&whole, &waiting("g2"), None).expect("begun");
    let (genesis, enrol) = let_in(&member, &candidate, "g2");
    let steps = [
        name::WAITING,
        name::GATEWAY_KEY,
        name::SALT_KEY,
        name::IDENTITY,
        name::CREDENTIAL,
        name::CONFIG,
        name::GENESIS,
    ];
    for done in 0..=steps.len() {
        let path = above.path().join(format!("cut-{done}"));
        fs::create_dir_all(path.join("keys")).expect("made");
        for step in &steps[..done] {
            match *step {
                name::CREDENTIAL => fs::write(path.join(step), &enrol).expect("written"),
                name::CONFIG => fs::write(path.join(step), "").expect("written"),
                name::GENESIS => fs::write(path.join(step), &genesis).expect("written"),
                _ => drop(fs::copy(whole.join(step), path.join(step)).expect("copied")),
            }
        }
        if done == steps.len() {
            // All but the last step, which removes the mark: it is a gateway.
            assert_eq!(Folder::open(&path).expect("whole").issuer(), candidate.issuer);
            continue;
        }
        assert!(Folder::open(&path).is_err(), "{done} steps make no gateway");
        let again = Candidate::begin(&path, &waiting("g2"), None).expect("goes on");
        assert_eq!(again.issuer == candidate.issuer, done >= 2, "the key is kept once it is there: {done}");
        let (genesis, enrol) = let_in(&member, &again, "g2");
        let folder = again.complete(&genesis, Some(&enrol), "").expect("complete");
        assert_eq!(folder.issuer(), again.issuer);
        assert_eq!(files(&path), files_of_a_gateway(), "nothing is left over after {done} steps");
    }
}

fn files_of_a_gateway() -> Vec<String> {
    let mut files: Vec<String> = ["credential.bin", "gateway.id", "genesis.bin", "keys", "selvedge.toml"]
        .iter()
        .map(|f| format!("/{f}"))
        .chain(["keys/gateway.key", "keys/salt.key"].map(str::to_owned))
        .collect();
    files.sort();
    files
}

#[test]
fn what_does_not_fit_makes_no_gateway() {
    let ((above, member), (_other, stranger)) = (network("works"), network("works"));
    let path = above.path().join("g2");
    let candidate = Candidate::begin(&path, &waiting("g2"), None).expect("begun");
    let (genesis, enrol) = let_in(&member, &candidate, "g2");
    let foreign = let_in(&stranger, &candidate, "g2").1;
    let refused = |genesis: &[u8], enrol: Option<&[u8]>| {
        let error = candidate.complete(genesis, enrol, "").map(drop).expect_err("refused");
        assert!(!path.join(name::GENESIS).exists() && !path.join(name::CREDENTIAL).exists());
        error.to_string()
    };
    assert!(refused(&genesis, None).contains("does not name this gateway's key"));
    assert!(refused(&genesis, Some(&foreign)).contains("signature of the credential is wrong"));
    let mut renamed: Enrol = codec::decode(&enrol).expect("an enrolment");
    renamed.name = "g3".into();
    assert!(
        refused(&genesis, Some(&codec::encode(&renamed))).contains("signature of the credential is wrong")
    );
    let second = Candidate::begin(&above.path().join("g3"), &waiting("g2"), None).expect("begun");
    assert!(
        refused(&genesis, Some(&let_in(&member, &second, "g2").1)).contains("the credential is for svid1")
    );
    assert!(refused(&genesis[..9], Some(&enrol)).contains("genesis"));
    assert!(refused(&genesis, Some(&enrol[..99])).contains("no good credential"));
}

#[test]
fn a_folder_that_waits_for_one_thing_does_not_take_another() {
    let above = tempfile::tempdir().expect("a folder");
    let path = above.path().join("g");
    Candidate::begin(&path, &waiting("g"), None).expect("begun");
    let partners = Waiting {
        version: 0,
        waits_for: WaitsFor::Genesis,
        organisation: Some("Acme".into()),
        name: Some("g".into()),
    };
    assert!(matches!(Candidate::begin(&path, &partners, None), Err(FolderError::Waiting { .. })));
    // Another name is no reason: the key is what counts.
    let renamed = Candidate::begin(&path, &waiting("h"), None).expect("goes on");
    assert_eq!(renamed.waiting.name.as_deref(), Some("h"));
    fs::write(path.join(name::WAITING), b"nonsense").expect("written");
    let error = Candidate::begin(&path, &waiting("g"), None).map(drop).expect_err("damaged").to_string();
    assert!(error.contains("waiting"), "{error}");
}

#[test]
fn an_enrolment_that_is_missing_or_damaged_is_named() {
    let (above, member) = network("works");
    let path = above.path().join("g2");
    let candidate = Candidate::begin(&path, &waiting("g2"), None).expect("begun");
    let (genesis, enrol) = let_in(&member, &candidate, "g2");
    candidate.complete(&genesis, Some(&enrol), "").expect("complete");
    let mut damaged = enrol.clone();
    damaged[2_000] ^= 1;
    fs::write(path.join(name::CREDENTIAL), damaged).expect("written");
    assert!(Folder::open(&path).expect_err("damaged").to_string().contains("credential.bin"));
    fs::remove_file(path.join(name::CREDENTIAL)).expect("removed");
    let error = Folder::open(&path).expect_err("missing").to_string();
    assert!(
        error.contains("credential.bin") && error.contains("svid1") && error.contains("admit"),
        "{error}"
    );
}

#[test]
fn admitted_gateways_come_back_and_a_damaged_record_keeps_nobody_away() {
    let (_above, folder) = network("works");
    assert_eq!(folder.all_admitted(|_| false).expect("none"), []);
    let authority = Authority::of(&folder, None).expect("it may");
    let mut all: Vec<Admitted> = (1..5)
        .map(|seed| {
            let key = super::testing::key(seed).1;
            let issuer = key.issuer();
            let credential = authority.sign(issuer, "x", &roles()).expect("signed");
            let key = (seed % 2 == 0).then_some(key);
            Admitted { version: 0, issuer, key, name: "x".into(), roles: roles(), credential, admitted_s: 7 }
        })
        .collect();
    all.sort_unstable_by_key(|a| a.issuer);
    for one in &all {
        folder.admit(one).expect("noted");
        folder.admit(one).expect("noted again");
    }
    assert_eq!(folder.all_admitted(|_| false).expect("all"), all);
    assert_eq!(folder.all_admitted(|i| *i != all[2].issuer).expect("one"), [all[2].clone()]);
    let file = |n: usize| {
        folder.admitted_path().join(format!("{}.member", selvedge_crypto::ids::to_text(&all[n].issuer)))
    };
    fs::write(file(0), b"nonsense").expect("written");
    fs::copy(file(3), file(1)).expect("copied");
    fs::write(folder.admitted_path().join("notes.txt"), b"").expect("written");
    assert_eq!(folder.all_admitted(|_| false).expect("the others"), all[2..]);
    assert!(folder.admitted(&all[1].issuer).is_err_and(|e| e.to_string().contains("another gateway")));
}

#[test]
fn keys_are_counted_without_gaps() {
    let (_above, folder) = network("works");
    assert_eq!(folder.keys_count().expect("one"), 1);
    for (number, seed) in [(1, 1), (2, 2)] {
        let (key, _) = super::testing::key(seed);
        selvedge_crypto::keyfile::create(&folder.key_path(number), &key, None).expect("written");
    }
    for beside in
        ["gateway.01.key", "gateway.1.key.bak", "gateway.x.key", "gateway.0.key", "organisation.key.2"]
    {
        fs::write(folder.path().join("keys").join(beside), b"").expect("written");
    }
    let seeds: Vec<[u8; 32]> = folder.signing_keys(None).expect("three").iter().map(|k| *k.seed()).collect();
    assert_eq!(seeds[1..], [[1; 32], [2; 32]]);
    fs::remove_file(folder.key_path(1)).expect("removed");
    let error = folder.signing_keys(None).map(drop).expect_err("a gap").to_string();
    assert!(error.contains("gateway.1.key") && error.contains("key 2 is there"), "{error}");
    let held = folder.held_keys(None).expect("those that are there");
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [0, 2], "a start goes on without the one between");
}
