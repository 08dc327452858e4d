//! Patterns for paths in an address space. Pure.
//!
//! A path is the browse names from `Objects` downwards, with `/` between them. In a pattern `*` stands for any
//! characters of one name, `?` for one character, and `**`, as a whole name, for any number of names, none too. So
//! `Objects/Line1/**` is everything below `Line1` and itself, and `Objects/*/Temperature` what is called so in each
//! folder. A `/`, `*`, `?` or `\` that belongs to a name is written with a `\` before it, and [`escaped`] does so.
//!
//! A pattern is walked along with the address space, name by name: [`Step`] says whether this is a node that is meant,
//! and whether one below it may be, so that nobody asks a server for branches that nobody wants.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Most names in a pattern: as many states as fit into a [`Step`].
pub const NAMES_MAX: usize = 63;
/// Longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 4_096;

/// A pattern for paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    written: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `**`.
    AnyNames,
    /// One name.
    Name(Vec<Piece>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    /// `*`.
    Any,
    /// `?`.
    One,
    Is(char),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GlobError {
    /// Nothing, or too long.
    #[error("expected 1 to {PATTERN_BYTES_MAX} bytes")]
    Length,
    /// Too many names.
    #[error("more than {NAMES_MAX} names")]
    Names,
    /// Two `/` in a row, or one at an end.
    #[error("an empty name: a `/` at an end, or two in a row; one that belongs to a name is written \\/")]
    EmptyName,
    /// `**` beside other characters.
    #[error("** stands for whole names, so it stands alone between two /, as in Objects/**/Level")]
    NotAlone,
    /// A `\` at the end.
    #[error("a \\ at the end; one that belongs to a name is written \\\\")]
    Backslash,
}

/// How far a path has come in a pattern: bit n is set when the first n parts of the pattern can be what was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Step(u64);

impl Step {
    /// May a node below this one be meant?
    pub const fn may_go_on(self) -> bool {
        self.0 != 0
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if !(1..=PATTERN_BYTES_MAX).contains(&text.len()) {
            return Err(GlobError::Length);
        }
        let mut parts = Vec::new();
        let mut pieces = Vec::new();
        let mut chars = text.chars();
        loop {
            let piece = match chars.next() {
                None | Some('/') if pieces.is_empty() => return Err(GlobError::EmptyName),
                end @ (None | Some('/')) => {
                    parts.push(part(std::mem::take(&mut pieces))?);
                    if end.is_none() {
                        break;
                    }
                    continue;
                }
                Some('*') => Piece::Any,
                Some('?') => Piece::One,
                Some('\\') => Piece::Is(chars.next().ok_or(GlobError::Backslash)?),
                Some(char) => Piece::Is(char),
            };
            pieces.push(piece);
        }
        // One `**` after another says nothing more.
        parts.dedup_by(|next, before| *next == Part::AnyNames && *before == Part::AnyNames);
        if parts.len() > NAMES_MAX {
            return Err(GlobError::Names);
        }
        Ok(Self { written: text.to_owned(), parts })
    }
}

fn part(mut pieces: Vec<Piece>) -> Result<Part, GlobError> {
    if pieces == [Piece::Any, Piece::Any] {
        return Ok(Part::AnyNames);
    }
    let is_double = |pair: &[Piece]| pair == [Piece::Any, Piece::Any];
    if pieces.windows(2).any(is_double) {
        return Err(GlobError::NotAlone);
    }
    pieces.shrink_to_fit();
    Ok(Part::Name(pieces))
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Glob {
    /// Before the first name.
    pub fn start(&self) -> Step {
        self.closed(1)
    }

    /// One name further.
    pub fn step(&self, step: Step, name: &str) -> Step {
        let mut next = 0;
        for (at, part) in self.parts.iter().enumerate() {
            if step.0 & (1 << at) == 0 {
                continue;
            }
            match part {
                Part::AnyNames => next |= 1 << at,
                Part::Name(pieces) if fits(pieces, name) => next |= 1 << (at + 1),
                Part::Name(_) => {}
            }
        }
        self.closed(next)
    }

    /// Is this the end of a path that is meant?
    pub fn is_meant(&self, step: Step) -> bool {
        step.0 & (1 << self.parts.len()) != 0
    }

    /// Is this path meant?
    pub fn is_match<'a>(&self, path: impl IntoIterator<Item = &'a str>) -> bool {
        let end = path.into_iter().fold(self.start(), |step, name| self.step(step, name));
        self.is_meant(end)
    }

    /// Is this the beginning of the pattern, as plain names? Then the pattern speaks of what lies there on purpose.
    pub fn begins_with(&self, names: &[&str]) -> bool {
        let plain = |name: &str| Part::Name(name.chars().map(Piece::Is).collect());
        self.parts.len() >= names.len()
            && self.parts.iter().zip(names).all(|(part, name)| *part == plain(name))
    }

    /// `**` may stand for no name at all.
    fn closed(&self, mut bits: u64) -> Step {
        for (at, part) in self.parts.iter().enumerate() {
            if *part == Part::AnyNames && bits & (1 << at) != 0 {
                bits |= 1 << (at + 1);
            }
        }
        Step(bits)
    }
}

/// Is the name what the pieces say? Goes back to the last `*` only, so the time is at most pieces × characters.
fn fits(pieces: &[Piece], name: &str) -> bool {
    let mut rest = name.chars();
    let mut at = 0;
    // Where to go on if what follows the last `*` does not fit: that `*` takes one character more.
    let mut again: Option<(usize, std::str::Chars<'_>)> = None;
    loop {
        let before = rest.clone();
        match (pieces.get(at), rest.next()) {
            (None, None) => return true,
            (Some(Piece::Any), _) => {
                again = Some((at, before.clone()));
                rest = before;
                at += 1;
                continue;
            }
            (Some(Piece::One), Some(_)) => {
                at += 1;
                continue;
            }
            (Some(Piece::Is(wanted)), Some(char)) if *wanted == char => {
                at += 1;
                continue;
            }
            _ => {}
        }
        let Some((star, from)) = &mut again else { return false };
        if from.next().is_none() {
            return false;
        }
        rest = from.clone();
        at = *star + 1;
    }
}

/// A name as a pattern that means it and nothing else.
pub fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for char in name.chars() {
        if matches!(char, '/' | '*' | '?' | '\\') {
            text.push('\\');
        }
        text.push(char);
    }
    text
}
