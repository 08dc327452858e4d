//! The edge node: what stands around the core of the ledger.
//!
//! # Layout
//! - [`cli`]: the program's commands
//! - [`gateway`]: one running gateway, put together and taken apart in order
//! - [`engine`]: the loop that owns the core, and the threads that carry its effects out
//! - [`net`]: peers over QUIC
//! - [`store`]: log, journal, index and archive on a disk
//! - [`answers`], [`api`]: questions, and where a running node answers them
//! - [`config`], [`folder`]: the configuration, and what lies where in a data folder
//! - [`introduction`], [`invite`], [`credential`], [`document`]: how a network is founded and joined, and the files for it
//! - [`rotate`]: the next signing key
//! - [`chain`]: the store of a folder, and whether the own chain in it is whole
//! - [`demo`]: a simulated plant for `selvedge demo`
#![warn(missing_docs)]

pub mod answers;
pub mod api;
pub mod chain;
pub mod cli;
pub mod config;
pub mod credential;
pub mod demo;
pub mod document;
pub mod engine;
pub mod folder;
pub mod gateway;
pub mod introduction;
pub mod invite;
pub mod net;
pub mod rotate;
pub mod store;
