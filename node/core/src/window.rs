//! The window: records of the newest transactions, the exact tip set, and who has whom in its past.
//!
//! A transaction is covered when a member of T refers to it, T being all that is attached and on no second branch
//! of a known fork; a tip is a member of T that is not covered. Old tips stay when the window moves on.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::hash::Id;
use crate::limits::WALK_RECORDS_MAX;
use crate::record::{Record, Stored, flag};
use crate::tips::{Stretch, Tip};

/// The bit of "in this node's own past cone" among the committee's.
pub(crate) const OWN_BIT: u32 = 63;

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) arrived_us: u64,
    /// One bit for each committee member that has it in its past cone or signed it, and `OWN_BIT`.
    pub(crate) cones: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The newest records; their numbers have no gap.
    recent: VecDeque<Entry>,
    /// Older tips.
    old_tips: BTreeMap<u64, Entry>,
    numbers: BTreeMap<Id, u64>,
    tips: BTreeSet<u64>,
    next_number: u64,
    records_max: usize,
    /// Records below this number are durable: only these may leave, since the store knows no others.
    durable: u64,
    /// Others' payloads on no second branch that no own transaction reaches yet.
    unapproved: u64,
}

impl Window {
    pub(crate) fn new(records_max: usize) -> Self {
        Self { records_max, ..Self::default() }
    }

    /// Takes back a record of the last start, in ascending order, before anything else is attached.
    pub(crate) fn restore(
        &mut self,
        record: Record,
        arrived_us: u64,
        is_tip: bool,
        bit: Option<u32>,
        own: bool,
    ) {
        let number = record.number;
        self.numbers.insert(record.id, number);
        if is_tip {
            self.tips.insert(number);
        }
        if number != self.next_number {
            // A gap: what came so far are tips older than the window.
            for entry in core::mem::take(&mut self.recent) {
                self.old_tips.insert(entry.record.number, entry);
            }
        }
        self.next_number = number + 1;
        self.durable = number + 1;
        self.recent.push_back(Entry { record, arrived_us, cones: 0 });
        self.cover(number, bit, own);
    }

    pub(crate) const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The number of the oldest record of the gapless part.
    pub(crate) fn base(&self) -> u64 {
        self.next_number - self.recent.len() as u64
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Entry> {
        match number.checked_sub(self.base()) {
            Some(place) => self.recent.get(usize::try_from(place).ok()?),
            None => self.old_tips.get(&number),
        }
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        match number.checked_sub(self.base()) {
            Some(0) if planted!(OldestUnmarked) => None,
            Some(place) => self.recent.get_mut(usize::try_from(place).ok()?),
            None => self.old_tips.get_mut(&number),
        }
    }

    pub(crate) fn by_id(&self, id: &Id) -> Option<&Entry> {
        self.get(*self.numbers.get(id)?)
    }

    pub(crate) fn stored(&self, id: &Id) -> Option<Stored> {
        self.by_id(id).map(|entry| Stored::from(&entry.record))
    }

    /// Does it hold every attached transaction?
    pub(crate) fn is_whole(&self) -> bool {
        self.base() == 0
    }

    /// Attaches a record whose number is the next.
    pub(crate) fn attach(&mut self, record: Record, arrived_us: u64, bit: Option<u32>, own: bool) {
        let number = record.number;
        assert_eq!(number, self.next_number, "local numbers have no gap");
        assert!(record.references().all(|r| r < number), "what it refers to is attached before it");
        self.next_number += 1;
        self.numbers.insert(record.id, number);
        if !record.has(flag::SECOND_BRANCH) {
            for reference in record.references().filter(|_| own || !planted!(TipStays)) {
                self.uncover_tip(reference);
            }
            self.tips.insert(number);
        }
        if is_others_payload(&record, own) {
            self.unapproved += 1;
        }
        self.recent.push_back(Entry { record, arrived_us, cones: 0 });
        self.cover(number, bit, own);
        self.evict();
    }

    /// `reference` is covered from now on.
    fn uncover_tip(&mut self, reference: u64) {
        self.tips.remove(&reference);
        // Below the gapless part only tips are kept.
        if let Some(entry) = self.old_tips.remove(&reference) {
            self.forget(&entry);
        }
    }

    fn forget(&mut self, entry: &Entry) {
        self.numbers.remove(&entry.record.id);
        if is_others_payload(&entry.record, false) && entry.cones & (1 << OWN_BIT) == 0 {
            self.unapproved = self.unapproved.saturating_sub(1);
        }
    }

    fn evict(&mut self) {
        while self.recent.len() > self.records_max
            && (self.base() < self.durable || planted!(LeavesBeforeDurable))
        {
            let Some(entry) = self.recent.pop_front() else { return };
            if self.tips.contains(&entry.record.number) {
                self.old_tips.insert(entry.record.number, entry);
            } else {
                self.forget(&entry);
            }
        }
    }

    /// All records below this number are durable.
    pub(crate) fn set_durable(&mut self, number: u64) {
        self.durable = self.durable.max(number);
        self.evict();
    }

    pub(crate) const fn durable(&self) -> u64 {
        self.durable
    }

    /// Marks the past cone of `number` for its issuer: a committee member, this node, both or none.
    fn cover(&mut self, number: u64, bit: Option<u32>, own: bool) {
        let marks = bit.map_or(0, |b| 1_u64 << b) | if own { 1 << OWN_BIT } else { 0 };
        if marks == 0 {
            return;
        }
        let mut left = Vec::with_capacity(64);
        left.push(number);
        while let Some(at) = left.pop() {
            let Some(entry) = self.get_mut(at) else { continue };
            let new = marks & !entry.cones;
            if new == 0 {
                // Its past is marked already: marks go down with every transaction.
                continue;
            }
            entry.cones |= new;
            let approved = new & (1 << OWN_BIT) != 0 && is_others_payload(&entry.record, at == number && own);
            entry.record.references().for_each(|reference| left.push(reference));
            if approved {
                self.unapproved = self.unapproved.saturating_sub(1);
            }
        }
    }

    pub(crate) const fn unapproved(&self) -> u64 {
        self.unapproved
    }

    /// Counts `unapproved` anew, after all records were restored.
    pub(crate) fn recount_unapproved(&mut self, own: impl Fn(&Record) -> bool) {
        let entries = self.old_tips.values().chain(&self.recent);
        self.unapproved = entries
            .filter(|e| is_others_payload(&e.record, own(&e.record)) && e.cones & (1 << OWN_BIT) == 0)
            .count() as u64;
    }

    pub(crate) fn tip_count(&self) -> usize {
        self.tips.len()
    }

    pub(crate) fn tip_numbers(&self) -> impl Iterator<Item = u64> + '_ {
        self.tips.iter().copied()
    }

    /// All tips, oldest first.
    pub(crate) fn tips(&self) -> Vec<Tip> {
        self.tips
            .iter()
            .filter_map(|number| self.get(*number))
            .map(|e| Tip { number: e.record.number, issuer: e.record.issuer, arrived_us: e.arrived_us })
            .collect()
    }

    /// Tips that no own transaction reaches.
    pub(crate) fn unapproved_tips(&self) -> Vec<u64> {
        let is_open = |n: &u64| self.get(*n).is_some_and(|e| e.cones & (1 << OWN_BIT) == 0);
        self.tips.iter().copied().filter(is_open).collect()
    }

    /// The newest records of T, for the weighted walk.
    pub(crate) fn stretch(&self) -> Stretch {
        let from = self.recent.len().saturating_sub(WALK_RECORDS_MAX);
        Stretch::new(
            self.recent
                .range(from..)
                .filter(|e| !e.record.has(flag::SECOND_BRANCH))
                .map(|e| (e.record.number, e.record.references())),
        )
    }

    /// The gapless part, oldest first.
    pub(crate) fn recent(&self) -> impl DoubleEndedIterator<Item = &Entry> + '_ {
        self.recent.iter()
    }

    pub(crate) fn old_tips(&self) -> impl Iterator<Item = &Entry> + '_ {
        self.old_tips.values()
    }

    pub(crate) fn known_ids(&self) -> usize {
        self.numbers.len()
    }
}

/// Does it carry something that this node should approve?
fn is_others_payload(record: &Record, own: bool) -> bool {
    record.has(flag::PAYLOAD) && !record.has(flag::SECOND_BRANCH) && !own
}
