//! What can be read of a table, against tables of all shapes; and units with bad manners, which no server of other make
//! has, on a socket.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::super::plan::Span;
use super::super::sunspec::{END, MARK};
use super::super::{REGISTERS_MAX, Table};
use super::ranges::{QUESTIONS_MAX, Said, find};
use super::{Answering, Readable, Request, Scanned, scan};
use crate::backoff::SplitMix;

/// A table that has these addresses, and takes requests of at most so many. Returns what was found, and the questions.
async fn found(has: &[std::ops::RangeInclusive<u32>], at_most: u16) -> (Vec<Readable>, u32) {
    let mut questions = 0;
    let read = async |span: Span| {
        questions += 1;
        let (first, last) = (u32::from(span.start), u32::from(span.start) + u32::from(span.count) - 1);
        assert!(span.count > 0 && last <= 0xFFFF, "{span:?} is no request");
        let is_there = has.iter().any(|range| range.contains(&first) && range.contains(&last));
        Ok::<_, Infallible>(if is_there && span.count <= at_most { Said::Yes } else { Said::No })
    };
    let Ok(found) = find(Table::Holding, read).await;
    (found, questions)
}

fn places(found: &[Readable]) -> Vec<(u16, u16)> {
    found.iter().map(|range| (range.span.first, range.span.last)).collect()
}

#[tokio::test]
async fn ranges_are_found_to_the_register() {
    assert_eq!(places(&found(&[10..=209, 995..=1_000], 125).await.0), [(10, 209), (995, 1_000)]);
    assert_eq!(places(&found(&[0..=0], 125).await.0), [(0, 0)]);
    assert_eq!(places(&found(&[65_000..=65_535], 125).await.0), [], "no address near it is tried");
    assert_eq!(places(&found(&[59_990..=60_100], 125).await.0), [(59_990, 60_100)]);
    assert_eq!(found(&[], 125).await, (vec![], 20));
    // A device of which all is readable: it is told how far was looked.
    let (all, questions) = found(&[0..=65_535], 125).await;
    assert!(all[0].may_go_on, "{all:?}");
    assert!(questions <= QUESTIONS_MAX);
    // A device that takes short requests only.
    let (short, _) = found(&[0..=99], 10).await;
    assert_eq!((places(&short), short[0].at_most), (vec![(0, 99)], Some(10)));
}

#[tokio::test]
async fn what_is_found_is_there_and_the_questions_are_bounded() {
    const SEED: u64 = 63;
    println!("seed: {SEED}");
    let mut random = SplitMix(SEED);
    let (mut ranges, mut most) = (0, 0);
    for case in 0..2_000 {
        let mut has: Vec<std::ops::RangeInclusive<u32>> = Vec::new();
        let mut at = 0;
        while has.len() < 6 && at < 0xFFFF {
            let first = at + (random.next() % [3, 200, 9_000][random.next() as usize % 3]) as u32;
            let last = first + (random.next() % [2, 40, 700][random.next() as usize % 3]) as u32;
            if last > 0xFFFF {
                break;
            }
            has.push(first..=last);
            at = last + 2;
        }
        let at_most = [REGISTERS_MAX, REGISTERS_MAX, 50, 1][random.next() as usize % 4];
        let (found, questions) = found(&has, at_most).await;
        assert!(questions <= QUESTIONS_MAX, "case {case}");
        for range in &found {
            let span = range.span;
            let whole = has.iter().find(|known| known.contains(&u32::from(span.first)));
            let whole = whole.unwrap_or_else(|| panic!("case {case}: {span:?} of {has:?}"));
            assert!(whole.contains(&u32::from(span.last)), "case {case}: {span:?} goes beyond {whole:?}");
            let is_end = *whole.end() == u32::from(span.last);
            assert!(is_end || range.may_go_on, "case {case}: {range:?} of {whole:?} at {at_most}");
        }
        assert!(
            found.windows(2).all(|pair| pair[0].span.last < pair[1].span.first),
            "case {case}: {found:?}"
        );
        ranges += found.len();
        most = most.max(questions);
    }
    println!("{ranges} ranges, at most {most} questions");
}

/// What a unit does with a question.
enum Does {
    Answers(Vec<u16>),
    Refuses(u8),
    Nothing,
    /// It closes the connection, and takes no other any more.
    Leaves,
}

/// Asks `units` of a server that does this with each question: unit, function, first address, count.
async fn scan_of(units: &[u8], timeout: Duration, does: impl Fn(u8, u8, u16, u16) -> Does) -> Scanned {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("the loopback interface");
    let address = listener.local_addr().expect("bound").to_string();
    let request = Request { address, units: units.to_vec(), timeout };
    let serve = async {
        let mut listener = Some(listener);
        while let Some(listening) = &listener {
            let (stream, _) = listening.accept().await.expect("a connection");
            if serve(stream, &does).await {
                listener = None;
            }
        }
        std::future::pending::<Scanned>().await
    };
    tokio::select! {
        scanned = scan(&request, |line| println!("{line}")) => scanned.expect("it listens"),
        never = serve => never,
    }
}

/// Serves one connection. Has the server left?
async fn serve(mut stream: TcpStream, does: &impl Fn(u8, u8, u16, u16) -> Does) -> bool {
    let mut head = [0; 8];
    while stream.read_exact(&mut head).await.is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])) - 2];
        if stream.read_exact(&mut body).await.is_err() {
            break;
        }
        let (unit, function) = (head[6], head[7]);
        let word = |at: usize| body.get(at..at + 2).map_or(0, |pair| u16::from_be_bytes([pair[0], pair[1]]));
        let mut answer = match does(unit, function, word(0), word(2)) {
            Does::Answers(words) => {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
                [&[unit, function, bytes.len() as u8][..], &bytes[..]].concat()
            }
            Does::Refuses(code) => vec![unit, function | 0x80, code],
            Does::Nothing => continue,
            Does::Leaves => return true,
        };
        let length = (answer.len() as u16).to_be_bytes();
        answer.splice(0..0, [head[0], head[1], 0, 0, length[0], length[1]]);
        if stream.write_all(&answer).await.is_err() {
            break;
        }
    }
    false
}

/// What lies in a row of registers, or exception 2.
fn lookup(first: u16, registers: &[u16], start: u16, count: u16) -> Does {
    let from = start.checked_sub(first).map(usize::from);
    let there = from.and_then(|from| registers.get(from..from + usize::from(count)));
    there.map_or(Does::Refuses(2), |words| Does::Answers(words.to_vec()))
}

const LONG: Duration = Duration::from_mins(1);

/// A chain with the one model 305 (36 registers), none of which is zero.
fn small_chain() -> Vec<u16> {
    [&MARK[..], &[305, 36], &[7; 36], &[END, 0]].concat()
}

/// Some devices do not refuse an address that they do not have: they say nothing. Such a unit is there all the same.
#[tokio::test]
async fn a_unit_that_is_silent_where_it_has_nothing_is_found() {
    let timeout = Duration::from_secs(1);
    let scanned = scan_of(&[1], timeout, |_, function, start, count| {
        match lookup(0, &[1, 2, 3], start, if function == 3 { count } else { 9 }) {
            Does::Refuses(_) => Does::Nothing,
            other => other,
        }
    })
    .await;
    assert_eq!(scanned.units[0].answer, Answering::Yes);
    let readable = &scanned.units[0].readable;
    assert_eq!(places(readable), [(0, 0)]);
    assert!(readable[0].may_go_on, "the scan does not wait for register after register: {readable:?}");
}

#[tokio::test]
async fn a_busy_unit_is_asked_again() {
    let chain = small_chain();
    let asked = Rc::new(Cell::new(0_u32));
    let count_of = Rc::clone(&asked);
    let scanned = scan_of(&[1], LONG, move |_, function, start, count| {
        count_of.set(count_of.get() + 1);
        let is_busy = count_of.get() % 3 == 2;
        if function != 3 {
            Does::Refuses(1)
        } else if is_busy {
            Does::Refuses(6)
        } else {
            lookup(40_000, &chain, start, count)
        }
    })
    .await;
    let sunspec = scanned.units[0].sunspec.as_ref().expect("SunSpec");
    assert_eq!((sunspec.broken.as_ref(), sunspec.models.len()), (None, 1));
    assert_eq!(sunspec.models[0].notes, Vec::<String>::new());
}

/// Some devices refuse to be read beyond the id that ends the chain.
#[tokio::test]
async fn an_end_mark_without_a_length_is_an_end() {
    let mut chain = small_chain();
    chain.pop();
    let scanned = scan_of(&[1], LONG, |_, function, start, count| match function {
        3 => lookup(0, &chain, start, count),
        _ => Does::Refuses(1),
    })
    .await;
    let sunspec = scanned.units[0].sunspec.as_ref().expect("SunSpec");
    assert_eq!((sunspec.base, sunspec.broken.as_ref(), sunspec.models.len()), (0, None, 1));
}

#[tokio::test]
async fn what_was_found_before_the_device_went_away_is_kept() {
    let chain = small_chain();
    let scanned = scan_of(&[1, 2, 3], LONG, |unit, function, start, count| match (unit, function) {
        (2, _) => Does::Leaves,
        (_, 3) => lookup(40_000, &chain, start, count),
        _ => Does::Refuses(1),
    })
    .await;
    assert_eq!(scanned.units.iter().map(|unit| unit.unit_id).collect::<Vec<_>>(), [1]);
    let why = scanned.cut_short.expect("it was cut short");
    assert!(why.starts_with("at unit 2: ") && why.contains("refused"), "{why}");
}

/// A unit that begins the list of its identification again and again.
#[tokio::test]
async fn an_identification_without_end_is_ended() {
    let asked = Rc::new(Cell::new(0_u32));
    let count_of = Rc::clone(&asked);
    let scanned = scan_of(&[1], LONG, move |_, function, _, _| {
        if function != 43 {
            return Does::Refuses(1);
        }
        count_of.set(count_of.get() + 1);
        // Function 43/14: regular, conformity 0x82, more follows, from object 0 on, one object. The count of bytes before
        // it, which answers to readings have, would be the kind of the interface, 14.
        Does::Answers(vec![0x0282, 0xFF00, 0x0100, 0x0741, 0x636D, 0x6521, 0x2020])
    })
    .await;
    assert_eq!(scanned.units[0].answer, Answering::Yes, "an exception is an answer");
    assert_eq!(scanned.units[0].readable, []);
    assert!(asked.get() <= 8, "{} questions", asked.get());
    let told: Vec<String> =
        scanned.units[0].identification.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(told, ["VendorName: Acme!"]);
}
