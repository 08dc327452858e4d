//! What is wrong with a scenario, as a compiler says it: `file:line:column: key: got …, expected …`.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Place {
    /// The place of a byte of the text.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let mut before = offset.min(text.len());
        while !text.is_char_boundary(before) {
            before -= 1;
        }
        let lines = &text[..before];
        let begin = lines.rfind('\n').map_or(0, |at| at + 1);
        Self { line: lines.matches('\n').count() + 1, column: lines[begin..].chars().count() + 1 }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where; `None`: the file as a whole.
    pub place: Option<Place>,
    /// The key, such as `network.link.delay`; empty where there is none.
    pub key: String,
    /// What was found, what was expected, what to do.
    pub what: String,
}

/// Why a scenario cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: cannot be read: {why}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// It can be read and is wrong.
    #[error("{}", Listed { path, findings })]
    Wrong {
        /// The file.
        path: PathBuf,
        /// All that is wrong with it, in the order of the file.
        findings: Vec<Finding>,
    },
}

struct Listed<'a> {
    path: &'a Path,
    findings: &'a [Finding],
}

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, finding) in self.findings.iter().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.path.display())?;
            if let Some(place) = finding.place {
                write!(f, ":{}:{}", place.line, place.column)?;
            }
            if !finding.key.is_empty() {
                write!(f, ": {}", finding.key)?;
            }
            write!(f, ": {}", finding.what)?;
        }
        Ok(())
    }
}
