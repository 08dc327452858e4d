//! Writing to machines: off, unless a stream's `write` table allows it within bounds and the gateway is armed on the spot.
//!
//! The way of a value to a device: whoever wants it written asks the [`Desk`], which looks whether the stream may be
//! written, whether the value lies within its [`Bounds`](crate::Bounds), and whether the gateway is armed ([`Arming`]).
//! Only then is there a [`WriteRequest`], which nothing else can make: it holds the [`Permit`] that arming gave. The adapter
//! of the device takes it from [`Writes`] between two polls, writes, reads back and answers. Whatever became of it, the
//! attempt is a reading of the stream `NAME/write`.
//!
//! # Layout
//! - this file: requests, and what becomes of them
//! - [`arming`]: the file on the gateway without which nothing is written
//! - [`desk`]: who may write what
//! - `user`: names of users
//! - `takes`: what a place of a device can hold
//! - `unscaled`: the raw value that stands for a scaled one

pub mod arming;
pub mod desk;
pub(crate) mod takes;
mod unscaled;
mod user;

use std::sync::Arc;

use selvedge_core::reading::Value;
use tokio::sync::{Mutex, mpsc, oneshot};

use arming::Permit;
pub use arming::{Arming, NotArmed};
pub use desk::{Attempt, Desk, Refusal};
pub(crate) use unscaled::unscaled;
pub use user::user_name;

/// Requests of one device that may wait for its adapter.
pub const WRITES_MAX: usize = 16;

/// A value on its way to a device: allowed, within bounds, and armed.
#[derive(Debug)]
pub struct WriteRequest {
    /// Which stream, by its place in [`Source::streams`](crate::Source::streams).
    pub stream: usize,
    /// The raw value, as readings of the stream hold it.
    pub value: Value,
    permit: Permit,
    answer: oneshot::Sender<Written>,
}

impl WriteRequest {
    /// Says what became of it. Dropping the request without a word counts as [`Written::NotConfirmed`].
    pub fn done(self, written: Written) {
        // Whoever asked may have gone; the attempt is recorded all the same.
        let _ = self.answer.send(written);
    }

    /// Is it still allowed? To be asked right before the device is written to: the request may have waited.
    pub fn is_armed(&self) -> bool {
        self.permit.holds() && !self.is_given_up()
    }

    /// Has whoever asked given up? Then nobody would know of the write, and a command must not come late.
    fn is_given_up(&self) -> bool {
        self.answer.is_closed()
    }
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// The device was read afterwards and holds the value.
    Confirmed {
        /// What was read back.
        read_back: Value,
    },
    /// The device took it, or may have taken it, and nobody knows whether it holds it.
    NotConfirmed {
        /// What was read back instead; `None` when nothing could be read.
        read_back: Option<Value>,
        /// Why, for a person.
        why: String,
    },
    /// The device does not hold it: it refused, or was not asked.
    Refused {
        /// The device's own status code, or one of [`status_code`](crate::status_code).
        status: u32,
        /// Why, for a person.
        why: String,
    },
}

/// Where an adapter finds what is to be written. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Writes(Option<Arc<Mutex<mpsc::Receiver<WriteRequest>>>>);

impl Writes {
    /// Of a device to which nothing may be written.
    pub const fn none() -> Self {
        Self(None)
    }

    pub(crate) fn queue() -> (mpsc::Sender<WriteRequest>, Self) {
        let (sender, receiver) = mpsc::channel(WRITES_MAX);
        (sender, Self(Some(Arc::new(Mutex::new(receiver)))))
    }

    /// The next request that is still armed; waits for ever when nothing is to be written. May be dropped at any time
    /// without losing one.
    pub async fn next(&self) -> WriteRequest {
        let Some(queue) = &self.0 else { return std::future::pending().await };
        let mut queue = queue.lock().await;
        loop {
            let Some(request) = queue.recv().await else { return std::future::pending().await };
            if request.is_armed() {
                return request;
            }
            let why = if request.is_given_up() {
                "it waited for so long that whoever asked gave up"
            } else {
                "the gateway was disarmed while it waited"
            };
            let why = why.to_owned();
            request.done(Written::Refused { status: crate::status_code::NOT_ARMED, why });
        }
    }
}
