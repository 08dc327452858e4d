//! What goes wrong in a run: how long things take, how often they fail, and the kinds by which a fault is named.

use std::fmt;
use std::str::FromStr;

use super::{MS, SECOND};
use crate::dice::Dice;

/// How long things take and how often they go wrong. Shares are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Shortest way of a frame, microseconds.
    pub delay_min_us: u64,
    /// Longest, but for the tail.
    pub delay_max_us: u64,
    /// Frames in the tail: each takes twice as long as usual, half of them twice as long again, and so on, up to
    /// [`WAY_MAX_US`].
    pub tail_permille: u64,
    /// Frames and questions that get lost.
    pub loss_permille: u64,
    /// Frames that arrive twice.
    pub duplicate_permille: u64,
    /// Longest time for signing, checking, sealing or loading, microseconds.
    pub work_max_us: u64,
    /// Further time that the store may take to answer what it is asked, before it looks and after it, microseconds: a card
    /// that is busy writing.
    pub load_max_us: u64,
    /// Answers that never come.
    pub work_lost_permille: u64,
    /// Answers that come after the core has asked again.
    pub work_late_permille: u64,
    /// Work that fails.
    pub work_failed_permille: u64,
    /// Longest sync, microseconds.
    pub sync_max_us: u64,
    /// Syncs that fail: the store is broken then until the gateway is started again.
    pub sync_failed_permille: u64,
    /// Windows in which the disk of a gateway has no room: every write fails until somebody makes room.
    pub disk_full: u64,
    /// Windows in which the disk of a gateway takes its time: what is synced within is durable at the end.
    pub disk_stalls: u64,
    /// A gateway crashes after 1 to this many effects, counted from its start; 0: never.
    pub crash_effects_max: u64,
    /// Windows in which one way of a link is dead.
    pub partitions: u64,
    /// Windows in which a gateway hears nobody and is heard by nobody.
    pub isolations: u64,
    /// Jumps of a wall clock by up to an hour, some of them unsynchronised.
    pub clock_jumps: u64,
}

/// Longest way of a frame in the tail, microseconds: before a link this slow is given up.
pub const WAY_MAX_US: u64 = 10 * SECOND;
/// Longest time that a busy card takes before it looks, and after it, microseconds.
pub const LOAD_MAX_US: u64 = 4 * SECOND;
/// Longest window in which a disk is full, microseconds.
pub const DISK_FULL_MAX_US: u64 = 8 * SECOND;
/// Longest window in which a disk takes its time, microseconds.
pub const DISK_STALL_MAX_US: u64 = 5 * SECOND;

impl Faults {
    /// Delays only.
    pub const fn none() -> Self {
        Self {
            delay_min_us: 20 * MS,
            delay_max_us: 200 * MS,
            tail_permille: 0,
            loss_permille: 0,
            duplicate_permille: 0,
            work_max_us: 10 * MS,
            load_max_us: 0,
            work_lost_permille: 0,
            work_late_permille: 0,
            work_failed_permille: 0,
            sync_max_us: 20 * MS,
            sync_failed_permille: 0,
            disk_full: 0,
            disk_stalls: 0,
            crash_effects_max: 0,
            partitions: 0,
            isolations: 0,
            clock_jumps: 0,
        }
    }

    /// Each within its range, from the seed.
    pub(super) fn drawn(dice: &mut Dice) -> Self {
        let delay_min_us = dice.between(1, 50) * MS;
        Self {
            delay_min_us,
            delay_max_us: delay_min_us + dice.between(1, 400) * MS,
            tail_permille: dice.between(0, 50),
            loss_permille: dice.between(0, 300),
            duplicate_permille: dice.between(0, 500),
            work_max_us: dice.between(1, 300) * MS,
            load_max_us: dice.pick(&[0, LOAD_MAX_US, LOAD_MAX_US]),
            work_lost_permille: dice.between(0, 30),
            work_late_permille: dice.between(0, 30),
            work_failed_permille: dice.between(0, 100),
            sync_max_us: dice.between(1, 500) * MS,
            sync_failed_permille: dice.pick(&[0, 0, 2, 10]),
            disk_full: dice.pick(&[0, 0, 1, 3]),
            disk_stalls: dice.pick(&[0, 0, 1, 4]),
            crash_effects_max: dice.pick(&[0, 40, 200, 600]),
            partitions: dice.between(0, 6),
            isolations: dice.pick(&[0, 0, 1, 2]),
            clock_jumps: dice.between(0, 6),
        }
    }

    /// Without faults of this kind; all else stays as it was drawn.
    #[must_use]
    pub const fn without(mut self, kind: FaultKind) -> Self {
        let none = Self::none();
        match kind {
            FaultKind::Delay => {
                (self.delay_min_us, self.delay_max_us) = (none.delay_min_us, none.delay_max_us);
                self.tail_permille = 0;
            }
            FaultKind::Loss => self.loss_permille = 0,
            FaultKind::Duplicates => self.duplicate_permille = 0,
            FaultKind::Partitions => (self.partitions, self.isolations) = (0, 0),
            FaultKind::Work => {
                (self.work_lost_permille, self.work_late_permille) = (0, 0);
                (self.work_max_us, self.work_failed_permille) = (none.work_max_us, 0);
            }
            FaultKind::SlowDisk => {
                (self.sync_max_us, self.disk_stalls, self.load_max_us) = (none.sync_max_us, 0, 0);
            }
            FaultKind::FailingDisk => self.sync_failed_permille = 0,
            FaultKind::FullDisk => self.disk_full = 0,
            FaultKind::Crash => self.crash_effects_max = 0,
            FaultKind::Clock => self.clock_jumps = 0,
        }
        self
    }
}

/// What can go wrong, by the names of `replay --only` and `--without`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Long and heavy-tailed ways of frames.
    Delay,
    /// Frames that get lost.
    Loss,
    /// Frames that arrive twice.
    Duplicates,
    /// Dead ways of links, and gateways cut off.
    Partitions,
    /// Slow work that takes long, fails, or is never answered.
    Work,
    /// Syncs that take long, and answers of the store.
    SlowDisk,
    /// Syncs that fail.
    FailingDisk,
    /// Disks without room.
    FullDisk,
    /// Crashes in the middle of effects.
    Crash,
    /// Wall clocks that jump.
    Clock,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Delay,
        Self::Loss,
        Self::Duplicates,
        Self::Partitions,
        Self::Work,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::FullDisk,
        Self::Crash,
        Self::Clock,
    ];

    /// As written on a command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Duplicates => "duplicates",
            Self::Partitions => "partitions",
            Self::Work => "work",
            Self::SlowDisk => "slow-disk",
            Self::FailingDisk => "failing-disk",
            Self::FullDisk => "full-disk",
            Self::Crash => "crash",
            Self::Clock => "clock",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        let known = || Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| format!("no kind of fault is called {text:?}: expected one of {}", known()))
    }
}
