//! Both ends over byte streams, and bytes that no honest end sends.

use std::io;
use std::sync::Arc;

use selvedge_core::random::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex, split};

use super::*;
use crate::folder::testing::{cases, mutated};
use crate::invite::exchange::{ANSWER_BYTES_MAX, EXPORTER_BYTES, REDEEM_BYTES_MAX};
use crate::invite::stream::{join, serve};

const EXPORTER: [u8; EXPORTER_BYTES] = [9; EXPORTER_BYTES];

fn at_the_desk(
    desk: &Arc<Desk>,
    at: DuplexStream,
    exporter: [u8; EXPORTER_BYTES],
) -> tokio::task::JoinHandle<io::Result<Answer>> {
    let desk = Arc::clone(desk);
    tokio::spawn(async move {
        let (mut read, mut write) = split(at);
        let guest = Guest { exporter, ..guest(key(7).1, 1) };
        serve(&mut read, &mut write, desk, guest, vec!["192.0.2.7:7440".into()], NOW_S).await
    })
}

async fn joins(line: &Line, at: DuplexStream) -> Result<Joined, JoinError> {
    let (mut read, mut write) = split(at);
    join(&mut read, &mut write, &EXPORTER, line, key(7).1, Some("Press 7".into())).await
}

fn shared() -> (Arc<Desk>, Line, TempDir) {
    let member = Member::new();
    let line = member.invites(1, None);
    (Arc::new(member.desk), line, member.above)
}

#[tokio::test]
async fn over_a_stream_with_small_buffers_it_works_and_over_a_broken_one_it_works_again() {
    let (desk, line, _above) = shared();
    // The connection breaks before the answer is taken.
    let (here, mut there) = duplex(64);
    let serving = at_the_desk(&desk, here, EXPORTER);
    let asked = codec::encode(&redeem(&line, key(7).1, Some("Press 7".into()), &EXPORTER));
    there.write_all(&(asked.len() as u32).to_le_bytes()).await.expect("taken");
    there.write_all(&asked).await.expect("taken");
    there.read_u8().await.expect("the answer begins");
    drop(there);
    serving.await.expect("no panic").expect_err("it broke");

    // And on the joiner's side: nothing comes at all.
    let (here, there) = duplex(8_192);
    drop(here);
    let error = joins(&line, there).await.expect_err("it broke").to_string();
    assert!(error.contains("sent"), "{error}");
    let (mut here, there) = duplex(8_192);
    let broken = tokio::spawn(async move {
        let length = here.read_u32_le().await.expect("a length");
        here.read_exact(&mut vec![0; length as usize]).await.expect("a message");
    });
    let error = joins(&line, there).await.expect_err("it broke").to_string();
    assert!(error.contains("try the same command again"), "{error}");
    broken.await.expect("no panic");

    for _ in 0..2 {
        let (here, there) = duplex(64);
        let serving = at_the_desk(&desk, here, EXPORTER);
        assert_eq!(joins(&line, there).await.expect("let in").name, "Press 7");
        assert!(serving.await.expect("no panic").expect("served").outcome.is_ok());
    }
}

#[tokio::test]
async fn with_another_exporter_on_the_other_side_nobody_gets_in() {
    let (desk, line, _above) = shared();
    let (here, there) = duplex(64);
    let serving = at_the_desk(&desk, here, [10; EXPORTER_BYTES]);
    assert_eq!(refusal(joins(&line, there).await), Refusal::Proof);
    serving.await.expect("no panic").expect("served");
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_anything_is_allocated() {
    let (desk, line, _above) = shared();
    for length in [REDEEM_BYTES_MAX as u32 + 1, u32::MAX] {
        let (here, mut there) = duplex(64);
        let serving = at_the_desk(&desk, here, EXPORTER);
        there.write_all(&length.to_le_bytes()).await.expect("taken");
        let mut answer = vec![0; there.read_u32_le().await.expect("an answer") as usize];
        there.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(refused(&answer), Refusal::Malformed);
        serving.await.expect("no panic").expect("served");
    }
    let (mut here, there) = duplex(8_192);
    let liar = tokio::spawn(async move {
        here.write_all(&(ANSWER_BYTES_MAX as u32 + 1).to_le_bytes()).await.expect("taken");
        here.read_to_end(&mut Vec::new()).await.expect("to its end");
    });
    let error = joins(&line, there).await.expect_err("too long").to_string();
    assert!(error.contains("expected at most"), "{error}");
    liar.await.expect("no panic");
}

#[tokio::test(start_paused = true)]
async fn a_slow_guest_and_a_member_that_never_answers_are_not_waited_for() {
    let (desk, line, _above) = shared();
    let (here, there) = duplex(64);
    let started = tokio::time::Instant::now();
    let error = at_the_desk(&desk, here, EXPORTER).await.expect("no panic").expect_err("too slow");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed(), crate::invite::stream::GUEST_WITHIN);
    drop(there);
    let (_here, there) = duplex(8_192);
    let started = tokio::time::Instant::now();
    assert!(matches!(joins(&line, there).await, Err(JoinError::TooSlow(_))));
    assert_eq!(started.elapsed(), crate::invite::stream::ANSWER_WITHIN);
}

#[test]
fn no_bytes_make_either_decoder_panic_and_none_get_by() {
    println!("seed 0xC4, {} cases", cases());
    let member = Member::new();
    let line = member.invites(1, None);
    let joiner = guest(key(7).1, 1);
    let asked = redeem(&line, key(7).1, Some("Press 7".into()), &joiner.exporter);
    let (message, answer) = (codec::encode(&asked), member.answers(&asked, &joiner, NOW_S));
    let mut random = Random::new(&[0xC4; 32]);
    let (mut messages, mut answers) = (0, 0);
    for case in 0..cases() {
        let changed = mutated(&message, &mut random);
        if let Ok(read) = codec::decode::<Redeem>(&changed) {
            messages += 1;
            assert_eq!(codec::encode(&read), changed);
            // From ever other places, a minute apart: it is the proof that refuses, not the rate.
            let from = Guest { source: Ipv4Addr::from_bits(case).into(), ..joiner.clone() };
            let outcome = member.desk.redeem(&changed, &from, &[], NOW_S).outcome;
            assert!(changed == message || outcome.is_err(), "{outcome:?}");
        }
        let changed = mutated(&answer, &mut random);
        if let Ok(read) = codec::decode::<Answer>(&changed) {
            answers += 1;
            assert_eq!(codec::encode(&read), changed);
        }
        assert!(changed == answer || accept(&line, &asked, &joiner.exporter, &changed).is_err());
    }
    assert!(messages > 0 && answers > 0, "{messages} {answers}");
}
