//! The session with one broker: connects for ever, takes messages, hands readings over, acknowledges.
//!
//! Two loops run side by side on each connection, with a channel of [`HEARD_MAX`] places between them: one only
//! listens, which also sends what is to be said; the other works. When the working one waits, because the node has no
//! room or the window is full, the channel fills, the listening one reads nothing more, and the broker waits too; but what
//! is to be said still goes out ([`listen`](fn@listen)), so that nothing waits in a circle.

mod message;
mod writing;

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use selvedge_core::border::Origin;
use selvedge_core::limits::{ORIGINS_HELD_MAX, SUBMIT_READINGS_MAX};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Mqtt;
use super::aside::Aside;
use super::client::{Heard, Options, Service, Speak};
use super::layer::Layer;
use super::listen::listen;
use super::memory::{Known, source_of};
use super::topic::{Filter, Routes};
use crate::adapter::{Adapter, Context, Fault, FaultKind, Running};
use crate::backoff::{Backoff, BackoffPolicy};
use crate::outlet::{NotTaken, Readings, UnderWay};
use writing::{Writing, refuse};

/// Messages that may be taken and not acknowledged: as many as the journal keeps origins of one source. Beyond that
/// nothing is taken, and the broker waits.
pub(crate) const WINDOW: usize = ORIGINS_HELD_MAX;
/// Deliveries that may be under way. Beyond that nothing is taken; of use for messages that need no acknowledgement.
const UNDER_WAY_MAX: usize = 64;
/// What was heard and is not worked on yet. Full: nothing more is read from the connection.
const HEARD_MAX: usize = 64;
/// A connection that lived this long had got going: the next wait is the first again.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// A message to acknowledge.
#[derive(Debug, Clone, Copy)]
struct Owed {
    /// On this connection only.
    connection: u64,
    packet: u16,
    service: Service,
    /// Of a message that gave readings.
    digest: Option<[u8; 16]>,
}

/// Readings under way, and what to acknowledge when they are durable.
#[derive(Debug, Default)]
struct Delivered {
    answer: UnderWay,
    owed: Vec<Owed>,
}

/// What is handed over next.
#[derive(Debug, Default)]
struct Gathered {
    readings: Readings,
    origins: Vec<Origin>,
    owed: Vec<Owed>,
}

/// Why a connection is over.
#[derive(Debug)]
enum End {
    Fault(Fault),
    NotTaken,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NotTaken> for End {
    fn from(_: NotTaken) -> Self {
        Self::NotTaken
    }
}

pub(crate) struct Session {
    source: Mqtt,
    options: Options,
    /// In origins.
    source_number: u64,
    routes: Routes,
    under_way: VecDeque<Delivered>,
    /// Messages in `under_way` that want an acknowledgement.
    owed: usize,
    /// The number of this connection.
    connection: u64,
    is_resumed: bool,
    /// Does the broker hold all subscriptions, since this start?
    is_subscribed: bool,
    /// Filters of each `SUBSCRIBE` that was not answered yet.
    asked: VecDeque<Vec<Filter>>,
    answer_due: Instant,
    refused: Vec<String>,
    /// Digests, of this connection.
    last_of_topic: HashMap<String, [u8; 16]>,
    aside: Aside,
    last_line: Option<Instant>,
    writing: Option<Writing>,
    /// Of what had come when a value was written last, so much is not taken yet. It says nothing of the write.
    older: usize,
    layer: Option<Box<dyn Layer>>,
}

impl Session {
    pub(crate) fn new(source: Mqtt, options: Options) -> Self {
        let source_number = source_of(&options.client_id);
        let routes = Routes::new(&source.topics);
        let layer = source.layered.as_ref().map(|layered| layered.layer(source.is_rehearsal));
        Self {
            source,
            options,
            source_number,
            routes,
            under_way: VecDeque::new(),
            owed: 0,
            connection: 0,
            is_resumed: false,
            is_subscribed: false,
            asked: VecDeque::new(),
            answer_due: Instant::now(),
            refused: Vec::new(),
            last_of_topic: HashMap::new(),
            aside: Aside::default(),
            last_line: None,
            writing: None,
            older: 0,
            layer,
        }
    }

    async fn connect_for_ever(&mut self, context: &Context) -> Result<Infallible, Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::default(), context.seed);
        loop {
            self.connection += 1;
            let begun = Instant::now();
            let fault = match self.connection(context).await {
                Ok(never) => match never {},
                Err(End::Fault(fault)) => fault,
                Err(End::NotTaken) => return Err(Fault::new(FaultKind::Adapter, NotTaken.to_string())),
            };
            if begun.elapsed() >= STEADY_AFTER {
                backoff.reset();
            }
            context.health.failed(fault.kind);
            context.outlet.mark_stale(fault.status());
            // What the broker has kept and says again is how it is, to streams that are stale now.
            self.last_of_topic.clear();
            let wait = backoff.next_wait();
            context.health.down(&fault, wait);
            self.not_confirmed("the connection ended before the stream showed the value");
            if let Some(layer) = &mut self.layer {
                layer.disconnected();
            }
            tokio::select! {
                () = sleep(wait) => {}
                never = refuse(&context.writes) => match never {},
            }
        }
    }

    /// One connection, from its beginning to its end.
    async fn connection(&mut self, context: &Context) -> Result<Infallible, End> {
        if let Some(layer) = &mut self.layer {
            self.options.will = layer.connecting(context.clock.wall_ns());
        }
        let (mut listener, mut speaker) = self.source.connect.connect(&self.options);
        let greeting = tokio::select! {
            greeting = listener.next() => greeting?,
            never = refuse(&context.writes) => match never {},
        };
        let Heard::Connected { resumed } = greeting else {
            return Err(Fault::new(FaultKind::Protocol, "a message before the connection stood").into());
        };
        context.health.connected();
        self.greeted(resumed, &mut *speaker, context)?;
        let (heard_in, mut heard) = mpsc::channel(HEARD_MAX);
        let listen = listen(listener, heard_in);
        let work = self.work(&mut heard, &mut *speaker, context);
        tokio::pin!(listen, work);
        tokio::select! {
            biased;
            Err(end) = &mut work => Err(end),
            fault = &mut listen => {
                // What was heard before the end is taken: of quality 0 it would not come again.
                work.await?;
                Err(fault.into())
            }
        }
    }

    fn greeted(&mut self, resumed: bool, speaker: &mut dyn Speak, context: &Context) -> Result<(), Fault> {
        self.is_resumed = resumed;
        self.asked.clear();
        // What nobody could say of on the connection before comes once more.
        self.aside.take();
        if !resumed && !self.options.clean_session {
            let mut state = self.source.shared.lock();
            state.memory.begin_session();
            if std::mem::replace(&mut state.had_session, true) {
                context.health.messages(|figures| figures.sessions_lost += 1);
                let device = self.source.head.device.as_str();
                tracing::warn!(
                    device,
                    "the broker has lost the session; what it had not delivered may be gone"
                );
            }
        }
        self.source.shared.lock().had_session = true;
        // A kept session has the subscriptions of an earlier start, when the configuration may have been another.
        let is_believed = resumed && (self.is_subscribed || planted!(BelievesTheSession));
        if is_believed || planted!(NeverSubscribesAgain) && self.connection > 1 {
            context.health.up();
            return Ok(());
        }
        self.is_subscribed = false;
        self.refused.clear();
        self.answer_due = Instant::now() + self.source.timeout;
        let mut filters = self.source.filters.iter();
        for count in speaker.subscribe(&self.source.filters, self.source.service)? {
            self.asked.push_back(filters.by_ref().take(count).cloned().collect());
        }
        Ok(())
    }

    /// `Ok` when the connection is over and all that was heard is handed over.
    async fn work(
        &mut self,
        heard: &mut mpsc::Receiver<Heard>,
        speaker: &mut dyn Speak,
        context: &Context,
    ) -> Result<(), End> {
        let unsaid = speaker.unsaid();
        loop {
            // On a connection that is over nothing goes out any more, and what was heard on it is soon all taken.
            let window = if heard.is_closed() { WINDOW } else { WINDOW.saturating_sub(unsaid.count()) };
            let has_room =
                (self.owed < window && self.under_way.len() < UNDER_WAY_MAX) || planted!(TakesWithoutEnd);
            tokio::select! {
                biased;
                durable = oldest(&mut self.under_way), if !self.under_way.is_empty() => {
                    durable?;
                    // A connection that is over takes no acknowledgements; what was heard on it still counts.
                    if let Err(fault) = self.acknowledge(speaker) && !heard.is_closed() {
                        return Err(fault.into());
                    }
                }
                () = sleep_until(self.answer_due), if !self.asked.is_empty() => {
                    let why = format!("no answer to the subscription within {:?}", self.source.timeout);
                    return Err(Fault::new(FaultKind::Timeout, why).into());
                }
                () = until(self.writing.as_ref().map(|writing| writing.due)) => {
                    self.not_confirmed("the stream did not show the value in time");
                }
                // On a connection that is over nothing is published; the next one, or its absence, answers.
                request = context.writes.next(), if self.can_write() && !heard.is_closed() => {
                    self.older = heard.len();
                    match &mut self.layer {
                        Some(layer) => layer.write(request, speaker, context),
                        None => self.write(request, speaker),
                    }
                }
                () = until(self.layer.as_ref().and_then(|layer| layer.due())), if has_room => {
                    let mut gathered = Gathered::default();
                    if let Some(layer) = &mut self.layer {
                        layer.tick(speaker, &mut gathered.readings, context);
                    }
                    self.hand_over(gathered, context).await?;
                }
                () = unsaid.less(), if !has_room => {}
                next = heard.recv(), if has_room => {
                    let Some(next) = next else { return Ok(()) };
                    self.take(next, heard, window, context).await?;
                }
                () = until(self.aside.due()), if has_room => {
                    let mut gathered = Gathered::default();
                    self.settle_aside(Known::Unknown, &mut gathered, context);
                    self.hand_over(gathered, context).await?;
                }
            }
        }
    }

    /// The oldest delivery is durable.
    fn acknowledge(&mut self, speaker: &mut dyn Speak) -> Result<(), Fault> {
        let Some(Delivered { owed, .. }) = self.under_way.pop_front() else { return Ok(()) };
        self.owed -= owed.len();
        let mut state = self.source.shared.lock();
        for owed in &owed {
            if let Some(digest) = owed.digest {
                state.memory.is_durable(owed.packet, digest);
            }
        }
        drop(state);
        // What came on another connection comes again on this one, and is acknowledged then.
        let of_this = owed.iter().filter(|owed| owed.connection == self.connection);
        let packets: Vec<_> = of_this.map(|owed| (owed.packet, owed.service)).collect();
        speaker.acknowledge(&packets)
    }

    /// Takes this and what else was heard already, as far as there is room.
    async fn take(
        &mut self,
        first: Heard,
        heard: &mut mpsc::Receiver<Heard>,
        window: usize,
        context: &Context,
    ) -> Result<(), End> {
        let mut gathered = Gathered::default();
        let mut next = Some(first);
        while let Some(heard_now) = next {
            match heard_now {
                Heard::Message(message) => self.message(message, &mut gathered, context),
                Heard::Subscribed(granted) => self.subscribed(&granted, context),
                Heard::Published { packet, outcome } => self.published(packet, &outcome),
                Heard::Connected { .. } => {}
            }
            self.older = self.older.saturating_sub(1);
            // A message gives each stream one reading at most.
            let is_full = gathered.readings.len() + self.source.streams.len() > SUBMIT_READINGS_MAX;
            if is_full || self.owed + gathered.owed.len() >= window {
                break;
            }
            next = heard.try_recv().ok();
        }
        self.hand_over(gathered, context).await
    }

    async fn hand_over(&mut self, gathered: Gathered, context: &Context) -> Result<(), End> {
        let Gathered { readings, origins, owed } = gathered;
        if readings.is_empty() && owed.is_empty() {
            return Ok(());
        }
        {
            let mut state = self.source.shared.lock();
            for Owed { packet, digest, .. } in &owed {
                if let Some(digest) = digest {
                    state.memory.handed_over(*packet, *digest);
                }
            }
        }
        let answer = context.outlet.hand_over(readings, origins).await?;
        self.owed += owed.len();
        self.under_way.push_back(Delivered { answer, owed });
        Ok(())
    }

    fn subscribed(&mut self, granted: &[Option<Service>], context: &Context) {
        let Some(filters) = self.asked.pop_front() else { return };
        for (filter, granted) in filters.iter().zip(granted) {
            match granted {
                None => self.refused.push(format!("the broker refuses {:?}", filter.as_str())),
                Some(granted) if *granted < self.source.service => {
                    self.refused
                        .push(format!("the broker grants {:?} a lower quality of service", filter.as_str()));
                }
                Some(_) => {}
            }
        }
        if !self.asked.is_empty() {
            return;
        }
        self.is_subscribed = self.refused.is_empty();
        let refused = match self.refused.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            [first, rest @ ..] => Some(format!("{first}, and {} more", rest.len())),
        };
        match (&mut self.layer, refused) {
            (Some(layer), refused) => layer.subscribed(refused.as_deref(), context),
            (None, Some(refused)) => context.health.degraded(&refused),
            (None, None) => context.health.up(),
        }
    }

    fn can_write(&self) -> bool {
        let is_free = self.layer.as_ref().map_or(self.writing.is_none(), |layer| layer.can_write());
        is_free && self.asked.is_empty()
    }
}

/// Waits until the oldest delivery is durable.
async fn oldest(under_way: &mut VecDeque<Delivered>) -> Result<(), NotTaken> {
    match under_way.front_mut() {
        Some(oldest) => oldest.answer.durable().await,
        None => Ok(()),
    }
}

/// Waits until then, and for ever where there is no such time.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

impl Adapter for Session {
    fn run(mut self: Box<Self>, context: Context) -> Running {
        Box::pin(async move {
            // What is under way stays with the node; what it was not acknowledged for comes again, and is known.
            tokio::select! {
                biased;
                () = context.stop.cancelled() => Ok(()),
                ended = self.connect_for_ever(&context) => match ended {
                    Ok(never) => match never {},
                    Err(fault) => Err(fault),
                },
            }
        })
    }
}
