//! `evidence`: who signed two transactions at one sequence, and both of them, so that anybody can check it without
//! trusting this gateway.
//!
//! A fork is proven by two signatures of one key over two messages. The answer holds all of both: the key, the message
//! and the signature as any implementation of FIPS 204 takes them, and the whole envelopes, from which message and id
//! follow (the id is the keyed BLAKE3 hash of the body; the message names the network, the key number and the id).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use selvedge_core::genesis::PublicKey;
use selvedge_core::hash::{Issuer, hex};
use selvedge_core::record::{Record, flag};
use selvedge_core::scheme::transaction_message;
use selvedge_core::transaction::{Body, Envelope, FLAG_UNSYNCHRONISED, Reference};
use selvedge_crypto::{default_verifier, ids};
use serde::{Deserialize, Serialize};

use super::shown::Time;
use super::tangle::{kind_name, payload_words, short_id};
use super::times::{age_words, plain, plural};
use super::{Answers, AskError};
use crate::folder::{FolderError, write};
use crate::store::StoreError;

/// Forks of one answer, at most. More than these prove nothing more: of each issuer the first are listed.
pub const FORKS_SHOWN_MAX: usize = 256;

/// All forks that this gateway knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceAnswer {
    /// When it was asked.
    pub asked: Time,
    /// The network.
    pub network: String,
    /// The forks, at most [`FORKS_SHOWN_MAX`].
    pub forks: Vec<ForkAnswer>,
}

/// One place with more than one transaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkAnswer {
    /// Who signed them.
    pub issuer: String,
    /// The issuer's name.
    pub issuer_name: Option<String>,
    /// Its organisation.
    pub organisation: Option<String>,
    /// Is it this gateway itself?
    pub own: bool,
    /// The sequence.
    pub sequence: u64,
    /// Do two or more different transactions here carry a valid signature of this issuer? Checked just now.
    pub proven: bool,
    /// The transactions, in the order in which this gateway attached them.
    pub transactions: Vec<ForkedAnswer>,
    /// Envelopes (hexadecimal) of the transactions that brought the issuer's keys, as far as they are needed here; none
    /// for a key that stands in the genesis.
    pub key_transactions: Vec<String>,
}

/// One of the transactions at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedAnswer {
    /// Place in this node's order of attaching.
    pub number: u64,
    /// Its id.
    pub id: String,
    /// Is it on the branch that came second? That one covers nothing and is no tip.
    pub second_branch: bool,
    /// What the body says.
    pub body: BodyAnswer,
    /// Which of the issuer's keys signed.
    pub key_number: u32,
    /// The signature scheme of FIPS 204.
    pub scheme: String,
    /// The public key, hexadecimal; none when no key of the issuer fits.
    pub public_key: Option<String>,
    /// What was signed, hexadecimal; with an empty context.
    pub message: String,
    /// The signature, hexadecimal.
    pub signature: String,
    /// Does the signature hold? Checked just now.
    pub signature_holds: bool,
    /// The whole transaction, hexadecimal: scheme, key number, signature, body.
    pub envelope: String,
}

/// The body, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyAnswer {
    /// The issuer's transaction before it.
    pub prev: String,
    /// The two tips.
    pub approves: [String; 2],
    /// Has it a witness part?
    pub witness: bool,
    /// The issuer's claim.
    pub issued_at: Option<Time>,
    /// Did its clock count as synchronised?
    pub synchronised: bool,
    /// What it carries: `batch`, `note`, …
    pub kind: String,
    /// The payload in a few words.
    pub payload: String,
    /// Its length.
    pub payload_bytes: u64,
}

impl Answers {
    /// Every fork that the store holds.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn evidence(&self, asked: Time) -> Result<EvidenceAnswer, AskError> {
        let places = self.reader.forks(FORKS_SHOWN_MAX)?;
        let forks = places.iter().map(|(issuer, sequence)| self.fork(issuer, *sequence));
        let network = ids::to_text(&self.facts.network.id());
        Ok(EvidenceAnswer { asked, network, forks: forks.collect::<Result<_, _>>()? })
    }

    fn fork(&self, issuer: &Issuer, sequence: u64) -> Result<ForkAnswer, AskError> {
        let keys = self.keys_of(issuer)?;
        let mut transactions = Vec::new();
        for number in self.reader.chain(issuer, sequence)? {
            let missing = || AskError::Store { why: format!("the store does not hold transaction {number}") };
            let record = self.reader.record(number)?.ok_or_else(missing)?;
            let envelope = self.reader.envelope(number)?.ok_or_else(missing)?;
            transactions.push(self.forked(&record, &envelope, &keys)?);
        }
        let (issuer_name, organisation) = self.issuer_name(issuer)?.unzip();
        let greatest_key = transactions.iter().map(|t| t.key_number).max().unwrap_or(0);
        let brought = self.reader.key_transactions(issuer, greatest_key)?;
        Ok(ForkAnswer {
            issuer: ids::to_text(issuer),
            issuer_name,
            organisation,
            own: *issuer == self.facts.issuer,
            sequence,
            proven: transactions.iter().filter(|t| t.signature_holds).count() > 1,
            transactions,
            key_transactions: brought.iter().map(|envelope| hex(envelope)).collect(),
        })
    }

    /// The issuer's keys by number. A forker may have named two at one number.
    fn keys_of(&self, issuer: &Issuer) -> Result<BTreeMap<u32, Vec<PublicKey>>, AskError> {
        let mut keys: BTreeMap<u32, Vec<PublicKey>> = BTreeMap::new();
        if let Some(member) = self.facts.genesis.member(*issuer) {
            keys.entry(0).or_default().push(member.key.clone());
        }
        for key in self.reader.issuer_state(issuer)?.map(|state| state.keys).unwrap_or_default() {
            keys.entry(key.key_number).or_default().push(key.key.as_ref().clone());
        }
        Ok(keys)
    }

    fn forked(
        &self,
        record: &Record,
        bytes: &[u8],
        keys: &BTreeMap<u32, Vec<PublicKey>>,
    ) -> Result<ForkedAnswer, AskError> {
        let (envelope, body) = Envelope::open(bytes).map_err(StoreError::from)?;
        let network = &self.facts.network;
        let id = network.transaction_id(envelope.body);
        let message = transaction_message(envelope.scheme, envelope.key_number, network.id(), id);
        let candidates = keys.get(&envelope.key_number).map_or(&[][..], Vec::as_slice);
        let verifier = default_verifier();
        let holds = |key: &&PublicKey| {
            key.scheme == envelope.scheme && verifier.verify(key, &message, envelope.signature)
        };
        let signer = candidates.iter().find(holds);
        Ok(ForkedAnswer {
            number: record.number,
            id: ids::to_text(&id),
            second_branch: record.has(flag::SECOND_BRANCH),
            body: self.body_words(&body)?,
            key_number: envelope.key_number,
            scheme: envelope.scheme.name().to_owned(),
            public_key: signer.or(candidates.first()).map(|key| hex(&key.bytes)),
            message: hex(&message),
            signature: hex(envelope.signature),
            signature_holds: signer.is_some(),
            envelope: hex(bytes),
        })
    }

    fn body_words(&self, body: &Body) -> Result<BodyAnswer, AskError> {
        let network = self.facts.network.id();
        let name = |reference: &Reference| {
            let is_genesis = *reference == Reference::genesis(network);
            if is_genesis { ids::to_text(&network) } else { ids::to_text(&reference.id) }
        };
        let ns = i64::try_from(body.issued_at_ms).ok().and_then(|ms| ms.checked_mul(1_000_000));
        Ok(BodyAnswer {
            prev: name(&body.prev_reference(network)),
            approves: [name(&body.approves[0]), name(&body.approves[1])],
            witness: body.witness.is_some(),
            issued_at: ns.map(Time),
            synchronised: body.flags & FLAG_UNSYNCHRONISED == 0,
            kind: kind_name(body.kind),
            payload: payload_words(body.kind, &body.payload)?,
            payload_bytes: body.payload.len() as u64,
        })
    }
}

impl EvidenceAnswer {
    /// For people.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_words(&self, out: &mut dyn Write) -> io::Result<()> {
        if self.forks.is_empty() {
            return writeln!(
                out,
                "no fork: nobody that this gateway knows signed two transactions at one sequence"
            );
        }
        for fork in &self.forks {
            let name = fork.issuer_name.as_deref().unwrap_or("somebody unnamed");
            let of = fork.organisation.as_deref().map_or_else(String::new, |of| format!(" of {of:?}"));
            let own = if fork.own { " (this gateway)" } else { "" };
            let (sequence, count) = (fork.sequence, plural(fork.transactions.len() as u64, "transaction"));
            writeln!(out, "{name:?}{of}{own}, {}\nsigned {count} at sequence {sequence}:", fork.issuer)?;
            for transaction in &fork.transactions {
                writeln!(out, "  {}", self.transaction_words(transaction))?;
            }
            let verdict = if fork.proven {
                "proven: both signatures hold"
            } else {
                "NOT proven: fewer than two signatures hold; the store may be damaged, keep a copy of it"
            };
            writeln!(out, "  {verdict}\n")?;
        }
        writeln!(
            out,
            "{}. `selvedge evidence --out DIR` writes what anybody needs to check them.",
            plural(self.forks.len() as u64, "fork")
        )
    }

    fn transaction_words(&self, transaction: &ForkedAnswer) -> String {
        let body = &transaction.body;
        let [one, other] = &body.approves;
        let at = body.issued_at.map_or_else(
            || "no moment".to_owned(),
            |at| {
                format!(
                    "{at} ({}{})",
                    age_words(at, self.asked),
                    if body.synchronised { "" } else { ", clock not kept" }
                )
            },
        );
        format!(
            "{}\n    {}; after {}, approves {} and {}; says it was issued {at}\n    key {}, {}, signature {}{}",
            transaction.id,
            plain(&body.payload),
            short_id(&body.prev),
            short_id(one),
            short_id(other),
            transaction.key_number,
            transaction.scheme,
            if transaction.signature_holds { "holds" } else { "does NOT hold" },
            if transaction.second_branch { "; came second here" } else { "" },
        )
    }

    /// Writes one folder for each fork into `dir`: both envelopes, key, messages and signatures as files, the key
    /// transactions, the genesis, and a text that says how to check them. Returns the folders.
    ///
    /// # Errors
    /// When something cannot be written.
    pub fn write_files(&self, dir: &Path, genesis: &[u8]) -> Result<Vec<PathBuf>, FolderError> {
        let mut folders = Vec::new();
        for fork in &self.forks {
            let folder = dir.join(format!("{}-{}", fork.issuer, fork.sequence));
            let io = |why| FolderError::Io { what: "make the folder", path: folder.clone(), why };
            std::fs::create_dir_all(&folder).map_err(io)?;
            for (number, transaction) in (1..).zip(&fork.transactions) {
                let parts = [
                    ("envelope", Some(&transaction.envelope)),
                    ("message", Some(&transaction.message)),
                    ("signature", Some(&transaction.signature)),
                    ("key", transaction.public_key.as_ref()),
                ];
                for (part, digits) in parts {
                    let Some(digits) = digits else { continue };
                    write(&folder.join(format!("{number}.{part}")), &unhex(digits))?;
                }
            }
            for (number, envelope) in (0..).zip(&fork.key_transactions) {
                write(&folder.join(format!("key-transaction-{number}.envelope")), &unhex(envelope))?;
            }
            write(&folder.join("genesis.bin"), genesis)?;
            write(&folder.join("README.txt"), self.readme(fork).as_bytes())?;
            folders.push(folder);
        }
        Ok(folders)
    }

    fn readme(&self, fork: &ForkAnswer) -> String {
        let mut text = format!(
            "Two or more transactions that one key signed for one place: issuer {}, sequence {}, network {}.\n\n",
            fork.issuer, fork.sequence, self.network
        );
        for (number, transaction) in (1..).zip(&fork.transactions) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{number}: {}\n   {}", transaction.id, plain(&transaction.body.payload));
        }
        text.push_str(README);
        text
    }
}

/// How to check the files of one fork.
const README: &str = "
N.key, N.message and N.signature are what ML-DSA.Verify of FIPS 204 takes, with an empty context (the scheme stands in
the envelope: 1 is ML-DSA-44, 2 is ML-DSA-65). Any implementation can check them.

What was signed: N.message is the ASCII text `selvedge transaction`, the scheme (1 byte), the key number (4 bytes,
little-endian), the network id (32 bytes, the hash of genesis.bin) and the transaction's id (32 bytes). The id is the
keyed BLAKE3 hash of the body, and the body is the last field of N.envelope; it names the issuer and the sequence. So two
messages with different ids whose bodies name the same issuer and sequence, both signed by that issuer's key, are a fork,
whoever shows them.

Whose key it is: the issuer's id is the hash of its first key. That key stands in genesis.bin or in
key-transaction-0.envelope; each later one stands in a key transaction that the key before it signed.
";

/// Digits that this program wrote.
fn unhex(digits: &str) -> Vec<u8> {
    let digit = |d: u8| char::from(d).to_digit(16).unwrap_or(0) as u8;
    digits.as_bytes().chunks_exact(2).map(|pair| (digit(pair[0]) << 4) | digit(pair[1])).collect()
}
