//! Whoever was invited.

use super::super::{join, limits};
use super::*;

#[tokio::test]
async fn a_guest_comes_in_while_an_invitation_is_open_and_both_sides_share_what_nobody_else_has() {
    let (guests, mut waiting) = mpsc::channel(limits::GUESTS_WAITING_MAX);
    let one = Start { guests: Some(guests), ..Start::new(1, &[2]) }.run();
    let to = one.at().to_string();
    let why =
        within("a refusal", join::dial(&to, &key(3))).await.expect_err("no invitation is open").to_string();
    assert!(why.contains("the other side does not know this gateway as a member"), "{why}");
    one.members.set_guests_open(true);
    let mut exporters = Vec::new();
    for _ in 0..2 {
        let mut guest = within("a member", join::dial(&to, &key(3))).await.expect("it is let in");
        guest.send.write_all(b"a line of text").await.expect("written");
        let mut host = within("a guest", waiting.recv()).await.expect("one");
        assert_eq!((host.key.issuer(), guest.key.issuer()), (issuer(3), issuer(1)));
        assert_eq!(host.exporter, guest.exporter);
        let mut line = [0; 14];
        host.recv.read_exact(&mut line).await.expect("read");
        assert_eq!(&line, b"a line of text");
        host.send.write_all(b"welcome").await.expect("written");
        let answer = tokio::spawn(async move { guest.recv.read_to_end(7).await.map(|bytes| (bytes, guest)) });
        exporters.push(host.exporter);
        within("the end", host.close("done")).await;
        let (answer, guest) = within("the answer", answer).await.expect("no panic").expect("all of it");
        assert_eq!(answer, b"welcome");
        until("the reason", || guest.ended().is_some()).await;
        assert_eq!(guest.ended().as_deref(), Some("closed by the other side: done"));
    }
    assert_ne!(exporters[0], exporters[1], "each connection has its own");
}

#[tokio::test]
async fn a_guest_gets_no_link_and_nobody_waits_for_ever() {
    let (guests, waiting) = mpsc::channel(1);
    let one = Start { guests: Some(guests), ..Start::new(1, &[]) }.run();
    one.members.set_guests_open(true);
    let raw = raw::connect(3, one.at()).await.expect("TLS lets it in");
    let why = raw.end().await;
    assert_eq!(
        why,
        "closed by the other side: not a member of this network; joining has a protocol of its own"
    );
    // One waits to be answered; there is no place for a second.
    let to = one.at().to_string();
    let first = within("a member", join::dial(&to, &key(3))).await.expect("it is let in");
    let why = within("an answer", join::dial(&to, &key(4))).await.expect_err("no place").to_string();
    assert!(why.contains("several guests wait"), "{why}");
    drop((first, waiting));
    let nobody = Start::new(2, &[]).run();
    nobody.members.set_guests_open(true);
    let why =
        within("an answer", join::dial(&nobody.at().to_string(), &key(3))).await.expect_err("nobody joins");
    assert!(why.to_string().contains("nobody joins here at present"), "{why}");
    let why =
        within("an answer", join::dial("no such host.invalid:1", &key(3))).await.expect_err("no address");
    assert!(why.to_string().contains("cannot find the address"), "{why}");
}
