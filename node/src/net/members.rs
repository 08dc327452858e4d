//! Who may connect: the table that the certificate verifier asks.
//!
//! It holds issuers, not keys: an issuer is the hash of its first key, and that key alone is used for TLS, whatever
//! the chain rotates to. So a member whose key nobody here has seen yet (`admit` was given its id) can connect.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use selvedge_core::Issuer;

/// The members, shared by everything that asks. Clones are cheap and share the table.
#[derive(Clone)]
pub struct Members {
    inner: Arc<Inner>,
}

struct Inner {
    own: Issuer,
    /// Each member, and until when it is refused.
    table: RwLock<BTreeMap<Issuer, Option<Instant>>>,
    guests: AtomicBool,
    counts: Counts,
}

#[derive(Default)]
struct Counts {
    strangers: AtomicU64,
    put_off: AtomicU64,
    ourselves: AtomicU64,
    verified: AtomicU64,
}

/// How a key stands with this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A member, welcome.
    Member,
    /// A member that broke the rules, and is not heard for a while.
    PutOff,
    /// Unknown, but an invitation is open: it may be the one who holds it.
    Guest,
    /// Unknown.
    Stranger,
    /// This node's own key.
    Ourselves,
}

/// What the verifier counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemberCounts {
    /// Keys refused as unknown, before their signature was looked at.
    pub strangers: u64,
    /// Members refused because they were sent away for a while.
    pub put_off: u64,
    /// Connections with this node's own key: an address that leads back here, or a second machine with this key.
    pub ourselves: u64,
    /// Signatures of handshakes that were checked.
    pub verified: u64,
}

impl Members {
    /// A table with nobody in it yet but this node.
    pub fn new(own: Issuer) -> Self {
        let inner = Inner {
            own,
            table: RwLock::default(),
            guests: AtomicBool::new(false),
            counts: Counts::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// This node.
    pub fn own(&self) -> Issuer {
        self.inner.own
    }

    /// Lets a member in from now on. True when it was not known before.
    pub fn add(&self, issuer: Issuer) -> bool {
        use std::collections::btree_map::Entry;
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        match table.entry(issuer) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(None);
                true
            }
        }
    }

    /// Is it in the table?
    pub fn contains(&self, issuer: &Issuer) -> bool {
        self.inner.table.read().unwrap_or_else(PoisonError::into_inner).contains_key(issuer)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner.table.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Refuses a member for a while: its connections are not accepted, and it is not dialled. Of two such times the later
    /// one holds, and zero ends it. Nothing happens when it is not in the table.
    pub fn put_off(&self, issuer: &Issuer, now: Instant, back_off: Duration) {
        let mut table = self.inner.table.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = table.get_mut(issuer) {
            let new = now.checked_add(back_off).filter(|_| !back_off.is_zero());
            *until = if back_off.is_zero() { None } else { new.max(*until) };
        }
    }

    /// Until when it is refused, when it is.
    pub fn refused_until(&self, issuer: &Issuer, now: Instant) -> Option<Instant> {
        let table = self.inner.table.read().unwrap_or_else(PoisonError::into_inner);
        table.get(issuer).copied().flatten().filter(|until| *until > now)
    }

    /// Says whether an invitation is open. While one is, unknown keys pass the verifier; what they may speak is the
    /// protocol of joining and nothing else.
    pub fn set_guests_open(&self, open: bool) {
        self.inner.guests.store(open, Relaxed);
    }

    /// See [`set_guests_open`](Self::set_guests_open).
    pub fn guests_open(&self) -> bool {
        self.inner.guests.load(Relaxed)
    }

    /// How this key stands.
    pub fn standing(&self, issuer: &Issuer, now: Instant) -> Standing {
        if *issuer == self.inner.own {
            return Standing::Ourselves;
        }
        let table = self.inner.table.read().unwrap_or_else(PoisonError::into_inner);
        match table.get(issuer) {
            Some(Some(until)) if *until > now => Standing::PutOff,
            Some(_) => Standing::Member,
            None if self.guests_open() => Standing::Guest,
            None => Standing::Stranger,
        }
    }

    /// What was counted.
    pub fn counts(&self) -> MemberCounts {
        let counts = &self.inner.counts;
        MemberCounts {
            strangers: counts.strangers.load(Relaxed),
            put_off: counts.put_off.load(Relaxed),
            ourselves: counts.ourselves.load(Relaxed),
            verified: counts.verified.load(Relaxed),
        }
    }

    pub(super) fn count_refused(&self, standing: Standing) {
        let counts = &self.inner.counts;
        match standing {
            Standing::Stranger => counts.strangers.fetch_add(1, Relaxed),
            Standing::PutOff => counts.put_off.fetch_add(1, Relaxed),
            Standing::Ourselves => counts.ourselves.fetch_add(1, Relaxed),
            Standing::Member | Standing::Guest => 0,
        };
    }

    pub(super) fn count_verified(&self) {
        self.inner.counts.verified.fetch_add(1, Relaxed);
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Members({}, guests {})", self.count(), self.guests_open())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_put_off_for_a_while_and_a_guest_needs_an_invitation() {
        let (own, member, other) = (Issuer([1; 32]), Issuer([2; 32]), Issuer([3; 32]));
        let members = Members::new(own);
        let now = Instant::now();
        assert!(members.add(member) && !members.add(member));
        assert_eq!(members.standing(&own, now), Standing::Ourselves);
        assert_eq!(members.standing(&member, now), Standing::Member);
        assert_eq!(members.standing(&other, now), Standing::Stranger);
        members.set_guests_open(true);
        assert_eq!(members.standing(&other, now), Standing::Guest);
        members.put_off(&member, now, Duration::from_secs(5));
        members.put_off(&other, now, Duration::from_secs(5));
        assert_eq!(members.standing(&member, now), Standing::PutOff);
        assert!(members.refused_until(&member, now).is_some());
        assert_eq!(members.standing(&member, now + Duration::from_secs(5)), Standing::Member);
        assert!(!members.contains(&other), "putting off lets nobody in");
    }

    /// Two links of one member that is sent away end with two times; the shorter one must not shorten the other.
    #[test]
    fn of_two_times_the_later_one_holds() {
        let (own, member) = (Issuer([1; 32]), Issuer([2; 32]));
        let members = Members::new(own);
        let now = Instant::now();
        members.add(member);
        let put_off = |seconds| members.put_off(&member, now, Duration::from_secs(seconds));
        let refused = || members.refused_until(&member, now).map(|until| until.duration_since(now).as_secs());
        put_off(600);
        put_off(10);
        assert_eq!(refused(), Some(600));
        put_off(700);
        assert_eq!(refused(), Some(700));
        put_off(0);
        assert_eq!((refused(), members.standing(&member, now)), (None, Standing::Member));
    }
}
