//! What a run ends with: figures when all checks held, the first broken one when not.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::invariants::{Broken, Invariant};
use crate::tally::Tally;

/// A check that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The run.
    pub seed: u64,
    /// Virtual time, microseconds since the start of the run; `None` after a panic.
    pub time_us: Option<u64>,
    /// The gateway that showed it.
    pub gateway: Option<usize>,
    /// Which invariant.
    pub invariant: Invariant,
    /// What broke.
    pub what: String,
    /// What had gone wrong until then, by kind; nothing after a panic, which takes the run with it.
    pub happened: Box<Tally>,
}

impl Failure {
    /// Something broke in this run.
    pub fn new(seed: u64, time_us: Option<u64>, gateway: Option<usize>, broken: Broken) -> Self {
        let (invariant, what) = (broken.invariant, broken.what);
        Self { seed, time_us, gateway, invariant, what, happened: Box::default() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        if let Some(time) = self.time_us {
            write!(f, ", at {}.{:06} s", time / 1_000_000, time % 1_000_000)?;
        }
        if let Some(gateway) = self.gateway {
            write!(f, ", gateway {gateway}")?;
        }
        write!(f, ": {}: {}", self.invariant, self.what)
    }
}

impl std::error::Error for Failure {}

/// A run in which every check held.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The run.
    pub seed: u64,
    /// BLAKE3 over all that went into the cores and came out of them, in hexadecimal.
    pub trace_hash: String,
    /// Gateways.
    pub nodes: usize,
    /// Transactions attached everywhere.
    pub transactions: usize,
    /// Readings that are in a batch of one of them.
    pub readings: u64,
    /// Readings that a client was told are durable; all of them are among `readings`.
    pub acknowledged: u64,
    /// Batches.
    pub batches: u64,
    /// Mean number of tips over time and gateways while readings came in.
    pub mean_tips: f64,
    /// Most tips at any moment.
    pub max_tips: usize,
    /// Share of the gateways' transactions that approve two different ones.
    pub two_tips_share: f64,
    /// Places with more than one transaction.
    pub forks: usize,
    /// Did all gateways end with the same set of transactions? A run in which they did not is a failure.
    pub ledgers_equal: bool,
    /// Bodies that came over links, for each that was attached: 1 is the least.
    pub bodies_per_attached: f64,
    /// The same of each gateway: bodies that came, others' transactions attached.
    pub bodies: Vec<(u64, u64)>,
    /// Frames between gateways and their bytes, the quiet hour included.
    pub frames: u64,
    /// See `frames`.
    pub frame_bytes: u64,
    /// Bytes on each link in an hour in which nothing happens.
    pub quiet_bytes_per_link: u64,
    /// Inputs handled.
    pub steps: u64,
    /// Crashes.
    pub crashes: u64,
    /// Gateways that were started from an old image.
    pub restored: u64,
    /// Own transactions that came back to them.
    pub adopted: u64,
    /// What went wrong, by kind.
    pub happened: Tally,
}

impl Report {
    /// One object, for machines.
    pub fn to_json(&self) -> Value {
        let happened: Map<String, Value> =
            self.happened.iter().map(|(what, times)| (what.name().to_owned(), times.into())).collect();
        json!({
            "seed": self.seed,
            "trace_hash": self.trace_hash,
            "nodes": self.nodes,
            "transactions": self.transactions,
            "readings": self.readings,
            "acknowledged": self.acknowledged,
            "batches": self.batches,
            "mean_tips": thousandths(self.mean_tips),
            "max_tips": self.max_tips,
            "two_tips_share": thousandths(self.two_tips_share),
            "forks": self.forks,
            "ledgers_equal": self.ledgers_equal,
            "bodies_per_attached": thousandths(self.bodies_per_attached),
            "frames": self.frames,
            "frame_bytes": self.frame_bytes,
            "quiet_bytes_per_link": self.quiet_bytes_per_link,
            "steps": self.steps,
            "crashes": self.crashes,
            "restored": self.restored,
            "adopted": self.adopted,
            "happened": happened,
        })
    }
}

fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.two_tips_share * 100.0;
        writeln!(f, "{} gateways, seed {}, {} crashes", self.nodes, self.seed, self.crashes)?;
        writeln!(f, "  readings      {} in {} batches", self.readings, self.batches)?;
        writeln!(f, "                {} acknowledged: none lost, none doubled, no gap", self.acknowledged)?;
        writeln!(f, "  transactions  {}, the same on every gateway", self.transactions)?;
        writeln!(f, "  tips          {:.2} on average, {} at most", self.mean_tips, self.max_tips)?;
        writeln!(
            f,
            "                {percent:.0} % of the gateways' transactions approve two different ones"
        )?;
        writeln!(f, "  forks         {} places with two transactions, by a hostile issuer", self.forks)?;
        writeln!(
            f,
            "  gossip        {:.2} bodies came for each attached; {} frames, {} kB; {} bytes an hour and link at rest",
            self.bodies_per_attached,
            self.frames,
            self.frame_bytes / 1_000,
            self.quiet_bytes_per_link
        )?;
        writeln!(f, "  steps         {}, every invariant checked after each", self.steps)?;
        write!(f, "  trace hash    {}", self.trace_hash)
    }
}
