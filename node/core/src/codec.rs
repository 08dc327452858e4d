//! The one encoding of everything that is signed, hashed or sent: postcard, and nothing that postcard
//! would not itself have written.
//!
//! Postcard as it comes is malleable: it takes over-long varints, over-long discriminants and trailing
//! bytes. So [`decode`] re-encodes what it read and demands the same bytes; a value has one encoding.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// Why bytes are not the encoding of a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CodecError {
    /// Longer than this kind of value may be. Checked before anything is decoded.
    #[error("{what}: {got} bytes, expected at most {limit}")]
    TooLong {
        /// What was being decoded.
        what: &'static str,
        /// Its length.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// Not decodable at all: cut short, an impossible length, an unknown discriminant.
    #[error("{what}: malformed ({why})")]
    Malformed {
        /// What was being decoded.
        what: &'static str,
        /// The decoder's reason.
        why: postcard::Error,
    },
    /// Bytes are left over.
    #[error("{what}: {left} bytes left over")]
    Trailing {
        /// What was being decoded.
        what: &'static str,
        /// How many.
        left: usize,
    },
    /// It decodes, but this is not how it is encoded.
    #[error("{what}: not the canonical encoding (first difference at byte {at})")]
    NotCanonical {
        /// What was being decoded.
        what: &'static str,
        /// Offset of the first byte that differs.
        at: usize,
    },
    /// A rule of the type itself is broken.
    #[error("{what}: {why}")]
    Rule {
        /// What was being decoded.
        what: &'static str,
        /// The rule.
        why: &'static str,
    },
}

/// A type with one encoding, a name for error messages, and a size limit.
pub trait Canonical: Serialize {
    /// What error messages call it.
    const WHAT: &'static str;
    /// Longest encoding, in bytes.
    const BYTES_MAX: usize;

    /// Rules that the types do not express (ascending order, length of a name, …).
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// The encoding of `value`.
///
/// # Panics
/// Never: a `Vec` takes any length and no type of ours has a length unknown in advance.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).expect("serialising our own types into memory cannot fail")
}

/// The same, behind what `before` holds.
pub(crate) fn encode_behind<T: Serialize>(before: Vec<u8>, value: &T) -> Vec<u8> {
    postcard::to_extend(value, before).expect("serialising our own types into memory cannot fail")
}

/// The value that `bytes` encode, if this is its one encoding and it keeps the rules of its type.
pub fn decode<'a, T: Canonical + Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    let what = T::WHAT;
    if bytes.len() > T::BYTES_MAX {
        return Err(CodecError::TooLong { what, got: bytes.len(), limit: T::BYTES_MAX });
    }
    let (value, rest) =
        postcard::take_from_bytes::<T>(bytes).map_err(|why| CodecError::Malformed { what, why })?;
    if !rest.is_empty() {
        return Err(CodecError::Trailing { what, left: rest.len() });
    }
    value.check().map_err(|why| CodecError::Rule { what, why })?;
    if !encodes_to(&value, bytes) {
        let again = encode(&value);
        let at = again.iter().zip(bytes).take_while(|(a, b)| a == b).count();
        return Err(CodecError::NotCanonical { what, at });
    }
    Ok(value)
}

/// The value of bytes that [`decode`] took before: neither its form nor its rules are looked at again.
pub(crate) fn decode_again<'a, T: Canonical + Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    postcard::from_bytes(bytes).map_err(|why| CodecError::Malformed { what: T::WHAT, why })
}

/// Is this the encoding of `value`? Compares as it encodes, without a copy.
fn encodes_to<T: Serialize>(value: &T, bytes: &[u8]) -> bool {
    postcard::serialize_with_flavor(value, Compared { left: bytes }).unwrap_or(false)
}

/// Where an encoding "goes" that is only to be compared: what is left of the bytes that it should be.
struct Compared<'a> {
    left: &'a [u8],
}

impl postcard::ser_flavors::Flavor for Compared<'_> {
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        match self.left.split_first() {
            Some((first, left)) if *first == byte => {
                self.left = left;
                Ok(())
            }
            // Any error will do: it differs here.
            _ => Err(postcard::Error::SerializeBufferFull),
        }
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.left = self.left.strip_prefix(bytes).ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.left.is_empty())
    }
}

/// A list that stops at `N` elements, for `deserialize_with`. The limit of a list of small elements must hold while it
/// is read: one byte on the wire may take dozens in memory.
pub(crate) fn at_most<'de, D, T, const N: usize>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Bounded<T, const N: usize>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Bounded<T, N> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {N} elements")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut elements = Vec::with_capacity(list.size_hint().unwrap_or(0).min(N));
            while let Some(element) = list.next_element()? {
                if elements.len() == N {
                    return Err(serde::de::Error::invalid_length(N + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    deserializer.deserialize_seq(Bounded::<T, N>(PhantomData))
}

/// Is `text` fit to be a name: not empty, within the limit, no control characters?
pub fn check_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("a name is empty");
    }
    if text.len() > crate::limits::NAME_BYTES_MAX {
        return Err("a name is longer than 128 bytes");
    }
    if text.chars().any(char::is_control) {
        return Err("a name holds a control character");
    }
    Ok(())
}
