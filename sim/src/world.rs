//! The world: virtual time, gateways, links, clients, and the checks after every step.
//!
//! # Layout
//! - this file: the event queue and one step of one core
//! - `begin`: keys, genesis and gateways of a plan
//! - `effects`: what becomes of each effect, and what must be true of it at that moment
//! - `links`: frames, connections and partitions
//! - `life`: clients, clocks, crashes and starts
//! - `finish`: faults off, and what must then come true
//! - `patience`: how long that may take

mod begin;
mod effects;
mod finish;
mod gateway;
mod life;
mod links;
mod patience;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use selvedge_core::batch::ClosedBatch;
use selvedge_core::border::{Effect, Input, Lane, PeerId, Serve, Ticket};
use selvedge_core::node::Node;
use selvedge_core::transaction::Reference;
use selvedge_core::{Issuer, Network};

use crate::dice::Dice;
use crate::hostile::Hostile;
use crate::invariants::{Held, Invariant, Watch};
use crate::plan::{Faults, Plan};
use crate::report::{Failure, Report};
use crate::signatures::Keyring;
use crate::tally::Tally;
use crate::trace::Trace;
use gateway::Gateway;
use patience::Patience;

/// Longest time in which a gateway may be woken too late, microseconds.
const WAKE_LATE_MAX_US: u64 = 20_000;
/// Inputs in a row at one moment after which a core that still wants to be woken counts as spinning.
const IDLE_WAKES_MAX: u32 = 3;

/// Whoever is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Gateway(usize),
    /// This one of the hostile members.
    Hostile(usize),
}

/// What happens at a moment. `start` numbers the starts of a gateway: what belongs to an earlier one is gone.
#[derive(Debug)]
enum Event {
    Input { to: usize, start: u64, input: Input },
    Wake { to: usize, start: u64 },
    Sync { at: usize, start: u64, ticket: Ticket, fails: bool },
    Load { at: usize, start: u64, ticket: Ticket, references: Vec<Reference> },
    LoadBatch { at: usize, start: u64, ticket: Ticket, batch: u64 },
    Seal { at: usize, start: u64, ticket: Ticket, batch: Arc<ClosedBatch> },
    Overhear { from: usize, frame: Arc<[u8]> },
    Arrive { from: usize, link: PeerId, lane: Lane, bytes: Arc<[u8]>, queued: u64 },
    Serve { at: usize, start: u64, ticket: Ticket, peer: PeerId, what: Serve },
    Gone { at: usize, start: u64, link: PeerId },
    Connect { one: Peer, other: usize },
    Submit { at: usize, again: bool },
    Issue { at: usize },
    Describe { at: usize },
    TakeBack { at: usize, stream: usize, edition: u64 },
    Start { at: usize },
    Cut { at: usize },
    Image { at: usize },
    Restore { at: usize },
    Partition { from: usize, to: usize, length_us: u64 },
    Isolate { at: usize, length_us: u64 },
    Fill { at: usize, length_us: u64 },
    Stall { at: usize, length_us: u64 },
    Clock { at: usize },
    Act,
    Heal,
    NoteAwaited,
    CheckLedgers,
    CheckFresh,
    CheckAgain,
    CheckRest,
    CheckQuiet { ends: bool },
}

/// An event in the queue: by time, then in the order in which it was put there.
#[derive(Debug)]
struct Queued {
    time_us: u64,
    place: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}
impl Eq for Queued {}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time_us, self.place).cmp(&(other.time_us, other.place))
    }
}

/// Figures gathered on the way.
#[derive(Debug, Default)]
struct Figures {
    steps: u64,
    crashes: u64,
    max_tips: usize,
    /// Tips × microseconds, over all gateways.
    tip_time: u128,
    /// Microseconds, over all gateways.
    time: u128,
    /// Frames sent, and their bytes.
    frames: u64,
    frame_bytes: u64,
    /// Gateways started from an old image, and own transactions that came back to them.
    restored: u64,
    adopted: u64,
}

/// See the module.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    /// In force now: those of the plan until they are switched off.
    faults: Faults,
    network: Network,
    gateways: Vec<Gateway>,
    hostile: Option<Hostile>,
    keyring: Keyring,
    dice: Dice,
    clients: Dice,
    queue: BinaryHeap<Reverse<Queued>>,
    placed: u64,
    time_us: u64,
    next_peer: u64,
    /// Who was at the other end of each connection that ever was.
    peers_ever: BTreeMap<PeerId, Peer>,
    next_reply: u64,
    /// One way of a link is dead until then.
    dead_until: BTreeMap<(usize, usize), u64>,
    is_healed: bool,
    /// Gateways whose power fails once more, after something that they attach.
    last_cuts: BTreeSet<usize>,
    /// Transactions of each gateway when the ledgers were compared last.
    attached_at_check: Vec<usize>,
    /// Which gateways know each other's address, the smaller place first.
    links: BTreeSet<(usize, usize)>,
    patience: Patience,
    /// Frames and bytes sent when the quiet hour began.
    quiet_since: Option<(u64, u64)>,
    quiet_bytes: u64,
    trace: Trace,
    tally: Tally,
    figures: Figures,
    report: Option<Report>,
}

/// A broken check, before it is known where it broke.
type Checked<T = ()> = Held<T>;

impl World {
    /// Runs to the end.
    ///
    /// # Errors
    /// The first check that did not hold.
    pub fn run(mut self) -> Result<Report, Failure> {
        let seed = self.plan.seed;
        while let Some(Reverse(next)) = self.queue.pop() {
            self.time_us = next.time_us;
            let gateway = gateway_of(&next.event);
            let time_us = Some(self.time_us);
            self.happen(next.event).map_err(|broken| Failure::new(seed, time_us, gateway, broken))?;
            if let Some(report) = self.report.take() {
                return Ok(report);
            }
        }
        let broken = Invariant::Border.broken("nothing is left to happen before the run is over");
        Err(Failure::new(seed, Some(self.time_us), None, broken))
    }

    fn at(&mut self, after_us: u64, event: Event) {
        self.placed += 1;
        let queued = Queued { time_us: self.time_us + after_us, place: self.placed, event };
        self.queue.push(Reverse(queued));
    }

    fn happen(&mut self, event: Event) -> Checked {
        match event {
            Event::Input { to, start, input } => self.step_of(to, start, input),
            Event::Wake { to, start } => {
                let gateway = &mut self.gateways[to];
                if gateway.start == start && gateway.wakes_at_us == Some(self.time_us) {
                    gateway.wakes_at_us = None;
                    return self.step(to, Input::Tick);
                }
                Ok(())
            }
            Event::Sync { at, start, ticket, fails } => self.sync(at, start, ticket, fails),
            Event::Load { at, start, ticket, references } => {
                let found = self.gateways[at].store.load(&references);
                self.answer_load(at, start, ticket, Input::Loaded { ticket, found });
                Ok(())
            }
            Event::LoadBatch { at, start, ticket, batch } => {
                let records = self.gateways[at].store.load_batch(batch);
                self.answer_load(at, start, ticket, Input::BatchLoaded { ticket, records });
                Ok(())
            }
            Event::Seal { at, start, ticket, batch } => {
                self.seal(at, start, ticket, &batch);
                Ok(())
            }
            Event::Overhear { from, frame } => {
                self.overhear(from, &frame);
                Ok(())
            }
            Event::Arrive { from, link, lane, bytes, queued } => {
                self.arrive(from, link, (lane, queued), bytes)
            }
            Event::Serve { at, start, ticket, peer, what } => self.serve(at, start, ticket, peer, &what),
            Event::Gone { at, start, link } => self.gone(at, start, link),
            Event::Connect { one, other } => self.connect(one, other),
            Event::Submit { at, again } => self.submit(at, again),
            Event::Issue { at } => self.issue(at),
            Event::Describe { at } => self.describe_again(at),
            Event::TakeBack { at, stream, edition } => self.take_back(at, stream, edition),
            Event::Start { at } => self.start(at),
            Event::Cut { at } => self.cut(at),
            Event::Image { at } => self.take_image(at),
            Event::Restore { at } => self.restore(at),
            Event::Partition { from, to, length_us } => {
                self.partition(from, to, length_us);
                Ok(())
            }
            Event::Isolate { at, length_us } => {
                self.isolate(at, length_us);
                Ok(())
            }
            Event::Fill { at, length_us } => {
                self.fill(at, length_us);
                Ok(())
            }
            Event::Stall { at, length_us } => {
                self.stall(at, length_us);
                Ok(())
            }
            Event::Clock { at } => {
                self.jump(at);
                Ok(())
            }
            Event::Act => {
                self.act();
                Ok(())
            }
            Event::Heal => {
                self.heal();
                Ok(())
            }
            Event::NoteAwaited => {
                self.note_awaited();
                Ok(())
            }
            Event::CheckLedgers => self.check_ledgers(),
            Event::CheckFresh => self.check_fresh(),
            Event::CheckAgain => self.check_again(),
            Event::CheckRest => self.check_rest(),
            Event::CheckQuiet { ends } => self.check_quiet(ends),
        }
    }

    fn step_of(&mut self, to: usize, start: u64, input: Input) -> Checked {
        if self.gateways[to].start == start { self.step(to, input) } else { Ok(()) }
    }

    /// One input into one core, every check, and what follows from it.
    fn step(&mut self, at: usize, input: Input) -> Checked {
        let gateway = &mut self.gateways[at];
        let now = gateway.clock.now(self.time_us);
        let Some(node) = gateway.node.as_mut() else { return Ok(()) };
        if now.synchronised {
            // A time server may set the clock back, and stamps with it.
            gateway.last_stamp_ns = gateway.last_stamp_ns.min(now.wall_ns);
        }
        self.trace.input(self.time_us, at, &input);
        self.figures.steps += 1;
        let mut effects = Vec::new();
        node.handle(now, input, &mut effects);
        self.after_step(at, effects)
    }

    fn after_step(&mut self, at: usize, effects: Vec<Effect>) -> Checked {
        self.check_core(at, effects.is_empty())?;
        for effect in effects {
            if self.gateways[at].node.is_none() {
                // It crashed between two effects.
                return Ok(());
            }
            self.trace.effect(self.time_us, at, &effect);
            self.do_effect(at, effect)?;
            self.count_down(at)?;
        }
        self.plan_wake(at);
        Ok(())
    }

    /// The core's own invariants; the other cores are as they were when theirs were checked.
    fn check_core(&mut self, at: usize, is_idle: bool) -> Checked {
        let gateway = &mut self.gateways[at];
        let Some(node) = gateway.node.as_ref() else { return Ok(()) };
        gateway.watch.step(node)?;
        if self.figures.steps.is_multiple_of(self.plan.check_every) {
            Watch::check_all(node)?;
        }
        let now_us = gateway.clock.now(self.time_us).monotonic_us;
        let is_due = node.next_deadline().is_some_and(|deadline| deadline <= now_us);
        gateway.idle_wakes = if is_due && is_idle { gateway.idle_wakes + 1 } else { 0 };
        if gateway.idle_wakes > IDLE_WAKES_MAX {
            return Err("its next deadline has passed and nothing comes of it".into());
        }
        let tips = node.tip_numbers().len();
        if !self.is_healed {
            let since = self.time_us - gateway.tips_since_us;
            self.figures.tip_time += u128::from(since) * gateway.tips as u128;
            self.figures.time += u128::from(since);
            self.figures.max_tips = self.figures.max_tips.max(tips);
        }
        (gateway.tips, gateway.tips_since_us) = (tips, self.time_us);
        Ok(())
    }

    /// The gateway is woken at its next deadline, or a little later.
    fn plan_wake(&mut self, at: usize) {
        let late = self.dice.below(WAKE_LATE_MAX_US);
        let gateway = &mut self.gateways[at];
        let deadline = gateway.node.as_ref().and_then(Node::next_deadline);
        let Some(deadline) = deadline else { return };
        let due_us = gateway.clock.world_time(deadline).max(self.time_us);
        if gateway.wakes_at_us.is_some_and(|planned| planned <= due_us + WAKE_LATE_MAX_US) {
            return;
        }
        let start = gateway.start;
        gateway.wakes_at_us = Some(due_us + late);
        self.at(due_us + late - self.time_us, Event::Wake { to: at, start });
    }

    fn is_load_over(&self) -> bool {
        self.time_us >= self.plan.load_us
    }

    fn honest(&self, issuer: &Issuer) -> Option<usize> {
        self.gateways.iter().position(|g| g.config.issuer == *issuer)
    }
}

fn gateway_of(event: &Event) -> Option<usize> {
    match event {
        Event::Input { to, .. } | Event::Wake { to, .. } => Some(*to),
        Event::Sync { at, .. }
        | Event::Submit { at, .. }
        | Event::Issue { at }
        | Event::Describe { at }
        | Event::TakeBack { at, .. }
        | Event::Start { at }
        | Event::Cut { at }
        | Event::Image { at }
        | Event::Restore { at }
        | Event::Load { at, .. }
        | Event::LoadBatch { at, .. }
        | Event::Seal { at, .. }
        | Event::Serve { at, .. }
        | Event::Gone { at, .. } => Some(*at),
        Event::Connect { other, .. } => Some(*other),
        _ => None,
    }
}
