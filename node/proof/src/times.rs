//! Times for people and files: RFC 3339 in UTC.

use jiff::Timestamp;

/// `ns` since 1970 UTC as RFC 3339, with as many digits of the second as it has: `2026-05-01T12:00:00.25Z`.
///
/// # Panics
/// Never: 64 bits of nanoseconds reach from 1677 to 2262.
pub fn rfc3339(ns: i64) -> String {
    Timestamp::from_nanosecond(i128::from(ns))
        .expect("64 bits of nanoseconds are within the calendar")
        .to_string()
}

/// `ms` since 1970 UTC as RFC 3339; beyond the year 9999, which only nonsense is, the plain number.
pub fn rfc3339_ms(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{ms} ms after 1970-01-01T00:00:00Z"), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_the_digits_they_have() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_777_636_800_250_000_000), "2026-05-01T12:00:00.25Z");
        assert_eq!(rfc3339(1), "1970-01-01T00:00:00.000000001Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339(i64::MIN), "1677-09-21T00:12:43.145224192Z");
        assert_eq!(rfc3339(i64::MAX), "2262-04-11T23:47:16.854775807Z");
        assert_eq!(rfc3339_ms(1_777_636_800_250), "2026-05-01T12:00:00.25Z");
        assert_eq!(rfc3339_ms(u64::MAX), "18446744073709551615 ms after 1970-01-01T00:00:00Z");
    }
}
