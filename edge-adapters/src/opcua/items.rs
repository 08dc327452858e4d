//! The nodes that a subscription watches: which of them the server watches, which it refuses, and what each said last.
//!
//! A server answers for each node by itself. One that it refuses is bad by the server's own status, and is asked for
//! again, ever more rarely; the others do not notice. Nor is one believed to be watched because the server said so: it
//! must say its first value, and one that stays silent is looked at now and then ([`Watches::silent`]).

use std::time::Duration;

use opcua::core::ResponseMessage;
use opcua::types::{
    AttributeId, CreateMonitoredItemsRequest, DataChangeFilter, DataChangeTrigger, DeadbandType,
    DeleteMonitoredItemsRequest, ExtensionObject, MonitoredItemCreateRequest, MonitoringMode,
    MonitoringParameters, NodeId, ReadValueId, StatusCode, TimestampsToReturn,
};
use selvedge_core::reading::Value;
use tokio::time::Instant;

use super::node_id::NodeName;
use super::session::{Session, as_many, unexpected};
use super::subscribe::Subscription;
use super::value::{Picker, Taken};
use crate::adapter::Fault;
use crate::status_code;

/// A node that was refused is asked for again after this, then after twice as long, and so on.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// No wait is longer.
const RETRY_LONGEST: Duration = Duration::from_mins(1);

/// A node as configured.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its name.
    pub node: NodeName,
    /// How often the server looks at it; `None`: as often as it publishes.
    pub sampling: Option<Duration>,
    /// Values that the server keeps of it.
    pub queue_size: u32,
    /// Full: which is dropped, the oldest or the newest before the last?
    pub discard_oldest: bool,
    /// What the server leaves out.
    pub filter: Option<Filter>,
    /// How its value is taken.
    pub picker: Picker,
}

/// What a server leaves out (OPC 10000-4, 7.22.2).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Filter {
    /// Changes of at most as much, of the raw value.
    Absolute(f64),
    /// Changes of at most so much percent of the node's range (EURange).
    PercentOfRange(f64),
}

/// Does the server watch it?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It was not asked yet.
    Wanted,
    /// It does, by this number.
    Watched(u32),
    /// It does not; ask again then.
    Refused { since: u32, failures: u32, again: Instant },
}

/// What becomes of a `deadband_range_percent` that no server takes.
pub(crate) const WITHOUT_PERCENT: &str = "only a server knows the range, so nothing is left out and each change is \
                                          recorded; a `deadband` in the unit of the value is the gateway's own";

/// One node, on one session.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    state: State,
    node: Option<NodeId>,
    is_filtered: bool,
    /// On this connection.
    heard: Option<Instant>,
    /// What it said last, and when that was taken.
    last: Option<(Value, i64)>,
    /// Its value changed without a word; once is no proof.
    is_suspect: bool,
    /// The bad status that was delivered for it, and is not over.
    told: Option<u32>,
}

/// All nodes, in the order of the streams.
#[derive(Debug, Clone)]
pub(crate) struct Watches(Vec<Watch>);

impl Watches {
    /// None is watched yet.
    pub(crate) fn new(count: usize) -> Self {
        let watch = Watch {
            state: State::Wanted,
            node: None,
            is_filtered: false,
            heard: None,
            last: None,
            is_suspect: false,
            told: None,
        };
        Self(vec![watch; count])
    }

    /// The session is the same, the connection another.
    pub(crate) fn reconnected(&mut self) {
        for watch in &mut self.0 {
            watch.heard = None;
            watch.is_suspect = false;
            watch.told = None;
        }
    }

    /// It spoke, at this moment.
    pub(crate) fn heard(&mut self, index: usize, taken: &Taken, now: Instant) {
        let Some(watch) = self.0.get_mut(index) else { return };
        watch.heard = Some(now);
        watch.is_suspect = false;
        watch.told = None;
        watch.last = Some((taken.decoded.value.clone(), taken.source_time_ns));
    }

    /// Did it speak ever, in this session?
    pub(crate) fn was_heard_before(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|watch| watch.last.is_some())
    }

    /// How many the server watches, and how many it refuses.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let watched = self.0.iter().filter(|watch| matches!(watch.state, State::Watched(_))).count();
        let refused = self.0.iter().filter(|watch| matches!(watch.state, State::Refused { .. })).count();
        (watched, refused)
    }

    /// The first that the server refuses, and why.
    pub(crate) fn first_refused(&self) -> Option<(usize, u32)> {
        self.0.iter().enumerate().find_map(|(index, watch)| match watch.state {
            State::Refused { since, .. } => Some((index, since)),
            _ => None,
        })
    }

    /// Those that are watched and have not spoken on this connection.
    pub(crate) fn unheard(&self) -> Vec<usize> {
        self.those(|watch| watch.heard.is_none())
    }

    /// Those that are watched and have been silent for as long.
    pub(crate) fn silent(&self, long: Duration) -> Vec<usize> {
        self.those(|watch| watch.heard.is_none_or(|heard| heard.elapsed() >= long))
    }

    fn those(&self, is_it: impl Fn(&Watch) -> bool) -> Vec<usize> {
        let watched = |watch: &Watch| matches!(watch.state, State::Watched(_));
        let found = self.0.iter().enumerate().filter(|(_, watch)| watched(watch) && is_it(watch));
        found.map(|(index, _)| index).collect()
    }

    /// What it is called on the server at this moment.
    pub(crate) fn node(&self, index: usize) -> Option<&NodeId> {
        self.0.get(index)?.node.as_ref()
    }

    /// When the next refused node is due; `None` when there is none.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = |watch: &Watch| match watch.state {
            State::Wanted => Some(Instant::now()),
            State::Watched(_) => None,
            State::Refused { again, .. } => Some(again),
        };
        self.0.iter().filter_map(due).min()
    }

    /// Notes that this one is not watched any more. `true`: that is news.
    pub(crate) fn refuse(&mut self, index: usize, status: u32) -> bool {
        let Some(watch) = self.0.get_mut(index) else { return false };
        let failures = if let State::Refused { failures, .. } = watch.state { failures + 1 } else { 0 };
        let wait = RETRY_FIRST.saturating_mul(1 << failures.min(16)).min(RETRY_LONGEST);
        watch.state = State::Refused { since: status, failures, again: Instant::now() + wait };
        watch.told.replace(status) != Some(status)
    }

    /// It is to be watched anew.
    fn forget(&mut self, index: usize) {
        if let Some(watch) = self.0.get_mut(index) {
            *watch = Watch { state: State::Wanted, is_suspect: false, ..watch.clone() };
        }
    }

    /// Was this read although nothing was said of it? The second time in a row it is proof that the server does not watch
    /// it any more: a change may be on its way while one looks.
    pub(crate) fn is_deaf(&mut self, index: usize, item: &Item, read: &Taken) -> bool {
        let Some(watch) = self.0.get_mut(index) else { return false };
        let changed = match &watch.last {
            Some((value, time_ns)) => {
                let within = watch.is_filtered && is_within(item.filter, value, &read.decoded.value);
                *value != read.decoded.value && read.source_time_ns != *time_ns && !within
            }
            None => false,
        };
        let is_proof = changed && watch.is_suspect;
        watch.is_suspect = changed;
        is_proof
    }
}

/// Is this a change that the server leaves out? Of the percentage of a range nobody here knows.
fn is_within(filter: Option<Filter>, from: &Value, to: &Value) -> bool {
    match (filter, from.as_f64(), to.as_f64()) {
        (Some(Filter::Absolute(band)), Some(from), Some(to)) => (to - from).abs() <= band,
        (Some(Filter::PercentOfRange(_)), Some(_), Some(_)) => true,
        _ => false,
    }
}

/// Asks the server to watch all nodes that are due. Returns those that are refused, and that is news, with the status.
pub(crate) async fn watch_due(
    session: &Session,
    subscription: &Subscription,
    items: &[Item],
    watches: &mut Watches,
) -> Result<Vec<(usize, u32)>, Fault> {
    let now = Instant::now();
    let is_due = |watch: &Watch| match watch.state {
        State::Wanted => true,
        State::Watched(_) => false,
        State::Refused { again, .. } => again <= now,
    };
    let due: Vec<usize> = watches.0.iter().enumerate().filter(|(_, w)| is_due(w)).map(|(i, _)| i).collect();
    let mut refused = Vec::new();
    let mut wanted = Vec::new();
    for index in due {
        match items[index].node.resolve(&session.namespaces) {
            Ok(node) => {
                watches.0[index].node = Some(node);
                wanted.push(index);
            }
            Err(_) => note(watches, index, status_code::NO_NAMESPACE, &mut refused),
        }
    }
    let mut unfiltered = Vec::new();
    for (index, result) in create(session, subscription, items, watches, &wanted, true).await? {
        match result {
            Ok(id) => watches.watched(index, id, items[index].filter.is_some()),
            Err(status) if items[index].filter.is_some() && is_about_filter(status) => unfiltered.push(index),
            Err(status) => note(watches, index, status.bits(), &mut refused),
        }
    }
    say_unfiltered(items, &unfiltered);
    for (index, result) in create(session, subscription, items, watches, &unfiltered, false).await? {
        match result {
            Ok(id) => watches.watched(index, id, false),
            Err(status) => note(watches, index, status.bits(), &mut refused),
        }
    }
    Ok(refused)
}

/// Says what becomes of the deadbands of these nodes, which the server does not have.
pub(crate) fn say_unfiltered(items: &[Item], unfiltered: &[usize]) {
    let is_percent = |index: &&usize| matches!(items[**index].filter, Some(Filter::PercentOfRange(_)));
    let (percent, absolute): (Vec<&usize>, Vec<&usize>) = unfiltered.iter().partition(is_percent);
    if let Some(first) = absolute.first() {
        let (nodes, node) = (absolute.len(), items[**first].node.to_string());
        tracing::info!(nodes, node, "the server has no deadband for some nodes; the gateway's own is used");
    }
    if let Some(first) = percent.first() {
        let (nodes, node) = (percent.len(), items[**first].node.to_string());
        tracing::warn!(
            nodes,
            node,
            "the server has no deadband_range_percent for some nodes; {WITHOUT_PERCENT}"
        );
    }
}

fn note(watches: &mut Watches, index: usize, status: u32, news: &mut Vec<(usize, u32)>) {
    if watches.refuse(index, status) {
        news.push((index, status));
    }
}

impl Watches {
    fn watched(&mut self, index: usize, id: u32, is_filtered: bool) {
        let watch = &mut self.0[index];
        watch.state = State::Watched(id);
        watch.is_filtered = is_filtered;
    }
}

/// The server cannot filter this node so; without a filter it may well watch it.
fn is_about_filter(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BadFilterNotAllowed
            | StatusCode::BadMonitoredItemFilterInvalid
            | StatusCode::BadMonitoredItemFilterUnsupported
            | StatusCode::BadDeadbandFilterInvalid
    )
}

type Created = (usize, Result<u32, StatusCode>);

async fn create(
    session: &Session,
    subscription: &Subscription,
    items: &[Item],
    watches: &Watches,
    wanted: &[usize],
    filtered: bool,
) -> Result<Vec<Created>, Fault> {
    let asker = session.asker();
    let mut created = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(session.limits.items.max(1)) {
        let requests = part.iter().filter_map(|index| {
            let node = watches.node(*index)?;
            Some(request(*index, &items[*index], node, filtered))
        });
        let request = CreateMonitoredItemsRequest {
            request_header: asker.header(),
            subscription_id: subscription.id(),
            timestamps_to_return: TimestampsToReturn::Both,
            items_to_create: Some(requests.collect()),
        };
        let results = match asker.ask(request).await? {
            ResponseMessage::CreateMonitoredItems(answer) => answer.results.unwrap_or_default(),
            other => return Err(unexpected(&other)),
        };
        as_many(results.len(), part.len(), "watched nodes")?;
        created.extend(part.iter().zip(results).map(|(index, result)| {
            let status = result.status_code;
            (*index, if status.is_bad() { Err(status) } else { Ok(result.monitored_item_id) })
        }));
    }
    Ok(created)
}

fn request(index: usize, item: &Item, node: &NodeId, filtered: bool) -> MonitoredItemCreateRequest {
    let filter = match item.filter.filter(|_| filtered) {
        None => ExtensionObject::null(),
        Some(filter) => {
            let (deadband_type, deadband_value) = match filter {
                Filter::Absolute(band) => (DeadbandType::Absolute, band),
                Filter::PercentOfRange(percent) => (DeadbandType::Percent, percent),
            };
            ExtensionObject::from_message(DataChangeFilter {
                trigger: DataChangeTrigger::StatusValue,
                deadband_type: deadband_type as u32,
                deadband_value,
            })
        }
    };
    MonitoredItemCreateRequest {
        item_to_monitor: ReadValueId::new(node.clone(), AttributeId::Value),
        monitoring_mode: MonitoringMode::Reporting,
        requested_parameters: MonitoringParameters {
            client_handle: index as u32,
            // -1 is the publishing interval (OPC 10000-4, 7.21).
            sampling_interval: item.sampling.map_or(-1.0, |sampling| sampling.as_secs_f64() * 1_000.0),
            filter,
            queue_size: item.queue_size,
            discard_oldest: item.discard_oldest,
        },
    }
}

/// Takes these out of the subscription, to be watched anew.
pub(crate) async fn forget(
    session: &Session,
    subscription: &Subscription,
    watches: &mut Watches,
    which: &[usize],
) -> Result<(), Fault> {
    let asker = session.asker();
    let ids: Vec<u32> = which
        .iter()
        .filter_map(|index| match watches.0.get(*index)?.state {
            State::Watched(id) => Some(id),
            _ => None,
        })
        .collect();
    for part in ids.chunks(session.limits.items.max(1)) {
        let request = DeleteMonitoredItemsRequest {
            request_header: asker.header(),
            subscription_id: subscription.id(),
            monitored_item_ids: Some(part.to_vec()),
        };
        // The server may have dropped them by itself.
        match asker.ask(request).await {
            Ok(_) | Err(Fault { kind: crate::adapter::FaultKind::Refused(_), .. }) => {}
            Err(fault) => return Err(fault),
        }
    }
    for index in which {
        watches.forget(*index);
    }
    Ok(())
}
