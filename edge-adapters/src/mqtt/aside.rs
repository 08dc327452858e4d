//! Messages that come again and may have been recorded before all that are remembered.
//!
//! An acknowledgement that was written is not one that arrived: a broker that is slow, or dies, or whose connection is
//! cut, sends again what was acknowledged long ago, and that may be more than the journal keeps origins of. (A mosquitto
//! 2.0 with a backlog sends twenty messages for each acknowledgement, so hundreds are in flight.) What its id says
//! alone is not enough to leave a message out: ids begin again. So it is set aside until the next message tells.
//!
//! A broker sends again in the order in which it sent first (MQTT 3.1.1, section 4.6), and what came first was recorded
//! first. So if a message that is known to be recorded comes again after those set aside, all of them were recorded;
//! if any other comes, or none for [`SILENCE`], nobody can say.

use std::time::Duration;

use tokio::time::Instant;

use super::client::Message;

/// Messages that are set aside. Of more than these nobody can say.
pub(crate) const ASIDE_MAX: usize = 3_072;
/// Bytes of them, topics and payloads.
const ASIDE_BYTES_MAX: usize = 4 << 20;
/// Nothing more came for so long: there is nothing to wait for.
pub(crate) const SILENCE: Duration = Duration::from_secs(10);

/// What was set aside, in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Aside {
    messages: Vec<Message>,
    bytes: usize,
    last: Option<Instant>,
}

impl Aside {
    /// Sets it aside, or gives it back when there is no room.
    pub(super) fn push(&mut self, message: Message) -> Result<(), Message> {
        let bytes = self.bytes + message.topic.len() + message.payload.len();
        if self.messages.len() >= ASIDE_MAX || bytes > ASIDE_BYTES_MAX {
            return Err(message);
        }
        self.messages.push(message);
        (self.bytes, self.last) = (bytes, Some(Instant::now()));
        Ok(())
    }

    /// All of it; afterwards there is none.
    pub(super) fn take(&mut self) -> Vec<Message> {
        std::mem::take(self).messages
    }

    /// When to wait no longer; `None` when nothing is set aside.
    pub(super) fn due(&self) -> Option<Instant> {
        self.last.map(|last| last + SILENCE)
    }
}
