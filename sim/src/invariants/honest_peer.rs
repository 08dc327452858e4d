//! # An honest peer is never banned
//!
//! For every gateway p and q of the network that keep to the protocol: p never blames q, and never sends it away for
//! something that it did, whatever the links did to its frames and whatever hostile peers sent through it.

use selvedge_core::border::Farewell;

use super::{Held, Invariant};

/// A gateway reports what a peer sent.
///
/// # Errors
/// When the peer is honest.
pub fn blamed(is_hostile: bool, why: &impl std::fmt::Display) -> Held {
    Invariant::HonestPeer.ensure(is_hostile, || format!("it blames an honest peer: {why}"))
}

/// A gateway sends a peer away.
///
/// # Errors
/// When the peer is honest and the reason is what it did.
pub fn sent_away(is_hostile: bool, why: &Farewell) -> Held {
    let is_blame =
        matches!(why, Farewell::Faults { .. } | Farewell::Waste { .. } | Farewell::OtherNetwork { .. });
    Invariant::HonestPeer.ensure(is_hostile || !is_blame, || format!("it sends an honest peer away: {why}"))
}

/// A gateway says something of an issuer that only a hostile one gives cause for.
///
/// # Errors
/// When the issuer is honest.
pub fn accused(is_hostile: bool, of_what: &str) -> Held {
    Invariant::HonestPeer.ensure(is_hostile, || of_what)
}
