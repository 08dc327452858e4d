//! Bugs planted on purpose, to show that the simulator's swarm finds what it should: `selvedge-sim mutants`.
//!
//! This file is compiled with the feature `planted` only, which nothing that is shipped switches on. One build holds all
//! of them; [`choose`] says which one is alive, by number. Each stands in one place of the core, as
//! `planted!(NameOfTheBug)`, which without the feature is the word `false`.
//!
//! A bug that stood in this code once, or that the design warns of, says so. Numbers are for good: runs are quoted by them.

use core::sync::atomic::{AtomicU32, Ordering};

/// Stands in every program that holds planted bugs, and in no other: what is shipped is searched for it.
pub const MARKER: &str = "selvedge: this program holds bugs that were planted on purpose";

/// Number of the bug that is alive; 0: none.
static ALIVE: AtomicU32 = AtomicU32::new(0);

/// What a bug breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What may stand in the graph, and how it hangs together.
    Graph,
    /// What was promised, and what a power cut leaves.
    Durability,
    /// Counters and batches: each reading once.
    Readings,
    /// That everything reaches everybody, and that it ends.
    Liveness,
    /// What is counted and bounded.
    Limits,
}

impl Kind {
    /// In one word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Graph => "graph",
            Self::Durability => "durability",
            Self::Readings => "readings",
            Self::Liveness => "liveness",
            Self::Limits => "limits",
        }
    }
}

/// A planted bug, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planted {
    /// The bug.
    pub bug: Bug,
    /// Its name, as in the source.
    pub name: &'static str,
    /// What it breaks.
    pub kind: Kind,
    /// What is wrong, and what it stands for.
    pub what: &'static str,
}

impl Planted {
    /// Its number, from 1.
    pub const fn number(&self) -> u32 {
        self.bug as u32
    }
}

/// The list, once: the enum, its documentation and the table.
macro_rules! bugs {
    ($($number:literal $name:ident $kind:ident $what:literal)*) => {
        /// All planted bugs.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $(#[doc = $what] $name = $number,)*
        }

        /// All planted bugs, by number.
        pub const ALL: &[Planted] = &[
            $(Planted { bug: Bug::$name, name: stringify!($name), kind: Kind::$kind, what: $what },)*
        ];
    };
}

bugs! {
    1 AttachesWithoutPast Graph
        "A transaction is attached although nobody here holds what it refers to. The past is not closed: the first rule \
         of any ledger that is a graph."
    2 BelievesPlaces Graph
        "Of a reference only the id is compared, and not issuer and sequence: a chain may skip a sequence, and gateways \
         that check differently hold different ledgers."
    3 OldKeyHolds Graph
        "That the key which signed is the one in force is not checked: a key that was rotated because it was stolen goes \
         on signing."
    4 CopyVouches Graph
        "A signature that does not hold counts as good while another copy of the body waits: a cache of checks by id \
         instead of by envelope, as several chains have shipped it."
    5 LongestForkWins Graph
        "What follows a second branch is no second branch, once it is longer than the first: gateways that saw the \
         branches in another order disagree about them."
    6 TipStays Graph
        "What another gateway's transaction approves stays a tip: the tip set grows and is no longer exact."
    7 OldestUnmarked Graph
        "Marks of past cones stop one record before the edge of the window: of the oldest one nobody knows who has it, and \
         how often it is witnessed is wrong. An error by one at a border, as they all are."
    8 ForgetsBelowWindow Graph
        "What is attached and has left the window is taken for new when it comes again: it is attached twice."
    9 AcknowledgesEarly Durability
        "Readings are acknowledged when they are handed to the store, before they are durable: a power cut loses what \
         was promised."
    10 PromisesEarly Durability
        "A peer is told how far its chain is held before that is durable: a gateway that lost its card trusts a word \
         which a power cut took back."
    11 LeavesBeforeDurable Durability
        "A record leaves the window before it is durable, so that neither memory nor store knows it. (Stood in this code \
         until 1ad27e8.)"
    12 JournalNeverFreed Durability
        "The journal is not freed of a batch that is in a transaction: after a start its readings go out a second time."
    13 StampFallsBack Durability
        "While the clock is not synchronised a stamp may fall below the last one: time runs backwards in what was \
         promised to be in order."
    14 CounterOfChain Readings
        "After a start counters go on where the chain stands and not where the journal does: journaled readings and new \
         ones get the same counters."
    15 AdoptsOneLess Readings
        "Of a batch that peers give back to a restored gateway one counter too few is taken over: the next reading gets \
         the counter of the last one. The classic error by one of every catch-up."
    16 OldEntryOfTable Readings
        "A stream whose descriptor changed there and back goes on in its old entry of the stream table, whose counters \
         do not follow. (Stood in this code: \
         tests/scenarios/readings.rs.)"
    17 AsksNobody Readings
        "A gateway restored from an old image of its card does not ask how far its chain went, and forks it."
    18 RefusesBody Liveness
        "A body with a garbage signature is remembered as bad by its body, not by its envelope: whoever is first with \
         garbage censors the genuine one. (ledger.md, Gossip, warns of it.)"
    19 AsksOnce Liveness
        "A missing transaction is asked for once: when question or answer is lost, it is awaited for ever."
    20 BranchesUntold Liveness
        "A frontier names only the first branch of each issuer: whoever lacks another branch is never told."
    21 ApprovesNothingLeft Liveness
        "A gateway that was stopped before it approved others' payloads plans nothing when it starts again. (Stood in \
         this code: tests/scenarios/approving.rs.)"
    22 StaleAnswer Liveness
        "The store's answer that it holds nothing is believed although it was asked before the transaction was attached. \
         (Stood in this code: tests/scenarios/window.rs.)"
    23 NotesForNotes Liveness
        "Empty notes count as something to approve: gateways that have nothing to say answer each other for ever."
    24 WaitingIsWrong Liveness
        "A transaction whose issuer is not known yet is held against the peer that passed it on, instead of waiting: \
         honest peers are sent away."
    25 CopiesLeak Limits
        "The bytes of further copies of a waiting transaction are never given back: after some hours nothing has room."
    26 OneReadingTooMany Limits
        "A batch takes one reading more than its limit says."
    27 GivesNothingBack Graph
        "What a restored gateway lost and what only waits at a peer is not given back: it signs another one in its place, and \
         both are attached in the end. (Stood in this code: tests/scenarios/lost.rs.)"
    28 SignsMeanwhile Graph
        "A restored gateway goes on signing while a transaction of its own that came back waits for something else: it \
         forks its chain with its eyes open."
}

// Numbers are places in the table.
const _: () = {
    let mut at = 0;
    while at < ALL.len() {
        assert!(ALL[at].number() as usize == at + 1);
        at += 1;
    }
};

/// Brings a bug to life, in all nodes of this process; `None`: all is well again. To be called between runs.
pub fn choose(bug: Option<Bug>) {
    ALIVE.store(bug.map_or(0, |bug| bug as u32), Ordering::SeqCst);
}

/// The bug that is alive.
pub fn chosen() -> Option<&'static Planted> {
    (ALIVE.load(Ordering::SeqCst) as usize).checked_sub(1).and_then(|place| ALL.get(place))
}

/// Is it this one?
pub(crate) fn is(bug: Bug) -> bool {
    // So the marker stands wherever a bug could.
    core::hint::black_box(MARKER);
    ALIVE.load(Ordering::Relaxed) == bug as u32
}
