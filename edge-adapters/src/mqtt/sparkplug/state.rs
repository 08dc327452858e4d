//! The state of this host application, which edge nodes look at (specification 3.0.0, section 5.7): pure.
//!
//! | | topic | there | gone |
//! |---|---|---|---|
//! | 3.0 | `spBv1.0/STATE/HOST` | `{"online":true,"timestamp":MS}` | `{"online":false,"timestamp":MS}` |
//! | 2.2 | `STATE/HOST` | `ONLINE` | `OFFLINE` |
//!
//! Both are retained, with quality of service 1. That it is gone is the will of its connection, which must have the same
//! timestamp as the birth of that connection, so that a node can tell a late will from a new one.

use serde::Deserialize;

use super::topic::Topic;

/// Which form nodes of the plant understand. A connection has one will, so it is one of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Of version 3.0.
    New,
    /// Of version 2.2.
    Old,
}

/// The state of one host application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostState {
    id: String,
    form: Form,
}

impl HostState {
    /// Of the host with this id.
    pub const fn new(id: String, form: Form) -> Self {
        Self { id, form }
    }

    /// Where it is said.
    pub fn topic(&self) -> String {
        Topic::State { host: self.id.clone(), is_old: self.form == Form::Old }.to_string()
    }

    /// What is said of a connection that was made at this time, ms since 1970 UTC.
    pub fn payload(&self, is_online: bool, connected_ms: i64) -> String {
        match (self.form, is_online) {
            (Form::New, _) => format!("{{\"online\":{is_online},\"timestamp\":{connected_ms}}}"),
            (Form::Old, true) => "ONLINE".to_owned(),
            (Form::Old, false) => "OFFLINE".to_owned(),
        }
    }

    /// Does this message on its own topic say that it is gone? A host that is there must contradict.
    pub fn is_contradicted_by(&self, payload: &[u8]) -> bool {
        #[derive(Deserialize)]
        struct State {
            online: bool,
        }
        match self.form {
            Form::New => serde_json::from_slice::<State>(payload).is_ok_and(|state| !state.online),
            Form::Old => payload == b"OFFLINE",
        }
    }
}
