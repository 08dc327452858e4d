//! Answers to wants and fetches, from the log to the bulk lane at the speed of the link. The core never sees them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use selvedge_core::border::{Serve, Ticket};
use selvedge_core::limits::TRANSACTIONS_PER_FRAME_MAX;
use selvedge_core::wire;
use tokio::sync::mpsc;

use super::arrivals::Arrival;
use super::limits::{SERVE_ABOVE_BYTES, SERVE_FRAME_BYTES, SERVE_SLICE_BYTES, SERVE_TRANSACTIONS_MAX};
use super::links::{Link, Shared, lock};
use crate::store::{Places, StoreError, StoreReader};

/// Carries out the requests of one peer, one after the other, until its connection ends or the core is gone.
pub(super) async fn run(shared: &Shared, link: &Link, mut requests: mpsc::Receiver<(Ticket, Serve)>) {
    while let Some((ticket, what)) = requests.recv().await {
        let is_fetch = matches!(what, Serve::Ranges { .. });
        if let Err(error) = answer(shared, link, what).await {
            // The store stops the node by itself when it must; a peer is only told that there is no more.
            tracing::debug!(peer = link.peer.0, %error, "a peer's request could not be read from the store");
            if is_fetch {
                link.bulk.push_below(SERVE_ABOVE_BYTES, wire::fetch_end(false)).await;
            }
        }
        if shared.to_core.tell(Arrival::Served(ticket)).await.is_err() {
            return;
        }
        // Told first: whoever ends this task meanwhile answers what is still owed.
        lock(&link.owed).retain(|owed| *owed != ticket);
    }
}

async fn answer(shared: &Shared, link: &Link, what: Serve) -> Result<(), StoreError> {
    let with_end = matches!(what, Serve::Ranges { .. });
    let plan = move |reader: &StoreReader| match what {
        Serve::Ids(references) => reader.places_of(&references),
        Serve::Ranges { ranges, transactions_max } => {
            reader.places_in(&ranges, transactions_max.min(SERVE_TRANSACTIONS_MAX) as usize)
        }
    };
    let reader = shared.reader.clone();
    let Places { list, more } = blocking(move || plan(&reader)).await?;
    let (list, mut next) = (Arc::new(list), 0);
    while next < list.len() {
        let (reader, places) = (shared.reader.clone(), Arc::clone(&list));
        let envelopes = blocking(move || reader.envelopes_at(&places[next..], SERVE_SLICE_BYTES)).await?;
        next += envelopes.len();
        for frame in frames(&envelopes) {
            if !link.bulk.push_below(SERVE_ABOVE_BYTES, frame).await {
                return Ok(());
            }
        }
        link.counts.served.fetch_add(envelopes.len() as u64, Relaxed);
    }
    if with_end {
        link.bulk.push_below(SERVE_ABOVE_BYTES, wire::fetch_end(more)).await;
    }
    Ok(())
}

/// Reads on a thread that may block. No read transaction of the index lives longer than one call.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(outcome) => outcome,
        Err(why) if why.is_panic() => std::panic::resume_unwind(why.into_panic()),
        // The runtime ends.
        Err(_) => Err(StoreError::Ended),
    }
}

/// Frames of about 64 KiB.
fn frames(envelopes: &[Vec<u8>]) -> Vec<Arc<[u8]>> {
    let mut frames = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for (at, envelope) in envelopes.iter().enumerate() {
        bytes += envelope.len() + 4;
        if bytes >= SERVE_FRAME_BYTES || at + 1 - from == TRANSACTIONS_PER_FRAME_MAX {
            frames.push(wire::transactions(&envelopes[from..=at]));
            (from, bytes) = (at + 1, 0);
        }
    }
    if from < envelopes.len() {
        frames.push(wire::transactions(&envelopes[from..]));
    }
    frames
}
