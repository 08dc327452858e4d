//! One segment file: header, frames, and the checks that tell a frame from what lay there before.

use std::sync::Arc;

use crc32c::crc32c_append;

use crate::store::disk::DiskFile;
use crate::store::error::{StoreError, io_error};

/// What the medium writes whole or not at all.
pub(super) const SECTOR: u64 = 512;
/// The header has a sector of its own, and so has its copy.
pub(super) const HEADER_BYTES: u64 = 2 * SECTOR;
/// Before each payload: length and kind, check, number, frames since the last sync.
pub(super) const FRAME_BYTES: usize = 20;
/// The length of a payload has 24 bits.
pub(super) const PAYLOAD_BYTES_MAX: usize = (1 << 24) - 1;

const MAGIC: [u8; 8] = *b"selvseg0";
const HEADER_USED: usize = 52;

/// `bytes` rounded up to a multiple of `to`.
pub(super) const fn align(bytes: u64, to: u64) -> u64 {
    bytes.div_ceil(to) * to
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Place {
    /// Number of its segment.
    pub(crate) segment: u64,
    /// Offset of the frame in it, in bytes.
    pub(crate) offset: u32,
}

/// A frame, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// What it holds: the log's own numbers.
    pub(crate) kind: u8,
    /// Number of the frame: of all frames ever, from 0.
    pub(crate) sequence: u64,
    /// Where it lies.
    pub(crate) place: Place,
    /// What it holds.
    pub(crate) payload: Vec<u8>,
}

/// The head of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(super) purpose: u8,
    pub(super) segment_bytes: u32,
    pub(super) number: u64,
    pub(super) first_sequence: u64,
    pub(super) tag: u64,
    /// Random, and part of every check in the segment: a frame of the file's earlier life, or bytes that a peer made
    /// to look like a frame, do not pass.
    pub(super) nonce: u64,
}

impl Header {
    pub(super) fn new(purpose: u8, segment_bytes: u32, number: u64, first_sequence: u64, tag: u64) -> Self {
        // Without a random source of the system the number alone has to do.
        let nonce = getrandom::u64().unwrap_or(number);
        Self { purpose, segment_bytes, number, first_sequence, tag, nonce }
    }

    fn to_bytes(self) -> [u8; SECTOR as usize] {
        let mut bytes = [0; SECTOR as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8] = self.purpose;
        bytes[12..16].copy_from_slice(&self.segment_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.tag.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.nonce.to_le_bytes());
        let check = crc32c::crc32c(&bytes[..48]);
        bytes[48..HEADER_USED].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER_USED], purpose: u8) -> Option<Self> {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let valid = bytes[..8] == MAGIC && bytes[8] == purpose && half(48) == crc32c::crc32c(&bytes[..48]);
        valid.then(|| Self {
            purpose,
            segment_bytes: half(12),
            number: word(16),
            first_sequence: word(24),
            tag: word(32),
            nonce: word(40),
        })
    }

    /// The header of a file, or its copy; `None` when the file was never in use.
    ///
    /// While a header is written its copy still holds the one before, and the file all that belongs to that one. A
    /// file is longer than both only after both were synced once: without either it is damaged.
    pub(super) fn read(file: &dyn DiskFile, name: &str, purpose: u8) -> Result<Option<Self>, StoreError> {
        let length = file.len().map_err(io_error("read the length of", name))?;
        for at in [0, SECTOR] {
            let mut bytes = [0; HEADER_USED];
            if at + SECTOR <= length {
                file.read_at(at, &mut bytes).map_err(io_error("read", name))?;
                if let Some(header) = Self::from_bytes(&bytes, purpose) {
                    return Ok(Some(header));
                }
            }
        }
        if length > HEADER_BYTES {
            let why = "neither the header nor its copy is valid".into();
            return Err(StoreError::Corrupt { file: name.to_owned(), offset: 0, why });
        }
        Ok(None)
    }

    /// The check over a frame: everything of it but the check itself, and what makes the segment this one.
    fn check(&self, length_and_kind: u32, sequence: u64, unsynced: u32, parts: &[&[u8]]) -> u32 {
        let mut head = [0; 32];
        head[0..8].copy_from_slice(&self.number.to_le_bytes());
        head[8..16].copy_from_slice(&self.nonce.to_le_bytes());
        head[16..20].copy_from_slice(&length_and_kind.to_le_bytes());
        head[20..28].copy_from_slice(&sequence.to_le_bytes());
        head[28..32].copy_from_slice(&unsynced.to_le_bytes());
        parts.iter().fold(crc32c::crc32c(&head), |crc, part| crc32c_append(crc, part))
    }
}

/// Appends a frame to `out`, padded to 8 bytes. `unsynced`: frames before it that no sync covers yet.
pub(super) fn put_frame(
    out: &mut Vec<u8>,
    header: &Header,
    kind: u8,
    sequence: u64,
    unsynced: u32,
    parts: &[&[u8]],
) {
    let length: usize = parts.iter().map(|p| p.len()).sum();
    let length_and_kind = length as u32 | u32::from(kind) << 24;
    let check = header.check(length_and_kind, sequence, unsynced, parts);
    out.extend_from_slice(&length_and_kind.to_le_bytes());
    out.extend_from_slice(&check.to_le_bytes());
    // Masked, so that nobody who does not know the nonce can make bytes that look worth checking.
    out.extend_from_slice(&(sequence ^ header.nonce).to_le_bytes());
    out.extend_from_slice(&unsynced.to_le_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
    out.resize(out.len() + (align((FRAME_BYTES + length) as u64, 8) as usize - FRAME_BYTES - length), 0);
}

/// The head of a frame, before its payload was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHead {
    pub(super) kind: u8,
    pub(super) length: usize,
    pub(super) sequence: u64,
    unsynced: u32,
    length_and_kind: u32,
    check: u32,
}

impl FrameHead {
    /// What stands there, when it could be the head of a frame: kinds count from 1.
    pub(super) fn from_bytes(bytes: &[u8], header: &Header) -> Option<Self> {
        let bytes: &[u8; FRAME_BYTES] = bytes.first_chunk()?;
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let length_and_kind = half(0);
        let kind = (length_and_kind >> 24) as u8;
        (kind != 0).then(|| Self {
            kind,
            length: (length_and_kind & 0x00ff_ffff) as usize,
            sequence: header.nonce ^ u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")),
            unsynced: half(16),
            length_and_kind,
            check: half(4),
        })
    }

    pub(super) fn is_of(&self, header: &Header, payload: &[u8]) -> bool {
        self.check == header.check(self.length_and_kind, self.sequence, self.unsynced, &[payload])
    }

    /// Frames before this one were durable when it was written.
    pub(super) fn synced_before(&self) -> u64 {
        self.sequence.saturating_sub(u64::from(self.unsynced))
    }

    /// With padding.
    pub(super) fn frame_bytes(&self) -> u64 {
        align((FRAME_BYTES + self.length) as u64, 8)
    }
}

/// A segment file with a valid header.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) name: String,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: Header,
}

impl Segment {
    pub(super) fn len(&self) -> Result<u64, StoreError> {
        self.file.len().map_err(io_error("read the length of", &self.name))
    }

    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.file.write_at(offset, bytes).map_err(io_error("write", &self.name))
    }

    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.file.sync().map_err(io_error("sync", &self.name))
    }

    /// Writes and syncs the header and then its copy: before any frame of this life of the file.
    pub(super) fn write_header(&self) -> Result<(), StoreError> {
        let header = self.header.to_bytes();
        self.write(0, &header)?;
        self.sync()?;
        self.write(SECTOR, &header)?;
        self.sync()
    }

    pub(super) fn corrupt(&self, offset: u64, why: impl Into<String>) -> StoreError {
        StoreError::Corrupt { file: self.name.clone(), offset, why: why.into() }
    }

    /// The frame at this place; damage is an error.
    pub(super) fn read(&self, place: Place) -> Result<Frame, StoreError> {
        let offset = u64::from(place.offset);
        let end = self.len()?;
        let mut head = [0; FRAME_BYTES];
        if offset + FRAME_BYTES as u64 > end {
            return Err(self.corrupt(offset, format!("a frame was expected, but the file has {end} bytes")));
        }
        self.file.read_at(offset, &mut head).map_err(io_error("read", &self.name))?;
        let head = FrameHead::from_bytes(&head, &self.header)
            .filter(|h| offset + h.frame_bytes() <= end)
            .ok_or_else(|| self.corrupt(offset, "no frame begins here"))?;
        let mut payload = vec![0; head.length];
        self.file.read_at(offset + FRAME_BYTES as u64, &mut payload).map_err(io_error("read", &self.name))?;
        if !head.is_of(&self.header, &payload) {
            return Err(self.corrupt(offset, "the check of the frame does not fit its bytes"));
        }
        Ok(Frame { kind: head.kind, sequence: head.sequence, place, payload })
    }
}
