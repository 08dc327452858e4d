//! Frame 64: where members can be reached, as far as the speaker knows. The core never sees it.

use std::net::SocketAddr;

use selvedge_core::Issuer;
use selvedge_core::codec::{self, Canonical, CodecError};
use serde::{Deserialize, Serialize};

use super::limits::ADDRESSES_PER_FRAME;

/// Its kind.
pub const KIND: u8 = selvedge_core::wire::SHELL_KINDS;
/// Longest text of an address: IPv6 with a scope and a port.
const TEXT_BYTES_MAX: usize = 58;

/// A member and where it can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Who.
    pub issuer: Issuer,
    /// Where.
    pub at: SocketAddr,
}

#[derive(Serialize, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    list: List<'a>,
}

#[derive(Serialize, Deserialize)]
struct List<'a>(#[serde(borrow, deserialize_with = "bounded")] Vec<(Issuer, &'a str)>);

fn bounded<'de: 'a, 'a, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<(Issuer, &'a str)>, D::Error> {
    struct Visitor<'a>(std::marker::PhantomData<&'a ()>);
    impl<'de: 'a, 'a> serde::de::Visitor<'de> for Visitor<'a> {
        type Value = Vec<(Issuer, &'a str)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {ADDRESSES_PER_FRAME} addresses")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut entries = Vec::new();
            while let Some(entry) = list.next_element()? {
                if entries.len() == ADDRESSES_PER_FRAME {
                    return Err(serde::de::Error::invalid_length(ADDRESSES_PER_FRAME + 1, &self));
                }
                entries.push(entry);
            }
            Ok(entries)
        }
    }
    deserializer.deserialize_seq(Visitor(std::marker::PhantomData))
}

impl Canonical for Body<'_> {
    const WHAT: &'static str = "addresses";
    const BYTES_MAX: usize = ADDRESSES_PER_FRAME * (33 + 1 + TEXT_BYTES_MAX) + 2;

    fn check(&self) -> Result<(), &'static str> {
        for (_, text) in &self.list.0 {
            let at: SocketAddr = text.parse().map_err(|_| "an address is not an IP address and a port")?;
            if at.to_string() != *text {
                return Err("an address is not written as this program writes it");
            }
            if at.port() == 0 || at.ip().is_unspecified() || at.ip().is_multicast() {
                return Err("an address that nobody can be reached at");
            }
        }
        Ok(())
    }
}

/// The frame. Of more than 64 addresses the first are taken.
pub(super) fn frame(addresses: &[Address]) -> Vec<u8> {
    let texts: Vec<(Issuer, String)> =
        addresses.iter().take(ADDRESSES_PER_FRAME).map(|a| (a.issuer, a.at.to_string())).collect();
    let list = List(texts.iter().map(|(issuer, text)| (*issuer, text.as_str())).collect());
    let mut frame = vec![KIND];
    frame.append(&mut codec::encode(&Body { list }));
    frame
}

/// What the body of such a frame says.
///
/// # Errors
/// When it is not the one encoding of at most 64 addresses that can be dialled.
pub fn open(body: &[u8]) -> Result<Vec<Address>, CodecError> {
    let body: Body<'_> = codec::decode(body)?;
    let list = body.list.0.into_iter();
    // Checked: each text parses.
    Ok(list.filter_map(|(issuer, text)| Some(Address { issuer, at: text.parse().ok()? })).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use selvedge_core::random::Random;

    fn generated(random: &mut Random) -> Vec<Address> {
        let count = random.below(ADDRESSES_PER_FRAME as u64 + 1);
        let mut one = || {
            let port = 1 + random.below(65_535) as u16;
            let at = if random.below(2) == 0 {
                SocketAddr::from(((random.bits() as u32 & 0x7fff_ffff | 1).to_be_bytes(), port))
            } else {
                let low = random.bits();
                SocketAddr::from(((0x2001_0db8_u128 << 96 | u128::from(low)).to_be_bytes(), port))
            };
            Address { issuer: Issuer([random.bits() as u8; 32]), at }
        };
        (0..count).map(|_| one()).collect()
    }

    #[test]
    fn fifty_thousand_generated_frames_are_read_back_or_refused_with_words() {
        let seed: u64 = std::env::var("SELVEDGE_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(11);
        println!("seed {seed}");
        let mut random = Random::new(&[seed as u8; 32]);
        let (mut good, mut bad) = (0, 0);
        for _ in 0..50_000 {
            let addresses = generated(&mut random);
            let mut bytes = frame(&addresses);
            assert_eq!(bytes.remove(0), KIND);
            if random.below(4) == 0 {
                assert_eq!(open(&bytes).expect("our own frame"), addresses);
                good += 1;
                continue;
            }
            for _ in 0..=random.below(3) {
                match random.below(3) {
                    0 => bytes.truncate(random.below(bytes.len() as u64 + 1) as usize),
                    1 => bytes.push(random.bits() as u8),
                    _ => {
                        let at = random.below(bytes.len().max(1) as u64) as usize;
                        if let Some(byte) = bytes.get_mut(at) {
                            *byte = random.bits() as u8;
                        }
                    }
                }
            }
            match open(&bytes) {
                // Whatever is taken is the one encoding of what it says.
                Ok(read) => assert_eq!(frame(&read)[1..], bytes),
                Err(why) => {
                    assert!(why.to_string().starts_with("addresses: "), "{why}");
                    bad += 1;
                }
            }
        }
        assert!(good > 10_000 && bad > 10_000, "{good} good, {bad} bad");
    }

    #[test]
    fn what_cannot_be_dialled_is_refused() {
        let issuer = Issuer([3; 32]);
        for text in ["0.0.0.0:9", "10.0.0.1:0", "224.0.0.1:9", "plant.example:9", "10.0.0.1:09", "[::1%5]:08"]
        {
            let body = codec::encode(&Body { list: List(vec![(issuer, text)]) });
            assert!(open(&body).is_err(), "{text}");
        }
        let many = vec![(issuer, "10.0.0.1:9"); ADDRESSES_PER_FRAME + 1];
        assert!(open(&codec::encode(&Body { list: List(many) })).is_err());
    }
}
