//! The border of the core: everything that goes in ([`Input`]) and everything that comes out ([`Effect`]).
//!
//! Order is the contract. An effect that a power cut could make a lie (an acknowledgement, the sending of an
//! own transaction, an event) leaves only after the `Persisted` it depends on came in. Answers may come in any
//! order and at any time, or never: slow work that is not answered is asked for again. What there is one of at a time
//! (a seal, a signature, a batch to read back) keeps its ticket, so that work slower than the patience ends all the
//! same; the rest gets a new ticket, and an answer to an old one is ignored. Only `Persist` is never repeated: a store that does not answer is
//! broken, and says so with `Failed`.

mod config;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::batch::ClosedBatch;
use crate::counters::CarriedSpan;
use crate::genesis::PublicKey;
use crate::hash::{Hash, Id, Issuer, NetworkId};
use crate::payload::Batch;
use crate::reading::{Quality, Value};
use crate::record::{Record, Stored};
use crate::reject::Reject;
use crate::stream::Descriptor;
use crate::transaction::Reference;
use crate::wire::{ChainHead, ChainRange};

pub use config::{BatchPolicy, Config, StartCheck, TipPolicy, TipSelection};

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

/// Where a source that waits for an acknowledgement sent readings from: journaled with them, so that the same message
/// is known again after a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// Which source: the first eight bytes of a hash of its name, for MQTT its client id.
    pub source: u64,
    /// The source's number of the message, for MQTT the packet id.
    pub packet: u16,
    /// Of what the message said, for MQTT of topic and payload.
    pub digest: [u8; 16],
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
        /// The messages that brought them, at most as many as readings may be; none where nobody is acknowledged. Durable
        /// no earlier than all the readings, and handed back in [`Restored::origins`].
        origins: Vec<Origin>,
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
    /// A [frame](crate::wire) from a peer.
    Frame {
        /// The peer.
        peer: PeerId,
        /// The bytes, already within the length limit.
        bytes: Arc<[u8]>,
    },
    /// A peer is connected.
    PeerUp {
        /// The connection.
        peer: PeerId,
        /// Who is at the other end: the transport has checked it.
        issuer: Issuer,
        /// Did this node dial?
        outgoing: bool,
    },
    /// A peer is gone.
    PeerDown(PeerId),
    /// Frames to this peer were not sent, since it does not read as fast as there is something to say.
    Congested {
        /// The peer.
        peer: PeerId,
    },
    /// Answer to `Serve`: everything is sent, or the peer is gone.
    Served {
        /// The ticket.
        ticket: Ticket,
    },
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
        /// The journal's records of that journal batch, in order.
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
        /// The journal batch.
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
    /// Sign with this node's key of this number.
    Sign {
        /// The ticket.
        ticket: Ticket,
        /// Which of its keys.
        key_number: u32,
        /// The message, with an empty context.
        message: Vec<u8>,
    },
    /// Send a [frame](crate::wire) to a peer.
    Send {
        /// The peer.
        peer: PeerId,
        /// Which of its queues.
        lane: Lane,
        /// The frame.
        frame: Arc<[u8]>,
    },
    /// Send transactions from the log to a peer, on the bulk lane. They never pass through the core.
    Serve {
        /// The ticket.
        ticket: Ticket,
        /// The peer.
        peer: PeerId,
        /// Which.
        what: Serve,
    },
    /// Close the connection to a peer.
    Disconnect {
        /// The peer.
        peer: PeerId,
        /// Why: said to the peer, to the log and in `peers`.
        why: Farewell,
        /// Its issuer is neither heard nor dialled for this many microseconds.
        back_off_us: u64,
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

/// The two queues of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// What is new, and all that is short.
    Fresh,
    /// Answers to wants and fetches.
    Bulk,
}

/// What is to be sent from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serve {
    /// Those of these that are held.
    Ids(Vec<Reference>),
    /// All of these stretches, in ascending order of local number, and then a [`FetchEnd`](crate::wire::FetchEnd).
    Ranges {
        /// The stretches.
        ranges: Vec<ChainRange>,
        /// At most so many transactions.
        transactions_max: u32,
    },
}

/// Why a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Farewell {
    /// Another network.
    #[error("it is of network {got}, this node is of {expected}")]
    OtherNetwork {
        /// Its network.
        got: NetworkId,
        /// Ours.
        expected: NetworkId,
    },
    /// No protocol version in common.
    #[error(
        "no common version: it speaks {lowest} to {highest}, this node speaks {ours}; update the older program"
    )]
    NoCommonVersion {
        /// Its lowest.
        lowest: u16,
        /// Its highest.
        highest: u16,
        /// Ours.
        ours: u16,
    },
    /// The first frame is no hello, or there is none.
    #[error("its first frame within ten seconds was not a hello")]
    NoHello,
    /// It broke rules too often.
    #[error("it broke the rules {count} times, last: {last}")]
    Faults {
        /// How often.
        count: u64,
        /// The last time.
        last: String,
    },
    /// It sent too much that is of no use.
    #[error("it sent more than {limit} bytes that were repeated, refused or not asked for")]
    Waste {
        /// The limit.
        limit: u64,
    },
    /// This node itself is at the other end.
    #[error("it is this node itself")]
    Ourselves,
    /// There is another connection with the same start of the same node.
    #[error("a second connection to the same node; the other one is kept")]
    Twice,
    /// A newer start of the same node is connected.
    #[error("a newer start of the same node took its place")]
    Replaced,
    /// Too many peers.
    #[error("this node has {limit} peers already")]
    Full {
        /// The limit.
        limit: usize,
    },
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
    /// More readings than one `Submit` may hold, or none; or more origins.
    #[error("{0} readings or origins in one submission, expected 1 to 4,096")]
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
    #[error("this node issues no transactions: {0}")]
    Silent(Silence),
    /// The store failed; the node takes nothing any more.
    #[error("the store failed; the node takes nothing until it is started again")]
    Halted,
}

/// Why a node issues nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Silence {
    /// Its peers have not yet said how far they hold its chain.
    #[error("it waits for a peer to say how far its own chain goes")]
    Asking,
    /// The same, and its store is marked: it waits for a quorum of the committee as long as it takes, for the other members
    /// [`RESTORED_GRACE_US`](crate::limits::RESTORED_GRACE_US) more, and for what comes back.
    #[error(
        "its store is marked as restored: it waits until members of the committee have said how far its own chain goes (a \
         quorum for as long as it takes, all others for a minute more) and what they gave back is complete"
    )]
    Restored,
    /// Its chain is forked, or another start with its key is up.
    #[error(
        "another machine uses this key (a copied card?): switch one of the two off and start the other again; on the copy make a new identity with `selvedge init --join`"
    )]
    AnotherMachine,
    /// It was started so.
    #[error("it was started to listen only")]
    Listening,
    /// Neither the genesis nor an enrolment names it.
    #[error("the network does not know its key: it has no enrolment")]
    NotEnrolled,
    /// Its chain names a key that is not here ([`Config::signing_keys`]): an image from before a key rotation took its
    /// chain back, or the key file is gone.
    #[error(
        "its chain names key {number} as the one in force, and that key is not here: put its file back from a backup and start the gateway again"
    )]
    KeyMissing {
        /// Number of the key in force.
        number: u32,
    },
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
    /// A member that the genesis does not name is in the ledger.
    Enrolled {
        /// Who.
        issuer: Issuer,
        /// Its first key.
        key: Arc<PublicKey>,
    },
    /// This node issues from now on: its own chain is whole as far as it could find out.
    Settled {
        /// Own transactions that were taken back from peers.
        adopted: u64,
        /// Did a peer answer? `false`: the wait ran out, and the node goes on alone.
        answered: bool,
    },
    /// Another machine uses this node's key: nothing is issued any more.
    AnotherMachine {
        /// A transaction of this node's own key that this start did not make. `None`: so many members of the committee
        /// say that another start with its key is up that one of them at least is honest.
        seen: Option<ChainHead>,
    },
    /// A peer says that two machines with this node's key are up. Its word alone stops nothing, unless nobody in the
    /// committee may lie (three members or fewer).
    SaidToBeTwo {
        /// Who says so.
        by: Issuer,
    },
    /// Two starts with one key are up at the same time: a cloned card.
    Twins {
        /// Whose key.
        issuer: Issuer,
    },
    /// This node journals readings and issues nothing: because its store is marked as restored without its chain and no
    /// peer has answered yet, because its own chain is forked, because it only listens, or because the key in force is not
    /// here.
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
        /// The journal batch that it belongs to.
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
        /// Own batches only: what it carries. Without `journal` it was adopted: peers gave it back to a gateway that had
        /// lost it, and its archive segment may not be here.
        batch: Option<Arc<Batch>>,
        /// Own batches made from the journal: the journal batch that it carries. It frees the journal up to and including
        /// this one.
        journal: Option<u64>,
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

/// A stream of this gateway, as it stands at a start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamState {
    /// Its name.
    pub name: String,
    /// The counter of its next reading, when everything journaled has its place on the chain
    /// ([`ChainCounters::settle`](crate::counters::ChainCounters::settle)).
    pub next_counter: u64,
    /// One more than the greatest counter that batches on the own chain carry.
    pub chain_counter: u64,
    /// Readings on the own chain that the journal may hold too: the spans that end after the journal's first counter of
    /// this stream; ascending. Nearly always none.
    pub carried: Vec<CarriedSpan>,
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
    /// Descriptors that adopted own batches name and the log does not hold, each with one more than the greatest counter
    /// under it: a stream that is described in this way again goes on there.
    pub unknown_descriptors: Vec<(Hash, u64)>,
    /// Number on the chain of the next own batch: one more than the greatest there is.
    pub next_chain_batch: u64,
    /// Number of the first journal batch that is not in a transaction yet.
    pub next_batch: u64,
    /// Journal batches that are not in a transaction, ascending, but the last of them: number and readings.
    pub closed_batches: Vec<(u64, u32)>,
    /// The last journal batch that is not in a transaction: its number and its records, in order.
    pub open_batch: Option<(u64, Vec<Vec<u8>>)>,
    /// The messages that brought the newest readings of each source ([`Origins`](crate::origins::Origins)), from all records
    /// of the journal that are still there, in order.
    pub origins: Vec<Origin>,
    /// Greatest wall time in what was persisted, ns since 1970 UTC: stamps never fall below it.
    pub last_wall_ns: i64,
}
