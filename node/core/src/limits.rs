//! Every limit of the ledger, in one place, with the relations between them checked at compile time.
//!
//! A limit that both ends must agree on (sizes of what travels) is part of the format; the others are
//! this node's own protection and may differ from node to node.

// ---- Format: alike for every node -------------------------------------------------------------

/// Longest payload of a transaction, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Highest sequence of a chain. At a million transactions a second it lasts for 140,000 years.
pub const SEQUENCE_MAX: u64 = 1 << 62;
/// Longest coded body: the payload, 63 parents and 16 further tips, and the fixed fields.
pub const BODY_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 8 * 1024;
/// Longest signature of any scheme (ML-DSA-65).
pub const SIGNATURE_BYTES_MAX: usize = 3_309;
/// Longest coded envelope: body, signature, scheme, key number and lengths.
pub const ENVELOPE_BYTES_MAX: usize = BODY_BYTES_MAX + SIGNATURE_BYTES_MAX + 32;
/// Longest public key of any scheme (ML-DSA-65).
pub const PUBLIC_KEY_BYTES_MAX: usize = 1_952;
/// Longest coded genesis.
pub const GENESIS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Longest name of a network, organisation, member, stream or device, in bytes of UTF-8.
pub const NAME_BYTES_MAX: usize = 128;
/// Longest free text in a descriptor (address, attestation), in bytes of UTF-8.
pub const TEXT_FIELD_BYTES_MAX: usize = 256;
/// Organisations in a genesis.
pub const ORGANISATIONS_MAX: usize = 64;
/// Members in a genesis.
pub const GENESIS_MEMBERS_MAX: usize = 1_024;
/// Roles of one member.
pub const ROLES_MAX: usize = 16;
/// Members of a committee. One bit of a `u64` each, and one bit for "in this node's own past cone".
pub const COMMITTEE_MAX: usize = 63;
/// Further tips that a witness part may name.
pub const ALSO_MAX: usize = 16;
/// Streams in one batch.
pub const BATCH_STREAMS_MAX: usize = 1_024;
/// Readings in one batch.
pub const BATCH_READINGS_MAX: usize = 65_536;
/// Bytes of all readings of one batch, texts included.
pub const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Longest text or opaque value of one reading.
pub const READING_TEXT_BYTES_MAX: usize = 4_096;
/// Longest coded stream descriptor.
pub const DESCRIPTOR_BYTES_MAX: usize = 2_048;
/// Longest application bytes in a `Note`.
pub const NOTE_BYTES_MAX: usize = 16 * 1024;

// ---- Frames between gateways -------------------------------------------------------------------

/// Longest frame, its kind included.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Transactions in one frame that answers a want or a fetch.
pub const TRANSACTIONS_PER_FRAME_MAX: usize = 1_024;
/// Chains in one part of a frontier.
pub const FRONTIER_CHAINS_MAX: usize = 256;
/// Ranges in one fetch.
pub const RANGES_MAX: usize = 2_048;
/// Longest name and version of a program.
pub const SOFTWARE_BYTES_MAX: usize = 64;

// ---- This node ----------------------------------------------------------------------------------

/// Records kept in memory; what lies below is asked of the store with `Load`.
pub const WINDOW_RECORDS: usize = 65_536;
/// Transactions waiting for what they refer to, all peers together.
pub const PENDING_MAX: usize = 4_096;
/// Bytes of the transactions waiting, all peers together.
pub const PENDING_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Transactions of one peer that may wait.
pub const PENDING_PER_PEER_MAX: usize = 1_024;
/// Bytes of one peer's transactions that may wait.
pub const PENDING_BYTES_PER_PEER_MAX: usize = PENDING_BYTES_MAX / 4;
/// Of these, the room of what a fetch brings.
pub const PENDING_FETCHED_MAX: usize = PENDING_MAX / 4;
/// The same in bytes.
pub const PENDING_FETCHED_BYTES_MAX: usize = PENDING_BYTES_MAX / 4;
/// A peer with fewer transactions waiting always finds room: a quarter of all room is kept for such peers.
pub const PENDING_FAIR_SHARE: usize = PENDING_MAX / 4 / PEERS_MAX;
/// The same in bytes.
pub const PENDING_BYTES_FAIR_SHARE: usize = PENDING_BYTES_MAX / 4 / PEERS_MAX;
/// Transactions of one peer whose issuer's key is not known yet.
pub const PENDING_UNKNOWN_KEY_PER_PEER_MAX: usize = 64;
/// Transactions that nothing holds and something refers to.
pub const WANTED_MAX: usize = 8_192;
/// Issuers whose heads and keys are kept in memory.
pub const ISSUERS_MAX: usize = 16_384;
/// Envelopes remembered as badly signed, by the hash of the whole envelope.
pub const REFUSED_ENVELOPES_MAX: usize = 4_096;
/// Branches of one issuer's chain whose heads are kept.
pub const BRANCHES_MAX: usize = 16;
/// Keys of one issuer, all branches together.
pub const KEYS_PER_ISSUER_MAX: usize = 1_024;
/// Payloads of this node that wait to be issued.
pub const ISSUE_QUEUE_MAX: usize = 64;
/// Copies of one transaction with other signatures that are kept until one of them verifies: of each peer one.
pub const COPIES_MAX: usize = 8;
/// Peers connected at once.
pub const PEERS_MAX: usize = 64;
/// Work that failed is tried again after this many microseconds.
pub const RETRY_US: u64 = 1_000_000;
/// References in one `Want` or `Load`.
pub const REFERENCES_PER_ASK_MAX: usize = 256;
/// Forks whose evidence is kept in memory.
pub const FORKS_MAX: usize = 1_024;
/// Streams of this gateway.
pub const STREAMS_MAX: usize = 4_096;
/// Closed batches whose readings stay in memory; further ones are read back from the journal.
pub const CLOSED_BATCHES_HELD_MAX: usize = 8;
/// Readings handed in by one `Submit`.
pub const SUBMIT_READINGS_MAX: usize = 4_096;
/// Tips of one issuer that tip selection prefers.
pub const PREFERRED_TIPS_PER_ISSUER: usize = 4;
/// Newest records that a weighted walk sees.
pub const WALK_RECORDS_MAX: usize = 1_024;
/// After this many microseconds without an answer, slow work (load, verify, seal, sign) is asked for again.
pub const COMPLETION_TIMEOUT_US: u64 = 30_000_000;
/// A wanted transaction is asked for again after this many microseconds.
pub const WANT_TIMEOUT_US: u64 = 2_000_000;
/// A transaction that has waited for what it refers to for this many microseconds is dropped.
pub const PENDING_TIMEOUT_US: u64 = 120_000_000;

// ---- Gossip --------------------------------------------------------------------------------------

/// Links on which others' transactions are pushed as they come; on further ones they are announced.
pub const EAGER_LINKS: usize = 3;
/// Announcements are gathered for this many microseconds.
pub const ANNOUNCE_US: u64 = 20_000;
/// What was announced and did not come by itself is asked for after this many microseconds.
pub const GRAFT_US: u64 = 300_000;
/// Announced ids of one peer that are remembered.
pub const ANNOUNCED_PER_PEER_MAX: usize = 1_024;
/// A second machine with one key is told so, and closed after this many microseconds.
pub const TWIN_LEAVES_US: u64 = 500_000;
/// A peer's first frame must come within this many microseconds.
pub const HELLO_WITHIN_US: u64 = 10_000_000;
/// After a change, digests are compared once it has been quiet for this many microseconds …
pub const DIGEST_FIRST_US: u64 = 2_000_000;
/// … and ever more rarely, up to this.
pub const DIGEST_LAST_US: u64 = 600_000_000;
/// A whole frontier is sent to one peer at most this often, in microseconds.
pub const FRONTIER_EVERY_US: u64 = 1_000_000;
/// Chains that a peer is ahead on, as remembered from its frontier.
pub const AHEAD_MAX: usize = 4_096;
/// Transactions asked for by one fetch.
pub const FETCH_TRANSACTIONS: u32 = 512;
/// The next fetch goes out when no more than this many of the peer's transactions wait.
pub const FETCH_PENDING_LOW: usize = 256;
/// Of what one fetch brings, so many are announced to other peers; beyond that frontiers tell them.
pub const FETCHED_ANNOUNCED_MAX: u32 = 64;
/// A fetch that brings nothing for this many microseconds is given up, and another peer is asked.
pub const FETCH_TIMEOUT_US: u64 = 5_000_000;
/// A page of a fetch that takes longer than this makes room for another peer that is ahead.
pub const PAGE_TIMEOUT_US: u64 = 30_000_000;
/// A peer that has been asked for so long, in microseconds, makes room for another that is ahead.
pub const FETCH_TURN_US: u64 = 60_000_000;
/// A head that several fetches did not bring is asked for again after this many microseconds, each time twice as many,
/// so often; then after a day.
pub const GIVEN_UP_US: u64 = 5_000_000;
/// See [`GIVEN_UP_US`].
pub const GIVEN_UP_TIMES: u32 = 5;
/// See [`GIVEN_UP_US`].
pub const GIVEN_UP_LAST_US: u64 = 86_400_000_000;
/// Heads that one peer could not bring are remembered, so many.
pub const GIVEN_UP_MAX: usize = 256;
/// A branch that was not met before is fetched with this many transactions before its head, each time twice as many.
pub const BRANCH_REACH: u64 = 64;
/// Bodies of one place that are taken without anything that refers to them.
pub const BODIES_PER_PLACE: u32 = 2;
/// Bytes from one peer that were of no use (repeated, refused, unasked): so many at once …
pub const WASTE_BYTES_BURST: u64 = 16 * 1024 * 1024;
/// … and so many in a second.
pub const WASTE_BYTES_PER_SECOND: u64 = 512 * 1024;
/// References that one peer may ask for at once …
pub const WANTS_BURST: u64 = 8_192;
/// … and in a second.
pub const WANTS_PER_SECOND: u64 = 2_048;
/// Fetches of one peer: so many at once …
pub const FETCHES_BURST: u64 = 512;
/// … and so many in a second. A fetch of branches counts for several.
pub const FETCHES_PER_SECOND: u64 = 64;
/// Short frames (announcements, digests, claims and the like) of one peer: so many at once …
pub const SHORT_FRAMES_BURST: u64 = 2_048;
/// … and so many in a second. Further ones are not heard, and each counts as so many useless bytes at least.
pub const SHORT_FRAMES_PER_SECOND: u64 = 256;
/// See [`SHORT_FRAMES_PER_SECOND`].
pub const SHORT_FRAME_WASTE: usize = 256;
/// Broken rules of one peer: so many at once …
pub const FAULTS_BURST: u64 = 32;
/// … and so many in a minute. Beyond that it is sent away for a while.
pub const FAULTS_PER_MINUTE: u64 = 32;
/// A peer that broke a rule is not heard for this many microseconds, each time twice as long …
pub const BACK_OFF_FIRST_US: u64 = 10_000_000;
/// … up to this.
pub const BACK_OFF_LAST_US: u64 = 600_000_000;
/// Issuers whose back-off and earlier starts are remembered.
pub const REMEMBERED_ISSUERS_MAX: usize = 1_024;
/// Tells a peer how far its chain is held here at most this often, in microseconds.
pub const HAVE_EVERY_US: u64 = 250_000;
/// Answers from further peers are awaited this long after the first, before the own chain counts as settled.
pub const START_GRACE_US: u64 = 500_000;
/// After a quorum has answered a restored gateway, the rest of the committee is awaited this long. Longer than an answer may
/// take that waits for signatures: [`COMPLETION_TIMEOUT_US`].
pub const RESTORED_GRACE_US: u64 = 60_000_000;
/// Transactions that a peer lost and that wait here are given back to it, so many.
pub const LOST_MAX: usize = 256;
/// Of these so many bytes at once, and one more, in one frame: what waits to be sent to a peer is bounded, and of many
/// frames the last ones would be dropped each time.
pub const LOST_BYTES_AT_ONCE: usize = 128 * 1024;
const _: () = assert!(LOST_MAX <= TRANSACTIONS_PER_FRAME_MAX);
const _: () = assert!(LOST_BYTES_AT_ONCE + ENVELOPE_BYTES_MAX + 4 * (LOST_MAX + 1) <= FRAME_BYTES_MAX);
/// Readings' origins that are remembered for each source.
pub const ORIGINS_HELD_MAX: usize = 256;
/// Sources whose origins are remembered.
pub const ORIGIN_SOURCES_MAX: usize = 64;
/// Origins in one journal record: the window, and those of one submission.
pub const ORIGINS_PER_RECORD_MAX: usize = ORIGIN_SOURCES_MAX * ORIGINS_HELD_MAX + SUBMIT_READINGS_MAX;
/// Readings whose source waits for an acknowledgement wait no longer for others before they are synced, in microseconds:
/// a broker sends no more than a few messages before it has one. It bounds how often a slow trickle of messages has a
/// flash card written to.
pub const ACKNOWLEDGE_WITHIN_US: u64 = 20_000;
/// With so many messages to acknowledge they wait for no others: half of what mosquitto has in flight by default, and all
/// that the meanest broker has (`RabbitMQ`: 10), so that no window is ever full and waits. While one group of them
/// is synced, the next gathers.
pub const ACKNOWLEDGE_AT: usize = 10;
/// Descriptors that own batches from peers name and that this node does not hold.
pub const UNKNOWN_DESCRIPTORS_MAX: usize = 16_384;

const _: () = {
    assert!(FRAME_BYTES_MAX > ENVELOPE_BYTES_MAX + 16);
    assert!(FETCH_TRANSACTIONS as usize + FETCH_PENDING_LOW <= PENDING_FETCHED_MAX);
    assert!(
        BODY_BYTES_MAX > PAYLOAD_BYTES_MAX + COMMITTEE_MAX * (1 + 10 + 33) + ALSO_MAX * (33 + 10 + 33) + 256
    );
    assert!(PENDING_BYTES_MAX > 64 * ENVELOPE_BYTES_MAX);
    assert!(PENDING_PER_PEER_MAX <= PENDING_MAX / 8 * 3);
    assert!(PENDING_BYTES_PER_PEER_MAX <= PENDING_BYTES_MAX / 8 * 3);
    assert!(PENDING_BYTES_FAIR_SHARE > ENVELOPE_BYTES_MAX);
    assert!(PENDING_FAIR_SHARE > 0);
    assert!(PENDING_UNKNOWN_KEY_PER_PEER_MAX <= PENDING_PER_PEER_MAX);
    assert!(WALK_RECORDS_MAX <= WINDOW_RECORDS);
    assert!(NOTE_BYTES_MAX <= PAYLOAD_BYTES_MAX);
    assert!(COMMITTEE_MAX < u64::BITS as usize);
    // A batch with the most streams still fits a payload: 33 bytes of hash, two varints each.
    assert!(BATCH_STREAMS_MAX * (33 + 10 + 5) + 256 <= PAYLOAD_BYTES_MAX);
    assert!(BATCH_READINGS_MAX * 64 <= BATCH_BYTES_MAX);
};
