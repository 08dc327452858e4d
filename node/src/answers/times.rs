//! Moments as people type them, and spans as people read them.

use jiff::{Span, SpanRelativeTo, Timestamp};

use super::shown::Time;

/// What is said of a text that is no moment.
const EXPECTED: &str = "expected a time of RFC 3339 with its zone, such as 2026-05-01T12:00:00Z or \
                        2026-05-01T14:00:00+02:00, or a span back from now, such as -10m, -1h30m or -2d";

/// The moment that a person means: RFC 3339 with a zone, `now`, or a span back from `now`.
///
/// # Errors
/// In words, naming what was expected.
pub fn parse_moment(text: &str, now: Time) -> Result<Time, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    let wrong = || format!("{text:?} is no moment; {EXPECTED}");
    if let Ok(time) = text.parse::<Timestamp>() {
        return i64::try_from(time.as_nanosecond())
            .map(Time)
            .map_err(|_| format!("{text} lies outside the years 1677 to 2262, where no reading can be"));
    }
    if text.parse::<jiff::civil::DateTime>().is_ok() {
        return Err(format!("{text:?} has no zone, so it could mean any of a day's hours; {EXPECTED}"));
    }
    let back = text.strip_prefix('-').or_else(|| text.strip_suffix("ago")).ok_or_else(wrong)?;
    if !back.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
        return Err(wrong());
    }
    let span: Span = back.trim().parse().map_err(|_| wrong())?;
    let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| {
        format!("{text:?} counts in months or years, which differ in length; use days, such as -30d")
    })?;
    let nanoseconds = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Ok(Time(now.0.saturating_sub(nanoseconds)))
}

/// How long ago: `0.8 s`, `12 s`, `5 min`, `3 h 12 min`, `2 d 4 h`. Never negative: see [`age_words`].
pub fn span_words(ns: u64) -> String {
    let seconds = ns / 1_000_000_000;
    let two = |a: u64, unit: &str, b: u64, minor: &str| {
        if b == 0 { format!("{a} {unit}") } else { format!("{a} {unit} {b} {minor}") }
    };
    match seconds {
        0..10 => format!("{}.{} s", seconds, ns % 1_000_000_000 / 100_000_000),
        10..120 => format!("{seconds} s"),
        120..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// A question takes no longer than this to answer.
const MEANWHILE_NS: i64 = 5_000_000_000;

/// How old `then` is: `12 s ago`; `in 3 s` when it lies ahead, as with a clock that was set back.
pub fn age_words(then: Time, now: Time) -> String {
    let ahead = then.0.saturating_sub(now.0);
    if (1..MEANWHILE_NS).contains(&ahead) {
        // It came while the question was being answered.
        return "just now".into();
    }
    if ahead > 0 {
        return format!("in {}", span_words(ahead as u64));
    }
    format!("{} ago", span_words(now.0.abs_diff(then.0)))
}

/// `4,096`.
pub fn count_words(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 reading`, `2,000 readings`.
pub fn plural(number: u64, one: &str) -> String {
    let (stem, many) = match one.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u'])) {
        Some(stem) => (stem, "ies"),
        None if one.ends_with("ch") => (one, "es"),
        None => (one, "s"),
    };
    if number == 1 { format!("1 {one}") } else { format!("{} {stem}{many}", count_words(number)) }
}

/// `512 B`, `3.8 kB`, `16.8 MB`, `12.3 GB` (powers of 1,000, as disks are sold).
pub fn bytes_words(bytes: u64) -> String {
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let (mut tenths, mut unit) = (bytes / 100, 0);
    while tenths >= 10_000 && unit < 4 {
        tenths /= 1_000;
        unit += 1;
    }
    let name = ["kB", "MB", "GB", "TB", "PB"][unit];
    if tenths >= 1_000 {
        format!("{} {name}", tenths / 10)
    } else {
        format!("{}.{} {name}", tenths / 10, tenths % 10)
    }
}

/// Text from a device or a stranger for a line of a terminal: what is no visible character is escaped, so that
/// nothing can forge a line or a colour.
pub fn plain(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if hidden(c) { shown.extend(c.escape_unicode()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-01T12:00:00Z.
    const NOW: Time = Time(1_777_636_800_000_000_000);

    #[test]
    fn moments_are_rfc_3339_or_spans_back_from_now() {
        let cases = [
            ("2026-05-01T12:00:00Z", 0),
            ("2026-05-01T14:00:00+02:00", 0),
            ("2026-05-01 12:00:00.5Z", 500_000_000),
            ("now", 0),
            ("-10m", -600_000_000_000),
            ("10m ago", -600_000_000_000),
            ("-1h30m", -5_400_000_000_000),
            ("-2d", -172_800_000_000_000),
            (" -90s ", -90_000_000_000),
            ("-250ms", -250_000_000),
        ];
        for (text, ns) in cases {
            assert_eq!(parse_moment(text, NOW), Ok(Time(NOW.0 + ns)), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_is_refused_with_what_was_expected() {
        for text in [
            "",
            "10m",
            "yesterday",
            "-",
            "--10m",
            "-x",
            "2026-05-01T12:00:00",
            "2026-05-01",
            "1777636800",
            "-1mo",
        ] {
            let why = parse_moment(text, NOW).unwrap_err();
            assert!(why.contains("-10m") || why.contains("-30d"), "{text}: {why}");
        }
        assert!(parse_moment("2026-05-01T12:00:00", NOW).unwrap_err().contains("has no zone"));
        assert!(parse_moment("9000-01-01T00:00:00Z", NOW).unwrap_err().contains("1677"));
    }

    #[test]
    fn spans_are_as_long_as_a_person_wants_them() {
        for (ns, words) in [
            (0, "0.0 s"),
            (840_000_000, "0.8 s"),
            (12_900_000_000, "12 s"),
            (300_000_000_000, "5 min"),
            (11_520_000_000_000, "3 h 12 min"),
            (7_200_000_000_000, "2 h"),
            (187_200_000_000_000, "2 d 4 h"),
        ] {
            assert_eq!(span_words(ns), words);
        }
        assert_eq!(age_words(Time(NOW.0 - 12_000_000_000), NOW), "12 s ago");
        assert_eq!(age_words(Time(NOW.0 + 3_000_000_000), NOW), "just now", "it came meanwhile");
        assert_eq!(age_words(Time(NOW.0 + 9_000_000_000), NOW), "in 9.0 s");
        assert_eq!(age_words(Time(i64::MAX), Time(i64::MIN)).as_bytes()[..3], *b"in ");
    }

    #[test]
    fn numbers_are_grouped_and_bytes_rounded() {
        assert_eq!(count_words(1_234_567), "1,234,567");
        assert_eq!(plural(1, "reading"), "1 reading");
        assert_eq!(plural(2_000, "reading"), "2,000 readings");
        assert_eq!(plural(2, "batch"), "2 batches");
        assert_eq!(plural(0, "body"), "0 bodies");
        for (bytes, words) in [
            (999, "999 B"),
            (3_850, "3.8 kB"),
            (16_777_216, "16.7 MB"),
            (123_456_789, "123 MB"),
            (u64::MAX, "18446 PB"),
        ] {
            assert_eq!(bytes_words(bytes), words);
        }
    }

    #[test]
    fn hidden_characters_are_escaped() {
        assert_eq!(plain("tank\u{1b}[2J\n\u{202e}µ°C"), "tank\\u{1b}[2J\\u{a}\\u{202e}µ°C");
    }
}
