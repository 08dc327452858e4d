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

/// Who knows whose address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// Everybody knows everybody.
    Full,
    /// Each knows the next one.
    Line,
    /// All know the first one.
    Star,
    /// A tree drawn from the seed, and as many further links as make this degree on average.
    Random(u64),
}

/// A run, before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Decides every choice.
    pub seed: u64,
    /// Gateways that the genesis names, all of its committee.
    pub gateways: usize,
    /// Further gateways, which join by an enrolment.
    pub joiners: usize,
    /// So many of the last gateways start late, within this many microseconds.
    pub late: (usize, u64),
    /// But not before this, microseconds.
    pub late_after_us: u64,
    /// Who knows whose address.
    pub topology: Topology,
    /// Does each lane of a link keep its order and lose nothing?
    pub is_ordered: bool,
    /// Frames of one lane that may be on their way; further ones are dropped, and the core is told.
    pub queue_frames: u64,
    /// How long the start check waits for a peer, microseconds; 0: there is none.
    pub start_wait_us: u64,
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
    /// So many of the first gateways are started again from an old image of their card.
    pub images: usize,
    /// Signatures.
    pub signatures: Mode,
    /// A fault of the harness itself.
    pub plant: Plant,
    /// The core's invariants are checked after every so many inputs: they look at the whole window.
    pub check_every: u64,
    /// Print every step.
    pub print_trace: bool,
}

impl Plan {
    /// Gateways with delays and nothing worse: enough transactions at once that several tips stand side by side.
    pub fn calm(seed: u64, gateways: usize, load_us: u64) -> Self {
        Self {
            seed,
            gateways,
            joiners: 0,
            late: (0, 0),
            late_after_us: 0,
            topology: Topology::Full,
            is_ordered: true,
            queue_frames: 4_096,
            start_wait_us: 0,
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
            images: 0,
            signatures: Mode::Modelled,
            plant: Plant::None,
            check_every: 1,
            print_trace: false,
        }
    }

    /// The same, and one gateway is started again from an old image of its card. All are connected: a gateway
    /// that knows its store is old waits for a quorum of the committee.
    pub fn restored(seed: u64) -> Self {
        // One: of two that are away at the same time each would wait for what the other holds.
        let images = 1;
        // What a transport loses in silence, such as the word how far a chain is held, is not said again.
        let (topology, is_ordered) = (Topology::Full, true);
        let faulty = Self::faulty(seed);
        let faults =
            Faults { crash_effects_max: 0, work_lost_permille: 0, work_late_permille: 0, ..faulty.faults };
        Self {
            images,
            topology,
            is_ordered,
            faults,
            hostile_in_committee: false,
            late: (0, 0),
            load_us: 30 * SECOND,
            submit_every_us: faulty.submit_every_us.min(500 * MS),
            ..faulty
        }
    }

    /// Three to seven gateways, and every parameter and fault drawn from the seed.
    pub fn faulty(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let selection = match dice.below(4) {
            0 => TipSelection::Walk { alpha: dice.below(100) as f64 / 100.0 },
            _ => TipSelection::Uniform,
        };
        let gateways = dice.pick(&[3, 3, 4, 5, 7]);
        let joiners = dice.pick(&[0, 0, 1, 2]);
        let submit_readings_max: u64 = dice.pick(&[1, 4, 16]);
        let readings_max: u32 = dice.pick(&[1, 3, 10, 50]);
        // Not more batches than a gateway can issue afterwards in half a minute.
        let batches = submit_readings_max.div_ceil(u64::from(readings_max));
        Self {
            seed,
            gateways,
            joiners,
            late: (dice.between(0, joiners as u64 + 1) as usize, 10 * SECOND),
            topology: match dice.below(4) {
                0 => Topology::Full,
                1 => Topology::Line,
                2 => Topology::Star,
                _ => Topology::Random(dice.between(2, 4)),
            },
            is_ordered: dice.chance(500),
            queue_frames: dice.pick(&[8, 64, 4_096]),
            start_wait_us: dice.pick(&[0, 2 * SECOND, 10 * SECOND]),
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
            ..Self::calm(seed, 3, 0)
        }
    }
}
