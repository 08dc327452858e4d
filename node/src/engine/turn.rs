//! The loop: an input in, its effects carried out, until it is told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_core::border::{Effect, Event, Input, Outcome, ReplyTo, Silence};
use selvedge_core::node::Node;
use selvedge_crypto::ids;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender};
use tokio::sync::{broadcast, oneshot, watch};

use super::clock::{Clock, wall_ns};
use super::links::{ARRIVAL_BYTES_PER_TURN_MAX, ARRIVALS_PER_TURN_MAX, Links};
use super::workers::{Job, Workers};
use super::{FaultyIssuers, Notices, Request, Snapshot};
use crate::net::Arrival;
use crate::store::{Committer, GroupOutcome, StoreError};

/// Inputs of this machine handled in a row before peers have their turn, the snapshot is published and deadlines are looked at.
const INPUTS_PER_TURN_MAX: usize = 64;
/// A snapshot is published at most this often.
const SNAPSHOT_EVERY: Duration = Duration::from_millis(100);

/// What the committer's thread says, as inputs for the core.
pub(super) fn report_commit(done: &UnboundedSender<Input>, outcome: GroupOutcome) {
    let inputs: Vec<Input> = match outcome {
        Ok(tickets) => tickets.into_iter().map(|ticket| Input::Persisted { ticket }).collect(),
        Err((tickets, why)) => {
            tickets.into_iter().map(|ticket| Input::Failed { ticket, why: why.clone() }).collect()
        }
    };
    for input in inputs {
        // The loop is gone only after the committer was told to end.
        let _ = done.send(input);
    }
}

/// All that the loop owns.
#[derive(Debug)]
pub(super) struct Turn {
    node: Node,
    clock: Clock,
    /// `None` once it was told to end.
    committer: Option<Committer>,
    workers: Workers,
    /// `None`: no network.
    links: Option<Links>,
    snapshot: watch::Sender<Arc<Snapshot>>,
    published: Option<Instant>,
    /// Has something changed since the last snapshot?
    behind: bool,
    events: broadcast::Sender<Event>,
    replies: HashMap<ReplyTo, oneshot::Sender<Outcome>>,
    next_reply: u64,
    notices: Notices,
    /// Signature checks that the workers have not answered yet.
    verifying: usize,
    halted: Option<String>,
    stop_at: Option<Instant>,
}

/// While so many signatures wait to be checked, peers wait: else what they send would find no room and be dropped.
const VERIFYING_MAX: usize = 256;

/// Where inputs come from.
#[derive(Debug)]
pub(super) struct Inboxes {
    /// Bounded; whoever asks waits.
    pub(super) requests: Receiver<Request>,
    /// Bounded by the core: it hands out only so much work at a time.
    pub(super) completions: UnboundedReceiver<Input>,
    /// Bounded; connections wait, and through them the peers. `None`: no network.
    pub(super) arrivals: Option<Receiver<Arrival>>,
}

/// The next arrival. The network may end before the loop does; then there is none any more.
async fn next_arrival(arrivals: &mut Option<Receiver<Arrival>>) -> Arrival {
    if let Some(open) = arrivals
        && let Some(arrival) = open.recv().await
    {
        return arrival;
    }
    *arrivals = None;
    std::future::pending().await
}

/// What woke the loop.
enum Woken {
    Input(Input),
    Asked(Option<Request>),
    Arrived(Arrival),
    Deadline,
}

impl Turn {
    pub(super) fn new(
        node: Node,
        clock: Clock,
        committer: Committer,
        workers: Workers,
        links: Option<Links>,
        snapshot: watch::Sender<Arc<Snapshot>>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        Self {
            node,
            clock,
            committer: Some(committer),
            workers,
            links,
            snapshot,
            published: None,
            behind: true,
            events,
            replies: HashMap::new(),
            next_reply: 0,
            notices: Notices::default(),
            verifying: 0,
            halted: None,
            stop_at: None,
        }
    }

    /// Runs until it was stopped, or the core halted.
    pub(super) fn run(mut self, mut inboxes: Inboxes, first: Vec<Effect>) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|why| format!("the system refused a timer: {why}"))?;
        self.carry_out(first);
        runtime.block_on(async {
            while !self.is_over() {
                let woken = self.wait(&mut inboxes).await;
                self.take(woken);
                self.take_what_waits(&mut inboxes);
                self.publish();
            }
        });
        self.end(inboxes.completions)
    }

    async fn wait(&mut self, inboxes: &mut Inboxes) -> Woken {
        let deadline = self.deadline();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let Inboxes { requests, completions, arrivals } = inboxes;
        tokio::select! {
            // Completions first: they free what requests wait for. Peers last; each turn has a share for them.
            biased;
            Some(input) = completions.recv() => Woken::Input(input),
            () = sleep => Woken::Deadline,
            request = requests.recv(), if self.stop_at.is_none() => Woken::Asked(request),
            arrival = next_arrival(arrivals), if self.verifying < VERIFYING_MAX => Woken::Arrived(arrival),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let core = self.node.next_deadline().map(|at| self.clock.instant(at));
        let snapshot = self.published.filter(|_| self.behind).map(|at| at + SNAPSHOT_EVERY);
        [core, self.stop_at, snapshot].into_iter().flatten().min()
    }

    fn take(&mut self, woken: Woken) {
        match woken {
            Woken::Input(input) => self.hand_in(input),
            Woken::Asked(Some(request)) => self.asked(request),
            // Nobody can ask any more.
            Woken::Asked(None) => self.stop_at = Some(Instant::now()),
            Woken::Arrived(arrival) => drop(self.arrived(arrival)),
            Woken::Deadline => self.hand_in(Input::Tick),
        }
    }

    /// What came meanwhile shares the turn, and so often a sync.
    fn take_what_waits(&mut self, inboxes: &mut Inboxes) {
        for _ in 0..INPUTS_PER_TURN_MAX {
            if let Ok(input) = inboxes.completions.try_recv() {
                self.hand_in(input);
            } else if self.stop_at.is_none()
                && let Ok(request) = inboxes.requests.try_recv()
            {
                self.asked(request);
            } else {
                break;
            }
        }
        let Some(arrivals) = &mut inboxes.arrivals else { return };
        let mut bytes = 0;
        for _ in 0..ARRIVALS_PER_TURN_MAX {
            if self.verifying >= VERIFYING_MAX {
                return;
            }
            let Ok(arrival) = arrivals.try_recv() else { return };
            bytes += self.arrived(arrival);
            if bytes >= ARRIVAL_BYTES_PER_TURN_MAX {
                return;
            }
        }
    }

    /// Hands in what the network says; how many bytes a peer sent.
    fn arrived(&mut self, arrival: Arrival) -> usize {
        let Some(links) = &mut self.links else { return 0 };
        let (input, permit) = links.input_of(arrival);
        let bytes = if let Input::Frame { bytes, .. } = &input { bytes.len() } else { 0 };
        self.hand_in(input);
        // Only now may the connection read on.
        drop(permit);
        bytes
    }

    fn asked(&mut self, request: Request) {
        let input = match request {
            Request::Describe { stream, descriptor, urgent } => {
                Input::Describe { stream, descriptor, urgent }
            }
            Request::Submit { readings, origins, reply } => {
                Input::Submit { readings, origins, reply: self.note_reply(reply) }
            }
            Request::Issue { kind, payload, reply } => {
                Input::Issue { kind, payload, reply: self.note_reply(reply) }
            }
            Request::Flush => Input::Flush,
            Request::Turn { reply } => {
                // Whoever asked may have gone away.
                let _ = reply.send(());
                Input::Tick
            }
            Request::Stop { within } => {
                self.stop_at = Some(Instant::now() + within);
                Input::Flush
            }
        };
        self.hand_in(input);
    }

    fn note_reply(&mut self, reply: oneshot::Sender<Outcome>) -> ReplyTo {
        self.next_reply += 1;
        let id = ReplyTo(self.next_reply);
        self.replies.insert(id, reply);
        id
    }

    fn hand_in(&mut self, input: Input) {
        let now = self.clock.tick();
        if matches!(input, Input::Verified { .. }) {
            self.verifying = self.verifying.saturating_sub(1);
        }
        self.behind = true;
        let mut effects = Vec::new();
        self.node.handle(now, input, &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        // What effects lead to at once, in order.
        let mut told = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { ticket, writes, within_us } => {
                    let committer = self.committer.as_ref().ok_or(StoreError::Ended);
                    if let Err(why) = committer.and_then(|c| c.submit(ticket, writes, within_us)) {
                        told.push(Input::Failed { ticket, why: why.to_string() });
                    }
                }
                Effect::Load { ticket, references } => self.workers.submit(Job::Load { ticket, references }),
                Effect::LoadBatch { ticket, batch } => self.workers.submit(Job::LoadBatch { ticket, batch }),
                Effect::Seal { ticket, batch } => self.workers.submit(Job::Seal { ticket, batch }),
                Effect::Verify { ticket, checks } => {
                    self.verifying += 1;
                    self.workers.submit(Job::Verify { ticket, checks });
                }
                Effect::Sign { ticket, key_number, message } => {
                    self.workers.submit(Job::Sign { ticket, key_number, message });
                }
                Effect::Reply { reply, outcome } => {
                    if let Some(waiting) = self.replies.remove(&reply) {
                        // Whoever asked may have gone away.
                        let _ = waiting.send(outcome);
                    }
                }
                Effect::Emit(event) => self.emit(event),
                Effect::Send { .. }
                | Effect::Serve { .. }
                | Effect::Disconnect { .. }
                | Effect::Drop { .. } => {
                    told.extend(self.carry_out_for_peer(effect));
                }
            }
        }
        // The store is gone: the core halts, and hands out nothing more to write. Or a peer is slow: the core is told
        // once, until that has changed.
        for input in told {
            self.hand_in(input);
        }
    }

    /// Effects that name a peer. Without a network there are none: no `PeerUp` was handed in.
    fn carry_out_for_peer(&mut self, effect: Effect) -> Option<Input> {
        let links = self.links.as_mut()?;
        match effect {
            Effect::Send { peer, lane, frame } => return links.send(peer, lane, frame),
            Effect::Serve { ticket, peer, what } => return links.serve(ticket, peer, what),
            Effect::Disconnect { peer, why, back_off_us } => links.disconnect(peer, &why, back_off_us),
            Effect::Drop { peer, reject } => links.broke(peer, &reject, Instant::now(), wall_ns()),
            _ => {}
        }
        None
    }

    fn emit(&mut self, event: Event) {
        let is_news = self.notices.note(&event);
        match &event {
            Event::Halted { why } => self.halted = Some(why.clone()),
            Event::Enrolled { issuer, .. } => {
                if let Some(links) = &self.links {
                    links.enrolled(*issuer);
                }
            }
            _ => {}
        }
        match (&event, self.node.silence()) {
            (Event::Silent, Some(Silence::Restored) | None) => tracing::warn!(
                "restored without its chain, or part of it is lost: readings are journaled, nothing is issued until peers \
                 have said how far the chain goes; the file `restored` says what else to do"
            ),
            (Event::Silent, Some(why)) => tracing::warn!(%why, "readings are journaled, nothing is issued"),
            _ if is_news => say(&event),
            _ => {}
        }
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    fn publish(&mut self) {
        let is_due = self.published.is_none_or(|at| at.elapsed() >= SNAPSHOT_EVERY);
        if self.behind && is_due {
            self.publish_now();
            self.published = Some(Instant::now());
            self.behind = false;
        }
    }

    fn publish_now(&self) {
        let snapshot = Snapshot {
            faulty: self.links.as_ref().map_or_else(FaultyIssuers::new, Links::faulty),
            notices: self.notices.clone(),
            halted: self.halted.clone(),
            ..Snapshot::of(&self.node, self.clock.now())
        };
        self.snapshot.send_replace(Arc::new(snapshot));
    }

    /// Halted; or told to stop, and all is said or the time is up.
    fn is_over(&self) -> bool {
        let Some(stop_at) = self.stop_at else { return self.halted.is_some() };
        let is_done = self.replies.is_empty() && (self.node.backlog() == 0 || !self.node.may_issue());
        self.halted.is_some() || is_done || Instant::now() >= stop_at
    }

    /// The workers end first, then the store: what it still commits answers whoever waits.
    fn end(mut self, mut completions: UnboundedReceiver<Input>) -> Result<(), String> {
        self.workers.stop();
        while let Ok(input) = completions.try_recv() {
            self.hand_in(input);
        }
        let closed = self.committer.take().map_or(Ok(()), Committer::shutdown);
        while let Ok(input) = completions.try_recv() {
            self.hand_in(input);
        }
        self.publish_now();
        match (self.halted, closed) {
            (Some(why), _) => Err(why),
            (None, Err(why)) => Err(why.to_string()),
            (None, Ok(())) => Ok(()),
        }
    }
}

/// An event, for the log.
fn say(event: &Event) {
    match event {
        Event::Halted { why } => tracing::error!(why, "the store or the key failed: the node stops"),
        Event::Retrying { what, why } => tracing::warn!(what, why, "failed, will be tried again"),
        Event::Forked { issuer, sequence } => {
            let issuer = ids::to_text(issuer);
            tracing::warn!(
                issuer,
                sequence,
                "an issuer forked its chain; `selvedge evidence` shows both transactions"
            );
        }
        Event::Enrolled { issuer, .. } => {
            tracing::info!(issuer = ids::to_text(issuer), "a new member is enrolled");
        }
        Event::Settled { adopted: 0, answered: true } => {
            tracing::info!("peers hold no more of the own chain");
        }
        Event::Settled { adopted, answered: true } => {
            tracing::warn!(adopted, "own transactions that were missing here came back from peers");
        }
        Event::Settled { adopted, answered: false } => {
            tracing::warn!(adopted, "no peer answered the start check in time: the node goes on alone");
        }
        Event::AnotherMachine { seen } => tracing::error!(
            sequence = seen.map(|head| head.sequence),
            id = seen.map(|head| ids::to_text(&head.id)),
            "another machine uses this gateway's key (a copied card?): nothing is issued any more. Switch one of the two \
             off and start the other again; on the copy make a new identity with `selvedge init --join`"
        ),
        Event::SaidToBeTwo { by } => tracing::warn!(
            by = ids::to_text(by),
            "a peer says that two machines with this gateway's key are up; is there a copy of this card?"
        ),
        Event::Twins { issuer } => {
            tracing::error!(
                issuer = ids::to_text(issuer),
                "two machines with one key are connected: a copied card"
            );
        }
        Event::Batched { batch, readings, id } => {
            tracing::debug!(batch, readings, id = ids::to_text(id), "batch issued");
        }
        // `Silent` is said where the reason is known.
        Event::Attached { .. } | Event::Silent => {}
    }
}
