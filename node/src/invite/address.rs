//! Where a member is reached: host and port.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// Longest host name of DNS, in bytes.
const NAME_BYTES_MAX: usize = 253;

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// IPv4.
    V4(Ipv4Addr),
    /// IPv6.
    V6(Ipv6Addr),
    /// A name, in lower case.
    Name(String),
}

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The host.
    pub host: Host,
    /// The port, not 0.
    pub port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{text:?} is no address ({why}); expected HOST:PORT, such as 192.0.2.7:7440, [2001:db8::7]:7440 or press-7.lan:7440"
)]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::V4(host) => write!(f, "{host}:{}", self.port),
            Host::V6(host) => write!(f, "[{host}]:{}", self.port),
            Host::Name(host) => write!(f, "{host}:{}", self.port),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let wrong = |why| AddressError { text: text.chars().take(64).collect(), why };
        let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("it has no port"))?;
        if !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong("its port is no number"));
        }
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("its port is not from 1 to 65535"))?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => {
                Host::V6(host.parse().map_err(|_| wrong("there is no IPv6 address in the brackets"))?)
            }
            None => match host.parse() {
                Ok(IpAddr::V4(host)) => Host::V4(host),
                Ok(IpAddr::V6(_)) => return Err(wrong("an IPv6 address stands in brackets")),
                Err(_) => Host::Name(name(host).map_err(wrong)?),
            },
        };
        let nowhere = match &host {
            Host::V4(host) => host.is_unspecified(),
            Host::V6(host) => host.is_unspecified(),
            Host::Name(_) => false,
        };
        if nowhere {
            return Err(wrong("all zeros is where one listens, not where one is reached"));
        }
        Ok(Self { host, port })
    }
}

/// A host name in lower case, if it can be one.
fn name(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    if host.len() > NAME_BYTES_MAX {
        return Err("its host is longer than 253 characters");
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b)) {
        return Err("its host holds a character that no host name has");
    }
    // Else four numbers too great for IPv4 would be looked up as a name.
    if host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit())) {
        return Err("its host is neither a name nor an IPv4 address");
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back() {
        for text in
            ["192.0.2.7:7440", "[2001:db8::7]:1", "press-7.lan:65535", "a:7440", "press_7.example:7440"]
        {
            assert_eq!(text.parse::<Address>().map(|a| a.to_string()).as_deref(), Ok(text));
        }
        assert_eq!(
            "Press-7.LAN:7440".parse::<Address>().map(|a| a.to_string()).as_deref(),
            Ok("press-7.lan:7440")
        );
    }

    #[test]
    fn what_is_none_is_said() {
        for (text, why) in [
            ("", "no port"),
            ("192.0.2.7", "no port"),
            ("192.0.2.7:", "1 to 65535"),
            ("192.0.2.7:0", "1 to 65535"),
            ("192.0.2.7:65536", "1 to 65535"),
            ("192.0.2.7:+1", "no number"),
            ("192.0.2.700:1", "neither a name nor"),
            ("1.2.3:1", "neither a name nor"),
            ("2001:db8::7:1", "brackets"),
            ("[2001:db8::7", "no host name has"),
            ("[2001:db8::7]", "no number"),
            ("[192.0.2.7]:1", "brackets"),
            ("0.0.0.0:7440", "where one listens"),
            ("[::]:7440", "where one listens"),
            (":7440", "no host"),
            ("press 7:7440", "no host name has"),
            ("press\u{1b}7:7440", "no host name has"),
        ] {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(error.contains(why) && error.contains("192.0.2.7:7440"), "{text}: {error}");
        }
        assert!(format!("{}:1", "a".repeat(254)).parse::<Address>().is_err());
    }
}
