//! Who gets in, who does not, and what a crash leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Barrier};

use selvedge_core::payload::{CredentialSigner, Enrol};

use super::*;
use crate::credential;
use crate::invite::exchange::{Welcome, answer_proof};

fn enrol(joined: &Joined) -> Enrol {
    codec::decode(&joined.enrolment).expect("an enrolment")
}

#[test]
fn a_line_lets_one_key_in_and_the_same_key_again_with_the_same_answer() {
    let member = Member::new();
    let line = member.invites(1, None);
    let joined = member.lets_in(&line, 7, Some("Press 7"), NOW_S).expect("let in");
    assert_eq!(joined.genesis, *member.folder.genesis_bytes());
    assert_eq!((joined.name.as_str(), joined.addresses.len()), ("Press 7", 1));
    let enrol = enrol(&joined);
    assert_eq!((enrol.key.clone(), enrol.roles.clone()), (key(7).1, vec!["gateway".to_owned()]));
    assert_eq!(enrol.credential.signer, CredentialSigner::Organisation);
    credential::check_enrolment(
        &joined.enrolment,
        member.folder.network(),
        &member.folder.genesis(),
        key(7).1.issuer(),
    )
    .expect("every node takes it");

    // The answer was lost on the way: asked for again, also after the end and after a restart.
    assert_eq!(member.lets_in(&line, 7, Some("Press 7"), NOW_S + 5).expect("again"), joined);
    assert_eq!(member.lets_in(&line, 7, None, NOW_S + 7_200).expect("again"), joined);
    let restarted = Desk::open(&member.folder, None).expect("a desk");
    let again = Member {
        desk: restarted,
        above: tempfile::tempdir().expect("a folder"),
        folder: member.folder.clone(),
    };
    assert_eq!(again.lets_in(&line, 7, None, NOW_S + 9).expect("again"), joined);

    let another = refusal(member.lets_in(&line, 8, None, NOW_S + 10));
    assert_eq!(another, Refusal::Redeemed(NOW_S));
    assert!(
        another.to_string().contains("already redeemed by another gateway, at 2027-01-15T08:00:00"),
        "{another}"
    );
    let admitted = member.folder.all_admitted(|_| false).expect("listed");
    assert_eq!(admitted.len(), 1);
    assert_eq!((admitted[0].issuer, admitted[0].key.as_ref()), (key(7).1.issuer(), Some(&key(7).1)));
    assert!(member.above.path().exists());
}

#[test]
fn names_are_given_asked_for_or_made() {
    let member = Member::new();
    let lets = |line: &Line, seed, name| member.lets_in(line, seed, name, NOW_S);
    let given = member.invites(1, Some("Press 7"));
    assert_eq!(refusal(lets(&given, 1, Some("Press 8"))), Refusal::OtherName("Press 7".into()));
    assert_eq!(lets(&given, 1, None).expect("let in").name, "Press 7");
    assert_eq!(refusal(lets(&given, 1, Some("Press 8"))), Refusal::OtherName("Press 7".into()));
    let asked = member.invites(2, None);
    assert_eq!(lets(&asked, 2, Some("Edge")).expect("let in").name, "Edge");
    let made = member.invites(3, None);
    let expected = format!("gateway-{}", key(3).1.issuer().short());
    assert_eq!(lets(&made, 3, None).expect("let in").name, expected);
}

#[test]
fn each_wrong_line_is_refused_in_words() {
    let (member, stranger) = (Member::new(), Member::new());
    let line = member.invites(1, None);
    let lets = |line: &Line, now_s| refusal(member.lets_in(line, 7, None, now_s));
    assert_eq!(lets(&line, NOW_S + 3_601), Refusal::Expired(NOW_S + 3_600));
    let unknown = Line { secret: Zeroizing::new([2; SECRET_BYTES]), ..line.clone() };
    assert_eq!(lets(&unknown, NOW_S), Refusal::Unknown);
    let elsewhere = stranger.invites(1, None);
    assert_eq!(lets(&elsewhere, NOW_S), Refusal::OtherNetwork(member.folder.network().id()));
    let words = lets(&elsewhere, NOW_S).to_string();
    assert!(words.contains("another network") && words.contains("svnet1"), "{words}");
    assert!(
        Refusal::Expired(NOW_S).to_string().contains("2027-01-15T08:00:00"),
        "{}",
        Refusal::Expired(NOW_S)
    );
    // Good still, after all of this.
    member.lets_in(&line, 7, None, NOW_S + 3_600).expect("let in at the last second");
}

#[test]
fn whoever_stands_between_gets_nothing_on_either_side() {
    let member = Member::new();
    let line = member.invites(1, None);
    // The joiner's connection ends at a stranger, who has another one to the member.
    let (joiner, between) = (guest(key(7).1, 1), Guest { exporter: [10; 32], ..guest(key(66).1, 2) });
    let asked = redeem(&line, key(7).1, None, &joiner.exporter);
    assert_eq!(refused(&member.answers(&asked, &between, NOW_S)), Refusal::Proof);
    // Nor with the key exchanged for its own, or the proof of another name.
    let swapped = Redeem { key: key(66).1, ..asked.clone() };
    assert_eq!(refused(&member.answers(&swapped, &between, NOW_S)), Refusal::Proof);
    let same_connection = Guest { exporter: joiner.exporter, ..between.clone() };
    assert_eq!(refused(&member.answers(&swapped, &same_connection, NOW_S)), Refusal::Proof);
    let renamed = Redeem { name: Some("Mallory".into()), ..asked.clone() };
    assert_eq!(refused(&member.answers(&renamed, &joiner, NOW_S)), Refusal::Proof);
    // A key that TLS has not shown to be the guest's own.
    assert_eq!(refused(&member.answers(&asked, &same_connection, NOW_S)), Refusal::OtherKey);

    // A stranger who plays the member, with a network of its own, does not know the secret.
    let stranger = Member::new();
    let fake = stranger.invites(2, None);
    let at_stranger = redeem(&fake, key(7).1, None, &joiner.exporter);
    let answer = stranger.answers(&at_stranger, &joiner, NOW_S);
    assert!(matches!(accept(&line, &asked, &joiner.exporter, &answer), Err(JoinError::NotTheMember)));
    // The member's good answer of another connection, or of another attempt.
    let answer = member.answers(&asked, &joiner, NOW_S);
    accept(&line, &asked, &joiner.exporter, &answer).expect("good where it belongs");
    assert!(matches!(accept(&line, &asked, &between.exporter, &answer), Err(JoinError::NotTheMember)));
    let other_attempt = redeem(&line, key(7).1, Some("x".into()), &joiner.exporter);
    assert!(matches!(accept(&line, &other_attempt, &joiner.exporter, &answer), Err(JoinError::NotTheMember)));
}

/// A member that knows the secret can still be wrong, or hostile: nothing of it is taken over unchecked.
#[test]
fn a_welcome_that_is_not_good_is_refused_by_the_joiner() {
    let (member, other) = (Member::new(), Member::new());
    let line = member.invites(1, Some("Press 7"));
    let joiner = guest(key(7).1, 1);
    let asked = redeem(&line, key(7).1, Some("Press 7".into()), &joiner.exporter);
    let answer: Answer = codec::decode(&member.answers(&asked, &joiner, NOW_S)).expect("an answer");
    let good = answer.outcome.expect("a welcome");
    let key_of_line = crate::invite::book::key_of(&line.secret);
    let accepts = |welcome: Welcome| {
        let proof = answer_proof(&key_of_line, &joiner.exporter, &asked.proof, &welcome);
        let answer = Answer { version: 0, outcome: Ok(Welcome { proof, ..welcome }) };
        accept(&line, &asked, &joiner.exporter, &codec::encode(&answer))
    };
    accepts(good.clone()).expect("good");
    let foreign = Welcome { genesis: other.folder.genesis_bytes().to_vec(), ..good.clone() };
    assert!(matches!(accepts(foreign), Err(JoinError::OtherNetwork { .. })));
    let line2 = member.invites(2, Some("Press 7"));
    let for_another = member.lets_in(&line2, 8, None, NOW_S).expect("let in").enrolment;
    assert!(matches!(
        accepts(Welcome { enrolment: for_another, ..good.clone() }),
        Err(JoinError::Credential(credential::CredentialError::OtherKey { .. }))
    ));
    let mut renamed: Enrol = codec::decode(&good.enrolment).expect("an enrolment");
    renamed.name = "Press 8".into();
    assert!(matches!(
        accepts(Welcome { enrolment: codec::encode(&renamed), ..good.clone() }),
        Err(JoinError::Credential(credential::CredentialError::Signature))
    ));
    let line3 = member.invites(3, Some("Press 8"));
    let misnamed = member.lets_in(&line3, 7, None, NOW_S);
    // The same key under another invitation: let in as what that one says.
    let misnamed = misnamed.expect("let in").enrolment;
    assert!(matches!(
        accepts(Welcome { enrolment: misnamed, ..good.clone() }),
        Err(JoinError::OtherName { .. })
    ));
    let noisy = Welcome { addresses: vec!["\u{1b}]0;x\u{7}:1".into()], ..good };
    assert!(matches!(accepts(noisy), Err(JoinError::Codec(_))));
}

#[test]
fn of_two_who_race_with_one_line_exactly_one_wins() {
    for round in 1..=20 {
        let member = Arc::new(Member::new());
        let line = member.invites(round, None);
        // Two desks on one folder: not even that lets both in.
        let desks = [(); 2].map(|()| Desk::open(&member.folder, None).expect("a desk"));
        let barrier = Barrier::new(2);
        let won = std::thread::scope(|scope| {
            let racers: Vec<_> = (1_u8..)
                .zip(&desks)
                .map(|(seed, desk)| {
                    let (line, barrier) = (&line, &barrier);
                    scope.spawn(move || {
                        let guest = guest(key(seed).1, seed);
                        let asked = redeem(line, guest.key.clone(), None, &guest.exporter);
                        barrier.wait();
                        let answer = desk.redeem(&codec::encode(&asked), &guest, &[], NOW_S);
                        accept(line, &asked, &guest.exporter, &codec::encode(&answer))
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().expect("no panic")).collect::<Vec<_>>()
        });
        let winners = won.iter().filter(|one| one.is_ok()).count();
        assert_eq!(winners, 1, "round {round}: {won:?}");
        let loser = won.into_iter().find(Result::is_err).expect("the other");
        assert!(matches!(loser, Err(JoinError::Refused(Refusal::Redeemed(_)))));
        assert_eq!(member.folder.all_admitted(|_| false).expect("listed").len(), 1);
    }
}

#[test]
fn a_crash_between_redeemed_and_admitted_is_made_good_by_asking_again() {
    let member = Member::new();
    let line = member.invites(1, None);
    let joined = member.lets_in(&line, 7, None, NOW_S).expect("let in");
    fs::remove_dir_all(member.folder.admitted_path()).expect("as if it had not been written");
    assert_eq!(refusal(member.lets_in(&line, 8, None, NOW_S)), Refusal::Redeemed(NOW_S));
    assert_eq!(member.folder.all_admitted(|_| false).expect("listed"), []);
    assert_eq!(member.lets_in(&line, 7, None, NOW_S + 60).expect("again"), joined);
    assert_eq!(member.folder.all_admitted(|_| false).expect("listed").len(), 1);
}

#[test]
fn a_damaged_or_open_invitation_lets_nobody_in_and_is_named_in_the_log_only() {
    let member = Member::new();
    let file = |member: &Member, ending: &str| {
        let entries = fs::read_dir(member.folder.invitations_path()).expect("a folder");
        let mut paths = entries.map(|e| e.expect("readable").path());
        paths.find(|p| p.extension().is_some_and(|e| e == ending)).expect("a file")
    };
    let line = member.invites(1, None);
    let path = file(&member, "invitation");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(member.folder.invitations_path()).expect("there").permissions().mode() & 0o777,
        0o700
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    assert_eq!(refusal(member.lets_in(&line, 7, None, NOW_S)), Refusal::Failed);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
    member.lets_in(&line, 7, None, NOW_S).expect("let in");
    let bytes = fs::read(&path).expect("readable");
    let secret = [1; SECRET_BYTES];
    assert!(!bytes.windows(secret.len()).any(|w| w == secret), "the secret itself is not kept");
    // Who redeemed it cannot be read any more: nobody else may, and it is not written anew.
    fs::write(file(&member, "redeemed"), b"nonsense").expect("written");
    assert_eq!(refusal(member.lets_in(&line, 8, None, NOW_S)), Refusal::Failed);
    fs::write(&path, &bytes[..40]).expect("written");
    assert_eq!(refusal(member.lets_in(&line, 8, None, NOW_S)), Refusal::Failed);
}

#[test]
fn wrong_attempts_of_one_address_are_bounded_and_others_are_not_kept_waiting() {
    let member = Member::new();
    let line = member.invites(1, None);
    let wrong = Line { secret: Zeroizing::new([2; SECRET_BYTES]), ..line.clone() };
    let tries = |line: &Line, from: u8, now_s| {
        let guest = guest(key(7).1, from);
        let asked = redeem(line, guest.key.clone(), None, &guest.exporter);
        codec::decode::<Answer>(&member.answers(&asked, &guest, now_s)).expect("an answer").outcome.map(drop)
    };
    for _ in 0..10 {
        assert_eq!(tries(&wrong, 1, NOW_S), Err(Refusal::Unknown));
    }
    assert_eq!(tries(&line, 1, NOW_S + 15), Err(Refusal::Busy(45)));
    tries(&line, 2, NOW_S + 15).expect("from elsewhere");
    tries(&line, 1, NOW_S + 60).expect("a minute later");
    // Garbage counts, and a clock that goes back is no way around it nor a way to be shut out for long.
    let guest = guest(key(7).1, 3);
    for _ in 0..10 {
        assert_eq!(member.desk.redeem(b"garbage", &guest, &[], NOW_S).outcome, Err(Refusal::Malformed));
    }
    assert_eq!(tries(&line, 3, NOW_S - 10), Err(Refusal::Busy(70)));
    // More addresses than are counted: the oldest counts go, memory does not grow, nobody panics.
    for n in 0..2_000_u32 {
        let source = std::net::Ipv6Addr::from_bits(u128::from(n) << 64).into();
        let flood = Guest { source, ..guest.clone() };
        assert_eq!(member.desk.redeem(b"garbage", &flood, &[], NOW_S).outcome, Err(Refusal::Malformed));
    }
}

#[test]
fn strangers_may_come_while_an_invitation_is_open_and_a_little_longer() {
    let member = Member::new();
    let guests = |now_s| member.desk.look(now_s).expect("a look").guests;
    assert!(!guests(NOW_S));
    let first = member.invites(1, None);
    assert!(guests(NOW_S) && guests(NOW_S + 3_600) && guests(NOW_S + 3_600 + 600));
    assert!(!guests(NOW_S + 3_600 + 601));
    member.lets_in(&first, 7, None, NOW_S + 10).expect("let in");
    let look = member.desk.look(NOW_S + 20).expect("a look");
    assert!(look.guests, "whoever comes second hears why");
    assert_eq!(look.admitted.len(), 1);
    assert_eq!(member.desk.look(NOW_S + 20).expect("a look").admitted, [], "told once");
    assert!(!guests(NOW_S + 10 + 601));
    // One more, made by another process meanwhile.
    member.invites(2, None);
    assert!(guests(NOW_S + 700));
    fs::remove_dir_all(member.folder.invitations_path()).expect("removed");
    assert!(!guests(NOW_S + 700));
}

#[test]
fn a_gateway_that_may_let_nobody_in_says_so_and_keeps_its_door_shut() {
    let member = Member::new();
    let line = member.invites(1, None);
    let mut genesis = selvedge_core::genesis::Genesis::clone(&member.folder.genesis());
    genesis.members[0].roles = vec!["gateway".into()];
    fs::write(member.folder.path().join("genesis.bin"), genesis.to_bytes()).expect("written");
    fs::remove_file(member.folder.path().join("keys/organisation.key")).expect("removed");
    let folder = Folder::open(member.folder.path()).expect("a folder");
    let desk = Desk::open(&folder, None).expect("a desk all the same");
    assert!(!desk.look(NOW_S).expect("a look").guests);
    let line = Line { network: folder.network().id(), ..line };
    let shut = Member { above: tempfile::tempdir().expect("a folder"), folder, desk };
    assert_eq!(
        refusal(shut.lets_in(&line, 7, None, NOW_S)),
        Refusal::Unknown,
        "it was for the other network"
    );
    let own = shut.invites(3, None);
    assert_eq!(refusal(shut.lets_in(&own, 7, None, NOW_S)), Refusal::Failed);
    assert_eq!(shut.folder.all_admitted(|_| false).expect("listed"), []);
}

#[test]
fn ended_invitations_are_removed_after_a_month_and_too_many_are_refused() {
    let member = Member::new();
    member.invites(1, None);
    let count = || fs::read_dir(member.folder.invitations_path()).expect("a folder").count();
    let secret = [2; SECRET_BYTES];
    let month_s = 30 * 24 * 3_600;
    let later = |secret: &[u8; SECRET_BYTES], made_s| {
        Invitation::new(member.folder.network().id(), secret, None, made_s, made_s + 60).keep(&member.folder)
    };
    later(&secret, NOW_S + 3_600 + month_s).expect("kept");
    assert_eq!(count(), 2, "a month to the second");
    later(&[3; SECRET_BYTES], NOW_S + 3_601 + month_s).expect("kept");
    assert_eq!(count(), 2, "the first is gone");
    for n in 0_u32..INVITATIONS_MAX as u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&n.to_le_bytes());
        let name = format!("{}.invitation", selvedge_core::hash::hex(&id));
        fs::write(member.folder.invitations_path().join(name), b"").expect("written");
    }
    let error = later(&[4; SECRET_BYTES], NOW_S).expect_err("too many").to_string();
    assert!(error.contains("1002 invitations") && error.contains("fewer than 1000"), "{error}");
}
