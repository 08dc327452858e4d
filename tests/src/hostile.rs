//! The hostile peer: a program with a QUIC client of its own that breaks every rule it can, and an honest pair of real
//! gateways for it to break them on.
//!
//! It may hold the data folder of a member (as a thief would, or a partner who turned), or nothing. Each attack is bounded by a time and
//! says at its end what it tried and what it got; what it cost is read off the honest processes from outside.
//!
//! # Layout
//! - [`network`]: the data folders of a network of honest and hostile members
//! - [`identity`]: what a hostile member knows
//! - [`tls`]: the client's side of TLS, which believes anybody
//! - [`link`]: a connection on which anything can be said
//! - [`make`]: transactions, good and bad
//! - [`tally`]: what an attack tried and got
//! - [`attack`]: which attacks there are, and what all of them have in common
//! - `attacks`: the attacks themselves
//! - [`pair`]: two honest gateways that read a device
//! - [`cost`]: processor time and memory of a process, and how long a transaction takes from one gateway to the other
//! - [`trial`]: one attack on a pair, with what it cost
//! - [`table`]: all attacks, as a table

pub mod attack;
mod attacks;
pub mod cost;
pub mod identity;
pub mod link;
pub mod make;
pub mod network;
pub mod pair;
pub mod table;
pub mod tally;
pub mod tls;
pub mod trial;
