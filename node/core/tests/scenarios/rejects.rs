//! What is rejected, and that each reason says what was got and what was expected.

use std::collections::BTreeSet;

use selvedge_core::codec::{self, CodecError};
use selvedge_core::payload::{CredentialSigner, Enrol, PayloadKind};
use selvedge_core::reject::Reject;
use selvedge_core::transaction::{Body, Envelope, Parents, Reference};
use selvedge_core::{Id, Issuer, Scheme};

use crate::driver::{Driver, PEER, SECOND_US};
use crate::world::{Tx, World, key_of, nowhere, parent, witness};

/// The name of a reason. A new variant does not compile here: name it, reach it below, and count it.
fn name_of(reject: &Reject) -> &'static str {
    match reject {
        Reject::Codec(_) => "codec",
        Reject::SecondHello => "second hello",
        Reject::WrongGenesis { .. } => "wrong genesis",
        Reject::FirstWithoutGenesis { .. } => "first without genesis",
        Reject::NotEnrolled { .. } => "not enrolled",
        Reject::MisplacedEnrol { .. } => "misplaced enrol",
        Reject::ForeignKey { .. } => "foreign key",
        Reject::KeyPayload(_) => "key payload",
        Reject::UnknownSigner { .. } => "unknown signer",
        Reject::CredentialLength { .. } => "credential length",
        Reject::WrongKeyNumber { .. } => "wrong key number",
        Reject::WrongScheme { .. } => "wrong scheme",
        Reject::BadSignature { .. } => "bad signature",
        Reject::NotInCommittee { .. } => "not in committee",
        Reject::TooFewParents { .. } => "too few parents",
        Reject::NoSuchMember { .. } => "no such member",
        Reject::WrongAnchor { .. } => "wrong anchor",
    }
}
const REASONS: usize = 16;

/// A transaction, why it must be rejected, and what the reason must say.
struct Case {
    tx: Tx,
    reason: &'static str,
    says: Vec<String>,
}

fn case(tx: Tx, reason: &'static str, says: &[&str]) -> Case {
    Case { tx, reason, says: says.iter().map(|s| (*s).to_owned()).collect() }
}

fn raw(tx: &Tx, change: impl FnOnce(&mut Envelope<'_>)) -> Tx {
    let mut envelope: Envelope<'_> = codec::decode(&tx.envelope).expect("made here");
    change(&mut envelope);
    Tx { envelope: codec::encode(&envelope).into(), ..tx.clone() }
}

fn of_references(world: &World) -> Vec<Case> {
    let one = world.member(1);
    let genesis = world.genesis_reference();
    let zeros = |sequence, id| Reference { issuer: Issuer::GENESIS, sequence, id };
    let approving = |reference| {
        let mut body = one.body("n", &[]);
        body.approves[1] = reference;
        one.sign(body)
    };
    let other = Id(nowhere("x").0);
    let also = {
        let mut part = witness(1, Parents::Anchor(genesis.id), &[]);
        part.also.push(zeros(0, other));
        one.sign(Body { witness: Some(part), ..one.body("n", &[]) })
    };
    let first = one.sign(Body { prev: other, ..one.body("n", &[]) });
    vec![
        case(approving(zeros(0, other)), "wrong genesis", &[&other.short(), &genesis.id.short()]),
        case(approving(zeros(1, genesis.id)), "wrong genesis", &["/1/", "/0/"]),
        case(also, "wrong genesis", &[&other.short(), &genesis.id.short()]),
        case(first, "first without genesis", &[&other.to_hex(), &genesis.id.to_hex()]),
    ]
}

fn of_witnesses(world: &World) -> Vec<Case> {
    let (one, outside) = (world.member(1), world.member(4));
    let genesis = world.genesis_reference().id;
    let other = Id(nowhere("anchor").0);
    let anchored = |anchor| Some(witness(1, Parents::Anchor(anchor), &[]));
    let with_parents = |members: &[u8]| {
        let tx = world.member(2).sign(world.member(2).body("n", &[]));
        let parents = members.iter().map(|m| parent(*m, &tx)).collect();
        one.sign(Body { witness: Some(witness(2, Parents::Witnesses(parents), &[])), ..one.body("n", &[]) })
    };
    vec![
        case(
            outside.sign(Body { witness: anchored(genesis), ..outside.body("n", &[]) }),
            "not in committee",
            &[&outside.issuer.to_hex(), "epoch 0"],
        ),
        case(
            one.sign(Body { witness: anchored(other), ..one.body("n", &[]) }),
            "wrong anchor",
            &[&other.to_hex(), &genesis.to_hex()],
        ),
        case(with_parents(&[0, 1]), "too few parents", &["2 parents", "at least 3"]),
        case(with_parents(&[0, 1, 4]), "no such member", &["member 4", "committee of 4"]),
        case(with_parents(&[0, 2, 1]), "codec", &["ascending"]),
        case(with_parents(&[0, 1, 1]), "codec", &["ascending"]),
    ]
}

fn of_enrolments(world: &World) -> Vec<Case> {
    let stranger = world.stranger("newcomer");
    let organisation = world.genesis.organisations[0].key.clone();
    let enrol = |signer| stranger.enrol_payload(0, signer, &organisation);
    let good = enrol(CredentialSigner::Organisation);
    let with = |change: &dyn Fn(&mut Enrol)| {
        let mut changed = good.clone();
        change(&mut changed);
        stranger.sign(stranger.enrol_body(&changed))
    };
    let (issuer, member) = (stranger.issuer.to_hex(), world.member(1));
    let foreign = key_of("somebody else", Scheme::MlDsa44);
    let later = Body { sequence: 3, prev: Id(nowhere("prev").0), ..stranger.enrol_body(&good) };
    let rubbish = Body { payload: vec![9; 40], ..stranger.enrol_body(&good) };
    let rotate = Body { kind: PayloadKind::Rotate as u16, payload: vec![1, 2], ..member.body("", &[]) };
    let unsigned = with(&|e| e.name.push('!'));
    vec![
        case(stranger.sign(stranger.body("n", &[])), "not enrolled", &[&issuer, "payload kind 0"]),
        case(stranger.sign(later), "misplaced enrol", &[&issuer, "sequence 3"]),
        case(
            member.sign(member.enrol_body(&good)),
            "misplaced enrol",
            &[&member.issuer.to_hex(), "sequence 0"],
        ),
        case(with(&|e| e.key = foreign.clone()), "foreign key", &[&foreign.issuer().to_hex(), &issuer]),
        case(stranger.sign(rubbish), "key payload", &["enrol payload"]),
        case(member.sign(rotate), "key payload", &["rotate payload"]),
        case(with(&|e| e.credential.organisation = 2), "unknown signer", &["organisation 2"]),
        case(
            with(&|e| e.credential.signer = CredentialSigner::Inviter(2)),
            "unknown signer",
            &["organisation 0"],
        ),
        case(
            with(&|e| {
                (e.credential.organisation, e.credential.signer) = (1, CredentialSigner::Inviter(1));
            }),
            "unknown signer",
            &["organisation 1"],
        ),
        case(
            with(&|e| e.credential.signer = CredentialSigner::Inviter(900)),
            "unknown signer",
            &["organisation 0"],
        ),
        case(with(&|e| e.credential.signature.truncate(64)), "credential length", &["64 bytes", "3309"]),
        case(
            with(&|e| e.credential.signer = CredentialSigner::Inviter(1)),
            "credential length",
            &["3309", "2420"],
        ),
        case(unsigned.clone(), "bad signature", &[&unsigned.id().to_hex()]),
        case(with(&|e| e.roles = vec!["b".to_owned(), "a".to_owned()]), "key payload", &["ascending"]),
    ]
}

fn of_signatures(world: &World) -> Vec<Case> {
    let one = world.member(1);
    let tx = one.sign(one.body("n", &[]));
    let other_key = world.sign(one.body("n", &[]), &world.member(2).keys[0], 0);
    let large = key_of("large", Scheme::MlDsa65);
    let other_scheme = world.sign(one.body("n", &[]), &large, 0);
    let numbered = world.sign(one.body("n", &[]), &one.keys[0], 1);
    vec![
        case(other_key, "bad signature", &[&tx.id().to_hex()]),
        case(Tx { envelope: tx.forged(3), ..tx.clone() }, "bad signature", &[&tx.id().to_hex()]),
        case(other_scheme, "wrong scheme", &["tag 2", "expected 1"]),
        case(numbered, "wrong key number", &["key 1", "expected key 0"]),
        case(
            Tx { envelope: tx.envelope[..50].into(), ..tx.clone() },
            "codec",
            &["transaction envelope", "malformed"],
        ),
        case(raw(&tx, |e| e.signature = &[]), "codec", &["its scheme's length"]),
        case(raw(&tx, |e| e.body = &e.body[..e.body.len() - 1]), "codec", &["transaction body", "malformed"]),
        case(one.sign(Body { version: 1, ..one.body("n", &[]) }), "codec", &["version is not 0"]),
        case(one.sign(Body { flags: 2, ..one.body("n", &[]) }), "codec", &["unknown flag"]),
        case(one.sign(Body { payload: vec![0; 65_537], ..one.body("n", &[]) }), "codec", &["65,536"]),
        case(Tx { envelope: vec![0; 100_000].into(), ..tx.clone() }, "codec", &["100000 bytes", "at most"]),
    ]
}

#[test]
fn every_reason_is_reached_and_says_what_was_got_and_what_was_expected() {
    let world = World::new();
    let groups = [of_references(&world), of_witnesses(&world), of_enrolments(&world), of_signatures(&world)];
    let mut reached = BTreeSet::new();
    for Case { tx, reason, says } in groups.into_iter().flatten() {
        let mut driver = Driver::new();
        driver.frame(&tx);
        let drops = driver.drops();
        let [(peer, reject)] = drops.as_slice() else { panic!("{reason}: got {drops:?}") };
        assert_eq!((*peer, name_of(reject)), (PEER, reason), "{reject}");
        let text = reject.to_string();
        for part in says {
            assert!(text.contains(&part), "{reason}: \"{text}\" does not say \"{part}\"");
        }
        assert!(!driver.is_attached(&tx));
        assert_eq!(driver.node.status().pending, 0, "{reason}: it is not kept");
        driver.advance_us(3 * SECOND_US);
        assert!(driver.wants().is_empty(), "{reason}: nothing is fetched for its sake");
        reached.insert(reason);
    }
    assert_eq!(reached.len(), REASONS, "{reached:?}");
}

#[test]
fn a_trailing_byte_or_an_over_long_number_is_another_encoding_and_rejected() {
    let world = World::new();
    let one = world.member(1);
    let tx = one.sign(one.body("n", &[]));
    let mut trailing = tx.envelope.to_vec();
    trailing.push(0);
    // Byte 1 is the key number, a varint: 0 as two bytes.
    let mut long = tx.envelope.to_vec();
    long.splice(1..2, [0x80, 0]);
    let mut driver = Driver::new();
    driver.frame_from(PEER, &trailing);
    driver.frame_from(PEER, &long);
    let drops: Vec<Reject> = driver.drops().into_iter().map(|(_, r)| r).collect();
    assert!(
        matches!(
            drops.as_slice(),
            [
                Reject::Codec(CodecError::Trailing { left: 1, .. }),
                Reject::Codec(CodecError::NotCanonical { at: 1, .. })
            ]
        ),
        "{drops:?}"
    );
    driver.frame(&tx);
    assert!(driver.is_attached(&tx));
}

#[test]
fn a_transaction_of_another_network_is_not_accepted() {
    let world = World::new();
    let mut genesis = (*world.genesis).clone();
    genesis.random = [8; 32];
    let bytes = genesis.to_bytes();
    let network = selvedge_core::Network::new(selvedge_core::genesis::Genesis::network_id_of(&bytes));
    let foreign = World { genesis: genesis.into(), bytes: bytes.into(), network };
    let tx = foreign.member(1).note("n", &[]);
    let mut driver = Driver::new();
    driver.frame(&tx);
    assert_eq!(driver.drops().iter().map(|(_, r)| name_of(r)).collect::<Vec<_>>(), ["first without genesis"]);
    // Even with this network's genesis in it, the signature is for another network.
    let one = foreign.member(1);
    let here = driver.world.genesis_reference();
    let body = Body { prev: here.id, approves: [here; 2], ..one.body("n", &[]) };
    driver.take();
    driver.frame(&foreign.sign(body, &one.keys[0], 0));
    assert_eq!(driver.drops().iter().map(|(_, r)| name_of(r)).collect::<Vec<_>>(), ["bad signature"]);
}

#[test]
fn unknown_kinds_and_payloads_that_do_not_decode_are_carried() {
    let mut driver = Driver::new();
    let mut one = driver.world.member(1);
    let kinds =
        [(3, vec![1, 2, 3]), (4, vec![]), (5, b"from the future".to_vec()), (u16::MAX, vec![0; 65_536])];
    for (kind, payload) in kinds {
        let body = Body { kind, payload, ..one.body("", &[]) };
        let tx = one.issue(body);
        driver.frame(&tx);
        assert!(driver.is_attached(&tx), "kind {kind}");
    }
    assert!(driver.drops().is_empty());
}
