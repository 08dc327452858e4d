//! A protocol over MQTT that says by itself what its messages mean, when to say something, and how a value is written.
//! [`Session`](super::session) does the rest: connections, acknowledgements, room, and the way to the node.
//!
//! Its sessions are clean ones: the broker sends nothing again on the next connection, so its messages need no origins
//! in the journal. They are acknowledged when their readings are durable all the same, so that the broker waits when
//! the node has no room.

use tokio::time::Instant;

use super::client::{Message, Speak};
use super::packet::encode::Will;
use crate::adapter::Context;
use crate::outlet::Readings;
use crate::write::WriteRequest;

/// What such a protocol does, as long as its adapter runs.
pub(crate) trait Layer: Send {
    /// A connection is about to be made, at this time (ns since 1970 UTC). Its last will.
    fn connecting(&mut self, now_ns: i64) -> Option<Will>;
    /// The broker has granted all subscriptions; or `refused` says which it has not.
    fn subscribed(&mut self, refused: Option<&str>, context: &Context);
    /// A message, and the readings that it gives. `is_older`: it had come before a value was written last, and says
    /// nothing of that write.
    fn message(&mut self, message: &Message, is_older: bool, readings: &mut Readings, context: &Context);
    /// When [`Self::tick`] is to be called; `None`: no need.
    fn due(&self) -> Option<Instant>;
    /// Time has gone on: something may be to be said, or to be read from silence.
    fn tick(&mut self, speaker: &mut dyn Speak, readings: &mut Readings, context: &Context);
    /// May a value be written now? One at a time.
    fn can_write(&self) -> bool;
    /// Writes a value.
    fn write(&mut self, request: WriteRequest, speaker: &mut dyn Speak, context: &Context);
    /// The connection is over.
    fn disconnected(&mut self);
}

/// Makes one, for each adapter that is built.
pub(crate) trait Layered: Send + Sync + std::fmt::Debug {
    /// A new one. A rehearsal looks on, and says nothing to others of the gateway that runs.
    fn layer(&self, is_rehearsal: bool) -> Box<dyn Layer>;
    /// What it claims besides the client id.
    fn claims(&self) -> Vec<crate::adapter::Claim>;
}
