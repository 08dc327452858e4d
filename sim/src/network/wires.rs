//! All wires of a run: frames wait for their lane's turn, occupy what they are sent on, and arrive.
//!
//! # The model
//! - Each gateway (with sites: each site, for what leaves it) has an *exit*, shared by all its links, and an *entry*. The
//!   links of an exit take turns; within a link the fresh lane goes before the bulk lane, as the node sets its streams.
//!   A turn is [`SLICE_BYTES`] at most, so a long answer from the log does not hold up other links.
//! - What is sent is counted in packets ([`PACKET_BYTES`]), each with [`OVERHEAD_BYTES`] around it; the other end
//!   acknowledges every second packet ([`ACK_BYTES`]), which occupies its own exit.
//! - A lost packet is sent again once its loss shows: after 9/8 of a round trip when later packets were acknowledged
//!   (RFC 9002, 6.1.2), else after the probe time-out, doubled each time (RFC 9002, 6.2.1). Nothing of its lane arrives
//!   before it does. A packet that comes twice costs the receiver its bytes.
//! - A connection has no more on its way than a window: the receive window of the node, or the mean window of CUBIC at the
//!   given loss when that is smaller (RFC 9438, 5.1 and 5.2). Slow start, and losses by full buffers on the way, are
//!   left out: frames wait at the sender, without loss.

use std::collections::VecDeque;

use selvedge_core::border::Lane;

use super::delay::Delay;
use super::params::Params;
use super::topology::{Graph, Topology};
use super::units::Bandwidth;
use crate::dice::Dice;

/// UDP payload of a full packet: what quinn finds on a path of 1,500 bytes (`MtuDiscoveryConfig::upper_bound`).
pub const DATAGRAM_BYTES: u64 = 1_452;
/// Bytes of a packet that are not the stream's: IPv4 20, UDP 8, QUIC's short header 1 + 8 (connection id) + 2 (packet
/// number), AEAD tag 16 (RFC 9000, 17.3.1; RFC 9001, 5.3), and a STREAM frame's type 1, id 1, offset 4, length 2
/// (RFC 9000, 19.8).
pub const OVERHEAD_BYTES: u64 = IP_UDP_BYTES + QUIC_BYTES;
const IP_UDP_BYTES: u64 = 28;
const QUIC_BYTES: u64 = 27 + 8;
/// Stream bytes of a full packet.
pub const PACKET_BYTES: u64 = DATAGRAM_BYTES - QUIC_BYTES;
/// A packet with an ACK frame and nothing else: IP, UDP, short header, tag, and 7 bytes of frame (RFC 9000, 19.3).
pub const ACK_BYTES: u64 = IP_UDP_BYTES + 27 + 7;
/// Every so many packets are acknowledged (RFC 9000, 13.2.2).
pub const PACKETS_PER_ACK: u64 = 2;
/// The length before each frame on its stream (node/src/net/link.rs).
pub const FRAME_PREFIX_BYTES: u64 = 4;
/// What a link sends before it is the next one's turn.
pub const SLICE_BYTES: u64 = 6 * PACKET_BYTES;
/// Bytes of a connection that may be on their way (`RECEIVE_WINDOW_BYTES` in node/src/net/limits.rs).
pub const WINDOW_BYTES: u64 = 512 * 1024;
/// Longest that a receiver holds an acknowledgement back (RFC 9000, 18.2), in nanoseconds.
const MAX_ACK_DELAY_NS: u64 = 25_000_000;
/// Losses of one packet one after the other that are drawn at most: with half of all lost, once in 65,536.
const LOSSES_MAX: u32 = 16;

/// One direction of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(u32);

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight<T> {
    /// The direction that it came by.
    pub link: LinkId,
    /// Who sent it.
    pub from: usize,
    /// Where it arrives.
    pub to: usize,
    /// Its lane.
    pub lane: Lane,
    /// The frame.
    pub frame: T,
    /// Packets that carried it, those sent again among them; 0 when it shared one with the frame before.
    pub packets: u64,
    /// Bytes on the wire, at the receiver.
    wire_bytes: u64,
}

/// Something that happens on the wires later; whoever drives them hands it back then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// An exit may go on.
    Wake(u32),
    /// A frame has come to the entry of its receiver.
    Landed(Flight<T>),
    /// A frame has come through it.
    Through(Flight<T>),
}

/// What was sent, all links together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes that were sent, with all overhead, acknowledgements and what was sent again.
    pub wire_bytes: u64,
    /// Packets, acknowledgements not counted.
    pub packets: u64,
    /// Of these, sent again after a loss.
    pub resent_packets: u64,
    /// Packets that came twice.
    pub doubled_packets: u64,
    /// Bytes of acknowledgements.
    pub ack_bytes: u64,
    /// For how long the busiest exit was occupied, microseconds.
    pub exit_most_us: u64,
    /// The same for entries.
    pub entry_most_us: u64,
    /// The same for single directions of links.
    pub link_most_us: u64,
    /// All of these together.
    pub busy_sum_us: u64,
}

#[derive(Debug)]
struct Pipe {
    rate: Option<Bandwidth>,
    free_ns: u64,
    busy_ns: u64,
    /// When it is woken next.
    wake_ns: Option<u64>,
    /// Links with something to send, in the order of their turns.
    turns: VecDeque<LinkId>,
}

impl Pipe {
    const fn new(rate: Option<Bandwidth>) -> Self {
        Self { rate, free_ns: 0, busy_ns: 0, wake_ns: None, turns: VecDeque::new() }
    }

    /// Occupies it, behind what occupies it already; when it is free again.
    fn occupy(&mut self, now_ns: u64, bytes: u64) -> u64 {
        let Some(rate) = self.rate else { return now_ns };
        let ns = rate.ns_of(bytes);
        self.free_ns = self.free_ns.max(now_ns).saturating_add(ns);
        self.busy_ns += ns;
        self.free_ns
    }
}

#[derive(Debug)]
struct Queue<T> {
    /// Frames and what is left to send of each, with its length.
    frames: VecDeque<(T, u64)>,
    bytes: u64,
    /// Nothing of this lane arrives before this.
    arrives_ns: u64,
    /// Packets and bytes at the receiver that no frame accounts for yet.
    packets: u64,
    wire_bytes: u64,
    /// Bytes in the packet that was sent last, and when: what is sent in the same moment shares it.
    fill: u64,
    fill_ns: u64,
}

impl<T> Queue<T> {
    const fn new() -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            arrives_ns: 0,
            packets: 0,
            wire_bytes: 0,
            fill: 0,
            fill_ns: u64::MAX,
        }
    }
}

#[derive(Debug)]
struct Link<T> {
    from: u32,
    to: u32,
    exit: u32,
    entry: u32,
    /// Inside a site.
    is_lan: bool,
    rate: Option<Bandwidth>,
    free_ns: u64,
    busy_ns: u64,
    /// A bucket that drains a window each round trip: when it is empty.
    bucket_ns: u64,
    window_bytes: u64,
    round_trip_ns: u64,
    lanes: [Queue<T>; 2],
    has_turn: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Wires<T> {
    links: Vec<Link<T>>,
    /// Of each gateway its neighbours, ascending, and the link to the first; the others follow.
    neighbours: Vec<(Vec<usize>, u32)>,
    exits: Vec<Pipe>,
    entries: Vec<Pipe>,
    /// One for each gateway: what others send changes nothing.
    dice: Vec<Dice>,
    delay: Delay,
    lan_delay: Delay,
    topology: Topology,
    loss_ppm: u64,
    duplicate_ppm: u64,
    traffic: Traffic,
}

impl<T> Wires<T> {
    /// Lays them. The parameters were checked.
    pub fn new(params: &Params, graph: &Graph) -> Self {
        let model = &params.link;
        let topology = params.topology;
        let sites = topology.sites(params.gateways);
        let is_by_site = matches!(topology, Topology::Sites { .. });
        let mut exits: Vec<Pipe> = (0..sites).map(|_| Pipe::new(model.uplink)).collect();
        let mut entries: Vec<Pipe> = (0..sites).map(|_| Pipe::new(model.downlink)).collect();
        if is_by_site {
            // Behind those of the sites: what each gateway has inside.
            exits.extend((0..params.gateways).map(|_| Pipe::new(model.lan_bandwidth)));
            entries.extend((0..params.gateways).map(|_| Pipe::new(None)));
        }
        let (mut links, mut neighbours) = (Vec::new(), Vec::new());
        for (from, others) in graph.neighbours.iter().enumerate() {
            neighbours.push((others.clone(), links.len() as u32));
            for to in others {
                let (here, there) = (topology.site(from), topology.site(*to));
                let is_lan = is_by_site && here == there;
                let pipes = if is_lan { (sites + from, sites + to) } else { (here, there) };
                let delay = if is_lan { &model.lan_delay } else { &model.delay };
                let round_trip_us = delay.typical(here, there).us + delay.typical(there, here).us;
                let window_bytes = window_bytes(round_trip_us, model.loss.ppm);
                links.push(Link {
                    from: from as u32,
                    to: *to as u32,
                    exit: pipes.0 as u32,
                    entry: pipes.1 as u32,
                    is_lan,
                    rate: if is_lan { None } else { model.bandwidth },
                    free_ns: 0,
                    busy_ns: 0,
                    bucket_ns: 0,
                    window_bytes,
                    round_trip_ns: (round_trip_us * 1_000).max(1),
                    lanes: [Queue::new(), Queue::new()],
                    has_turn: false,
                });
            }
        }
        Self {
            links,
            neighbours,
            exits,
            entries,
            dice: (0..params.gateways).map(|at| Dice::new(params.seed, &format!("wires {at}"))).collect(),
            delay: model.delay.clone(),
            lan_delay: model.lan_delay.clone(),
            topology,
            loss_ppm: u64::from(model.loss.ppm),
            duplicate_ppm: u64::from(model.duplicate.ppm),
            traffic: Traffic::default(),
        }
    }

    /// The direction from one gateway to another, when they are linked.
    pub fn link(&self, from: usize, to: usize) -> Option<LinkId> {
        let (others, first) = self.neighbours.get(from)?;
        others.binary_search(&to).ok().map(|at| LinkId(first + at as u32))
    }

    /// Frames and bytes that wait to be sent on a lane.
    pub fn queued(&self, link: LinkId, lane: Lane) -> (usize, u64) {
        let queue = &self.links[link.0 as usize].lanes[lane as usize];
        (queue.frames.len(), queue.bytes)
    }

    /// Forgets what waits to be sent: the connection is gone.
    pub fn clear(&mut self, link: LinkId) {
        for queue in &mut self.links[link.0 as usize].lanes {
            queue.frames.clear();
            queue.bytes = 0;
        }
    }

    /// A frame of so many bytes is to be sent. What happens later is added to `out`, with its time in microseconds.
    pub fn send(
        &mut self,
        now_us: u64,
        link: LinkId,
        lane: Lane,
        frame: T,
        bytes: usize,
        out: &mut Vec<(u64, Step<T>)>,
    ) {
        let of = &mut self.links[link.0 as usize];
        let bytes = bytes as u64 + FRAME_PREFIX_BYTES;
        let queue = &mut of.lanes[lane as usize];
        queue.frames.push_back((frame, bytes));
        queue.bytes += bytes;
        let exit = of.exit;
        if !std::mem::replace(&mut of.has_turn, true) {
            self.exits[exit as usize].turns.push_back(link);
        }
        self.pump(now_us * 1_000, exit, out);
    }

    /// Something happens that was planned for now; a frame that has arrived, when it is that.
    pub fn step(&mut self, now_us: u64, step: Step<T>, out: &mut Vec<(u64, Step<T>)>) -> Option<Flight<T>> {
        let now_ns = now_us * 1_000;
        match step {
            Step::Wake(exit) => {
                let pipe = &mut self.exits[exit as usize];
                if pipe.wake_ns.is_some_and(|wake_ns| wake_ns <= now_ns) {
                    pipe.wake_ns = None;
                }
                self.pump(now_ns, exit, out);
                None
            }
            Step::Landed(flight) => {
                let entry = &mut self.entries[self.links[flight.link.0 as usize].entry as usize];
                let free_ns = entry.occupy(now_ns, flight.wire_bytes);
                if free_ns > now_ns {
                    out.push((free_ns.div_ceil(1_000), Step::Through(flight)));
                    return None;
                }
                self.acknowledge(now_ns, &flight);
                Some(flight)
            }
            Step::Through(flight) => {
                self.acknowledge(now_ns, &flight);
                Some(flight)
            }
        }
    }

    /// What was sent so far.
    pub fn traffic(&self) -> Traffic {
        let most = |pipes: &[Pipe]| pipes.iter().map(|pipe| pipe.busy_ns).max().unwrap_or(0) / 1_000;
        let pipes: u64 = self.exits.iter().chain(&self.entries).map(|pipe| pipe.busy_ns).sum();
        let links: u64 = self.links.iter().map(|link| link.busy_ns).sum();
        Traffic {
            exit_most_us: most(&self.exits),
            entry_most_us: most(&self.entries),
            link_most_us: self.links.iter().map(|link| link.busy_ns).max().unwrap_or(0) / 1_000,
            busy_sum_us: (pipes + links) / 1_000,
            ..self.traffic
        }
    }

    /// The receiver's acknowledgements occupy its exit.
    fn acknowledge(&mut self, now_ns: u64, flight: &Flight<T>) {
        let bytes = flight.packets.div_ceil(PACKETS_PER_ACK) * ACK_BYTES;
        self.traffic.ack_bytes += bytes;
        self.traffic.wire_bytes += bytes;
        let of = &self.links[flight.link.0 as usize];
        let sites = self.topology.sites(self.neighbours.len());
        let exit = if of.is_lan { sites + flight.to } else { self.topology.site(flight.to) };
        self.exits[exit].occupy(now_ns, bytes);
    }

    /// Sends what can be sent now, and plans when to go on.
    fn pump(&mut self, now_ns: u64, exit: u32, out: &mut Vec<(u64, Step<T>)>) {
        loop {
            let pipe = &mut self.exits[exit as usize];
            let Some(turns) = (!pipe.turns.is_empty()).then_some(pipe.turns.len()) else { return };
            if pipe.rate.is_some() && pipe.free_ns > now_ns {
                let free_ns = pipe.free_ns;
                return self.wake_at(exit, free_ns, out);
            }
            let mut soonest_ns = u64::MAX;
            let mut next = None;
            for _ in 0..turns {
                let pipe = &mut self.exits[exit as usize];
                let Some(link) = pipe.turns.pop_front() else { break };
                let of = &mut self.links[link.0 as usize];
                if of.lanes.iter().all(|queue| queue.frames.is_empty()) {
                    of.has_turn = false;
                    continue;
                }
                pipe.turns.push_back(link);
                let ready_ns = of.free_ns.max(of.bucket_ns.saturating_sub(of.round_trip_ns));
                if ready_ns <= now_ns {
                    next = Some(link);
                    break;
                }
                soonest_ns = soonest_ns.min(ready_ns);
            }
            match next {
                Some(link) => self.slice(now_ns, link, out),
                None if soonest_ns < u64::MAX => return self.wake_at(exit, soonest_ns, out),
                None => return,
            }
        }
    }

    fn wake_at(&mut self, exit: u32, at_ns: u64, out: &mut Vec<(u64, Step<T>)>) {
        let pipe = &mut self.exits[exit as usize];
        // Whole microseconds: the clock of the run.
        let at_us = at_ns.div_ceil(1_000);
        if pipe.wake_ns.is_none_or(|wake_ns| wake_ns > at_us * 1_000) {
            pipe.wake_ns = Some(at_us * 1_000);
            out.push((at_us, Step::Wake(exit)));
        }
    }

    /// One turn of a link: the frames, or the part of one, that a slice holds.
    fn slice(&mut self, now_ns: u64, link: LinkId, out: &mut Vec<(u64, Step<T>)>) {
        let of = &mut self.links[link.0 as usize];
        let lane = if of.lanes[Lane::Fresh as usize].frames.is_empty() { Lane::Bulk } else { Lane::Fresh };
        let queue = &mut of.lanes[lane as usize];
        let bytes = queue.bytes.min(SLICE_BYTES);
        let shared = if queue.fill_ns == now_ns { queue.fill } else { 0 };
        let packets = (shared + bytes).div_ceil(PACKET_BYTES) - shared.div_ceil(PACKET_BYTES);
        (queue.fill, queue.fill_ns) = ((shared + bytes) % PACKET_BYTES, now_ns);
        let has_more = queue.bytes > bytes;

        let dice = &mut self.dice[of.from as usize];
        let (mut resent, mut late_ns) = (0, 0);
        if self.loss_ppm > 0 {
            for packet in 0..packets {
                let is_last = packet + 1 == packets && !has_more;
                let lost = losses(self.loss_ppm, dice);
                resent += u64::from(lost);
                late_ns = late_ns.max(recovery_ns(lost, is_last, of.round_trip_ns));
            }
        }
        let doubled = if self.duplicate_ppm > 0 {
            (0..packets).filter(|_| dice.below(1_000_000) < self.duplicate_ppm).count() as u64
        } else {
            0
        };
        // Sent again is what a full packet holds: which part was lost makes no difference worth its draw.
        let full = PACKET_BYTES.min(bytes) + OVERHEAD_BYTES;
        let wire_bytes = bytes + packets * OVERHEAD_BYTES + resent * full;
        let (from, to) = (of.from as usize, of.to as usize);
        let (here, there) = (self.topology.site(from), self.topology.site(to));
        let delay = if of.is_lan { &self.lan_delay } else { &self.delay };
        let way_ns = delay.draw_us(here, there, dice) * 1_000;

        let mut sent_ns = self.exits[of.exit as usize].occupy(now_ns, wire_bytes);
        if let Some(rate) = of.rate {
            let ns = rate.ns_of(wire_bytes);
            of.busy_ns += ns;
            of.free_ns = now_ns.saturating_add(ns);
            sent_ns = sent_ns.max(of.free_ns);
        }
        let window_ns = u128::from(wire_bytes) * u128::from(of.round_trip_ns) / u128::from(of.window_bytes);
        of.bucket_ns = of.bucket_ns.max(now_ns).saturating_add(window_ns as u64);

        let queue = &mut of.lanes[lane as usize];
        queue.arrives_ns = queue.arrives_ns.max(sent_ns.saturating_add(way_ns + late_ns));
        queue.bytes -= bytes;
        queue.packets += packets + resent;
        queue.wire_bytes += bytes + packets * OVERHEAD_BYTES + doubled * full;
        let arrives_us = queue.arrives_ns.div_ceil(1_000);
        let mut left = bytes;
        while let Some((_, rest)) = queue.frames.front_mut() {
            if *rest > left {
                *rest -= left;
                break;
            }
            left -= *rest;
            let Some((frame, _)) = queue.frames.pop_front() else { break };
            let (packets, wire_bytes) =
                (std::mem::take(&mut queue.packets), std::mem::take(&mut queue.wire_bytes));
            out.push((arrives_us, Step::Landed(Flight { link, from, to, lane, frame, packets, wire_bytes })));
        }
        self.traffic.wire_bytes += wire_bytes;
        self.traffic.packets += packets + resent;
        self.traffic.resent_packets += resent;
        self.traffic.doubled_packets += doubled;
    }
}

/// How often one packet is lost before it comes through.
fn losses(loss_ppm: u64, dice: &mut Dice) -> u32 {
    (0..LOSSES_MAX).take_while(|_| dice.below(1_000_000) < loss_ppm).count() as u32
}

/// How much later a packet comes that was lost so often. Without anything behind it the first loss shows by the probe
/// time-out only; a packet that was sent again has nothing behind it either.
fn recovery_ns(losses: u32, is_last: bool, round_trip_ns: u64) -> u64 {
    // Smoothed round trip + 4 × variation, here a quarter of it + the acknowledgement's delay.
    let probe_ns = 2 * round_trip_ns + MAX_ACK_DELAY_NS;
    let by_later_ns = round_trip_ns / 8 * 9;
    let one = |n: u32| if n == 0 && !is_last { by_later_ns } else { probe_ns << n };
    (0..losses).map(one).sum()
}

/// Bytes of a connection that are on their way at most.
fn window_bytes(round_trip_us: u64, loss_ppm: u32) -> u64 {
    if loss_ppm == 0 {
        return WINDOW_BYTES;
    }
    let loss = f64::from(loss_ppm) / 1e6;
    let reno = libm::sqrt(1.5 / loss);
    let round_trip_s = round_trip_us as f64 / 1e6;
    // (C (3 + β) ÷ (4 (1 − β)))^¼ with C = 0.4 and β = 0.7.
    let cubic = 1.054 * libm::pow(round_trip_s / loss, 0.75);
    let packets = reno.max(cubic).max(2.0);
    (libm::round(packets * (DATAGRAM_BYTES + IP_UDP_BYTES) as f64) as u64).min(WINDOW_BYTES)
}
