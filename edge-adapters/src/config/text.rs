//! Values that are written as text: durations, decimals, addresses. Each function says what it expects.

use std::time::Duration;

use selvedge_core::stream::Decimal;

use super::Scalar;

/// `200ms`, `1s`, `5min`, `1h`: a whole number and its unit.
///
/// # Errors
/// What is expected, in words.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "a whole number with its unit, such as 200ms, 1s, 5min or 1h";
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number: u64 = text[..digits].parse().map_err(|_| EXPECTED)?;
    let unit_ms = match text[digits..].trim_start() {
        "ms" => 1,
        "s" => 1_000,
        "min" => 60_000,
        "h" => 3_600_000,
        _ => return Err(EXPECTED),
    };
    number.checked_mul(unit_ms).map(Duration::from_millis).ok_or("a duration below 500 million years")
}

/// Exactly the number that is written: a float has no more digits than it needs, so 0.1 stays 0.1.
pub(super) fn decimal(scalar: &Scalar) -> Result<Decimal, &'static str> {
    match scalar {
        Scalar::Integer(integer) => Decimal::new(*integer, 0).ok_or("a decimal number"),
        Scalar::Float(float) => format!("{float:e}").parse(),
        Scalar::Text(text) => text.parse(),
    }
    .map_err(
        |_| "a decimal number such as 0.1, -4 or 2.5e-3, of at most 18 digits and exponents from -30 to 30",
    )
}

/// `10.0.0.7:502`, `plc.example:502`, `[fd00::7]:502`, of at most 128 bytes; the host of an IPv6 address keeps its
/// brackets.
pub(crate) fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok()),
        None => Some(host).filter(|host| !host.contains([':', '[', ']'])),
    }?;
    let is_host = !bare.is_empty() && bare.bytes().all(|b| b.is_ascii_graphic()) && address.len() <= 128;
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let port: u16 = port.parse().ok().filter(|port| *port > 0 && is_port && is_host)?;
    Some((host.to_owned(), port))
}
