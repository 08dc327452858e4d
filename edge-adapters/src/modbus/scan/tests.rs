//! What can be read of a table, against tables of all shapes.

use std::convert::Infallible;

use super::super::plan::Span;
use super::super::{REGISTERS_MAX, Table};
use super::Readable;
use super::ranges::{QUESTIONS_MAX, Said, find};
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
