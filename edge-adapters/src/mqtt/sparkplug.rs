//! Sparkplug B over MQTT, as a host application (Eclipse Sparkplug 3.0.0; edge nodes of 2.2 too).
//!
//! A host application subscribes to the topics of its group, learns from births what there is, and asks for births when
//! it may have missed one ([`host`]). Sessions are clean, as section 5.5 demands, so nothing is kept for it while it is
//! away; when it comes back it asks every node that feeds a stream for its births, and until they come the streams stay
//! stale. What a node stored meanwhile it may send as historical values: they are recorded with their own time.
//!
//! # Time and quality
//! The source time is the metric's, else the payload's; without either it is the time of receipt, and uncertain. A death
//! carries the time at which its connection was made, so what it makes stale has the time of receipt. A birth repeats
//! values; one with the same value and time as the last is counted and left out.
//!
//! # Layout
//!
//! | file | what is in it |
//! |---|---|
//! | `topic.rs` | pure: topics |
//! | `payload.rs` | pure: the structs of a payload, with bounds |
//! | `value.rs` | pure: metrics to values and back |
//! | `host.rs` | pure: what messages say of nodes, devices and streams; `node.rs`, `scope.rs` its parts, `rebirth.rs` when births are asked for |
//! | `state.rs` | pure: the state of this host, which nodes look at |
//! | `describe.rs` | pure: what a message says, for people |
//! | `reader.rs` | readings, requests and figures; `writing.rs` the value that is being written |

mod describe;
pub mod host;
mod node;
pub mod payload;
pub(crate) mod reader;
pub mod rebirth;
mod scope;
pub mod state;
pub mod topic;
pub mod value;
mod writing;

pub use describe::{Described, DescribedMetric, describe};
pub use node::Life;
pub use scope::{ALIASES_MAX, Born};
