//! What happens when: a heap of small keys, and what happens at each in a slab beside it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Bits of a key that name the place in the slab, below those of the order in which events were planned, below the time.
const SLOT_BITS: u32 = 24;
const ORDER_BITS: u32 = 48;

/// Events by time, those of one moment in the order in which they were planned.
#[derive(Debug)]
pub(super) struct Queue<E> {
    heap: BinaryHeap<Reverse<u128>>,
    slab: Vec<Option<E>>,
    free: Vec<u32>,
    planned: u64,
}

impl<E> Queue<E> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slab: Vec::new(), free: Vec::new(), planned: 0 }
    }

    /// Plans an event.
    ///
    /// # Panics
    /// With more than 16 million events waiting, or 2⁴⁸ planned: the run would need more memory than a machine has.
    pub(super) fn push(&mut self, time_us: u64, event: E) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            (self.slab.len() - 1) as u32
        });
        assert!(slot < 1 << SLOT_BITS, "too many events wait");
        self.planned += 1;
        assert!(self.planned < 1 << ORDER_BITS, "too many events");
        let order = u128::from(self.planned) << SLOT_BITS;
        self.heap.push(Reverse(u128::from(time_us) << (ORDER_BITS + SLOT_BITS) | order | u128::from(slot)));
        self.slab[slot as usize] = Some(event);
    }

    /// The next event and its time.
    pub(super) fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(key) = self.heap.pop()?;
        let slot = (key & ((1 << SLOT_BITS) - 1)) as u32;
        let event = self.slab[slot as usize].take().expect("each key has its event");
        self.free.push(slot);
        Some(((key >> (ORDER_BITS + SLOT_BITS)) as u64, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_in_which_they_were_planned() {
        let mut queue = Queue::new();
        for (time, name) in [(7, "d"), (3, "b"), (7, "e"), (0, "a"), (3, "c")] {
            queue.push(time, name);
        }
        assert_eq!(queue.pop(), Some((0, "a")));
        queue.push(u64::from(u32::MAX) * 1_000_000, "last");
        queue.push(3, "after c");
        let rest: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, name)| name).collect();
        assert_eq!(rest, ["b", "c", "after c", "d", "e", "last"]);
        assert!(queue.slab.len() <= 6, "places are used again");
    }
}
