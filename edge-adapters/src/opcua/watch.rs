//! One connection with a subscription. Everything here asks whether *values* still come:
//!
//! | what | after | then |
//! |---|---|---|
//! | the server says nothing at all, not even that it is there | twice the silence it agreed to | a new session |
//! | not one node spoke after it was watched | [`first`](first_within) | a new session |
//! | one node did not speak | the same | it is read, and watched anew |
//! | a node is silent | `check_interval` | it is read; if its value changed twice without a word, it is watched anew |
//! | a node has gone | the server says so, or `check_interval` | bad, by the server's status; asked for ever more rarely |

use std::convert::Infallible;
use std::time::Duration;

use opcua::types::{DataValue, NodeId, StatusCode};
use tokio::time::{Instant, sleep_until};

use super::OpcUa;
use super::items::{Watches, forget, watch_due};
use super::run::{End, bad_reading, reading};
use super::session::Session;
use super::subscribe::{Came, Publisher, Subscription, Wish, is};
use super::value::take;
use super::write::write;
use crate::adapter::{Context, Fault, FaultKind};
use crate::status_code;

/// What outlives a connection, with the session.
#[derive(Debug, Clone)]
pub(crate) struct Carried {
    subscription: Subscription,
    watches: Watches,
}

struct Watcher<'a> {
    source: &'a OpcUa,
    session: &'a Session,
    context: &'a Context,
    carried: &'a mut Carried,
    publisher: Publisher,
    wish: Wish,
    /// Until then every node should have spoken; `None`: that was looked at.
    first_due: Option<Instant>,
    check_due: Instant,
    /// Did any node speak since its subscription was made?
    has_spoken: bool,
}

/// Watches until the connection is over. `carried` is the subscription of the same session, if there was one.
pub(crate) async fn watch(
    source: &OpcUa,
    wish: Wish,
    session: &Session,
    context: &Context,
    carried: &mut Option<Carried>,
) -> Result<Infallible, End> {
    let is_resumed = carried.is_some();
    let carried = match carried {
        Some(carried) => {
            carried.watches.reconnected();
            context.health.subscription(|figures| figures.resumed += 1);
            carried
        }
        None => carried.insert(Carried {
            subscription: Subscription::create(&session.asker(), wish).await?,
            watches: Watches::new(source.items.len()),
        }),
    };
    let publisher = Publisher::new(session.asker());
    let now = Instant::now();
    let mut watcher = Watcher {
        first_due: Some(now + first_within(source, &carried.subscription)),
        check_due: now + source.check_interval,
        source,
        session,
        context,
        carried,
        publisher,
        wish,
        has_spoken: is_resumed,
    };
    watcher.run().await
}

/// A node that is watched says its first value after one sampling and one publishing interval. Four times that, and the
/// time of an answer.
fn first_within(source: &OpcUa, subscription: &Subscription) -> Duration {
    let sampling = source.items.iter().filter_map(|item| item.sampling).max().unwrap_or_default();
    (sampling + subscription.publishing) * 4 + source.connect.dial.timeout
}

impl Watcher<'_> {
    async fn run(&mut self) -> Result<Infallible, End> {
        self.watch_due().await?;
        loop {
            self.publisher.ask(&self.carried.subscription).await;
            let silent_at = self.publisher.silent_at(&self.carried.subscription);
            let due = [self.first_due, self.carried.watches.next_due()].into_iter().flatten();
            let due = due.chain([self.check_due]).min().unwrap_or(self.check_due);
            tokio::select! {
                biased;
                answer = self.publisher.next() => {
                    let came = match answer {
                        Ok(answer) => {
                            let subscription = &mut self.carried.subscription;
                            self.publisher.take(subscription, answer, &self.context.health).await?
                        }
                        Err(fault) if is(&fault, StatusCode::BadNoSubscription) => {
                            Came::Gone(StatusCode::BadNoSubscription)
                        }
                        Err(fault) => return Err(fault.into()),
                    };
                    match came {
                        Came::Values(values) => self.came(&values).await?,
                        Came::Gone(status) => self.anew(status).await?,
                    }
                }
                fault = self.session.closed() => return Err(End::Broken(fault)),
                request = self.context.writes.next() => {
                    let outcome = write(self.source, self.session, request).await;
                    self.publisher.was_busy();
                    outcome?;
                }
                () = sleep_until(silent_at) => {
                    let detail = "the server has not published for twice as long as it agreed to";
                    return Err(End::Useless(Fault::new(FaultKind::Timeout, detail)));
                }
                () = sleep_until(due) => {
                    self.duties().await?;
                    self.publisher.was_busy();
                }
            }
        }
    }

    async fn came(&mut self, values: &[(u32, DataValue)]) -> Result<(), End> {
        // All of them came in one message.
        let (now, receive_time_ns) = (Instant::now(), self.context.clock.wall_ns());
        let mut readings = Vec::with_capacity(values.len());
        let mut gone = Vec::new();
        for (handle, data) in values {
            let index = *handle as usize;
            // Else of an item that was taken out a moment ago.
            let Some(item) = self.source.items.get(index) else { continue };
            let taken = take(data, &item.picker, receive_time_ns);
            self.carried.watches.heard(index, &taken, now);
            readings.push(reading(self.context, index, taken, receive_time_ns));
            if is_gone(data.status()) {
                gone.push((index, data.status().bits()));
            }
        }
        if !readings.is_empty() {
            self.has_spoken = true;
            if planted!(DropsWithoutRoom) {
                self.context.outlet.offer(readings);
            } else {
                // Waits for room: nothing is asked of the server meanwhile, and it keeps its queue.
                self.context.outlet.hand_over(readings, Vec::new()).await?;
            }
            self.publisher.was_busy();
        }
        if !gone.is_empty() {
            // A node that comes again is another one for the server: what watched the old one stays silent.
            self.no_more(&gone).await?;
            self.say_how_it_is();
        }
        Ok(())
    }

    /// These are not watched any more. Returns those of which that is news.
    async fn no_more(&mut self, gone: &[(usize, u32)]) -> Result<Vec<(usize, u32)>, Fault> {
        let Carried { subscription, watches } = &mut *self.carried;
        let indices: Vec<usize> = gone.iter().map(|(index, _)| *index).collect();
        forget(self.session, subscription, watches, &indices).await?;
        Ok(gone.iter().copied().filter(|(index, status)| watches.refuse(*index, *status)).collect())
    }

    /// The subscription has gone, and the session has not.
    async fn anew(&mut self, status: StatusCode) -> Result<(), End> {
        let (device, why) = (self.source.head.device.as_str(), super::link::words(status));
        tracing::warn!(device, why, "the server gave the subscription up; it is made anew");
        self.context.health.subscription(|figures| figures.recreated += 1);
        self.context.outlet.mark_stale(status.bits());
        let asker = self.session.asker();
        *self.carried = Carried {
            subscription: Subscription::create(&asker, self.wish).await?,
            watches: Watches::new(self.source.items.len()),
        };
        self.publisher = Publisher::new(asker);
        self.has_spoken = false;
        self.first_due = Some(Instant::now() + first_within(self.source, &self.carried.subscription));
        self.watch_due().await
    }

    async fn duties(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if self.first_due.is_some_and(|due| due <= now) {
            self.first_due = None;
            self.look_at_unheard().await?;
        }
        if self.check_due <= now {
            self.look_at_silent().await?;
            self.check_due = Instant::now() + self.source.check_interval;
        }
        if self.carried.watches.next_due().is_some_and(|due| due <= now) {
            self.watch_due().await?;
        }
        Ok(())
    }

    /// Asks for the nodes that are due, and says which are refused.
    async fn watch_due(&mut self) -> Result<(), End> {
        let Carried { subscription, watches } = &mut *self.carried;
        let refused = watch_due(self.session, subscription, &self.source.items, watches).await?;
        // What was watched just now should speak.
        if !watches.unheard().is_empty() && self.first_due.is_none() {
            self.first_due = Some(Instant::now() + first_within(self.source, subscription));
        }
        let readings = refused.iter().map(|(index, status)| bad_reading(self.context, *index, *status));
        let readings: Vec<_> = readings.collect();
        if !readings.is_empty() {
            self.context.outlet.hand_over(readings, Vec::new()).await?;
        }
        self.say_how_it_is();
        Ok(())
    }

    fn say_how_it_is(&self) {
        let watches = &self.carried.watches;
        let (watched, refused) = watches.counts();
        self.context.health.subscription(|figures| {
            figures.items = watched as u64;
            figures.items_refused = refused as u64;
        });
        match watches.first_refused() {
            None => self.context.health.up(),
            Some((index, status)) => {
                let (all, node) = (self.source.items.len(), &self.source.items[index].node);
                let why = status_code::words(status);
                self.context.health.degraded(&format!("{refused} of {all} nodes; {node}: {why}"));
            }
        }
    }

    /// Nodes that did not speak although they are watched. Of a session that was taken up again they may just not have
    /// changed: reading them is what ends their being stale.
    async fn look_at_unheard(&mut self) -> Result<(), End> {
        let unheard = self.carried.watches.unheard();
        if unheard.is_empty() {
            return Ok(());
        }
        if !self.has_spoken {
            let detail = format!(
                "not one of {} nodes spoke after the server said that it watches them",
                unheard.len()
            );
            return Err(End::Useless(Fault::new(FaultKind::Timeout, detail)));
        }
        let found = self.read(&unheard).await?;
        let mut anew = Vec::new();
        for (index, data) in unheard.iter().zip(&found) {
            if !data.status().is_bad() && !self.carried.watches.was_heard_before(*index) {
                anew.push(*index);
            }
        }
        self.looked(&unheard, &found).await?;
        self.watch_anew(&anew).await
    }

    /// Nodes that are silent: do they still exist, and is what they said last still so?
    async fn look_at_silent(&mut self) -> Result<(), End> {
        let silent = self.carried.watches.silent(self.source.check_interval);
        if silent.is_empty() || planted!(TrustsItsItems) {
            return Ok(());
        }
        let found = self.read(&silent).await?;
        let (mut deaf, mut gone, mut gone_data) = (Vec::new(), Vec::new(), Vec::new());
        let receive_time_ns = self.context.clock.wall_ns();
        for (index, data) in silent.iter().zip(found) {
            let item = &self.source.items[*index];
            let taken = take(&data, &item.picker, receive_time_ns);
            if is_gone(data.status()) {
                gone.push(*index);
                gone_data.push(data);
            } else if self.carried.watches.is_deaf(*index, item, &taken) {
                deaf.push(*index);
            }
        }
        self.looked(&gone, &gone_data).await?;
        self.watch_anew(&deaf).await
    }

    async fn read(&mut self, which: &[usize]) -> Result<Vec<DataValue>, Fault> {
        let nodes: Vec<NodeId> = which
            .iter()
            .map(|index| self.carried.watches.node(*index).cloned().unwrap_or_default())
            .collect();
        self.session.read(&nodes).await
    }

    /// Hands over what was read; a node that has gone is not watched any more.
    async fn looked(&mut self, which: &[usize], found: &[DataValue]) -> Result<(), End> {
        let (now, receive_time_ns) = (Instant::now(), self.context.clock.wall_ns());
        let mut readings = Vec::with_capacity(which.len());
        let mut gone = Vec::new();
        for (index, data) in which.iter().zip(found) {
            if is_gone(data.status()) {
                gone.push((*index, data.status().bits()));
            } else {
                let taken = take(data, &self.source.items[*index].picker, receive_time_ns);
                self.carried.watches.heard(*index, &taken, now);
                readings.push(reading(self.context, *index, taken, receive_time_ns));
            }
        }
        for (index, status) in self.no_more(&gone).await? {
            readings.push(bad_reading(self.context, index, status));
        }
        if !readings.is_empty() {
            self.context.outlet.hand_over(readings, Vec::new()).await?;
        }
        self.say_how_it_is();
        Ok(())
    }

    async fn watch_anew(&mut self, which: &[usize]) -> Result<(), End> {
        if which.is_empty() {
            return Ok(());
        }
        let (device, nodes) = (self.source.head.device.as_str(), which.len());
        let node = self.source.items[which[0]].node.to_string();
        tracing::warn!(
            device,
            nodes,
            node,
            "the server says nothing of nodes that it watches; they are watched anew"
        );
        self.context.health.subscription(|figures| figures.deaf += nodes as u64);
        let Carried { subscription, watches } = &mut *self.carried;
        forget(self.session, subscription, watches, which).await?;
        self.watch_due().await
    }
}

/// Is there no such node (any more)?
const fn is_gone(status: StatusCode) -> bool {
    matches!(status, StatusCode::BadNodeIdUnknown | StatusCode::BadNodeIdInvalid)
}
