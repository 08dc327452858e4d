//! One way of a connection: what waits to be sent in each of its two lanes, and what the other side has not read yet.
//! The bounds are those of the shipped network (`node/src/net/limits.rs`, `node/src/net/queue.rs`).

use std::collections::VecDeque;
use std::sync::Arc;

use selvedge_core::border::{Lane, Ticket};

use super::wires::LinkId;

/// Frames and bytes that wait in the lane of what is new, and in that of answers.
const QUEUE_FRAMES_MAX: [usize; 2] = [2_048, 1_024];
/// See [`QUEUE_FRAMES_MAX`].
const QUEUE_BYTES_MAX: [usize; 2] = [1024 * 1024, 512 * 1024];
/// Bytes that the transport takes before the other side has read them: QUIC's windows.
const WINDOW_BYTES: usize = 512 * 1024;

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    /// Have frames been dropped since it was last half empty?
    overflows: bool,
}

/// What becomes of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It goes onto the wire now.
    Leaves,
    /// It waits.
    Queued,
    /// It is dropped, the first since the queue was last half empty or a further one; the core is to be told of each.
    Dropped { first: bool },
}

/// See the module.
#[derive(Debug)]
pub(super) struct End {
    /// Whose end it is.
    pub(super) owner: u32,
    /// The other end of the connection.
    pub(super) other: u32,
    /// The wire towards the other end.
    pub(super) wire: LinkId,
    queues: [Queue; 2],
    /// Bytes on the wire, or arrived and not read.
    unread: usize,
    /// Answers from the log that are not wholly on the wire.
    serving: Vec<Ticket>,
    /// Frames and bytes that waited at the fullest moments.
    pub(super) most: (usize, usize),
}

impl End {
    pub(super) fn new(owner: u32, other: u32, wire: LinkId) -> Self {
        let (queues, serving) = (<[Queue; 2]>::default(), Vec::new());
        Self { owner, other, wire, queues, unread: 0, serving, most: (0, 0) }
    }

    fn has_window(&self, bytes: usize) -> bool {
        self.unread == 0 || self.unread + bytes <= WINDOW_BYTES
    }

    /// A core sends a frame.
    pub(super) fn send(&mut self, lane: Lane, frame: &Arc<[u8]>) -> Sent {
        if self.is_idle() && self.has_window(frame.len()) {
            self.unread += frame.len();
            return Sent::Leaves;
        }
        let queue = &mut self.queues[lane as usize];
        let is_full = queue.frames.len() >= QUEUE_FRAMES_MAX[lane as usize]
            || queue.bytes + frame.len() > QUEUE_BYTES_MAX[lane as usize];
        if is_full {
            return Sent::Dropped { first: !std::mem::replace(&mut queue.overflows, true) };
        }
        self.wait(lane, frame.clone());
        Sent::Queued
    }

    fn is_idle(&self) -> bool {
        self.queues.iter().all(|queue| queue.frames.is_empty())
    }

    /// An answer from the log waits for room and is never dropped.
    pub(super) fn wait(&mut self, lane: Lane, frame: Arc<[u8]>) {
        let queue = &mut self.queues[lane as usize];
        queue.bytes += frame.len();
        queue.frames.push_back(frame);
        let [fresh, bulk] = &self.queues;
        self.most.0 = self.most.0.max(fresh.frames.len() + bulk.frames.len());
        self.most.1 = self.most.1.max(fresh.bytes + bulk.bytes);
    }

    /// `ticket` is answered once nothing waits in the lane of answers.
    pub(super) fn serve(&mut self, ticket: Ticket) {
        self.serving.push(ticket);
    }

    /// The other side has read so many bytes.
    pub(super) fn read(&mut self, bytes: usize) {
        self.unread -= bytes;
    }

    /// The next frame that goes onto the wire: what is new before answers.
    pub(super) fn next(&mut self) -> Option<(Lane, Arc<[u8]>)> {
        let lane = self.queues.iter().position(|queue| !queue.frames.is_empty())?;
        let bytes = self.queues[lane].frames.front()?.len();
        if !self.has_window(bytes) {
            return None;
        }
        self.unread += bytes;
        let queue = &mut self.queues[lane];
        queue.bytes -= bytes;
        let frame = queue.frames.pop_front()?;
        if queue.bytes <= QUEUE_BYTES_MAX[lane] / 2 && queue.frames.len() <= QUEUE_FRAMES_MAX[lane] / 2 {
            queue.overflows = false;
        }
        Some((if lane == Lane::Fresh as usize { Lane::Fresh } else { Lane::Bulk }, frame))
    }

    /// Answers that are wholly on the wire.
    pub(super) fn served(&mut self) -> Vec<Ticket> {
        let is_done = self.queues[Lane::Bulk as usize].frames.is_empty();
        if is_done { std::mem::take(&mut self.serving) } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::params::Params;
    use crate::network::topology::Graph;
    use crate::network::wires::Wires;

    fn frame(bytes: usize) -> Arc<[u8]> {
        vec![1; bytes].into()
    }

    #[test]
    fn beyond_the_window_frames_wait_and_beyond_the_queue_they_are_dropped() {
        let (params, graph) = (Params::default(), Graph { neighbours: vec![vec![1], vec![0]] });
        let wire =
            Wires::<()>::new(&Params { gateways: 2, ..params }, &graph).link(0, 1).expect("they are linked");
        let mut end = End::new(0, 1, wire);
        let block = frame(WINDOW_BYTES / 2);
        assert_eq!(end.send(Lane::Fresh, &block), Sent::Leaves);
        assert_eq!(end.send(Lane::Fresh, &block), Sent::Leaves);
        assert_eq!(end.send(Lane::Bulk, &frame(5)), Sent::Queued);
        assert_eq!(end.send(Lane::Fresh, &frame(7)), Sent::Queued);
        assert_eq!(end.next(), None, "nothing was read");
        end.read(block.len());
        assert_eq!(end.next().map(|(_, f)| f.len()), Some(7), "what is new goes first");
        end.serve(Ticket(3));
        assert_eq!(end.served(), []);
        assert_eq!(end.next().map(|(lane, f)| (lane, f.len())), Some((Lane::Bulk, 5)));
        assert_eq!(end.served(), [Ticket(3)]);
        assert_eq!(end.most, (2, 12));
        end.unread = WINDOW_BYTES;
        for _ in 0..4 {
            assert_eq!(end.send(Lane::Fresh, &block), Sent::Queued);
        }
        assert_eq!(end.send(Lane::Fresh, &frame(1)), Sent::Dropped { first: true });
        assert_eq!(end.send(Lane::Fresh, &frame(1)), Sent::Dropped { first: false });
        assert_eq!(end.send(Lane::Bulk, &frame(1)), Sent::Queued, "each lane has its own");
        end.unread = 0;
        assert!(end.next().is_some());
        end.unread = WINDOW_BYTES;
        assert_eq!(end.send(Lane::Fresh, &block), Sent::Queued);
        assert_eq!(
            end.send(Lane::Fresh, &frame(1)),
            Sent::Dropped { first: false },
            "still more than half full"
        );
        for _ in 0..2 {
            end.unread = 0;
            assert!(end.next().is_some());
        }
        end.unread = WINDOW_BYTES;
        for _ in 0..2 {
            assert_eq!(end.send(Lane::Fresh, &block), Sent::Queued);
        }
        assert_eq!(end.send(Lane::Fresh, &frame(1)), Sent::Dropped { first: true }, "it was half empty");
    }
}
