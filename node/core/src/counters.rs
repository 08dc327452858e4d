//! Counters of this gateway's streams: what its own chain carries already, and what journaled readings get.
//!
//! A reading gets its counter when it is journaled, and most keep it. Two things can come between: a gateway that starts
//! from an old image of its card takes back from its peers what it issued after that image, and then its journal holds
//! readings which its chain already carries, and readings whose counters its chain gave to others. [`settle`] drops the
//! former and moves the latter, when a batch is about to be sealed: before that nothing outside has seen a counter.
//!
//! [`settle`]: ChainCounters::settle

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::batch::{BatchContent, BatchStream, stream_index};
use crate::hash::Hash;
use crate::reading::{Block, FLAG_UNSYNCHRONISED};

/// Readings of one stream that a batch on the own chain carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CarriedSpan {
    /// The counter of the first of them.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// Smallest receive time in that batch, ns since 1970 UTC.
    pub first_time_ns: i64,
    /// Greatest receive time in that batch, ns since 1970 UTC.
    pub last_time_ns: i64,
}

/// What the own chain says of one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OnChain {
    /// One more than the greatest counter that it carries.
    next: u64,
    /// Ascending. Only those that the journal may hold too.
    spans: Vec<CarriedSpan>,
    /// The journal held counters below this at the start: what begins at or after it is no concern of its batches.
    journaled_below: u64,
}

/// What the own chain says of the counters of all streams. See the [module](self).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainCounters {
    streams: BTreeMap<String, OnChain>,
}

impl ChainCounters {
    /// What is known of a stream at the start: the next counter by the chain, the spans that the journal may hold too
    /// (ascending), and one more than the greatest counter that the journal holds.
    pub fn restore(&mut self, stream: String, next: u64, spans: Vec<CarriedSpan>, journaled_below: u64) {
        self.streams.insert(stream, OnChain { next, spans, journaled_below });
    }

    /// The counter of the stream's next reading, by the chain alone.
    pub fn next(&self, stream: &str) -> u64 {
        self.streams.get(stream).map_or(0, |s| s.next)
    }

    /// The chain carries counters of the stream up to `next`, exclusive.
    pub fn raise(&mut self, stream: &str, next: u64) {
        match self.streams.get_mut(stream) {
            Some(known) => known.next = known.next.max(next),
            None => drop(self.streams.insert(stream.into(), OnChain { next, ..OnChain::default() })),
        }
    }

    /// The chain carries these readings of the stream. Remembered as long as the journal may hold them too.
    pub fn carry(&mut self, stream: &str, span: CarriedSpan) {
        self.raise(stream, span.first.saturating_add(u64::from(span.count)));
        if let Some(known) = self.streams.get_mut(stream)
            && span.first < known.journaled_below
        {
            known.spans.push(span);
        }
    }

    /// The journal holds nothing any more that the chain could carry too.
    pub fn forget_spans(&mut self) {
        for known in self.streams.values_mut() {
            known.spans = Vec::new();
            known.journaled_below = 0;
        }
    }

    /// The chain carries this batch, whose counters are final.
    ///
    /// # Panics
    /// When `name_of` does not know one of its descriptors: the log holds them before the readings.
    pub fn advance<'n>(&mut self, content: &BatchContent, name_of: impl Fn(&Hash) -> Option<&'n str>) {
        for span in &content.streams {
            let name = name_of(&span.descriptor).expect("a descriptor is in the log before its readings");
            self.raise(name, span.first.saturating_add(u64::from(span.count)));
        }
    }

    /// The batch with final counters, when everything before it is on the chain.
    ///
    /// A reading that the chain carries already is left out: its counter lies in a span of a batch on the chain, and
    /// its receive time within the times of that batch. (The counter alone would not do: a reading that was journaled
    /// after an old image was started may bear the counter of another one that the chain carries.) What was journaled
    /// by this very start (`is_of_this_start`) was never on the chain, and of a floating batch no reading is left out
    /// whose time was not to be trusted: rather twice than never. All others get counters from the chain's next one
    /// on, in their order; in a batch that is not floating those beyond it keep theirs. The result may be empty.
    ///
    /// # Panics
    /// When `name_of` does not know one of its descriptors: the log holds them before the readings.
    #[must_use]
    pub fn settle<'n>(
        &self,
        content: BatchContent,
        is_of_this_start: bool,
        name_of: impl Fn(&Hash) -> Option<&'n str>,
    ) -> BatchContent {
        let mut table = Table::new(self, &content, &name_of);
        if table.is_settled(&content) {
            return content;
        }
        let mut settled = BatchContent::new(content.number);
        settled.floating = content.floating;
        let mut places: Vec<Option<usize>> = alloc::vec![None; content.streams.len()];
        for (at, block) in content.blocks.iter().enumerate() {
            let entry = stream_index(block) as usize;
            let Some(counter) = table.counter_of(entry, block, content.floating, is_of_this_start) else {
                continue;
            };
            let goes_on = |place: &usize| {
                let span: &BatchStream = &settled.streams[*place];
                span.first + u64::from(span.count) == counter
            };
            let place = places[entry].filter(goes_on).unwrap_or_else(|| {
                let descriptor = content.streams[entry].descriptor;
                settled.streams.push(BatchStream { descriptor, first: counter, count: 0 });
                settled.streams.len() - 1
            });
            places[entry] = Some(place);
            settled.streams[place].count += 1;
            settled.push(&with_place(block, place as u32, counter), content.long.get(&(at as u32)));
        }
        settled
    }
}

/// The streams of a batch while it is settled.
struct Table<'c> {
    /// For each entry of the batch's table its stream, as a place in `streams`.
    of_entry: Vec<usize>,
    /// The next counter, and the spans that the chain carries.
    streams: Vec<(u64, &'c [CarriedSpan])>,
}

impl<'c> Table<'c> {
    fn new<'n>(
        chain: &'c ChainCounters,
        content: &BatchContent,
        name_of: &impl Fn(&Hash) -> Option<&'n str>,
    ) -> Self {
        let mut places: BTreeMap<&str, usize> = BTreeMap::new();
        let mut table = Self { of_entry: Vec::with_capacity(content.streams.len()), streams: Vec::new() };
        for entry in &content.streams {
            let name = name_of(&entry.descriptor).expect("a descriptor is in the log before its readings");
            let place = *places.entry(name).or_insert_with(|| {
                let known = chain.streams.get(name);
                table.streams.push(known.map_or((0, &[][..]), |k| (k.next, k.spans.as_slice())));
                table.streams.len() - 1
            });
            table.of_entry.push(place);
        }
        table
    }

    /// Has every reading its final counter already? Nearly always so.
    fn is_settled(&self, content: &BatchContent) -> bool {
        let mut next: Vec<u64> = self.streams.iter().map(|(next, _)| *next).collect();
        content.streams.iter().zip(&self.of_entry).all(|(entry, stream)| {
            let expected = &mut next[*stream];
            let fits = entry.first == *expected || (entry.first > *expected && !content.floating);
            *expected = entry.first.saturating_add(u64::from(entry.count));
            fits
        })
    }

    /// The final counter of a reading; `None`: the chain carries it already.
    fn counter_of(&mut self, entry: usize, block: &Block, floating: bool, is_new: bool) -> Option<u64> {
        let (next, spans) = &mut self.streams[self.of_entry[entry]];
        let counter = u64::from_le_bytes(block[8..16].try_into().expect("eight bytes"));
        if counter < *next && !is_new && is_carried(spans, block, counter, floating) {
            return None;
        }
        let given = if floating { *next } else { counter.max(*next) };
        *next = given.saturating_add(1);
        Some(given)
    }
}

fn is_carried(spans: &[CarriedSpan], block: &Block, counter: u64, floating: bool) -> bool {
    let reading_flags = block[3];
    if floating && reading_flags & FLAG_UNSYNCHRONISED != 0 {
        return false;
    }
    let received_ns = i64::from_le_bytes(block[24..32].try_into().expect("eight bytes"));
    let after = spans.partition_point(|span| span.first <= counter);
    let span = after.checked_sub(1).and_then(|at| spans.get(at));
    span.is_some_and(|s| {
        counter - s.first < u64::from(s.count) && (s.first_time_ns..=s.last_time_ns).contains(&received_ns)
    })
}

fn with_place(block: &Block, stream_index: u32, counter: u64) -> Block {
    let mut block = *block;
    block[4..8].copy_from_slice(&stream_index.to_le_bytes());
    block[8..16].copy_from_slice(&counter.to_le_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::BatchContent;
    use crate::reading::{Quality, Reading, Value};

    const A: Hash = Hash([1; 32]);
    const B: Hash = Hash([2; 32]);

    #[expect(clippy::unnecessary_wraps, reason = "as the code under test asks for it")]
    fn name_of(hash: &Hash) -> Option<&'static str> {
        Some(if *hash == A { "a" } else { "b" })
    }

    /// A batch of readings: stream, counter, receive time, flags. The value is the receive time, as text.
    fn batch(floating: bool, readings: &[(Hash, u64, i64, u8)]) -> BatchContent {
        let mut content = BatchContent { floating, ..BatchContent::new(7) };
        for (descriptor, counter, receive_time_ns, flags) in readings.iter().copied() {
            let known = content.streams.iter().position(|s| s.descriptor == descriptor);
            let place = known.unwrap_or_else(|| {
                content.streams.push(BatchStream { descriptor, first: counter, count: 0 });
                content.streams.len() - 1
            });
            content.streams[place].count += 1;
            let value = Value::Text(alloc::format!("{receive_time_ns}"));
            let (quality, status, source_time_ns) = (Quality::Good, 0, 0);
            let stream_index = place as u32;
            let reading = Reading {
                stream_index,
                counter,
                source_time_ns,
                receive_time_ns,
                quality,
                flags,
                status,
                value,
            };
            let long = reading.value.long_bytes().map(<[u8]>::to_vec);
            content.push(&reading.to_block(), long.as_ref());
        }
        content
    }

    /// Stream "a" has 10 counters on the chain, of which 6 to 9 came between 100 and 200 ns; stream "b" has none.
    fn chain() -> ChainCounters {
        let mut chain = ChainCounters::default();
        chain.restore("a".into(), 6, Vec::new(), 100);
        chain.carry("a", CarriedSpan { first: 6, count: 4, first_time_ns: 100, last_time_ns: 200 });
        chain
    }

    /// Descriptor, counter and text of each reading.
    fn readings(content: &BatchContent) -> Vec<(Hash, u64, String)> {
        let mut left: Vec<u32> = content.streams.iter().map(|s| s.count).collect();
        let readings = content.blocks.iter().enumerate().map(|(at, block)| {
            let long = content.long.get(&(at as u32)).map(Vec::as_slice);
            let reading = Reading::from_block(block, long).expect("a reading");
            let place = reading.stream_index as usize;
            let span = content.streams[place];
            assert_eq!(
                reading.counter,
                span.first + u64::from(span.count - left[place]),
                "no gap in the table"
            );
            left[place] -= 1;
            let Value::Text(text) = reading.value else { panic!("another value") };
            (span.descriptor, reading.counter, text)
        });
        let readings = readings.collect();
        assert!(left.iter().all(|left| *left == 0) && content.streams.iter().all(|s| s.count > 0));
        assert_eq!(
            content.bytes,
            content.blocks.len() * 48 + content.long.values().map(Vec::len).sum::<usize>()
        );
        readings
    }

    #[test]
    fn a_batch_that_follows_the_chain_stays_as_it_is() {
        for floating in [false, true] {
            let content = batch(floating, &[(A, 10, 300, 0), (B, 0, 301, 0), (A, 11, 302, 0)]);
            assert_eq!(chain().settle(content.clone(), false, name_of), content);
        }
        // A gap that was there before stays: counters in it may have been used.
        let content = batch(false, &[(A, 15, 300, 0)]);
        assert_eq!(chain().settle(content.clone(), false, name_of), content);
    }

    #[test]
    fn what_the_chain_carries_is_left_out_and_the_rest_keeps_its_counters() {
        let content = batch(false, &[(A, 8, 150, 0), (B, 0, 160, 0), (A, 9, 170, 0), (A, 10, 180, 0)]);
        let settled = readings(&chain().settle(content, false, name_of));
        assert_eq!(settled, [(B, 0, "160".into()), (A, 10, "180".into())]);
        let content = batch(false, &[(A, 8, 150, 0), (A, 9, 170, 0)]);
        assert!(chain().settle(content, false, name_of).blocks.is_empty());
    }

    #[test]
    fn another_reading_with_a_counter_of_the_chain_gets_the_next_one() {
        // Its time is not within the times of the batch on the chain.
        let content = batch(true, &[(A, 8, 150, 0), (A, 9, 201, 0), (B, 3, 202, 0), (A, 10, 203, 0)]);
        let settled = readings(&chain().settle(content, false, name_of));
        assert_eq!(settled, [(A, 10, "201".into()), (B, 0, "202".into()), (A, 11, "203".into())]);
        let content = batch(false, &[(A, 9, 201, 0), (A, 10, 202, 0)]);
        let settled = readings(&chain().settle(content, false, name_of));
        assert_eq!(settled, [(A, 10, "201".into()), (A, 11, "202".into())]);
    }

    #[test]
    fn in_doubt_a_reading_is_kept() {
        // Of this start; or with a time that a clock which was not synchronised gave.
        let content = batch(true, &[(A, 8, 150, 0)]);
        assert_eq!(readings(&chain().settle(content, true, name_of)), [(A, 10, "150".into())]);
        let content = batch(true, &[(A, 8, 150, FLAG_UNSYNCHRONISED)]);
        assert_eq!(readings(&chain().settle(content, false, name_of)), [(A, 10, "150".into())]);
        // In a batch that does not float it is the same one: an image of the journal and the tail have the same times.
        let content = batch(false, &[(A, 8, 150, FLAG_UNSYNCHRONISED)]);
        assert!(chain().settle(content, false, name_of).blocks.is_empty());
    }

    #[test]
    fn spans_that_the_journal_cannot_hold_are_not_remembered() {
        let mut chain = ChainCounters::default();
        chain.restore("a".into(), 0, Vec::new(), 5);
        for first in [0, 3, 6, 9] {
            chain.carry("a", CarriedSpan { first, count: 3, first_time_ns: 0, last_time_ns: 0 });
        }
        assert_eq!((chain.next("a"), chain.streams["a"].spans.len()), (12, 2));
        chain.forget_spans();
        assert_eq!((chain.next("a"), chain.streams["a"].spans.len()), (12, 0));
    }
}
