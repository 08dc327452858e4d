//! Payloads of comma-separated values: which cell is meant, and what stands in it. Pure.
//!
//! Cells and quotes as in RFC 4180, and with any separator of one character. A message holds one row, before which a row
//! with the names of the columns may stand; of a message with more rows nobody can say which one is meant.

use std::borrow::Cow;

/// A row has at most so many cells; what stands behind them is not looked at.
pub const CELLS_MAX: usize = 1_024;

/// Which cell of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// By its place, from 0. The row is the only one of the message.
    At(usize),
    /// By its name in the row before.
    Named(String),
}

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Between two cells.
    pub separator: char,
    /// Does a row with names come first?
    pub has_header: bool,
    /// Is `1,5` one and a half? Then `1.5` is nothing.
    pub decimal_comma: bool,
}

/// What is in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'a> {
    /// This text.
    Text(Cow<'a, str>),
    /// Nothing, not even quotes: the source has no value.
    Empty,
    /// The row ends before, or no column has that name: the message says nothing of it.
    Missing,
    /// These are not rows as they should be.
    Malformed,
}

/// What stands in this column.
pub fn cell<'a>(text: &'a str, dialect: Dialect, column: &Column) -> Cell<'a> {
    let mut rows = Rows { rest: text.trim_start_matches('\u{FEFF}'), separator: dialect.separator };
    let mut at = match column {
        Column::At(at) => Some(*at),
        Column::Named(_) => None,
    };
    if dialect.has_header {
        let Some(header) = rows.row() else { return Cell::Malformed };
        if let Column::Named(name) = column {
            at = header.iter().position(|cell| cell.text.trim() == name);
        }
    }
    let Some(mut row) = rows.row() else { return Cell::Malformed };
    if !rows.rest.trim_matches(['\r', '\n', ' ', '\0']).is_empty() {
        return Cell::Malformed;
    }
    let Some(found) = at.filter(|at| *at < row.len()) else { return Cell::Missing };
    let RawCell { text, is_quoted } = row.swap_remove(found);
    if text.trim().is_empty() && !is_quoted { Cell::Empty } else { Cell::Text(text) }
}

/// A number as JSON and Rust write it; `None`: it is not one with a decimal comma.
pub fn with_point(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('.') || text.matches(',').count() > 1 {
        return None;
    }
    Some(if text.contains(',') { Cow::Owned(text.replace(',', ".")) } else { Cow::Borrowed(text) })
}

struct RawCell<'a> {
    text: Cow<'a, str>,
    is_quoted: bool,
}

struct Rows<'a> {
    rest: &'a str,
    separator: char,
}

impl<'a> Rows<'a> {
    /// The next row; `None`: there is none, or its quotes have no end.
    fn row(&mut self) -> Option<Vec<RawCell<'a>>> {
        if self.rest.is_empty() {
            return None;
        }
        let mut cells = Vec::new();
        loop {
            let cell = if self.rest.starts_with('"') { self.quoted()? } else { self.plain() };
            if cells.len() < CELLS_MAX {
                cells.push(cell);
            }
            if let Some(rest) = self.rest.strip_prefix(self.separator) {
                self.rest = rest;
                continue;
            }
            // Nothing but the end of the row may follow a cell.
            let rest = self.rest.strip_prefix('\r').unwrap_or(self.rest);
            self.rest = if rest.is_empty() { rest } else { rest.strip_prefix('\n')? };
            return Some(cells);
        }
    }

    fn plain(&mut self) -> RawCell<'a> {
        let end = self.rest.find([self.separator, '\n']).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        // The end of a row may be two characters.
        let (text, rest) = match text.strip_suffix('\r') {
            Some(shorter) if rest.is_empty() || rest.starts_with('\n') => (shorter, &self.rest[end - 1..]),
            _ => (text, rest),
        };
        self.rest = rest;
        RawCell { text: Cow::Borrowed(text), is_quoted: false }
    }

    fn quoted(&mut self) -> Option<RawCell<'a>> {
        let inner = &self.rest[1..];
        let mut end = inner.find('"')?;
        let mut is_plain = true;
        // Two of them stand for one.
        while inner[end + 1..].starts_with('"') {
            is_plain = false;
            end += 2 + inner[end + 2..].find('"')?;
        }
        self.rest = &inner[end + 1..];
        let text = &inner[..end];
        let text = if is_plain { Cow::Borrowed(text) } else { Cow::Owned(text.replace("\"\"", "\"")) };
        Some(RawCell { text, is_quoted: true })
    }
}
