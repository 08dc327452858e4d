//! What the core and the index keep of a transaction: who, where on its chain, and what it refers to. Never its bytes.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::hash::{Id, Issuer};

/// Stands for the genesis where a local number is expected.
pub const GENESIS_NUMBER: u64 = u64::MAX;

/// Flags of a [`Record`].
pub mod flag {
    /// It carries something that others should approve.
    pub const PAYLOAD: u8 = 1;
    /// It, or one before it on its chain, came after another at the same sequence: no tip, and it covers nothing.
    pub const SECOND_BRANCH: u8 = 1 << 1;
    /// It has a witness part.
    pub const WITNESS: u8 = 1 << 2;
}

/// What the core keeps of an attached transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Local number: place in this node's order of attaching, from 0. Log order is attach order.
    pub number: u64,
    /// Its id.
    pub id: Id,
    /// Who signed it.
    pub issuer: Issuer,
    /// Place on the issuer's chain.
    pub sequence: u64,
    /// The key in force after it: place in the issuer's list of keys.
    pub key: u16,
    /// `flag::…`.
    pub flags: u8,
    /// Payload kind.
    pub kind: u16,
    /// Local number of the transaction before it on its chain.
    pub prev: u64,
    /// Local numbers of the two tips that it approves.
    pub approves: [u64; 2],
    /// Local numbers of parents and further tips of a witness part.
    pub further: Box<[u64]>,
}

impl Record {
    /// All that it refers to, the genesis left out. May name one twice.
    pub fn references(&self) -> impl Iterator<Item = u64> + '_ {
        [self.prev, self.approves[0], self.approves[1]]
            .into_iter()
            .chain(self.further.iter().copied())
            .filter(|n| *n != GENESIS_NUMBER)
    }
    /// Is this flag set?
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What the store says of a transaction below the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Local number.
    pub number: u64,
    /// Who signed it.
    pub issuer: Issuer,
    /// Place on the issuer's chain.
    pub sequence: u64,
    /// The key in force after it: see [`Record::key`].
    pub key: u16,
    /// Its flags: see [`Record::flags`].
    pub flags: u8,
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        Self {
            number: record.number,
            issuer: record.issuer,
            sequence: record.sequence,
            key: record.key,
            flags: record.flags,
        }
    }
}
