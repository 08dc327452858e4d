//! An append-only log in segments: the truth of the ledger, and the reading journal, are one each.
//!
//! Frames are gathered in memory, written in whole sectors, and made durable by one sync for everything before it,
//! also across segments: a segment is synced before the header of the next one is written, and that header before
//! any frame in it. So what a power cut can damage is the end of the last segment only; the scan at the start cuts
//! there. Damage anywhere else is an error that names the place.
//!
//! A group of frames that was synced is never touched again: the next one begins with a sector of its own.

mod cursor;
mod segment;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock};

pub(crate) use cursor::Cursor;
use segment::{FRAME_BYTES, HEADER_BYTES, Header, SECTOR, Segment, align, put_frame};
pub(crate) use segment::{Frame, Place};

use super::disk::Disk;
use super::error::{StoreError, io_error};

/// Frames are written when this many bytes are gathered, or at a sync.
const BUFFER_BYTES: usize = 1024 * 1024;
/// A new segment file grows in steps of zeros: a file that grows with each write costs a sync more.
const GROW_BYTES: u64 = 1024 * 1024;

/// What a log is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogKind {
    /// Its folder.
    pub(crate) folder: &'static str,
    /// Stands in each header, so that a file of one log is none of the other.
    pub(crate) purpose: u8,
    /// Are segments released? Of a log whose segments are not, all are there.
    pub(crate) recycled: bool,
}

/// What opening found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogReport {
    /// Sectors after the end that held frames of a group that was never synced whole.
    pub(crate) cut_frames: u64,
}

/// The log, for its one writer.
#[derive(Debug)]
pub(crate) struct SegmentLog {
    disk: Arc<dyn Disk>,
    kind: LogKind,
    segment_bytes: u32,
    shared: LogReader,
    /// Segments that nothing needs any more, lowest number first; readers may still hold them.
    released: VecDeque<Arc<Segment>>,
    /// Files that were never in use.
    free: Vec<String>,
    next_file: u32,
    current: Arc<Segment>,
    /// Length of the current file.
    grown: u64,
    /// Where the next frame goes: offset in the current segment.
    end: u64,
    /// Frames not yet written; `end - buffer.len()` is where they go.
    buffer: Vec<u8>,
    /// Everything in the current segment before this offset is synced.
    synced: u64,
    /// All frames before this number are synced.
    synced_sequence: u64,
    next_sequence: u64,
}

/// The log, for readers. Clones are cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogReader {
    segments: Arc<RwLock<BTreeMap<u64, Arc<Segment>>>>,
}

impl LogReader {
    /// The frame at this place.
    pub(crate) fn read(&self, place: Place) -> Result<Frame, StoreError> {
        let segment = self.segment(place.segment).ok_or_else(|| StoreError::Corrupt {
            file: format!("segment {}", place.segment),
            offset: u64::from(place.offset),
            why: "the segment is not there".into(),
        })?;
        segment.read(place)
    }

    fn segment(&self, number: u64) -> Option<Arc<Segment>> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner).get(&number).cloned()
    }

    /// Segments from this one on.
    fn from(&self, number: u64) -> Vec<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.range(number..).map(|(_, s)| Arc::clone(s)).collect()
    }

    fn insert(&self, segment: &Arc<Segment>) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        segments.insert(segment.header.number, Arc::clone(segment));
    }

    fn take_before(&self, number: u64) -> Vec<Arc<Segment>> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let kept = segments.split_off(&number);
        std::mem::replace(&mut *segments, kept).into_values().collect()
    }

    /// Frames from `place` on, of which the first has number `sequence`, up to but not including `until`. Holds the
    /// segments, so that they are not recycled under it.
    pub(crate) fn frames(&self, place: Place, sequence: u64, until: u64) -> Cursor {
        Cursor::new(self.from(place.segment), u64::from(place.offset), sequence, until)
    }

    /// Bytes that the segments take on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.from(0).iter().map(|s| s.file.len().unwrap_or(0)).sum()
    }
}

impl SegmentLog {
    /// Opens the log and finds its end.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        kind: LogKind,
        segment_bytes: u32,
    ) -> Result<(Self, LogReport), StoreError> {
        let segment_bytes = align(u64::from(segment_bytes), SECTOR) as u32;
        disk.make_dir(kind.folder).map_err(io_error("make", kind.folder))?;
        let found = Found::look(disk.as_ref(), kind)?;
        let shared = LogReader::default();
        for segment in &found.segments {
            shared.insert(segment);
        }
        let mut free = found.free;
        let mut next_file = found.next_file;
        let current = if let Some(last) = found.segments.last() {
            Arc::clone(last)
        } else {
            let header = Header::new(kind.purpose, segment_bytes, 0, 0, 0);
            let (name, file) = take_file(disk.as_ref(), kind, &mut free, &mut next_file)?;
            let first = Arc::new(Segment { name, file, header });
            first.write_header()?;
            shared.insert(&first);
            first
        };
        let scan = cursor::scan(&current)?;
        let grown = current.len()?;
        let log = Self {
            disk,
            kind,
            segment_bytes,
            shared,
            released: VecDeque::new(),
            free,
            next_file,
            current,
            grown,
            end: align(scan.end, SECTOR),
            buffer: Vec::new(),
            synced: align(scan.end, SECTOR),
            synced_sequence: scan.next_sequence,
            next_sequence: scan.next_sequence,
        };
        Ok((log, LogReport { cut_frames: scan.cut_frames }))
    }

    /// For readers.
    pub(crate) fn reader(&self) -> LogReader {
        self.shared.clone()
    }

    /// Number of the next frame: of all frames ever, from 0.
    pub(crate) const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Frames from number `sequence` on, as far as they are synced or were found at the start.
    pub(crate) fn frames_from(&self, sequence: u64) -> Result<Cursor, StoreError> {
        let segments = self.shared.from(0);
        let after = segments.partition_point(|s| s.header.first_sequence <= sequence);
        let Some(from) = after.checked_sub(1) else {
            return Err(StoreError::Corrupt {
                file: self.kind.folder.into(),
                offset: 0,
                why: format!("frame {sequence} is wanted, but the oldest segment begins after it"),
            });
        };
        let first = segments[from].header.first_sequence;
        let mut cursor = Cursor::new(segments[from..].to_vec(), HEADER_BYTES, first, self.next_sequence);
        cursor.skip_to(sequence)?;
        Ok(cursor)
    }

    /// The segments, ascending: number and the tag in the header.
    pub(crate) fn tags(&self) -> Vec<(u64, u64)> {
        self.shared.from(0).iter().map(|s| (s.header.number, s.header.tag)).collect()
    }

    /// The number of the first frame in a segment.
    pub(crate) fn first_sequence_of(&self, segment: u64) -> Option<u64> {
        self.shared.segment(segment).map(|s| s.header.first_sequence)
    }

    /// Appends a frame; durable after [`sync`](Self::sync). `tag` goes into the header of a segment that begins with
    /// this frame.
    pub(crate) fn append(&mut self, kind: u8, parts: &[&[u8]], tag: u64) -> Result<Place, StoreError> {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        let limit = (self.segment_bytes as usize).saturating_sub(HEADER_BYTES as usize + FRAME_BYTES + 8);
        let limit = limit.min(segment::PAYLOAD_BYTES_MAX);
        if length > limit {
            return Err(StoreError::TooLong { what: "an entry of the log", got: length, limit });
        }
        let needs = align((FRAME_BYTES + length) as u64, 8);
        if self.end + needs > u64::from(self.current.header.segment_bytes) {
            self.roll(tag)?;
        }
        let place = Place { segment: self.current.header.number, offset: self.end as u32 };
        let unsynced = (self.next_sequence - self.synced_sequence) as u32;
        put_frame(&mut self.buffer, &self.current.header, kind, self.next_sequence, unsynced, parts);
        self.end += needs;
        self.next_sequence += 1;
        if self.buffer.len() >= BUFFER_BYTES {
            // Whole sectors; what follows in this group begins with the next one.
            self.write_buffer()?;
        }
        Ok(place)
    }

    /// Makes everything appended so far durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.write_buffer()?;
        if self.synced != self.end {
            self.current.sync()?;
            self.synced = self.end;
        }
        self.synced_sequence = self.next_sequence;
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let from = self.end - self.buffer.len() as u64;
        self.end = align(self.end, SECTOR);
        self.buffer.resize((self.end - from) as usize, 0);
        if self.end > self.grown {
            let step =
                align(self.end, GROW_BYTES).min(u64::from(self.current.header.segment_bytes)).max(self.end);
            self.current.write(self.grown, &vec![0; (step - self.grown) as usize])?;
            self.grown = step;
        }
        self.current.write(from, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Goes on to the next segment: a recycled file, or a new one.
    fn roll(&mut self, tag: u64) -> Result<(), StoreError> {
        self.sync()?;
        let number = self.current.header.number + 1;
        let header = Header::new(self.kind.purpose, self.segment_bytes, number, self.next_sequence, tag);
        let (name, file) = match self.recyclable() {
            Some(old) => (old.name.clone(), Arc::clone(&old.file)),
            None => take_file(self.disk.as_ref(), self.kind, &mut self.free, &mut self.next_file)?,
        };
        let segment = Arc::new(Segment { name, file, header });
        segment.write_header()?;
        self.shared.insert(&segment);
        self.grown = segment.len()?;
        self.current = segment;
        self.end = HEADER_BYTES;
        self.synced = HEADER_BYTES;
        Ok(())
    }

    /// The oldest released segment, when no reader holds it. Only the oldest: so the numbers on the disk stay
    /// without gaps, and a gap is damage.
    fn recyclable(&mut self) -> Option<Arc<Segment>> {
        if self.released.front().is_some_and(|s| Arc::strong_count(s) == 1) {
            return self.released.pop_front();
        }
        None
    }

    /// Nothing needs the segments before this one any more.
    pub(crate) fn release_before(&mut self, segment: u64) {
        let segment = segment.min(self.current.header.number);
        self.released.extend(self.shared.take_before(segment));
    }
}

/// A file for a new segment: one that was never in use, or a new one.
fn take_file(
    disk: &dyn Disk,
    kind: LogKind,
    free: &mut Vec<String>,
    next_file: &mut u32,
) -> Result<(String, Arc<dyn super::disk::DiskFile>), StoreError> {
    if let Some(name) = free.pop() {
        let file = disk.open(&name).map_err(io_error("open", &name))?;
        return Ok((name, file));
    }
    let name = format!("{}/{:06}.seg", kind.folder, *next_file);
    *next_file += 1;
    let file = disk.create(&name).map_err(io_error("create", &name))?;
    disk.sync_dir(kind.folder).map_err(io_error("sync the folder of", &name))?;
    Ok((name, file))
}

/// The files of a log, as they are found.
struct Found {
    segments: Vec<Arc<Segment>>,
    free: Vec<String>,
    next_file: u32,
}

impl Found {
    fn look(disk: &dyn Disk, kind: LogKind) -> Result<Self, StoreError> {
        let mut found = Self { segments: Vec::new(), free: Vec::new(), next_file: 0 };
        let mut files: Vec<(u32, String)> = disk
            .list(kind.folder)
            .map_err(io_error("list", kind.folder))?
            .into_iter()
            .filter_map(|n| Some((n.strip_suffix(".seg")?.parse().ok()?, format!("{}/{n}", kind.folder))))
            .collect();
        files.sort_unstable();
        for (at, name) in files {
            found.next_file = found.next_file.max(at + 1);
            let file = disk.open(&name).map_err(io_error("open", &name))?;
            match Header::read(file.as_ref(), &name, kind.purpose)? {
                Some(header) => found.segments.push(Arc::new(Segment { name, file, header })),
                None => found.free.push(name),
            }
        }
        found.segments.sort_by_key(|s| s.header.number);
        if let Some(first) = found.segments.first().filter(|s| !kind.recycled && s.header.number != 0) {
            let why = format!("it is segment {}, expected an older one before it", first.header.number);
            return Err(first.corrupt(0, why));
        }
        for pair in found.segments.windows(2) {
            let (got, expected) = (pair[1].header.number, pair[0].header.number + 1);
            if got != expected {
                return Err(StoreError::Corrupt {
                    file: pair[1].name.clone(),
                    offset: 0,
                    why: format!("it is segment {got}, expected segment {expected} after {}", pair[0].name),
                });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
