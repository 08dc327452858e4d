//! Everything that a run depends on, drawn from its seed.

use selvedge_core::border::{BatchPolicy, TipPolicy, TipSelection};

use crate::dice::Dice;
use crate::signatures::Mode;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;

/// A fault built into the harness on purpose, to show that the checks see it. Never part of a seeded run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    None,
    /// The store says `Persisted` before anything is durable.
    AcknowledgeEarly,
    /// A crash also loses what was synced last.
    LoseSynced,
    /// A restart forgets a tip.
    ForgetTip,
    /// A restart hands out the counter of the last reading again.
    CounterBack,
    /// A restart does not know that the last batch is in a transaction.
    BatchAgain,
    /// Every signature is said to hold.
    BelieveAll,
    /// Nothing that the first gateway sends arrives at the last one, and catch-up is switched off.
    DeafLink,
}

/// How long things take and how often they go wrong. Shares are in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    /// Shortest way of a frame, microseconds.
    pub delay_min_us: u64,
    /// Longest, but for the tail.
    pub delay_max_us: u64,
    /// Frames that take up to twenty times as long.
    pub tail_permille: u64,
    /// Frames and questions that get lost.
    pub loss_permille: u64,
    /// Frames that arrive twice.
    pub duplicate_permille: u64,
    /// Longest time for signing, checking, sealing or loading, microseconds.
    pub work_max_us: u64,
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
    /// A gateway crashes after 1 to this many effects, counted from its start; 0: never.
    pub crash_effects_max: u64,
    /// Windows in which one way of a link is dead.
    pub partitions: u64,
    /// Jumps of a wall clock by up to an hour, some of them unsynchronised.
    pub clock_jumps: u64,
}

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
            work_lost_permille: 0,
            work_late_permille: 0,
            work_failed_permille: 0,
            sync_max_us: 20 * MS,
            sync_failed_permille: 0,
            crash_effects_max: 0,
            partitions: 0,
            clock_jumps: 0,
        }
    }

    fn drawn(dice: &mut Dice) -> Self {
        let delay_min_us = dice.between(1, 50) * MS;
        Self {
            delay_min_us,
            delay_max_us: delay_min_us + dice.between(1, 400) * MS,
            tail_permille: dice.between(0, 50),
            loss_permille: dice.between(0, 300),
            duplicate_permille: dice.between(0, 500),
            work_max_us: dice.between(1, 300) * MS,
            work_lost_permille: dice.between(0, 30),
            work_late_permille: dice.between(0, 30),
            work_failed_permille: dice.between(0, 100),
            sync_max_us: dice.between(1, 500) * MS,
            sync_failed_permille: dice.pick(&[0, 0, 2, 10]),
            crash_effects_max: dice.pick(&[0, 40, 200, 600]),
            partitions: dice.between(0, 6),
            clock_jumps: dice.between(0, 6),
        }
    }
}

/// A run, before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Decides every choice.
    pub seed: u64,
    /// Gateways, all members of one genesis and its committee.
    pub gateways: usize,
    /// For how long readings come in and faults happen, microseconds.
    pub load_us: u64,
    /// What goes wrong meanwhile.
    pub faults: Faults,
    /// Things that the hostile peer does meanwhile; 0: there is no such peer.
    pub hostile_actions: u64,
    /// Is the hostile member in the committee?
    pub hostile_in_committee: bool,
    /// Longest pause between submissions of one gateway's client, microseconds.
    pub submit_every_us: u64,
    /// Most readings of a submission.
    pub submit_readings_max: u64,
    /// Longest pause between notes of one gateway's client, microseconds; 0: none.
    pub issue_every_us: u64,
    /// How readings become batches.
    pub batch: BatchPolicy,
    /// Tip selection.
    pub tips: TipPolicy,
    /// See `Config::journal_within_us`.
    pub journal_within_us: u64,
    /// See `Config::foreign_within_us`.
    pub foreign_within_us: u64,
    /// See `Config::approve_delay_max_us`.
    pub approve_delay_max_us: u64,
    /// Records that a core keeps in memory.
    pub window_records: usize,
    /// Pause between offers of what another gateway lacks, microseconds.
    pub offer_every_us: u64,
    /// Signatures.
    pub signatures: Mode,
    /// A fault of the harness itself.
    pub plant: Plant,
    /// Print every step.
    pub print_trace: bool,
}

impl Plan {
    /// Gateways with delays and nothing worse: enough transactions at once that several tips stand side by side.
    pub fn calm(seed: u64, gateways: usize, load_us: u64) -> Self {
        Self {
            seed,
            gateways,
            load_us,
            faults: Faults::none(),
            hostile_actions: 0,
            hostile_in_committee: false,
            submit_every_us: 200 * MS,
            submit_readings_max: 8,
            issue_every_us: 0,
            batch: BatchPolicy { readings_max: 20, bytes_max: 64 * 1024, age_max_us: 2 * SECOND },
            tips: TipPolicy::default(),
            journal_within_us: 50 * MS,
            foreign_within_us: 200 * MS,
            approve_delay_max_us: SECOND,
            window_records: 65_536,
            offer_every_us: 3 * SECOND,
            signatures: Mode::Modelled,
            plant: Plant::None,
            print_trace: false,
        }
    }

    /// Three gateways, and every parameter and fault drawn from the seed.
    pub fn faulty(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let selection = match dice.below(4) {
            0 => TipSelection::Walk { alpha: dice.below(100) as f64 / 100.0 },
            _ => TipSelection::Uniform,
        };
        let submit_readings_max: u64 = dice.pick(&[1, 4, 16]);
        let readings_max: u32 = dice.pick(&[1, 3, 10, 50]);
        // Not more batches than a gateway can issue afterwards in half a minute.
        let batches = submit_readings_max.div_ceil(u64::from(readings_max));
        Self {
            seed,
            gateways: 3,
            load_us: dice.between(5, 20) * SECOND,
            faults: Faults::drawn(&mut dice),
            hostile_actions: dice.between(0, 40),
            hostile_in_committee: dice.chance(500),
            submit_every_us: (dice.between(100, 2_000) * MS).max(batches * 200 * MS),
            submit_readings_max,
            issue_every_us: dice.pick(&[0, SECOND, 5 * SECOND]),
            batch: BatchPolicy {
                readings_max,
                bytes_max: dice.pick(&[1_024, 4_096, 65_536]),
                age_max_us: dice.between(100, 5_000) * MS,
            },
            tips: TipPolicy { selection, age_max_us: dice.pick(&[SECOND, 60 * SECOND]) },
            journal_within_us: dice.between(0, 1_000) * MS,
            foreign_within_us: dice.between(0, 2_000) * MS,
            approve_delay_max_us: dice.between(50, 1_500) * MS,
            window_records: dice.pick(&[12, 32, 64, 65_536]),
            offer_every_us: dice.between(1_000, 4_000) * MS,
            ..Self::calm(seed, 3, 0)
        }
    }
}
