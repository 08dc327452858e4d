//! # No panic
//!
//! No input in any order makes a core panic, nor the plain model of the store over which it runs.

use super::{Held, Invariant};

/// Runs something to its end; a panic is a broken invariant like any other.
///
/// # Errors
/// The panic in words.
pub fn guard<T>(run: impl FnOnce() -> T) -> Held<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Invariant::NoPanic
            .broken(format!("panic: {}", text.unwrap_or_else(|| "without a message".to_owned())))
    })
}
