//! `tangle`: the newest transactions, what they carry, what they approve.

use std::collections::HashMap;
use std::fmt::Write as _;

use selvedge_core::codec;
use selvedge_core::payload::{Batch, Enrol, PayloadKind, Rotate};
use selvedge_core::record::{GENESIS_NUMBER, Record, flag};
use selvedge_core::transaction::Envelope;
use selvedge_core::{Id, Issuer};
use selvedge_crypto::ids;
use serde::{Deserialize, Serialize};

use super::shown::Time;
use super::times::plural;
use super::{Answers, AskError};
use crate::store::StoreError;

/// Most transactions of one answer.
pub const LAST_MAX: usize = 10_000;

/// The newest transactions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TangleAnswer {
    /// When it was asked.
    pub asked: Time,
    /// Transactions in the ledger.
    pub transactions: u64,
    /// How many of them nobody approves yet.
    pub tips: u64,
    /// Members of the committee.
    pub committee: usize,
    /// Ascending in the order of attaching.
    pub newest: Vec<TransactionAnswer>,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionAnswer {
    /// Place in this node's order of attaching, from 0.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// Who signed it.
    pub issuer: String,
    /// The issuer's name.
    pub issuer_name: String,
    /// Its place on the issuer's chain.
    pub sequence: u64,
    /// What it carries: `batch`, `note`, …, or the number of a kind that this version does not know.
    pub kind: String,
    /// The payload in a few words.
    pub payload: String,
    /// The batch that it carries.
    pub batch: Option<u64>,
    /// Readings in that batch.
    pub readings: Option<u32>,
    /// The ids of the two transactions that it approves; the network's id for the genesis.
    pub approves: [String; 2],
    /// The issuer's claim.
    pub issued_at: Option<Time>,
    /// Does this gateway sign it?
    pub own: bool,
    /// Does nobody approve it yet?
    pub tip: bool,
    /// Does it come after another one at the same sequence of its issuer?
    pub second_branch: bool,
    /// How many members of the committee have it in their past; only while the node runs, and for the newest.
    pub witnessed: Option<u32>,
}

impl Answers {
    /// The newest `last` transactions.
    ///
    /// # Errors
    /// When more than [`LAST_MAX`] are asked for, or the store cannot be read.
    pub fn tangle(&self, asked: Time, last: usize) -> Result<TangleAnswer, AskError> {
        if last == 0 || last > LAST_MAX {
            let what = format!("{last} transactions asked for, expected 1 to {LAST_MAX}");
            return Err(AskError::Malformed { what });
        }
        let records = self.reader.newest(last)?;
        let tips = self.reader.tips()?;
        let mut names = Names { answers: self, issuers: HashMap::new(), ids: HashMap::new() };
        names.ids.extend(records.iter().map(|record| (record.number, record.id)));
        let newest: Result<Vec<_>, AskError> =
            records.iter().map(|record| self.transaction(record, &tips, &mut names)).collect();
        Ok(TangleAnswer {
            asked,
            transactions: self.reader.next_number()?,
            tips: tips.len() as u64,
            committee: self.facts.genesis.committee.len(),
            newest: newest?,
        })
    }

    fn transaction(
        &self,
        record: &Record,
        tips: &[u64],
        names: &mut Names<'_>,
    ) -> Result<TransactionAnswer, AskError> {
        let envelope = self.reader.envelope(record.number)?;
        let missing =
            || AskError::Store { why: format!("the log does not hold transaction {}", record.number) };
        let envelope = envelope.ok_or_else(missing)?;
        let (_, body) = Envelope::open(&envelope).map_err(StoreError::from)?;
        let payload = Payload::of(body.kind, &body.payload)?;
        let live = self.live.as_deref();
        let witnessed = live.and_then(|live| {
            let at = live.witnessed.binary_search_by_key(&record.number, |(number, _)| *number).ok()?;
            Some(live.witnessed[at].1)
        });
        let ms = i64::try_from(body.issued_at_ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
        Ok(TransactionAnswer {
            number: record.number,
            id: ids::to_text(&record.id),
            issuer: ids::to_text(&record.issuer),
            issuer_name: names.issuer(&record.issuer)?,
            sequence: record.sequence,
            kind: kind_name(body.kind),
            payload: payload.words,
            batch: payload.batch,
            readings: payload.readings,
            approves: [names.id(record.approves[0])?, names.id(record.approves[1])?],
            issued_at: ms.map(Time),
            own: record.issuer == self.facts.issuer,
            tip: tips.binary_search(&record.number).is_ok(),
            second_branch: record.has(flag::SECOND_BRANCH),
            witnessed,
        })
    }
}

/// What a payload kind is called.
pub(super) fn kind_name(kind: u16) -> String {
    PayloadKind::from_u16(kind).map_or_else(|| kind.to_string(), |kind| kind.name().to_owned())
}

/// A payload in a few words.
pub(super) fn payload_words(kind: u16, bytes: &[u8]) -> Result<String, AskError> {
    Ok(Payload::of(kind, bytes)?.words)
}

/// A payload in a few words, and what they count.
#[derive(Default)]
struct Payload {
    words: String,
    batch: Option<u64>,
    readings: Option<u32>,
}

impl Payload {
    fn of(kind: u16, bytes: &[u8]) -> Result<Self, AskError> {
        let length = || plural(bytes.len() as u64, "byte");
        let words = match PayloadKind::from_u16(kind) {
            Some(PayloadKind::Batch) => {
                let batch: Batch = codec::decode(bytes).map_err(StoreError::from)?;
                let (readings, streams) =
                    (plural(u64::from(batch.count), "reading"), plural(batch.streams.len() as u64, "stream"));
                let words = format!("batch {}: {readings} of {streams}", batch.number);
                return Ok(Self { words, batch: Some(batch.number), readings: Some(batch.count) });
            }
            Some(PayloadKind::Note) if bytes.is_empty() => "nothing: approves only".into(),
            Some(PayloadKind::Note) => format!("note of {}", length()),
            Some(PayloadKind::Enrol) => {
                let enrol: Enrol = codec::decode(bytes).map_err(StoreError::from)?;
                format!("enrols {:?}", enrol.name)
            }
            Some(PayloadKind::Rotate) => {
                let rotate: Rotate = codec::decode(bytes).map_err(StoreError::from)?;
                format!("next key, {}", rotate.key.scheme.name())
            }
            Some(PayloadKind::Registry) => format!("registry operations, {}", length()),
            None => format!("kind {kind}, {}", length()),
        };
        Ok(Self { words, ..Self::default() })
    }
}

/// Names looked up once.
struct Names<'a> {
    answers: &'a Answers,
    issuers: HashMap<Issuer, String>,
    ids: HashMap<u64, Id>,
}

impl Names<'_> {
    fn issuer(&mut self, issuer: &Issuer) -> Result<String, AskError> {
        if let Some(name) = self.issuers.get(issuer) {
            return Ok(name.clone());
        }
        let name = self.answers.issuer_name(issuer)?.map_or_else(|| issuer.short(), |(name, _)| name);
        self.issuers.insert(*issuer, name.clone());
        Ok(name)
    }

    fn id(&mut self, number: u64) -> Result<String, AskError> {
        if number == GENESIS_NUMBER {
            return Ok(ids::to_text(&self.answers.facts.network.id()));
        }
        if let Some(id) = self.ids.get(&number) {
            return Ok(ids::to_text(id));
        }
        let record = self.answers.reader.record(number)?;
        let missing = || AskError::Store { why: format!("the index does not hold transaction {number}") };
        let id = record.ok_or_else(missing)?.id;
        self.ids.insert(number, id);
        Ok(ids::to_text(&id))
    }
}

/// An id for a table: `svtx1qqqsyq…8xk2`. What is left out is named by the rest.
pub fn short_id(id: &str) -> String {
    let shown = id.find('1').map_or(8, |at| at + 9);
    if id.len() <= shown || !id.is_ascii() {
        return id.to_owned();
    }
    format!("{}…", &id[..shown])
}

impl TangleAnswer {
    /// A picture for Graphviz: an arrow from each transaction to what it approves, tips in bold.
    pub fn to_dot(&self) -> String {
        let mut dot = String::from(
            "digraph tangle {\n  rankdir=RL;\n  node [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=10];\n",
        );
        let here: std::collections::HashSet<&str> = self.newest.iter().map(|t| t.id.as_str()).collect();
        let mut outside = std::collections::BTreeSet::new();
        for transaction in &self.newest {
            let style = if transaction.tip { ", style=\"rounded,bold\"" } else { "" };
            let label = format!(
                "{}\n{} {}\n{}",
                short_id(&transaction.id),
                transaction.issuer_name,
                transaction.sequence,
                transaction.payload
            );
            // Writing to a string cannot fail.
            let _ = writeln!(dot, "  {} [label={}{style}];", quoted(&transaction.id), quoted(&label));
            let [one, other] = &transaction.approves;
            for approved in std::iter::once(one).chain((other != one).then_some(other)) {
                let _ = writeln!(dot, "  {} -> {};", quoted(&transaction.id), quoted(approved));
                if !here.contains(approved.as_str()) {
                    outside.insert(approved);
                }
            }
        }
        for id in outside {
            let label = if id.starts_with("svnet") { "genesis".to_owned() } else { short_id(id) };
            let _ = writeln!(dot, "  {} [label={}, style=\"rounded,dashed\"];", quoted(id), quoted(&label));
        }
        dot + "}\n"
    }
}

/// A quoted string of the DOT language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_keep_their_prefix() {
        assert_eq!(short_id("svtx1qpzry9x8gf2tvdw0"), "svtx1qpzry9x8…");
        assert_eq!(short_id("svtx1qp"), "svtx1qp");
        assert_eq!(short_id(""), "");
    }

    #[test]
    fn a_picture_quotes_what_strangers_named() {
        assert_eq!(quoted("a\"]; evil [\\"), r#""a\"]; evil [\\""#);
    }
}
