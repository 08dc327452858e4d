//! One node, driven by hand: its inputs answered, delayed, lost or failed as a scenario wants it, and after every
//! input the invariants of [`selvedge_core::invariants`].

mod adopt;
mod another;
mod approving;
mod bounds;
mod chaos;

mod driver;
mod fetching;
mod forks;
mod hostile;
mod issuing;
mod keys;
mod links;
mod lost;
mod lost_work;
mod order;
mod own_keys;
mod peer;
mod peers;
mod readings;
mod rejects;
mod restarts;
mod store;
mod waiting;
mod window;
mod witnessed;
mod world;
