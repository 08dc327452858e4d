//! What a run of the network says at its end: for machines one JSON object, for people a table.

use std::fmt;

use serde::Serialize;

use super::measure::{Histogram, Measured, STRETCHES};
use super::params::Params;

/// Half of the values, nine of ten, ninety-nine of a hundred are no greater; `None` when nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Median, milliseconds.
    pub p50: Option<f64>,
    /// Ninth decile, milliseconds.
    pub p90: Option<f64>,
    /// Milliseconds.
    pub p99: Option<f64>,
}

impl Quantiles {
    /// Of microseconds.
    pub fn of(histogram: &Histogram) -> Self {
        let ms = |permille| histogram.quantile(permille).map(|us| us as f64 / 1e3);
        Self { p50: ms(500), p90: ms(900), p99: ms(990) }
    }
}

/// How much of its time something was occupied while readings came in, from 0 to 1; more when work piled up. Of the
/// fullest gateway, each by its own hardware.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Utilisation {
    /// The loop that owns the core.
    pub core_loop: f64,
    /// The workers, all threads together.
    pub workers: f64,
    /// The part of the workers' time that signatures of others took.
    pub verify: f64,
    /// The part that own signatures took.
    pub sign: f64,
    /// The part that sealing took.
    pub seal: f64,
    /// The network's threads.
    pub net: f64,
    /// All threads, over all cores.
    pub cpu: f64,
    /// The disk.
    pub disk: f64,
    /// The exit that the links of a gateway (or of a site) share; 0 without a limit.
    pub uplink: f64,
    /// The same for what is received.
    pub downlink: f64,
    /// One direction of one link; 0 without a limit.
    pub link: f64,
    /// Of the hardware's memory, the core alone: an estimate.
    pub memory: f64,
}

impl Utilisation {
    fn of(measured: &Measured) -> Self {
        let load = measured.load_us.max(1) as f64;
        let share = |us: u64, of: f64| us as f64 / load / of;
        let (traffic, fullest) = (&measured.traffic_load, &measured.fullest);
        Self {
            core_loop: share(measured.busy_loop.most_us, 1.0),
            workers: fullest.workers_us / load,
            verify: fullest.verify_us / load,
            sign: fullest.sign_us / load,
            seal: fullest.seal_us / load,
            net: share(measured.busy_net.most_us, NET_THREADS),
            cpu: fullest.cpu_us / load,
            disk: share(measured.busy_disk.most_us, 1.0),
            uplink: share(traffic.exit_most_us, 1.0),
            downlink: share(traffic.entry_most_us, 1.0),
            link: share(traffic.link_most_us, 1.0),
            memory: fullest.memory,
        }
    }

    /// Everything that can be full, by name, the fullest first. What is a part of another is not listed by itself.
    pub fn ranked(&self) -> Vec<(&'static str, f64)> {
        let stage = [(self.verify, "workers: checking signatures"), (self.sign, "workers: signing")];
        let stage = stage.into_iter().chain([(self.seal, "workers: sealing batches")]);
        let workers = stage.max_by(|a, b| a.0.total_cmp(&b.0)).map_or("workers", |(_, name)| name);
        let mut all = vec![
            ("loop of the core", self.core_loop),
            (workers, self.workers),
            ("threads of the network", self.net),
            ("all cores together", self.cpu),
            ("disk", self.disk),
            ("uplink", self.uplink),
            ("downlink", self.downlink),
            ("link", self.link),
            ("memory", self.memory),
        ];
        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }
}

/// Threads of the network of a gateway (node/src/net.rs).
const NET_THREADS: f64 = 2.0;

/// The fullest that each queue ever was, over all gateways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct QueuePeaks {
    /// Answers and requests that wait for the loop.
    pub loop_inputs: usize,
    /// Peers' frames that wait for the loop.
    pub arrivals: usize,
    /// Jobs of the workers.
    pub work: usize,
    /// Bytes that wait for the disk.
    pub write_bytes: usize,
    /// Frames that wait to be sent to one peer.
    pub send_frames: usize,
    /// Their bytes.
    pub send_bytes: usize,
    /// Transactions received and not attached.
    pub pending: usize,
    /// Readings that are in no transaction yet.
    pub backlog_readings: u64,
}

/// See the module. Everything but [`OF_THE_MACHINE`](crate::scenario::results::OF_THE_MACHINE) depends on the parameters
/// alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The parameters.
    pub params: Params,
    /// Readings that came in.
    pub offered: u64,
    /// Of these, readings whose transaction is attached at every gateway.
    pub attached: u64,
    /// Of these, readings whose transaction a quorum of the committee has in its past cone, as its own gateway sees it.
    pub witnessed: u64,
    /// From a transaction's making to its attachment at another gateway; each transaction and other gateway counts once.
    pub attach_latency_ms: Quantiles,
    /// From a transaction's making to its being witnessed; each transaction counts once.
    pub witness_latency_ms: Quantiles,
    /// From a reading's arrival to its attachment at the last gateway: the wait for its batch is in it.
    pub reading_attach_latency_ms: Quantiles,
    /// From a reading's arrival to its being witnessed.
    pub reading_witness_latency_ms: Quantiles,
    /// From a reading's arrival to the gateway's word that it is durable.
    pub durable_latency_ms: Quantiles,
    /// Transactions that carry readings.
    pub transactions: u64,
    /// Empty ones that only approve.
    pub notes: u64,
    /// Transactions with readings that are attached everywhere.
    pub transactions_attached: u64,
    /// Transactions with readings that are witnessed.
    pub transactions_witnessed: u64,
    /// Transactions of both kinds × gateways that have them.
    pub attachments: u64,
    /// Of these per second of this process's CPU.
    pub attachments_per_cpu_s: f64,
    /// Do all gateways hold the same transactions at the end? False when there are none.
    pub ledgers_equal: bool,
    /// Was nothing left to do at the end? Else the time was up.
    pub drained: bool,
    /// Readings that a gateway refused because its backlog was full.
    pub refused: u64,
    /// Bytes on all wires, with the transport's overhead, for each transaction with readings.
    pub bytes_per_transaction: Option<f64>,
    /// Frames of all gateways for each of them.
    pub messages_per_transaction: Option<f64>,
    /// Bytes that a gateway sent per second while readings came in, on average: what was sent in the drain is not in it.
    pub bytes_per_gateway_s: f64,
    /// Frames that a gateway handed to its connections per second while readings came in, on average.
    pub messages_per_gateway_s: f64,
    /// Readings attached everywhere per second, all gateways together, in the last two thirds of the load: the first third
    /// is where queues fill, the drain is where they empty.
    pub steady_attached_per_s: f64,
    /// Transactions made per second in that time, notes too.
    pub steady_transactions_per_s: f64,
    /// Mean way of a reading to the last gateway, milliseconds, by the third of the load in which it came; of one that never
    /// got there, until the end of the run. What grows from the second to the last is a queue.
    pub way_by_third_ms: [Option<f64>; STRETCHES],
    /// Transactions that came to a gateway that had them already.
    pub duplicates: u64,
    /// Frames dropped because the queue to a peer was full.
    pub dropped_frames: u64,
    /// Packets that were lost and sent again.
    pub resent_packets: u64,
    /// Tips of a gateway: mean over time and gateways.
    pub tips_mean: Option<f64>,
    /// Most at any moment.
    pub tips_most: usize,
    /// Queues.
    pub queue_peaks: QueuePeaks,
    /// Memory of the largest core, an estimate.
    pub core_bytes: u64,
    /// What was busy.
    pub utilisation: Utilisation,
    /// Virtual seconds from the first reading to the end.
    pub virtual_s: f64,
    /// Inputs that the cores handled.
    pub inputs: u64,
    /// CPU seconds of this run.
    pub cpu_s: f64,
    /// Hash over all that the cores were handed, and when.
    pub trace_hash: String,
}

impl Report {
    /// Of what was measured.
    pub fn of(params: &Params, measured: &Measured) -> Self {
        let load_s = measured.load_us.max(1) as f64 / 1e6;
        let frames = measured.frames_sent();
        let each = |total: u64| (measured.offered > 0).then(|| round(total as f64 / measured.offered as f64));
        let per_gateway_s = |total: u64| round(total as f64 / measured.gateways.max(1) as f64 / load_s);
        let sent_bytes = measured.traffic_load.wire_bytes.saturating_sub(measured.traffic_before.wire_bytes);
        let steady_s = load_s * (STRETCHES - 1) as f64 / STRETCHES as f64;
        let [frames_before, frames_until] = measured.frames_load;
        let during =
            |sample: &&super::measure::TipSample| sample.time_us < measured.began_us + measured.load_us;
        let tips: Vec<f64> = measured.tips.iter().filter(during).map(|sample| sample.mean).collect();
        let peaks = &measured.peaks;
        Self {
            params: params.clone(),
            offered: measured.offered_readings,
            attached: measured.reading_attach.count(),
            witnessed: measured.reading_witness.count(),
            attach_latency_ms: Quantiles::of(&measured.attach),
            witness_latency_ms: Quantiles::of(&measured.witness),
            reading_attach_latency_ms: Quantiles::of(&measured.reading_attach),
            reading_witness_latency_ms: Quantiles::of(&measured.reading_witness),
            durable_latency_ms: Quantiles::of(&measured.durable),
            transactions: measured.offered,
            notes: measured.notes,
            transactions_attached: measured.attached_everywhere,
            transactions_witnessed: measured.witnessed,
            attachments: measured.attached,
            attachments_per_cpu_s: (measured.attached as f64 / measured.cpu_s.max(1e-9)).round(),
            // Two empty ledgers are equal, and say nothing.
            ledgers_equal: measured.ledgers_equal && measured.attached > 0,
            drained: measured.drained,
            refused: measured.refused_readings,
            bytes_per_transaction: each(measured.traffic.wire_bytes),
            messages_per_transaction: each(frames),
            bytes_per_gateway_s: per_gateway_s(sent_bytes),
            messages_per_gateway_s: per_gateway_s(frames_until.saturating_sub(frames_before)),
            steady_attached_per_s: round(measured.steady_readings as f64 / steady_s),
            steady_transactions_per_s: round(measured.steady_transactions as f64 / steady_s),
            way_by_third_ms: measured.ways.map(|ways| ways.mean_us().map(|us| round(us / 1e3))),
            duplicates: measured.duplicates,
            dropped_frames: measured.dropped_frames,
            resent_packets: measured.traffic.resent_packets,
            tips_mean: (!tips.is_empty()).then(|| round(tips.iter().sum::<f64>() / tips.len() as f64)),
            tips_most: peaks.tips,
            queue_peaks: QueuePeaks {
                loop_inputs: peaks.loop_inputs,
                arrivals: peaks.arrivals,
                work: peaks.work,
                write_bytes: peaks.write_bytes,
                send_frames: peaks.send_frames,
                send_bytes: peaks.send_bytes,
                pending: peaks.pending,
                backlog_readings: peaks.backlog_readings,
            },
            core_bytes: measured.memory.core_most_bytes,
            utilisation: Utilisation::of(measured),
            // Never below 0: the end is not before the load's end.
            virtual_s: measured.ended_us.saturating_sub(measured.began_us) as f64 / 1e6,
            inputs: measured.inputs,
            cpu_s: measured.cpu_s,
            trace_hash: measured.trace_hash.clone(),
        }
    }

    /// One object on one line.
    ///
    /// # Panics
    /// Never: every field has a form in JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, strings and booleans")
    }
}

/// To a tenth.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// `12 / 34 / 56`, in milliseconds.
struct Ms<'a>(&'a Quantiles);

impl fmt::Display for Ms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] =
            [self.0.p50, self.0.p90, self.0.p99].map(|ms| ms.map_or("-".into(), |ms| format!("{ms:.0}")));
        write!(f, "{a:>7} {b:>7} {c:>7}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = &self.params;
        writeln!(
            f,
            "{} gateways ({}), topology {}, delay {}, seed {}",
            params.gateways, params.hardware, params.topology, params.link.delay, params.seed
        )?;
        writeln!(f, "                       of readings  of transactions")?;
        writeln!(f, "  offered            {:>13}  {:>15}", self.offered, self.transactions)?;
        writeln!(f, "  attached everywhere{:>13}  {:>15}", self.attached, self.transactions_attached)?;
        writeln!(f, "  witnessed          {:>13}  {:>15}", self.witnessed, self.transactions_witnessed)?;
        writeln!(f, "  latency, ms                       p50     p90     p99")?;
        for (name, quantiles) in [
            ("transaction made → attached", &self.attach_latency_ms),
            ("transaction made → witnessed", &self.witness_latency_ms),
            ("reading → durable", &self.durable_latency_ms),
            ("reading → attached everywhere", &self.reading_attach_latency_ms),
            ("reading → witnessed", &self.reading_witness_latency_ms),
        ] {
            writeln!(f, "    {name:<29}{}", Ms(quantiles))?;
        }
        let each = |number: Option<f64>| number.map_or("-".into(), |number| format!("{number:.0}"));
        writeln!(
            f,
            "  wires     {} bytes and {} frames for each transaction with readings; {:.1} kB/s a gateway",
            each(self.bytes_per_transaction),
            each(self.messages_per_transaction),
            self.bytes_per_gateway_s / 1e3
        )?;
        writeln!(
            f,
            "            {} transactions came twice, {} frames dropped, {} packets sent again",
            self.duplicates, self.dropped_frames, self.resent_packets
        )?;
        writeln!(
            f,
            "  tips      {} on average, {} at most; {} notes that only approve",
            self.tips_mean.map_or("-".into(), |mean| format!("{mean:.1}")),
            self.tips_most,
            self.notes
        )?;
        write!(f, "  busiest  ")?;
        for (name, share) in self.utilisation.ranked().iter().take(3) {
            write!(f, " {name} {:.1} %;", share * 100.0)?;
        }
        writeln!(f, " core {} KiB", self.core_bytes / 1024)?;
        let equal =
            if self.ledgers_equal { "the same on every gateway" } else { "NOT the same on every gateway" };
        let drained = if self.drained { "" } else { "; the time was up before all was attached" };
        writeln!(f, "  ledgers   {equal}{drained}")?;
        writeln!(
            f,
            "  run       {:.1} s of virtual time in {:.2} s of CPU, {} attachments, {:.0} a second of CPU",
            self.virtual_s, self.cpu_s, self.attachments, self.attachments_per_cpu_s
        )?;
        write!(f, "  trace     {}", self.trace_hash)
    }
}
