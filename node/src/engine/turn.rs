//! The loop: an input in, its effects carried out, until it is told to stop.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selvedge_core::border::{Effect, Event, Input, Outcome, ReplyTo};
use selvedge_core::node::Node;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender};
use tokio::sync::{broadcast, oneshot, watch};

use super::clock::Clock;
use super::workers::{Job, Workers};
use super::{Request, Snapshot};
use crate::store::{Committer, GroupOutcome, StoreError};

/// Inputs handled in a row before the snapshot is published and deadlines are looked at.
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
    snapshot: watch::Sender<Arc<Snapshot>>,
    published: Option<Instant>,
    /// Has something changed since the last snapshot?
    behind: bool,
    events: broadcast::Sender<Event>,
    replies: HashMap<ReplyTo, oneshot::Sender<Outcome>>,
    next_reply: u64,
    halted: Option<String>,
    stop_at: Option<Instant>,
}

/// What woke the loop.
enum Woken {
    Input(Input),
    Asked(Option<Request>),
    Deadline,
}

impl Turn {
    pub(super) fn new(
        node: Node,
        clock: Clock,
        committer: Committer,
        workers: Workers,
        snapshot: watch::Sender<Arc<Snapshot>>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        Self {
            node,
            clock,
            committer: Some(committer),
            workers,
            snapshot,
            published: None,
            behind: true,
            events,
            replies: HashMap::new(),
            next_reply: 0,
            halted: None,
            stop_at: None,
        }
    }

    /// Runs until it was stopped, or the core halted.
    pub(super) fn run(
        mut self,
        mut inbox: Receiver<Request>,
        mut completions: UnboundedReceiver<Input>,
        first: Vec<Effect>,
    ) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|why| format!("the system refused a timer: {why}"))?;
        self.carry_out(first);
        runtime.block_on(async {
            while !self.is_over() {
                let woken = self.wait(&mut inbox, &mut completions).await;
                self.take(woken);
                self.take_what_waits(&mut inbox, &mut completions);
                self.publish();
            }
        });
        self.end(completions)
    }

    async fn wait(
        &mut self,
        inbox: &mut Receiver<Request>,
        completions: &mut UnboundedReceiver<Input>,
    ) -> Woken {
        let deadline = self.deadline();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Completions first: they free what requests wait for.
            biased;
            Some(input) = completions.recv() => Woken::Input(input),
            () = sleep => Woken::Deadline,
            request = inbox.recv(), if self.stop_at.is_none() => Woken::Asked(request),
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
            Woken::Deadline => self.hand_in(Input::Tick),
        }
    }

    /// What came meanwhile shares the turn, and so often a sync.
    fn take_what_waits(&mut self, inbox: &mut Receiver<Request>, completions: &mut UnboundedReceiver<Input>) {
        for _ in 0..INPUTS_PER_TURN_MAX {
            if let Ok(input) = completions.try_recv() {
                self.hand_in(input);
            } else if self.stop_at.is_none()
                && let Ok(request) = inbox.try_recv()
            {
                self.asked(request);
            } else {
                break;
            }
        }
    }

    fn asked(&mut self, request: Request) {
        let input = match request {
            Request::Describe { stream, descriptor, urgent } => {
                Input::Describe { stream, descriptor, urgent }
            }
            Request::Submit { readings, reply } => Input::Submit { readings, reply: self.note_reply(reply) },
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
        self.behind = true;
        let mut effects = Vec::new();
        self.node.handle(now, input, &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut failed = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { ticket, writes, within_us } => {
                    let committer = self.committer.as_ref().ok_or(StoreError::Ended);
                    if let Err(why) = committer.and_then(|c| c.submit(ticket, writes, within_us)) {
                        failed.push(Input::Failed { ticket, why: why.to_string() });
                    }
                }
                Effect::Load { ticket, references } => self.workers.submit(Job::Load { ticket, references }),
                Effect::LoadBatch { ticket, batch } => self.workers.submit(Job::LoadBatch { ticket, batch }),
                Effect::Seal { ticket, batch } => self.workers.submit(Job::Seal { ticket, batch }),
                Effect::Verify { ticket, checks } => self.workers.submit(Job::Verify { ticket, checks }),
                Effect::Sign { ticket, message } => self.workers.submit(Job::Sign { ticket, message }),
                Effect::Reply { reply, outcome } => {
                    if let Some(waiting) = self.replies.remove(&reply) {
                        // Whoever asked may have gone away.
                        let _ = waiting.send(outcome);
                    }
                }
                Effect::Emit(event) => self.emit(event),
                // These name a peer, and there is none before the node has a network: no `PeerUp` was handed in.
                Effect::Send { .. } | Effect::Want { .. } | Effect::Drop { .. } => {}
            }
        }
        // The store is gone: the core halts, and hands out nothing more to write.
        for input in failed {
            self.hand_in(input);
        }
    }

    fn emit(&mut self, event: Event) {
        match &event {
            Event::Halted { why } => {
                tracing::error!(why, "the store or the key failed: the node stops");
                self.halted = Some(why.clone());
            }
            Event::Retrying { what, why } => tracing::warn!(what, why, "failed, will be tried again"),
            Event::Silent => tracing::warn!(
                "restored without its chain, or part of it is lost: readings are journaled, nothing is issued; the file `restored` says what to do"
            ),
            Event::Forked { issuer, sequence } => {
                tracing::warn!(%issuer, sequence, "an issuer forked its chain");
            }
            Event::Batched { batch, readings, id } => tracing::debug!(batch, readings, %id, "batch issued"),
            Event::Attached { .. } => {}
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
        let synchronised = self.clock.now().synchronised;
        self.snapshot.send_replace(Arc::new(Snapshot::of(&self.node, synchronised, self.halted.clone())));
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
