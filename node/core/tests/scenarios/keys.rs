//! Keys: those of the genesis, of enrolments and of rotations, and which one is in force.

use selvedge_core::border::{Event, StartCheck, Write};
use selvedge_core::payload::CredentialSigner;
use selvedge_core::record::flag;
use selvedge_core::reject::Reject;

use crate::driver::{Driver, PEER};
use crate::world::{Actor, Tx};

fn silent() -> Driver {
    Driver::with(|c| c.start_check = StartCheck::Listen)
}

fn reject_of(driver: &Driver) -> Reject {
    let drops = driver.drops();
    let [(_, reject)] = drops.as_slice() else { panic!("one reject expected, got {drops:?}") };
    reject.clone()
}

#[test]
fn after_a_rotation_the_new_key_is_in_force_and_the_old_one_is_refused() {
    let mut driver = silent();
    let mut one = driver.world.member(1);
    let rotate = one.rotate("second", &[]);
    driver.frame(&rotate);
    let Some(Write::Transaction { key: Some(key), record, .. }) = driver.store.log.last() else {
        panic!("the key is written with its transaction")
    };
    assert_eq!((key.key_number, &*key.key, record.key), (1, &one.keys[1], 1));
    let old = driver.world.sign(one.body("n", &[]), &one.keys[0], 0);
    driver.frame(&old);
    assert_eq!(reject_of(&driver), Reject::WrongKeyNumber { got: 0, expected: 1 });
    let mislabelled = driver.world.sign(one.body("m", &[]), &one.keys[0], 1);
    driver.take();
    driver.frame(&mislabelled);
    assert!(matches!(reject_of(&driver), Reject::BadSignature { .. }));
    let new = one.note("n", &[]);
    driver.frame(&new);
    assert!(driver.is_attached(&new));
}

/// Only an enrolment makes a member known. (Transaction 0 of a member that rotated its key at once was taken for one, with
/// the new key; found by the simulator.)
#[test]
fn a_rotation_in_transaction_0_is_no_enrolment() {
    let mut driver = silent();
    let is_enrolled = |e: &Event| matches!(e, Event::Enrolled { .. });
    let rotate = driver.world.member(1).rotate("second", &[]);
    driver.frame(&rotate);
    assert!(driver.is_attached(&rotate) && !driver.events().iter().any(is_enrolled));
    let mut new = driver.world.stranger("newcomer");
    let enrol = new.enrol();
    driver.frame(&enrol);
    let told: Vec<Event> = driver.events().into_iter().filter(is_enrolled).collect();
    assert_eq!(told, [Event::Enrolled { issuer: new.issuer, key: std::sync::Arc::new(new.keys[0].clone()) }]);
}

#[test]
fn keys_of_many_rotations_are_numbered_and_survive_a_start() {
    let mut driver = silent();
    let mut one = driver.world.member(1);
    for number in 1..=5 {
        let rotate = one.rotate(&format!("key {number}"), &[]);
        let note = one.note("n", &[]);
        driver.frames(&[&note, &rotate]);
        assert!(driver.is_attached(&note), "key {number}: {:?}", driver.drops());
    }
    let mut driver = driver.crash();
    driver.meet(PEER);
    let next = one.note("after the start", &[]);
    driver.frame(&next);
    assert!(driver.is_attached(&next));
}

/// A branch from before the rotation is signed with the key in force there: the first one.
#[test]
fn on_a_branch_from_before_the_rotation_the_old_key_is_in_force() {
    let mut driver = silent();
    let mut one = driver.world.member(1);
    let root = one.note("root", &[]);
    let mut other = one.clone();
    let rotate = one.rotate("second", &[]);
    driver.frames(&[&root, &rotate]);
    let branch = other.note("old key, old place", &[]);
    driver.frame(&branch);
    assert!(driver.is_attached(&branch), "{:?}", driver.drops());
    let with_new = driver.world.sign(other.body("new key, old branch", &[]), &one.keys[1], 1);
    driver.frame(&with_new);
    assert_eq!(reject_of(&driver), Reject::WrongKeyNumber { got: 1, expected: 0 });
}

#[test]
fn of_two_rotations_at_one_place_each_branch_has_its_own_key() {
    let mut driver = silent();
    let mut left = driver.world.member(1);
    let mut right = left.clone();
    let rotates = [left.rotate("left", &[]), right.rotate("right", &[])];
    driver.frames(&[&rotates[0], &rotates[1]]);
    let crossed = driver.world.sign(right.body("crossed", &[]), &left.keys[1], 1);
    driver.frame(&crossed);
    assert!(matches!(reject_of(&driver), Reject::BadSignature { .. }));
    let (on_left, on_right) = (left.note("l", &[]), right.note("r", &[]));
    driver.frames(&[&on_right, &on_left]);
    assert!(driver.is_attached(&on_left) && driver.is_attached(&on_right));
    let keys: Vec<u16> = driver.store.records().map(|r| r.key).collect();
    assert_eq!(keys, [1, 2, 2, 1]);
    let further = [left.rotate("left again", &[]), right.rotate("right again", &[])];
    driver.frames(&[&further[1], &further[0]]);
    let numbers: Vec<u32> = driver
        .store
        .log
        .iter()
        .filter_map(|w| match w {
            Write::Transaction { key: Some(key), .. } => Some(key.key_number),
            _ => None,
        })
        .collect();
    assert_eq!(numbers, [1, 1, 2, 2]);
}

fn enrolled_by(driver: &Driver, signer: CredentialSigner, organisation: u16, key_of: &str) -> (Actor, Tx) {
    let mut new = driver.world.stranger("newcomer");
    let key = match key_of.split_once(' ') {
        Some(("organisation", at)) => {
            &driver.world.genesis.organisations[at.parse::<usize>().expect("a place")].key
        }
        Some((_, at)) => &driver.world.genesis.members[at.parse::<usize>().expect("a place")].key,
        None => panic!("organisation N or member N"),
    };
    let body = new.enrol_body(&new.enrol_payload(organisation, signer, key));
    let tx = new.issue(body);
    (new, tx)
}

#[test]
fn an_organisation_or_its_inviter_lets_a_newcomer_in() {
    for (signer, organisation, key) in [
        (CredentialSigner::Organisation, 0, "organisation 0"),
        (CredentialSigner::Organisation, 1, "organisation 1"),
        (CredentialSigner::Inviter(1), 0, "member 1"),
    ] {
        let mut driver = silent();
        let (mut new, enrol) = enrolled_by(&driver, signer, organisation, key);
        driver.frame(&enrol);
        assert!(driver.is_attached(&enrol), "{signer:?}: {:?}", driver.drops());
        let Some(Write::Transaction { key: Some(brought), record, .. }) = driver.store.log.last() else {
            panic!("its key is written with it")
        };
        assert_eq!((brought.key_number, &*brought.key, record.key), (0, &new.keys[0], 0));
        let rotate = new.rotate("next", &[]);
        let note = new.note("n", &[]);
        driver.frames(&[&rotate, &note]);
        assert!(driver.is_attached(&note));
    }
}

#[test]
fn a_credential_by_the_wrong_key_lets_nobody_in() {
    for (signer, organisation, key) in
        [(CredentialSigner::Organisation, 0, "organisation 1"), (CredentialSigner::Inviter(1), 0, "member 2")]
    {
        let mut driver = silent();
        let (mut new, enrol) = enrolled_by(&driver, signer, organisation, key);
        driver.frame(&enrol);
        assert!(matches!(reject_of(&driver), Reject::BadSignature { .. }), "{signer:?}");
        let note = new.note("n", &[]);
        driver.frame(&note);
        assert!(!driver.is_attached(&note));
        // The genuine credential is not kept out by the forged one.
        let mut honest = driver.world.stranger("newcomer");
        let genuine = honest.enrol();
        driver.frame(&genuine);
        assert!(driver.is_attached(&genuine));
    }
}

/// Two enrolments of one identity: a fork at sequence 0, with one and the same key.
#[test]
fn two_enrolments_of_one_identity_are_a_fork_and_both_chains_go_on() {
    let mut driver = silent();
    let (mut left, by_organisation) =
        enrolled_by(&driver, CredentialSigner::Organisation, 0, "organisation 0");
    let (mut right, by_inviter) = enrolled_by(&driver, CredentialSigner::Inviter(1), 0, "member 1");
    let (on_left, on_right) = (left.note("l", &[]), right.note("r", &[]));
    driver.frames(&[&on_right, &by_organisation, &on_left, &by_inviter]);
    for tx in [&by_organisation, &on_left, &by_inviter, &on_right] {
        assert!(driver.is_attached(tx), "{:?}: {:?}", tx.reference, driver.drops());
    }
    assert_eq!(driver.node.status().forks, [(left.issuer, 0), (left.issuer, 1)]);
    let second = driver.store.records().filter(|r| r.has(flag::SECOND_BRANCH)).count();
    assert_eq!(second, 2);
}

/// An issuer with as many keys as are kept could not go on at all, although only a further key has no room.
#[test]
fn an_issuer_with_the_most_keys_goes_on_with_the_last_one() {
    let mut driver = silent();
    driver.check_every = 256;
    let mut one = driver.world.member(1);
    for number in 1..selvedge_core::limits::KEYS_PER_ISSUER_MAX {
        let rotate = one.rotate(&format!("key {number}"), &[]);
        driver.frame(&rotate);
    }
    let note = one.note("with the last key", &[]);
    driver.frame(&note);
    assert!(driver.is_attached(&note));
    let before = one.clone();
    let beyond = one.rotate("one too many", &[]);
    driver.frame(&beyond);
    assert!(!driver.is_attached(&beyond) && driver.drops().is_empty(), "it waits: other nodes may have room");
    let mut one = before;
    let next = one.note("goes on", &[]);
    driver.frame(&next);
    assert!(driver.is_attached(&next));
}
