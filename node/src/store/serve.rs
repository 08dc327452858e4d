//! What peers ask for, read from the log in the order in which it was attached.
//!
//! First the places, in one read transaction of the index; then the envelopes, by place, without the index: what is in
//! the log stays where it is. So no transaction of the index is open while a slow peer reads.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use selvedge_core::hash::Id;
use selvedge_core::transaction::Reference;
use selvedge_core::wire::ChainRange;

use super::entry;
use super::error::StoreError;
use super::index::View;
use super::log::Place;
use super::reader::StoreReader;

/// Where transactions lie in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// In ascending order of local number.
    pub list: Vec<TransactionPlace>,
    /// Is there more in the ranges that were asked for?
    pub more: bool,
}

/// Where one lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionPlace {
    place: Place,
}

/// Rows of the index that are read at a time for one stretch.
const ROWS: usize = 64;
/// Transactions that one request may have walked back for its branches.
const BRANCH_WALK_MAX: usize = 65_536;

/// One issuer's stretch while stretches are merged.
struct Stretch {
    issuer: u32,
    /// Sequences and local numbers, ascending, read but not yet merged.
    read: VecDeque<(u64, u64)>,
    /// Where to read on; `None`: all is read.
    next: Option<(u64, u64)>,
    last: u64,
}

impl Stretch {
    fn refill(&mut self, view: &View) -> Result<(), StoreError> {
        let Some(from) = self.next.filter(|_| self.read.is_empty()) else { return Ok(()) };
        let rows = view.chain_rows(self.issuer, from, self.last, ROWS)?;
        self.next =
            rows.last().filter(|_| rows.len() == ROWS).map(|(sequence, number)| (*sequence, number + 1));
        self.read.extend(rows);
        Ok(())
    }

    /// The local numbers at the next sequence, ascending; none after the last.
    fn step(&mut self, view: &View) -> Result<Vec<u64>, StoreError> {
        self.refill(view)?;
        let mut numbers = Vec::with_capacity(1);
        let Some((at, _)) = self.read.front().copied() else { return Ok(numbers) };
        while let Some((_, number)) = self.read.pop_front_if(|(sequence, _)| *sequence == at) {
            numbers.push(number);
            self.refill(view)?;
        }
        Ok(numbers)
    }
}

impl StoreReader {
    /// Where those of these transactions lie that are held, parents first.
    ///
    /// # Errors
    /// Of the index.
    pub fn places_of(&self, references: &[Reference]) -> Result<Places, StoreError> {
        let view = self.view()?;
        let mut found = Vec::new();
        for reference in references {
            if let Some((place, record)) = view.by_id(&reference.id)? {
                found.push((record.number, place));
            }
        }
        found.sort_unstable_by_key(|(number, _)| *number);
        found.dedup_by_key(|(number, _)| *number);
        let list = found.into_iter().map(|(_, place)| TransactionPlace { place }).collect();
        Ok(Places { list, more: false })
    }

    /// Where the first `max` transactions of these stretches lie, by local number: of a stretch that names a
    /// branch only that one, of others all branches.
    ///
    /// # Errors
    /// Of the index.
    pub fn places_in(&self, ranges: &[ChainRange], max: usize) -> Result<Places, StoreError> {
        let view = self.view()?;
        let numbers = merged(&view, ranges, max.saturating_add(1))?;
        let more = numbers.len() > max;
        let numbers = &numbers[..numbers.len().min(max)];
        let list = view.places(numbers)?.into_iter().map(|place| TransactionPlace { place }).collect();
        Ok(Places { list, more })
    }

    /// The envelopes at these places, in order, as far as about `bytes_max` bytes go, but at least one.
    ///
    /// # Errors
    /// Of the log.
    pub fn envelopes_at(
        &self,
        places: &[TransactionPlace],
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let (mut envelopes, mut bytes) = (Vec::new(), 0);
        for place in places {
            let envelope = entry::into_envelope(self.log().read(place.place)?)?;
            bytes += envelope.len();
            envelopes.push(envelope);
            if bytes >= bytes_max {
                break;
            }
        }
        Ok(envelopes)
    }
}

/// The `max` smallest local numbers in the stretches, ascending, each once.
///
/// A transaction follows the one before it on its chain, so whatever lies further up a chain is younger than the
/// *oldest* at a sequence. So a stretch is read on only once its oldest known one is out: of 100,000 transactions asked
/// for by 512s, about 512 are looked at each time.
fn merged(view: &View, ranges: &[ChainRange], max: usize) -> Result<Vec<u64>, StoreError> {
    let mut stretches = Vec::new();
    // The smallest number first, each with the stretch that is read on when it comes out, if it is that one's oldest.
    let mut heap: BinaryHeap<Reverse<(u64, Option<usize>)>> = BinaryHeap::new();
    let step = |stretches: &mut Vec<Stretch>, at: usize, heap: &mut BinaryHeap<_>| {
        for (place, number) in stretches[at].step(view)?.into_iter().enumerate() {
            heap.push(Reverse((number, (place == 0).then_some(at))));
        }
        Ok::<_, StoreError>(())
    };
    let mut walk = BRANCH_WALK_MAX;
    for range in ranges {
        if let Some(head) = range.branch {
            heap.extend(
                branch(view, range, &head, &mut walk)?.into_iter().map(|number| Reverse((number, None))),
            );
            continue;
        }
        let Some(issuer) = view.issuer_number(&range.issuer)? else { continue };
        let (read, next) = (VecDeque::new(), Some((range.from, 0)));
        stretches.push(Stretch { issuer, read, next, last: range.to });
        let at = stretches.len() - 1;
        step(&mut stretches, at, &mut heap)?;
    }
    let mut numbers: Vec<u64> = Vec::new();
    while numbers.len() < max {
        let Some(Reverse((number, oldest_of))) = heap.pop() else { break };
        // Stretches of one chain may overlap.
        if numbers.last() != Some(&number) {
            numbers.push(number);
        }
        if let Some(at) = oldest_of {
            step(&mut stretches, at, &mut heap)?;
        }
    }
    Ok(numbers)
}

/// The local numbers of one branch of a forked chain, walked back from its head; `walk` is what is left of
/// [`BRANCH_WALK_MAX`]. Nothing when the head is not held, or not the issuer's at the end of the stretch.
fn branch(view: &View, range: &ChainRange, head: &Id, walk: &mut usize) -> Result<Vec<u64>, StoreError> {
    let mut numbers = Vec::new();
    let Some((_, mut record)) = view.by_id(head)? else { return Ok(numbers) };
    if (record.issuer, record.sequence) != (range.issuer, range.to) {
        return Ok(numbers);
    }
    while record.sequence >= range.from && *walk > 0 {
        *walk -= 1;
        numbers.push(record.number);
        let Some((_, before)) = view.record(record.prev)? else { break };
        record = before;
    }
    Ok(numbers)
}
