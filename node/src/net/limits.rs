//! Every number of the network, in one place, with what it costs in memory.
//!
//! A connection may hold, at the very most and only while its peer is slow or hostile: 512 KiB that QUIC received and
//! nobody read, 512 KiB that QUIC was given and the peer did not confirm, 256 KiB on its way to the core, and
//! 1 MiB + 512 KiB in the two queues. One that keeps up holds about 60 KiB.

use std::time::Duration;

use selvedge_core::limits::{ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX, PEERS_MAX, TRANSACTIONS_PER_FRAME_MAX};

/// Connections at once, guests and handshakes under way included. A few more than the core holds peers, so that a
/// newer connection of a peer can take the place of its older one.
pub const CONNECTIONS_MAX: usize = PEERS_MAX + 16;
/// Connections that one member may have here that it dialled: the core keeps one, and a newer takes the place of an
/// older; more at a time only serve to keep others out.
pub const CONNECTIONS_PER_MEMBER_MAX: usize = 3;
/// Streams that a peer may open: one for each lane.
pub const STREAMS_MAX: u32 = 2;
/// Bytes of one stream that may arrive before they are read. Below [`RECEIVE_WINDOW_BYTES`], so that a full bulk lane
/// leaves room for the fresh one.
pub const STREAM_WINDOW_BYTES: u32 = 320 * 1024;
/// Bytes of one connection that may arrive before they are read.
pub const RECEIVE_WINDOW_BYTES: u32 = 512 * 1024;
/// Bytes of one connection that were given to QUIC and not confirmed by the peer.
pub const SEND_WINDOW_BYTES: u64 = 512 * 1024;
/// Bytes of a guest's connection that may arrive before they are read.
pub const GUEST_WINDOW_BYTES: u32 = 64 * 1024;

/// Frames that wait for the fresh lane. When it is full the frame is dropped, and the core is told.
pub const FRESH_FRAMES_MAX: usize = 2_048;
/// Bytes that wait for the fresh lane.
pub const FRESH_BYTES_MAX: usize = 1024 * 1024;
/// Frames that wait for the bulk lane. When it is full a frame of the core is dropped, and it is told.
pub const BULK_FRAMES_MAX: usize = 1_024;
/// Bytes that wait for the bulk lane.
pub const BULK_BYTES_MAX: usize = 512 * 1024;
/// Answers from the store wait while more than this many bytes wait for the bulk lane.
pub const SERVE_ABOVE_BYTES: usize = 128 * 1024;
/// Bytes handed to QUIC at a time.
pub const WRITE_BYTES: usize = 32 * 1024;
/// Bytes read from QUIC at a time; longer frames are read straight into their place.
pub const READ_BYTES: usize = 8 * 1024;

/// Bytes of one peer between its connection and the core. When they are used up its streams are not read.
pub const IN_ENGINE_BYTES: usize = FRAME_BYTES_MAX;
/// What the shortest frame counts for in [`IN_ENGINE_BYTES`], so that it bounds frames as well: 64 of one peer.
pub const IN_ENGINE_LEAST_BYTES: usize = IN_ENGINE_BYTES / 64;
/// Arrivals that wait for the core, all peers together. When it is full, connections wait.
pub const ARRIVALS_MAX: usize = 1_024;

/// Requests of one peer to the store that may wait, of at most 20 kB each; one more is under way. Further ones are
/// refused and counted: the peer asks somebody else, or again. Wants come in bursts, so a few must find room.
pub const SERVE_WAITING_MAX: usize = 8;
/// A frame of transactions from the store is closed when it is this long.
pub const SERVE_FRAME_BYTES: usize = 64 * 1024;
/// Bytes read from the store in one go, on a thread that may block.
pub const SERVE_SLICE_BYTES: usize = 256 * 1024;
/// Transactions in the answer to one request, whatever it asks for. 16 bytes of memory each.
pub const SERVE_TRANSACTIONS_MAX: u32 = 4_096;

/// A member whose frames cannot be told apart, or whose addresses do not decode, is not let in for so long. Rules above
/// frames are the core's.
pub const RULE_BACK_OFF: Duration = Duration::from_secs(30);

/// A connection that says nothing for so long is dead.
pub const IDLE: Duration = Duration::from_mins(1);
/// The side that dialled speaks this often when there is nothing to say: 180 times an hour, about 60 bytes both ways.
pub const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// A handshake and the opening of the lanes may take this long.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// The largest packet is looked for again this often. With quinn's 10 minutes an idle hour would cost more than the
/// keep-alives.
pub const MTU_INTERVAL: Duration = Duration::from_hours(1);
/// A goodbye may take this long to arrive.
pub const GOODBYE: Duration = Duration::from_secs(1);

/// Before it, what waits to be sent is looked at this often.
pub const FLUSH_LOOK: Duration = Duration::from_millis(10);

/// Handshakes of others under way, at most.
pub const HALF_OPEN_MAX: usize = 32;
/// Of these from one address (of IPv6 a /64), at most.
pub const HALF_OPEN_PER_ADDRESS_MAX: usize = 8;
/// From so many on, an address must prove itself first (QUIC's Retry), which keeps nothing in memory here.
pub const RETRY_ABOVE: usize = 4;
/// Handshakes that others may begin: so many at once …
pub const HANDSHAKES_BURST: u32 = 64;
/// … and so many in a second, at about 1 ms of CPU each.
pub const HANDSHAKES_PER_SECOND: u32 = 50;
/// The same for one address (of IPv6, one /64).
pub const HANDSHAKES_PER_ADDRESS_BURST: u32 = 24;
/// See [`HANDSHAKES_PER_ADDRESS_BURST`].
pub const HANDSHAKES_PER_ADDRESS_PER_SECOND: u32 = 8;
/// Addresses whose handshakes are counted; beyond that the one that was quiet longest is forgotten.
pub const COUNTED_ADDRESSES_MAX: usize = 1_024;
/// First packets that wait for a look.
pub const INCOMING_MAX: usize = 64;
/// Bytes that each of them may bring meanwhile.
pub const INCOMING_BYTES: u64 = 8 * 1024;
/// Guests that wait for whoever answers them. A further one is sent away.
pub const GUESTS_WAITING_MAX: usize = 4;

/// Links that this node dials by itself, beside those that its configuration names.
pub const WANTED_LEARNT: usize = 8;
/// The first pause after a dial that failed …
pub const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// … and the longest.
pub const BACK_OFF_LAST: Duration = Duration::from_mins(1);
/// No pause is shorter.
pub const BACK_OFF_LEAST: Duration = Duration::from_millis(100);
/// A link that held this long was good: the next pause is the first one again.
pub const PROVEN: Duration = Duration::from_secs(10);
/// Addresses of one name that are tried at one dial.
pub const RESOLVED_MAX: usize = 4;
/// Members whose addresses are remembered.
pub const KNOWN_MAX: usize = 1_024;
/// Addresses of one member.
pub const ADDRESSES_PER_MEMBER: usize = 4;
/// Addresses in one frame.
pub const ADDRESSES_PER_FRAME: usize = 64;
/// Addresses are told to a peer at most this often.
pub const TELL_EVERY: Duration = Duration::from_secs(30);
/// Frames of addresses that one peer may send at once, and one more each [`TELL_EVERY`]. Further ones are not read.
pub const TOLD_BURST: u32 = 8;
/// A connection on which nothing came for so long, although something was sent that wants an answer, is closed.
pub const SILENCE: Duration = Duration::from_secs(10);
/// Connections are looked at for that so often.
pub const SILENCE_LOOK: Duration = Duration::from_secs(2);
/// Frames of the shell's kinds that are skipped, unknown ones and addresses told too often: so many at once, and so many
/// in a second. A peer that sends more is closed: a newer version has no reason to.
pub const SKIPS_BURST: u32 = 1_024;
/// See [`SKIPS_BURST`].
pub const SKIPS_PER_SECOND: f64 = 16.0;
/// What the dialler may be told and has not read. When it is full, whoever tells waits.
pub const NEWS_MAX: usize = 64;

/// Why connections ended: so many are remembered, the newest for each peer or address.
pub const CLOSED_MAX: usize = 256;
/// Longest reason that travels with the end of a connection.
pub const REASON_BYTES_MAX: usize = 200;

const _: () = {
    assert!(STREAM_WINDOW_BYTES as usize > FRAME_BYTES_MAX);
    assert!(RECEIVE_WINDOW_BYTES > STREAM_WINDOW_BYTES);
    assert!(BULK_BYTES_MAX > SERVE_ABOVE_BYTES + FRAME_BYTES_MAX);
    assert!(FRESH_BYTES_MAX > FRAME_BYTES_MAX);
    assert!(IN_ENGINE_BYTES >= FRAME_BYTES_MAX);
    assert!(SERVE_FRAME_BYTES + ENVELOPE_BYTES_MAX + 16 <= FRAME_BYTES_MAX);
    assert!(TRANSACTIONS_PER_FRAME_MAX > 0);
    assert!(HALF_OPEN_MAX < CONNECTIONS_MAX);
    assert!(KEEP_ALIVE.as_secs() * 2 < IDLE.as_secs());
};
