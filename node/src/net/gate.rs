//! Who may begin a handshake now. Handshakes cost about a millisecond of CPU each, and strangers can only be told from
//! members after most of it; so their number and rate are bounded, and when many are under way an address has to prove
//! itself first, which costs nothing here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use super::limits::{
    COUNTED_ADDRESSES_MAX, HALF_OPEN_MAX, HALF_OPEN_PER_ADDRESS_MAX, HANDSHAKES_BURST,
    HANDSHAKES_PER_ADDRESS_BURST, HANDSHAKES_PER_ADDRESS_PER_SECOND, HANDSHAKES_PER_SECOND, RETRY_ABOVE,
};

/// So many at once, and so many in a second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(burst: u32, now: Instant) -> Self {
        Self { left: f64::from(burst), at: now }
    }

    /// Takes one, if one is there.
    pub(super) fn take(&mut self, burst: u32, per_second: f64, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + since * per_second).min(f64::from(burst));
        self.at = now;
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

/// What to do with a first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Begin the handshake.
    Accept,
    /// Ask the address to prove itself.
    Retry,
    /// Say no: the address is proved, so nobody else is hit by the answer.
    Refuse,
    /// Say nothing.
    Ignore,
}

/// What the gate decided since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GateCounts {
    /// Handshakes begun.
    pub accepted: u64,
    /// Addresses that had to prove themselves.
    pub retried: u64,
    /// First packets that were refused or ignored.
    pub turned_away: u64,
    /// The most handshakes that were under way at once.
    pub half_open_most: usize,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Gate {
    half_open: usize,
    all: Bucket,
    by_address: BTreeMap<IpAddr, Bucket>,
    /// Handshakes under way, of each address: else one address that says nothing more holds all places.
    under_way: BTreeMap<IpAddr, usize>,
    counts: GateCounts,
}

impl Gate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            half_open: 0,
            all: Bucket::full(HANDSHAKES_BURST, now),
            by_address: BTreeMap::new(),
            under_way: BTreeMap::new(),
            counts: GateCounts::default(),
        }
    }

    /// Judges a first packet. An accepted one is counted until [`ended`](Self::ended).
    pub(super) fn judge(&mut self, from: IpAddr, proved: bool, has_room: bool, now: Instant) -> Verdict {
        let verdict = self.verdict(from, proved, has_room, now);
        match verdict {
            Verdict::Accept => {
                self.half_open += 1;
                *self.under_way.entry(counted_as(from)).or_default() += 1;
                self.counts.accepted += 1;
                self.counts.half_open_most = self.counts.half_open_most.max(self.half_open);
            }
            Verdict::Retry => self.counts.retried += 1,
            Verdict::Refuse | Verdict::Ignore => self.counts.turned_away += 1,
        }
        verdict
    }

    fn verdict(&mut self, from: IpAddr, proved: bool, has_room: bool, now: Instant) -> Verdict {
        let no = if proved { Verdict::Refuse } else { Verdict::Ignore };
        if !has_room || self.half_open >= HALF_OPEN_MAX {
            return no;
        }
        if !proved && self.half_open >= RETRY_ABOVE {
            return Verdict::Retry;
        }
        if self.under_way.get(&counted_as(from)).is_some_and(|n| *n >= HALF_OPEN_PER_ADDRESS_MAX) {
            return no;
        }
        let per_address = f64::from(HANDSHAKES_PER_ADDRESS_PER_SECOND);
        if !self.bucket_of(from, now).take(HANDSHAKES_PER_ADDRESS_BURST, per_address, now) {
            return no;
        }
        if !self.all.take(HANDSHAKES_BURST, f64::from(HANDSHAKES_PER_SECOND), now) {
            return no;
        }
        Verdict::Accept
    }

    /// A handshake is over, one way or the other.
    pub(super) fn ended(&mut self, from: IpAddr) {
        self.half_open -= 1;
        if let Some(count) = self.under_way.get_mut(&counted_as(from)) {
            *count -= 1;
            if *count == 0 {
                self.under_way.remove(&counted_as(from));
            }
        }
    }

    pub(super) fn counts(&self) -> GateCounts {
        self.counts
    }

    fn bucket_of(&mut self, from: IpAddr, now: Instant) -> &mut Bucket {
        let from = counted_as(from);
        if self.by_address.len() >= COUNTED_ADDRESSES_MAX && !self.by_address.contains_key(&from) {
            let quietest = self.by_address.iter().min_by_key(|(_, bucket)| bucket.at).map(|(ip, _)| *ip);
            if let Some(quietest) = quietest {
                self.by_address.remove(&quietest);
            }
        }
        self.by_address.entry(from).or_insert_with(|| Bucket::full(HANDSHAKES_PER_ADDRESS_BURST, now))
    }
}

/// Whoever has one address of IPv6 has all of its /64.
fn counted_as(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    #[test]
    fn ten_thousand_first_packets_begin_few_handshakes() {
        let start = Instant::now();
        let mut gate = Gate::new(start);
        // Over ten seconds, from many addresses that are never proved: the forged sort.
        for n in 0..10_000_u32 {
            let now = start + Duration::from_millis(u64::from(n));
            if gate.judge(ip(n), false, true, now) == Verdict::Accept && gate.half_open > 3 {
                gate.ended(ip(n));
            }
        }
        assert!(gate.by_address.len() <= COUNTED_ADDRESSES_MAX);
        let most = u64::from(HANDSHAKES_BURST + 10 * HANDSHAKES_PER_SECOND);
        assert!(gate.counts.accepted <= most, "{:?}", gate.counts);
        assert!(gate.counts.half_open_most <= HALF_OPEN_MAX);
        // And from one that is proved.
        let later = start + Duration::from_mins(1);
        let mut gate = Gate::new(later);
        for n in 0..10_000_u64 {
            if gate.judge(ip(1), true, true, later + Duration::from_millis(n)) == Verdict::Accept {
                gate.ended(ip(1));
            }
        }
        let most = u64::from(HANDSHAKES_PER_ADDRESS_BURST + 10 * HANDSHAKES_PER_ADDRESS_PER_SECOND);
        assert!(gate.counts.accepted <= most && gate.counts.accepted > 50, "{:?}", gate.counts);
    }

    /// One address that began handshakes and said nothing more held all places, and no member came in (found by reading).
    #[test]
    fn one_silent_address_does_not_hold_all_places() {
        let start = Instant::now();
        let mut gate = Gate::new(start);
        for n in 0..1_000_u64 {
            gate.judge(ip(1), true, true, start + Duration::from_millis(n * 10));
        }
        assert_eq!(gate.half_open, HALF_OPEN_PER_ADDRESS_MAX);
        let later = start + Duration::from_secs(10);
        assert_eq!(gate.judge(ip(2), true, true, later), Verdict::Accept);
        gate.ended(ip(1));
        assert_eq!(gate.judge(ip(1), true, true, later), Verdict::Accept, "its place is free again");
    }

    #[test]
    fn under_pressure_an_address_proves_itself_and_the_bound_holds() {
        let now = Instant::now();
        let mut gate = Gate::new(now);
        for n in 0..RETRY_ABOVE as u32 {
            assert_eq!(gate.judge(ip(n), false, true, now), Verdict::Accept);
        }
        assert_eq!(gate.judge(ip(90), false, true, now), Verdict::Retry);
        assert_eq!(gate.judge(ip(90), true, true, now), Verdict::Accept);
        assert_eq!(gate.judge(ip(90), true, false, now), Verdict::Refuse);
        for n in 100..200 {
            gate.judge(ip(n), true, true, now);
        }
        assert_eq!(gate.half_open, HALF_OPEN_MAX);
        assert_eq!(gate.judge(ip(300), true, true, now), Verdict::Refuse);
        assert_eq!(gate.judge(ip(301), false, true, now), Verdict::Ignore);
        gate.ended(ip(90));
        assert_eq!(gate.judge(ip(300), true, true, now), Verdict::Accept);
    }

    #[test]
    fn one_slash_64_counts_as_one() {
        let [one, two, other] = ["2001:db8::1", "2001:db8::ffff:2", "2001:db8:0:1::1"]
            .map(|text| counted_as(text.parse().expect("an address")));
        assert_eq!(one, two);
        assert_ne!(one, other);
        assert_eq!(counted_as("::ffff:10.0.0.1".parse().expect("an address")), ip(1));
    }
}
