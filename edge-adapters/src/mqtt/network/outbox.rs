//! What is said and not sent yet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::mqtt::client::{Service, Unsaid};
use crate::mqtt::packet::ConnAck;
use crate::mqtt::packet::encode::Publication;

/// Bytes that may wait: acknowledgements of a window and of all that was set aside, subscriptions of all streams and a
/// few messages. More is a fault of this program; the connection is then made anew.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Filled by the one who speaks, emptied by the one who listens.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<Waiting>,
    more: Notify,
    unsaid: Arc<Unsaid>,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    acknowledgements: usize,
    /// Packet ids of subscriptions that were not answered, and how many filters each has.
    asked: VecDeque<(u16, usize)>,
    limits: ConnAck,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is complete by itself.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn unsaid(&self) -> Arc<Unsaid> {
        Arc::clone(&self.unsaid)
    }

    /// These packets are to go out; so many of them are acknowledgements.
    pub(super) fn push(&self, bytes: &[u8], acknowledgements: usize) -> Result<(), String> {
        let mut waiting = self.lock();
        if waiting.bytes.len() + bytes.len() > WAITING_BYTES_MAX {
            return Err("no room for what is to be said to the broker".to_owned());
        }
        waiting.bytes.extend_from_slice(bytes);
        waiting.acknowledgements += acknowledgements;
        drop(waiting);
        self.unsaid.more(acknowledgements);
        self.more.notify_one();
        Ok(())
    }

    /// All that waits, and how many acknowledgements are in it.
    pub(super) fn take(&self, into: &mut Vec<u8>) -> usize {
        let mut waiting = self.lock();
        into.clear();
        std::mem::swap(&mut waiting.bytes, into);
        std::mem::take(&mut waiting.acknowledgements)
    }

    /// Waits until something waits to be sent. What came before counts too.
    pub(super) async fn more(&self) {
        self.more.notified().await;
    }

    /// A subscription goes out.
    pub(super) fn asks(&self, packet: u16, filters: usize) {
        self.lock().asked.push_back((packet, filters));
    }

    /// A subscription is answered: was it asked, as the next one, with so many filters?
    pub(super) fn answers(&self, packet: u16, codes: usize) -> bool {
        let mut waiting = self.lock();
        let is_next = waiting.asked.front() == Some(&(packet, codes));
        if is_next {
            waiting.asked.pop_front();
        }
        is_next
    }

    /// What the broker says of itself.
    pub(super) fn greeted(&self, answer: &ConnAck) {
        self.lock().limits = answer.clone();
    }

    /// Does the broker take a message like this, of so many bytes?
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn takes(&self, publication: &Publication, bytes: usize) -> Result<(), String> {
        let limits = self.lock().limits.clone();
        if let Some(max) = limits.packet_bytes_max.filter(|max| bytes > *max as usize) {
            return Err(format!("{bytes} bytes, and the broker takes {max} at most"));
        }
        if publication.retain && limits.retains == Some(false) {
            return Err("the broker does not keep retained messages".to_owned());
        }
        if publication.service != Service::AtMostOnce && limits.service_max == Some(0) {
            return Err("the broker offers quality of service 0 only".to_owned());
        }
        Ok(())
    }
}
