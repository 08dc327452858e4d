//! What waits to be written to one lane of one connection.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Frames in order, bounded in number and bytes.
#[derive(Debug)]
pub(super) struct Queue {
    frames_max: usize,
    bytes_max: usize,
    state: Mutex<State>,
    /// Something is there, or the queue is closed.
    filled: Notify,
    /// Something was taken out, or the queue is closed.
    taken: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Arc<[u8]>>,
    bytes: usize,
    dropped: u64,
    closed: bool,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    Queued,
    /// There is no room.
    Dropped,
    Closed,
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueStatus {
    /// Frames that wait.
    pub frames: usize,
    /// Bytes that wait.
    pub bytes: usize,
    /// Frames dropped since the connection began.
    pub dropped: u64,
}

impl Queue {
    pub(super) fn new(frames_max: usize, bytes_max: usize) -> Self {
        Self { frames_max, bytes_max, state: Mutex::default(), filled: Notify::new(), taken: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before the lock is let go.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a frame in if there is room; never waits.
    pub(super) fn push(&self, frame: Arc<[u8]>) -> Pushed {
        let mut state = self.state();
        if state.closed {
            return Pushed::Closed;
        }
        if state.frames.len() >= self.frames_max || state.bytes + frame.len() > self.bytes_max {
            state.dropped += 1;
            return Pushed::Dropped;
        }
        state.put(frame);
        drop(state);
        self.filled.notify_one();
        Pushed::Queued
    }

    /// Puts a frame in once no more than `below_bytes` wait. False when the queue is closed. For one task at a time.
    pub(super) async fn push_below(&self, below_bytes: usize, frame: Arc<[u8]>) -> bool {
        loop {
            {
                let mut state = self.state();
                if state.closed {
                    return false;
                }
                let has_room = state.bytes <= below_bytes && state.bytes + frame.len() <= self.bytes_max;
                if has_room && state.frames.len() < self.frames_max {
                    state.put(frame);
                    drop(state);
                    self.filled.notify_one();
                    return true;
                }
            }
            self.taken.notified().await;
        }
    }

    /// Takes frames out, up to about so many bytes but at least one; waits for it. `None` when the queue is closed.
    /// For one task.
    pub(super) async fn take(&self, bytes: usize, into: &mut Vec<Arc<[u8]>>) -> Option<()> {
        loop {
            {
                let mut state = self.state();
                if state.closed {
                    return None;
                }
                let (mut taken, before) = (0, into.len());
                while let Some(frame) =
                    state.frames.front().filter(|f| into.len() == before || taken + f.len() <= bytes)
                {
                    taken += frame.len();
                    into.extend(state.frames.pop_front());
                }
                if into.len() > before {
                    state.bytes -= taken;
                    drop(state);
                    self.taken.notify_one();
                    return Some(());
                }
            }
            self.filled.notified().await;
        }
    }

    /// Drops what waits; nothing more goes in or out.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.frames.clear();
        state.bytes = 0;
        drop(state);
        self.filled.notify_one();
        self.taken.notify_one();
    }

    pub(super) fn status(&self) -> QueueStatus {
        let state = self.state();
        QueueStatus { frames: state.frames.len(), bytes: state.bytes, dropped: state.dropped }
    }
}

impl State {
    fn put(&mut self, frame: Arc<[u8]>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: usize) -> Arc<[u8]> {
        vec![7; bytes].into()
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_says_so() {
        let queue = Queue::new(8, 1_000);
        for _ in 0..8 {
            assert_eq!(queue.push(frame(10)), Pushed::Queued);
        }
        assert_eq!(queue.push(frame(10)), Pushed::Dropped);
        assert_eq!(queue.push(frame(10)), Pushed::Dropped);
        let mut out = Vec::new();
        queue.take(15, &mut out).await.expect("open");
        assert_eq!(out.len(), 1);
        assert_eq!(queue.push(frame(10)), Pushed::Queued);
        assert_eq!(queue.push(frame(10)), Pushed::Dropped, "full again");
        queue.take(50, &mut out).await.expect("open");
        assert_eq!(out.len(), 6);
        assert_eq!(queue.push(frame(980)), Pushed::Dropped, "too many bytes");
        assert_eq!(queue.status(), QueueStatus { frames: 3, bytes: 30, dropped: 4 });
        queue.close();
        assert_eq!(queue.push(frame(1)), Pushed::Closed);
        assert!(queue.take(1, &mut out).await.is_none());
        assert!(!queue.push_below(10, frame(1)).await);
    }

    #[tokio::test]
    async fn answers_wait_for_room_and_a_frame_of_any_length_leaves() {
        let queue = Arc::new(Queue::new(100, 1_000));
        assert!(queue.push_below(100, frame(400)).await);
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.push_below(100, frame(1)).await }
        });
        let mut out = Vec::new();
        queue.take(16, &mut out).await.expect("open");
        assert_eq!((out.len(), out[0].len()), (1, 400));
        assert!(waiting.await.expect("no panic"));
        assert_eq!(queue.status().bytes, 1);
    }
}
