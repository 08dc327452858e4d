//! Polls one device: asks at its interval, turns answers into readings, waits ever longer while it is dead.
//!
//! What becomes of what goes wrong:
//!
//! | what | the connection | readings | status |
//! |---|---|---|---|
//! | no connection | none | stale, once | `UNREACHABLE` |
//! | no answer in time | closed | stale, once | `TIMEOUT` |
//! | closed or broken by the device | closed | stale, once | `CLOSED` |
//! | an answer that does not fit | closed | stale, once | `PROTOCOL` |
//! | exception 10 or 11: the unit behind a gateway is dead | closed | stale, once | 10, 11 |
//! | any other exception | kept | bad, for the streams of that request | the exception code |
//!
//! One poll is over before the next begins: what was due meanwhile is skipped and counted.

use std::convert::Infallible;
use std::time::Duration;

use selvedge_core::border::NewReading;
use tokio::time::{Instant, sleep_until};

use super::ModbusTcp;
use super::link::{Answer, Link};
use super::plan::{Request, Span, plan, split};
use crate::adapter::{Adapter, Context, Fault, FaultKind, Running};
use crate::backoff::{Backoff, BackoffPolicy};
use crate::mapping::{Decoded, decode_bit, decode_registers};
use crate::status_code;

const ILLEGAL_DATA_ADDRESS: u8 = 0x02;
const GATEWAY_PATH_UNAVAILABLE: u8 = 0x0A;
const GATEWAY_TARGET_SILENT: u8 = 0x0B;

pub(crate) struct Poller {
    source: ModbusTcp,
    spans: Vec<Span>,
    requests: Vec<Request>,
    link: Link,
}

/// What a device refused in one poll.
#[derive(Default)]
struct Refused {
    streams: usize,
    last: Option<(Span, u8)>,
}

impl Poller {
    pub(crate) fn new(source: ModbusTcp) -> Self {
        let spans: Vec<Span> = source.fields.iter().map(super::Field::span).collect();
        let requests = plan(&spans, source.caps);
        let link = Link::new(source.address.clone(), source.unit_id, source.timeout);
        Self { source, spans, requests, link }
    }

    async fn poll_for_ever(&mut self, context: &Context) -> Infallible {
        let interval = self.source.poll_interval;
        // A device that is read once an hour is not asked more often for being dead.
        let usual = BackoffPolicy::default();
        let policy = BackoffPolicy { longest: usual.longest.max(interval), ..usual };
        let mut backoff = Backoff::new(policy, context.seed);
        let mut due = Instant::now();
        loop {
            sleep_until(due).await;
            if !context.outlet.has_room() {
                context.health.skipped_full();
                due += interval;
                continue;
            }
            context.health.poll_begins(due.elapsed());
            due = match self.poll(context).await {
                Ok(()) => {
                    backoff.reset();
                    let (next, skipped) = next_due(due, interval, Instant::now());
                    context.health.skipped_late(skipped);
                    next
                }
                Err(fault) => {
                    let wait = backoff.next_wait();
                    context.health.down(&fault, wait);
                    Instant::now() + wait
                }
            };
            context.health.poll_ended();
        }
    }

    /// One poll. After an error the link is closed and the streams are stale.
    async fn poll(&mut self, context: &Context) -> Result<(), Fault> {
        let mut readings = Vec::with_capacity(self.spans.len());
        let outcome = self.ask_all(context, &mut readings).await;
        // What was answered before something went wrong was answered.
        context.outlet.offer(readings);
        match outcome {
            Ok(Refused { last: Some((span, code)), streams }) => {
                let (table, why) = (span.table.name(), status_code::words(code.into()));
                let (of, first, last) = (self.spans.len(), span.start, span.start + (span.count - 1));
                context
                    .health
                    .degraded(&format!("{streams} of {of} streams; {table} {first} to {last}: {why}"));
                Ok(())
            }
            Ok(_) => {
                context.health.up();
                Ok(())
            }
            Err(fault) => {
                self.link.close();
                context.health.failed(fault.kind);
                context.outlet.mark_stale(fault.status());
                Err(fault)
            }
        }
    }

    async fn ask_all(&mut self, context: &Context, readings: &mut Vec<NewReading>) -> Result<Refused, Fault> {
        let mut refused = Refused::default();
        let mut at = 0;
        while at < self.requests.len() {
            let span = self.requests[at].span;
            let answer = self.link.read(span, &context.health).await?;
            let arrived_ns = context.clock.wall_ns();
            if let Answer::Refused(code) = answer {
                let why = status_code::words(code.into());
                if code == GATEWAY_PATH_UNAVAILABLE || code == GATEWAY_TARGET_SILENT {
                    return Err(Fault::new(FaultKind::Exception(code), why));
                }
                context.health.failed(FaultKind::Exception(code));
                if code == ILLEGAL_DATA_ADDRESS && self.split(at) {
                    continue;
                }
                refused.streams += self.requests[at].fields.len();
                refused.last = Some((span, code));
            }
            readings.extend(self.requests[at].fields.iter().map(|index| {
                let Decoded { value, quality, status } = self.decode(*index, span, &answer);
                NewReading {
                    stream: context.streams[*index],
                    value,
                    quality,
                    flags: 0,
                    status,
                    source_time_ns: arrived_ns,
                    receive_time_ns: arrived_ns,
                }
            }));
            at += 1;
        }
        Ok(refused)
    }

    /// Replaces a request that was refused for its address by smaller ones, until the adapter is built anew.
    fn split(&mut self, at: usize) -> bool {
        let request = &self.requests[at];
        let Some(parts) = split(request, &self.spans, self.source.caps) else { return false };
        let Span { table, start, count } = request.span;
        tracing::warn!(
            device = self.source.head.device,
            table = table.name(),
            start,
            count,
            requests = parts.len(),
            "device refuses an address in this range; it is read in smaller requests from now on"
        );
        self.requests.splice(at..=at, parts);
        true
    }

    fn decode(&self, index: usize, asked: Span, answer: &Answer) -> Decoded {
        let (field, span) = (&self.source.fields[index], self.spans[index]);
        let from = usize::from(span.start - asked.start);
        let to = from + usize::from(span.count);
        match answer {
            Answer::Registers(words) => decode_registers(&field.encoding, &words[from..to]),
            Answer::Bits(bits) => decode_bit(bits[from]),
            Answer::Refused(code) => Decoded::bad((*code).into()),
        }
    }
}

impl Adapter for Poller {
    fn run(mut self: Box<Self>, context: Context) -> Running {
        Box::pin(async move {
            // Dropping the poll halfway closes its connection (see `Link::read`).
            tokio::select! {
                biased;
                () = context.stop.cancelled() => Ok(()),
                never = self.poll_for_ever(&context) => match never {},
            }
        })
    }
}

/// When the poll after the one that was due at `due` is due, and how many were missed.
fn next_due(due: Instant, interval: Duration, now: Instant) -> (Instant, u64) {
    let next = due + interval;
    if now < next {
        return (next, 0);
    }
    let missed = now.duration_since(next).as_nanos() / interval.as_nanos() + 1;
    let missed = u32::try_from(missed).unwrap_or(u32::MAX);
    (next + interval.saturating_mul(missed), missed.into())
}
