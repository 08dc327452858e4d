//! Everything that a run depends on, drawn from its seed.

use selvedge_core::border::{BatchPolicy, TipPolicy, TipSelection};
use selvedge_core::limits;

pub use faults::Faults;

use crate::dice::Dice;
use crate::signatures::Mode;

pub mod faults;

const MS: u64 = 1_000;
const SECOND: u64 = 1_000_000;
/// Longest delay of an approval, however many gateways there are: all must be approved a minute after the last fault.
const APPROVE_DELAY_MAX_US: u64 = 20 * SECOND;

/// Bytes that wait in the two lanes of the shipped network (`node/src/net/limits.rs`).
const QUEUE_BYTES: [u64; 2] = [1024 * 1024, 512 * 1024];
/// The least with which the longest frame still finds room in an empty queue: short of that a core would say it for ever.
const QUEUE_BYTES_LEAST: u64 = limits::FRAME_BYTES_MAX as u64;

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
    /// Bytes of them, in the lane of what is new and in that of answers. What is read from the log for a peer waits for room
    /// and takes none of it.
    pub queue_bytes: [u64; 2],
    /// How long the start check waits for a peer, microseconds; 0: there is none.
    pub start_wait_us: u64,
    /// For how long readings come in and faults happen, microseconds.
    pub load_us: u64,
    /// What goes wrong meanwhile.
    pub faults: Faults,
    /// Things that hostile peers do meanwhile; 0: there are no such peers.
    pub hostile_actions: u64,
    /// Members that are hostile, all of one mind: at most f of a committee of n = 3f + 1, themselves included.
    pub hostile_members: usize,
    /// Are the hostile members in the committee?
    pub hostile_in_committee: bool,
    /// Longest pause between submissions of one gateway's client, microseconds.
    pub submit_every_us: u64,
    /// Most readings of a submission.
    pub submit_readings_max: u64,
    /// Longest pause between notes of one gateway's client, microseconds; 0: none.
    pub issue_every_us: u64,
    /// Longest pause between new descriptions of one gateway's streams, microseconds; 0: only at its starts.
    pub describe_every_us: u64,
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
    /// The first gateway hears nobody and is heard by nobody, from when and for how long, microseconds.
    pub offline: Option<(u64, u64)>,
    /// Signatures.
    pub signatures: Mode,
    /// A fault of the harness itself.
    pub plant: Plant,
    /// Everything is also recomputed from nothing after every so many inputs. See [`crate::invariants`].
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
            queue_bytes: QUEUE_BYTES,
            start_wait_us: 0,
            load_us,
            faults: Faults::none(),
            hostile_actions: 0,
            hostile_members: 1,
            hostile_in_committee: false,
            submit_every_us: 200 * MS,
            submit_readings_max: 8,
            issue_every_us: 0,
            describe_every_us: 0,
            batch: BatchPolicy { readings_max: 20, bytes_max: 64 * 1024, age_max_us: 2 * SECOND },
            tips: TipPolicy::default(),
            journal_within_us: 50 * MS,
            foreign_within_us: 200 * MS,
            approve_delay_max_us: SECOND,
            window_records: 65_536,
            images: 0,
            offline: None,
            signatures: Mode::Modelled,
            plant: Plant::None,
            check_every: 128,
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
            // Counters under a descriptor that the image does not know are kept by that descriptor: they begin anew when it
            // changes once more (core/node/gather/chain.rs says so). So the streams of a lost gateway keep their meaning.
            describe_every_us: 0,
            late: (0, 0),
            load_us: 30 * SECOND,
            submit_every_us: faulty.submit_every_us.min(500 * MS),
            ..faulty
        }
    }

    /// What the swarm runs for this seed: [`Plan::faulty`], and for one seed in eight [`Plan::restored`].
    pub fn swarm(seed: u64) -> Self {
        if Dice::new(seed, "kind of plan").chance(125) { Self::restored(seed) } else { Self::faulty(seed) }
    }

    /// Three to seven gateways, and every parameter and fault drawn from the seed.
    pub fn faulty(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "plan");
        let gateways = dice.pick(&[3, 3, 4, 5, 7]);
        Self::drawn(seed, gateways, &mut dice)
    }

    /// The same with this many gateways. As many transactions come in from all of them together as from seven.
    pub fn faulty_of(seed: u64, gateways: usize) -> Self {
        let drawn = Self::drawn(seed, gateways, &mut Dice::new(seed, "plan of many"));
        let share = (gateways as u64).div_ceil(7);
        // Nobody has more connections than that, hostile members included: around a hub, the others would be cut off for good.
        let around_hub = gateways + drawn.joiners - 1 + drawn.hostile_members;
        let is_too_large = drawn.topology == Topology::Star && around_hub > limits::PEERS_MAX;
        Self {
            topology: if is_too_large { Topology::Random(2) } else { drawn.topology },
            submit_every_us: drawn.submit_every_us * share,
            issue_every_us: drawn.issue_every_us * share,
            approve_delay_max_us: (drawn.approve_delay_max_us * share).min(APPROVE_DELAY_MAX_US),
            ..drawn
        }
    }

    /// Most hostile members that a committee of so many honest ones and them can bear: n = honest + f ≥ 3f + 1.
    pub const fn hostile_members_max(honest: usize) -> usize {
        honest.saturating_sub(1) / 2
    }

    fn drawn(seed: u64, gateways: usize, dice: &mut Dice) -> Self {
        let selection = match dice.below(4) {
            0 => TipSelection::Walk { alpha: dice.below(100) as f64 / 100.0 },
            _ => TipSelection::Uniform,
        };
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
            // From dice of its own: kept seeds were drawn before there was such a bound.
            queue_bytes: Dice::new(seed, "queue bytes").pick(&[QUEUE_BYTES, [QUEUE_BYTES_LEAST; 2]]),
            start_wait_us: dice.pick(&[0, 2 * SECOND, 10 * SECOND]),
            load_us: dice.between(5, 20) * SECOND,
            faults: Faults::drawn(dice),
            hostile_actions: dice.pick(&[0, 1, 1, 1, 1, 1, 1, 1]) * dice.between(1, 40),
            hostile_members: dice.between(1, Self::hostile_members_max(gateways).max(1) as u64) as usize,
            hostile_in_committee: dice.chance(500),
            submit_every_us: (dice.between(100, 2_000) * MS).max(batches * 200 * MS),
            submit_readings_max,
            issue_every_us: dice.pick(&[0, SECOND, 5 * SECOND]),
            describe_every_us: dice.pick(&[0, 0, SECOND, 4 * SECOND]),
            batch: BatchPolicy {
                readings_max,
                bytes_max: dice.pick(&[1_024, 4_096, 65_536]),
                age_max_us: dice.between(100, 5_000) * MS,
            },
            tips: TipPolicy { selection, age_max_us: dice.pick(&[SECOND, 60 * SECOND]) },
            journal_within_us: dice.between(0, 1_000) * MS,
            foreign_within_us: dice.between(0, 2_000) * MS,
            // Long ones too: a gateway that stops before it approves is seen when all others have approved.
            approve_delay_max_us: dice.pick(&[1_500 * MS, 1_500 * MS, 10 * SECOND]) * dice.between(30, 1_000)
                / 1_000,
            window_records: dice.pick(&[12, 12, 32, 64, 65_536]),
            ..Self::calm(seed, 3, 0)
        }
    }
}
