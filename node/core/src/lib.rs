//! The ledger of Selvedge as a state machine: inputs in, effects out, no IO.
//!
//! There is no clock here, no thread, no file, no socket and no source of randomness: time is an argument,
//! randomness a seed, and everything slow an [effect](border) that comes back as an input. So the daemon and
//! the simulator drive the very same code.
#![no_std]
#![warn(missing_docs)]

extern crate alloc;

/// Is this bug planted and alive? Only the simulator is built with the feature, to show that it finds such bugs.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($bug:ident) => {
        $crate::planted::is($crate::planted::Bug::$bug)
    };
}
/// Nothing is planted in what is shipped.
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($bug:ident) => {
        false
    };
}

pub mod batch;
pub mod border;
mod check;
pub mod codec;
pub mod counters;
pub mod genesis;
mod gossip;
pub mod hash;
pub mod invariants;
mod issuers;
pub mod journal;
pub mod limits;
pub mod merkle;
pub mod node;
pub mod origins;
pub mod payload;
mod pending;
#[cfg(feature = "planted")]
pub mod planted;
pub mod random;
pub mod reading;
pub mod record;
pub mod reject;
pub mod scaled;
pub mod scheme;
pub mod seal;
pub mod stream;
pub mod tips;
pub mod transaction;
mod window;
pub mod wire;

pub use check::credential_check;
pub use hash::{Hash, Id, Issuer, Network, NetworkId};
pub use scheme::Scheme;
