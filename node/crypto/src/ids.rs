//! Ids as people read, type and paste them: bech32m (BIP-350), so that a mistyped character is noticed.
//!
//! `svnet1…` is a network, `svid1…` an issuer, `svtx1…` a transaction. Upper case is taken as well (it makes
//! denser QR codes), a mix of both is not.

use bech32::primitives::checksum::Engine;
use bech32::primitives::decode::{CharError, UncheckedHrpstring, UncheckedHrpstringError};
use bech32::{Bech32m, Checksum as _, Fe32, Hrp};
use selvedge_core::{Id, Issuer, NetworkId};
use thiserror::Error;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `svnet`
    Network,
    /// `svid`
    Issuer,
    /// `svtx`
    Transaction,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Network, Self::Issuer, Self::Transaction];

    /// The human-readable part.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Network => "svnet",
            Self::Issuer => "svid",
            Self::Transaction => "svtx",
        }
    }

    /// For messages.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Network => "a network id (svnet1…)",
            Self::Issuer => "an issuer (svid1…)",
            Self::Transaction => "a transaction id (svtx1…)",
        }
    }

    /// Length of the text, in characters: prefix, separator, 256 bits in fives, six of checksum.
    pub const fn text_chars(self) -> usize {
        self.prefix().len() + 1 + 256_usize.div_ceil(5) + 6
    }
}

/// Why a text is not the id that was expected.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// A good id of another kind.
    #[error("this is {}, expected {}", got.words(), expected.words())]
    Kind {
        /// What was wanted.
        expected: Kind,
        /// What it is.
        got: Kind,
    },
    /// It does not begin as any id does.
    #[error("\"{got}\" is not an id of Selvedge, expected {}", expected.words())]
    Prefix {
        /// What was wanted.
        expected: Kind,
        /// How it begins.
        got: String,
    },
    /// A character that no id holds.
    #[error("character {at} is {got:?}, which no id holds; expected {}", expected.words())]
    Character {
        /// What was wanted.
        expected: Kind,
        /// The character.
        got: char,
        /// Its place, counted from 1.
        at: usize,
    },
    /// Upper and lower case.
    #[error("upper and lower case are mixed; expected {}, all in one of them", expected.words())]
    MixedCase {
        /// What was wanted.
        expected: Kind,
    },
    /// Too short or too long.
    #[error("{got} characters, expected {} for {}", expected.text_chars(), expected.words())]
    Length {
        /// What was wanted.
        expected: Kind,
        /// How many there are.
        got: usize,
    },
    /// The checksum does not fit.
    #[error("mistyped: the checksum does not fit{}; expected {}", place(*at), expected.words())]
    Mistyped {
        /// What was wanted.
        expected: Kind,
        /// Which character it is if only one is wrong, counted from 1.
        at: Option<usize>,
    },
}

fn place(at: Option<usize>) -> String {
    at.map_or_else(|| ", several characters are wrong".into(), |at| format!(", look at character {at}"))
}

/// An id with a text form.
pub trait TextId: Sized {
    /// Which.
    const KIND: Kind;
    /// The id with these bytes.
    fn from_bytes(bytes: [u8; 32]) -> Self;
    /// Its bytes.
    fn bytes(&self) -> &[u8; 32];
}

macro_rules! text_id {
    ($name:ident, $kind:expr) => {
        impl TextId for $name {
            const KIND: Kind = $kind;
            fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
            fn bytes(&self) -> &[u8; 32] {
                self.as_bytes()
            }
        }
    };
}

text_id!(NetworkId, Kind::Network);
text_id!(Issuer, Kind::Issuer);
text_id!(Id, Kind::Transaction);

/// The text of an id, in lower case.
///
/// # Panics
/// Never: every id fits bech32m, which takes 1,023 characters.
pub fn to_text<T: TextId>(id: &T) -> String {
    let prefix = Hrp::parse_unchecked(T::KIND.prefix());
    bech32::encode_lower::<Bech32m>(prefix, id.bytes()).expect("64 characters are within bech32m's 1,023")
}

/// The id with this text. White space around it (from pasting) is ignored.
///
/// # Errors
/// Says what the text is instead, or which character is wrong.
pub fn parse<T: TextId>(text: &str) -> Result<T, IdError> {
    let expected = T::KIND;
    let text = text.trim();
    let text_chars = text.chars().count();
    // Nothing longer is worth looking at, let alone echoing.
    if text_chars > 2 * expected.text_chars() {
        return Err(IdError::Length { expected, got: text_chars });
    }
    let unchecked = UncheckedHrpstring::new(text).map_err(|why| malformed(expected, text, &why))?;
    check_prefix(expected, text, &unchecked.hrp().to_lowercase())?;
    if text_chars != expected.text_chars() {
        return Err(IdError::Length { expected, got: text_chars });
    }
    if !unchecked.has_valid_checksum::<Bech32m>() {
        return Err(IdError::Mistyped { expected, at: one_wrong_character(&unchecked, text_chars) });
    }
    let checked = unchecked.remove_checksum::<Bech32m>();
    let bytes: Vec<u8> = checked.byte_iter().collect();
    let id = T::from_bytes(bytes.try_into().map_err(|_| IdError::Length { expected, got: text_chars })?);
    // 52 characters hold four bits more than 32 bytes; they are zero, or it is a second text for the same id.
    if to_text(&id).eq_ignore_ascii_case(text) {
        Ok(id)
    } else {
        Err(IdError::Mistyped { expected, at: None })
    }
}

/// Which character, counted from 1, is wrong if only one is. Two good texts differ in five characters at least,
/// so it can only be one.
///
/// The checksum is linear (BIP-173): one wrong character changes it by a number that depends on its place and
/// its value alone. All of these are gone through, some 1,800. (`bech32` 0.12 has a corrector, but it panics on
/// texts with several wrong characters.)
pub(crate) fn one_wrong_character(unchecked: &UncheckedHrpstring<'_>, text_chars: usize) -> Option<usize> {
    let mut engine = Engine::<Bech32m>::new();
    engine.input_hrp(unchecked.hrp());
    let characters = unchecked.data_part_ascii();
    characters.iter().filter_map(|c| Fe32::from_char(char::from(*c)).ok()).for_each(|c| engine.input_fe(c));
    let change = engine.residue() ^ Bech32m::TARGET_RESIDUE;

    let next = |change: u32| {
        let generators = Bech32m::GENERATOR_SH.into_iter().enumerate();
        let taken = generators.filter(|(bit, _)| change >> (25 + bit) & 1 == 1);
        taken.fold((change & 0x1FF_FFFF) << 5, |next, (_, generator)| next ^ generator)
    };
    let mut changes: [u32; 31] = std::array::from_fn(|value| value as u32 + 1);
    for from_end in 0..characters.len() {
        if changes.contains(&change) {
            return Some(text_chars - from_end);
        }
        changes = changes.map(next);
    }
    None
}

fn check_prefix(expected: Kind, text: &str, prefix: &str) -> Result<(), IdError> {
    if prefix == expected.prefix() {
        return Ok(());
    }
    if let Some(got) = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix) {
        return Err(IdError::Kind { expected, got });
    }
    // The last 1 separates, so a 1 typed for an l makes a longer prefix.
    match prefix.strip_prefix(expected.prefix()) {
        Some(rest) if rest.starts_with('1') => {
            let at = text.rfind('1').map_or(0, |at| at + 1);
            Err(IdError::Character { expected, got: '1', at })
        }
        _ => Err(IdError::Prefix { expected, got: begin(text) }),
    }
}

fn malformed(expected: Kind, text: &str, why: &UncheckedHrpstringError) -> IdError {
    match why {
        UncheckedHrpstringError::Char(CharError::InvalidChar(got)) if begins_as_an_id(text) => {
            let separator = text.rfind('1').map_or(0, |at| at + 1);
            let before = text[..separator].chars().count();
            let at = before + text[separator..].chars().take_while(|c| c != got).count() + 1;
            IdError::Character { expected, got: *got, at }
        }
        UncheckedHrpstringError::Char(CharError::MixedCase) => IdError::MixedCase { expected },
        UncheckedHrpstringError::Char(CharError::NothingAfterSeparator) => {
            IdError::Length { expected, got: text.chars().count() }
        }
        _ => IdError::Prefix { expected, got: begin(text) },
    }
}

fn begins_as_an_id(text: &str) -> bool {
    text.split_once('1').is_some_and(|(prefix, _)| {
        Kind::ALL.into_iter().any(|kind| kind.prefix().eq_ignore_ascii_case(prefix))
    })
}

fn begin(text: &str) -> String {
    let begin: String = text.chars().filter(|c| !c.is_control()).take(8).collect();
    if text.chars().count() > 8 { begin + "…" } else { begin }
}
