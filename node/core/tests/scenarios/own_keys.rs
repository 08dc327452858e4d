//! The key in force is not here: readings are journaled, nothing is issued, and it is said.

use std::sync::Arc;

use selvedge_core::Scheme;
use selvedge_core::border::{Event, Outcome, Refusal, Silence, StartCheck};
use selvedge_core::codec;
use selvedge_core::genesis::PublicKey;
use selvedge_core::payload::{PayloadKind, Rotate};

use crate::driver::{Driver, PEER, SECOND_US, Work};
use crate::store::Store;
use crate::world::{World, key_of};

const MISSING: Silence = Silence::KeyMissing { number: 1 };

fn first_key() -> PublicKey {
    World::new().genesis.members[0].key.clone()
}

fn second_key() -> PublicKey {
    key_of("the second key", Scheme::MlDsa44)
}

impl Driver {
    /// The own key of this number, as the chain names it. Keys that are not held are not asked for.
    pub(crate) fn own_key(&self, number: u32) -> PublicKey {
        let brought = self.store.own_key(self.config.issuer, number);
        let first =
            || self.world.genesis.member(self.config.issuer).expect("the node is a member").key.clone();
        let key =
            if number == 0 { first() } else { brought.expect("the chain names a key before it is used") };
        let held = self.config.signing_keys.as_ref();
        assert!(
            held.is_none_or(|held| held.contains(&key)),
            "asked to sign with key {number}, which is not here"
        );
        key
    }
}

/// A gateway with its first key only, which issued a batch.
fn with_first_key() -> Driver {
    let mut driver = Driver::with(|c| c.signing_keys = Some(vec![first_key()]));
    driver.describe(0, "a");
    driver.submit_count(0, 10);
    driver
}

/// Rotates to [`second_key`], as the shell does: the key is there before the chain names it.
fn rotate(driver: &mut Driver) {
    driver.config.signing_keys = Some(vec![first_key(), second_key()]);
    let payload = codec::encode(&Rotate { key: second_key() });
    let reply = driver.issue(PayloadKind::Rotate as u16, payload);
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
}

fn own_envelopes(driver: &Driver) -> Vec<Arc<[u8]>> {
    let own = driver.store.transactions().filter(|(r, _)| r.issuer == driver.config.issuer);
    own.map(|(_, envelope)| envelope.clone()).collect()
}

/// Silences that were said.
fn said(driver: &Driver) -> usize {
    driver.events().iter().filter(|e| **e == Event::Silent).count()
}

/// An image from before a rotation and two batches, and what was issued after it.
fn rotated_after_an_image() -> (Driver, Store, Vec<Arc<[u8]>>) {
    let mut driver = with_first_key();
    let image = driver.store.clone();
    let before = own_envelopes(&driver).len();
    rotate(&mut driver);
    driver.submit_count(0, 20);
    let tail = own_envelopes(&driver).split_off(before);
    assert_eq!(tail.len(), 3, "the rotation and two batches");
    (driver, image, tail)
}

/// Starts the image with these keys, and has a peer give the tail back.
fn restored(mut driver: Driver, image: Store, tail: &[Arc<[u8]>], keys: Vec<PublicKey>) -> Driver {
    driver.store = image;
    let mut driver = driver.restart(|c| {
        c.start_check = StartCheck::Bounded(3 * SECOND_US);
        c.signing_keys = Some(keys);
    });
    driver.meet(PEER);
    driver.describe(0, "a");
    for envelope in tail {
        driver.frame_from(PEER, envelope);
    }
    driver
}

/// It asked for a signature with a key that was not there, halted, and so did each start after it: no reading was
/// journaled any more.
#[test]
fn an_image_from_before_a_rotation_journals_readings_until_its_key_is_put_back() {
    let (driver, image, tail) = rotated_after_an_image();
    let mut driver = restored(driver, image, &tail, vec![first_key()]);
    assert_eq!(driver.node.silence(), Some(Silence::Asking), "first the chain, then the key");
    driver.advance_us(20 * SECOND_US);
    assert_eq!(driver.node.silence(), Some(MISSING));
    assert_eq!(said(&driver), 1);
    driver.take();
    for _ in 0..5 {
        let reply = driver.submit_count(0, 5);
        assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
    }
    let refused = driver.issue(PayloadKind::Note as u16, b"hello".to_vec());
    assert_eq!(driver.outcome(refused), Some(Outcome::Refused(Refusal::Silent(MISSING))));
    let mut other = driver.world.member(1);
    let note = other.note("others go on", &[]);
    driver.frame(&note);
    driver.advance_us(100 * SECOND_US);
    assert!(driver.is_attached(&note));
    for work in [Work::Seal, Work::Sign] {
        assert_eq!(driver.count(work), 0, "{work:?}");
    }
    let status = driver.node.status();
    assert_eq!((status.halted, status.backlog_readings, status.silence), (false, 25, Some(MISSING)));
    assert_eq!(said(&driver), 0, "once is enough");

    // The next start says it again, and journals too.
    let mut driver = driver.restart(|c| c.start_check = StartCheck::None);
    assert_eq!((driver.node.silence(), said(&driver)), (Some(MISSING), 1));
    driver.describe(0, "a");
    driver.submit_count(0, 5);
    driver.advance_us(100 * SECOND_US);
    assert_eq!(driver.node.status().backlog_readings, 30);

    // The key is put back.
    let mut driver = driver.restart(|c| c.signing_keys = Some(vec![first_key(), second_key()]));
    driver.input(selvedge_core::border::Input::Flush);
    driver.advance_us(20 * SECOND_US);
    let readings: Vec<u32> = driver.store.batches().iter().map(|batch| batch.count).collect();
    assert_eq!(readings.iter().sum::<u32>(), 10 + 20 + 30, "{readings:?}");
    assert_eq!((driver.node.silence(), driver.node.status().backlog_readings), (None, 0));
    let newest = driver.own_newest();
    assert_eq!(
        codec::decode::<selvedge_core::transaction::Envelope<'_>>(&newest.envelope).map(|e| e.key_number),
        Ok(1)
    );
}

/// A key file of the right number with another key in it signs what every peer would refuse.
#[test]
fn another_key_with_the_number_of_the_one_in_force_signs_nothing() {
    let (driver, image, tail) = rotated_after_an_image();
    let other = key_of("made by a rotation that came to nothing", Scheme::MlDsa44);
    let mut driver = restored(driver, image, &tail, vec![first_key(), other]);
    driver.advance_us(20 * SECOND_US);
    driver.submit_count(0, 10);
    assert_eq!(driver.node.silence(), Some(MISSING));
    assert_eq!(driver.count(Work::Sign), 0);
}

/// The key file was written and its `Rotate` came back: nothing is missing.
#[test]
fn an_image_that_holds_the_next_key_already_goes_on_with_it() {
    let (driver, image, tail) = rotated_after_an_image();
    let mut driver = restored(driver, image, &tail, vec![first_key(), second_key()]);
    driver.advance_us(20 * SECOND_US);
    driver.submit_count(0, 10);
    assert_eq!(driver.node.silence(), None);
    assert_eq!(driver.store.batches().last().map(|batch| batch.number), Some(3));
}

/// Whoever asked for the rotation holds the key; the core learns of it by the transaction.
#[test]
fn the_key_of_an_own_rotation_is_held_from_then_on() {
    let mut driver = with_first_key();
    rotate(&mut driver);
    assert_eq!((driver.node.silence(), said(&driver)), (None, 0));
    let reply = driver.issue(PayloadKind::Note as u16, b"with the new key".to_vec());
    assert_eq!(driver.outcome(reply), Some(Outcome::Durable));
}

/// A tail that comes while something is being signed: what is in the making is not signed with an old key, and whoever
/// waits for it is told.
#[test]
fn who_waits_is_told_when_the_key_goes_missing() {
    let (mut driver, image, tail) = rotated_after_an_image();
    driver.store = image;
    let mut driver = driver.restart(|c| {
        c.start_check = StartCheck::None;
        c.signing_keys = Some(vec![first_key()]);
    });
    driver.meet(PEER);
    driver.hold.insert(Work::Sign);
    let waits = [driver.issue(0, b"being signed".to_vec()), driver.issue(0, b"queued".to_vec())];
    driver.frame_from(PEER, &tail[0]);
    driver.release(Work::Sign);
    for reply in waits {
        assert_eq!(driver.outcome(reply), Some(Outcome::Refused(Refusal::Silent(MISSING))), "{reply:?}");
    }
    assert!(!driver.node.status().halted);
}
