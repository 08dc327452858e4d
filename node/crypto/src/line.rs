//! Bytes of some length as one line of text that people paste: bech32m (BIP-350) with a prefix of its own, as in
//! [`ids`](crate::ids), so that a mistyped character is noticed and its place named.
//!
//! The code was made for up to 90 characters; up to 1,023 it still notices every single wrong character for certain
//! and can tell which it is, and takes any other damage for right once in 2³⁰.

use bech32::primitives::decode::{CharError, UncheckedHrpstring, UncheckedHrpstringError};
use bech32::{Bech32m, Fe32, Hrp};
use thiserror::Error;

use crate::ids::{Kind, one_wrong_character};

/// Longest line, in characters: where the code ends.
pub const LINE_CHARS_MAX: usize = 1_023;

/// Why a text is not the line that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// Nothing at all.
    #[error("there is no text")]
    Empty,
    /// A good beginning of something else.
    #[error("this is {}", .0.words())]
    OtherKind(Kind),
    /// It does not begin as it should.
    #[error("it begins with \"{got}\", expected {prefix}1…")]
    Prefix {
        /// How it should begin.
        prefix: &'static str,
        /// How it begins.
        got: String,
    },
    /// A character that no line holds.
    #[error("character {at} is {got:?}, which no such line holds")]
    Character {
        /// The character.
        got: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// Upper and lower case.
    #[error("upper and lower case are mixed; expected all in one of them")]
    MixedCase,
    /// Too long to be one.
    #[error("{got} characters, expected at most {LINE_CHARS_MAX}")]
    TooLong {
        /// How many there are.
        got: usize,
    },
    /// The checksum does not fit.
    #[error("the checksum does not fit{}", place(*at))]
    Mistyped {
        /// Which character it is if only one is wrong, counted from 1.
        at: Option<usize>,
    },
}

fn place(at: Option<usize>) -> String {
    at.map_or_else(
        || ", several characters are wrong or missing".into(),
        |at| format!(", look at character {at}"),
    )
}

/// The line of these bytes, in lower case.
///
/// # Panics
/// When the prefix is none, or the line would be longer than [`LINE_CHARS_MAX`]: both are constants of the caller.
pub fn encode(prefix: &'static str, bytes: &[u8]) -> String {
    let prefix = Hrp::parse(prefix).expect("a prefix is a constant of letters");
    bech32::encode_lower::<Bech32m>(prefix, bytes).expect("what is made into a line is short")
}

/// Length in characters of the line of `bytes` bytes.
pub const fn chars(prefix: &'static str, bytes: usize) -> usize {
    prefix.len() + 1 + (bytes * 8).div_ceil(5) + 6
}

/// The text without any white space: a line that a mail broke in two is still one line.
pub fn joined(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The bytes of a line. White space is ignored, wherever it stands.
///
/// # Errors
/// Says what the text is instead, or which character is wrong (white space not counted).
pub fn decode(prefix: &'static str, text: &str) -> Result<Vec<u8>, LineError> {
    let text = joined(text.get(..4 * LINE_CHARS_MAX).unwrap_or(text));
    let text_chars = text.chars().count();
    if text_chars == 0 {
        return Err(LineError::Empty);
    }
    if text_chars > LINE_CHARS_MAX {
        return Err(LineError::TooLong { got: text_chars });
    }
    check_prefix(prefix, &text)?;
    let unchecked = UncheckedHrpstring::new(&text).map_err(|why| malformed(prefix, &text, &why))?;
    if !unchecked.hrp().to_lowercase().eq_ignore_ascii_case(prefix) {
        // The last 1 separates, so a 1 typed for an l makes a longer prefix.
        return Err(LineError::Character { got: '1', at: text.rfind('1').map_or(0, |at| at + 1) });
    }
    if !unchecked.has_valid_checksum::<Bech32m>() {
        return Err(LineError::Mistyped { at: one_wrong_character(&unchecked, text_chars) });
    }
    let bytes: Vec<u8> = unchecked.remove_checksum::<Bech32m>().byte_iter().collect();
    // Bits that are left over are zero, or it is a second text for the same bytes.
    if encode(prefix, &bytes).eq_ignore_ascii_case(&text) {
        Ok(bytes)
    } else {
        Err(LineError::Mistyped { at: None })
    }
}

/// The first byte of a line, whether or not its checksum fits: enough to guess how long it should have been.
pub fn first_byte(prefix: &'static str, text: &str) -> Option<u8> {
    let text = joined(text).to_ascii_lowercase();
    let mut data = text.strip_prefix(prefix)?.strip_prefix('1')?.chars();
    let mut five = || Fe32::from_char(data.next()?).ok().map(Fe32::to_u8);
    Some(five()? << 3 | five()? >> 2)
}

fn check_prefix(prefix: &'static str, text: &str) -> Result<(), LineError> {
    let begin = text.split('1').next().unwrap_or_default();
    // Cut short within the prefix, it is still one of these.
    if begin.eq_ignore_ascii_case(prefix) || (begin == text && begins(prefix, begin)) {
        return Ok(());
    }
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.prefix().eq_ignore_ascii_case(begin)) {
        return Err(LineError::OtherKind(kind));
    }
    let got: String = text.chars().filter(|c| !c.is_control()).take(12).collect();
    Err(LineError::Prefix { prefix, got: if text.chars().count() > 12 { got + "…" } else { got } })
}

fn begins(prefix: &str, begin: &str) -> bool {
    prefix.get(..begin.len()).is_some_and(|of_prefix| of_prefix.eq_ignore_ascii_case(begin))
}

fn malformed(prefix: &'static str, text: &str, why: &UncheckedHrpstringError) -> LineError {
    match why {
        UncheckedHrpstringError::Char(CharError::InvalidChar(got)) => {
            let after = prefix.len() + 1;
            let at = text.chars().skip(after).take_while(|c| c != got).count() + after + 1;
            LineError::Character { got: *got, at }
        }
        UncheckedHrpstringError::Char(CharError::MixedCase) => LineError::MixedCase,
        _ => LineError::Mistyped { at: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> Result<Vec<u8>, LineError> {
        decode("svinvite", text)
    }

    #[test]
    fn lines_come_back_in_both_cases_and_broken_by_white_space() {
        for length in 0..=120 {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8 ^ 0xA5).collect();
            let line = encode("svinvite", &bytes);
            assert_eq!(line.len(), chars("svinvite", length));
            assert_eq!(decoded(&line).as_deref(), Ok(&*bytes));
            assert_eq!(decoded(&line.to_uppercase()).as_deref(), Ok(&*bytes));
            let (first, second) = line.split_at(line.len() / 2);
            assert_eq!(decoded(&format!("  {first}\r\n {second}\t")).as_deref(), Ok(&*bytes));
            assert!(length == 0 || first_byte("svinvite", &line) == bytes.first().copied());
        }
    }

    #[test]
    fn each_single_wrong_character_is_found_and_named() {
        let line = encode("svinvite", &[7; 84]);
        assert_eq!(line.len(), 150);
        for at in 9..line.len() {
            for other in "qpzry9x8gf2tvdw0s3jn54khce6mua7l".chars() {
                let mut characters: Vec<char> = line.chars().collect();
                if characters[at] == other {
                    continue;
                }
                characters[at] = other;
                let wrong: String = characters.into_iter().collect();
                assert_eq!(decoded(&wrong), Err(LineError::Mistyped { at: Some(at + 1) }), "{wrong}");
            }
        }
    }

    #[test]
    fn what_is_none_is_said_in_words() {
        let line = encode("svinvite", &[7; 20]);
        let id = crate::ids::to_text(&selvedge_core::Issuer([1; 32]));
        assert_eq!(decoded(""), Err(LineError::Empty));
        assert_eq!(decoded(" \n"), Err(LineError::Empty));
        assert_eq!(decoded(&id), Err(LineError::OtherKind(Kind::Issuer)));
        assert!(matches!(decoded("hello"), Err(LineError::Prefix { .. })));
        assert!(decoded("svinv").is_err(), "cut short within the prefix");
        assert!(decoded("svinvite").is_err());
        assert!(decoded("svinvite1").is_err());
        assert_eq!(
            decoded(&line.replacen("svinvite1q", "svinvite1b", 1)),
            Err(LineError::Character { got: 'b', at: 10 })
        );
        let mixed = format!("{}Q", &line[..line.len() - 1]);
        assert_eq!(decoded(&mixed), Err(LineError::MixedCase));
        assert!(matches!(decoded(&"q".repeat(5_000)), Err(LineError::TooLong { .. })));
        for end in 1..line.len() {
            assert!(decoded(&line[..end]).is_err(), "cut at {end}");
        }
        assert!(decoded(&"ä".repeat(16)).is_err());
    }
}
