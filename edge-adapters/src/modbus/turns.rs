//! Whose turn it is on a line that a dead unit shares with living ones. Pure: the moment is an argument.
//!
//! A line carries one question at a time, and a question to a dead unit takes a whole time-out (and on RTU another one,
//! in which the line must be silent). Three rules keep that from the neighbours:
//!
//! - **A tenth.** After an attempt at a unit that failed and took `t`, no unit that is down is tried before
//!   `9 t` ([`REST`]) are over, whichever it is: dead units together take at most a tenth of the line's time.
//! - **Between polls.** An attempt begins when no neighbour is being polled and none is due before it can be over.
//!   Where there is no such moment (polls come closer together than the time-out is long), it begins after
//!   [`PATIENCE`], just after a poll has ended; on a line that is never idle after twice that.
//! - **At last.** So a poll of a living unit is late by no more than one failed attempt, and that rarely.
//!
//! They hold while another unit of the line is up. With none up nobody is in the way, and each unit is tried by its own
//! back-off. The first attempts of all units after the start are not held back either, or the living among them would
//! wait for the dead.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// A failed attempt is followed by so many times its length without another.
pub(crate) const REST: u32 = 9;
/// An attempt waits this long for a moment in which it is in nobody's way.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(crate) struct Turns {
    units: BTreeMap<u64, Unit>,
    next: u64,
    /// No unit that is down is tried before this.
    rest_until: Option<Instant>,
}

#[derive(Debug, Default)]
struct Unit {
    up: bool,
    polling: bool,
    due: Option<Instant>,
}

/// May a unit that is down be tried?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Permission {
    Now,
    /// Ask again at this moment, or when something changed.
    Later(Instant),
}

impl Turns {
    /// A unit that was not reached yet.
    pub(crate) fn join(&mut self) -> u64 {
        self.next += 1;
        self.units.insert(self.next, Unit::default());
        self.next
    }
    pub(crate) fn leave(&mut self, unit: u64) {
        self.units.remove(&unit);
    }
    pub(crate) fn poll_begins(&mut self, unit: u64) {
        self.change(unit, |unit| unit.polling = true);
    }
    /// A poll is over: the unit is up or down, and due again at this moment.
    pub(crate) fn poll_ended(&mut self, unit: u64, up: bool, due: Instant) {
        self.change(unit, |unit| *unit = Unit { up, polling: false, due: Some(due) });
    }
    /// An exchange failed at this moment, after having taken the line for `took`.
    pub(crate) fn failed(&mut self, took: Duration, now: Instant) {
        self.rest_until = self.rest_until.max(Some(now + took * REST));
    }

    /// Until when `unit`, which is down, waits at least.
    pub(crate) fn rest(&self, unit: u64) -> Option<Instant> {
        self.rest_until.filter(|_| self.neighbours(unit).next().is_some())
    }

    /// May `unit`, which is down and has waited since `since`, be tried, if that may take `cost`?
    pub(crate) fn permission(&self, unit: u64, since: Instant, cost: Duration, now: Instant) -> Permission {
        if self.neighbours(unit).next().is_none() || planted!(DeadUnitsAreTriedAtOnce) {
            return Permission::Now;
        }
        let rest_until = self.rest_until.unwrap_or(since);
        if now < rest_until {
            return Permission::Later(rest_until);
        }
        let since = since.max(rest_until);
        let (patient, at_last) = (since + PATIENCE, since + 2 * PATIENCE);
        let idle = self.neighbours(unit).all(|other| !other.polling);
        let room = self.neighbours(unit).filter_map(|other| other.due).all(|due| due >= now + cost);
        match (idle, room) {
            (true, true) => Permission::Now,
            (true, false) if now >= patient => Permission::Now,
            _ if now >= at_last => Permission::Now,
            _ if now < patient => Permission::Later(patient),
            _ => Permission::Later(at_last),
        }
    }

    fn neighbours(&self, unit: u64) -> impl Iterator<Item = &Unit> {
        self.units.iter().filter(move |(id, other)| **id != unit && other.up).map(|(_, other)| other)
    }

    fn change(&mut self, unit: u64, change: impl FnOnce(&mut Unit)) {
        if let Some(unit) = self.units.get_mut(&unit) {
            change(unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_unit_alone_on_its_line_is_held_back_by_nobody() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let alone = turns.join();
        turns.poll_ended(alone, false, now);
        turns.failed(SECOND, now);
        assert_eq!(turns.permission(alone, now, SECOND, now), Permission::Now);
        // Nor by a second one that is dead too.
        let other = turns.join();
        turns.poll_ended(other, false, now);
        assert_eq!(turns.permission(alone, now, SECOND, now), Permission::Now);
        assert_eq!(turns.rest(alone), None);
    }

    #[test]
    fn an_attempt_waits_for_the_rest_then_for_room_then_no_longer() {
        let (mut turns, now) = (Turns::default(), Instant::now());
        let (dead, alive) = (turns.join(), turns.join());
        turns.poll_ended(alive, true, now + SECOND / 2);
        turns.failed(SECOND, now);
        let rested = now + 9 * SECOND;
        assert_eq!(turns.permission(dead, now, SECOND, now), Permission::Later(rested));
        // The neighbour is due too soon.
        turns.poll_ended(alive, true, rested + SECOND / 2);
        let patient = rested + PATIENCE;
        assert_eq!(turns.permission(dead, now, SECOND, rested), Permission::Later(patient));
        // There is room.
        turns.poll_ended(alive, true, rested + SECOND);
        assert_eq!(turns.permission(dead, now, SECOND, rested), Permission::Now);
        // It is being polled.
        turns.poll_begins(alive);
        assert_eq!(turns.permission(dead, now, SECOND, rested), Permission::Later(patient));
        assert_eq!(turns.permission(dead, now, SECOND, patient), Permission::Later(patient + PATIENCE));
        assert_eq!(turns.permission(dead, now, SECOND, patient + PATIENCE), Permission::Now);
        // Never room, but idle.
        turns.poll_ended(alive, true, patient);
        assert_eq!(turns.permission(dead, now, SECOND, patient), Permission::Now);
        // The neighbour leaves.
        turns.leave(alive);
        assert_eq!(turns.permission(dead, now, SECOND, now), Permission::Now);
    }
}
