//! The proof file against real keys: what it shows, and that nothing in it can be changed.

mod garbage;
mod issuers;
mod links;
mod support;
mod tampering;
mod values;
