//! Where in a message the value of a stream and its time stand: the keys `format`, `pointer`, `column` and what belongs
//! to them.

use crate::config::Scalar;
use crate::config::keys::{Keys, quoted};
use crate::mqtt::csv::{CELLS_MAX, Column, Dialect};
use crate::mqtt::payload::Spot;

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Json,
    Csv,
}

/// Both places.
pub(super) struct Places {
    pub(super) value: Spot,
    pub(super) time: Option<Spot>,
}

/// Reads the keys.
pub(super) fn read(keys: &mut Keys<'_>) -> Places {
    // A pointer says by itself that the message is JSON; and a time beside a text can only stand in JSON, as before.
    let usual = if keys.has("pointer") { Format::Json } else { Format::Text };
    let choices = [("text", Format::Text), ("json", Format::Json), ("csv", Format::Csv)];
    let format = keys.choice("format", usual, &choices);
    if format == Format::Csv {
        return csv(keys);
    }
    let value = pointer(keys, "pointer");
    let value = match (format, value) {
        (Format::Json, None) => Spot::Json(String::new()),
        (Format::Json, Some(pointer)) => Spot::Json(pointer),
        (_, None) => Spot::Whole,
        (_, Some(_)) => {
            keys.wrong("pointer", "it with format = \"text\"", "format = \"json\", or no pointer");
            Spot::Whole
        }
    };
    Places { value, time: pointer(keys, "time").map(Spot::Json) }
}

fn csv(keys: &mut Keys<'_>) -> Places {
    let dialect = Dialect {
        separator: separator(keys),
        has_header: keys.flag("header", false),
        decimal_comma: keys.flag("decimal_comma", false),
    };
    if dialect.decimal_comma && dialect.separator == ',' {
        keys.wrong(
            "decimal_comma",
            "a comma in numbers and between them",
            "another separator, such as \";\"",
        );
    }
    if keys.has("pointer") {
        keys.wrong("pointer", "it with format = \"csv\"", "a column, or format = \"json\"");
    }
    if !keys.has("column") {
        keys.wrong("column", "nothing", EXPECTED);
    }
    let value = column(keys, "column", dialect).unwrap_or(Column::At(0));
    let time = column(keys, "time", dialect);
    Places { value: Spot::Csv(dialect, value), time: time.map(|column| Spot::Csv(dialect, column)) }
}

const EXPECTED: &str = "the number of a column, from 1, or, with header = true, its name";

fn column(keys: &mut Keys<'_>, key: &'static str, dialect: Dialect) -> Option<Column> {
    let written = keys.scalar(key)?;
    match written {
        Scalar::Integer(number) if (1..=CELLS_MAX as i64).contains(&number) => {
            Some(Column::At(number as usize - 1))
        }
        Scalar::Text(name) if dialect.has_header && !name.trim().is_empty() => {
            Some(Column::Named(name.trim().to_owned()))
        }
        written => {
            keys.wrong(key, written, EXPECTED);
            None
        }
    }
}

fn separator(keys: &mut Keys<'_>) -> char {
    let Some(written) = keys.text("separator") else { return ',' };
    let mut characters = written.chars();
    match (characters.next(), characters.next()) {
        (Some(separator), None) if !separator.is_alphanumeric() && !"\"\r\n.-+".contains(separator) => {
            separator
        }
        _ => {
            keys.wrong("separator", quoted(&written), "one character: \",\", \";\", \"\\t\", \"|\" or \" \"");
            ','
        }
    }
}

/// A JSON pointer (RFC 6901).
fn pointer(keys: &mut Keys<'_>, key: &'static str) -> Option<String> {
    let pointer = keys.text(key)?;
    // Section 3: after ~ stands 0 or 1.
    let escapes_hold = pointer.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    let is_pointer = pointer.is_empty() || pointer.starts_with('/');
    if !is_pointer || !escapes_hold || pointer.contains(char::is_control) {
        keys.wrong(
            key,
            quoted(&pointer),
            "a JSON pointer such as /temperature/value, or \"\" for the whole message",
        );
    }
    Some(pointer)
}

/// What the message is, and where in it the value stands: for descriptors.
pub(super) fn shown(spot: &Spot) -> (&'static str, String) {
    match spot {
        Spot::Whole => ("text", String::new()),
        Spot::Json(pointer) => ("json", format!(" {pointer}")),
        Spot::Csv(_, Column::At(at)) => ("csv", format!(" column {}", at + 1)),
        Spot::Csv(_, Column::Named(name)) => ("csv", format!(" column {name:?}")),
    }
}
