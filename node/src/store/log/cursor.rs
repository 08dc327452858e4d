//! Reading a log from a place on, and finding its end.

use std::collections::VecDeque;
use std::sync::Arc;

use super::segment::{FRAME_BYTES, Frame, FrameHead, HEADER_BYTES, Place, SECTOR, Segment, align};
use crate::store::error::{StoreError, io_error};

/// Bytes read at once; a longer frame is read whole.
const WINDOW_BYTES: u64 = 256 * 1024;

/// A part of a segment in memory. Never more than the window, or the one frame that is longer.
#[derive(Debug, Clone)]
struct Window {
    segment: Arc<Segment>,
    end: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn new(segment: Arc<Segment>) -> Result<Self, StoreError> {
        let end = segment.len()?.min(u64::from(segment.header.segment_bytes));
        Ok(Self { segment, end, start: 0, bytes: Vec::new() })
    }

    /// `length` bytes at `offset`, when the segment has them.
    fn get(&mut self, offset: u64, length: u64) -> Result<Option<&[u8]>, StoreError> {
        if offset + length > self.end {
            return Ok(None);
        }
        let held = self.start..self.start + self.bytes.len() as u64;
        if offset < held.start || offset + length > held.end {
            let wanted = length.max(WINDOW_BYTES).min(self.end - offset);
            self.bytes.clear();
            self.bytes.resize(wanted as usize, 0);
            self.start = offset;
            let Segment { file, name, .. } = self.segment.as_ref();
            file.read_at(offset, &mut self.bytes).map_err(io_error("read", name))?;
        }
        let from = (offset - self.start) as usize;
        Ok(Some(&self.bytes[from..from + length as usize]))
    }

    /// The frame at `offset`, if one of this life of the file is there whose number `is_wanted`.
    fn frame(
        &mut self,
        offset: u64,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<Option<(FrameHead, Vec<u8>)>, StoreError> {
        let header = self.segment.header;
        let head =
            self.get(offset, FRAME_BYTES as u64)?.and_then(|bytes| FrameHead::from_bytes(bytes, &header));
        let Some(head) = head else {
            return Ok(None);
        };
        if !is_wanted(head.sequence) || offset + head.frame_bytes() > self.end {
            return Ok(None);
        }
        let Some(payload) = self.get(offset + FRAME_BYTES as u64, head.length as u64)? else {
            return Ok(None);
        };
        Ok(head.is_of(&header, payload).then(|| (head, payload.to_vec())))
    }

    /// The frame with this number, at `offset` or at the next sector: a group that was synced ends in padding.
    fn next_frame(
        &mut self,
        offset: u64,
        sequence: u64,
    ) -> Result<Option<(u64, FrameHead, Vec<u8>)>, StoreError> {
        for at in [offset, align(offset, SECTOR)] {
            if let Some((head, payload)) = self.frame(at, |s| s == sequence)? {
                return Ok(Some((at, head, payload)));
            }
            if offset.is_multiple_of(SECTOR) {
                break;
            }
        }
        Ok(None)
    }
}

/// Reads frames in order. Holds their segments.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    segments: VecDeque<Arc<Segment>>,
    window: Option<Window>,
    offset: u64,
    sequence: u64,
    until: u64,
}

impl Cursor {
    pub(super) fn new(segments: Vec<Arc<Segment>>, offset: u64, sequence: u64, until: u64) -> Self {
        Self { segments: segments.into(), window: None, offset, sequence, until }
    }

    /// Passes over the frames before number `sequence`.
    pub(super) fn skip_to(&mut self, sequence: u64) -> Result<(), StoreError> {
        while self.sequence < sequence.min(self.until) {
            self.next()?;
        }
        Ok(())
    }

    /// The next frame; `None` at the end. A frame that should be there and is not is damage.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, StoreError> {
        if self.sequence >= self.until {
            return Ok(None);
        }
        let window = self.window()?;
        let segment = window.segment.header.number;
        let (sequence, offset) = (self.sequence, self.offset);
        let window = self.window.as_mut().expect("just made");
        let Some((at, head, payload)) = window.next_frame(offset, sequence)? else {
            return Err(window.segment.corrupt(offset, format!("frame {sequence} was expected here")));
        };
        self.offset = at + head.frame_bytes();
        self.sequence += 1;
        let place = Place { segment, offset: at as u32 };
        Ok(Some(Frame { kind: head.kind, sequence, place, payload }))
    }

    /// The window over the segment that holds the next frame.
    fn window(&mut self) -> Result<&Window, StoreError> {
        if self.segments.get(1).is_some_and(|next| next.header.first_sequence == self.sequence) {
            self.segments.pop_front();
            self.window = None;
            self.offset = HEADER_BYTES;
        }
        if self.window.is_none() {
            let segment = self.segments.front().cloned().ok_or_else(|| StoreError::Corrupt {
                file: "a log".into(),
                offset: 0,
                why: format!("frame {} was expected, but there is no segment for it", self.sequence),
            })?;
            self.window = Some(Window::new(segment)?);
        }
        Ok(self.window.as_ref().expect("just made"))
    }
}

/// Where the frames of the last segment end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) end: u64,
    pub(super) next_sequence: u64,
    pub(super) cut_frames: u64,
}

/// Finds the end of the last segment, and makes sure that nothing after it can ever pass for a frame.
///
/// A frame after the end is left of a group that was being written when the power went, unless one says that the end
/// was synced already when it was written: then what lies at the end was acknowledged, and is damaged.
pub(super) fn scan(segment: &Arc<Segment>) -> Result<Scan, StoreError> {
    let mut window = Window::new(Arc::clone(segment))?;
    let (mut end, mut next) = (HEADER_BYTES, segment.header.first_sequence);
    while let Some((at, head, _)) = window.next_frame(end, next)? {
        end = at + head.frame_bytes();
        next += 1;
    }
    let possible = next + 1..next + u64::from(segment.header.segment_bytes) / FRAME_BYTES as u64;
    let mut cut = Vec::new();
    let mut offset = end;
    while offset + FRAME_BYTES as u64 <= window.end {
        match window.frame(offset, |sequence| possible.contains(&sequence))? {
            Some((head, _)) if head.synced_before() > next => {
                let why = format!(
                    "frame {next} is not there, but frame {} at byte {offset} was written when it was durable",
                    head.sequence
                );
                return Err(segment.corrupt(end, why));
            }
            Some((head, _)) => {
                cut.push(offset);
                offset += head.frame_bytes();
            }
            None => offset += 8,
        }
    }
    for offset in &cut {
        segment.write(*offset, &[0; FRAME_BYTES])?;
    }
    if !cut.is_empty() {
        segment.sync()?;
    }
    Ok(Scan { end, next_sequence: next, cut_frames: cut.len() as u64 })
}
