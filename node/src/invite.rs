//! Joining a network with one pasted line.
//!
//! A member gives out a line ([`Line`]: network, one address, a one-time secret, an expiry) and keeps what is needed to
//! redeem it. The joiner dials the address, and over a TLS connection on which neither side knows the other yet both
//! prove that they know the secret, bound to this very connection: whoever stands between has two connections, and the
//! proofs fit neither. Then the member signs a credential for the joiner's key, and hands it over with the genesis.
//!
//! # Layout
//! - [`Line`], [`Address`]: the line and its text form
//! - [`Invitation`], [`Redeemed`]: what lies in the folder `invitations`
//! - [`exchange`]: the two messages and their proofs, without IO
//! - [`Desk`]: decides about redemptions, on the member that gave out the line
//! - [`stream`]: both ends over any pair of byte streams

mod address;
mod book;
mod desk;
pub mod exchange;
mod line;
pub mod stream;

pub use address::{Address, AddressError, Host};
pub use book::{INVITATIONS_MAX, Invitation, LASTS_MAX, LASTS_MIN, Redeemed};
pub use desk::{Desk, Guest, Look};
pub use line::{Line, LineError, SECRET_BYTES};

#[cfg(test)]
mod tests;
