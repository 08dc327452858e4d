//! Connects for ever.

use std::convert::Infallible;
use std::time::Duration;

use opcua::types::StatusCode;
use selvedge_core::border::NewReading;
use selvedge_core::reading::{Quality, Value};
use tokio::time::{Instant, sleep};

use super::items::{Filter, Item, WITHOUT_PERCENT};
use super::session::{Kept, Session};
use super::subscribe::is;
use super::value::Taken;
use super::watch::{Carried, watch};
use super::{Mode, OpcUa, poll};
use crate::adapter::{Adapter, Context, Fault, FaultKind, Running};
use crate::backoff::{Backoff, BackoffPolicy};
use crate::mapping::Decoded;
use crate::outlet::NotTaken;
use crate::status_code;
use crate::write::Written;

/// A connection that lived this long had got going: the next wait is the first again.
const STEADY_AFTER: Duration = Duration::from_secs(5);
/// A server has this long to hear that its session is not needed any more. One that does not keeps it for `keep_for`, and
/// small ones have room for few.
const CLOSE_WITHIN: Duration = Duration::from_millis(1_500);

pub(crate) struct Runner {
    source: OpcUa,
    /// The session of the connection before.
    kept: Option<Kept>,
    /// Its subscription.
    carried: Option<Carried>,
}

/// Why a connection is over.
#[derive(Debug)]
pub(crate) enum End {
    /// The session may still be there.
    Broken(Fault),
    /// The session is of no use any more.
    Useless(Fault),
    NotTaken,
    /// It was told to stop.
    Stopped,
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Closed | FaultKind::Timeout | FaultKind::Unreachable => Self::Broken(fault),
            _ => Self::Useless(fault),
        }
    }
}

impl From<NotTaken> for End {
    fn from(_: NotTaken) -> Self {
        Self::NotTaken
    }
}

impl Runner {
    pub(crate) fn new(source: OpcUa) -> Self {
        Self { source, kept: None, carried: None }
    }

    /// `Ok` when it was told to stop.
    async fn connect_for_ever(&mut self, context: &Context) -> Result<(), Fault> {
        let mut backoff = Backoff::new(BackoffPolicy::default(), context.seed);
        loop {
            let begun = Instant::now();
            let fault = match self.connection(context).await {
                Ok(never) => match never {},
                Err(End::Broken(fault) | End::Useless(fault)) => fault,
                Err(End::NotTaken) => return Err(Fault::new(FaultKind::Adapter, NotTaken.to_string())),
                Err(End::Stopped) => return Ok(()),
            };
            if begun.elapsed() >= STEADY_AFTER {
                backoff.reset();
            }
            context.health.failed(fault.kind);
            context.outlet.mark_stale(fault.status());
            let wait = backoff.next_wait();
            context.health.down(&fault, wait);
            tokio::select! {
                biased;
                () = context.stop.cancelled() => return Ok(()),
                () = refuse_writes_while(sleep(wait), context) => {}
            }
        }
    }

    /// One connection, from its beginning to its end.
    async fn connection(&mut self, context: &Context) -> Result<Infallible, End> {
        let opening = self.source.connect.open(self.kept.clone(), &context.health);
        let mut session = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Err(End::Stopped),
            session = refuse_writes_while(opening, context) => session?,
        };
        if !session.is_resumed {
            self.kept = None;
            self.carried = None;
        }
        let end = tokio::select! {
            biased;
            () = context.stop.cancelled() => End::Stopped,
            end = self.serve(&session, context) => match end {
                Ok(never) => match never {},
                Err(end) => end,
            },
        };
        match &end {
            End::Broken(_) => self.kept = session.keep(),
            End::Useless(_) | End::NotTaken | End::Stopped => {
                self.kept = None;
                self.carried = None;
                session.close().await;
            }
        }
        Err(end)
    }

    async fn serve(&mut self, session: &Session, context: &Context) -> Result<Infallible, End> {
        let Mode::Subscribe(wish) = self.source.mode else {
            let Mode::Poll(interval) = self.source.mode else { unreachable!("there are two modes") };
            return poll::poll(&self.source, session, context, interval).await;
        };
        match watch(&self.source, wish, session, context, &mut self.carried).await {
            Err(End::Useless(fault)) if is(&fault, StatusCode::BadServiceUnsupported) => {
                let device = self.source.head.device.as_str();
                tracing::warn!(device, "the server knows no subscriptions; its nodes are polled");
                let is_percent = |item: &&Item| matches!(item.filter, Some(Filter::PercentOfRange(_)));
                let nodes = self.source.items.iter().filter(is_percent).count();
                if nodes > 0 {
                    tracing::warn!(device, nodes, "some have a deadband_range_percent; {WITHOUT_PERCENT}");
                }
                poll::poll(&self.source, session, context, wish.publishing).await
            }
            end => end,
        }
    }
}

impl Adapter for Runner {
    fn run(mut self: Box<Self>, context: Context) -> Running {
        Box::pin(async move {
            let stopped = async {
                context.stop.cancelled().await;
                sleep(CLOSE_WITHIN).await;
            };
            tokio::select! {
                biased;
                outcome = self.connect_for_ever(&context) => outcome,
                () = stopped => Ok(()),
            }
        })
    }
}

/// While there is no connection nothing is written: a value that went out an hour later would surprise somebody.
async fn refuse_writes_while<T>(doing: impl Future<Output = T>, context: &Context) -> T {
    tokio::pin!(doing);
    loop {
        tokio::select! {
            biased;
            done = &mut doing => return done,
            request = context.writes.next() => {
                let why = "there is no connection to the device".to_owned();
                request.done(Written::Refused { status: status_code::UNREACHABLE, why });
            }
        }
    }
}

/// The reading of a value that came at this time.
pub(crate) fn reading(context: &Context, index: usize, taken: Taken, receive_time_ns: i64) -> NewReading {
    let Taken { decoded: Decoded { value, quality, status }, source_time_ns } = taken;
    let stream = context.streams[index];
    NewReading { stream, value, quality, flags: 0, status, source_time_ns, receive_time_ns }
}

/// The reading of a node that cannot be read, for this reason.
pub(crate) fn bad_reading(context: &Context, index: usize, status: u32) -> NewReading {
    let now_ns = context.clock.wall_ns();
    NewReading {
        stream: context.streams[index],
        value: Value::None,
        quality: Quality::Bad,
        flags: 0,
        status,
        source_time_ns: now_ns,
        receive_time_ns: now_ns,
    }
}
