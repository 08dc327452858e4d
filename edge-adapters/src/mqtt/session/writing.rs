//! Writing: one value at a time is published, and is confirmed when the stream itself shows it.
//!
//! A message is published once. When the connection ends before it is confirmed, it is not published again on the next:
//! a command that comes late, perhaps after another one, is worse than one that did not come.

use std::convert::Infallible;

use selvedge_core::reading::Value;
use tokio::time::Instant;

use super::Session;
use crate::mqtt::client::{Message, Outcome, Speak};
use crate::mqtt::command::is_same;
use crate::mqtt::packet::reason::failure;
use crate::status_code;
use crate::write::{WriteRequest, Writes, Written};

/// MQTT 5: the broker took it, and nobody has subscribed to its topic.
const NOBODY: u8 = 0x10;

/// A value that was published and is not confirmed yet.
pub(super) struct Writing {
    request: WriteRequest,
    /// 0 where the broker does not answer.
    packet: u16,
    pub(super) due: Instant,
    nobody_listens: bool,
    /// What the stream showed since.
    read_back: Option<Value>,
}

impl Session {
    /// Publishes the value of a request.
    pub(super) fn write(&mut self, request: WriteRequest, speaker: &mut dyn Speak) {
        let refused = |why: String| Written::Refused { status: status_code::NOT_ALLOWED, why };
        let command = self.source.commands.get(request.stream).and_then(Option::as_ref);
        let Some(command) = command else {
            return request.done(refused("this stream has no write table".to_owned()));
        };
        let Some(publication) = command.publication(&request.value) else {
            return request.done(refused("MQTT has no text for this value".to_owned()));
        };
        if !request.is_armed() {
            let why = "the gateway was disarmed while it waited".to_owned();
            return request.done(Written::Refused { status: status_code::NOT_ARMED, why });
        }
        match speaker.publish(&publication) {
            Ok(packet) => {
                let due = Instant::now() + command.confirm_within;
                let (nobody_listens, read_back) = (false, None);
                self.writing = Some(Writing { request, packet, due, nobody_listens, read_back });
            }
            Err(why) => request.done(refused(why)),
        }
    }

    /// The broker has answered a message of this gateway.
    pub(super) fn published(&mut self, packet: u16, outcome: &Outcome) {
        let Some(writing) = self.writing.as_mut().filter(|writing| writing.packet == packet) else { return };
        writing.nobody_listens = outcome.code == NOBODY;
        if outcome.is_failure()
            && let Some(Writing { request, .. }) = self.writing.take()
        {
            let why = failure("the broker refuses the message", outcome);
            request.done(Written::Refused { status: status_code::NOT_ALLOWED, why });
        }
    }

    /// A stream shows a value. What is older than the write confirms nothing.
    pub(super) fn shows(&mut self, stream: usize, message: &Message, value: &Value) {
        let is_new = self.older == 0 && !message.retained && !message.again;
        let is_of = |writing: &&mut Writing| is_new && writing.request.stream == stream;
        let Some(writing) = self.writing.as_mut().filter(is_of) else { return };
        if !is_same(&writing.request.value, value) {
            // It may be on its way still.
            writing.read_back = Some(value.clone());
            return;
        }
        if let Some(Writing { request, .. }) = self.writing.take() {
            request.done(Written::Confirmed { read_back: value.clone() });
        }
    }

    /// It will not be known any more.
    pub(super) fn not_confirmed(&mut self, why: &str) {
        let Some(Writing { request, nobody_listens, read_back, .. }) = self.writing.take() else { return };
        let hint =
            if nobody_listens { "; nobody has subscribed to the topic it was published on" } else { "" };
        request.done(Written::NotConfirmed { read_back, why: format!("{why}{hint}") });
    }
}

/// Refuses what is to be written while there is no connection: nothing waits for one and is written then.
pub(super) async fn refuse(writes: &Writes) -> Infallible {
    loop {
        let why = "there is no connection to the broker".to_owned();
        writes.next().await.done(Written::Refused { status: status_code::UNREACHABLE, why });
    }
}
