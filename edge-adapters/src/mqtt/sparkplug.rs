//! Sparkplug B over MQTT, as a host application (Eclipse Sparkplug 3.0.0; edge nodes of 2.2 too).
//!
//! # Layout
//!
//! | file | what is in it |
//! |---|---|
//! | `topic.rs` | pure: topics |
//! | `payload.rs` | pure: the structs of a payload, with bounds |
//! | `value.rs` | pure: metrics to values and back |
//! | `host.rs` | pure: what messages say of nodes, devices and streams; `node.rs`, `scope.rs` its parts, `rebirth.rs` when births are asked for |

pub mod host;
mod node;
pub mod payload;
pub mod rebirth;
mod scope;
pub mod topic;
pub mod value;

pub use node::Life;
pub use scope::{ALIASES_MAX, Born};
