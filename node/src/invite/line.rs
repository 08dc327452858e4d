//! The line: `svinvite1…`, bech32m, at most 150 characters.
//!
//! ```text
//! u8       three bits of version (0), five bits of host: 0 IPv4, 31 IPv6, else the length of a host name
//! u32      expiry, seconds since 1970 UTC, little-endian
//! [u8; 32] network id
//! [u8; 16] one-time secret
//! u16      port, little-endian
//! bytes    the host
//! ```
//!
//! The first byte tells the length, so a line that was cut short is told from one that was mistyped.

use std::fmt;

use selvedge_core::NetworkId;
use selvedge_crypto::line::{self, LineError as TextError};
use thiserror::Error;
use zeroize::Zeroizing;

use super::address::{Address, Host};

/// Length of the secret, in bytes: 128 bits, so that what is kept or sent of it (hashes) tells nothing.
pub const SECRET_BYTES: usize = 16;
/// Longest line, in characters.
pub(super) const LINE_CHARS_MAX: usize = 150;

const PREFIX: &str = "svinvite";
const VERSION: u8 = 0;
/// Bytes before the host.
const HEAD_BYTES: usize = 1 + 4 + 32 + SECRET_BYTES + 2;
/// Longest host name that a line holds.
const NAME_BYTES_MAX: usize = 29;
const HOST_V4: u8 = 0;
const HOST_V6: u8 = 31;

const _: () = {
    assert!(line::chars(PREFIX, HEAD_BYTES + NAME_BYTES_MAX) == LINE_CHARS_MAX);
    assert!(NAME_BYTES_MAX < HOST_V6 as usize);
};

/// Why a text is not an invitation, or an invitation has no text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// The end is missing.
    #[error("the line is cut short: {got} of {expected} characters are there; paste all of it")]
    CutShort {
        /// Characters that are there.
        got: usize,
        /// Characters that should be.
        expected: usize,
    },
    /// Something follows.
    #[error("the line has {got} characters, {expected} belong to it; paste nothing else with it")]
    TooLong {
        /// Characters that are there.
        got: usize,
        /// Characters that should be.
        expected: usize,
    },
    /// Not a line, or one with a wrong character.
    #[error("{}{why}; expected the line that `selvedge invite` printed (svinvite1…)", begin(why))]
    Text {
        /// What is wrong.
        #[source]
        why: TextError,
    },
    /// Made by a newer program.
    #[error("the invitation has version {got}, this program knows version {VERSION}; use a newer Selvedge")]
    Version {
        /// Its version.
        got: u8,
    },
    /// The checksum fits and the content does not: nobody of ours made it.
    #[error("the line is whole, but {0}; ask for another invitation")]
    Content(&'static str),
    /// A host name too long for a line.
    #[error("the host name {name:?} has {} characters, and a line has room for {NAME_BYTES_MAX}; use `--address` with an \
             IP address or a shorter name", name.len())]
    Name {
        /// The name.
        name: String,
    },
    /// An expiry after 2106.
    #[error("an invitation cannot end after the year 2105")]
    Expiry,
}

fn begin(why: &TextError) -> &'static str {
    if matches!(why, TextError::Mistyped { .. }) { "mistyped: " } else { "this is no invitation: " }
}

/// An invitation as its text says it.
#[derive(Clone, PartialEq, Eq)]
pub struct Line {
    /// The network: the joiner takes no other genesis.
    pub network: NetworkId,
    /// Where the member is reached that gave it out.
    pub address: Address,
    /// Known to whoever has the line, and to nobody else.
    pub secret: Zeroizing<[u8; SECRET_BYTES]>,
    /// When it ends, in seconds since 1970 UTC.
    pub expires_s: u32,
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        let Self { network, address, expires_s, .. } = self;
        f.debug_struct("Line")
            .field("network", network)
            .field("address", address)
            .field("expires_s", expires_s)
            .finish_non_exhaustive()
    }
}

impl Line {
    /// The text.
    ///
    /// # Errors
    /// When the host name is too long for it.
    pub fn to_text(&self) -> Result<Zeroizing<String>, LineError> {
        let (host, bytes) = match &self.address.host {
            Host::V4(host) => (HOST_V4, host.octets().to_vec()),
            Host::V6(host) => (HOST_V6, host.octets().to_vec()),
            Host::Name(name) if name.len() <= NAME_BYTES_MAX => (name.len() as u8, name.as_bytes().to_vec()),
            Host::Name(name) => return Err(LineError::Name { name: name.clone() }),
        };
        let mut line = Zeroizing::new(Vec::with_capacity(HEAD_BYTES + bytes.len()));
        line.push(VERSION << 5 | host);
        line.extend(self.expires_s.to_le_bytes());
        line.extend(self.network.0);
        line.extend(self.secret.iter());
        line.extend(self.address.port.to_le_bytes());
        line.extend(bytes);
        Ok(Zeroizing::new(line::encode(PREFIX, &line)))
    }

    /// The invitation with this text. White space in it (a mail's line break) is ignored.
    ///
    /// # Errors
    /// Says what the text is instead: cut short, mistyped and where, something else.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let bytes = match line::decode(PREFIX, text) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(why) => return Err(damage(text, why)),
        };
        let (head, host) = bytes
            .split_first_chunk::<HEAD_BYTES>()
            .ok_or(LineError::Content("it holds less than an invitation"))?;
        let (version, kind) = (head[0] >> 5, head[0] & 31);
        if version != VERSION {
            return Err(LineError::Version { got: version });
        }
        if host.len() != host_bytes(kind) {
            return Err(LineError::Content("its host is not of the length that it says"));
        }
        let host = read_host(kind, host).ok_or(LineError::Content("its host is none"))?;
        let (port, head) = (u16::from_le_bytes([head[53], head[54]]), &head[1..53]);
        // By its text form, so that exactly what one can write one can read.
        let address: Address = format!("{}:{port}", Shown(&host))
            .parse()
            .map_err(|_| LineError::Content("its address is none"))?;
        if address.host != host {
            return Err(LineError::Content("its host is written in another way than `selvedge invite` does"));
        }
        let part = |from: usize, to: usize| head.get(from..to).unwrap_or_default();
        let expires_s = u32::from_le_bytes(part(0, 4).try_into().unwrap_or_default());
        let mut network = [0; 32];
        network.copy_from_slice(part(4, 36));
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        secret.copy_from_slice(part(36, 52));
        Ok(Self { network: NetworkId(network), address, secret, expires_s })
    }
}

struct Shown<'a>(&'a Host);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Host::V4(host) => write!(f, "{host}"),
            Host::V6(host) => write!(f, "[{host}]"),
            Host::Name(host) => f.write_str(host),
        }
    }
}

fn host_bytes(kind: u8) -> usize {
    match kind {
        HOST_V4 => 4,
        HOST_V6 => 16,
        length => usize::from(length),
    }
}

fn read_host(kind: u8, bytes: &[u8]) -> Option<Host> {
    Some(match kind {
        HOST_V4 => Host::V4(<[u8; 4]>::try_from(bytes).ok()?.into()),
        HOST_V6 => Host::V6(<[u8; 16]>::try_from(bytes).ok()?.into()),
        _ => Host::Name(std::str::from_utf8(bytes).ok()?.to_owned()),
    })
}

/// The checksum does not fit: is it the length, or a character?
fn damage(text: &str, why: TextError) -> LineError {
    let got = line::joined(text).chars().count();
    let expected = line::first_byte(PREFIX, text)
        .filter(|first| {
            first >> 5 == VERSION && usize::from(first & 31) <= NAME_BYTES_MAX.max(HOST_V6.into())
        })
        .map(|first| line::chars(PREFIX, HEAD_BYTES + host_bytes(first & 31)));
    match (why, expected) {
        (TextError::Mistyped { at: None }, Some(expected)) if got < expected => {
            LineError::CutShort { got, expected }
        }
        (TextError::Mistyped { at: None } | TextError::TooLong { .. }, Some(expected)) if got > expected => {
            LineError::TooLong { got, expected }
        }
        // Cut within the first three characters after the 1.
        (TextError::Mistyped { at: None }, None) if got < line::chars(PREFIX, HEAD_BYTES) => {
            LineError::CutShort { got, expected: line::chars(PREFIX, HEAD_BYTES + 4) }
        }
        (why, _) => LineError::Text { why },
    }
}
