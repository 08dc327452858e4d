//! Puts together what only the running node knows, for questions.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use edge_adapters::supervisor::Devices;
use selvedge_core::border::{BatchPolicy, Event, PeerId};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::answers::live::{Drain, EventCounts, Live};
use crate::answers::shown::Time;
use crate::engine::{Engine, Snapshot};
use crate::folder::Folder;
use crate::net::{NetHandle, NetStatus};
use crate::store::StoreReader;

/// The live figures are made anew this often.
const LIVE_EVERY: Duration = Duration::from_millis(200);
/// Those of the connections less often: each one's lock is taken for them.
const NET_EVERY: Duration = Duration::from_secs(1);

/// See the head of this file.
pub(super) struct Publisher {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The one that was looked at last. What is taken from elsewhere is no older, so that each connection that it
    /// names is found there.
    snapshot: Arc<Snapshot>,
    devices: Devices,
    net: Option<NetHandle>,
    /// The newest figures of the connections, and when they were taken.
    net_status: Option<(Instant, Arc<NetStatus>)>,
    listen: Option<SocketAddr>,
    batch: BatchPolicy,
    started: Time,
    since: Instant,
    events: EventCounts,
    drain: Drain,
    folder: Folder,
    has_issued: bool,
    is_marked: bool,
    reader: StoreReader,
    /// Transactions that must be durable before a marked folder's mark is taken away.
    settled_with: Option<u64>,
}

impl Publisher {
    pub(super) fn new(
        engine: &Engine,
        devices: Devices,
        net: Option<NetHandle>,
        folder: &Folder,
        batch: BatchPolicy,
    ) -> anyhow::Result<Self> {
        let mut publisher = Self {
            snapshot: engine.snapshot().borrow().clone(),
            snapshots: engine.snapshot(),
            devices,
            net,
            net_status: None,
            listen: None,
            batch,
            started: Time::now(),
            since: Instant::now(),
            events: EventCounts::default(),
            drain: Drain::default(),
            folder: folder.clone(),
            has_issued: folder.has_issued()?,
            is_marked: folder.restored_mark()?,
            reader: engine.reader(),
            settled_with: None,
        };
        publisher.look(Instant::now());
        Ok(publisher)
    }

    pub(super) fn listening(self, listen: Option<SocketAddr>) -> Self {
        Self { listen, ..self }
    }

    pub(super) fn live(&self) -> Live {
        let snapshot = &self.snapshot;
        Live {
            ledger: snapshot.ledger.clone(),
            peers: snapshot.peers.clone(),
            faulty: snapshot.faulty.clone(),
            notices: snapshot.notices.clone(),
            batch: self.batch,
            devices: self.devices.snapshots(),
            started: self.started,
            uptime: self.since.elapsed(),
            synchronised: snapshot.synchronised,
            events: self.events.clone(),
            drain: self.drain.estimate(),
            listen: self.listen,
            net: self.net_status.as_ref().map(|(_, status)| Arc::clone(status)),
            is_marked: self.is_marked,
            halted: snapshot.halted.clone(),
            witnessed: snapshot.witnessed.clone(),
        }
    }

    /// Takes what changes by itself.
    fn look(&mut self, now: Instant) {
        self.snapshot = self.snapshots.borrow().clone();
        let ledger = &self.snapshot.ledger;
        self.drain.note(now, ledger.backlog_readings, ledger.closed_batches);
        if let Some(net) = self.net.as_ref().filter(|_| self.is_net_old(now)) {
            self.net_status = Some((now, Arc::new(net.status())));
        }
        self.note_settled(&Arc::clone(&self.snapshot));
    }

    /// Are the figures of the connections old, or is somebody here who was not, or gone?
    fn is_net_old(&self, now: Instant) -> bool {
        let Some((at, status)) = &self.net_status else { return true };
        let links: BTreeSet<PeerId> = status.links.iter().map(|link| link.peer).collect();
        let peers: BTreeSet<PeerId> = self.snapshot.peers.iter().map(|peer| peer.peer).collect();
        links != peers || now.duration_since(*at) >= NET_EVERY
    }

    /// The first own transaction is durable: from now on a store without a chain is one that was lost.
    fn note_issued(&mut self, event: &Event) {
        if !self.has_issued && matches!(event, Event::Attached { own: true, .. }) {
            match self.folder.note_issued() {
                Ok(()) => self.has_issued = true,
                // The next start notes it.
                Err(error) => tracing::warn!(%error, "could not note that this gateway has issued"),
            }
        }
    }

    /// The peers have said how far the own chain goes, and all of it is here: it is whole again, once what came back is
    /// durable. Until then a power cut could take it, and the next start must ask as strictly as this one.
    fn note_settled(&mut self, snapshot: &Snapshot) {
        let Some((adopted, true)) = snapshot.notices.settled.filter(|_| self.is_marked) else { return };
        let needed = *self.settled_with.get_or_insert(snapshot.ledger.attached);
        if !self.reader.next_number().is_ok_and(|durable| durable >= needed) {
            return;
        }
        match self.folder.clear_restored_mark() {
            Ok(()) => tracing::warn!(
                adopted,
                "the chain is whole again: what was missing of it came back from peers; the gateway issues from now on"
            ),
            // The next start asks the peers again.
            Err(error) => tracing::warn!(%error, "the mark of a restored folder could not be removed"),
        }
        self.is_marked = false;
    }

    pub(super) async fn run(
        mut self,
        out: watch::Sender<Arc<Live>>,
        mut events: broadcast::Receiver<Event>,
        stop: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(LIVE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Ok(event) => {
                        self.note_issued(&event);
                        self.events.count(&event, Time::now());
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = ticks.tick() => {
                    self.look(Instant::now());
                    out.send_replace(Arc::new(self.live()));
                }
            }
        }
    }
}
