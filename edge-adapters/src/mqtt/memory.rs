//! Which messages were recorded, so that one that comes again is known. Pure.
//!
//! A broker sends a message again, flagged `dup`, until it is acknowledged (MQTT 3.1.1, section 4.4), under the same
//! packet id. What is known of it after a restart are the origins that the journal kept; within one start each packet
//! id is remembered. It belongs to the device and not to the adapter, so that it outlives an adapter that panics.

use std::collections::{BTreeSet, HashMap, VecDeque};

use selvedge_core::border::Origin;
use selvedge_core::hash::derive;
use selvedge_core::limits::ORIGINS_HELD_MAX;

/// Messages that are remembered within one start: more than any broker has in flight that was seen here (mosquitto 20,
/// others up to some hundreds), in 90 kB.
pub const REMEMBERED_MAX: usize = 1_024;
/// Packet ids of messages that follow each other are at most this far apart, with a broker that counts.
const STEP_MAX: u16 = 1_024;
/// An id that is at most so far before another comes before it, and else after it: half of all ids.
const BEHIND_MAX: u16 = u16::MAX / 2;

/// The source of a client's origins.
pub fn source_of(client_id: &str) -> u64 {
    let hash = derive("selvedge v0 mqtt client", client_id.as_bytes());
    u64::from_le_bytes([hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7]])
}

/// Of what a message said.
pub fn digest_of(topic: &str, payload: &[u8]) -> [u8; 16] {
    let mut bytes = Vec::with_capacity(8 + topic.len() + payload.len());
    bytes.extend((topic.len() as u64).to_le_bytes());
    bytes.extend(topic.as_bytes());
    bytes.extend(payload);
    let hash = derive("selvedge v0 mqtt message", &bytes);
    std::array::from_fn(|at| hash[at])
}

/// What a message that comes again is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Recorded, or on its way to be.
    Recorded,
    /// Not recorded.
    New,
    /// Its id comes before all that are remembered. Recorded, if one of those comes again after it: a broker sends again
    /// in the order in which it sent first, and what came first was recorded first.
    Older,
    /// Nobody can say.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Durable,
    /// Handed over by the adapter that runs.
    UnderWay,
    /// Handed over by one that failed before it was told.
    Unknown,
}

/// The messages of one session.
#[derive(Debug, Default)]
pub struct Memory {
    entries: HashMap<u16, ([u8; 16], Fate)>,
    /// Packet ids by age, oldest first; one that was remembered again stands here twice.
    order: VecDeque<u16>,
    newest: Option<u16>,
    /// Did every packet id follow the one before?
    counts_up: bool,
    /// May a message of this session have been recorded and forgotten?
    has_forgotten: bool,
}

impl Memory {
    /// What the journal kept of this source, oldest first.
    pub fn restored(source: u64, origins: &[Origin]) -> Self {
        let mut memory = Self { counts_up: true, ..Self::default() };
        let mut count = 0;
        for origin in origins.iter().filter(|origin| origin.source == source) {
            memory.remember(origin.packet, origin.digest, Fate::Durable);
            count += 1;
        }
        memory.has_forgotten |= count >= ORIGINS_HELD_MAX;
        memory
    }

    /// What was recorded of this source before is not known here: what comes again may have been.
    pub fn unknown() -> Self {
        Self { has_forgotten: true, ..Self::default() }
    }

    /// A new session: its packet ids have nothing to do with the old ones.
    pub fn begin_session(&mut self) {
        *self = Self { counts_up: true, ..Self::default() };
    }

    /// A new adapter: of what the one before had under way nobody will ever say whether it was kept.
    pub fn begin_adapter(&mut self) {
        for (_, fate) in self.entries.values_mut() {
            if *fate == Fate::UnderWay {
                *fate = Fate::Unknown;
            }
        }
    }

    /// A message is handed over.
    pub fn handed_over(&mut self, packet: u16, digest: [u8; 16]) {
        self.remember(packet, digest, Fate::UnderWay);
    }

    /// It is durable.
    pub fn is_durable(&mut self, packet: u16, digest: [u8; 16]) {
        if let Some((known, fate)) = self.entries.get_mut(&packet)
            && *known == digest
        {
            *fate = Fate::Durable;
        }
    }

    /// A message that is flagged as sent before.
    pub fn known(&self, packet: u16, digest: [u8; 16]) -> Known {
        match self.entries.get(&packet) {
            Some((known, Fate::Durable | Fate::UnderWay)) if *known == digest => Known::Recorded,
            Some((known, Fate::Unknown)) if *known == digest => Known::Unknown,
            _ if !self.has_forgotten || self.is_ahead(packet) => Known::New,
            _ if self.is_behind(packet) => Known::Older,
            _ => Known::Unknown,
        }
    }

    /// With a broker whose packet ids count up, does this one come after all that were seen?
    fn is_ahead(&self, packet: u16) -> bool {
        self.counts_up && self.newest.is_some_and(|newest| follows(newest, packet))
    }

    /// With such a broker, does this one come before all that are remembered?
    fn is_behind(&self, packet: u16) -> bool {
        let is_before = |oldest: &u16| (1..=BEHIND_MAX).contains(&oldest.wrapping_sub(packet));
        self.counts_up && self.order.front().is_some_and(is_before)
    }

    fn remember(&mut self, packet: u16, digest: [u8; 16], fate: Fate) {
        self.counts_up &= self.newest.is_none_or(|newest| follows(newest, packet));
        self.newest = Some(packet);
        self.entries.insert(packet, (digest, fate));
        self.order.push_back(packet);
        if self.order.len() > 2 * REMEMBERED_MAX {
            self.forget();
        }
    }

    /// Keeps the newest.
    fn forget(&mut self) {
        let mut kept = BTreeSet::new();
        let mut order = VecDeque::with_capacity(2 * REMEMBERED_MAX);
        for packet in self.order.iter().rev() {
            if kept.len() == REMEMBERED_MAX {
                break;
            }
            if kept.insert(*packet) {
                order.push_front(*packet);
            }
        }
        self.has_forgotten |= kept.len() < self.entries.len();
        self.entries.retain(|packet, _| kept.contains(packet));
        self.order = order;
    }
}

/// Ids run from 1 to 65,535 and begin again.
fn follows(before: u16, after: u16) -> bool {
    (1..=STEP_MAX).contains(&after.wrapping_sub(before))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: u64) -> [u8; 16] {
        digest_of("t", &of.to_le_bytes())
    }

    fn origins(packets: impl IntoIterator<Item = u16>) -> Vec<Origin> {
        packets
            .into_iter()
            .map(|packet| Origin { source: 7, packet, digest: digest(packet.into()) })
            .collect()
    }

    #[test]
    fn what_the_journal_kept_is_known_again_by_packet_and_content() {
        let mut all = origins([3, 4, 5]);
        all.push(Origin { source: 8, packet: 9, digest: digest(9) });
        let memory = Memory::restored(7, &all);
        assert_eq!(memory.known(4, digest(4)), Known::Recorded);
        assert_eq!(memory.known(4, digest(99)), Known::New, "another message under the same id");
        assert_eq!(memory.known(9, digest(9)), Known::New, "of another client");
        assert_eq!(memory.known(6, digest(6)), Known::New);
    }

    #[test]
    fn a_full_journal_does_not_say_that_an_old_message_is_new() {
        let memory = Memory::restored(7, &origins(1_000..1_256));
        assert_eq!(memory.known(1_255, digest(1_255)), Known::Recorded);
        assert_eq!(memory.known(900, digest(900)), Known::Older, "it may have been pushed out");
        assert_eq!(
            memory.known(1_100, digest(0)),
            Known::Unknown,
            "another message under an id that is known"
        );
        assert_eq!(memory.known(20_000, digest(0)), Known::Unknown, "neither soon after them nor before");
        assert_eq!(memory.known(1_256, digest(1_256)), Known::New, "its id comes after all that are known");
        // Ids wrap.
        let memory = Memory::restored(7, &origins((65_400..=65_535).chain(1..121)));
        assert_eq!(memory.known(121, digest(121)), Known::New);
        assert_eq!(memory.known(65_399, digest(65_399)), Known::Older);
        // A broker whose ids say nothing.
        let memory = Memory::restored(7, &origins((1..257).map(|n: u16| n.wrapping_mul(40_503))));
        assert_eq!(memory.known(5, digest(5)), Known::Unknown);
    }

    #[test]
    fn what_an_adapter_had_under_way_when_it_failed_is_unknown() {
        let mut memory = Memory::restored(7, &[]);
        memory.handed_over(1, digest(1));
        memory.handed_over(2, digest(2));
        assert_eq!(memory.known(2, digest(2)), Known::Recorded);
        memory.is_durable(1, digest(1));
        memory.begin_adapter();
        assert_eq!(memory.known(1, digest(1)), Known::Recorded);
        assert_eq!(memory.known(2, digest(2)), Known::Unknown);
        memory.begin_session();
        assert_eq!(memory.known(1, digest(1)), Known::New);
    }

    #[test]
    fn memory_is_bounded_and_keeps_the_newest() {
        let mut memory = Memory::restored(7, &[]);
        for number in 0..200_000_u64 {
            let packet = (number % 65_535) as u16 + 1;
            memory.handed_over(packet, digest(number));
            assert!(memory.entries.len() <= 2 * REMEMBERED_MAX && memory.order.len() <= 2 * REMEMBERED_MAX);
            assert_eq!(memory.known(packet, digest(number)), Known::Recorded);
            let older = number.saturating_sub(REMEMBERED_MAX as u64 - 1);
            assert_eq!(memory.known((older % 65_535) as u16 + 1, digest(older)), Known::Recorded, "{older}");
        }
        assert!(memory.has_forgotten && memory.counts_up);
    }

    #[test]
    fn topic_and_payload_do_not_run_into_each_other() {
        assert_ne!(digest_of("ab", b"c"), digest_of("a", b"bc"));
        assert_ne!(source_of("a"), source_of("b"));
    }
}
