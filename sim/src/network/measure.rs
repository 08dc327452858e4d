//! What a run measured, raw: counts, histograms and series. The report makes quantiles of it.
//!
//! # Moments
//! - *submitted*: a client handed a reading to its gateway; the queue before the loop counts.
//! - *durable*: the gateway told the client so.
//! - *made*: a transaction was signed, attached at its own gateway and handed to the store there.
//! - *attached* at another gateway: the core there put it into its ledger. (It is shown to people there once it is
//!   durable too, at most `foreign_within` and a sync later.)
//! - *witnessed*: a quorum of the committee has it in its past cone, as its own gateway sees it.

use super::wires::Traffic;

/// How often each value occurred: exact below 256, within 1/128 above. Counts only, so alike on every machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    least: Option<u64>,
    most: u64,
}

/// Values below this have a place each; above, each power of two has half as many.
const EXACT: u64 = 256;
const PER_OCTAVE: u64 = EXACT / 2;

impl Histogram {
    fn place_of(value: u64) -> usize {
        if value < EXACT {
            return value as usize;
        }
        let shift = value.ilog2() - PER_OCTAVE.ilog2();
        (EXACT + u64::from(shift - 1) * PER_OCTAVE + ((value >> shift) - PER_OCTAVE)) as usize
    }

    /// The greatest value of a place.
    fn value_of(place: usize) -> u64 {
        let place = place as u64;
        if place < EXACT {
            return place;
        }
        let (shift, within) = ((place - EXACT) / PER_OCTAVE + 1, (place - EXACT) % PER_OCTAVE);
        ((PER_OCTAVE + within + 1) << shift) - 1
    }

    /// Counts a value so many times.
    pub fn add(&mut self, value: u64, times: u64) {
        let place = Self::place_of(value);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        self.counts[place] += times;
        self.total += times;
        self.sum += u128::from(value) * u128::from(times);
        self.least = Some(self.least.map_or(value, |least| least.min(value)));
        self.most = self.most.max(value);
    }

    /// How many values were counted.
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// The mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.total > 0).then(|| self.sum as f64 / self.total as f64)
    }

    /// The smallest value.
    pub const fn least(&self) -> Option<u64> {
        self.least
    }

    /// The greatest value.
    pub fn most(&self) -> Option<u64> {
        (self.total > 0).then_some(self.most)
    }

    /// The value that this part of all values, in thousandths, does not exceed (nearest rank); `None` without values.
    pub fn quantile(&self, permille: u64) -> Option<u64> {
        let rank = (u128::from(self.total) * u128::from(permille)).div_ceil(1_000).max(1) as u64;
        let mut before = 0;
        for (place, count) in self.counts.iter().enumerate() {
            before += count;
            if before >= rank {
                return Some(Self::value_of(place).min(self.most));
            }
        }
        None
    }
}

/// Kinds of frames, by the first byte (`selvedge_core::wire`).
pub const FRAME_KINDS: [&str; 12] = [
    "hello",
    "transaction",
    "transactions",
    "announce",
    "want",
    "prune",
    "digest",
    "frontier",
    "fetch",
    "fetch_end",
    "have",
    "notice",
];

/// Frames of one kind that were sent, all gateways together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// How many.
    pub count: u64,
    /// Their bytes, as the core made them: without the transport's overhead.
    pub bytes: u64,
}

/// The fullest that each queue ever was, over all gateways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Completions of slow work and clients' requests that wait for the loop of one gateway.
    pub loop_inputs: usize,
    /// Frames of peers that wait for the loop of one gateway.
    pub arrivals: usize,
    /// Jobs of the workers of one gateway: signatures, sealing; those at work too.
    pub work: usize,
    /// Writes that wait for the disk of one gateway, those being synced too.
    pub writes: usize,
    /// Their bytes.
    pub write_bytes: usize,
    /// Frames that wait to be sent to one peer, both lanes.
    pub send_frames: usize,
    /// Their bytes.
    pub send_bytes: usize,
    /// Transactions received and not attached, of one core.
    pub pending: usize,
    /// Readings that are not in a transaction, of one core.
    pub backlog_readings: u64,
    /// Tips of one core.
    pub tips: usize,
}

/// For how long something was busy, virtual microseconds, of the busiest gateway and of all together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy {
    /// Of the busiest gateway.
    pub most_us: u64,
    /// Of all.
    pub sum_us: u64,
}

impl Measured {
    /// The stretch of the load to which a moment belongs; what is later belongs to none.
    pub fn stretch(&self, time_us: u64) -> Option<usize> {
        let since_us = time_us.saturating_sub(self.began_us);
        let place = since_us * STRETCHES as u64 / self.load_us.max(1);
        usize::try_from(place).ok().filter(|place| *place < STRETCHES)
    }

    /// Is that in the load, and not in its first stretch?
    pub fn is_steady(&self, time_us: u64) -> bool {
        self.stretch(time_us).is_some_and(|stretch| stretch > 0)
    }

    /// All frames sent so far.
    pub fn frames_sent(&self) -> u64 {
        self.frames.iter().map(|kind| kind.count).sum()
    }
}

impl Busy {
    /// Takes one gateway's.
    pub fn add(&mut self, us: u64) {
        self.most_us = self.most_us.max(us);
        self.sum_us += us;
    }
}

/// How full the fullest machine was, each measured by its own cores and memory: in a fleet of mixed hardware the busiest
/// machine need not be the fullest one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Fullest {
    /// All threads, virtual microseconds for each core.
    pub cpu_us: f64,
    /// The workers, virtual microseconds for each of them.
    pub workers_us: f64,
    /// The part that checking signatures of others took.
    pub verify_us: f64,
    /// The part that own signatures took.
    pub sign_us: f64,
    /// The part that sealing took.
    pub seal_us: f64,
    /// The core's share of the memory.
    pub memory: f64,
}

/// Tips at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct TipSample {
    /// Virtual time, microseconds.
    pub time_us: u64,
    /// Mean over the gateways.
    pub mean: f64,
    /// Most of one gateway.
    pub most: usize,
}

/// Memory of the cores, estimated: what each holds, times the size of one (`network::memory`). Not the allocator's word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// The largest core at its peak, bytes.
    pub core_most_bytes: u64,
    /// All cores at the end, bytes.
    pub cores_bytes: u64,
}

/// The ways of the readings of one stretch of the load, from submitted to attached everywhere; of those that never were,
/// until the end of the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ways {
    /// Readings.
    pub count: u64,
    /// Their ways together, microseconds.
    pub sum_us: u128,
}

impl Ways {
    /// Counts so many readings with this way.
    pub fn add(&mut self, way_us: u64, readings: u64) {
        self.count += readings;
        self.sum_us += u128::from(way_us) * u128::from(readings);
    }

    /// The mean, microseconds; `None` without readings.
    pub fn mean_us(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum_us as f64 / self.count as f64)
    }
}

/// Stretches of the load that are told apart. The first one is where it warms up.
pub const STRETCHES: usize = 3;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// Gateways.
    pub gateways: usize,
    /// For how long readings came in, virtual microseconds.
    pub load_us: u64,
    /// When the load began, and when the run ended: not before the load's end, even if nothing came.
    pub began_us: u64,
    /// See `began_us`.
    pub ended_us: u64,

    /// Readings handed in by clients.
    pub offered_readings: u64,
    /// Readings that the core refused.
    pub refused_readings: u64,
    /// Readings that clients were told to be durable.
    pub durable_readings: u64,
    /// Transactions with a payload that were made.
    pub offered: u64,
    /// Empty notes that were made, to approve others' payloads.
    pub notes: u64,
    /// Attached, at their own gateway and at all others: transactions × gateways.
    pub attached: u64,
    /// Attachments of transactions with a payload among them.
    pub attached_payloads: u64,
    /// Transactions with a payload that are attached at every gateway.
    pub attached_everywhere: u64,
    /// Transactions with a payload that their own gateway saw witnessed.
    pub witnessed: u64,

    /// From made to attached at another gateway; one value for each transaction with a payload and other gateway. µs.
    pub attach: Histogram,
    /// From submitted to attached at the last gateway; one value for each reading. µs.
    pub reading_attach: Histogram,
    /// The ways of readings by the third of the load in which they were submitted.
    pub ways: [Ways; STRETCHES],
    /// Readings that were attached at the last gateway after the first third of the load, and before its end.
    pub steady_readings: u64,
    /// Transactions that were made in that time, notes too.
    pub steady_transactions: u64,
    /// From made to witnessed; one value for each transaction with a payload. µs.
    pub witness: Histogram,
    /// From submitted to witnessed; one value for each reading. µs.
    pub reading_witness: Histogram,
    /// From submitted to durable; one value for each submission. µs.
    pub durable: Histogram,

    /// Frames sent, by kind ([`FRAME_KINDS`]).
    pub frames: [Frames; FRAME_KINDS.len()],
    /// What was sent over the wires, in the whole run …
    pub traffic: Traffic,
    /// … until the load began …
    pub traffic_before: Traffic,
    /// … and until it ended.
    pub traffic_load: Traffic,
    /// Frames sent until the load began, and until it ended.
    pub frames_load: [u64; 2],
    /// Bodies of transactions that came from peers.
    pub bodies_received: u64,
    /// Of these, those that were here already.
    pub duplicates: u64,
    /// Frames dropped because the queue to a peer was full.
    pub dropped_frames: u64,
    /// How often a core was told so.
    pub congested: u64,
    /// Peers sent away by cores, and broken rules that cores complained of: with honest gateways a sign of overload.
    pub disconnected: u64,
    /// See `disconnected`.
    pub faults: u64,

    /// Queue peaks.
    pub peaks: Peaks,
    /// The loop threads. This and the others: until the load ended, the drain not counted.
    pub busy_loop: Busy,
    /// The workers; several run at once.
    pub busy_workers: Busy,
    /// Of these, signing own transactions.
    pub busy_sign: Busy,
    /// Of these, checking others' signatures.
    pub busy_verify: Busy,
    /// Of these, sealing batches.
    pub busy_seal: Busy,
    /// The network's threads, two of each gateway.
    pub busy_net: Busy,
    /// The fullest machines.
    pub fullest: Fullest,
    /// The disks.
    pub busy_disk: Busy,
    /// Syncs of all disks.
    pub syncs: u64,
    /// Tips over time.
    pub tips: Vec<TipSample>,
    /// Memory.
    pub memory: Memory,

    /// Inputs that all cores handled.
    pub inputs: u64,
    /// Do all gateways hold the same transactions at the end?
    pub ledgers_equal: bool,
    /// Is nothing left to be issued, attached or witnessed at the end? Else the time was up.
    pub drained: bool,
    /// CPU seconds of this process's thread, start and end of the run included.
    pub cpu_s: f64,
    /// Hash over all that the cores were handed, and when.
    pub trace_hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_holds_what_is_counted_there() {
        for value in (0..2_000).chain([4_095, 4_096, 1 << 20, (1 << 40) + 12_345, u64::MAX / 2]) {
            let place = Histogram::place_of(value);
            let upper = Histogram::value_of(place);
            assert!(upper >= value && upper - value <= value / 128, "{value} is counted as {upper}");
            assert!(place == 0 || Histogram::value_of(place - 1) < value, "{value}");
        }
    }

    #[test]
    fn quantiles_are_nearest_rank() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.quantile(500), histogram.mean()), (None, None));
        (1..=100).for_each(|value| histogram.add(value, 1));
        let quantile = |permille| histogram.quantile(permille).expect("it has values");
        assert_eq!([quantile(0), quantile(500), quantile(990), quantile(1_000)], [1, 50, 99, 100]);
        assert_eq!((histogram.mean(), histogram.least(), histogram.most()), (Some(50.5), Some(1), Some(100)));
        histogram.add(1_000_000, 100);
        assert_eq!(histogram.quantile(990), Some(1_000_000), "never above the greatest value");
    }
}
