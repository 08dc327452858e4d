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
//! | any other exception | kept | bad, for the streams of that request, which is divided if it may be for its places | the exception code |
//!
//! "Closed" is over TCP; on RTU the line is listened to until it is silent ([`super::line`]).
//!
//! Streams of one interval are a group, which is planned and read together. One poll is over before the next begins: what
//! was due meanwhile is skipped and counted. A device that is down is tried with the group that is due first, and waits
//! for its turn on a line that it shares ([`super::turns`]). Between polls it is written to ([`super::write`]).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use selvedge_core::border::NewReading;
use tokio::time::{Instant, sleep_until};

use super::ask::{Answer, Ask};
use super::line::{Line, Seat};
use super::plan::{Request, Span, plan_some, split, without_gaps};
use super::{Field, Modbus};
use crate::adapter::{Adapter, Context, Fault, FaultKind, Running};
use crate::backoff::{Backoff, BackoffPolicy};
use crate::mapping::{Decoded, decode_bit, decode_registers};
use crate::status_code;
use crate::write::{WriteRequest, Written};

/// It has not all that was asked for, or does not give so much at once (Modbus Application Protocol V1.1b3, section 7).
const ILLEGAL_PLACES: [u8; 2] = [0x02, 0x03];
/// "Illegal function" and "device failure": what some devices, against the standard, answer to a request that spans places
/// which they have not. It may mean something else, so it costs a request only the places that nobody asked for.
const MAYBE_ILLEGAL_PLACES: [u8; 2] = [0x01, 0x04];
const GATEWAY_PATH_UNAVAILABLE: u8 = 0x0A;
const GATEWAY_TARGET_SILENT: u8 = 0x0B;

pub(crate) struct Poller {
    source: Modbus,
    spans: Vec<Span>,
    /// In ascending order of their intervals.
    groups: Vec<Group>,
    seat: Seat,
    /// Held while a value is written.
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// Streams of one interval: planned together, and read together.
struct Group {
    interval: Duration,
    due: Instant,
    requests: Vec<Request>,
    refused: Refused,
}

/// What a device refused in the last poll of a group.
#[derive(Clone, Copy, Default)]
struct Refused {
    streams: usize,
    last: Option<(Span, u8)>,
}

impl Poller {
    pub(crate) fn new(source: Modbus) -> Self {
        let spans: Vec<Span> = source.fields.iter().map(super::Field::span).collect();
        let mut of_interval: BTreeMap<Duration, Vec<usize>> = BTreeMap::new();
        for (index, field) in source.fields.iter().enumerate() {
            of_interval.entry(field.poll_interval).or_default().push(index);
        }
        let groups = of_interval.into_iter().map(|(interval, fields)| Group {
            interval,
            due: Instant::now(),
            requests: plan_some(&spans, &fields, source.caps),
            refused: Refused::default(),
        });
        let groups = groups.collect();
        let seat = Line::of(&source.transport).sit(source.unit_id, source.timeout);
        Self { source, spans, groups, seat, writing: Arc::default() }
    }

    async fn poll_for_ever(&mut self, context: &Context) -> Infallible {
        let mut backoff = Backoff::new(self.backoff_policy(), context.seed);
        let (mut is_down, mut has_written) = (false, false);
        loop {
            let at = self.next_group();
            let Group { due, interval, .. } = self.groups[at];
            tokio::select! {
                biased;
                // First: polls that take longer than their interval would leave no moment for a write. But one in turn with
                // polls that are due, or writes would leave none for them.
                request = context.writes.next(), if !(has_written && due <= Instant::now()) => {
                    has_written = true;
                    if is_down {
                        refuse(request);
                    } else {
                        let _whole = self.writing.lock().await;
                        self.source.carry_out(request, &self.seat, context).await;
                    }
                    continue;
                }
                () = sleep_until(due) => {}
            }
            has_written = false;
            if !context.outlet.has_room() && !planted!(PollsForNothing) {
                context.health.skipped_full();
                self.groups[at].due += interval;
                self.seat.poll_ended(!is_down, self.groups[self.next_group()].due);
                continue;
            }
            let outcome = if is_down {
                // One wait, however many writes are refused meanwhile: it has its place among the other dead.
                let turn = self.seat.turn_of_dead();
                tokio::pin!(turn);
                let _turn = loop {
                    tokio::select! {
                        turn = &mut turn => break turn,
                        request = context.writes.next() => {
                            refuse(request);
                            if planted!(LosesItsTurn) {
                                turn.set(self.seat.turn_of_dead());
                            }
                        }
                    }
                };
                context.health.poll_begins(Duration::ZERO);
                poll(&mut self.groups[at], &self.source, &self.spans, &self.seat, context).await
            } else {
                self.seat.poll_begins();
                context.health.poll_begins(due.elapsed());
                poll(&mut self.groups[at], &self.source, &self.spans, &self.seat, context).await
            };
            is_down = outcome.is_err();
            match outcome {
                Ok(()) => {
                    backoff.reset();
                    let (next, skipped) = next_due(due, interval, Instant::now());
                    self.groups[at].due = next;
                    context.health.skipped_late(skipped);
                    self.say_how_it_is(context);
                }
                Err(fault) => {
                    if planted!(WantsTheDeviceAtTheStart) && context.health.figures().connections == 0 {
                        return std::future::pending().await;
                    }
                    // On a line with living neighbours it may have to wait for longer than it would by itself.
                    let wait = backoff.next_wait().max(self.seat.rest());
                    let again = Instant::now() + wait;
                    self.groups.iter_mut().for_each(|group| group.due = group.due.max(again));
                    self.groups[at].due = again;
                    context.health.down(&fault, wait);
                }
            }
            self.seat.poll_ended(!is_down, self.groups[self.next_group()].due);
            context.health.poll_ended();
        }
    }

    /// A device that is read once an hour is not asked more often for being dead.
    fn backoff_policy(&self) -> BackoffPolicy {
        let usual = BackoffPolicy::default();
        let interval = self.groups.first().map_or(Duration::ZERO, |group| group.interval);
        BackoffPolicy { longest: usual.longest.max(interval), ..usual }
    }

    /// The group that is due first; of those due at one moment the one that is read most often.
    fn next_group(&self) -> usize {
        let due = self.groups.iter().enumerate().min_by_key(|(_, group)| group.due);
        due.map(|(at, _)| at).expect("a device has a stream, so it has a group")
    }

    /// After a poll that was answered: up, or degraded by what its groups were refused when they were read last.
    fn say_how_it_is(&self, context: &Context) {
        let streams: usize = self.groups.iter().map(|group| group.refused.streams).sum();
        let Some((span, code)) = self.groups.iter().find_map(|group| group.refused.last) else {
            return context.health.up();
        };
        let (table, why) = (span.table.name(), status_code::words(code.into()));
        let (of, first, last) = (self.spans.len(), span.start, span.start + (span.count - 1));
        context.health.degraded(&format!("{streams} of {of} streams; {table} {first} to {last}: {why}"));
    }
}

/// One poll of a group. After an error the line is settled and all streams of the device are stale.
async fn poll(
    group: &mut Group,
    source: &Modbus,
    spans: &[Span],
    seat: &Seat,
    context: &Context,
) -> Result<(), Fault> {
    let streams = group.requests.iter().map(|request| request.fields.len()).sum();
    let mut readings = Vec::with_capacity(streams);
    let outcome = group.ask_all(source, spans, seat, context, &mut readings).await;
    // What was answered before something went wrong was answered.
    context.outlet.offer(readings);
    match outcome {
        Ok(refused) => {
            group.refused = refused;
            Ok(())
        }
        Err(fault) => {
            context.health.failed(fault.kind);
            context.outlet.mark_stale(fault.status());
            Err(fault)
        }
    }
}

impl Group {
    async fn ask_all(
        &mut self,
        source: &Modbus,
        spans: &[Span],
        seat: &Seat,
        context: &Context,
        readings: &mut Vec<NewReading>,
    ) -> Result<Refused, Fault> {
        let mut refused = Refused::default();
        let mut at = 0;
        while at < self.requests.len() {
            let span = self.requests[at].span;
            let begun = Instant::now();
            let answer = seat.ask(&Ask::Read(span), &context.health).await?;
            let arrived_ns = context.clock.wall_ns();
            if let Answer::Refused(code) = answer {
                let why = status_code::words(code.into());
                if code == GATEWAY_PATH_UNAVAILABLE || code == GATEWAY_TARGET_SILENT {
                    seat.failed(begun.elapsed());
                    seat.close().await;
                    return Err(Fault::new(FaultKind::Exception(code), why));
                }
                context.health.failed(FaultKind::Exception(code));
                if self.divide(at, code, source, spans) {
                    continue;
                }
                refused.streams += self.requests[at].fields.len();
                refused.last = Some((span, code));
            }
            readings.extend(self.requests[at].fields.iter().map(|index| {
                let Decoded { value, quality, status } =
                    decode(&source.fields[*index], spans[*index], span, &answer);
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

    /// Replaces a request that was refused for what it asked for by smaller ones, until the adapter is built anew.
    fn divide(&mut self, at: usize, code: u8, source: &Modbus, spans: &[Span]) -> bool {
        let request = &self.requests[at];
        let parts = if ILLEGAL_PLACES.contains(&code) {
            split(request, spans, source.caps)
        } else if MAYBE_ILLEGAL_PLACES.contains(&code) {
            without_gaps(request, spans, source.caps)
        } else {
            None
        };
        let Some(parts) = parts else { return false };
        let Span { table, start, count } = request.span;
        tracing::warn!(
            device = source.head.device,
            table = table.name(),
            start,
            count,
            requests = parts.len(),
            code,
            "device refuses to read this range at once; it is read in smaller requests from now on"
        );
        self.requests.splice(at..=at, parts);
        true
    }
}

/// The value of a field in the answer to what was `asked`, which holds its span.
pub(super) fn decode(field: &Field, span: Span, asked: Span, answer: &Answer) -> Decoded {
    let from = usize::from(span.start - asked.start);
    let to = from + usize::from(span.count);
    match answer {
        Answer::Registers(words) => decode_registers(&field.encoding, &words[from..to]),
        Answer::Bits(bits) => decode_bit(bits[from]),
        Answer::Refused(code) => Decoded::bad((*code).into()),
        Answer::Written => Decoded::bad(status_code::PROTOCOL),
    }
}

/// A unit that is down is not written to.
fn refuse(request: WriteRequest) {
    let why = "the device does not answer".to_owned();
    request.done(Written::Refused { status: status_code::UNREACHABLE, why });
}

impl Adapter for Poller {
    fn run(mut self: Box<Self>, context: Context) -> Running {
        let writing = Arc::clone(&self.writing);
        Box::pin(async move {
            // Dropping a poll halfway closes its connection (see `Seat::ask`); a write that has begun is ended first, so
            // that it is known what became of it.
            let stopped = async {
                context.stop.cancelled().await;
                writing.lock().await
            };
            tokio::select! {
                biased;
                _ = stopped => Ok(()),
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
