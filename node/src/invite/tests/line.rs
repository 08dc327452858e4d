//! The line as text.

use selvedge_core::NetworkId;
use selvedge_core::random::Random;
use zeroize::Zeroizing;

use crate::folder::testing::{cases, mutated};
use crate::invite::line::LINE_CHARS_MAX;
use crate::invite::{Line, LineError, SECRET_BYTES};

fn line(address: &str) -> Line {
    Line {
        network: NetworkId([0x5A; 32]),
        address: address.parse().expect("an address"),
        secret: Zeroizing::new([0xC3; SECRET_BYTES]),
        expires_s: 1_800_000_000,
    }
}

const ADDRESSES: [&str; 4] =
    ["192.0.2.7:7440", "[2001:db8::7]:7440", "a:1", "gateway-7.plant.example.ch:65535"];

#[test]
fn lines_come_back_and_are_short() {
    for address in ADDRESSES {
        let line = line(address);
        let text = line.to_text().expect("a line");
        assert!(text.starts_with("svinvite1") && text.len() <= LINE_CHARS_MAX, "{}", text.as_str());
        assert_eq!(Line::parse(&text), Ok(line.clone()));
        assert_eq!(Line::parse(&format!(" {}\r\n  {}\n", &text[..70], &text[70..])), Ok(line.clone()));
        assert_eq!(Line::parse(&text.to_uppercase()), Ok(line));
    }
    let longest = line(&format!("{}:1", "a".repeat(29)));
    assert_eq!(longest.to_text().expect("it fits").len(), LINE_CHARS_MAX);
    let error = line(&format!("{}:1", "a".repeat(30))).to_text().expect_err("too long").to_string();
    assert!(error.contains("30 characters") && error.contains("--address"), "{error}");
}

#[test]
fn cut_short_mistyped_and_something_else_are_told_apart() {
    for address in ADDRESSES {
        let text = line(address).to_text().expect("a line");
        for end in 12..text.len() {
            let expected = LineError::CutShort { got: end, expected: text.len() };
            assert_eq!(Line::parse(&text[..end]), Err(expected), "{}", &text[..end]);
        }
        for end in 1..12 {
            assert!(Line::parse(&text[..end]).is_err());
        }
        let long = format!("{}qqq", text.as_str());
        assert_eq!(Line::parse(&long), Err(LineError::TooLong { got: text.len() + 3, expected: text.len() }));
        let mut wrong = text.as_bytes().to_vec();
        wrong[60] = if wrong[60] == b'q' { b'p' } else { b'q' };
        let error =
            Line::parse(std::str::from_utf8(&wrong).expect("ASCII")).expect_err("mistyped").to_string();
        assert!(error.contains("mistyped") && error.contains("look at character 61"), "{error}");
    }
    let id = selvedge_crypto::ids::to_text(&NetworkId([1; 32]));
    for (text, words) in [
        ("", "there is no text"),
        ("hello", "it begins with \"hello\""),
        (id.as_str(), "this is a network id"),
        ("svinvite1", "cut short"),
        ("svinvite1b", "'b'"),
    ] {
        let error = Line::parse(text).expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn a_line_of_another_version_or_with_a_host_that_is_none_is_refused() {
    let text = line("abc:1").to_text().expect("a line");
    let good = selvedge_crypto::line::decode("svinvite", &text).expect("bytes");
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Line::parse(&selvedge_crypto::line::encode("svinvite", &bytes))
    };
    assert!(with(&|_| {}).is_ok());
    assert_eq!(with(&|b| b[0] |= 1 << 5), Err(LineError::Version { got: 1 }));
    for change in [
        |b: &mut Vec<u8>| b[0] += 1,
        |b: &mut Vec<u8>| b.truncate(30),
        |b: &mut Vec<u8>| b.push(b'x'),
        |b: &mut Vec<u8>| b[53..55].fill(0),
        |b: &mut Vec<u8>| b[55] = b'A',
        |b: &mut Vec<u8>| b[55] = 0xFF,
        |b: &mut Vec<u8>| b[55] = b'\n',
        |b: &mut Vec<u8>| b[55..58].copy_from_slice(b"127"),
        // IPv4 by its text and by its bytes would be two lines for one address.
        |b: &mut Vec<u8>| {
            b[0] = 7;
            b.truncate(55);
            b.extend(b"1.2.3.4");
        },
        |b: &mut Vec<u8>| {
            b[0] = 0;
            b.truncate(55);
            b.extend([0; 4]);
        },
    ] {
        assert!(matches!(with(&change), Err(LineError::Content(_))), "{:?}", with(&change));
    }
}

#[test]
fn the_secret_is_not_shown() {
    let shown = format!("{:?}", line("a:1")).to_lowercase();
    assert!(!shown.contains("c3") && !shown.contains("195"), "{shown}");
}

#[test]
fn no_text_makes_the_parser_panic_and_every_line_has_one_text() {
    println!("seed 0xC3, {} cases", cases());
    let mut random = Random::new(&[0xC3; 32]);
    let texts = ADDRESSES.map(|address| line(address).to_text().expect("a line"));
    let (mut parsed, mut whole) = (0, 0);
    for case in 0..cases() {
        let good = &texts[case as usize % texts.len()];
        let text = String::from_utf8_lossy(&mutated(good.as_bytes(), &mut random)).into_owned();
        if Line::parse(&text).is_ok() {
            parsed += 1;
            // Changes that undo each other, and white space.
            assert_eq!(**good, selvedge_crypto::line::joined(&text).to_lowercase());
        }
        // Behind the checksum too.
        let bytes = selvedge_crypto::line::decode("svinvite", good).expect("bytes");
        let bytes = mutated(&bytes, &mut random);
        let text = selvedge_crypto::line::encode("svinvite", &bytes[..bytes.len().min(400)]);
        if let Ok(line) = Line::parse(&text) {
            whole += 1;
            assert_eq!(*line.to_text().expect("a line"), text);
        }
    }
    assert!(parsed > 0 && whole > 0, "{parsed} {whole}");
}
