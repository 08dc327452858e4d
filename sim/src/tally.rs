//! What went wrong in a run, counted by kind: a swarm in which nothing goes wrong shows nothing.

/// Something that went wrong, or that somebody hostile did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happened {
    /// A frame got lost.
    FrameLost,
    /// A frame arrived twice.
    FrameTwice,
    /// A frame was in the heavy tail of delays.
    FrameInTail,
    /// A frame met a dead way.
    FrameHeldUp,
    /// A frame found a full queue.
    FrameCongested,
    /// One way of a link died for a while.
    Partition,
    /// A gateway was cut off for a while.
    Isolation,
    /// A gateway crashed.
    Crash,
    /// A core halted, since its store or key failed.
    Halt,
    /// A sync failed.
    SyncFailed,
    /// A write found no room.
    DiskFull,
    /// A sync was held up.
    DiskStalled,
    /// A key gave no signature.
    KeyFailed,
    /// Slow work failed.
    WorkFailed,
    /// Slow work was answered after it was asked for again.
    WorkLate,
    /// Slow work was never answered.
    WorkLost,
    /// A wall clock jumped.
    ClockJump,
    /// A stream came to mean something else under load.
    StreamChanged,
    /// A hostile peer did something.
    HostileAct,
    /// A frame of a hostile peer arrived.
    HostileFrame,
    /// A gateway started from an old image of its card.
    Restored,
}

/// How often each happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally([u64; Happened::ALL.len()]);

impl Happened {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 21] = [
        Self::FrameLost,
        Self::FrameTwice,
        Self::FrameInTail,
        Self::FrameHeldUp,
        Self::FrameCongested,
        Self::Partition,
        Self::Isolation,
        Self::Crash,
        Self::Halt,
        Self::SyncFailed,
        Self::DiskFull,
        Self::DiskStalled,
        Self::KeyFailed,
        Self::WorkFailed,
        Self::WorkLate,
        Self::WorkLost,
        Self::ClockJump,
        Self::StreamChanged,
        Self::HostileAct,
        Self::HostileFrame,
        Self::Restored,
    ];

    /// Its name in `--json`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FrameLost => "frames_lost",
            Self::FrameTwice => "frames_twice",
            Self::FrameInTail => "frames_in_tail",
            Self::FrameHeldUp => "frames_held_up",
            Self::FrameCongested => "frames_congested",
            Self::Partition => "partitions",
            Self::Isolation => "isolations",
            Self::Crash => "crashes",
            Self::Halt => "halts",
            Self::SyncFailed => "syncs_failed",
            Self::DiskFull => "writes_without_room",
            Self::DiskStalled => "syncs_stalled",
            Self::KeyFailed => "keys_failed",
            Self::WorkFailed => "work_failed",
            Self::WorkLate => "work_late",
            Self::WorkLost => "work_lost",
            Self::ClockJump => "clock_jumps",
            Self::StreamChanged => "streams_changed",
            Self::HostileAct => "hostile_acts",
            Self::HostileFrame => "hostile_frames",
            Self::Restored => "restored",
        }
    }
}

impl Tally {
    /// It happened once more.
    pub const fn add(&mut self, what: Happened) {
        self.0[what as usize] += 1;
    }

    /// How often.
    pub const fn of(&self, what: Happened) -> u64 {
        self.0[what as usize]
    }

    /// Each kind with how often it happened.
    pub fn iter(&self) -> impl Iterator<Item = (Happened, u64)> + '_ {
        Happened::ALL.into_iter().map(|what| (what, self.of(what)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place_and_its_name() {
        for (place, what) in Happened::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, place);
        }
        let mut names = Happened::ALL.map(Happened::name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Happened::ALL.len());
        let mut tally = Tally::default();
        tally.add(Happened::Restored);
        assert_eq!((tally.of(Happened::Restored), tally.of(Happened::Crash)), (1, 0));
    }
}
