//! What does not change while a node runs.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::genesis::{Genesis, PublicKey};
use crate::hash::Issuer;

/// How readings become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Close at this many readings, at most [`BATCH_READINGS_MAX`](crate::limits::BATCH_READINGS_MAX).
    pub readings_max: u32,
    /// Close at this many bytes.
    pub bytes_max: usize,
    /// Close this long after its first reading, in microseconds.
    pub age_max_us: u64,
}

impl Default for BatchPolicy {
    /// Ten seconds or 1,000 readings: one transaction every ten seconds is 25 MB a day.
    fn default() -> Self {
        Self { readings_max: 1_000, bytes_max: 1024 * 1024, age_max_us: 10_000_000 }
    }
}

/// Which tips a new transaction approves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TipSelection {
    /// Uniform over the tips.
    Uniform,
    /// A random walk towards the tips, weighted by exact cumulative weight (Popov, "The Tangle", section 4.1).
    Walk {
        /// Weight of the difference of cumulative weights; 0: unweighted.
        alpha: f64,
    },
}

/// Tip selection and its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TipPolicy {
    /// How.
    pub selection: TipSelection,
    /// Older tips (by local arrival, microseconds) are left while a younger one exists.
    pub age_max_us: u64,
}

impl Default for TipPolicy {
    fn default() -> Self {
        Self { selection: TipSelection::Uniform, age_max_us: 60_000_000 }
    }
}

/// What a node asks of its peers before its first own transaction after a start: a restored image, or a card that lied
/// about a sync, would otherwise contradict what it signed before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartCheck {
    /// Nothing: it has no peers.
    None,
    /// Waits for one peer, but no longer than this, in microseconds.
    Bounded(u64),
    /// Waits until a peer has answered: the store is marked as restored.
    UntilAnswered,
    /// This node issues nothing, ever: it only listens.
    Listen,
}

/// What does not change while a node runs.
#[derive(Clone)]
pub struct Config {
    /// The genesis.
    pub genesis: Arc<Genesis>,
    /// The bytes that it was decoded from: the network id is their hash.
    pub genesis_bytes: Arc<[u8]>,
    /// This node's identity and the scheme of its key.
    pub issuer: Issuer,
    /// Secret from which the secrets of batches derive. Outlives starts.
    pub salt_key: [u8; 32],
    /// How readings become batches.
    pub batch: BatchPolicy,
    /// How long a submission may wait for others before it is synced, in microseconds.
    pub journal_within_us: u64,
    /// The same for others' transactions.
    pub foreign_within_us: u64,
    /// Tip selection.
    pub tips: TipPolicy,
    /// An empty note that approves others' payloads comes after a random delay of up to this many microseconds.
    pub approve_delay_max_us: u64,
    /// What is asked of peers before this node issues.
    pub start_check: StartCheck,
    /// The payload of transaction 0, for a node that the genesis does not name: an encoded
    /// [`Enrol`](crate::payload::Enrol).
    pub enrolment: Option<Vec<u8>>,
    /// The keys that can sign here, in any order. While the one in force on the own chain is not among them, readings are
    /// journaled and nothing is issued ([`Silence::KeyMissing`](super::Silence::KeyMissing)). A key that an own `Rotate` of
    /// this start brings counts as held from then on. `None`: every key that the own chain names can sign.
    pub signing_keys: Option<Vec<PublicKey>>,
    /// Name and version of the program, for peers.
    pub software: String,
    /// Records kept in memory, at most [`WINDOW_RECORDS`](crate::limits::WINDOW_RECORDS).
    pub window_records: usize,
}

impl core::fmt::Debug for Config {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Without the salt key, which is secret.
        f.debug_struct("Config")
            .field("issuer", &self.issuer)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}
