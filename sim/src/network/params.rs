//! What a run of the network depends on, as it stands in a scenario file and on the command line.
//!
//! # Layout
//! - here: the tables and their defaults; [`check`](Params::check) refuses what cannot be before anything runs
//! - [`units`](super::units): quantities with units; [`links`](super::links): delays and the [`LinkModel`];
//!   [`topology`](super::topology), [`workload`](super::workload), [`hardware`](super::hardware): the words for each

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use selvedge_core::border::{BatchPolicy, TipPolicy, TipSelection};
use selvedge_core::limits;
use serde::{Deserialize, Serialize};

use super::hardware::Fleet;
use super::links::LinkModel;
use super::topology::Topology;
use super::units::{Size, Span, Wrong, as_text};
use super::workload::Workload;
use crate::signatures::Mode;

/// Most gateways of a run: a genesis names no more.
pub const GATEWAYS_MAX: usize = limits::GENESIS_MEMBERS_MAX;
/// Longest load of a run, virtual time.
pub const LOAD_MAX: Span = Span::from_s(7 * 86_400);

/// A run of the network: whole gateways, their links, what they are built of and what is asked of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Decides every choice.
    pub seed: u64,
    /// Gateways, all of them in the genesis.
    pub gateways: usize,
    /// How many of the first gateways are the committee; without it all, up to 63.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub committee: Option<usize>,
    /// For how long readings come in, virtual time.
    #[serde(rename = "for")]
    pub load: Span,
    /// How long the run goes on after that at most, until all is attached everywhere, virtual time.
    pub drain: Span,
    /// Who is linked with whom.
    pub topology: Topology,
    /// What the gateways are built of.
    pub hardware: Fleet,
    /// How tips are selected.
    pub tips: Tips,
    /// Modelled or real.
    pub signatures: Signatures,
    /// What is asked of the gateways.
    pub workload: Workload,
    /// The links.
    pub link: LinkModel,
    /// How readings become batches.
    pub batch: Batch,
    /// Settings of the node.
    pub node: NodeSettings,
}

impl Default for Params {
    /// Ten gateways that all know each other, ten readings a second each, for 20 s.
    fn default() -> Self {
        Self {
            seed: 1,
            gateways: 10,
            committee: None,
            load: Span::from_s(20),
            drain: Span::from_s(60),
            topology: Topology::Full,
            hardware: Fleet::default(),
            tips: Tips::Uniform,
            signatures: Signatures::Modelled,
            workload: Workload::default(),
            link: LinkModel::default(),
            batch: Batch::default(),
            node: NodeSettings::default(),
        }
    }
}

/// How readings become batches: closed when one of the three is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Readings.
    pub readings: u32,
    /// Bytes of readings.
    pub bytes: Size,
    /// Time since the first reading.
    pub age: Span,
}

impl Default for Batch {
    /// As shipped, but for the age: 1 s in place of 10 s, so that a run of 20 s sees more than two batches of a gateway.
    fn default() -> Self {
        let shipped = BatchPolicy::default();
        Self {
            readings: shipped.readings_max,
            bytes: Size::of(shipped.bytes_max as u64),
            age: Span::from_s(1),
        }
    }
}

impl Batch {
    /// For the core.
    pub const fn policy(&self) -> BatchPolicy {
        let (readings_max, bytes_max) = (self.readings, self.bytes.bytes as usize);
        BatchPolicy { readings_max, bytes_max, age_max_us: self.age.us }
    }
}

/// Settings of the node that matter for what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSettings {
    /// How long a submission may wait for others before the journal is synced (`Config::journal_within_us`).
    pub journal_within: Span,
    /// The same for others' transactions (`Config::foreign_within_us`).
    pub foreign_within: Span,
    /// A note that approves others' payloads comes after up to this long (`Config::approve_delay_max_us`).
    pub approve_within: Span,
    /// Records that a core keeps in memory (`Config::window_records`).
    pub window_records: usize,
    /// Tips older than this are left while a younger one exists (`TipPolicy::age_max_us`).
    pub tip_age: Span,
}

impl Default for NodeSettings {
    /// As shipped.
    fn default() -> Self {
        Self {
            journal_within: Span::from_s(1),
            foreign_within: Span::from_s(1),
            approve_within: Span::from_s(2),
            window_records: limits::WINDOW_RECORDS,
            tip_age: Span::from_us(TipPolicy::default().age_max_us),
        }
    }
}

/// How tips are selected, by the core's own code: `uniform` or `walk:ALPHA`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tips {
    /// Uniform over the tip set.
    Uniform,
    /// A walk weighted by exact cumulative weight; 0: unweighted.
    Walk {
        /// Weight of the difference of cumulative weights.
        alpha: f64,
    },
}

as_text!(Tips, Signatures);

impl FromStr for Tips {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        const EXPECTED: &str = "uniform, or walk:ALPHA with ALPHA from 0 to 100, such as walk:0.01";
        let (word, alpha) = text.split_once(':').unwrap_or((text, ""));
        match (word, alpha) {
            ("uniform", "") => Ok(Self::Uniform),
            ("walk", _) => match alpha.parse() {
                Ok(alpha) if (0.0..=100.0).contains(&alpha) => Ok(Self::Walk { alpha }),
                _ => Err(Wrong::new(text, EXPECTED)),
            },
            _ => Err(Wrong::word(text, word, &["uniform", "walk"], EXPECTED)),
        }
    }
}

impl fmt::Display for Tips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uniform => f.write_str("uniform"),
            Self::Walk { alpha } => write!(f, "walk:{alpha}"),
        }
    }
}

/// Which signatures: `modelled` or `real`. Their virtual cost is the hardware's in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Tokens that nobody without the secret can make.
    Modelled,
    /// ML-DSA, as shipped.
    #[cfg(feature = "real-signatures")]
    Real,
}

impl FromStr for Signatures {
    type Err = Wrong;
    fn from_str(text: &str) -> Result<Self, Wrong> {
        match text {
            "modelled" => Ok(Self::Modelled),
            #[cfg(feature = "real-signatures")]
            "real" => Ok(Self::Real),
            #[cfg(not(feature = "real-signatures"))]
            "real" => Err(Wrong::new(text, "modelled: this build is without the feature real-signatures")),
            _ => Err(Wrong::word(text, text, &["modelled", "real"], "modelled or real")),
        }
    }
}

impl fmt::Display for Signatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Modelled => "modelled",
            #[cfg(feature = "real-signatures")]
            Self::Real => "real",
        })
    }
}

impl From<Signatures> for Mode {
    fn from(signatures: Signatures) -> Self {
        match signatures {
            Signatures::Modelled => Self::Modelled,
            #[cfg(feature = "real-signatures")]
            Signatures::Real => Self::Real,
        }
    }
}

/// Something that cannot be: a value outside its range, or two that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key as it stands in a scenario file, such as `link.delay`.
    pub key: String,
    /// What it is.
    pub got: String,
    /// What it may be, and what to do.
    pub expected: String,
}

impl Problem {
    /// `key` is `got`.
    pub fn new(key: &str, got: impl fmt::Display, expected: impl Into<String>) -> Self {
        Self { key: key.to_owned(), got: got.to_string(), expected: expected.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: got {}, expected {}", self.key, self.got, self.expected)
    }
}

impl std::error::Error for Problem {}

impl Params {
    /// Members of the committee: the first so many gateways.
    pub fn committee(&self) -> usize {
        self.committee.unwrap_or_else(|| self.gateways.min(limits::COMMITTEE_MAX))
    }

    /// Tip selection, for the core.
    pub const fn tip_policy(&self) -> TipPolicy {
        let selection = match self.tips {
            Tips::Uniform => TipSelection::Uniform,
            Tips::Walk { alpha } => TipSelection::Walk { alpha },
        };
        TipPolicy { selection, age_max_us: self.node.tip_age.us }
    }

    /// Reads the files that the parameters name, such as the matrix of delays; relative names start at `folder`.
    ///
    /// # Errors
    /// The key, and what is wrong with its file: line and column.
    pub fn load_files(&mut self, folder: &Path) -> Result<(), Problem> {
        self.link.load_files(folder)
    }

    /// Refuses what cannot be, before anything runs.
    ///
    /// # Errors
    /// Everything that is wrong, not only the first of it.
    pub fn check(&self) -> Result<(), Vec<Problem>> {
        let mut problems = Vec::new();
        self.check_itself(&mut problems);
        self.topology.check(self, &mut problems);
        self.hardware.check(self, &mut problems);
        self.workload.check(self, &mut problems);
        self.link.check(self, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn check_itself(&self, problems: &mut Vec<Problem>) {
        let mut wrong = |key: &str, got: &dyn fmt::Display, expected: String| {
            problems.push(Problem::new(key, got, expected));
        };
        let gateways = self.gateways;
        if !(1..=GATEWAYS_MAX).contains(&gateways) {
            wrong("gateways", &gateways, format!("1 to {GATEWAYS_MAX}, the members that a genesis may name"));
        }
        if let Some(committee) = self.committee
            && !(1..=gateways.min(limits::COMMITTEE_MAX)).contains(&committee)
        {
            let most = gateways.min(limits::COMMITTEE_MAX);
            let why = if most == gateways { "the gateways there are" } else { "the most of a genesis" };
            wrong("committee", &committee, format!("1 to {most}, {why}"));
        }
        if !(Span::from_ms(100)..=LOAD_MAX).contains(&self.load) {
            wrong("for", &self.load, "100ms to 7 days (168h)".to_owned());
        }
        if !(Span::from_ms(100)..=LOAD_MAX).contains(&self.drain) {
            wrong("drain", &self.drain, "100ms to 7 days (168h)".to_owned());
        }
        let batch = &self.batch;
        if !(1..=limits::BATCH_READINGS_MAX as u32).contains(&batch.readings) {
            wrong("batch.readings", &batch.readings, format!("1 to {}", limits::BATCH_READINGS_MAX));
        }
        let bytes_max = limits::BATCH_BYTES_MAX as u64;
        if !(self.workload.reading.bytes..=bytes_max).contains(&batch.bytes.bytes) {
            let least = self.workload.reading;
            wrong("batch.bytes", &batch.bytes, format!("{least} (one reading) to {}", Size::of(bytes_max)));
        }
        if batch.age < Span::from_ms(1) || batch.age > self.load {
            wrong(
                "batch.age",
                &batch.age,
                format!("1ms to {}, the time for which readings come in", self.load),
            );
        }
        let node = &self.node;
        for (key, span) in [
            ("node.journal_within", node.journal_within),
            ("node.foreign_within", node.foreign_within),
            ("node.approve_within", node.approve_within),
        ] {
            if span > Span::from_s(60) {
                wrong(key, &span, "0ms to 60s".to_owned());
            }
        }
        if !(8..=limits::WINDOW_RECORDS).contains(&node.window_records) {
            let expected = format!("8 to {}, the limit of the core", limits::WINDOW_RECORDS);
            wrong("node.window_records", &node.window_records, expected);
        }
        if node.tip_age < Span::from_ms(1) {
            wrong("node.tip_age", &node.tip_age, "1ms or more".to_owned());
        }
    }
}
