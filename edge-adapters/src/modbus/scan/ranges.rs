//! Which registers and bits of a unit can be read at all. Pure: the questions are asked by whom it is given.
//!
//! Modbus has no question for it. So a few addresses are tried at which devices often have something, and from each that
//! answers the range is followed in both directions, by halves: a request that names one missing register is refused as a
//! whole.

use super::super::plan::Span;
use super::super::{BITS_MAX, REGISTERS_MAX, Table};

/// Where devices often begin.
const PROBES: [u16; 20] = [
    0, 1, 100, 256, 500, 1_000, 2_000, 3_000, 4_000, 4_096, 5_000, 6_000, 8_192, 10_000, 16_384, 20_000,
    30_000, 40_000, 50_000, 60_000,
];
/// Most questions for one table.
pub(super) const QUESTIONS_MAX: u32 = 80;
/// A range is followed for at most so many full requests in a row.
const BLOCKS_MAX: u32 = 16;

/// What a unit said of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// It can be read.
    Yes,
    /// Not with this address or count.
    No,
    /// Not at all: the unit has no such table, or says nothing any more.
    Never,
}

/// Registers or bits that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readable {
    /// In which table, from where, and how many.
    pub span: Range,
    /// Most of them that one request may name, when that is fewer than the protocol allows.
    pub at_most: Option<u16>,
    /// Does it perhaps go on? The scan asks only so many questions, and none of a unit that has stopped answering.
    pub may_go_on: bool,
}

/// Addresses in a row, up to a whole table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// In which table.
    pub table: Table,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Finds what can be read of a table. `read` is asked at most [`QUESTIONS_MAX`] times.
pub(super) async fn find<E>(
    table: Table,
    read: impl AsyncFnMut(Span) -> Result<Said, E>,
) -> Result<Vec<Readable>, E> {
    let most = if table.is_bits() { BITS_MAX } else { REGISTERS_MAX };
    let mut finder = Finder { table, most, read, left: QUESTIONS_MAX, never: false };
    let mut found: Vec<Readable> = Vec::new();
    for probe in PROBES {
        let is_known = found.last().is_some_and(|range| range.span.last >= probe);
        if is_known || !finder.can(probe, 1).await? {
            continue;
        }
        let floor = found.last().map_or(0, |range| u32::from(range.span.last) + 1);
        found.push(finder.around(probe, floor).await?);
    }
    Ok(found)
}

struct Finder<F> {
    table: Table,
    /// Most that a request may name.
    most: u16,
    read: F,
    /// Questions that may still be asked.
    left: u32,
    /// The unit says no to everything.
    never: bool,
}

impl<E, F: AsyncFnMut(Span) -> Result<Said, E>> Finder<F> {
    async fn can(&mut self, start: u16, count: u16) -> Result<bool, E> {
        if self.left == 0 || self.never {
            return Ok(false);
        }
        self.left -= 1;
        let said = (self.read)(Span { table: self.table, start, count }).await?;
        self.never = said == Said::Never;
        Ok(said == Said::Yes)
    }

    /// The range around an address that can be read, not below `floor`.
    async fn around(&mut self, probe: u16, floor: u32) -> Result<Readable, E> {
        let usual = self.most;
        let mut may_go_on = false;
        // Upwards, block by block.
        let mut end = u32::from(probe) + 1;
        for block in 0.. {
            let room = (0x1_0000 - end).min(u32::from(self.most)) as u16;
            let more = self.upwards(end as u16, room).await?;
            end += u32::from(more);
            if more == 0 || end > 0xFFFF {
                break;
            }
            if more < room {
                // Either the next one is missing, or requests may not be longer.
                if !self.can(end as u16, 1).await? {
                    break;
                }
                self.most = more;
            }
            if block == BLOCKS_MAX || self.left == 0 {
                may_go_on = true;
                break;
            }
        }
        // Downwards, one block at most: below it, another address would have been tried.
        let room = (u32::from(probe) - floor).min(u32::from(self.most)) as u16;
        let start = probe - self.downwards(probe, room).await?;
        let at_most = (self.most < usual).then_some(self.most);
        let span = Range { table: self.table, first: start, last: (end - 1) as u16 };
        Ok(Readable { span, at_most, may_go_on: may_go_on || self.left == 0 || self.never })
    }

    /// How many can be read from `start` on, at most `room`.
    async fn upwards(&mut self, start: u16, room: u16) -> Result<u16, E> {
        let (mut low, mut high) = (0, room);
        // The whole first: mostly it is there.
        let mut middle = high;
        while low < high {
            if self.can(start, middle).await? {
                low = middle;
            } else {
                high = middle - 1;
            }
            middle = high - (high - low) / 2;
        }
        Ok(low)
    }

    /// How many can be read just below `end`, at most `room`.
    async fn downwards(&mut self, end: u16, room: u16) -> Result<u16, E> {
        let (mut low, mut high) = (0, room);
        let mut middle = high;
        while low < high {
            if self.can(end - middle, middle).await? {
                low = middle;
            } else {
                high = middle - 1;
            }
            middle = high - (high - low) / 2;
        }
        Ok(low)
    }
}
