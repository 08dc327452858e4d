//! # The same ledger everywhere
//!
//! Once faults are off: within 60 simulated seconds every gateway holds every transaction that any of them holds (but for
//! third and further bodies of a hostile issuer's place, on which nobody need agree), nothing waits, no client waits, and
//! every gateway has approved every payload. A reading that is handed in then is, within 10 seconds, in a batch that all
//! have attached. After a quarter of an hour nothing more is issued, and what is hopeless was given up; an hour in which
//! nothing happens costs each link no more than 25 kB.
//!
//! The checks are in `world/finish.rs`, since they look at all gateways at once.

use super::{Held, Invariant};

/// # Errors
/// When it does not hold.
pub fn ensure<W: Into<String>>(holds: bool, what: impl FnOnce() -> W) -> Held {
    Invariant::Ledgers.ensure(holds, what)
}
