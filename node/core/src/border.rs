//! The border of the core: everything that goes in ([`Input`]) and everything that comes out ([`Effect`]).
//!
//! Order is the contract. An effect that a power cut could make a lie (an acknowledgement, the sending of an
//! own transaction, an event) leaves only after the `Persisted` it depends on came in. Answers may come in any
//! order and at any time, or never: slow work that is not answered is asked for again. What there is one of at a time
//! (a seal, a signature, a batch to read back) keeps its ticket, so that work slower than the patience ends all the
//! same; the rest gets a new ticket, and an answer to an old one is ignored. Only `Persist` is never repeated: a store that does not answer is
//! broken, and says so with `Failed`.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::ClosedBatch;
use crate::genesis::{Genesis, PublicKey};
use crate::hash::{Hash, Id, Issuer};
use crate::payload::Batch;
use crate::reading::{Quality, Value};
use crate::record::{Record, Stored};
use crate::reject::Reject;
use crate::stream::Descriptor;
use crate::transaction::Reference;

/// Two clocks, read by the shell when it hands an input in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since any fixed moment; never goes back. For deadlines and the age of tips.
    pub monotonic_us: u64,
    /// Nanoseconds since 1970 UTC. For stamps only.
    pub wall_ns: i64,
    /// Is the wall clock synchronised with a time server?
    pub synchronised: bool,
}

/// Names one piece of slow work, to find its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names whoever waits for the outcome of a `Submit` or `Issue`; the shell's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// A connection to another node; the shell's choice, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

/// A stream of this gateway: small dense numbers, the shell's choice, valid for this start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamHandle(pub u32);

/// A reading as an adapter hands it in: the core adds counter and place.
#[derive(Debug, Clone, PartialEq)]
pub struct NewReading {
    /// Its stream, made known with `Describe`.
    pub stream: StreamHandle,
    /// The raw value.
    pub value: Value,
    /// Quality.
    pub quality: Quality,
    /// `reading::FLAG_…`; the core adds `UNSYNCHRONISED` by its clock.
    pub flags: u8,
    /// The source's own status code; 0 where it has none.
    pub status: u32,
    /// When the source says the value was taken, ns since 1970 UTC.
    pub source_time_ns: i64,
    /// When the gateway received it, ns since 1970 UTC.
    pub receive_time_ns: i64,
}

/// What goes into the core.
#[derive(Debug, Clone)]
pub enum Input {
    /// A stream exists, or its descriptor is another one from now on.
    Describe {
        /// Its handle.
        stream: StreamHandle,
        /// What its numbers mean.
        descriptor: Descriptor,
        /// Does each of its readings close the batch at once?
        urgent: bool,
    },
    /// Readings to keep: all of them or none. Answered with `Reply` when they are durable.
    Submit {
        /// The readings, at most [`SUBMIT_READINGS_MAX`](crate::limits::SUBMIT_READINGS_MAX).
        readings: Vec<NewReading>,
        /// Who waits.
        reply: ReplyTo,
    },
    /// A transaction of this node with a payload other than a batch. Answered when it is durable.
    Issue {
        /// Payload kind.
        kind: u16,
        /// Payload.
        payload: Vec<u8>,
        /// Who waits.
        reply: ReplyTo,
    },
    /// Close the open batch now.
    Flush,
    /// An envelope from a peer.
    Frame {
        /// The peer.
        peer: PeerId,
        /// The bytes, already within the length limit.
        bytes: Arc<[u8]>,
    },
    /// A peer is connected.
    PeerUp(PeerId),
    /// A peer is gone.
    PeerDown(PeerId),
    /// Answer to `Load`: for each reference what is held, in the order asked.
    Loaded {
        /// The ticket.
        ticket: Ticket,
        /// For each reference, what is stored under its id.
        found: Vec<Option<Stored>>,
    },
    /// Answer to `LoadBatch`.
    BatchLoaded {
        /// The ticket.
        ticket: Ticket,
        /// The journal's records of that batch, in order.
        records: Vec<Vec<u8>>,
    },
    /// Answer to `Verify`.
    Verified {
        /// The ticket.
        ticket: Ticket,
        /// Do all signatures hold?
        valid: bool,
    },
    /// Answer to `Seal`: the archive segment is durable.
    Sealed {
        /// The ticket.
        ticket: Ticket,
        /// Root over the leaves.
        root: Hash,
        /// Hash of the archive segment.
        segment: Hash,
        /// Its length in bytes.
        segment_bytes: u64,
    },
    /// Answer to `Sign`.
    Signed {
        /// The ticket.
        ticket: Ticket,
        /// The signature.
        signature: Vec<u8>,
    },
    /// Answer to `Persist`: durable, and everything persisted before it too.
    Persisted {
        /// The ticket.
        ticket: Ticket,
    },
    /// The work of this ticket could not be done.
    Failed {
        /// The ticket.
        ticket: Ticket,
        /// Why, for a person.
        why: String,
    },
    /// Time went on; hand it in at [`next_deadline`](crate::node::Node::next_deadline) at the latest.
    Tick,
}

/// A signature to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureCheck {
    /// By this key.
    pub key: Arc<PublicKey>,
    /// Over this message, with an empty context.
    pub message: Vec<u8>,
    /// The signature, of the scheme's length.
    pub signature: Vec<u8>,
}

/// What comes out of the core.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Make these writes durable, in order, after all writes before them.
    Persist {
        /// The ticket.
        ticket: Ticket,
        /// What to write.
        writes: Vec<Write>,
        /// How long others may join the group before it is synced, in microseconds; 0: at once.
        within_us: u64,
    },
    /// Say what is stored under the ids of these references.
    Load {
        /// The ticket.
        ticket: Ticket,
        /// The references.
        references: Vec<Reference>,
    },
    /// Read the records of a closed batch back from the journal. All of them are durable by then.
    LoadBatch {
        /// The ticket.
        ticket: Ticket,
        /// The batch.
        batch: u64,
    },
    /// Hash the batch and write its archive segment durably ([`seal`](crate::seal)).
    Seal {
        /// The ticket.
        ticket: Ticket,
        /// The batch.
        batch: Arc<ClosedBatch>,
    },
    /// Check signatures.
    Verify {
        /// The ticket.
        ticket: Ticket,
        /// All of them must hold.
        checks: Vec<SignatureCheck>,
    },
    /// Sign with this node's key.
    Sign {
        /// The ticket.
        ticket: Ticket,
        /// The message, with an empty context.
        message: Vec<u8>,
    },
    /// Send an envelope to a peer.
    Send {
        /// The peer.
        peer: PeerId,
        /// The envelope.
        frame: Arc<[u8]>,
    },
    /// Ask a peer for transactions that something refers to.
    Want {
        /// The peer.
        peer: PeerId,
        /// What is missing.
        references: Vec<Reference>,
    },
    /// A peer sent something that no node can accept.
    Drop {
        /// The peer.
        peer: PeerId,
        /// What was wrong with it.
        reject: Reject,
    },
    /// The outcome of a `Submit` or `Issue`.
    Reply {
        /// Who waits.
        reply: ReplyTo,
        /// The outcome.
        outcome: Outcome,
    },
    /// Something happened that people or the shell may want to know. Durable before it is said.
    Emit(Event),
}

/// What became of a `Submit` or `Issue`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Durable.
    Durable,
    /// Not taken; nothing of it was kept.
    Refused(Refusal),
    /// The store failed before it answered: it may or may not be kept.
    Unknown,
}

/// Why a `Submit` or `Issue` was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A reading names a stream that was never described.
    #[error("stream {0} was not described")]
    UnknownStream(u32),
    /// More readings than one `Submit` may hold, or none.
    #[error("{0} readings in one submission, expected 1 to 4,096")]
    Count(usize),
    /// A value is longer than 4,096 bytes, or a float is NaN.
    #[error("a value that no reading can hold: a NaN, or more than 4,096 bytes of text")]
    Value,
    /// The payload is longer than its kind may be, or of a kind that the node itself issues.
    #[error("a payload that this node cannot issue: too long, or of a kind that it issues by itself")]
    Payload,
    /// Too many payloads wait to be issued.
    #[error("{0} payloads wait to be issued already; try again when they are out")]
    Busy(usize),
    /// This node issues nothing: see [`Event::Silent`].
    #[error("this node issues no transactions: its store is marked as restored")]
    Silent,
    /// The store failed; the node takes nothing any more.
    #[error("the store failed; the node takes nothing until it is started again")]
    Halted,
}

/// Something that happened. What it says is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A transaction is in the ledger.
    Attached {
        /// Its local number: its place in this node's order of attaching.
        number: u64,
        /// Its name.
        reference: Reference,
        /// Its payload kind.
        kind: u16,
        /// Is it this node's own?
        own: bool,
    },
    /// A batch of this node is in a transaction.
    Batched {
        /// The batch.
        batch: u64,
        /// Its readings.
        readings: u32,
        /// The transaction that carries it.
        id: Id,
    },
    /// Two transactions of one issuer at one sequence.
    Forked {
        /// The issuer.
        issuer: Issuer,
        /// The sequence.
        sequence: u64,
    },
    /// A piece of work failed and will be tried again.
    Retrying {
        /// What.
        what: &'static str,
        /// Why it failed.
        why: String,
    },
    /// This node journals readings and issues nothing, because its store is marked as restored without its chain.
    Silent,
    /// The store or the signing key failed. Nothing more is taken; the shell must stop.
    Halted {
        /// Why.
        why: String,
    },
}

/// One write. The store applies them in the order in which they were handed out.
#[derive(Debug, Clone)]
pub enum Write {
    /// A stream descriptor: to the log, so that archive and proofs can be read for ever.
    Descriptor {
        /// Its hash.
        hash: Hash,
        /// Its encoding.
        bytes: Arc<[u8]>,
    },
    /// A record of the reading journal ([`JournalRecord`](crate::journal::JournalRecord)).
    Journal {
        /// The batch that it belongs to.
        batch: u64,
        /// Its encoding.
        record: Vec<u8>,
    },
    /// A transaction: to the log, then to the index.
    Transaction {
        /// What the core keeps of it.
        record: Record,
        /// The envelope as received or made.
        envelope: Arc<[u8]>,
        /// The key that it brings, when it brings one.
        key: Option<NewKey>,
        /// Own batches only: what it carries. It frees the journal up to and including this batch.
        batch: Option<Arc<Batch>>,
    },
}

/// A key that a transaction brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Key number on its branch, from 0.
    pub key_number: u32,
    /// The key.
    pub key: Arc<PublicKey>,
}

/// A key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerKey {
    /// Key number, from 0.
    pub key_number: u32,
    /// Local number of the transaction that brought it; [`GENESIS_NUMBER`](crate::record::GENESIS_NUMBER) for the genesis.
    pub brought_by: u64,
    /// The key.
    pub key: Arc<PublicKey>,
}

/// The newest transaction of one branch of an issuer's chain. An honest issuer has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Local number.
    pub number: u64,
    /// Sequence.
    pub sequence: u64,
    /// Id.
    pub id: Id,
}

/// What is known of an issuer. Issuers of the genesis need not be restored before they issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerState {
    /// Who.
    pub issuer: Issuer,
    /// The branch heads; the first is that of the branch that was attached first.
    pub heads: Vec<Head>,
    /// Its keys, in the order in which they were attached ([`Record::key`](crate::record::Record::key) counts here).
    pub keys: Vec<IssuerKey>,
}

/// A stream of this gateway, as it stood at the end of the last start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// The counter of its next reading.
    pub next_counter: u64,
}

/// What the store hands to [`Node::open`](crate::node::Node::open).
#[derive(Debug, Clone, Default)]
pub struct Restored {
    /// Number of transactions attached so far: the next local number.
    pub next_number: u64,
    /// The newest records, and those of all older tips; ascending by number.
    pub recent: Vec<Record>,
    /// All tips, by local number.
    pub tips: Vec<u64>,
    /// Issuers with at least one transaction.
    pub issuers: Vec<IssuerState>,
    /// Places with more than one transaction: issuer and sequence.
    pub forks: Vec<(Issuer, u64)>,
    /// Own streams, journal included.
    pub streams: Vec<StreamState>,
    /// Own descriptors that the log already holds: hash and encoding.
    pub descriptors: Vec<(Hash, Arc<[u8]>)>,
    /// Number of the first own batch that is not in a transaction yet.
    pub next_batch: u64,
    /// Journaled batches that are not in a transaction, ascending, but the last of them: number and readings.
    pub closed_batches: Vec<(u64, u32)>,
    /// The last journaled batch that is not in a transaction: its number and its records, in order.
    pub open_batch: Option<(u64, Vec<Vec<u8>>)>,
    /// Greatest wall time in what was persisted, ns since 1970 UTC: stamps never fall below it.
    pub last_wall_ns: i64,
}

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
    /// May this node issue? `false` for a store that was restored without its chain.
    pub may_issue: bool,
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
