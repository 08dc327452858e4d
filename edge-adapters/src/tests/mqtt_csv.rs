//! Separated values: which cell is found, and that no message makes a picker fail.

use selvedge_core::reading::{Quality, Value};

use super::support::cases;
use crate::backoff::SplitMix;
use crate::mqtt::csv::{Cell, Column, Dialect, cell, with_point};
use crate::mqtt::payload::{Kind, Mark, Payload, Picker, SourceTime, Spot};
use crate::status_code;

const PLAIN: Dialect = Dialect { separator: ',', has_header: false, decimal_comma: false };
const NAMED: Dialect = Dialect { has_header: true, ..PLAIN };
const COMMA: Dialect = Dialect { separator: ';', has_header: false, decimal_comma: true };

fn named(name: &str) -> Column {
    Column::Named(name.into())
}

fn found(text: &str) -> Cell<'_> {
    Cell::Text(text.into())
}

#[test]
fn cells_are_found_by_place_and_by_name() {
    for (text, dialect, column, expected) in [
        ("1,2,3", PLAIN, Column::At(0), found("1")),
        ("1,2,3\r\n", PLAIN, Column::At(2), found("3")),
        ("1,2,3\n\n", PLAIN, Column::At(2), found("3")),
        ("\u{FEFF}1,2", PLAIN, Column::At(0), found("1")),
        ("1,,3", PLAIN, Column::At(1), Cell::Empty),
        ("1, ,3", PLAIN, Column::At(1), Cell::Empty),
        ("1,\"\",3", PLAIN, Column::At(1), found("")),
        ("1,2", PLAIN, Column::At(2), Cell::Missing),
        ("\"a, \"\"b\"\"\n\",2", PLAIN, Column::At(0), found("a, \"b\"\n")),
        ("\"a\",2", PLAIN, Column::At(1), found("2")),
        ("x;1,5", COMMA, Column::At(1), found("1,5")),
        ("t,temperature\n7,21.5\n", NAMED, named("temperature"), found("21.5")),
        (" t , temperature \r\n7,21.5\r\n", NAMED, named("t"), found("7")),
        ("t,temperature\n7,21.5", NAMED, Column::At(1), found("21.5")),
        ("t,temperature\n7,21.5", NAMED, named("pressure"), Cell::Missing),
        ("t,temperature\n7", NAMED, named("temperature"), Cell::Missing),
        ("t,temperature\n", NAMED, named("temperature"), Cell::Malformed),
        ("", PLAIN, Column::At(0), Cell::Malformed),
        ("\"a", PLAIN, Column::At(0), Cell::Malformed),
        ("\"a\"b,1", PLAIN, Column::At(1), Cell::Malformed),
        // Which of them is meant? Nobody knows, so none.
        ("1,2\n3,4", PLAIN, Column::At(0), Cell::Malformed),
        ("a,b\n1,2\n3,4", NAMED, named("a"), Cell::Malformed),
    ] {
        assert_eq!(cell(text, dialect, &column), expected, "{text:?} {column:?}");
    }
    for (written, expected) in
        [("1,5", Some("1.5")), ("-3", Some("-3")), ("1.5", None), ("1.234,5", None), ("1,2,3", None)]
    {
        assert_eq!(with_point(written).as_deref(), expected, "{written}");
    }
}

#[test]
fn cells_become_values_as_texts_do() {
    let picker = |dialect, kind, column| Picker {
        kind,
        spot: Spot::Csv(dialect, column),
        time: Some(Spot::Csv(dialect, Column::At(0))),
        not_available: vec![Mark::Integer(-999), Mark::Text("n/a".into())],
    };
    let value = |text: &str, picker: &Picker| Payload::new(text.as_bytes()).value(picker);
    let good = |text, dialect, kind, column, expected: Value| {
        let decoded = value(text, &picker(dialect, kind, column)).expect("it is there");
        assert_eq!((decoded.value, decoded.quality), (expected, Quality::Good), "{text:?}");
    };
    good("7, 21.5", PLAIN, Kind::F64, Column::At(1), Value::Float(21.5));
    good("7;21,5", COMMA, Kind::F64, Column::At(1), Value::Float(21.5));
    good("7;-21", COMMA, Kind::I64, Column::At(1), Value::Int(-21));
    good("7,ON", PLAIN, Kind::Bool, Column::At(1), Value::Bool(true));
    good("7;a,b", COMMA, Kind::Text, Column::At(1), Value::Text("a,b".into()));
    for text in ["7,", "7,-999", "7,n/a", "7,NaN"] {
        let decoded = value(text, &picker(PLAIN, Kind::F64, Column::At(1))).expect("it is there");
        assert_eq!((decoded.value, decoded.quality), (Value::None, Quality::NotAvailable), "{text:?}");
    }
    for (text, dialect) in [("7,warm", PLAIN), ("7;1.5", COMMA), ("7,1\n8,2", PLAIN), ("", PLAIN)] {
        let decoded = value(text, &picker(dialect, Kind::F64, Column::At(1))).expect("bad, but there");
        assert_eq!((decoded.quality, decoded.status), (Quality::Bad, status_code::UNDECODABLE), "{text:?}");
    }
    assert_eq!(value("7", &picker(PLAIN, Kind::F64, Column::At(1))), None, "the row says nothing of it");
    let time = |text: &str| Payload::new(text.as_bytes()).time(&picker(PLAIN, Kind::F64, Column::At(1)));
    assert_eq!(time("1800000000250,1"), SourceTime::At(1_800_000_000_250_000_000));
    assert_eq!(time("2027-01-15T08:00:00.25Z,1"), SourceTime::At(1_800_000_000_250_000_000));
    assert_eq!(time("noon,1"), SourceTime::Unreadable);
}

/// Rows that were made from cells give these cells back.
#[test]
fn what_is_written_as_rfc_4180_says_is_read_again() {
    let mut random = SplitMix(0x4180);
    println!("seed 0x4180");
    for case in 0..cases() {
        let letters = ["a", "7", ".", " ", ",", ";", "\"", "\n", "\r\n", "é", "\t"];
        let dialect = Dialect { separator: if random.next() & 1 == 0 { ',' } else { ';' }, ..PLAIN };
        let has_header = random.next() & 1 == 0;
        let dialect = Dialect { has_header, ..dialect };
        let count = 1 + random.next() as usize % 6;
        let cells: Vec<String> = (0..count)
            .map(|_| {
                (0..random.next() % 6).map(|_| letters[random.next() as usize % letters.len()]).collect()
            })
            .collect();
        let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        let separator = dialect.separator.to_string();
        let row = cells.iter().map(quoted).collect::<Vec<_>>().join(&separator);
        let header = (0..count).map(|n| format!("column {n}")).collect::<Vec<_>>().join(&separator);
        let text = if has_header { format!("{header}\r\n{row}") } else { row };
        for (at, expected) in cells.iter().enumerate() {
            let column = if has_header { Column::Named(format!("column {at}")) } else { Column::At(at) };
            assert_eq!(cell(&text, dialect, &column), found(expected), "case {case}: {text:?} {column:?}");
        }
        assert_eq!(cell(&text, dialect, &Column::At(count)), Cell::Missing, "case {case}: {text:?}");
    }
}

#[test]
fn no_rows_make_a_picker_fail() {
    let mut random = SplitMix(0xC511);
    println!("seed 0xC511");
    let parts: [&[u8]; 14] = [
        b"1",
        b"21,5",
        b"-3.25e3",
        b",",
        b";",
        b"\"",
        b"\n",
        b"\r",
        b"\r\n",
        b"t",
        b" ",
        b"\xFF",
        "é".as_bytes(),
        b"NaN",
    ];
    let mut seen = std::collections::BTreeMap::<Option<Quality>, u64>::new();
    for case in 0..cases() {
        let length = random.next() % 14;
        let bytes: Vec<u8> =
            (0..length).flat_map(|_| parts[random.next() as usize % parts.len()]).copied().collect();
        let dialect = Dialect {
            separator: [',', ';', '\t', '|'][random.next() as usize % 4],
            has_header: random.next().is_multiple_of(4),
            decimal_comma: random.next() & 1 == 0,
        };
        let column = if random.next().is_multiple_of(4) { named("t") } else { Column::At(random.next() as usize % 3) };
        let kind = Kind::ALL[random.next() as usize % 5];
        let spot = Spot::Csv(dialect, column);
        let picker = Picker { kind, spot: spot.clone(), time: Some(spot), not_available: Vec::new() };
        let mut payload = Payload::new(&bytes);
        let decoded = payload.value(&picker);
        assert_ne!(payload.time(&picker), SourceTime::None, "case {case}");
        if let Some(decoded) = &decoded {
            assert_eq!(
                decoded.value == Value::None,
                matches!(decoded.quality, Quality::Bad | Quality::NotAvailable),
                "case {case}: {decoded:?} of {bytes:?}"
            );
        }
        *seen.entry(decoded.map(|decoded| decoded.quality)).or_default() += 1;
    }
    println!("{seen:?}");
    for quality in [None, Some(Quality::Good), Some(Quality::Bad), Some(Quality::NotAvailable)] {
        assert!(seen.contains_key(&quality), "{quality:?} never came");
    }
}
