//! One connection that polls: all nodes are read at an interval.

use std::convert::Infallible;
use std::time::Duration;

use opcua::types::NodeId;
use tokio::time::{Instant, sleep_until};

use super::OpcUa;
use super::run::{End, bad_reading, reading};
use super::session::Session;
use super::value::take;
use super::write::write;
use crate::adapter::Context;
use crate::status_code;

/// Polls until the connection is over.
pub(crate) async fn poll(
    source: &OpcUa,
    session: &Session,
    context: &Context,
    interval: Duration,
) -> Result<Infallible, End> {
    let mut nodes: Vec<(usize, NodeId)> = Vec::new();
    let mut unknown = Vec::new();
    for (index, item) in source.items.iter().enumerate() {
        match item.node.resolve(&session.namespaces) {
            Ok(node) => nodes.push((index, node)),
            Err(_) => unknown.push(index),
        }
    }
    let bad = unknown.iter().map(|index| bad_reading(context, *index, status_code::NO_NAMESPACE));
    context.outlet.hand_over(bad.collect::<Vec<_>>(), Vec::new()).await?;
    let ids: Vec<NodeId> = nodes.iter().map(|(_, node)| node.clone()).collect();
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            fault = session.closed() => return Err(End::Broken(fault)),
            request = context.writes.next() => write(source, session, request).await?,
            () = sleep_until(due) => {
                if context.outlet.has_room() {
                    context.health.poll_begins(due.elapsed());
                    poll_once(source, session, context, &nodes, &ids, unknown.first().copied()).await?;
                    context.health.poll_ended();
                } else {
                    context.health.skipped_full();
                }
                let (next, skipped) = next_due(due, interval, Instant::now());
                context.health.skipped_late(skipped);
                due = next;
            }
        }
    }
}

async fn poll_once(
    source: &OpcUa,
    session: &Session,
    context: &Context,
    nodes: &[(usize, NodeId)],
    ids: &[NodeId],
    unknown: Option<usize>,
) -> Result<(), End> {
    let found = session.read(ids).await?;
    let mut bad = unknown.map(|index| (index, status_code::NO_NAMESPACE));
    let receive_time_ns = context.clock.wall_ns();
    let mut readings = Vec::with_capacity(found.len());
    for ((index, _), data) in nodes.iter().zip(&found) {
        if data.status().is_bad() {
            bad = bad.or(Some((*index, data.status().bits())));
        }
        let taken = take(data, &source.items[*index].picker, receive_time_ns);
        readings.push(reading(context, *index, taken, receive_time_ns));
    }
    context.outlet.offer(readings);
    match bad {
        None => context.health.up(),
        Some((index, status)) => {
            let (node, why) = (&source.items[index].node, status_code::words(status));
            context.health.degraded(&format!("{node}: {why}"));
        }
    }
    Ok(())
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
