//! Opening after whatever happened: the index brought up to the log, and what the core starts from.

use std::sync::Arc;

use selvedge_core::border::{Restored, StreamState};
use selvedge_core::limits;

use super::disk::Disk;
use super::entry::Entry;
use super::error::{StoreError, io_error};
use super::index::{self, Index, StreamRow, View, state};
use super::log::SegmentLog;
use super::pending::Pending;
use super::reader::StoreReader;
use super::{OpenReport, StoreOptions};

/// Entries applied in one commit while the index catches up. Their envelopes are not kept.
const GROUP: usize = 5_000;

/// Opens the index and applies what the log has beyond it; makes it again from the log when it must.
pub(super) fn index(
    disk: &Arc<dyn Disk>,
    log: &SegmentLog,
    options: &StoreOptions<'_>,
    report: &mut OpenReport,
) -> Result<Index, StoreError> {
    let reason = match open(disk, log, options, report) {
        Ok(Ok(index)) => return Ok(index),
        Ok(Err(reason)) => reason,
        // What the index says does not go with what the log says, and the log is the truth.
        Err(why) if why.is_index_damage() || matches!(why, StoreError::Write(_)) => why.to_string(),
        Err(why) => return Err(why),
    };
    if log.next_sequence() > 0 {
        tracing::warn!(reason, entries = log.next_sequence(), "the index is made again from the log");
        report.rebuilt = Some(reason);
    }
    let index = Index::make(Arc::clone(disk), options.network.id(), options.issuer)?;
    report.replayed = catch_up(&index, log, options)?;
    Ok(index)
}

/// The index, up to date; or, in words, why it cannot be used.
fn open(
    disk: &Arc<dyn Disk>,
    log: &SegmentLog,
    options: &StoreOptions<'_>,
    report: &mut OpenReport,
) -> Result<Result<Index, String>, StoreError> {
    let files = disk.list("").map_err(io_error("list", "the data folder"))?;
    if !files.iter().any(|name| name == index::FILE) {
        return Ok(Err("it is not there".into()));
    }
    if files.iter().any(|name| name == index::DAMAGED_FILE) {
        return Ok(Err("damage was found in it while the node ran".into()));
    }
    let index = Index::open(Arc::clone(disk), options.network.id(), options.issuer)?;
    let applied = index.reader().view()?.state(state::APPLIED)?;
    if applied > log.next_sequence() {
        report.lost_entries = applied - log.next_sequence();
        return Ok(Err(format!(
            "it knows {applied} entries, but the log has {}: the disk lost what it said was durable",
            log.next_sequence()
        )));
    }
    report.replayed = catch_up(&index, log, options)?;
    Ok(Ok(index))
}

fn catch_up(index: &Index, log: &SegmentLog, options: &StoreOptions<'_>) -> Result<u64, StoreError> {
    let applied = index.reader().view()?.state(state::APPLIED)?;
    if applied == log.next_sequence() {
        return Ok(0);
    }
    let mut frames = log.frames_from(applied)?;
    let mut entries = Vec::with_capacity(GROUP);
    let mut next = applied;
    while let Some(frame) = frames.next()? {
        entries.push(Entry::read(&frame, options.network, options.issuer)?);
        next = frame.sequence + 1;
        if entries.len() == GROUP {
            apply(index, &mut entries, next, false)?;
        }
    }
    // Durable, or a node that is started and cut off again and again would do it all each time.
    apply(index, &mut entries, next, true)?;
    Ok(next - applied)
}

fn apply(index: &Index, entries: &mut Vec<Entry>, applied: u64, durable: bool) -> Result<(), StoreError> {
    let items: Vec<_> = entries.iter().map(Entry::as_item).collect();
    index.apply(&items, applied, durable)?;
    entries.clear();
    Ok(())
}

/// What the core starts from.
pub(super) fn restored(reader: &StoreReader, window_records: usize) -> Result<Restored, StoreError> {
    let journal = reader.journal().snapshot();
    let view = reader.view()?;
    let recent = view.newest(window_records)?;
    let tips = view.tips()?;
    let mut restored = Restored {
        next_number: view.state(state::NEXT_NUMBER)?,
        issuers: view.issuers()?,
        forks: view.forks(limits::FORKS_MAX)?,
        descriptors: reader.descriptors(&view)?,
        unknown_descriptors: view.unknown_descriptors()?,
        next_chain_batch: view.state(state::NEXT_CHAIN_BATCH)?,
        next_batch: view.state(state::NEXT_JOURNAL_BATCH)?,
        last_wall_ns: i64::try_from(view.state(state::LAST_WALL_NS)?).unwrap_or(i64::MAX),
        ..Restored::default()
    };
    let oldest = recent.first().map_or(0, |record| record.number);
    for tip in tips.iter().take_while(|tip| **tip < oldest) {
        let found = view.record(*tip)?.ok_or(StoreError::IndexValue { what: "tip without its record" })?;
        restored.recent.push(found.1);
    }
    restored.recent.extend(recent);
    restored.tips = tips;
    journaled(Pending::new(reader.clone(), journal, &view)?, &view, &mut restored)?;
    Ok(restored)
}

/// Folds the journal into streams, batches and wall time.
fn journaled(mut pending: Pending, view: &View, restored: &mut Restored) -> Result<(), StoreError> {
    let mut newest = None;
    while let Some(batch) = pending.next_batch()? {
        restored.last_wall_ns = restored.last_wall_ns.max(batch.taken_at_ns);
        if let Some((number, readings, _)) = newest.replace((batch.journal, batch.journaled, batch.records)) {
            restored.closed_batches.push((number, readings as u32));
        }
    }
    restored.open_batch = newest.map(|(number, _, records)| (number, records));
    let state = |row: StreamRow| {
        let (next_counter, carried) = pending.of_stream(&row.name);
        StreamState { next_counter, chain_counter: row.next_counter, carried, name: row.name }
    };
    restored.streams = view.streams()?.into_iter().map(state).collect();
    Ok(())
}
