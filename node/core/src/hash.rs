//! BLAKE3 with a key of its own for every use, and the 32-byte names made with it.
//!
//! Keys are derived as in section 2.3 of the BLAKE3 paper (`derive_key`): two uses can never produce the
//! same hash from the same bytes, so a leaf is never a node and a transaction never an identity.

use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;
use core::fmt::Write as _;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Context strings of the derived keys. They end up in every hash: never change one, add another.
pub mod context {
    /// Transaction ids, mixed with the network id.
    pub const TRANSACTION: &str = "selvedge v0 transaction";
    /// Identities: scheme and first public key.
    pub const IDENTITY: &str = "selvedge v0 identity";
    /// Network ids: the genesis bytes.
    pub const GENESIS: &str = "selvedge v0 genesis";
    /// Leaves of numeric readings: one 64-byte block.
    pub const LEAF: &str = "selvedge v0 leaf";
    /// Leaves of text and other long readings.
    pub const LONG_LEAF: &str = "selvedge v0 long leaf";
    /// Inner nodes of the tree over a batch.
    pub const NODE: &str = "selvedge v0 node";
    /// Stream descriptors.
    pub const DESCRIPTOR: &str = "selvedge v0 descriptor";
    /// Archive segments.
    pub const SEGMENT: &str = "selvedge v0 segment";
    /// The secret of one batch, from the gateway's salt key.
    pub const BATCH_SECRET: &str = "selvedge v0 batch secret";
    /// The salts of one batch, from its secret.
    pub const SALT: &str = "selvedge v0 salt";
    /// The core's random stream, from the seed of this start.
    pub const RANDOM: &str = "selvedge v0 random";
    /// Credentials of members that the genesis does not name.
    pub const CREDENTIAL: &str = "selvedge v0 credential";
    /// The name of one start of a node.
    pub const START: &str = "selvedge v0 start";
    /// Everything that a node holds, as heads of chains.
    pub const FRONTIER: &str = "selvedge v0 frontier";
    /// Whole envelopes, to remember a badly signed one.
    pub const ENVELOPE: &str = "selvedge v0 envelope";
}

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub [u8; 32]);

        /// By bytes, as an array would be; hashes nearly always differ in the first eight, which are compared as one number.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                self.prefix().cmp(&other.prefix()).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            fn prefix(&self) -> u64 {
                let [a, b, c, d, e, f, g, h, ..] = self.0;
                u64::from_be_bytes([a, b, c, d, e, f, g, h])
            }

            /// The bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// All 64 hexadecimal digits.
            pub fn to_hex(&self) -> String {
                hex(&self.0)
            }
            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_bytes(Bytes32).map(Self)
            }
        }
    };
}

hash_type! {
    /// The id of a transaction, or of the genesis.
    Id
}
hash_type! {
    /// The id of a network: the hash of its genesis.
    NetworkId
}
hash_type! {
    /// Who signs: the hash of scheme and first public key. Stable for life.
    Issuer
}
hash_type! {
    /// A BLAKE3 hash with no narrower meaning: a root, a descriptor, a segment.
    Hash
}

impl Issuer {
    /// The issuer that only the genesis has.
    pub const GENESIS: Self = Self([0; 32]);
}

struct Bytes32;

impl Visitor<'_> for Bytes32 {
    type Value = [u8; 32];
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("32 bytes")
    }
    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; 32], E> {
        bytes.try_into().map_err(|_| E::invalid_length(bytes.len(), &"32 bytes"))
    }
    fn visit_borrowed_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<[u8; 32], E> {
        bytes.try_into().map_err(|_| E::custom("not 32 bytes"))
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// `bytes` hashed with the key derived for `context`.
pub fn derive(context: &str, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    hasher.update(bytes);
    *hasher.finalize().as_bytes()
}

/// What all ids of one network have in common: the network id and the key made of it.
#[derive(Clone)]
pub struct Network {
    id: NetworkId,
    transaction_key: [u8; 32],
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Network({})", self.id.short())
    }
}

impl Network {
    /// The network with this id.
    pub fn new(id: NetworkId) -> Self {
        Self { id, transaction_key: derive(context::TRANSACTION, &id.0) }
    }
    /// Its id.
    pub const fn id(&self) -> NetworkId {
        self.id
    }
    /// The id of the transaction with exactly these body bytes. The signature is never part of it.
    pub fn transaction_id(&self, body: &[u8]) -> Id {
        Id(*blake3::keyed_hash(&self.transaction_key, body).as_bytes())
    }
    /// The genesis as an id, for references and for `prev` of a first transaction.
    pub const fn genesis_id(&self) -> Id {
        Id(self.id.0)
    }
}

/// The identity that `public_key` of `scheme` founds.
pub fn issuer_of(scheme: u8, public_key: &[u8]) -> Issuer {
    let mut hasher = blake3::Hasher::new_derive_key(context::IDENTITY);
    hasher.update(&[scheme]);
    hasher.update(public_key);
    Issuer(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_ordered_like_their_bytes() {
        let mut random = crate::random::Random::new(&[1; 32]);
        // Of few values, so that beginnings of every length are alike.
        let mut some = || Id(core::array::from_fn(|_| [0, 1, 0xff][random.below(3) as usize]));
        for place in 0..32 {
            let (mut a, b) = (some(), some());
            a.0[..place].copy_from_slice(&b.0[..place]);
            assert_eq!(a.cmp(&b), a.0.cmp(&b.0), "{a} {b}");
            assert_eq!(a.partial_cmp(&b), b.partial_cmp(&a).map(Ordering::reverse));
            assert_eq!(b.cmp(&b), Ordering::Equal);
        }
    }
}
