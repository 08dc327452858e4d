//! The abstract tangle of the papers: transactions arrive at rate λ, each is seen by everybody h after its arrival, and
//! each approves k tips of those that it sees. There are no gateways, signatures or links here; the tips are chosen by
//! the code that gateways ship (`selvedge_core::tips`).
//!
//! # What is counted
//! - *Tips* at a moment: transactions that arrived and that no transaction which arrived approves. This is Popov's L(t)
//!   ("The Tangle", version 1.4.3, section 3): it holds the *hidden* ones, which arrived less than h ago and which
//!   nobody can have approved, and the *revealed* ones.
//! - *Visible tips*: what a selector sees, transactions older than h that no transaction older than h approves. At time
//!   t these are exactly the tips of time t − h, so both have the same mean and deviation in the stationary part.
//! - *First approval*: from the arrival of a transaction to the arrival of the first that approves it; others see that
//!   approval h later.
//! - *Direct approvers*: different transactions that approve it. Their number is final as soon as the first of them is
//!   visible: it is then no tip to anybody any more.
//! - *Cumulative weight* at an age: the transaction itself and all that arrived until then and reach it.
//! - *Never approved*: no transaction approves it until the end of the run. Transactions of the last
//!   [`params::JUDGED_AGE`] × h are not judged: their time may still come. First approvals and direct approvers are
//!   counted over the same judged transactions.
//!
//! # Layout
//! - [`params`]: what a run is asked to do; [`arrivals`]: when transactions come
//! - [`engine`]: the loop; [`choose`]: uniform, walk, shipped; [`weights`]: exact cumulative weights, kept up to date
//! - [`measure`]: means over time, quantiles, growth of weight; [`theory`]: what papers say of them
//! - [`outcome`]: what a run ends with, as JSON and in words; [`files`]: its CSV files and plots

pub mod arrivals;
mod choose;
mod engine;
pub mod files;
pub mod measure;
pub mod outcome;
pub mod params;
pub mod theory;
pub mod weights;

pub use engine::run;
pub use outcome::Outcome;
pub use params::{Arrivals, Params, Selection};
