//! One gateway of a run: a core, its loop, its workers, its disk and its store.
//!
//! The loop is that of the daemon (`node/src/engine/turn.rs`): completions of slow work and clients' requests first,
//! then peers' frames, each with a bounded share of a turn; while many signatures wait to be checked, frames wait too.

use std::collections::VecDeque;
use std::sync::Arc;

use selvedge_core::border::{Input, Now, ReplyTo};
use selvedge_core::node::Node;

use super::hardware::Profile;
use super::ledger::Store;
use super::machine::{self, Disk, Workers};

/// 2026-01-01 00:00 UTC, ns since 1970.
const WALL_BEGIN_NS: i64 = 1_767_225_600_000_000_000;
/// Completions and requests in one turn of the loop.
const INPUTS_PER_TURN_MAX: usize = 64;
/// Frames of peers in one turn.
const ARRIVALS_PER_TURN_MAX: usize = 16;
/// Bytes of them.
const ARRIVAL_BYTES_PER_TURN_MAX: usize = 256 * 1024;
/// Threads of the network (node/src/net.rs).
const NET_THREADS: usize = 2;
/// While so many signatures wait to be checked, peers' frames wait.
const VERIFYING_MAX: usize = 256;

/// What the loop has at hand.
#[derive(Debug)]
pub(super) enum Work {
    Input(Input),
    /// A frame that arrived at this end of a connection.
    Frame(u32, Arc<[u8]>),
}

/// Submissions that wait for their answer, or readings that wait for their transaction: when they were submitted, and
/// how many.
pub(super) type Submitted = VecDeque<(ReplyTo, u64, u32)>;

/// See the module.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) node: Node,
    pub(super) profile: Profile,
    pub(super) store: Store,
    pub(super) workers: Workers,
    /// The network's threads.
    pub(super) net: Workers,
    pub(super) disk: Disk,
    /// Completions and requests that wait.
    inputs: VecDeque<Input>,
    /// Frames that wait, with the ends at which they arrived.
    arrivals: VecDeque<(u32, Arc<[u8]>)>,
    /// What the loop is at; its effects come out when its time is spent.
    at_hand: Option<Work>,
    /// What is left of this turn's shares.
    inputs_left: usize,
    arrivals_left: usize,
    arrival_bytes_left: usize,
    /// When the loop is free, in nanoseconds.
    free_at_ns: u64,
    /// Signatures that wait to be checked.
    pub(super) verifying: usize,
    /// When a `Tick` is planned.
    pub(super) wakes_at_us: Option<u64>,
    /// Is one among the inputs that wait?
    pub(super) tick_waits: bool,
    pub(super) replies: Submitted,
    pub(super) readings: Submitted,
    /// Own transactions that the committee has not witnessed as far as this core knows: local number, place in the ledger.
    pub(super) unwitnessed: Vec<(u64, u32)>,
    /// Committee members' transactions were attached in this step.
    pub(super) look_for_witnesses: bool,
    pub(super) attached: usize,
    pub(super) busy_loop_ns: u64,
    pub(super) busy_sign_ns: u64,
    pub(super) busy_verify_ns: u64,
    pub(super) busy_seal_ns: u64,
    pub(super) most_inputs: usize,
    pub(super) most_arrivals: usize,
}

/// Virtual time, as a gateway's clocks show it.
pub(super) const fn now_at(time_us: u64) -> Now {
    let wall_ns = WALL_BEGIN_NS + time_us as i64 * 1_000;
    Now { monotonic_us: time_us, wall_ns, synchronised: true }
}

impl Gateway {
    pub(super) fn new(node: Node, profile: Profile) -> Self {
        Self {
            node,
            profile,
            store: Store::default(),
            workers: Workers::new(profile.workers()),
            net: Workers::new(NET_THREADS),
            disk: Disk::new(),
            inputs: VecDeque::new(),
            arrivals: VecDeque::new(),
            at_hand: None,
            inputs_left: INPUTS_PER_TURN_MAX,
            arrivals_left: ARRIVALS_PER_TURN_MAX,
            arrival_bytes_left: ARRIVAL_BYTES_PER_TURN_MAX,
            free_at_ns: 0,
            verifying: 0,
            wakes_at_us: None,
            tick_waits: false,
            replies: Submitted::new(),
            readings: Submitted::new(),
            unwitnessed: Vec::new(),
            look_for_witnesses: false,
            attached: 0,
            busy_loop_ns: 0,
            busy_sign_ns: 0,
            busy_verify_ns: 0,
            busy_seal_ns: 0,
            most_inputs: 0,
            most_arrivals: 0,
        }
    }

    /// An input comes to the loop's queue; when the loop will be done with it, if it was idle.
    pub(super) fn queue_input(&mut self, now_us: u64, input: Input) -> Option<u64> {
        self.inputs.push_back(input);
        self.most_inputs = self.most_inputs.max(self.inputs.len());
        self.take_up(now_us)
    }

    /// A frame comes to the loop's queue.
    pub(super) fn queue_frame(&mut self, now_us: u64, end: u32, frame: Arc<[u8]>) -> Option<u64> {
        self.arrivals.push_back((end, frame));
        self.most_arrivals = self.most_arrivals.max(self.arrivals.len());
        self.take_up(now_us)
    }

    /// Takes up the next piece of work when the loop is idle; when it will be done.
    pub(super) fn take_up(&mut self, now_us: u64) -> Option<u64> {
        if self.at_hand.is_some() {
            return None;
        }
        let work = self.choose()?;
        let cost_ns = match &work {
            Work::Frame(_, frame) => machine::frame_ns(&self.profile, frame),
            Work::Input(input) => machine::input_ns(&self.profile, input),
        };
        self.busy_loop_ns += cost_ns;
        self.free_at_ns = self.free_at_ns.max(now_us * 1_000) + cost_ns;
        self.at_hand = Some(work);
        Some(self.free_at_ns.div_ceil(1_000))
    }

    fn may_take_frame(&self) -> bool {
        !self.arrivals.is_empty() && self.verifying < VERIFYING_MAX
    }

    fn choose(&mut self) -> Option<Work> {
        let has_input = !self.inputs.is_empty();
        if !has_input && !self.may_take_frame() {
            return None;
        }
        let input_is_due = has_input && self.inputs_left > 0;
        let frame_is_due = self.may_take_frame() && self.arrivals_left > 0 && self.arrival_bytes_left > 0;
        if !input_is_due && !frame_is_due {
            // The next turn.
            self.inputs_left = INPUTS_PER_TURN_MAX;
            self.arrivals_left = ARRIVALS_PER_TURN_MAX;
            self.arrival_bytes_left = ARRIVAL_BYTES_PER_TURN_MAX;
        }
        if has_input && self.inputs_left > 0 {
            self.inputs_left -= 1;
            return self.inputs.pop_front().map(Work::Input);
        }
        let (end, frame) = self.arrivals.pop_front()?;
        self.arrivals_left -= 1;
        self.arrival_bytes_left = self.arrival_bytes_left.saturating_sub(frame.len());
        Some(Work::Frame(end, frame))
    }

    /// What the loop was at is done.
    pub(super) fn done(&mut self) -> Option<Work> {
        self.at_hand.take()
    }

    /// Has the loop nothing to do, and nothing slow under way?
    pub(super) fn is_at_rest(&self) -> bool {
        self.at_hand.is_none() && self.inputs.is_empty() && self.arrivals.is_empty()
    }
}
